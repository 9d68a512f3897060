"""
Which runs have ended since the last look, whoever scheduled them. Pure: no network, Airflow or clock.

The platform has no list of ended runs, states no time at which a run ended, and does not document the order of its
lists. So nothing here depends on the order, or on ``lastModifiedAt``: a cursor remembers by id which runs were handed
on, and which had not ended. To keep it small, it does so only for runs above a horizon, the time of a run's creation,
which never changes; below the horizon, it remembers only the runs that had not ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lightly_provider.api import calls
from lightly_provider.contract import RunState
from lightly_provider.exceptions import LightlyResponseError
from lightly_provider.stored_forms import NEWEST, check_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lightly_provider.api.calls import Call
    from lightly_provider.api.models.run import Run

# A run that one look does not see, because the platform lists it late, is seen by another one within this time.
_OVERLAP_MS = 24 * 3600 * 1000
# At their maximum, the stored cursor has less than 64 KB, which Airflow's asset state store holds (airflow 3.3.2,
# `[state_store] max_value_storage_bytes`).
MOST_PER_LOOK = 500
_MOST_DONE, _MOST_OPEN = 600, 500
_PAGE_SIZE = 200
# So many runs are on two pages: if runs leave the list while it is read, those behind them are still seen.
_PAGE_OVERLAP = 20
_MOST_RESTARTS = 5
_MOST_SINGLE_LOOKS = 20


def is_over(run: Run) -> bool:
    """Return whether a run has ended; one in an unknown state has not."""
    state = RunState.parse(run.state)
    return state is not None and state.is_terminal


class Look:
    """
    Reads the runs that a cursor must know of, from as few pages of the platform's lists as possible.

    Send each :meth:`next_call`, and pass its response to :meth:`take`, or a 404 to :meth:`take_missing`.

    :param cursor: What the last look left; None: this is the first one, which reads all pages.
    :param dataset_ids: Only the runs on these datasets. Empty (default): on all datasets.
    :param include_team: Also the runs of the team's other members. Default: False.
    """

    def __init__(self, cursor: Cursor | None, *, dataset_ids: Sequence[str] = (), include_team: bool = False) -> None:
        self.runs: dict[str, Run] = {}
        self.gone: set[str] = set()
        self.missing_datasets: list[str] = []
        self._cursor = cursor
        self._include_team = include_team
        self._page_size = calls.PAGE_SIZE if cursor is None else _PAGE_SIZE
        # None is the account's list.
        self._lists: list[str | None] = list(dict.fromkeys(dataset_ids)) or [None]
        self._unseen: list[str] | None = None
        self._n_restarts = 0
        self._begin_list()

    def next_call(self) -> Call[Any] | None:
        """Return the next call to send; None: all is read."""
        if self._lists:
            page: dict[str, Any] = {"page_size": self._page_size, "page_offset": self._offset}
            dataset_id = self._lists[0]
            if dataset_id is None:
                return calls.list_runs(include_team=self._include_team, **page)
            return calls.list_runs_of_dataset(dataset_id, include_team=self._include_team, **page)
        if self._unseen is None:
            self._unseen = sorted(self._missing_open())[:_MOST_SINGLE_LOOKS]
        return calls.get_run(self._unseen[0]) if self._unseen else None

    def take(self, response: Any) -> None:
        """Read the response to the last call: a page of a list, or a run."""
        if self._lists:
            self._take_page(response)
        elif self._unseen:
            del self._unseen[0]
            self._take_runs([response])

    def take_missing(self) -> None:
        """Note that the last call's dataset or run does not exist any more."""
        if self._lists:
            self.missing_datasets.append(str(self._lists[0]))
            self._end_list()
        elif self._unseen:
            self.gone.add(self._unseen.pop(0))

    def _begin_list(self) -> None:
        self._offset = 0
        self._previous: frozenset[str] = frozenset()
        self._is_newest_first = True
        self._last_created: int | None = None

    def _end_list(self) -> None:
        del self._lists[0]
        self._begin_list()

    def _take_page(self, page: Sequence[Run]) -> None:
        ids = frozenset(run.id for run in page)
        if self._offset and self._previous.isdisjoint(ids):
            self._restart()
            return
        new = [run for run in page if run.id not in self._previous]
        self._take_runs(page)
        for run in new:
            if self._last_created is not None and run.created_at > self._last_created:
                self._is_newest_first = False
            self._last_created = run.created_at
        if len(page) < self._page_size or self._has_enough():
            self._end_list()
        elif not new:
            raise LightlyResponseError(
                f"The platform repeats the same page of runs from {self._offset} on, so the list cannot be completed.",
                operation="get_docker_runs",
            )
        else:
            self._previous = ids
            self._offset += self._page_size - _PAGE_OVERLAP

    def _restart(self) -> None:
        # More runs have left the list than two pages share, so some may be missing.
        self._n_restarts += 1
        if self._n_restarts > _MOST_RESTARTS:
            raise LightlyResponseError(
                f"The list of runs changed while it was read, {self._n_restarts} times in a row; nothing was handed "
                "on. The next look tries it again.",
                operation="get_docker_runs",
            )
        self._begin_list()

    def _take_runs(self, runs: Iterable[Run]) -> None:
        for run in runs:
            if run.created_at <= 0:
                raise LightlyResponseError(
                    f"The platform lists run {run.id} without the time of its creation (createdAt), so it is not "
                    "known whether it was handed on; nothing was. Report this to Lightly.",
                    operation="get_docker_runs",
                )
            self.runs[run.id] = run

    def _has_enough(self) -> bool:
        # The order is undocumented, so it is checked: if all pages so far have the newest runs first, the next ones
        # are older still. Runs that had not ended are looked up individually.
        return (
            self._cursor is not None
            and self._is_newest_first
            and self._last_created is not None
            and self._last_created < self._cursor.horizon_ms
            and len(self._missing_open()) <= _MOST_SINGLE_LOOKS
        )

    def _missing_open(self) -> frozenset[str]:
        return frozenset() if self._cursor is None else self._cursor.open - self.runs.keys()


