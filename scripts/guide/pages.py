"""MkDocs hook: pages whose text is outside `docs/`, links that lead out of it, and the repository's address."""

from __future__ import annotations

import posixpath
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[2]

# The file in the repository, and the page that it becomes.
PAGES = {
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "development/contributing.md",
    "sandbox/README.md": "sandbox_readme.md",
}

_FENCED = re.compile(r"^ *```.*?^ *```$", flags=re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\]\()([^)\s]+)(\))|(<img [^>]*src=\")([^\"]+)(\")")


def repository() -> str:
    """The address of the public repository: the one constant from which the package's links are made, too."""
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    return str(settings["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]).rstrip("/")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Set the address of the repository, to which links lead that leave the guide."""
    config.repo_url = repository()
    config.repo_name = "Source"
    # Each page has a link to its source, which must not offer an edit in a browser.
    config.edit_uri = None
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose text is outside `docs/`."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(REPOSITORY / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to other files of the repository to their page, or else to the repository."""
    source = next((name for name, target in PAGES.items() if target == page.file.src_uri), f"docs/{page.file.src_uri}")
    address = str(config.repo_url)

    def led(match: re.Match[str]) -> str:
        before, target, after = match.groups()[:3] if match[1] else match.groups()[3:]
        return before + _led(target, source=source, page=page.file.src_uri, address=address) + after

    kept = _FENCED.findall(markdown)
    changed = [_LINK.sub(led, prose) for prose in _FENCED.split(markdown)]
    return "".join(text for pair in zip(changed, [*kept, ""], strict=True) for text in pair)


def _led(target: str, *, source: str, page: str, address: str) -> str:
    path, mark, anchor = target.partition("#")
    if not path or re.match(r"[a-z]+:", target):
        return target
    named = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if named in PAGES:
        found = PAGES[named]
    elif named.startswith("docs/"):
        found = named.removeprefix("docs/")
    elif (REPOSITORY / named).exists():
        kind = "tree" if (REPOSITORY / named).is_dir() else "blob"
        return f"{address}/{kind}/main/{named}{mark}{anchor}"
    else:
        return target  # MkDocs reports it.
    return posixpath.relpath(found, posixpath.dirname(page) or ".") + mark + anchor
