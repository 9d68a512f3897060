"""Try the built wheel in a clean environment of each supported Airflow and Python: `make test-matrix`.

In each environment Airflow lists the provider, shows its form and parses its example DAGs, and the fast ones of the
operators' tests run. They are run from the unpacked sdist without the package, so that they meet the wheel.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from release.distributions import PROVIDER, REPOSITORY

CONSTRAINTS = REPOSITORY / "release" / "constraints"
TABLE = re.compile(r"(?<=<!-- the matrix: make test-matrix -->\n).*?(?=<!-- end of the matrix -->)", flags=re.DOTALL)


@dataclass(frozen=True)
class Combination:
    """An Airflow on a Python."""

    airflow: str
    python: str

    @property
    def constraints(self) -> Path:
        """The packages that are installed with it."""
        return CONSTRAINTS / f"airflow-{self.airflow}.txt"


@dataclass(frozen=True)
class Outcome:
    """What came of one combination. ``not_run``: why it was not tried, else empty."""

    combination: Combination
    not_run: str = ""
    found: dict[str, Any] | None = None
    faults: tuple[str, ...] = ()
    tests: str = ""
    seconds: float = 0.0


def declared() -> dict[str, Any]:
    """``matrix.toml``."""
    return tomllib.loads((REPOSITORY / "release" / "matrix.toml").read_text(encoding="utf-8"))


def requirements(row: dict[str, Any]) -> list[str]:
    """What an entry of ``matrix.toml`` is tried with: Airflow, the dependencies, the extras, and what the tests use."""
    configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    project, without = configuration["project"], tuple(row.get("without", ()))
    wanted = [
        f"apache-airflow=={row['version']}",
        *project["dependencies"],
        *(requirement for extra in project["optional-dependencies"].values() for requirement in extra),
        *configuration["dependency-groups"]["test"],
    ]
    return [requirement for requirement in wanted if not requirement.startswith(without)]


def combinations() -> list[Combination]:
    """All that ``matrix.toml`` names, the newest Airflow first."""
    pairs = [Combination(row["version"], python) for row in declared()["airflow"] for python in row["python"]]
    return sorted(pairs, key=lambda pair: [-int(part) for part in pair.airflow.split(".")])


def interpreter(python: str) -> str | None:
    """The interpreter of that version on the PATH, if it runs (a shim of pyenv may be there, and run nothing)."""
    found = shutil.which(f"python{python}")
    if found is None:
        return None
    asked = subprocess.run(
        [found, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() if asked.returncode == 0 else None


def unpack_without_the_package(sdist: Path, into: Path) -> Path:
    """The sdist's tests, DAGs and documents, from which ``lightly_provider`` cannot be imported."""
    with tarfile.open(sdist) as archive:
        archive.extractall(into, filter="data")
    (root,) = into.iterdir()
    shutil.rmtree(root / "lightly_provider")
    return root


