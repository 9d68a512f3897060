"""
``airflow lightly doctor s3://…``: check the permissions at a location, without a dataset and without the platform.

Prints the same table as ``VerifyDatasourcePermissionsOperator``, based only on requests from this machine. Also
runnable as ``python -m lightly_provider.cli.doctor``.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from lightly_provider.verification.verdict import Verdict

_PASSED, _FAILED, _UNKNOWN = 0, 1, 2


def run(arguments: argparse.Namespace) -> int:
    """
    Check the location, and print the table.

    :param arguments: See :mod:`lightly_provider.cli.commands`.
    :return: Exit status: 0 if no required check failed, 1 if one failed, 2 if the result is unknown.
    """
    from lightly_provider.diagnosis.findings import Status
    from lightly_provider.exceptions import LightlyAccessError
    from lightly_provider.verification.report import table

    try:
        with _log_on_standard_error():
            verdict = _verdict(arguments)
    except (ValueError, LookupError, LightlyAccessError) as refused:
        print(refused, file=sys.stderr)
        return _FAILED
    print(table(verdict))
    if verdict.failed:
        return _FAILED
    return _UNKNOWN if verdict.status is Status.UNKNOWN else _PASSED


@contextmanager
def _log_on_standard_error() -> Iterator[None]:
    """Redirect Airflow's log from standard output to standard error, so that standard output has only the table."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _verdict(arguments: argparse.Namespace) -> Verdict:
    from lightly_provider.aws.credentials import check_kms_key_arn, check_role_arn
    from lightly_provider.aws.location import S3Location
    from lightly_provider.aws.regions import check_region, partition_of
    from lightly_provider.contract import Purpose
    from lightly_provider.diagnosis.diagnose import Vantage, count_files, diagnose
    from lightly_provider.diagnosis.target import Target
    from lightly_provider.hooks.aws import AwsConnections, find_bucket_region, regions_of_botocore
    from lightly_provider.verification.judging import judge
    from lightly_provider.verification.requirements import AUTO, DatasetUse, required_of

    if arguments.role_arn is not None:
        check_role_arn(arguments.role_arn, argument="--role-arn")
    if arguments.kms_key_arn is not None:
        check_kms_key_arn(arguments.kms_key_arn, argument="--kms-key-arn")
    location = S3Location.parse(arguments.location, argument="location")
    purpose = Purpose(arguments.purpose)
    role_arn = arguments.role_arn
    connections = AwsConnections()
    connection = connections[arguments.aws_conn_id]
    described = f"delegated access through the role {role_arn}"
    if role_arn is None:
        described = connection.access.describe()
        role_arn = getattr(connection.access, "role_arn", None)
    region = arguments.region or find_bucket_region(location.bucket, connection) or connection.region
    if region:
        check_region(region, argument="--region", known=regions_of_botocore())
        if arguments.kms_key_arn is not None:
            check_kms_key_arn(arguments.kms_key_arn, argument="--kms-key-arn", bucket_region=region)
    target = Target(
        location=location,
        access=described,
        purpose=purpose,
        thumbnails=arguments.thumbnails,
        kms_key_arn=arguments.kms_key_arn,
        partition=partition_of(region or ""),
        region=region,
        role_arn=role_arn,
    )
    use = DatasetUse(arguments.dataset_type)
    is_own = arguments.role_arn is not None
    own_conn_id = arguments.own_aws_conn_id or (arguments.aws_conn_id if is_own else None)
    vantage = Vantage(
        connection=None if is_own else connection,
        own=connections[own_conn_id] if own_conn_id else None,
        platform_is_local=arguments.allow_endpoint,
    )
    required = required_of(use, purpose, target.thumbnails, [purpose], AUTO)
    seen, target = diagnose(target, required, arguments.dataset_type, vantage)
    if arguments.count:
        seen = [*seen, count_files(target, vantage)]
    return judge(location.uri, use, [target], None, findings={purpose: seen})


def main(argv: Sequence[str] | None = None) -> None:
    """
    Run the command without Airflow's command line.

    :param argv: Command-line arguments. None (default): those of the process.
    :raises SystemExit: The exit status is not 0.
    """
    from lightly_provider.cli.commands import main as run_command

    run_command(["doctor", *(sys.argv[1:] if argv is None else argv)])


if __name__ == "__main__":
    main()
