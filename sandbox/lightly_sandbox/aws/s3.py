"""The checks that S3 does after those of the signature and the policies, in front of ministack's storage.

They cover the permissions on the objects' KMS keys, the response about a missing object to a caller who may
not list, and Requester Pays. They apply to all clients alike: with headers, a presigned URL, or a form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from lightly_sandbox.aws.decisions import ACCESS_DENIED, Guarded, caller, refusal, sentence
from lightly_sandbox.aws.kms import Key, Refused, find, may_use

if TYPE_CHECKING:
    from collections.abc import Mapping

SSE = "x-amz-server-side-encryption"
SSE_KEY = "x-amz-server-side-encryption-aws-kms-key-id"

DECRYPT, GENERATE = "kms:Decrypt", "kms:GenerateDataKey"

_Answer = tuple[int, dict[str, str], bytes]

# Subresources that the object's KMS key does not encrypt (AWS docs: S3, GetObjectTagging and others require
# no permission on the key). Requests with an upload id are checked separately.
_BESIDE_THE_CONTENT = frozenset({"tagging", "acl", "retention", "legal-hold", "uploadId", "annotation"})

_NO_FORMS = "The sandbox takes no browser-based uploads: use PutObject, or a presigned URL for it."
_SIGNED_ONLY = (
    "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS Signature Version 4."
)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    bucket: str
    key: str
    headers: Mapping[str, str]
    query: Mapping[str, list[str]]
    principal: Any = None

    @property
    def version_id(self) -> str | None:
        return self.query["versionId"][0] if self.query.get("versionId") else None

    @property
    def copies(self) -> bool:
        return "x-amz-copy-source" in self.headers

    def reads_content(self) -> bool:
        """Whether S3 decrypts the object for this request.

        HEAD requires kms:Decrypt for the checksum only (AWS docs: S3, HeadObject).
        """
        if _BESIDE_THE_CONTENT & self.query.keys():
            return False
        if self.method == "HEAD":
            return self.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
        if "attributes" in self.query:
            return "Checksum" in self.headers.get("x-amz-object-attributes", "")
        return self.method == "GET"

    def writes_content(self) -> bool:
        """Whether S3 creates a data key for this request. For a multipart upload, it does so at the start."""
        if not self.key:
            return False
        if self.method == "POST":
            return "uploads" in self.query
        return self.method == "PUT" and not _BESIDE_THE_CONTENT & self.query.keys()


def install() -> None:
    """Add the checks in front of ministack's dispatcher of S3 operations."""
    from ministack.services import s3

    dispatch = s3._dispatch

    def checked(
        method: str,
        bucket: str,
        key: str,
        headers: Mapping[str, str],
        body: bytes,
        query: Mapping[str, list[str]],
    ) -> _Answer:
        if not bucket or s3._buckets.get(bucket) is None:
            answer: _Answer = dispatch(method, bucket, key, headers, body, query)
            return answer
        if method == "POST" and not key and not query:
            # Browser-based uploads are for web pages, which may not write here.
            error: _Answer = s3._error("NotImplemented", _NO_FORMS, 501, f"/{bucket}")
            return error
        access_key_id = s3._request_access_key(method, key, headers, query, body)
        principal = caller(access_key_id) if access_key_id else None
        request = _Request(method, bucket, key, headers, query, principal)
        refused = _unpaid(request) or _without_the_keys(request)
        if refused is None:
            headers = _with_key_arn(request)
            answer = dispatch(method, bucket, key, headers, body, query)
            refused = _missing(request, answer) if answer[0] == 404 else None
            if refused is None:
                return answer
        error = s3._error(refused.code, refused.message, refused.status, f"/{bucket}/{key}")
        return error

    resolve = s3._resolve_sse_write_headers

    def resolved(headers: Mapping[str, str], bucket: str) -> tuple[dict[str, str] | None, _Answer | None]:
        if headers.get(SSE) == "aws:kms" and not headers.get(SSE_KEY):
            # The AWS managed key aws/s3, which all S3 users of the account may use; ministack has none.
            return {SSE: "aws:kms"}, None
        kept: tuple[dict[str, str] | None, _Answer | None] = resolve(headers, bucket)
        return kept

    s3._dispatch, s3._resolve_sse_write_headers = checked, resolved


# Who pays


def _unpaid(request: _Request) -> Refused | None:
    """Refuse a request of another account to a Requester Pays bucket without the requester's consent to pay.

    AWS docs: S3, "Using Requester Pays buckets".
    """
    from ministack.services import s3

    configured = s3._bucket_request_payment_config.get(request.bucket) or ""
    text = configured.decode() if isinstance(configured, bytes) else str(configured)
    if "<Payer>Requester</Payer>" not in text:
        return None
    if request.principal is not None and (
        request.principal.account == s3._bucket_owner_account(request.bucket)
        or request.headers.get("x-amz-request-payer", "").lower() == "requester"
    ):
        return None
    return Refused(403, "AccessDenied", ACCESS_DENIED)


# Keys


