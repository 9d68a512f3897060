"""The state of a task in Airflow, for the task itself or its trigger: whether the task is still expected to run."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from lightly_provider import airflow_internals

if TYPE_CHECKING:
    from typing import Protocol

    class TaskInstance(Protocol):
        """The common interface of Airflow's types of task instances."""

        dag_id: str
        run_id: str
        task_id: str
        map_index: int | None


# A task in one of these states still needs its run: the task itself, its trigger in another triggerer, or its next try,
# which reattaches.
ALIVE = frozenset(
    {"scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule", "deferred", "awaiting_input"}
)

# Airflow 3 sends SIGKILL 5 s after the first signal, and the cancelation needs time, too.
_LONGEST_WAIT_S = 3.0


def state_of_task(task: TaskInstance) -> str | None:
    """
    Ask Airflow for a task's state.

    :param task: The task; of a mapped one, one map index.
    :return: See :func:`lightly_provider.airflow_internals.state_of_task`.
    """
    return airflow_internals.state_of_task(
        dag_id=task.dag_id, run_id=task.run_id, task_id=task.task_id, map_index=task.map_index
    )


def pushed_run(task: TaskInstance) -> str | None:
    """
    Ask Airflow, in a trigger, for the scheduled run that the task's present try has pushed to XCom.

    :param task: The task; of a mapped one, one map index.
    :return: The scheduled run's id; None if there is none.
    """
    from airflow.providers.common.compat.sdk import XCom

    found = XCom.get_one(
        key="scheduled_run_id",
        dag_id=task.dag_id,
        run_id=task.run_id,
        task_id=task.task_id,
        map_index=task.map_index,
    )
    return found if isinstance(found, str) else None


def reason_for_next_try(task: Any) -> str:
    """
    Return why a further try of a task that is being killed will reattach to its run; empty if no further try will.

    Airflow kills a task not only when a user ends it, but also when a user clears it, and when its worker shuts down.
    If Airflow does not respond, assume that there is no further try: a run that a user ended must not continue, and a
    further try can schedule a new one. Never raises.

    :param task: Airflow's task instance.
    """
    try:
        state = _state_of_killed_task(task)
    except Exception:  # noqa: BLE001 - a task that is being killed must end, whatever happens
        return ""
    if state is None:
        return "the task was cleared"
    if state == "running":
        # As Airflow counts: max_tries is the number of retries.
        has_tries_left = int(getattr(task, "try_number", 1)) <= int(getattr(task, "max_tries", 0) or 0)
        return "no user ended the task, and it has tries left" if has_tries_left else ""
    return f"the task is {state}" if state in ALIVE else ""


def _state_of_killed_task(task: TaskInstance) -> str | None:
    """
    Like :func:`state_of_task`, in a signal handler: the code that the signal interrupted may hold the lock of the
    connection to Airflow, so Airflow is asked in a thread, for a limited time.
    """
    answer: Future[str | None] = Future()

    def ask() -> None:
        try:
            answer.set_result(state_of_task(task))
        except BaseException as error:  # noqa: BLE001 - raised where the answer is awaited
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answer.result(_LONGEST_WAIT_S)
