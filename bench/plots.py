"""Two pictures for the README, drawn by matplotlib: the sweep of sizes, and the peers as bars.

The background is opaque white, so that they can be read on a dark page too. Only fastinit has a strong colour.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .clock import Row, Table
from .report import Heading, beside, columns

_OURS, _OURS_LIGHT, _LIMIT, _PEER = "#c2410c", "#f0a878", "#6b7280", "#9ca3af"
_LINES = ("#1d4ed8", "#0f766e", "#7e22ce", "#4d7c0f")
_LIBRARIES = {
    "numpy": "NumPy",
    "randomgen": "randomgen",
    "mkl": "oneMKL VSL",
    "torch": "PyTorch",
    "jax": "JAX",
    "tensorflow": "TensorFlow",
    "keras": "Keras",
}
_PANELS = (
    ("normal", "normal float32"),
    ("truncated", "truncated normal +-2 sd float32"),
    ("uniform", "uniform float32"),
)


def _pyplot() -> Any:
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    pyplot.rcParams.update(
        {
            "font.size": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#9ca3af",
            "axes.labelcolor": "#111827",
            "text.color": "#111827",
            "xtick.color": "#374151",
            "ytick.color": "#374151",
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
        }
    )
    return pyplot


def _footnote(figure: Any, heading: Heading) -> None:
    words = f"{heading['cpu']}, {heading['cpus'].split()[0]} CPUs, {heading['target'].split()[0]}; {heading['date']}"
    figure.text(0.01, 0.01, words, fontsize=8, color="#6b7280", ha="left", va="bottom")


def _threads(count: int | None) -> str:
    return "" if count is None else f", {count} thread{'' if count == 1 else 's'}"


def draw_sweep(heading: Heading, tables: Sequence[Table]) -> Any:
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(9, 5.2))
    others = iter(_LINES)
    names = columns(tables)
    lines: list[tuple[str, str, list[Row]]] = []
    ours = [name for name in names if name[0].startswith("fastinit")]
    for name, threads in names:
        rows = [r for t in tables for r in t.rows if (r.name, r.threads) == (name, threads) and r.measured]
        if (name, threads) in ours:
            color = _OURS if (name, threads) == ours[-1] else _OURS_LIGHT
        else:
            color = next(others, _PEER)
        short = name.replace("(out=)", "").replace("vsRngGaussian ", "").replace("mkl", "oneMKL")
        lines.append((short + _threads(threads), color, rows))
    lines.append(("ndarray.fill", _LIMIT, [t.limit for t in tables if t.limit and t.limit.seconds]))
    for label, color, rows in lines:
        style = "--" if label == "ndarray.fill" else "-"
        axes.plot(
            [row.n for row in rows],
            [1e9 * row.median() / row.n for row in rows],
            style,
            color=color,
            linewidth=2.4 if color == _OURS else 1.6,
            label=label,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("float32 elements in the array")
    axes.set_ylabel("nanoseconds per element")
    axes.set_title("A normal fill: time per element for each size of the array", loc="left", fontsize=12)
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=10)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    _footnote(figure, heading)
    return figure


def bars(table: Table, kind: str) -> list[tuple[str, float, str]]:
    """Label, 10^9 values a second and colour: fastinit by threads, and the fastest row of each library."""
    rows = [row for row in table.rows if row.measured and row.kind == kind]
    best: dict[tuple[str, int | None], Row] = {}
    for row in rows:
        key = (row.who, row.threads if row.who == "fastinit" else None)
        if key not in best or row.values_per_second() > best[key].values_per_second():
            best[key] = row
    most = max((row.threads or 0 for row in rows if row.who == "fastinit"), default=0)
    found = []
    for (who, _), row in best.items():
        if who == "fastinit":
            color = _OURS if row.threads == most else _OURS_LIGHT
            found.append((f"fastinit{_threads(row.threads)}", row.values_per_second() / 1e9, color))
        else:
            found.append((_LIBRARIES[who] + _threads(row.threads), row.values_per_second() / 1e9, _PEER))
    return sorted(found, key=lambda bar: bar[1])


def draw_peers(heading: Heading, tables: Sequence[Table]) -> Any:
    pyplot = _pyplot()
    panels = []
    for name, kind in _PANELS:
        for table in tables:
            if table.name == name and (found := bars(table, kind)):
                panels.append((kind, table, found))
    heights = [len(found) + 1.6 for _, _, found in panels]
    figure, grid = pyplot.subplots(
        len(panels), 1, figsize=(9, 0.36 * sum(heights) + 0.6), sharex=True, squeeze=False, height_ratios=heights
    )
    for axes, (kind, table, found) in zip(grid[:, 0], panels, strict=True):
        axes.barh([label for label, _, _ in found], [rate for _, rate, _ in found], color=[c for _, _, c in found])
        for index, (_, rate, _) in enumerate(found):
            white = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # over the limit's line
            axes.annotate(
                f"{rate:.2g}", (rate, index), (4, 0), textcoords="offset points", va="center", fontsize=10, bbox=white
            )
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        title = kind[0].upper() + kind[1:]
        axes.set_title(title.replace("+-", "±"), loc="left", fontsize=12)
        if table.limit and table.limit.seconds:
            limit = table.limit.values_per_second() / 1e9
            axes.axvline(limit, color=_LIMIT, linestyle="--", linewidth=1.2, zorder=0)
            axes.annotate(
                "ndarray.fill", (limit, 0), (4, 0), textcoords="offset points", va="center", fontsize=9, color=_LIMIT
            )
    grid[-1, 0].set_xlabel("10⁹ values a second into a warm array; fastest call of each library")
    figure.tight_layout(rect=(0, 0.02, 1, 1))
    _footnote(figure, heading)
    return figure


def write(directory: Path, heading: Heading, tables: Sequence[Table]) -> list[Path]:
    """Draw what these tables have data for."""
    sweep = [table for table in tables if table.name == "sweep" and table.measured]
    panels = [table for table in tables for name, kind in _PANELS if table.name == name and bars(table, kind)]
    pictures = {}
    if sweep:
        pictures["sweep.png"] = draw_sweep(heading, sweep)
    if panels:
        pictures["peers.png"] = draw_peers(heading, tables)
    for name, figure in pictures.items():
        beside(directory / name, lambda path, figure=figure: figure.savefig(path, dpi=150))  # type: ignore[misc]
    return [directory / name for name in pictures]
