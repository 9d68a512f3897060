"""Read metadata row by row: CSV, JSON Lines, Parquet, or a mapping."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from lightly_provider.exceptions import LightlyExtraMissingError, LightlySourceError
from lightly_provider.foreign_text import shown
from lightly_provider.results.own_files import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lightly_provider.results.sources import Source, SourceFile

_LONGEST_LINE = 2**20
_PIECE = 2**20
# Rows of Parquet at once: a short file can have long texts, of which each row repeats one.
_BATCH = 100


class MetadataFormat(StrEnum):
    """The formats; a mapping has none."""

    CSV = "csv"
    JSON_LINES = "jsonl"
    PARQUET = "parquet"


_SUFFIXES = {
    MetadataFormat.CSV: (".csv",),
    MetadataFormat.JSON_LINES: (".jsonl", ".ndjson", ".json"),
    MetadataFormat.PARQUET: (".parquet",),
}


@dataclass(frozen=True)
class Row:
    """
    The metadata of one file.

    :param place: Where it was found, for messages.
    :param values: Its members; that with the file's name among them.
    :param fault: Why it cannot be read; None (default): it can.
    """

    place: str
    values: Mapping[str, Any]
    fault: str | None = None


def check_parquet_extra() -> None:
    """
    Reject Parquet if pyarrow is missing.

    :raises LightlyExtraMissingError: The message names the extra.
    """
    if find_spec("pyarrow") is None:
        raise LightlyExtraMissingError(
            "The format 'parquet' needs the extra parquet; install airflow-provider-lightly[parquet] where the task "
            "runs."
        )


def rows_of(source: Source, chosen: MetadataFormat) -> Iterator[Row]:
    """
    Yield the rows of all files of a source.

    :param source: One file, or several.
    :param chosen: Their format.
    :raises LightlySourceError: A file cannot be read.
    """
    read = {MetadataFormat.CSV: _csv, MetadataFormat.JSON_LINES: _json_lines, MetadataFormat.PARQUET: _parquet}[chosen]
    for file in source.files(*_SUFFIXES[chosen]):
        yield from read(file)


def rows_of_mapping(values: Mapping[str, Any], file_name_column: str) -> Iterator[Row]:
    """Yield the rows of a mapping of file names to their values."""
    for name, members in values.items():
        if isinstance(members, dict):
            yield Row(str(name), {**members, file_name_column: name})
        else:
            yield Row(str(name), {}, fault="its metadata is not a mapping")


def _csv(file: SourceFile) -> Iterator[Row]:
    with file.open() as opened, _as_text(opened) as text, _explained(file):
        reader = csv.DictReader(_bounded_lines(text), strict=True)
        names = reader.fieldnames or []
        _check_columns(names)
        for row in reader:
            place = f"{file.name}, line {reader.line_num}"
            if None in row or None in row.values():
                yield Row(place, {}, fault=f"it has another number of columns than the {len(names)} of the first line")
            else:
                yield Row(place, {name: value if value != "" else None for name, value in row.items()})


def _check_columns(names: Sequence[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"two columns have the same name, {shown(twice[0], longest=100)!r}")


def _json_lines(file: SourceFile) -> Iterator[Row]:
    with file.open() as opened, _explained(file):
        number = 0
        while line := opened.readline(_LONGEST_LINE + 1):
            number += 1
            place = f"{file.name}, line {number}"
            if len(line) > _LONGEST_LINE:
                raise ValueError(f"line {number} is longer than {_LONGEST_LINE // 2**20} MiB")
            if not line.strip():
                continue
            try:
                values = parsed(line)
            except ValueError as error:
                yield Row(place, {}, fault=str(error))
                continue
            fault = None if isinstance(values, dict) else "it is not a JSON object"
            yield Row(place, values if fault is None else {}, fault=fault)


def _parquet(file: SourceFile) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    # Parquet is read from its end. A copy on disk, so that memory stays flat.
    with TemporaryFile() as copy:
        with file.open() as opened:
            while piece := opened.read(_PIECE):
                copy.write(piece)
        copy.seek(0)
        number = 0
        try:
            parquet = pyarrow.parquet.ParquetFile(copy)
            _check_columns(parquet.schema_arrow.names)
            for batch in parquet.iter_batches(batch_size=_BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{file.name}, row {number}", values)
        # A damaged page is an OSError, a time that Python cannot hold a ValueError or an OverflowError.
        except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
            raise LightlySourceError(
                f"{shown(file.uri)} cannot be read as Parquet: {shown(error, longest=300)}; check the format."
            ) from None


def _bounded_lines(text: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := text.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise ValueError(f"line {number} is longer than {_LONGEST_LINE // 2**20} MiB")
        yield line


@contextmanager
def _as_text(opened: IO[bytes]) -> Iterator[io.TextIOWrapper]:
    text = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="")
    try:
        yield text
    finally:
        text.detach()


@contextmanager
def _explained(file: SourceFile) -> Iterator[None]:
    try:
        yield
    except (csv.Error, json.JSONDecodeError, UnicodeDecodeError, ValueError) as error:
        what = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else shown(error, longest=300)
        raise LightlySourceError(f"{shown(file.uri)} cannot be read: {what}; check the file and its format.") from None
