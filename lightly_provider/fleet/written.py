"""
Read YAML and keep where each key and value is written.

An anchor's value keeps its own place wherever it is used. All faults are collected, but a text that is not YAML ends
the reading. The size of the file, its depth and what its aliases expand to are bounded.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from yaml.nodes import MappingNode, ScalarNode, SequenceNode

from lightly_provider.fleet.faults import Fault, Place
from lightly_provider.foreign_text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A dataset takes about 300 bytes, and a file has at most 1,000 of them. YAML is read at some 100 kB a second.
MOST_BYTES = 2**20
# What the file says once all aliases are replaced by what they stand for.
MOST_VALUES = 200_000
_DEEPEST = 40
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"


@dataclass(eq=False)
class Written:
    """
    A value, and where it is written.

    :param place: Its beginning.
    :param scalar: The value of a scalar.
    :param members: The members of a mapping, in their order. None: it is not a mapping.
    :param items: The items of a list. None: it is not a list.
    :param height: How many levels are nested in it, with all aliases replaced by what they stand for.
    """

    place: Place
    scalar: Any = None
    members: dict[str, Member] | None = None
    items: list[Written] | None = None
    height: int = 0

    @property
    def plain(self) -> Any:
        """The value as Python types."""
        if self.members is not None:
            return {name: member.value.plain for name, member in self.members.items()}
        if self.items is not None:
            return [item.plain for item in self.items]
        return self.scalar

    def place_of(self, path: tuple[str | int, ...]) -> Place:
        """
        Return the place of what a path leads to; of the last part that exists, if it leads nowhere.

        :param path: Names of members and numbers of items. A part that does not exist is passed over.
        """
        current, place = self, self.place
        for number, part in enumerate(path):
            is_last = number == len(path) - 1
            if isinstance(part, int) and current.items is not None and part < len(current.items):
                current = current.items[part]
                place = current.place
            elif isinstance(part, str) and current.members is not None and part in current.members:
                member = current.members[part]
                current = member.value
                place = member.place if is_last and current.is_container else current.place
        return place

    def key_place(self, name: str) -> Place:
        """Return the place of a member's key; of the mapping itself, if it has no such member."""
        member = (self.members or {}).get(name)
        return self.place if member is None else member.place

    def places_of(self, is_meant: Callable[[Any], bool]) -> Iterator[Place]:
        """
        Yield the place of each scalar that is meant; that of an anchor's value once.

        :param is_meant: Decides about the value of a scalar.
        """
        seen: set[int] = set()
        left = [self]
        while left:
            current = left.pop()
            if id(current) in seen:
                continue
            seen.add(id(current))
            if not current.is_container and is_meant(current.scalar):
                yield current.place
            left += [member.value for member in (current.members or {}).values()]
            left += current.items or ()

    @property
    def size(self) -> int:
        """How many values it has with all aliases replaced by what they stand for."""
        return _size(self, {})

    @property
    def is_container(self) -> bool:
        """Whether it is a mapping or a list."""
        return self.members is not None or self.items is not None


@dataclass(frozen=True, eq=False)
class Member:
    """
    A member of a mapping.

    :param place: Place of its key.
    :param value: Its value.
    """

    place: Place
    value: Written


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """PyYAML's loader of plain values, except that a date stays the text that it is."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(content: bytes) -> tuple[Written | None, list[Fault]]:
    """
    Read YAML.

    :param content: The file, at most :data:`MOST_BYTES`.
    :return: The document, as far as it can be read, and all faults. None: there is nothing that can be used.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = Place(content[: error.start].count(b"\n") + 1)
        return None, [Fault(place, "this is not UTF-8 text; save the file in that encoding.")]
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        place = Place(text[: error.position].count("\n") + 1)
        return None, [Fault(place, f"there is the control character {_code(error.character)}; remove it.")]
    except yaml.MarkedYAMLError as error:
        return None, _tabs(text) or [_no_yaml(error)]
    except RecursionError:
        return None, [Fault(Place(1), _TOO_DEEP)]
    if root is None:
        return None, []
    reading = _Reading(loader)
    document = reading.value_of(root)
    if (too_large := _too_large(document)) is not None:
        reading.is_broken = True
        reading.faults.append(
            Fault(
                too_large,
                f"with all aliases replaced by what they stand for, the file has more than {MOST_VALUES:,} values; "
                "use fewer aliases inside of anchors.",
            )
        )
    return (None if reading.is_broken else document), reading.faults


_TOO_DEEP = f"the values are nested more than {_DEEPEST} levels deep; no dataset needs that."


def _code(character: Any) -> str:
    return shown(repr(character), longest=20)


def _tabs(text: str) -> list[Fault]:
    """Return the lines that are indented by a tab, for which YAML's own message is hard to understand."""
    return [
        Fault(Place(number, len(line[: line.index("\t")]) + 1), "there is a tab in the indentation; write spaces.")
        for number, line in enumerate(text.split("\n"), start=1)
        if re.match(r" *\t\s*\S", line)
    ]


