"""``airflow lightly examples``: lists the example DAGs, and writes one where there is no file yet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lightly_provider.cli.commands import main
from lightly_provider.cli.examples import description_of, folder_of_examples

REPOSITORY = Path(__file__).parents[3]
ONBOARDING = REPOSITORY / "dags" / "lightly_s3_onboarding.py"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: str = "2") -> str:
    with pytest.raises(SystemExit, match=code):
        main(["examples", *arguments])
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_each_example_is_listed_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    main(["examples", "--output", "plain"])
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["name", "description"]
    assert [line.split()[0] for line in lines] == sorted(path.stem for path in (REPOSITORY / "dags").glob("*.py"))
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize(
    ("source", "description"),
    [
        (
            '"""### A heading\n\nText."""\nwith DAG(dag_id="x", description="What it does."):\n    pass\n',
            "What it does.",
        ),
        ('"""### A heading\n\nText."""\nDAG("x")\nraise SystemExit("it was imported")\n', "A heading"),
        ('"""### Two DAGs"""\nDAG("x", description="One.")\nDAG("y", description="Two.")\n', "Two DAGs"),
        ('"""### A heading"""\nDAG("x", description=f"{1}")\n', "A heading"),
        ("DAG('x')\n", ""),
    ],
)
def test_the_sentence_is_the_dags_description_or_the_heading(source: str, description: str, tmp_path: Path) -> None:
    path = tmp_path / "example.py"
    path.write_text(source)
    assert description_of(path) == description


def test_an_example_is_written_whole_and_never_over_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["examples", "lightly_s3_onboarding", "--to", str(tmp_path)])
    target = tmp_path / ONBOARDING.name
    assert str(target) in capsys.readouterr().out
    assert target.read_bytes() == ONBOARDING.read_bytes()

    target.write_text("mine")
    both = ["lightly_access_health", "lightly_s3_onboarding", "--to", str(tmp_path)]
    assert refused(capsys, *both).startswith(f"examples: {target} is there already, and was left as it is; remove it")
    assert target.read_text() == "mine"
    assert os.listdir(tmp_path) == [target.name], "of several, none is written"

    target.unlink()
    target.symlink_to(tmp_path / "nowhere")
    assert "is there already" in refused(capsys, "lightly_s3_onboarding", "--to", str(tmp_path))
    assert not (tmp_path / "nowhere").exists()


def test_what_is_wrong_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'lightly_s3_onboarding' or" in refused(capsys, "lightly_onboarding", "--to", str(tmp_path))
    assert refused(capsys, "lightly_s3_onboarding").startswith(
        "examples: --to is missing: name the folder for lightly_s3"
    )
    assert refused(capsys, "--to", str(tmp_path)).startswith("examples: --to is given, and no example is named; write")
    gone = refused(capsys, "lightly_s3_onboarding", "--to", str(tmp_path / "dags"))
    assert gone.startswith(f"examples: --to is '{tmp_path / 'dags'}', which does not exist; name Airflow's DAGs folder")
    (tmp_path / "file").touch()
    assert "which is not a folder" in refused(capsys, "lightly_s3_onboarding", "--to", str(tmp_path / "file"))


def test_the_examples_of_an_installed_wheel_are_in_the_package(tmp_path: Path) -> None:
    shutil.copytree(
        REPOSITORY / "lightly_provider", tmp_path / "lightly_provider", ignore=shutil.ignore_patterns("__*__")
    )
    shutil.copytree(REPOSITORY / "dags", tmp_path / "lightly_provider" / "examples")
    for name in ("__init__.py", "__main__.py", "cli/__init__.py"):
        shutil.copy(REPOSITORY / "lightly_provider" / name, tmp_path / "lightly_provider" / name)
    folder = tmp_path / "dags"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "lightly_provider", "examples", "lightly_s3_onboarding", "--to", str(folder)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert (folder / ONBOARDING.name).read_bytes() == ONBOARDING.read_bytes()
    assert folder_of_examples() == REPOSITORY / "dags"
