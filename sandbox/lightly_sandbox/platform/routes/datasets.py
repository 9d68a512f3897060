"""``/v1/datasets``."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Path, Response
from fastapi.responses import JSONResponse
from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.exc import IntegrityError

from lightly_sandbox.contract.enums import DatasetType, DockerRunScheduledState, ImageType, SharedAccessType
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import identity, lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.models.datasets import DatasetCreateRequest, DatasetData, DatasetUpdateRequest
from lightly_sandbox.platform.requests import (
    CREATED,
    DONE,
    Config,
    Db,
    Flag,
    Page,
    Paged,
    answer,
    created,
    done,
    json_body,
)
from lightly_sandbox.platform.scopes import Scope
from lightly_sandbox.platform.settings import Settings
from lightly_sandbox.platform.tables import Dataset, Sample, ScheduledRun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

router = APIRouter(prefix="/v1/datasets")

NamePart = Annotated[str, Path(min_length=1)]


def dataset_data(session: Session, datasets: Sequence[Dataset]) -> list[DatasetData]:
    """The datasets as the API shows them, their samples counted in one query."""
    sums = {
        dataset_id: (count, size)
        for dataset_id, count, size in session.execute(
            select(Sample.dataset_id, func.count(), func.sum(Sample.size_in_bytes))
            .where(Sample.dataset_id.in_([dataset.id for dataset in datasets]))
            .group_by(Sample.dataset_id)
        )
    }
    return [_data(dataset, *sums.get(dataset.id, (0, 0))) for dataset in datasets]


def _data(dataset: Dataset, n_samples: int, size_in_bytes: int) -> DatasetData:
    return DatasetData(
        id=dataset.id,
        name=dataset.name,
        user_id=dataset.user_id,
        access_type=SharedAccessType.WRITE,
        type=DatasetType(dataset.type),
        img_type=None if dataset.img_type is None else ImageType(dataset.img_type),
        n_samples=n_samples,
        size_in_bytes=size_in_bytes,
        datasources=[datasource.id for datasource in dataset.datasources],
        created_at=dataset.created_at,
        last_modified_at=dataset.last_modified_at,
        datasource_processed_until_timestamp=dataset.processed_until_seconds,
        parent_dataset_id=dataset.parent_id,
        original_dataset_id=dataset.parent_id,
    )


def _name_exists(name: str) -> ApiError:
    return ApiError(
        HTTPStatus.CONFLICT, ApiErrorCode.DATASET_NAME_EXISTS, f"You already have a dataset named '{name}'."
    )


def visible(session: Session, config: Settings, scope: Scope | None) -> Select[Dataset]:
    """The datasets in ``scope``, oldest first; None for all that the user may use."""
    whom = identity.user(session, config.user_id)
    wanted = []
    if scope is None or scope.includes_own:
        wanted.append(Dataset.user_id == whom.id)
    if scope is None or scope.includes_shared:
        wanted.append(identity.is_shared_with(whom))
    if scope is None or scope.includes_team:
        wanted.append(identity.is_of_team(whom))
    return select(Dataset).where(or_(*wanted)).order_by(Dataset.created_at, Dataset.id)


def named(dataset_name: str, *, exact: bool) -> ColumnElement[bool]:
    """Whether a dataset's name is, or begins with, ``dataset_name``."""
    if exact:
        return Dataset.name == dataset_name
    return Dataset.name.startswith(dataset_name, autoescape=True)


def found_datasets(session: Session, query: Select[Dataset], page: Page) -> Sequence[Dataset]:
    """A page of what the query finds."""
    return session.scalars(query.limit(page.size).offset(page.offset)).all()


@router.post("", **CREATED)
def create(
    body: Annotated[DatasetCreateRequest, Depends(json_body(DatasetCreateRequest))], db: Db, config: Config
) -> JSONResponse:
    """Make a dataset, under a name that the owner does not have yet."""
    if body.parent_dataset_id is not None:
        lookups.dataset(db, body.parent_dataset_id, config.user_id)
    now = now_ms()
    dataset = Dataset(
        id=new_id(),
        user_id=config.user_id,
        created_at=now,
        last_modified_at=now,
        name=body.name,
        type=body.type or DatasetType.IMAGES,
        img_type=body.img_type,
        parent_id=body.parent_dataset_id,
    )
    db.add(dataset)
    try:
        db.flush()
    except IntegrityError as taken:
        raise _name_exists(body.name) from taken
    return created(dataset.id)


@router.get("", response_model=list[DatasetData])
def list_all(scope: Scope, page: Paged, db: Db, config: Config) -> JSONResponse:
    """The datasets, oldest first."""
    return answer(dataset_data(db, found_datasets(db, visible(db, config, scope), page)))


@router.get("/query/name/{dataset_name}", response_model=list[DatasetData])
def query_by_name(
    dataset_name: NamePart, scope: Scope, page: Paged, db: Db, config: Config, exact: Flag = False
) -> JSONResponse:
    """The datasets whose name is, or begins with, ``dataset_name``."""
    query = visible(db, config, scope).where(named(dataset_name, exact=exact))
    return answer(dataset_data(db, found_datasets(db, query, page)))


@router.get("/{dataset_id}", response_model=DatasetData)
def get(dataset_id: str, db: Db, config: Config) -> JSONResponse:
    """One dataset."""
    return answer(dataset_data(db, [lookups.dataset(db, dataset_id, config.user_id)])[0])


@router.get("/{dataset_id}/children", response_model=list[DatasetData])
def children(dataset_id: str, db: Db, config: Config) -> JSONResponse:
    """The datasets made from this one (its crops)."""
    lookups.dataset(db, dataset_id, config.user_id)
    found = db.scalars(visible(db, config, None).where(Dataset.parent_id == dataset_id)).all()
    return answer(dataset_data(db, found))


@router.put("/{dataset_id}", **DONE)
def update(
    dataset_id: str,
    body: Annotated[DatasetUpdateRequest, Depends(json_body(DatasetUpdateRequest))],
    db: Db,
    config: Config,
) -> Response:
    """Rename a dataset."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    dataset.name = body.name
    dataset.last_modified_at = now_ms()
    try:
        db.flush()
    except IntegrityError as taken:
        raise _name_exists(body.name) from taken
    return done()


@router.delete("/{dataset_id}", **DONE)
def delete(dataset_id: str, db: Db, config: Config, force: Flag = False) -> Response:
    """Delete a dataset with its datasources, samples, tags and scheduled runs.

    One that a worker is working on is only deleted with ``force``.
    """
    dataset = lookups.owned_dataset(db, dataset_id, config.user_id)
    in_use = select(ScheduledRun.id).where(
        ScheduledRun.dataset_id == dataset_id, ScheduledRun.state == DockerRunScheduledState.LOCKED
    )
    if not force and db.scalar(in_use.limit(1)) is not None:
        raise ApiError(
            HTTPStatus.CONFLICT,
            ApiErrorCode.ILLEGAL_ACTION_RESOURCE_IN_USE,
            f"A worker is running on dataset {dataset_id}; wait for it, or pass force=true.",
        )
    db.delete(dataset)
    return done()
