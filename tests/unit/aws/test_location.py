from __future__ import annotations

import ast
import dataclasses
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightly_provider.aws.location import InvalidLocationError, S3Location


def parse(uri: str) -> S3Location:
    return S3Location.parse(uri, argument="resource_path")


def refusal(uri: object) -> str:
    with pytest.raises(InvalidLocationError) as refused:
        S3Location.parse(uri, argument="resource_path")  # type: ignore[arg-type]
    return str(refused.value)


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://acme-photos", "acme-photos", ""),
        ("s3://acme-photos/", "acme-photos", ""),
        ("s3://acme-photos/2024", "acme-photos", "2024/"),
        ("s3://acme-photos/2024/05/", "acme-photos", "2024/05/"),
        ("s3://acme.photos.eu/2024", "acme.photos.eu", "2024/"),
        ("s3://abc/x", "abc", "x/"),
        (f"s3://{'a' * 63}/x", "a" * 63, "x/"),
        ("s3://1.2.3/x", "1.2.3", "x/"),
        ("s3://acme-photos/my photos/ä/day=1", "acme-photos", "my photos/ä/day=1/"),
        ("s3://acme-photos/user@site:9/(1)", "acme-photos", "user@site:9/(1)/"),
        ("s3://acme-photos/x/acme-photos", "acme-photos", "x/acme-photos/"),
        ("s3://acme-photos/acme-photos-2", "acme-photos", "acme-photos-2/"),
        ("s3://acme-photos/.lightly/...", "acme-photos", ".lightly/.../"),
        (f"s3://acme-photos/{'a' * 1023}", "acme-photos", "a" * 1023 + "/"),
        ("s3://team-111122223333-us-west-2-an/x", "team-111122223333-us-west-2-an", "x/"),
    ],
)
def test_a_location_that_s3_knows_is_taken_and_ends_in_a_slash(uri: str, bucket: str, prefix: str) -> None:
    location = parse(uri)
    assert (location.bucket, location.prefix) == (bucket, prefix)
    assert str(location) == location.uri == f"s3://{bucket}/{prefix}"
    assert parse(location.uri) == location


