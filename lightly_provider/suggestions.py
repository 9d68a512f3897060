"""What somebody may have meant who wrote a name that does not exist. Uses only the standard library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

# Comparing takes time with the square of the length, and no name is longer.
_MOST_COMPARED = 200


def nearest(written: object, names: Iterable[str], *, n: int = 3) -> list[str]:
    """
    Return the names that are nearest to what was written, whatever their case; the nearest first.

    :param written: What was written.
    :param names: The names that exist.
    :param n: How many at most. Default: 3.
    """
    import difflib  # only a refusal needs it

    by_fold = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(str(written)[:_MOST_COMPARED].casefold(), by_fold, n=n)
    return [by_fold[fold] for fold in near]


def did_you_mean(written: object, names: Iterable[str], *, n: int = 1, otherwise: str) -> str:
    """
    Return a question that names what is nearest, or another hint if nothing is near.

    :param written: What was written.
    :param names: The names that exist.
    :param n: How many to name at most. Default: 1.
    :param otherwise: The other hint.
    """
    near = nearest(written, names, n=n)
    return f"did you mean {' or '.join(repr(shown(name, longest=100)) for name in near)}?" if near else otherwise


def one_of(written: object, choices: Iterable[str], *, listed: str) -> str:
    """
    Return a hint that lists all choices, and names the nearest one first if there is one.

    :param written: What was written.
    :param choices: The choices.
    :param listed: The choices as text.
    """
    near = did_you_mean(written, choices, otherwise="")
    return f"{near} Allowed: {listed}." if near else f"allowed: {listed}."
