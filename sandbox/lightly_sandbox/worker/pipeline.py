"""The steps of a run: list, read, measure, embed, select, publish, report."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from lightly_sandbox.worker.analysis import analyse, of_each, open_images
from lightly_sandbox.worker.outcome import RunAborted, RunFailed
from lightly_sandbox.worker.plan import RunPlan, plan_run
from lightly_sandbox.worker.publishing import output_among, publish_samples, publish_tag
from lightly_sandbox.worker.reading import RemoteFile, read_images
from lightly_sandbox.worker.report.contents import Findings
from lightly_sandbox.worker.report.delivery import (
    begin_loading,
    corruptness_check,
    deliver_artifacts,
    deliver_report,
    relevant_filenames,
)
from lightly_sandbox.worker.samples import sample_files
from lightly_sandbox.worker.selection import select, shortfalls
from lightly_sandbox.worker.selection_inputs import SelectionInputs
from lightly_sandbox.worker.sequences import Sequences, sequence_information
from lightly_sandbox.worker.video_sizes import video_level_sizes
from lightly_sandbox.worker.videos import LocalVideo, read_videos

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lightly_sandbox.worker.job import Job
    from lightly_sandbox.worker.material import Material
    from lightly_sandbox.worker.reading import Unreadable
    from lightly_sandbox.worker.sources import Candidate, Source


class Pipeline:
    """The steps of one run; each reports its state to the platform."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def run(self, folder: Path) -> str:
        """Do the work.

        Args:
            folder: an empty folder for the files' contents.

        Returns:
            A sentence about the result for the run's owner.

        Raises:
            RunFailed: the run cannot be done.
            RunAborted: the run must not be done.
        """
        self._job.log.enter("INITIALIZING", "reading the worker config")
        dataset = self._job.platform.dataset(self._job.dataset_id)
        stored = self._job.platform.config(self._job.config_id)
        if stored["version"] != "V4":
            raise RunFailed(
                f"The worker config is of version {stored['version']}; the worker understands V4 only."
            )
        plan = plan_run(dataset["type"], stored["config"])
        for remark in plan.remarks:
            self._job.log.say(remark, "WARNING")
        datasources = self._job.platform.datasources(self._job.dataset_id)
        tags = self._job.platform.tags(self._job.dataset_id)
        if tags and not plan.use_datapool:
            # lightly-ai/lightly changelog, worker 2.11: without use_datapool the dataset must be empty.
            raise RunAborted(
                f"The dataset {dataset['name']!r} is not empty (it has the tag {tags[-1]['name']!r}) and the"
                " run does not use the datapool. Set use_datapool to add to the dataset, or use a new"
                " dataset."
            )
        input_path = _input_path(datasources)
        if not plan.bypass_verify:
            self._verify(plan, datasources)

        self._job.log.enter("LOADING_DATASET", "listing the files in the datasource")
        until = int(time.time())
        datapool = self._datapool(tags)
        files = self._new_files(plan, until, input_path, frozenset(file.name for file in datapool))
        if not files:
            # The real worker's behavior here is not documented. An unchanged bucket is normal for a scheduled
            # pipeline and no failure, so this is a success without a tag.
            deliver_artifacts(self._job, ())
            return "no new files since the last run: nothing was selected"

        if plan.upload_report:
            begin_loading()
        inputs = SelectionInputs.load(self._job, plan.selection, {file.name for file in (*files, *datapool)})
        self._job.log.enter(
            "CHECKING_CORRUPTNESS", f"reading {len(files)} new files and {len(datapool)} of the datapool"
        )
        # Frames that were selected from videos before are image files now.
        pool, gone = read_images(self._job.transfer, datapool, folder / "datapool", self._job.tick)
        for file in gone:
            self._job.log.say(f"{file.name} of the datapool cannot be considered: {file.reason}", "WARNING")
        new, corrupt = self._readable(plan, files, folder / "new")

        candidates = _candidates([*pool, *new], len(pool), frozenset(file.name for file in datapool))
        what = _named(plan, len(candidates) - len(pool), len(new))
        images, n_duplicates = analyse(self._job, candidates, len(pool))
        material = inputs.material(
            self._job,
            images,
            lambda compute: of_each(
                self._job, candidates, lambda candidate, image: compute(candidate.name, image)
            ),
            folder,
        )
        self._job.log.enter("SAMPLING", f"selecting from {what} with {len(pool)} selected before")
        selected = self._select(plan, candidates, material, len(pool))
        summary = f"selected {len(selected)} of {what}"
        self._job.log.say(summary)

        self._job.log.enter("SAVING_RESULTS", "writing the lists of files")
        corrupt_samples, corruptness = _corruptness(plan, new, corrupt)
        considered = relevant_filenames(file.name for file in files)
        lists = [corruptness, ("RELEVANT_FILENAMES", "relevant_filenames.txt", considered)]
        if plan.sequence_length > 1:
            found = sequence_information([candidates[row] for row in selected], plan.sequence_length)
            content = json.dumps(found).encode()
            lists.append(("SEQUENCE_INFORMATION", "sequence_information.json", content))
        if selected:
            self._job.log.enter("UPLOADING_DATASET", f"adding {len(selected)} samples to the dataset")
            sample_ids = publish_samples(
                self._job.platform,
                self._job.transfer,
                self._job.dataset_id,
                [(candidates[row], images.measurements[row]) for row in selected],
                output_among(datasources),
                self._job.tick,
            )
            tag_name = publish_tag(self._job.platform, self._job.dataset_id, self._job.run_id, sample_ids)
            summary += f" into the tag {tag_name!r}"
        videos = [source for source in new if isinstance(source, LocalVideo)]
        video_sizes = None
        if plan.is_video:
            video_sizes = video_level_sizes(
                videos, len(corrupt), [candidates[row] for row in selected], [image.name for image in pool]
            )
        if plan.upload_report:
            findings = Findings(
                images=images,
                selected=selected,
                corrupt=corrupt_samples,
                corrupt_videos=corrupt if plan.is_video else {},
                n_duplicates=n_duplicates,
                video_sizes=video_sizes,
                selection=stored["config"]["selection"],
                open_images=lambda rows: open_images(self._job, candidates, rows),
            )
            deliver_report(self._job, dataset["name"], findings)
        deliver_artifacts(self._job, lists)
        # Do this last: if a run ends before this, the next one reads its files again.
        self._job.platform.set_processed_until(self._job.dataset_id, until)
        return summary + (f"; {len(corrupt)} files were corrupt" if corrupt else "")

    def _verify(self, plan: RunPlan, datasources: Sequence[dict[str, Any]]) -> None:
        """Fail the run early if the platform lacks a permission that the run needs.

        That the real worker does this follows from its setting bypass_verify; which permissions it demands is
        a guess. With two datasources, the light for write may be about INPUT, which needs no such right.
        """
        needed = {"List": "s3:ListBucket", "Read": "s3:GetObject"}
        is_common = [datasource["purpose"] for datasource in datasources] == ["INPUT_OUTPUT"]
        if is_common and (plan.is_video or output_among(datasources).thumb_suffix is not None):
            needed["Write"] = "s3:PutObject"
        lights = self._job.platform.verify(self._job.dataset_id)
        errors = lights.get("errors") or {}
        missing = [
            f"{light.lower()} ({action}; {errors.get(f'can{light}', 'without a reason')})"
            for light, action in needed.items()
            if not lights[f"can{light}"]
        ]
        if missing:
            raise RunFailed(
                f"The verification of the datasources failed: the platform may not {'; '.join(missing)}."
                " Grant these permissions, or set docker.datasource.bypassVerify if only the worker has them,"
                " inside a closed network."
            )

    def _datapool(self, tags: Sequence[dict[str, Any]]) -> list[RemoteFile]:
        """Find what earlier runs selected. The real worker stores embeddings; this one reads files again."""
        return sample_files(self._job, self._job.dataset_id, tags)

    def _new_files(
        self, plan: RunPlan, until: int, input_path: str, known: frozenset[str]
    ) -> list[RemoteFile]:
        processed_until = 0 if plan.process_all else self._job.platform.processed_until(self._job.dataset_id)
        since = processed_until + 1 if processed_until else 0
        # A second run within one second would request a time in the future.
        listed = (
            self._job.platform.files(self._job.dataset_id, since, until, plan.relevant_filenames)
            if since <= until
            else ()
        )
        files = [RemoteFile(name, read_url) for name, read_url in sorted(listed) if name not in known]
        if not files and not processed_until and not known:
            kind = "videos" if plan.is_video else "images"
            among = f" among those that {plan.relevant_filenames} names" if plan.relevant_filenames else ""
            raise RunFailed(
                f"There are no {kind} at all under {input_path}{among}. Check the datasource's path and that"
                f" the {kind} are there."
            )
        return files

    def _readable(
        self, plan: RunPlan, files: Sequence[RemoteFile], folder: Path
    ) -> tuple[Sequence[Source], dict[str, str]]:
        sources, unreadable = self._read(plan, files, folder)
        for file in unreadable:
            self._job.log.say(f"{file.name} is left out: {file.reason}", "WARNING")
        corrupt = {file.name: file.reason for file in unreadable if file.is_corrupt}
        if len(corrupt) > plan.corruption_threshold * len(files):
            # The run's owner needs this list most if it is the run's only result.
            self._job.upload(*_corruptness(plan, sources, corrupt)[1])
            raise RunFailed(
                f"{len(corrupt)} of {len(files)} files are corrupt, more than the"
                f" {plan.corruption_threshold:.0%} that corruptness_check.corruption_threshold allows. The"
                f" first one is {next(iter(corrupt))}; the log names"
                " them all."
            )
        return sources, corrupt

    def _read(
        self, plan: RunPlan, files: Sequence[RemoteFile], folder: Path
    ) -> tuple[Sequence[Source], Sequence[Unreadable]]:
        if not plan.is_video:
            return read_images(self._job.transfer, files, folder, self._job.tick, plan.input_expiration)
        videos, unreadable = read_videos(
            self._job.transfer, files, folder, plan.frame_format, self._job.tick, plan.input_expiration
        )
        for video in videos:
            if video.damaged:
                self._job.log.say(
                    f"{len(video.damaged)} of the {len(video.frames)} frames of {video.name} are damaged and"
                    " are left out",
                    "WARNING",
                )
        return videos, unreadable

    def _select(
        self, plan: RunPlan, candidates: Sequence[Candidate], material: Material, n_datapool: int
    ) -> list[int]:
        if plan.sequence_length == 1:
            selected = select(plan.selection, material, n_datapool)
        else:
            sequences = Sequences.of(candidates, n_datapool, plan.sequence_length)
            of_sequences = material.joined(sequences.groups)
            selected = sequences.rows(select(sequences.request(plan.selection), of_sequences, n_datapool))
        for shortfall in shortfalls(plan.selection, material, selected):
            self._job.log.say(shortfall, "WARNING")
        return selected


