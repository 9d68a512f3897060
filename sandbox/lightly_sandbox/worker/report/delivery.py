"""Uploads a run's artifacts: the report in two formats, lists of files, and its logs."""

from __future__ import annotations

import contextlib
import importlib
import json
import threading
import time
from typing import TYPE_CHECKING

from lightly_sandbox.worker.report.contents import RunFacts, build_report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lightly_sandbox.worker.job import Job
    from lightly_sandbox.worker.report.contents import Findings


def begin_loading() -> None:
    """Import the drawing library, which takes seconds, while the run waits for files and responses.

    An error occurs again when the report is drawn.
    """

    def load() -> None:
        with contextlib.suppress(Exception):
            importlib.import_module("lightly_sandbox.worker.report.pdf")

    threading.Thread(target=load, name="report", daemon=True).start()


def deliver_report(job: Job, dataset_name: str, findings: Findings) -> None:
    """Draw up the report, as REPORT_V2_JSON and as REPORT_PDF, and upload it."""
    job.log.enter("GENERATING_REPORT", "drawing the report")
    # matplotlib is large, so load it only during a run.
    from lightly_sandbox.worker.report.pdf import draw_report

    facts = RunFacts(
        run_id=job.run_id,
        dataset_id=job.dataset_id,
        dataset_name=dataset_name,
        worker_version=job.worker_version,
        started=job.started,
        ended=time.time(),
    )
    report = build_report(
        facts,
        findings.images,
        findings.selected,
        len(findings.corrupt),
        findings.n_duplicates,
        findings.video_sizes,
    )
    job.tick()
    drawn = draw_report(facts, findings)
    job.tick()
    job.log.enter("UPLOADING_REPORT", "uploading the report")
    job.upload("REPORT_V2_JSON", "report_v2.json", json.dumps(report).encode())
    job.upload("REPORT_PDF", "report.pdf", drawn)
    job.log.enter("UPLOADED_REPORT", "the report is uploaded")


def deliver_artifacts(job: Job, lists: Iterable[tuple[str, str, bytes]]) -> None:
    """Upload lists of files (type, file name and content of each), and the logs so far."""
    job.log.enter("UPLOADING_ARTIFACTS", "uploading lists of files and logs")
    for kind, file_name, content in lists:
        job.upload(kind, file_name, content)
    job.upload_logs()
    job.log.enter("UPLOADED_ARTIFACTS", "lists of files and logs are uploaded")


def corruptness_check(corrupt_samples: Mapping[str, str], corrupt_videos: Mapping[str, str]) -> bytes:
    """Return the content of CORRUPTNESS_CHECK_INFORMATION (docs.lightly.ai, "Corruptness Check Information").

    Args:
        corrupt_samples: the reason for each image or frame that does not decode. The real worker names an
            exception's class; this one uses Pillow's message.
        corrupt_videos: the same for whole videos.
    """
    found = {"corrupt_samples": dict(corrupt_samples), "corrupt_videos": dict(corrupt_videos)}
    return json.dumps(found, indent=2, ensure_ascii=False).encode()


def relevant_filenames(names: Iterable[str]) -> bytes:
    """Return the content of RELEVANT_FILENAMES: a name of an input file on each line.

    The contract has the artifact and a listing restricted to it (lightly 1.5.26, api/datasources_api.py), but
    does not define its content. The format is that of a relevant-filenames file, so that it can serve as one.
    """
    return "".join(f"{name}\n" for name in names).encode()
