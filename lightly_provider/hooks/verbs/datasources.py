"""Verbs about a dataset's datasources: read, set, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.hooks.connection import LightlyBaseHook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightly_provider.api.models.datasource import Datasource, PermissionLights, S3Datasource


class DatasourceVerbs(LightlyBaseHook):
    """What the hook does with datasources."""

    def get_datasources(self, dataset_id: str) -> list[Datasource]:
        """The dataset's datasources, at most one per purpose. They may hold secrets in clear: publish ``public()``."""
        from lightly_provider.api import calls

        return self.client.send(calls.get_datasources(dataset_id))

    def set_datasource(
        self, dataset_id: str, wanted: S3Datasource, *, present: Sequence[Datasource] | None = None
    ) -> bool:
        """
        Set a dataset's datasource for one purpose, unless it is already up to date.

        :param dataset_id: Dataset.
        :param wanted: What it shall be.
        :param present: The dataset's datasources, if they were read just now; None (default): they are read first.
        :return: Whether it was set; False: nothing had to change. Where the platform's answer hides the secret,
            nothing proves that it is the same, and it is set again.
        """
        from lightly_provider.api import calls

        datasources = self.get_datasources(dataset_id) if present is None else present
        current = next((d for d in datasources if d.purpose == wanted.purpose), None)
        if current is not None and current.same_as(wanted):
            return False
        self.client.send(calls.set_datasource(dataset_id, wanted))
        return True

    def verify_datasource(self, dataset_id: str) -> PermissionLights:
        """Let the platform try what it can do with the dataset's datasource."""
        from lightly_provider.api import calls

        return self.client.send(calls.verify_datasource(dataset_id))
