"""Hook methods for a dataset's datasources: read, set, verify."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lightly_provider.contract import Purpose
from lightly_provider.exceptions import LightlyDatasetInUseError, LightlyResponseError
from lightly_provider.foreign_text import shown
from lightly_provider.hooks.connection import LightlyBaseHook
from lightly_provider.hooks.lineage import dataset_asset, report_lineage
from lightly_provider.processed_until import OLDEST_FILE, all_files_new

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lightly_provider.api.models.datasource import Datasource, PermissionLights, S3Datasource

# In seconds, this is the year 5138; a number of milliseconds passed it in 1973.
_NO_SECONDS = 10**11


def moves_input(present: Sequence[Datasource], wanted: S3Datasource) -> bool:
    """
    Return whether setting a datasource changes where a dataset's files are read from.

    :param present: The dataset's datasources.
    :param wanted: The datasource that is to be set.
    """
    locations = {each.purpose: each.full_path for each in present}
    before = _input(locations)
    after = _input({**locations, wanted.purpose.value: wanted.full_path})
    return before is not None and after is not None and before.rstrip("/") != after.rstrip("/")


def elsewhere(present: Iterable[Datasource], wanted: Iterable[S3Datasource]) -> list[Datasource]:
    """
    Return the datasources INPUT and LIGHTLY that count before a wanted INPUT_OUTPUT and have another location.

    :param present: The dataset's datasources.
    :param wanted: The datasources that are to be set.
    """
    location = next((each.full_path for each in wanted if each.purpose is Purpose.INPUT_OUTPUT), None)
    if location is None:
        return []
    return [
        each
        for each in present
        if each.purpose in (Purpose.INPUT, Purpose.LIGHTLY) and each.full_path.rstrip("/") != location.rstrip("/")
    ]


def _input(locations: Mapping[str, str]) -> str | None:
    # INPUT counts before INPUT_OUTPUT.
    return locations.get(Purpose.INPUT, locations.get(Purpose.INPUT_OUTPUT))


class DatasourceVerbs(LightlyBaseHook):
    """The hook's methods for datasources."""

    def get_datasources(self, dataset_id: str) -> list[Datasource]:
        """
        Return the datasources, at most one per purpose. They may contain secrets: publish only ``public()``.

        :param dataset_id: Id of the dataset.
        """
        from lightly_provider.api import calls

        return self.client.send(calls.get_datasources(dataset_id))

    def set_datasource(
        self, dataset_id: str, wanted: S3Datasource, *, present: Sequence[Datasource] | None = None
    ) -> bool:
        """
        Set a dataset's datasource for one purpose, unless it is already up to date.

        If that changes where files are read from, all files count as new, so that the next run of the worker reads
        the whole new location: the time until which files are processed is first set to 40 years ago.

        :param dataset_id: Id of the dataset.
        :param wanted: Desired state of the datasource.
        :param present: The dataset's datasources, if they were just read. None (default): read them first.
        :return: Whether it was set; False: it was up to date. If the platform hides the secret in its response, the
            datasource is set again, because the secrets cannot be compared.
        :raises LightlyDatasetInUseError: Files would be read from elsewhere, and a worker has taken a run on the
            dataset, whose end would undo that. Nothing was set.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.models.datasource import ProcessedUntilRequest

        datasources = self.get_datasources(dataset_id) if present is None else present
        current = next((d for d in datasources if d.purpose == wanted.purpose), None)
        is_other = current is None or not current.same_as(wanted)
        if is_other:
            if moves_input(datasources, wanted):
                self._check_no_run_is_taken(dataset_id)
                # Before the datasource: if this is interrupted, the datasource still differs.
                request = ProcessedUntilRequest(processed_until_timestamp=all_files_new(time.time()))
                self.client.send(calls.set_processed_until(dataset_id, request))
            self.client.send(calls.set_datasource(dataset_id, wanted))
        read = [] if wanted.purpose == Purpose.LIGHTLY else [wanted.full_path]
        report_lineage(self, read=read, wrote=dataset_asset(self, dataset_id))
        return is_other

    def _check_no_run_is_taken(self, dataset_id: str) -> None:
        from lightly_provider.api import calls

        # An OPEN run will read the new input.
        for entry in self.client.send(calls.get_scheduled_runs(dataset_id)):
            if entry.is_taken:
                raise LightlyDatasetInUseError(
                    f"A worker has taken scheduled run {entry.id} on dataset {dataset_id} "
                    f"({shown(entry.state, longest=100)}), and its end would mark the files of another input as "
                    "processed, so that no run would read them; the input was not changed. Wait for the run, e.g. with "
                    "LightlyRunSensor, and run this task again."
                )

    def verify_datasource(self, dataset_id: str) -> PermissionLights:
        """
        Have the platform verify its permissions on the dataset's datasource.

        :param dataset_id: Id of the dataset.
        """
        from lightly_provider.api import calls

        return self.client.send(calls.verify_datasource(dataset_id))

    def get_processed_until(self, dataset_id: str) -> int:
        """
        Return until when the dataset's files have been processed, in seconds since the epoch; 0: none were.

        A run of the worker without ``process_all`` reads only files that were last modified after this second.

        :param dataset_id: Id of the dataset.
        """
        from lightly_provider.api import calls

        return self.client.send(calls.get_processed_until(dataset_id))

    def set_processed_until(self, dataset_id: str, seconds: int) -> int | None:
        """
        Set until when the dataset's files count as processed, unless it is already so.

        The platform takes seconds: the vendor's client writes ``int(time.time())`` (lightly 1.5.26,
        api/api_workflow_datasource_listing.py), although the description in its model says milliseconds.

        :param dataset_id: Id of the dataset.
        :param seconds: Seconds since the epoch; 0: the next run reads all files.
        :return: The previous value; None if nothing had to be changed.
        :raises LightlyResponseError: The platform's present value is not a number of seconds, so the unit is not the
            assumed one. Nothing was changed. A time before 2006 is set all the same: all files are new in any unit.
        """
        from lightly_provider.api import calls
        from lightly_provider.api.models.datasource import ProcessedUntilRequest

        call = calls.set_processed_until(dataset_id, ProcessedUntilRequest(processed_until_timestamp=seconds))
        present = self.get_processed_until(dataset_id)
        if present == seconds:
            return None
        if present >= _NO_SECONDS and seconds >= OLDEST_FILE:
            raise LightlyResponseError(
                f"The platform has {present} as the second until which the files of dataset {dataset_id} have been "
                "processed, which looks like milliseconds; nothing was changed. Reset it to 0, or on the platform.",
                operation=call.operation,
            )
        self.client.send(call)
        return present
