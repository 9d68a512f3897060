"""``/v1/datasets/{datasetId}/tags``."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from lightly_sandbox.contract.enums import TagCreator
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.lifecycle import TERMINAL, refused
from lightly_sandbox.platform.models.tags import (
    InitialTagCreateRequest,
    TagChangeData,
    TagChangeEntry,
    TagCreateRequest,
    TagData,
    TagUpdateRequest,
)
from lightly_sandbox.platform.requests import CREATED, DONE, Config, Db, answer, created, done, json_body
from lightly_sandbox.platform.tables import Tag
from lightly_sandbox.platform.tag_data import all_bits, tag_data

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

router = APIRouter(prefix="/v1/datasets/{dataset_id}/tags")

INITIAL_NAME = "initial-tag"


def _bad(code: ApiErrorCode, error: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, code, error)


def changes_by(
    user_id: str, creator: TagCreator | None, changes: TagChangeData | None, now: int
) -> list[dict[str, Any]]:
    """The history entry for ``changes``, as it is kept; none for None."""
    if changes is None:
        return []
    entry = TagChangeEntry(user_id=user_id, creator=creator or TagCreator.UNKNOWN, ts=now, changes=changes)
    return [entry.wire()]


def flush_tag(session: Session, name: str) -> None:
    """Write the tag named ``name``, or 409 TAG_NAME_EXISTS."""
    try:
        session.flush()
    except IntegrityError as taken:
        raise ApiError(
            HTTPStatus.CONFLICT,
            ApiErrorCode.TAG_NAME_EXISTS,
            f"The dataset has a tag named '{name}' already.",
        ) from taken


def _check_bits(bit_mask: str, tot_size: int, n_samples: int) -> None:
    if tot_size != n_samples:
        raise _bad(
            ApiErrorCode.DATASET_TAG_INVALID,
            f"body.totSize: {tot_size}, but the dataset has {n_samples} samples.",
        )
    if int(bit_mask, 16) >> tot_size:
        raise _bad(
            ApiErrorCode.DATASET_TAG_INVALID, f"body.bitMaskData: has a bit beyond the {tot_size} samples."
        )


def _check_run(session: Session, run_id: str | None, user_id: str) -> None:
    """Refuse a run that has ended: a worker that was taken for dead must not publish what it has done."""
    if run_id is not None and (run := lookups.run(session, run_id, user_id)).state in TERMINAL:
        raise refused(run, f"has ended as {run.state}; it makes no tags any more.")


@router.post("/initial", **CREATED)
def create_initial(
    dataset_id: str,
    body: Annotated[InitialTagCreateRequest, Depends(json_body(InitialTagCreateRequest))],
    db: Db,
    config: Config,
) -> JSONResponse:
    """Make the first tag, with every sample there is."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    if db.scalar(select(Tag.id).where(Tag.dataset_id == dataset_id, Tag.prev_tag_id.is_(None))) is not None:
        raise ApiError(
            HTTPStatus.CONFLICT, ApiErrorCode.TAG_INITIAL_EXISTS, f"Dataset {dataset_id} has an initial tag."
        )
    _check_run(db, body.run_id, config.user_id)
    size, now = lookups.sample_count(db, dataset_id), now_ms()
    tag = Tag(
        id=new_id(),
        dataset_id=dataset_id,
        name=body.name or INITIAL_NAME,
        bit_mask=all_bits(size),
        tot_size=size,
        run_id=body.run_id,
        changes=[],
        created_at=now,
        last_modified_at=now,
    )
    dataset.img_type = dataset.img_type or body.img_type
    db.add(tag)
    flush_tag(db, tag.name)
    return created(tag.id)


