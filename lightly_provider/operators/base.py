"""What all Lightly operators share: the connection, the hook, and when arguments are checked."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from lightly_provider.exceptions import LightlyError, no_retry_can_cure
from lightly_provider.operators.arguments import check_types, read_rendered, types_of_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.hooks.lightly import LightlyHook


# No text that is a Python literal begins with this character, which is for private use.
_NO_LITERAL = "\ue000"


# A mixin that is no operator would give Airflow's base class a second constructor, from whose signature Airflow takes
# the defaults of a mapped task: `inlets` would be None, over which it iterates.
class CheckedArguments(BaseOperator):
    """
    What operators and sensors do with their arguments.

    Plain values are checked when the DAG is parsed; templates and other tasks' outputs when the task runs, before any
    request.
    """

    def check_arguments(self) -> None:
        """
        Refuse invalid arguments; template fields that are not :func:`is_static` yet are passed over.

        :raises ValueError: With one sentence that names the argument, what is wrong with it and what to do.
        """
        check_types(self)

    def render_template(
        self, content: Any, context: Context, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """
        Render as Airflow does, and read the text where the argument is no text.

        In a DAG with ``render_template_as_native_obj`` the text ``20260101`` becomes a number, and ``12e4`` another
        text; an argument keeps the text that it was written as.
        """
        rendered = super().render_template(content, context, jinja_env, seen_oids)
        if not isinstance(content, str):
            return rendered
        # Airflow does not pass the name of the field that it renders.
        fields = [field for field in self.template_fields if getattr(self, field, None) is content]
        if fields and isinstance(rendered, (int, float, complex)):
            rendered = self.render_text(content, context)
        types = {name for field in fields for name in types_of_arguments(type(self)).get(field, ("str",))}
        return read_rendered(rendered, types) if isinstance(rendered, str) else rendered

    def render_text(self, template: str, context: Context) -> str:
        """A rendered template as text, also in a DAG with ``render_template_as_native_obj``."""
        return str(super().render_template(f"{_NO_LITERAL}{template}", context)).removeprefix(_NO_LITERAL)


class CheckedOperator(CheckedArguments):
    """Base of all operators here; they do their work in :meth:`perform`."""

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
