"""The workflow files: they call the make targets that a person calls, with pinned actions and few rights."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from release.distributions import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
TARGETS = set(
    re.findall(r"^([a-z][a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
)


def named_targets(text: str) -> set[str]:
    """The make targets of a workflow: those of its commands, and those that its matrix puts into one."""
    direct = set(re.findall(r"\bmake ([a-z][a-z-]+)", text))
    if listed := re.search(r"^ +target:\n((?: +- .+\n)+)", text, flags=re.MULTILINE):
        direct |= set(re.findall(r"- ([a-z-]+)", listed[1]))
    return direct


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_calls_targets_that_exist(path: Path) -> None:
    targets = named_targets(path.read_text(encoding="utf-8"))
    assert targets
    assert targets <= TARGETS


def test_the_tests_of_a_change_are_those_of_the_ci_script() -> None:
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    of_the_script = set(re.findall(r"^ *(?:make|begin_within \d+) ([a-z-]+)", script, flags=re.MULTILINE))
    assert named_targets((REPOSITORY / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")) == of_the_script


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_action_is_pinned_to_a_commit(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{action} does not say which version it is"


def test_a_linter_of_workflows_finds_nothing() -> None:
    zizmor = str(Path(sys.executable).with_name("zizmor"))
    checked = subprocess.run(
        [zizmor, "--offline", "--no-progress", "--persona", "pedantic", *map(str, WORKFLOWS)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
