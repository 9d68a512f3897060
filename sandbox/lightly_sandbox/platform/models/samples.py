"""Samples on the wire (lightly 1.5.26, models/sample_*.py)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from lightly_sandbox.contract.enums import SampleType
from lightly_sandbox.contract.wire import Amount, Count, Id, Number, Percent, Share, TaskName, Wire


class CropData(Wire):
    parent_id: Id
    prediction_uuid_timestamp: Count = Field(alias="predictionUUIDTimestamp")
    prediction_index: Count
    prediction_task_name: TaskName
    prediction_task_category_id: Count
    prediction_task_score: Share


class VideoFrameData(Wire):
    source_video: str | None = None
    source_video_frame_index: Number | None = None
    source_video_frame_timestamp: Number | None = None


class SampleMetaData(Wire):
    NULLABLE: ClassVar[frozenset[str]] = frozenset({"custom", "dynamic"})

    custom: dict[str, Any] | None = None
    dynamic: dict[str, Any] | None = None
    sharpness: Amount | None = None
    luminance: Percent | None = None
    size_in_bytes: Count | None = None
    snr: Amount | None = None
    uniform_row_ratio: Share | None = None
    mean: Annotated[list[Share], Field(min_length=3, max_length=3)] | None = None
    shape: Annotated[list[Count], Field(min_length=3, max_length=3)] | None = None
    std: Annotated[list[Amount], Field(min_length=3, max_length=3)] | None = None
    sum_of_squares: Annotated[list[Amount], Field(min_length=3, max_length=3)] | None = None
    sum_of_values: Annotated[list[Amount], Field(min_length=3, max_length=3)] | None = None


class SampleCreateRequest(Wire):
    NULLABLE: ClassVar[frozenset[str]] = frozenset({"cropData", "customMetaData", "videoFrameData"})

    file_name: str
    thumb_name: str | None = None
    exif: dict[str, Any] | None = None
    meta_data: SampleMetaData | None = None
    custom_meta_data: dict[str, Any] | None = None
    video_frame_data: VideoFrameData | None = None
    crop_data: CropData | None = None


class SampleUpdateRequest(Wire):
    NULLABLE: ClassVar[frozenset[str]] = frozenset({"customMetaData"})

    file_name: str | None = None
    thumb_name: str | None = None
    exif: dict[str, Any] | None = None
    meta_data: SampleMetaData | None = None
    custom_meta_data: dict[str, Any] | None = None


_NULLABLE = frozenset({"cropData", "customMetaData", "exif", "thumbName", "videoFrameData"})


class SampleData(Wire):
    NULLABLE: ClassVar[frozenset[str]] = _NULLABLE

    id: Id
    type: SampleType
    dataset_id: Id | None = None
    file_name: str
    thumb_name: str | None = None
    exif: dict[str, Any] | None = None
    index: int | None = None
    created_at: Count | None = None
    last_modified_at: Count | None = None
    meta_data: SampleMetaData | None = None
    custom_meta_data: dict[str, Any] | None = None
    video_frame_data: VideoFrameData | None = None
    crop_data: CropData | None = None


class SampleDataModes(Wire):
    NULLABLE: ClassVar[frozenset[str]] = _NULLABLE

    id: Id
    type: SampleType | None = None
    dataset_id: Id | None = None
    file_name: str | None = None
    thumb_name: str | None = None
    exif: dict[str, Any] | None = None
    index: int | None = None
    created_at: Count | None = None
    last_modified_at: Count | None = None
    meta_data: SampleMetaData | None = None
    custom_meta_data: dict[str, Any] | None = None
    video_frame_data: VideoFrameData | None = None
    crop_data: CropData | None = None


class SampleWriteUrls(Wire):
    full: str
    thumb: str


class CreateSampleWithWriteUrlsResponse(Wire):
    id: Id
    sample_write_urls: SampleWriteUrls
