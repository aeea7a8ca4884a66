"""The peers, and rows of what their users write to fill an array.

Each library has a file here, with `load` (the library, or ImportError), `version` and `calls`. None of them is needed:
the output names those that are not installed and those that fail.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from ..clock import Row, failed, message
from ..rows import Array, row
from . import with_jax, with_keras, with_mkl, with_numpy, with_randomgen, with_tensorflow, with_torch
from .call import Call

# PyTorch before oneMKL: where a sequential oneMKL came first, PyTorch 2.13 binds to it and reports one thread.
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


@functools.cache
def load(name: str) -> tuple[Any, str]:
    """The library and its version; or None and why not."""
    try:
        library = _LIBRARIES[name].load()
        return library, _LIBRARIES[name].version(library)
    except ModuleNotFoundError:
        return None, "not installed"
    except Exception as error:  # whatever an import may raise
        return None, f"failed: {message(error)}"


def library(name: str) -> Any:
    """The library, or None."""
    return load(name)[0]


def versions() -> tuple[list[str], list[str]]:
    """Those that are installed, and those that are not."""
    here, away = [], []
    for name in NAMES:
        loaded, text = load(name)
        if loaded is None:
            away.append(name if text == "not installed" else f"{name} ({text})")
        else:
            here.append(f"{name} {text}")
    return here, away


def rows(
    kind: str,
    what: str,
    array: Array,
    names: Iterable[str] = NAMES,
    keep: Callable[[str], bool] = lambda _: True,
    parts: int = 64,
) -> list[Row]:
    """What these libraries have for filling that array with "constant", "uniform", "normal" or "truncated"."""
    found = []
    for name in names:
        loaded, _ = load(name)
        if loaded is None:
            continue
        try:
            calls: list[Call] = list(_LIBRARIES[name].calls(loaded, what, array))
        except Exception as error:  # a version of the library that lacks something
            found.append(failed(name, kind, name, error))
            continue
        found += made(name, kind, (call for call in calls if keep(call.name)), array, parts)
    return found


def made(name: str, kind: str, calls: Iterable[Call], array: Array, parts: int = 64) -> list[Row]:
    """The rows of a library's calls."""
    return [
        row(name, kind, call.name, call.code, array, call.names, threads=call.threads, parts=parts) for call in calls
    ]
