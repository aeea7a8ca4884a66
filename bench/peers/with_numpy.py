"""NumPy: in place where it can do that; else into a temporary of a type that it can draw, which is then assigned.

Its normals have standard deviation 1; the times do not include the pass that would scale them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..clock import Names
from ..rows import Array
from .call import Call

_METHODS = {"uniform": "random", "normal": "standard_normal"}


def load() -> Any:
    return np


def version(_: Any) -> str:
    return str(np.__version__)


def fill_with(bit_generator: Any, label: str, what: str, array: Array) -> Iterator[Call]:
    """By numpy.random.Generator on any bit generator."""
    method = _METHODS.get(what)
    if method is None:
        return
    in_place = array.flags.c_contiguous and array.dtype in (np.float32, np.float64)
    dtype = array.dtype if in_place else np.dtype(np.float32)
    rng = np.random.Generator(bit_generator)

    def names(w: Array) -> Names:
        return {"w": w, "rng": rng, "dtype": dtype, "copyto": np.copyto}

    if in_place:
        yield Call(f"{label} {method}(out=)", f"rng.{method}(dtype=dtype, out=w)", names, 1)
    else:
        code = f"copyto(w, rng.{method}(w.shape, dtype=dtype), casting='same_kind')"
        yield Call(f"{label} w[...] = {method}(shape)", code, names, 1)


def calls(_: Any, what: str, array: Array) -> Iterator[Call]:
    if what == "constant":
        yield Call("numpy w[...] = 1", "w[...] = 1", lambda w: {"w": w}, 1)
    for bits in ("PCG64", "SFC64", "Philox"):
        yield from fill_with(getattr(np.random, bits)(1), f"numpy {bits}", what, array)
