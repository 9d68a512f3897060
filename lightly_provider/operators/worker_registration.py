"""Register a worker for one DAG run, and delete its registration."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from lightly_provider.operators.arguments import check_id, is_static, labels_of
from lightly_provider.operators.base import LightlyBaseOperator, push_members

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

# lightly 1.5.26, models/create_docker_worker_registry_entry_request.py
_WORKER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9 _-]{2,}")


class RegisterLightlyWorkerOperator(LightlyBaseOperator):
    """
    Register a worker, or find the worker of this name, before its container is started.

    It does not start the worker: another task starts the container, with the token as ``LIGHTLY_TOKEN`` and the
    returned id as ``LIGHTLY_WORKER_ID``. A run with ``runs_on`` set to the labels is only picked up by
    workers that have them.

    Idempotent: a retry or a clear finds the existing worker. As a setup task, its teardown is
    :class:`DeleteLightlyWorkerOperator`.

    :param worker_name: The worker's name: at least 3 of letters, digits, space, ``_`` and ``-``, the first a letter or
        digit. None (default): a name that is unique to this task and DAG run. Templated.
    :param labels: The worker's labels, which cannot be changed later. None (default): its name as the only label.
        Templated.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: ``{"worker_id", "worker_name", "labels"}``; each is also pushed as an XCom of its own, so that
        ``register.output["labels"]`` is what ``runs_on`` takes.
    :raises ValueError: An argument is invalid.
    :raises LightlyConflictError: A worker of this name is registered with other labels.
    """

    template_fields: Sequence[str] = ("lightly_conn_id", "worker_name", "labels")
    custom_operator_name = "Lightly register worker"
    ui_color = "#d6ecff"

    def __init__(self, *, worker_name: str | None = None, labels: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.worker_name = worker_name
        self.labels = labels
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if (
            self.worker_name is not None
            and is_static(self.worker_name)
            and not (isinstance(self.worker_name, str) and _WORKER_NAME.fullmatch(self.worker_name))
        ):
            raise ValueError(
                f"worker_name is {self.worker_name!r}, which the platform does not allow; use at least 3 of letters, "
                "digits, spaces, '_' and '-', and begin with a letter or digit (a run_id has other characters)."
            )
        if is_static(self.labels):
            labels_of(self.labels, argument="labels")

    def perform(self, context: Context) -> dict[str, Any]:
        """Find or register the worker."""
        name = self.worker_name or name_of_its_own(context)
        labels = [name] if self.labels is None else labels_of(self.labels, argument="labels")
        outcome = self.hook.get_or_register_worker(name, labels)
        done = "Registered" if outcome.registered else "Reusing"
        self.log.info("%s worker %r, id %s, labels: %s", done, name, outcome.worker_id, ", ".join(labels) or "-")
        return push_members(context, {"worker_id": outcome.worker_id, "worker_name": name, "labels": labels})


class DeleteLightlyWorkerOperator(LightlyBaseOperator):
    """
    Delete the registration of a worker.

    It does not stop the container; stop that first. If the worker is not registered, the task succeeds, so that you can
    use it as the teardown of :class:`RegisterLightlyWorkerOperator`.

    :param worker_id: The worker's id, e.g. ``register.output["worker_id"]``. Templated.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: Whether the worker was registered.
    :raises ValueError: The id is invalid.
    """

    template_fields: Sequence[str] = ("lightly_conn_id", "worker_id")
    custom_operator_name = "Lightly delete worker"
    ui_color = "#d6ecff"

    def __init__(self, *, worker_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.worker_id = worker_id
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.worker_id):
            check_id(self.worker_id, argument="worker_id")

    def perform(self, context: Context) -> bool:
        """Delete it."""
        deleted = self.hook.delete_worker(self.worker_id)
        self.log.info("Worker %s %s", self.worker_id, "was deleted" if deleted else "is not registered")
        return deleted


def name_of_its_own(context: Context) -> str:
    """
    A worker name that is unique to this task and DAG run, and the same in each of its tries.

    :param context: The task's context. A ``run_id`` has characters that the platform refuses in a name, so the name
        ends with a hash of it.
    """
    ti = context["ti"]
    key = "\0".join(map(str, (ti.dag_id, ti.run_id, ti.task_id, ti.map_index)))
    readable = re.sub(r"[^a-zA-Z0-9_-]+", "-", ti.dag_id)[:40]
    return f"airflow-{readable}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
