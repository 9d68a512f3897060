"""The Airflow connections to a running sandbox, in Airflow's JSON form. Standard library only.

Airflow docs: Managing Connections, "Storing connections in environment variables".
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LIGHTLY_VARIABLE = "AIRFLOW_CONN_LIGHTLY_DEFAULT"
AWS_VARIABLE = "AIRFLOW_CONN_AWS_DEFAULT"


def airflow_connections(ready: Mapping[str, object]) -> dict[str, str]:
    """Return the variables for the connections ``lightly_default`` and ``aws_default``; they contain secrets.

    ``ready``: the content of the ready file (addresses, token, key pair and region).
    """
    lightly = {
        "conn_type": "lightly",
        "host": ready["lightly_url"],
        "password": ready["token"],
        "extra": {"web_url": ready["web_url"]},
    }
    aws = {
        "conn_type": "aws",
        "login": ready["aws_access_key_id"],
        "password": ready["aws_secret_access_key"],
        "extra": {
            "region_name": ready["region"],
            "endpoint_url": ready["aws_url"],
            # With endpoint_url alone, a role would be assumed at sts.<region>.amazonaws.com
            # (apache-airflow-providers-amazon, utils/connection_wrapper.py: service_config).
            "service_config": {"sts": {"endpoint_url": ready["aws_url"]}},
        },
    }
    return {LIGHTLY_VARIABLE: json.dumps(lightly), AWS_VARIABLE: json.dumps(aws)}


def export_lines(ready: Mapping[str, object]) -> list[str]:
    """Return the variables as ``export`` lines for a shell."""
    return [f"export {name}={shlex.quote(value)}" for name, value in airflow_connections(ready).items()]
