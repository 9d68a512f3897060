"""``/sandbox/users``: more users than the one that the sandbox begins with.

The platform's own API makes none.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lightly_sandbox.contract.error_codes import ApiErrorCode
from lightly_sandbox.contract.wire import NonEmpty, Wire
from lightly_sandbox.platform.errors import ApiError
from lightly_sandbox.platform.identity import FIRST_USER_EMAIL, digest
from lightly_sandbox.platform.requests import Db, answer, json_body
from lightly_sandbox.platform.tables import User

router = APIRouter(prefix="/sandbox/users")


class UserCreateRequest(Wire):
    email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
    team: NonEmpty | None = None


class UserData(Wire):
    id: str
    email: str
    team: str | None = None


class UserCreatedData(UserData):
    token: str


def add_user(session: Session, email: str, team: str | None) -> tuple[User, str]:
    """Make a user, and the token for it; 409 CONFLICT if the address is taken."""
    token = secrets.token_hex(24)
    made = User(id=f"sandbox|{secrets.token_hex(6)}", email=email, team=team, token_digest=digest(token))
    taken = email == FIRST_USER_EMAIL
    try:
        if not taken:
            session.add(made)
            session.flush()
    except IntegrityError:
        taken = True
    if taken:
        error = f"There is a user {email} already."
        raise ApiError(HTTPStatus.CONFLICT, ApiErrorCode.CONFLICT, error)
    return made, token


@router.post("")
def create(body: Annotated[UserCreateRequest, Depends(json_body(UserCreateRequest))], db: Db) -> JSONResponse:
    """Make a user, who may be in a team, and give the token for it; it is not shown again."""
    made, token = add_user(db, body.email, body.team)
    data = UserCreatedData(id=made.id, email=made.email, team=made.team, token=token)
    return JSONResponse(data.wire(), status_code=HTTPStatus.CREATED)


@router.get("")
def list_all(db: Db) -> JSONResponse:
    """The users that were made."""
    found = db.scalars(select(User).order_by(User.email))
    return answer([UserData(id=one.id, email=one.email, team=one.team) for one in found])
