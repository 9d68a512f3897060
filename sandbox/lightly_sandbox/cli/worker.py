"""``lightly-sandbox worker``."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path  # noqa: TC003 (typer reads the annotations at run time)
from typing import Annotated

import typer

from lightly_sandbox.cli import terminal
from lightly_sandbox.errors import SandboxError
from lightly_sandbox.process import lifeline
from lightly_sandbox.process.address import platform_address


def worker(
    url: Annotated[
        str | None,
        typer.Option(envvar="LIGHTLY_SERVER_LOCATION", help="The platform's address."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="LIGHTLY_TOKEN",
            help="The platform's API token. As an option it is visible to every user of the machine in the "
            "list of processes; with the variable or --token-file it is not.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file that holds the token and nothing else.")
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            help="The file that `up` wrote; its address and token override all others. Default: the file of "
            "an `up` without options, if neither an address nor a token is given."
        ),
    ] = None,
    name: Annotated[
        str,
        typer.Option(help="The worker's name; a worker that registers under a known name is that worker."),
    ] = "sandbox-worker",
    label: Annotated[
        list[str] | None,
        typer.Option(help="A label that scheduled runs can ask for in runs_on; can be repeated."),
    ] = None,
    worker_id: Annotated[
        str | None,
        typer.Option(
            envvar="LIGHTLY_WORKER_ID",
            help="Start the worker that is registered with this id, with its name and labels, as the "
            "vendor's container does; then --name and --label are not used.",
        ),
    ] = None,
    poll_interval: Annotated[
        float,
        typer.Option(min=0.05, max=3600, metavar="SECONDS", help="The time between two polls for work."),
    ] = 1.0,
    until_stdin_closes: Annotated[
        bool,
        typer.Option(
            "--until-stdin-closes",
            help="Stop also when the standard input closes.",
        ),
    ] = False,
) -> None:
    """Take scheduled runs and process them, one after the other, until Ctrl-C or SIGTERM.

    The worker needs only the platform's address and token. It exits with 0 after a run whose worker config
    has shutdown_when_job_finished.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if until_stdin_closes:
        lifeline.hold(sys.stdin.fileno())
    try:
        if worker_id is not None and label:
            raise SandboxError(
                f"The worker {worker_id} keeps the labels of its registration; remove --label, or remove "
                "--worker-id and LIGHTLY_WORKER_ID."
            )
        url, token = _where(url, token, token_file, ready_file)
        _work(url, token, name, label or [], poll_interval, stop, worker_id)
    except SandboxError as problem:
        raise terminal.fail(problem) from None


def _where(
    url: str | None, token: str | None, token_file: Path | None, ready_file: Path | None
) -> tuple[str, str]:
    """Return the address and the token."""
    from lightly_sandbox.process.ready_file import default_ready_file, read_ready_file

    # As in the other commands: a sandbox that was started without options needs no settings.
    if url is None and token is None and token_file is None and default_ready_file().exists():
        ready_file = ready_file or default_ready_file()
    if ready_file is not None:
        ready = read_ready_file(ready_file)
        return ready["lightly_url"], ready["token"]
    if token_file is not None:
        # The file was named on the command line; the token in the environment may be unrelated.
        try:
            token = token_file.read_text().strip()
        except (OSError, ValueError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else "it is not text"
            raise SandboxError(f"The token file {token_file} cannot be read: {reason}.") from None
        if not token:
            raise SandboxError(f"The token file {token_file} is empty; write the platform's token into it.")
    if not url:
        raise SandboxError(
            "The worker has no address of the platform; start `lightly-sandbox up`, give --url, or give "
            "--ready-file with the file that `up` wrote."
        )
    if not token:
        raise SandboxError(
            "The worker has no token; set the environment variable LIGHTLY_TOKEN, or give --token-file or "
            "--ready-file."
        )
    return platform_address(url), token


def _work(
    url: str,
    token: str,
    name: str,
    labels: list[str],
    poll_interval: float,
    stop: threading.Event,
    worker_id: str | None,
) -> None:
    # Do not load NumPy and the selection engine for --help.
    from lightly_sandbox.worker import run
    from lightly_sandbox.worker.api import ApiError

    try:
        run(
            url,
            token,
            name=name,
            labels=labels,
            poll_interval=poll_interval,
            stop=stop,
            worker_id=worker_id,
        )
    except ApiError as refused:
        raise SandboxError(f"The worker cannot work for {url}: {refused}") from None
