"""The rights that the documents give to Airflow's own identity are those that the operators need, and only them."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import LightlyAccessError
from lightly_provider.operators.access import DeleteLightlyAccessOperator
from tests.integration.created_access import create_role, create_user, places
from tests.integration.sandbox import REPOSITORY

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox


def documented() -> list[dict[str, Any]]:
    """The statements of the last section of the page on access."""
    text = (REPOSITORY / "docs" / "access.md").read_text()
    block = text.split("## The rights of Airflow's own identity")[1].split("```json")[1].split("```")[0]
    return list(json.loads(block)["Statement"])


@pytest.mark.parametrize("store", ["secretsmanager", "ssm"])
@pytest.mark.parametrize("create", [create_role, create_user])
def test_the_documented_rights_suffice(
    create: Any, store: str, lightly: Sandbox, bucket: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
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

    create(name, context, permissions_boundary=boundary, **arguments)
    create(name, context, tags={"team": "vision"}, **arguments)
    create(name, context, permissions_boundary=boundary, rotate=True, dataset_ids=[], **arguments)

    kind = "role" if create is create_role else "user"
    delete = {f"{kind}_name": name, "access_conn_id": arguments["access_conn_id"], "aws_conn_id": "narrow"}
    assert DeleteLightlyAccessOperator(task_id="delete", **delete).execute(context) == [kind, "kept access"]


@pytest.mark.parametrize("create", [create_role, create_user])
def test_they_reach_no_role_or_user_of_another_name(
    create: Any, lightly: Sandbox, bucket: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = lightly.user(*documented())
    monkeypatch.setenv("AIRFLOW_CONN_NARROW", lightly.aws_connection(keys, region_name=lightly.region))

    with pytest.raises(LightlyAccessError, match=r"^AWS refused Get(Role|User) .*'narrow'.*AccessDenied"):
        create(
            f"other-{uuid.uuid4().hex[:12]}",
            context,
            access_conn_id="ssm://narrow/lightly/other",
            aws_conn_id="narrow",
            **places(bucket),
        )


@pytest.mark.parametrize("statement", range(5))
def test_none_of_them_is_too_many(statement: int) -> None:
    """Each action that is documented is one that the code calls, by its name in boto3."""
    called = {
        "GetSecretValue",
        "TagResource",  # create_secret with tags
        *("TagRole", "TagUser"),
    }
    for path in (REPOSITORY / "lightly_provider").rglob("*.py"):
        for verb in re.findall(
            r"[\"._]((?:get|create|put|delete|update|tag|list|restore)_[a-z_{}]+)", path.read_text()
        ):
            for kind in ("role", "user"):
                called.add("".join(part.capitalize() for part in verb.replace("{}", kind).split("_")))

    actions = {action.partition(":")[2] for action in documented()[statement]["Action"]}
    assert actions <= called
