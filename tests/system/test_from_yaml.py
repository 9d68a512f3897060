"""The files of the page "DAGs from YAML", loaded by dag-factory and airflow-blueprint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.documents import REPOSITORY, blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = REPOSITORY / "docs" / "from_yaml.md"
READ = """
import json, sys
from tests.unit.documents import dags_in
from pathlib import Path

dags, errors = dags_in(Path(sys.argv[1]))
tasks = {
    dag_id: {task.task_id: [task.task_type, sorted(task.upstream_task_ids)] for task in dag.tasks}
    for dag_id, dag in dags.items()
}
print("\\n" + json.dumps([tasks, errors]))
"""


def files_of_the_page() -> dict[str, str]:
    """The text of each file by its name, which is in its first line."""
    found = {}
    for block in blocks(PAGE):
        if block.language in ("yaml", "py"):
            found[block.text.splitlines()[0].removeprefix("# dags/")] = block.text
    return found


def loaded(folder: Path, old: str = "", new: str = "") -> tuple[dict[str, Any], str]:
    """The DAGs that Airflow finds in the page's files, with a change of their text; and all errors."""
    texts = files_of_the_page()
    assert any(old in text for text in texts.values())
    for name, text in texts.items():
        (folder / name).write_text(text.replace(old, new) if old else text)
    environment = {**os.environ, "SCARF_ANALYTICS": "false", "AIRFLOW__CORE__DAGS_FOLDER": str(folder)}
    # In a process of its own: both tools keep what they found.
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    tasks, errors = json.loads(done.stdout.splitlines()[-1])
    return tasks, "\n".join(errors.values())


def test_the_files_of_the_page_are_dags(tmp_path: Path) -> None:
    tasks, errors = loaded(tmp_path)

    assert errors == ""
    assert set(tasks) == {"onboard_from_yaml", "onboard_from_blueprint"}
    assert tasks["onboard_from_yaml"]["run_worker"] == ["RunLightlyWorkerOperator", ["verify_permissions"]]
    assert len(tasks["onboard_from_yaml"]) == 4
    assert tasks["onboard_from_blueprint"]["front.configure"][1] == ["front.create_dataset"]
    assert len(tasks["onboard_from_blueprint"]) == 8


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "\"{{ ti.xcom_pull(task_ids='create_dataset') }}\"",
            "+create_dataset",
            "dataset_id is '+create_dataset', and",
        ),
        ("n_samples: 50", "n_samples: 0", "n_samples"),
        ("resource_path: s3://my-bucket/photos/", "resource_path: my-bucket/photos/", "the scheme s3:// is missing"),
    ],
)
def test_a_wrong_argument_is_an_import_error(old: str, new: str, message: str, tmp_path: Path) -> None:
    _, errors = loaded(tmp_path, old, new)
    assert message in errors
