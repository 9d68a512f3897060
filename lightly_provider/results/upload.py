"""
Write staged files into a folder of Lightly's, in the order in which nobody sees half of them.

First the file of each sample, then the schema, and last the name of the task in ``tasks.json``: the platform and the
worker consider only tasks that are listed there. What is there with the same content is not written again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightly_provider.exceptions import LightlyInvalidFilesError, LightlySourceError
from lightly_provider.foreign_text import shown
from lightly_provider.results.faults import N_NAMED
from lightly_provider.results.own_files import SCHEMA_FILE, TASKS_FILE, encoded, parsed
from lightly_provider.results.parallel import spread
from lightly_provider.results.staging import State

if TYPE_CHECKING:
    from lightly_provider.results.lightly_folder import LightlyFolder
    from lightly_provider.results.staging import StagedFile, Staging
    from lightly_provider.runs.follower import Log

_PROGRESS = 10_000
_TRIES = 20


@dataclass(frozen=True)
class Matched:
    """The numbers of files with and without a match in the input, and the first without."""

    matched: int
    unmatched: int
    examples: list[str]


def match(
    staging: Staging, folder: LightlyFolder, *, if_unmatched: str, has_frames: bool, what: str, log: Log
) -> Matched:
    """
    Match the staged files with the dataset's input, and treat those without a match as asked for.

    :param staging: The files.
    :param folder: Folder of the dataset.
    :param if_unmatched: ``skip`` them with a warning, ``upload`` them with a warning, or ``fail``.
    :param has_frames: Whether the input has videos, whose frames have files of their own.
    :param what: What the files are, for messages: ``predictions`` or ``metadata``.
    :param log: Log of the task.
    :raises LightlyInvalidFilesError: There are files without a match, and ``if_unmatched`` is ``fail``; or no file has
        one, unless it is ``upload``; or it is not known which file one is about. Nothing was written.
    """
    staging.match(folder.input_files(), has_frames=has_frames)
    count, examples = staging.unmatched(N_NAMED)
    named = ", ".join(shown(name, longest=200) for name in examples) + (", …" if count > len(examples) else "")
    if count:
        matter = f"{count} of {staging.count} files of {what} are about files that are not in the datasource: {named}"
        if if_unmatched == "fail" or (if_unmatched == "skip" and count == staging.count):
            raise LightlyInvalidFilesError(
                f"{matter}. Nothing was written. Names are relative to the input datasource, with their extension; "
                "check them (filename_prefix adds a folder), or set if_unmatched."
            )
        if if_unmatched == "skip":
            log.warning("%s; they are left out.", matter)
            staging.leave_out_unmatched()
        else:
            log.warning("%s; they are uploaded.", matter)
            if nameless := staging.nameless(N_NAMED):
                raise LightlyInvalidFilesError(
                    f"The format does not say the extension of {shown(nameless[0], longest=200)}, which is not in the "
                    "datasource, so it cannot be uploaded; set if_unmatched to 'skip'. Nothing was written."
                )
    if rivals := staging.rivals(N_NAMED):
        log.warning(
            "Images in the datasource have the same name but for its extension, which the format does not say: %s. "
            "Lightly has one file of %s for both, which is written as that of the first.",
            ", ".join(f"{shown(taken, longest=200)} and {shown(other, longest=200)}" for taken, other in rivals),
            what,
        )
    return Matched(staging.count - count, count, examples)


def write_files(staging: Staging, folder: LightlyFolder, subfolder: str, *, log: Log) -> tuple[int, int]:
    """
    Write the files that are missing or different.

    :param staging: The files.
    :param folder: Folder.
    :param subfolder: Folder below it, with a trailing slash; empty: itself.
    :param log: Log of the task.
    :return: Number of written, and of unchanged files.
    """
    staging.compare(folder.present(subfolder))
    written, unchanged = 0, staging.n_unchanged()

    def put(file: StagedFile) -> bool:
        name = subfolder + file.name
        if file.state is State.UNCERTAIN:
            found = folder.read(name)
            if found is not None and found.content == file.content:
                return False
        folder.write(name, file.content)
        return True

    for is_written in spread(put, staging.to_write(), threads=folder.threads):
        written += is_written
        unchanged += not is_written
        if (written + unchanged) % _PROGRESS == 0:
            log.info("%d files are written, %d were unchanged.", written, unchanged)
    return written, unchanged


def write_schema(folder: LightlyFolder, name: str, content: Any) -> bool:
    """Write a schema unless it is there already, and return whether it was written."""
    wanted = (encoded(content) + "\n").encode()
    found = folder.read(name)
    if found is not None and _json_of(found.content) == content:
        return False
    folder.write(name, wanted)
    return True


def read_json(folder: LightlyFolder, name: str) -> Any:
    """
    Return the parsed content of a file; None if there is none.

    :raises LightlySourceError: It is not JSON.
    """
    found = folder.read(name)
    if found is None:
        return None
    try:
        return parsed(found.content)
    except ValueError as error:
        raise LightlySourceError(
            f"{shown(folder.uri + name)} cannot be read: {error}; repair it, or remove it."
        ) from None


def _json_of(content: bytes) -> Any:
    try:
        return parsed(content)
    except ValueError:
        return None


def add_task(folder: LightlyFolder, task_name: str) -> bool:
    """
    Add a task to ``tasks.json``, so that the platform and the worker consider it.

    Read, add, write on the condition that nobody else has written, and read again: the task is listed when this
    returns, and a task that another process adds at the same time is kept. Where the storage does not support
    conditional writes, two processes that add tasks within the same moment can lose one of them; each then notices
    that its own is missing, and adds it again.

    :param folder: The folder of the predictions.
    :param task_name: Name of the task.
    :return: Whether it was added; False: it was listed.
    :raises LightlySourceError: ``tasks.json`` is not a list, or changes all the time.
    """
    for n_tries in range(_TRIES):
        found = folder.read(TASKS_FILE)
        tasks = _tasks_of(found.content, folder) if found is not None else []
        if task_name in tasks:
            return n_tries > 0
        folder.replace(TASKS_FILE, (encoded([*tasks, task_name]) + "\n").encode(), found)
    raise LightlySourceError(
        f"The task {task_name!r} could not be added to {shown(folder.uri)}{TASKS_FILE}: other processes change it all "
        "the time; run the task again."
    )


def _tasks_of(content: bytes, folder: LightlyFolder) -> list[str]:
    tasks = _json_of(content)
    if not isinstance(tasks, list) or not all(isinstance(name, str) for name in tasks):
        raise LightlySourceError(
            f"{shown(folder.uri)}{TASKS_FILE} is not a JSON list of the names of tasks; repair it, or remove it."
        )
    return tasks


# The file of a sample must not be that of the schema.
RESERVED = frozenset({SCHEMA_FILE})
