"""What the provider uses of Airflow beyond its public interface: nowhere else, and what happens where it is missing."""

from __future__ import annotations

import ast
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from airflow.providers.common.compat.sdk import Asset
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

from lightly_provider import airflow_internals
from lightly_provider.airflow_internals import MissingInternalError
from tests.unit.documents import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = REPOSITORY / "lightly_provider"
# The module that is tested here, and the page that is a part of Airflow's API server.
EXCEPTIONS = (PACKAGE / "airflow_internals.py", PACKAGE / "plugin")
PUBLIC = {"airflow.sdk", "airflow.triggers.base", "airflow.cli.cli_config"}
# Only for annotations, or Airflow 2's place of a public class.
KNOWN = {"airflow.sdk.types", "airflow.triggers.temporal"}
TASK = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "airflow":
                yield from (f"airflow.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def is_public(module: str) -> bool:
    return module in KNOWN | PUBLIC or module.startswith("airflow.providers.")


def test_no_other_module_imports_more_than_the_public_interface() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if not any(path.is_relative_to(place) for place in EXCEPTIONS)]
    used = {(str(path.relative_to(PACKAGE)), name) for path in files for name in imported(path)}
    airflow = {(path, name) for path, name in used if name.split(".")[0] == "airflow"}
    assert len(airflow) > 20, "the imports are found"
    assert {(path, name) for path, name in airflow if not is_public(name)} == set()


def test_the_rule_finds_an_internal_import() -> None:
    found = {name for name in imported(PACKAGE / "airflow_internals.py") if name.startswith("airflow")}
    assert "airflow.sdk.execution_time.task_runner" in {name for name in found if not is_public(name)}


def test_importing_it_imports_nothing_of_airflow() -> None:
    tree = ast.parse((PACKAGE / "airflow_internals.py").read_text())
    top = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not any(str(module).startswith("airflow") for module in top)


@pytest.mark.parametrize(
    ("version", "expected"),
    [("2.11.2", False), ("3.2.2", False), ("3.3.2", True), ("3.4.0", True), ("3.4.0rc1", True), ("4.0.0", True)],
)
def test_the_task_state_store_is_there_by_version(
    monkeypatch: pytest.MonkeyPatch, version: str, *, expected: bool
) -> None:
    monkeypatch.setattr("airflow.__version__", version)
    assert airflow_internals.has_task_state_store() is expected


def test_a_version_that_cannot_be_read_has_no_task_state_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow.__version__", "main")
    assert not airflow_internals.has_task_state_store()


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 reads its database")
class TestAirflowThatMovedItsInternals:
    """What a later Airflow may do; on the one that is installed, by hiding the module."""

    def test_a_state_that_cannot_be_read_is_an_error_that_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "airflow.sdk.execution_time.task_runner", None)
        with pytest.raises(MissingInternalError, match="the state of a task cannot be read; look for a newer"):
            airflow_internals.state_of_task(**TASK)

    def test_so_is_one_whose_method_has_gone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        monkeypatch.delattr(RuntimeTaskInstance, "get_task_states")
        with pytest.raises(MissingInternalError, match=r"no RuntimeTaskInstance\.get_task_states"):
            airflow_internals.state_of_task(**TASK)
        with pytest.raises(MissingInternalError, match="the states of tasks cannot be read"):
            airflow_internals.states_of_tasks(dag_id="d", run_id="r", task_ids=["t"])

    def test_the_states_of_mapped_and_other_tasks_are_by_task_and_index(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        # As airflow 3.3.2 names them, api_fastapi/execution_api/routes/task_instances.py.
        answer = {"r": {"group.a_0": "success", "group.a_10": None, "b_1": "failed"}}
        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **_: answer)
        assert airflow_internals.states_of_tasks(dag_id="d", run_id="r", task_ids=["group.a", "b_1"]) == {
            ("group.a", 0): "success",
            ("group.a", 10): None,
            ("b_1", -1): "failed",
        }

    def test_a_task_that_is_killed_then_expects_no_further_try(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that it cancels its run, as the user wants."""
        from lightly_provider.runs.task_state import reason_for_next_try

        class Task:
            dag_id, run_id, task_id, map_index = "d", "r", "t", -1
            try_number, max_tries = 1, 3

        monkeypatch.setitem(sys.modules, "airflow.sdk.execution_time.task_runner", None)
        assert reason_for_next_try(Task()) == ""

    def test_without_references_assets_still_have_their_events(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr("airflow.sdk.definitions.asset.AssetRef")
        assert airflow_internals.classes_of_assets() == (Asset,)

    def test_a_connection_is_not_written_to_the_database(self) -> None:
        with pytest.raises(MissingInternalError, match="the connection was not written"):
            airflow_internals.stored_connections().__enter__()


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 reads its database")
@pytest.mark.parametrize(
    ("answer", "state"),
    [({"r": {"t": "failed"}}, "failed"), ({"r": {"t": None}}, None), ({}, airflow_internals.DELETED)],
)
def test_a_task_that_was_deleted_is_told_apart_from_one_that_was_cleared(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, dict[str, str | None]], state: str | None
) -> None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **_: answer)
    assert airflow_internals.state_of_task(**TASK) == state


@pytest.mark.skipif(AIRFLOW_V_3_0_PLUS, reason="Airflow 3 is asked through its supervisor")
@pytest.mark.parametrize(("stored", "state"), [(["failed"], "failed"), ([None], None), ([], airflow_internals.DELETED)])
def test_on_airflow_2_likewise(monkeypatch: pytest.MonkeyPatch, stored: list[str | None], state: str | None) -> None:
    from airflow.models import import_all_models
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import create_engine, insert
    from sqlalchemy.orm import Session

    import_all_models()  # which its foreign keys name
    with Session(create_engine("sqlite://")) as session:
        TaskInstance.__table__.create(session.connection())
        for each in stored:
            session.execute(insert(TaskInstance.__table__).values(**TASK, state=each, pool="p", pool_slots=1))
        monkeypatch.setattr("airflow.utils.session.create_session", lambda: nullcontext(session))
        assert airflow_internals.state_of_task(**TASK) == state


def test_assets_of_this_airflow_have_their_events() -> None:
    assert airflow_internals.classes_of_assets()[0] is Asset
    assert len(airflow_internals.classes_of_assets()) == (2 if AIRFLOW_V_3_0_PLUS else 1)
