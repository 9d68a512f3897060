"""An Airflow connection for triggers, read without blocking the event loop that all triggers share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightly_provider.hooks.connection import LightlyConnection


async def read_connection(lightly_conn_id: str) -> LightlyConnection:
    """
    What an Airflow connection of type ``lightly`` says. Airflow itself masks its secrets in the log.

    :param lightly_conn_id: Airflow connection.
    :raises LightlyConnectionConfigError: Something is missing or cannot be right.
    """
    from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

    from lightly_provider.hooks.connection import parse_connection

    airflow_connection = await get_async_connection(lightly_conn_id)
    return parse_connection(
        lightly_conn_id,
        host=airflow_connection.host,
        port=airflow_connection.port,
        password=airflow_connection.password,
        extra=await get_async_extra_dejson(airflow_connection),
    )
