"""``verify``: makes the values of a checkpoint again and compares them; measured moments beside those of the laws."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

import fastinit

from .. import _core
from .._arguments import BIT_GENERATORS, some
from .._checkpoint._compare import LIMIT, Verified, plain, verify
from .._checkpoint._config import configured
from .._checkpoint._laws import OF_CONFIG, Law, Wanted, assigned, check, first_matches, parse
from .._checkpoint._read import Checkpoint, read_checkpoint
from .._checkpoint._values import Values
from .checkpoint import FAILURES, add_laws, gigabytes, printable, words
from .progress import progress

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("path", help="a safetensors file, its index, or their folder")
    parser.add_argument("--seed", type=int, help="default: what the files say")
    add_laws(parser)
    parser.add_argument("--bit-generator", choices=BIT_GENERATORS, help="default: what the files say, or ars")
    parser.add_argument("--threads", type=int, help="at most this many threads; default: fastinit.get_num_threads()")
    parser.add_argument("--verbose", action="store_true", help="a line for each tensor, not only for those that differ")
    parser.add_argument("--quiet", action="store_true", help="print nothing: the exit status says it")
    parser.add_argument("--json", action="store_true", help="print what was found of each tensor as JSON")


def _values(checkpoint: Checkpoint, options: argparse.Namespace) -> Values:
    """From what seed and laws it should come: the options say it, or the files."""
    said = checkpoint.said()
    if said is None:
        if options.seed is None or (options.law is None and options.recipe is None):
            raise ValueError(f"{checkpoint.path} does not say how it was made: give --seed, and --law or --recipe")
        said = {"seed": options.seed, "stream_format": _core.stream_format, "bit_generator": "ars"}
    if said.get("stream_format") != _core.stream_format:
        raise ValueError(
            f"{checkpoint.path} is of stream format {said.get('stream_format')!r}, and this fastinit makes "
            f"{_core.stream_format}"
        )
    seed: Any = said.get("seed", -1) if options.seed is None else options.seed
    generator: Any = options.bit_generator or said.get("bit_generator")
    fastinit.zeros(fastinit.empty(0), seed=seed, threads=options.threads, bit_generator=generator)
    tensors = [Wanted(*tensor[:3]) for _, tensor in checkpoint.tensors.values()]
    laws: Mapping[str, Law]
    if options.law is not None or options.recipe is not None:
        laws = assigned(tensors, law=options.law, recipe=options.recipe)
    else:
        texts = first_matches(said["recipe"], [tensor.name for tensor in tensors])
        of_config: Mapping[str, Law] = {}
        if OF_CONFIG in texts.values():
            of_config = configured(checkpoint.folder, seed, bit_generator=generator, threads=options.threads).laws
        parsed = {text: parse(text) for text in {*texts.values()} - {OF_CONFIG}}
        lost = [name for name, text in texts.items() if text == OF_CONFIG and name not in of_config]
        if lost:
            raise ValueError(f"the model of {checkpoint.folder}/config.json has no tensors {some(lost)}")
        laws = {name: of_config[name] if text == OF_CONFIG else parsed[text] for name, text in texts.items()}
    check(laws, tensors)
    return Values(laws, seed, generator, options.threads)


def _line(found: Verified, width: int) -> str:
    what = "same"
    if found.n_unequal:
        what = f"unequal elements: {found.n_unequal}, the first is {found.first_unequal}"
    moments = ""
    if found.measured.mean is not None:
        moments = f"  mean {found.measured.mean:.6g} std {found.measured.std:.6g}"
    if found.off is not None:
        moments += f" off by {found.off:.1f}"
    return f"{printable(found.measured.name):<{width}}  {found.measured.digest}  {found.law}{moments}  {what}"


def _plain(found: Verified) -> dict[str, Any]:
    expected = found.expected or (None, None)
    return {
        **found.measured.plain(),
        "law": str(found.law),
        "unequal": found.n_unequal,
        "first_unequal": found.first_unequal,
        "expected_mean": plain(expected[0]),
        "expected_std": plain(expected[1]),
        "off": plain(found.off),
        "good": found.is_good,
    }


def main(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Verify; 0 if each bit is as it should be, else 1."""
    found: list[Verified] = []
    try:
        checkpoint = read_checkpoint(options.path)
        values = _values(checkpoint, options)
        with progress(checkpoint.n_bytes, None if options.quiet else sys.stderr, "B") as advance:
            found.extend(verify(checkpoint, values, options.threads, advance))
    except (*FAILURES, OSError) as error:
        parser.error(words(error))
    good = sum(each.is_good for each in found)
    status = options.status = 0 if good == len(found) else 1
    if options.json:
        done = {"seed": values.seed, "stream_format": _core.stream_format, "bit_generator": values.bit_generator}
        print(json.dumps({**done, "good": good == len(found), "tensors": [_plain(each) for each in found]}, indent=2))
    elif not options.quiet:
        shown = found if options.verbose else [each for each in found if not each.is_good]
        width = max((len(printable(each.measured.name)) for each in shown), default=0)
        for each in shown:
            print(_line(each, width))
        print(
            f"{printable(options.path)}: {good} of {len(found)} tensors ({gigabytes(checkpoint.n_bytes)}) are those of "
            f"seed {values.seed}, stream format {_core.stream_format}, bit for bit; moments within {LIMIT:g} standard "
            "errors"
        )
    return status
