"""Sends a :class:`~lightly_provider.api.calls.Call` with requests.

The platform takes its token as a query parameter (``ApiKeyAuth`` in the contract), so an address with its query is a
secret: no text that leaves this module has one.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar

from lightly_provider.api.answers import keep_secrets_out_of_urllib3_logs, read_answer
from lightly_provider.api.retries import policy
from lightly_provider.exceptions import (
    LightlyConnectionConfigError,
    LightlyConnectionError,
    LightlyError,
    LightlyResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from lightly_provider.api.calls import Call

Result = TypeVar("Result")

DISTRIBUTION = "airflow-provider-lightly"


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """
    Where the platform is and how to reach it.

    :param host: Base address, e.g. ``https://api.lightly.ai``.
    :param token: API token.
    :param ca_bundle: Path of a PEM file with the certificate authorities to trust; None: those of ``requests``.
    :param connect_timeout: Seconds to wait for a connection.
    :param read_timeout: Seconds to wait for an answer to go on. (The vendor's client waits 180 s.)
    :param proxies: Proxy addresses by scheme; None: those of the environment.
    :param max_attempts: How often a call is sent at most, the first time included.
    :param longest_wait: Longest pause between two attempts, in seconds; a longer ``Retry-After`` is cut to it.
    """

    host: str
    token: str = field(repr=False)
    ca_bundle: str | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 180.0
    proxies: Mapping[str, str] | None = field(default=None, repr=False)
    max_attempts: int = 6
    longest_wait: float = 60.0


class LightlyClient:
    """
    A synchronous client of the Lightly REST API.

    What it sends again after a failure: everything after 429 and when no connection could be made, as then nothing was
    applied; after a 5xx answer, a lost connection or a timeout only what is ``repeatable``; after an unreadable answer
    only what reads. Redirects are not followed.

    :param settings: Where and how.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        keep_secrets_out_of_urllib3_logs()

    @cached_property
    def _session(self) -> requests.Session:
        import requests

        session = requests.Session()
        session.headers["Accept"] = "application/json"
        session.headers["User-Agent"] = user_agent()
        # A ~/.netrc would add a login to the requests; a proxy from the environment is still taken.
        session.auth = lambda request: request
        return session

    def close(self) -> None:
        """Close the connections."""
        if "_session" in self.__dict__:
            self._session.close()

    def send(self, call: Call[Result]) -> Result:
        """
        Send a call, as often as it takes and is safe, and parse the answer.

        :param call: What to ask.
        :return: What the call's ``parse`` makes of the answer.
        :raises LightlyConnectionError: No answer came.
        :raises LightlyConnectionConfigError: The host, the proxies or the CA bundle cannot be used. Nothing was sent.
        :raises LightlyResponseError: The answer breaks the contract.
        :raises LightlyApiError: The subclass that fits the platform's refusal.
        """
        from tenacity import Retrying

        settings = self._settings
        retrying = Retrying(**policy(call, max_attempts=settings.max_attempts, longest_wait=settings.longest_wait))
        result: Result = retrying(self._send_once, call)
        return result

    def download(self, operation: str, url: str) -> bytes:
        """
        Read a signed address that the platform gave, without the token.

        :param operation: The operation that gave the address, for messages.
        :param url: The address; it is a secret itself, and appears in no text.
        :return: The content.
        :raises LightlyConnectionError: No whole answer came.
        :raises LightlyResponseError: The answer is not a success.
        """
        try:
            response = self._session.get(
                url,
                timeout=(self._settings.connect_timeout, self._settings.read_timeout),
                allow_redirects=False,
                proxies=dict(self._settings.proxies or {}),
                verify=self._settings.ca_bundle,
            )
            status, content = response.status_code, response.content
        except (OSError, ValueError):  # requests' exceptions are OSErrors; urllib3 adds a ValueError
            status, content = 0, b""
        if status == 0:
            raise LightlyConnectionError(
                f"The address that {operation} gave could not be read: no whole answer came.",
                operation=operation,
                maybe_applied=False,
            )
        if status != 200:
            raise LightlyResponseError(
                f"The address that {operation} gave could not be read: HTTP {status}.",
                operation=operation,
                status=status,
            )
        return content

    def _send_once(self, call: Call[Result]) -> Result:
        settings = self._settings
        failure: LightlyError | None = None
        try:
            response = self._session.request(
                call.method,
                settings.host + call.path,
                params={**call.query, "token": settings.token},
                json=call.body,
                timeout=(settings.connect_timeout, settings.read_timeout),
                # A redirect would carry the token to another address; the API has none outside its read URLs.
                allow_redirects=False,
                # Per request: those of the session would yield to HTTPS_PROXY and REQUESTS_CA_BUNDLE.
                proxies=dict(settings.proxies or {}),
                verify=settings.ca_bundle,
            )
        except (OSError, ValueError) as error:  # requests' exceptions are OSErrors; urllib3 adds a ValueError
            failure = self._no_answer(call, error)
        # Raised outside the except block: requests' own exception, whose text has the token, is not its context.
        if failure is not None:
            raise failure
        return read_answer(
            call,
            status=response.status_code,
            content=response.content,
            retry_after=response.headers.get("Retry-After"),
            token=settings.token,
        )

    def _no_answer(self, call: Call[Any], error: OSError | ValueError) -> LightlyError:
        import requests
        from urllib3.exceptions import NewConnectionError

        host = self._settings.host
        if unusable := _unusable_setting(error):
            return LightlyConnectionConfigError(f"{call.operation} could not be sent to {host}: {unusable}.")
        reason = error.args[0] if error.args else None
        cause = getattr(reason, "reason", reason)
        # Nothing was sent if not even a connection came about.
        never_sent = isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)) or isinstance(
            cause, NewConnectionError
        )
        if isinstance(error, requests.exceptions.SSLError):
            # Not only the handshake can fail: TLS can break after the request was sent, too.
            what = "TLS failed; check the host, and the CA bundle in the Airflow connection's extra (ca_bundle)"
        elif isinstance(error, requests.exceptions.ProxyError):
            what = "the proxy refused or failed; check the proxies in the Airflow connection's extra"
        elif isinstance(error, requests.ConnectTimeout):
            what = f"no connection within {self._settings.connect_timeout:g} s; check the host and the network"
        elif isinstance(error, requests.Timeout):
            what = f"no answer within {self._settings.read_timeout:g} s"
        elif never_sent:
            what = f"no connection ({type(cause).__name__}); check the host and the network"
        else:
            what = f"the connection broke before the answer was complete ({type(error).__name__})"
        return LightlyConnectionError(
            f"{call.operation} at {host} got no answer: {what}.",
            operation=call.operation,
            maybe_applied=not never_sent,
        )


