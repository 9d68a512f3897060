"""The list of datasets, one dataset, and its four lights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy import func, select

from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.models.datasources import DatasourceConfigS3DelegatedAccess
from lightly_sandbox.platform.requests import S3, Config, Db
from lightly_sandbox.platform.routes.datasources import verified
from lightly_sandbox.platform.routes.pages.page import PageNumber, PageRoute, page
from lightly_sandbox.platform.routes.pages.runs import SHOWN_RUNS, runs_of, waiting
from lightly_sandbox.platform.s3_access import parse_s3_config
from lightly_sandbox.platform.tables import Dataset, Run, Sample, Tag
from lightly_sandbox.platform.tag_data import count
from lightly_sandbox.web.paging import Part

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

router = APIRouter(prefix="/web", route_class=PageRoute)

SHOWN_DATASETS, SHOWN_IMAGES = 50, 60

LIGHTS = (
    ("can_list", "List"),
    ("can_read", "Read"),
    ("can_write", "Write"),
    ("can_overwrite", "Overwrite"),
)


@router.get("")
def datasets(db: Db, config: Config, number: PageNumber = 1, name: str = "") -> HTMLResponse:
    """Every dataset, the newest first; with ``name``, those that have it in their name."""
    wanted = [Dataset.user_id == config.user_id]
    if name:
        wanted.append(Dataset.name.contains(name, autoescape=True))
    total = db.scalar(select(func.count()).select_from(Dataset).where(*wanted)) or 0
    part = Part.of(number, SHOWN_DATASETS, total)
    n_samples = (
        select(func.max(Sample.position)).where(Sample.dataset_id == Dataset.id).correlate(Dataset)
    ).scalar_subquery()
    n_tags = (
        select(func.count()).select_from(Tag).where(Tag.dataset_id == Dataset.id).correlate(Dataset)
    ).scalar_subquery()
    last_run = (
        select(Run.id)
        .where(Run.dataset_id == Dataset.id)
        .order_by(Run.created_at.desc(), Run.id)
        .limit(1)
        .correlate(Dataset)
    ).scalar_subquery()
    query = (
        select(Dataset, n_samples, n_tags, Run)
        .outerjoin(Run, Run.id == last_run)
        .where(*wanted)
        .order_by(Dataset.created_at.desc(), Dataset.id)
        .limit(part.size)
        .offset(part.start)
    )
    rows = [
        {
            "dataset": dataset,
            "n_samples": 0 if last is None else last + 1,
            "n_tags": tags,
            "run": run,
        }
        for dataset, last, tags, run in db.execute(query)
    ]
    return page("datasets.html", rows=rows, part=part, name=name)


@router.get("/dataset/{dataset_id}")
def dataset(dataset_id: str, db: Db, config: Config, number: PageNumber = 1) -> HTMLResponse:
    """One dataset: where its files are, its lights, tags, runs and images."""
    found = lookups.dataset(db, dataset_id, config.user_id)
    part = Part.of(number, SHOWN_IMAGES, lookups.sample_count(db, dataset_id))
    return page(
        "dataset.html",
        dataset=found,
        datasources=[_datasource(source.purpose, source.config) for source in found.datasources],
        tags=_tags(db, dataset_id),
        waiting=waiting(db, config.user_id, dataset_id),
        runs=runs_of(db, config.user_id, dataset_id, Part.of(1, SHOWN_RUNS, SHOWN_RUNS)),
        samples=samples_at(db, dataset_id, range(part.start, part.end)),
        part=part,
    )


@router.get("/dataset/{dataset_id}/lights")
def lights(dataset_id: str, db: Db, config: Config, access: S3) -> HTMLResponse:
    """The four lights, tried now: the part of the dataset's page that takes a moment."""
    found = lookups.dataset(db, dataset_id, config.user_id)
    try:
        verdict = verified(found, config, access)
    except ApiError as refused:
        return page("lights.html", lights=[], problem=refused.error, dataset=found, scope=None)
    shown = [
        {
            "name": label,
            "is_green": getattr(verdict, member),
            "error": None if verdict.errors is None else getattr(verdict.errors, member),
        }
        for member, label in LIGHTS
    ]
    return page("lights.html", lights=shown, problem=None, dataset=found, scope=config.verify_scope)


def samples_at(session: Session, dataset_id: str, positions: range | list[int]) -> list[Sample]:
    """Return the samples at these positions, in their order."""
    where = (
        Sample.position.between(positions.start, positions.stop - 1)
        if isinstance(positions, range)
        else Sample.position.in_(positions)
    )
    query = select(Sample).where(Sample.dataset_id == dataset_id, where).order_by(Sample.position)
    return list(session.scalars(query))


def _datasource(purpose: str, stored: dict[str, Any]) -> dict[str, Any]:
    """What a page shows of a datasource: never its secret key or external ID."""
    config = parse_s3_config(stored)
    delegated = isinstance(config, DatasourceConfigS3DelegatedAccess)
    return {
        "purpose": purpose,
        "path": config.full_path,
        "region": config.s3_region,
        "access": "role" if delegated else "access key",
        "who": config.s3_arn
        if isinstance(config, DatasourceConfigS3DelegatedAccess)
        else config.s3_access_key_id,
        "thumbnails": config.thumb_suffix,
        "kms_key": config.s3_server_side_encryption_kms_key,
    }


def _tags(session: Session, dataset_id: str) -> list[dict[str, Any]]:
    query = select(Tag).where(Tag.dataset_id == dataset_id).order_by(Tag.created_at, Tag.id)
    return [{"tag": tag, "n_samples": count(tag.bit_mask)} for tag in session.scalars(query)]
