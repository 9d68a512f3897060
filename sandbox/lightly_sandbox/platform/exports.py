"""``/v1/datasets/{datasetId}/tags/{tagId}/export/basic``: the files of a tag."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, PlainTextResponse
from sqlalchemy import select

from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.datasources import place_of
from lightly_sandbox.platform.enums import DatasourcePurpose, FileNameFormat, FileOutputFormat
from lightly_sandbox.platform.models_tags import FilenameAndReadUrl
from lightly_sandbox.platform.read_urls import redirected_url
from lightly_sandbox.platform.requests import S3, Config, Db, Flag, Paged, answer
from lightly_sandbox.platform.tables import Sample
from lightly_sandbox.platform.tag_data import positions

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

router = APIRouter(prefix="/v1/datasets/{dataset_id}/tags/{tag_id}")


def file_names(session: Session, dataset_id: str, tag_id: str) -> list[str]:
    """The tag's file names in the order of their bits."""
    tag = lookups.tag(session, dataset_id, tag_id)
    query = select(Sample.position, Sample.file_name).where(Sample.dataset_id == dataset_id)
    names = {position: name for position, name in session.execute(query)}
    return [names[position] for position in positions(tag.bit_mask) if position in names]


@router.get("/filenames")
def all_file_names(dataset_id: str, tag_id: str, db: Db, config: Config) -> JSONResponse:
    """Every file name of the tag (deprecated in the API)."""
    lookups.dataset(db, dataset_id, config.user_id)
    return answer(file_names(db, dataset_id, tag_id))


@router.get("/export/basic/filenames")
def export_file_names(
    dataset_id: str,
    tag_id: str,
    page: Paged,
    db: Db,
    config: Config,
    name_format: Annotated[FileNameFormat, Query(alias="fileNameFormat")] = FileNameFormat.NAME,
    output_format: Annotated[FileOutputFormat, Query(alias="format")] = FileOutputFormat.PLAIN,
    _expires_in: Annotated[int | None, Query(alias="expiresIn")] = None,
    _access_control: Annotated[str | None, Query(alias="accessControl")] = None,
    _meta_data: Annotated[Flag, Query(alias="includeMetaData")] = False,
    _preview: Annotated[Flag, Query(alias="previewExample")] = False,
) -> PlainTextResponse:
    """One page of names as text, a line each; an empty page ends the list. JSON makes it a JSON array."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    names = list(page.of(file_names(db, dataset_id, tag_id)))
    match name_format:
        case FileNameFormat.DATASOURCE_FULL:
            source = lookups.required_datasource_config(dataset, DatasourcePurpose.INPUT)
            names = [f"{source.full_path.rstrip('/')}/{name}" for name in names]
        case FileNameFormat.REDIRECTED_READ_URL:
            names = [redirected_url(config, dataset_id, name) for name in names]
        case FileNameFormat.NAME:
            pass
    return PlainTextResponse(
        json.dumps(names) if output_format == FileOutputFormat.JSON else "\n".join(names)
    )


@router.get("/export/basic/filenamesAndReadUrls")
def export_file_names_and_read_urls(
    dataset_id: str,
    tag_id: str,
    page: Paged,
    db: Db,
    config: Config,
    access: S3,
    _format: Annotated[FileOutputFormat, Query(alias="format")] = FileOutputFormat.JSON,
    _preview: Annotated[Flag, Query(alias="previewExample")] = False,
) -> JSONResponse:
    """One page of names, each with a URL to read the file."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    place = place_of(access, lookups.required_datasource_config(dataset, DatasourcePurpose.INPUT))
    names = page.of(file_names(db, dataset_id, tag_id))
    return answer(
        [FilenameAndReadUrl(file_name=name, read_url=place.url("get_object", name)) for name in names]
    )
