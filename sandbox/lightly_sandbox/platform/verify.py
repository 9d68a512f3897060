"""The four permission lights: real S3 operations with a datasource's own credentials.

They leave nothing in the bucket, whatever the policy allows:

- read: get an object if there is one; else a key that does not exist. S3 then returns 404 if the caller may
  read and list, and a 403 whose message requires s3:ListBucket, not s3:GetObject, if the caller may only read
  (AWS docs: S3, GetObject; in another account's bucket the message lacks this, and the light stays red).
- overwrite requires the permission to delete (docs.lightly.ai, AWS S3, s3:DeleteObject). It is probed first,
  on the missing probe key, because deleting a missing object requires the same permission.
- write: with the permission to delete, put the probe object twice and delete it. Without it the object could
  not be removed, so send it with a wrong digest: S3 checks the permission first (403) and then the digest
  (400 BadDigest), and stores nothing.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from lightly_sandbox.platform.models.datasources import (
    DatasourceConfigVerifyData,
    DatasourceConfigVerifyDataErrors,
)
from lightly_sandbox.platform.s3_access import aws_text
from lightly_sandbox.platform.settings import VerifyScope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lightly_sandbox.platform.s3_access import Place, S3Access, S3Config

PROBE = ".lightly/verify-permissions"
"""Lightly writes below ``.lightly/`` only, and reads its own files there."""

_MAY_NOT_LIST = "is not authorized to perform: s3:ListBucket"
_NO_SUCH_DIGEST = base64.b64encode(bytes(16)).decode()


@dataclass(frozen=True, slots=True)
class Light:
    """Whether an operation is allowed; if not, AWS's error."""

    allowed: bool
    error: str | None = None


GREEN = Light(True)


def verify(
    access: S3Access, source: S3Config, target: S3Config, scope: VerifyScope
) -> DatasourceConfigVerifyData:
    """Test ``source`` (INPUT) and ``target`` (LIGHTLY) according to ``scope``; they may be the same."""
    match scope:
        case VerifyScope.COMBINED:
            lights = (*_reading(access, source), *_writing(access, target))
        case VerifyScope.INPUT:
            lights = (*_reading(access, source), *_writing(access, source))
        case VerifyScope.LIGHTLY:
            lights = (*_reading(access, target), *_writing(access, target))
        case VerifyScope.WORST:
            configs = dict.fromkeys((source, target))
            reading = [_reading(access, config) for config in configs]
            writing = [_writing(access, config) for config in configs]
            lights = (*_worst(reading), *_worst(writing))
    listed, read, written, overwritten = lights
    errors = DatasourceConfigVerifyDataErrors(
        can_list=listed.error, can_read=read.error, can_write=written.error, can_overwrite=overwritten.error
    )
    return DatasourceConfigVerifyData(
        can_list=listed.allowed,
        can_read=read.allowed,
        can_write=written.allowed,
        can_overwrite=overwritten.allowed,
        errors=errors if errors.wire() else None,
    )


def _reading(access: S3Access, config: S3Config) -> tuple[Light, Light]:
    """Return the lights for list and read."""
    try:
        place = access.fresh_place(config)
    except (ClientError, BotoCoreError) as refused:
        light = Light(False, aws_text(refused))
        return light, light
    listed, first_key = _list(place)
    return listed, _read(place, first_key)


def _writing(access: S3Access, config: S3Config) -> tuple[Light, Light]:
    """Return the lights for write and overwrite."""
    try:
        place = access.fresh_place(config)
    except (ClientError, BotoCoreError) as refused:
        light = Light(False, aws_text(refused))
        return light, light
    return _write(place)


def _worst(pairs: list[tuple[Light, Light]]) -> tuple[Light, Light]:
    """Return, for each light, the first that is not green; green if all are."""

    def first_refusal(lights: Iterable[Light]) -> Light:
        return next((light for light in lights if not light.allowed), GREEN)

    return first_refusal(first for first, _ in pairs), first_refusal(second for _, second in pairs)


def _try(operation: Callable[[], object], *proof: str) -> Light:
    """Return green if ``operation`` succeeds, or fails with a code that proves the right, e.g. NoSuchKey."""
    try:
        operation()
    except ClientError as refused:
        if refused.response["Error"].get("Code") in proof:
            return GREEN
        return Light(False, aws_text(refused))
    except BotoCoreError as failed:
        return Light(False, aws_text(failed))
    return GREEN


def _list(place: Place) -> tuple[Light, str | None]:
    keys: list[str] = []

    def list_one() -> None:
        found = place.client.list_objects_v2(
            Bucket=place.location.bucket, Prefix=place.location.prefix, MaxKeys=20
        )
        keys.extend(entry["Key"] for entry in found.get("Contents", []) if not entry["Key"].endswith("/"))

    return _try(list_one), keys[0] if keys else None


def _read(place: Place, key: str | None) -> Light:
    bucket = place.location.bucket
    if key is not None:
        # Read its first byte. If the range does not exist, the object is empty and can be read; if the object
        # was deleted since it was listed (it may be another verification's probe), only readers learn that.
        return _try(
            lambda: place.client.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")["Body"].read(),
            "InvalidRange",
            "NoSuchKey",
        )
    probe = place.location.key(PROBE)
    light = _try(lambda: place.client.get_object(Bucket=bucket, Key=probe)["Body"].read(), "NoSuchKey")
    return GREEN if _MAY_NOT_LIST in (light.error or "") else light


def _write(place: Place) -> tuple[Light, Light]:
    bucket, probe = place.location.bucket, place.location.key(PROBE)
    encryption = (
        {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": place.kms_key_arn} if place.kms_key_arn else {}
    )

    def put(body: bytes, **digest: str) -> None:
        place.client.put_object(Bucket=bucket, Key=probe, Body=body, **encryption, **digest)  # type: ignore[arg-type]

    def delete() -> None:
        place.client.delete_object(Bucket=bucket, Key=probe)

    may_delete = _try(delete)
    if not may_delete.allowed:
        written = _try(lambda: put(b"first", ContentMD5=_NO_SUCH_DIGEST), "BadDigest")
        return written, may_delete
    written = _try(lambda: put(b"first"))
    overwritten = _try(lambda: put(b"second")) if written.allowed else written
    deleted = _try(delete)
    return written, overwritten if deleted.allowed else deleted
