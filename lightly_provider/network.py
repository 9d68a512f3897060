"""
Send every HTTP request of this provider: to the platform, in each mode, and to Airflow's API.

All requests follow the same rules:

- Certificate authorities: those of the connection, else ``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE``, ``SSL_CERT_FILE``,
  else those of the requests library.
- Proxies: the connection's proxy for the scheme, else the environment's. ``NO_PROXY`` accepts hosts, domains,
  addresses, networks (``127.0.0.0/8``) and ``*``, and applies to the environment's proxies; ``no_proxy`` among the
  connection's proxies applies to both.
- ``~/.netrc`` is never read, redirects are never followed, cookies are never stored.
- A complete response has a deadline and a maximum size, decompressed; the request ends there, whatever the server does.

:func:`ca_bundle_for` and :func:`proxies_for` apply the same rules to other clients, such as boto3.
"""

from __future__ import annotations

import io
import ipaddress
import os
import threading
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import requests
    from requests.adapters import HTTPAdapter

Result = TypeVar("Result")

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_PIECE = 64 * 1024
_NO_ADDRESS = "the host is not a valid address; write it like https://api.lightly.ai"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """
    The limits of one request.

    :param connect_timeout: Maximum wait for a connection, in seconds. Default: 10.
    :param total: Maximum time from the start to the complete response, in seconds. Default: 45.
    :param size: Maximum size of the response, decompressed, in bytes. Default: 32 MiB.
    :param lowest_rate: Minimum download rate of a file, in bytes per second; each received byte extends ``total``
        accordingly. None (default): only ``total`` applies.
    """

    connect_timeout: float = 10.0
    total: float = 45.0
    size: int = 32 * 2**20
    lowest_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class RawAnswer:
    """
    An unvalidated response within the limits.

    :param status: HTTP status.
    :param content: Body, decompressed.
    :param content_type: ``Content-Type`` header; empty (default) if missing.
    :param retry_after: ``Retry-After`` header; None (default) if missing.
    :param etag: ``ETag`` header; None (default) if missing.
    """

    status: int
    content: bytes = field(repr=False)
    content_type: str = ""
    retry_after: str | None = None
    etag: str | None = None


class NoAnswerError(Exception):
    """
    No complete response arrived. The message contains neither the URL nor the request.

    :param what: What happened, and what to check; without a full stop.
    :param never_sent: Whether the server certainly did not receive the request. Default: False.
    """

    def __init__(self, what: str, *, never_sent: bool = False) -> None:
        super().__init__(what)
        self.never_sent = never_sent


class UnusableSettingError(NoAnswerError):
    """The host, a proxy or the CA bundle is unusable. Nothing was sent."""

    def __init__(self, what: str) -> None:
        super().__init__(what, never_sent=True)


class AnswerTooLargeError(NoAnswerError):
    """The response is too large, or has a compression that was not requested."""


# --- settings ------------------------------------------------------------------------------------------------------


def ca_bundle_for(own: str | None) -> str | None:
    """
    Return the file or folder with the certificate authorities to trust.

    :param own: Path from the connection; None: use the environment's.
    :return: The path; None: use the certificate authorities of the library that sends the request.
    """
    return own or next(filter(None, map(os.environ.get, _CA_VARIABLES)), None)


def proxies_for(url: str, own: Mapping[str, str] | None = None) -> dict[str, str]:
    """
    Return the proxy for a URL, in the form that ``requests`` and botocore expect.

    :param url: URL of the request.
    :param own: The connection's proxies by scheme (or by ``scheme://host``, ``all://host`` or ``all``), and
        ``no_proxy``. Default: none.
    :return: The proxy URL by the scheme of ``url``; empty: no proxy.
    :raises UnusableSettingError: The proxy is neither http nor https or has no valid address, or ``url`` is invalid.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UnusableSettingError(_NO_ADDRESS) from None
    own = {name.lower(): value for name, value in (own or {}).items()}
    if _is_exempt(host, port, own.get("no_proxy", "")):
        return {}
    chosen = next((own[key] for key in _keys(parts.scheme, host) if own.get(key)), None)
    if not chosen:
        if _is_exempt(host, port, _of_environment("no")):
            return {}
        chosen = _of_environment(parts.scheme) or _of_environment("all")
    if not chosen:
        return {}
    address = _with_scheme(chosen)
    if not address.lower().startswith(("http://", "https://")):
        raise UnusableSettingError(
            "the proxy is of another kind than http and https; check the proxies, and HTTPS_PROXY"
        )
    if not is_address(address):
        raise UnusableSettingError("a proxy's address is not valid; check the proxies, and HTTPS_PROXY")
    return {parts.scheme: address}


def _of_environment(name: str) -> str:
    """Return a proxy variable as Python's ``urllib.request`` reads it, which reads the whole environment each time."""
    in_lower_case = os.environ.get(f"{name}_proxy")
    # In a CGI program, HTTP_PROXY is a header of the request.
    if in_lower_case is not None or (name == "http" and "REQUEST_METHOD" in os.environ):
        return in_lower_case or ""
    return os.environ.get(f"{name.upper()}_PROXY", "")


