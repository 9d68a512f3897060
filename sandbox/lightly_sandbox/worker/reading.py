"""Reading the files that a run is about, and finding out which of them decode."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from lightly_sandbox.worker.api import TransferError
from lightly_sandbox.worker.outcome import RunFailed
from lightly_sandbox.worker.parallel import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lightly_sandbox.worker.api import Transfer

_READ_THREADS = 8


@dataclass(frozen=True)
class RemoteFile:
    """A file in the datasource, with the signed URL to read it from."""

    name: str
    read_url: str


@dataclass(frozen=True)
class LocalImage:
    """A file that was read and decodes. It is kept on disk: a bucket may hold more than the memory."""

    name: str
    path: Path
    size_in_bytes: int

    def decode(self) -> Image.Image:
        """Decode the image: its first frame if it is animated, its upper 8 bits if it has 16."""
        with Image.open(self.path) as opened:
            opened.load()
        image: Image.Image = opened
        if image.mode.startswith("I"):
            # Pillow cuts these off at 255 instead of scaling them when it converts them to RGB.
            image = image.point(lambda value: value / 256).convert("L")
        return image


@dataclass(frozen=True)
class Unreadable:
    """A file that is no use: it does not decode, or it is no longer there."""

    name: str
    reason: str
    is_corrupt: bool


def read_images(
    transfer: Transfer, files: Sequence[RemoteFile], folder: Path, tick: Callable[[], None]
) -> tuple[list[LocalImage], list[Unreadable]]:
    """Read and decode files.

    Args:
        transfer: reads the URLs.
        files: what to read.
        folder: an empty or non-existing folder for the files' contents.
        tick: see ``spread``.

    Returns:
        Those that decode, in the order of ``files``, and the others.

    Raises:
        RunFailed: a file cannot be read for a reason that has nothing to do with the file itself.
    """
    folder.mkdir(exist_ok=True)
    numbers = itertools.count()

    def read(file: RemoteFile) -> LocalImage | Unreadable:
        # Numbered, because an object's key need not be a possible file name.
        image = _store(transfer, file, folder / str(next(numbers)))
        if isinstance(image, LocalImage):
            try:
                image.decode().convert("RGB")
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                # Pillow raises all of these for files that are broken, cut off, or absurdly large.
                image.path.unlink()
                return Unreadable(file.name, str(error).replace(str(image.path), file.name), is_corrupt=True)
        return image

    results = spread(read, files, threads=_READ_THREADS, tick=tick)
    return (
        [result for result in results if isinstance(result, LocalImage)],
        [result for result in results if isinstance(result, Unreadable)],
    )


def _store(transfer: Transfer, file: RemoteFile, path: Path) -> LocalImage | Unreadable:
    try:
        content = transfer.read(file.read_url)
    except TransferError as error:
        if error.status == 404:
            return Unreadable(file.name, "it has been deleted since it was listed", is_corrupt=False)
        raise RunFailed(
            f"The worker may not or cannot read {error.place} ({error.status or 'no answer'} {error.reason})."
            " Check that the datasource's credentials allow s3:GetObject there."
        ) from error
    path.write_bytes(content)
    return LocalImage(file.name, path, len(content))
