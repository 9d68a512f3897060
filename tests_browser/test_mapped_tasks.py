"""
Mapped tasks in Airflow's pages.

A module of its own, after the one about the page "Lightly", which shows the newest verdict of each dataset: this DAG
verifies all of them once more, and its verdicts are others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests_browser.conftest import RUN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests_browser.servers import Servers


def test_mapped_tasks_are_named_by_their_dataset(
    opened: Callable[[str], Page], servers: Servers, green: str, denied: str
) -> None:
    servers.trigger("lightly_access_health", "health")
    servers.state_at_end("lightly_access_health", "health", RUN_SECONDS)
    page = opened("/dags/lightly_access_health/runs/health/tasks/verify/mapped")
    expect(page.get_by_role("heading", name="verify")).to_be_visible()
    for name in ("my-photos", "denied"):
        expect(page.get_by_role("row").filter(has_text=name).first).to_be_visible()
