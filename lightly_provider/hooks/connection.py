"""Parse an Airflow connection of type ``lightly`` into the client's settings, for hooks and triggers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import BaseHook

from lightly_provider.api.client import ClientSettings
from lightly_provider.exceptions import LightlyConnectionConfigError
from lightly_provider.foreign_text import shown
from lightly_provider.get_provider_info import CONNECTION_FORM, DEFAULT_HOST, DEFAULT_WEB_URL
from lightly_provider.masking import mask_secret
from lightly_provider.metrics import count_request
from lightly_provider.network import is_address, passwords_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightly_provider.api.client import LightlyClient

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
# Blanks, a login, a query, a fragment, and what would end the address in a page or a message.
_NOT_IN_ADDRESS = re.compile(r"[\s@?#\\<>\"]")
_LONGEST_ADDRESS = 2000
_PROXY_SCHEMES = ("http", "https", "all", "no_proxy")


@dataclass(frozen=True, kw_only=True)
class LightlyConnection:
    """
    A parsed connection.

    :param settings: Client settings, including the API token.
    :param web_url: Base URL of the platform's web pages.
    :param is_local: Whether the platform runs on this machine, as the sandbox does.
    :param warnings: Sentences about probable mistakes. Default: none.
    """

    settings: ClientSettings
    web_url: str
    is_local: bool
    warnings: tuple[str, ...] = ()


def parse_connection(
    conn_id: str,
    *,
    host: Any,
    port: Any,
    password: Any,
    extra: Any,
    conn_type: str | None = CONNECTION_FORM["connection-type"],
) -> LightlyConnection:
    """
    Parse and validate a connection.

    :param conn_id: Id of the connection, for messages.
    :param host: API address; None or empty: the public API. The default scheme is https.
    :param port: Port; used if the host has none. None, empty or 0: no port.
    :param password: API token.
    :param extra: ``web_url``, ``ca_bundle``, ``proxies``, ``connect_timeout``, ``read_timeout``; see the form.
    :param conn_type: Type of the connection. The password of another type is not an API token, and must not be sent.
        Default: ``lightly``.
    :raises LightlyConnectionConfigError: A value is missing or invalid.
    """
    wanted = CONNECTION_FORM["connection-type"]
    if conn_type and conn_type != wanted:
        raise LightlyConnectionConfigError(
            f"Airflow connection {conn_id!r} is of type {shown(conn_type, longest=100)!r}, and {wanted!r} is needed; "
            "its password was not sent. Name another connection with lightly_conn_id, or correct its type."
        )
    if not (isinstance(password, str) or password is None):
        raise LightlyConnectionConfigError(
            f"Airflow connection {conn_id!r} has a password that is not text; put the API token between quotes."
        )
    if not isinstance(extra, dict):
        raise LightlyConnectionConfigError(
            f"Airflow connection {conn_id!r} has an extra that is not a JSON object; write it like "
            '{"read_timeout": 60}, or leave it out.'
        )
    port = _port(conn_id, port)
    token = (password or "").strip()
    if not token.isprintable():
        raise LightlyConnectionConfigError(
            f"Airflow connection {conn_id!r} has an API token with a line break or another control character in it; "
            "copy it again from the platform's preferences page."
        )
    if not token:
        raise LightlyConnectionConfigError(
            f"Airflow connection {conn_id!r} has no API token; put the one of the platform's preferences page into its "
            "password field."
        )
    address = _address(conn_id, "host", host, DEFAULT_HOST)
    parts = urlsplit(address)
    if port and not parts.port:
        parts = parts._replace(netloc=f"{parts.netloc}:{port}")
        address = parts.geturl()
    is_local = parts.hostname in LOOPBACK_HOSTS
    warnings = []
    if parts.scheme == "http" and not is_local:
        warnings.append(
            f"Airflow connection {conn_id!r} reaches {address} without TLS: the API token and AWS keys travel in clear."
        )
    known = CONNECTION_FORM["conn-fields"]
    unknown = sorted(map(str, set(extra) - set(known)))
    if unknown:
        warnings.append(
            f"Airflow connection {conn_id!r} has extra fields that nothing reads: {shown(', '.join(unknown))}; "
            f"known are {', '.join(known)}."
        )
    proxies = _proxies(conn_id, extra.get("proxies"))
    ignored = [key for key in proxies or {} if "://" not in key and key.lower() not in _PROXY_SCHEMES]
    if ignored:
        warnings.append(
            f"Airflow connection {conn_id!r} has proxies that nothing reads: {shown(', '.join(sorted(ignored)))}; "
            f"known are {', '.join(_PROXY_SCHEMES)}."
        )
    settings = ClientSettings(
        host=address,
        token=token,
        ca_bundle=_path(conn_id, "ca_bundle", extra),
        connect_timeout=_seconds(conn_id, "connect_timeout", extra, ClientSettings.connect_timeout),
        read_timeout=_seconds(conn_id, "read_timeout", extra, ClientSettings.read_timeout),
        proxies=proxies,
        on_attempt=partial(count_request, conn_id),
    )
    web_url = _address(conn_id, "extra web_url", extra.get("web_url"), DEFAULT_WEB_URL)
    return LightlyConnection(settings=settings, web_url=web_url, is_local=is_local, warnings=tuple(warnings))


def _port(conn_id: str, value: Any) -> int | None:
    # Airflow's form stores 0 for no port.
    if value in (None, "", 0, "0") and not isinstance(value, bool):
        return None
    try:
        port = int(value)
    except (TypeError, ValueError, OverflowError):
        port = 0
    if isinstance(value, bool) or not 0 < port < 65536:
        raise LightlyConnectionConfigError(
            f"Airflow connection {conn_id!r} has the port {shown(repr(value), longest=50)}; it must be a number from 1 "
            "to 65535."
        )
    return port


def _address(conn_id: str, field: str, value: Any, default: str) -> str:
    text = str(value or default).strip()
    if "://" not in text:
        text = f"https://{text}"
    text = text.rstrip("/")
    # The message does not repeat the value, because it may contain a login.
    if isinstance(value, bool) or not (isinstance(value, (str, int)) or value is None) or not _is_web_address(text):
        raise LightlyConnectionConfigError(
            f"Airflow connection {conn_id!r} has a {field} that is not the address of a web server; "
            f"write it like {default}, without login or query."
        )
    return text


def _is_web_address(text: str) -> bool:
    if _NOT_IN_ADDRESS.search(text) or not text.isprintable() or len(text) > _LONGEST_ADDRESS:
        return False
    try:
        parts = urlsplit(text)
        # Reading the port validates it.
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return False
    # A repeated scheme looks like a colon without a port.
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port_fits and parts.netloc[-1] != ":"


def _seconds(conn_id: str, field: str, extra: Mapping[str, Any], default: float) -> float:
    value = extra.get(field)
    if value in (None, ""):
        return default
    try:
        seconds = 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0
    if not 0 < seconds < 86400:
        raise LightlyConnectionConfigError(
            f"Airflow connection {conn_id!r} has {field}={shown(repr(value), longest=50)} in its extra; "
            "it must be a number of seconds above 0."
        )
    return seconds


def _path(conn_id: str, field: str, extra: Mapping[str, Any]) -> str | None:
    value = extra.get(field)
    if value in (None, ""):
        return None
    if not isinstance(value, str) or not value.isprintable():
        raise LightlyConnectionConfigError(
            f"Airflow connection {conn_id!r} has {field}={shown(repr(value), longest=50)} in its extra; it must be a "
            "path."
        )
    return value


def _proxies(conn_id: str, value: Any) -> dict[str, str] | None:
    if value in (None, "", {}):
        return None
    parsed = value
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            parsed = None
    if not isinstance(parsed, dict) or not all(
        isinstance(address, str) and (str(scheme).lower() == "no_proxy" or is_address(address))
        for scheme, address in parsed.items()
    ):
        # The message does not repeat the value, because proxy addresses may contain a password.
        raise LightlyConnectionConfigError(
            f"Airflow connection {conn_id!r} has proxies in its extra that are not a JSON object of addresses by "
            'scheme; write them like {"https": "http://proxy:3128"}.'
        )
    return {str(scheme): address for scheme, address in parsed.items()}


async def read_connection(lightly_conn_id: str) -> LightlyConnection:
    """
    Read an Airflow connection of type ``lightly``. Airflow masks its secrets in the log.

    :param lightly_conn_id: Id of the Airflow connection.
    :raises LightlyConnectionConfigError: A value is missing or invalid.
    """
    from airflow.providers.common.compat.sdk import Connection

    # As get_async_connection and get_async_extra_dejson of common.compat do; the versions of it that most of Airflow's
    # constraints have lack the second one. Before Airflow 3.3.2, both reads block, and their calls to the supervisor
    # fail on an event loop on which another one waits.
    if hasattr(Connection, "aextra_dejson"):
        airflow_connection = await BaseHook.aget_connection(lightly_conn_id)
        extra = await airflow_connection.aextra_dejson()
    else:
        from asgiref.sync import sync_to_async

        airflow_connection = await sync_to_async(BaseHook.get_connection)(lightly_conn_id)
        extra = await sync_to_async(lambda: airflow_connection.extra_dejson)()
    return parse_connection(
        lightly_conn_id,
        host=airflow_connection.host,
        port=airflow_connection.port,
        password=airflow_connection.password,
        extra=extra,
        conn_type=airflow_connection.conn_type,
    )


class LightlyBaseHook(BaseHook):
    """
    Create a client from an Airflow connection of type ``lightly``.

    :param lightly_conn_id: Id of the Airflow connection. Default: ``lightly_default``.
    """

    conn_name_attr = "lightly_conn_id"
    default_conn_name = "lightly_default"
    # Whether calls that move data are reported to Airflow's hook lineage, if OpenLineage is active.
    reports_lineage = True

    def __init__(self, lightly_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.lightly_conn_id = lightly_conn_id

    @cached_property
    def connection(self) -> LightlyConnection:
        """The parsed Airflow connection; read once."""
        if not isinstance(self.lightly_conn_id, str) or not self.lightly_conn_id:
            raise LightlyConnectionConfigError(
                f"lightly_conn_id is {self.lightly_conn_id!r}; write the id of an Airflow connection of type lightly."
            )
        airflow_connection = self.get_connection(self.lightly_conn_id)
        parsed = parse_connection(
            self.lightly_conn_id,
            host=airflow_connection.host,
            port=airflow_connection.port,
            password=airflow_connection.password,
            extra=airflow_connection.extra_dejson,
            conn_type=airflow_connection.conn_type,
        )
        mask_secret(parsed.settings.token)
        for address in (parsed.settings.proxies or {}).values():
            for secret in passwords_in(address):
                mask_secret(secret)
        for warning in parsed.warnings:
            self.log.warning(warning)
        return parsed

    @cached_property
    def client(self) -> LightlyClient:
        """The client that sends the hook's calls."""
        from lightly_provider.api.client import LightlyClient

        return LightlyClient(self.connection.settings)

    def reconnect(self) -> bool:
        """
        Read the Airflow connection again, because its API token may have been rotated.

        :return: Whether the connection has changed, so that a new request may succeed.
        """
        before = self.__dict__.pop("connection", None)
        try:
            has_changed = before is None or self.connection.settings != before.settings
        except Exception as error:  # noqa: BLE001 - whatever Airflow's secrets backends raise
            self.log.warning(
                "Airflow connection %r could not be read again: %s.", self.lightly_conn_id, type(error).__name__
            )
            has_changed = False
        if not has_changed:
            if before is not None:
                self.__dict__["connection"] = before
            return False
        self.log.info("Airflow connection %r has changed; continuing with it.", self.lightly_conn_id)
        if (client := self.__dict__.pop("client", None)) is not None:
            client.close()
        return True

    def get_conn(self) -> LightlyClient:
        """Return the client; Airflow's standard method of a hook."""
        return self.client
