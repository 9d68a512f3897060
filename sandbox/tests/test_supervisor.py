from __future__ import annotations

import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from lightly_sandbox import supervisor
from tests.lab.sandbox import LIST, READ, Api, Customer, Process, allow, wait_until, with_keys, with_role
from tests.lab.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTERNAL_ID = "an-external-id"


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Sandboxes to be stopped when the test is over."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.stop(signal.SIGKILL)


def _up(
    started: list[Process], state_dir: Path, *options: str
) -> tuple[Process, Api, Customer, dict[str, Any]]:
    process = Process.start(state_dir, *options)
    started.append(process)
    ready = process.ready()
    return process, Api(ready["lightly_url"], ready["token"]), Customer(ready), ready


def _children(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.exhaustive(sample="test_the_worker_takes_a_run_and_the_seed_is_real")
def test_a_second_up_goes_on_where_the_first_stopped(started: list[Process], tmp_path: Path) -> None:
    state = tmp_path / "state"
    process, api, customer, before = _up(started, state, "--workers", "0")
    bucket = customer.bucket("in/a.jpg", "in/b.jpg")
    empty = customer.bucket()
    keys = customer.user(*allow(bucket, LIST, READ))
    role = customer.role(EXTERNAL_ID, *allow(bucket, LIST))
    by_keys, by_role = api.new_dataset(), api.new_dataset()
    api.put_datasource(by_keys, **with_keys(f"s3://{bucket}/in", "INPUT", keys))
    api.put_datasource(by_role, **with_role(f"s3://{bucket}/in", "INPUT", role, EXTERNAL_ID))
    datasets = api.ok("GET", "/v1/datasets")

    said = process.stop()
    assert process.popen.returncode == 0, said
    assert not process.ready_file.exists()

    _, api, customer, after = _up(started, state, "--workers", "0")
    for same in ("token", "aws_access_key_id", "aws_secret_access_key", "region"):
        assert after[same] == before[same]
    assert api.ok("GET", "/v1/datasets") == datasets
    assert customer.keys(bucket) == ["in/a.jpg", "in/b.jpg"]
    assert customer.keys(empty) == []
    assert customer.s3.get_object(Bucket=bucket, Key="in/a.jpg")["Body"].read() == b"some bytes"
    lights = [api.ok("GET", f"/v1/datasets/{id_}/datasource/verify") for id_ in (by_keys, by_role)]
    assert [(light["canList"], light["canRead"], light["canWrite"]) for light in lights] == [
        (True, True, False),
        (True, False, False),
    ]


@pytest.mark.exhaustive(sample="test_the_worker_takes_a_run_and_the_seed_is_real")
def test_what_a_killed_sandbox_had_is_still_there(started: list[Process], tmp_path: Path) -> None:
    state = tmp_path / "state"
    process, api, customer, _ = _up(started, state, "--workers", "0")
    bucket = customer.bucket("in/a.jpg")
    keys = customer.user(*allow(bucket, LIST))
    dataset_id = api.new_dataset()
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/in", "INPUT", keys))
    children = _children(process.popen.pid)
    assert len(children) == 2

    # Not waited for: what still writes is waited for by the next one.
    process.stop(signal.SIGKILL)

    _, api, customer, _ = _up(started, state, "--workers", "0")
    assert customer.keys(bucket) == ["in/a.jpg"]
    assert api.ok("GET", f"/v1/datasets/{dataset_id}/datasource/verify")["canList"] is True
    assert not any(map(_alive, children))


def test_a_ready_file_that_a_killed_sandbox_left_is_gone_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready_file = tmp_path / "ready.json"
    ready_file.write_text("{}")
    seen = []

    def run(*_: object) -> None:
        seen.append(ready_file.exists())
        raise supervisor.Stopped

    monkeypatch.setattr(supervisor._Start, "run", run)
    monkeypatch.setattr(os, "umask", lambda _mask: 0)
    supervisor.up(supervisor.Options(tmp_path / "state", ready_file=ready_file), print)
    assert seen == [False]


def test_the_worker_takes_a_run_and_the_seed_is_real(
    started: list[Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A user's shell may name a worker of theirs; it is not the sandbox's.
    monkeypatch.setenv("LIGHTLY_WORKER_ID", "0" * 24)
    process, api, customer, _ = _up(started, tmp_path / "state", "--workers", "1")
    seed = [sys.executable, "-m", "lightly_sandbox", "seed", "s3://photos/raw", "--photos", "12"]
    subprocess.run([*seed, "--ready-file", str(process.ready_file)], check=True, timeout=60)
    assert len(customer.keys("photos")) == 12
    dataset_id = api.new_dataset()
    keys = customer.user({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    api.put_datasource(dataset_id, **with_keys("s3://photos/raw", "INPUT", keys))
    api.put_datasource(dataset_id, **with_keys("s3://photos/out", "LIGHTLY", keys))
    selection = {
        "nSamples": 4,
        "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}],
    }
    without_report = {"workerType": "FULL", "docker": {"uploadReport": False}, "selection": selection}
    body = {"version": "V4", "config": without_report}
    config_id = api.ok("POST", "/v1/docker/worker/config/vX", body)["id"]
    path = f"/v1/datasets/{dataset_id}/docker/worker/schedule"
    scheduled_id = api.ok("POST", path, {"configId": config_id, "priority": "MID"})["id"]

    def ended() -> dict[str, Any] | None:
        answer = api.send("GET", f"/v1/docker/runs/schedule/{scheduled_id}")
        run: dict[str, Any] = answer.json()
        return run if answer.ok and run["state"] in ("COMPLETED", "FAILED", "CRASHED") else None

    run = wait_until(ended, 60)
    assert run["state"] == "COMPLETED", run
    assert api.ok("GET", f"/v1/datasets/{dataset_id}")["nSamples"] == 4
    assert api.ok("GET", f"/v1/docker/runs/{run['id']}/tags")


@pytest.mark.exhaustive(sample="test_the_worker_takes_a_run_and_the_seed_is_real")
def test_a_worker_that_ends_is_started_again(started: list[Process], tmp_path: Path) -> None:
    process, api, _, _ = _up(started, tmp_path / "state", "--workers", "1")
    before = api.ok("GET", "/v1/docker/worker")[0]
    log = tmp_path / "state" / "logs" / "sandbox-worker-1.log"
    worker = max(_children(process.popen.pid))
    assert b"sandbox-worker-1" in Path(f"/proc/{worker}/cmdline").read_bytes()
    # One that ends within its first seconds would not be started again.
    wait_until(lambda: _seconds_old(worker) > 6)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: api.ok("GET", "/v1/docker/worker")[0]["lastModifiedAt"] > before["lastModifiedAt"])
    assert api.ok("GET", "/v1/docker/worker")[0]["id"] == before["id"]
    assert log.exists()
    assert "restarting it" in process.stop()


@pytest.mark.exhaustive(sample="test_the_worker_takes_a_run_and_the_seed_is_real")
def test_a_worker_that_a_run_shuts_down_stays_down(started: list[Process], tmp_path: Path) -> None:
    process, api, customer, _ = _up(started, tmp_path / "state", "--workers", "1")
    bucket, dataset_id = customer.bucket(), api.new_dataset()
    keys = customer.user(*allow(bucket, LIST, READ))
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/in", "INPUT_OUTPUT", keys))
    docker = {"shutdownWhenJobFinished": True}
    body = {"version": "V4", "config": {"workerType": "FULL", "docker": docker}}
    config_id = api.ok("POST", "/v1/docker/worker/config/vX", body)["id"]
    path = f"/v1/datasets/{dataset_id}/docker/worker/schedule"
    api.ok("POST", path, {"configId": config_id, "priority": "MID"})
    wait_until(lambda: api.ok("GET", "/v1/docker/worker")[0]["state"] == "OFFLINE")
    wait_until(lambda: len(_children(process.popen.pid)) == 2, 10)
    assert api.ok("GET", path, states=["DONE"]), "the run is over, and the sandbox is not"
    said = process.stop()
    assert process.popen.returncode == 0
    assert "sandbox-worker-1 has shut down" in said
    assert "restarting" not in said


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Path]]:
    """
    A sandbox that masks secrets and has little patience with silent runs, and its folder of state.

    It is called in a folder with files of the names of its modules, and its own folder was open to others.
    """
    mine = tmp_path_factory.mktemp("mine")
    for module in ("boto3", "secrets", "uvicorn", "ministack", "numpy", "photos"):
        (mine / f"{module}.py").write_text("raise AssertionError('a file of the user was imported')\n")
    state = tmp_path_factory.mktemp("elsewhere") / "state"
    state.mkdir(mode=0o755)
    options = ("--workers", "0", "--mask-secrets", "--crash-after", "1.5")
    process = Process.start(state, *options, cwd=mine)
    try:
        process.ready()
        yield process, state
    finally:
        process.stop()


def _api(process: Process) -> Api:
    ready = process.ready()
    return Api(ready["lightly_url"], ready["token"])


@pytest.mark.exhaustive(sample="test_the_worker_takes_a_run_and_the_seed_is_real")
def test_a_silent_run_crashes_after_the_time_that_up_was_given(elsewhere: tuple[Process, Path]) -> None:
    api, customer = _api(elsewhere[0]), Customer(elsewhere[0].ready())
    dataset_id = api.new_dataset()
    keys = customer.user()
    api.put_datasource(dataset_id, **with_keys("s3://bucket/in", "INPUT_OUTPUT", keys))
    config_id = api.ok(
        "POST", "/v1/docker/worker/config/vX", {"version": "V4", "config": {"workerType": "FULL"}}
    )["id"]
    worker_id = api.ok("POST", "/v1/docker/worker", {"name": "silent", "workerType": "FULL"})["id"]
    path = f"/v1/datasets/{dataset_id}/docker/worker"
    scheduled_id = api.ok("POST", f"{path}/schedule", {"configId": config_id, "priority": "MID"})["id"]
    api.ok("PUT", f"{path}/{worker_id}/schedule/{scheduled_id}", {"state": "LOCKED"})
    body = {"dockerVersion": "1", "scheduledId": scheduled_id}
    run_path = f"/v1/docker/runs/{api.ok('POST', '/v1/docker/runs', body)['id']}"
    run = wait_until(lambda: (run := api.ok("GET", run_path))["state"] != "STARTED" and run)
    assert (run["state"], run["message"]) == ("CRASHED", "There was no sign of life for 1.5 s.")
    assert [entry["id"] for entry in api.ok("GET", f"{path}/schedule", states=["DONE"])] == [scheduled_id]


def _seconds_old(pid: int) -> float:
    started_ticks = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - started_ticks / os.sysconf("SC_CLK_TCK")


@pytest.mark.exhaustive(sample="test_the_worker_takes_a_run_and_the_seed_is_real")
def test_a_taken_port_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for option in ("--port", "--aws-port"):
            process = Process.start(tmp_path / "state", option, port)
            said = process.output()
            assert process.popen.returncode == 1
            assert f"Port {port} of 127.0.0.1 cannot be used" in said
            assert option in said
            assert "Traceback" not in said
            assert not process.ready_file.exists()


def test_a_folder_is_for_one_sandbox_at_a_time(
    ready: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    command = Path(f"/proc/{ready['pid']}/cmdline").read_text().split("\0")
    process = Process.start(Path(command[command.index("--state-dir") + 1]))
    said = process.output()
    assert process.popen.returncode == 1
    assert "in use by another lightly-sandbox" in said
    assert Api(ready["lightly_url"], ready["token"]).send("GET", "/v1/quota").ok


def test_a_folder_that_cannot_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = Process.start(tmp_path / "file" / "state")
    said = process.output()
    assert process.popen.returncode == 1
    assert "cannot be used: Not a directory" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("place", "why"), thinned([("file/ready.json", "File exists"), ("folder", "Is a directory")], keep=1)
)
def test_a_ready_file_that_cannot_be_written_is_told_before_anything_starts(
    tmp_path: Path, place: str, why: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    process = Process.start(tmp_path / "state", "--ready-file", str(tmp_path / place))
    said = process.output()
    assert process.popen.returncode == 1
    assert f"{tmp_path / place} cannot be written: {why}" in said
    assert "Traceback" not in said
    assert list((tmp_path / "state" / "logs").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder", "state"}, (
        "no token is left behind"
    )


@pytest.mark.exhaustive(sample="test_only_the_loopback_address_is_listened_on")
@pytest.mark.exhaustive(sample="test_the_worker_takes_a_run_and_the_seed_is_real")
def test_neither_the_folder_that_it_is_called_in_nor_one_that_is_open_to_others_matters(
    elsewhere: tuple[Process, Path],
) -> None:
    _, state = elsewhere
    private = [path for path in state.rglob("*") if path.name not in ("lock", "writers.lock")]
    assert {"platform.sqlite", "aws.log"} <= {path.name for path in private}
    assert [path for path in private if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_masked_secrets_are_not_shown(elsewhere: tuple[Process, Path]) -> None:
    api = _api(elsewhere[0])
    dataset_id = api.new_dataset()
    api.put_datasource(dataset_id, **with_keys("s3://bucket/a", "INPUT", ("AKIAEXAMPLE", "the-secret")))
    arn = "arn:aws:iam::123456789012:role/x"
    api.put_datasource(dataset_id, **with_role("s3://bucket/b", "LIGHTLY", arn, EXTERNAL_ID))
    user, delegated = api.ok("GET", f"/v1/datasets/{dataset_id}/datasource/all")
    assert api.ok("GET", f"/v1/datasets/{dataset_id}/datasource", purpose="INPUT") == user
    assert (user["s3AccessKeyId"], user["s3SecretAccessKey"]) == ("AKIAEXAMPLE", "***")
    # The contract's pattern of an external ID, which a client may check, allows no asterisk.
    assert (delegated["s3ARN"], delegated["s3ExternalId"]) == (arn, "x" * 10)
    del user["id"], delegated["id"]
    for masked in (user, delegated):
        api.put_datasource(dataset_id, **masked)


def test_the_ready_file_is_private_and_complete(ready: dict[str, Any]) -> None:
    command = Path(f"/proc/{ready['pid']}/cmdline").read_text().split("\0")
    path = Path(command[command.index("--ready-file") + 1])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    state = Path(command[command.index("--state-dir") + 1])
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert set(ready) == {
        "lightly_url",
        "token",
        "web_url",
        "aws_url",
        "aws_access_key_id",
        "aws_secret_access_key",
        "region",
        "pid",
    }
    assert requests.get(ready["web_url"], timeout=30).status_code == 200


def test_no_secret_is_in_a_log_or_an_argument(ready: dict[str, Any], api: Api, customer: Customer) -> None:
    canary = f"canary-{secrets.token_hex(8)}"
    bucket = customer.bucket("a.jpg")
    user = customer.user(*allow(bucket, LIST))
    dataset_id = api.new_dataset()
    path = f"/v1/datasets/{dataset_id}/datasource"
    for source in (
        with_keys(f"s3://{bucket}", "INPUT", (user[0], canary)),
        with_role(f"s3://{bucket}", "INPUT", "arn:aws:iam::123456789012:role/none", canary),
        with_keys(f"s3://{bucket}", "INPUT", user),
    ):
        api.put_datasource(dataset_id, **source)
        api.send("GET", f"{path}/verify")
        api.send("GET", f"{path}/list")
    api.send("PUT", path, {"s3SecretAccessKey": canary})
    command = Path(f"/proc/{ready['pid']}/cmdline").read_text().split("\0")
    logs = Path(command[command.index("--state-dir") + 1]) / "logs"
    written = "".join(log.read_text() for log in logs.glob("*.log"))
    assert f"PUT {path} 204" in written, "requests are logged"
    arguments = "".join(
        Path(f"/proc/{pid}/cmdline").read_text() for pid in (ready["pid"], *_children(ready["pid"]))
    )
    for secret in (canary, user[1], ready["token"], ready["aws_secret_access_key"]):
        assert secret not in written
        assert secret not in arguments


def test_only_the_loopback_address_is_listened_on(ready: dict[str, Any]) -> None:
    inodes = set()
    for pid in _children(ready["pid"]):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(descriptor)
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                listening.add((table, address, int(port, 16)))
    ports = {int(str(ready[name]).rsplit(":", 1)[1]) for name in ("lightly_url", "aws_url")}
    assert listening == {("tcp", "0100007F", port) for port in ports}
