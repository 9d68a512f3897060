"""A verification that an earlier version deferred goes on, and its verdicts can be compared with today's."""

from __future__ import annotations

import json
import time
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from lightly_provider.exceptions import LightlyPermissionsError
from lightly_provider.operators.access import CreateLightlyAccessRoleOperator, CreateLightlyAccessUserOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from tests.integration.conftest import TaskInstance
from tests.integration.staged_worker import platform
from tests.thinning import thinned
from tests.upgrade.present_runs import event_of
from tests.upgrade.recordings import Recording, Scene, scenes

if TYPE_CHECKING:
    from tests.integration.sandbox import Keys, Sandbox

ANYTHING = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
# Of the recorded pauses, of 13 and 14 s, while the provider was upgraded.
SPENT_WITHOUT_TRIGGERER_S = 12


@pytest.fixture(autouse=True)
def in_the_sandboxs_region(lightly: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets Manager has regions."""
    connection = lightly.aws_connection(lightly.admin, region_name=lightly.region)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection)


@pytest.fixture
def dataset_id(lightly: Sandbox) -> str:
    """A dataset without a datasource."""
    made = platform(lightly, "POST", "/v1/datasets", {"name": f"upgrade {uuid.uuid4().hex[:12]}", "type": "Images"})
    return str(made["id"])


@pytest.fixture
def keys_of_nobody(lightly: Sandbox, dataset_id: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Keys:
    """Keys without a right, which the dataset's datasource has."""
    keys = lightly.user()
    monkeypatch.setenv("AIRFLOW_CONN_OF_NOBODY", lightly.aws_connection(keys))
    ConfigureS3DatasourceOperator(
        task_id="configure",
        dataset_id=dataset_id,
        resource_path=f"s3://{lightly.bucket()}/raw/",
        datasource_aws_conn_id="of_nobody",
        region=lightly.region,
    ).execute(context)
    return keys


def resumed(scene: Scene, context: dict[str, Any], event: Any) -> Any:
    """What the task returns when Airflow resumes it."""
    return scene.task().resume_execution(scene["next_method"], scene.next_kwargs() | {"event": event}, context)


@pytest.mark.parametrize(("recording", "name"), thinned(scenes("verifications", ending="_deferred"), keep=1))
def test_a_verification_that_was_deferred_sees_the_grant_that_came_meanwhile(
    recording: Recording,
    name: str,
    lightly: Sandbox,
    dataset_id: str,
    keys_of_nobody: Keys,
    context: dict[str, Any],
) -> None:
    recorded = recording.scene("verifications", name)
    recorded_at = time.time() - SPENT_WITHOUT_TRIGGERER_S
    scene = recording.scene("verifications", name, {recorded["dataset_id"]: dataset_id}, at=recorded_at)
    lightly.grant(keys_of_nobody.user_name, ANYTHING)

    event = event_of(scene.trigger())
    verdict = resumed(scene, context, event)

    assert (verdict["dataset_id"], verdict["ok"]) == (dataset_id, True)


@pytest.mark.parametrize(("recording", "name"), scenes("verifications", ending="_resumed"))
@pytest.mark.usefixtures("keys_of_nobody")
def test_a_verification_whose_time_ran_out_during_the_upgrade_fails_and_waits_no_longer(
    recording: Recording, name: str, dataset_id: str, context: dict[str, Any]
) -> None:
    recorded = recording.scene("verifications", name)
    scene = recording.scene("verifications", name, {recorded["dataset_id"]: dataset_id}, at=time.time() - 600)
    began = time.monotonic()

    with pytest.raises(LightlyPermissionsError):
        resumed(scene, context, scene.next_kwargs()["event"])

    assert time.monotonic() - began < 30


@pytest.mark.parametrize(("recording", "name"), scenes("verifications", ending="_after_grant_deferred"))
@pytest.mark.usefixtures("keys_of_nobody")
def test_a_grant_that_a_task_made_under_the_earlier_version_is_waited_for(
    recording: Recording, name: str, dataset_id: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = recording.scene("verifications", name)
    scene = recording.scene("verifications", name, {recorded["dataset_id"]: dataset_id})
    context["ti"].pushed |= scene["xcoms_of_the_grant"]
    # The pauses before the first deferral.
    monkeypatch.setattr(time, "sleep", lambda _: None)

    with pytest.raises(TaskDeferred) as deferred:
        scene.task().execute(context)

    assert deferred.value.kwargs is not None
    changed_at = datetime.fromisoformat(scene["xcoms_of_the_grant"]["return_value"]["changed_at"])
    assert deferred.value.kwargs["granted"] == changed_at.timestamp()


# --- verdicts -----------------------------------------------------------------------------------------------------


class Onboarded:
    """A dataset with an access like the recorded one, verified under today's code."""

    def __init__(self, sandbox: Sandbox, kind: str, dataset_id: str) -> None:
        self.name, self.bucket, self.dataset_id = f"upgrade-{uuid.uuid4().hex[:8]}", sandbox.bucket(), dataset_id
        sandbox.seed(f"s3://{self.bucket}/raw/", 2)
        self._kind, self._iam = kind, sandbox.aws("iam")
        create = {"role": CreateLightlyAccessRoleOperator, "user": CreateLightlyAccessUserOperator}[kind]
        places = {"resource_path": f"s3://{self.bucket}/raw/", "output_resource_path": f"s3://{self.bucket}/lightly/"}
        conn_id, named = f"secretsmanager://aws_default/{self.name}", {f"{kind}_name": self.name}
        create(task_id="create", access_conn_id=conn_id, **places, **named).execute({"ti": TaskInstance()})
        ConfigureS3DatasourceOperator(
            task_id="configure", dataset_id=dataset_id, datasource_aws_conn_id=conn_id, **places
        ).execute({"ti": TaskInstance()})
        self._verify = VerifyDatasourcePermissionsOperator(
            task_id="verify",
            dataset_id=dataset_id,
            datasource_aws_conn_id=conn_id,
            aws_conn_id="aws_default",
            on_failure="warn",
            propagation_timeout=0.0,
        )

    def deny_writing(self) -> None:
        """As in the recording."""
        statement = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{self.bucket}/lightly/*"}
        getattr(self._iam, f"put_{self._kind}_policy")(
            **{f"{self._kind.capitalize()}Name": self.name},
            PolicyName="stop",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        )

    def verdict(self, earlier: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the verification returns where an earlier one left this verdict."""
        ti = TaskInstance()
        ti.pushed["verdict"] = earlier
        return dict(self._verify.execute({"ti": ti}))

    def in_place_of(self, scene: Scene) -> dict[str, str]:
        """What to read instead of what was recorded."""
        recorded, present = (verdict["checks"][0]["access"] for verdict in (scene["passed"], self.verdict()))
        ids = {scene["passed"]["dataset_id"]: self.dataset_id, scene["bucket"]: self.bucket}
        return ids | {recorded: present, scene["name"]: self.name}


@pytest.mark.parametrize(("recording", "name"), thinned(scenes("verdicts", once=True), keep=1))
def test_what_changed_during_the_upgrade_is_reported_and_nothing_else(
    recording: Recording, name: str, lightly: Sandbox, dataset_id: str
) -> None:
    onboarded = Onboarded(lightly, name, dataset_id)
    earlier = recording.scene("verdicts", name, onboarded.in_place_of(recording.scene("verdicts", name)))
    assert onboarded.verdict(earlier["passed"])["changes"] == []

    onboarded.deny_writing()
    denied = onboarded.verdict(earlier["failed"])
    changes = onboarded.verdict(earlier["passed"])["changes"]

    assert (denied["ok"], denied["changes"]) == (False, [])
    assert changes
    assert all(line.startswith("LIGHTLY ") for line in changes)
