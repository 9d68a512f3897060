from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from lightly_sandbox.errors import SandboxError
from lightly_sandbox.process.state_dir import StateDir

if TYPE_CHECKING:
    from pathlib import Path


def test_a_full_disk_is_said_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: full)
    with (
        pytest.raises(SandboxError, match="has 3 MiB free, and the sandbox needs"),
        StateDir(tmp_path).locked(),
    ):
        pass


def test_damaged_credentials_are_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text('{"token": ')
    with pytest.raises(SandboxError, match=r"credentials\.json is damaged; delete"):
        StateDir(tmp_path).credentials()
