"""A plan: what is to be done for each dataset of a fleet, and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_REASONS_SHOWN = 5
_NAMES_SHOWN = 3


class Action(StrEnum):
    """What is to be done for a dataset."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    CANNOT_WORK = "cannot work"


class Estimate(StrEnum):
    """How much of each input is listed from this machine to count its files."""

    NOTHING = "nothing"
    PAGE = "page"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class PlannedDataset:
    """
    What is to be done for a dataset.

    :param name: Its name.
    :param action: ``create``, ``update``, ``unchanged`` or ``cannot work``.
    :param reason: Why; one line.
    :param n_files: Number of files of its type in the input. None (default): not known.
    :param n_bytes: Size of all files in the input, in bytes. None (default): not known.
    :param is_complete: Whether all files were counted. Default: False, there may be more.
    :param owner: Who is responsible for it. None (default): nobody is named.
    :param dataset_id: Its id on the platform. None (default): it does not exist yet, or was not looked up.
    :param in_progress: Whether no run is to be started because one has not ended yet: ``unchanged`` waits for its end,
        and of ``update`` only the datasources are set. Default: False.
    :param reset_processed_until: The argument of this name of ``RunLightlyWorkerOperator``, so that the run reads all
        files. None (default): it reads the new ones.
    :param fix: What to do if it cannot work, on several lines, e.g. the statement to add to a policy. Default: nothing
        more than the reason says.
    """

    name: str
    action: Action
    reason: str
    n_files: int | None = None
    n_bytes: int | None = None
    is_complete: bool = False
    owner: str | None = None
    dataset_id: str | None = None
    in_progress: bool = False
    reset_processed_until: str | None = None
    fix: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {**asdict(self), "action": str(self.action)}


@dataclass(frozen=True, kw_only=True)
class FleetPlan:
    """
    What is to be done for a fleet.

    :param datasets: One for each dataset of the file, in its order.
    :param quota: Maximum number of samples of a dataset of this account, as the platform says it.
    :param notes: Sentences about the fleet as a whole. Default: none.
    """

    datasets: tuple[PlannedDataset, ...]
    quota: str
    notes: tuple[str, ...] = ()

    def of(self, *actions: str) -> list[PlannedDataset]:
        """Return the datasets with one of these actions."""
        return [each for each in self.datasets if each.action in actions]

    @property
    def to_do(self) -> list[PlannedDataset]:
        """The datasets to create or to update."""
        return self.of(Action.CREATE, Action.UPDATE)

    @property
    def cannot_work(self) -> list[PlannedDataset]:
        """The datasets that cannot work."""
        return self.of(Action.CANNOT_WORK)

    def summary(self) -> str:
        """Return the plan in a sentence, e.g. ``12 to create, 3 to update, 85 unchanged, 2 cannot work because …``."""
        counts = Counter(each.action for each in self.datasets)
        words = {Action.CREATE: "to create", Action.UPDATE: "to update", Action.UNCHANGED: "unchanged"}
        parts = [f"{counts[action]} {word}" for action, word in words.items() if counts[action]]
        if broken := self.cannot_work:
            parts.append(f"{len(broken)} cannot work because {_reasons(broken)}")
        return ", ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON types."""
        return {
            "summary": self.summary(),
            "quota": self.quota,
            "notes": list(self.notes),
            "datasets": [each.as_dict() for each in self.datasets],
        }


def few(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{', '.join(names[:_NAMES_SHOWN])}{more}"


def _reasons(broken: Sequence[PlannedDataset]) -> str:
    """Return the reasons with the datasets of each, the most frequent first."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for each in broken:
        names[each.reason.rstrip(".")].append(each.name)
    groups = sorted(names.items(), key=lambda group: -len(group[1]))
    texts = []
    for reason, named in groups[:_REASONS_SHOWN]:
        texts.append(f"{reason} ({few(named)})")
    if len(groups) > _REASONS_SHOWN:
        texts.append(f"{len(groups) - _REASONS_SHOWN} more reasons")
    return "; ".join(texts)
