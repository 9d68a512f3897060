"""What OpenLineage and Airflow's assets learn from the operators, in one DAG run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api import calls
from lightly_provider.assets import host_of
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import policy_document
from lightly_provider.contract import Purpose
from lightly_provider.hooks.lightly import LightlyHook
from tests.integration.airflow_run import everything_stored, lines_with
from tests.integration.lineage_run import CURATED, LineageRun, run_with_lineage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.sandbox import Sandbox

pytestmark = pytest.mark.exhaustive(
    sample="tests/unit/test_lineage.py::test_openlineage_gets_inputs_outputs_statistics_and_the_run"
)

EXTERNAL_ID = "canary-external-id-of-the-lineage"
REFUSED = "canary-token-that-is-refused-in-the-lineage"
NAMES = [f"lineage {name}" for name in ("first1", "second", "empty3")]


@pytest.fixture(scope="module")
def statements(photos: str) -> list[dict[str, Any]]:
    """What Lightly needs in the bucket."""
    places = [("raw/", Purpose.INPUT), ("empty/", Purpose.INPUT_OUTPUT)]
    places += [(f"{name[-6:]}/", Purpose.LIGHTLY) for name in NAMES[:2]]
    found = []
    for prefix, purpose in places:
        location = S3Location.parse(f"s3://{photos}/{prefix}", argument="uri")
        found += policy_document(location, purpose)["Statement"]
    return found


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """The secrets of the DAG run, by name; the keys of the bucket are added to them."""
    return {"external ID": EXTERNAL_ID, "refused token": REFUSED}


@pytest.fixture(scope="module")
def ran(
    sandbox: Sandbox,
    photos: str,
    statements: list[dict[str, Any]],
    secrets: dict[str, str],
    airflow_db: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> LineageRun:
    """The DAG run."""
    sandbox.aws("s3").put_object(Bucket=photos, Key="metadata/rows.csv", Body=b"file_name,weather\na.jpg,sunny\n")
    keys = sandbox.user(*statements)
    secrets |= {"secret access key": keys.secret_access_key, "token": sandbox.token}
    plan = {
        "bucket": photos,
        "region": sandbox.region,
        "names": NAMES,
        "role_arn": sandbox.role(EXTERNAL_ID, *statements),
        "external_id": EXTERNAL_ID,
    }
    return run_with_lineage(
        plan,
        tmp_path_factory.mktemp("lineage"),
        airflow_db,
        AIRFLOW_CONN_LIGHTLY_DEFAULT=sandbox.lightly_connection(),
        AIRFLOW_CONN_REFUSED=sandbox.lightly_connection(password=REFUSED),
        AIRFLOW_CONN_AWS_DEFAULT=sandbox.aws_connection(sandbox.admin),
        AIRFLOW_CONN_LIGHTLY_BUCKET=sandbox.aws_connection(keys),
    )


@pytest.fixture(scope="module")
def namespace(sandbox: Sandbox) -> str:
    """The platform's namespace."""
    return f"lightly://{host_of(sandbox.lightly_url)}"


def dataset_of(ran: LineageRun, task_id: str) -> str:
    return str(ran.outcome.xcoms[task_id, "return_value"])


def test_all_tasks_ended_as_they_should(ran: LineageRun) -> None:
    assert {task for task, state in ran.outcome.tasks.items() if state != "success"} == {"run_failing", "run_refused"}


def test_creating_a_dataset_leads_from_the_files_that_it_looked_at_to_the_dataset(
    ran: LineageRun, photos: str, namespace: str
) -> None:
    dataset = (namespace, dataset_of(ran, "create"))

    assert ran.edges("create") == ("COMPLETE", [(f"s3://{photos}", "raw")], [dataset])


def test_configuring_leads_from_the_bucket_to_the_dataset(ran: LineageRun, photos: str, namespace: str) -> None:
    for task_id, creator in (("configure", "create"), ("configure_role", "by_hook")):
        dataset = (namespace, dataset_of(ran, creator))
        assert ran.edges(task_id) == ("COMPLETE", [(f"s3://{photos}", "raw")], [dataset])


@pytest.mark.parametrize(("task_id", "creator"), [("run", "create"), ("run_deferred", "by_hook")])
def test_a_run_leads_from_the_dataset_to_its_tag_in_both_modes(
    ran: LineageRun, sandbox: Sandbox, namespace: str, task_id: str, creator: str
) -> None:
    dataset, result = dataset_of(ran, creator), ran.outcome.xcoms[task_id, "return_value"]
    tag = f"{dataset}/tag/{result['tag_name']}"

    assert ran.edges(task_id) == ("COMPLETE", [(namespace, dataset)], [(namespace, tag)])
    event = ran.last_event(task_id)
    external = event["run"]["facets"]["externalQuery"]
    assert (external["externalQueryId"], external["source"]) == (result["run_id"], namespace)
    (output,) = event["outputs"]
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 4
    assert output["facets"]["dataSource"]["uri"] == f"{sandbox.web_url}/dataset/{dataset}"


def test_an_export_leads_from_the_tag_to_the_file(ran: LineageRun, photos: str, namespace: str) -> None:
    dataset, result = dataset_of(ran, "create"), ran.outcome.xcoms["export", "return_value"]
    tag = f"{dataset}/tag/{ran.outcome.xcoms['run', 'return_value']['tag_name']}"

    assert ran.edges("export") == ("COMPLETE", [(namespace, tag)], [(f"s3://{photos}", "curated/lineage.jsonl")])
    statistics = ran.last_event("export")["outputs"][0]["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"]) == (4, result["bytes"])


