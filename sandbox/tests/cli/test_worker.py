"""``lightly-sandbox worker``: from any folder, with nothing but an address and a token."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.sandbox import Api, wait_until
from tests.lab.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.lab.worker import Lab, Place

CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("LIGHTLY_", "AWS_", "PYTHONPATH"))
}


def _command(*options: str) -> list[str]:
    return [str(Path(sys.executable).with_name("lightly-sandbox")), "worker", *options]


@contextmanager
def _worker(folder: Path, *options: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that is started in ``folder``, which is empty."""
    folder.mkdir()
    path = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    with (folder.parent / "log").open("ab") as output:
        process = subprocess.Popen(
            _command("--poll-interval", "0.05", *options),
            cwd=folder,
            env={**CLEAN, **path, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _works(lab: Lab, place: Place, label: str) -> None:
    docker = {"useDatapool": True, "uploadReport": False}
    scheduled_id = lab.schedule(place.dataset_id, docker=docker, nSamples=2, runs_on=(label,))
    assert lab.wait(place.dataset_id, scheduled_id)["state"] == "COMPLETED"


@pytest.mark.parametrize("way", thinned(["--token", "LIGHTLY_TOKEN", "--token-file", "--ready-file"], keep=1))
def test_a_worker_runs_anywhere_with_an_address_and_a_token(
    lab: Lab, place: Place, ready: Mapping[str, Any], tmp_path: Path, way: str
) -> None:
    label, environment = secrets.token_hex(8), {}
    options = ["--name", f"{way.strip('-')} {label}", "--label", label]
    if way == "--ready-file":
        command = Path(f"/proc/{ready['pid']}/cmdline").read_text().split("\0")
        options += ["--ready-file", command[command.index("--ready-file") + 1]]
        environment = {"LIGHTLY_SERVER_LOCATION": "http://127.0.0.1:9", "LIGHTLY_TOKEN": "of-another"}
    else:
        options += ["--url", lab.api.url]
    if way == "LIGHTLY_TOKEN":
        environment = {"LIGHTLY_TOKEN": lab.api.token}
    if way == "--token":
        options += ["--token", lab.api.token]
    if way == "--token-file":
        (tmp_path / "token").write_text(f"{lab.api.token}\n")
        options += ["--token-file", str(tmp_path / "token")]
        environment = {"LIGHTLY_TOKEN": "of-another"}
    with _worker(tmp_path / "elsewhere", *options, **environment) as worker:
        _works(lab, place, label)
        arguments = Path(f"/proc/{worker.pid}/cmdline").read_text()
    assert worker.returncode == 0
    assert (lab.api.token in arguments) == (way == "--token")
    assert lab.api.token not in (tmp_path / "log").read_text()
    assert list((tmp_path / "elsewhere").iterdir()) == [], "it leaves nothing behind"


@pytest.mark.exhaustive(sample="test_a_worker_runs_anywhere_with_an_address_and_a_token")
@pytest.mark.exhaustive(sample="test_a_worker_runs_anywhere_with_an_address_and_a_token")
def test_the_vendors_variables_are_enough(lab: Lab, place: Place, tmp_path: Path) -> None:
    label = secrets.token_hex(8)
    variables = {"LIGHTLY_SERVER_LOCATION": lab.api.url + "/", "LIGHTLY_TOKEN": lab.api.token}
    with _worker(tmp_path / "elsewhere", "--name", f"two {label}", "--label", label, **variables):
        _works(lab, place, label)


@pytest.mark.exhaustive(sample="test_a_worker_runs_anywhere_with_an_address_and_a_token")
@pytest.mark.parametrize("way", thinned(["--worker-id", "LIGHTLY_WORKER_ID"], keep=1))
def test_a_worker_can_be_one_that_is_registered_already(
    lab: Lab, place: Place, tmp_path: Path, way: str
) -> None:
    label = secrets.token_hex(8)
    body = {"name": f"registered {label}", "workerType": "FULL", "labels": [label]}
    worker_id = lab.api.ok("POST", "/v1/docker/worker", body)["id"]
    options = ["--url", lab.api.url, *(("--worker-id", worker_id) if way == "--worker-id" else ())]
    variables = {"LIGHTLY_TOKEN": lab.api.token, **({} if options[2:] else {"LIGHTLY_WORKER_ID": worker_id})}
    with _worker(tmp_path / "elsewhere", *options, **variables):
        _works(lab, place, label)
    (registered,) = [w for w in lab.api.ok("GET", "/v1/docker/worker") if label in w["labels"]]
    assert (registered["id"], registered["name"]) == (worker_id, body["name"])


@pytest.mark.exhaustive(sample="test_a_worker_runs_anywhere_with_an_address_and_a_token")
def test_of_a_sandbox_that_was_started_without_options_nothing_need_be_said(
    lab: Lab, place: Place, ready: Mapping[str, Any], tmp_path: Path
) -> None:
    label, state = secrets.token_hex(8), tmp_path / "lightly-sandbox"
    state.mkdir()
    (state / "ready.json").write_text(json.dumps(ready))
    options = ("--name", f"home {label}", "--label", label)
    with _worker(tmp_path / "elsewhere", *options, XDG_STATE_HOME=str(tmp_path)):
        _works(lab, place, label)


def _refused(*options: str, **environment: str) -> str:
    path = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    ended = subprocess.run(
        _command(*options),
        env={**CLEAN, **path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended.stderr


@pytest.mark.exhaustive(sample="test_a_worker_runs_anywhere_with_an_address_and_a_token")
def test_what_is_missing_is_said_in_a_sentence(api: Api, tmp_path: Path) -> None:
    assert "give --url" in _refused(LIGHTLY_TOKEN="some")
    assert "LIGHTLY_TOKEN" in _refused("--url", api.url)
    nowhere = tmp_path / "not-there"
    assert f"{nowhere} cannot be read" in _refused("--url", api.url, "--token-file", str(nowhere))
    (tmp_path / "empty").write_text("\n")
    assert "is empty" in _refused("--url", api.url, "--token-file", str(tmp_path / "empty"))


@pytest.mark.exhaustive(sample="test_a_worker_runs_anywhere_with_an_address_and_a_token")
def test_a_worker_that_is_registered_already_takes_no_labels_and_must_be_there(api: Api) -> None:
    unknown = "0" * 24
    assert "remove --label" in _refused("--url", api.url, "--label", "gpu", LIGHTLY_WORKER_ID=unknown)
    said = _refused("--url", api.url, "--worker-id", unknown, LIGHTLY_TOKEN=api.token)
    assert "HTTP 404" in said


def test_a_wrong_token_is_refused_without_being_shown(api: Api) -> None:
    wrong = "canary-that-is-no-token"
    said = _refused("--url", api.url, "--name", "impostor", LIGHTLY_TOKEN=wrong)
    assert "HTTP 401" in said
    assert wrong not in said


@pytest.mark.parametrize(
    "address",
    thinned(
        [
            "nonsense",
            "127.0.0.1:9",
            "ftp://127.0.0.1:9",
            "http://",
            "http://[bad",
            "http://127.0.0.1:port",
            "http://user:canary@127.0.0.1:9",
            "http://127.0.0.1:9/?token=canary",
        ],
        keep=2,
        covering=lambda address: "canary" in address,
    ),
)
def test_what_is_no_address_is_refused_at_once_and_not_shown(address: str) -> None:
    said = _refused("--url", address, LIGHTLY_TOKEN="some")
    assert "must have the form http://HOST:PORT" in said
    assert "canary" not in said


@pytest.mark.exhaustive(sample="test_a_worker_runs_anywhere_with_an_address_and_a_token")
def test_a_worker_ends_with_the_program_that_holds_its_standard_input(lab: Lab, tmp_path: Path) -> None:
    name = f"held {secrets.token_hex(8)}"
    with (tmp_path / "log").open("wb") as output:
        worker = subprocess.Popen(
            _command("--name", name, "--url", lab.api.url, "--until-stdin-closes"),
            env={**os.environ, "LIGHTLY_TOKEN": lab.api.token},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def state() -> str | None:
        workers = lab.api.ok("GET", "/v1/docker/worker")
        return next((shown["state"] for shown in workers if shown["name"] == name), None)

    try:
        wait_until(lambda: state() == "IDLE" or worker.poll() is not None, 60)
        assert worker.poll() is None, (tmp_path / "log").read_text()
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
    assert state() == "OFFLINE", "it had the time to say so"


@pytest.mark.exhaustive(sample="test_a_worker_runs_anywhere_with_an_address_and_a_token")
def test_a_worker_waits_for_a_platform_that_is_not_there_yet(tmp_path: Path) -> None:
    with _worker(tmp_path / "elsewhere", "--url", "http://127.0.0.1:9", LIGHTLY_TOKEN="some") as worker:
        wait_until(lambda: "waiting for the platform" in (tmp_path / "log").read_text())
        assert worker.poll() is None
    assert worker.returncode == 0
