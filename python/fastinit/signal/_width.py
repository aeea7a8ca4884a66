"""muP's coordinate check: how far the pre-activations of each layer move in a few steps of training, by width."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import fastinit

from .._arguments import choice, count, integer, integers, positive, shown, typed
from ._activations import Activation, Floats, activation_named
from ._theory import square

if TYPE_CHECKING:
    from typing import Literal

    from .._types import Integer, Integers, Real

__all__ = ["Coordinates", "coordinate_check", "widths_of"]

_N_IN, _N_OUT = 32, 32


@dataclass(frozen=True)
class Coordinates:
    """How far layers moved, by width. ``str(coordinates)`` is a table.

    Attributes
    ----------
    widths : tuple of int
        Of the hidden layers.
    layers : tuple of str
        The names of the layers, the last of which is the output.
    moved : tuple of tuple of float
        For each width, the root mean square of the change of each layer's
        output, before the activation.
    """

    __module__ = "fastinit.signal"
    widths: tuple[int, ...]
    layers: tuple[str, ...]
    moved: tuple[tuple[float, ...], ...]

    @property
    def slopes(self) -> dict[str, float]:
        """For each layer the k with which its change grows as width^k."""
        x = np.log(self.widths)
        x = x - x.mean()  # least squares on logarithms
        with np.errstate(divide="ignore", invalid="ignore"):  # where nothing moves, or a step diverges: NaN
            y = np.log(np.asarray(self.moved))
            return dict(zip(self.layers, map(float, x @ y / (x @ x)), strict=True))

    def __str__(self) -> str:
        table = [["layer", *map(str, self.widths), "slope"]]
        for (name, slope), sizes in zip(self.slopes.items(), zip(*self.moved, strict=True), strict=True):
            table.append([name, *(f"{size:.3g}" for size in sizes), f"{slope:.2f}"])
        first, *columns = [max(map(len, cells)) for cells in zip(*table, strict=True)]
        return "\n".join(
            name.ljust(first) + "".join("  " + cell.rjust(n) for cell, n in zip(cells, columns, strict=True))
            for name, *cells in table
        )

    def plot(self) -> Any:
        """Draw the changes by width.

        Returns
        -------
        matplotlib.figure.Figure
            With a line for each layer.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        return importlib.import_module(f"{__package__}._draw").widths(self)


