"""
The pictures of the guide and the README: what each shows, and whether it still shows the current state.

Beside the pictures stands the hash of what each shows, in ``docs/pictures/pictures.json``: the sources of its DAG, its
texts and its templates, and Airflow's version. ``python -m tests_browser.pictures`` compares it with the sources, and
looks at no pixel. It needs the standard library only. ``make pictures`` takes the pictures again.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
FOLDER = REPOSITORY / "docs" / "pictures"
HASHES = FOLDER / "pictures.json"
LARGEST_BYTES = 150_000

ONBOARDING = "dags/lightly_s3_onboarding.py"
WEB = "sandbox/lightly_sandbox/web"
# What each picture shows, as file names with wildcards; after #, the one value or function of the module. Comments
# and docstrings of Python files do not count, except that the docstring of a DAG's file is shown.
SHOWS = {
    "connection_form": ["lightly_provider/get_provider_info.py#CONNECTION_FORM"],
    "trigger_form": [ONBOARDING],
    "onboarding_graph": [ONBOARDING],
    "verified": [ONBOARDING, "lightly_provider/verification/report.py"],
    "failed_verification": [
        ONBOARDING,
        "lightly_provider/verification/report.py",
        "lightly_provider/diagnosis/remedies.py",
        "lightly_provider/exceptions.py#in_lines",
    ],
    "lightly_page": [ONBOARDING, "lightly_provider/plugin/datasets.html", "lightly_provider/plugin/datasets.py"],
    "run_links": [ONBOARDING, "lightly_provider/links.py"],
    "sandbox_dataset": [f"{WEB}/templates/{page}.html" for page in ("base", "dataset", "lights", "macros")]
    + [f"{WEB}/static/pages.css"],
}


def digest(name: str) -> str:
    """
    Return the hash of what a picture shows.

    :param name: Name of the picture, without its ending.
    """
    found = hashlib.sha256()
    if name != "sandbox_dataset":
        found.update(airflow_version().encode())
    for pattern in SHOWS[name]:
        files, _, value = pattern.partition("#")
        paths = sorted(path for path in REPOSITORY.glob(files) if path.is_file())
        if not paths:
            raise FileNotFoundError(f"The picture {name} shows {pattern}, and there is no such file.")
        for path in paths:
            found.update(f"\n{path.relative_to(REPOSITORY)}\n".encode())
            found.update(_content(path, value))
    return found.hexdigest()


def airflow_version() -> str:
    """Return the version of Airflow that the pictures show."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    return next(line for line in lines if line.startswith("apache-airflow-core=="))


def outdated() -> list[str]:
    """Return a sentence for each picture that is missing, too large, or shows an older state."""
    hashes = json.loads(HASHES.read_text()) if HASHES.exists() else {}
    problems = []
    for name in SHOWS:
        path = FOLDER / f"{name}.png"
        shown = path.relative_to(REPOSITORY)
        if not path.exists():
            problems.append(f"{shown} is missing.")
        elif path.stat().st_size > LARGEST_BYTES:
            problems.append(f"{shown} has {path.stat().st_size} bytes, and may have {LARGEST_BYTES}.")
        elif hashes.get(name) != digest(name):
            problems.append(f"{shown} shows an older state of {', '.join(SHOWS[name])} or of Airflow.")
    problems += [f"docs/pictures/{path.name} is a picture that no test takes." for path in _unknown()]
    return problems


def keep(name: str, content: bytes) -> None:
    """Write a picture, and the hash of what it shows."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.png").write_bytes(content)
    hashes = json.loads(HASHES.read_text()) if HASHES.exists() else {}
    hashes = {known: hashes[known] for known in SHOWS if known in hashes} | {name: digest(name)}
    HASHES.write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")


def _unknown() -> list[Path]:
    return [path for path in sorted(FOLDER.glob("*.png")) if path.stem not in SHOWS]


def _content(path: Path, value: str) -> bytes:
    if path.suffix != ".py":
        return path.read_bytes()
    tree = ast.parse(path.read_text())
    if value:
        (found,) = (node for node in tree.body if _name(node) == value)
        return ast.unparse(found).encode()
    shown_docstring = path.parent.name == "dags"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if shown_docstring and isinstance(node, ast.Module):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree).encode()


def _name(node: ast.stmt) -> str:
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.target)
    return node.name if isinstance(node, ast.FunctionDef) else ""


def main() -> int:
    """Print what is outdated; 1 if anything is."""
    problems = outdated()
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print("Take the pictures again with `make pictures`, and look at them.", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
