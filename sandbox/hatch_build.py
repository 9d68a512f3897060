"""The sandbox's addresses and README, made as the provider's are: by ``hatch_build.py`` of the repository.

It is called in a checkout only. In a build from an sdist, both come from the sdist's PKG-INFO.
"""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RepositoryMetadataHook(MetadataHookInterface):
    """Sets the project's addresses and its README."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling, with the version set."""
        checkout = Path(self.root).parent
        shared = run_path(str(checkout / "hatch_build.py"))
        address, version = shared["repository"](checkout), metadata["version"]
        metadata["urls"] = shared["urls"](address, version, "docs/sandbox.md")
        metadata["readme"] = shared["readme"](self.root, address, version, folder="sandbox/")
