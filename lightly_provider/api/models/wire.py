"""The two bases of all models: requests are strict, answers are lenient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel

from lightly_provider.contract import ID_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping


EntityId = Annotated[str, StringConstraints(pattern=ID_PATTERN)]


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
    Something that the platform sends: unknown members are ignored and unknown enum values kept as they are.

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


class CreatedEntity(Answer):
    """The answer to everything that creates something: its id."""

    id: str


def drop_none(members: Mapping[str, Any]) -> dict[str, Any]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}
