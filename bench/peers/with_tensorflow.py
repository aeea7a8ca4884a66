"""TensorFlow, eager. Each call returns a new tensor of that shape and type."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from typing import Any

from ..clock import Names
from ..rows import Array
from .call import Call

_METHODS = {"uniform": "stateless_uniform", "normal": "stateless_normal", "truncated": "stateless_truncated_normal"}


def load() -> Any:
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    return importlib.import_module("tensorflow")


def version(tensorflow: Any) -> str:
    return str(tensorflow.__version__)


def calls(tensorflow: Any, what: str, array: Array) -> Iterator[Call]:
    method = _METHODS.get(what)
    if method is None or not array.flags.c_contiguous:
        return
    draw = getattr(tensorflow.random, method)

    def names(w: Array) -> Names:
        return {"draw": draw, "shape": w.shape, "dtype": w.dtype.name}

    yield Call(f"tf.random.{method}", "draw(shape, seed=(1, 2), dtype=dtype)", names)
