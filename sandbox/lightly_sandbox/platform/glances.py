"""Look-ups that clients poll for, on the event loop's connection and without the slower ORM."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from lightly_sandbox.platform.tables import Artifact, Run

if TYPE_CHECKING:
    from sqlalchemy import Connection

_run, _artifact = Run.__table__, Artifact.__table__

_RUN_OF_SCHEDULED = select(_run).where(
    _run.c.scheduled_id == bindparam("scheduled_id"), _run.c.user_id == bindparam("user_id")
)
_ARTIFACTS = (
    select(_artifact).where(_artifact.c.run_id == bindparam("run_id")).order_by(_artifact.c.created_at)
)


def run_of_scheduled(glance: Connection, user_id: str, scheduled_id: str) -> Any:
    """Return the run of the user's scheduled run as the members of a ``Run``, with its artifacts, or None."""
    row = glance.execute(_RUN_OF_SCHEDULED, {"scheduled_id": scheduled_id, "user_id": user_id}).first()
    if row is None:
        return None
    artifacts = glance.execute(_ARTIFACTS, {"run_id": row.id}).all()
    return SimpleNamespace(**row._mapping, artifacts=artifacts)
