"""Look at what there is of one dataset of a fleet: on the platform, and in its buckets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from lightly_provider.contract import Permission, Purpose, RunState, ScheduledRunState
from lightly_provider.exceptions import LightlyError, LightlyNotFoundError, on_one_line
from lightly_provider.fleet.needs import Need, RunsSeen, difference, need_of_run
from lightly_provider.fleet.planned import Action, Estimate, PlannedDataset
from lightly_provider.foreign_text import shown
from lightly_provider.processed_until import all_files_new, changed_at

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from lightly_provider.api.models.dataset import Dataset
    from lightly_provider.api.models.datasource import Datasource, PermissionLights, S3Datasource
    from lightly_provider.api.models.run import Run
    from lightly_provider.aws.bucket import Inventory
    from lightly_provider.diagnosis.target import Target
    from lightly_provider.fleet.models import FleetDataset
    from lightly_provider.hooks.aws import AwsConnection
    from lightly_provider.hooks.lightly import LightlyHook
    from lightly_provider.verification.verdict import Verdict

# Completed runs whose configuration is read, the newest first; each takes a request.
_CONFIGS_READ = 4
# Parallel listings of one input; several inputs are listed at once.
_LISTINGS = 4
_NO_ID = "0" * 24


class _BrokenError(Exception):
    """The dataset cannot work."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


@dataclass(frozen=True)
class _FoundOut:
    """What is to be done for a dataset that can work, and why; its input; and whether it needs a run."""

    action: Action
    reasons: list[str]
    target: Target
    need: Need = field(default_factory=lambda: Need(is_needed=False))


def _check_specific(present: Iterable[Datasource], wanted: Sequence[S3Datasource]) -> None:
    """Refuse a dataset with an INPUT or LIGHTLY that the file does not mean: the platform cannot remove it."""
    from lightly_provider.hooks.verbs.datasources import elsewhere

    for each in elsewhere(present, wanted):
        raise _BrokenError(
            f"the dataset still has a datasource {each.purpose} {shown(each.full_path, longest=300)}, which counts "
            "before INPUT_OUTPUT and cannot be removed; write output, or choose another name"
        )


