"""The active-learning example, as a DAG of Airflow that asks for an approval."""

from __future__ import annotations

from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[3] / "dags" / "lightly_active_learning.py"
SOURCE = EXAMPLE.read_text()
ASKING = SOURCE.replace("\nASK_FOR_APPROVAL = False\n", "\nASK_FOR_APPROVAL = True\n")
if ASKING == SOURCE:
    raise ValueError(f"{EXAMPLE} has no constant ASK_FOR_APPROVAL that could be changed.")
exec(compile(ASKING, EXAMPLE.name, "exec"))
