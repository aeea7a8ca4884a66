"""Makes the coefficient tables of the normal quantile: quantile_tables.hpp, quantile_tables.cpp, quantile_tables.csv.

The normal distribution comes from mpmath, in 40 decimal digits; how the quantile is cut into pieces is the
stream format's matter (docs/stream-format.md). Every piece is the polynomial through the quantile's values at
the Chebyshev nodes of the piece, which is within a third of the best possible error here, since each further
degree divides the error by six or more. Run it without arguments to rewrite the files beside it, or with
--check to compare them with what is committed.
"""

import math
import pathlib
import statistics
import sys
from collections.abc import Callable

from mpmath import mp, mpf  # type: ignore[import-untyped]

mp.dps = 40

# degree, first octave, last octave (docs/stream-format.md says where they come from)
F32_DEGREE, F32_FIRST, F32_LAST = 5, -14, 32
F64_DEGREE, F64_FIRST, F64_LAST = 14, -70, 64
FAR_FIRST, FAR_LAST = 3, 60
LOG_DEGREE = 7


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


def half_octaves(value: Callable[[mpf], mpf], first: int, last: int, degree: int) -> list[list[mpf]]:
    """The pieces of octaves first .. last of a positive f, two each: f = 2^e (middle + t), |t| <= 1/4."""

    def piece(e: int, half: int) -> list[mpf]:
        middle = mpf(5) / 4 + mpf(half) / 2
        return fit(lambda t: value(mpf(2) ** e * (middle + t)), -mpf(1) / 4, mpf(1) / 4, degree)

    return [piece(e, half) for e in range(first, last + 1) for half in (0, 1)]


def ratio(p: mpf) -> mpf:
    """x / h: the x with Q(x) = p, over h = 1/2 - p."""
    h = mpf(1) / 2 - p
    return (central_quantile(h) if p > mpf(1) / 8 else tail_quantile(p)) / h


def normal_pieces(first: int, last: int, degree: int) -> list[list[mpf]]:
    """f = p 2^(last + 2) < 2^(last + 1), since p < 1/2."""
    scale = mpf(2) ** -(last + 2)
    return half_octaves(lambda f: ratio(f * scale), first, last, degree)


def log_piece() -> list[mpf]:
    """q = s^2 in [0, 1/25]: 2 atanh(s) / s."""
    return fit(lambda q: 2 * mp.atanh(mp.sqrt(q)) / mp.sqrt(q), mpf(0), mpf(1) / 25, LOG_DEGREE)


def round_to(value: mpf, bits: int) -> float:
    """Round to nearest even at `bits` of significand, straight from 40 digits."""
    if value == 0:
        return 0.0
    exponent = int(mp.floor(mp.log(abs(value), 2))) + 1 - bits
    return math.ldexp(float(mp.nint(mp.ldexp(value, -exponent))), exponent)


def tables() -> dict[str, tuple[int, list[list[float]]]]:
    """name -> (bits of the significand, pieces), each piece its coefficients from the constant one up."""
    raw = {
        "normal_f32": (24, normal_pieces(F32_FIRST, F32_LAST, F32_DEGREE)),
        "normal_f64": (53, normal_pieces(F64_FIRST, F64_LAST, F64_DEGREE)),
        "far": (53, half_octaves(quantile_of_log, FAR_FIRST, FAR_LAST - 1, F64_DEGREE)),
        "log": (53, [log_piece()]),
    }
    return {
        name: (bits, [[round_to(c, bits) for c in piece] for piece in pieces]) for name, (bits, pieces) in raw.items()
    }


def as_csv(made: dict[str, tuple[int, list[list[float]]]]) -> str:
    lines = ["table,piece,coefficients from the constant one up"]
    for name, (_, pieces) in made.items():
        lines += [f"{name},{i},{','.join(c.hex() for c in piece)}" for i, piece in enumerate(pieces)]
    return "\n".join(lines) + "\n"


NOTE = "// Made by generate.py; do not edit."

STRUCTS = {
    "normal_f32": ("TableF32", "kNormalF32", "float", F32_FIRST, F32_LAST, F32_DEGREE),
    "normal_f64": ("TableF64", "kNormalF64", "double", F64_FIRST, F64_LAST, F64_DEGREE),
    "far": ("TableFar", "kFar", "double", FAR_FIRST, FAR_LAST - 1, F64_DEGREE),
}


def as_header() -> str:
    """One row a coefficient, one column a piece: a vector load takes the same coefficient of many pieces."""
    out = [
        NOTE + " Coefficients of the normal quantile, version 1 of the stream format:",
        "// row i is coefficient i, a column is a piece, two pieces an octave. The last columns of the normal",
        "// tables are the pieces that nearly all words fall into.",
        "#pragma once",
        "",
        "namespace fastinit {",
    ]
    for struct, name, kind, first, last, degree in STRUCTS.values():
        out += [
            "",
            f"struct {struct} {{",
            f"  static constexpr int kFirstOctave = {first};",
            f"  static constexpr int kDegree = {degree};",
            f"  static constexpr int kPieces = {2 * (last - first + 1)};",
            f"  alignas(64) {kind} rows[kDegree + 1][kPieces];",
            "};",
            f"extern const {struct} {name};",
        ]
    out += [
        "",
        f"constexpr int kLogDegree = {LOG_DEGREE};",
        "extern const double kLog[kLogDegree + 1];",
        "",
        "}  // namespace fastinit",
        "",
    ]
    return "\n".join(out)


def as_source(made: dict[str, tuple[int, list[list[float]]]]) -> str:
    out = [NOTE, '#include "tables/quantile_tables.hpp"', "", "namespace fastinit {", ""]
    for table, (struct, name, kind, *_) in STRUCTS.items():
        suffix = "f" if kind == "float" else ""
        out.append(f"const {struct} {name} = {{{{")
        for row in zip(*made[table][1], strict=True):
            out.append("    {" + ", ".join(c.hex() + suffix for c in row) + "},")
        out += ["}};", ""]
    values = ", ".join(c.hex() for c in made["log"][1][0])
    out += [f"const double kLog[kLogDegree + 1] = {{{values}}};", "", "}  // namespace fastinit", ""]
    return "\n".join(out)


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
