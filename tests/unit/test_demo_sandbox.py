"""The sandbox of a demo: what an earlier one left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from demo.environment import DemoError
from demo.sandbox_process import _stop_left_over

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a stand-in for the command ``lightly-sandbox`` was called with; it fails if there is a file ``fails``."""
    command, asked = tmp_path / "command", tmp_path / "asked"
    command.write_text(f'#!/bin/sh\necho "$@" > {asked}\n! test -e {tmp_path}/fails || {{ echo busy >&2; exit 1; }}\n')
    command.chmod(0o700)
    monkeypatch.setenv("LIGHTLY_SANDBOX", str(command))
    return asked


def test_only_the_sandbox_itself_decides_which_process_is_stopped(tmp_path: Path, asked: Path) -> None:
    """The process id in the file may be another process's by now, even of one that names lightly-sandbox."""
    ready_file = tmp_path / "ready.json"
    with subprocess.Popen([sys.executable, "-c", "input()", "lightly-sandbox"], stdin=subprocess.PIPE) as other:
        names = ("lightly_url", "token", "web_url", "aws_url", "aws_access_key_id", "aws_secret_access_key", "region")
        ready_file.write_text(json.dumps({**dict.fromkeys(names, ""), "pid": other.pid}))
        _stop_left_over(tmp_path / "state", ready_file)
        assert other.poll() is None
        other.kill()
    assert asked.read_text().split() == ["stop", "--state-dir", str(tmp_path / "state")]
    assert not ready_file.exists()


def test_a_sandbox_that_does_not_end_is_an_error_with_its_words(tmp_path: Path, asked: Path) -> None:
    (tmp_path / "fails").touch()
    ready_file = tmp_path / "ready.json"
    ready_file.touch()
    with pytest.raises(DemoError, match="could not be stopped: busy"):
        _stop_left_over(tmp_path / "state", ready_file)
    assert asked.exists()


def test_without_a_ready_file_nothing_is_asked(tmp_path: Path, asked: Path) -> None:
    _stop_left_over(tmp_path / "state", tmp_path / "ready.json")
    assert not asked.exists()
