"""Why an Airflow connection cannot be read: it is not there, or its environment variable is written wrongly."""

from __future__ import annotations

import json
import os

from lightly_provider.exceptions import LightlyConnectionMissingError
from lightly_provider.foreign_text import shown

_LONGEST_ID = 200


def missing_connection(conn_id: str, *, kind: str, otherwise: str) -> LightlyConnectionMissingError:
    """
    Return the error for a connection of which Airflow says that it is not defined.

    Airflow says the same of an environment variable that it cannot read as a connection, and tells why only in its own
    log, since 3.1 at DEBUG (``_get_connection`` in airflow/sdk/execution_time/context.py, 3.0.6 to 3.3.2). The value of
    the variable is never shown.

    :param conn_id: Id of the connection.
    :param kind: The name of its type in Airflow's form, e.g. ``Amazon Web Services``.
    :param otherwise: The other way out, which ends the sentence, e.g. ``correct the id``.
    """
    name = shown(conn_id, longest=_LONGEST_ID)
    variable = f"AIRFLOW_CONN_{name.upper()}"
    value = os.environ.get(f"AIRFLOW_CONN_{conn_id.upper()}")
    if value:
        return LightlyConnectionMissingError(
            f"Airflow cannot read the connection {name!r} from {variable}: {_fault_of(value)}; write it like "
            '{"conn_type": "…", "password": "…", "extra": {…}}, for Airflow\'s other services, too.'
        )
    return LightlyConnectionMissingError(
        f"There is no Airflow connection {name!r}; create it with the type {kind} (in Airflow, or as {variable}), or "
        f"{otherwise}."
    )


def _fault_of(value: str) -> str:
    if not value.lstrip().startswith("{"):
        return "it is neither a JSON object nor a connection URI"
    try:
        json.loads(value)
    except json.JSONDecodeError as error:
        return f"it is not valid JSON ({error.msg}, line {error.lineno}, column {error.colno})"
    except (ValueError, RecursionError):
        return "it is not valid JSON"
    return "a field has a name that Airflow does not know, the port is not a number, or the extra is not a JSON object"
