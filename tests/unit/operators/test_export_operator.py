"""The export of a tag, on a platform that follows a script."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.exceptions import (
    LightlyDestinationError,
    LightlyError,
    LightlyNotFoundError,
    LightlyResponseError,
)
from lightly_provider.operators.results import ExportLightlyTagOperator
from tests.contract.example_calls import DATASET, RUN, TAG
from tests.contract.samples import documented_answer
from tests.final_errors import final
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., ScriptedPlatform]
NAMES = ["a.jpg", "ordner/ü.jpg", "c.jpg"]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Returns what was logged: Airflow 3 prints it, Airflow 2 logs it."""
    caplog.set_level(logging.DEBUG)
    return lambda: caplog.text + capsys.readouterr().out


def exporting(**arguments: Any) -> ExportLightlyTagOperator:
    given = {"task_id": "export", "dataset_id": DATASET, "tag_name": "initial-tag", "aws_conn_id": None}
    return ExportLightlyTagOperator(**(given | arguments))


def tags(n_samples: int = len(NAMES)) -> Answer:
    bits = hex((1 << n_samples) - 1)
    tag = {"id": TAG, "datasetId": DATASET, "name": "initial-tag", "bitMaskData": bits, "runId": RUN}
    return Answer(200, documented_answer("get_tags_by_dataset_id", tag))


def dataset() -> Answer:
    return Answer(200, documented_answer("get_dataset_by_id", id=DATASET, type="Images"))


def page(*names: str, start: str = "") -> Answer:
    return Answer(200, "\n".join(start + name for name in names).encode())


def test_a_tag_becomes_a_file(platform: Start, context: dict[str, Any], tmp_path: Path) -> None:
    asked = platform(tags(), page(*NAMES))

    result = exporting(destination=f"{tmp_path}/names.txt").execute(context)  # type: ignore[arg-type]

    content = (tmp_path / "names.txt").read_bytes()
    assert content.decode() == "".join(f"{name}\n" for name in NAMES)
    assert result == {
        "uri": f"file://{tmp_path}/names.txt",
        "count": 3,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert len(asked.received) == 2


def test_a_second_run_writes_the_same_file(platform: Start, context: dict[str, Any], tmp_path: Path) -> None:
    platform(*[tags(), dataset(), page(*NAMES), page(*NAMES, start="s3://b/")] * 2)
    first, second = (
        exporting(destination=f"{tmp_path}/m.jsonl", format="manifest").execute(context)  # type: ignore[arg-type]
        for _ in range(2)
    )

    assert first == second
    line = json.loads((tmp_path / "m.jsonl").read_text().splitlines()[1])
    assert line == {
        "source-ref": "s3://b/ordner/ü.jpg",
        "filename": "ordner/ü.jpg",
        "dataset_id": DATASET,
        "tag_name": "initial-tag",
        "run_id": RUN,
    }


def test_without_a_destination_the_names_are_in_xcom(platform: Start, context: dict[str, Any]) -> None:
    platform(tags(), page(*NAMES))

    result = exporting().execute(context)  # type: ignore[arg-type]

    content = "".join(f"{name}\n" for name in NAMES).encode()
    assert result == {
        "uri": None,
        "count": 3,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "names": NAMES,
    }


def test_more_names_than_xcom_takes_are_refused_before_the_first_page(platform: Start, context: dict[str, Any]) -> None:
    asked = platform(tags(1001))

    with pytest.raises(ValueError, match=r"has 1001 samples, and XCom takes at most 1000;\sgive a destination"):
        exporting().execute(context)  # type: ignore[arg-type]
    assert len(asked.received) == 1


def test_an_empty_selection_is_a_file_without_a_line_and_a_warning(
    platform: Start, context: dict[str, Any], tmp_path: Path, log: Callable[[], str]
) -> None:
    platform(tags(0))
    result = exporting(destination=f"{tmp_path}/names.txt").execute(context)  # type: ignore[arg-type]

    assert (tmp_path / "names.txt").read_bytes() == b""
    assert (result["count"], result["bytes"]) == (0, 0)
    assert "no sample is in tag 'initial-tag'" in log()


def test_a_run_that_selected_nothing_has_no_tag_and_is_exported_as_empty(
    platform: Start, context: dict[str, Any], tmp_path: Path, log: Callable[[], str]
) -> None:
    asked = platform(dataset(), Answer(200, []))
    made = exporting(tag_name=None, format="labelbox", destination=f"{tmp_path}/rows.json")
    assert made.execute(context)["count"] == 0  # type: ignore[arg-type]

    assert json.loads((tmp_path / "rows.json").read_text()) == []
    assert "the run created no tag" in log()
    assert "tags" not in "".join(received.path for received in asked.received)


def test_a_destination_that_cannot_be_written_is_found_before_the_first_page(
    platform: Start, context: dict[str, Any], tmp_path: Path
) -> None:
    asked = platform(tags())

    with pytest.raises(LightlyDestinationError):
        exporting(destination=str(tmp_path)).execute(context)  # type: ignore[arg-type]
    assert len(asked.received) == 1


def test_a_tag_that_is_not_there_is_named_with_what_is_near(platform: Start, context: dict[str, Any]) -> None:
    platform(tags())
    with pytest.raises(final(LightlyNotFoundError), match=r"has no tag 'initial_tag';\sdid you mean 'initial-tag'\?"):
        exporting(tag_name="initial_tag").execute(context)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [NAMES[:2], [*NAMES, "d.jpg"]])
