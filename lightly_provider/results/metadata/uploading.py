"""Upload custom metadata: read, infer the schema, check, match with the input, write."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.bucket import MediaType, media_type
from lightly_provider.exceptions import LightlyInvalidFilesError, LightlySourceError
from lightly_provider.foreign_text import shown
from lightly_provider.results.faults import Faults
from lightly_provider.results.metadata.rows import MetadataFormat, check_parquet_extra, rows_of, rows_of_mapping
from lightly_provider.results.metadata.schema import (
    Column,
    Entry,
    converted,
    decide,
    flattened,
    kind_of_text,
    merged,
    nested,
    plain,
)
from lightly_provider.results.own_files import SCHEMA_FILE, check_file_name, encoded, own_name, parsed
from lightly_provider.results.staging import Staging, temporary_database
from lightly_provider.results.upload import RESERVED, match, write_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lightly_provider.results.lightly_folder import LightlyFolder
    from lightly_provider.results.metadata.rows import Row
    from lightly_provider.results.sources import Source
    from lightly_provider.runs.follower import Log

_TRIES = 20


@dataclass(frozen=True)
class UploadedMetadata:
    """
    What an upload of metadata did.

    :param uri: Folder of the metadata.
    :param files: Number of files in the input with metadata, those left out not counted.
    :param written: Number of files that were written.
    :param unchanged: Number of files that were there already with the same content.
    :param unmatched: Number of files about images that are not in the datasource.
    :param unmatched_examples: The first of these images.
    :param schema: The type of each path.
    :param schema_written: Whether the schema was written.
    """

    uri: str
    files: int
    written: int
    unchanged: int
    unmatched: int
    unmatched_examples: list[str] = field(default_factory=list)
    schema: dict[str, str] = field(default_factory=dict)
    schema_written: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it in JSON types."""
        return asdict(self)


def upload_metadata(
    folder: LightlyFolder,
    source: Source | Mapping[str, Any],
    *,
    source_format: MetadataFormat | None = None,
    file_name_column: str = "file_name",
    columns: Sequence[str] | None = None,
    schema: Mapping[str, Any] | None = None,
    filename_prefix: str = "",
    if_unmatched: str = "skip",
    replace_schema: bool = False,
    has_frames: bool = False,
    log: Log,
) -> UploadedMetadata:
    """
    Upload the metadata of images or videos.

    :param folder: The dataset's folder of metadata.
    :param source: The files, or a mapping of file names to their values.
    :param source_format: Format of the files; None (default): ``source`` is a mapping.
    :param file_name_column: Column with the file's name. Default: ``file_name``.
    :param columns: Columns to upload. None (default): all.
    :param schema: Types, names and defaults by path, where they are not to be inferred. Default: none.
    :param filename_prefix: Put before each name. Default: nothing.
    :param if_unmatched: ``skip``, ``upload`` or ``fail``; see :func:`lightly_provider.results.upload.match`.
    :param replace_schema: Whether an entry of another type in the present schema is replaced. Default: False.
    :param has_frames: Whether the input has videos. Default: False.
    :param log: Log of the task.
    :raises LightlyInvalidFilesError: The metadata break a rule. Nothing was written.
    """
    if source_format is MetadataFormat.PARQUET:
        check_parquet_extra()
    is_text = source_format is MetadataFormat.CSV
    if source_format is None:
        name = "the mapping"
        rows = rows_of_mapping(source, file_name_column)  # type: ignore[arg-type]
    else:
        name = source.uri  # type: ignore[union-attr]
        rows = rows_of(source, source_format)  # type: ignore[arg-type]
    with temporary_database() as database:
        staging = Staging(database)
        seen = _stage(rows, staging, name, file_name_column, columns, filename_prefix, is_text=is_text)
        try:
            entries = decide(seen, schema or {}, is_text=is_text)
        except ValueError as error:
            raise LightlyInvalidFilesError(
                f"The metadata of {name} cannot be used: {error}. Nothing was written."
            ) from None
        _show(entries, seen, staging.count, log)
        _merged_schema(folder, entries, replace=replace_schema)
        staging.rewrite(lambda of_file, content: _content(of_file, content, entries, is_text, has_frames))
        matched = match(staging, folder, if_unmatched=if_unmatched, has_frames=has_frames, what="metadata", log=log)
        written, unchanged = write_files(staging, folder, "", log=log)
        schema_written = _write_schema(folder, entries, replace=replace_schema)
    return UploadedMetadata(
        uri=folder.uri,
        files=written + unchanged,
        written=written,
        unchanged=unchanged,
        unmatched=matched.unmatched,
        unmatched_examples=matched.examples,
        schema={path: str(entry.type) for path, entry in entries.items()},
        schema_written=schema_written,
    )


