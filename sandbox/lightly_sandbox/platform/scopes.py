"""The scope of a list: the user's own entities, those shared with the user, or the team's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Query
from sqlalchemy import or_

from lightly_sandbox.platform import identity
from lightly_sandbox.platform.requests import Flag

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import InstrumentedAttribute, Session


OfTeam = Annotated[Flag, Query(alias="getAssetsOfTeam")]
OfTeamAndSelf = Annotated[Flag, Query(alias="getAssetsOfTeamInclusiveSelf")]


class _TeamScope:
    """By default the user's own workers and runs; or those of the other members of the team."""

    def __init__(
        self, get_assets_of_team: OfTeam = False, get_assets_of_team_inclusive_self: OfTeamAndSelf = False
    ) -> None:
        self.includes_team = get_assets_of_team or get_assets_of_team_inclusive_self
        self.includes_own = get_assets_of_team_inclusive_self or not get_assets_of_team

    def has(self, owner: InstrumentedAttribute[str], session: Session, user_id: str) -> ColumnElement[bool]:
        """Whether the scope includes this ``owner``'s entities if ``user_id`` requests the list."""
        wanted = []
        if self.includes_own:
            wanted.append(owner == user_id)
        if self.includes_team:
            wanted.append(identity.is_of_team(identity.user(session, user_id), owner))
        return or_(*wanted)


class _Scope:
    """By default the user's own datasets; or shared ones, or the team's."""

    def __init__(
        self,
        shared: Flag = False,
        exclude_playground: Annotated[Flag, Query(alias="excludePlayground")] = False,
        get_assets_of_team: OfTeam = False,
        get_assets_of_team_inclusive_self: OfTeamAndSelf = False,
    ) -> None:
        self.includes_shared = shared
        self.includes_team = get_assets_of_team or get_assets_of_team_inclusive_self
        self.includes_own = get_assets_of_team_inclusive_self or not (shared or get_assets_of_team)


Scope = Annotated[_Scope, Depends(_Scope)]
TeamScope = Annotated[_TeamScope, Depends(_TeamScope)]
