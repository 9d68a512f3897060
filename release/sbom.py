"""Write what each wheel brings with it as a CycloneDX bill of materials: `make sbom`.

Each wheel is installed into an environment of its own, with the versions of the repository's constraints, and what is
then installed there is listed. So it is the closure of one installation that was tested, not of every possible one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from release.distributions import DISTRIBUTIONS, REPOSITORY, Distribution

_TOOLS = Path(sys.executable).parent


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{Path(command[0]).name} failed: {done.stderr.strip()}")


def write(distribution: Distribution, dist: Path) -> dict[str, Any]:
    """Write the bill of one distribution beside its wheel, and return it."""
    version = distribution.version()
    folder = REPOSITORY / distribution.folder
    bill = dist / f"{distribution.name}-{version}.cdx.json"
    with tempfile.TemporaryDirectory() as made:
        uv, python = str(_TOOLS / "uv"), f"{made}/venv/bin/python"
        _run(uv, "venv", "--quiet", "--python", sys.executable, f"{made}/venv")
        _run(
            *(uv, "pip", "install", "--quiet", "--python", python),
            *("--constraint", str(folder / "constraints.txt"), str(dist / distribution.file("wheel", version))),
        )
        _run(
            *(str(_TOOLS / "cyclonedx-py"), "environment", "--output-reproducible", "--output-format", "JSON"),
            *("--output-file", str(bill), python),
        )
    content: dict[str, Any] = json.loads(bill.read_text(encoding="utf-8"))
    # What the bill is about, in the place that the standard has for it; the tool lists it among the parts.
    (subject,) = [part for part in content["components"] if part["name"] == distribution.name]
    content["components"].remove(subject)
    content["metadata"]["component"] = subject
    bill.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return content


def main() -> int:
    """Write both, and say how many packages each lists."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=REPOSITORY / "dist", help="folder of the wheels (default dist)")
    into = parser.parse_args().into
    for distribution in DISTRIBUTIONS:
        content = write(distribution, into)
        print(f"{distribution.name}: {len(content['components'])} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
