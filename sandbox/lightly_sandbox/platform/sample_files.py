"""The location of a sample's file: an image of the input, or a frame that a worker extracted from a video."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_sandbox.contract.enums import DatasourcePurpose, SampleType
from lightly_sandbox.selection.schemas import OWN_FILES

if TYPE_CHECKING:
    from lightly_sandbox.platform.tables import Sample

# The folder where workers of the real platform write selected frames: users' public code reads them there.
FRAMES = f"{OWN_FILES}frames/"


def purpose_of(kind: SampleType | str) -> DatasourcePurpose:
    """Return the purpose of the datasource that has the files of such samples."""
    return DatasourcePurpose.LIGHTLY if kind == SampleType.VIDEO_FRAME else DatasourcePurpose.INPUT


def path_of(kind: SampleType | str, file_name: str) -> str:
    """Return where such a sample's file is, relative to that datasource's path."""
    return f"{FRAMES}{file_name}" if kind == SampleType.VIDEO_FRAME else file_name


def file_of(sample: Sample) -> str:
    """Return where the sample's file is, relative to its datasource's path."""
    return path_of(sample.type, sample.file_name)
