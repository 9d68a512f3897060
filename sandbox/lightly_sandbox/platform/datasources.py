"""``/v1/datasets/{datasetId}/datasource``."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse, RedirectResponse
from pydantic import Field

from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.enums import DatasourcePurpose
from lightly_sandbox.platform.error_codes import ApiErrorCode
from lightly_sandbox.platform.errors import ApiError, malformed
from lightly_sandbox.platform.listing import Cursor, list_page
from lightly_sandbox.platform.models_datasources import (
    DatasourceConfigS3,
    DatasourceConfigS3DelegatedAccess,
    DatasourceProcessedUntilTimestampRequest,
    DatasourceProcessedUntilTimestampResponse,
    DatasourceRawSamplesData,
    DatasourceRawSamplesDataRow,
    DivideAndConquerCursorData,
)
from lightly_sandbox.platform.read_urls import is_public_token, redirected_url
from lightly_sandbox.platform.requests import S3, Config, Db, Flag, answer, done, json_body
from lightly_sandbox.platform.s3_access import Place as S3Place
from lightly_sandbox.platform.s3_access import S3Access, S3Config, S3Location
from lightly_sandbox.platform.tables import Dataset, Datasource
from lightly_sandbox.platform.verify import aws_text, verify

router = APIRouter(prefix="/v1/datasets/{dataset_id}/datasource")
public_router = APIRouter(prefix="/v1/datasets/{dataset_id}/datasource")

SECRETS = ("s3SecretAccessKey", "s3ExternalId")
MASK = "***"

# Known kinds that this AWS-only sandbox does not have (lightly 1.5.26, models/datasource_config.py).
_OTHER_CLOUDS = frozenset({"AZURE", "GCS", "LIGHTLY", "LOCAL", "OBS"})


def _shown(datasource: Datasource, *, mask: bool) -> dict[str, Any]:
    config = {**datasource.config, "id": datasource.id}
    return {name: MASK if mask and name in SECRETS else value for name, value in config.items()}


def place_of(access: S3Access, config: S3Config) -> S3Place:
    """The datasource ready for use, or 400 DATASET_DATASOURCE_CREDENTIALS_ERROR with AWS's words."""
    try:
        return access.place(config)
    except (ClientError, BotoCoreError) as refused:
        raise credentials_error(refused) from refused


def credentials_error(refused: ClientError | BotoCoreError) -> ApiError:
    """AWS refused the datasource's credentials."""
    return ApiError(
        HTTPStatus.BAD_REQUEST,
        ApiErrorCode.DATASET_DATASOURCE_CREDENTIALS_ERROR,
        f"AWS refused the datasource's credentials: {aws_text(refused)}",
    )


@router.put("")
def put(
    dataset_id: str,
    body: Annotated[
        S3Config,
        Depends(
            json_body(
                Annotated[
                    DatasourceConfigS3 | DatasourceConfigS3DelegatedAccess, Field(discriminator="type")
                ],
                elsewhere=_OTHER_CLOUDS,
            )
        ),
    ],
    db: Db,
    config: Config,
) -> Response:
    """Set the datasource for one purpose; what was set for it before is replaced."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    try:
        S3Location.parse(body.full_path)
    except ValueError as wrong:
        raise ApiError(
            HTTPStatus.BAD_REQUEST, ApiErrorCode.DATASET_DATASOURCE_INVALID, f"body.fullPath: {wrong}"
        ) from wrong
    now = now_ms()
    stored = {name: value for name, value in body.wire().items() if name != "id"}
    for datasource in dataset.datasources:
        if datasource.purpose == body.purpose:
            datasource.config, datasource.last_modified_at = stored, now
            break
    else:
        dataset.datasources.append(
            Datasource(id=new_id(), purpose=body.purpose, config=stored, last_modified_at=now)
        )
    dataset.last_modified_at = now
    return done()


@router.get("")
def get(
    dataset_id: str, db: Db, config: Config, purpose: DatasourcePurpose = DatasourcePurpose.INPUT_OUTPUT
) -> JSONResponse:
    """The datasource set for exactly this purpose."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    for datasource in dataset.datasources:
        if datasource.purpose == purpose:
            return JSONResponse(_shown(datasource, mask=config.mask_secrets))
    raise ApiError(
        HTTPStatus.NOT_FOUND,
        ApiErrorCode.DATASET_DATASOURCE_UNKNOWN,
        f"Dataset {dataset_id} has no datasource with purpose {purpose}.",
    )


@router.get("/all")
def get_all(dataset_id: str, db: Db, config: Config) -> JSONResponse:
    """Every datasource of the dataset."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    return JSONResponse([_shown(datasource, mask=config.mask_secrets) for datasource in dataset.datasources])


@router.get("/processedUntilTimestamp")
def get_processed_until(dataset_id: str, db: Db, config: Config) -> JSONResponse:
    """The second up to which the datasource's files were processed; 0 for none."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    return answer(
        DatasourceProcessedUntilTimestampResponse(processed_until_timestamp=dataset.processed_until_seconds)
    )


