"""
What a DAG run made of a fleet: which datasets are onboarded, which are not or not yet, and why.

A task that fails leaves its reason as an XCom (:func:`keep_failure`); the task that reports reads these and the states
of all tasks (:func:`report_on`), and fails the DAG run if a dataset is not onboarded and no run of it is in progress.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lightly_provider.airflow_internals import states_of_tasks
from lightly_provider.exceptions import LightlyError, explained, is_own
from lightly_provider.foreign_text import shown, shown_json, storable, without_logins, without_secret_parameters
from lightly_provider.masking import masked

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.fleet.file import Fleet
    from lightly_provider.fleet.planned import FleetPlan

FAILURE = "lightly_failure"
# The task of the group that runs the worker.
RUN = "run_worker"
# The actions of a plan for which a dataset's tasks are started.
STARTED = frozenset({"create", "update"})
# A message with a policy statement has about 1,500 characters.
_LONGEST_REASON = 4000
_LONGEST_CELL = 60
_MOST_NAMED, _LONGEST_NAMED = 20, 300
# What a task of a dataset that is onboarded may end as: a dataset without a selection skips its run.
_GOOD = frozenset({"success", "skipped"})


class Ending(StrEnum):
    """What became of a dataset."""

    ONBOARDED = "onboarded"
    UNCHANGED = "unchanged"
    IN_PROGRESS = "in progress"
    FAILED = "failed"
    CANNOT_WORK = "cannot work"

    @property
    def is_good(self) -> bool:
        """Whether the dataset is onboarded."""
        return self in (Ending.ONBOARDED, Ending.UNCHANGED)


@dataclass(frozen=True, kw_only=True)
class DatasetEnding:
    """
    What became of one dataset.

    :param name: Name of the dataset.
    :param ending: What became of it.
    :param reason: Why it is not onboarded, the lines of a message; what the plan says of an unchanged one; or that the
        run selected nothing.
    :param owner: Who is responsible for it; None: nobody is named.
    :param task_id: The task that failed; None if none did.
    :param map_index: Index of that task; None if none failed.
    """

    name: str
    ending: Ending
    reason: str = ""
    owner: str | None = None
    task_id: str | None = None
    map_index: int | None = None

    @property
    def first_line(self) -> str:
        """The first line of the reason."""
        return self.reason.partition("\n")[0]


@dataclass(frozen=True)
class FleetReport:
    """
    What became of all datasets of a fleet.

    :param datasets: The datasets, in the order of the file.
    """

    datasets: tuple[DatasetEnding, ...]

    @property
    def missing(self) -> tuple[DatasetEnding, ...]:
        """The datasets that are not onboarded, and have no run in progress."""
        return tuple(
            each for each in self.datasets if not each.ending.is_good and each.ending is not Ending.IN_PROGRESS
        )

    @property
    def n_in_progress(self) -> int:
        """How many datasets have a run that this DAG run did not start, and that has not ended yet."""
        return sum(dataset.ending is Ending.IN_PROGRESS for dataset in self.datasets)

    @property
    def n_onboarded(self) -> int:
        """How many datasets are onboarded, by this DAG run or an earlier one."""
        return sum(dataset.ending.is_good for dataset in self.datasets)

    def summary(self) -> str:
        """Return the result in one sentence."""
        counted = Counter(dataset.ending for dataset in self.datasets)
        details = ", ".join(f"{counted[ending]} {ending}" for ending in Ending if counted[ending])
        return f"{self.n_onboarded} of {len(self.datasets)} datasets are onboarded ({details})."

    def table(self) -> str:
        """Return a line for each dataset, and below the whole reason of each that is not onboarded."""
        cells = [("dataset", "owner", "result", "task", "why")]
        for dataset in self.datasets:
            name, owner = (shown(text or "-", longest=_LONGEST_CELL) for text in (dataset.name, dataset.owner))
            cells.append((name, owner, dataset.ending, dataset.task_id or "-", shown(dataset.first_line or "-")))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
        ]
        for dataset in self.missing:
            lines += ["", f"{shown(dataset.name)}:", textwrap.indent(dataset.reason, "  ")]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON types, for XCom."""
        return {
            "n_onboarded": self.n_onboarded,
            "n_in_progress": self.n_in_progress,
            "datasets": [
                asdict(dataset) | {"ending": str(dataset.ending), "onboarded": dataset.ending.is_good}
                for dataset in self.datasets
            ],
        }

    def raise_if_incomplete(self) -> None:
        """
        Fail the task that reports, so that the DAG run is failed. A run in progress is no failure.

        :raises LightlyError: A dataset is not onboarded, and has no run in progress.
        """
        if not self.missing:
            return
        lines = [
            f"{shown(dataset.name, longest=_LONGEST_CELL)}: {shown(dataset.first_line, longest=_LONGEST_NAMED)}"
            for dataset in self.missing[:_MOST_NAMED]
        ]
        if more := len(self.missing) - len(lines):
            lines.append(f"and {more} more")
        others = f", and {self.n_in_progress} in progress" if self.n_in_progress else ""
        raise LightlyError(
            explained(
                f"{len(self.missing)} of {len(self.datasets)} datasets are not onboarded{others}.",
                to_do=[
                    "The log of this task has a table with each cause and fix. Correct them, and trigger the DAG "
                    "again; it starts only what failed or changed."
                ],
                where=lines,
            )
        )


