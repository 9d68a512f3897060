"""Import files of labeling tools: a JSON array of tasks or data rows."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lightly_provider.exceptions import LightlyDatasourceError
from lightly_provider.foreign_text import shown
from lightly_provider.results.formats.records import place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lightly_provider.results.samples import ExportedSample

# Labelbox's documentation, "Global keys": at most 200 characters.
LONGEST_GLOBAL_KEY = 200
# The platform's names of these regions differ from AWS's (see aws/regions.py).
_GOVCLOUD = {"us-gov-east": "us-gov-east-1", "us-gov-west": "us-gov-west-1"}


def label_studio(pages: Iterable[Sequence[ExportedSample]], *, dataset_id: str) -> Iterator[bytes]:
    """
    Yield tasks of Label Studio, whose source storage resolves ``s3://``.

    ``lightly_id`` is the same in each export of a sample, so that a second import can leave out what is there.
    """

    def task(sample: ExportedSample) -> dict[str, Any]:
        shown_as = "image" if sample.frame is None else "video"
        data = {
            shown_as: sample.address,
            "lightly_id": f"{dataset_id}/{sample.filename}",
            "lightly_filename": sample.filename,
            "lightly_tag": sample.tag_name,
            "lightly_run_id": sample.run_id,
        }
        return {"data": data | place(sample)}

    return _array(map(task, page) for page in pages)


def labelbox(
    pages: Iterable[Sequence[ExportedSample]], *, dataset_id: str, regions: Mapping[str, str]
) -> Iterator[bytes]:
    """
    Yield data rows of Labelbox, which takes no ``s3://`` but virtual-hosted addresses of objects.

    The ``global_key`` is the same in each export of a sample, so that Labelbox refuses a second one.

    :param regions: Regions of the buckets, by bucket.
    """

    def row(sample: ExportedSample) -> dict[str, Any]:
        found: dict[str, Any] = {
            "row_data": https_address(sample.address, regions),
            "global_key": global_key(dataset_id, sample.filename),
            "media_type": "IMAGE" if sample.frame is None else "VIDEO",
        }
        if where := place(sample):
            text = ", ".join(f"{name} {value}" for name, value in where.items() if value is not None)
            found["attachments"] = [{"type": "RAW_TEXT", "value": text}]
        return found

    return _array(map(row, page) for page in pages)


def sama(pages: Iterable[Sequence[tuple[ExportedSample, dict[str, Any]]]]) -> Iterator[bytes]:
    """Yield the platform's own tasks for Sama; one whose sample has no file shows what it was cut from."""

    def task(pair: tuple[ExportedSample, dict[str, Any]]) -> dict[str, Any]:
        sample, made = pair
        if sample.is_saved:
            return made
        data = {**made["data"], "url": sample.address} | place(sample)
        return {**made, "data": data | ({"image": sample.address} if "image" in data else {})}

    return _array(map(task, page) for page in pages)


def https_address(address: str, regions: Mapping[str, str]) -> str:
    """
    Return the virtual-hosted address of an object in S3 (AWS docs: S3 user guide, "Virtual hosting of buckets").

    :param address: ``s3://bucket/key``.
    :param regions: Regions of the buckets, by bucket.
    :raises LightlyDatasourceError: It is not an object in S3, or its bucket's region is not known.
    """
    bucket, _, key = address.removeprefix("s3://").partition("/")
    region = regions.get(bucket)
    if not address.startswith("s3://") or region is None:
        raise LightlyDatasourceError(
            f"{shown(address, longest=300)} has no https address, because it is in none of the dataset's S3 "
            "datasources; export another format than 'labelbox'.",
            operation="get_datasources_by_dataset_id",
        )
    code = _GOVCLOUD.get(region, region)
    ending = "amazonaws.com.cn" if code.startswith("cn-") else "amazonaws.com"
    return f"https://{bucket}.s3.{code}.{ending}/{quote(key)}"


def global_key(dataset_id: str, filename: str) -> str:
    """Return a key that only this sample has; a long name ends in its digest."""
    key = f"{dataset_id}/{filename}"
    if len(key) <= LONGEST_GLOBAL_KEY:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"{key[: LONGEST_GLOBAL_KEY - 33]}-{digest}"


def _array(pages: Iterable[Iterable[dict[str, Any]]]) -> Iterator[bytes]:
    before = "[\n"
    for page in pages:
        if tasks := ",\n".join(map(json.dumps, page)):
            yield f"{before}{tasks}".encode()
            before = ",\n"
    yield b"[]\n" if before == "[\n" else b"\n]\n"
