"""The principal and the location to check, and what is known about the policies around them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightly_provider.aws.location import S3Location
    from lightly_provider.aws.policies import Statement
    from lightly_provider.contract import Purpose


class PolicyOf(StrEnum):
    """The owner of a policy."""

    IDENTITY = "the identity"
    BOUNDARY = "permissions boundary"
    BUCKET = "the bucket"
    KEY = "the KMS key"


@dataclass(frozen=True)
class DenyingStatement:
    """
    A statement with Effect Deny, exactly as in its policy.

    :param of: The policy's owner.
    :param policy: The policy's name for a message, e.g. ``inline policy 'access' of role Lightly``.
    :param statement: The statement.
    :param removal: The command that removes the whole policy, if it contains nothing else; else empty.
    :param arn: The policy's ARN; None for inline and resource-based policies, which have none.
    :param is_own: Whether only this user or role has the policy: an inline policy, or a customer managed policy that
        is attached to nobody else. A shared policy protects others, too, and is never removed.
    """

    of: PolicyOf
    policy: str
    statement: Statement = field(hash=False)
    removal: str = ""
    arn: str | None = None
    is_own: bool = False


@dataclass(frozen=True)
class Surroundings:
    """
    What Airflow's own identity could read about the policies around a target.

    :param denying: Statements with Effect Deny in these policies.
    :param boundary_arn: The permissions boundary of the user or role; None if there is none, or it was not looked up.
    :param owner_of_inactive_key: The name of the IAM user whose access key is inactive; None otherwise.
    :param bucket_policy_is_hidden: Whether AWS refused to return the bucket policy to Airflow's own identity.
    """

    denying: tuple[DenyingStatement, ...] = ()
    boundary_arn: str | None = None
    owner_of_inactive_key: str | None = None
    bucket_policy_is_hidden: bool = False


NOTHING_KNOWN = Surroundings()


@dataclass(frozen=True)
class Target:
    """
    The principal and the location to check: an existing or planned datasource.

    :param location: The location.
    :param access: The principal, as :meth:`UserAccess.describe` returns it.
    :param purpose: What the dataset uses the datasource for.
    :param thumbnails: Whether the platform stores thumbnails there.
    :param kms_key_arn: The KMS key with which Lightly encrypts what it writes; None for S3 managed keys, or if unknown.
    :param partition: The AWS partition of the bucket.
    :param region: The datasource's region; None if it has none.
    :param role_arn: The role, for delegated access; None for user access.
    :param principal_arn: The ARN of the IAM user, if known; None otherwise.
    :param surroundings: What is known about the policies around it.
    """

    location: S3Location
    access: str
    purpose: Purpose
    thumbnails: bool = False
    kms_key_arn: str | None = None
    partition: str = "aws"
    region: str | None = None
    role_arn: str | None = None
    principal_arn: str | None = None
    surroundings: Surroundings = NOTHING_KNOWN

    @property
    def known_principal(self) -> str | None:
        """The ARN of the user or role; None if unknown."""
        return self.role_arn or self.principal_arn

    @property
    def principal(self) -> str:
        """The principal that a resource-based policy must name; a placeholder if unknown."""
        return self.known_principal or "<the ARN of the IAM user whose key it is>"

    @property
    def identity(self) -> str:
        """The name of the role or user, e.g. ``role Lightly``."""
        if self.role_arn:
            return f"role {self.role_name}"
        if self.principal_arn:
            return f"user {self.principal_arn.rpartition('/')[2]}"
        return "user <name of the IAM user>"

    @property
    def role_name(self) -> str:
        """The role's name, without its path."""
        return self.role_arn.rpartition("/")[2] if self.role_arn else "<role>"

    @property
    def bucket_arn(self) -> str:
        """The bucket's ARN."""
        return f"arn:{self.partition}:s3:::{self.location.bucket}"

    @property
    def objects_arn(self) -> str:
        """The ARN pattern of all objects at the location."""
        return f"{self.bucket_arn}/{self.location.prefix}*"

    def resource_of(self, action: str) -> str:
        """Return the ARN of an S3 action's resource at the location; for objects, a representative one."""
        if action == "s3:ListBucket":
            return self.bucket_arn
        return f"{self.bucket_arn}/{self.location.prefix}.lightly/verify"
