"""Predictions: what each format becomes, what is refused before anything is written, and the order of the writes."""

from __future__ import annotations

import io
import json
import logging
import struct
import sys
import tracemalloc
import zlib
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from lightly_provider.api.models.datasource import Datasource
from lightly_provider.exceptions import LightlyExtraMissingError, LightlyInvalidFilesError, LightlySourceError
from lightly_provider.results.formats import labeling
from lightly_provider.results.lightly_folder import PlatformPredictions
from lightly_provider.results.predictions.converted import _check_shapes
from lightly_provider.results.predictions.formats import PredictionFormat, check_format
from lightly_provider.results.predictions.masks import bounding_box, row_wise_runs
from lightly_provider.results.predictions.schema import TaskType, check_task_name
from lightly_provider.results.predictions.uploading import upload_predictions
from lightly_provider.results.samples import ExportedSample
from lightly_provider.results.sources import Source, SourceFile
from lightly_provider.results.staging import Staging, temporary_database
from lightly_provider.results.upload import add_task
from tests.contract.example_calls import DATASET
from tests.unit.results.prediction_files import INPUT, MemoryFolder, coco, upload, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lightly_provider.results.lightly_folder import OwnFile


@pytest.fixture
def folder() -> MemoryFolder:
    return MemoryFolder(INPUT)


def refused(folder: MemoryFolder, path: Path, kind: str = "coco", **arguments: Any) -> str:
    """Upload what must be refused, and return the message; nothing was written."""
    with pytest.raises(LightlyInvalidFilesError) as caught:
        upload(folder, path, kind, **arguments)
    assert folder.writes == []
    return str(caught.value)


# --- what the formats become ---------------------------------------------------------------------------------------


def test_coco_becomes_a_file_for_each_image_also_for_one_without_predictions(
    folder: MemoryFolder, tmp_path: Path
) -> None:
    done = upload(folder, written(tmp_path / "coco.json", coco()), "coco")

    assert folder.json("boxes/a.json") == {
        "file_name": "a.jpg",
        "predictions": [{"category_id": 1, "bbox": [0, 0, 10.5, 10], "score": 1}],
    }
    assert folder.json("boxes/sub/b ü#.json") == {
        "file_name": "sub/b ü#.png",
        "predictions": [
            {"category_id": 3, "bbox": [1, 2, 30, 40], "score": 0.25},
            {"category_id": 1, "bbox": [5, 5, 5, 5], "score": 0.5},
        ],
    }
    assert folder.json("boxes/c.json") == {"file_name": "c.jpg", "predictions": []}
    assert folder.json("boxes/schema.json") == {
        "task_type": "object-detection",
        "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "dog"}],
    }
    assert folder.json("tasks.json") == ["boxes"]
    assert (done.predictions, done.files, done.written, done.unchanged, done.unmatched) == (3, 3, 3, 0, 0)
    assert done.schema_written
    assert done.task_added


def test_the_schema_follows_the_files_and_the_task_comes_last(folder: MemoryFolder, tmp_path: Path) -> None:
    upload(folder, written(tmp_path / "coco.json", coco()), "coco")

    assert folder.writes[-2:] == ["boxes/schema.json", "tasks.json"]
    assert sorted(folder.writes[:-2]) == ["boxes/a.json", "boxes/c.json", "boxes/sub/b ü#.json"]


def test_annotations_may_come_before_their_images(folder: MemoryFolder, tmp_path: Path) -> None:
    content = dict(reversed(coco().items()))
    assert next(iter(content)) == "categories"

    assert upload(folder, written(tmp_path / "coco.json", content), "coco").predictions == 3


