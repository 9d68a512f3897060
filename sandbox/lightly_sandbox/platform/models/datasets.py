"""Datasets on the wire (lightly 1.5.26, models/dataset_*.py)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lightly_sandbox.contract.enums import DatasetCreator, DatasetType, ImageType, SharedAccessType
from lightly_sandbox.contract.wire import Count, Id, Name, Wire


class DatasetCreateRequest(Wire):
    name: Name
    type: DatasetType | None = None
    img_type: ImageType | None = None
    creator: DatasetCreator | None = None
    parent_dataset_id: Id | None = None


class DatasetUpdateRequest(Wire):
    name: Name


class DatasetData(Wire):
    id: Id
    name: Name
    user_id: str
    access_type: SharedAccessType | None = None
    type: DatasetType
    img_type: ImageType | None = None
    n_samples: int
    size_in_bytes: int
    meta_data_configuration_id: Id | None = None
    datasources: list[str] | None = None
    created_at: Count
    last_modified_at: Count
    datasource_processed_until_timestamp: Count | None = None
    access_role: Annotated[str, Field(pattern=r"^0b[01]{6}$")] | None = None
    parent_dataset_id: Id | None = None
    original_dataset_id: Id | None = None


class DatasetDataEnriched(Wire):
    id: Id
    name: Name
    user_id: str
    access_type: SharedAccessType | None = None
    type: DatasetType
    img_type: ImageType | None = None
    n_samples: int
    size_in_bytes: int
    created_at: Count
    last_modified_at: Count
    meta_data_configuration_id: Id | None = None
    access_role: Annotated[str, Field(pattern=r"^0b[01]{6}$")] | None = None
    datasources: list[str] | None = None
    parent_dataset_id: Id | None = None
    original_dataset_id: Id | None = None
    samples: list[str]
    n_tags: int
    n_embeddings: int
