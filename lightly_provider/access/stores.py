"""
The secret stores of an access: an Airflow connection, an AWS Secrets Manager secret, or an SSM parameter.

One identifier names the store everywhere: the id of a connection, or the address of a secret,
``secretsmanager://<aws_conn_id>/<name>`` or ``ssm://<aws_conn_id>/<name>``. Each stores an Airflow connection of type
``aws``; the latter two store it as JSON.

On Airflow 2, a task can write connections to Airflow's database. On Airflow 3 it cannot (airflow 3.3.2,
sdk/execution_time/supervisor.py blocks it, and the task API only reads connections), so the provider calls Airflow's
public API as a user who may edit connections.
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from lightly_provider.access.kept import KeptAccess
from lightly_provider.access.principals import MARK_KEY, MARK_VALUE, OvertakenError
from lightly_provider.access.propagation import wait_until
from lightly_provider.airflow_internals import stored_connections
from lightly_provider.aws.secret_address import SecretAddress
from lightly_provider.exceptions import LightlyAccessError, LightlyConnectionConfigError
from lightly_provider.hooks.connection import LOOPBACK_HOSTS
from lightly_provider.hooks.missing_connection import missing_connection
from lightly_provider.masking import mask_secret
from lightly_provider.network import Limits, NoAnswerError, Transport

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

    from lightly_provider.hooks.aws import AwsConnections

log = logging.getLogger(__name__)

_READ_BACK_S = 10


class AccessStore(ABC):
    """
    A store for one access.

    :param conn_id: Identifier of the store, as given to the operator.
    """

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id

    @abstractmethod
    def read(self) -> KeptAccess | None:
        """Return the stored access; None if there is none."""

    @abstractmethod
    def create(self, access: KeptAccess) -> bool:
        """Store an access atomically if the store is empty; return False, and write nothing, if it is not."""

    @abstractmethod
    def write(self, access: KeptAccess) -> None:
        """Replace the stored access atomically: a reader gets either the old or the new one."""

    @abstractmethod
    def remove(self) -> None:
        """Remove the stored access, if there is one."""

    def restore(self) -> bool:
        """Make an access that is marked for deletion readable again; return whether one was. Default: none can be."""
        return False

    def mark_for_deletion(self) -> None:
        """Undo :meth:`restore`."""
        raise NotImplementedError

    def keep(self, access: KeptAccess, *, seen: KeptAccess | None, allow_unmanaged: bool = False) -> bool:
        """
        Store an access, unless it is already stored.

        :param access: Access to store.
        :param seen: The access that the caller read and based its decisions on; None if there was none.
        :param allow_unmanaged: Whether to replace an access that this provider did not write, or that belongs to
            another principal. Default: False.
        :return: Whether it was written.
        :raises OvertakenError: Another task wrote to the store at the same time.
        :raises LightlyAccessError: The stored access belongs to another owner, or reading it back returns another one.
        """
        present = self.read()
        if present == access:
            return False
        if present != seen:
            raise self._overtaken()
        if present is not None:
            self.check_ownership(present, access.principal_arn, allow_unmanaged=allow_unmanaged)
            self.write(access)
        elif not self.create(access):
            if self.read() is not None:
                raise self._overtaken()
            self._restore_own(access, allow_unmanaged=allow_unmanaged)
            self.write(access)  # the name exists, as a secret without a value, or with one that was restored
        # For a moment, a read may return the parameter's previous value (AWS docs: SSM, "PutParameter").
        fault, _ = wait_until(lambda: None if self.read() == access else "another", timeout=_READ_BACK_S)
        if fault:
            raise LightlyAccessError(
                f"{self.conn_id!r} was written, but what is read under that name is something else; another of "
                "Airflow's secrets backends has it too (an environment variable, for one), so choose another name."
            )
        return True

    def _restore_own(self, access: KeptAccess, *, allow_unmanaged: bool) -> None:
        if not self.restore():
            return
        try:
            if (there := self.read()) is not None:
                self.check_ownership(there.mask(), access.principal_arn, allow_unmanaged=allow_unmanaged)
        except BaseException:
            self.mark_for_deletion()
            raise

    def _overtaken(self) -> OvertakenError:
        return OvertakenError(f"Another task writes to {self.conn_id!r} at the same time; run the task again.")

    def check_ownership(self, present: KeptAccess, principal: str | None, *, allow_unmanaged: bool) -> None:
        """
        Refuse to replace or remove the access of another owner.

        :param present: The stored access.
        :param principal: ARN of the role or user that must own it, or the end of the ARN, e.g. ``role/lightly``.
        :param allow_unmanaged: Whether to accept any owner.
        :raises LightlyAccessError: Another owner has it.
        """
        if allow_unmanaged or (principal and present.is_of(principal)):
            return
        whose = f"the access of {present.principal_arn}" if present.principal_arn else "what somebody else put there"
        raise LightlyAccessError(
            f"{self.conn_id!r} holds {whose}, which is left alone; choose another name, or set allow_unmanaged=True to "
            "replace it."
        )


class SecretStore(AccessStore):
    """
    A secret in AWS.

    :param conn_id: Address of the secret, as given to the operator.
    :param address: The parsed address.
    :param client: boto3 client of the secret's service.
    """

    def __init__(self, conn_id: str, address: SecretAddress, client: Any) -> None:
        super().__init__(conn_id)
        self._address, self._name, self._client = address, address.stored_name, client

    def read(self) -> KeptAccess | None:
        """See :meth:`AccessStore.read`."""
        from lightly_provider.hooks.aws import connection_fields, read_secret

        text = read_secret(self._address, self._client)
        return None if text is None else KeptAccess.of_connection(self.conn_id, connection_fields(text, self.conn_id))


class SecretsManagerStore(SecretStore):
    """A secret in AWS Secrets Manager."""

    def create(self, access: KeptAccess) -> bool:
        """See :meth:`AccessStore.create`."""
        tags = [{"Key": MARK_KEY, "Value": MARK_VALUE}]
        errors = self._client.exceptions
        try:
            self._client.create_secret(Name=self._name, SecretString=access.as_json(), Tags=tags)
        except (errors.ResourceExistsException, errors.InvalidRequestException):
            # InvalidRequestException: marked for deletion; the name stays taken until then.
            return False
        return True

    def write(self, access: KeptAccess) -> None:
        """See :meth:`AccessStore.write`."""
        self._client.put_secret_value(SecretId=self._name, SecretString=access.as_json())

    def restore(self) -> bool:
        """See :meth:`AccessStore.restore`."""
        errors = self._client.exceptions
        try:
            self._client.get_secret_value(SecretId=self._name)
        except errors.ResourceNotFoundException:
            return False
        except errors.InvalidRequestException:  # marked for deletion
            self._client.restore_secret(SecretId=self._name)
            return True
        return False

    def mark_for_deletion(self) -> None:
        """See :meth:`AccessStore.mark_for_deletion`. With AWS's default recovery window of 30 days."""
        self._client.delete_secret(SecretId=self._name)

    def remove(self) -> None:
        """See :meth:`AccessStore.remove`. No recovery window, because the role or user is deleted as well."""
        with suppress(self._client.exceptions.ResourceNotFoundException):
            self._client.delete_secret(SecretId=self._name, ForceDeleteWithoutRecovery=True)


