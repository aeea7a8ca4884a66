"""Whether two ways of making a model follow the same laws: samples over seeds, compared tensor by tensor.

No bound is chosen by hand. Whoever asks names the probability of a false alarm, and the tests are exact for any law and
any number of values. Say pair i is one element of one tensor, made with the i-th seed in both ways. If both ways have
the same law, exchanging the two values of a pair changes no probability, so each pair is a fair coin:

- The sum of differences d of any feature, over the root of the sum of d^2, exceeds t with a probability of at most
  2 exp(-t^2/2) in absolute value (Hoeffding 1963). The features are the first four powers of the distance from the
  mean: in N pairs of normal values a std that is off by a part r gives a t of r sqrt(N). Others are whether a value is
  below a point: distribution functions at some points, as Kolmogorov and Smirnov compare them at all.
- The m largest of all values are all from one way with a probability of 2^(1-m); likewise the smallest.

Both take the elements of a tensor to be independent; weak dependence with fixed row norms, as in orthogonal matrices,
makes them conservative.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["Samples", "alike", "differences", "sample"]

Array = NDArray[Any]
_MOMENTS = ("mean", "std", "skewness", "kurtosis")
_POINTS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # where distribution functions are compared, in standard deviations
_PREFIX = 64  # elements of each tensor by which ``alike`` compares it to the others


@dataclasses.dataclass
class Samples:
    """Of each parameter and buffer: its values, one row for each seed; what it is; and which names share memory."""

    values: dict[str, Array]
    forms: dict[str, tuple[Any, ...]]
    ties: list[list[str]]


def _named(model: nn.Module) -> dict[str, Tensor]:
    named: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    named.update(model.named_buffers(remove_duplicate=False))
    return named


def _array(tensor: Tensor) -> Array:
    tensor = tensor.detach()
    tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def sample(make: Callable[[int], nn.Module], seeds: Iterable[int]) -> Samples:
    """What ``make`` gives for these seeds."""
    rows: dict[str, list[Array]] = {}
    forms: dict[str, tuple[Any, ...]] = {}
    ties: dict[Any, list[str]] = {}
    for number, seed in enumerate(seeds):
        named = _named(make(seed))
        for name, tensor in named.items():
            rows.setdefault(name, []).append(_array(tensor).flatten())
            if number == 0:
                forms[name] = (type(tensor), tensor.shape, tensor.dtype, tensor.stride(), tensor.requires_grad)
                ties.setdefault(tensor.data_ptr() if tensor.numel() else name, []).append(name)
    return Samples({name: np.stack(arrays) for name, arrays in rows.items()}, forms, list(ties.values()))


def _constant(values: Array) -> Array:
    """Which elements are the same, bit for bit, whatever the seed."""
    bits = values.view(f"u{values.itemsize}")
    return np.asarray((bits == bits[0]).all(0))


def _chances(theirs: Array, ours: Array) -> dict[str, float]:
    """For each test an upper bound of the probability of what it sees, if both have one law."""
    a, b = theirs.astype(np.float64).ravel(), ours.astype(np.float64).ravel()
    centre = (a.mean() + b.mean()) / 2
    a -= centre
    b -= centre
    chances = {}
    x, y = a, b  # and their powers
    for moment in _MOMENTS:
        d = x - y
        chances[moment] = 2 * math.exp(-(d.sum() ** 2) / (d @ d) / 2)
        x, y = x * a, y * b
    std = math.sqrt((a @ a + b @ b) / (2 * a.size))
    for point in _POINTS:
        x_below, y_below = a < point * std, b < point * std
        differ = int(np.count_nonzero(x_below ^ y_below))
        t = (np.count_nonzero(x_below) - np.count_nonzero(y_below)) / math.sqrt(max(1, differ))
        chances[f"values below {point} std"] = 2 * math.exp(-t * t / 2)
    above = max((a > b.max()).sum(), (b > a.max()).sum())
    below = max((a < b.min()).sum(), (b < a.min()).sum())
    return chances | {"largest": 2.0 ** (1 - above), "smallest": 2.0 ** (1 - below)}


def differences(theirs: Samples, ours: Samples, error: float) -> list[str]:
    """What tells them apart, in words. Equal laws give some with a probability of at most ``error``."""
    if theirs.forms != ours.forms:
        return [f"forms: {set(theirs.forms.items()) ^ set(ours.forms.items())}"]
    if theirs.ties != ours.ties:
        return [f"ties: {[tie for tie in theirs.ties + ours.ties if (tie in theirs.ties) != (tie in ours.ties)]}"]
    found = []
    chances = {}
    for name in (names[0] for names in theirs.ties):
        a, b = theirs.values[name], ours.values[name]
        constant = _constant(a)
        if (moved := constant != _constant(b)).any():
            where = int(moved.argmax())
            found.append(f"{name}: {moved.sum()} elements random in one of them only, {a[0, where]}, {b[0, where]}")
        elif a[0, constant].tobytes() != b[0, constant].tobytes():
            found.append(f"{name}: other constants, {a[0, constant][:4]}.., {b[0, constant][:4]}..")
        elif not constant.all():
            of_name = _chances(a[:, ~constant], b[:, ~constant])
            chances.update({(name, test): chance for test, chance in of_name.items()})
    for (name, test), chance in chances.items():
        if chance < error / len(chances):
            a, b = theirs.values[name], ours.values[name]
            found.append(f"{name}: {test}, a chance of {chance:.0e}; stds {a.std():.4g}, {b.std():.4g}")
    return found


def alike(samples: Samples, error: float) -> set[tuple[str, str]]:
    """Pairs of tensors whose values go together, by the signs of their first elements; ties aside."""
    names = [tie[0] for tie in samples.ties if not _constant(samples.values[tie[0]]).all()]
    signs = np.zeros((len(names), len(next(iter(samples.values.values()))), _PREFIX), np.float32)
    for row, name in zip(signs, names, strict=True):
        values = samples.values[name][:, :_PREFIX].astype(np.float64)
        row[:, : values.shape[1]] = np.sign(values - values.mean(0)) * ~_constant(values)
    flat = signs.reshape(len(names), -1)
    together, common = np.abs(flat @ flat.T), np.abs(flat) @ np.abs(flat.T)
    pairs = len(names) ** 2 / 2
    bound = np.sqrt(2 * common * math.log(2 * pairs / error))
    rows, columns = np.nonzero(np.triu(together > bound, 1))
    return {(names[i], names[j]) for i, j in zip(rows, columns, strict=True)}
