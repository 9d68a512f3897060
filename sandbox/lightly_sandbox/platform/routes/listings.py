"""``…/datasource/list``: the files of the input, and URLs to read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, RedirectResponse

from lightly_sandbox.contract.enums import DatasourcePurpose
from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.errors import ApiError, malformed
from lightly_sandbox.platform.listing import Cursor, is_input, list_page, shard
from lightly_sandbox.platform.models.datasources import (
    DatasourceConfigS3DelegatedAccess,
    DatasourceRawSamplesData,
    DatasourceRawSamplesDataRow,
    DivideAndConquerCursorData,
)
from lightly_sandbox.platform.read_urls import is_public_token, redirected_url
from lightly_sandbox.platform.relevant_filenames import RelevantFilenames, read_relevant_filenames
from lightly_sandbox.platform.requests import S3, Config, Db, Flag, answer
from lightly_sandbox.platform.s3_access import Place as S3Place
from lightly_sandbox.platform.s3_access import S3Access, credentials_error, place_of
from lightly_sandbox.platform.settings import Settings
from lightly_sandbox.platform.tables import Dataset
from lightly_sandbox.selection.schemas import OWN_FILES

router = APIRouter(prefix="/v1/datasets/{dataset_id}/datasource")
public_router = APIRouter(prefix="/v1/datasets/{dataset_id}/datasource")


FromSeconds = Annotated[int, Query(alias="from", ge=0)]
ToSeconds = Annotated[int | None, Query(alias="to", ge=0)]
RelevantFile = Annotated[str | None, Query(alias="relevantFilenamesFileName", min_length=4)]


class _Whole:
    """What is listed: the files of some seconds, and perhaps only those of a relevant-filenames file."""

    def __init__(
        self,
        from_seconds: FromSeconds = 0,
        to_seconds: ToSeconds = None,
        relevant_filenames: RelevantFile = None,
    ) -> None:
        self.cursor = Cursor(
            from_seconds=from_seconds, to_seconds=to_seconds, relevant_filenames=relevant_filenames
        )


class _Start(_Whole):
    """The same, or where an earlier page of it ended."""

    def __init__(
        self,
        from_seconds: FromSeconds = 0,
        to_seconds: ToSeconds = None,
        cursor: str | None = None,
        relevant_filenames: RelevantFile = None,
    ) -> None:
        super().__init__(from_seconds, to_seconds, relevant_filenames)
        if cursor is not None:
            try:
                self.cursor = Cursor.decode(cursor)
            except ValueError as wrong:
                raise malformed("query.cursor", str(wrong)) from wrong
            if relevant_filenames is not None:
                self.cursor = self.cursor.model_copy(update={"relevant_filenames": relevant_filenames})


Start = Annotated[_Start, Depends(_Start)]
Whole = Annotated[_Whole, Depends(_Whole)]
Redirected = Annotated[Flag, Query(alias="useRedirectedReadUrl")]
Shards = Annotated[int, Query(alias="dncShards", ge=1)]


@dataclass(frozen=True, slots=True)
class Files:
    """A dataset's files below ``folder`` of the datasource for ``purpose``, as far as ``wanted``."""

    dataset: Dataset
    purpose: DatasourcePurpose
    folder: str
    wanted: Callable[[str], bool]

    def list(
        self, access: S3Access, settings: Settings, cursor: Cursor, *, redirected: bool
    ) -> DatasourceRawSamplesData:
        """One page, each file with a URL to read it."""
        # Delegated access always reads through redirects (lightly 1.5.26,
        # api/api_workflow_datasource_listing.py): its presigned URLs end with the role's session.
        source = lookups.required_datasource_config(self.dataset, self.purpose)
        place = place_of(access, source)
        try:
            page = list_page(place, self.folder, self.wanted, cursor)
        except (ClientError, BotoCoreError) as refused:
            raise credentials_error(refused) from refused
        redirected = redirected or isinstance(source, DatasourceConfigS3DelegatedAccess)
        paths = [f"{self.folder}{name}" for name in page.file_names]
        urls = [
            redirected_url(settings, self.dataset.id, path) if redirected else place.url("get_object", path)
            for path in paths
        ]
        rows = [
            DatasourceRawSamplesDataRow(file_name=name, read_url=url)
            for name, url in zip(page.file_names, urls, strict=True)
        ]
        return DatasourceRawSamplesData(has_more=page.has_more, cursor=page.cursor.encode(), data=rows)

    def shard(self, access: S3Access, cursor: Cursor, shards: int) -> DivideAndConquerCursorData:
        """Cursors that cover the listing together."""
        place = place_of(access, lookups.required_datasource_config(self.dataset, self.purpose))
        try:
            cursors = shard(place, self.folder, cursor, shards)
        except (ClientError, BotoCoreError) as refused:
            raise credentials_error(refused) from refused
        return DivideAndConquerCursorData(cursors=[one.encode() for one in cursors])