@router.post("", **CREATED)
def create(
    dataset_id: str,
    body: Annotated[TagCreateRequest, Depends(json_body(TagCreateRequest))],
    db: Db,
    config: Config,
) -> JSONResponse:
    """Make a tag after an earlier one, over all samples that the dataset has now."""
    lookups.dataset(db, dataset_id, config.user_id)
    for tag_id, code in (
        (body.prev_tag_id, ApiErrorCode.TAG_PREVTAG_NOT_IN_DATASET),
        (body.query_tag_id, ApiErrorCode.TAG_QUERYTAG_NOT_IN_DATASET),
        (body.preselected_tag_id, ApiErrorCode.TAG_PRESELECTEDTAG_NOT_IN_DATASET),
    ):
        other = None if tag_id is None else db.get(Tag, tag_id)
        if tag_id is not None and (other is None or other.dataset_id != dataset_id):
            raise _bad(code, f"Dataset {dataset_id} has no tag {tag_id}.")
    _check_run(db, body.run_id, config.user_id)
    _check_bits(body.bit_mask_data, body.tot_size, lookups.sample_count(db, dataset_id))
    now = now_ms()
    tag = Tag(
        id=new_id(),
        dataset_id=dataset_id,
        name=body.name,
        prev_tag_id=body.prev_tag_id,
        query_tag_id=body.query_tag_id,
        preselected_tag_id=body.preselected_tag_id,
        bit_mask=body.bit_mask_data,
        tot_size=body.tot_size,
        run_id=body.run_id,
        changes=changes_by(config.user_id, body.creator, body.changes, now),
        created_at=now,
        last_modified_at=now,
    )
    db.add(tag)
    flush_tag(db, tag.name)
    return created(tag.id)


@router.get("", response_model=list[TagData])
def list_all(dataset_id: str, db: Db, config: Config) -> JSONResponse:
    """The dataset's tags, oldest first."""
    lookups.dataset(db, dataset_id, config.user_id)
    query = select(Tag).where(Tag.dataset_id == dataset_id).order_by(Tag.created_at, Tag.id)
    return answer([tag_data(tag) for tag in db.scalars(query)])


@router.get("/{tag_id}", response_model=TagData)
def get(dataset_id: str, tag_id: str, db: Db, config: Config) -> JSONResponse:
    """One tag."""
    lookups.dataset(db, dataset_id, config.user_id)
    return answer(tag_data(lookups.tag(db, dataset_id, tag_id)))


@router.put("/{tag_id}", **DONE)
def update(
    dataset_id: str,
    tag_id: str,
    body: Annotated[TagUpdateRequest, Depends(json_body(TagUpdateRequest))],
    db: Db,
    config: Config,
) -> Response:
    """Rename a tag, or change which samples it has."""
    lookups.dataset(db, dataset_id, config.user_id)
    tag = lookups.tag(db, dataset_id, tag_id)
    # Later than before, whatever the clock says: it is the tag's version.
    now = max(now_ms(), tag.last_modified_at + 1)
    tag.name, tag.last_modified_at = body.name, now
    tag.changes = [*tag.changes, *changes_by(config.user_id, body.update_creator, body.changes, now)]
    if body.bit_mask_data is not None:
        _check_bits(body.bit_mask_data, tag.tot_size, tag.tot_size)
        tag.bit_mask = body.bit_mask_data
    flush_tag(db, body.name)
    return done()


@router.delete("/{tag_id}", **DONE)
def delete(dataset_id: str, tag_id: str, db: Db, config: Config) -> Response:
    """Delete a tag that no other one comes after."""
    lookups.dataset(db, dataset_id, config.user_id)
    tag = lookups.tag(db, dataset_id, tag_id)
    if tag.prev_tag_id is None:
        raise _bad(ApiErrorCode.TAG_UNDELETABLE_IS_INITIAL, f"Tag '{tag.name}' is the dataset's initial tag.")
    if db.scalar(select(Tag.id).where(Tag.prev_tag_id == tag_id).limit(1)) is not None:
        raise _bad(ApiErrorCode.TAG_UNDELETABLE_NOT_A_LEAF, f"Another tag comes after '{tag.name}'.")
    db.delete(tag)
    return done()
