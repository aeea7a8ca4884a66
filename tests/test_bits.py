"""Promise: the bits are those of docs/stream-format.md, on every target, for every generator, transform and dtype."""

from __future__ import annotations

import math
import pathlib
import re
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastinit
import reference
from conftest import DTYPES, TARGETS
from fastinit import _core
from test_reference import ARS_ANSWERS, PHILOX_ANSWERS, answers

Array = npt.NDArray[Any]

# The core's number of a distribution, and the oracle's name of it.
CORE = {
    "uniform": _core.UNIFORM,
    "normal": _core.NORMAL,
    "absolute": _core.TRUNCATED,
    "std": _core.TRUNCATED_STD,
    "integers": _core.INTEGERS,
}
INF = math.inf
# At least one of each form: plain, near (straddling, one side, narrow, reflected, ending at 0), far (both sides).
CASES: list[tuple[str, tuple[float, ...]]] = [
    ("uniform", (-0.5, 0.25)),
    ("uniform", (0.0, 1.0)),
    ("normal", (0.125, 0.02)),
    ("normal", (0.0, 1.0)),
    ("std", (0.0, 0.02, -2.0, 2.0)),
    ("absolute", (0.0, 1.0, 2.0, 3.0)),
    ("absolute", (0.1, 0.5, -0.3, 1.2)),
    ("absolute", (0.0, 1.0, -0.001, 0.001)),
    ("absolute", (0.0, 1.0, -3.0, -0.5)),
    ("absolute", (0.0, 1.0, -INF, 0.0)),
    ("absolute", (0.0, 1.0, 3.9, 50.0)),
    ("absolute", (0.0, 1.0, -INF, INF)),
    ("absolute", (0.0, 1.0, 5.0, 6.0)),
    ("absolute", (0.0, 1e36, 1.0, 2.0)),  # a window of 1e-36 std
    ("std", (0.0, 1.0, -0.71, 0.71)),  # f would pass the top of float32 but for a smaller step
    ("absolute", (0.0, 1.0, -1e-30, 1e-30)),  # so narrow that float32 needs the small form
    ("absolute", (0.0, 1.0, -1e-300, 1e-300)),  # and float64
    ("absolute", (0.0, 1.0, 1.0, 1.0000000000000007)),  # three steps of float64
    ("absolute", (0.0, 2.0, 16.0, INF)),
    ("absolute", (0.0, 1.0, -INF, -7.0)),
    ("std", (1.0, 0.5, 40.0, 46.0)),  # from 21 to 24, the only float8_e5m2 there
]


def fill(
    out: Array,
    case: tuple[str, tuple[float, ...]],
    seed: int = 1,
    stream: int = 2,
    rng: Any = "ars",
    global_shape: tuple[int, ...] | None = None,
    offset: tuple[int, ...] | None = None,
    threads: int = 1,
) -> Array:
    kind, parameters = case
    a, b, c, d = (*parameters, 0.0, 0.0)[:4]
    _core.fill(out, CORE[kind], a, b, c, d, seed, stream, global_shape, offset, threads, rng)
    return out


def law(case: tuple[str, tuple[float, ...]]) -> tuple[str, tuple[Any, ...]]:
    """The reference's function and its parameters."""
    kind, parameters = case
    return ("truncated", (*parameters, kind)) if kind in ("absolute", "std") else (kind, parameters)


def oracle(
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    case: tuple[str, tuple[float, ...]],
    seed: int = 1,
    stream: int = 2,
    rng: str = "ars",
    global_shape: tuple[int, ...] | None = None,
    offset: tuple[int, ...] | None = None,
) -> Array:
    name, rest = law(case)
    return reference.fill(shape, dtype, name, rest, rng, seed, stream, global_shape, offset)


def bottom_of(case: tuple[str, tuple[float, ...]], dtype: np.dtype[Any]) -> float:
    """The least value of the type that the bounds allow."""
    kind, parameters = case
    if kind == "normal":
        return -INF
    mean, std, low = parameters[:3] if kind != "uniform" else (0.0, 1.0, parameters[0])
    return reference.round_to(mean + std * low if kind == "std" else low, dtype.name, "up")


