"""What comes out follows the law that was asked for, and neighbours are independent.

Every law is written out here: its distribution function, and its moments from the textbook formulas in mpmath. Nothing
of it comes from fastinit. Each check ends in a p-value, which follows from the law and the sample's size alone:

- the mean of ((x - mean) / sd)^k, k = 1 .. 4 (mean, variance, skewness, kurtosis): expectation m_k and variance
  (m_2k - m_k^2) / n, with the law's standardised central moments m, and normal as n goes;
- Kolmogorov-Smirnov against the distribution function; Pearson's chi-square over 256 bins of equal probability;
- the numbers of values beyond 2, 3, 4, 5 standard deviations on either side: binomial.

float32 and float64 count as continuous: what is rounded to one float32 is at most 8e-6 of a law here, which moves no
edge of a bin by more than 0.1 of the bin's standard error. float16 and bfloat16 do not: their law gives each
representable value the probability of the cell that is rounded to it, from the distribution function at the cell's
edges; the moments are those of that law, and bins and tails are made of whole cells. (For a discrete law Kolmogorov's
p-values are upper bounds.)

A check fails below LIMIT. Seeds are fixed and were chosen before the first run. There are about 2100 checks, so by
Bonferroni a library without fault would fail one of them for at most one choice of seeds in 40 000. That each check can
fail is a test, too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from mpmath import mp, mpf  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray
from scipy import special, stats  # type: ignore[import-untyped, unused-ignore]

import fastinit

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Array = NDArray[Any]

LIMIT = 1e-8
N = 2_000_003  # odd, so that the last block and the last vector are partly filled
SEED = 20
N_BINS = 256
FLOATS = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)
RNGS = ("ars", "philox")


# --- laws -----------------------------------------------------------------------------------------------------------


class Moments(NamedTuple):
    mean: float
    std: float
    m: tuple[float, ...]  # standardised central moments, m[0] = 1 .. m[8]


class Uniform(NamedTuple):
    """U(low, high)."""

    low: float
    high: float

    def below(self, x: F64) -> F64:
        return np.clip((x - self.low) / (self.high - self.low), 0.0, 1.0)

    def moments(self) -> Moments:
        # E (x - mean)^k = h^k / (k + 1) for even k, h half the width; sd = h / sqrt(3)
        m = tuple(math.sqrt(3) ** k / (k + 1) if k % 2 == 0 else 0.0 for k in range(9))
        return Moments((self.low + self.high) / 2, (self.high - self.low) / math.sqrt(12), m)


class Normal(NamedTuple):
    """N(mean, std) between mean + alpha std and mean + beta std."""

    mean: float = 0.0
    std: float = 1.0
    alpha: float = -math.inf
    beta: float = math.inf

    @property
    def low(self) -> float:
        return self.mean + self.alpha * self.std

    @property
    def high(self) -> float:
        return self.mean + self.beta * self.std

    def below(self, x: F64) -> F64:
        a, b = self.alpha, self.beta
        z = np.clip((x - self.mean) / self.std, a, b)
        if b <= 0:
            return 1.0 - _share(-z, -b, -a)
        if a >= 0:
            return _share(z, a, b)
        inside: F64 = (special.ndtr(z) - special.ndtr(a)) / (special.ndtr(b) - special.ndtr(a))
        return inside

    def moments(self) -> Moments:
        mean, std, m = _cut_moments(self.alpha, self.beta)
        return Moments(self.mean + self.std * mean, self.std * std, m)


def _share(z: F64, a: float, b: float) -> F64:
    """(Q(a) - Q(z)) / (Q(a) - Q(b)) with the upper tail Q, for 0 <= a, by logarithms so that no tail underflows."""
    log_a, log_b = special.log_ndtr(-a), special.log_ndtr(-b)
    share: F64 = np.expm1(special.log_ndtr(-z) - log_a) / np.expm1(log_b - log_a)
    return share


@functools.cache
def _cut_moments(alpha: float, beta: float) -> Moments:
    """N(0, 1) cut to [alpha, beta]: m_k = (k - 1) m_(k-2) + (a^(k-1) phi(a) - b^(k-1) phi(b)) / P(a < z < b)."""
    with mp.workdps(100):

        def upper(x: float) -> Any:
            return mp.erfc(mpf(x) / mp.sqrt(2)) / 2

        def edge(x: float, k: int) -> Any:
            return mpf(0) if math.isinf(x) else mpf(x) ** k * mp.npdf(mpf(x))

        if alpha >= 0:
            mass = upper(alpha) - upper(beta)
        else:
            mass = upper(-beta) - upper(-alpha) if beta <= 0 else 1 - upper(-alpha) - upper(beta)
        raw = [mpf(1)]
        for k in range(1, 9):
            before = (k - 1) * raw[k - 2] if k > 1 else 0
            raw.append(before + (edge(alpha, k - 1) - edge(beta, k - 1)) / mass)
        central = [mp.fsum(mp.binomial(k, j) * raw[j] * (-raw[1]) ** (k - j) for j in range(k + 1)) for k in range(9)]
        std = mp.sqrt(central[2])
        return Moments(float(raw[1]), float(std), tuple(float(c / std**k) for k, c in enumerate(central)))


Law = Uniform | Normal


class Cells(NamedTuple):
    """A law rounded to a 16-bit type: the values in ascending order, and the probability of all up to each of them."""

    law: Law
    values: F64
    below: F64
    first: int  # sort key of the first value

    def moments(self) -> Moments:
        p = np.diff(self.below, prepend=0.0)
        mean = float(p @ self.values)
        std = math.sqrt(float(p @ (self.values - mean) ** 2))
        z = (self.values - mean) / std
        return Moments(mean, std, tuple(float(p @ z**k) for k in range(9)))


@functools.lru_cache(maxsize=4)
def cells(law: Law, dtype: np.dtype[Any]) -> Cells:
    # All patterns by value, -0 and +0 as one: key 0 is zero, keys k and -k are the patterns k with either sign.
    limit = 0x7C00 if dtype == np.float16 else 0x7F80  # infinity
    magnitudes = np.arange(limit, dtype=np.uint16).view(dtype).astype(np.float64)
    values = np.concatenate((-magnitudes[:0:-1], magnitudes))
    keys = np.arange(1 - limit, limit)
    inside = (law.low <= values) & ((values < law.high) if isinstance(law, Uniform) else (values <= law.high))
    if isinstance(law, Normal):  # no word reaches 10 standard deviations, and eighth powers must stay finite
        inside &= np.abs(values - law.mean) <= 100 * law.std
    values, keys = values[inside], keys[inside]
    # The library rounds to float32 and then to 16 bits, so a float32 halfway between two values goes to the even one
    # together with its own cell: the edge is half a float32 step beyond it. Values off the bounds are kept at the last
    # ones inside, whose cells therefore reach to the bounds.
    tie = ((values[:-1] + values[1:]) / 2).astype(np.float32)
    to_lower = keys[:-1] % 2 == 0
    step = np.nextafter(tie, np.where(to_lower, np.float32(np.inf), np.float32(-np.inf)))
    edges = (tie.astype(np.float64) + step.astype(np.float64)) / 2
    return Cells(law, values, np.append(law.below(edges), 1.0), int(keys[0]))


def cell_counts(x: Array, grid: Cells) -> I64:
    """How many elements have each of the grid's values. Elements with any other value are an error."""
    pattern = np.bincount(x.reshape(-1).view(np.uint16), minlength=1 << 16)
    positive, negative = pattern[: 1 << 15], pattern[1 << 15 :]
    by_key = np.concatenate((negative[:0:-1], positive))  # keys -0x7FFF .. 0x7FFF
    by_key[0x7FFF] += negative[0]
    start = grid.first + 0x7FFF
    counts: I64 = by_key[start : start + grid.values.size]
    assert counts.sum() == x.size, f"{x.size - counts.sum()} of {x.size} values are outside {grid.law} or not finite"
    return counts


