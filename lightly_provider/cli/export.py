"""``airflow lightly export``: write the samples of a tag to a file, as ``ExportLightlyTagOperator`` does."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from lightly_provider.cli.answer import Answer, Section
from lightly_provider.cli.command import LIGHTLY_CONN_ID, Argument, Command
from lightly_provider.cli.lookup import find_dataset, hook_of
from lightly_provider.cli.refusals import CommandError, choose
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lightly_provider.api.models.dataset import Dataset
    from lightly_provider.hooks.lightly import LightlyHook
    from lightly_provider.results.destinations import Destination
    from lightly_provider.results.export import Export

_DAY = 24 * 60 * 60
_MOST_NAMED = 20


def run(arguments: argparse.Namespace) -> Answer:
    """Check the arguments, then the destination, then export."""
    from lightly_provider.hooks.aws import AwsConnection
    from lightly_provider.results.export import Export, check_installed
    from lightly_provider.results.formats import FORMATS

    chosen = choose(arguments.format, FORMATS, argument="--format")
    check_installed(chosen)
    destination = _destination(arguments)
    if destination is None and chosen == "parquet":
        raise CommandError("--format parquet is not text; write it to a file with --destination.")
    hook = hook_of(arguments)
    dataset = find_dataset(hook, arguments.dataset)
    if not arguments.tag:
        raise CommandError(_no_tag(hook, dataset))
    selection = hook.select_samples(
        dataset.id,
        arguments.tag,
        since_tag=arguments.since_tag or None,
        union_with=arguments.union_with or (),
        intersect_with=arguments.intersect_with or (),
        subtract=arguments.subtract or (),
    )
    export = Export(
        hook=hook,
        selection=selection,
        format=chosen,
        expire_in=arguments.read_urls_expire_in,
        connection=AwsConnection(arguments.aws_conn_id),
    )
    if destination is None:
        return Answer(content=_with_progress(export))
    destination.check()
    with destination.open() as file:
        for piece in _with_progress(export):
            file.write(piece)
    written = {
        "uri": file.uri,
        "dataset": dataset.name,
        "tag": arguments.tag,
        "format": chosen,
        "count": export.count,
        "bytes": file.bytes,
        "sha256": file.sha256,
    }
    return Answer(sections=[Section(rows=[written])], data=written)


def _destination(arguments: argparse.Namespace) -> Destination | None:
    from lightly_provider.results.destinations import Destination

    address = arguments.destination
    if address is None or address == "-":
        return None
    if address.strip() and not re.match(r"[a-z][a-z0-9+.-]*:", address) and not address.endswith(os.sep):
        # A path as a shell has it.
        address = os.path.abspath(os.path.expanduser(address))
    return Destination.parse(address, aws_conn_id=arguments.aws_conn_id, argument="--destination")


def _no_tag(hook: LightlyHook, dataset: Dataset) -> str:
    tags = list(reversed(hook.get_tags(dataset.id)))
    names = ", ".join(repr(shown(tag.name, longest=100)) for tag in tags[:_MOST_NAMED])
    more = f" and {len(tags) - _MOST_NAMED} more" if len(tags) > _MOST_NAMED else ""
    have = f"it has {names}{more}, the newest first" if tags else "it has none yet; run the Lightly Worker on it"
    return f"--tag is missing: name a tag of dataset {shown(dataset.name, longest=200)!r}; {have}."


def _with_progress(export: Export) -> Iterator[bytes]:
    from lightly_provider.cli.progress import progress

    with progress("Exporting samples", total=export.selection.n_selected) as show:
        for piece in export.content():
            yield piece
            show(export.count)


def _lifetime(text: str) -> int:
    import argparse

    # A year, as everywhere.
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= 366 * _DAY):
        raise argparse.ArgumentTypeError(f"{shown(text, longest=50)!r} is not a number of seconds, at most 366 days")
    return int(text)


COMMAND = Command(
    name="export",
    summary="Write the samples of a tag, or of several tags combined, to a file or to standard output.",
    description=(
        "The same as ExportLightlyTagOperator: a reader of the destination sees the whole file or none, and nothing\n"
        "changes on the platform. --output is the format of what is reported, --format that of the file."
    ),
    arguments=(
        Argument("dataset", metavar="NAME|ID", help="Dataset."),
        LIGHTLY_CONN_ID,
        Argument("--tag", metavar="NAME", help="Tag."),
        Argument(
            "--format",
            default="filenames",
            metavar="FORMAT",
            help="filenames, uris, manifest, parquet, label-studio, labelbox, sama or read-urls. Default: filenames.",
        ),
        Argument(
            "--destination",
            metavar="ADDRESS",
            help="s3://bucket/folder/file, a local path, or an address of another object storage of Airflow. Default: "
            "standard output.",
        ),
        Argument(
            "--aws-conn-id",
            metavar="ID",
            default="aws_default",
            help="AWS connection that writes to S3, and looks whether frames of videos have files. Default: "
            "aws_default.",
        ),
        Argument("--since-tag", metavar="NAME", help="Only what this earlier tag does not have."),
        Argument("--union-with", action="append", metavar="NAME", help="And what this tag has. Can be repeated."),
        Argument("--intersect-with", action="append", metavar="NAME", help="Only what it has, too. Can be repeated."),
        Argument("--subtract", action="append", metavar="NAME", help="Without what it has. Can be repeated."),
        Argument(
            "--read-urls-expire-in",
            type=_lifetime,
            default=7 * _DAY,
            metavar="SECONDS",
            help="Life of the addresses in read-urls and sama. Default: 604800, 7 days.",
        ),
    ),
    examples=(
        ("the selected filenames", "export birds --tag selected-1"),
        (
            "a manifest in a bucket, of what the last tag added",
            "export birds --tag selected-2 --since-tag selected-1 --format manifest --destination "
            "s3://my-bucket/lists/new.jsonl",
        ),
        (
            "an import file for Label Studio",
            "export birds --tag selected-1 --format label-studio --destination tasks.json",
        ),
    ),
    run=run,
)
