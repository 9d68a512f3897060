"""The printed advice takes protection from nobody else, is silent where it knows nothing, and no green is false."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import PURPOSE_PERMISSIONS, statements_for
from lightly_provider.cli.commands import main
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.findings import Status
from lightly_provider.diagnosis.probes import probe_location
from lightly_provider.diagnosis.target import Target
from tests.integration.access_situations import PHOTO, Access, kms_key
from tests.integration.printed_fixes import fixes_in
from tests.integration.sandbox import RunningSandbox
from tests.integration.verified_datasource import Datasource, failed, name_of
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.integration.sandbox import Keys, Sandbox
    from tests.integration.verified_datasource import TaskLog

IN, OUT = Purpose.INPUT, Purpose.LIGHTLY
REGION_LOCK = {
    "Effect": "Deny",
    "Action": "s3:GetObject",
    "Resource": "*",
    "Condition": {"StringNotEquals": {"aws:RequestedRegion": ["us-east-2"]}},
}


@pytest.fixture
def datasource(
    dataset_name: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch, log: TaskLog
) -> Callable[[Access], Datasource]:
    """Makes the datasource of an access."""
    return lambda access: Datasource(access, dataset_name, context, monkeypatch, log)


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


# --- company-wide protection ----------------------------------------------------------------------------------------


def colleague(access: Access) -> Keys:
    """Another user who may read the same place."""
    return access.sandbox.user(*statements_for(PURPOSE_PERMISSIONS[IN], S3Location.from_stored(access.uri)))


def in_a_group(access: Access, keys: Keys) -> None:
    iam, group = access.sandbox.aws("iam"), f"staff-{uuid.uuid4().hex[:12]}"
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="region-lock", PolicyDocument=document(REGION_LOCK))
    for user in (name_of(access), keys.user_name):
        iam.add_user_to_group(GroupName=group, UserName=user)


def made_policy(access: Access, *statements: Mapping[str, Any]) -> str:
    name = f"region-lock-{uuid.uuid4().hex[:12]}"
    made = access.sandbox.aws("iam").create_policy(PolicyName=name, PolicyDocument=document(*statements))
    return str(made["Policy"]["Arn"])


def in_a_shared_managed_policy(access: Access, keys: Keys) -> None:
    arn = made_policy(access, REGION_LOCK)
    for user in (name_of(access), keys.user_name):
        access.sandbox.aws("iam").attach_user_policy(UserName=user, PolicyArn=arn)


def in_a_managed_policy_of_a_group(access: Access, keys: Keys) -> None:
    iam, group = access.sandbox.aws("iam"), f"staff-{uuid.uuid4().hex[:12]}"
    iam.create_group(GroupName=group)
    iam.attach_group_policy(GroupName=group, PolicyArn=made_policy(access, REGION_LOCK))
    for user in (name_of(access), keys.user_name):
        iam.add_user_to_group(GroupName=group, UserName=user)


def in_a_boundary(access: Access, keys: Keys) -> None:
    anything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    arn = made_policy(access, anything, REGION_LOCK)
    for user in (name_of(access), keys.user_name):
        access.sandbox.aws("iam").put_user_permissions_boundary(UserName=user, PermissionsBoundary=arn)


def may_read(access: Access, keys: Keys) -> bool:
    s3 = access.sandbox.aws_as(keys, "s3")
    try:
        s3.get_object(Bucket=access.bucket, Key=f"{access.prefix}{PHOTO}")
    except s3.exceptions.ClientError:
        return False
    return True


@pytest.mark.parametrize(
    "protect",
    thinned([in_a_group, in_a_shared_managed_policy, in_a_managed_policy_of_a_group, in_a_boundary], keep=2),
)
def test_the_printed_fix_excepts_this_identity_and_leaves_all_others_protected(
    protect: Callable[[Access, Keys], None], lightly: Sandbox, datasource: Callable[[Access], Datasource]
) -> None:
    access = Access(lightly, "user", IN)
    made = datasource(access)
    other = colleague(access)
    protect(access, other)
    assert not may_read(access, other)

    _, table = made.verify()
    administrator = made.administrator()
    administrator.follow(table)

    assert made.verify()[0]["ok"], f"applied {administrator.done}"
    assert not may_read(access, other), f"applied {administrator.done}"
    assert not any(line.startswith(("From the", "Run:")) for line in administrator.done)


# --- the policy that AWS names --------------------------------------------------------------------------------------

SEARCHING = {"iam:ListUserPolicies", "iam:ListGroupsForUser"}


@pytest.fixture(scope="module")
def wording_of_before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox whose AWS names the type of the policy that denies, and not which."""
    state = tmp_path_factory.mktemp("policy-type") / "state"
    with RunningSandbox(state, "--access-denied-messages", "policy-type") as running:
        yield running


