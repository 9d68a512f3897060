"""The built site: what it shows of the docstrings is whole, and nothing is taken from another host."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SITE = REPOSITORY / "site"
# Links of the page "not found" are absolute, because nobody knows from where it is shown.
PAGES = sorted({*SITE.rglob("*.html")} - {SITE / "404.html"})
# Where a browser takes something from by itself. A link (`<a href>`) is the reader's own choice.
LOADED = {"src", "srcset", "poster", "data", "action", "formaction"}


@dataclass
class Page(HTMLParser):
    """What is looked at in a page."""

    path: Path
    loaded: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)
    _cell: list[str] | None = None
    _code: int = 0
    _skipped: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.loaded += [value for name, value in values.items() if name in LOADED]
        if tag == "link" and values.get("rel") not in {"canonical", "prev", "next"}:
            self.loaded.append(values.get("href", ""))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if "id" in values:
            self.ids.add(values["id"])
        if tag in {"code", "pre"}:
            self._code += 1
        if tag in {"script", "style"}:
            self._skipped += 1
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in {"code", "pre"}:
            self._code -= 1
        if tag in {"script", "style"}:
            self._skipped -= 1
        if tag in {"td", "th"} and self._cell is not None and self.rows:
            self.rows[-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)
        if not self._code and not self._skipped:
            self.prose.append(data)


@cache
def page(path: Path) -> Page:
    """A page, read once."""
    return Page(path)


def ids_of(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(SITE)) for path in paths]


def test_there_is_a_site() -> None:
    assert len(PAGES) > 40


@pytest.mark.parametrize("path", PAGES, ids=ids_of(PAGES))
def test_a_page_loads_nothing_from_another_host(path: Path) -> None:
    assert [address for address in page(path).loaded if re.match(r"(?:[a-z]+:)?//", address)] == []


@pytest.mark.parametrize("path", PAGES, ids=ids_of(PAGES))
def test_a_page_has_nothing_for_which_its_script_asks_another_host(path: Path) -> None:
    """Material's script asks GitHub about the repository of a page, and fetches a library for diagrams in Mermaid."""
    text = path.read_text(encoding="utf-8")

    assert 'data-md-component="source"' not in text
    assert 'class="mermaid"' not in text


def test_no_style_loads_anything_from_another_host() -> None:
    styles = list(SITE.rglob("*.css"))
    found = [
        address
        for path in styles
        for address in re.findall(
            r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^)\"']+)", path.read_text(encoding="utf-8")
        )
    ]

    assert styles
    assert found == []


@pytest.mark.parametrize("path", PAGES, ids=ids_of(PAGES))
def test_every_link_within_the_site_leads_to_a_page_and_an_anchor(path: Path) -> None:
    broken = []
    for link in page(path).links:
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        if target.is_dir():
            target /= "index.html"
        if not target.exists() or (anchor and target.suffix == ".html" and anchor not in page(target).ids | {"__skip"}):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("path", PAGES, ids=ids_of(PAGES))
def test_no_page_shows_the_markup_of_docstrings(path: Path) -> None:
    prose = "".join(page(path).prose)

    assert (
        re.findall(
            r":(?:param|return|raises|class|meth|func|mod|attr|data|exc)\b[^:]*:|``|^::: .*$|\]\(\S+\)", prose, re.M
        )
        == []
    )


@dataclass
class Class:
    """A class in the source: its bases, its arguments, and its public methods with theirs."""

    bases: list[str]
    arguments: dict[str, str | None]
    methods: dict[str, list[str]]


