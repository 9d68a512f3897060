"""Reads the images of a run, and determines which of them can be decoded."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from lightly_sandbox.worker.input_expiration import ExpiresSoon
from lightly_sandbox.worker.outcome import RunFailed
from lightly_sandbox.worker.parallel import spread
from lightly_sandbox.worker.sources import Candidate
from lightly_sandbox.worker.transfer import TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from lightly_sandbox.worker.input_expiration import InputExpiration
    from lightly_sandbox.worker.sources import Load, Tick
    from lightly_sandbox.worker.transfer import Transfer

READ_THREADS = 8


@dataclass(frozen=True)
class RemoteFile:
    """A file in the datasource, with the signed URL to read it from."""

    name: str
    read_url: str


@dataclass(frozen=True)
class LocalImage:
    """A file that was read and can be decoded. It stays on disk: a bucket may be larger than the memory."""

    name: str
    path: Path
    size_in_bytes: int

    def decode(self) -> Image.Image:
        """Decode the image: its first frame if it is animated, its upper 8 bits if it has 16."""
        with Image.open(self.path) as opened:
            opened.load()
        image: Image.Image = opened
        if image.mode.startswith("I"):
            # Pillow clips these values at 255 instead of scaling them when it converts them to RGB.
            image = image.point(lambda value: value / 256).convert("L")
        return image

    def candidates(self) -> Sequence[Candidate]:
        """Return the image's only candidate."""
        return (Candidate(self.name, self),)

    def pictures(self, positions: Collection[int], tick: Tick) -> Iterator[tuple[int, Load]]:
        """Yield the image at position 0."""
        tick()
        if 0 in positions:
            yield 0, self.decode


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be used: it cannot be decoded, no longer exists, or expires soon."""

    name: str
    reason: str
    is_corrupt: bool


def read_images(
    transfer: Transfer,
    files: Sequence[RemoteFile],
    folder: Path,
    tick: Callable[[], None],
    expiration: InputExpiration | None = None,
) -> tuple[list[LocalImage], list[Unreadable]]:
    """Read and decode files.

    Args:
        transfer: reads the URLs.
        files: what to read.
        folder: an empty or non-existing folder for the files' contents.
        tick: see ``spread``.
        expiration: what to do with files that expire; None to read them like others.

    Returns:
        Those that can be decoded, in the order of ``files``, and the others.

    Raises:
        RunFailed: a file cannot be read for a reason that is unrelated to the file itself, or it expires and
            the config does not handle this.
        RunAborted: a file expires soon, and the config ends the run in this case.
    """
    folder.mkdir(exist_ok=True)
    numbers = itertools.count()

    def read(file: RemoteFile) -> LocalImage | Unreadable:
        # Use a number, because an object's key may not be a valid file name.
        path = folder / str(next(numbers))
        stored = store(transfer, file, path, expiration)
        if isinstance(stored, Unreadable):
            return stored
        image = LocalImage(file.name, path, stored)
        try:
            image.decode().convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            # Pillow raises these exceptions for files that are corrupt, truncated, or much too large.
            path.unlink()
            return Unreadable(file.name, str(error).replace(str(path), file.name), is_corrupt=True)
        return image

    results = spread(read, files, threads=READ_THREADS, tick=tick)
    return (
        [result for result in results if isinstance(result, LocalImage)],
        [result for result in results if isinstance(result, Unreadable)],
    )


def store(
    transfer: Transfer, file: RemoteFile, path: Path, expiration: InputExpiration | None
) -> int | Unreadable:
    """Read a file to ``path`` and return its size in bytes, unless it no longer exists or expires soon.

    Raises:
        RunFailed: the file cannot be read for a reason that is unrelated to the file itself, or it expires
            and the config does not handle this.
        RunAborted: it expires soon, and the config ends the run in this case.
    """
    try:
        return transfer.read(file.read_url, path, expiration.look(file.name) if expiration else None)
    except ExpiresSoon as soon:
        return Unreadable(file.name, str(soon), is_corrupt=False)
    except TransferError as error:
        if error.status == 404:
            return Unreadable(file.name, "it has been deleted since it was listed", is_corrupt=False)
        raise RunFailed(
            f"The worker may not or cannot read {error.place} ({error.status or 'no answer'} {error.reason})."
            " Check that the datasource's credentials allow s3:GetObject there."
        ) from error
