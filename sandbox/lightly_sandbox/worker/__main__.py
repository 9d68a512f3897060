"""``python -m lightly_sandbox.worker``: one worker as a process of its own. SIGTERM and SIGINT stop it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Annotated

import typer

from lightly_sandbox.worker import run
from lightly_sandbox.worker.api import ApiError

# A traceback with its variables would show the token among them.
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    url: Annotated[str, typer.Option(help="The platform's address.")],
    name: Annotated[str, typer.Option(help="The worker's name.")] = "sandbox-worker",
    label: Annotated[
        list[str] | None, typer.Option(help="What runs may ask for in runs_on. Repeatable.")
    ] = None,
    poll_interval: Annotated[
        float, typer.Option(min=0.05, help="Seconds between looks at the schedule.")
    ] = 1.0,
) -> None:
    """Take scheduled runs and do them, one after the other. The API token is read from LIGHTLY_TOKEN."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # An argument would be visible to everybody on the machine.
    token = os.environ.get("LIGHTLY_TOKEN", "")
    if not token:
        raise typer.BadParameter("The environment variable LIGHTLY_TOKEN is empty. Set it to the API token.")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        run(url, token, name=name, labels=label or [], poll_interval=poll_interval, stop=stop)
    except ApiError as error:
        logging.getLogger(__name__).critical("the worker cannot start: %s", error)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
