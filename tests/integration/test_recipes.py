"""The guide's recipes for mapped tasks, as they are written, run by Airflow on datasets in the sandbox."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.hooks.lightly import LightlyHook
from tests.integration.airflow_run import run_own_dag
from tests.unit.documents import DAG_SNIPPETS, dags_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.airflow_run import DagOutcome
    from tests.integration.sandbox import Sandbox

pytestmark = pytest.mark.exhaustive(sample="tests/unit/test_docs.py::test_a_dag_in_the_documents_parses")
N_SAMPLES = 2


def recipe(dag_id: str, changes: dict[str, str], folder: Path) -> Any:
    """A recipe's DAG, with other names of datasets and locations, and with polls that follow fast."""
    snippets = [block.text for block in DAG_SNIPPETS if block.path.name == "recipes.md"]
    (text,) = [snippet for snippet in snippets if f'"{dag_id}"' in snippet]
    changes = changes | {
        'task_id="run",': 'task_id="run", poll_interval=0.2,',
        'task_id="run_worker",': 'task_id="run_worker", poll_interval=0.2,',
        '"n_samples": 100': f'"n_samples": {N_SAMPLES}',
    }
    for old, new in changes.items():
        text = text.replace(old, new)
    folder.mkdir()
    (folder / f"{dag_id}.py").write_text(text)
    dags, errors = dags_in(folder)
    assert not errors
    return dags[dag_id]


@pytest.fixture(scope="module")
def recipes(sandbox: Sandbox, airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Onboard two cameras by one recipe, and run and export them again by another, after more photos arrived."""
    bucket, folder, unique = sandbox.bucket(), tmp_path_factory.mktemp("recipes"), uuid.uuid4().hex[:12]
    names = [f"front {unique} camera", f"rear {unique} camera"]
    for camera in ("front", "rear"):
        sandbox.seed(f"s3://{bucket}/{camera}/", 6)
    changes = {"my-bucket": bucket, "front camera": names[0], "rear camera": names[1]}
    outcomes: dict[str, DagOutcome] = {}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", sandbox.lightly_connection())
        for name in ("AWS_DEFAULT", "LIGHTLY_BUCKET", "TEAM_BUCKET"):
            environment.setenv(f"AIRFLOW_CONN_{name}", sandbox.aws_connection(sandbox.admin))
        dag = recipe("onboard_cameras", changes, folder / "first")
        outcomes["onboard_cameras"] = run_own_dag(dag, airflow_db)
        ids = [dataset.id for name in names if (dataset := LightlyHook().find_dataset(name))]
        sandbox.seed(f"s3://{bucket}/front/more/", 6)
        given = {"6a9c21d4e8b05f7312c4d9ab": ids[0], "1d687363aa7bbbdce2a08328": ids[1]}
        dag = recipe("run_and_export", changes | given, folder / "second")
        outcomes["run_and_export"] = run_own_dag(dag, airflow_db)
        tags = {dataset_id: [tag.name for tag in LightlyHook().get_tags(dataset_id)] for dataset_id in ids}
    listed = sandbox.aws("s3").list_objects_v2(Bucket=bucket, Prefix="curated/").get("Contents", [])
    return {"outcomes": outcomes, "ids": ids, "tags": tags, "bucket": bucket, "files": [each["Key"] for each in listed]}


def test_a_list_of_datasets_is_onboarded_and_run(recipes: dict[str, Any]) -> None:
    assert recipes["outcomes"]["onboard_cameras"].state == "success"
    assert len(recipes["ids"]) == 2
    assert all("initial-tag" in tags for tags in recipes["tags"].values())


def test_only_a_run_that_selected_something_is_exported(recipes: dict[str, Any], sandbox: Sandbox) -> None:
    (key,) = recipes["files"]
    content = sandbox.aws("s3").get_object(Bucket=recipes["bucket"], Key=key)["Body"].read()
    names = [json.loads(line)["filename"] for line in content.splitlines()]

    assert recipes["outcomes"]["run_and_export"].state == "success"
    assert len(names) == N_SAMPLES
    assert all(name.startswith("more/") for name in names)
