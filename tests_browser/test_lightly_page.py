"""The page "Lightly" in Airflow's navigation, in Chromium: what it shows, where its links lead, and who sees it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests_browser.conftest import ONBOARDING
from tests_browser.servers import DENIED_PATH, INPUT_PATH, LIGHTLY_PATH, READER, WITHOUT_RIGHTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import FrameLocator, Locator, Page

    from tests_browser.servers import Servers, WithLogin

    Open = Callable[[str], Page]
    Take = Callable[..., None]

GOOD, BAD = "my-photos", "denied"
N_SELECTED = 24
PHONE = {"width": 390, "height": 844}


def in_airflow(opened: Open) -> tuple[Page, FrameLocator]:
    """Airflow's page with ours in its frame, as a click on the entry in the navigation opens it."""
    page = opened("/")
    entry = page.get_by_role("link", name="Lightly", exact=True)
    expect(entry).to_be_visible()
    entry.click()
    expect(page).to_have_url(re.compile(r"/plugin/lightly(/|$)"))
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Lightly")).to_be_visible()
    return page, frame


def row_of(frame: FrameLocator, name: str) -> Locator:
    found = frame.get_by_role("row").filter(has=frame.get_by_role("link", name=name, exact=True))
    expect(found).to_have_count(1)
    return found


def test_an_entry_in_the_navigation_shows_each_dataset_with_its_verdict_and_run(
    opened: Open, green: str, denied: str, take: Take
) -> None:
    page, frame = in_airflow(opened)
    good = row_of(frame, GOOD)
    for path in (INPUT_PATH, LIGHTLY_PATH):
        expect(good).to_contain_text(path)
    for permission in ("list ✓", "read ✓", "write ✓", "overwrite ✓"):
        expect(good).to_contain_text(permission)
    expect(good).to_contain_text("PASS")
    expect(good).to_contain_text(f"{N_SELECTED} selected, tag ")
    expect(good).to_contain_text("success")

    bad = row_of(frame, BAD)
    for text in (DENIED_PATH, "list ✗ denied", "no policy allows it", "FAIL", "no run"):
        expect(bad).to_contain_text(text)
    # What needs attention comes first.
    expect(frame.locator("tbody th").last).to_contain_text(GOOD)
    take(page, "lightly_page")

    frame.get_by_label("Name, id or DAG").fill(GOOD)
    frame.get_by_role("button", name="Show").click()
    expect(frame.locator("tbody tr")).to_have_count(1)
    expect(frame.locator("tbody th")).to_contain_text(GOOD)


@pytest.mark.parametrize(
    ("link", "heading"), [(re.compile(f"^{GOOD}$"), GOOD), (re.compile("^Lightly's runs$"), "Runs")]
)
def test_a_link_to_the_platform_opens_a_tab_of_its_own(
    opened: Open, green: str, link: re.Pattern[str], heading: str
) -> None:
    page, frame = in_airflow(opened)
    with page.context.expect_page() as opening:
        row_of(frame, GOOD).get_by_role("link", name=link).click()
    expect(opening.value.get_by_role("heading", name=heading, exact=True)).to_be_visible()
    expect(page).to_have_url(re.compile(r"/plugin/lightly(/|$)"))


@pytest.mark.parametrize(
    ("link", "path"),
    [
        (f"{ONBOARDING} / verify_permissions", f"/dags/{ONBOARDING}/runs/green/tasks/verify_permissions"),
        (f"{ONBOARDING} / run_worker", f"/dags/{ONBOARDING}/runs/green/tasks/run_worker"),
        (ONBOARDING, f"/dags/{ONBOARDING}"),
    ],
)
def test_a_link_to_airflow_leads_there_and_out_of_the_frame(opened: Open, green: str, link: str, path: str) -> None:
    page, frame = in_airflow(opened)
    row_of(frame, GOOD).get_by_role("link", name=link, exact=True).click()
    expect(page).to_have_url(re.compile(f"{re.escape(path)}$"))
    expect(page.get_by_role("heading", name=path.rpartition("/")[2])).to_be_visible()


@pytest.mark.parametrize(("scheme", "size"), [("light", None), ("dark", PHONE)])
def test_it_has_no_serious_problem_for_readers_with_a_disability(
    opened: Open, green: str, denied: str, axe: str, scheme: str, size: dict[str, int] | None
) -> None:
    page = opened("/lightly/")
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    if size is not None:
        page.set_viewport_size({"width": size["width"], "height": size["height"]})
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.evaluate(axe)
    found = page.evaluate("axe.run(document)")
    assert found["passes"], "axe looked at the page"
    assert [
        (problem["id"], [node["html"][:200] for node in problem["nodes"]])
        for problem in found["violations"]
        if problem["impact"] in ("serious", "critical")
    ] == []


def test_only_who_may_read_the_dags_sees_the_datasets(
    opened: Open, servers: Servers, with_login: WithLogin, green: str, denied: str
) -> None:
    shown = {}
    for user in (READER, WITHOUT_RIGHTS):
        page = opened(f"{with_login.url}/auth/login")
        page.get_by_label("Username").fill(user)
        page.get_by_label("Password").fill(with_login.passwords[user])
        page.get_by_role("button", name="Sign in").click()
        expect(page).not_to_have_url(re.compile("/auth/login"))
        page = opened(f"{with_login.url}/lightly/")
        expect(page.get_by_role("heading", name="Lightly")).to_be_visible()
        shown[user] = page.content()
        page.context.clear_cookies()
    page = opened(f"{with_login.url}/lightly/")
    expect(page.locator("body")).to_contain_text("You are not logged in to Airflow.")
    shown["nobody"] = page.content()

    for text in (GOOD, INPUT_PATH, DENIED_PATH, ONBOARDING, "my-photos"):
        assert text in shown[READER]
        assert text not in shown[WITHOUT_RIGHTS]
        assert text not in shown["nobody"]
    assert "No dataset here" in shown[WITHOUT_RIGHTS]
