"""Datasources: the S3 locations and credentials of a dataset, one per purpose."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import AfterValidator, Field, StrictBool, StringConstraints

from lightly_provider.api.models.wire import Answer, Count, EntityId, Message, Name, Request, Word, drop_none
from lightly_provider.contract import (
    EXTERNAL_ID_PATTERN,
    KMS_KEY_ARN_PATTERN,
    ROLE_ARN_PATTERN,
    SHORTEST_EXTERNAL_ID,
    SHORTEST_ROLE_ARN,
    DatasourceType,
    Purpose,
)

KmsKeyArn = Annotated[str, StringConstraints(min_length=1, pattern=KMS_KEY_ARN_PATTERN)]
RoleArn = Annotated[str, StringConstraints(min_length=SHORTEST_ROLE_ARN, pattern=ROLE_ARN_PATTERN)]
ExternalId = Annotated[str, StringConstraints(min_length=SHORTEST_EXTERNAL_ID, pattern=EXTERNAL_ID_PATTERN)]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


def _not_redacted(text: str) -> str:
    if "***" in text:
        raise ValueError("it has *** in it, as where a secret was replaced, and would be stored so")
    return text


class _S3Datasource(Request):
    purpose: Annotated[Purpose, Field(strict=False)]
    full_path: Annotated[NonEmpty, AfterValidator(_not_redacted)]
    # The contract has an enum of 30 regions, but AWS has opened more since, so the platform validates the region.
    s3_region: NonEmpty
    thumb_suffix: Annotated[str, AfterValidator(_not_redacted)] | None = None
    kms_key_arn: KmsKeyArn | None = Field(default=None, alias="s3ServerSideEncryptionKMSKey")

    SECRET_MEMBERS: ClassVar[tuple[str, ...]]

    def secrets(self) -> tuple[str, ...]:
        """Return the values that must never be shown."""
        return tuple(getattr(self, member) for member in self.SECRET_MEMBERS)

    def public(self) -> dict[str, Any]:
        """Return the members that are set, in wire names, without secrets."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=set(self.SECRET_MEMBERS))


class S3UserAccessDatasource(_S3Datasource):
    """An S3 location that the platform reaches with the keys of an IAM user."""

    type: Literal[DatasourceType.USER_ACCESS] = DatasourceType.USER_ACCESS
    s3_access_key_id: NonEmpty
    s3_secret_access_key: Annotated[str, StringConstraints(min_length=1), Field(repr=False)]
    SECRET_MEMBERS: ClassVar[tuple[str, ...]] = ("s3_secret_access_key",)


class S3DelegatedAccessDatasource(_S3Datasource):
    """An S3 location that the platform reaches by assuming a role with an external ID."""

    type: Literal[DatasourceType.DELEGATED_ACCESS] = DatasourceType.DELEGATED_ACCESS
    s3_arn: RoleArn = Field(alias="s3ARN")
    s3_external_id: Annotated[ExternalId, Field(repr=False)]
    SECRET_MEMBERS: ClassVar[tuple[str, ...]] = ("s3_external_id",)


S3Datasource = S3UserAccessDatasource | S3DelegatedAccessDatasource


# Members of a datasource response that contain secrets, by wire name.
EXTERNAL_ID_MEMBER = "s3ExternalId"
SECRET_MEMBERS = frozenset({"s3SecretAccessKey", EXTERNAL_ID_MEMBER})


class Keys(Protocol):
    """The keys of an IAM user."""

    @property
    def access_key_id(self) -> str: ...
    @property
    def secret_access_key(self) -> str: ...


@runtime_checkable
class Role(Protocol):
    """A role, and the external ID that it requires."""

    @property
    def role_arn(self) -> str: ...
    @property
    def external_id(self) -> str: ...


class Datasource(Answer):
    """
    A datasource as the platform returns it.

    Whether the platform masks secrets in its responses is undocumented, so ``repr`` excludes them. Log and publish only
    :meth:`public`.
    """

    id: EntityId | None = None
    purpose: Word
    type: Word
    full_path: Name = ""
    thumb_suffix: Name | None = None
    s3_region: Word | None = None
    s3_access_key_id: Name | None = None
    s3_secret_access_key: Name | None = Field(default=None, repr=False)
    s3_arn: Name | None = Field(default=None, alias="s3ARN")
    s3_external_id: Name | None = Field(default=None, repr=False)
    kms_key_arn: Name | None = Field(default=None, alias="s3ServerSideEncryptionKMSKey")

    def public(self) -> dict[str, Any]:
        """Return the members that are not secret, in wire names."""
        members = self.model_dump(by_alias=True, exclude={"s3_secret_access_key", "s3_external_id"})
        return drop_none(members)

    def with_access(self, access: Keys | Role) -> S3Datasource:
        """
        Return the request that changes only the access of this datasource.

        :param access: Keys or role.
        :raises ValueError: The platform's answer had a secret in the path, which was replaced by ``***``.
        """
        # Copy every member of a request, because an omitted member would be cleared.
        same = {member: getattr(self, member) for member in _S3Datasource.model_fields}
        if isinstance(access, Role):
            return S3DelegatedAccessDatasource(s3_arn=access.role_arn, s3_external_id=access.external_id, **same)
        return S3UserAccessDatasource(
            s3_access_key_id=access.access_key_id, s3_secret_access_key=access.secret_access_key, **same
        )

    def same_as(self, wanted: S3Datasource) -> bool:
        """
        Return whether setting ``wanted`` would change nothing.

        If the response hides the secret, it counts as different.
        """
        mine = drop_none(self.model_dump(by_alias=True, exclude={"id"}))
        theirs = wanted.to_wire()
        if "thumbSuffix" not in theirs and not mine.get("thumbSuffix"):
            mine.pop("thumbSuffix", None)
        return mine == theirs


class PermissionErrors(Answer):
    """The cloud provider's error message for each operation that failed in the platform's verification."""

    can_list: Message | None = None
    can_read: Message | None = None
    can_write: Message | None = None
    can_overwrite: Message | None = None


class PermissionLights(Answer):
    """The platform's verification of a datasource, shown as four lights on its page: one per permission."""

    can_list: StrictBool
    can_read: StrictBool
    can_write: StrictBool
    can_overwrite: StrictBool
    errors: PermissionErrors = PermissionErrors()


class ProcessedUntilRequest(Request):
    """Body of ``update_datasource_processed_until_timestamp_by_dataset_id``."""

    processed_until_timestamp: Annotated[int, Field(ge=0)]


class ProcessedUntil(Answer):
    """Until when the dataset's files have been processed; 0: none were."""

    processed_until_timestamp: Count
