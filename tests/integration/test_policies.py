"""Every document that the provider emits, put on the local AWS and tried: what must work works, all else is denied."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.aws.grants import Grant, Network, access_policy
from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import PURPOSE_PERMISSIONS, key_policy_statement, policy_document, trust_policy
from lightly_provider.contract import Purpose
from tests.integration.sandbox import CUSTOMER_ACCOUNT, Keys
from tests.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lightly_provider.aws.policies import PolicyDocument
    from tests.integration.sandbox import Sandbox

EXTERNAL_ID = "external-id-of-the-tests"
# "raw2/" begins like "raw/", and must not be taken for it.
FOLDERS = ("raw/", "raw2/", "lightly/", "raw/deep/")


@dataclass(frozen=True)
class Buckets:
    """A bucket with versions and a file in each folder, and another one with the same folders."""

    ours: str
    other: str


@pytest.fixture(scope="module")
def buckets(sandbox: Sandbox) -> Buckets:
    made = Buckets(sandbox.bucket(), sandbox.bucket())
    s3 = sandbox.aws("s3")
    s3.put_bucket_versioning(Bucket=made.ours, VersioningConfiguration={"Status": "Enabled"})
    for bucket in (made.ours, made.other):
        for folder in FOLDERS:
            s3.put_object(Bucket=bucket, Key=f"{folder}a.jpg", Body=b"content")
    return made


@dataclass(frozen=True)
class Doer:
    """Somebody who tries operations on S3, and whether S3 lets it."""

    s3: Any

    def may(self, operation: str, **arguments: Any) -> bool:
        try:
            getattr(self.s3, operation)(**arguments)
        except self.s3.exceptions.ClientError as error:
            # All that is asked for exists, so that nothing else than a denial is expected.
            if error.response["Error"]["Code"] != "AccessDenied":
                raise
            return False
        return True

    def may_list(self, bucket: str, prefix: str | None) -> bool:
        return self.may("list_objects_v2", Bucket=bucket, **({} if prefix is None else {"Prefix": prefix}))

    def may_do(self, bucket: str, folder: str) -> set[str]:
        """Which of read, write, overwrite and delete work on objects of a folder."""
        key = f"{folder}{uuid.uuid4().hex}"
        allowed = {"read"} if self.may("get_object", Bucket=bucket, Key=f"{folder}a.jpg") else set()
        if self.may("put_object", Bucket=bucket, Key=key, Body=b"1"):
            allowed.add("write")
        if self.may("put_object", Bucket=bucket, Key=f"{folder}a.jpg", Body=b"2"):
            allowed.add("overwrite")
        if self.may("delete_object", Bucket=bucket, Key=key):
            allowed.add("delete")
        return allowed


def user_with(sandbox: Sandbox, document: PolicyDocument) -> Doer:
    return Doer(sandbox.aws_as(sandbox.user(*document["Statement"]), "s3"))


def role_with(sandbox: Sandbox, document: PolicyDocument) -> Doer:
    """A session of a role that trusts by the provider's own trust policy, but another account than Lightly's."""
    trust = trust_policy(EXTERNAL_ID, lightly_account_id=CUSTOMER_ACCOUNT)
    arn = sandbox.role(EXTERNAL_ID, *document["Statement"], trust=trust)
    keys = sandbox.user({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": arn})
    session = sandbox.aws_as(keys, "sts").assume_role(
        RoleArn=arn, RoleSessionName="test", ExternalId=EXTERNAL_ID, DurationSeconds=43200
    )["Credentials"]
    assumed = Keys(access_key_id=session["AccessKeyId"], secret_access_key=session["SecretAccessKey"])
    return Doer(sandbox.aws_as(assumed, "s3", session["SessionToken"]))


def grants(bucket: str, *purposes: tuple[str, Purpose]) -> list[Grant]:
    return [Grant(location=S3Location(bucket, prefix), purpose=purpose) for prefix, purpose in purposes]


READ, ALL = {"read"}, {"read", "write", "overwrite", "delete"}


@pytest.mark.parametrize(
    ("purpose", "allowed", "source", "holder"),
    thinned(
        [
            (purpose, allowed, source, holder)
            for purpose, allowed in ((Purpose.INPUT, READ), (Purpose.LIGHTLY, ALL), (Purpose.INPUT_OUTPUT, ALL))
            for source in (policy_document, access_policy)
            for holder in (user_with, role_with)
        ],
        keep=5,
        covering=lambda purpose, allowed, source, holder: purpose,
    ),
)
def test_one_location_is_open_as_its_purpose_says_and_nothing_else_is(
    purpose: Purpose, allowed: set[str], source: Any, holder: Any, sandbox: Sandbox, buckets: Buckets
) -> None:
    raw = S3Location(buckets.ours, "raw/")
    document = policy_document(raw, purpose) if source is policy_document else access_policy(grants_of(raw, purpose))
    doer = holder(sandbox, document)

    assert doer.may_list(buckets.ours, "raw/")
    assert doer.may_list(buckets.ours, "raw/deep/")
    assert not [p for p in (None, "", "raw", "raw2/", "lightly/", "/raw/") if doer.may_list(buckets.ours, p)]
    assert not doer.may_list(buckets.other, "raw/")
    assert doer.may_do(buckets.ours, "raw/") == allowed
    assert doer.may_do(buckets.ours, "raw/deep/") == allowed
    assert doer.may_do(buckets.ours, "raw2/") == set()
    assert doer.may_do(buckets.ours, "lightly/") == set()
    assert doer.may_do(buckets.other, "raw/") == set()
    assert_only_objects(doer, sandbox, buckets.ours)


def grants_of(location: S3Location, purpose: Purpose) -> list[Grant]:
    return [Grant(location=location, purpose=purpose)]


def assert_only_objects(doer: Doer, sandbox: Sandbox, bucket: str) -> None:
    """Neither versions nor access rights nor the bucket itself can be reached, even in the open folder."""
    versions = sandbox.aws("s3").list_object_versions(Bucket=bucket, Prefix="raw/a.jpg")["Versions"]
    version = {"Bucket": bucket, "Key": "raw/a.jpg", "VersionId": versions[-1]["VersionId"]}
    assert not doer.may("delete_object", **version)
    assert not doer.may("get_object", **version)
    assert not doer.may("list_object_versions", Bucket=bucket, Prefix="raw/")
    assert not doer.may("put_object_acl", Bucket=bucket, Key="raw/a.jpg", ACL="public-read")
    assert not doer.may("put_object_tagging", Bucket=bucket, Key="raw/a.jpg", Tagging={"TagSet": []})
    assert not doer.may("get_bucket_policy", Bucket=bucket)
    assert not doer.may("put_bucket_policy", Bucket=bucket, Policy="{}")
    assert not doer.may("put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert not doer.may("delete_bucket", Bucket=bucket)
    assert not doer.may("list_buckets")


@pytest.mark.parametrize("holder", [user_with, role_with])
def test_two_purposes_in_one_bucket_do_not_widen_each_other(holder: Any, sandbox: Sandbox, buckets: Buckets) -> None:
    document = access_policy(grants(buckets.ours, ("raw/", Purpose.INPUT), ("lightly/", Purpose.LIGHTLY)))
    doer = holder(sandbox, document)

    assert doer.may_list(buckets.ours, "raw/")
    assert doer.may_list(buckets.ours, "lightly/")
    assert not [p for p in (None, "", "raw2/", "l") if doer.may_list(buckets.ours, p)]
    assert doer.may_do(buckets.ours, "raw/") == READ
    assert doer.may_do(buckets.ours, "lightly/") == ALL
    assert doer.may_do(buckets.ours, "raw2/") == set()
    assert_only_objects(doer, sandbox, buckets.ours)


def test_what_lightly_writes_may_lie_in_the_input_and_only_there_it_writes(sandbox: Sandbox, buckets: Buckets) -> None:
    document = access_policy(grants(buckets.ours, ("raw/", Purpose.INPUT), ("raw/deep/", Purpose.LIGHTLY)))
    doer = user_with(sandbox, document)

    assert doer.may_list(buckets.ours, "raw/")
    assert doer.may_list(buckets.ours, "raw/deep/")
    assert doer.may_do(buckets.ours, "raw/") == READ
    assert doer.may_do(buckets.ours, "raw/deep/") == ALL


def test_two_buckets_do_not_see_each_others_folders(sandbox: Sandbox, buckets: Buckets) -> None:
    document = access_policy(
        [*grants(buckets.ours, ("raw/", Purpose.INPUT)), *grants(buckets.other, ("lightly/", Purpose.LIGHTLY))]
    )
    doer = user_with(sandbox, document)

    listed = [(b, p) for b in (buckets.ours, buckets.other) for p in (*FOLDERS, "") if doer.may_list(b, p)]
    assert listed == [(buckets.ours, "raw/"), (buckets.ours, "raw/deep/"), (buckets.other, "lightly/")]
    assert doer.may_do(buckets.ours, "raw/") == READ
    assert doer.may_do(buckets.ours, "lightly/") == set()
    assert doer.may_do(buckets.other, "lightly/") == ALL
    assert doer.may_do(buckets.other, "raw/") == set()


def test_a_whole_bucket_may_be_given(sandbox: Sandbox, buckets: Buckets) -> None:
    doer = user_with(sandbox, access_policy(grants(buckets.ours, ("", Purpose.INPUT))))

    assert all(doer.may_list(buckets.ours, p) for p in (None, "", *FOLDERS))
    assert all(doer.may_do(buckets.ours, folder) == READ for folder in FOLDERS)
    assert not doer.may_list(buckets.other, "")
    assert doer.may_do(buckets.other, "raw/") == set()


@pytest.mark.parametrize(
    ("network", "reaches"),
    [
        (Network(source_ips=("127.0.0.0/8",)), True),
        (Network(source_ips=("203.0.113.0/24", "127.0.0.1/32")), True),
        (Network(source_ips=("203.0.113.0/24",)), False),
        (Network(source_vpcs=("vpc-0123456789abcdef0",)), False),
        (Network(source_ips=("127.0.0.1/32",), source_vpcs=("vpc-0123456789abcdef0",)), True),
    ],
)
def test_a_restricted_network_closes_the_objects_and_leaves_the_listing_open(
    network: Network, reaches: bool, sandbox: Sandbox, buckets: Buckets
) -> None:
    places = grants(buckets.ours, ("raw/", Purpose.INPUT), ("lightly/", Purpose.LIGHTLY))
    doer = user_with(sandbox, access_policy(places, network=network))

    assert doer.may_list(buckets.ours, "raw/")
    assert doer.may_list(buckets.ours, "lightly/")
    assert not doer.may_list(buckets.ours, "raw2/")
    assert doer.may_do(buckets.ours, "raw/") == (READ if reaches else set())
    assert doer.may_do(buckets.ours, "lightly/") == (ALL if reaches else set())
    assert doer.may_do(buckets.ours, "raw2/") == set()


def test_signs_of_the_policy_language_in_a_prefix_open_nothing_else(sandbox: Sandbox) -> None:
    bucket = sandbox.bucket()
    for folder in ("a*b/", "aXb/", "a/b/"):
        sandbox.aws("s3").put_object(Bucket=bucket, Key=f"{folder}a.jpg", Body=b"content")
    doer = user_with(sandbox, access_policy(grants(bucket, ("a*b/", Purpose.INPUT))))

    # That it opens "a*b/" is proven by the document's text alone: ministack (1.5.33) does not know "${*}" for "*".
    assert not [f for f in ("aXb/", "a/b/") if doer.may_do(bucket, f) or doer.may_list(bucket, f)]


def may_assume(sandbox: Sandbox, keys: Keys, arn: str, **arguments: Any) -> bool:
    sts = sandbox.aws_as(keys, "sts")
    try:
        sts.assume_role(RoleArn=arn, RoleSessionName="test", **arguments)
    except sts.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


@pytest.mark.parametrize("accepted", [EXTERNAL_ID, [EXTERNAL_ID, "another-external-id"]])
def test_the_trust_policy_takes_its_external_ids_and_no_others(accepted: Any, sandbox: Sandbox) -> None:
    arn = sandbox.role(EXTERNAL_ID, trust=trust_policy(accepted, lightly_account_id=CUSTOMER_ACCOUNT))
    allowed = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    keys = sandbox.user(allowed)

    for external_id in (EXTERNAL_ID, "another-external-id", "one-more-external-id"):
        assert may_assume(sandbox, keys, arn, ExternalId=external_id) is (external_id in accepted)
    assert not may_assume(sandbox, keys, arn)
    foreign = sandbox.role(EXTERNAL_ID, trust=trust_policy(EXTERNAL_ID))
    assert not may_assume(sandbox, keys, foreign, ExternalId=EXTERNAL_ID), "it trusts Lightly's account alone"


def test_iam_gives_back_a_document_that_means_the_same(sandbox: Sandbox, buckets: Buckets) -> None:
    from lightly_provider.aws.policy_documents import external_ids, same_meaning

    document = access_policy(grants(buckets.ours, ("raw/", Purpose.INPUT), ("lightly/", Purpose.LIGHTLY)))
    arn = sandbox.role(EXTERNAL_ID, *document["Statement"])
    iam, role = sandbox.aws("iam"), arn.rpartition("/")[2]

    stored: Iterable[Any] = iam.get_role_policy(RoleName=role, PolicyName="access")["PolicyDocument"]
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    assert same_meaning(dict(stored), document)
    assert same_meaning(trust, trust_policy(EXTERNAL_ID))
    assert external_ids(trust) == [EXTERNAL_ID]
    assert json.dumps(stored)


# --- KMS ----------------------------------------------------------------------------------------------------------

KEY_OWNER = {
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{CUSTOMER_ACCOUNT}:user/admin"},
    "Action": "kms:*",
    "Resource": "*",
}


@dataclass(frozen=True)
class Encrypted:
    """A bucket whose objects are encrypted with a key of ours."""

    bucket: str
    key: str

    @property
    def sse(self) -> dict[str, str]:
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.key}

    def grant(self, purpose: Purpose, *, with_key: bool = True) -> PolicyDocument:
        return access_policy(
            [
                Grant(
                    location=S3Location(self.bucket, "raw/"),
                    purpose=purpose,
                    kms_key_arn=self.key if with_key else None,
                )
            ]
        )

    def reads(self, doer: Doer) -> bool:
        return doer.may("get_object", Bucket=self.bucket, Key="raw/a.jpg")

    def writes(self, doer: Doer) -> bool:
        return doer.may("put_object", Bucket=self.bucket, Key="raw/b.jpg", Body=b"1", **self.sse)


def encrypted(sandbox: Sandbox, *key_statements: dict[str, Any]) -> Encrypted:
    """A new key, whose policy leaves it to IAM if no statement is given, and a bucket with an object under it."""
    policy = json.dumps({"Version": "2012-10-17", "Statement": list(key_statements)})
    key = sandbox.aws("kms").create_key(**({"Policy": policy} if key_statements else {}))["KeyMetadata"]["Arn"]
    made = Encrypted(sandbox.bucket(), key)
    sandbox.aws("s3").put_object(Bucket=made.bucket, Key="raw/a.jpg", Body=b"content", **made.sse)
    return made


@pytest.mark.parametrize("holder", [user_with, role_with])
def test_the_statement_on_the_key_opens_what_the_purpose_needs_of_it(holder: Any, sandbox: Sandbox) -> None:
    place = encrypted(sandbox)

    without = holder(sandbox, place.grant(Purpose.LIGHTLY, with_key=False))
    assert not place.reads(without)
    assert not place.writes(without)
    reader = holder(sandbox, place.grant(Purpose.INPUT))
    assert place.reads(reader)
    assert not place.writes(reader)
    writer = holder(sandbox, place.grant(Purpose.LIGHTLY))
    assert place.reads(writer)
    assert place.writes(writer)
    other = encrypted(sandbox)
    assert not other.reads(writer)


@pytest.mark.parametrize(("purpose", "reads", "writes"), [(Purpose.INPUT, True, False), (Purpose.LIGHTLY, True, True)])
def test_the_statement_in_the_key_policy_is_needed_where_that_does_not_leave_it_to_iam(
    purpose: Purpose, reads: bool, writes: bool, sandbox: Sandbox
) -> None:
    place = encrypted(sandbox, KEY_OWNER)
    keys = sandbox.user(*place.grant(Purpose.LIGHTLY, with_key=False)["Statement"])
    doer = Doer(sandbox.aws_as(keys, "s3"))
    assert not place.reads(doer)

    statement = key_policy_statement(
        f"arn:aws:iam::{CUSTOMER_ACCOUNT}:user/{keys.user_name}", PURPOSE_PERMISSIONS[purpose]
    )
    policy = json.dumps({"Version": "2012-10-17", "Statement": [KEY_OWNER, statement]})
    sandbox.aws("kms").put_key_policy(KeyId=place.key, PolicyName="default", Policy=policy)

    assert place.reads(doer) is reads
    assert place.writes(doer) is writes
