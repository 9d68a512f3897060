"""Airflow's database, in a process that has imported Airflow already, which takes longer than the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def initialize_database() -> None:
    """Create the tables, or bring them up to date, as ``airflow db migrate`` does."""
    from airflow.utils.db import initdb

    initdb()


def keep_connections(connections: Mapping[str, str]) -> None:
    """
    Write connections to the database, where Airflow's page shows them; those with the same id are replaced.

    :param connections: Connections as JSON, by their id.
    """
    from airflow.models import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(Connection).where(Connection.conn_id.in_(connections)))
        for conn_id, text in connections.items():
            session.add(Connection.from_json(text, conn_id=conn_id))
