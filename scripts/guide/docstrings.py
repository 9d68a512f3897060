"""Griffe extension: docstrings in reStructuredText are made Markdown, and inherited arguments get their types."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

_PACKAGE = "lightly_provider"
_ROLE = re.compile(r":(?:py:)?(?:class|meth|func|mod|attr|data|exc|obj|const):`([^`]+)`")
_LINK = re.compile(r"`([^`<]+?)\s*<(https?://[^>]+)>`__?")
_CODE = re.compile(r"^\.\. code-block:: (\w+)\n\n((?:(?: {4}.*)?\n)+)", flags=re.MULTILINE)
# Airflow's own default, where an argument takes it from the configuration.
_FROM_CONFIGURATION = re.compile(r"conf\.get\w*\(.*fallback=(\w+)\)", flags=re.DOTALL)


def markdown(docstring: str) -> str:
    """
    Return the docstring with roles, links and blocks of code in Markdown.

    A role becomes code that links to what it names, where the guide has a page for that.
    """
    return _CODE.sub(_block, _LINK.sub(r"[\1](\2)", _ROLE.sub(_code, docstring)))


def _block(match: re.Match[str]) -> str:
    return f"```{match[1]}\n{textwrap.dedent(match[2]).strip()}\n```\n\n"


def _code(match: re.Match[str]) -> str:
    named = match[1]
    shown = named.rpartition(".")[2] if named.startswith("~") else named
    address = named.lstrip("~")
    if "." not in address:
        return f"`{shown}`"
    return f'<autoref optional identifier="{address}">`{shown}`</autoref>'


class Docstrings(griffe.Extension):
    """What the guide shows of the provider's docstrings."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Go through the package once it is loaded."""
        self._change(pkg)

    def _change(self, found: griffe.Object) -> None:
        if found.docstring:
            found.docstring.value = markdown(found.docstring.value)
        for member in list(found.members.values()):
            if member.is_alias:
                continue
            self._change(member)
        if isinstance(found, griffe.Class):
            _inherit_arguments(found)
            _name_the_type_of_the_result(found)


def _inherit_arguments(cls: griffe.Class) -> None:
    """Give ``__init__`` the arguments that it passes on to those of its bases as ``**kwargs``."""
    init = cls.members.get("__init__")
    if not isinstance(init, griffe.Function):
        return
    for base in cls.mro():
        inherited = base.members.get("__init__")
        if not isinstance(inherited, griffe.Function):
            continue
        for parameter in inherited.parameters:
            if parameter.kind is griffe.ParameterKind.keyword_only and parameter.name not in init.parameters:
                init.parameters.add(parameter)
    for parameter in init.parameters:
        if taken := _FROM_CONFIGURATION.fullmatch(str(parameter.default)):
            parameter.default = taken[1]
        parameter.default = _value(cls, parameter.default)
        parameter.annotation = _value(cls, parameter.annotation)


def _value(cls: griffe.Class, expression: Any) -> Any:
    """Return what the name of a constant or of a type stands for, and everything else as it is."""
    if isinstance(expression, griffe.ExprBinOp):  # as in `Share | None`
        expression.left = _value(cls, expression.left)
        expression.right = _value(cls, expression.right)
    if not isinstance(expression, griffe.ExprName):
        return expression
    for place in (cls, *cls.mro()):
        named: Any = place.members.get(expression.name) or place.module.members.get(expression.name)
        if named is not None and named.is_alias and named.target_path.startswith(f"{_PACKAGE}."):
            named = named.final_target
        if isinstance(named, griffe.Attribute) and named.value is not None:
            return _plain(named.value)
    return expression


def _plain(value: Any) -> Any:
    """Return ``float`` of ``Annotated[float, …]``."""
    if isinstance(value, griffe.ExprSubscript) and str(value.left) == "Annotated":
        return value.slice.elements[0]  # type: ignore[union-attr]
    return value


def _name_the_type_of_the_result(cls: griffe.Class) -> None:
    """Say what type an operator returns, as its docstring describes the result of ``perform`` or ``execute``."""
    if not cls.docstring or ":return:" not in cls.docstring.value:
        return
    for name in ("perform", "execute"):
        for each in (cls, *cls.mro()):
            if isinstance(method := each.members.get(name), griffe.Function) and method.returns is not None:
                # The parser reads the type only if it comes first.
                named = f":rtype: {method.returns}\n:return:"
                cls.docstring.value = cls.docstring.value.replace(":return:", named, 1)
                return
