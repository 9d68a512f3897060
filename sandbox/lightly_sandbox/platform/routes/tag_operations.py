"""``/v1/datasets/{datasetId}/tags/arithmetics`` and ``…/upsize``: tags made from other tags."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from lightly_sandbox.contract.enums import TagArithmeticsOperation
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.contract.wire import CreateEntityResponse
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.errors import unknown
from lightly_sandbox.platform.models.tags import (
    TagArithmeticsRequest,
    TagArithmeticsResponse,
    TagBitMaskResponse,
    TagChangeData,
    TagChangeDataArithmetics,
    TagChangeDataUpsize,
    TagUpsizeRequest,
)
from lightly_sandbox.platform.requests import CREATED, Config, Db, answer, created, json_body
from lightly_sandbox.platform.routes.tags import changes_by, flush_tag
from lightly_sandbox.platform.tables import Tag
from lightly_sandbox.platform.tag_data import all_bits

router = APIRouter(prefix="/v1/datasets/{dataset_id}/tags")

ArithmeticsBody = Annotated[TagArithmeticsRequest, Depends(json_body(TagArithmeticsRequest))]


def combined(bits1: int, bits2: int, operation: TagArithmeticsOperation) -> int:
    """The samples of either tag, of both, or of the first one only."""
    match operation:
        case TagArithmeticsOperation.UNION:
            return bits1 | bits2
        case TagArithmeticsOperation.INTERSECTION:
            return bits1 & bits2
        case TagArithmeticsOperation.DIFFERENCE:
            return bits1 & ~bits2


def _operands(session: Session, dataset_id: str, body: TagArithmeticsRequest) -> tuple[Tag, Tag, str]:
    first = lookups.tag(session, dataset_id, body.tag_id1)
    second = lookups.tag(session, dataset_id, body.tag_id2)
    return first, second, hex(combined(int(first.bit_mask, 16), int(second.bit_mask, 16), body.operation))


@router.post("/arithmetics", response_model=TagArithmeticsResponse)
def arithmetics(dataset_id: str, body: ArithmeticsBody, db: Db, config: Config) -> JSONResponse:
    """The bit mask of two tags combined, or with ``newTagName`` the id of a new tag that has it."""
    lookups.dataset(db, dataset_id, config.user_id)
    first, second, bit_mask = _operands(db, dataset_id, body)
    if body.run_id is not None:
        lookups.run(db, body.run_id, config.user_id)
    if body.new_tag_name is None:
        return answer(TagBitMaskResponse(bit_mask_data=bit_mask))
    now = now_ms()
    of = TagChangeDataArithmetics(operation=body.operation, tag1=first.name, tag2=second.name)
    tag = Tag(
        id=new_id(),
        dataset_id=dataset_id,
        name=body.new_tag_name,
        prev_tag_id=first.id,
        bit_mask=bit_mask,
        tot_size=max(first.tot_size, second.tot_size),
        run_id=body.run_id,
        changes=changes_by(config.user_id, body.creator, TagChangeData(arithmetics=of), now),
        created_at=now,
        last_modified_at=now,
    )
    db.add(tag)
    flush_tag(db, tag.name)
    return answer(CreateEntityResponse(id=tag.id))


@router.post("/arithmetics/bitmask", response_model=TagBitMaskResponse)
def arithmetics_bit_mask(dataset_id: str, body: ArithmeticsBody, db: Db, config: Config) -> JSONResponse:
    """The bit mask of two tags combined (deprecated in the API)."""
    lookups.dataset(db, dataset_id, config.user_id)
    return answer(TagBitMaskResponse(bit_mask_data=_operands(db, dataset_id, body)[2]))


@router.post("/upsize", **CREATED)
def upsize(
    dataset_id: str,
    body: Annotated[TagUpsizeRequest, Depends(json_body(TagUpsizeRequest))],
    db: Db,
    config: Config,
) -> JSONResponse:
    """Bring every tag to the dataset's present size, and make a tag of what is new to the initial one.

    The initial tag has every sample afterwards; the other tags keep theirs.
    """
    lookups.dataset(db, dataset_id, config.user_id)
    if body.run_id is not None:
        lookups.run(db, body.run_id, config.user_id)
    tags = list(db.scalars(select(Tag).where(Tag.dataset_id == dataset_id)))
    initial = next((tag for tag in tags if tag.prev_tag_id is None), None)
    if initial is None:
        raise unknown(ApiErrorCode.TAG_UNKNOWN, "initial tag in dataset", dataset_id)
    size, now = lookups.sample_count(db, dataset_id), now_ms()
    everything = int(all_bits(size), 16)
    added = everything & ~int(initial.bit_mask, 16)
    for tag in tags:
        of = TagChangeDataUpsize.model_validate(
            {"runId": body.run_id, "from": float(tag.tot_size), "to": float(size)}
        )
        change = changes_by(config.user_id, body.upsize_tag_creator, TagChangeData(upsize=of), now)
        tag.changes, tag.tot_size = [*tag.changes, *change], size
        tag.last_modified_at = max(now, tag.last_modified_at + 1)
    initial.bit_mask = hex(everything)
    made = Tag(
        id=new_id(),
        dataset_id=dataset_id,
        name=body.upsize_tag_name,
        prev_tag_id=initial.id,
        bit_mask=hex(added),
        tot_size=size,
        run_id=body.run_id,
        changes=[],
        created_at=now,
        last_modified_at=now,
    )
    db.add(made)
    flush_tag(db, made.name)
    return created(made.id)
