"""Finds the ``up`` that runs on a state folder, stops it, and removes the folder of one that does not run."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightly_sandbox.errors import SandboxError
from lightly_sandbox.process.state_dir import Credentials

if TYPE_CHECKING:
    from lightly_sandbox.process.state_dir import StateDir

STOP_SECONDS = 60.0


class HolderUnknown(SandboxError):
    """Something holds the folder's lock that does not say what it is."""


@dataclass(frozen=True, slots=True)
class Running:
    """An ``up`` that runs, and the file that it writes when all servers answer."""

    pid: int
    ready_file: Path


def running(state: StateDir) -> Running | None:
    """Return the ``up`` that holds the folder's lock; None if there is none.

    Raises:
        HolderUnknown: something holds the lock that does not say what it is.
        SandboxError: the folder cannot be read.
    """
    try:
        with state.lock.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return _said_in(lock.read(), state)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as failed:
        raise SandboxError(f"The state folder {state.root} cannot be read: {failed.strerror}.") from failed
    return None


def _said_in(content: str, state: StateDir) -> Running:
    try:
        said = json.loads(content)
        return Running(int(said["pid"]), Path(said["ready_file"]))
    except (ValueError, LookupError, TypeError) as unknown:
        raise HolderUnknown(
            f"A process that is just starting or ending, or an older lightly-sandbox, uses {state.root}; try "
            "again, or stop it with Ctrl-C where it runs."
        ) from unknown


def stop(state: StateDir) -> bool:
    """Stop the ``up`` on the folder and wait for its end; False if none runs.

    Raises:
        SandboxError: it may not be stopped, or does not end.
    """
    found = running(state)
    if found is None:
        return False
    try:
        os.kill(found.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # It has ended in the meantime.
    except PermissionError as refused:
        raise SandboxError(
            f"The sandbox on {state.root} (process {found.pid}) is another user's; its user can stop it."
        ) from refused
    deadline = time.monotonic() + STOP_SECONDS
    while _still(state, found):
        if time.monotonic() > deadline:
            raise SandboxError(
                f"The sandbox on {state.root} (process {found.pid}) has not ended in {STOP_SECONDS:.0f} s; "
                f"see {state.logs}."
            )
        time.sleep(0.05)
    return True


def _still(state: StateDir, found: Running) -> bool:
    try:
        return running(state) == found
    except HolderUnknown:
        return False  # Another one has the folder now, and has not said yet what it is.


def check_removable(state: StateDir) -> None:
    """Check that a folder is the state of a sandbox and holds nothing else.

    Raises:
        SandboxError: it is not, or a sandbox runs on it.
    """
    if not state.root.is_dir():
        raise SandboxError(f"There is no folder {state.root}; there is nothing to reset.")
    if running(state) is not None:
        raise SandboxError(
            f"A sandbox runs on {state.root}; stop it first: lightly-sandbox stop --state-dir {state.root}"
        )
    try:
        Credentials(**json.loads(state.credentials_file.read_text()))
        is_ours = state.lock.is_file()
    except (OSError, ValueError, TypeError):
        is_ours = False
    if not is_ours:
        raise SandboxError(
            f"The folder {state.root} is not the state of a sandbox, so nothing was deleted; give the folder "
            "of an earlier `lightly-sandbox up` as --state-dir."
        )
    if others := sorted(entry.name for entry in state.root.iterdir() if not _is_own(state, entry)):
        named = ", ".join(repr(name) for name in others[:5])
        raise SandboxError(
            f"The folder {state.root} also has what no sandbox made ({named}), so nothing was deleted; move "
            "that elsewhere first."
        )


def _is_own(state: StateDir, entry: Path) -> bool:
    """Whether ``up`` makes an entry of this name; SQLite and ``write_privately`` add files beside theirs."""
    own = (state.database, state.aws, state.logs, state.ready_file, state.credentials_file)
    beside = (
        *(re.escape(state.database.name) + suffix for suffix in ("-wal", "-shm", "-journal")),
        *(rf"\.{re.escape(file.name)}\.[0-9]+" for file in (state.ready_file, state.credentials_file)),
    )
    return entry in (*own, state.lock, state.writers_lock) or any(
        re.fullmatch(pattern, entry.name) for pattern in beside
    )


def remove(state: StateDir) -> None:
    """Delete the state of a sandbox that does not run, and its folder.

    Raises:
        SandboxError: as ``check_removable``, or the folder cannot be emptied.
    """
    check_removable(state)
    try:
        with state.held():
            # Once more: something may have been put there before the folder was locked.
            locks = (state.lock, state.writers_lock)
            for entry in (*(one for one in state.root.iterdir() if one not in locks), *locks):
                if not _is_own(state, entry):
                    raise SandboxError(f"{entry} was just put there and no sandbox made it; it was kept.")
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)
        if not state.root.is_symlink():
            state.root.rmdir()
    except OSError as failed:
        raise SandboxError(f"{failed.filename} cannot be deleted: {failed.strerror}.") from failed
