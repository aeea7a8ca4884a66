"""Mean, standard deviation and kurtosis of torch's tensors, and whether two samples may have the same law.

Each tensor is read once, in pieces that stay in a cache, as differences from its first element, so that the variance
of a constant is exactly 0.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_PIECE = 1 << 15  # elements; torch takes one thread for so few, and float32 sums of them are good to 1e-6


@dataclass(frozen=True)
class Moments:
    n: int
    mean: float
    variance: float
    kurtosis: float  # 3 for a normal; 1, its least value, where the variance is 0


def moments(tensor: Any) -> Moments:
    flat = tensor.detach().reshape(-1)
    first = float(flat[0])
    sums = [0.0] * 4
    for piece in flat.split(_PIECE):
        power = difference = piece.float() - first
        for k in range(4):
            sums[k] += float(power.sum())
            power = power * difference
    a, b, c, d = (total / len(flat) for total in sums)
    variance = max(0.0, b - a * a)
    fourth = d - 4 * a * c + 6 * a * a * b - 3 * a**4
    return Moments(len(flat), first + a, variance, max(1.0, fourth / variance**2) if variance else 1.0)


def of_model(named: Iterable[tuple[str, Any]]) -> dict[str, Moments]:
    return {name: moments(tensor) for name, tensor in named}


def z_scores(one: Moments, other: Moments) -> tuple[float, float]:
    """Differences of mean and standard deviation, in their standard errors for two samples of one law.

    The standard error of log(std) is sqrt((kurtosis - 1) / 4n). What is constant has to be equal.
    """
    if one.n != other.n:
        raise ValueError(f"samples of {one.n} and {other.n} elements")
    if not one.variance and not other.variance:
        return (0.0 if one.mean == other.mean else math.inf), 0.0
    if not one.variance or not other.variance:
        return math.inf, math.inf
    mean = (one.mean - other.mean) / math.sqrt((one.variance + other.variance) / one.n)
    kurtosis = max((one.kurtosis + other.kurtosis) / 2, 1.001)
    std = math.log(one.variance / other.variance) / 2 / math.sqrt((kurtosis - 1) / (2 * one.n))
    return mean, std


@dataclass(frozen=True)
class Worst:
    """The largest of the z-scores of all parameters that are not constant, and whose it is."""

    mean: float
    mean_of: str
    std: float
    std_of: str
    compared: int  # parameters: those that are drawn, and those that differ
    constant: int  # and the rest, which are constant and equal

    @property
    def expected(self) -> float:
        """What the largest of all these exceeds once in a hundred runs, if nothing differs."""
        return statistics.NormalDist().inv_cdf(1 - 0.01 / (4 * max(1, self.compared)))

    def __str__(self) -> str:
        return (
            f"{self.compared} parameters that are random: the worst z-score is {self.mean:.2f} for a mean "
            f"({self.mean_of}), {self.std:.2f} for a std ({self.std_of}); by chance the worst exceeds "
            f"{self.expected:.2f} once in 100 runs. {self.constant} constant ones are equal"
        )


def worst(ours: Mapping[str, Moments], theirs: Mapping[str, Moments]) -> Worst:
    """Compare all parameters of two models; a ValueError if the models do not have the same ones."""
    if ours.keys() != theirs.keys():
        raise ValueError(f"parameters differ: {', '.join(sorted(ours.keys() ^ theirs.keys()))}")
    scores = {name: z_scores(ours[name], theirs[name]) for name in ours}
    differ = {name: z for name, z in scores.items() if ours[name].variance or theirs[name].variance or any(z)}
    if not differ:
        return Worst(0.0, "none", 0.0, "none", 0, len(scores))
    mean_of = max(differ, key=lambda name: abs(differ[name][0]))
    std_of = max(differ, key=lambda name: abs(differ[name][1]))
    return Worst(differ[mean_of][0], mean_of, differ[std_of][1], std_of, len(differ), len(scores) - len(differ))
