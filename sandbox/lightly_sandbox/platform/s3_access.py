"""Access to S3 with a datasource's credentials, and with the platform's own for its artifacts."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import Field, TypeAdapter

from lightly_sandbox.aws.client import CONFIG, S3_CONFIG
from lightly_sandbox.aws.location import S3Location
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.models.datasources import (
    DatasourceConfigS3,
    DatasourceConfigS3DelegatedAccess,
)
from lightly_sandbox.platform.settings import DELEGATED_SESSION_SECONDS, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sts.type_defs import CredentialsTypeDef

S3Config = DatasourceConfigS3 | DatasourceConfigS3DelegatedAccess
_S3_CONFIG: TypeAdapter[S3Config] = TypeAdapter(Annotated[S3Config, Field(discriminator="type")])

URL_SECONDS = 7 * 24 * 60 * 60
"""The longest life of a presigned URL (AWS docs: Signature Version 4, X-Amz-Expires)."""

CLIENT_SECONDS = 15 * 60
"""How long a client is kept: a role whose trust was taken back may not be used for ever."""


@dataclass(frozen=True, slots=True)
class Place:
    """A datasource ready for use: a client with its credentials, and the location of its files."""

    client: S3Client
    location: S3Location
    kms_key_arn: str | None = None

    def url(self, method: Literal["get_object", "put_object", "head_object"], relative: str) -> str:
        """Return a presigned URL for the file ``relative``.

        For writing with the datasource's KMS key, the signature includes the headers that name the key.
        """
        parameters: dict[str, Any] = {"Bucket": self.location.bucket, "Key": self.location.key(relative)}
        if method == "put_object" and self.kms_key_arn:
            parameters |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key_arn}
        return self.client.generate_presigned_url(method, Params=parameters, ExpiresIn=URL_SECONDS)


def parse_s3_config(stored: Mapping[str, Any]) -> S3Config:
    """Read the stored config of a datasource; it is JSON, so its enums are strings."""
    return _S3_CONFIG.validate_python(stored, strict=False)


class S3Access:
    """Creates S3 clients for datasources and caches them for some minutes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._session = boto3.session.Session()
        self._lock = threading.Lock()
        self._kept: dict[S3Config, tuple[float, Place]] = {}
        self.own = self._s3(
            settings.aws_region, settings.lightly_access_key_id, settings.lightly_secret_access_key
        )

    def place(self, config: S3Config) -> Place:
        """Return the datasource ``config`` with a client that may be some minutes old.

        Raises:
            ClientError: AWS refuses the role.
        """
        now = time.monotonic()
        with self._lock:
            kept = self._kept.get(config)
            if kept is not None and now < kept[0]:
                return kept[1]
        place = self.fresh_place(config)
        with self._lock:
            self._kept = {old: entry for old, entry in self._kept.items() if now < entry[0]}
            self._kept[config] = (now + CLIENT_SECONDS, place)
        return place

    def fresh_place(self, config: S3Config) -> Place:
        """Return the datasource ``config`` with a new session of its role.

        Raises:
            ClientError: AWS refuses the role.
        """
        if isinstance(config, DatasourceConfigS3):
            client = self._s3(config.s3_region, config.s3_access_key_id, config.s3_secret_access_key)
        else:
            assumed = self._assume(config)
            client = self._s3(
                config.s3_region,
                assumed["AccessKeyId"],
                assumed["SecretAccessKey"],
                assumed["SessionToken"],
            )
        location = S3Location.parse(config.full_path)
        return Place(client, location, config.s3_server_side_encryption_kms_key)

    def _assume(self, config: DatasourceConfigS3DelegatedAccess) -> CredentialsTypeDef:
        with self._lock:
            sts = self._session.client(
                "sts",
                region_name=self._settings.aws_region,
                endpoint_url=self._settings.aws_url,
                aws_access_key_id=self._settings.lightly_access_key_id,
                aws_secret_access_key=self._settings.lightly_secret_access_key,
                config=CONFIG,
            )
        answer = sts.assume_role(
            RoleArn=config.s3_arn,
            RoleSessionName="lightly",
            ExternalId=config.s3_external_id,
            DurationSeconds=DELEGATED_SESSION_SECONDS,
        )
        return answer["Credentials"]

    def _s3(
        self, region: str, access_key_id: str, secret_access_key: str, session_token: str | None = None
    ) -> S3Client:
        # Creating clients from a shared session is not thread-safe; the clients are.
        with self._lock:
            client = self._session.client(
                "s3",
                region_name=region,
                endpoint_url=self._settings.aws_url,
                aws_access_key_id=access_key_id,
                aws_secret_access_key=secret_access_key,
                aws_session_token=session_token,
                config=S3_CONFIG,
            )
        # boto3 follows S3's redirect to the right region by default. The platform's presigned URLs cannot, so
        # a datasource with a wrong region must also fail here.
        client.meta.events.register_last("before-parameter-build.s3", _stay_in_the_region)
        return client


def _stay_in_the_region(context: dict[str, Any], **_: object) -> None:
    # botocore (1.43, utils.py, S3RegionRedirectorv2.redirect_from_error) redirects no request twice.
    context["s3_redirect"]["redirected"] = True


def place_of(access: S3Access, config: S3Config) -> Place:
    """Return the datasource ready for use, or 400 DATASET_DATASOURCE_CREDENTIALS_ERROR with AWS's message."""
    try:
        return access.place(config)
    except (ClientError, BotoCoreError) as refused:
        raise credentials_error(refused) from refused


def credentials_error(refused: ClientError | BotoCoreError) -> ApiError:
    """Create the error for credentials that AWS refused."""
    return ApiError(
        HTTPStatus.BAD_REQUEST,
        ApiErrorCode.DATASET_DATASOURCE_CREDENTIALS_ERROR,
        f"AWS refused the datasource's credentials: {aws_text(refused)}",
    )


def aws_text(failure: ClientError | BotoCoreError) -> str:
    """Return AWS's error as ``code: message``."""
    if isinstance(failure, ClientError):
        error = failure.response["Error"]
        return f"{error.get('Code', 'Unknown')}: {error.get('Message', '')}"
    return f"{type(failure).__name__}: {failure}"
