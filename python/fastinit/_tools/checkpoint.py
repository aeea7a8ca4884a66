"""``checkpoint``: writes a checkpoint of random weights from names and shapes, larger than memory if need be."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time

import fastinit

from .. import _core
from .._arguments import BIT_GENERATORS, few
from .._checkpoint._config import configured
from .._checkpoint._laws import Given, Law, as_recipe, assigned
from .._checkpoint._plan import SHARD_BYTES, Plan, bytes_of, folder_of, plan
from .._checkpoint._ranks import Share, share_of
from .._checkpoint._safetensors import FLOATS
from .._checkpoint._sources import as_dtype, like, of_dtype, shapes
from .._checkpoint._values import Values
from .progress import progress

__all__ = ["add_arguments", "add_laws", "counted", "gigabytes", "main", "printable", "words"]

FAILURES = (ValueError, TypeError, ImportError, MemoryError)  # beside OSError


def printable(text: str) -> str:
    """The same, without what a terminal would obey or standard output could not encode: names may be anything."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return ascii(text)
    return text if text.isprintable() else ascii(text)


def words(error: BaseException) -> str:
    """What an error says to people, on one line: of the operating system's, the file first."""
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def counted(n: int, what: str) -> str:
    """A number of things: 3 files."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def gigabytes(n: float) -> str:
    """A number of bytes: 16.1 GB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n:.0f} bytes"


def add_laws(parser: argparse.ArgumentParser) -> None:
    """The options that say which tensor gets what."""
    laws = parser.add_mutually_exclusive_group()
    laws.add_argument(
        "--law", metavar="LAW", help='one law for all tensors, such as "normal(std=0.02)"; see help(fastinit)'
    )
    laws.add_argument(
        "--recipe", metavar="FILE|NAME", help="a file of fastinit.recipes.save, or one of the recipes' names"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--like", metavar="PATH", help="a safetensors file, its index, or their folder; only headers are read"
    )
    source.add_argument(
        "--shapes", metavar="FILE", help='JSON: {"name": [3, 4], "other": {"shape": [3], "dtype": "bfloat16"}}'
    )
    source.add_argument(
        "--config",
        metavar="PATH",
        help="config.json of transformers, or its folder: the model's own names and initialisation; needs PyTorch and "
        "transformers",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="of the config, such as num_hidden_layers=2"
    )
    parser.add_argument("--out", required=True, metavar="PATH", help="a folder, or a file *.safetensors")
    parser.add_argument("--seed", type=int, default=0, help="0 .. 2^64-1, default 0")
    add_laws(parser)
    parser.add_argument("--dtype", help="of all floats, instead of their own; such as bfloat16")
    parser.add_argument("--shard-size", metavar="SIZE", help="of a file at most, such as 5GB (the default) or 512MiB")
    parser.add_argument("--bit-generator", choices=BIT_GENERATORS, default="ars", help="default: ars")
    parser.add_argument("--threads", type=int, help="at most this many threads; default: fastinit.get_num_threads()")
    parser.add_argument(
        "--rank",
        type=int,
        metavar="R",
        help="write the files R, R + N, ... of all; default: what torchrun, srun or mpirun say",
    )
    parser.add_argument("--world-size", type=int, metavar="N", help="of --rank: how many processes there are")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def planned(options: argparse.Namespace) -> tuple[Plan, str]:
    """What is to be written, and the folder; all of it checked, nothing made."""
    fastinit.zeros(fastinit.empty(0), seed=options.seed, threads=options.threads)
    dtype = None if options.dtype is None else as_dtype(options.dtype)
    if dtype is not None and dtype not in FLOATS:
        raise ValueError(f"--dtype must be one of {', '.join(FLOATS.values())}, got {options.dtype}")
    if options.set and options.config is None:
        raise ValueError("--set changes what --config says, and there is none")
    laws: dict[str, Law] = {}
    texts: dict[str, str] = {}
    if options.config is not None:
        given = {"bit_generator": options.bit_generator, "threads": options.threads}
        tensors, laws, texts["config.json"] = configured(
            options.config, options.seed, sets=options.set, dtype=dtype, **given
        )
    else:
        tensors = like(options.like) if options.like is not None else shapes(options.shapes)
        tensors = tensors if dtype is None else of_dtype(tensors, dtype)
    if not laws or options.law is not None or options.recipe is not None:
        # What a config's model has made already, such as buffers, is not weights.
        free = [tensor for tensor in tensors if not isinstance(laws.get(tensor.name), Given)]
        laws |= assigned(free, law=options.law, recipe=options.recipe)
    values = Values(laws, options.seed, options.bit_generator, options.threads)
    folder, single = folder_of(options.out)
    if single is not None and options.shard_size is not None:
        raise ValueError(f"--shard-size is for folders, and --out {options.out} is one file")
    size = SHARD_BYTES if options.shard_size is None else bytes_of(options.shard_size)
    return plan(tensors, values, shard_bytes=size, single=single, texts=texts), folder


def others(share: Share, missing: list[str]) -> str:
    """What a rank says of the files of the others."""
    if not missing:
        return "all files are there"
    whose = f" of {share.launcher}" if share.launcher else ""
    return f"not whole yet: other ranks{whose} have still to write {few(missing, 1)}"


def main(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Write the checkpoint, or a rank's share of its files; 0 if these are there, whole."""
    begin = time.monotonic()
    who = ""
    try:
        from .._checkpoint._write import write  # which needs a POSIX system, and other commands do not

        share = share_of(options.rank, options.world_size, os.environ)
        if share.size > 1:
            who = f"rank {share.rank} of {share.size}: "
        what, folder = planned(options)
        shards = what.shards[share.rank :: share.size]
        shown = None if options.quiet or share.rank > 0 else sys.stderr  # one bar is enough for a terminal
        with progress(sum(shard.n_bytes for shard in shards), shown, "B") as advance:
            written, missing = write(
                what, folder, resume=options.resume, advance=advance, rank=share.rank, world_size=share.size
            )
    except FAILURES as error:
        parser.error(who + words(error))
    except OSError as error:
        print(f"{parser.prog}: error: {who}{words(error)}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - begin
    tensors = [tensor for shard in shards for tensor in shard.tensors]
    n_bytes = sum(shard.n_bytes for shard in shards)
    if options.json:
        done = {
            "out": options.out,
            "rank": share.rank,
            "world_size": share.size,
            "files": {shard.name: shard.n_bytes for shard in shards},
            "missing_files": missing,
            "tensors": len(tensors),
            "parameters": sum(math.prod(tensor.shape) for tensor in tensors),
            "bytes": n_bytes,
            "written_bytes": written,
            "seconds": seconds,
            "seed": options.seed,
            "stream_format": _core.stream_format,
            "bit_generator": options.bit_generator,
            "recipe": as_recipe(what.values.laws),
        }
        print(json.dumps(done, indent=2))
    elif not options.quiet:
        print(
            f"{who}{printable(options.out)}: {counted(len(tensors), 'tensor')}, {gigabytes(n_bytes)} in "
            f"{counted(len(shards), 'file')}; wrote {gigabytes(written)} in {seconds:.1f} s, "
            f"{gigabytes(written / seconds)}/s{f'; {others(share, missing)}' if who else ''}"
        )
    elif missing and share.launcher:  # nobody has said on the command line that this is a part
        print(f"{parser.prog}: {who}{others(share, missing)}", file=sys.stderr)
    return 0