@pytest.mark.parametrize(
    ("uri", "proposal"),
    [
        ("https://acme.s3.eu-central-1.amazonaws.com/a/b/", "s3://acme/a/b/"),
        ("https://acme.s3.amazonaws.com", "s3://acme/"),
        ("https://acme.photos.s3-eu-west-1.amazonaws.com/a", "s3://acme.photos/a/"),
        ("https://acme.s3.dualstack.eu-west-1.amazonaws.com/a", "s3://acme/a/"),
        ("http://s3.eu-central-1.amazonaws.com/acme/a", "s3://acme/a/"),
        ("HTTPS://S3.AMAZONAWS.COM/acme/a", "s3://acme/a/"),
        ("https://acme.s3.cn-north-1.amazonaws.com.cn/a", "s3://acme/a/"),
        ("https://acme.s3.amazonaws.com/my%20photos/", "s3://acme/my photos/"),
        ("https://eu-central-1.console.aws.amazon.com/s3/buckets/acme?region=eu&prefix=a/b/", "s3://acme/a/b/"),
        ("https://s3.console.aws.amazon.com/s3/buckets/acme", "s3://acme/"),
        ("https://console.aws.amazon.com/s3/home", "s3://bucket/prefix/"),
        ("https://example.com/acme/a", "s3://bucket/prefix/"),
        ("https://[acme/a", "s3://bucket/prefix/"),
        ("s3a://acme/a", "s3://acme/a/"),
        ("s3n://acme/a", "s3://acme/a/"),
        ("S3://acme/a", "s3://acme/a/"),
        ("s3:/acme/a", "s3://acme/a/"),
        ("s3:acme/a", "s3://acme/a/"),
        ("s3//acme/a", "s3://acme/a/"),
        ("acme/a", "s3://acme/a/"),
        ("./a", "s3://bucket/prefix/"),
        ("/data/a", "s3://bucket/prefix/"),
        ("gs://acme/a", "s3://bucket/prefix/"),
        ("arn:aws:s3:::acme/a/*", "s3://acme/a/"),
        ("arn:aws:s3:::acme", "s3://acme/"),
        ("arn:aws-cn:s3:::acme/a", "s3://acme/a/"),
        ("arn:aws:s3:eu-west-1:123456789012:job/acme", "s3://bucket/prefix/"),
        ("https://acme.s3-website-eu-west-1.amazonaws.com/a", "s3://acme/a/"),
        ("s3://s3://acme/a", "s3://acme/a/"),
        ("s3://s3a://acme/a", "s3://acme/a/"),
        ("s3:///acme/a", "s3://acme/a/"),
        ("s3://", "s3://bucket/prefix/"),
        ("s3:///", "s3://bucket/prefix/"),
        ("s3://acme/acme/a", "s3://acme/a/"),
        ("s3://acme/acme", "s3://acme/"),
        ("s3://acme/acme/acme/a", "s3://acme/a/"),
        ("s3://acme/a//b", "s3://acme/a/b/"),
        ("s3://acme//a", "s3://acme/a/"),
        ("s3://acme/a//", "s3://acme/a/"),
        ("s3://acme//", "s3://acme/"),
        ("s3://acme/a/?versionId=7", "s3://acme/a/"),
        ("s3://acme/a#top", "s3://acme/a/"),
        ("s3://acme/a/b*/c", "s3://acme/a/"),
        ("s3://acme/*", "s3://acme/"),
        ("s3://acme/acme//a?b", "s3://bucket/prefix/"),
        ("", "s3://bucket/prefix/"),
        (" ", "s3://bucket/prefix/"),
    ],
)
def test_a_slip_is_refused_with_the_location_that_was_probably_meant(uri: str, proposal: str) -> None:
    message = refusal(uri)
    assert message.startswith("resource_path='")
    assert f"write {proposal}" in message
    if proposal != "s3://bucket/prefix/":
        assert parse(proposal).uri == proposal


@pytest.mark.parametrize(
    ("bucket", "rule"),
    [
        ("ab", "3 to 63 characters"),
        ("a" * 64, "3 to 63 characters"),
        ("Acme", "lower-case"),
        ("acme_photos", "lower-case"),
        ("acme photos", "lower-case"),
        ("acmé", "lower-case"),
        ("-acme", "begin and end"),
        ("acme-", "begin and end"),
        (".acme", "begin and end"),
        ("acme.", "begin and end"),
        ("ac..me", "two dots"),
        ("192.168.5.4", "IP address"),
        ("xn--acme", "'xn--'"),
        ("sthree-acme", "'sthree-'"),
        ("sthree-configurator-acme", "'sthree-'"),
        ("amzn-s3-demo-acme", "'amzn-s3-demo-'"),
    ],
)
def test_a_bucket_name_that_aws_does_not_allow_is_refused_with_the_rule(bucket: str, rule: str) -> None:
    message = refusal(f"s3://{bucket}/a/")
    assert "no bucket can be called" in message
    assert rule in message
    assert "write the name as the S3 console shows it" in message


@pytest.mark.parametrize(
    ("bucket", "owner"),
    [
        ("acme-s3alias", "an access point"),
        ("acme--ol-s3", "an Object Lambda access point"),
        ("acme.mrap", "a multi-region access point"),
        ("acme--usw2-az1--x-s3", "a directory bucket"),
        ("acme--table-s3", "a table bucket"),
    ],
)
def test_what_is_no_general_purpose_bucket_is_named(bucket: str, owner: str) -> None:
    message = refusal(f"s3://{bucket}/a/")
    assert f"{bucket!r} is the name of {owner}" in message
    assert "bucket behind it" in message or "use a general purpose bucket" in message


