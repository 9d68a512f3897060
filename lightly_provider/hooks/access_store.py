"""
Where the secret half of an access is kept: an Airflow connection, a secret of AWS Secrets Manager, or an SSM parameter.

In all three it is an Airflow connection of type ``aws``, as JSON in the latter two.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

from lightly_provider.aws.principals import MARK_KEY, MARK_VALUE
from lightly_provider.aws.propagation import wait_until
from lightly_provider.exceptions import LightlyAccessError
from lightly_provider.hooks.access_address import SecretAddress
from lightly_provider.hooks.kept_access import KeptAccess

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Connection

_READ_BACK_S = 10


class AccessStore(ABC):
    """
    One place where an access is kept.

    :param conn_id: Its name, as an operator's argument says it.
    """

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id

    @abstractmethod
    def read(self) -> KeptAccess | None:
        """What is kept there; None if nothing is."""

    @abstractmethod
    def write(self, access: KeptAccess) -> None:
        """Keep this instead of what is there, in one step: whoever reads gets the one or the other."""

    @abstractmethod
    def remove(self) -> None:
        """Keep nothing, if anything is kept."""

    def keep(self, access: KeptAccess, *, allow_unmanaged: bool) -> bool:
        """
        Keep an access, unless it is kept already.

        :param access: The access.
        :param allow_unmanaged: Whether it may replace one that somebody else wrote, or one of another principal.
        :return: Whether it was written.
        :raises LightlyAccessError: What is there is another's, or what was written is not what is read.
        """
        present = self.read()
        if present == access:
            return False
        if present is not None:
            self.check_ownership(present, access.principal_arn, allow_unmanaged=allow_unmanaged)
        self.write(access)
        # A parameter may be read as it was for a moment (AWS docs: SSM, "PutParameter").
        fault, _ = wait_until(lambda: None if self.read() == access else "another", timeout=_READ_BACK_S)
        if fault:
            raise LightlyAccessError(
                f"{self.conn_id!r} was written, but what is read under that name is something else; another of "
                "Airflow's secrets backends has it too (an environment variable, for one), so choose another name."
            )
        return True

    def check_ownership(self, present: KeptAccess, principal: str | None, *, allow_unmanaged: bool) -> None:
        """
        Refuse to replace or remove what is another's.

        :param present: What is kept.
        :param principal: ARN of the role or user whose it must be, or the end of it, e.g. ``role/lightly``.
        :param allow_unmanaged: Whether another's will do.
        :raises LightlyAccessError: It is another's.
        """
        if allow_unmanaged or (principal and present.is_of(principal)):
            return
        whose = f"the access of {present.principal_arn}" if present.principal_arn else "what somebody else put there"
        raise LightlyAccessError(
            f"{self.conn_id!r} holds {whose}, which is left alone; choose another name, or set allow_unmanaged=True to "
            "replace it."
        )


class SecretsManagerStore(AccessStore):
    """A secret of AWS Secrets Manager."""

    def __init__(self, conn_id: str, address: SecretAddress) -> None:
        from lightly_provider.hooks.aws import aws_client

        super().__init__(conn_id)
        self._name = address.name
        self._client = aws_client(address.aws_conn_id, "secretsmanager")

    def read(self) -> KeptAccess | None:
        """See :meth:`AccessStore.read`."""
        errors = self._client.exceptions
        try:
            return _parsed(self._client.get_secret_value(SecretId=self._name)["SecretString"], self.conn_id)
        except errors.ResourceNotFoundException:
            return None
        except errors.InvalidRequestException:  # it is marked for deletion, and cannot be read any more
            return None

    def write(self, access: KeptAccess) -> None:
        """See :meth:`AccessStore.write`."""
        errors = self._client.exceptions
        try:
            self._client.put_secret_value(SecretId=self._name, SecretString=access.as_json())
        except errors.ResourceNotFoundException:
            tags = [{"Key": MARK_KEY, "Value": MARK_VALUE}]
            self._client.create_secret(Name=self._name, SecretString=access.as_json(), Tags=tags)
        except errors.InvalidRequestException:  # marked for deletion, and keeps its name until then
            self._client.restore_secret(SecretId=self._name)
            self._client.put_secret_value(SecretId=self._name, SecretString=access.as_json())

    def remove(self) -> None:
        """See :meth:`AccessStore.remove`; without a window for recovery, as the access itself goes too."""
        with suppress(self._client.exceptions.ResourceNotFoundException):
            self._client.delete_secret(SecretId=self._name, ForceDeleteWithoutRecovery=True)


class ParameterStore(AccessStore):
    """A SecureString of AWS Systems Manager's Parameter Store."""

    def __init__(self, conn_id: str, address: SecretAddress) -> None:
        from lightly_provider.hooks.aws import aws_client

        super().__init__(conn_id)
        # AWS docs: PutParameter: a name with folders begins with a slash.
        self._name = f"/{address.name}"
        self._client = aws_client(address.aws_conn_id, "ssm")

    def read(self) -> KeptAccess | None:
        """See :meth:`AccessStore.read`."""
        try:
            found = self._client.get_parameter(Name=self._name, WithDecryption=True)
        except self._client.exceptions.ParameterNotFound:
            return None
        return _parsed(found["Parameter"]["Value"], self.conn_id)

    def write(self, access: KeptAccess) -> None:
        """See :meth:`AccessStore.write`."""
        self._client.put_parameter(Name=self._name, Value=access.as_json(), Type="SecureString", Overwrite=True)

    def remove(self) -> None:
        """See :meth:`AccessStore.remove`."""
        with suppress(self._client.exceptions.ParameterNotFound):
            self._client.delete_parameter(Name=self._name)


def access_store(conn_id: str, airflow_api_conn_id: str | None = None) -> AccessStore:
    """
    The place that an operator's argument names.

    :param conn_id: Id of an Airflow connection, or the address of a secret.
    :param airflow_api_conn_id: Connection to Airflow's own API, by which a connection is written on Airflow 3.
    :raises ValueError: It cannot be written from a task.
    """
    from lightly_provider.hooks.airflow_connections import airflow_connection_store

    address = SecretAddress.parse(conn_id)
    if address is None:
        return airflow_connection_store(conn_id, airflow_api_conn_id)
    if address.service == "ssm":
        return ParameterStore(conn_id, address)
    return SecretsManagerStore(conn_id, address)


def connection_in_secret(address: SecretAddress) -> Connection:
    """
    The Airflow connection that a secret holds.

    :raises LightlyAccessError: There is no such secret.
    """
    from airflow.providers.common.compat.sdk import Connection

    from lightly_provider.hooks.aws import secrets_kept_from_the_log

    conn_id = f"{address.service}://{address.aws_conn_id}/{address.name}"
    with secrets_kept_from_the_log():
        kept = access_store(conn_id).read()
    if kept is None:
        raise LightlyAccessError(
            f"There is no secret {address.name!r} in {address.service} ({conn_id}); create the access first, or "
            "correct the name."
        )
    return Connection.from_json(kept.as_json(), conn_id=conn_id)


def _parsed(text: str, conn_id: str) -> KeptAccess:
    try:
        content = json.loads(text)
        extra = content.get("extra") or {}
        extra = json.loads(extra) if isinstance(extra, str) else extra
        return KeptAccess.of_connection(login=content.get("login"), password=content.get("password"), extra=extra)
    except (ValueError, AttributeError):
        raise LightlyAccessError(
            f"{conn_id!r} holds something else than an Airflow connection in JSON; choose another name."
        ) from None
