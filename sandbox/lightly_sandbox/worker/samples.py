"""The files of a dataset's samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_sandbox.worker.parallel import spread
from lightly_sandbox.worker.publishing import members_of
from lightly_sandbox.worker.reading import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lightly_sandbox.worker.job import Job

_REQUEST_THREADS = 4


def sample_files(job: Job, dataset_id: str, tags: Sequence[Mapping[str, Any]]) -> list[RemoteFile]:
    """Return the files of all samples that are in at least one of the tags, in the order of the samples."""
    if not tags:
        return []
    sample_ids = job.platform.mappings(dataset_id, "_id")
    names = job.platform.mappings(dataset_id, "fileName")
    return spread(
        lambda bit: RemoteFile(names[bit], job.platform.sample_read_url(dataset_id, sample_ids[bit])),
        members_of(tags, sample_ids),
        threads=_REQUEST_THREADS,
        tick=job.tick,
    )