FOLDERS_LIKE_SLIPS = [
    *("acme/", "acme/x/", "acme/acme/", "/", "/x/", "x//y/", "//", "a?b/", "a#b/", "a*b/", "*/", "a\\b/", "?#*//acme/"),
    *("my%20photos/", "Mo\u0308wen/", "a\xa0b/"),
]


@pytest.mark.parametrize("prefix", FOLDERS_LIKE_SLIPS)
def test_a_folder_that_is_really_called_so_is_taken_exactly(prefix: str) -> None:
    location = parse(f"exact:s3://acme/{prefix}")
    assert (location.bucket, location.prefix, location.warning) == ("acme", prefix, None)
    assert location == S3Location("acme", prefix)
    assert location.uri == f"s3://acme/{prefix}"


@pytest.mark.parametrize("prefix", FOLDERS_LIKE_SLIPS)
def test_a_location_is_written_so_that_it_can_be_given_again(prefix: str) -> None:
    assert parse(S3Location("acme", prefix).written) == S3Location("acme", prefix)


def suggestions(uri: str, message: str) -> list[str]:
    """What a refusal suggests: the location that was meant, and the marker for one that is meant as it is."""
    found = re.findall(r"(?:write|as) (s3://.*?)(?: instead[;.]| and use an AWS connection\.|\.$|$)", message)
    return [*found, f"exact:{uri}"] if "write exact: before s3://" in message else found


SIGNS = "a-b/1.:@?#*\\ %20AÄ\xa0\u0308~="
PIECES = ["s3://", "s3a://", "s3:", "exact:", "https://", "acme", "acme/", "//", "../", ".s3.eu-west-1.amazonaws.com/"]
PIECES += ["arn:aws:s3:::", "accesspoint", "bucket", "?prefix=", "s3-accesspoint.", "*.jpg", "photos/", "-s3alias/"]


@pytest.mark.exhaustive(sample="test_whatever_a_warning_suggests_is_taken_without_one")
@given(st.lists(st.sampled_from(PIECES) | st.text(SIGNS, max_size=6), max_size=7).map("".join))
@settings(max_examples=2000, derandomize=True, deadline=None)
def test_whatever_a_refusal_suggests_is_taken(uri: str) -> None:
    try:
        location = parse(uri)
    except InvalidLocationError as refused:
        message = str(refused)
        assert (
            message.count("write")
            + message.count("remove")
            + message.count("shorten")
            + message.count("type")
            + (message.count("use a general"))
        )
        for suggested in suggestions(uri, message):
            parse(suggested)
    else:
        assert parse(location.written) == location


@given(st.text(st.characters(codec="utf-8"), max_size=20).map(lambda text: f"{text}/"))
@settings(max_examples=500, derandomize=True, deadline=None)
def test_whatever_a_warning_suggests_is_taken_without_one(prefix: str) -> None:
    try:
        warning = parse(f"s3://acme/{prefix}").warning
    except InvalidLocationError:
        return
    if warning and not warning.endswith("type it again."):
        meant = ast.literal_eval(warning[warning.rindex("write ") + 6 : -1])
        assert "%20" in meant or parse(f"s3://acme/{meant}").prefix == meant


def test_what_would_not_be_taken_is_not_suggested() -> None:
    assert str(parse("s3://acme/a/\u202e/").warning).endswith("if nothing is found there, type it again.")
    assert parse("s3://acme/\U0001f468\u200d\U0001f469/").warning is None


@pytest.mark.parametrize(
    ("prefix", "reason", "meant"),
    [
        ("Mo\u0308wen/", "(NFD, as macOS may write names)", "'Möwen/'"),
        ("a\xa0b/", "'\\xa0', which looks like a", "'a b/'"),
        ("a\u202egpj/", "'\\u202e', which cannot be seen", "'agpj/'"),
        ("a\xadb/", "'\\xad', which cannot be seen", "'ab/'"),
    ],
)
def test_a_folder_whose_name_looks_like_another_is_taken_with_a_warning(prefix: str, reason: str, meant: str) -> None:
    location = parse(f"s3://acme/{prefix}")
    assert location.prefix == prefix
    assert str(location.warning).startswith(f"The prefix {prefix!a} holds ")
    assert reason in str(location.warning)
    assert str(location.warning).endswith(f"if nothing is found there, write {meant}.")


