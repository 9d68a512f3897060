"""The account's quota, and the versions of the vendor's client that the platform speaks of."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from lightly_sandbox.platform.requests import answer

router = APIRouter(prefix="/v1")
public_router = APIRouter(prefix="/v1/versions/pip")

MAX_DATASET_SIZE = "1000000"
LATEST_CLIENT = "1.5.26"
MINIMUM_CLIENT = "1.5.0"


@router.get("/quota")
def quota() -> JSONResponse:
    """The most samples that a dataset may have, as a string."""
    return answer(MAX_DATASET_SIZE)


@public_router.get("/latest")
def latest() -> JSONResponse:
    """The newest version of the vendor's Python client."""
    return answer(LATEST_CLIENT)


@public_router.get("/minimum")
def minimum() -> JSONResponse:
    """The oldest version of it that the platform takes."""
    return answer(MINIMUM_CLIENT)
