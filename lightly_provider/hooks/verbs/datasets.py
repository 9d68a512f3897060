"""Verbs about datasets: find, create, list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlyConflictError, LightlyDatasetConflictError
from lightly_provider.hooks.connection import LightlyBaseHook

if TYPE_CHECKING:
    from lightly_provider.api.models.dataset import Dataset
    from lightly_provider.contract import DatasetType


@dataclass(frozen=True, kw_only=True)
class DatasetOutcome:
    """
    What find-or-create came to.

    :param dataset_id: The dataset's id.
    :param created: Whether it was created just now; False: it was there.
    """

    dataset_id: str
    created: bool


class DatasetVerbs(LightlyBaseHook):
    """What the hook does with datasets."""

    def find_dataset(self, name: str) -> Dataset | None:
        """
        The token's own dataset of exactly this name.

        :param name: Dataset name.
        :return: The dataset; None if there is none.
        :raises LightlyDatasetConflictError: Several match, and taking any could be wrong.
        """
        from lightly_provider.api import calls

        found = [dataset for dataset in self.client.send(calls.find_datasets(name)) if dataset.name == name]
        if len(found) > 1:
            ids = ", ".join(dataset.id for dataset in found)
            raise LightlyDatasetConflictError(
                f"{len(found)} datasets are called {name!r} ({ids}); rename all but one, or give this one another name."
            )
        return found[0] if found else None

    def get_or_create_dataset(self, name: str, dataset_type: DatasetType, *, reuse: bool = True) -> DatasetOutcome:
        """
        Find the dataset of this name, or create it.

        Safe against a lost answer and against two tasks at once: names are unique per owner on the platform, so a
        creation that is refused for its name means that the dataset is there.

        :param name: Dataset name.
        :param dataset_type: Images or Videos.
        :param reuse: Whether one that exists may serve. Default: True.
        :raises LightlyDatasetConflictError: One exists and may not serve, or has another type.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.models.dataset import DatasetCreateRequest

        existing = self.find_dataset(name)
        if existing is None:
            try:
                request = DatasetCreateRequest(name=name, type=dataset_type)
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
        if existing.type != dataset_type:
            raise LightlyDatasetConflictError(
                f"Dataset {name!r} (id {existing.id}) exists with type {existing.type}, and {dataset_type} is wanted; "
                "a dataset's type cannot be changed, so choose another dataset_name or delete it."
            )
        return DatasetOutcome(dataset_id=existing.id, created=False)

    def get_dataset(self, dataset_id: str) -> Dataset:
        """A dataset by id."""
        from lightly_provider.api import calls

        return self.client.send(calls.get_dataset(dataset_id))

    def get_datasets(self) -> list[Dataset]:
        """All of the token's own datasets, oldest first."""
        from lightly_provider.api import calls

        datasets: list[Dataset] = []
        while True:
            page = self.client.send(calls.list_datasets(page_size=calls.PAGE_SIZE, page_offset=len(datasets)))
            datasets += page
            if len(page) < calls.PAGE_SIZE:
                return sorted(datasets, key=lambda dataset: dataset.id)
