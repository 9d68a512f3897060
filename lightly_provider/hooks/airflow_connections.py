"""
Airflow's own connections, written from a task.

On Airflow 2 a task may write into Airflow's database. On Airflow 3 it has no way to it (airflow 3.3.2,
sdk/execution_time/supervisor.py blocks it, and the API of tasks reads connections only), so there Airflow's public API
is asked, as a user who may edit connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from lightly_provider.exceptions import LightlyAccessError
from lightly_provider.hooks.access_store import AccessStore
from lightly_provider.hooks.kept_access import KeptAccess

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

_TIMEOUT_S = (10, 60)


class _ReadableStore(AccessStore):
    def read(self) -> KeptAccess | None:
        """See :meth:`AccessStore.read`; whichever of Airflow's secrets backends has it."""
        from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

        try:
            found = BaseHook.get_connection(self.conn_id)
        except AirflowNotFoundException:
            return None
        return KeptAccess.of_connection(login=found.login, password=found.password, extra=found.extra_dejson)


class DatabaseConnectionStore(_ReadableStore):
    """A connection in the database of Airflow 2."""

    def write(self, access: KeptAccess) -> None:
        """See :meth:`AccessStore.write`."""
        import json

        from airflow.models import Connection
        from airflow.utils.session import create_session

        with create_session() as session:
            found = session.query(Connection).filter(Connection.conn_id == self.conn_id).one_or_none()
            row = found or Connection(conn_id=self.conn_id)
            row.conn_type, row.login = "aws", access.access_key_id
            row.set_password(access.secret_access_key)
            row.set_extra(json.dumps(access.extra()))
            session.add(row)

    def remove(self) -> None:
        """See :meth:`AccessStore.remove`."""
        from airflow.models import Connection
        from airflow.utils.session import create_session

        with create_session() as session:
            session.query(Connection).filter(Connection.conn_id == self.conn_id).delete()


class ApiConnectionStore(_ReadableStore):
    """
    A connection of Airflow 3, written by Airflow's public API.

    :param conn_id: The connection.
    :param api_conn_id: Connection of type ``http`` to Airflow's API server: its host, and the name and password of a
        user (login and password), or a token of the API alone (password).
    """

    def __init__(self, conn_id: str, api_conn_id: str) -> None:
        super().__init__(conn_id)
        self._api_conn_id = api_conn_id

    def write(self, access: KeptAccess) -> None:
        """See :meth:`AccessStore.write`."""
        import json

        body = {
            "connection_id": self.conn_id,
            "conn_type": "aws",
            "login": access.access_key_id,
            "password": access.secret_access_key,
            "extra": json.dumps(access.extra()),
        }
        if self._send("PATCH", self._path, body) == 404:
            self._send("POST", "/api/v2/connections", body)

    def remove(self) -> None:
        """See :meth:`AccessStore.remove`."""
        self._send("DELETE", self._path, None)

    @property
    def _path(self) -> str:
        return f"/api/v2/connections/{quote(self.conn_id, safe='')}"

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> int:
        """Send a request; its status, which is 404 or a success."""
        import requests
        from airflow.providers.common.compat.sdk import BaseHook

        api = BaseHook.get_connection(self._api_conn_id)
        base = _base_url(api)
        with requests.Session() as session:
            try:
                token = self._token(session, base, api)
                answer = session.request(
                    method, base + path, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=_TIMEOUT_S
                )
            except requests.RequestException as error:
                # Its text would name the address, and may hold what was sent.
                raise LightlyAccessError(
                    f"Airflow's API at {base} (connection {self._api_conn_id!r}) gave no answer: "
                    f"{type(error).__name__}; check the connection's host, and run the task again."
                ) from None
        if not (answer.ok or answer.status_code == 404):
            self._refused(f"{method} of the connection {self.conn_id!r}", base, answer.status_code)
        return answer.status_code

    def _token(self, session: Any, base: str, api: Connection) -> str:
        from airflow.providers.common.compat.sdk import mask_secret

        if not api.login:
            return str(api.password or "")
        login = {"username": api.login, "password": api.password}
        answer = session.post(f"{base}/auth/token", json=login, timeout=_TIMEOUT_S)
        if not answer.ok:
            self._refused("the login", base, answer.status_code)
        token = str(answer.json()["access_token"])
        mask_secret(token)
        return token

    def _refused(self, what: str, base: str, status: int) -> None:
        raise LightlyAccessError(
            f"Airflow's API at {base} refused {what} with status {status}; check the login and password of the "
            f"connection {self._api_conn_id!r}, and whether that user may edit connections."
        )


def airflow_connection_store(conn_id: str, api_conn_id: str | None) -> AccessStore:
    """
    The store for an Airflow connection, as this Airflow lets a task write it.

    :param conn_id: The connection.
    :param api_conn_id: Connection to Airflow's API; not used on Airflow 2.
    :raises ValueError: On Airflow 3, without ``api_conn_id``.
    """
    from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_0_PLUS

    if not AIRFLOW_V_3_0_PLUS:
        return DatabaseConnectionStore(conn_id)
    if not api_conn_id:
        raise ValueError(
            f"The access is to be kept in the Airflow connection {conn_id!r}, and a task of Airflow 3 cannot write "
            "connections; give airflow_api_conn_id, or keep it in AWS: secretsmanager://<aws_conn_id>/<name> or "
            "ssm://<aws_conn_id>/<name>."
        )
    return ApiConnectionStore(conn_id, api_conn_id)


def _base_url(api: Connection) -> str:
    host = str(api.host or "").rstrip("/")
    if "://" in host:
        return host
    return f"{api.schema or 'http'}://{host}" + (f":{api.port}" if api.port else "")
