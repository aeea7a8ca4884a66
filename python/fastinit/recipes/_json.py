"""``save`` and ``load``: recipes as files of JSON."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from .._arguments import shown, typed
from .._files import write_text
from ._initializer import Initializer
from ._patterns import Optional, Recipe, optional, pairs_of
from ._values import Skip, skip

__all__ = ["load", "save"]

_FORMAT = "fastinit recipe 1"


def save(recipe: Recipe, path: str | os.PathLike[str]) -> None:
    """Write a recipe to a file of JSON, beside and renamed.

    Parameters
    ----------
    recipe : Recipe
        Whose values are initialisers and ``skip``.
    path : str or path
        The file. If it is there, it is replaced.

    Raises
    ------
    TypeError, ValueError
        recipe is none, or has a function or ``computed``, which are code.
    OSError
        The file cannot be written; then it is as it was.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from fastinit.recipes import Initializer, load, save
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "recipe.json"
    >>> save({"*.bias": Initializer("zeros"), "*": Initializer("normal", std=0.02)}, path)
    >>> load(path)
    [('*.bias', Initializer('zeros')), ('*', Initializer('normal', std=0.02))]
    """
    entries = []
    for pattern, value in pairs_of(recipe):
        entry: dict[str, Any] = {"pattern": str(pattern)}
        if isinstance(pattern, Optional):
            entry["optional"] = True
        if isinstance(value, Initializer):
            entry |= {"function": value.function, "arguments": dict(value.arguments)}
        elif isinstance(value, Skip):
            entry["skip"] = True
        else:
            raise ValueError(
                "recipe must have initialisers and skip alone to be saved, since functions are code; got "
                f"{typed(value)} for {str(pattern)!r}"
            )
        entries.append(entry)
    lines = ",\n".join("    " + json.dumps(entry, allow_nan=False) for entry in entries)
    write_text(path, f'{{\n  "format": {json.dumps(_FORMAT)},\n  "recipe": [\n{lines}\n  ]\n}}\n')


def load(path: str | os.PathLike[str]) -> list[tuple[str, Any]]:
    """Read a recipe that ``save`` has written.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    list of tuple
        Pairs of pattern and value, in order.

    Raises
    ------
    ValueError
        The file is no recipe; or an initialiser is refused.
    OSError
        The file cannot be read.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from fastinit.recipes import load, save, skip
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "recipe.json"
    >>> save({"*": skip}, path)
    >>> load(path)
    [('*', skip)]
    """
    text = pathlib.Path(path).read_text("utf-8")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{os.fspath(path)} is no recipe: {error}") from None
    if not isinstance(found, dict) or found.get("format") != _FORMAT or not isinstance(found.get("recipe"), list):
        raise ValueError(f'{os.fspath(path)} must have "format": {_FORMAT!r} and a list "recipe", got {shown(found)}')
    return [_pair(os.fspath(path), entry) for entry in found["recipe"]]


def _pair(path: str | bytes, entry: Any) -> tuple[str, Any]:
    known = isinstance(entry, dict) and isinstance(entry.get("pattern"), str)
    kind = set(entry) - {"pattern", "optional"} if known else None
    if kind not in ({"skip"}, {"function", "arguments"}):
        raise ValueError(
            f"{path!r}: an entry must have a pattern, and skip or a function and arguments, got {shown(entry)}"
        )
    value = skip if kind == {"skip"} else Initializer(entry["function"], entry["arguments"])
    return (optional(entry["pattern"]) if entry.get("optional") else entry["pattern"]), value
