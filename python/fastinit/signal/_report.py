"""What a forward and a backward pass showed: a row for each layer, a table, JSON, and what to draw."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ._values import Values

__all__ = ["Layer", "Report", "number", "ratio"]


@dataclass(frozen=True)
class Layer:
    """One call of a layer, or of an activation.

    Attributes
    ----------
    name : str
        The module's name; "name#2" for its second call, and so on.
    kind : str
        What it is, such as "Linear" or "ReLU".
    shape : tuple of int
        Of its output.
    output : Values
        Of its output, before anything else changes that in place.
    gradient : Values or None
        Of the loss's gradient at its output. None if there is none: nothing
        that requires grad comes before, or the loss does not depend on it.
    weight_gradient : Values or None
        Of the gradient at its own weight, which is the sum over all calls.
    gain : float or None
        Root mean square of its output over that of its (first) input.
    backward_gain : float or None
        Root mean square of the gradient at that input over that at the output.
        If something else uses the input too, such as a residual connection,
        its gradient counts that.
    saturated : float or None
        Of tanh and sigmoid, the share of outputs beyond 0.97 of the range.
    dead : float or None
        Of ReLU, the share of units that are 0 for the whole batch, in all
        places. ``output.zeros`` is the share of outputs that are 0.
    units : int or None
        How many units it has, where its type says it.
    equal_units : bool
        Whether all its units have the same weights: without help they stay
        one unit.
    predicted_std, predicted_grad_std : float or None
        What the theory of wide networks says, in ``fastinit.signal.mlp``.
    """

    __module__ = "fastinit.signal"
    name: str
    kind: str
    shape: tuple[int, ...]
    output: Values
    gradient: Values | None = None
    weight_gradient: Values | None = None
    gain: float | None = None
    backward_gain: float | None = None
    saturated: float | None = None
    dead: float | None = None
    units: int | None = None
    equal_units: bool = False
    predicted_std: float | None = None
    predicted_grad_std: float | None = None


@dataclass(frozen=True)
class Report:
    """What a forward and a backward pass showed. ``str(report)`` is a table.

    Attributes
    ----------
    layers : tuple of Layer
        In the order of the forward pass.
    advice : tuple of str
        Where a law of initialisation is off, and what is not finite, constant
        or without gradient. Empty if nothing was found.
    """

    __module__ = "fastinit.signal"
    layers: tuple[Layer, ...]
    advice: tuple[str, ...]

    @property
    def gain(self) -> float | None:
        """Root mean square of the last layer's output over the first's."""
        if not self.layers:
            return None
        return ratio(self.layers[-1].output, self.layers[0].output)

    @property
    def backward_gain(self) -> float | None:
        """Root mean square of the first layer's gradient over the last's."""
        gradients = [layer.gradient for layer in self.layers if layer.gradient is not None]
        return ratio(gradients[0], gradients[-1]) if gradients else None

    def __str__(self) -> str:
        table = self.table()
        widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
        lines = ["  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip() for row in table]
        return "\n".join([*lines, self.summary, *self.advice])

    @property
    def summary(self) -> str:
        """One line: the number of layers, the gain over the whole depth."""
        return (
            f"{len(self.layers)} layers; gain from the first to the last {number(self.gain)}, of gradients from the "
            f"last to the first {number(self.backward_gain)}"
        )

    def table(self) -> list[list[str]]:
        """The cells of the table, a list for each line, the head first.

        Returns
        -------
        list of list of str
            Without the columns that no layer has.
        """
        columns = [column for column in _COLUMNS if any(column.cell(layer) != "-" for layer in self.layers)]
        return [[column.title for column in columns], *([c.cell(layer) for c in columns] for layer in self.layers)]

    def to_json(self) -> str:
        """All of it as JSON; numbers that are not finite are null.

        Returns
        -------
        str
            An object with "layers", "advice", "gain" and "backward_gain".
        """
        data = {**dataclasses.asdict(self), "gain": self.gain, "backward_gain": self.backward_gain}
        return json.dumps(_plain(data), allow_nan=False)

    def plot(self) -> Any:
        """Draw the variances by depth, and the histograms by layer.

        Returns
        -------
        matplotlib.figure.Figure
            Of outputs and gradients, with the predicted lines where there are
            some. It belongs to no window: use ``savefig``, or show it in a
            notebook.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        return importlib.import_module(f"{__package__}._draw").figure(self)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write one file, which needs no other: advice, pictures, table.

        It is written beside and renamed, so that no reader sees half of it.

        Parameters
        ----------
        path : str or path
            Where to write it. A file that is there is replaced.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        OSError
            The file cannot be written.
        """
        importlib.import_module(f"{__package__}._draw").write_page(self, path)


def ratio(one: Values | None, other: Values | None) -> float | None:
    """Of two root mean squares; None where there is none, or none that means something."""
    if one is None or other is None or not one.rms >= 0.0 or not other.rms > 0.0:
        return None
    return one.rms / other.rms


def number(value: float | None) -> str:
    """In a few digits."""
    return "-" if value is None else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{100 * value:.3g} %"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


class _Column(NamedTuple):
    title: str
    value: Callable[[Layer], Any]
    words: Callable[[Any], str]

    def cell(self, layer: Layer) -> str:
        return self.words(self.value(layer))


_COLUMNS = (
    _Column("layer", lambda layer: layer.name, str),
    _Column("kind", lambda layer: layer.kind, str),
    _Column("shape", lambda layer: "x".join(map(str, layer.shape)), str),
    _Column("mean", lambda layer: layer.output.mean, number),
    _Column("std", lambda layer: layer.output.std, number),
    _Column("predicted", lambda layer: layer.predicted_std, number),
    _Column("zeros", lambda layer: layer.output.zeros, _share),
    _Column("saturated", lambda layer: layer.saturated, _share),
    _Column("dead", lambda layer: layer.dead, _share),
    _Column("gain", lambda layer: layer.gain, number),
    _Column("grad std", lambda layer: None if layer.gradient is None else layer.gradient.std, number),
    _Column("predicted", lambda layer: layer.predicted_grad_std, number),
    _Column("backward gain", lambda layer: layer.backward_gain, number),
)
