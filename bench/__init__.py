"""fastinit beside NumPy, PyTorch, JAX, TensorFlow, Keras, randomgen and oneMKL: `python -m bench`, from the root.

Each question has a table: fastinit, the peers that are installed, the limit, and the ratio that answers it. Each peer
runs in a process of its own. The bench asserts nothing; it names what is not installed, what fails and what crashes.
Dependencies run one way:

    main -> report, plots, processes -> worker -> questions -> cold, sweep, models, adapters
         -> peers, moments, stopwatch -> rows -> clock

Needs NumPy and an installed fastinit; `pip install ".[bench]"` brings the rest.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import clock, plots, questions, report, rows
from .processes import Processes, RemoteClock, hears_ctrl_c_once

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
    add("--timeout", type=_positive, default=300, metavar="N", help="give up on a peer after N seconds (300)")
    add("--json", type=Path, metavar="FILE", help="write all measurements to this file, after each table")
    add("--plots", type=Path, metavar="DIR", help="draw sweep.png and peers.png there; needs matplotlib")
    add("--markdown", action="store_true", help="also print the README's table of speeds")
    return parser


def _progress(name: str, steps: int) -> tuple[Callable[[str], object], Callable[[], object]]:
    """A progress bar, if tqdm is installed and standard error is a terminal: what steps, and what closes it."""
    tqdm = rows.optional("tqdm")
    if tqdm is None:
        return (lambda _: None), (lambda: None)
    bar = tqdm.tqdm(total=steps, desc=name, leave=False, disable=None, dynamic_ncols=True)

    def step(text: str) -> None:
        bar.set_postfix_str(text[:50], refresh=False)
        bar.update()

    return step, bar.close


def _measure(name: str, clocks: Sequence[RemoteClock], effort: clock.Effort, save: Callable[[], object]) -> None:
    """Measure the tables of a question, and print them, as far as they got."""
    tables = [each.table for each in clocks]
    step, close = _progress(name, sum(table.steps(effort) for table in tables))
    try:
        for each in clocks:
            clock.measure(each.table, effort, step, each)
            save()
    finally:
        close()
        report.show(tables, sys.stdout)
        sys.stdout.flush()


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

    heading: report.Heading = {}
    tables: list[clock.Table] = []

    def save() -> None:
        if args.json:
            report.write_json(args.json, heading, tables)

    interrupted = False
    with hears_ctrl_c_once(), Processes(setting, effort, args.timeout) as processes:
        try:
            heading |= report.heading(setting, effort, *processes.versions())
            for key, value in heading.items():
                print(f"{key:<16}{value}")
            print(f"\n{report.NOTES}", flush=True)
            heading["ended"] = "not yet"
            for name in args.only:
                clocks = processes.tables(name)
                tables += [each.table for each in clocks]
                _measure(name, clocks, effort, save)
        except KeyboardInterrupt:
            if not tables:
                print("ended           by Ctrl-C, before the first table")
                return 130
            interrupted = True
    heading["load after"] = report.load()
    heading["ended"] = f"by Ctrl-C, in {tables[-1].name}" if interrupted else "complete"
    report.show_all_ratios(tables, sys.stdout)
    print(f"\nload after      {heading['load after']}\nended           {heading['ended']}")
    save()
    if args.markdown:
        print(f"\n{report.markdown(heading, tables)}")
    if args.plots:
        plots.write(args.plots, heading, tables)
    return 130 if interrupted else 0
