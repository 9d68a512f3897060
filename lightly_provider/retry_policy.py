"""A retry policy for the provider's errors, for Airflow 3.3 and newer.

    from lightly_provider.retry_policy import LIGHTLY_RETRY_POLICY

    RunLightlyWorkerOperator(..., retries=3, retry_policy=LIGHTLY_RETRY_POLICY)

It can fail a task before its ``retries`` are exhausted, but never adds retries. Airflow before 3.3 has no retry
policies; there, the operators raise ``AirflowFailException`` for errors that a retry cannot fix.
"""

from __future__ import annotations

from datetime import timedelta

try:
    from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
except ImportError:
    raise ImportError(
        "LIGHTLY_RETRY_POLICY needs Airflow 3.3 or newer. Leave it out: on older Airflow, the operators themselves "
        "fail at once on errors that a retry cannot fix."
    ) from None

from lightly_provider.exceptions import (
    NEEDS_A_PERSON,
    LightlyConnectionError,
    LightlyNoWorkerError,
    LightlyRateLimitError,
    LightlyServerError,
)

# Fail at once on errors that a retry cannot fix, wait after a rate limit or an outage, and use the task's own settings
# for all other errors.
LIGHTLY_RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[*NEEDS_A_PERSON, ValueError],
            action=RetryAction.FAIL,
            reason="A retry cannot fix this: the connection, the token's rights, the plan or the request must change.",
        ),
        RetryRule(
            exception=LightlyRateLimitError,
            action=RetryAction.RETRY,
            retry_delay=timedelta(minutes=5),
            reason="The platform limits the rate of requests.",
        ),
        RetryRule(
            exception=[LightlyConnectionError, LightlyServerError, LightlyNoWorkerError],
            action=RetryAction.RETRY,
            retry_delay=timedelta(minutes=2),
            reason="This may pass by itself.",
        ),
    ]
)
