"""What a run found out, read from its artifacts: the report's numbers, the embedding, and what was left out.

The artifacts are a worker's, which may be one of the user's own: everything in them is checked, and what is
missing or of another shape is left out.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from lightly_sandbox.contract.enums import DockerRunArtifactType

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightly_sandbox.platform.s3_access import Place

log = logging.getLogger(__name__)

LARGEST_ARTIFACT = 64 * 1024 * 1024
KEPT = 16

T = TypeVar("T")

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Point = tuple[_Number, _Number]


class _Member(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class Sizes(_Member):
    """How many images a run considered, and what became of them."""

    n_input: int
    n_corrupt: int
    n_duplicate: int
    n_removed: int
    n_selected: int
    n_preselected_datapool: int = 0


class Pair(_Member):
    """A selected image and the most similar one that was left out; ``distance`` is of their embeddings."""

    selected: str = Field(alias="selectedImage")
    left_out: str = Field(alias="removedImage")
    distance: _Number


class _Places(_Member):
    input: list[_Point] = Field(alias="input2dEmbeddings")
    datapool: list[_Point] = Field(default=[], alias="datapool2dEmbeddings")
    selected: list[_Point] = Field(alias="selectedExcludingDatapool2dEmbeddings")


class _Plots(_Member):
    pca: _Places | None = Field(default=None, alias="pcaEmbeddingData")


class _Embedding(_Member):
    scatter_plot_data: _Plots = _Plots()


class _Analysis(_Member):
    embedding_information: _Embedding = _Embedding()


class _Dataset(_Member):
    dataset_sizes: Sizes


class _General(_Member):
    dataset_information: _Dataset
    pairs: list[Pair] = Field(default=[], alias="selectedAndRemovedImageExamples")


class Report(_Member):
    """What the pages show of a REPORT_V2_JSON."""

    general_information: _General
    dataset_analysis: _Analysis = _Analysis()


class _Corruptness(BaseModel):
    corrupt_samples: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known about the images that a run considered.

    ``considered`` are the names of the images at ``places``, in the same order; empty if the artifacts do not
    name them (frames of videos) or do not agree with each other.
    """

    sizes: Sizes | None = None
    pairs: tuple[Pair, ...] = ()
    places: tuple[tuple[float, float], ...] = ()
    datapool_places: tuple[tuple[float, float], ...] = ()
    selected_places: tuple[tuple[float, float], ...] = ()
    considered: tuple[str, ...] = ()
    corrupt: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, report: bytes | None, relevant: bytes | None, corruptness: bytes | None) -> Findings:
        """Read a run's artifacts; each may be missing."""
        said = _parsed(Report, report)
        corrupt = _parsed(_Corruptness, corruptness)
        corrupt_samples = {} if corrupt is None else corrupt.corrupt_samples
        names = [] if relevant is None else relevant.decode(errors="replace").split("\n")[:-1]
        readable = tuple(name for name in names if name not in corrupt_samples)
        if said is None:
            return cls(considered=readable, corrupt=corrupt_samples)
        pca = said.dataset_analysis.embedding_information.scatter_plot_data.pca
        places: tuple[tuple[float, float], ...] = () if pca is None else tuple(pca.input)
        sizes = said.general_information.dataset_information.dataset_sizes
        # A video is one file and many images; a name may contain a line break; a file may have gone.
        agree = len(readable) == sizes.n_input - sizes.n_corrupt and len(places) in (0, len(readable))
        return cls(
            sizes=sizes,
            # The most similar first: near-duplicates.
            pairs=tuple(sorted(said.general_information.pairs, key=lambda pair: pair.distance)),
            places=places,
            datapool_places=() if pca is None else tuple(pca.datapool),
            selected_places=() if pca is None else tuple(pca.selected),
            considered=readable if agree else (),
            corrupt=corrupt_samples,
        )


def _parsed(kind: type[Any], content: bytes | None) -> Any:
    if content is None:
        return None
    try:
        return kind.model_validate_json(content)
    except ValidationError as other:
        log.info("An artifact is no %s: %s problems", kind.__name__, other.error_count())
        return None


NEEDED = (
    DockerRunArtifactType.REPORT_V2_JSON,
    DockerRunArtifactType.RELEVANT_FILENAMES,
    DockerRunArtifactType.CORRUPTNESS_CHECK_INFORMATION,
)
"""The types of artifacts that ``Findings.of`` reads, in its order."""


class Shelf:
    """Keeps what was worked out last for some keys; a key has everything that the value depends on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], Any] = OrderedDict()

    def get(self, key: tuple[str, ...], make: Callable[[], T]) -> T:
        """Return the value under ``key``; ``make`` makes it the first time."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                found: T = self._kept[key]
                return found
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return made


def read_object(place: Place, path: str, largest: int = LARGEST_ARTIFACT) -> bytes | None:
    """Return a file's content; None if it is not there, may not be read, or is larger than ``largest``."""
    try:
        answer = place.client.get_object(Bucket=place.location.bucket, Key=place.location.key(path))
        with answer["Body"] as body:
            if answer["ContentLength"] > largest:
                return None
            content: bytes = body.read()
    except (ClientError, BotoCoreError) as refused:
        log.info("%s cannot be read: %s", place.location.uri(path), type(refused).__name__)
        return None
    return content
