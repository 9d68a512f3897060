"""
Parse, validate and compare S3 locations without any request to AWS.

Every error names the argument, the value, the cause and the correct form. S3 accepts some mistakes (a repeated bucket,
a stray ``//``), which otherwise appear only much later, as a dataset without files.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from itertools import dropwhile
from urllib.parse import parse_qs, unquote, urlsplit

# The patterns of this module are compiled on first use: most imports never need them.
_SCHEME = "s3://"
# Prefix for a location whose folder looks like a mistake but is correct.
EXACT = "exact:"
_GENERAL_FORM = "s3://bucket/prefix/"
_BACKSLASH = "which S3 takes as part of a name; write '/' between folders"
_MAX_KEY_BYTES = 1024  # AWS docs: S3 user guide, "Naming Amazon S3 objects"
_SHOWN_CHARACTERS = 200

# AWS docs: S3 user guide, "General purpose bucket naming rules". A name that ends in "-an" belongs to an account's own
# namespace and is an ordinary bucket. Buckets created in us-east-1 before March 2018 may contain other characters, but
# cannot be reached by the host names that S3 clients use today.
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

# S3's web addresses: path style, virtual-hosted style, and the pages of the console.
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

# Invisible characters that are copied from web pages and documents; no Unicode category contains just these two.
_INVISIBLE = frozenset("\u200b\ufeff")
# These two belong to the spelling of some languages, and to some emoji.
_JOINERS = frozenset("\u200c\u200d")
_ENCODED = r"%(?:20|2[fF])"


class InvalidLocationError(ValueError):
    """The text is not a valid S3 location."""


@dataclass(frozen=True)
class S3Location:
    """
    A directory in S3.

    :param bucket: Bucket name.
    :param prefix: Common prefix of the keys; empty for the whole bucket, else with a trailing slash.
    :param is_exact: Whether the user confirmed with ``exact:`` that the prefix is correct. Default: False.
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
    def parse(cls, uri: str, *, argument: str, is_file: bool = False) -> S3Location:
        """
        Parse and validate a location that a user wrote.

        :param uri: ``s3://bucket/prefix/``; a missing trailing slash is added, ``s3://bucket`` means the whole bucket.
            ``exact:s3://bucket/prefix/`` allows folders that look like mistakes: one with the bucket's name, without a
            name, or with ``?``, ``#``, ``*`` or a backslash.
        :param argument: Name of the operator's argument, for the message.
        :param is_file: Whether it is the address of a file, so that the message proposes one. Default: False.
        :raises InvalidLocationError: The location is invalid; the message names the argument, the value, the cause and
            the next step, without credentials and query strings in the value.
        """
        fault = _fault(uri, is_file=is_file)
        if fault:
            raise InvalidLocationError(f"{argument}={_shown(uri)}: {fault}.")
        location = cls.from_stored(uri.removeprefix(EXACT))
        return replace(location, is_exact=True) if uri.startswith(EXACT) else location

    @classmethod
    def from_stored(cls, uri: str) -> S3Location:
        """
        Parse a location that a service already stores, without the checks for mistakes.

        :param uri: Any text with the scheme ``s3://`` and a bucket.
        :raises InvalidLocationError: The scheme or the bucket is missing.
        """
        bucket, _, prefix = uri.removeprefix(_SCHEME).partition("/")
        if not uri.startswith(_SCHEME) or not bucket:
            raise InvalidLocationError(f"The stored path {_shown(uri)} is not of the form {_GENERAL_FORM}.")
        return cls(bucket, prefix if not prefix or prefix.endswith("/") else f"{prefix}/")

    @property
    def uri(self) -> str:
        """The location as text, with a trailing slash."""
        return f"{_SCHEME}{self.bucket}/{self.prefix}"

    @property
    def written(self) -> str:
        """The location in the form that :meth:`parse` accepts."""
        return self.uri if _fault(self.uri) is None else f"{EXACT}{self.uri}"

    @property
    def warning(self) -> str | None:
        """A warning about a probable mistake in the prefix; None if there is none."""
        if self.is_exact:
            return None
        # Hive writes "name=value" folders with percent-encoded values, so there the percent sign is correct.
        if "=" not in self.prefix and re.search(_ENCODED, self.prefix):
            return (
                f"The prefix {self.prefix!r} looks percent-encoded, and S3 takes the percent sign literally; "
                f"if it was copied from a browser, write {unquote(self.prefix)!r}."
            )
        # S3 compares names byte by byte, so two names that look alike are different folders.
        if (composed := unicodedata.normalize("NFC", self.prefix)) != self.prefix:
            how, meant = (
                "letters and their accents as characters of their own (NFD, as macOS may write names)",
                composed,
            )
        elif odd := {sign for sign in self.prefix if sign != " " and unicodedata.category(sign) == "Zs"}:
            how = f"{', '.join(sorted(map(ascii, odd)))}, which looks like a space"
            meant = "".join(" " if sign in odd else sign for sign in self.prefix)
        elif odd := {sign for sign in self.prefix if unicodedata.category(sign) == "Cf" and sign not in _JOINERS}:
            how = f"{', '.join(sorted(map(ascii, odd)))}, which cannot be seen"
            meant = "".join(sign for sign in self.prefix if sign not in odd)
        else:
            return None
        is_taken = _fault(f"{_SCHEME}{self.bucket}/{meant}") is None
        next_step = f"write {meant!r}" if is_taken else "type it again"
        return (
            f"The prefix {self.prefix!a} holds {how}, and S3 takes it as it is written; "
            f"if nothing is found there, {next_step}."
        )

    def join(self, relative: str) -> str:
        """
        Return the URI of an object or folder in this location.

        :param relative: Name of an object, or of a folder with a trailing slash.
        :raises ValueError: ``relative`` is empty, absolute, or outside the location.
        """
        if {"", ".", ".."} & set(relative.removesuffix("/").split("/")):
            raise ValueError(
                f"{relative!r} is not a path below {self.uri}; write it without '.', '..', '//' and a slash "
                "at its start."
            )
        return self.uri + relative

    def contains(self, other: S3Location) -> bool:
        """Return whether ``other`` is inside this location; a location contains itself."""
        return self.bucket == other.bucket and other.prefix.startswith(self.prefix)

    def __str__(self) -> str:
        return self.uri


