"""How NumPy and, where it is installed, PyTorch draw the same laws into the same memory, each by its fastest way."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .laws import Law

__all__ = ["Peer", "installed", "numpy_fill", "torch_fill"]


class Peer(NamedTuple):
    """A library that fills the first n values of a buffer."""

    name: str
    fill: Callable[[int, Law], None]


def numpy_fill(rng: np.random.Generator, out: NDArray[Any], law: Law, scratch: NDArray[Any]) -> None:
    """In place, or through scratch (not empty) for 16-bit types, of which NumPy draws none."""
    if law.form == "constant":
        out.fill(law.mean)
        return
    values = scratch[: out.size] if scratch.size else out
    if law.form == "normal":
        rng.standard_normal(out=values, dtype=values.dtype.type)
        scale, shift = law.std, law.mean
    else:
        rng.random(out=values, dtype=values.dtype.type)
        low, high = law.bounds
        scale, shift = high - low, low
    values *= scale
    if shift != 0.0:
        values += shift
    if values is not out:
        out[...] = values


def torch_fill(generator: Any, out: Any, law: Law) -> None:
    """In place."""
    if law.form == "constant":
        out.fill_(law.mean)
    elif law.form == "normal":
        out.normal_(law.mean, law.std, generator=generator)
    else:
        out.uniform_(*law.bounds, generator=generator)


def installed(buffer: NDArray[Any], seed: int) -> list[Peer]:
    """The libraries that are here."""
    by_float32 = buffer.dtype.itemsize == 2
    scratch = np.zeros(buffer.size if by_float32 else 0, np.float32)
    rng = np.random.default_rng(seed)
    through = ", by way of float32" if by_float32 else ""
    found = [
        Peer(f"NumPy {np.__version__}, 1 thread{through}", lambda n, law: numpy_fill(rng, buffer[:n], law, scratch))
    ]
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError):  # the latter where one of its libraries does not load
        return found
    # By the buffer protocol, which has no bfloat16 and so sees bytes: a torch that was built for another NumPy works.
    tensor = torch.frombuffer(buffer.view(np.uint8), dtype=getattr(torch, buffer.dtype.name))
    generator = torch.Generator().manual_seed(seed)
    found.append(Peer(f"PyTorch {torch.__version__}", lambda n, law: torch_fill(generator, tensor[:n], law)))
    return found
