"""Exports of a tag on the wire (lightly 1.5.26, models/label_*.py, sama_*.py, filename_and_read_url.py)."""

from __future__ import annotations

from pydantic import Field

from lightly_sandbox.contract.wire import Wire
from lightly_sandbox.platform.models.samples import SampleData


class FilenameAndReadUrl(Wire):
    file_name: str
    read_url: str


class LabelBoxDataRow(Wire):
    external_id: str
    image_url: str


class LabelBoxV4DataRow(Wire):
    # Snake case on the wire too: these three are LabelBox's own names.
    row_data: str = Field(alias="row_data")
    global_key: str | None = Field(default=None, alias="global_key")
    media_type: str | None = Field(default=None, alias="media_type")


class LabelStudioTaskData(Wire):
    image: str
    lightly_file_name: str | None = None
    lightly_meta_info: SampleData | None = None


class LabelStudioTask(Wire):
    id: int
    data: LabelStudioTaskData


class SamaTaskData(Wire):
    id: int
    url: str
    image: str | None = None
    lightly_file_name: str | None = None
    lightly_meta_info: str | None = None


class SamaTask(Wire):
    priority: int | None = None
    reserve_for: int | None = Field(default=None, alias="reserve_for")
    data: SamaTaskData
