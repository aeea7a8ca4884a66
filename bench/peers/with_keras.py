"""Keras initialisers, on the backend that Keras is configured for. Each call returns a new tensor."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

from ..clock import Names
from ..rows import COLUMNS, Array
from .call import Call

_INITIALIZERS = {
    "uniform": ("GlorotUniform",),
    "normal": ("RandomNormal",),
    "truncated": ("TruncatedNormal", "HeNormal"),
}


def load() -> Any:
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # for TensorFlow
    return importlib.import_module("keras")


def version(keras: Any) -> str:
    return f"{keras.__version__} (on {keras.backend.backend()})"


def calls(keras: Any, what: str, array: Array) -> Iterator[Call]:
    if array.itemsize > 4 or not array.flags.c_contiguous:
        return
    for name in _INITIALIZERS.get(what, ()):
        initializer = getattr(keras.initializers, name)(seed=1)

        def names(w: Array, initializer: Any = initializer) -> Names:
            columns = min(COLUMNS, w.size)
            return {"initializer": initializer, "shape": (w.size // columns, columns), "dtype": w.dtype.name}

        yield Call(f"keras {name}", "initializer(shape, dtype=dtype)", names)
