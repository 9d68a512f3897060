"""A fleet's plan against a sandbox: what is to be done, why, and that nothing is changed to find out."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.cli.commands import main
from lightly_provider.fleet import Fleet, FleetPlan, plan_fleet
from lightly_provider.hooks.lightly import LightlyHook
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.worker import RunLightlyWorkerOperator
from tests.integration.worker_runs import NOBODY, SELECTION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lightly_provider.fleet import PlannedDataset
    from tests.integration.conftest import Traffic
    from tests.integration.sandbox import Sandbox

# Airflow looks for a connection that is nowhere else in its database.
pytestmark = pytest.mark.usefixtures("airflow_db")

MOST_REQUESTS = 11


@pytest.fixture
def fleet_of(tmp_path: Path) -> Callable[..., Fleet]:
    """Writes a fleet's file, which is YAML as all JSON is, and reads it."""

    def read(*datasets: dict[str, Any], **defaults: Any) -> Fleet:
        path = tmp_path / "lightly_fleet.yaml"
        path.write_text(json.dumps({"defaults": {"access": "aws_default", **defaults}, "datasets": datasets}))
        return Fleet.read(path)

    return read


def onboard(fleet: Fleet, context: dict[str, Any]) -> list[str]:
    """Do what the task group does for each dataset, without the run; return their ids."""
    ids = []
    for dataset in fleet.datasets:
        given = dataset.onboard_arguments()
        dataset_id = CreateLightlyDatasetOperator(
            task_id="create", dataset_name=given["dataset_name"], dataset_type=given["dataset_type"]
        ).execute(context)
        names = ("resource_path", "datasource_aws_conn_id", "output_resource_path", "region", "generate_thumbnails")
        ConfigureS3DatasourceOperator(
            task_id="configure", dataset_id=dataset_id, **{name: given[name] for name in names}
        ).execute(context)
        ids.append(dataset_id)
    return ids


def by_name(plan: FleetPlan) -> dict[str, PlannedDataset]:
    return {each.name: each for each in plan.datasets}


def named(kind: str) -> str:
    return f"{kind} {uuid.uuid4().hex[:8]}"


