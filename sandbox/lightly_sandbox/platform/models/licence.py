"""The worker's licence and usage on the wire (lightly 1.5.26, models/docker_*.py)."""

from __future__ import annotations

from typing import Any

from lightly_sandbox.contract.wire import Count, Wire


class DockerLicenseInformation(Wire):
    license_type: str
    license_expiration_date: Count
    license_is_valid: bool


class DockerUserStats(Wire):
    run_id: str
    action: str
    data: dict[str, Any]
    timestamp: Count
    pip_version: str
    docker_version: str


class DockerWorkerAuthorizationRequest(Wire):
    hashed_task_description: str
