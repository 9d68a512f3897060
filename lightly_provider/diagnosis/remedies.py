"""
Remedies: a sentence, the exact statement if a policy must change, or the exact command. Pure.

No remedy removes protection from others: only the identity's own policies lose a statement. In all other policies the
remedy exempts the identity, or refers to the policy's owner. Nothing here knows a cause: ``causes`` maps each cause to
one of these functions.

Sources: AWS docs: "Troubleshoot access denied error messages" and "Policy evaluation logic" of the IAM user
guide; "Allowing users in other accounts to use a KMS key" of the KMS developer guide; AWS CLI command reference; the
vendor's guide to delegated access (external ID, session of 12 hours).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from lightly_provider.aws.policies import (
    LIGHTLY_ACCOUNT_ID,
    ROLE_SESSION_SECONDS,
    Statement,
    statements_for,
    trust_policy,
)
from lightly_provider.contract import Permission
from lightly_provider.diagnosis.denying_statements import (
    is_about_encryption,
    is_about_transport,
    is_for_it_alone,
    kms_key_asked_for,
    statements_that_deny,
    with_exception,
)
from lightly_provider.diagnosis.target import PolicyOf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lightly_provider.diagnosis.error_text import ErrorText
    from lightly_provider.diagnosis.target import DenyingStatement, Target

_EXTERNAL_ID_PLACE = "<external ID of the datasource>"
_ACCESS_KEY_PLACE = "<access key ID of the datasource>"


@dataclass(frozen=True)
class PolicyChange:
    """
    A change to one policy.

    :param policy: The policy's name for a message, e.g. ``policy of bucket photos``.
    :param add: Statements to add.
    :param remove: Statements to remove, exactly as they are in the policy.
    :param instead_of: A description of what ``add`` replaces, if the statement itself should not be shown; empty:
        nothing.
    """

    policy: str
    add: tuple[Statement, ...] = ()
    remove: tuple[Statement, ...] = ()
    instead_of: str = ""

    def parts(self) -> list[str | list[Statement]]:
        """Return the change as the parts of a sentence: texts and statements."""
        if not self.add:
            return [f"From the {self.policy} remove:", list(self.remove)]
        replaced: str | list[Statement] = list(self.remove) or self.instead_of
        if isinstance(replaced, list):
            return [f"In the {self.policy} replace:", replaced, "by:", list(self.add)]
        if replaced:
            return [f"In the {self.policy} replace {replaced} by:", list(self.add)]
        return [f"To the {self.policy} add:", list(self.add)]

    def line(self) -> str:
        """Return the change as a sentence with JSON, on one line."""
        return " ".join(part if isinstance(part, str) else as_json(part) for part in self.parts())

    def as_dict(self) -> dict[str, Any]:
        """Return the change as JSON types."""
        return {
            "policy": self.policy,
            "add": list(self.add),
            "remove": list(self.remove),
            **({"instead_of": self.instead_of} if self.instead_of else {}),
        }


@dataclass(frozen=True)
class Remedy:
    """
    What to do. It contains no secret: a placeholder replaces the external ID.

    :param texts: Sentences. Empty if the statements are sufficient.
    :param statements: Statements to add to the IAM policy of the user or role.
    :param identity: The owner of that IAM policy, e.g. ``role Lightly``.
    :param changes: Changes to other policies.
    :param commands: AWS CLI commands, to be run in this order.
    """

    texts: tuple[str, ...] = ()
    statements: tuple[Statement, ...] = ()
    identity: str = ""
    changes: tuple[PolicyChange, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def changes_policies(self) -> bool:
        """Whether the remedy changes any policy."""
        return bool(self.statements or self.changes)

    @property
    def all_changes(self) -> tuple[PolicyChange, ...]:
        """The changes to all policies, the identity's own first."""
        own = (PolicyChange(f"IAM policy of {self.identity}", self.statements),) if self.statements else ()
        return own + self.changes

    def lines(self) -> list[str]:
        """Return the remedy as lines to show, with one line for each change and each command."""
        return [
            *self.texts,
            *(change.line() for change in self.all_changes),
            *(f"Run: {command}" for command in self.commands),
        ]


def merged(remedies: Iterable[Remedy]) -> Remedy:
    """
    Merge remedies: keep each sentence and command once, and merge statements that differ only in their actions.

    :param remedies: Remedies for one user or role.
    """
    listed = list(remedies)
    changes: dict[tuple[str, str], PolicyChange] = {}
    for change in (change for remedy in listed for change in remedy.changes):
        key = (change.policy, as_json(change.remove) if change.remove else change.instead_of)
        known = changes.get(key)
        added = _merged_statements([*(known.add if known else ()), *change.add])
        changes[key] = PolicyChange(change.policy, added, change.remove, change.instead_of)
    return Remedy(
        texts=tuple(dict.fromkeys(text for remedy in listed for text in remedy.texts)),
        statements=_merged_statements(one for remedy in listed for one in remedy.statements),
        identity=next((remedy.identity for remedy in listed if remedy.identity), ""),
        changes=tuple(changes.values()),
        commands=tuple(dict.fromkeys(command for remedy in listed for command in remedy.commands)),
    )


