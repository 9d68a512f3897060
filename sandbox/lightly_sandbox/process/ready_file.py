"""The file that ``lightly-sandbox up`` writes when everything is ready: addresses, token, keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lightly_sandbox.errors import SandboxError
from lightly_sandbox.process.state_dir import StateDir, default_state_dir

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MEMBERS = ("lightly_url", "token", "aws_url", "aws_access_key_id", "aws_secret_access_key", "region")


def default_ready_file() -> Path:
    """Return the path of the file that ``up`` writes by default."""
    return StateDir(default_state_dir()).ready_file


def read_ready_file(path: Path) -> Mapping[str, str]:
    """Return what ``up`` wrote.

    Raises:
        SandboxError: the file does not exist, or is not a ready file.
    """
    try:
        ready = json.loads(path.read_text())
    except FileNotFoundError as missing:
        option = "" if path == default_ready_file() else f" --ready-file {path}"
        raise SandboxError(f"There is no file {path}; start `lightly-sandbox up{option}` first.") from missing
    except (OSError, ValueError) as wrong:
        raise SandboxError(f"The file {path} is not what `lightly-sandbox up` writes: {wrong}") from wrong
    members = ready if isinstance(ready, dict) else {}
    if lacking := [name for name in _MEMBERS if not isinstance(members.get(name), str)]:
        raise SandboxError(
            f"The file {path} is not what `lightly-sandbox up` writes: it lacks {', '.join(lacking)}; give "
            "another --ready-file."
        )
    return members
