"""The command line, ``python -m fastinit``: its commands, and how each ends when its output or the user stops it."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import fastinit

from ._tools import bits, checkpoint, demo, diff, verify
from ._tools.output import Output, OutputError

__all__ = ["main"]


def _config(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    fastinit.show_config()
    return 0


def _parser() -> argparse.ArgumentParser:
    """``command`` in what it parses is the function that runs a command, ``parser`` that command's own parser."""
    parser = argparse.ArgumentParser(
        prog="python -m fastinit",
        description="Show how fastinit was built and what it uses on this machine, run a demo, write raw random "
        "words; write checkpoints of random weights, verify and compare checkpoints.",
    )
    parser.set_defaults(command=_config, parser=parser)
    commands = parser.add_subparsers(title="commands", metavar="{config,demo,bits,checkpoint,verify,diff}")
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
    written = commands.add_parser(
        "checkpoint",
        help="write a checkpoint of random weights, of any size, from names and shapes",
        description="Write safetensors files of random weights: each tensor's values are those of its law, the seed "
        "and the stream of its name. Files are written beside and renamed. Memory stays small.",
        epilog="Exit status: 0 if the checkpoint is there, 1 if the system refused something, 2 if an argument is "
        "wrong.",
    )
    written.set_defaults(command=checkpoint.main, parser=written)
    checkpoint.add_arguments(written)
    verified = commands.add_parser(
        "verify",
        help="compare a checkpoint with what its seed and laws say",
        description="Make the values of a checkpoint again, from the seed and the laws that its files name or that "
        "are given, and compare each bit; and measured moments with those of the laws.",
        epilog="Exit status: 0 if all is as it should be, 1 if not, 2 if that could not be found out.",
    )
    verified.set_defaults(command=verify.main, parser=verified)
    verify.add_arguments(verified)
    compared = commands.add_parser(
        "diff",
        help="compare two checkpoints, tensor by tensor",
        description="Compare two checkpoints of safetensors, tensor by tensor: names, shapes, dtypes and bits, with "
        "moments and digests.",
        epilog="Exit status: 0 if all tensors are equal, 1 if not, 2 if that could not be found out.",
    )
    compared.set_defaults(command=diff.main, parser=compared)
    diff.add_arguments(compared)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit status.

    A reader that closes the pipe early, as ``head`` does, has seen enough: the status is 0, or what the command had
    found out.
    """
    parser = _parser()
    options = argparse.Namespace(status=0)
    out: Any = sys.stdout and Output(sys.stdout)  # None where it was closed before the start
    try:
        with contextlib.redirect_stdout(out):
            try:
                parser.parse_args(arguments, options)
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
            return int(options.status)
        print(f"{parser.prog}: error: standard output: {failure.error.strerror}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
