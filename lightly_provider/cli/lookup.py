"""What an argument means: the connection, and the dataset that a name or an id means."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lightly_provider.cli.refusals import CommandError
from lightly_provider.contract import ID_PATTERN
from lightly_provider.foreign_text import shown
from lightly_provider.suggestions import did_you_mean

if TYPE_CHECKING:
    import argparse

    from lightly_provider.api.models.dataset import Dataset
    from lightly_provider.hooks.lightly import LightlyHook


def hook_of(arguments: argparse.Namespace, *, max_attempts: int | None = None) -> LightlyHook:
    """
    Return the hook of ``--lightly-conn-id``.

    :param arguments: The parsed arguments.
    :param max_attempts: Maximum number of attempts per request, because a person waits. None (default): as in a task.
    :raises LightlyConnectionMissingError: There is no such connection.
    :raises LightlyConnectionConfigError: The connection has a wrong value.
    """
    from dataclasses import replace

    from airflow.providers.common.compat.sdk import AirflowNotFoundException

    from lightly_provider.api.client import LightlyClient
    from lightly_provider.hooks.lightly import LightlyHook
    from lightly_provider.hooks.missing_connection import missing_connection

    conn_id = arguments.lightly_conn_id
    hook = LightlyHook(conn_id)
    settings = None
    with suppress(AirflowNotFoundException):
        settings = hook.connection.settings
    if settings is None:
        raise missing_connection(conn_id, kind="Lightly", otherwise="name another with --lightly-conn-id")
    if max_attempts is not None:
        hook.client = LightlyClient(replace(settings, max_attempts=max_attempts))
    return hook


def find_dataset(hook: LightlyHook, name_or_id: str) -> Dataset:
    """
    Find the dataset that is meant.

    :param hook: The hook.
    :param name_or_id: Its name or its id.
    :raises CommandError: There is none; with the nearest names.
    :raises LightlyDatasetConflictError: Several have this name.
    """
    from lightly_provider.exceptions import LightlyNotFoundError

    if is_id(name_or_id):
        with suppress(LightlyNotFoundError):  # a name may look like an id
            return hook.get_dataset(name_or_id)
    found = hook.find_dataset(name_or_id) if name_or_id.strip() else None
    if found is not None:
        return found
    datasets = hook.get_datasets()
    others = "'datasets' lists those that there are." if datasets else "this token's user has none yet."
    hint = did_you_mean(name_or_id, (dataset.name for dataset in datasets), n=3, otherwise=others)
    raise CommandError(f"There is no dataset with the name or id {shown(name_or_id, longest=200)!r}; {hint}")


def is_id(text: str) -> bool:
    """Return whether a text has the form of the platform's ids."""
    return re.fullmatch(ID_PATTERN, text) is not None


def moment(milliseconds: int) -> str | None:
    """
    Return a time of the platform in UTC by ISO 8601; None if it has none.

    :param milliseconds: Milliseconds since the epoch; 0: none.
    """
    if milliseconds <= 0:
        return None
    try:
        time = datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def limited(arguments: argparse.Namespace, n_found: int, what: str) -> list[str]:
    """
    Return the note that there is more than ``--limit`` shows, if so.

    :param arguments: The parsed arguments.
    :param n_found: How many there are.
    :param what: What they are, e.g. ``datasets``.
    """
    if n_found <= arguments.limit:
        return []
    return [f"{arguments.limit} of {n_found} {what}, the newest; --limit {n_found} shows all."]


def positive(text: str) -> int:
    """Parse a number of at least 1, for ``argparse``."""
    import argparse

    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"{shown(text, longest=50)!r} is not a number from 1 to 1000000")
    return int(text)
