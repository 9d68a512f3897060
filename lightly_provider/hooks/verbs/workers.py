"""Verbs about the registry of workers: list, register, delete."""

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
    What find-or-register came to.

    :param worker_id: The worker's id.
    :param registered: Whether it was registered just now; False: it was there.
    """

    worker_id: str
    registered: bool


class WorkerVerbs(LightlyBaseHook):
    """What the hook does with registered workers."""

    def get_workers(self) -> list[Worker]:
        """The registered workers."""
        from lightly_provider.api import calls

        return self.client.send(calls.list_workers())

    def get_or_register_worker(self, name: str, labels: Sequence[str]) -> WorkerOutcome:
        """
        Find the worker of this name, or register it.

        :param name: The worker's name. The platform answers a second registration of a name with the same id, so that
            neither a lost answer nor two tasks at once make two workers.
        :param labels: Its labels. They are given when a worker is registered, and cannot be changed later
            (https://docs.lightly.ai/docs/assign-scheduled-runs-to-specific-workers).
        :raises LightlyConflictError: A worker of this name is registered with other labels.
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
        Take a worker off the registry. Its container, if one runs, is not stopped by that.

        :param worker_id: The worker's id.
        :return: Whether it was there.
        """
        from lightly_provider.api import calls

        try:
            self.client.send(calls.delete_worker(worker_id))
        except LightlyNotFoundError:
            return False
        return True
