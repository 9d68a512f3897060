"""Where an access is kept: the names of the places, and what is kept there."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from lightly_provider.access.kept import OTHERS, KeptAccess, note_of
from lightly_provider.access.principals import OvertakenError
from lightly_provider.access.stores import ApiConnectionStore, SecretsManagerStore
from lightly_provider.aws.credentials import DelegatedAccess, UserAccess, access_from_aws_connection
from lightly_provider.aws.secret_address import SecretAddress
from lightly_provider.contract import Permission
from lightly_provider.exceptions import LightlyAccessError, LightlyConnectionConfigError
from tests.unit.access.memory_store import MemoryStore

USER_ARN, ROLE_ARN = "arn:aws:iam::123456789012:user/lightly", "arn:aws:iam::123456789012:role/a/lightly"
ENDPOINT = {"region_name": "eu-central-1", "service_config": {"sts": {"endpoint_url": "http://127.0.0.1:1"}}}
SECRET = "CANARYSECRETKEY".ljust(40, "0")
USER = KeptAccess(
    principal_arn=USER_ARN,
    access_key_id="AKIAIOSFODNN7EXAMPLE",
    secret_access_key=SECRET,
    replaces="AKIA0",
    granted_before={"a" * 24: frozenset(Permission), "b" * 24: frozenset(), OTHERS: frozenset({Permission.LIST})},
    endpoint=ENDPOINT,
)
ROLE = KeptAccess(
    principal_arn=ROLE_ARN, role_arn=ROLE_ARN, external_id="CANARY-external-id", replaces="CANARY-old-one"
)


@pytest.mark.parametrize("access", [USER, ROLE])
def test_what_is_kept_is_read_back_as_it_was(access: KeptAccess) -> None:
    kept = json.loads(access.as_json())
    assert kept["conn_type"] == "aws"
    assert KeptAccess.of_connection("kept", kept) == access
    assert KeptAccess.of_connection("kept", kept | {"extra": json.dumps(kept["extra"])}) == access


@pytest.mark.parametrize("access", [USER, ROLE])
@pytest.mark.parametrize("several", [100, 101, 5000])
def test_what_is_noted_of_many_datasets_fits_into_a_parameter_of_ssm(access: KeptAccess, several: int) -> None:
    granted = {f"{number:024x}": frozenset(Permission) for number in range(several)}
    noted = note_of(granted)
    assert noted == (granted if several == 100 else {OTHERS: frozenset(Permission)})
    assert len(replace(access, granted_before=noted).as_json()) < 3500, "of 4096"


@pytest.mark.parametrize("access", [USER, ROLE])
def test_what_is_kept_is_a_connection_that_the_datasource_takes(access: KeptAccess) -> None:
    kept = json.loads(access.as_json())
    found = access_from_aws_connection(
        conn_id="kept",
        access_key_id=kept.get("login"),
        secret_access_key=kept.get("password"),
        session_token=None,
        role_arn=kept["extra"].get("role_arn"),
        external_id=kept["extra"].get("assume_role_kwargs", {}).get("ExternalId"),
    )
    expected = (
        DelegatedAccess(ROLE_ARN, "CANARY-external-id")
        if access is ROLE
        else UserAccess("AKIAIOSFODNN7EXAMPLE", SECRET)
    )
    assert found == expected


@pytest.mark.parametrize("access", [USER, ROLE])
def test_no_secret_shows_in_the_text_of_an_access(access: KeptAccess) -> None:
    assert "CANARY" not in repr(access)
    assert access.secrets
    assert all("CANARY" in secret for secret in access.secrets)


def test_an_access_is_written_once() -> None:
    store = MemoryStore("kept")
    assert store.keep(USER, seen=None)
    assert not store.keep(USER, seen=USER)
    assert store.writes == 1


@pytest.mark.parametrize(
    ("present", "whose"),
    [
        (ROLE, f"the access of {ROLE_ARN}"),
        (KeptAccess(principal_arn=None, access_key_id="AKIA9"), "what somebody else put there"),
    ],
)
def test_the_access_of_another_is_not_replaced_unless_told(present: KeptAccess, whose: str) -> None:
    store = MemoryStore("kept")
    store.present = present
    with pytest.raises(LightlyAccessError, match=f"^'kept' holds {whose}, which is left alone"):
        store.keep(USER, seen=present)
    assert store.present is present
    assert store.keep(USER, seen=present, allow_unmanaged=True)


@pytest.mark.parametrize(
    ("principal", "mine"),
    [
        (ROLE_ARN, True),
        ("role/a/lightly", True),
        ("role/lightly", False),
        ("lightly", False),
        ("arn:aws:iam::210987654321:role/a/lightly", False),
    ],
)
def test_an_access_knows_whose_it_is(principal: str, mine: bool) -> None:
    assert ROLE.is_of(principal) is mine


class Overtaken(MemoryStore):
    """A place where another task writes between the look and the creation."""

    def create(self, access: KeptAccess) -> bool:
        self.present = ROLE
        return super().create(access)


@pytest.mark.parametrize("store", [MemoryStore("kept"), Overtaken("kept")])
def test_of_two_that_keep_an_access_at_once_the_second_is_to_look_again(store: MemoryStore) -> None:
    if not isinstance(store, Overtaken):
        store.present = ROLE  # written since the caller has looked
    with pytest.raises(OvertakenError, match="Another task writes to 'kept' at the same time"):
        store.keep(USER, seen=None, allow_unmanaged=True)
    assert store.present == ROLE


# --- AWS Secrets Manager ------------------------------------------------------------------------------------------


class NoSuchSecretError(Exception):
    """As boto3's ``ResourceNotFoundException``."""


