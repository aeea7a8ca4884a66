"""Prints the machine, the tables and the ratios, and writes the JSON file."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import fastinit

from .clock import Effort, Ratio, Row, Table
from .questions import STORES, Setting
from .rows import installed

Heading = dict[str, str]


def load() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _caches() -> str:
    """Of the first CPU, from Linux."""
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text("utf-8").strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return ", ".join(found) or "unknown"


_PLAIN = ("ml_dtypes", "matplotlib", "transformers", "timm", "torchvision")


def heading(setting: Setting, effort: Effort, here: Sequence[str], away: Sequence[str]) -> Heading:
    """Of a run with these libraries, and without those."""
    config = fastinit.show_config(mode="dicts")
    plain = [f"{name} {version}" for name in _PLAIN if (version := installed(name))]
    away = [*away, *(name for name in _PLAIN if not installed(name))]
    return {
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cpus": f"{config['cpus']} for this process",
        "caches": _caches(),
        "system": platform.platform(),
        "target": f"{config['target']} (found: {', '.join(config['targets_found'])}); {config['compiler']}",
        "versions": ", ".join([f"python {platform.python_version()}", *here]),
        "other versions": ", ".join(plain) or "none",
        "not here": ", ".join(away) or "nothing that the bench uses",
        "threads": f"fastinit {', '.join(map(str, setting.threads))}; the others as they choose, or as shown",
        "most threads": f"{setting.threads[-1]} thread{'' if setting.threads[-1] == 1 else 's'}",
        "buffer": f"{setting.n_bytes >> 20} MiB, warm",
        "rounds": f"at most {effort.rounds}, medians",
        "load before": load(),
    }


NOTES = """\
elements: of one call; a slow row runs on a part of the buffer. of limit: bytes a second, divided by those of the limit
(the first row), which runs right before each of the others. fastinit is x: values a second of fastinit's fastest row of
the same kind, divided by those of this row. spread: distance between the quartiles, divided by the median. ratio: of
runs that are neighbours in time, the median over the rounds. JAX, TensorFlow and Keras return new arrays; the times
include the allocation. The normals of NumPy and randomgen have standard deviation 1; the times do not include the pass
that would scale them."""

WIDTHS = (58, 8, 10, 9, 9, 8, 10, 15, 8)


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def _elements(n: int) -> str:
    return str(n) if n < 1_000_000 else f"{n / 1e6:.4g} M"


def _spread(row: Row) -> str:
    low, middle, high = row.quartiles()
    return f"{100 * (high - low) / middle:.0f} %"


def times(row: Row, rows: Sequence[Row]) -> float | None:
    """Values a second of fastinit's fastest row of this kind, divided by those of this row."""
    own = [other.values_per_second() for other in rows if _is_ours(other) and other.kind == row.kind]
    return max(own) / row.values_per_second() if own and row.who not in ("fastinit", "limit") else None


def _is_ours(row: Row) -> bool:
    return row.who == "fastinit" and row.measured


def number(value: float | None, digits: int = 3) -> str:
    """With so many significant digits, but all of those before the point."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 10**digits - 0.5 else f"{value:.{digits}g}"


def value(ratio: Ratio) -> str:
    """The text of a ratio's value, with the row that was fastest if there was a choice."""
    if ratio.value() is None:
        return "not measured"
    rival = ratio.rival()
    chosen = f"   ({rival.name})" if rival and ratio.bottom and len(ratio.bottom) > 1 else ""
    return f"{number(ratio.value())}{chosen}"


def _line(out: TextIO, *cells: str) -> None:
    first, *rest = cells
    widths = WIDTHS[1:]
    print(f"{first:<{WIDTHS[0]}}" + "".join(f"{c:>{w}}" for c, w in zip(rest, widths, strict=False)), file=out)


def _show_row(row: Row, rows: Sequence[Row], out: TextIO) -> None:
    name = f"  {row.name}"
    if row.error:
        print(f"{name:<{WIDTHS[0]}} failed: {row.error}", file=out)
        return
    if not row.seconds:
        print(f"{name:<{WIDTHS[0]}} not measured", file=out)
        return
    _line(
        out,
        name,
        str(row.threads or ""),
        _elements(row.n),
        _time(row.median()),
        f"{row.values_per_second() / 1e9:.3f}",
        f"{row.bytes_per_second() / 1e9:.2f}",
        number(row.of_limit()),
        number(times(row, rows)),
        _spread(row),
    )


def show_table(table: Table, out: TextIO) -> None:
    print(f"\n\n{table.name}. {table.question}\n", file=out)
    _line(out, "", "threads", "elements", "a call", "G val/s", "GB/s", "of limit", "fastinit is x", "spread")
    if table.limit and table.limit.seconds:
        _show_row(table.limit, [], out)
    kind = ""
    for row in table.rows:
        if row.kind != kind:
            kind = row.kind
            print(f"\n{kind}", file=out)
        _show_row(row, table.rows, out)
    print(file=out)
    show_ratios(table.ratios, out)
    for note in table.notes:
        print(f"note: {note}", file=out)


def show_ratios(ratios: Sequence[Ratio], out: TextIO) -> None:
    for ratio in ratios:
        print(f"ratio: {ratio.text}: {value(ratio)}", file=out)


def columns(tables: Sequence[Table]) -> list[tuple[str, int | None]]:
    """The rows that the tables of a sweep have in common, by name and threads."""
    found = {(row.name, row.threads): None for table in tables for row in table.rows}
    return list(found)


