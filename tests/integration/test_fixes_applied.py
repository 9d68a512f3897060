"""
Access that works is broken by hand in IAM, S3 or KMS; the verification names the cause; the fix that it prints, applied
as it stands and nothing else, turns the platform's lights green.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import PURPOSE_PERMISSIONS, statements_for, trust_policy
from lightly_provider.cli.commands import main
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.causes import Cause
from tests.integration.access_situations import EXTERNAL_ID, PHOTO, Access, encrypted, encrypting
from tests.integration.printed_fixes import fixes_in
from tests.integration.sandbox import REPOSITORY
from tests.integration.verified_datasource import Datasource, TaskLog, failed, key_id_of, lights, name_of
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.integration.sandbox import Sandbox

LIST, READ, WRITE, OVERWRITE = Permission
IN, OUT = Purpose.INPUT, Purpose.LIGHTLY
USER, ROLE = ("user",), ("role",)
BOTH = (*USER, *ROLE)
ADMIN = "arn:aws:iam::123456789012:user/admin"


def right(access: Access) -> None:
    """Nothing special."""


@dataclass(frozen=True)
class Broken:
    """
    A way to break access by hand.

    :param name: What is broken.
    :param purpose: What the datasource is for.
    :param by_hand: Breaks it.
    :param red: The permissions whose checks fail then, or may.
    :param cause: What they must name.
    :param by: By which access it can be.
    :param before: What is special about the place before it is broken.
    :param unseen_by: The accesses with which a machine beside the platform cannot see it.
    :param doctors_words: How the doctor names it; empty: by the cause.
    """

    name: str
    purpose: Purpose
    by_hand: Callable[[Access], None]
    red: tuple[Permission, ...]
    cause: Cause
    by: tuple[str, ...] = BOTH
    before: Callable[[Access], None] = right
    unseen_by: tuple[str, ...] = ()
    doctors_words: str = ""


# --- how each is broken ---------------------------------------------------------------------------------------------


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def iam(access: Access, verb: str, **arguments: Any) -> Any:
    """E.g. ``put_{}_policy`` on the access's user or role."""
    named = {f"{access.by.title()}Name": name_of(access)}
    return getattr(access.sandbox.aws("iam"), verb.format(access.by))(**named, **arguments)


def lacking(*permissions: Permission) -> Callable[[Access], None]:
    """The policy is cut down."""

    def by_hand(access: Access) -> None:
        left = PURPOSE_PERMISSIONS[access.purpose] - set(permissions)
        statements = statements_for(left, S3Location.from_stored(access.uri))
        iam(access, "put_{}_policy", PolicyName="access", PolicyDocument=document(*statements))

    return by_hand


def without_the_key(access: Access) -> None:
    """The policy keeps the bucket and loses the key."""
    statements = statements_for(PURPOSE_PERMISSIONS[access.purpose], S3Location.from_stored(access.uri))
    iam(access, "put_{}_policy", PolicyName="access", PolicyDocument=document(*statements))


def deny(*actions: str) -> dict[str, Any]:
    return {"Effect": "Deny", "Action": list(actions), "Resource": "*"}


TAGGING = {"Effect": "Allow", "Action": "s3:GetObjectTagging", "Resource": "*"}


def denied_in_a_policy_of_its_own(access: Access) -> None:
    iam(access, "put_{}_policy", PolicyName="stop", PolicyDocument=document(deny("s3:GetObject")))


def denied_beside_other_statements(access: Access) -> None:
    iam(access, "put_{}_policy", PolicyName="mixed", PolicyDocument=document(TAGGING, deny("s3:Delete*")))


def managed_policy(access: Access, *statements: Mapping[str, Any]) -> str:
    name = f"policy-{uuid.uuid4().hex[:12]}"
    made = access.sandbox.aws("iam").create_policy(PolicyName=name, PolicyDocument=document(*statements))
    return str(made["Policy"]["Arn"])


def denied_in_a_managed_policy(access: Access) -> None:
    iam(access, "attach_{}_policy", PolicyArn=managed_policy(access, TAGGING, deny("s3:Get*")))


def denied_in_a_managed_policy_of_its_own(access: Access) -> None:
    iam(access, "attach_{}_policy", PolicyArn=managed_policy(access, deny("s3:PutObject")))


