"""Downloads the files that a run created: its report, its logs, its lists of files."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider.contract import ErrorCode, RunState
from lightly_provider.exceptions import (
    LightlyConnectionError,
    LightlyDestinationError,
    LightlyError,
    LightlyNotFoundError,
    LightlyResponseError,
    LightlyRunError,
)
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from lightly_provider.api.models.run import Artifact, Run
    from lightly_provider.hooks.lightly import LightlyHook
    from lightly_provider.results.destinations import Destination
    from lightly_provider.runs.follower import Log

# A connection that broke is made again, with a new address; then Airflow's retries continue with what is missing.
_MOST_ATTEMPTS = 3
# What may become part of a path or key. The platform's name is untrusted.
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._=@()-]{0,150}")


@dataclass(frozen=True, kw_only=True)
class SavedArtifact:
    """
    A file that is at the destination.

    :param type: The artifact's type.
    :param uri: Address of the file.
    :param bytes: Its size.
    :param sha256: Its SHA-256, in hexadecimal; None: it was there, and was not read again.
    """

    type: str
    uri: str
    bytes: int
    sha256: str | None

    @property
    def is_new(self) -> bool:
        """Whether it was downloaded now."""
        return self.sha256 is not None

    def as_dict(self) -> dict[str, Any]:
        """Return the members as JSON, with ``downloaded``."""
        return {
            "type": self.type,
            "uri": self.uri,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "downloaded": self.is_new,
        }


def wanted_artifacts(run: Run, types: Collection[str] | None) -> list[Artifact]:
    """
    Return the artifacts to download, each once.

    :param run: The run.
    :param types: Their types; None: all.
    :raises LightlyRunError: The run has not ended, so that it may create more of them.
    :raises LightlyNotFoundError: The run has none of a type.
    """
    state = RunState.parse(run.state)
    if state is None or not state.is_terminal:
        raise LightlyRunError(
            f"Run {run.id} is {shown(run.state, longest=100)}, and its files are complete only when it has ended; "
            "put this task after the one that waits for the run.",
            scheduled_run_id=run.scheduled_id or "",
            run_id=run.id,
        )
    artifacts = list({artifact.id: artifact for artifact in run.artifacts}.values())
    if types is None:
        return artifacts
    present = {artifact.type for artifact in artifacts}
    if missing := [kind for kind in types if kind not in present]:
        listed = ", ".join(sorted(shown(kind, longest=100) for kind in present)) or "none"
        raise LightlyNotFoundError(
            f"Run {run.id}, which ended as {state}, left no {' and no '.join(missing)}; its files: {listed}. Nothing "
            "was downloaded; leave the types out to get all that there are.",
            operation="get_docker_run_by_id",
        )
    return [artifact for artifact in artifacts if artifact.type in types]


def names_of_files(artifacts: Sequence[Artifact]) -> dict[str, str]:
    """
    Return the file name for each artifact's id: the platform's, if that is safe and unique, also among the names that
    are made; else one made of its type and its id.

    :param artifacts: The artifacts, each once.
    """
    # Some file systems do not distinguish upper and lower case.
    counts = Counter(artifact.file_name.casefold() for artifact in artifacts)
    # A made name holds the id, so that two of them differ.
    made = {artifact.id: _name_of_its_own(artifact) for artifact in artifacts}
    counts.update(name.casefold() for name in made.values())
    return {
        artifact.id: artifact.file_name
        if _SAFE_NAME.fullmatch(artifact.file_name) and counts[artifact.file_name.casefold()] == 1
        else made[artifact.id]
        for artifact in artifacts
    }


def _name_of_its_own(artifact: Artifact) -> str:
    kind = artifact.type.lower() if re.fullmatch(r"[A-Z0-9_]{1,100}", artifact.type) else "artifact"
    suffix = re.search(r"\.[A-Za-z0-9]{1,10}$", artifact.file_name)
    return f"{kind}-{artifact.id}{suffix[0] if suffix else ''}"


def save_artifacts(
    hook: LightlyHook,
    run: Run,
    artifacts: Sequence[Artifact],
    destination_of: Callable[[str], Destination],
    *,
    skip_unavailable: bool,
    log: Log,
    is_killed: Callable[[], bool],
) -> list[SavedArtifact]:
    """
    Download artifacts one after another, each whole or not at all; one that is there already is not read.

    A file is there if it has the size that the storage announces. That is safe here, and only here: the path contains
    the run's id, a run that has ended does not change its files, and no part of a file is ever visible.

    :param hook: The hook on the platform.
    :param run: The run, which has ended.
    :param artifacts: The artifacts, from :func:`wanted_artifacts`.
    :param destination_of: Returns the destination of a file name.
    :param skip_unavailable: Whether to go on if a file was announced and never uploaded; a warning is logged.
    :param log: The task's log.
    :param is_killed: Returns whether the task was killed, so that it must end.
    """
    names = names_of_files(artifacts)
    destinations = {artifact.id: destination_of(names[artifact.id]) for artifact in artifacts}
    for destination in list(destinations.values())[:1]:
        destination.check()
    saved = []
    for artifact in artifacts:
        try:
            one = _save(hook, run, artifact, destinations[artifact.id], log, is_killed)
        except LightlyNotFoundError as error:
            if not skip_unavailable or error.code != ErrorCode.DOCKER_RUN_ARTIFACT_UNAVAILABLE:
                raise
            log.warning("%s of run %s was announced and never uploaded.", shown(artifact.type, longest=100), run.id)
            continue
        log.info(
            "%s %s (%d bytes): %s",
            "Downloaded" if one.is_new else "Already there:",
            shown(artifact.type, longest=100),
            one.bytes,
            shown(one.uri),
        )
        saved.append(one)
    return saved


def _save(
    hook: LightlyHook, run: Run, artifact: Artifact, destination: Destination, log: Log, is_killed: Callable[[], bool]
) -> SavedArtifact:
    kind = shown(artifact.type, longest=100)
    attempt = 1
    while True:
        try:
            with hook.open_artifact(run.id, artifact.id) as download:
                present = _size_there(destination, log)
                if present is not None and present == download.size:
                    return SavedArtifact(type=kind, uri=destination.uri, bytes=present, sha256=None)
                with destination.open() as file:
                    for piece in download.pieces():
                        if is_killed():
                            raise LightlyError(f"The task was killed; {kind} of run {run.id} was not written.")
                        file.write(piece)
            return SavedArtifact(type=kind, uri=file.uri, bytes=file.bytes, sha256=file.sha256)
        except (LightlyConnectionError, LightlyResponseError) as error:
            is_transient = isinstance(error, LightlyConnectionError) or (error.status or 0) >= 500
            if not is_transient or attempt == _MOST_ATTEMPTS:
                raise
            log.warning("%s of run %s: %s Trying again.", kind, run.id, error)
            attempt += 1


def _size_there(destination: Destination, log: Log) -> int | None:
    try:
        return destination.size()
    except LightlyDestinationError as error:
        # S3 refuses to say that an object is missing to whom may not list the bucket; to write it again is safe.
        log.info("Whether the file is there already is not known, so it is downloaded: %s", error)
        return None
