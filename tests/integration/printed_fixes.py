"""
Reads the fixes from a printed table and applies them as a reader would, without any other knowledge.

It knows no cause and no situation: only the names of policies, the meaning of "add", "remove" and "replace", and how to
convert an AWS CLI command into a request.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from lightly_provider.aws.policy_documents import compact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.integration.sandbox import Sandbox

_TODO = re.compile(r"^  to do\n((?: {4}.*(?:\n|$))+)", re.MULTILINE)
_ADD = re.compile(r"To the (?P<policy>[^:{]*(?::[^ ]+)*) add: (?P<json>[\[{].*)")
_REMOVE = re.compile(r"From the (?P<policy>.+?) remove: (?P<json>[\[{].*)")
_REPLACE = re.compile(
    r"In the (?P<policy>.+?) replace(?: (?P<old>what is about account (?P<account>\d+))|: (?P<json_old>[\[{].*)) by: "
    r"(?P<json>[\[{].*)"
)
_RUN = re.compile(r"Run: aws (?P<command>.*)")
_REGION = re.compile(r"configure the datasource with region='(?P<region>[a-z0-9-]+)'")
_PLACEHOLDER = re.compile(r"<[^<>]+>")


def fixes_in(table: str) -> list[str]:
    """Return a table's fixes in order, each once and on one line."""
    items = [item for block in _TODO.findall(table) for item in re.split(r"^ {4}- ", block, flags=re.MULTILINE)]
    # A long command is continued on the next line, as a shell reads it.
    return list(dict.fromkeys(" ".join(item.replace("\\\n", "").split()) for item in items if item.strip()))


