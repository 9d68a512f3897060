"""
What this provider uses of Airflow beyond its public interface; each function says why, and what happens without it.

The public interface is ``airflow.sdk`` (reached by ``airflow.providers.common.compat.sdk``, which also serves Airflow
2.11), ``airflow.triggers.base``, ``airflow.cli.cli_config`` for the commands of providers, and what other providers
export. The page in Airflow's navigation is part of the API server and has its own imports: ``lightly_provider.plugin``.

Nothing of Airflow is imported when this module is. So a later Airflow that moves one of these parts breaks no import of
an operator: either the function has a substitute, or it raises :class:`MissingInternalError` in the task that needs it.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


# The state of a task that Airflow does not have any more, with its DAG run or its DAG. None of Airflow's own.
DELETED = "deleted"


class MissingInternalError(RuntimeError):
    """This Airflow has not the part that a function here needs."""

    def __init__(self, part: str, consequence: str) -> None:
        from airflow import __version__

        super().__init__(
            f"Airflow {__version__} has no {part}, so {consequence}; look for a newer airflow-provider-lightly, or "
            "for a tested version of Airflow under Compatibility in its guide."
        )


def has_task_state_store() -> bool:
    """
    Whether this Airflow keeps values of a task beyond its try (3.3 and newer), as ``context["task_state_store"]``.

    Decided by the version, because a DAG is parsed without a context. Without a version that can be read: False, so
    that a sensor does not rely on it.
    """
    from airflow import __version__

    try:
        return tuple(int(part) for part in __version__.split(".")[:2]) >= (3, 3)
    except ValueError:
        return False


@cache
def has_retry_policies() -> bool:
    """
    Whether a task can have a ``retry_policy`` (3.3 and newer).

    Without: the operators themselves fail for good on an error that no retry cures.
    """
    try:
        from airflow.sdk import ExceptionRetryPolicy  # noqa: F401
    except ImportError:
        return False
    return True


def classes_of_assets() -> tuple[type, ...]:
    """
    The classes of outlets that have an asset event of their own.

    ``AssetRef``, the base of ``Asset.ref``, is not public. Without: a reference by name or address gets no extra in its
    event; that of an asset does.
    """
    from airflow.providers.common.compat.sdk import Asset

    try:
        from airflow.sdk.definitions.asset import AssetRef
    except ImportError:  # Airflow 2 has no references
        return (Asset,)
    return (Asset, AssetRef)


def state_of_task(*, dag_id: str, run_id: str, task_id: str, map_index: int | None) -> str | None:
    """
    Ask Airflow for the state of a task, or of one map index of it.

    Neither a task nor a trigger has a public way to read it. On Airflow 3 the method of Airflow's own task runner is
    used, which asks the supervisor; on Airflow 2 the database. Its callers decide what a missing answer means: a task
    that is killed cancels its run, and a trigger logs that the state is unknown.

    :return: None if it has none, as after a clear; :data:`DELETED` if there is no such task instance.
    :raises MissingInternalError: This Airflow has neither.
    """
    key: dict[str, Any] = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index}
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        get_task_states = RuntimeTaskInstance.get_task_states
    except (ImportError, AttributeError):
        return _state_in_database(key)
    states = get_task_states(dag_id=dag_id, task_ids=[task_id], run_ids=[run_id], map_index=map_index)
    # The key of a mapped task includes its index; the response contains only this task, or nothing.
    (state,) = [*states.get(run_id, {}).values()] or [DELETED]
    return None if state is None else str(state)


def states_of_tasks(*, dag_id: str, run_id: str, task_ids: Sequence[str]) -> dict[tuple[str, int], str | None]:
    """
    Ask Airflow for the states of all instances of some tasks in a DAG run, by task id and map index (-1: not mapped).

    See :func:`state_of_task`. A task that reports on others has no public way to read their states either.

    :raises MissingInternalError: This Airflow has neither.
    """
    if not task_ids:
        return {}
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        get_task_states = RuntimeTaskInstance.get_task_states
    except (ImportError, AttributeError):
        return _states_in_database(dag_id, run_id, task_ids)
    answer = get_task_states(dag_id=dag_id, task_ids=list(task_ids), run_ids=[run_id]).get(run_id, {})
    states: dict[tuple[str, int], str | None] = {}
    for key, state in answer.items():
        # The key of an instance of a mapped task is the task's id, "_", and its index.
        task_id, _, index = key.rpartition("_")
        found = (key, -1) if key in task_ids else (task_id, int(index))
        states[found] = None if state is None else str(state)
    return states


def returned_by(ti: Any, *, dag_id: str, run_id: str, task_id: str, map_index: int) -> Any:
    """
    Return what a task instance of any DAG run returned, as Airflow has stored it; None or empty: nothing.

    :param ti: The running task instance.
    """
    place: dict[str, Any] = {"dag_id": dag_id, "run_id": run_id, "key": "return_value"}
    if not _is_airflow_3():
        from airflow.models.xcom import XCom

        return XCom.get_one(task_id=task_id, map_index=map_index, **place)
    # Without a map index, Airflow 3 logs no ERROR if there is nothing (see operators/earlier_xcom.py).
    if map_index >= 0:
        place["map_indexes"] = map_index
    return ti.xcom_pull(task_ids=task_id, **place)


def read_mapped_list_once(arguments: Iterable[Any]) -> None:
    """
    Let a task read the list that its mapped task group is expanded over only once.

    Airflow 3 reads the whole list again for each argument that is mapped (airflow 3.3.2,
    ``sdk/definitions/_internal/expandinput.py``, ``MappedArgument.resolve``): a dozen requests to its API in each task,
    each as large as the fleet. Without: it still does, as on Airflow 2, which reads its database.

    :param arguments: What Airflow passes to the function of a task group that is expanded by ``expand_kwargs``.
    """
    try:
        from airflow.sdk.definitions._internal.expandinput import ListOfDictsExpandInput, MappedArgument
    except ImportError:
        return

    class ReadOnce(ListOfDictsExpandInput):
        def resolve(self, context: Any) -> Any:
            ti, kept = context["ti"], self.__dict__.get("kept")
            if kept is None or kept[0] is not ti:
                kept = self.__dict__["kept"] = (ti, super().resolve(context))
            return kept[1]

    once: dict[int, Any] = {}
    for argument in arguments:
        if isinstance(argument, MappedArgument) and type(argument._input) is ListOfDictsExpandInput:
            argument._input = once.setdefault(id(argument._input), ReadOnce(argument._input.value))


def _states_in_database(dag_id: str, run_id: str, task_ids: Sequence[str]) -> dict[tuple[str, int], str | None]:
    if _is_airflow_3():
        raise MissingInternalError("RuntimeTaskInstance.get_task_states", "the states of tasks cannot be read")
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    columns = (TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state)
    query = select(*columns).where(
        TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.task_id.in_(task_ids)
    )
    with create_session() as session:
        return {
            (task_id, index): None if state is None else str(state) for task_id, index, state in session.execute(query)
        }


def _state_in_database(key: dict[str, Any]) -> str | None:
    if _is_airflow_3():
        raise MissingInternalError("RuntimeTaskInstance.get_task_states", "the state of a task cannot be read")
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        row = session.execute(select(TaskInstance.state).filter_by(**key)).first()
    if row is None:
        return DELETED
    return None if row[0] is None else str(row[0])


@contextmanager
def stored_connections() -> Iterator[tuple[Any, type[Any]]]:
    """
    Yield a session of Airflow's database and its class of connections, on Airflow 2 only.

    There, it is the only way to write a connection from a task. On Airflow 3 a task cannot reach the database; the
    public API is used instead.

    :raises MissingInternalError: This is Airflow 3, or its classes have moved.
    """
    if _is_airflow_3():
        raise MissingInternalError("database that a task can write to", "the connection was not written")
    try:
        from airflow.models import Connection
        from airflow.utils.session import create_session
    except ImportError:
        raise MissingInternalError("airflow.models.Connection", "the connection was not written") from None
    with create_session() as session:
        yield session, Connection


class Pools:
    """
    Airflow's pools, in one transaction.

    :param session: Session of Airflow's database.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def get(self, name: str) -> Any:
        """Return the pool with this name: its ``slots``, ``description``, ``include_deferred``; None: there is none."""
        from airflow.models.pool import Pool

        return Pool.get_pool(name, session=self._session)

    def put(self, name: str, *, slots: int, description: str) -> None:
        """Create a pool, or change it; deferred tasks take a slot of it."""
        from airflow.models.pool import Pool

        Pool.create_or_update_pool(name, slots, description, True, session=self._session)


@contextmanager
def stored_pools() -> Iterator[Pools]:
    """
    Yield Airflow's pools; what is changed is stored at the end.

    The only other ways are Airflow's command line, in a process of its own for each pool, and its web server's API,
    which needs a login. For a command on a machine with Airflow's database; a task of Airflow 3 cannot reach it.

    :raises MissingInternalError: Airflow's classes have moved.
    """
    try:
        from airflow.models.pool import Pool  # noqa: F401
        from airflow.utils.session import create_session
    except ImportError:
        raise MissingInternalError("airflow.models.pool.Pool", "the pool was not made") from None
    with create_session() as session:
        yield Pools(session)


def _is_airflow_3() -> bool:
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

    return AIRFLOW_V_3_0_PLUS
