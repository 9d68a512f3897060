"""A worker whose clock is wrong is told so, by whatever service it asks, and never that its secret is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.cli.commands import main
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.findings import Status
from lightly_provider.diagnosis.probes import probe_location
from lightly_provider.diagnosis.target import Target
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from tests.integration.access_situations import Access
from tests.integration.access_verdicts import configure, verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.sandbox import Sandbox

ADVICE = "The clock of the machine that asked differs from AWS's by more than 15 minutes: set it by NTP."


@pytest.fixture
def clock_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """Sets the clock by which boto3 signs on this machine; the platform's is right."""

    def by(difference: timedelta) -> None:
        monkeypatch.setattr(
            "botocore.auth.get_current_datetime", lambda: datetime.now(UTC).replace(tzinfo=None) + difference
        )

    return by


OFF = [timedelta(minutes=-16), timedelta(hours=2)]


@pytest.mark.parametrize("difference", OFF, ids=["behind", "ahead"])
def test_the_verdict_is_lightlys_and_the_worker_warns_of_its_own_clock(
    difference: timedelta,
    lightly: Sandbox,
    clock_off: Callable[[timedelta], None],
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    access = Access(lightly, "user", Purpose.INPUT)
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", access.connection())
    dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).execute(context)
    configure(access, dataset_id, "bucket", context)
    clock_off(difference)

    verdict = verdict_of(dataset_id, context, datasource_aws_conn_id="bucket")

    assert verdict["ok"]
    (keys,) = verdict["from_this_worker"]
    assert (keys["permission"], keys["status"], keys["cause"]) == ("keys", "WARN", str(Cause.CLOCK_SKEW))
    assert keys["advice"] == ADVICE


@pytest.mark.parametrize("difference", OFF, ids=["behind", "ahead"])
def test_the_doctor_names_the_clock(
    difference: timedelta,
    lightly: Sandbox,
    clock_off: Callable[[timedelta], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    access = Access(lightly, "user", Purpose.INPUT)
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", access.connection())
    clock_off(difference)

    with pytest.raises(SystemExit, match="1"):
        main(["doctor", access.uri, "--aws-conn-id", "bucket", "--allow-endpoint"])

    shown = capsys.readouterr().out
    assert "    keys         FAIL     clock skew: SignatureDoesNotMatch: Signature " in shown
    assert f"    - {ADVICE}" in shown


def test_a_role_that_cannot_be_looked_at_for_the_clock_is_unknown_and_no_right_is_asked_for(
    lightly: Sandbox, clock_off: Callable[[timedelta], None], capsys: pytest.CaptureFixture[str]
) -> None:
    access = Access(lightly, "role", Purpose.INPUT)
    access.connection()
    clock_off(timedelta(minutes=20))

    with pytest.raises(SystemExit, match="3"):
        main(["doctor", access.uri, "--role-arn", access.principal, "--aws-conn-id", "aws_default", "--allow-endpoint"])

    shown = capsys.readouterr().out
    assert "    role         UNKNOWN  AWS could not be asked (clock skew: " in shown
    assert f"    - {ADVICE}" in shown
    assert "iam:GetRole" not in shown


def test_each_operation_of_s3_names_the_clock_and_leaves_nothing(
    lightly: Sandbox, clock_off: Callable[[timedelta], None]
) -> None:
    access = Access(lightly, "user", Purpose.LIGHTLY)
    target = Target(S3Location.from_stored(access.uri), "the administrator", Purpose.LIGHTLY, region=lightly.region)
    before = lightly.keys_under(access.bucket)
    clock_off(timedelta(minutes=-20))

    found = probe_location(lightly.aws("s3"), target, frozenset(Permission))

    failed = {one.subject: one.failure.cause for one in found if one.status is Status.FAIL and one.failure}
    assert failed == dict.fromkeys((*Permission, "delete"), Cause.CLOCK_SKEW)
    clock_off(timedelta())
    assert lightly.keys_under(access.bucket) == before
