"""The provider's metadata."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from lightly_provider.get_provider_info import CONNECTION_FORM, DEFAULT_HOST, DEFAULT_WEB_URL, get_provider_info

requires_airflow_3 = pytest.mark.skipif(
    int(version("apache-airflow").split(".")[0]) < 3, reason="Airflow 2 knows no fields of connections in its schema"
)


def schema(name: str) -> Any:
    return json.loads((Path(airflow.__path__[0]) / name).read_text())


def test_the_info_is_valid_by_airflows_schema() -> None:
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))


@requires_airflow_3
def test_the_connection_types_are_valid_by_the_schema_for_providers_own_files() -> None:
    full = schema("provider.yaml.schema.json")
    part = {**full["properties"]["connection-types"], "definitions": full.get("definitions", {})}
    jsonschema.validate(get_provider_info()["connection-types"], part)


def test_the_info_holds_no_key_that_airflow_does_not_read() -> None:
    known = schema("provider.yaml.schema.json")["properties"]
    # Airflow 3.3.2 reads them; 3.1.8 passes the first over, and 2.11.2 both.
    later = {"cli", "asset-uris"} - set(known)
    # Airflow's schema lets unknown keys pass in silence, so that a typing error would show nowhere.
    assert set(get_provider_info()) - later <= set(known)
    keys_of_connection = set(known["connection-types"]["items"]["properties"])
    assert set(CONNECTION_FORM) <= keys_of_connection | {"ui-field-behaviour", "conn-fields", "hook-name"}


def test_the_entry_point_leads_to_the_info() -> None:
    (found,) = [e for e in entry_points(group="apache_airflow_provider") if e.value.startswith("lightly_provider")]
    assert found.load()() == get_provider_info()
    assert found.dist is not None
    assert found.dist.name == get_provider_info()["package-name"]


def test_asking_for_the_info_imports_nothing() -> None:
    script = (
        "import sys; before = set(sys.modules)\n"
        "from lightly_provider.get_provider_info import get_provider_info\n"
        "get_provider_info()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) - {"__future__"} == {"lightly_provider", "lightly_provider.get_provider_info"}


def named_things() -> list[str]:
    info = get_provider_info()
    modules = [
        m
        for kind in ("hooks", "operators", "sensors", "triggers")
        for entry in info[kind]
        for m in entry["python-modules"]
    ]
    return [*modules, *info["extra-links"], *(c["hook-class-name"] for c in info["connection-types"])]


@pytest.mark.parametrize("name", named_things())
def test_everything_that_the_info_names_exists(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    if attribute[0].islower():
        importlib.import_module(name)
    else:
        assert isinstance(getattr(importlib.import_module(module), attribute), type)


def test_every_module_with_an_operator_or_hook_is_named() -> None:
    package = Path(importlib.import_module("lightly_provider").__path__[0])
    operators = {f"lightly_provider.operators.{f.stem}" for f in (package / "operators").glob("[!_]*.py")}
    names = ("arguments", "base", "deadline", "earlier_xcom", "external_id", "map_index")
    shared = {f"lightly_provider.operators.{name}" for name in names}
    assert operators - set(named_things()) == shared
    sensors = {f"lightly_provider.sensors.{f.stem}" for f in (package / "sensors").glob("[!_]*.py")}
    triggers = {f"lightly_provider.triggers.{f.stem}" for f in (package / "triggers").glob("[!_]*.py")}
    assert (sensors | triggers) - set(named_things()) == {"lightly_provider.sensors.deferred"}


def test_every_link_of_an_operator_is_registered() -> None:
    import lightly_provider.links as links

    of_module = {
        f"{links.__name__}.{name}"
        for name, value in vars(links).items()
        if isinstance(value, type) and value.__module__ == links.__name__
    }
    assert set(get_provider_info()["extra-links"]) == of_module


def test_each_call_gives_equal_info() -> None:
    assert get_provider_info() == get_provider_info()


def test_the_connection_type_survives_a_uri() -> None:
    # A URI is lower case, and its dashes become underscores.
    assert CONNECTION_FORM["connection-type"] == CONNECTION_FORM["connection-type"].lower().replace("-", "_")


@pytest.mark.parametrize("host", [DEFAULT_HOST, "http://127.0.0.1:8420", "api.test", "https://api.test/gateway", None])
def test_a_connection_survives_a_uri(host: str | None) -> None:
    from airflow.models.connection import Connection as ModelOfConnection
    from airflow.providers.common.compat.sdk import Connection

    from lightly_provider.hooks.connection import parse_connection

    extra = {
        "web_url": DEFAULT_WEB_URL,
        "ca_bundle": "/etc/ssl/own ca.pem",
        "proxies": {"https": "http://user:p%40ss@proxy:3128"},
        "connect_timeout": 5,
        "read_timeout": 60,
    }
    before = Connection(conn_id="c", conn_type="lightly", host=host, password="t+/=?&#:@ ü", extra=json.dumps(extra))
    uri = before.get_uri()
    after = Connection.from_uri(uri, "c") if hasattr(Connection, "from_uri") else ModelOfConnection("c", uri=uri)

    def parsed(connection: Any) -> Any:
        return parse_connection(
            "c",
            host=connection.host,
            port=connection.port,
            password=connection.password,
            extra=connection.extra_dejson,
        )

    assert after.conn_type == "lightly"
    assert parsed(after) == parsed(before)
    assert parsed(after).settings.token == "t+/=?&#:@ ü"
