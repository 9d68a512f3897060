"""How Airflow finds the page, and what that costs a process that does not serve it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points, version

import pytest

HAS_PAGES = tuple(int(part) for part in version("apache-airflow").split(".")[:2]) >= (3, 1)

LOADED = """
import json, sys
import airflow.plugins_manager as manager
before = set(sys.modules)
import lightly_provider.plugin.registration
added = sorted(set(sys.modules) - before)
manager.ensure_plugins_loaded()
loaded = manager.plugins if hasattr(manager, "plugins") else manager._get_plugins()[0]
print("\\n" + json.dumps({"added": added, "names": [each.name for each in loaded]}))
"""


@pytest.fixture(scope="module")
def loaded() -> tuple[dict[str, list[str]], str]:
    """What a process imported and loaded, and what it logged."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True, timeout=120)
    *logged, last = done.stdout.splitlines()
    return json.loads(last), "\n".join([*logged, done.stderr])


def test_the_entry_point_leads_to_the_plugin() -> None:
    (found,) = [each for each in entry_points(group="airflow.plugins") if each.value.startswith("lightly_provider")]
    assert found.load() is None or HAS_PAGES


def test_the_plugin_is_loaded_only_where_airflow_has_pages(loaded: tuple[dict[str, list[str]], str]) -> None:
    found, logged = loaded
    assert ("lightly" in found["names"]) is HAS_PAGES
    assert "lightly" not in logged.lower(), "without a word"


def test_registering_imports_next_to_nothing(loaded: tuple[dict[str, list[str]], str]) -> None:
    added = loaded[0]["added"]
    own = {name for name in added if name.startswith("lightly_provider")}
    # Airflow may have imported the package already, for the provider's metadata.
    assert own - {"lightly_provider"} == {"lightly_provider.plugin", "lightly_provider.plugin.registration"}
    assert {name.split(".")[0] for name in added} <= {"lightly_provider", "airflow"}
    assert not [name for name in added if name.startswith("airflow.") and "providers.common" not in name]
