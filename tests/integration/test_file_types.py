"""Provider and sandbox agree which files are images and which are videos, each by a list of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from lightly_provider.aws.bucket import MediaType, media_type

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox

SUFFIXES = (
    *("jpg", "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "JPG", "Png"),
    *("mp4", "m4v", "hevc", "mpg", "mpeg", "avi", "mov", "webm", "MP4", "WebM"),
    *("mkv", "wmv", "flv", "3gp", "ts", "ogv", "m2ts", "heic", "heif", "avif", "svg", "jp2", "ppm", "pgm", "dcm"),
    *("json", "txt", "csv", "zip", "parquet", "pdf", "npy", "jpg.txt", "mp4.part", "jpgx", "xjpg", "jpg~"),
)


@pytest.mark.parametrize("kind", [MediaType.IMAGES, MediaType.VIDEOS])
def test_both_take_the_same_files(sandbox: Sandbox, kind: MediaType) -> None:
    bucket, s3 = sandbox.bucket(), sandbox.aws("s3")
    keys = [f"folder/file.{suffix}" for suffix in SUFFIXES]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"some bytes")
    dataset = {"name": f"file types {bucket} {kind}", "type": kind}
    dataset_id = _sent(sandbox, "POST", "/v1/datasets", dataset)["id"]
    datasource = {
        "type": "S3",
        "purpose": "INPUT_OUTPUT",
        "fullPath": f"s3://{bucket}/",
        "s3Region": sandbox.region,
        "s3AccessKeyId": sandbox.admin.access_key_id,
        "s3SecretAccessKey": sandbox.admin.secret_access_key,
    }
    _sent(sandbox, "PUT", f"/v1/datasets/{dataset_id}/datasource", datasource)
    listed = _sent(sandbox, "GET", f"/v1/datasets/{dataset_id}/datasource/list")["data"]
    assert {file["fileName"] for file in listed} == {key for key in keys if media_type(key) is kind}
    assert listed


def _sent(sandbox: Sandbox, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Send a request that the provider never sends: all of its own are checked against the contract."""
    request = Request(
        f"{sandbox.lightly_url}{path}?{urlencode({'token': sandbox.token})}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method=method,
    )
    with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
        content = answer.read()
    return json.loads(content) if content else None
