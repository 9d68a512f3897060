"""What a reader of a format yields, and how it is checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lightly_provider.exceptions import LightlyInvalidFilesError
from lightly_provider.results.faults import Faults
from lightly_provider.results.own_files import check_file_name, encoded, own_name
from lightly_provider.results.predictions.schema import TaskType, checked
from lightly_provider.results.upload import RESERVED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightly_provider.results.predictions.schema import Size, TaskSchema
    from lightly_provider.results.staging import Staging

# The predictions of one image are read as a whole.
LARGEST_FILE = 32 * 2**20


@dataclass(frozen=True)
class Predicted:
    """
    The predictions for one image or frame.

    :param place: Where they were found, for messages.
    :param of_file: Name of the image in the input, without ``filename_prefix``. None: the format does not say its
        extension, and ``stem`` is given.
    :param entries: The predictions, in the members of the platform's format.
    :param stem: Name of the image without its extension. Default: None.
    :param size: Width and height of the image, in pixels; None (default): unknown.
    :param is_relative: Whether boxes are parts of the image and not pixels. Default: False.
    :param whole: The content of a file of the platform's own format, to be written as it is; None (default): another
        format.
    :param fault: Why they cannot be read; None (default): they can.
    """

    place: str
    of_file: str | None
    entries: list[Any] = field(default_factory=list)
    stem: str | None = None
    size: Size | None = None
    is_relative: bool = False
    whole: bytes | None = None
    fault: str | None = None


class Reader(Protocol):
    """Reads one format."""

    @property
    def schema(self) -> TaskSchema:
        """The schema of the task."""

    def files(self) -> Iterator[Predicted]:
        """Yield the predictions of each image, once."""


_NO_SCORE_HINT = (
    " (a missing score would be written as 0, which reads as most uncertain: write the scores, or set missing_score, "
    "1.0 for labels that are certain)"
)


def stage(
    reader: Reader, staging: Staging, *, source: str, filename_prefix: str = "", missing_score: float | None = None
) -> int:
    """
    Read, check and stage all predictions of a source.

    :param reader: Reads the source.
    :param staging: Takes the files.
    :param source: Address of the source, for messages.
    :param filename_prefix: Put before each name. Default: nothing.
    :param missing_score: Score of a prediction that has none. None (default): refuse it.
    :return: Number of predictions.
    :raises LightlyInvalidFilesError: A rule is broken, or there are no files.
    """
    schema, faults, n_predictions = reader.schema, Faults(source, "predictions"), 0
    for found in reader.files():
        if found.fault is not None:
            faults.add(found.place, found.fault)
            continue
        try:
            of_file = None if found.of_file is None else check_file_name(filename_prefix + found.of_file)
            name = own_name(check_file_name(f"{filename_prefix}{found.stem}.x") if of_file is None else of_file)
            if name in RESERVED:
                raise ValueError(f"its predictions would be {name}, which is the schema's; rename the image")
            if schema.type is TaskType.CLASSIFICATION and len(found.entries) > 1:
                raise ValueError(f"it has {len(found.entries)} predictions, where a classification has one")
            entries = list(_checked(found, schema, missing_score))
        except ValueError as error:
            faults.add(found.place, str(error))
            continue
        n_predictions += len(entries)
        if found.whole is not None and missing_score is None and not filename_prefix:
            is_new = staging.add(name, of_file, found.whole.decode("utf-8-sig"), is_whole=True)
        else:
            is_new = staging.add(name, of_file, f'"predictions":{encoded(entries)}')
        if not is_new:
            faults.add(found.place, f"another entry is about the same image ({name})")
    faults.raise_any()
    if not staging.count:
        raise LightlyInvalidFilesError(f"There are no predictions in {source}; check the address and the format.")
    return n_predictions


def _checked(found: Predicted, schema: TaskSchema, missing_score: float | None) -> Iterator[dict[str, Any]]:
    size = (1.0, 1.0) if found.is_relative else found.size
    for number, entry in enumerate(found.entries, start=1):
        try:
            prediction = checked(entry, schema, size=size, missing_score=missing_score)
        except ValueError as error:
            hint = _NO_SCORE_HINT if str(error) == "it has no score" else ""
            raise ValueError(f"prediction {number}: {error}{hint}") from None
        # A part of an image is no box in pixels yet: its pixels are known once the image is.
        yield prediction | {"bbox": entry["bbox"]} if found.is_relative else prediction