def top_of(case: tuple[str, tuple[float, ...]], dtype: np.dtype[Any]) -> float:
    """The greatest one; of a uniform law it is below the upper bound."""
    kind, parameters = case
    if kind == "uniform":
        return reference.round_to(math.nextafter(parameters[1], -INF), dtype.name, "down")
    return INF if kind == "normal" else 0.0 - bottom_of((kind, (-parameters[0], parameters[1], -parameters[3])), dtype)


def same_bits(x: Array, y: Array) -> bool:
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


@pytest.mark.parametrize(("rounds", "v"), answers(ARS_ANSWERS))
def test_ars_gives_the_published_answers(target: str, rounds: int, v: list[int]) -> None:
    assert _core.known_answer(target, "ars", rounds, v[:4], v[4:8]) == v[8:]


@pytest.mark.parametrize(("rounds", "v"), answers(PHILOX_ANSWERS))
def test_philox_gives_the_published_answers(target: str, rounds: int, v: list[int]) -> None:
    assert _core.known_answer(target, "philox", rounds, v[:4], v[4:6]) == v[6:]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernel_equals_oracle(target: str, rng: Any, dtype: np.dtype[Any], case: tuple[str, tuple[float, ...]]) -> None:
    n = 4099
    # In the middle of a block, below a number of blocks that needs 33 bits.
    first = 2**34 - 2001
    expected = oracle((n,), dtype, case, rng=rng, global_shape=(2**62,), offset=(first,))
    got = fill(np.zeros(n, dtype), case, rng=rng, global_shape=(2**62,), offset=(first,))
    assert same_bits(got, expected)


def test_farthest_values_of_a_window_equal_oracle(target: str) -> None:
    """The last 10 000 words of this window stand for less than the probability 2^-33 that ends the normal."""
    out = fill(np.zeros(2**22, np.float32), ("absolute", (0.0, 1.0, 3.9, INF)))
    index = np.argsort(out)[-50:].astype(np.uint64)
    w = reference.words("ars", 1, 2, index, 32)
    assert np.sum(~w < 10_000) >= 2
    assert same_bits(out[index], reference.truncated(w, np.float32, 0.0, 1.0, 3.9, INF))


# Of some windows the uniform's last values are kept at both bounds, of some at the upper one, of some at none.
random = np.random.default_rng(1)
UNIFORMS = [("uniform", tuple(sorted(random.uniform(-1.0, 1.0, 2).tolist()))) for _ in range(50)]


