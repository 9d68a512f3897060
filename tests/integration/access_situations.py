"""Situations in which access to a bucket is right or broken, each set up in the local AWS."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lightly_provider.aws.location import S3Location
from lightly_provider.aws.policies import PURPOSE_PERMISSIONS, statements_for, trust_policy
from lightly_provider.contract import Permission, Purpose
from lightly_provider.diagnosis.causes import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.integration.sandbox import Sandbox

EXTERNAL_ID = "CANARY-external-id"
LIST, READ, WRITE, OVERWRITE = Permission
PHOTO = "a.jpg"


@dataclass
class Access:
    """
    One datasource's access before it is created, which a situation changes.

    :param sandbox: The sandbox.
    :param by: ``user`` or ``role``.
    :param purpose: What the datasource is for.
    """

    sandbox: Sandbox
    by: str
    purpose: Purpose
    bucket: str = ""
    prefix: str = "raw/"
    region: str | None = None
    kms_key_arn: str | None = None
    permissions: frozenset[Permission] = frozenset()
    statements: list[dict[str, Any]] = field(default_factory=list)
    trust: dict[str, Any] | None = None
    session_seconds: int = 43200
    boundary: str | None = None
    external_id: str = EXTERNAL_ID
    afterwards: list[Callable[[str], None]] = field(default_factory=list)
    keys_change: dict[str, str] = field(default_factory=dict)
    role_arn_suffix: str = ""
    principal: str = ""

    def __post_init__(self) -> None:
        self.bucket = self.sandbox.bucket()
        self.put(PHOTO)
        self.permissions = PURPOSE_PERMISSIONS[self.purpose]

    @property
    def uri(self) -> str:
        """The datasource's location."""
        return f"s3://{self.bucket}/{self.prefix}"

    def put(self, name: str, **options: Any) -> None:
        """Upload an object below the prefix."""
        self.sandbox.aws("s3").put_object(Bucket=self.bucket, Key=f"{self.prefix}{name}", Body=b"content", **options)

    def connection(self) -> str:
        """Create the identity, and its AWS connection."""
        location = S3Location.from_stored(self.uri)
        granted = statements_for(self.permissions, location, kms_key_arn=self.kms_key_arn)
        documents = [*granted, *self.statements]
        iam = self.sandbox.aws("iam")
        if self.by == "user":
            keys = self.sandbox.user(*documents)
            self.principal = iam.get_user(UserName=keys.user_name)["User"]["Arn"]
            if self.boundary:
                iam.put_user_permissions_boundary(UserName=keys.user_name, PermissionsBoundary=self.boundary)
            made = self.sandbox.aws_connection(replace(keys, **self.keys_change))
        else:
            self.principal = self.sandbox.role(EXTERNAL_ID, *documents, trust=self.trust)
            name = self.principal.rpartition("/")[2]
            if self.session_seconds != 43200:
                iam.update_role(RoleName=name, MaxSessionDuration=self.session_seconds)
            if self.boundary:
                iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=self.boundary)
            made = self.sandbox.aws_connection(
                role_arn=self.principal + self.role_arn_suffix, assume_role_kwargs={"ExternalId": self.external_id}
            )
        for change in self.afterwards:
            change(self.principal)
        return made


@dataclass(frozen=True)
class Situation:
    """
    A situation in which access is right or broken.

    :param name: Its name.
    :param purpose: What the datasource is for.
    :param change: Sets it up.
    :param lightly: The status of Lightly's required checks that are not PASS. What is unknown with user access fails
        with a role, whose policies can be simulated.
    :param cause: The cause that the failed checks must name, by access; None: nothing fails.
    :param by: The types of access that it applies to.
    :param worker: This worker's results that are not PASS.
    """

    name: str
    purpose: Purpose
    change: Callable[[Access], None]
    lightly: Mapping[Permission, str] = field(default_factory=dict)
    cause: Cause | None = None
    by: tuple[str, ...] = ("user", "role")
    worker: Mapping[str, str] = field(default_factory=dict)

    def expected(self, by: str) -> dict[str, str]:
        """The status of Lightly's checks with this access."""
        return {str(permission): "FAIL" if by == "role" else status for permission, status in self.lightly.items()}


