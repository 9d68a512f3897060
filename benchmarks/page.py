"""What the page "Lightly" takes with 100 and with 1,000 datasets, in Airflow's own API server on SQLite.

    make benchmarks

Ten DAG runs of each dataset are stored, with four tasks each, as the tests of the page store them. Each page has 50
datasets. The median of several requests in this process, without a browser and without a network.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RUNS_PER_DATASET, TASKS_PER_RUN = 10, 4
USER = "reader"


def settings(home: str) -> dict[str, str]:
    """Airflow's, with a home and a database of its own and a user who may read every DAG."""
    return {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:viewer",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
    }


def measure(server: Any, headers: dict[str, str], address: str, rounds: int) -> tuple[float, int]:
    """The median of the milliseconds that an answer takes, and its bytes."""
    taken = []
    for of_round in range(rounds + 1):
        started = time.perf_counter()
        answer = server.get(address, headers=headers)
        if of_round:  # the first one imports and compiles
            taken.append((time.perf_counter() - started) * 1000)
        if answer.status_code != 200 or "<tr>" not in answer.text:
            sys.exit(f"{address}: {answer.status_code}, without a dataset")
    return statistics.median(taken), len(answer.content)


def main() -> int:
    """Print a line for each number of datasets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="requests per page (default 9)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(settings(home))
        airflow = str(Path(sys.executable).with_name("airflow"))
        subprocess.run([airflow, "db", "migrate"], check=True, capture_output=True)
        from airflow.api_fastapi.app import create_app, get_auth_manager
        from airflow.utils.session import create_session
        from fastapi.testclient import TestClient

        from tests.unit.plugin.stored_tasks import StoredTasks, many

        print(f"{'datasets':>9}{'tasks':>9}{'first page ms':>15}{'last page ms':>14}{'search ms':>11}{'KiB':>6}")
        with TestClient(create_app(apps="core"), base_url="http://airflow.test") as server:
            manager: Any = get_auth_manager()
            user = manager.deserialize_user({"sub": USER, "role": "viewer", "teams": []})
            headers = {"Cookie": f"_token={manager.generate_jwt(user)}"}
            for n_datasets in (100, 1000):
                n_tasks = n_datasets * RUNS_PER_DATASET * TASKS_PER_RUN
                with create_session() as session:
                    stored = StoredTasks(session)
                    many(stored, n_datasets=n_datasets, n_tasks=n_tasks)
                    session.commit()
                    first, size = measure(server, headers, "/lightly/", rounds)
                    last, _ = measure(server, headers, "/lightly/?page=1000", rounds)
                    search, _ = measure(server, headers, "/lightly/?q=fleet+7", rounds)
                    stored.clear()
                print(f"{n_datasets:>9,}{n_tasks:>9,}{first:>15.0f}{last:>14.0f}{search:>11.0f}{size / 1024:>6.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