@dataclass
class Administrator:
    """
    An administrator who applies a table's fixes.

    :param sandbox: The sandbox.
    :param configure: Configures the datasource again, in a region.
    :param known: The values of placeholders, which only the customer knows.
    :param done: What was applied.
    """

    sandbox: Sandbox
    configure: Callable[[str], None]
    known: Mapping[str, str]
    done: list[str] = field(default_factory=list)

    def follow(self, table: str) -> None:
        """Apply all fixes of a table."""
        for line in fixes_in(table):
            self._apply(line)

    def _apply(self, line: str) -> None:
        if found := _RUN.fullmatch(line):
            self._run(self._filled(found["command"]))
        elif found := _REPLACE.fullmatch(line):
            new, account = self._read(found["json"]), found["account"]
            gone = (lambda one: _is_about(one, account)) if account else self._any_of(self._read(found["json_old"]))
            self._change(found["policy"], add=new, gone=gone)
        elif found := _REMOVE.fullmatch(line):
            self._change(found["policy"], add=[], gone=self._any_of(self._read(found["json"])))
        elif found := _ADD.fullmatch(line):
            self._change(found["policy"], add=self._read(found["json"]), gone=lambda _: False)
        elif found := _REGION.search(line):
            self.configure(found["region"])
        else:
            return
        self.done.append(line)

    def _filled(self, text: str) -> str:
        filled = _PLACEHOLDER.sub(lambda place: self.known.get(place[0], place[0]), text)
        left = _PLACEHOLDER.findall(filled)
        assert not left, f"nobody knows {left}"
        return filled

    def _read(self, text: str) -> list[dict[str, Any]]:
        value = json.loads(self._filled(text))
        return value if isinstance(value, list) else [value]

    @staticmethod
    def _any_of(statements: list[dict[str, Any]]) -> Callable[[dict[str, Any]], bool]:
        return lambda one: one in statements

    # --- policies, by the names that the table gives them -----------------------------------------------------------

    def _change(self, policy: str, *, add: list[dict[str, Any]], gone: Callable[[dict[str, Any]], bool]) -> None:
        read, write = self._policy(policy)
        document = read()
        document = json.loads(unquote(document)) if isinstance(document, str) else document
        kept = [one for one in document["Statement"] if not gone(one)]
        write(compact({**document, "Statement": [*kept, *add]}))

    def _policy(self, name: str) -> tuple[Callable[[], Any], Callable[[str], Any]]:
        """Return functions to read and write a policy."""
        iam, s3, kms = (self.sandbox.aws(service) for service in ("iam", "s3", "kms"))
        if found := re.fullmatch(r"IAM policy of (role|user) ([\w+=,.@-]+)", name):
            return self._inline(*found.groups(), policy="the-fix")
        if found := re.fullmatch(r"inline policy '(.+)' of (role|user|group) ([\w+=,.@-]+)", name):
            return self._inline(found[2], found[3], policy=found[1])
        if found := re.fullmatch(r"(?:managed policy|permissions boundary) (arn:aws:iam::\S+)", name):
            return self._managed(found[1])
        if found := re.fullmatch(r"trust policy of role ([\w+=,.@-]+)", name):
            role = {"RoleName": found[1]}
            return (
                lambda: iam.get_role(**role)["Role"]["AssumeRolePolicyDocument"],
                lambda document: iam.update_assume_role_policy(**role, PolicyDocument=document),
            )
        if found := re.fullmatch(r"policy of bucket (\S+)", name):
            bucket = {"Bucket": found[1]}
            return (
                lambda: s3.get_bucket_policy(**bucket)["Policy"],
                lambda document: s3.put_bucket_policy(**bucket, Policy=document),
            )
        if found := re.fullmatch(r"policy of KMS key (arn:aws:kms:\S+)", name):
            key = {"KeyId": found[1], "PolicyName": "default"}
            return (
                lambda: kms.get_key_policy(**key)["Policy"],
                lambda document: kms.put_key_policy(**key, Policy=document, BypassPolicyLockoutSafetyCheck=True),
            )
        raise AssertionError(f"no policy is named {name!r}")

    def _inline(self, kind: str, owner: str, *, policy: str) -> tuple[Callable[[], Any], Callable[[str], Any]]:
        iam = self.sandbox.aws("iam")
        named = {f"{kind.title()}Name": owner, "PolicyName": policy}

        def read() -> Any:
            try:
                return getattr(iam, f"get_{kind}_policy")(**named)["PolicyDocument"]
            except iam.exceptions.NoSuchEntityException:
                return {"Version": "2012-10-17", "Statement": []}

        return read, lambda document: getattr(iam, f"put_{kind}_policy")(**named, PolicyDocument=document)

    def _managed(self, arn: str) -> tuple[Callable[[], Any], Callable[[str], Any]]:
        iam = self.sandbox.aws("iam")

        def read() -> Any:
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            return iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]

        return read, lambda document: iam.create_policy_version(
            PolicyArn=arn, PolicyDocument=document, SetAsDefault=True
        )

    # --- commands ---------------------------------------------------------------------------------------------------

    def _run(self, command: str) -> None:
        """``iam update-role --role-name X`` as boto3's ``iam.update_role(RoleName="X")``."""
        service, operation, *options = shlex.split(command)
        values = dict(zip((name.removeprefix("--") for name in options[::2]), options[1::2], strict=True))
        client = self.sandbox.aws(service.replace("s3api", "s3"), values.pop("region", None))
        method = operation.replace("-", "_")
        shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method]).input_shape
        members = {name.lower(): (name, member) for name, member in shape.members.items()}
        arguments = {}
        for option, text in values.items():
            name, member = members[option.replace("-", "")]
            arguments[name] = _typed(text, member.type_name)
        getattr(client, method)(**arguments)


def _typed(text: str, kind: str) -> Any:
    if kind in ("integer", "long"):
        return int(text)
    if kind == "structure":
        return json.loads(text) if text.startswith("{") else dict(part.split("=", 1) for part in text.split(","))
    return text


def _is_about(statement: dict[str, Any], account: str) -> bool:
    principal = statement["Principal"]
    named = principal.get("AWS", []) if isinstance(principal, dict) else principal
    return any(
        one in ("*", account) or f"::{account}:" in one for one in ([named] if isinstance(named, str) else named)
    )
