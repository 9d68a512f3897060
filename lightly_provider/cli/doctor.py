"""
``airflow lightly doctor``: without a location, test the connection to the platform; with locations, check what is
allowed there, without a dataset and without the platform; with a queue, whether uploads there are announced in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightly_provider.cli.answer import Answer
from lightly_provider.cli.command import LIGHTLY_CONN_ID, Argument, Command
from lightly_provider.cli.exit_codes import ExitCode, overall
from lightly_provider.cli.refusals import CommandError, choose, refusal_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection

    from lightly_provider.aws.location import S3Location
    from lightly_provider.hooks.aws import AwsConnections
    from lightly_provider.verification.verdict import Verdict

_PURPOSES = ("INPUT", "LIGHTLY", "INPUT_OUTPUT")
_DATASET_TYPES = ("Images", "Videos")
# What is only for a location, with the value that each has by default.
_OF_LOCATIONS = {
    "--aws-conn-id": None,
    "--queue": None,
    "--role-arn": None,
    "--own-aws-conn-id": None,
    "--purpose": "INPUT",
    "--dataset-type": "Images",
    "--thumbnails": False,
    "--region": None,
    "--kms-key-arn": None,
    "--count": False,
    "--allow-endpoint": False,
}


def run(arguments: argparse.Namespace) -> Answer:
    """Check the platform's connection, or each location."""
    if arguments.location and arguments.queue is not None:
        from lightly_provider.cli.queue_check import answer as answer_about_queue

        if option := _given(arguments, except_for=("--aws-conn-id", "--queue")):
            raise CommandError(
                f"{option} is about what Lightly may do at the locations, and --queue about where S3 announces "
                "uploads; run the command once with each."
            )
        return answer_about_queue(arguments)
    if arguments.location:
        return _answer_about_locations(arguments)
    if option := _given(arguments):
        raise CommandError(
            f"{option} is for a location, and there is none; add it, e.g. s3://my-bucket/photos/, or leave "
            f"{option} out to test the connection to the platform."
        )
    from lightly_provider.cli.connection_check import answer

    return answer(arguments)


def _given(arguments: argparse.Namespace, except_for: Collection[str] = ()) -> str | None:
    """Return an option for locations that was given; None if there is none."""
    for option, default in _OF_LOCATIONS.items():
        if option not in except_for and getattr(arguments, option.removeprefix("--").replace("-", "_")) != default:
            return option
    return None


def _answer_about_locations(arguments: argparse.Namespace) -> Answer:
    from lightly_provider.aws.credentials import check_kms_key_arn, check_role_arn
    from lightly_provider.aws.location import S3Location
    from lightly_provider.exceptions import LightlyConnectionMissingError
    from lightly_provider.hooks.aws import AwsConnections
    from lightly_provider.verification.report import table

    arguments.purpose = choose(arguments.purpose, _PURPOSES, argument="--purpose")
    arguments.dataset_type = choose(arguments.dataset_type, _DATASET_TYPES, argument="--dataset-type")
    locations = {uri: S3Location.parse(uri, argument="location") for uri in dict.fromkeys(arguments.location)}
    if arguments.aws_conn_id is None:
        raise CommandError(
            "--aws-conn-id is missing: the location is tried with an AWS connection of Airflow's; name the one with "
            "the keys that Lightly will use, or with --role-arn Airflow's own, e.g. --aws-conn-id lightly_bucket."
        )
    if arguments.role_arn is not None:
        check_role_arn(arguments.role_arn, argument="--role-arn")
    if arguments.kms_key_arn is not None:
        check_kms_key_arn(arguments.kms_key_arn, argument="--kms-key-arn")
    connections = AwsConnections()
    texts: list[str] = []
    notes: list[str] = []
    data: list[dict[str, Any]] = []
    codes: list[ExitCode] = []
    for location in locations.values():
        try:
            verdict = _verdict(location, arguments, connections)
        except LightlyConnectionMissingError:
            raise  # it would be missing for every location
        except Exception as error:  # noqa: BLE001  (one location's error shall not hide what the others have)
            # With a single location, its error is the command's.
            if len(locations) == 1 or (refusal := refusal_of(_known(error))).is_unexpected:
                raise _known(error) from None
            notes.append(f"{location.uri}: {refusal.sentence}")
            data.append({"location": location.uri, "ok": False, "error": refusal.sentence, "checks": []})
            codes.append(refusal.exit_code)
        else:
            texts.append(table(verdict))
            data.append(_data(location, verdict))
            codes.append(exit_code_of(verdict))
    return Answer(text="\n\n".join(texts), data=data, notes=notes, exit_code=overall(codes))


