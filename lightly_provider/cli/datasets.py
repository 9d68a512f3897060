"""``airflow lightly datasets``: the token's datasets, or one of them with what matters for its access."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.cli.answer import Answer, Section, properties
from lightly_provider.cli.command import LIGHTLY_CONN_ID, Argument, Command
from lightly_provider.cli.lookup import find_dataset, hook_of, limited, moment, positive

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from lightly_provider.api.models.dataset import Dataset
    from lightly_provider.api.models.datasource import Datasource
    from lightly_provider.api.models.run import Run
    from lightly_provider.hooks.lightly import LightlyHook

_MAX_ATTEMPTS = 3
_THREADS = 4
_MOST_TAGS = 10


def run(arguments: argparse.Namespace) -> Answer:
    """List the datasets, or show one."""
    hook = hook_of(arguments, max_attempts=_MAX_ATTEMPTS)
    if arguments.dataset is not None:
        return _one(hook, find_dataset(hook, arguments.dataset))
    return _list(hook, arguments)


def _list(hook: LightlyHook, arguments: argparse.Namespace) -> Answer:
    from lightly_provider.cli.progress import counted
    from lightly_provider.results.parallel import spread

    found = sorted(hook.get_datasets(), key=lambda dataset: (dataset.created_at, dataset.id), reverse=True)
    chosen = found[: arguments.limit]
    runs = newest_runs(hook.get_all_runs()) if chosen else {}
    datasources = spread(lambda dataset: _datasources_of(hook, dataset), chosen, threads=_THREADS)
    data = [
        summary(dataset, its_datasources, runs.get(dataset.id))
        for dataset, its_datasources in counted(
            zip(chosen, datasources, strict=True), description="Reading datasets", total=len(chosen)
        )
    ]
    return Answer(
        sections=[Section(rows=[row(each) for each in data], if_empty="This token's user has no dataset yet.")],
        data=data,
        notes=limited(arguments, len(found), "datasets"),
    )


def _datasources_of(hook: LightlyHook, dataset: Dataset) -> list[Datasource] | None:
    from lightly_provider.exceptions import LightlyNotFoundError

    try:
        return hook.get_datasources(dataset.id)
    except LightlyNotFoundError:
        return None  # it was deleted in the meantime


def newest_runs(runs: Iterable[Run]) -> dict[str, Run]:
    """Return the newest run of each dataset, by the dataset's id."""
    newest: dict[str, Run] = {}
    for each in runs:
        if each.dataset_id and (
            each.dataset_id not in newest
            or (each.created_at, each.id) > (newest[each.dataset_id].created_at, newest[each.dataset_id].id)
        ):
            newest[each.dataset_id] = each
    return newest


def summary(dataset: Dataset, datasources: Sequence[Datasource] | None, last_run: Run | None) -> dict[str, Any]:
    """
    Return a dataset as JSON types, without anything secret.

    :param dataset: The dataset.
    :param datasources: Its datasources; None: they could not be read, because the dataset was just deleted.
    :param last_run: Its newest run; None: it has none.
    """
    return {
        "name": dataset.name,
        "id": dataset.id,
        "type": dataset.type,
        "samples": dataset.n_samples,
        "created": moment(dataset.created_at),
        "datasources": None
        if datasources is None
        else [{"purpose": each.purpose, "location": each.full_path} for each in datasources],
        "last_run": last_run and {"id": last_run.id, "state": last_run.state, "created": moment(last_run.created_at)},
    }


