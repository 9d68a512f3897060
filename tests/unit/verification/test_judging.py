from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lightly_provider.api.models.datasource import PermissionErrors, PermissionLights
from lightly_provider.aws.location import S3Location
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.causes import Cause
from lightly_provider.diagnosis.failures import Failure
from lightly_provider.diagnosis.findings import Finding, Status
from lightly_provider.diagnosis.remedies import Remedy
from lightly_provider.diagnosis.target import Target
from lightly_provider.exceptions import on_one_line
from lightly_provider.verification.judging import judge
from lightly_provider.verification.report import changes_between, failure_message, table
from lightly_provider.verification.requirements import DatasetUse, check_require, required_of, required_permissions

if TYPE_CHECKING:
    from lightly_provider.verification.verdict import Verdict

DATASET = "65a1b2c3d4e5f60718293a4b"
LIST, READ, WRITE, OVERWRITE = Permission
ALL = frozenset(Permission)
IMAGES = DatasetUse("Images")
INPUT = Target(
    S3Location("acme-photos", "2024/"),
    "user access with the key AKIA…MPLE",
    purpose=Purpose.INPUT,
    thumbnails=False,
)
OUTPUT = Target(
    S3Location("acme-lightly", ""),
    "delegated access through the role arn:aws:iam::123456789012:role/Lightly",
    purpose=Purpose.LIGHTLY,
    thumbnails=True,
    role_arn="arn:aws:iam::123456789012:role/Lightly",
)
BOTH = replace(INPUT, purpose=Purpose.INPUT_OUTPUT)


def lights(*red: Permission, **errors: str) -> PermissionLights:
    return PermissionLights(
        **{f"can_{permission}": permission not in red for permission in Permission},
        errors=PermissionErrors(**{f"can_{name}": text for name, text in errors.items()}),
    )


def statuses(verdict: Verdict, datasource: Target) -> dict[Permission, Status]:
    return {check.subject: check.status for check in verdict.checks if check.datasource == datasource}


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
    verdict = judge(DATASET, IMAGES, [OUTPUT], lights())
    assert verdict.ok
    assert verdict.failed == ()
    assert failure_message(verdict) == ""
    assert verdict.status is Status.PASS
    assert statuses(verdict, OUTPUT) == dict.fromkeys(Permission, Status.PASS)


def test_a_light_that_the_purpose_does_not_need_is_skipped_with_the_reason() -> None:
    verdict = judge(DATASET, IMAGES, [INPUT], lights(WRITE, OVERWRITE))
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
    verdict = judge(DATASET, IMAGES, [BOTH], lights(WRITE, OVERWRITE))
    assert verdict.ok
    assert verdict.checks[2].message == "not needed for INPUT_OUTPUT of Images without thumbnails"


@pytest.mark.parametrize(
    ("dataset_type", "datasource"),
    [("Videos", BOTH), ("Crops", BOTH), ("Images", replace(BOTH, thumbnails=True)), ("Images", OUTPUT)],
)
def test_a_red_write_light_fails_whatever_is_written_to(dataset_type: str, datasource: Target) -> None:
    verdict = judge(DATASET, DatasetUse(dataset_type), [datasource], lights(WRITE))
    assert [check.subject for check in verdict.failed] == [WRITE]


def test_green_lights_of_two_datasources_are_no_proof_for_either_and_no_failure() -> None:
    verdict = judge(DATASET, IMAGES, [INPUT, OUTPUT], lights())
    assert verdict.ok
    assert verdict.status is Status.UNKNOWN
    assert set(statuses(verdict, OUTPUT).values()) == {Status.UNKNOWN}
    assert {check.message for check in verdict.checks if check.status is Status.UNKNOWN} == {
        "Lightly's light is green, and the platform's check does not say which of the 2 datasources it tested"
    }


@pytest.mark.parametrize("permission", list(Permission))
def test_a_red_light_puts_every_datasource_that_needs_it_in_doubt_and_no_other(permission: Permission) -> None:
    verdict = judge(DATASET, IMAGES, [INPUT, OUTPUT], lights(permission))
    assert not verdict.ok
    needed_by_input = permission in {LIST, READ}
    assert statuses(verdict, INPUT)[permission] is (Status.UNKNOWN if needed_by_input else Status.SKIP)
    assert statuses(verdict, OUTPUT)[permission] is Status.UNKNOWN
    assert len(verdict.failed) == 1 + needed_by_input