@pytest.mark.parametrize("wording", ["policy-arn", pytest.param("policy-type", marks=pytest.mark.exhaustive)])
def test_the_policy_that_denies_is_found_by_its_name_or_searched_for(
    wording: str,
    lightly: Sandbox,
    request: pytest.FixtureRequest,
    datasource: Callable[[Access], Datasource],
    aws_actions: Mapping[str, set[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform = lightly if wording == "policy-arn" else request.getfixturevalue("wording_of_before")
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", platform.lightly_connection())
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", platform.aws_connection(platform.admin))
    access = Access(platform, "user", IN)
    made = datasource(access)
    arn = made_policy(access, {"Effect": "Deny", "Action": "s3:Get*", "Resource": "*"})
    platform.aws("iam").attach_user_policy(UserName=name_of(access), PolicyArn=arn)

    verdict, table = made.verify()

    assert {check["cause"] for check in failed(verdict)} == {str(Cause.EXPLICIT_DENY)}
    used = aws_actions[platform.admin.access_key_id]
    assert (used >= SEARCHING) == (wording == "policy-type")
    assert used & SEARCHING == (SEARCHING if wording == "policy-type" else set())
    assert fixes_in(table)[-1] == (f"Run: aws iam detach-user-policy --user-name {name_of(access)} --policy-arn {arn}")
    made.administrator().follow(table)
    assert made.verify()[0]["ok"]


# --- encryption -----------------------------------------------------------------------------------------------------


def test_deny_unless_encrypted_with_kms_is_answered_by_kms_key_arn(
    lightly: Sandbox, datasource: Callable[[Access], Datasource]
) -> None:
    access = Access(lightly, "user", OUT)
    key_arn = kms_key(access)
    access.statements.append({"Effect": "Allow", "Action": "kms:*", "Resource": key_arn})
    made = datasource(access)
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{access.bucket}/*",
        "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}},
    }
    lightly.aws("s3").put_bucket_policy(Bucket=access.bucket, Policy=document(statement))

    verdict, table = made.verify()

    assert {check["permission"] for check in failed(verdict)} == {"write", "overwrite"}
    advice = " ".join(fixes_in(table))
    assert "configure the datasource with kms_key_arn=" in advice
    assert "leave the policy as it is" in advice
    assert '"Effect"' not in table
    access.kms_key_arn = key_arn
    made.configure(lightly.region)
    assert made.verify()[0]["ok"]


def test_an_object_under_a_customers_own_key_gets_no_statement(
    lightly: Sandbox, datasource: Callable[[Access], Datasource]
) -> None:
    access = Access(lightly, "user", IN)
    access.put(PHOTO, SSECustomerAlgorithm="AES256", SSECustomerKey="k" * 32)
    verdict, table = datasource(access).verify()
    assert {check["cause"] for check in failed(verdict)} == {str(Cause.CUSTOMER_KEY)}
    assert '"Effect"' not in table
    assert "SSE-C" in table


# --- archives, endpoints, what is left behind -----------------------------------------------------------------------


@pytest.mark.exhaustive(sample="test_the_printed_fix_excepts_this_identity_and_leaves_all_others_protected")
def test_archived_files_beside_one_that_can_be_read_are_a_warning(
    lightly: Sandbox, datasource: Callable[[Access], Datasource]
) -> None:
    access = Access(lightly, "user", IN)
    for number in range(3):
        access.put(f"frozen-{number}.jpg", StorageClass="DEEP_ARCHIVE")
    verdict, table = datasource(access).verify()
    assert (verdict["ok"], verdict["status"]) == (True, "WARN")
    assert "3 of 4 images are archived, and cannot be read" in " ".join(table.split())


@pytest.mark.parametrize(
    "way", thinned(["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "profile", "services", "connection"], keep=2)
)
def test_another_s3_than_awss_is_seen_by_whatever_way_it_is_set(
    way: str,
    lightly: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    access = Access(lightly, "user", IN)
    connection = json.loads(access.connection())
    settings = {"region_name": lightly.region}
    if way.startswith("AWS_"):
        monkeypatch.setenv(way, lightly.aws_url)
    elif way == "connection":
        settings["service_config"] = {"s3": {"endpoint_url": lightly.aws_url}}
    else:
        config = tmp_path / "config"
        body = f"endpoint_url = {lightly.aws_url}" if way == "profile" else "services = here"
        section = "" if way == "profile" else f"\n[services here]\ns3 =\n  endpoint_url = {lightly.aws_url}\n"
        config.write_text(f"[default]\n{body}\n{section}")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    connection["extra"] = settings
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", json.dumps(connection))

    with pytest.raises(SystemExit, match="1"):
        main(["doctor", access.uri, "--aws-conn-id", "bucket"])

    assert (
        "    endpoint     FAIL     cannot work because the AWS connection finds S3 at 127.0.0.1"
        in capsys.readouterr().out
    )


def test_another_s3_than_awss_is_seen_where_only_airflows_own_identity_looks(
    lightly: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    access = Access(lightly, "role", IN)
    access.connection()
    with pytest.raises(SystemExit, match="1"):
        main(["doctor", access.uri, "--role-arn", access.principal, "--aws-conn-id", "aws_default"])
    shown = capsys.readouterr().out
    assert "    endpoint     FAIL     cannot work because the AWS connection finds S3 at 127.0.0.1" in shown


def test_what_a_killed_verification_left_is_removed_by_the_next_and_nothing_else(
    lightly: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = Access(lightly, "user", OUT)
    target = Target(S3Location.from_stored(access.uri), "the administrator", OUT, region=lightly.region)
    names = {
        "left behind": f".lightly/verify-{uuid.uuid4().hex}",
        "the platform's": ".lightly/verify-permissions",
        "somebody's": f".lightly/verify-{uuid.uuid4().hex}.jpg",
        "elsewhere": f"other/.lightly/verify-{uuid.uuid4().hex}",
    }
    for name in names.values():
        access.put(name)
    before = lightly.keys_under(access.bucket)

    probe_location(lightly.aws("s3"), target, frozenset(Permission))
    assert lightly.keys_under(access.bucket) == before, "it may be of a verification that runs"

    monkeypatch.setattr("lightly_provider.diagnosis.probes._KEPT_FOR", timedelta(0))
    probe_location(lightly.aws("s3"), target, frozenset(Permission))
    assert set(before) - set(lightly.keys_under(access.bucket)) == {f"{access.prefix}{names['left behind']}"}


def test_a_file_deleted_after_it_was_listed_turns_no_light_red(lightly: Sandbox) -> None:
    access = Access(lightly, "user", IN)
    access.put("gone.jpg")
    target = Target(S3Location.from_stored(access.uri), "the administrator", IN, region=lightly.region)
    s3 = lightly.aws("s3")

    def delete(**_: Any) -> None:
        for key in lightly.keys_under(access.bucket):
            lightly.aws("s3").delete_object(Bucket=access.bucket, Key=key)

    s3.meta.events.register("before-call.s3.GetObject", delete)
    findings = probe_location(s3, target, {Permission.LIST, Permission.READ})

    assert not lightly.keys_under(access.bucket)
    (read,) = [finding for finding in findings if finding.subject == Permission.READ]
    assert (read.status, read.message) == (
        Status.PASS,
        "S3 answers that an object is missing, which only readers learn",
    )