def test_probabilities_and_keypoints_of_coco_are_kept(folder: MemoryFolder, tmp_path: Path) -> None:
    categories = [{"id": 0, "name": "person", "keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}]
    pose = {"image_id": 1, "category_id": 0, "keypoints": [1, 2, 0.5, 3, 4, 1], "score": 0.5, "probabilities": [1]}

    upload(
        folder,
        written(tmp_path / "coco.json", coco(annotations=[pose], categories=categories)),
        "coco",
        task_type=TaskType.KEYPOINT_DETECTION,
    )

    (found,) = folder.json("boxes/a.json")["predictions"]
    assert found == {"category_id": 0, "keypoints": [1, 2, 0.5, 3, 4, 1], "score": 0.5, "probabilities": [1]}
    assert folder.json("boxes/schema.json")["categories"] == [
        {"id": 0, "name": "person", "keypoint_names": ["nose", "tail"], "keypoint_skeleton": [[0, 1]]}
    ]


# A mask of 4 x 2 pixels: columns 1 and 2 of the first row, and column 2 of the second. Compressed by pycocotools 2.0.
MASK = {"counts": [2, 1, 1, 2, 2], "size": [2, 4]}


@pytest.mark.parametrize(
    ("segmentation", "runs"),
    [
        (MASK, [1, 2, 3, 1, 1]),
        ({"counts": "21111", "size": [2, 4]}, [1, 2, 3, 1, 1]),
        ([[0, 0, 3, 0, 3, 1, 0, 1]], [0, 8]),
        ([[1, 0, 2, 0, 2, 1, 1, 1]], [1, 2, 2, 2, 1]),
    ],
    ids=["runs", "compressed runs", "polygon of all", "polygon"],
)
def test_masks_of_coco_become_runs_row_by_row(
    segmentation: Any, runs: list[int], folder: MemoryFolder, tmp_path: Path
) -> None:
    images = [{"id": 1, "file_name": "a.jpg", "width": 4, "height": 2}]
    annotation = {"image_id": 1, "category_id": 1, "segmentation": segmentation, "score": 0.75}

    upload(
        folder,
        written(tmp_path / "coco.json", coco(images=images, annotations=[annotation])),
        "coco",
        task_type=TaskType.INSTANCE_SEGMENTATION,
    )

    (found,) = folder.json("boxes/a.json")["predictions"]
    assert found["segmentation"] == runs
    assert sum(runs) == 8
    assert found["score"] == 0.75
    assert len(found["bbox"]) == 4


@pytest.mark.parametrize(
    "segmentation",
    [{"counts": [0, 2000, 2_000_000 - 2000], "size": [1000, 2000]}, [[0, 0, 1, 0, 1, 999, 0, 999]]],
    ids=["runs", "polygon"],
)
def test_a_mask_takes_a_few_bytes_for_each_pixel(segmentation: Any) -> None:
    row_wise_runs(segmentation, (2000, 1000))  # imports numpy and PIL
    tracemalloc.start()
    try:
        runs = row_wise_runs(segmentation, (2000, 1000))
        assert bounding_box(runs, (2000, 1000)) == [0, 0, 2, 1000]
        assert tracemalloc.get_traced_memory()[1] < 5 * 2_000_000
    finally:
        tracemalloc.stop()
    assert runs == [0, *[2, 1998] * 1000]


def test_lightlys_own_files_are_written_as_they_are(folder: MemoryFolder, tmp_path: Path) -> None:
    schema = {"task_type": "classification", "categories": [{"id": 0, "name": "sun"}, {"id": 5, "name": "rain"}]}
    written(tmp_path / "schema.json", schema)
    text = '{ "file_name": "sub/b ü#.png",\n "predictions": [{"category_id": 5, "probabilities": [0.25, 0.75]}] }'
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b ü#.json").write_text(text)

    done = upload(folder, tmp_path, "lightly")

    assert folder.files["boxes/sub/b ü#.json"] == text.encode()
    assert folder.json("boxes/schema.json") == schema
    assert (done.files, done.predictions) == (1, 1)


def test_kitti_and_its_scores(folder: MemoryFolder, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        "cat 0 0 -10 10 20 30 40 -1 -1 -1 -1000 -1000 -1000 -10 0.5\n"
        "big dog 0 0 -10 1.5 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10 1\n"
        "DontCare -1 -1 -10 0 0 1 1 -1 -1 -1 -1000 -1000 -1000 -10\n\n"
    )

    upload(folder, tmp_path, "kitti", categories=["cat", "big dog"])

    assert folder.json("boxes/a.json") == {
        "file_name": "a.jpg",
        "predictions": [
            {"category_id": 0, "bbox": [10, 20, 20, 20], "score": 0.5},
            {"category_id": 1, "bbox": [1.5, 2, 1.5, 2], "score": 1},
        ],
    }


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><meta><task><labels><label><name>cat</name></label><label><name>dog</name></label></labels></task></meta>
<image id="0" name="sub/b ü#.png" width="100" height="50"><box label="dog" xtl="1" ytl="2" xbr="31" ybr="42"/></image>
</annotations>"""
VOC = """<annotation><filename>b ü#.png</filename><size><width>100</width><height>50</height></size>
<object><name>dog</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>31</xmax><ymax>42</ymax></bndbox></object>
</annotation>"""


@pytest.mark.parametrize(
    ("kind", "file", "content", "arguments", "category"),
    [
        ("cvat", "annotations.xml", CVAT, {}, 2),
        ("pascalvoc", "sub/b ü#.xml", VOC, {"categories": ["cat", "dog"]}, 1),
    ],
)
def test_labels_without_scores_get_that_of_missing_score(
    kind: str,
    file: str,
    content: str,
    arguments: dict[str, Any],
    category: int,
    folder: MemoryFolder,
    tmp_path: Path,
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content, encoding="utf-8")
    place = tmp_path / file if kind == "cvat" else tmp_path

    upload(folder, place, kind, missing_score=1.0, **arguments)

    assert folder.json("boxes/sub/b ü#.json") == {
        "file_name": "sub/b ü#.png",
        "predictions": [{"category_id": category, "bbox": [1, 2, 30, 40], "score": 1.0}],
    }


class FolderOfOneImage(MemoryFolder):
    """Its only image has this content."""

    def __init__(self, content: bytes) -> None:
        super().__init__(["a.jpg"])
        self._content = content

    def image_start(self, name: str, length: int) -> bytes:
        """See the base."""
        return self._content[:length]


def yolo_box(content: bytes, folder: Path) -> list[float]:
    """The box, in pixels of an image, of the quarter at its upper left."""
    (folder / "a.txt").write_text("0 0.25 0.25 0.5 0.5 0.9\n")
    image = FolderOfOneImage(content)
    upload(image, folder, "yolo", categories=["cat"])
    box: list[float] = image.json("boxes/a.json")["predictions"][0]["bbox"]
    return box


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG"])
@pytest.mark.parametrize("orientation", [None, *range(10)])
def test_a_box_of_yolo_is_part_of_the_upright_image(kind: str, orientation: int | None, tmp_path: Path) -> None:
    image, content = Image.new("RGB", (640, 480)), io.BytesIO()
    exif = image.getexif()
    if orientation is not None:
        exif[0x0112] = orientation
    image.save(content, kind, exif=exif)
    is_turned = kind != "PNG" and orientation in (5, 6, 7, 8)
    assert yolo_box(content.getvalue(), tmp_path) == ([0, 0, 240, 320] if is_turned else [0, 0, 320, 240])


def test_an_exif_that_cannot_be_read_turns_no_image(tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (640, 480)).save(content, "JPEG", exif=b"Exif\0\0MM\0")
    assert yolo_box(content.getvalue(), tmp_path) == [0, 0, 320, 240]


def test_the_size_of_an_image_that_pillow_would_not_decode_is_read(tmp_path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 20_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    limit = Image.MAX_IMAGE_PIXELS
    assert yolo_box(content + struct.pack(">I", 10) + b"IDAT" + bytes(14), tmp_path) == [0, 0, 20_000, 10_000]
    assert limit == Image.MAX_IMAGE_PIXELS < 40_000 * 20_000 / 2


def test_frames_of_videos_are_matched_by_their_video(tmp_path: Path) -> None:
    folder = MemoryFolder(["sub/b.mp4"])
    frames = [{"id": n, "file_name": f"sub/{name}", "width": 100, "height": 50} for n, name in enumerate(FRAMES)]

    done = upload(folder, written(tmp_path / "c.json", coco(images=frames, annotations=[])), "coco", has_frames=True)

    assert sorted(folder.files) == ["boxes/schema.json", "boxes/sub/b-099-mp4.json", "tasks.json"]
    assert folder.json("boxes/sub/b-099-mp4.json")["file_name"] == "sub/b-099-mp4.png"
    assert done.unmatched_examples == ["sub/c-099-mp4.png"]


FRAMES = ("b-099-mp4.png", "c-099-mp4.png")


def test_yolo_is_refused_for_frames(folder: MemoryFolder, tmp_path: Path) -> None:
    (tmp_path / "b-099-mp4.txt").write_text("0 0.5 0.5 0.2 0.2 0.9\n")
    assert "frames of videos have no image" in refused(folder, tmp_path, "yolo", categories=["cat"], has_frames=True)


# --- again ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kms", [False, True], ids=["ETag is MD5", "ETag is no MD5"])
def test_a_second_upload_writes_only_what_has_changed(kms: bool, tmp_path: Path) -> None:
    folder = MemoryFolder(INPUT, kms=kms)
    upload(folder, written(tmp_path / "coco.json", coco()), "coco")
    folder.writes.clear()
    folder.reads.clear()

    again = upload(folder, tmp_path / "coco.json", "coco")
    assert folder.writes == []
    assert (again.written, again.unchanged, again.schema_written, again.task_added) == (0, 3, False, False)
    # Where the ETag proves that the content is the same, it is not read.
    assert len([name for name in folder.reads if "schema" not in name and name != "tasks.json"]) == (3 if kms else 0)

    annotations = coco()["annotations"]
    annotations[1]["score"] = 0  # the same number of characters
    changed = upload(folder, written(tmp_path / "coco.json", coco(annotations=annotations)), "coco")
    assert folder.writes == ["boxes/a.json"]
    assert (changed.written, changed.unchanged) == (1, 2)
    assert folder.json("boxes/a.json")["predictions"][0]["score"] == 0


def test_a_task_does_not_change_its_meaning(folder: MemoryFolder, tmp_path: Path) -> None:
    upload(folder, written(tmp_path / "coco.json", coco()), "coco")
    folder.writes.clear()
    renamed = written(tmp_path / "coco.json", coco(categories=[{"id": 1, "name": "cat"}, {"id": 3, "name": "bus"}]))

    assert "its category 3 is dog and not bus" in refused(folder, renamed)

    folder.files["boxes/schema.json"] = b"no JSON"
    with pytest.raises(LightlySourceError, match=r"boxes/schema\.json cannot be read: it is not JSON"):
        upload(folder, renamed, "coco")
    upload(folder, renamed, "coco", replace_schema=True)
    assert folder.json("boxes/schema.json")["categories"][1]["name"] == "bus"


@pytest.mark.parametrize("names", [["tail", "nose"], ["nose"], []])
def test_the_order_of_keypoints_is_part_of_their_meaning(
    names: list[str], folder: MemoryFolder, tmp_path: Path
) -> None:
    def points(*names: str) -> Path:
        categories = [{"id": 1, "name": "cat", "keypoints": list(names)}]
        return written(tmp_path / "coco.json", coco(annotations=[], categories=categories))

    upload(folder, points("nose", "tail"), "coco", task_type=TaskType.KEYPOINT_DETECTION)
    folder.writes.clear()
    said = refused(folder, points(*names), task_type=TaskType.KEYPOINT_DETECTION)
    assert "the keypoints of its category 1 have other names, or another order" in said


class ContendedFolder(MemoryFolder):
    """Another process adds a task between a read and the write, as often as told."""

    def __init__(self, *others: str, is_conditional: bool = True) -> None:
        super().__init__(())
        self.others = list(others)
        self.is_conditional = is_conditional

    def replace(self, name: str, content: bytes, before: OwnFile | None) -> bool:
        """See the base."""
        if self.others:
            tasks = [*json.loads(self.files.get(name, b"[]")), self.others.pop(0)]
            self.files[name] = json.dumps(tasks).encode()
        if self.is_conditional:
            return super().replace(name, content, before)
        self.write(name, content)
        # The other process, which read before as well, writes after us.
        if self.others:
            self.files[name] = json.dumps([self.others.pop(0)]).encode()
        return True


def test_tasks_that_others_add_at_the_same_time_are_kept() -> None:
    folder = ContendedFolder("b", "c", "d")
    assert add_task(folder, "a")
    assert sorted(folder.json("tasks.json")) == ["a", "b", "c", "d"]


def test_a_task_that_others_overwrote_is_added_again() -> None:
    folder = ContendedFolder("b", "c", is_conditional=False)
    assert add_task(folder, "a")
    assert "a" in folder.json("tasks.json")


def test_tasks_that_are_no_list_are_not_overwritten() -> None:
    folder = MemoryFolder(())
    folder.files["tasks.json"] = b'{"a": 1}'
    with pytest.raises(LightlySourceError, match=r"tasks\.json is not a JSON list"):
        add_task(folder, "a")
    assert folder.files["tasks.json"] == b'{"a": 1}'


def test_yolo_is_refused_where_the_sizes_of_the_images_cannot_be_read(tmp_path: Path) -> None:
    through_platform = PlatformPredictions(
        None,  # type: ignore[arg-type]  # no request is made
        "6a9c21d4e8b05f7312c4d9ab",
        Datasource(id="0" * 24, purpose="LIGHTLY", type="S3", fullPath="s3://my-bucket/lightly/"),  # type: ignore[call-arg]
    )
    with pytest.raises(LightlyInvalidFilesError, match=r"whose size the platform does not return; write through the"):
        upload(through_platform, tmp_path, "yolo")


# --- files that are not in the input -------------------------------------------------------------------------------


def test_predictions_for_other_files_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = MemoryFolder(["a.jpg", "c.png"])

    done = upload(folder, written(tmp_path / "coco.json", coco()), "coco")

    assert sorted(folder.files) == ["boxes/a.json", "boxes/schema.json", "tasks.json"]
    assert (done.files, done.unmatched) == (1, 2)
    assert done.unmatched_examples == ["c.jpg", "sub/b ü#.png"]
    assert "2 of 3 files of predictions are about files that are not in the datasource: c.jpg, sub/b ü#.png" in (
        caplog.text
    )


def test_a_name_without_its_extension_that_two_images_have_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = MemoryFolder(["a.jpg", "a.png", "b.png"])
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("cat 0 0 -10 1 1 9 9 -1 -1 -1 -1000 -1000 -1000 -10 0.5\n")

    upload(folder, tmp_path, "kitti", categories=["cat"])

    assert folder.json("boxes/a.json")["file_name"] == "a.jpg"
    assert "Images in the datasource have the same name but for its extension" in caplog.text
    assert "a.jpg and a.png." in caplog.text
    assert "b.png" not in caplog.text


def test_they_fail_or_are_uploaded_if_asked_for(tmp_path: Path) -> None:
    folder, path = MemoryFolder(["a.jpg"]), written(tmp_path / "coco.json", coco())

    assert "2 of 3 files" in refused(folder, path, if_unmatched="fail")
    assert upload(folder, path, "coco", if_unmatched="upload").files == 3


def test_predictions_of_which_none_has_a_file_are_a_mistake(tmp_path: Path) -> None:
    folder, path = MemoryFolder(["train/a.jpg", "train/sub/b ü#.png"]), written(tmp_path / "coco.json", coco())

    message = refused(folder, path)
    assert message.startswith("3 of 3 files of predictions are about files that are not in the datasource: a.jpg,")
    assert "filename_prefix" in message

    assert upload(folder, path, "coco", filename_prefix="train/").unmatched_examples == ["train/c.jpg"]
    assert folder.json("boxes/train/a.json")["file_name"] == "train/a.jpg"


# --- faults --------------------------------------------------------------------------------------------------------


def annotation(**changes: Any) -> dict[str, Any]:
    return {"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10], "score": 0.5, **changes}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"score": None}, r"a\.jpg: prediction 2: it has no score \(a missing score would be written as 0"),
        ({"score": 1.01}, "its score is 1.01, outside 0 to 1"),
        ({"score": "0.5"}, "its score is '0.5', outside 0 to 1"),
        ({"score": True}, "outside 0 to 1"),
        ({"bbox": [95, 0, 10, 10]}, r"its bbox \[95, 0, 10, 10\] leaves its image of 100 x 50 pixels"),
        ({"bbox": [0, -5, 10, 10]}, "leaves its image"),
        ({"bbox": [0, 0, 0, 10]}, "has no area"),
        ({"bbox": [0, 0, 10]}, "is no"),
        ({"bbox": None}, "is no"),
        ({"category_id": 2}, "its category_id is 2, which the schema does not have"),
        ({"category_id": "1"}, "its category_id is '1'"),
        ({"category_id": True}, "its category_id is True"),
        ({"probabilities": [1.0]}, "it has 1 probabilities, and the schema has 2 categories"),
        ({"probabilities": [0.5, 0.6]}, "its probabilities sum up to 1.1"),
        ({"probabilities": [1.5, -0.5]}, "one of its probabilities is outside 0 to 1"),
        ({"image_id": 99}, "1 are about the image_id 99, which no image has"),
    ],
)
def test_a_prediction_that_breaks_a_rule_is_named_before_the_first_byte(
    changes: dict[str, Any], fault: str, folder: MemoryFolder, tmp_path: Path
) -> None:
    path = written(tmp_path / "coco.json", coco(annotations=[annotation(), annotation(**changes)]))
    with pytest.raises(LightlyInvalidFilesError, match=fault):
        upload(folder, path, "coco")
    assert folder.writes == []


def test_a_box_may_miss_its_image_by_a_pixel_and_is_cut(folder: MemoryFolder, tmp_path: Path) -> None:
    boxes = [annotation(bbox=[-0.5, 0, 10, 10]), annotation(bbox=[90, 45, 10.25, 5.5])]
    upload(folder, written(tmp_path / "coco.json", coco(annotations=boxes)), "coco")
    found = [one["bbox"] for one in folder.json("boxes/a.json")["predictions"]]
    assert found == [[0, 0, 9.5, 10], [90, 45, 10, 5]]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]},
            "the category id 1 is that of 'cat' and of",
        ),
        ({"categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "cat"}]}, "two categories are called 'cat'"),
        ({"categories": []}, "it has no list of categories"),
        ({"categories": [{"id": -1, "name": "cat"}]}, "ids are whole numbers from 0"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}] * 2}, "two images have the id 1"),
        ({"images": [{"id": 1, "file_name": "../a.jpg"}]}, "is not relative to the input datasource"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.png"}]}, "about the same image"),
        ({"images": [{"id": 1, "file_name": "schema.png"}]}, "which is the schema's"),
        ({"images": [{"id": 1, "width": 5}]}, "an image has no id and file_name"),
        ({"images": [{"id": 1, "file_name": "a.jpg", "width": 10**12}]}, "has an impossible width or height"),
        ({"images": [{"id": 1, "file_name": "a.jpg", "width": 0.5}]}, "has an impossible width or height"),
        ({"categories": [{"id": 1, "name": "cat", "skeleton": 5}]}, "a keypoint skeleton that is not a list of pairs"),
    ],
)
def test_a_coco_file_that_breaks_a_rule_is_refused(
    changes: dict[str, Any], fault: str, folder: MemoryFolder, tmp_path: Path
) -> None:
    assert fault in refused(folder, written(tmp_path / "coco.json", coco(annotations=[]) | changes))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[]", "a list of COCO results, which has neither images nor categories"),
        ("", "it is not JSON"),
        ('{"images": [', "it is not JSON"),
        ('{"images": [{"id": 1, "file_name": "a.jpg", "width": NaN}]}', "NaN is not a JSON number"),
        ('{"images": 5}', "'[' expected"),
        ("{" + '"a":' + "[" * 100_000, "it is nested too deeply"),
        (json.dumps(coco()).replace("0.25", "1e999"), "the image_id 2 has a number that is too large"),
        (json.dumps(coco()).replace("0.25", "9" * 5000), "it has a number of 5000 digits"),
        (json.dumps(coco()).replace("0.25", "9" * 400), "its score is 999"),
        (json.dumps(coco()).replace("[1, 2, 30", "[1, 2, 1" + "0" * 400), "its bbox is not [x, y, width, height]"),
        (json.dumps(coco()).replace('"category_id": 3', r'"category_id": "\ud800"'), "a text that is not Unicode"),
    ],
)
def test_what_is_no_coco_file_is_refused(text: str, fault: str, folder: MemoryFolder, tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text(text)
    assert fault in refused(folder, tmp_path / "coco.json")


@pytest.mark.parametrize(
    ("kind", "package", "arguments"),
    [
        ("cvat", "labelformat", {}),
        ("yolo", "PIL", {}),
        ("coco", "numpy", {"task_type": TaskType.INSTANCE_SEGMENTATION}),
    ],
)
def test_a_missing_extra_is_one_sentence(
    kind: str,
    package: str,
    arguments: dict[str, Any],
    folder: MemoryFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LightlyExtraMissingError, match=r"needs the extra labelformat; install .*\[labelformat\] where"):
        upload(folder, tmp_path, kind, **arguments)


@pytest.mark.parametrize(
    ("segmentation", "fault"),
    [
        ({"size": [50, 100], "counts": "o" * 100_000 + "0"}, "a count that is larger than any mask"),
        ({"size": [5, 5], "counts": [25]}, "its segmentation covers 25 pixels, and its image has 5000"),
        ([[0, 0, 10**300, 0, 5, 5]], "a polygon that is not a list of at least 3 points near the image"),
        ([[]], "a polygon that is not a list"),
    ],
)
def test_a_mask_of_impossible_numbers_is_refused(
    segmentation: Any, fault: str, folder: MemoryFolder, tmp_path: Path
) -> None:
    masks = coco(annotations=[annotation(bbox=None, segmentation=segmentation)])
    path = written(tmp_path / "coco.json", masks)
    assert fault in refused(folder, path, task_type=TaskType.INSTANCE_SEGMENTATION)


def test_a_run_of_a_mask_that_no_number_of_json_holds_is_refused(folder: MemoryFolder, tmp_path: Path) -> None:
    schema = {"task_type": "semantic-segmentation", "categories": [{"id": 0, "name": "sky"}]}
    written(tmp_path / "schema.json", schema)
    mask = {"category_id": 0, "score": 1, "segmentation": [10**500]}
    written(tmp_path / "a.json", {"file_name": "a.jpg", "predictions": [mask]})
    assert "its segmentation is not a list of run lengths" in refused(folder, tmp_path, "lightly")


def test_a_full_disk_is_named() -> None:
    def fill() -> None:
        with temporary_database() as database:
            # As large as the disk may be here.
            database.execute("PRAGMA max_page_count = 10")
            staging = Staging(database)
            for number in range(100):
                staging.add(f"{number}.json", None, "x" * 10_000)

    with pytest.raises(LightlySourceError, match=r"do not fit into the folder for temporary files .*\(.*full\)"):
        fill()


def test_of_many_faults_the_first_are_named(folder: MemoryFolder, tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{n:03d}.jpg"} for n in range(100)]
    wrong = [annotation(image_id=n, score=2) for n in range(100)]
    message = refused(folder, written(tmp_path / "coco.json", coco(images=images, annotations=wrong)))
    assert message.startswith("100 faults in the predictions of ")
    assert message.count("its score is 2") == 10


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("0 0.5 0.5 0.2 0.2", "it has no score"),
        ("0 320 240 100 100 0.9", "parts of the image from 0 to 1, and no pixels"),
        ("7 0.5 0.5 0.2 0.2 0.9", "its category_id is 7"),
        ("0 0.1 0.1 0.9 0.1 0.9 0.9 0.1", "masks and keypoints cannot be read from YOLO files"),
        ("cat 0.5 0.5 0.2 0.2 0.9", "a YOLO detection is"),
        ("0 0.5 0.5 0.2 nan 0.9", "leaves the image"),
        ("0 0.5 0.5 0.2 0_1 0.9", "are not all numbers"),
        ("9" * 5000 + " 0.5 0.5 0.2 0.2 0.9", "a YOLO detection is"),
        ("0,0.5,0.5,0.2,0.2,0.9", "a YOLO detection is 'class x y width height confidence'"),
    ],
)
def test_a_yolo_line_that_cannot_be_used_is_named(line: str, fault: str, folder: MemoryFolder, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{line}\n")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\n")
    assert fault in refused(folder, tmp_path, "yolo")


@pytest.mark.parametrize("names", ["[2026-99-99]", "{0: cat, x: dog}", "{1: cat}", "[*a]", "!!python/name:os.system"])
def test_a_configuration_of_yolo_without_names_is_refused(names: str, folder: MemoryFolder, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2 0.9\n")
    (tmp_path / "data.yaml").write_text(f"names: {names}\n")
    assert "or set categories" in refused(folder, tmp_path, "yolo")


def test_a_name_that_no_file_of_this_machine_can_have_is_named(folder: MemoryFolder, tmp_path: Path) -> None:
    class Deep(Source):
        """One file with a name of 300 characters, as a key of S3 can be."""

        def at(self, name: str) -> Source:
            return self

        def _listed(self) -> Iterator[tuple[SourceFile, bool]]:
            yield SourceFile("x" * 300 + ".xml", "s3://b/x", 1, lambda: nullcontext(io.BytesIO(b"<a/>"))), False

    with pytest.raises(LightlySourceError, match=r"s3://b/x cannot be copied to this machine.*: File name too long"):
        upload_predictions(
            folder,
            Deep("s3://b/"),
            task_name="boxes",
            source_format=PredictionFormat.PASCAL_VOC,
            categories=["cat"],
            missing_score=1.0,
            log=logging.getLogger(__name__),
        )
    assert folder.writes == []


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (("<width>100<", f"<width>{'9' * 400}<"), "its width or height is impossible"),
        (("<width>100<", "<width>-100<"), "its width or height is impossible"),
        (("<xmin>1<", "<xmin>nan<"), "its bbox is not [x, y, width, height]"),
        (("<xmax>31<", "<xmax>1e999<"), "its bbox is not [x, y, width, height]"),
        (("<annotation>", '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotation>&x;'), "cannot read"),
    ],
)
def test_a_file_of_pascal_voc_that_cannot_be_right_is_named(
    changed: tuple[str, str], fault: str, folder: MemoryFolder, tmp_path: Path
) -> None:
    assert changed[0] in VOC
    (tmp_path / "a.XML").write_text(VOC.replace(*changed))
    assert fault in refused(folder, tmp_path, "pascalvoc", categories=["cat", "dog"], missing_score=1.0)


def test_files_whose_names_differ_in_their_suffix_only_do_not_replace_each_other(
    folder: MemoryFolder, tmp_path: Path
) -> None:
    for name in ("a.xml", "a.XML"):
        (tmp_path / name).write_text(VOC)
    # Files are copied in parallel: whichever comes second is named.
    with pytest.raises(LightlySourceError, match=r"a\.(xml|XML) cannot be copied to this machine.*: File exists"):
        upload(folder, tmp_path, "pascalvoc", categories=["cat", "dog"], missing_score=1.0)


def test_entities_of_cvat_are_not_read(folder: MemoryFolder, tmp_path: Path) -> None:
    entity = CVAT.replace("<annotations>", '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotations>')
    assert entity != CVAT
    (tmp_path / "a.xml").write_text(entity)
    assert "declares entities of XML" in refused(folder, tmp_path / "a.xml", "cvat", missing_score=1.0)


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        (f'<{kind} label="dog" points="1,2;3,4"/>', f"sub/b ü#.png: it has a {kind}, and only boxes are read")
        for kind in ("polygon", "polyline", "points", "mask", "cuboid", "ellipse", "skeleton")
    ]
    + [
        ('<box label="dog" xtl="1" ytl="2" xbr="3" ybr="4" rotation="30.00"/>', "b ü#.png: it has a rotated box"),
        ('<box label="dog" xtl="1" ytl="2" xbr="3" ybr="4" rotation="?"/>', "b ü#.png: it has a rotated box"),
    ],
)
def test_what_is_no_upright_box_in_cvat_is_refused(
    shape: str, fault: str, folder: MemoryFolder, tmp_path: Path
) -> None:
    (tmp_path / "a.xml").write_text(CVAT.replace("</image>", f"{shape}</image>"), encoding="utf-8")
    assert fault in refused(folder, tmp_path / "a.xml", "cvat", missing_score=1.0)


def test_a_track_of_cvat_for_video_is_refused(folder: MemoryFolder, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(CVAT.replace("</annotations>", '<track label="dog"/></annotations>'))
    assert "it is a track of 'CVAT for video'" in refused(folder, tmp_path / "a.xml", "cvat", missing_score=1.0)


def test_a_tag_of_cvat_and_a_rotation_of_nothing_pass(folder: MemoryFolder, tmp_path: Path) -> None:
    content = CVAT.replace("</image>", '<tag label="cat"/></image>').replace('xtl="1"', 'xtl="1" rotation="0.0"')
    (tmp_path / "a.xml").write_text(content, encoding="utf-8")
    assert upload(folder, tmp_path / "a.xml", "cvat", missing_score=1.0).predictions == 1


def test_many_images_of_cvat_are_checked_in_flat_memory() -> None:
    box = '<box label="dog" xtl="1" ytl="2" xbr="3" ybr="4"><attribute name="x">y</attribute></box>'
    image = f'<image name="a.jpg">{box * 10}</image>'
    content = f"<annotations>{image * 5000}</annotations>".encode()
    tracemalloc.start()
    try:
        _check_shapes(content, "a.xml")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


BOX = {"annotation_kind": "ImageBoundingBox", "name": "dog"}
BOX |= {"bounding_box": {"left": 1, "top": 2, "width": 30, "height": 40}}


def data_row(key: str, *objects: Any, **changes: Any) -> dict[str, Any]:
    """A row of an export of Labelbox, with one label."""
    left_out = {"classifications": [{"name": "x"}], "relationships": [{"name": "y"}]}
    labels = [{"annotations": {"objects": list(objects), **left_out}}]
    return {
        "data_row": {"id": "ck1", "global_key": key, **changes.pop("of_row", {})},
        "media_attributes": {"width": 100, "height": 50},
        "projects": {"p": {"labels": changes.pop("labels", labels)}},
        **changes,
    }


def ndjson(path: Path, *rows: Any) -> Path:
    """Write JSON Lines."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


LABELBOX: dict[str, Any] = {"categories": ["cat, big", "dog"], "missing_score": 1.0}


def test_labelbox_is_read_row_by_row_and_what_nobody_labeled_is_left_out(folder: MemoryFolder, tmp_path: Path) -> None:
    rows = [
        data_row("sub/b ü#.png", BOX),
        data_row("c.jpg"),
        data_row("a.jpg", labels=[]),
        data_row("other.jpg", labels=[{"annotations": {}, "performance_details": {"skipped": True}}]),
        data_row("x.jpg", projects={}),
    ]

    done = upload(folder, ndjson(tmp_path / "a.ndjson", *rows), "labelbox", **LABELBOX)

    assert folder.json("boxes/sub/b ü#.json") == {
        "file_name": "sub/b ü#.png",
        "predictions": [{"category_id": 1, "bbox": [1, 2, 30, 40], "score": 1.0}],
    }
    assert folder.json("boxes/c.json") == {"file_name": "c.jpg", "predictions": []}
    assert (done.files, done.predictions) == (2, 1)


@pytest.mark.parametrize("folders", [1, 40], ids=["a short name", "a name whose key is shortened"])
def test_what_labelbox_got_from_an_export_is_found_again_by_its_key(folders: int, tmp_path: Path) -> None:
    name = f"{'folder ü/' * folders}b.jpg"
    sample = ExportedSample(name, f"s3://bkt/raw/{name}", "tag", None)
    ((row,),) = [
        json.loads(b"".join(labeling.labelbox([[sample]], dataset_id=DATASET, regions={"bkt": "eu-central-1"})))
    ]
    of_row = {"row_data": f"{row['row_data']}?X-Amz-Signature=x"}
    path = ndjson(tmp_path / "a.ndjson", data_row(row["global_key"], BOX, of_row=of_row))

    done = upload(MemoryFolder([name]), path, "labelbox", dataset_id=DATASET, **LABELBOX)

    assert (len(row["global_key"]) == 200, done.files, done.unmatched) == (folders > 1, 1, 0)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (data_row("a.jpg", BOX | {"annotation_kind": "ImagePolygon"}), "a.jpg: it has an object of the kind 'ImagePol"),
        (data_row("a.jpg", BOX | {"name": "cow"}), "a.jpg: it has an object 'cow', which is none of the categories"),
        (data_row("a.jpg", BOX | {"name": ["dog"]}), "which is none of the categories"),
        (data_row("a.jpg", BOX | {"bounding_box": {"left": 1}}), "its bbox is not [x, y, width, height]"),
        (data_row("a.jpg", "x"), "an object is no JSON object"),
        (data_row("a.jpg", labels=[{"annotations": {"objects": []}}] * 2), "it has 2 labels"),
        (data_row("a.jpg", labels=[{"annotations": {"frames": {}}}]), "it is a video"),
        (data_row("a.jpg", BOX, media_attributes={"width": -1, "height": 1}), "its width or height is impossible"),
        (data_row(f"{DATASET}/{'x' * 142}-{'a' * 32}", BOX), "its global_key was shortened"),
        (data_row("../a.jpg", BOX), "is not relative to the input datasource"),
        ({"data_row": {"id": "x"}}, "line 1: its data row has no global_key"),
        ([], "line 1: the line is no JSON object"),
    ],
)
def test_a_row_of_labelbox_that_cannot_be_used_is_named(
    row: Any, fault: str, folder: MemoryFolder, tmp_path: Path
) -> None:
    path = ndjson(tmp_path / "a.ndjson", row)
    assert fault in refused(folder, path, "labelbox", dataset_id=DATASET, **LABELBOX)


