"""Each way in which access is right or broken gets the right verdict and cause, and leaves every bucket as it was."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.operators.dataset import CreateLightlyDatasetOperator
from tests.integration.access_situations import EXTERNAL_ID, OVERWRITE, READ, SITUATIONS, WRITE, Access, single, without
from tests.integration.access_verdicts import configure, not_passed, verdict_of
from tests.integration.sandbox import RunningSandbox
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.access_situations import Situation
    from tests.integration.conftest import Traffic
    from tests.integration.sandbox import Sandbox

MOST_REQUESTS = 6
OWN_PROBE = ".lightly/verify-permissions"
SINGLE = [pytest.param(*case, id=f"{case[0].name}, {case[0].purpose} by {case[1]}") for case in single()]


def versions(sandbox: Sandbox, *buckets: str) -> list[Any]:
    """All that is in these buckets, with versions and delete markers, but for those of the platform's own check."""
    s3, found = sandbox.aws("s3"), []
    for bucket in buckets:
        with suppress(s3.exceptions.NoSuchBucket):
            listed = s3.list_object_versions(Bucket=bucket)
            both = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
            found += [(bucket, v["Key"], v["VersionId"]) for v in both if not v["Key"].endswith(OWN_PROBE)]
    return found


def test_there_are_sixty_situations_and_each_cause_that_the_local_aws_can_have() -> None:
    assert len(SINGLE) + len(SPLIT) >= 60
    assert {situation.cause for situation in SITUATIONS if situation.cause} >= {
        *(Cause.NO_SUCH_BUCKET, Cause.WRONG_REGION, Cause.MISSING_ALLOW, Cause.EXPLICIT_DENY, Cause.BUCKET_POLICY),
        *(Cause.BOUNDARY, Cause.KMS_RIGHT, Cause.KMS_KEY_POLICY, Cause.KMS_KEY_DISABLED, Cause.UNKNOWN_ACCESS_KEY),
        *(Cause.WRONG_SECRET, Cause.WRONG_EXTERNAL_ID, Cause.TRUST_POLICY, Cause.NO_SUCH_ROLE, Cause.SHORT_SESSION),
    }


@pytest.mark.parametrize(("situation", "by"), thinned(SINGLE, keep=8))
def test_a_situation_gets_its_verdict_and_cause(
    situation: Situation,
    by: str,
    lightly: Sandbox,
    traffic: Traffic,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    access = Access(lightly, by, situation.purpose)
    situation.change(access)
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", access.connection())
    dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).execute(context)
    configure(access, dataset_id, "bucket", context)
    before, sent = versions(lightly, access.bucket), len(traffic.sent)

    verdict = verdict_of(dataset_id, context, datasource_aws_conn_id="bucket")

    assert len(traffic.sent) - sent <= MOST_REQUESTS
    assert not_passed(verdict["checks"]) == situation.expected(by)
    assert verdict["ok"] == (not situation.lightly)
    causes = {check["cause"] for check in verdict["checks"] if check["status"] == "FAIL"}
    assert causes == ({str(situation.cause)} if situation.cause else set())
    seen = {check["permission"]: check["status"] for check in verdict["from_this_worker"]}
    assert {subject: seen[subject] for subject in situation.worker} == situation.worker
    for check in verdict["checks"]:
        if check["status"] == "FAIL":
            assert check["fix"] or check["fix_elsewhere"] or check["advice"], "each failure says what to do"
    assert versions(lightly, access.bucket) == before, "the verification left something behind"
    assert EXTERNAL_ID not in json.dumps(verdict)


# --- two datasources, whatever the platform tests ------------------------------------------------------------------


@pytest.fixture(scope="module")
def scoped(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Sandbox]]:
    """A sandbox of each verify-scope, started when it is first asked for."""
    running: dict[str, RunningSandbox] = {}
    ready: dict[str, Sandbox] = {"combined": sandbox}

    def get(scope: str) -> Sandbox:
        if scope not in ready:
            running[scope] = RunningSandbox(tmp_path_factory.mktemp(scope) / "state", "--verify-scope", scope)
            ready[scope] = running[scope].__enter__()
        return ready[scope]

    yield get
    for one in running.values():
        one.__exit__()


SCOPES = ("combined", "input", "lightly", "worst")
# What is taken away from (INPUT, LIGHTLY).
BREAKS: dict[str, tuple[tuple[Permission, ...], tuple[Permission, ...]]] = {
    "all is right": ((), ()),
    "no read of the input": ((READ,), ()),
    "no read of the output": ((), (READ,)),
    "no write of the output": ((), (WRITE, OVERWRITE)),
    "no read of either": ((READ,), (READ,)),
}
SPLIT = [(scope, name, by) for scope in SCOPES for name in BREAKS for by in ("user", "role")]
# Each other scope has a sandbox of its own.
BY_DEFAULT = [case for case in SPLIT if case[0] == "combined"]
IN_FULL_ONLY = [pytest.param(*case, marks=pytest.mark.exhaustive) for case in SPLIT if case not in BY_DEFAULT]