def denied_in_a_group(access: Access) -> None:
    client, group = access.sandbox.aws("iam"), f"group-{uuid.uuid4().hex[:12]}"
    client.create_group(GroupName=group)
    client.put_group_policy(GroupName=group, PolicyName="stop", PolicyDocument=document(TAGGING, deny("s3:List*")))
    client.add_user_to_group(GroupName=group, UserName=name_of(access))


def boundary(*statements: Mapping[str, Any]) -> Callable[[Access], None]:
    def by_hand(access: Access) -> None:
        iam(access, "put_{}_permissions_boundary", PermissionsBoundary=managed_policy(access, *statements))

    return by_hand


LISTING_ONLY = {"Effect": "Allow", "Action": "s3:List*", "Resource": "*"}
ALL_OF_S3 = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


def bucket_policy(*actions: str, everybody: bool = False, beside: bool = False) -> Callable[[Access], None]:
    """A Deny for this identity, or for everybody but the administrator; alone in the policy, or beside an Allow."""

    def by_hand(access: Access) -> None:
        arn = f"arn:aws:s3:::{access.bucket}"
        statement = {"Effect": "Deny", "Action": list(actions), "Resource": [arn, f"{arn}/*"]}
        statement["Principal"] = "*" if everybody else {"AWS": access.principal}
        if everybody:
            statement["Condition"] = {"ArnNotEquals": {"aws:PrincipalArn": ADMIN}}
        allowed = {"Effect": "Allow", "Principal": {"AWS": ADMIN}, "Action": "s3:ListBucket", "Resource": arn}
        statements = [allowed, statement] if beside else [statement]
        access.sandbox.aws("s3").put_bucket_policy(Bucket=access.bucket, Policy=document(*statements))

    return by_hand


def trust(*statements: Mapping[str, Any]) -> Callable[[Access], None]:
    def by_hand(access: Access) -> None:
        iam(access, "update_assume_role_policy", PolicyDocument=document(*statements))

    return by_hand


TRUSTING = trust_policy(EXTERNAL_ID)["Statement"][0]
UNCONDITIONAL = {key: value for key, value in TRUSTING.items() if key != "Condition"}
trust_with_another_id = trust(trust_policy("CANARY-another-external-id")["Statement"][0])
trust_in_another_account = trust(trust_policy(EXTERNAL_ID, "222222222222")["Statement"][0])
trust_denied = trust(TRUSTING, UNCONDITIONAL | {"Effect": "Deny"})
trust_without_id = trust(UNCONDITIONAL)


def short_session(access: Access) -> None:
    iam(access, "update_role", MaxSessionDuration=3600)


def inactive_key(access: Access) -> None:
    iam(access, "update_access_key", AccessKeyId=key_id_of(access), Status="Inactive")


def kms_key_of(access: Access) -> str:
    """The key that encrypts the photo, or with which Lightly is to encrypt."""
    if access.kms_key_arn:
        return access.kms_key_arn
    head = access.sandbox.aws("s3").head_object(Bucket=access.bucket, Key=f"{access.prefix}{PHOTO}")
    return str(head["SSEKMSKeyId"])


def key_policy_without(access: Access) -> None:
    """The key's own policy names the administrator alone."""
    only = {"Effect": "Allow", "Principal": {"AWS": ADMIN}, "Action": "kms:*", "Resource": "*"}
    put_key_policy(access, only)


def key_policy_denies(access: Access) -> None:
    everybody = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*"}
    denial = {"Effect": "Deny", "Principal": {"AWS": access.principal}, "Action": "kms:Decrypt"}
    put_key_policy(access, *({**one, "Resource": "*"} for one in (everybody, denial)))


def put_key_policy(access: Access, *statements: Mapping[str, Any]) -> None:
    access.sandbox.aws("kms").put_key_policy(
        KeyId=kms_key_of(access),
        PolicyName="default",
        Policy=document(*statements),
        BypassPolicyLockoutSafetyCheck=True,
    )


def disabled_key(access: Access) -> None:
    access.sandbox.aws("kms").disable_key(KeyId=kms_key_of(access))


def dying_key(access: Access) -> None:
    access.sandbox.aws("kms").schedule_key_deletion(KeyId=kms_key_of(access), PendingWindowInDays=7)


PHOTO_IS_ENCRYPTED = encrypted(granted=True)
WRITTEN_ENCRYPTED = encrypting()
EACH = tuple(Permission)

