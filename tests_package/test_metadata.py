"""What a package index shows: the metadata, and a README whose links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import hatch_build
from release.distributions import DISTRIBUTIONS, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests_package.conftest import Built

ADDRESS = hatch_build.repository(REPOSITORY)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def _prose(markdown: str) -> str:
    """A document without its code."""
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", markdown, flags=re.DOTALL | re.MULTILINE)


def test_the_version_is_the_packages_own(built: Built) -> None:
    assert built.metadata()["Version"] == built.distribution.version()


def test_both_have_the_same_version() -> None:
    first, second = (distribution.version() for distribution in DISTRIBUTIONS)
    assert first == second


def test_what_an_index_lists_is_there(built: Built) -> None:
    metadata = built.metadata()
    assert metadata["Name"] == built.distribution.name
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Author"]
    assert metadata["Summary"]
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert len((metadata["Keywords"] or "").split(",")) > 3


def test_each_address_leads_into_the_repository(built: Built) -> None:
    urls = dict(entry.split(", ", 1) for entry in built.metadata().get_all("Project-URL", []))
    assert set(urls) == {"Documentation", "Source", "Issues", "Changelog"}
    assert urls["Source"] == ADDRESS
    base = f"{ADDRESS}/blob/v{built.distribution.version()}/"
    for name in ("Documentation", "Changelog"):
        assert urls[name].startswith(base)
        assert (REPOSITORY / urls[name].removeprefix(base)).is_file(), urls[name]


def test_each_link_of_the_readme_leads_to_a_file_of_the_repository(built: Built) -> None:
    links = _LINK.findall(_prose(built.description()))
    ours = [link for link in links if link.startswith(ADDRESS)]
    assert ours, "the README has no link into the repository, so this proves nothing"
    version = built.distribution.version()
    for link in ours:
        kind, path = link.removeprefix(f"{ADDRESS}/").split(f"/v{version}/")
        assert kind in ("blob", "raw")
        assert (REPOSITORY / path.partition("#")[0]).exists(), link
    dead = [link for link in links if not link.startswith(("https://", "#"))]
    assert dead == [], "these are dead on a package index"


def test_code_is_shown_as_it_stands_in_the_file(built: Built) -> None:
    blocks = re.compile(r"^```.*?^```$", flags=re.DOTALL | re.MULTILINE)
    readme = (REPOSITORY / built.distribution.folder / "README.md").read_text(encoding="utf-8")
    assert blocks.findall(built.description()) == blocks.findall(readme)


def test_pictures_are_markdown_and_shown_from_the_files_themselves(built: Built) -> None:
    text = _prose(built.description())
    assert "<img" not in text
    assert "<picture" not in text
    for picture in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", text):
        assert picture.startswith((f"{ADDRESS}/raw/", "https://")), picture
        assert not picture.startswith(f"{ADDRESS}/blob/"), picture


@pytest.mark.parametrize("folder", ["", "sandbox/"])
def test_links_and_pictures_are_made_absolute_each_in_its_way(tmp_path: Path, folder: str) -> None:
    (tmp_path / "README.md").write_text(
        "![a picture](docs/a.png) [a page](docs/b.md#c) [here](#d) [out](https://lightly.ai) [up](../e.md)\n"
        "[![both](docs/a.png)](docs/b.md)\n",
        encoding="utf-8",
    )
    made = hatch_build.readme(str(tmp_path), "https://forge.example/p", "1.2.3", folder)["text"]
    up = "https://forge.example/p/blob/v1.2.3/e.md" if folder else "https://forge.example/p/blob/v1.2.3/../e.md"
    blob, raw = f"https://forge.example/p/blob/v1.2.3/{folder}", f"https://forge.example/p/raw/v1.2.3/{folder}"
    assert made == (
        f"![a picture]({raw}docs/a.png) [a page]({blob}docs/b.md#c) [here](#d) [out](https://lightly.ai) [up]({up})\n"
        f"[![both]({raw}docs/a.png)]({blob}docs/b.md)\n"
    )


def test_the_repositorys_address_stands_once(sources: set[str]) -> None:
    name = ADDRESS.removeprefix("https://")
    texts = (path for path in sources if not path.endswith((".png", ".jpg", ".gif")))
    found = [path for path in texts if name in (REPOSITORY / path).read_text(encoding="utf-8", errors="replace")]
    assert found == ["pyproject.toml"]


def test_the_index_would_take_the_files(built: Built) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", str(built.wheel), str(built.sdist)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_project_file_is_valid(built: Built) -> None:
    project = REPOSITORY / built.distribution.folder / "pyproject.toml"
    command = [sys.executable, "-m", "validate_pyproject", str(project)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
