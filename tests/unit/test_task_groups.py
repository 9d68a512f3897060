"""The onboarding as a task group: what it is made of, which arguments it takes, and what it refuses."""

from __future__ import annotations

import inspect
import itertools
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, task
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS
from airflow.providers.standard.operators.empty import EmptyOperator

from lightly_provider import task_groups
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from lightly_provider.task_groups import onboard_s3_dataset, skip_without_selection
from tests.unit.operators.conftest import TaskInstance
from tests.unit.operators.example_operators import DATASET, SELECTION

OPERATORS = (
    CreateLightlyDatasetOperator,
    ConfigureS3DatasourceOperator,
    VerifyDatasourcePermissionsOperator,
    RunLightlyWorkerOperator,
)
OF_THE_GROUP = {"pool", "default_args", "group_id", "prefix_group_id"}
BUCKET = {"resource_path": "s3://my-bucket/photos/", "datasource_aws_conn_id": "lightly_bucket"}
FRONT = {"dataset_name": "front camera", "resource_path": "s3://my-bucket/front/"}
REAR = {"dataset_name": "rear camera", "resource_path": "s3://my-bucket/rear/"}
LINE = ["create_dataset", "configure", "verify_permissions", "run_worker"]


def a_dag(**options: Any) -> DAG:
    return DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1), **options)


def of_member(value: Any, map_index: int) -> Any:
    """What Airflow makes of a mapped argument for one member of the group."""
    ti = TaskInstance()
    ti.map_index = map_index
    return value.resolve({"ti": ti})


def returned(*datasets: Any) -> Any:
    """The output of a task that returns a list."""

    @task
    def datasets_of_today() -> list[Any]:
        return list(datasets)

    return datasets_of_today()


def test_arguments_have_the_names_and_defaults_of_the_operators() -> None:
    of_operators: dict[str, list[Any]] = {}
    for operator in OPERATORS:
        for name, parameter in inspect.signature(operator.__init__).parameters.items():
            of_operators.setdefault(name, []).append(parameter.default)
    for name, default in onboard_s3_dataset.defaults.items():
        if name not in {*OF_THE_GROUP, "datasource_aws_conn_id", "lightly_conn_id"}:
            wanted = {"resource_path": inspect.Parameter.empty, "aws_conn_id": None}.get(name, of_operators[name][-1])
            assert default == wanted, name
    assert onboard_s3_dataset.defaults["lightly_conn_id"] == "lightly_default"


def test_each_argument_reaches_the_operators_that_have_it() -> None:
    taken = {name for step in task_groups._STEPS for name in step.takes}
    assert taken == set(onboard_s3_dataset.defaults) - OF_THE_GROUP
    for step in task_groups._STEPS:
        assert set(step.takes) <= set(inspect.signature(step.operator.__init__).parameters) | {"lightly_conn_id"}


def test_one_call_is_one_box_with_one_line_of_tasks() -> None:
    with a_dag() as dag:
        before, after = EmptyOperator(task_id="before"), EmptyOperator(task_id="after")
        group = onboard_s3_dataset(
            dataset_name="my-photos",
            **BUCKET,
            output_resource_path="s3://my-bucket/lightly/",
            selection_config=SELECTION,
        )
        before >> group >> after

    ids = [f"onboard.{name}" for name in LINE]
    assert set(dag.task_ids) == {*ids, "before", "after"}
    for upstream, downstream in itertools.pairwise(["before", *ids, "after"]):
        assert dag.get_task(downstream).upstream_task_ids == {upstream}
    assert all(each.trigger_rule == "all_success" for each in dag.tasks)
    assert "my-photos" in group.tooltip
    assert group.output.operator.task_id == "onboard.run_worker"
    assert dag.get_task("onboard.configure").output_resource_path == "s3://my-bucket/lightly/"
    ti = TaskInstance()
    ti.xcoms = {"return_value": DATASET}
    for name in LINE[1:]:
        template = dag.get_task(f"onboard.{name}").dataset_id
        assert dag.get_template_env().from_string(template).render(ti=ti) == DATASET
    if hasattr(group, "group_display_name"):
        assert group.label == "onboard my-photos"