def _input_path(datasources: Sequence[dict[str, Any]]) -> str:
    for datasource in datasources:
        if datasource["purpose"] in ("INPUT", "INPUT_OUTPUT"):
            return str(datasource["fullPath"])
    raise RunFailed(
        "The dataset has no datasource to read from. Configure one of purpose INPUT or INPUT_OUTPUT."
    )


def _corruptness(
    plan: RunPlan, sources: Sequence[Source], corrupt: Mapping[str, str]
) -> tuple[Mapping[str, str], tuple[str, str, bytes]]:
    """Return the corrupt images or frames, and the artifact about them and about whole videos."""
    damaged: Mapping[str, str] = corrupt
    if plan.is_video:
        videos = [source for source in sources if isinstance(source, LocalVideo)]
        damaged = {
            name: "the decoder could only guess it" for video in videos for name in video.damaged_names()
        }
    content = corruptness_check(damaged, corrupt if plan.is_video else {})
    return damaged, ("CORRUPTNESS_CHECK_INFORMATION", "corruptness_check_information.json", content)


def _candidates(sources: Sequence[Source], n_datapool: int, known: frozenset[str]) -> list[Candidate]:
    """Return the candidates of the datapool's sources, then those of the new sources that it lacks."""
    old = [candidate for source in sources[:n_datapool] for candidate in source.candidates()]
    new = [candidate for source in sources[n_datapool:] for candidate in source.candidates()]
    return old + [candidate for candidate in new if candidate.name not in known]


def _named(plan: RunPlan, n_candidates: int, n_sources: int) -> str:
    if not plan.is_video:
        return f"{n_candidates} images"
    return f"{n_candidates} frames of {n_sources} video{'' if n_sources == 1 else 's'}"
