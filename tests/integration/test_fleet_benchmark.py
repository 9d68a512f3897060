"""The small form of the fleet's benchmark: faulty answers, two broken buckets, and few requests on a second pass."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.integration.sandbox import REPOSITORY, executable

pytest.importorskip("airflow.sdk", reason="the benchmark runs Airflow 3")


@pytest.fixture(autouse=True)
def traffic() -> None:
    """No requests of this process, and so no sandbox beside the one that is started."""


@pytest.mark.exhaustive(
    sample="tests/unit/fleet/test_report.py::test_each_dataset_has_its_ending_and_the_failed_one_its_reason"
)
def test_all_but_two_are_onboarded_and_a_second_pass_asks_little() -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "benchmarks" / "fleet.py"), "--small"],
        env={**os.environ, "LIGHTLY_SANDBOX": executable()},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    assert done.stdout.rstrip().endswith("All targets are kept.")
    assert "does not exist" in done.stdout
