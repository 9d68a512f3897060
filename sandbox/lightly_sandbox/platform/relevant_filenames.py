"""The relevant-filenames file, which restricts a listing to some of the input's files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from lightly_sandbox.platform.listing import IMAGE_SUFFIXES, VIDEO_SUFFIXES

if TYPE_CHECKING:
    from lightly_sandbox.platform.s3_access import Place

MAX_BYTES = 100_000_000

_FRAME = re.compile(r"(?P<video>.+)-[0-9]+-(?P<suffix>[a-z0-9]+)")
_WILD = re.compile(r"[*?\[]")
_TOKEN = re.compile(r"/\*\*/|\*\*/|/\*\*|\*\*|\*|\?|\[!?[^\]]+\]|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RelevantFilenames:
    """Paths and patterns, relative to the input's path. A pattern is one of gitignore's."""

    names: frozenset[str]
    patterns: tuple[re.Pattern[str], ...]

    @classmethod
    def parse(cls, text: str) -> RelevantFilenames:
        """Read one path or pattern per line; ignore blank lines.

        Raises:
            ValueError: a line is an absolute path or leads out of the input (docs.lightly.ai, Relevant
                filenames).
        """
        lines = [line for line in (line.rstrip("\r") for line in text.split("\n")) if line.strip()]
        for line in lines:
            if line.startswith(("/", "./", "../")):
                raise ValueError(f"the line '{line}' is not relative to the input's path")
        return cls(
            frozenset(line for line in lines if not _WILD.search(line)),
            tuple(_pattern(line) for line in lines if _WILD.search(line)),
        )

    def has(self, file_name: str) -> bool:
        """Whether the file matches, or is below a folder that a pattern matches."""
        return file_name in self.names or any(pattern.fullmatch(file_name) for pattern in self.patterns)


def is_of_relevant(json_name: str, relevant: RelevantFilenames) -> bool:
    """Whether a file of predictions or metadata belongs to a relevant input file.

    It is named after its input (docs.lightly.ai, Prediction format): ``a/b.json`` for ``a/b.jpg``, and
    ``a/b-0001-mp4.json`` for a frame of ``a/b.mp4``.
    """
    stem = json_name.removesuffix(".json")
    frame = _FRAME.fullmatch(stem)
    names = [f"{stem}{suffix}" for suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
    if frame is not None:
        names.append(f"{frame['video']}.{frame['suffix']}")
    return any(relevant.has(name) for name in names)


def read_relevant_filenames(place: Place, file_name: str) -> RelevantFilenames:
    """Read the file at ``file_name`` below the folder of Lightly's own files.

    Raises:
        ValueError: it cannot be read, is not text, or has an invalid line.
    """
    try:
        answer = place.client.get_object(Bucket=place.location.bucket, Key=place.location.key(file_name))
        if answer["ContentLength"] > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        raw = answer["Body"].read()
    except (ClientError, BotoCoreError) as refused:
        raise ValueError(f"it cannot be read: {refused}") from refused
    return RelevantFilenames.parse(raw.decode("utf-8"))


def _pattern(line: str) -> re.Pattern[str]:
    """Convert gitignore's wildcards (git docs: gitignore, pattern format), relative to the input's path."""
    parts = []
    for token in _TOKEN.findall(line.rstrip("/")):
        match token:
            case "/**/":
                parts.append("/(?:.*/)?")
            case "**/":
                parts.append("(?:.*/)?")
            case "/**":
                parts.append("/.*")
            case "**":
                parts.append(".*")
            case "*":
                parts.append("[^/]*")
            case "?":
                parts.append("[^/]")
            case _ if len(token) > 1:
                inside = token[1:-1].replace("\\", r"\\")
                parts.append(f"[{'^' + inside[1:] if inside.startswith('!') else inside}]")
            case _:
                parts.append(re.escape(token))
    try:
        return re.compile(f"{''.join(parts)}(?:/.*)?", re.DOTALL)
    except re.error as wrong:
        raise ValueError(f"the line '{line}' is no pattern: {wrong}") from wrong
