"""Look for secrets in the repository's files: `make secrets`.

detect-secrets knows the forms of keys and tokens. What it finds in the tests opens nothing: invented keys, and the
access keys of AWS's own documentation. Those are in ``.secrets.baseline``, by their SHA-1 and without line numbers, so
that an edit elsewhere in the file changes nothing. Nothing is verified over a network.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from multiprocessing import Pool

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings, transient_settings

from release.distributions import REPOSITORY

BASELINE = REPOSITORY / ".secrets.baseline"
# Ids of datasets, tags and runs are random hexadecimal, and checksums are everywhere; 127.0.0.1 is no secret.
LEFT_OUT = {"Base64HighEntropyString", "HexHighEntropyString", "IPPublicDetector"}


def _settings() -> dict[str, object]:
    """All detectors but those that are left out, and the usual filters without the one that asks over the network."""
    with default_settings() as settings:
        filters = [{"path": path} for path in settings.filters if "verification" not in path]
    names = [found.__name__ for found in get_mapping_from_secret_type_to_class().values()]
    return {"plugins_used": [{"name": name} for name in names if name not in LEFT_OUT], "filters_used": filters}


def _scan(path: str) -> list[tuple[str, str, str, int]]:
    """What is found in a file: path, kind, SHA-1 and line of each."""
    with transient_settings(_settings()):
        return [(path, found.type, found.secret_hash, found.line_number) for found in scan_file(path)]


def found_in(paths: list[str]) -> list[tuple[str, str, str, int]]:
    """What is found in the files, which are relative to the repository."""
    with Pool(os.cpu_count()) as pool:
        return sorted(found for of_a_file in pool.imap_unordered(_scan, paths, chunksize=16) for found in of_a_file)


def main() -> int:
    """Print what is new; 1 if anything is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accept", action="store_true", help="write all that is found into .secrets.baseline")
    accept = parser.parse_args().accept
    os.chdir(REPOSITORY)
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    paths = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
    paths = [path for path in paths if os.path.isfile(path) and path != BASELINE.name]
    found = found_in(paths)
    if accept:
        known: dict[str, list[str]] = {}
        for path, _, secret, _ in found:
            known[path] = sorted({*known.get(path, []), secret})
        BASELINE.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        print(f"{len(found)} places in {len(known)} files are accepted.")
        return 0
    known = json.loads(BASELINE.read_text(encoding="utf-8"))
    new = [each for each in found if each[2] not in known.get(each[0], [])]
    for path, kind, _, line in new:
        print(f"{path}:{line}: {kind}", file=sys.stderr)
    if new:
        print(
            f"{len(new)} possible secrets are new. Remove a real one, and revoke it. If it opens nothing, run "
            "`.venv-package/bin/python -m release.secret_scan --accept`.",
            file=sys.stderr,
        )
        return 1
    print(f"No new secret in {len(paths)} files.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
