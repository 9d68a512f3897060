"""The bucket of ``make demo-fleet``, its photos, the access that Lightly gets, and the fleet's file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from demo import provision
from demo.fleet_file import write_fleet_file
from lightly_provider.contract import Purpose

if TYPE_CHECKING:
    from pathlib import Path

    from demo.environment import Sandbox

BUCKET = "demo-fleet"
PHOTOS = f"s3://{BUCKET}/photos/"
RAW, LIGHTLY = f"s3://{BUCKET}/raw/", f"s3://{BUCKET}/lightly/"
N_PHOTOS = 10
# Where the last dataset has its output, and Lightly may not write.
OTHER_OUTPUT = f"s3://{BUCKET}/results/"
USER = "lightly-fleet"


@dataclass(frozen=True)
class FleetBucket:
    """
    The bucket.

    :param sandbox: The sandbox.
    :param n_datasets: How many datasets there are, each with a folder of its own.
    """

    sandbox: Sandbox
    n_datasets: int

    @property
    def names(self) -> list[str]:
        """Names of the datasets; the last one is refused."""
        return [f"camera-{number:02}" for number in range(1, self.n_datasets + 1)]

    @property
    def refused(self) -> str:
        """The dataset whose output Lightly may not write to."""
        return self.names[-1]

    def upload(self, ready_file: Path) -> None:
        """
        Put photos into each folder, unless they are there already.

        :param ready_file: The sandbox's ready file.
        """
        provision.upload_photos(ready_file, PHOTOS, self.n_datasets * N_PHOTOS)
        s3 = self.sandbox.aws("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        source, target = (uri.removeprefix(f"s3://{BUCKET}/") for uri in (PHOTOS, RAW))
        photos = sorted(key for key in keys if key.startswith(source))

        def copy(number: int) -> None:
            # They are sorted by scene, so each camera gets photos of several.
            name, photo = self.names[number % self.n_datasets], photos[number]
            key = f"{target}{name}/{photo.removeprefix(source).replace('/', '-')}"
            if key not in present:
                s3.copy_object(Bucket=BUCKET, Key=key, CopySource={"Bucket": BUCKET, "Key": photo})

        present = set(keys)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(copy, range(len(photos))))

    def connection(self, keep_in: Path) -> str:
        """
        An IAM user for Lightly, which may list and read the bucket, and write to ``lightly/`` only, as a connection.

        :param keep_in: See :func:`demo.provision.connection_of_user`.
        """
        access = ((f"s3://{BUCKET}/", Purpose.INPUT), (LIGHTLY, Purpose.LIGHTLY))
        return provision.connection_of_user(self.sandbox, USER, access, keep_in)

    def write_file(self, path: Path) -> None:
        """Write ``lightly_fleet.yaml``."""
        outputs = {name: OTHER_OUTPUT if name == self.refused else LIGHTLY for name in self.names}
        write_fleet_file(path, [(name, f"{RAW}{name}/", f"{output}{name}/") for name, output in outputs.items()])
