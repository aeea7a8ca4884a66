"""PyTorch, on its CPU tensors. It chooses its number of threads."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..clock import Names
from ..rows import COLUMNS, Array
from .call import Call


def load() -> Any:
    return importlib.import_module("torch")


def version(torch: Any) -> str:
    return f"{torch.__version__} ({torch.get_num_threads()} threads)"


def tensor(torch: Any, w: Array) -> Any:
    """The array's memory as a tensor."""
    if w.dtype.name == "bfloat16":
        return torch.from_numpy(w.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(w)


def calls(torch: Any, what: str, array: Array) -> Iterator[Call]:
    def names(w: Array) -> Names:
        return {"w": tensor(torch, w), "init": torch.nn.init}

    def matrix(w: Array) -> Names:
        return names(w.reshape(-1, min(COLUMNS, w.size)))

    if what == "constant":
        yield Call("torch fill_", "w.fill_(1.0)", names)
    if what == "uniform":
        yield Call("torch uniform_", "w.uniform_()", names)
    if what == "normal":
        yield Call("torch normal_", "w.normal_()", names)
        if array.flags.c_contiguous and array.dtype == np.float32:
            yield Call("torch kaiming_normal_", "init.kaiming_normal_(w)", matrix)
    if what == "truncated":
        yield Call("torch trunc_normal_", "init.trunc_normal_(w)", names)
