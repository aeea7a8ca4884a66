"""The stream format, version 2, in NumPy: slow, scalar where that is plainer, bit for bit.

Written from docs/stream-format.md and cpp/tables/quantile_tables.csv alone; section titles below are that page's.
It owes nothing to the C++ code and imports no fastinit: the two agree only because both follow the page. Words come
from NumPy integers, values from IEEE arithmetic plus an emulated fused multiply-add (Boldo, Melquiond, "Emulation of
FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE Trans. Computers 57(4), 2008).
"""

from __future__ import annotations

import csv
import functools
import hashlib
import math
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

TABLES = Path(__file__).resolve().parent.parent / "cpp" / "tables" / "quantile_tables.csv"
M64 = 2**64 - 1

# The quantile at p = 1/4: above it the probability of a bound is counted from its tail, below it from the median.
QUARTILE = float.fromhex("0x1.5956b87528a49p-1")
LN2 = float.fromhex("0x1.62e42fefa39efp-1")
# The standard deviation of N(0, 1) cut at -2 and 2.
CUT_STD = 0.87962566103423978


# --- Fused multiply-add ---------------------------------------------------------------------------------------------


def _to_odd(high: F64, low: F64) -> F64:
    """high + low rounded to odd, for an exact pair: high = RN64(high + low)."""
    bits = high.view(np.int64)
    move = (low != 0) & np.isfinite(high) & (bits & 1 == 0)
    step = np.where((low > 0) == (high > 0), 1, -1)
    odd: F64 = (bits + np.where(move, step, 0)).view(np.float64)
    return odd


def _two_sum(a: F64, b: F64) -> tuple[F64, F64]:
    """(s, e), s = RN64(a + b), s + e = a + b exactly (Knuth)."""
    s = a + b
    b_part = s - a
    return s, (a - (s - b_part)) + (b - b_part)


def _split(a: F64) -> tuple[F64, F64]:
    """a as a sum of two numbers of at most 26 bits (Veltkamp)."""
    c = a * 134217729.0
    high = c - (c - a)
    return high, a - high


def _two_product(a: F64, b: F64) -> tuple[F64, F64]:
    """(p, e), p = RN64(a b), p + e = a b exactly (Dekker)."""
    p = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    return p, a_low * b_low - (((p - a_high * b_high) - a_low * b_high) - a_high * b_low)


def fma_scalar(a: float, b: float, c: float) -> float:
    """RN64(a b + c) for finite floats, in integers."""
    (an, ad), (bn, bd), (cn, cd) = a.as_integer_ratio(), b.as_integer_ratio(), c.as_integer_ratio()
    n, d = an * bn * cd + cn * ad * bd, ad * bd * cd
    if n == 0:
        return a * b + c
    try:
        magnitude = abs(n) / d  # int / int is correctly rounded, with subnormals
    except OverflowError:
        magnitude = math.inf
    return magnitude if n > 0 else -magnitude


def fma32(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> F32:
    """RN32(a b + c). The product is exact in float64; the sum, rounded to odd, has enough bits to be rounded again."""
    x, y, z = (np.asarray(v, np.float32).astype(np.float64) for v in (a, b, c))
    with np.errstate(all="ignore"):
        high, low = _two_sum(*np.broadcast_arrays(np.atleast_1d(x * y), z))
        return _to_odd(high, low).astype(np.float32).reshape(np.broadcast_shapes(x.shape, y.shape, z.shape))


def fma64(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike) -> F64:
    """RN64(a b + c), by Boldo and Melquiond where every step stays far from the ends of the range, else in integers."""
    given = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (a, b, c)))
    shape = given[0].shape
    x, y, z = (np.ascontiguousarray(v).reshape(-1) for v in given)
    with np.errstate(all="ignore"):
        product, product_error = _two_product(x, y)
        t, t_error = _two_sum(z, product_error)
        v, v_error = _two_sum(product, t)
        result = v + _to_odd(*_two_sum(t_error, v_error))

        # No rounding in a b, or an operand that is not finite: the plain formula (but a b must not overflow first).
        finite = np.isfinite(x) & np.isfinite(y)
        plain = ~(finite & np.isfinite(z)) | (x == 0) | (y == 0)
        result = np.where(plain, np.where(finite & ~np.isfinite(z), z, x * y + z), result)

        ex, ey, ez = (np.frexp(v)[1] for v in (x, y, z))
        safe = (np.abs(ex) < 980) & (np.abs(ey) < 980) & (ex + ey > -900) & (ex + ey < 1000) & (ez < 1000)
        safe &= (z == 0) | (ez > -900)
    for i in np.flatnonzero(~(plain | safe)):
        result[i] = fma_scalar(float(x[i]), float(y[i]), float(z[i]))
    return result.reshape(shape)


