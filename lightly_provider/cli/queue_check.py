"""``airflow lightly doctor s3://… --queue URL``: whether S3 announces the uploads at locations in a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.cli.answer import Answer
from lightly_provider.cli.exit_codes import ExitCode, overall
from lightly_provider.cli.refusals import CommandError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lightly_provider.diagnosis.findings import Finding


def answer(arguments: argparse.Namespace) -> Answer:
    """Check the queue, and where the notifications of each location go."""
    from lightly_provider.aws.location import S3Location
    from lightly_provider.events.delivery import judge_location, judge_queue, routes_of, services_of
    from lightly_provider.events.delivery_facts import Looking
    from lightly_provider.events.queue import check_queue_url
    from lightly_provider.hooks.aws import AwsConnection
    from lightly_provider.verification.report import findings_table

    check_queue_url(arguments.queue, argument="--queue")
    locations = [S3Location.parse(uri, argument="location") for uri in dict.fromkeys(arguments.location)]
    if arguments.aws_conn_id is None:
        raise CommandError(
            "--aws-conn-id is missing: queue and bucket are looked at with an AWS connection of Airflow's own; name "
            "it, e.g. --aws-conn-id aws_default."
        )
    looking = Looking(AwsConnection(arguments.aws_conn_id))
    queue = looking.queue(arguments.queue)
    buckets = {name: looking.bucket(name, queue) for name in dict.fromkeys(one.bucket for one in locations)}
    of_queue = judge_queue(
        queue,
        services_of(route for one in locations for route in routes_of(one, buckets[one.bucket], queue)),
    )
    by_location = {one: judge_location(one, buckets[one.bucket], queue) for one in locations}
    heading = f"queue {queue.arn.name} in {queue.arn.region}, account {queue.arn.account}"
    texts = [
        findings_table(heading, of_queue),
        *(findings_table(f"uploads at {one.uri}", findings) for one, findings in by_location.items()),
    ]
    return Answer(
        text="\n\n".join(texts),
        data=[
            {
                "location": one.uri,
                "queue": arguments.queue,
                "ok": exit_code_of([*of_queue, *findings]) is ExitCode.OK,
                "checks": [_data(finding) for finding in (*of_queue, *findings)],
            }
            for one, findings in by_location.items()
        ],
        exit_code=overall([exit_code_of([*of_queue, *findings]) for findings in by_location.values()]),
    )


def exit_code_of(findings: Sequence[Finding]) -> ExitCode:
    """
    Return the exit code for a location.

    :param findings: What was found about it and the queue.
    """
    from lightly_provider.diagnosis.findings import Status

    found = {finding.status for finding in findings}
    if Status.FAIL in found:
        return ExitCode.DENIED
    return ExitCode.UNKNOWN if Status.UNKNOWN in found else ExitCode.OK


def _data(finding: Finding) -> dict[str, Any]:
    remedy = finding.remedy
    return {
        "check": finding.subject,
        "status": str(finding.status),
        "message": finding.message,
        "advice": (" ".join(remedy.texts) or None) if remedy else None,
        "fix_elsewhere": [change.as_dict() for change in remedy.changes] if remedy else [],
        "commands": list(remedy.commands) if remedy else [],
    }