def test_lightlys_own_files_are_checked(folder: MemoryFolder, tmp_path: Path) -> None:
    schema = {"task_type": "object-detection", "categories": [{"id": 0, "name": "cat"}]}
    written(tmp_path / "schema.json", schema)
    box = {"category_id": 0, "bbox": [0, 0, 1, 1]}
    written(tmp_path / "a.json", {"file_name": "a.jpg", "predictions": [box]})
    written(tmp_path / "c.json", {"file_name": "other.jpg", "predictions": []})
    written(tmp_path / "d.json", [])

    message = refused(folder, tmp_path, "lightly")

    assert message.startswith("3 faults")
    assert "a.json: prediction 1: it has no score" in message
    assert "c.json: its file_name is 'other.jpg', so it must be called other.json" in message
    assert "d.json: it has no file_name and list of predictions" in message


@pytest.mark.parametrize("kind", ["lightly", "yolo", "kitti", "pascalvoc"])
def test_a_folder_without_files_of_the_format_is_refused(kind: str, folder: MemoryFolder, tmp_path: Path) -> None:
    written(tmp_path / "schema.json", {"task_type": "object-detection", "categories": [{"id": 0, "name": "cat"}]})
    categories = None if kind == "lightly" else ["cat"]
    assert "check the address and the format" in refused(
        folder, tmp_path, kind, categories=categories, missing_score=1.0
    )


