"""Advice in words. Each rule states its law; its threshold follows from the theory or from the size of the sample.

What a rule knows of weights is in ``Facts``, for each layer that multiplies by a matrix of known fans.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .._arguments import few
from ._activations import Activation, Floats
from ._report import Layer, number
from ._theory import resting_chi, square
from ._values import SATURATED, Values

__all__ = ["Facts", "Link", "advise", "move_together"]


class Link(NamedTuple):
    """What a layer gets: the output of another one, through an activation and nothing else."""

    before: int  # the number of that layer
    activation: Activation


class Facts(NamedTuple):
    """What is known of the weights of a layer."""

    fan_in: int
    fan_out: int
    n: int  # weights
    mean: float
    square: float  # E w^2
    bias_square: float  # E b^2
    units_move_together: bool | None = None  # the gradients of its units are equal; None: there are none
    link: Link | None = None


def move_together(gradient: Floats, epsilon: float) -> bool:
    """Whether the rows of a weight's gradient are equal, as far as half of the digits of its type say."""
    size = float(np.abs(gradient).max(initial=0.0))
    spread = float(np.abs(gradient - gradient[:1]).max(initial=0.0))
    return spread <= math.sqrt(epsilon) * size


def advise(layers: Sequence[Layer], facts: Mapping[int, Facts]) -> list[str]:
    """All that the rules find, the most basic first."""
    chains = list(_chains(layers, facts))
    return [
        *_not_finite(layers),
        *_equal_units(layers, facts),
        *_mean(layers, facts),
        *chains,
        *_saturated(layers),
        *_dead(layers),
        *_without_gradient(layers, facts),
        *([] if chains else _lost(layers, facts)),
    ]


def _names(layers: Sequence[Layer]) -> str:
    return few([layer.name for layer in layers], 4)


# --- facts, without a threshold -------------------------------------------------------------------------------------


def _not_finite(layers: Sequence[Layer]) -> Iterator[str]:
    """Law: none. The first layer of each pass that has some."""

    def words(name: str, values: Values, what: str) -> str:
        return f"{name}: {values.nan} NaN and {values.infinite} infinities among {values.n} {what}"

    for layer in layers:
        if layer.output.nan or layer.output.infinite:
            yield words(layer.name, layer.output, "outputs: the first layer of the forward pass that has some.")
            break
    for layer in reversed(layers):
        if layer.gradient is not None and (layer.gradient.nan or layer.gradient.infinite):
            yield words(layer.name, layer.gradient, "gradients: the first layer of the backward pass that has some.")
            break


def _equal_units(layers: Sequence[Layer], facts: Mapping[int, Facts]) -> Iterator[str]:
    """Law: units with equal weights and equal gradients stay equal. A layer of zeros whose gradients differ is fine."""
    stuck = [layers[i] for i, one in facts.items() if layers[i].equal_units and one.units_move_together]
    if stuck:
        silent = all(layer.weight_gradient is not None and layer.weight_gradient.rms == 0.0 for layer in stuck)
        yield (
            f"{_names(stuck)}: constant weights: all units of a layer have the same, and "
            + ("no gradient reaches them" if silent else "the same gradient")
            + ". They stay one unit (symmetry): random weights, of any law, break it."
        )


# --- laws -----------------------------------------------------------------------------------------------------------


def _mean(layers: Sequence[Layer], facts: Mapping[int, Facts]) -> Iterator[str]:
    """Law: of sum w_i x_i, weights of mean m and variance s^2 give all units m sum x_i in common, of size
    fan_in |m| |x|, beside sqrt(fan_in) s |x| of their own. Threshold: what they have in common is twice as much, and
    five standard errors of m away from 0.
    """
    shifted = [(layers[i], facts[i]) for i in _shifted(layers, facts)]
    if shifted:
        means = sorted(one.mean for _, one in shifted)
        span = number(means[0]) + (f" to {number(means[-1])}" if len(means) > 1 else "")
        yield (
            f"{_names([layer for layer, _ in shifted])}: weights of mean {span}: what all units of a layer have in "
            "common, fan_in times that, is more than what sets them apart. The laws have mean 0."
        )