def in_parts(fleet: Fleet, plan: FleetPlan, *, n_parts: int, most: int) -> dict[str, Any]:
    """
    Return what a DAG does by a plan, in JSON types.

    :param fleet: The fleet.
    :param plan: Its plan.
    :param n_parts: How many mapped task groups the DAG has.
    :param most: How many datasets one of them may be mapped over.
    :return: ``datasets``, each with ``name``, ``owner``, ``action``, ``in_progress`` and ``reason``; and ``parts``: for
        each group the arguments of the datasets that it onboards.
    :raises ValueError: There is more to do than the groups can take.
    """
    plans = {dataset.name: dataset for dataset in plan.datasets}
    to_do = []
    for dataset in fleet.datasets:
        of_plan = plans[dataset.name]
        if of_plan.action in STARTED:
            # Without a selection, the task that would start a run is skipped.
            started = dataset.model_copy(update={"selection": None}) if of_plan.in_progress else dataset
            to_do.append(started.onboard_arguments() | {"reset_processed_until": of_plan.reset_processed_until})
    if len(to_do) > n_parts * most:
        raise ValueError(
            f"{len(to_do)} datasets need something, and {n_parts} task groups of at most {most} instances each ([core] "
            f"max_map_length) can onboard {n_parts * most}; let the DAG have more of these groups, or raise the option."
        )
    return {
        "datasets": [
            {
                "name": dataset.name,
                "owner": dataset.owner,
                "action": str(dataset.action),
                "in_progress": dataset.in_progress,
                "reason": "\n".join(filter(None, (dataset.reason, dataset.fix))),
            }
            for dataset in plan.datasets
        ],
        "parts": [to_do[number * most : (number + 1) * most] for number in range(n_parts)],
    }


def keep_failure(context: Context) -> None:
    """
    Push the reason of a failure as an XCom, for the task that reports; an ``on_failure_callback``.

    The message of an error of this provider, or of a refused argument, is kept whole, without what Airflow masks and
    without logins. Of any other error only the class is kept; its message is in the task's log.

    :param context: The context of the task that failed.
    """
    values: Any = context
    ti = values["ti"]
    ti.xcom_push(key=FAILURE, value={"map_index": ti.map_index, "reason": _reason_of(values.get("exception"))})


def _reason_of(error: object) -> str:
    # On Airflow before 3.3, an error that no retry can cure is the cause of an AirflowFailException.
    cause = getattr(error, "__cause__", None)
    if type(error).__name__ == "AirflowFailException" and cause is not None:
        error = cause
    if not isinstance(error, BaseException):  # Airflow ended it
        return "It was ended from outside; the log of the task may say more."
    if not isinstance(error, LightlyError) and not is_own(error):
        return f"{type(error).__name__}; the log of the task says more."
    text = without_logins(without_secret_parameters(storable(masked(str(error))))) or type(error).__name__
    whole = "\n".join(shown_json(line) for line in text.splitlines())
    return whole if len(whole) <= _LONGEST_REASON else f"{whole[:_LONGEST_REASON]}…"


