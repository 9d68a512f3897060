from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import pytest
import requests
from botocore.exceptions import ClientError

from tests.lab.sandbox import ACCOUNT, DELETE, LIST, READ, WRITE, allow, refusal, with_keys, with_role
from tests.lab.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.sandbox import Api, Customer

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
EVERYTHING = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}


def may(key: str, *actions: str, effect: str = "Allow", **more: Any) -> dict[str, Any]:
    """A statement on the key."""
    return {"Effect": effect, "Action": [f"kms:{action}" for action in actions], "Resource": key, **more}


class Vault:
    """A bucket with an object under a key of the customer's."""

    def __init__(self, customer: Customer, *statements: dict[str, Any]) -> None:
        self.customer = customer
        self.kms = customer.client("kms")
        policy = {"Version": "2012-10-17", "Statement": list(statements)} if statements else None
        more = {} if policy is None else {"Policy": json.dumps(policy)}
        self.key = self.kms.create_key(**more)["KeyMetadata"]["Arn"]
        self.bucket = customer.bucket()
        if not statements:
            customer.s3.put_object(Bucket=self.bucket, Key="a.jpg", Body=b"some bytes", **self.sse)

    @property
    def sse(self) -> dict[str, str]:
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.key}

    def client(self, *statements: dict[str, Any], actions: tuple[str, ...] = (LIST, READ, WRITE)) -> Any:
        """The S3 of a new user who may do ``actions`` in the bucket, and what the statements say."""
        keys = self.customer.user(*allow(self.bucket, *actions), *statements)
        return self.customer.client("s3", keys)

    def get(self, s3: Any) -> bytes:
        content: bytes = s3.get_object(Bucket=self.bucket, Key="a.jpg")["Body"].read()
        return content

    def put(self, s3: Any, key: str = "b.jpg") -> Any:
        return s3.put_object(Bucket=self.bucket, Key=key, Body=b"other", **self.sse)


@pytest.fixture
def vault(customer: Customer) -> Vault:
    return Vault(customer)


def test_reading_needs_decrypt(vault: Vault) -> None:
    status, code, text = refusal(lambda: vault.get(vault.client()))
    assert (status, code) == (403, "AccessDenied")
    assert f"is not authorized to perform: kms:Decrypt on resource: {vault.key} because " in text
    assert text.endswith("no identity-based policy allows the kms:Decrypt action")
    assert text.startswith(f"User: arn:aws:iam::{ACCOUNT}:user/")
    reader = vault.client(may(vault.key, "Decrypt"))
    assert vault.get(reader) == b"some bytes"
    ranged = reader.get_object(Bucket=vault.bucket, Key="a.jpg", Range="bytes=5-6")
    assert (ranged["Body"].read(), ranged["ContentRange"]) == (b"by", "bytes 5-6/10")


def test_the_head_of_an_object_needs_no_key_unless_for_its_checksum(vault: Vault) -> None:
    s3 = vault.client()
    assert s3.head_object(Bucket=vault.bucket, Key="a.jpg")["SSEKMSKeyId"] == vault.key
    status, _, _ = refusal(lambda: s3.head_object(Bucket=vault.bucket, Key="a.jpg", ChecksumMode="ENABLED"))
    assert status == 403


def test_writing_needs_generate_data_key(vault: Vault) -> None:
    _, code, text = refusal(lambda: vault.put(vault.client(may(vault.key, "Decrypt"))))
    assert code == "AccessDenied"
    assert text.endswith("because no identity-based policy allows the kms:GenerateDataKey action")
    assert vault.customer.keys(vault.bucket) == ["a.jpg"]
    written = vault.put(vault.client(may(vault.key, "GenerateDataKey")))
    assert written["SSEKMSKeyId"] == vault.key


def test_the_right_to_the_key_is_looked_at_before_the_digest(vault: Vault) -> None:
    _, code, _ = refusal(
        lambda: vault.client().put_object(
            Bucket=vault.bucket, Key="b", Body=b"b", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==", **vault.sse
        )
    )
    assert code == "AccessDenied"


