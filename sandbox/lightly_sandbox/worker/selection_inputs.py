"""The data that a selection needs in addition to the images, read from the bucket and made numeric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lightly_sandbox.selection.request import (
    CategoryCount,
    ClassDistribution,
    Metadata,
    Randomness,
    Score,
)
from lightly_sandbox.worker.embedding import DIMENSIONS, describe
from lightly_sandbox.worker.material import Material
from lightly_sandbox.worker.objects import embed_objects
from lightly_sandbox.worker.outcome import RunFailed
from lightly_sandbox.worker.own_files import read_metadata, read_task
from lightly_sandbox.worker.parallel import spread
from lightly_sandbox.worker.reading import read_images
from lightly_sandbox.worker.samples import sample_files

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from lightly_sandbox.selection.request import Numbers, Query, SelectionRequest
    from lightly_sandbox.worker.custom_metadata import CustomMetadata
    from lightly_sandbox.worker.job import Job
    from lightly_sandbox.worker.material import ClassTable
    from lightly_sandbox.worker.measurement import Measurement
    from lightly_sandbox.worker.objects import OfEach
    from lightly_sandbox.worker.predictions import TaskPredictions
    from lightly_sandbox.worker.report.contents import Analysed

_COMPUTE_THREADS = 2


@dataclass(frozen=True)
class SelectionInputs:
    """The customer's own data about the files of a run, as far as its selection needs them."""

    request: SelectionRequest
    metadata: CustomMetadata | None
    predictions: Mapping[str, TaskPredictions]

    @classmethod
    def load(cls, job: Job, request: SelectionRequest, file_names: Collection[str]) -> SelectionInputs:
        """Read them.

        Args:
            job: the run, at LOADING_DATASET.
            request: the selection.
            file_names: the files of the run and those of the datapool.

        Raises:
            RunFailed: a file is missing or invalid.
        """
        metadata = None
        if any(isinstance(source, Metadata) and not source.is_measured for source in request.sources):
            job.log.enter("LOADING_METADATA", f"reading the custom metadata of {len(file_names)} files")
            metadata = read_metadata(job, file_names)
        predictions = {}
        for task in sorted(request.prediction_tasks):
            job.log.enter("LOADING_PREDICTION", f"reading the predictions of the task {task}")
            predictions[task] = read_task(job, task, file_names)
        return cls(request, metadata, predictions)

    def material(
        self,
        job: Job,
        images: Analysed,
        of_each: OfEach,
        folder: Path,
    ) -> Material:
        """Compute the data for the strategies.

        Args:
            job: the run, at EMBEDDING.
            images: the analysis of the images.
            of_each: decodes them.
            folder: for the images of queries.

        Raises:
            RunFailed: an image lacks what a strategy needs, or a query's image cannot be read.
        """
        names = images.names
        for predictions in self.predictions.values():
            n_without = sum(not predictions.of(name) for name in names)
            if n_without:
                job.log.say(f"{n_without} of {len(names)} images have no predictions of {predictions.task}")
        queries = {
            query: _embed_query(job, query, folder / f"query-{number}")
            for number, query in enumerate(sorted(self.request.queries, key=str))
        }
        objects = {}
        for task in sorted(self.request.object_tasks):
            job.log.enter("EMBEDDING_OBJECT_CROPS", f"embedding the objects of the task {task}")
            auto_task = next((auto for auto in self.request.auto_tasks if auto.name == task), None)
            objects[task] = embed_objects(auto_task or self.predictions[task], of_each)
        if any(isinstance(source, Score) for source in self.request.sources):
            job.log.enter("COMPUTING_ACTIVE_LEARNING_SCORES", f"scoring {len(names)} images")
        try:
            return Material(
                images.embeddings,
                numbers={
                    strategy.source: self._numbers(strategy.source, names, images.measurements)
                    for strategy in self.request.weights_and_thresholds
                    if not isinstance(strategy.source, Randomness)
                },
                classes={
                    strategy.source: self._classes(strategy.source, names, dict(strategy.target))
                    for strategy in self.request.balances
                },
                queries=queries,
                objects=objects,
            )
        except ValueError as lack:
            raise RunFailed(f"The selection cannot be done: {lack}.") from lack

    def _numbers(
        self, source: Numbers, names: Sequence[str], measurements: Sequence[Measurement]
    ) -> NDArray[np.float64]:
        match source:
            case Metadata(key) if source.is_measured:
                return np.array([found.number(key) for found in measurements], dtype=np.float64)
            case Metadata(key) if self.metadata is not None:
                return self.metadata.numbers(names, key)
            case Score(task, name):
                return self.predictions[task].scores(names, name)
            case CategoryCount(task, categories):
                return self.predictions[task].counts(names, categories)
        raise ValueError(f"{source} is not a number per image")

    def _classes(
        self, source: Metadata | ClassDistribution, names: Sequence[str], target: Collection[str]
    ) -> ClassTable:
        if isinstance(source, ClassDistribution):
            table = self.predictions[source.task].class_table(names)
        elif self.metadata is not None:
            table = self.metadata.class_table(names, source.key)
        else:
            raise ValueError(f"{source} has no classes")
        missing = sorted(set(target) - set(table.labels))
        if missing:
            raise ValueError(f"no image is of the class {missing[0]!r}, which the target names")
        return table


def _embed_query(job: Job, query: Query, folder: Path) -> NDArray[np.float32]:
    dataset_id = query.dataset_id or job.dataset_id
    tag = next((tag for tag in job.platform.tags(dataset_id) if tag["name"] == query.tag_name), None)
    if tag is None:
        raise RunFailed(f"The dataset {dataset_id} has no tag {query.tag_name!r} to be similar to.")
    images, gone = read_images(job.transfer, sample_files(job, dataset_id, [tag]), folder, job.tick)
    for file in gone:
        job.log.say(f"{file.name} of the query cannot be considered: {file.reason}", "WARNING")
    if not images:
        raise RunFailed(
            f"The tag {query.tag_name!r} of the dataset {dataset_id} has no image to be similar to."
        )
    embeddings = spread(
        lambda image: describe(image.decode()), images, threads=_COMPUTE_THREADS, tick=job.tick
    )
    return np.array(embeddings, dtype=np.float32).reshape(-1, DIMENSIONS)