class ParameterStore(SecretStore):
    """A SecureString parameter in AWS Systems Manager Parameter Store."""

    def create(self, access: KeptAccess) -> bool:
        """See :meth:`AccessStore.create`."""
        try:
            self._client.put_parameter(Name=self._name, Value=access.as_json(), Type="SecureString", Overwrite=False)
        except self._client.exceptions.ParameterAlreadyExists:
            return False
        return True

    def write(self, access: KeptAccess) -> None:
        """See :meth:`AccessStore.write`."""
        self._client.put_parameter(Name=self._name, Value=access.as_json(), Type="SecureString", Overwrite=True)

    def remove(self) -> None:
        """See :meth:`AccessStore.remove`."""
        with suppress(self._client.exceptions.ParameterNotFound):
            self._client.delete_parameter(Name=self._name)


def access_store(conn_id: str, connections: AwsConnections, airflow_api_conn_id: str | None = None) -> AccessStore:
    """
    Return the store that an operator's argument names.

    :param conn_id: Id of an Airflow connection, or the address of a secret.
    :param connections: AWS connections of the task.
    :param airflow_api_conn_id: Connection to Airflow's API, which writes connections on Airflow 3. Default: None.
    :raises ValueError: A task cannot write to the store.
    """
    address = SecretAddress.parse(conn_id)
    if address is None:
        return airflow_connection_store(conn_id, airflow_api_conn_id)
    client = connections[address.aws_conn_id].client(address.service)
    return (ParameterStore if address.service == "ssm" else SecretsManagerStore)(conn_id, address, client)


