"""Results: export the samples of a tag, download the files of a run; and what comes back, predictions and metadata."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lightly_provider.exceptions import LightlyError
from lightly_provider.foreign_text import shown
from lightly_provider.links import LightlyDatasetLink, push_dataset_link
from lightly_provider.operators.arguments import check_choice, check_id, is_static, labels_of, seconds_of
from lightly_provider.operators.base import LightlyBaseOperator
from lightly_provider.operators.downloads import DownloadLightlyArtifactsOperator
from lightly_provider.operators.uploads import UploadLightlyMetadataOperator, UploadLightlyPredictionsOperator
from lightly_provider.results.formats import FORMATS, NAME_FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.hooks.tag_selection import TagSelection
    from lightly_provider.lineage import Moved, Platform
    from lightly_provider.results.export import Export

__all__ = [
    "DownloadLightlyArtifactsOperator",
    "ExportLightlyTagOperator",
    "UploadLightlyMetadataOperator",
    "UploadLightlyPredictionsOperator",
]

_MOST_NAMES_IN_XCOM = 1000
_TAG_LISTS = ("union_with", "intersect_with", "subtract")


class ExportLightlyTagOperator(LightlyBaseOperator):
    """
    Export the samples of a tag, or of several tags combined, to a file: for people, pipelines or labeling tools.

    Streams page by page, so that memory does not grow with the tag. A reader of the destination sees the whole file or
    none: S3 gets a multipart upload that is completed at the end, a local file is written beside its place and renamed.
    The number of samples is compared with the tag's own before the file becomes visible. A second run writes the same
    file again. Nothing is changed on the platform, also where tags are combined.

    A retry writes the file again, and removes what a killed try left unfinished. A failed or killed task leaves the
    file of an earlier run unchanged.

    :param dataset_id: Id of the dataset, e.g. ``create_dataset.output``. Templated.
    :param tag_name: Tag; usually ``run.output["tag_name"]``. None: the run selected nothing, so the export is empty.
        Templated.
    :param format: ``filenames`` (default) or ``uris``, a line each; ``manifest``: JSON Lines, also for SageMaker Ground
        Truth; ``parquet`` (needs the extra ``parquet``); ``label-studio``, ``labelbox``, ``sama``: what these tools
        import; ``read-urls``: JSON Lines with addresses at which anybody can read the files. Templated.
    :param destination: ``s3://bucket/folder/file``, an absolute local path, or an address of another object storage
        with its connection, e.g. ``gs://my_gcp@bucket/file``. None (default): XCom, for the formats ``filenames`` and
        ``uris`` and at most 1000 samples. Templated.
    :param aws_conn_id: AWS connection that writes to S3, and looks whether frames of videos and crops have files; it is
        never handed to Lightly. None: boto3's default credentials. Default: ``aws_default``. Templated.
    :param since_tag: Export only what this earlier tag does not have. Default: None, everything. Templated.
    :param union_with: Export the samples of these tags, too. Default: none. Templated.
    :param intersect_with: Export only what each of these tags has, too. Default: none. Templated.
    :param subtract: Leave out the samples of these tags. Default: none. Templated.
    :param read_urls_expire_in: Life of the addresses in ``read-urls`` and ``sama``, in seconds or as a timedelta.
        Default: 7 days. Templated.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: ``{"uri", "count", "bytes", "sha256"}`` of the file; without a destination, ``uri`` is None, ``names`` is
        the list, and the others are those of the file that it would be.
    :raises ValueError: An argument is invalid, or the tag has too many samples for XCom.
    :raises LightlyNotFoundError: The dataset has no such tag; with the names that are near.
    :raises LightlyDestinationError: The destination cannot be written. Nothing was read from the tag.
    :raises LightlyExtraMissingError: The format needs a package that is not installed.
    :raises LightlySampleFileError: A frame or crop has no file, nor has what it was cut from. Nothing was written.
    """

    template_fields: Sequence[str] = (
        "lightly_conn_id",
        "dataset_id",
        "tag_name",
        "format",
        "destination",
        "aws_conn_id",
        "since_tag",
        "union_with",
        "intersect_with",
        "subtract",
        "read_urls_expire_in",
    )
    operator_extra_links = (LightlyDatasetLink(),)
    custom_operator_name = "Lightly export tag"
    ui_color = "#e0f5e9"

    def __init__(
        self,
        *,
        dataset_id: str,
        tag_name: str | None,
        format: str = "filenames",  # noqa: A002  (what everybody calls it)
        destination: str | None = None,
        aws_conn_id: str | None = "aws_default",
        since_tag: str | None = None,
        union_with: Sequence[str] = (),
        intersect_with: Sequence[str] = (),
        subtract: Sequence[str] = (),
        read_urls_expire_in: float | timedelta | str = timedelta(days=7),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.tag_name = tag_name
        self.format = format
        self.destination = destination
        self.aws_conn_id = aws_conn_id
        self.since_tag = since_tag
        self.union_with = union_with
        self.intersect_with = intersect_with
        self.subtract = subtract
        self.read_urls_expire_in = read_urls_expire_in
        self._exported: dict[str, Any] | None = None
        self._killed = False
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.dataset_id):
            check_id(self.dataset_id, argument="dataset_id")
        for argument in ("tag_name", "since_tag"):
            value = getattr(self, argument)
            if isinstance(value, str) and is_static(value) and not value.strip():
                raise ValueError(f"{argument} is {value!r}; give the name of a tag, or None.")
        for argument in _TAG_LISTS:
            if is_static(getattr(self, argument)):
                labels_of(getattr(self, argument), argument=argument)
        if is_static(self.read_urls_expire_in):
            seconds_of(self.read_urls_expire_in, argument="read_urls_expire_in")
        if is_static(self.format):
            check_choice(self.format, FORMATS, argument="format")
        if is_static(self.format) and self.destination is None and self.format not in NAME_FORMATS:
            raise ValueError(
                f"format is {self.format!r} without a destination; give one, as XCom takes lists of names only "
                f"({' and '.join(map(repr, NAME_FORMATS))})."
            )
        if self.destination is not None and is_static(self.destination):
            self._parsed_destination()

    def perform(self, context: Context) -> dict[str, Any]:
        """Check what can be checked before the first page is read, and export."""
        from lightly_provider.results.export import check_installed

        check_installed(self.format)
        push_dataset_link(context, self.hook.connection.web_url, self.dataset_id)
        selection = self._selection()
        if not selection.n_selected:
            self.log.warning(
                "The export of dataset %s is empty: %s.",
                self.dataset_id,
                "the run created no tag" if self.tag_name is None else f"no sample is in {self._described()}",
            )
        result = self._to_xcom(selection) if self.destination is None else self._to_file(selection)
        self.log.info(
            "Exported %d samples of %s as %s to %s (%d bytes)",
            result["count"],
            self._described(),
            self.format,
            shown(result["uri"] or "XCom"),
            result["bytes"],
        )
        self._exported = result
        self.platform.announce_export(
            self,
            context,
            self.dataset_id,
            tag=self.tag_name,
            run_id=selection.tags[0].run_id if selection.tags else None,
            n_selected=result["count"],
            uri=result["uri"],
        )
        return result

    def moved(self, platform: Platform) -> Moved:
        """See :meth:`DescribedLineage.moved`."""
        from lightly_provider.lineage import Moved, file

        given = [self.tag_name, self.since_tag]
        for argument in _TAG_LISTS:
            given += labels_of(getattr(self, argument), argument=argument)
        tags = dict.fromkeys(name for name in given if name)
        done = self._exported or {"uri": None}
        return Moved(
            inputs=[platform.tag(self.dataset_id, name) for name in tags] or [platform.dataset(self.dataset_id)],
            outputs=[file(done["uri"], rows=done["count"], size=done["bytes"])] if done["uri"] else [],
        )

    def on_kill(self) -> None:
        """End the export before its next page; what was written so far is discarded."""
        # Airflow calls this from a signal handler, and then lets `execute` continue.
        self._killed = True

    def _to_file(self, selection: TagSelection) -> dict[str, Any]:
        destination = self._parsed_destination()
        destination.check()
        export = self._export(selection)
        with destination.open() as file:
            for piece in self._until_killed(export.content()):
                file.write(piece)
        return {"uri": file.uri, "count": export.count, "bytes": file.bytes, "sha256": file.sha256}

    def _to_xcom(self, selection: TagSelection) -> dict[str, Any]:
        import hashlib

        if selection.n_selected > _MOST_NAMES_IN_XCOM:
            raise ValueError(
                f"The export of {self._described()} has {selection.n_selected} samples, and XCom takes at most "
                f"{_MOST_NAMES_IN_XCOM}; give a destination, e.g. s3://my-bucket/selected.txt."
            )
        export = self._export(selection)
        names = list(self._until_killed(export.names()))
        content = "".join(f"{name}\n" for name in names).encode()
        digest = hashlib.sha256(content).hexdigest()
        return {"uri": None, "count": export.count, "bytes": len(content), "sha256": digest, "names": names}

    def _selection(self) -> TagSelection:
        from lightly_provider.hooks.tag_selection import TagSelection

        if self.tag_name is None:
            return TagSelection(self.dataset_id, (), 0)
        return self.hook.select_samples(
            self.dataset_id,
            self.tag_name,
            since_tag=self.since_tag or None,
            **{argument: labels_of(getattr(self, argument), argument=argument) for argument in _TAG_LISTS},
        )

    def _export(self, selection: TagSelection) -> Export:
        from lightly_provider.hooks.aws import AwsConnection
        from lightly_provider.results.export import Export

        return Export(
            hook=self.hook,
            selection=selection,
            format=self.format,
            expire_in=round(seconds_of(self.read_urls_expire_in, argument="read_urls_expire_in")),
            connection=AwsConnection(self.aws_conn_id),
        )

    def _parsed_destination(self) -> Any:
        from lightly_provider.results.destinations import Destination

        # At the DAG's parse, the connection may be a template; no request is made then.
        return Destination.parse(str(self.destination), aws_conn_id=self.aws_conn_id)

    def _described(self) -> str:
        combined = "".join(
            f", {argument} {', '.join(map(repr, labels_of(names, argument=argument)))}"
            for argument in _TAG_LISTS
            if (names := getattr(self, argument))
        )
        since = f", since_tag {self.since_tag!r}" if self.since_tag else ""
        return shown(f"tag {self.tag_name!r}{since}{combined}")

    def _until_killed(self, pieces: Iterator[Any]) -> Iterator[Any]:
        for piece in pieces:
            if self._killed:
                raise LightlyError(f"The task was killed; nothing of {self._described()} was written.")
            yield piece
