"""What a DAG run made of a fleet: decided from the plan, the states of its tasks, and what failed ones left."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.credentials import InvalidAccessError
from lightly_provider.aws.location import InvalidLocationError
from lightly_provider.aws.regions import InvalidRegionError
from lightly_provider.exceptions import LightlyError, LightlyPermissionsError
from lightly_provider.fleet.file import Fleet
from lightly_provider.fleet.planned import Action, FleetPlan, PlannedDataset
from lightly_provider.fleet.report import FAILURE, in_parts, keep_failure, report_of, report_on
from lightly_provider.masking import mask_secret
from lightly_provider.task_groups import onboard_s3_dataset

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = {"onboard": ["onboard.create_dataset", "onboard.verify_permissions", "onboard.run_worker"]}
DENIED = 'Dataset \'b\' lacks permissions: write in LIGHTLY.\nAdd to the policy:\n{\n  "Effect": "Allow"\n}'


def planned(*names: str, **others: str) -> dict[str, Any]:
    """A plan: these datasets are to be created, the others have another action."""
    reasons = {"cannot work": "The connection is missing."}
    actions = dict.fromkeys(names, "create") | others
    datasets = [
        {"name": name, "owner": None, "action": action, "reason": reasons.get(action, "new")}
        for name, action in actions.items()
    ]
    return {"datasets": datasets, "parts": [[{"dataset_name": name} for name in names]]}


def states(*of_datasets: str) -> dict[tuple[str, int], str | None]:
    """The states of the group's tasks, of each dataset as one text."""
    return {
        (task_id, index): None if state == "none" else state
        for index, text in enumerate(of_datasets)
        for task_id, state in zip(GROUPS["onboard"], text.split(), strict=True)
    }


def test_each_dataset_has_its_ending_and_the_failed_one_its_reason() -> None:
    report = report_of(
        planned("a", "b", "c", d="unchanged", e="cannot work"),
        GROUPS,
        states("success success success", "success failed upstream_failed", "success success skipped"),
        {("onboard.verify_permissions", 1): DENIED},
    )
    assert {dataset.name: str(dataset.ending) for dataset in report.datasets} == {
        "a": "onboarded",
        "b": "failed",
        "c": "onboarded",
        "d": "unchanged",
        "e": "cannot work",
    }
    assert report.summary() == ("3 of 5 datasets are onboarded (2 onboarded, 1 unchanged, 1 failed, 1 cannot work).")
    b, e = report.missing
    assert (b.task_id, b.map_index, b.reason) == ("onboard.verify_permissions", 1, DENIED)
    assert e.reason == "The connection is missing."
    table = report.table()
    line = next(line for line in table.splitlines() if line.startswith("b "))
    assert line.split("  ")[-1] == "Dataset 'b' lacks permissions: write in LIGHTLY."
    assert line.split()[2:4] == ["failed", "onboard.verify_permissions"]
    assert '\n    "Effect": "Allow"\n' in table


def test_a_report_raises_with_the_names_and_causes_only_if_a_dataset_is_missing() -> None:
    whole = report_of(planned("a", b="unchanged"), GROUPS, states("success success success"), {})
    whole.raise_if_incomplete()
    report = report_of(planned("a", b="cannot work"), GROUPS, states("success success success"), {})
    with pytest.raises(
        LightlyError, match=r"^1 of 2 datasets are not onboarded\.\n(.*\n)+b: The connection is missing\.$"
    ):
        report.raise_if_incomplete()


def test_a_run_in_progress_is_neither_onboarded_nor_a_failure() -> None:
    plan = planned("a", b="unchanged", c="unchanged", d="cannot work")
    plan["datasets"][2] |= {"in_progress": True, "reason": "run 5f is EMBEDDING"}
    report = report_of(plan, GROUPS, states("success success success"), {})
    assert report.summary() == (
        "2 of 4 datasets are onboarded (1 onboarded, 1 unchanged, 1 in progress, 1 cannot work)."
    )
    line = next(line for line in report.table().splitlines() if line.startswith("c "))
    assert line.split("  ")[-1].strip() == "run 5f is EMBEDDING"
    said = report.as_dict()
    assert (said["n_onboarded"], said["n_in_progress"]) == (2, 1)
    assert {key: said["datasets"][2][key] for key in ("ending", "onboarded", "reason")} == {
        "ending": "in progress",
        "onboarded": False,
        "reason": "run 5f is EMBEDDING",
    }
    with pytest.raises(LightlyError, match=r"^1 of 4 datasets are not onboarded, and 1 in progress\."):
        report.raise_if_incomplete()
    del plan["datasets"][3]
    report_of(plan, GROUPS, states("success success success"), {}).raise_if_incomplete()