def _stage(
    rows: Iterator[Row],
    staging: Staging,
    source: str,
    file_name_column: str,
    columns: Sequence[str] | None,
    filename_prefix: str,
    *,
    is_text: bool,
) -> dict[str, Column]:
    """Stage the values by path, and return what was seen at each."""
    faults, seen = Faults(source, "metadata"), defaultdict[str, Column](Column)
    for row in rows:
        if row.fault is not None:
            faults.add(row.place, row.fault)
            continue
        try:
            of_file = row.values.get(file_name_column)
            if of_file is None:
                named = ", ".join(repr(shown(name, longest=100)) for name in list(row.values)[:10]) or "nothing"
                raise ValueError(
                    f"it has no {file_name_column!r}, the file's name, but {named}; set file_name_column to the column "
                    "that has it"
                )
            of_file = check_file_name(f"{filename_prefix}{of_file}" if isinstance(of_file, str) else of_file)
            if own_name(of_file) in RESERVED:
                raise ValueError(f"its metadata would be {own_name(of_file)}, which is the schema's; rename the file")
            chosen = {name: value for name, value in row.values.items() if name != file_name_column}
            if columns is not None:
                chosen = {name: value for name, value in chosen.items() if name in columns}
            values = {}
            for path, value in flattened(chosen):
                if path in values:
                    raise ValueError(f"it has {shown(path, longest=100)!r} twice")
                kind, values[path] = plain(value)
                kind = kind_of_text(value) if is_text else kind
                column = seen[path]
                column.kinds[kind] += 1
                column.example = values[path]
            if not staging.add(own_name(of_file), of_file, encoded(values)):
                raise ValueError(f"another row is about the same file ({own_name(of_file)})")
        except ValueError as error:
            faults.add(row.place, str(error))
    for name in columns or ():
        if not any(path == name or path.startswith(f"{name}.") for path in seen) and not faults.count:
            faults.add("columns", f"{name!r} is not there, or has no values")
    faults.raise_any()
    if not staging.count or not seen:
        raise LightlyInvalidFilesError(
            f"There are no values in {source}; check the address, the format and the columns."
        )
    return dict(seen)


def _show(entries: Mapping[str, Entry], seen: Mapping[str, Column], n_rows: int, log: Log) -> None:
    log.info("The schema of the metadata of %d files:", n_rows)
    for path, entry in entries.items():
        n_missing = n_rows - seen[path].n_values
        log.info(
            "  %s: %s, default %s, e.g. %s%s",
            shown(path, longest=200),
            entry.type,
            shown(repr(entry.default), longest=100),
            shown(repr(seen[path].example), longest=100),
            f"; {n_missing} files have none, and count as the default" if n_missing else "",
        )


def _content(of_file: str, content: str, entries: Mapping[str, Entry], is_text: bool, has_frames: bool) -> str:
    values = {path: converted(value, entries[path], is_text=is_text) for path, value in json.loads(content).items()}
    kind = "image"
    if has_frames:
        kind = "video" if media_type(of_file) is MediaType.VIDEOS else "frame"
    return f'"type":"{kind}","metadata":{encoded(nested(values))}'


def _merged_schema(
    folder: LightlyFolder, entries: Mapping[str, Entry], *, replace: bool
) -> tuple[Any, list[dict[str, Any]], Any]:
    """Return the file that is there, the content to write, and the content that is there."""
    found = folder.read(SCHEMA_FILE)
    try:
        present = None if found is None else parsed(found.content)
        return found, merged(present, entries, replace=replace), present
    except ValueError as error:
        raise LightlyInvalidFilesError(
            f"The schema {shown(folder.uri)}{SCHEMA_FILE} cannot be extended: {error}. Nothing was written."
        ) from None


def _write_schema(folder: LightlyFolder, entries: Mapping[str, Entry], *, replace: bool) -> bool:
    """Add the entries to the schema, keeping those that another process adds at the same time."""
    for n_tries in range(_TRIES):
        found, wanted, present = _merged_schema(folder, entries, replace=replace)
        if present is not None and _by_path(present) == _by_path(wanted):
            return n_tries > 0
        folder.replace(SCHEMA_FILE, (encoded(wanted) + "\n").encode(), found)
    raise LightlySourceError(
        f"{shown(folder.uri)}{SCHEMA_FILE} could not be written: other processes change it all the time; run the task "
        "again."
    )


def _by_path(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(entries, key=lambda entry: str(entry.get("path")))
