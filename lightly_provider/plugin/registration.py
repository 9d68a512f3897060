"""
Registers the page "Lightly" with Airflow (entry point ``airflow.plugins``).

Airflow imports this module in every process that loads plugins. So it imports only the base class of plugins, which
such a process has loaded already; the page itself is imported when the API server is asked for it.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow import __version__

URL_PREFIX = "/lightly"


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Serve the page; an ASGI application that is made at the first request."""
    from lightly_provider.plugin.web import web_application

    await web_application()(scope, receive, send)


LightlyPlugin: type | None

if tuple(int(part) for part in __version__.split(".")[:2]) >= (3, 1):
    from airflow.providers.common.compat.sdk import AirflowPlugin

    class LightlyPlugin(AirflowPlugin):  # type: ignore[no-redef,misc,unused-ignore]
        """The page "Lightly"; see :mod:`lightly_provider.plugin.web`."""

        name = "lightly"

        @cached_property
        def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override,unused-ignore]
            """The application that serves the page."""
            return [{"app": page, "url_prefix": URL_PREFIX, "name": "Lightly"}]

        @cached_property
        def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override,unused-ignore]
            """The entry in Airflow's navigation, which shows the page in a frame."""
            from urllib.parse import urlsplit

            from airflow.providers.common.compat.sdk import conf

            # Airflow may be served below a path.
            root = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
            href = f"{root}{URL_PREFIX}/"
            return [{"name": "Lightly", "href": href, "url_route": "lightly", "destination": "nav"}]

else:
    # Airflow passes over, without a word, an entry point that is not a plugin. Below 3.1 it has no place for the page.
    LightlyPlugin = None
