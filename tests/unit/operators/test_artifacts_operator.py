"""Downloading a run's files: each whole or not at all, whatever the platform and its storage answer."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.api.models.run import Artifact, Run
from lightly_provider.exceptions import (
    LightlyConnectionError,
    LightlyDestinationError,
    LightlyError,
    LightlyNotFoundError,
    LightlyResponseError,
    LightlyRunError,
)
from lightly_provider.operators.results import DownloadLightlyArtifactsOperator
from lightly_provider.results.artifacts import names_of_files, wanted_artifacts
from tests.contract.example_calls import RUN
from tests.contract.samples import documented_answer
from tests.final_errors import final
from tests.unit.api.scripted_platform import Answer, CutShort, ScriptedPlatform, Step
from tests.unit.operators.example_operators import DATASET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

SIZES = {"nInput": 10, "nSelected": 4}
REPORT = json.dumps({"generalInformation": {"datasetInformation": {"datasetSizes": SIZES}}}).encode()
PDF, LOG = "c" * 24, "d" * 24
CONTENTS = {"a" * 24: REPORT, PDF: b"%PDF" + b"x" * 200_000, LOG: b""}
ARTIFACTS = [
    {"id": "a" * 24, "type": "REPORT_V2_JSON", "fileName": "report_v2.json"},
    {"id": PDF, "type": "REPORT_PDF", "fileName": "report.pdf"},
    {"id": LOG, "type": "LOG", "fileName": "log.txt"},
]


class Storage(ScriptedPlatform):
    """A platform whose run has files, and the storage that holds them."""

    def __init__(self) -> None:
        super().__init__([Answer(500)])
        self.state = "COMPLETED"
        self.artifacts: list[dict[str, Any]] = ARTIFACTS
        # What follows instead, by path; the last step is repeated.
        self.instead: dict[str, list[Step]] = {}

    def _next(self, received: Any) -> Step:
        with self._lock:
            self.received.append(received)
        if steps := self.instead.get(received.path):
            return steps.pop(0) if len(steps) > 1 else steps[0]
        return self._answer_to(received.path)

    def _answer_to(self, path: str) -> Step:
        if path == f"/v1/docker/runs/{RUN}":
            answer = documented_answer("get_docker_run_by_id", id=RUN, datasetId=DATASET)
            return Answer(200, answer | {"state": self.state, "artifacts": self.artifacts})
        if path.endswith("/readurl"):
            return Answer(200, f"{self.address}/signed/{path.split('/')[-2]}?X-Amz-Signature=CANARY")
        return Answer(200, CONTENTS[path.rpartition("/")[2]])

    def read(self, artifact_id: str) -> int:
        """How often a file was asked for."""
        return len([received for received in self.received if received.path == f"/signed/{artifact_id}"])


@pytest.fixture
def storage(platform: Callable[..., ScriptedPlatform], monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    platform(Answer())  # sets up what all platforms here need
    with Storage() as started:
        connection = {"conn_type": "lightly", "host": started.address, "password": "CANARY-token"}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        yield started


def download(folder: Path, context: Mapping[str, Any], **arguments: Any) -> dict[str, Any]:
    task = DownloadLightlyArtifactsOperator(
        task_id="download", **{"run_id": RUN, "destination": str(folder)} | arguments
    )
    result: dict[str, Any] = task.execute(context)  # type: ignore[arg-type]
    return result


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_files_of_a_run_are_there_whole_and_the_reports_numbers_are_in_xcom(
    storage: Storage, tmp_path: Path, context: dict[str, Any]
) -> None:
    result = download(tmp_path, context)
    assert files(tmp_path) == {f"{RUN}/{artifact['fileName']}": CONTENTS[artifact["id"]] for artifact in ARTIFACTS}
    assert result["report"] == SIZES
    assert result["files"] == [
        {
            "type": artifact["type"],
            "uri": f"file://{tmp_path}/{RUN}/{artifact['fileName']}",
            "bytes": len(CONTENTS[artifact["id"]]),
            "sha256": hashlib.sha256(CONTENTS[artifact["id"]]).hexdigest(),
            "downloaded": True,
        }
        for artifact in ARTIFACTS
    ]
    assert context["ti"].xcoms == result | {
        "lightly_dataset_url": f"https://app.lightly.ai/dataset/{DATASET}",
        "lightly_runs_url": "https://app.lightly.ai/compute/runs",
    }
    assert not any("token" in received.url for received in storage.received if "/signed/" in received.url)


def test_a_second_run_downloads_nothing_and_a_file_of_another_size_again(
    storage: Storage, tmp_path: Path, context: dict[str, Any]
) -> None:
    first = download(tmp_path, context)
    second = download(tmp_path, context)
    assert [one["downloaded"] for one in second["files"]] == [False, False, False]
    assert [one["uri"] for one in second["files"]] == [one["uri"] for one in first["files"]]
    assert second["report"] == SIZES
    (tmp_path / RUN / "report.pdf").write_bytes(b"cut short")
    third = download(tmp_path, context)
    assert [one["downloaded"] for one in third["files"]] == [False, True, False]
    assert files(tmp_path)[f"{RUN}/report.pdf"] == CONTENTS[PDF]


def test_only_the_types_that_are_asked_for_are_read(storage: Storage, tmp_path: Path, context: dict[str, Any]) -> None:
    result = download(tmp_path, context, types=["REPORT_PDF"])
    assert list(files(tmp_path)) == [f"{RUN}/report.pdf"]
    assert result["report"] == SIZES
    assert storage.read(LOG) == 0


def test_a_type_that_the_run_has_not_is_an_error_before_anything_is_read(
    storage: Storage, tmp_path: Path, context: dict[str, Any]
) -> None:
    with pytest.raises(
        final(LightlyNotFoundError), match=r"left no\s+CHECKPOINT;\sits files: LOG, REPORT_PDF, REPORT_V2_"
    ):
        download(tmp_path, context, types=["REPORT_PDF", "CHECKPOINT"])
    assert files(tmp_path) == {}
    assert len(storage.received) == 1


@pytest.mark.parametrize("state", ["SAMPLING", "STARTED", "SINCE_INVENTED"])
def test_a_run_that_has_not_ended_is_refused(
    storage: Storage, tmp_path: Path, context: dict[str, Any], state: str
) -> None:
    storage.state = state
    with pytest.raises(
        LightlyRunError, match=rf"Run {RUN} is {state}, and its files are\s+complete only when it has ended"
    ):
        download(tmp_path, context)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("state", ["FAILED", "CRASHED"])
def test_the_log_of_a_run_that_failed_can_be_downloaded(
    storage: Storage, tmp_path: Path, context: dict[str, Any], state: str
) -> None:
    storage.state, storage.artifacts = state, ARTIFACTS[2:]
    assert download(tmp_path, context)["report"] is None
    assert list(files(tmp_path)) == [f"{RUN}/log.txt"]


def test_a_run_without_files_is_no_error(storage: Storage, tmp_path: Path, context: dict[str, Any]) -> None:
    storage.artifacts = []
    assert download(tmp_path, context)["files"] == []


UNAVAILABLE = Answer(404, {"code": "DOCKER_RUN_ARTIFACT_UNAVAILABLE", "error": "not uploaded"})


def test_a_file_that_was_never_uploaded_is_left_out_unless_it_is_asked_for(
    storage: Storage, tmp_path: Path, context: dict[str, Any]
) -> None:
    storage.instead[f"/v1/docker/runs/{RUN}/artifacts/{PDF}/readurl"] = [UNAVAILABLE]
    assert [one["type"] for one in download(tmp_path, context)["files"]] == ["REPORT_V2_JSON", "LOG"]
    with pytest.raises(final(LightlyNotFoundError), match="not uploaded"):
        download(tmp_path, context, types=["REPORT_PDF"])


def cut_short(content: bytes, missing: int = 10) -> Step:
    return CutShort(200, content, missing=missing)


def test_a_file_that_breaks_off_is_read_again_and_never_seen_in_part(
    storage: Storage, tmp_path: Path, context: dict[str, Any]
) -> None:
    storage.instead[f"/signed/{PDF}"] = [cut_short(CONTENTS[PDF]), Answer(503), Answer(200, CONTENTS[PDF])]
    download(tmp_path, context)
    assert files(tmp_path)[f"{RUN}/report.pdf"] == CONTENTS[PDF]
    assert storage.read(PDF) == 3

    storage.instead[f"/signed/{LOG}"] = [cut_short(b"x" * 100)]
    (tmp_path / RUN / "log.txt").write_bytes(b"as it was")
    with pytest.raises(LightlyConnectionError, match=r"no whole answer\s+came"):
        download(tmp_path, context)
    assert files(tmp_path)[f"{RUN}/log.txt"] == b"as it was"
    assert len(files(tmp_path)) == 3, "no part is left behind"


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        (Answer(200, b"x" * 50, {"Content-Encoding": "gzip"}), LightlyResponseError, r"compressed\s+in a way"),
        (Answer(403), LightlyResponseError, "HTTP 403"),
        (Answer(302, b"", {"Location": "http://127.0.0.1:9/elsewhere"}), LightlyResponseError, "HTTP 302"),
        (Answer(206, b"part"), LightlyResponseError, "HTTP 206"),
    ],
)
def test_what_is_no_file_is_not_written(
    storage: Storage, tmp_path: Path, context: dict[str, Any], step: Step, error: type[Exception], text: str
) -> None:
    storage.instead[f"/signed/{PDF}"] = [step]
    with pytest.raises(error, match=text) as refused:
        download(tmp_path, context, types=["REPORT_PDF"])
    assert files(tmp_path) == {}
    assert "CANARY" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("http://storage.example.com/x", "it has no TLS, and the platform has"),
        ("https://127.0.0.1/x", "it leads to this machine or its own network"),
        ("https://[::1]/x", "it leads to this machine"),
        ("https://169.254.169.254/latest/meta-data", "it leads to this machine or its own network"),
        ("https://localhost:8080/x", "it leads to this machine"),
        ("https://0.0.0.0/x", "it leads to this machine"),
        ("https://[::1/x", "it is not valid"),
    ],
)
def test_a_platform_on_the_internet_leads_a_task_to_no_address_beside_it(address: str, fault: str) -> None:
    from lightly_provider.api.client import ClientSettings, LightlyClient

    client = LightlyClient(ClientSettings(host="https://api.lightly.ai", token="CANARY-token"))
    for read in (lambda: client.open("get_url", address).__enter__(), lambda: client.download("get_url", address)):
        with pytest.raises(LightlyResponseError, match=f"was not read: {fault}") as refused:
            read()
        assert "/x" not in str(refused.value)


def artifact(id_: str, name: str, kind: str = "LOG") -> Artifact:
    return Artifact.model_validate({"id": id_ * 24, "type": kind, "fileName": name})


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("report v2 (1).json", "report v2 (1).json"),
        ("../../etc/passwd", "log-" + "a" * 24),
        ("a/b.pdf", f"log-{'a' * 24}.pdf"),
        ("..", "log-" + "a" * 24),
        (".hidden", f"log-{'a' * 24}.hidden"),
        ("", "log-" + "a" * 24),
        ("a\x1b[2J.txt", f"log-{'a' * 24}.txt"),
        ("ü.txt", f"log-{'a' * 24}.txt"),
        ("x" * 500 + ".txt", f"log-{'a' * 24}.txt"),
        ("a\\b", "log-" + "a" * 24),
    ],
)
def test_a_file_name_of_the_platform_cannot_leave_the_folder(name: str, written: str) -> None:
    assert names_of_files([artifact("a", name)]) == {"a" * 24: written}


def test_artifacts_that_are_listed_twice_or_have_the_same_name_do_not_meet() -> None:
    twice = [
        artifact("a", "log.txt"),
        artifact("a", "log.txt"),
        artifact("b", "LOG.txt"),
        artifact("c", "x", "odd/type"),
    ]
    run = Run(id=RUN, state="COMPLETED", artifacts=twice)
    artifacts = wanted_artifacts(run, None)
    assert [each.id[0] for each in artifacts] == ["a", "b", "c"]
    assert sorted(names_of_files(artifacts).values()) == [f"log-{'a' * 24}.txt", f"log-{'b' * 24}.txt", "x"]
    assert names_of_files([artifact("c", "/", "odd/type")]) == {"c" * 24: f"artifact-{'c' * 24}"}


def test_a_name_that_is_made_for_an_unsafe_one_is_not_the_name_of_another() -> None:
    a, b, c = "a" * 24, "b" * 24, "c" * 24
    artifacts = [artifact("a", "../x.txt"), artifact("b", f"LOG-{a}.txt"), artifact("c", f"log-{b}.txt")]
    assert names_of_files(artifacts) == {each: f"log-{each}.txt" for each in (a, b, c)}


def test_a_destination_that_cannot_be_written_is_told_before_the_first_file_is_read(
    storage: Storage, tmp_path: Path, context: dict[str, Any]
) -> None:
    (tmp_path / "a file").write_bytes(b"")
    with pytest.raises(LightlyDestinationError):
        download(tmp_path / "a file", context)
    assert len(storage.received) == 1


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ({"types": ["REPORT"]}, "types is 'REPORT'; did you mean 'REPORT_"),
        ({"types": []}, "types is [], which is empty; give at least one, or leave it out."),
        ({"types": "LOG"}, "types is 'LOG'; give a list, e.g. ['LOG']."),
        ({"destination": "results/"}, "destination is 'results/"),
        ({"destination": "gs:/x"}, "destination is 'gs:/x"),
        ({"run_id": "latest"}, "run_id is 'latest', and an id of the platform is 24 hexadecimal digits;"),
    ],
)
def test_what_is_wrong_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], answer: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        DownloadLightlyArtifactsOperator(task_id="a", **{"run_id": RUN, "destination": "s3://bucket/x/"} | arguments)
    assert str(refused.value).startswith(answer)


def test_a_killed_download_leaves_no_part(storage: Storage, tmp_path: Path, context: dict[str, Any]) -> None:
    task = DownloadLightlyArtifactsOperator(task_id="download", run_id=RUN, destination=str(tmp_path))
    task.on_kill()
    with pytest.raises(LightlyError, match=rf"The task was killed;\sREPORT_V2_JSON of run {RUN} was not written"):
        task.execute(context)  # type: ignore[arg-type]
    assert files(tmp_path) == {}