@pytest.mark.parametrize(
    ("uri", "cause"),
    [
        (" s3://acme/a", "blank"),
        ("s3://acme/a\n", "blank"),
        ("s3://acme/a\tb", "control or invisible"),
        ("s3://acme/a\x7f", "control or invisible"),
        ("s3://acme/a\u200bb", "control or invisible"),
        ("\ufeffs3://acme/a", "control or invisible"),
        ("s3://acme/\ud800", "control or invisible"),
        ("s3://acme\\a\\b", "backslash"),
        ("exact:s3://acme\\a", "backslash"),
        ("exact:s3://acme/../a", "'.' and '..'"),
        ("exact:s3://acme/a\x00b", "control or invisible"),
        (f"exact:s3://acme/{'a' * 1024}", "1024 bytes"),
        ("exact:s3://Acme/a", "lower-case"),
        ("exact:exact:s3://acme/a", "the scheme s3:// is missing"),
        ("https://ap-123456789012.s3-accesspoint.eu-west-1.amazonaws.com/a", "the address of an access point"),
        ("https://m.mrap.accesspoint.s3-global.amazonaws.com/a", "the address of an access point"),
        ("https://ap-1.op-1.123.s3-outposts.eu-west-1.amazonaws.com/a", "the address of an access point"),
        ("https://123456789012.s3-control.eu-west-1.amazonaws.com/v20180820", "the address of an access point"),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/acme", "the ARN of an access point"),
        ("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/acme/a/", "the ARN of an access point"),
        ("arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-1/accesspoint/ap", "the ARN of an access point"),
        ("s3://acme/../a", "'.' and '..'"),
        ("s3://acme/a/./b", "'.' and '..'"),
        (f"s3://acme/{'a' * 1024}", "1024 bytes"),
        (f"s3://acme/{'é' * 512}", "1024 bytes"),
        ("s3://localhost:9000/acme/a", "nor a port"),
        (None, "a location is a text"),
        (b"s3://acme/a", "a location is a text"),
    ],
)
def test_what_cannot_work_is_refused_with_its_cause(uri: object, cause: str) -> None:
    assert cause in refusal(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIAEXAMPLE:hush/hush+key@acme/a",
        "exact:s3://AKIAEXAMPLE:hush/hush+key@acme/a",
        "exact:s3://acme/../a?sig=hush",
        "s3n://AKIAEXAMPLE:hush/key@acme/a://b",
        "AKIAEXAMPLE:hush/key@acme/a",
        "s3://hush@acme/a",
        "https://user:hush@acme.s3.amazonaws.com/a",
        "https://acme.s3.amazonaws.com/a?X-Amz-Security-Token=hush&X-Amz-Signature=hush",
        "https://acme.s3.amazonaws.com/a?X-Amz-Signature=hush://hush",
        "s3://acme/a?sig=hush",
    ],
)
def test_credentials_inside_a_refused_value_are_not_repeated(uri: str) -> None:
    assert "hush" not in refusal(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://" * 4000,
        "s3://acme/" + "acme/" * 4000,
        "s3://acme/" + "/" * 40_000,
        "x" * 90_000,
        ":" * 90_000,
        "https://acme.s3" + "-a" * 5000,
        "https://acme" + ".s3" * 1000 + "/a",
    ],
    ids=["schemes", "buckets", "slashes", "letters", "colons", "host", "hosts"],
)
def test_a_refusal_stays_short_however_long_the_value_is(uri: str) -> None:
    assert len(refusal(uri)) < 700


