"""What a run does with input files that will soon expire."""

from __future__ import annotations

import datetime
import email.utils
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_sandbox.worker.outcome import RunAborted, RunFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_EXPIRY_DATE = re.compile(r'expiry-date="([^"]+)"')


class ExpiresSoon(Exception):
    """Skip the file; the text contains its expiration date."""


@dataclass(frozen=True)
class InputExpiration:
    """The worker config's ``docker.datasource.inputExpiration``.

    If an image expires in less than this number of days, the worker either skips it, or stops (lightly
    1.5.26, models/docker_worker_config_v3_datasource_input_expiration.py). Without the setting, a bucket with
    a retention policy is an error (release notes of worker 2.11.0; that a lifecycle rule is meant is a
    guess).

    Attributes:
        min_days: the number of days; None (default) without the setting: any file that expires fails the run.
        aborts: whether such a file ends the run; else it is skipped.
    """

    min_days: float | None = None
    aborts: bool = False

    def look(self, file_name: str) -> Callable[[Mapping[str, str]], None]:
        """Return a function that checks the headers of S3's response for a file.

        The function raises ``ExpiresSoon`` or ``RunAborted`` if the file expires too soon, and ``RunFailed``
        if it expires and the setting is absent.
        """

        def judge(headers: Mapping[str, str]) -> None:
            date = expiry_date(headers)
            if date is None:
                return
            what = f"expires on {date:%Y-%m-%d %H:%M} UTC"
            if self.min_days is None:
                raise RunFailed(
                    f"{file_name} {what}, by a lifecycle rule of the bucket, and the worker config does not"
                    " say how to handle such files. Set docker.datasource.inputExpiration: handlingStrategy"
                    " SKIP or ABORT for files that expire in less than minDaysToExpiration days."
                )
            if date - datetime.datetime.now(datetime.UTC) >= datetime.timedelta(self.min_days):
                return
            what += f", in less than {self.min_days:g} days"
            if self.aborts:
                raise RunAborted(
                    f"{file_name} {what}, which docker.datasource.inputExpiration does not allow. Change the"
                    " lifecycle rule of the bucket, or set the handlingStrategy to SKIP to go on without such"
                    " files."
                )
            raise ExpiresSoon(f"it {what}")

        return judge


def expiry_date(headers: Mapping[str, str]) -> datetime.datetime | None:
    """Return an object's expiration date from S3's response, None if it does not expire.

    AWS docs: S3, GetObject, "x-amz-expiration": the date is that of a lifecycle rule of the bucket.
    """
    found = _EXPIRY_DATE.search(headers.get("x-amz-expiration", ""))
    return email.utils.parsedate_to_datetime(found[1]) if found else None
