"""The report of a run, shaped as the platform's REPORT_V2_JSON (lightly 1.5.26, models/report_v2.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lightly_sandbox.worker.measurement import METADATA_KEYS
from lightly_sandbox.worker.report.distances import (
    distances,
    nearest_among,
    nearest_in_set,
    projected,
    random_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from lightly_sandbox.worker.measurement import Measurement

MAX_COMPARED = 5000
"""Of more images the distances are left out: comparing each with each takes the square of their number."""

_BINS = 20
_EXAMPLES = 8
_PAIRS = 1000
"""So many selected images have the one that was left out for them in the JSON, the first ones in the PDF."""
_PAIRS_AT_ONCE = 64


@dataclass(frozen=True)
class Analysed:
    """The images of the selection, the datapool's first."""

    names: Sequence[str]
    measurements: Sequence[Measurement]
    embeddings: NDArray[np.float32]
    n_datapool: int


@dataclass(frozen=True)
class Findings:
    """The results of a run for its report and its lists of files.

    ``selected`` are rows of ``images`` in the order of selection, without the datapool's. ``corrupt`` has the
    reason for each image or frame that cannot be decoded, ``corrupt_videos`` that for whole videos.
    ``n_duplicates`` new images have the pixels of an earlier one. ``video_sizes`` are the report's counts of
    videos. ``selection`` is the selection config in the platform's spelling. ``open_images`` decodes the
    images of some rows, one after the other and in the order of the rows.
    """

    images: Analysed
    selected: Sequence[int]
    corrupt: Mapping[str, str]
    corrupt_videos: Mapping[str, str]
    n_duplicates: int
    video_sizes: Mapping[str, int] | None
    selection: Mapping[str, Any]
    open_images: Callable[[Iterable[int]], Iterator[tuple[int, Image.Image]]]


@dataclass(frozen=True)
class RunFacts:
    """What identifies the run, and when it ran (Unix seconds)."""

    run_id: str
    dataset_id: str
    dataset_name: str
    worker_version: str
    started: float
    ended: float