def nothing(access: Access) -> None:
    """Everything is right."""


def without(*permissions: Permission) -> Callable[[Access], None]:
    """Grant less than the purpose requires."""

    def change(access: Access) -> None:
        access.permissions = access.permissions - set(permissions)

    return change


def no_delete(access: Access) -> None:
    access.permissions = access.permissions - {OVERWRITE}


def deny(*actions: str) -> Callable[[Access], None]:
    """A Deny in the identity's own policy."""

    def change(access: Access) -> None:
        access.statements.append({"Effect": "Deny", "Action": list(actions), "Resource": "*"})

    return change


def bucket_policy(*actions: str) -> Callable[[Access], None]:
    """A Deny in the bucket policy for this identity."""

    def change(access: Access) -> None:
        def put(principal: str) -> None:
            arn = f"arn:aws:s3:::{access.bucket}"
            statement = {
                "Effect": "Deny",
                "Principal": {"AWS": principal},
                "Action": list(actions),
                "Resource": [arn, f"{arn}/*"],
            }
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            access.sandbox.aws("s3").put_bucket_policy(Bucket=access.bucket, Policy=document)

        access.afterwards.append(put)

    return change


def boundary(access: Access) -> None:
    """A permissions boundary that only allows listing."""
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:List*", "Resource": "*"}]}
    access.boundary = access.sandbox.aws("iam").create_policy(
        PolicyName=f"boundary-{uuid.uuid4().hex[:12]}", PolicyDocument=json.dumps(document)
    )["Policy"]["Arn"]


