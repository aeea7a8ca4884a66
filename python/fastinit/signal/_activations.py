"""The activations that the theory knows: value, derivative, kinks, range."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._arguments import choice, shown

__all__ = ["ACTIVATIONS", "Activation", "Floats", "activation_named"]

Floats: TypeAlias = NDArray[np.floating[Any]]

_SLOPE = 0.01  # of leaky_relu, as in calculate_gain


class Activation(NamedTuple):
    """A function of one real number. If it has a kink, that is at 0."""

    name: str
    value: Callable[[Floats], Floats]
    derivative: Callable[[Floats], Floats]
    limits: tuple[float, float] | None = None  # where it saturates
    homogeneous: bool = False  # f(c x) = c f(x) for c > 0: the variance map is a straight line


def _tanh_slope(x: Floats) -> Floats:
    """1 - tanh(x)^2, without the difference that loses all digits in the tails."""
    decay = np.exp(-2.0 * np.abs(x))
    return np.asarray(4.0 * decay / (1.0 + decay) ** 2)


def _sigmoid(x: Floats) -> Floats:
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0.0, 1.0, decay) / (1.0 + decay)


def _sigmoid_slope(x: Floats) -> Floats:
    decay = np.exp(-np.abs(x))
    return np.asarray(decay / (1.0 + decay) ** 2)


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _normal_share(x: Floats) -> Floats:
    """The share of N(0, 1) below x."""
    return np.asarray(0.5 * _erfc(-x / math.sqrt(2.0)))


def _gelu_slope(x: Floats) -> Floats:
    return np.asarray(_normal_share(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi))


def _leaky(name: str, a: float) -> Activation:
    return Activation(
        name, lambda x: np.where(x > 0.0, x, a * x), lambda x: np.where(x > 0.0, 1.0, a), homogeneous=True
    )


ACTIVATIONS: dict[str, Activation] = {
    "linear": _leaky("linear", 1.0),
    "relu": _leaky("relu", 0.0),
    "leaky_relu": _leaky("leaky_relu", _SLOPE),
    "tanh": Activation("tanh", np.tanh, _tanh_slope, limits=(-1.0, 1.0)),
    "sigmoid": Activation("sigmoid", _sigmoid, _sigmoid_slope, limits=(0.0, 1.0)),
    "gelu": Activation("gelu", lambda x: x * _normal_share(x), _gelu_slope),
    "silu": Activation("silu", lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) + x * _sigmoid_slope(x)),
}


def activation_named(name: object, a: object = None) -> Activation:
    """The one of that name; ``a`` is the slope of leaky_relu, or None."""
    choice("activation", name, tuple(ACTIVATIONS))
    assert isinstance(name, str)
    if a is None:
        return ACTIVATIONS[name]
    if name != "leaky_relu":
        raise ValueError(f"a is the slope of leaky_relu, and {name} has none; got a={shown(a)}")
    return _leaky(name, _core.real(a, "a", "a finite real number"))
