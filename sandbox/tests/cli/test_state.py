"""``lightly-sandbox status``, ``stop`` and ``reset`` as they are typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lightly_sandbox.errors import SandboxError
from lightly_sandbox.process.running import check_removable, remove, running, stop
from lightly_sandbox.process.state_dir import StateDir
from tests.lab.sandbox import Process

if TYPE_CHECKING:
    from pathlib import Path


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "lightly_sandbox", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    """A folder as a stopped sandbox leaves it."""
    state = StateDir(tmp_path / "state")
    with state.locked():
        state.credentials()
        (state.aws / "s3").mkdir()
        (state.aws / "s3" / "object").write_text("bytes")
    (state.root / "platform.sqlite-wal").touch()
    return state


@pytest.mark.exhaustive(sample="test_a_folder_that_a_process_holds_is_in_use")
def test_a_sandbox_is_shown_stopped_and_reset(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    option = ("--state-dir", str(folder))
    process = Process.start(folder, "--workers", "1")
    try:
        ready = process.ready()
        shown = typed("status", *option)
        assert shown.returncode == 0, shown.stderr
        for said in (
            ready["lightly_url"],
            ready["aws_url"],
            "sandbox-worker-1 ",
            "datasets  0",
            str(ready["pid"]),
        ):
            assert said in shown.stdout
        assert ready["token"] not in shown.stdout

        refused = typed("reset", *option, "--yes")
        assert (refused.returncode, "stop it first" in refused.stderr) == (1, True)

        stopped = typed("stop", *option)
        assert (stopped.returncode, stopped.stdout.strip()) == (0, f"The sandbox on {folder} has stopped.")
        assert process.popen.wait(10) == 0
    finally:
        process.stop()
    assert typed("status", *option).returncode == 3
    assert "has not been running" in typed("stop", *option).stdout

    unconfirmed = typed("reset", *option)
    assert (unconfirmed.returncode, "--yes" in unconfirmed.stderr) == (1, True)
    assert (folder / "platform.sqlite").exists()
    assert typed("reset", *option, "--yes").returncode == 0
    assert not folder.exists()


def test_a_folder_that_a_process_holds_is_in_use(state: StateDir) -> None:
    assert running(state) is None
    with state.locked():
        found = running(state)
        assert found is not None
        assert (found.pid, found.ready_file) == (os.getpid(), state.ready_file)
        with pytest.raises(SandboxError, match="stop it first"):
            remove(state)
    assert running(state) is None


def test_what_an_earlier_sandbox_left_in_the_lock_names_nobody(state: StateDir) -> None:
    # A killed one leaves its process id, which by now may be another process's: here, that of this test.
    state.lock.write_text(json.dumps({"pid": os.getpid(), "ready_file": str(state.ready_file)}))
    with state.held(), pytest.raises(SandboxError, match="just starting or ending"):
        stop(state)


@pytest.mark.parametrize("other", ["photo.jpg", "notes/a.txt", ".git/config", "platform.sqlite.bak"])
def test_a_folder_with_files_of_others_is_left_alone(state: StateDir, other: str) -> None:
    path = state.root / other
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(SandboxError, match="nothing was deleted"):
        remove(state)
    assert path.exists()
    assert (state.aws / "s3" / "object").exists()


@pytest.mark.parametrize("credentials", [None, "", "[]", json.dumps({"token": "of another program"})])
def test_a_folder_that_is_no_sandboxs_is_left_alone(tmp_path: Path, credentials: str | None) -> None:
    state = StateDir(tmp_path)
    for name in ("lock", "writers.lock"):
        (tmp_path / name).touch()
    (tmp_path / "logs").mkdir()
    if credentials is not None:
        state.credentials_file.write_text(credentials)
    with pytest.raises(SandboxError, match="is not the state of a sandbox"):
        check_removable(state)
    assert state.logs.is_dir()


def test_there_is_nothing_to_reset_where_no_folder_is(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="there is nothing to reset"):
        remove(StateDir(tmp_path / "missing"))


def test_what_a_link_in_the_folder_leads_to_stays(state: StateDir, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    for entry in state.logs.iterdir():
        entry.unlink()
    state.logs.rmdir()
    state.logs.symlink_to(elsewhere)
    link = tmp_path / "link"
    link.symlink_to(state.root)

    remove(StateDir(link))

    assert (elsewhere / "precious").exists()
    assert link.is_symlink()
    assert not list(state.root.iterdir())
