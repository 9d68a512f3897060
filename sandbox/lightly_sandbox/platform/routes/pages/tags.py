"""One tag: the embedding, the selected images beside those that were left out, and the images of both."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from sqlalchemy import select

from lightly_sandbox.contract.enums import DatasourcePurpose
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.errors import ApiError, unknown
from lightly_sandbox.platform.requests import S3, Config, Db
from lightly_sandbox.platform.routes.pages.datasets import SHOWN_IMAGES, samples_at
from lightly_sandbox.platform.routes.pages.findings import findings_of
from lightly_sandbox.platform.routes.pages.page import PageNumber, PageRoute, page
from lightly_sandbox.platform.routes.samples import thumbnail_name
from lightly_sandbox.platform.run_findings import Findings, Shelf, read_object
from lightly_sandbox.platform.s3_access import place_of
from lightly_sandbox.platform.sample_files import file_of, purpose_of
from lightly_sandbox.platform.tables import Run, Sample
from lightly_sandbox.platform.tag_data import positions
from lightly_sandbox.web import pictures, rendering, scatter
from lightly_sandbox.web.foreign_text import shown
from lightly_sandbox.web.paging import Part

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from lightly_sandbox.platform.s3_access import S3Access
    from lightly_sandbox.platform.settings import Settings
    from lightly_sandbox.platform.tables import Dataset, Tag

router = APIRouter(prefix="/web/dataset/{dataset_id}", route_class=PageRoute)

SHOWN_PAIRS = 30
NEAR_DUPLICATE = 0.25
"""Embeddings of the sandbox's worker have the length 1; images nearer than this look the same at a glance."""

_PICTURE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


class Show(StrEnum):
    """The views of a tag."""

    SELECTED = "selected"
    LEFT_OUT = "left-out"
    PAIRS = "pairs"


@dataclass(frozen=True, slots=True)
class Selection:
    """A tag and what the run that made it considered.

    ``members`` are the positions of the tag's samples; ``left_out`` the names of the images that the run
    considered and the tag does not have, in the order of their names.
    """

    members: list[int]
    findings: Findings
    left_out: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """The tag's file names in the order of ``members``, if the run's artifacts name what it considered."""


def selection_of(session: Session, shelf: Shelf, access: S3Access, config: Settings, tag: Tag) -> Selection:
    """Return what is known about a tag's selection; kept while tag and artifacts stay the same."""
    run = None if tag.run_id is None else session.get(Run, tag.run_id)
    artifacts = () if run is None else tuple(artifact.id for artifact in run.artifacts if artifact.uploaded)

    def read() -> Selection:
        members = positions(tag.bit_mask)
        if run is None or run.user_id != config.user_id:
            return Selection(members, Findings())
        found = findings_of(session, shelf, access, config, run)
        if not found.considered and not found.selected_places:
            return Selection(members, found)
        bits = set(members)
        query = (
            select(Sample.position, Sample.file_name)
            .where(Sample.dataset_id == tag.dataset_id)
            .order_by(Sample.position)
        )
        names = tuple(name for position, name in session.execute(query) if position in bits)
        selected = frozenset(names)
        return Selection(
            members, found, tuple(name for name in found.considered if name not in selected), names
        )

    key = ("tag", tag.id, str(tag.last_modified_at), *artifacts)
    return shelf.get(key, read)


