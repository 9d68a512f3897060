"""``airflow lightly fleet …``: plan the datasets of a file, make the pool, print the JSON Schema of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.cli.answer import Answer, Section
from lightly_provider.cli.command import LIGHTLY_CONN_ID, Argument, Command
from lightly_provider.cli.exit_codes import ExitCode
from lightly_provider.cli.lookup import hook_of, positive
from lightly_provider.cli.refusals import CommandError

if TYPE_CHECKING:
    import argparse

    from lightly_provider.fleet.planned import FleetPlan, PlannedDataset

_MAX_ATTEMPTS = 4


def plan(arguments: argparse.Namespace) -> Answer:
    """Check the file, and say what is to be done for each dataset."""
    from lightly_provider.cli.progress import progress
    from lightly_provider.fleet.file import Fleet
    from lightly_provider.fleet.plan import plan_fleet
    from lightly_provider.fleet.planned import Estimate

    if arguments.count and arguments.platform_only:
        raise CommandError("--count lists the buckets, and --platform-only does not; leave one out.")
    fleet = Fleet.read(arguments.file)
    hook = hook_of(arguments, max_attempts=_MAX_ATTEMPTS)
    estimate = Estimate.ALL if arguments.count else Estimate.NOTHING if arguments.platform_only else Estimate.PAGE
    with progress("Planning", total=len(fleet.datasets)) as show:
        planned = plan_fleet(fleet, arguments.lightly_conn_id, estimate=estimate, hook=hook, on_planned=show)
    return answer_of(planned)


def answer_of(planned: FleetPlan) -> Answer:
    """
    Return a plan as the command's answer.

    :param planned: The plan.
    """
    fixes = [f"To do for {each.name!r}:\n{each.fix}" for each in planned.cannot_work if each.fix]
    return Answer(
        sections=[Section(rows=[row(each) for each in planned.datasets])],
        data=planned.as_dict(),
        notes=[
            *fixes,
            *planned.notes,
            f"A dataset of this account may have {planned.quota} samples.",
            f"{planned.summary()}.",
        ],
        exit_code=ExitCode.PARTLY if planned.cannot_work else ExitCode.OK,
    )


def row(each: PlannedDataset) -> dict[str, Any]:
    """
    Return the row of a table for a dataset.

    :param each: The planned dataset.
    """
    more = "" if each.is_complete else "+"
    return {
        "name": each.name,
        "action": each.action,
        "files": None if each.n_files is None else f"{each.n_files}{more}",
        "size": None if each.n_bytes is None else f"{size(each.n_bytes)}{more}",
        "owner": each.owner,
        "reason": each.reason,
    }


def size(n_bytes: int) -> str:
    """Return a number of bytes as a person reads it, e.g. ``1.5 GiB``."""
    value = float(n_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def setup(arguments: argparse.Namespace) -> Answer:
    """Make the pool that bounds how many tasks use the platform at once."""
    from dataclasses import asdict

    from lightly_provider.fleet.pool import set_up_pool

    outcome = set_up_pool(arguments.lightly_conn_id, slots=arguments.slots)
    return Answer(
        sections=[Section(rows=[{"pool": outcome.name, "slots": outcome.slots, "action": outcome.action}])],
        data=asdict(outcome),
        notes=[outcome.detail],
    )


def schema(arguments: argparse.Namespace) -> Answer:
    """Print the JSON Schema of the file."""
    from lightly_provider.cli.printing import as_json
    from lightly_provider.fleet.models import schema as schema_of_file

    generated = schema_of_file()
    return Answer(text=as_json(generated), data=generated)


PLAN = Command(
    name="fleet plan",
    summary="Check the file of a fleet, and say what is to be done for each of its datasets.",
    description=(
        "Nothing is changed: the file, the platform and the buckets are read. Of each dataset it says whether it is\n"
        "to be created, to be updated, unchanged, or cannot work, and why. Exit code 5 if one cannot work."
    ),
    arguments=(
        Argument("file", metavar="FILE", help="The YAML file, e.g. lightly_fleet.yaml."),
        LIGHTLY_CONN_ID,
        Argument(
            "--count", action="store_true", help="Count all files of each input. Default: the first 1000 of each."
        ),
        Argument(
            "--platform-only",
            action="store_true",
            help="Do not list the buckets from here, e.g. because only Lightly may reach them. Then nothing is known "
            "of their files.",
        ),
    ),
    examples=(
        ("what is to be done", "fleet plan lightly_fleet.yaml"),
        ("with the number and size of all files", "fleet plan lightly_fleet.yaml --count"),
        (
            "the names of the datasets that cannot work",
            "fleet plan lightly_fleet.yaml -o json | jq -r '.datasets[] | select(.action == \"cannot work\") | .name'",
        ),
    ),
    run=plan,
)
SETUP = Command(
    name="fleet setup",
    summary="Create the pool of a connection, in which deferred tasks take a slot, too.",
    description=(
        "The pool lightly_<connection> bounds how many tasks of a fleet use the platform at once. It is created in\n"
        "Airflow's database, or corrected; a second call changes nothing."
    ),
    arguments=(
        LIGHTLY_CONN_ID,
        Argument(
            "--slots",
            type=positive,
            metavar="N",
            help="Number of slots. Default: 16 for a new pool; an existing one keeps its own.",
        ),
    ),
    examples=(
        ("the pool lightly_lightly_default with 16 slots", "fleet setup"),
        ("that of another connection", "fleet setup --lightly-conn-id lightly_eu --slots 32"),
    ),
    run=setup,
)
SCHEMA = Command(
    name="fleet schema",
    summary="Print the JSON Schema of the file of a fleet, for editors.",
    arguments=(),
    examples=(("into a file beside yours", "fleet schema > fleet.schema.json"),),
    run=schema,
    default_format="json",
)
