"""The command line, ``python -m fastinit``: its commands, and how each ends when its output or the user stops it."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import fastinit

from ._tools import bits, demo
from ._tools.output import Output, OutputError

__all__ = ["main"]


def _config(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    fastinit.show_config()
    return 0


def _parser() -> argparse.ArgumentParser:
    """``command`` in what it parses is the function that runs a command, ``parser`` that command's own parser."""
    parser = argparse.ArgumentParser(
        prog="python -m fastinit",
        description="Show how fastinit was built and what it uses on this machine, run a demo, or write raw random "
        "words.",
    )
    parser.set_defaults(command=_config, parser=parser)
    commands = parser.add_subparsers(title="commands", metavar="{config,demo,bits}")
    words = "show version, stream format, compiler, targets and threads"
    commands.add_parser("config", help=f"{words} (the default)", description=f"{words[0].upper()}{words[1:]}.")
    filled = commands.add_parser(
        "demo",
        help="fill GPT-2 small and ResNet-50, check the moments, compare the speed with NumPy's and PyTorch's",
        description="Fill all parameters of published networks by their published recipes, each parameter on the "
        "stream of its name. Print expected and measured moments of each kind of parameter, and the speed beside "
        "NumPy's and, where it is installed, PyTorch's.",
        epilog="Exit status: 0 if all moments are within 5 standard errors, else 1.",
    )
    filled.set_defaults(command=demo.main, parser=filled)
    demo.add_arguments(filled)
    raw = commands.add_parser(
        "bits",
        help="write raw random words to standard output, for programs that test generators",
        description="Write the 32-bit words of a stream, in this machine's byte order, to standard output, which must "
        "be a pipe or a file. It ends after --bytes, or when the reader closes the pipe.",
    )
    raw.set_defaults(command=bits.main, parser=raw)
    bits.add_arguments(raw)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status.

    A reader that closes the pipe early, as ``head`` does, has seen enough: the status is 0.
    """
    parser = _parser()
    out: Any = sys.stdout and Output(sys.stdout)  # None where it was closed before the start
    try:
        with contextlib.redirect_stdout(out):
            try:
                options = parser.parse_args(arguments)
                status: int = options.command(options.parser, options)
                return status
            finally:
                print(end="", flush=True)  # so that a failure to write is seen here, not when Python exits
    except KeyboardInterrupt:
        return 130  # as a shell reports a command that Ctrl-C ended
    except OutputError as failure:
        # Python flushes once more when it exits, which would fail again and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(failure.error, BrokenPipeError):
            return 0
        print(f"{parser.prog}: error: standard output: {failure.error.strerror}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
