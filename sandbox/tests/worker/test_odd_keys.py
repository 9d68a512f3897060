"""Keys that S3 allows and few people expect: each is a file of its own, and none ends a run."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from lightly_sandbox.seeding import photos
from tests.lab.sandbox import LIST, READ, WRITE, allow, with_role
from tests.lab.thinning import thinned
from tests.lab.worker import THUMBNAILS

if TYPE_CHECKING:
    from tests.lab.worker import Lab

ODD = (
    "a.jpg",
    "./a.jpg",
    "b/./a.jpg",
    "b/../a.jpg",
    "b//a.jpg",
    "b/%2e/a.jpg",
    "b/%2F/a.jpg",
    "b/a b+c&d=e.jpg",
    "b/a?b#c.jpg",
    "b/a;b,c:d@e!'()*.jpg",
    "b/ä.jpg",
    "b/a\u0308.jpg",
    "b/图像.jpg",
    "b/\U0001f4f7.jpg",
    "b/a\\b.jpg",
    "b/ .jpg",
    "b/~a.jpg",
    "b/.../a.jpg",
)


@pytest.mark.exhaustive(sample="test_each_of_them_is_read_as_itself")
@pytest.mark.parametrize("access", thinned(["user access", "delegated access"], keep=1))
def test_a_run_takes_files_of_odd_keys(lab: Lab, access: str) -> None:
    frames = [content for _, content in photos.frames(len(ODD))]
    bucket = lab.customer.bucket()
    for key, content in zip(ODD, frames, strict=True):
        lab.put(bucket, f"photos/{key}", content)
    dataset_id = lab.api.new_dataset()
    if access == "user access":
        lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/photos/", **THUMBNAILS)
    else:
        role = lab.customer.role("an-external-id", *allow(bucket, LIST, READ, WRITE))
        datasource = with_role(f"s3://{bucket}/photos/", "INPUT_OUTPUT", role, "an-external-id")
        lab.api.put_datasource(dataset_id, **datasource, **THUMBNAILS)
    run = lab.do(dataset_id, report=True, nSamples=len(ODD))
    assert run["state"] == "COMPLETED", run["message"]
    sizes = lab.sizes(run)
    assert (sizes["nInput"], sizes["nCorrupt"], sizes["nSelected"]) == (len(ODD), 0, len(ODD))
    assert {sample["fileName"] for sample in lab.samples(dataset_id)} == set(ODD)


def test_each_of_them_is_read_as_itself(lab: Lab) -> None:
    bucket = lab.customer.bucket()
    for number, key in enumerate(ODD):
        lab.put(bucket, key, str(number).encode())
    for number, key in enumerate(ODD):
        content = io.BytesIO()
        lab.customer.s3.download_fileobj(bucket, key, content)
        assert content.getvalue() == str(number).encode(), key
