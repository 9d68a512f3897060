"""What a plan says of a dataset, against a platform that follows a script, and what becomes of that as an XCom."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.fleet import Fleet, plan_fleet
from lightly_provider.fleet.report import in_parts
from lightly_provider.operators.arguments import moment_of
from lightly_provider.processed_until import all_files_new
from tests.contract.example_calls import CONFIG, DATASET, RUN
from tests.unit.api.canaries import CANARY
from tests.unit.api.scripted_platform import Answer, ScriptedPlatform

if TYPE_CHECKING:
    from pathlib import Path

    from lightly_provider.fleet import FleetPlan


class At2026(datetime):
    """The clock stands in September 2026."""

    @classmethod
    def now(cls, tz: Any = UTC) -> datetime:
        """Return the time that it shows."""
        return datetime.fromtimestamp(1_790_001_000, tz)


OUTPUT = "s3://my-bucket/out/"
SELECTION = {"n_samples": 3, "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]}
SELECTION_ON_THE_WIRE = {**SELECTION, "autoTasks": []}
del SELECTION_ON_THE_WIRE["n_samples"]
GREEN = Answer(200, {"canList": True, "canRead": True, "canWrite": True, "canOverwrite": True})
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


def datasource(purpose: str, location: str) -> dict[str, Any]:
    """What the platform has of a datasource with these keys."""
    keys = {"s3AccessKeyId": KEYS["login"], "s3SecretAccessKey": KEYS["password"]}
    return {"purpose": purpose, "type": "S3", "fullPath": location, "s3Region": "eu-central-1", **keys}


class Planned:
    """Plans the dataset ``birds`` by what a file says of it, and by what the platform answers."""

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = file
        self._monkeypatch = monkeypatch
        self._monkeypatch.setenv("AIRFLOW_CONN_BUCKET", json.dumps({**KEYS, "conn_type": "aws"}))

    def __call__(self, said: dict[str, Any], *answers: Answer, is_new: bool = False) -> tuple[Fleet, FleetPlan]:
        common = {"name": "birds", "access": "bucket", "region": "eu-central-1", "thumbnails": False}
        self._file.write_text(json.dumps({"datasets": [{**common, "input": "s3://my-bucket/birds/", **said}]}))
        existing = [] if is_new else [{"id": DATASET, "name": "birds", "type": "Images"}]
        steps = [Answer(200, b"1000"), Answer(200, existing), *answers]
        with ScriptedPlatform(steps) as platform:
            connection = {"conn_type": "lightly", "host": platform.address, "password": "a-token-of-the-tests"}
            self._monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", json.dumps(connection))
            fleet = Fleet.read(self._file)
            return fleet, plan_fleet(fleet, estimate="nothing")


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planned:
    return Planned(tmp_path / "lightly_fleet.yaml", monkeypatch)


@pytest.mark.parametrize("purpose", ["INPUT", "LIGHTLY"])
def test_without_output_what_counts_before_the_input_cannot_work(planned: Planned, purpose: str) -> None:
    present = [datasource("INPUT_OUTPUT", "s3://my-bucket/birds/"), datasource(purpose, "s3://old/a/")]
    _, plan = planned({}, Answer(200, present))
    (birds,) = plan.datasets
    assert (birds.action, birds.reason) == (
        "cannot work",
        f"the dataset still has a datasource {purpose} s3://old/a/, which counts before INPUT_OUTPUT and cannot be "
        "removed; write output, or choose another name",
    )


@pytest.mark.parametrize("purposes", [["INPUT"], ["INPUT", "LIGHTLY"]])
def test_without_output_what_counts_before_the_input_may_be_at_the_input(planned: Planned, purposes: list[str]) -> None:
    present = [datasource(purpose, "s3://my-bucket/birds") for purpose in purposes]
    _, plan = planned({}, Answer(200, present))
    assert [(each.action, each.reason) for each in plan.datasets] == [("update", "no datasource INPUT_OUTPUT yet")]
    present.append(datasource("INPUT_OUTPUT", "s3://my-bucket/birds/"))
    _, plan = planned({}, Answer(200, present), GREEN)
    assert [(each.action, each.reason) for each in plan.datasets] == [("unchanged", "")]


def test_with_an_output_what_counts_after_the_input_may_stay(planned: Planned) -> None:
    present = [
        datasource("INPUT_OUTPUT", "s3://old/a/"),
        datasource("INPUT", "s3://my-bucket/birds/"),
        datasource("LIGHTLY", OUTPUT),
    ]
    _, plan = planned({"output": OUTPUT}, Answer(200, present), GREEN)
    assert [(each.action, each.reason) for each in plan.datasets] == [("unchanged", "")]


def test_an_access_of_the_output_counts_only_with_an_output(planned: Planned) -> None:
    # A connection that does not exist would be a fault.
    fleet, plan = planned({"output_access": "nowhere"}, is_new=True)
    assert [each.action for each in plan.datasets] == ["create"]
    ((arguments,),) = in_parts(fleet, plan, n_parts=1, most=10)["parts"]
    assert arguments["output_aws_conn_id"] is None
    _, plan = planned({"output_access": "nowhere", "output": OUTPUT}, is_new=True)
    assert "There is no Airflow connection 'nowhere'" in plan.datasets[0].reason


def stored_config(n_samples: int) -> Answer:
    """A stored configuration of the worker."""
    config = {
        "workerType": "FULL",
        "docker": {"useDatapool": True},
        "lightly": {},
        "selection": {**SELECTION_ON_THE_WIRE, "nSamples": n_samples},
    }
    return Answer(200, {"id": CONFIG, "version": "V4", "config": config})


def schedule_of(*states: str, runs_on: tuple[str, ...] = ()) -> Answer:
    """The schedule of the dataset, with an entry in each state."""
    common = {"datasetId": DATASET, "configId": CONFIG, "runsOn": runs_on}
    return Answer(200, [{"id": f"{number:024x}", "state": state, **common} for number, state in enumerate(states)])


def runs_with(n_samples: int, processed_until: int, state: str = "COMPLETED") -> list[Answer]:
    """Answers about the runs: one, created at second 1,790,000,000."""
    run = {"id": RUN, "state": state, "configId": CONFIG, "createdAt": 1_790_000_000_000}
    answers = [schedule_of(), Answer(200, [run]), stored_config(n_samples)]
    if state == "COMPLETED" and n_samples == SELECTION["n_samples"]:
        answers.append(Answer(200, {"processedUntilTimestamp": processed_until}))
    return [*answers, Answer(200, [])]


@pytest.mark.parametrize(
    ("n_samples", "processed_until", "expected"),
    [
        (3, 1_790_000_100, ("unchanged", "")),
        (3, all_files_new(1_789_999_999), ("unchanged", "")),
        # A first pass that failed had changed the input.
        (
            3,
            all_files_new(1_790_000_001),
            ("update", "no run has read all files since the input or the selection changed"),
        ),
        (2, 1_790_000_100, ("update", "no run with this selection and these options of the worker yet")),
    ],
)
def test_what_no_run_has_read_or_selected_from_is_read_as_a_whole(
    planned: Planned, n_samples: int, processed_until: int, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightly_provider.fleet.plan.datetime", At2026)
    present = [datasource("INPUT_OUTPUT", "s3://my-bucket/birds/")]
    _, plan = planned({"selection": SELECTION}, Answer(200, present), GREEN, *runs_with(n_samples, processed_until))
    (birds,) = plan.datasets
    assert (birds.action, birds.reason) == expected
    reset = birds.reset_processed_until
    if expected[0] == "unchanged":
        assert reset is None
    else:
        # As the operator of the run reads it.
        read = moment_of(reset or "", argument="reset_processed_until")
        assert read == all_files_new(At2026.now().timestamp())


ANOTHER_RUN = "a run with this selection and these options of the worker"


@pytest.mark.parametrize(
    ("n_samples", "changes", "waits"),
    [
        (3, {}, []),
        (2, {}, [ANOTHER_RUN]),
        (3, {"fullPath": "s3://my-bucket/other/"}, ["datasource INPUT_OUTPUT has another location"]),
        (2, {"thumbSuffix": "x"}, ["datasource INPUT_OUTPUT has another thumbnails", ANOTHER_RUN]),
    ],
)
def test_while_a_worker_has_a_run_nothing_of_the_dataset_is_changed(
    planned: Planned, n_samples: int, changes: dict[str, str], waits: list[str]
) -> None:
    present = datasource("INPUT_OUTPUT", "s3://my-bucket/birds/") | changes
    light = [] if changes else [GREEN]
    waiting = f"; until it has ended, this waits: {'; '.join(waits)}" if waits else ""
    taken = [schedule_of("OPEN", "LOCKED"), Answer(200, []), stored_config(n_samples)]
    for answers, run in (
        (runs_with(n_samples, 0, state="EMBEDDING"), f"run {RUN} is EMBEDDING"),
        # Its run does not exist yet.
        (taken, f"a worker has taken scheduled run {1:024x}"),
    ):
        fleet, plan = planned({"selection": SELECTION}, Answer(200, [present]), *light, *answers)
        (birds,) = plan.datasets
        assert (birds.action, birds.in_progress, birds.reason) == ("unchanged", True, f"{run}{waiting}")
        assert in_parts(fleet, plan, n_parts=1, most=10)["parts"] == [[]]


@pytest.mark.parametrize(
    ("location", "answers", "action"),
    [
        ("s3://my-bucket/other/", [schedule_of("LOCKED"), Answer(200, [])], "unchanged"),
        ("s3://my-bucket/other/", [schedule_of("OPEN"), Answer(200, [])], "update"),
        # The schedule is not read.
        ("s3://my-bucket/birds/", [], "update"),
    ],
)
def test_the_input_of_a_dataset_without_a_selection_waits_for_a_run_of_somebody_else(
    planned: Planned, location: str, answers: list[Answer], action: str
) -> None:
    present = datasource("INPUT_OUTPUT", location) | {"thumbSuffix": "x"}
    _, plan = planned({}, Answer(200, [present]), *answers)
    (birds,) = plan.datasets
    assert (birds.action, birds.in_progress) == (action, action == "unchanged")


OTHER_RUN = " with another selection, other options of the worker or other labels"


@pytest.mark.parametrize(
    ("n_samples", "labels", "runs_on", "other"),
    [(3, (), [], ""), (3, ("b", "a"), ["a", "b"], ""), (3, ("a",), [], OTHER_RUN), (2, (), [], OTHER_RUN)],
)
@pytest.mark.parametrize("location", ["s3://my-bucket/birds/", "s3://my-bucket/other/"])
def test_while_a_run_waits_for_a_worker_the_datasources_are_corrected_and_no_other_run_is_started(
    planned: Planned, location: str, n_samples: int, labels: tuple[str, ...], runs_on: list[str], other: str
) -> None:
    moved = location != "s3://my-bucket/birds/"
    answers = [Answer(200, [datasource("INPUT_OUTPUT", location)]), *([] if moved else [GREEN])]
    answers += [schedule_of("OPEN", runs_on=labels), Answer(200, [])]
    if sorted(labels) == sorted(runs_on):
        answers.append(stored_config(n_samples))
    said = {"selection": SELECTION, "runs_on": runs_on}
    fleet, plan = planned(said, *answers, *([Answer(200, [])] if moved else []))
    (birds,) = plan.datasets
    assert (birds.action, birds.in_progress) == ("update" if moved else "unchanged", True)
    assert f"scheduled run {0:024x}{other} waits for a worker; " in birds.reason
    assert birds.reason.endswith("cancel it, by CancelLightlyRunOperator or in the web app")
    assert birds.reason.startswith("datasource INPUT_OUTPUT has another location; ") is moved
    (part,) = in_parts(fleet, plan, n_parts=1, most=10)["parts"]
    without_run = {"resource_path": "s3://my-bucket/birds/", "selection_config": None, "worker_config": None}
    assert [{name: arguments[name] for name in without_run} for arguments in part] == ([without_run] if moved else [])
    assert all(arguments["reset_processed_until"] is None for arguments in part)
