"""The two bases of all models: requests are strict, answers are lenient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from lightly_provider.contract import ID_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping


EntityId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
LONGEST_MESSAGE = 10_000


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}… ({len(text)} characters)"


# What an answer holds: a value of an enum, known or not; a name; a text for people, which may be cut; a count.
Word = Annotated[str, StringConstraints(max_length=200)]
Name = Annotated[str, StringConstraints(max_length=2000)]
Message = Annotated[str, AfterValidator(_cut)]
Count = Annotated[int, Field(ge=0)]


class Request(BaseModel):
    """
    Something that we send: unknown members, wrong types and values outside the contract's patterns are refused.

    Values may be given by Python name or by wire name; :meth:`to_wire` writes the wire names and leaves out None.
    """

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        # Errors name the member as the documentation and the operators' examples do.
        loc_by_alias=False,
        # JSON has neither.
        allow_inf_nan=False,
        # A refused value must not stand in the error's text: it may be a secret key.
        hide_input_in_errors=True,
    )

    def to_wire(self) -> dict[str, Any]:
        """The JSON body: wire names, members that are None left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Answer(BaseModel):
    """
    Something that the platform sends: unknown members are ignored, unknown enum values kept as they are, and null is
    the same as leaving a member out.

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
    """The answer to everything that creates something: its id."""

    id: EntityId


def drop_none(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}
