"""The page "Lightly" through Airflow's own API server, on Airflow's own database."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import timedelta
from html.parser import HTMLParser
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from lightly_provider.plugin import records
from tests.unit.plugin import stored_tasks as stored
from tests.unit.plugin.stored_tasks import CREATE, RUN, VERIFY, StoredTasks, link, many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

pytestmark = pytest.mark.skipif(
    tuple(int(part) for part in version("apache-airflow").split(".")[:2]) < (3, 1),
    reason="Airflow has pages of plugins in its navigation since 3.1",
)


@pytest.fixture(scope="module")
def server(airflow_db: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Airflow's API server, as a client that follows no redirect."""
    from fastapi.testclient import TestClient

    passwords = tmp_path_factory.mktemp("auth") / "passwords.json"
    settings = {
        "AIRFLOW__CORE__AUTH_MANAGER": "tests.unit.plugin.restricting_auth_manager.RestrictingAuthManager",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ann:viewer,bob:viewer,carl:viewer,admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of this test that is long enough for its algorithm, and then some",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        from airflow.api_fastapi.app import create_app, purge_cached_app

        purge_cached_app()
        with TestClient(create_app(apps="core"), base_url="http://airflow.test", follow_redirects=False) as client:
            yield client
        purge_cached_app()


@pytest.fixture
def session(airflow_db: Path) -> Iterator[Session]:
    """A session on Airflow's database."""
    from airflow.utils.session import create_session

    with create_session() as opened:
        yield opened


@contextmanager
def listening(session: Session, statements: list[str]) -> Iterator[None]:
    """Within it, the statements that Airflow's database gets are listed."""
    from sqlalchemy import event

    def executed(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", executed)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", executed)


@pytest.fixture
def tasks(session: Session) -> Iterator[StoredTasks]:
    """Tasks to store; they are deleted afterwards."""
    stored_tasks = StoredTasks(session)
    yield stored_tasks
    session.rollback()
    stored_tasks.clear()


@pytest.fixture
def read(server: Any, tasks: StoredTasks) -> Callable[..., Any]:
    """Read the page as a user, after what is stored so far is committed; returns the answer."""

    def get(path: str = "/lightly/", *, user: str = "carl") -> Any:
        tasks.session.commit()
        return server.get(path, headers=login(user))

    return get


def login(user: str) -> dict[str, str]:
    """The cookie that Airflow's login page sets."""
    from airflow.api_fastapi.app import get_auth_manager

    manager: Any = get_auth_manager()
    token = manager.generate_jwt(manager.deserialize_user({"sub": user, "role": "viewer", "teams": []}))
    return {"Cookie": f"_token={token}"}


class Html(HTMLParser):
    """What a page consists of: its tags with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    def links(self) -> dict[str, str]:
        return {attrs["href"]: tag for tag, attrs in self.tags if (attrs.get("href"))}


def rows_of(page: str) -> list[str]:
    """The rows of the table, each as text."""
    return [
        " ".join(Html(row).text.split()) for row in re.findall(r"<tr>\n<th scope=\"row\">.*?</tr>", page, re.DOTALL)
    ]


def onboarded(tasks: StoredTasks, number: int, dag_id: str, **changes: Any) -> str:
    """A DAG run that created a dataset, verified it, and ran the worker on it."""
    run = tasks.add_run(dag_id, age=changes.pop("age", timedelta(hours=1)))
    url = {"lightly_dataset_url": link(number)}
    name = changes.pop("name", f"dataset {number}")
    tasks.add_task(
        dag_id,
        "create",
        {**url, "return_value": stored.dataset_id(number)},
        run=run,
        operator=CREATE,
        rendered={"dataset_name": name},
    )
    tasks.add_task(dag_id, "verify", {**url, "verdict": stored.verdict(number, **changes)}, run=run, operator=VERIFY)
    result = {"scheduled_run_id": "a" * 24, "run_id": "b" * 24, "tag_name": "selected", "n_selected": 12}
    tasks.add_task(dag_id, "run", {**url, "scheduled_run_id": "a" * 24, "return_value": result}, run=run, operator=RUN)
    return run[1]


# --- what it shows -----------------------------------------------------------------------------------------------


def test_airflows_navigation_has_the_page(server: Any, read: Callable[..., Any]) -> None:
    plugins = server.get("/api/v2/plugins", headers=login("admin")).json()["plugins"]
    (own,) = [plugin for plugin in plugins if plugin["name"] == "lightly"]
    (view,) = own["external_views"]
    assert (view["name"], view["destination"], view["url_route"]) == ("Lightly", "nav", "lightly")
    assert read(view["href"]).status_code == 200


def test_a_dataset_is_shown_with_its_verdict_and_its_run(tasks: StoredTasks, read: Callable[..., Any]) -> None:
    run_id = onboarded(tasks, 1, "onboarding", name="Street scenes")
    answer = read()
    (row,) = rows_of(answer.text)
    for expected in (
        "Street scenes",
        stored.dataset_id(1),
        "INPUT s3://bucket/raw/ list ✓ read ✓",
        "PASS",
        "12 selected, tag selected",
        "success",
        "onboarding / verify",
    ):
        assert expected in row
    links = Html(answer.text).links()
    assert {link(1), f"{stored.WEB_URL}/compute/runs", "/dags/onboarding"} <= set(links)
    assert {f"/dags/onboarding/runs/{run_id}/tasks/{task}" for task in ("verify", "run")} <= set(links)


def test_a_failed_verdict_is_shown_with_its_cause_and_first(tasks: StoredTasks, read: Callable[..., Any]) -> None:
    onboarded(tasks, 1, "good", age=timedelta(minutes=5))
    onboarded(tasks, 2, "bad", status="FAIL", message="s3:GetObject is not allowed", age=timedelta(days=3))
    first, second = rows_of(read().text)
    assert "read ✗ denied" in first
    assert "read: missing permission s3:GetObject is not allowed" in first
    assert "dataset 1" in second
    (only,) = rows_of(read("/lightly/?show=attention").text)
    assert only == first


def test_the_newest_verdict_counts_and_a_later_failure_without_one_is_named(
    tasks: StoredTasks, read: Callable[..., Any]
) -> None:
    onboarded(tasks, 1, "daily", status="FAIL", age=timedelta(hours=3))
    onboarded(tasks, 1, "daily", status="PASS", age=timedelta(hours=2))
    tasks.add_task("daily", "verify", {"lightly_dataset_url": link(1)}, operator=VERIFY, state="failed")
    (row,) = rows_of(read().text)
    assert "read ✓" in row
    assert "failed without a verdict" in row
    onboarded(tasks, 1, "daily", status="PASS", age=timedelta(minutes=1))
    (row,) = rows_of(read().text)
    assert "failed without a verdict" not in row


def test_a_run_that_waits_and_one_that_failed_are_shown_by_their_state(
    tasks: StoredTasks, read: Callable[..., Any]
) -> None:
    url = {"lightly_dataset_url": link(1), "scheduled_run_id": "a" * 24}
    tasks.add_task("waiting", "run", url, operator=RUN, state="deferred")
    tasks.add_task("failing", "mine", url | {"lightly_dataset_url": link(2)}, operator="MyOwnRun", state="failed")
    rows = rows_of(read().text)
    assert "failed" in rows[0]
    assert "failing / mine" in rows[0]
    assert "deferred" in rows[1]


def test_a_mapped_task_leads_to_its_own_page(tasks: StoredTasks, read: Callable[..., Any]) -> None:
    xcoms = {"lightly_dataset_url": link(1), "verdict": stored.verdict(1)}
    run_id = tasks.add_task("mapped", "group.verify", xcoms, operator=VERIFY, map_index=3, map_name="Fleet 3")
    page = read().text
    assert "Fleet 3" in rows_of(page)[0]
    assert f"/dags/mapped/runs/{run_id}/tasks/group.verify/mapped/3" in Html(page).links()


def test_what_is_stored_elsewhere_or_has_another_form_is_not_shown(
    tasks: StoredTasks, read: Callable[..., Any]
) -> None:
    for number, value in enumerate(["s3://xcoms/verdict.json", 12, [], {"checks": "x", "ok": []}, {"checks": [1]}], 1):
        xcoms = {"lightly_dataset_url": link(number), "verdict": value, "return_value": value}
        tasks.add_task("odd", f"task{number}", xcoms, operator=VERIFY)
    tasks.add_task("odd", "no_link", {"lightly_dataset_url": {"a": 1}})
    rows = rows_of(read().text)
    assert len(rows) == 5
    assert sum("The verdict is not in Airflow's database" in row for row in rows) >= 3


def test_the_period_and_the_search_choose(tasks: StoredTasks, read: Callable[..., Any]) -> None:
    onboarded(tasks, 1, "recent", name="Streets")
    onboarded(tasks, 2, "old", name="Fields", age=timedelta(days=60))
    assert ["Streets" in row for row in rows_of(read().text)] == [True]
    assert len(rows_of(read("/lightly/?days=90").text)) == 2
    for found in ("field", stored.dataset_id(2), "OLD"):
        assert ["Fields" in row for row in rows_of(read(f"/lightly/?days=90&q={found}").text)] == [True]
    # What cannot be used counts as left out.
    assert len(rows_of(read("/lightly/?days=x&page=-1&show=no&page=1e9").text)) == 1


# --- who may see it ----------------------------------------------------------------------------------------------


def test_without_a_login_nothing_is_shown(server: Any, tasks: StoredTasks) -> None:
    onboarded(tasks, 1, "onboarding", name="Street scenes")
    tasks.session.commit()
    for headers in ({}, {"Cookie": "_token=no-token"}, {"Authorization": "Bearer no-token"}):
        answer = server.get("/lightly/", headers=headers)
        assert answer.status_code in (401, 403)
        assert "Street" not in answer.text
    assert "Log in" in server.get("/lightly/").text


@pytest.mark.parametrize("user", ["ann", "bob"])
def test_a_user_sees_only_what_tasks_of_readable_dags_stored(
    tasks: StoredTasks, read: Callable[..., Any], user: str
) -> None:
    onboarded(tasks, 1, "open", name="Streets")
    onboarded(tasks, 2, "hidden_dag", name="Fields")
    # Two DAGs work on one dataset: what the hidden one found is not shown.
    onboarded(tasks, 1, "hidden_too", name="Renamed", status="FAIL", age=timedelta(minutes=1))
    page = read(user=user).text
    (row,) = rows_of(page)
    assert "Streets" in row
    for hidden in ("Fields", "hidden", "Renamed", "denied"):
        assert hidden not in page
    assert len(rows_of(read(user="carl").text)) == 2


def test_the_page_can_only_be_read(server: Any, read: Callable[..., Any]) -> None:
    from lightly_provider.plugin.web import web_application

    assert {method for route in web_application().routes for method in route.methods} == {"GET"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = server.request(method, "/lightly/", headers=login("admin"))
        assert answer.status_code == 405
    assert read("/lightly/docs").status_code == read("/lightly/openapi.json").status_code == 404


def test_no_other_origin_may_read_or_frame_it(server: Any, read: Callable[..., Any]) -> None:
    headers = {"Origin": "https://elsewhere.test"}
    for answer in (
        server.get("/lightly/", headers=headers | login("carl")),
        server.options("/lightly/", headers=headers | {"Access-Control-Request-Method": "GET"}),
        server.get("/lightly/", headers=headers),
    ):
        assert "access-control-allow-origin" not in answer.headers
        assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


def test_nothing_is_loaded_from_anywhere(tasks: StoredTasks, read: Callable[..., Any]) -> None:
    onboarded(tasks, 1, "onboarding")
    answer = read()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    page = Html(answer.text)
    nonces = {attrs.get("nonce") for tag, attrs in page.tags if tag in ("script", "style")}
    assert len(nonces) == 1
    assert f"'nonce-{nonces.pop()}'" in policy
    assert not [attrs for _, attrs in page.tags if "src" in attrs or "style" in attrs or "srcset" in attrs]
    assert not [tag for tag, _ in page.tags if tag in ("link", "img", "iframe", "object", "base")]
    assert read().headers["content-security-policy"] != policy, "the nonce is another one each time"


# --- what is foreign ---------------------------------------------------------------------------------------------

CANARY = "\"><script>alert(1)</script><img src=x onerror=alert(2)>' onmouseover='alert(3) {{7*7}} \x1b[31m \u202e"


def test_what_is_foreign_stays_text(tasks: StoredTasks, read: Callable[..., Any]) -> None:
    failed = {"status": "FAIL", "name": CANARY, "message": CANARY, "cause": CANARY, "error": CANARY, "purpose": CANARY}
    run = tasks.add_run("canaries")
    url = {"lightly_dataset_url": link(1)}
    verdict = stored.verdict(1, **failed, location=f"s3://{CANARY}", permission="read")
    tasks.add_task("canaries", "verify", {**url, "verdict": verdict}, run=run, operator=VERIFY, state="failed")
    result = {"tag_name": CANARY, "n_selected": CANARY, "dataset_name": CANARY}
    tasks.add_task("canaries", "run", {**url, "return_value": result}, run=run, operator=RUN)
    tasks.add_task("canaries", "map", url, run=run, map_index=1, map_name=CANARY)
    page = read(f"/lightly/?q={'%22%3E%3Cscript%3E'}").text
    clean = read("/lightly/").text
    for text in (page, clean):
        parsed = Html(text)
        assert [tag for tag, _ in parsed.tags if tag in ("script", "img")] == ["script"]
        assert not [name for _, attrs in parsed.tags for name in attrs if name.startswith("on")]
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "49" not in re.sub(r"\d{4}-\d\d-\d\d|T?\d\d:\d\d(:[\d.+:]+)?", "", parsed.text), (
            "no template in a template"
        )
    assert "alert(1)" in rows_of(clean)[0], "it is shown"


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)//dataset/" + stored.dataset_id(1),
        "data:text/html,x/dataset/" + stored.dataset_id(1),
        "https://user:pass@app.lightly.test/dataset/" + stored.dataset_id(1),
        "https://app.lightly.test/dataset/" + stored.dataset_id(1) + "?token=x",
        "//app.lightly.test/dataset/" + stored.dataset_id(1),
        "https://app.lightly.test/dataset/../x",
        'https://app.lightly.test/"onclick=x/dataset/' + stored.dataset_id(1),
        "https://[/dataset/" + stored.dataset_id(1),
    ],
)
def test_a_link_that_no_dataset_has_is_not_shown(tasks: StoredTasks, read: Callable[..., Any], address: str) -> None:
    tasks.add_task("links", "task", {"lightly_dataset_url": address})
    answer = read()
    assert answer.status_code == 200
    assert rows_of(answer.text) == []


# --- many --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "n_tasks",
    [4_000, pytest.param(10_000, marks=pytest.mark.exhaustive), pytest.param(60_000, marks=pytest.mark.exhaustive)],
)
def test_500_datasets_are_paged_and_few_tasks_are_read(
    tasks: StoredTasks, read: Callable[..., Any], session: Session, monkeypatch: pytest.MonkeyPatch, n_tasks: int
) -> None:
    many(tasks, n_datasets=500, n_tasks=n_tasks)
    read()  # the first one imports
    statements: list[str] = []
    values: list[Any] = []
    decoded = records._decoded
    monkeypatch.setattr(records, "_decoded", lambda value: values.append(value) or decoded(value))
    with listening(session, statements):
        answer = read()
    assert len(rows_of(answer.text)) == 50
    assert "Page 1 of 10" in answer.text
    assert ("Not complete" in answer.text) is (n_tasks > 50_000)
    # The database chooses: of each dataset the newest task of each kind, and for the 50 shown what they pushed.
    assert 0 < len(values) <= 500 * len(records.Kind) + 50 * 2
    assert 0 < len(statements) <= 10, statements
    pages = [rows_of(read(f"/lightly/?page={number}").text) for number in (1, 5, 10, 11)]
    assert [len(page) for page in pages] == [50, 50, 50, 50]
    assert pages[2] == pages[3], "a page after the last is the last"
    assert not set(pages[0]) & set(pages[1])
