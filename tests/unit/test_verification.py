from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lightly_provider.aws.location import S3Location
from lightly_provider.verification import (
    DatasourceFacts,
    Lights,
    Permission,
    Purpose,
    Status,
    Verdict,
    check_require,
    judge,
    required_permissions,
)

DATASET = "65a1b2c3d4e5f60718293a4b"
LIST, READ, WRITE, OVERWRITE = Permission
ALL = frozenset(Permission)
INPUT = DatasourceFacts(
    Purpose.INPUT, S3Location("acme-photos", "2024/"), "user access with the key AKIA…MPLE", thumbnails=False
)
OUTPUT = DatasourceFacts(
    Purpose.LIGHTLY,
    S3Location("acme-lightly", ""),
    "delegated access through the role arn:aws:iam::123456789012:role/Lightly",
    thumbnails=True,
)
BOTH = replace(INPUT, purpose=Purpose.INPUT_OUTPUT)


def lights(*red: Permission, **errors: str) -> Lights:
    return Lights(
        **{str(permission): permission not in red for permission in Permission},
        errors={Permission(name): text for name, text in errors.items()},
    )


def statuses(verdict: Verdict, datasource: DatasourceFacts) -> dict[Permission, Status]:
    return {check.permission: check.status for check in verdict.checks if check.datasource == datasource}


@pytest.mark.parametrize("thumbnails", [False, True])
@pytest.mark.parametrize("dataset_type", ["Images", "Videos", "Crops", "Something new"])
@pytest.mark.parametrize(("purpose", "needs"), [(Purpose.INPUT, {LIST, READ}), (Purpose.LIGHTLY, ALL)])
def test_a_split_datasource_requires_what_its_purpose_says_whatever_the_dataset_is(
    purpose: Purpose, needs: frozenset[Permission], dataset_type: str, thumbnails: bool
) -> None:
    assert required_permissions(dataset_type, purpose, thumbnails) == needs


@pytest.mark.parametrize(
    ("dataset_type", "thumbnails", "needs"),
    [
        ("Images", False, {LIST, READ}),
        ("Images", True, ALL),
        ("Videos", False, ALL),
        ("Videos", True, ALL),
        ("Crops", False, ALL),
        ("Crops", True, ALL),
    ],
)
def test_a_common_datasource_is_written_to_for_thumbnails_frames_and_crops_only(
    dataset_type: str, thumbnails: bool, needs: frozenset[Permission]
) -> None:
    assert required_permissions(dataset_type, Purpose.INPUT_OUTPUT, thumbnails) == needs


def test_all_lights_green_is_a_pass_with_nothing_to_say() -> None:
    verdict = judge(DATASET, "Images", [INPUT, OUTPUT], lights())
    assert verdict.ok
    assert verdict.failed == ()
    assert verdict.failure_message() == ""
    assert statuses(verdict, OUTPUT) == dict.fromkeys(Permission, Status.PASS)


def test_a_light_that_the_purpose_does_not_need_is_skipped_with_the_reason() -> None:
    verdict = judge(DATASET, "Images", [INPUT], lights(WRITE, OVERWRITE))
    assert verdict.ok
    assert statuses(verdict, INPUT) == {
        LIST: Status.PASS,
        READ: Status.PASS,
        WRITE: Status.SKIP,
        OVERWRITE: Status.SKIP,
    }
    skipped = [check for check in verdict.checks if check.status is Status.SKIP]
    assert {check.message for check in skipped} == {"not needed for INPUT"}
    assert {check.granted for check in skipped} == {False}


def test_a_common_datasource_says_why_writing_is_skipped() -> None:
    verdict = judge(DATASET, "Images", [BOTH], lights(WRITE, OVERWRITE))
    assert verdict.ok
    assert verdict.checks[2].message == "not needed for INPUT_OUTPUT of Images without thumbnails"


@pytest.mark.parametrize(
    ("dataset_type", "datasource"),
    [("Videos", BOTH), ("Crops", BOTH), ("Images", replace(BOTH, thumbnails=True)), ("Images", OUTPUT)],
)
def test_a_red_write_light_fails_whatever_is_written_to(dataset_type: str, datasource: DatasourceFacts) -> None:
    verdict = judge(DATASET, dataset_type, [datasource], lights(WRITE))
    assert [check.permission for check in verdict.failed] == [WRITE]


@pytest.mark.parametrize("permission", list(Permission))
def test_a_red_light_fails_every_datasource_that_needs_it_and_no_other(permission: Permission) -> None:
    verdict = judge(DATASET, "Images", [INPUT, OUTPUT], lights(permission))
    assert not verdict.ok
    needed_by_input = permission in {LIST, READ}
    assert statuses(verdict, INPUT)[permission] is (Status.FAIL if needed_by_input else Status.SKIP)
    assert statuses(verdict, OUTPUT)[permission] is Status.FAIL
    assert len(verdict.failed) == 1 + needed_by_input