def test_a_failed_check_names_permission_bucket_prefix_the_platforms_text_and_the_statement() -> None:
    verdict = judge(DATASET, IMAGES, [INPUT], lights(LIST, list="AccessDenied:  not authorized\n to list."))
    (check,) = verdict.failed
    assert check.message == (
        "denied without a reason: list is not granted in bucket 'acme-photos', prefix '2024/' (INPUT). "
        "The platform reports: AccessDenied: not authorized to list."
    )
    assert check.error == "AccessDenied: not authorized to list"
    (statement,) = check.fix
    assert statement["Action"] == ["s3:ListBucket"]
    assert statement["Condition"]["StringLike"]["s3:prefix"] == ["2024/", "2024/*"]


def test_a_failed_check_without_a_text_says_that_the_platform_gave_none() -> None:
    (check,) = judge(DATASET, IMAGES, [INPUT], lights(READ)).failed
    assert "The platform gives no reason." in check.message
    assert check.error is None


def test_the_text_of_a_green_light_is_not_repeated() -> None:
    verdict = judge(DATASET, IMAGES, [INPUT], lights(LIST, list="denied", read="stale text"))
    assert "stale" not in table(verdict) + failure_message(verdict) + json.dumps(verdict.as_dict())


def test_a_page_for_an_error_text_is_cut() -> None:
    verdict = judge(DATASET, IMAGES, [INPUT], lights(LIST, list="<html> " * 10_000))
    assert len(failure_message(verdict)) < 1500


def test_a_red_list_light_leaves_read_unknown_as_s3_hides_what_is_missing() -> None:
    verdict = judge(DATASET, IMAGES, [INPUT], lights(LIST, READ))
    of_list, of_read = verdict.failed
    assert (of_list.status, of_read.status) == (Status.FAIL, Status.UNKNOWN)
    assert "read may turn green with list" in of_read.message
    assert "read may turn green with list" not in of_list.message
    assert "read may turn green with list" in on_one_line(failure_message(verdict))
    assert of_read.fix[0]["Action"] == ["s3:GetObject"]


def test_a_wrong_key_is_no_hidden_read() -> None:
    refused = dict.fromkeys(("list", "read"), "InvalidAccessKeyId: no such key")
    assert statuses(judge(DATASET, IMAGES, [INPUT], lights(LIST, READ, **refused)), INPUT)[READ] is Status.FAIL


@pytest.mark.parametrize("red", [LIST, READ])
def test_list_or_read_alone_gives_no_such_hope(red: Permission) -> None:
    assert "may turn green" not in failure_message(judge(DATASET, IMAGES, [INPUT], lights(red)))


def test_two_datasources_say_that_the_light_may_concern_the_other() -> None:
    sentence = "does not say which of the 2 datasources it tested"
    verdict = judge(DATASET, IMAGES, [INPUT, OUTPUT], lights(WRITE))
    assert sentence in verdict.failed[0].message
    assert on_one_line(failure_message(verdict)).count(sentence) == 1
    assert sentence not in failure_message(judge(DATASET, IMAGES, [OUTPUT], lights(WRITE)))


READ_ONLY_INPUT = replace(INPUT, access="delegated access", role_arn="arn:aws:iam::123456789012:role/Reader")
OF_THE_INPUT = (
    "AccessDenied: User: arn:aws:sts::123456789012:assumed-role/Reader/x is not authorized to perform: {} on resource: "
    '"arn:aws:s3:::acme-photos/2024/x" because no identity-based policy allows the {} action'
)


def test_a_red_light_about_an_input_that_needs_no_writing_has_nobody_grant_it_there() -> None:
    said = OF_THE_INPUT.format("s3:PutObject", "s3:PutObject")
    verdict = judge(
        DATASET, IMAGES, [READ_ONLY_INPUT, OUTPUT], lights(WRITE, OVERWRITE, write=said, overwrite=said), findings={}
    )
    assert verdict.ok
    (write, overwrite) = [one for one in verdict.checks if one.datasource == OUTPUT and one.is_explained]
    assert (write.status, overwrite.status) == (Status.UNKNOWN, Status.UNKNOWN)
    assert write.message.startswith(
        "The platform tested INPUT, where write is neither needed nor granted; leave that so. Whether it is granted "
        "here is not known: a role can be tried by Lightly only, so a run shows it. The platform reports: AccessDenied"
    )
    assert "until that one is fixed" not in table(verdict)
    assert not write.fix


