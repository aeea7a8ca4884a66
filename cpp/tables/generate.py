"""Makes the coefficient tables of the normal quantile: quantile_tables.hpp, quantile_tables.cpp, quantile_tables.csv.

The normal distribution comes from mpmath, in 40 decimal digits; how the quantile is cut into pieces is the
stream format's matter (docs/stream-format.md). A float32 piece is the best fit, by Remez's algorithm. The others
are polynomials through the values at the Chebyshev nodes of a piece, which is within a third of the best
possible error there, since each further degree divides the error by six or more. Run it without arguments to
rewrite the files beside it, or with --check to compare them with what is committed.
"""

import itertools
import math
import pathlib
import statistics
import sys
from collections.abc import Callable, Sequence

from mpmath import mp, mpf  # type: ignore[import-untyped]

mp.dps = 40

# first octave, last octave (docs/stream-format.md says where they come from)
F32_COEFFICIENTS, F32_FIRST, F32_LAST = 7, -16, 30
F64_DEGREE, F64_FIRST, F64_LAST = 14, -72, 62
FAR_FIRST, FAR_LAST = 3, 59
LOG_DEGREE = 7
F32_ERROR = 1.25  # the largest relative error that a float32 piece may have, in 2^-24


def log_tail(x: mpf) -> mpf:
    """-ln Q(x), Q the upper tail probability of N(0, 1)."""
    return -mp.log(mp.erfc(x / mp.sqrt(2)) / 2)


def quantile_of_log(tail: mpf) -> mpf:
    """The x with -ln Q(x) = tail, by Newton's method from a double-precision start."""
    if tail < 600:
        x = mpf(-statistics.NormalDist().inv_cdf(float(mp.exp(-tail))))
    else:
        x = mp.sqrt(2 * tail - mp.log(4 * mp.pi * tail))
    for _ in range(50):
        density = mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)
        hazard = density / (mp.erfc(x / mp.sqrt(2)) / 2)
        step = (log_tail(x) - tail) / hazard
        x -= step
        if abs(step) < abs(x) * mpf(10) ** -36:
            return x
    raise ArithmeticError(f"no quantile found for tail {tail}")


def tail_quantile(p: mpf) -> mpf:
    return quantile_of_log(-mp.log(p))


def central_quantile(c: mpf) -> mpf:
    """The x with Q(x) = 1/2 - c, to full relative precision for small c."""
    return mp.sqrt(2) * mp.erfinv(2 * c)


