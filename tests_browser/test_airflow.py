"""Airflow's pages in Chromium: forms, graphs, runs, logs, links and assets of the example DAGs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests_browser.conftest import ONBOARDING
from tests_browser.servers import DENIED_PATH, INPUT_PATH, LIGHTLY_PATH, example_ids

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator, Page, Response

    from tests_browser.servers import Servers

    Open = Callable[[str], Page]
    Take = Callable[..., None]

OPEN_GROUPS = "Expand all task groups"
N_SELECTED = 24


# --- connections ---------------------------------------------------------------------------------


def test_a_connection_is_entered_saved_tested_and_read_back(opened: Open, servers: Servers, take: Take) -> None:
    page = opened("/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator("input[name=connection_id]").fill("from_the_form")
    form.get_by_role("combobox").first.fill("Lightly")
    page.get_by_role("option", name="Lightly", exact=True).click()
    for label in ("API address", "API token", "Port (0: the address has it)"):
        expect(form.get_by_text(label, exact=True)).to_be_visible()
    for hidden in ("Login", "Schema"):
        expect(form.get_by_text(hidden, exact=True)).to_have_count(0)
    expect(form.locator("input[name=host]")).to_have_attribute("placeholder", "https://api.lightly.ai")
    token = form.locator("input[name=password]")
    expect(token).to_have_attribute("type", "password")
    take(page, "connection_form")

    form.locator("input[name=host]").fill(servers.sandbox["lightly_url"])
    form.locator("input[name=port]").fill("0")
    token.fill(servers.sandbox["token"])
    form.get_by_role("button", name="Extra Fields", exact=True).click()
    for label in ("Web address", "CA bundle", "Proxies", "Connect timeout (s)", "Read timeout (s)"):
        expect(form.get_by_text(label, exact=True)).to_be_visible()
    form.locator("#element_web_url").fill(servers.sandbox["web_url"])
    form.get_by_role("button", name="Save").click()
    row = page.get_by_role("row").filter(has_text="from_the_form")
    expect(row).to_contain_text(servers.sandbox["lightly_url"])

    with page.expect_response(re.compile("/api/v2/connections/test$")) as tested:
        row.get_by_role("button", name="Test Connection").click()
    assert tested.value.status == 200, tested.value.text()
    answer = tested.value.json()
    assert answer["status"], answer
    assert "Connected to" in answer["message"]

    page = opened("/connections")
    page.get_by_role("row").filter(has_text="from_the_form").get_by_role("button", name="Edit Connection").click()
    form = page.get_by_role("dialog")
    expect(form.locator("input[name=host]")).to_have_value(servers.sandbox["lightly_url"])
    expect(form.locator("input[name=password]")).to_have_value("***")
    stored = servers.ask("GET", "/connections/from_the_form")
    assert json.loads(stored["extra"])["web_url"] == servers.sandbox["web_url"]


# --- trigger forms -------------------------------------------------------------------------------


def trigger_form(page: Page) -> Locator:
    page.get_by_role("button", name="Trigger Dag").first.click()
    form = page.get_by_role("dialog")
    expect(form.get_by_role("button", name="Trigger", exact=True)).to_be_visible()
    return form


def submit(page: Page, form: Locator) -> dict[str, Any]:
    """Click *Trigger*; return the run that the API created."""

    def is_a_run(response: Response) -> bool:
        return response.request.method == "POST" and response.url.endswith("/dagRuns")

    expect(form.get_by_role("button", name="Trigger", exact=True)).to_be_enabled()
    with page.expect_response(is_a_run) as answered:
        form.get_by_role("button", name="Trigger", exact=True).click()
    assert answered.value.ok, answered.value.text()
    run: dict[str, Any] = answered.value.json()
    return run


@pytest.mark.parametrize("dag_id", sorted(example_ids()))
def test_the_first_click_triggers_every_dag(opened: Open, servers: Servers, take: Take, dag_id: str) -> None:
    page = opened(f"/dags/{dag_id}")
    form = trigger_form(page)
    declared = servers.ask("GET", f"/dags/{dag_id}/details")["params"]
    for name, param in declared.items():
        field = form.get_by_role("group").filter(has_text=param["schema"]["title"])
        shown = f"#element_{name}, input[name=element_{name}]:not([type=hidden])"
        expect(field.locator(shown).first).to_be_visible()
    if dag_id == ONBOARDING:
        take(page, "trigger_form")

    run = submit(page, form)

    # It was accepted with what the form holds; the tests of whole runs are elsewhere.
    if dag_id == ONBOARDING:
        servers.end(dag_id, run)
    else:
        servers.stop(dag_id)
    assert run["conf"] == {name: param["value"] for name, param in declared.items()}


# --- lists and graphs ----------------------------------------------------------------------------


@pytest.mark.parametrize("dag_id", sorted(example_ids()))
def test_the_graph_shows_every_task_with_a_short_name(opened: Open, servers: Servers, dag_id: str) -> None:
    tasks = servers.ask("GET", f"/dags/{dag_id}/tasks")["tasks"]
    page = opened(f"/dags/{dag_id}")
    page.get_by_role("button", name="Show Graph (Press g)").click()
    expect(page.locator(".react-flow__node").first).to_be_visible()
    for groups in page.get_by_role("button", name=OPEN_GROUPS).all():
        groups.click()
    for task in tasks:
        # A mapped task is shown as "verify [ ]", and a task in a group without the group's id.
        name = task["task_id"].rpartition(".")[2]
        label = page.get_by_text(re.compile(rf"^{name}( \[.*\])?$"))
        node = page.locator(".react-flow__node").filter(has=label).last
        expect(node).to_contain_text(task["operator_name"])
        assert len(task["operator_name"]) <= 28
    details = servers.ask("GET", f"/dags/{dag_id}/details")
    assert details["description"]
    assert details["doc_md"]


def test_the_graph_of_the_onboarding_is_one_line(opened: Open, green: str, take: Take) -> None:
    page = opened(green)
    page.get_by_role("button", name="Show Graph (Press g)").click()
    nodes, arrows = page.locator(".react-flow__node"), page.locator(".react-flow__edge")
    expect(nodes).to_have_count(2)
    expect(arrows).to_have_count(1)
    page.get_by_role("button", name=OPEN_GROUPS).click()
    for name in ("configure", "run_worker", "print_selection"):
        expect(nodes.filter(has_text=name).last).to_be_visible()
    for name in ("Lightly configure S3", "Lightly verify permissions", "Lightly run worker", "Lightly export tag"):
        expect(nodes.filter(has_text=name).last).to_be_visible()
    page.get_by_role("button", name="Fit View").click()
    take(page, "onboarding_graph")


# --- a run ---------------------------------------------------------------------------------------


def task_page(opened: Open, run: str, task_id: str, tab: str = "") -> Page:
    page = opened(f"{run}/tasks/{task_id}{tab}")
    expect(page.get_by_role("heading", name=task_id)).to_be_visible()
    return page


def test_a_green_verification_and_the_selection_stand_in_the_logs(opened: Open, green: str, take: Take) -> None:
    page = task_page(opened, green, "verify_permissions")
    expect(page.get_by_text(INPUT_PATH).first).to_be_visible()
    expect(page.get_by_text(LIGHTLY_PATH).first).to_be_visible()
    expect(page.locator("body")).to_contain_text("PASS")
    take(page, "verified")

    page = task_page(opened, green, "print_selection")
    expect(page.get_by_text(f"{N_SELECTED} images are selected").first).to_be_visible()


def test_rendered_fields_and_xcoms_hold_what_was_entered_and_returned(
    opened: Open, servers: Servers, green: str
) -> None:
    page = task_page(opened, green, "configure", "/rendered_templates")
    expect(page.get_by_text("resource_path", exact=True)).to_be_visible()
    expect(page.locator("body")).to_contain_text("demo-photos/raw/")

    page = task_page(opened, green, "run_worker", "/xcom")
    for key in ("dataset_id", "lightly_dataset_url", "n_selected", "return_value", "tag_name"):
        expect(page.get_by_text(key, exact=True).first).to_be_visible()


def test_each_link_leads_where_it_says(opened: Open, servers: Servers, green: str, take: Take) -> None:
    page = task_page(opened, green, "run_worker", "/details")
    dataset, runs = (page.get_by_role("link", name=name, exact=True) for name in ("Lightly dataset", "Lightly runs"))
    expect(dataset).to_be_visible()
    expect(runs).to_be_visible()
    take(page, "run_links")
    to_dataset, to_runs = dataset.get_attribute("href"), runs.get_attribute("href")
    assert to_dataset is not None
    assert to_runs is not None

    page = opened(to_runs)
    expect(page).to_have_title(re.compile("Runs"))
    expect(page.locator("main")).to_contain_text("COMPLETED")
    page = opened(to_dataset)
    expect(page.get_by_role("heading", name="my-photos")).to_be_visible()
    expect(page.locator(".light.green")).to_have_count(4)
    expect(page.locator(".pictures img")).to_have_count(N_SELECTED)
    take(page, "sandbox_dataset")


# Says what is wrong if a text is not on the page, or cannot be seen there without scrolling the log in its box.
CUT_OFF = """
(box, text) => {
  const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  const pieces = [];
  let all = "";
  while (walker.nextNode()) {
    pieces.push([all.length, walker.currentNode]);
    all += walker.currentNode.data;
  }
  const begin = all.indexOf(text);
  if (begin < 0) return `not on the page: ${text}`;
  const place = (at) => {
    const [start, node] = pieces.findLast(([start]) => start <= at);
    return [node, at - start];
  };
  const range = document.createRange();
  range.setStart(...place(begin));
  const [last, offset] = place(begin + text.length - 1);
  range.setEnd(last, offset + 1);
  for (let outer = range.startContainer.parentElement; outer !== null; outer = outer.parentElement) {
    if (getComputedStyle(outer).overflowX === "visible") continue;
    const seen = outer.getBoundingClientRect();
    for (const part of range.getClientRects()) {
      if (part.right > seen.right || part.bottom > seen.bottom) return `cut off: ${text}`;
    }
  }
  return "";
}
"""
# What is seen of a failed task's log without a scroll: what is wrong, and what to do or where to look.
UNDERSTOOD = {
    "verify_permissions": (
        "LightlyPermissionsError: Dataset 'denied' lacks permissions:",
        "list, read in INPUT (no policy allows it",
        "To the IAM policy of user lightly-demo add:",
    ),
    "run_worker": (
        "LightlyRunFailedError: The run ended as FAILED: There are no images at all",
        "Dataset: 'no-photos'",
        "Its log and report: http://127.0.0.1:",
    ),
    "create_dataset": (
        "ValueError: dataset_name is 'ab', which the platform does not allow;",
        "use at least 3 of letters, digits,",
    ),
}


def log_in_the_overview(page: Page, task_id: str) -> Locator:
    """Open the log of a failed task on the page of its DAG; it shows lines of level ERROR and higher only."""
    whole = page.get_by_role("link", name="View full logs")
    name = page.get_by_text(re.compile(f"^{task_id}"))
    head = page.locator("div").filter(has=name).filter(has=whole).last
    head.get_by_role("button", name="Show Logs").click()
    return head.locator("..")


@pytest.mark.parametrize("task_id", UNDERSTOOD)
def test_a_failed_task_is_understood_from_the_overview(opened: Open, failed: None, take: Take, task_id: str) -> None:
    page = opened(f"/dags/{ONBOARDING}")
    page.set_viewport_size({"width": 1400, "height": 900})
    box = log_in_the_overview(page, task_id)
    expect(box).to_contain_text(UNDERSTOOD[task_id][0].partition(":")[0])
    box.scroll_into_view_if_needed()
    assert {text: cut for text in UNDERSTOOD[task_id] if (cut := box.evaluate(CUT_OFF, text))} == {}
    if task_id == "verify_permissions":
        # The rest is there, too, for those who scroll.
        for text in ("s3:ListBucket", "Effect", DENIED_PATH.rstrip("/").rpartition("/")[2]):
            expect(box).to_contain_text(text)
        take(page, "failed_verification")


def test_the_asset_connects_the_two_dags(opened: Open) -> None:
    page = opened("/assets")
    page.get_by_text("s3://my-bucket/photos/").first.click()
    for dag_id in ("lightly_on_new_images", "ingest_and_announce"):
        expect(page.get_by_text(dag_id).first).to_be_visible()
