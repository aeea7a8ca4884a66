"""The peers, and rows of what their users write to fill an array.

Each library has a file here, with `load` (the library, or ImportError), `version` and `calls`. None of them is needed:
the output names those that are not installed and those that fail. A process loads one of them, or none: see `only`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from ..clock import Row, failed
from ..rows import Array, row
from . import with_jax, with_keras, with_mkl, with_numpy, with_randomgen, with_tensorflow, with_torch
from .call import Call

_LIBRARIES: dict[str, ModuleType] = {
    "numpy": with_numpy,
    "randomgen": with_randomgen,
    "torch": with_torch,
    "mkl": with_mkl,
    "jax": with_jax,
    "tensorflow": with_tensorflow,
    "keras": with_keras,
}
NAMES = tuple(_LIBRARIES)

_this = ""  # the library of this process
_broken: Exception | None = None  # why it is not to be loaded: an earlier process failed, or died of it


def only(name: str, broken: Exception | None) -> None:
    """To be called once: this process is for that library, and shows its rows alone."""
    global _this, _broken
    _this, _broken = name, broken


@functools.cache
def _load(name: str) -> Any:
    try:
        return _LIBRARIES[name].load()
    except ModuleNotFoundError as error:
        if error.name == name:
            return None
        raise


def library(name: str) -> Any:
    """The library; None if it is not installed, or another process's. Raises what its import raises."""
    if name != _this:
        return None
    if _broken:
        raise _broken
    return _load(name)


def version(name: str) -> str:
    """Empty if the library is not installed."""
    loaded = library(name)
    return f"{name} {_LIBRARIES[name].version(loaded)}" if loaded else ""


def rows_of(name: str, kind: str, make: Callable[[Any], Iterable[Row]]) -> list[Row]:
    """The rows that are made of a library, or a row that says how that failed."""
    try:
        loaded = library(name)
        return list(make(loaded)) if loaded else []
    except Exception as error:  # whatever an import may raise, or a version of the library that lacks something
        return [failed(name, kind, name, error)]


def rows(
    kind: str,
    what: str,
    array: Array,
    names: Iterable[str] = NAMES,
    keep: Callable[[str], bool] = lambda _: True,
    parts: int = 64,
) -> list[Row]:
    """What these libraries have for filling that array with "constant", "uniform", "normal" or "truncated"."""

    def calls(name: str) -> Callable[[Any], list[Row]]:
        return lambda loaded: made(
            name, kind, (call for call in _LIBRARIES[name].calls(loaded, what, array) if keep(call.name)), array, parts
        )

    return [row for name in names for row in rows_of(name, kind, calls(name))]


def made(name: str, kind: str, calls: Iterable[Call], array: Array, parts: int = 64) -> list[Row]:
    """The rows of a library's calls."""
    return [
        row(name, kind, call.name, call.code, array, call.names, threads=call.threads, parts=parts) for call in calls
    ]
