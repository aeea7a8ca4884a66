"""Writes python/fastinit/_methods.py, the methods of Generator, from the signatures of the functions that they call.

    python tests/generate_methods.py

tests/test_generator.py compares what it writes with what is committed.
"""

from __future__ import annotations

import ast
import pathlib

PACKAGE = pathlib.Path(__file__).parent.parent / "python" / "fastinit"
FILES = ("initializers", "structured")
# What a generator has itself, and how the functions are told of it.
OWN = {"seed": "self._streams", "bit_generator": "self._bit_generator"}

HEAD = '''\
"""The methods of Generator: the initialisers with its seed and bit generator. Written by tests/generate_methods.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import initializers, structured
from ._arguments import documented_by
from ._fans import {fans}
from .initializers import {initializers}
from .structured import {structured}

if TYPE_CHECKING:
    from ._types import (
{types}
    )

__all__ = ["Methods"]


class Methods:
    """A method for each initialiser."""

    __slots__ = ()
    _streams: Any  # the core's, in the place of a seed
    _bit_generator: BitGenerator
'''


def methods(tree: ast.Module, module: str) -> tuple[list[str], set[str]]:
    """The methods for the functions of a module, and the names that their signatures use."""
    written: list[str] = []
    used: set[str] = set()
    public = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in public:
            positional = node.args.args
            defaults: list[ast.expr | None] = [None] * (len(positional) - len(node.args.defaults))
            pairs = list(zip(positional, [*defaults, *node.args.defaults], strict=True))
            pairs_by_name = list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
            kept = [pair for pair in pairs_by_name if pair[0].arg not in OWN]
            lines = [f"    @documented_by({module}.{node.name})", f"    def {node.name}(", "        self,"]
            lines += [f"        {parameter(*pair)}," for pair in pairs]
            lines += ["        *,", *(f"        {parameter(*pair)}," for pair in kept)]
            lines += ["    ) -> ArrayT:", f"        return {module}.{node.name}("]
            lines += [f"            {argument.arg}," for argument, _ in pairs]
            lines += [f"            {a.arg}={OWN.get(a.arg, a.arg)}," for a in node.args.kwonlyargs]
            written.append("\n".join([*lines, "        )"]))
            for name in ast.walk(node.args):
                if isinstance(name, ast.Name):
                    used.add(name.id)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in public:
            written.append("    " + ast.unparse(node))  # an alias
    return written, used


def parameter(argument: ast.arg, default: ast.expr | None) -> str:
    """As it stands in a signature."""
    assert argument.annotation is not None
    text = f"{argument.arg}: {ast.unparse(argument.annotation)}"
    if default is None:
        return text
    value = ast.unparse(default)
    return f"{text} = {value}".replace("'", '"')


def source() -> str:
    """The whole file."""
    written: list[str] = []
    used: set[str] = set()
    own: dict[str, set[str]] = {}
    for module in FILES:
        tree = ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))
        some, names = methods(tree, module)
        written += some
        used |= names
        own[module] = {ast.unparse(n.targets[0]) for n in tree.body if isinstance(n, ast.Assign)} | {
            ast.unparse(n.target) for n in tree.body if isinstance(n, ast.AnnAssign)
        }
    types = ast.parse((PACKAGE / "_types.py").read_text("utf-8"))
    fans = ast.parse((PACKAGE / "_fans.py").read_text("utf-8"))

    def imported(tree: ast.Module) -> list[str]:
        public = next(
            ast.literal_eval(n.value)
            for n in tree.body
            if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"
        )
        return [name for name in public if name in used]

    head = HEAD.format(
        types="\n".join(f"        {name}," for name in imported(types)),
        fans=", ".join(imported(fans)),
        initializers=", ".join(sorted(own["initializers"] & used)),
        structured=", ".join(sorted(own["structured"] & used)),
    )
    aliases = [method for method in written if "\n" not in method]
    return "\n".join([head, *(method + "\n" for method in written if method not in aliases), *aliases]) + "\n"


if __name__ == "__main__":
    (PACKAGE / "_methods.py").write_text(source(), "utf-8")