def _keys(scheme: str, host: str) -> tuple[str, ...]:
    return (f"{scheme}://{host}", scheme, f"all://{host}", "all")


def is_address(text: str) -> bool:
    """Return whether a text is the address of a server, with or without a scheme: printable, with a host."""
    try:
        parts = urlsplit(_with_scheme(text))
        # Reading the port validates it.
        return text.isprintable() and " " not in text.strip() and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def passwords_in(address: str) -> set[str]:
    """
    Return the password in an address with or without a scheme, as it is and decoded, to be masked in logs.

    :param address: Address of a server, e.g. of a proxy; any text.
    """
    try:
        password = urlsplit(_with_scheme(address)).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()


def _with_scheme(address: str) -> str:
    # requests treats a proxy without a scheme as http.
    return address.strip() if "://" in address else f"http://{address.strip()}"


def _is_exempt(host: str, port: int | None, no_proxy: str) -> bool:
    return any(_covers(entry, host, port) for entry in no_proxy.replace(",", " ").split())


def _covers(entry: str, host: str, port: int | None) -> bool:
    """Return whether an entry of NO_PROXY matches the host."""
    if entry == "*":
        return True
    if entry.startswith("["):
        name, _, of_port = entry[1:].partition("]")
    else:
        name, _, of_port = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
    if (of_port := of_port.removeprefix(":")) and of_port != str(port):
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except (ValueError, TypeError):
        pass
    name = name.lower().removeprefix("*").lstrip(".").rstrip(".")
    return bool(name) and (host.rstrip(".") == name or host.rstrip(".").endswith(f".{name}"))


# --- one request ---------------------------------------------------------------------------------------------------


