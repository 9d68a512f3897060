"""The sandbox's pages in Chromium: drawn, followed, operated by keyboard, and accessible."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests_browser.conftest import N_PHOTOS, N_SELECTED, RUN_SECONDS, run_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests_browser.conftest import Finished, Onboarded, Sandbox

DESKTOP, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}


@contextmanager
def opened(chromium: Browser, sandbox: Sandbox, path: str, **more: Any) -> Iterator[Page]:
    """A page in a window of its own; errors in its console and requests to other hosts fail the test."""
    with chromium.new_context(base_url=sandbox.url, **{"viewport": DESKTOP, **more}) as context:
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda line: line.type in ("error", "warning") and problems.append(line.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("requestfailed", lambda request: problems.append(f"{request.url}: {request.failure}"))
        hosts: set[str | None] = set()
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.goto(path)
        page.wait_for_load_state("networkidle")
        yield page
        assert problems == []
        assert hosts == {"127.0.0.1"}


# The first one: it needs the run while it goes on.
def test_a_run_is_followed_to_its_end(chromium: Browser, sandbox: Sandbox, scheduled: Onboarded) -> None:
    run = wait_until(lambda: run_of(sandbox, scheduled), RUN_SECONDS)
    with opened(chromium, sandbox, f"/web/compute/runs/{run['id']}") as page:
        expect(page.locator("#live .state")).to_have_text("COMPLETED", timeout=RUN_SECONDS * 1000)
        expect(page.locator("#results .tiles")).to_contain_text(str(N_PHOTOS))
        expect(page.locator("#lines tr").last).to_contain_text(f"selected {N_SELECTED} of {N_PHOTOS} images")
        states = page.locator("#lines tr td:nth-child(3)").all_text_contents()
        lines = page.locator("#lines tr td:nth-child(4)").all_text_contents()
        assert {"EMBEDDING", "SAMPLING", "COMPLETED"} <= set(states)
        assert len(lines) == len(set(lines)), "no line is added twice"


def addresses(finished: Finished) -> list[str]:
    return [
        *(
            "/web",
            finished.dataset,
            finished.tag,
            f"{finished.tag}?show=pairs",
            f"{finished.tag}?show=left-out",
        ),
        *("/web/compute/runs", finished.run, "/web/workers", "/web/faults"),
    ]


@pytest.mark.parametrize(("scheme", "size"), [("light", DESKTOP), ("dark", PHONE)])
def test_no_page_has_a_serious_problem(
    chromium: Browser, sandbox: Sandbox, finished: Finished, axe: str, scheme: str, size: dict[str, int]
) -> None:
    for path in addresses(finished):
        with opened(chromium, sandbox, path, color_scheme=scheme, viewport=size) as page:
            page.evaluate(axe)
            found = page.evaluate("axe.run(document)")
            serious = [
                (problem["id"], [node["html"][:200] for node in problem["nodes"]])
                for problem in found["violations"]
                if problem["impact"] in ("serious", "critical")
            ]
            assert serious == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
            pictures = os.environ.get("SANDBOX_SCREENSHOTS")
            if pictures:
                name = re.sub(r"[^a-z]+", "-", re.sub("[0-9a-f]{24}", "", path)).strip("-")
                page.screenshot(path=Path(pictures) / f"{name}-{scheme}.png", full_page=True)


def test_a_dataset_shows_its_lights_and_every_picture(
    chromium: Browser, sandbox: Sandbox, finished: Finished
) -> None:
    with opened(chromium, sandbox, finished.dataset) as page:
        expect(page.locator(".light.green")).to_have_count(4)
        pictures = page.locator(".pictures img")
        expect(pictures).to_have_count(N_SELECTED)
        for picture in pictures.all():
            picture.scroll_into_view_if_needed()
            drawn = "image => image.decode().then(() => image.naturalWidth)"
            assert picture.evaluate(drawn) > 100


def test_the_pointer_shows_the_image_of_a_dot(
    chromium: Browser, sandbox: Sandbox, finished: Finished
) -> None:
    with opened(chromium, sandbox, finished.tag) as page:
        near, points = page.locator(".near"), page.request.get(f"{finished.tag}/points").json()
        assert len(points) == N_PHOTOS
        box = page.locator(".plot svg").bounding_box()
        assert box is not None
        point = next(one for one in points if one["selected"])
        x = box["x"] + point["at"][0] * box["width"] / 1000
        y = box["y"] + point["at"][1] * box["height"] / 600
        expect(near).to_be_hidden()
        page.mouse.move(x, y)
        expect(near.locator("figcaption")).to_contain_text("selected: ")
        assert near.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        page.mouse.move(0, 0)
        expect(near).to_be_hidden()


def test_the_keyboard_leads_to_the_content_and_through_the_faults(
    chromium: Browser, sandbox: Sandbox
) -> None:
    with opened(chromium, sandbox, "/web/faults") as page:
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        page.get_by_label("Fault", exact=True).select_option("status")
        page.get_by_label("Requests").fill("GET /v1/quota")
        page.get_by_label("Status", exact=True).fill("429")
        expect(page.get_by_label("Seconds", exact=True)).to_be_hidden()
        page.keyboard.press("Enter")
        expect(page.get_by_role("cell", name="GET /v1/quota", exact=True)).to_be_visible()
        assert [fault["status"] for fault in sandbox.api("GET", "/sandbox/faults")] == [429]
        page.get_by_role("button", name="End the fault status of GET /v1/quota").press("Enter")
        expect(page.get_by_text("No fault is set.")).to_be_visible()
        assert sandbox.api("GET", "/sandbox/faults") == []


def test_names_that_are_markup_do_nothing(chromium: Browser, sandbox: Sandbox) -> None:
    dataset_id = sandbox.api("POST", "/v1/datasets", {"name": "hostile", "type": "Images"})["id"]
    for name in (
        "<img src=x onerror=\"document.title='pwned'\">.jpg",
        "<script>document.title='pwned'</script>",
    ):
        sandbox.api("POST", f"/v1/datasets/{dataset_id}/samples", {"fileName": name})
    with chromium.new_context(base_url=sandbox.url) as context:
        page = context.new_page()
        page.goto(f"/web/dataset/{dataset_id}")
        page.wait_for_load_state("networkidle")
        expect(page).to_have_title("hostile · Lightly sandbox")
        expect(page.locator(".pictures figure")).to_have_count(2)


def test_a_page_of_another_site_sets_no_fault(chromium: Browser, sandbox: Sandbox) -> None:
    """The same server under its other name is another site for the browser."""
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(sandbox.url.replace("127.0.0.1", "localhost") + "/web/faults")
        # The page forbids itself to send forms elsewhere; another site's page does not.
        page.goto("about:blank")
        action = f"{sandbox.url}/web/faults"
        page.set_content(
            f'<form method="post" action="{action}"><input name="kind" value="reset">'
            '<input name="operation" value="GET /v1/quota"><button>send</button></form>'
        )
        with page.expect_response(re.compile("/web/faults$")) as answered:
            page.get_by_role("button").click()
        assert answered.value.status == 403
    assert sandbox.api("GET", "/sandbox/faults") == []
