"""What a DAG file pays for when it imports our operators; each in an interpreter of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import lightly_provider

HEAVY = ("boto3", "botocore", "requests", "aiohttp", "airflow.providers.amazon", "airflow.providers.openlineage")
BASE = "airflow.sdk" if int(version("apache-airflow").split(".")[0]) >= 3 else "airflow.models.baseoperator"
OPERATORS = sorted(
    f"lightly_provider.{kind}.{file.stem}"
    for kind in ("operators", "sensors")
    for file in (Path(lightly_provider.__path__[0]) / kind).glob("[!_]*.py")
)
OPERATORS.append("lightly_provider.task_groups")
TRIGGERS = ["lightly_provider.triggers.worker", "lightly_provider.runs.poller"]


def added_by_each(*imports: list[str]) -> list[set[str]]:
    """The modules that each of these groups of imports adds to those before, in one interpreter."""
    script = (
        "import importlib, json, sys\n"
        "added, before = [], set(sys.modules)\n"
        f"for group in {imports!r}:\n"
        "  for name in group: importlib.import_module(name)\n"
        "  added.append(sorted(set(sys.modules) - before))\n"
        "  before = set(sys.modules)\n"
        "print('\\n' + json.dumps(added))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [set(group) for group in json.loads(done.stdout.splitlines()[-1])]


def added(imports: list[str]) -> set[str]:
    """The modules that these imports need."""
    return added_by_each(imports)[0]


@pytest.fixture(scope="module")
def of_a_dag_file_and_a_triggerer() -> tuple[set[str], set[str]]:
    """What our operators add to Airflow itself, and what our triggers add to both."""
    _, operators, triggers = added_by_each([BASE], OPERATORS, TRIGGERS)
    return operators, triggers


@pytest.fixture
def ours(of_a_dag_file_and_a_triggerer: tuple[set[str], set[str]]) -> set[str]:
    """What our operators add to Airflow itself."""
    return of_a_dag_file_and_a_triggerer[0]


def test_the_operators_import_nothing_heavy_beyond_airflow(ours: set[str]) -> None:
    assert set(OPERATORS) <= ours, "nothing was imported, so this proves nothing"
    assert [m for m in ours if any(m == heavy or m.startswith(f"{heavy}.") for heavy in HEAVY)] == []


def test_the_models_and_the_client_wait_until_a_task_runs(ours: set[str]) -> None:
    assert [m for m in ours if m.startswith("lightly_provider.api.")] == [], "pydantic's models cost the parsing"


@pytest.mark.parametrize("room", ["hooks.lightly", "hooks.verbs", "verification.judging", "verification.verdict"])
def test_the_hook_and_the_verdict_wait_until_a_task_runs(ours: set[str], room: str) -> None:
    assert [m for m in ours if m.startswith(f"lightly_provider.{room}")] == []


def test_a_dag_file_imports_no_trigger(ours: set[str]) -> None:
    assert [m for m in ours if m.startswith(("lightly_provider.triggers", "airflow.triggers"))] == []


def test_the_triggers_import_no_http_before_they_wait(of_a_dag_file_and_a_triggerer: tuple[set[str], set[str]]) -> None:
    operators, triggers = of_a_dag_file_and_a_triggerer
    assert set(TRIGGERS) <= triggers, "nothing was imported, so this proves nothing"
    assert not [m for m in operators | triggers if m.split(".")[0] in {"aiohttp", "requests", "boto3"}]


def test_the_pure_parts_import_neither_airflow_nor_http() -> None:
    ours = added(["lightly_provider.runs.state", "lightly_provider.runs.once", "lightly_provider.exceptions"])
    assert not [m for m in ours if m.split(".")[0] in {"airflow", "pydantic", "requests", "urllib3"}]


def test_the_api_imports_no_airflow_and_requests_only_to_send() -> None:
    ours = added(["lightly_provider.api.client", "lightly_provider.api.calls"])
    assert not [m for m in ours if m.split(".")[0] in {"airflow", "boto3", "botocore", "requests", "tenacity"}]


def test_the_assets_import_the_standard_library_only() -> None:
    ours = added(["lightly_provider.assets"])
    roots = {module.split(".")[0] for module in ours}
    assert "lightly_provider" in roots
    assert roots - sys.stdlib_module_names == {"lightly_provider"}
