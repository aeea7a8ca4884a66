"""Rows that fill arrays or parts of them, and among them those with the statements of fastinit's users."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastinit
from fastinit import _core

from .clock import Names, Row, Run

Array = NDArray[Any]

COLUMNS = 4096  # of matrices


def optional(name: str) -> Any:
    """The module, or None if it is not installed."""
    with contextlib.suppress(ImportError):
        return importlib.import_module(name)
    return None


def installed(name: str) -> str:
    """Its version, without importing it; empty if it is not installed."""
    if importlib.util.find_spec(name) is None:
        return ""
    return importlib.metadata.version(name)


def cpus() -> int:
    count: int = _core.config()["cpus"]
    return count


def sixteen_bits() -> list[np.dtype[Any]]:
    ml_dtypes = optional("ml_dtypes")
    return [np.dtype(name) for name in ("float16", *([ml_dtypes.bfloat16] if ml_dtypes else []))]


def _part(array: Array, k: int) -> Array:
    """The first 1/k of an array, with memory of the same form."""
    if array.flags.f_contiguous and array.ndim > 1:
        return array[:, : max(1, array.shape[1] // k)]
    return array[: max(1, array.shape[0] // k)]


def row(who: str, kind: str, name: str, code: str, array: Array, names: Callable[[Array], Names], **more: Any) -> Row:
    """A row that fills an array."""

    def bind(k: int) -> tuple[Names, int]:
        part = _part(array, k)
        return names(part), part.size

    return Row(who, kind, name, code, bind, array.itemsize, **more)


def fill(array: Array, kind: str = "limit", name: str = "ndarray.fill", parts: int = 1) -> Row:
    """The limit."""
    return row("limit", kind, name, "w.fill(1.0)", array, lambda w: {"w": w}, threads=1, parts=parts)


def ours(
    kind: str,
    function: str,
    array: Array,
    threads: Sequence[int],
    arguments: str = "",
    *,
    target: str | None = None,
    parts: int = 64,
) -> list[Row]:
    """A row for each number of threads. The arguments are source text; the row's name shows them."""
    key = "" if function == "ones" else "seed=1, stream=2, "
    hooks: dict[str, Run] = {}
    if target:
        hooks = {"before": lambda: _core.set_target(target), "after": lambda: _core.set_target(None)}
    return [
        row(
            "fastinit",
            kind,
            f"fastinit.{function}({arguments})" if arguments else f"fastinit.{function}",
            f"{function}(w, {arguments}{', ' if arguments else ''}{key}threads={n})",
            array,
            lambda w: {"w": w, function: getattr(fastinit, function)},
            threads=n,
            parts=parts,
            **hooks,
        )
        for n in threads
    ]
