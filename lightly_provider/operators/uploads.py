"""Uploads: predictions of a model, and metadata, with which a worker run selects."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightly_provider.links import LightlyDatasetLink, push_dataset_link
from lightly_provider.operators.arguments import check_choice, check_id, is_static, quoted
from lightly_provider.operators.base import LightlyBaseOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from lightly_provider.lineage import Moved, Platform
    from lightly_provider.operators.arguments import Share
    from lightly_provider.results.lightly_folder import LightlyFolder
    from lightly_provider.results.metadata.uploading import UploadedMetadata
    from lightly_provider.results.predictions.uploading import UploadedPredictions
    from lightly_provider.results.sources import Source

IF_UNMATCHED = ("skip", "upload", "fail")
BUCKET = "bucket"
PLATFORM = "platform"
WRITE_THROUGH = (BUCKET, PLATFORM)


class _Upload(LightlyBaseOperator):
    """What both uploads share: where the files come from, and how they are matched with the input."""

    template_fields: Sequence[str] = (
        "lightly_conn_id",
        "dataset_id",
        "source",
        "format",
        "filename_prefix",
        "if_unmatched",
        "aws_conn_id",
        "source_conn_id",
    )
    operator_extra_links = (LightlyDatasetLink(),)
    ui_color = "#fff3d6"

    # Set by the subclasses, which declare them with their own types.
    dataset_id: str
    source: Any
    format: str | None
    filename_prefix: str
    if_unmatched: str
    aws_conn_id: str | None
    source_conn_id: str | None

    # Where the files were written; None: nothing was uploaded yet.
    _uploaded_to: str | None = None

    def moved(self, platform: Platform) -> Moved:
        """See :meth:`DescribedLineage.moved`."""
        from lightly_provider.lineage import Moved, file, folder_of_pattern

        read = [file(folder_of_pattern(self.source))] if isinstance(self.source, str) else []
        if self._uploaded_to is None:
            return Moved(inputs=read)
        return Moved(inputs=read, outputs=[file(self._uploaded_to), platform.dataset(self.dataset_id)])

    def perform(self, context: Context) -> dict[str, Any]:
        """Upload the files, log what was written, and fill the events of the outlets."""
        url = push_dataset_link(context, self.hook.connection.web_url, self.dataset_id, waits=False)
        outcome = self._upload()
        self._uploaded_to = outcome.uri
        self.log.info(
            "%d files (%d written, %d unchanged) are in %s; dataset: %s",
            outcome.files,
            outcome.written,
            outcome.unchanged,
            outcome.uri,
            url,
        )
        self.platform.announce_dataset(self, context, self.dataset_id)
        return outcome.to_json()

    @abstractmethod
    def _upload(self) -> UploadedPredictions | UploadedMetadata:
        """Upload the files."""

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if is_static(self.dataset_id):
            check_id(self.dataset_id, argument="dataset_id")
        if isinstance(self.source, str) and is_static(self.source):
            self._source()
        if is_static(self.if_unmatched):
            check_choice(self.if_unmatched, IF_UNMATCHED, argument="if_unmatched")
        if is_static(self.filename_prefix) and self.filename_prefix:
            from lightly_provider.results.own_files import check_file_name

            try:
                check_file_name(f"{self.filename_prefix}x")
            except ValueError as error:
                raise ValueError(f"filename_prefix is {self.filename_prefix!r}: {error}.") from None

    def _source(self) -> Source:
        from lightly_provider.results.sources import Source

        return Source.parse(self.source, aws_conn_id=self.aws_conn_id, conn_id=self.source_conn_id, argument="source")

    def _folder(self, folder: str, *, through_platform: bool) -> tuple[LightlyFolder, bool]:
        """Return the folder of Lightly's files, and whether the input has videos."""
        from lightly_provider.contract import DatasetType, Purpose
        from lightly_provider.results.lightly_folder import BucketFolder, PlatformPredictions, datasource_for

        dataset = self.hook.get_dataset(self.dataset_id)
        datasources = self.hook.get_datasources(self.dataset_id)
        own = datasource_for(datasources, Purpose.LIGHTLY, self.dataset_id)
        has_frames = dataset.type == DatasetType.VIDEOS
        if through_platform:
            return PlatformPredictions(self.hook, self.dataset_id, own), has_frames
        from lightly_provider.hooks.aws import AwsConnection

        place = BucketFolder(
            folder,
            connection=AwsConnection(self.aws_conn_id),
            input_datasource=datasource_for(datasources, Purpose.INPUT, self.dataset_id),
            own=own,
            dataset_type=dataset.type,
        )
        return place, has_frames


