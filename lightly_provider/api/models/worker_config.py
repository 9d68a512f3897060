"""The worker configuration, version V4, as the vendor's client sends it.

Field names, limits and enums: ``lightly`` 1.5.26, models/docker_worker_config_v4*.py,
models/docker_worker_config_v3_lightly*.py and models/selection_config_v4*.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from lightly_provider.api.models.wire import Answer, EntityId, Request, Word
from lightly_provider.contract import (
    RESOURCE_NAME_PATTERN,
    SHORTEST_NAME,
    TAG_NAME_PATTERN,
    Creator,
    WorkerConfigVersion,
    WorkerType,
)

ResourceName = Annotated[str, StringConstraints(pattern=RESOURCE_NAME_PATTERN)]
NonEmptyName = Annotated[str, StringConstraints(min_length=1, pattern=RESOURCE_NAME_PATTERN)]
TagName = Annotated[str, StringConstraints(min_length=SHORTEST_NAME, pattern=TAG_NAME_PATTERN)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
PositiveInt = Annotated[int, Field(ge=1)]


class SelectionInput(Request):
    """The input of a strategy."""

    type: Literal["EMBEDDINGS", "SCORES", "METADATA", "PREDICTIONS", "RANDOM"]
    task: ResourceName | None = None
    score: NonEmptyName | None = None
    key: Annotated[str, StringConstraints(min_length=1)] | None = None
    name: Literal["CLASS_DISTRIBUTION", "CATEGORY_COUNT"] | None = None
    dataset_id: EntityId | None = None
    tag_name: TagName | None = None
    random_seed: int | None = None
    categories: Annotated[list[Annotated[str, StringConstraints(min_length=1)]], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> SelectionInput:
        needed = {"SCORES": ("task", "score"), "METADATA": ("key",), "PREDICTIONS": ("task", "name")}
        for member in needed.get(self.type, ()):
            if getattr(self, member) is None:
                raise ValueError(f"an input of type {self.type} needs {member!r}")
        if self.categories and len(set(self.categories)) < len(self.categories):
            raise ValueError("'categories' names one of them twice")
        return self


class TargetRange(Request):
    """Bounds of a WEIGHTS strategy's sum."""

    min_sum: NonNegative | None = None
    max_sum: NonNegative | None = None


class SelectionStrategy(Request):
    """How a strategy selects."""

    type: Literal["DIVERSITY", "WEIGHTS", "THRESHOLD", "BALANCE", "SIMILARITY", "TYPICALITY"]
    # The only member that is snake_case on the wire, too.
    stopping_condition_minimum_distance: float | None = Field(default=None, alias="stopping_condition_minimum_distance")
    threshold: float | None = None
    operation: Literal["SMALLER", "SMALLER_EQUAL", "BIGGER", "BIGGER_EQUAL"] | None = None
    target: dict[str, float] | None = None
    num_nearest_neighbors: Annotated[int, Field(ge=2)] | None = None
    stopping_condition_minimum_typicality: Annotated[float, Field(gt=0)] | None = None
    strength: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    stopping_condition_max_sum: NonNegative | None = None
    target_range: TargetRange | None = None
    distribution: Literal["TARGET", "UNIFORM", "INPUT"] | None = None

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> SelectionStrategy:
        if self.type == "THRESHOLD" and (self.threshold is None or self.operation is None):
            raise ValueError("a THRESHOLD strategy needs 'threshold' and 'operation'")
        if self.distribution == "TARGET" and not self.target:
            raise ValueError("a BALANCE strategy with distribution TARGET needs 'target'")
        return self


class SelectionEntry(Request):
    """One of the strategies that a selection combines."""

    input: SelectionInput
    strategy: SelectionStrategy


class AutoTaskTiling(Request):
    """Selection on the tiles of a grid."""

    type: Literal["TILING"]
    name: ResourceName
    num_rows: PositiveInt
    num_cols: PositiveInt
    overlap: NonNegative = 0.0


class AutoTaskCrop(Request):
    """Selection on fixed crops, given as fractions of width and height."""

    type: Literal["CROP"]
    name: ResourceName
    bboxs: Annotated[list[Annotated[list[Share], Field(min_length=4, max_length=4)]], Field(min_length=1)]


class SelectionConfig(Request):
    """How many samples are selected, and by which strategies."""

    # The platform's numbers are those of JavaScript, which are exact up to here; no bucket has that many files.
    n_samples: Annotated[int, Field(ge=-1, le=2**53)] | None = None
    proportion_samples: Share | None = None
    strategies: Annotated[list[SelectionEntry], Field(min_length=1)]
    lightly_path_regex: Annotated[str, StringConstraints(min_length=1)] | None = None
    auto_tasks: list[Annotated[AutoTaskTiling | AutoTaskCrop, Field(discriminator="type")]] = []

    @model_validator(mode="after")
    def _one_size(self) -> SelectionConfig:
        # Both are optional in the schema; the vendor's documentation requires exactly one.
        if (self.n_samples is None) == (self.proportion_samples is None):
            raise ValueError("set exactly one of 'n_samples' and 'proportion_samples'")
        return self


