"""``airflow lightly examples``: the example DAGs that come with the provider."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lightly_provider.cli.answer import Answer, Section
from lightly_provider.cli.command import Argument, Command
from lightly_provider.cli.exit_codes import ExitCode
from lightly_provider.cli.refusals import CommandError
from lightly_provider.foreign_text import shown
from lightly_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    import argparse

_PACKAGE = Path(__file__).parents[1]


def run(arguments: argparse.Namespace) -> Answer:
    """List the examples, or copy some."""
    folder = folder_of_examples()
    examples = {path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}
    if not arguments.name and arguments.to is not None:
        raise CommandError(f"--to is given, and no example is named; write one of {', '.join(examples)} before it.")
    for name in arguments.name:
        if name not in examples:
            hint = did_you_mean(name, examples, n=3, otherwise=f"there are {', '.join(examples)}.")
            raise CommandError(f"There is no example {shown(name, longest=200)!r}; {hint}")
    if arguments.name and arguments.to is None:
        raise CommandError(
            f"--to is missing: name the folder for {arguments.name[0]}.py, e.g. --to $AIRFLOW_HOME/dags."
        )
    if arguments.name:
        return _copied([examples[name] for name in dict.fromkeys(arguments.name)], arguments.to)
    rows = [{"name": name, "description": description_of(path)} for name, path in examples.items()]
    return Answer(sections=[Section(rows=rows)], data=rows)


def folder_of_examples() -> Path:
    """Return the folder of the example DAGs: in an installed wheel, or in a checkout."""
    installed, checkout = _PACKAGE / "examples", _PACKAGE.parent / "dags"
    return installed if installed.is_dir() else checkout


def description_of(path: Path) -> str:
    """
    Return what an example does, in a sentence, without importing it: a DAG's description, or else the module's heading.

    :param path: File of the example.
    """
    module = ast.parse(path.read_text(encoding="utf-8"))
    given = [
        keyword.value.value
        for call in ast.walk(module)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ("DAG", "dag")
        for keyword in call.keywords
        if keyword.arg == "description"
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, str)
    ]
    # A file with several DAGs is described by its heading.
    text = given[0] if len(given) == 1 else (ast.get_docstring(module) or "").split("\n\n")[0]
    return re.sub(r"^#+\s*", "", " ".join(text.split()))


def _copied(paths: list[Path], to: str) -> Answer:
    folder = Path(to).expanduser()
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise CommandError(
            f"--to is {shown(to, longest=500)!r}, which {what}; name Airflow's DAGs folder, or create it."
        )
    targets = [folder / path.name for path in paths]
    for target in targets:
        if os.path.lexists(target):
            raise CommandError(_is_there(target))
    rows = []
    for path, target in zip(paths, targets, strict=True):
        _write_new(target, path.read_bytes())
        rows.append({"name": path.stem, "file": str(target)})
    return Answer(sections=[Section(rows=rows)], data=rows)


def _write_new(target: Path, content: bytes) -> None:
    try:
        with target.open("xb") as file:
            try:
                file.write(content)
                file.flush()
            except BaseException:
                target.unlink()  # it was not there before
                raise
    except FileExistsError:
        raise CommandError(_is_there(target)) from None
    except OSError as error:
        raise CommandError(
            f"{shown(target, longest=500)} cannot be written: {error.strerror or type(error).__name__}; choose a "
            "folder in which you may write.",
            ExitCode.DENIED,
        ) from None


def _is_there(target: Path) -> str:
    return f"{shown(target, longest=500)} is there already, and was left as it is; remove it, or choose another folder."


COMMAND = Command(
    name="examples",
    summary="List the example DAGs of this provider, or copy one into the DAGs folder.",
    arguments=(
        Argument("name", nargs="*", metavar="NAME", help="Example to copy. Default: list all."),
        Argument("--to", metavar="FOLDER", help="Folder to copy to. A file that is there is never replaced."),
    ),
    examples=(
        ("what there is", "examples"),
        ("a DAG to begin with", "examples lightly_s3_onboarding --to $AIRFLOW_HOME/dags"),
    ),
    run=run,
)