def relative_name_fault(name: str) -> str | None:
    """
    Return why the name of a file cannot be given to a worker; None if it can.

    :param name: Path of the object relative to the dataset's input.
    """
    if any(sign in name for sign in "\n\r"):
        return "holds a line break, so it cannot be named in a text file"
    if name.startswith("/") or {".", ".."} & set(name.split("/")):
        return (
            "is not relative to the dataset's input as the worker requires; write it without '/' at its start and "
            "without '.' and '..' folders"
        )
    return None


def _fault(uri: object, *, is_file: bool = False) -> str | None:
    """Return the fault and the next step for the first rule that a location breaks; None if it breaks none."""
    if not isinstance(uri, str):
        return f"a location is a text of the form {_GENERAL_FORM}"
    bare = uri.removeprefix(EXACT)
    if fault := _text_fault(bare) or _scheme_fault(bare, is_file=is_file):
        return fault
    bucket, _, prefix = bare.removeprefix(_SCHEME).partition("/")
    if fault := _bucket_fault(bucket, prefix, is_file=is_file) or _impossible(prefix):
        return fault
    slip = None if uri.startswith(EXACT) else _slip(bucket, prefix, is_file=is_file)
    return (
        f"{slip}; if the {'file' if is_file else 'folder'} really has this name, write {EXACT} before {_SCHEME}"
        if slip
        else None
    )


def _text_fault(text: str) -> str | None:
    if not text.strip():
        return f"it is empty; write {_GENERAL_FORM}"
    if text != text.strip():
        return "it begins or ends with a blank; remove it"
    if _INVISIBLE & set(text) or {"Cc", "Cs", "Zl", "Zp"} & set(map(unicodedata.category, text)):
        return "it holds a control or invisible character; type it again"
    return None


