"""Datasets, whom they are shared with, and tags."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import StringConstraints

from lightly_provider.api.models.wire import Answer, Count, EntityId, Name, Request, Word
from lightly_provider.contract import (
    BIT_MASK_PATTERN,
    DATASET_NAME_PATTERN,
    SHORTEST_NAME,
    TAG_NAME_PATTERN,
    Creator,
    DatasetType,
    SharedAccessType,
)

DatasetName = Annotated[str, StringConstraints(min_length=SHORTEST_NAME, pattern=DATASET_NAME_PATTERN)]
TagName = Annotated[str, StringConstraints(min_length=SHORTEST_NAME, pattern=TAG_NAME_PATTERN)]
BitMask = Annotated[str, StringConstraints(pattern=BIT_MASK_PATTERN)]


class DatasetCreateRequest(Request):
    """Body of ``create_dataset``."""

    name: DatasetName
    type: DatasetType
    creator: Literal[Creator.USER_PIP] = Creator.USER_PIP


class Dataset(Answer):
    """A dataset as the platform returns it."""

    id: EntityId
    name: Name
    user_id: Word = ""
    type: Word
    n_samples: Count = 0
    datasources: list[Name] = []
    parent_dataset_id: EntityId | None = None
    created_at: Count = 0  # milliseconds since the epoch


class SharedAccessRequest(Request):
    """Body of ``create_or_update_shared_access_config_by_dataset_id``, which replaces both lists."""

    access_type: SharedAccessType
    users: list[str]
    teams: list[str]
    creator: Literal[Creator.USER_PIP] = Creator.USER_PIP


class SharedAccess(Answer):
    """Whom a dataset is shared with, for one kind of access: email addresses of users, and teams."""

    access_type: Word
    users: list[Name]
    teams: list[Name]


class TagCreateRequest(Request):
    """Body of ``create_tag_by_dataset_id``."""

    name: TagName
    prev_tag_id: EntityId
    bit_mask_data: BitMask
    tot_size: int
    creator: Literal[Creator.USER_PIP] = Creator.USER_PIP


class Tag(Answer):
    """A tag: a named subset of a dataset's samples."""

    id: EntityId
    dataset_id: EntityId
    name: Name
    # None: the dataset's first tag, which has all of its samples.
    prev_tag_id: EntityId | None = None
    bit_mask_data: BitMask
    tot_size: Count = 0
    created_at: int = 0
    run_id: EntityId | None = None

    @cached_property
    def bits(self) -> int:
        """The tag's samples: bit k is the dataset's sample k (lightly 1.5.26, api/api_workflow_tags.py)."""
        return int(self.bit_mask_data, 16)

    @property
    def n_selected(self) -> int:
        """Number of samples in the tag, each of which is one bit (lightly 1.5.26, models/tag_data.py)."""
        return self.bits.bit_count()
