"""The platform as an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import MutableHeaders

from lightly_sandbox import __version__
from lightly_sandbox.faults.layer import FaultLayer
from lightly_sandbox.faults.rules import Faults
from lightly_sandbox.platform import errors
from lightly_sandbox.platform.database import Database
from lightly_sandbox.platform.lifecycle import crash_silent_runs
from lightly_sandbox.platform.requests import authenticate
from lightly_sandbox.platform.routes import (
    account,
    accounts,
    artifacts,
    collaboration,
    configs,
    datasets,
    datasources,
    enriched,
    exports,
    faults,
    licence,
    listings,
    not_implemented,
    openapi,
    own_files,
    runs,
    samples,
    schedule,
    tag_operations,
    tags,
    users,
    web,
    workers,
    zip_export,
)
from lightly_sandbox.platform.run_findings import Shelf
from lightly_sandbox.platform.s3_access import S3Access

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from lightly_sandbox.platform.settings import Settings

log = logging.getLogger(__name__)

# A literal path must precede one with a parameter in its place: /worker/schedule before /worker/{workerId}.
# FastAPI tries the routes in order, so polled ones come first.
_ROUTERS = (
    runs.router,
    not_implemented.router,
    account.router,
    enriched.router,
    datasets.router,
    collaboration.router,
    datasources.router,
    listings.router,
    own_files.router,
    samples.router,
    tag_operations.router,
    tags.router,
    exports.router,
    zip_export.router,
    licence.router,
    configs.router,
    schedule.router,
    workers.router,
    artifacts.router,
    artifacts.report_router,
    users.router,
    accounts.router,
)

_PUBLIC_ROUTERS = (account.public_router, listings.public_router, samples.public_router)

TITLE = "Lightly sandbox"
LOOKS_PER_SILENCE = 10
"""How often the platform looks for silent runs while one has to be silent to be found."""


@cache
def openapi_document() -> dict[str, Any]:
    """Return the platform's OpenAPI document, created on demand: it is rarely used and slow to create."""
    return openapi.describe(TITLE, __version__, (*_PUBLIC_ROUTERS, *_ROUTERS))


def create_app(settings: Settings) -> FastAPI:
    """Create the application; it opens its database now and closes it at shutdown."""
    database = Database(settings.database)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(_crash_silent_runs(database, settings.crash_after_seconds))
        yield
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        database.close()

    # Without FastAPI's own pages: unknown paths get the platform's error, and FastAPI's document would lack
    # the request bodies, which have their own parser.
    app = FastAPI(
        title=TITLE,
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.database = database
    app.state.s3 = S3Access(settings)
    app.state.faults = Faults()
    app.state.shelf = Shelf()
    app.state.document = openapi_document
    errors.install(app)

    # The last one added is the outermost: responses of faults also have an id and are logged.
    app.add_middleware(FaultLayer, faults=app.state.faults)
    app.add_middleware(NameAndLog)
    for router in _PUBLIC_ROUTERS:
        app.include_router(router)
    for router in _ROUTERS:
        app.include_router(router, dependencies=[Depends(authenticate)])
    app.include_router(faults.router, dependencies=[Depends(authenticate)])
    for router in web.ROUTERS:
        app.include_router(router)
    app.include_router(openapi.router)
    return app


class NameAndLog:
    """ASGI middleware that gives each request an id and logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, with the id in its state and in a response header."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
                took = (time.perf_counter() - began) * 1000
                # The path as it was sent, percent-encoded, without the query, which contains the token.
                path = scope["raw_path"].decode("latin-1")
                log.info("%s %s %s %.0f ms", scope["method"], path, message["status"], took)
            await send(message)

        await self._app(scope, receive, named)


async def _crash_silent_runs(database: Database, silent_seconds: float) -> None:
    def once() -> None:
        try:
            with database.session(writes=True) as session:
                crash_silent_runs(session, silent_seconds)
                session.commit()
        except SQLAlchemyError:
            # A busy database must not end the watch: otherwise a run could hang forever.
            log.exception("silent runs could not be looked for; they are the next time")

    while True:
        await asyncio.to_thread(once)
        await asyncio.sleep(silent_seconds / LOOKS_PER_SILENCE)
