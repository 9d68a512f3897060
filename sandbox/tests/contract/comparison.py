"""Where an OpenAPI document differs from the contract's facts (facts.json, of lightly 1.5.26). Pure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FACTS = json.loads(Path(__file__).with_name("facts.json").read_text())

_REF = "#/components/schemas/"
_METHODS = ("delete", "get", "patch", "post", "put")


def differences(document: Mapping[str, Any], facts: Mapping[str, Any] = FACTS) -> Iterator[tuple[str, str]]:
    """Each difference: its place (an operation, a parameter of it, a model, a member), and what differs."""
    served = {
        item[method]["operationId"]: (method.upper(), path, item[method])
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    }
    wanted = {operation["operation"]: operation for operation in facts["operations"]}
    for name in sorted(served.keys() ^ wanted.keys()):
        yield name, "not in the contract" if name in served else "not in the document"
    for name in sorted(served.keys() & wanted.keys()):
        method, path, operation = served[name]
        if (method, path) != (wanted[name]["method"], wanted[name]["path"]):
            yield name, f"is {method} {path}, not {wanted[name]['method']} {wanted[name]['path']}"
        if wanted[name].get("leftOut"):
            yield name, "left out"
        else:
            yield from _operation_differences(name, operation, wanted[name])
    shown, known = document["components"]["schemas"], facts["models"]
    for model in sorted(shown.keys() ^ known.keys()):
        yield model, "not in the contract" if model in shown else "not in the document"
    tags = {
        (model, union["discriminator"]["property"]): tag
        for union in known.values()
        if "discriminator" in union
        for tag, model in union["discriminator"]["mapping"].items()
    }
    for model in sorted(shown.keys() & known.keys()):
        yield from _model_differences(model, shown[model], known[model], tags)


def _operation_differences(
    name: str, operation: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    for place in ("path", "query"):
        shown = {one["name"]: one for one in operation["parameters"] if one["in"] == place}
        known = {one["wire"]: one for one in wanted[f"{place}Params"]}
        for parameter in sorted(shown.keys() ^ known.keys()):
            where = "not in the contract" if parameter in shown else "not in the document"
            yield f"{name} {place} {parameter}", where
        for parameter in sorted(shown.keys() & known.keys()):
            at = f"{name} {place} {parameter}"
            if shown[parameter].get("required", False) != known[parameter]["required"]:
                yield at, f"required is {shown[parameter].get('required', False)}"
            schema = dict(shown[parameter]["schema"])
            schema.pop("default", None)  # The contract's parameters have none.
            yield from _schema_differences(at, schema, known[parameter]["schema"])
    yield from _body_differences(name, operation.get("requestBody"), wanted["requestBody"])
    yield from _answer_differences(name, operation["responses"], wanted)
    shown_auth = sorted(scheme for one in operation["security"] for scheme in one)
    known_auth = sorted(scheme for scheme in wanted["auth"] if scheme != "auth0Bearer")
    if shown_auth != known_auth:
        yield f"{name} security", f"{shown_auth}, not {known_auth}"


def _body_differences(
    name: str, shown: Mapping[str, Any] | None, known: Mapping[str, Any] | None
) -> Iterator[tuple[str, str]]:
    if shown is None or known is None:
        if shown is not known:
            yield f"{name} body", "not in the contract" if known is None else "not in the document"
        return
    if shown["required"] != known["required"]:
        yield f"{name} body", f"required is {shown['required']}"
    yield from _schema_differences(
        f"{name} body", shown["content"]["application/json"]["schema"], known["schema"]
    )


def _answer_differences(
    name: str, shown: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    if not wanted["responses"]:
        # Neither the answer nor its refusals are documented.
        for status, answer in shown.items():
            if int(status) < 400 and answer.get("content"):
                yield f"{name} {status}", "has a body"
        return
    for status in sorted(wanted["responses"].keys() - shown.keys()):
        yield f"{name} {status}", "not in the document"
    for status in sorted(shown.keys() - wanted["responses"].keys()):
        yield f"{name} {status}", "not in the contract"
    for status in sorted(shown.keys() & wanted["responses"].keys()):
        ((kind, content),) = shown[status]["content"].items()
        if kind not in wanted["accept"]:
            yield f"{name} {status}", f"is {kind}"
        yield from _schema_differences(f"{name} {status}", content["schema"], wanted["responses"][status])


def _model_differences(
    name: str, shown: Mapping[str, Any], known: Mapping[str, Any], tags: Mapping[tuple[str, str], str]
) -> Iterator[tuple[str, str]]:
    if known["kind"] == "enum":
        if shown.get("enum", [shown.get("const")]) != known["values"]:
            yield name, f"has the values {shown.get('enum')}"
        return
    if known["kind"] == "oneOf":
        kinds = {_simplified(kind).get("$ref") for kind in shown.get("oneOf", shown.get("anyOf", []))}
        for kind in sorted(kinds ^ set(known["oneOf"]), key=str):
            yield f"{name} {kind}", "not in the contract" if kind in kinds else "not in the document"
        return
    if (shown.get("additionalProperties") is False) != (known["extra"] == "forbid"):
        yield name, f"unknown members: {shown.get('additionalProperties')}"
    members, fields = shown.get("properties", {}), {field["wire"]: field for field in known["fields"]}
    for member in sorted(members.keys() ^ fields.keys()):
        where = "not in the contract" if member in members else "not in the document"
        yield f"{name}.{member}", where
    for member in sorted(members.keys() & fields.keys()):
        schema = dict(members[member])
        if "const" in schema and schema["const"] == tags.get((name, member)):
            del schema["const"]  # The contract says it in the union that the model is of.
        required = member in shown.get("required", ())
        yield from _member_differences(f"{name}.{member}", schema, fields[member], required)


def _member_differences(
    at: str, shown: Mapping[str, Any], known: Mapping[str, Any], required: bool
) -> Iterator[tuple[str, str]]:
    if required != known["required"]:
        yield at, f"required is {required}"
    schema = dict(shown)
    kinds = schema.pop("anyOf", [])
    others = [kind for kind in kinds if kind != {"type": "null"}]
    if (len(others) < len(kinds)) != known.get("nullable", False):
        yield at, f"nullable is {len(others) < len(kinds)}"
    if len(others) == 1:
        schema.update(others[0])
    default = schema.pop("default", None)
    if default != known.get("default"):
        yield at, f"its default is {default}"
    yield from _schema_differences(at, schema, known["schema"])


def _schema_differences(
    at: str, shown: Mapping[str, Any], known: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    simple = _simplified(shown)
    if simple != known:
        yield at, f"is {json.dumps(simple, sort_keys=True)}, not {json.dumps(known, sort_keys=True)}"


def _simplified(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema in the words of the facts, without what only explains."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"].removeprefix(_REF)}
    simple = {name: value for name, value in schema.items() if name not in ("description", "discriminator")}
    for name in ("oneOf", "anyOf"):
        if name in simple:
            simple[name] = [_simplified(inner) for inner in simple[name]]
    if "items" in simple:
        simple["items"] = _simplified(simple["items"])
    if simple.get("additionalProperties") is True:
        simple["additionalProperties"] = {"type": "any"}
    elif isinstance(simple.get("additionalProperties"), dict):
        simple["additionalProperties"] = _simplified(simple["additionalProperties"])
    return simple
