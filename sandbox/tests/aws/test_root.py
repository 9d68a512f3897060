"""Nobody is an account's root, whatever a request says, and without credentials nobody is anybody."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import requests
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.lab.sandbox import Customer

NAMES_OF_ROOT = ["test", "123456789012", "916419735646"]
UNKNOWN = {"s3": "InvalidAccessKeyId", "iam": "InvalidClientTokenId"}
LIST_USERS = {"Action": "ListUsers", "Version": "2010-05-08"}
REFUSED = (400, 403)


def _encoded(text: str) -> str:
    """Each character percent-encoded."""
    return "".join(f"%{ord(character):02x}" for character in text)


@pytest.mark.parametrize("access_key_id", NAMES_OF_ROOT)
@pytest.mark.parametrize("service", ["s3", "iam"])
def test_the_number_of_an_account_is_no_access_key(
    customer: Customer, service: str, access_key_id: str
) -> None:
    root = customer.client(service, (access_key_id, "test"))
    with pytest.raises(ClientError) as refused:
        root.list_buckets() if service == "s3" else root.list_users()
    assert refused.value.response["Error"]["Code"] == UNKNOWN[service]


def test_a_url_presigned_as_root_is_refused(customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    root = customer.client("s3", ("123456789012", "test"))
    url = root.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a.jpg"})
    assert requests.get(url, timeout=30).status_code == 403
    assert customer.keys(bucket) == ["a.jpg"]


@pytest.mark.parametrize("written", [str, quote, _encoded])
@pytest.mark.parametrize("access_key_id", NAMES_OF_ROOT)
def test_root_is_refused_however_its_key_is_written_in_the_query(
    ready: dict[str, Any], customer: Customer, access_key_id: str, written: Any
) -> None:
    bucket = customer.bucket("a.jpg")
    key = f"AWSAccessKeyId={written(access_key_id)}&Signature=x&Expires=9999999999"
    scope = written(f"{access_key_id}/20261127/eu-central-1/s3/aws4_request")
    url = f"{ready['aws_url']}/{bucket}"
    for query in (key, f"{_encoded('AWSAccessKeyId')}{key.removeprefix('AWSAccessKeyId')}"):
        assert requests.put(f"{url}/evil.txt?{query}", data=b"x", timeout=30).status_code in REFUSED
        assert requests.post(f"{url}?delete&{query}", data=_DELETE, timeout=30).status_code in REFUSED
        assert requests.get(f"{ready['aws_url']}/?{query}", timeout=30).status_code in REFUSED
    for name in ("X-Amz-Credential", _encoded("X-Amz-Credential"), "x-amz-credential"):
        query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&{name}={scope}&X-Amz-Signature=x"
        assert requests.put(f"{url}/evil.txt?{query}", data=b"x", timeout=30).status_code in REFUSED
        answer = requests.get(f"{ready['aws_url']}/?{query}", params=LIST_USERS, timeout=30)
        assert answer.status_code in REFUSED
    assert customer.keys(bucket) == ["a.jpg"]


_DELETE = "<Delete><Object><Key>a.jpg</Key></Object></Delete>"


@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer x", "Basic dGVzdDp0ZXN0", "AWS :x", "AWS test:x", "AWS %74est:x", "AWS4-HMAC-SHA256", "x"],
)
@pytest.mark.parametrize(
    ("target", "body"),
    [
        (None, LIST_USERS),
        (None, {"Action": "GetCallerIdentity", "Version": "2011-06-15"}),
        (None, {"Action": "ListQueues"}),
        ("secretsmanager.ListSecrets", {}),
        ("TrentService.ListKeys", {}),
        ("AmazonSSM.DescribeParameters", {}),
    ],
)
def test_credentials_of_an_unknown_form_are_none(
    ready: dict[str, Any], authorization: str | None, target: str | None, body: dict[str, str]
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    data: Any = body
    if target is not None:
        headers |= {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
        data = json.dumps(body)
    answer = requests.post(ready["aws_url"], data=data, headers=headers, timeout=30)
    assert answer.status_code in REFUSED, answer.text


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}])
def test_nobody_lists_or_creates_buckets_without_credentials(
    ready: dict[str, Any], customer: Customer, headers: dict[str, str]
) -> None:
    before = [bucket["Name"] for bucket in customer.s3.list_buckets()["Buckets"]]
    assert requests.get(ready["aws_url"], headers=headers, timeout=30).status_code == 403
    new = requests.put(f"{ready['aws_url']}/nobodys-bucket", headers=headers, timeout=30)
    assert new.status_code == 403
    assert [bucket["Name"] for bucket in customer.s3.list_buckets()["Buckets"]] == before


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"AWSAccessKeyId": "123456789012"},
        {"AWSAccessKeyId": "123456789012", "policy": "e30=", "signature": "x"},
        {"x-amz-credential": "123456789012/20261127/eu-central-1/s3/aws4_request"},
        {
            "x-amz-algorithm": "AWS4-HMAC-SHA256",
            "x-amz-credential": "test/20261127/eu-central-1/s3/aws4_request",
            "x-amz-date": "20261127T000000Z",
            "x-amz-signature": "x",
            "policy": "e30=",
        },
    ],
)
def test_a_form_writes_no_object(ready: dict[str, Any], customer: Customer, fields: dict[str, str]) -> None:
    bucket = customer.bucket("a.jpg")
    form = {"key": (None, "evil.txt"), **{name: (None, value) for name, value in fields.items()}}
    answer = requests.post(
        f"{ready['aws_url']}/{bucket}", files={**form, "file": ("a.txt", b"x")}, timeout=30
    )
    assert answer.status_code in (403, 501)
    assert customer.keys(bucket) == ["a.jpg"]


def test_not_even_a_signed_form_writes_an_object(ready: dict[str, Any], customer: Customer) -> None:
    bucket = customer.bucket()
    form = customer.s3.generate_presigned_post(bucket, "a.txt")
    answer = requests.post(form["url"], data=form["fields"], files={"file": b"x"}, timeout=30)
    assert (answer.status_code, customer.keys(bucket)) == (501, [])
    assert "presigned URL" in answer.text
