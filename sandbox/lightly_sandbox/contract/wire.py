"""What every value on the wire shares: only the wire's names, no unknown members, no silent conversion."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, NoReturn

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from lightly_sandbox.contract.error_codes import ApiErrorCode

Id = Annotated[str, Field(pattern=r"^[a-f0-9]{24}$")]
Name = Annotated[str, Field(min_length=3, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9 _-]+$")]
TagName = Annotated[str, Field(min_length=3, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9 .:;=@_-]+$")]
BitMask = Annotated[str, Field(pattern=r"^0x[a-f0-9]+$")]
TaskName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_+=,.@:\/-]*$")]
ScoreName = Annotated[str, Field(min_length=1, pattern=r"^[a-zA-Z0-9_+=,.@:\/-]*$")]
KmsKeyArn = Annotated[str, Field(min_length=1, pattern=r"^arn:aws:kms:[a-zA-Z0-9-]*:[0-9]{12}:key.+$")]
NonEmpty = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
CountOrMinusOne = Annotated[int, Field(ge=-1)]
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Percent = Annotated[float, Field(ge=0.0, le=100.0)]
Amount = Annotated[float, Field(ge=0.0)]
# A whole number stays one, and is not answered as 7.0.
Number = Annotated[int | float, WithJsonSchema({"type": "number"})]
Above0 = Annotated[float, Field(gt=0.0)]

_FROM_THE_WIRE: dict[str, Any] = {}


def forbid_null(schema: dict[str, Any]) -> None:
    """Take null, and with it a default of null, out of a JSON schema."""
    kinds = schema.get("anyOf", [])
    others = [kind for kind in kinds if kind != {"type": "null"}]
    if len(others) == len(kinds):
        return
    del schema["anyOf"]
    schema.update(others[0] if len(others) == 1 else {"anyOf": others})
    if schema.get("default", ...) is None:
        del schema["default"]


class Wire(BaseModel):
    """A value as the API sends or takes it.

    The platform's own client forbids unknown members and is strict about types (lightly 1.5.26, every
    generated model); a member that is not wanted is left out, so ``null`` is refused except for the members
    in ``NULLABLE``. In Python the members have Python's names; what comes over the wire goes through
    ``read_wire``.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        allow_inf_nan=False,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )

    NULLABLE: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _refuse_null(cls, members: Any, info: ValidationInfo) -> Any:
        if info.context is _FROM_THE_WIRE and isinstance(members, dict):
            declared = {field.alias for field in cls.model_fields.values()}
            for name, value in members.items():
                # In a value that takes unknown members, they may be anything.
                meant = name in declared or cls.model_config.get("extra") != "allow"
                if value is None and meant and name not in cls.NULLABLE:
                    raise ValueError(f"{name} must not be null; leave it out instead")
        return members

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """What a schema says: a member that is not wanted is left out, and not null."""
        schema = handler(core_schema)
        members = handler.resolve_ref_schema(schema).get("properties", {})
        for name, member in members.items():
            if name not in cls.NULLABLE:
                forbid_null(member)
        return schema

    def wire(self) -> dict[str, Any]:
        """Return the members for JSON: absent ones left out, a required one that is null kept."""
        members = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        for name, field in type(self).model_fields.items():
            if field.is_required() and getattr(self, name) is None:
                members[field.alias or name] = None
        return members


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"Invalid JSON: {constant} is not a number")


def read_wire(kind: TypeAdapter[Any], raw: bytes) -> Any:
    """Read JSON that came over the wire: only the wire's names, types not converted, no stray nulls.

    Raises:
        ValidationError: it breaks the contract.
        ValueError: it is not JSON.
    """
    if b"NaN" in raw or b"Infinity" in raw:
        # Python's JSON has these numbers, the standard's has not. As text inside a string they are fine.
        json.loads(raw, parse_constant=_refuse_constant)
    return kind.validate_json(raw, strict=True, by_alias=True, by_name=False, context=_FROM_THE_WIRE)


class CreateEntityResponse(Wire):
    """The answer to every POST that makes something."""

    id: Id


class ApiErrorResponse(Wire):
    """The body of every refusal (lightly 1.5.26, models/api_error_response.py)."""

    code: ApiErrorCode
    error: str
    request_id: str | None = None
    error_labels: list[str] | None = None
