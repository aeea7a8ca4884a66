"""The laws of the demo's recipes: the moments and the density to expect of a tensor, and how far off measured ones are.

Mean and standard deviation are those that ``fastinit.recipes`` expects. The form is in an initialiser's name.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastinit.recipes import Initializer

__all__ = ["Law", "law"]

# The fourth standardised moment of each form that varies.
KURTOSIS = {"normal": 3.0, "uniform": 1.8}


class Law(NamedTuple):
    """What an initialiser promises for one tensor."""

    form: str  # "constant", "normal" or "uniform"
    mean: float
    std: float

    @property
    def bounds(self) -> tuple[float, float]:
        """Of a uniform law."""
        half = self.std * math.sqrt(3)
        return self.mean - half, self.mean + half

    def deviations(self, mean: float, std: float, n: int) -> tuple[float, float]:
        """How far the moments of n values are from these, in standard errors."""
        if self.form == "constant":
            return 0.0 if mean == self.mean else math.inf, 0.0 if std == 0.0 else math.inf
        error_of_mean = self.std / math.sqrt(n)
        error_of_std = self.std * math.sqrt((KURTOSIS[self.form] - 1) / (4 * n))
        return abs(mean - self.mean) / error_of_mean, abs(std - self.std) / error_of_std

    def density(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Of a law that varies."""
        if self.form == "uniform":
            low, high = self.bounds
            return np.where((x >= low) & (x <= high), 1 / (high - low), 0.0)
        z = (x - self.mean) / self.std
        found: NDArray[np.float64] = np.exp(-z * z / 2) / (self.std * math.sqrt(2 * math.pi))
        return found


def law(initializer: Initializer, shape: tuple[int, ...]) -> Law:
    """The law of an initialiser for that shape, for those that are constant, uniform or a plain normal."""
    mean, std = initializer.moments(shape)
    if std == 0.0:
        return Law("constant", mean, std)
    return Law("uniform" if initializer.function.endswith("uniform") else "normal", mean, std)
