"""Names a mapped task instance after its dataset, in place of its number.

Airflow renders the context's ``map_index_template`` at the end of each try (airflow 3.3.2,
sdk/execution_time/task_runner.py, ``_render_map_index``; airflow 2.11.2, models/taskinstance.py), not when a task
defers. A default argument of an operator does not reach mapped tasks, so the template is set while the task runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.exceptions import LightlyError
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.hooks.lightly import LightlyHook

NAME = "lightly_dataset_name"
# Airflow's database holds 250 characters (models/taskinstance.py, rendered_map_index).
_LONGEST = 200
# A name is not worth a longer wait.
_LONGEST_LOOK_S = 20.0


def is_mapped(context: Context) -> bool:
    """Return whether the task is an instance of a mapped task."""
    values: Any = context
    map_index = getattr(values.get("ti"), "map_index", None)
    return map_index is not None and map_index >= 0


def wants_dataset_name(context: Context) -> bool:
    """Return whether the task is mapped, and has no ``map_index_template`` of its own."""
    values: Any = context
    return is_mapped(context) and not values.get("map_index_template")


def show_dataset_name(context: Context, dataset_name: str) -> None:
    """
    Show a dataset's name in place of the number of a mapped task instance, if :func:`wants_dataset_name`.

    :param context: The task's context.
    :param dataset_name: Name of the dataset.
    """
    if not wants_dataset_name(context):
        return
    values: Any = context
    name = shown(dataset_name, longest=_LONGEST)
    dag = getattr(values.get("task"), "dag", None)
    if getattr(dag, "render_template_as_native_obj", False):
        # Otherwise the name 20260101 would be rendered to a number, which Airflow refuses. Nothing after a blank is a
        # literal (jinja2 3.1, nativetypes.py).
        name = f" {name}"
    # The name is not a template itself.
    values[NAME] = name
    values["map_index_template"] = f"{{{{ {NAME} }}}}"


def look_up_dataset_name(context: Context, hook: LightlyHook, dataset_id: str) -> None:
    """
    Ask the platform for a dataset's name, and show it, if :func:`wants_dataset_name`; otherwise send no request.

    If the name cannot be read, show the dataset's id: the task itself reports the error if it matters.

    :param context: The task's context.
    :param hook: The hook on the platform.
    :param dataset_id: Id of the dataset.
    """
    if not wants_dataset_name(context):
        return
    try:
        name = hook.get_dataset(dataset_id, within=_LONGEST_LOOK_S).name
    except LightlyError as error:
        hook.log.debug("The dataset's name could not be read: %s", error)
        name = dataset_id
    show_dataset_name(context, name)