BROKEN: tuple[Broken, ...] = (
    Broken("list statement missing", IN, lacking(LIST), (LIST,), Cause.MISSING_ALLOW),
    Broken("read statement missing", IN, lacking(READ), (READ,), Cause.MISSING_ALLOW),
    Broken("write statement missing", OUT, lacking(WRITE, OVERWRITE), (WRITE, OVERWRITE), Cause.MISSING_ALLOW),
    Broken("delete statement missing", OUT, lacking(OVERWRITE), (OVERWRITE,), Cause.MISSING_ALLOW),
    Broken(
        "nothing but read left", OUT, lacking(LIST, WRITE, OVERWRITE), (LIST, WRITE, OVERWRITE), Cause.MISSING_ALLOW
    ),
    Broken("explicit deny", IN, denied_in_a_policy_of_its_own, (READ,), Cause.EXPLICIT_DENY),
    Broken("explicit deny beside others", OUT, denied_beside_other_statements, (OVERWRITE,), Cause.EXPLICIT_DENY),
    Broken("managed policy denies", IN, denied_in_a_managed_policy, (READ,), Cause.EXPLICIT_DENY),
    Broken(
        "managed policy only denies",
        OUT,
        denied_in_a_managed_policy_of_its_own,
        (WRITE, OVERWRITE),
        Cause.EXPLICIT_DENY,
    ),
    Broken("group denies", IN, denied_in_a_group, (LIST,), Cause.EXPLICIT_DENY, USER),
    Broken("boundary lacks read", IN, boundary(LISTING_ONLY), (READ,), Cause.BOUNDARY),
    Broken("boundary denies", IN, boundary(ALL_OF_S3, deny("s3:GetObject")), (READ,), Cause.BOUNDARY),
    Broken("bucket policy denies", IN, bucket_policy("s3:GetObject"), (READ,), Cause.BUCKET_POLICY, unseen_by=ROLE),
    Broken(
        "bucket policy denies beside others",
        IN,
        bucket_policy("s3:GetObject", beside=True),
        (READ,),
        Cause.BUCKET_POLICY,
        unseen_by=ROLE,
    ),
    Broken(
        "bucket policy denies everybody",
        OUT,
        bucket_policy("s3:PutObject", everybody=True),
        (WRITE, OVERWRITE),
        Cause.BUCKET_POLICY,
        unseen_by=ROLE,
    ),
    Broken(
        "KMS right missing",
        IN,
        without_the_key,
        (READ,),
        Cause.KMS_RIGHT,
        before=PHOTO_IS_ENCRYPTED,
        unseen_by=ROLE,
    ),
    Broken(
        "KMS right to write missing",
        OUT,
        without_the_key,
        (WRITE, OVERWRITE),
        Cause.KMS_RIGHT,
        before=WRITTEN_ENCRYPTED,
        unseen_by=ROLE,
    ),
    Broken(
        "key policy lacks the principal",
        IN,
        key_policy_without,
        (READ,),
        Cause.KMS_KEY_POLICY,
        before=PHOTO_IS_ENCRYPTED,
        unseen_by=ROLE,
    ),
    Broken(
        "key policy denies",
        IN,
        key_policy_denies,
        (READ,),
        Cause.KMS_KEY_POLICY,
        before=PHOTO_IS_ENCRYPTED,
        unseen_by=ROLE,
    ),
    Broken(
        "key disabled",
        IN,
        disabled_key,
        (READ,),
        Cause.KMS_KEY_DISABLED,
        before=PHOTO_IS_ENCRYPTED,
        unseen_by=ROLE,
    ),
    Broken(
        "key pending deletion",
        OUT,
        dying_key,
        (WRITE, OVERWRITE),
        Cause.KMS_KEY_DISABLED,
        before=WRITTEN_ENCRYPTED,
        unseen_by=ROLE,
    ),
    Broken("key inactive", IN, inactive_key, (LIST, READ), Cause.UNKNOWN_ACCESS_KEY, USER),
    # Without a dataset nobody knows which external ID the platform will present.
    Broken("external ID wrong", IN, trust_with_another_id, (LIST, READ), Cause.WRONG_EXTERNAL_ID, ROLE, unseen_by=ROLE),
    Broken("Lightly's account not trusted", IN, trust_in_another_account, (LIST, READ), Cause.TRUST_POLICY, ROLE),
    Broken(
        "Lightly's account denied",
        OUT,
        trust_denied,
        EACH,
        Cause.TRUST_POLICY,
        ROLE,
        doctors_words="its trust policy denies account 916419735646",
    ),
    Broken(
        "session short",
        OUT,
        short_session,
        EACH,
        Cause.SHORT_SESSION,
        ROLE,
        doctors_words="its sessions may last 1 h, and Lightly asks for 12 h",
    ),
)
CASES = [pytest.param(one, by, id=f"{one.name}, by {by}") for one in BROKEN for by in one.by]
SEEN_BY_DOCTOR = [
    pytest.param(one, by, id=f"{one.name}, by {by}") for one in BROKEN for by in one.by if by not in one.unseen_by
]


