"""Checks a request that was sent, or an answer, against the platform's contract (facts.json, of lightly 1.5.26)."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FACTS = Path(__file__).with_name("facts.json")

_KEYWORDS = frozenset(
    {"$ref", "additionalProperties", "enum", "exclusiveMinimum", "items", "maxItems", "maximum", "minItems"}
    | {"minLength", "minimum", "pattern", "type", "uniqueItems"}
)
_TYPES = frozenset({"any", "array", "boolean", "integer", "number", "object", "string"})
# The vendor's client writes booleans into queries as Python spells them; lower case is the norm of OpenAPI.
_BOOLEANS_IN_QUERY = frozenset({"True", "False", "true", "false"})


def assert_fits_contract(method: str, url: str, body: bytes | None) -> None:
    """
    Refuse a request that the platform's contract does not allow.

    :param method: HTTP method.
    :param url: Address or path, with the query if there was one.
    :param body: The request's body as it was sent; None or empty: none.
    :raises AssertionError: With every fault, by its place. No value is repeated, as requests hold secrets.
    """
    faults = contract().request_faults(method, url, body)
    if faults:
        # Without the query: the token is in it.
        raise AssertionError(f"{method} {urlsplit(url).path} breaks the contract:\n  " + "\n  ".join(faults))


@cache
def contract() -> Contract:
    """The contract of the operations that the provider uses."""
    return Contract(json.loads(FACTS.read_text()))


class Contract:
    """
    A contract in the form of facts.json.

    :param facts: ``operations`` (method, path, parameters, body) and ``models`` (objects, enums, unions).
    :raises ValueError: The facts hold a rule that is not checked here, which would let everything pass.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.operations: list[dict[str, Any]] = facts["operations"]
        self.models: dict[str, dict[str, Any]] = facts["models"]
        self._auth_names = {s["name"] for s in facts.get("securitySchemes", {}).values() if s["in"] == "query"}
        for schema in _schemas(self.operations, self.models):
            unknown = set(schema) - _KEYWORDS or {schema.get("type", "any")} - _TYPES
            if unknown or ("$ref" in schema and schema["$ref"] not in self.models):
                raise ValueError(f"the facts hold a rule that is not checked: {schema}")

    def operation(self, name: str) -> dict[str, Any]:
        """An operation by its name."""
        return next(o for o in self.operations if o["operation"] == name)

    def request_faults(self, method: str, url: str, body: bytes | None) -> list[str]:
        """What is wrong with a request; empty if it fits."""
        parts = urlsplit(url)
        found = self.find(method, parts.path)
        if found is None:
            return [f"there is no operation {method} {parts.path}"]
        operation, values = found
        faults = [
            fault
            for parameter in operation["pathParams"]
            for fault in self.value_faults(values[parameter["wire"]], parameter["schema"], f"path {parameter['wire']}")
        ]
        faults += self._query_faults(operation, parts.query)
        return faults + self._body_faults(operation, body)

    def answer_faults(self, operation: str, status: int, answer: Any) -> list[str]:
        """What is wrong with a parsed JSON answer; one to an operation without documented answers always fits."""
        responses = self.operation(operation)["responses"]
        if not responses:
            return []
        if str(status) not in responses:
            return [f"status {status} is not documented for {operation}"]
        return self.value_faults(answer, responses[str(status)], "answer")

    def value_faults(self, value: Any, schema: Mapping[str, Any], place: str) -> list[str]:
        """What is wrong with a JSON value; empty if it fits the schema."""
        if "$ref" in schema:
            return self._model_faults(value, schema["$ref"], place)
        kind = schema.get("type", "any")
        if not _is_of_type(value, kind):
            return [f"{place} is not {'an' if kind[0] in 'aeiou' else 'a'} {kind}"]
        faults = [f"{place} {rule}" for rule in _broken_rules(value, schema)]
        if kind == "array" and "items" in schema:
            for index, item in enumerate(value):
                faults += self.value_faults(item, schema["items"], f"{place}[{index}]")
        if kind == "object" and "additionalProperties" in schema:
            for name, member in value.items():
                faults += self.value_faults(member, schema["additionalProperties"], f"{place}.{name}")
        return faults

    def find(self, method: str, path: str) -> tuple[dict[str, Any], dict[str, str]] | None:
        """The operation with the most literal path that fits, and its decoded path parameters."""
        candidates = []
        for operation in self.operations:
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(operation["path"]))
            match = re.fullmatch(pattern, path)
            if match and operation["method"] == method:
                values = {name: unquote(text, errors="strict") for name, text in match.groupdict().items()}
                candidates.append((operation, values))
        return min(candidates, key=lambda candidate: len(candidate[1]), default=None)

    def _query_faults(self, operation: Mapping[str, Any], query: str) -> list[str]:
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
        except ValueError:
            return ["the query is malformed"]
        known = {parameter["wire"]: parameter for parameter in operation["queryParams"]}
        counts = Counter(name for name, _ in pairs)
        faults = [f"query {name} is missing" for name, p in known.items() if p["required"] and name not in counts]
        for name, count in counts.items():
            schema = known.get(name, {}).get("schema", {})
            if name not in known and name not in self._auth_names:
                faults.append(f"query {name} is unknown")
            elif count > 1 and schema.get("type") != "array":
                faults.append(f"query {name} stands there {count} times")
        for name, text in pairs:
            if name in self._auth_names and not text:
                faults.append(f"query {name} is empty")
            if name in known:
                schema = known[name]["schema"]
                faults += self._query_value_faults(text, schema.get("items", schema), f"query {name}")
        return faults

    def _query_value_faults(self, text: str, schema: Mapping[str, Any], place: str) -> list[str]:
        kind = schema.get("type")
        if kind == "boolean":
            return [] if text in _BOOLEANS_IN_QUERY else [f"{place} is not a boolean"]
        if kind == "integer":
            if not re.fullmatch(r"-?[0-9]+", text):
                return [f"{place} is not an integer"]
            return self.value_faults(int(text), schema, place)
        return self.value_faults(text, schema, place)

    def _body_faults(self, operation: Mapping[str, Any], body: bytes | None) -> list[str]:
        wanted = operation["requestBody"]
        if not body:
            return ["the body is missing"] if wanted and wanted["required"] else []
        if wanted is None:
            return ["there is a body, and the operation takes none"]
        try:
            value = json.loads(body.decode(), object_pairs_hook=_members, parse_constant=_no_constant)
        except ValueError as error:
            return [f"the body is not JSON: {error}"]
        return self.value_faults(value, wanted["schema"], "body")

    def _model_faults(self, value: Any, name: str, place: str) -> list[str]:
        model = self.models[name]
        if model["kind"] == "enum":
            fits = _is_of_type(value, model["type"]) and value in model["values"]
            return [] if fits else [f"{place} is none of the values of {name}"]
        if not isinstance(value, dict):
            return [f"{place} is not an object ({name})"]
        if model["kind"] == "oneOf":
            tag = model["discriminator"]["property"]
            chosen = value.get(tag)
            mapping = model["discriminator"]["mapping"]
            if not isinstance(chosen, str) or chosen not in mapping:
                return [f"{place}.{tag} is none of {', '.join(sorted(mapping))}"]
            return self._model_faults(value, mapping[chosen], place)
        return self._object_faults(value, name, place)

    def _object_faults(self, value: Mapping[str, Any], name: str, place: str) -> list[str]:
        model = self.models[name]
        fields = {field["wire"]: field for field in model["fields"]}
        faults = [f"{place}.{f} is missing ({name})" for f in fields if fields[f]["required"] and f not in value]
        for member, inner in value.items():
            field = fields.get(member)
            if field is None:
                if model["extra"] == "forbid":
                    faults.append(f"{place}.{member} is unknown ({name})")
            elif inner is None:
                if not field.get("nullable"):
                    faults.append(f"{place}.{member} is null ({name})")
            else:
                faults += self.value_faults(inner, field["schema"], f"{place}.{member}")
        return faults


