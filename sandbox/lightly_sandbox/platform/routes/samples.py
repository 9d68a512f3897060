"""``/v1/datasets/{datasetId}/samples`` and ``…/mappings``."""

from __future__ import annotations

import posixpath
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from lightly_sandbox.contract.enums import DatasourcePurpose, SamplePartialMode, SampleSortBy, SampleType
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.models.datasources import DatasourceConfigS3DelegatedAccess
from lightly_sandbox.platform.models.samples import (
    CreateSampleWithWriteUrlsResponse,
    SampleCreateRequest,
    SampleData,
    SampleDataModes,
    SampleUpdateRequest,
    SampleWriteUrls,
)
from lightly_sandbox.platform.read_urls import is_sample_token, sample_redirected_url
from lightly_sandbox.platform.requests import (
    CREATED,
    DONE,
    S3,
    Config,
    Db,
    Flag,
    Paged,
    answer,
    created,
    done,
    json_body,
)
from lightly_sandbox.platform.s3_access import place_of
from lightly_sandbox.platform.sample_files import file_of, path_of, purpose_of
from lightly_sandbox.platform.tables import Dataset, Sample

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from lightly_sandbox.platform.s3_access import S3Access

router = APIRouter(prefix="/v1/datasets/{dataset_id}")
public_router = APIRouter(prefix="/v1/datasets/{dataset_id}")

ImageKind = Annotated[Literal["full", "thumbnail", "thumb"], Query(alias="type")]

# The pattern of the platform's own web app (lightly-ai/lightly docs, set_s3_config).
DEFAULT_THUMB_SUFFIX = ".lightly/thumbnails/[filename]_thumb.[extension]"

SampleBody = Annotated[SampleCreateRequest, Depends(json_body(SampleCreateRequest))]


def thumbnail_name(file_name: str, thumb_suffix: str) -> str:
    """Where the thumbnail of ``file_name`` is, by the datasource's pattern."""
    stem, extension = posixpath.splitext(file_name)
    return thumb_suffix.replace("[filename]", stem).replace("[extension]", extension.removeprefix("."))


def _kind(body: SampleCreateRequest) -> SampleType:
    if body.crop_data is not None:
        return SampleType.CROP
    return SampleType.IMAGE if body.video_frame_data is None else SampleType.VIDEO_FRAME


def _store(session: Session, dataset: Dataset, body: SampleCreateRequest) -> Sample:
    """Add the sample; one of the same file name is replaced, so that a worker may repeat itself."""
    if not body.file_name:
        # No file can have it, and the contract's type does not say so.
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            ApiErrorCode.SAMPLE_CREATE_REQUEST_INVALID_FORMAT,
            "body.fileName: is empty; give the path of the file below the datasource's.",
        )
    details = {name: value for name, value in body.wire().items() if name != "fileName"}
    now = now_ms()
    found = session.scalar(
        select(Sample).where(Sample.dataset_id == dataset.id, Sample.file_name == body.file_name)
    )
    if found is None:
        found = Sample(
            id=new_id(),
            dataset_id=dataset.id,
            file_name=body.file_name,
            position=lookups.sample_count(session, dataset.id),
            created_at=now,
        )
        session.add(found)
    found.type, found.details, found.last_modified_at = _kind(body), details, now
    found.size_in_bytes = (body.meta_data.size_in_bytes if body.meta_data else None) or 0
    dataset.last_modified_at = now
    session.flush()
    return found


def _write_urls(
    access: S3Access, dataset: Dataset, kind: SampleType | str, file_name: str
) -> SampleWriteUrls:
    config = lookups.required_datasource_config(dataset, DatasourcePurpose.LIGHTLY)
    place = place_of(access, config)
    thumbnail = thumbnail_name(file_name, config.thumb_suffix or DEFAULT_THUMB_SUFFIX)
    return SampleWriteUrls(
        full=place.url("put_object", path_of(kind, file_name)), thumb=place.url("put_object", thumbnail)
    )


