"""Upload predictions: read, check, match with the input, write."""

from __future__ import annotations

import io
import struct
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from lightly_provider.exceptions import LightlyInvalidFilesError
from lightly_provider.foreign_text import shown
from lightly_provider.results.lightly_folder import FolderBesideImages
from lightly_provider.results.own_files import SCHEMA_FILE
from lightly_provider.results.parallel import spread
from lightly_provider.results.predictions.formats import PredictionFormat, check_extra, reader_of
from lightly_provider.results.predictions.reading import stage
from lightly_provider.results.predictions.schema import SchemaError, TaskSchema
from lightly_provider.results.predictions.text_labels import in_pixels
from lightly_provider.results.staging import Staging, temporary_database
from lightly_provider.results.upload import add_task, match, read_json, write_files, write_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from lightly_provider.results.lightly_folder import LightlyFolder
    from lightly_provider.results.predictions.schema import TaskType
    from lightly_provider.results.sources import Source
    from lightly_provider.runs.follower import Log

# Enough for the header of nearly every image; else the whole image is read.
_HEADER = 64 * 2**10
_LARGEST_IMAGE = 256 * 2**20


# Exif 2.32, "Orientation": with these, the stored rows are columns of the upright image, which labels are drawn on
# (Ultralytics, exif_size; OpenCV, imread). MPO: several JPEG images in one file, as phones write them.
_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)
_TURNED_FORMATS = ("JPEG", "MPO")