def test_each_dataset_that_cannot_work_has_its_reason_and_the_others_are_planned(
    lightly: Sandbox,
    photos: str,
    fleet_of: Callable[..., Fleet],
    traffic: Traffic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = lightly.bucket()
    lightly.aws("s3").put_object(Bucket=bucket, Key="a/1.jpg", Body=b"content")
    lists = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{bucket}"}
    for conn_id, keys in {"blind": lightly.user(), "unread": lightly.user(lists)}.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", lightly.aws_connection(keys))
    monkeypatch.setenv("AIRFLOW_CONN_KEYLESS", lightly.aws_connection())
    names = {each: named(each) for each in ("good", "other", "blind", "unread", "keyless", "nowhere", "gone", "large")}
    LightlyHook().get_or_create_dataset(names["other"], "Videos")
    traffic.sent.clear()

    plan = plan_fleet(
        fleet_of(
            {"name": names["good"], "input": f"s3://{photos}/raw/", "output": f"s3://{bucket}/out/", "owner": "ann"},
            {"name": names["other"], "input": f"s3://{bucket}/b/"},
            {"name": names["blind"], "input": f"s3://{bucket}/c/", "access": "blind"},
            {"name": names["unread"], "input": f"s3://{bucket}/a/", "access": "unread"},
            {"name": names["keyless"], "input": f"s3://{bucket}/d/", "access": "keyless"},
            {"name": names["nowhere"], "input": f"s3://{bucket}/e/", "access": "nowhere"},
            {"name": names["gone"], "input": f"s3://{bucket}-gone/"},
            {"name": names["large"], "input": f"s3://{bucket}/f/", "selection": {**SELECTION, "n_samples": 10**9}},
        )
    )

    assert traffic.writes() == []
    found = by_name(plan)
    good = found[names["good"]]
    assert (good.action, good.n_files, good.is_complete, good.owner) == ("create", 40, True, "ann")
    assert (good.n_bytes or 0) > 40 * 1000
    broken = {kind: found[name] for kind, name in names.items() if kind != "good"}
    assert {each.action for each in broken.values()} == {"cannot work"}
    reasons = {
        "other": "the dataset exists with the type Videos, and the file says Images",
        "blind": "lacks permissions: list",
        "unread": "lacks permissions: read",
        "keyless": "AWS connection 'keyless' has neither keys nor a role",
        "nowhere": "There is no Airflow connection 'nowhere'",
        "gone": f"Bucket '{bucket}-gone' does not exist",
        "large": "the selection takes 1,000,000,000 samples, and a dataset of this account may have",
    }
    for kind, reason in reasons.items():
        assert reason in broken[kind].reason
    assert '"Action": ["s3:GetObject"]' in broken["unread"].fix
    assert f'"arn:aws:s3:::{bucket}/a/*"' in broken["unread"].fix
    assert plan.summary().startswith("1 to create, 7 cannot work because ")
    said = json.dumps(plan.as_dict())
    assert lightly.admin.secret_access_key not in said


def test_a_dataset_is_unchanged_until_the_file_or_the_access_changes(
    lightly: Sandbox,
    photos: str,
    fleet_of: Callable[..., Fleet],
    context: dict[str, Any],
    traffic: Traffic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = lightly.bucket()
    datasets = [
        {"name": named("one"), "input": f"s3://{photos}/raw/", "output": f"s3://{out}/one/"},
        {"name": named("two"), "input": f"s3://{out}/two/"},
    ]
    fleet = fleet_of(*datasets)
    assert [each.action for each in plan_fleet(fleet).datasets] == ["create", "create"]
    onboard(fleet, context)

    traffic.sent.clear()
    plan = plan_fleet(fleet)
    assert [(each.action, each.reason) for each in plan.datasets] == [
        ("unchanged", ""),
        ("unchanged", "the input has no images yet"),
    ]
    assert traffic.writes() == []
    assert len(traffic.sent) <= MOST_REQUESTS * len(datasets)

    datasets[0]["output"] = f"s3://{out}/elsewhere/"
    datasets[1]["thumbnails"] = False
    changed = plan_fleet(fleet_of(*datasets))
    assert [(each.action, each.reason.split("; ")[0]) for each in changed.datasets] == [
        ("update", "datasource LIGHTLY has another location"),
        ("update", "datasource INPUT_OUTPUT has another thumbnails"),
    ]

    reads = {"Effect": "Allow", "Action": ["s3:ListBucket", "s3:GetObject"], "Resource": "*"}
    keys = lightly.user(reads)
    monkeypatch.setenv("AIRFLOW_CONN_READER", lightly.aws_connection(keys))
    another = fleet_of({**datasets[0], "access": "reader"})
    (planned,) = plan_fleet(another).datasets
    assert (planned.action, planned.reason) == (
        "update",
        "datasource INPUT has another access key, secret key; datasource LIGHTLY has another location, access key, "
        "secret key",
    )
    # Lightly may not write there, which the platform's lights show once it is set.
    onboard(another, context)
    (planned,) = plan_fleet(another).datasets
    assert planned.action == "cannot work"
    assert "lacks permissions: write" in planned.reason


@pytest.mark.exhaustive(sample="test_a_dataset_is_unchanged_until_the_file_or_the_access_changes")
def test_a_run_is_needed_once_and_then_only_after_a_change(
    lightly: Sandbox, photos: str, fleet_of: Callable[..., Fleet], context: dict[str, Any], traffic: Traffic
) -> None:
    dataset = {
        "name": named("runs"),
        "input": f"s3://{photos}/raw/",
        "output": f"s3://{lightly.bucket()}/",
        "selection": SELECTION,
        "runs_on": [NOBODY],
    }
    fleet = fleet_of(dataset)
    (dataset_id,) = onboard(fleet, context)
    plan = plan_fleet(fleet)
    (planned,) = plan.datasets
    assert (planned.action, planned.reason) == ("update", "no run yet")
    assert plan.notes[0].startswith(f"No worker with the labels {NOBODY} is registered")

    given = fleet.datasets[0].onboard_arguments()
    arguments = {name: given[name] for name in ("selection_config", "worker_config", "runs_on")}
    RunLightlyWorkerOperator(task_id="run", dataset_id=dataset_id, wait_for_completion=False, **arguments).execute(
        context
    )
    (planned,) = plan_fleet(fleet).datasets
    assert (planned.action, planned.in_progress) == ("unchanged", True)
    assert "waits for a worker; if none takes it, cancel it" in planned.reason
    (planned,) = plan_fleet(fleet_of({**dataset, "input": f"s3://{photos}/raw/astronaut/"})).datasets
    assert (planned.action, planned.in_progress) == ("update", True)

    RunLightlyWorkerOperator(
        task_id="run", dataset_id=dataset_id, poll_interval=0.2, **{**arguments, "runs_on": []}
    ).execute(context)
    (waiting,) = [each for each in LightlyHook().get_scheduled_runs(dataset_id) if each.state == "OPEN"]
    LightlyHook().cancel_scheduled_run(dataset_id, waiting.id)
    traffic.sent.clear()
    (planned,) = plan_fleet(fleet).datasets
    assert (planned.action, planned.reason, planned.in_progress) == ("unchanged", "", False)
    assert traffic.writes() == []
    assert len(traffic.sent) <= MOST_REQUESTS

    other = {**dataset, "selection": {**SELECTION, "n_samples": 3}}
    (planned,) = plan_fleet(fleet_of(other)).datasets
    assert (planned.action, planned.reason) == (
        "update",
        "no run with this selection and these options of the worker yet",
    )

    # A pass that sets another input, and ends before its run.
    moved = fleet_of({**dataset, "input": f"s3://{photos}/raw/astronaut/"})
    onboard(moved, context)
    (planned,) = plan_fleet(moved).datasets
    assert (planned.action, planned.reason) == (
        "update",
        "no run has read all files since the input or the selection changed",
    )
    RunLightlyWorkerOperator(
        task_id="run",
        dataset_id=dataset_id,
        poll_interval=0.2,
        reset_processed_until=planned.reset_processed_until,
        **{**arguments, "runs_on": []},
    ).execute(context)
    assert [each.action for each in plan_fleet(moved).datasets] == ["unchanged"]


@pytest.mark.exhaustive(sample="test_a_dataset_is_unchanged_until_the_file_or_the_access_changes")
def test_a_platform_that_hides_secrets_changes_nothing(
    masking_sandbox: Sandbox,
    fleet_of: Callable[..., Fleet],
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", masking_sandbox.lightly_connection())
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", masking_sandbox.aws_connection(masking_sandbox.admin))
    fleet = fleet_of({"name": named("masked"), "input": f"s3://{masking_sandbox.bucket()}/a/"})
    onboard(fleet, context)
    assert [each.action for each in plan_fleet(fleet).datasets] == ["unchanged"]


@pytest.mark.exhaustive(sample="test_a_dataset_is_unchanged_until_the_file_or_the_access_changes")
def test_a_role_that_only_lightly_can_assume_is_planned_without_a_look_from_here(
    lightly: Sandbox,
    photos: str,
    fleet_of: Callable[..., Fleet],
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    external_id = uuid.uuid4().hex
    role = lightly.role(external_id, {"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    connection = lightly.aws_connection(role_arn=role, assume_role_kwargs={"ExternalId": external_id})
    monkeypatch.setenv("AIRFLOW_CONN_ROLE", connection)
    fleet = fleet_of(
        {"name": named("role"), "input": f"s3://{photos}/raw/", "thumbnails": False},
        access="role",
        region=lightly.region,
    )
    (planned,) = plan_fleet(fleet).datasets
    assert (planned.action, planned.n_files) == ("create", None)
    onboard(fleet, context)
    (planned,) = plan_fleet(fleet).datasets
    assert (planned.action, planned.reason) == ("unchanged", "")
    lightly.aws("iam").delete_role_policy(RoleName=role.rpartition("/")[2], PolicyName="access")
    (planned,) = plan_fleet(fleet).datasets
    assert planned.action == "cannot work"
    assert "lacks permissions: list, read" in planned.reason
    assert planned.reason.endswith(")")
    assert planned.fix.startswith("To the IAM policy of role ")


@pytest.mark.parametrize(("options", "files"), [([], "40"), (["--count"], "40"), (["--platform-only"], None)])
def test_the_command_says_what_is_to_be_done(
    options: list[str],
    files: str | None,
    lightly: Sandbox,
    photos: str,
    fleet_of: Callable[..., Fleet],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = named("cli")
    fleet_of({"name": name, "input": f"s3://{photos}/raw/", "output": f"s3://{lightly.bucket()}/"})
    main(["fleet", "plan", str(tmp_path / "lightly_fleet.yaml"), *options])
    out, err = capsys.readouterr()
    header, line = out.splitlines()
    assert header.split() == ["name", "action", "files", "size", "owner", "reason"]
    assert line.startswith(f"{name}  create  {files or ''}")
    assert err.splitlines()[-1] == "1 to create."


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("datasets: [{name: birds}]", 2, "line 1, column 12: input is missing; add it."),
        (
            "datasets: [{name: birds, input: s3://bkt/a/, access: nowhere}]",
            5,
            "1 cannot work because There is no Airflow",
        ),
    ],
)
def test_the_exit_code_says_whether_all_can_work(
    text: str, code: int, said: str, lightly: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fleet.yaml").write_text(text)
    with pytest.raises(SystemExit) as end:
        main(["fleet", "plan", str(tmp_path / "fleet.yaml"), "--output", "json"])
    out, err = capsys.readouterr()
    assert end.value.code == code
    assert said in err
    assert bool(out) is (code == 5)
