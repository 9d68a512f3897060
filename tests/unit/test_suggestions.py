"""What somebody may have meant who wrote a name that does not exist."""

from __future__ import annotations

import pytest

from lightly_provider.suggestions import did_you_mean, nearest, one_of


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("videos", ["Videos"]),
        ("VIDEO", ["Videos"]),
        ("imagse", ["Images"]),
        ("zebra", []),
        ("", []),
        (7, []),
        (None, []),
        ("Videos" * 100_000, []),
    ],
)
def test_the_nearest_name_whatever_its_case(written: object, near: list[str]) -> None:
    assert nearest(written, ["Images", "Videos"]) == near


def test_the_nearest_comes_first_and_no_more_than_asked_for() -> None:
    names = ["day-1", "day-12", "day-123"]
    assert nearest("day-12", names, n=2)[0] == "day-12"
    assert len(nearest("day-12", names, n=2)) == 2


def test_a_question_a_list_or_another_hint() -> None:
    assert did_you_mean("day\x1b2", ["day-1", "night"], otherwise="look.") == "did you mean 'day-1'?"
    assert did_you_mean("zebra", ["day-1", "night"], otherwise="look.") == "look."
    assert did_you_mean("nigth", ["night\x1b"], n=2, otherwise="look.") == r"did you mean 'night\\x1b'?"
    assert one_of("tow", ["one", "two"], listed="one, two") == "did you mean 'two'? Allowed: one, two."
    assert one_of("zebra", ["one", "two"], listed="one, two") == "allowed: one, two."
