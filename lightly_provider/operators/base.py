"""What all Lightly operators share: the connection, the hook, and when arguments are checked."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from lightly_provider.hooks.lightly import LightlyHook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context


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

    def __init__(self, *, lightly_conn_id: str = LightlyHook.default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lightly_conn_id = lightly_conn_id

    @cached_property
    def hook(self) -> LightlyHook:
        """The hook on this operator's connection."""
        return LightlyHook(self.lightly_conn_id)
