"""The folder in which a sandbox stores everything, for one ``up`` at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lightly_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDED_FREE_BYTES = 200 * 1024 * 1024
WRITERS_END_SECONDS = 20.0
"""More than the grace that ``lifeline`` gives a process whose supervisor is gone."""
HELD_SECONDS = 0.5
"""``lightly-sandbox status`` holds the lock for a moment to find out whether it is held."""

# Only this user may read them: the logs contain file names, the databases the datasources' keys.
PRIVATE_DIR, PRIVATE_FILE = 0o700, 0o600


def default_state_dir() -> Path:
    """Return the default folder (XDG Base Directory Specification: XDG_STATE_HOME)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "lightly-sandbox"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The secrets that stay the same from one ``up`` to the next.

    The key pairs are empty until the AWS accounts are created.
    """

    token: str = field(repr=False)
    signing_key: str = field(repr=False)
    root_key: str = field(repr=False)
    customer_access_key_id: str = ""
    customer_secret_access_key: str = field(default="", repr=False)
    lightly_access_key_id: str = ""
    lightly_secret_access_key: str = field(default="", repr=False)

    def dumped(self) -> bytes:
        """Return them as JSON, for the standard input of a child process."""
        return json.dumps(asdict(self)).encode()


def read_credentials(stream: TextIO) -> Credentials:
    """Read what ``Credentials.dumped`` returned. A child gets its secrets this way, never as arguments."""
    return Credentials(**json.load(stream))


class StateDir:
    """The paths below the folder, and the secrets stored in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "platform.sqlite"
        self.aws = root / "aws"
        self.logs = root / "logs"
        self.ready_file = root / "ready.json"
        self.lock = root / "lock"
        self.writers_lock = root / "writers.lock"
        self.credentials_file = root / "credentials.json"

    @contextlib.contextmanager
    def locked(self, ready_file: Path | None = None) -> Iterator[int]:
        """Create the folder if necessary, and lock it for this ``up``, whose ready file is ``ready_file``.

        Yields a descriptor that the processes that write to the folder inherit: as long as one of them holds
        it, even after this process was killed, the next ``up`` waits.

        Raises:
            SandboxError: the folder cannot be created or written to, is in use, or the disk is full.
        """
        try:
            for folder in (self.root, self.aws, self.logs):
                folder.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        except OSError as failed:
            raise self._unusable(failed) from failed
        with self.held() as (lock, writers):
            free = shutil.disk_usage(self.root).free
            if free < NEEDED_FREE_BYTES:
                raise SandboxError(
                    f"The disk of {self.root} has {free // 2**20} MiB free, and the sandbox needs "
                    f"{NEEDED_FREE_BYTES // 2**20} MiB; make room, or give another --state-dir."
                )
            holder = {"pid": os.getpid(), "ready_file": str(ready_file or self.ready_file)}
            lock.write(json.dumps(holder))
            lock.flush()
            yield writers.fileno()

    @contextlib.contextmanager
    def held(self) -> Iterator[tuple[TextIO, TextIO]]:
        """Lock the folder, which must exist, and wait for the processes that still write to it.

        Yields the two lock files.

        Raises:
            SandboxError: the folder cannot be written to, or is in use.
        """
        try:
            lock = self.lock.open("a+")
        except OSError as failed:
            raise self._unusable(failed) from failed
        with lock:
            if not _lock(lock, HELD_SECONDS):
                raise SandboxError(
                    f"The state folder {self.root} is in use by another lightly-sandbox; stop that one, "
                    "or give another --state-dir."
                )
            # It may still name an earlier holder, whose process id may be another process's by now.
            lock.truncate(0)
            with self.writers_lock.open("a+") as writers:
                if not _lock(writers, WRITERS_END_SECONDS):
                    raise SandboxError(
                        f"Processes of a sandbox that was killed still write to {self.root} after "
                        f"{WRITERS_END_SECONDS:.0f} s; end them, or give another --state-dir."
                    )
                yield lock, writers

    def _unusable(self, failed: OSError) -> SandboxError:
        return SandboxError(
            f"The state folder {self.root} cannot be used: {failed.strerror}. Give another --state-dir."
        )

    def credentials(self) -> Credentials:
        """Return the secrets of this folder; the first call creates them.

        Raises:
            SandboxError: the file with the secrets is damaged.
        """
        try:
            return Credentials(**json.loads(self.credentials_file.read_text()))
        except FileNotFoundError:
            made = Credentials(secrets.token_hex(24), secrets.token_hex(32), secrets.token_hex(32))
            self.keep(made)
            return made
        except (ValueError, TypeError) as damaged:
            raise SandboxError(
                f"The file {self.credentials_file} is damaged; delete {self.root} to start from scratch."
            ) from damaged

    def keep(self, credentials: Credentials) -> None:
        """Store the secrets."""
        write_privately(self.credentials_file, asdict(credentials))


def _lock(file: TextIO, seconds: float) -> bool:
    """Lock the file for this process; False if another one still holds it after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        else:
            return True


def check_writable(path: Path, option: str) -> None:
    """Check that ``write_privately`` can write ``path``, without creating it; ``option`` is its option.

    Raises:
        SandboxError: it cannot.
    """
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary.touch(PRIVATE_FILE)
        temporary.unlink()
    except OSError as failed:
        raise SandboxError(
            f"The file {path} cannot be written: {failed.strerror}. Give another {option}."
        ) from failed


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")


def write_privately(path: Path, content: dict[str, object]) -> None:
    """Write JSON atomically, readable only by this user."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=1)
    temporary.replace(path)