def exit_code_of(verdict: Verdict) -> ExitCode:
    """
    Return the exit code for a location.

    :param verdict: Its verdict.
    """
    from lightly_provider.diagnosis.findings import Status

    if verdict.failed:
        return ExitCode.DENIED
    return ExitCode.UNKNOWN if verdict.status is Status.UNKNOWN else ExitCode.OK


def _known(error: Exception) -> Exception:
    """Return a bucket that does not exist as a command's error; any other error as it is."""
    return CommandError(str(error), ExitCode.DENIED) if type(error) is LookupError else error


def _data(location: S3Location, verdict: Verdict) -> dict[str, Any]:
    return {
        "location": location.uri,
        "ok": verdict.ok,
        "status": str(verdict.status),
        "error": None,
        "checks": [check.as_dict() for check in verdict.from_this_worker],
    }


def _verdict(location: S3Location, arguments: argparse.Namespace, connections: AwsConnections) -> Verdict:
    from lightly_provider.aws.credentials import check_kms_key_arn
    from lightly_provider.aws.regions import check_region, partition_of
    from lightly_provider.contract import Purpose
    from lightly_provider.diagnosis.diagnose import Vantage, count_files, diagnose
    from lightly_provider.diagnosis.target import Target
    from lightly_provider.hooks.aws import find_bucket_region, regions_of_botocore
    from lightly_provider.verification.judging import judge
    from lightly_provider.verification.requirements import AUTO, DatasetUse, required_of

    purpose = Purpose(arguments.purpose)
    role_arn = arguments.role_arn
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


COMMAND = Command(
    name="doctor",
    summary="Test the connection to the platform, or check what is allowed at S3 locations.",
    description=(
        "Without a location: the API token, its user and quota, the workers with their labels, the datasets.\n"
        "With locations: what is allowed at each, what is wrong, how to fix it, without a dataset or the platform.\n"
        "With locations and a queue: whether S3 announces the uploads there in the queue."
    ),
    arguments=(
        Argument(
            "location",
            nargs="*",
            metavar="s3://bucket/prefix/",
            help="Where the files are, or will be. Default: none, test the connection to the platform.",
        ),
        LIGHTLY_CONN_ID,
        Argument(
            "--aws-conn-id",
            metavar="ID",
            help="AWS connection, needed with a location: with an IAM user's keys, which Lightly will use; with "
            "--role-arn or --queue, Airflow's own.",
        ),
        Argument(
            "--queue",
            metavar="URL",
            help="SQS queue: check whether S3 announces the uploads at the locations in it, and nothing else.",
        ),
        Argument(
            "--role-arn", metavar="ARN", help="Role that Lightly will assume. It is inspected with --aws-conn-id."
        ),
        Argument(
            "--own-aws-conn-id",
            metavar="ID",
            help="AWS connection of Airflow's own, which reads the policies to find the one that denies. Default: "
            "--aws-conn-id.",
        ),
        Argument("--purpose", default="INPUT", help="INPUT, LIGHTLY or INPUT_OUTPUT. Default: INPUT."),
        Argument("--dataset-type", default="Images", help="Images or Videos. Default: Images."),
        Argument("--thumbnails", action="store_true", help="Lightly stores thumbnails there."),
        Argument("--region", help="Region of the buckets. Default: S3 is asked, then that of the connection."),
        Argument("--kms-key-arn", metavar="ARN", help="KMS key with which Lightly will encrypt what it writes."),
        Argument("--count", action="store_true", help="Count all files. Default: only the first page of the listing."),
        Argument("--allow-endpoint", action="store_true", help="Accept an S3 other than AWS's, e.g. the sandbox's."),
    ),
    examples=(
        ("the connection to the platform", "doctor"),
        ("a bucket, with the keys that Lightly will use", "doctor s3://my-bucket/photos/ --aws-conn-id lightly_bucket"),
        (
            "several locations to which Lightly will write",
            "doctor s3://one/lightly/ s3://two/lightly/ --aws-conn-id lightly_bucket --purpose LIGHTLY",
        ),
        (
            "a role that Lightly will assume",
            "doctor s3://my-bucket/photos/ --aws-conn-id aws_default --role-arn arn:aws:iam::123456789012:role/Lightly",
        ),
        (
            "whether uploads arrive in a queue",
            "doctor s3://my-bucket/photos/ --aws-conn-id aws_default "
            "--queue https://sqs.eu-central-1.amazonaws.com/123456789012/uploads",
        ),
        (
            "for a program",
            "doctor s3://my-bucket/photos/ --aws-conn-id lightly_bucket --output json",
        ),
    ),
    run=run,
)
