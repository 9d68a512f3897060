"""What every verb of the hook needs: the connection's settings, and the client that sends its calls."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook

if TYPE_CHECKING:
    from lightly_provider.api.client import LightlyClient
    from lightly_provider.hooks.connection import LightlyConnection


class LightlyBaseHook(BaseHook):
    """
    An Airflow connection of type ``lightly`` in, a client out.

    :param lightly_conn_id: Airflow connection. Default: ``lightly_default``.
    """

    conn_name_attr = "lightly_conn_id"
    default_conn_name = "lightly_default"

    def __init__(self, lightly_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.lightly_conn_id = lightly_conn_id

    @cached_property
    def connection(self) -> LightlyConnection:
        """What the Airflow connection says; read once."""
        from airflow.providers.common.compat.sdk import mask_secret

        from lightly_provider.hooks.connection import parse_connection

        airflow_connection = self.get_connection(self.lightly_conn_id)
        parsed = parse_connection(
            self.lightly_conn_id,
            host=airflow_connection.host,
            port=airflow_connection.port,
            password=airflow_connection.password,
            extra=airflow_connection.extra_dejson,
        )
        mask_secret(parsed.settings.token)
        for address in (parsed.settings.proxies or {}).values():
            if password := urlsplit(address).password:
                mask_secret(password)
        for warning in parsed.warnings:
            self.log.warning(warning)
        return parsed

    @cached_property
    def client(self) -> LightlyClient:
        """The client that sends this hook's calls."""
        from lightly_provider.api.client import LightlyClient

        return LightlyClient(self.connection.settings)

    def get_conn(self) -> LightlyClient:
        """The client, under the name that Airflow gives to it in all hooks."""
        return self.client
