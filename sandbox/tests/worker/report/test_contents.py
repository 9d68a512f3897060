from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lightly_sandbox.seeding.photos import frames
from lightly_sandbox.worker.embedding import describe
from lightly_sandbox.worker.measurement import measure
from lightly_sandbox.worker.report.contents import Analysed, RunFacts, build_report

FACTS = RunFacts("run", "dataset", "photos", "1", started=100.0, ended=104.5)


@pytest.fixture(scope="module")
def images() -> Analysed:
    photos = [(name, content, Image.open(io.BytesIO(content))) for name, content in frames(20)]
    return Analysed(
        names=[name for name, _, _ in photos],
        measurements=[measure(image, len(content)) for _, content, image in photos],
        embeddings=np.stack([describe(image) for _, _, image in photos]),
        n_datapool=5,
    )


@pytest.fixture(scope="module")
def report(images: Analysed) -> dict[str, Any]:
    # Through JSON, as it is uploaded.
    return json.loads(json.dumps(build_report(FACTS, images, [7, 12, 19], n_corrupt=2, n_duplicates=1)))


def test_the_sizes_add_up(report: dict[str, Any]) -> None:
    assert report["generalInformation"]["datasetInformation"]["datasetSizes"] == {
        "nInput": 17,
        "nCorrupt": 2,
        "nDuplicate": 1,
        "nRemoved": 12,
        "nSelected": 3,
        "nPreselectedDatapool": 5,
        "nSelectedWithDatapool": 8,
    }


def test_the_times_are_seconds(report: dict[str, Any]) -> None:
    assert report["generalInformation"]["runInformation"]["totalProcessingTimeS"] == 4.5


def test_distributions_count_each_image_once(report: dict[str, Any]) -> None:
    sharpness = report["datasetAnalysis"]["metadataInformation"]["lightlyNumeric"]["lightly.sharpness"]
    assert sum(sharpness["input"]["counts"]) == 15
    assert sum(sharpness["selected"]["counts"]) == 3
    assert sharpness["range"][0] <= sharpness["selected"]["metrics"]["min"]
    nearest = report["datasetAnalysis"]["embeddingInformation"]["distanceToNearestNeighborInSet"]
    assert nearest["selected"]["metrics"]["min"] > nearest["input"]["metrics"]["min"]


def test_an_example_pairs_a_selected_image_with_the_nearest_one_left_out(
    images: Analysed, report: dict[str, Any]
) -> None:
    example = report["generalInformation"]["selectedAndRemovedImageExamples"][0]
    assert example["selectedImage"] == images.names[7]
    removed = [row for row in range(5, 20) if row not in (7, 12, 19)]
    distances = np.linalg.norm(images.embeddings[removed] - images.embeddings[7], axis=1)
    assert example["removedImage"] == images.names[removed[int(distances.argmin())]]
    assert example["distance"] == pytest.approx(float(distances.min()), abs=1e-4)


def test_a_run_that_selected_nothing_has_a_report_too(images: Analysed) -> None:
    report = build_report(FACTS, images, [], n_corrupt=0, n_duplicates=0)
    assert report["generalInformation"]["selectedAndRemovedImageExamples"] == []
