"""What Airflow retries, and what not: by the shipped policy on 3.3 and newer, by the operators below."""

from __future__ import annotations

import pickle
from importlib.metadata import version
from typing import Any

import pytest

from lightly_provider.exceptions import (
    LightlyAuthenticationError,
    LightlyConnectionError,
    LightlyDatasetNotEmptyError,
    LightlyError,
    LightlyNoWorkerError,
    LightlyRateLimitError,
    LightlyRunFailedError,
    LightlyServerError,
    as_json,
    from_json,
    no_retry_can_cure,
)
from lightly_provider.operators.base import failing_for_good

HAS_POLICIES = tuple(map(int, version("apache-airflow").split(".")[:2])) >= (3, 3)

AUTH = LightlyAuthenticationError("wrong token", operation="o", status=401, request_id="r")
LIMITED = LightlyRateLimitError("too many", operation="o", status=429, retry_after=7.0)
LOST = LightlyConnectionError("no answer", operation="o", maybe_applied=True)
FAILED = LightlyRunFailedError("failed", scheduled_run_id="s", run_id="r")
NOT_EMPTY = LightlyDatasetNotEmptyError("not empty")
ALL: list[LightlyError] = [AUTH, LIMITED, LOST, FAILED, NOT_EMPTY]


@pytest.mark.skipif(not HAS_POLICIES, reason="Airflow has retry policies from 3.3 on")
@pytest.mark.parametrize(
    ("error", "action", "minutes"),
    [
        (AUTH, "fail", None),
        (NOT_EMPTY, "fail", None),
        (ValueError("priority is 'high'"), "fail", None),
        (LIMITED, "retry", 5),
        (LOST, "retry", 2),
        (LightlyServerError("down", operation="o", status=503), "retry", 2),
        (LightlyNoWorkerError("none"), "retry", 2),
        (FAILED, "default", None),
        (KeyError("x"), "default", None),
    ],
)
def test_the_policy_fails_at_once_only_where_a_person_must_help(error: Any, action: str, minutes: int | None) -> None:
    from lightly_provider.retry_policy import LIGHTLY_RETRY_POLICY

    for policy in (LIGHTLY_RETRY_POLICY, type(LIGHTLY_RETRY_POLICY).deserialize(LIGHTLY_RETRY_POLICY.serialize())):
        decision = policy.evaluate(error, 1, 3)
        assert decision.action.value == action
        assert (decision.retry_delay.total_seconds() / 60 if decision.retry_delay else None) == minutes


@pytest.mark.skipif(HAS_POLICIES, reason="Airflow has retry policies from 3.3 on")
def test_without_policies_the_import_says_so() -> None:
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3 or newer\. Leave it out"):
        import lightly_provider.retry_policy  # noqa: F401


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_without_policies_what_no_retry_can_cure_fails_for_good(error: LightlyError) -> None:
    from airflow.providers.common.compat.sdk import AirflowFailException

    with pytest.raises((type(error), AirflowFailException)) as raised, failing_for_good():
        raise error

    is_final = not HAS_POLICIES and no_retry_can_cure(error)
    assert isinstance(raised.value, AirflowFailException) is is_final
    assert (raised.value.__cause__ if is_final else raised.value) is error
    assert str(error) in str(raised.value)


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_an_error_survives_the_way_from_a_trigger_to_its_task(error: LightlyError) -> None:
    import json

    after = from_json(json.loads(json.dumps(as_json(error))))
    assert type(after) is type(error)
    assert (str(after), vars(after)) == (str(error), vars(error))
    assert str(pickle.loads(pickle.dumps(after))) == str(error)


def test_an_error_of_a_class_that_is_not_ours_becomes_none_of_python() -> None:
    assert type(from_json({"class": "SystemExit", "message": "x", "members": {}})) is LightlyError