@router.get("/tag/{tag_id}")
def tag(
    dataset_id: str,
    tag_id: str,
    request: Request,
    db: Db,
    config: Config,
    access: S3,
    number: PageNumber = 1,
    show: Show = Show.SELECTED,
) -> HTMLResponse:
    """One tag in one of its views."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    found = lookups.tag(db, dataset_id, tag_id)
    selection = selection_of(db, request.app.state.shelf, access, config, found)
    totals = {
        Show.SELECTED: len(selection.members),
        Show.LEFT_OUT: len(selection.left_out),
        Show.PAIRS: len(selection.findings.pairs),
    }
    part = Part.of(number, SHOWN_PAIRS if show == Show.PAIRS else SHOWN_IMAGES, totals[show])
    return page(
        "tag.html",
        dataset=dataset,
        tag=found,
        findings=selection.findings,
        plot=_plot(selection) if show == Show.SELECTED else None,
        show=show,
        totals=totals,
        part=part,
        samples=_selected(db, dataset_id, selection, part) if show == Show.SELECTED else [],
        left_out=_numbered(selection, part) if show == Show.LEFT_OUT else [],
        pairs=_pairs(db, dataset_id, selection, part) if show == Show.PAIRS else [],
    )


def _selected(session: Session, dataset_id: str, selection: Selection, part: Part) -> list[Sample]:
    return samples_at(session, dataset_id, selection.members[part.start : part.end])


def _numbered(selection: Selection, part: Part) -> list[tuple[int, str]]:
    return list(enumerate(selection.left_out))[part.start : part.end]


def _pairs(session: Session, dataset_id: str, selection: Selection, part: Part) -> list[dict[str, Any]]:
    wanted = selection.findings.pairs[part.start : part.end]
    query = select(Sample.file_name, Sample.id).where(
        Sample.dataset_id == dataset_id, Sample.file_name.in_({pair.selected for pair in wanted})
    )
    samples = {name: sample_id for name, sample_id in session.execute(query)}
    numbers = {name: number for number, name in enumerate(selection.left_out)}
    return [
        {
            "pair": pair,
            "sample_id": samples.get(pair.selected),
            "number": numbers.get(pair.left_out),
            "is_near_duplicate": pair.distance < NEAR_DUPLICATE,
        }
        for pair in wanted
    ]


def _plot(selection: Selection) -> dict[str, Any] | None:
    """The embedding as paths; None where the run's report has none."""
    found = selection.findings
    everything = (*found.places, *found.datapool_places)
    if not everything:
        return None
    frame = scatter.Frame.around(everything)
    chosen = frozenset(found.selected_places)
    others = [place for place in found.places if place not in chosen]
    return {
        "width": scatter.WIDTH,
        "height": scatter.HEIGHT,
        "left_out": frame.path(others),
        "datapool": frame.path(found.datapool_places),
        "selected": frame.path(found.selected_places),
        # An exact duplicate of a selected image is at the same place.
        "n_left_out": len(found.places) - len(found.selected_places),
        "n_datapool": len(found.datapool_places),
        "n_selected": len(found.selected_places),
    }


@router.get("/tag/{tag_id}/points")
def points(
    dataset_id: str, tag_id: str, request: Request, db: Db, config: Config, access: S3
) -> JSONResponse:
    """The points of the plot with the names of their images, and where their pictures are."""
    lookups.dataset(db, dataset_id, config.user_id)
    found = lookups.tag(db, dataset_id, tag_id)
    selection = selection_of(db, request.app.state.shelf, access, config, found)
    findings = selection.findings
    frame = scatter.Frame.around((*findings.places, *findings.datapool_places))
    base = f"/web/dataset/{dataset_id}/tag/{tag_id}"
    marks: list[dict[str, Any]] = []
    if len(selection.names) == len(findings.selected_places):
        # The worker adds the samples in the order of the selection.
        marks += [
            {
                "at": frame.place(place),
                "name": shown(name),
                "selected": True,
                "picture": f"{base}/selected/{number}",
            }
            for number, (place, name) in enumerate(
                zip(findings.selected_places, selection.names, strict=True)
            )
        ]
    numbers = {name: number for number, name in enumerate(selection.left_out)}
    if len(findings.considered) == len(findings.places):
        marks += [
            {
                "at": frame.place(place),
                "name": shown(name),
                "selected": False,
                "picture": f"{base}/left-out/{numbers[name]}",
            }
            for place, name in zip(findings.places, findings.considered, strict=True)
            if name in numbers
        ]
    return JSONResponse(marks, headers=dict(rendering.HEADERS))