_LIMITS = Limits(size=2**20)


class _ReadableStore(AccessStore):
    def read(self) -> KeptAccess | None:
        """See :meth:`AccessStore.read`. Reads from any of Airflow's secrets backends."""
        from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

        try:
            found = BaseHook.get_connection(self.conn_id)
        except AirflowNotFoundException:
            return None
        if found.conn_type != "aws":
            raise LightlyAccessError(
                f"The Airflow connection {self.conn_id!r} is of the type {found.conn_type!r}, so it is left alone; "
                "choose another name."
            )
        return KeptAccess.of_connection(
            self.conn_id, {"login": found.login, "password": found.password, "extra": found.extra}
        )


class DatabaseConnectionStore(_ReadableStore):
    """A connection in Airflow's database, on Airflow 2."""

    def create(self, access: KeptAccess) -> bool:
        """See :meth:`AccessStore.create`."""
        from sqlalchemy.exc import IntegrityError

        try:
            with stored_connections() as (session, connection_class):
                session.add(_filled(connection_class(conn_id=self.conn_id), access))
        except IntegrityError:
            return False
        return True

    def write(self, access: KeptAccess) -> None:
        """See :meth:`AccessStore.write`."""
        with stored_connections() as (session, connection_class):
            found = session.query(connection_class).filter(connection_class.conn_id == self.conn_id).one_or_none()
            session.add(_filled(found or connection_class(conn_id=self.conn_id), access))

    def remove(self) -> None:
        """See :meth:`AccessStore.remove`."""
        with stored_connections() as (session, connection_class):
            session.query(connection_class).filter(connection_class.conn_id == self.conn_id).delete()


def _filled(row: Any, access: KeptAccess) -> Any:
    row.conn_type, row.login = "aws", access.access_key_id
    row.set_password(access.secret_access_key)
    row.set_extra(json.dumps(access.extra()))
    return row


