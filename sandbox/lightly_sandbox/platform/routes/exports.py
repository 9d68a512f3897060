"""``/v1/datasets/{datasetId}/tags/{tagId}/export``: a tag's files, as text and for labeling tools."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy import false, func, select

from lightly_sandbox.contract.enums import FileNameFormat, FileOutputFormat
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.models.exports import (
    FilenameAndReadUrl,
    LabelBoxDataRow,
    LabelBoxV4DataRow,
    LabelStudioTask,
    LabelStudioTaskData,
    SamaTask,
    SamaTaskData,
)
from lightly_sandbox.platform.models.samples import SampleData
from lightly_sandbox.platform.read_urls import redirected_url
from lightly_sandbox.platform.requests import S3, Config, Db, Flag, Page, Paged, answer
from lightly_sandbox.platform.routes.samples import sample_data
from lightly_sandbox.platform.s3_access import place_of
from lightly_sandbox.platform.sample_files import SampleFile, file_of, purpose_of
from lightly_sandbox.platform.tables import Sample
from lightly_sandbox.platform.tag_data import PositionsOfTags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from lightly_sandbox.platform.settings import Settings

router = APIRouter(prefix="/v1/datasets/{dataset_id}/tags/{tag_id}")

ACCESS_CONTROL = "default"
"""The name that the API's operations take for the one access control that there is here."""


_POSITIONS = PositionsOfTags()
# A page of a tag whose samples are far apart is looked up by its positions; another one is a range.
_DENSE = 4


def samples_of(session: Session, dataset_id: str, tag_id: str, page: Page | None = None) -> Sequence[Sample]:
    """The tag's samples in the order of their bits, all or a page of them."""
    wanted = _positions(session, dataset_id, tag_id, page)
    query = select(Sample).where(Sample.dataset_id == dataset_id, _is_among(wanted)).order_by(Sample.position)
    among = frozenset(wanted)
    return [sample for sample in session.scalars(query) if sample.position in among]


def files_of(session: Session, dataset_id: str, tag_id: str, page: Page) -> list[SampleFile]:
    """The names and kinds of a page of the tag's samples: a fraction of the work of reading the samples."""
    wanted = _positions(session, dataset_id, tag_id, page)
    columns = select(Sample.type, Sample.file_name, Sample.position)
    query = columns.where(Sample.dataset_id == dataset_id, _is_among(wanted)).order_by(Sample.position)
    among = frozenset(wanted)
    rows = session.execute(query)
    return [SampleFile(row.type, row.file_name) for row in rows if row.position in among]


def _positions(session: Session, dataset_id: str, tag_id: str, page: Page | None) -> Sequence[int]:
    version = lookups.tag_version(session, dataset_id, tag_id)
    wanted: Sequence[int] = _POSITIONS.of(
        tag_id, version, lambda: lookups.tag(session, dataset_id, tag_id).bit_mask
    )
    return wanted if page is None else page.of(wanted)


def _is_among(wanted: Sequence[int]) -> ColumnElement[bool]:
    """The samples at these positions; of a page without large gaps also those in between."""
    if not wanted:
        return false()
    first, last = wanted[0], wanted[-1]
    if last - first < _DENSE * len(wanted):
        return Sample.position.between(first, last)
    # One value, since SQLite takes only so many in a list.
    listed = func.json_each(json.dumps(list(wanted))).table_valued("value")
    return Sample.position.in_(select(listed.c.value))


class _Export:
    """What the exports have in common: how a file is named, for how long, and with what beside it."""

    def __init__(
        self,
        name_format: Annotated[FileNameFormat | None, Query(alias="fileNameFormat")] = None,
        expires_in: Annotated[int | None, Query(alias="expiresIn")] = None,
        access_control: Annotated[str | None, Query(alias="accessControl")] = None,
        include_meta_data: Annotated[Flag, Query(alias="includeMetaData")] = False,
        output_format: Annotated[FileOutputFormat | None, Query(alias="format")] = None,
        preview_example: Annotated[Flag, Query(alias="previewExample")] = False,
        page_size: Annotated[int, Query(alias="pageSize", ge=1)] = 5000,
        page_offset: Annotated[int, Query(alias="pageOffset", ge=0)] = 0,
    ) -> None:
        if access_control not in (None, ACCESS_CONTROL):
            raise ApiError(
                HTTPStatus.BAD_REQUEST,
                ApiErrorCode.ACCESS_CONTROL_UNKNOWN,
                f"query.accessControl: there is only '{ACCESS_CONTROL}'.",
            )
        self.name_format = name_format
        self.expires_in = expires_in
        self.include_meta_data = include_meta_data
        self.output_format = output_format
        self.page = Page(1 if preview_example else page_size, page_offset)

    def named(
        self, session: Session, settings: Settings, dataset_id: str, tag_id: str, default: FileNameFormat
    ) -> list[tuple[str, Sample]]:
        """A page of the tag's samples, each with its name in the format asked for, else in ``default``."""
        lookups.dataset(session, dataset_id, settings.user_id)
        samples = samples_of(session, dataset_id, tag_id, self.page)
        names = self._names(session, settings, dataset_id, samples, default)
        return list(zip(names, samples, strict=True))

    def names(self, session: Session, settings: Settings, dataset_id: str, tag_id: str) -> list[str]:
        """The names of a page of the tag's samples in the format asked for, else relative to the input."""
        lookups.dataset(session, dataset_id, settings.user_id)
        files = files_of(session, dataset_id, tag_id, self.page)
        return self._names(session, settings, dataset_id, files, FileNameFormat.NAME)

    def _names(
        self,
        session: Session,
        settings: Settings,
        dataset_id: str,
        samples: Sequence[Sample] | Sequence[SampleFile],
        default: FileNameFormat,
    ) -> list[str]:
        match self.name_format or default:
            case FileNameFormat.DATASOURCE_FULL:
                dataset = lookups.dataset(session, dataset_id, settings.user_id)
                folders = {
                    kind: lookups.required_datasource_config(dataset, purpose_of(kind)).full_path.rstrip("/")
                    for kind in {sample.type for sample in samples}
                }
                return [f"{folders[sample.type]}/{file_of(sample)}" for sample in samples]
            case FileNameFormat.REDIRECTED_READ_URL:
                return [
                    redirected_url(settings, dataset_id, file_of(sample), self.expires_in)
                    for sample in samples
                ]
            case FileNameFormat.NAME:
                return [sample.file_name for sample in samples]

    def beside(self, sample: Sample) -> dict[str, Any] | None:
        """The sample itself, if metadata was asked for."""
        return sample_data(sample) if self.include_meta_data else None


