"""A picture of the demo: histograms of what was filled, each with the density of its law. It needs matplotlib."""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .laws import Law

__all__ = ["Panel", "check", "draw", "histogram"]

PIECE = 1 << 20  # values counted at a time
VALUES, LAW = "#f0a878", "#1f2937"


class Panel(NamedTuple):
    """One tensor: its histogram, in values per unit of x so that it compares with a density."""

    title: str
    law: Law
    edges: NDArray[Any]
    heights: NDArray[Any]


def histogram(title: str, values: NDArray[Any], law: Law) -> Panel:
    """All values count, those beyond the edges too. Bins are 0.1 standard deviations wide, or a fiftieth of U(a, b)."""
    if law.form == "uniform":
        (low, high), bins, beyond = law.bounds, 50, 5
    else:
        low, high, bins, beyond = law.mean - 4.5 * law.std, law.mean + 4.5 * law.std, 90, 0
    width = (high - low) / bins
    edges = low + width * np.arange(-beyond, bins + beyond + 1)
    counts = np.zeros(len(edges) - 1, np.int64)
    for start in range(0, values.size, PIECE):
        counts += np.histogram(values[start : start + PIECE].astype(np.float64), edges)[0]
    return Panel(title, law, edges, counts / (values.size * width))


def _figure(**how: Any) -> Any:
    try:
        return importlib.import_module("matplotlib.figure").Figure(layout="constrained", **how)
    except ImportError as error:
        raise ImportError(f"--plot needs matplotlib: python -m pip install matplotlib ({error})") from error


def check(file: pathlib.Path) -> None:
    """Raise where ``draw`` could not draw such a file: ImportError without matplotlib, ValueError for other kinds."""
    kinds = _figure().canvas.get_supported_filetypes()
    if file.suffix.lstrip(".").lower() not in kinds:
        raise ValueError(
            f"--plot must be a file whose name ends with {', '.join(f'.{kind}' for kind in kinds)}; got {file}"
        )


def draw(panels: Sequence[Panel], title: str, file: pathlib.Path) -> None:
    """Write the picture, two panels in a row."""
    rows = (len(panels) + 1) // 2
    figure = _figure(figsize=(10, 0.6 + 2.8 * rows))
    figure.suptitle(title)
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for panel, axis in zip(panels, axes, strict=False):
        axis.stairs(panel.heights, panel.edges, fill=True, color=VALUES, label="values")
        x = np.linspace(panel.edges[0], panel.edges[-1], 1000)
        axis.plot(x, panel.law.density(x), color=LAW, linewidth=1.2, label="law")
        axis.set_title(panel.title, fontsize=9)
        axis.set_yticks([])
        axis.spines[["top", "left", "right"]].set_visible(False)
        axis.locator_params(axis="x", nbins=5)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    axes[0].legend(frameon=False)
    figure.savefig(file, dpi=150, facecolor="white")
