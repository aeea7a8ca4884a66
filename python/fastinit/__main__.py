"""``python -m fastinit``: what was built and found here; ``python -m fastinit demo``: two real networks, filled."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import fastinit

from . import _demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m fastinit", description="What was built and found on this machine, and a demo."
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
    options = parser.parse_args(arguments)
    if options.command == "demo":
        return _demo.main(demo, options)
    fastinit.show_config()
    return 0


if __name__ == "__main__":
    sys.exit(main())
