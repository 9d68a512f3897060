from __future__ import annotations

import dataclasses
import pickle

import pytest

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
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/acme", "s3://bucket/prefix/"),
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
        ("acme-s3alias", "an access point"),
        ("acme--ol-s3", "Object Lambda"),
        ("acme.mrap", "multi-region"),
        ("acme--usw2-az1--x-s3", "directory bucket"),
        ("acme--table-s3", "table bucket"),
    ],
)
def test_a_bucket_name_that_aws_does_not_allow_is_refused_with_the_rule(bucket: str, rule: str) -> None:
    message = refusal(f"s3://{bucket}/a/")
    assert "no bucket can be called" in message
    assert rule in message
    assert "write the name as the S3 console shows it" in message


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
    ("outer", "inner", "contains", "overlaps"),
    [
        ("s3://acme/", "s3://acme/a/", True, True),
        ("s3://acme/a/", "s3://acme/a/", True, True),
        ("s3://acme/a/", "s3://acme/a/b/", True, True),
        ("s3://acme/a/b/", "s3://acme/a/", False, True),
        ("s3://acme/a/", "s3://acme/", False, True),
        ("s3://acme/a/", "s3://acme/ab/", False, False),
        ("s3://acme/a/", "s3://acme/b/", False, False),
        ("s3://acme/a/", "s3://other/a/", False, False),
        ("s3://acme/", "s3://acme2/", False, False),
    ],
)
def test_locations_are_compared_folder_by_folder(outer: str, inner: str, contains: bool, overlaps: bool) -> None:
    assert parse(outer).contains(parse(inner)) is contains
    assert parse(outer).overlaps(parse(inner)) is overlaps
    assert parse(inner).overlaps(parse(outer)) is overlaps


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