class MarkedError(Exception):
    """As boto3's ``InvalidRequestException``."""


class ExistsError(Exception):
    """As boto3's ``ResourceExistsException``."""


class SecretsManager:
    """A client of Secrets Manager that has one secret: with a value or without one, marked for deletion or not."""

    exceptions = SimpleNamespace(
        ResourceNotFoundException=NoSuchSecretError,
        InvalidRequestException=MarkedError,
        ResourceExistsException=ExistsError,
    )

    def __init__(self, value: str | None, *, marked: bool) -> None:
        self.value, self.marked = value, marked

    def get_secret_value(self, **_: Any) -> dict[str, Any]:
        self._check()
        if self.value is None:
            raise NoSuchSecretError
        return {"SecretString": self.value}

    def create_secret(self, **_: Any) -> None:
        self._check()
        raise ExistsError

    def put_secret_value(self, *, SecretId: str, SecretString: str) -> None:  # noqa: N803
        self._check()
        self.value = SecretString

    def restore_secret(self, **_: Any) -> None:
        self.marked = False

    def delete_secret(self, *, SecretId: str) -> None:  # noqa: N803
        self.marked = True

    def _check(self) -> None:
        if self.marked:
            raise MarkedError


def secrets_manager_store(client: SecretsManager) -> SecretsManagerStore:
    address = SecretAddress(service="secretsmanager", aws_conn_id="aws_default", name="lightly/photos")
    return SecretsManagerStore("kept", address, client)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ROLE.as_json(), f"^'kept' holds the access of {ROLE_ARN}, which is left alone"),
        (
            json.dumps({"conn_type": "aws", "login": "AKIA9"}),
            "^'kept' holds what somebody else put there, which is left",
        ),
        ("a password", "^'kept' holds something else than an Airflow connection"),
    ],
)
def test_a_secret_of_somebody_else_that_is_marked_for_deletion_stays_so(value: str, expected: str) -> None:
    client = SecretsManager(value, marked=True)
    with pytest.raises(LightlyAccessError, match=expected):
        secrets_manager_store(client).keep(USER, seen=None)
    assert (client.value, client.marked) == (value, True)


@pytest.mark.parametrize(
    ("value", "marked", "allow_unmanaged"),
    [(USER.as_json(), True, False), (None, True, False), (None, False, False), (ROLE.as_json(), True, True)],
)
def test_a_secret_of_one_s_own_that_is_marked_for_deletion_is_taken_up_again(
    value: str | None, marked: bool, allow_unmanaged: bool
) -> None:
    client = SecretsManager(value, marked=marked)
    assert secrets_manager_store(client).keep(USER, seen=None, allow_unmanaged=allow_unmanaged)
    assert (client.value, client.marked) == (USER.as_json(), False)


# --- Airflow's own API --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"conn_type": "postgres", "host": "db.example.com"}, "is of the type 'postgres', so its password is not sent"),
        ({"conn_type": "http", "host": "http://editor:CANARY@airflow.example.com"}, "a host that is not the address"),
        ({"conn_type": "http", "host": "ftp://airflow.example.com"}, "a host that is not the address of a server"),
        (
            {"conn_type": "http", "host": "http://airflow.example.com:port"},
            "a host that is not the address of a server",
        ),
        ({"conn_type": "http"}, "a host that is not the address of a server"),
    ],
)
def test_a_connection_that_is_none_to_an_api_is_refused_before_anything_is_sent(
    fields: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_API", json.dumps({"login": "editor", "password": "CANARY", **fields}))
    with pytest.raises(
        LightlyConnectionConfigError, match=f"^Airflow connection 'airflow_api' .*{expected}"
    ) as refused:
        ApiConnectionStore("kept", "airflow_api").write(USER)
    assert "CANARY" not in str(refused.value)


def test_an_api_connection_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(LightlyConnectionConfigError, match="There is no Airflow connection 'not_there'; create it"):
        ApiConnectionStore("kept", "not_there").write(USER)


@pytest.mark.parametrize(("host", "warned"), [("http://127.0.0.1:9", False), ("http://airflow.invalid:9", True)])
def test_an_api_without_tls_is_a_warning_except_on_this_machine(
    host: str, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AIRFLOW_API", json.dumps({"conn_type": "http", "host": host, "password": "x" * 9}))
    with pytest.raises(LightlyAccessError, match="gave no usable answer"):
        ApiConnectionStore("kept", "airflow_api").write(USER)
    assert (f"reaches {host} without TLS" in caplog.text) == warned
