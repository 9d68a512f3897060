"""Which dataset an uploaded file belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.aws.location import S3Location
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

# What Lightly and its worker write themselves: thumbnails, frames, crops, predictions.
_LIGHTLYS_OWN = ".lightly/"
MOST_DATASETS = 10_000
_LONGEST_NAME = 250  # as a partition key of Airflow may be


@dataclass(frozen=True)
class Routes:
    """
    The datasets and the locations of their files.

    :param locations: Location by dataset.
    """

    locations: Mapping[str, S3Location]

    @classmethod
    def of(cls, datasets: Mapping[str, str], *, argument: str) -> Routes:
        """
        Parse the locations.

        :param datasets: ``s3://bucket/prefix/`` by dataset. A location within another one has the files below it.
        :param argument: The operator's argument, for messages.
        :raises ValueError: There are none or too many, a name or a location is invalid, or two datasets have the same
            location.
        """
        if not datasets:
            raise ValueError(f"{argument} is empty; name each dataset with the s3:// location of its files.")
        if len(datasets) > MOST_DATASETS:
            raise ValueError(f"{argument} has {len(datasets):,} datasets; divide them among several queues.")
        locations: dict[str, S3Location] = {}
        names: dict[S3Location, str] = {}
        for name, uri in datasets.items():
            if name.strip() in ("", ".", "..") or len(name) > _LONGEST_NAME or not name.isprintable():
                raise ValueError(
                    f"{argument} has {shown(repr(name), longest=200)}, which is not the name of a dataset."
                )
            location = locations[name] = S3Location.parse(uri, argument=f"{argument}[{shown(name)!r}]")
            if location in names:
                raise ValueError(
                    f"{argument} has the location {shown(location.uri)} for both {shown(names[location])!r} and "
                    f"{shown(name)!r}, so the dataset of a file there is not certain; leave one out."
                )
            names[location] = name
        return cls(locations)

    @property
    def buckets(self) -> frozenset[str]:
        """The buckets of all locations."""
        return frozenset(location.bucket for location in self.locations.values())

    def dataset_of(self, bucket: str, key: str) -> str | None:
        """
        Return the dataset of a file: the one with the longest location that contains it.

        :param bucket: Name of the bucket.
        :param key: Key of the object.
        :return: None if it belongs to no dataset: it lies in no location, is a folder's placeholder, or was written by
            Lightly itself (``.lightly/``).
        """
        name = self.dataset_around(bucket, key)
        if name is None or key.endswith("/") or key.startswith(_LIGHTLYS_OWN, len(self.locations[name].prefix)):
            return None
        return name

    def dataset_around(self, bucket: str, key: str) -> str | None:
        """
        Return the dataset with the longest location that contains a key, also that of what is no upload.

        :param bucket: Name of the bucket.
        :param key: Key of the object.
        :return: None if it lies in no location.
        """
        # Each folder of the key, from the longest: this takes as many steps as the key has folders.
        prefixes = self._datasets_by_prefix()
        folder = key
        while folder:
            folder = folder.rpartition("/")[0]
            if (name := prefixes.get((bucket, f"{folder}/" if folder else ""))) is not None:
                return name
        return None

    def _datasets_by_prefix(self) -> dict[tuple[str, str], str]:
        cached: dict[tuple[str, str], str] | None = self.__dict__.get("_by_prefix")
        if cached is None:
            cached = {(location.bucket, location.prefix): name for name, location in self.locations.items()}
            object.__setattr__(self, "_by_prefix", cached)
        return cached
