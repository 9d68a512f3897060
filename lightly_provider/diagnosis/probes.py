"""
Tries at a location what Lightly does there (list, read, write, overwrite, delete), with the caller's clients.

The probes leave nothing in the bucket. They try the permission to delete first, on a key that does not exist. Only if
it is granted do they write a probe object, which they always delete. Otherwise they send an object with a wrong
digest: S3 checks the permission first (403), then the digest (400), and stores nothing (AWS docs: S3 API reference,
PutObject, "Content-MD5"). The next verification removes what a killed one left behind.
"""

from __future__ import annotations

import base64
import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.bucket import PAGE_SIZE, Inventory, MediaType, is_archived, media_type
from lightly_provider.contract import Permission
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.failures import Failure, failure_of
from lightly_provider.diagnosis.findings import DELETE, Finding, Status
from lightly_provider.diagnosis.remedies import Remedy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from lightly_provider.aws.location import S3Location
    from lightly_provider.diagnosis.target import Target

# Lightly writes below ".lightly/" only.
_PROBE = ".lightly/verify-"
_OWN_PROBE = re.compile(re.escape(_PROBE) + r"[0-9a-f]{32}")
_KEPT_FOR = timedelta(hours=1)
_NO_SUCH_DIGEST = base64.b64encode(bytes(16)).decode()
_TRIES_TO_DELETE = 3
_READERS_ONLY = "S3 answers that an object is missing, which only readers learn"


def probe_keys(sts: Any, target: Target) -> tuple[Finding, Target]:
    """
    Ask AWS whose keys these are; this requires no permission.

    :param sts: A boto3 STS client with the keys.
    :param target: The principal and the location.
    :return: The finding, and ``target`` with the ARN of the user if it is now known.
    """
    try:
        identity = sts.get_caller_identity()
    except Exception as raised:  # noqa: BLE001  (whatever botocore raises is the finding)
        failure = failure_of(raised)
        if failure.cause is Cause.OTHER or failure.cause.row.says_nothing:
            message = f"STS could not be asked: {failure.text or failure.cause}"
            return Finding("keys", Status.UNKNOWN, message, failure), target
        return _failed("keys", failure), target
    arn = str(identity["Arn"])
    owner = arn.rpartition(":")[2]
    return Finding("keys", Status.PASS, f"{owner}, account {identity['Account']}"), replace(target, principal_arn=arn)


def probe_location(
    s3: Any, target: Target, permissions: Collection[Permission], *, kind: MediaType | None = None
) -> list[Finding]:
    """
    Try what Lightly needs to do at a location.

    :param s3: A boto3 S3 client with Lightly's access, in the datasource's region.
    :param target: The principal and the location, with the KMS key that Lightly would encrypt with.
    :param permissions: The required permissions; nothing else is tried except listing, without which nothing can be
        read.
    :param kind: The dataset's media type, to choose the object to read; None: any object.
    :return: A finding for the region if it is wrong, and one for each operation.
    """
    findings = probe_bucket(s3, target)
    if any(finding.failure and finding.failure.cause is Cause.NO_SUCH_BUCKET for finding in findings):
        return findings
    listed, inventory, sample = _list(s3, target.location, kind)
    findings.append(listed)
    if Permission.READ in permissions:
        findings.append(_read(s3, target.location, listed, sample, inventory))
    else:
        findings.append(_skipped(Permission.READ))
    writing = {Permission.WRITE, Permission.OVERWRITE} & set(permissions)
    if writing:
        findings += _write(s3, target, overwriting=Permission.OVERWRITE in writing)
    else:
        findings += [_skipped(Permission.WRITE), _skipped(Permission.OVERWRITE)]
    return findings


def probe_bucket(s3: Any, target: Target) -> list[Finding]:
    """
    Check that the bucket exists, and in which region. S3 returns the region in a header to anybody, also with an error.

    :param s3: A boto3 S3 client in the datasource's region.
    :param target: The location.
    :return: A finding if the bucket does not exist or is not in the datasource's region; else an empty list.
    """
    answers: list[Any] = []
    failure = _attempt(lambda: s3.head_bucket(Bucket=target.location.bucket), answers)
    if failure and failure.cause is Cause.NO_SUCH_BUCKET:
        return [_failed("bucket", replace(failure, text="NoSuchBucket: the bucket does not exist"))]
    headers = answers[0]["ResponseMetadata"].get("HTTPHeaders", {}) if answers else {}
    region = headers.get("x-amz-bucket-region") or (failure.region if failure else None)
    if not region or not target.region or region == target.region:
        return []
    text = f"the bucket lies in {region}, and the datasource names {target.region}"
    return [_failed("region", Failure(Cause.WRONG_REGION, text=text, region=region))]


