"""``…/export/zip``: the files of a tag in one archive (deprecated in the API)."""

from __future__ import annotations

import tempfile
import zipfile
from http import HTTPStatus
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.requests import S3, Config, Db, refusing
from lightly_sandbox.platform.routes.exports import samples_of
from lightly_sandbox.platform.s3_access import credentials_error, place_of
from lightly_sandbox.platform.sample_files import file_of, purpose_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lightly_sandbox.platform.s3_access import Place
    from lightly_sandbox.platform.tables import Sample

router = APIRouter(prefix="/v1/datasets/{dataset_id}/tags/{tag_id}/export")

# The operation documents 413 and no bound; this one is a guess.
MOST_FILES = 1000
_IN_MEMORY_BYTES = 16 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024


class ZipResponse(Response):
    """What the document says of it."""

    media_type = "application/zip"


_ANSWERS: dict[int | str, dict[str, Any]] = {
    **refusing(HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    HTTPStatus.OK: {"content": {ZipResponse.media_type: {"schema": {"type": "string", "format": "binary"}}}},
}


@router.get("/zip", response_class=ZipResponse, responses=_ANSWERS)
def export_zip(dataset_id: str, tag_id: str, db: Db, config: Config, access: S3) -> StreamingResponse:
    """The tag's files as they are in the input, under their names."""
    dataset = lookups.dataset(db, dataset_id, config.user_id)
    samples = samples_of(db, dataset_id, tag_id)
    if len(samples) > MOST_FILES:
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            ApiErrorCode.PAYLOAD_TOO_LARGE,
            f"Tag {tag_id} has {len(samples)} samples, an archive takes {MOST_FILES}; export their names.",
        )
    places = {
        kind: place_of(access, lookups.required_datasource_config(dataset, purpose_of(kind)))
        for kind in {sample.type for sample in samples}
    }
    try:
        archive = _archive(places, samples)
    except (ClientError, BotoCoreError) as refused:
        raise credentials_error(refused) from refused
    return StreamingResponse(_chunks(archive), media_type=ZipResponse.media_type)


def _archive(places: Mapping[str, Place], samples: Sequence[Sample]) -> IO[bytes]:
    archive = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 (closed when it was sent)
    # Images and videos are compressed already.
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as writer:
        for sample in samples:
            place = places[sample.type]
            key = place.location.key(file_of(sample))
            found = place.client.get_object(Bucket=place.location.bucket, Key=key)
            writer.writestr(sample.file_name, found["Body"].read())
    archive.seek(0)
    return archive


def _chunks(archive: IO[bytes]) -> Iterator[bytes]:
    with archive:
        while chunk := archive.read(_CHUNK_BYTES):
            yield chunk
