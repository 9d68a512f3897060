"""The platform's own format: a task's folder, with ``schema.json`` and one file of JSON for each image."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlyInvalidFilesError
from lightly_provider.foreign_text import shown
from lightly_provider.results.own_files import SCHEMA_FILE, own_name, parsed
from lightly_provider.results.parallel import spread
from lightly_provider.results.predictions.reading import LARGEST_FILE, Predicted
from lightly_provider.results.predictions.schema import SchemaError, TaskSchema
from lightly_provider.results.sources import READ_THREADS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightly_provider.results.sources import Source, SourceFile


class LightlyReader:
    """
    Reads the platform's own format.

    :param source: The task's folder.
    :param schema_source: Its ``schema.json``.
    """

    def __init__(self, source: Source, schema_source: Source) -> None:
        self._source = source
        self._schema_source = schema_source

    @cached_property
    def schema(self) -> TaskSchema:
        """
        The schema in the folder.

        :raises LightlyInvalidFilesError: It is invalid.
        """
        file = self._schema_source.file()
        try:
            return TaskSchema.read(parsed(file.read(most=LARGEST_FILE)))
        except SchemaError as error:
            raise LightlyInvalidFilesError(f"The schema {shown(file.uri)} is invalid: {error}.") from None
        except ValueError as error:
            raise LightlyInvalidFilesError(f"The schema {shown(file.uri)} cannot be read: {error}.") from None

    def files(self) -> Iterator[Predicted]:
        """Yield the predictions of each image."""
        files = (file for file in self._source.files(".json") if file.name != SCHEMA_FILE)
        return spread(_read, files, threads=READ_THREADS)


def _read(file: SourceFile) -> Predicted:
    content = file.read(most=LARGEST_FILE)
    fault = None
    try:
        match parsed(content):
            case {"file_name": str(of_file), "predictions": [*entries]}:
                if own_name(of_file) == file.name:
                    return Predicted(file.name, of_file, entries, whole=content)
                fault = f"its file_name is {shown(of_file, longest=200)!r}, so it must be called {own_name(of_file)}"
            case _:
                fault = "it has no file_name and list of predictions"
    except ValueError as error:
        fault = str(error)
    return Predicted(file.name, None, fault=fault)
