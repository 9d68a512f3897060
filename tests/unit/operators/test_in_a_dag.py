"""The operators as Airflow handles them: fields, rendering, serialization, mapping."""

from __future__ import annotations

import inspect
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator

from lightly_provider.links import LightlyDatasetLink, LightlyRunsLink
from lightly_provider.operators.access import (
    CreateLightlyAccessRoleOperator,
    CreateLightlyAccessUserOperator,
    DeleteLightlyAccessOperator,
    RotateLightlyAccessOperator,
)
from lightly_provider.operators.arguments import types_of_arguments
from lightly_provider.operators.cancellation import CancelLightlyRunOperator as Cancel
from lightly_provider.operators.dataset import (
    CreateLightlyDatasetOperator,
    DeleteLightlyDatasetOperator,
    ShareLightlyDatasetOperator,
)
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.events import DrainUploadsOperator, ListEndedRunsOperator
from lightly_provider.operators.results import DownloadLightlyArtifactsOperator as Download
from lightly_provider.operators.results import ExportLightlyTagOperator as Export
from lightly_provider.operators.results import UploadLightlyMetadataOperator as UploadMetadata
from lightly_provider.operators.results import UploadLightlyPredictionsOperator as UploadPredictions
from lightly_provider.operators.tag import CreateLightlyTagOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from lightly_provider.operators.worker_registration import DeleteLightlyWorkerOperator as DeleteWorker
from lightly_provider.operators.worker_registration import RegisterLightlyWorkerOperator as Register
from lightly_provider.sensors.events import LightlyUploadSensor
from lightly_provider.sensors.worker import LightlyRunSensor
from tests.unit.operators.example_operators import DATASET, EXTERNAL_ID, OPERATORS, ROLE, SELECTION, arguments, needed
from tests.unit.operators.rendered import in_a_dag

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightly_provider.operators.base import CheckedArguments

Create, Configure = CreateLightlyDatasetOperator, ConfigureS3DatasourceOperator
Verify, Run = VerifyDatasourcePermissionsOperator, RunLightlyWorkerOperator
CreateRole, CreateUser = CreateLightlyAccessRoleOperator, CreateLightlyAccessUserOperator
DeleteAccess, RotateAccess = DeleteLightlyAccessOperator, RotateLightlyAccessOperator

# What is decided by the DAG's author alone, and what is a secret.
NOT_TEMPLATED = {
    CreateRole: {"external_id", "allow_unmanaged", "propagation_timeout"},
    CreateUser: {"allow_unmanaged", "propagation_timeout"},
    RotateAccess: {"external_id", "grace", "propagation_timeout"},
    DeleteAccess: {"allow_unmanaged"},
    Create: set(),
    ShareLightlyDatasetOperator: {"replace", "share_with_nobody"},
    DeleteLightlyDatasetOperator: set(),
    CreateLightlyTagOperator: set(),
    Configure: {"external_id"},
    Verify: {
        "propagation_timeout",
        "object_level",
        "relevant_filenames",
        "bypass_verify",
        "require_files",
        "deferrable",
    },
    Run: {
        *("wait_for_completion", "deferrable", "timeout", "pickup_timeout"),
        *("cancel_on_kill", "worker_presence", "durable"),
    },
    Cancel: {"if_taken"},
    DrainUploadsOperator: {"max_manifests", "max_messages", "visibility_timeout"},
    ListEndedRunsOperator: {"include_team", "states", "max_runs"},
    LightlyUploadSensor: {"quiet_period", "longest_wait", "deferrable"},
    Download: set(),
    Register: set(),
    DeleteWorker: set(),
    Export: set(),
    LightlyRunSensor: {"deferrable"},
    UploadPredictions: {"missing_score"},
    UploadMetadata: set(),
}


def serialized(build: Callable[[], Any]) -> str:
    try:
        from airflow.serialization.serialized_objects import DagSerialization as Serialization
    except ImportError:  # Airflow 2
        from airflow.serialization.serialized_objects import SerializedDAG as Serialization

    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        build()
    return json.dumps(Serialization.to_dict(dag))


# --- fields -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_argument_that_names_something_is_a_template_field(operator: type[CheckedArguments]) -> None:
    assert set(operator.template_fields) == set(types_of_arguments(operator)) - NOT_TEMPLATED[operator]
    assert len(set(operator.template_fields)) == len(operator.template_fields)


