"""What stands in the way of a release is named, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from release.readiness import Candidate, faults

CHANGELOG = """# Changelog

The form is that of [Keep a Changelog](https://keepachangelog.com/en/1.1.0/).

## [Unreleased]

## [1.2.0] - 2026-11-20

- A change.

## [1.1.0] - 2026-10-01

- Another.
"""
READY = Candidate(
    tag="v1.2.0",
    provider_version="1.2.0",
    sandbox_version="1.2.0",
    tags=("v1.2.0",),
    changes=(),
    changelog=CHANGELOG,
    pages={"README.md": "# airflow-provider-lightly\n", "docs/quick_start.md": "# Quick start\n"},
    address="https://forge.example/airflow-provider-lightly",
    today=date(2026, 11, 21),
)


def test_nothing_stands_in_the_way_of_a_commit_that_is_ready() -> None:
    assert faults(READY) == []


def test_a_changelog_without_a_section_for_what_is_not_released_is_ready_too() -> None:
    assert faults(replace(READY, changelog=CHANGELOG.replace("## [Unreleased]\n\n", ""))) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"tag": ""}, "No tag is given; run `make release TAG=v1.2.0`"),
        ({"tag": "1.2.0"}, "the tag must be 'v1.2.0'"),
        ({"tag": "v1.3.0"}, "the tag must be 'v1.2.0'"),
        ({"sandbox_version": "1.1.0"}, "set the same version in both"),
        ({"tags": ()}, "has no tag 'v1.2.0' (its tags: none)"),
        ({"tags": ("1.2.0", "v1.3.0")}, "has no tag 'v1.2.0' (its tags: 1.2.0, v1.3.0)"),
        ({"changes": ("README.md",)}, "1 files are changed and not committed, the first is 'README.md'"),
        ({"changelog": CHANGELOG.replace("[1.2.0]", "[1.2.1]")}, "no heading '## [1.2.0] - YYYY-MM-DD'"),
        ({"changelog": CHANGELOG.replace(" - 2026-11-20", "")}, "has no date YYYY-MM-DD"),
        ({"changelog": CHANGELOG.replace("2026-11-20", "20 November")}, "no heading '## [1.2.0] - YYYY-MM-DD'"),
        ({"changelog": CHANGELOG.replace("2026-11-20", "2026-11-31")}, "has no date YYYY-MM-DD"),
        ({"changelog": CHANGELOG.replace("2026-11-20", "2026-11-22")}, "is in the future; today is 2026-11-21"),
        ({"changelog": CHANGELOG.replace("[Unreleased]\n", "[Unreleased]\n\n- Left.\n")}, "under 'Unreleased'; move"),
        ({"changelog": CHANGELOG.replace("[Unreleased]", "[2.0.0] - 2026-11-01")}, "the newest release stands first"),
        ({"address": "https://somewhere.invalid"}, "leads nowhere; set `repository`"),
        ({"address": "to be decided"}, "leads nowhere; set `repository`"),
        ({"pages": {"docs/a.md": "Version 1.2.0 is not\nreleased yet."}}, "not released yet in docs/a.md; remove the"),
        ({"pages": {"docs/b.md": "Nothing has been released\nyet."}}, "not released yet in docs/b.md; remove the"),
    ],
)
def test_each_fault_is_named_alone(change: dict[str, Any], fault: str) -> None:
    (found,) = faults(replace(READY, **change))
    assert fault in found


def test_the_faults_stand_in_the_order_of_the_steps_and_the_tag_is_the_last() -> None:
    """A tag that is set before the changelog is written would be that of an earlier commit."""
    nothing_done = {"tag": "", "tags": (), "changes": ("README.md",), "changelog": "", "address": "https://x.invalid"}
    found = faults(replace(READY, **nothing_done))
    steps = ["No tag is given", "CHANGELOG.md has no heading", "address is", "not committed", "has no tag 'v1.2.0'"]
    assert [step in fault for step, fault in zip(steps, found, strict=True)] == [True] * len(steps)
