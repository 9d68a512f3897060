"""The same commit gives the same bytes: elsewhere, under other settings, and from the sdist."""

from __future__ import annotations

import os
import shutil
import tarfile
from typing import TYPE_CHECKING

import pytest

from release.distributions import REPOSITORY, build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests_package.conftest import Built


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, sources: set[str]) -> Iterator[Path]:
    """A copy of the repository with other times and rights, without git."""
    copy = tmp_path_factory.mktemp("elsewhere") / "another name"
    before = os.umask(0o077)
    try:
        for path in sorted(sources, reverse=True):
            target = copy / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / path, target)
            if os.access(REPOSITORY / path, os.X_OK):
                target.chmod(0o700)
            os.utime(target, (1_000_000_000, 1_000_000_000))
        yield copy
    finally:
        os.umask(before)


def test_a_build_elsewhere_gives_the_same_bytes(built: Built, elsewhere: Path, tmp_path: Path) -> None:
    settings = {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "4711"}
    for made in build(elsewhere / built.distribution.folder, tmp_path, **settings):
        shipped = built.wheel if made.suffix == ".whl" else built.sdist
        assert made.name == shipped.name
        assert made.read_bytes() == shipped.read_bytes(), f"{made.name} depends on where and when it is built"


def test_the_sdist_gives_the_same_wheel(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path / "sdist", filter="data")
    (source,) = (tmp_path / "sdist").iterdir()
    (made,) = build(source, tmp_path / "dist", ("wheel",))
    assert made.read_bytes() == built.wheel.read_bytes()
