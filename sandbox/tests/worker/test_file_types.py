"""Every file type that a dataset takes is one that the worker decodes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from lightly_sandbox.platform.listing import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from lightly_sandbox.seeding import photos
from tests.lab.video import film, pictures

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.worker import Lab

N_FRAMES = 5
CONTAINERS: dict[str, dict[str, Any]] = {
    ".mp4": {},
    ".m4v": {"container": "ipod"},
    ".hevc": {"codec": "libx265"},
    ".mpg": {"container": "mpeg", "codec": "mpeg1video", "rate": 25},
    ".mpeg": {"container": "mpeg", "codec": "mpeg2video", "rate": 25},
    ".avi": {"container": "avi", "codec": "mpeg4"},
    ".mov": {"container": "mov"},
    ".webm": {"container": "webm", "codec": "libvpx"},
}


def test_images_of_every_type_are_read(lab: Lab) -> None:
    bucket, names = lab.customer.bucket("raw/a.heic", "raw/a.svg", "raw/a.mp4"), set()
    for suffix, (_, content) in zip(sorted(IMAGE_SUFFIXES), photos.frames(len(IMAGE_SUFFIXES)), strict=True):
        written = io.BytesIO()
        Image.open(io.BytesIO(content)).save(written, Image.registered_extensions()[suffix])
        lab.put(bucket, f"raw/a{suffix}", written.getvalue())
        names.add(f"a{suffix}")
    dataset_id = lab.api.new_dataset()
    lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/raw/")
    run = lab.do(dataset_id, report=True, nSamples=len(names))
    assert run["state"] == "COMPLETED", run["message"]
    sizes = lab.sizes(run)
    assert (sizes["nInput"], sizes["nCorrupt"]) == (len(names), 0)
    assert {sample["fileName"] for sample in lab.samples(dataset_id)} == names


@pytest.mark.exhaustive(sample="test_images_of_every_type_are_read")
def test_videos_of_every_type_are_read_and_a_matroska_file_is_none(lab: Lab, tmp_path: Path) -> None:
    assert CONTAINERS.keys() == VIDEO_SUFFIXES
    bucket = lab.customer.bucket("raw/a.mkv", "raw/a.jpg")
    for scene, (suffix, options) in enumerate(CONTAINERS.items()):
        lab.put(bucket, f"raw/a{suffix}", film(tmp_path / "film", pictures(N_FRAMES, scene), **options))
    dataset_id = lab.api.new_dataset(type="Videos")
    lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/raw/")
    n_frames = N_FRAMES * len(CONTAINERS)
    run = lab.do(dataset_id, report=True, nSamples=n_frames)
    assert run["state"] == "COMPLETED", run["message"]
    assert (lab.sizes(run)["nInput"], lab.sizes(run)["nCorrupt"]) == (n_frames, 0)
    sources = {sample["videoFrameData"]["sourceVideo"] for sample in lab.samples(dataset_id)}
    assert sources == {f"a{suffix}" for suffix in CONTAINERS}