def coordinate_check(
    widths: Integers,
    activation: str = "relu",
    parametrization: Literal["standard", "mup"] = "mup",
    *,
    optimizer: Literal["adam", "sgd"] = "adam",
    rate: Real = 0.001,
    steps: Integer = 3,
    depth: Integer = 4,
    batch: Integer = 32,
    a: Real | None = None,
    seed: Integer = 0,
) -> Coordinates:
    """Fit log(change of h_l) = slope_l log(width) + const: muP's check.

    A plain network of each width, with 32 inputs and 32 outputs, is trained
    for a few steps on random data, to see how far pre-activations move. In
    muP no layer's change depends on the width (slope 0). In the standard
    parametrization it grows in all layers but the first, and a rate that suits
    a narrow network is too large for a wide one.

    Parameters
    ----------
    widths : sequence of int
        Of the hidden layers: at least two different ones.
    activation : str, default "relu"
        As for ``mlp``; the output has none.
    parametrization : {"mup", "standard"}, default "mup"
        Both have weights N(0, c / fan_in), where c keeps the variance at 1,
        but an output of zeros, as Yang et al. advise, and are the same network
        at the first width, n_0. At width n, muP with Adam divides the rate of
        all layers but the first by n / n_0; with SGD it divides that of the
        output, and multiplies that of the first.
    optimizer : {"adam", "sgd"}, default "adam"
        Adam with betas 0.9 and 0.999 and epsilon 1e-8, or plain SGD.
    rate : float, default 0.001
        The learning rate.
    steps : int, default 3
        The number of steps, each on the same batch. The first moves the output
        alone.
    depth : int, default 4
        The number of layers with weights: at least 2.
    batch : int, default 32
        The number of inputs.
    a : float, optional
        The negative slope, for leaky_relu only; 0.01 by default.
    seed : int, default 0
        Of the data and the weights.

    Returns
    -------
    Coordinates
        How far the layers moved, and the slopes.

    Raises
    ------
    TypeError, ValueError
        An argument is not what is described above.

    References
    ----------
    Yang et al., "Tensor programs V: tuning large neural networks via zero-shot
    hyperparameter transfer", 2022, Table 3 and Section D.

    Examples
    --------
    >>> import fastinit
    >>> mup = fastinit.signal.coordinate_check([64, 128, 256, 512])
    >>> standard = fastinit.signal.coordinate_check([64, 128, 256, 512], parametrization="standard")
    >>> max(mup.slopes.values()) < 0.25 < min(standard.slopes[name] for name in ("fc2", "fc3", "out"))
    True
    """
    sizes = widths_of(widths)
    phi = activation_named(activation, a)
    choice("parametrization", parametrization, ("standard", "mup"))
    choice("optimizer", optimizer, ("adam", "sgd"))
    rate, n_steps, n_layers = positive("rate", rate), count("steps", steps), count("depth", depth)
    if n_layers < 2:
        raise ValueError(f"depth must be an int >= 2, got {n_layers}")
    try:
        seed = integer(seed)
    except TypeError:
        raise TypeError(f"seed must be an int, got {typed(seed)}") from None
    x = fastinit.normal(np.empty((count("batch", batch), _N_IN)), seed=seed, stream="x")
    y = fastinit.normal(np.empty((len(x), _N_OUT)), seed=seed, stream="y")
    names = (*(f"fc{i}" for i in range(1, n_layers)), "out")
    moved = []
    for n in sizes:
        wider = n / sizes[0] if parametrization == "mup" else 1.0
        shapes = [(n, _N_IN), *[(n, n)] * (n_layers - 2), (_N_OUT, n)]
        # What keeps the variance at 1, such as 2 before relu. The input has variance 1, and no activation.
        scales = [1.0, *[1.0 / square(phi, 1.0)] * (n_layers - 2), 0.0]
        weights = [
            fastinit.normal(np.empty(shape), std=math.sqrt(scale / shape[1]), seed=seed, stream=name)
            for name, shape, scale in zip(names, shapes, scales, strict=True)
        ]
        rates = [rate, *[rate / wider] * (n_layers - 1)]
        if optimizer == "sgd":
            rates = [rate * wider, *[rate] * (n_layers - 2), rate / wider]
        with np.errstate(over="ignore", invalid="ignore"):
            before, after = _trained(weights, phi, x, y, rates, n_steps, optimizer == "adam")
            changes = [np.square(late - early).mean() for early, late in zip(before, after, strict=True)]
        moved.append(tuple(float(change) ** 0.5 for change in changes))
    return Coordinates(sizes, names, tuple(moved))


def widths_of(widths: object) -> tuple[int, ...]:
    """At least two different ones."""
    sizes = integers("widths", widths)
    if len(set(sizes)) < 2 or min(sizes) < 1:
        raise ValueError(f"widths must be at least two different ints >= 1, got {shown(widths)}")
    return sizes


def _forward(weights: Sequence[Floats], phi: Activation, x: Floats) -> list[Floats]:
    found = [x @ weights[0].T]
    for weight in weights[1:]:
        found.append(phi.value(found[-1]) @ weight.T)
    return found


def _trained(
    weights: Sequence[Floats], phi: Activation, x: Floats, y: Floats, rates: Sequence[float], steps: int, adam: bool
) -> tuple[list[Floats], list[Floats]]:
    """The pre-activations before and after some steps on half the mean squared error. The weights are changed."""
    first = h = _forward(weights, phi, x)
    moments = [(np.zeros_like(weight), np.zeros_like(weight)) for weight in weights]
    for step in range(1, steps + 1):
        delta = (h[-1] - y) / y.size
        for i in range(len(weights) - 1, -1, -1):
            gradient = delta.T @ (phi.value(h[i - 1]) if i else x)
            if i:
                delta = (delta @ weights[i]) * phi.derivative(h[i - 1])
            if adam:
                mean, square_mean = moments[i]
                mean += 0.1 * (gradient - mean)
                square_mean += 0.001 * (gradient**2 - square_mean)
                gradient = mean / (1 - 0.9**step) / (np.sqrt(square_mean / (1 - 0.999**step)) + 1e-8)
            weights[i][...] -= rates[i] * gradient
        h = _forward(weights, phi, x)
    return first, h
