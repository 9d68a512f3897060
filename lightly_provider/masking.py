"""Ask Airflow to mask a secret in logs, and mask what it knows in a text that does not pass through its log."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Where the function is, the newest Airflow first. common-compat knows it from 1.20 on, which is newer than what
# Airflow's own constraints have.
_MODULES = ("airflow.sdk.log", "airflow.sdk.execution_time.secrets_masker", "airflow.utils.log.secrets_masker")


@cache
def _mask_secret() -> Callable[[str], None]:
    for module in _MODULES:
        try:
            found: Callable[[str], None] = import_module(module).mask_secret
        except (ImportError, AttributeError):
            continue
        return found
    raise ImportError(f"This version of Airflow has mask_secret in none of {', '.join(_MODULES)}.")


def mask_secret(secret: str) -> None:
    """Show ``***`` in place of the secret in everything that Airflow logs or renders from now on, in this process."""
    _mask_secret()(secret)


def masked(text: str) -> str:
    """Return the text with ``***`` in place of each secret that Airflow was asked to mask in this process."""
    from airflow.providers.common.compat.sdk import redact

    return str(redact(text))
