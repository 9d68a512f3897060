"""What a task raises for an error that no retry can cure, on each generation of Airflow."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import AirflowFailException


def final(error: type[Exception]) -> tuple[type[Exception], ...]:
    """
    The error itself, or, below Airflow 3.3, the error of Airflow that has its text and is not retried.

    :param error: The provider's own error.
    """
    return (error, AirflowFailException)
