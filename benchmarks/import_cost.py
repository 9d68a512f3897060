"""What importing the operators adds to ``import airflow.sdk``, beside two peers, measured side by side in one run.

    make benchmarks

Each subject is imported in fresh interpreters, in turn with the others, so that a slow moment of the machine meets all.
Shown are medians, in milliseconds and MiB of resident memory. The budget of our own is 50 ms and 5 MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

BUDGET_MS, BUDGET_MIB = 50.0, 5.0
OURS = "airflow-provider-lightly"
SUBJECTS = {
    OURS: [
        "lightly_provider.operators.cancellation",
        "lightly_provider.operators.dataset",
        "lightly_provider.operators.datasource",
        "lightly_provider.operators.results",
        "lightly_provider.operators.verification",
        "lightly_provider.operators.worker",
        "lightly_provider.sensors.worker",
    ],
    "apache-airflow-providers-dbt-cloud": ["airflow.providers.dbt.cloud.operators.dbt"],
    "airflow-provider-fivetran-async": ["fivetran_provider_async.operators"],
}

_MEASURE = """
import importlib, json, sys, time
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096 / 2**20
import airflow.sdk
airflow.sdk.BaseOperator, airflow.sdk.DAG  # they load on first use, and every DAG uses them
memory, started = resident(), time.perf_counter()
for module in sys.argv[1:]:
    importlib.import_module(module)
print(json.dumps([(time.perf_counter() - started) * 1000, resident() - memory]))
"""


def measure(modules: list[str], home: str) -> tuple[float, float]:
    """Milliseconds and MiB that importing the modules adds, in one fresh interpreter."""
    environment = {**os.environ, "AIRFLOW_HOME": home}
    # With it, each interpreter compiles all modules anew, and that is measured.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *modules],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{modules[0]} could not be imported: {done.stderr.strip().splitlines()[-1]}")
    milliseconds, mib = json.loads(done.stdout.splitlines()[-1])
    return milliseconds, mib


def main() -> int:
    """Print the table; 1 if our own is over the budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="interpreters per subject (default 7)")
    rounds = parser.parse_args().rounds
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in SUBJECTS}
    with tempfile.TemporaryDirectory() as home:
        for modules in SUBJECTS.values():  # bytecode and file cache, unmeasured
            measure(modules, home)
        for _ in range(rounds):
            for name, modules in SUBJECTS.items():
                taken[name].append(measure(modules, home))
    print(f"{'added to import airflow.sdk':<38}{'ms':>9}{'MiB':>9}{'times ours':>12}")
    medians = {name: tuple(map(statistics.median, zip(*values, strict=True))) for name, values in taken.items()}
    for name, (milliseconds, mib) in medians.items():
        print(f"{name:<38}{milliseconds:>9.1f}{mib:>9.1f}{milliseconds / medians[OURS][0]:>12.1f}")
    over = medians[OURS][0] > BUDGET_MS or medians[OURS][1] > BUDGET_MIB
    print(f"budget of ours: {BUDGET_MS:g} ms, {BUDGET_MIB:g} MiB: {'EXCEEDED' if over else 'kept'}")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
