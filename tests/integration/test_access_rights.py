"""The rights that the documents give to Airflow's own identity are those that the operators need, and only them."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import LightlyAccessError
from lightly_provider.operators.access import DeleteLightlyAccessOperator
from tests.integration.created_access import create_role, create_user, places, rotate, verified
from tests.integration.sandbox import REPOSITORY
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.integration.sandbox import Sandbox


def documented() -> list[dict[str, Any]]:
    """The statements of the last section of the page on access."""
    text = (REPOSITORY / "docs" / "access.md").read_text()
    block = text.split("## The rights of Airflow's own identity")[1].split("```json")[1].split("```")[0]
    return list(json.loads(block)["Statement"])


@pytest.mark.exhaustive(sample="test_they_reach_no_role_or_user_of_another_name")
@pytest.mark.parametrize(
    ("create", "store"),
    thinned([(create, store) for create in (create_role, create_user) for store in ("secretsmanager", "ssm")], keep=1),
)
def test_the_documented_rights_suffice_and_none_of_them_is_too_many(
    create: Any,
    store: str,
    lightly: Sandbox,
    bucket: str,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    aws_actions: Mapping[str, set[str]],
) -> None:
    keys = lightly.user(*documented())
    monkeypatch.setenv("AIRFLOW_CONN_NARROW", lightly.aws_connection(keys, region_name=lightly.region))
    iam, name = lightly.aws("iam"), f"Lightly-{uuid.uuid4().hex[:12]}"
    anything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    boundary = iam.create_policy(PolicyName=f"{name}-boundary", PolicyDocument=json.dumps(anything))["Policy"]["Arn"]
    arguments: dict[str, Any] = {
        "access_conn_id": f"{store}://narrow/lightly/{name}",
        "aws_conn_id": "narrow",
        **places(bucket),
    }

    create(name, context, **arguments)
    if create is create_role:
        nobody = {"Version": "2012-10-17", "Statement": []}
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(nobody))
        iam.update_role(RoleName=name, MaxSessionDuration=3600)
    create(name, context, tags={"team": "vision"}, **arguments)
    create(name, context, permissions_boundary=boundary, **arguments)
    verified(dataset_name, arguments["access_conn_id"], bucket, context)
    rotate(create, name, context, access_conn_id=arguments["access_conn_id"], aws_conn_id="narrow")

    kind = "role" if create is create_role else "user"
    delete = {f"{kind}_name": name, "access_conn_id": arguments["access_conn_id"], "aws_conn_id": "narrow"}
    assert DeleteLightlyAccessOperator(task_id="delete", **delete).execute(context) == [kind, "kept access"]

    if store == "secretsmanager":
        # What somebody else deleted is kept for some days, and taken up again.
        create(name, context, **arguments)
        lightly.aws(store).delete_secret(SecretId=f"lightly/{name}", RecoveryWindowInDays=7)
        create(name, context, **arguments)
    given = {action for statement in documented() for action in statement["Action"]}
    of_others = re.compile("User|AccessKey" if create is create_role else "Role")
    needed_here = {a for a in given if a.startswith(("iam:", f"{store}:")) and not of_others.search(a)}
    assert needed_here - aws_actions[keys.access_key_id] == set()


@pytest.mark.parametrize("create", [create_role, create_user])
def test_they_reach_no_role_or_user_of_another_name(
    create: Any, lightly: Sandbox, bucket: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = lightly.user(*documented())
    monkeypatch.setenv("AIRFLOW_CONN_NARROW", lightly.aws_connection(keys, region_name=lightly.region))

    with pytest.raises(LightlyAccessError, match=r"^(?s:AWS\s+refused\s+Get(Role|User)\s+.*'narrow'.*AccessDenied)"):
        create(
            f"other-{uuid.uuid4().hex[:12]}",
            context,
            access_conn_id="ssm://narrow/lightly/other",
            aws_conn_id="narrow",
            **places(bucket),
        )