def test_a_dataset_that_was_updated_while_a_run_waits_is_in_progress_unless_it_failed() -> None:
    plan = planned("a", "b")
    for dataset in plan["datasets"]:
        dataset |= {"action": "update", "in_progress": True, "reason": "scheduled run 5f waits"}
    found = states("success success skipped", "success failed upstream_failed")
    report = report_of(plan, GROUPS, found, {("onboard.verify_permissions", 1): DENIED})
    a, b = report.datasets
    assert (str(a.ending), a.reason) == ("in progress", "Updated: scheduled run 5f waits")
    assert (str(b.ending), b.reason) == ("failed", DENIED)


def test_a_run_that_selected_nothing_is_onboarded_and_said() -> None:
    found = states("success success success", "success success success")
    report = report_of(planned("a", "b"), GROUPS, found, {}, {"b"})
    a, b = report.datasets
    assert (str(a.ending), a.reason, str(b.ending)) == ("onboarded", "", "onboarded")
    assert b.reason.startswith("The run selected nothing")
    assert "The run selected nothing" in report.table()
    report.raise_if_incomplete()


def test_what_a_run_selected_is_read_from_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    group = SimpleNamespace(group_id="onboard")
    tasks = [SimpleNamespace(task_id=each, get_closest_mapped_task_group=lambda: group) for each in GROUPS["onboard"]]
    found = states("success success success", "success success success")
    monkeypatch.setattr("lightly_provider.fleet.report.states_of_tasks", lambda **_: found)
    results = [{"dataset_name": "a", "n_selected": 0}, {"dataset_name": "b", "n_selected": 3}]
    # Airflow 3 returns the value of the only one instead of a list of it.
    for pulled, nothing in ((results, ["a"]), (results[0], ["a"]), (results[1], []), (None, [])):
        pull = {"onboard.run_worker": pulled}
        ti = SimpleNamespace(dag_id="d", run_id="r", xcom_pull=lambda task_ids, pull=pull: pull[task_ids])
        report = report_on(planned("a", "b"), ["onboard"], {"ti": ti, "dag": SimpleNamespace(tasks=tasks)})  # type: ignore[typeddict-item, typeddict-unknown-key]
        assert [each.name for each in report.datasets if each.reason] == nothing


def test_many_missing_datasets_make_a_short_message() -> None:
    names = [f"camera-{number}" for number in range(100)]
    report = report_of(planned(*names), GROUPS, {}, {})
    with pytest.raises(LightlyError) as raised:
        report.raise_if_incomplete()
    assert "and 80 more" in str(raised.value)
    assert len(str(raised.value)) < 4000
    assert all(name in report.table() for name in names)


@pytest.mark.parametrize(
    ("of_dataset", "said"),
    [
        ("none none none", "No task of it was started"),
        ("upstream_failed upstream_failed upstream_failed", "ended as upstream_failed"),
        ("skipped skipped skipped", "No task of it was started"),
        ("success failed upstream_failed", "It was killed, or marked as failed"),
        ("removed removed removed", "ended as removed"),
        ("success running none", "ended as running"),
    ],
)
def test_whatever_is_not_seen_to_be_well_is_not_onboarded(of_dataset: str, said: str) -> None:
    (dataset,) = report_of(planned("a"), GROUPS, states(of_dataset), {}).missing
    assert str(dataset.ending) == "failed"
    assert said in dataset.reason


def test_datasets_of_a_second_group_have_the_indexes_of_that_group() -> None:
    plan = planned("a", "b")
    plan["parts"] = [[{"dataset_name": "a"}], [{"dataset_name": "b"}]]
    groups = {"onboard": ["onboard.verify"], "onboard_more": ["onboard_more.verify"]}
    found = {("onboard.verify", 0): "success", ("onboard_more.verify", 0): "failed"}
    report = report_of(plan, groups, found, {("onboard_more.verify", 0): "Denied."})
    assert [(dataset.name, dataset.reason) for dataset in report.missing] == [("b", "Denied.")]


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """Three datasets."""
    file = tmp_path / "lightly_fleet.yaml"
    lines = [
        f"  - {{name: camera-{number}, input: s3://bucket/{number}/, access: lightly_bucket}}" for number in range(3)
    ]
    file.write_text("\n".join(["datasets:", *lines, ""]))
    return Fleet.read(str(file))


def plan_of(fleet: Fleet, *actions: str, **about_first: Any) -> FleetPlan:
    datasets = [
        PlannedDataset(name=dataset.name, action=Action(action), reason="new", **(about_first if not number else {}))
        for number, (dataset, action) in enumerate(zip(fleet.datasets, actions, strict=True))
    ]
    return FleetPlan(datasets=tuple(datasets), quota="30000")


