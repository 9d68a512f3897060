"""The ingestion example against the sandbox's S3: what is uploaded, what is not, and what is refused."""

from __future__ import annotations

import http.server
import json
import os
import re
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSkipException

from tests.conftest import IS_AIRFLOW_2
from tests.integration.airflow_run import run_own_dag
from tests.thinning import thinned
from tests.unit.documents import REPOSITORY, dags_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.sandbox import Sandbox

SOURCE = REPOSITORY / "dags" / "lightly_ingestion.py"
DAYS = [datetime(2026, 11, day, tzinfo=UTC) for day in (25, 26)]
JPEG = b"\xff\xd8 not much of a photo"


class Example:
    """
    The example's file, with other constants.

    :param bucket: The bucket of the destination.
    :param constants: The source text of other constants by name.
    """

    def __init__(self, bucket: str, **constants: str) -> None:
        text = SOURCE.read_text()
        for name, value in (constants | {"DESTINATION": f'"s3://{bucket}/ingested/"'}).items():
            text, n_changed = re.subn(rf"^({name})(: [^=]+)? = .*$", rf"\1 = {value}", text, flags=re.MULTILINE)
            assert n_changed == 1, name
        self.text = text
        self.names: dict[str, Any] = {"__name__": "lightly_ingestion"}
        exec(compile(text, SOURCE.name, "exec"), self.names)

    def ingest(self, day: datetime = DAYS[0]) -> dict[str, Any]:
        """What the task does, without a DAG run."""
        return dict(self.names["ingest"].function(data_interval_start=day))

    def dags(self, folder: Path) -> dict[str, Any]:
        """Its DAGs, as Airflow's parser finds them."""
        (folder / SOURCE.name).write_text(self.text)
        dags, errors = dags_in(folder)
        assert not errors
        return dags


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three files for each of two days."""
    for day in DAYS:
        for name in ("a.jpg", "b c.PNG", "left/a.jpg"):
            file = tmp_path / f"{day:%Y-%m-%d}" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(JPEG + f"{day}{name}".encode())
    return tmp_path


@pytest.fixture
def bucket(lightly: Sandbox) -> str:
    """An empty bucket."""
    return lightly.bucket()


def times(sandbox: Sandbox, bucket: str) -> dict[str, Any]:
    """When each object was written."""
    listed = sandbox.aws("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return {entry["Key"]: (entry["LastModified"], entry["ETag"]) for entry in listed}


def test_a_second_run_uploads_only_what_is_new_or_changed(lightly: Sandbox, folder: Path, bucket: str) -> None:
    example = Example(bucket, FOLDER=repr(str(folder)))
    (folder / "2026-11-25" / ".hidden.jpg").write_bytes(JPEG)
    (folder / "2026-11-25" / "being-copied.jpg.part").write_bytes(JPEG)

    assert example.ingest() == {"prefix": f"s3://{bucket}/ingested/2026-11-25/", "uploaded": 3, "unchanged": 0}
    before = times(lightly, bucket)
    assert sorted(before) == [f"ingested/2026-11-25/{name}" for name in ("a.jpg", "b c.PNG", "left/a.jpg")]

    assert example.ingest()["uploaded"] == 0
    assert times(lightly, bucket) == before

    (folder / "2026-11-25" / "a.jpg").write_bytes(b"another photo of the same name")
    (folder / "2026-11-25" / "d.jpg").write_bytes(JPEG)
    assert example.ingest() == {"prefix": f"s3://{bucket}/ingested/2026-11-25/", "uploaded": 2, "unchanged": 2}


def test_a_run_that_failed_in_the_middle_is_completed(lightly: Sandbox, folder: Path, bucket: str) -> None:
    example = Example(bucket, FOLDER=repr(str(folder)), MOST_BYTES="60")
    big = folder / "2026-11-25" / "b c.PNG"
    big.write_bytes(JPEG * 100)
    with pytest.raises(ValueError, match=r"b c\.PNG has more than 60 bytes"):
        example.ingest()
    assert list(times(lightly, bucket)) == ["ingested/2026-11-25/a.jpg"], "nothing of the big one"

    big.write_bytes(JPEG)
    assert example.ingest()["uploaded"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    thinned(
        [
            (lambda day: (day / "c.jpg").symlink_to("/etc/hostname"), "is a link"),
            (lambda day: os.mkfifo(day / "c.jpg"), "no regular file"),
            (lambda day: (day / "c.jpg").write_bytes(b""), "is empty"),
            (lambda day: (day / "c.exe").write_bytes(JPEG), r"names that are not allowed, e\.g\. 'c\.exe'"),
            (lambda day: (day / "c\n.jpg").write_bytes(JPEG), r"not allowed, e\.g\. 'c\\n\.jpg'"),
        ],
        keep=2,
    ),
)
def test_what_is_no_photo_of_the_folder_is_refused(change: Any, message: str, folder: Path, bucket: str) -> None:
    change(folder / "2026-11-25")
    with pytest.raises(ValueError, match=message):
        Example(bucket, FOLDER=repr(str(folder))).ingest()


def test_a_day_without_files_is_skipped_and_a_missing_folder_fails(folder: Path, bucket: str) -> None:
    with pytest.raises(AirflowSkipException, match="no files for 2026-11-01"):
        Example(bucket, FOLDER=repr(str(folder))).ingest(datetime(2026, 11, 1, tzinfo=UTC))
    with pytest.raises(FileNotFoundError, match="mount it"):
        Example(bucket, FOLDER=repr(str(folder / "not mounted"))).ingest()
    with pytest.raises(ValueError, match="3 files for 2026-11-25, more than 2"):
        Example(bucket, FOLDER=repr(str(folder)), MOST_FILES="2").ingest()


def test_a_run_without_an_interval_brings_the_files_of_the_day_before(folder: Path, bucket: str) -> None:
    class DagRun:
        run_after = datetime(2026, 11, 27, 15, tzinfo=UTC)

    ingest = Example(bucket, FOLDER=repr(str(folder))).names["ingest"].function
    assert ingest(data_interval_start=None, dag_run=DagRun)["prefix"].endswith("/2026-11-26/")


# --- from a server -----------------------------------------------------------------------------------------------


class Server(http.server.SimpleHTTPRequestHandler):
    """A folder over HTTP, with some answers that a server should not give."""

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        """Answer as the name of the file says."""
        if "moved" in self.path:
            self.send_response(302)
            self.send_header("Location", "/2026-11-25/a.jpg")
            self.end_headers()
        elif "cut" in self.path:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(JPEG)
        elif "login" in self.path:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"<html>Log in</html>")
        else:
            super().do_GET()


@pytest.fixture
def served(folder: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Example]:
    """The example, which takes the folder's files from a server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host, port = server.server_address[:2]
    connection = {"conn_type": "http", "host": f"http://{host!s}", "port": port}
    monkeypatch.setenv("AIRFLOW_CONN_CAMERAS", json.dumps(connection))
    yield Example(bucket, HTTP_CONN_ID='"cameras"')
    server.shutdown()
    server.server_close()


