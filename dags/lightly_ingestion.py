"""
### Bring files into S3 every day, and onboard them

* `lightly_ingestion` brings the files of each day from a folder, or from an HTTP server, into a prefix of that day,
  e.g. `s3://my-bucket/ingested/2026-11-27/`. Each backfilled day has its own prefix, too.
* `lightly_onboard_ingested` starts when the first one succeeds, by its asset. It onboards all of
  `s3://my-bucket/ingested/` as one dataset, and selects from the files that are new.

The ingestion can be repeated: a file that is in the bucket with the same content is not uploaded again, and S3 shows a
file only once all of it has arrived. Only one run of `lightly_onboard_ingested` is active at a time, so no two of its
runs touch the dataset at once. The asset's event carries no data; each run looks at what the bucket holds.

Set the constants below. They are no parameters of the DAG, so that nobody who may start it can choose another folder.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import DAG, AirflowSkipException, Asset, task
from airflow.timetables.interval import CronDataIntervalTimetable

from lightly_provider.task_groups import onboard_s3_dataset

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger(__name__)

# The files of a day are in the folder FOLDER/2026-11-27/, which each Airflow worker can read.
FOLDER = "/data/incoming"
# Or else: an Airflow connection of type HTTP, below whose address 2026-11-27/index.txt lists the files, one per line.
HTTP_CONN_ID: str | None = None

DESTINATION = "s3://my-bucket/ingested/"
AWS_CONN_ID = "aws_default"

DATASET_NAME = "ingested-photos"
LIGHTLY_PATH = "s3://my-bucket/lightly/"
LIGHTLY_AWS_CONN_ID = "lightly_bucket"
POLL_INTERVAL = 60.0

MOST_FILES = 10_000
MOST_BYTES = 100 * 1024**2
# Relative paths below the day's folder. No part begins with a dot, so none is hidden or leads out of the folder.
NAME = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9 ._-]*/)*[A-Za-z0-9_][A-Za-z0-9 ._-]*\.(?:jpe?g|png|bmp|tiff?)", re.IGNORECASE
)
UNFINISHED = (".part", ".tmp")
CHUNK = 1024**2

# Only a name: for an address such as s3://, Airflow would import the asset handlers of all providers with each parse.
INGESTED = Asset("lightly-ingested")


@task(outlets=[INGESTED], retries=2, execution_timeout=timedelta(hours=12))
def ingest(*, data_interval_start: datetime | None = None, dag_run: Any = None) -> dict[str, Any]:
    """Bring the files of a day into the bucket; of a run without an interval, those of the day before."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    moment = data_interval_start or dag_run.run_after - timedelta(days=1)
    day = f"{moment.astimezone(UTC):%Y-%m-%d}"
    names = listed_by_server(day) if HTTP_CONN_ID else listed_in_folder(day)
    if not names:
        raise AirflowSkipException(f"There are no files for {day}.")
    if len(names) > MOST_FILES:
        raise ValueError(f"There are {len(names)} files for {day}, more than {MOST_FILES}; nothing was uploaded.")
    if wrong := [name for name in names if not NAME.fullmatch(name)]:
        raise ValueError(f"{len(wrong)} files of {day} have names that are not allowed, e.g. {wrong[0][:200]!r}.")

    s3 = S3Hook(AWS_CONN_ID)
    uploaded = 0
    for name in names:
        content = from_server(f"{day}/{name}") if HTTP_CONN_ID else from_folder(f"{day}/{name}")
        uploaded += upload(s3, f"{DESTINATION}{day}/{name}", content)
    # Also if all of them were there: an earlier try may have been killed before its asset was updated.
    log.info("%d of %d files of %s were uploaded; the others were there already.", uploaded, len(names), day)
    return {"prefix": f"{DESTINATION}{day}/", "uploaded": uploaded, "unchanged": len(names) - uploaded}


def listed_in_folder(day: str) -> list[str]:
    """The files of a day in the folder, without hidden and unfinished ones."""
    if not Path(FOLDER).is_dir():
        raise FileNotFoundError(f"The folder {FOLDER} is not on this worker; mount it, or correct FOLDER.")
    root = Path(FOLDER, day)
    if root.is_symlink():  # os.walk would follow this one
        raise ValueError(f"{day} is a link, which could lead out of the folder; nothing was uploaded.")
    found = []
    for folder, folders, files in os.walk(root):  # it does not follow links to folders
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [str(Path(folder, name).relative_to(root)) for name in files]
        if len(found) > MOST_FILES:
            break
    return sorted(name for name in found if not Path(name).name.startswith(".") and not name.endswith(UNFINISHED))


