"""Sends a :class:`~lightly_provider.api.calls.Call` and waits for the answer.

The platform takes its token as a query parameter (``ApiKeyAuth`` in the contract), so an address with its query is a
secret: no text that leaves this module has one.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar

from lightly_provider.api.answers import Secrets, keep_secrets_out_of_urllib3_logs, read_answer, read_file
from lightly_provider.api.retries import policy
from lightly_provider.exceptions import (
    LightlyConnectionConfigError,
    LightlyConnectionError,
    LightlyError,
    LightlyResponseError,
)
from lightly_provider.network import AnswerTooLargeError, Limits, NoAnswerError, Transport, UnusableSettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lightly_provider.api.calls import Call

Result = TypeVar("Result")

DISTRIBUTION = "airflow-provider-lightly"
# A file that comes more slowly is given up.
LOWEST_RATE = 16 * 1024


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """
    Where the platform is and how to reach it.

    :param host: Base address, e.g. ``https://api.lightly.ai``.
    :param token: API token.
    :param ca_bundle: Path of a PEM file with the certificate authorities to trust; None: those of the environment.
    :param connect_timeout: Seconds to wait for a connection.
    :param read_timeout: Seconds from the start of a request until the whole answer must be there.
    :param proxies: Proxy addresses by scheme; where there is none: those of the environment.
    :param max_attempts: How often a call is sent at most, the first time included.
    :param longest_wait: Longest pause between two attempts, in seconds; a longer ``Retry-After`` is cut to it.
    :param largest_answer: Bytes that an answer may have, decompressed.
    """

    host: str
    token: str = field(repr=False)
    ca_bundle: str | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 45.0
    proxies: Mapping[str, str] | None = field(default=None, repr=False)
    max_attempts: int = 6
    longest_wait: float = 60.0
    largest_answer: int = 32 * 2**20


class LightlyClient:
    """
    A synchronous client of the Lightly REST API; safe to use in several threads.

    What it sends again after a failure: everything after 429 and when no connection could be made, as then nothing was
    applied; after a 5xx answer, a lost connection or a timeout only what is ``repeatable``; after an unreadable answer
    only what reads. How requests are sent: :mod:`lightly_provider.network`. What may come back:
    :mod:`lightly_provider.api.answers`.

    :param settings: Where and how.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._secrets = Secrets(settings.token)
        self._transport = Transport(
            ca_bundle=settings.ca_bundle,
            proxies=settings.proxies,
            headers={"Accept": "application/json", "User-Agent": user_agent()},
        )
        keep_secrets_out_of_urllib3_logs()

    def close(self) -> None:
        """Close the connections; a request that another thread waits for ends at once."""
        self._transport.close()

    def send(self, call: Call[Result], *, within: float | None = None) -> Result:
        """
        Send a call, as often as it takes and is safe, and read the answer.

        :param call: What to ask.
        :param within: Seconds for everything: all attempts and the pauses between them; None: as long as it takes.
        :return: What the call's ``parse`` makes of the answer.
        :raises LightlyConnectionError: No whole answer came in time.
        :raises LightlyConnectionConfigError: The host, a proxy or the CA bundle cannot be used. Nothing was sent.
        :raises LightlyResponseError: The answer breaks the contract.
        :raises LightlyApiError: The subclass that fits the platform's refusal.
        """
        from tenacity import Retrying

        until = None if within is None else time.monotonic() + within
        result: Result = Retrying(**retrying(self._settings, call, within))(self.attempt, call, until)
        return result

    def attempt(self, call: Call[Result], until: float | None = None) -> Result:
        """
        Send a call once.

        :param call: What to ask.
        :param until: When the answer must be there at the latest, by the monotonic clock.
        :return: See :meth:`send`, also for what is raised.
        """
        settings = self._settings
        self._secrets.add(*call.secrets)
        total = settings.read_timeout if until is None else min(settings.read_timeout, until - time.monotonic())
        failure: LightlyError
        try:
            answer = self._transport.send(
                call.method,
                settings.host + call.path,
                limits=self._limits(total=max(total, 0.001)),
                query={**call.query, "token": settings.token},
                json=call.body,
            )
        except NoAnswerError as error:
            failure = self._no_answer(call.operation, error)
        else:
            return read_answer(call, answer, self._secrets)
        raise failure

    def download(self, operation: str, url: str) -> Any:
        """
        Read a JSON file at a signed address that the platform returned, without the token.

        :param operation: The operation that returned the address, for messages.
        :param url: The address; it is a secret itself, and appears in no text.
        :return: The file's content.
        :raises LightlyConnectionError: No whole answer came.
        :raises LightlyResponseError: The answer is not a success, or no JSON that can be used.
        """
        failure: LightlyError
        try:
            answer = self._transport.send(
                "GET", url, limits=self._limits(total=self._settings.read_timeout, lowest_rate=LOWEST_RATE)
            )
        except AnswerTooLargeError as error:
            failure = LightlyResponseError(
                f"The file at the address that {operation} returned cannot be used: {error}.", operation=operation
            )
        except NoAnswerError:
            failure = LightlyConnectionError(
                f"The address that {operation} returned could not be read: no whole answer came.",
                operation=operation,
                maybe_applied=False,
            )
        else:
            if answer.status == 200:
                return read_file(operation, answer.content, self._secrets)
            failure = LightlyResponseError(
                f"The address that {operation} returned could not be read: HTTP {answer.status}.",
                operation=operation,
                status=answer.status,
            )
        raise failure

    def _limits(self, *, total: float, lowest_rate: float | None = None) -> Limits:
        settings = self._settings
        return Limits(
            connect_timeout=settings.connect_timeout,
            total=total,
            size=settings.largest_answer,
            lowest_rate=lowest_rate,
        )

    def _no_answer(self, operation: str, error: NoAnswerError) -> LightlyError:
        host = self._settings.host
        if isinstance(error, UnusableSettingError):
            return LightlyConnectionConfigError(f"{operation} could not be sent to {host}: {error}.")
        if isinstance(error, AnswerTooLargeError):
            return LightlyResponseError(f"{operation} at {host} got no usable answer: {error}.", operation=operation)
        return LightlyConnectionError(
            f"{operation} at {host} got no answer: {error}.",
            operation=operation,
            maybe_applied=not error.never_sent,
        )


def retrying(settings: ClientSettings, call: Call[Any], within: float | None) -> dict[str, Any]:
    """How tenacity repeats a call with these settings; see :func:`lightly_provider.api.retries.policy`."""
    return policy(call, max_attempts=settings.max_attempts, longest_wait=settings.longest_wait, within=within)


@cache
def user_agent() -> str:
    """What the provider calls itself: name, version, Python."""
    try:
        own = version(DISTRIBUTION)
    except PackageNotFoundError:  # run from a source tree that is not installed
        own = "0"
    return f"{DISTRIBUTION}/{own} python/{platform.python_version()}"
