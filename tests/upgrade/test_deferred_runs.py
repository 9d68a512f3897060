"""A run that an earlier version deferred is waited for to its end, and its task is resumed with the event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from lightly_provider.exceptions import (
    LightlyAuthenticationError,
    LightlyRunAbortedError,
    LightlyRunCanceledError,
    LightlyRunCrashedError,
    LightlyRunError,
    LightlyRunFailedError,
    LightlyRunNotTakenError,
    LightlyRunTimeoutError,
    LightlyStoredFormError,
)
from lightly_provider.hooks.lightly import LightlyHook
from tests.integration.staged_worker import SIZES, of_the_dataset, platform
from tests.upgrade.present_runs import Present, config_of, event_of
from tests.upgrade.recordings import Recording, Scene, scenes

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox

# How the wait ended, and what the task ends with.
ENDS: dict[str, tuple[str, type[Exception]]] = {
    "failed": ("FAILED", LightlyRunFailedError),
    "crashed": ("CRASHED", LightlyRunCrashedError),
    "aborted": ("ABORTED", LightlyRunAbortedError),
    "canceled": ("", LightlyRunCanceledError),
    "given_up": ("", LightlyAuthenticationError),
}


def resumed(scene: Scene, context: dict[str, Any], **kwargs: Any) -> Any:
    """What the task returns when Airflow resumes it as it was stored."""
    return scene.task().resume_execution(scene["next_method"], scene.next_kwargs() | kwargs, context)


@pytest.mark.parametrize(("recording", "name"), scenes("worker_runs", ending="deferred"))
def test_a_run_that_was_deferred_is_followed_to_its_result(
    recording: Recording, name: str, lightly: Sandbox, context: dict[str, Any]
) -> None:
    recorded = recording.scene("worker_runs", name)
    run = Present.of(lightly, config_of(recorded))
    # The waits of few seconds would be over before the worker is.
    scene = recording.scene("worker_runs", name, run.in_place_of(recorded), at=time.time() + 60)
    run_ids: list[str] = []

    event = event_of(scene.trigger(), lambda: run_ids.append(run.end("COMPLETED")))
    result = resumed(scene, context, event=event)

    assert result == of_the_dataset(lightly, run.dataset_id) | {
        "scheduled_run_id": run.scheduled_run_id,
        "run_id": run_ids[0],
        "tag_name": None,
        "n_selected": 0,
        "report": SIZES,
    }
    assert run.states() == ["DONE"]


@pytest.mark.parametrize(("recording", "name"), scenes("worker_runs", ending="timed_deferred"))
def test_a_deadline_that_passed_during_the_upgrade_ends_the_wait_and_cancels_the_run(
    recording: Recording, name: str, lightly: Sandbox, context: dict[str, Any]
) -> None:
    recorded = recording.scene("worker_runs", name)
    run = Present.of(lightly, config_of(recorded))
    scene = recording.scene("worker_runs", name, run.in_place_of(recorded), at=time.time() - 3600)

    event = event_of(scene.trigger())
    with pytest.raises(LightlyRunTimeoutError):
        resumed(scene, context, event=event)

    assert run.states() == ["CANCELED"]


@pytest.mark.parametrize(("recording", "name"), scenes("worker_runs", ending="completed"))
def test_an_event_of_an_old_triggerer_is_the_result_of_its_run(
    recording: Recording, name: str, lightly: Sandbox, context: dict[str, Any]
) -> None:
    recorded = recording.scene("worker_runs", name)
    run = Present.of(lightly, config_of(recorded))
    run_id = run.end("COMPLETED")
    scene = recording.scene("worker_runs", name, run.in_place_of(recorded, run_id))
    # Its report is one that the test's worker uploaded.
    artifacts = platform(lightly, "GET", f"/v1/docker/runs/{run_id}")["artifacts"]
    event = scene.next_kwargs()["event"]
    event["run"]["artifacts"][0]["id"] = artifacts[0]["id"]

    result = resumed(scene, context, event=event)

    assert (result["scheduled_run_id"], result["run_id"]) == (run.scheduled_run_id, run_id)
    assert result["report"] == SIZES
    assert run.states() == ["DONE"]


@pytest.mark.parametrize(("recording", "name"), scenes("worker_runs", ending=tuple(ENDS)))
def test_an_event_of_an_old_triggerer_ends_the_task_as_it_ended_the_wait(
    recording: Recording, name: str, lightly: Sandbox, context: dict[str, Any]
) -> None:
    recorded = recording.scene("worker_runs", name)
    state, error = ENDS[name.partition("_")[2]]
    run = Present.of(lightly, config_of(recorded))
    run_id = run.end(state) if state else ""
    if "canceled" in name:
        LightlyHook().cancel_scheduled_run(run.dataset_id, run.scheduled_run_id)
    before = run.states()
    scene = recording.scene("worker_runs", name, run.in_place_of(recorded, run_id))

    # Below Airflow 3.3, an error that no retry can cure is the cause of one that Airflow does not retry.
    with pytest.raises((error, AirflowFailException)) as raised:
        resumed(scene, context)

    ended = raised.value.__cause__ if isinstance(raised.value, AirflowFailException) else raised.value
    assert type(ended) is error
    if isinstance(ended, LightlyRunError):
        assert ended.scheduled_run_id == run.scheduled_run_id
    assert run.states() == before


@pytest.mark.parametrize(("recording", "name"), scenes("worker_runs", ending="_out"))
def test_an_event_that_says_that_the_time_is_up_cancels_the_run(
    recording: Recording, name: str, lightly: Sandbox, context: dict[str, Any]
) -> None:
    recorded = recording.scene("worker_runs", name)
    run = Present.of(lightly, config_of(recorded))
    scene = recording.scene("worker_runs", name, run.in_place_of(recorded))

    with pytest.raises(LightlyRunNotTakenError if "pickup" in name else LightlyRunTimeoutError):
        resumed(scene, context)

    assert run.states() == ["CANCELED"]


@pytest.mark.parametrize(("recording", "name"), scenes("worker_runs", ending="completed"))
def test_an_event_of_a_newer_version_is_refused(
    recording: Recording, name: str, lightly: Sandbox, context: dict[str, Any]
) -> None:
    scene = recording.scene("worker_runs", name)

    with pytest.raises((LightlyStoredFormError, AirflowFailException), match=r"newer\s+version"):
        resumed(scene, context, event=scene.next_kwargs()["event"] | {"version": 2})
