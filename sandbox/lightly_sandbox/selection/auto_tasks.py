"""Tasks without a model: the same parts of every image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_sandbox.selection.request import AutoTask, Box

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_auto_task(task: Mapping[str, Any]) -> AutoTask:
    """Read one of a selection's ``autoTasks``, in the platform's spelling."""
    if task["type"] == "TILING":
        boxes = tiles(task["numRows"], task["numCols"], task.get("overlap") or 0.0)
    else:
        # The contract does not define the four numbers; every other bbox in it is x, y, width, height.
        boxes = tuple(Box(*box) for box in task["bboxs"])
    return AutoTask(task["name"], boxes)


def tiles(n_rows: int, n_columns: int, overlap: float) -> tuple[Box, ...]:
    """Split an image into equal tiles that cover it.

    Args:
        n_rows: at least 1.
        n_columns: at least 1.
        overlap: the overlap of neighbours, as a share of the tile (lightly 1.5.26,
            models/auto_task_tiling.py). A share of 1 or more makes every tile the whole image.
    """
    rows, columns = _spans(n_rows, overlap), _spans(n_columns, overlap)
    return tuple(Box(left, top, width, height) for top, height in rows for left, width in columns)


def _spans(count: int, overlap: float) -> list[tuple[float, float]]:
    step = max(0.0, 1.0 - overlap)
    length = 1.0 / (1.0 + (count - 1) * step)
    return [(number * step * length, length) for number in range(count)]
