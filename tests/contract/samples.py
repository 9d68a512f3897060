"""Values that fit the contract, made from the facts alone."""

from __future__ import annotations

from typing import Any

from tests.contract.schema import contract

# A text for each pattern in the contract's answers.
TEXTS = {
    "^[a-f0-9]{24}$": "0123456789abcdef01234567",
    "^[a-zA-Z0-9][a-zA-Z0-9 _-]+$": "my name",
    "^[a-zA-Z0-9][a-zA-Z0-9 .:;=@_-]+$": "tag 1",
    "^0x[a-f0-9]+$": "0xff01",
    "^0b[01]{6}$": "0b000001",
    "^https?:\\/\\/.+$": "https://example.com",
    "^arn:aws:kms:[a-zA-Z0-9-]*:[0-9]{12}:key.+$": "arn:aws:kms:us-east-1:123456789012:key/x",
    "^arn:aws:iam::[0-9]{12}:role.+$": "arn:aws:iam::123456789012:role/x",
    "^[a-zA-Z0-9_+=,.@:\\/-]+$": "at-least-10",
    "^[a-zA-Z0-9_+=,.@:\\/-]*$": "a-name",
}


def sample(schema: dict[str, Any], *, full: bool) -> Any:
    """A value that fits the schema, with only the required members or with all."""
    if "$ref" in schema:
        return sample_of_model(schema["$ref"], full=full)
    kind = schema["type"]
    if kind == "string":
        return TEXTS[schema["pattern"]] if "pattern" in schema else "some text"
    if kind == "array":
        least = schema.get("minItems", 0)
        most = max(least, 1 if schema.get("uniqueItems") else 2)
        return [sample(schema["items"], full=full) for _ in range(most if full else least)]
    return {"integer": 1, "number": 0.5, "boolean": True, "object": {}}[kind]


def sample_of_model(name: str, *, full: bool) -> Any:
    model = contract().models[name]
    if model["kind"] == "enum":
        return model["values"][0]
    if model["kind"] == "oneOf":
        tag = model["discriminator"]
        chosen = "S3" if "S3" in tag["mapping"] else next(iter(tag["mapping"]))
        return sample_of_model(tag["mapping"][chosen], full=full) | {tag["property"]: chosen}
    return {f["wire"]: sample(f["schema"], full=full) for f in model["fields"] if f["required"] or full}


def documented_answer(operation: str, *items: dict[str, Any], **changes: Any) -> Any:
    """
    A success of this operation with the members that the contract requires.

    :param items: For a list, what each of its items has beyond that.
    :param changes: For an object, what it has beyond that.
    :raises AssertionError: The answer would not fit the contract.
    """
    responses = contract().operation(operation)["responses"]
    status, schema = next((int(status), schema) for status, schema in responses.items() if status.startswith("2"))
    if "items" in schema:
        answer: Any = [sample(_chosen(schema["items"], item), full=False) | item for item in items]
    else:
        answer = sample(schema, full=False) | changes
    faults = contract().answer_faults(operation, status, answer)
    if faults:
        raise AssertionError(f"{operation}: {faults}")
    return answer


def _chosen(schema: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """The schema of the one that the item says it is, where it may be one of several."""
    mapping = contract().models.get(schema.get("$ref", ""), {}).get("discriminator", {}).get("mapping", {})
    return {"$ref": mapping[item["type"]]} if item.get("type") in mapping else schema
