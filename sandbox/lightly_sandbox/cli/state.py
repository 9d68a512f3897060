"""``lightly-sandbox status``, ``stop`` and ``reset``: what they do with a state folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lightly_sandbox.cli import terminal
from lightly_sandbox.errors import SandboxError
from lightly_sandbox.process.state_dir import StateDir, default_state_dir

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOT_RUNNING = 3
"""The exit code of ``status`` for a program that does not run (LSB 5.0, init script actions)."""

StateFolder = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        help="The folder of the sandbox's `up`. Default: lightly-sandbox in $XDG_STATE_HOME or "
        "~/.local/state.",
    ),
]


def status(state_dir: StateFolder = None) -> None:
    """Show whether a sandbox runs on the state folder, its addresses and its workers.

    The exit code is 0 if it runs and answers, 3 if it does not run, 1 if it runs and does not answer.
    """
    from lightly_sandbox.process.ready_file import read_ready_file
    from lightly_sandbox.process.running import running

    state = _state(state_dir)
    try:
        found = running(state)
        if found is None:
            terminal.say(f"No sandbox runs on {state.root}.")
            raise typer.Exit(NOT_RUNNING)
        if not found.ready_file.exists():
            raise SandboxError(f"The sandbox on {state.root} (process {found.pid}) is not ready yet.")
        for line in _described(state, found.pid, read_ready_file(found.ready_file)):
            terminal.say(line)
    except SandboxError as problem:
        raise terminal.fail(problem) from problem


def _described(state: StateDir, pid: int, ready: Mapping[str, Any]) -> Iterator[str]:
    address = ready["lightly_url"]
    workers = _ask(address, "/v1/docker/worker", ready["token"])
    datasets = _ask(address, "/v1/datasets?pageSize=1000", ready["token"])
    yield f"Lightly   {address}  (pages: {address}/web)"
    yield f"AWS       {ready['aws_url']}  (region {ready['region']})"
    named = ", ".join(f"{worker['name']} {worker['state']}" for worker in workers)
    yield f"workers   {named or 'none is registered'}"
    yield f"datasets  {len(datasets)}{' or more' if len(datasets) == 1000 else ''}"
    yield f"state     {state.root}"
    yield f"process   {pid}"


def _ask(address: str, path: str, token: str) -> Any:
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False  # Do not use the environment's proxy for loopback.
            answer = session.get(address + path, params={"token": token}, timeout=10)
            answer.raise_for_status()
            return answer.json()
    except requests.RequestException as failed:
        # The exception's text contains the URL with the token.
        raise SandboxError(f"The sandbox at {address} does not answer ({type(failed).__name__}).") from None


def stop(state_dir: StateFolder = None) -> None:
    """Stop the sandbox that runs on the state folder, and wait until it has ended. Its state stays."""
    from lightly_sandbox.process.running import stop as stop_running

    state = _state(state_dir)
    try:
        stopped = stop_running(state)
    except SandboxError as problem:
        raise terminal.fail(problem) from problem
    terminal.say(f"The sandbox on {state.root} has {'stopped' if stopped else 'not been running'}.")


def reset(
    state_dir: StateFolder = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; delete.")] = False,
) -> None:
    """Delete a stopped sandbox's state: datasets, runs, buckets, IAM users, token and keys.

    It asks first, and deletes nothing from a folder that is not a sandbox's or has other files in it.
    """
    from lightly_sandbox.process.running import check_removable, remove

    state = _state(state_dir)
    try:
        check_removable(state)
        if not yes:
            if not sys.stdin.isatty():
                raise SandboxError(f"Nothing was deleted; give --yes to delete the state in {state.root}.")
            if not typer.confirm(f"Delete all datasets, runs, buckets and keys in {state.root}?"):
                terminal.say("Nothing was deleted.")
                raise typer.Exit(1)
        remove(state)
    except SandboxError as problem:
        raise terminal.fail(problem) from problem
    terminal.say(f"The state in {state.root} was deleted; the next `lightly-sandbox up` starts from scratch.")


def _state(given: Path | None) -> StateDir:
    return StateDir((given or default_state_dir()).absolute())
