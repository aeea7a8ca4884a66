"""Pictures of a report by matplotlib, and the page that has them inside."""

from __future__ import annotations

import html
import io
import math
import os
from collections.abc import Sequence
from typing import Any

from .._files import write_text
from ._report import Layer, Report, number
from ._values import Values
from ._width import Coordinates

try:
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError(
        "plot and to_html draw with matplotlib, which is not installed: pip install matplotlib"
    ) from error

__all__ = ["figure", "widths", "write_page"]

_OUTPUT, _GRADIENT, _GREY = "#1d4ed8", "#c2410c", "#6b7280"
_MOST, _ACROSS = 24, 6  # panels of histograms, and how many stand side by side


def _variance(values: Values | None) -> float:
    """What a logarithmic axis can show; NaN else, which leaves a gap."""
    square = math.nan if values is None else values.std * values.std
    return square if square > 0.0 else math.nan


def _line(axes: Any, values: Sequence[Values | None], colour: str, name: str) -> None:
    y = list(map(_variance, values))
    axes.plot(range(len(y)), y, ".-", color=colour, linewidth=1, label=name)


def _predicted(axes: Any, stds: Sequence[float | None], colour: str) -> None:
    y = [math.nan if std is None or std == 0.0 else std * std for std in stds]
    if not all(map(math.isnan, y)):
        axes.plot(range(len(y)), y, "--", color=colour, linewidth=3, alpha=0.35, label="predicted")


def _by_depth(axes: Any, layers: Sequence[Layer]) -> None:
    _line(axes, [layer.output for layer in layers], _OUTPUT, "outputs")
    _predicted(axes, [layer.predicted_std for layer in layers], _OUTPUT)
    _line(axes, [layer.gradient for layer in layers], _GRADIENT, "gradients")
    _predicted(axes, [layer.predicted_grad_std for layer in layers], _GRADIENT)
    axes.set_yscale("log")
    axes.set_ylabel("variance")
    axes.set_title("Variance by depth", fontsize=10)
    axes.legend(fontsize=8)
    ticks = _some(list(range(len(layers))), 30)
    axes.set_xticks(ticks, [layers[i].name for i in ticks], rotation=90, fontsize=6, parse_math=False)


def _some(items: list[Any], most: int) -> list[Any]:
    """At most so many of them, from the first to the last."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _histogram(axes: Any, layer: Layer) -> None:
    for values, colour in ((layer.output, _OUTPUT), (layer.gradient, _GRADIENT)):
        if values is not None and values.counts and values.low < values.high:
            # Each on its own scale, from its smallest value to its largest: the shapes are what is compared.
            n, highest = len(values.counts), max(values.counts)
            axes.stairs([count / highest for count in values.counts], [i / n for i in range(n + 1)], color=colour)
    axes.set_title(layer.name, fontsize=6, parse_math=False)  # a name is no formula
    axes.set_xticks([0, 1], [number(layer.output.low), number(layer.output.high)], fontsize=5)
    axes.set_yticks([])


def figure(report: Report) -> Figure:
    """Variances by depth, and below them a small histogram for each layer; of many layers, 24 from first to last."""
    layers = report.layers
    panels = _some(list(layers), _MOST)
    rows = -(-len(panels) // _ACROSS)
    drawn = Figure(figsize=(10, 4 + 1.3 * rows), layout="constrained")
    heights = [4.0, 1.3 * rows] if rows else [4.0]
    top, *below = drawn.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _by_depth(top.subplots(), layers)
    if rows:
        grid = below[0].subplots(rows, _ACROSS, squeeze=False).ravel()
        for axes, layer in zip(grid, panels, strict=False):
            _histogram(axes, layer)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        below[0].suptitle("Outputs (blue; their range below) and gradients (red), by layer", fontsize=10)
    return drawn


def widths(found: Coordinates) -> Figure:
    """How far the layers moved, by width."""
    drawn = Figure(figsize=(6, 4), layout="constrained")
    axes = drawn.subplots()
    for (name, slope), column in zip(found.slopes.items(), zip(*found.moved, strict=True), strict=True):
        axes.plot(found.widths, column, ".-", label=f"{name}: slope {slope:.2f}")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("width")
    axes.set_title("Change of pre-activations in training", fontsize=10)
    axes.legend(fontsize=8)
    return drawn


# --- the page -------------------------------------------------------------------------------------------------------

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>How signals travel</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #111827; background: white }}
body {{ margin: 2em auto; max-width: 75em; padding: 0 1em }}
figure, div {{ overflow-x: auto; margin: 1em 0 }}
svg {{ width: 100%; min-width: 50em; max-width: 64em; height: auto }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
td, th {{ padding: 0.1em 0.7em; text-align: right; border-bottom: 1px solid #e5e7eb; white-space: nowrap }}
td:first-child, th:first-child {{ text-align: left }}
</style>
<h1>How signals travel</h1>
<p>{summary}</p>
{advice}
<figure>{picture}</figure>
<div><table>
{table}
</table></div>
</html>
"""


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _page(report: Report) -> str:
    head, *rows = report.table()
    picture = io.StringIO()
    figure(report).savefig(picture, format="svg")
    advice = "".join(f"<li>{html.escape(words)}</li>" for words in report.advice)
    return _PAGE.format(
        summary=html.escape(report.summary),
        advice=f"<ul>{advice}</ul>" if advice else "<p>No law is off.</p>",
        picture=picture.getvalue()[picture.getvalue().index("<svg") :],
        table="\n".join([_row(head, "th"), *(_row(row, "td") for row in rows)]),
    )


def write_page(report: Report, path: str | os.PathLike[str]) -> None:
    """Write beside and rename."""
    write_text(path, _page(report))