def test_a_failed_check_names_permission_bucket_prefix_the_platforms_text_and_the_statement() -> None:
    verdict = judge(DATASET, "Images", [INPUT], lights(LIST, list="AccessDenied:  not authorized\n to list."))
    (check,) = verdict.failed
    assert check.message == (
        "list is not granted in bucket 'acme-photos', prefix '2024/' (INPUT). "
        "The platform reports: AccessDenied: not authorized to list."
    )
    assert check.error == "AccessDenied: not authorized to list"
    (statement,) = check.fix
    assert statement["Action"] == ["s3:ListBucket"]
    assert statement["Condition"]["StringLike"]["s3:prefix"] == ["2024/", "2024/*"]


def test_a_failed_check_without_a_text_says_that_the_platform_gave_none() -> None:
    (check,) = judge(DATASET, "Images", [INPUT], lights(READ)).failed
    assert "The platform gives no reason." in check.message
    assert check.error is None


def test_the_text_of_a_green_light_is_not_repeated() -> None:
    verdict = judge(DATASET, "Images", [INPUT], lights(LIST, list="denied", read="stale text"))
    assert "stale" not in verdict.table() + verdict.failure_message() + json.dumps(verdict.as_dict())


def test_a_page_for_an_error_text_is_cut() -> None:
    verdict = judge(DATASET, "Images", [INPUT], lights(LIST, list="<html> " * 10_000))
    assert len(verdict.failure_message()) < 1500


def test_a_red_list_light_says_that_read_may_follow_it() -> None:
    verdict = judge(DATASET, "Images", [INPUT], lights(LIST, READ))
    of_list, of_read = verdict.failed
    assert "read may turn green with list" in of_read.message
    assert "read may turn green with list" not in of_list.message
    assert "read may turn green with list" in verdict.failure_message()


@pytest.mark.parametrize("red", [LIST, READ])
def test_list_or_read_alone_gives_no_such_hope(red: Permission) -> None:
    assert "may turn green" not in judge(DATASET, "Images", [INPUT], lights(red)).failure_message()


def test_two_datasources_say_that_the_light_may_concern_the_other() -> None:
    sentence = "does not say which of the 2 datasources it tested"
    verdict = judge(DATASET, "Images", [INPUT, OUTPUT], lights(WRITE))
    assert sentence in verdict.failed[0].message
    assert verdict.failure_message().count(sentence) == 1
    assert sentence not in judge(DATASET, "Images", [OUTPUT], lights(WRITE)).failure_message()


def test_a_wrong_key_gets_its_own_advice_and_no_word_about_missing_rights() -> None:
    refused = dict.fromkeys(("list", "read", "write", "overwrite"), "InvalidAccessKeyId: no such key")
    verdict = judge(DATASET, "Images", [INPUT, OUTPUT], lights(*ALL, **refused))
    for text in (verdict.failure_message(), verdict.table()):
        assert "present key" in text
        for word in ("argument require", "may turn green", "add to its IAM policy"):
            assert word not in text
    assert verdict.failure_message().count("present key") == 1
    assert not any(check.fix for check in verdict.failed)


def test_the_kms_key_and_the_partition_of_a_datasource_enter_its_statement() -> None:
    key = "arn:aws:kms:eu-central-1:123456789012:key/abc"
    (check,) = judge(DATASET, "Images", [replace(OUTPUT, kms_key_arn=key)], lights(WRITE)).failed
    assert [statement["Resource"] for statement in check.fix] == [["arn:aws:s3:::acme-lightly/*"], [key]]
    (check,) = judge(DATASET, "Images", [replace(OUTPUT, partition="aws-cn")], lights(WRITE)).failed
    assert check.fix[0]["Resource"] == ["arn:aws-cn:s3:::acme-lightly/*"]


def test_the_failure_message_names_each_place_once_with_one_policy_to_add() -> None:
    verdict = judge(DATASET, "Images", [INPUT, OUTPUT], lights(READ, WRITE, read="no read", write="no write"))
    message = verdict.failure_message()
    assert "\n" not in message
    assert f"Dataset {DATASET} lacks permissions: " in message
    assert "read in bucket 'acme-photos', prefix '2024/' (INPUT) (the platform reports: no read)" in message
    assert "read, write in bucket 'acme-lightly', the whole bucket (LIGHTLY)" in message
    assert '{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::acme-photos/2024/*"]}' in message
    assert '"Action":["s3:GetObject","s3:PutObject"]' in message
    assert f"For {OUTPUT.access}, add to its IAM policy" in message