def _fma(a: npt.ArrayLike, b: npt.ArrayLike, c: npt.ArrayLike, working: np.dtype[Any]) -> Array:
    return fma32(a, b, c) if working == np.float32 else fma64(a, b, c)


# --- Words ----------------------------------------------------------------------------------------------------------


def stream_number(stream: int | str) -> int:
    """The 64-bit integer that a stream stands for."""
    if isinstance(stream, str):
        return int.from_bytes(hashlib.blake2b(stream.encode("utf-8"), digest_size=8).digest(), "little")
    return _u64(stream, "stream")


def _u64(value: int, name: str) -> int:
    if not 0 <= value <= M64:
        raise ValueError(f"{name} must be in [0, 2**64), got {value}")
    return int(value)


def _times(a: int, b: int) -> int:
    """The product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (FIPS-197, 4.2)."""
    result = 0
    for bit in range(8):
        if b >> bit & 1:
            result ^= a << bit
    for bit in range(14, 7, -1):
        if result >> bit & 1:
            result ^= 0x11B << (bit - 8)
    return result


def _make_s_box() -> U8:
    """FIPS-197, 5.1.1: the inverse in GF(2^8), then an affine map over GF(2)."""
    box = []
    for x in range(256):
        inverse = next((y for y in range(256) if _times(x, y) == 1), 0)
        rotations = (inverse << i | inverse >> (8 - i) for i in range(5))
        box.append(functools.reduce(lambda p, q: p ^ q, rotations) & 0xFF ^ 0x63)
    return np.array(box, np.uint8)


S_BOX = _make_s_box()
TWICE = np.array([_times(2, x) for x in range(256)], np.uint8)
THRICE = np.array([_times(3, x) for x in range(256)], np.uint8)


def aes_round(state: U8, key: U8, last: bool) -> U8:
    """AESENC (last: AESENCLAST) on states of shape (..., 16); byte b is row b mod 4, column b div 4."""
    s = S_BOX[state].reshape(*state.shape[:-1], 4, 4)  # [..., column, row]
    column = np.arange(4)
    s = np.stack([s[..., (column + row) % 4, row] for row in range(4)], axis=-1)
    if not last:
        s = TWICE[s] ^ THRICE[np.roll(s, -1, -1)] ^ np.roll(s, -2, -1) ^ np.roll(s, -3, -1)
    result: U8 = s.reshape(state.shape) ^ key
    return result


def _bytes(low: U64, high: U64) -> U8:
    """The 16 little-endian bytes of each 128-bit quantity (low, high); shape (n, 16)."""
    halves = np.stack(np.broadcast_arrays(low, high), axis=-1).astype("<u8")
    return np.ascontiguousarray(halves).view(np.uint8)


def _ars(low: U64, high: U64, key_low: int, key_high: int, rounds: int) -> U32:
    def round_key(r: int) -> U8:
        k_low = key_low + r * 0x9E3779B97F4A7C15 & M64
        k_high = key_high + r * 0xBB67AE8584CAA73B & M64
        return np.frombuffer(struct.pack("<QQ", k_low, k_high), np.uint8)

    state = _bytes(low, high) ^ round_key(0)
    for r in range(1, rounds + 1):
        state = aes_round(state, round_key(r), last=r == rounds)
    return np.ascontiguousarray(state).view("<u4").astype(np.uint32)


def ars(seed: int, stream: int, blocks: U64, rounds: int = 7) -> U32:
    """The blocks with these numbers; shape (n,) -> (n, 4)."""
    blocks = np.asarray(blocks, np.uint64).reshape(-1)
    return _ars(blocks, np.zeros_like(blocks), _u64(seed, "seed"), _u64(stream, "stream"), rounds)


def ars4x32(counter: Sequence[int], key: Sequence[int], rounds: int) -> U32:
    """Random123's function of the same name: four counter words, four key words -> (4,)."""
    low, high, key_low, key_high = (w[0] | w[1] << 32 for w in (counter[:2], counter[2:], key[:2], key[2:]))
    return _ars(np.array([low], np.uint64), np.array([high], np.uint64), key_low, key_high, rounds).reshape(4)