@router.get("/tag/{tag_id}/left-out/{number}")
def left_out_picture(
    dataset_id: str, tag_id: str, number: int, request: Request, db: Db, config: Config, access: S3
) -> Response:
    """The picture of an image that was left out, which is in the input only."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    name = _left_out(db, request, access, config, lookups.tag(db, dataset_id, tag_id), number)
    return _picture(_content(access, dataset, DatasourcePurpose.INPUT, name), as_it_is=False)


@router.get("/tag/{tag_id}/selected/{number}")
def selected_picture(
    dataset_id: str, tag_id: str, number: int, db: Db, config: Config, access: S3
) -> Response:
    """The picture of a tag's sample."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    members = positions(lookups.tag(db, dataset_id, tag_id).bit_mask)
    if not 0 <= number < len(members):
        raise unknown(ApiErrorCode.NOT_FOUND, "sample", str(number))
    samples = samples_at(db, dataset_id, [members[number]])
    if not samples:
        raise unknown(ApiErrorCode.NOT_FOUND, "sample", str(number))
    return sample_picture(access, dataset, samples[0])


@router.get("/sample/{sample_id}/picture")
def picture(dataset_id: str, sample_id: str, db: Db, config: Config, access: S3) -> Response:
    """The picture of a sample."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    return sample_picture(access, dataset, lookups.sample(db, dataset_id, sample_id))


@router.get("/sample/{sample_id}/file")
def sample_file(dataset_id: str, sample_id: str, db: Db, config: Config, access: S3) -> RedirectResponse:
    """Go to the sample's file in the bucket."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    sample = lookups.sample(db, dataset_id, sample_id)
    return _file(access, dataset, purpose_of(sample.type), file_of(sample))


@router.get("/tag/{tag_id}/left-out/{number}/file")
def left_out_file(
    dataset_id: str, tag_id: str, number: int, request: Request, db: Db, config: Config, access: S3
) -> RedirectResponse:
    """Go to the file of an image that was left out."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    name = _left_out(db, request, access, config, lookups.tag(db, dataset_id, tag_id), number)
    return _file(access, dataset, DatasourcePurpose.INPUT, name)


def _left_out(
    session: Session, request: Request, access: S3Access, config: Settings, of: Tag, number: int
) -> str:
    names = selection_of(session, request.app.state.shelf, access, config, of).left_out
    if not 0 <= number < len(names):
        raise unknown(ApiErrorCode.NOT_FOUND, "left-out image", str(number))
    return names[number]


def _file(access: S3Access, dataset: Dataset, purpose: DatasourcePurpose, path: str) -> RedirectResponse:
    place = place_of(access, lookups.required_datasource_config(dataset, purpose))
    return RedirectResponse(place.url("get_object", path), HTTPStatus.FOUND)


def sample_picture(access: S3Access, dataset: Dataset, sample: Sample) -> Response:
    """The sample's thumbnail, or its image made smaller, read with the datasource's own rights."""
    lightly = lookups.datasource_config(dataset, DatasourcePurpose.LIGHTLY)
    if lightly is not None and lightly.thumb_suffix is not None:
        path = thumbnail_name(sample.file_name, lightly.thumb_suffix)
        thumbnail = _content(access, dataset, DatasourcePurpose.LIGHTLY, path)
        if thumbnail is not None:
            return _picture(thumbnail, as_it_is=True)
    return _picture(_content(access, dataset, purpose_of(sample.type), file_of(sample)), as_it_is=False)


def _content(access: S3Access, dataset: Dataset, purpose: DatasourcePurpose, path: str) -> bytes | None:
    config = lookups.datasource_config(dataset, purpose)
    if config is None:
        return None
    try:
        place = place_of(access, config)
    except ApiError:
        return None
    return read_object(place, path, pictures.LARGEST_FILE)


def _picture(content: bytes | None, *, as_it_is: bool) -> Response:
    media_type = None if content is None or not as_it_is else pictures.media_type_of(content)
    if content is not None and media_type is None:
        content, media_type = pictures.small(content), "image/jpeg"
    if content is None:
        return Response(
            pictures.NO_PICTURE,
            HTTPStatus.NOT_FOUND,
            media_type="image/svg+xml",
            headers={**_PICTURE_HEADERS, "Cache-Control": "no-store"},
        )
    kept = {**_PICTURE_HEADERS, "Cache-Control": "private, max-age=300"}
    return Response(content, media_type=media_type, headers=kept)
