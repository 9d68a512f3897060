"""``/v1/docker``: the vendor worker's requests for its licence and about its use."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from lightly_sandbox.platform.database import now_ms
from lightly_sandbox.platform.models.licence import (
    DockerLicenseInformation,
    DockerUserStats,
    DockerWorkerAuthorizationRequest,
)
from lightly_sandbox.platform.requests import DONE, Config, answer, done, json_body

router = APIRouter(prefix="/v1/docker")

LICENCE = "sandbox"
VALID_MS = 365 * 24 * 60 * 60 * 1000


@router.get("/licenseInformation", response_model=DockerLicenseInformation)
def licence() -> JSONResponse:
    """The licence of the user's workers. Nobody needs one here: it always ends a year from now."""
    return answer(
        DockerLicenseInformation(
            license_type=LICENCE, license_expiration_date=now_ms() + VALID_MS, license_is_valid=True
        )
    )


@router.post("/workerAuthorization", response_model=str, response_class=PlainTextResponse)
def authorize_worker(
    body: Annotated[DockerWorkerAuthorizationRequest, Depends(json_body(DockerWorkerAuthorizationRequest))],
    config: Config,
) -> PlainTextResponse:
    """Sign what a worker is about to do, so that it can show that it asked."""
    signed = f"worker {config.user_id} {body.hashed_task_description}".encode()
    return PlainTextResponse(hmac.new(config.signing_key.encode(), signed, hashlib.sha256).hexdigest())


@router.post("", **DONE)
def tell_usage(_body: Annotated[DockerUserStats, Depends(json_body(DockerUserStats))]) -> Response:
    """Take a worker's word on what it does; nothing here asks for it again, so none is kept."""
    return done()