def _philox(c0: U64, c1: U64, c2: U64, c3: U64, k0: int, k1: int, rounds: int) -> U32:
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(rounds):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = p1 >> half ^ c1 ^ np.uint64(k0), p1 & low, p0 >> half ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = k0 + 0x9E3779B9 & 0xFFFFFFFF, k1 + 0xBB67AE85 & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def philox(seed: int, stream: int, blocks: U64, rounds: int = 10) -> U32:
    """The blocks with these numbers; shape (n,) -> (n, 4)."""
    seed, stream = _u64(seed, "seed"), _u64(stream, "stream")
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    blocks = np.asarray(blocks, np.uint64).reshape(-1)
    c2, c3 = (np.full_like(blocks, v) for v in (stream & 0xFFFFFFFF, stream >> 32))
    return _philox(blocks & low, blocks >> half, c2, c3, seed & 0xFFFFFFFF, seed >> 32, rounds)


def philox4x32(counter: Sequence[int], key: Sequence[int], rounds: int) -> U32:
    """Random123's function of the same name: four counter words, two key words -> (4,)."""
    c0, c1, c2, c3 = (np.array([c], np.uint64) for c in counter)
    return _philox(c0, c1, c2, c3, key[0], key[1], rounds).reshape(4)


GENERATORS: dict[str, Callable[[int, int, U64], U32]] = {"ars": ars, "philox": philox}


def words(rng: str, seed: int, stream: int, index: U64, bits: int) -> Array:
    """The 32- or 64-bit words with these indices, as uint32 or uint64, in the shape of index."""
    index = np.asarray(index, np.uint64)
    flat = index.reshape(-1)
    if bits == 32:
        block, place = flat >> np.uint64(2), flat & np.uint64(3)
        values: Array = GENERATORS[rng](seed, stream, block)[np.arange(flat.size), place.astype(np.intp)]
        return values.reshape(index.shape)
    if bits != 64:
        raise ValueError(f"bits must be 32 or 64, got {bits}")
    # 32-bit words 2 i and 2 i + 1 lie in block 2 i div 4 = i div 2; 2 i itself may not fit 64 bits.
    block, place = flat >> np.uint64(1), flat & np.uint64(1)
    pairs = GENERATORS[rng](seed, stream, block).astype(np.uint64).reshape(-1, 2, 2)
    chosen = pairs[np.arange(flat.size), place.astype(np.intp)]
    values = chosen[:, 0] | chosen[:, 1] << np.uint64(32)
    return values.reshape(index.shape)


# --- From a value in the working type to an element -------------------------------------------------------------------


class Format(NamedTuple):
    """An element type: bits of the significand, exponents of its least and greatest normal numbers.

    ``missing`` is how many of its numbers the greatest exponent lacks, from the largest one on.
    """

    precision: int
    least: int
    greatest: int
    word_bits: int
    missing: int = 0


FORMATS = {
    "float64": Format(53, -1022, 1023, 64),
    "float32": Format(24, -126, 127, 32),
    "float16": Format(11, -14, 15, 32),
    "bfloat16": Format(8, -126, 127, 32),
    "float8_e4m3fn": Format(4, -6, 8, 32, missing=1),
    "float8_e5m2": Format(3, -14, 15, 32),
}


def round_to(x: float, name: str, direction: str = "nearest") -> float:
    """x rounded once to the type: to nearest even, or "up" or "down" to a neighbour. A zero made or met by the last two
    is +0."""
    if not math.isfinite(x) or x == 0:
        return x if direction == "nearest" else x + 0.0
    form = FORMATS[name]
    quantum = Fraction(2) ** (max(math.frexp(x)[1] - 1, form.least) - form.precision + 1)
    scaled = Fraction(x) / quantum
    value = {"nearest": round(scaled), "up": math.ceil(scaled), "down": math.floor(scaled)}[direction] * quantum
    largest = (2 - (1 + form.missing) * Fraction(2) ** (1 - form.precision)) * Fraction(2) ** form.greatest
    if abs(value) > largest:
        inwards = "down" if x > 0 else "up"
        return math.copysign(float(largest) if direction == inwards else math.inf, x)
    return float(value) if value or direction != "nearest" else math.copysign(0.0, x)


def _types(w: Array, dtype: npt.DTypeLike) -> tuple[np.dtype[Any], np.dtype[Any], int]:
    """(element type, working type, B) for words of one dimension or more, whose width must be the element type's."""
    element = np.dtype(dtype)
    if element.name not in FORMATS:
        raise TypeError(f"no such element type: {element}")
    bits = FORMATS[element.name].word_bits
    if w.dtype != np.dtype(f"uint{bits}"):
        raise TypeError(f"{element} takes uint{bits} words, got {w.dtype}")
    return element, np.dtype(f"float{bits}"), bits


