"""Promise: what a battery of tests on one long stream cannot see is random too.

Batteries read one sequence of words. Here the words of many streams, and of far blocks, are set against each other, and
values are looked at as what they will be: matrices.

Each check of words gets a generator, a function of (seed, stream, first block, number of blocks), and gives p-values
that follow from the numbers of words alone. So the same checks run on fastinit and on generators with a fault: too few
rounds, or a seed, stream or counter of which a part is lost. For these FAULTS says which checks must find them.
test_moments.py has more on neighbours: correlations between the normals of their streams, along a stream, and between
the rows and columns of matrices of many shapes.

A check fails below LIMIT. Seeds are fixed and were chosen before the first run. There are about 100 p-values for each
generator, so by Bonferroni a library without fault would fail for at most one choice of seeds in 400 000.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import fft, special, stats  # type: ignore[import-untyped, unused-ignore]

import fastinit
import reference

U32 = NDArray[np.uint32]
F64 = NDArray[np.float64]
Words = Callable[[int, int | str, int, int], U32]  # -> (blocks, 4)
Results = dict[str, float]

LIMIT = 1e-8
SEED = 4
RNGS = ("ars", "philox")
END = 2**62 - 1  # of blocks: an array has at most 2^63 - 1 elements, and a block has two words of 64 bits


def failures(results: Results) -> Results:
    return {name: p for name, p in results.items() if not p >= LIMIT}


def of_fastinit(rng: Any) -> Words:
    def words(seed: int, stream: int | str, first: int, n_blocks: int) -> U32:
        out = np.empty(2 * n_blocks, np.uint64)
        fastinit.random_bits(
            out, seed=seed, stream=stream, bit_generator=rng, global_shape=(2 * END,), offset=(2 * first,)
        )
        return out.view(np.uint32).reshape(n_blocks, 4)

    return words


# --- p-values -------------------------------------------------------------------------------------------------------


def p_of_count(count: int, n: int, p: float) -> float:
    """Two-sided, of a binomial count."""
    return float(min(1.0, 2 * min(stats.binom.cdf(count, n, p), stats.binom.sf(count - 1, n, p))))


def p_of_poisson(count: int, mean: float) -> float:
    """Two-sided."""
    return float(min(1.0, 2 * min(stats.poisson.cdf(count, mean), stats.poisson.sf(count - 1, mean))))


def p_of_equal_shares(values: NDArray[Any], n: int) -> float:
    """Pearson's chi-square of integers below n, upper tail."""
    counts = np.bincount(values.reshape(-1), minlength=n)
    mean = values.size / n
    return float(stats.chi2.sf(float(((counts - mean) ** 2).sum() / mean), n - 1))


