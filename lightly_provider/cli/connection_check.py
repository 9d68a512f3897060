"""What ``doctor`` says without a location: whether the platform takes the token, and what the account has."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

from lightly_provider.cli.answer import Answer, Section
from lightly_provider.cli.exit_codes import ExitCode
from lightly_provider.cli.lookup import hook_of
from lightly_provider.cli.refusals import refusal_of
from lightly_provider.contract import WorkerState
from lightly_provider.exceptions import LightlyError
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from lightly_provider.api.models.dataset import Dataset
    from lightly_provider.api.models.run import Worker

Result = TypeVar("Result")

_PASS, _WARN, _FAIL, _UNKNOWN = "PASS", "WARN", "FAIL", "UNKNOWN"
_MOST_WORKERS = 50
# A person waits, and one lost answer shall not make a connection look broken.
_MAX_ATTEMPTS = 2


def answer(arguments: argparse.Namespace) -> Answer:
    """
    Ask the platform, and return what it says.

    :param arguments: The parsed arguments.
    :raises CommandError: There is no such connection.
    :raises LightlyConnectionConfigError: The connection has a wrong value.
    """
    from lightly_provider.api import calls

    hook = hook_of(arguments, max_attempts=_MAX_ATTEMPTS)
    connection = hook.connection
    checks = [
        _check(
            "connection",
            _WARN if connection.warnings else _PASS,
            " ".join([f"{arguments.lightly_conn_id}: {connection.settings.host}", *connection.warnings]),
        )
    ]
    codes: list[ExitCode] = []

    def ask(subject: str, question: Callable[[], Result]) -> Result | None:
        # Whatever failed for all will fail again, and each failure takes its time.
        if codes:
            return None
        try:
            return question()
        except LightlyError as error:
            refusal = refusal_of(error)
            codes.append(refusal.exit_code)
            status = _UNKNOWN if refusal.exit_code is ExitCode.UNKNOWN else _FAIL
            checks.append(_check(subject, status, refusal.sentence))
            return None

    quota = ask("token", lambda: hook.client.send(calls.get_quota()))
    datasets = ask("datasets", hook.get_datasets)
    workers = ask("workers", hook.get_workers)
    if quota is not None:
        checks.append(token_check(datasets or [], workers or []))
        checks.append(_check("quota", _PASS, f"a dataset may have up to {shown(quota, longest=50)} samples"))
    if datasets is not None:
        checks.append(datasets_check(datasets))
    if workers is not None:
        checks.append(workers_check(workers))
    return Answer(
        sections=[Section(rows=checks), Section(rows=_rows_of(workers or []), title="workers")],
        data={
            "connection": arguments.lightly_conn_id,
            "host": connection.settings.host,
            "web_url": connection.web_url,
            "ok": not codes,
            "user_id": _user_of(datasets or [], workers or []),
            "quota": quota,
            "checks": checks,
            "workers": None if workers is None else [_data_of(worker) for worker in workers],
            "datasets": None if datasets is None else dict(Counter(dataset.type for dataset in datasets)),
        },
        notes=[f"{_MOST_WORKERS} of {len(workers)} workers; --output json has all."]
        if workers and len(workers) > _MOST_WORKERS
        else [],
        exit_code=codes[0] if codes else ExitCode.OK,
    )


def token_check(datasets: Sequence[Dataset], workers: Sequence[Worker]) -> dict[str, Any]:
    """Return whose token it is. The contract has no "who am I", so it is read from what the user owns."""
    user_id = _user_of(datasets, workers)
    if user_id is None:
        return _check("token", _PASS, "accepted; its user owns no dataset and no worker yet")
    return _check("token", _PASS, f"accepted, of user {shown(user_id)}")


def datasets_check(datasets: Sequence[Dataset]) -> dict[str, Any]:
    """Return how many datasets there are, by type."""
    if not datasets:
        return _check("datasets", _PASS, "none yet")
    by_type = ", ".join(f"{n} {shown(kind)}" for kind, n in Counter(each.type for each in datasets).most_common())
    return _check("datasets", _PASS, f"{len(datasets)}: {by_type}")


def workers_check(workers: Sequence[Worker]) -> dict[str, Any]:
    """Return whether a worker can take a run."""
    if not workers:
        return _check("workers", _WARN, "none is registered, so a run waits; start a Lightly Worker")
    states = ", ".join(f"{n} {shown(state)}" for state, n in Counter(each.state for each in workers).most_common())
    ready = any(worker.state in (WorkerState.IDLE, WorkerState.BUSY) for worker in workers)
    if ready:
        return _check("workers", _PASS, f"{len(workers)}: {states}")
    return _check("workers", _WARN, f"{len(workers)}: {states}; none is running, so a run waits; start one")


def _user_of(datasets: Sequence[Dataset], workers: Sequence[Worker]) -> str | None:
    owners = [dataset.user_id for dataset in datasets] + [worker.user_id for worker in workers]
    return next(filter(None, owners), None)


def _check(subject: str, status: str, detail: str) -> dict[str, Any]:
    return {"check": subject, "status": status, "detail": detail}


def _data_of(worker: Worker) -> dict[str, Any]:
    return {"name": worker.name, "state": worker.state, "labels": list(worker.labels), "id": worker.id}


def _rows_of(workers: Sequence[Worker]) -> list[dict[str, Any]]:
    return [_data_of(worker) for worker in workers[:_MOST_WORKERS]]
