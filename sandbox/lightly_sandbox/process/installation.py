"""Checks whether the whole sandbox is installed, or only its pytest plugin. Standard library only."""

from __future__ import annotations

from importlib.util import find_spec

PARTS = (
    "av",
    "boto3",
    "fastapi",
    "jinja2",
    "lightly_mundig",
    "markupsafe",
    "matplotlib",
    "ministack",
    "numpy",
    "PIL",
    "pydantic",
    "requests",
    "rich",
    "skimage",
    "sqlalchemy",
    "starlette",
    "typer",
    "typing_extensions",
    "urllib3",
    "uvicorn",
)
"""What the distribution depends on, by the names of its modules."""


def missing_parts() -> list[str]:
    """Return the modules that are not installed, without importing any."""
    return [part for part in PARTS if find_spec(part) is None]
