"""``lightly-sandbox seed`` as it is typed."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.thinning import thinned

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.sandbox import Customer


def seeded(ready: dict[str, Any], tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    ready_file = tmp_path / "ready.json"
    ready_file.write_text(json.dumps(ready))
    command = [sys.executable, "-m", "lightly_sandbox", "seed", *options, "--ready-file", str(ready_file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("options", "said", "photos", "videos"),
    thinned(
        [
            (("--videos", "2"), "2 videos are in", 0, 2),
            (("--photos", "3", "--videos", "1"), "3 photos and 1 videos are in", 3, 1),
            (("--photos", "4"), "4 photos are in", 4, 0),
        ],
        keep=1,
        seed=1,
    ),
)
def test_what_is_asked_for_is_in_a_new_bucket(
    ready: dict[str, Any],
    customer: Customer,
    tmp_path: Path,
    options: tuple[str, ...],
    said: str,
    photos: int,
    videos: int,
) -> None:
    bucket = f"seeded-{secrets.token_hex(6)}"
    done = seeded(ready, tmp_path, f"s3://{bucket}/raw", *options)
    assert (done.returncode, done.stdout.strip()) == (0, f"{said} s3://{bucket}/raw")
    endings = [key.rpartition(".")[2] for key in customer.keys(bucket) if key.startswith("raw/")]
    assert (endings.count("jpg"), endings.count("mp4")) == (photos, videos)


@pytest.mark.exhaustive(sample="test_what_is_asked_for_is_in_a_new_bucket")
@pytest.mark.exhaustive(sample="test_what_is_asked_for_is_in_a_new_bucket")
def test_more_videos_than_there_are_is_refused_in_plain_words(ready: dict[str, Any], tmp_path: Path) -> None:
    done = seeded(ready, tmp_path, "s3://any-bucket/raw", "--videos", "5000")
    assert done.returncode == 1
    assert "n_videos is 5000" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.exhaustive(sample="test_what_is_asked_for_is_in_a_new_bucket")
def test_a_sandbox_that_has_gone_is_told_as_such(ready: dict[str, Any], tmp_path: Path) -> None:
    done = seeded(
        {**ready, "aws_url": "http://127.0.0.1:9"}, tmp_path, "s3://any-bucket/raw", "--photos", "1"
    )
    assert done.returncode == 1
    assert "http://127.0.0.1:9 does not answer" in done.stderr
    assert "Traceback" not in done.stderr
