"""What is measured. Knows the libraries, and nothing of how they are timed or printed.

One buffer serves all rows, as float32, float64, float16 or bfloat16, so all kinds have the same number of bytes. The
peers do what their users write for such an array.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import mmap
import operator
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastinit
from fastinit import _core

from .clock import Call, Cold, Fill, Run

Array = NDArray[Any]

COLUMNS = 4096  # of matrices
KEY: dict[str, Any] = {"seed": 1, "stream": 2}
HE: dict[str, Any] = {"fan_in": COLUMNS, **KEY}


def optional(name: str) -> Any:
    """The module, or None if it is not installed."""
    with contextlib.suppress(ImportError):
        return importlib.import_module(name)
    return None


def cpus() -> int:
    count: int = _core.config()["cpus"]
    return count


def element_types() -> list[np.dtype[Any]]:
    ml_dtypes = optional("ml_dtypes")
    names = ["float32", "float64", "float16", *([ml_dtypes.bfloat16] if ml_dtypes else [])]
    return [np.dtype(name) for name in names]


def _part(array: Array, k: int) -> Array:
    """The first 1/k of an array, with memory of the same form."""
    if array.flags.f_contiguous and array.ndim > 1:
        return array[:, : max(1, array.shape[1] // k)]
    return array[: max(1, array.shape[0] // k)]


def _row(kind: str, name: str, who: str, array: Array, bind: Callable[[Array], Run], **more: Any) -> Fill:
    def make(k: int) -> tuple[Run, int]:
        part = _part(array, k)
        return bind(part), part.size

    return Fill(name, kind, who, array.itemsize, make, **more)


def _ours(
    kind: str,
    function: Callable[..., object],
    array: Array,
    threads: list[int],
    target: str | None = None,
    **arguments: Any,
) -> list[Fill]:
    name = getattr(function, "__name__", "") + (f", target {target}" if target else "")
    if "rng" in arguments:
        name += f", rng={arguments['rng']!r}"
    hooks: dict[str, Run] = {}
    if target:
        hooks = {"before": lambda: _core.set_target(target), "after": lambda: _core.set_target(None)}
    return [
        _row(
            kind,
            name,
            "fastinit",
            array,
            lambda w, n=n: lambda: function(w, threads=n, **arguments),  # type: ignore[misc]
            threads=n,
            target=target,
            **hooks,
        )
        for n in threads
    ]


def _numpy(kind: str, method: str, array: Array, bits: str = "PCG64") -> Fill:
    """In place where NumPy can do that; else a temporary of the type it has, and an assignment."""
    draw = getattr(np.random.Generator(getattr(np.random, bits)(1)), method)
    in_place = array.flags.c_contiguous and array.dtype in (np.float32, np.float64)
    drawn = array.dtype if in_place else np.dtype(np.float32)

    def bind(w: Array) -> Run:
        if in_place:
            return lambda: draw(dtype=drawn, out=w)
        return lambda: np.copyto(w, draw(w.shape, dtype=drawn), casting="same_kind")

    name = f"{bits} {method}(out=)" if in_place else f"w[...] = {bits} {method}(shape)"
    return _row(kind, f"numpy {name}", "numpy", array, bind)


def _torch(kind: str, name: str, array: Array, fill: Callable[[Any], object]) -> list[Fill]:
    torch = optional("torch")
    if torch is None:
        return []

    def bind(w: Array) -> Run:
        if w.dtype.name == "bfloat16":
            tensor = torch.from_numpy(w.view(np.int16)).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(w)
        return lambda: fill(tensor)

    return [_row(kind, f"torch {name}", "torch", array, bind)]


def fills(n_bytes: int, threads: list[int]) -> tuple[Fill, list[Fill]]:
    """The limit, and all rows that fill the buffer or a view of it."""
    buffer = np.empty(n_bytes, np.uint8)
    f32 = buffer.view(np.float32)
    matrix = f32.reshape(-1, COLUMNS)
    torch = optional("torch")
    init: Any = torch and torch.nn.init

    limit = _row("limit", "ndarray.fill", "fill", f32, lambda w: lambda: w.fill(1.0))
    rows = [
        _row("constant", "memset", "fill", f32, lambda w: lambda: ctypes.memset(w.ctypes.data, 1, w.nbytes)),
        *_ours("constant", fastinit.ones, f32, threads),
    ]
    others = [target for target in _core.config()["targets_found"] if target != _core.config()["target"]]
    for family, function, arguments, method, torch_method in (
        ("uniform", fastinit.uniform, KEY, "random", "uniform_"),
        ("normal", fastinit.he_normal, HE, "standard_normal", "normal_"),
    ):
        for dtype in element_types():
            w, kind = buffer.view(dtype), f"{family} {dtype.name}"
            rows += _ours(kind, function, w, threads, **arguments)
            if w.dtype == np.float32:
                rows += _ours(kind, function, w, threads, rng="philox", **arguments)
                for target in others:
                    rows += _ours(kind, function, w, threads, target, **arguments)
                rows.append(_numpy(kind, method, w, "Philox"))
            rows += [_numpy(kind, method, w, bits) for bits in ("PCG64", "SFC64")]
            rows += _torch(kind, torch_method, w, operator.methodcaller(torch_method))
            if kind == "normal float32":
                rows += _torch(kind, "kaiming_normal_", matrix, lambda w: init.kaiming_normal_(w))
    kind = "truncated normal +-2 float32"
    rows += _ours(kind, fastinit.truncated_normal, f32, threads, **KEY)
    rows += _torch(kind, "trunc_normal_", f32, lambda w: init.trunc_normal_(w))
    for kind, view in (
        ("normal float32, every second column", matrix[:, ::2]),
        ("normal float32, Fortran order", matrix.T),
    ):
        rows += _ours(kind, fastinit.he_normal, view, threads, **HE)
        rows.append(_numpy(kind, "standard_normal", view))
        rows += _torch(kind, "normal_", view, operator.methodcaller("normal_"))
        rows.append(_row(kind, "ndarray.fill of that view", "fill", view, lambda w: lambda: w.fill(1.0)))
    return limit, rows


def calls() -> list[Call]:
    """Eighty float32: a bias."""
    w = np.empty(80, np.float32)
    ours = {"w": w, "he_normal": fastinit.he_normal}
    theirs = {"w": w, "rng": np.random.default_rng(1), "f4": np.float32}
    rows = [
        Call("fastinit", "he_normal(w, 80, seed=1, stream=2)", ours),
        Call("fastinit", "he_normal(w, 80, seed=1, stream='layer0.bias')", ours),
        Call("fastinit", "he_normal(w, 80)", ours),
        Call("numpy", "rng.standard_normal(out=w, dtype=f4)", theirs),
    ]
    torch = optional("torch")
    if torch:
        names = {"w": torch.from_numpy(w.reshape(8, 10)), "init": torch.nn.init}
        rows += [Call("torch", "w.normal_()", names), Call("torch", "init.kaiming_normal_(w)", names)]
    return rows


def _fresh(n_bytes: int) -> Array:
    """Private memory, on huge pages where the OS has them, that nobody has touched."""
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    memory = mmap.mmap(-1, n_bytes, **private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)


def colds(n_bytes: int, threads: list[int]) -> list[Cold]:
    """Fresh memory each time: allocated, filled, and given back after the clock has stopped."""
    n = n_bytes // 4
    rows = []
    for count in threads:
        pool = ThreadPoolExecutor(count)

        def memset(count: int = count, pool: ThreadPoolExecutor = pool) -> object:
            memory = _fresh(n_bytes)
            starts = range(0, n_bytes, -(-n_bytes // count))
            parts = [memory[start : start + starts.step] for start in starts]
            list(pool.map(lambda part: ctypes.memset(part.ctypes.data, 1, part.nbytes), parts))
            return memory

        def ours(count: int = count) -> object:
            return fastinit.he_normal(fastinit.empty(n), **HE, threads=count)

        def on_numpy(count: int = count) -> object:
            return fastinit.he_normal(np.empty(n, np.float32), **HE, threads=count)

        mark = f"{count} thread{'s' if count > 1 else ''}"
        rows += [
            Cold(f"memset of fresh huge pages, {mark}", n_bytes, memset),
            Cold(f"fastinit.empty + he_normal, {mark}", n_bytes, ours),
            Cold(f"np.empty + he_normal, {mark}", n_bytes, on_numpy),
        ]
    rng = np.random.Generator(np.random.SFC64(1))
    rows += [
        Cold("np.empty + ndarray.fill", n_bytes, lambda: np.full(n, 1, np.float32)),
        Cold("numpy SFC64 standard_normal(n)", n_bytes, lambda: rng.standard_normal(n, np.float32)),
    ]
    return rows
