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
    readme="# airflow-provider-lightly\n",
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
        ({"tag": "1.2.0", "tags": ("1.2.0",)}, "the tag must be 'v1.2.0'"),
        ({"tag": "v1.3.0", "tags": ("v1.3.0",)}, "the tag must be 'v1.2.0'"),
        ({"sandbox_version": "1.1.0"}, "set the same version in both"),
        ({"tags": ()}, "has no tag 'v1.2.0' (its tags: none)"),
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
        ({"readme": "Version 1.2.0 is not released yet."}, "remove that sentence"),
    ],
)
def test_each_fault_is_named_alone(change: dict[str, Any], fault: str) -> None:
    (found,) = faults(replace(READY, **change))
    assert fault in found
