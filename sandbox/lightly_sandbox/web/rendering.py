"""Renders the pages: Jinja's templates with everything escaped, and the headers that isolate a page."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from lightly_sandbox.web.foreign_text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

HEADERS: Mapping[str, str] = {
    # Nothing from another host, no inline script or style, no frame of another site around a page.
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # With no-referrer a browser sends "Origin: null" with the page's own forms, which LocalOnly refuses.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

STATIC_TYPES = {
    "pages.css": "text/css; charset=utf-8",
    "pages.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The files that the pages load, with their media types."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that the pages load; ``version`` changes with its content."""

    content: bytes
    media_type: str
    version: str


@cache
def static_file(name: str) -> StaticFile:
    """Return one of the ``STATIC_TYPES``; KeyError for any other name."""
    media_type = STATIC_TYPES[name]
    content = files(__package__).joinpath("static", name).read_bytes()
    return StaticFile(content, media_type, hashlib.sha256(content).hexdigest()[:12])


def render(template: str, **values: Any) -> str:
    """Return a template's HTML; a name that the template uses and ``values`` lacks is an error."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    # When the first page is asked for: a sandbox without a browser does not pay for it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        foreign=_foreign,
        plain=shown,
        moment=_moment,
        duration=duration,
        bytes=_bytes,
        indented=lambda value: shown_lines(json.dumps(value, indent=2, ensure_ascii=False)),
    )
    environment.globals["static"] = _static
    return environment


def _static(name: str) -> str:
    return f"/web/static/{name}?v={static_file(name).version}"


def _foreign(text: str, longest: int = 400) -> Any:
    """Show text from outside: isolated, so that it cannot turn the direction of the text around it."""
    from markupsafe import Markup

    return Markup("<bdi>{}</bdi>").format(shown(text, longest))


def shown_lines(text: str) -> str:
    """Return a text of several lines with each line made safe to show."""
    return "\n".join(shown(line) for line in text.split("\n"))


def _moment(milliseconds: int) -> Any:
    """Show a time of the API in the time zone of the sandbox."""
    from markupsafe import Markup

    try:
        utc, local = time.gmtime(milliseconds / 1000), time.localtime(milliseconds / 1000)
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)  # The contract allows any number; a calendar does not.
    exact = time.strftime("%Y-%m-%dT%H:%M:%SZ", utc)
    return Markup('<time datetime="{}">{}</time>').format(exact, time.strftime("%Y-%m-%d %H:%M:%S", local))


def duration(milliseconds: float) -> str:
    """Return a duration in the largest units that matter: ``3.2 s``, ``2 min 5 s``, ``1 h 3 min``."""
    seconds = max(0.0, milliseconds / 1000)
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _bytes(size: int) -> str:
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if amount >= 100 or unit == "B" else f"{amount:.1f} {unit}"