def show_sweep(tables: Sequence[Table], out: TextIO) -> None:
    """One table for all sizes: nanoseconds per element."""
    print(f"\n\nsweep. {tables[0].question}, float32: nanoseconds per element, from the time of a call\n", file=out)
    names = columns(tables)
    for index, (name, threads) in enumerate(names, 1):
        print(f"  {index}: {name}" + (f", {threads} thread{'' if threads == 1 else 's'}" if threads else ""), file=out)
    print(
        f"\n{'elements':>12}{'limit':>12}" + "".join(f"{i:>12}" for i in range(1, len(names) + 1)) + "   threads x",
        file=out,
    )
    for table in tables:
        found = {(row.name, row.threads): row for row in table.rows}
        cells = [table.limit, *(found.get(name) for name in names)]
        n = next((row.n for row in table.rows if row.n), 0)
        shown = (
            "failed" if row and row.error else number(1e9 * row.median() / row.n, 4) if row and row.seconds else ""
            for row in cells
        )
        line = f"{n:>12}" + "".join(f"{cell:>12}" for cell in shown)
        print(line + "".join(f"{value(ratio):>12}" for ratio in table.ratios), file=out)
    for text in dict.fromkeys(f"{row.name} failed: {row.error}" for table in tables for row in table.rows if row.error):
        print(text, file=out)


def show(tables: Sequence[Table], out: TextIO) -> None:
    """The tables of one question."""
    sweep = [table for table in tables if table.name == "sweep" and table.measured]
    for table in tables:
        if table.name != "sweep":
            show_table(table, out)
    if sweep:
        show_sweep(sweep, out)


def show_all_ratios(tables: Sequence[Table], out: TextIO) -> None:
    print("\n\nThe ratios in one place\n", file=out)
    for table in tables:
        if table.name != "sweep":
            for ratio in table.ratios:
                print(f"  {table.name:<11}{ratio.text}: {value(ratio)}", file=out)


# --- Markdown -------------------------------------------------------------------------------------------------------

_LIBRARIES = {
    "NumPy": ("numpy",),
    "PyTorch": ("torch",),
    "JAX": ("jax",),
    "TensorFlow, Keras": ("tensorflow", "keras"),
    "oneMKL, 1 thread": ("mkl",),
}
_NOT_IN_MARKDOWN = (STORES, "normal float32, contiguous", "normal float32, for comparison")  # already in other rows
_IN_MARKDOWN = ("uniform", "uniform16", "normal", "truncated", "normal64", "normal16", "targets", "philox", "strided")


def _fill(own: Row) -> str:
    """The function and what it filled: "he_normal float32, Fortran order"."""
    function = own.name.removeprefix("fastinit.").partition("(")[0]
    return f"{function} {own.kind.removeprefix('truncated ').partition(' ')[2]}"


def markdown(heading: Heading, tables: Sequence[Table]) -> str:
    """The README's table of speeds: for each kind, fastinit with most threads, and the fastest row of each library."""
    by_kind: dict[str, list[Row]] = {}
    for table in tables:
        if table.name in _IN_MARKDOWN:
            for row in filter(lambda row: row.measured, table.rows):
                by_kind.setdefault(row.kind, []).append(row)
    used = {
        label: names
        for label, names in _LIBRARIES.items()
        if any(row.who in names for rows in by_kind.values() for row in rows)
    }
    lines = [f"| {' | '.join(['fill', 'fastinit', 'of the limit', *used])} |", "|---" * (3 + len(used)) + "|"]
    for kind, rows in by_kind.items():
        ours = list(filter(_is_ours, rows))
        if not ours or kind in _NOT_IN_MARKDOWN:
            continue
        own = [row for row in ours if row.name == ours[0].name][-1]
        rate = own.values_per_second()
        cells = [_fill(own), number(rate / 1e9, 2), number(own.of_limit(), 2)]
        for names in used.values():
            best = max((row.values_per_second() for row in rows if row.who in names), default=None)
            cells.append("" if best is None else f"{number(best / 1e9, 2)} (x {number(rate / best, 2)})")
        lines.append(f"| {' | '.join(cells)} |")
    said = "; ".join(heading[name] for name in ("cpu", "target", "versions", "buffer", "rounds"))
    return "\n".join(
        [
            *lines,
            "",
            f"10^9 values a second, the fastest call of each library. `{heading['command']}` on {heading['date']}:",
            f"{said}; fastinit on {heading['most threads']}.",
        ]
    )


# --- files ----------------------------------------------------------------------------------------------------------


def _plain(row: Row) -> dict[str, Any]:
    """A row's data, without its functions."""
    fields = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
    data = {name: field for name, field in fields.items() if not callable(field) and name not in ("fit", "inner")}
    data |= row.fit._asdict()
    if row.seconds:
        low, middle, high = row.quartiles()
        data |= {"quartile_1": low, "median": middle, "quartile_3": high}
        data |= {"values_per_second": row.values_per_second(), "bytes_per_second": row.bytes_per_second()}
        data["of_limit"] = row.of_limit()
    return data


def _plain_ratio(ratio: Ratio) -> dict[str, Any]:
    rival = ratio.rival()
    return {"text": ratio.text, "unit": ratio.unit, "value": ratio.value(), "by": rival.name if rival else "limit"}


def beside(path: Path, write: Callable[[Path], object]) -> None:
    """Write next to the file and rename, so that no reader sees half of it."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, heading: Heading, tables: Sequence[Table]) -> None:
    data = {
        "heading": heading,
        "units": "seconds of a call; limit_rates: bytes a second of the limit right before",
        "tables": [
            {
                "name": table.name,
                "question": table.question,
                "limit": _plain(table.limit) if table.limit else None,
                "rows": [_plain(row) for row in table.rows],
                "ratios": [_plain_ratio(ratio) for ratio in table.ratios],
                "notes": table.notes,
            }
            for table in tables
        ],
    }
    beside(path, lambda file: file.write_text(json.dumps(data, indent=1) + "\n", "utf-8"))
