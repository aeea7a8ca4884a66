"""The mean-field theory of wide networks: how the variance of pre-activations, and gradients, go from layer to layer.

Weights are independent with mean 0 and variance sigma_w^2 / fan_in, biases with sigma_b^2; a unit's pre-activation is
then close to N(0, q).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._arguments import at_least_zero, shown, typed
from ._activations import Activation, Floats, activation_named

if TYPE_CHECKING:
    from .._types import NDArray, Real

__all__ = [
    "FixedPoint",
    "chi",
    "expected",
    "fixed_points",
    "map_slope",
    "resting_chi",
    "slope_square",
    "square",
    "variance_map",
]


# --- quadrature -----------------------------------------------------------------------------------------------------

# Gauss-Legendre on panels that halve towards 0, on both sides: no panel has a kink inside, and whatever the scale
# 1 / sqrt(q) on which an activation bends, some panels have that width. (Gauss-Hermite sees a kink, and a tanh of
# large q, as a function that no polynomial fits.) Beyond 10 lies less than 1e-22 of the density.
_END, _PANELS, _NODES = 10.0, 60, 24


@functools.cache
def _rule() -> tuple[Floats, Floats]:
    """Nodes and weights for the expectation over N(0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    ends = _END * np.concatenate([[0.0], 2.0 ** np.arange(-_PANELS, 1)])
    middle, half = (ends[1:] + ends[:-1]) / 2, (ends[1:] - ends[:-1]) / 2
    z = (middle[:, None] + half[:, None] * nodes).ravel()
    w = (half[:, None] * weights).ravel() * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return np.concatenate([-z, z]), np.concatenate([w, w])


def expected(function: Callable[[Floats], Floats], q: float) -> float:
    """E f(sqrt(q) z), z ~ N(0, 1)."""
    z, w = _rule()
    return float(w @ function(math.sqrt(q) * z))


# --- the map --------------------------------------------------------------------------------------------------------


def square(activation: Activation, q: float) -> float:
    """E phi(sqrt(q) z)^2. Of q = 1, where the activation is homogeneous, so that no q is too large or too small."""
    if activation.homogeneous:
        return q * expected(lambda x: activation.value(x) ** 2, 1.0)
    return expected(lambda x: activation.value(x) ** 2, q)


def slope_square(activation: Activation, q: float) -> float:
    """E phi'(sqrt(q) z)^2."""
    return expected(lambda x: activation.derivative(x) ** 2, q)


def map_slope(activation: Activation, q: float) -> float:
    """d/dq of E phi(sqrt(q) z)^2: E phi phi' z / sqrt(q). At 0, phi'(0)^2: phi(0) or phi''(0) is 0 of each."""
    if activation.homogeneous:
        return square(activation, 1.0)
    if q == 0.0:
        return slope_square(activation, 0.0)
    z, w = _rule()
    x = math.sqrt(q) * z
    return float(w @ (activation.value(x) * activation.derivative(x) * z)) / math.sqrt(q)


def _checked(q: object) -> Floats:
    try:
        given = np.asarray(q)
    except (TypeError, ValueError):  # of ragged lists
        given = np.asarray(None)
    if given.dtype.kind not in "iuf":  # NumPy would read strings and bools as numbers
        raise TypeError(f"q must be a number >= 0 or an array of them, got {typed(q)}")
    values = given.astype(np.float64)
    if not (np.isfinite(values) & (values >= 0.0)).all():
        raise ValueError(f"q must be finite and >= 0, got {shown(q)}")
    return values


def _each(function: Callable[[float], float], q: object) -> Any:
    values = _checked(q)
    if values.ndim == 0:
        return function(float(values))
    return np.array([function(float(one)) for one in values.ravel()]).reshape(values.shape)


def variance_map(
    q: Real | NDArray[Any], activation: str, sigma_w: Real = 1.0, sigma_b: Real = 0.0, *, a: Real | None = None
) -> Any:
    """Map q to sigma_w^2 E phi(sqrt(q) z)^2 + sigma_b^2, z ~ N(0, 1).

    The variance of a layer's pre-activations, from that of the layer before,
    in a wide network with weights of variance sigma_w^2 / fan_in and mean 0.

    Parameters
    ----------
    q : float or array
        The variance of the pre-activations, finite and at least 0.
    activation : str
        "linear", "relu", "leaky_relu", "tanh", "sigmoid", "gelu" (by erf) or
        "silu".
    sigma_w : float, default 1.0
        Standard deviation of a weight times sqrt(fan_in): sqrt(2) by He's law,
        1 by LeCun's, and by Xavier's where fan_in = fan_out.
    sigma_b : float, default 0.0
        Standard deviation of a bias.
    a : float, optional
        The negative slope, for leaky_relu only; 0.01 by default.

    Returns
    -------
    float or array
        The variance of the next pre-activations, in the shape of q.

    Raises
    ------
    TypeError, ValueError
        An argument is not what is described above.

    Notes
    -----
    By quadrature: relative error below 1e-12 for q from 1e-20 to 1e20.

    References
    ----------
    He et al., "Delving deep into rectifiers", 2015; Poole et al., "Exponential
    expressivity in deep neural networks through transient chaos", 2016.

    Examples
    --------
    >>> import fastinit
    >>> round(fastinit.signal.variance_map(3.0, "relu", sigma_w=2**0.5), 12)
    3.0
    >>> round(fastinit.signal.variance_map(1.0, "tanh"), 4)
    0.3943
    """
    phi = activation_named(activation, a)
    w, b = at_least_zero("sigma_w", sigma_w), at_least_zero("sigma_b", sigma_b)
    return _each(lambda one: w * w * square(phi, one) + b * b, q)


def chi(q: Real | NDArray[Any], activation: str, sigma_w: Real = 1.0, *, a: Real | None = None) -> Any:
    """The gain of gradients: sigma_w^2 E phi'(sqrt(q) z)^2, z ~ N(0, 1).

    The factor on the variance of gradients, from a layer's pre-activations to
    those of the layer before. Of the fixed point, it is also the slope of the
    map of correlations at 1: below 1 inputs come together (order) and
    gradients vanish, above 1 they come apart (chaos) and gradients explode.
    Signals reach about 1 / abs(log(chi)) layers, or a few times that.

    Parameters
    ----------
    q : float or array
        The variance of the pre-activations, finite and at least 0.
    activation : str
        As for ``variance_map``.
    sigma_w : float, default 1.0
        Standard deviation of a weight times sqrt(fan_in).
    a : float, optional
        The negative slope, for leaky_relu only; 0.01 by default.

    Returns
    -------
    float or array
        In the shape of q.

    Raises
    ------
    TypeError, ValueError
        An argument is not what is described above.

    References
    ----------
    Schoenholz et al., "Deep information propagation", 2017.

    Examples
    --------
    >>> import fastinit
    >>> round(fastinit.signal.chi(1.0, "relu"), 12)
    0.5
    >>> fastinit.signal.chi(1.0, "sigmoid") < 1 / 16  # its slope is at most 1/4
    True
    """
    phi = activation_named(activation, a)
    w = at_least_zero("sigma_w", sigma_w)
    return _each(lambda one: w * w * slope_square(phi, one), q)


# --- fixed points ---------------------------------------------------------------------------------------------------


class FixedPoint(NamedTuple):
    """A variance that the map leaves as it is.

    Attributes
    ----------
    q : float or None
        The variance. None: each q is one, as for relu with He's law.
    slope : float
        Of the variance map there. Below 1, the variances nearby come to q;
        above 1, they leave it.
    chi : float
        The gain of gradients there.
    """

    q: float | None
    slope: float
    chi: float


FixedPoint.__module__ = "fastinit.signal"  # for help, and for pickles that outlive the name of this file


# Where fixed points are looked for, at least: an activation that is not homogeneous bends at sizes around 1. Below and
# above it is close to a straight line, on which a small or a large bias may have put a fixed point.
_SMALLEST, _LARGEST = 1e-10, 1e10
_A_DECADE = 10  # steps of the search
# Quadrature and rounding may put that much, relative, between the map and the diagonal where they are one.
_ROUNDING = 1e-12


@functools.cache
def _on_grid(phi: Activation, i: int) -> tuple[float, float]:
    """The i-th q, and E phi(sqrt(q) z)^2 there: the same for all weights and biases."""
    q = 10.0 ** (i / _A_DECADE)
    return q, square(phi, q)


def _found(phi: Activation, w2: float, b2: float) -> list[FixedPoint]:
    def point(q: float | None) -> FixedPoint:
        at = 1.0 if q is None else q
        return FixedPoint(q, w2 * map_slope(phi, at), w2 * slope_square(phi, at))

    if phi.homogeneous:  # q -> m q + b2
        m = w2 * square(phi, 1.0)
        if abs(m - 1.0) < _ROUNDING:
            return [point(None)] if b2 == 0.0 else []
        if b2 == 0.0:
            return [point(0.0)]
        return [point(b2 / (1.0 - m))] if m < 1.0 else []

    def excess(q: float) -> float:
        return w2 * square(phi, q) + b2 - q

    start, bend = excess(0.0), w2 * map_slope(phi, _LARGEST)
    points = [point(0.0)] if start == 0.0 else []
    # The map begins at start and does not fall: no other fixed point lies below. It ends on a line of the slope bend,
    # less than w2 + b2 above that through 0.
    lowest = min(_SMALLEST, start / 2 or _SMALLEST)
    highest = max(_LARGEST, 2 * (w2 + b2) / (1.0 - bend) if bend < 1.0 else 0.0)
    first, last = (round(_A_DECADE * math.log10(end)) for end in (lowest / 2, highest * 2))
    sides = []
    for i in range(first, last + 1):
        q, of_phi = _on_grid(phi, i)
        over = w2 * of_phi + b2 - q
        if abs(over) > _ROUNDING * q:
            sides.append((q, over > 0.0))
    for (low, above), (high, above_there) in itertools.pairwise(sides):
        if above != above_there:
            while (middle := math.sqrt(low * high)) not in (low, high) and high / low - 1.0 > 1e-14:
                low, high = (middle, high) if (excess(middle) > 0.0) == above else (low, middle)
            points.append(point(math.sqrt(low * high)))
    return points


def fixed_points(
    activation: str, sigma_w: Real = 1.0, sigma_b: Real = 0.0, *, a: Real | None = None
) -> tuple[FixedPoint, ...]:
    """The q with q = sigma_w^2 E phi(sqrt(q) z)^2 + sigma_b^2, ascending.

    After some layers the variance is near one of those whose slope is below 1.
    With no such point above it, the variance grows without bound.

    Parameters
    ----------
    activation : str
        As for ``variance_map``.
    sigma_w : float, default 1.0
        Standard deviation of a weight times sqrt(fan_in).
    sigma_b : float, default 0.0
        Standard deviation of a bias.
    a : float, optional
        The negative slope, for leaky_relu only; 0.01 by default.

    Returns
    -------
    tuple of FixedPoint
        With q, the slope of the map and chi. Where every q is a fixed point,
        one of them, whose q is None.

    Raises
    ------
    TypeError, ValueError
        An argument is not what is described above.

    Notes
    -----
    Exact for relu, leaky_relu and linear. For the others the map is compared
    with q at ten points a decade, wherever the two can meet: points of which
    two lie closer together are not told apart.

    References
    ----------
    Poole et al., "Exponential expressivity in deep neural networks through
    transient chaos", 2016.

    Examples
    --------
    >>> import fastinit
    >>> low, high = fastinit.signal.fixed_points("tanh", sigma_w=1.5)
    >>> low.q, low.slope > 1, round(high.q, 3), high.slope < 1 < high.chi
    (0.0, True, 0.793, True)
    >>> fastinit.signal.fixed_points("relu", sigma_w=2**0.5)[0].q is None
    True
    """
    phi = activation_named(activation, a)
    w, b = at_least_zero("sigma_w", sigma_w), at_least_zero("sigma_b", sigma_b)
    return tuple(_found(phi, w * w, b * b))


def resting_chi(phi: Activation, w2: float, b2: float, q: float) -> float:
    """chi of the fixed point to which the variance goes from q; of a very large q if it grows without bound."""
    if phi.homogeneous:
        return w2 * slope_square(phi, 1.0)
    points = [point for point in _found(phi, w2, b2) if point.q is not None]
    if w2 * square(phi, q) + b2 > q:
        return next((p.chi for p in points if p.q is not None and p.q > q), w2 * slope_square(phi, _LARGEST))
    return next((p.chi for p in reversed(points) if p.q is not None and p.q <= q), w2 * slope_square(phi, 0.0))