def test_a_red_light_about_an_input_that_needs_it_is_to_be_fixed_there() -> None:
    said = OF_THE_INPUT.format("s3:GetObject", "s3:GetObject")
    verdict = judge(DATASET, IMAGES, [READ_ONLY_INPUT, OUTPUT], lights(READ, read=said))
    assert [(one.subject, one.datasource, one.status) for one in verdict.failed] == [
        (READ, READ_ONLY_INPUT, Status.FAIL)
    ]
    (explained,) = [one for one in verdict.checks if one.is_explained]
    assert (explained.subject, explained.datasource) == (READ, OUTPUT)
    assert "cannot be checked until that one is fixed" in explained.message


def test_a_green_light_beside_a_datasource_that_cannot_be_judged_is_no_proof() -> None:
    verdict = judge(DATASET, IMAGES, [OUTPUT], lights(), n_others=30)
    assert verdict.ok
    assert verdict.status is Status.UNKNOWN
    assert {check.message for check in verdict.checks} == {
        "Lightly's light is green, and the platform's check does not say which of the 31 datasources it tested"
    }


def test_a_red_light_beside_a_datasource_that_cannot_be_judged_is_one_if_its_text_names_this_one() -> None:
    of_this = (
        "AccessDenied: User: arn:aws:sts::123456789012:assumed-role/Lightly/x is not authorized to perform: "
        's3:PutObject on resource: "arn:aws:s3:::acme-lightly/x" because no identity-based policy allows it'
    )
    of_nobody = judge(DATASET, IMAGES, [OUTPUT], lights(WRITE, write="AccessDenied: no"), n_others=1)
    assert [(one.subject, one.status) for one in of_nobody.failed] == [(WRITE, Status.UNKNOWN)]
    red = lights(WRITE, OVERWRITE, write=of_this, overwrite=of_this)
    assert {one.status for one in judge(DATASET, IMAGES, [OUTPUT], red, n_others=1).failed} == {Status.FAIL}


def test_a_red_light_that_can_only_be_about_a_datasource_that_cannot_be_judged_fails_no_other() -> None:
    refused = dict.fromkeys(("list", "read", "write", "overwrite"), "InvalidAccessKeyId: no such key")
    verdict = judge(DATASET, IMAGES, [READ_ONLY_INPUT], lights(*ALL, **refused), n_others=1)
    assert verdict.ok
    assert verdict.status is Status.UNKNOWN
    of_list, of_read = [one for one in verdict.checks if one.required]
    assert of_list.is_explained
    assert of_list.message == of_read.message
    assert of_list.message == (
        "Lightly's red light is about a datasource that is not in S3 or of an unknown purpose; this one cannot be "
        "checked until that one is fixed. The platform reports: InvalidAccessKeyId: no such key."
    )
    assert not of_list.remedy


def test_a_red_light_about_this_input_or_one_that_cannot_be_judged_does_not_say_that_it_is_not_needed() -> None:
    refused = dict.fromkeys(("write", "overwrite"), "InvalidAccessKeyId: no such key")
    verdict = judge(DATASET, IMAGES, [INPUT, OUTPUT], lights(WRITE, OVERWRITE, **refused), n_others=1)
    write = next(one for one in verdict.checks if (one.datasource, one.subject) == (OUTPUT, WRITE))
    assert write.is_explained
    assert write.message == (
        "Lightly's red light is about another datasource; this one cannot be checked until that one is fixed"
    )


def test_a_wrong_key_gets_its_own_advice_and_no_word_about_missing_rights() -> None:
    refused = dict.fromkeys(("list", "read", "write", "overwrite"), "InvalidAccessKeyId: no such key")
    verdict = judge(DATASET, IMAGES, [INPUT, OUTPUT], lights(*ALL, **refused))
    for text in (failure_message(verdict), table(verdict)):
        assert "present key" in text
        for word in ("argument require", "may turn green", "To the IAM policy"):
            assert word not in text
    assert failure_message(verdict).count("present key") == 1
    assert not any(check.fix for check in verdict.failed)