def test_the_table_has_a_row_per_datasource_and_a_column_per_permission() -> None:
    header, of_input, of_output = judge(DATASET, "Images", [INPUT, OUTPUT], lights()).table().splitlines()
    assert header.split() == ["purpose", "location", "access", "list", "read", "write", "overwrite"]
    assert of_input.startswith("INPUT    s3://acme-photos/2024/  user access with the key AKIA…MPLE")
    assert of_input.split()[-4:] == ["PASS", "PASS", "SKIP", "SKIP"]
    assert of_output.split()[-4:] == ["PASS"] * 4
    assert of_input.index("PASS") == of_output.index("PASS") == header.index("list")


def test_below_the_table_stands_each_failed_check_with_its_statement_as_json() -> None:
    table = judge(DATASET, "Images", [INPUT], lights(LIST, READ)).table()
    sections = table.split("\n\n")
    assert len(sections) == 3
    for section, action in zip(sections[1:], ["s3:ListBucket", "s3:GetObject"], strict=True):
        assert section.startswith("FAIL: ")
        assert INPUT.access in section
        assert json.loads(section[section.index("{") :])["Action"] == [action]


def test_the_verdict_for_xcom_is_json_and_complete() -> None:
    verdict = judge(DATASET, "Images", [INPUT, OUTPUT], lights(WRITE, write="denied"))
    value = verdict.as_dict()
    assert json.loads(json.dumps(value)) == value
    assert all(type(text) is str for check in value["checks"] for text in (check["purpose"], check["status"]))
    assert (value["dataset_id"], value["ok"], len(value["checks"])) == (DATASET, False, 8)
    (failed,) = [check for check in value["checks"] if check["status"] == "FAIL"]
    assert failed["purpose"] == "LIGHTLY"
    assert failed["location"] == "s3://acme-lightly/"
    assert failed["permission"] == "write"
    assert (failed["granted"], failed["required"], failed["error"]) == (False, True, "denied")
    assert failed["fix"][0]["Action"] == ["s3:PutObject"]


@pytest.mark.parametrize(
    ("require", "of_input", "of_output"),
    [
        (["list"], {LIST}, {LIST}),
        (("list", "read"), {LIST, READ}, {LIST, READ}),
        (["list", "write"], {LIST}, {LIST, WRITE}),
        ([OVERWRITE], set(), {OVERWRITE}),
    ],
)
def test_named_permissions_are_required_exactly_where_the_purpose_uses_them(
    require: list[str], of_input: set[Permission], of_output: set[Permission]
) -> None:
    verdict = judge(DATASET, "Videos", [INPUT, OUTPUT], lights(*Permission), require)
    assert {check.permission for check in verdict.failed if check.datasource == INPUT} == of_input
    assert {check.permission for check in verdict.failed if check.datasource == OUTPUT} == of_output


def test_a_named_permission_that_no_purpose_uses_is_required_all_the_same() -> None:
    verdict = judge(DATASET, "Images", [INPUT], lights(WRITE), ["write"])
    assert [check.permission for check in verdict.failed] == [WRITE]
    assert verdict.checks[0].message == "not required of INPUT"


def test_auto_and_all_four_differ_for_a_common_datasource_of_images() -> None:
    assert judge(DATASET, "Images", [BOTH], lights(WRITE)).ok
    assert not judge(DATASET, "Images", [BOTH], lights(WRITE), tuple(Permission)).ok


@pytest.mark.parametrize(
    ("require", "read_as"),
    [("auto", None), (["list"], {LIST}), (("read", "list", "list"), {LIST, READ}), ({"write"}, {WRITE})],
)
def test_require_is_auto_or_the_names_of_permissions(require: list[str], read_as: set[Permission] | None) -> None:
    assert check_require(require) == read_as


@pytest.mark.parametrize(
    ("require", "words"),
    [
        (["lst"], "names 'lst', which is no permission; did you mean 'list'?"),
        (["list", "canRead"], "did you mean 'read'?"),
        (["List"], "did you mean 'list'?"),
        (["delete"], "the names are list, read, write, overwrite."),
        ([3], "names 3"),
        ("write", "write ['write']"),
        ("Auto", "did you mean 'auto'?"),
        ("list,read", "nor a list of permissions"),
        ("", "nor a list of permissions"),
        ([], "nothing would be verified"),
    ],
)
def test_a_requirement_that_cannot_be_meant_is_refused_with_what_may_be(require: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=r"^require") as refused:
        check_require(require)
    assert words in str(refused.value)
    with pytest.raises(ValueError, match=r"^require"):
        judge(DATASET, "Images", [INPUT], lights(), require)


def test_a_dataset_without_datasources_is_not_a_pass() -> None:
    with pytest.raises(ValueError, match=f"Dataset {DATASET} has no datasource"):
        judge(DATASET, "Images", [], lights())
