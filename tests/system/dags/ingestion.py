"""The ingestion example with a folder and a bucket of the tests."""

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


def changed(text: str, constants: dict[str, str]) -> str:
    for name, value in constants.items():
        text, n_changed = re.subn(rf"^({name})(: [^=]+)? = .*$", rf"\1 = {value}", text, flags=re.MULTILINE)
        if n_changed != 1:
            raise ValueError(f"{EXAMPLE} has no constant {name} that could be changed.")
    return text


exec(compile(changed(EXAMPLE.read_text(), CONSTANTS), EXAMPLE.name, "exec"))