def test_the_kms_key_and_the_partition_of_a_datasource_enter_its_statement() -> None:
    key = "arn:aws:kms:eu-central-1:123456789012:key/abc"
    (check,) = judge(DATASET, IMAGES, [replace(OUTPUT, kms_key_arn=key)], lights(WRITE)).failed
    assert [statement["Resource"] for statement in check.fix] == [["arn:aws:s3:::acme-lightly/*"], [key]]
    (check,) = judge(DATASET, IMAGES, [replace(OUTPUT, partition="aws-cn")], lights(WRITE)).failed
    assert check.fix[0]["Resource"] == ["arn:aws-cn:s3:::acme-lightly/*"]


def test_the_failure_message_names_each_place_once_with_one_policy_to_add() -> None:
    verdict = judge(
        DATASET,
        IMAGES,
        [INPUT, OUTPUT],
        lights(READ, WRITE, read="Forbidden: r", write="Forbidden: w"),
    )
    message = failure_message(verdict, "my-photos")
    lines = message.splitlines()
    assert lines[:3] == [
        "Dataset 'my-photos' lacks permissions:",
        "read in INPUT (denied without a reason);",
        "read, write in LIGHTLY (denied without a reason).",
    ]
    assert lines[3:9] == [
        "To the IAM policy of user <name of the IAM user> add:",
        "{",
        '  "Effect": "Allow",',
        '  "Action": ["s3:GetObject"],',
        '  "Resource": ["arn:aws:s3:::acme-photos/2024/*"]',
        "}",
    ]
    assert lines[9] == "To the IAM policy of role Lightly add:"
    assert '  "Action": ["s3:GetObject", "s3:PutObject"],' in lines
    where = lines.index("INPUT: s3://acme-photos/2024/, user access with the key AKIA…MPLE")
    assert lines[where + 1] == "  The platform reports: Forbidden: r"
    assert lines[-1] == f"Dataset id: {DATASET}"
    assert max(map(len, lines)) <= 100


def test_the_table_has_a_block_per_datasource_and_a_row_per_permission() -> None:
    red = Finding("keys", Status.WARN, "the clock is slow")
    findings = {INPUT.purpose: [red], OUTPUT.purpose: [red]}
    shown = table(judge(DATASET, IMAGES, [INPUT, OUTPUT], lights(), findings=findings))
    of_input, of_output, meaning = shown.split("\n\n")
    header, says, *rows, _, _ = of_input.splitlines()
    assert header == "datasource INPUT  s3://acme-photos/2024/  user access with the key AKIA…MPLE"
    assert says == "  Lightly says"
    assert [row.split()[:2] for row in rows] == [
        ["list", "UNKNOWN"],
        ["read", "UNKNOWN"],
        ["write", "SKIP"],
        ["overwrite", "SKIP"],
    ]
    assert of_output.startswith("datasource LIGHTLY  s3://acme-lightly/  delegated access")
    assert meaning.startswith("UNKNOWN beside a green light: ")
    assert "Nothing is known to be wrong" in " ".join(meaning.split())
    assert shown.count("does not say which") == 1, "what six rows have in common is said once"


def test_a_datasource_with_nothing_to_report_is_one_line() -> None:
    findings = {INPUT.purpose: [Finding("content", Status.PASS, "214 objects, 203 images")]}

    in_short = table(judge(DATASET, IMAGES, [INPUT], lights(WRITE, OVERWRITE), findings=findings))
    of_role = table(judge(DATASET, IMAGES, [OUTPUT], lights()))
    mixed = table(judge(DATASET, IMAGES, [INPUT, OUTPUT], lights(WRITE)))

    assert in_short == (
        "datasource INPUT  PASS  list, read  s3://acme-photos/2024/  214 objects, 203 images  "
        "user access with the key AKIA…MPLE"
    )
    assert of_role == "datasource LIGHTLY  PASS  list, read, write, overwrite  s3://acme-lightly/"
    assert "datasource INPUT  UNKNOWN  list, read  s3://acme-photos/2024/  user access with the key" in mixed
    assert "datasource LIGHTLY  s3://acme-lightly/  delegated access" in mixed
    assert mixed.count("  Lightly says\n") == 1


