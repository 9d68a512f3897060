"""Tags and their exports on the wire (lightly 1.5.26, models/tag_*.py, initial_tag_create_request.py)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ConfigDict, Field
from typing_extensions import TypeAliasType

from lightly_sandbox.contract.enums import (
    ImageType,
    TagArithmeticsOperation,
    TagChangeDataOperationMethod,
    TagCreator,
)
from lightly_sandbox.contract.wire import Amount, BitMask, Count, CreateEntityResponse, Id, TagName, Wire


class TagChangeDataArithmetics(Wire):
    operation: str
    tag1: str
    tag2: str


class TagChangeDataInitial(Wire):
    run_id: Id | None = None


class TagChangeDataMetadata(Wire):
    method: TagChangeDataOperationMethod
    count: Amount
    added: Amount
    removed: Amount
    changes: dict[str, Any]


class TagChangeDataRename(Wire):
    var_from: str = Field(alias="from")
    to: str


class TagChangeDataSampler(Wire):
    method: str


class TagChangeDataSamples(Wire):
    method: TagChangeDataOperationMethod
    count: Amount
    added: Amount
    removed: Amount


class TagChangeDataScatterplot(Wire):
    method: TagChangeDataOperationMethod
    view: str | None = None
    count: Amount
    added: Amount
    removed: Amount


class TagChangeDataUpsize(Wire):
    run_id: Id | None = None
    var_from: float = Field(alias="from")
    to: float


class TagChangeData(Wire):
    # The contract leaves it open for changes of other kinds.
    model_config = ConfigDict(extra="allow")

    initial: TagChangeDataInitial | None = None
    rename: TagChangeDataRename | None = None
    upsize: TagChangeDataUpsize | None = None
    arithmetics: TagChangeDataArithmetics | None = None
    metadata: TagChangeDataMetadata | None = None
    samples: TagChangeDataSamples | None = None
    scatterplot: TagChangeDataScatterplot | None = None
    sampler: TagChangeDataSampler | None = None


class TagChangeEntry(Wire):
    user_id: str
    creator: TagCreator
    ts: Count
    changes: TagChangeData


class InitialTagCreateRequest(Wire):
    name: TagName | None = None
    creator: TagCreator | None = None
    img_type: ImageType
    run_id: Id | None = None


class TagCreateRequest(Wire):
    name: TagName
    prev_tag_id: Id
    query_tag_id: Id | None = None
    preselected_tag_id: Id | None = None
    bit_mask_data: BitMask
    tot_size: int
    creator: TagCreator | None = None
    changes: TagChangeData | None = None
    run_id: Id | None = None


class TagUpdateRequest(Wire):
    update_creator: TagCreator | None = None
    name: TagName
    bit_mask_data: BitMask | None = None
    changes: TagChangeData | None = None


class TagArithmeticsRequest(Wire):
    tag_id1: Id
    tag_id2: Id
    operation: TagArithmeticsOperation
    new_tag_name: TagName | None = None
    creator: TagCreator | None = None
    run_id: Id | None = None


class TagBitMaskResponse(Wire):
    bit_mask_data: BitMask


TagArithmeticsResponse = TypeAliasType("TagArithmeticsResponse", CreateEntityResponse | TagBitMaskResponse)


class TagUpsizeRequest(Wire):
    upsize_tag_name: TagName
    upsize_tag_creator: TagCreator
    run_id: Id | None = None


class TagData(Wire):
    NULLABLE: ClassVar[frozenset[str]] = frozenset({"prevTagId"})

    id: Id
    dataset_id: Id
    prev_tag_id: Id | None
    query_tag_id: Id | None = None
    preselected_tag_id: Id | None = None
    name: TagName
    bit_mask_data: BitMask
    tot_size: int
    created_at: Count
    last_modified_at: Count | None = None
    changes: list[TagChangeEntry] | None = None
    run_id: Id | None = None
