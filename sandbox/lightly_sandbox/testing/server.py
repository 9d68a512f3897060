"""A sandbox in its own process for the duration of the tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import site
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightly_sandbox.process.installation import missing_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = "lightly-sandbox"
EXECUTABLE = "LIGHTLY_SANDBOX"
"""The environment variable that names the command, if it is installed in another environment."""

START_SECONDS = 90.0
STOP_SECONDS = 30.0


class SandboxNotStarted(Exception):
    """The sandbox does not start, with the reason."""


def executable() -> str:
    """Return the command: the one in the variable, this environment's own, or the one on the PATH.

    Raises:
        SandboxNotStarted: the command does not exist.
    """
    named = os.environ.get(EXECUTABLE)
    if named:
        found = shutil.which(named)
    elif missing_parts():
        found = _apart()
    else:
        own = Path(sys.executable).with_name(COMMAND)
        found = str(own) if own.exists() else shutil.which(COMMAND)
    if found is None:
        raise SandboxNotStarted(
            f"The command {named or COMMAND} is not installed. Install it separately (`uv "
            "tool install ./sandbox` in a checkout), or set the environment variable "
            f"{EXECUTABLE} to its path."
        )
    return found


def _apart() -> str | None:
    """Return the first command on the PATH outside this environment, which has only the plugin.

    In an activated environment, its own folder is first on the PATH.
    """
    own = [Path(sys.executable).with_name(COMMAND), Path(site.getuserbase(), "bin", COMMAND)]
    for folder in os.get_exec_path():
        found = shutil.which(COMMAND, path=folder)
        if found and not any(path.exists() and path.samefile(found) for path in own):
            return found
    return None


@dataclass(frozen=True, slots=True)
class SandboxServer:
    """The addresses of the running sandbox, and the token and keys of its first user, shared by all tests."""

    lightly_url: str
    web_url: str
    aws_url: str
    region: str
    token: str = field(repr=False)
    aws_access_key_id: str
    aws_secret_access_key: str = field(repr=False)
    command: str

    @classmethod
    @contextlib.contextmanager
    def started(cls, state_dir: Path, options: tuple[str, ...] = ()) -> Iterator[SandboxServer]:
        """Start a sandbox with its state in ``state_dir``, and stop it at the end.

        Raises:
            SandboxNotStarted: with the last lines of its output.
        """
        command = executable()
        state_dir.mkdir(mode=0o700, parents=True)
        ready_file, log = state_dir / "ready.json", state_dir / "up.log"
        arguments = ["up", "--state-dir", str(state_dir), "--ready-file", str(ready_file), "--workers", "0"]
        # The pipe is its lifeline: the sandbox ends with this process, however that ends.
        arguments += ["--until-stdin-closes", "--hide-secrets", *options]
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 (the command that the user installed)
                [command, *arguments], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            ready = _ready(process, ready_file, log)
            yield cls(
                **{name: ready[name] for name in cls.__dataclass_fields__ if name in ready}, command=command
            )
        finally:
            _stop(process)


def _ready(process: subprocess.Popen[bytes], ready_file: Path, log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    while not ready_file.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            said = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise SandboxNotStarted(f"The sandbox did not start. The last lines of {log}:\n{said}")
        time.sleep(0.05)
    ready: dict[str, Any] = json.loads(ready_file.read_text())
    return ready


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