def test_another_number_of_samples_than_the_tag_has_leaves_the_file_as_it_was(
    platform: Start, context: dict[str, Any], tmp_path: Path, names: list[str]
) -> None:
    platform(tags(), page(*names), page())
    (tmp_path / "names.txt").write_text("before")

    with pytest.raises(LightlyResponseError, match=r"which\s+has 3 samples"):
        exporting(destination=f"{tmp_path}/names.txt").execute(context)  # type: ignore[arg-type]
    assert (tmp_path / "names.txt").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["names.txt"]


def test_a_killed_export_ends_before_its_next_page_and_writes_nothing(
    platform: Start, context: dict[str, Any], tmp_path: Path
) -> None:
    asked = platform(tags(6), page(*NAMES), page("d.jpg", "e.jpg", "f.jpg"))
    made = exporting(destination=f"{tmp_path}/names.txt")
    made.on_kill()

    with pytest.raises(LightlyError, match="The task was killed; nothing of tag 'initial-tag' was written"):
        made.execute(context)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    assert len(asked.received) == 2


def test_read_addresses_live_as_long_as_they_shall(
    platform: Start, context: dict[str, Any], tmp_path: Path, log: Callable[[], str]
) -> None:
    asked = platform(tags(), dataset(), page(*NAMES), page(*NAMES, start="https://x/?publicToken=canary&path="))
    made = exporting(format="read-urls", destination=f"{tmp_path}/urls.jsonl", read_urls_expire_in="3600")
    result = made.execute(context)  # type: ignore[arg-type]

    assert dict(asked.received[-1].query)["expiresIn"] == "3600"
    assert "publicToken=canary" in (tmp_path / "urls.jsonl").read_text()
    assert "canary" not in log() + repr(result) + repr(context["ti"].xcoms)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "manifest"}, "format is 'manifest' without a destination; give one"),
        ({"format": "read-urls"}, "format is 'read-urls' without a destination"),
        ({"format": "jsonl"}, "format is 'jsonl'; allowed: 'filenames', 'uris'"),
        ({"tag_name": " "}, "tag_name is ' '; give the name of a tag, or None."),
        ({"destination": "s3://my-bucket/folder/"}, "a folder; write the file's name, too."),
        ({"union_with": ["a", ""]}, "union_with is ['a', ''], which has an empty label"),
        ({"read_urls_expire_in": 0}, "read_urls_expire_in is 0; give a number of seconds"),
        ({"dataset_id": "my-dataset"}, "dataset_id is 'my-dataset', and an id of the platform is"),
    ],
)
def test_an_argument_that_cannot_be_right_is_refused_at_the_dags_parse(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        exporting(**arguments)
