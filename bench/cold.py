"""Fresh memory: allocated and filled under the clock, and freed after it has stopped.

The limit is a memset of fresh huge pages on as many threads. It runs right before each row, so that free memory is as
the limit left it: a virtual machine may give free pages back to its host, and the next allocation would pay for that.
PyTorch's memory is on usual pages unless someone asks for huge ones, so there is a table for it, in PyTorch's process.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import mmap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

import fastinit
from fastinit import _core

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
    yield Table("cold", "A new array: allocated and filled", memset(threads[-1]), rows, ratios, most_rounds=5)
    torch = peers.library("torch")
    if torch:
        yield _in_torch(torch, kind, n, threads[-1], memset(threads[-1]))


def _in_torch(torch: Any, kind: str, n: int, threads: int, limit: Row) -> Table:
    names = {"empty": torch.empty, "normal_": importlib.import_module("fastinit.torch").init.normal_}

    def row(who: str, name: str, code: str, **more: Any) -> Row:
        return Row(who, kind, name, code, lambda _: ({**names, "n": n}, n), parts=1, **more)

    def own(wish: str) -> Row:
        def before() -> None:
            fastinit.set_num_threads(threads)
            _core.set_huge_pages(wish)

        def after() -> None:
            fastinit.set_num_threads(usual_threads)
            _core.set_huge_pages("")

        name = f"torch.empty + fastinit's normal_, FASTINIT_HUGE_PAGES={wish}"
        return row("fastinit", name, "w = normal_(empty(n))", threads=threads, before=before, after=after)

    usual_threads = fastinit.get_num_threads()
    theirs = row("torch", "torch.empty + torch's normal_", "w = empty(n).normal_()")
    usual, measured = own("0"), own("auto")
    ratios = [
        Ratio(f"{measured.name} / {theirs.name}, values a second", measured, [theirs]),
        Ratio(f"{measured.name} / FASTINIT_HUGE_PAGES=0, values a second", measured, [usual]),
    ]
    question = "A new torch tensor: allocated and filled"
    return Table("cold", question, limit, [theirs, usual, measured], ratios, most_rounds=5, where="torch")
