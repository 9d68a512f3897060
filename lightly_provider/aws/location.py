"""
An S3 location as a value: parsed, validated and compared without asking AWS anything.

Every refusal says which argument, which value, why it cannot work and what to write instead, because a
location that is wrong in a way that S3 accepts (a doubled bucket, a stray ``//``) shows up only much later,
as a dataset with no files.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from itertools import dropwhile
from urllib.parse import parse_qs, unquote, urlsplit

# The patterns of this module are compiled by their first use: most imports of it never need them.
_SCHEME = "s3://"
# Written before a location whose folder really looks like a slip.
_EXACT = "exact:"
_GENERAL_FORM = "s3://bucket/prefix/"
_BACKSLASH = "which S3 takes as part of a name; write '/' between folders"
_MAX_KEY_BYTES = 1024  # AWS docs: S3 user guide, "Naming Amazon S3 objects"
_SHOWN_CHARACTERS = 200

# AWS docs: S3 user guide, "General purpose bucket naming rules". A name that ends in "-an" belongs to an
# account's own namespace and is an ordinary bucket. Buckets made in us-east-1 before March 2018 may hold
# other characters, but they cannot be reached under the host names that S3 clients use today.
_BUCKET_CHARACTERS = r"[a-z0-9.-]+"
_IP_ADDRESS = r"\d{1,3}(?:\.\d{1,3}){3}"
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_BEHIND = "write the name of the bucket behind it"
_OTHER_BUCKET = "use a general purpose bucket"
_RESERVED_SUFFIXES = {
    "-s3alias": ("an access point", _BEHIND),
    "--ol-s3": ("an Object Lambda access point", _BEHIND),
    ".mrap": ("a multi-region access point", _BEHIND),
    "--x-s3": ("a directory bucket (S3 Express One Zone)", _OTHER_BUCKET),
    "--table-s3": ("a table bucket", _OTHER_BUCKET),
}

# The addresses under which S3 answers: path style, virtual-hosted style, and the console's own pages.
_NO_BUCKET_HOST = r"(?i).*(?:s3-(?:accesspoint|object-lambda|outposts|control)|accesspoint\.s3-global)\..*"
_PATH_HOST = r"(?i)s3(?:[.-][a-z0-9.-]+)?\.amazonaws\.com(?:\.cn)?"
_VIRTUAL_HOST = r"(?i)(?P<bucket>.+?)\.s3(?:[.-][a-z0-9.-]+)?\.amazonaws\.com(?:\.cn)?"
_CONSOLE_HOST = r"(?i)(?:[a-z0-9-]+\.)*console\.(?:aws\.amazon\.com|amazonaws\.cn)"
_CONSOLE_PATH = r"/s3/buckets/(?P<bucket>[^/]+)/?"
_S3_ARN = r"arn:aws[a-z-]*:s3:::(?P<path>.+)"
_ACCESS_POINT_ARN = r"arn:aws[a-z-]*:s3[a-z-]*:.*[:/]accesspoint[/:].*"
_BEHIND_ACCESS_POINT = f"and the platform takes buckets only; write the bucket behind it, as {_GENERAL_FORM}"
_SCHEME_SLIP = r"(?i)(?:s3[an]?:/*|s3//+)+"
_ANY_SCHEME = r"(?P<name>[a-zA-Z][a-zA-Z0-9+.-]{0,20})://"

# Copied along from web pages and documents, and not to be seen; no Unicode category holds just these two.
_INVISIBLE = frozenset("\u200b\ufeff")
_ENCODED = r"%(?:20|2[fF])"


class InvalidLocationError(ValueError):
    """A text that cannot be an S3 location."""


@dataclass(frozen=True)
class S3Location:
    """
    A directory in S3.

    :param bucket: The bucket's name.
    :param prefix: The keys' common beginning; empty for the whole bucket, else with a slash at its end.
    :param is_exact: Whether the user said that the prefix is meant as it is written.
    """

    bucket: str
    prefix: str
    is_exact: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if not self.bucket or (self.prefix and not self.prefix.endswith("/")):
            raise ValueError(
                f"An S3Location needs a bucket, and a prefix that is empty or ends in '/', not "
                f"{self.bucket!r} and {self.prefix!r}; use S3Location.parse for text."
            )

    @classmethod
    def parse(cls, uri: str, *, argument: str) -> S3Location:
        """
        Read what a user wrote, and refuse what cannot work.

        :param uri: ``s3://bucket/prefix/``; a missing slash at the end is added, ``s3://bucket`` means the
            whole bucket. ``exact:s3://bucket/prefix/`` allows folders that look like slips: one that is called like
            the bucket, has no name, or holds ``?``, ``#``, ``*`` or a backslash.
        :param argument: The name of the operator's argument, for the message.
        :raises InvalidLocationError: With one sentence that names the argument, the value, the cause and the
            next step. Credentials and query strings inside the value are left out of it.
        """
        fault = _fault(uri)
        if fault:
            raise InvalidLocationError(f"{argument}={_shown(uri)}: {fault}.")
        location = cls.from_stored(uri.removeprefix(_EXACT))
        return replace(location, is_exact=True) if uri.startswith(_EXACT) else location

    @classmethod
    def from_stored(cls, uri: str) -> S3Location:
        """
        Read a location that a service already holds, without the rules that protect against slips.

        :param uri: Any text with the scheme ``s3://`` and a bucket.
        :raises InvalidLocationError: When scheme or bucket is missing.
        """
        bucket, _, prefix = uri.removeprefix(_SCHEME).partition("/")
        if not uri.startswith(_SCHEME) or not bucket:
            raise InvalidLocationError(f"The stored path {_shown(uri)} is not of the form {_GENERAL_FORM}.")
        return cls(bucket, prefix if not prefix or prefix.endswith("/") else f"{prefix}/")

    @property
    def uri(self) -> str:
        """The location as text, always with a slash at its end."""
        return f"{_SCHEME}{self.bucket}/{self.prefix}"

    @property
    def written(self) -> str:
        """The location as a user writes it, so that :meth:`parse` takes it."""
        return self.uri if _fault(self.uri) is None else f"{_EXACT}{self.uri}"

    @property
    def warning(self) -> str | None:
        """What is probably, but not certainly, a slip; None when there is nothing to say."""
        if self.is_exact:
            return None
        # Hive writes "name=value" folders and percent-encodes the values, so there the percent sign is meant.
        if "=" not in self.prefix and re.search(_ENCODED, self.prefix):
            return (
                f"The prefix {self.prefix!r} looks percent-encoded, and S3 takes the percent sign literally; "
                f"if it was copied from a browser, write {unquote(self.prefix)!r}."
            )
        # S3 compares names byte by byte, so that two that look alike are two folders.
        if (composed := unicodedata.normalize("NFC", self.prefix)) != self.prefix:
            how, meant = (
                "letters and their accents as characters of their own (NFD, as macOS may write names)",
                composed,
            )
        elif odd := {sign for sign in self.prefix if sign != " " and unicodedata.category(sign) == "Zs"}:
            how = f"{', '.join(sorted(map(ascii, odd)))}, which looks like a space"
            meant = "".join(" " if sign in odd else sign for sign in self.prefix)
        else:
            return None
        return (
            f"The prefix {self.prefix!a} holds {how}, and S3 takes it as it is written; "
            f"if nothing is found there, write {meant!r}."
        )

    def join(self, relative: str) -> str:
        """
        The URI of what lies below this location.

        :param relative: An object's name, or a folder's with a slash at its end.
        :raises ValueError: When ``relative`` is empty, absolute, or would leave the location.
        """
        if {"", ".", ".."} & set(relative.removesuffix("/").split("/")):
            raise ValueError(
                f"{relative!r} is not a path below {self.uri}; write it without '.', '..', '//' and a slash "
                "at its start."
            )
        return self.uri + relative

    def contains(self, other: S3Location) -> bool:
        """Whether everything in ``other`` lies in this location too; a location contains itself."""
        return self.bucket == other.bucket and other.prefix.startswith(self.prefix)

    def __str__(self) -> str:
        return self.uri


def _fault(uri: object) -> str | None:
    """What is wrong with a location and what to do, for the first rule that it breaks; None for none."""
    if not isinstance(uri, str):
        return f"a location is a text of the form {_GENERAL_FORM}"
    bare = uri.removeprefix(_EXACT)
    if fault := _text_fault(bare) or _scheme_fault(bare):
        return fault
    bucket, _, prefix = bare.removeprefix(_SCHEME).partition("/")
    if fault := _bucket_fault(bucket, prefix) or _impossible(prefix):
        return fault
    slip = None if uri.startswith(_EXACT) else _slip(bucket, prefix)
    return f"{slip}; if the folder really has this name, write {_EXACT} before {_SCHEME}" if slip else None


def _text_fault(text: str) -> str | None:
    if not text.strip():
        return f"it is empty; write {_GENERAL_FORM}"
    if text != text.strip():
        return "it begins or ends with a blank; remove it"
    if _INVISIBLE & set(text) or {"Cc", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, text)):
        return "it holds a control or invisible character; type it anew"
    return None


def _scheme_fault(uri: str) -> str | None:
    rest = uri.removeprefix(_SCHEME)
    if slip := re.match(_SCHEME_SLIP, rest):
        what = "the scheme stands there twice" if uri.startswith(_SCHEME) else "the scheme must be written s3://"
        return f"{what}; write {_instead(rest[slip.end() :])} instead"
    if uri.startswith(_SCHEME):
        return None
    if re.fullmatch(_ACCESS_POINT_ARN, uri):
        return f"it is the ARN of an access point, {_BEHIND_ACCESS_POINT}"
    if uri.startswith("arn:"):
        arn = re.fullmatch(_S3_ARN, uri)
        return f"an ARN is not a location; write {_instead(arn['path'].rstrip('*') if arn else '')} instead"
    scheme = re.match(_ANY_SCHEME, uri)
    if scheme is None:
        return f"the scheme s3:// is missing; write {_instead(uri)} instead"
    if scheme["name"].lower() in {"http", "https"}:
        if re.match(_NO_BUCKET_HOST, uri[scheme.end() :].partition("/")[0]):
            return f"it is the address of an access point, {_BEHIND_ACCESS_POINT}"
        return f"a web address is not a location; write {_instead(_path_of_web_address(uri))} instead"
    return f"{scheme['name']}:// is not the scheme of S3; write {_GENERAL_FORM} instead"


def _path_of_web_address(address: str) -> str:
    """``bucket/prefix`` as S3's own web addresses name it; empty when the address is not one of S3's."""
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets without an IPv6 address in them, so certainly not one of S3's
        return ""
    host, path = parts.hostname or "", unquote(parts.path)
    if re.fullmatch(_CONSOLE_HOST, host):
        page = re.fullmatch(_CONSOLE_PATH, path)
        return "/".join([page["bucket"], *parse_qs(parts.query).get("prefix", [])]) if page else ""
    if re.fullmatch(_PATH_HOST, host):
        return path.removeprefix("/")
    virtual = re.fullmatch(_VIRTUAL_HOST, host)
    return f"{virtual['bucket']}{path}" if virtual else ""


def _bucket_fault(bucket: str, prefix: str) -> str | None:
    if not bucket:
        return f"no bucket stands between s3:// and the next slash; write {_instead(prefix.lstrip('/'))} instead"
    if re.fullmatch(_ACCESS_POINT_ARN, f"{bucket}/"):
        return f"it is the ARN of an access point, {_BEHIND_ACCESS_POINT}"
    if ":" in bucket or "@" in bucket:
        return f"neither credentials nor a port belong here; write {_GENERAL_FORM} and use an AWS connection"
    if "\\" in bucket:
        return f"the bucket's name holds a backslash, {_BACKSLASH}"
    rule = _broken_bucket_rule(bucket)
    if rule:
        return f"no bucket can be called {_shown(bucket)}, as {rule}; write the name as the S3 console shows it"
    for end, (owner, remedy) in _RESERVED_SUFFIXES.items():
        if bucket.endswith(end):
            return f"{_shown(bucket)} is the name of {owner} and not of a general purpose bucket; {remedy}"
    return None


def _broken_bucket_rule(bucket: str) -> str | None:
    if not re.fullmatch(_BUCKET_CHARACTERS, bucket):
        return "bucket names hold only lower-case letters, digits, dots and hyphens"
    if not 3 <= len(bucket) <= 63:
        return "bucket names have 3 to 63 characters"
    if not (bucket[0].isalnum() and bucket[-1].isalnum()):
        return "bucket names begin and end with a letter or digit"
    if ".." in bucket:
        return "bucket names hold no two dots in a row"
    if re.fullmatch(_IP_ADDRESS, bucket):
        return "bucket names do not look like an IP address"
    for start in _RESERVED_PREFIXES:
        if bucket.startswith(start):
            return f"AWS keeps names that begin with {start!r} for itself"
    return None


def _impossible(prefix: str) -> str | None:
    """Why no key can begin so."""
    if {".", ".."} & set(prefix.split("/")):
        return "S3 knows no '.' and '..' folders; write the whole path"
    if len(prefix.removesuffix("/").encode()) >= _MAX_KEY_BYTES:
        return f"with its slash the prefix has more than the {_MAX_KEY_BYTES} bytes of a key; shorten it"
    return None


def _slip(bucket: str, prefix: str) -> str | None:
    """Why a prefix that S3 would accept is probably not what was meant, and what is."""
    if "\\" in prefix:
        return f"it holds a backslash, {_BACKSLASH}"
    for remnant in "?#":
        if remnant in prefix:
            before = prefix.split(remnant)[0]
            return f"it holds {remnant!r} like a web address; write {_instead(f'{bucket}/{before}')} instead"
    if "*" in prefix:
        folder = prefix.split("*")[0].rpartition("/")[0]
        return f"a location takes no wildcard; write {_instead(f'{bucket}/{folder}')} instead"
    folders = prefix.removesuffix("/").split("/")
    if prefix and "" in folders:
        proper = "/".join([bucket, *filter(None, folders)])
        return f"'//' makes a folder without a name in S3; write {_instead(proper)} instead"
    if folders[0] == bucket:
        proper = "/".join([bucket, *dropwhile(lambda folder: folder == bucket, folders)])
        return f"the path repeats the bucket {bucket!r}; write {_instead(proper)} instead"
    return None


def _instead(path: str) -> str:
    """``bucket/prefix`` as a location to propose; the general form when the path breaks a rule of its own."""
    candidate = f"{_SCHEME}{path}"
    return S3Location.from_stored(candidate).uri if path and _fault(candidate) is None else _GENERAL_FORM


def _shown(value: object) -> str:
    """The value for a message: not too long, and without a signed query or ``key:secret@``."""
    if not isinstance(value, str):
        return f"<{type(value).__name__}>"
    text, query, _ = value.partition("?")
    bare = re.sub(_ANY_SCHEME, "", text)
    # "user@" before the first slash, or "key:secret@" anywhere, as a secret may hold slashes itself.
    if "@" in bare.partition("/")[0] or "@" in bare.partition(":")[2]:
        scheme = re.match(_ANY_SCHEME, text)
        text = f"{scheme.group() if scheme else ''}…"
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[:_SHOWN_CHARACTERS]}…"
    return repr(f"{text}?…" if query else text)
