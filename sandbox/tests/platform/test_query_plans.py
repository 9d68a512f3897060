"""Hot requests find their rows by an index: what they ask the database is explained by the database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event, insert

from lightly_sandbox.platform.app import create_app
from lightly_sandbox.platform.database import new_id, now_ms
from lightly_sandbox.platform.settings import Settings, VerifyScope
from lightly_sandbox.platform.tables import Dataset, Run, RunLog, Sample, ScheduledRun, Tag, Worker
from tests.lab.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from starlette.types import Message

TOKEN = "a token"
DATASET, WORKER, CONFIG, SCHEDULED, OPEN, RUN, TAG, SAMPLE = (f"{number:024x}" for number in range(1, 9))

# One table of one user has as many rows as its user made things of that kind by hand: it may be read whole.
MAY_BE_SCANNED = {"user", "shared_access"}


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[FastAPI]:
    app = create_app(
        Settings(
            database=tmp_path / "platform.sqlite",
            token=TOKEN,
            signing_key="a key",
            lightly_url="http://127.0.0.1:1",
            aws_url="http://127.0.0.1:2",
            aws_root_key="another key",
            aws_region="eu-central-1",
            lightly_access_key_id="AKIA",
            lightly_secret_access_key="a secret",
            artifact_bucket="bucket",
            mask_secrets=False,
            verify_scope=VerifyScope.COMBINED,
        )
    )
    with app.state.database.session(writes=True) as session:
        user_id = app.state.settings.user_id
        times = {"created_at": now_ms(), "last_modified_at": now_ms()}
        own = {**times, "user_id": user_id}
        session.execute(insert(Dataset).values(**own, id=DATASET, name="one", type="Images"))
        worker = {
            "name": "worker 1",
            "worker_type": "FULL",
            "state": "IDLE",
            "labels": [],
            "is_default": False,
        }
        session.execute(insert(Worker).values(**own, id=WORKER, **worker))
        scheduled = {"dataset_id": DATASET, "config_id": CONFIG, "priority": "MID", "runs_on": []}
        session.execute(
            insert(ScheduledRun).values(**own, id=SCHEDULED, **scheduled, state="LOCKED", worker_id=WORKER)
        )
        session.execute(insert(ScheduledRun).values(**own, id=OPEN, **scheduled, state="OPEN"))
        run = {"docker_version": "1", "state": "STARTED", "dataset_id": DATASET, "scheduled_id": SCHEDULED}
        session.execute(insert(Run).values(**own, id=RUN, **run))
        entry = {"ts": 1, "level": "INFO", "state": "STARTED", "msg": "a line"}
        session.execute(insert(RunLog).values(run_id=RUN, entry=entry))
        samples = [
            {
                **times,
                "id": SAMPLE if place == 0 else new_id(),
                "file_name": f"{place}.jpg",
                "position": place,
            }
            for place in range(200)
        ]
        more = {"dataset_id": DATASET, "type": "IMAGES", "details": {}, "size_in_bytes": 1}
        session.execute(insert(Sample), [{**sample, **more} for sample in samples])
        tag = {
            "dataset_id": DATASET,
            "name": "initial-tag",
            "bit_mask": "0x1",
            "tot_size": 200,
            "changes": [],
        }
        session.execute(insert(Tag).values(**times, id=TAG, **tag))
        session.commit()
    yield app
    app.state.database.close()


@dataclass(frozen=True)
class Asked:
    """A statement and the values in it."""

    sql: str
    values: Any


@contextlib.contextmanager
def asked_of_the_database() -> Iterator[list[Asked]]:
    asked: list[Asked] = []

    def note(_connection: Any, _cursor: Any, sql: str, values: Any, _context: Any, many: bool) -> None:
        if not many and re.match(r"SELECT|UPDATE|DELETE", sql):
            asked.append(Asked(sql, values))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def send(app: FastAPI, method: str, target: str, body: Any = None) -> int:
    """Serve one request, and return the status of the answer."""
    path, _, query = target.partition("?")
    content = b"" if body is None else json.dumps(body).encode()
    statuses: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    async def answered(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": f"token={TOKEN.replace(' ', '+')}&{query}".encode(),
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    asyncio.run(app(scope, receive, answered))
    (status,) = statuses
    return status


def scans(app: FastAPI, asked: list[Asked]) -> list[str]:
    """The statements that read a whole table, or sort one that an index has in order, with their plans."""
    found = []
    for one in asked:
        with app.state.database.session(writes=False) as session:
            plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {one.sql}", one.values).all()
        for *_, step in plan:
            scanned = re.match(r"SCAN (\w+)", step)
            if scanned is not None and scanned[1] not in {*MAY_BE_SCANNED, "json_each", "anon_1", "anon_2"}:
                found.append(f"{step}: {one.sql}")
    return found


@pytest.mark.parametrize(
    ("method", "path", "body"),
    thinned(
        [
            ("GET", f"/v1/docker/runs/schedule/{SCHEDULED}", None),
            ("GET", f"/v1/docker/runs/{RUN}", None),
            ("GET", "/v1/docker/runs?pageSize=25", None),
            ("GET", "/v1/docker/runs/count", None),
            ("GET", f"/v1/docker/runs/query/datasetId/{DATASET}?pageSize=25", None),
            ("GET", f"/v1/docker/runs/{RUN}/logs?cursor=0", None),
            ("GET", f"/v1/docker/runs/{RUN}/tags", None),
            ("GET", f"/v1/datasets/{DATASET}/docker/worker/schedule?states=OPEN&states=DONE", None),
            ("GET", "/v1/docker/worker/schedule?state=OPEN", None),
            ("GET", f"/v1/docker/worker/{WORKER}/schedule?state=OPEN", None),
            ("PUT", f"/v1/datasets/{DATASET}/docker/worker/{WORKER}/schedule/{SCHEDULED}", {"state": "DONE"}),
            ("PUT", f"/v1/docker/worker/{WORKER}", {"state": "BUSY"}),
            ("POST", "/v1/docker/worker", {"name": "worker 1", "workerType": "FULL", "labels": []}),
            ("GET", f"/v1/datasets/{DATASET}", None),
            ("GET", "/v1/datasets?pageSize=25", None),
            ("GET", "/v1/datasets/query/name/one?exact=true", None),
            ("GET", "/v1/datasets/enriched?pageSize=25", None),
            ("GET", f"/v1/datasets/enriched/query/ids?datasetIds={DATASET}", None),
            ("GET", f"/v1/datasets/{DATASET}/mappings?field=fileName&pageSize=25&pageOffset=100", None),
            ("GET", f"/v1/datasets/{DATASET}/mappings?field=_id&pageSize=25&pageOffset=100", None),
            ("GET", f"/v1/datasets/{DATASET}/samples?pageSize=25&pageOffset=100", None),
            ("GET", f"/v1/datasets/{DATASET}/samples?fileName=7.jpg", None),
            ("GET", f"/v1/datasets/{DATASET}/samples/partial?mode=ids&pageSize=25", None),
            ("GET", f"/v1/datasets/{DATASET}/samples/{SAMPLE}", None),
            ("GET", f"/v1/datasets/{DATASET}/tags", None),
            ("GET", f"/v1/datasets/{DATASET}/tags/{TAG}", None),
            ("GET", f"/v1/datasets/{DATASET}/tags/{TAG}/export/basic/filenames", None),
            ("GET", "/web", None),
            ("GET", f"/web/dataset/{DATASET}?page=2", None),
            ("GET", f"/web/dataset/{DATASET}/tag/{TAG}", None),
            ("GET", "/web/compute/runs", None),
            ("GET", f"/web/compute/runs/{RUN}", None),
            ("GET", f"/web/compute/runs/{RUN}/progress?after=0", None),
            ("GET", "/web/workers", None),
        ],
        keep=6,
    ),
)
def test_no_hot_request_reads_a_whole_table(platform: FastAPI, method: str, path: str, body: Any) -> None:
    with asked_of_the_database() as asked:
        assert send(platform, method, path, body) < 300
    assert asked
    assert scans(platform, asked) == []


def test_the_claim_of_a_worker_and_the_look_for_silent_runs_use_an_index(platform: FastAPI) -> None:
    from lightly_sandbox.platform.lifecycle import crash_silent_runs

    claim = f"/v1/datasets/{DATASET}/docker/worker/{WORKER}/schedule/{OPEN}"
    with asked_of_the_database() as asked:
        # Refused, as another one of the dataset is taken; it asks the same as one that succeeds.
        assert send(platform, "PUT", claim, {"state": "LOCKED"}) == 409
        with platform.state.database.session(writes=True) as session:
            crash_silent_runs(session, 300.0)
    assert any(one.sql.startswith("UPDATE scheduled_run") for one in asked)
    assert scans(platform, asked) == []


def test_pages_come_in_the_order_of_an_index(platform: FastAPI) -> None:
    def sorted_by_hand(path: str) -> bool:
        with asked_of_the_database() as asked:
            assert send(platform, "GET", path) == 200
        with platform.state.database.session(writes=False) as session:
            plans = [
                session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {one.sql}", one.values).all()
                for one in asked
                if " LIMIT " in one.sql
            ]
        assert plans
        return any("TEMP B-TREE" in step for plan in plans for *_, step in plan)

    assert not sorted_by_hand(f"/v1/datasets/{DATASET}/mappings?field=fileName&pageSize=25")
    assert not sorted_by_hand(f"/v1/datasets/{DATASET}/samples?pageSize=25")
    assert not sorted_by_hand("/v1/docker/runs?pageSize=25")
    assert not sorted_by_hand(f"/v1/docker/runs/query/datasetId/{DATASET}?pageSize=25")
    assert not sorted_by_hand("/v1/datasets?pageSize=25")


def test_a_scan_would_be_seen(platform: FastAPI) -> None:
    assert scans(platform, [Asked("SELECT * FROM sample WHERE type = ?", ("IMAGES",))])