def test_the_buckets_default_key_is_used_without_a_word_in_the_request(vault: Vault) -> None:
    by_default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": vault.key.rsplit("/", 1)[-1]}
    vault.customer.s3.put_bucket_encryption(
        Bucket=vault.bucket,
        ServerSideEncryptionConfiguration={"Rules": [{"ApplyServerSideEncryptionByDefault": by_default}]},
    )
    poor, rich = vault.client(), vault.client(may(vault.key, "Decrypt", "GenerateDataKey"))
    _, _, text = refusal(lambda: poor.put_object(Bucket=vault.bucket, Key="b", Body=b"b"))
    assert "kms:GenerateDataKey" in text
    assert poor.put_object(Bucket=vault.bucket, Key="c", Body=b"c", ServerSideEncryption="AES256")
    written = rich.put_object(Bucket=vault.bucket, Key="b", Body=b"b")
    assert written["SSEKMSKeyId"] == vault.key
    assert "kms:Decrypt" in refusal(lambda: poor.get_object(Bucket=vault.bucket, Key="b"))[2]
    assert rich.get_object(Bucket=vault.bucket, Key="b")["Body"].read() == b"b"


def test_aws_own_key_for_s3_needs_no_right(vault: Vault) -> None:
    s3 = vault.client()
    s3.put_object(Bucket=vault.bucket, Key="b", Body=b"b", ServerSideEncryption="aws:kms")
    assert s3.get_object(Bucket=vault.bucket, Key="b")["Body"].read() == b"b"


def test_an_upload_in_parts_needs_both(vault: Vault) -> None:
    def upload(*actions: str) -> Any:
        s3 = vault.client(may(vault.key, *actions))
        started = s3.create_multipart_upload(Bucket=vault.bucket, Key="big", **vault.sse)
        which = {"Bucket": vault.bucket, "Key": "big", "UploadId": started["UploadId"]}
        part = s3.upload_part(**which, PartNumber=1, Body=b"part")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        return s3.complete_multipart_upload(**which, MultipartUpload=parts)

    assert "CreateMultipartUpload" in str(_raised(lambda: upload("Decrypt")))
    refused = str(_raised(lambda: upload("GenerateDataKey")))
    assert "UploadPart" in refused
    assert "kms:Decrypt" in refused
    assert upload("Decrypt", "GenerateDataKey")["Key"] == "big"


def _raised(call: Callable[[], Any]) -> ClientError:
    with pytest.raises(ClientError) as refused:
        call()
    return refused.value


def test_a_copy_reads_with_one_key_and_writes_with_another(vault: Vault) -> None:
    other = vault.kms.create_key()["KeyMetadata"]["Arn"]

    def copy(*statements: dict[str, Any]) -> Any:
        return vault.client(*statements).copy_object(
            Bucket=vault.bucket,
            Key="copy",
            CopySource={"Bucket": vault.bucket, "Key": "a.jpg"},
            ServerSideEncryption="aws:kms",
            SSEKMSKeyId=other,
        )

    assert f"kms:Decrypt on resource: {vault.key}" in str(
        _raised(lambda: copy(may(other, "GenerateDataKey")))
    )
    assert f"kms:GenerateDataKey on resource: {other}" in str(
        _raised(lambda: copy(may(vault.key, "Decrypt")))
    )
    assert copy(may(other, "GenerateDataKey"), may(vault.key, "Decrypt"))


def test_a_presigned_url_needs_the_key_of_who_signed_it(vault: Vault) -> None:
    def read(*statements: dict[str, Any]) -> requests.Response:
        s3 = vault.client(*statements)
        url = s3.generate_presigned_url("get_object", Params={"Bucket": vault.bucket, "Key": "a.jpg"})
        return requests.get(url, timeout=30)

    refused = read()
    assert refused.status_code == 403
    assert "kms:Decrypt" in refused.text
    assert read(may(vault.key, "Decrypt")).content == b"some bytes"


