"""The account's quota, and the versions of the vendor's client that the platform speaks of."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from lightly_sandbox.platform.requests import answer

router = APIRouter(prefix="/v1")
public_router = APIRouter(prefix="/v1/versions/pip")

MAX_DATASET_SIZE = "1000000"
LATEST_CLIENT = "1.5.26"
MINIMUM_CLIENT = "1.5.0"


@router.get("/quota", response_model=str)
def quota() -> JSONResponse:
    """The most samples that a dataset may have, as a string."""
    return answer(MAX_DATASET_SIZE)


@public_router.get("/latest", response_model=str)
def latest(_own: Annotated[str | None, Query(alias="currentVersion")] = None) -> JSONResponse:
    """The newest version of the vendor's Python client, whatever the asker's own is."""
    return answer(LATEST_CLIENT)


@public_router.get("/minimum", response_model=str)
def minimum() -> JSONResponse:
    """The oldest version of it that the platform takes."""
    return answer(MINIMUM_CLIENT)
