from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

import boto3
import botocore.auth
import pytest
import requests

from lightly_sandbox.aws.client import S3_CONFIG, client
from tests.lab.sandbox import ACCOUNT, LIST, READ, WRITE, allow, refusal, with_keys

if TYPE_CHECKING:
    from tests.lab.sandbox import Api, Customer


def _of(customer: Customer, keys: tuple[str, str], region: str) -> Any:
    return client("s3", customer.s3.meta.endpoint_url, region, *keys)


def test_a_refusal_names_the_resource_and_the_kind_of_policy(customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    s3 = customer.client("s3", customer.user(*allow(bucket, WRITE)))
    status, code, text = refusal(lambda: s3.list_objects_v2(Bucket=bucket))
    assert (status, code) == (403, "AccessDenied")
    assert text.endswith(
        f'is not authorized to perform: s3:ListBucket on resource: "arn:aws:s3:::{bucket}" '
        "because no identity-based policy allows the s3:ListBucket action"
    )
    _, _, text = refusal(lambda: s3.get_object(Bucket=bucket, Key="a.jpg"))
    assert f's3:GetObject on resource: "arn:aws:s3:::{bucket}/a.jpg" because no identity-based' in text


def test_a_deny_is_told_by_where_it_stands(customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    deny = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3 = customer.client("s3", customer.user(*allow(bucket, READ), deny))
    text = refusal(lambda: s3.get_object(Bucket=bucket, Key="a.jpg"))[2]
    assert text.endswith("with an explicit deny in an identity-based policy")
    policy = {"Version": "2012-10-17", "Statement": [{**deny, "Principal": "*"}]}
    customer.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    s3 = customer.client("s3", customer.user(*allow(bucket, READ)))
    text = refusal(lambda: s3.get_object(Bucket=bucket, Key="a.jpg"))[2]
    assert text.endswith("with an explicit deny in a resource-based policy")


def test_a_boundary_and_a_sessions_policy_are_told_apart(customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    only_list = json.dumps({"Version": "2012-10-17", "Statement": allow(bucket, LIST)})
    keys = customer.user(*allow(bucket, LIST, READ), {"Effect": "Allow", "Action": "sts:*", "Resource": "*"})
    name = customer.client("sts", keys).get_caller_identity()["Arn"].rsplit("/", 1)[-1]
    boundary = customer.iam.create_policy(PolicyName=name, PolicyDocument=only_list)["Policy"]["Arn"]
    customer.iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary=boundary)
    s3 = customer.client("s3", keys)
    text = refusal(lambda: s3.get_object(Bucket=bucket, Key="a.jpg"))[2]
    assert text.endswith("because no permissions boundary allows the s3:GetObject action")

    role = customer.role("an-external-id", *allow(bucket, LIST, READ))
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "sts:AssumeRole",
    }
    customer.iam.update_assume_role_policy(
        RoleName=role.rsplit("/", 1)[-1],
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    session = customer.client("sts").assume_role(RoleArn=role, RoleSessionName="test", Policy=only_list)
    given = session["Credentials"]
    s3 = boto3.client(
        "s3",
        region_name="eu-central-1",
        endpoint_url=customer.s3.meta.endpoint_url,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        config=S3_CONFIG,
    )
    text = refusal(lambda: s3.get_object(Bucket=bucket, Key="a.jpg"))[2]
    assert text.endswith("because no session policy allows the s3:GetObject action")


def test_a_session_is_its_role_to_a_condition_on_the_principal(customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    role = customer.role("an-external-id", *allow(bucket, LIST, READ))
    name = role.rsplit("/", 1)[-1]
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "sts:AssumeRole",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    customer.iam.update_assume_role_policy(RoleName=name, PolicyDocument=document)
    given = customer.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    s3 = boto3.client(
        "s3",
        region_name="eu-central-1",
        endpoint_url=customer.s3.meta.endpoint_url,
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        config=S3_CONFIG,
    )

    def deny_all_but(*arns: str) -> None:
        statement = {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
            "Condition": {"ArnNotEquals": {"aws:PrincipalArn": list(arns)}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        customer.s3.put_bucket_policy(Bucket=bucket, Policy=policy)

    deny_all_but(f"arn:aws:iam::{ACCOUNT}:role/another")
    assert (
        "with an explicit deny in a resource-based policy"
        in refusal(lambda: s3.get_object(Bucket=bucket, Key="a.jpg"))[2]
    )
    deny_all_but(f"arn:aws:iam::{ACCOUNT}:role/another", role)
    assert s3.get_object(Bucket=bucket, Key="a.jpg")["Body"].read()


def test_who_may_not_list_is_not_told_that_an_object_is_missing(customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    reader = customer.client("s3", customer.user(*allow(bucket, READ)))
    assert reader.get_object(Bucket=bucket, Key="a.jpg")["Body"].read()
    status, code, text = refusal(lambda: reader.get_object(Bucket=bucket, Key="b.jpg"))
    assert (status, code) == (403, "AccessDenied")
    assert f's3:ListBucket on resource: "arn:aws:s3:::{bucket}" because' in text
    assert refusal(lambda: reader.head_object(Bucket=bucket, Key="b.jpg"))[:2] == (403, "403")
    url = reader.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "b.jpg"})
    assert requests.get(url, timeout=30).status_code == 403
    lister = customer.client("s3", customer.user(*allow(bucket, LIST, READ)))
    assert refusal(lambda: lister.get_object(Bucket=bucket, Key="b.jpg"))[:2] == (404, "NoSuchKey")
    assert refusal(lambda: lister.head_object(Bucket=bucket, Key="b.jpg"))[:2] == (404, "404")


def test_a_bucket_is_of_its_region(customer: Customer) -> None:
    admin = (customer._ready["aws_access_key_id"], customer._ready["aws_secret_access_key"])
    away = _of(customer, admin, "us-west-2")
    bucket = customer.bucket("a.jpg")
    assert away.head_bucket(Bucket=bucket)["BucketRegion"] == "eu-central-1"
    # boto3 turns to the region that it is told, and so does a client for any region.
    assert away.get_object(Bucket=bucket, Key="a.jpg")["Body"].read() == b"some bytes"
    fresh = _of(customer, admin, "us-west-2")
    url = fresh.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a.jpg"})
    answer = requests.get(url, timeout=30, allow_redirects=False)
    assert answer.status_code == 301
    assert answer.headers["x-amz-bucket-region"] == "eu-central-1"
    assert "<Code>PermanentRedirect</Code>" in answer.text


def test_a_datasource_with_a_wrong_region_turns_no_light_green(api: Api, customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    keys = customer.user({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    source = {**with_keys(f"s3://{bucket}", "INPUT_OUTPUT", keys), "s3Region": "us-west-2"}
    dataset_id = api.new_dataset()
    api.put_datasource(dataset_id, **source)
    answer = api.ok("GET", f"/v1/datasets/{dataset_id}/datasource/verify")
    assert not any(answer[light] for light in ("canList", "canRead", "canWrite", "canOverwrite"))
    assert all("PermanentRedirect" in error for error in answer["errors"].values())


def test_a_key_that_is_off_is_unknown(customer: Customer) -> None:
    bucket = customer.bucket("a.jpg")
    keys = customer.user(*allow(bucket, READ))
    s3 = customer.client("s3", keys)
    assert s3.get_object(Bucket=bucket, Key="a.jpg")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a.jpg"})
    name = customer.client("sts", keys).get_caller_identity()["Arn"].rsplit("/", 1)[-1]
    customer.iam.update_access_key(UserName=name, AccessKeyId=keys[0], Status="Inactive")
    assert refusal(lambda: s3.get_object(Bucket=bucket, Key="a.jpg"))[:2] == (403, "InvalidAccessKeyId")
    answer = requests.get(url, timeout=30)
    assert (answer.status_code, "InvalidAccessKeyId" in answer.text) == (403, True)


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_clock_that_is_wrong_is_told(
    customer: Customer, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    bucket = customer.bucket("a.jpg")

    def skewed(*_: object) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", skewed)
    s3 = customer.client("s3", parameter_validation=False)
    status, code, text = refusal(lambda: s3.list_objects_v2(Bucket=bucket))
    assert (status, code) == (403, "RequestTimeTooSkewed")
    assert text == "The difference between the request time and the current time is too large."


def test_who_asks_pays_where_the_bucket_says_so(customer: Customer, ready: dict[str, Any]) -> None:
    bucket = customer.bucket("a.jpg")
    customer.s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    customer.s3.put_public_access_block(
        Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicPolicy": False}
    )
    statement = {**everybody, "Resource": f"arn:aws:s3:::{bucket}/*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    customer.s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
    assert customer.s3.get_object(Bucket=bucket, Key="a.jpg")["Body"].read() == b"some bytes"
    assert requests.get(f"{ready['aws_url']}/{bucket}/a.jpg", timeout=30).status_code == 403
