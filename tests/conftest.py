"""Airflow in a folder of its own, set up before anything imports Airflow."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.shared_botocore import share

if TYPE_CHECKING:
    from collections.abc import Iterator

IS_AIRFLOW_2 = version("apache-airflow").startswith("2.")
REPOSITORY = Path(__file__).resolve().parents[1]
_HOME = tempfile.TemporaryDirectory(prefix="airflow-provider-lightly-")

# Airflow reads its configuration once, at import.
os.environ.update(
    AIRFLOW_HOME=_HOME.name,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(REPOSITORY / "dags"),
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__CORE__TEST_CONNECTION="Enabled",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME.name}/airflow.db",
    AIRFLOW__LOGGING__LOGGING_LEVEL="INFO",
    # A test must not reach the machine's own AWS identity, nor look for one on the network.
    AWS_EC2_METADATA_DISABLED="true",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
)
for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
    os.environ.pop(name, None)

share()

# Airflow 2 has the first, Airflow 3.3 the others.
_MASKERS = (
    "airflow.utils.log.secrets_masker",
    "airflow._shared.secrets_masker.secrets_masker",
    "airflow.sdk._shared.secrets_masker.secrets_masker",
)
COLLECTED = pytest.StashKey[list[pytest.Item]]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember all tests, before ``-m`` leaves some out."""
    config.stash[COLLECTED] = list(items)


@pytest.fixture
def collected(pytestconfig: pytest.Config) -> list[pytest.Item]:
    """All tests of this session, also those that ``-m`` leaves out."""
    return pytestconfig.stash[COLLECTED]


@pytest.fixture(autouse=True)
def masks_of_this_test_alone() -> None:
    """Airflow masks everywhere what an earlier test of the process gave as a secret, in Airflow 2 even one letter."""
    for name in _MASKERS:
        if (module := sys.modules.get(name)) is not None:
            masker = module._secrets_masker()
            masker.patterns, masker.replacer = set(), None


@pytest.fixture(autouse=True)
def pauses_of_this_test_alone() -> None:
    """A pause that a platform asked for holds for its address, and another test's platform may get the same port."""
    pacing = sys.modules.get("lightly_provider.api.pacing")
    if pacing is not None:
        pacing.pacing_of.cache_clear()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT is an exception, also in a process that a shell started in the background, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    """The folder of Airflow's database and logs."""
    return Path(_HOME.name)


@pytest.fixture(scope="session")
def airflow_db(airflow_home: Path, worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Airflow's metadata database, migrated: by the first of pytest-xdist's workers, and copied by the others."""
    database = airflow_home / "airflow.db"
    of_all_workers = tmp_path_factory.getbasetemp().parent if worker_id != "master" else airflow_home
    template = of_all_workers / "migrated.db"
    with (of_all_workers / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            airflow = Path(sys.executable).with_name("airflow")
            subprocess.run([str(airflow), "db", "migrate"], check=True, capture_output=True, text=True)
            shutil.copy(database, template)
        else:
            shutil.copy(template, database)
    return database