@pytest.mark.parametrize("operator", OPERATORS)
def test_no_template_field_holds_a_secret(operator: type[CheckedArguments]) -> None:
    assert "external_id" not in operator.template_fields


@pytest.mark.parametrize("operator", OPERATORS)
def test_all_own_arguments_are_keywords_kept_under_their_own_names(operator: type[CheckedArguments]) -> None:
    given = arguments(operator)
    assert set(given) - {"task_id"} == set(types_of_arguments(operator)), "an argument has no example"
    made = operator(**given)
    assert {name: getattr(made, name) for name in given} == given
    positional = [p for p in inspect.signature(operator.__init__).parameters.values() if p.kind < p.VAR_POSITIONAL]
    assert [p.name for p in positional] == ["self"]


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_own_argument_is_documented(operator: type[CheckedArguments]) -> None:
    for name in types_of_arguments(operator):
        assert f":param {name}:" in str(operator.__doc__), name


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_renderer_belongs_to_a_template_field(operator: type[CheckedArguments]) -> None:
    assert set(operator.template_fields_renderers) <= set(operator.template_fields)


# --- rendering ----------------------------------------------------------------------------------------------------


def test_templates_are_rendered_deep_inside_configurations() -> None:
    run = Run(
        **needed(
            Run,
            selection_config={"proportion_samples": 0.1, "strategies": [{"input": {"type": "{{ params.type }}"}}]},
            worker_config="{{ params.worker | tojson }}",
            runs_on=["{{ params.label }}"],
        )
    )
    params = {"type": "EMBEDDINGS", "worker": {"use_datapool": True}, "label": "gpu"}
    run.render_template_fields({"params": params})  # type: ignore[arg-type]
    assert run.selection_config["strategies"][0]["input"]["type"] == "EMBEDDINGS"
    assert json.loads(run.worker_config) == {"use_datapool": True}
    assert run.runs_on == ["gpu"]


@pytest.mark.parametrize(
    ("operator", "field", "rendered", "expected"),
    [
        (CreateRole, "role_name", "a/b", "role_name is 'a/b'"),
        (CreateRole, "access_conn_id", "s3://a/b", "'s3://a/b' is not a place where an access is kept"),
        (CreateUser, "resource_path", "my-bucket", "resource_path='my-bucket': the scheme s3:// is missing"),
        (CreateUser, "path", "lightly", "path is 'lightly'"),
        (DeleteAccess, "role_name", "", "Give one of role_name and user_name"),
        (Create, "dataset_name", "a.b", "dataset_name is 'a.b'"),
        (Create, "dataset_type", "images", "dataset_type is 'images'; did you mean 'Images'?"),
        (Configure, "dataset_id", "None", "dataset_id is 'None', which a template renders to if its value is missing"),
        (Configure, "kms_key_arn", "None", "kms_key_arn is 'None', which a template renders to"),
        (Configure, "generate_thumbnails", "true", "generate_thumbnails is 'true'; give True or False."),
        (Configure, "lightly_conn_id", "", "lightly_conn_id is ''; give the id of an Airflow connection."),
        (LightlyRunSensor, "scheduled_run_id", "None", "scheduled_run_id is 'None'"),
        (Configure, "resource_path", "gs://x/", "resource_path='gs://x/'"),
        (Configure, "region", "mars-1", "region='mars-1' is not an AWS region"),
        (Configure, "role_arn", "arn:aws-cn:iam::123456789012:role/x", "role_arn="),
        (Configure, "role_arn", "", "external_id is given without role_arn"),
        (Verify, "require", "read", "require='read' is neither"),
        (Run, "selection_config", '{"n_sample": 1}', "selection_config.n_sample is not a member"),
        (Run, "selection_config", "{'n_samples': 1}", "selection_config.strategies is missing"),
        (Run, "selection_config", "{n_samples: 1}", "selection_config is '{n_samples: 1}', which is not valid JSON"),
        (Run, "runs_on", "gpu", "runs_on is 'gpu'; give a list, e.g. ['gpu']."),
        (Run, "runs_on", "['gpu', 1]", "runs_on is "),
        (Run, "poll_interval", "often", "poll_interval is 'often'"),
        (Run, "priority", "mid", "priority is 'mid'; did you mean 'MID'?"),
        (Register, "worker_name", "manual__2026-01-01T00:00:00+00:00", "worker_name is 'manual__2026"),
        (Register, "labels", "gpu", "labels is 'gpu'; give a list"),
        (DeleteWorker, "worker_id", "None", "worker_id is 'None'"),
        (Export, "tag_name", "None", "tag_name is 'None', which a template renders to"),
        (Export, "format", "manifests", "format is 'manifests'; did you mean 'manifest'?"),
        (Export, "format", "parquet", "format is 'parquet' without a destination;"),
        (Export, "destination", "curated.txt", "destination is 'curated.txt', which is not an absolute path"),
        (Export, "subtract", "labeled", "subtract is 'labeled'; give a list, e.g. ['labeled']."),
        (Export, "read_urls_expire_in", "7 days", "read_urls_expire_in is '7 days'"),
    ],
)
def test_a_rendered_value_is_checked_first_thing_when_the_task_runs(
    operator: type[CheckedArguments], field: str, rendered: str, expected: str, context: dict[str, Any]
) -> None:
    # There is neither a connection nor a platform here, so that a request before the check would be another error.
    changes: dict[str, Any] = {field: "{{ params.x }}"}
    if field == "role_arn":
        changes["external_id"] = EXTERNAL_ID
    made = operator(**needed(operator, **changes))
    made.render_template_fields({"params": {"x": rendered}})  # type: ignore[arg-type]
    assert getattr(made, field) == rendered
    with pytest.raises(ValueError, match="^" + re.escape(expected)) as refused:
        made.execute(context)  # type: ignore[arg-type]
    assert "CANARY" not in str(refused.value)
    assert context["ti"].xcoms == {}


