"""The verdict on what the platform's lights say."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
    TaskDeferred,
)

from lightly_provider.exceptions import (
    LightlyConnectionMissingError,
    LightlyNotFoundError,
    LightlyPermissionsError,
)
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from lightly_provider.triggers.verification import PropagationPauseTrigger
from tests.contract.example_calls import DELEGATED_ACCESS, USER_ACCESS
from tests.contract.samples import documented_answer
from tests.unit.api.scripted_platform import Answer
from tests.unit.operators.example_operators import DATASET

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.api.scripted_platform import ScriptedPlatform

ALL_GREEN = {"canList": True, "canRead": True, "canWrite": True, "canOverwrite": True}
READ_ONLY = ALL_GREEN | {"canWrite": False, "canOverwrite": False}
NO_READ = ALL_GREEN | {"canRead": False, "errors": {"canRead": "AccessDenied: no GetObject"}}


def dataset(type_: str = "Images") -> Answer:
    return Answer(200, documented_answer("get_dataset_by_id", id=DATASET, type=type_))


def datasources(*items: Any) -> Answer:
    return Answer(200, [item if isinstance(item, dict) else item.to_wire() | {"id": "0" * 24} for item in items])


def lights(answer: dict[str, Any]) -> Answer:
    return Answer(200, documented_answer("verify_datasource_by_dataset_id", **answer))


BOTH = datasources(USER_ACCESS, DELEGATED_ACCESS)
INPUT = datasources(USER_ACCESS)


class PlainlyLogged(VerifyDatasourcePermissionsOperator):
    """Airflow 3 logs through structlog, past what pytest captures."""

    log = logging.getLogger("verify")


def verify(context: dict[str, Any], **arguments: Any) -> Any:
    operator = PlainlyLogged(task_id="a_task", dataset_id=DATASET, **arguments)
    return operator.execute(context)  # type: ignore[arg-type]


def test_green_lights_are_a_verdict_in_xcom_and_a_table_in_the_log(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    started = platform(dataset(), BOTH, lights(ALL_GREEN))
    with caplog.at_level(logging.INFO):
        result = verify(context)
    assert (result["dataset_id"], result["ok"]) == (DATASET, True)
    assert context["ti"].xcoms["verdict"] == result
    assert context["ti"].xcoms["lightly_dataset_url"].endswith(DATASET)
    assert "s3://bucket/lightly/" in caplog.text
    shown = caplog.text + str(context["ti"].xcoms)
    assert USER_ACCESS.s3_secret_access_key not in shown
    assert DELEGATED_ACCESS.s3_external_id not in shown
    assert [received.method for received in started.received] == ["GET"] * 3


GCS = documented_answer(
    "get_datasources_by_dataset_id", {"purpose": "LIGHTLY", "type": "GCS", "fullPath": "gs://bucket/lightly/"}
)[0]


def test_a_dataset_in_another_cloud_fails_with_the_type_of_its_datasources(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    started = platform(dataset(), datasources(GCS))
    with pytest.raises(ValueError, match="no datasource in S3") as refused:
        verify(context)
    assert "LIGHTLY of type GCS" in str(refused.value)
    assert "configure one first" not in str(refused.value)
    assert len(started.received) == 2


def test_green_lights_beside_another_cloud_say_what_was_not_verified(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    platform(dataset(), datasources(USER_ACCESS, GCS), lights(ALL_GREEN))
    result = verify(context)
    assert (result["ok"], result["status"]) == (True, "UNKNOWN"), "the lights may be about the other one"
    assert "Only datasources in S3 are verified, so these are not: LIGHTLY of type GCS" in caplog.text


def test_read_only_is_enough_for_an_input(platform: Callable[..., ScriptedPlatform], context: dict[str, Any]) -> None:
    platform(dataset(), INPUT, lights(READ_ONLY))
    assert verify(context)["ok"]


@pytest.mark.parametrize(
    ("stored", "answer", "require", "named"),
    [
        (
            INPUT,
            NO_READ,
            "auto",
            ["read in INPUT (denied", "s3://bucket/ein pfad/", "s3:GetObject", "AccessDenied: no GetObject"],
        ),
        (BOTH, READ_ONLY, "auto", ["write, overwrite in LIGHTLY.", "LIGHTLY: s3://bucket/lightly/", "s3:PutObject"]),
        (INPUT, READ_ONLY, ["list", "write"], ["write", "s3:PutObject"]),
    ],
)
def test_a_missing_permission_fails_the_task_and_is_named_with_place_and_remedy(
    platform: Callable[..., ScriptedPlatform],
    context: dict[str, Any],
    stored: Answer,
    answer: dict[str, Any],
    require: Any,
    named: list[str],
) -> None:
    platform(dataset(), stored, lights(answer))
    with pytest.raises(LightlyPermissionsError) as failed:
        verify(context, require=require)
    for word in named:
        assert word in str(failed.value)
    assert context["ti"].xcoms["verdict"]["ok"] is False


def test_a_failure_may_skip(platform: Callable[..., ScriptedPlatform], context: dict[str, Any]) -> None:
    platform(dataset(), INPUT, lights(NO_READ))
    with pytest.raises(AirflowSkipException, match="read"):
        verify(context, on_failure="skip")
    assert context["ti"].xcoms["verdict"]["ok"] is False


def test_a_failure_may_be_a_warning(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    platform(dataset(), INPUT, lights(NO_READ))
    with caplog.at_level(logging.WARNING):
        assert verify(context, on_failure="warn")["ok"] is False
    assert "s3:GetObject" in caplog.text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the operator takes; its clock goes on by them, and nobody waits."""
    from lightly_provider.operators import verification

    taken: list[float] = []

    class Clock:
        @staticmethod
        def time() -> float:
            return sum(taken)

        @staticmethod
        def sleep(seconds: float) -> None:
            taken.append(seconds)

    monkeypatch.setattr(verification, "time", Clock)
    return taken


