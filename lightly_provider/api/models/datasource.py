"""Datasources: the S3 locations and credentials of a dataset, one per purpose."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from lightly_provider.api.models.wire import Answer, Request, drop_none

KmsKeyArn = Annotated[str, StringConstraints(min_length=1, pattern=r"^arn:aws:kms:[a-zA-Z0-9-]*:[0-9]{12}:key.+$")]
RoleArn = Annotated[str, StringConstraints(min_length=12, pattern=r"^arn:aws:iam::[0-9]{12}:role.+$")]
ExternalId = Annotated[str, StringConstraints(min_length=10, pattern=r"^[a-zA-Z0-9_+=,.@:\/-]+$")]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


# What a datasource is for (lightly 1.5.26, models/datasource_purpose.py).
WirePurpose = Literal["INPUT", "LIGHTLY", "INPUT_OUTPUT"]


class _S3Datasource(Request):
    purpose: WirePurpose
    full_path: NonEmpty
    # The contract has an enum of 30 regions; AWS has opened more since, so the platform decides.
    s3_region: NonEmpty
    thumb_suffix: str | None = None
    kms_key_arn: KmsKeyArn | None = Field(default=None, alias="s3ServerSideEncryptionKMSKey")

    SECRET_MEMBERS: ClassVar[tuple[str, ...]]

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown."""
        return tuple(getattr(self, member) for member in self.SECRET_MEMBERS)

    def public(self) -> dict[str, Any]:
        """What is set, in wire names, with the secrets left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=set(self.SECRET_MEMBERS))


class S3UserAccessDatasource(_S3Datasource):
    """An S3 location that the platform reaches with the keys of an IAM user."""

    type: Literal["S3"] = "S3"
    s3_access_key_id: NonEmpty
    s3_secret_access_key: Annotated[str, StringConstraints(min_length=1), Field(repr=False)]
    SECRET_MEMBERS: ClassVar[tuple[str, ...]] = ("s3_secret_access_key",)


class S3DelegatedAccessDatasource(_S3Datasource):
    """An S3 location that the platform reaches by assuming a role with an external ID."""

    type: Literal["S3DelegatedAccess"] = "S3DelegatedAccess"
    s3_arn: RoleArn = Field(alias="s3ARN")
    s3_external_id: Annotated[ExternalId, Field(repr=False)]
    SECRET_MEMBERS: ClassVar[tuple[str, ...]] = ("s3_external_id",)


S3Datasource = S3UserAccessDatasource | S3DelegatedAccessDatasource


class Datasource(Answer):
    """
    A datasource as the platform describes it.

    Whether the platform masks secrets in its answers is undocumented, so this holds them out of its ``repr``;
    log and publish :meth:`public` only.
    """

    id: str | None = None
    purpose: str
    type: str
    full_path: str = ""
    thumb_suffix: str | None = None
    s3_region: str | None = None
    s3_access_key_id: str | None = None
    s3_secret_access_key: str | None = Field(default=None, repr=False)
    s3_arn: str | None = Field(default=None, alias="s3ARN")
    s3_external_id: str | None = Field(default=None, repr=False)
    kms_key_arn: str | None = Field(default=None, alias="s3ServerSideEncryptionKMSKey")

    def public(self) -> dict[str, Any]:
        """The members that are not secret, in wire names."""
        members = self.model_dump(by_alias=True, exclude={"s3_secret_access_key", "s3_external_id"})
        return drop_none(members)

    def same_as(self, wanted: S3Datasource) -> bool:
        """
        Whether setting ``wanted`` would change nothing.

        An answer that hides the secret can prove nothing about it, and counts as different.
        """
        mine = drop_none(self.model_dump(by_alias=True, exclude={"id"}))
        theirs = wanted.to_wire()
        if "thumbSuffix" not in theirs and not mine.get("thumbSuffix"):
            mine.pop("thumbSuffix", None)
        return mine == theirs


class PermissionErrors(Answer):
    """What the cloud said to each operation that the platform tried in vain."""

    can_list: str | None = None
    can_read: str | None = None
    can_write: str | None = None
    can_overwrite: str | None = None


class PermissionLights(Answer):
    """The four lights of the platform's page: what it could do with a dataset's datasource."""

    can_list: bool
    can_read: bool
    can_write: bool
    can_overwrite: bool
    errors: PermissionErrors = PermissionErrors()
