"""Writes the selection to the platform: samples, frames of videos, thumbnails, the tag."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_sandbox.worker.outcome import RunFailed
from lightly_sandbox.worker.parallel import spread
from lightly_sandbox.worker.sources import loads
from lightly_sandbox.worker.transfer import TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from PIL import Image

    from lightly_sandbox.worker.api import Platform, WriteUrls
    from lightly_sandbox.worker.measurement import Measurement
    from lightly_sandbox.worker.sources import Candidate, Load
    from lightly_sandbox.worker.transfer import Transfer

THUMBNAIL_SIDE = 256
_WRITE_THREADS = 8
_THUMBNAIL_FORMATS = {"png": ("PNG", "image/png"), "webp": ("WEBP", "image/webp")}
# The file name extensions for frames of videos, with Pillow's format names and the media types.
FRAME_FORMATS = {
    "png": ("PNG", "image/png"),
    "jpg": ("JPEG", "image/jpeg"),
    "jpeg": ("JPEG", "image/jpeg"),
    "webp": ("WEBP", "image/webp"),
    "bmp": ("BMP", "image/bmp"),
    "tif": ("TIFF", "image/tiff"),
    "tiff": ("TIFF", "image/tiff"),
}


@dataclass(frozen=True)
class Output:
    """The destination of frames and thumbnails: the datasource of purpose LIGHTLY, or the common one.

    Without a ``thumb_suffix`` there are no thumbnails.
    """

    thumb_suffix: str | None = None
    kms_key_arn: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that a write needs with the signed URL: the KMS key for S3."""
        if self.kms_key_arn is None:
            return {}
        return {
            "x-amz-server-side-encryption": "aws:kms",
            "x-amz-server-side-encryption-aws-kms-key-id": self.kms_key_arn,
        }

    def thumb_name(self, file_name: str) -> str | None:
        """Return the thumbnail's name, relative to the datasource's path; None for no thumbnail."""
        if self.thumb_suffix is None:
            return None
        stem, dot, extension = file_name.rpartition(".")
        stem, extension = (stem, extension) if dot else (file_name, "")
        return self.thumb_suffix.replace("[filename]", stem).replace("[extension]", extension)


def output_among(datasources: Iterable[Mapping[str, Any]]) -> Output:
    """Find the destination of frames and thumbnails among the dataset's datasources."""
    by_purpose = {datasource["purpose"]: datasource for datasource in datasources}
    datasource = by_purpose.get("LIGHTLY") or by_purpose.get("INPUT_OUTPUT") or {}
    return Output(datasource.get("thumbSuffix") or None, datasource.get("s3ServerSideEncryptionKMSKey"))


def frame_file(image: Image.Image, file_name: str) -> tuple[bytes, str]:
    """Encode a video's frame as an image file.

    Args:
        image: the decoded frame.
        file_name: its extension, one of ``FRAME_FORMATS``, decides the format.

    Returns:
        The file's bytes and its media type.
    """
    kind, media_type = FRAME_FORMATS[file_name.rpartition(".")[2]]
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue(), media_type


def thumbnail(image: Image.Image, thumb_name: str) -> tuple[bytes, str]:
    """Create a thumbnail of at most ``THUMBNAIL_SIDE`` pixels in width and height.

    Args:
        image: the decoded image.
        thumb_name: its extension decides the format; everything but PNG and WebP becomes a JPEG.

    Returns:
        The file's bytes and its media type.
    """
    kind, media_type = _THUMBNAIL_FORMATS.get(thumb_name.rpartition(".")[2].lower(), ("JPEG", "image/jpeg"))
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    content = io.BytesIO()
    small.save(content, kind)
    return content.getvalue(), media_type


