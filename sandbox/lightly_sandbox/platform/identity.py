"""Who a user is, and which of the others' datasets are theirs to use too."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import false, func, or_, select, true

from lightly_sandbox.platform.settings import FIRST_USER_ID
from lightly_sandbox.platform.tables import Dataset, SharedAccess, User

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection
    from sqlalchemy.orm import Session

FIRST_USER_EMAIL = "sandbox@example.com"
FIRST_USER_TEAM = "sandbox-team"


def digest(token: str) -> str:
    """What is kept of a token, so that the database gives none away."""
    return hashlib.sha256(token.encode()).hexdigest()


def user_of_token(session: Session | Connection, token: str) -> str | None:
    """The id of the user whose token this is, other than the one that the sandbox begins with."""
    return session.scalar(select(User.id).where(User.token_digest == digest(token)))


def user(session: Session, user_id: str) -> User:
    """The user of this id; the one that the sandbox begins with is not in the database."""
    found = session.get(User, user_id)
    if found is None:
        return User(id=user_id, email=FIRST_USER_EMAIL, team=FIRST_USER_TEAM, token_digest="")
    return found


def is_shared_with(whom: User) -> ColumnElement[bool]:
    """Whether a dataset of somebody else's is shared with the user or with the user's team."""
    shared = []
    names = [(SharedAccess.users, whom.email)]
    if whom.team is not None:
        names.append((SharedAccess.teams, whom.team))
    for listed, name in names:
        each = func.json_each(listed).table_valued("value")
        shared.append(select(SharedAccess.dataset_id).join(each, true()).where(each.c.value == name))
    return (Dataset.user_id != whom.id) & or_(*(Dataset.id.in_(one) for one in shared))


def is_of_team(whom: User) -> ColumnElement[bool]:
    """Whether a dataset is another member's of the user's team."""
    if whom.team is None:
        return false()
    owners: list[ColumnElement[bool]] = [Dataset.user_id.in_(select(User.id).where(User.team == whom.team))]
    if whom.team == FIRST_USER_TEAM:
        owners.append(Dataset.user_id == FIRST_USER_ID)
    return (Dataset.user_id != whom.id) & or_(*owners)
