"""
What to do about a statement with Effect Deny, which no Allow outweighs: away with it, or an exception in it. Pure.

Source: AWS docs: IAM user guide, "Policy evaluation logic" and "Conditions with multiple context keys or values".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.aws.denials import Cause
from lightly_provider.aws.fixes import PolicyChange, Remedy
from lightly_provider.aws.place import PolicyOf
from lightly_provider.aws.policy_documents import covers, means

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightly_provider.aws.denials import Denial
    from lightly_provider.aws.place import DenyingStatement, Place

# Whose policy it is that has an explicit deny; of the others no policy here is one that the customer's account holds.
DENYING: Mapping[Cause, PolicyOf] = {
    Cause.EXPLICIT_DENY: PolicyOf.IDENTITY,
    Cause.BOUNDARY: PolicyOf.BOUNDARY,
    Cause.BUCKET_POLICY: PolicyOf.BUCKET,
    Cause.KMS_KEY_POLICY: PolicyOf.KEY,
}


def without_the_deny(of: PolicyOf, action: str, denial: Denial | None, place: Place) -> Remedy:
    """
    What to do about an explicit deny: the very statement, where it was read; else how to find it.

    :param of: Whose policy has it.
    :param action: What is denied.
    :param denial: What AWS said; None if nobody knows.
    :param place: Whose access to what.
    """
    whose = {
        PolicyOf.IDENTITY: f"A policy of {place.access}",
        PolicyOf.BOUNDARY: f"The permissions boundary of {place.access}",
        PolicyOf.BUCKET: f"The policy of bucket {place.location.bucket!r}",
        PolicyOf.KEY: "The KMS key's own policy",
    }
    resource = denial.resource if denial and denial.resource else place.objects_arn
    text = f"{whose[of]} has a statement with Effect Deny that covers {action} on {resource}, which no Allow outweighs."
    if of is PolicyOf.BUCKET:
        text += (
            " If it is a Deny by network (aws:SourceIp, aws:SourceVpc) that is meant, verify with bypass_verify=True."
        )
    if found := _statements_that_deny(of, denial, place):
        gone = [one for one in found if one.removal and _is_for_it_alone(one, place)]
        changes = tuple(_without(one, place) for one in found if one not in gone)
        return Remedy(text, changes=changes, commands=tuple(dict.fromkeys(one.removal for one in gone)))
    how = "Remove it, or narrow its Resource"
    if of in (PolicyOf.BUCKET, PolicyOf.KEY):
        how = f'Remove it, or add to its Condition: "ArnNotEquals":{{"aws:PrincipalArn":"{place.principal}"}}'
    return Remedy(f"{text} {how}; which one it is, {_WHERE_TO_LOOK[of]}.")


_WHERE_TO_LOOK = {
    PolicyOf.IDENTITY: "aws iam simulate-principal-policy tells (MatchedStatements), or this table if it is made with "
    "an aws_conn_id that may read the identity's policies",
    PolicyOf.BOUNDARY: "aws iam simulate-principal-policy tells (MatchedStatements), or this table if it is made with "
    "an aws_conn_id that may read the boundary",
    PolicyOf.BUCKET: "aws s3api get-bucket-policy tells, or this table if it is made with an aws_conn_id that may do "
    "s3:GetBucketPolicy",
    PolicyOf.KEY: "aws kms get-key-policy tells, or this table if it is made with an aws_conn_id that may do "
    "kms:GetKeyPolicy",
}


def _statements_that_deny(of: PolicyOf, denial: Denial | None, place: Place) -> list[DenyingStatement]:
    """Those that may be the ones, of what was read; one without conditions is rather it than one with them."""
    action = denial.action if denial else None
    if not action:
        return []
    resource = (denial.resource if denial else None) or place.resource_of(action)
    found = [
        one
        for one in place.surroundings.denying
        if one.of is of and covers(one.statement, action, resource) and means(one.statement, place.principal)
    ]
    return [one for one in found if not one.statement.get("Condition")] or found


def _without(one: DenyingStatement, place: Place) -> PolicyChange:
    """A Deny for this identity alone is removed; one for others too makes an exception of it."""
    if _is_for_it_alone(one, place):
        return PolicyChange(one.policy, remove=(one.statement,))
    conditions = {operator: dict(block) for operator, block in (one.statement.get("Condition") or {}).items()}
    # All conditions must hold for a Deny to have effect, so one more makes an exception.
    exempt = conditions.setdefault("ArnNotEquals", {})
    already = exempt.get("aws:PrincipalArn", [])
    exempt["aws:PrincipalArn"] = [*([already] if isinstance(already, str) else already), place.principal]
    return PolicyChange(one.policy, add=({**one.statement, "Condition": conditions},), remove=(one.statement,))


def _is_for_it_alone(one: DenyingStatement, place: Place) -> bool:
    """Whether nobody else is denied anything by it. An identity's own policy has no principal."""
    if "NotPrincipal" in one.statement:
        return False
    return one.statement.get("Principal") in (None, {"AWS": place.principal}, {"AWS": [place.principal]})
