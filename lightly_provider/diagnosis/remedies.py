"""
What to do: a sentence, the exact statement where a policy is to be changed, or the exact command. Pure.

No remedy takes protection away from others: only a policy that is the identity's own loses a statement; elsewhere the
identity is excepted, or whoever owns the policy is to be asked. Nothing here knows a cause: ``causes`` says which of
these functions answers which.

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
    A change of one policy.

    :param policy: Which, as a sentence names it, e.g. ``policy of bucket photos``.
    :param add: Statements that must be in it.
    :param remove: Statements that must not, as they stand there.
    :param instead_of: In words what ``add`` replaces, where it is better not shown; empty: nothing.
    """

    policy: str
    add: tuple[Statement, ...] = ()
    remove: tuple[Statement, ...] = ()
    instead_of: str = ""

    def parts(self) -> list[str | list[Statement]]:
        """The change as a sentence, in which statements stand between the words."""
        if not self.add:
            return [f"From the {self.policy} remove:", list(self.remove)]
        replaced: str | list[Statement] = list(self.remove) or self.instead_of
        if isinstance(replaced, list):
            return [f"In the {self.policy} replace:", replaced, "by:", list(self.add)]
        if replaced:
            return [f"In the {self.policy} replace {replaced} by:", list(self.add)]
        return [f"To the {self.policy} add:", list(self.add)]

    def line(self) -> str:
        """The change as a sentence with JSON, in one line."""
        return " ".join(part if isinstance(part, str) else as_json(part) for part in self.parts())

    def as_dict(self) -> dict[str, Any]:
        """The change in JSON's own types."""
        return {
            "policy": self.policy,
            "add": list(self.add),
            "remove": list(self.remove),
            **({"instead_of": self.instead_of} if self.instead_of else {}),
        }


@dataclass(frozen=True)
class Remedy:
    """
    What to do. Nothing in it is secret: where an external ID belongs, a placeholder stands.

    :param texts: Sentences; complete without the rest where there is none. Empty if the statements say it all.
    :param statements: To add to the IAM policy of the user or role.
    :param identity: Whose IAM policy that is, e.g. ``role Lightly``.
    :param changes: Changes of other policies.
    :param commands: Commands of AWS's command line, to be run in this order.
    """

    texts: tuple[str, ...] = ()
    statements: tuple[Statement, ...] = ()
    identity: str = ""
    changes: tuple[PolicyChange, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def changes_policies(self) -> bool:
        """Whether it changes any policy."""
        return bool(self.statements or self.changes)

    @property
    def all_changes(self) -> tuple[PolicyChange, ...]:
        """The changes of all policies, the identity's own first."""
        own = (PolicyChange(f"IAM policy of {self.identity}", self.statements),) if self.statements else ()
        return own + self.changes

    def lines(self) -> list[str]:
        """The remedy as texts to show, each change and each command in one of its own."""
        return [
            *self.texts,
            *(change.line() for change in self.all_changes),
            *(f"Run: {command}" for command in self.commands),
        ]


def merged(remedies: Iterable[Remedy]) -> Remedy:
    """
    Several remedies as one: each sentence and command once, one statement for what differs in its actions only.

    :param remedies: Remedies of one user or role.
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
    """Statements as a policy's ``Statement`` member takes them: one alone, several in a list."""
    listed = list(statements)
    value = listed[0] if len(listed) == 1 else listed
    return json.dumps(value, indent=indent, separators=(",", ":") if indent is None else None)


# --- what answers a cause -------------------------------------------------------------------------------------------

# From what AWS said, what was tried or is needed, and whose access to what it is.
RemedyOf: TypeAlias = "Callable[[ErrorText, Sequence[Permission], Target], Remedy]"


def sentence(text: str) -> RemedyOf:
    """Always the same sentence."""
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
    A policy that limits the identity from outside, and that nobody here may change.

    :param whose: What it is called.
    :param ask: Who can change it.
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
    """A permissions boundary lacks an Allow or has a Deny; others may have the same boundary."""
    if error.explicit:
        return explicit_deny(PolicyOf.BOUNDARY)(error, permissions, target)
    text = (
        f"The permissions boundary does not allow {_action(error, permissions)} on {target.objects_arn} to "
        f"{target.access}, and no statement in the identity's own policy outweighs it. Ask whoever owns the boundary."
    )
    arn = target.surroundings.boundary_arn
    if not arn:
        return Remedy((text,))
    # Whoever else has the boundary gets no more by it than before.
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
    A statement with Effect Deny: the very statement, where it was read; else how to find it.

    :param of: Whose policy has it.
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
    """How one denying statement no longer denies this request, and goes on protecting others."""
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
    What a role's trust policy must say. The external ID in it is a placeholder.

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
    """The bucket lies elsewhere."""
    its = f"region={error.region!r}" if error.region else "the bucket's own region"
    return Remedy((f"The bucket lies in another region: configure the datasource with {its}.",))


def no_such_bucket(_: ErrorText, __: Sequence[Permission], target: Target) -> Remedy:
    """There is no such bucket."""
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
    """The KMS key is disabled, or about to be deleted."""
    key_arn = _named_key(error) or target.kms_key_arn or "<ARN of the KMS key>"
    parts = key_arn.split(":")
    of_region = f" --region {parts[3]}" if len(parts) > 3 else ""
    named = f"--key-id {key_arn}{of_region}" if of_region else f"--key-id '{key_arn}'"
    # AWS docs: KMS API reference, CancelKeyDeletion: the key is disabled then.
    first = (f"aws kms cancel-key-deletion {named}",) if "pending deletion" in error.text else ()
    return Remedy(
        ("The KMS key is disabled or pending deletion, so nobody can read what it encrypts.",),
        commands=(*first, f"aws kms enable-key {named}"),
    )


def payer(_: ErrorText, __: Sequence[Permission], target: Target) -> Remedy:
    """The bucket lets the requester pay."""
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
    """The key's own policy denies it, or lacks an Allow."""
    if error.explicit:
        return explicit_deny(PolicyOf.KEY)(error, permissions, target)
    return kms_right(error, permissions, target)


def kms_right(error: ErrorText, permissions: Sequence[Permission], target: Target) -> Remedy:
    """Neither the identity's policy nor the key's is known to allow it."""
    named = _named_key(error)
    key_arn = named or target.kms_key_arn or "<the ARN of the KMS key that encrypts the objects>"
    statements = statements_for(permissions, target.location, kms_key_arn=key_arn, partition=target.partition)
    for_identity = [one for one in statements if str(one["Action"][0]).startswith("kms:")]
    if not for_identity:
        for_identity = [{"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": [key_arn]}]
    for_key: tuple[Statement, ...] = tuple(
        # AWS docs: KMS, "Key policies": in a key's own policy "*" is this key.
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
