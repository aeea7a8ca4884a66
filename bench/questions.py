"""The questions: a table for each, with the rows that it compares and the ratios that answer it.

Each process makes all tables, with rows of fastinit and of its own library; processes.py puts them together. All tables
about large arrays share one warm buffer in each process, as float32, float64, float16 or bfloat16, so that all kinds
have the same number of bytes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

import fastinit
from fastinit import _core

from . import adapters, cold, models, peers, sweep
from .clock import Names, Ratio, Row, Table
from .rows import COLUMNS, Array, fill, ours, row, sixteen_bits

HE = str(COLUMNS)  # the fan of he_normal, as source text
STORES = "ones float32: stores alone"
XAVIER = f"{COLUMNS}, {COLUMNS}"


@dataclass
class Setting:
    """The options of a run."""

    n_bytes: int
    threads: list[int]
    cold_bytes: int
    largest: int  # elements, of the sweep
    largest_peer: int
    shrink: int  # of the models' dimensions
    full: bool  # peers fill the whole of a large model

    @cached_property
    def buffer(self) -> Array:
        return np.empty(self.n_bytes, np.uint8)

    def view(self, dtype: object) -> Array:
        return self.buffer.view(np.dtype(dtype))  # type: ignore[call-overload]

    @property
    def f32(self) -> Array:
        return self.view(np.float32)

    @property
    def limit(self) -> Row:
        return fill(self.f32)


def _n(row: Row) -> str:
    return f"{row.threads} thread{'' if row.threads == 1 else 's'}"


def _warm(name: str, question: str, setting: Setting, rows: Sequence[Row], ratios: list[Ratio]) -> Table:
    """A table about the warm buffer: with the limit, and beside it what stores alone reach on all threads."""
    stores = ours(STORES, "ones", setting.f32, setting.threads[-1:])
    return Table(name, question, setting.limit, [*stores, *rows], ratios)


def over_limit(rows: Sequence[Row]) -> list[Ratio]:
    """The last row of each kind and name, that is the one with most threads, over the limit."""
    last = {(row.kind, row.name): row for row in rows}
    return [Ratio(f"{row.name}, {row.kind}, {_n(row)} / ndarray.fill, bytes a second", row) for row in last.values()]


def over_peers(top: Row, bottom: Sequence[Row], *names: str) -> list[Ratio]:
    """That row over each of the peers' rows with these names."""
    return [
        Ratio(f"{top.name}, {_n(top)} / {name}, values a second", top, [row for row in bottom if row.name == name])
        for name in names
    ]


def _memset(w: Array) -> Names:
    return {"w": w, "memset": ctypes.memset}


def constants(setting: Setting) -> Iterator[Table]:
    kind, w = "ones float32", setting.f32
    own = ours(kind, "ones", w, setting.threads)
    memset = row("limit", kind, "memset", "memset(w.ctypes.data, 1, w.nbytes)", w, _memset, threads=1)
    yield Table(
        "constants",
        "Constants: how fast can memory be written at all?",
        setting.limit,
        [*own, memset, *peers.rows(kind, "constant", w)],
        over_limit(own),
    )


def uniform(setting: Setting) -> Iterator[Table]:
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        w, kind = setting.view(dtype), f"uniform {dtype.name}"
        own = ours(kind, "uniform", w, setting.threads)
        if dtype == np.float32:
            own += ours(kind, "xavier_uniform", w, setting.threads, XAVIER)
        yield _warm(
            "uniform",
            f"Uniform {dtype.name}: how close to the limit?",
            setting,
            [*own, *peers.rows(kind, "uniform", w)],
            over_limit(own),
        )


def uniform16(setting: Setting) -> Iterator[Table]:
    rows: list[Row] = []
    theirs: list[Row] = []
    for dtype in sixteen_bits():
        w, kind = setting.view(dtype), f"uniform {dtype.name}"
        rows += ours(kind, "uniform", w, setting.threads)
        theirs += peers.rows(kind, "uniform", w)
    yield _warm(
        "uniform16",
        "Uniform, 16 bits: bytes a second, relative to the limit",
        setting,
        rows + theirs,
        over_limit(rows),
    )