def _without_the_keys(request: _Request) -> Refused | None:
    """Refuse a request if the caller lacks permission on a key that it needs."""
    from ministack.services import s3

    needed: list[tuple[str, str, str]] = []
    if request.key and request.reads_content():
        stored = _stored(request.bucket, request.key, request.version_id)
        needed.append((DECRYPT, _key_of(stored), _arn(request.bucket, request.key)))
    if request.copies:
        bucket, key, version_id = _copy_source(request.headers["x-amz-copy-source"])
        needed.append((DECRYPT, _key_of(_stored(bucket, key, version_id)), _arn(bucket, key)))
    if request.writes_content():
        needed.append((GENERATE, _key_for_writing(request), _arn(request.bucket, request.key)))
    if request.method in ("PUT", "POST") and "uploadId" in request.query:
        # S3 encrypts parts, and decrypts them to combine them (AWS docs: S3, "Multipart upload API and
        # permissions": kms:GenerateDataKey to create an upload, kms:Decrypt for its parts).
        upload = s3._multipart_uploads.get(request.query["uploadId"][0])
        needed.append((DECRYPT, _key_of(upload), _arn(request.bucket, request.key)))
    for action, reference, object_arn in needed:
        refused = _refused_key(request, action, reference, object_arn) if reference else None
        if refused is not None:
            return refused
    return None


def _refused_key(request: _Request, action: str, reference: str, object_arn: str) -> Refused | None:
    from ministack.services import s3

    if request.principal is None:
        return Refused(400, "InvalidArgument", _SIGNED_ONLY)
    region = s3.bucket_region(request.bucket)
    key = find(reference, request.principal.account, region)
    if isinstance(key, Refused):
        return key
    if _has_bucket_key(request.bucket):
        object_arn = object_arn.partition("/")[0]
    return may_use(request.principal, action, key, region, object_arn)


def _key_for_writing(request: _Request) -> str:
    """Return the request's key or the bucket's default; "" for an S3 managed or AWS managed key."""
    from ministack.services import s3

    fields = request.headers
    # With a customer-provided key (SSE-C) the bucket's default does not apply.
    if fields.get(SSE) or any(name.startswith(f"{SSE}-customer-") for name in fields):
        return fields.get(SSE_KEY, "") if fields.get(SSE, "").startswith("aws:kms") else ""
    return str(s3._bucket_default_sse_headers(request.bucket).get(SSE_KEY, ""))


def _with_key_arn(request: _Request) -> Mapping[str, str]:
    """Return the headers with the key's ARN: S3 stores and returns the ARN, however the key was named."""
    if request.principal is None or not (request.key and request.writes_content()):
        return request.headers
    from ministack.services import s3

    reference = _key_for_writing(request)
    key = find(reference, request.principal.account, s3.bucket_region(request.bucket)) if reference else None
    if not isinstance(key, Key):
        return request.headers
    return {SSE: "aws:kms", **request.headers, SSE_KEY: key.arn}


def _key_of(stored: Mapping[str, Any] | None) -> str:
    return "" if stored is None else str(stored.get("preserved_headers", {}).get(SSE_KEY, ""))


def _has_bucket_key(bucket: str) -> bool:
    """Whether the bucket's own ARN is the encryption context (AWS docs: S3, "Bucket Keys")."""
    from ministack.services import s3

    configured = s3._bucket_encryption.get(bucket) or b""
    text = configured.decode() if isinstance(configured, bytes) else str(configured)
    return "<BucketKeyEnabled>true</BucketKeyEnabled>" in text


# Missing objects


def _missing(request: _Request, answer: _Answer) -> Refused | None:
    """Hide from a caller who may not list that an object is missing (AWS docs: S3, GetObject).

    The permission to list is checked without a prefix, because the request has none: a condition on s3:prefix
    is not met. (This is an assumption about AWS.)
    """
    bucket = request.bucket
    if request.copies and request.method == "PUT":
        bucket, _, version_id = _copy_source(request.headers["x-amz-copy-source"])
    elif request.method in ("GET", "HEAD") and request.key and "uploadId" not in request.query:
        version_id = request.version_id
    else:
        return None
    # HEAD has no body to distinguish a missing object from a missing bucket; the bucket was checked before.
    if version_id is not None or (request.method != "HEAD" and b"<Code>NoSuchKey<" not in answer[2]):
        return None
    return _may_not_list(request, bucket)


def _may_not_list(request: _Request, bucket: str) -> Refused | None:
    from ministack.core.responses import get_region
    from ministack.services import s3

    owner = s3._bucket_owner_account(bucket)
    policy = str(s3._bucket_policies.get_scoped(owner, None, bucket) or "")
    denied = Refused(403, "AccessDenied", ACCESS_DENIED)
    if request.principal is None:
        open_to_all = s3._foreign_bucket_allows(owner, bucket, "", "GET", {}, "", request.headers)
        return None if open_to_all else denied
    resource = Guarded(f"arn:aws:s3:::{bucket}", owner, policy)
    reason = refusal(request.principal, "s3:ListBucket", resource, get_region(), {})
    if reason is None:
        return None
    if request.principal.account != owner:
        return denied
    text = sentence(request.principal, "s3:ListBucket", resource.arn, reason)
    return replace(denied, message=text)


# Objects


def _stored(bucket: str, key: str, version_id: str | None) -> Mapping[str, Any] | None:
    from ministack.services import s3

    owner = s3._bucket_owner_account(bucket)
    record = s3._buckets.get_scoped(owner, None, bucket)
    current: Mapping[str, Any] | None = None if record is None else record["objects"].get(key)
    if version_id is None or (current is not None and current.get("version_id") == version_id):
        return current
    versions = s3._object_versions.get_scoped(owner, None, (bucket, key)) or []
    return next((version for version in versions if version["version_id"] == version_id), None)


def _copy_source(header: str) -> tuple[str, str, str | None]:
    """Return the bucket, key and version from x-amz-copy-source."""
    path, _, query = header.partition("?")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    version_ids = parse_qs(query).get("versionId")
    return bucket, key, version_ids[0] if version_ids else None


def _arn(bucket: str, key: str) -> str:
    return f"arn:aws:s3:::{bucket}/{key}"
