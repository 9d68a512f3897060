"""The location of a sample's file: an image of the input, or a frame or crop that a worker extracted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lightly_sandbox.contract.enums import DatasourcePurpose, SampleType
from lightly_sandbox.selection.schemas import OWN_FILES

if TYPE_CHECKING:
    from lightly_sandbox.platform.tables import Sample

# The folders where workers of the real platform write selected frames and crops: users' public code reads
# them there.
_FOLDERS: dict[str, str] = {
    SampleType.VIDEO_FRAME: f"{OWN_FILES}frames/",
    SampleType.CROP: f"{OWN_FILES}crops/",
}


def purpose_of(kind: SampleType | str) -> DatasourcePurpose:
    """Return the purpose of the datasource that has the files of such samples."""
    return DatasourcePurpose.LIGHTLY if kind in _FOLDERS else DatasourcePurpose.INPUT


def path_of(kind: SampleType | str, file_name: str) -> str:
    """Return where such a sample's file is, relative to that datasource's path."""
    return f"{_FOLDERS.get(kind, '')}{file_name}"


class SampleFile(NamedTuple):
    """What of a sample its file depends on."""

    type: str
    file_name: str


def file_of(sample: Sample | SampleFile) -> str:
    """Return where the sample's file is, relative to its datasource's path."""
    return path_of(sample.type, sample.file_name)
