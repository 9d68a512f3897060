"""Hook methods for a dataset's datasources: read, set, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightly_provider.hooks.connection import LightlyBaseHook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightly_provider.api.models.datasource import Datasource, PermissionLights, S3Datasource


class DatasourceVerbs(LightlyBaseHook):
    """The hook's methods for datasources."""

    def get_datasources(self, dataset_id: str) -> list[Datasource]:
        """Return the datasources, at most one per purpose. They may contain secrets: publish only ``public()``."""
        from lightly_provider.api import calls

        return self.client.send(calls.get_datasources(dataset_id))

    def set_datasource(
        self, dataset_id: str, wanted: S3Datasource, *, present: Sequence[Datasource] | None = None
    ) -> bool:
        """
        Set a dataset's datasource for one purpose, unless it is already up to date.

        :param dataset_id: Id of the dataset.
        :param wanted: Desired state of the datasource.
        :param present: The dataset's datasources, if they were just read. None (default): read them first.
        :return: Whether it was set; False: it was up to date. If the platform hides the secret in its response, the
            datasource is set again, because the secrets cannot be compared.
        """
        from lightly_provider.api import calls

        datasources = self.get_datasources(dataset_id) if present is None else present
        current = next((d for d in datasources if d.purpose == wanted.purpose), None)
        if current is not None and current.same_as(wanted):
            return False
        self.client.send(calls.set_datasource(dataset_id, wanted))
        return True

    def verify_datasource(self, dataset_id: str) -> PermissionLights:
        """Have the platform verify its permissions on the dataset's datasource."""
        from lightly_provider.api import calls

        return self.client.send(calls.verify_datasource(dataset_id))