SETTINGS = [(operator, field) for operator in OPERATORS for field in operator.template_fields]
BOOLEANS = [(operator, field) for operator, field in SETTINGS if types_of_arguments(operator)[field] == ("bool",)]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("operator", "field"), BOOLEANS)
def test_a_template_of_a_boolean_renders_to_true_or_false(operator: type[Any], field: str, native: bool) -> None:
    assert BOOLEANS
    for value in (True, False):
        for template in ("{{ params.x }}", "{{ 'True' if params.x else 'False' }}"):
            made = in_a_dag(operator, native=native, params={"x": value}, **{field: template})
            assert getattr(made, field) is value


@pytest.mark.parametrize("native", [False, True])
def test_a_template_of_a_list_renders_to_a_list(native: bool) -> None:
    params = {"labels": ["gpu", "big"], "places": ["s3://a-b-c/", "s3://d-e-f/"]}
    made = in_a_dag(Register, native=native, params=params, labels="{{ params.labels }}")
    assert made.labels == ["gpu", "big"]
    made = in_a_dag(Register, native=native, params=params, labels="{{ params.labels | tojson }}")
    assert made.labels == ["gpu", "big"]
    made = in_a_dag(CreateUser, native=native, params=params, resource_path="{{ params.places }}")
    assert made.resource_path == ["s3://a-b-c/", "s3://d-e-f/"]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("text", ["20260101", "1e5", "1_000", "0x1F", "007", "1.50", "1e400", "True", "5j"])
def test_a_text_is_what_it_was_written_as_in_a_dag_with_native_rendering(text: str, native: bool) -> None:
    params = {"x": text}
    made = in_a_dag(Create, native=native, params=params, dataset_name="{{ params.x }}")
    assert made.dataset_name == text
    digits = "12345678901234567890123e"[: 24 - len(text)]
    made = in_a_dag(Verify, native=native, params={"x": f"{digits}e4"[-24:]}, dataset_id="{{ params.x }}")
    assert made.dataset_id == f"{digits}e4"[-24:]


@pytest.mark.parametrize("text", ["1234567890", "1e1000000000", "1_000_000_000", "0x1234567890", "1234567890.50"])
def test_an_external_id_is_what_it_was_written_as_in_a_dag_with_native_rendering(
    text: str, context: dict[str, Any]
) -> None:
    made = in_a_dag(Configure, native=True, params={}, role_arn=ROLE, external_id="{{ params.x }}")
    assert made.rendered_external_id({"params": {"x": text}, **context}) == text


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("template", ["{{ params.selection }}", "{{ params.selection | tojson }}"])
def test_a_template_of_a_mapping_is_a_configuration(template: str, native: bool) -> None:
    made = in_a_dag(Run, native=native, params={"selection": SELECTION}, selection_config=template)
    assert made._config() == Run(**needed(Run, selection_config=SELECTION))._config()


