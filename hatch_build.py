"""What the built metadata has beyond pyproject.toml: the project's addresses, and the README with absolute links.

Relative links work in a checkout, and nowhere else: a package index shows the README alone. So the build makes each one
absolute, from the one address in ``[tool.hatch.metadata.hooks.custom]`` of ``pyproject.toml``. The sandbox's build uses
the same functions (``sandbox/hatch_build.py``).
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hatch_fancy_pypi_readme import hooks as fancy_pypi_readme
from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE = r"(?![a-zA-Z][a-zA-Z0-9+.-]*:|[/#])"


def repository(root: Path) -> str:
    """The address of the public repository, without a slash at the end."""
    configuration = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return str(configuration["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]).rstrip("/")


def urls(address: str, version: str, guide: str) -> dict[str, str]:
    """The addresses that a package index shows beside the README. ``guide`` is a path in the repository."""
    at_version = f"{address}/blob/v{version}"
    return {
        "Documentation": f"{at_version}/{guide}",
        "Source": address,
        "Issues": f"{address}/issues",
        "Changelog": f"{at_version}/CHANGELOG.md",
    }


def readme(root: str, address: str, version: str, folder: str = "") -> dict[str, Any]:
    """README.md of ``root`` with absolute links; ``folder``: where it lies in the repository, with a slash."""

    def absolute(before: str, kind: str) -> list[dict[str, str]]:
        base = f"{address}/{kind}/v{version}/"
        outside = [{"pattern": before + r"\.\./", "replacement": rf"\g<1>{base}"}] if folder else []
        return [*outside, {"pattern": before + _RELATIVE, "replacement": rf"\g<1>{base}{folder}"}]

    hook = fancy_pypi_readme.FancyReadmeMetadataHook(
        root,
        {
            "content-type": "text/markdown",
            "fragments": [{"path": str(Path(root) / "README.md")}],
            # Pictures first: only then does each `](` that is still relative belong to a link.
            "substitutions": [*absolute(r"(!\[[^\]]*\]\()", "raw"), *absolute(r"(\]\()", "blob")],
        },
    )
    metadata: dict[str, Any] = {"version": version}
    hook.update(metadata)
    made: dict[str, Any] = metadata["readme"]
    return made


class RepositoryMetadataHook(MetadataHookInterface):
    """Sets the project's addresses and its README. In a build from an sdist, both come from its PKG-INFO."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling, with the version set."""
        address = repository(Path(self.root))
        metadata["urls"] = urls(address, metadata["version"], "docs/index.md")
        metadata["readme"] = readme(self.root, address, metadata["version"])
