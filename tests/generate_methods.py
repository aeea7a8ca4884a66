"""Writes python/fastinit/_methods.py, the methods of Generator, from the signatures of the functions that they call.

    python tests/generate_methods.py

tests/test_generator.py compares what it writes with what is committed.
"""

from __future__ import annotations

import ast
import pathlib

PACKAGE = pathlib.Path(__file__).parent.parent / "python" / "fastinit"
# What a generator has itself, and what its methods hand to the functions in its place.
OWN = {"seed": "self._streams", "bit_generator": "self._bit_generator"}

HEAD = '''\
"""The methods of Generator: the initialisers with its seed and bit generator. Written by tests/generate_methods.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import initializers, structured
from ._arguments import documented_by
from ._fans import {_fans}
from .initializers import {initializers}

if TYPE_CHECKING:
    from ._types import (
{_types}
    )

__all__ = ["Methods"]


class Methods:
    """A method for each initialiser."""

    __slots__ = ()
    _streams: Any  # the core's, in the place of a seed
    _bit_generator: BitGenerator
'''


class Module:
    """A file of the package, read but not imported."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tree = ast.parse((PACKAGE / f"{name}.py").read_text("utf-8"))
        self.values: dict[str, ast.expr] = {}  # what is assigned at its top level
        for node in self.tree.body:
            if isinstance(node, ast.Assign):
                self.values[ast.unparse(node.targets[0])] = node.value
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self.values[ast.unparse(node.target)] = node.value
        self.public: list[str] = ast.literal_eval(self.values["__all__"])

    def functions(self) -> list[ast.FunctionDef]:
        return [node for node in self.tree.body if isinstance(node, ast.FunctionDef) and node.name in self.public]

    def aliases(self) -> list[str]:
        return [f"    {name} = {ast.unparse(self.values[name])}" for name in self.values if name in self.public]


def parameter(argument: ast.arg, default: ast.expr | None) -> str:
    """As it stands in a signature."""
    assert argument.annotation is not None
    text = f"{argument.arg}: {ast.unparse(argument.annotation)}"
    return text if default is None else f"{text} = {ast.unparse(default)}".replace("'", '"')


def method(module: str, function: ast.FunctionDef) -> str:
    """The method that calls the function."""
    arguments = function.args
    first_default = len(arguments.args) - len(arguments.defaults)
    defaults: list[ast.expr | None] = [*[None] * first_default, *arguments.defaults]
    by_position = [parameter(*pair) for pair in zip(arguments.args, defaults, strict=True)]
    by_name = [
        parameter(argument, default)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if argument.arg not in OWN
    ]
    return "\n".join(
        [
            f"    @documented_by({module}.{function.name})",
            f"    def {function.name}(",
            *(f"        {text}," for text in ("self", *by_position, "*", *by_name)),
            "    ) -> ArrayT:",
            f"        return {module}.{function.name}(",
            *(f"            {argument.arg}," for argument in arguments.args),
            *(
                f"            {argument.arg}={OWN.get(argument.arg, argument.arg)},"
                for argument in arguments.kwonlyargs
            ),
            "        )\n",
        ]
    )


def source() -> str:
    """The whole file."""
    modules = [Module("initializers"), Module("structured")]
    functions = [(module.name, function) for module in modules for function in module.functions()]
    nodes = [node for _, function in functions for node in ast.walk(function.args)]
    used = {node.id for node in nodes if isinstance(node, ast.Name)}  # types and defaults
    imports = {module.name: ", ".join(sorted(used & module.values.keys())) for module in modules}
    imports["_fans"] = ", ".join(name for name in Module("_fans").public if name in used)
    imports["_types"] = "\n".join(f"        {name}," for name in Module("_types").public if name in used)
    aliases = [alias for module in modules for alias in module.aliases()]
    return "\n".join([HEAD.format(**imports), *(method(*pair) for pair in functions), *aliases]) + "\n"


if __name__ == "__main__":
    (PACKAGE / "_methods.py").write_text(source(), "utf-8")
