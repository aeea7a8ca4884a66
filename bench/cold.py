"""Fresh memory: allocated and filled under the clock, and freed after it has stopped.

The limit is a memset of fresh huge pages on as many threads. It runs right before each row, so that free memory is as
the limit left it: a virtual machine may give free pages back to its host, and the next allocation would pay for that.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import fastinit

from . import peers
from .clock import Names, Ratio, Row, Table
from .rows import Array


def fresh(n_bytes: int) -> Array:
    """Private memory that has not been touched, on huge pages where the OS has them."""
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    memory = mmap.mmap(-1, n_bytes, **private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)


def _memset(n_bytes: int, threads: int, pool: ThreadPoolExecutor) -> Array:
    memory = fresh(n_bytes)
    starts = range(0, n_bytes, -(-n_bytes // threads))
    parts = [memory[start : start + starts.step] for start in starts]
    list(pool.map(lambda part: ctypes.memset(part.ctypes.data, 1, part.nbytes), parts))
    return memory


def tables(n_bytes: int, threads: list[int]) -> Iterator[Table]:
    n = n_bytes // 4
    kind = f"normal float32, {n_bytes >> 20} MiB of fresh memory"

    def row(who: str, name: str, code: str, count: int | None, names: Names, part: int = 1) -> Row:
        return Row(who, kind, name, code, lambda _: ({**names, "n": n // part}, n // part), threads=count, parts=1)

    def memset(count: int) -> Row:
        names = {"memset": _memset, "n_bytes": n_bytes, "threads": count, "pool": ThreadPoolExecutor(count)}
        return row("limit", "memset of fresh huge pages", "w = memset(n_bytes, threads, pool)", count, names)

    rows, ratios = [], []
    for count in threads:
        names = {"empty": fastinit.empty, "he_normal": fastinit.he_normal, "numpy_empty": np.empty, "f4": np.float32}
        arguments = f"4096, seed=1, stream=2, threads={count}"
        own = row("fastinit", "fastinit.empty + he_normal", f"w = he_normal(empty(n), {arguments})", count, names)
        code = f"w = he_normal(numpy_empty(n, f4), {arguments})"
        rows += [own, row("fastinit", "np.empty + fastinit.he_normal", code, count, names)]
        as_many = None if count == threads[-1] else [memset(count)]  # None: the limit itself, right before
        rows += as_many or []
        mark = f"{count} thread{'' if count == 1 else 's'} each"
        ratios.append(
            Ratio(f"fastinit.empty + he_normal / memset of fresh huge pages, {mark}, bytes a second", own, as_many)
        )
    rng = np.random.Generator(np.random.SFC64(1))
    rows += [
        row("limit", "np.full", "w = full(n, 1, f4)", 1, {"full": np.full, "f4": np.float32}),
        row(
            "numpy",
            "numpy SFC64 standard_normal(shape), a quarter",
            "w = rng.standard_normal(n, f4)",
            1,
            {"rng": rng, "f4": np.float32},
            4,
        ),
    ]
    name, code = "torch empty + normal_, a quarter", "w = empty(n).normal_()"
    rows += peers.rows_of("torch", kind, lambda torch: [row("torch", name, code, None, {"empty": torch.empty}, 4)])
    yield Table("cold", "A new array: allocated and filled", memset(threads[-1]), rows, ratios, most_rounds=5)
