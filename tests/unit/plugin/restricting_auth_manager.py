"""An auth manager that refuses some users some rights to some DAGs; Airflow loads it by its configuration."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class RestrictingAuthManager(SimpleAuthManager):
    """User ``ann`` may read no DAG whose id begins with ``hidden``; user ``bob`` may read no XCom of such a DAG."""

    def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        """Whether the user may do that."""
        is_hidden = bool(details and details.id and details.id.startswith("hidden"))
        if is_hidden and user.username == "ann":
            return False
        if is_hidden and user.username == "bob" and access_entity is DagAccessEntity.XCOM:
            return False
        return super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
