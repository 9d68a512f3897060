"""The environment in which Airflow runs against a sandbox: a home of its own, and the connections set."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]


class DemoError(Exception):
    """What is wrong, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """Where a running sandbox is; the content of its ready file."""

    lightly_url: str
    token: str
    web_url: str
    aws_url: str
    aws_access_key_id: str
    aws_secret_access_key: str
    region: str
    pid: int

    @classmethod
    def read(cls, ready_file: Path) -> Sandbox:
        """Read a ready file."""
        return cls(**json.loads(ready_file.read_text()))

    def aws(self, service: str) -> Any:
        """A boto3 client of the customer's administrator."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.aws_url,
            region_name=self.region,
            aws_access_key_id=self.aws_access_key_id,
            aws_secret_access_key=self.aws_secret_access_key,
        )


def check_disk(folder: Path, needed_mib: int) -> None:
    """Refuse to start with less free disk than a demo needs."""
    free = shutil.disk_usage(folder).free // 2**20
    if free < needed_mib:
        raise DemoError(f"only {free} MiB of disk are free, and it needs {needed_mib}; free some space.")


def shown_path(path: Path) -> str:
    """A path as a demo prints it: from the repository's folder, if it is in there."""
    return str(path.relative_to(REPOSITORY) if path.is_relative_to(REPOSITORY) else path)


def sandbox_executable() -> str:
    """The command ``lightly-sandbox``; the Makefile says where it is."""
    path = Path(os.environ.get("LIGHTLY_SANDBOX", REPOSITORY / ".venv-sandbox" / "bin" / "lightly-sandbox"))
    if not path.exists():
        raise DemoError(f"{path} is missing; start this by make, which installs the sandbox first.")
    return str(path)


def lightly_connection(sandbox: Sandbox) -> str:
    """The Airflow connection of type ``lightly`` to the sandbox, as JSON."""
    return json.dumps(
        {
            "conn_type": "lightly",
            "host": sandbox.lightly_url,
            "password": sandbox.token,
            "extra": {"web_url": sandbox.web_url},
        }
    )


def aws_connection(sandbox: Sandbox, access_key_id: str, secret_access_key: str) -> str:
    """An Airflow connection of type ``aws`` with these keys to the sandbox's AWS, as JSON."""
    return json.dumps(
        {
            "conn_type": "aws",
            "login": access_key_id,
            "password": secret_access_key,
            "extra": {
                "region_name": sandbox.region,
                "endpoint_url": sandbox.aws_url,
                "service_config": {"sts": {"endpoint_url": sandbox.aws_url}},
            },
        }
    )


def connection_variables(sandbox: Sandbox, bucket_connection: str) -> dict[str, str]:
    """
    The variables that hold Airflow's connections.

    :param sandbox: The sandbox that the connections lead to.
    :param bucket_connection: The connection ``lightly_bucket``, as JSON.
    """
    return {
        "AIRFLOW_CONN_LIGHTLY_DEFAULT": lightly_connection(sandbox),
        "AIRFLOW_CONN_LIGHTLY_BUCKET": bucket_connection,
        "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(sandbox, sandbox.aws_access_key_id, sandbox.aws_secret_access_key),
    }


def airflow_environment(home: Path) -> dict[str, str]:
    """
    The variables for Airflow, without its connections.

    :param home: Airflow's folder: database, logs, configuration.
    """
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # As many tasks at the same time as an executor for two cores needs.
        "AIRFLOW__CORE__PARALLELISM": "4",
        # A busy machine's API server takes longer than the five seconds after which a task would fail.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONUNBUFFERED": "1",
    }