@dataclass(frozen=True, kw_only=True)
class Ended:
    """
    What a look found.

    :param new: The runs that ended since the last look, the oldest first.
    :param again: The runs that the same owner handed on before.
    :param n_left: How many more have ended, which the next look hands on.
    :param n_forgotten: How many runs that did not end for long are not watched any more.
    """

    new: Sequence[Run]
    again: Sequence[Run] = ()
    n_left: int = 0
    n_forgotten: int = 0


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """
    Which runs were handed on.

    :param horizon_ms: Of the runs created before this time, in milliseconds since the epoch, all were handed on or
        ignored but those in ``open``; of the later ones, only those in ``done``.
    :param newest_ms: When the newest run that the last look saw was created.
    :param open: Ids of the runs created before the horizon that had not ended, or not been handed on.
    :param done: The later runs that were handed on: the time of each one's creation by its id, by the digest of the
        owner that handed it on.
    :param new: Ids of the runs that the last look handed on.
    :param owner: The task instance of the last look.
    :param looked_at: When that was, in seconds since the epoch.
    :param returned: What stands for the runs that this task returned; None: an earlier version did not store it.
    """

    horizon_ms: int
    newest_ms: int = 0
    open: frozenset[str] = frozenset()
    done: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    new: Sequence[str] = ()
    owner: Mapping[str, Any] = field(default_factory=dict)
    looked_at: int = 0
    returned: str | None = None

    @classmethod
    def first(cls, look: Look, *, since_ms: int | None, now_ms: int) -> Cursor:
        """
        Return the cursor that a first look begins with.

        :param look: What it read.
        :param since_ms: Hand on the runs that have ended and changed since this time, in milliseconds since the epoch;
            None: those that end later than this look.
        :param now_ms: The time, likewise.
        """
        runs = look.runs.values()
        if since_ms is not None:
            of_interest = (run for run in runs if not is_over(run) or run.last_modified_at >= since_ms)
            return cls(horizon_ms=since_ms, open=frozenset(run.id for run in of_interest if run.created_at < since_ms))
        horizon = min(max((run.created_at for run in runs), default=0), now_ms) + 1
        return cls(
            horizon_ms=horizon,
            open=frozenset(run.id for run in runs if run.created_at < horizon and not is_over(run)),
            # The platform's clock may be ahead.
            done={"": {run.id: run.created_at for run in runs if run.created_at >= horizon and is_over(run)}},
        )

    def taken_back(self) -> Cursor:
        """Return the cursor as if the last look had not handed anything on."""
        new = frozenset(self.new)
        done = {
            digest: {run_id: created for run_id, created in runs.items() if run_id not in new}
            for digest, runs in self.done.items()
        }
        return replace(self, open=self.open | new, done=done, new=())

    def after(
        self, look: Look, *, owner: Mapping[str, Any], digest: str, now_ms: int, most: int = MOST_PER_LOOK
    ) -> tuple[Cursor, Ended]:
        """
        Return the cursor after a look, and what the look found.

        :param look: What it read.
        :param owner: The task instance of this look.
        :param digest: A short text that stands for it.
        :param now_ms: The time, in milliseconds since the epoch.
        :param most: Hand on at most so many runs; the oldest ones first. Default: 500.
        """
        done = {run_id: (created, by) for by, runs in self.done.items() for run_id, created in runs.items()}
        unhandled = sorted(
            (run for run in look.runs.values() if not self._is_handled(run, done)),
            key=lambda run: (run.created_at, run.id),
        )
        ended = [run for run in unhandled if is_over(run)]
        new, left = ended[:most], ended[most:]
        again = [look.runs[run_id] for run_id in self.done.get(digest, {}) if run_id in look.runs]
        newest = max(self.newest_ms, min(max((run.created_at for run in look.runs.values()), default=0), now_ms))
        # Two looks at least must have seen the time between, and what is left stays above, where it needs no memory.
        horizon = min([self.newest_ms, newest - _OVERLAP_MS, *(run.created_at for run in left)])
        horizon = max(self.horizon_ms, horizon)
        done |= {run.id: (run.created_at, digest) for run in new}
        kept = sorted(
            ((created, run_id, by) for run_id, (created, by) in done.items() if created >= horizon), reverse=True
        )
        if len(kept) > _MOST_DONE:
            kept = kept[:_MOST_DONE]
            horizon = kept[-1][0]
        handed = {run.id for run in new}
        below = [run for run in unhandled if run.created_at < horizon and run.id not in handed]
        # The newest ones: what did not end for long will not end.
        working = [run.id for run in below if not is_over(run)]
        watched = working[-_MOST_OPEN:]
        unseen = self.open - look.runs.keys() - look.gone
        by_digest: dict[str, dict[str, int]] = {}
        for created, run_id, by in kept:
            by_digest.setdefault(by, {})[run_id] = created
        cursor = Cursor(
            horizon_ms=horizon,
            newest_ms=newest,
            open=frozenset([*watched, *(run.id for run in below if is_over(run)), *unseen]),
            done=by_digest,
            new=[run.id for run in new],
            owner=owner,
            looked_at=now_ms // 1000,
        )
        found = Ended(new=new, again=again, n_left=len(left), n_forgotten=len(working) - len(watched))
        return cursor, found

    def _is_handled(self, run: Run, done: Mapping[str, Any]) -> bool:
        return run.id in done or (run.created_at < self.horizon_ms and run.id not in self.open)

    @classmethod
    def from_json(cls, stored: Any) -> Cursor:
        """
        Read a stored cursor.

        :param stored: What :meth:`to_json` returned.
        :raises LightlyStoredFormError: A newer version of the provider stored it.
        :raises ValueError: It is not a stored cursor.
        """
        if not isinstance(stored, dict):
            raise ValueError("it is not a JSON object")
        check_version(stored, what="The cursor of ended runs")
        try:
            return cls(
                horizon_ms=int(stored["horizon_ms"]),
                newest_ms=int(stored["newest_ms"]),
                open=frozenset(map(str, stored["open"])),
                done={
                    str(digest): {str(run_id): int(created) for run_id, created in runs.items()}
                    for digest, runs in stored["done"].items()
                },
                new=[str(run_id) for run_id in stored["new"]],
                owner=dict(stored["owner"]),
                looked_at=int(stored["looked_at"]),
                returned=None if stored.get("returned") is None else str(stored["returned"]),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"its member {error} is missing or invalid") from None

    def to_json(self) -> dict[str, Any]:
        """Return the cursor as JSON types."""
        return {
            "version": NEWEST,
            "horizon_ms": self.horizon_ms,
            "newest_ms": self.newest_ms,
            "open": sorted(self.open),
            "done": {digest: dict(runs) for digest, runs in self.done.items()},
            "new": list(self.new),
            "owner": dict(self.owner),
            "looked_at": self.looked_at,
            "returned": self.returned,
        }