def test_without_a_selection_there_is_no_run() -> None:
    with a_dag() as dag:
        group = onboard_s3_dataset(dataset_name="my-photos", **BUCKET)
    assert set(dag.task_ids) == {f"onboard.{name}" for name in LINE[:-1]}
    assert group.output.operator.task_id == "onboard.verify_permissions"


def test_two_calls_in_one_dag_are_two_groups() -> None:
    with a_dag() as dag:
        groups = [onboard_s3_dataset(dataset_name=f"photos {n}", **BUCKET) for n in range(2)]
        onboard_s3_dataset(dataset_name="photos 3", **BUCKET, group_id="third", prefix_group_id=False)
    assert [group.group_id for group in groups] == ["onboard", "onboard__1"]
    assert {"onboard.configure", "onboard__1.configure", "configure"} <= set(dag.task_ids)


def test_what_is_left_out_is_left_to_default_args() -> None:
    with a_dag(default_args={"lightly_conn_id": "lightly_team", "retries": 7}) as dag:
        onboard_s3_dataset(
            dataset_name="my-photos", **BUCKET, selection_config=SELECTION, pool="a_pool", default_args={"retries": 3}
        )
    assert {each.lightly_conn_id for each in dag.tasks} == {"lightly_team"}
    assert {each.pool for each in dag.tasks} == {"a_pool"}
    assert {each.retries for each in dag.tasks} == {3}


@pytest.mark.parametrize("dataset_type", ["Images", "auto", "{{ params.kind }}"])
def test_the_bucket_is_listed_for_the_type_only_if_that_is_asked_for(dataset_type: str) -> None:
    with a_dag() as dag:
        onboard_s3_dataset(dataset_name="my-photos", **BUCKET, dataset_type=dataset_type)
    path = None if dataset_type == "Images" else BUCKET["resource_path"]
    assert dag.get_task("onboard.create_dataset").resource_path == path


@pytest.mark.parametrize(
    ("operator", "wrong"),
    [
        (OPERATORS[0], {"dataset_name": "ä"}),
        (OPERATORS[0], {"dataset_type": "Image"}),
        (OPERATORS[1], {"resource_path": "my-bucket/photos"}),
        (OPERATORS[1], {"generate_thumbnails": "yes"}),
        (OPERATORS[2], {"require": ["lst"]}),
        (OPERATORS[3], {"selection_config": {"n_sample": 3}}),
        (OPERATORS[3], {"selection_config": SELECTION, "priority": "high"}),
    ],
)
def test_a_refusal_is_the_operators_own(operator: Any, wrong: dict[str, Any]) -> None:
    required = {"dataset_name": "my-photos", "dataset_id": DATASET, **BUCKET}
    takes = inspect.signature(operator.__init__).parameters
    with pytest.raises(ValueError, match=next(reversed(wrong))) as expected:
        operator(task_id="a", **{name: value for name, value in required.items() if name in takes} | wrong)

    with a_dag(), pytest.raises(ValueError, match=next(reversed(wrong))) as refused:
        onboard_s3_dataset(**{"dataset_name": "my-photos", **BUCKET} | wrong)
    assert str(refused.value) == str(expected.value)

    with a_dag() as dag, pytest.raises(ValueError, match=next(reversed(wrong))) as refused:
        onboard_s3_dataset.partial(datasource_aws_conn_id="lightly_bucket").expand_kwargs([FRONT, REAR | wrong])
    assert str(refused.value) == f"expand_kwargs, entry 2 of 2: {expected.value}"
    assert dag.task_ids == []


def test_options_of_a_run_without_a_run_are_refused() -> None:
    with a_dag(), pytest.raises(ValueError, match="worker_config is given without selection_config"):
        onboard_s3_dataset(dataset_name="my-photos", **BUCKET, worker_config={"use_datapool": True})


