"""IAM's simulator looks at the context that it is asked with, and at boundaries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.lab.sandbox import Customer

BUCKET = "arn:aws:s3:::acme"


def _simulated(customer: Customer, arn: str, action: str, resource: str, **context: str) -> dict[str, Any]:
    entries = [
        {"ContextKeyName": name.replace("_", ":"), "ContextKeyValues": [value], "ContextKeyType": "string"}
        for name, value in context.items()
    ]
    answer = customer.iam.simulate_principal_policy(
        PolicySourceArn=arn, ActionNames=[action], ResourceArns=[resource], ContextEntries=entries
    )
    return dict(answer["EvaluationResults"][0])


def _user(customer: Customer, *statements: dict[str, Any]) -> str:
    return str(customer.client("sts", customer.user(*statements)).get_caller_identity()["Arn"])


@pytest.mark.parametrize(
    ("prefix", "decision"), [("raw/", "allowed"), ("other/", "implicitDeny"), ("", "implicitDeny")]
)
def test_a_condition_on_the_prefix_is_met_by_the_context(
    customer: Customer, prefix: str, decision: str
) -> None:
    condition = {"StringLike": {"s3:prefix": ["raw/", "raw/*"]}}
    listing = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": BUCKET, "Condition": condition}
    arn = _user(customer, listing)
    assert _simulated(customer, arn, "s3:ListBucket", BUCKET, s3_prefix=prefix)["EvalDecision"] == decision
    assert _simulated(customer, arn, "s3:ListBucket", BUCKET)["EvalDecision"] == "implicitDeny"


def test_a_deny_and_a_boundary_are_told(customer: Customer) -> None:
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    denied = _user(customer, allow, {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"})
    assert _simulated(customer, denied, "s3:GetObject", f"{BUCKET}/a.jpg")["EvalDecision"] == "explicitDeny"
    bound = _user(customer, allow)
    name = bound.rpartition("/")[2]
    statement = {"Effect": "Allow", "Action": "s3:List*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    policy = customer.iam.create_policy(PolicyName=f"only-{name}", PolicyDocument=document)["Policy"]["Arn"]
    customer.iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=policy)
    result = _simulated(customer, bound, "s3:GetObject", f"{BUCKET}/a.jpg")
    assert result["EvalDecision"] == "implicitDeny"
    assert result["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}


def test_a_key_of_the_context_that_nobody_gives_is_missing_beside_the_resource(customer: Customer) -> None:
    """The address of who asks the simulator is not that of the request that is simulated."""
    statement = {
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": f"{BUCKET}/*",
        "Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.1/32"}},
    }
    arn = _user(customer, statement)
    without = _simulated(customer, arn, "s3:GetObject", f"{BUCKET}/a.jpg")
    assert without["EvalDecision"] == "implicitDeny"
    (of_resource,) = without["ResourceSpecificResults"]
    assert of_resource["MissingContextValues"] == ["aws:SourceIp"]
    given = _simulated(customer, arn, "s3:GetObject", f"{BUCKET}/a.jpg", aws_SourceIp="127.0.0.1")
    assert given["EvalDecision"] == "allowed"
    assert given["ResourceSpecificResults"][0]["MissingContextValues"] == []
    elsewhere = _simulated(customer, arn, "s3:PutObject", f"{BUCKET}/a.jpg")
    assert elsewhere["ResourceSpecificResults"][0]["MissingContextValues"] == []
