"""Checks at scheduling that the bucket has the files that a worker config refers to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy import select

from lightly_sandbox.contract.enums import DatasourcePurpose
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.relevant_filenames import RelevantFilenames
from lightly_sandbox.platform.s3_access import aws_text, place_of
from lightly_sandbox.platform.tables import Tag
from lightly_sandbox.selection.reading import (
    InvalidSelectionError,
    UnsupportedSelectionError,
    read_selection,
)
from lightly_sandbox.selection.request import (
    Balance,
    CategoryCount,
    ClassDistribution,
    Metadata,
    Score,
)
from lightly_sandbox.selection.schemas import (
    EMBEDDINGS,
    METADATA,
    PREDICTIONS,
    SCHEMA_FILE,
    SCORES,
    TASKS_FILE,
    PredictionSchema,
    parse_metadata_schema,
    parse_tasks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from sqlalchemy.orm import Session

    from lightly_sandbox.platform.s3_access import Place, S3Access
    from lightly_sandbox.platform.settings import Settings
    from lightly_sandbox.platform.tables import Dataset
    from lightly_sandbox.selection.request import Query, SelectionRequest

    Parsed = TypeVar("Parsed")

# docs.lightly.ai, Lightly pretagging: the name under which the real worker's own detector gives predictions.
_PRETAGGING = "lightly_pretagging"


def check_selection(
    session: Session, access: S3Access, settings: Settings, dataset: Dataset, config: Mapping[str, Any]
) -> None:
    """Reject a worker config that refers to missing files, or whose selection is not possible on the dataset.

    A contradictory selection is a 400, and missing data in the bucket a 422, according to the client's
    documentation of scheduling (lightly 1.5.26, api/api_workflow_compute_worker.py). The codes are a guess.

    Args:
        session: the database session, to read tags.
        access: reads the datasource.
        settings: the settings with the request's user.
        dataset: the run's dataset.
        config: the ``config`` member of the worker config, as it was sent.

    Raises:
        ApiError: the config is not possible.
    """
    docker = config.get("docker") or {}
    if docker.get("relevantFilenamesFile"):
        _check_relevant_filenames(dataset, access, docker["relevantFilenamesFile"])
    if docker.get("embeddings"):
        _check_embeddings(dataset, access, docker["embeddings"])
    if config.get("selection") is None:
        # The contract allows this; the real worker's behavior is not documented.
        return
    try:
        request = read_selection(config["selection"])
    except InvalidSelectionError as wrong:
        raise ApiError(
            HTTPStatus.BAD_REQUEST, ApiErrorCode.DOCKER_WORKER_CONFIG_INVALID, str(wrong)
        ) from wrong
    except UnsupportedSelectionError as beyond:
        raise _unprocessable(ApiErrorCode.NOT_IMPLEMENTED, str(beyond)) from beyond
    for query in request.queries:
        _check_query(session, settings, dataset, query)
    if _PRETAGGING in request.prediction_tasks:
        raise _unprocessable(
            ApiErrorCode.NOT_IMPLEMENTED,
            f"The selection uses the task {_PRETAGGING}, but the sandbox's worker has no object detector. Put"
            f" predictions of your own below {PREDICTIONS}TASK/ of the LIGHTLY datasource.",
        )
    if request.prediction_tasks:
        _check_predictions(request, _OwnFiles.of(dataset, access))
    if any(isinstance(source, Metadata) and not source.is_measured for source in request.sources):
        _check_metadata(request, _OwnFiles.of(dataset, access))


def _unprocessable(code: ApiErrorCode, error: str) -> ApiError:
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, code, error)


def _invalid_file(error: str) -> ApiError:
    return _unprocessable(ApiErrorCode.DOCKER_WORKER_CONFIG_REFERENCES_INVALID_FILES, error)


@dataclass(frozen=True, slots=True)
class _OwnFiles:
    """The customer's files at the LIGHTLY datasource."""

    place: Place

    @classmethod
    def of(cls, dataset: Dataset, access: S3Access) -> _OwnFiles:
        return cls(place_of(access, lookups.required_datasource_config(dataset, DatasourcePurpose.LIGHTLY)))

    def uri(self, name: str) -> str:
        return self.place.location.uri(name)

    def read(self, name: str, why: str, parse: Callable[[Any], Parsed]) -> Parsed:
        """Read a JSON file, or raise an error with why it is needed and where it must be."""
        content = self.content(name, why)
        try:
            return parse(json.loads(content))
        except ValueError as wrong:
            raise _invalid_file(f"{why}, but {self.uri(name)} is no use: {wrong}.") from wrong

    def content(self, name: str, why: str) -> bytes:
        """Read a file, or raise an error with why it is needed and where it must be."""
        location = self.place.location
        try:
            answer = self.place.client.get_object(Bucket=location.bucket, Key=location.key(name))
            return answer["Body"].read()
        except ClientError as refused:
            if refused.response["Error"]["Code"] == "NoSuchKey":
                raise _invalid_file(
                    f"{why}, but there is no file {self.uri(name)}. Put it there."
                ) from refused
            raise _invalid_file(
                f"{why}, but {self.uri(name)} cannot be read: {aws_text(refused)}"
            ) from refused
        except BotoCoreError as failed:
            raise _invalid_file(f"{why}, but {self.uri(name)} cannot be read: {aws_text(failed)}") from failed


