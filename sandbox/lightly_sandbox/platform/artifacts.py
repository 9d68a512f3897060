"""``/v1/docker/runs/{runId}/artifacts``: files that a run leaves in the platform's own bucket."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from botocore.exceptions import ClientError
from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError

from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.enums import DockerRunArtifactStorageLocation
from lightly_sandbox.platform.error_codes import ApiErrorCode
from lightly_sandbox.platform.errors import ApiError, unknown
from lightly_sandbox.platform.models_runs import DockerRunArtifactCreatedData, DockerRunArtifactCreateRequest
from lightly_sandbox.platform.requests import S3, Config, Db, answer, created, done, json_body
from lightly_sandbox.platform.s3_access import Place, S3Access, S3Location
from lightly_sandbox.platform.tables import Artifact

if TYPE_CHECKING:
    from lightly_sandbox.platform.settings import Settings

router = APIRouter(prefix="/v1/docker/runs/{run_id}/artifacts")


def _place(access: S3Access, settings: Settings, run_id: str) -> Place:
    return Place(access.own, S3Location(settings.artifact_bucket, f"runs/{run_id}/"))


def _artifact(db: Db, run_id: str, artifact_id: str) -> Artifact:
    found = db.get(Artifact, artifact_id)
    if found is None or found.run_id != run_id:
        raise unknown(ApiErrorCode.DOCKER_RUN_ARTIFACT_UNKNOWN, "artifact", artifact_id)
    return found


@router.post("")
def create(
    run_id: str,
    body: Annotated[DockerRunArtifactCreateRequest, Depends(json_body(DockerRunArtifactCreateRequest))],
    db: Db,
    config: Config,
    access: S3,
) -> JSONResponse:
    """Announce a file; it is there once it was put to the URL given back and confirmed."""
    lookups.run(db, run_id, config.user_id)
    if body.storage_location == DockerRunArtifactStorageLocation.DATASOURCE:
        raise ApiError(
            HTTPStatus.NOT_IMPLEMENTED,
            ApiErrorCode.NOT_IMPLEMENTED,
            "body.storageLocation: the sandbox keeps artifacts in the platform's bucket only (LIGHTLY).",
        )
    artifact = Artifact(
        id=new_id(), run_id=run_id, type=body.type, file_name=body.file_name, created_at=now_ms()
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
    url = _place(access, config, run_id).url("put_object", artifact.file_name)
    return created(DockerRunArtifactCreatedData(signed_write_url=url, artifact_id=artifact.id))


@router.put("/{artifact_id}/confirmUpload")
def confirm(run_id: str, artifact_id: str, db: Db, config: Config, access: S3) -> Response:
    """Say that the file was put; it is looked for."""
    lookups.run(db, run_id, config.user_id)
    artifact = _artifact(db, run_id, artifact_id)
    place = _place(access, config, run_id)
    try:
        place.client.head_object(Bucket=place.location.bucket, Key=place.location.key(artifact.file_name))
    except ClientError as missing:
        raise _unavailable(artifact) from missing
    artifact.uploaded = True
    return done()


@router.get("/{artifact_id}/readurl")
def read_url(run_id: str, artifact_id: str, db: Db, config: Config, access: S3) -> JSONResponse:
    """A URL to read a confirmed artifact."""
    lookups.run(db, run_id, config.user_id)
    artifact = _artifact(db, run_id, artifact_id)
    if not artifact.uploaded:
        raise _unavailable(artifact)
    return answer(_place(access, config, run_id).url("get_object", artifact.file_name))


def _unavailable(artifact: Artifact) -> ApiError:
    return ApiError(
        HTTPStatus.NOT_FOUND,
        ApiErrorCode.DOCKER_RUN_ARTIFACT_UNAVAILABLE,
        f"Artifact {artifact.id} ('{artifact.file_name}') was not uploaded.",
    )