def _merged_statements(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    found: dict[str, Statement] = {}
    for statement in statements:
        rest = as_json([{key: value for key, value in statement.items() if key != "Action"}])
        known = found.get(rest)
        if known is None or not isinstance(statement.get("Action"), list):
            found[rest if known is None else f"{rest} {as_json([statement])}"] = statement
        else:
            found[rest] = {**known, "Action": list(dict.fromkeys([*known["Action"], *statement["Action"]]))}
    return tuple(found.values())


def as_json(statements: Iterable[Statement], indent: int | None = None) -> str:
    """Return JSON for a policy's ``Statement`` element: a single statement, or a list of several."""
    listed = list(statements)
    value = listed[0] if len(listed) == 1 else listed
    return json.dumps(value, indent=indent, separators=(",", ":") if indent is None else None)


# --- the remedies of causes -----------------------------------------------------------------------------------------

# Arguments: the AWS error, the permissions that were tried or are needed, and the principal with the location.
RemedyOf: TypeAlias = "Callable[[ErrorText, Sequence[Permission], Target], Remedy]"


def sentence(text: str) -> RemedyOf:
    """Return a remedy that is always the same sentence."""
    return lambda *_: Remedy((text,))


def grant(_: ErrorText, permissions: Sequence[Permission], target: Target) -> Remedy:
    """Statements to add to the identity's own policy."""
    return Remedy(statements=_granting(permissions, target), identity=target.identity)


def _granting(permissions: Sequence[Permission], target: Target) -> tuple[Statement, ...]:
    return tuple(
        statements_for(permissions, target.location, kms_key_arn=target.kms_key_arn, partition=target.partition)
    )


def grant_from_both_sides(_: ErrorText, permissions: Sequence[Permission], target: Target) -> Remedy:
    """Statements for the identity's own policy and for the bucket's."""
    allowed = _granting(permissions, target)
    for_bucket = tuple({**one, "Principal": {"AWS": target.principal}} for one in allowed)
    return Remedy(
        ("The bucket belongs to another account, whose bucket policy must allow it too.",),
        statements=allowed,
        identity=target.identity,
        changes=(PolicyChange(f"policy of bucket {target.location.bucket}", for_bucket),),
    )


_ACTIONS = {
    Permission.LIST: "s3:ListBucket",
    Permission.READ: "s3:GetObject",
    Permission.WRITE: "s3:PutObject",
    Permission.OVERWRITE: "s3:PutObject and s3:DeleteObject",
}


def _action(error: ErrorText, permissions: Sequence[Permission]) -> str:
    return error.action or " and ".join(_ACTIONS[permission] for permission in permissions) or "this"


def outer_policy(whose: str, ask: str) -> RemedyOf:
    """
    A policy that limits the identity from outside and that the user usually cannot change.

    :param whose: The policy's name.
    :param ask: Who can change the policy.
    """

    def remedy(error: ErrorText, permissions: Sequence[Permission], target: Target) -> Remedy:
        named = f" {error.policy_arn}" if error.policy_arn else ""
        action = _action(error, permissions)
        does = "denies" if error.explicit else "does not allow"
        return Remedy(
            (
                f"The {whose}{named} {does} {action} on {error.resource or target.objects_arn} to {target.access}, and "
                f"no statement in the identity's own policy outweighs it: ask {ask} for an exception.",
            )
        )

    return remedy


def boundary(error: ErrorText, permissions: Sequence[Permission], target: Target) -> Remedy:
    """A permissions boundary lacks an Allow or has a Deny; other identities may use the same boundary."""
    if error.explicit:
        return explicit_deny(PolicyOf.BOUNDARY)(error, permissions, target)
    text = (
        f"The permissions boundary does not allow {_action(error, permissions)} on {target.objects_arn} to "
        f"{target.access}, and no statement in the identity's own policy outweighs it. Ask whoever owns the boundary."
    )
    arn = target.surroundings.boundary_arn
    if not arn:
        return Remedy((text,))
    # The change grants nothing to other identities with the same boundary.
    for_it_alone = tuple(
        {
            **one,
            "Condition": {**one.get("Condition", {}), "ArnEquals": {"aws:PrincipalArn": target.principal}},
        }
        for one in _granting(permissions, target)
    )
    return Remedy((text,), changes=(PolicyChange(f"permissions boundary {arn}", for_it_alone),))


_WHERE_TO_LOOK = {
    PolicyOf.IDENTITY: "aws iam simulate-principal-policy names it (MatchedStatements), or this table with an "
    "aws_conn_id that may read the identity's policies",
    PolicyOf.BOUNDARY: "aws iam simulate-principal-policy names it (MatchedStatements), or this table with an "
    "aws_conn_id that may read the boundary",
    PolicyOf.BUCKET: "aws s3api get-bucket-policy shows it, or this table with an aws_conn_id that may do "
    "s3:GetBucketPolicy",
    PolicyOf.KEY: "aws kms get-key-policy shows it, or this table with an aws_conn_id that may do kms:GetKeyPolicy",
}


_BY_NETWORK = "If it denies by network (aws:SourceIp, aws:SourceVpc) and is meant to, verify with bypass_verify=True."


def explicit_deny(of: PolicyOf) -> RemedyOf:
    """
    A statement with Effect Deny: the exact statement if it was read, else how to find it.

    :param of: Whose policy contains it.
    """

    def remedy(error: ErrorText, permissions: Sequence[Permission], target: Target) -> Remedy:
        named = f"The policy {error.policy_arn}" if error.policy_arn else ""
        whose = {
            PolicyOf.IDENTITY: named or f"A policy of {target.access}",
            PolicyOf.BOUNDARY: f"The permissions boundary of {target.access}",
            PolicyOf.BUCKET: f"The policy of bucket {target.location.bucket!r}",
            PolicyOf.KEY: "The KMS key's own policy",
        }[of]
        action, resource = _action(error, permissions), error.resource or target.objects_arn
        text = f"{whose} has a statement with Effect Deny that covers {action} on {resource}, which no Allow outweighs."
        denying, perhaps = statements_that_deny(of, error, target)
        if denying:
            answers = merged(_without(one, error.action or "", target) for one in denying)
            return merged([Remedy((text,)), answers])
        if of is PolicyOf.BUCKET:
            text += f" {_BY_NETWORK}"
        if perhaps:
            shown = " ".join(dict.fromkeys(f"{as_json([one.statement])} in the {one.policy}." for one in perhaps))
            which = "This may be it" if len(perhaps) == 1 else "It is one of these"
            return Remedy((text, f"{which}, but its conditions cannot be judged from here: {shown} Ask its owner."))
        return Remedy((f"{text} Which one it is, {_WHERE_TO_LOOK[of]}.",))

    return remedy


def _without(one: DenyingStatement, action: str, target: Target) -> Remedy:
    """Return how to change a denying statement so that it allows this request and still protects others."""
    statement = one.statement
    if is_about_transport(statement):
        return Remedy(
            (f"The {one.policy} protects the transport: use https and a newer TLS, and leave the statement as it is.",)
        )
    if key := kms_key_asked_for(statement, action, target):
        return Remedy(
            (
                f"The {one.policy} denies what is not encrypted with AWS KMS: configure the datasource with "
                f"kms_key_arn={key!r}, and leave the policy as it is.",
            )
        )
    if is_about_encryption(statement):
        return Remedy(
            (
                f"The {one.policy} asks for an encryption header that Lightly does not send: {as_json([statement])}. "
                "S3 encrypts every object by itself, so ask its owner to deny only who names another encryption, by "
                'one more condition: "Null":{"s3:x-amz-server-side-encryption":"false"}.',
            )
        )
    if one.arn and one.arn.split(":")[4] == "aws":
        return Remedy(
            (
                f"The {one.policy} is AWS's own, and attached for a reason (a quarantine means that the access key "
                "became public: replace the key). Ask whoever attached it.",
            )
        )
    if is_for_it_alone(one, target):
        if one.removal:
            return Remedy(commands=(one.removal,))
        return Remedy(changes=(PolicyChange(one.policy, remove=(statement,)),))
    excepted = with_exception(statement, target.principal)
    return Remedy(
        (
            f"The {one.policy} protects others too: it keeps its statement, and {target.identity} becomes an "
            "exception, if the policy's owner agrees.",
        ),
        changes=(PolicyChange(one.policy, add=(excepted,), remove=(statement,)),),
    )


def trust(text: str) -> RemedyOf:
    """
    The trust policy that the role needs, with a placeholder for the external ID.

    :param text: What is wrong.
    """

    def remedy(_: ErrorText, __: Sequence[Permission], target: Target) -> Remedy:
        statements = tuple(trust_policy(_EXTERNAL_ID_PLACE, partition=target.partition)["Statement"])
        change = PolicyChange(
            f"trust policy of role {target.role_name}",
            statements,
            instead_of=f"what is about account {LIGHTLY_ACCOUNT_ID}",
        )
        return Remedy((text,), changes=(change,))

    return remedy


def session(_: ErrorText, __: Sequence[Permission], target: Target) -> Remedy:
    """The role's sessions are too short."""
    return Remedy(
        ("Set the role's maximum session duration to 12 hours, which Lightly asks for.",),
        commands=(f"aws iam update-role --role-name {target.role_name} --max-session-duration {ROLE_SESSION_SECONDS}",),
    )


def region(error: ErrorText, _: Sequence[Permission], __: Target) -> Remedy:
    """The bucket is in another region."""
    its = f"region={error.region!r}" if error.region else "the bucket's own region"
    return Remedy((f"The bucket lies in another region: configure the datasource with {its}.",))


def no_such_bucket(_: ErrorText, __: Sequence[Permission], target: Target) -> Remedy:
    """The bucket does not exist."""
    return Remedy((f"Check the name {target.location.bucket!r}, or create the bucket.",))


def access_key(_: ErrorText, __: Sequence[Permission], target: Target) -> Remedy:
    """The access key is unknown or inactive."""
    owner = target.surroundings.owner_of_inactive_key
    switch_on = (
        f"aws iam update-access-key --user-name {owner or '<user>'} --access-key-id '{_ACCESS_KEY_PLACE}' "
        "--status Active"
    )
    another = "put the IAM user's present key into the AWS connection, and configure the datasource again"
    if owner:
        text = f"The access key of user {owner} is inactive: activate it, or {another}."
        return Remedy((text,), commands=(switch_on,))
    return Remedy(
        (
            f"The access key does not exist or is not active: {another}. Where aws iam list-access-keys shows it as "
            f"inactive, this activates it: {switch_on}. A region that must be enabled first (opt-in) answers the same "
            "until it is enabled in the account.",
        )
    )


def disabled_key(error: ErrorText, _: Sequence[Permission], target: Target) -> Remedy:
    """The KMS key is disabled or pending deletion."""
    key_arn = _named_key(error) or target.kms_key_arn or "<ARN of the KMS key>"
    parts = key_arn.split(":")
    of_region = f" --region {parts[3]}" if len(parts) > 3 else ""
    named = f"--key-id {key_arn}{of_region}" if of_region else f"--key-id '{key_arn}'"
    # AWS docs: KMS API reference, CancelKeyDeletion: afterwards the key is disabled.
    first = (f"aws kms cancel-key-deletion {named}",) if "pending deletion" in error.text else ()
    return Remedy(
        ("The KMS key is disabled or pending deletion, so nobody can read what it encrypts.",),
        commands=(*first, f"aws kms enable-key {named}"),
    )


def payer(_: ErrorText, __: Sequence[Permission], target: Target) -> Remedy:
    """The bucket is a Requester Pays bucket."""
    return Remedy(
        (
            "The bucket lets the requester pay, and Lightly's requests do not offer to: let the bucket's owner pay, or "
            "copy the files into a bucket of your own.",
        ),
        commands=(
            f"aws s3api put-bucket-request-payment --bucket {target.location.bucket} "
            "--request-payment-configuration Payer=BucketOwner",
        ),
    )


def _named_key(error: ErrorText) -> str | None:
    return error.resource if error.resource and ":kms:" in error.resource else None


def kms_key_policy(error: ErrorText, permissions: Sequence[Permission], target: Target) -> Remedy:
    """The key policy denies the action, or lacks an Allow."""
    if error.explicit:
        return explicit_deny(PolicyOf.KEY)(error, permissions, target)
    return kms_right(error, permissions, target)


def kms_right(error: ErrorText, permissions: Sequence[Permission], target: Target) -> Remedy:
    """Neither the identity's policy nor the key policy is known to allow the action."""
    named = _named_key(error)
    key_arn = named or target.kms_key_arn or "<the ARN of the KMS key that encrypts the objects>"
    statements = statements_for(permissions, target.location, kms_key_arn=key_arn, partition=target.partition)
    for_identity = [one for one in statements if str(one["Action"][0]).startswith("kms:")]
    if not for_identity:
        for_identity = [{"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": [key_arn]}]
    for_key: tuple[Statement, ...] = tuple(
        # AWS docs: KMS, "Key policies": in a key policy, "*" means this key.
        {
            "Sid": "AllowLightly",
            "Effect": "Allow",
            "Principal": {"AWS": target.principal},
            "Action": one["Action"],
            "Resource": "*",
        }
        for one in for_identity
    )
    which = f"the KMS key {key_arn}" if named or target.kms_key_arn else "a KMS key"
    return Remedy(
        (f"The objects are encrypted with {which}, which both the identity's policy and the key's own must allow.",),
        statements=tuple(for_identity),
        identity=target.identity,
        changes=(PolicyChange(f"policy of KMS key {key_arn}", for_key),),
    )
