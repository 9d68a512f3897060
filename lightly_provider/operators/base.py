"""What all Lightly operators share: the connection, the hook, and when arguments are checked."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from lightly_provider.airflow_internals import has_retry_policies
from lightly_provider.exceptions import LightlyError, break_lines, no_retry_can_cure
from lightly_provider.operators.arguments import check_types, read_rendered, types_of_arguments
from lightly_provider.operators.map_index import look_up_dataset_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context
    from airflow.providers.openlineage.extractors import OperatorLineage

    from lightly_provider.hooks.lightly import LightlyHook
    from lightly_provider.lineage import Moved, Platform


# No Python literal begins with this private-use character.
_NO_LITERAL = "\ue000"


# This must be an operator. A plain mixin would add a second constructor to Airflow's base class, from whose signature
# Airflow takes the defaults of a mapped task: `inlets` would be None, and Airflow iterates over it.
class CheckedArguments(BaseOperator):
    """
    What operators and sensors do with their arguments.

    Plain values are checked when the DAG is parsed; templates and other tasks' outputs when the task runs, before any
    request.
    """

    def check_arguments(self) -> None:
        """
        Reject invalid arguments; template fields that are not :func:`is_static` yet are skipped.

        :raises ValueError: The message names the argument, the problem and what to do in one sentence.
        """
        check_types(self)

    def render_template(
        self, content: Any, context: Context, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """
        Render as Airflow does, and parse the result if the argument is not a text.

        In a DAG with ``render_template_as_native_obj``, Airflow turns the text ``20260101`` into a number, and ``12e4``
        into a different text; here an argument keeps its original text.
        """
        rendered = super().render_template(content, context, jinja_env, seen_oids)
        if not isinstance(content, str):
            return rendered
        # Airflow does not pass the name of the rendered field.
        fields = [field for field in self.template_fields if getattr(self, field, None) is content]
        if fields and isinstance(rendered, (int, float, complex)):
            rendered = self.render_text(content, context)
        types = {name for field in fields for name in types_of_arguments(type(self)).get(field, ("str",))}
        return read_rendered(rendered, types) if isinstance(rendered, str) else rendered

    def render_text(self, template: str, context: Context) -> str:
        """Render a template as text, also in a DAG with ``render_template_as_native_obj``."""
        return str(super().render_template(f"{_NO_LITERAL}{template}", context)).removeprefix(_NO_LITERAL)


class DescribedLineage(BaseOperator):
    """What operators and sensors that talk to the platform report to OpenLineage."""

    lightly_conn_id: str

    @cached_property
    def hook(self) -> LightlyHook:
        """The hook for this operator's connection."""
        from lightly_provider.hooks.lightly import LightlyHook

        hook = LightlyHook(self.lightly_conn_id)
        # The operator describes all of it, and collecting what hooks report takes seconds.
        hook.reports_lineage = False
        return hook

    @property
    def platform(self) -> Platform:
        """The platform of this operator's connection, as lineage and asset events name it."""
        from lightly_provider.lineage import Platform

        return Platform.of(self.hook.connection)

    def moved(self, platform: Platform) -> Moved | None:
        """
        Describe what the task has read and written so far, without any request; None: nothing.

        :param platform: The platform that the task talked to.
        """
        return None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """
        Describe what the task read and wrote. OpenLineage calls this at the end of the task, also of one that failed.

        :param task_instance: The task instance; not used.
        """
        from lightly_provider.lineage import Moved

        hook = self.__dict__.get("hook")
        # A task that failed before it read its connection has moved nothing.
        moved = None if hook is None or "connection" not in hook.__dict__ else self.moved(self.platform)
        return (moved or Moved()).to_openlineage()


class CheckedOperator(CheckedArguments):
    """Base of all operators here; they do their work in :meth:`perform`."""

    def execute(self, context: Context) -> Any:
        """Check the rendered arguments, and do the work."""
        with failing_for_good():
            self.check_arguments()
            return self.perform(context)

    @abstractmethod
    def perform(self, context: Context) -> Any:
        """Do the operator's work with checked arguments."""


class LightlyBaseOperator(CheckedOperator, DescribedLineage):
    """
    Base of the operators that talk to the platform.

    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    """

    template_fields: Sequence[str] = ("lightly_conn_id",)

    def __init__(self, *, lightly_conn_id: str = "lightly_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lightly_conn_id = lightly_conn_id

    def execute(self, context: Context) -> Any:
        """Check the rendered arguments, name a mapped task instance after its dataset, and do the work."""
        with failing_for_good():
            self.check_arguments()
            self.name_map_index(context)
            return self.perform(context)

    def name_map_index(self, context: Context) -> None:
        """
        Show the dataset's name in place of the number of a mapped task instance, unless the user set a template.

        A method that continues after a deferral calls this again: Airflow renders the name only at the end of a try.
        """
        if isinstance(dataset_id := getattr(self, "dataset_id", None), str):
            look_up_dataset_name(context, self.hook, dataset_id)


def push_members(context: Context, result: dict[str, Any]) -> dict[str, Any]:
    """
    Push each member of a result as an XCom of its own, so that another task can take ``this.output["member"]``.

    :return: The result.
    """
    for key, value in result.items():
        context["ti"].xcom_push(key=key, value=value)
    return result


@contextmanager
def failing_for_good() -> Iterator[None]:
    """
    Fail the task with a message in lines, and without a retry if no retry can help: a wrong token, a missing
    permission, a deleted dataset.

    On Airflow 3.3 and newer a task's ``retry_policy`` decides this (see :mod:`lightly_provider.retry_policy`).
    On older versions such an error becomes the cause of an ``AirflowFailException`` with the same text.
    """
    try:
        yield
    except Exception as error:
        break_lines(error)
        if not isinstance(error, LightlyError) or has_retry_policies() or not no_retry_can_cure(error):
            raise
        from airflow.providers.common.compat.sdk import AirflowFailException

        raise AirflowFailException(f"{type(error).__name__}: {error}") from error