def test_a_grant_that_is_on_its_way_is_waited_for(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], clock: list[float]
) -> None:
    platform(dataset(), INPUT, lights(NO_READ), lights(NO_READ), lights(ALL_GREEN))
    assert verify(context, propagation_timeout=60)["ok"]
    assert clock == [2.0, 4.0]


def test_a_denial_is_tried_again_until_the_time_is_over_and_not_longer(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], clock: list[float]
) -> None:
    started = platform(dataset(), INPUT, lights(NO_READ))
    with pytest.raises(LightlyPermissionsError):
        verify(context, propagation_timeout=40)
    assert sum(clock) == 40
    assert clock == [2.0, 4.0, 8.0, 15.0, 11.0]
    assert len(started.received) == 2 + len(clock) + 1


def test_without_a_propagation_timeout_there_is_one_try(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], clock: list[float]
) -> None:
    started = platform(dataset(), INPUT, lights(NO_READ))
    with pytest.raises(LightlyPermissionsError):
        verify(context)
    assert (clock, len(started.received)) == ([], 3)


EXPLICIT = (
    "AccessDenied: … is not authorized to perform: s3:GetObject with an explicit deny in an identity-based policy"
)


def test_an_explicit_deny_is_never_waited_for(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], clock: list[float]
) -> None:
    platform(dataset(), INPUT, lights(NO_READ | {"errors": {"canRead": EXPLICIT}}))
    with pytest.raises(LightlyPermissionsError, match="Effect Deny"):
        verify(context, propagation_timeout=60)
    assert clock == []


def test_what_may_still_be_on_its_way_says_so_with_its_age(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], clock: list[float]
) -> None:
    platform(dataset(), INPUT, lights(NO_READ))
    with pytest.raises(
        LightlyPermissionsError, match=r"\nIt may still be propagating \(age 40 s\)\.\nTo the IAM policy"
    ):
        verify(context, propagation_timeout=40)


class CreateLightlyAccessRoleOperator(BaseOperator):
    """Stands by its name for the one that creates access."""


@pytest.mark.parametrize(("seconds_ago", "waits"), [(30, True), (None, False)])
def test_access_of_the_same_dag_run_is_waited_for_if_it_changed_and_its_age_is_that_of_the_change(
    platform: Callable[..., ScriptedPlatform],
    context: dict[str, Any],
    clock: list[float],
    seconds_ago: float | None,
    waits: bool,
) -> None:
    platform(dataset(), INPUT, lights(NO_READ))
    with DAG("a_dag", schedule=None, start_date=datetime(2026, 1, 1)):
        operator = PlainlyLogged(task_id="verify", dataset_id=DATASET)
        CreateLightlyAccessRoleOperator(task_id="access") >> BaseOperator(task_id="between") >> operator
    # The clock begins at 0, in 1970.
    changed_at = datetime.fromtimestamp(-seconds_ago, UTC).isoformat() if seconds_ago else None
    context["ti"].xcoms["return_value"] = {"changed": ["policy"] if changed_at else [], "changed_at": changed_at}
    with pytest.raises(LightlyPermissionsError) as caught:
        operator.execute(context)  # type: ignore[arg-type]
    assert sum(clock) == (60 if waits else 0)
    assert ("It may still be propagating (age 90 s)." in str(caught.value)) == waits


def test_a_long_wait_gives_the_workers_slot_back_and_goes_on_where_it_was(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], clock: list[float]
) -> None:
    platform(dataset(), INPUT, *[lights(NO_READ)] * 4, dataset(), INPUT, lights(ALL_GREEN))
    operator = PlainlyLogged(task_id="a_task", dataset_id=DATASET, propagation_timeout=300, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)  # type: ignore[arg-type]
    assert clock == [2.0, 4.0, 8.0]
    classpath, arguments = deferred.value.trigger.serialize()
    assert classpath.startswith("airflow."), "Airflow's own trigger"
    assert "DateTimeTrigger" in classpath
    assert "moment" in arguments
    resumed = getattr(operator, deferred.value.method_name)
    assert resumed(context, arguments["moment"], **deferred.value.kwargs)["ok"]