def from_folder(path: str) -> Iterable[bytes]:
    """The content of a file in the folder."""
    # A link could lead out of the folder, and a device never end.
    file = Path(FOLDER, path)
    if file.is_symlink() or not file.is_file():
        raise ValueError(f"{path} is a link, or no regular file; nothing of it was uploaded.")
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            yield chunk


def listed_by_server(day: str) -> list[str]:
    """The files of a day that the server lists; none if there is no list for it."""
    content = b""
    for chunk in from_server(f"{day}/index.txt", is_optional=True):
        content += chunk
        if len(content) > MOST_FILES * 1024:
            raise ValueError(f"The list {day}/index.txt is too long for {MOST_FILES} files.")
    return sorted({line.strip() for line in content.decode().splitlines() if line.strip()})


def from_server(path: str, *, is_optional: bool = False) -> Iterable[bytes]:
    """The content of a file on the server; nothing if it is optional and not there."""
    from airflow.providers.http.hooks.http import HttpHook

    # Redirects are not followed: they could lead to another host.
    options = {"stream": True, "timeout": 60, "allow_redirects": False, "check_response": False}
    # As they are, so that their length can be compared.
    headers = {"Accept-Encoding": "identity"}
    with HttpHook("GET", HTTP_CONN_ID).run(path.replace(" ", "%20"), headers=headers, extra_options=options) as answer:
        if is_optional and answer.status_code == 404:
            return
        if answer.status_code != 200:
            raise ValueError(f"The server answered HTTP {answer.status_code} for {path}.")
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise ValueError(f"The server answered with a web page for {path}, which may be that of a login.")
        received = 0
        for chunk in answer.iter_content(CHUNK):
            received += len(chunk)
            yield chunk
        if str(received) != answer.headers.get("Content-Length", str(received)):
            raise ValueError(f"The server sent {received} bytes of {path} and announced another length.")


def upload(s3: Any, uri: str, content: Iterable[bytes]) -> bool:
    """Upload a file, unless the same content is there; return whether it was uploaded."""
    bucket, key = s3.parse_s3_url(uri)
    digest, size = hashlib.sha256(), 0
    # All of it is here before the upload begins, so that nothing incomplete is uploaded.
    with tempfile.TemporaryFile() as copy:
        for chunk in content:
            size += len(chunk)
            if size > MOST_BYTES:
                raise ValueError(f"The file for {uri} has more than {MOST_BYTES} bytes.")
            digest.update(chunk)
            copy.write(chunk)
        if not size:
            raise ValueError(f"The file for {uri} is empty; it may not be finished.")
        there = s3.head_object(key, bucket)
        if there and there["ContentLength"] == size and there["Metadata"].get("sha256") == digest.hexdigest():
            return False
        copy.seek(0)
        # One request, so that a killed task leaves no parts of an upload behind.
        s3.get_conn().put_object(Bucket=bucket, Key=key, Body=copy, Metadata={"sha256": digest.hexdigest()})
    return True


with DAG(
    dag_id="lightly_ingestion",
    description="Bring the files of each day into a prefix of that day",
    # The interval of a run is the day whose files it brings, in Airflow 2 and 3 alike.
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=4,
    tags=["lightly"],
    doc_md=__doc__,
):
    ingest()

with DAG(
    dag_id="lightly_onboard_ingested",
    description="Onboard what was ingested, and select from what is new",
    schedule=[INGESTED],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    tags=["lightly"],
    doc_md=__doc__,
):
    onboard_s3_dataset(
        dataset_name=DATASET_NAME,
        resource_path=DESTINATION,
        output_resource_path=LIGHTLY_PATH,
        datasource_aws_conn_id=LIGHTLY_AWS_CONN_ID,
        selection_config={
            "proportion_samples": 0.1,
            "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}],
        },
        only_new=True,
        poll_interval=POLL_INTERVAL,
    )