@pytest.mark.parametrize("native", [False, True])
def test_numbers_of_templates_are_numbers_where_the_contract_has_them(native: bool) -> None:
    entry = {
        "input": {"type": "PREDICTIONS", "task": "cars", "name": "CLASS_DISTRIBUTION"},
        "strategy": {
            "type": "BALANCE",
            "distribution": "TARGET",
            "target": {"car": "{{ params.share }}"},
            "stoppingConditionMinimumTypicality": "{{ params.share }}",
        },
    }
    made = in_a_dag(
        Run,
        native=native,
        params={"n": 5, "share": 0.25, "yes": True, "precision": 16},
        selection_config={
            "n_samples": "{{ params.n }}",
            "strategies": [entry],
            "lightly_path_regex": "{{ params.n }}0",
        },
        worker_config={"use_datapool": "{{ params.yes }}", "datasource": {"processAll": "{{ params.yes | tojson }}"}},
        lightly_config={"trainer": {"precision": "{{ params.precision }}"}},
    )
    if native:
        made.selection_config["lightly_path_regex"] = "50"
    config = made._config().to_wire()
    assert config["selection"]["nSamples"] == 5
    assert config["selection"]["lightlyPathRegex"] == "50"
    strategy = config["selection"]["strategies"][0]["strategy"]
    assert (strategy["target"], strategy["stoppingConditionMinimumTypicality"]) == ({"car": 0.25}, 0.25)
    assert config["docker"] == {"useDatapool": True, "datasource": {"processAll": True}}
    assert config["lightly"] == {"trainer": {"precision": 16}}


@pytest.mark.parametrize("text", ["many", "5.5", "", "None", "yes", "NaN", "1e400", "[5]", "[" * 5000, "0x5"])
def test_a_text_that_is_no_number_is_refused_where_the_contract_has_one(text: str) -> None:
    made = in_a_dag(Run, native=False, params={"x": text}, selection_config=SELECTION | {"n_samples": "{{ params.x }}"})
    with pytest.raises(ValueError, match=r"^selection_config\.n_samples does not fit the platform's contract"):
        made._config()


# --- serialization ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_is_serialized_with_its_template_fields(operator: type[CheckedArguments]) -> None:
    text = serialized(lambda: operator(**arguments(operator)))
    (task,) = json.loads(text)["dag"]["tasks"]
    stored = task["__var"]
    assert stored["_task_module"] == operator.__module__
    for field in operator.template_fields:
        assert field in stored or arguments(operator)[field] is None, field
    assert stored["template_fields"] == list(operator.template_fields)


def test_the_external_id_is_not_in_the_serialized_dag() -> None:
    text = serialized(lambda: Configure(**arguments(Configure)))
    assert ROLE in text
    assert EXTERNAL_ID not in text
    assert "external_id" not in text


def test_a_template_of_the_external_id_is_not_rendered_into_a_field(context: dict[str, Any]) -> None:
    made = Configure(**needed(Configure, role_arn=ROLE, external_id="{{ params.secret }}"))
    values = {"params": {"secret": EXTERNAL_ID}, **context}
    made.render_template_fields(values)  # type: ignore[arg-type]
    assert made.external_id == "{{ params.secret }}"
    assert made.rendered_external_id(values) == EXTERNAL_ID  # type: ignore[arg-type]
    assert EXTERNAL_ID not in repr(vars(made))


@pytest.mark.parametrize(
    ("operator", "links"),
    [
        (Create, [LightlyDatasetLink]),
        (Configure, [LightlyDatasetLink]),
        (Verify, [LightlyDatasetLink]),
        (Run, [LightlyDatasetLink, LightlyRunsLink]),
        (Export, [LightlyDatasetLink]),
        (UploadPredictions, [LightlyDatasetLink]),
        (UploadMetadata, [LightlyDatasetLink]),
    ],
)
def test_an_operator_links_to_the_platforms_pages(operator: type[CheckedArguments], links: list[type]) -> None:
    made = operator(**needed(operator))
    assert [type(link) for link in made.operator_extra_links] == links
    text = serialized(lambda: operator(**needed(operator)))
    for link in made.operator_extra_links:
        assert link.name in text or link.xcom_key in text or type(link).__name__ in text


# --- mapping ------------------------------------------------------------------------------------------------------

