"""A dataset of videos, onboarded and used by the vendor's client alone."""

from __future__ import annotations

import io
import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest
import requests
from lightly.api.bitmask import BitMask
from lightly.api.download import download_and_write_all_files, download_and_write_file
from lightly.openapi_generated.swagger_client.models import DatasetType
from PIL import Image

from tests_vendor.onboarding import DIVERSITY, Onboarded, onboard, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lightly.api import ApiWorkflowClient
    from lightly.openapi_generated.swagger_client.models import TagData

    from tests_vendor.onboarding import Customer

N_VIDEOS, N_SELECTED, SEQUENCE = 2, 8, 4
VIDEOS = [f"video-{number:04d}.mp4" for number in range(1, N_VIDEOS + 1)]


@pytest.fixture(scope="module")
def bucket(customer: Customer, seed: Callable[..., None]) -> str:
    """A bucket with videos, and a photo that is none of their business."""
    name = customer.bucket()
    seed(f"s3://{name}/raw", "--videos", str(N_VIDEOS), "--photos", "1")
    return name


@pytest.fixture(scope="module")
def filmed(ready: dict[str, Any], customer: Customer, bucket: str) -> Onboarded:
    """A dataset of which a worker has selected sequences of frames."""
    return onboard(
        ready["token"],
        customer,
        bucket,
        DatasetType.VIDEOS,
        N_SELECTED,
        selected_sequence_length=SEQUENCE,
    )


@pytest.fixture
def client(filmed: Onboarded) -> ApiWorkflowClient:
    """The client that made the dataset."""
    return filmed.client


@pytest.fixture
def selected(filmed: Onboarded) -> TagData:
    """The tag of the run."""
    (tag,) = filmed.client.get_compute_worker_run_tags(filmed.run.id)
    return tag


def test_the_dataset_is_one_of_videos(client: ApiWorkflowClient) -> None:
    assert client.dataset_type == DatasetType.VIDEOS
    assert client.get_dataset_by_id(client.dataset_id).n_samples == N_SELECTED
    assert client.get_processed_until_timestamp() > 0
    assert client.list_datasource_permissions()["can_write"] is True