# --- the tests ------------------------------------------------------------------------------------------------------


def cause_of(broken: Broken, by: str) -> Cause:
    return broken.cause


@pytest.mark.parametrize(("broken", "by"), thinned(CASES, keep=5))
def test_what_is_broken_by_hand_is_named_and_its_printed_fix_turns_the_lights_green(
    broken: Broken,
    by: str,
    lightly: Sandbox,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    log: TaskLog,
) -> None:
    access = Access(lightly, by, broken.purpose)
    broken.before(access)
    datasource = Datasource(access, dataset_name, context, monkeypatch, log)
    broken.by_hand(access)

    verdict, table = datasource.verify()
    assert not verdict["ok"]
    assert {check["permission"] for check in failed(verdict)} == set(map(str, broken.red))
    assert {check["cause"] for check in failed(verdict)} == {str(broken.cause)}, table
    assert "CANARY" not in table, "an external ID is never printed"
    assert by == "role" or key_id_of(access) not in table

    administrator = datasource.administrator()
    administrator.follow(table)

    assert administrator.done, f"nothing to apply in\n{table}"
    mended, now = datasource.verify()
    assert all(lights(mended).values()), f"applied {administrator.done}, and it says\n{now}"
    assert mended["ok"]
    assert failed(mended) == []


@pytest.mark.parametrize(("broken", "by"), thinned(SEEN_BY_DOCTOR, keep=1, seed=1))
def test_the_doctor_names_it_too_and_its_fix_turns_the_lights_green(
    broken: Broken,
    by: str,
    lightly: Sandbox,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    log: TaskLog,
    capsys: pytest.CaptureFixture[str],
) -> None:
    access = Access(lightly, by, broken.purpose)
    broken.before(access)
    datasource = Datasource(access, dataset_name, context, monkeypatch, log)
    broken.by_hand(access)

    assert run_doctor(access) == 1
    table = capsys.readouterr().out
    assert (broken.doctors_words or str(broken.cause)) in table
    assert "CANARY" not in table

    administrator = datasource.administrator()
    administrator.follow(table)

    assert administrator.done, f"nothing to apply in\n{table}"
    assert run_doctor(access) == 0, f"applied {administrator.done}, and it says\n{capsys.readouterr().out}"
    mended, now = datasource.verify()
    assert all(lights(mended).values()), f"applied {administrator.done}, and it says\n{now}"


