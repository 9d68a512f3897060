from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from lightly.api import api_workflow_compute_worker
from lightly.api.api_workflow_artifacts import ArtifactNotExist
from lightly.openapi_generated.swagger_client.exceptions import ApiException
from lightly.openapi_generated.swagger_client.models import DockerRunArtifactType

from tests_vendor.onboarding import DIVERSITY, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lightly.api import ApiWorkflowClient
    from lightly.openapi_generated.swagger_client.models import DockerRunState

    from tests_vendor.onboarding import Customer, Onboarded

# The client has no helper for the file names.
_KINDS = [kind for kind in DockerRunArtifactType if kind != DockerRunArtifactType.RELEVANT_FILENAMES]
_BEGINNINGS = {
    "LOG": b"20",
    "MEMLOG": b"20",
    "REPORT_PDF": b"%PDF",
    "REPORT_V2_JSON": b"{",
    "CORRUPTNESS_CHECK_INFORMATION": b"{",
}


@pytest.fixture
def source(dataset: ApiWorkflowClient, customer: Customer, ready: dict[str, Any]) -> ApiWorkflowClient:
    """The client with a dataset that has a datasource and no files."""
    bucket = customer.bucket()
    keys = customer.user(bucket, "ListBucket", "GetObject", "PutObject", "DeleteObject")
    dataset.set_s3_config(f"s3://{bucket}/in", ready["region"], *keys)
    return dataset


def test_a_worker_is_registered_listed_and_deleted(client: ApiWorkflowClient) -> None:
    name = f"worker {secrets.token_hex(6)}"
    worker_id = client.register_compute_worker(name, labels=["gpu", "big"])
    assert client.register_compute_worker(name, labels=["gpu"]) == worker_id, "the name is the worker"
    assert worker_id in client.get_compute_worker_ids()
    found = next(entry for entry in client.get_compute_workers() if entry.id == worker_id)
    assert (found.name, found.labels, found.state) == (name, ["gpu"], "OFFLINE")
    client.delete_compute_worker(worker_id)
    assert worker_id not in client.get_compute_worker_ids()


def test_a_run_that_no_worker_takes_waits_and_can_be_canceled(source: ApiWorkflowClient) -> None:
    scheduled_id = source.schedule_compute_worker_run(
        selection_config={"n_samples": 1, "strategies": [DIVERSITY]},
        priority="HIGH",
        runs_on=["no-worker-has-this-label"],
    )
    assert source.get_compute_worker_run_info(scheduled_id).state == "OPEN"
    waiting = source.get_scheduled_compute_worker_runs()
    assert [(entry.id, entry.state, entry.priority) for entry in waiting] == [(scheduled_id, "OPEN", "HIGH")]
    with pytest.raises(ApiException) as refused:
        source.get_compute_worker_run_from_scheduled_run(scheduled_id)
    assert refused.value.status == 404
    source._compute_worker_api.cancel_scheduled_docker_run_state_by_id(source.dataset_id, scheduled_id)
    assert source.get_scheduled_compute_worker_runs() == []
    canceled = source.get_scheduled_compute_worker_runs(state="CANCELED")
    assert [entry.id for entry in canceled] == [scheduled_id]
    assert source.get_compute_worker_run_info(scheduled_id).state == "CANCELED_OR_NOT_EXISTING"


