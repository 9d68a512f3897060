"""Downloads of the files that a run created."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.aws.location import EXACT
from lightly_provider.contract import ArtifactType
from lightly_provider.exceptions import LightlyNotFoundError
from lightly_provider.foreign_text import shown
from lightly_provider.links import LightlyDatasetLink, LightlyRunsLink, push_dataset_link, push_runs_link
from lightly_provider.operators.arguments import check_choice, check_id, is_static, names_of
from lightly_provider.operators.base import LightlyBaseOperator, push_members
from lightly_provider.operators.map_index import look_up_dataset_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.lineage import Moved, Platform
    from lightly_provider.results.destinations import Destination

# Stands for the run's id while that is a template.
_ANY_RUN = "0" * 24


class DownloadLightlyArtifactsOperator(LightlyBaseOperator):
    """
    Download the files that a run created: its report, its logs, its lists of files.

    Each file is read and written piece by piece, and appears whole or not at all. A second run or a retry reads no file
    that is there with the size that the storage announces: the path contains the run's id, and a run that has ended
    does not change its files. A folder on a worker's disk is not seen by tasks on other machines; use S3 there.

    :param run_id: Id of the run, e.g. ``run_worker.output["run_id"]``, which is there for a failed run, too. Templated.
    :param destination: Folder for the files: ``s3://bucket/folder/``, an address of another object storage of Airflow,
        or an absolute local path. The files are written to ``<destination>/<run_id>/<file name>``. Templated.
    :param types: Types of the files, e.g. ``["REPORT_PDF", "REPORT_V2_JSON", "LOG"]``, each of which the run must have.
        None (default): all that the run has. Templated.
    :param aws_conn_id: AWS connection with which Airflow writes to S3. Default: ``aws_default``. Templated.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: ``{"run_id", "dataset_id", "files", "report"}``, and each of them as an XCom of its own. ``files`` holds a
        mapping for each file: ``type``, ``uri``, ``bytes``, ``sha256`` (None if the file was there already) and
        ``downloaded``. ``report`` holds the run's counts (``nInput``, ``nCorrupt``, ``nSelected`` …); None if the run
        left no report.
    :raises ValueError: An argument is invalid.
    :raises LightlyNotFoundError: There is no such run, or it has no file of a type. Nothing was downloaded.
    :raises LightlyRunError: The run has not ended. Nothing was downloaded.
    :raises LightlyDestinationError: The destination cannot be written.
    """

    template_fields: Sequence[str] = ("lightly_conn_id", "run_id", "destination", "types", "aws_conn_id")
    operator_extra_links = (LightlyDatasetLink(), LightlyRunsLink())
    custom_operator_name = "Lightly download artifacts"
    ui_color = "#d6ecff"

    def __init__(
        self,
        *,
        run_id: str,
        destination: str,
        types: Sequence[str] | None = None,
        aws_conn_id: str = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.destination = destination
        self.types = types
        self.aws_conn_id = aws_conn_id
        self._dataset_id: str | None = None
        self._saved: list[tuple[str, int]] = []
        self._killed = False
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.run_id):
            check_id(self.run_id, argument="run_id")
        if self.types is not None and is_static(self.types):
            for kind in names_of(self.types, argument="types"):
                check_choice(kind, [str(known) for known in ArtifactType], argument="types")
        if is_static(self.destination):
            if not self.destination.strip():
                raise ValueError(
                    f"destination is {self.destination!r}; write s3://bucket/folder/, an absolute local path, or an "
                    "address of another object storage."
                )
            try:
                self._destination_of("report.pdf")
            except ValueError as error:
                raise ValueError(
                    f"destination is {shown(repr(self.destination), longest=200)}, in which no file can be written: "
                    f"{error}"
                ) from None

    def perform(self, context: Context) -> dict[str, Any]:
        """Download the files."""
        from lightly_provider.results.artifacts import save_artifacts, wanted_artifacts
        from lightly_provider.runs.follower import that_fits_xcom

        web_url = self.hook.connection.web_url
        push_runs_link(context, web_url)
        run = self.hook.get_run(self.run_id)
        self._dataset_id = run.dataset_id
        if run.dataset_id is not None:
            push_dataset_link(context, web_url, run.dataset_id)
            look_up_dataset_name(context, self.hook, run.dataset_id)
        artifacts = wanted_artifacts(run, self.types)
        if not artifacts:
            self.log.warning("Run %s left no files.", run.id)
        saved = save_artifacts(
            self.hook,
            run,
            artifacts,
            self._destination_of,
            skip_unavailable=self.types is None,
            log=self.log,
            is_killed=lambda: self._killed,
        )
        self._saved = [(one.uri, one.bytes) for one in saved]
        if run.dataset_id is not None:
            folder = f"{self.destination.removeprefix(EXACT).rstrip('/')}/{run.id}" if saved else None
            self.platform.announce_files(self, context, run.dataset_id, run_id=run.id, folder=folder)
        try:
            sizes = self.hook.get_report_sizes(run)
        except LightlyNotFoundError as error:
            self.log.warning("The report of run %s cannot be used: %s", run.id, error)
            sizes = None
        return push_members(
            context,
            {
                "run_id": run.id,
                "dataset_id": run.dataset_id,
                "files": [one.as_dict() for one in saved],
                "report": None if sizes is None else that_fits_xcom(sizes),
            },
        )

    def moved(self, platform: Platform) -> Moved | None:
        """See :meth:`DescribedLineage.moved`."""
        from lightly_provider.lineage import Moved, file

        if self._dataset_id is None:
            return None
        return Moved(
            inputs=[platform.dataset(self._dataset_id)],
            outputs=[file(uri, size=size) for uri, size in self._saved],
            run_id=self.run_id,
            platform=platform.namespace,
        )

    def on_kill(self) -> None:
        """End the download before its next piece; the file that was being written is discarded."""
        # Airflow calls this from a signal handler, and then lets `execute` continue.
        self._killed = True

    def _destination_of(self, file_name: str) -> Destination:
        from lightly_provider.results.destinations import Destination

        run_id = self.run_id if is_static(self.run_id) else _ANY_RUN
        return Destination.parse(f"{self.destination.rstrip('/')}/{run_id}/{file_name}", aws_conn_id=self.aws_conn_id)