@pytest.mark.parametrize(
    ("scope", "name", "by"),
    [*thinned(BY_DEFAULT, keep=3), *IN_FULL_ONLY],
)
def test_with_two_datasources_no_check_is_wrong_whatever_the_platform_tests(
    scope: str,
    name: str,
    by: str,
    scoped: Callable[[str], Sandbox],
    traffic: Traffic,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    platform = scoped(scope)
    monkeypatch.setenv("AIRFLOW_CONN_LIGHTLY_DEFAULT", platform.lightly_connection())
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", platform.aws_connection(platform.admin))
    both = [Access(platform, by, Purpose.INPUT), Access(platform, by, Purpose.LIGHTLY)]
    dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).execute(context)
    for access, taken in zip(both, BREAKS[name], strict=True):
        without(*taken)(access)
        monkeypatch.setenv(f"AIRFLOW_CONN_{access.purpose}", access.connection())
        configure(access, dataset_id, access.purpose.lower(), context)
    before, sent = versions(platform, *(access.bucket for access in both)), len(traffic.sent)

    verdict = verdict_of(dataset_id, context, datasource_aws_conn_id="input", output_aws_conn_id="lightly")

    assert len(traffic.sent) - sent <= MOST_REQUESTS
    lacking = {(str(a.purpose), str(p)) for a, taken in zip(both, BREAKS[name], strict=True) for p in taken}
    required = [check for check in verdict["checks"] if check["required"]]
    failed = {(c["purpose"], c["permission"]) for c in required if c["status"] == "FAIL"}
    passed = {(c["purpose"], c["permission"]) for c in required if c["status"] == "PASS"}
    assert failed == lacking, "a right that is missing is named, and no other"
    assert not passed & lacking
    assert verdict["ok"] == (not lacking)
    if by == "user":
        assert len(passed | failed) == len(required), "what was tried with the same keys is known"
    assert versions(platform, *(access.bucket for access in both)) == before


# --- the printed fix ------------------------------------------------------------------------------------------------

MENDED_BY_STATEMENTS = (Cause.MISSING_ALLOW, Cause.KMS_RIGHT, Cause.KMS_KEY_POLICY)
MENDED = [param for param in SINGLE if param.values[0].cause in MENDED_BY_STATEMENTS]  # type: ignore[attr-defined]


def add_to_policy(sandbox: Sandbox, principal: str, statements: list[dict[str, Any]]) -> None:
    """Put statements on a user or role, as a person would who reads them."""
    kind, name = principal.split(":")[5].split("/", 1)
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam = sandbox.aws("iam")
    put = iam.put_user_policy if kind == "user" else iam.put_role_policy
    put(**{f"{kind.title()}Name": name}, PolicyName="the-fix", PolicyDocument=document)


def add_to_key(sandbox: Sandbox, key_arn: str, statement: dict[str, Any]) -> None:
    kms = sandbox.aws("kms")
    document = json.loads(kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"])
    document["Statement"].append(statement)
    kms.put_key_policy(KeyId=key_arn, PolicyName="default", Policy=json.dumps(document))


@pytest.mark.parametrize(("situation", "by"), thinned(MENDED, keep=3))
def test_the_printed_statements_turn_the_lights_green(
    situation: Situation,
    by: str,
    lightly: Sandbox,
    dataset_name: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    access = Access(lightly, by, situation.purpose)
    situation.change(access)
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", access.connection())
    dataset_id = CreateLightlyDatasetOperator(task_id="create", dataset_name=dataset_name).execute(context)
    configure(access, dataset_id, "bucket", context)
    broken = verdict_of(dataset_id, context, datasource_aws_conn_id="bucket")
    checks = [check for check in broken["checks"] if check["status"] in ("FAIL", "UNKNOWN")]
    statements = [statement for check in checks for statement in check["fix"]]

    add_to_policy(lightly, access.principal, statements)
    keys = {arn for one in statements for arn in one["Resource"] if ":kms:" in arn}
    for elsewhere in {json.dumps(one): one for check in checks for one in check["fix_elsewhere"]}.values():
        for key_arn in keys:
            assert elsewhere["policy"] == f"policy of KMS key {key_arn}"
            for statement in elsewhere["add"]:
                add_to_key(lightly, key_arn, statement)

    assert verdict_of(dataset_id, context, datasource_aws_conn_id="bucket")["ok"]
