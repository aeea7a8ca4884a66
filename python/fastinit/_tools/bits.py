"""Raw random words on standard output, for programs that test generators: one stream, or blocks of several in turn."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

import fastinit

from .._arguments import BIT_GENERATORS, stream_number
from .output import writing

if TYPE_CHECKING:
    from .._types import BitGenerator

__all__ = ["add_arguments", "main", "pieces", "write"]

END = 2**64  # of seeds and streams
MOST_STREAMS = 1 << 16

BLOCK_BYTES = 16
PIECE_BYTES = 1 << 18  # made and written at a time: small enough to stay in the cache in between
RUN_BYTES = 1 << 11  # of one stream in a piece, at least: with less, calls cost more than words


def pieces(bit_generator: BitGenerator, seed: int, stream: int, n_streams: int) -> Iterator[memoryview]:
    """Block 0 of each stream in turn, then block 1 of each, and so on without end. A piece is valid until the next."""
    n_blocks = max(PIECE_BYTES // n_streams, RUN_BYTES) // BLOCK_BYTES
    runs = np.empty((n_streams, n_blocks), np.complex128)  # as wide as a block; it is copied, never computed with
    whole = (2**63 - 1,)
    first = 0
    while True:
        for i, run in enumerate(runs):
            words = run.view(np.uint32)
            fastinit.random_bits(
                words,
                seed=seed,
                stream=stream + i,
                global_shape=whole,
                offset=(first,),
                threads=1,
                bit_generator=bit_generator,
            )
        first += 4 * n_blocks
        yield np.ascontiguousarray(runs.T).data.cast("B")


def write(source: Iterator[memoryview], n_bytes: int | None, file: int) -> None:
    """The first n_bytes of the source, or all of it, into an open file."""
    while n_bytes is None or n_bytes > 0:
        piece = next(source)[:n_bytes]
        if n_bytes is not None:
            n_bytes -= len(piece)
        while piece:
            with writing():
                piece = piece[os.write(file, piece) :]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--bit-generator", choices=BIT_GENERATORS, default="ars", help="default: ars")
    parser.add_argument("--seed", type=int, default=0, help="0 .. 2^64-1, default 0")
    parser.add_argument("--stream", default="0", help="a number, 0 .. 2^64-1, or a name; default 0")
    parser.add_argument(
        "--interleave",
        type=int,
        default=1,
        metavar="N",
        help="write N streams, this one and the next ones by number: block 0 (4 words) of each in turn, then block 1 "
        "of each, and so on; default 1",
    )
    parser.add_argument("--bytes", type=int, metavar="N", help="stop after N bytes; default: never")


def main(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Write words until there are enough or the reader closes the pipe, which is an OutputError."""
    n_streams, n_bytes, name = options.interleave, options.bytes, options.stream
    if not 1 <= n_streams <= MOST_STREAMS:
        parser.error(f"--interleave must be from 1 to {MOST_STREAMS}, got {n_streams}")
    if n_bytes is not None and n_bytes < 0:
        parser.error(f"--bytes must be at least 0, got {n_bytes}")
    try:
        stream = int(name) if re.fullmatch("-?[0-9]+", name) else stream_number(name)
        fastinit.random_bits(np.empty(0, np.uint32), seed=options.seed, stream=stream)
    except ValueError as error:
        parser.error(str(error))
    if stream + n_streams > END:
        last = stream + n_streams - 1
        parser.error(f"--interleave {n_streams} needs the streams up to {last}, but 2**64 - 1 is the last")
    if sys.stdout is None:  # closed before the start
        parser.error("standard output is closed: send the words to a pipe or a file")
    if os.isatty(sys.stdout.fileno()):
        parser.error("standard output is a terminal: send the words to a pipe or a file")
    write(pieces(options.bit_generator, options.seed, stream, n_streams), n_bytes, sys.stdout.fileno())
    return 0
