"""The report of a run, shaped as the platform's REPORT_V2_JSON (lightly 1.5.26, models/report_v2.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lightly_sandbox.worker.measurement import METADATA_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lightly_sandbox.worker.measurement import Measurement

_BINS = 20
_EXAMPLES = 8
# Comparing every image with every other takes memory and time with the square of their number.
_MAX_COMPARED = 5000


@dataclass(frozen=True)
class Analysed:
    """Images that went into the selection, the datapool's first."""

    names: Sequence[str]
    measurements: Sequence[Measurement]
    embeddings: NDArray[np.float32]
    n_datapool: int


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
        "selectedAndRemovedImageExamples": _nearest_removed(images, selected),
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
    if len(images.names) <= _MAX_COMPARED:
        analysis["embeddingInformation"] = {
            "distanceToNearestNeighborInSet": _per_set(
                input=_nearest_distances(images.embeddings[images.n_datapool :]),
                selected=_nearest_distances(images.embeddings[list(selected)]),
            )
        }
    return {"generalInformation": general, "datasetAnalysis": analysis}


def _metadata(images: Analysed, selected: Sequence[int]) -> dict[str, Any]:
    distributions = {}
    for key in METADATA_KEYS:
        values = np.array([measurement.number(key) for measurement in images.measurements])
        distributions[key] = _per_set(input=values[images.n_datapool :], selected=values[list(selected)])
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


def _nearest_distances(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    if len(embeddings) < 2:
        return np.zeros(0)
    distances = _distances(embeddings, embeddings)
    np.fill_diagonal(distances, np.inf)
    nearest: NDArray[np.float64] = distances.min(axis=1)
    return nearest


def _nearest_removed(images: Analysed, selected: Sequence[int]) -> list[dict[str, Any]]:
    """Pair the first selected images with what each of them stands for: the nearest image left out."""
    taken = set(selected)
    removed = [row for row in range(images.n_datapool, len(images.names)) if row not in taken]
    shown = list(selected[:_EXAMPLES])
    if not removed or not shown:
        return []
    distances = _distances(images.embeddings[shown], images.embeddings[removed])
    nearest = distances.argmin(axis=1)
    return [
        {
            "selectedImage": images.names[row],
            "removedImage": images.names[removed[nearest[place]]],
            "distance": float(distances[place, nearest[place]]),
        }
        for place, row in enumerate(shown)
    ]


def _distances(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    # Of vectors of length 1: |a - b|^2 = 2 - 2ab, which rounding can bring a little below zero.
    products: NDArray[np.float64] = left.astype(np.float64) @ right.astype(np.float64).T
    return np.sqrt(np.maximum(0.0, 2.0 - 2.0 * products))
