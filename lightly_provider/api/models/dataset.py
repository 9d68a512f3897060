"""Datasets, tags and the account's quota."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from lightly_provider.api.models.wire import Answer, Request
from lightly_provider.contract import DATASET_NAME_PATTERN, DatasetType

DatasetName = Annotated[str, StringConstraints(min_length=3, pattern=DATASET_NAME_PATTERN)]


class DatasetCreateRequest(Request):
    """Body of ``create_dataset``."""

    name: DatasetName
    type: DatasetType
    creator: Literal["USER_PIP"] = "USER_PIP"


class Dataset(Answer):
    """A dataset as the platform describes it."""

    id: str
    name: str
    user_id: str = ""
    type: str
    n_samples: int = 0
    datasources: list[str] = []


class Tag(Answer):
    """A tag: a named subset of a dataset's samples."""

    id: str
    dataset_id: str
    name: str
    bit_mask_data: str
    tot_size: int = 0
    created_at: int = 0
    run_id: str | None = None

    @property
    def n_selected(self) -> int:
        """Number of samples in the tag: one bit each (lightly 1.5.26, models/tag_data.py)."""
        return int(self.bit_mask_data, 16).bit_count()
