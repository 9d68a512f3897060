"""Parquet through pyarrow, in row groups, so that the whole never is in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.results.formats.records import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lightly_provider.results.samples import ExportedSample

ROW_GROUP = 50_000


def parquet(pages: Iterable[Sequence[ExportedSample]], *, dataset_id: str) -> Iterator[bytes]:
    """
    Yield a Parquet file with the members of the manifest as columns, and where a sample without a file is.

    A file of no rows has the columns, too.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, repeated = pa.string(), pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema(
        [
            pa.field("source-ref", text, nullable=False),
            pa.field("filename", text, nullable=False),
            pa.field("dataset_id", repeated, nullable=False),
            pa.field("tag_name", repeated, nullable=False),
            ("run_id", repeated),
            ("frame", pa.int64()),
            ("time", pa.float64()),
            ("crop_task", repeated),
            ("crop_index", pa.int64()),
        ]
    )
    sink = _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for page in pages:
            rows += [record(sample, dataset_id=dataset_id) for sample in page]
            if len(rows) >= ROW_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=len(rows))
                rows.clear()
            yield sink.taken()
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), row_group_size=len(rows))
    yield sink.taken()


class _Sink:
    """A file object that hands on what was written to it."""

    closed = False

    def __init__(self) -> None:
        self._pending = bytearray()

    def write(self, content: Any) -> int:
        """Keep what is written until it is taken."""
        self._pending += content
        return len(content)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What was written stays here until it is taken."""

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        content = bytes(self._pending)
        self._pending.clear()
        return content
