"""Custom metadata from the customer's files: one value per image and path."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lightly_sandbox.selection.schemas import own_file_name, video_of
from lightly_sandbox.worker.material import ClassTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lightly_sandbox.selection.schemas import MetadataEntry


@dataclass(frozen=True)
class CustomMetadata:
    """The custom metadata of a set of images; an image without a file has the schema's default values."""

    entries: Mapping[str, MetadataEntry]
    of_file: Mapping[str, Mapping[str, Any]]

    def numbers(self, image_names: Sequence[str], path: str) -> NDArray[np.float64]:
        """Return the numbers at a path.

        Raises:
            ValueError: an image has another value there; the text names the image.
        """
        numbers = []
        for name in image_names:
            value = self._value(name, path)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"the metadata {path} of {name} is {value!r}, which is not a number")
            numbers.append(float(value))
        return np.array(numbers, dtype=np.float64)

    def class_table(self, image_names: Sequence[str], path: str) -> ClassTable:
        """Return each image's class at a path.

        Raises:
            ValueError: an image's value there is not a class; the text names the image.
        """
        values = [self._label(name, path) for name in image_names]
        labels = tuple(sorted(set(values)))
        amounts = np.zeros((len(values), len(labels)))
        amounts[np.arange(len(values)), [labels.index(value) for value in values]] = 1
        return ClassTable(labels, amounts)

    def _label(self, image_name: str, path: str) -> str:
        value = self._value(image_name, path)
        if not isinstance(value, str | int):
            raise ValueError(f"the metadata {path} of {image_name} is {value!r}, which is no category")
        # The keys of a balance's target are JSON strings, so 321 and true become "321" and "true".
        return value if isinstance(value, str) else json.dumps(value)

    def _value(self, image_name: str, path: str) -> Any:
        own_name = own_file_name(image_name)
        # A video's metadata applies to its frames (lightly-ai/lightly, docs/source/docker/advanced/
        # datasource_metadata.rst).
        value: Any = self.of_file.get(own_name) or self.of_file.get(own_file_name(video_of(own_name)), {})
        for key in path.split("."):
            if not isinstance(value, dict) or key not in value:
                return self.entries[path].default
            value = value[key]
        return value


def parse_metadata(content: Any) -> Mapping[str, Any]:
    """Read the JSON of one image's file: its ``metadata`` member.

    Raises:
        ValueError: there is no such member.
    """
    match content:
        case {"file_name": str(), "metadata": dict(metadata)}:
            return metadata
        case _:
            raise ValueError("it has no file_name and metadata")