def _list(s3: Any, location: S3Location, kind: MediaType | None) -> tuple[Finding, Inventory, str | None]:
    inventory = Inventory()
    pages: list[Any] = []
    failure = _attempt(
        lambda: s3.list_objects_v2(Bucket=location.bucket, Prefix=location.prefix, MaxKeys=PAGE_SIZE), pages
    )
    if failure is None:
        page = pages[0]
        entries = page.get("Contents", ())
        inventory.count(location.prefix, [(entry["Key"], entry["Size"]) for entry in entries])
        inventory.is_complete = not page.get("IsTruncated")
        message = inventory.describe()
        found = Finding(Permission.LIST, Status.PASS, message, counts=inventory.numbers())
        return found, inventory, _sample(entries, kind)
    if failure.cause is Cause.DENIED and _requester_pays(s3, location):
        failure = replace(failure, cause=Cause.REQUESTER_PAYS)
    return _failed(Permission.LIST, failure), inventory, None


def _requester_pays(s3: Any, location: S3Location) -> bool:
    """Whether S3 denies only because the request does not accept the charges (AWS docs: S3 user guide, "Requester Pays
    buckets")."""
    return (
        _attempt(
            lambda: s3.list_objects_v2(
                Bucket=location.bucket, Prefix=location.prefix, MaxKeys=1, RequestPayer="requester"
            )
        )
        is None
    )


def _sample(entries: Any, kind: MediaType | None) -> str | None:
    """Return the object to read: if possible one of the right type that is not empty and not archived."""

    def rank(entry: Any) -> tuple[bool, bool, bool]:
        wrong_kind = kind is not None and media_type(entry["Key"]) is not kind
        return (is_archived(entry), wrong_kind, not entry["Size"])

    files = [entry for entry in entries if not entry["Key"].endswith("/")]
    return str(min(files, key=rank)["Key"]) if files else None


def _read(s3: Any, location: S3Location, listed: Finding, sample: str | None, inventory: Inventory) -> Finding:
    if sample is None and listed.status is Status.PASS and not inventory.n_objects:
        return _read_of_nothing(s3, location)
    list_denied = listed.status is not Status.PASS
    key = sample or f"{location.prefix}{_PROBE}{uuid.uuid4().hex}"
    failure = _attempt(
        # Read one byte. If the range does not exist, the object is empty and can be read.
        lambda: s3.get_object(Bucket=location.bucket, Key=key, Range="bytes=0-0")["Body"].read(),
        proofs=("InvalidRange",),
        list_denied=list_denied,
    )
    if failure is None:
        return Finding(Permission.READ, Status.PASS, f"one byte of s3://{location.bucket}/{key}")
    # A listed object may be missing by now: another verification deletes its probe, for one.
    if failure.cause is Cause.NO_SUCH_KEY or (sample is None and _proves_the_right(failure)):
        return Finding(Permission.READ, Status.PASS, _READERS_ONLY)
    if failure.cause is Cause.HIDDEN:
        return Finding(
            Permission.READ,
            Status.UNKNOWN,
            "While list is denied, S3 answers 403 for a missing object too, so read cannot be checked from here",
            failure,
        )
    failed = _failed(Permission.READ, failure)
    return replace(failed, message=f"{failed.message} (on s3://{location.bucket}/{key})")


def _read_of_nothing(s3: Any, location: S3Location) -> Finding:
    """Read an object that does not exist, because there is no other."""
    key = f"{location.prefix}{_PROBE}{uuid.uuid4().hex}"
    failure = _attempt(lambda: s3.get_object(Bucket=location.bucket, Key=key))
    if failure is None or _proves_the_right(failure):
        return Finding(Permission.READ, Status.PASS, _READERS_ONLY)
    return _failed(Permission.READ, failure)


def _proves_the_right(failure: Failure) -> bool:
    """Whether the error proves the permission to read: for a missing object, S3 returns 404 if the caller may read and
    list, and an error about the permission to list if the caller may only read."""
    return failure.cause is Cause.NO_SUCH_KEY or failure.action == "s3:ListBucket"