Export = Annotated[_Export, Depends(_Export)]
URLS = FileNameFormat.REDIRECTED_READ_URL


@router.get("/filenames", response_model=list[str])
def all_file_names(dataset_id: str, tag_id: str, db: Db, config: Config) -> JSONResponse:
    """Every file name of the tag (deprecated in the API)."""
    lookups.dataset(db, dataset_id, config.user_id)
    return answer([sample.file_name for sample in samples_of(db, dataset_id, tag_id)])


@router.get("/export/basic/filenames", response_model=str, response_class=PlainTextResponse)
def export_file_names(
    dataset_id: str, tag_id: str, export: Export, db: Db, config: Config
) -> PlainTextResponse:
    """One page of names as text, a line each; an empty page ends the list. JSON makes it a JSON array."""
    names = export.names(db, config, dataset_id, tag_id)
    as_json = export.output_format == FileOutputFormat.JSON
    return PlainTextResponse(json.dumps(names) if as_json else "\n".join(names))


@router.get("/export/basic/filenamesAndReadUrls", response_model=list[FilenameAndReadUrl])
def export_file_names_and_read_urls(
    dataset_id: str,
    tag_id: str,
    page: Paged,
    db: Db,
    config: Config,
    access: S3,
    _format: Annotated[FileOutputFormat, Query(alias="format")] = FileOutputFormat.JSON,
    preview: Annotated[Flag, Query(alias="previewExample")] = False,
) -> JSONResponse:
    """One page of names, each with a URL to read the file."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    samples = samples_of(db, dataset_id, tag_id, Page(1, page.offset) if preview else page)
    places = {
        kind: place_of(access, lookups.required_datasource_config(dataset, purpose_of(kind)))
        for kind in {sample.type for sample in samples}
    }
    return answer(
        [
            FilenameAndReadUrl(
                file_name=sample.file_name,
                read_url=places[sample.type].url("get_object", file_of(sample)),
            )
            for sample in samples
        ]
    )


def _sample_model(sample: dict[str, Any] | None) -> SampleData | None:
    return None if sample is None else SampleData.model_validate(sample, strict=False)


@router.get("/export/LabelStudio/tasks", response_model=list[LabelStudioTask])
def export_label_studio(dataset_id: str, tag_id: str, export: Export, db: Db, config: Config) -> JSONResponse:
    """One page of Label Studio's tasks."""
    return answer(
        [
            LabelStudioTask(
                id=sample.position,
                data=LabelStudioTaskData(
                    image=name,
                    lightly_file_name=sample.file_name,
                    lightly_meta_info=_sample_model(export.beside(sample)),
                ),
            )
            for name, sample in export.named(db, config, dataset_id, tag_id, URLS)
        ]
    )


@router.get("/export/LabelBox/datarows", response_model=list[LabelBoxDataRow])
def export_label_box(dataset_id: str, tag_id: str, export: Export, db: Db, config: Config) -> JSONResponse:
    """One page of LabelBox's data rows, version 3 (deprecated in the API)."""
    named = export.named(db, config, dataset_id, tag_id, URLS)
    return answer([LabelBoxDataRow(external_id=sample.file_name, image_url=name) for name, sample in named])


@router.get("/export/LabelBoxV4/datarows", response_model=list[LabelBoxV4DataRow])
def export_label_box_v4(dataset_id: str, tag_id: str, export: Export, db: Db, config: Config) -> JSONResponse:
    """One page of LabelBox's data rows, version 4."""
    named = export.named(db, config, dataset_id, tag_id, URLS)
    return answer(
        [
            LabelBoxV4DataRow(row_data=name, global_key=sample.file_name, media_type="IMAGE")
            for name, sample in named
        ]
    )


@router.get("/export/Sama/tasks", response_model=list[SamaTask])
def export_sama(dataset_id: str, tag_id: str, export: Export, db: Db, config: Config) -> JSONResponse:
    """One page of Sama's tasks; the metadata is JSON in a string there."""
    tasks = []
    for name, sample in export.named(db, config, dataset_id, tag_id, URLS):
        beside = export.beside(sample)
        of = SamaTaskData(
            id=sample.position,
            url=name,
            lightly_file_name=sample.file_name,
            lightly_meta_info=None if beside is None else json.dumps(beside),
        )
        tasks.append(SamaTask(data=of))
    return answer(tasks)
