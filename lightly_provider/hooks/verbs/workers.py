"""Hook methods for the worker registry: list, register, delete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlyConflictError, LightlyNotFoundError
from lightly_provider.hooks.connection import LightlyBaseHook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightly_provider.api.models.run import Worker


@dataclass(frozen=True, kw_only=True)
class WorkerOutcome:
    """
    The result of :meth:`WorkerVerbs.get_or_register_worker`.

    :param worker_id: Id of the worker.
    :param registered: Whether the call registered it; False: it existed.
    """

    worker_id: str
    registered: bool


class WorkerVerbs(LightlyBaseHook):
    """The hook's methods for registered workers."""

    def get_workers(self) -> list[Worker]:
        """Return the registered workers."""
        from lightly_provider.api import calls

        return self.client.send(calls.list_workers())

    def get_or_register_worker(self, name: str, labels: Sequence[str]) -> WorkerOutcome:
        """
        Find the worker with this name, or register it.

        :param name: Name of the worker. The platform returns the same id if a name is registered again, so neither a
            lost response nor two concurrent tasks create a second worker.
        :param labels: Labels of the worker. They are set at registration, and cannot be changed later
            (https://docs.lightly.ai/docs/assign-scheduled-runs-to-specific-workers).
        :raises LightlyConflictError: A worker with this name is registered with other labels.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.models.run import WorkerRegistration

        existing = next((worker for worker in self.get_workers() if worker.name == name), None)
        if existing is None:
            request = WorkerRegistration(name=name, labels=list(labels) or None)
            return WorkerOutcome(worker_id=self.client.send(calls.register_worker(request)), registered=True)
        if sorted(existing.labels) != sorted(labels):
            raise LightlyConflictError(
                f"Worker {name!r} (id {existing.id}) is registered with the labels {sorted(existing.labels)}, and "
                f"{sorted(labels)} are wanted; a worker's labels cannot be changed, so choose another worker_name or "
                "delete it.",
                operation="register_docker_worker",
            )
        return WorkerOutcome(worker_id=existing.id, registered=False)

    def delete_worker(self, worker_id: str) -> bool:
        """
        Delete a worker from the registry. This does not stop its container.

        :param worker_id: Id of the worker.
        :return: Whether it existed.
        """
        from lightly_provider.api import calls

        try:
            self.client.send(calls.delete_worker(worker_id))
        except LightlyNotFoundError:
            return False
        return True
