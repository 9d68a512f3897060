"""``airflow lightly runs``: the runs of the Lightly Worker, or one of them with its links."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lightly_provider.cli.answer import Answer, Section, properties
from lightly_provider.cli.command import LIGHTLY_CONN_ID, Argument, Command
from lightly_provider.cli.lookup import find_dataset, hook_of, is_id, limited, moment, positive
from lightly_provider.cli.refusals import CommandError, choose
from lightly_provider.contract import RunState, ScheduledRunState
from lightly_provider.foreign_text import shown
from lightly_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Mapping

    from lightly_provider.api.models.run import Run, ScheduledRun
    from lightly_provider.hooks.lightly import LightlyHook

_MAX_ATTEMPTS = 3
_LONGEST_CELL = 120
# A run in these states of its schedule entry has no other state; LOCKED and DONE ones have one of their own.
_NOT_TAKEN = (ScheduledRunState.OPEN, ScheduledRunState.CANCELED)
STATES = (*_NOT_TAKEN, *RunState)


def run(arguments: argparse.Namespace) -> Answer:
    """List the runs, or show one."""
    states = {choose(state, STATES, argument="--state") for state in arguments.state or ()}
    if arguments.run_id is None:
        return _list(hook_of(arguments, max_attempts=_MAX_ATTEMPTS), arguments, states)
    for option, value in (("--state", states), ("--dataset", arguments.dataset)):
        if value:
            raise CommandError(f"{option} filters a list, and {arguments.run_id} is one run; leave one of them out.")
    if not is_id(arguments.run_id):
        raise CommandError(
            f"{shown(arguments.run_id, longest=200)!r} is not the id of a run, which has 24 digits and letters a to f; "
            "'runs' lists the runs with their ids."
        )
    hook = hook_of(arguments, max_attempts=_MAX_ATTEMPTS)
    return _one(hook, _find_run(hook, arguments.run_id))


def _list(hook: LightlyHook, arguments: argparse.Namespace, states: Collection[str]) -> Answer:
    if arguments.dataset is not None:
        dataset = find_dataset(hook, arguments.dataset)
        names = {dataset.id: dataset.name}
        entries: Iterable[ScheduledRun] = hook.get_scheduled_runs(dataset.id)
        runs: Iterable[Run] = hook.get_runs(dataset.id)
    else:
        names = {each.id: each.name for each in hook.get_datasets()}
        entries, runs = _open_runs(hook), hook.get_all_runs()
    found = [each for each in listed(runs, entries, names) if not states or each["state"] in states]
    chosen = found[: arguments.limit]
    return Answer(
        sections=[Section(rows=[_row(each) for each in chosen], if_empty="There is no such run.")],
        data=chosen,
        notes=limited(arguments, len(found), "runs"),
    )


def _open_runs(hook: LightlyHook) -> list[ScheduledRun]:
    """
    Return the runs that no worker has taken, on all datasets.

    The platform lists those that a worker with given labels can take: here, with the labels of all workers.
    """
    from lightly_provider.api import calls

    labels = sorted({label for worker in hook.get_workers() for label in worker.labels})
    return hook.client.send(calls.list_open_runs(labels))


def listed(
    runs: Iterable[Run], entries: Iterable[ScheduledRun], dataset_names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """
    Return the runs as JSON types, newest first: those that a worker took, and those that none did.

    :param runs: The runs.
    :param entries: Entries of the schedule, in any states.
    :param dataset_names: Names of datasets by id.
    """
    taken = list(runs)
    with_run = {each.scheduled_id for each in taken}
    found = [
        _data(each.id, each.scheduled_id, each.dataset_id, each.state, each.created_at, each.message) for each in taken
    ] + [
        _data(None, entry.id, entry.dataset_id, entry.state, entry.created_at, None)
        for entry in entries
        if entry.state in _NOT_TAKEN and entry.id not in with_run
    ]
    for each in found:
        each["dataset"] = dataset_names.get(each["dataset_id"] or "")
    return sorted(found, key=lambda each: (each["created"] or "", each["id"] or ""), reverse=True)


def _data(
    run_id: str | None,
    scheduled_id: str | None,
    dataset_id: str | None,
    state: str,
    created_at: int,
    message: str | None,
) -> dict[str, Any]:
    return {
        "id": run_id,
        "scheduled_run_id": scheduled_id,
        "dataset": None,
        "dataset_id": dataset_id,
        "state": state,
        "created": moment(created_at),
        "message": message,
    }


def _row(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": data["id"],
        "scheduled_run_id": data["scheduled_run_id"],
        "dataset": data["dataset"] or data["dataset_id"],
        "state": data["state"],
        "created": data["created"],
        "message": data["message"] and shown(data["message"], longest=_LONGEST_CELL),
    }


def _find_run(hook: LightlyHook, an_id: str) -> Run | ScheduledRun:
    """Find a run by its own id, or by that of its scheduled run."""
    from lightly_provider.api import calls
    from lightly_provider.exceptions import LightlyNotFoundError

    for call in (calls.get_run(an_id), calls.get_run_of_scheduled_run(an_id)):
        with suppress(LightlyNotFoundError):
            return hook.client.send(call)
    waiting = _open_runs(hook)
    for entry in waiting:
        if entry.id == an_id:
            return entry
    known = [each for run in hook.get_all_runs() for each in (run.id, run.scheduled_id) if each]
    known += [entry.id for entry in waiting]
    hint = did_you_mean(an_id, known, n=3, otherwise="'runs' lists those that there are.")
    raise CommandError(
        f"There is no run and no scheduled run with the id {an_id!r}, unless it was canceled before a worker took it; "
        f"{hint}"
    )


def _one(hook: LightlyHook, found: Run | ScheduledRun) -> Answer:
    from lightly_provider.api.models.run import Run
    from lightly_provider.exceptions import LightlyNotFoundError
    from lightly_provider.links import dataset_page, runs_page

    web_url = hook.connection.web_url
    taken = found if isinstance(found, Run) else None
    dataset_id, name = found.dataset_id, None
    if dataset_id:
        with suppress(LightlyNotFoundError):  # it may have been deleted since
            name = hook.get_dataset(dataset_id).name
    tags = hook.get_run_tags(taken.id, dataset_id) if taken and dataset_id and name else []
    is_over = taken is not None and (state := RunState.parse(taken.state)) is not None and state.is_terminal
    data = {
        "id": taken and taken.id,
        "scheduled_run_id": taken.scheduled_id if taken else found.id,
        "dataset": name,
        "dataset_id": dataset_id,
        "state": found.state,
        "created": moment(found.created_at),
        "ended": moment(taken.last_modified_at) if taken and is_over else None,
        "message": taken and taken.message,
        "runs_on": None if taken else list(found.runs_on),  # type: ignore[union-attr]
        "tags": [{"name": tag.name, "samples": tag.n_selected} for tag in tags],
        "artifacts": [each.type for each in taken.artifacts] if taken else [],
        "dataset_page": dataset_page(web_url, dataset_id) if dataset_id else None,
        "runs_page": runs_page(web_url),
    }
    facts = {name: value for name, value in data.items() if value is not None}
    facts["tags"] = [f"{tag.name} ({tag.n_selected} samples)" for tag in tags]
    return Answer(sections=[Section(rows=properties(facts))], data=data)


COMMAND = Command(
    name="runs",
    summary="List the runs of the Lightly Worker, or show one with its tags, files and links.",
    description=(
        "Of the runs that no worker took, those are listed that a registered worker can take; with --dataset, all of\n"
        "them, also canceled ones."
    ),
    arguments=(
        Argument("run_id", nargs="?", metavar="ID", help="Id of a run or of a scheduled run. Default: list all."),
        LIGHTLY_CONN_ID,
        Argument("--dataset", metavar="NAME|ID", help="List the runs on this dataset. Default: those on all."),
        Argument(
            "--state",
            action="append",
            metavar="STATE",
            help="List the runs in this state, e.g. OPEN, COMPLETED or FAILED. Can be repeated. Default: all.",
        ),
        Argument(
            "--limit", type=positive, default=20, metavar="N", help="List at most N runs, the newest. Default: 20."
        ),
    ),
    examples=(
        ("the newest runs", "runs"),
        ("what went wrong on a dataset", "runs --dataset birds --state FAILED --state CRASHED"),
        ("one run", "runs 6a9c21d4e8b05f7312c4d9ab"),
    ),
    run=run,
)
