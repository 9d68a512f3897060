"""Runs on files that will soon be gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.sandbox import LIST, READ, WRITE, allow, with_role
from tests.lab.thinning import thinned
from tests.lab.video import film, pictures

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.worker import Lab, Place

from lightly_sandbox.worker.input_expiration import expiry_date
from lightly_sandbox.worker.outcome import RunFailed
from lightly_sandbox.worker.plan import plan_run

SOON, LATER = 2, 30


def docker(strategy: str, days: float = 10) -> dict[str, Any]:
    expiration = {"minDaysToExpiration": days, "handlingStrategy": strategy}
    return {"datasource": {"inputExpiration": expiration}}


def expire(lab: Lab, bucket: str, **days_of_folder: int) -> None:
    """Let S3 say that what is below each folder expires after so many days."""
    rules = [
        {"ID": folder, "Status": "Enabled", "Filter": {"Prefix": f"{folder}/"}, "Expiration": {"Days": days}}
        for folder, days in days_of_folder.items()
    ]
    lab.customer.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


@pytest.fixture
def half(lab: Lab, place: Place) -> Place:
    """40 photos that stay long, and one that does not."""
    photo = lab.customer.keys(place.bucket)[0]
    content = lab.customer.s3.get_object(Bucket=place.bucket, Key=photo)["Body"].read()
    lab.put(place.bucket, "photos/trial/a.jpg", content)
    expire(lab, place.bucket, photos=LATER, **{"photos/trial": SOON})
    return place


@pytest.mark.exhaustive(sample="test_a_file_that_expires_soon_ends_the_run_if_that_is_asked_for")
@pytest.mark.parametrize("access", thinned(["keys", "role"], keep=1))
def test_files_that_expire_soon_are_skipped_and_named(lab: Lab, half: Place, access: str) -> None:
    if access == "role":
        external_id = "an-external-id"
        role = lab.customer.role(external_id, *allow(half.bucket, LIST, READ, WRITE))
        path = f"s3://{half.bucket}/photos/"
        lab.api.put_datasource(half.dataset_id, **with_role(path, "INPUT", role, external_id))
    run = lab.do(half.dataset_id, docker=docker("SKIP"), report=True, nSamples=41)
    assert run["state"] == "COMPLETED", run["message"]
    names = {sample["fileName"] for sample in lab.samples(half.dataset_id)}
    assert len(names) == 40
    assert "trial/a.jpg" not in names
    (warning,) = [line["msg"] for line in lab.logs(run) if line["level"] == "WARNING"]
    assert warning.startswith("trial/a.jpg is left out: it expires on ")
    assert warning.endswith(" 00:00 UTC, in less than 10 days")
    assert lab.sizes(run)["nCorrupt"] == 0


def test_a_file_that_expires_soon_ends_the_run_if_that_is_asked_for(lab: Lab, half: Place) -> None:
    run = lab.do(half.dataset_id, docker=docker("ABORT"), nSamples=41)
    assert run["state"] == "ABORTED"
    assert "trial/a.jpg expires on " in run["message"]
    assert lab.tags(half.dataset_id) == []
    assert lab.processed_until(half.dataset_id) == 0, "nothing counts as read"


@pytest.mark.exhaustive(sample="test_a_file_that_expires_soon_ends_the_run_if_that_is_asked_for")
def test_what_expires_later_is_taken(lab: Lab, half: Place) -> None:
    run = lab.do(half.dataset_id, docker=docker("ABORT", days=1), nSamples=41)
    assert run["state"] == "COMPLETED", run["message"]
    assert len(lab.samples(half.dataset_id)) == 41


@pytest.mark.exhaustive(sample="test_a_file_that_expires_soon_ends_the_run_if_that_is_asked_for")
def test_videos_are_skipped_alike(lab: Lab, tmp_path: Path) -> None:
    bucket = lab.customer.bucket()
    clip = film(tmp_path / "clip", pictures(3))
    lab.put(bucket, "raw/kept.mp4", clip)
    lab.put(bucket, "raw/trial/gone.mp4", clip)
    expire(lab, bucket, **{"raw/trial": SOON})
    dataset_id = lab.api.new_dataset(type="Videos")
    lab.datasource(dataset_id, "INPUT_OUTPUT", f"s3://{bucket}/raw/")
    run = lab.do(dataset_id, docker=docker("SKIP"), nSamples=6)
    assert run["state"] == "COMPLETED", run["message"]
    assert {sample["videoFrameData"]["sourceVideo"] for sample in lab.samples(dataset_id)} == {"kept.mp4"}


@pytest.mark.exhaustive(sample="test_a_file_that_expires_soon_ends_the_run_if_that_is_asked_for")
def test_a_run_whose_files_all_expire_soon_selects_nothing(lab: Lab, place: Place) -> None:
    expire(lab, place.bucket, photos=SOON)
    run = lab.do(place.dataset_id, docker=docker("SKIP"), nSamples=5)
    assert run["state"] == "COMPLETED", run["message"]
    assert run["message"].startswith("selected 0 of 0 images")
    assert lab.samples(place.dataset_id) == []


def test_without_the_setting_a_file_that_ever_expires_fails_the_run_and_names_it() -> None:
    # Release notes of worker 2.11.0: a retention policy without this setting is an error.
    strategy = {"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}
    for dataset_type in ("Images", "Videos"):
        plan = plan_run(dataset_type, {"selection": {"nSamples": 1, "strategies": [strategy]}})
        look = plan.input_expiration.look("a.jpg")
        look({"content-type": "image/jpeg"})
        with pytest.raises(RunFailed, match=r"a\.jpg expires on 2099-.*docker\.datasource\.inputExpiration"):
            look({"x-amz-expiration": 'expiry-date="Thu, 01 Jan 2099 00:00:00 GMT", rule-id="r"'})


@pytest.mark.exhaustive(sample="test_a_file_that_expires_soon_ends_the_run_if_that_is_asked_for")
def test_without_the_setting_a_lifecycle_rule_fails_the_run(lab: Lab, half: Place) -> None:
    run = lab.do(half.dataset_id, nSamples=41)
    assert run["state"] == "FAILED"
    assert "docker.datasource.inputExpiration" in run["message"]


def test_an_answer_without_the_header_says_of_no_end() -> None:
    assert expiry_date({"content-type": "image/jpeg"}) is None