def test_nobody_reads_without_a_signature(vault: Vault) -> None:
    public = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    s3 = vault.customer.s3
    s3.put_public_access_block(
        Bucket=vault.bucket, PublicAccessBlockConfiguration={"BlockPublicPolicy": False}
    )
    s3.put_bucket_policy(
        Bucket=vault.bucket,
        Policy=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{**public, "Resource": f"arn:aws:s3:::{vault.bucket}/*"}],
            }
        ),
    )
    answer = requests.get(f"{s3.meta.endpoint_url}/{vault.bucket}/a.jpg", timeout=30)
    assert (answer.status_code, "InvalidArgument" in answer.text) == (400, True)


def test_an_explicit_deny_wins_wherever_it_stands(customer: Customer, vault: Vault) -> None:
    denied = vault.client(may(vault.key, "*"), may(vault.key, "Decrypt", effect="Deny"))
    assert refusal(lambda: vault.get(denied))[2].endswith("with an explicit deny in an identity-based policy")
    delegating = {"Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"}
    admin = f"arn:aws:iam::{ACCOUNT}:user/admin"
    not_for_others = {
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": "kms:Decrypt",
        "Resource": "*",
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": admin}},
    }
    strict = Vault(customer, delegating, not_for_others)
    customer.s3.put_object(Bucket=strict.bucket, Key="a.jpg", Body=b"some bytes", **strict.sse)
    assert strict.get(customer.s3) == b"some bytes"
    text = refusal(lambda: strict.get(strict.client(EVERYTHING)))[2]
    assert text.endswith("with an explicit deny in a resource-based policy")


def test_a_key_policy_that_delegates_to_nobody_must_name_its_users(customer: Customer) -> None:
    admin = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/admin"}}
    named = customer.user()
    sts = customer.client("sts", named)
    own = {"Effect": "Allow", "Principal": {"AWS": sts.get_caller_identity()["Arn"]}}
    vault = Vault(
        customer,
        {**admin, "Action": "kms:*", "Resource": "*"},
        {**own, "Action": ["kms:Decrypt"], "Resource": "*"},
    )
    customer.s3.put_object(Bucket=vault.bucket, Key="a.jpg", Body=b"some bytes", **vault.sse)
    text = refusal(lambda: vault.get(vault.client(EVERYTHING)))[2]
    assert text.endswith("because no resource-based policy allows the kms:Decrypt action")
    name = sts.get_caller_identity()["Arn"].rsplit("/", 1)[-1]
    policy = {"Version": "2012-10-17", "Statement": allow(vault.bucket, READ)}
    customer.iam.put_user_policy(UserName=name, PolicyName="s3", PolicyDocument=json.dumps(policy))
    assert vault.get(customer.client("s3", named)) == b"some bytes"


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("kms:ViaService", "s3.eu-central-1.amazonaws.com", True),
        ("kms:ViaService", "s3.us-east-1.amazonaws.com", False),
        ("kms:CallerAccount", ACCOUNT, True),
        ("kms:EncryptionContext:aws:s3:arn", "arn:aws:s3:::BUCKET/a.jpg", True),
        ("kms:EncryptionContext:aws:s3:arn", "arn:aws:s3:::BUCKET/b.jpg", False),
    ],
)
def test_conditions_on_the_way_to_the_key_count(vault: Vault, key: str, value: str, allowed: bool) -> None:
    condition = {"StringEquals": {key: value.replace("BUCKET", vault.bucket)}}
    s3 = vault.client(may(vault.key, "Decrypt", Condition=condition))
    if allowed:
        assert vault.get(s3) == b"some bytes"
    else:
        assert "kms:Decrypt" in refusal(lambda: vault.get(s3))[2]


def test_a_grant_is_enough(vault: Vault) -> None:
    keys = vault.customer.user(*allow(vault.bucket, READ))
    arn = vault.customer.client("sts", keys).get_caller_identity()["Arn"]
    vault.kms.create_grant(KeyId=vault.key, GranteePrincipal=arn, Operations=["Decrypt"])
    assert vault.get(vault.customer.client("s3", keys)) == b"some bytes"


