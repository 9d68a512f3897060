"""Reports when an object expires by the bucket's lifecycle rules, of which ministack only stores the text.

Nothing is deleted when it expires: S3 also reports the date before, and deletes the object some time later.
"""

from __future__ import annotations

import datetime
import math
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

EXPIRATION = "x-amz-expiration"

_Answer = tuple[int, dict[str, str], bytes]
_Rule = dict[str, Any]
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_DAY = datetime.timedelta(days=1)
# Subresources of an object, as opposed to the object itself.
_SUBRESOURCES = frozenset(
    {"tagging", "acl", "retention", "legal-hold", "annotation", "torrent", "attributes"}
)


def install() -> None:
    """Add the header to ministack's responses, and complete the rules that it stores."""
    from ministack.services import s3

    dispatch, put_rules = s3._dispatch, s3._put_bucket_lifecycle

    def described_by(
        method: str,
        bucket: str,
        key: str,
        headers: Mapping[str, str],
        body: bytes,
        query: Mapping[str, list[str]],
    ) -> _Answer:
        answer: _Answer = dispatch(method, bucket, key, headers, body, query)
        status, answered, content = answer
        if not key or not 200 <= status < 300 or not _gives_or_takes_an_object(method, query):
            return answer
        value = _of_stored(bucket, key, answered.get("x-amz-version-id"))
        return answer if value is None else (status, {**answered, EXPIRATION: value}, content)

    def completed(bucket: str, body: bytes) -> _Answer:
        answer: _Answer = put_rules(bucket, body)
        rules = s3._bucket_lifecycle.get(bucket)
        if answer[0] == 200 and isinstance(rules, list):
            s3._bucket_lifecycle[bucket] = _completed(rules, body)
        return answer

    s3._dispatch, s3._put_bucket_lifecycle = described_by, completed


def _gives_or_takes_an_object(method: str, query: Mapping[str, list[str]]) -> bool:
    if _SUBRESOURCES & query.keys():
        return False
    if method == "POST":
        return "uploadId" in query  # completing the upload creates an object
    return method in ("GET", "HEAD", "PUT") and "uploadId" not in query


def expiration(
    rules: Iterable[_Rule], key: str, size: int, tags: Mapping[str, str], created: datetime.datetime
) -> str | None:
    """Return the header's value for an object, None if no rule lets it expire.

    AWS docs: S3, GetObject, "x-amz-expiration"; "Lifecycle configuration elements"; where several rules
    apply, "the shorter expiration policy is honored" ("Conflicting lifecycle configurations").

    Args:
        rules: the rules that ministack stores, with boto3's names.
        key: the object's key.
        size: its size in bytes.
        tags: its tags.
        created: when it was written.
    """
    found = []
    for rule in rules:
        if rule.get("Status") == "Enabled" and _applies(rule.get("Filter") or {}, key, size, tags):
            date = _date(rule.get("Expiration") or {}, created)
            if date is not None:
                found.append((date, str(rule.get("ID", ""))))
    if not found:
        return None
    date, rule_id = min(found)
    return f'expiry-date="{date:%a, %d %b %Y %H:%M:%S} GMT", rule-id="{quote(rule_id, safe="")}"'


def _date(action: Mapping[str, Any], created: datetime.datetime) -> datetime.datetime | None:
    if "Days" in action:
        # "rounding up the resulting time to the next day at midnight UTC" (AWS docs: as above).
        due: datetime.datetime = created + int(action["Days"]) * _DAY
        return due.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
    if "Date" in action:
        date = datetime.datetime.fromisoformat(action["Date"])
        return date.astimezone(datetime.UTC) if date.tzinfo else date.replace(tzinfo=datetime.UTC)
    return None


def _applies(chosen: Mapping[str, Any], key: str, size: int, tags: Mapping[str, str]) -> bool:
    both = chosen.get("And", {})
    named = [*both.get("Tags", ()), *([chosen["Tag"]] if "Tag" in chosen else [])]
    conditions = {**chosen, **both}
    return (
        key.startswith(conditions.get("Prefix", ""))
        and all(tags.get(tag["Key"]) == tag["Value"] for tag in named)
        and conditions.get("ObjectSizeGreaterThan", -1)
        < size
        < conditions.get("ObjectSizeLessThan", math.inf)
    )


def _completed(rules: list[_Rule], body: bytes) -> list[_Rule]:
    """Add what ministack leaves out: the prefix of a rule in the older form, and an ID if none was given."""
    # ministack has already read it with a parser that is safe against malicious documents.
    sent = [
        rule
        for rule in ElementTree.fromstring(body)  # noqa: S314
        if rule.tag.removeprefix(_NAMESPACE) == "Rule"
    ]
    whole = []
    for rule, element in zip(rules, sent, strict=True):
        old = {child.tag.removeprefix(_NAMESPACE): child.text or "" for child in element}
        chosen = {"Filter": {"Prefix": old["Prefix"]}} if "Prefix" in old else {}
        whole.append({"ID": secrets.token_urlsafe(36), **rule, **chosen})
    return whole


def _of_stored(bucket: str, key: str, version_id: str | None) -> str | None:
    from ministack.services import s3

    owner = s3._bucket_owner_account(bucket)
    rules = s3._bucket_lifecycle.get_scoped(owner, None, bucket)
    record = s3._buckets.get_scoped(owner, None, bucket)
    stored = None if record is None else record["objects"].get(key)
    # A rule's Expiration applies to the current version only.
    if not isinstance(rules, list) or stored is None or stored.get("version_id") != version_id:
        return None
    tags = s3._object_tags.get_scoped(owner, None, (bucket, key, stored.get("version_id"))) or {}
    created = datetime.datetime.fromisoformat(stored["last_modified"]).astimezone(datetime.UTC)
    return expiration(rules, key, int(stored["size"]), tags, created)