def test_a_tag_leads_from_the_tags_that_it_was_made_of(ran: LineageRun, namespace: str) -> None:
    dataset, run = dataset_of(ran, "create"), ran.outcome.xcoms["run", "return_value"]
    tags = [(namespace, f"{dataset}/tag/{name}") for name in (run["tag_name"], "lineage night")]

    assert ran.edges("create_tag") == ("COMPLETE", tags[:1], tags[1:])


def test_a_download_leads_from_the_dataset_to_the_files_of_the_run(
    ran: LineageRun, photos: str, namespace: str
) -> None:
    run_id = ran.outcome.xcoms["run", "return_value"]["run_id"]
    (file,) = ran.outcome.xcoms["download", "return_value"]["files"]
    dataset = (namespace, dataset_of(ran, "create"))

    assert ran.edges("download") == ("COMPLETE", [dataset], [(f"s3://{photos}", file["uri"].split("/", 3)[3])])
    assert ran.last_event("download")["run"]["facets"]["externalQuery"]["externalQueryId"] == run_id


def test_an_upload_leads_from_its_files_to_the_folder_of_lightly_and_to_the_dataset(
    ran: LineageRun, photos: str, namespace: str
) -> None:
    written = ran.outcome.xcoms["metadata", "return_value"]["uri"].split("/", 3)[3].rstrip("/")
    outputs = [(f"s3://{photos}", written), (namespace, dataset_of(ran, "create"))]

    assert ran.edges("metadata") == ("COMPLETE", [(f"s3://{photos}", "metadata")], outputs)


def test_a_run_that_selects_nothing_has_no_output(ran: LineageRun, namespace: str) -> None:
    assert ran.outcome.xcoms["run_again", "return_value"]["tag_name"] is None
    assert ran.edges("run_again") == ("COMPLETE", [(namespace, dataset_of(ran, "create"))], [])


def test_a_failed_run_names_the_dataset_and_the_run_on_the_platform(
    ran: LineageRun, lightly: Sandbox, namespace: str
) -> None:
    assert ran.edges("run_failing") == ("FAIL", [(namespace, dataset_of(ran, "create_empty"))], [])
    external = ran.last_event("run_failing")["run"]["facets"]["externalQuery"]
    scheduled_run_id = ran.outcome.xcoms["run_failing", "scheduled_run_id"]
    assert external["externalQueryId"] == LightlyHook().client.send(calls.get_run_of_scheduled_run(scheduled_run_id)).id


def test_a_task_that_was_refused_has_moved_nothing(ran: LineageRun) -> None:
    assert ran.edges("run_refused") == ("FAIL", [], [])


def test_what_a_task_does_through_the_hook_is_lineage_and_what_it_only_reads_is_none(
    ran: LineageRun, namespace: str
) -> None:
    assert ran.edges("by_hook") == ("COMPLETE", [], [(namespace, dataset_of(ran, "by_hook"))])
    assert ran.edges("only_reads") == ("COMPLETE", [], [])


def test_aliases_get_an_event_of_what_was_made_and_assets_get_the_extra(
    ran: LineageRun, sandbox: Sandbox, photos: str, namespace: str
) -> None:
    first, second = dataset_of(ran, "create"), dataset_of(ran, "by_hook")
    expected = [
        ("create", f"{namespace}/{first}", {"dataset_id": first, "report_url": f"{sandbox.web_url}/dataset/{first}"})
    ]
    for task_id, dataset in (("run", first), ("run_deferred", second)):
        result = ran.outcome.xcoms[task_id, "return_value"]
        extra = {
            "dataset_id": dataset,
            "run_id": result["run_id"],
            "tag": result["tag_name"],
            "n_selected": 4,
            "report_url": f"{sandbox.web_url}/compute/runs",
        }
        expected.append((task_id, f"{namespace}/{dataset}/tag/{result['tag_name']}", extra))
        if task_id == "run":
            expected.append((task_id, CURATED, extra))
            of_dataset = extra | {"report_url": f"{sandbox.web_url}/dataset/{dataset}"}
            expected.append(("export", ran.outcome.xcoms["export", "return_value"]["uri"], of_dataset))
            uploaded = {"dataset_id": dataset, "report_url": of_dataset["report_url"]}
            expected.append(("metadata", f"{namespace}/{dataset}", uploaded))
            saved = {name: extra[name] for name in ("dataset_id", "run_id", "report_url")}
            expected.append(("download", f"s3://{photos}/runs/{result['run_id']}", saved))
            of_tag = of_dataset | {"tag": "lineage night", "run_id": None}
            expected.append(("create_tag", f"{namespace}/{dataset}/tag/lineage%20night", of_tag))

    assert sorted(ran.asset_events, key=str) == sorted(expected, key=str)


def test_no_secret_is_in_any_event_of_openlineage_or_of_an_asset(
    ran: LineageRun, secrets: dict[str, str], airflow_db: Path
) -> None:
    stored = everything_stored(airflow_db)

    assert len(secrets) == 4
    # What is searched does hold what stands beside the secrets.
    assert all(part in ran.everything for part in ("lightly_bucket", "role_arn", "LightlyAuthenticationError"))
    found = {name: lines_with(secret, ran.everything, stored) for name, secret in secrets.items()}
    assert found == {name: [] for name in secrets}
