"""The platform's answers in the words of a verification, which knows nothing of its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.aws.credentials import DelegatedAccess, UserAccess
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.regions import partition_of
from lightly_provider.contract import Permission, Purpose
from lightly_provider.verification.verdict import DatasourceFacts, Lights

if TYPE_CHECKING:
    from lightly_provider.api.models.datasource import Datasource, PermissionLights


def facts_of(datasource: Datasource) -> DatasourceFacts:
    """A datasource as the platform stores it; its secrets stay behind."""
    access: UserAccess | DelegatedAccess
    if datasource.s3_arn:
        access = DelegatedAccess(datasource.s3_arn, datasource.s3_external_id or "")
    else:
        access = UserAccess(datasource.s3_access_key_id or "", datasource.s3_secret_access_key or "")
    return DatasourceFacts(
        purpose=Purpose(datasource.purpose),
        location=S3Location.from_stored(datasource.full_path),
        access=access.describe(),
        thumbnails=bool(datasource.thumb_suffix),
        kms_key_arn=datasource.kms_key_arn,
        partition=partition_of(datasource.s3_region or ""),
        region=datasource.s3_region,
        role_arn=datasource.s3_arn,
    )


def lights_of(answer: PermissionLights) -> Lights:
    """The answer to a verification."""
    errors = {
        Permission.LIST: answer.errors.can_list,
        Permission.READ: answer.errors.can_read,
        Permission.WRITE: answer.errors.can_write,
        Permission.OVERWRITE: answer.errors.can_overwrite,
    }
    return Lights(
        list=answer.can_list,
        read=answer.can_read,
        write=answer.can_write,
        overwrite=answer.can_overwrite,
        errors={permission: text for permission, text in errors.items() if text},
    )