def _shifted(layers: Sequence[Layer], facts: Mapping[int, Facts]) -> list[int]:
    def is_shifted(one: Facts) -> bool:
        shift = one.mean * one.mean
        variance = max(one.square - shift, 0.0)
        return one.fan_in * shift > 4 * variance and one.n * shift > 25 * variance

    return [i for i, one in facts.items() if not layers[i].equal_units and layers[i].units != 1 and is_shifted(one)]


def _chains(layers: Sequence[Layer], facts: Mapping[int, Facts]) -> Iterator[str]:
    """Law: through layer and activation, variances are multiplied by fan_in E[w^2] E phi^2 / q forward, and those of
    gradients by chi backward (He 2015; Schoenholz 2017); signals reach about 1 / |log chi| layers. Threshold: a chain
    is deeper than that, both by fan_in and by fan_out, as far as n weights can tell (3 standard errors, each of
    sqrt(2 / n)), and what was measured agrees.
    """
    other_laws = {*_shifted(layers, facts), *(i for i in facts if layers[i].equal_units)}
    chains: dict[int, list[int]] = {}
    for i, one in facts.items():
        if i in other_laws:
            continue
        before = None if one.link is None else one.link.before
        chains[i] = [*chains[before], i] if before in chains else [i]
    inner = {chain[-2] for chain in chains.values() if len(chain) > 1}
    for last, chain in chains.items():
        if last not in inner and len(chain) > 2:
            yield from _chain([layers[i] for i in chain], [facts[i] for i in chain])


def _chain(layers: list[Layer], facts: list[Facts]) -> Iterator[str]:
    links = len(layers) - 1
    total, error = 0.0, 0.0
    for layer, one in zip(layers[:-1], facts[1:], strict=True):
        q = layer.output.mean_square
        w2 = one.fan_in * one.square
        assert one.link is not None
        if not (1e-200 < w2 < 1e200 and q < 1e200):  # beyond, products of these are no numbers
            return
        chi = resting_chi(one.link.activation, w2, one.bias_square, q)
        total += math.log(_nearer_to_1(chi, chi * one.fan_out / one.fan_in))
        error += 2.0 / one.n
    forward = _log_ratio(layers[-1].output, layers[0].output)
    backward = _log_ratio(layers[0].gradient, layers[-1].gradient)
    agree = any(x is not None and math.copysign(1, total) * x > 1.0 for x in (forward, backward))
    if abs(total) <= 1.0 + 3.0 * math.sqrt(error) or not agree:
        return
    activations = {one.link.activation.name: one.link.activation for one in facts[1:] if one.link is not None}
    steps = []
    for what, x in (("the variance", forward), ("that of gradients", backward)):
        if x is not None:
            step = math.exp(x / links)
            factor = f"{step:.2f}" if step >= 0.1 else f"{step:.2g}"
            verb = "stays" if abs(step - 1.0) < 0.05 else "shrinks" if x < 0.0 else "grows"
            steps.append(f"{what} {verb} (x {factor} a layer)")
    scale = float(np.median([one.fan_in * one.square for one in facts[1:]]))
    yield (
        f"{layers[0].name} .. {layers[-1].name}: {', '.join(steps)}, over {links} links through "
        f"{', '.join(activations)}. fan_in E[w^2] is {scale:.3g}{_law(facts[1:])}. "
        + " ".join(_cure(phi, layers[0].output.mean_square) for phi in activations.values())
    )


def _nearer_to_1(one: float, other: float) -> float:
    """Of two factors; 1 where that lies between them."""
    if min(one, other) > 1.0:
        return min(one, other)
    return max(one, other) if max(one, other) < 1.0 else 1.0


def _log_ratio(one: Values | None, other: Values | None) -> float | None:
    """Of mean squares; None where one is not positive, or not finite."""
    if one is None or other is None or one.nan or other.nan or one.infinite or other.infinite:
        return None
    return 2.0 * math.log(one.rms / other.rms) if one.rms > 0.0 and other.rms > 0.0 else None


_LAWS: dict[str, Callable[[Facts], float]] = {
    "He's": lambda one: 2 / one.fan_in,
    "He's by fan_out": lambda one: 2 / one.fan_out,
    "Xavier's": lambda one: 2 / (one.fan_in + one.fan_out),
    "LeCun's": lambda one: 1 / one.fan_in,
    "PyTorch's default": lambda one: 1 / (3 * one.fan_in),
}


