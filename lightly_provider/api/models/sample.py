"""Samples: images, frames of videos, crops of objects."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field

from lightly_provider.api.models.wire import Answer, Count, EntityId, Name, Word

# A key of S3 has at most 1024 bytes, to which an address adds its bucket.
FileName = Annotated[str, Field(min_length=1, max_length=2000)]


class VideoFrameData(Answer):
    """Where in which video a frame is: its number counts from 0, its time is in seconds."""

    source_video: FileName | None = None
    source_video_frame_index: float | None = None
    source_video_frame_timestamp: float | None = None


class CropData(Answer):
    """Of which prediction in which sample a crop is."""

    parent_id: EntityId
    prediction_index: Count
    prediction_task_name: Name = ""


class Sample(Answer):
    """A sample as the platform returns it."""

    id: EntityId
    type: Word
    file_name: FileName
    video_frame_data: VideoFrameData | None = None
    crop_data: CropData | None = None


class LabelStudioTaskData(Answer):
    """What a task of Label Studio shows."""

    image: FileName
    lightly_meta_info: Sample | None = None


class LabelStudioTask(Answer):
    """A sample as a task of Label Studio."""

    data: LabelStudioTaskData


class LocatedSample(NamedTuple):
    """
    All that the platform knows of a sample, and where it says that its file is.

    :param sample: The sample.
    :param address: The address in the cloud.
    """

    sample: Sample
    address: str
