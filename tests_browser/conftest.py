"""Chromium, and the servers whose pages it opens."""

from __future__ import annotations

import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Error, expect, sync_playwright

from tests_browser import pictures
from tests_browser.servers import (
    DENIED_PATH,
    EMPTY_PATH,
    INPUT_PATH,
    LIGHTLY_PATH,
    Servers,
    WithLogin,
    asking_for_a_login,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page, Response

WINDOW = {"width": 1280, "height": 800}
# Only what the tests ask for goes over the network, and only to this machine.
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
# A page of Airflow takes a second or two; more than ten times that on a busy machine.
PAGE_SECONDS = 60.0
ONBOARDING = "lightly_s3_onboarding"
GREEN, DENIED, RUN_FAILED, REFUSED = "green", "denied", "run-failed", "refused"
RUN_SECONDS = 420.0

expect.set_options(timeout=PAGE_SECONDS * 1000)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The sandbox and Airflow; runs of the onboarding are on their way: one that succeeds, and some that fail."""
    with running(tmp_path_factory.mktemp("servers")) as started:
        places = {"lightly_path": LIGHTLY_PATH, "poll_interval": 1, "n_samples": 24}
        started.trigger(ONBOARDING, GREEN, input_path=INPUT_PATH, dataset_name="my-photos", **places)
        started.trigger(ONBOARDING, DENIED, input_path=DENIED_PATH, dataset_name="denied", **places)
        started.trigger(ONBOARDING, RUN_FAILED, input_path=EMPTY_PATH, dataset_name="no-photos", **places)
        started.trigger(ONBOARDING, REFUSED, input_path=INPUT_PATH, dataset_name="ab", **places)
        yield started


@pytest.fixture(scope="session")
def green(servers: Servers) -> str:
    """A run of the onboarding that has succeeded."""
    assert servers.state_at_end(ONBOARDING, GREEN, RUN_SECONDS) == "success"
    return f"/dags/{ONBOARDING}/runs/{GREEN}"


@pytest.fixture(scope="session")
def denied(servers: Servers) -> str:
    """A run of the onboarding whose verification has failed."""
    assert servers.state_at_end(ONBOARDING, DENIED, RUN_SECONDS) == "failed"
    return f"/dags/{ONBOARDING}/runs/{DENIED}"


@pytest.fixture(scope="session")
def failed(servers: Servers, denied: str) -> None:
    """Three runs of the onboarding have failed: a verification, a run of the worker, and a refused argument."""
    for run_id in (RUN_FAILED, REFUSED):
        assert servers.state_at_end(ONBOARDING, run_id, RUN_SECONDS) == "failed"


@pytest.fixture(scope="session")
def with_login(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithLogin]:
    """Airflow's pages for users who log in."""
    with asking_for_a_login(servers, tmp_path_factory.mktemp("login")) as started:
        yield started


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's script, which scripts/setup-browser put beside this environment."""
    return (Path(sys.prefix) / "axe" / "node_modules" / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        pytest.exit("Chromium is not installed.", 2)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser, servers: Servers) -> Iterator[Callable[..., Page]]:
    """
    Opens a page of Airflow, or of the sandbox by its whole address.

    At the end of the test, no page and no answer from the servers may have held a secret, and nothing may have been
    requested from another host.
    """
    answers: list[Response] = []
    shown: list[str] = []
    with chromium.new_context(base_url=servers.airflow_url, viewport=WINDOW, color_scheme="light") as context:
        context.set_default_timeout(PAGE_SECONDS * 1000)
        page = context.new_page()
        # Those of frames and of other tabs, too.
        context.on("response", lambda answer: answers.append(answer))

        def collect() -> None:
            for answer in answers:
                assert urlsplit(answer.url).hostname in ("127.0.0.1", None), answer.url
                kind = answer.headers.get("content-type", "")
                if answer.ok and ("json" in kind or "html" in kind or "text/plain" in kind):
                    # Chromium drops the body of an answer whose page was left before it arrived: nobody saw it either.
                    with suppress(Error):
                        shown.append(answer.text())
            answers.clear()
            shown.append(page.content())

        def open_page(path: str) -> Page:
            if page.url != "about:blank":
                collect()
            page.goto(path)
            return page

        yield open_page
        collect()
    everything = "\n".join(shown)
    assert len(everything) > 1000, "what is searched holds the pages"
    for secret in servers.secrets:
        assert secret not in everything
        assert json.dumps(secret)[1:-1] not in everything


@pytest.fixture
def take() -> Callable[..., None]:
    """Takes a picture of the guide, if LIGHTLY_TAKE_PICTURES is set, as `make pictures` does."""

    def take(page: Page, name: str, **clip: Any) -> None:
        if os.environ.get("LIGHTLY_TAKE_PICTURES"):
            page.mouse.move(0, 0)
            pictures.keep(name, _with_few_colours(page.screenshot(animations="disabled", **clip)))

    return take


def _with_few_colours(png: bytes) -> bytes:
    """A picture with 256 colours at most takes a third of the space."""
    import io

    from PIL import Image

    output = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(output, "PNG", optimize=True)
    return output.getvalue()
