"""Whether this commit can be released: one version, its tag, its entry in the changelog, and a public address.

    make release TAG=v0.1.0

It decides and builds, and uploads nothing.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from release.distributions import PROVIDER, REPOSITORY, SANDBOX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_HEADING = re.compile(r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>\S+))?\s*$", flags=re.MULTILINE)


@dataclass(frozen=True)
class Candidate:
    """
    What is to be released.

    ``tags``: those of the commit. ``changes``: what git says is not committed. ``pages``: the texts of the
    READMEs and of the guide, by path.
    """

    tag: str
    provider_version: str
    sandbox_version: str
    tags: tuple[str, ...]
    changes: tuple[str, ...]
    changelog: str
    pages: Mapping[str, str]
    address: str
    today: date


def faults(candidate: Candidate) -> list[str]:
    """What stands in the way of the release, each with the next step, in the order of the steps; empty: nothing."""
    version = candidate.provider_version
    return [
        *_of_the_version(candidate, version),
        *_of_the_changelog(candidate, version),
        *_of_the_pages(candidate),
        *_of_the_commit(candidate, version),
    ]


def _of_the_version(candidate: Candidate, version: str) -> list[str]:
    found = []
    if not candidate.tag:
        found.append(f"No tag is given; run `make release TAG=v{version}`.")
    elif candidate.tag != f"v{version}":
        found.append(
            f"The tag is {candidate.tag!r}, but lightly_provider/__init__.py has version {version!r}, "
            f"so the tag must be 'v{version}'."
        )
    if candidate.sandbox_version != version:
        found.append(
            f"lightly_sandbox/__init__.py has version {candidate.sandbox_version!r}, but the provider has {version!r}: "
            "both are released together, so set the same version in both."
        )
    return found


def _of_the_commit(candidate: Candidate, version: str) -> list[str]:
    found = []
    if candidate.changes:
        found.append(
            f"{len(candidate.changes)} files are changed and not committed, the first is {candidate.changes[0]!r}; "
            "commit or remove them."
        )
    if f"v{version}" not in candidate.tags:
        found.append(
            f"The commit has no tag 'v{version}' (its tags: {', '.join(candidate.tags) or 'none'}); when the rest is "
            f"committed, run `git tag --annotate v{version}`, or check out the commit that has it."
        )
    return found


def _of_the_changelog(candidate: Candidate, version: str) -> list[str]:
    headings = list(_HEADING.finditer(candidate.changelog))
    names = [heading["name"] for heading in headings]
    if version not in names:
        return [f"CHANGELOG.md has no heading '## [{version}] - YYYY-MM-DD'; name the entry 'Unreleased' so."]
    found = []
    entry = names.index(version)
    if names[:entry] not in ([], ["Unreleased"]):
        found.append(f"CHANGELOG.md has {names[entry - 1]!r} above {version!r}; the newest release stands first.")
    if names[0] == "Unreleased" and entry == 1:
        left = candidate.changelog[headings[0].end() : headings[1].start()].strip()
        if left:
            found.append(f"CHANGELOG.md has changes under 'Unreleased'; move them below the heading '## [{version}]'.")
    try:
        day = date.fromisoformat(headings[entry]["date"] or "")
    except ValueError:
        found.append(f"The heading of {version} in CHANGELOG.md has no date YYYY-MM-DD; add that of the release.")
    else:
        if day > candidate.today:
            found.append(f"The date of {version} in CHANGELOG.md, {day}, is in the future; today is {candidate.today}.")
    return found


def _of_the_pages(candidate: Candidate) -> list[str]:
    found = []
    if urlsplit(candidate.address).hostname is None or str(urlsplit(candidate.address).hostname).endswith(".invalid"):
        found.append(
            f"The repository's address is {candidate.address!r}, which leads nowhere; set `repository` in "
            "[tool.hatch.metadata.hooks.custom] of pyproject.toml to the public repository."
        )
    # "is not released yet", "Nothing has been released yet"
    if unreleased := [path for path, text in candidate.pages.items() if "released yet" in " ".join(text.split())]:
        found.append(f"A version is said to be not released yet in {', '.join(unreleased)}; remove the sentence there.")
    return found


def _pages() -> list[Path]:
    return [
        *(REPOSITORY / name for name in ("README.md", "sandbox/README.md")),
        *sorted((REPOSITORY / "docs").rglob("*.md")),
    ]


def _git(*arguments: str) -> tuple[str, ...]:
    asked = ["git", "-C", str(REPOSITORY), *arguments]
    return tuple(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines())


def main() -> int:
    """Print what stands in the way, or that nothing does; 1 if something does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tag", required=True, help="the tag of the release, v and the version")
    configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    candidate = Candidate(
        tag=parser.parse_args().tag,
        provider_version=PROVIDER.version(),
        sandbox_version=SANDBOX.version(),
        tags=_git("tag", "--points-at", "HEAD"),
        changes=tuple(line[3:] for line in _git("status", "--porcelain")),
        changelog=(REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"),
        pages={str(page.relative_to(REPOSITORY)): page.read_text(encoding="utf-8") for page in _pages()},
        address=configuration["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"],
        today=datetime.now(tz=UTC).date(),
    )
    found = faults(candidate)
    for fault in found:
        print(f"- {fault}", file=sys.stderr)
    if found:
        print(f"v{candidate.provider_version} cannot be released; faults, see above: {len(found)}.", file=sys.stderr)
        return 1
    print(f"{candidate.tag} can be released.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
