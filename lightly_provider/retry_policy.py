"""Which errors are retried, for Airflow 3.3 and newer.

    from lightly_provider.retry_policy import LIGHTLY_RETRY_POLICY

    RunLightlyWorkerOperator(..., retries=3, retry_policy=LIGHTLY_RETRY_POLICY)

It can end a task before its ``retries`` are used up, and never extends them. Airflow below 3.3 has no retry policies;
there the operators raise what no retry can cure as an ``AirflowFailException``.
"""

from __future__ import annotations

from datetime import timedelta

try:
    from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule
except ImportError:
    raise ImportError(
        "LIGHTLY_RETRY_POLICY needs Airflow 3.3 or newer. Leave it out: on older Airflow the operators fail at once "
        "with what no retry can cure, by themselves."
    ) from None

from lightly_provider.exceptions import (
    NEEDS_A_PERSON,
    LightlyConnectionError,
    LightlyNoWorkerError,
    LightlyRateLimitError,
    LightlyServerError,
)

# Fails at once what no retry can cure, waits after a rate limit or an outage, and leaves all else to the task.
LIGHTLY_RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=[*NEEDS_A_PERSON, ValueError],
            action=RetryAction.FAIL,
            reason="No retry can cure this: the connection, the token's rights, the plan or the request must change.",
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
