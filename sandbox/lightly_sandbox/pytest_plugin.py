"""The pytest fixture ``lightly_sandbox``: a running sandbox per session, and a clean account in it per test.

Only pytest and the standard library, and little of that when pytest starts: the sandbox itself runs in
another process, and may be installed in another environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lightly_sandbox.testing.account import SandboxAccount
    from lightly_sandbox.testing.server import SandboxServer

OPTIONS = "lightly_sandbox_options"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of ``lightly-sandbox up`` in pytest's own configuration."""
    parser.addini(OPTIONS, "more options of `lightly-sandbox up`, such as --verify-scope worst", "args")


@pytest.fixture(scope="session")
def lightly_sandbox_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxServer]:
    """One running sandbox for the session, with its state in pytest's folder.

    It starts when the first test requests it, without workers: they would serve only its first user,
    and each test has another user.
    """
    from lightly_sandbox.testing.server import SandboxServer

    state_dir = tmp_path_factory.mktemp("lightly-sandbox", numbered=False) / "state"
    with SandboxServer.started(state_dir, tuple(request.config.getini(OPTIONS))) as server:
        yield server


@pytest.fixture
def lightly_sandbox(
    lightly_sandbox_server: SandboxServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SandboxAccount]:
    """A clean account of the running sandbox: a user with a token, and an AWS account with a bucket.

    Its workers end, and all faults are cleared, when the test is over.
    """
    from lightly_sandbox.testing.account import SandboxAccount

    folder = tmp_path_factory.mktemp("lightly-sandbox-account")
    with SandboxAccount.opened(lightly_sandbox_server, folder) as account:
        yield account