def place_of(word: int, bits: int, random: np.random.Generator) -> tuple[int, int, int]:
    """A seed, stream and index below 2^62 that have this word in "philox": its rounds run backwards."""
    half = 2**32
    while True:
        seed = int(random.integers(2**64, dtype=np.uint64))
        c = [int(random.integers(half)) for _ in range(4)]
        c[0] = word % half
        if bits == 64:
            c[1] = word // half
        for r in reversed(range(10)):
            k0, k1 = (seed + r * 0x9E3779B9) % half, (seed // half + r * 0xBB67AE85) % half
            a, b = c[3] * pow(0xD2511F53, -1, half) % half, c[1] * pow(0xCD9E8D57, -1, half) % half
            c = [a, c[0] ^ 0xCD9E8D57 * b // half ^ k0, b, c[2] ^ 0xD2511F53 * a // half ^ k1]
        block = c[0] + half * c[1]
        if block < 2**60:
            return seed, c[2] + half * c[3], block * (128 // bits)


def extreme_words(bits: int) -> list[int]:
    """The ends of a word, its middle, powers of two and what is next to each."""
    middle, top = 2 ** (bits - 1), 2**bits
    near = {w + d for w in (0, middle) for d in range(-2, 3)}
    near |= {w + s * 2**j + d for w in (0, middle) for s in (-1, 1) for j in range(2, bits, 3) for d in (-1, 0, 1)}
    return sorted(w % top for w in near)


def test_extreme_words_equal_oracle(target: str, dtype: np.dtype[Any]) -> None:
    """One word in 2^32 or 2^64 each, which no other test of the kernels meets."""
    bits = 64 if dtype == np.float64 else 32
    random = np.random.default_rng(1)
    words = extreme_words(bits)
    places = [place_of(word, bits, random) for word in words]
    for word, (seed, stream, index) in zip(words, places, strict=True):
        assert reference.words("philox", seed, stream, np.array([index], np.uint64), bits) == [word]
    for case in [*CASES, *(case for case in UNIFORMS if top_of(case, dtype) >= bottom_of(case, dtype))]:
        out = np.zeros(len(words), dtype)
        for k, (seed, stream, index) in enumerate(places):
            fill(out[k : k + 1], case, seed, stream, "philox", (2**62,), (index,))
        name, rest = law(case)
        assert same_bits(out, getattr(reference, name)(np.array(words, f"uint{bits}"), dtype, *rest)), case


@pytest.mark.parametrize("bits", [32, 64])
def test_random_bits_are_the_words(target: str, rng: Any, bits: int) -> None:
    out = np.zeros(1001, f"uint{bits}")
    _core.fill(out, _core.BITS, 0, 0, 0, 0, 3, 4, (2**62,), (2**40 - 3,), 1, rng)
    assert same_bits(out, reference.fill((1001,), out.dtype, "random_bits", (), rng, 3, 4, (2**62,), (2**40 - 3,)))


def test_every_length_and_offset_around_the_edges(target: str, rng: Any, dtype: np.dtype[Any]) -> None:
    """Blocks are 4 words, vectors up to 16, groups up to 64: every edge of them."""
    for case in (CASES[0], CASES[3], CASES[4], CASES[12]):
        whole = oracle((1300,), dtype, case, rng=rng)
        for n in [*range(70), 127, 128, 129, 255, 256, 257, 1023, 1024, 1025]:
            for offset in (0, 1, 2, 3, 4, 7, 63, 64, 65):
                guarded = np.full(n + 2, 7, dtype)
                out = guarded[1:-1]
                fill(out, case, rng=rng, global_shape=(1300,), offset=(offset,))
                assert same_bits(out, whole[offset : offset + n])
                assert guarded[0] == guarded[-1] == 7


def test_the_ends_of_the_counter(target: str, rng: Any) -> None:
    """The largest index that a tensor may have, and seeds and streams of 64 bits."""
    top = 2**64 - 1
    for seed, stream in ((0, 0), (top, 0), (0, top), (top, top), (2**63, 2**32)):
        shape, offset = (2**63,), (2**63 - 100,)
        expected = oracle((100,), DTYPES["float64"], CASES[3], seed, stream, rng, shape, offset)
        got = fill(np.zeros(100), CASES[3], seed, stream, rng, shape, offset)
        assert same_bits(got, expected)


finite = st.floats(-1e4, 1e4, allow_nan=False)
std = st.floats(1e-6, 1e3)
in_std = st.one_of(st.floats(-9.0, 9.0), st.floats(-60, 60), st.sampled_from([-INF, INF, 0.0, 4.0, -4.0]))


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, tuple[float, ...]]:
    kind = draw(st.sampled_from(["uniform", "normal", "std"]))
    if kind == "uniform":
        low, high = sorted(draw(st.tuples(finite, finite)))
        return kind, (low, high if high - low > 1.0 else low + 1.0)
    if kind == "normal":
        return kind, (draw(finite), draw(std))
    low, high = sorted(draw(st.tuples(in_std, in_std)))
    if high == low:
        low, high = (low - 1.0, low) if low > 0 else (high, high + 1.0)
    return kind, (0.0, draw(std), low, high)


@settings(max_examples=300, deadline=None)
@given(
    case=cases(),
    name=st.sampled_from(list(DTYPES)),
    target=st.sampled_from(TARGETS),
    rng=st.sampled_from(["ars", "philox"]),
    seed=st.integers(0, 2**64 - 1),
    stream=st.integers(0, 2**64 - 1),
    shape=st.lists(st.integers(0, 9), min_size=0, max_size=3),
    grow=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**20)), min_size=3, max_size=3),
    steps=st.lists(st.sampled_from([1, 2, 3, -1, -2]), min_size=3, max_size=3),
    order=st.sampled_from(["C", "F"]),
)
def test_kernel_equals_oracle_anywhere(
    case: tuple[str, tuple[float, ...]],
    name: str,
    target: str,
    rng: str,
    seed: int,
    stream: int,
    shape: list[int],
    grow: list[tuple[int, int]],
    steps: list[int],
    order: Any,
) -> None:
    """Any distribution into any box of any tensor, through any strides."""
    if any(math.isinf(x) for x in case[1]) and case[1][2:] in ((-INF, -INF), (INF, INF)):
        return
    dtype = DTYPES[name]
    offset = tuple(g[0] for g in grow[: len(shape)])
    global_shape = tuple(n + g[0] + g[1] for n, g in zip(shape, grow, strict=False))
    memory = np.full([n * abs(step) for n, step in zip(shape, steps, strict=False)], 7, dtype, order=order)
    slices: list[Any] = [slice(None, None, step) for _, step in zip(shape, steps, strict=False)]
    out: Array = memory[tuple([*slices, Ellipsis])]  # the ellipsis, so that it is an array without dimensions too
    assert out.shape == tuple(shape)
    _core.set_target(target)
    try:
        fill(out, case, seed, stream, rng, global_shape, offset)
    except ValueError as error:
        # The ways in which such a case may not fit its dtype.
        words = r"no \w+ lies |std is too large for float(16|8)|(low|high|mean) is beyond the range of float8"
        if re.match(words, str(error)) is None:
            raise
        assert (memory == 7).all()
        return
    finally:
        _core.set_target(None)
    assert same_bits(out, oracle(out.shape, dtype, case, seed, stream, rng, global_shape, offset))
    out[...] = 7
    assert (memory == 7).all()


