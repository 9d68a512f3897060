"""
Evaluates a policy statement's Condition for a request, as far as the request is known. Pure.

Sources: AWS docs: IAM user guide, "IAM JSON policy elements: Condition operators", "Conditions with multiple context
keys or values", "AWS global condition context keys"; S3 user guide, "Amazon S3 condition keys".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from lightly_provider.aws.policy_documents import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lightly_provider.diagnosis.target import Target

# Maps condition keys in lower case to the request's values; None: the request has no such key. A key that is not in the
# mapping may have any value.
Context: TypeAlias = "Mapping[str, str | None]"

ENCRYPTION = "s3:x-amz-server-side-encryption"
ENCRYPTION_KEY = "s3:x-amz-server-side-encryption-aws-kms-key-id"
TRANSPORT = frozenset({"aws:securetransport", "s3:tlsversion"})
# The lowest version that boto3 and the platform use.
_TLS_VERSION = "1.2"


def context_of(target: Target, action: str) -> dict[str, str | None]:
    """
    Return what is known about the request that Lightly sends for an action at a target.

    :param target: The principal and the location.
    :param action: E.g. ``s3:PutObject``.
    """
    context: dict[str, str | None] = {
        "aws:securetransport": "true",
        "s3:tlsversion": _TLS_VERSION,
        "s3:signatureversion": "AWS4-HMAC-SHA256",
        # Lightly calls AWS with an IAM user's keys or as a role session, and neither uses MFA.
        "aws:multifactorauthpresent": "false" if target.role_arn else None,
        "aws:multifactorauthage": None,
        "aws:principalisawsservice": "false",
        "aws:viaawsservice": "false",
        "aws:sourcearn": None,
        "aws:sourceaccount": None,
        "s3:prefix": target.location.prefix if action == "s3:ListBucket" else None,
        ENCRYPTION: None,
        ENCRYPTION_KEY: None,
        "s3:x-amz-server-side-encryption-customer-algorithm": None,
    }
    if action == "s3:PutObject" and target.kms_key_arn:
        context |= {ENCRYPTION: "aws:kms", ENCRYPTION_KEY: target.kms_key_arn}
    if arn := target.known_principal:
        account = arn.split(":")[4] if arn.startswith("arn:") else ""
        context |= {
            "aws:principalarn": arn,
            "aws:principalaccount": account,
            "kms:calleraccount": account,
            "aws:principaltype": "AssumedRole" if target.role_arn else "User",
            "aws:username": None if target.role_arn else arn.rpartition("/")[2],
        }
    if target.region:
        context |= {"aws:requestedregion": target.region, "kms:viaservice": f"s3.{target.region}.amazonaws.com"}
    return context


def holds(condition: Mapping[str, Any] | None, context: Context) -> bool | None:
    """
    Return whether a whole Condition holds; None if that depends on unknown values.

    :param condition: A statement's ``Condition``; None: it has none.
    :param context: What is known about the request.
    """
    results = [_holds(operator, key, values, context) for operator, key, values in parts_of(condition)]
    if False in results:
        return False
    return None if None in results else True


def keys_not_known(condition: Mapping[str, Any] | None, context: Context) -> list[str]:
    """Return the unknown condition keys that decide whether a Condition holds, as written in the statement."""
    return list(
        dict.fromkeys(
            key for operator, key, values in parts_of(condition) if _holds(operator, key, values, context) is None
        )
    )


def parts_of(condition: Mapping[str, Any] | None) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the operator, key and values of each part of a Condition."""
    for operator, block in (condition or {}).items():
        for key, values in block.items():
            listed = values if isinstance(values, list | tuple) else [values]
            yield operator, key, [str(value).lower() if isinstance(value, bool) else str(value) for value in listed]


def _holds(operator: str, key: str, wanted: Sequence[str], context: Context) -> bool | None:
    quantifier, _, plain = operator.rpartition(":")
    if key.lower() not in context:
        return None
    actual = context[key.lower()]
    if plain == "Null":
        return any((actual is None) == (value.lower() == "true") for value in wanted)
    base = plain.removesuffix("IfExists")
    is_negated = base in _NEGATED
    fits = _OPERATORS.get(_NEGATED.get(base, base))
    if actual is None and fits is not None:
        # For a missing key, AWS evaluates a negated operator as true, but with ForAnyValue every operator as false.
        return base != plain or quantifier == "ForAllValues" or (is_negated and quantifier != "ForAnyValue")
    # AWS replaces policy variables such as "${aws:username}"; "${*}" stands for the character itself.
    if fits is None or actual is None or any("${" in value.replace("${*}", "").replace("${?}", "") for value in wanted):
        return None
    try:
        return any(fits(value, actual) for value in wanted) != is_negated
    except ValueError:  # not a number
        return None


def _is_equal(wanted: str, actual: str) -> bool:
    return wanted == actual


def _is_equal_in_any_case(wanted: str, actual: str) -> bool:
    return wanted.casefold() == actual.casefold()


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": _is_equal,
    "StringEqualsIgnoreCase": _is_equal_in_any_case,
    "StringLike": matches,
    "ArnEquals": matches,
    "ArnLike": matches,
    "Bool": _is_equal_in_any_case,
    "NumericEquals": lambda wanted, actual: float(actual) == float(wanted),
    "NumericLessThan": lambda wanted, actual: float(actual) < float(wanted),
    "NumericLessThanEquals": lambda wanted, actual: float(actual) <= float(wanted),
    "NumericGreaterThan": lambda wanted, actual: float(actual) > float(wanted),
    "NumericGreaterThanEquals": lambda wanted, actual: float(actual) >= float(wanted),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
}
