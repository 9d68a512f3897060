"""Runs on datasets of videos, by HTTP alone."""

from __future__ import annotations

import html
import io
import json
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image

from lightly_sandbox.seeding import photos, videos
from lightly_sandbox.seeding.videos import FRAMES_PER_VIDEO
from tests.lab.sandbox import LIST, READ, WRITE, allow, wait_until, with_role
from tests.lab.video import film, pictures, silence
from tests.lab.worker import THUMBNAILS, Place

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.worker import Lab

N_FRAMES = 20
TOLERANT = {"corruptnessCheck": {"corruptionThreshold": 1.0}}


def dataset(lab: Lab, bucket: str, folder: str = "raw", **lightly: Any) -> Place:
    """A dataset of the videos in a folder, with a place for Lightly's own files beside it."""
    place = Place(lab.api.new_dataset(type="Videos"), bucket)
    lab.datasource(place.dataset_id, "INPUT", f"s3://{bucket}/{folder}/")
    lab.datasource(place.dataset_id, "LIGHTLY", f"s3://{bucket}/lightly/", **lightly)
    return place


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Two short videos of ``N_FRAMES`` frames."""
    path = tmp_path_factory.mktemp("clips") / "clip"
    return film(path, pictures(N_FRAMES, 0)), film(path, pictures(N_FRAMES, 1))


@pytest.fixture(scope="module")
def two_videos(lab: Lab, clips: tuple[bytes, bytes]) -> str:
    """A bucket with two short videos, and with a photo that is none of their business."""
    bucket = lab.photos(1, folder="raw")
    for name, clip in zip("ab", clips, strict=True):
        lab.put(bucket, f"raw/{name}.mp4", clip)
    return bucket


@pytest.fixture
def place(lab: Lab, two_videos: str) -> Place:
    return dataset(lab, two_videos)


def frames(lab: Lab, place: Place, folder: str = "lightly") -> dict[str, Image.Image]:
    """The images in the folder of frames, by their names there."""
    prefix = f"{folder}/.lightly/frames/"
    found = {}
    for key in lab.customer.keys(place.bucket):
        if key.startswith(prefix):
            content = lab.customer.s3.get_object(Bucket=place.bucket, Key=key)["Body"].read()
            found[key.removeprefix(prefix)] = Image.open(io.BytesIO(content))
    return found


@pytest.mark.exhaustive(sample="test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read")
def test_two_videos_become_a_tag_of_frames_in_the_bucket(lab: Lab) -> None:
    bucket = lab.photos(1, folder="raw")
    videos.seed(lab.customer.s3, bucket, "raw", 2)
    place = dataset(lab, bucket, **THUMBNAILS)

    run = lab.do(place.dataset_id, report=True, nSamples=12)

    n_frames = 2 * FRAMES_PER_VIDEO
    message = f"selected 12 of {n_frames} frames of 2 videos into the tag 'initial-tag'"
    assert (run["state"], run["message"]) == ("COMPLETED", message)
    (tag,) = lab.tags(place.dataset_id)
    names = lab.filenames(place.dataset_id, tag)
    assert len(names) == 12
    # The two videos have four scenes: a diverse selection has frames of each.
    halves = Counter((name.split("-")[1], int(name.split("-")[2]) >= FRAMES_PER_VIDEO // 2) for name in names)
    assert set(halves) == {(video, half) for video in ("0001", "0002") for half in (False, True)}

    written = frames(lab, place)
    assert set(written) == set(names)
    assert {(image.format, image.size) for image in written.values()} == {("PNG", photos.FRAME_SIZE)}
    thumbnails = {key for key in lab.customer.keys(bucket) if "/thumbnails/" in key}
    expected = {f"lightly/.lightly/thumbnails/{name.removesuffix('.png')}_thumb.png" for name in names}
    assert thumbnails == expected
    assert lab.sizes(run)["nInput"] == n_frames


@pytest.fixture(scope="module")
def selected(lab: Lab, two_videos: str) -> Place:
    """A dataset of which two frames were selected, for tests that only read it."""
    place = Place(lab.api.new_dataset(type="Videos"), two_videos)
    lab.datasource(place.dataset_id, "INPUT", f"s3://{two_videos}/raw/")
    lab.datasource(place.dataset_id, "LIGHTLY", f"s3://{two_videos}/selected/")
    lab.do(place.dataset_id, nSamples=2)
    return place


def test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read(lab: Lab, selected: Place) -> None:
    place = selected
    assert len(lab.samples(place.dataset_id)) == 2
    for sample in lab.samples(place.dataset_id):
        data, name = sample["videoFrameData"], sample["fileName"]
        position = data["sourceVideoFrameIndex"]
        assert name == f"{data['sourceVideo'].removesuffix('.mp4')}-{position:02d}-mp4.png"
        assert data["sourceVideoFrameTimestamp"] == pytest.approx(position / 15)
        assert sample["type"] == "VIDEO_FRAME"
        assert sample["metaData"]["shape"] == [240, 320, 3]
        path = f"/v1/datasets/{place.dataset_id}/samples/{sample['id']}/readurl"
        read = requests.get(lab.api.ok("GET", path, type="full"), timeout=30)
        shown = Image.open(io.BytesIO(read.content)).convert("RGB")
        assert shown.tobytes() == frames(lab, place, "selected")[name].convert("RGB").tobytes()


def test_the_exports_lead_to_the_frames(lab: Lab, selected: Place) -> None:
    place = selected
    (tag,) = lab.tags(place.dataset_id)
    export = f"/v1/datasets/{place.dataset_id}/tags/{tag['id']}/export"
    names = lab.filenames(place.dataset_id, tag)
    full = lab.api.send("GET", f"{export}/basic/filenames", fileNameFormat="DATASOURCE_FULL").text.split()
    assert full == [f"s3://{place.bucket}/selected/.lightly/frames/{name}" for name in names]
    rows = lab.api.ok("GET", f"{export}/basic/filenamesAndReadUrls")
    assert [row["fileName"] for row in rows] == names
    tasks = lab.api.ok("GET", f"{export}/LabelStudio/tasks")
    for url in [row["readUrl"] for row in rows] + [task["data"]["image"] for task in tasks]:
        answer = requests.get(url, timeout=30)
        assert (answer.status_code, answer.content[:4]) == (200, b"\x89PNG")


def test_the_web_page_shows_the_frames(lab: Lab, selected: Place) -> None:
    page = requests.get(f"{lab.api.url}/web/dataset/{selected.dataset_id}", timeout=30).text
    for attribute, magic in (("<img [^>]*src", b"\xff\xd8\xff"), ("<figure><a href", b"\x89PNG")):
        paths = [html.unescape(path) for path in re.findall(rf'{attribute}="([^"]+)"', page)]
        assert len(paths) == 2
        contents = [requests.get(lab.api.url + path, timeout=30).content for path in paths]
        assert all(content.startswith(magic) for content in contents)


@pytest.mark.exhaustive(sample="test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read")
def test_equal_frames_are_counted_as_duplicates(lab: Lab, tmp_path: Path) -> None:
    bucket = lab.customer.bucket()
    picture = pictures(1)[0]
    # Lossless, or each repetition would come out a little different.
    still = film(tmp_path / "still", [picture] * 4, container="mov", codec="png", pixel_format="rgb24")
    lab.put(bucket, "raw/still.mov", still)
    run = lab.do(dataset(lab, bucket).dataset_id, report=True, nSamples=1)
    assert run["state"] == "COMPLETED", run["message"]
    assert (lab.sizes(run)["nInput"], lab.sizes(run)["nDuplicate"]) == (4, 3)


@pytest.mark.exhaustive(sample="test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read")
def test_the_output_format_decides_how_frames_are_written(lab: Lab, two_videos: str) -> None:
    place = Place(lab.api.new_dataset(type="Videos"), two_videos)
    lab.datasource(place.dataset_id, "INPUT", f"s3://{two_videos}/raw/")
    lab.datasource(place.dataset_id, "LIGHTLY", f"s3://{two_videos}/as-jpeg/")
    lab.do(place.dataset_id, nSamples=2, docker={"outputImageFormat": "jpg"})
    written = frames(lab, place, "as-jpeg")
    assert len(written) == 2
    assert {name.rpartition(".")[2] for name in written} == {"jpg"}
    assert {image.format for image in written.values()} == {"JPEG"}


@pytest.mark.exhaustive(sample="test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read")
def test_frames_are_encrypted_with_the_datasources_key(lab: Lab, two_videos: str) -> None:
    key_arn = lab.customer.client("kms").create_key()["KeyMetadata"]["Arn"]
    dataset_id = lab.api.new_dataset(type="Videos")
    lab.datasource(dataset_id, "INPUT", f"s3://{two_videos}/raw/")
    encryption = {"s3ServerSideEncryptionKMSKey": key_arn}
    lab.datasource(dataset_id, "LIGHTLY", f"s3://{two_videos}/encrypted/", **encryption)
    assert lab.do(dataset_id, nSamples=1)["state"] == "COMPLETED"
    (key,) = [key for key in lab.customer.keys(two_videos) if key.startswith("encrypted/")]
    found = lab.customer.s3.head_object(Bucket=two_videos, Key=key)
    assert found["SSEKMSKeyId"] == key_arn


@pytest.mark.exhaustive(sample="test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read")
def test_sequences_are_selected_as_a_whole(lab: Lab, place: Place) -> None:
    run = lab.do(place.dataset_id, nSamples=16, docker={"selectedSequenceLength": 8})
    assert run["state"] == "COMPLETED", run["message"]
    sequences = json.loads(lab.artifact(run, "SEQUENCE_INFORMATION"))
    assert len(sequences) == 2
    for sequence in sequences:
        first = sequence["frame_indices"][0]
        assert first % 8 == 0
        assert sequence["frame_indices"] == list(range(first, first + 8))
        stem = sequence["video_name"].removesuffix(".mp4")
        assert sequence["frame_names"] == [f"{stem}-{index:02d}-mp4.png" for index in range(first, first + 8)]
        assert sequence["frame_timestamps_pts"] == sorted(sequence["frame_timestamps_pts"])
    (tag,) = lab.tags(place.dataset_id)
    names = [name for sequence in sequences for name in sequence["frame_names"]]
    assert sorted(lab.filenames(place.dataset_id, tag)) == sorted(names)


@pytest.mark.exhaustive(sample="test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read")
def test_a_datapool_of_frames_grows_by_new_videos(lab: Lab, clips: tuple[bytes, bytes]) -> None:
    bucket = lab.customer.bucket()
    lab.put(bucket, "raw/a.mp4", clips[0])
    place = dataset(lab, bucket)
    datapool = {"useDatapool": True}
    lab.do(place.dataset_id, docker=datapool, nSamples=5)

    processed_until = lab.processed_until(place.dataset_id)
    wait_until(lambda: time.time() >= processed_until + 1)
    lab.put(bucket, "raw/b.mp4", clips[1])
    grown = lab.do(place.dataset_id, docker=datapool, report=True, nSamples=4)

    assert grown["message"].startswith(f"selected 4 of {N_FRAMES} frames of 1 video")
    sizes = lab.sizes(grown)
    assert (sizes["nPreselectedDatapool"], sizes["nSelectedWithDatapool"]) == (5, 9)
    sizes = lab.video_sizes(grown)
    assert (sizes["nPreselectedDatapool"], sizes["nSelectedWithDatapool"]) == (1, 2)
    second = lab.tags(place.dataset_id)[1]
    assert all(name.startswith("b-") for name in lab.filenames(place.dataset_id, second))

    everything = {"useDatapool": True, "datasource": {"processAll": True}}
    again = lab.do(place.dataset_id, docker=everything, nSamples=3)
    left = 2 * N_FRAMES - 9
    assert again["message"].startswith(f"selected 3 of {left} frames of 2 videos")
    assert len(set(lab.samples(place.dataset_id)[index]["fileName"] for index in range(12))) == 12


@pytest.mark.exhaustive(sample="test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read")
def test_corrupt_videos_are_counted_and_named_and_left_out(lab: Lab, clips: tuple[bytes, bytes]) -> None:
    bucket = lab.customer.bucket()
    whole = clips[0]
    for name, content in {
        "whole.mp4": whole,
        "cut-off.mp4": whole[: len(whole) // 2],
        "empty.mp4": b"",
        "sound.mp4": silence(),
    }.items():
        lab.put(bucket, f"raw/{name}", content)
    place = dataset(lab, bucket)

    refused = lab.do(place.dataset_id, nSamples=4)
    assert refused["state"] == "FAILED"
    assert "3 of 4 files are corrupt" in refused["message"]
    corruptness = json.loads(lab.artifact(refused, "CORRUPTNESS_CHECK_INFORMATION"))
    assert (len(corruptness["corrupt_videos"]), corruptness["corrupt_samples"]) == (3, {})
    assert lab.samples(place.dataset_id) == []

    run = lab.do(place.dataset_id, report=True, nSamples=4, docker=TOLERANT)
    message = f"selected 4 of {N_FRAMES} frames of 1 video into the tag 'initial-tag'; 3 files were corrupt"
    assert (run["state"], run["message"]) == ("COMPLETED", message)
    assert (lab.sizes(run)["nInput"], lab.sizes(run)["nCorrupt"]) == (N_FRAMES, 0)
    of_videos = lab.video_sizes(run)
    assert (of_videos["nInput"], of_videos["nCorrupt"], of_videos["nSelected"]) == (4, 3, 1)
    warnings = {line["msg"].split()[0]: line["msg"] for line in lab.logs(run) if line["level"] == "WARNING"}
    assert set(warnings) == {"cut-off.mp4", "empty.mp4", "sound.mp4"}
    assert "cannot be decoded" in warnings["cut-off.mp4"]
    assert "holds no video, only audio" in warnings["sound.mp4"]


def test_a_folder_of_photos_has_no_videos(lab: Lab) -> None:
    bucket = lab.photos(3, folder="raw")
    place = dataset(lab, bucket)
    run = lab.do(place.dataset_id, nSamples=4)
    assert run["state"] == "FAILED"
    assert f"There are no videos at all under s3://{bucket}/raw/" in run["message"]


@pytest.mark.exhaustive(sample="test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read")
def test_a_refused_write_names_the_frame(lab: Lab, two_videos: str) -> None:
    keys = lab.customer.user(*allow(two_videos, LIST, READ))
    dataset_id = lab.api.new_dataset(type="Videos")
    lab.datasource(dataset_id, "INPUT", f"s3://{two_videos}/raw/")
    lab.datasource(dataset_id, "LIGHTLY", f"s3://{two_videos}/refused/", keys)
    run = lab.do(dataset_id, nSamples=4, docker={"datasource": {"bypassVerify": True}})
    assert run["state"] == "FAILED"
    assert "write the frame 127.0.0.1" in run["message"]
    assert f"{two_videos}/refused/.lightly/frames/" in run["message"]
    assert "s3:PutObject" in run["message"]
    assert "X-Amz" not in run["message"]


@pytest.mark.exhaustive(sample="test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read")
def test_videos_are_read_and_frames_written_by_delegated_access(lab: Lab, two_videos: str) -> None:
    external_id = "an-external-id"
    reads = lab.customer.role(external_id, *allow(two_videos, LIST, READ))
    writes = lab.customer.role(external_id, *allow(two_videos, LIST, READ, WRITE))
    dataset_id = lab.api.new_dataset(type="Videos")
    lab.api.put_datasource(dataset_id, **with_role(f"s3://{two_videos}/raw/", "INPUT", reads, external_id))
    lab.api.put_datasource(
        dataset_id, **with_role(f"s3://{two_videos}/by-role/", "LIGHTLY", writes, external_id)
    )
    run = lab.do(dataset_id, nSamples=2)
    assert run["state"] == "COMPLETED", run["message"]
    for sample in lab.samples(dataset_id):
        path = f"/v1/datasets/{dataset_id}/samples/{sample['id']}/readurl"
        answer = requests.get(lab.api.ok("GET", path, type="full"), timeout=30)
        assert (answer.status_code, answer.content[:4]) == (200, b"\x89PNG")


@pytest.mark.exhaustive(sample="test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read")
def test_one_place_for_both_purposes_does_not_take_its_own_frames_for_input(
    lab: Lab, clips: tuple[bytes, bytes]
) -> None:
    bucket = lab.customer.bucket()
    lab.put(bucket, "a.mp4", clips[0])
    dataset_id = lab.api.new_dataset(type="Videos")
    lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/", **THUMBNAILS)
    docker = {"useDatapool": True, "datasource": {"processAll": True}}
    lab.do(dataset_id, docker=docker, nSamples=3)
    again = lab.do(dataset_id, docker=docker, nSamples=3)
    assert again["message"].startswith(f"selected 3 of {N_FRAMES - 3} frames of 1 video")


@pytest.mark.exhaustive(sample="test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read")
def test_only_relevant_files_are_considered(lab: Lab, two_videos: str) -> None:
    place = dataset(lab, two_videos)
    lab.put(two_videos, "lightly/.lightly/relevant.txt", b"b.mp4\n")
    run = lab.do(place.dataset_id, nSamples=3, docker={"relevantFilenamesFile": ".lightly/relevant.txt"})
    assert run["message"].startswith(f"selected 3 of {N_FRAMES} frames of 1 video")
    (tag,) = lab.tags(place.dataset_id)
    assert all(name.startswith("b-") for name in lab.filenames(place.dataset_id, tag))


def test_a_file_of_relevant_filenames_that_is_missing_fails_the_run(lab: Lab, place: Place) -> None:
    missing = {"relevantFilenamesFile": ".lightly/none.txt"}
    run = lab.do(place.dataset_id, nSamples=3, docker=missing, checked=False)
    assert run["state"] == "FAILED"
    assert "lightly/.lightly/none.txt is no use" in run["message"]


@pytest.mark.exhaustive(sample="test_a_frame_is_a_sample_that_says_where_it_is_from_and_can_be_read")
def test_what_has_no_effect_is_said_in_the_log(lab: Lab, place: Place) -> None:
    config = {"workerType": "FULL", "docker": {}, "lightly": {"trainer": {"maxEpochs": 1}}}
    config["selection"] = {
        "nSamples": 1,
        "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}],
    }
    body = {"version": "V4", "creator": "USER_PIP", "config": config}
    config_id = lab.api.ok("POST", "/v1/docker/worker/config/vX", body)["id"]
    schedule = f"/v1/datasets/{place.dataset_id}/docker/worker/schedule"
    body = {"configId": config_id, "priority": "MID", "runsOn": [lab.label]}
    run = lab.wait(place.dataset_id, lab.api.ok("POST", schedule, body)["id"])
    assert run["state"] == "COMPLETED"
    assert any("lightly config (trainer) has no effect" in line["msg"] for line in lab.logs(run))
