"""Formats that the vendor's package ``labelformat`` reads: Pascal VOC and CVAT. Neither has scores."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lightly_provider.exceptions import LightlyError, LightlyInvalidFilesError, LightlySourceError
from lightly_provider.foreign_text import shown
from lightly_provider.results.faults import Faults
from lightly_provider.results.parallel import spread
from lightly_provider.results.predictions.reading import Predicted
from lightly_provider.results.predictions.schema import Category, SchemaError, TaskSchema, TaskType, are_sides
from lightly_provider.results.sources import READ_THREADS

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET
    from collections.abc import Iterator, Sequence

    from lightly_provider.results.sources import Source, SourceFile

# labelformat reads such a file as a whole.
_LARGEST_FILE = 512 * 2**20
# CVAT's documentation, "CVAT for image": what else is below an image is a shape, too.
_READ_OF_CVAT = ("box", "tag")


class LabelformatReader:
    """
    Reads a format by labelformat, from a copy on this machine, which is removed at the end.

    :param source: Folder (Pascal VOC) or file (CVAT).
    :param kind: ``pascalvoc`` or ``cvat``.
    :param categories: Names of the categories, whose ids are their places from 0. None: CVAT's own.
    """

    def __init__(self, source: Source, kind: str, categories: Sequence[str] | None, folder: Path) -> None:
        self._source = source
        self._kind = kind
        self._categories = ",".join(categories or ())
        self._folder = folder

    @classmethod
    @contextmanager
    def opened(cls, source: Source, kind: str, categories: Sequence[str] | None) -> Iterator[LabelformatReader]:
        """Open a reader, and remove its copy of the files at the end."""
        with TemporaryDirectory(prefix="lightly-labels-") as folder:
            yield cls(source, kind, categories, Path(folder))

    @cached_property
    def schema(self) -> TaskSchema:
        """
        The categories.

        :raises LightlyInvalidFilesError: labelformat cannot read the files.
        """
        with self._explained():
            first = self._inputs[0][1]
            categories = [Category(one.id, one.name) for one in first.get_categories()]
        try:
            return TaskSchema.of(TaskType.OBJECT_DETECTION, categories)
        except SchemaError as error:
            raise LightlyInvalidFilesError(f"The categories of {self._source.uri} are invalid: {error}.") from None

    def files(self) -> Iterator[Predicted]:
        """Yield the predictions of each image."""
        from labelformat.model.bounding_box import BoundingBoxFormat

        for folder, labels in self._inputs:
            with self._explained():
                for label in labels.get_labels():
                    name = str(label.image.filename).replace("\\", "/")
                    entries = [
                        {
                            "category_id": one.category.id,
                            "bbox": one.box.to_format(BoundingBoxFormat.XYWH),
                            "score": one.confidence,
                        }
                        for one in label.objects
                    ]
                    # Pascal VOC has only the last part of an image's name; its folder is that of the XML file.
                    of_file = name if "/" in name or not folder else f"{folder}/{name}"
                    # Some tools write 0 where they do not know the size.
                    size = (label.image.width, label.image.height)
                    fault = "its width or height is impossible" if all(size) and not are_sides(size) else None
                    yield Predicted(name, of_file, entries, size=size if all(size) else None, fault=fault)

    @cached_property
    def _inputs(self) -> list[tuple[str, Any]]:
        """labelformat's readers, each with its folder."""
        from labelformat import formats

        if self._kind == "pascalvoc":
            folders = sorted({path.parent for path in self._copied()})
            return [
                (
                    "" if folder == self._folder else folder.relative_to(self._folder).as_posix(),
                    formats.PascalVOCObjectDetectionInput(input_folder=folder, category_names=self._categories),
                )
                for folder in folders
            ]
        (path,) = self._copied()
        return [("", formats.CVATObjectDetectionInput(input_file=path))]

    def _copied(self) -> list[Path]:
        is_folder = self._kind == "pascalvoc"
        files = self._source.files(".xml") if is_folder else iter([self._source.file()])
        paths = list(spread(self._copy, files, threads=READ_THREADS))
        if not paths:
            raise LightlyInvalidFilesError(
                f"There is no file of the format {self._kind} in {self._source.uri}; check the address and the format."
            )
        return paths

    def _copy(self, file: SourceFile) -> Path:
        if {"", ".", ".."} & set(file.name.split("/")) or "\0" in file.name:
            raise LightlyInvalidFilesError(f"{shown(file.uri)} has a name that no file can have; rename it.")
        # labelformat takes the names of XML files that end in small letters.
        path = (self._folder / file.name).with_suffix(Path(file.name).suffix.lower())
        content = file.read(most=_LARGEST_FILE)
        if self._kind == "cvat":
            content = _without_declaration(content)
            _check_shapes(content, self._source.uri)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as copy:
                copy.write(content)
        except OSError as error:
            # In an object storage, a/b.xml can be beside a file a, and a name can be longer than that of a file.
            raise LightlySourceError(
                f"{shown(file.uri)} cannot be copied to this machine, where labelformat reads it: "
                f"{shown(error.strerror or error, longest=200)}; rename the file, or make room in the folder for "
                "temporary files."
            ) from None
        return path

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import xml.etree.ElementTree as ET

        from labelformat.types import ParseError

        try:
            yield
        except LightlyError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, ParseError, ET.ParseError) as error:
            text = str(error).replace(f"{self._folder}/", "")
            raise LightlyInvalidFilesError(
                f"labelformat cannot read {self._source.uri} as {self._kind}: {shown(text, longest=500)}; check the "
                "format and the categories. Nothing was written."
            ) from None


