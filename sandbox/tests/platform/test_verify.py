from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import Mock, create_autospec

import pytest

from lightly_sandbox.aws.location import S3Location
from lightly_sandbox.platform.models.datasources import DatasourceConfigS3
from lightly_sandbox.platform.s3_access import Place
from lightly_sandbox.platform.settings import VerifyScope
from lightly_sandbox.platform.verify import verify
from tests.lab.sandbox import DELETE, LIST, READ, WRITE, allow, with_keys, with_role

if TYPE_CHECKING:
    from tests.lab.sandbox import Api, Customer

LIGHTS = ("canList", "canRead", "canWrite", "canOverwrite")
EXTERNAL_ID = "an-external-id"


def _verify(api: Api, *sources: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The green lights, and the errors of the others."""
    dataset_id = api.new_dataset()
    for source in sources:
        api.put_datasource(dataset_id, **source)
    answer = api.ok("GET", f"/v1/datasets/{dataset_id}/datasource/verify")
    errors = answer.get("errors", {})
    green = [light for light in LIGHTS if answer[light]]
    assert sorted(errors) == sorted(set(LIGHTS) - set(green)), "an error for each light that is not green"
    return green, errors


@pytest.mark.parametrize("access", ["user", "delegated"])
@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(("in/a.jpg",), id="with files"),
        pytest.param(("elsewhere.jpg",), id="empty", marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.parametrize(
    ("actions", "green"),
    [
        ([LIST], ["canList"]),
        ([LIST, READ], ["canList", "canRead"]),
        ([LIST, READ, WRITE], ["canList", "canRead", "canWrite"]),
        ([LIST, READ, WRITE, DELETE], ["canList", "canRead", "canWrite", "canOverwrite"]),
        ([LIST, READ, DELETE], ["canList", "canRead"]),
        ([LIST, WRITE, DELETE], ["canList", "canWrite", "canOverwrite"]),
        ([READ], ["canRead"]),
        (["GetBucketLocation"], []),
    ],
    ids="+".join,
)
def test_the_lights_follow_the_policy_and_nothing_is_left_behind(
    api: Api,
    customer: Customer,
    access: str,
    objects: tuple[str, ...],
    actions: list[str],
    green: list[str],
) -> None:
    bucket = customer.bucket(*objects)
    path, statements = f"s3://{bucket}/in/", allow(bucket, *actions)
    if access == "user":
        source = with_keys(path, "INPUT_OUTPUT", customer.user(*statements))
    else:
        source = with_role(path, "INPUT_OUTPUT", customer.role(EXTERNAL_ID, *statements), EXTERNAL_ID)
    found, errors = _verify(api, source)
    assert found == green
    assert all("AccessDenied" in error for error in errors.values())
    assert customer.keys(bucket) == list(objects)
    assert customer.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_with_two_datasources_each_light_is_about_its_own(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("in/a.jpg", "out/b.jpg")
    objects = f"arn:aws:s3:::{bucket}"
    reader = customer.user(
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": objects},
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"{objects}/in/*"},
    )
    writer = customer.user(
        {"Effect": "Allow", "Action": ["s3:PutObject", "s3:DeleteObject"], "Resource": f"{objects}/out/*"}
    )
    source = with_keys(f"s3://{bucket}/in", "INPUT", reader)
    target = with_keys(f"s3://{bucket}/out", "LIGHTLY", writer)
    assert _verify(api, source, target)[0] == list(LIGHTS)
    target = with_keys(f"s3://{bucket}/in", "LIGHTLY", writer)
    assert _verify(api, source, target)[0] == ["canList", "canRead"]
    assert customer.keys(bucket) == ["in/a.jpg", "out/b.jpg"]


def test_a_policy_for_the_prefix_is_enough(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("in/a.jpg", "private.jpg")
    keys = customer.user(
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": f"arn:aws:s3:::{bucket}",
            "Condition": {"StringLike": {"s3:prefix": "in/*"}},
        },
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/in/*"},
    )
    assert _verify(api, with_keys(f"s3://{bucket}/in", "INPUT", keys))[0] == ["canList", "canRead"]
    assert _verify(api, with_keys(f"s3://{bucket}", "INPUT", keys))[0] == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda keys: (keys[0], keys[1][::-1]), "SignatureDoesNotMatch"),
        (lambda keys: ("AKIA0000000000000000", keys[1]), "InvalidAccessKeyId"),
    ],
    ids=["secret", "key"],
)
def test_a_wrong_key_pair_turns_no_light_green(api: Api, customer: Customer, spoil: Any, words: str) -> None:
    bucket = customer.bucket("a.jpg")
    keys = spoil(customer.user(*allow(bucket, LIST, READ, WRITE, DELETE)))
    found, errors = _verify(api, with_keys(f"s3://{bucket}", "INPUT_OUTPUT", keys))
    assert found == []
    assert all(words in error for error in errors.values())
    assert all(keys[1] not in error for error in errors.values())


def test_a_wrong_external_id_turns_no_light_green(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    role = customer.role(EXTERNAL_ID, *allow(bucket, LIST, READ, WRITE, DELETE))
    found, errors = _verify(api, with_role(f"s3://{bucket}", "INPUT_OUTPUT", role, "another-external-id"))
    assert found == []
    assert all("sts:AssumeRole" in error and role in error for error in errors.values())
    assert all("another-external-id" not in error for error in errors.values())


def test_a_role_with_too_short_a_session_turns_no_light_green(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    role = customer.role(EXTERNAL_ID, *allow(bucket, LIST, READ, WRITE, DELETE), session=3600)
    found, errors = _verify(api, with_role(f"s3://{bucket}", "INPUT_OUTPUT", role, EXTERNAL_ID))
    assert found == []
    assert all("MaxSessionDuration" in error for error in errors.values())


def test_a_light_turns_green_as_soon_as_the_policy_allows_it(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    role = customer.role(EXTERNAL_ID, *allow(bucket, LIST))
    source = with_role(f"s3://{bucket}", "INPUT", role, EXTERNAL_ID)
    assert _verify(api, source)[0] == ["canList"]
    name = role.rsplit("/", 1)[-1]
    customer.iam.put_role_policy(
        RoleName=name,
        PolicyName="more",
        PolicyDocument=str({"Version": "2012-10-17", "Statement": allow(bucket, READ)}).replace("'", '"'),
    )
    assert _verify(api, source)[0] == ["canList", "canRead"]


def test_a_file_deleted_after_it_was_listed_turns_no_light_red(customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    s3 = customer.client("s3")

    def delete(**_: Any) -> None:
        customer.s3.delete_object(Bucket=bucket, Key="a.jpg")

    s3.meta.events.register("before-call.s3.GetObject", delete)
    place = Place(s3, S3Location.parse(f"s3://{bucket}"))
    config = create_autospec(DatasourceConfigS3)
    lights = verify(Mock(fresh_place=lambda _: place), config, config, VerifyScope.COMBINED)
    assert customer.keys(bucket) == []
    assert (lights.can_list, lights.can_read, lights.errors) == (True, True, None)


def test_a_bucket_that_is_not_there_is_named(api: Api, customer: Customer) -> None:
    keys = customer.user({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    found, errors = _verify(api, with_keys("s3://there-is-no-such-bucket", "INPUT_OUTPUT", keys))
    assert found == []
    assert "NoSuchBucket" in errors["canList"]


def test_without_a_datasource_there_is_nothing_to_verify(api: Api) -> None:
    path = f"/v1/datasets/{api.new_dataset()}/datasource/verify"
    assert api.refused("GET", path)[:2] == (400, "DATASET_DATASOURCE_UNKNOWN")
