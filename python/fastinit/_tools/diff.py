"""``diff``: two checkpoints, tensor by tensor: names, shapes, dtypes, bits, with moments and digests."""

from __future__ import annotations

import argparse
import json
import sys

from .._checkpoint._compare import Difference, Measured, difference, plain
from .._checkpoint._read import Reader, read_checkpoint
from .checkpoint import FAILURES, printable, words
from .progress import progress

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("a", help="a safetensors file, its index, or their folder")
    parser.add_argument("b", help="another one")
    parser.add_argument("--verbose", action="store_true", help="a line for each tensor, not only for those that differ")
    parser.add_argument("--quiet", action="store_true", help="print nothing: the exit status says it")
    parser.add_argument("--json", action="store_true", help="print what was found of each tensor as JSON")


def _side(measured: Measured) -> str:
    moments = "" if measured.mean is None else f"  mean {measured.mean:.6g} std {measured.std:.6g}"
    return f"{measured.dtype} {list(measured.shape)}  {measured.digest}{moments}"


def _lines(found: Difference) -> list[str]:
    if found.is_equal:
        return [f"= {printable(found.a.name)}  {_side(found.a)}"]
    what = "other shape or dtype"
    if found.n_unequal is not None:
        what = f"unequal elements: {found.n_unequal}, the first is {found.first_unequal}"
    if found.largest is not None:
        what += f", finite ones by {found.largest:.6g} at most"
    return [f"! {printable(found.a.name)}  {what}", f"  a: {_side(found.a)}", f"  b: {_side(found.b)}"]


def main(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Compare; 0 if all tensors are equal, else 1."""
    found: list[Difference] = []
    try:
        a, b = read_checkpoint(options.a), read_checkpoint(options.b)
        only = {"a": [name for name in a.tensors if name not in b.tensors]}
        only["b"] = [name for name in b.tensors if name not in a.tensors]
        both = [name for name in a.tensors if name in b.tensors]
        pairs = [(a.tensors[name], b.tensors[name]) for name in both]
        total = sum(tensor.stop - tensor.start for pair in pairs for _, tensor in pair)
        readers = Reader(), Reader()
        with progress(total, None if options.quiet else sys.stderr, "B") as advance:
            found.extend(difference(*pair, readers, advance) for pair in pairs)
    except (*FAILURES, OSError) as error:
        parser.error(words(error))
    n_equal = sum(each.is_equal for each in found)
    is_equal = n_equal == len(found) and not any(only.values())
    status = options.status = 0 if is_equal else 1
    if options.json:
        tensors = [
            {
                "name": each.a.name,
                "equal": each.is_equal,
                "unequal": each.n_unequal,
                "first_unequal": each.first_unequal,
                "largest": plain(each.largest),
                "a": each.a.plain(),
                "b": each.b.plain(),
            }
            for each in found
        ]
        done = {"equal": is_equal, "only_a": only["a"], "only_b": only["b"], "tensors": tensors}
        print(json.dumps(done, indent=2))
    elif not options.quiet:
        for side, names in only.items():
            for name in names:
                print(f"! {printable(name)}  only in {side}")
        for each in found:
            if options.verbose or not each.is_equal:
                print("\n".join(_lines(each)))
        print(
            f"{n_equal} tensors are equal, {len(found) - n_equal} differ, {len(only['a'])} are only in a, "
            f"{len(only['b'])} only in b"
        )
    return status