def sample_data(sample: Sample) -> dict[str, Any]:
    """The sample as the API shows it."""
    return {
        "id": sample.id,
        "type": sample.type,
        "datasetId": sample.dataset_id,
        "fileName": sample.file_name,
        "index": sample.position,
        "createdAt": sample.created_at,
        "lastModifiedAt": sample.last_modified_at,
        **sample.details,
    }


@router.post("/samples", **CREATED)
def create(dataset_id: str, body: SampleBody, db: Db, config: Config) -> JSONResponse:
    """Add a sample."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    return created(_store(db, dataset, body).id)


@router.post(
    "/samples/withWriteUrls", response_model=CreateSampleWithWriteUrlsResponse, status_code=HTTPStatus.CREATED
)
def create_with_write_urls(
    dataset_id: str, body: SampleBody, db: Db, config: Config, access: S3
) -> JSONResponse:
    """Add a sample, and get URLs to put its file and its thumbnail where Lightly's own files go."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    sample = _store(db, dataset, body)
    urls = _write_urls(access, dataset, _kind(body), body.file_name)
    return created(CreateSampleWithWriteUrlsResponse(id=sample.id, sample_write_urls=urls))


@router.get("/samples", response_model=list[SampleData])
def list_all(
    dataset_id: str,
    page: Paged,
    db: Db,
    config: Config,
    file_name: Annotated[str | None, Query(alias="fileName")] = None,
    sort_by: Annotated[SampleSortBy, Query(alias="sortBy")] = SampleSortBy.INDEX,
) -> JSONResponse:
    """The samples, in the order of their bits or of their ids."""
    found = _found(db, dataset_id, config.user_id, page, file_name, sort_by)
    return JSONResponse([sample_data(sample) for sample in found])


@router.get("/samples/partial", response_model=list[SampleDataModes])
def list_partial(
    dataset_id: str,
    page: Paged,
    db: Db,
    config: Config,
    mode: SamplePartialMode = SamplePartialMode.FULL,
    file_name: Annotated[str | None, Query(alias="fileName")] = None,
) -> JSONResponse:
    """The samples, with their ids, with their file names too, or in full."""
    found = _found(db, dataset_id, config.user_id, page, file_name, SampleSortBy.INDEX)
    if mode == SamplePartialMode.FULL:
        return JSONResponse([sample_data(sample) for sample in found])
    with_names = mode == SamplePartialMode.FILENAMES
    return answer(
        [SampleDataModes(id=found.id, file_name=found.file_name if with_names else None) for found in found]
    )


def _found(
    session: Session, dataset_id: str, user_id: str, page: Paged, file_name: str | None, sort_by: SampleSortBy
) -> list[Sample]:
    lookups.dataset(session, dataset_id, user_id)
    query = select(Sample).where(Sample.dataset_id == dataset_id)
    if file_name is not None:
        query = query.where(Sample.file_name == file_name)
    order = Sample.position if sort_by == SampleSortBy.INDEX else Sample.id
    return list(session.scalars(query.order_by(order).limit(page.size).offset(page.offset)))


@router.get("/samples/{sample_id}", response_model=SampleData)
def get(dataset_id: str, sample_id: str, db: Db, config: Config) -> JSONResponse:
    """One sample."""
    lookups.dataset(db, dataset_id, config.user_id)
    return JSONResponse(sample_data(lookups.sample(db, dataset_id, sample_id)))


