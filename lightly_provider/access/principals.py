"""
Find, create, update and delete the IAM role or user that the platform uses.

Uses a boto3 IAM client that the caller passes in. Only principals with this provider's tag are changed.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.policies import ROLE_SESSION_SECONDS
from lightly_provider.aws.policy_documents import PolicyKind, check_size, compact, dropped_resources, same_meaning
from lightly_provider.exceptions import LightlyAccessError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightly_provider.aws.policies import PolicyDocument

log = logging.getLogger(__name__)

# Tag of IAM principals and secrets, and member of a connection's extra.
MARK_KEY, MARK_VALUE = "managed-by", "airflow-provider-lightly"


class OvertakenError(LightlyAccessError):
    """Another task changed the same resource at the same time; read its state again."""


class PrincipalKind(StrEnum):
    """The kind of IAM principal: a role for delegated access, a user for user access."""

    ROLE = "role"
    USER = "user"


POLICY_NAME = "lightly-access"
_DESCRIPTION = "Lightly reads and writes S3 locations through this role."
# Limits for the SDK's waiters after creation (AWS docs: IAM, "CreateRole" and "CreateUser").
_WAITER = {"Delay": 1, "MaxAttempts": 30}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """
    The desired state of a role or user.

    :param name: Name, unique in the account.
    :param policy: Inline policy that this provider manages.
    :param path: IAM path, with a slash at both ends. Default: ``/``.
    :param permissions_boundary: ARN of the managed policy that is its permissions boundary. None (default): none for a
        new one, and that of an existing one is left as it is.
    :param tags: Tags in addition to this provider's own. Other existing tags stay unchanged. Default: none.
    :param allow_unmanaged: Whether to take over a principal without this provider's tag. Default: False.
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
    The current state of a role or user in IAM.

    :param arn: ARN.
    :param path: IAM path.
    :param tags: Tags.
    :param permissions_boundary: ARN of its permissions boundary; None if it has none.
    :param trust: Trust policy of a role, which contains the external ID; None for a user.
    :param session_seconds: Maximum session duration of a role, in seconds; None for a user.
    """

    arn: str
    path: str
    tags: Mapping[str, str]
    permissions_boundary: str | None
    trust: PolicyDocument | None = field(default=None, repr=False)
    session_seconds: int | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it has this provider's tag."""
        return self.tags.get(MARK_KEY) == MARK_VALUE


@dataclass(frozen=True, kw_only=True)
class Key:
    """
    An access key of a user, without the secret access key.

    :param key_id: Access key id.
    :param active: Whether its status is Active.
    :param used: Whether AWS has recorded any use of it.
    """

    key_id: str
    active: bool
    used: bool


