"""The kernels of two builds of the core by turns: ``python -m bench.turns BEFORE [AFTER]``.

BEFORE and AFTER are source trees, AFTER by default the one that this file is in. For an older revision:

    git worktree add ../before c8f034d && python -m bench.turns ../before

Both cores are built with CMake into a temporary directory, loaded into this process, and run by turns on one buffer, on
one thread. Shown are the medians in G/s and how many times as fast AFTER is.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
# The target of BEFORE that a newer one is compared with, where BEFORE lacks it.
NEAREST = {"avx2_vaes": "avx2"}
TARGETS = {"x86_64": "avx512,avx2_vaes,avx2,portable", "aarch64": "neon,portable"}
SPAN = 50e-6  # seconds of a turn, so that the clock's own time does not count


class Case(NamedTuple):
    name: str
    distribution: int  # as in cpp/engine/parameters.hpp: uniform, normal, truncated
    arguments: tuple[float, ...]
    type: int  # as in the contract: float32, float64, float16, bfloat16
    generator: int = 0


CASES = (
    Case("normal float32", 2, (0, 1), 0),
    Case("truncated +-2 float32", 3, (0, 1, -2, 2), 0),
    Case("truncated -1 .. 3 float32", 3, (0, 1, -1, 3), 0),
    Case("truncated 5 .. 6 float32", 3, (0, 1, 5, 6), 0),
    Case("uniform [0, 1) float32", 1, (0, 1), 0),
    Case("uniform +-0.0512345 float32", 1, (-0.0512345, 0.0512345), 0),
    Case("normal bfloat16", 2, (0, 1), 3),
    Case("normal float16", 2, (0, 1), 2),
    Case("uniform bfloat16", 1, (-1, 1), 3),
    Case("normal float64", 2, (0, 1), 1),
    Case("truncated +-2 float64", 3, (0, 1, -2, 2), 1),
    Case("uniform float64", 1, (-1, 1), 1),
    Case("normal float32, Philox", 2, (0, 1), 0, 1),
)


class Core:
    """A build of the core, by turns.cpp's functions."""

    def __init__(self, source: Path, directory: Path) -> None:
        directory.mkdir()
        ninja = ["-G", "Ninja"] if shutil.which("ninja") else []
        options = ["-DCMAKE_BUILD_TYPE=Release", "-DFASTINIT_PYTHON=OFF"]
        self._run("cmake", "-S", source, "-B", directory / "build", *ninja, *options)
        self._run("cmake", "--build", directory / "build", "--target", "fastinit_core", "--parallel")
        library = directory / "turns.so"
        machine = "-DFASTINIT_X86_64" if platform.machine() == "x86_64" else "-DFASTINIT_AARCH64"
        archive = directory / "build" / "libfastinit_core.a"
        flags = ["-std=c++20", "-O2", "-fPIC", "-shared", "-pthread", machine]
        compiler = os.environ.get("CXX", "c++")
        self._run(compiler, *flags, "-I", source / "cpp", HERE / "turns.cpp", archive, "-o", library)
        self._library = ctypes.CDLL(str(library), mode=os.RTLD_LOCAL)
        self._library.fastinit_fill.restype = ctypes.c_void_p
        self._library.fastinit_time.restype = ctypes.c_double

    @staticmethod
    def _run(*command: str | Path) -> None:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")

    def fill(self, target: str, case: Case) -> int | None:
        """Its handle; None where the target is not there."""
        arguments = (ctypes.c_double * 4)(*case.arguments)
        handle: int | None = self._library.fastinit_fill(
            target.encode(), case.generator, case.distribution, arguments, case.type
        )
        return handle

    def time(self, fill: int, n: int, out: ctypes.c_void_p, fills: int) -> float:
        """Seconds of one fill of n elements."""
        taken: float = self._library.fastinit_time(ctypes.c_void_p(fill), ctypes.c_size_t(n), out, fills)
        return taken / fills * 1e-9


class Turns(NamedTuple):
    target: str
    case: Case
    n: int
    before: float  # seconds, medians
    after: float


def by_turns(before: Core, after: Core, targets: Sequence[str], sizes: Sequence[int], rounds: int) -> Iterator[Turns]:
    # From 16 bytes into a cache line on, as malloc's large arrays and NumPy's are.
    room = ctypes.create_string_buffer(8 * max(sizes) + 128)
    out = ctypes.c_void_p(ctypes.addressof(room) // 64 * 64 + 64 + 16)
    for target in targets:
        for case in CASES:
            new = after.fill(target, case)
            old = before.fill(target, case) or before.fill(NEAREST.get(target, target), case)
            if new is None or old is None:
                continue
            for n in sizes:
                fills = max(1, round(SPAN / after.time(new, n, out, 1)))
                times: tuple[list[float], list[float]] = ([], [])
                turn = ((times[0], before, old), (times[1], after, new))
                for k in range(rounds):
                    for taken, core, fill in turn if k % 2 == 0 else reversed(turn):
                        taken.append(core.time(fill, n, out, fills))
                yield Turns(target, case, n, statistics.median(times[0]), statistics.median(times[1]))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.turns", description=__doc__.split("\n\n")[0])
    parser.add_argument("before", type=Path, help="source tree")
    parser.add_argument("after", type=Path, nargs="?", default=HERE.parent, help="source tree (default: this one)")
    parser.add_argument("--targets", default=TARGETS.get(platform.machine(), "portable"), help="default: %(default)s")
    parser.add_argument("--sizes", default="16384", help="elements of a fill, several by commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=100, help="turns of each (default: %(default)s)")
    args = parser.parse_args(argv)
    sizes = [int(size) for size in args.sizes.split(",")]
    with tempfile.TemporaryDirectory(prefix="fastinit-turns-", ignore_cleanup_errors=True) as work:
        before = Core(args.before.resolve(), Path(work) / "before")
        after = Core(args.after.resolve(), Path(work) / "after")
        print(f"{'target':<10}{'fill':<30}{'elements':>12}{'before':>9}{'after':>9}  G/s   times as fast")
        with contextlib.suppress(KeyboardInterrupt):
            for row in by_turns(before, after, args.targets.split(","), sizes, args.rounds):
                rates = [row.n / seconds * 1e-9 for seconds in (row.before, row.after)]
                ratio = row.before / row.after
                print(
                    f"{row.target:<10}{row.case.name:<30}{row.n:>12}{rates[0]:>9.3f}{rates[1]:>9.3f}{ratio:>14.3f}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