def build_report(
    facts: RunFacts,
    images: Analysed,
    selected: Sequence[int],
    n_corrupt: int,
    n_duplicates: int,
    video_sizes: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Build the report.

    It leaves out members of the platform's model that the sandbox could only invent: addresses of web pages,
    build times, savings in money and carbon, and a projection by UMAP.

    Args:
        facts: which run this is.
        images: what could be read.
        selected: rows of ``images`` that were newly selected.
        n_corrupt: files that could not be decoded.
        n_duplicates: new images with the pixels of an earlier one. They are counted, not left out.
        video_sizes: the same counts of videos, where ``images`` are their frames.
    """
    n_new = len(images.names) - images.n_datapool
    general: dict[str, Any] = {
        "workerInformation": {"buildVersion": facts.worker_version},
        "runInformation": {
            "runId": facts.run_id,
            "startTimestamp": facts.started,
            "endTimestamp": facts.ended,
            "totalProcessingTimeS": facts.ended - facts.started,
        },
        "datasetInformation": {
            "datasetId": facts.dataset_id,
            "datasetName": facts.dataset_name,
            "datasetSizes": {
                "nInput": n_new + n_corrupt,
                "nCorrupt": n_corrupt,
                "nDuplicate": n_duplicates,
                "nRemoved": n_new - len(selected),
                "nSelected": len(selected),
                "nPreselectedDatapool": images.n_datapool,
                "nSelectedWithDatapool": images.n_datapool + len(selected),
            },
        },
        "selectedAndRemovedImageExamples": [
            {"selectedImage": images.names[row], "removedImage": images.names[removed], "distance": distance}
            for row, removed, distance in nearest_removed(
                images, selected, _PAIRS if len(images.names) <= MAX_COMPARED else _EXAMPLES
            )
        ],
    }
    if video_sizes is not None:
        general["datasetInformation"]["videoLevelSizes"] = dict(video_sizes)
    analysis: dict[str, Any] = {
        "metadataInformation": {
            "lightlyNumeric": _metadata(images, selected),
            "customNumeric": {},
            "customCategorical": {},
        }
    }
    if len(images.names) <= MAX_COMPARED:
        analysis["embeddingInformation"] = _embedding_information(images, selected)
    return {"generalInformation": general, "datasetAnalysis": analysis}


def rows_of_sets(images: Analysed, selected: Sequence[int]) -> dict[str, NDArray[np.intp]]:
    """Return which rows of ``images`` each set of the report has, by the platform's name for the set.

    The random one is as large as the selected one and of the same images: what chance would have chosen.
    """
    n_images, datapool = len(images.names), np.arange(images.n_datapool)
    chosen = np.array(selected, dtype=np.intp)
    sets = {
        "input": np.arange(images.n_datapool, n_images),
        "selected": chosen,
        "random": random_rows(images.n_datapool, n_images, len(chosen)),
    }
    if images.n_datapool:
        sets |= {"preselectedDatapool": datapool, "selectedWithDatapool": np.concatenate([datapool, chosen])}
    return sets


def _embedding_information(images: Analysed, selected: Sequence[int]) -> dict[str, Any]:
    sets = {name: images.embeddings[rows] for name, rows in rows_of_sets(images, selected).items()}
    places = np.round(projected(images.embeddings), 6)
    return {
        "distanceToNearestNeighborInSet": _per_set(
            **{name: nearest_in_set(members) for name, members in sets.items()}
        ),
        "distanceToCoverInput": _per_set(
            **{
                name: nearest_among(sets["input"], members)
                for name, members in sets.items()
                if name != "input"
            }
        ),
        "scatterPlotData": {
            "pcaEmbeddingData": {
                "input2dEmbeddings": places[images.n_datapool :].tolist(),
                "datapool2dEmbeddings": places[: images.n_datapool].tolist(),
                "selectedExcludingDatapool2dEmbeddings": places[list(selected)].tolist(),
                "exampleImages": [
                    {"location": places[row].tolist(), "filename": images.names[row]}
                    for row in selected[:_EXAMPLES]
                ],
            }
        },
    }


def _metadata(images: Analysed, selected: Sequence[int]) -> dict[str, Any]:
    sets, distributions = rows_of_sets(images, selected), {}
    for key in METADATA_KEYS:
        values = np.array([measurement.number(key) for measurement in images.measurements])
        distributions[key] = _per_set(**{name: values[rows] for name, rows in sets.items()})
    return distributions


def _per_set(**values: NDArray[Any]) -> dict[str, Any]:
    """Describe how numbers are distributed in several sets of images, with the same bins for all."""
    joined = np.concatenate([numbers for numbers in values.values() if len(numbers)] or [np.zeros(1)])
    limits = (float(joined.min()), float(joined.max()))
    return {
        "bins": _BINS,
        "range": list(limits),
        **{name: _distribution(numbers, limits) for name, numbers in values.items() if len(numbers)},
    }


def _distribution(numbers: NDArray[Any], limits: tuple[float, float]) -> dict[str, Any]:
    return {
        "counts": [int(count) for count in np.histogram(numbers, bins=_BINS, range=limits)[0]],
        "metrics": {
            "mean": float(numbers.mean()),
            "std": float(numbers.std()),
            "min": float(numbers.min()),
            "median": float(np.median(numbers)),
            "max": float(numbers.max()),
        },
    }


def nearest_removed(
    images: Analysed, selected: Sequence[int], n_pairs: int = _EXAMPLES
) -> list[tuple[int, int, float]]:
    """Pair the first ``n_pairs`` selected images with the nearest image that was not selected.

    Returns:
        The two rows and their distance.
    """
    removed = sorted(set(range(images.n_datapool, len(images.names))) - set(selected))
    shown = list(selected[:n_pairs])
    if not removed:
        return []
    left_out, pairs = images.embeddings[removed], []
    for start in range(0, len(shown), _PAIRS_AT_ONCE):
        rows = shown[start : start + _PAIRS_AT_ONCE]
        apart = distances(images.embeddings[rows], left_out)
        nearest = apart.argmin(axis=1)
        pairs += [
            (row, removed[nearest[place]], float(apart[place, nearest[place]]))
            for place, row in enumerate(rows)
        ]
    return pairs
