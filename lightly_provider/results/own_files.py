"""
Lightly's own files of a dataset, below ``.lightly/`` in its datasource: one of JSON for each sample. Pure decisions.

Sources: docs.lightly.ai/docs/prediction-format and docs.lightly.ai/docs/work-with-metadata; lightly-ai/lightly,
docs/source/docker/advanced/datasource_predictions.rst and datasource_metadata.rst.
"""

from __future__ import annotations

import json
import re
from typing import Any

from lightly_provider.foreign_text import is_storable, shown

PREDICTIONS = ".lightly/predictions/"
METADATA = ".lightly/metadata/"
SCHEMA_FILE = "schema.json"
TASKS_FILE = "tasks.json"
# A key in S3 has at most 1024 bytes; the rest is for the prefix of the datasource, the folder and the task.
_LONGEST_NAME = 900
_MOST_DIGITS = 1000


def own_name(file_name: str) -> str:
    """Return the name of a file's predictions or metadata, relative to their folder: ``a/b.png`` has ``a/b.json``."""
    folder, slash, name = file_name.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{folder}{slash}{stem if dot else name}.json"


def video_of_frame(name: str) -> str | None:
    """Return the video of a frame: ``a/b-099-mp4.json`` belongs to ``a/b.mp4``; None for another name."""
    frame = re.fullmatch(r"(.+)-\d+-([A-Za-z0-9]+)", name.removesuffix(".json"), re.DOTALL)
    return f"{frame[1]}.{frame[2]}" if frame else None


def check_file_name(name: Any) -> str:
    """
    Return the name of a file in the input datasource, unchanged.

    :raises ValueError: No file there can have this name.
    """
    if not isinstance(name, str) or not name:
        raise ValueError("it has no file name")
    if not is_storable(name) or any(sign in name for sign in "\r\n\t"):
        raise ValueError(f"its file name {shown(name, longest=200)!r} has a control character")
    if {"", ".", ".."} & set(name.split("/")):
        raise ValueError(
            f"its file name {shown(name, longest=200)!r} is not relative to the input datasource; leave out '.', '..', "
            "'//' and a slash at the start"
        )
    if len(own_name(name).encode()) > _LONGEST_NAME:
        raise ValueError(f"its file name {shown(name, longest=100)!r} is too long for a key in S3")
    return name


def encoded(value: Any) -> str:
    """Return compact JSON; names are written as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def parsed(content: bytes) -> Any:
    """
    Parse a JSON file.

    :raises ValueError: It is not JSON, or has numbers that JSON does not allow.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=no_constant, parse_int=whole_number)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg.lower()} at character {error.pos})") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def no_constant(name: str) -> Any:
    """
    Refuse ``NaN`` and ``Infinity``, which Python's parser accepts.

    :raises ValueError: Always.
    """
    raise ValueError(f"{name} is not a JSON number")


def whole_number(text: str) -> int:
    """
    Return a whole number of JSON.

    :raises ValueError: It has more digits than any number here, and than Python converts.
    """
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"it has a number of {len(text)} digits")
    return int(text)
