"""Expected mean and standard deviation of each initialiser.

They follow from the published definitions, not from the code that fills, so that a report can compare the two.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._fans import calculate_gain, read_shape

__all__ = ["MOMENTS", "Shape"]

Shape: TypeAlias = Sequence[int]


def _constant(value: float) -> tuple[float, float]:
    return float(value), 0.0


def _uniform(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    low, high = a["low"] / 2, a["high"] / 2  # the sum and the difference of two float64 values may be none
    return low + high, (high - low) / math.sqrt(3)


def _integers(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    first, last = a["low"], a["high"] - 1 + a["endpoint"]
    return (first + last) / 2, math.sqrt(((last - first + 1) ** 2 - 1) / 12)


def _normal(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    return float(a["mean"]), float(a["std"])


@functools.cache
def _nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(100)
    return nodes, weights


def _truncated_normal(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    """By quadrature on the part of the window that holds the mass.

    The textbook's difference quotients of the distribution function lose all digits in a far or a narrow window.
    """
    mean, std, low, high = float(a["mean"]), float(a["std"]), float(a["low"]), float(a["high"])
    absolute = a["bounds"] == "absolute"
    if std == 0.0:
        return (min(max(mean, low), high) if absolute else mean), 0.0
    if absolute:
        low, high = (low - mean) / std, (high - mean) / std
    peak = min(max(0.0, low), high)  # where the density is largest
    # Beyond the distance d with (|peak| + d)^2 - peak^2 = 83 it is less than e^-41 < 2^-59 of that.
    reach = 83.0 / (abs(peak) + math.sqrt(peak * peak + 83.0))
    start, end = max(low - peak, -reach), min(high - peak, reach)  # from the peak
    nodes, weights = _nodes()
    middle, half = (start + end) / 2, (end - start) / 2
    x = middle + half * nodes
    mass = weights * np.exp(-x * (peak + x / 2))  # the density at peak + x over that at the peak
    mass /= mass.sum()
    centre = float((mass - mass[::-1]) @ nodes) / 2  # the nodes are symmetric; exactly 0 if the window is
    spread = math.sqrt(float(mass @ (nodes - centre) ** 2))
    return mean + std * (peak + (middle + half * centre)), std * half * spread


def _scaled(a: Mapping[str, Any], shape: Shape, gain: float) -> tuple[float, float]:
    """Mean 0 and std gain / sqrt(n): all distributions of the family keep it, the truncated one by its correction."""
    if a.get("fan_in") is None and a.get("fan_out") is None:
        how = (a.get(name) for name in ("layout", "in_axis", "out_axis", "batch_axis"))
        fan_in, fan_out = map(float, read_shape(tuple(shape), *how))
    else:
        fan_in, fan_out = (float(a.get(name) or math.nan) for name in ("fan_in", "fan_out"))
    n = {
        "fan_in": fan_in,
        "fan_out": fan_out,
        "fan_avg": (fan_in + fan_out) / 2,
        "fan_geo": math.sqrt(fan_in * fan_out),
    }[a["mode"]]
    return 0.0, gain / math.sqrt(n or 1.0)  # n = 0: no elements


def _xavier(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    return _scaled({**a, "mode": "fan_avg"}, shape, float(a["gain"]))


def _he(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    if a["gain"] is not None:
        gain = float(a["gain"])
    elif a["nonlinearity"] == "leaky_relu":
        gain = calculate_gain("leaky_relu", a["a"])
    else:
        gain = calculate_gain(a["nonlinearity"])
    return _scaled(a, shape, gain)


def _lecun(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    return _scaled({**a, "mode": "fan_in"}, shape, 1.0)


def _rare(value: float, n: int, shape: Shape) -> tuple[float, float]:
    """n elements of a tensor have the value, the others are 0."""
    share = n / (math.prod(shape) or 1)
    return value * share, abs(value) * math.sqrt(share * (1 - share))


def _identity(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    return _rare(float(a["gain"]), min(shape), shape)


def _dirac(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    n_out, n_in = shape[:2] if a["layout"] == "torch" else (shape[-1], shape[-2])
    return _rare(1.0, a["groups"] * min(n_out // a["groups"], n_in) * (0 not in shape), shape)


def _orthogonal(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    """The shorter side's vectors have length gain, over the longer side's elements."""
    cut = 1 if a["layout"] == "torch" else len(shape) - 1
    longer = max(math.prod(shape[:cut]), math.prod(shape[cut:]))
    return 0.0, abs(float(a["gain"])) / math.sqrt(longer or 1)


def _sparse(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    rows = shape[0] or 1
    return 0.0, float(a["std"]) * math.sqrt(1 - math.ceil(float(a["sparsity"]) * rows) / rows)


MOMENTS: dict[str, Callable[[Mapping[str, Any], Shape], tuple[float, float]]] = {
    "constant": lambda a, shape: _constant(a["value"]),
    "zeros": lambda a, shape: _constant(0.0),
    "ones": lambda a, shape: _constant(1.0),
    "uniform": _uniform,
    "integers": _integers,
    "normal": _normal,
    "truncated_normal": _truncated_normal,
    "xavier_uniform": _xavier,
    "xavier_normal": _xavier,
    "he_uniform": _he,
    "he_normal": _he,
    "lecun_uniform": _lecun,
    "lecun_normal": _lecun,
    "variance_scaling": lambda a, shape: _scaled(a, shape, math.sqrt(a["scale"])),
    "identity": _identity,
    "dirac": _dirac,
    "orthogonal": _orthogonal,
    "sparse": _sparse,
}
