"""The worker configuration V4 on the wire (lightly 1.5.26, models/docker_worker_config_v4*.py).

V4 reuses most parts of V3.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lightly_sandbox.contract.enums import (
    Creator,
    DockerWorkerType,
    ExpiryHandlingStrategyV3,
    LightlyModelV3,
    LightlyTrainerPrecisionV3,
)
from lightly_sandbox.contract.wire import (
    Above0,
    Amount,
    Count,
    CountOrMinusOne,
    Id,
    Positive,
    Share,
    TaskName,
    Wire,
)
from lightly_sandbox.platform.models.selection import SelectionConfigV4


class DockerWorkerConfigV3DatasourceInputExpiration(Wire):
    min_days_to_expiration: Amount
    handling_strategy: ExpiryHandlingStrategyV3


class DockerWorkerConfigV3DockerCorruptnessCheck(Wire):
    corruption_threshold: Share | None = None


class DockerWorkerConfigV3DockerDatasource(Wire):
    bypass_verify: bool | None = None
    enable_datapool_update: bool | None = None
    process_all: bool | None = None
    input_expiration: DockerWorkerConfigV3DatasourceInputExpiration | None = None


class DockerWorkerConfigV3DockerTraining(Wire):
    task_name: TaskName | None = None


class DockerWorkerConfigV3LightlyCheckpointCallback(Wire):
    save_last: bool | None = None


class DockerWorkerConfigV3LightlyCollate(Wire):
    NULLABLE: ClassVar[frozenset[str]] = frozenset({"rrDegrees"})

    input_size: Positive | None = None
    cj_prob: Share | None = None
    cj_bright: Share | None = None
    cj_contrast: Share | None = None
    cj_sat: Share | None = None
    cj_hue: Share | None = None
    min_scale: Share | None = None
    random_gray_scale: Share | None = None
    gaussian_blur: Share | None = None
    kernel_size: Amount | None = None
    sigmas: Annotated[list[Above0], Field(min_length=2, max_length=2)] | None = None
    vf_prob: Share | None = None
    hf_prob: Share | None = None
    rr_prob: Share | None = None
    rr_degrees: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None


class DockerWorkerConfigV3LightlyCriterion(Wire):
    temperature: Above0 | None = None


class DockerWorkerConfigV3LightlyLoader(Wire):
    batch_size: Positive | None = None
    shuffle: bool | None = None
    num_workers: CountOrMinusOne | None = None
    drop_last: bool | None = None


class DockerWorkerConfigV3LightlyModel(Wire):
    name: LightlyModelV3 | None = None
    out_dim: Positive | None = None
    num_ftrs: Positive | None = None
    width: Positive | None = None


class DockerWorkerConfigV3LightlyOptimizer(Wire):
    lr: Amount | None = None
    weight_decay: Share | None = None


class DockerWorkerConfigV3LightlyTrainer(Wire):
    gpus: Count | None = None
    max_epochs: Count | None = None
    precision: LightlyTrainerPrecisionV3 | None = None


class DockerWorkerConfigV3Lightly(Wire):
    seed: int | None = None
    checkpoint_callback: DockerWorkerConfigV3LightlyCheckpointCallback | None = None
    loader: DockerWorkerConfigV3LightlyLoader | None = None
    model: DockerWorkerConfigV3LightlyModel | None = None
    trainer: DockerWorkerConfigV3LightlyTrainer | None = None
    criterion: DockerWorkerConfigV3LightlyCriterion | None = None
    optimizer: DockerWorkerConfigV3LightlyOptimizer | None = None
    collate: DockerWorkerConfigV3LightlyCollate | None = None


class DockerWorkerConfigV4DockerCrops(Wire):
    NULLABLE: ClassVar[frozenset[str]] = frozenset({"enableUploadForTasks"})

    enable_upload: bool = True
    enable_upload_for_tasks: list[str] | None = None


class DockerWorkerConfigV4Docker(Wire):
    checkpoint: str | None = None
    checkpoint_run_id: Id | None = None
    corruptness_check: DockerWorkerConfigV3DockerCorruptnessCheck | None = None
    datasource: DockerWorkerConfigV3DockerDatasource | None = None
    crops: DockerWorkerConfigV4DockerCrops | None = None
    embeddings: str | None = None
    enable_training: bool | None = None
    training: DockerWorkerConfigV3DockerTraining | None = None
    normalize_embeddings: bool | None = None
    num_processes: CountOrMinusOne | None = None
    num_threads: CountOrMinusOne | None = None
    output_image_format: str | None = None
    pretagging: bool | None = None
    pretagging_upload: bool | None = None
    relevant_filenames_file: str | None = None
    selected_sequence_length: Positive | None = None
    upload_report: bool | None = None
    use_datapool: bool | None = None
    shutdown_when_job_finished: bool | None = None
    cache_size: CountOrMinusOne | None = None


class DockerWorkerConfigV4(Wire):
    worker_type: DockerWorkerType
    docker: DockerWorkerConfigV4Docker | None = None
    lightly: DockerWorkerConfigV3Lightly | None = None
    selection: SelectionConfigV4 | None = None


class DockerWorkerConfigOmniV4CreateRequest(Wire):
    version: Literal["V4"]
    creator: Creator | None = None
    config: DockerWorkerConfigV4


class DockerWorkerConfigV4Data(Wire):
    id: Id
    version: Literal["V4"]
    created_at: Count
    config: DockerWorkerConfigV4
    config_orig: DockerWorkerConfigV4 | None = None
