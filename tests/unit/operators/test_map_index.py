"""A mapped task instance shows its dataset's name, unless the user decided otherwise."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator

from lightly_provider.operators.arguments import types_of_arguments
from lightly_provider.operators.base import LightlyBaseOperator
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator, DeleteLightlyDatasetOperator
from lightly_provider.operators.map_index import show_dataset_name
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from lightly_provider.sensors.worker import LightlyRunSensor
from tests.contract.example_calls import RUN, SCHEDULED_RUN
from tests.unit.api.scripted_platform import Answer
from tests.unit.hooks.dataset_care_answers import GONE, dataset
from tests.unit.operators.conftest import TaskInstance
from tests.unit.operators.example_operators import DATASET, OPERATORS, needed


def mapped(*, map_index: int = 0, template: str | None = None) -> dict[str, Any]:
    """The context of a mapped task."""
    ti = TaskInstance()
    ti.map_index = map_index
    return {"ti": ti, "map_index_template": template}


def shown_name(context: dict[str, Any], *, native: bool = False) -> Any:
    """What Airflow makes of the context at the end of a try."""
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1), render_template_as_native_obj=native) as dag:
        pass
    return dag.get_template_env().from_string(context["map_index_template"]).render(context)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    "name", ["my photos_2", "20260101", "None", "1e5", "{{ 7 * 7 }}", "[1]", "x\x1b[2J", "a" * 3000]
)
def test_the_name_is_shown_as_it_is_and_fits_airflows_database(name: str, native: bool) -> None:
    with DAG("b_dag", schedule=None, start_date=datetime(2026, 1, 1), render_template_as_native_obj=native):
        context = mapped() | {"task": EmptyOperator(task_id="a_task")}
    show_dataset_name(context, name)  # type: ignore[arg-type]
    shown = shown_name(context, native=native)
    assert isinstance(shown, str)
    assert shown.isprintable()
    assert len(shown) <= 250
    assert shown.strip().startswith(name[:4].replace("\x1b", "\\x1b")[:4])


@pytest.mark.parametrize(
    "context", [mapped(map_index=-1), mapped(template="{{ params.x }}"), {"ti": TaskInstance()}, {}]
)
def test_a_task_that_is_not_mapped_or_has_a_template_is_left_alone(context: dict[str, Any]) -> None:
    before = dict(context)
    show_dataset_name(context, "photos")  # type: ignore[arg-type]
    assert context == before


def test_the_name_is_asked_for_only_if_it_is_shown(platform: Any, context: dict[str, Any]) -> None:
    started = platform(GONE)
    task = DeleteLightlyDatasetOperator(task_id="a", dataset_id=DATASET, confirm_name="abc", ignore_if_missing=True)
    for values in (context, mapped()):
        task.execute(values)  # type: ignore[arg-type]
    assert len(started.received) == 2, "the name is an argument here"
    run = RunLightlyWorkerOperator(task_id="a", dataset_id=DATASET)
    for values, requests in ((context, 0), (mapped(template="x"), 0), (mapped(), 1)):
        before = len(started.received)
        run.name_map_index(values)  # type: ignore[arg-type]
        assert len(started.received) - before == requests


WITH_A_DATASET = [
    operator
    for operator in OPERATORS
    if "dataset_id" in types_of_arguments(operator) and issubclass(operator, LightlyBaseOperator)
]


@pytest.mark.parametrize("operator", WITH_A_DATASET)
def test_every_operator_with_a_dataset_shows_its_name(platform: Any, operator: type[Any]) -> None:
    platform(dataset("my photos"))
    context = mapped()
    operator(**needed(operator)).name_map_index(context)
    assert len(WITH_A_DATASET) > 8
    assert shown_name(context) == "my photos"


def test_a_new_dataset_is_shown_by_the_name_that_it_is_given(platform: Any) -> None:
    platform(Answer(403, {"code": "FORBIDDEN", "error": "no"}))
    context = mapped()
    with pytest.raises(Exception, match="no right to this"):
        CreateLightlyDatasetOperator(task_id="a", dataset_name="photos").execute(context)  # type: ignore[arg-type]
    assert shown_name(context) == "photos", "also of a task that fails"


@pytest.mark.parametrize("kind", [RunLightlyWorkerOperator, LightlyRunSensor])
def test_after_a_deferral_the_name_is_shown_again(platform: Any, kind: type[Any]) -> None:
    platform(dataset("my photos"))
    arguments = {} if kind is RunLightlyWorkerOperator else {"scheduled_run_id": SCHEDULED_RUN}
    run = {"id": RUN, "state": "FAILED", "message": "no", "artifacts": []}
    event = {"step": "fail", "status": "FAILED", "scheduled_run_id": SCHEDULED_RUN, "run": run, "log_cursor": 0}
    context = mapped()
    task = kind(task_id="a", dataset_id=DATASET, **arguments)
    with pytest.raises(Exception, match="ended as FAILED: no"):
        task.execute_complete(context, event | {"deadline": None, "error": None})
    assert shown_name(context) == "my photos"
    assert context["ti"].xcoms["run_id"] == RUN, "its log can be downloaded"


def test_without_a_name_the_id_is_shown(platform: Any) -> None:
    platform(GONE)
    context = mapped()
    RunLightlyWorkerOperator(task_id="a", dataset_id=DATASET).name_map_index(context)  # type: ignore[arg-type]
    assert shown_name(context) == DATASET
