"""``/v1/datasets/enriched``: datasets with what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from sqlalchemy import func, select

from lightly_sandbox.platform.models.datasets import DatasetDataEnriched
from lightly_sandbox.platform.requests import Config, Db, Flag, Paged, answer
from lightly_sandbox.platform.routes.datasets import NamePart, dataset_data, found_datasets, named, visible
from lightly_sandbox.platform.scopes import Scope
from lightly_sandbox.platform.tables import Dataset, Sample, Tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

router = APIRouter(prefix="/v1/datasets/enriched")

PREVIEWED_SAMPLES = 4
"""How many sample ids come along. The API does not say; all of them would be 100,000 for one dataset."""


def _enriched(session: Session, datasets: Sequence[Dataset]) -> JSONResponse:
    ids = [dataset.id for dataset in datasets]
    counted = session.execute(
        select(Tag.dataset_id, func.count()).where(Tag.dataset_id.in_(ids)).group_by(Tag.dataset_id)
    )
    n_tags = {dataset_id: count for dataset_id, count in counted}
    first = select(Sample.dataset_id, Sample.id).where(
        Sample.dataset_id.in_(ids), Sample.position < PREVIEWED_SAMPLES
    )
    samples: dict[str, list[str]] = {}
    for dataset_id, sample_id in session.execute(first.order_by(Sample.position)):
        samples.setdefault(dataset_id, []).append(sample_id)
    return answer(
        [
            DatasetDataEnriched(
                **data.model_dump(exclude={"datasource_processed_until_timestamp"}),
                samples=samples.get(data.id, []),
                n_tags=n_tags.get(data.id, 0),
                n_embeddings=0,
            )
            for data in dataset_data(session, datasets)
        ]
    )


@router.get("", response_model=list[DatasetDataEnriched])
def list_all(scope: Scope, page: Paged, db: Db, config: Config, limit: int | None = None) -> JSONResponse:
    """The datasets, oldest first; with ``limit`` (deprecated in the API) only the newest, newest first."""
    if limit is None:
        return _enriched(db, found_datasets(db, visible(db, config, scope), page))
    newest = visible(db, config, scope).order_by(None).order_by(Dataset.created_at.desc(), Dataset.id)
    return _enriched(db, db.scalars(newest.limit(max(limit, 0))).all())


@router.get("/query/ids", response_model=list[DatasetDataEnriched])
def query_by_ids(
    db: Db, config: Config, dataset_ids: Annotated[list[str], Query(alias="datasetIds")]
) -> JSONResponse:
    """Those of the datasets that exist."""
    query = visible(db, config, None).where(Dataset.id.in_(dataset_ids))
    return _enriched(db, db.scalars(query).all())


@router.get("/query/name/{dataset_name}", response_model=list[DatasetDataEnriched])
def query_by_name(
    dataset_name: NamePart, scope: Scope, page: Paged, db: Db, config: Config, exact: Flag = False
) -> JSONResponse:
    """The datasets whose name is, or begins with, ``dataset_name``."""
    query = visible(db, config, scope).where(named(dataset_name, exact=exact))
    return _enriched(db, found_datasets(db, query, page))
