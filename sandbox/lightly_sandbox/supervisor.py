"""``lightly-sandbox up``: starts the local AWS, the platform and the workers, and stops them all together."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import requests

from lightly_sandbox.aws.accounts import REGION, provision
from lightly_sandbox.aws.guard import HEALTH_PATH
from lightly_sandbox.aws.wording import AccessDeniedMessages
from lightly_sandbox.errors import SandboxError
from lightly_sandbox.platform import schema
from lightly_sandbox.platform.settings import CRASH_AFTER_SECONDS, VerifyScope
from lightly_sandbox.process.airflow_connections import export_lines
from lightly_sandbox.process.children import Children, Program
from lightly_sandbox.process.serving import HOST
from lightly_sandbox.process.state_dir import StateDir, check_writable, write_privately

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from lightly_sandbox.process.state_dir import Credentials

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """The options of ``up``. Port 0 picks a free one; by default the ready file is in the state folder."""

    state_dir: Path
    port: int = 0
    aws_port: int = 0
    workers: int = 1
    ready_file: Path | None = None
    mask_secrets: bool = False
    verify_scope: VerifyScope = VerifyScope.COMBINED
    access_denied_messages: AccessDeniedMessages = AccessDeniedMessages.POLICY_ARN
    crash_after: float = CRASH_AFTER_SECONDS
    poll_interval: float = 0.5
    hide_secrets: bool = False
    until_stdin_closes: bool = False


class Stopped(Exception):
    """The sandbox was asked to stop before it was ready."""


def up(options: Options, say: Callable[[str], None]) -> None:
    """Run the sandbox until SIGTERM or SIGINT; ``say`` gets the messages for the user.

    Raises:
        SandboxError: it cannot start, or a part of it ended unexpectedly.
    """
    stop = threading.Event()
    state = StateDir(options.state_dir.absolute())
    ready_file = (options.ready_file or state.ready_file).absolute()
    # Only this user may read databases and logs, even in an existing folder that is open to others.
    os.umask(0o077)
    if options.until_stdin_closes:
        _stop_with_stdin(stop)
    with _stop_signals(stop), state.locked(ready_file) as writers, contextlib.ExitStack() as stack:
        check_writable(ready_file, "--ready-file")
        schema.check(state.database)
        web = stack.enter_context(bind(options.port, "--port"))
        aws = stack.enter_context(bind(options.aws_port, "--aws-port"))
        # A killed sandbox left it; nobody may take it for this one's, which is not ready yet.
        ready_file.unlink(missing_ok=True)
        children = Children(state.logs, say)
        stack.callback(children.stop)
        try:
            ready = _Start(options, state, children, stop, writers).run(web, aws)
        except Stopped:
            return
        # From here on only the children hold the sockets: the port of a child that ended refuses connections
        # instead of hanging.
        web.close()
        aws.close()
        write_privately(ready_file, ready)
        stack.callback(ready_file.unlink, missing_ok=True)
        for line in _announcement(options, state, ready_file, ready):
            say(line)
        while not stop.wait(0.5):
            children.check()
        say("Stopping …")


def _announcement(
    options: Options, state: StateDir, ready_file: Path, ready: Mapping[str, object]
) -> Iterator[str]:
    yield f"Lightly   {ready['lightly_url']}  (pages: {ready['web_url']})"
    yield f"AWS       {ready['aws_url']}  (region {REGION})"
    yield f"workers   {options.workers}"
    yield f"state     {state.root}"
    yield f"secrets   {ready_file}"
    if not options.hide_secrets:
        yield f"token     {ready['token']}"
        yield "For Airflow, paste:"
        yield from export_lines(ready)
    yield f"Stop it with Ctrl-C, or: kill {os.getpid()}"


def bind(port: int, option: str) -> socket.socket:
    """Return a socket bound to ``port`` of the loopback address.

    Raises:
        SandboxError: the port is in use, or this user may not use it.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        # Listen now, not when the child serves: two may bind a port (SO_REUSEADDR), only one may listen.
        bound.listen(512)
    except OSError as taken:
        bound.close()
        raise SandboxError(
            f"Port {port} of {HOST} cannot be used: {taken.strerror}. Stop what uses it, or give another "
            f"{option} (0 picks a free one)."
        ) from taken
    return bound