class Transport:
    """
    Send requests by the rules of this module; thread-safe.

    :param ca_bundle: The connection's certificate authorities; see :func:`ca_bundle_for`. Default: None.
    :param proxies: The connection's proxies; see :func:`proxies_for`. Default: None.
    :param headers: Headers of every request. Default: None.
    """

    def __init__(
        self,
        *,
        ca_bundle: str | None = None,
        proxies: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._ca_bundle = ca_bundle
        self._proxies = proxies
        self._headers = {"Accept-Encoding": "gzip", **(headers or {})}
        self._session: requests.Session | None = None
        self._lock = threading.Lock()
        self._running: set[_CutOff] = set()

    def close(self) -> None:
        """Close all connections; requests in progress in other threads end at once."""
        with self._lock:
            running, session, self._session = list(self._running), self._session, None
        for cut_off in running:
            cut_off.cut()
        if session is not None:
            session.close()

    def send(
        self,
        method: str,
        url: str,
        *,
        limits: Limits,
        query: Mapping[str, Any] | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RawAnswer:
        """
        Send one request and read the complete response.

        :param method: HTTP method.
        :param url: URL, including the scheme.
        :param limits: Limits of time and size.
        :param query: Query parameters; a sequence repeats its key. Default: none.
        :param json: JSON body. None (default): no body.
        :param content: Body as it is, instead of ``json``. None (default): no body.
        :param headers: Headers of this request only. Default: none.
        :raises NoAnswerError: No complete response arrived within the limits.
        """
        with self._cut_off(limits) as cut_off:
            return _explaining(
                lambda: self._sent(
                    method, url, limits, cut_off, params=query, json=json, data=content, headers=headers
                ),
                limits,
                cut_off,
            )

    @contextmanager
    def open(self, url: str, *, limits: Limits) -> Iterator[OpenAnswer]:
        """
        Send a GET request, and read the response piece by piece.

        The time between two pieces counts, too: with ``lowest_rate``, each received byte extends the deadline.

        :param url: URL, including the scheme.
        :param limits: Limits of time and size.
        :raises NoAnswerError: No response began within the limits.
        """
        # The size of a compressed response says nothing about the size of the file.
        headers = {"Accept-Encoding": "identity"}
        with self._cut_off(limits) as cut_off:
            response = _explaining(lambda: self._response("GET", url, limits, headers=headers), limits, cut_off)
            try:
                yield OpenAnswer(response, limits, cut_off)
            finally:
                response.close()

    @contextmanager
    def _cut_off(self, limits: Limits) -> Iterator[_CutOff]:
        cut_off = _CutOff(limits.total)
        with self._lock:
            self._running.add(cut_off)
        try:
            with cut_off:
                yield cut_off
        finally:
            with self._lock:
                self._running.discard(cut_off)

    def _sent(self, method: str, url: str, limits: Limits, cut_off: _CutOff, **what: Any) -> RawAnswer:
        response = self._response(method, url, limits, **what)
        try:
            content = _content_of(response, limits, cut_off)
        except BaseException:
            response.close()
            raise
        return RawAnswer(
            status=response.status_code,
            content=content,
            content_type=response.headers.get("Content-Type") or "",
            retry_after=response.headers.get("Retry-After"),
            etag=response.headers.get("ETag"),
        )

    def _response(self, method: str, url: str, limits: Limits, **what: Any) -> requests.Response:
        with self._lock:
            if self._session is None:
                self._session = _new_session(self._headers)
            session = self._session
        return session.request(
            method,
            url,
            timeout=(min(limits.connect_timeout, limits.total), limits.total),
            # A redirect would send secrets to another address.
            allow_redirects=False,
            proxies=proxies_for(url, self._proxies),
            verify=ca_bundle_for(self._ca_bundle) or True,
            stream=True,
            **what,
        )


class OpenAnswer:
    """
    A response whose body is read piece by piece.

    :param response: The response of the ``requests`` library.
    :param limits: Limits of time and size.
    :param cut_off: Deadline of the request.
    """

    def __init__(self, response: requests.Response, limits: Limits, cut_off: _CutOff) -> None:
        self._response = response
        self._limits = limits
        self._cut_off = cut_off
        self.status: int = response.status_code
        length = response.headers.get("Content-Length") or ""
        # Size of the body in bytes, as the server announced it; None: not announced.
        self.size = int(length) if length.isdecimal() and len(length) < 19 else None

    def pieces(self) -> Iterator[bytes]:
        """
        Yield the body in pieces, and check that it is complete.

        :raises NoAnswerError: The body is not as large as announced, larger than allowed, compressed, or did not arrive
            in time.
        """
        limits = self._limits
        if (self._response.headers.get("Content-Encoding") or "identity").lower() != "identity":
            raise AnswerTooLargeError("the answer is compressed in a way that was not asked for")
        if (self.size or 0) > limits.size:
            raise AnswerTooLargeError(f"the answer is larger than {limits.size / 2**20:g} MiB")
        stream = _counted(self._response.raw.stream(_PIECE, decode_content=False), limits, self._cut_off)
        received = 0
        while piece := _explaining(lambda: next(stream, b""), limits, self._cut_off):
            received += len(piece)
            if received > limits.size:
                raise AnswerTooLargeError(f"the answer is larger than {limits.size / 2**20:g} MiB")
            yield piece
        if self.size is not None and received != self.size:
            raise NoAnswerError(f"the answer has {received} bytes, and {self.size} were announced")


def _explaining(act: Callable[[], Result], limits: Limits, cut_off: _CutOff) -> Result:
    """Do something of a request; a library's exception becomes one without the URL."""
    failure: NoAnswerError
    try:
        result = act()
        # The library treats a cut connection as the end of the headers, or of a body without a length.
        if not cut_off.is_over:
            return result
        failure = _too_late(limits)
    except NoAnswerError as error:
        is_late = cut_off.is_over and not isinstance(error, AnswerTooLargeError)
        failure = _too_late(limits) if is_late else error
    except Exception as error:
        import requests
        import urllib3

        if not isinstance(error, (OSError, ValueError, requests.RequestException, urllib3.exceptions.HTTPError)):
            raise
        failure = _explained(error, limits, cut_off)
    # Raised outside the except block, so that the library's exception, which contains the URL, is not its context.
    raise failure from None


def _content_of(response: requests.Response, limits: Limits, cut_off: _CutOff) -> bytes:
    encoding = response.headers.get("Content-Encoding") or ""
    announced = response.raw.length_remaining or 0
    if 0 < announced <= limits.size and _is_plain(encoding) and not limits.lowest_rate:
        # The library reads no more than was announced. Many small pieces take it twice as long.
        whole: bytes = response.raw.read(decode_content=False)
        return whole
    content = io.BytesIO()  # hands its content over without a copy
    pieces = response.raw.stream(_PIECE, decode_content=False)
    received = _counted(pieces, limits, cut_off)
    for piece in _unpacked(received, encoding):
        content.write(piece)
        if content.tell() > limits.size:
            raise AnswerTooLargeError(f"the answer is larger than {limits.size / 2**20:g} MiB")
    return content.getvalue()


def _counted(pieces: Iterable[bytes], limits: Limits, cut_off: _CutOff) -> Iterator[bytes]:
    """Yield the pieces of a body; each piece of a file extends the deadline by the time that the lowest rate allows."""
    received = 0
    for piece in pieces:
        received += len(piece)
        if limits.lowest_rate:
            cut_off.extend(limits.total + received / limits.lowest_rate)
        yield piece


def _is_plain(encoding: str) -> bool:
    return encoding.lower() in ("", "identity")


def _unpacked(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the decompressed body in small pieces, because two megabytes can expand to four gigabytes."""
    if _is_plain(encoding):
        yield from pieces
        return
    if encoding.lower() not in ("gzip", "x-gzip"):
        raise AnswerTooLargeError("the answer is compressed in a way that was not asked for")
    gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
    is_empty = True
    try:
        for piece in pieces:
            rest = piece
            while rest:
                is_empty = False
                if gzip.eof:  # a second member follows
                    gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
                yield gzip.decompress(rest, _PIECE)
                rest = gzip.unused_data if gzip.eof else gzip.unconsumed_tail
        # Read what is left in the decompressor.
        while not gzip.eof and not is_empty:
            more = gzip.decompress(b"", _PIECE)
            if not more:
                raise NoAnswerError("the compressed answer is cut short")
            yield more
    except zlib.error:
        raise NoAnswerError("the answer is not compressed as it says") from None


def _too_late(limits: Limits) -> NoAnswerError:
    return NoAnswerError(f"no whole answer within {limits.total:g} s")


def _explained(error: Exception, limits: Limits, cut_off: _CutOff) -> NoAnswerError:
    """Explain a library's exception, whose own text may contain secrets."""
    from requests import exceptions
    from urllib3.exceptions import LocationValueError, NewConnectionError, ReadTimeoutError, SSLError

    if cut_off.is_over:
        return _too_late(limits)
    if isinstance(error, exceptions.InvalidProxyURL):
        return UnusableSettingError("a proxy's address is not valid; check the proxies, and HTTPS_PROXY")
    if isinstance(error, exceptions.InvalidSchema):
        return UnusableSettingError("the host is of another kind than http and https; check the host")
    if isinstance(error, (exceptions.InvalidURL, exceptions.MissingSchema, LocationValueError)):
        return UnusableSettingError(_NO_ADDRESS)
    if isinstance(error, OSError) and not isinstance(error, exceptions.RequestException) and error.errno is None:
        # requests raises a plain OSError for this.
        return UnusableSettingError(
            "the CA bundle does not exist; check ca_bundle in the connection's extra, and REQUESTS_CA_BUNDLE"
        )
    reason = error.args[0] if error.args else None
    cause = getattr(reason, "reason", reason)
    # Without a connection, nothing was sent. But urllib3 2.8 also raises ProxyError if a connection through a proxy
    # broke after the request, because its close() forgets that the proxy was reached.
    without_connection = isinstance(error, (exceptions.ConnectTimeout, exceptions.ProxyError)) or isinstance(
        cause, NewConnectionError
    )
    never_sent = without_connection and not cut_off.has_sent
    if isinstance(error, (exceptions.SSLError, SSLError)):
        # TLS can fail in the handshake, but also after the request was sent.
        what = "TLS failed; check the host, and the CA bundle (ca_bundle in the connection's extra)"
    elif isinstance(error, exceptions.ProxyError) and never_sent:
        what = "the proxy refused or failed; check the proxies, and HTTPS_PROXY"
    elif isinstance(error, exceptions.ProxyError):
        what = "the connection through the proxy broke before the answer was complete"
    elif isinstance(error, exceptions.ConnectTimeout):
        what = f"no connection within {min(limits.connect_timeout, limits.total):g} s; check the host and the network"
    elif isinstance(error, (exceptions.Timeout, ReadTimeoutError)):
        return _too_late(limits)
    elif never_sent:
        what = f"no connection ({type(cause).__name__}); check the host and the network"
    else:
        what = f"the connection broke before the answer was complete ({type(error).__name__})"
    return NoAnswerError(what, never_sent=never_sent)


# --- the deadline of a response --------------------------------------------------------------------------------

_of_thread = threading.local()


class _CutOff:
    """
    Cut the connection of this thread's request at its deadline, whatever the request waits for.

    Socket timeouts apply to each read: a server that sends one byte per second never exceeds them.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        # Whether a part of the request may have been sent, in a tunnel or not; the request for a tunnel does not count.
        self.has_sent = False
        self._start = time.monotonic()
        self._end = self._start + seconds
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        _of_thread.cut_off = self
        threading.Thread(target=self._wait, name="lightly-deadline", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        _of_thread.cut_off = None
        self._done.set()
        with self._lock:
            for connected in self._sockets:
                connected.close()
            self._sockets.clear()

    def extend(self, seconds: float) -> None:
        """Extend the deadline to this many seconds since the start."""
        self._end = max(self._end, self._start + seconds)

    def watch(self, connected: socket.socket) -> None:
        """Add a connection that the request uses."""
        with self._lock:
            if self._done.is_set():
                return
            # A copy, because the connection may be closed before its response is read, and TLS takes over the socket.
            self._sockets.append(connected.dup())
        if self.is_over:
            self.cut()

    def cut(self) -> None:
        """Cut all connections of the request now."""
        import socket

        self.is_over = True
        with self._lock:
            for connected in self._sockets:
                try:
                    connected.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def _wait(self) -> None:
        while (left := self._end - time.monotonic()) > 0:
            if self._done.wait(left):
                return
        self.cut()


@cache
def _adapter_class() -> type[HTTPAdapter]:
    """Return a ``requests`` adapter that registers each connection with the deadline of its request."""
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class Watched:
        _lifeline: socket.socket | None = None
        _is_requesting = False
        sock: Any

        def _new_conn(self) -> socket.socket:
            connected: socket.socket = super()._new_conn()  # type: ignore[misc]
            self._lifeline = connected.dup()
            self._watch()
            return connected

        def request(self, *args: Any, **kwargs: Any) -> None:
            self._watch()
            self._is_requesting = True
            try:
                super().request(*args, **kwargs)  # type: ignore[misc]
            finally:
                self._is_requesting = False

        def send(self, data: Any) -> None:
            if self.sock is None:
                self.connect()  # type: ignore[attr-defined]
            cut_off = getattr(_of_thread, "cut_off", None)
            if self._is_requesting and cut_off is not None:
                cut_off.has_sent = True
            super().send(data)  # type: ignore[misc]

        def close(self) -> None:
            super().close()  # type: ignore[misc]
            if self._lifeline is not None:
                self._lifeline.close()
                self._lifeline = None

        def _watch(self) -> None:
            cut_off = getattr(_of_thread, "cut_off", None)
            if cut_off is not None and self._lifeline is not None:
                cut_off.watch(self._lifeline)

    class PlainConnection(Watched, HTTPConnection):
        pass

    class TlsConnection(Watched, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    pools = {"http": PlainPool, "https": TlsPool}

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, **kwargs)
            manager.pool_classes_by_scheme = pools
            return manager

    return Adapter


def _new_session(headers: Mapping[str, str]) -> requests.Session:
    import http.cookiejar

    import requests

    session = requests.Session()
    # Disable ~/.netrc and the library's own use of the environment; see the rules above.
    session.trust_env = False
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.headers.update(headers)
    # allow_redirects=False is not sufficient: the library would still read the whole body and the redirect's target.
    session.get_redirect_target = lambda resp: None  # type: ignore[method-assign]
    for scheme in ("http://", "https://"):
        session.mount(scheme, _adapter_class()())
    return session