@pytest.mark.parametrize("red", [(), (LIST,), (WRITE, OVERWRITE)])
def test_a_long_path_and_a_long_arn_are_folded(red: tuple[Permission, ...]) -> None:
    role = f"arn:aws:iam::123456789012:role/{'path/' * 50}Lightly"
    target = replace(
        OUTPUT,
        location=S3Location("acme-lightly", f"{'x' * 300}/"),
        access=f"delegated access through the role {role}",
        role_arn=role,
    )
    verdict = judge(DATASET, IMAGES, [target], lights(*red))
    # JSON and commands are to be copied, so their words are not broken.
    rows = [row for row in table(verdict).splitlines() if not row.lstrip().startswith(('"', "["))]
    assert max(map(len, rows)) <= 120
    assert target.location.uri in re.sub(r"\n +", "", table(verdict))


def test_a_long_command_is_continued_as_a_shell_reads_it() -> None:
    command = f"aws iam detach-role-policy --role-name {'r' * 60} --policy-arn arn:aws:iam::123456789012:policy/one"
    findings = {INPUT.purpose: [Finding("keys", Status.FAIL, "denied", remedy=Remedy(commands=(command,)))]}
    shown = table(judge(DATASET, IMAGES, [INPUT], None, findings=findings))
    _, _, printed = shown.partition("    - Run: ")
    assert "\n" in printed
    assert shlex.split(printed.replace("\\\n", "")) == shlex.split(command)


def test_below_the_rows_stands_once_what_to_do_as_readable_json() -> None:
    shown = table(judge(DATASET, IMAGES, [INPUT], lights(LIST, READ)))
    rows, _, todo = shown.partition("\n  to do\n")
    assert [row.split()[:2] for row in rows.splitlines()[2:] if row[4] != " "] == [
        ["list", "FAIL"],
        ["read", "UNKNOWN"],
        ["write", "SKIP"],
        ["overwrite", "SKIP"],
    ]
    first, _, statements = todo.partition("\n")
    assert first == "    - To the IAM policy of user <name of the IAM user> add:"
    assert [one["Action"] for one in json.loads(statements)] == [["s3:ListBucket"], ["s3:GetObject"]]


def test_one_missing_right_is_one_statement_and_one_line_of_change() -> None:
    target = replace(OUTPUT, role_arn=None, principal_arn="arn:aws:iam::123456789012:user/lightly")
    text = (
        "AccessDenied: User: arn:aws:iam::123456789012:user/lightly is not authorized to perform: s3:PutObject on "
        'resource: "arn:aws:s3:::acme-lightly/.lightly/x" because no identity-based policy allows it'
    )
    findings = [
        *seen(ALL - {WRITE, OVERWRITE}, ALL),
        Finding("delete", Status.FAIL, "no policy allows it", Failure(Cause.MISSING_ALLOW)),
    ]
    before = judge(DATASET, IMAGES, [target], lights(), findings={target.purpose: seen(ALL, ALL)})
    red = lights(WRITE, OVERWRITE, write=text, overwrite=text)
    denied = judge(DATASET, IMAGES, [target], red, findings={target.purpose: findings})
    (todo,) = list(table(denied).split("\n  to do\n")[1:])
    assert todo.count('"Effect"') == 1
    assert json.loads(todo.partition("\n")[2])["Action"] == ["s3:PutObject", "s3:DeleteObject"]
    changes = changes_between(before.as_dict(), denied.as_dict())
    changes = [change for change in changes if "new" not in change]
    assert len(changes) == 1
    assert changes[0].startswith("LIGHTLY write, overwrite (Lightly says, from this worker): PASS -> FAIL, ")


def test_no_row_of_words_is_wider_than_120_columns_and_a_failure_says_all() -> None:
    text = "AccessDenied: " + "word " * 80
    shown = table(judge(DATASET, IMAGES, [INPUT], lights(LIST, list=text)))
    assert max(map(len, shown.splitlines())) <= 120
    assert " ".join(shown.split()).count("word") == 80


def test_the_verdict_for_xcom_is_json_and_complete() -> None:
    verdict = judge(DATASET, IMAGES, [INPUT, OUTPUT], lights(WRITE, write="AccessDenied: denied"))
    value = verdict.as_dict()
    assert json.loads(json.dumps(value)) == value
    assert all(type(text) is str for check in value["checks"] for text in (check["purpose"], check["status"]))
    assert (value["dataset_id"], value["ok"], len(value["checks"])) == (DATASET, False, 8)
    (failed,) = [check for check in value["checks"] if check["required"] and check["granted"] is False]
    assert failed["status"] == "UNKNOWN"
    assert failed["purpose"] == "LIGHTLY"
    assert failed["location"] == "s3://acme-lightly/"
    assert failed["permission"] == "write"
    assert (failed["granted"], failed["required"], failed["error"]) == (False, True, "AccessDenied: denied")
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
    verdict = judge(DATASET, DatasetUse("Videos"), [INPUT, OUTPUT], lights(*Permission), require)
    assert {check.subject for check in verdict.failed if check.datasource == INPUT} == of_input
    assert {check.subject for check in verdict.failed if check.datasource == OUTPUT} == of_output


