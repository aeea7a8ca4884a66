"""A plain network in NumPy: a forward and a backward pass, and beside them what the theory predicts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import fastinit

from .._arguments import count, integer, integers, shown, typed
from ..recipes import Initializer
from ._activations import ACTIVATIONS, Activation, Floats, activation_named
from ._advice import Facts, Link, advise, move_together
from ._report import Layer, Report, ratio
from ._theory import expected, slope_square, square
from ._values import dead_share, measured, saturated_share

if TYPE_CHECKING:
    from .._types import Integer, Integers, NDArray, Real

__all__ = ["initializer_named", "mlp", "widths_of"]


def widths_of(widths: object) -> tuple[int, ...]:
    """At least two, each at least 1."""
    sizes = integers("widths", widths)
    if len(sizes) < 2 or min(sizes) < 1:
        raise ValueError(
            f"widths must be at least two ints >= 1, of the inputs and of each layer's units; got {shown(widths)}"
        )
    return sizes


def initializer_named(name: str, value: object) -> Initializer:
    """An ``Initializer``, or that of a function's name with its defaults."""
    if isinstance(value, Initializer):
        return value
    if isinstance(value, str):
        return Initializer(value)
    raise TypeError(f"{name} must be an Initializer or the name of a function of fastinit, got {typed(value)}")


def _given(name: str, value: object, shape: tuple[int, int]) -> Floats:
    """An array of the caller's, as float64."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be an array of numbers, got {typed(value)}") from None
    wanted = f"(batch, {shape[1]})" if shape[0] < 1 else str(shape)
    if (
        array.ndim != 2
        or array.shape[1] != shape[1]
        or array.shape[0] != (shape[0] or array.shape[0])
        or not array.size
    ):
        raise ValueError(f"{name} must have the shape {wanted}, got {array.shape}")
    return array


@dataclass
class _Pass:
    """One layer, as it is computed."""

    weight: Floats
    bias: Floats | None
    inputs: Floats
    before: Floats  # pre-activations
    after: Floats


def mlp(
    widths: Integers,
    activation: str,
    initializer: Initializer | str,
    *,
    bias: Initializer | str | None = None,
    a: Real | None = None,
    x: NDArray[Any] | None = None,
    gradient: NDArray[Any] | None = None,
    batch: Integer = 256,
    seed: Integer = 0,
) -> Report:
    """Run h_l = W_l z_(l-1) + b_l, z_l = phi(h_l), forward and backward.

    A plain network, each of whose layers has the activation, in float64. The
    report has a row for each h_l ("fc1", ...), and one for each z_l
    ("fc1.relu", ...) unless the activation is "linear".

    Parameters
    ----------
    widths : sequence of int
        The number of inputs, and of each layer's units.
    activation : str
        "linear", "relu", "leaky_relu", "tanh", "sigmoid", "gelu" or "silu".
    initializer : fastinit.recipes.Initializer or str
        Of the weights, whose shape (out, in) is read as in PyTorch; or the
        name of a function, such as "he_normal".
    bias : fastinit.recipes.Initializer or str, optional
        Of the biases. There are none without it.
    a : float, optional
        The negative slope, for leaky_relu only; 0.01 by default.
    x : array, optional
        The input, of shape (batch, widths[0]); N(0, 1) by default.
    gradient : array, optional
        The gradient at the last output, of shape (batch, widths[-1]); N(0, 1)
        by default.
    batch : int, default 256
        The number of random inputs.
    seed : int, default 0
        Of everything random. The streams are "fc1.weight", "fc1.bias" and so
        on, "x" and "gradient".

    Returns
    -------
    Report
        The predicted columns are those of wide networks (``variance_map``,
        ``chi``), with the moments that the initialiser's law has. They are
        empty where the theory does not apply: for weights or biases whose mean
        is not 0.

    Raises
    ------
    TypeError, ValueError
        An argument is not what is described above, or the initialiser refuses
        a shape.

    Notes
    -----
    The weights are the same on every machine; the products are those of
    NumPy's BLAS, so the last digits of the report are not.

    References
    ----------
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", 2010; He et al., "Delving deep into rectifiers", 2015.

    Examples
    --------
    >>> import fastinit
    >>> report = fastinit.signal.mlp([256] * 21, "relu", "he_normal")
    >>> [round(layer.predicted_std, 2) for layer in report.layers[::20]]
    [1.42, 1.42]
    >>> report.advice
    ()
    """
    sizes = widths_of(widths)
    phi = activation_named(activation, a)
    weights_law = initializer_named("initializer", initializer)
    bias_law = None if bias is None else initializer_named("bias", bias)
    try:
        seed = integer(seed)
    except TypeError:
        raise TypeError(f"seed must be an int, got {typed(seed)}") from None
    if x is None:
        x = fastinit.normal(np.empty((count("batch", batch), sizes[0])), seed=seed, stream="x")
    else:
        x = _given("x", x, (0, sizes[0]))
    last = (len(x), sizes[-1])
    if gradient is None:
        gradient = fastinit.normal(np.empty(last), seed=seed, stream="gradient")
    else:
        gradient = _given("gradient", gradient, last)

    passes: list[_Pass] = []
    z: Floats = x
    with np.errstate(over="ignore", invalid="ignore"):  # the report says so
        for i, (n_in, n_out) in enumerate(itertools.pairwise(sizes), 1):
            weight = weights_law.fill(np.empty((n_out, n_in)), seed=seed, stream=f"fc{i}.weight", layout="torch")
            offset = None if bias_law is None else bias_law.fill(np.empty(n_out), seed=seed, stream=f"fc{i}.bias")
            h = z @ weight.T if offset is None else z @ weight.T + offset
            passes.append(_Pass(weight, offset, z, h, phi.value(h)))
            z = passes[-1].after
        gradients = _backward(passes, phi, gradient)
        squares = float(np.square(x).mean()), float(np.square(gradient).mean())
        predicted = _predicted(sizes, phi, weights_law, bias_law, *squares)
        layers, facts = _rows(passes, phi, gradients, predicted)
        return Report(tuple(layers), tuple(advise(layers, facts)))


def _backward(passes: Sequence[_Pass], phi: Activation, gradient: Floats) -> list[tuple[Floats, Floats, Floats]]:
    """The gradients at each layer's pre-activations, at its outputs and at its weights."""
    found: list[tuple[Floats, Floats, Floats]] = []
    for one in reversed(passes):
        delta = gradient * phi.derivative(one.before)
        found.append((delta, gradient, delta.T @ one.inputs))
        gradient = delta @ one.weight
    return found[::-1]


