"""The fleet's file of ``make demo-fleet``, and of ``make airflow``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

N_SELECTED = 3


def write_fleet_file(path: Path, datasets: Iterable[tuple[str, str, str]]) -> None:
    """
    Write a fleet's file, whose datasets have a run of the worker each.

    :param path: The file.
    :param datasets: The name, the input and the output of each dataset.
    """
    selection = {
        "n_samples": N_SELECTED,
        "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}],
    }
    lines = ["defaults:", "  access: lightly_bucket", f"  selection: {json.dumps(selection)}", "datasets:"]
    for name, input_path, output_path in datasets:
        lines += [f"  - name: {name}", f"    input: {input_path}", f"    output: {output_path}"]
    path.write_text("\n".join(lines) + "\n")
