"""The former module of the verification's pause trigger, which Airflow's own trigger has replaced."""

from __future__ import annotations

from datetime import datetime

try:
    from airflow.providers.standard.triggers.temporal import DateTimeTrigger
except ModuleNotFoundError:  # Airflow 2.11 includes it in core
    from airflow.triggers.temporal import DateTimeTrigger  # type: ignore[no-redef,import-not-found]

__all__ = ["DateTimeTrigger", "PropagationPauseTrigger"]


# For tasks that an earlier version deferred, which stored this class path. Remove after version 0.2.0.
class PropagationPauseTrigger(DateTimeTrigger):
    """
    Airflow's DateTimeTrigger, with the class path and the argument that earlier versions stored for deferred tasks.

    :param until: Time to resume, as ISO 8601 with a time zone.
    """

    def __init__(self, until: str) -> None:
        super().__init__(datetime.fromisoformat(until))