class UploadLightlyPredictionsOperator(_Upload):
    """
    Upload a model's predictions, so that the next run can select by them (``SCORES``, ``PREDICTIONS``).

    All predictions are read and checked before anything is written. Then the file of each image is written, next the
    task's schema, and last the task's name in ``tasks.json``: a new task is seen whole or not at all. A second run
    writes only what has changed; a killed one continues where it stopped. Predictions of a task that is listed already
    are replaced one by one, so give a new model a ``task_name`` of its own.

    :param dataset_id: Id of the dataset, whose datasources are configured. Templated.
    :param task_name: Name of the prediction task, to which ``selection_config`` refers. Templated.
    :param source: Folder or file with the predictions: ``s3://bucket/folder/``, an absolute local path, or an address
        of another object storage; its last part may be a pattern, e.g. ``**/*.json``. Templated.
    :param format: ``lightly`` (the platform's own: a folder with ``schema.json`` and a JSON file for each image),
        ``coco``, ``yolo``, ``kitti``, ``pascalvoc``, ``cvat`` or ``labelbox``. Templated.
    :param prediction_type: ``classification``, ``object-detection``, ``semantic-segmentation``,
        ``instance-segmentation`` or ``keypoint-detection``; others than object detection only for ``coco``. None
        (default): object detection, or what the files say. Templated.
    :param categories: Names of the categories in the order of their ids, from 0: for ``kitti``, ``pascalvoc`` and
        ``labelbox``, and for ``yolo`` without a ``data.yaml``. Default: None. Templated.
    :param filename_prefix: Put before the name of each image, e.g. ``train/``. Default: nothing. Templated.
    :param missing_score: Score of predictions that have none, e.g. 1.0 for labels. None (default): they are refused,
        because a score of 0 would read as most uncertain.
    :param if_unmatched: What becomes of predictions for files that are not in the input: ``skip`` (default) or
        ``upload`` them, with a warning, or ``fail`` before anything is written. Templated.
    :param replace_schema: Replace another schema of the same task. Default: False, refuse. Templated.
    :param write_through: ``bucket``: write with ``aws_conn_id`` (default). ``platform``: write with the platform's
        signed addresses, so that Airflow needs no keys of the bucket. Templated.
    :param aws_conn_id: AWS connection that reads ``source`` and, through the bucket, lists the input and reads and
        writes ``.lightly/``; it is never handed to Lightly. None: boto3's default credentials. Default:
        ``aws_default``. Templated.
    :param source_conn_id: Airflow connection of another object storage. Default: None. Templated.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: Counts: ``predictions``, ``files``, ``written``, ``unchanged``, ``unmatched`` with its first examples,
        whether the schema was written and the task added, and the folder's ``uri``.
    :raises ValueError: An argument is invalid.
    :raises LightlySourceError: The source is missing or cannot be read.
    :raises LightlyExtraMissingError: The format needs a package that is not installed.
    :raises LightlyInvalidFilesError: The predictions break a rule. Nothing was written.
    :raises LightlyDatasourceError: The dataset has no datasource.
    :raises LightlyAccessError: AWS denied a request.
    """

    template_fields: Sequence[str] = (
        *_Upload.template_fields,
        "task_name",
        "prediction_type",
        "categories",
        "replace_schema",
        "write_through",
    )
    custom_operator_name = "Lightly upload predictions"

    def __init__(
        self,
        *,
        dataset_id: str,
        task_name: str,
        source: str,
        format: str,  # noqa: A002  (what everybody calls it)
        prediction_type: str | None = None,
        categories: Sequence[str] | None = None,
        filename_prefix: str = "",
        missing_score: Share | None = None,
        if_unmatched: str = "skip",
        replace_schema: bool = False,
        write_through: str = BUCKET,
        aws_conn_id: str | None = "aws_default",
        source_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.task_name = task_name
        self.source = source
        self.format = format
        self.prediction_type = prediction_type
        self.categories = categories
        self.filename_prefix = filename_prefix
        self.missing_score = missing_score
        self.if_unmatched = if_unmatched
        self.replace_schema = replace_schema
        self.write_through = write_through
        self.aws_conn_id = aws_conn_id
        self.source_conn_id = source_conn_id
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        from lightly_provider.results.predictions.formats import PredictionFormat, check_format
        from lightly_provider.results.predictions.schema import TaskType, check_task_name

        if is_static(self.task_name):
            check_task_name(self.task_name)
        if is_static(self.write_through):
            check_choice(self.write_through, WRITE_THROUGH, argument="write_through")
        if is_static(self.format):
            check_choice(self.format, [str(one) for one in PredictionFormat], argument="format")
        if self.prediction_type and is_static(self.prediction_type):
            check_choice(self.prediction_type, [str(one) for one in TaskType], argument="prediction_type")
        if all(map(is_static, (self.format, self.prediction_type, self.categories, self.write_through))):
            check_format(
                PredictionFormat(str(self.format)),
                task_type=TaskType(self.prediction_type) if self.prediction_type else None,
                categories=self.categories,
                missing_score=self.missing_score,
                writes_through_platform=self.write_through == PLATFORM,
            )

    def _upload(self) -> UploadedPredictions:
        from lightly_provider.results.own_files import PREDICTIONS
        from lightly_provider.results.predictions.formats import PredictionFormat
        from lightly_provider.results.predictions.schema import TaskType
        from lightly_provider.results.predictions.uploading import upload_predictions

        folder, has_frames = self._folder(PREDICTIONS, through_platform=self.write_through == PLATFORM)
        return upload_predictions(
            folder,
            self._source(),
            task_name=self.task_name,
            source_format=PredictionFormat(str(self.format)),
            task_type=TaskType(self.prediction_type) if self.prediction_type else None,
            categories=list(self.categories) if self.categories else None,
            filename_prefix=self.filename_prefix,
            missing_score=self.missing_score,
            if_unmatched=self.if_unmatched,
            replace_schema=self.replace_schema,
            has_frames=has_frames,
            dataset_id=self.dataset_id,
            log=self.log,
        )


class UploadLightlyMetadataOperator(_Upload):
    """
    Upload metadata of images or videos, so that the next run can select by them (``METADATA``).

    All metadata are read, and the schema is inferred from them, logged and checked, before anything is written. Then
    the file of each image is written, and last the schema. A second run writes only what has changed; a killed one
    continues where it stopped. The file of an image is replaced as a whole; entries of the schema for other paths are
    kept.

    :param dataset_id: Id of the dataset, whose datasources are configured. Templated.
    :param source: File, folder or pattern as for the predictions, or a mapping of file names to their values, e.g.
        ``{"a.jpg": {"weather": "sunny"}}``. Templated.
    :param format: ``csv``, ``jsonl`` or ``parquet`` (needs the extra ``parquet``). None (default): ``source`` is a
        mapping. Templated.
    :param file_name_column: Column with the name of the file, relative to the input. Default: ``file_name``. Templated.
    :param columns: Columns to upload. None (default): all. Templated.
    :param schema: What is not to be inferred, by path: a type such as ``CATEGORICAL_INT``, or a mapping with ``type``,
        ``name`` and ``default``. Default: None. Templated.
    :param filename_prefix: Put before the name of each file, e.g. ``train/``. Default: nothing. Templated.
    :param if_unmatched: What becomes of metadata for files that are not in the input: ``skip`` (default) or ``upload``
        them, with a warning, or ``fail`` before anything is written. Templated.
    :param replace_schema: Replace entries of another type in the present schema. Default: False, refuse. Templated.
    :param aws_conn_id: AWS connection that reads ``source``, lists the input, and reads and writes ``.lightly/``; it is
        never handed to Lightly. None: boto3's default credentials. Default: ``aws_default``. Templated.
    :param source_conn_id: Airflow connection of another object storage. Default: None. Templated.
    :param lightly_conn_id: Airflow connection of type ``lightly``. Default: ``lightly_default``. Templated.
    :return: Counts: ``files``, ``written``, ``unchanged``, ``unmatched`` with its first examples, the ``schema``,
        whether it was written, and the folder's ``uri``.
    :raises ValueError: An argument is invalid.
    :raises LightlySourceError: The source is missing or cannot be read.
    :raises LightlyExtraMissingError: The format needs a package that is not installed.
    :raises LightlyInvalidFilesError: The metadata break a rule. Nothing was written.
    :raises LightlyDatasourceError: The dataset has no datasource.
    :raises LightlyAccessError: AWS denied a request.
    """

    template_fields: Sequence[str] = (
        *_Upload.template_fields,
        "file_name_column",
        "columns",
        "schema",
        "replace_schema",
    )
    custom_operator_name = "Lightly upload metadata"

    def __init__(
        self,
        *,
        dataset_id: str,
        source: str | Mapping[str, Any],
        format: str | None = None,  # noqa: A002  (what everybody calls it)
        file_name_column: str = "file_name",
        columns: Sequence[str] | None = None,
        schema: Mapping[str, Any] | None = None,
        filename_prefix: str = "",
        if_unmatched: str = "skip",
        replace_schema: bool = False,
        aws_conn_id: str | None = "aws_default",
        source_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.source = source
        self.format = format
        self.file_name_column = file_name_column
        self.columns = columns
        self.schema = schema
        self.filename_prefix = filename_prefix
        self.if_unmatched = if_unmatched
        self.replace_schema = replace_schema
        self.aws_conn_id = aws_conn_id
        self.source_conn_id = source_conn_id
        self.check_arguments()

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        from lightly_provider.results.metadata.rows import MetadataFormat

        if is_static(self.format) and self.format is not None:
            check_choice(self.format, [str(one) for one in MetadataFormat], argument="format")
        if is_static(self.format) and is_static(self.source) and (self.format is None) == isinstance(self.source, str):
            raise ValueError(
                f"source is {quoted(self.source)} and format is {self.format!r}; give the format of the file at an "
                f"address ({', '.join(MetadataFormat)}), and none with a mapping."
            )

    def _upload(self) -> UploadedMetadata:
        from lightly_provider.results.metadata.rows import MetadataFormat
        from lightly_provider.results.metadata.uploading import upload_metadata
        from lightly_provider.results.own_files import METADATA

        folder, has_frames = self._folder(METADATA, through_platform=False)
        return upload_metadata(
            folder,
            dict(self.source) if isinstance(self.source, Mapping) else self._source(),
            source_format=MetadataFormat(self.format) if self.format else None,
            file_name_column=self.file_name_column,
            columns=list(self.columns) if self.columns else None,
            schema=dict(self.schema) if self.schema else None,
            filename_prefix=self.filename_prefix,
            if_unmatched=self.if_unmatched,
            replace_schema=self.replace_schema,
            has_frames=has_frames,
            log=self.log,
        )