def test_a_named_permission_that_no_purpose_uses_is_required_all_the_same() -> None:
    verdict = judge(DATASET, IMAGES, [INPUT], lights(WRITE), ["write"])
    assert [check.subject for check in verdict.failed] == [WRITE]
    assert verdict.checks[0].message == "not required of INPUT"


def test_auto_and_all_four_differ_for_a_common_datasource_of_images() -> None:
    assert judge(DATASET, IMAGES, [BOTH], lights(WRITE)).ok
    assert not judge(DATASET, IMAGES, [BOTH], lights(WRITE), tuple(Permission)).ok


@pytest.mark.parametrize(
    ("require", "read_as"),
    [("auto", None), (["list"], {LIST}), (("read", "list", "list"), {LIST, READ}), ({"write"}, {WRITE})],
)
def test_require_is_auto_or_the_names_of_permissions(require: list[str], read_as: set[Permission] | None) -> None:
    assert check_require(require) == read_as


@pytest.mark.parametrize(
    ("require", "words"),
    [
        (["lst"], "names 'lst', which is not a permission; did you mean 'list'?"),
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
        judge(DATASET, IMAGES, [INPUT], lights(), require)


def test_a_dataset_without_datasources_is_not_a_pass() -> None:
    with pytest.raises(ValueError, match=f"Dataset {DATASET} has no datasource"):
        judge(DATASET, IMAGES, [], lights())


# --- what two datasources' lights mean ----------------------------------------------------------------------------

LIGHTS_BY_SCOPE = {
    # What the platform would test of (INPUT, LIGHTLY), for list and read, and for write and overwrite.
    "combined": ((0,), (1,)),
    "input": ((0,), (0,)),
    "lightly": ((1,), (1,)),
    "worst": ((0, 1), (0, 1)),
}
SUBSETS = [frozenset(p for bit, p in enumerate(Permission) if number >> bit & 1) for number in range(16)]


def shown(scope: str, granted: tuple[frozenset[Permission], frozenset[Permission]]) -> PermissionLights:
    """The lights that a platform of this scope would show."""
    reading, writing = LIGHTS_BY_SCOPE[scope]
    green = {
        permission: all(permission in granted[index] for index in (reading if permission in {LIST, READ} else writing))
        for permission in Permission
    }
    green[OVERWRITE] = green[OVERWRITE] and green[WRITE]
    return PermissionLights(**{f"can_{permission}": value for permission, value in green.items()})


def seen(granted: frozenset[Permission], needed: frozenset[Permission]) -> list[Finding]:
    """What a worker sees that tries what is needed."""
    return [
        Finding(permission, Status.PASS if permission in granted else Status.FAIL, "") for permission in sorted(needed)
    ]


@pytest.mark.parametrize("scope", LIGHTS_BY_SCOPE)
@pytest.mark.parametrize("probed", [False, True])
def test_whatever_the_platform_tests_no_check_is_wrong(scope: str, probed: bool) -> None:
    of_user = replace(OUTPUT, role_arn=None)
    needs = (frozenset({LIST, READ}), ALL)
    for of_input in SUBSETS:
        for of_output in (one for one in SUBSETS if OVERWRITE not in one or WRITE in one):
            granted = (of_input, of_output)
            findings = {
                one.purpose: seen(has, needed)
                for one, has, needed in zip([INPUT, of_user], granted, needs, strict=True)
            }
            verdict = judge(
                DATASET, IMAGES, [INPUT, of_user], shown(scope, granted), findings=findings if probed else {}
            )
            for check in verdict.checks:
                has = granted[0 if check.datasource == INPUT else 1]
                if check.status is Status.PASS:
                    assert check.subject in has
                elif check.status is Status.FAIL:
                    assert check.subject not in has
                else:
                    assert check.status is Status.SKIP or not probed, "what was tried here is known"
            if probed:
                assert verdict.ok == (needs[0] <= of_input and needs[1] <= of_output)


def test_a_text_that_names_the_bucket_tells_which_datasource_was_tested() -> None:
    text = (
        "AccessDenied: User: arn:aws:sts::123456789012:assumed-role/Lightly/lightly is not authorized to perform: "
        's3:PutObject on resource: "arn:aws:s3:::acme-lightly/.lightly/x" because no identity-based policy allows the '
        "s3:PutObject action"
    )
    verdict = judge(DATASET, IMAGES, [INPUT, OUTPUT], lights(WRITE, OVERWRITE, write=text, overwrite=text))
    assert statuses(verdict, OUTPUT)[WRITE] is Status.FAIL
    assert {check.cause for check in verdict.failed} == {Cause.MISSING_ALLOW}


def test_a_red_light_whose_text_is_about_the_other_datasource_is_no_failure_here() -> None:
    text = (
        "AccessDenied: User: arn:aws:iam::123456789012:user/reader is not authorized to perform: s3:PutObject on "
        'resource: "arn:aws:s3:::acme-photos/2024/.lightly/x" because no identity-based policy allows it'
    )
    verdict = judge(DATASET, IMAGES, [INPUT, OUTPUT], lights(WRITE, OVERWRITE, write=text, overwrite=text))
    assert statuses(verdict, OUTPUT)[WRITE] is Status.UNKNOWN
    assert verdict.ok


def test_what_works_here_and_not_for_lightly_is_bound_to_a_network() -> None:
    findings = {INPUT.purpose: seen(ALL, frozenset({LIST, READ}))}
    verdict = judge(DATASET, IMAGES, [INPUT], lights(READ, read="AccessDenied: Access Denied"), findings=findings)
    (failed,) = verdict.failed
    assert failed.cause is Cause.SOURCE_RESTRICTED
    assert "bypass_verify" in str(failed.advice)


def test_what_lightly_can_and_this_worker_cannot_is_a_warning() -> None:
    findings = {INPUT.purpose: seen(frozenset(), frozenset({LIST, READ}))}
    verdict = judge(DATASET, IMAGES, [INPUT], lights(), findings=findings)
    assert verdict.ok
    assert verdict.status is Status.WARN
    assert {check.status for check in verdict.from_this_worker} == {Status.WARN}


FORGED = "a.jpg\n    write        PASS     granted\x1b[2J::group::x"


def test_what_is_foreign_forges_no_row_and_reaches_no_terminal() -> None:
    target = replace(INPUT, location=S3Location("acme", "raw\x1b]0;title\x07/"))
    findings = [
        Finding("list", Status.FAIL, f"no policy allows it (on s3://acme/{FORGED})", Failure(Cause.MISSING_ALLOW))
    ]
    red = lights(LIST, list=f"AccessDenied: {FORGED}")
    verdict = judge(DATASET, IMAGES, [target], red, findings={target.purpose: findings})
    before = judge(DATASET, IMAGES, [target], lights())
    for text in (table(verdict), failure_message(verdict), *changes_between(before.as_dict(), verdict.as_dict())):
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "::group::" not in text
    assert not any(row.startswith("    write        PASS") for row in table(verdict).splitlines())


@pytest.mark.parametrize("key", ["a\x00.jpg", "a\ud800.jpg", "\x1b[2J.jpg"])
def test_a_key_that_a_database_cannot_store_is_no_obstacle_to_a_verdict(key: str) -> None:
    remedy = Remedy((f"move {key}",), commands=(f"rm {key}",))
    findings = [Finding("read", Status.FAIL, f"one byte of {key}", Failure(Cause.DENIED), remedy)]
    red = lights(READ, read=f"AccessDenied: {key}")
    value = judge(DATASET, IMAGES, [INPUT], red, findings={INPUT.purpose: findings}).as_dict()
    text = json.dumps(value, ensure_ascii=False)
    assert not any(sign in text for sign in ("\x00", "\\u0000", "\ud800", "\x1b", "\\u001b"))
    escaped = key.encode("unicode_escape").decode()
    (check,) = value["from_this_worker"]
    assert check["message"].endswith(escaped)
    assert (check["advice"], check["commands"]) == (f"move {escaped}", [f"rm {escaped}"])
    assert any(escaped in str(one["error"]) for one in value["checks"])


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("InternalError: We encountered an internal error. Please try again.", Cause.UNAVAILABLE),
        ("ServiceUnavailable: Service is unable to handle request.", Cause.UNAVAILABLE),
        ("<html><body>407 Proxy Authentication Required</body></html>", Cause.NOT_AWS),
        ("AccountProblem: There is a problem with your AWS account", Cause.ACCOUNT),
        ("KeyTooLongError: Your key is too long", Cause.OTHER),
    ],
)
def test_a_failure_that_is_not_about_rights_prints_no_statement(text: str, cause: Cause) -> None:
    verdict = judge(DATASET, IMAGES, [INPUT], lights(READ, read=text))
    assert not verdict.ok
    assert {check.cause for check in verdict.failed} == {cause}
    assert '"Effect"' not in table(verdict) + failure_message(verdict)
    assert verdict.is_transient == (cause is Cause.UNAVAILABLE)


