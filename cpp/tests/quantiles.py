"""Makes quantiles.txt: quantiles of the normal in 40 decimal digits (mpmath), which walk compares its references with.

A line is n, then two float64 whose sum is the x with Q(x) = n / 2^65, Q the upper tail probability of N(0, 1). A word
w of 64 bits, read as a signed number, stands for n = 2^64 - 2 |w|, or for n = 1 where that is 0; a word of 32 bits for
the n of 2^32 w, or for n = 2^32. Windows put n between these. Chosen are n about all places where two pieces of the
float64 table meet, next to the median, and some between. Run it without arguments to rewrite the file beside it, or
with --check to compare it with what is committed.
"""

import pathlib
import sys

from mpmath import mp, mpf  # type: ignore[import-untyped]

mp.dps = 40

FILE = pathlib.Path(__file__).with_name("quantiles.txt")


def quantile(n: int) -> mpf:
    """By Newton's method on Q, or on its complement near the median."""
    p, h = mpf(n) / 2**65, mpf(2**64 - n) / 2**65
    if h < mpf(1) / 8:
        return mp.sqrt(2) * mp.erfinv(2 * h)
    x = mp.sqrt(-2 * mp.log(p))
    for _ in range(60):
        tail, density = mp.erfc(x / mp.sqrt(2)) / 2, mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)
        step = mp.log(tail / p) * tail / density  # on the logarithm: it converges from anywhere
        x += step
        if abs(step) < mpf(10) ** -37:
            return x
    raise ArithmeticError(f"no quantile found for {n}")


def numbers() -> list[int]:
    meeting = [m + d for j in range(1, 64) for m in (2**j, 3 * 2 ** (j - 1)) for d in (-1, 1)]
    whole_words = [(2 * k + 1) * 2**32 for j in range(31) for k in (2**j - 1, 2**j)]  # of 32 bits
    median = [2**64 - 2**j for j in range(63)]
    between = [i * 0x9E3779B97F4A7C15 % 2**64 for i in range(1, 33)]
    return sorted({*meeting, *whole_words, *median, *between})


def text() -> str:
    lines = []
    for n in numbers():
        x = quantile(n)
        high = float(x)
        lines.append(f"{n:016x} {high.hex()} {float(x - high).hex()}\n")
    return "".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if FILE.read_text() != text():
            sys.exit(f"{FILE.name} is not what {pathlib.Path(__file__).name} makes")
    else:
        FILE.write_text(text())
