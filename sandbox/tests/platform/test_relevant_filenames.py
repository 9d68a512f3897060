from __future__ import annotations

import pytest

from lightly_sandbox.platform.relevant_filenames import RelevantFilenames


@pytest.mark.parametrize(
    ("line", "has", "has_not"),
    [
        ("a.jpg", ["a.jpg"], ["b/a.jpg", "a.jpgx", "a.jp"]),
        ("dir/*", ["dir/a.jpg", "dir/deep/a.jpg"], ["dir", "other/dir/a.jpg", "dirx/a.jpg"]),
        ("dir/*.jpg", ["dir/a.jpg"], ["dir/a.png", "dir/deep/a.jpg"]),
        ("**/a.jpg", ["a.jpg", "b/a.jpg", "b/c/a.jpg"], ["b/xa.jpg"]),
        ("dir/**", ["dir/a.jpg", "dir/b/c.jpg"], ["a.jpg"]),
        ("dir/**/a.jpg", ["dir/a.jpg", "dir/b/c/a.jpg"], ["a.jpg"]),
        ("frame?.jpg", ["frame1.jpg"], ["frame12.jpg", "frame/.jpg"]),
        ("frame[0-3].jpg", ["frame2.jpg"], ["frame4.jpg"]),
        ("frame[!0-3].jpg", ["frame4.jpg"], ["frame2.jpg"]),
        ("a.b*", ["a.bc"], ["axbc"]),
        ("with space é.jpg", ["with space é.jpg"], ["with"]),
    ],
)
def test_a_line_means_these_files_and_no_others(line: str, has: list[str], has_not: list[str]) -> None:
    relevant = RelevantFilenames.parse(f"{line}\n")
    assert [name for name in [*has, *has_not] if relevant.has(name)] == has


def test_every_line_counts_and_blank_ones_mean_nothing() -> None:
    relevant = RelevantFilenames.parse("a.jpg\r\n\n  \nb/*")
    assert [name for name in ("a.jpg", "b/c.jpg", "", "c.jpg") if relevant.has(name)] == ["a.jpg", "b/c.jpg"]
    assert not RelevantFilenames.parse("").has("a.jpg")


@pytest.mark.parametrize("line", ["/a.jpg", "./a.jpg", "../a.jpg", "a[3-1].jpg"])
def test_a_line_that_cannot_be_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="the line"):
        RelevantFilenames.parse(f"b.jpg\n{line}\n")