# --- float8 -----------------------------------------------------------------------------------------------------------

FLOAT8 = {name: dtype for name, dtype in DTYPES.items() if dtype.itemsize == 1}


@settings(max_examples=300, deadline=None)
@given(
    case=cases(),
    name=st.sampled_from(list(FLOAT8)),
    target=st.sampled_from(TARGETS),
    rng=st.sampled_from(["ars", "philox"]),
    seed=st.integers(0, 2**64 - 1),
    first=st.integers(0, 2**60),
    n=st.one_of(st.integers(1, 300), st.integers(4000, 9000)),
    threads=st.integers(1, 3),
)
def test_float8_is_the_cast_of_float32(
    case: tuple[str, tuple[float, ...]],
    name: str,
    target: str,
    rng: str,
    seed: int,
    first: int,
    n: int,
    threads: int,
) -> None:
    """As ml_dtypes casts the float32 values, which are kept in the bounds that the type has."""
    dtype = FLOAT8[name]
    place: dict[str, Any] = {"global_shape": (2**62,), "offset": (first,)}
    kind, parameters = case
    largest = -reference.round_to(-1e300, name, "up")
    # Into the range of the type: the case was drawn for wider ones.
    if kind == "uniform":
        case = kind, (parameters[0] % 28, parameters[1] % 28 + 40)
    elif kind == "normal":
        case = kind, (parameters[0] % 28, min(parameters[1], 60.0))
    elif bottom_of(case, dtype) > top_of(case, dtype) or math.isinf(bottom_of(case, dtype)):
        return
    _core.set_target(target)
    _core.set_grain(1000)
    try:
        got = fill(np.zeros(n, dtype), case, seed, 1, rng, threads=threads, **place)
        wide = fill(np.zeros(n, np.float32), case, seed, 1, rng, **place)
    finally:
        _core.set_target(None)
        _core.set_grain(0)
    bounds = max(bottom_of(case, dtype), -largest), min(top_of(case, dtype), largest)
    assert same_bits(got, np.clip(wide, *map(np.float32, bounds)).astype(dtype))