def _law(facts: Sequence[Facts]) -> str:
    """The published laws whose variance all layers have, within four standard errors: ": LeCun's law"."""
    found = [
        name
        for name, law in _LAWS.items()
        if all(abs(one.square / law(one) - 1.0) < 4.0 * math.sqrt(2.0 / one.n) for one in facts)
    ]
    return f": {' or '.join(found)}" if found else ""


def _cure(phi: Activation, q: float) -> str:
    if phi.homogeneous:
        law = {"relu": "He's law", "linear": "LeCun's law"}.get(phi.name, "He's law with its slope")
        return f"{phi.name} keeps the variance at {1 / square(phi, 1.0):.3g}: {law}."
    if phi.name == "tanh":
        return "tanh keeps that of gradients near 1: LeCun's law, or Xavier's."
    if phi.name == "sigmoid":
        return "A sigmoid's slope is at most 1/4: gradients shrink wherever this is below 16; tanh or relu keep them."
    # Of gelu and silu, the map has a slope above 1 where it meets the diagonal.
    kept = q / square(phi, q)
    return f"{phi.name} keeps a variance of {q:.2g} at {kept:.3g}; others go away from it, layer by layer."


# --- activations ----------------------------------------------------------------------------------------------------


def _saturated(layers: Sequence[Layer]) -> Iterator[str]:
    """Law: at 0.97 of the range the slope of tanh and sigmoid is 1 - 0.97^2 of the largest. Threshold: most outputs."""
    found = [layer for layer in layers if layer.saturated is not None and layer.saturated > 0.5]
    if found:
        most = max(layer.saturated or 0.0 for layer in found)
        yield (
            f"{_names(found)}: saturated: up to {100 * most:.0f} % of the outputs are beyond {SATURATED} of the range, "
            f"where the slope is below {1 - SATURATED**2:.2f} of the largest. Smaller inputs or weights keep it alive."
        )


def _dead(layers: Sequence[Layer]) -> Iterator[str]:
    """Law: before weights that are symmetric around 0, a unit is negative for one input with probability 1/2, and for
    all inputs with no more. Threshold: 1/2 and three standard errors of as many units.
    """
    found = [
        layer
        for layer in layers
        if layer.dead is not None and layer.units and layer.dead > 0.5 + 1.5 / math.sqrt(layer.units)
    ]
    if found:
        most = max(layer.dead or 0.0 for layer in found)
        yield (
            f"{_names(found)}: dead: up to {100 * most:.0f} % of the units are 0 for the whole batch. Weights that are "
            "symmetric around 0, with biases of 0, leave at most about half."
        )


# --- gradients ------------------------------------------------------------------------------------------------------


def _without_gradient(layers: Sequence[Layer], facts: Mapping[int, Facts]) -> Iterator[str]:
    """Law: none. Gradients that are exactly 0, and what is above the last of them."""
    numbers = [i for i in facts if layers[i].gradient is not None]
    silent = [i for i in numbers if _is_zero(layers[i].gradient)]
    stuck = all(layers[i].equal_units and facts[i].units_move_together for i in silent)
    if not silent or stuck:
        return
    above = [i for i in facts if i > silent[-1] and facts[i].square == 0.0 and not _is_zero(layers[i].weight_gradient)]
    why = (
        f": the weights of {layers[above[0]].name} above are 0, and let it through after their first step"
        if above
        else ""
    )
    yield (f"No gradient reaches {len(silent)} of {len(numbers)} layers ({_names([layers[i] for i in silent])}){why}.")


def _is_zero(values: Values | None) -> bool:
    return values is not None and values.rms == 0.0


_EPSILON = 2.0**-23


def _lost(layers: Sequence[Layer], facts: Mapping[int, Facts]) -> Iterator[str]:
    """Law: none. Threshold: float32's rounding: beside the larger gradient, the smaller one is lost."""
    found = [layers[i] for i in facts if not _is_zero(layers[i].gradient)]
    gradients = [(layer, layer.gradient) for layer in found if layer.gradient is not None]
    if len(gradients) < 2:
        return
    (first, one), (last, other) = gradients[0], gradients[-1]
    log = _log_ratio(one, other)
    if log is not None and abs(log) > -2.0 * math.log(_EPSILON):
        yield (
            f"Gradients {'vanish' if log < 0 else 'explode'}: their root mean square is {one.rms:.2g} at {first.name} "
            f"and {other.rms:.2g} at {last.name}."
        )
