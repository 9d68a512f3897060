"""
Where the secret half of an access is kept: an Airflow connection, a secret of AWS Secrets Manager, or an SSM parameter.

In all three it is an Airflow connection of type ``aws``, as JSON in the latter two. So one text names it everywhere:
the id of a connection, or the address of a secret, ``secretsmanager://<aws_conn_id>/<name>`` or
``ssm://<aws_conn_id>/<name>``.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.access import MARK_KEY, MARK_VALUE
from lightly_provider.aws.propagation import wait_until
from lightly_provider.exceptions import LightlyAccessError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.common.compat.sdk import Connection

# Where a kept connection's extra says whose it is, and which secret its own one replaces.
_NOTE = "lightly_access"
_ADDRESS = r"(?P<service>secretsmanager|ssm)://(?P<aws_conn_id>[\w.-]+)/(?P<name>[\w/+=.@-]*[\w+=.@-])"
_ANY_ADDRESS = r"[a-zA-Z0-9+.-]+://.*"
_READ_BACK_S = 10
_CONN_ID = r"[\w.-]{1,200}"  # airflow 3.3.2, api_fastapi/core_api/datamodels/connections.py
ADDRESS_FORMS = "the id of an Airflow connection, secretsmanager://<aws_conn_id>/<name> or ssm://<aws_conn_id>/<name>"


@dataclass(frozen=True, kw_only=True)
class SecretAddress:
    """
    A secret in AWS.

    :param service: ``secretsmanager`` or ``ssm``.
    :param aws_conn_id: AWS connection of the identity that reads and writes it.
    :param name: The secret's name; that of a parameter without the slash at its start.
    """

    service: str
    aws_conn_id: str
    name: str

    @classmethod
    def parse(cls, text: str) -> SecretAddress | None:
        """
        Read an address; None if the text is the id of an Airflow connection.

        :raises ValueError: It looks like an address, and is none.
        """
        if not re.fullmatch(_ANY_ADDRESS, text, flags=re.DOTALL):
            return None
        parts = re.fullmatch(_ADDRESS, text)
        if not parts:
            raise ValueError(f"{text!r} is no place where an access is kept; write {ADDRESS_FORMS}.")
        return cls(service=parts["service"], aws_conn_id=parts["aws_conn_id"], name=parts["name"])


def check_access_conn_id(text: Any, *, argument: str) -> None:
    """
    Refuse what names no place where an access can be kept.

    :raises ValueError: With the forms that there are.
    """
    if not isinstance(text, str) or not (SecretAddress.parse(text) or re.fullmatch(_CONN_ID, text)):
        raise ValueError(f"{argument} is {text!r}; write {ADDRESS_FORMS}.")


@dataclass(frozen=True, kw_only=True)
class KeptAccess:
    """
    An access as it is kept. Its ``repr`` has no secret in it.

    :param principal_arn: The role or user whose it is; None if somebody else wrote it.
    :param access_key_id: A user's key; None for a role.
    :param secret_access_key: Its secret; None for a role.
    :param role_arn: A role; None for a user.
    :param external_id: The role's external ID; None for a user.
    :param replaces: What the present secret replaces as long as that is valid too: the id of a key, or an external
        ID; None: nothing.
    :param endpoint: Where its AWS is: ``region_name``, ``endpoint_url`` … of a connection's extra.
    """

    principal_arn: str | None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    role_arn: str | None = None
    external_id: str | None = field(default=None, repr=False)
    replaces: str | None = field(default=None, repr=False)
    endpoint: Mapping[str, Any] = field(default_factory=dict)

    @property
    def secrets(self) -> list[str]:
        """What must never be shown."""
        external_ids = (self.external_id, self.replaces) if self.role_arn else ()
        return [secret for secret in (self.secret_access_key, *external_ids) if secret]

    def is_of(self, principal: str) -> bool:
        """Whether it is the access of this role or user: its ARN, or the end of it, e.g. ``role/lightly``."""
        return f":{self.principal_arn}".endswith(f":{principal}")

    def extra(self) -> dict[str, Any]:
        """The extra of the connection."""
        extra = dict(self.endpoint)
        if self.role_arn:
            extra |= {"role_arn": self.role_arn, "assume_role_kwargs": {"ExternalId": self.external_id}}
        note = {MARK_KEY: MARK_VALUE, "principal": self.principal_arn, "replaces": self.replaces}
        return extra | {_NOTE: {name: value for name, value in note.items() if value}}

    def as_json(self) -> str:
        """The connection as Airflow and its secrets backends read it."""
        connection = {"conn_type": "aws", "login": self.access_key_id, "password": self.secret_access_key}
        return json.dumps({name: value for name, value in connection.items() if value} | {"extra": self.extra()})

    @classmethod
    def of_connection(cls, *, login: str | None, password: str | None, extra: Mapping[str, Any]) -> KeptAccess:
        """What a connection says; also one that somebody else wrote."""
        note = extra.get(_NOTE) or {}
        return cls(
            principal_arn=note.get("principal"),
            access_key_id=login or None,
            secret_access_key=password or None,
            role_arn=extra.get("role_arn"),
            external_id=(extra.get("assume_role_kwargs") or {}).get("ExternalId"),
            replaces=note.get("replaces"),
            endpoint={n: v for n, v in extra.items() if n not in (_NOTE, "role_arn", "assume_role_kwargs")},
        )


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
