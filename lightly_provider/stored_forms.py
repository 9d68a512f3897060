"""
The version of data that one version of the provider stores and another may read: what a task stores about its run, the
event of a trigger, a kept access, a verdict in XCom.

The member ``version`` contains it; if it is missing, the version is 1. Adding a member with a default does not require
a new version. Increase the version if older versions of the provider would misread the data, and keep reading all older
versions; ``tests/upgrade/`` has a recording of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.exceptions import LightlyStoredFormError

if TYPE_CHECKING:
    from collections.abc import Mapping

NEWEST = 1


def check_version(form: Mapping[str, Any], *, what: str) -> None:
    """
    Reject data that only a newer version of the provider can read.

    :param form: The stored data.
    :param what: Its description for the message, e.g. ``The task's stored run``.
    :raises LightlyStoredFormError: Its version is newer.
    """
    version = form.get("version", 1)
    if version not in range(1, NEWEST + 1):
        raise LightlyStoredFormError(
            f"{what} was stored by a newer version of airflow-provider-lightly (form {str(version)[:20]}, and this "
            f"one reads up to {NEWEST}); nothing was changed. Install that version again."
        )