def _narrow(y: Array, element: np.dtype[Any]) -> Array:
    """Values of the working type as elements: unchanged, or rounded to nearest even to a smaller type."""
    if element.name == "float16":
        with np.errstate(all="ignore"):
            return y.astype(element)
    if element.name == "bfloat16":
        code = np.ascontiguousarray(y).view(np.uint32)
        code = code + (np.uint32(0x7FFF) + (code >> np.uint32(16) & np.uint32(1)))  # NaN is not met here
        halves: Array = (code >> np.uint32(16)).astype(np.uint16).view(element)
        return halves
    if element.name.startswith("float8"):
        form = FORMATS[element.name]
        wide = np.abs(y.astype(np.float64))
        exponent = np.where(wide == 0, form.least, np.maximum(np.frexp(wide)[1] - 1, form.least))
        units = np.rint(np.ldexp(wide, form.precision - 1 - exponent))
        # Codes count the units of the least exponent, and go on by as many for each one above it.
        codes = units + (exponent - form.least) * 2 ** (form.precision - 1)
        bytes_: Array = (codes.astype(np.uint8) | np.signbit(y).astype(np.uint8) << 7).view(element)
        return bytes_
    return y


def _bound(y: Array, bottom: float, top: float) -> Array:
    kind = y.dtype.type
    y = np.where(y < kind(bottom), kind(bottom), y)
    return np.where(y > kind(top), kind(top), y)


def _constant(w: Array, value: float, element: np.dtype[Any], working: np.dtype[Any]) -> Array:
    return _narrow(np.full(w.shape, round_to(value, element.name), working), element)


# --- Uniform on [low, high) -------------------------------------------------------------------------------------------


def uniform(w: Array, dtype: npt.DTypeLike, low: float, high: float) -> Array:
    """Elements uniform on [low, high)."""
    element, working, bits = _types(w, dtype)
    low, high = float(low), float(high)
    if low == high:
        return _constant(w, low + 0.0, element, working)
    half = round_to(high / 2 - low / 2, working.name)
    mid = round_to(high / 2 + low / 2, working.name)
    v = (w | w.dtype.type(1)).view(f"int{bits}")
    y = _fma(v.astype(working) * working.type(2.0 ** (1 - bits)), working.type(half), working.type(mid), working)
    bottom = round_to(low, element.name, "up")
    top = round_to(math.nextafter(high, -math.inf), element.name, "down")
    return _narrow(_bound(y, bottom, top), element)


# --- The normal quantile ----------------------------------------------------------------------------------------------


@functools.cache
def tables() -> dict[str, list[tuple[float, ...]]]:
    """Table name -> pieces -> coefficients from the constant one up."""
    result: dict[str, list[tuple[float, ...]]] = {}
    with TABLES.open(newline="") as file:
        for name, piece, *coefficients in list(csv.reader(file))[1:]:
            rows = result.setdefault(name, [])
            if int(piece) != len(rows):
                raise ValueError(f"piece {piece} of table {name} is out of order")
            rows.append(tuple(map(float.fromhex, coefficients)))
    return result


FIRST_OCTAVE = {"normal_f32": -16, "normal_f64": -72, "far": 3}


def _scalar_piece(table: str, f: float) -> tuple[int, float]:
    """The piece of f and its t; f > 0."""
    mantissa, exponent = math.frexp(f)
    octave, m = exponent - 1 - FIRST_OCTAVE[table], 2 * mantissa
    if table == "normal_f32":
        return octave, 0.75 - m / 2
    half = 1 if m >= 1.5 else 0
    return 2 * octave + half, m - 1.25 - half / 2


def _pieces(table: str, f: Array) -> tuple[npt.NDArray[np.intp], Array]:
    """_scalar_piece, for arrays."""
    mantissa, exponent = np.frexp(f)
    octave, m = exponent.astype(np.intp) - 1 - FIRST_OCTAVE[table], mantissa + mantissa
    if table == "normal_f32":
        return octave, np.float32(0.75) - mantissa
    half = (m >= 1.5).astype(np.intp)
    return 2 * octave + half, m - 1.25 - half / 2


def _scalar_polynomial(table: str, piece: int, t: float) -> float:
    rows = tables()[table]
    if not 0 <= piece < len(rows):
        raise IndexError(f"piece {piece} of table {table}")
    c = rows[piece]
    value = c[-1]
    for k in reversed(c[:-1]):
        value = fma_scalar(value, t, k)
    return value


