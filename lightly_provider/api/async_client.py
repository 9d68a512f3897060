"""Sends a :class:`~lightly_provider.api.calls.Call` with aiohttp, for triggers: many of them share one event loop.

As in the synchronous client, an address with its query is a secret, and no text that leaves this module has one.
"""

from __future__ import annotations

import asyncio
import urllib.request
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from lightly_provider.api.answers import read_answer
from lightly_provider.api.client import ClientSettings, user_agent
from lightly_provider.api.retries import policy
from lightly_provider.exceptions import LightlyConnectionConfigError, LightlyConnectionError, LightlyError

if TYPE_CHECKING:
    import ssl

    import aiohttp

    from lightly_provider.api.calls import Call

Result = TypeVar("Result")

_EXTRA = "in the Airflow connection's extra"


class AsyncLightlyClient:
    """
    An asynchronous client of the Lightly REST API; use it as an async context manager.

    It repeats what :class:`~lightly_provider.api.client.LightlyClient` repeats, and raises what that raises. One client
    keeps its connections open between calls, so make one for many calls.

    :param settings: Where and how.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | bool = True

    async def __aenter__(self) -> Self:
        import aiohttp

        settings = self._settings
        if settings.ca_bundle is not None:
            # Reading certificates takes 20 ms and more, in which no trigger of this process would go on.
            self._tls = await asyncio.to_thread(_tls_that_trusts, settings.ca_bundle)
        self._session = aiohttp.ClientSession(
            headers={"Accept": "application/json", "User-Agent": user_agent()},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=settings.connect_timeout, sock_read=settings.read_timeout
            ),
            # Not trust_env: that would add a login from ~/.netrc to the requests. See _proxy_for.
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, call: Call[Result]) -> Result:
        """
        Send a call, as often as it takes and is safe, and parse the answer.

        :param call: What to ask.
        :return: What the call's ``parse`` makes of the answer.
        :raises LightlyConnectionError: No answer came.
        :raises LightlyConnectionConfigError: The host, the proxies or the CA bundle cannot be used. Nothing was sent.
        :raises LightlyResponseError: The answer breaks the contract.
        :raises LightlyApiError: The subclass that fits the platform's refusal.
        """
        from tenacity import AsyncRetrying

        settings = self._settings
        retrying = AsyncRetrying(**policy(call, max_attempts=settings.max_attempts, longest_wait=settings.longest_wait))
        result: Result = await retrying(self._send_once, call)
        return result

    async def _send_once(self, call: Call[Result]) -> Result:
        if self._session is None:
            raise RuntimeError("The client is not open: use it as an async context manager.")
        settings = self._settings
        failure: LightlyError | None = None
        try:
            async with self._session.request(
                call.method,
                settings.host + call.path,
                params=_pairs({**call.query, "token": settings.token}),
                json=call.body,
                # A redirect would carry the token to another address; the API has none outside its read URLs.
                allow_redirects=False,
                proxy=_proxy_for(settings),
                ssl=self._tls,
            ) as response:
                status, retry_after = response.status, response.headers.get("Retry-After")
                content = await response.read()
        except (OSError, ValueError, TimeoutError, _client_error()) as error:
            failure = _no_answer(call, settings, error)
        # Raised outside the except block: aiohttp's own exception, whose text has the token, is not its context.
        if failure is not None:
            raise failure
        return read_answer(call, status=status, content=content, retry_after=retry_after, token=settings.token)


def _client_error() -> type[Exception]:
    import aiohttp

    return aiohttp.ClientError


def _pairs(query: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, str(item))
        for name, value in query.items()
        for item in (value if isinstance(value, (list, tuple)) else [value])
    ]


def _tls_that_trusts(ca_bundle: str) -> ssl.SSLContext:
    import os
    import ssl

    try:
        if os.path.isdir(ca_bundle):
            return ssl.create_default_context(capath=ca_bundle)
        return ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ValueError):
        pass
    raise LightlyConnectionConfigError(
        f"The CA bundle {ca_bundle} cannot be read, or holds no certificate; check the path ca_bundle {_EXTRA}."
    )


def _proxy_for(settings: ClientSettings) -> str | None:
    """The proxy for the platform's address: the connection's, or else the environment's, as ``requests`` chooses."""
    parts = urlsplit(settings.host)
    if settings.proxies:
        proxies = settings.proxies
        chosen = proxies.get(f"{parts.scheme}://{parts.hostname}") or proxies.get(parts.scheme) or proxies.get("all")
    else:
        from_environment = urllib.request.getproxies_environment()
        # typeshed does not know this function of the standard library.
        if urllib.request.proxy_bypass_environment(parts.netloc, from_environment):  # type: ignore[attr-defined]
            return None
        chosen = from_environment.get(parts.scheme) or from_environment.get("all")
    if not chosen:
        return None
    if "://" not in chosen:
        chosen = f"http://{chosen}"
    if urlsplit(chosen).scheme not in ("http", "https"):
        raise LightlyConnectionConfigError(
            f"The proxy for {settings.host} is of a kind that a trigger cannot use; give one of http or https in the "
            f"proxies {_EXTRA}, or let the task wait with deferrable=False."
        )
    return chosen


def _no_answer(call: Call[Any], settings: ClientSettings, error: Exception) -> LightlyError:
    import aiohttp

    host = settings.host
    if isinstance(error, LightlyError):
        return error
    if isinstance(error, aiohttp.InvalidURL) or (
        isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError)
    ):
        return LightlyConnectionConfigError(
            f"{call.operation} could not be sent to {host}: the host or a proxy is not a valid address; check the host "
            f"and the proxies {_EXTRA}."
        )
    never_sent = isinstance(
        error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)
    )
    if isinstance(error, (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)):
        what = "the proxy refused or failed; check the proxies in the Airflow connection's extra"
    elif isinstance(error, (aiohttp.ClientSSLError, aiohttp.ServerFingerprintMismatch)):
        what = "TLS failed; check the host, and the CA bundle in the Airflow connection's extra (ca_bundle)"
    elif isinstance(error, aiohttp.ConnectionTimeoutError):
        what = f"no connection within {settings.connect_timeout:g} s; check the host and the network"
    elif isinstance(error, TimeoutError):
        what = f"no answer within {settings.read_timeout:g} s"
    elif never_sent:
        what = f"no connection ({type(error).__name__}); check the host and the network"
    else:
        what = f"the connection broke before the answer was complete ({type(error).__name__})"
    return LightlyConnectionError(
        f"{call.operation} at {host} got no answer: {what}.", operation=call.operation, maybe_applied=not never_sent
    )
