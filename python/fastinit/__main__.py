"""``python -m fastinit``: what was built and found here; ``demo``: two real networks, filled; ``bits``: raw words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import fastinit

from ._tools import bits as _bits
from ._tools import demo as _demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fastinit", description="What was built and found on this machine, a demo, and raw words."
    )
    commands = parser.add_subparsers(dest="command", title="commands")
    commands.add_parser("config", help="print version, stream format, compiler, targets and threads (the default)")
    demo = commands.add_parser(
        "demo",
        help="fill every parameter of GPT-2 small and ResNet-50, check the moments, compare the speed with NumPy's",
        description="Fill every parameter of published networks by their published recipes, each on the stream of its "
        "name; print expected and measured moments, and elements per second beside NumPy's.",
    )
    _demo.add_arguments(demo)
    bits = commands.add_parser(
        "bits",
        help="write a generator's raw words to standard output, for programs that test generators",
        description="Write the 32-bit words of a stream, in this machine's byte order, to standard output, which must "
        "be a pipe or a file. It ends after --bytes, or without an error when the reader closes the pipe.",
    )
    _bits.add_arguments(bits)
    options = parser.parse_args(arguments)
    if options.command == "demo":
        return _demo.main(demo, options)
    if options.command == "bits":
        return _bits.main(bits, options)
    fastinit.show_config()
    return 0


if __name__ == "__main__":
    sys.exit(main())
