"""fastinit for Dask: lazy arrays, of which each chunk is made alone.

    >>> import fastinit.dask
    >>> w = fastinit.dask.he_normal((4000, 300), 300, chunks=(1000, 300), seed=0, stream="w")
    >>> w.chunks
    ((1000, 1000, 1000, 1000), (300,))

Nothing has been drawn yet. Any part of it has the bits that NumPy gets, in
each process, whatever the chunks are:

    >>> import numpy as np, fastinit
    >>> whole = fastinit.he_normal(np.empty((4000, 300), np.float32), 300, seed=0, stream="w")
    >>> np.array_equal(w[1500:1502].compute(), whole[1500:1502])
    True

There is a function for each of ``fastinit`` that fills arrays, with a shape
in the place of ``out``, and with chunks and a dtype. ``seed`` and ``stream``
have no defaults. docs/dask.md has the details. Tested with Dask 2024.12 to
2026.8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._laws import LAWS

__all__ = [
    "constant",
    "dirac",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "integers",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "random_bits",
    "sparse",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]


def __getattr__(name: str) -> Callable[..., Any]:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return LAWS[name]


def __dir__() -> list[str]:
    return sorted(__all__)
