"""``…/datasource/predictions``, ``metadata``, ``embeddings``: the customer's files below ``.lightly/``."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.datasources import place_of
from lightly_sandbox.platform.enums import DatasourcePurpose
from lightly_sandbox.platform.error_codes import ApiErrorCode
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.listing import Cursor
from lightly_sandbox.platform.listings import Files, Redirected, Shards, Start
from lightly_sandbox.platform.requests import S3, Config, Db, answer
from lightly_sandbox.platform.s3_access import S3Access
from lightly_sandbox.platform.settings import Settings
from lightly_sandbox.platform.tables import Dataset
from lightly_sandbox.platform.wire import TaskName
from lightly_sandbox.selection.schemas import EMBEDDINGS, METADATA, PREDICTIONS, SCHEMA_FILE

router = APIRouter(prefix="/v1/datasets/{dataset_id}/datasource")


def _own_files(dataset: Dataset, folder: str, cursor: Cursor, *unserved: str | None) -> Files:
    """JSON files of Lightly's own, one per sample; the schema beside them is not one."""
    if cursor.relevant_filenames is not None or any(value is not None for value in unserved):
        raise ApiError(
            HTTPStatus.NOT_IMPLEMENTED,
            ApiErrorCode.NOT_IMPLEMENTED,
            "query: the sandbox restricts only the listing of the input by relevant filenames.",
        )
    return Files(
        dataset,
        DatasourcePurpose.LIGHTLY,
        folder,
        lambda name: name.endswith(".json") and name != SCHEMA_FILE,
    )


@router.get("/predictions/list")
def list_predictions(
    dataset_id: str,
    start: Start,
    db: Db,
    config: Config,
    access: S3,
    task_name: Annotated[TaskName, Query(alias="taskName")],
    run_id: Annotated[str | None, Query(alias="relevantFilenamesRunId")] = None,
    artifact_id: Annotated[str | None, Query(alias="relevantFilenamesArtifactId")] = None,
    redirected: Redirected = False,
) -> JSONResponse:
    """One page of a prediction task's files, by names relative to the task's folder."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    files = _own_files(dataset, f"{PREDICTIONS}{task_name}/", start.cursor, run_id, artifact_id)
    return answer(files.list(access, config, start.cursor, redirected=redirected))


@router.get("/predictions/list/dnc")
def list_prediction_cursors(
    dataset_id: str,
    start: Start,
    shards: Shards,
    db: Db,
    config: Config,
    access: S3,
    task_name: Annotated[TaskName, Query(alias="taskName")],
    run_id: Annotated[str | None, Query(alias="relevantFilenamesRunId")] = None,
    artifact_id: Annotated[str | None, Query(alias="relevantFilenamesArtifactId")] = None,
) -> JSONResponse:
    """Cursors to list a prediction task's files in parallel."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    files = _own_files(dataset, f"{PREDICTIONS}{task_name}/", start.cursor, run_id, artifact_id)
    return answer(files.shard(access, start.cursor, shards))


@router.get("/metadata/list")
def list_metadata(
    dataset_id: str,
    start: Start,
    db: Db,
    config: Config,
    access: S3,
    run_id: Annotated[str | None, Query(alias="relevantFilenamesRunId")] = None,
    artifact_id: Annotated[str | None, Query(alias="relevantFilenamesArtifactId")] = None,
    redirected: Redirected = False,
) -> JSONResponse:
    """One page of the metadata files, by names relative to their folder."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    files = _own_files(dataset, METADATA, start.cursor, run_id, artifact_id)
    return answer(files.list(access, config, start.cursor, redirected=redirected))


@router.get("/metadata/list/dnc")
def list_metadata_cursors(
    dataset_id: str,
    start: Start,
    shards: Shards,
    db: Db,
    config: Config,
    access: S3,
    run_id: Annotated[str | None, Query(alias="relevantFilenamesRunId")] = None,
    artifact_id: Annotated[str | None, Query(alias="relevantFilenamesArtifactId")] = None,
) -> JSONResponse:
    """Cursors to list the metadata files in parallel."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    return answer(
        _own_files(dataset, METADATA, start.cursor, run_id, artifact_id).shard(access, start.cursor, shards)
    )


@router.get("/predictions/file")
def prediction_file(
    dataset_id: str,
    db: Db,
    config: Config,
    access: S3,
    file_name: Annotated[str, Query(alias="fileName", min_length=4)],
) -> JSONResponse:
    """A URL to read a file of the predictions, such as tasks.json; it need not exist."""
    return answer(_own_url(db, config, access, dataset_id, f"{PREDICTIONS}{file_name}"))


@router.get("/predictions/writeUrl")
def prediction_write_url(
    dataset_id: str,
    db: Db,
    config: Config,
    access: S3,
    file_name: Annotated[str, Query(alias="fileName", min_length=4)],
) -> JSONResponse:
    """A URL to put a file of the predictions."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    own = place_of(access, lookups.required_datasource_config(dataset, DatasourcePurpose.LIGHTLY))
    return answer(own.url("put_object", f"{PREDICTIONS}{file_name}"))


@router.get("/metadata/file")
def metadata_file(
    dataset_id: str,
    db: Db,
    config: Config,
    access: S3,
    file_name: Annotated[str, Query(alias="fileName", min_length=5)],
) -> JSONResponse:
    """A URL to read a file of the metadata, such as schema.json; it need not exist."""
    return answer(_own_url(db, config, access, dataset_id, f"{METADATA}{file_name}"))


@router.get("/embeddings/file")
def embeddings_file(
    dataset_id: str,
    db: Db,
    config: Config,
    access: S3,
    file_name: Annotated[str, Query(alias="fileName", min_length=5)],
) -> JSONResponse:
    """A URL to read a file of embeddings that the customer put; it need not exist."""
    return answer(_own_url(db, config, access, dataset_id, f"{EMBEDDINGS}{file_name}"))


def _own_url(db: Db, config: Settings, access: S3Access, dataset_id: str, path: str) -> str:
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    own = lookups.required_datasource_config(dataset, DatasourcePurpose.LIGHTLY)
    return place_of(access, own).url("get_object", path)
