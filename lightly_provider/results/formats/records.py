"""JSON Lines: one object a line, which is also a manifest of SageMaker Ground Truth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lightly_provider.hooks.verbs.tags import TaggedFile
    from lightly_provider.results.samples import ExportedSample


def manifest(pages: Iterable[Sequence[ExportedSample]], *, dataset_id: str) -> Iterator[bytes]:
    """
    Yield a line for each sample: ``source-ref``, ``filename``, ``dataset_id``, ``tag_name``, ``run_id``.

    Ground Truth reads ``source-ref`` and accepts further members (AWS docs: SageMaker developer guide, "Input manifest
    files").
    """
    for page in pages:
        yield _lines(record(sample, dataset_id=dataset_id) for sample in page)


def read_urls(pages: Iterable[Sequence[TaggedFile]]) -> Iterator[bytes]:
    """Yield a line for each file: ``filename`` and ``read_url``, at which anybody can read it until it expires."""
    for page in pages:
        yield _lines({"filename": file.filename, "read_url": file.address} for file in page)


def record(sample: ExportedSample, *, dataset_id: str) -> dict[str, Any]:
    """Return a sample as one object; where in a video or an image it is, if it has no file of its own."""
    found: dict[str, Any] = {
        "source-ref": sample.address,
        "filename": sample.filename,
        "dataset_id": dataset_id,
        "tag_name": sample.tag_name,
        "run_id": sample.run_id,
    }
    return found | place(sample)


def place(sample: ExportedSample) -> dict[str, Any]:
    """Return where in its video or image a sample is; empty if it has a file of its own."""
    if sample.frame is not None:
        return {"frame": sample.frame, "time": sample.time}
    if sample.crop_index is not None:
        return {"crop_task": sample.crop_task, "crop_index": sample.crop_index}
    return {}


def _lines(records: Iterable[dict[str, Any]]) -> bytes:
    # Escaped to ASCII, so that no reader takes another character for the end of a line.
    return "".join(f"{json.dumps(one)}\n" for one in records).encode()