@router.put("/samples/{sample_id}", **DONE)
def update(
    dataset_id: str,
    sample_id: str,
    body: Annotated[SampleUpdateRequest, Depends(json_body(SampleUpdateRequest))],
    db: Db,
    config: Config,
    _touches: Annotated[Flag, Query(alias="enableDatasetUpdate")] = False,
) -> Response:
    """Change members of a sample; those not sent stay."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    sample = lookups.sample(db, dataset_id, sample_id)
    changed = body.model_dump(mode="json", by_alias=True, exclude_unset=True)
    file_name = changed.pop("fileName", sample.file_name)
    sample.file_name = file_name
    sample.details = {**sample.details, **changed}
    sample.last_modified_at = dataset.last_modified_at = now_ms()
    try:
        db.flush()
    except IntegrityError as taken:
        error = f"Dataset {dataset_id} has a sample '{file_name}' already."
        raise ApiError(HTTPStatus.CONFLICT, ApiErrorCode.CONFLICT, error) from taken
    return done()


def _read_url(access: S3Access, dataset: Dataset, sample: Sample, kind: str) -> str:
    """Where the sample's image can be read now, or its thumbnail if the datasource has them."""
    if kind != "full":
        lightly = lookups.required_datasource_config(dataset, DatasourcePurpose.LIGHTLY)
        if lightly.thumb_suffix is not None:
            thumbnail = thumbnail_name(sample.file_name, lightly.thumb_suffix)
            return place_of(access, lightly).url("get_object", thumbnail)
    source = lookups.required_datasource_config(dataset, purpose_of(sample.type))
    return place_of(access, source).url("get_object", file_of(sample))


@router.get("/samples/{sample_id}/readurl", response_model=str)
def read_url(
    dataset_id: str, sample_id: str, db: Db, config: Config, access: S3, kind: ImageKind = "full"
) -> JSONResponse:
    """A URL to read the sample's image or thumbnail; with delegated access one that redirects."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    sample = lookups.sample(db, dataset_id, sample_id)
    source = lookups.required_datasource_config(dataset, purpose_of(sample.type))
    if isinstance(source, DatasourceConfigS3DelegatedAccess):
        return answer(sample_redirected_url(config, dataset_id, sample_id, kind))
    return answer(_read_url(access, dataset, sample, kind))


@public_router.get(
    "/samples/{sample_id}/readurlRedirect", status_code=HTTPStatus.FOUND, response_class=RedirectResponse
)
def read_url_redirect(
    dataset_id: str,
    sample_id: str,
    kind: ImageKind,
    db: Db,
    config: Config,
    access: S3,
    public_token: Annotated[str, Query(alias="publicToken")] = "",
) -> RedirectResponse:
    """Go to where the sample's image or thumbnail can be read now."""
    if not is_sample_token(config, dataset_id, sample_id, kind, public_token):
        raise ApiError(
            HTTPStatus.UNAUTHORIZED, ApiErrorCode.JWT_INVALID, "The publicToken is not for this sample."
        )
    dataset = lookups.anyones_dataset(db, dataset_id)
    sample = lookups.sample(db, dataset_id, sample_id)
    return RedirectResponse(_read_url(access, dataset, sample, kind), status_code=HTTPStatus.FOUND)


@router.get("/samples/{sample_id}/writeurls", response_model=SampleWriteUrls)
def write_urls(dataset_id: str, sample_id: str, db: Db, config: Config, access: S3) -> JSONResponse:
    """URLs to put the sample's file and its thumbnail."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    sample = lookups.sample(db, dataset_id, sample_id)
    return answer(_write_urls(access, dataset, sample.type, sample.file_name))


@router.get("/samples/{sample_id}/writeurl", response_model=str)
def write_url(
    dataset_id: str,
    sample_id: str,
    db: Db,
    config: Config,
    access: S3,
    is_thumbnail: Annotated[Flag, Query(alias="isThumbnail")],
) -> JSONResponse:
    """One of those two URLs."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    sample = lookups.sample(db, dataset_id, sample_id)
    urls = _write_urls(access, dataset, sample.type, sample.file_name)
    return answer(urls.thumb if is_thumbnail else urls.full)


@router.get("/mappings", response_model=list[str])
def mappings(
    dataset_id: str, page: Paged, db: Db, config: Config, field: Literal["fileName", "_id"]
) -> JSONResponse:
    """The file names or ids of the samples in the order of their bits."""
    lookups.dataset(db, dataset_id, config.user_id)
    column = Sample.file_name if field == "fileName" else Sample.id
    query = select(column).where(Sample.dataset_id == dataset_id).order_by(Sample.position)
    return JSONResponse(list(db.scalars(query.limit(page.size).offset(page.offset))))