def test_a_list_is_one_mapped_box_that_maps_only_what_differs() -> None:
    with a_dag() as dag:
        before = EmptyOperator(task_id="before")
        group = onboard_s3_dataset.partial(datasource_aws_conn_id="lightly_bucket", group_id="cameras").expand_kwargs(
            [
                FRONT | {"priority": "LOW", "selection_config": SELECTION},
                REAR
                | {"priority": "LOW", "selection_config": SELECTION, "output_resource_path": "s3://my-bucket/out/"},
            ]
        )
        before >> group
    create, configure, run = (dag.get_task(f"cameras.{name}") for name in ("create_dataset", "configure", "run_worker"))
    assert [of_member(create.dataset_name, index) for index in (0, 1)] == ["front camera", "rear camera"]
    assert [of_member(configure.output_resource_path, index) for index in (0, 1)] == [None, "s3://my-bucket/out/"]
    assert (run.priority, run.selection_config) == ("LOW", SELECTION)
    assert create.upstream_task_ids == {"before"}
    assert {each.trigger_rule for each in dag.tasks} == {"all_success"}
    assert "front camera, rear camera" in group.tooltip
    assert group.output.operator is run


def test_a_list_without_any_selection_has_no_run() -> None:
    with a_dag() as dag:
        onboard_s3_dataset.partial(datasource_aws_conn_id="lightly_bucket").expand_kwargs([FRONT, REAR])
    assert set(dag.task_ids) == {f"onboard.{name}" for name in LINE[:-1]}


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ([], "an empty list"),
        ("front camera", "give a list with the arguments of each dataset"),
        ([FRONT, "rear camera"], "entry 2 of 2: 'rear camera' is not a mapping"),
        ([FRONT, {"dataset_name": "rear camera"}], "entry 2 of 2: resource_path is missing"),
        ([FRONT, REAR | {"output_path": "s3://b/c/"}], "there is no argument 'output_path'.* did you mean 'output_"),
        ([FRONT, REAR | {"timeout": 60}], "entry 2 of 2: timeout is 60, and must be the same"),
        (
            [FRONT, REAR | {"external_id": "x"}],
            "there is no argument 'external_id'; there are: dataset_name, resource_path",
        ),
        ([FRONT, REAR | {"datasource_aws_conn_id": "other"}], "datasource_aws_conn_id is in partial\\(\\), too"),
        ([FRONT, FRONT | {"priority": "LOW"}], "entry 2 of 2: dataset_name is 'front camera', as in entry 1"),
        ([FRONT, REAR | {"resource_path": "s3://b/{{ ds }}/"}], "entry 2 of 2: resource_path is .* renders nothing"),
    ],
)
def test_a_list_that_cannot_be_right_is_refused(datasets: Any, message: str) -> None:
    with a_dag() as dag, pytest.raises(ValueError, match=message):
        onboard_s3_dataset.partial(datasource_aws_conn_id="lightly_bucket").expand_kwargs(datasets)
    assert dag.task_ids == []


def test_arguments_in_common_that_cannot_be_right_are_refused() -> None:
    with pytest.raises(TypeError, match="did you mean 'datasource_aws_conn_id'"):
        onboard_s3_dataset.partial(datasource_conn_id="lightly_bucket")
    with a_dag(), pytest.raises(ValueError, match="dataset_name is in partial"):
        onboard_s3_dataset.partial(dataset_name="my-photos").expand_kwargs(returned())


