"""The asset scheme ``lightly``: what Airflow makes of an address, and what a task's outlets get."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias
from hypothesis import given
from hypothesis import strategies as st

from lightly_provider.assets import Address, address_of, announce, create_asset, host_of, parse, sanitize_uri

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
AIRFLOW_3 = AIRFLOW >= (3, 0)
DATASET = "6a9c21d4e8b05f7312c4d9ab"
BASE = f"lightly://api.lightly.ai/{DATASET}"
CANARY = "canary-secret"


@pytest.fixture(autouse=True)
def _as_strict_as_airflow_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow 2.11 makes a warning of a refusal by default."""
    monkeypatch.setenv("AIRFLOW__CORE__STRICT_DATASET_URI_VALIDATION", "True")


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        (BASE, BASE),
        (f"{BASE}/", BASE),
        (f"LIGHTLY://API.Lightly.ai/{DATASET.upper()}", BASE),
        (f"lightly://api.lightly.ai:443/{DATASET}", BASE),
        (f"{BASE}#fragment", BASE),
        (f"lightly://127.0.0.1:8420/{DATASET}", f"lightly://127.0.0.1:8420/{DATASET}"),
        (f"lightly://[::1]:8420/{DATASET}", f"lightly://[::1]:8420/{DATASET}"),
        (f"lightly://lightly_api/{DATASET}", f"lightly://lightly_api/{DATASET}"),
        (f"{BASE}/tag/initial-tag", f"{BASE}/tag/initial-tag"),
        (f"{BASE}/tag/day=2026-01-01/", f"{BASE}/tag/day=2026-01-01"),
        (f"{BASE}/tag/a b", f"{BASE}/tag/a%20b"),
        (f"{BASE}/tag/a%20b", f"{BASE}/tag/a%20b"),
        (f"{BASE}/tag/%61%2Fb", f"{BASE}/tag/a%2Fb"),
        (f"{BASE}/tag/%C3%BC", f"{BASE}/tag/%C3%BC"),
    ],
)
def test_airflow_brings_an_address_into_its_normal_form(written: str, normal: str) -> None:
    assert Asset(written).uri == normal


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("lightly:///x", "names no host of a Lightly API"),
        (f"lightly:///{DATASET}", "names no host of a Lightly API"),
        (f"lightly://https://api.lightly.ai/{DATASET}", "names no host of a Lightly API"),
        ("lightly://api.lightly.ai", "names no dataset, whose id has 24 of 0-9 and a-f"),
        ("lightly://api.lightly.ai/my-photos", "names no dataset, whose id has 24 of 0-9 and a-f"),
        (f"lightly://api.lightly.ai//{DATASET}", "names no dataset, whose id has 24 of 0-9 and a-f"),
        (f"{BASE}/tags/a", "has a path that is neither a dataset's nor a tag's"),
        (f"{BASE}/tag", "has a path that is neither a dataset's nor a tag's"),
        (f"{BASE}/tag/a/b", "has a path that is neither a dataset's nor a tag's"),
        (f"{BASE}/tag/%20", "names no tag"),
        (f"{BASE}/tag/%0A", "names no tag"),
        (f"{BASE}/tag/%FF", "names no tag"),
        (f"{BASE}/tag/{'a' * 301}", "names no tag"),
    ],
)
def test_what_names_nothing_is_refused_with_what_to_write(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        Asset(written)

    assert "write lightly://<host of the API>/<dataset id>" in str(caught.value)


@pytest.mark.parametrize("written", [f"lightly://user:{CANARY}@api.lightly.ai/{DATASET}", f"{BASE}#{CANARY}"])
def test_airflow_drops_a_password_and_a_fragment_from_the_address(written: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asset = Asset(written)

    assert asset.uri == BASE
    assert not any(CANARY in str(warning.message) for warning in caught)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(
            f"lightly://{CANARY}@api.lightly.ai/{DATASET}",
            marks=pytest.mark.skipif(
                AIRFLOW < (3, 1), reason="Airflow before 3.1 drops any login before it asks the provider"
            ),
        ),
        f"{BASE}?token={CANARY}",
    ],
)
def test_a_login_and_a_query_are_refused_and_not_repeated(written: str) -> None:
    with pytest.raises(ValueError, match="with a login or a query") as caught:
        Asset(written)

    assert CANARY not in str(caught.value)


def test_a_refusal_does_not_repeat_a_login_or_a_query() -> None:
    with pytest.raises(ValueError, match="names no dataset") as caught:
        sanitize_uri(urlsplit(f"lightly://user:{CANARY}@api.lightly.ai/photos?token={CANARY}"))

    assert CANARY not in str(caught.value)


@given(st.text(min_size=1, max_size=40).filter(lambda name: name.isprintable() and name.strip()))
def test_any_name_of_a_tag_comes_back_from_its_address(name: str) -> None:
    address = Address("api.lightly.ai", DATASET, name)

    assert address.uri.isascii()
    assert parse(address.uri) == address
    once = sanitize_uri(urlsplit(address.uri))
    assert once.geturl() == address.uri
    assert sanitize_uri(once) == once