def _write(s3: Any, target: Target, *, overwriting: bool) -> list[Finding]:
    bucket, key = target.location.bucket, f"{target.location.prefix}{_PROBE}{uuid.uuid4().hex}"
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": target.kms_key_arn} if target.kms_key_arn else {}

    def put(body: bytes, **digest: str) -> Failure | None:
        return _attempt(
            lambda: s3.put_object(Bucket=bucket, Key=key, Body=body, **encryption, **digest),
            proofs=("BadDigest",) if digest else (),
        )

    def delete() -> Failure | None:
        return _attempt(lambda: s3.delete_object(Bucket=bucket, Key=key), answers)

    answers: list[Any] = []
    undeletable = delete()
    keeps_versions = any(answer.get("DeleteMarker") for answer in answers)
    if undeletable or keeps_versions:
        # An object could not be deleted permanently, so write none.
        written = put(b"first", ContentMD5=_NO_SUCH_DIGEST)
        overwritten = written
    else:
        try:
            written = put(b"first")
            overwritten = written or put(b"second")
        finally:
            left = next((None for _ in range(_TRIES_TO_DELETE) if delete() is None), key)
        if left:
            undeletable = Failure(Cause.OTHER, text=f"the probe object s3://{bucket}/{left} remains")
        _remove_leftovers(s3, target.location)
    found = [_result(Permission.WRITE, written, "one object, with Lightly's encryption" if encryption else "")]
    if not overwriting:
        return [*found, _skipped(Permission.OVERWRITE)]
    found.append(_result(Permission.OVERWRITE, overwritten))
    if keeps_versions and not undeletable:
        marker = Finding(
            DELETE,
            Status.WARN,
            f"allowed; the bucket keeps versions, so a delete marker remains under s3://{bucket}/{key}",
            remedy=Remedy(("Remove it with the right s3:DeleteObjectVersion, or leave it: it hides nothing.",)),
        )
        return [*found, _without_marker(s3, answers, bucket, key, marker)]
    found.append(_result(DELETE, undeletable))
    return found


def _remove_leftovers(s3: Any, location: S3Location) -> None:
    """
    Remove the probe objects of killed verifications, if allowed. Those of running verifications are younger.

    Delete only keys that have exactly the form of a probe's key.
    """
    pages: list[Any] = []
    _attempt(
        lambda: s3.list_objects_v2(Bucket=location.bucket, Prefix=f"{location.prefix}{_PROBE}", MaxKeys=PAGE_SIZE),
        pages,
    )
    for entry in pages[0].get("Contents", ()) if pages else ():
        key, age = str(entry["Key"]), datetime.now(UTC) - entry["LastModified"]
        if _OWN_PROBE.fullmatch(key.removeprefix(location.prefix)) and age > _KEPT_FOR:
            _attempt(lambda key=key: s3.delete_object(Bucket=location.bucket, Key=key))  # type: ignore[misc]


def _without_marker(s3: Any, answers: list[Any], bucket: str, key: str, marker: Finding) -> Finding:
    versions = [answer["VersionId"] for answer in answers if answer.get("VersionId")]
    left = [v for v in versions if _attempt(lambda v=v: s3.delete_object(Bucket=bucket, Key=key, VersionId=v))]  # type: ignore[misc]
    return marker if left else Finding(DELETE, Status.PASS, "allowed; the bucket keeps versions")


def _attempt(
    operation: Callable[[], Any],
    answers: list[Any] | None = None,
    *,
    proofs: tuple[str, ...] = (),
    list_denied: bool = False,
) -> Failure | None:
    """Attempt an operation; return None if it succeeds, or fails with a code that proves the permission."""
    try:
        answer = operation()
    except Exception as raised:  # noqa: BLE001  (whatever botocore raises is the finding)
        failure = failure_of(raised, list_denied=list_denied)
        return None if failure.code in proofs else failure
    if answers is not None:
        answers.append(answer)
    return None


def _result(subject: str, failure: Failure | None, message: str = "") -> Finding:
    return _failed(subject, failure) if failure else Finding(subject, Status.PASS, message or "allowed")


def _failed(subject: str, failure: Failure) -> Finding:
    status = Status.UNKNOWN if failure.cause.row.says_nothing else Status.FAIL
    message = f"{failure.cause}: {failure.text}" if failure.text else str(failure.cause)
    return Finding(subject, status, message, failure)


def _skipped(permission: Permission) -> Finding:
    return Finding(permission, Status.SKIP, "not needed here")