def _no_yaml(error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    place = Place(mark.line + 1, mark.column + 1) if mark else Place(1)
    while_doing = f"{error.context}: " if error.context else ""
    if error.context and error.context_mark and error.context_mark.line + 1 != place.line:
        while_doing = f"{error.context} that begins in line {error.context_mark.line + 1}: "
    what = shown(f"{while_doing}{error.problem or 'it cannot be read'}", longest=300)
    hint = "; check the indentation" if "<block" in what else ""
    return Fault(place, f"this is not YAML: {what}{hint}.")


class _Reading:
    """Turns PyYAML's nodes into values with places."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader
        self._done: dict[int, Written] = {}
        self._open: set[int] = set()
        self.faults: list[Fault] = []
        # Whether the document as a whole cannot be used.
        self.is_broken = False

    def value_of(self, node: yaml.Node, depth: int = 0) -> Written:
        """Return a node's value; that of an anchor is the same object wherever it is used."""
        place = _place(node)
        done = self._done.get(id(node))
        # An alias brings all levels of its anchor.
        height = done.height if done else 0
        if done and depth + height <= _DEEPEST:
            return done
        if id(node) in self._open or depth + height > _DEEPEST:
            self.is_broken = True
            recursive = "this anchor contains an alias of itself; write the value out."
            self.faults.append(Fault(place, recursive if id(node) in self._open else _TOO_DEEP))
            return Written(place)
        self._open.add(id(node))
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            value = Written(place, members=self._members_of(node, depth))
        elif isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            value = Written(place, items=[self.value_of(item, depth + 1) for item in node.value])
        else:
            value = Written(place, scalar=self._scalar_of(node))
        inner = [*(member.value for member in (value.members or {}).values()), *(value.items or ())]
        value.height = 1 + max((each.height for each in inner), default=-1)
        self._open.discard(id(node))
        self._done[id(node)] = value
        return value

    def _members_of(self, node: MappingNode, depth: int) -> dict[str, Member]:
        own: dict[str, Member] = {}
        merged: dict[str, Member] = {}
        merge_place: Place | None = None
        for key, value in node.value:
            place = _place(key)
            if key.tag == _MERGE:
                if merge_place is not None:
                    self._fault(place, f"'<<' is here a second time (first in {merge_place}); write <<: [*a, *b].")
                merge_place = place
                for inherited, member in self._merged(value, depth):
                    merged.setdefault(inherited, member)
                continue
            name: Any = self._scalar_of(key) if isinstance(key, ScalarNode) else None
            if not isinstance(name, str):
                self._fault(place, f"the key {_shown(key)} is not text; put it between quotes.")
                continue
            if name in own:
                self._fault(
                    place,
                    f"the key {shown(name, longest=100)!r} is here a second time (first in {own[name].place}); leave "
                    "one out.",
                )
                continue
            own[name] = Member(place, self.value_of(value, depth + 1))
        return {**merged, **own}

    def _merged(self, node: yaml.Node, depth: int) -> Iterator[tuple[str, Member]]:
        """Yield the members that ``<<`` merges, the ones that count first."""
        several = isinstance(node, SequenceNode)
        for each in node.value if several else [node]:
            if isinstance(each, MappingNode):
                yield from (self.value_of(each, depth + 1).members or {}).items()
            else:
                self._fault(_place(each), "'<<' merges mappings only; write <<: *an_anchor_of_a_mapping.")

    def _scalar_of(self, node: yaml.Node) -> Any:
        place = _place(node)
        kind = node.tag.removeprefix(_TAG)
        if not isinstance(node, ScalarNode) or kind not in ("str", "int", "float", "bool", "null"):
            if node.tag != f"{_TAG}value":  # the text "=", which YAML 1.1 treats as a type of its own
                self._fault(place, f"the tag {shown(node.tag, longest=100)!r} is not allowed; leave it out.")
            return node.value if isinstance(node, ScalarNode) else None
        try:
            value = self._loader.construct_object(node)
        except (ValueError, yaml.YAMLError, OverflowError, KeyError, IndexError):
            self._fault(place, f"{_shown(node)} cannot be read as a value of the type {kind}; put it between quotes.")
            return None
        if isinstance(value, float) and not math.isfinite(value):
            self._fault(
                place, f"{_shown(node)} is not a finite number; write a number, or put the text between quotes."
            )
            return None
        return value

    def _fault(self, place: Place, message: str) -> None:
        self.faults.append(Fault(place, message))


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _shown(node: yaml.Node) -> str:
    return shown(node.value, longest=100) if isinstance(node, ScalarNode) else "that is a list or a mapping"


def _size(value: Written, sizes: dict[int, int]) -> int:
    """Return how many values there are with all aliases replaced; each is counted once, however often it is used."""
    if id(value) not in sizes:
        members = [member.value for member in (value.members or {}).values()]
        sizes[id(value)] = 1 + sum(_size(each, sizes) for each in [*members, *(value.items or ())])
    return sizes[id(value)]


def _too_large(document: Written) -> Place | None:
    """Return the place of the innermost value that is too large by itself; None if the document is not."""
    sizes: dict[int, int] = {}
    if _size(document, sizes) <= MOST_VALUES:
        return None
    current = document
    while True:
        inner = [*(member.value for member in (current.members or {}).values()), *(current.items or ())]
        larger = [each for each in inner if sizes[id(each)] > MOST_VALUES]
        if not larger:
            return current.place
        current = larger[0]