# --- checks ---------------------------------------------------------------------------------------------------------


def p_of_deviate(z: float) -> float:
    """Two-sided, of a standard normal deviate."""
    return math.erfc(abs(z) / math.sqrt(2))


def p_of_count(count: int, n: int, p: float) -> float:
    """Two-sided, of a binomial count."""
    return float(min(1.0, 2 * min(stats.binom.cdf(count, n, p), stats.binom.sf(count - 1, n, p))))


def p_values(law: Law, x: Array) -> dict[str, float]:
    """The p-value of each check that x is a sample of law, rounded to the type of x."""
    n = x.size
    tail_points = {}
    if isinstance(law, Normal):
        tail_points = {t: law.mean + t * law.std for t in (-5, -4, -3, -2, 2, 3, 4, 5) if law.alpha < t < law.beta}
    tail_shares = {t: float(law.below(np.asarray(point))) for t, point in tail_points.items()}

    # The sample, reduced to: its moments, Kolmogorov's distance, and how many elements lie below points of the law.
    if x.dtype.itemsize == 2:
        grid = cells(law, x.dtype)
        counts = cell_counts(x, grid)
        want = grid.moments()
        z = (grid.values - want.mean) / want.std
        found = [float(counts @ z**k) / n for k in (1, 2, 3, 4)]
        share, number = grid.below, np.cumsum(counts)
        distance = float(np.abs(number / n - share).max())
    else:
        assert np.isfinite(x).all()
        assert law.low <= x.min()
        assert x.max() <= law.high
        assert isinstance(law, Normal) or x.max() < law.high
        values = x.reshape(-1).astype(np.float64)
        want = law.moments()
        z = (values - want.mean) / want.std
        square = z * z
        found = [float(z.mean()), float(square.mean()), float((square * z).mean()), float((square * square).mean())]
        u = np.sort(law.below(values))
        ranks = np.arange(n + 1) / n
        distance = float(max((ranks[1:] - u).max(), (u - ranks[:-1]).max()))
        share = np.sort(np.append(np.arange(1, N_BINS + 1) / N_BINS, list(tail_shares.values())))
        number = np.searchsorted(u, share, side="right")

    result = {}
    for k, name in enumerate(("mean", "variance", "skewness", "kurtosis"), 1):
        error = math.sqrt((want.m[2 * k] - want.m[k] ** 2) / n)
        result[name] = p_of_deviate((found[k - 1] - want.m[k]) / error)
    result["ks"] = float(special.kolmogorov(distance * math.sqrt(n)))

    # Bins of at least 1/256 each: from the last edge to the first point that is far enough.
    edges = [-1]
    reached = 0.0
    while reached + 1 / N_BINS <= 1.0:
        edges.append(int(np.searchsorted(share, reached + 1 / N_BINS)))
        reached = float(share[edges[-1]])
    edges[-1] = share.size - 1
    if len(edges) > 2:
        expected = n * np.diff(share[edges[1:]], prepend=0.0)
        observed = np.diff(number[edges[1:]], prepend=0)
        statistic = float(((observed - expected) ** 2 / expected).sum())
        result["bins"] = float(stats.chi2.sf(statistic, len(edges) - 2))

    for t, wanted in tail_shares.items():
        at = int(np.searchsorted(share, wanted))
        beyond, p = (int(number[at]), share[at]) if t < 0 else (n - int(number[at]), 1.0 - share[at])
        result[f"beyond {t}"] = p_of_count(beyond, n, float(p))
    return result