class IamPrincipals:
    """
    Manage the roles or the users of an AWS account.

    :param iam: boto3 IAM client.
    :param kind: Roles or users.
    """

    def __init__(self, iam: Any, kind: PrincipalKind) -> None:
        self._iam = iam
        self._kind = kind

    # --- reading -------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Found | None:
        """Return the role or user with this name; None if it does not exist."""
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
        """Return the inline policy that this provider manages; None if there is none."""
        try:
            document: PolicyDocument = self._call("get_{}_policy", name, PolicyName=POLICY_NAME)["PolicyDocument"]
        except self._iam.exceptions.NoSuchEntityException:
            return None
        return document

    def keys(self, name: str) -> list[Key]:
        """Return a user's access keys, oldest first."""
        listed = self._call("list_access_keys", name)["AccessKeyMetadata"]
        return [
            Key(key_id=key["AccessKeyId"], active=key["Status"] == "Active", used=self._was_used(key["AccessKeyId"]))
            for key in sorted(listed, key=lambda key: key["CreateDate"])
        ]

    def _was_used(self, key_id: str) -> bool:
        answer = self._iam.get_access_key_last_used(AccessKeyId=key_id)
        return "LastUsedDate" in answer.get("AccessKeyLastUsed", {})

    # --- writing -------------------------------------------------------------------------------------------------

    def ensure(
        self, wanted: Wanted, found: Found | None, *, trust: PolicyDocument | None = None
    ) -> tuple[Found, tuple[str, ...]]:
        """
        Create the role or user, or update only what differs from the desired state.

        :param wanted: Desired state.
        :param found: State that the caller read and based its decisions on; None if it does not exist.
        :param trust: Trust policy of a role; None for a user.
        :return: The new state, and the names of the changes; empty if it was up to date.
        :raises OvertakenError: Another task created it at the same time, possibly with another external ID.
        :raises LightlyAccessError: A principal with this name is not managed by this provider, or has another path.
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
        Refuse a principal that this provider does not manage.

        :raises LightlyAccessError: It does not have this provider's tag, and ``allow_unmanaged`` is False.
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
        # Another task was faster, or the response to an earlier attempt was lost.
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
        if wanted.permissions_boundary is None:
            if found.permissions_boundary:
                log.warning(
                    "The %s %r has the permissions boundary %s, which is left as it is.",
                    self._kind,
                    wanted.name,
                    found.permissions_boundary,
                )
        elif wanted.permissions_boundary != found.permissions_boundary:
            boundary = {"PermissionsBoundary": wanted.permissions_boundary}
            self._call("put_{}_permissions_boundary", wanted.name, **boundary)
            changed.append("permissions boundary")
        if trust is not None and found.session_seconds != ROLE_SESSION_SECONDS:
            self._call("update_{}", wanted.name, MaxSessionDuration=ROLE_SESSION_SECONDS)
            changed.append("maximum session duration")
        if trust is not None and not same_meaning(found.trust or {}, trust):
            self.set_trust(wanted.name, trust)
            changed.append("trust policy")
        policy = self.policy(wanted.name)
        if policy is None or not same_meaning(policy, wanted.policy):
            if policy and (dropped := dropped_resources(policy, wanted.policy)):
                log.warning(
                    "The policy of the %s %r gives access to %s no longer; what uses the %s there stops working. Name "
                    "all locations that it is for, or make another %s.",
                    self._kind,
                    wanted.name,
                    ", ".join(dropped),
                    self._kind,
                    self._kind,
                )
            document = compact(wanted.policy)
            self._call("put_{}_policy", wanted.name, PolicyName=POLICY_NAME, PolicyDocument=document)
            changed.append("policy")
        return changed

    def set_trust(self, name: str, trust: PolicyDocument) -> None:
        """Set a role's trust policy."""
        self._call("update_assume_role_policy", name, PolicyDocument=compact(trust))

    def create_key(self, name: str) -> tuple[str, str]:
        """
        Create an access key of a user, and return its id and secret. AWS returns the secret only once.

        :raises OvertakenError: The user has two keys, and at least one of them was created at the same time.
        """
        try:
            key = self._call("create_access_key", name)["AccessKey"]
        except self._iam.exceptions.LimitExceededException:
            raise OvertakenError(
                f"Another task makes access keys of the user {name!r} at the same time; run the task again."
            ) from None
        return key["AccessKeyId"], key["SecretAccessKey"]

    def delete_key(self, name: str, key_id: str) -> None:
        """Delete an access key of a user, if it exists."""
        with suppress(self._iam.exceptions.NoSuchEntityException):
            self._call("delete_access_key", name, AccessKeyId=key_id)

    # --- deleting ---------------------------------------------------------------------------------------------

    def delete(self, name: str, *, allow_unmanaged: bool = False) -> bool:
        """
        Delete the role or user, with this provider's inline policy and a user's access keys.

        Anything that others attached to it is kept, and IAM then refuses the deletion.

        :param name: Name.
        :param allow_unmanaged: Whether to delete a principal without this provider's tag. Default: False.
        :return: Whether it existed.
        :raises LightlyAccessError: This provider does not manage it, or it has other policies or attachments.
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
