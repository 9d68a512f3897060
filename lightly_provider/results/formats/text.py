"""Plain text: a filename or an address a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.exceptions import LightlyResponseError
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lightly_provider.results.samples import ExportedSample


def lines(pages: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """Yield a line for each name, exactly as in the bucket, or for each address."""
    from lightly_provider.api.models.sample import NamePage

    for page in pages:
        # A page of the platform is lines already.
        yield page.lines if isinstance(page, NamePage) else "\n".join(page).encode()
        yield b"\n"


def uris(pages: Iterable[Sequence[ExportedSample]]) -> Iterator[Sequence[str]]:
    """Yield the addresses of samples; see :func:`uri`."""
    for page in pages:
        yield [uri(sample) for sample in page]


def checked_uris(pages: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """
    Yield addresses of files unchanged.

    :raises LightlyResponseError: An address has a line break, so that it would be read as two.
    """
    from lightly_provider.api.models.sample import NamePage

    for page in pages:
        # Only a page that has a line break is split into its addresses, to find it.
        if not isinstance(page, NamePage) or b"\r" in page.lines:
            for address in page:
                _check_line(address)
        yield page


def uri(sample: ExportedSample) -> str:
    """
    Return the address of a sample.

    A frame without a file of its own is its video's address with a fragment, its time in the form of W3C's Media
    Fragments and its number: ``s3://bucket/video.mp4#t=5.1&frame=153``. So is a crop: ``…#crop=3&task=boxes``.

    :raises LightlyResponseError: The address has a line break, so that it would be read as two.
    """
    _check_line(sample.address)
    if sample.frame is not None:
        time = "" if sample.time is None else f"t={sample.time:.6f}".rstrip("0").rstrip(".") + "&"
        return f"{sample.address}#{time}frame={sample.frame}"
    if sample.crop_index is not None:
        return f"{sample.address}#crop={sample.crop_index}&task={sample.crop_task}"
    return sample.address


def _check_line(address: str) -> None:
    # Many readers take a carriage return for the end of a line, too.
    if "\n" in address or "\r" in address:
        raise LightlyResponseError(
            f"The address {shown(address, longest=300)} has a line break in it, so a file of addresses with one in "
            "each line cannot hold it; export the format 'manifest', or rename the file.",
            operation="export_tag_to_basic_filenames",
        )