def publish_samples(
    platform: Platform,
    transfer: Transfer,
    dataset_id: str,
    selected: Sequence[tuple[Candidate, Measurement]],
    output: Output,
    tick: Callable[[], None],
) -> list[str]:
    """Create samples for the selection: frames of videos as image files, all with thumbnails.

    Only selected images become samples, so that the dataset contains the selection. That is a guess: the
    vendor documents that a dataset's samples are what the runs selected, but not what the worker sends.

    Returns:
        The samples' ids in the order of ``selected``.

    Raises:
        RunFailed: S3 refuses to take a frame or a thumbnail.
    """
    writer = _Writer(transfer, output)
    sample_ids: list[str] = []
    pending: dict[Candidate, WriteUrls] = {}
    for candidate, measurement in selected:
        tick()
        sample: dict[str, Any] = {"fileName": candidate.name, "metaData": measurement.as_wire()}
        thumb_name = output.thumb_name(candidate.name)
        if thumb_name is not None:
            sample["thumbName"] = thumb_name
        frame_data = candidate.video_frame_data()
        if frame_data is not None:
            sample["videoFrameData"] = frame_data
        elif thumb_name is None:
            sample_ids.append(platform.create_sample(dataset_id, sample))
            continue
        sample_id, urls = platform.create_sample_with_urls(dataset_id, sample)
        if not sample_ids:
            # If one write is refused, all are: find out before creating the other samples.
            writer.write(candidate, next(loads([candidate], tick))[1], urls)
        else:
            pending[candidate] = urls
        sample_ids.append(sample_id)
    # Videos are decoded from start to end, not in the order of the selection.
    in_order = sorted(pending, key=lambda candidate: (candidate.source.name, candidate.position))
    spread(
        lambda found: writer.write(*found, pending[found[0]]),
        loads(in_order, tick),
        threads=_WRITE_THREADS,
        tick=tick,
    )
    return sample_ids


@dataclass(frozen=True)
class _Writer:
    transfer: Transfer
    output: Output

    def write(self, candidate: Candidate, load: Load, urls: WriteUrls) -> None:
        image = load()
        if candidate.is_frame:
            self._put("frame", urls.full, *frame_file(image, candidate.name))
        thumb_name = self.output.thumb_name(candidate.name)
        if thumb_name is not None:
            self._put("thumbnail", urls.thumb, *thumbnail(image, thumb_name))

    def _put(self, what: str, url: str, content: bytes, media_type: str) -> None:
        try:
            self.transfer.write(url, content, {"Content-Type": media_type, **self.output.headers})
        except TransferError as error:
            instead = ", or turn thumbnails off" if what == "thumbnail" else ""
            raise RunFailed(
                f"The worker may not or cannot write the {what} {error.place} ({error.status or 'no answer'}"
                f" {error.reason}). Check that the output datasource's credentials allow s3:PutObject"
                f" there{instead}."
            ) from error


def publish_tag(platform: Platform, dataset_id: str, run_id: str, sample_ids: Sequence[str]) -> str:
    """Tag the newly selected samples: the initial tag on the dataset's first run, then one per run.

    A later tag contains the run's new samples only, as in the vendor's page on the datapool
    (lightly-ai/lightly, docs/source/docker/advanced/datapool.rst: "newly added samples there in a new tag");
    its name is the sandbox's choice.

    Returns:
        The tag's name.
    """
    tags = platform.tags(dataset_id)
    positions = {sample_id: bit for bit, sample_id in enumerate(platform.mappings(dataset_id, "_id"))}
    bit_mask = hex(sum(1 << positions[sample_id] for sample_id in sample_ids))
    if not tags:
        name = "initial-tag"
        tag_id = platform.create_initial_tag(
            dataset_id, {"name": name, "creator": "USER_WORKER", "imgType": "full", "runId": run_id}
        )
        if len(positions) > len(sample_ids):
            # The initial tag contains every sample, also those of a run that failed before creating its tag.
            update = {"name": name, "updateCreator": "USER_WORKER", "bitMaskData": bit_mask}
            platform.update_tag(dataset_id, tag_id, update)
        return name
    latest = max(tags, key=lambda tag: (tag.get("runId") is not None, tag["createdAt"], tag["id"]))
    n_added = len(sample_ids)
    name = f"run-{run_id}"
    platform.create_tag(
        dataset_id,
        {
            "name": name,
            "prevTagId": latest["id"],
            "bitMaskData": bit_mask,
            "totSize": len(positions),
            "creator": "USER_WORKER",
            "changes": {"samples": {"method": "added", "count": n_added, "added": n_added, "removed": 0}},
            "runId": run_id,
        },
    )
    return name


def members_of(tags: Iterable[Mapping[str, Any]], sample_ids: Sequence[str]) -> list[int]:
    """Return the positions of the samples that are in at least one tag, in order.

    Args:
        tags: the dataset's tags.
        sample_ids: the dataset's samples, in the order of the bits.
    """
    union = 0
    for tag in tags:
        union |= int(tag["bitMaskData"], 16)
    return [bit for bit in range(len(sample_ids)) if union >> bit & 1]