MAPPED: dict[type[CheckedArguments], dict[str, list[Any]]] = {
    CreateRole: {"role_name": ["one", "two"], "access_conn_id": ["one", "two"]},
    CreateUser: {"resource_path": ["s3://my-bucket/a/", "s3://my-bucket/b/"]},
    DeleteAccess: {"role_name": ["one", "two"]},
    RotateAccess: {"role_name": ["one", "two"]},
    Create: {"dataset_name": ["abc", "def"]},
    ShareLightlyDatasetOperator: {"dataset_id": [DATASET, "b" * 24]},
    DeleteLightlyDatasetOperator: {"dataset_id": [DATASET, "b" * 24], "confirm_name": ["abc", "def"]},
    CreateLightlyTagOperator: {"dataset_id": [DATASET, "b" * 24]},
    Configure: {"dataset_id": [DATASET, "b" * 24], "resource_path": ["s3://my-bucket/a/", "s3://my-bucket/b/"]},
    Verify: {"dataset_id": [DATASET]},
    Run: {"dataset_id": [DATASET], "selection_config": [SELECTION]},
    Cancel: {"scheduled_run_id": ["b" * 24, "c" * 24]},
    Download: {"run_id": ["b" * 24, "c" * 24]},
    Register: {"worker_name": ["one", "two"]},
    DeleteWorker: {"worker_id": ["1" * 24, "2" * 24]},
    DrainUploadsOperator: {"manifest_prefix": ["s3://one/uploads/", "s3://two/uploads/"]},
    ListEndedRunsOperator: {"dataset_ids": [[DATASET], ["b" * 24]]},
    LightlyUploadSensor: {"aws_conn_id": ["one", "two"]},
    Export: {"dataset_id": [DATASET, "b" * 24], "destination": ["/data/one.jsonl", "/data/two.jsonl"]},
    LightlyRunSensor: {"scheduled_run_id": ["b" * 24, "c" * 24]},
    UploadPredictions: {"dataset_id": ["1" * 24, "2" * 24], "source": ["s3://one/a.xml", "s3://two/a.xml"]},
    UploadMetadata: {"dataset_id": ["1" * 24, "2" * 24]},
}


def partial_arguments(operator: type[CheckedArguments]) -> dict[str, Any]:
    return {k: v for k, v in arguments(operator).items() if k not in MAPPED[operator] and k not in ("external_id",)}


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_can_be_mapped(operator: type[CheckedArguments]) -> None:
    given = partial_arguments(operator)
    given.pop("role_arn", None)
    text = serialized(lambda: operator.partial(**given).expand(**MAPPED[operator]))
    assert '"_is_mapped": true' in text
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1)):
        mapped = operator.partial(**given).expand(**MAPPED[operator])
        one = mapped.unmap({name: values[0] for name, values in MAPPED[operator].items()})
    assert isinstance(one, operator)
    for name, value in given.items():
        assert getattr(one, name) == value
    for name, values in MAPPED[operator].items():
        assert getattr(one, name) == values[0]
    airflows_own = BashOperator.partial(task_id="a_task").expand(bash_command=["true"])
    assert (mapped.inlets, mapped.outlets) == (airflows_own.inlets, airflows_own.outlets)
    assert mapped.executor_config == airflows_own.executor_config


def test_an_operator_can_be_mapped_over_another_tasks_output() -> None:
    def build() -> None:
        first = Create(task_id="first", dataset_name="abc")
        Verify.partial(task_id="then").expand(dataset_id=first.output)

    assert '"_is_mapped": true' in serialized(build)


def test_a_mapped_value_is_checked_when_its_task_is_made() -> None:
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1)):
        mapped = Verify.partial(task_id="a_task").expand(dataset_id=["no id"])
        with pytest.raises(ValueError, match="dataset_id is 'no id'"):
            mapped.unmap({"dataset_id": "no id"})


@pytest.mark.filterwarnings("ignore:Task 'a_task' was never mapped")
def test_a_mapped_task_takes_no_external_id_as_airflow_would_store_it() -> None:
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1)):
        with pytest.raises(
            ValueError, match=r"external_id is given to a mapped task, .* put it into an AWS"
        ) as refused:
            Configure.partial(**needed(Configure, role_arn=ROLE, external_id=EXTERNAL_ID))
        assert EXTERNAL_ID not in str(refused.value)
        with pytest.raises(TypeError, match="external_id"):
            Configure.partial(**needed(Configure, role_arn=ROLE)).expand(external_id=[EXTERNAL_ID])


def test_delegated_access_of_a_mapped_task_comes_from_a_connection() -> None:
    text = serialized(
        lambda: Configure.partial(task_id="a_task", resource_path="s3://my-bucket/").expand_kwargs(
            [{"dataset_id": DATASET, "datasource_aws_conn_id": "my_aws"}]
        )
    )
    assert "my_aws" in text
