"""The command ``lightly-sandbox``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightly_sandbox import SIGN_OF_LIFE_SECONDS, __version__
from lightly_sandbox.aws.wording import AccessDeniedMessages
from lightly_sandbox.cli import terminal
from lightly_sandbox.cli.faults import faults
from lightly_sandbox.cli.state import reset, status, stop
from lightly_sandbox.cli.worker import worker
from lightly_sandbox.errors import SandboxError
from lightly_sandbox.platform.settings import CRASH_AFTER_SECONDS, VerifyScope
from lightly_sandbox.process.state_dir import default_state_dir

_DEFAULT_PHOTOS = 160

app = typer.Typer(
    help="A local Lightly platform, AWS and worker to develop and test against.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with variables could show secrets.
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False,
) -> None:
    """A local Lightly platform, AWS and worker to develop and test against."""
    if version:
        terminal.say(__version__)
        raise typer.Exit


@app.command()
def up(
    state_dir: Annotated[
        Path | None,
        typer.Option(
            help="The folder that keeps all state; created if missing. Default: lightly-sandbox in "
            "$XDG_STATE_HOME or ~/.local/state."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The platform's port; 0 picks a free one.")] = 0,
    aws_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The local AWS's port; 0 picks a free one.")
    ] = 0,
    workers: Annotated[int, typer.Option(min=0, help="How many workers to start.")] = 1,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            help="Written when all servers answer: addresses, token and keys as JSON. Default: ready.json in "
            "the state folder."
        ),
    ] = None,
    mask_secrets: Annotated[
        bool, typer.Option("--mask-secrets", help="Show *** for the secrets of a datasource that is read.")
    ] = False,
    verify_scope: Annotated[
        VerifyScope,
        typer.Option(
            help="Which datasource the permission lights describe when there are two: list and read on "
            "INPUT, write and overwrite on LIGHTLY (combined), all four on one of them, or each on both "
            "(worst)."
        ),
    ] = VerifyScope.COMBINED,
    access_denied_messages: Annotated[
        AccessDeniedMessages,
        typer.Option(
            help="What an access-denied message of the local AWS ends with: the denying policy's ARN, as AWS "
            "does since 2026, or only its type, as before."
        ),
    ] = AccessDeniedMessages.POLICY_ARN,
    crash_after: Annotated[
        float,
        typer.Option(
            min=1,
            metavar="SECONDS",
            help="A run becomes CRASHED after this time without a sign of life from its worker. A worker "
            f"sends one every {SIGN_OF_LIFE_SECONDS:g} s, less often while it computes.",
        ),
    ] = CRASH_AFTER_SECONDS,
    hide_secrets: Annotated[
        bool,
        typer.Option("--hide-secrets", help="Do not print the token and the Airflow connections."),
    ] = False,
    until_stdin_closes: Annotated[
        bool,
        typer.Option(
            "--until-stdin-closes",
            help="Stop also when the standard input closes.",
        ),
    ] = False,
) -> None:
    """Run the sandbox in the foreground until Ctrl-C or SIGTERM."""
    from lightly_sandbox import supervisor
    from lightly_sandbox.aws.client import forget_aws_settings

    forget_aws_settings()
    options = supervisor.Options(
        state_dir=state_dir or default_state_dir(),
        port=port,
        aws_port=aws_port,
        workers=workers,
        ready_file=ready_file,
        mask_secrets=mask_secrets,
        verify_scope=verify_scope,
        access_denied_messages=access_denied_messages,
        crash_after=crash_after,
        hide_secrets=hide_secrets,
        until_stdin_closes=until_stdin_closes,
    )
    try:
        supervisor.up(options, terminal.say)
    except SandboxError as problem:
        raise terminal.fail(problem) from problem


@app.command()
def seed(
    destination: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX")],
    ready_file: Annotated[
        Path | None,
        typer.Option(help="The file that `up` wrote. Default: the file of an `up` without options."),
    ] = None,
    photos: Annotated[
        int | None,
        typer.Option(min=1, help="How many photos: 160 by default, none by default with --videos."),
    ] = None,
    videos: Annotated[int | None, typer.Option(min=1, help="How many videos, of 4 s each.")] = None,
) -> None:
    """Put real photos and videos into a bucket of the local AWS; the bucket is created if it is missing."""
    from lightly_sandbox.aws.client import forget_aws_settings
    from lightly_sandbox.process.ready_file import default_ready_file, read_ready_file
    from lightly_sandbox.seeding.seed import seed as seed_bucket

    forget_aws_settings()
    n_photos = photos or (0 if videos else _DEFAULT_PHOTOS)
    n_videos = videos or 0
    try:
        seed_bucket(destination, read_ready_file(ready_file or default_ready_file()), n_photos, n_videos)
    except SandboxError as problem:
        raise terminal.fail(problem) from problem
    put = {"photos": n_photos, "videos": n_videos}
    named = " and ".join(f"{number} {kind}" for kind, number in put.items() if number)
    terminal.say(f"{named} are in {destination}")


app.command()(worker)
app.command()(faults)
app.command()(status)
app.command()(stop)
app.command()(reset)
