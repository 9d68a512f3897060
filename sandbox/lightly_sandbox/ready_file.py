"""The file that ``lightly-sandbox up`` writes when everything answers: addresses, token, keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lightly_sandbox.errors import SandboxError
from lightly_sandbox.state_dir import StateDir, default_state_dir

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def default_ready_file() -> Path:
    """The file that ``up`` writes when it is not told where."""
    return StateDir(default_state_dir()).ready_file


def read_ready_file(path: Path) -> Mapping[str, str]:
    """What ``up`` wrote.

    Raises:
        SandboxError: there is no such file, or it is not one of ours.
    """
    try:
        ready: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError as missing:
        raise SandboxError(
            f"There is no file {path}; start `lightly-sandbox up --ready-file {path}` first."
        ) from missing
    except (OSError, ValueError) as wrong:
        raise SandboxError(f"The file {path} is not what `lightly-sandbox up` writes: {wrong}") from wrong
    return ready
