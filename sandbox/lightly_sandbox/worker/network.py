"""The worker's HTTP sessions."""

from __future__ import annotations

import logging

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from lightly_sandbox import WORKER_AGENT, __version__

TIMEOUT_SECONDS = (10, 60)
_CONNECTIONS = 16

# urllib3 logs the whole URL of a request that it retries, and the URL contains the platform's token.
logging.getLogger("urllib3").setLevel(logging.ERROR)


def new_session(retries: int) -> requests.Session:
    """Return a session that retries requests that are safe to repeat, this number of times."""
    repeat = Retry(
        total=retries,
        backoff_factor=0.2,
        backoff_max=5,
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=("GET", "PUT"),
        raise_on_status=False,
    )
    adapter = HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=repeat)
    session = requests.Session()
    session.headers["User-Agent"] = WORKER_AGENT + __version__
    # Use neither a proxy nor a .netrc of this machine: the sandbox listens on the loopback address only.
    session.trust_env = False
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session
