"""
The samples of an export with addresses that lead somewhere: images, frames of videos, crops of objects.

An image is a file of the input, and has its address. A frame or a crop has a file only if the run saved it, so each is
looked for in the bucket. If it is missing, the sample is exported as the video or the image that it was cut from, with
its position there; if that is missing, too, the export is refused.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.location import S3Location
from lightly_provider.contract import Purpose, SampleType
from lightly_provider.exceptions import LightlyAccessError, LightlyDatasourceError, LightlySampleFileError
from lightly_provider.foreign_text import shown, shown_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightly_provider.api.models.dataset import Dataset, Tag
    from lightly_provider.api.models.datasource import Datasource
    from lightly_provider.api.models.sample import LocatedSample, Sample
    from lightly_provider.hooks.aws import AwsConnection
    from lightly_provider.hooks.lightly import LightlyHook

_THREADS = 16
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class ExportedSample:
    """
    One sample of an export.

    :param filename: Its name in the platform, relative to the input datasource.
    :param address: An address in the cloud that leads to a file.
    :param tag_name: The tag in which it is.
    :param run_id: The run that created this tag; None if it was created otherwise.
    :param frame: Number of the frame, counted from 0, if the address is that of a video. Default: None.
    :param time: Time of this frame, in seconds. Default: None.
    :param crop_task: Prediction task of the object, if the address is that of the image around it. Default: None.
    :param crop_index: Position of the object among this image's predictions, counted from 0. Default: None.
    """

    filename: str
    address: str
    tag_name: str
    run_id: str | None
    frame: int | None = None
    time: float | None = None
    crop_task: str | None = None
    crop_index: int | None = None

    @property
    def is_saved(self) -> bool:
        """Whether the address is that of the sample itself, and not of what it was cut from."""
        return self.frame is None and self.crop_index is None


class SampleFiles:
    """
    Finds the files of the samples of one dataset.

    :param hook: The hook.
    :param dataset: The dataset.
    :param connection: AWS connection that may look whether an object exists.
    """

    def __init__(self, hook: LightlyHook, dataset: Dataset, connection: AwsConnection) -> None:
        self._hook = hook
        self._dataset = dataset
        self._connection = connection
        self._sources: dict[str, list[Datasource]] = {}
        # Videos, and images around crops: many samples share one.
        self._exists: OrderedDict[str, bool] = OrderedDict()
        self._parents: OrderedDict[str, Sample] = OrderedDict()

    def samples(self, tag: Tag, page: Sequence[LocatedSample]) -> list[ExportedSample]:
        """
        Return the samples of one page with addresses that lead somewhere.

        :param tag: The tag in which they are.
        :param page: The samples as the platform returned them.
        :raises LightlySampleFileError: A frame or a crop has no file, nor has what it was cut from.
        :raises LightlyAccessError: Whether a file exists cannot be seen.
        """
        return [
            self._sample(tag, one, is_saved=is_saved) for one, is_saved in zip(page, self._are_saved(page), strict=True)
        ]

    def check_saved(self, page: Sequence[LocatedSample]) -> None:
        """
        Check that each sample of one page has a file of its own.

        :raises LightlySampleFileError: A frame or a crop has none.
        :raises LightlyAccessError: Whether a file exists cannot be seen.
        """
        for one, is_saved in zip(page, self._are_saved(page), strict=True):
            if not is_saved:
                raise self._unsaved(one, "")

    def _are_saved(self, page: Sequence[LocatedSample]) -> list[bool]:
        cut = [one.address for one in page if one.sample.type != SampleType.IMAGE]
        saved = dict(zip(cut, self._look(cut), strict=True))
        return [saved.get(one.address, True) for one in page]

    def _unsaved(self, one: LocatedSample, also: str) -> LightlySampleFileError:
        name, address = shown(one.sample.file_name, longest=200), shown(one.address, longest=300)
        if one.sample.crop_data is not None:
            return LightlySampleFileError(
                f"Crop {name!r} of dataset {self._dataset.id} has no file at {address}{also}; the worker saves crops "
                "with crops.enable_upload in worker_config (for the tasks of crops.enable_upload_for_tasks), so set "
                "that and run it again, or export the format 'filenames'."
            )
        return LightlySampleFileError(
            f"Frame {name!r} of dataset {self._dataset.id} has no file at {address}{also}; the worker saves frames, in "
            "the format of output_image_format in worker_config, where the dataset has a datasource of purpose LIGHTLY "
            "or INPUT_OUTPUT with write permission, so configure that and run it again, or export the format "
            "'filenames'."
        )

    def regions(self) -> dict[str, str]:
        """Return the regions of the buckets that the dataset uses, by bucket."""
        return {
            S3Location.from_stored(source.full_path).bucket: source.s3_region
            for dataset_id in filter(None, (self._dataset.id, self._dataset.parent_dataset_id))
            for source in self._datasources(dataset_id)
            if source.s3_region and source.full_path.startswith("s3://")
        }

    def _sample(self, tag: Tag, one: LocatedSample, *, is_saved: bool) -> ExportedSample:
        sample = one.sample
        if is_saved:
            return ExportedSample(sample.file_name, one.address, tag.name, tag.run_id)
        if sample.crop_data is not None:
            return self._of_image(tag, one)
        return self._of_video(tag, one)

    def _of_video(self, tag: Tag, one: LocatedSample) -> ExportedSample:
        sample, place = one.sample, one.sample.video_frame_data
        if place and place.source_video and place.source_video_frame_index is not None:
            video = self._input_address(self._dataset.id, place.source_video)
            if self._is_there(video):
                return ExportedSample(
                    sample.file_name,
                    video,
                    tag.name,
                    tag.run_id,
                    frame=int(place.source_video_frame_index),
                    time=place.source_video_frame_timestamp,
                )
        raise self._unsaved(one, ", and its video is not in the bucket either")

    def _of_image(self, tag: Tag, one: LocatedSample) -> ExportedSample:
        sample, crop = one.sample, one.sample.crop_data
        parent_id = self._dataset.parent_dataset_id
        if crop is not None and parent_id is not None:
            image = self._input_address(parent_id, self._parent(parent_id, crop.parent_id).file_name)
            if self._is_there(image):
                return ExportedSample(
                    sample.file_name,
                    image,
                    tag.name,
                    tag.run_id,
                    crop_task=crop.prediction_task_name,
                    crop_index=crop.prediction_index,
                )
        raise self._unsaved(one, ", and the image around it is not in the bucket either")

    def _parent(self, dataset_id: str, sample_id: str) -> Sample:
        found: Sample = _remembered(self._parents, sample_id, lambda: self._hook.get_sample(dataset_id, sample_id))
        return found

    def _is_there(self, address: str) -> bool:
        found: bool = _remembered(self._exists, address, lambda: self._head(address))
        return found

    def _look(self, addresses: list[str]) -> list[bool]:
        if not addresses:
            return []
        self._connection.client("s3", config=_MANY)  # before the threads share it
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="lightly-head") as pool:
            return list(pool.map(self._head, addresses))

    def _head(self, address: str) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        if not address.startswith("s3://"):
            raise LightlyDatasourceError(
                f"Whether {shown(address, longest=300)} exists cannot be seen, because it is not in S3; export the "
                "format 'filenames'.",
                operation="export_tag_to_label_studio_tasks",
            )
        bucket, _, key = address.removeprefix("s3://").partition("/")
        try:
            self._connection.client("s3", config=_MANY).head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            status = error.response["ResponseMetadata"].get("HTTPStatusCode")
            if status == 404:
                return False
            step = (
                f"allow s3:GetObject on arn:aws:s3:::{bucket}/* and s3:ListBucket on arn:aws:s3:::{bucket} to it, or "
                "give another aws_conn_id"
                if status == 403
                else "look the code up in AWS's documentation of HeadObject"
            )
            code = shown(error.response.get("Error", {}).get("Code"), longest=100)
            raise LightlyAccessError(
                f"Whether {shown(address, longest=300)} exists cannot be seen: S3 refused HeadObject to Airflow's own "
                f"identity ({self._connection.name}): {code}; {step}."
            ) from None
        except BotoCoreError as error:
            raise LightlyAccessError(
                f"Whether {shown(address, longest=300)} exists cannot be seen ({self._connection.name}): "
                f"{shown_error(error, longest=300)}; check that connection."
            ) from None
        return True

    def _input_address(self, dataset_id: str, relative: str) -> str:
        by_purpose = {source.purpose: source for source in self._datasources(dataset_id)}
        source = by_purpose.get(Purpose.INPUT) or by_purpose.get(Purpose.INPUT_OUTPUT)
        return f"{source.full_path.rstrip('/')}/{relative}" if source else relative

    def _datasources(self, dataset_id: str) -> list[Datasource]:
        if dataset_id not in self._sources:
            self._sources[dataset_id] = self._hook.get_datasources(dataset_id)
        return self._sources[dataset_id]


_MANY: dict[str, Any] = {
    "max_pool_connections": _THREADS,
    "connect_timeout": 10,
    "read_timeout": 30,
    "retries": {"mode": "standard", "total_max_attempts": 5},
}


def _remembered(kept: OrderedDict[str, Any], key: str, look: Callable[[], Any]) -> Any:
    if key not in kept:
        kept[key] = look()
        if len(kept) > _MOST_REMEMBERED:
            kept.popitem(last=False)
    return kept[key]
