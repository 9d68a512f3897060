"""The two distributions of this repository, and how each is built.

    .venv-package/bin/python -m release.distributions --into dist

Built with the build back end that is installed here, which ``constraints-package.txt`` pins, and not with a newer one
that an isolated build would take: the same commit gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Distribution:
    """One of the two: its name on a package index, its folder in the repository, and its package."""

    name: str
    folder: str
    package: str

    def version(self, repository: Path = REPOSITORY) -> str:
        """The version in the package's ``__init__.py``, which is the only place where it stands."""
        text = (repository / self.folder / self.package / "__init__.py").read_text(encoding="utf-8")
        found = re.search(r'^__version__ = "([^"]+)"$', text, flags=re.MULTILINE)
        if found is None:
            raise ValueError(f'{self.folder}/{self.package}/__init__.py has no line __version__ = "…"')
        return found[1]

    def file(self, kind: str, version: str) -> str:
        """The name of its ``wheel`` or ``sdist``."""
        stem = f"{self.name.replace('-', '_')}-{version}"
        return f"{stem}-py3-none-any.whl" if kind == "wheel" else f"{stem}.tar.gz"


PROVIDER = Distribution("airflow-provider-lightly", ".", "lightly_provider")
SANDBOX = Distribution("lightly-sandbox", "sandbox", "lightly_sandbox")
DISTRIBUTIONS = (PROVIDER, SANDBOX)


def commit_time(repository: Path = REPOSITORY) -> str:
    """The time of the last commit, in seconds since 1970. In an unpacked sdist, each file has that time.

    It is SOURCE_DATE_EPOCH of the build (https://reproducible-builds.org/specs/source-date-epoch/): the time of each
    file in the archives.
    """
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    asked = subprocess.run(
        ["git", "-C", str(repository), "log", "-1", "--format=%ct"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode == 0:
        return asked.stdout.strip()
    return str(int((repository / "CHANGELOG.md").stat().st_mtime))


def build(source: Path, into: Path, kinds: tuple[str, ...] = ("sdist", "wheel"), **environment: str) -> list[Path]:
    """Build the distribution in the folder ``source``; ``environment`` is what the build sees beside this process's."""
    into.mkdir(parents=True, exist_ok=True)
    made = []
    for kind in kinds:
        done = subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(into), str(source)],
            env={"SOURCE_DATE_EPOCH": commit_time(), **os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.search(r"^Successfully built (\S+)", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout), flags=re.MULTILINE)
        if done.returncode or found is None:
            raise RuntimeError(f"The {kind} of {source} was not built: {(done.stderr or done.stdout).strip()}")
        made.append(into / found[1])
    return made


def main() -> int:
    """Build both distributions, and print each file with its size and SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=REPOSITORY / "dist", help="folder of the files (default dist)")
    into = parser.parse_args().into
    for distribution in DISTRIBUTIONS:
        for path in build(REPOSITORY / distribution.folder, into):
            content = path.read_bytes()
            print(f"{hashlib.sha256(content).hexdigest()}  {len(content):>9,} bytes  {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
