"""Where the pause of a verification was, before Airflow's own trigger took over."""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger
except ModuleNotFoundError:  # Airflow 2.11 has it in itself
    from airflow.triggers.temporal import DateTimeTrigger  # type: ignore[no-redef,import-not-found]

__all__ = ["DateTimeTrigger", "PropagationPauseTrigger"]


class PropagationPauseTrigger(DateTimeTrigger):
    """
    Airflow's trigger of a moment, under the name and the argument that tasks deferred by an earlier version stored.

    :param until: When to go on, as ISO 8601 with a time zone.
    """

    def __init__(self, until: str) -> None:
        super().__init__(datetime.fromisoformat(until))