def customers_relevant_filenames(access: S3Access, dataset: Dataset, file_name: str) -> RelevantFilenames:
    """The file that the customer put where Lightly's own files are."""
    own = place_of(access, lookups.required_datasource_config(dataset, DatasourcePurpose.LIGHTLY))
    return relevant_filenames_at(own, file_name)


def relevant_filenames_at(place: S3Place, file_name: str) -> RelevantFilenames:
    """The file's content, or 400 DATASET_DATASOURCE_RELEVANT_FILENAMES_INVALID."""
    try:
        return read_relevant_filenames(place, file_name)
    except ValueError as wrong:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            ApiErrorCode.DATASET_DATASOURCE_RELEVANT_FILENAMES_INVALID,
            f"The relevant-filenames file {place.location.uri(file_name)} is no use: {wrong}.",
        ) from wrong


def _inputs(access: S3Access, dataset: Dataset, cursor: Cursor) -> Files:
    """The images or videos, only the relevant ones if the cursor names a file of them."""

    def wanted(name: str) -> bool:
        return is_input(name, dataset.type)

    if cursor.relevant_filenames is None:
        return Files(dataset, DatasourcePurpose.INPUT, "", wanted)
    relevant = customers_relevant_filenames(access, dataset, cursor.relevant_filenames)
    return Files(dataset, DatasourcePurpose.INPUT, "", lambda name: wanted(name) and relevant.has(name))


@router.get("/list", response_model=DatasourceRawSamplesData)
def list_files(
    dataset_id: str, start: Start, db: Db, config: Config, access: S3, redirected: Redirected = False
) -> JSONResponse:
    """One page of the input's images or videos; with a cursor, ``from`` and ``to`` are the cursor's."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    files = _inputs(access, dataset, start.cursor)
    return answer(files.list(access, config, start.cursor, redirected=redirected))


@router.get("/list/dnc", response_model=DivideAndConquerCursorData)
def list_cursors(
    dataset_id: str, whole: Whole, shards: Shards, db: Db, config: Config, access: S3
) -> JSONResponse:
    """Cursors to list the input in parallel, at most as many as asked for."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    return answer(_inputs(access, dataset, whole.cursor).shard(access, whole.cursor, shards))


@router.get("/fileHEAD", response_model=str)
def file_head(
    dataset_id: str,
    db: Db,
    config: Config,
    access: S3,
    file_name: Annotated[str, Query(alias="fileName", min_length=1)],
) -> JSONResponse:
    """A URL to ask with HEAD whether an input file exists."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    source = lookups.required_datasource_config(dataset, DatasourcePurpose.INPUT)
    return answer(place_of(access, source).url("head_object", file_name))


@public_router.get("/readurlRedirect", status_code=HTTPStatus.FOUND, response_class=RedirectResponse)
def read_url_redirect(
    dataset_id: str,
    db: Db,
    config: Config,
    access: S3,
    path: str,
    public_token: Annotated[str, Query(alias="publicToken")] = "",
) -> RedirectResponse:
    """Go to where a file can be read now: Lightly's own are not where the input is."""
    if not is_public_token(config, dataset_id, path, public_token):
        raise ApiError(
            HTTPStatus.UNAUTHORIZED,
            ApiErrorCode.JWT_INVALID,
            "The publicToken is not for this file, or has ended.",
        )
    dataset = lookups.anyones_dataset(db, dataset_id)
    purpose = DatasourcePurpose.LIGHTLY if path.startswith(OWN_FILES) else DatasourcePurpose.INPUT
    place = place_of(access, lookups.required_datasource_config(dataset, purpose))
    return RedirectResponse(place.url("get_object", path), status_code=HTTPStatus.FOUND)