@pytest.mark.parametrize(
    ("uri", "meant"),
    [("s3://acme/my%20photos/", "my photos/"), ("s3://acme/a%2Fb", "a/b/"), ("s3://acme/a%2fb/", "a/b/")],
)
def test_a_prefix_that_looks_percent_encoded_is_taken_with_a_warning(uri: str, meant: str) -> None:
    location = parse(uri)
    assert "%2" in location.prefix
    assert f"write {meant!r}" in str(location.warning)


@pytest.mark.parametrize("uri", ["s3://acme/", "s3://acme/100%/", "s3://acme/path=a%2Fb/", "s3://acme/a%3Ab/"])
def test_a_prefix_whose_percent_sign_may_be_meant_gives_no_warning(uri: str) -> None:
    assert parse(uri).warning is None


@pytest.mark.parametrize(
    ("outer", "inner", "contains"),
    [
        ("s3://acme/", "s3://acme/a/", True),
        ("s3://acme/a/", "s3://acme/a/", True),
        ("s3://acme/a/", "s3://acme/a/b/", True),
        ("s3://acme/a/b/", "s3://acme/a/", False),
        ("s3://acme/a/", "s3://acme/", False),
        ("s3://acme/a/", "s3://acme/ab/", False),
        ("s3://acme/a/", "s3://acme/b/", False),
        ("s3://acme/a/", "s3://other/a/", False),
        ("s3://acme/", "s3://acme2/", False),
    ],
)
def test_locations_are_compared_folder_by_folder(outer: str, inner: str, contains: bool) -> None:
    assert parse(outer).contains(parse(inner)) is contains


@pytest.mark.parametrize(
    ("location", "relative", "uri"),
    [
        ("s3://acme/a/", "b.jpg", "s3://acme/a/b.jpg"),
        ("s3://acme/a/", "b/c.jpg", "s3://acme/a/b/c.jpg"),
        ("s3://acme/", ".lightly/", "s3://acme/.lightly/"),
    ],
)
def test_join_names_what_lies_below(location: str, relative: str, uri: str) -> None:
    assert parse(location).join(relative) == uri


@pytest.mark.parametrize("relative", ["", "/", "/b.jpg", "../b.jpg", "b/../../c", "./b", "b//c"])
def test_join_never_leaves_the_location(relative: str) -> None:
    with pytest.raises(ValueError, match="is not a path below s3://acme/a/"):
        parse("s3://acme/a/").join(relative)


@pytest.mark.parametrize(
    ("uri", "location"),
    [
        ("s3://acme/acme/x", S3Location("acme", "acme/x/")),
        ("s3://Old_Bucket", S3Location("Old_Bucket", "")),
        ("s3://acme//a?b/", S3Location("acme", "/a?b/")),
    ],
)
def test_a_stored_location_is_read_as_it_is(uri: str, location: S3Location) -> None:
    assert S3Location.from_stored(uri) == location


@pytest.mark.parametrize("uri", ["", "s3://", "s3:///a", "gs://acme/a", "acme/a"])
def test_a_stored_path_outside_s3_is_refused(uri: str) -> None:
    with pytest.raises(InvalidLocationError, match="is not of the form"):
        S3Location.from_stored(uri)


@pytest.mark.parametrize(("bucket", "prefix"), [("", ""), ("acme", "a"), ("", "a/")])
def test_a_location_cannot_be_built_without_a_bucket_or_with_half_a_folder(bucket: str, prefix: str) -> None:
    with pytest.raises(ValueError, match=r"use S3Location\.parse"):
        S3Location(bucket, prefix)


def test_a_location_is_a_value() -> None:
    location = parse("s3://acme/a")
    assert pickle.loads(pickle.dumps(location)) == location
    assert {location, parse("s3://acme/a/")} == {location}
    with pytest.raises(dataclasses.FrozenInstanceError):
        location.bucket = "other"  # type: ignore[misc]