def kms_key(access: Access, *, iam: bool = True) -> str:
    """A KMS key whose key policy delegates to IAM, or allows only the administrator."""
    who = {"AWS": "arn:aws:iam::123456789012:root"} if iam else {"AWS": "arn:aws:iam::123456789012:user/admin"}
    statement = {"Effect": "Allow", "Principal": who, "Action": "kms:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    key = access.sandbox.aws("kms").create_key(Policy=document, BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]
    return str(key["Arn"])


def encrypted(*, granted: bool = False, by_key_policy: bool = True, on: bool = True) -> Callable[[Access], None]:
    """The object is encrypted with a KMS key."""

    def change(access: Access) -> None:
        arn = kms_key(access, iam=by_key_policy)
        access.put(PHOTO, ServerSideEncryption="aws:kms", SSEKMSKeyId=arn)
        if granted:
            access.statements.append({"Effect": "Allow", "Action": "kms:*", "Resource": arn})
        if not on:
            access.sandbox.aws("kms").disable_key(KeyId=arn)

    return change


def encrypting(*, on: bool = True) -> Callable[[Access], None]:
    """Lightly must encrypt what it writes, and has the permission."""

    def change(access: Access) -> None:
        access.kms_key_arn = kms_key(access)
        if not on:
            access.sandbox.aws("kms").disable_key(KeyId=access.kms_key_arn)

    return change


def encrypting_without_right(access: Access) -> None:
    """Lightly must encrypt with a key on which the identity has no permission."""
    granted = statements_for(access.permissions, S3Location.from_stored(access.uri))
    access.kms_key_arn = kms_key(access)
    access.permissions = frozenset()
    access.statements += granted


def no_such_bucket(access: Access) -> None:
    access.bucket = f"gone-{uuid.uuid4().hex[:12]}"
    access.region = access.sandbox.region


def wrong_region(access: Access) -> None:
    access.region = "eu-west-1"


def closed_to_the_public(access: Access) -> None:
    closed = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    access.sandbox.aws("s3").put_public_access_block(Bucket=access.bucket, PublicAccessBlockConfiguration=closed)


def closed_to_the_public_and_denied(access: Access) -> None:
    closed_to_the_public(access)
    without(READ)(access)


def another_prefix(access: Access) -> None:
    """The policy is for another prefix than the datasource's."""
    other = S3Location(access.bucket, "other/")
    access.statements += statements_for(access.permissions, other)
    access.permissions = frozenset()


def empty(access: Access) -> None:
    access.sandbox.aws("s3").delete_object(Bucket=access.bucket, Key=f"{access.prefix}{PHOTO}")


def empty_without_read(access: Access) -> None:
    empty(access)
    without(READ)(access)


def versioned(access: Access) -> None:
    access.sandbox.aws("s3").put_bucket_versioning(Bucket=access.bucket, VersioningConfiguration={"Status": "Enabled"})
    arn = f"arn:aws:s3:::{access.bucket}/*"
    access.statements.append({"Effect": "Allow", "Action": "s3:DeleteObjectVersion", "Resource": arn})


def wrong_secret(access: Access) -> None:
    access.keys_change = {"secret_access_key": "w" * 40}
    access.region = access.sandbox.region


def unknown_key(access: Access) -> None:
    access.keys_change = {"access_key_id": "AKIAXXXXXXXXXXXXXXXX"}
    access.region = access.sandbox.region


def inactive_key(access: Access) -> None:
    def switch_off(principal: str) -> None:
        iam, name = access.sandbox.aws("iam"), principal.rpartition("/")[2]
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.update_access_key(UserName=name, AccessKeyId=key["AccessKeyId"], Status="Inactive")

    access.afterwards.append(switch_off)
    access.region = access.sandbox.region


def wrong_external_id(access: Access) -> None:
    access.external_id = "CANARY-another-external-id"


def trust_in_another_account(access: Access) -> None:
    access.trust = trust_policy(EXTERNAL_ID, "222222222222")


def trust_denied(access: Access) -> None:
    access.trust = trust_policy(EXTERNAL_ID)
    denial = {key: value for key, value in access.trust["Statement"][0].items() if key != "Condition"}
    access.trust["Statement"].append(denial | {"Effect": "Deny"})


def open_trust(access: Access) -> None:
    access.trust = trust_policy(EXTERNAL_ID)
    del access.trust["Statement"][0]["Condition"]


def no_such_role(access: Access) -> None:
    access.role_arn_suffix = "-gone"


def short_session(access: Access) -> None:
    access.session_seconds = 3600


def fails(*permissions: Permission) -> dict[Permission, str]:
    return dict.fromkeys(permissions, "FAIL")


IN, OUT, BOTH = Purpose.INPUT, Purpose.LIGHTLY, Purpose.INPUT_OUTPUT
HIDDEN = {LIST: "FAIL", READ: "UNKNOWN"}
ALL = fails(*Permission)
USER, ROLE = ("user",), ("role",)

SITUATIONS: tuple[Situation, ...] = (
    *(Situation("all is right", purpose, nothing) for purpose in Purpose),
    # For a missing object, S3's error names the missing permission to list, which proves the permission to read.
    Situation("no list", IN, without(LIST), fails(LIST), Cause.MISSING_ALLOW),
    Situation("no read", IN, without(READ), fails(READ), Cause.MISSING_ALLOW),
    Situation("nothing granted", IN, without(*Permission), HIDDEN, Cause.MISSING_ALLOW),
    Situation("nothing granted", BOTH, without(*Permission), ALL | HIDDEN, Cause.MISSING_ALLOW),
    Situation("no write", OUT, without(WRITE, OVERWRITE), fails(WRITE, OVERWRITE), Cause.MISSING_ALLOW),
    Situation("no delete", OUT, no_delete, fails(OVERWRITE), Cause.MISSING_ALLOW),
    Situation("no delete", BOTH, no_delete, fails(OVERWRITE), Cause.MISSING_ALLOW),
    Situation("another prefix", IN, another_prefix, HIDDEN, Cause.MISSING_ALLOW),
    Situation("explicit deny of read", IN, deny("s3:GetObject"), fails(READ), Cause.EXPLICIT_DENY),
    Situation("explicit deny of write", OUT, deny("s3:PutObject"), fails(WRITE, OVERWRITE), Cause.EXPLICIT_DENY),
    Situation("explicit deny of delete", BOTH, deny("s3:DeleteObject"), fails(OVERWRITE), Cause.EXPLICIT_DENY),
    Situation("bucket policy denies read", IN, bucket_policy("s3:GetObject"), fails(READ), Cause.BUCKET_POLICY),
    Situation(
        "bucket policy denies write", OUT, bucket_policy("s3:PutObject"), fails(WRITE, OVERWRITE), Cause.BUCKET_POLICY
    ),
    Situation("permissions boundary", IN, boundary, fails(READ), Cause.BOUNDARY),
    Situation("no right on the KMS key", IN, encrypted(), fails(READ), Cause.KMS_RIGHT),
    Situation("right on the KMS key", IN, encrypted(granted=True), {}, None),
    Situation("KMS key policy", IN, encrypted(granted=True, by_key_policy=False), fails(READ), Cause.KMS_KEY_POLICY),
    Situation("KMS key is off", IN, encrypted(granted=True, on=False), fails(READ), Cause.KMS_KEY_DISABLED),
    Situation("encrypting", OUT, encrypting(), {}, None),
    Situation("encrypting without right", OUT, encrypting_without_right, fails(WRITE, OVERWRITE), Cause.KMS_RIGHT),
    Situation(
        "encrypting with a key that is off",
        OUT,
        encrypting(on=False),
        fails(WRITE, OVERWRITE),
        Cause.KMS_KEY_DISABLED,
    ),
    Situation("no such bucket", IN, no_such_bucket, fails(LIST, READ), Cause.NO_SUCH_BUCKET),
    Situation("no such bucket", OUT, no_such_bucket, ALL, Cause.NO_SUCH_BUCKET),
    Situation("wrong region", IN, wrong_region, fails(LIST, READ), Cause.WRONG_REGION),
    Situation("closed to the public", IN, closed_to_the_public),
    Situation("closed to the public", IN, closed_to_the_public_and_denied, fails(READ), Cause.MISSING_ALLOW),
    Situation("no file yet", IN, empty, worker={"content": "WARN"}),
    Situation("no file yet and no read", IN, empty_without_read, fails(READ), Cause.MISSING_ALLOW),
    Situation("versions are kept", OUT, versioned),
    Situation("wrong secret", IN, wrong_secret, fails(LIST, READ), Cause.WRONG_SECRET, USER, {"keys": "FAIL"}),
    Situation("unknown key", OUT, unknown_key, ALL, Cause.UNKNOWN_ACCESS_KEY, USER, {"keys": "FAIL"}),
    Situation("inactive key", IN, inactive_key, fails(LIST, READ), Cause.UNKNOWN_ACCESS_KEY, USER, {"keys": "FAIL"}),
    Situation("wrong external ID", IN, wrong_external_id, fails(LIST, READ), Cause.WRONG_EXTERNAL_ID, ROLE),
    Situation("trust in another account", IN, trust_in_another_account, fails(LIST, READ), Cause.TRUST_POLICY, ROLE),
    Situation("trust is denied", OUT, trust_denied, ALL, Cause.TRUST_POLICY, ROLE),
    Situation("no such role", IN, no_such_role, fails(LIST, READ), Cause.NO_SUCH_ROLE, ROLE),
    Situation("short session", BOTH, short_session, ALL, Cause.SHORT_SESSION, ROLE),
    Situation("trust without external ID", IN, open_trust, {}, None, ROLE, {"role": "WARN"}),
)


def single() -> Iterable[tuple[Situation, str]]:
    """Return each situation with each type of access."""
    return ((situation, by) for situation in SITUATIONS for by in situation.by)
