"""Whether all that the sandbox needs is here, or its pytest plugin alone. Standard library only."""

from __future__ import annotations

from importlib.util import find_spec

PARTS = (
    "av",
    "boto3",
    "fastapi",
    "lightly_mundig",
    "matplotlib",
    "ministack",
    "numpy",
    "PIL",
    "pydantic",
    "requests",
    "rich",
    "skimage",
    "sqlalchemy",
    "typer",
    "uvicorn",
)
"""What the distribution depends on, by the names of its modules."""


def missing_parts() -> list[str]:
    """The modules that are not there; none is imported."""
    return [part for part in PARTS if find_spec(part) is None]
