"""
Parse the identifier of a secret store: the id of an Airflow connection, or the address of a secret in AWS.

Pure functions. An address is ``secretsmanager://<aws_conn_id>/<name>`` or ``ssm://<aws_conn_id>/<name>``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_ADDRESS = r"(?P<service>secretsmanager|ssm)://(?P<aws_conn_id>[\w.-]+)/(?P<name>[\w/+=.@-]*[\w+=.@-])"
_ANY_ADDRESS = r"[a-zA-Z0-9+.-]+://.*"
_CONN_ID = r"[\w.-]{1,200}"  # airflow 3.3.2, api_fastapi/core_api/datamodels/connections.py
ADDRESS_FORMS = "the id of an Airflow connection, secretsmanager://<aws_conn_id>/<name> or ssm://<aws_conn_id>/<name>"


@dataclass(frozen=True, kw_only=True)
class SecretAddress:
    """
    The address of a secret in AWS.

    :param service: ``secretsmanager`` or ``ssm``.
    :param aws_conn_id: AWS connection of the identity that reads and writes the secret.
    :param name: Name of the secret; for a parameter, without the leading slash.
    """

    service: str
    aws_conn_id: str
    name: str

    @classmethod
    def parse(cls, text: str) -> SecretAddress | None:
        """
        Parse an address; return None if the text is the id of an Airflow connection.

        :raises ValueError: The text looks like an address, but is not a valid one.
        """
        if not re.fullmatch(_ANY_ADDRESS, text, flags=re.DOTALL):
            return None
        parts = re.fullmatch(_ADDRESS, text)
        if not parts:
            raise ValueError(f"{text!r} is not a place where an access is kept; write {ADDRESS_FORMS}.")
        return cls(service=parts["service"], aws_conn_id=parts["aws_conn_id"], name=parts["name"])

    @property
    def stored_name(self) -> str:
        """The name in AWS, where a parameter name with a hierarchy starts with a slash (AWS docs: PutParameter)."""
        return f"/{self.name}" if self.service == "ssm" else self.name


def check_access_conn_id(text: Any, *, argument: str) -> None:
    """
    Validate the identifier of a secret store.

    :raises ValueError: The identifier is invalid; the message has the valid forms.
    """
    if not isinstance(text, str) or not (SecretAddress.parse(text) or re.fullmatch(_CONN_ID, text)):
        raise ValueError(f"{argument} is {text!r}; write {ADDRESS_FORMS}.")