def _polynomial(table: str, piece: npt.NDArray[np.intp], t: Array, scale: float = 1.0) -> Array:
    """P(t), each with the coefficients of its piece, times scale, by Horner's rule in the type of t."""
    rows = (np.array(tables()[table]) * scale).astype(t.dtype)
    if piece.size and not (piece.min() >= 0 and piece.max() < len(rows)):
        raise IndexError(f"pieces {piece.min()} .. {piece.max()} of table {table}")
    c = rows[piece]
    value: Array = c[..., -1]
    if table == "normal_f32":  # the last coefficient is also that of the next power
        value = _fma(value, t, value, t.dtype)
    for k in range(c.shape[-1] - 2, -1, -1):
        value = _fma(value, t, c[..., k], t.dtype)
    return value


def ratio(f: Array, scale: float) -> Array:
    """R'(f): the quantile at p = f / 2^B, over h = 1/2 - p, times scale, in the type of f."""
    with np.errstate(under="ignore"):
        if f.dtype == np.float32:
            return _polynomial("normal_f32", *_pieces("normal_f32", f), scale)
        return _polynomial("normal_f64", *_pieces("normal_f64", f)) * scale


def ratio64(f: float) -> float:
    """R(f) in float64, for one f."""
    return _scalar_polynomial("normal_f64", *_scalar_piece("normal_f64", f))


# --- Normal (mean, std) -----------------------------------------------------------------------------------------------


def _top(bits: int) -> Any:
    """The largest number of the working type below N / 2."""
    real = np.dtype(f"float{bits}").type
    return np.nextafter(real(2.0 ** (bits - 1)), real(0))


def _fma_with_mean(x: Array, h: Array, mean: float) -> Array:
    """RN(x h + M)."""
    working = x.dtype
    with np.errstate(all="ignore"):
        return _fma(x, h, working.type(round_to(mean, working.name)), working)


def _mirrored(w: Array, start: Any, step: Any, mean: float, width: float) -> Array:
    """A word is a signed integer, whose sign is that of the element; its distance from the largest counts from the
    tails inwards, f = start + step k."""
    bits = 8 * w.dtype.itemsize
    working = np.dtype(f"float{bits}")
    negative = w > w.dtype.type(2 ** (bits - 1) - 1)
    distance = np.where(negative, ~w + w.dtype.type(1), w)
    top = _top(bits)
    k = np.minimum(w.dtype.type(2 ** (bits - 1)) - distance, w.dtype.type(top))
    f = np.maximum(_fma(k.astype(working), step, start, working), working.type(0.5))
    least, u = (2.0**-60, 64) if bits == 32 else (2.0**-900, 256)
    u = u if width < least else 0
    g = w.view(f"int{bits}").astype(working) * working.type(2.0**-u)
    return _fma_with_mean(ratio(f, width * 2.0 ** (u - bits)), g, mean)


def normal(w: Array, dtype: npt.DTypeLike, mean: float, std: float) -> Array:
    """Elements normal with this mean and standard deviation."""
    element, working, _ = _types(w, dtype)
    mean, std = float(mean), float(std)
    if std == 0:
        return _constant(w, mean, element, working)
    return _narrow(_mirrored(w, 0, 1, mean, std), element)


# --- Truncated normal (mean, std, low, high) --------------------------------------------------------------------------