def test_the_factory_builds_what_an_author_would_write() -> None:
    assert create_asset(dataset_id=DATASET).uri == BASE
    tag = create_asset(host="127.0.0.1:8420", dataset_id=DATASET, tag="a b", extra={"team": "vision"})
    assert tag.uri == f"lightly://127.0.0.1:8420/{DATASET}/tag/a%20b"
    assert tag.extra == {"team": "vision"}
    with pytest.raises(ValueError, match="names no dataset"):
        create_asset(dataset_id="photos")


def test_airflow_finds_handler_factory_and_converter_by_the_scheme() -> None:
    if AIRFLOW >= (3, 2):
        from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

        manager: Any = ProvidersManagerTaskRuntime()
    else:
        from airflow.providers_manager import ProvidersManager

        manager = ProvidersManager()
    kind = "asset" if AIRFLOW_3 else "dataset"
    found = [getattr(manager, f"{kind}_{what}")["lightly"] for what in ("uri_handlers", "factories")]
    found.append(getattr(manager, f"{kind}_to_openlineage_converters")["lightly"])

    assert [function.__name__ for function in found] == ["sanitize_uri", "create_asset", "convert_asset_to_openlineage"]


@pytest.mark.parametrize(
    ("path", "name"),
    [("", DATASET), ("/tag/initial-tag", f"{DATASET}/tag/initial-tag"), ("/tag/a%20b", f"{DATASET}/tag/a b")],
)
def test_openlineage_names_an_asset_as_the_operators_do(path: str, name: str) -> None:
    pytest.importorskip("airflow.providers.openlineage", reason="the OpenLineage provider is not installed")
    from airflow.providers.common.compat.openlineage.utils.utils import translate_airflow_asset

    translated = translate_airflow_asset(Asset(f"{BASE}{path}"), None)

    assert (translated.namespace, translated.name) == ("lightly://api.lightly.ai", name)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.lightly.ai", "api.lightly.ai"),
        ("https://API.lightly.ai:443/v2", "api.lightly.ai"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://localhost:80", "localhost"),
    ],
)
def test_the_host_is_that_of_the_connection(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("host", "tag"), [("bücher.example", None), ("api.lightly.ai", "a\nb"), ("api.lightly.ai", " ")]
)
def test_what_cannot_stand_in_an_address_has_none(host: str, tag: str | None) -> None:
    assert address_of(host, DATASET, tag) is None


# --- the outlets of a task ----------------------------------------------------------------------------------------

EXTRA = {"dataset_id": DATASET, "tag": "a"}
TAG = f"{BASE}/tag/a"


@pytest.fixture
def context() -> dict[str, Any]:
    """The part of a task's context that takes asset events: Airflow's own."""
    if AIRFLOW_3:
        from airflow.sdk.execution_time.context import OutletEventAccessors
    else:
        from airflow.utils.context import OutletEventAccessors
    return {"outlet_events": OutletEventAccessors()}


def added(context: dict[str, Any], alias: AssetAlias) -> list[tuple[str, dict[str, Any]]]:
    """The events that an alias got: address and extra."""
    event = context["outlet_events"][alias]
    if AIRFLOW_3:
        return [(e.dest_asset_key.uri, e.extra) for e in event.asset_alias_events]
    return [(e["dest_dataset_uri"], e["extra"]) for e in event.dataset_alias_events]


def test_an_asset_gets_the_extra_and_an_alias_an_event(context: dict[str, Any]) -> None:
    mine, alias = Asset("x-team://curated"), AssetAlias("selections")

    assert announce(context, [mine, alias], made=TAG, about=[BASE, TAG], extra=EXTRA) == []

    assert context["outlet_events"][mine].extra == EXTRA
    assert added(context, alias) == [(TAG, EXTRA)]


def test_what_the_author_put_into_the_extra_stays(context: dict[str, Any]) -> None:
    mine = Asset("x-team://curated")
    context["outlet_events"][mine].extra = {"tag": "theirs", "team": "vision"}

    announce(context, [mine], made=TAG, about=[TAG], extra=EXTRA)

    assert context["outlet_events"][mine].extra == {"dataset_id": DATASET, "tag": "theirs", "team": "vision"}


def test_an_alias_gets_no_event_where_nothing_was_made(context: dict[str, Any]) -> None:
    alias = AssetAlias("selections")

    announce(context, [alias], made=None, about=[BASE], extra=EXTRA)

    assert added(context, alias) == []


def test_an_outlet_of_another_dataset_or_tag_is_named(context: dict[str, Any]) -> None:
    other = f"lightly://api.lightly.ai/{'0' * 24}"
    outlets = [Asset(BASE), Asset(TAG), Asset(f"{BASE}/tag/b"), Asset(other), Asset("x-team://curated")]

    assert announce(context, outlets, made=TAG, about=[BASE, TAG], extra=EXTRA) == [f"{BASE}/tag/b", other]


@pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 has no references to assets")
def test_entities_that_are_no_assets_are_left_alone(context: dict[str, Any]) -> None:
    from airflow.providers.common.compat.lineage.entities import File

    assert announce(context, [File(url="s3://bucket/key")], made=TAG, about=[TAG], extra=EXTRA) == []
    assert len(context["outlet_events"]) == 0


def test_without_outlets_or_events_nothing_happens() -> None:
    assert announce({}, [Asset("x-team://curated")], made=TAG, about=[TAG], extra=EXTRA) == []  # type: ignore[typeddict-item]