def p_of_no_two_alike(blocks: U32) -> float:
    """Of 128 bits no two in a million will be equal: the chance is 2^-89."""
    whole = np.unique(blocks.reshape(-1, 4), axis=0)
    return float(len(whole) == blocks.size // 4)


# --- avalanche ------------------------------------------------------------------------------------------------------


def avalanche_p_values(words: Words, points: list[tuple[int, int, int]]) -> Results:
    """Of the changes of a block's 128 bits when one bit of seed, stream or block number is turned on.

    Each point is a seed, a stream and an aligned run of 64 blocks. Each output bit changes with probability 1/2. The
    changes for one input bit are independent of those for another in an ideal generator (turning on another bit leads
    to other blocks), so that the numbers of changes are binomial, and their sum of squares follows chi-square.
    """
    n = 64
    run = np.arange(n)
    changes: dict[str, list[U32]] = {}
    for seed, stream, first in points:
        here = words(seed, stream, first, n)
        for bit in range(64):
            if not seed >> bit & 1:
                changes.setdefault(f"seed {bit}", []).append(here ^ words(seed | 1 << bit, stream, first, n))
            if not stream >> bit & 1:
                changes.setdefault(f"stream {bit}", []).append(here ^ words(seed, stream | 1 << bit, first, n))
            if 6 <= bit < 62 and not first >> bit & 1:
                changes.setdefault(f"block {bit}", []).append(here ^ words(seed, stream, first | 1 << bit, n))
        for bit in range(6):
            off = run[run >> bit & 1 == 0]
            changes.setdefault(f"block {bit}", []).append(here[off] ^ here[off | 1 << bit])

    assert len(changes) == 190
    smallest, square, cells = 1.0, 0.0, 0
    flips = []
    for differences in changes.values():
        changed = np.concatenate(differences).view(np.uint8)
        flips.append(changed)
        count = np.unpackbits(changed, axis=1).sum(axis=0, dtype=np.int64)
        m = len(changed)
        far = int(np.abs(2 * count - m).max())
        smallest = min(smallest, 2 * float(stats.binom.cdf((m - far) // 2, m, 0.5)))
        square += float(((2 * count - m) ** 2).sum()) / m
        cells += count.size
    return {
        "the most uneven": min(1.0, smallest * cells),
        "all": float(stats.chi2.sf(square, cells)),
        "bytes": p_of_equal_shares(np.concatenate(flips), 256),
    }


def large_points() -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(SEED)
    return [(s, t, b % END & ~63) for s, t, b in rng.integers(0, 2**64, (20, 3), np.uint64).tolist()]


def small_points() -> list[tuple[int, int, int]]:
    """As people use them. No two of these are one bit apart, so that no pair of blocks is counted twice."""
    return [(s, t, b << 6) for s in range(4) for t in range(4) for b in range(4) if (s ^ t ^ b).bit_count() % 2 == 0][
        :20
    ]


def sums_p_values(words: Words) -> Results:
    """Of the sums (xor) over all 256 values of one byte of seed, stream or block number.

    That is how AES with three rounds and a half gives itself away: such a sum is zero (the "square" attack). Sums of
    random words are random words.
    """
    n = 64
    sums = []
    for byte in range(0, 64, 8):
        sums.append(np.bitwise_xor.reduce([words(v << byte, SEED, 0, n) for v in range(256)]))
        sums.append(np.bitwise_xor.reduce([words(SEED, v << byte, 0, n) for v in range(256)]))
        if 8 <= byte < 56:
            sums.append(np.bitwise_xor.reduce([words(SEED, SEED, v << byte, n) for v in range(256)]))
    sums.append(np.bitwise_xor.reduce(words(SEED, SEED, 0, 256 * n).reshape(n, 256, 4), axis=1))
    result = np.stack(sums)
    return {"bytes": p_of_equal_shares(result.view(np.uint8), 256)}


# --- neighbours -----------------------------------------------------------------------------------------------------

NEIGHBOURS: dict[str, Callable[[int], list[tuple[int, int | str]]]] = {
    "seeds": lambda n: [(i, 0) for i in range(n)],
    "streams": lambda n: [(SEED, i) for i in range(n)],
    "top bits of seeds": lambda n: [(i << 54, 0) for i in range(n)],
    "top bits of streams": lambda n: [(SEED, i << 54) for i in range(n)],
    "seeds and streams": lambda n: [(i // math.isqrt(n), i % math.isqrt(n)) for i in range(n)],
    "names": lambda n: [(SEED, f"layer.{i // 2}.{('weight', 'bias')[i % 2]}") for i in range(n)],
}


def bits_p_values(runs: U32) -> Results:
    """Of the correlations between the bits of several runs of blocks, shape (runs, blocks, 4).

    Each of the 128 bits of a block, in each run, is a row of +1 and -1; any two rows agree in a binomial number of
    places. The numbers are independent pair by pair, so their sum of squares has the mean and variance of chi-square;
    with four times more blocks than rows triples of pairs add nothing that matters here.
    """
    n_runs, n, _ = runs.shape
    assert 4 * 128 * n_runs <= n
    bits = np.unpackbits(runs.view(np.uint8), axis=2).transpose(0, 2, 1).reshape(-1, n)
    rows = bits.astype(np.float32) * 2 - 1
    excess = (rows @ rows.T)[np.triu_indices(len(rows), 1)].astype(np.float64)
    far = int(np.abs(excess).max())
    return {
        "the most alike": min(1.0, 2 * float(stats.binom.cdf((n - far) // 2, n, 0.5)) * excess.size),
        "all": float(stats.chi2.sf(float(excess @ excess) / n, excess.size)),
    }


def streams_p_values(words: Words, kind: str) -> Results:
    return bits_p_values(np.stack([words(seed, stream, 0, 4096) for seed, stream in NEIGHBOURS[kind](8)]))


def birthdays_p_values(words: Words, kind: str) -> Results:
    """Of samples that take one word from each of 1024 neighbouring streams: 256 samples.

    Birthday spacings (Marsaglia): of m birthdays in a year of d days, sorted, the number of spacings that repeat an
    other is Poisson with mean m^3 / 4d. Here m = 2^10, and the days are the upper or the lower 26 bits: 4 a sample.
    Equal words among all 2^18: Poisson with mean 2^36 / 2 / 2^32 = 8.
    """
    m, n = 1024, 64
    many = np.stack([words(seed, stream, 0, n) for seed, stream in NEIGHBOURS[kind](m)])  # (streams, blocks, 4)
    result = {"no block twice": p_of_no_two_alike(many)}
    for name, days in (("upper", many >> np.uint32(6)), ("lower", many & np.uint32(2**26 - 1))):
        spacings = np.sort(np.diff(np.sort(days.reshape(m, -1), axis=0), axis=0), axis=0)
        repeated = int((np.diff(spacings, axis=0) == 0).sum())
        result[f"spacings, {name} bits"] = p_of_poisson(repeated, 4 * n * m**3 / (4 * 2**26))
    result["equal words"] = p_of_poisson(int((np.diff(np.sort(many, axis=None)) == 0).sum()), 8.0)

    octets = many.view(np.uint8).reshape(m, -1, 16)
    result["bytes"] = p_of_equal_shares(octets, 256)
    result["bytes by place"] = min(1.0, 16 * min(p_of_equal_shares(octets[..., i], 256) for i in range(16)))
    pairs = octets[0::2].astype(np.uint16) << np.uint16(8) | octets[1::2]
    result["pairs of bytes"] = p_of_equal_shares(pairs, 1 << 16)
    return result


# Around the carries out of an index of 32 bits (2^30 and 2^31 blocks), and out of words of the counter; the end.
COUNTERS = (0, 1 << 16, 1 << 30, 1 << 31, 1 << 32, 1 << 48, 1 << 61, END)


def counter_p_values(words: Words) -> Results:
    n = 4096
    firsts = [min(max(at - n // 2, 0), END - n) for at in COUNTERS]
    runs = np.stack([words(SEED, 0, first, n) for first in firsts])
    return {"no block twice": p_of_no_two_alike(runs), **bits_p_values(runs)}


CHECKS: dict[str, Callable[[Words], Results]] = {
    "avalanche": lambda words: avalanche_p_values(words, large_points()),
    "avalanche of small numbers": lambda words: avalanche_p_values(words, small_points()),
    "sums over a byte": sums_p_values,
    "counters": counter_p_values,
}
for kind in NEIGHBOURS:
    CHECKS[f"bits of {kind}"] = functools.partial(streams_p_values, kind=kind)
    CHECKS[f"birthdays of {kind}"] = functools.partial(birthdays_p_values, kind=kind)


@pytest.mark.parametrize("rng", RNGS)
@pytest.mark.parametrize("check", CHECKS)
def test_words(check: str, rng: str) -> None:
    assert not failures(CHECKS[check](of_fastinit(rng)))


# --- faults ---------------------------------------------------------------------------------------------------------


def rounds(generator: Any, n_rounds: int) -> Words:
    def words(seed: int, stream: int | str, first: int, n_blocks: int) -> U32:
        blocks = np.arange(first, first + n_blocks, dtype=np.uint64)
        result: U32 = generator(seed, reference.stream_number(stream), blocks, n_rounds)
        return result

    return words


def altered(seed: Any = None, stream: Any = None, block: Any = None, name: Any = None) -> Words:
    """ARS-7 on a changed seed, stream, first block, or name: each given as a function of (seed, stream, block)."""
    ars = of_fastinit("ars")

    def words(s: int, t: int | str, b: int, n_blocks: int) -> U32:
        number = reference.stream_number(t if name is None or isinstance(t, int) else name(t))
        new = (seed(s, number) if seed else s, stream(s, number) if stream else number, block(b) if block else b)
        return ars(*new, n_blocks)

    return words


M32 = 2**32 - 1

# Generators with a fault, and checks that must find it; docs/randomness.md has the whole table.
FAULTS: dict[str, tuple[Words, list[str]]] = {
    "ARS, 2 rounds": (rounds(reference.ars, 2), ["birthdays of names", "bits of names"]),
    "ARS, 3 rounds": (rounds(reference.ars, 3), ["avalanche", "sums over a byte", "bits of streams", "counters"]),
    "Philox, 4 rounds": (rounds(reference.philox, 4), ["sums over a byte", "birthdays of names", "bits of names"]),
    "Philox, 5 rounds": (rounds(reference.philox, 5), ["bits of seeds", "birthdays of seeds", "counters"]),
    "Philox, 6 rounds": (rounds(reference.philox, 6), ["avalanche", "avalanche of small numbers"]),
    "seed xor stream for both": (
        altered(seed=lambda s, t: s ^ t, stream=lambda s, t: s ^ t),
        ["avalanche of small numbers", "bits of seeds and streams", "birthdays of seeds and streams"],
    ),
    "upper half of the seed lost": (
        altered(seed=lambda s, t: s & M32),
        ["avalanche", "bits of top bits of seeds", "birthdays of top bits of seeds"],
    ),
    "upper half of the stream lost": (
        altered(stream=lambda s, t: t & M32),
        ["avalanche", "bits of top bits of streams", "birthdays of top bits of streams"],
    ),
    "upper half of the counter lost": (altered(block=lambda b: b & M32), ["avalanche", "counters"]),
    "names by their first seven letters": (altered(name=lambda t: t[:7]), ["bits of names", "birthdays of names"]),
    "names by the sum of their letters": (altered(name=lambda t: sum(t.encode())), ["birthdays of names"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str) -> None:
    words, checks = FAULTS[fault]
    for check in checks:
        assert failures(CHECKS[check](words)), check


# --- matrices -------------------------------------------------------------------------------------------------------


def p_of_deviate(z: float) -> float:
    """Two-sided, of a standard normal deviate."""
    return math.erfc(abs(z) / math.sqrt(2))


def autocorrelation_p_values(matrix: NDArray[Any]) -> Results:
    """Of the correlation of elements that are i rows and j columns apart, for all i and j up to half the matrix.

    The sum over n pairs of products of independent elements with mean 0 and variance 1 has variance n, and sums for
    different distances are uncorrelated. All of them come from one Fourier transform of the matrix padded with zeros.
    """
    rows, columns = matrix.shape
    spectrum = fft.rfft2(matrix.astype(np.float64), (2 * rows, 2 * columns), workers=2)
    sums = fft.irfft2(np.abs(spectrum) ** 2, (2 * rows, 2 * columns), workers=2)
    down, along = np.arange(-(rows // 2), rows // 2 + 1), np.arange(columns // 2 + 1)
    z = sums[down][:, along] / np.sqrt(np.outer(rows - np.abs(down), columns - along))
    z[: rows // 2 + 1, 0] = 0.0  # the element itself, and pairs that are already counted in the other direction
    below, beside = z[rows // 2 + 1 :, 0], z[rows // 2, 1:]
    return {
        "along rows": float(stats.chi2.sf(float(beside @ beside), beside.size)),
        "along columns": float(stats.chi2.sf(float(below @ below), below.size)),
        "the largest": min(1.0, p_of_deviate(float(np.abs(z).max())) * z.size),
    }


def columns_p_values(matrix: NDArray[Any]) -> Results:
    """Of the cosines between all pairs of columns of n elements from N(0, 1): cos^2 is Beta(1/2, (n - 1) / 2)."""
    n = len(matrix)
    z = matrix.astype(np.float64)
    z /= np.sqrt((z * z).sum(axis=0))
    cosines = (z.T @ z)[np.triu_indices(z.shape[1], 1)]
    largest = float(stats.beta.sf(float((cosines**2).max()), 0.5, (n - 1) / 2))
    return {
        "the largest": min(1.0, largest * cosines.size),
        "all": float(stats.chi2.sf(float(cosines @ cosines) * n, cosines.size)),
    }


ROWS, COLUMNS = 600, 300


def spectrum_of(matrix: NDArray[Any]) -> F64:
    """The squares of the singular values over the number of rows, ascending."""
    x = matrix.astype(np.float64)
    result: F64 = np.linalg.eigvalsh(x.T @ x) / len(x)
    return result


def distance_to_marchenko_pastur(eigenvalues: F64) -> float:
    """Kolmogorov's, to the limit for ever larger matrices of this form (Marchenko, Pastur 1967).

    With c = columns / rows the density is sqrt((b - x) (x - a)) / (2 pi c x) on [a, b] = (1 -+ sqrt c)^2, here in terms
    of an angle, x = 1 + c - 2 sqrt(c) cos(angle), in which it is smooth.
    """
    c = COLUMNS / ROWS
    angle = np.linspace(0.0, math.pi, 20001)
    x = 1 + c - 2 * math.sqrt(c) * np.cos(angle)
    density = 2 * np.sin(angle) ** 2 / (math.pi * x)
    below = np.append(0.0, np.cumsum((density[1:] + density[:-1]) / 2) * (angle[1] - angle[0]))
    assert abs(below[-1] - 1) < 1e-7
    law = np.interp(eigenvalues, x, below)
    ranks = np.arange(COLUMNS + 1) / COLUMNS
    return float(max((ranks[1:] - law).max(), (law - ranks[:-1]).max()))


@functools.cache
def distances_of_numpy() -> F64:
    """What matrices of this size give whose normals come from elsewhere: no formula is known for it."""
    rng = np.random.default_rng(SEED)
    return np.array(
        [distance_to_marchenko_pastur(spectrum_of(rng.standard_normal((ROWS, COLUMNS)))) for _ in range(30)]
    )


def spectrum_faults(matrix: NDArray[Any]) -> set[str]:
    """Which statistics of the singular values of a matrix of N(0, 1) are not what they must be.

    - trace: rows * columns squares, chi-square.
    - determinant: its logarithm is a sum of those of independent chi-square variables of rows, rows - 1, .. degrees
      of freedom (Bartlett 1933), near a normal one.
    - edge: the largest eigenvalue, centred and scaled (Johnstone 2001), follows Tracy and Widom's law for real
      matrices, whose tails are about exp(-|s|^3 / 24) below and exp(-2/3 s^1.5) above: 1e-9 at -8 and at 10.
    - distance to Marchenko and Pastur's law: at most 8 standard deviations above the mean of NumPy's; it is a tenth of
      what the same number of independent values would have.
    """
    eigenvalues = spectrum_of(matrix)
    size = ROWS * COLUMNS
    found = set()
    if p_of_deviate((float(eigenvalues.sum()) * ROWS - size) / math.sqrt(2 * size)) < LIMIT:
        found.add("trace")
    half = (ROWS - np.arange(COLUMNS)) / 2
    mean = float((special.digamma(half) + math.log(2)).sum())
    std = math.sqrt(float(special.polygamma(1, half).sum()))
    log_determinant = float(np.log(np.maximum(eigenvalues * ROWS, 1e-300)).sum())
    if p_of_deviate((log_determinant - mean) / std) < LIMIT:
        found.add("determinant")
    roots = math.sqrt(ROWS - 1) + math.sqrt(COLUMNS)
    scale = roots * (1 / math.sqrt(ROWS - 1) + 1 / math.sqrt(COLUMNS)) ** (1 / 3)
    if not -8 < (float(eigenvalues[-1]) * ROWS - roots**2) / scale < 10:
        found.add("edge")
    usual = distances_of_numpy()
    if distance_to_marchenko_pastur(eigenvalues) > usual.mean() + 8 * usual.std():
        found.add("distance")
    return found


def normals(shape: tuple[int, ...], dtype: Any = np.float32, rng: Any = "ars") -> NDArray[Any]:
    return fastinit.normal(np.empty(shape, dtype), seed=SEED, stream="matrix", bit_generator=rng)


@pytest.mark.parametrize("rng", RNGS)
@pytest.mark.parametrize("shape", [(1024, 1024), (601, 1700)])
def test_no_correlation_at_any_distance(shape: tuple[int, int], rng: Any) -> None:
    assert not failures(autocorrelation_p_values(normals(shape, rng=rng)))
    out = np.empty(shape, np.float64)
    fastinit.uniform(out, low=-math.sqrt(3), high=math.sqrt(3), seed=SEED, stream="matrix", bit_generator=rng)
    assert not failures(autocorrelation_p_values(out))


@pytest.mark.parametrize("rng", RNGS)
@pytest.mark.parametrize("shape", [(4096, 512), (2401, 599)])
def test_no_correlation_between_columns(shape: tuple[int, int], rng: Any) -> None:
    assert not failures(columns_p_values(normals(shape, rng=rng)))


@pytest.mark.parametrize("rng", RNGS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ml_dtypes.bfloat16], ids=lambda dtype: np.dtype(dtype).name)
def test_singular_values(dtype: Any, rng: Any) -> None:
    assert not spectrum_faults(normals((ROWS, COLUMNS), dtype, rng))
    assert not spectrum_faults(normals((COLUMNS, ROWS), dtype, rng).T)


@pytest.mark.parametrize("rng", RNGS)
@pytest.mark.parametrize("kind", NEIGHBOURS)
def test_singular_values_of_neighbouring_streams(kind: str, rng: Any) -> None:
    matrix = np.empty((COLUMNS, ROWS), np.float32)
    for row, (seed, stream) in zip(matrix, NEIGHBOURS[kind](COLUMNS), strict=True):
        fastinit.normal(row, seed=seed, stream=stream, bit_generator=rng)
    assert not spectrum_faults(matrix.T)


def test_faulty_matrices_are_found() -> None:
    x = normals((512, 512)).astype(np.float64)
    echo = x.copy()
    echo[3:, 5:] += 0.04 * x[:-3, :-5]
    assert set(failures(autocorrelation_p_values(echo))) == {"the largest"}
    assert "along rows" in failures(autocorrelation_p_values(x + 0.05 * x[:, :1]))
    assert "along columns" in failures(autocorrelation_p_values(x + 0.05 * x[:1]))

    x = normals((2401, 599)).astype(np.float64)
    twins = x.copy()
    twins[:, 500] += 0.2 * x[:, 3]
    assert set(failures(columns_p_values(twins))) == {"the largest"}
    assert set(failures(columns_p_values(x + 0.12 * x[:, :1]))) >= {"all"}

    x = normals((ROWS, COLUMNS)).astype(np.float64)
    assert spectrum_faults(x * 1.02) >= {"trace", "determinant"}
    assert spectrum_faults(x + 0.2 * x[:, :1]) >= {"edge"}
    repeated = x.copy()
    repeated[:, -1] = x[:, 0]
    assert spectrum_faults(repeated) == {"determinant"}
    lowered = x.copy()
    lowered[300:] = x[:300]  # every row twice
    assert spectrum_faults(lowered) >= {"distance", "determinant"}
    independent = np.sort(np.random.default_rng(SEED).choice(spectrum_of(x), COLUMNS))
    assert distance_to_marchenko_pastur(independent) > distances_of_numpy().mean() + 8 * distances_of_numpy().std()


@pytest.mark.parametrize("rng", RNGS)
@pytest.mark.parametrize("n", [2, 3, 10, 100, 255, 256, 40_000])
def test_integers_are_equally_likely(n: int, rng: Any) -> None:
    """Also beside their neighbours: pairs of them have equal shares, if they are few."""
    values = fastinit.integers(np.empty(2**22, np.uint16), 7, 7 + n, seed=SEED, bit_generator=rng) - np.uint16(7)
    assert p_of_equal_shares(values, n) >= LIMIT
    if n <= 256:
        pairs = values[0::2].astype(np.int64) * n + values[1::2]
        assert p_of_equal_shares(pairs, n * n) >= LIMIT
