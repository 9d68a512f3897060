"""Plan a fleet: find out what is to be done for each dataset. Only reads."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlyError, on_one_line
from lightly_provider.fleet.looking import Looking
from lightly_provider.fleet.planned import Action, Estimate, FleetPlan, PlannedDataset, few
from lightly_provider.foreign_text import shown
from lightly_provider.masking import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lightly_provider.api.models.dataset import Dataset
    from lightly_provider.api.models.run import Worker
    from lightly_provider.fleet.file import Fleet
    from lightly_provider.fleet.models import FleetDataset
    from lightly_provider.hooks.lightly import LightlyHook

# Each thread has a request to the platform or to S3 in flight; see the pacing of the client for what happens at 429.
_THREADS = 8


def plan_fleet(
    fleet: Fleet,
    lightly_conn_id: str = "lightly_default",
    *,
    estimate: Estimate | str = Estimate.PAGE,
    hook: LightlyHook | None = None,
    on_planned: Callable[[int], None] = lambda _: None,
) -> FleetPlan:
    """
    Find out what is to be done for each dataset of a fleet, without changing anything.

    The account's datasets, its quota and its workers are read once. Then, in a few threads, of each dataset: its
    datasources, the platform's check of its permissions, its runs. What does not exist yet, or has changed, is tried
    from this machine with the keys that Lightly will get: the listing, and the content of one file. A fault of one
    dataset is its reason, and the others are planned.

    :param fleet: The fleet.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``.
    :param estimate: How much of each input is listed to count its files: ``page``, the first 1,000 (default), ``all``,
        or ``nothing``, which also leaves out what is tried from this machine.
    :param hook: Hook on the platform. None (default): a new one on the connection.
    :param on_planned: Called with how many datasets are planned. Default: nothing.
    :raises LightlyError: The platform cannot be used at all, e.g. because the token is wrong.
    """
    from lightly_provider.api import calls
    from lightly_provider.hooks.lightly import LightlyHook
    from lightly_provider.results.parallel import spread

    hook = hook or LightlyHook(lightly_conn_id)
    hook.reports_lineage = False
    quota = hook.client.send(calls.get_quota())
    by_name: defaultdict[str, list[Dataset]] = defaultdict(list)
    for each in hook.get_datasets():
        by_name[each.name].append(each)
    looking = Looking(hook, estimate=Estimate(estimate), now=datetime.now(UTC), quota=quota)
    # In this thread, because Airflow's connections cannot be read in several at once.
    for dataset in fleet.datasets:
        looking.prepare(dataset)

    def plan_one(dataset: FleetDataset) -> PlannedDataset:
        try:
            one = looking.plan(dataset, by_name.get(dataset.name, ()))
        except (LightlyError, ValueError, LookupError) as error:
            reason = shown(on_one_line(str(error)), longest=1000)
            one = PlannedDataset(name=dataset.name, action=Action.CANNOT_WORK, reason=reason, owner=dataset.owner)
        # The plan becomes an XCom, which Airflow does not mask.
        return replace(one, reason=masked(one.reason), fix=masked(one.fix))

    planned: list[PlannedDataset] = []
    for one in spread(plan_one, fleet.datasets, threads=_THREADS):
        planned.append(one)
        on_planned(len(planned))
    notes = _about_workers(fleet.datasets, {one.name: one for one in planned}, hook)
    return FleetPlan(datasets=tuple(planned), quota=quota, notes=tuple(notes))


def _about_workers(
    datasets: Iterable[FleetDataset], planned: Mapping[str, PlannedDataset], hook: LightlyHook
) -> list[str]:
    """Return a sentence for each set of labels that no running worker has."""
    from lightly_provider.runs.once import missing_worker

    labels: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for dataset in datasets:
        if dataset.selection is not None and planned[dataset.name].action in (Action.CREATE, Action.UPDATE):
            labels[tuple(sorted(dataset.runs_on))].append(dataset.name)
    if not labels:
        return []
    workers: Sequence[Worker] = hook.get_workers()
    notes = []
    for needed, names in labels.items():
        if (error := missing_worker(workers, needed)) is not None:
            notes.append(f"{error} It is for {few(names)}.")
    return notes
