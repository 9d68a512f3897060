"""
Sanitize untrusted text: responses of the platform, AWS error messages, S3 keys, log lines of a worker.

Use :func:`storable` where such text is read, :func:`shown` where it is displayed (log, exception, table, terminal), and
:func:`shown_error` for an error of the library that sent a request.
Uses only the standard library, so that every other module can import it.
"""

from __future__ import annotations

import re

LONGEST_SHOWN = 2000
# An error may quote an answer of any length, and a triggerer's loop must not wait while it is searched.
_LONGEST_SEARCHED = 100_000

# Patterns are compiled on first use, because every DAG file imports this module.
# The platform's own parameters (token, publicToken, secret), and those of signed URLs (AWS, Google, Azure).
_VALUE_IN_URL = r"(?i)((?:token|secret|signature|\bsig)=)[^&\s\"'<>]+"
# The login of an http address, and a password in any other: Airflow's object storage has a connection id there. A
# password may contain a slash; then what follows the colon is not a port.
_LOGIN_IN_URL = (
    r"(?i)(https?://|://(?=[^\s\"'<>/?#:@]{0,500}:))"
    r"(?:[^\s\"'<>/?#:@\[]{0,500}:(?!\d*(?:[/?#\s\"']|$))[^\s\"'<>]{0,500}@|[^\s\"'<>/?#]{0,500}@)"
)
_QUERY_IN_URL = r"(://[^\s\"'<>?#]{0,500}[?#])[^\s\"'<>]+"

# Characters that PostgreSQL (NUL), UTF-8 (lone surrogates) or a log cannot store. Tabs and line breaks are kept.
_NOT_STORABLE = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]"
_NUL_OR_SURROGATE = "[\x00\ud800-\udfff]"
# Airflow's log page folds the lines between two markers, which can be anywhere in a line (airflow 3.3.2,
# ui/src/queries/useLogs.tsx; Airflow 2 also supports the second form).
_LOG_MARKER = r"::(?=(?:end)?group::)|##(?=\[(?:end)?group\])"


def storable(text: str) -> str:
    """
    Escape the characters that cannot be stored: NUL, other control characters and lone surrogates.

    Tabs and line breaks are kept. Ordinary text is returned unchanged.

    :param text: Untrusted text.
    """
    return re.sub(_NOT_STORABLE, _escaped, text)


def is_storable(text: str) -> bool:
    """
    Return whether the text can be stored unchanged: PostgreSQL rejects NUL, and UTF-8 rejects lone surrogates.

    :param text: Untrusted text.
    """
    # The first is a hundred times faster, and most texts are ASCII.
    return "\0" not in text if text.isascii() else re.search(_NUL_OR_SURROGATE, text) is None


def shown(text: object, *, longest: int = LONGEST_SHOWN) -> str:
    r"""
    Return the text on one line, for a log, an exception, a table or a terminal.

    Non-printable characters are escaped as in a Python string (``\n``, ``\x1b``, ``\u202e``): line breaks, which could
    forge log lines, escape sequences, which control a terminal, and characters that reverse or hide others. The markers
    with which Airflow's log page folds lines are escaped, too, and logins in addresses are replaced by ``***``. Longer
    text is truncated. The function is idempotent.

    :param text: Untrusted text; other objects are converted with ``str``.
    :param longest: Maximum number of characters. Default: 2000.
    """
    whole = str(text)
    # A login is recognized by what follows it.
    cut = without_logins(whole[: longest + 1000])[:longest]
    if not cut.isprintable():
        cut = "".join(character if character.isprintable() else _escape(character) for character in cut)
    cut = re.sub(_LOG_MARKER, lambda marker: "".join(rf"\x{ord(sign):02x}" for sign in marker.group()), cut)
    return cut if len(whole) <= longest else f"{cut}… ({len(whole)} characters)"


def shown_error(error: object, *, longest: int = LONGEST_SHOWN) -> str:
    """
    Return the text of another library's error, such as botocore's, like :func:`shown`; addresses also without queries.

    :param error: The error, or its text.
    :param longest: Maximum number of characters. Default: 2000.
    """
    text = str(error)[:_LONGEST_SEARCHED]
    return shown(re.sub(_QUERY_IN_URL, r"\1***", without_logins(text)), longest=longest)


def shown_json(text: str) -> str:
    """
    Return JSON for a log or a terminal, with the markers escaped with which Airflow's log page folds lines.

    :param text: JSON of ASCII characters, as ``json.dumps`` returns it. Its value does not change.
    """
    return re.sub(_LOG_MARKER, lambda marker: "".join(rf"\u{ord(sign):04x}" for sign in marker.group()), text)


def without_secret_parameters(text: str) -> str:
    """
    Return the text with secret URL parameters (tokens and signatures) replaced by ``***``.

    :param text: Untrusted text.
    """
    return re.sub(_VALUE_IN_URL, r"\1***", text)


def without_logins(text: str) -> str:
    """
    Return the text with the logins in addresses (``http://user:password@host``) replaced by ``***``.

    :param text: Untrusted text.
    """
    return re.sub(_LOGIN_IN_URL, r"\1***@", text) if "@" in text else text


def _escaped(match: re.Match[str]) -> str:
    return _escape(match.group())


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