def test_a_key_that_is_off_or_going_serves_nobody(vault: Vault) -> None:
    s3 = vault.customer.s3
    vault.kms.disable_key(KeyId=vault.key)
    expected = (400, "KMS.DisabledException", f"{vault.key} is disabled.")
    assert refusal(lambda: vault.get(s3)) == expected
    assert refusal(lambda: vault.put(s3)) == expected
    vault.kms.schedule_key_deletion(KeyId=vault.key, PendingWindowInDays=7)
    expected = (400, "KMS.KMSInvalidStateException", f"{vault.key} is pending deletion.")
    assert refusal(lambda: vault.get(s3)) == expected
    vault.kms.cancel_key_deletion(KeyId=vault.key)
    vault.kms.enable_key(KeyId=vault.key)
    assert vault.get(s3) == b"some bytes"


@pytest.mark.parametrize(
    ("key", "code", "words"),
    [
        (
            f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000",
            "KMS.NotFoundException",
            "key/00000000-0000-0000-0000-000000000000' does not exist",
        ),
        (
            f"arn:aws:kms:us-east-1:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000",
            "KMS.NotFoundException",
            "Invalid arn us-east-1",
        ),
        ("alias/not-there", "KMS.NotFoundException", "is not found."),
        (
            "arn:aws:kms:eu-central-1:210987654321:key/00000000-0000-0000-0000-000000000000",
            "AccessDenied",
            "because the resource does not exist in this Region",
        ),
    ],
    ids=["nowhere", "another region", "alias", "another account"],
)
def test_a_key_that_is_not_there_is_named(customer: Customer, key: str, code: str, words: str) -> None:
    bucket = customer.bucket()
    _, found, text = refusal(
        lambda: customer.s3.put_object(
            Bucket=bucket, Key="a", Body=b"a", ServerSideEncryption="aws:kms", SSEKMSKeyId=key
        )
    )
    assert found == code
    assert words in text
    assert customer.keys(bucket) == []


def test_an_alias_stands_for_its_key(vault: Vault) -> None:
    alias = f"alias/test-{secrets.token_hex(6)}"
    vault.kms.create_alias(AliasName=alias, TargetKeyId=vault.key)
    s3 = vault.client(may(vault.key, "GenerateDataKey", "Decrypt"))
    s3.put_object(Bucket=vault.bucket, Key="b", Body=b"b", ServerSideEncryption="aws:kms", SSEKMSKeyId=alias)
    assert s3.get_object(Bucket=vault.bucket, Key="b")["SSEKMSKeyId"] == vault.key


@pytest.mark.parametrize("access", thinned(["user", "delegated"], keep=1))
def test_the_lights_tell_which_right_to_the_key_is_missing(api: Api, vault: Vault, access: str) -> None:
    def verify(*statements: dict[str, Any]) -> dict[str, Any]:
        path, rights = f"s3://{vault.bucket}", allow(vault.bucket, LIST, READ, WRITE, DELETE)
        if access == "user":
            source = with_keys(path, "INPUT_OUTPUT", vault.customer.user(*rights, *statements))
        else:
            role = vault.customer.role("an-external-id", *rights, *statements)
            source = with_role(path, "INPUT_OUTPUT", role, "an-external-id")
        dataset_id = api.new_dataset()
        api.put_datasource(dataset_id, **source, s3ServerSideEncryptionKMSKey=vault.key)
        answer: dict[str, Any] = api.ok("GET", f"/v1/datasets/{dataset_id}/datasource/verify")
        return answer

    answer = verify()
    assert [answer[light] for light in ("canList", "canRead", "canWrite", "canOverwrite")] == [
        True,
        False,
        False,
        False,
    ]
    assert f"kms:Decrypt on resource: {vault.key}" in answer["errors"]["canRead"]
    assert f"kms:GenerateDataKey on resource: {vault.key}" in answer["errors"]["canWrite"]
    answer = verify(may(vault.key, "Decrypt"))
    assert answer["canRead"]
    assert not answer["canWrite"]
    assert "errors" not in verify(may(vault.key, "Decrypt", "GenerateDataKey"))
    assert vault.customer.keys(vault.bucket) == ["a.jpg"]