def _check_shapes(content: bytes, source: str) -> None:
    """
    Refuse what labelformat leaves out of a file of CVAT: shapes that are no boxes, and the rotation of a box.

    :param content: The file.
    :param source: Its address, for the message.
    :raises LightlyInvalidFilesError: There is something of that kind.
    """
    import xml.etree.ElementTree as ET

    faults = Faults(source, "predictions")
    above: list[ET.Element] = []
    # The declaration of entities was refused before.
    for event, element in ET.iterparse(io.BytesIO(content), events=("start", "end")):  # noqa: S314
        if event == "start":
            if len(above) == 2 and above[1].tag == "image":
                _check_shape(element, above[1].get("name", "?"), faults)
            elif len(above) == 1 and element.tag == "track":
                faults.add(element.get("label", "?"), "it is a track of 'CVAT for video'; export 'CVAT for images'")
            above.append(element)
        else:
            above.pop()
            if above:
                # Memory stays flat.
                above[-1].remove(element)
    faults.raise_any()


def _check_shape(shape: ET.Element, image: str, faults: Faults) -> None:
    if shape.tag not in _READ_OF_CVAT:
        faults.add(image, f"it has a {shape.tag}, and only boxes are read; convert it, or write COCO")
        return
    try:
        is_rotated = float(shape.get("rotation", 0)) != 0
    except ValueError:
        is_rotated = True
    if is_rotated:
        faults.add(image, "it has a rotated box, and only upright boxes are read; convert it, or write COCO")


def _without_declaration(content: bytes) -> bytes:
    """
    Return XML without its declaration, in ASCII.

    labelformat reads a file of CVAT as text, and where lxml is installed, that text must not declare its encoding, as
    all of CVAT's files do (labelformat 0.1.17, formats/cvat.py).
    """
    declaration = re.match(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]{0,200}\?>)?", content)
    found = re.search(rb"encoding=[\"']([A-Za-z0-9._-]+)", declaration[0]) if declaration else None
    try:
        text = content[declaration.end() if declaration else 0 :].decode(found[1].decode() if found else "utf-8")
    except (LookupError, UnicodeDecodeError) as error:
        raise ValueError(f"it is not in the encoding that it declares ({error})") from None
    if "<!ENTITY" in text:
        # lxml before 5 reads the files that an entity names.
        raise LightlyInvalidFilesError(
            "A file of CVAT declares entities of XML, which CVAT does not write; remove them."
        )
    return text.encode("ascii", "xmlcharrefreplace")
