"""``/sandbox/accounts``: a clean start for a test: a user of the platform, and an AWS account, both empty."""

from __future__ import annotations

import secrets

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from lightly_sandbox.aws.accounts import new_account
from lightly_sandbox.contract.wire import Wire
from lightly_sandbox.platform.requests import Config, Db, created
from lightly_sandbox.platform.routes.users import add_user

router = APIRouter(prefix="/sandbox/accounts")


class AccountCreatedData(Wire):
    """A new user without a team, and the administrator of a new AWS account; the secrets are shown once."""

    user_id: str
    email: str
    token: str
    aws_account_id: str
    aws_access_key_id: str
    aws_secret_access_key: str
    bucket: str


@router.post("")
def create(db: Db, config: Config) -> JSONResponse:
    """Make both, with an empty bucket."""
    made, token = add_user(db, f"{secrets.token_hex(6)}@example.com", None)
    account = new_account(config.aws_url, config.aws_root_key)
    return created(
        AccountCreatedData(
            user_id=made.id,
            email=made.email,
            token=token,
            aws_account_id=account.account_id,
            aws_access_key_id=account.access_key_id,
            aws_secret_access_key=account.secret_access_key,
            bucket=account.bucket,
        )
    )
