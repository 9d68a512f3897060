from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from lightly_sandbox.web import rendering
from lightly_sandbox.web.rendering import STATIC_TYPES, duration, render, static_file

HOSTILE = '<script>alert(1)</script>" onload="x\u202e\n&amp;.jpg'


class Tags(HTMLParser):
    """The tags and attributes that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_foreign_text_is_text_and_nothing_else() -> None:
    html = render("error.html", title="Not found", error=HOSTILE)
    tags = Tags()
    tags.feed(html)
    assert not [attributes for tag, attributes in tags.seen if "onload" in attributes]
    scripts = [attributes for tag, attributes in tags.seen if tag == "script"]
    assert [one["src"] for one in scripts] == [f"/web/static/pages.js?v={static_file('pages.js').version}"]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34; onload=&#34;x\\u202e\\n&amp;amp;.jpg" in html


def test_no_page_loads_anything_from_another_host() -> None:
    for name in STATIC_TYPES:
        content = static_file(name).content.decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|@import|url\(", content), name


def test_a_name_that_a_template_lacks_is_an_error() -> None:
    with pytest.raises(Exception, match="'error' is undefined"):
        render("error.html", title="Not found")


def test_a_time_that_no_calendar_has_is_its_number() -> None:
    template = rendering._environment().from_string("{{ at | moment }}")
    assert template.render(at=10**25) == str(10**25)
    assert 'datetime="1970-01-01T00:00:01Z"' in template.render(at=1000)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0.0 s"), (-5, "0.0 s"), (3210, "3.2 s"), (125_000, "2 min 5 s"), (3_780_000, "1 h 3 min")],
)
def test_durations_are_in_the_units_that_matter(milliseconds: int, text: str) -> None:
    assert duration(milliseconds) == text
