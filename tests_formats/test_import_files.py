"""
The import files that exports make, checked by the labeling tools' own packages and by AWS's documented rules.

Run by ``make test-formats``, in an environment with these packages and without Airflow.
"""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from label_studio_sdk import LabelStudio
from label_studio_sdk.label_interface import LabelInterface
from labelbox.schema.internal.descriptor_file_creator import DescriptorFileCreator
from lbox.exceptions import InvalidQueryError

from lightly_provider.results.formats import labeling, records
from lightly_provider.results.samples import ExportedSample

DATASET, RUN = "a" * 24, "b" * 24
IMAGES = [
    ExportedSample(f"ordner/ü {number}'\"\u2028.jpg", f"s3://my-bucket/raw/ordner/ü {number}'\"\u2028.jpg", "tag", RUN)
    for number in range(3)
]
FRAME = ExportedSample("street-153-mp4.png", "s3://my-bucket/raw/street.mp4", "tag", None, frame=153, time=5.1)
CROP = ExportedSample("a-3.png", "s3://my-bucket/raw/a.jpg", "tag", RUN, crop_task="boxes", crop_index=3)
ALL = [[*IMAGES[:2], FRAME], [IMAGES[2], CROP]]
REGIONS = {"my-bucket": "eu-central-1"}

IMAGE_CONFIG = """<View><Image name="img" value="$image"/>
<RectangleLabels name="box" toName="img"><Label value="car"/></RectangleLabels></View>"""
VIDEO_CONFIG = """<View><Video name="vid" value="$video"/>
<VideoRectangle name="box" toName="vid"/><Labels name="kind" toName="vid"><Label value="car"/></Labels></View>"""


def tasks(*pages: list[ExportedSample]) -> list[dict[str, Any]]:
    """The tasks of Label Studio in a file."""
    found: list[dict[str, Any]] = json.loads(b"".join(labeling.label_studio(pages, dataset_id=DATASET)))
    return found


def rows(*pages: list[ExportedSample]) -> list[dict[str, Any]]:
    """The data rows of Labelbox in a file."""
    found: list[dict[str, Any]] = json.loads(b"".join(labeling.labelbox(pages, dataset_id=DATASET, regions=REGIONS)))
    return found


# --- Label Studio -------------------------------------------------------------------------------------------------


def test_label_studio_finds_what_an_image_project_shows() -> None:
    project = LabelInterface(IMAGE_CONFIG)
    project.validate()

    assert [project.validate_task(task) for task in tasks(IMAGES, [CROP])] == [True] * 4
    assert not project.validate_task(tasks([FRAME])[0]), "a frame without a file is no image"


def test_label_studio_finds_what_a_video_project_shows() -> None:
    project = LabelInterface(VIDEO_CONFIG)
    project.validate()

    assert [project.validate_task(task) for task in tasks([FRAME])] == [True]


def test_label_studios_client_imports_the_file_as_it_is() -> None:
    received: list[Any] = []

    def server(request: httpx.Request) -> httpx.Response:
        received.append((request.url.path, json.loads(request.content)))
        return httpx.Response(
            201, json={"task_count": 5, "annotation_count": 0, "prediction_count": 0, "duration": 0.1}
        )

    client = LabelStudio(
        base_url="http://label-studio.test",
        api_key="none",
        httpx_client=httpx.Client(transport=httpx.MockTransport(server)),
    )
    client.projects.import_tasks(id=1, request=tasks(*ALL))

    ((path, body),) = [one for one in received if one[0].endswith("/import")]
    assert path == "/api/projects/1/import"
    assert body == tasks(*ALL)
    assert len({task["data"]["lightly_id"] for task in body}) == 5


# --- Labelbox -----------------------------------------------------------------------------------------------------


class Uploads:
    """Stands for Labelbox's service, which takes what its package has checked."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []

    def upload_data(self, content: str, **_: Any) -> str:
        """Take a file of data rows."""
        self.taken = json.loads(content)
        return "https://uploads.test/file"


def checked_by_labelbox(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What Labelbox's package would upload."""
    uploads = Uploads()
    DescriptorFileCreator(uploads).create_one(given)
    return uploads.taken


def test_labelbox_takes_every_data_row() -> None:
    taken = checked_by_labelbox(rows(*ALL))

    assert sorted(row["global_key"] for row in taken) == sorted(row["global_key"] for row in rows(*ALL))
    assert {row["media_type"] for row in taken} == {"IMAGE", "VIDEO"}
    assert all(len(row["global_key"]) <= 200 for row in taken)


def test_labelbox_would_not_take_the_addresses_of_s3() -> None:
    with pytest.raises(InvalidQueryError, match="must start with 'https'"):
        checked_by_labelbox([{"row_data": IMAGES[0].address}])


def test_labelbox_takes_a_file_of_nothing() -> None:
    assert checked_by_labelbox(rows()) == []


# --- SageMaker Ground Truth ---------------------------------------------------------------------------------------

# AWS docs: SageMaker developer guide, "Input manifest files": UTF-8, one JSON object a line without line breaks in it,
# of at most 100,000 characters, with source-ref (an object in S3) or source; and the names of other members.
_LONGEST_LINE = 100_000


def ground_truth_faults(content: bytes) -> list[str]:
    """What breaks the documented rules of an input manifest."""
    faults = []
    text = content.decode("utf-8")
    if text and not text.endswith("\n"):
        faults.append("the last line has no end")
    for number, line in enumerate(text.splitlines(), start=1):
        pairs = json.loads(line, object_pairs_hook=list)
        names = [name for name, _ in pairs]
        members = dict(pairs)
        if len(line) > _LONGEST_LINE:
            faults.append(f"line {number} is too long")
        if len(set(names)) != len(names):
            faults.append(f"line {number} has a member twice")
        if ("source-ref" in members) == ("source" in members):
            faults.append(f"line {number} has not one of source-ref and source")
        if not re.fullmatch(r"s3://[a-z0-9.-]{3,63}/.+", str(members.get("source-ref")), re.DOTALL):
            faults.append(f"line {number} has no object of S3")
        if any(name.endswith("-metadata") and name.removesuffix("-metadata") not in names for name in names):
            faults.append(f"line {number} has metadata of nothing")
    return faults


def test_a_manifest_keeps_ground_truths_rules() -> None:
    content = b"".join(records.manifest(ALL, dataset_id=DATASET))

    assert ground_truth_faults(content) == []
    assert len(content.splitlines()) == 5


@pytest.mark.parametrize(
    "broken",
    [
        b'{"source-ref": "https://my-bucket/a.jpg"}\n',
        b'{"filename": "a.jpg"}\n',
        b'{"source-ref": "s3://my-bucket/a.jpg"}',
        b'{"source-ref": "s3://my-bucket/a.jpg", "source": "a"}\n',
        b'{"source-ref": "s3://my-bucket/' + b"a" * _LONGEST_LINE + b'"}\n',
    ],
)
def test_a_manifest_that_breaks_a_rule_would_be_found(broken: bytes) -> None:
    assert ground_truth_faults(broken)
