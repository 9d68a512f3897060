"""Resolve the constraints of each Airflow in ``matrix.toml``: `make constraints-matrix`.

A file holds what ``pip install airflow-provider-lightly`` and the tests would have got on the day of Airflow's release,
but for the packages that the provider needs newer. Only names and versions are kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from release.matrix import CONSTRAINTS, declared, requirements


def resolve(row: dict[str, Any], uv: str) -> str:
    """The lines of the file of one entry of ``matrix.toml``."""
    exempt = [f"--exclude-newer-package={package}={day}" for package, day in row.get("newer", {}).items()]
    resolved = subprocess.run(
        [
            *(uv, "pip", "compile", "--quiet", "--python", sys.executable, "--exclude-newer", row["cut"], *exempt),
            *("--no-header", "--no-annotate", "-"),
        ],
        input="\n".join(requirements(row)),
        capture_output=True,
        text=True,
        check=False,
    )
    if resolved.returncode:
        sys.exit(f"Airflow {row['version']} could not be resolved as of {row['cut']}:\n{resolved.stderr.strip()}")
    return resolved.stdout


def main() -> int:
    """Write the files of all versions, or of those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("versions", nargs="*", help="versions of Airflow (default: all of matrix.toml)")
    chosen = parser.parse_args().versions
    uv = str(Path(sys.executable).with_name("uv"))
    for row in declared()["airflow"]:
        if not chosen or row["version"] in chosen:
            text = resolve(row, uv)
            (CONSTRAINTS / f"airflow-{row['version']}.txt").write_text(text, encoding="utf-8")
            print(f"Airflow {row['version']} as of {row['cut']}: {len(text.splitlines())} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
