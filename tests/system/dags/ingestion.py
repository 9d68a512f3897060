"""The ingestion example with a folder and a bucket of the tests; and its second DAG once more, with a pool instead."""

from __future__ import annotations

import os
import re
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[3] / "dags" / "lightly_ingestion.py"
HOME = Path(os.environ["AIRFLOW_HOME"]).parent
CONSTANTS = {
    "FOLDER": repr(str(HOME / "incoming")),
    "DESTINATION": '"s3://system-ingestion/ingested/"',
    "LIGHTLY_PATH": '"s3://system-ingestion/lightly/"',
    "POLL_INTERVAL": "1",
}
POOL = "lightly_ingested_photos"


def changed(text: str, constants: dict[str, str]) -> str:
    for name, value in constants.items():
        text, n_changed = re.subn(rf"^({name})(: [^=]+)? = .*$", rf"\1 = {value}", text, flags=re.MULTILINE)
        if n_changed != 1:
            raise ValueError(f"{EXAMPLE} has no constant {name} that could be changed.")
    return text


SOURCE = changed(EXAMPLE.read_text(), CONSTANTS)
exec(compile(SOURCE, EXAMPLE.name, "exec"))

POOLED = changed(
    SOURCE, {"POOL": repr(POOL), "DATASET_NAME": '"pooled-photos"', "LIGHTLY_PATH": '"s3://system-ingestion/pooled/"'}
)
POOLED = POOLED.replace("max_active_runs=1,", "max_active_runs=4,").replace('dag_id="lightly_', 'dag_id="pooled_')
exec(compile(POOLED, EXAMPLE.name, "exec"))