@dataclass(frozen=True)
class UploadedPredictions:
    """
    What an upload of predictions did.

    :param task_name: Name of the task.
    :param uri: Folder of the task.
    :param predictions: Number of predictions in the source.
    :param files: Number of images with a file of predictions, those left out not counted.
    :param written: Number of files that were written.
    :param unchanged: Number of files that were there already with the same content.
    :param unmatched: Number of files about images that are not in the datasource.
    :param unmatched_examples: The first of these images.
    :param schema_written: Whether the schema was written.
    :param task_added: Whether the task was added to ``tasks.json``.
    """

    task_name: str
    uri: str
    predictions: int
    files: int
    written: int
    unchanged: int
    unmatched: int
    unmatched_examples: list[str] = field(default_factory=list)
    schema_written: bool = False
    task_added: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON types."""
        return asdict(self)


def upload_predictions(
    folder: LightlyFolder,
    source: Source,
    *,
    task_name: str,
    source_format: PredictionFormat,
    task_type: TaskType | None = None,
    categories: Sequence[str] | None = None,
    filename_prefix: str = "",
    missing_score: float | None = None,
    if_unmatched: str = "skip",
    replace_schema: bool = False,
    has_frames: bool = False,
    dataset_id: str = "",
    log: Log,
) -> UploadedPredictions:
    """
    Upload the predictions of a task.

    :param folder: The dataset's folder of predictions.
    :param source: The files.
    :param task_name: Name of the task; checked by the caller.
    :param source_format: Format of the files.
    :param task_type: Type of the task. None (default): object detection, or what the files say.
    :param categories: Names of the categories, where the format needs them. Default: None.
    :param filename_prefix: Put before each name. Default: nothing.
    :param missing_score: Score of a prediction that has none. None (default): refuse it.
    :param if_unmatched: ``skip``, ``upload`` or ``fail``; see :func:`lightly_provider.results.upload.match`.
    :param replace_schema: Whether a different schema of the same task is replaced. Default: False.
    :param has_frames: Whether the input has videos. Default: False.
    :param dataset_id: Id of the dataset, to read back the format ``labelbox`` of an export. Default: unknown.
    :param log: Log of the task.
    :raises LightlyInvalidFilesError: The predictions break a rule. Nothing was written.
    """
    check_extra(source_format, task_type)
    if source_format is PredictionFormat.YOLO and has_frames:
        raise LightlyInvalidFilesError(
            "The boxes of the format 'yolo' are parts of an image, and the frames of videos have no image in the input "
            "whose size can be read; write the predictions as 'coco'. Nothing was written."
        )
    if source_format is PredictionFormat.YOLO and not isinstance(folder, FolderBesideImages):
        raise LightlyInvalidFilesError(
            "The boxes of the format 'yolo' are parts of an image, whose size the platform does not return; write "
            "through the bucket, or write the predictions as 'coco'. Nothing was written."
        )
    with temporary_database() as database:
        staging = Staging(database)
        with reader_of(
            source,
            source_format,
            task_type=task_type,
            categories=categories,
            dataset_id=dataset_id,
            database=database,
        ) as reader:
            schema = reader.schema
            log.info(
                "The task %s is of type %s, with %d categories: %s.",
                task_name,
                schema.type,
                len(schema.categories),
                _named(schema),
            )
            n_predictions = stage(
                reader, staging, source=source.uri, filename_prefix=filename_prefix, missing_score=missing_score
            )
        log.info("%s has %d predictions for %d images.", source.uri, n_predictions, staging.count)
        _check_present_schema(folder, task_name, schema, replace_schema=replace_schema)
        matched = match(staging, folder, if_unmatched=if_unmatched, has_frames=has_frames, what="predictions", log=log)
        if source_format is PredictionFormat.YOLO and isinstance(folder, FolderBesideImages):
            _add_sizes(staging, folder, source)
        written, unchanged = write_files(staging, folder, f"{task_name}/", log=log)
        schema_written = write_schema(folder, f"{task_name}/{SCHEMA_FILE}", schema.to_json())
        task_added = add_task(folder, task_name)
    return UploadedPredictions(
        task_name=task_name,
        uri=f"{folder.uri}{task_name}/",
        predictions=n_predictions,
        files=written + unchanged,
        written=written,
        unchanged=unchanged,
        unmatched=matched.unmatched,
        unmatched_examples=matched.examples,
        schema_written=schema_written,
        task_added=task_added,
    )


def _named(schema: TaskSchema) -> str:
    names = [f"{one.id} {shown(one.name, longest=100)}" for one in list(schema.categories.values())[:20]]
    return ", ".join(names) + (", …" if len(schema.categories) > len(names) else "")


def _check_present_schema(folder: LightlyFolder, task_name: str, schema: TaskSchema, *, replace_schema: bool) -> None:
    """Refuse to change the meaning of the files that the task has already."""
    if replace_schema:
        return
    content = read_json(folder, f"{task_name}/{SCHEMA_FILE}")
    if content is None:
        return
    try:
        difference = schema.differences(TaskSchema.read(content))
    except SchemaError as error:
        difference = f"it is invalid ({error})"
    if difference:
        raise LightlyInvalidFilesError(
            f"The task {task_name!r} has another schema already: {difference}. Its files that are not replaced would "
            "mean something else; choose another task_name, or set replace_schema. Nothing was written."
        )


def _add_sizes(staging: Staging, folder: FolderBesideImages, source: Source) -> None:
    """Convert the boxes of all staged files to pixels, by the sizes of the images."""

    def converted(row: tuple[int, str, str]) -> tuple[int, str]:
        number, image, content = row
        return number, in_pixels(content, *_size_of(image, folder, source))

    for number, content in spread(converted, staging.rows(), threads=folder.threads):
        staging.replace(number, content)


def _opened(content: bytes) -> Image.Image:
    """Open an image, of which only the header is read, so also one with more pixels than Pillow decodes."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(content))
    except Image.DecompressionBombError:
        # Pillow's limit can only be lifted for the whole process.
        for factory, accepts in (Image.OPEN[name] for name in Image.ID):
            if accepts and accepts(content[:16]) is True:
                return factory(io.BytesIO(content), "")
        raise UnidentifiedImageError from None


def _is_on_its_side(image: Image.Image) -> bool:
    if image.format not in _TURNED_FORMATS:
        return False
    try:
        return image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    except (OSError, ValueError, SyntaxError, LookupError, TypeError, struct.error):
        # What cannot be read turns no image.
        return False


def _size_of(image: str, folder: FolderBesideImages, source: Source) -> tuple[int, int]:
    """The size of the upright image, of which the boxes are parts."""
    from PIL import UnidentifiedImageError

    for length in (_HEADER, _LARGEST_IMAGE):
        content = folder.image_start(image, length)
        try:
            with _opened(content) as opened:
                width, height = opened.size
                return (height, width) if _is_on_its_side(opened) else (width, height)
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
            continue
    raise LightlyInvalidFilesError(
        f"The size of the image {shown(image, longest=200)} cannot be read, and the boxes of {source.uri} are parts of "
        "it; repair the image, or write the predictions as 'coco'. Nothing was written."
    )