def test_a_returned_list_is_completed_when_the_tasks_run() -> None:
    with a_dag(default_args={"lightly_conn_id": "lightly_team"}) as dag:
        datasets = returned(FRONT | {"selection_config": SELECTION}, REAR)
        group = onboard_s3_dataset.partial(datasource_aws_conn_id="lightly_bucket", priority="LOW").expand_kwargs(
            datasets
        )
    completed = dag.get_task("onboard.create_dataset").dataset_name._input.value.callables[0]

    assert set(dag.task_ids) == {"datasets_of_today", *(f"onboard.{name}" for name in LINE)}
    assert "datasets_of_today" in group.tooltip
    front = completed(FRONT)
    assert front["dataset_type"] == "Images"
    assert front["selection_config"] is None
    assert front["lightly_conn_id"] == "lightly_team"
    assert "priority" not in front
    assert dag.get_task("onboard.run_worker").priority == "LOW"
    for wrong in (
        {"dataset_name": "front camera"},
        FRONT | {"priority": "LOW"},
        FRONT | {"region": "{{ x }}"},
        "front",
    ):
        with pytest.raises(ValueError, match=r"is missing|in partial|renders nothing|not a mapping"):
            completed(wrong)


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 reads its database")
@pytest.mark.parametrize("is_hidden", [False, True])
def test_a_task_reads_the_returned_list_once_for_all_its_arguments(
    monkeypatch: pytest.MonkeyPatch, *, is_hidden: bool
) -> None:
    if is_hidden:  # as in a later Airflow that has moved it
        monkeypatch.setitem(sys.modules, "airflow.sdk.definitions._internal.expandinput", None)
    with a_dag() as dag:
        onboard_s3_dataset.partial(datasource_aws_conn_id="lightly_bucket").expand_kwargs(returned(FRONT, REAR))
    configure = dag.get_task("onboard.configure")
    mapped = [value for name in configure.template_fields if hasattr(value := getattr(configure, name), "_key")]
    assert len(mapped) > 3
    pulled = []

    class Task(TaskInstance):
        def xcom_pull(self, **arguments: Any) -> Any:
            pulled.append(self.map_index)
            return [FRONT, REAR]

    for map_index, dataset in enumerate((FRONT, REAR)):
        ti = Task()
        ti.map_index = map_index
        found = {value._key: value.resolve({"ti": ti}) for value in mapped}
        assert found["resource_path"] == dataset["resource_path"]
    assert pulled == ([0] * len(mapped) + [1] * len(mapped) if is_hidden else [0, 1])


@pytest.mark.parametrize(
    ("selection", "is_skipped"), [(None, True), ("null", True), (SELECTION, False), ('{"n_samples": 1}', False)]
)
def test_a_run_without_a_selection_is_skipped(selection: Any, is_skipped: bool) -> None:
    run = RunLightlyWorkerOperator(task_id="run_worker", dataset_id=DATASET)
    run.selection_config = selection
    if not is_skipped:
        skip_without_selection({"task": run})  # type: ignore[typeddict-item]
        return
    with pytest.raises(AirflowSkipException, match="no selection_config"):
        skip_without_selection({"task": run})  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    "selection", [SELECTION, '{"n_samples": {{ params.n }}}', pytest.param(None, id="of each dataset")]
)
def test_only_a_selection_that_is_not_known_yet_may_be_none(selection: Any) -> None:
    with a_dag() as dag:
        common = {"datasource_aws_conn_id": "lightly_bucket"} | ({"selection_config": selection} if selection else {})
        onboard_s3_dataset.partial(**common).expand_kwargs([FRONT, REAR] if selection else returned())
    hook = dag.get_task("onboard.run_worker")._pre_execute_hook
    assert hook is (None if selection is SELECTION else skip_without_selection)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", ["my photos_2", "20260101", "a" * 3000])
def test_each_task_of_a_member_shows_its_dataset(name: str, native: bool) -> None:
    with a_dag(render_template_as_native_obj=native) as dag:
        onboard_s3_dataset.partial(**BUCKET).expand_kwargs(returned())
    ti = TaskInstance()
    ti.map_index = 3
    for each in (dag.get_task(f"onboard.{name}") for name in LINE):
        ti.xcoms = {"dataset_name": name}
        rendered = (
            dag.get_template_env().from_string(each.map_index_template).render(ti=ti, task={"dataset_name": name})
        )
        assert isinstance(rendered, str)
        assert rendered.strip() == name[:200]


def test_an_unmapped_group_has_no_names_of_members() -> None:
    with a_dag() as dag:
        onboard_s3_dataset(dataset_name="my-photos", **BUCKET, timeout=timedelta(hours=1))
    assert {each.map_index_template for each in dag.tasks} == {None}