def test_files_of_a_server_are_brought_once(served: Example, lightly: Sandbox, folder: Path, bucket: str) -> None:
    (folder / "2026-11-25" / "index.txt").write_text("a.jpg\nb c.PNG\r\n\nleft/a.jpg\na.jpg\n")

    assert served.ingest()["uploaded"] == 3
    before = times(lightly, bucket)
    assert len(before) == 3
    assert served.ingest() == {"prefix": f"s3://{bucket}/ingested/2026-11-25/", "uploaded": 0, "unchanged": 3}
    assert times(lightly, bucket) == before
    with pytest.raises(AirflowSkipException):
        served.ingest(datetime(2026, 11, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("listed", "message"),
    thinned(
        [
            ("../2026-11-26/a.jpg", "not allowed"),
            ("/etc/photo.jpg", "not allowed"),
            ("http://other/a.jpg", "not allowed"),
            ("a.jpg?x=.jpg", "not allowed"),
            ("moved.jpg", "HTTP 302"),
            ("missing.jpg", "HTTP 404"),
            ("login.jpg", "a web page for .*login.jpg"),
            ("cut.jpg", "announced another length|IncompleteRead"),
            ("x" * 20_000, "is too long for 10 files"),
        ],
        keep=3,
        seed=1,
    ),
)
def test_a_server_is_not_trusted(
    listed: str, message: str, served: Example, lightly: Sandbox, folder: Path, bucket: str
) -> None:
    (folder / "2026-11-25" / "index.txt").write_text(listed)
    served.names["MOST_FILES"] = 10
    with pytest.raises(Exception, match=message):
        served.ingest()
    assert times(lightly, bucket) == {}


# --- DAG runs ----------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive(sample="test_a_second_run_uploads_only_what_is_new_or_changed")
def test_runs_of_past_days_use_the_prefix_of_each_day(
    lightly: Sandbox, folder: Path, bucket: str, database: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dag = Example(bucket, FOLDER=repr(str(folder))).dags(tmp_path_factory.mktemp("dags"))["lightly_ingestion"]
    for day in DAYS:
        # A run by hand is that of the last whole day before its date.
        date = day + timedelta(days=1)
        outcome = run_own_dag(dag, database, **{"execution_date" if IS_AIRFLOW_2 else "logical_date": date})
        assert outcome.state == "success"
        assert outcome.xcoms["ingest", "return_value"]["prefix"] == f"s3://{bucket}/ingested/{day:%Y-%m-%d}/"
    assert {key.split("/")[1] for key in lightly.keys_under(bucket)} == {"2026-11-25", "2026-11-26"}
