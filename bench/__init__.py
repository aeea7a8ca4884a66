"""fastinit beside `ndarray.fill`, NumPy and torch, in one run: `python -m bench` from the project's root.

rows.py says what is measured, clock.py how, report.py prints it. Nothing here asserts anything, and what could not run
is named in the output. Needs NumPy and an installed fastinit; uses torch and ml_dtypes where they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from . import clock, report, rows

__all__ = ["main"]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an int >= 1; got {text!r}")
    return int(text)


def _threads(text: str) -> list[int]:
    return sorted({rows.cpus() if part == "all" else _positive(part) for part in text.split(",")})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=f"{__doc__}".splitlines()[0])
    parser.add_argument("--mib", type=_positive, metavar="N", help="size of the warm buffer (256; quick: 16)")
    parser.add_argument("--threads", type=_threads, default="1,all", metavar="N,N", help="for fastinit (1,all)")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="how often each row is measured (15; quick: 3)")
    parser.add_argument("--quick", action="store_true", help="a small buffer and few rounds: less than 30 s")
    parser.add_argument(
        "--cold", type=_positive, nargs="?", const=1024, metavar="MIB", help="fresh memory, too, of so many MiB (1024)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    args = parser.parse_args(argv)
    if args.json and not args.json.absolute().parent.is_dir():
        parser.error(f"--json {args.json}: no such directory")
    mib = args.mib or (16 if args.quick else 256)
    rounds = args.rounds or (3 if args.quick else 15)
    longest = 0.05 if args.quick else 0.125  # seconds for one call; a slower row runs on a part of the buffer

    heading = report.heading(mib, args.threads, rounds)
    with clock.Progress(sys.stderr) as progress:
        fills = clock.measure(*rows.fills(mib << 20, args.threads), rounds, longest, progress)
        calls = clock.measure_calls(rows.calls(), rounds, progress)
        fresh = rows.colds(args.cold << 20, args.threads) if args.cold else []
        colds = clock.measure_cold(fresh, min(rounds, 5), progress)
    heading["load after"] = report.load()
    report.show(heading, fills, calls, colds, sys.stdout)
    if args.json:
        report.write_json(args.json, heading, fills, calls, colds)
    return 0
