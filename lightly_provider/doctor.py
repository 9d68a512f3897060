"""
``airflow lightly doctor s3://…``: what may be done at a location, without a dataset and without the platform.

The same table as of ``VerifyDatasourcePermissionsOperator``, from this machine alone. Also runnable as ``python -m
lightly_provider.doctor``.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightly_provider.verification import Verdict

PROG = "airflow lightly doctor"
_PASSED, _FAILED, _UNKNOWN = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """
    Declare the command's arguments.

    :param parser: The parser of the command.
    """
    parser.add_argument("location", metavar="s3://bucket/prefix/", help="where the files are, or shall be")
    parser.add_argument(
        "--aws-conn-id",
        required=True,
        help="AWS connection: with an IAM user's keys, what Lightly shall use; with --role-arn, Airflow's own",
    )
    parser.add_argument("--role-arn", help="role that Lightly shall assume; it is looked at, with --aws-conn-id")
    parser.add_argument(
        "--purpose", choices=["INPUT", "LIGHTLY", "INPUT_OUTPUT"], default="INPUT", help="default: INPUT"
    )
    parser.add_argument("--dataset-type", choices=["Images", "Videos"], default="Images", help="default: Images")
    parser.add_argument("--thumbnails", action="store_true", help="Lightly stores thumbnails there")
    parser.add_argument("--region", help="the bucket's region; default: S3 is asked, then the connection's own")
    parser.add_argument("--kms-key-arn", help="key with which Lightly shall encrypt what it writes")
    parser.add_argument(
        "--count", action="store_true", help="count all files, however many; otherwise the first page says enough"
    )
    parser.add_argument("--allow-endpoint", action="store_true", help="take an S3 that is not AWS's, as of the sandbox")


def run(arguments: argparse.Namespace) -> int:
    """
    Look, and print the table.

    :param arguments: What :func:`add_arguments` declared.
    :return: The exit status: 0 if nothing that is needed fails, 1 if something does, 2 if nothing could tell.
    """
    from lightly_provider.aws.findings import Status

    try:
        verdict = _verdict(arguments)
    except (ValueError, LookupError) as refused:
        print(refused, file=sys.stderr)
        return _FAILED
    print(verdict.table())
    if verdict.failed:
        return _FAILED
    return _UNKNOWN if verdict.status is Status.UNKNOWN else _PASSED


def _verdict(arguments: argparse.Namespace) -> Verdict:
    from lightly_provider.aws.location import S3Location
    from lightly_provider.aws.policies import Purpose
    from lightly_provider.aws.regions import check_region, partition_of
    from lightly_provider.hooks.aws import find_bucket_region, read_aws_connection
    from lightly_provider.hooks.observation import Vantage, count_files, observe
    from lightly_provider.verification import DatasetUse, DatasourceFacts, judge
    from lightly_provider.verification.requirements import AUTO, required_of

    location = S3Location.parse(arguments.location, argument="the location")
    purpose = Purpose(arguments.purpose)
    role_arn = arguments.role_arn
    described, connection_region = f"delegated access through the role {role_arn}", None
    if role_arn is None:
        connection = read_aws_connection(arguments.aws_conn_id)
        described, connection_region = connection.access.describe(), connection.region
        role_arn = getattr(connection.access, "role_arn", None)
    region = arguments.region or find_bucket_region(location.bucket, arguments.aws_conn_id) or connection_region
    if region:
        check_region(region, argument="--region")
    facts = DatasourceFacts(
        purpose=purpose,
        location=location,
        access=described,
        thumbnails=arguments.thumbnails,
        kms_key_arn=arguments.kms_key_arn,
        partition=partition_of(region or ""),
        region=region,
        role_arn=role_arn,
    )
    use = DatasetUse(arguments.dataset_type)
    is_own = arguments.role_arn is not None
    vantage = Vantage(
        conn_id=None if is_own else arguments.aws_conn_id,
        own_conn_id=arguments.aws_conn_id if is_own else None,
        platform_is_local=arguments.allow_endpoint,
    )
    required = required_of(use, purpose, facts.thumbnails, [purpose], AUTO)
    seen, _ = observe(facts.place, purpose, required, arguments.dataset_type, vantage)
    if arguments.count:
        seen = [*seen, count_files(facts.place, vantage)]
    return judge(location.uri, use, [facts], None, findings={purpose: seen})


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command on its own.

    :param argv: Its arguments. None (default): those of the process.
    :return: The exit status.
    """
    parser = argparse.ArgumentParser(prog=PROG, description=__doc__.partition("\n\n")[0].strip() if __doc__ else None)
    add_arguments(parser)
    return run(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
