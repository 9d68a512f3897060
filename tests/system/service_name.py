"""What each service calls its host, so that Airflow's answers tell which of two triggerers waits for a task."""

from __future__ import annotations

import os

VARIABLE = "SYSTEM_TEST_SERVICE"


def service_name() -> str:
    """The name under which the tests started this process."""
    return os.environ.get(VARIABLE, "unnamed")
