"""What must be there before a run is scheduled, as the platform would take a run that cannot work. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.exceptions import (
    LightlyDatasetNotEmptyError,
    LightlyDatasourceError,
    LightlyError,
    LightlyNoWorkerError,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import Protocol

    class Worker(Protocol):
        """As much of a registered worker as is looked at."""

        @property
        def name(self) -> str: ...
        @property
        def state(self) -> str: ...
        @property
        def labels(self) -> Sequence[str]: ...


WORKER_PRESENCES = ("warn", "require", "ignore")

# States of a worker without a container that runs (lightly 1.5.26, models/docker_worker_state.py); any other counts
# as present, also one that is unknown here.
_ABSENT = frozenset({"OFFLINE", "CRASHED"})


def missing_datasource(dataset_id: str, purposes: Collection[str]) -> LightlyError | None:
    """
    What a run lacks to read its input and to keep Lightly's own files.

    :param dataset_id: Dataset.
    :param purposes: Purposes of the datasources that the dataset has.
    :return: The error; None if nothing is missing.
    """
    if "INPUT_OUTPUT" in purposes:
        return None
    missing = [purpose for purpose in ("INPUT", "LIGHTLY") if purpose not in purposes]
    if not missing:
        return None
    return LightlyDatasourceError(
        f"Dataset {dataset_id} has no datasource for {' and '.join(missing)}, so a run could not read its input or "
        "keep its files; nothing was scheduled. Set it with ConfigureS3DatasourceOperator before this task.",
        operation="get_datasources_by_dataset_id",
    )


def not_empty(dataset_id: str, n_samples: int, *, use_datapool: bool) -> LightlyError | None:
    """
    What the worker would abort a run for: samples in the dataset that it is not told to add to.

    :param dataset_id: Dataset.
    :param n_samples: How many samples it has.
    :param use_datapool: Whether the run adds to them.
    :return: The error; None if the run fits the dataset.
    """
    if n_samples == 0 or use_datapool:
        return None
    return LightlyDatasetNotEmptyError(
        f"Dataset {dataset_id} has {n_samples} samples already, and the worker aborts a run on it that does not add to "
        'them; nothing was scheduled. Set worker_config={"use_datapool": True}, or use an empty dataset.'
    )


def missing_worker(workers: Iterable[Worker], runs_on: Collection[str]) -> LightlyError | None:
    """
    What keeps a scheduled run OPEN.

    :param workers: The registered workers.
    :param runs_on: Labels that a worker must all have; none: any worker.
    :return: The error; None if a worker is there.
    """
    fitting = [worker for worker in workers if set(runs_on) <= set(worker.labels)]
    if any(worker.state not in _ABSENT for worker in fitting):
        return None
    labels = f" with the labels {', '.join(sorted(runs_on))}" if runs_on else ""
    if not fitting:
        return LightlyNoWorkerError(
            f"No worker{labels} is registered for this token, so a run stays OPEN until one takes it; start a Lightly "
            f"Worker{labels}."
        )
    names = ", ".join(sorted(f"{worker.name} ({worker.state})" for worker in fitting))
    return LightlyNoWorkerError(
        f"No worker{labels} is running, so a run stays OPEN until one takes it; start one of {names}."
    )
