"""fastinit beside NumPy, PyTorch, JAX, TensorFlow, Keras, randomgen and oneMKL: `python -m bench`, from the root.

Each question has a table: fastinit, the peers that are installed, the limit, and the ratio that answers it. The bench
asserts nothing; it names what is not installed and what fails. Dependencies run one way:

    main -> report, plots -> questions -> cold, sweep, models, adapters -> peers, moments, stopwatch -> rows -> clock

Needs NumPy and an installed fastinit; `pip install ".[bench]"` brings the rest.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import clock, plots, questions, report, rows

__all__ = ["main"]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an int >= 1; got {text!r}")
    return int(text)


def _size(text: str) -> int:
    base, _, exponent = text.replace("**", "^").partition("^")
    size = _positive(base)
    return int(size ** _positive(exponent)) if exponent else size


def _threads(text: str) -> list[int]:
    return sorted({rows.cpus() if part == "all" else _positive(part) for part in text.split(",")})


def _questions(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in questions.QUESTIONS:
            raise argparse.ArgumentTypeError(f"must be of {', '.join(questions.QUESTIONS)}; got {name!r}")
    return [name for name in questions.QUESTIONS if name in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=f"{__doc__}".splitlines()[0])
    add = parser.add_argument
    add("--only", type=_questions, default=list(questions.QUESTIONS), metavar="NAME,NAME", help="only these tables")
    add("--list", action="store_true", help="list the tables and exit")
    add("--quick", action="store_true", help="small arrays and few rounds: less than 60 s")
    add("--mib", type=_positive, metavar="N", help="size of the warm buffer (256; quick: 16)")
    add("--cold", type=_positive, metavar="N", help="MiB of fresh memory (1024; quick: 64)")
    add("--largest", type=_size, metavar="N", help="largest array of the sweep, such as 2^31 (2^28; quick: 2^20)")
    add("--full", action="store_true", help="let peers fill the largest network, not one layer of it: minutes")
    add("--rounds", type=_positive, metavar="N", help="measure each row at most N times (11; quick: 3)")
    add("--threads", type=_threads, default="1,all", metavar="N,N", help="numbers of threads for fastinit (1,all)")
    add("--json", type=Path, metavar="FILE", help="write all measurements to this file")
    add("--plots", type=Path, metavar="DIR", help="draw sweep.png and peers.png there; needs matplotlib")
    add("--markdown", action="store_true", help="also print the README's table of speeds")
    return parser


def _run(name: str, tables: Sequence[clock.Table], effort: clock.Effort) -> None:
    """Measure them, with a progress bar if tqdm is installed and standard error is a terminal."""
    tqdm = rows.optional("tqdm")
    steps = sum(table.steps(effort) for table in tables)
    shown: Any = tqdm.tqdm(total=steps, desc=name, leave=False, disable=None, dynamic_ncols=True) if tqdm else None

    def step(text: str) -> None:
        if shown is not None:
            shown.set_postfix_str(text[:50], refresh=False)
            shown.update()

    try:
        for table in tables:
            clock.measure(table, effort, step)
    finally:
        if shown is not None:
            shown.close()


def main(argv: Sequence[str] | None = None) -> int:
    parser = _parser()
    args = parser.parse_args(argv)
    if args.list:
        print("\n".join(questions.QUESTIONS))
        return 0
    if args.json and not args.json.absolute().parent.is_dir():
        parser.error(f"--json {args.json}: no such directory")
    if args.plots and not args.plots.is_dir():
        parser.error(f"--plots {args.plots}: no such directory")
    if args.plots and rows.optional("matplotlib") is None:
        parser.error("--plots needs matplotlib: it is not installed")
    quick = args.quick
    setting = questions.Setting(
        n_bytes=(args.mib or (16 if quick else 256)) << 20,
        threads=args.threads,
        cold_bytes=(args.cold or (64 if quick else 1024)) << 20,
        largest=args.largest or (1 << (20 if quick else 28)),
        largest_peer=1 << (12 if quick else 22),
        shrink=16 if quick else 1,
        full=args.full,
    )
    effort = clock.Effort(
        rounds=args.rounds or (3 if quick else 11), longest=0.02 if quick else 0.125, shortest=2e-4 if quick else 2e-3
    )

    heading = report.heading(setting, effort)
    for name, value in heading.items():
        print(f"{name:<16}{value}")
    print(f"\n{report.NOTES}", flush=True)
    tables: list[clock.Table] = []
    interrupted = False
    try:
        for name in args.only:
            tables += (asked := list(questions.QUESTIONS[name](setting)))
            try:
                _run(name, asked, effort)
            finally:
                report.show(asked, sys.stdout)
                sys.stdout.flush()
    except KeyboardInterrupt:
        interrupted = True
    heading["load after"] = report.load()
    heading["ended"] = f"by Ctrl-C, in {tables[-1].name if tables else 'the imports'}" if interrupted else "complete"
    report.show_all_ratios(tables, sys.stdout)
    print(f"\nload after      {heading['load after']}\nended           {heading['ended']}")
    if args.markdown:
        print(f"\n{report.markdown(heading, tables)}")
    if args.json:
        report.write_json(args.json, heading, tables)
    if args.plots:
        plots.write(args.plots, heading, tables)
    return 130 if interrupted else 0
