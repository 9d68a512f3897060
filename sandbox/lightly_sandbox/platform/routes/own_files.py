"""``…/datasource/predictions``, ``metadata``, ``embeddings``: the customer's files below ``.lightly/``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse

from lightly_sandbox.contract.enums import DatasourcePurpose
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.errors import malformed
from lightly_sandbox.platform.listing import Cursor
from lightly_sandbox.platform.models.datasources import (
    DatasourceRawSamplesMetadataData,
    DatasourceRawSamplesPredictionsData,
    DivideAndConquerCursorData,
)
from lightly_sandbox.platform.relevant_filenames import RelevantFilenames, is_of_relevant
from lightly_sandbox.platform.requests import S3, Config, Db, answer
from lightly_sandbox.platform.routes.artifacts import artifact_of, artifact_place, unavailable
from lightly_sandbox.platform.routes.listings import (
    Files,
    Redirected,
    Shards,
    Start,
    Whole,
    customers_relevant_filenames,
    relevant_filenames_at,
)
from lightly_sandbox.platform.s3_access import S3Access, place_of
from lightly_sandbox.platform.settings import Settings
from lightly_sandbox.platform.tables import Dataset
from lightly_sandbox.selection.schemas import EMBEDDINGS, METADATA, PREDICTIONS, SCHEMA_FILE

router = APIRouter(prefix="/v1/datasets/{dataset_id}/datasource")


class _Artifact:
    """A run's artifact that says which files are relevant, instead of a file of the customer's."""

    def __init__(
        self,
        run_id: Annotated[str | None, Query(alias="relevantFilenamesRunId")] = None,
        artifact_id: Annotated[str | None, Query(alias="relevantFilenamesArtifactId")] = None,
    ) -> None:
        if (run_id is None) != (artifact_id is None):
            raise malformed("query", "relevantFilenamesRunId and relevantFilenamesArtifactId go together")
        self._members = {"relevant_run_id": run_id, "relevant_artifact_id": artifact_id}

    def added_to(self, cursor: Cursor) -> Cursor:
        """The cursor with the artifact, if there is one."""
        return cursor if None in self._members.values() else cursor.model_copy(update=self._members)


OfArtifact = Annotated[_Artifact, Depends(_Artifact)]


@dataclass(frozen=True, slots=True)
class _OwnFiles:
    """What the listings need beside where to begin."""

    dataset: Dataset
    access: S3Access
    session: Db
    settings: Settings

    def below(self, folder: str, cursor: Cursor) -> Files:
        """JSON files of Lightly's own, one per sample; the schema beside them is not one."""
        relevant = self._relevant(cursor)

        def wanted(name: str) -> bool:
            if not name.endswith(".json") or name == SCHEMA_FILE:
                return False
            return relevant is None or is_of_relevant(name, relevant)

        return Files(self.dataset, DatasourcePurpose.LIGHTLY, folder, wanted)

    def _relevant(self, cursor: Cursor) -> RelevantFilenames | None:
        if cursor.relevant_run_id is not None and cursor.relevant_artifact_id is not None:
            run_id = cursor.relevant_run_id
            lookups.run(self.session, run_id, self.settings.user_id)
            artifact = artifact_of(self.session, run_id, cursor.relevant_artifact_id)
            if not artifact.uploaded:
                raise unavailable(artifact)
            place, path = artifact_place(self.session, self.access, self.settings, artifact)
            return relevant_filenames_at(place, path)
        if cursor.relevant_filenames is not None:
            return customers_relevant_filenames(self.access, self.dataset, cursor.relevant_filenames)
        return None


def _own_files(dataset_id: str, db: Db, config: Config, access: S3) -> _OwnFiles:
    return _OwnFiles(lookups.dataset(db, dataset_id, config.user_id), access, db, config)


Own = Annotated[_OwnFiles, Depends(_own_files)]


@router.get("/predictions/list", response_model=DatasourceRawSamplesPredictionsData)
def list_predictions(
    own: Own,
    start: Start,
    artifact: OfArtifact,
    task_name: Annotated[str, Query(alias="taskName")],
    redirected: Redirected = False,
) -> JSONResponse:
    """One page of a prediction task's files, by names relative to the task's folder."""
    cursor = artifact.added_to(start.cursor)
    files = own.below(f"{PREDICTIONS}{task_name}/", cursor)
    return answer(files.list(own.access, own.settings, cursor, redirected=redirected))


@router.get("/predictions/list/dnc", response_model=DivideAndConquerCursorData)
def list_prediction_cursors(
    own: Own,
    whole: Whole,
    artifact: OfArtifact,
    shards: Shards,
    task_name: Annotated[str, Query(alias="taskName")],
) -> JSONResponse:
    """Cursors to list a prediction task's files in parallel."""
    cursor = artifact.added_to(whole.cursor)
    return answer(own.below(f"{PREDICTIONS}{task_name}/", cursor).shard(own.access, cursor, shards))


@router.get("/metadata/list", response_model=DatasourceRawSamplesMetadataData)
def list_metadata(
    own: Own, start: Start, artifact: OfArtifact, redirected: Redirected = False
) -> JSONResponse:
    """One page of the metadata files, by names relative to their folder."""
    cursor = artifact.added_to(start.cursor)
    files = own.below(METADATA, cursor)
    return answer(files.list(own.access, own.settings, cursor, redirected=redirected))


@router.get("/metadata/list/dnc", response_model=DivideAndConquerCursorData)
def list_metadata_cursors(own: Own, whole: Whole, artifact: OfArtifact, shards: Shards) -> JSONResponse:
    """Cursors to list the metadata files in parallel."""
    cursor = artifact.added_to(whole.cursor)
    return answer(own.below(METADATA, cursor).shard(own.access, cursor, shards))


@router.get("/predictions/file", response_model=str)
def prediction_file(
    dataset_id: str,
    db: Db,
    config: Config,
    access: S3,
    file_name: Annotated[str, Query(alias="fileName", min_length=4)],
) -> JSONResponse:
    """A URL to read a file of the predictions, such as tasks.json; it need not exist."""
    return answer(_own_url(db, config, access, dataset_id, f"{PREDICTIONS}{file_name}"))


@router.get("/predictions/writeUrl", response_model=str)
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


@router.get("/metadata/file", response_model=str)
def metadata_file(
    dataset_id: str,
    db: Db,
    config: Config,
    access: S3,
    file_name: Annotated[str, Query(alias="fileName", min_length=5)],
) -> JSONResponse:
    """A URL to read a file of the metadata, such as schema.json; it need not exist."""
    return answer(_own_url(db, config, access, dataset_id, f"{METADATA}{file_name}"))


@router.get("/embeddings/file", response_model=str)
def embeddings_file(
    dataset_id: str,
    db: Db,
    config: Config,
    access: S3,
    file_name: Annotated[str, Query(alias="fileName", min_length=4)],
) -> JSONResponse:
    """A URL to read a file of embeddings that the customer put; it need not exist."""
    return answer(_own_url(db, config, access, dataset_id, f"{EMBEDDINGS}{file_name}"))


def _own_url(db: Db, config: Settings, access: S3Access, dataset_id: str, path: str) -> str:
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    own = lookups.required_datasource_config(dataset, DatasourcePurpose.LIGHTLY)
    return place_of(access, own).url("get_object", path)