@dataclass(frozen=True)
class _Prediction:
    """Standard deviations of pre-activations and outputs, and of the gradients there."""

    before: float
    after: float
    grad_before: float
    grad_after: float


def _predicted(
    sizes: Sequence[int],
    phi: Activation,
    weights_law: Initializer,
    bias_law: Initializer | None,
    x_square: float,
    gradient_square: float,
) -> list[_Prediction] | None:
    variances = []
    for n_in, n_out in itertools.pairwise(sizes):
        mean, std = weights_law.moments((n_out, n_in), "torch")
        bias_mean, bias_std = (0.0, 0.0) if bias_law is None else bias_law.moments((n_out,))
        if mean != 0.0 or bias_mean != 0.0:
            return None
        variances.append((std * std, bias_std * bias_std))
    qs, after = [], []
    z_square = x_square
    for n_in, (w2, b2) in zip(sizes[:-1], variances, strict=True):
        q = n_in * w2 * z_square + b2
        if not np.isfinite(q):
            return None
        z_square = square(phi, q)
        qs.append(q)
        after.append(max(z_square - expected(phi.value, q) ** 2, 0.0))
    grads = []
    g = gradient_square
    for q, n_out, (w2, _) in zip(qs[::-1], sizes[:0:-1], variances[::-1], strict=True):
        delta = g * slope_square(phi, q)
        grads.append((delta, g))
        g = n_out * w2 * delta
    rows = zip(qs, after, grads[::-1], strict=True)
    return [_Prediction(q**0.5, z**0.5, delta**0.5, g**0.5) for q, z, (delta, g) in rows]


def _rows(
    passes: Sequence[_Pass],
    phi: Activation,
    gradients: Sequence[tuple[Floats, Floats, Floats]],
    predicted: Sequence[_Prediction] | None,
) -> tuple[list[Layer], dict[int, Facts]]:
    layers: list[Layer] = []
    facts: dict[int, Facts] = {}
    step = 1 if phi is ACTIVATIONS["linear"] else 2
    inputs, at_inputs = measured(passes[0].inputs), None
    for i, (one, (delta, gradient, of_weight)) in enumerate(zip(passes, gradients, strict=True)):
        n_out, n_in = one.weight.shape
        equal = n_out > 1 and _all_equal(one.weight) and (one.bias is None or _all_equal(one.bias))
        link = Link(len(layers) - step, phi) if i else None
        bias_square = 0.0 if one.bias is None else float(np.square(one.bias).mean())
        facts[len(layers)] = Facts(
            n_in,
            n_out,
            one.weight.size,
            float(one.weight.mean()),
            float(np.square(one.weight).mean()),
            bias_square,
            move_together(of_weight, np.finfo(np.float64).eps) if equal else None,
            link,
        )
        rows: list[tuple[str, str, Floats, Floats]] = [(f"fc{i + 1}", "linear", one.before, delta)]
        if step == 2:
            rows.append((f"fc{i + 1}.{phi.name}", phi.name, one.after, gradient))
        for name, kind, output, at_output in rows:
            is_layer = kind == "linear"
            out, grad = measured(output), measured(at_output)
            prediction = None if predicted is None else predicted[i]
            layers.append(
                Layer(
                    name,
                    kind,
                    output.shape,
                    out,
                    grad,
                    measured(of_weight) if is_layer else None,
                    gain=ratio(out, inputs),
                    backward_gain=ratio(at_inputs, grad),
                    saturated=None if is_layer or phi.limits is None else saturated_share(output, phi.limits),
                    dead=None if is_layer or phi.name != "relu" else dead_share(output, -1),
                    units=n_out,
                    equal_units=is_layer and equal,
                    predicted_std=None if prediction is None else prediction.before if is_layer else prediction.after,
                    predicted_grad_std=(
                        None if prediction is None else prediction.grad_before if is_layer else prediction.grad_after
                    ),
                )
            )
            inputs, at_inputs = out, grad
    return layers, facts


def _all_equal(rows: Floats) -> bool:
    return bool((rows == rows[0]).all())
