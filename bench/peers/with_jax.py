"""JAX: jitted, and the result is waited for. Each call returns a new array of that shape and type."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

from ..clock import Names
from ..rows import Array
from .call import Call

_METHODS = {"uniform": "uniform", "normal": "normal", "truncated": "truncated_normal"}
_BOUNDS: dict[str, tuple[float, ...]] = {"truncated": (-2.0, 2.0)}


def load() -> Any:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    return importlib.import_module("jax")


def version(jax: Any) -> str:
    return str(jax.__version__)


def calls(jax: Any, what: str, array: Array) -> Iterator[Call]:
    method = _METHODS.get(what)
    if method is None or array.itemsize > 4 or not array.flags.c_contiguous:  # float64 is an option of its own there
        return
    draw = getattr(jax.random, method)
    for implementation in ("threefry2x32", "rbg"):
        key = jax.random.key(1, impl=implementation)

        def names(w: Array, key: Any = key) -> Names:
            shape, dtype = w.shape, w.dtype
            return {"key": key, "draw": jax.jit(lambda key: draw(key, *_BOUNDS.get(what, ()), shape, dtype))}

        yield Call(f"jax.random.{method}, {implementation}, jit", "draw(key).block_until_ready()", names)
