"""Which red lights fail a run before it reads anything."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lightly_sandbox.worker.outcome import RunFailed
from lightly_sandbox.worker.pipeline import Pipeline
from tests.lab.worker import DIVERSITY, THUMBNAILS

INPUT = {"purpose": "INPUT", "fullPath": "s3://b/photos/"}
LIGHTLY = {"purpose": "LIGHTLY", "fullPath": "s3://b/lightly/"}
COMMON = {"purpose": "INPUT_OUTPUT", "fullPath": "s3://b/photos/"}


def failure(dataset_type: str, datasources: list[dict[str, Any]], red: tuple[str, ...]) -> str:
    """Why a run with these red lights fails; without files, one that passes the verification fails, too."""
    config = {"selection": {"nSamples": 1, "strategies": [DIVERSITY]}}
    platform = SimpleNamespace(
        dataset=lambda _: {"type": dataset_type, "name": "d"},
        config=lambda _: {"version": "V4", "config": config},
        datasources=lambda _: datasources,
        tags=lambda _: [],
        verify=lambda _: {
            **{f"can{light}": light not in red for light in ("List", "Read", "Write", "Overwrite")},
            "errors": {f"can{light}": "AccessDenied: no" for light in red},
        },
        processed_until=lambda _: 0,
        files=lambda *_: (),
    )
    log = SimpleNamespace(enter=lambda *_: None, say=lambda *_: None)
    job: Any = SimpleNamespace(platform=platform, log=log, dataset_id="d", config_id="c")
    with pytest.raises(RunFailed) as caught:
        Pipeline(job).run(Path())
    return str(caught.value)


# The lights of a read-only INPUT, as ``--verify-scope input`` and ``worst`` show them.
@pytest.mark.parametrize("dataset_type", ["Images", "Videos"])
def test_a_read_only_input_beside_lightly_needs_no_right_to_write(dataset_type: str) -> None:
    said = failure(dataset_type, [INPUT, LIGHTLY | THUMBNAILS], ("Write", "Overwrite"))
    assert said.startswith(f"There are no {dataset_type.lower()} at all")


@pytest.mark.parametrize(
    ("dataset_type", "datasource", "is_needed"),
    [("Images", COMMON | THUMBNAILS, True), ("Images", COMMON, False), ("Videos", COMMON, True)],
)
def test_a_common_datasource_needs_the_right_to_write_thumbnails_and_frames(
    dataset_type: str, datasource: dict[str, Any], is_needed: bool
) -> None:
    said = failure(dataset_type, [datasource], ("Write", "Overwrite"))
    assert ("the platform may not write (s3:PutObject; AccessDenied: no). Grant" in said) is is_needed


@pytest.mark.parametrize("datasources", [[INPUT, LIGHTLY], [COMMON]])
def test_every_datasource_needs_the_rights_to_list_and_read(datasources: list[dict[str, Any]]) -> None:
    said = failure("Images", datasources, ("List", "Read"))
    assert "the platform may not list (s3:ListBucket; AccessDenied: no); read (s3:GetObject; " in said
