from __future__ import annotations

import json
from typing import Any

import pytest

from lightly_sandbox.platform.run_findings import KEPT, Findings, Shelf

SIZES = {"nInput": 4, "nCorrupt": 1, "nDuplicate": 0, "nRemoved": 2, "nSelected": 1}
PLACES = [[0.0, 0.0], [1.0, 0.5], [2.0, -1.0]]
PAIRS = [
    {"selectedImage": "a.jpg", "removedImage": "c.jpg", "distance": 0.5},
    {"selectedImage": "a.jpg", "removedImage": "b.jpg", "distance": 0.1},
]


def report(**changes: Any) -> bytes:
    said: dict[str, Any] = {
        "generalInformation": {
            "datasetInformation": {"datasetSizes": {**SIZES, **changes}, "datasetName": "a name"},
            "selectedAndRemovedImageExamples": PAIRS,
        },
        "datasetAnalysis": {
            "embeddingInformation": {
                "scatterPlotData": {
                    "pcaEmbeddingData": {
                        "input2dEmbeddings": PLACES,
                        "datapool2dEmbeddings": [],
                        "selectedExcludingDatapool2dEmbeddings": PLACES[:1],
                    }
                }
            }
        },
    }
    return json.dumps(said).encode()


RELEVANT = b"a.jpg\nb.jpg\nbroken.jpg\nc.jpg\n"
CORRUPT = json.dumps({"corrupt_samples": {"broken.jpg": "truncated"}, "corrupt_videos": {}}).encode()


def test_the_artifacts_together_name_every_point() -> None:
    found = Findings.of(report(), RELEVANT, CORRUPT)
    assert found.considered == ("a.jpg", "b.jpg", "c.jpg")
    assert found.places == ((0.0, 0.0), (1.0, 0.5), (2.0, -1.0))
    assert found.selected_places == ((0.0, 0.0),)
    assert [pair.left_out for pair in found.pairs] == ["b.jpg", "c.jpg"], "the most similar pair is the first"
    assert found.sizes is not None
    assert found.sizes.n_removed == 2


@pytest.mark.parametrize(
    ("said", "relevant"),
    [(report(nInput=5), RELEVANT), (report(), RELEVANT + b"another.jpg\n"), (report(), None)],
)
def test_points_have_no_names_where_the_artifacts_disagree(said: bytes, relevant: bytes | None) -> None:
    found = Findings.of(said, relevant, CORRUPT)
    assert found.considered == ()
    assert len(found.places) == 3


@pytest.mark.parametrize(
    "said",
    [
        *(None, b"", b"no JSON", b"[]", b'{"generalInformation": {}}', b"\xff"),
        report().replace(b"2.0", b"1e999"),
        report().replace(b"2.0", b"NaN"),
        report(nInput="many"),
    ],
)
def test_a_report_of_another_shape_says_nothing(said: bytes | None) -> None:
    found = Findings.of(said, RELEVANT, CORRUPT)
    assert (found.sizes, found.places, found.pairs) == (None, (), ())
    assert found.considered == ("a.jpg", "b.jpg", "c.jpg")


def test_a_shelf_keeps_what_was_used_last() -> None:
    shelf, made = Shelf(), []

    def get(key: str) -> str:
        def make() -> str:
            made.append(key)
            return key

        return shelf.get((key,), make)

    for number in range(KEPT):
        get(str(number))
    get("0")
    get("one more")
    assert get("0") == "0"
    assert made.count("0") == 1
    get("1")
    assert made.count("1") == 2
