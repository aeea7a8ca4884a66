"""The time per element for sizes from one element on: one thread, all threads, and peers on small arrays.

A table for each size, so that the rows of one size are neighbours in time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import peers
from .clock import Ratio, Table
from .rows import fill, ours

_PEERS = ("numpy SFC64 standard_normal(out=)", "torch normal_", "mkl vsRngGaussian ICDF, ARS5")


def sizes(largest: int) -> list[int]:
    """The powers of two up to it, and it."""
    return sorted({largest, *(1 << k for k in range(largest.bit_length()) if 1 << k <= largest)})


def tables(largest: int, largest_peer: int, threads: list[int]) -> Iterator[Table]:
    buffer = np.zeros(largest, np.float32)
    for n in sizes(largest):
        w, kind = buffer[:n], "normal float32"
        rows = ours(kind, "normal", w, threads, parts=1)
        ratios = []
        if len(threads) > 1:
            first, last = rows[0], rows[-1]
            ratios = [Ratio(f"n = {n}: {last.threads} threads / {first.threads}, values a second", last, [first])]
        if n <= largest_peer:
            rows += peers.rows(kind, "normal", w, ("numpy", "torch", "mkl"), _PEERS.__contains__, parts=1)
        yield Table("sweep", "fastinit.normal by size", fill(w), rows, ratios, most_rounds=7)
