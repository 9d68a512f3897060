"""Send a :class:`~lightly_provider.api.calls.Call` and wait for the response.

The platform expects the token as a query parameter (``ApiKeyAuth`` in the contract), so a URL with its query is a
secret: no text that leaves this module contains one.
"""

from __future__ import annotations

import ipaddress
import platform
import re
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from lightly_provider.api.answers import (
    Secrets,
    keep_secrets_out_of_urllib3_logs,
    read_answer,
    read_file,
    seconds_of_retry_after,
)
from lightly_provider.api.pacing import LEAST_PAUSE, pacing_of
from lightly_provider.api.retries import policy
from lightly_provider.exceptions import (
    LightlyConnectionConfigError,
    LightlyConnectionError,
    LightlyError,
    LightlyResponseError,
)
from lightly_provider.network import AnswerTooLargeError, Limits, NoAnswerError, Transport, UnusableSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from urllib.parse import SplitResult

    from lightly_provider.api.calls import Call
    from lightly_provider.network import OpenAnswer, RawAnswer

Result = TypeVar("Result")

DISTRIBUTION = "airflow-provider-lightly"
# Minimum download rate of a file, in bytes per second; a slower download is aborted.
LOWEST_RATE = 16 * 1024
# Maximum size of a file that is read piece by piece, in bytes; a checkpoint has some hundred MiB.
LARGEST_FILE = 64 * 2**30
_STORAGE_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """
    The settings of a client.

    :param host: Base URL of the API, e.g. ``https://api.lightly.ai``.
    :param token: API token.
    :param ca_bundle: Path of a PEM file with the certificate authorities to trust. None (default): those of the
        environment.
    :param connect_timeout: Maximum wait for a connection, in seconds. Default: 10.
    :param read_timeout: Maximum time from the start of a request to the complete response, in seconds. Default: 45.
    :param proxies: Proxy URLs by scheme. Default, and for other schemes: those of the environment.
    :param max_attempts: Maximum number of attempts per call, including the first. Default: 6.
    :param longest_wait: Maximum pause between two attempts, in seconds; limits ``Retry-After``. Default: 60.
    :param largest_answer: Maximum size of a response, decompressed, in bytes. Default: 32 MiB.
    :param on_attempt: Called after each attempt of a call with its operation and the response's HTTP status; None: no
        complete response arrived. Default: nothing is called.
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
    on_attempt: Callable[[str, int | None], None] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class StoredObject:
    """The content of an object in the storage, and its ETag; None: unknown."""

    content: bytes = field(repr=False)
    etag: str | None


class LightlyClient:
    """
    A synchronous client of the Lightly REST API; thread-safe.

    Retries: every call after a 429 and after a failed connection attempt, because nothing was applied; only
    ``repeatable`` calls after a 5xx response, a lost connection, a timeout or an invalid response. After a 429,
    all clients of this process with the same host and token pause (:mod:`lightly_provider.api.pacing`).
    :mod:`lightly_provider.network` sends the requests, :mod:`lightly_provider.api.answers` validates the responses.

    :param settings: Client settings.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._secrets = Secrets(settings.token)
        self._pacing = pacing_of(settings.host, settings.token)
        self._transport = Transport(
            ca_bundle=settings.ca_bundle,
            proxies=settings.proxies,
            headers={"Accept": "application/json", "User-Agent": user_agent()},
        )
        keep_secrets_out_of_urllib3_logs()

    def close(self) -> None:
        """Close all connections; requests in progress in other threads end at once."""
        self._transport.close()

    def send(self, call: Call[Result], *, within: float | None = None) -> Result:
        """
        Send a call, with retries where they are safe, and return the result.

        :param call: Call to send.
        :param within: Maximum time of all attempts and pauses, in seconds. None (default): no limit.
        :return: The result of the call's ``parse``.
        :raises LightlyConnectionError: No complete response arrived in time.
        :raises LightlyConnectionConfigError: The host, a proxy or the CA bundle is unusable. Nothing was sent.
        :raises LightlyResponseError: The response violates the contract.
        :raises LightlyApiError: The platform returned an error; a subclass for that error.
        """
        from tenacity import Retrying, nap

        until = None if within is None else time.monotonic() + within
        if wait := self.wait_before(until):
            nap.sleep(wait)
        result: Result = Retrying(**retrying(self._settings, call, within))(self.attempt, call, until)
        return result

    def wait_before(self, until: float | None) -> float:
        """
        Return how long to wait before the first attempt of a call, because the platform asked for a pause.

        A client that sends each call only once does not wait: a person or a kill waits for it.

        :param until: Deadline of the call, by the monotonic clock, in seconds. None: it has none.
        """
        return self._pacing.wait_before(until) if self._settings.max_attempts > 1 else 0.0

    def attempt(self, call: Call[Result], until: float | None = None) -> Result:
        """
        Send a call once.

        :param call: Call to send.
        :param until: Deadline for the response, by the monotonic clock, in seconds. None (default): ``read_timeout``.
        :return: See :meth:`send`, also for the exceptions.
        """
        settings = self._settings
        self._secrets.add(*call.secrets)
        self._secrets.add_external_ids(*call.external_ids)
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
            self._attempted(call.operation, None)
            failure = self._no_answer(call.operation, error)
        else:
            self._attempted(call.operation, answer.status)
            if answer.status == 429:
                asked = seconds_of_retry_after(answer.retry_after)
                self._pacing.pause(min(LEAST_PAUSE if asked is None else asked, settings.longest_wait))
            return read_answer(call, answer, self._secrets)
        raise failure

    def _attempted(self, operation: str, status: int | None) -> None:
        if self._settings.on_attempt is not None:
            self._settings.on_attempt(operation, status)

    def download(self, operation: str, url: str) -> Any:
        """
        Read a JSON file from a signed URL that the platform returned, without the token.

        :param operation: Operation that returned the URL, for messages.
        :param url: The URL, which is a secret and appears in no text.
        :return: Content of the file.
        :raises LightlyConnectionError: No complete response arrived.
        :raises LightlyResponseError: The response is not a success, or not usable JSON.
        """
        self._check_signed_address(operation, url)
        limits = self._limits(total=self._settings.read_timeout, lowest_rate=LOWEST_RATE)
        failure: LightlyError
        try:
            answer = self._transport.send("GET", url, limits=limits)
        except NoAnswerError as error:
            failure = _file_failure(operation, error)
        else:
            if answer.status == 200:
                return read_file(operation, answer.content, self._secrets)
            failure = _no_file(operation, answer.status)
        raise failure

    @contextmanager
    def open(self, operation: str, url: str) -> Iterator[Download]:
        """
        Open a file at a signed URL that the platform returned, without the token, to read it piece by piece.

        :param operation: Operation that returned the URL, for messages.
        :param url: The URL, which is a secret and appears in no text.
        :raises LightlyConnectionError: No response arrived.
        :raises LightlyResponseError: The URL or the response is not usable.
        """
        self._check_signed_address(operation, url)
        limits = self._limits(total=self._settings.read_timeout, lowest_rate=LOWEST_RATE, size=LARGEST_FILE)
        with ExitStack() as stack:
            failure: LightlyError | None = None
            try:
                answer = stack.enter_context(self._transport.open(url, limits=limits))
                if answer.status != 200:
                    failure = _no_file(operation, answer.status)
            except NoAnswerError as error:
                failure = _file_failure(operation, error)
            if failure is not None:
                raise failure
            yield Download(operation, answer)

    def _check_signed_address(self, operation: str, url: str) -> None:
        """
        Refuse a URL that no storage has: a platform on the internet must not lead a task to this machine or to a
        service beside it, such as the cloud's metadata, nor to an address without TLS.

        :raises LightlyResponseError: The message does not contain the URL, which is a secret.
        """
        if fault := _fault_of_address(urlsplit(self._settings.host), url):
            raise LightlyResponseError(
                f"The address that {operation} returned was not read: {fault}; check the host in the Airflow "
                "connection, and report it to the platform's support if that is right.",
                operation=operation,
            )

    def read_object(self, operation: str, url: str, *, most: int) -> StoredObject | None:
        """
        Read an object of any content at a signed URL that the platform returned, without the token.

        :param operation: Operation that returned the URL, for messages.
        :param url: The URL, which is a secret and appears in no text.
        :param most: Maximum size of the object, in bytes.
        :return: The object; None if there is none.
        :raises LightlyConnectionError: No complete response arrived.
        :raises LightlyResponseError: The object cannot be read, or is too large.
        """
        answer = self._storage_answer("read", operation, "GET", url, size=most)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._storage_refusal("read", operation, answer)
        return StoredObject(answer.content, answer.etag)

    def write_object(
        self, operation: str, url: str, content: bytes, *, headers: Mapping[str, str] | None = None
    ) -> bool:
        """
        Write an object at a signed URL that the platform returned, without the token.

        :param operation: Operation that returned the URL, for messages.
        :param url: The URL, which is a secret and appears in no text.
        :param content: Content of the object.
        :param headers: Headers of the request, e.g. a condition. Default: none.
        :return: Whether it was written; False: the condition in the headers was not met.
        :raises LightlyConnectionError: No complete response arrived.
        :raises LightlyResponseError: The object cannot be written.
        """
        answer = self._storage_answer("written", operation, "PUT", url, content=content, headers=headers)
        if answer.status in (409, 412):
            return False
        if not 200 <= answer.status < 300:
            raise self._storage_refusal("written", operation, answer)
        return True

    def _storage_answer(
        self,
        what: str,
        operation: str,
        method: str,
        url: str,
        *,
        size: int = 2**20,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RawAnswer:
        """Send a request to the object storage; again after a lost connection or a fault of the storage."""
        self._check_signed_address(operation, url)
        settings, n_tries = self._settings, 0
        while True:
            n_tries += 1
            failure: LightlyError
            try:
                answer = self._transport.send(
                    method,
                    url,
                    limits=self._limits(total=settings.read_timeout, lowest_rate=LOWEST_RATE, size=size),
                    content=content,
                    headers=headers,
                )
            except AnswerTooLargeError as error:
                failure = LightlyResponseError(
                    f"The object at the address that {operation} returned cannot be used: {error}.", operation=operation
                )
                break
            except NoAnswerError as error:
                failure = LightlyConnectionError(
                    f"The address that {operation} returned could not be {what}: {error}.",
                    operation=operation,
                    maybe_applied=method == "PUT" and not error.never_sent,
                )
            else:
                if answer.status < 500 and answer.status != 429:
                    return answer
                failure = self._storage_refusal(what, operation, answer)
            if n_tries >= min(settings.max_attempts, _STORAGE_ATTEMPTS):
                break
            time.sleep(min(settings.longest_wait, 0.5 * 2 ** (n_tries - 1)))
        raise failure

    def _storage_refusal(self, what: str, operation: str, answer: RawAnswer) -> LightlyResponseError:
        # S3 answers with a small XML document; the rest of it may repeat the signed request.
        code = re.search(rb"<Code>([A-Za-z0-9.]{1,60})</Code>", answer.content[:10_000])
        named = f" {code[1].decode()}" if code else ""
        return LightlyResponseError(
            f"The address that {operation} returned could not be {what}: HTTP {answer.status}{named}; check the "
            "permissions of the dataset's datasource (VerifyDatasourcePermissionsOperator).",
            operation=operation,
            status=answer.status,
        )

    def _limits(self, *, total: float, lowest_rate: float | None = None, size: int | None = None) -> Limits:
        settings = self._settings
        return Limits(
            connect_timeout=settings.connect_timeout,
            total=total,
            size=settings.largest_answer if size is None else size,
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


class Download:
    """
    A file that is read piece by piece.

    :param operation: Operation that returned its address, for messages.
    :param answer: The open response.
    """

    def __init__(self, operation: str, answer: OpenAnswer) -> None:
        self._operation = operation
        self._answer = answer

    @property
    def size(self) -> int | None:
        """Size in bytes, as the storage announced it; None: it did not."""
        return self._answer.size

    def pieces(self) -> Iterator[bytes]:
        """
        Yield the content in pieces of at most 64 KiB, and check at the end that it is complete.

        :raises LightlyConnectionError: The content is not complete, or did not arrive in time.
        :raises LightlyResponseError: It is larger than allowed, or compressed.
        """
        pieces = self._answer.pieces()
        while True:
            failure: LightlyError | None = None
            piece = b""
            try:
                piece = next(pieces, b"")
            except NoAnswerError as error:
                failure = _file_failure(self._operation, error)
            if failure is not None:
                raise failure
            if not piece:
                return
            yield piece


def _file_failure(operation: str, error: NoAnswerError) -> LightlyError:
    if isinstance(error, AnswerTooLargeError):
        return LightlyResponseError(
            f"The file at the address that {operation} returned cannot be used: {error}.", operation=operation
        )
    return LightlyConnectionError(
        f"The address that {operation} returned could not be read: no whole answer came ({error}).",
        operation=operation,
        maybe_applied=False,
    )


def _no_file(operation: str, status: int) -> LightlyError:
    return LightlyResponseError(
        f"The address that {operation} returned could not be read: HTTP {status}.", operation=operation, status=status
    )


def _fault_of_address(api: SplitResult, url: str) -> str:
    if _is_beside_this_machine(api.hostname or ""):
        return ""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "it is not valid"
    if api.scheme == "https" and parts.scheme.lower() != "https":
        return "it has no TLS, and the platform has"
    return "it leads to this machine or its own network" if _is_beside_this_machine(host) else ""


def _is_beside_this_machine(host: str) -> bool:
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_link_local or address.is_unspecified


def retrying(settings: ClientSettings, call: Call[Any], within: float | None) -> dict[str, Any]:
    """Return tenacity's arguments for a call with these settings; see :func:`lightly_provider.api.retries.policy`."""
    return policy(
        call,
        max_attempts=settings.max_attempts,
        longest_wait=settings.longest_wait,
        within=within,
        held=pacing_of(settings.host, settings.token).left,
    )


@cache
def user_agent() -> str:
    """Return the provider's User-Agent: name, version, Python version."""
    try:
        own = version(DISTRIBUTION)
    except PackageNotFoundError:  # running from a source tree that is not installed
        own = "0"
    return f"{DISTRIBUTION}/{own} python/{platform.python_version()}"