def failures(results: dict[str, float]) -> dict[str, float]:
    return {name: p for name, p in results.items() if not p >= LIMIT}


# --- each initialiser and each dtype --------------------------------------------------------------------------------

FAN_IN, FAN_OUT = 300, 500
FANS = {"fan_in": FAN_IN, "fan_out": FAN_OUT}


def uniform_law(variance: float) -> Law:
    bound = math.sqrt(3 * variance)
    return Uniform(-bound, bound)


def normal_law(variance: float) -> Law:
    return Normal(0.0, math.sqrt(variance))


def truncated_law(variance: float) -> Law:
    """N(0, s) cut at +-2 s, with s such that the variance after the cut is the one that was asked for."""
    # 1 - 2 * 2 phi(2) / P(-2 < z < 2)
    after = 1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(2 / math.sqrt(2))
    return Normal(0.0, math.sqrt(variance / after), -2.0, 2.0)


class Case(NamedTuple):
    law: Law
    function: Callable[..., Array]
    arguments: dict[str, Any]


def _cases() -> dict[str, Case]:
    mean_fan = (FAN_IN + FAN_OUT) / 2
    inputs = {"fan_in": FAN_IN}
    cases = {
        "xavier_uniform": Case(uniform_law(1 / mean_fan), fastinit.xavier_uniform, FANS),
        "xavier_uniform gain": Case(uniform_law(25 / 9 / mean_fan), fastinit.xavier_uniform, FANS | {"gain": 5 / 3}),
        "he_uniform": Case(uniform_law(2 / FAN_IN), fastinit.he_uniform, inputs),
        "he_uniform a": Case(uniform_law(2 / 6 / FAN_IN), fastinit.he_uniform, inputs | {"a": math.sqrt(5)}),
        "lecun_uniform": Case(uniform_law(1 / FAN_IN), fastinit.lecun_uniform, inputs),
    }
    for truncated, law in ((False, normal_law), (True, truncated_law)):
        kind = {"truncated": truncated}
        mark = " truncated" if truncated else ""
        tanh = FANS | {"gain": 5 / 3}
        cases |= {
            f"xavier_normal{mark}": Case(law(1 / mean_fan), fastinit.xavier_normal, FANS | kind),
            f"xavier_normal gain{mark}": Case(law(25 / 9 / mean_fan), fastinit.xavier_normal, tanh | kind),
            f"he_normal{mark}": Case(law(2 / FAN_IN), fastinit.he_normal, inputs | kind),
            f"he_normal a{mark}": Case(law(2 / 1.04 / FAN_IN), fastinit.he_normal, inputs | kind | {"a": 0.2}),
            f"lecun_normal{mark}": Case(law(1 / FAN_IN), fastinit.lecun_normal, inputs | kind),
        }
    laws = {"uniform": uniform_law, "normal": normal_law, "truncated_normal": truncated_law}
    sizes = {"fan_in": FAN_IN, "fan_out": FAN_OUT, "fan_avg": mean_fan, "fan_geo": math.sqrt(FAN_IN * FAN_OUT)}
    for distribution, law in laws.items():
        for mode, size in sizes.items():
            how = FANS | {"mode": mode, "distribution": distribution, "scale": 1.5}
            name = f"variance_scaling {mode} {distribution}"
            cases[name] = Case(law(1.5 / size), fastinit.variance_scaling, how)
    for low, high in ((0.0, 1.0), (-0.1, 0.1), (-3.0, 0.5)):
        how = {"low": low, "high": high}
        cases[f"uniform [{low}, {high})"] = Case(Uniform(low, high), fastinit.uniform, how)
    for mean, std in ((0.0, 1.0), (0.0, 0.02), (-0.5, 2.0)):
        how = {"mean": mean, "std": std}
        cases[f"normal({mean}, {std})"] = Case(Normal(mean, std), fastinit.normal, how)
    windows = [
        (-2.0, 2.0),
        (2.0, 3.0),
        (5.0, 6.0),
        (8.0, math.inf),
        (-math.inf, -7.0),
        (-0.001, 0.001),
        (-1.0, 3.0),
        (-0.5, math.inf),
        (40.0, 41.0),
    ]
    for low, high in windows:
        how = {"low": low, "high": high}
        cases[f"truncated_normal [{low}, {high}]"] = Case(Normal(0.0, 1.0, low, high), fastinit.truncated_normal, how)
    for mean, std, low, high in ((0.0, 0.02, -2.0, 2.0), (0.25, 0.5, -0.5, 4.0), (-1.0, 2.0, -math.inf, 3.5)):
        how = {"mean": mean, "std": std, "low": low, "high": high, "bounds": "std"}
        name = f"truncated_normal({mean}, {std}) [{low}, {high}] std"
        cases[name] = Case(Normal(mean, std, low, high), fastinit.truncated_normal, how)
    law_of_values = Normal(0.5, 2.0, (-1.0 - 0.5) / 2.0, (3.5 - 0.5) / 2.0)
    how = {"mean": 0.5, "std": 2.0, "low": -1.0, "high": 3.5, "bounds": "absolute"}
    cases["truncated_normal(0.5, 2.0) [-1.0, 3.5]"] = Case(law_of_values, fastinit.truncated_normal, how)
    return cases


