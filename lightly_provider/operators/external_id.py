"""The argument ``external_id``: a secret, kept out of rendered fields, logs, XCom and the serialized DAG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from lightly_provider.aws.credentials import check_external_id
from lightly_provider.masking import mask_secret
from lightly_provider.operators.arguments import is_static
from lightly_provider.operators.base import CheckedOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class _Hidden:
    """A value that neither ``repr`` nor JSON shows."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class ExternalIdArgument(CheckedOperator):
    """
    Base of the operators that take an external ID. It is not a template field, and is rendered when the task runs.

    :cvar instead: What to do where it cannot be kept secret, for the messages.
    """

    instead: ClassVar[str]

    @property
    def external_id(self) -> Any:
        """What the DAG's author wrote."""
        return self._external_id.value

    @external_id.setter
    def external_id(self, value: Any) -> None:
        # OpenLineage's option include_full_task_info sends all attributes of a task that JSON can hold, and masks none.
        self._external_id = _Hidden(value)

    @classmethod
    def partial(cls, *, external_id: None = None, **kwargs: Any) -> Any:
        """Create a mapped task; see Airflow's dynamic task mapping."""
        if external_id is not None:
            raise ValueError(
                f"external_id is given to a mapped task, whose arguments Airflow stores in clear; {cls.instead}."
            )
        # An argument that is passed here cannot be passed to expand() as well.
        return super().partial(external_id=None, **kwargs)

    def check_arguments(self) -> None:
        """See :meth:`CheckedArguments.check_arguments`."""
        super().check_arguments()
        if self.external_id is not None and not isinstance(self.external_id, str):
            if not is_static(self.external_id):
                raise ValueError(
                    f"external_id is the output of another task, which XCom would keep in clear; {self.instead}."
                )
            # Do not show the value. A number may have lost leading zeros or an exponent.
            raise ValueError(
                f"external_id is a {type(self.external_id).__name__} and not a text; write it in quotation marks, so "
                "that nothing changes it."
            )
        if self.external_id and is_static(self.external_id):
            check_external_id(self.external_id, argument="external_id")

    def rendered_external_id(self, context: Context) -> str | None:
        """
        Return the external ID after masking it in logs; None if there is none.

        :raises InvalidAccessError: The platform does not accept it.
        """
        if not self.external_id:
            return None
        external_id = self.render_text(self.external_id, context)
        mask_secret(external_id)
        return check_external_id(external_id, argument="external_id")