def row(summary: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the row of a table for a dataset.

    :param summary: What :func:`summary` returns.
    """
    datasources, last_run = summary["datasources"], summary["last_run"]
    return {
        **summary,
        "datasources": "(deleted)"
        if datasources is None
        else [f"{each['purpose']} {each['location']}" for each in datasources],
        "last_run": last_run and f"{last_run['state']} {last_run['created'] or ''}".strip(),
    }


def _one(hook: LightlyHook, dataset: Dataset) -> Answer:
    from lightly_provider.contract import ScheduledRunState
    from lightly_provider.links import dataset_page

    datasources = hook.get_datasources(dataset.id)
    runs = sorted(hook.get_runs(dataset.id), key=lambda each: (each.created_at, each.id), reverse=True)
    waiting = [each for each in hook.get_scheduled_runs(dataset.id) if each.state == ScheduledRunState.OPEN]
    tags = hook.get_tags(dataset.id)
    processed_until = hook.get_processed_until(dataset.id) if datasources else 0
    lights = _lights(hook, dataset, datasources)
    data = {
        **summary(dataset, datasources, runs[0] if runs else None),
        "owner": dataset.user_id or None,
        "datasources": [described(each) for each in datasources],
        "lights": lights,
        "processed_until": moment(processed_until * 1000),
        "runs": len(runs),
        "waiting_runs": [each.id for each in waiting],
        "tags": [
            {"name": tag.name, "samples": tag.n_selected, "created": moment(tag.created_at)} for tag in reversed(tags)
        ],
        "page": dataset_page(hook.connection.web_url, dataset.id),
    }
    return Answer(sections=_sections(data, tags_shown=_MOST_TAGS), data=data, notes=_notes(data))


def _lights(hook: LightlyHook, dataset: Dataset, datasources: Sequence[Datasource]) -> list[dict[str, Any]]:
    """Return the platform's four lights with the error of each, as it checks them now; none without a datasource."""
    from lightly_provider.exceptions import LightlyDatasourceError, LightlyNotFoundError

    if not datasources:
        return []
    try:
        lights = hook.verify_datasource(dataset.id)
    except (LightlyDatasourceError, LightlyNotFoundError) as error:
        return [{"permission": "all", "granted": False, "error": str(error)}]
    return [
        {
            "permission": permission,
            "granted": getattr(lights, f"can_{permission}"),
            "error": getattr(lights.errors, f"can_{permission}"),
        }
        for permission in ("list", "read", "write", "overwrite")
    ]


def described(datasource: Datasource) -> dict[str, Any]:
    """
    Return a datasource as JSON types, without anything secret.

    :param datasource: The datasource.
    """
    from lightly_provider.aws.credentials import DelegatedAccess, UserAccess

    access = None
    if datasource.s3_arn:
        access = DelegatedAccess(datasource.s3_arn, "").describe()
    elif datasource.s3_access_key_id:
        access = UserAccess(datasource.s3_access_key_id, "").describe()
    return {
        "purpose": datasource.purpose,
        "location": datasource.full_path,
        "region": datasource.s3_region,
        "access": access,
        "thumbnails": bool(datasource.thumb_suffix),
        "kms_key": datasource.kms_key_arn,
    }


def _sections(data: Mapping[str, Any], *, tags_shown: int) -> list[Section]:
    last_run = data["last_run"]
    return [
        Section(
            rows=properties(
                {
                    "name": data["name"],
                    "id": data["id"],
                    "type": data["type"],
                    "samples": data["samples"],
                    "created": data["created"],
                    "owner": data["owner"],
                    "processed until": data["processed_until"],
                    "runs": data["runs"],
                    "waiting runs": data["waiting_runs"],
                    "last run": last_run
                    and f"{last_run['id']} {last_run['state']} {last_run['created'] or ''}".strip(),
                    "page": data["page"],
                }
            )
        ),
        Section(rows=data["datasources"], title="datasources", if_empty="It has no datasource yet."),
        Section(rows=data["lights"], title="Lightly's lights"),
        Section(rows=data["tags"][:tags_shown], title="tags"),
    ]


def _notes(data: Mapping[str, Any]) -> list[str]:
    n_tags = len(data["tags"])
    return [f"{_MOST_TAGS} of {n_tags} tags, the newest; --output json has all."] if n_tags > _MOST_TAGS else []


COMMAND = Command(
    name="datasets",
    summary="List the datasets, or show one: its datasources, Lightly's lights, its runs and tags.",
    arguments=(
        Argument("dataset", nargs="?", metavar="NAME|ID", help="Dataset to show. Default: list all."),
        LIGHTLY_CONN_ID,
        Argument(
            "--limit",
            type=positive,
            default=20,
            metavar="N",
            help="List at most N datasets, the newest; each takes a request. Default: 20.",
        ),
    ),
    examples=(
        ("the newest datasets", "datasets"),
        ("one dataset, by its name or id", "datasets birds"),
        ("the ids of up to 1000 datasets", "datasets --limit 1000 --output json | jq -r '.[].id'"),
    ),
    run=run,
)
