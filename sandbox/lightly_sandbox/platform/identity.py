"""Identifies users, and decides which datasets of others they may use."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import false, func, or_, select, true

from lightly_sandbox.platform.settings import FIRST_USER_ID
from lightly_sandbox.platform.tables import Dataset, SharedAccess, User

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection
    from sqlalchemy.orm import InstrumentedAttribute, Session

FIRST_USER_EMAIL = "sandbox@example.com"
FIRST_USER_TEAM = "sandbox-team"


def digest(token: str) -> str:
    """Return a token's digest, so that the database contains no tokens."""
    return hashlib.sha256(token.encode()).hexdigest()


def user_of_token(session: Session | Connection, token: str) -> str | None:
    """Return the id of the user with this token, other than the sandbox's first user."""
    return session.scalar(select(User.id).where(User.token_digest == digest(token)))


def user(session: Session, user_id: str) -> User:
    """Return the user with this id, who must exist."""
    return known_user(session, user_id) or _first_user()


def known_user(session: Session, user_id: str) -> User | None:
    """Return the user with this id, or None."""
    return _first_user() if user_id == FIRST_USER_ID else session.get(User, user_id)


def _first_user() -> User:
    # Not in the database: its token is the sandbox's, which is stored elsewhere.
    return User(id=FIRST_USER_ID, email=FIRST_USER_EMAIL, team=FIRST_USER_TEAM, token_digest="")


def is_shared_with(whom: User) -> ColumnElement[bool]:
    """Whether another user's dataset is shared with the user or the user's team."""
    shared = []
    names = [(SharedAccess.users, whom.email)]
    if whom.team is not None:
        names.append((SharedAccess.teams, whom.team))
    for listed, name in names:
        each = func.json_each(listed).table_valued("value")
        shared.append(select(SharedAccess.dataset_id).join(each, true()).where(each.c.value == name))
    return (Dataset.user_id != whom.id) & or_(*(Dataset.id.in_(one) for one in shared))


def is_of_team(whom: User, owner: InstrumentedAttribute[str] = Dataset.user_id) -> ColumnElement[bool]:
    """Whether the ``owner``, by default of a dataset, is another member of the user's team."""
    if whom.team is None:
        return false()
    owners: list[ColumnElement[bool]] = [owner.in_(select(User.id).where(User.team == whom.team))]
    if whom.team == FIRST_USER_TEAM:
        owners.append(owner == FIRST_USER_ID)
    return (owner != whom.id) & or_(*owners)
