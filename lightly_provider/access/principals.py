"""
The IAM role or user that the platform uses: found or created, then compared and set, and deleted again.

Acts through a boto3 IAM client that the caller passes in. Nothing is changed that does not have this provider's tag.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.policies import ROLE_SESSION_SECONDS
from lightly_provider.aws.policy_documents import PolicyKind, check_size, compact, same_meaning
from lightly_provider.exceptions import LightlyAccessError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightly_provider.aws.policies import PolicyDocument

# A tag in IAM and of a secret; a member of a connection's extra.
MARK_KEY, MARK_VALUE = "managed-by", "airflow-provider-lightly"


class OvertakenError(LightlyAccessError):
    """Another task made the same at the same moment: what is there now must be looked at again."""


class PrincipalKind(StrEnum):
    """What the platform uses: a role in delegated access, a user in user access."""

    ROLE = "role"
    USER = "user"


POLICY_NAME = "lightly-access"
_DESCRIPTION = "Lightly reads and writes S3 locations through this role."
# AWS docs: IAM, "CreateRole" and "CreateUser": how long the SDK's own waiters may look for what was just made.
_WAITER = {"Delay": 1, "MaxAttempts": 30}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """
    A role or user as it is wanted.

    :param name: Its name, which is unique in the account.
    :param policy: What it may do; its one inline policy of ours.
    :param path: Its IAM path, with a slash at both ends.
    :param permissions_boundary: ARN of a managed policy that limits it; None: no boundary.
    :param tags: Its tags, beside the mark of this provider. Others that it has are left alone.
    :param allow_unmanaged: Whether one without our mark may be taken over.
    """

    name: str
    policy: PolicyDocument
    path: str = "/"
    permissions_boundary: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    allow_unmanaged: bool = False


@dataclass(frozen=True, kw_only=True)
class Found:
    """
    A role or user as IAM describes it.

    :param arn: Its ARN.
    :param path: Its IAM path.
    :param tags: Its tags.
    :param permissions_boundary: ARN of its boundary; None if it has none.
    :param trust: A role's trust policy, which holds the external ID; None for a user.
    :param session_seconds: A role's maximum session duration; None for a user.
    """

    arn: str
    path: str
    tags: Mapping[str, str]
    permissions_boundary: str | None
    trust: PolicyDocument | None = field(default=None, repr=False)
    session_seconds: int | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it bears this provider's mark."""
        return self.tags.get(MARK_KEY) == MARK_VALUE


@dataclass(frozen=True, kw_only=True)
class Key:
    """
    An access key of a user, without its secret.

    :param key_id: Its id.
    :param active: Whether it may be used.
    :param used: Whether AWS has recorded any use of it.
    """

    key_id: str
    active: bool
    used: bool