class Trial:
    """One environment, from its creation to its removal."""

    def __init__(self, combination: Combination, uv: str, dist: Path, folder: Path) -> None:
        self.combination = combination
        self._uv = uv
        self._dist = dist
        self._folder = folder
        self._venv = folder / f"airflow-{combination.airflow}-python-{combination.python}"
        self._python = str(self._venv / "bin" / "python")

    def run(self, python: str, tests: list[str] | None) -> Outcome:
        """Install, check, and run the tests; None: none."""
        started = time.monotonic()
        source = unpack_without_the_package(
            self._dist / PROVIDER.file("sdist", PROVIDER.version()), self._folder / "sdist"
        )
        faults = self._install(python, with_tests=tests is not None)
        found, summary = None, ""
        if not faults:
            found, faults = self._check(source / "dags")
            if tests is not None:
                summary, failed = self._test(source, tests)
                faults += failed
        seconds = time.monotonic() - started
        return Outcome(self.combination, "", found, tuple(faults), summary, seconds)

    def _call(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        return subprocess.run(
            command, cwd=cwd or self._folder, env=environment, capture_output=True, text=True, check=False
        )

    def _install(self, python: str, *, with_tests: bool) -> list[str]:
        wheel = self._dist / PROVIDER.file("wheel", PROVIDER.version())
        (row,) = [row for row in declared()["airflow"] if row["version"] == self.combination.airflow]
        wanted = requirements(row) if with_tests else [f"apache-airflow=={self.combination.airflow}"]
        made = self._call(self._uv, "venv", "--quiet", "--python", python, str(self._venv))
        if made.returncode == 0:
            made = self._call(
                *(self._uv, "pip", "install", "--quiet", "--python", self._python),
                *("--constraint", str(self.combination.constraints), str(wheel), *wanted),
            )
        return [] if made.returncode == 0 else [f"not installed: {made.stderr.strip()}"]

    def _check(self, dags: Path) -> tuple[dict[str, Any] | None, list[str]]:
        done = self._call(self._python, "-P", str(REPOSITORY / "release" / "installed.py"), str(dags))
        try:
            answer = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            return None, [f"release/installed.py failed: {done.stderr.strip()[-2000:]}"]
        return answer["found"], answer["faults"]

    def _test(self, source: Path, tests: list[str]) -> tuple[str, list[str]]:
        done = self._call(
            *(self._python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses", "logical"),
            *("-m", "not exhaustive", *tests),
            cwd=source,
        )
        lines = done.stdout.splitlines()
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        if done.returncode and not failed:
            failed = [f"pytest failed: {(done.stdout + done.stderr)[-2000:]}"]
        return (lines[-1].strip("= ") if lines else ""), failed


def table(outcomes: list[Outcome], before: str = "") -> str:
    """
    The outcomes as a table of the guide.

    :param outcomes: What was tried.
    :param before: The table that is replaced. Of a combination that was not tried now, its row is kept. Default: none.
    """
    rows = {tuple(cells[:2]): line for line in before.splitlines() if len(cells := line.strip("| ").split(" | ")) == 4}
    for outcome in outcomes:
        combination = outcome.combination
        rows[(combination.airflow, combination.python)] = _row(outcome)
    known = [(each.airflow, each.python) for each in combinations()]
    head = ["| Airflow | Python | installed with | result |", "|---|---|---|---|"]
    return "\n".join([*head, *(rows[each] for each in known if each in rows)]) + "\n"


def _row(outcome: Outcome) -> str:
    installed = "-"
    if outcome.found is not None:
        installed = ", ".join(f"{name} {outcome.found[name]}" for name in ("amazon", "common-compat"))
    if outcome.not_run:
        result = f"not run: {outcome.not_run}"
    elif outcome.faults:
        result = f"{len(outcome.faults)} faults"
    else:
        result = re.sub(r" in [0-9.]+s.*", "", outcome.tests) or "installed, listed, form shown, DAGs parsed"
    return f"| {outcome.combination.airflow} | {outcome.combination.python} | {installed} | {result} |"


def main() -> int:
    """Try each combination, print what came of it, and optionally write the table into a document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], metavar="AIRFLOW/PYTHON", help="e.g. 3.3.2/3.11")
    parser.add_argument(
        "--without-tests", action="store_true", help="only install, list, show the form, parse the DAGs"
    )
    parser.add_argument(
        "--dist", type=Path, default=REPOSITORY / "dist", help="folder of wheel and sdist (default dist)"
    )
    parser.add_argument("--write", type=Path, help="the document whose table gets the rows of this run")
    given = parser.parse_args()
    known = combinations()
    chosen = [c for c in known if not given.only or f"{c.airflow}/{c.python}" in given.only]
    if unknown := set(given.only) - {f"{c.airflow}/{c.python}" for c in known}:
        parser.error(f"{', '.join(sorted(unknown))}: not in release/matrix.toml")
    uv = str(Path(sys.executable).with_name("uv"))
    tests = None if given.without_tests else declared()["tests"]
    outcomes = []
    for combination in chosen:
        python = interpreter(combination.python)
        if python is None:
            outcome = Outcome(combination, f"no python{combination.python} on the PATH")
        else:
            with tempfile.TemporaryDirectory(prefix="lightly-matrix-") as folder:
                outcome = Trial(combination, uv, given.dist.resolve(), Path(folder)).run(python, tests)
        outcomes.append(outcome)
        state = outcome.not_run or (f"{len(outcome.faults)} faults" if outcome.faults else "good")
        print(
            f"Airflow {combination.airflow}, Python {combination.python}: {state}"
            f"{f'; {outcome.tests}' if outcome.tests else ''} ({outcome.seconds:.0f} s)",
            flush=True,
        )
        for fault in outcome.faults:
            print(f"  - {fault}", flush=True)
    if given.write is not None:
        text = given.write.read_text(encoding="utf-8")
        if not TABLE.search(text):
            sys.exit(f"{given.write} has no place for the table: '<!-- the matrix: make test-matrix -->' and its end.")
        given.write.write_text(TABLE.sub(lambda old: table(outcomes, old[0]), text), encoding="utf-8")
    good = sum(not outcome.faults and not outcome.not_run for outcome in outcomes)
    print(f"{good} passed, {sum(bool(outcome.faults) for outcome in outcomes)} failed")
    return int(any(outcome.faults for outcome in outcomes) or good == 0)


if __name__ == "__main__":
    sys.exit(main())
