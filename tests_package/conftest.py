"""The files that `make package` built, opened once."""

from __future__ import annotations

import email
import os
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from release.distributions import DISTRIBUTIONS, REPOSITORY, Distribution

if TYPE_CHECKING:
    from email.message import Message

DIST = Path(os.environ.get("LIGHTLY_DIST", REPOSITORY / "dist"))


@dataclass(frozen=True)
class Built:
    """One distribution with its two files."""

    distribution: Distribution
    wheel: Path
    sdist: Path

    def metadata(self) -> Message:
        """The wheel's METADATA."""
        with zipfile.ZipFile(self.wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
            return email.message_from_bytes(archive.read(name))

    def description(self) -> str:
        """The README as a package index shows it."""
        payload = self.metadata().get_payload(decode=True)
        assert isinstance(payload, bytes)
        return payload.decode("utf-8")

    def in_the_wheel(self) -> set[str]:
        """The files of the wheel."""
        with zipfile.ZipFile(self.wheel) as archive:
            return set(archive.namelist())

    def in_the_sdist(self) -> set[str]:
        """The files of the sdist, as paths in the repository's folder of the distribution."""
        with tarfile.open(self.sdist) as archive:
            return {name.split("/", 1)[1] for name in archive.getnames()}


@pytest.fixture(scope="session", params=DISTRIBUTIONS, ids=lambda distribution: distribution.name)
def built(request: pytest.FixtureRequest) -> Built:
    """Each distribution in turn."""
    distribution: Distribution = request.param
    version = distribution.version()
    found = Built(distribution, *(DIST / distribution.file(kind, version) for kind in ("wheel", "sdist")))
    for path in (found.wheel, found.sdist):
        assert path.exists(), f"{path} is not built; run `make package`"
    return found


@pytest.fixture(scope="session")
def sources() -> set[str]:
    """The repository's files, as git knows them: committed, or new and not ignored."""
    asked = ["git", "-C", str(REPOSITORY), "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()
    return {path for path in listed if (REPOSITORY / path).is_file()}
