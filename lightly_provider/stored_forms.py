"""
The version of what is stored by one version of the provider and read by another: what a task stores about its run, the
event of a trigger, a kept access, a verdict in XCom.

The member ``version`` holds it; without it the version is 1. Add members freely, with a default for where they are
missing: that is no new version. Raise it when a version of the provider that does not know the change would misread
the form, and go on reading the older ones; ``tests/upgrade/`` has a recording of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.exceptions import LightlyStoredFormError

if TYPE_CHECKING:
    from collections.abc import Mapping

NEWEST = 1


def check_version(form: Mapping[str, Any], *, what: str) -> None:
    """
    Refuse what only a newer version of the provider can read.

    :param form: What was stored.
    :param what: What it is, for the message, e.g. ``The task's stored run``.
    :raises LightlyStoredFormError: It is newer.
    """
    version = form.get("version", 1)
    if version not in range(1, NEWEST + 1):
        raise LightlyStoredFormError(
            f"{what} was stored by a newer version of airflow-provider-lightly (form {str(version)[:20]}; this version "
            f"reads up to {NEWEST}); nothing was changed. Install that version again."
        )
