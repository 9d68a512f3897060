"""Datasources on the wire (lightly 1.5.26, models/datasource_*.py).

Only the two S3 kinds: the sandbox has no other cloud.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypeAliasType

from lightly_sandbox.contract.enums import DatasourcePurpose, S3Region
from lightly_sandbox.contract.wire import Count, Id, KmsKeyArn, NonEmpty, Wire


class DatasourceConfigS3(Wire):
    id: Id | None = None
    purpose: DatasourcePurpose
    type: Literal["S3"]
    thumb_suffix: str | None = None
    full_path: str
    s3_region: S3Region
    s3_access_key_id: NonEmpty
    s3_secret_access_key: NonEmpty
    s3_server_side_encryption_kms_key: KmsKeyArn | None = Field(None, alias="s3ServerSideEncryptionKMSKey")


class DatasourceConfigS3DelegatedAccess(Wire):
    id: Id | None = None
    purpose: DatasourcePurpose
    type: Literal["S3DelegatedAccess"]
    thumb_suffix: str | None = None
    full_path: str
    s3_region: S3Region
    s3_external_id: Annotated[str, Field(min_length=10, pattern=r"^[a-zA-Z0-9_+=,.@:\/-]+$")]
    s3_arn: Annotated[str, Field(min_length=12, pattern=r"^arn:aws:iam::[0-9]{12}:role.+$")] = Field(
        alias="s3ARN"
    )
    s3_server_side_encryption_kms_key: KmsKeyArn | None = Field(None, alias="s3ServerSideEncryptionKMSKey")


DatasourceConfig = TypeAliasType(
    "DatasourceConfig",
    Annotated[DatasourceConfigS3 | DatasourceConfigS3DelegatedAccess, Field(discriminator="type")],
)


class DatasourceProcessedUntilTimestampRequest(Wire):
    processed_until_timestamp: Count


class DatasourceProcessedUntilTimestampResponse(Wire):
    processed_until_timestamp: Count


class DatasourceConfigVerifyDataErrors(Wire):
    can_read: str | None = None
    can_write: str | None = None
    can_list: str | None = None
    can_overwrite: str | None = None


class DatasourceConfigVerifyData(Wire):
    can_read: bool
    can_write: bool
    can_list: bool
    can_overwrite: bool
    errors: DatasourceConfigVerifyDataErrors | None = None


class DatasourceRawSamplesDataRow(Wire):
    file_name: str
    read_url: str


class DatasourceRawSamplesData(Wire):
    has_more: bool
    cursor: str
    data: list[DatasourceRawSamplesDataRow]


class DatasourceRawSamplesMetadataDataRow(DatasourceRawSamplesDataRow):
    """A file of metadata."""


class DatasourceRawSamplesMetadataData(Wire):
    has_more: bool
    cursor: str
    data: list[DatasourceRawSamplesMetadataDataRow]


class DatasourceRawSamplesPredictionsDataRow(DatasourceRawSamplesDataRow):
    """A file of predictions."""


class DatasourceRawSamplesPredictionsData(Wire):
    has_more: bool
    cursor: str
    data: list[DatasourceRawSamplesPredictionsDataRow]


class DivideAndConquerCursorData(Wire):
    cursors: list[str]