@pytest.mark.parametrize("name", ["", "with space", "ü", "a//b", "/a", "a/", "../a", "tasks.json"])
def test_a_task_name_that_the_platform_does_not_allow_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="task_name is"):
        check_task_name(name)


@pytest.mark.parametrize("name", ["boxes", "model/2026-11-27", "a_b+c=d,e.f@g:h"])
def test_a_task_name_that_the_platform_allows_passes(name: str) -> None:
    check_task_name(name)


@pytest.mark.parametrize(
    ("kind", "arguments", "fault"),
    [
        ("cvat", {}, "whose files have no scores"),
        ("kitti", {}, "without categories"),
        ("coco", {"categories": ["cat"]}, "have their own; leave it out"),
        ("lightly", {"task_type": TaskType.CLASSIFICATION}, "which its schema.json has"),
        ("yolo", {"task_type": TaskType.KEYPOINT_DETECTION}, "only boxes are read"),
        ("yolo", {"writes_through_platform": True}, "are read from the bucket"),
        ("pascalvoc", {"categories": ["a,b"], "missing_score": 1.0}, "a name has no comma"),
    ],
)
def test_arguments_that_a_format_cannot_use_are_refused(kind: str, arguments: dict[str, Any], fault: str) -> None:
    every = {"task_type": None, "categories": None, "missing_score": None, "writes_through_platform": False} | arguments
    with pytest.raises(ValueError, match=fault):
        check_format(PredictionFormat(kind), **every)
