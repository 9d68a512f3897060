"""
Serves the page: one route, which reads, behind Airflow's own login and rights.

A user sees what the tasks of a DAG stored only with the rights to read the DAG, its task instances and its XComs.
Everything that is shown comes from Airflow's database; no platform is asked, and no connection is read.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser  # noqa: TC002 - FastAPI reads the annotation
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from lightly_provider.plugin.datasets import dag_path, datasets_of
from lightly_provider.plugin.records import MOST_TASKS, dags_with_datasets, newest_records, results, verdicts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from starlette.responses import Response

DATASETS_PER_PAGE = 50
PERIODS_IN_DAYS = (7, 30, 90, 365)
_DEFAULT_PERIOD = 30
_LONGEST_SEARCH = 200
# Nothing is loaded from anywhere; the page's own style and script have the nonce.
_POLICY = "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# A right to the DAG alone does not include what its tasks stored.
_NEEDED = (DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)


@cache
def web_application() -> FastAPI:
    """Return the application; Airflow's API server mounts it."""
    application = FastAPI(title="Lightly", openapi_url=None, docs_url=None, redoc_url=None)
    application.middleware("http")(_with_headers)
    application.add_exception_handler(HTTPException, _refused)
    application.get("/", response_class=HTMLResponse)(show_datasets)
    return application


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _refused(request: Request, error: Exception) -> HTMLResponse:
    """Answer a request that Airflow refuses, or that leads to no page."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {
        401: "You are not logged in to Airflow. Log in, and open this page again.",
        403: "Airflow does not accept your login. Log in again, and open this page again.",
        404: "There is no such page.",
        405: "This page can only be read.",
    }.get(status, "The page cannot be shown.")
    page = _template("message.html").render(text=text, airflow=_airflow_root(request))
    return HTMLResponse(page, status_code=status)


def show_datasets(request: Request, user: Annotated[BaseUser, Depends(get_user)]) -> HTMLResponse:
    """
    Show the datasets that the DAGs manage which the user may read.

    Query parameters: ``q``, a search in names, ids and DAGs; ``show=attention``; ``days``; ``page``. A value that
    cannot be used counts as left out.
    """
    asked = request.query_params
    search = asked.get("q", "")[:_LONGEST_SEARCH].strip()
    only_attention = asked.get("show") == "attention"
    days = next((each for each in PERIODS_IN_DAYS if asked.get("days") == str(each)), _DEFAULT_PERIOD)
    since = datetime.now(UTC) - timedelta(days=days)

    with create_session() as session:
        candidates = dags_with_datasets(session, since=since)
    readable = _readable(user, candidates)
    with create_session() as session:
        records = newest_records(session, dag_ids=readable, since=since)
        found = [one for one in datasets_of(records.newest) if not search or one.is_found_by(search)]
        n_attention = sum(one.needs_attention for one in found)
        wanted = [one for one in found if one.needs_attention or not only_attention]
        n_pages = max(1, -(-len(wanted) // DATASETS_PER_PAGE))
        number = min(max(_number(asked.get("page")), 1), n_pages)
        shown = wanted[(number - 1) * DATASETS_PER_PAGE : number * DATASETS_PER_PAGE]
        of_verdicts = verdicts(session, [one.verdict_record for one in shown if one.verdict_record])
        of_runs = results(session, [one.run_record for one in shown if one.run_record])

    def address(page: int) -> str:
        given: dict[str, Any] = {"q": search, "show": "attention" if only_attention else "", "days": days, "page": page}
        return "?" + urlencode({name: value for name, value in given.items() if value})

    nonce = secrets.token_urlsafe(16)
    page = _template("datasets.html").render(
        nonce=nonce,
        airflow=_airflow_root(request),
        rows=[(one, one.verdict(of_verdicts), one.run(of_runs)) for one in shown],
        n_found=len(found),
        n_attention=n_attention,
        search=search,
        only_attention=only_attention,
        days=days,
        periods=PERIODS_IN_DAYS,
        number=number,
        n_pages=n_pages,
        address=address,
        dag_path=dag_path,
        most_tasks=MOST_TASKS if records.is_cut else 0,
    )
    own = f"script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
    return HTMLResponse(page, headers={"Content-Security-Policy": f"{_POLICY}; {own}"})


def _readable(user: BaseUser, dag_ids: Collection[str]) -> set[str]:
    """Return those of the DAGs whose task instances and XComs the user may read."""
    if not dag_ids:
        return set()
    manager = get_auth_manager()
    readable = manager.get_authorized_dag_ids(user=user, method="GET") & set(dag_ids)
    teams = _teams(readable)
    return {
        dag_id
        for dag_id in readable
        if all(
            manager.is_authorized_dag(
                method="GET",
                access_entity=entity,
                details=DagDetails(id=dag_id, team_name=teams.get(dag_id)),
                user=user,
            )
            for entity in _NEEDED
        )
    }


def _teams(dag_ids: Collection[str]) -> Mapping[str, str | None]:
    if not dag_ids or not hasattr(DagModel, "get_dag_id_to_team_name_mapping"):  # Airflow 3.1 has no teams
        return {}
    with create_session() as session:
        return DagModel.get_dag_id_to_team_name_mapping(list(dag_ids), session=session)


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 10 else 1


def _airflow_root(request: Request) -> str:
    """Return the path below which Airflow is served; it ends with a slash."""
    # The mounted application's own path is in `root_path` (starlette 1.10, routing.py, Mount.matches).
    return f"{request.scope.get('app_root_path', '').rstrip('/')}/"


@cache
def _template(name: str) -> Any:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["time"] = _time
    return environment.get_template(name)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
