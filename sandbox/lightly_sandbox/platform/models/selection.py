"""The selection configuration V4 on the wire (lightly 1.5.26, models/selection_config_v4*.py)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from typing_extensions import TypeAliasType

from lightly_sandbox.contract.enums import (
    SelectionInputPredictionsName,
    SelectionInputType,
    SelectionStrategyThresholdOperation,
    SelectionStrategyTypeV3,
)
from lightly_sandbox.contract.wire import (
    Above0,
    Amount,
    CountOrMinusOne,
    Id,
    NonEmpty,
    Positive,
    ScoreName,
    Share,
    TagName,
    TaskName,
    Wire,
)


def _unique(values: list[str]) -> list[str]:
    if len(set(values)) != len(values):
        raise ValueError("the entries must be unique")
    return values


class AutoTaskCrop(Wire):
    type: Literal["CROP"]
    name: TaskName
    bboxs: Annotated[list[Annotated[list[Share], Field(min_length=4, max_length=4)]], Field(min_length=1)]


class AutoTaskTiling(Wire):
    type: Literal["TILING"]
    name: TaskName
    num_rows: Positive
    num_cols: Positive
    overlap: Amount = 0.0


AutoTask = TypeAliasType("AutoTask", Annotated[AutoTaskCrop | AutoTaskTiling, Field(discriminator="type")])


class SelectionConfigV4EntryInput(Wire):
    type: SelectionInputType
    task: TaskName | None = None
    score: ScoreName | None = None
    key: NonEmpty | None = None
    name: SelectionInputPredictionsName | None = None
    dataset_id: Id | None = None
    tag_name: TagName | None = None
    random_seed: int | None = None
    categories: (
        Annotated[
            list[NonEmpty],
            Field(min_length=1, json_schema_extra={"uniqueItems": True}),
            AfterValidator(_unique),
        ]
        | None
    ) = None


class SelectionConfigV3EntryStrategyAllOfTargetRange(Wire):
    min_sum: Amount | None = None
    max_sum: Amount | None = None


class SelectionConfigV4EntryStrategy(Wire):
    type: SelectionStrategyTypeV3
    stopping_condition_minimum_distance: float | None = Field(
        None, alias="stopping_condition_minimum_distance"
    )
    threshold: float | None = None
    operation: SelectionStrategyThresholdOperation | None = None
    target: dict[str, Any] | None = None
    num_nearest_neighbors: Annotated[int, Field(ge=2)] | None = None
    stopping_condition_minimum_typicality: Above0 | None = None
    strength: Annotated[float, Field(ge=-1000000000, le=1000000000)] | None = None
    stopping_condition_max_sum: Amount | None = None
    target_range: SelectionConfigV3EntryStrategyAllOfTargetRange | None = None
    distribution: Literal["TARGET", "UNIFORM", "INPUT"] | None = None


class SelectionConfigV4Entry(Wire):
    input: SelectionConfigV4EntryInput
    strategy: SelectionConfigV4EntryStrategy


class SelectionConfigV4(Wire):
    n_samples: CountOrMinusOne | None = None
    proportion_samples: Share | None = None
    strategies: Annotated[list[SelectionConfigV4Entry], Field(min_length=1)]
    lightly_path_regex: NonEmpty | None = None
    auto_tasks: list[AutoTask] | None = None