def _bits(f: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", f))[0])


def _float(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


def _search(low: float, high: float, goes_up: Callable[[float], bool]) -> tuple[float, float]:
    """Neighbouring encodings (lo, hi), by halving: mid becomes lo where goes_up(mid), else hi."""
    lo, hi = _bits(low), _bits(high)
    while hi - lo > 1:
        mid = (lo + hi) // 2
        if goes_up(_float(mid)):
            lo = mid
        else:
            hi = mid
    return _float(lo), _float(hi)


def tail64(f: float) -> float:
    """F(f): the quantile at p = f 2^-64."""
    return ratio64(f) * fma_scalar(-f, 2.0**-64, 0.5)


def centre64(c: float) -> float:
    """C(c): the quantile at p = 1/2 - c."""
    return ratio64(fma_scalar(-c, 2.0**64, 2.0**63 - 2.0**10)) * c


def far64(level: float) -> float:
    """G(L): the quantile at p = exp(-L)."""
    return _scalar_polynomial("far", *_scalar_piece("far", level))


@functools.cache
def tail_and_centre(x: float) -> tuple[float, float]:
    """(Q(x), 1/2 - Q(x)) for x >= 0."""
    if x == 0:
        return 0.5, 0.0
    if x >= QUARTILE:
        if x > tail64(2.0**-72):
            return 0.0, 0.5
        q = _search(2.0**-72, 2.0**62, lambda f: tail64(f) > x)[1] * 2.0**-64
        return q, 0.5 - q
    c = _search(0.0, 0.25, lambda c: centre64(c) < x)[1]
    return 0.5 - c, c


class SymmetricSetup(NamedTuple):
    """f as a linear function of the integer that counts from the tails, in the working type, and the probability of
    the window."""

    start: Any
    step: Any
    probability: float


def symmetric_setup(b: float, bits: int) -> SymmetricSetup:
    """The parameters of the symmetric form for the window [-b, b] in standard deviations."""
    working = np.dtype(f"float{bits}")
    real, top = working.type, _top(bits)
    q, c = tail_and_centre(b)
    start = min(real(q * 2.0**bits), top)
    step = min(real(2 * c), (top - start) / top)
    while _fma(top, step, start, working) > top:
        step = np.nextafter(step, real(0))
    return SymmetricSetup(start, step, 2 * c)


class NearSetup(NamedTuple):
    """What the near form needs beside the words, in the working type. h is divided by scale, f counts 1 / N."""

    w0: int
    start_l: Any
    start_u: Any
    median_l: Any
    median_u: Any
    step: Any
    pace: Any
    scale: float


@functools.cache
def near_setup(a: float, b: float, bits: int) -> NearSetup:
    """The parameters of the near form for the window [a, b], a < 4, b >= 0, in standard deviations."""
    n = 2.0**bits
    real = np.dtype(f"float{bits}").type
    (qa, ca), (qb, cb) = tail_and_centre(abs(a)), tail_and_centre(b)
    w0 = 0
    if a < 0:
        d = ca + cb
        w0 = 0 if d == 0 else min(round(ca / d * n), 2**32 - 1 if bits == 32 else 2**64 - 2048)
    else:
        d = cb - ca if a < QUARTILE else qa - qb
    g = d / (2 * n)
    share = w0 / n
    unit = 2.0**64 if d < 2.0**-60 else 1.0
    m = math.frexp(d)[0] if d > 0 else 1.0
    return NearSetup(
        w0=w0,
        start_l=real(qa * n + d / 2),
        start_u=real(qb * n + d / 2),
        median_l=real((fma_scalar(-d, share, ca) + g) / m * unit),
        median_u=real((fma_scalar(d, share, -ca) + g if a < 0 else ca + g) / m * unit),
        step=real(d),
        pace=real(d / m / n * unit),
        scale=m / unit,
    )


def _near(w: Array, a: float, b: float, flip: bool, mean: float, std: float) -> Array:
    """The near form for (already flipped) words W."""
    bits = 8 * w.dtype.itemsize
    working = np.dtype(f"float{bits}")
    w0, start_l, start_u, median_l, median_u, step, pace, scale = near_setup(a, b, bits)
    upper = w >= w.dtype.type(w0)
    n = np.where(upper, ~w, w)
    d = np.where(upper, w - w.dtype.type(w0), w.dtype.type((w0 - 1) % 2**bits) - w)
    f = np.minimum(_fma(n.astype(working), step, np.where(upper, start_u, start_l), working), _top(bits))
    h = _fma(d.astype(working), pace, np.where(upper, median_u, median_l), working)
    sign = np.where(upper != flip, working.type(1), working.type(-1))
    return _fma_with_mean(ratio(f, std * scale), sign * h, mean)


def minus_log(r: float, y: float) -> float:
    """E(r, y) = -ln r, r = 1 - y."""
    if y < 0.25:
        s = y / (2 - y)
        return s * _scalar_polynomial("log", 0, s * s)
    m, exponent = math.frexp(r)
    k = -exponent
    if m < 0.75:
        m, k = 2 * m, k + 1
    s = (1 - m) / (1 + m)
    return fma_scalar(float(k), LN2, s * _scalar_polynomial("log", 0, s * s))


def _minus_log(r: F64, y: F64) -> F64:
    """minus_log, for arrays."""
    m, exponent = np.frexp(r)
    doubled = m < 0.75
    m, k = np.where(doubled, 2 * m, m), doubled.astype(np.float64) - exponent
    small = y < 0.25
    s = np.where(small, y / (2 - y), (1 - m) / (1 + m))
    with np.errstate(under="ignore"):
        t = s * s
        product = s * _polynomial("log", np.zeros(s.shape, np.intp), t)
    return np.where(small, product, fma64(k, LN2, product))


@functools.cache
def level_of(x: float) -> float:
    """L with G(L) = x, for x >= 4: La, and Lb where b is finite."""
    return _search(8.0, 2.0**60, lambda level: far64(level) < x)[1]


class FarSetup(NamedTuple):
    """The level of a and the share of the tail beyond b."""

    level: float
    rho: float
    delta: float


@functools.cache
def far_setup(a: float, b: float) -> FarSetup:
    """The parameters of the far form for the window [a, b], a >= 4, in standard deviations."""
    level = level_of(a)
    drop = (math.inf if b == math.inf else level_of(b)) - level
    if drop > 700:
        return FarSetup(level, 0.0, 1.0)
    if drop > 1.5:
        rho = _search(2.0**-1020, 0.25, lambda r: minus_log(r, 1 - r) >= drop)[0]
        return FarSetup(level, rho, 1 - rho)
    delta = _search(0.0, 1.0, lambda y: not minus_log(1 - y, y) >= drop)[1]
    return FarSetup(level, 1 - delta, delta)


def _far(w: Array, a: float, b: float, flip: bool, mean: float, std: float) -> F64:
    """The far form for (already flipped) words W."""
    bits = 8 * w.dtype.itemsize
    level, rho, delta = far_setup(a, b)
    cell, half_cell = 2.0**-bits, 2.0 ** -(bits + 1)
    u, u_bar = (fma64(v.astype(np.float64), cell, half_cell) for v in (w, ~w))
    with np.errstate(under="ignore"):
        y = delta * u
    levels = level + _minus_log(fma64(delta, u_bar, rho), y)
    levels = np.minimum(levels, math.nextafter(2.0**60, 0))
    z = _polynomial("far", *_pieces("far", levels))
    return fma64(z, -std if flip else std, mean)


def truncated(
    w: Array, dtype: npt.DTypeLike, mean: float, std: float, low: float, high: float, bounds: str = "absolute"
) -> Array:
    """Elements normal with this mean and standard deviation, kept in [low, high]: bounds "absolute" or in "std"."""
    element, working, bits = _types(w, dtype)
    mean, std, low, high = float(mean), float(std), float(low), float(high)
    if not low < high or not std >= 0 or bounds not in ("absolute", "std"):
        raise ValueError(f"no such window: mean {mean}, std {std}, low {low}, high {high}, bounds {bounds}")
    alpha, beta = low, high
    if bounds == "std":
        # An infinite bound stays infinite, also times a std of 0.
        low, high = (v if math.isinf(v) else mean + v * std for v in (low, high))
    most = float(np.finfo(np.float64).max)  # bottom and top are finite
    bottom, top = round_to(max(low, -most), element.name, "up"), round_to(min(high, most), element.name, "down")
    if std == 0:
        value = np.full(w.shape, round_to(mean, element.name), working)
        return _narrow(_bound(value, bottom, top), element)
    if bounds == "absolute":
        alpha, beta = (low - mean) / std, (high - mean) / std
    flip = beta <= 0
    a, b = (-beta, -alpha) if flip else (alpha, beta)
    if flip:
        w = ~w
    if a >= 4:
        with np.errstate(all="ignore"):
            y = _far(w, a, b, flip, mean, std).astype(working)
    elif alpha == -beta:
        start, step, probability = symmetric_setup(beta, bits)
        y = _mirrored(w, start, step, mean, std * probability)
    else:
        y = _near(w, a, b, flip, mean, std)
    return _narrow(_bound(y, bottom, top), element)


# --- Integers ---------------------------------------------------------------------------------------------------------


def integers(w: Array, dtype: npt.DTypeLike, low: int, high: int, endpoint: bool = False) -> Array:
    """Elements low + floor(w n / 2^32), in Python's integers."""
    n = high - low + endpoint
    return np.array([low + (int(word) * n >> 32) for word in w], dtype)


# --- Named initialisers, and whole tensors ----------------------------------------------------------------------------


def scaled_parameters(distribution: str, gain: float, scale: float, n: float) -> tuple[Any, ...]:
    """What follows (w, dtype) in the call of `uniform`, `normal` or `truncated`, for this gain, scale and fan."""
    std = gain * math.sqrt(scale / n)
    if distribution == "normal":
        return 0.0, std
    if distribution == "uniform":
        high = gain * math.sqrt(3 * (scale / n))
        return -high, high
    if distribution == "truncated":
        return 0.0, std / CUT_STD, -2.0, 2.0, "std"
    raise ValueError(f"no such distribution: {distribution}")


DISTRIBUTIONS: dict[str, Callable[..., Array]] = {"uniform": uniform, "normal": normal, "truncated": truncated}


def logical_index(shape: Sequence[int], global_shape: Sequence[int], offset: Sequence[int]) -> U64:
    """Row-major indices, in a tensor of global_shape, of the box of this shape at offset."""
    index = np.zeros(tuple(shape), np.uint64)
    stride = 1
    for axis in reversed(range(len(shape))):
        place = [(offset[axis] + i) * stride & M64 for i in range(shape[axis])]
        line = np.array(place, np.uint64)
        index = index + line.reshape([-1 if k == axis else 1 for k in range(len(shape))])
        stride *= global_shape[axis]
    return index


def fill(
    shape: Sequence[int],
    dtype: npt.DTypeLike,
    distribution: str,
    parameters: Sequence[Any],
    rng: str = "ars",
    seed: int = 0,
    stream: int | str = 0,
    global_shape: Sequence[int] | None = None,
    offset: Sequence[int] | None = None,
) -> Array:
    """The box of this shape at offset of the tensor of global_shape.

    distribution is "uniform", "normal", "truncated" or "integers", with the parameters of that function, or
    "random_bits".
    """
    element = np.dtype(dtype)
    index = logical_index(shape, global_shape or shape, offset or [0] * len(shape)).reshape(-1)
    if distribution == "random_bits":
        if element not in (np.dtype(np.uint32), np.dtype(np.uint64)):
            raise TypeError(f"random_bits fills uint32 or uint64, not {element}")
        values = words(rng, seed, stream_number(stream), index, 8 * element.itemsize)
    elif distribution == "integers":
        values = integers(words(rng, seed, stream_number(stream), index, 32), element, *parameters)
    else:
        w = words(rng, seed, stream_number(stream), index, FORMATS[element.name].word_bits)
        values = DISTRIBUTIONS[distribution](w, element, *parameters)
    return values.reshape(tuple(shape))


# --- Structured initialisers ----------------------------------------------------------------------------------------


def identity(shape: tuple[int, int], dtype: npt.DTypeLike, gain: float) -> Array:
    """The whole matrix."""
    out = np.zeros(shape, dtype)
    for i in range(min(shape)):
        out[i, i] = gain
    return out


def dirac(shape: tuple[int, ...], dtype: npt.DTypeLike, groups: int) -> Array:
    """The whole tensor, of a shape (out, in, *kernel)."""
    out = np.zeros(shape, dtype)
    m = shape[0] // groups
    for g in range(groups):
        for d in range(min(m, shape[1]) if out.size else 0):
            place = (g * m + d, d, *(size // 2 for size in shape[2:]))
            out[place] = 1
    return out


def sparse(
    shape: tuple[int, int], dtype: npt.DTypeLike, sparsity: float, std: float, rng: str, seed: int, stream: int | str
) -> Array:
    """The whole matrix."""
    out = fill(shape, dtype, "normal", (0.0, std), rng, seed, stream)
    n_rows, n_columns = shape
    low = (n_rows - 1).bit_length() if n_rows else 0
    keys = fill((n_columns, n_rows), np.uint64, "random_bits", (), rng, seed, f"sparse {stream_number(stream)}")
    for j in range(n_columns):
        ranked = sorted(range(n_rows), key=lambda i: (int(keys[j, i]) >> low << low) | i)
        for i in ranked[: math.ceil(sparsity * n_rows)]:
            out[i, j] = 0
    return out


def orthogonal(shape: tuple[int, ...], gain: float, layout: str, rng: str, seed: int, stream: int | str) -> Array:
    """The whole tensor in extended precision: the orthogonal one that is nearest to the definition by one more pass."""
    rows = shape[0] if layout == "torch" else math.prod(shape[:-1])
    columns = math.prod(shape) // rows
    tall = (max(rows, columns), min(rows, columns))
    q = fill(tall, np.float64, "normal", (0.0, 1.0), rng, seed, stream).astype(np.longdouble)
    for j in range(tall[1]):
        for _ in range(2):  # what cancellation leaves of the first pass goes in the second
            q[:, j] -= q[:, :j] @ (q[:, :j].T @ q[:, j])
        q[:, j] /= np.sqrt((q[:, j] ** 2).sum())
    return (gain * (q if rows >= columns else q.T)).reshape(shape)