class Looking:
    """
    Looks at the datasets of a fleet, in several threads.

    :param hook: Hook on the platform.
    :param estimate: How much of each input is listed.
    :param now: The time of the plan.
    :param quota: Maximum number of samples of a dataset.
    """

    def __init__(self, hook: LightlyHook, *, estimate: Estimate, now: datetime, quota: str) -> None:
        from lightly_provider.hooks.aws import AwsConnections

        self._hook = hook
        self._estimate = estimate
        self._now = now
        self._quota = int(quota) if quota.isascii() and quota.isdigit() else None
        self._connections = AwsConnections()
        # What is wrong with a connection, by its id; empty: nothing.
        self._faults: dict[str, str] = {}

    def prepare(self, dataset: FleetDataset) -> None:
        """
        Read the connections of a dataset. Call it for all datasets, before and outside of any other thread.

        :param dataset: The dataset.
        """
        for conn_id in dataset.connections:
            if conn_id in self._faults:
                continue
            self._faults[conn_id] = ""
            try:
                self._connections[conn_id].access.describe()
            except (ValueError, LightlyError) as error:
                self._faults[conn_id] = shown(error, longest=1000)

    def plan(self, dataset: FleetDataset, existing: Sequence[Dataset]) -> PlannedDataset:
        """
        Plan a dataset.

        :param dataset: The dataset of the file.
        :param existing: The token's own datasets of this name.
        :raises LightlyError: Something could not be read.
        :raises ValueError: What the file says cannot work here; likewise LookupError.
        """
        found = existing[0] if len(existing) == 1 else None
        planned = PlannedDataset(
            name=dataset.name,
            action=Action.UNCHANGED,
            reason="",
            owner=dataset.owner,
            dataset_id=found.id if found else None,
        )
        try:
            found_out = self._action(dataset, existing)
        except _BrokenError as broken:
            return replace(planned, action=Action.CANNOT_WORK, reason=broken.reason, fix=broken.fix)
        reasons = found_out.reasons
        inventory = self._inventory(dataset, found_out.target)
        if inventory is not None:
            from lightly_provider.aws.bucket import expected_kind

            n_files = inventory.counts[expected_kind(dataset.type)]
            if not n_files and inventory.is_complete:
                reasons = [*reasons, f"the input has no {dataset.type.lower()} yet"]
            planned = replace(planned, n_files=n_files, n_bytes=inventory.bytes, is_complete=inventory.is_complete)
        return replace(
            planned,
            action=found_out.action,
            reason="; ".join(reasons),
            in_progress=found_out.need.in_progress,
            reset_processed_until=self._all_files_new() if found_out.need.reads_all else None,
        )

    def _all_files_new(self) -> str:
        return datetime.fromtimestamp(all_files_new(self._now.timestamp()), UTC).isoformat()

    def _action(self, dataset: FleetDataset, existing: Sequence[Dataset]) -> _FoundOut:
        from lightly_provider.api.models.datasource import Datasource
        from lightly_provider.hooks.verbs.datasources import moves_input
        from lightly_provider.verification.verdict import target_of

        self._check(dataset, existing)
        wanted = self._wanted(dataset)
        meant = [Datasource.model_validate(request.to_wire()) for request in wanted]
        target = target_of(meant[0])
        if not existing:
            self._check_from_here(dataset, meant)
            return _FoundOut(Action.CREATE, ["there is no dataset of this name yet"], target)
        dataset_id = existing[0].id
        present = {each.purpose: each for each in self._hook.get_datasources(dataset_id)}
        _check_specific(present.values(), wanted)
        reasons = [
            different for request in wanted if (different := difference(present.get(request.purpose.value), request))
        ]
        if reasons:
            self._check_from_here(dataset, meant)
        else:
            self._check_lights(dataset, dataset_id, meant)
        update = Action.UPDATE if reasons else Action.UNCHANGED
        if dataset.selection is None and not any(moves_input([*present.values()], request) for request in wanted):
            return _FoundOut(update, reasons, target)
        seen = self._runs(dataset, dataset_id)
        need = need_of_run(seen, dataset.schedule, self._now)
        if need.is_taken:
            # Its end would mark the files of a new input as read, and those that a new selection needs.
            waits = [
                *reasons,
                *(["a run with this selection and these options of the worker"] if seen.is_other else []),
            ]
            held = f"{need.reason}; until it has ended, this waits: " if waits else need.reason
            return _FoundOut(Action.UNCHANGED, [held + "; ".join(waits)], target, need)
        if dataset.selection is None:
            return _FoundOut(update, reasons, target)
        if need.is_needed:
            update = Action.UPDATE
        return _FoundOut(update, [*reasons, *([need.reason] if need.reason else [])], target, need)

    # --- what the file says --------------------------------------------------------------------------------------

    def _check(self, dataset: FleetDataset, existing: Sequence[Dataset]) -> None:
        for conn_id in dataset.connections:
            if fault := self._faults[conn_id]:
                raise _BrokenError(fault.rstrip("."))
        if len(existing) > 1:
            ids = ", ".join(each.id for each in existing[:5])
            raise _BrokenError(f"{len(existing)} datasets have this name ({ids}); rename all but one on the platform")
        if existing and existing[0].type != dataset.type:
            raise _BrokenError(
                f"the dataset exists with the type {shown(existing[0].type, longest=50)}, and the file says "
                f"{dataset.type}; a type cannot be changed, so correct it, or choose another name"
            )
        n_samples = dataset.selection.n_samples if dataset.selection else None
        if self._quota is not None and n_samples is not None and n_samples > self._quota:
            raise _BrokenError(
                f"the selection takes {n_samples:,} samples, and a dataset of this account may have {self._quota:,}; "
                "lower n_samples, or ask Lightly for more"
            )

    def _wanted(self, dataset: FleetDataset) -> list[S3Datasource]:
        from lightly_provider.operators.datasource import ConfigureS3DatasourceOperator

        # The operator that will set them works them out, so that the plan and the DAG cannot differ.
        operator = ConfigureS3DatasourceOperator(
            task_id="plan",
            dataset_id=_NO_ID,
            resource_path=dataset.input,
            datasource_aws_conn_id=dataset.access,
            output_resource_path=dataset.output,
            output_aws_conn_id=dataset.output_access if dataset.output else None,
            region=dataset.region,
            generate_thumbnails=dataset.thumbnails,
        )
        return operator.wanted(self._connections)

    def _connection(self, dataset: FleetDataset, purpose: Purpose) -> AwsConnection:
        is_output = purpose is Purpose.LIGHTLY and dataset.output_access is not None
        return self._connections[dataset.output_access if is_output else dataset.access]

    # --- permissions ---------------------------------------------------------------------------------------------

    def _check_from_here(self, dataset: FleetDataset, meant: Sequence[Datasource]) -> None:
        """Try with the access that Lightly will get whether the locations can be listed, and the input read."""
        from lightly_provider.verification.judging import judge
        from lightly_provider.verification.requirements import DatasetUse
        from lightly_provider.verification.verdict import target_of

        if self._estimate is Estimate.NOTHING:
            return
        for datasource in meant:
            target = target_of(datasource)
            # Nothing is written, so whether Lightly may write is shown by the verification after the creation.
            required = [Permission.LIST] if target.purpose is Purpose.LIGHTLY else [Permission.LIST, Permission.READ]
            target, findings = self._findings(dataset, target, required)
            use = DatasetUse(dataset.type)
            verdict = judge(
                target.location.uri, use, [target], None, [str(each) for each in required], {target.purpose: findings}
            )
            self._refuse(verdict, None)

    def _check_lights(self, dataset: FleetDataset, dataset_id: str, meant: Sequence[Datasource]) -> None:
        """Ask the platform for its check; only if a light is red, look for the cause from here."""
        lights = self._hook.verify_datasource(dataset_id)
        if self._verdict(dataset, dataset_id, meant, lights, look=False).failed:
            look = self._estimate is not Estimate.NOTHING
            self._refuse(self._verdict(dataset, dataset_id, meant, lights, look=look), dataset.name)

    def _verdict(
        self,
        dataset: FleetDataset,
        dataset_id: str,
        meant: Sequence[Datasource],
        lights: PermissionLights,
        *,
        look: bool,
    ) -> Verdict:
        from lightly_provider.verification.judging import judge
        from lightly_provider.verification.requirements import AUTO, DatasetUse, required_of
        from lightly_provider.verification.verdict import target_of

        use = DatasetUse(dataset.type)
        purposes = [Purpose(each.purpose) for each in meant]
        targets, findings = [], {}
        for datasource in meant:
            target = target_of(datasource)
            if look:
                required = required_of(use, target.purpose, target.thumbnails, purposes, AUTO)
                readable = [each for each in required if each in (Permission.LIST, Permission.READ)]
                target, findings[target.purpose] = self._findings(dataset, target, readable)
            targets.append(target)
        return judge(dataset_id, use, targets, lights, AUTO, findings)

    def _findings(
        self, dataset: FleetDataset, target: Target, required: Collection[Permission]
    ) -> tuple[Target, list[Any]]:
        from lightly_provider.diagnosis.diagnose import Vantage, diagnose

        vantage = Vantage(
            connection=self._connection(dataset, target.purpose),
            platform_is_local=self._hook.connection.is_local,
        )
        findings, target = diagnose(target, required, dataset.type, vantage)
        return target, findings

    def _refuse(self, verdict: Verdict, name: str | None) -> None:
        if not verdict.failed:
            return
        from lightly_provider.verification.report import failure_message

        lines = failure_message(verdict, name).splitlines()
        # The cause is a sentence, which may be broken into several lines; what follows is what to do.
        n_cause = next((number for number, line in enumerate(lines, start=1) if line.endswith(".")), 1)
        raise _BrokenError(on_one_line(" ".join(lines[:n_cause])).rstrip("."), "\n".join(lines[n_cause:]))

    # --- runs and files ------------------------------------------------------------------------------------------

    def _runs(self, dataset: FleetDataset, dataset_id: str) -> RunsSeen:
        # The schedule first: an entry that becomes a run in between is then seen twice instead of missed.
        scheduled = self._hook.get_scheduled_runs(dataset_id)
        runs = sorted(self._hook.get_runs(dataset_id), key=lambda run: (run.created_at, run.id), reverse=True)
        taken = next((entry for entry in scheduled if entry.is_taken), None)
        seen = RunsSeen(taken=taken.id if taken else None, newest=runs[0] if runs else None)
        if dataset.selection is None:
            return seen
        if seen.in_progress:
            config_id = taken.config_id if taken else runs[0].config_id
            return replace(seen, is_other=not self._is_of(dataset, config_id))
        waiting = [entry for entry in scheduled if entry.state == ScheduledRunState.OPEN]
        if waiting:
            labels = sorted(dataset.runs_on)
            same = (
                entry
                for entry in waiting[:_CONFIGS_READ]
                if sorted(entry.runs_on) == labels and self._is_of(dataset, entry.config_id)
            )
            found = next(same, None)
            return replace(seen, waiting=(found or waiting[0]).id, is_other=found is None)
        newest_equal = self._newest_equal(dataset, runs)
        processed_until = self._hook.get_processed_until(dataset_id) if newest_equal else 0
        return replace(seen, newest_equal=newest_equal, changed_at=changed_at(processed_until, self._now.timestamp()))

    def _newest_equal(self, dataset: FleetDataset, runs: Sequence[Run]) -> Run | None:
        completed = (run for run in runs if run.state == RunState.COMPLETED and run.config_id)
        return next((run for run in islice(completed, _CONFIGS_READ) if self._is_of(dataset, run.config_id)), None)

    def _is_of(self, dataset: FleetDataset, config_id: str | None) -> bool:
        """Whether a stored configuration is that of the file."""
        from lightly_provider.api import calls
        from lightly_provider.api.models.worker_config import LightlyOptions, WorkerConfig, WorkerOptions

        # As RunLightlyWorkerOperator stores it.
        wanted = WorkerConfig(
            selection=dataset.selection,
            docker=WorkerOptions.model_validate(dataset.worker_options),
            lightly=LightlyOptions(),
        )
        try:
            return config_id is not None and self._hook.client.send(calls.get_worker_config(config_id)).is_of(wanted)
        except LightlyNotFoundError:
            return False

    def _inventory(self, dataset: FleetDataset, target: Target) -> Inventory | None:
        """Count the files of the input; None where nothing can list it from here."""
        from botocore.exceptions import BotoCoreError, ClientError

        from lightly_provider.aws.bucket import count_all, survey
        from lightly_provider.aws.credentials import InvalidAccessError
        from lightly_provider.diagnosis.diagnose import Vantage, lister_of

        if self._estimate is Estimate.NOTHING:
            return None
        try:
            lister = lister_of(target, Vantage(connection=self._connection(dataset, target.purpose)))
            if self._estimate is Estimate.ALL:
                return count_all(lister, target.location, workers=_LISTINGS)
            return survey(lister, target.location)
        except (BotoCoreError, ClientError, InvalidAccessError, LightlyError):
            return None