def fit(function: Callable[[mpf], mpf], low: mpf, high: mpf, degree: int) -> list[mpf]:
    """Monomial coefficients of the interpolant of `function` at the Chebyshev nodes of [low, high]."""
    n = degree + 1
    nodes = [(low + high) / 2 + (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    divided = [function(t) for t in nodes]
    for level in range(1, n):
        for i in range(n - 1, level - 1, -1):
            divided[i] = (divided[i] - divided[i - 1]) / (nodes[i] - nodes[i - level])
    coefficients = [divided[-1]]
    for i in range(n - 2, -1, -1):  # Newton's form to monomials: multiply by (t - node), add the next one
        shifted = [mpf(0), *coefficients]
        for j, value in enumerate(coefficients):
            shifted[j] -= nodes[i] * value
        shifted[0] += divided[i]
        coefficients = shifted
    return coefficients


def ratio(p: mpf) -> mpf:
    """x / h: the x with Q(x) = p, over h = 1/2 - p."""
    if p == 0.5:
        return mp.sqrt(2 * mp.pi)
    h = mpf(1) / 2 - p
    return (central_quantile(h) if p > mpf(1) / 8 else tail_quantile(p)) / h


def levelled(powers: list[list[mpf]], values: list[mpf], at: list[int]) -> tuple[list[mpf], mpf]:
    """Coefficients whose relative errors at these points have the same size and alternating signs, and that size."""
    n = len(powers[0])
    rows, ones = mp.matrix(n + 1, n + 1), mp.matrix(n + 1, 1)
    for i, point in enumerate(at):
        for j in range(n):
            rows[i, j] = powers[point][j] / values[point]
        rows[i, n] = (-1) ** i
        ones[i] = 1
    *coefficients, error = mp.lu_solve(rows, ones)
    return coefficients, abs(error)


def fit_tied(function: Callable[[mpf], mpf], half_width: mpf, n: int) -> tuple[list[mpf], mpf]:
    """n coefficients, the last of which serves two powers of t, |t| <= half_width, and the largest relative error.

    Remez's algorithm on a grid: from levelled errors at some points to the points where the errors are largest.
    """
    steps = 80
    points = [half_width * mp.cos(mp.pi * i / steps) for i in range(steps + 1)]
    values = [function(t) for t in points]
    powers = [[t**j * (1 + t if j == n - 1 else 1) for j in range(n)] for t in points]
    at = [round(i * steps / n) for i in range(n + 1)]
    for _ in range(20):
        coefficients, level = levelled(powers, values, at)
        errors = [mp.fdot(coefficients, row) / value - 1 for row, value in zip(powers, values, strict=True)]
        largest = max(abs(error) for error in errors)
        if largest < level * mpf("1.01"):
            return coefficients, largest
        runs = [list(run) for _, run in itertools.groupby(range(steps + 1), key=lambda i: errors[i] > 0)]
        at = [max(run, key=lambda i: abs(errors[i])) for run in runs]
        while len(at) > n + 1:
            del at[0 if abs(errors[at[0]]) < abs(errors[at[-1]]) else -1]
    raise ArithmeticError("no best fit found")


def octaves(function: Callable[[mpf], mpf], first: int, last: int) -> list[list[mpf]]:
    """The pieces of octaves first .. last of a positive f: f = 2^e (3/2 - 2 t), |t| <= 1/4."""
    pieces = []
    for e in range(first, last + 1):

        def value(t: mpf, e: int = e) -> mpf:
            return function(mpf(2) ** e * (mpf(3) / 2 - 2 * t))

        coefficients, error = fit_tied(value, mpf(1) / 4, F32_COEFFICIENTS)
        if error * 2**24 > F32_ERROR:
            raise ArithmeticError(f"octave {e} has an error of {mp.nstr(error * 2**24)} 2^-24")
        pieces.append(coefficients)
    return pieces


def half_octaves(function: Callable[[mpf], mpf], first: int, last: int) -> list[list[mpf]]:
    """The pieces of octaves first .. last of a positive f, two each: f = 2^e (middle + t), |t| <= 1/4."""

    def piece(e: int, half: int) -> list[mpf]:
        middle = mpf(5) / 4 + mpf(half) / 2
        return fit(lambda t: function(mpf(2) ** e * (middle + t)), -mpf(1) / 4, mpf(1) / 4, F64_DEGREE)

    return [piece(e, half) for e in range(first, last + 1) for half in (0, 1)]


def log_piece() -> list[mpf]:
    """q = s^2 in [0, 1/25]: 2 atanh(s) / s."""
    return fit(lambda q: 2 * mp.atanh(mp.sqrt(q)) / mp.sqrt(q), mpf(0), mpf(1) / 25, LOG_DEGREE)


def round_to(value: mpf, bits: int) -> float:
    """Round to nearest even at `bits` of significand, straight from 40 digits."""
    if value == 0:
        return 0.0
    exponent = int(mp.floor(mp.log(abs(value), 2))) + 1 - bits
    return math.ldexp(float(mp.nint(mp.ldexp(value, -exponent))), exponent)


def tables() -> dict[str, list[list[float]]]:
    """name -> pieces, each piece its coefficients from the constant one up, rounded to float64."""
    raw = {
        "normal_f32": octaves(lambda f: ratio(f / 2**32), F32_FIRST, F32_LAST),
        "normal_f64": half_octaves(lambda f: ratio(f / 2**64), F64_FIRST, F64_LAST),
        "far": half_octaves(quantile_of_log, FAR_FIRST, FAR_LAST),
        "log": [log_piece()],
    }
    return {name: [[round_to(c, 53) for c in piece] for piece in pieces] for name, pieces in raw.items()}


def as_csv(made: dict[str, list[list[float]]]) -> str:
    lines = ["table,piece,coefficients from the constant one up"]
    for name, pieces in made.items():
        lines += [f"{name},{i},{','.join(c.hex() for c in piece)}" for i, piece in enumerate(pieces)]
    return "\n".join(lines) + "\n"


NOTE = "// Made by generate.py; do not edit."
# How many pieces of normal_f64 a row in registers holds, and how many such rows there are: the last pieces, which
# nearly all words fall into, and those before.
PICK, LEVELS = 16, 2
F32_PIECES, F64_PIECES = F32_LAST - F32_FIRST + 1, 2 * (F64_LAST - F64_FIRST + 1)
FAR_PIECES = 2 * (FAR_LAST - FAR_FIRST + 1)


def as_header() -> str:
    return f"""{NOTE} Coefficients of the normal quantile, version 2 of the stream format.
#pragma once

namespace fastinit {{

// Row i is coefficient i, a column is a piece: vectors look the same coefficient of many pieces up. They are scaled
// before they are rounded, hence double.
struct TableF32 {{
  static constexpr int kFirstOctave = {F32_FIRST};
  static constexpr int kCoefficients = {F32_COEFFICIENTS};
  static constexpr int kPieces = {F32_PIECES};
  double rows[kCoefficients][kPieces];
}};
extern const TableF32 kNormalF32;

// pieces[k] is piece k, its coefficients side by side, and a zero. last[0][i] is coefficient i of the last {PICK}
// pieces, last[1][i] of the {PICK} before, in the order of the low bits of their numbers, as f's exponent and first bit
// of the mantissa count them.
struct TableF64 {{
  static constexpr int kFirstOctave = {F64_FIRST};
  static constexpr int kDegree = {F64_DEGREE};
  static constexpr int kPieces = {F64_PIECES};
  static constexpr int kPick = {PICK};
  static constexpr int kLevels = {LEVELS};
  alignas(64) double last[kLevels][kDegree + 1][kPick];
  alignas(64) double pieces[kPieces][16];
}};
extern const TableF64 kNormalF64;

// Row i is coefficient i, a column is a piece, two pieces an octave.
struct TableFar {{
  static constexpr int kFirstOctave = {FAR_FIRST};
  static constexpr int kDegree = {F64_DEGREE};
  static constexpr int kPieces = {FAR_PIECES};
  double rows[kDegree + 1][kPieces];
}};
extern const TableFar kFar;

constexpr int kLogDegree = {LOG_DEGREE};
extern const double kLog[kLogDegree + 1];

}}  // namespace fastinit
"""


def row(numbers: Sequence[float]) -> str:
    return "{" + ", ".join(number.hex() for number in numbers) + "}"


def by_low_bits(pieces: list[list[float]], level: int) -> list[list[float]]:
    """PICK of the last pieces, one of them for each value of the low bits of a piece's number in float64's encoding."""
    first = 2 * (1023 + F64_FIRST)
    end = len(pieces) - level * PICK
    return sorted(pieces[end - PICK : end], key=lambda piece: (first + pieces.index(piece)) % PICK)


def as_source(made: dict[str, list[list[float]]]) -> str:
    def columns(pieces: list[list[float]]) -> str:
        return ",\n    ".join(row(coefficients) for coefficients in zip(*pieces, strict=True))

    wide = made["normal_f64"]
    levels = ",\n    ".join(f"{{{columns(by_low_bits(wide, level))}}}" for level in range(LEVELS))
    rows = ",\n    ".join(row(piece) for piece in wide)
    return f"""{NOTE}
#include "tables/quantile_tables.hpp"

namespace fastinit {{

const TableF32 kNormalF32 = {{{{
    {columns(made["normal_f32"])}}}}};

const TableF64 kNormalF64 = {{
    {{{levels}}},
    {{{rows}}}}};

const TableFar kFar = {{{{
    {columns(made["far"])}}}}};

const double kLog[kLogDegree + 1] = {row(made["log"][0])};

}}  // namespace fastinit
"""


def main() -> int:
    here = pathlib.Path(__file__).resolve().parent
    made = tables()
    files = {
        "quantile_tables.csv": as_csv(made),
        "quantile_tables.hpp": as_header(),
        "quantile_tables.cpp": as_source(made),
    }
    if "--check" in sys.argv:
        stale = [name for name, text in files.items() if (here / name).read_text() != text]
        if stale:
            print(f"stale: {', '.join(stale)}; run {pathlib.Path(__file__).name} without arguments")
        return bool(stale)
    for name, text in files.items():
        (here / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