def test_that_no_file_matches_decides_only_where_files_are_required() -> None:
    warned = Finding("content", Status.WARN, "no images under s3://acme-photos/2024/ (0 objects)")
    verdict = judge(DATASET, IMAGES, [INPUT], lights(), findings={INPUT.purpose: [warned]})
    assert (verdict.ok, verdict.status) == (True, Status.WARN)
    required = replace(warned, status=Status.FAIL)
    verdict = judge(DATASET, IMAGES, [INPUT], lights(), findings={INPUT.purpose: [required]})
    assert (verdict.ok, verdict.status) == (False, Status.FAIL)
    assert failure_message(verdict, "my-photos").splitlines() == [
        "Dataset 'my-photos' cannot be used:",
        "content in INPUT (no images under s3://acme-photos/2024/ (0 objects)).",
        "INPUT: s3://acme-photos/2024/, user access with the key AKIA…MPLE",
        f"Dataset id: {DATASET}",
    ]
    assert not verdict.is_transient


def test_waiting_may_help_a_missing_allow_and_never_an_explicit_deny() -> None:
    implicit = "AccessDenied: … is not authorized to perform: s3:GetObject because no identity-based policy allows it"
    explicit = (
        "AccessDenied: … not authorized to perform: s3:GetObject with an explicit deny in an identity-based policy"
    )
    assert judge(DATASET, IMAGES, [INPUT], lights(READ, read=implicit)).is_transient
    assert not judge(DATASET, IMAGES, [INPUT], lights(READ, read=explicit)).is_transient
    assert not judge(DATASET, IMAGES, [INPUT], lights()).is_transient