def test_a_dataset_that_was_deleted_during_the_wait_fails_the_task_without_a_retry(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on Airflow before 3.3.
    monkeypatch.setattr("lightly_provider.operators.base.has_retry_policies", lambda: False)
    platform(Answer(404, {"code": "DATASET_UNKNOWN", "error": "no such dataset"}))
    operator = PlainlyLogged(task_id="a_task", dataset_id=DATASET, deferrable=True)
    with pytest.raises(AirflowFailException, match="no such dataset"):
        operator.resume(context, None, started=0.0, patience=300.0)  # type: ignore[arg-type]


def test_a_trigger_that_an_earlier_version_stored_still_waits_until_its_moment() -> None:
    async def fired(until: datetime) -> int:
        return len([event async for event in PropagationPauseTrigger(until=until.isoformat()).run()])

    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    assert asyncio.run(fired(soon)) == 1
    assert datetime.now(UTC) >= soon


def test_files_are_required_only_where_they_can_be_looked_for() -> None:
    with pytest.raises(ValueError, match=r"^require_files=True needs an AWS connection"):
        VerifyDatasourcePermissionsOperator(task_id="a_task", dataset_id=DATASET, require_files=True)
    VerifyDatasourcePermissionsOperator(
        task_id="a_task", dataset_id=DATASET, require_files=True, datasource_aws_conn_id="bucket"
    )


@pytest.mark.parametrize("argument", ["datasource_aws_conn_id", "aws_conn_id"])
def test_an_aws_connection_that_does_not_exist_fails_the_task_in_spite_of_green_lights(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], argument: str
) -> None:
    platform(dataset(), datasources(DELEGATED_ACCESS), lights(ALL_GREEN))
    with pytest.raises((LightlyConnectionMissingError, AirflowFailException), match="no Airflow connection 'tpyo'"):
        verify(context, **{argument: "tpyo"})


def test_the_datasources_external_id_is_compared_with_the_connections_and_never_shown(
    platform: Callable[..., ScriptedPlatform],
    context: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newer = "another-external-id"
    extra = {"role_arn": DELEGATED_ACCESS.s3_arn, "assume_role_kwargs": {"ExternalId": newer}}
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", json.dumps({"conn_type": "aws", "extra": extra}))
    platform(dataset(), datasources(DELEGATED_ACCESS), lights(ALL_GREEN))
    result = verify(context, datasource_aws_conn_id="bucket")
    (seen,) = result["from_this_worker"]
    assert (seen["permission"], seen["status"]) == ("connection", "WARN")
    assert "another external ID for it, so nothing was tried" in seen["message"]
    for secret in (newer, DELEGATED_ACCESS.s3_external_id):
        assert secret not in caplog.text + str(context["ti"].xcoms)


def test_a_failure_on_awss_side_is_tried_again_and_a_problem_of_the_account_is_not(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any], clock: list[float]
) -> None:
    busy = NO_READ | {"errors": {"canRead": "ServiceUnavailable: Service is unable to handle request."}}
    suspended = NO_READ | {"errors": {"canRead": "AccountProblem: There is a problem with your AWS account"}}
    platform(dataset(), INPUT, lights(busy), lights(ALL_GREEN), dataset(), INPUT, lights(suspended))
    assert verify(context, propagation_timeout=60)["ok"]
    assert clock == [2.0]
    with pytest.raises(LightlyPermissionsError, match="AWS Support"):
        verify(context, propagation_timeout=60)
    assert clock == [2.0]


def test_what_changed_since_the_last_run_is_in_the_verdict(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    platform(dataset(), INPUT, lights(ALL_GREEN), dataset(), INPUT, lights(NO_READ))
    assert verify(context, on_failure="warn")["changes"] == []
    (change,) = verify(context, on_failure="warn")["changes"]
    assert "INPUT read (Lightly says): PASS" in change


def test_what_this_version_does_not_know_has_no_rules(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    unknown = USER_ACCESS.to_wire() | {"purpose": "SINCE_INVENTED"}
    elsewhere = {"type": "GCS", "purpose": "LIGHTLY", "fullPath": "gs://bucket/"}
    platform(dataset(), datasources(USER_ACCESS, unknown, elsewhere), lights(READ_ONLY))
    result = verify(context)
    assert result["ok"]
    assert "SINCE_INVENTED" not in str(result)


def test_a_dataset_that_is_not_there_fails_the_task(
    platform: Callable[..., ScriptedPlatform], context: dict[str, Any]
) -> None:
    platform(Answer(404, {"code": "DATASET_UNKNOWN", "error": "no such dataset"}))
    # Below Airflow 3.3 an error that no retry can cure is Airflow's own, with ours as its cause.
    with pytest.raises((LightlyNotFoundError, AirflowFailException)) as raised:
        verify(context)
    assert isinstance(raised.value.__cause__ or raised.value, LightlyNotFoundError)