def normal(setting: Setting) -> Iterator[Table]:
    kind, w = "normal float32", setting.f32
    he = ours(kind, "he_normal", w, setting.threads, HE)
    own = [
        *he,
        *ours(kind, "xavier_normal", w, setting.threads, XAVIER),
        *ours(kind, "normal", w, setting.threads),
    ]
    theirs = peers.rows(kind, "normal", w)
    yield _warm(
        "normal",
        "Normal float32: how close to the limit, and how much faster than the others?",
        setting,
        [*own, *theirs],
        over_limit(own) + over_peers(he[-1], theirs, "torch kaiming_normal_", "numpy SFC64 standard_normal(out=)"),
    )


def truncated(setting: Setting) -> Iterator[Table]:
    kind, w = "truncated normal +-2 sd float32", setting.f32
    plain = ours(kind, "truncated_normal", w, setting.threads)
    own = [*plain, *ours(kind, "he_normal", w, setting.threads, f"{HE}, truncated=True")]
    theirs = peers.rows(kind, "truncated", w)
    yield _warm(
        "truncated",
        "Truncated normal float32, +-2 standard deviations: how close to the limit, how much faster than the others?",
        setting,
        [*own, *theirs],
        over_limit(own) + over_peers(plain[-1], theirs, "torch trunc_normal_", "tf.random.stateless_truncated_normal"),
    )


def normal64(setting: Setting) -> Iterator[Table]:
    kind, w = "normal float64", setting.view(np.float64)
    own = ours(kind, "he_normal", w, setting.threads, HE)
    yield _warm(
        "normal64",
        "Normal float64: how close to the limit?",
        setting,
        [*own, *peers.rows(kind, "normal", w)],
        over_limit(own),
    )


def normal16(setting: Setting) -> Iterator[Table]:
    most = setting.threads[-1:]
    f32 = ours("normal float32, for comparison", "he_normal", setting.f32, most, HE)
    rows: list[Row] = []
    theirs: list[Row] = []
    for dtype in sixteen_bits():
        w, kind = setting.view(dtype), f"normal {dtype.name}"
        rows += ours(kind, "he_normal", w, setting.threads, HE)
        theirs += peers.rows(kind, "normal", w)
    yield _warm(
        "normal16",
        "Normal, 16 bits: elements a second, relative to float32",
        setting,
        [*f32, *rows, *theirs],
        [
            Ratio(f"{row.name}, {row.kind}, {_n(row)} / the same in float32, values a second", row, f32)
            for row in rows
            if row.threads == most[0]
        ],
    )


def targets(setting: Setting) -> Iterator[Table]:
    config, w = _core.config(), setting.f32
    own: list[Row] = []
    for target in config["targets_found"]:
        if target != config["target"]:
            own += ours(f"uniform float32 on the {target} target", "uniform", w, setting.threads, target=target)
            own += ours(f"normal float32 on the {target} target", "he_normal", w, setting.threads, HE, target=target)
    yield _warm("targets", "float32 on the other targets that this CPU can run", setting, own, over_limit(own))


def philox(setting: Setting) -> Iterator[Table]:
    own: list[Row] = []
    theirs: list[Row] = []
    for what, function, arguments in (("uniform", "uniform", ""), ("normal", "he_normal", f"{HE}, ")):
        kind = f"{what} float32, Philox"
        own += ours(kind, function, setting.f32, setting.threads, f"{arguments}bit_generator='philox'")
        theirs += peers.rows(kind, what, setting.f32, keep=lambda name: "philox" in name.lower())
    yield _warm(
        "philox",
        "bit_generator='philox', float32: how close to the limit?",
        setting,
        own + theirs,
        over_limit(own),
    )


