"""An IAM in memory, with the answers and exceptions that boto3 gives, as far as ``lightly_provider.access`` asks."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from lightly_provider.access.principals import MARK_KEY, MARK_VALUE
from lightly_provider.aws.policies import trust_policy

ACCOUNT = "123456789012"
ROLE_ARN, USER_ARN = f"arn:aws:iam::{ACCOUNT}:role/lightly", f"arn:aws:iam::{ACCOUNT}:user/lightly"
MARK = {"Key": MARK_KEY, "Value": MARK_VALUE}


class NoSuchEntityError(Exception):
    """As boto3's ``NoSuchEntityException``."""


class OtherError(Exception):
    """Any other of IAM's exceptions; none of them is raised."""


class Waiter:
    """A waiter of boto3 for what is there at once."""

    def wait(self, **_: Any) -> None:
        """Nothing."""


@dataclass
class Iam:
    """
    A client of IAM, whose account has at most one role and one user.

    :param role: The role, as GetRole returns it; None: there is none.
    :param user: The user, as GetUser returns it; None: there is none.
    :param keys: The ids of the user's access keys, oldest first.
    :param policies: The inline policies, by name.
    :param calls: The names of the operations that changed something.
    """

    role: dict[str, Any] | None = None
    user: dict[str, Any] | None = None
    keys: list[str] = field(default_factory=list)
    policies: dict[str, Any] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    exceptions = SimpleNamespace(
        NoSuchEntityException=NoSuchEntityError,
        LimitExceededException=type("LimitExceeded", (OtherError,), {}),
        EntityAlreadyExistsException=type("EntityAlreadyExists", (OtherError,), {}),
        DeleteConflictException=type("DeleteConflict", (OtherError,), {}),
    )

    @classmethod
    def with_role(cls, *external_ids: str) -> Iam:
        """An account with a role of this provider that trusts these external IDs."""
        trust = trust_policy(list(external_ids))
        return cls(role={"Arn": ROLE_ARN, "Path": "/", "Tags": [MARK], "AssumeRolePolicyDocument": trust})

    @classmethod
    def with_user(cls, *keys: str) -> Iam:
        """An account with a user of this provider that has these access keys."""
        return cls(user={"Arn": USER_ARN, "Path": "/", "Tags": [MARK]}, keys=list(keys))

    @property
    def trusted(self) -> Any:
        """The external IDs that the role trusts."""
        assert self.role is not None
        return self.role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"]

    # --- reading -------------------------------------------------------------------------------------------------

    def get_role(self, *, RoleName: str) -> dict[str, Any]:  # noqa: N803
        """See boto3."""
        return {"Role": self._there(self.role)}

    def get_user(self, *, UserName: str) -> dict[str, Any]:  # noqa: N803
        """See boto3."""
        return {"User": self._there(self.user)}

    def get_role_policy(self, *, RoleName: str, PolicyName: str) -> dict[str, Any]:  # noqa: N803
        """See boto3."""
        return {"PolicyDocument": self._there(self.policies.get(PolicyName))}

    def get_user_policy(self, *, UserName: str, PolicyName: str) -> dict[str, Any]:  # noqa: N803
        """See boto3."""
        return {"PolicyDocument": self._there(self.policies.get(PolicyName))}

    def list_access_keys(self, *, UserName: str) -> dict[str, Any]:  # noqa: N803
        """See boto3."""
        found = [{"AccessKeyId": key, "Status": "Active", "CreateDate": n} for n, key in enumerate(self.keys)]
        return {"AccessKeyMetadata": found}

    def get_access_key_last_used(self, *, AccessKeyId: str) -> dict[str, Any]:  # noqa: N803
        """See boto3."""
        return {"AccessKeyLastUsed": {"LastUsedDate": 1}}

    def get_waiter(self, name: str) -> Waiter:
        """See boto3."""
        return Waiter()

    @staticmethod
    def _there(found: Any) -> Any:
        if found is None:
            raise NoSuchEntityError
        return found

    # --- writing -------------------------------------------------------------------------------------------------

    def create_user(self, *, UserName: str, **arguments: Any) -> None:  # noqa: N803
        """See boto3."""
        self.user = {"Arn": USER_ARN, **arguments}

    def put_role_policy(self, *, RoleName: str, PolicyName: str, PolicyDocument: str) -> None:  # noqa: N803
        """See boto3."""
        self.policies[PolicyName] = json.loads(PolicyDocument)

    def put_user_policy(self, *, UserName: str, PolicyName: str, PolicyDocument: str) -> None:  # noqa: N803
        """See boto3."""
        self.policies[PolicyName] = json.loads(PolicyDocument)

    def update_role(self, *, RoleName: str, MaxSessionDuration: int) -> None:  # noqa: N803
        """See boto3."""
        assert self.role is not None
        self.role["MaxSessionDuration"] = MaxSessionDuration

    def update_assume_role_policy(self, *, RoleName: str, PolicyDocument: str) -> None:  # noqa: N803
        """See boto3."""
        assert self.role is not None
        self.role["AssumeRolePolicyDocument"] = json.loads(PolicyDocument)

    def create_access_key(self, *, UserName: str) -> dict[str, Any]:  # noqa: N803
        """See boto3."""
        key = f"AKIANEW{len(self.calls):013}"
        self.calls.append("create_access_key")
        self.keys.append(key)
        return {"AccessKey": {"AccessKeyId": key, "SecretAccessKey": "CANARY".ljust(40, "0")}}

    def delete_access_key(self, *, UserName: str, AccessKeyId: str) -> None:  # noqa: N803
        """See boto3."""
        self.keys.remove(AccessKeyId)