CASES = _cases()


# Philox shares all but the words with ARS, so one case of each transform will do.
PHILOX = (
    "uniform [0.0, 1.0)",
    "xavier_uniform",
    "he_normal",
    "he_normal truncated",
    "truncated_normal [5.0, 6.0]",
    "truncated_normal [8.0, inf]",
)
# In float32 these have so few values that they are not continuous; float64 and the 16-bit types test the law.
COARSE = ("truncated_normal [40.0, 41.0]",)


@pytest.mark.parametrize(("name", "rng"), [(name, "ars") for name in CASES] + [(name, "philox") for name in PHILOX])
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: np.dtype(dtype).name)
def test_law(name: str, dtype: Any, rng: str) -> None:
    if name in COARSE and dtype == np.float32:
        return
    law, function, arguments = CASES[name]
    x = function(np.empty(N, dtype), **arguments, seed=SEED, stream=f"{name}/{np.dtype(dtype)}", bit_generator=rng)
    assert not failures(p_values(law, x))


@pytest.mark.parametrize("rng", RNGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_tails_of_the_normal(dtype: Any, rng: Any) -> None:
    """64 million values, of which some 38 should lie beyond 5 standard deviations."""
    counts = dict.fromkeys((3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0), np.zeros(2, np.int64))
    piece, pieces = 1 << 21, 32
    x = np.empty(piece, dtype)
    for i in range(pieces):
        where: dict[str, Any] = {"global_shape": (piece * pieces,), "offset": (i * piece,)}
        fastinit.normal(x, seed=SEED, stream="far tails", bit_generator=rng, **where)
        beyond = np.abs(x) > 3  # few, so that the rest costs nothing
        few = x[beyond]
        for t in counts:
            counts[t] = counts[t] + [np.count_nonzero(few < -t), np.count_nonzero(few > t)]
    results = {
        f"{side} {t}": p_of_count(int(count[index]), piece * pieces, float(special.ndtr(-t)))
        for t, count in counts.items()
        for index, side in enumerate(("below -", "above"))
    }
    assert not failures(results), counts


# --- independence ---------------------------------------------------------------------------------------------------


def lag_p_values(law: Law, x: Array) -> dict[str, float]:
    """Of the correlation of elements, and of their squares, that are `lag` apart.

    The sum of products of n - lag independent pairs of standardised values has mean 0 and variance n - lag. 1 .. 4 are
    the words of one block; the others are powers of two that vectors, groups of blocks and cache lines are made of.
    """
    mean, std, m = law.moments()
    z = (x.astype(np.float64) - mean) / std
    square = (z * z - 1) / math.sqrt(m[4] - 1)
    result = {}
    for lag in (1, 2, 3, 4, 8, 16, 32, 64, 256, 1024):
        for name, y in (("values", z), ("squares", square)):
            result[f"{name} {lag} apart"] = p_of_deviate(float(y[:-lag] @ y[lag:]) / math.sqrt(y.size - lag))
    return result


@pytest.mark.parametrize("rng", RNGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["he_normal", "xavier_uniform", "truncated_normal [5.0, 6.0]"])
def test_no_correlation_along_a_stream(name: str, dtype: Any, rng: str) -> None:
    law, function, arguments = CASES[name]
    x = function(np.empty(N, dtype), **arguments, seed=SEED, stream="lags", bit_generator=rng)
    assert not failures(lag_p_values(law, x))


def row_p_values(rows: Array) -> dict[str, float]:
    """Of the cosines between the rows of a matrix of independent N(0, 1).

    For n columns sqrt(n) cos has mean 0, variance 1 and lighter tails than a normal, and the cosines of any two pairs
    of rows are independent. The largest is judged by Bonferroni, the sum of squares as chi-square, which needs more
    columns than rows: then the dependence of three pairs at a time is small.
    """
    assert rows.shape[0] * 4 <= rows.shape[1]
    z = rows.astype(np.float64)
    z /= np.sqrt((z * z).mean(axis=1, keepdims=True))
    pairs = (z @ z.T)[np.triu_indices(len(z), 1)] / math.sqrt(z.shape[1])
    return {
        "largest": min(1.0, p_of_deviate(float(np.abs(pairs).max())) * pairs.size),
        "all": float(stats.chi2.sf(float(pairs @ pairs), pairs.size)),
    }


GOLDEN = 0x9E3779B97F4A7C15  # the step of the round keys' low half: seeds that are this far apart share round keys
NEIGHBOURS: dict[str, list[tuple[int, int | str]]] = {
    "seeds": [(s, 0) for s in range(64)],
    "large seeds": [(2**64 - 1 - s, 0) for s in range(64)],
    "seeds of one bit": [(1 << s, 0) for s in range(64)],
    "seeds of round keys": [(s * GOLDEN % 2**64, 0) for s in range(64)],
    "streams": [(SEED, s) for s in range(64)],
    "large streams": [(SEED, 2**64 - 1 - s) for s in range(64)],
    "streams of one bit": [(SEED, 1 << s) for s in range(64)],
    "seeds and streams": [(i, j) for i in range(8) for j in range(8)],
    "names": [(SEED, f"layer{i}.{part}") for i in range(32) for part in ("weight", "bias")],
}


@pytest.mark.parametrize("rng", RNGS)
@pytest.mark.parametrize("kind", NEIGHBOURS)
def test_no_correlation_between_neighbouring_streams(kind: str, rng: Any) -> None:
    rows = np.empty((64, 1 << 15), np.float32)
    for row, (seed, stream) in zip(rows, NEIGHBOURS[kind], strict=True):
        fastinit.normal(row, seed=seed, stream=stream, bit_generator=rng)
    assert not failures(row_p_values(rows))


@pytest.mark.parametrize("rng", RNGS)
def test_no_correlation_between_seeds_whose_blocks_meet(rng: Any) -> None:
    """ARS starts from block xor seed: block b of seed s and block b xor s of seed 0 start alike, and must part."""
    blocks = np.arange(1 << 13)
    rows = np.empty((64, 4 << 13), np.float32)
    for seed, row in enumerate(rows):
        fastinit.normal(row, seed=seed, bit_generator=rng)
        row.reshape(-1, 4)[:] = row.reshape(-1, 4)[blocks ^ seed]
    assert not failures(row_p_values(rows))


@pytest.mark.parametrize("rng", RNGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [4, 100, 1024, 4096, 1 << 18])
def test_no_correlation_between_rows_or_columns(columns: int, dtype: Any, rng: Any) -> None:
    matrix = np.empty(((1 << 20) // columns, columns), dtype)
    fastinit.normal(matrix, seed=SEED, stream="matrix", bit_generator=rng)
    for rows in (matrix, matrix.T):
        n = min(256, rows.shape[0], rows.shape[1] // 4)
        if n > 1:
            assert not failures(row_p_values(rows[:n]))


# --- the checks themselves ------------------------------------------------------------------------------------------


def _plain(dtype: Any = np.float32, **arguments: Any) -> Array:
    return fastinit.normal(np.empty(N, dtype), **arguments, seed=SEED, stream="fault")


def _flat(dtype: Any = np.float32, shape: tuple[int, ...] = (N,), **arguments: Any) -> Array:
    return fastinit.uniform(np.empty(shape, dtype), **arguments, seed=SEED, stream="fault")


def _uncorrected(dtype: Any) -> Array:
    return fastinit.truncated_normal(np.empty(N, dtype), bounds="std", seed=SEED, stream="fault")


def _skewed() -> Array:
    """Mean 0, variance 1.0002, skewness 0.06."""
    z = _plain(np.float64)
    return np.asarray(z + 0.01 * (z * z - 1))


def _sum_of_twelve() -> Array:
    """Twelve uniforms less 6: mean 0, variance 1, skewness 0, kurtosis 2.9."""
    return np.asarray(_flat(shape=(N, 12)).sum(axis=1) - np.float32(6))


def _cut() -> Array:
    """bfloat16 made by dropping bits of float32 instead of rounding."""
    return np.asarray((_plain().view(np.uint32) >> np.uint32(16)).astype(np.uint16).view(ml_dtypes.bfloat16))


BFLOAT16 = ml_dtypes.bfloat16
SPREAD = {"variance", "kurtosis"}
FAULTS: dict[str, tuple[Law, Callable[[], Array], set[str]]] = {
    "std + 0.5 %, float32": (Normal(), lambda: _plain(std=1.005), SPREAD),
    "std - 0.5 %, float64": (Normal(), lambda: _plain(np.float64, std=0.995), SPREAD),
    "std + 0.5 %, float16": (Normal(), lambda: _plain(np.float16, std=1.005), SPREAD),
    "std - 0.5 %, bfloat16": (Normal(), lambda: _plain(BFLOAT16, std=0.995), SPREAD),
    "mean + 0.5 % of std": (Normal(), lambda: _plain(mean=0.005), {"mean"}),
    "bounds + 0.5 %": (Uniform(-1.0, 1.0), lambda: _flat(low=-1.005, high=1.005).clip(-1, 0.999999), {"ks", *SPREAD}),
    "not corrected": (truncated_law(1.0), lambda: _uncorrected(np.float32), {"ks", "bins", *SPREAD}),
    "not corrected, bfloat16": (truncated_law(1.0), lambda: _uncorrected(BFLOAT16), {"ks", "bins", *SPREAD}),
    "skewed": (Normal(), _skewed, {"skewness"}),
    "sum of twelve uniforms": (Normal(), _sum_of_twelve, {"kurtosis", "bins", "ks"}),
    "tails cut at 3.9": (Normal(), lambda: _plain().clip(-3.9, 3.9), {"beyond -4", "beyond 4"}),
    "bfloat16 not rounded but cut": (Normal(), _cut, {"bins"}),
    "float32 with the values of bfloat16": (Normal(), lambda: _plain(BFLOAT16).astype(np.float32), {"bins"}),
    "float16 from 7 random bits": (
        Uniform(0.0, 1.0),
        lambda: ((np.floor(_flat() * 128) + 0.5) / 128).astype(np.float16),
        {"bins", "ks"},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_law_is_found(name: str) -> None:
    law, make, wanted = FAULTS[name]
    assert wanted <= failures(p_values(law, make())).keys()


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: np.dtype(dtype).name)
def test_values_beyond_the_bounds_are_found(dtype: Any) -> None:
    x = _uncorrected(dtype)
    x[N // 2] = 2.015625  # the next bfloat16 after 2
    with pytest.raises(AssertionError):
        p_values(Normal(0.0, 1.0, -2.0, 2.0), x)
    x = _flat(dtype)
    x[N // 2] = 1.0
    with pytest.raises(AssertionError):
        p_values(Uniform(0.0, 1.0), x)


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 64])
def test_correlation_along_a_stream_is_found(lag: int) -> None:
    x = _plain(np.float64)
    x[lag:] += 0.01 * x[:-lag]
    assert set(failures(lag_p_values(Normal(), x / math.sqrt(1.0001)))) == {f"values {lag} apart"}
    x = _plain(np.float64)
    x[lag:] *= 1 + 0.01 * (x[:-lag] ** 2 - 1)
    assert f"squares {lag} apart" in failures(lag_p_values(Normal(), x))


def test_correlation_between_rows_is_found() -> None:
    rows = _plain()[: 60 << 15].reshape(60, -1)
    assert not failures(row_p_values(rows))
    two = rows.copy()
    two[7] += np.float32(0.05) * two[3]
    assert "largest" in failures(row_p_values(two))
    faintly = rows[1:] + np.float32(0.1) * rows[0]  # correlations of 0.01 between any two: none of them stands out
    assert set(failures(row_p_values(faintly))) == {"all"}
