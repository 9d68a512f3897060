"""What a try of a creation or a deletion leaves behind, and what it must have seen to succeed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.access.kept import KeptAccess
from lightly_provider.access.principals import IamPrincipals, PrincipalKind, Wanted
from lightly_provider.access.provisioning import AccessProvisioning, new_key
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import policy_document
from lightly_provider.contract import Purpose
from lightly_provider.exceptions import LightlyAccessError
from tests.unit.access.aws_account import ACCOUNT, ROLE_ARN, USER_ARN, Iam
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


def provisioning(
    iam: Iam, store: MemoryStore, timeout: float = 0, account: Callable[[], str] = lambda: ACCOUNT
) -> AccessProvisioning:
    endpoint = {"region_name": "eu-central-1"}
    return AccessProvisioning(iam=iam, store=store, endpoint=endpoint, timeout=timeout, account=account)


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


# --- a try that ends while it keeps a new key ---------------------------------------------------------------------


class EndedError(BaseException):
    """The task timed out, or its process was told to end."""


class EndingStore(MemoryStore):
    """A place where the try ends at the first read after a write, or at the write."""

    ends_at = "read"
    ended = False
    is_readable = True

    def read(self) -> KeptAccess | None:
        if self.writes and self.ends_at == "read":
            self._end()
        if self.ended and not self.is_readable:
            raise OSError("no route to the store")
        return super().read()

    def write(self, access: KeptAccess) -> None:
        if self.ends_at == "write":
            self._end()
        super().write(access)

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            raise EndedError


@pytest.mark.parametrize(
    ("ends_at", "is_readable", "stays"),
    [("read", True, True), ("read", False, True), ("write", True, False), ("write", False, True)],
)
def test_a_key_that_may_be_kept_is_not_deleted(ends_at: str, is_readable: bool, stays: bool) -> None:
    iam, store = Iam.with_user(), EndingStore("kept")
    store.ends_at, store.is_readable = ends_at, is_readable
    users = IamPrincipals(iam, PrincipalKind.USER)

    with pytest.raises(EndedError):
        new_key(users, "lightly", store, KeptAccess(principal_arn=USER_ARN), seen=None)

    assert len(iam.keys) == stays
    if ends_at == "read":
        assert store.present is not None
        assert [store.present.access_key_id] == iam.keys


# --- another AWS account ------------------------------------------------------------------------------------------

KEPT = {
    PrincipalKind.ROLE: KeptAccess(principal_arn=ROLE_ARN, role_arn=ROLE_ARN, external_id="CANARY-external-id"),
    PrincipalKind.USER: KeptAccess(principal_arn=USER_ARN, access_key_id="AKIA0", secret_access_key="CANARY"),
}


@pytest.mark.parametrize("kind", PrincipalKind)
@pytest.mark.parametrize("allow_unmanaged", [False, True])
def test_an_access_of_another_account_is_neither_removed_nor_replaced(
    kind: PrincipalKind, allow_unmanaged: bool
) -> None:
    iam, store = Iam(), MemoryStore("kept")
    store.present = KEPT[kind]
    access = provisioning(iam, store, account=lambda: "210987654321")
    wanted = replace(WANTED, allow_unmanaged=allow_unmanaged)
    create = access.create_role if kind is PrincipalKind.ROLE else lambda wanted: access.create_user(wanted, [PHOTOS])

    for act in (lambda: access.delete(kind, "lightly", allow_unmanaged=allow_unmanaged), lambda: create(wanted)):
        with pytest.raises(
            LightlyAccessError, match=f"in the account 210987654321 .* the access of .*:{ACCOUNT}:{kind}"
        ):
            act()

    assert store.present == KEPT[kind]
    assert (iam.role, iam.user) == (None, None)


@pytest.mark.parametrize("kind", PrincipalKind)
def test_an_access_is_not_removed_if_aws_does_not_tell_whose_account_it_is(kind: PrincipalKind) -> None:
    store = MemoryStore("kept")
    store.present = KEPT[kind]

    def unknown() -> str:
        raise OSError("no route to AWS")

    with pytest.raises(OSError, match="no route"):
        provisioning(Iam(), store, account=unknown).delete(kind, "lightly")
    assert store.present == KEPT[kind]


@pytest.mark.parametrize("kind", PrincipalKind)
def test_what_is_kept_of_a_principal_that_is_gone_is_removed(kind: PrincipalKind) -> None:
    store = MemoryStore("kept")
    store.present = KEPT[kind]
    assert provisioning(Iam(), store).delete(kind, "lightly") == ("kept access",)
    assert store.present is None


# --- what is changed ----------------------------------------------------------------------------------------------


def test_what_a_replaced_policy_gives_access_to_no_longer_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    iam = Iam.with_user()
    users = IamPrincipals(iam, PrincipalKind.USER)
    users.ensure(WANTED, users.find("lightly"))
    assert caplog.text == ""
    videos = policy_document(S3Location.parse("s3://my-bucket/videos/", argument="videos"), Purpose.INPUT)

    users.ensure(replace(WANTED, policy=videos), users.find("lightly"))

    assert "user 'lightly' gives access to arn:aws:s3:::my-bucket/photos/* no longer" in caplog.text
    assert iam.policies["lightly-access"] == videos


def test_a_boundary_that_somebody_set_is_left_as_it_is_and_said(caplog: pytest.LogCaptureFixture) -> None:
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/security"
    iam = Iam.with_user()
    assert iam.user is not None
    iam.user["PermissionsBoundary"] = {"PermissionsBoundaryArn": boundary}
    users = IamPrincipals(iam, PrincipalKind.USER)

    found, _ = users.ensure(WANTED, users.find("lightly"))

    assert found.permissions_boundary == boundary
    assert f"The user 'lightly' has the permissions boundary {boundary}, which is left as it is." in caplog.text


@pytest.mark.parametrize("lost", [True, False])
def test_what_is_kept_anew_during_a_rotation_does_not_turn_it_around(lost: bool) -> None:
    iam, store = Iam.with_role("the-new-external-id", "the-old-external-id"), MemoryStore("kept")
    if not lost:
        store.present = replace(KEPT[PrincipalKind.ROLE], external_id="no longer trusted")

    provisioning(iam, store).create_role(WANTED)

    assert store.present is not None
    assert (store.present.external_id, store.present.replaces) == ("the-new-external-id", "the-old-external-id")


def test_a_rotation_that_ended_before_its_new_external_id_was_kept_is_not_turned_around() -> None:
    iam, store = Iam.with_role("the-new-external-id", "the-old-external-id"), MemoryStore("kept")
    store.present = replace(KEPT[PrincipalKind.ROLE], external_id="the-old-external-id")

    provisioning(iam, store).create_role(WANTED)

    assert store.present is not None
    assert (store.present.external_id, store.present.replaces) == ("the-old-external-id", None)
