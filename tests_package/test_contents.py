"""What is in the wheels and the sdists, and what is not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from release.distributions import PROVIDER, REPOSITORY

if TYPE_CHECKING:
    from tests_package.conftest import Built

# Of no use without git or the service that reads them.
NOT_IN_THE_SDIST = re.compile(r"^(\.ci/|\.github/|\.gitignore$|\.secrets\.baseline$|\.pre-commit-config\.yaml$)")


def test_the_wheels_contents_are_sound(built: Built) -> None:
    command = [str(Path(sys.executable).with_name("check-wheel-contents")), str(built.wheel)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_wheel_has_the_whole_package_and_nothing_else(built: Built, sources: set[str]) -> None:
    folder = "" if built.distribution == PROVIDER else f"{built.distribution.folder}/"
    package = f"{folder}{built.distribution.package}/"
    expected = {path.removeprefix(folder) for path in sources if path.startswith(package)}
    found = {path for path in built.in_the_wheel() if ".dist-info/" not in path}
    if built.distribution == PROVIDER:  # `airflow lightly examples` writes them
        expected |= {
            path.replace("dags/", "lightly_provider/examples/", 1) for path in sources if path.startswith("dags/")
        }
    assert found == expected
    assert f"{built.distribution.package}/py.typed" in found


def test_the_wheel_says_under_which_licence_it_is(built: Built) -> None:
    assert any(path.endswith(".dist-info/licenses/LICENSE") for path in built.in_the_wheel())


def test_the_sdist_has_every_file_of_its_folder(built: Built, sources: set[str]) -> None:
    folder = "" if built.distribution == PROVIDER else f"{built.distribution.folder}/"
    expected = {path.removeprefix(folder) for path in sources if path.startswith(folder)}
    expected = {path for path in expected if not NOT_IN_THE_SDIST.match(path)}
    made = {"PKG-INFO", ".gitignore"}  # by hatchling
    assert built.in_the_sdist() - made == expected - made


def test_the_sdist_has_what_its_readme_names(built: Built) -> None:
    readme = (REPOSITORY / built.distribution.folder / "README.md").read_text(encoding="utf-8")
    links = {link for link in re.findall(r"\]\(([^)\s#]+)", readme) if not link.startswith(("https:", ".."))}
    files = built.in_the_sdist()
    missing = {link for link in links if not any(file == link or file.startswith(f"{link}/") for file in files)}
    assert missing == set()
    if targets := set(re.findall(r"make ([a-z][a-z-]+)", readme)):
        assert "Makefile" in files or built.distribution != PROVIDER
        makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
        assert targets <= set(re.findall(r"^([a-z][a-z-]+):", makefile, flags=re.MULTILINE))