class ApiConnectionStore(_ReadableStore):
    """
    A connection on Airflow 3, written through Airflow's public API.

    :param conn_id: Id of the connection.
    :param api_conn_id: Connection of type ``http`` to Airflow's API server: host, and either a user's login and
        password, or only an API token (password).
    """

    def __init__(self, conn_id: str, api_conn_id: str) -> None:
        super().__init__(conn_id)
        self._api_conn_id = api_conn_id

    def create(self, access: KeptAccess) -> bool:
        """See :meth:`AccessStore.create`."""
        return self._send("POST", "/api/v2/connections", self._body(access), passed=409) != 409

    def write(self, access: KeptAccess) -> None:
        """See :meth:`AccessStore.write`."""
        body = self._body(access)
        if self._send("PATCH", self._path, body) == 404:
            self._send("POST", "/api/v2/connections", body)

    def _body(self, access: KeptAccess) -> dict[str, Any]:
        return {
            "connection_id": self.conn_id,
            "conn_type": "aws",
            "login": access.access_key_id,
            "password": access.secret_access_key,
            "extra": json.dumps(access.extra()),
        }

    def remove(self) -> None:
        """See :meth:`AccessStore.remove`."""
        self._send("DELETE", self._path, None)

    @property
    def _path(self) -> str:
        return f"/api/v2/connections/{quote(self.conn_id, safe='')}"

    def _send(self, method: str, path: str, body: dict[str, Any] | None, *, passed: int = 404) -> int:
        """Send a request and return its status, which is a success or ``passed``."""
        api, base = self._api
        transport = Transport(headers={"Accept": "application/json"})
        try:
            bearer = {"Authorization": f"Bearer {self._token(transport, base, api)}"}
            answer = transport.send(method, base + path, limits=_LIMITS, json=body, headers=bearer)
        except NoAnswerError as error:
            raise LightlyAccessError(
                f"Airflow's API at {base} (connection {self._api_conn_id!r}) gave no usable answer: {error}; check the "
                "connection's host, and run the task again."
            ) from None
        finally:
            transport.close()
        if not (200 <= answer.status < 300 or answer.status == passed):
            self._refused(f"{method} of the connection {self.conn_id!r}", base, answer.status)
        return answer.status

    @cached_property
    def _api(self) -> tuple[Connection, str]:
        """The connection to Airflow's API, and the base URL of the API."""
        from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

        try:
            api = BaseHook.get_connection(self._api_conn_id)
        except AirflowNotFoundException:
            raise missing_connection(self._api_conn_id, kind="HTTP", otherwise="correct airflow_api_conn_id") from None
        if api.conn_type not in ("http", "https"):
            raise LightlyConnectionConfigError(
                f"Airflow connection {self._api_conn_id!r} is of the type {api.conn_type!r}, so its password is not "
                "sent to Airflow's API; name one of the type http."
            )
        return api, _base_url(api, self._api_conn_id)

    def _token(self, transport: Transport, base: str, api: Connection) -> str:
        if not api.login:
            return str(api.password or "")
        login = {"username": api.login, "password": api.password}
        answer = transport.send("POST", f"{base}/auth/token", limits=_LIMITS, json=login)
        if not 200 <= answer.status < 300:
            self._refused("the login", base, answer.status)
        try:
            token = json.loads(answer.content)["access_token"]
        except (ValueError, KeyError, TypeError, RecursionError):
            token = None
        if not isinstance(token, str) or not (token.isascii() and token.isprintable()):
            raise LightlyAccessError(
                f"Airflow's API at {base} answered the login without a token; check that the host of the connection "
                f"{self._api_conn_id!r} is the API server's."
            )
        mask_secret(token)
        return token

    def _refused(self, what: str, base: str, status: int) -> None:
        raise LightlyAccessError(
            f"Airflow's API at {base} refused {what} with status {status}; check the login and password of the "
            f"connection {self._api_conn_id!r}, and whether that user may edit connections."
        )


def airflow_connection_store(conn_id: str, api_conn_id: str | None) -> AccessStore:
    """
    Return the store for an Airflow connection that works on this Airflow version.

    :param conn_id: Id of the connection.
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


def _base_url(api: Connection, conn_id: str) -> str:
    host = str(api.host or "").rstrip("/")
    if "://" not in host:
        # Default to https, because the requests contain a password and secret keys.
        host = f"{api.schema or 'https'}://{host}" + (f":{api.port}" if api.port else "")
    try:
        parts = urlsplit(host)
        fits = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits or any(sign in host for sign in "@?#\\") or any(map(str.isspace, host)):
        # The message does not repeat the value, because it may contain a login.
        raise LightlyConnectionConfigError(
            f"Airflow connection {conn_id!r} has a host that is not the address of a server; write it like "
            "https://airflow.example.com, without login or query."
        )
    if parts.scheme == "http" and parts.hostname not in LOOPBACK_HOSTS:
        log.warning(
            "Airflow connection %r reaches %s without TLS: its password and AWS keys travel in clear.", conn_id, host
        )
    return host
