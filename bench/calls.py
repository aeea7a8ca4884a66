"""Calls of two revisions of fastinit by turns, for each size: ``python -m bench.calls BEFORE [AFTER]``.

BEFORE and AFTER are source trees, AFTER by default the one that this file is in. For an older revision:

    git worktree add ../before c8f034d && python -m bench.calls ../before --plot calls.png

Both are installed with pip into a temporary directory. Each is called in a process of its own, one at a time, on its
own warm array. Shown are the medians in nanoseconds a call, with NumPy's time for normals beside them, and how
many times as fast AFTER is. bench.turns compares the kernels alone.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
SPAN = 200e-6  # seconds of a turn, so that the clock's own time does not count
# Name, initialiser, its arguments, dtype. Seed and stream are given: nothing is looked up.
FILLS: tuple[tuple[str, str, dict[str, float], str], ...] = (
    ("normal float32", "normal", {}, "float32"),
    ("truncated +-2 float32", "truncated_normal", {}, "float32"),
    ("uniform float32", "uniform", {}, "float32"),
    ("normal float64", "normal", {}, "float64"),
)
NUMPY = "NumPy"


class Row(NamedTuple):
    fill: str
    n: int
    before: float  # seconds of a call, medians
    after: float
    numpy: float | None

    @property
    def ratio(self) -> float:
        return self.before / self.after


def sizes(largest: int) -> list[int]:
    """1 to 256 in fine steps, where a call's own cost counts; four steps an octave up to 2^16; then powers of two."""
    fine = {*range(1, 33), *range(32, 257, 8)}
    steps = {int(2 ** (k / 4)) for k in range(32, 64)}
    return sorted(n for n in fine | steps | {1 << k for k in range(16, 64)} if n <= largest)


def serve(path: str) -> None:
    """In a process of its own: times calls of the fastinit at `path`, as each line of the input asks."""
    sys.path[0] = path  # instead of bench/
    fastinit = importlib.import_module("fastinit")
    assert str(fastinit.__file__).startswith(path), fastinit.__file__
    call: Callable[[], object] | None = None
    for line in sys.stdin:
        calls, n, fill, threads = json.loads(line)
        if n:
            call = None  # gives the last array back
            call = _call(fastinit, fill, n, threads)
            call()
        assert call is not None
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        print((time.perf_counter() - begin) / calls, flush=True)


def _call(fastinit: Any, fill: str, n: int, threads: int | None) -> Callable[[], object]:
    if fill == NUMPY:
        out = np.ones(n, np.float32)
        draw = np.random.default_rng(0).standard_normal
        return lambda: draw(dtype=np.float32, out=out)
    _, function, arguments, dtype = next(found for found in FILLS if found[0] == fill)
    made = np.ones(n, dtype)
    initialiser = getattr(fastinit, function)
    return lambda: initialiser(made, seed=1, stream=2, threads=threads, **arguments)


def install(source: Path, directory: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(directory), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


class Revision:
    """The fastinit that is installed in a directory, in a process of its own."""

    def __init__(self, directory: Path, threads: int | None = None) -> None:
        self._threads = threads
        # As a script: the package bench imports the fastinit that is installed here.
        command = [sys.executable, __file__, "--serve", str(directory)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def time(self, calls: int, fill: str = "", n: int = 0) -> float:
        """Seconds of a call, of a new fill where it is named."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([calls, n, fill, self._threads]), file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def by_turns(before: Revision, after: Revision, ns: Sequence[int], rounds: int) -> Iterator[Row]:
    for fill, *_ in FILLS:
        for n in ns:
            before.time(1, fill, n)
            once = after.time(3, fill, n)
            calls = max(1, round(SPAN / once))
            turns = max(5, min(rounds, round(20 / (once * calls))))  # seconds a row, at most about 40
            times: tuple[list[float], list[float]] = ([], [])
            turn = ((times[0], before), (times[1], after))
            for k in range(turns):
                for taken, revision in turn if k % 2 == 0 else reversed(turn):
                    taken.append(revision.time(calls))
            numpy = None
            if fill.startswith("normal float32") and n <= 1 << 16:
                before.time(1, NUMPY, n)
                numpy = statistics.median(before.time(calls) for _ in range(turns))
            yield Row(fill, n, statistics.median(times[0]), statistics.median(times[1]), numpy)


def plot(rows: Sequence[Row], path: Path) -> None:
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    fills = list(dict.fromkeys(row.fill for row in rows))
    figure, grid = pyplot.subplots(
        2, len(fills), figsize=(4 * len(fills), 6.5), sharex=True, squeeze=False, height_ratios=(2, 1)
    )
    for (times, ratios), fill in zip(grid.T, fills, strict=True):
        found = [row for row in rows if row.fill == fill]
        ns = [row.n for row in found]
        times.plot(ns, [1e9 * row.before / row.n for row in found], color="#6b7280", label="before")
        times.plot(ns, [1e9 * row.after / row.n for row in found], color="#c2410c", label="after")
        times.set(title=fill, xscale="log", yscale="log")
        ratios.plot(ns, [row.ratio for row in found], color="#c2410c")
        ratios.axhline(1, color="#6b7280", linestyle="--", linewidth=1)
        ratios.set(xlabel="elements", ylim=(0.5, None))
    grid[0, 0].set_ylabel("nanoseconds an element")
    grid[1, 0].set_ylabel("times as fast")
    grid[0, 0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.calls", description=__doc__.split("\n\n")[0])
    parser.add_argument("before", type=Path, help="source tree")
    parser.add_argument("after", type=Path, nargs="?", default=HERE.parent, help="source tree (default: this one)")
    parser.add_argument("--largest", type=int, default=1 << 28, help="elements of a fill (default: %(default)s)")
    parser.add_argument("--sizes", help="these sizes alone, by commas")
    parser.add_argument("--threads", type=int, help="of each fill (default: as many as pay off)")
    parser.add_argument("--rounds", type=int, default=40, help="most turns of each (default: %(default)s)")
    parser.add_argument("--plot", type=Path, help="draw both into this file")
    args = parser.parse_args(argv)
    ns = [int(n) for n in args.sizes.split(",")] if args.sizes else sizes(args.largest)
    rows = []
    with tempfile.TemporaryDirectory(prefix="fastinit-calls-", ignore_cleanup_errors=True) as work:
        directories = Path(work) / "before", Path(work) / "after"
        for source, directory in zip((args.before, args.after), directories, strict=True):
            install(source.resolve(), directory)
        before, after = (Revision(directory, args.threads) for directory in directories)
        print(f"{'fill':<24}{'elements':>12}{'before':>14}{'after':>14}  ns   times as fast   of NumPy's time")
        with contextlib.suppress(KeyboardInterrupt):
            for row in by_turns(before, after, ns, args.rounds):
                rows.append(row)
                share = "" if row.numpy is None else f"{row.after / row.numpy:18.3f}"
                nanoseconds = f"{1e9 * row.before:>14.1f}{1e9 * row.after:>14.1f}"
                print(f"{row.fill:<24}{row.n:>12}{nanoseconds}{row.ratio:>20.3f}{share}", flush=True)
        before.end()
        after.end()
    if args.plot and rows:
        plot(rows, args.plot)
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    else:
        sys.exit(main())
