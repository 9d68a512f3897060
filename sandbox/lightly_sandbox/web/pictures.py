"""Small pictures for the pages, from the bytes of foreign files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SIDE = 256
LARGEST_FILE = 64 * 1024 * 1024

_MAGIC = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG\r\n\x1a\n", "image/png"))


def media_type_of(content: bytes) -> str | None:
    """Return the media type of a picture that a browser may get as it is; None for anything else.

    By its first bytes, not by its name: a browser must never take a foreign file for a page or a script.
    """
    for magic, media_type in _MAGIC:
        if content.startswith(magic):
            return media_type
    return "image/webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else None


def small(content: bytes) -> bytes | None:
    """Return a JPEG of at most ``SIDE`` pixels each way; None if ``content`` is no picture."""
    # When the first one is asked for; the platform needs Pillow for nothing else.
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content)) as opened:
            # Lets a JPEG be decoded at a fraction of its size, which is much faster.
            opened.draft("RGB", (SIDE, SIDE))
            return _jpeg(ImageOps.exif_transpose(opened))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # What Pillow raises for files that are damaged, or pictures that would be too large.


def _jpeg(image: Image.Image) -> bytes:
    reduced = image.convert("RGB")
    reduced.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    reduced.save(content, "JPEG", quality=80)
    return content.getvalue()


NO_PICTURE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3" role="img" aria-label="no picture">'
    b'<path d="M0 0h4v3H0z" fill="#8883"/><path d="M.5 2.5 1.6 1.2l.7.8.5-.5 .8 1z" fill="#8886"/></svg>'
)
"""What stands where a file cannot be read or is no picture."""
