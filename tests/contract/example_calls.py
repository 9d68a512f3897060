"""Every call that the provider can make, with arguments that use all that the contract has for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.api import calls
from lightly_provider.api.models.dataset import DatasetCreateRequest, SharedAccessRequest, TagCreateRequest
from lightly_provider.api.models.datasource import (
    ProcessedUntilRequest,
    S3DelegatedAccessDatasource,
    S3UserAccessDatasource,
)
from lightly_provider.api.models.run import ScheduleRequest, WorkerRegistration
from lightly_provider.api.models.worker_config import WorkerConfigCreateRequest
from lightly_provider.contract import DatasetType, FileNameFormat, Purpose, RunPriority, SharedAccessType

if TYPE_CHECKING:
    from lightly_provider.api.calls import Call

DATASET, RUN, SCHEDULED_RUN, TAG, ARTIFACT, CONFIG, WORKER, SAMPLE = (digit * 24 for digit in "abcdef12")

KMS_KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
THUMBNAILS = ".lightly/thumbnails/[filename]_thumb.[extension]"

USER_ACCESS = S3UserAccessDatasource(
    purpose="INPUT",
    full_path="s3://bucket/ein pfad/",
    s3_region="eu-central-1",
    s3_access_key_id="AKIAIOSFODNN7EXAMPLE",
    s3_secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
)
USER_ACCESS_FULL = USER_ACCESS.model_copy(
    update={"purpose": Purpose.INPUT_OUTPUT, "thumb_suffix": THUMBNAILS, "kms_key_arn": KMS_KEY}
)
DELEGATED_ACCESS = S3DelegatedAccessDatasource(
    purpose="LIGHTLY",
    full_path="s3://bucket/lightly/",
    s3_region="us-east-1",
    s3_arn="arn:aws:iam::123456789012:role/path/Lightly-S3",
    s3_external_id="at-least-10_chars+=,.@:/",
)
DELEGATED_ACCESS_FULL = DELEGATED_ACCESS.model_copy(update={"thumb_suffix": THUMBNAILS, "kms_key_arn": KMS_KEY})

_EMBEDDINGS = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
SELECTIONS: dict[str, dict[str, Any]] = {
    "small": {"n_samples": 10, "strategies": [_EMBEDDINGS]},
    "everything": {
        "proportion_samples": 0.25,
        "lightly_path_regex": r".*\.jpg$",
        "strategies": [
            {
                "input": {"type": "EMBEDDINGS", "dataset_id": DATASET, "tag_name": "query tag:1"},
                "strategy": {"type": "SIMILARITY", "strength": -2.5},
            },
            {
                "input": {"type": "EMBEDDINGS"},
                "strategy": {"type": "DIVERSITY", "stopping_condition_minimum_distance": 0.1},
            },
            {
                "input": {"type": "EMBEDDINGS"},
                "strategy": {
                    "type": "TYPICALITY",
                    "num_nearest_neighbors": 20,
                    "stopping_condition_minimum_typicality": 0.5,
                },
            },
            {
                "input": {"type": "SCORES", "task": "a-task", "score": "uncertainty_entropy"},
                "strategy": {"type": "WEIGHTS", "target_range": {"min_sum": 1, "max_sum": 2.5}},
            },
            {
                "input": {"type": "RANDOM", "random_seed": 42},
                "strategy": {"type": "WEIGHTS", "stopping_condition_max_sum": 100},
            },
            {
                "input": {"type": "METADATA", "key": "lightly.sharpness"},
                "strategy": {"type": "THRESHOLD", "threshold": 20, "operation": "BIGGER_EQUAL"},
            },
            {
                "input": {
                    "type": "PREDICTIONS",
                    "task": "a-task",
                    "name": "CLASS_DISTRIBUTION",
                    "categories": ["car", "snake_case"],
                },
                "strategy": {
                    "type": "BALANCE",
                    "distribution": "TARGET",
                    "target": {"car": 0.5, "snake_case": 0.5},
                },
            },
        ],
        "auto_tasks": [
            {"type": "TILING", "name": "tiles", "num_rows": 2, "num_cols": 3, "overlap": 0.1},
            {"type": "CROP", "name": "crops", "bboxs": [[0, 0.25, 0.5, 1], [0.0, 0.0, 1.0, 1.0]]},
        ],
    },
}
WORKER_OPTIONS: dict[str, Any] = {
    "checkpoint": "last.ckpt",
    "checkpoint_run_id": RUN,
    "corruptness_check": {"corruption_threshold": 0.1},
    "datasource": {
        "bypass_verify": True,
        "enable_datapool_update": False,
        "process_all": True,
        "input_expiration": {"min_days_to_expiration": 1.5, "handling_strategy": "SKIP"},
    },
    "crops": {"enable_upload": False, "enable_upload_for_tasks": ["a-task"]},
    "embeddings": "embeddings.csv",
    "enable_training": True,
    "training": {"task_name": "a-task"},
    "normalize_embeddings": True,
    "num_processes": -1,
    "num_threads": 4,
    "output_image_format": "png",
    "pretagging": True,
    "pretagging_upload": True,
    "relevant_filenames_file": ".lightly/relevant.txt",
    "selected_sequence_length": 1,
    "upload_report": True,
    "use_datapool": True,
    "shutdown_when_job_finished": False,
    "cache_size": 0,
}
LIGHTLY_OPTIONS: dict[str, Any] = {
    "seed": 1,
    "checkpoint_callback": {"save_last": True},
    "loader": {"batch_size": 16, "shuffle": True, "num_workers": -1, "drop_last": True},
    "model": {"name": "resnet-18", "out_dim": 128, "num_ftrs": 32, "width": 1},
    "trainer": {"gpus": 1, "max_epochs": 100, "precision": 32},
    "criterion": {"temperature": 0.5},
    "optimizer": {"lr": 1, "weight_decay": 1e-5},
    "collate": {
        "input_size": 64,
        "cj_prob": 0.8,
        "cj_bright": 0.7,
        "cj_contrast": 0.7,
        "cj_sat": 0.7,
        "cj_hue": 0.2,
        "min_scale": 0.15,
        "random_gray_scale": 0.2,
        "gaussian_blur": 0.5,
        "kernel_size": 0.1,
        "sigmas": [0.2, 2],
        "vf_prob": 0.0,
        "hf_prob": 0.5,
        "rr_prob": 1,
        "rr_degrees": [-90.0, 90],
    },
}


def worker_config(**sections: Any) -> WorkerConfigCreateRequest:
    """A configuration of these sections, named as in the contract."""
    return WorkerConfigCreateRequest.model_validate({"config": sections})


EXAMPLES: dict[str, Call[Any]] = {
    "list_datasets": calls.list_datasets(page_size=1),
    "get_quota": calls.get_quota(),
    "list_workers": calls.list_workers(),
    "register_worker": calls.register_worker(WorkerRegistration(name="a b_c-1")),
    "register_worker, with labels": calls.register_worker(WorkerRegistration(name="abc", labels=["gpu", "ü"])),
    "delete_worker": calls.delete_worker(WORKER),
    "create_dataset, images": calls.create_dataset(DatasetCreateRequest(name="a b_c-1", type=DatasetType.IMAGES)),
    "create_dataset, videos": calls.create_dataset(DatasetCreateRequest(name="abc", type=DatasetType.VIDEOS)),
    "find_datasets": calls.find_datasets("my photos_2"),
    "find_datasets, a name that needs encoding": calls.find_datasets("a/b?c=ü&d#e%"),
    "get_dataset": calls.get_dataset(DATASET),
    "delete_dataset": calls.delete_dataset(DATASET),
    "get_shared_access": calls.get_shared_access(DATASET),
    "set_shared_access": calls.set_shared_access(
        DATASET,
        SharedAccessRequest(access_type=SharedAccessType.WRITE, users=["ann@example.com"], teams=["a-team"]),
    ),
    "get_datasources": calls.get_datasources(DATASET),
    "set_datasource, keys": calls.set_datasource(DATASET, USER_ACCESS),
    "set_datasource, keys and all options": calls.set_datasource(DATASET, USER_ACCESS_FULL),
    "set_datasource, role": calls.set_datasource(DATASET, DELEGATED_ACCESS),
    "set_datasource, role and all options": calls.set_datasource(DATASET, DELEGATED_ACCESS_FULL),
    "verify_datasource": calls.verify_datasource(DATASET),
    "get_processed_until": calls.get_processed_until(DATASET),
    "set_processed_until": calls.set_processed_until(DATASET, ProcessedUntilRequest(processed_until_timestamp=0)),
    "list_input_files": calls.list_input_files(DATASET),
    "list_input_files, next page": calls.list_input_files(DATASET, cursor="cursor+/="),
    "list_prediction_files": calls.list_prediction_files(DATASET, "my/task+1"),
    "list_metadata_files": calls.list_metadata_files(DATASET),
    "get_prediction_file_url": calls.get_prediction_file_url(DATASET, "boxes/ü #1?.json"),
    "get_prediction_file_write_url": calls.get_prediction_file_write_url(DATASET, "boxes/ü #1?.json"),
    "get_metadata_file_url": calls.get_metadata_file_url(DATASET, "schema.json"),
    "create_worker_config, empty": calls.create_worker_config(worker_config()),
    "create_worker_config, selection": calls.create_worker_config(worker_config(selection=SELECTIONS["small"])),
    "create_worker_config, everything": calls.create_worker_config(
        worker_config(selection=SELECTIONS["everything"], docker=WORKER_OPTIONS, lightly=LIGHTLY_OPTIONS)
    ),
    "get_worker_config": calls.get_worker_config(CONFIG),
    "schedule_run": calls.schedule_run(DATASET, ScheduleRequest(config_id=CONFIG, priority=RunPriority.MID)),
    "schedule_run, with labels": calls.schedule_run(
        DATASET, ScheduleRequest(config_id=CONFIG, priority=RunPriority.CRITICAL, runs_on=["gpu", "ü"])
    ),
    "get_scheduled_runs": calls.get_scheduled_runs(DATASET),
    "get_scheduled_runs, one state": calls.get_scheduled_runs(DATASET, ["OPEN"]),
    "list_open_runs": calls.list_open_runs([]),
    "list_open_runs, with labels": calls.list_open_runs(["gpu", "ü"]),
    "list_runs": calls.list_runs(page_size=200),
    "list_runs_of_dataset": calls.list_runs_of_dataset(DATASET),
    "list_runs, of the team": calls.list_runs(page_size=200, include_team=True),
    "list_runs_of_dataset, of the team": calls.list_runs_of_dataset(DATASET, include_team=True),
    "get_run": calls.get_run(RUN),
    "cancel_scheduled_run": calls.cancel_scheduled_run(DATASET, SCHEDULED_RUN),
    "get_run_of_scheduled_run": calls.get_run_of_scheduled_run(SCHEDULED_RUN),
    "get_run_logs": calls.get_run_logs(RUN, 17),
    "get_run_tags": calls.get_run_tags(RUN),
    "get_artifact_url": calls.get_artifact_url(RUN, ARTIFACT),
    "get_tags": calls.get_tags(DATASET),
    "export_filenames": calls.export_filenames(DATASET, TAG, page_offset=5000),
    "export_filenames, read addresses": calls.export_filenames(
        DATASET, TAG, page_offset=5, page_size=1, name_format=FileNameFormat.REDIRECTED_READ_URL, expires_in=3600
    ),
    "export_samples": calls.export_samples(DATASET, TAG, page_offset=0),
    "export_sama_tasks": calls.export_sama_tasks(DATASET, TAG, page_offset=0),
    "export_sama_tasks, for a time": calls.export_sama_tasks(DATASET, TAG, page_offset=0, expires_in=3600),
    "get_sample_names": calls.get_sample_names(DATASET, page_offset=25_000),
    "get_sample": calls.get_sample(DATASET, SAMPLE),
    "create_tag": calls.create_tag(
        DATASET, TagCreateRequest(name="my tag:1", prev_tag_id=TAG, bit_mask_data="0xff01", tot_size=16)
    ),
    "delete_tag": calls.delete_tag(DATASET, TAG),
}
