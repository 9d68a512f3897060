"""A try under today's code finds the run that an earlier try scheduled under an earlier version: never a second one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from lightly_provider.exceptions import LightlyStoredFormError
from lightly_provider.hooks.lightly import LightlyHook
from tests.integration.conftest import TaskInstance
from tests.integration.staged_worker import SIZES
from tests.upgrade.present_runs import Present, config_of, event_of
from tests.upgrade.recordings import Recording, Scene, fingerprint_as_of_31d450a, scenes

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox

STATE_KEY = "lightly_worker_run"


class Store(dict[str, Any]):
    """A task's own part of Airflow's task state store: values of JSON, by key."""

    def set(self, key: str, value: Any) -> None:
        """Keep it, as JSON."""
        self[key] = json.loads(json.dumps(value))


class SecondTry:
    """
    The second try of the task that was recorded, with what its first try kept.

    :param kept: The content of the task state store; None: this Airflow has none.
    """

    def __init__(self, scene: Scene, kept: dict[str, Any] | None) -> None:
        self.task = scene.task()
        ti: Any = TaskInstance()
        ti.try_number, ti.max_tries, ti.task = scene["try_number"] + 1, scene["max_tries"], self.task
        started = datetime.now(UTC) - timedelta(minutes=5)
        self.context: dict[str, Any] = {"ti": ti, "dag_run": SimpleNamespace(start_date=started)}
        if kept is not None:
            self.context["task_state_store"] = Store(kept)

    def result(self) -> Any:
        """What it returns: at once, or after its wait in the triggerer."""
        try:
            return self.task.execute(self.context)
        except TaskDeferred as deferred:
            event = event_of(deferred.trigger)
            return self.task.resume_execution(deferred.method_name, {"event": event}, self.context)

    def scheduled_run_id(self) -> str:
        """The run that it waits for."""
        with pytest.raises(TaskDeferred) as deferred:
            self.task.execute(self.context)
        return str(deferred.value.trigger.scheduled_run_id)


def remembered(ending: str) -> list[Any]:
    """The scenes in which the task state store holds something."""
    return [
        found
        for found in scenes("worker_runs", ending=ending)
        if "task_state" in found.values[0].scene("worker_runs", found.values[1]).content
    ]


def config_stored_by(recording: Recording) -> dict[str, Any]:
    """The configuration that the recorded tasks stored, all of them the same."""
    return config_of(recording.scene("worker_runs", "run_deferred"))


def kept_by(scene: Scene, run: Present, config: dict[str, Any], config_id: str) -> dict[str, Any]:
    """What the earlier version kept in the task state store, for the run that takes the place of the recorded one."""
    kept = json.loads(scene["task_state"][STATE_KEY])
    # The recipe is the earlier version's, as it makes of the recorded request what was recorded.
    assert kept["fingerprint"] == fingerprint_as_of_31d450a(scene["dataset_id"], scene["label"], config)
    kept["fingerprint"] = fingerprint_as_of_31d450a(run.dataset_id, run.worker.label, config)
    kept["config_id"] = config_id
    if kept["scheduled_run_id"]:
        kept["scheduled_run_id"] = run.scheduled_run_id
    return {STATE_KEY: kept}


def second_try(recording: Recording, name: str, run: Present) -> SecondTry:
    """The second try of a recorded task, whose first one scheduled the run."""
    recorded = recording.scene("worker_runs", name)
    config, (entry,) = config_stored_by(recording), run.worker.schedule(run.dataset_id)
    scene = recording.scene("worker_runs", name, run.in_place_of(recorded))
    return SecondTry(scene, kept_by(recorded, run, config, entry["configId"]))


@pytest.mark.parametrize(("recording", "name"), remembered("run_deferred"))
def test_a_run_that_is_active_is_waited_for(recording: Recording, name: str, lightly: Sandbox) -> None:
    run = Present.of(lightly, config_stored_by(recording))
    again = second_try(recording, name, run)

    assert again.scheduled_run_id() == run.scheduled_run_id
    assert run.states() == ["OPEN"]


@pytest.mark.parametrize(("recording", "name"), remembered("run_deferred"))
def test_a_run_that_completed_during_the_upgrade_is_the_result(
    recording: Recording, name: str, lightly: Sandbox
) -> None:
    run = Present.of(lightly, config_stored_by(recording))
    run_id = run.end("COMPLETED")

    result = second_try(recording, name, run).result()

    assert (result["scheduled_run_id"], result["run_id"]) == (run.scheduled_run_id, run_id)
    assert result["report"] == SIZES
    assert run.states() == ["DONE"]


@pytest.mark.parametrize(("recording", "name"), remembered("run_config_stored"))
def test_a_run_whose_scheduling_was_never_answered_is_found_by_its_configuration(
    recording: Recording, name: str, lightly: Sandbox
) -> None:
    run = Present.of(lightly, config_stored_by(recording))
    again = second_try(recording, name, run)

    assert again.scheduled_run_id() == run.scheduled_run_id
    assert run.states() == ["OPEN"]


@pytest.mark.parametrize(("recording", "name"), remembered("run_config_stored"))
def test_a_run_that_was_never_scheduled_is_scheduled_once(recording: Recording, name: str, lightly: Sandbox) -> None:
    # Of another dataset: on its own nothing was scheduled.
    elsewhere, run = (Present.of(lightly, config_stored_by(recording)) for _ in range(2))
    LightlyHook().cancel_scheduled_run(run.dataset_id, run.scheduled_run_id)
    recorded = recording.scene("worker_runs", name)
    (entry,) = elsewhere.worker.schedule(elsewhere.dataset_id)
    kept = kept_by(recorded, run, config_stored_by(recording), entry["configId"])
    again = SecondTry(recording.scene("worker_runs", name, run.in_place_of(recorded)), kept)

    assert again.scheduled_run_id() not in (elsewhere.scheduled_run_id, run.scheduled_run_id)
    assert again.scheduled_run_id() == again.scheduled_run_id()
    assert run.states() == ["CANCELED", "OPEN"]


@pytest.mark.parametrize(("recording", "name"), scenes("worker_runs", ending="run_deferred"))
def test_without_a_task_state_store_the_run_is_found_by_an_equal_configuration(
    recording: Recording, name: str, lightly: Sandbox
) -> None:
    recorded = recording.scene("worker_runs", name)
    run = Present.of(lightly, config_of(recorded))
    again = SecondTry(recording.scene("worker_runs", name, run.in_place_of(recorded)), None)

    assert again.scheduled_run_id() == run.scheduled_run_id
    assert run.states() == ["OPEN"]


@pytest.mark.parametrize(("recording", "name"), remembered("run_deferred"))
def test_a_run_that_a_newer_version_stored_is_refused_and_no_second_one_is_scheduled(
    recording: Recording, name: str, lightly: Sandbox
) -> None:
    run = Present.of(lightly, config_stored_by(recording))
    again = second_try(recording, name, run)
    again.context["task_state_store"][STATE_KEY]["version"] = 2

    with pytest.raises(LightlyStoredFormError, match=r"was stored by a newer version of\s+airflow-provider-lightly"):
        again.task.execute(again.context)

    assert run.states() == ["OPEN"]
