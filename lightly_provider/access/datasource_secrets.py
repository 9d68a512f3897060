"""Find the datasources that use a secret, move them to a new one, verify them, and wait for runs with the old one."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.access.propagation import wait_until
from lightly_provider.contract import Permission, Purpose, RunState, ScheduledRunState
from lightly_provider.exceptions import LightlyAccessError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from lightly_provider.api.models.datasource import Datasource, PermissionLights
    from lightly_provider.aws.credentials import DelegatedAccess, UserAccess
    from lightly_provider.hooks.lightly import LightlyHook

log = logging.getLogger(__name__)

# The platform limits the rate of requests; the sandbox does not.
_PAUSE_S, _PAUSE_LOCAL_S = 30.0, 1.0


@dataclass(frozen=True, kw_only=True)
class DatasourceSecrets:
    """
    Read and replace the secrets of the S3 datasources that the token can access.

    :param hook: Hook of the platform.
    :param dataset_ids: Datasets whose datasources are moved; None: all datasets that the token owns.
    :param timeout: Maximum time until the platform can use a new secret, in seconds.
    """

    hook: LightlyHook
    dataset_ids: Sequence[str] | None
    timeout: float

    def __post_init__(self) -> None:
        if self.dataset_ids is not None and not self.dataset_ids:
            raise ValueError("There is no dataset to move; name at least one, or None for all.")

    def find(self, uses: Callable[[Datasource], bool]) -> dict[str, list[Datasource]]:
        """
        Return the datasources that use a secret, by dataset, for the token's own datasets and the ones to move.

        :param uses: Returns whether a datasource uses the secret.
        """
        ids = [dataset.id for dataset in self.hook.get_datasets()]
        found = {
            dataset_id: [
                datasource
                for datasource in self.hook.get_datasources(dataset_id)
                if datasource.type.startswith("S3") and datasource.purpose in list(Purpose) and uses(datasource)
            ]
            for dataset_id in dict.fromkeys([*(self.dataset_ids or ()), *ids])
        }
        return {dataset_id: datasources for dataset_id, datasources in found.items() if datasources}

    def check_named(self, using: Mapping[str, Sequence[Datasource]]) -> None:
        """
        Refuse to rotate an access that no dataset uses: the wrong datasets, or another account's token.

        :param using: The datasources that use the access, with its old or its new secret, as :meth:`find` returns them.
        :raises LightlyAccessError: Nothing would be moved before the old secret is deleted.
        """
        if any(self.is_moved(dataset_id) for dataset_id in using):
            return
        if self.dataset_ids is not None:
            raise LightlyAccessError(
                f"None of the datasets in dataset_ids uses this access ({', '.join(self.dataset_ids)}), so nothing "
                "would be moved before the old secret is deleted; correct dataset_ids or lightly_conn_id."
            )
        raise LightlyAccessError(
            "No dataset of the token in lightly_conn_id uses this access, so nothing would be moved before the old "
            "secret is deleted; correct lightly_conn_id if it leads to another account. An access that no dataset "
            "uses yet needs no rotation: delete it, and create it again."
        )

    def is_moved(self, dataset_id: str) -> bool:
        """Return whether the datasources of a dataset are moved."""
        return self.dataset_ids is None or dataset_id in self.dataset_ids

    def granted(self, dataset_id: str) -> frozenset[Permission]:
        """Have the platform verify a dataset, and return the permissions that it has."""
        return _green(self.hook.verify_datasource(dataset_id))

    def move(
        self,
        found: Mapping[str, Sequence[Datasource]],
        access: UserAccess | DelegatedAccess,
        required: Mapping[str, Collection[Permission]],
    ) -> list[str]:
        """
        Set a new access on datasources, and have the platform verify every dataset.

        :param found: The datasources to set, by dataset; a dataset without any is only verified.
        :param access: The new access.
        :param required: The permissions that must be granted within the timeout, by dataset.
        :return: Ids of the changed datasets.
        :raises LightlyAccessError: The platform cannot use the new access.
        """
        for dataset_id, datasources in found.items():
            for datasource in datasources:
                self.hook.set_datasource(dataset_id, datasource.with_access(access))
                log.info("Datasource %s of dataset %s now has %s.", datasource.purpose, dataset_id, access.describe())
            self._verify(dataset_id, required[dataset_id])
        return [dataset_id for dataset_id, datasources in found.items() if datasources]

    def _verify(self, dataset_id: str, required: Collection[Permission]) -> None:
        seen: list[PermissionLights] = []

        def missing() -> str | None:
            seen.append(self.hook.verify_datasource(dataset_id))
            red = frozenset(required) - _green(seen[-1])
            return ", ".join(name for name in Permission if name in red) or None

        denied, waited = wait_until(missing, timeout=self.timeout)
        if denied:
            errors = seen[-1].errors.model_dump(exclude_none=True)
            reported = f" ({' | '.join(dict.fromkeys(errors.values()))})" if errors else ""
            raise LightlyAccessError(
                f"Dataset {dataset_id} has the new secret, and after {waited:.0f} s the platform cannot {denied} with "
                f"it{reported}; the old one is still valid. Run the task again to continue."
            )

    def wait_for_runs(self, dataset_ids: Collection[str], grace: float) -> dict[str, list[str]]:
        """
        Wait until the runs that are active now have ended.

        A run is active once a worker has taken it. A run that a worker takes later starts with the secret that the
        datasource has at that time.

        :param dataset_ids: Datasets whose runs to wait for.
        :param grace: Maximum wait, in seconds; 0 checks once.
        :return: Ids of the runs that are still active, by dataset; empty if there are none.
        """
        left = self._active_runs(dataset_ids)
        until = time.monotonic() + grace
        if left and grace > 0:
            runs = runs_in_words({dataset_id: list(ids.values()) for dataset_id, ids in left.items()})
            log.info("Waiting up to %.0f s for runs that began with the old secret: %s.", grace, runs)
        while left and (remaining := until - time.monotonic()) > 0:
            time.sleep(min(remaining, _PAUSE_LOCAL_S if self.hook.connection.is_local else _PAUSE_S))
            now = self._active_runs(left)
            still = {one: {key: run for key, run in ids.items() if key in left[one]} for one, ids in now.items()}
            left = {dataset_id: ids for dataset_id, ids in still.items() if ids}
        return {dataset_id: list(ids.values()) for dataset_id, ids in left.items()}

    def _active_runs(self, dataset_ids: Collection[str]) -> dict[str, dict[str, str]]:
        """
        Return the active runs by dataset, without datasets that have none.

        The key of a run is the id of its schedule entry, because a run has no other id before it starts. The value is
        the run's own id, for messages.
        """
        from lightly_provider.api import calls

        active: dict[str, dict[str, str]] = {}
        for dataset_id in dataset_ids:
            # Read the schedule first: an entry that becomes a run in between is then seen twice instead of missed.
            entries = self.hook.client.send(calls.get_scheduled_runs(dataset_id))
            runs = self.hook.client.send(calls.list_runs_of_dataset(dataset_id))
            found = {entry.id: entry.id for entry in entries if entry.state == ScheduledRunState.LOCKED}
            for run in runs:
                key = run.scheduled_id or run.id
                if _is_over(run.state):
                    found.pop(key, None)
                else:
                    found[key] = run.id
            if found:
                active[dataset_id] = found
        return active


def runs_in_words(runs: Mapping[str, Sequence[str]]) -> str:
    """Return the runs by dataset as text for a message, e.g. ``runs b, c of dataset a``."""
    return "; ".join(f"runs {', '.join(ids)} of dataset {dataset_id}" for dataset_id, ids in runs.items())


def _is_over(state: str) -> bool:
    # An unknown state counts as running.
    known = RunState.parse(state)
    return known is not None and known.is_terminal


def _green(lights: PermissionLights) -> frozenset[Permission]:
    return frozenset(permission for permission in Permission if getattr(lights, f"can_{permission}"))
