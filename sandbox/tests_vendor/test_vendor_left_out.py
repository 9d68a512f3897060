from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import requests
from lightly.active_learning.config.selection_config import SelectionConfig
from lightly.api import ApiWorkflowClient, download
from lightly.openapi_generated.swagger_client import api as swagger_api
from lightly.openapi_generated.swagger_client.exceptions import ApiException
from lightly.openapi_generated.swagger_client.models import (
    ConfigurationEntry,
    ConfigurationValueDataType,
    PredictionTaskSchema,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests_vendor.onboarding import Onboarded

SOME_ID = "0" * 24
SCHEMA = {"name": "things", "type": "CLASSIFICATION", "categories": [{"id": 0, "name": "a"}]}
ENTRY = {"name": "Scene", "path": "scene", "defaultValue": "none"}


def _calls(client: ApiWorkflowClient, csv: str) -> dict[str, Callable[[], Any]]:
    schema = PredictionTaskSchema.from_dict(SCHEMA)
    entry = ConfigurationEntry(**ENTRY, valueDataType=ConfigurationValueDataType.CATEGORICAL_STRING)
    return {
        "get_all_embedding_data": client.get_all_embedding_data,
        "get_embedding_data_by_name": lambda: client.get_embedding_data_by_name("default"),
        "get_embedding_by_name": lambda: client.get_embedding_by_name("default"),
        "set_embedding_id_to_latest": client.set_embedding_id_to_latest,
        "upload_embeddings": lambda: client.upload_embeddings(csv, "mine"),
        "append_embeddings": lambda: client.append_embeddings(csv, SOME_ID),
        "download_embeddings_csv": lambda: client.download_embeddings_csv(csv),
        "download_embeddings_csv_by_id": lambda: client.download_embeddings_csv_by_id(SOME_ID, csv),
        "upload_scores": lambda: client.upload_scores({"margin": np.zeros(1)}, SOME_ID),
        "selection": lambda: client.selection(SelectionConfig(n_samples=1)),
        "create_or_update_prediction_task_schema": lambda: client.create_or_update_prediction_task_schema(
            schema, 0
        ),
        "create_or_update_prediction": lambda: client.create_or_update_prediction(SOME_ID, [], 0),
        "create_custom_metadata_config": lambda: client.create_custom_metadata_config("mine", [entry]),
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_left_out_says_so(onboarded: Onboarded, tmp_path: Path) -> None:
    csv = tmp_path / "embeddings.csv"
    csv.write_text("filenames,embedding_0,embedding_1,labels\na.jpg,0.1,0.2,0\n")
    for name, call in _calls(onboarded.client, str(csv)).items():
        with pytest.raises(ApiException) as refused:
            call()
        assert (name, refused.value.status) == (name, 501)
        assert "NOT_IMPLEMENTED" in refused.value.body


def _operations() -> set[tuple[str, str]]:
    """Every operation of the client's generated part: its path, and its method."""
    return {
        operation
        for module in Path(swagger_api.__file__).parent.glob("*_api.py")
        for operation in re.findall(r"call_api\(\s*'([^']+)', '([A-Z]+)'", module.read_text())
    }


def test_every_operation_of_the_client_is_known(client: ApiWorkflowClient, ready: dict[str, Any]) -> None:
    operations = _operations()
    assert len(operations) > 130
    for path, method in sorted(operations):
        url = ready["lightly_url"] + re.sub(r"\{[^}]+\}", SOME_ID, path)
        answer = requests.request(method, url, params={"token": client.token}, json={}, timeout=30)
        assert answer.status_code != 405, (method, path)
        if not answer.ok:
            assert answer.json()["code"] != "NOT_FOUND", (method, path)


def _helpers() -> set[str]:
    return {
        name
        for kind in ApiWorkflowClient.__mro__
        for name, member in vars(kind).items()
        if not name.startswith("_") and (callable(member) or isinstance(member, property))
    }


def _download_helpers() -> set[str]:
    return {
        name
        for name, member in vars(download).items()
        if inspect.isfunction(member) and member.__module__ == download.__name__
    }


def test_the_list_of_the_clients_helpers_is_complete() -> None:
    listed = Path(__file__).parents[2] / "tests" / "contract" / "vendor_helpers.txt"
    helpers = _helpers() | {f"download.{name}" for name in _download_helpers()}
    assert set(listed.read_text().split()) == helpers


def test_these_tests_call_every_helper_of_the_client() -> None:
    helpers = _helpers() | _download_helpers()
    used = {
        name
        for path in Path(__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute | ast.Name)
        for name in (node.attr if isinstance(node, ast.Attribute) else node.id,)
    }
    assert len(helpers) > 70
    assert helpers <= used, sorted(helpers - used)
