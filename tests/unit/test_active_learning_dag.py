"""The active-learning DAG: its order, its approval, and what the guide says of it."""

from __future__ import annotations

import itertools
import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.documents import REPOSITORY, code, dags_in, read, rows

if TYPE_CHECKING:
    from pathlib import Path

DAG_ID = "lightly_active_learning"
SOURCE = REPOSITORY / "dags" / f"{DAG_ID}.py"
has_approvals = tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 1)
ORDER = [
    *("create_dataset", "configure", "verify_permissions", "upload_predictions", "run_worker"),
    *("is_something_selected", "approve", "export", "label"),
]


def dag(folder: Path, **constants: str) -> tuple[Any, dict[str, str]]:
    """The DAG with some of its constants changed, and the errors of its import."""
    text = SOURCE.read_text()
    for name, value in constants.items():
        text, n_changed = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert n_changed == 1
    (folder / SOURCE.name).write_text(text)
    dags, errors = dags_in(folder)
    return dags.get(DAG_ID), errors


def test_the_round_has_an_order_in_which_nobody_is_asked(tmp_path: Path) -> None:
    found, errors = dag(tmp_path)

    assert not errors
    assert set(found.task_ids) == {*ORDER, "predict"} - {"approve"}
    steps = [task_id for task_id in ORDER if task_id != "approve"]
    steps.insert(steps.index("upload_predictions"), "predict")
    for before, after in itertools.pairwise(steps):
        assert before in found.get_task(after).upstream_task_ids, (before, after)


@pytest.mark.skipif(not has_approvals, reason="ApprovalOperator needs Airflow 3.1")
def test_with_an_approval_nothing_is_exported_before_it(tmp_path: Path) -> None:
    found, errors = dag(tmp_path, ASK_FOR_APPROVAL="True")

    assert not errors
    approve = found.get_task("approve")
    assert approve.upstream_task_ids == {"is_something_selected"}
    assert "export" in approve.downstream_task_ids
    assert found.get_task("label").upstream_task_ids == {"export"}
    assert approve.response_timeout.days == 3
    assert not approve.fail_on_reject
    # Without an answer it fails: no default stands for a person.
    assert approve.defaults is None


@pytest.mark.skipif(has_approvals, reason="this Airflow has ApprovalOperator")
def test_an_approval_that_this_airflow_lacks_is_an_import_error(tmp_path: Path) -> None:
    found, errors = dag(tmp_path, ASK_FOR_APPROVAL="True")

    assert found is None
    assert "3.1" in str(errors)


def test_the_guide_names_every_task_and_parameter(tmp_path: Path) -> None:
    found, _ = dag(tmp_path)
    page = REPOSITORY / "docs" / "active_learning.md"

    named = [name for cell, *_ in rows(page, "task") for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted({*ORDER, "predict"})
    assert {code(cell) for cell, *_ in rows(page, "parameter")} == set(found.params)
    assert f"`{DAG_ID}`" in read(page)


def test_the_form_can_be_sent_with_its_defaults(tmp_path: Path) -> None:
    found, _ = dag(tmp_path)

    for name, param in found.params.items():
        # Airflow's form takes an empty text for a missing one.
        assert param not in ("", None), name
    found.params.validate()
