"""The analysis of each image: measurements, embedding, and whether it is a duplicate."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from lightly_sandbox.worker.embedding import DIMENSIONS, describe
from lightly_sandbox.worker.measurement import measure
from lightly_sandbox.worker.parallel import spread
from lightly_sandbox.worker.report.contents import Analysed
from lightly_sandbox.worker.sources import loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from lightly_sandbox.worker.job import Job
    from lightly_sandbox.worker.measurement import Measurement
    from lightly_sandbox.worker.sources import Candidate, Load

Result = TypeVar("Result")

_COMPUTE_THREADS = 2


def analyse(job: Job, candidates: Sequence[Candidate], n_datapool: int) -> tuple[Analysed, int]:
    """Analyse the images, and count the duplicates among those after the first ``n_datapool``."""
    # Decoding costs more than the computations, so decode each image only once.
    job.log.enter("COMPUTING_METADATA", f"measuring and embedding {len(candidates)} images")
    found = of_each(job, candidates, _analysed)
    job.log.enter("EMBEDDING", f"collecting {len(candidates)} embeddings")
    images = Analysed(
        names=[candidate.name for candidate in candidates],
        measurements=[measurement for measurement, _, _ in found],
        embeddings=np.array([embedding for _, embedding, _ in found], dtype=np.float32).reshape(
            -1, DIMENSIONS
        ),
        n_datapool=n_datapool,
    )
    contents = [content for _, _, content in found[n_datapool:]]
    return images, len(contents) - len(set(contents))


def of_each(
    job: Job, candidates: Sequence[Candidate], compute: Callable[[Candidate, Image.Image], Result]
) -> list[Result]:
    """Compute something for each image, in the order of the candidates."""

    def work(found: tuple[Candidate, Load]) -> Result:
        candidate, load = found
        return compute(candidate, load())

    return spread(work, loads(candidates, job.tick), threads=_COMPUTE_THREADS, tick=job.tick)


def open_images(
    job: Job, candidates: Sequence[Candidate], rows: Iterable[int]
) -> Iterator[tuple[int, Image.Image]]:
    """Yield some of the images by their rows, in ascending order."""
    ordered = sorted(rows)
    wanted = loads([candidates[row] for row in ordered], job.tick)
    for row, (_, load) in zip(ordered, wanted, strict=True):
        yield row, load()


def _analysed(candidate: Candidate, image: Image.Image) -> tuple[Measurement, NDArray[np.float32], bytes]:
    """Measure an image, embed it, and hash its pixels: images with the same hash are duplicates."""
    digest = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes()).digest()
    return measure(image, candidate.size_of(image)), describe(image), digest
