"""Hook methods for datasets: find, create, list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.contract import DatasetType, value_of
from lightly_provider.exceptions import LightlyConflictError, LightlyDatasetConflictError, LightlyResponseError
from lightly_provider.foreign_text import shown
from lightly_provider.hooks.connection import LightlyBaseHook
from lightly_provider.hooks.lineage import dataset_asset, report_lineage

if TYPE_CHECKING:
    from lightly_provider.api.models.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class DatasetOutcome:
    """
    The result of :meth:`DatasetVerbs.get_or_create_dataset`.

    :param dataset_id: Id of the dataset.
    :param created: Whether the call created it; False: it existed.
    """

    dataset_id: str
    created: bool


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
        self, name: str, dataset_type: DatasetType | str, *, reuse: bool = True
    ) -> DatasetOutcome:
        """
        Find the dataset with this name, or create it.

        Safe if a response is lost and if two tasks run at once: names are unique per owner on the platform, so if
        creation fails with a name conflict, the dataset exists.

        :param name: Dataset name.
        :param dataset_type: ``Images`` or ``Videos``.
        :param reuse: Whether to reuse an existing dataset. Default: True.
        :raises LightlyDatasetConflictError: The dataset exists, and must not be reused or has another type.
        """
        outcome = self._find_or_create(name, dataset_type, reuse=reuse)
        report_lineage(self, wrote=dataset_asset(self, outcome.dataset_id))
        return outcome

    def _find_or_create(self, name: str, dataset_type: DatasetType | str, *, reuse: bool) -> DatasetOutcome:
        from lightly_provider.api import calls
        from lightly_provider.api.models.dataset import DatasetCreateRequest

        wanted = value_of(DatasetType, dataset_type, argument="dataset_type")
        existing = self.find_dataset(name)
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

    def get_dataset(self, dataset_id: str) -> Dataset:
        """Return a dataset by id."""
        from lightly_provider.api import calls

        return self.client.send(calls.get_dataset(dataset_id))

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
