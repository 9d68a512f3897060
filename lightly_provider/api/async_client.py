"""Send a :class:`~lightly_provider.api.calls.Call` from an event loop, for triggers, many of which share one loop."""

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

    It runs the synchronous client in its own threads, so both have the same rules for TLS, proxies, deadlines and
    responses, and a large response does not block the loop. It is meant for polling, with few concurrent requests.

    :param settings: Client settings.
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
        # A request in progress ends at once, without a wait for it.
        self._client.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, call: Call[Result], *, within: float | None = None) -> Result:
        """
        Send a call, with retries where they are safe, and return the result.

        :param call: Call to send.
        :param within: Maximum time of all attempts and pauses, in seconds. None (default): no limit.
        :return: See :meth:`LightlyClient.send`, also for the exceptions.
        """
        from tenacity import AsyncRetrying

        until = None if within is None else time.monotonic() + within
        if self._client is not None and (wait := self._client.wait_before(until)):
            await asyncio.sleep(wait)
        result: Result = await AsyncRetrying(**retrying(self._settings, call, within))(self._attempt, call, until)
        return result

    async def _attempt(self, call: Call[Result], until: float | None) -> Result:
        if self._client is None or self._threads is None:
            raise RuntimeError("The client is not open: use it as an async context manager.")
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Any] = loop.run_in_executor(self._threads, self._client.attempt, call, until)
        result: Result = await answered
        return result