def user_agent() -> str:
    """What the provider calls itself: name, version, Python."""
    try:
        own = version(DISTRIBUTION)
    except PackageNotFoundError:  # run from a source tree that is not installed
        own = "0"
    return f"{DISTRIBUTION}/{own} python/{platform.python_version()}"


def _unusable_setting(error: OSError | ValueError) -> str | None:
    """Which setting cannot work whatever the platform does, and what to do; None if the failure is not of that kind."""
    from requests import exceptions
    from urllib3.exceptions import LocationValueError

    extra = "in the Airflow connection's extra"
    if isinstance(error, exceptions.InvalidProxyURL):
        return f"a proxy's address is not valid; check the proxies {extra}, and HTTPS_PROXY"
    if isinstance(error, exceptions.InvalidSchema):
        return f"requests cannot speak this kind of host or proxy; check the host, and the proxies {extra}"
    if isinstance(error, (exceptions.InvalidURL, exceptions.MissingSchema, LocationValueError)):
        return "the host is not a valid address; write it like https://api.lightly.ai"
    if isinstance(error, OSError) and not isinstance(error, exceptions.RequestException) and error.errno is None:
        # requests says so with a bare OSError.
        return f"the CA bundle does not exist; check the path ca_bundle {extra}, and REQUESTS_CA_BUNDLE"
    return None