def _is_of_type(value: Any, kind: str) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return {
        "any": True,
        "array": isinstance(value, list),
        "boolean": isinstance(value, bool),
        "integer": number and isinstance(value, int),
        "number": number and math.isfinite(value),
        "object": isinstance(value, dict),
        "string": isinstance(value, str),
    }[kind]


def _broken_rules(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    size = len(value) if isinstance(value, (str, list)) else 0
    if "enum" in schema and value not in schema["enum"]:
        yield "is none of its values"
    # fullmatch, as Python's $ lets a newline through that the pattern's author did not mean.
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        yield f"does not match {schema['pattern']}"
    if size < max(schema.get("minLength", 0), schema.get("minItems", 0)):
        yield "is too short"
    if size > schema.get("maxItems", size):
        yield "is too long"
    if "minimum" in schema and value < schema["minimum"]:
        yield f"is below {schema['minimum']}"
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield f"is not above {schema['exclusiveMinimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"is above {schema['maximum']}"
    if schema.get("uniqueItems") and len({json.dumps(item, sort_keys=True) for item in value}) < size:
        yield "holds an item twice"


def _schemas(operations: list[dict[str, Any]], models: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every schema in the facts, the nested ones too."""
    roots = [p["schema"] for o in operations for p in (*o["pathParams"], *o["queryParams"])]
    roots += [o["requestBody"]["schema"] for o in operations if o["requestBody"]]
    roots += [schema for o in operations for schema in o["responses"].values()]
    roots += [field["schema"] for model in models.values() for field in model.get("fields", ())]
    while roots:
        schema = roots.pop()
        yield schema
        roots += [inner for inner in (schema.get("items"), schema.get("additionalProperties")) if inner]


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has a member twice")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
