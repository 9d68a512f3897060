"""Sends a :class:`~lightly_provider.api.calls.Call` from an event loop, for triggers: many of them share one loop."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeVar

from lightly_provider.api.client import ClientSettings, LightlyClient, retrying

if TYPE_CHECKING:
    from lightly_provider.api.calls import Call

Result = TypeVar("Result")

_REQUESTS_AT_ONCE = 8


class AsyncLightlyClient:
    """
    An asynchronous client of the Lightly REST API; use it as an async context manager.

    It is the synchronous client in threads of its own, so both follow the same rules for TLS, proxies, deadlines and
    answers, and a large answer is read without holding up the loop. It serves polls, which send few requests at a time.

    :param settings: Where and how.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._client: LightlyClient | None = None
        self._threads: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        self._client = LightlyClient(self._settings)
        self._threads = ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="lightly-api")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is None or self._threads is None:
            return
        # A request that is still being sent ends at once, and nobody waits for it.
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, call: Call[Result], *, within: float | None = None) -> Result:
        """
        Send a call, as often as it takes and is safe, and read the answer.

        :param call: What to ask.
        :param within: Seconds for everything: all attempts and the pauses between them; None: as long as it takes.
        :return: See :meth:`LightlyClient.send`, also for what is raised.
        """
        from tenacity import AsyncRetrying

        until = None if within is None else time.monotonic() + within
        result: Result = await AsyncRetrying(**retrying(self._settings, call, within))(self._attempt, call, until)
        return result

    async def _attempt(self, call: Call[Result], until: float | None) -> Result:
        if self._client is None or self._threads is None:
            raise RuntimeError("The client is not open: use it as an async context manager.")
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Any] = loop.run_in_executor(self._threads, self._client.attempt, call, until)
        result: Result = await answered
        return result