def report_on(planned: Mapping[str, Any] | None, group_ids: Sequence[str], context: Context) -> FleetReport:
    """
    Read what became of each dataset, from Airflow's own states and from what failed tasks left.

    :param planned: What :func:`in_parts` returned. None: the task that plans has failed.
    :param group_ids: The mapped task group of each part.
    :param context: The context of the task that reports.
    :raises LightlyError: The fleet was not planned.
    """
    if planned is None:
        raise LightlyError("The fleet was not planned, so nothing was started; the log of the task before says why.")
    values: Any = context
    ti, tasks = values["ti"], values["dag"].tasks
    groups = {
        group_id: [
            task.task_id
            for task in tasks
            if (group := task.get_closest_mapped_task_group()) and group.group_id == group_id
        ]
        for group_id in group_ids
    }
    task_ids = [task_id for of_group in groups.values() for task_id in of_group]
    states = states_of_tasks(dag_id=ti.dag_id, run_id=ti.run_id, task_ids=task_ids)
    failed = dict.fromkeys(task_id for (task_id, _), state in states.items() if state == "failed")
    reasons = {
        (task_id, int(kept["map_index"])): str(kept["reason"])
        for task_id in failed
        for kept in _all_of(ti.xcom_pull(task_ids=task_id, key=FAILURE))
    }
    runs = [task_id for task_id in task_ids if task_id.rpartition(".")[2] == RUN]
    results = [result for task_id in runs for result in _all_of(ti.xcom_pull(task_ids=task_id))]
    nothing = {result["dataset_name"] for result in results if result.get("n_selected") == 0}
    return report_of(planned, groups, states, reasons, nothing)


def _all_of(pulled: Any) -> list[Any]:
    """What all indexes of a task pushed. Airflow 3 returns the value of the only one instead of a list of it."""
    return [pulled] if isinstance(pulled, dict) else [kept for kept in pulled or () if kept is not None]


def report_of(
    planned: Mapping[str, Any],
    groups: Mapping[str, Sequence[str]],
    states: Mapping[tuple[str, int], str | None],
    reasons: Mapping[tuple[str, int], str],
    selected_nothing: Collection[str] = (),
) -> FleetReport:
    """
    Decide what became of each dataset. Pure.

    :param planned: What :func:`in_parts` returned.
    :param groups: The tasks of each part's group, in their order.
    :param states: The state of each task by its id and index.
    :param reasons: Why a task failed, by its id and index.
    :param selected_nothing: The names of the datasets whose run selected nothing. Default: none.
    """
    places = {
        arguments["dataset_name"]: (task_ids, map_index)
        for part, task_ids in zip(planned["parts"], groups.values(), strict=True)
        for map_index, arguments in enumerate(part)
    }
    endings = []
    for dataset in planned["datasets"]:
        common = {"name": dataset["name"], "owner": dataset["owner"]}
        if dataset["name"] in places:
            task_ids, map_index = places[dataset["name"]]
            of_dataset = {task_id: states.get((task_id, map_index)) for task_id in task_ids}
            what = _ending_of(of_dataset, map_index, reasons)
            if what["ending"] is Ending.ONBOARDED and dataset.get("in_progress"):
                what = {"ending": Ending.IN_PROGRESS, "reason": f"Updated: {dataset['reason']}"}
            elif what["ending"] is Ending.ONBOARDED and dataset["name"] in selected_nothing:
                what["reason"] = "The run selected nothing: no file was new, or none fitted the selection."
            endings.append(DatasetEnding(**common, **what))
        elif dataset["action"] == Ending.UNCHANGED:
            # An earlier version's plan does not say whether a run is in progress.
            ending = Ending.IN_PROGRESS if dataset.get("in_progress") else Ending.UNCHANGED
            endings.append(DatasetEnding(**common, ending=ending, reason=dataset["reason"]))
        else:
            reason = dataset["reason"] or "The plan has no reason."
            endings.append(DatasetEnding(**common, ending=Ending.CANNOT_WORK, reason=reason))
    return FleetReport(tuple(endings))


def _ending_of(
    states: Mapping[str, str | None], map_index: int, reasons: Mapping[tuple[str, int], str]
) -> dict[str, Any]:
    """What became of a dataset whose tasks were to be started."""
    not_good = {task_id: state for task_id, state in states.items() if state not in _GOOD}
    if not not_good and "success" in states.values():
        return {"ending": Ending.ONBOARDED}
    # The tasks after one that failed are upstream_failed.
    task_id = next((task_id for task_id, state in not_good.items() if state == "failed"), next(iter(not_good), None))
    if task_id is None or not_good[task_id] is None:
        reason = "No task of it was started; the log of the task before says why."
    elif not_good[task_id] != "failed":
        reason = f"Task {task_id} ended as {not_good[task_id]}; look in Airflow for what stopped it."
    else:
        unknown = "It was killed, or marked as failed, and left no reason; its log may have one."
        reason = reasons.get((task_id, map_index), unknown)
    return {"ending": Ending.FAILED, "reason": reason, "task_id": task_id, "map_index": map_index}