def test_two_verdicts_tell_what_changed_and_counts_are_no_change() -> None:
    before = judge(DATASET, IMAGES, [INPUT], lights()).as_dict()
    denied = judge(DATASET, IMAGES, [INPUT], lights(READ, read="AccessDenied: Access Denied")).as_dict()
    assert changes_between(before, before) == []
    assert changes_between(None, before) == []
    (change,) = changes_between(before, denied)
    assert change.startswith(
        "INPUT read (Lightly says): PASS -> FAIL, denied without a reason at s3://acme-photos/2024/"
    )


@pytest.mark.parametrize(
    ("use", "purpose", "needs"),
    [
        (DatasetUse("Images", object_level=True), Purpose.INPUT_OUTPUT, ALL),
        (DatasetUse("Images", object_level=True), Purpose.INPUT, {LIST, READ}),
        (DatasetUse("Videos", bypass_verify=True), Purpose.LIGHTLY, {LIST}),
        (DatasetUse("Videos", bypass_verify=True, relevant_filenames=True), Purpose.LIGHTLY, {LIST, READ}),
        (DatasetUse("Videos", bypass_verify=True, relevant_filenames=True), Purpose.INPUT, {LIST}),
        (DatasetUse("Images", relevant_filenames=True), Purpose.INPUT, {LIST, READ}),
    ],
)
def test_each_use_has_its_own_needs(use: DatasetUse, purpose: Purpose, needs: set[Permission]) -> None:
    assert required_of(use, purpose, False, [purpose], "auto") == needs


def test_beside_an_output_a_common_datasource_is_only_read() -> None:
    assert required_of(DatasetUse("Videos"), Purpose.INPUT_OUTPUT, False, list(Purpose), "auto") == {LIST, READ}