class CorruptnessCheck(Request):
    """How many corrupt files are tolerated."""

    corruption_threshold: Share | None = None


class InputExpiration(Request):
    """What to do with input whose links expire soon."""

    min_days_to_expiration: NonNegative
    handling_strategy: Literal["SKIP", "ABORT"]


class DatasourceOptions(Request):
    """How the worker treats the datasource."""

    bypass_verify: bool | None = None
    enable_datapool_update: bool | None = None
    process_all: bool | None = None
    input_expiration: InputExpiration | None = None


class Crops(Request):
    """Whether crops of objects are uploaded."""

    enable_upload: bool = True
    enable_upload_for_tasks: list[str] | None = None


class Training(Request):
    """Training of the embedding model."""

    task_name: ResourceName | None = None


class WorkerOptions(Request):
    """The ``docker`` section: the Lightly Worker itself (``worker_config`` in the operator)."""

    checkpoint: str | None = None
    checkpoint_run_id: EntityId | None = None
    corruptness_check: CorruptnessCheck | None = None
    datasource: DatasourceOptions | None = None
    crops: Crops | None = None
    embeddings: str | None = None
    enable_training: bool | None = None
    training: Training | None = None
    normalize_embeddings: bool | None = None
    num_processes: Annotated[int, Field(ge=-1)] | None = None
    num_threads: Annotated[int, Field(ge=-1)] | None = None
    output_image_format: str | None = None
    pretagging: bool | None = None
    pretagging_upload: bool | None = None
    relevant_filenames_file: str | None = None
    selected_sequence_length: PositiveInt | None = None
    upload_report: bool | None = None
    use_datapool: bool | None = None
    shutdown_when_job_finished: bool | None = None
    cache_size: Annotated[int, Field(ge=-1)] | None = None


class CheckpointCallback(Request):
    """Checkpoints during training."""

    save_last: bool | None = None


class Loader(Request):
    """The training's data loader."""

    batch_size: PositiveInt | None = None
    shuffle: bool | None = None
    num_workers: Annotated[int, Field(ge=-1)] | None = None
    drop_last: bool | None = None


class Model(Request):
    """The embedding model."""

    name: Literal["resnet-18", "resnet-34", "resnet-50", "resnet-101", "resnet-152"] | None = None
    out_dim: PositiveInt | None = None
    num_ftrs: PositiveInt | None = None
    width: PositiveInt | None = None


class Trainer(Request):
    """The training's hardware and length."""

    gpus: Annotated[int, Field(ge=0)] | None = None
    max_epochs: Annotated[int, Field(ge=0)] | None = None
    precision: Literal[16, 32] | None = None


class Criterion(Request):
    """The training's loss."""

    temperature: Annotated[float, Field(gt=0.0)] | None = None


class Optimizer(Request):
    """The training's optimizer."""

    lr: NonNegative | None = None
    weight_decay: Share | None = None


class Collate(Request):
    """The training's augmentations."""

    input_size: PositiveInt | None = None
    cj_prob: Share | None = None
    cj_bright: Share | None = None
    cj_contrast: Share | None = None
    cj_sat: Share | None = None
    cj_hue: Share | None = None
    min_scale: Share | None = None
    random_gray_scale: Share | None = None
    gaussian_blur: Share | None = None
    kernel_size: NonNegative | None = None
    sigmas: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)] | None = None
    vf_prob: Share | None = None
    hf_prob: Share | None = None
    rr_prob: Share | None = None
    rr_degrees: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None


class LightlyOptions(Request):
    """The ``lightly`` section: training of the embedding model (``lightly_config`` in the operator)."""

    seed: int | None = None
    checkpoint_callback: CheckpointCallback | None = None
    loader: Loader | None = None
    model: Model | None = None
    trainer: Trainer | None = None
    criterion: Criterion | None = None
    optimizer: Optimizer | None = None
    collate: Collate | None = None


class WorkerConfig(Request):
    """A complete worker configuration."""

    worker_type: Literal[WorkerType.FULL] = WorkerType.FULL
    docker: WorkerOptions | None = None
    lightly: LightlyOptions | None = None
    selection: SelectionConfig | None = None


class WorkerConfigCreateRequest(Request):
    """Body of ``create_docker_worker_config_vx``."""

    version: Literal[WorkerConfigVersion.V4] = WorkerConfigVersion.V4
    creator: Literal[Creator.USER_PIP] = Creator.USER_PIP
    config: WorkerConfig


class StoredWorkerConfig(Answer):
    """A configuration as the platform stores it; ``config`` as it was sent."""

    id: EntityId
    version: Word = ""
    config: dict[str, Any]

    def is_of(self, config: WorkerConfig) -> bool:
        """Return whether the stored configuration equals this one; None counts as omitted."""
        return bool(_without_none(self.config) == config.to_wire())


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