def strided(setting: Setting) -> Iterator[Table]:
    matrix = setting.f32.reshape(-1, COLUMNS)
    contiguous = ours("normal float32, contiguous", "he_normal", matrix, setting.threads, HE)
    rows, ratios = [*contiguous], []
    for kind, view in (
        ("normal float32, every second column", matrix[:, ::2]),
        ("normal float32, Fortran order", matrix.T),
    ):
        own = ours(kind, "he_normal", view, setting.threads, HE)
        rows += [*own, *peers.rows(kind, "normal", view, ("numpy", "torch"))]
        rows.append(fill(view, kind, "ndarray.fill of that view", parts=64))
        ratios.append(Ratio(f"{kind}, {_n(own[-1])} / contiguous, values a second", own[-1], [contiguous[-1]]))
    yield _warm("strided", "Views of a matrix: values a second, relative to a contiguous one", setting, rows, ratios)


def small(_: Setting) -> Iterator[Table]:
    n, kind = 80, "normal float32"
    w = np.empty(n, np.float32)

    def names(w: Array) -> Names:
        return {"w": w, "he_normal": fastinit.he_normal}

    own = [
        row("fastinit", kind, f"fastinit.{code}", code, w, names, parts=1)
        for code in (
            "he_normal(w, 80, seed=1, stream=2)",
            "he_normal(w, 80, seed=1, stream='layer0.bias')",
            "he_normal(w, 80)",
        )
    ]
    theirs = peers.rows(kind, "normal", w, ("numpy", "randomgen", "mkl", "torch"), parts=1)
    name = "numpy PCG64 standard_normal(out=)"
    numpy = [row for row in theirs if row.name == name]
    yield Table(
        "small",
        f"A call on {n} floats: how long does it take?",
        fill(w),
        own + theirs,
        [Ratio(f"{own[0].name} / {name}, time of a call", own[0], numpy, "time")],
    )


def cache(_: Setting) -> Iterator[Table]:
    n, kind = 16384, "normal float32"
    w = np.empty(n, np.float32)
    own = ours(kind, "normal", w, [1], parts=1)
    intel = peers.rows_of("mkl", kind, lambda mkl: peers.made("mkl", kind, peers.with_mkl.gaussians(mkl), w, parts=1))
    theirs = peers.rows(kind, "normal", w, ("numpy", "randomgen", "torch"), parts=1)
    yield Table(
        "cache",
        "One thread, 64 KiB of float32 in cache: how much faster than the fastest Gaussian of oneMKL VSL? Both are\n"
        "called from Python, and the times include the call.",
        fill(w),
        own + intel + theirs,
        [Ratio("fastinit.normal, 1 thread / the fastest vsRngGaussian, 1 thread, values a second", own[0], intel)],
    )


QUESTIONS: dict[str, Callable[[Setting], Iterator[Table]]] = {
    # First, while the processes are small: it is about fresh memory.
    "cold": lambda setting: cold.tables(setting.cold_bytes, setting.threads),
    "constants": constants,
    "uniform": uniform,
    "uniform16": uniform16,
    "normal": normal,
    "truncated": truncated,
    "normal64": normal64,
    "normal16": normal16,
    "targets": targets,
    "philox": philox,
    "strided": strided,
    "small": small,
    "cache": cache,
    "sweep": lambda setting: sweep.tables(setting.largest, setting.largest_peer, setting.threads),
    "models": lambda setting: models.tables(setting.threads, setting.shrink, setting.full),
    "gpt2": lambda setting: adapters.gpt2(setting.threads[-1], setting.shrink),
    "llama": lambda setting: adapters.llama(setting.threads[-1], setting.shrink),
    "vit": lambda setting: adapters.vit(setting.threads[-1], setting.shrink),
    "resnet": lambda setting: adapters.resnet(setting.threads[-1], setting.shrink),
}