def test_every_option_of_the_client_is_a_config_that_the_platform_takes(source: ApiWorkflowClient) -> None:
    config_id = source.create_compute_worker_config(
        worker_config={
            "checkpoint": "",
            "corruptness_check": {"corruption_threshold": 0.2},
            "datasource": {
                "bypass_verify": True,
                "process_all": True,
                "enable_datapool_update": True,
                "input_expiration": {"min_days_to_expiration": 1, "handling_strategy": "SKIP"},
            },
            "embeddings": "",
            "enable_training": False,
            "num_processes": -1,
            "num_threads": 2,
            "output_image_format": "png",
            "pretagging": False,
            "relevant_filenames_file": ".lightly/relevant.txt",
            "selected_sequence_length": 1,
            "shutdown_when_job_finished": False,
            "training": {"task_name": "things"},
            "upload_report": True,
            "use_datapool": True,
        },
        lightly_config={
            "loader": {"batch_size": 16, "num_workers": -1, "shuffle": True, "drop_last": True},
            "model": {"name": "resnet-18", "out_dim": 128, "num_ftrs": 32, "width": 1},
            "trainer": {"gpus": 1, "max_epochs": 1, "precision": 16},
            "criterion": {"temperature": 0.5},
            "optimizer": {"lr": 1, "weight_decay": 0.00001},
            "collate": {"input_size": 64, "cj_prob": 0.8, "hf_prob": 0.5, "rr_degrees": [10, 20]},
        },
        selection_config={
            "n_samples": 10,
            "proportion_samples": 0.1,
            "strategies": [
                DIVERSITY,
                {
                    "input": {"type": "EMBEDDINGS"},
                    "strategy": {"type": "DIVERSITY", "stopping_condition_minimum_distance": 0.1},
                },
                {
                    "input": {"type": "METADATA", "key": "lightly.sharpness"},
                    "strategy": {"type": "THRESHOLD", "threshold": 20, "operation": "BIGGER"},
                },
                {
                    "input": {"type": "PREDICTIONS", "task": "things", "name": "CLASS_DISTRIBUTION"},
                    "strategy": {"type": "BALANCE", "target": {"a_b": 0.4, "c": 0.2}},
                },
                {
                    "input": {"type": "SCORES", "task": "things", "score": "uncertainty_entropy"},
                    "strategy": {"type": "WEIGHTS", "strength": -2.0},
                },
                {
                    "input": {"type": "EMBEDDINGS", "dataset_id": "0" * 24, "tag_name": "some tag"},
                    "strategy": {"type": "SIMILARITY"},
                },
                {
                    "input": {"type": "RANDOM", "random_seed": 42},
                    "strategy": {"type": "WEIGHTS"},
                },
                {
                    "input": {"type": "EMBEDDINGS"},
                    "strategy": {"type": "TYPICALITY", "num_nearest_neighbors": 5},
                },
            ],
            "auto_tasks": [{"type": "TILING", "name": "tiles", "num_rows": 2, "num_cols": 2}],
        },
    )
    stored = source._compute_worker_api.get_docker_worker_config_vxby_id(config_id).actual_instance
    assert stored.config.docker.datasource.input_expiration.handling_strategy == "SKIP"
    assert stored.config.lightly.collate.rr_degrees == [10, 20]
    balance = stored.config.selection.strategies[3]
    assert balance.strategy.target == {"a_b": 0.4, "c": 0.2}
    assert stored.config.selection.auto_tasks[0].actual_instance.name == "tiles"