@pytest.mark.parametrize("name", FLOAT8)
def test_every_finite_float8_is_reached_by_rounding(target: str, name: str) -> None:
    """In a window of each octave, whose ends are values of the type: no value is made by a bound."""
    dtype = FLOAT8[name]
    edge, found = -reference.round_to(-1e300, name, "up"), set[int]()
    while edge > reference.round_to(1e-300, name, "up"):
        case = ("absolute", (0.0, edge, -edge, edge))
        out = fill(np.zeros(5000, dtype), case)
        assert same_bits(out, fill(np.zeros(5000, np.float32), case).astype(dtype))
        found |= set(out.view(np.uint8).tolist())
        edge = 2.0 ** (math.ceil(math.log2(edge)) - 1)
    codes = np.arange(256, dtype=np.uint8)
    assert found == set(codes[np.isfinite(codes.view(dtype).astype(np.float32))].tolist())


# --- integers ---------------------------------------------------------------------------------------------------------

INTEGERS = [np.dtype(name) for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32")]


@st.composite
def ranges(draw: st.DrawFn) -> tuple[np.dtype[Any], int, int]:
    """A type, and the first and last of the values, often at its ends."""
    dtype = draw(st.sampled_from(INTEGERS))
    least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    ends = st.one_of(st.integers(least, most), st.sampled_from([least, least + 1, 0, 1, most - 1, most]))
    first, last = sorted(draw(st.tuples(ends, ends)))
    return dtype, first, last


@settings(max_examples=300, deadline=None)
@given(
    law=ranges(),
    target=st.sampled_from(TARGETS),
    rng=st.sampled_from(["ars", "philox"]),
    seed=st.integers(0, 2**64 - 1),
    first=st.integers(0, 2**60),
    shape=st.one_of(st.lists(st.integers(0, 9), max_size=3), st.just([1, 9001]), st.just([130, 70])),
    steps=st.lists(st.sampled_from([1, 2, 3, -1, -2]), min_size=3, max_size=3),
    order=st.sampled_from(["C", "F"]),
    endpoint=st.booleans(),
)
def test_integers_equal_oracle(
    law: tuple[np.dtype[Any], int, int],
    target: str,
    rng: Any,
    seed: int,
    first: int,
    shape: list[int],
    steps: list[int],
    order: Any,
    endpoint: bool,
) -> None:
    """Any range of any type into any box, through any strides."""
    dtype, low, last = law
    high = last if endpoint else last + 1
    memory = np.full([n * abs(step) for n, step in zip(shape, steps, strict=False)], 7, dtype, order=order)
    slices: list[Any] = [slice(None, None, step) for _, step in zip(shape, steps, strict=False)]
    out: Array = memory[tuple([*slices, Ellipsis])]
    box: dict[str, Any] = {"global_shape": None, "offset": None}
    if shape:  # of a tensor that begins with more rows
        box = {"global_shape": (2**49, *shape[1:]), "offset": (first % 2**48, *(0 for _ in shape[1:]))}
    _core.set_target(target)
    _core.set_grain(500)
    try:
        fastinit.integers(out, low, high, endpoint=endpoint, seed=seed, stream=3, threads=2, bit_generator=rng, **box)
    finally:
        _core.set_target(None)
        _core.set_grain(0)
    expected = reference.fill(out.shape, dtype, "integers", (low, high, endpoint), rng, seed, 3, *box.values())
    assert same_bits(np.ascontiguousarray(out).reshape(out.shape), expected)
    out[...] = 7
    assert (memory == 7).all()


def test_extreme_words_of_integers(target: str) -> None:
    """The words at which the value changes, and the ends: the definition's floor, in Python's integers."""
    random = np.random.default_rng(2)
    for dtype, low, high in (
        (np.int8, -127, 128),
        (np.int16, -5, 3),
        (np.uint32, 7, 2**32 - 1),
        (np.int32, -(2**31), 2**31),
    ):
        n = high - low
        edges = {0, 2**32 - 1, 2**31}
        for k in (1, 2, n // 3 + 1, n // 2, n - 1):
            edges |= {-(-(k * 2**32) // n) + d for d in (-1, 0)}
        for word in sorted(edges):
            seed, stream, index = place_of(word, 32, random)
            out = np.zeros(1, dtype)
            fill(out, ("integers", (low, high)), seed, stream, "philox", (2**62,), (index,))
            assert int(out[0]) == low + word * n // 2**32


def test_integers_of_all_values_are_the_top_bits_of_the_words() -> None:
    words = fastinit.random_bits(np.empty(5000, np.uint32), seed=1)
    for dtype in INTEGERS:
        limits = np.iinfo(dtype)
        got = fastinit.integers(np.empty(5000, dtype), limits.min, limits.max, endpoint=True, seed=1)
        top = (words >> np.uint32(32 - 8 * dtype.itemsize)).astype(np.int64) + int(limits.min)
        assert got.astype(np.int64).tolist() == top.tolist()


# --- frozen digests ---------------------------------------------------------------------------------------------------

# As in cpp/tests/core_test.cpp.
DIGEST_CASES: dict[str, tuple[str, tuple[float, ...]]] = {
    "uniform": ("uniform", (-0.5, 0.25)),
    "normal": ("normal", (0.125, 0.02)),
    "truncated": ("std", (0.0, 0.02, -2.0, 2.0)),
    "one_sided": ("absolute", (0.0, 1.0, 2.0, 3.0)),
    "asymmetric": ("absolute", (0.1, 0.5, -0.3, 1.2)),
    "narrow": ("absolute", (0.0, 1.0, -0.001, 0.001)),
    "far": ("absolute", (0.0, 1.0, 5.0, 6.0)),
    "far_below": ("absolute", (0.0, 1.0, -INF, -7.0)),
    "tiny": ("normal", (0.0, 1e-39)),
    "tinier": ("normal", (0.0, 1e-310)),
    "small_uniform": ("uniform", (-1e-38, 1e-38)),
    "free_uniform": ("uniform", (-0.05123, 0.05123)),
}
DIGEST_FIRSTS = (0, 3, 2**33 - 500, 2**42 - 500, 2**63 - 3001)
DIGEST_LENGTHS = (1, 7, 64, 1021, 3001)
LINES = (pathlib.Path(__file__).parent / "digests.txt").read_text().splitlines()
DIGESTS = [(*row[:3], row[3:]) for row in (line.split() for line in LINES[1:])]


def test_every_combination_has_a_frozen_digest() -> None:
    rows = [row[:3] for row in DIGESTS]
    names = {(rng, case, dtype) for rng in ("ars", "philox") for case in DIGEST_CASES for dtype in DTYPES}
    names |= {(rng, "bits", words) for rng in ("ars", "philox") for words in ("uint32", "uint64")}
    assert set(rows) == names | {(rng, "integers", dtype.name) for rng in ("ars", "philox") for dtype in INTEGERS}
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize(("rng", "name", "dtype_name", "digests"), DIGESTS)
def test_frozen_digests(target: str, rng: Any, name: str, dtype_name: str, digests: list[str]) -> None:
    """A change of any would be version 3 of the stream format, beside version 2. (Thread counts are core_test's part:
    such small calls run on one thread.)"""
    seed, stream, shape = 0x0123456789ABCDEF, 0xFEDCBA9876543210, (2**63,)
    for first, digest in zip(DIGEST_FIRSTS, digests, strict=True):
        crc = 0
        for n in DIGEST_LENGTHS:
            if name == "bits":
                out = np.zeros(n, dtype_name)
                _core.fill(out, _core.BITS, 0, 0, 0, 0, seed, stream, shape, (first,), 1, rng)
            elif name == "integers":
                out = np.zeros(n, dtype_name)
                law = (name, (-100, 101) if out.dtype.kind == "i" else (3, 201))
                fill(out, law, seed, stream, rng, shape, (first,))
            else:
                out = fill(np.zeros(n, DTYPES[dtype_name]), DIGEST_CASES[name], seed, stream, rng, shape, (first,))
            crc = zlib.crc32(out.tobytes(), crc)
        assert f"{crc:08x}" == digest, first
