"""What is printed and written: the machine, the table, the JSON file. Measures nothing."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import fastinit

from .clock import Call, Cold, Fill, Row
from .rows import optional

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


def _last_cache() -> str:
    try:
        return Path("/sys/devices/system/cpu/cpu0/cache/index3/size").read_text("utf-8").strip()
    except OSError:
        return "unknown"


def heading(mib: int, threads: list[int], rounds: int) -> Heading:
    config = fastinit.show_config(mode="dicts")
    versions = [f"fastinit {fastinit.__version__}", f"python {platform.python_version()}"]
    missing = []
    for name in ("numpy", "torch", "ml_dtypes"):
        module = optional(name)
        versions += [f"{name} {module.__version__}"] if module else []
        missing += [] if module else [name]
    torch = optional("torch")
    return {
        "command": " ".join(["python -m bench", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu(),
        "cpus": f"{config['cpus']} for this process; third-level cache {_last_cache()}",
        "versions": ", ".join(versions),
        "not installed": ", ".join(missing) or "nothing that is used",
        "target": f"{config['target']} (found: {', '.join(config['targets_found'])}); {config['compiler']}",
        "threads": f"fastinit {', '.join(map(str, threads))}; torch {torch.get_num_threads() if torch else '-'}",
        "buffer": f"{mib} MiB, warm",
        "rounds": f"{rounds}, medians",
        "load before": load(),
    }


NOTES = """\
Mi: elements, in 2^20; a slow row runs on a part of the buffer. of fill: GB/s by those of ndarray.fill (one thread, the
whole buffer, run right before each row). x NumPy, x torch: values per second by those of that library's fastest row of
the same kind. spread: distance of the quartiles, by the median. NumPy's normals have std 1: the pass that would scale
them is not in the time."""


def _best(fills: Sequence[Fill], kind: str, who: str) -> float | None:
    return max((row.values_per_second() for row in fills if (row.kind, row.who) == (kind, who)), default=None)


def _times(fill: Fill, peer: float | None) -> str:
    return f"{fill.values_per_second() / peer:.1f}" if peer and fill.who == "fastinit" else ""


def _spread(row: Row) -> str:
    low, middle, high = row.quartiles()
    return f"{100 * (high - low) / middle:.0f} %"


def show(heading: Heading, fills: Sequence[Fill], calls: Sequence[Call], colds: Sequence[Cold], out: TextIO) -> None:
    def line(*cells: str) -> None:
        first, *rest = cells
        print(f"{first:<48}" + "".join(f"{cell:>9}" for cell in rest), file=out)

    for name, value in heading.items():
        print(f"{name:<16}{value}", file=out)
    print(f"\n{NOTES}\n", file=out)
    line("", "threads", "Mi", "G val/s", "GB/s", "of fill", "x NumPy", "x torch", "spread")
    kind = ""
    for row in fills:
        if row.kind != kind:
            kind = row.kind
            print(f"\n{kind}", file=out)
        line(
            f"  {row.name}",
            str(row.threads or ""),
            f"{row.n / 2**20:.4g}",
            f"{row.values_per_second() / 1e9:.3f}",
            f"{row.bytes_per_second() / 1e9:.2f}",
            f"{row.of_limit():.3f}",
            _times(row, _best(fills, kind, "numpy")),
            _times(row, _best(fills, kind, "torch")),
            _spread(row),
        )
    print("\none call on 80 float32", file=out)
    for call in calls:
        line(f"  {call.statement}", f"{call.median() * 1e9:.0f} ns", _spread(call))
    if colds:
        print(f"\nfresh memory, {colds[0].n_bytes >> 20} MiB of float32: allocated and filled", file=out)
        line("", "G val/s", "GB/s", "spread")
    for cold in colds:
        rate = cold.n_bytes / cold.median() / 1e9
        line(f"  {cold.name}", f"{rate / 4:.3f}", f"{rate:.2f}", _spread(cold))


def _plain(row: Row) -> dict[str, Any]:
    """A row's data, without its functions."""
    fields = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
    data = {name: value for name, value in fields.items() if not callable(value) and name != "names"}
    low, middle, high = row.quartiles()
    data |= {"quartile_1": low, "median": middle, "quartile_3": high}
    if isinstance(row, Fill):
        data |= {"values_per_second": row.values_per_second(), "bytes_per_second": row.bytes_per_second()}
        data["of_limit"] = row.of_limit()
    return data


def write_json(
    path: Path, heading: Heading, fills: Sequence[Fill], calls: Sequence[Call], colds: Sequence[Cold]
) -> None:
    """Written beside and renamed, so that no reader sees half of it."""
    groups: dict[str, Sequence[Row]] = {"fills": fills, "calls": calls, "cold": colds}
    data = {
        "heading": heading,
        "units": "seconds",
        **{name: [_plain(row) for row in rows] for name, rows in groups.items()},
    }
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
