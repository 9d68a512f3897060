"""The sandbox's addresses and README, made as the provider's are: by ``hatch_build.py`` of the repository.

It is called in a checkout only. In a build from an sdist, both come from the sdist's PKG-INFO.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class RepositoryMetadataHook(MetadataHookInterface):
    """Sets the project's addresses and its README."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling, with the version set."""
        checkout = Path(self.root).parent
        specification = importlib.util.spec_from_file_location("repository_metadata", checkout / "hatch_build.py")
        assert specification is not None
        assert specification.loader is not None
        of_the_provider = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(of_the_provider)
        address, version = of_the_provider.repository(checkout), metadata["version"]
        metadata["urls"] = of_the_provider.urls(address, version, "docs/sandbox.md")
        metadata["readme"] = of_the_provider.readme(self.root, address, version, folder="sandbox/")