def _scheme_fault(uri: str, *, is_file: bool) -> str | None:
    rest = uri.removeprefix(_SCHEME)
    if slip := re.match(_SCHEME_SLIP, rest):
        what = "the scheme stands there twice" if uri.startswith(_SCHEME) else "the scheme must be written s3://"
        return f"{what}; write {_instead(rest[slip.end() :], is_file)} instead"
    if uri.startswith(_SCHEME):
        return None
    if re.fullmatch(_ACCESS_POINT_ARN, uri):
        return f"it is the ARN of an access point, {_BEHIND_ACCESS_POINT}"
    if uri.startswith("arn:"):
        arn = re.fullmatch(_S3_ARN, uri)
        return f"an ARN is not a location; write {_instead(arn['path'].rstrip('*') if arn else '', is_file)} instead"
    scheme = re.match(_ANY_SCHEME, uri)
    if scheme is None:
        return f"the scheme s3:// is missing; write {_instead(uri, is_file)} instead"
    if scheme["name"].lower() in {"http", "https"}:
        if re.match(_NO_BUCKET_HOST, uri[scheme.end() :].partition("/")[0]):
            return f"it is the address of an access point, {_BEHIND_ACCESS_POINT}"
        return f"a web address is not a location; write {_instead(_path_of_web_address(uri), is_file)} instead"
    return f"{scheme['name']}:// is not the scheme of S3; write {_GENERAL_FORM} instead"


def _path_of_web_address(address: str) -> str:
    """Return ``bucket/prefix`` from one of S3's web addresses; empty for any other address."""
    try:
        parts = urlsplit(address)
    except ValueError:  # brackets without an IPv6 address, so not one of S3's
        return ""
    host, path = parts.hostname or "", unquote(parts.path)
    if re.fullmatch(_CONSOLE_HOST, host):
        page = re.fullmatch(_CONSOLE_PATH, path)
        return "/".join([page["bucket"], *parse_qs(parts.query).get("prefix", [])]) if page else ""
    if re.fullmatch(_PATH_HOST, host):
        return path.removeprefix("/")
    virtual = re.fullmatch(_VIRTUAL_HOST, host)
    return f"{virtual['bucket']}{path}" if virtual else ""


def _bucket_fault(bucket: str, prefix: str, *, is_file: bool) -> str | None:
    if not bucket:
        return (
            f"no bucket stands between s3:// and the next slash; write {_instead(prefix.lstrip('/'), is_file)} instead"
        )
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
    """Return why no key can have this prefix; None if one can."""
    if {".", ".."} & set(prefix.split("/")):
        return "S3 knows no '.' and '..' folders; write the whole path"
    if len(prefix.removesuffix("/").encode()) >= _MAX_KEY_BYTES:
        return f"with its slash the prefix has more than the {_MAX_KEY_BYTES} bytes of a key; shorten it"
    return None


def _slip(bucket: str, prefix: str, *, is_file: bool) -> str | None:
    """Return why a prefix that S3 accepts is probably a mistake, with the probable correction; None if it is not."""
    if "\\" in prefix:
        return f"it holds a backslash, {_BACKSLASH}"
    for remnant in "?#":
        if remnant in prefix:
            before = prefix.split(remnant)[0]
            return f"it holds {remnant!r} like a web address; write {_instead(f'{bucket}/{before}', is_file)} instead"
    if "*" in prefix:
        before = prefix.split("*")[0]
        folder = before[: before.rfind("/") + 1]
        return f"a location takes no wildcard; write {_instead(f'{bucket}/{folder}', is_file)} instead"
    folders = prefix.removesuffix("/").split("/")
    if prefix and "" in folders:
        proper = "/".join([bucket, *filter(None, folders)])
        return f"'//' makes a folder without a name in S3; write {_instead(proper, is_file)} instead"
    if folders[0] == bucket:
        proper = "/".join([bucket, *dropwhile(lambda folder: folder == bucket, folders)])
        return f"the path repeats the bucket {bucket!r}; write {_instead(proper, is_file)} instead"
    return None


def _instead(path: str, is_file: bool) -> str:
    """Return ``bucket/prefix`` as a location to propose; the general form if that location would be invalid, too."""
    candidate = f"{_SCHEME}{path}"
    if not path or _fault(candidate) is not None:
        return _GENERAL_FORM
    return candidate if is_file and "/" in path else S3Location.from_stored(candidate).uri


def _shown(value: object) -> str:
    """Return the value for a message: truncated, and without a signed query or ``key:secret@``."""
    if not isinstance(value, str):
        return f"<{type(value).__name__}>"
    text, query, _ = value.partition("?")
    bare = re.sub(_ANY_SCHEME, "", text)
    # "user@" before the first slash, or "key:secret@" anywhere, because a secret may contain slashes.
    if "@" in bare.partition("/")[0] or "@" in bare.partition(":")[2]:
        scheme = re.match(_ANY_SCHEME, text)
        text = f"{scheme.group() if scheme else ''}…"
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[:_SHOWN_CHARACTERS]}…"
    return repr(f"{text}?…" if query else text)
