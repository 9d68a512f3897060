"""Text from outside (file names, log lines, AWS's messages) made safe to read on a page.

Jinja escapes HTML. What remains are characters that a reader does not see, or that change how the text around
them is shown: control characters, marks that turn the direction of writing, line separators.
"""

from __future__ import annotations

import unicodedata

LONGEST = 2000
"""A longer text is cut off: one name must not fill a page."""

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def shown(text: str, longest: int = LONGEST) -> str:
    """Return at most ``longest`` characters of ``text``, the invisible ones as escapes."""
    cut = text[:longest]
    visible = cut if cut.isprintable() else "".join(map(_visible, cut))
    return visible if len(text) <= longest else f"{visible}… ({len(text):,} characters)"


def _visible(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    return character.encode("unicode_escape").decode()