def test_the_states_of_a_run_are_told_until_it_ends(
    onboarded: Onboarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client waits 30 s between two questions, for the sake of the real platform.
    asleep = api_workflow_compute_worker.time.sleep
    monkeypatch.setattr(api_workflow_compute_worker.time, "sleep", lambda _seconds: asleep(0.05))
    client = onboarded.client
    scheduled_id = client.schedule_compute_worker_run(
        worker_config={"use_datapool": True, "datasource": {"process_all": True}},
        selection_config={"n_samples": 6, "strategies": [DIVERSITY]},
    )
    states: list[DockerRunState] = []
    for info in client.compute_worker_run_info_generator(scheduled_id):
        states.append(info.state)
        assert info.message or info.state != "FAILED"
    assert info.ended_successfully(), info
    assert states[-1] == "COMPLETED"
    run = client.get_compute_worker_run_from_scheduled_run(scheduled_id)
    assert [tag.run_id for tag in client.get_compute_worker_run_tags(run.id)] == [run.id]


def test_a_run_is_found_by_its_id_its_dataset_and_its_scheduled_run(onboarded: Onboarded) -> None:
    client, run = onboarded.client, onboarded.run
    assert client.get_compute_worker_run(run.id).scheduled_id == onboarded.scheduled_id
    of_dataset = client.get_compute_worker_runs(onboarded.dataset_id)
    assert run.id in [found.id for found in of_dataset]
    assert {found.dataset_id for found in of_dataset} == {onboarded.dataset_id}
    assert run.id in [found.id for found in client.get_compute_worker_runs()]
    assert run.id in [found.id for found in client.get_compute_worker_runs_iter()]
    done = client.get_scheduled_compute_worker_runs(state="DONE")
    assert onboarded.scheduled_id in [entry.id for entry in done]


def test_a_runs_log_is_read_on_from_its_cursor(onboarded: Onboarded) -> None:
    get_logs = onboarded.client._compute_worker_api.get_docker_run_logs_by_id
    page = get_logs(onboarded.run.id)
    assert page.logs
    assert get_logs(onboarded.run.id, cursor=page.cursor).logs == []


def test_a_run_that_fails_says_why(source: ApiWorkflowClient) -> None:
    scheduled_id = source.schedule_compute_worker_run(
        selection_config={"n_samples": 1, "strategies": [DIVERSITY]}
    )

    def info() -> Any:
        return source.get_compute_worker_run_info(scheduled_id)

    wait_until(lambda: info().in_end_state(), 60)
    assert info().state in ("FAILED", "ABORTED")
    assert not info().ended_successfully()
    assert info().message


def test_the_artifacts_are_downloaded(onboarded: Onboarded, tmp_path: Path) -> None:
    client, run = onboarded.client, onboarded.run
    client.download_compute_worker_run_artifacts(run, str(tmp_path / "all"))
    written = {path.name for path in (tmp_path / "all").iterdir()}
    assert written == {artifact.file_name for artifact in run.artifacts}
    assert all(path.stat().st_size > 0 for path in (tmp_path / "all").iterdir())
    client.download_compute_worker_run_report_v2_json(run, str(tmp_path / "report.json"))
    report = json.loads((tmp_path / "report.json").read_text())
    sizes = report["generalInformation"]["datasetInformation"]["datasetSizes"]
    assert (sizes["nInput"], sizes["nSelected"]) == (12, 5)


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_each_kind_of_artifact_is_there_or_is_told_to_be_missing(
    onboarded: Onboarded, tmp_path: Path, kind: DockerRunArtifactType
) -> None:
    client, run, path = onboarded.client, onboarded.run, tmp_path / "file"
    downloads: dict[str, Callable[..., Any]] = {
        "LOG": client.download_compute_worker_run_log,
        "MEMLOG": client.download_compute_worker_run_memory_log,
        "CHECKPOINT": client.download_compute_worker_run_checkpoint,
        "REPORT_PDF": client.download_compute_worker_run_report_pdf,
        "REPORT_JSON": client.download_compute_worker_run_report_json,
        "REPORT_V2_JSON": client.download_compute_worker_run_report_v2_json,
        "CORRUPTNESS_CHECK_INFORMATION": client.download_compute_worker_run_corruptness_check_information,
        "SEQUENCE_INFORMATION": client.download_compute_worker_run_sequence_information,
    }
    if kind.value in _BEGINNINGS:
        downloads[kind.value](run, str(path))
        assert path.read_bytes().startswith(_BEGINNINGS[kind.value])
    else:
        with pytest.raises(ArtifactNotExist):
            downloads[kind.value](run, str(path))


def test_the_corrupt_files_are_named_as_the_clients_documentation_reads_them(
    onboarded: Onboarded, tmp_path: Path
) -> None:
    path = tmp_path / "corruptness_check_information.json"
    onboarded.client.download_compute_worker_run_corruptness_check_information(onboarded.run, str(path))
    assert json.loads(path.read_text())["corrupt_samples"] == {}


def test_a_run_without_training_has_no_checkpoint(onboarded: Onboarded) -> None:
    with pytest.raises(ArtifactNotExist):
        onboarded.client.get_compute_worker_run_checkpoint_url(onboarded.run)