@router.put("/processedUntilTimestamp")
def put_processed_until(
    dataset_id: str,
    body: Annotated[
        DatasourceProcessedUntilTimestampRequest, Depends(json_body(DatasourceProcessedUntilTimestampRequest))
    ],
    db: Db,
    config: Config,
) -> Response:
    """Set that second; lowering it makes the next run process files again."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    dataset.processed_until_seconds = body.processed_until_timestamp
    return done()


@router.get("/verify")
def verify_permissions(dataset_id: str, db: Db, config: Config, access: S3) -> JSONResponse:
    """List and read where the input is, write and overwrite where Lightly's own files go."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    target = lookups.datasource_config(dataset, DatasourcePurpose.LIGHTLY)
    # With one datasource only, all four lights are about that one.
    source = lookups.datasource_config(dataset, DatasourcePurpose.INPUT) or target
    if source is None:
        raise lookups.no_datasource(dataset, DatasourcePurpose.INPUT)
    return answer(verify(access, source, target or source))


@router.get("/list")
def list_files(
    dataset_id: str,
    db: Db,
    config: Config,
    access: S3,
    from_seconds: Annotated[int, Query(alias="from", ge=0)] = 0,
    to_seconds: Annotated[int | None, Query(alias="to", ge=0)] = None,
    cursor: str | None = None,
    use_redirected_read_url: Annotated[Flag, Query(alias="useRedirectedReadUrl")] = False,
    relevant_filenames: Annotated[str | None, Query(alias="relevantFilenamesFileName", min_length=4)] = None,
) -> JSONResponse:
    """One page of the input's images or videos; with a cursor, ``from`` and ``to`` are the cursor's."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    _refuse_relevant_filenames(relevant_filenames)
    start = Cursor(from_seconds=from_seconds, to_seconds=to_seconds)
    if cursor is not None:
        try:
            start = Cursor.decode(cursor)
        except ValueError as wrong:
            raise malformed("query.cursor", str(wrong)) from wrong
    place = _input_place(access, dataset)
    try:
        page = list_page(place, dataset.type, start)
    except (ClientError, BotoCoreError) as refused:
        raise credentials_error(refused) from refused
    rows = [
        DatasourceRawSamplesDataRow(
            file_name=name,
            read_url=redirected_url(config, dataset_id, name)
            if use_redirected_read_url
            else place.url("get_object", name),
        )
        for name in page.file_names
    ]
    return answer(DatasourceRawSamplesData(has_more=page.has_more, cursor=page.cursor.encode(), data=rows))


@router.get("/list/dnc")
def list_cursors(
    dataset_id: str,
    db: Db,
    config: Config,
    shards: Annotated[int, Query(alias="dncShards", ge=1)],
    from_seconds: Annotated[int, Query(alias="from", ge=0)] = 0,
    to_seconds: Annotated[int | None, Query(alias="to", ge=0)] = None,
    relevant_filenames: Annotated[str | None, Query(alias="relevantFilenamesFileName", min_length=4)] = None,
) -> JSONResponse:
    """Cursors to list in parallel. The API may give fewer than asked for; here it is always one."""
    lookups.dataset(db, dataset_id, config.user_id)
    _refuse_relevant_filenames(relevant_filenames)
    start = Cursor(from_seconds=from_seconds, to_seconds=to_seconds)
    return answer(DivideAndConquerCursorData(cursors=[start.encode()]))


@router.get("/fileHEAD")
def file_head(
    dataset_id: str,
    db: Db,
    config: Config,
    access: S3,
    file_name: Annotated[str, Query(alias="fileName", min_length=1)],
) -> JSONResponse:
    """A URL to ask with HEAD whether an input file exists."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    return answer(_input_place(access, dataset).url("head_object", file_name))


@public_router.get("/readurlRedirect")
def read_url_redirect(
    dataset_id: str,
    db: Db,
    config: Config,
    access: S3,
    path: str,
    public_token: Annotated[str, Query(alias="publicToken")] = "",
) -> RedirectResponse:
    """Go to where an input file can be read now. The link itself never ends."""
    if not is_public_token(config, dataset_id, path, public_token):
        raise ApiError(
            HTTPStatus.UNAUTHORIZED, ApiErrorCode.JWT_INVALID, "The publicToken is not for this file."
        )
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    return RedirectResponse(
        _input_place(access, dataset).url("get_object", path), status_code=HTTPStatus.FOUND
    )


def _input_place(access: S3Access, dataset: Dataset) -> S3Place:
    return place_of(access, lookups.required_datasource_config(dataset, DatasourcePurpose.INPUT))


def _refuse_relevant_filenames(file_name: str | None) -> None:
    if file_name is not None:
        raise ApiError(
            HTTPStatus.NOT_IMPLEMENTED,
            ApiErrorCode.NOT_IMPLEMENTED,
            "query.relevantFilenamesFileName: the sandbox does not restrict listings.",
        )