@cache
def classes() -> dict[str, Class]:
    """All classes of the provider, read without importing it."""
    found = {}
    for path in (REPOSITORY / "lightly_provider").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ClassDef):
                continue
            functions = {
                each.name: each
                for each in node.body
                if isinstance(each, ast.FunctionDef)
                and not any("property" in ast.unparse(decorator) for decorator in each.decorator_list)
            }
            init = functions.get("__init__")
            found[node.name] = Class(
                bases=[ast.unparse(base).rpartition(".")[2] for base in node.bases],
                arguments={
                    each.arg: ast.unparse(each.annotation) if each.annotation else None
                    for each in (init.args.kwonlyargs if init else ())
                },
                methods={
                    name: [
                        each.arg
                        for each in (*function.args.args, *function.args.kwonlyargs)
                        if each.arg not in {"self", "cls"}
                    ]
                    for name, function in functions.items()
                    if not name.startswith("_")
                },
            )
    return found


def with_bases(name: str) -> list[Class]:
    """The class and those of its bases that are the provider's."""
    if name not in classes():
        return []
    return [classes()[name], *(each for base in classes()[name].bases for each in with_bases(base))]


def documented_classes() -> list[tuple[Path, str]]:
    """The pages of operators, of the sensor and of the trigger, with the class that each shows."""
    sources = [*(REPOSITORY / "docs" / "operators").glob("*.md"), REPOSITORY / "docs" / "triggers.md"]
    return [
        (SITE / path.relative_to(REPOSITORY / "docs").with_suffix(".html"), shown.rpartition(".")[2])
        for path in sorted(sources)
        for shown in re.findall(r"^::: (\S+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    ]


@pytest.mark.parametrize(("path", "name"), documented_classes(), ids=[name for _, name in documented_classes()])
def test_the_page_of_a_class_has_each_argument_with_a_type_a_description_and_a_default(path: Path, name: str) -> None:
    wanted = {argument for cls in with_bases(name) for argument in cls.arguments}
    rows = {row[0]: row[1:] for row in page(path).rows if len(row) == 4 and row[0] in wanted}

    assert len(wanted) > 1
    assert wanted - rows.keys() == set()
    assert {argument: cells for argument, cells in rows.items() if not all(cells)} == {}
    # A value, and not the name of a constant that the reader does not know.
    names = r"(?!None|True|False|required)[A-Za-z_]+"
    assert [default for *_, default in rows.values() if re.fullmatch(names, default)] == []


def test_the_page_of_the_hook_has_each_verb_with_its_arguments() -> None:
    shown = page(SITE / "hook_reference.html")
    verbs = {
        verb: arguments
        for cls in with_bases("LightlyHook")
        for verb, arguments in cls.methods.items()
        if verb not in {"get_ui_field_behaviour", "get_connection_form_widgets"}
    }
    described = {(row[0], bool(row[1] and row[2])) for row in shown.rows if len(row) == 4}

    assert len(verbs) > 40
    assert [verb for verb in verbs if not any(each.endswith(f"LightlyHook.{verb}") for each in shown.ids)] == []
    assert {argument for arguments in verbs.values() for argument in arguments} - {
        name for name, _ in described
    } == set()
    assert [name for name, is_whole in described if not is_whole] == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no Chromium here")
def test_the_search_finds_pages_in_a_folder_without_a_server(tmp_path: Path) -> None:
    chromium = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    # The time is the page's own clock, which runs as fast as the machine can.
    search = ["--virtual-time-budget=10000", "--dump-dom", f"{(SITE / 'index.html').as_uri()}?q=pickup_timeout"]
    shown = subprocess.run([*chromium, *search], capture_output=True, text=True, timeout=120, check=True).stdout

    assert re.search(r"[1-9]\d* matching documents", shown)
    assert "operators/run_worker.html?h=pickup_timeout" in shown


def test_the_search_index_can_be_read_without_a_server() -> None:
    """It is a script, too, because a page of the file system may not fetch it."""
    index = (SITE / "search" / "search_index.js").read_text(encoding="utf-8")

    assert index.startswith("var __index = ")
    assert "RunLightlyWorkerOperator" in index
    assert "iframe-worker" in (SITE / "index.html").read_text(encoding="utf-8")
