"""
Text that this provider did not write: answers of the platform, AWS error messages, S3 keys, log lines of a worker.

:func:`storable` is applied where such text is read, :func:`shown` where it is shown to a person (log, exception, table,
terminal). Standard library only, so that every other module may import it.
"""

from __future__ import annotations

import re

LONGEST_SHOWN = 2000

# What neither PostgreSQL (NUL), UTF-8 (lone surrogates) nor a log keeps as it is. Tabs and line breaks stay.
_NOT_STORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_NUL_OR_SURROGATE = re.compile("[\x00\ud800-\udfff]")
# Airflow's page of a log folds lines from one marker to the next, wherever in a line the marker stands (airflow 3.3.2,
# ui/src/queries/useLogs.tsx; Airflow 2 also reads the second form).
_LOG_MARKER = re.compile(r"::(?=(?:end)?group::)|##(?=\[(?:end)?group\])")


def storable(text: str) -> str:
    """
    The text without what cannot be stored: NUL, other control characters and lone surrogates are escaped.

    Tabs and line breaks are kept. Ordinary text is returned unchanged.

    :param text: Text from outside.
    """
    return _NOT_STORABLE.sub(_escaped, text)


def is_storable(text: str) -> bool:
    """
    Whether the text can be stored as it is: PostgreSQL refuses NUL, and UTF-8 lone surrogates.

    :param text: Text from outside.
    """
    return _NUL_OR_SURROGATE.search(text) is None


def shown(text: object, *, longest: int = LONGEST_SHOWN) -> str:
    r"""
    The text on one line, for a log, an exception, a table or a terminal.

    Everything that is not printable is escaped as in a Python string (``\n``, ``\x1b``, ``\u202e``): line breaks, which
    could forge lines, escape sequences, which act on a terminal, characters that reverse or hide others, and the
    markers by which Airflow's page folds a log. Text that is longer is cut. Applying it twice changes nothing more.

    :param text: Text from outside; of anything else, its ``str``.
    :param longest: Number of characters to show. Default: 2000.
    """
    whole = str(text)
    cut = whole[:longest]
    if not cut.isprintable():
        cut = "".join(character if character.isprintable() else _escape(character) for character in cut)
    cut = _LOG_MARKER.sub(lambda marker: "".join(rf"\x{ord(sign):02x}" for sign in marker.group()), cut)
    return cut if len(whole) <= longest else f"{cut}… ({len(whole)} characters)"


def _escaped(match: re.Match[str]) -> str:
    return _escape(match.group())


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