class IamPrincipals:
    """
    The roles, or the users, of an AWS account.

    :param iam: boto3's client for IAM.
    :param kind: Which of the two.
    """

    def __init__(self, iam: Any, kind: PrincipalKind) -> None:
        self._iam = iam
        self._kind = kind

    # --- looking -------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Found | None:
        """The role or user of this name; None if there is none."""
        try:
            answer = self._call("get_{}", name)[self._kind.capitalize()]
        except self._iam.exceptions.NoSuchEntityException:
            return None
        return Found(
            arn=answer["Arn"],
            path=answer["Path"],
            tags={tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])},
            permissions_boundary=answer.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            trust=answer.get("AssumeRolePolicyDocument"),
            session_seconds=answer.get("MaxSessionDuration"),
        )

    def policy(self, name: str) -> PolicyDocument | None:
        """Our inline policy of it; None if it has none."""
        try:
            document: PolicyDocument = self._call("get_{}_policy", name, PolicyName=POLICY_NAME)["PolicyDocument"]
        except self._iam.exceptions.NoSuchEntityException:
            return None
        return document

    def keys(self, name: str) -> list[Key]:
        """A user's access keys, oldest first."""
        listed = self._call("list_access_keys", name)["AccessKeyMetadata"]
        return [
            Key(key_id=key["AccessKeyId"], active=key["Status"] == "Active", used=self._was_used(key["AccessKeyId"]))
            for key in sorted(listed, key=lambda key: key["CreateDate"])
        ]

    def _was_used(self, key_id: str) -> bool:
        answer = self._iam.get_access_key_last_used(AccessKeyId=key_id)
        return "LastUsedDate" in answer.get("AccessKeyLastUsed", {})

    # --- setting -------------------------------------------------------------------------------------------------

    def ensure(
        self, wanted: Wanted, found: Found | None, *, trust: PolicyDocument | None = None
    ) -> tuple[Found, tuple[str, ...]]:
        """
        Make it so, by as few changes as that takes.

        :param wanted: The role or user.
        :param found: What the caller found, and made its choices by; None: nothing.
        :param trust: The trust policy of a role; None for a user.
        :return: What there is now, and the names of what was changed; empty if all was so.
        :raises OvertakenError: Another task created it at the same time, perhaps with another external ID.
        :raises LightlyAccessError: One of this name is not ours, or lies under another path.
        """
        inline = PolicyKind.ROLE_INLINE if self._kind is PrincipalKind.ROLE else PolicyKind.USER_INLINE
        check_size(wanted.policy, inline, argument=f"The policy for the {self._kind} {wanted.name!r}")
        if trust is not None:
            check_size(trust, PolicyKind.TRUST, argument=f"The external ID of the role {wanted.name!r}")
        changed: list[str] = []
        if found is None:
            found = self._create(wanted, trust)
            changed.append(str(self._kind))
        self.check_ownership(wanted.name, found, allow_unmanaged=wanted.allow_unmanaged)
        if found.path != wanted.path:
            raise LightlyAccessError(
                f"The {self._kind} {wanted.name!r} lies under the path {found.path!r}, and {wanted.path!r} is wanted; "
                "a path cannot be changed, so write the one that it has, or another name."
            )
        changed += self._settle(wanted, found, trust)
        now = self.find(wanted.name)
        return now or found, tuple(changed)

    def check_ownership(self, name: str, found: Found, *, allow_unmanaged: bool) -> None:
        """
        Refuse what is not ours.

        :raises LightlyAccessError: It has not our mark, and ``allow_unmanaged`` is False.
        """
        if not (found.is_ours or allow_unmanaged):
            raise LightlyAccessError(
                f"The {self._kind} {name!r} exists ({found.arn}) without the tag {MARK_KEY}={MARK_VALUE}, so somebody "
                "else made it and it is left alone; choose another name, or set allow_unmanaged=True to take it over."
            )

    def _create(self, wanted: Wanted, trust: PolicyDocument | None) -> Found:
        arguments: dict[str, Any] = {"Path": wanted.path, "Tags": _tag_list({**wanted.tags, MARK_KEY: MARK_VALUE})}
        if wanted.permissions_boundary:
            arguments["PermissionsBoundary"] = wanted.permissions_boundary
        if trust is not None:
            arguments |= {
                "AssumeRolePolicyDocument": compact(trust),
                "MaxSessionDuration": ROLE_SESSION_SECONDS,
                "Description": _DESCRIPTION,
            }
        # Another task was faster, or our first answer was lost.
        overtaken = False
        try:
            self._call("create_{}", wanted.name, **arguments)
        except self._iam.exceptions.EntityAlreadyExistsException:
            overtaken = True
        self._iam.get_waiter(f"{self._kind}_exists").wait(**{self._name_key: wanted.name}, WaiterConfig=_WAITER)
        if overtaken:
            raise OvertakenError(
                f"Another task creates the {self._kind} {wanted.name!r} at the same time; run the task again."
            )
        found = self.find(wanted.name)
        if found is None:
            raise LightlyAccessError(
                f"The {self._kind} {wanted.name!r} was created, and IAM does not know it yet; run the task again."
            )
        return found

    def _settle(self, wanted: Wanted, found: Found, trust: PolicyDocument | None) -> list[str]:
        changed = []
        tags = {**wanted.tags, MARK_KEY: MARK_VALUE}
        missing = {key: value for key, value in tags.items() if found.tags.get(key) != value}
        if missing:
            self._call("tag_{}", wanted.name, Tags=_tag_list(missing))
            changed.append("tags")
        if wanted.permissions_boundary != found.permissions_boundary:
            if wanted.permissions_boundary:
                boundary = {"PermissionsBoundary": wanted.permissions_boundary}
                self._call("put_{}_permissions_boundary", wanted.name, **boundary)
            else:
                self._call("delete_{}_permissions_boundary", wanted.name)
            changed.append("permissions boundary")
        if trust is not None and found.session_seconds != ROLE_SESSION_SECONDS:
            self._call("update_{}", wanted.name, MaxSessionDuration=ROLE_SESSION_SECONDS)
            changed.append("maximum session duration")
        if trust is not None and not same_meaning(found.trust or {}, trust):
            self.set_trust(wanted.name, trust)
            changed.append("trust policy")
        policy = self.policy(wanted.name)
        if policy is None or not same_meaning(policy, wanted.policy):
            document = compact(wanted.policy)
            self._call("put_{}_policy", wanted.name, PolicyName=POLICY_NAME, PolicyDocument=document)
            changed.append("policy")
        return changed

    def set_trust(self, name: str, trust: PolicyDocument) -> None:
        """Set a role's trust policy."""
        self._call("update_assume_role_policy", name, PolicyDocument=compact(trust))

    def create_key(self, name: str) -> tuple[str, str]:
        """
        A new access key of a user: its id, and its secret, which AWS never returns again.

        :raises OvertakenError: The user has two keys, of which at least one was made at the same time.
        """
        try:
            key = self._call("create_access_key", name)["AccessKey"]
        except self._iam.exceptions.LimitExceededException:
            raise OvertakenError(
                f"Another task makes access keys of the user {name!r} at the same time; run the task again."
            ) from None
        return key["AccessKeyId"], key["SecretAccessKey"]

    def delete_key(self, name: str, key_id: str) -> None:
        """Delete an access key of a user, if it is there."""
        with suppress(self._iam.exceptions.NoSuchEntityException):
            self._call("delete_access_key", name, AccessKeyId=key_id)

    # --- taking away ---------------------------------------------------------------------------------------------

    def delete(self, name: str, *, allow_unmanaged: bool = False) -> bool:
        """
        Delete it with our policy and a user's access keys; what others attached to it stays, and IAM then refuses.

        :param name: Its name.
        :param allow_unmanaged: Whether one without our mark may be deleted.
        :return: Whether there was one.
        :raises LightlyAccessError: It is not ours, or has policies or other things that we did not make.
        """
        found = self.find(name)
        if found is None:
            return False
        self.check_ownership(name, found, allow_unmanaged=allow_unmanaged)
        if self._kind is PrincipalKind.USER:
            for key in self._call("list_access_keys", name)["AccessKeyMetadata"]:
                self.delete_key(name, key["AccessKeyId"])
        with suppress(self._iam.exceptions.NoSuchEntityException):
            self._call("delete_{}_policy", name, PolicyName=POLICY_NAME)
        try:
            self._call("delete_{}", name)
        except self._iam.exceptions.NoSuchEntityException:
            return True
        except self._iam.exceptions.DeleteConflictException as error:
            raise LightlyAccessError(
                f"The {self._kind} {name!r} has something that this provider did not make, so IAM does not delete it "
                f"({error.response['Error']['Message']}); take that away by hand, and run the task again. Its access "
                "to the locations is gone already."
            ) from None
        return True

    @property
    def _name_key(self) -> str:
        return f"{self._kind.capitalize()}Name"

    def _call(self, verb: str, name: str, **arguments: Any) -> Any:
        return getattr(self._iam, verb.format(self._kind))(**{self._name_key: name}, **arguments)


def _tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
