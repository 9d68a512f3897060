"""What a try of a creation or a deletion leaves behind, and what it must have seen to succeed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.access.principals import Wanted
from lightly_provider.access.provisioning import AccessProvisioning
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import policy_document
from lightly_provider.contract import Purpose
from lightly_provider.exceptions import LightlyAccessError
from tests.unit.access.aws_account import Iam
from tests.unit.access.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

PHOTOS = S3Location.parse("s3://my-bucket/photos/", argument="photos")
POLICY = policy_document(PHOTOS, Purpose.INPUT)
WANTED = Wanted(name="lightly", policy=POLICY)


@pytest.fixture
def s3_answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], list[str]]:
    """S3 that lists or denies; returns the list of the operations that it is asked for."""
    from botocore.client import BaseClient
    from botocore.exceptions import ClientError

    def answers(allowed: bool) -> list[str]:
        asked: list[str] = []

        def call(_: Any, operation: str, arguments: Any) -> dict[str, Any]:
            asked.append(operation)
            if not allowed:
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, operation)
            return {"KeyCount": 0}

        monkeypatch.setattr(BaseClient, "_make_api_call", call)
        return asked

    return answers


def provisioning(iam: Iam, store: MemoryStore, timeout: float = 0) -> AccessProvisioning:
    return AccessProvisioning(iam=iam, store=store, endpoint={"region_name": "eu-central-1"}, timeout=timeout)


def test_no_try_succeeds_whose_keys_were_not_seen_to_list(s3_answers: Callable[[bool], list[str]]) -> None:
    access = provisioning(Iam(), MemoryStore("kept"))
    for _ in range(3):
        asked = s3_answers(False)
        with pytest.raises(LightlyAccessError, match=r"list in s3://my-bucket/photos/ is denied"):
            access.create_user(WANTED, [PHOTOS])
        assert asked == ["ListObjectsV2"]

    asked = s3_answers(True)
    assert access.create_user(WANTED, [PHOTOS]).changed == ()
    assert asked == ["ListObjectsV2"]


def test_when_all_is_well_each_location_is_listed_twice(s3_answers: Callable[[bool], list[str]]) -> None:
    access = provisioning(Iam(), MemoryStore("kept"), timeout=60)
    asked = s3_answers(True)
    access.create_user(WANTED, [PHOTOS, PHOTOS])
    assert asked == ["ListObjectsV2"] * 4
