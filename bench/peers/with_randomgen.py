"""randomgen: more bit generators for numpy.random.Generator. Three of its fast ones."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..rows import Array
from .call import Call
from .with_numpy import fill_with


def load() -> Any:
    return importlib.import_module("randomgen")


def version(randomgen: Any) -> str:
    return str(randomgen.__version__)


def calls(randomgen: Any, what: str, array: Array) -> Iterator[Call]:
    if array.dtype in (np.float32, np.float64) and array.flags.c_contiguous:
        for bits in ("AESCounter", "Romu", "SFC64"):
            yield from fill_with(getattr(randomgen, bits)(1), f"randomgen {bits}", what, array)
