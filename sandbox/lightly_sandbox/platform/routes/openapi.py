"""``/openapi.json``: what the sandbox serves of the platform's API, in OpenAPI's form.

It is made from the routes themselves, so that it says what they do, and names each operation as the contract
does (lightly 1.5.26, api/*.py). The document's address is the sandbox's own.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from lightly_sandbox.contract.operations import OPERATIONS
from lightly_sandbox.contract.wire import ApiErrorResponse, forbid_null
from lightly_sandbox.platform.requests import body_of
from lightly_sandbox.platform.routes import not_implemented

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pydantic.json_schema import JsonSchemaMode

PATH = "/openapi.json"
_PUBLIC = "/v1/versions/"
_OF_THE_FRAMEWORK = ("HTTPValidationError", "ValidationError")

TOKEN, PUBLIC_TOKEN = "ApiKeyAuth", "ApiPublicJWTAuth"
_SECURITY_SCHEMES = {
    TOKEN: {"type": "apiKey", "in": "query", "name": "token"},
    PUBLIC_TOKEN: {"type": "apiKey", "in": "query", "name": "publicToken"},
}

_REF = "#/components/schemas/{model}"
_ALWAYS = (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_PARAMETER = re.compile(r"{([^/]+)}")

router = APIRouter()


@router.get(PATH)
def document(request: Request) -> JSONResponse:
    """The document; it needs no token and holds no secret."""
    return JSONResponse(request.app.state.document())


def describe(title: str, version: str, routers: Iterable[APIRouter]) -> dict[str, Any]:
    """The document of what ``routers`` serve, the operations of the contract that are left out among it."""
    routes = _contract_routes(routers)
    known = get_openapi(title=title, version=version, routes=list(routes.values()))
    bodies = {name: body for name, route in routes.items() if (body := _body(route)) is not None}
    body_schemas, definitions = _schemas(bodies)
    paths: dict[str, dict[str, Any]] = {}
    for name, (method, path) in OPERATIONS.items():
        given = known["paths"][routes[name].path_format][method.lower()]
        described = _left_out() if (method, path) in not_implemented.OPERATIONS else _served(name, given)
        if name in bodies:
            content = {"application/json": {"schema": body_schemas[name]}}
            described["requestBody"] = {"required": True, "content": content}
        described["parameters"] = list(_parameters(name, given.get("parameters", [])))
        paths.setdefault(path, {})[method.lower()] = {"operationId": name, **described}
    schemas = {**known["components"]["schemas"], **definitions}
    components = {name: schemas[name] for name in sorted(schemas) if name not in _OF_THE_FRAMEWORK}
    document = {
        "openapi": known["openapi"],
        "info": known["info"],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _SECURITY_SCHEMES},
    }
    _strip_titles(document["paths"], document["components"])
    return document


def _contract_routes(routers: Iterable[APIRouter]) -> dict[str, APIRoute]:
    """The route of each operation of the contract."""
    by_shape = {(method, _PARAMETER.sub("{}", path)): name for name, (method, path) in OPERATIONS.items()}
    routes = {}
    for route in (route for router in routers for route in router.routes if isinstance(route, APIRoute)):
        for method in route.methods or ():
            name = by_shape.get((method, _PARAMETER.sub("{}", route.path_format)))
            if name is not None:
                routes[name] = route
    return routes


def _body(route: APIRoute) -> TypeAdapter[Any] | None:
    """What the route reads from the body."""
    found = (body_of(inner.call) for inner in route.dependant.dependencies)
    return next((body for body in found if body is not None), None)


def _schemas(bodies: Mapping[str, TypeAdapter[Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of each body by its operation, and the definitions that they and the refusals refer to."""
    inputs: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        (name, "validation", body) for name, body in bodies.items()
    ]
    inputs.append(("", "validation", TypeAdapter(ApiErrorResponse)))
    schemas, rest = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    return {name: schema for (name, _), schema in schemas.items()}, rest["$defs"]


def _left_out() -> dict[str, Any]:
    return {
        "summary": "Known, and left out of the sandbox.",
        "responses": _refusals(HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_IMPLEMENTED),
        "security": [{TOKEN: []}],
    }


def _served(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """An operation as the framework describes it, with what it does not know: refusals and the token."""
    method, path = OPERATIONS[name]
    told_responses = {
        status: response
        for status, response in given["responses"].items()
        if not any(framework in str(response) for framework in _OF_THE_FRAMEWORK)
    }
    statuses = list(_ALWAYS)
    if not path.startswith(_PUBLIC):
        statuses.append(HTTPStatus.UNAUTHORIZED)
    if method != "GET":
        # A name that is taken, a state that does not allow it: guesses, as docs/sandbox.md says.
        statuses.append(HTTPStatus.CONFLICT)
    security: list[dict[str, list[str]]] = [{TOKEN: []}]
    if path.endswith("readurlRedirect"):
        security = [{PUBLIC_TOKEN: []}]
    elif path.startswith(_PUBLIC):
        security = []
    return {
        "summary": given["description"].split("\n")[0],
        "responses": {**_refusals(*statuses), **told_responses},
        "security": security,
    }


def _refusals(*statuses: HTTPStatus) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REF.format(model=ApiErrorResponse.__name__)}}}
    return {
        str(status.value): {"description": status.phrase, "content": content} for status in sorted(statuses)
    }


def _parameters(name: str, given: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The parameters under the contract's names; the redirects' token is described by its scheme."""
    in_path = [parameter for parameter in given if parameter["in"] == "path"]
    for number, of_contract in enumerate(_PARAMETER.findall(OPERATIONS[name][1])):
        # What is left out has a path and reads nothing of it.
        told_schema = in_path[number]["schema"] if in_path else {"type": "string"}
        yield {"name": of_contract, "in": "path", "required": True, "schema": told_schema}
    for parameter in given:
        if parameter["in"] != "query":
            continue
        if parameter["name"] != _SECURITY_SCHEMES[PUBLIC_TOKEN]["name"]:
            schema = dict(parameter["schema"])
            forbid_null(schema)
            yield {**parameter, "schema": schema}


def _strip_titles(*nodes: object) -> None:
    """Take away the titles that are made from the members' names; a member called ``title`` is not text."""
    for node in nodes:
        if isinstance(node, dict):
            if isinstance(node.get("title"), str):
                del node["title"]
            _strip_titles(*node.values())
        elif isinstance(node, list):
            _strip_titles(*node)
