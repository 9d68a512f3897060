"""An access that an earlier version created and kept is adopted as it is: nothing is made anew, nothing is lost."""

from __future__ import annotations

import json
import os
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from lightly_provider.exceptions import LightlyStoredFormError
from lightly_provider.operators.access import (
    CreateLightlyAccessRoleOperator,
    CreateLightlyAccessUserOperator,
    DeleteLightlyAccessOperator,
    RotateLightlyAccessOperator,
)
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator
from lightly_provider.operators.verification import VerifyDatasourcePermissionsOperator
from tests.integration.conftest import TaskInstance
from tests.thinning import thinned
from tests.upgrade.recordings import Recording, scenes

if TYPE_CHECKING:
    from tests.integration.sandbox import Sandbox

CREATE = {"role": CreateLightlyAccessRoleOperator, "user": CreateLightlyAccessUserOperator}


@pytest.fixture(autouse=True)
def in_the_sandboxs_region(lightly: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets Manager and SSM have regions."""
    connection = lightly.aws_connection(lightly.admin, region_name=lightly.region)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection)


class Adopted:
    """
    A recorded access, made again in the sandbox's AWS by its own API, under a name of the test's own.

    The keys of a user are others than those that were recorded, as AWS chooses them.
    """

    def __init__(self, sandbox: Sandbox, recording: Recording, name: str) -> None:
        recorded = recording.scene("accesses", name)
        self.kind = name.partition("_")[0]
        old = recorded["arguments"][f"{self.kind}_name"]
        self.name, self._sandbox, self._iam = f"upgrade-{uuid.uuid4().hex[:8]}", sandbox, sandbox.aws("iam")
        self._bucket = bucket = sandbox.bucket()
        sandbox.aws("s3").put_object(Bucket=bucket, Key="raw/a.jpg", Body=b"content")
        instead = {f"s3://{old}": f"s3://{bucket}", f":s3:::{old}": f":s3:::{bucket}", old: self.name}
        instead |= {f"kept_{self.kind}": f"kept_{uuid.uuid4().hex[:8]}", "http://127.0.0.1:2": sandbox.aws_url}
        scene = recording.scene("accesses", name, instead)
        self.secrets = self._make(scene["iam"])
        scene = recording.scene("accesses", name, instead | {key: new for key, (new, _) in self.secrets.items()})
        self.scene, self.arguments = scene, scene["arguments"]
        self.conn_id: str = self.arguments["access_conn_id"]

    def _make(self, iam: dict[str, Any]) -> dict[str, tuple[str, str]]:
        """Make the principal; for each key id that was recorded, the id and secret of the key in its place."""
        named = {f"{self.kind.capitalize()}Name": self.name}
        trust = {}
        if self.kind == "role":
            document = json.dumps(iam["AssumeRolePolicyDocument"])
            trust = {"AssumeRolePolicyDocument": document, "MaxSessionDuration": iam["MaxSessionDuration"]}
            trust["Description"] = iam["Description"]
        getattr(self._iam, f"create_{self.kind}")(**named, Path=iam["Path"], Tags=iam["Tags"], **trust)
        for policy, content in iam["policies"].items():
            put = getattr(self._iam, f"put_{self.kind}_policy")
            put(**named, PolicyName=policy, PolicyDocument=json.dumps(content))
        made = {recorded: self._iam.create_access_key(**named)["AccessKey"] for recorded in iam.get("keys", ())}
        return {recorded: (key["AccessKeyId"], key["SecretAccessKey"]) for recorded, key in made.items()}

    def of_present(self, connection: dict[str, Any]) -> dict[str, Any]:
        """A recorded connection with the secret of the present key."""
        secret = dict(self.secrets.values()).get(connection.get("login") or "")
        return connection | ({"password": secret} if secret else {})

    def keep(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put what was kept where it was kept."""
        kept, (service, _, rest) = self.scene["kept"], self.conn_id.partition("://")
        name = rest.partition("/")[2]
        if service == "secretsmanager":
            value = json.dumps(self.of_present(json.loads(kept["value"])))
            self._sandbox.aws("secretsmanager").create_secret(Name=name, SecretString=value, Tags=kept["tags"])
        elif service == "ssm":
            value = json.dumps(self.of_present(json.loads(kept["value"])))
            self._sandbox.aws("ssm").put_parameter(Name=f"/{name}", Value=value, Type=kept["type"])
        else:
            # An Airflow connection, of whichever backend; a task that adopts it does not write it.
            connection = self.of_present(kept.get("body") or kept)
            members = ("conn_type", "login", "password", "extra")
            value = json.dumps({member: connection[member] for member in members})
            monkeypatch.setenv(f"AIRFLOW_CONN_{self.conn_id.upper()}", value)

    def kept(self) -> str:
        """What is kept now."""
        service, _, rest = self.conn_id.partition("://")
        name = rest.partition("/")[2]
        if service == "secretsmanager":
            return str(self._sandbox.aws("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
        if service == "ssm":
            found = self._sandbox.aws("ssm").get_parameter(Name=f"/{name}", WithDecryption=True)
            return str(found["Parameter"]["Value"])
        return os.environ[f"AIRFLOW_CONN_{self.conn_id.upper()}"]

    def keys(self) -> list[str]:
        """The ids of the user's keys."""
        return [key["AccessKeyId"] for key in self._iam.list_access_keys(UserName=self.name)["AccessKeyMetadata"]]

    def trusted(self) -> Any:
        """The external IDs that the role's trust policy takes."""
        role = self._iam.get_role(RoleName=self.name)["Role"]
        return role["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"]

    def create(self) -> dict[str, Any]:
        """The task that created it, run again."""
        return dict(CREATE[self.kind](task_id="create", **self.arguments).execute({"ti": TaskInstance()}))

    def onboard(self) -> str:
        """A dataset whose datasource uses it; its id."""
        create = CreateLightlyDatasetOperator(task_id="dataset", dataset_name=self.name)
        dataset_id = str(create.execute({"ti": TaskInstance()}))
        ConfigureS3DatasourceOperator(
            task_id="configure",
            dataset_id=dataset_id,
            resource_path=self.arguments["resource_path"],
            output_resource_path=self.arguments.get("output_resource_path"),
            datasource_aws_conn_id=self.conn_id,
        ).execute({"ti": TaskInstance()})
        return dataset_id

    def deny_writing(self, *, denied: bool = True) -> None:
        """Deny writing to the bucket, or no longer."""
        s3 = self._sandbox.aws("s3")
        deny = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:PutObject",
            "Resource": f"arn:aws:s3:::{self._bucket}/*",
        }
        if denied:
            s3.put_bucket_policy(Bucket=self._bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
        else:
            s3.delete_bucket_policy(Bucket=self._bucket)


def verified(dataset_id: str) -> bool:
    """Whether Lightly can do with the datasources what it must."""
    verify = VerifyDatasourcePermissionsOperator(task_id="verify", dataset_id=dataset_id, propagation_timeout=0)
    return bool(verify.execute({"ti": TaskInstance()})["ok"])


@pytest.fixture
def airflow_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to an Airflow API that is not there: what is adopted is not written."""
    monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_API", '{"conn_type": "http", "host": "http://127.0.0.1:9"}')


@pytest.mark.parametrize(
    ("recording", "name"),
    thinned(scenes("accesses", ending=("_secretsmanager", "_ssm", "_airflow"), once=True), keep=2),
)
@pytest.mark.usefixtures("airflow_api")
def test_a_kept_access_is_adopted_as_it_is(
    recording: Recording, name: str, lightly: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = Adopted(lightly, recording, name)
    access.keep(monkeypatch)
    before = access.kept()

    outcome = access.create()

    assert outcome["changed"] == []
    assert outcome["conn_id"] == access.conn_id
    assert access.kept() == before
    if access.kind == "user":
        assert access.keys() == [key_id for key_id, _ in access.secrets.values()]
    assert verified(access.onboard())


@pytest.mark.parametrize(("recording", "name"), scenes("accesses", ending=("_secretsmanager", "_ssm"), once=True))
def test_a_kept_access_is_deleted_with_its_role_or_user(
    recording: Recording, name: str, lightly: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = Adopted(lightly, recording, name)
    access.keep(monkeypatch)
    named: dict[str, Any] = {f"{access.kind}_name": access.name}

    delete = DeleteLightlyAccessOperator(task_id="delete", access_conn_id=access.conn_id, **named)

    assert sorted(delete.execute({"ti": TaskInstance()})) == sorted([access.kind, "kept access"])


@pytest.mark.parametrize(("recording", "name"), scenes("accesses", ending="_ssm", once=True))
def test_an_access_of_a_newer_version_is_left_alone(
    recording: Recording, name: str, lightly: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = Adopted(lightly, recording, name)
    kept = json.loads(access.scene["kept"]["value"])
    kept["extra"]["lightly_access"]["version"] = 2
    access.scene["kept"]["value"] = json.dumps(kept)
    access.keep(monkeypatch)
    before = access.kept()

    with pytest.raises((LightlyStoredFormError, AirflowFailException), match=r"newer\s+version"):
        access.create()

    assert access.kept() == before
    if access.kind == "user":
        assert access.keys() == [key_id for key_id, _ in access.secrets.values()]


@pytest.mark.parametrize("had", ["the old secret", "the new secret"])
@pytest.mark.parametrize(
    ("recording", "name"), thinned(scenes("accesses", ending="_rotation_begun", once=True), keep=1)
)
def test_a_rotation_that_was_cut_off_is_finished(
    recording: Recording, name: str, had: str, lightly: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = Adopted(lightly, recording, name)
    new, old = access.scene["kept"], access.of_present(access.scene["before"])
    value = json.dumps(access.of_present(json.loads(new["value"])))
    # What the datasource had when the rotation was cut off.
    access.scene.content["kept"] = new | {"value": json.dumps(old) if had == "the old secret" else value}
    access.keep(monkeypatch)
    dataset_id = access.onboard()
    # What was denied before is not known, and may stay so.
    access.deny_writing()
    lightly.aws("secretsmanager").put_secret_value(SecretId=access.conn_id.rpartition("/")[2], SecretString=value)
    named: dict[str, Any] = {f"{access.kind}_name": access.name}

    rotate = RotateLightlyAccessOperator(
        task_id="rotate", access_conn_id=access.conn_id, dataset_ids=[dataset_id], **named
    )
    rotate.execute({"ti": TaskInstance()})

    kept = json.loads(access.kept())
    assert "replaces" not in kept["extra"]["lightly_access"]
    if access.kind == "user":
        assert access.keys() == [kept["login"]] == [json.loads(value)["login"]]
    else:
        external_id = json.loads(value)["extra"]["assume_role_kwargs"]["ExternalId"]
        assert (access.trusted(), kept["extra"]["assume_role_kwargs"]["ExternalId"]) == (external_id, external_id)
    access.deny_writing(denied=False)
    assert verified(dataset_id)