@dataclass(frozen=True, slots=True)
class _Start:
    """The start of all processes until everything responds."""

    options: Options
    state: StateDir
    children: Children
    stop: threading.Event
    writers: int

    def run(self, web: socket.socket, aws: socket.socket) -> dict[str, object]:
        """Start everything and return the content of the ready file.

        Raises:
            SandboxError: a process does not start.
            Stopped: a signal came first.
        """
        lightly_url, aws_url = (f"http://{HOST}:{port.getsockname()[1]}" for port in (web, aws))
        credentials = self.state.credentials()
        messages = ("--access-denied-messages", self.options.access_denied_messages)
        local_aws = self.children.start(self._server("aws", "lightly_sandbox.aws.server", aws, *messages))
        local_aws.send(credentials.dumped())
        # It loads while the local AWS starts and its accounts are made, and then waits for the key pairs.
        settings = ["--aws-url", aws_url, "--verify-scope", self.options.verify_scope]
        settings += ["--crash-after", str(self.options.crash_after)]
        if self.options.mask_secrets:
            settings.append("--mask-secrets")
        platform = self.children.start(
            self._server("platform", "lightly_sandbox.platform.server", web, *settings)
        )
        began_ms = time.time_ns() // 1_000_000
        # They also load in the meantime, and wait for the platform.
        workers = self._start_workers(lightly_url, credentials)
        self._wait("local AWS", lambda: _get(f"{aws_url}{HEALTH_PATH}") is not None)
        credentials = provision(aws_url, credentials)
        self.state.keep(credentials)
        platform.send(credentials.dumped())
        self._wait("platform", lambda: _get(f"{lightly_url}/v1/quota", credentials) is not None)

        def registered() -> bool:
            response = _get(f"{lightly_url}/v1/docker/worker", credentials)
            seen = () if response is None else response.json()
            return {worker["name"] for worker in seen if worker["lastModifiedAt"] >= began_ms} >= workers

        self._wait("workers", registered)
        return {
            "lightly_url": lightly_url,
            "token": credentials.token,
            "web_url": f"{lightly_url}/web",
            "aws_url": aws_url,
            "aws_access_key_id": credentials.customer_access_key_id,
            "aws_secret_access_key": credentials.customer_secret_access_key,
            "region": REGION,
            "pid": os.getpid(),
        }

    def _server(self, name: str, module: str, bound: socket.socket, *more: str) -> Program:
        arguments = (
            *("--fd", str(bound.fileno()), "--port", str(bound.getsockname()[1])),
            *("--state-dir", str(self.state.root), *more),
        )
        return Program(name, module, arguments, inherits=(bound.fileno(), self.writers))

    def _start_workers(self, lightly_url: str, credentials: Credentials) -> set[str]:
        """Start the workers, and return their names."""
        names = {f"sandbox-worker-{number}" for number in range(1, self.options.workers + 1)}
        interval = str(self.options.poll_interval)
        for name in sorted(names):
            arguments = ("worker", "--url", lightly_url, "--name", name, "--poll-interval", interval)
            token = {"LIGHTLY_TOKEN": credentials.token}
            self.children.start(Program(name, "lightly_sandbox", arguments, environment=token, restarts=True))
        return names

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            self.children.check()
            if self.stop.wait(0.05):
                raise Stopped
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"The sandbox's {what} did not answer in {START_SECONDS:.0f} s; see {self.state.logs}."
                )


@contextlib.contextmanager
def _stop_signals(stop: threading.Event) -> Iterator[None]:
    def heard(_number: int, _frame: object) -> None:
        stop.set()

    before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop_with_stdin(stop: threading.Event) -> None:
    """Stop when standard input closes, for example because the process at its other end was killed."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop.set()

    threading.Thread(target=watch, name="stdin", daemon=True).start()


def _get(url: str, credentials: Credentials | None = None) -> requests.Response | None:
    """Return the response if it is 200, else None."""
    parameters = {} if credentials is None else {"token": credentials.token}
    try:
        with requests.Session() as session:
            session.trust_env = False  # Do not use the environment's proxy for loopback.
            response = session.get(url, params=parameters, timeout=2)
    except requests.RequestException:
        return None
    return response if response.status_code == HTTPStatus.OK else None
