"""The oracle checked against what others published or what mpmath computes, so that agreement with it means something.

The others are FIPS-197 and Random123's known answers (github.com/DEShawResearch/random123, tests/kat_vectors and
tests/old_kat_vectors); besides, there is exact arithmetic. No test here imports fastinit itself.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from mpmath import mp, mpf  # type: ignore[import-untyped]

import reference

Array = npt.NDArray[Any]

INF = math.inf
ONES = {32: 2**32 - 1, 64: 2**64 - 1}


# --- Fused multiply-add ---------------------------------------------------------------------------------------------


def is_rounded(got: Any, exact: Fraction) -> bool:
    """Whether a NumPy scalar is the number nearest to exact, ties to even."""
    kind = type(got)
    info = np.finfo(kind)
    if np.isinf(got):
        half_step = Fraction(float(info.max)) - Fraction(float(np.nextafter(info.max, kind(0))))
        return abs(exact) >= Fraction(float(info.max)) + half_step / 2 and (got > 0) == (exact > 0)
    error = abs(Fraction(float(got)) - exact)
    odd = int(got.view(f"u{got.itemsize}")) & 1
    with np.errstate(over="ignore"):
        neighbours = [np.nextafter(got, kind(side)) for side in (-INF, INF)]
    for other in neighbours:
        if np.isfinite(other):
            distance = abs(Fraction(float(other)) - exact)
            if distance < error or (distance == error and odd):
                return False
    return True


def nasty_triples(kind: type[Any], n: int) -> tuple[Array, Array, Array]:
    """Ties, cancellations, subnormal and huge results beside plain random numbers."""
    rng = np.random.default_rng(3)
    info = np.finfo(kind)
    digits, least, most = info.nmant + 1, info.minexp - info.nmant, info.maxexp

    def numbers(low: int, high: int) -> Array:
        mantissa = rng.integers(1, 2**digits, n) >> rng.integers(0, digits, n)
        sign = rng.choice([-1.0, 1.0], n)
        # In two steps, because 2^(exponent) itself may not be a normal number.
        exponent = rng.integers(low, high, n) - digits
        scaled = np.ldexp(np.ldexp((sign * mantissa).astype(kind), exponent // 2), exponent - exponent // 2)
        result: Array = scaled.astype(kind)
        return result

    with np.errstate(all="ignore"):
        wide = [numbers(least, most) for _ in range(3)]
        tame = [numbers(-3, 4) for _ in range(3)]
        a, b = numbers(-8, 9), numbers(-8, 9)
        rounded_off = (a, b, -(a * b))  # the result is the rounding error of the product
        nearly = (a, b, np.nextafter(-(a * b), kind(INF)))
        powers = np.ldexp(kind(1), rng.integers(-digits - 3, -digits + 4, n)).astype(kind)
        ties = (powers, np.where(a > 0, kind(1), kind(-1)) + 0 * a, np.rint(numbers(2, digits + 1)))
        shift = rng.integers(least - 2, least + 2 * digits, n)
        left = shift // 2
        small = (np.ldexp(a, left).astype(kind), np.ldexp(b, shift - left).astype(kind), numbers(least, least + 9))
        half = most // 2
        huge = (np.ldexp(a, half - 5).astype(kind), np.ldexp(b, half).astype(kind), numbers(most - 3, most + 1))
        factor_huge = (np.ldexp(a, most - 9).astype(kind), np.ldexp(b, -half).astype(kind), numbers(half, half + 9))
        groups = [wide, tame, rounded_off, nearly, ties, small, huge, factor_huge]
        x, y, z = (np.concatenate([group[i] for group in groups]).astype(kind) for i in range(3))
    finite = np.isfinite(x) & np.isfinite(y) & np.isfinite(z)
    return x[finite], y[finite], z[finite]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_fma_rounds_once(kind: type[Any]) -> None:
    x, y, z = nasty_triples(kind, 1200)
    got = (reference.fma32 if kind is np.float32 else reference.fma64)(x, y, z)
    assert got.dtype == kind
    assert np.isinf(got).any()
    assert ((got != 0) & (np.abs(got) < np.finfo(kind).tiny)).any()
    for a, b, c, d in zip(x, y, z, got, strict=True):
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        assert is_rounded(d, exact), (a.hex(), b.hex(), c.hex(), d.hex())
        if kind is np.float64:
            assert reference.fma_scalar(float(a), float(b), float(c)) == d
    with np.errstate(all="ignore"):
        two_roundings = x * y + z
    assert np.mean(got != two_roundings) > 0.05  # otherwise these inputs show nothing


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_fma_of_zeros_infinities_and_nan(kind: type[Any]) -> None:
    special = np.array([0.0, -0.0, 1.0, -1.0, INF, -INF, math.nan], kind)
    a, b, c = (v.ravel() for v in np.meshgrid(special, special, special))
    with np.errstate(all="ignore"):
        expected = a * b + c
    got = (reference.fma32 if kind is np.float32 else reference.fma64)(a, b, c)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(np.signbit(got)[~np.isnan(got)], np.signbit(expected)[~np.isnan(got)])
    big = np.finfo(kind).max
    fma = reference.fma32 if kind is np.float32 else reference.fma64
    assert fma([big], [big], [-INF])[0] == -INF  # the product must not overflow first


def test_integers_become_floats_to_nearest_even() -> None:
    rng = np.random.default_rng(4)
    w = rng.integers(0, 2**64, 2000, dtype=np.uint64) >> rng.integers(0, 64, 2000).astype(np.uint64)
    halfway = (2**53 + np.arange(200, dtype=np.uint64)) * np.uint64(1024) + np.uint64(512)
    for v in (np.concatenate([w, halfway, ~halfway, [np.uint64(ONES[64])]]),):
        assert v.astype(np.float64).tolist() == [float(i) for i in v.tolist()]
        signed = v.view(np.int64)
        assert signed.astype(np.float64).tolist() == [float(i) for i in signed.tolist()]
        short = v.astype(np.uint32)
        assert all(is_rounded(f, Fraction(i)) for f, i in zip(short.astype(np.float32), short.tolist(), strict=True))


# --- Words ------------------------------------------------------------------------------------------------------------


def test_aes_round_encrypts_as_in_fips_197() -> None:
    def expand(key: bytes) -> list[Array]:
        columns = [list(key[i : i + 4]) for i in range(0, 16, 4)]
        constant = 1
        for i in range(4, 44):
            t = columns[-1]
            if i % 4 == 0:
                t = [int(reference.S_BOX[v]) for v in t[1:] + t[:1]]
                t[0] ^= constant
                constant = constant << 1 ^ (0x11B if constant & 0x80 else 0)
            columns.append([x ^ y for x, y in zip(columns[i - 4], t, strict=True)])
        return [np.array(columns[i : i + 4], np.uint8).reshape(16) for i in range(0, 44, 4)]

    def encrypt(text: str, key: str) -> str:
        keys = expand(bytes.fromhex(key))
        state = np.frombuffer(bytes.fromhex(text), np.uint8) ^ keys[0]
        for r in range(1, 11):
            state = reference.aes_round(state, keys[r], last=r == 10)
        return state.tobytes().hex()

    # Appendix B, and its first round alone; appendix C.1.
    cipher = encrypt("3243f6a8885a308d313198a2e0370734", "2b7e151628aed2a6abf7158809cf4f3c")
    assert cipher == "3925841d02dc09fbdc118597196a0b32"
    start, key = (
        np.frombuffer(bytes.fromhex(h), np.uint8)
        for h in ("193de3bea0f4e22b9ac68d2ae9f84808", "a0fafe1788542cb123a339392a6c7605")
    )
    assert reference.aes_round(start, key, last=False).tobytes().hex() == "a49c7ff2689f352b6b5bea43026a5049"
    cipher = encrypt("00112233445566778899aabbccddeeff", "000102030405060708090a0b0c0d0e0f")
    assert cipher == "69c4e0d86a7b0430d8cdb78070b4c55a"


# rounds, then counter, key and result in hexadecimal words. The 10-round lines are all of tests/kat_vectors, the
# 7-round ones are picked from tests/old_kat_vectors.
ARS_ANSWERS = """
10 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 8d73ee19 506401ef 13c2dbe4 0cbe9c0d
10 243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0 082efa98 ec4e6c89 a516e7d6 8357ad74 5b59b3ec 8763fff3
10 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 00000000 00000000 bb3743b1 9f635551 ecbc87fc a19478a9
7 00000001 00000000 00000000 00000000 00000001 00000000 00000000 00000000 3523162b dc14d20c 79184077 72184193
7 00000100 00000000 00000000 00000000 00000001 00000000 00000000 00000000 6fb6e62d 68b661a4 6f1280f3 22cdb932
7 00800000 00000000 00000000 00000000 ff000000 00000000 00000000 00000000 316ed3b1 7ebb4320 8d4e502c 19b9a17b
7 00000000 00000000 00008000 00000000 00000000 00000000 00ff0000 00000000 5c3e62f5 5fa35cd6 e42d2934 8ea2df61
7 00000000 00000000 00ff0000 00000000 00000000 00000000 00000000 80000000 757d6cfb f7030e88 9248f577 32a75662
7 e6212845 7713d038 cf6654be 6c0ce934 00000000 00000000 00000000 80000000 394a7bc3 4d049c56 b0e3d5a5 dcb070b5
7 886a3f24 d308a385 2e8a1913 44737003 00010000 00000000 00000000 00000000 a1f28e94 d9c2bd6e d1aefdb8 06de12b5
"""

PHILOX_ANSWERS = """
7 00000000 00000000 00000000 00000000 00000000 00000000 5f6fb709 0d893f64 4f121f81 4f730a48
7 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 5207ddc2 45165e59 4d8ee751 8c52f662
7 243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0 4dfccaba 190a87f0 c47362ba b6b5242a
10 00000000 00000000 00000000 00000000 00000000 00000000 6627e8d5 e169c58d bc57ac4c 9b00dbd8
10 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 408f276d 41c83b0e a20bc7c6 6d5451fd
10 243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0 d16cfe09 94fdcceb 5001e420 24126ea1
"""


def answers(lines: str) -> list[tuple[int, list[int]]]:
    rows = [line.split() for line in lines.split("\n") if line]
    return [(int(row[0]), [int(v, 16) for v in row[1:]]) for row in rows]


@pytest.mark.parametrize(("rounds", "v"), answers(ARS_ANSWERS))
def test_ars_known_answers(rounds: int, v: list[int]) -> None:
    assert reference.ars4x32(v[:4], v[4:8], rounds).tolist() == v[8:]
    if not any(v[2:4]):
        seed, stream, block = v[4] | v[5] << 32, v[6] | v[7] << 32, v[0] | v[1] << 32
        assert reference.ars(seed, stream, np.array([block], np.uint64), rounds).tolist() == [v[8:]]


@pytest.mark.parametrize(("rounds", "v"), answers(PHILOX_ANSWERS))
def test_philox_known_answers(rounds: int, v: list[int]) -> None:
    assert reference.philox4x32(v[:4], v[4:6], rounds).tolist() == v[6:]
    seed, stream, block = v[4] | v[5] << 32, v[2] | v[3] << 32, v[0] | v[1] << 32
    assert reference.philox(seed, stream, np.array([block], np.uint64), rounds).tolist() == [v[6:]]


@pytest.mark.parametrize("rng", ["ars", "philox"])
def test_words_come_from_their_blocks(rng: str) -> None:
    seed, stream = 0x0123456789ABCDEF, 2**64 - 3
    block_of = reference.GENERATORS[rng]
    for i in (0, 1, 2, 3, 4, 7, 2**33 + 5, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1):
        index = np.array([i], np.uint64)
        block = block_of(seed, stream, np.array([i // 4], np.uint64))[0].tolist()
        assert reference.words(rng, seed, stream, index, 32).tolist() == [block[i % 4]]
        block = block_of(seed, stream, np.array([2 * i // 4], np.uint64))[0].tolist()
        expected = block[2 * i % 4] | block[2 * i % 4 + 1] << 32
        assert reference.words(rng, seed, stream, index, 64).tolist() == [expected]
    index = np.arange(24, dtype=np.uint64).reshape(2, 3, 4)
    whole = reference.words(rng, seed, stream, index, 32)
    assert whole.shape == index.shape
    assert whole.dtype == np.uint32
    assert len(set(whole.ravel().tolist())) == 24
    pairs = whole.reshape(-1, 2).astype(np.uint64)
    halves = reference.words(rng, seed, stream, np.arange(12, dtype=np.uint64), 64)
    np.testing.assert_array_equal(halves, pairs[:, 0] | pairs[:, 1] << np.uint64(32))


def test_stream_number() -> None:
    # `printf %s NAME | b2sum -l 64` prints these bytes, the lowest first.
    published = {
        "": "e4a6a0577479b2b4",
        "a": "40f89e395b66422f",
        "conv1.weight": "df032c31bde61868",
        "größe/重み": "48aa35edf9189e07",
    }
    for name, digest in published.items():
        assert reference.stream_number(name).to_bytes(8, "little").hex() == digest
    assert reference.stream_number(2**64 - 1) == 2**64 - 1
    for wrong in (-1, 2**64):
        with pytest.raises(ValueError, match="stream"):
            reference.stream_number(wrong)


# --- Rounding to element types ----------------------------------------------------------------------------------------


def kind_of(name: str) -> np.dtype[Any]:
    return np.dtype(name if name in ("float16", "float32") else getattr(pytest.importorskip("ml_dtypes"), name))


TOP_CODES = {
    "float16": 0x7BFF,
    "float32": 0x7F7FFFFF,
    "bfloat16": 0x7F7F,
    "float8_e4m3fn": 0x7E,
    "float8_e5m2": 0x7B,
}


@pytest.mark.parametrize("name", TOP_CODES)
def test_round_to_agrees_with_all_values_of_the_type(name: str) -> None:
    kind = kind_of(name)
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 2 ** (8 * kind.itemsize), 300).astype(f"u{kind.itemsize}")
    top_code = TOP_CODES[name]
    codes = np.concatenate([codes, np.array([0, 1, 2, top_code - 1, top_code, top_code // 2], codes.dtype)])
    sign_bit = codes.dtype.type(1 << (8 * kind.itemsize - 1))
    for code in codes & ~sign_bit:
        if code > top_code - 1:
            continue
        x, above = (float(v) for v in np.array([code, code + 1], codes.dtype).view(kind).astype(np.float64))
        middle = (x + above) / 2
        assert reference.round_to(x, name, "down") == reference.round_to(x, name, "up") == x
        assert reference.round_to(middle, name, "down") == x
        assert reference.round_to(middle, name, "up") == above
        assert reference.round_to(-middle, name, "down") == -above
        assert reference.round_to(-middle, name, "up") == -x
        assert reference.round_to(middle, name) == (above if code & 1 else x)
        assert reference.round_to(math.nextafter(middle, 0), name) == x
        assert reference.round_to(math.nextafter(middle, INF), name) == above
    top = float(np.array([top_code], codes.dtype).view(kind)[0])
    assert reference.round_to(2 * top, name, "down") == top
    assert reference.round_to(2 * top, name, "up") == INF
    assert reference.round_to(-2 * top, name) == -INF
    assert reference.round_to(-2 * top, name, "up") == -top
    assert math.copysign(1, reference.round_to(-1e-300, name, "up")) == 1
    assert math.copysign(1, reference.round_to(-0.0, name, "down")) == 1


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_small_elements_are_the_rounded_float32_stream(name: str) -> None:
    kind = kind_of(name)
    w = random_words(32, 4000)
    rng = np.random.default_rng(7)
    # float32 codes a whole number of quarter steps of the smaller type apart: values, ties and what lies between.
    quarter = {"bfloat16": 0x4000, "float16": 0x0800, "float8_e4m3fn": 2**18, "float8_e5m2": 2**19}[name]
    top = np.array([TOP_CODES[name]], f"u{kind.itemsize}").view(kind).astype(np.float32).view(np.uint32)[0]
    codes = rng.integers(0x36000000, int(top) + 1, 1000) if kind.itemsize == 1 else rng.integers(0, 0x7F800000, 1000)
    codes = codes // quarter * quarter + rng.integers(0, 2, 1000) * 2**31
    y = codes.astype(np.uint32).view(np.float32)
    if name == "float16":
        y = np.concatenate(
            [y, np.ldexp(y, -np.frexp(y)[1] // 8), np.arange(160).astype(np.float32) * np.float32(2**-26)]
        )
    got = reference._narrow(y, kind).astype(np.float64)
    assert got.tolist() == [reference.round_to(v, name) for v in y.tolist()]
    for scale in (1.0, 1e-5, 1e-39):
        expected = reference.normal(w, np.float32, 0.25 * scale, scale).astype(kind)
        got = reference.normal(w, kind, 0.25 * scale, scale)
        assert got.dtype == kind
        assert got.tobytes() == expected.tobytes()
    for low, high in ((-0.3, 0.7), (0.1, 0.1015 if kind.itemsize == 2 else 0.126), (-1.0, 0.0), (1 / 3, 3.0)):
        for values in (reference.truncated(w, kind, 0, 0.3, low, high), reference.uniform(w, kind, low, high)):
            assert values.astype(np.float64).min() >= low
            assert values.astype(np.float64).max() <= high
        assert values.astype(np.float64).max() < high


# --- Uniform ----------------------------------------------------------------------------------------------------------


def random_words(bits: int, n: int) -> Array:
    kind = np.dtype(f"uint{bits}")
    return np.random.default_rng(6).integers(0, ONES[bits], n, dtype=kind.type, endpoint=True)


def edge_words(bits: int) -> list[int]:
    """Both ends, the middle, and either side of each power of two counted from both ends."""
    edges = {0, 1, 2, ONES[bits]}
    for e in range(bits):
        edges |= {2**e - 1, 2**e, 2**e + 1, 3 * 2**e // 2}
    edges |= {ONES[bits] - v for v in edges} | {v ^ 1 << (bits - 1) for v in edges}
    return sorted(v for v in edges if 0 <= v <= ONES[bits])


def some_words(bits: int, n: int, seed: int = 8) -> Array:
    edges = np.array(edge_words(bits), f"uint{bits}")
    chosen = np.random.default_rng(seed).choice(edges, n)
    always = [edges[:2], edges[-2:]] + [edges[np.abs(edges - 2.0 ** (bits - k)) < 2] for k in (1, 2)]
    return np.unique(np.concatenate([chosen, *always, random_words(bits, n)]))


@pytest.mark.parametrize("name", ["float32", "float64", "float16"])
@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-1, 1), (-3, 7), (1e6, 1e6 + 1), (1 / 3, 2 / 3), (-1e-6, 0), (0.1, 0.11), (-1, 1e-3)]
)
def test_uniform_stays_in_bounds_and_is_exact_to_a_few_ulp(name: str, low: float, high: float) -> None:
    if name == "float16" and low == 1e6:
        low, high = 1000.0, 1010.0
    bits = 64 if name == "float64" else 32
    w = np.array(edge_words(bits), f"uint{bits}")
    y = reference.uniform(w, name, low, high).astype(np.float64)
    assert y.min() >= low
    assert y.max() < high
    ulp = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11}[name]
    allowed = 3 * ulp * max(abs(low), abs(high)) + (2.0**-24 if name == "float16" else 0)  # a subnormal step
    for wi, yi in zip(w.tolist(), y.tolist(), strict=True):
        v = (wi | 1) - (2 << (bits - 1) if wi >> (bits - 1) else 0)
        exact = (Fraction(high) + Fraction(low)) / 2 + Fraction(v, 2**bits) * (Fraction(high) - Fraction(low))
        assert abs(Fraction(yi) - exact) <= allowed, hex(wi)


def test_uniform_words_and_complements_mirror() -> None:
    w = random_words(32, 1000)
    np.testing.assert_array_equal(reference.uniform(w, "f4", -1, 1), -reference.uniform(~w, "f4", -1, 1))
    assert not np.signbit(reference.uniform(np.array(edge_words(32), np.uint32), "f4", -0.0, 1)).any()
    np.testing.assert_array_equal(reference.uniform(w, "f4", 0.1, 0.1), np.float32(0.1))


# --- Normal and truncated normal against mpmath -----------------------------------------------------------------------


def upper_tail(x: float) -> Any:
    return mp.erfc(mpf(x) / mp.sqrt(2)) / 2


def error(y: float, target: Any) -> float:
    """y minus the exact quantile at the upper tail probability target; y is so near that one Newton step is enough."""
    return float((target - upper_tail(y)) / (mp.exp(-(mpf(y) ** 2) / 2) / mp.sqrt(2 * mp.pi)))


# What the roundings allow, relative to the result, in units of u = 2^-24 or 2^-53. A rounding costs at most 1 u. The
# terms are: the table's fit with rounded coefficients, at most 2.2 in float32 (the next test) and 0.95 in float64; the
# last step of Horner's rule (those before it count for 0.05); h, or the word in its place; f, which counts for 0.2 as
# much, the largest |d ln R / d ln p|; the product of R and h.
#   normal:    the word and f are rounded once
#   truncated: h and f are rounded three times at most: the integer, the constant it is multiplied with, the sum
NORMAL_F32 = (2.2 + 1.05 + 1 + 0.2 + 1) * 2.0**-24
NORMAL_F64 = (0.95 + 1.05 + 1 + 0.2 + 1) * 2.0**-53
TRUNCATED_F32 = (2.2 + 1.05 + 3 + 0.2 * 3 + 1) * 2.0**-24
# The same sum would be 6.6 in float64, but there the errors of the bounds' own probabilities, some u, come on top.
TRUNCATED_F64 = 8 * 2.0**-53
# Where the median lies between words of a window that is not symmetric, it is known to this.
MEDIAN = 2.0**-52


def test_fit_of_the_float32_table() -> None:
    """What the limits above assume: evaluated exactly, the table is within 2.2 u of the ratio; f counts for 0.2."""
    with mp.workprec(120):
        for piece, row in enumerate(reference.tables()["normal_f32"]):
            rounded = [mpf(float(np.float32(c))) for c in (*row, row[-1])]
            for t in np.linspace(-0.25, 0.25, 25)[1:].tolist():
                p = mpf(2) ** (piece - 16 - 32) * (mpf(1.5) - 2 * mpf(t))
                fit = sum(c * mpf(t) ** i for i, c in enumerate(rounded))
                # One Newton step from the fit itself is exact to about the square of its error.
                x = fit * (0.5 - p)
                density = mp.exp(-(x**2) / 2) / mp.sqrt(2 * mp.pi)
                exact = x - (p - upper_tail(x)) / density
                assert abs(x / exact - 1) <= 2.2 * 2.0**-24, (piece, t)
                assert abs(p / (0.5 - p) - p / (exact * density)) <= 0.2, (piece, t)


def signed(word: int, bits: int) -> int:
    return word - (word >> (bits - 1) << bits)


def distance_from_the_end(word: int, bits: int) -> Any:
    """In units of 2^-B, for words that are signed numbers; the one without a partner stands for half a unit."""
    return max((1 << (bits - 1)) - abs(signed(word, bits)), mpf(0.5))


@pytest.mark.parametrize("bits", [32, 64])
def test_normal_against_mpmath(bits: int) -> None:
    w = np.array(edge_words(bits) + random_words(bits, 400).tolist(), f"uint{bits}")
    y = reference.normal(w, f"float{bits}", 0, 1)
    with mp.workprec(240):
        for wi, yi in zip(w.tolist(), y.tolist(), strict=True):
            assert np.sign(yi) == np.sign(signed(wi, bits))
            z = abs(yi)
            difference = error(z, distance_from_the_end(wi, bits) / mpf(2) ** bits)
            # Small values too keep their relative precision.
            assert abs(difference) <= (NORMAL_F32 if bits == 32 else NORMAL_F64) * z, (hex(wi), yi, difference)


@pytest.mark.parametrize("bits", [32, 64])
def test_the_power_of_two_in_std_moves_the_exponent_alone(bits: int) -> None:
    """Also where scale would be subnormal or nearly, as long as the values themselves are normal numbers."""
    kind = f"float{bits}"
    w = some_words(bits, 300)
    y = reference.normal(w, kind, 0, 1.25)
    cut = reference.truncated(w, kind, 0, 1.25, -1, 1, "std")
    for e in (1, -1, -59, -60, -61, -62, 100) if bits == 32 else (1, -1, -62, -899, -900, -901, -902, -950, 1000):
        std = math.ldexp(1.25, e)
        np.testing.assert_array_equal(reference.normal(w, kind, 0, std), np.ldexp(y, e))
        np.testing.assert_array_equal(reference.truncated(w, kind, 0, std, -1, 1, "std"), np.ldexp(cut, e))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("std", [0.7, 1e-25, 1e-38, 1e-44, 1e-310, 1e37])
def test_any_std_against_mpmath(std: float, bits: int) -> None:
    """Coefficients are rounded after they are scaled, to subnormal numbers too."""
    kind = np.dtype(f"float{bits}")
    w = some_words(bits, 60)
    with np.errstate(under="ignore"):
        y = reference.normal(w, kind, 0, std).astype(np.float64)
    least = float(np.finfo(kind).smallest_subnormal)
    limit = (NORMAL_F32 if bits == 32 else NORMAL_F64 + 2 * 2.0**-53) + least
    with mp.workprec(240):
        for wi, yi in zip(w.tolist(), y.tolist(), strict=True):
            p = distance_from_the_end(wi, bits) / mpf(2) ** bits
            z = reference.normal(np.array([wi], w.dtype).astype(w.dtype), kind, 0, 1).astype(np.float64)[0]
            exact = (mpf(float(z)) - error(abs(float(z)), p) * int(np.sign(z))) * mpf(std)
            assert abs(yi - exact) <= limit * abs(exact) + 0.75 * least, (hex(wi), yi)


WINDOWS = [
    (-2, 2), (2, 3), (5, 6), (8, INF), (-INF, -7), (-0.001, 0.001), (-1, 1e-6), (3.9, 50), (0, INF), (-3, 0.5),
    (-1e-36, 1e-36), (0, 1e-36), (-1e-35, 1e-36),
    (-INF, INF), (100, 101), (-INF, 0), (0.6, 0.7), (4, 4.001), (4.5, 4.7), (3.999, 4.001), (1e-10, 2e-10),
    (-40, -3), (13, INF), (-1, 2), (-2, 1), (-0.5, 0.5), (-1e-8, 1e-8), (-5, 5), (-0.1, 3), (-INF, 1), (1, 1 + 1e-6),
]  # fmt: skip


def truncated_errors(w: Array, low: float, high: float, bits: int) -> tuple[Array, Array]:
    """The elements that these words give on [low, high], and how far they are from what the words stand for."""
    y = reference.truncated(w, f"float{bits}", 0, 1, low, high)
    errors = []
    with mp.workprec(240):
        above_a, above_b = (upper_tail(x) for x in ((-high, -low) if high <= 0 else (low, high)))
        for wi, yi in zip(w.tolist(), y.tolist(), strict=True):
            if low == -high:
                sign = -1 if signed(wi, bits) < 0 else 1
                from_end = (1 << (bits - 1)) - abs(signed(wi, bits))
                target = above_b + from_end / mpf(2) ** bits * (above_a - above_b)
                target = max(target, mpf(2) ** -(bits + 1))
            else:
                sign = -1 if high <= 0 else 1
                from_end = wi if high <= 0 else ONES[bits] - wi
                target = above_b + (from_end + mpf(0.5)) / mpf(2) ** bits * (above_a - above_b)
            errors.append(error(sign * yi, target))
    return y.astype(np.float64), np.array(errors)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(("low", "high"), WINDOWS)
def test_truncated_against_mpmath(low: float, high: float, bits: int) -> None:
    w = some_words(bits, 60)
    y, errors = truncated_errors(w, low, high, bits)
    assert y.min() >= low
    assert y.max() <= high
    allowed = (TRUNCATED_F32 if bits == 32 else TRUNCATED_F64) * np.abs(y) + MEDIAN
    assert (np.abs(errors) <= allowed).all(), (w[np.abs(errors) > allowed], errors)
    # Rises with the word, which is a signed number in a symmetric window.
    half = w.dtype.type(1 << (bits - 1))
    rising = np.concatenate([y[w >= half], y[w < half]]) if low == -high else y
    ulp = np.spacing(np.abs(rising).astype(f"float{bits}")).astype(np.float64)
    assert (np.diff(rising) >= -ulp[1:]).all()  # where two polynomials meet


def words_next_to_the_median(low: float, high: float, bits: int) -> Array:
    distance = [*range(10), *(2**e for e in range(4, bits - 1))]
    if low == -high:
        return np.array([v for d in distance for v in (d, -d & ONES[bits])], f"uint{bits}")
    flip = high <= 0
    w0 = reference.near_setup(*((-high, -low) if flip else (low, high)), bits).w0
    w = np.array([v for d in distance for v in (w0 - d, w0 + d) if 0 <= v <= ONES[bits]], f"uint{bits}")
    return ~w if flip else w


@pytest.mark.parametrize("bits", [32, 64])
def test_truncated_keeps_the_relative_precision_of_small_results(bits: int) -> None:
    relative = TRUNCATED_F32 if bits == 32 else TRUNCATED_F64
    one_sided = ((0.0, INF), (-INF, 0.0), (1e-10, 2e-10), (-0.3, -1e-7))
    symmetric = ((-2.0, 2.0), (-0.001, 0.001), (-1e-20, 1e-20))
    two_sided = ((-1.0, 1e-6), (-3.0, 0.5), (-INF, 1e-9), (-0.7, 2.0), (-1e-9, 8.0), (-INF, 1.0))
    for windows, absolute in ((one_sided + symmetric, 0.0), (two_sided, MEDIAN)):
        for low, high in windows:
            w = words_next_to_the_median(low, high, bits)
            y, errors = truncated_errors(w, low, high, bits)
            allowed = relative * np.abs(y) + absolute
            assert (np.abs(errors) <= allowed).all(), (low, high, w[np.abs(errors) > allowed])


@pytest.mark.parametrize("bits", [32, 64])
def test_steps_back_are_few_ulp_and_where_polynomials_meet(bits: int) -> None:
    kind = np.dtype(f"float{bits}")
    table = f"normal_f{bits}"
    for low, high in ((-INF, INF), (-2.0, 2.0), (-0.5, 0.5), (-3.0, 0.7), (0.5, INF), (0.67, 0.68), (-1e-9, 5.0)):
        if low == -high:
            start, step, _ = reference.symmetric_setup(high, bits)
            count = 2 ** (bits - 1)
        else:
            near = reference.near_setup(low, high, bits)
            start, step, count = near.start_u, near.step, 2**bits - near.w0
        # n counts from the upper end of the window, where f is start; about the n where the polynomials meet.
        meeting = {
            int((m * 2.0**octave - float(start)) / float(step)) + o
            for octave in range(bits - 1)
            for m in (1, 1.5)
            for o in range(-40, 41)
        }
        n = np.array(sorted(v for v in meeting if 0 < v < count), f"uint{bits}")
        assert n.size >= 80
        y = reference.truncated(n.dtype.type(count) - n if low == -high else ~n, kind, 0, 1, low, high)
        back = np.diff(y) / np.spacing(np.abs(y[1:]))  # falls as n rises
        f = np.clip(reference._fma(n.astype(kind), step, start, kind), kind.type(0.5), reference._top(bits))
        piece, _ = reference._pieces(table, f)
        assert back.max() <= 3, (low, high)
        assert back[np.diff(piece) == 0].max() <= 0, (low, high)


@pytest.mark.parametrize("kind", ["float32", "float64", "float16"])
def test_a_symmetric_window_is_mirrored_and_without_bounds_the_normal(kind: str) -> None:
    bits = 64 if kind == "float64" else 32
    w = some_words(bits, 200)
    for mean, std in ((0.0, 1.0), (0.25, 3.0), (0.25, 1e-20)):
        expected = reference.normal(w, kind, mean, std)
        np.testing.assert_array_equal(reference.truncated(w, kind, mean, std, -INF, INF), expected)
    y = reference.truncated(w, kind, 0, 1, -1.5, 1.5)
    alone = w == w.dtype.type(1 << (bits - 1))
    assert alone.sum() == 1
    mirrored = reference.truncated(w.dtype.type(0) - w, kind, 0, 1, -1.5, 1.5)
    np.testing.assert_array_equal(mirrored[~alone], -y[~alone])
    np.testing.assert_array_equal(mirrored[alone], y[alone])
    # Symmetry is that of the window in units of std.
    shifted = reference.truncated(w, kind, 3, 0.5, 2.25, 3.75)
    np.testing.assert_array_equal(shifted, reference.truncated(w, kind, 3, 0.5, -1.5, 1.5, "std"))
    first = np.zeros(1, w.dtype)
    assert reference.truncated(first, kind, 0.25, 1, -1.25, 1.75) == 0.25
    assert reference.truncated(first, kind, 0, 1, -1.5, math.nextafter(1.5, 2)) < -1.49


@pytest.mark.parametrize("x", [1e-300, 1e-9, 0.3, 0.6744, reference.QUARTILE, 0.6745, 1.0, 3.9, 8.0, 11.5, 13.0])
def test_probabilities_of_bounds(x: float) -> None:
    q, c = reference.tail_and_centre(x)
    with mp.workdps(400):
        exact = upper_tail(x)
        assert abs(q / exact - 1) < 2.0**-50 * max(1, x * x)  # the search is as good as the table: 2^-51 or so in x
        assert abs(c / (0.5 - exact) - 1) < 2.0**-50
    assert reference.tail_and_centre(0.0) == (0.5, 0.0)
    assert reference.tail_and_centre(14.0) == reference.tail_and_centre(INF) == (0.0, 0.5)


def test_scalar_and_array_forms_agree() -> None:
    # About both ends of each piece; 2^62 begins the last octave that there is.
    f = np.array([math.nextafter(m * 2.0**e, side) for e in range(-71, 63) for m in (1, 1.5) for side in (0, 1, INF)])
    f = np.concatenate([f, np.ldexp(1.0, np.arange(-72, 63)), np.ldexp(1.5, np.arange(-72, 63))])
    assert reference.ratio(f, 1.0).tolist() == [reference.ratio64(v) for v in f.tolist()]
    for table in ("normal_f64", "normal_f32"):
        g = f[(f >= 2.0**-16) & (f <= 2.0**30)].astype(np.float32) if table == "normal_f32" else f
        piece, t = reference._pieces(table, g)
        expected = [reference._scalar_piece(table, v) for v in g.tolist()]
        assert list(zip(piece.tolist(), t.tolist(), strict=True)) == expected
        assert piece.min() == 0
        assert piece.max() == len(reference.tables()[table]) - 1
        # A mantissa of 1 begins a piece, in float64 one of 1.5 too.
        begins = np.frexp(g)[0] == 0.5 if table == "normal_f32" else np.isin(np.frexp(g)[0], (0.5, 0.75))
        assert (np.abs(t) <= 0.25).all()
        assert ((t == (0.25 if table == "normal_f32" else -0.25)) == begins).all()
    y = np.concatenate([np.linspace(0.0, 1 - 2**-40, 300), 2.0 ** -np.arange(1, 900, 7)])
    pair = reference._minus_log(1 - y, y)
    assert pair.tolist() == [reference.minus_log(1 - v, v) for v in y.tolist()]
    with mp.workprec(200):
        for v, e in zip(y.tolist(), pair.tolist(), strict=True):
            # 1 - v is rounded, too.
            assert abs(mpf(e) + mp.log1p(-mpf(v))) <= 2.0**-51 * e + (2.0**-53 if v >= 0.25 else 0)


def test_mean_std_and_units_of_bounds() -> None:
    w = some_words(64, 200)
    z = reference.truncated(w, "f8", 0, 1, -1.5, 2.5)
    for mean, std in ((0.0, 0.02), (3.0, 0.5), (-1e-3, 1e-3)):
        absolute = reference.truncated(w, "f8", mean, std, mean - 1.5 * std, mean + 2.5 * std)
        units = reference.truncated(w, "f8", mean, std, -1.5, 2.5, "std")
        np.testing.assert_allclose(absolute, units, rtol=0, atol=1e-15 * max(abs(mean), std))
        np.testing.assert_allclose(units, mean + std * z, rtol=0, atol=1e-15 * (abs(mean) + 3 * std))
        np.testing.assert_allclose(
            reference.normal(w, "f8", mean, std), mean + std * reference.normal(w, "f8", 0, 1), rtol=1e-14, atol=1e-15
        )
    # The far form, and its mirror image.
    far = reference.truncated(w, "f8", -5.0, 1.0, 0.0, 0.25)
    np.testing.assert_array_equal(reference.truncated(~w, "f8", 5.0, 1.0, -0.25, 0.0), -far)
    np.testing.assert_allclose(far, reference.truncated(w, "f8", 0, 1, 5, 5.25) - 5, rtol=0, atol=2e-15)


def test_no_spread() -> None:
    w = random_words(32, 5)
    assert set(reference.normal(w, "f4", 0.1, 0).tolist()) == {float(np.float32(0.1))}
    assert set(reference.truncated(w, "f4", 0.1, 0, 0.5, 2).tolist()) == {0.5}
    assert set(reference.truncated(w, "f4", 0.1, 0, -INF, INF, "std").tolist()) == {float(np.float32(0.1))}


def test_windows_of_no_width_give_a_value_inside() -> None:
    for bits in (32, 64):
        w = some_words(bits, 20)
        for low in (-5e-324, -1e-3, 0.0, 0.5, reference.QUARTILE, 1.0, 3.9999, 4.0, 30.0, 1e6, 2e9, 1e300):
            high = math.nextafter(low, INF) if low != -5e-324 else 5e-324
            y = reference.truncated(w, "f8" if bits == 64 else "f4", 0, 1, low, high)
            kind = f"float{bits}"
            bottom, top = reference.round_to(low, kind, "up"), reference.round_to(high, kind, "down")
            assert set(y.tolist()) <= ({bottom, top, 0.0} if low < 0 < high else {bottom, top})


# --- Named initialisers, and whole tensors ----------------------------------------------------------------------------


def test_scaled_parameters() -> None:
    assert reference.scaled_parameters("normal", 1.0, 2.0, 512) == (0.0, 0.0625)  # he, fan_in 512
    assert reference.scaled_parameters("uniform", 1.0, 1.0, 3) == (-1.0, 1.0)  # xavier, fans 2 and 4
    mean, std, low, high, bounds = reference.scaled_parameters("truncated", 1.0, 1.0, 100)  # lecun, fan_in 100
    assert (mean, low, high, bounds) == (0.0, -2.0, 2.0, "std")
    values = reference.fill((200, 500), "f4", "truncated", (mean, std, low, high, bounds), seed=9)
    assert abs(values.std() / 0.1 - 1) < 0.01
    assert abs(values.mean()) < 0.001


@pytest.mark.parametrize(
    ("dtype", "distribution", "parameters"),
    [
        ("f4", "normal", (0, 1)),
        ("f8", "uniform", (-1, 1)),
        ("f2", "truncated", (0, 1, -2, 2)),
        ("f8", "truncated", (0, 1, 5, 6)),
        ("u4", "random_bits", ()),
        ("u8", "random_bits", ()),
        ("i1", "integers", (-127, 128)),
    ],
)
def test_a_box_is_the_box_of_the_whole(dtype: str, distribution: str, parameters: tuple[Any, ...]) -> None:
    whole = reference.fill((5, 7, 6), dtype, distribution, parameters, "philox", 3, "layer.0")
    box = reference.fill((2, 3, 4), dtype, distribution, parameters, "philox", 3, "layer.0", (5, 7, 6), (3, 2, 1))
    np.testing.assert_array_equal(box, whole[3:5, 2:5, 1:5])
    assert reference.fill((), dtype, distribution, parameters, "philox", 3, "layer.0") == whole[0, 0, 0]
    assert reference.fill((3, 0), dtype, distribution, parameters).shape == (3, 0)
    other = reference.fill((5, 7, 6), dtype, distribution, parameters, "philox", 3, "layer.1")
    assert np.mean(other == whole) < 0.01


def test_words_must_have_the_width_of_the_type() -> None:
    for kind, bits in (("f4", 64), ("f8", 32), ("f2", 64)):
        with pytest.raises(TypeError, match="words"):
            reference.normal(random_words(bits, 2), kind, 0, 1)
    with pytest.raises(TypeError, match="element type"):
        reference.normal(random_words(32, 2), "i4", 0, 1)
