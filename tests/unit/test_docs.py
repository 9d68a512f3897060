"""The documents are true: their snippets parse, their tables are the operators' own, their links lead somewhere."""

from __future__ import annotations

import ast
import inspect
import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.credentials import DelegatedAccess, UserAccess, access_from_aws_connection
from lightly_provider.aws.grants import Grant, access_policy
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import key_policy_statement, policy_document, statements_for, trust_policy
from lightly_provider.contract import Permission, Purpose
from lightly_provider.get_provider_info import CONNECTION_FORM
from lightly_provider.hooks.connection import parse_connection
from lightly_provider.operators.access import (
    CreateLightlyAccessRoleOperator,
    CreateLightlyAccessUserOperator,
    DeleteLightlyAccessOperator,
    RotateLightlyAccessOperator,
)
from lightly_provider.operators.base import CheckedOperator
from lightly_provider.operators.cancellation import CancelLightlyRunOperator
from lightly_provider.operators.dataset import (
    CreateLightlyDatasetOperator,
    DeleteLightlyDatasetOperator,
    ShareLightlyDatasetOperator,
)
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.events import DrainUploadsOperator, ListEndedRunsOperator
from lightly_provider.operators.results import (
    DownloadLightlyArtifactsOperator,
    ExportLightlyTagOperator,
    UploadLightlyMetadataOperator,
    UploadLightlyPredictionsOperator,
)
from lightly_provider.operators.tag import CreateLightlyTagOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from lightly_provider.operators.worker_registration import DeleteLightlyWorkerOperator, RegisterLightlyWorkerOperator
from lightly_provider.sensors.events import LightlyUploadSensor
from lightly_provider.sensors.worker import LightlyRunSensor
from tests.unit.documents import (
    DAG_SNIPPETS,
    DOCUMENTS,
    OTHER_SNIPPETS,
    REPOSITORY,
    Block,
    all_rows,
    blocks,
    code,
    dags_in,
    prose,
    read,
    rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


OPERATORS: dict[str, type[Any]] = {
    "create_access_role": CreateLightlyAccessRoleOperator,
    "create_access_user": CreateLightlyAccessUserOperator,
    "rotate_access": RotateLightlyAccessOperator,
    "delete_access": DeleteLightlyAccessOperator,
    "create_dataset": CreateLightlyDatasetOperator,
    "share_dataset": ShareLightlyDatasetOperator,
    "delete_dataset": DeleteLightlyDatasetOperator,
    "create_tag": CreateLightlyTagOperator,
    "download_artifacts": DownloadLightlyArtifactsOperator,
    "drain_uploads": DrainUploadsOperator,
    "list_ended_runs": ListEndedRunsOperator,
    "upload_sensor": LightlyUploadSensor,
    "configure_s3_datasource": ConfigureS3DatasourceOperator,
    "verify_permissions": VerifyDatasourcePermissionsOperator,
    "run_worker": RunLightlyWorkerOperator,
    "export_tag": ExportLightlyTagOperator,
    "upload_predictions": UploadLightlyPredictionsOperator,
    "upload_metadata": UploadLightlyMetadataOperator,
    "run_sensor": LightlyRunSensor,
    "cancel_run": CancelLightlyRunOperator,
    "register_worker": RegisterLightlyWorkerOperator,
    "delete_worker": DeleteLightlyWorkerOperator,
}
REQUIRED = {
    "dataset_name": "my-photos",
    "confirm_name": "my-photos",
    "dataset_id": "6a9c21d4e8b05f7312c4d9ab",
    "resource_path": "s3://my-bucket/a/",
    "worker_id": "1d687363aa7bbbdce2a08328",
    "scheduled_run_id": "5f46a45671d7834240652276",
    "access_conn_id": "lightly_photos",
    "datasource_aws_conn_id": "lightly_bucket",
    "role_name": "lightly",
    "user_name": "lightly",
    "tag_name": "initial-tag",
    "task_name": "boxes",
    "source": "s3://my-bucket/predictions/coco.json",
    "format": "coco",
    "run_id": "9034e0183c4ed9f8a130b0bd",
    "destination": "s3://my-bucket/a/",
    "queue_url": "https://sqs.eu-central-1.amazonaws.com/123456789012/uploads",
    "datasets": {"street": "s3://my-bucket/street/"},
    "manifest_prefix": "s3://my-bucket/lightly-uploads/",
}
KMS_KEY = "arn:aws:kms:eu-central-1:123456789012:key/0f3c9a6e-1111-4000-8000-1234567890ab"


@pytest.mark.parametrize("snippet", DAG_SNIPPETS, ids=[block.place for block in DAG_SNIPPETS])
@pytest.mark.usefixtures("airflow_db")  # Airflow 2.11 looks there for the assets of an alias
def test_a_dag_in_the_documents_parses(snippet: Block, tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(snippet.text)

    dags, errors = dags_in(tmp_path)

    assert not errors
    assert len(dags) == len(re.findall(r"\bDAG\(", snippet.text))
    assert all(dag.tasks for dag in dags.values())


# On Airflow 3, the context of a run without a logical date lacks these, and a template with one of them fails.
OF_A_DATE = r"(?<![\w.])(?<!\| )(ds|ts|(ds|ts)_nodash\w*|(logical|execution)_date|(prev_)?data_interval_\w+)\b"
EXAMPLES = sorted((REPOSITORY / "dags").glob("*.py"))


@pytest.mark.parametrize("path", [*DOCUMENTS, *EXAMPLES], ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_template_needs_a_run_with_a_logical_date(path: Path) -> None:
    text = read(path) if path in EXAMPLES else "\n".join(block.text for block in blocks(path, "python"))
    assert [each for each in re.findall(r"\{\{.*?\}\}", text) if re.search(OF_A_DATE, each)] == []


# On Airflow 2, each run has these dates, and none has run_after.
@pytest.mark.parametrize("dates", [("run_after",), ("logical_date", "data_interval_start", "data_interval_end")])
def test_the_date_of_a_run_is_rendered_whatever_dates_it_has(dates: tuple[str, ...]) -> None:
    from airflow.providers.common.compat.sdk import DAG

    texts = [read(path).replace("\\|", "|") for path in [*DOCUMENTS, *EXAMPLES]]
    templates = {each for text in texts for each in re.findall(r"\{\{ \(dag_run\.\w+ or .*?\}\}", text)}
    none = dict.fromkeys(("logical_date", "data_interval_start", "data_interval_end"))
    run = SimpleNamespace(**none | dict.fromkeys(dates, datetime(2026, 11, 28, tzinfo=UTC)))
    environment = DAG("a_dag", schedule=None).get_template_env()
    rendered = [
        environment.from_string(each).render(dag_run=run, macros=SimpleNamespace(timedelta=timedelta))
        for each in templates
    ]

    assert len(rendered) >= 3
    assert [each for each in rendered if not each.startswith(("2026-11-27", "2026-11-28"))] == []


@pytest.mark.parametrize("snippet", OTHER_SNIPPETS, ids=[block.place for block in OTHER_SNIPPETS])
def test_other_python_in_the_documents_runs(snippet: Block) -> None:
    if "from airflow.sdk import" in snippet.text:
        pytest.importorskip("airflow.sdk", reason="what only Airflow 3 has")
    exec(compile(snippet.text, snippet.place, "exec"), {"__name__": "snippet"})


def test_every_operator_is_shown_in_a_dag() -> None:
    shown = "\n".join(block.text for block in DAG_SNIPPETS)

    assert {operator for operator in OPERATORS.values() if f"{operator.__name__}(" not in shown} == set()


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> Iterator[str]:
    """Where a document's links lead, except to other sites."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if not re.match(r"[a-z]+:", target):
            yield target


@pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(REPOSITORY)) for path in DOCUMENTS])
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(path: Path) -> None:
    broken = []
    for link in links(path):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def test_every_page_of_the_guide_is_in_its_index() -> None:
    indexes = [REPOSITORY / "docs" / "index.md", REPOSITORY / "docs" / "operators" / "index.md"]
    listed = {(index.parent / link.partition("#")[0]).resolve() for index in indexes for link in links(index)}

    assert {path for path in DOCUMENTS if path.is_relative_to(indexes[0].parent)} - {*listed, *indexes} == set()


def test_every_page_of_the_guide_is_in_the_navigation_of_its_site() -> None:
    folder = REPOSITORY / "docs"
    navigation = read(REPOSITORY / "mkdocs.yml").partition("\nnav:\n")[2]
    named = re.findall(r"([\w/-]+\.md)$", navigation, flags=re.MULTILINE)

    assert {str(path.relative_to(folder)) for path in DOCUMENTS if path.is_relative_to(folder)} <= set(named)
    assert len(named) == len(set(named))


@pytest.mark.parametrize("path", DOCUMENTS, ids=[str(path.relative_to(REPOSITORY)) for path in DOCUMENTS])
def test_every_make_target_in_the_documents_is_one(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(REPOSITORY / "Makefile"), flags=re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z][a-z-]*)", read(path), flags=re.MULTILINE))

    assert named <= targets


def signature(operator: type[Any]) -> dict[str, inspect.Parameter]:
    """The operator's own arguments, and those of its bases in this provider."""
    bases = [cls for cls in operator.__mro__ if issubclass(cls, CheckedOperator) and cls is not CheckedOperator]
    # Airflow gives each class an __init__, which for one without its own is that of its base.
    own = [cls for cls in bases if inspect.signature(cls) != inspect.signature(CheckedOperator)]
    parameters = {n: p for cls in own or [operator] for n, p in inspect.signature(cls).parameters.items()}
    return {n: parameter for n, parameter in parameters.items() if parameter.kind is inspect.Parameter.KEYWORD_ONLY}


def make(operator: type[Any], **arguments: Any) -> Any:
    """The operator with the arguments, and with those that it cannot do without."""
    wanted = [name for name, parameter in signature(operator).items() if parameter.default is parameter.empty]
    return operator(task_id="task", **({k: REQUIRED[k] for k in wanted if k in REQUIRED} | arguments))


@pytest.mark.parametrize("page", OPERATORS)
def test_the_page_has_the_arguments_from_the_docstring_which_describes_each(page: str) -> None:
    operator = OPERATORS[page]
    (shown,) = re.findall(r"^::: (\S+)$", read(REPOSITORY / "docs" / "operators" / f"{page}.md"), flags=re.MULTILINE)
    module, _, name = shown.rpartition(".")

    described = descriptions(operator)

    assert getattr(import_module(module), name) is operator
    assert set(signature(operator)) - described.keys() == set()
    assert described.keys() - signature(operator).keys() <= {"kwargs"}
    assert {argument for argument, text in described.items() if text.endswith("Templated.")} == {
        argument for argument in signature(operator) if argument in operator.template_fields
    }


def descriptions(documented: Any) -> dict[str, str]:
    """What a docstring says about each argument."""
    found = re.findall(
        r"^:param (\w+):(.*?)(?=^:|\Z)", inspect.getdoc(documented) or "", flags=re.DOTALL | re.MULTILINE
    )
    return {name: " ".join(text.split()) for name, text in found if text.strip()}


REFUSALS = [
    pytest.param(page, code(written), code(answer), id=f"{page}: {written.strip('`')[:60]}")
    for page in OPERATORS
    for written, answer in rows(REPOSITORY / "docs" / "operators" / f"{page}.md", "written")
]


@pytest.mark.parametrize(("page", "written", "answer"), REFUSALS)
def test_a_refused_argument_is_answered_as_the_documents_say(page: str, written: str, answer: str) -> None:
    call = ast.parse(f"call({written})", mode="eval").body
    assert isinstance(call, ast.Call)
    arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}

    with pytest.raises(ValueError, match=f"^{re.escape(answer)}$"):
        make(OPERATORS[page], **arguments)


@cache
def all_tests() -> set[str]:
    """The names of all tests."""
    files = (REPOSITORY / "tests").rglob("test_*.py")
    return {
        name for path in files for name in re.findall(r"^(?:async )?def (test_\w+)", read(path), flags=re.MULTILINE)
    }


def named_tests(text: str) -> list[str]:
    """The names of tests in a text, and an error for those that are no test."""
    names = re.findall(r"`(test_\w+)`", text)
    assert set(names) - all_tests() == set()
    return names


PROOFS = REPOSITORY / "docs" / "development" / "proofs.md"


def test_what_happens_when_things_fail_is_what_the_named_tests_prove() -> None:
    promised = [what for what, *_ in all_rows(REPOSITORY / "docs" / "failures.md", "what happens")]
    proofs = dict(rows(PROOFS, "what happens"))

    assert len(promised) > 25
    assert sorted(promised) == sorted(proofs)
    assert [what for what, proof in proofs.items() if not named_tests(proof)] == []


def test_what_the_security_page_says_is_what_the_named_tests_prove() -> None:
    proofs = rows(PROOFS, "what")

    assert len([name for _, proof in proofs for name in named_tests(proof)]) == 6
    files = re.findall(r"`(tests/\S+)`", "\n".join(proof for _, proof in proofs))
    assert len(files) == 4
    assert [name for name in files if not (REPOSITORY / name).exists()] == []


def test_the_policies_in_the_documents_are_those_of_the_code() -> None:
    photos, lightly = (
        S3Location.parse(f"s3://my-bucket/{prefix}/", argument="uri") for prefix in ("photos", "lightly")
    )
    kms = statements_for(list(Permission), lightly, kms_key_arn=KMS_KEY)[-1]
    expected = [
        policy_document(photos, Purpose.INPUT),
        policy_document(lightly, Purpose.LIGHTLY),
        access_policy(
            [Grant(location=photos, purpose=Purpose.INPUT), Grant(location=lightly, purpose=Purpose.LIGHTLY)]
        ),
        trust_policy("choose-a-long-one"),
        kms,
        key_policy_statement("arn:aws:iam::123456789012:role/Lightly-S3-Integration", list(Permission)),
    ]

    *ours, airflows = [json.loads(block.text) for block in blocks(REPOSITORY / "docs" / "access.md", "json")]
    assert ours == expected
    # tests/integration/test_access_rights.py tries this one.
    assert "iam:CreateRole" in json.dumps(airflows)


def test_the_page_on_a_worker_on_demand_fits_its_dag() -> None:
    page = REPOSITORY / "docs" / "worker_on_demand.md"
    dag = dags_in(REPOSITORY / "dags")[0]["lightly_worker_on_demand"]
    roles = {t.task_id: "setup" if t.is_setup else "teardown" if t.is_teardown else "" for t in dag.tasks}
    definition, execution, airflows = (json.loads(block.text) for block in blocks(page, "json"))
    (container,) = definition["containerDefinitions"]
    (secret,) = container["secrets"]
    (reading,) = execution["Statement"]
    passed = next(statement for statement in airflows["Statement"] if statement["Action"] == "iam:PassRole")

    assert {code(task): role for task, _, role in rows(page, "task")} == roles
    assert (definition["family"], container["name"]) == (dag.params["task_definition"], dag.params["container"])
    assert secret == {"name": "LIGHTLY_TOKEN", "valueFrom": reading["Resource"]}
    assert passed["Resource"] == definition["executionRoleArn"]
    # Airflow's environment here has no Kubernetes, so it is only read.
    (on_kubernetes,) = blocks(page, "py")
    ast.parse(on_kubernetes.text)


def test_what_auto_requires_is_what_the_table_says() -> None:
    from lightly_provider.verification.requirements import required_permissions

    uses = [("Images", False), ("Images", True), ("Videos", False)]
    required = {purpose: [required_permissions(kind, purpose, thumbs) for kind, thumbs in uses] for purpose in Purpose}
    expected = [
        [purpose, *(", ".join(p for p in Permission if p in permissions) for permissions in required[purpose])]
        for purpose in Purpose
    ]

    assert rows(REPOSITORY / "docs" / "operators" / "verify_permissions.md", "purpose") == expected


CONNECTIONS = [
    pytest.param(json.loads(value), id=f"{path.relative_to(REPOSITORY)}: {name}")
    for path in DOCUMENTS
    for name, value in re.findall(r"^export AIRFLOW_CONN_(\w+)='(.*?)'$", read(path), flags=re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_a_connection_in_the_documents_is_one_that_the_provider_takes(connection: dict[str, Any]) -> None:
    extra = connection.get("extra", {})
    if connection["conn_type"] == "lightly":
        parsed = parse_connection(
            "documented", host=connection.get("host"), port=None, password=connection["password"], extra=extra
        )
        assert parsed.warnings == ()
        return
    if connection["conn_type"] == "http":  # Airflow's own API
        assert connection["host"].startswith("http")
        assert {"login", "password"} <= set(connection)
        return
    assert connection["conn_type"] == "aws"
    external_id = extra.get("assume_role_kwargs", {}).get("ExternalId")
    access = access_from_aws_connection(
        conn_id="documented",
        # "<access key id>" holds the place of one.
        access_key_id=connection.get("login") and "AKIAIOSFODNN7EXAMPLE",
        secret_access_key=connection.get("password") and "0" * 40,
        session_token=None,
        role_arn=extra.get("role_arn"),
        # "<external ID>" holds the place of one.
        external_id=external_id and re.sub(r"[<> ]", "-", external_id),
    )
    assert isinstance(access, DelegatedAccess if external_id else UserAccess)


def test_the_fields_of_the_connection_are_those_of_its_form() -> None:
    fields = {code(row[0]): row[1] for row in rows(REPOSITORY / "docs" / "connections.md", "extra")}

    assert fields == {name: field["label"] for name, field in CONNECTION_FORM["conn-fields"].items()}


def test_the_registry_names_what_can_be_imported() -> None:
    from importlib import import_module

    named = re.findall(r"- module: (\S+)", read(REPOSITORY / ".airflow-registry.yaml"))

    assert {operator.__name__ for operator in OPERATORS.values()} <= {name.rpartition(".")[2] for name in named}
    for name in named:
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute)
