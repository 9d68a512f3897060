"""Resolve the constraints of each Airflow in ``matrix.toml``: `make constraints-matrix`.

A file holds what ``pip install airflow-provider-lightly`` and the tests would have got on the day of Airflow's release,
but for the packages that the provider needs newer. Only names and versions are kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path

from release.distributions import REPOSITORY
from release.matrix import CONSTRAINTS, declared


def requirements(airflow: str) -> str:
    """What is resolved: this Airflow, the provider with all extras, and its tests."""
    configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    project = configuration["project"]
    extras = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    wanted = [
        f"apache-airflow=={airflow}",
        *project["dependencies"],
        *extras,
        *configuration["dependency-groups"]["test"],
    ]
    return "\n".join(wanted) + "\n"


def resolve(airflow: str, cut: str, newer: dict[str, str], uv: str) -> str:
    """The lines of the file."""
    exempt = [f"--exclude-newer-package={package}={day}" for package, day in newer.items()]
    resolved = subprocess.run(
        [
            *(uv, "pip", "compile", "--quiet", "--python", sys.executable, "--exclude-newer", cut, *exempt),
            *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "-"),
        ],
        input=requirements(airflow),
        capture_output=True,
        text=True,
        check=False,
    )
    if resolved.returncode:
        sys.exit(f"Airflow {airflow} could not be resolved as of {cut}:\n{resolved.stderr.strip()}")
    return resolved.stdout


def main() -> int:
    """Write the files of all versions, or of those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("versions", nargs="*", help="versions of Airflow (default: all of matrix.toml)")
    chosen = parser.parse_args().versions
    uv = str(Path(sys.executable).with_name("uv"))
    for row in declared()["airflow"]:
        if not chosen or row["version"] in chosen:
            text = resolve(row["version"], row["cut"], row.get("newer", {}), uv)
            (CONSTRAINTS / f"airflow-{row['version']}.txt").write_text(text, encoding="utf-8")
            print(f"Airflow {row['version']} as of {row['cut']}: {len(text.splitlines())} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
