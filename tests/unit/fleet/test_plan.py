"""What a plan says of a dataset that cannot work, and what becomes of that as an XCom."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lightly_provider.fleet import Fleet, plan_fleet
from lightly_provider.fleet.report import in_parts
from tests.unit.api.canaries import CANARY
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"conn_type": "aws", "login": "AKIAIOSFODNN7EXAMPLE", "password": f"{CANARY}{'a' * 34}"}


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (
            {"endpoint_url": f"http://minio:{CANARY}-OF-AN-ADDRESS@my_minio:9000"},
            "Invalid endpoint: http://***@my_minio:9000",
        ),
        # Whoever writes a password at a wrong place, which botocore's message repeats.
        (
            {
                "endpoint_url": f"http://a:OTHER-{CANARY}@127.0.0.1:1",
                "config_kwargs": {"s3": {"addressing_style": f"OTHER-{CANARY}"}},
            },
            "S3 addressing style *** is invalid",
        ),
    ],
)
def test_no_secret_of_a_connection_reaches_the_plan_as_an_xcom(
    extra: dict[str, object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINIO", json.dumps({**KEYS, "extra": extra}))
    file = tmp_path / "lightly_fleet.yaml"
    file.write_text("datasets: [{name: birds, input: s3://my-bucket/birds/, access: minio}]")
    fleet = Fleet.read(file)
    with ScriptedPlatform([Answer(200, b"1000"), Answer(200, [])]) as platform:
        connection = {"conn_type": "lightly", "host": platform.address, "password": "a-token-of-the-tests"}
        monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
        plan = plan_fleet(fleet)
    xcom = json.dumps(in_parts(fleet, plan, n_parts=1, most=10))
    assert said in xcom
    assert CANARY not in xcom + json.dumps(plan.as_dict())
