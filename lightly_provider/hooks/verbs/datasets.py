"""Hook methods for datasets: find, create, list, share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.contract import DatasetType, SharedAccessType, value_of
from lightly_provider.exceptions import (
    LightlyConflictError,
    LightlyDatasetConflictError,
    LightlyNotFoundError,
    LightlyResponseError,
)
from lightly_provider.foreign_text import shown
from lightly_provider.hooks.connection import LightlyBaseHook
from lightly_provider.hooks.lineage import dataset_asset, report_lineage
from lightly_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lightly_provider.api.models.dataset import Dataset

# Somebody else may write the same list at the same time; more often than this in a row is no coincidence.
_MOST_WRITES_OF_A_LIST = 3


@dataclass(frozen=True, kw_only=True)
class DatasetOutcome:
    """
    The result of :meth:`DatasetVerbs.get_or_create_dataset`.

    :param dataset_id: Id of the dataset.
    :param created: Whether the call created it; False: it existed.
    """

    dataset_id: str
    created: bool


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """
    Whom a dataset is shared with, besides its owner.

    :param emails: Email addresses of users. Default: none.
    :param teams: Teams. Default: none.
    """

    emails: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()

    def plus(self, other: Sharing) -> Sharing:
        """Return this, and after it what only the other has. Upper and lower case count as the same."""
        return Sharing(emails=_joined(self.emails, other.emails), teams=_joined(self.teams, other.teams))

    def minus(self, other: Sharing) -> Sharing:
        """Return what the other does not have."""
        return Sharing(emails=_without(self.emails, other.emails), teams=_without(self.teams, other.teams))

    @property
    def is_nobody(self) -> bool:
        """Whether there is neither a user nor a team."""
        return not self.emails and not self.teams


def _joined(names: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    by_fold: dict[str, str] = {}
    for name in (*names, *more):
        by_fold.setdefault(name.casefold(), name)
    return tuple(by_fold.values())


def _without(names: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    folded = {name.casefold() for name in others}
    return tuple(name for name in names if name.casefold() not in folded)


@dataclass(frozen=True, kw_only=True)
class SharingOutcome:
    """
    The result of :meth:`DatasetVerbs.share_dataset`.

    :param now: Whom the dataset is shared with now.
    :param added: Who was not among them before.
    :param removed: Who is not among them any more.
    """

    now: Sharing
    added: Sharing
    removed: Sharing


class DatasetVerbs(LightlyBaseHook):
    """The hook's methods for datasets."""

    def find_dataset(self, name: str) -> Dataset | None:
        """
        Find the token's own dataset with exactly this name.

        :param name: Dataset name.
        :return: The dataset; None if there is none.
        :raises LightlyDatasetConflictError: Several datasets match, and choosing one could be wrong.
        """
        from lightly_provider.api import calls

        found = [dataset for dataset in self.client.send(calls.find_datasets(name)) if dataset.name == name]
        if len(found) > 1:
            ids = ", ".join(dataset.id for dataset in found)
            raise LightlyDatasetConflictError(
                f"{len(found)} datasets are called {name!r} ({ids}); rename all but one, or give this one another name."
            )
        return found[0] if found else None

    def get_or_create_dataset(
        self, name: str, dataset_type: DatasetType | str, *, reuse: bool = True, create: bool = True
    ) -> DatasetOutcome:
        """
        Find the dataset with this name, or create it.

        Safe if a response is lost and if two tasks run at once: names are unique per owner on the platform, so if
        creation fails with a name conflict, the dataset exists.

        :param name: Dataset name.
        :param dataset_type: ``Images`` or ``Videos``.
        :param reuse: Whether to reuse an existing dataset. Default: True.
        :param create: Whether to create a missing dataset. Default: True.
        :raises LightlyDatasetConflictError: The dataset exists, and must not be reused or has another type.
        :raises LightlyNotFoundError: It does not exist, and must not be created. The message has the nearest names.
        """
        outcome = self._find_or_create(name, dataset_type, reuse=reuse, create=create)
        report_lineage(self, wrote=dataset_asset(self, outcome.dataset_id))
        return outcome

    def _find_or_create(
        self, name: str, dataset_type: DatasetType | str, *, reuse: bool, create: bool
    ) -> DatasetOutcome:
        from lightly_provider.api import calls
        from lightly_provider.api.models.dataset import DatasetCreateRequest

        wanted = value_of(DatasetType, dataset_type, argument="dataset_type")
        existing = self.find_dataset(name)
        if existing is None and not create:
            raise self._no_dataset(name)
        if existing is None:
            try:
                request = DatasetCreateRequest(name=name, type=wanted)
                return DatasetOutcome(dataset_id=self.client.send(calls.create_dataset(request)), created=True)
            except LightlyConflictError:
                existing = self.find_dataset(name)
                if existing is None:
                    raise
        if not reuse:
            raise LightlyDatasetConflictError(
                f"Dataset {name!r} exists already (id {existing.id}), and if_exists is 'fail'; "
                "choose another dataset_name, delete it, or set if_exists='reuse'."
            )
        if existing.type != wanted:
            raise LightlyDatasetConflictError(
                f"Dataset {name!r} (id {existing.id}) exists with type {shown(existing.type)}, and {wanted} is wanted; "
                "a dataset's type cannot be changed, so choose another dataset_name or delete it."
            )
        return DatasetOutcome(dataset_id=existing.id, created=False)

    def _no_dataset(self, name: str) -> LightlyNotFoundError:
        names = (dataset.name for dataset in self.get_datasets())
        hint = did_you_mean(name, names, n=3, otherwise="check dataset_name, or set if_missing='create'.")
        return LightlyNotFoundError(
            f"There is no dataset {name!r} of this token's user, and if_missing is 'fail', so none was created; "
            + hint,
            operation="get_datasets_query_by_name",
        )

    def get_dataset(self, dataset_id: str, *, within: float | None = None) -> Dataset:
        """
        Return a dataset by id.

        :param dataset_id: Id of the dataset.
        :param within: Maximum time of the request, retries included, in seconds. None (default): no limit.
        :raises LightlyNotFoundError: There is no such dataset.
        """
        from lightly_provider.api import calls

        return self.client.send(calls.get_dataset(dataset_id), within=within)

    def get_datasets(self) -> list[Dataset]:
        """Return all of the token's own datasets, oldest first."""
        from lightly_provider.api import calls

        datasets: dict[str, Dataset] = {}
        offset = 0
        while True:
            call = calls.list_datasets(page_size=calls.PAGE_SIZE, page_offset=offset)
            page = self.client.send(call)
            offset += len(page)
            new = {dataset.id: dataset for dataset in page if dataset.id not in datasets}
            datasets |= new
            if len(page) < calls.PAGE_SIZE:
                return sorted(datasets.values(), key=lambda dataset: dataset.id)
            if not new:
                raise LightlyResponseError(
                    f"The platform repeats the same page of {call.operation} from {offset - len(page)} on, so the "
                    "list of datasets cannot be completed.",
                    operation=call.operation,
                )

    def get_sharing(self, dataset_id: str) -> Sharing:
        """
        Return whom a dataset is shared with.

        :param dataset_id: Id of the dataset.
        """
        from lightly_provider.api import calls

        sharing = Sharing()
        for access in self.client.send(calls.get_shared_access(dataset_id)):
            if access.access_type == SharedAccessType.WRITE:
                sharing = sharing.plus(Sharing(emails=tuple(access.users), teams=tuple(access.teams)))
        return sharing

    def share_dataset(
        self, dataset_id: str, *, emails: Sequence[str] = (), teams: Sequence[str] = (), replace: bool = False
    ) -> SharingOutcome:
        """
        Share a dataset with users and teams, and check that the platform lists them.

        The platform can only replace the whole list. Therefore the list is read first, and read again after it was
        written, because somebody else may have changed it at the same time.

        :param dataset_id: Id of the dataset.
        :param emails: Email addresses of users.
        :param teams: Teams.
        :param replace: Share with these only, and with nobody if there are none. Default: False, add these.
        :raises ValueError: Nobody is given, and ``replace`` is False.
        :raises LightlyResponseError: The platform accepted the list, and does not return it.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.models.dataset import SharedAccessRequest

        asked = Sharing().plus(Sharing(emails=tuple(emails), teams=tuple(teams)))
        if asked.is_nobody and not replace:
            raise ValueError("emails and teams are empty; give whom to share the dataset with.")
        before = present = self.get_sharing(dataset_id)
        writes = 0
        while True:
            missing, unwanted = asked.minus(present), present.minus(asked) if replace else Sharing()
            if missing.is_nobody and unwanted.is_nobody:
                return SharingOutcome(now=present, added=present.minus(before), removed=before.minus(present))
            if writes == _MOST_WRITES_OF_A_LIST:
                raise LightlyResponseError(
                    f"The platform accepted the sharing of dataset {dataset_id}, and "
                    f"{_differences(missing, unwanted)}; check that they have accounts, and that nothing else changes "
                    "the list at the same time.",
                    operation="create_or_update_shared_access_config_by_dataset_id",
                )
            wanted = asked if replace else present.plus(asked)
            request = SharedAccessRequest(
                access_type=SharedAccessType.WRITE, users=list(wanted.emails), teams=list(wanted.teams)
            )
            self.client.send(calls.set_shared_access(dataset_id, request))
            writes += 1
            present = self.get_sharing(dataset_id)


def _differences(missing: Sharing, unwanted: Sharing) -> str:
    parts = [
        f"{what} {', '.join(shown(name, longest=100) for name in names[:10])}"
        for what, names in (
            ("does not list", (*missing.emails, *missing.teams)),
            ("still lists", (*unwanted.emails, *unwanted.teams)),
        )
        if names
    ]
    return " and ".join(parts)
