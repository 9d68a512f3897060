"""The connection form, declared once and shown by each Airflow in its own way."""

from __future__ import annotations

import importlib.util
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from lightly_provider.get_provider_info import CONNECTION_FORM
from lightly_provider.hooks.lightly import LightlyHook

AIRFLOW = tuple(int(part) for part in version("apache-airflow").split(".")[:2])
requires_airflow_3 = pytest.mark.skipif(AIRFLOW < (3, 0), reason="the form of Airflow 3")
only_airflow_2 = pytest.mark.skipif(AIRFLOW >= (3, 0), reason="the form of Airflow 2")
FIELDS = CONNECTION_FORM["conn-fields"]


def test_the_fields_behaviour_of_older_airflow_agrees_with_the_declaration() -> None:
    declared = {name.replace("-", "_"): value for name, value in CONNECTION_FORM["ui-field-behaviour"].items()}
    assert LightlyHook.get_ui_field_behaviour() == declared


def test_the_fields_behaviour_is_what_airflow_takes() -> None:
    schema = json.loads((Path(airflow.__path__[0]) / "customized_form_field_behaviours.schema.json").read_text())
    jsonschema.validate(LightlyHook.get_ui_field_behaviour(), schema)


def test_changing_the_behaviour_changes_no_declaration() -> None:
    behaviour = LightlyHook.get_ui_field_behaviour()
    behaviour["hidden_fields"].clear()
    behaviour["relabeling"].clear()
    assert (
        LightlyHook.get_ui_field_behaviour()["hidden_fields"] == CONNECTION_FORM["ui-field-behaviour"]["hidden-fields"]
    )
    assert CONNECTION_FORM["ui-field-behaviour"]["relabeling"]["password"] == "API token"


def test_the_widgets_of_older_airflow_agree_with_the_declaration() -> None:
    pytest.importorskip("flask_appbuilder")
    wtforms = pytest.importorskip("wtforms")
    widgets = LightlyHook.get_connection_form_widgets()
    assert list(widgets) == list(FIELDS)
    form = type("Form", (wtforms.Form,), widgets)()
    for name, declared in FIELDS.items():
        field = form[name]
        assert str(field.label.text) == declared["label"]
        assert field.description == declared["description"]
        assert isinstance(field, wtforms.IntegerField) == ("integer" in declared["schema"]["type"])
        # Left empty, as most will leave it.
        assert field.validate(form), field.errors


@only_airflow_2
def test_airflow_2_shows_our_fields() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    shown = {info.field_name for key, info in manager.connection_form_widgets.items() if "__lightly__" in key}
    assert shown == set(FIELDS)
    assert manager.field_behaviours["lightly"] == LightlyHook.get_ui_field_behaviour()


@requires_airflow_3
@pytest.mark.skipif(
    AIRFLOW < (3, 1) and importlib.util.find_spec("flask_appbuilder") is None,
    reason="Airflow 3.0 shows the fields of no provider without the FAB provider",
)
def test_airflow_3_shows_our_fields() -> None:
    from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

    (shown,) = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "lightly"]
    assert shown.hook_name == "Lightly"
    assert shown.extra_fields is not None
    assert list(shown.extra_fields) == list(FIELDS)
    for name, declared in FIELDS.items():
        rendered: Any = shown.extra_fields[name]
        assert rendered["schema"]["title"] == declared["label"]
        if AIRFLOW >= (3, 2):  # before, the API server knows the hook's form methods only, which have no formats
            assert rendered["schema"].items() >= declared["schema"].items()
        assert rendered["description"] == declared["description"]
    standard = shown.standard_fields
    assert standard is not None
    hidden = {name for name in ("login", "url_schema", "port") if getattr(standard, name).hidden}
    assert hidden == {"login", "url_schema"}
    assert (standard.port.title, standard.port.placeholder) == (
        "Port (0: the address has it)",
        "0, for the Test button of Airflow 3.3",
    )
    assert (standard.password.title, standard.host.title) == ("API token", "API address")
    assert (standard.password.hidden, standard.host.hidden) == (False, False)
    assert standard.host.placeholder == "https://api.lightly.ai"


@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")
def test_airflow_finds_the_hook_and_can_test_the_connection() -> None:
    from airflow.providers_manager import ProvidersManager

    hook = ProvidersManager().hooks["lightly"]
    assert hook is not None
    assert hook.hook_class_name == "lightly_provider.hooks.lightly.LightlyHook"
    assert hook.connection_id_attribute_name == "lightly_conn_id"
    assert hook.connection_testable
    assert LightlyHook(**{hook.connection_id_attribute_name: "my_conn"}).lightly_conn_id == "my_conn"


def test_every_declared_field_is_read_and_no_other() -> None:
    from lightly_provider.hooks.connection import parse_connection

    values = {
        "web_url": "https://a.test",
        "ca_bundle": "/x.pem",
        "proxies": "",
        "connect_timeout": 1,
        "read_timeout": 2,
    }
    assert set(values) == set(FIELDS)
    assert parse_connection("c", host=None, port=None, password="t", extra=values).warnings == ()
    assert parse_connection("c", host=None, port=None, password="t", extra={"x": 1}).warnings
