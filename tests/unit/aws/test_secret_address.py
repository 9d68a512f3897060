"""The names of the places where an access is kept."""

from __future__ import annotations

import pytest

from lightly_provider.aws.secret_address import SecretAddress, check_access_conn_id


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("lightly_photos", None),
        ("a.b-c", None),
        (
            "secretsmanager://aws_default/lightly/photos",
            SecretAddress(service="secretsmanager", aws_conn_id="aws_default", name="lightly/photos"),
        ),
        ("ssm://my-aws/photos", SecretAddress(service="ssm", aws_conn_id="my-aws", name="photos")),
    ],
)
def test_a_place_is_a_connection_or_a_secret(text: str, address: SecretAddress | None) -> None:
    check_access_conn_id(text, argument="access_conn_id")
    assert SecretAddress.parse(text) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "with a blank", "ssm://", "ssm://aws_default", "ssm://aws_default/", "ssm:///photos"),
        *("ssm://aws_default/photos/", "s3://bucket/photos", "secretsmanager://aws default/x", None, 7),
        "ssm://aws_default/pho tos",
    ],
)
def test_what_is_neither_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match="secretsmanager://<aws_conn_id>/<name>"):
        check_access_conn_id(text, argument="access_conn_id")
