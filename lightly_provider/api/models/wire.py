"""The two base classes of all models: requests are strict, responses are lenient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from lightly_provider.contract import ID_PATTERN
from lightly_provider.foreign_text import without_secret_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping


EntityId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
LONGEST_MESSAGE = 10_000


def _cut(text: str) -> str:
    cut = text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}… ({len(text)} characters)"
    # A worker may log the signed URLs of the files that it reads.
    return without_secret_parameters(cut)


# Types in responses: an enum value, known or not; a name; a text for people, which may be truncated, without secret
# URL parameters; a count.
Word = Annotated[str, StringConstraints(max_length=200)]
Name = Annotated[str, StringConstraints(max_length=2000)]
Message = Annotated[str, AfterValidator(_cut)]
Count = Annotated[int, Field(ge=0)]


class Request(BaseModel):
    """
    A request: unknown members, wrong types and values outside the contract's patterns are refused.

    Members may be given by Python name or by wire name; :meth:`to_wire` uses wire names and omits None.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        # Errors use the Python names, as the documentation and the operators' examples do.
        loc_by_alias=False,
        # JSON supports neither.
        allow_inf_nan=False,
        # The error must not contain the invalid value, which may be a secret key.
        hide_input_in_errors=True,
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON body: wire names, without members that are None."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Answer(BaseModel):
    """
    A response: unknown members are ignored, unknown enum values are kept, and null means that a member is missing.

    The platform adds members and enum values without notice, which broke the vendor's own strict client
    (https://github.com/lightly-ai/lightly/pull/1463).
    """

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, value: Any) -> Any:
        return drop_none(value) if isinstance(value, dict) else value


class CreatedEntity(Answer):
    """The response to every create operation: the id of the new entity."""

    id: EntityId


def drop_none(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}
