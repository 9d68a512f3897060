"""What a look from this worker says where it cannot look, or not with what Lightly uses."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.credentials import DelegatedAccess, InvalidAccessError
from lightly_provider.aws.location import S3Location
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.diagnose import Vantage, diagnose
from lightly_provider.diagnosis.findings import Finding, Status
from lightly_provider.diagnosis.target import Target
from lightly_provider.exceptions import LightlyConnectionMissingError
from lightly_provider.hooks.aws import AwsConnection

if TYPE_CHECKING:
    from lightly_provider.aws.credentials import UserAccess

KEY, OTHER_KEY = "AKIAIOSFODNN7EXAMPLE", "AKIAI44QH8DHBEXAMPLE"
ROLE = "arn:aws:iam::123456789012:role/Lightly"
READ = frozenset({Permission.LIST, Permission.READ})
WITH_KEYS = Target(S3Location("acme", "raw/"), "user access", purpose=Purpose.INPUT, region="eu-central-1")
WITH_ROLE = Target(
    S3Location("acme", "raw/"), "delegated access", purpose=Purpose.INPUT, region="eu-central-1", role_arn=ROLE
)


def keys(access_key_id: str, **fields: Any) -> AwsConnection:
    return AwsConnection("bucket", fields={"conn_type": "aws", "login": access_key_id, "password": "x" * 40, **fields})


def role(external_id: str) -> AwsConnection:
    extra = {"role_arn": ROLE, "assume_role_kwargs": {"ExternalId": external_id}}
    return AwsConnection("bucket", fields={"conn_type": "aws", "extra": json.dumps(extra)})


class Own:
    """Airflow's own identity, which may list the bucket and nothing else."""

    name = "AWS connection 'own'"
    has_keys = True
    access: UserAccess

    def __init__(self, *names: str) -> None:
        self._page = {"Contents": [{"Key": f"raw/{name}", "Size": 7} for name in names], "IsTruncated": False}

    def client(self, service: str, **_: Any) -> Any:
        assert service == "s3"
        return SimpleNamespace(list_objects_v2=lambda **_: self._page)


def content(target: Target, connection: AwsConnection | None, own: Any = None, **known: Any) -> list[Finding]:
    vantage = Vantage(connection=connection, own=own, require_files=True, platform_is_local=True)
    findings, _ = diagnose(target, READ, "Images", vantage, **known)
    return [finding for finding in findings if finding.subject == "content"]


@pytest.mark.parametrize(
    ("target", "connection", "known", "why"),
    [
        (WITH_KEYS, keys(OTHER_KEY), {"access_key_id": KEY}, "so nothing was tried"),
        (WITH_ROLE, keys(KEY), {}, "so nothing was tried"),
        (WITH_ROLE, role("an-external-id"), {}, "Airflow has no identity of its own"),
        (WITH_KEYS, None, {}, "there is no AWS connection to look with"),
    ],
)
def test_required_files_that_nothing_looked_for_are_a_failure_with_the_reason(
    target: Target, connection: AwsConnection | None, known: dict[str, Any], why: str
) -> None:
    (finding,) = content(target, connection, **known)
    assert finding.status is Status.FAIL
    assert finding.message.startswith("the files were not looked for: ")
    assert why in finding.message


@pytest.mark.parametrize(("names", "status"), [(["a.jpg"], Status.PASS), (["a.txt"], Status.FAIL)])
@pytest.mark.parametrize(("connection", "known"), [(None, {}), (keys(OTHER_KEY), {"access_key_id": KEY})])
def test_required_files_are_looked_for_with_airflows_own_identity_where_lightlys_is_not_here(
    connection: AwsConnection | None, known: dict[str, Any], names: list[str], status: Status
) -> None:
    (finding,) = content(WITH_KEYS, connection, Own(*names), **known)
    assert finding.status is status
    assert "as Airflow's own identity sees it" in finding.message


def test_an_output_has_no_files_to_look_for() -> None:
    output = Target(S3Location("acme", "out/"), "user access", purpose=Purpose.LIGHTLY)
    assert content(output, keys(OTHER_KEY), access_key_id=KEY) == []


def test_a_connection_that_does_not_exist_or_that_lightly_cannot_use_is_refused() -> None:
    vantage = Vantage(connection=AwsConnection("tpyo"))
    with pytest.raises(LightlyConnectionMissingError, match="There is no Airflow connection 'tpyo'"):
        diagnose(WITH_KEYS, READ, "Images", vantage)
    with pytest.raises(InvalidAccessError, match="session token"):
        diagnose(WITH_KEYS, READ, "Images", Vantage(connection=keys(KEY, extra='{"aws_session_token": "x"}')))


STORED, NEWER = "CANARY-the-stored-one", "CANARY-the-newer-one"


def test_a_connection_with_another_external_id_than_the_datasource_is_named_and_not_compared_with_the_role() -> None:
    vantage = Vantage(connection=role(NEWER), platform_is_local=True)
    (finding,), _ = diagnose(WITH_ROLE, READ, "Images", vantage, external_id=STORED)
    assert (finding.subject, finding.status) == ("connection", Status.WARN)
    assert "another external ID" in finding.message
    assert finding.remedy
    assert "Run ConfigureS3DatasourceOperator again" in finding.remedy.texts[0]
    assert "CANARY" not in repr(finding)


@pytest.mark.parametrize("stored", [NEWER, None, "", "***", "**********", "xxxxxxxxxxxx", "hidden"])
def test_an_external_id_that_is_the_same_or_hidden_is_taken_for_the_connections(stored: str | None) -> None:
    vantage = Vantage(connection=role(NEWER), platform_is_local=True)
    findings, _ = diagnose(WITH_ROLE, READ, "Images", vantage, external_id=stored)
    assert [finding.subject for finding in findings] == ["role"]
    assert DelegatedAccess(ROLE, NEWER) == role(NEWER).access
