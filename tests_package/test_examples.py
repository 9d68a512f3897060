"""From the wheel alone, without Airflow or a checkout, a user gets the example DAGs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from release.distributions import PROVIDER, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests_package.conftest import Built


def test_the_wheel_writes_an_example(built: Built, tmp_path: Path) -> None:
    if built.distribution != PROVIDER:
        pytest.skip("the sandbox has no example DAGs")
    with zipfile.ZipFile(built.wheel) as archive:
        archive.extractall(tmp_path / "installed")
    folder = tmp_path / "dags"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "lightly_provider", "examples", "lightly_s3_onboarding", "--to", str(folder)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    example = "lightly_s3_onboarding.py"
    assert (folder / example).read_bytes() == (REPOSITORY / "dags" / example).read_bytes()