def test_only_what_needs_something_is_in_a_part(fleet: Fleet) -> None:
    found = in_parts(fleet, plan_of(fleet, "unchanged", "create", "update"), n_parts=1, most=1024)
    assert [[arguments["dataset_name"] for arguments in part] for part in found["parts"]] == [["camera-1", "camera-2"]]
    assert [dataset["action"] for dataset in found["datasets"]] == ["unchanged", "create", "update"]
    assert json.loads(json.dumps(found)) == found


def test_what_the_plan_wants_read_again_reaches_the_run(fleet: Fleet) -> None:
    plan = plan_of(fleet, "update", "update", "unchanged", reset_processed_until="1986-09-01T00:00:00+00:00")
    ((first, second),) = in_parts(fleet, plan, n_parts=1, most=1024)["parts"]
    assert (first["reset_processed_until"], second["reset_processed_until"]) == (
        "1986-09-01T00:00:00+00:00",
        None,
    )
    assert set(first) <= set(onboard_s3_dataset.defaults)


def test_the_reason_of_what_cannot_work_has_the_fix(fleet: Fleet) -> None:
    plan = plan_of(fleet, "cannot work", "create", "create", fix="Add:\n{}", owner="ann")
    first = in_parts(fleet, plan, n_parts=1, most=1024)["datasets"][0]
    assert first == {
        "name": "camera-0",
        "owner": "ann",
        "action": "cannot work",
        "in_progress": False,
        "reason": "new\nAdd:\n{}",
    }


def test_more_than_airflow_maps_is_in_several_parts_or_refused(fleet: Fleet) -> None:
    plan = plan_of(fleet, "create", "create", "create")
    assert [len(part) for part in in_parts(fleet, plan, n_parts=3, most=2)["parts"]] == [2, 1, 0]
    with pytest.raises(ValueError, match="3 datasets need something, and 1 task groups of at most 2 instances each"):
        in_parts(fleet, plan, n_parts=1, most=2)


def test_without_a_plan_the_report_says_so() -> None:
    with pytest.raises(LightlyError, match="The fleet was not planned"):
        report_on(None, ["onboard"], {})  # type: ignore[typeddict-item]


class Pushed:
    """A task instance that keeps what is pushed."""

    map_index = 3

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep it."""
        self.values[key] = value


def reason_kept(error: object) -> str:
    ti = Pushed()
    keep_failure({"ti": ti, "exception": error})  # type: ignore[typeddict-item, typeddict-unknown-key]
    assert ti.values[FAILURE]["map_index"] == 3
    return str(ti.values[FAILURE]["reason"])


def test_the_reason_that_is_kept_has_the_lines_of_the_message() -> None:
    assert reason_kept(LightlyPermissionsError(DENIED)) == DENIED
    assert reason_kept(ValueError("dataset_name is 'x', which is too short.")).startswith("dataset_name")


@pytest.mark.parametrize("error", [InvalidAccessError, InvalidLocationError, InvalidRegionError])
def test_an_error_of_this_provider_keeps_its_message_whatever_its_base_class(error: type[Exception]) -> None:
    assert reason_kept(error("It has a session token; use keys.")) == "It has a session token; use keys."


def test_an_error_that_no_retry_can_cure_is_the_cause_of_airflows_own() -> None:
    from airflow.providers.common.compat.sdk import AirflowFailException

    wrapped = AirflowFailException("LightlyPermissionsError: …")
    wrapped.__cause__ = LightlyPermissionsError(DENIED)
    assert reason_kept(wrapped) == DENIED


def test_a_reason_holds_no_secret_and_no_control_character_and_is_not_long() -> None:
    class OfAnotherLibraryError(Exception):
        pass

    of_another = reason_kept(OfAnotherLibraryError("https://x/?token=canary"))
    assert of_another == "OfAnotherLibraryError; the log of the task says more."
    assert "canary" not in reason_kept(ValueError("GET https://x/v1?token=canary&a=b failed"))
    assert "canary" not in reason_kept(InvalidAccessError("'http://joe:canary@host' is no address"))
    mask_secret("canary-of-a-key")
    assert reason_kept(InvalidAccessError("The key is canary-of-a-key.")) == "The key is ***."
    assert reason_kept(LightlyError("a\x1b[31m\x00b")) == "a\\x1b[31m\\x00b"
    assert "::group::" not in reason_kept(LightlyError("::group::x"))
    assert len(reason_kept(LightlyError("x" * 100_000))) < 5000
    assert reason_kept(None).startswith("It was ended from outside")
    assert reason_kept("Task is gone, token=canary") == reason_kept(None)
    assert reason_kept(LightlyError("")) == "LightlyError"
