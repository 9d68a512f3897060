"""Whether the installed provider works in this interpreter's Airflow: listed, shown, imported, its example DAGs parsed.

    PYTHON release/installed.py DAGS_FOLDER

Runs in an environment that has the wheel and not this repository, so it imports nothing from here. Prints JSON:
``{"found": {…}, "faults": […]}``.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

DISTRIBUTION = "airflow-provider-lightly"
# Modules that are not imported where Airflow lacks what they are for: retry policies, and pages of plugins.
FROM_AIRFLOW = {"lightly_provider.retry_policy": (3, 3), "lightly_provider.plugin.web": (3, 1)}


def airflow_version() -> tuple[int, int]:
    """Major and minor version."""
    major, minor = version("apache-airflow").split(".")[:2]
    return int(major), int(minor)


def modules() -> list[str]:
    """Import every module of the provider; what could not be imported, and why."""
    import lightly_provider

    faults = []
    if not Path(lightly_provider.__file__ or "").is_relative_to(sys.prefix):
        faults.append(f"lightly_provider is imported from {lightly_provider.__file__}, not from {sys.prefix}")
    if lightly_provider.__version__ != version(DISTRIBUTION):
        faults.append(f"__version__ is {lightly_provider.__version__}, the wheel's is {version(DISTRIBUTION)}")
    for module in pkgutil.walk_packages(lightly_provider.__path__, "lightly_provider."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if airflow_version() >= FROM_AIRFLOW.get(module.name, (0, 0)):
                faults.append(f"{module.name} cannot be imported: {error}")
    return faults


def listed() -> list[str]:
    """Ask ``airflow providers list`` for the provider."""
    airflow = Path(sys.executable).with_name("airflow")
    asked = subprocess.run(
        [str(airflow), "providers", "list", "--output", "json"], capture_output=True, text=True, check=False
    )
    try:
        rows = json.loads(asked.stdout[asked.stdout.index("[") :])
    except ValueError:
        return [f"`airflow providers list` printed no list: {(asked.stderr or asked.stdout)[-500:]}"]
    (ours,) = [row for row in rows if row["package_name"] == DISTRIBUTION] or [None]
    if ours is None:
        return ["`airflow providers list` does not list the provider"]
    if ours["version"] != version(DISTRIBUTION):
        return [f"`airflow providers list` shows version {ours['version']}, not {version(DISTRIBUTION)}"]
    return []


def form() -> list[str]:
    """Ask Airflow for the fields of its connection form, as its page does."""
    from lightly_provider.get_provider_info import CONNECTION_FORM

    if airflow_version() < (3, 0):
        from airflow.providers_manager import ProvidersManager

        widgets = ProvidersManager().connection_form_widgets  # type: ignore[no-untyped-call]
        shown = {info.field_name for key, info in widgets.items() if "__lightly__" in key}
    else:
        from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

        types = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "lightly"]
        if types and airflow_version() < (3, 1) and importlib.util.find_spec("flask_appbuilder") is None:
            return []  # there, Airflow 3.0 shows the extra fields of no provider
        shown = set(types[0].extra_fields or ()) if types else set()
    declared = set(CONNECTION_FORM["conn-fields"])
    return [] if shown == declared else [f"the form shows {sorted(shown)}, not {sorted(declared)}"]


def parsed(folder: str) -> tuple[list[str], list[str]]:
    """Parse the DAG files as Airflow's processor does: the ids of the DAGs, and the faults."""
    place = "airflow.dag_processing.dagbag" if airflow_version() >= (3, 2) else "airflow.models.dagbag"
    bag = importlib.import_module(place).DagBag(dag_folder=folder)
    faults = [f"{Path(path).name}: {error.strip().splitlines()[-1]}" for path, error in bag.import_errors.items()]
    missing = {path.stem for path in Path(folder).glob("*.py")} - {Path(dag.fileloc).stem for dag in bag.dags.values()}
    faults += [f"{name}.py has no DAG" for name in sorted(missing) if not faults]
    return sorted(bag.dags), faults


def main() -> int:
    """Print what was found; 1 if anything is wrong."""
    folder = sys.argv[1]
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(
            AIRFLOW_HOME=home,
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR",
            AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{home}/airflow.db",
        )
        # Airflow 2 asks its database while it parses DAGs that use assets.
        airflow = Path(sys.executable).with_name("airflow")
        subprocess.run([str(airflow), "db", "migrate"], check=True, capture_output=True)
        faults = [*modules(), *listed(), *form()]
        dags, of_the_dags = parsed(folder)
    faults += of_the_dags
    compat = version("apache-airflow-providers-common-compat")
    found = {"airflow": version("apache-airflow"), "amazon": version("apache-airflow-providers-amazon")}
    print("\n" + json.dumps({"found": {**found, "common-compat": compat, "dags": dags}, "faults": faults}))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
