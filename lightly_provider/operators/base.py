"""What all Lightly operators share: the connection, the hook, and when arguments are checked."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from lightly_provider.exceptions import LightlyError, no_retry_can_cure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.hooks.lightly import LightlyHook


class CheckedOperator(BaseOperator):
    """
    Base of all operators here.

    Arguments that are plain values are checked when the DAG is parsed; templates and other tasks' outputs first thing
    in ``execute``, before any request.
    """

    def check_arguments(self) -> None:
        """
        Refuse arguments that cannot be right; those that are not :func:`is_static` yet are passed over.

        :raises ValueError: With one sentence that names the argument, what is wrong with it and what to do.
        """

    def execute(self, context: Context) -> Any:
        """Check the arguments, which are rendered now, and do the work."""
        with failing_for_good():
            self.check_arguments()
            return self.perform(context)

    @abstractmethod
    def perform(self, context: Context) -> Any:
        """The operator's work, on checked arguments."""


class LightlyBaseOperator(CheckedOperator):
    """
    Base of the operators that talk to the platform.

    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``.
    """

    template_fields: Sequence[str] = ("lightly_conn_id",)

    def __init__(self, *, lightly_conn_id: str = "lightly_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lightly_conn_id = lightly_conn_id

    @cached_property
    def hook(self) -> LightlyHook:
        """The hook on this operator's connection."""
        from lightly_provider.hooks.lightly import LightlyHook

        return LightlyHook(self.lightly_conn_id)


@contextmanager
def failing_for_good() -> Iterator[None]:
    """
    Fail the task without a retry where no retry can help: a wrong token, a missing right, a dataset that is gone.

    On Airflow 3.3 and newer this is the choice of a task's ``retry_policy`` (see :mod:`lightly_provider.retry_policy`).
    On older versions such an error becomes the cause of an ``AirflowFailException`` with the same text.
    """
    try:
        yield
    except LightlyError as error:
        if _has_retry_policies() or not no_retry_can_cure(error):
            raise
        from airflow.providers.common.compat.sdk import AirflowFailException

        raise AirflowFailException(f"{type(error).__name__}: {error}") from error


@cache
def _has_retry_policies() -> bool:
    try:
        import airflow.sdk.definitions.retry_policy  # noqa: F401
    except ImportError:
        return False
    return True