def _check_relevant_filenames(dataset: Dataset, access: S3Access, file_name: str) -> None:
    own = _OwnFiles.of(dataset, access)
    why = f"The worker config's docker.relevantFilenamesFile is {file_name!r}"
    content = own.content(file_name, why)
    try:
        RelevantFilenames.parse(content.decode("utf-8"))
    except ValueError as wrong:
        raise _invalid_file(f"{why}, but {own.uri(file_name)} is no use: {wrong}.") from wrong


def _check_embeddings(dataset: Dataset, access: S3Access, file_name: str) -> None:
    own = _OwnFiles.of(dataset, access)
    # The file is below this folder (docs.lightly.ai, Custom Embeddings); whether the setting includes the
    # folder is not public.
    name = f"{EMBEDDINGS}{file_name.removeprefix(EMBEDDINGS)}"
    own.content(name, f"The worker config's docker.embeddings is {file_name!r}")
    raise _unprocessable(
        ApiErrorCode.NOT_IMPLEMENTED,
        f"The worker config's docker.embeddings is {file_name!r}. {own.uri(name)} is there, but the sandbox's"
        " worker selects by embeddings of its own only. Leave the setting out.",
    )


def _check_query(session: Session, settings: Settings, dataset: Dataset, query: Query) -> None:
    if query.dataset_id is not None:
        try:
            dataset = lookups.dataset(session, query.dataset_id, settings.user_id)
        except ApiError as unknown:
            raise _unprocessable(
                unknown.code, f"The selection by SIMILARITY names a dataset: {unknown.error}"
            ) from unknown
    wanted = select(Tag.id).where(Tag.dataset_id == dataset.id, Tag.name == query.tag_name)
    if session.scalar(wanted) is None:
        raise _unprocessable(
            ApiErrorCode.TAG_QUERYTAG_NOT_IN_DATASET,
            f"The selection by SIMILARITY names the tag {query.tag_name!r}, which the dataset"
            f" {dataset.name!r} ({dataset.id}) does not have. Make the tag there, or name its datasetId.",
        )


def _check_predictions(request: SelectionRequest, own: _OwnFiles) -> None:
    tasks_file = f"{PREDICTIONS}{TASKS_FILE}"
    for task in sorted(request.prediction_tasks):
        why = f"The selection uses the predictions of the task {task!r}"
        tasks = own.read(tasks_file, why, parse_tasks)
        if task not in tasks:
            raise _invalid_file(
                f"{why}, which {own.uri(tasks_file)} does not list; it lists"
                f" {', '.join(sorted(tasks)) or 'none'}. Add it there, and its files below"
                f" {own.uri(f'{PREDICTIONS}{task}/')}."
            )
        schema = own.read(f"{PREDICTIONS}{task}/{SCHEMA_FILE}", why, PredictionSchema.parse)
        _check_against_schema(request, task, schema, own.uri(f"{PREDICTIONS}{task}/{SCHEMA_FILE}"))


def _check_against_schema(request: SelectionRequest, task: str, schema: PredictionSchema, where: str) -> None:
    if task in request.object_tasks and not schema.type.has_objects:
        raise _unprocessable(
            ApiErrorCode.DOCKER_WORKER_CONFIG_INVALID,
            f"The selection compares the objects of the task {task!r}, which is a {schema.type} by {where}."
            " Name a task that finds objects.",
        )
    for source in request.sources:
        match source:
            case Score(of, name) if of == task and name not in SCORES.get(schema.type, ()):
                known = ", ".join(SCORES.get(schema.type, ())) or "no scores"
                raise _unprocessable(
                    ApiErrorCode.SCORE_UNKNOWN,
                    f"The selection uses the score {name!r} of the task {task!r}, which is of the type"
                    f" {schema.type} by {where}; the sandbox's worker computes {known} of those.",
                )
            case CategoryCount(of, categories) if of == task:
                _check_categories(task, categories, schema, where)
    for balance in request.balances:
        if balance.source == ClassDistribution(task):
            _check_categories(task, [label for label, _ in balance.target], schema, where)


def _check_categories(task: str, categories: Any, schema: PredictionSchema, where: str) -> None:
    for category in sorted(categories):
        if category not in schema.categories.values():
            raise _invalid_file(
                f"The selection names the category {category!r} of the task {task!r}, which is not in"
                f" {where}."
            )


def _check_metadata(request: SelectionRequest, own: _OwnFiles) -> None:
    schema_file = f"{METADATA}{SCHEMA_FILE}"
    for strategy in (*request.weights_and_thresholds, *request.balances):
        source = strategy.source
        if not isinstance(source, Metadata) or source.is_measured:
            continue
        why = f"The selection uses the custom metadata {source.key!r}"
        entries = own.read(schema_file, why, parse_metadata_schema)
        entry = entries.get(source.key)
        if entry is None:
            raise _invalid_file(
                f"{why}, but {own.uri(schema_file)} has no entry with that path; it has"
                f" {', '.join(sorted(entries)) or 'none'}."
            )
        wanted = "CATEGORICAL" if isinstance(strategy, Balance) else "NUMERIC"
        if not (entry.is_categorical if isinstance(strategy, Balance) else entry.is_numeric):
            raise _invalid_file(
                f"{why} with {type(strategy).__name__.upper()}, but its valueDataType in"
                f" {own.uri(schema_file)} is not {wanted}."
            )
