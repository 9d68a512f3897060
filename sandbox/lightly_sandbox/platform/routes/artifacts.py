"""``/v1/docker/runs/{runId}/artifacts``: files that a run leaves, and its report by the older operations."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from botocore.exceptions import ClientError
from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError

from lightly_sandbox.aws.location import S3Location
from lightly_sandbox.contract.enums import (
    DatasourcePurpose,
    DockerRunArtifactStorageLocation,
    DockerRunArtifactType,
)
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.errors import ApiError, unknown
from lightly_sandbox.platform.models.runs import DockerRunArtifactCreatedData, DockerRunArtifactCreateRequest
from lightly_sandbox.platform.requests import DONE, S3, Config, Db, answer, created, done, json_body
from lightly_sandbox.platform.s3_access import Place, S3Access, place_of
from lightly_sandbox.platform.tables import Artifact
from lightly_sandbox.selection.schemas import OWN_FILES

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from lightly_sandbox.platform.settings import Settings

router = APIRouter(prefix="/v1/docker/runs/{run_id}/artifacts")
report_router = APIRouter(prefix="/v1/docker/runs/{run_id}")


# Where it is in a datasource is not documented.
_IN_DATASOURCE = f"{OWN_FILES}artifacts/"
# What is put by the older operation is a report of no artifact.
_REPORT = "report.pdf"


def _own_place(access: S3Access, settings: Settings, run_id: str) -> Place:
    return Place(access.own, S3Location(settings.artifact_bucket, f"runs/{run_id}/"))


def artifact_place(
    session: Session, access: S3Access, settings: Settings, artifact: Artifact
) -> tuple[Place, str]:
    """Where the artifact is, and its path there."""
    if artifact.storage_location == DockerRunArtifactStorageLocation.LIGHTLY:
        return _own_place(access, settings, artifact.run_id), artifact.file_name
    run = lookups.run(session, artifact.run_id, settings.user_id)
    if run.dataset_id is None:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            ApiErrorCode.DOCKER_RUN_DATASET_UNAVAILABLE,
            f"Run {run.id} has no dataset, and so no datasource to keep its artifacts.",
        )
    dataset = lookups.dataset(session, run.dataset_id, settings.user_id)
    config = lookups.required_datasource_config(dataset, DatasourcePurpose.LIGHTLY)
    return place_of(access, config), f"{_IN_DATASOURCE}{run.id}/{artifact.file_name}"


def artifact_of(db: Db, run_id: str, artifact_id: str) -> Artifact:
    """The artifact of the run, or 404 DOCKER_RUN_ARTIFACT_UNKNOWN."""
    found = db.get(Artifact, artifact_id)
    if found is None or found.run_id != run_id:
        raise unknown(ApiErrorCode.DOCKER_RUN_ARTIFACT_UNKNOWN, "artifact", artifact_id)
    return found


@router.post("", response_model=DockerRunArtifactCreatedData, status_code=HTTPStatus.CREATED)
def create(
    run_id: str,
    body: Annotated[DockerRunArtifactCreateRequest, Depends(json_body(DockerRunArtifactCreateRequest))],
    db: Db,
    config: Config,
    access: S3,
) -> JSONResponse:
    """Announce a file; it is there once it was put to the URL given back and confirmed."""
    lookups.run(db, run_id, config.user_id)
    artifact = Artifact(
        id=new_id(),
        run_id=run_id,
        type=body.type,
        file_name=body.file_name,
        storage_location=body.storage_location or DockerRunArtifactStorageLocation.LIGHTLY,
        created_at=now_ms(),
    )
    db.add(artifact)
    try:
        db.flush()
    except IntegrityError as twice:
        raise ApiError(
            HTTPStatus.CONFLICT,
            ApiErrorCode.DOCKER_RUN_ARTIFACT_EXISTS,
            f"Run {run_id} has an artifact '{body.file_name}' already.",
        ) from twice
    place, path = artifact_place(db, access, config, artifact)
    url = place.url("put_object", path)
    return created(DockerRunArtifactCreatedData(signed_write_url=url, artifact_id=artifact.id))


@router.put("/{artifact_id}/confirmUpload", **DONE)
def confirm(run_id: str, artifact_id: str, db: Db, config: Config, access: S3) -> Response:
    """Say that the file was put; it is looked for."""
    lookups.run(db, run_id, config.user_id)
    artifact = artifact_of(db, run_id, artifact_id)
    place, path = artifact_place(db, access, config, artifact)
    if not _exists(place, path):
        raise unavailable(artifact)
    artifact.uploaded = True
    return done()


@router.get("/{artifact_id}/readurl", response_model=str)
def read_url(run_id: str, artifact_id: str, db: Db, config: Config, access: S3) -> JSONResponse:
    """A URL to read a confirmed artifact."""
    lookups.run(db, run_id, config.user_id)
    artifact = artifact_of(db, run_id, artifact_id)
    if not artifact.uploaded:
        raise unavailable(artifact)
    place, path = artifact_place(db, access, config, artifact)
    return answer(place.url("get_object", path))


def _exists(place: Place, path: str) -> bool:
    try:
        place.client.head_object(Bucket=place.location.bucket, Key=place.location.key(path))
    except ClientError:
        return False
    return True


@report_router.get("/readReportUrl", response_model=str)
def read_report_url(run_id: str, db: Db, config: Config, access: S3) -> JSONResponse:
    """A URL to read the run's report (deprecated in the API: it is an artifact)."""
    run = lookups.run(db, run_id, config.user_id)
    for artifact in run.artifacts:
        if artifact.type == DockerRunArtifactType.REPORT_PDF and artifact.uploaded:
            place, path = artifact_place(db, access, config, artifact)
            return answer(place.url("get_object", path))
    place = _own_place(access, config, run_id)
    if not _exists(place, _REPORT):
        raise ApiError(
            HTTPStatus.NOT_FOUND,
            ApiErrorCode.DOCKER_RUN_REPORT_UNAVAILABLE,
            f"Run {run_id} has no report yet.",
        )
    return answer(place.url("get_object", _REPORT))


@report_router.get("/writeReportUrl", response_model=str)
def write_report_url(run_id: str, db: Db, config: Config, access: S3) -> JSONResponse:
    """A URL to put the run's report (deprecated in the API: it is an artifact)."""
    lookups.run(db, run_id, config.user_id)
    return answer(_own_place(access, config, run_id).url("put_object", _REPORT))


def unavailable(artifact: Artifact) -> ApiError:
    """404 DOCKER_RUN_ARTIFACT_UNAVAILABLE: it was announced, and not uploaded."""
    return ApiError(
        HTTPStatus.NOT_FOUND,
        ApiErrorCode.DOCKER_RUN_ARTIFACT_UNAVAILABLE,
        f"Artifact {artifact.id} ('{artifact.file_name}') was not uploaded.",
    )
