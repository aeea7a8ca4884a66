"""What is measured of an array: moments, what is not finite, zeros, a histogram; units that are dead, outputs at the
ends of a range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ._activations import Floats

__all__ = ["SATURATED", "Values", "dead_share", "measured", "saturated_share"]

SATURATED = 0.97  # of the range, from its middle
_BINS = 48
_DRAWN = 2**20  # elements of a histogram: enough for a picture


@dataclass(frozen=True)
class Values:
    """Statistics of the outputs of a layer, or of gradients.

    Attributes
    ----------
    n : int
        The number of elements.
    nan, infinite : int
        How many of them are NaN, and infinite.
    mean, std : float
        Of those that are finite; NaN if none is.
    zeros : float
        The share of elements that are 0.
    low, high : float
        The smallest and the largest finite one; NaN if none is.
    counts : tuple of int
        A histogram of the finite ones, in bins of one width from low to high;
        of large arrays, of about 2^20 elements at even distances.
    """

    __module__ = "fastinit.signal"
    n: int
    nan: int
    infinite: int
    mean: float
    std: float
    zeros: float
    low: float
    high: float
    counts: tuple[int, ...]

    @property
    def rms(self) -> float:
        """The root of the mean square: sqrt(mean^2 + std^2)."""
        return math.hypot(self.mean, self.std)

    @property
    def mean_square(self) -> float:
        """mean^2 + std^2."""
        return self.rms * self.rms


def measured(x: Floats) -> Values:
    """Of float32 or float64. Values are divided by the largest one first, so that no square is too large or small."""
    n = x.size
    flat = x.reshape(-1)
    finite = np.isfinite(flat)
    nan = infinite = 0
    if not finite.all():
        nan = int(np.isnan(flat).sum())
        infinite = n - nan - int(finite.sum())
        flat = flat[finite]
    zeros = int((flat == 0).sum()) / n if n else math.nan
    if flat.size == 0:
        return Values(n, nan, infinite, math.nan, math.nan, zeros, math.nan, math.nan, ())
    low, high = float(flat.min()), float(flat.max())
    scale = max(abs(low), abs(high))
    # Subnormal float32 numbers have few digits, but float64 holds them as usual ones.
    y = flat / flat.dtype.type(scale) if scale > 1e-30 else flat.astype(np.float64) / (scale or 1.0)
    mean = float(y.mean(dtype=np.float64))
    std = math.sqrt(float(np.square(y - mean, dtype=np.float64).mean())) if low < high else 0.0
    some = y[:: flat.size // _DRAWN | 1]  # an odd step does not fall on the same few channels
    start, end = float(y.min()), float(y.max())
    # From 0 to 1: between neighbouring floats there is no room for the edges of bins.
    counts = np.histogram((some.astype(np.float64) - start) / (end - start or 1.0), _BINS, (0.0, 1.0))[0]
    return Values(n, nan, infinite, mean * scale, std * scale, zeros, low, high, tuple(int(count) for count in counts))


def dead_share(x: Floats, axis: int) -> float:
    """The share of units, which lie along the axis, that are 0 in all elements."""
    units = np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
    return float((units == 0).all(axis=1).mean())


def saturated_share(x: Floats, limits: tuple[float, float]) -> float:
    """The share of elements that are closer than 3 % of half the range to one of its ends."""
    low, high = limits
    return float((np.abs(x - (low + high) / 2) > SATURATED * (high - low) / 2).mean())