def test_the_videos_alone_are_listed_and_downloaded(client: ApiWorkflowClient, tmp_path: Path) -> None:
    listed = client.download_raw_samples()
    assert sorted(name for name, _ in listed) == VIDEOS
    download_and_write_all_files(listed, str(tmp_path), max_workers=2)
    # ISO/IEC 14496-12: an MP4 file begins with the box ftyp.
    assert {path.name: path.read_bytes()[4:8] for path in tmp_path.iterdir()} == dict.fromkeys(
        VIDEOS, b"ftyp"
    )
    name, url = listed[0]
    download_and_write_file(url, str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == (tmp_path / name).read_bytes()
    assert client.download_new_raw_samples() == [], "the run has considered them"


def test_a_tag_of_frames_is_made_used_and_deleted(client: ApiWorkflowClient, selected: TagData) -> None:
    names = client.get_filenames_in_tag(selected)
    assert client.get_filenames() == names
    assert BitMask.from_hex(selected.bit_mask_data).to_indices() == list(range(N_SELECTED))
    assert all(name.startswith("video-000") and name.endswith("-mp4.png") for name in names)
    made = f"tag {secrets.token_hex(6)}"
    client.create_tag_from_filenames(names[:SEQUENCE], made)
    tag = client.get_tag_by_name(made)
    assert client.export_filenames_by_tag_id(tag.id).split("\n") == names[:SEQUENCE]
    client.delete_tag_by_id(tag.id)
    assert made not in [left.name for left in client.get_all_tags()]


def test_the_sequences_say_where_they_are_in_the_videos(
    client: ApiWorkflowClient, filmed: Onboarded, selected: TagData, tmp_path: Path
) -> None:
    path = tmp_path / "sequence_information.json"
    client.download_compute_worker_run_sequence_information(filmed.run, str(path))
    sequences = json.loads(path.read_text())
    assert len(sequences) == N_SELECTED // SEQUENCE
    assert {sequence["video_name"] for sequence in sequences} <= set(VIDEOS)
    frames = [name for sequence in sequences for name in sequence["frame_names"]]
    assert sorted(frames) == sorted(client.get_filenames_in_tag(selected))


def test_every_artifact_is_downloaded(client: ApiWorkflowClient, filmed: Onboarded, tmp_path: Path) -> None:
    client.download_compute_worker_run_artifacts(filmed.run, str(tmp_path))
    written = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(written) == {artifact.file_name for artifact in filmed.run.artifacts}
    assert "sequence_information.json" in written
    assert all(written.values())
    client.download_compute_worker_run_report_v2_json(filmed.run, str(tmp_path / "report.json"))
    information = json.loads((tmp_path / "report.json").read_text())["generalInformation"]
    assert information["datasetInformation"]["datasetSizes"]["nSelected"] == N_SELECTED
    client.download_compute_worker_run_corruptness_check_information(
        filmed.run, str(tmp_path / "corrupt.json")
    )
    assert json.loads((tmp_path / "corrupt.json").read_text())["corrupt_samples"] == {}


def test_the_frames_are_read_by_each_export(
    client: ApiWorkflowClient, selected: TagData, bucket: str
) -> None:
    names = client.get_filenames_in_tag(selected)
    rows = client.export_filenames_and_read_urls_by_tag_name(selected.name)
    assert [row["fileName"] for row in rows] == names
    frames = f"s3://{bucket}/lightly/.lightly/frames/"
    assert [row["datasourceUrl"] for row in rows] == [frames + name for name in names]
    tasks = client.export_label_studio_tasks_by_tag_name(selected.name)
    labelbox = client.export_label_box_v4_data_rows_by_tag_name(selected.name)
    urls = [
        *(row["readUrl"] for row in rows),
        *(task.data.image for task in tasks),
        *(row["row_data"] for row in labelbox),
    ]
    assert len(urls) == 3 * N_SELECTED
    for url in urls:
        assert Image.open(io.BytesIO(requests.get(url, timeout=30).content)).format == "PNG"


def test_the_frames_are_downloaded_as_a_dataset(
    client: ApiWorkflowClient, selected: TagData, tmp_path: Path
) -> None:
    client.download_dataset(str(tmp_path), tag_name=selected.name, verbose=False)
    written = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*") if path.is_file()}
    assert set(written) == set(client.get_filenames_in_tag(selected))
    for path in written.values():
        assert Image.open(path).format == "PNG"


def test_a_frame_is_a_sample_that_names_its_video(client: ApiWorkflowClient) -> None:
    samples = client._samples_api.get_samples_by_dataset_id(client.dataset_id)
    assert len(samples) == N_SELECTED
    for sample in samples:
        assert sample.type == "VIDEO_FRAME"
        assert sample.video_frame_data.source_video in VIDEOS


def test_a_second_run_takes_the_videos_that_came_since(
    ready: dict[str, Any], customer: Customer, seed: Callable[..., None]
) -> None:
    bucket = customer.bucket()
    seed(f"s3://{bucket}/raw", "--videos", "1")
    onboarded = onboard(ready["token"], customer, bucket, DatasetType.VIDEOS, 2)
    client = onboarded.client
    # The seed leaves the first video alone. A listing is in whole seconds, so that the new one is later.
    first = client.get_processed_until_timestamp()
    wait_until(lambda: _seconds_of(customer, bucket) > first)
    seed(f"s3://{bucket}/raw", "--videos", "2")
    scheduled_id = client.schedule_compute_worker_run(
        worker_config={"use_datapool": True},
        selection_config={"n_samples": 2, "strategies": [DIVERSITY]},
    )
    wait_until(lambda: client.get_compute_worker_run_info(scheduled_id).in_end_state(), 120)
    info = client.get_compute_worker_run_info(scheduled_id)
    assert info.ended_successfully(), info
    run = client.get_compute_worker_run_from_scheduled_run(scheduled_id)
    (tag,) = client.get_compute_worker_run_tags(run.id)
    new = set(client.get_filenames_in_tag(tag, exclude_parent_tag=True))
    assert len(new) == 2
    assert all(name.startswith("video-0002-") for name in new)


def _seconds_of(customer: Customer, bucket: str) -> float:
    """The time by the clock that stamps the bucket's objects."""
    customer.put(bucket, "clock")
    written = customer.s3.head_object(Bucket=bucket, Key="clock")["LastModified"]
    return float(written.timestamp())
