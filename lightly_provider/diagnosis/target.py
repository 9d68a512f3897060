"""Whose access to which location is looked at, and what is known of the policies around it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightly_provider.aws.location import S3Location
    from lightly_provider.aws.policies import Statement
    from lightly_provider.contract import Purpose


class PolicyOf(StrEnum):
    """Whose policy it is."""

    IDENTITY = "the identity"
    BOUNDARY = "permissions boundary"
    BUCKET = "the bucket"
    KEY = "the KMS key"


@dataclass(frozen=True)
class DenyingStatement:
    """
    A statement with Effect Deny, as it stands in a policy.

    :param of: Whose policy it is.
    :param policy: Which one, as a sentence names it, e.g. ``inline policy 'access' of role Lightly``.
    :param statement: The statement.
    :param removal: The command that takes the whole policy away, where it holds nothing else; else empty.
    :param arn: The policy's ARN, where it has one; None for an inline policy and a resource's.
    :param is_own: Whether the policy belongs to this user or role alone: an inline one, or a customer-managed one that
        nobody else has. What belongs to others too protects them, and is never removed.
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
    What Airflow's own identity could read of the policies around a target.

    :param denying: Statements with Effect Deny in the policies that it read.
    :param boundary_arn: The permissions boundary of the user or role; None if there is none, or it was not looked for.
    :param owner_of_inactive_key: The name of the IAM user whose access key was found to be inactive; None otherwise.
    :param bucket_policy_is_hidden: Whether Airflow's own identity was refused the bucket's policy.
    """

    denying: tuple[DenyingStatement, ...] = ()
    boundary_arn: str | None = None
    owner_of_inactive_key: str | None = None
    bucket_policy_is_hidden: bool = False


NOTHING_KNOWN = Surroundings()


@dataclass(frozen=True)
class Target:
    """
    Whose access to which location is looked at: one datasource, or one that is to be.

    :param location: Where.
    :param access: Who, as :meth:`UserAccess.describe` says it.
    :param purpose: What the dataset uses it for.
    :param thumbnails: Whether the platform stores thumbnails there.
    :param kms_key_arn: The key with which Lightly encrypts what it writes; None when S3's own keys do, or unknown.
    :param partition: The AWS partition of the bucket.
    :param region: The region that the datasource has; None if it has none.
    :param role_arn: The role, for delegated access; None for user access.
    :param principal_arn: The ARN of the IAM user, where it is known; None otherwise.
    :param surroundings: What is known of the policies around it.
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
        """The ARN of the user or role; None if it is not known."""
        return self.role_arn or self.principal_arn

    @property
    def principal(self) -> str:
        """Whom a resource's policy must name; a placeholder if it is not known."""
        return self.known_principal or "<the ARN of the IAM user whose key it is>"

    @property
    def identity(self) -> str:
        """The role or user by its name, e.g. ``role Lightly``."""
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
        """The ARN of everything there."""
        return f"{self.bucket_arn}/{self.location.prefix}*"

    def resource_of(self, action: str) -> str:
        """The ARN of what an action of S3 is done to there; of an object, one that stands for all."""
        if action == "s3:ListBucket":
            return self.bucket_arn
        return f"{self.bucket_arn}/{self.location.prefix}.lightly/verify"