def run_doctor(access: Access) -> int:
    """The exit status of the doctor, who looks at policies with the administrator's connection."""
    arguments = [access.uri, "--purpose", str(access.purpose), "--allow-endpoint"]
    if access.by == "role":
        arguments += ["--role-arn", access.principal, "--aws-conn-id", "aws_default"]
    else:
        arguments += ["--aws-conn-id", "bucket", "--own-aws-conn-id", "aws_default"]
    if access.kms_key_arn:
        arguments += ["--kms-key-arn", access.kms_key_arn]
    try:
        main(["doctor", *arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_trust_without_external_id_is_a_warning_and_its_printed_fix_ends_it(
    lightly: Sandbox,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    log: TaskLog,
) -> None:
    access = Access(lightly, "role", IN)
    datasource = Datasource(access, dataset_name, context, monkeypatch, log)
    trust_without_id(access)

    verdict, table = datasource.verify()
    assert verdict["ok"], "any external ID will do, so Lightly's does"
    assert role_row(verdict)["status"] == "WARN"
    assert "but asks for no external ID" in role_row(verdict)["message"]

    datasource.administrator().follow(table)

    mended, _ = datasource.verify()
    assert mended["ok"]
    assert role_row(mended)["status"] == "PASS"


def role_row(verdict: dict[str, Any]) -> dict[str, Any]:
    return next(dict(check) for check in verdict["from_this_worker"] if check["permission"] == "role")


@pytest.mark.parametrize("by", thinned(BOTH, keep=1))
def test_a_datasource_with_a_wrong_region_is_mended_by_the_region_that_is_printed(
    by: str,
    lightly: Sandbox,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    log: TaskLog,
) -> None:
    access = Access(lightly, by, IN)
    datasource = Datasource(access, dataset_name, context, monkeypatch, log, region="eu-west-1")

    verdict, table = datasource.verify()
    assert {check["cause"] for check in failed(verdict)} == {str(Cause.WRONG_REGION)}

    administrator = datasource.administrator()
    administrator.follow(table)

    assert administrator.done
    assert datasource.verify()[0]["ok"]


def test_what_airflow_may_not_read_is_told_with_where_to_look(
    lightly: Sandbox,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    log: TaskLog,
) -> None:
    """Airflow's own identity may do nothing at all: the cause is named all the same, and nothing is made up."""
    access = Access(lightly, "user", IN)
    datasource = Datasource(access, dataset_name, context, monkeypatch, log)
    denied_in_a_policy_of_its_own(access)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", lightly.aws_connection(lightly.user()))

    verdict, table = datasource.verify()

    assert {check["cause"] for check in failed(verdict)} == {str(Cause.EXPLICIT_DENY)}
    administrator = datasource.administrator()
    administrator.follow(table)
    assert administrator.done == []
    assert any("simulate-principal-policy names it" in line for line in fixes_in(table))


def documented() -> dict[str, Any]:
    """The statement of the page that lets Airflow's own identity name what denies."""
    text = (REPOSITORY / "docs" / "operators" / "verify_permissions.md").read_text()
    return dict(json.loads(text.split("### The fix")[1].split("```json")[1].split("```")[0]))


# Between them, they need each of the documented rights.
DENIED = [
    (denied_in_a_policy_of_its_own, "role", right),
    (denied_in_a_managed_policy, "user", right),
    (denied_in_a_group, "user", right),
    (boundary(LISTING_ONLY), "role", right),
    (boundary(LISTING_ONLY), "user", right),
    (bucket_policy("s3:GetObject"), "role", right),
    (key_policy_denies, "user", PHOTO_IS_ENCRYPTED),
    (inactive_key, "user", right),
]


def reads_as_documented(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give Airflow's own identity the documented rights, and the right to simulate; the id of its access key."""
    simulating = {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"}
    keys = sandbox.user(documented(), simulating)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", sandbox.aws_connection(keys))
    return keys.access_key_id


@pytest.mark.exhaustive(sample="test_what_is_broken_by_hand_is_named_and_its_printed_fix_turns_the_lights_green")
@pytest.mark.parametrize(("by_hand", "by", "before"), DENIED)
def test_the_documented_rights_suffice_to_name_what_denies(
    by_hand: Callable[[Access], None],
    by: str,
    before: Callable[[Access], None],
    lightly: Sandbox,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    log: TaskLog,
) -> None:
    access = Access(lightly, by, IN)
    before(access)
    datasource = Datasource(access, dataset_name, context, monkeypatch, log)
    by_hand(access)
    reads_as_documented(lightly, monkeypatch)

    _, table = datasource.verify()

    administrator = datasource.administrator()
    administrator.follow(table)
    assert administrator.done, f"nothing to apply in\n{table}"
    assert datasource.verify()[0]["ok"]


@pytest.mark.exhaustive(sample="test_what_is_broken_by_hand_is_named_and_its_printed_fix_turns_the_lights_green")
def test_none_of_the_documented_rights_is_too_many(
    lightly: Sandbox,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    log: TaskLog,
    aws_actions: Mapping[str, set[str]],
) -> None:
    access_key_id = reads_as_documented(lightly, monkeypatch)
    for number, (by_hand, by, before) in enumerate(DENIED):
        access = Access(lightly, by, IN)
        before(access)
        datasource = Datasource(access, f"{dataset_name} {number}", context, monkeypatch, log)
        by_hand(access)
        datasource.verify()

    assert set(documented()["Action"]) - aws_actions[access_key_id] == set()


def test_there_are_more_than_ten_ways_and_every_cause_that_iam_s3_and_kms_can_be_made_to_give() -> None:
    assert len(BROKEN) >= 10
    assert {one.cause for one in BROKEN} == {
        *(Cause.MISSING_ALLOW, Cause.EXPLICIT_DENY, Cause.BOUNDARY, Cause.BUCKET_POLICY, Cause.KMS_RIGHT),
        *(Cause.KMS_KEY_POLICY, Cause.KMS_KEY_DISABLED, Cause.UNKNOWN_ACCESS_KEY, Cause.WRONG_EXTERNAL_ID),
        *(Cause.TRUST_POLICY, Cause.SHORT_SESSION),
    }
