"""The bytes of a file's data, any range of them: each a function of the tensor's name, law and seed alone."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fastinit

from ..recipes import Initializer
from ._laws import Given, Law, RandomBits, integer_of
from ._safetensors import INTEGERS, Tensor, dtype_of

if TYPE_CHECKING:
    from .._types import BitGenerator

__all__ = ["Values", "boxes", "pieces"]

# Of these a box costs as much as the whole, which is kept while the ranges of one tensor are asked for.
_WHOLE = ("orthogonal", "sparse")


def boxes(shape: Sequence[int], first: int, last: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Elements first .. last - 1 of a tensor, in row-major order, as boxes: offset and shape of each."""
    if not shape:
        yield (), ()
        return
    if len(shape) == 1:
        yield (first,), (last - first,)
        return
    below = tuple(shape[1:])
    size = int(np.prod(below, dtype=np.int64))
    row, skipped = divmod(first, size)
    if skipped:
        stop = min(last, (row + 1) * size)
        for offset, box in boxes(below, skipped, stop - row * size):
            yield (row, *offset), (1, *box)
        first, row = stop, row + 1
    if rows := (last - first) // size:
        yield (row, *(0 for _ in below)), (rows, *below)
        first, row = first + rows * size, row + rows
    if first < last:
        for offset, box in boxes(below, 0, last - first):
            yield (row, *offset), (1, *box)


def pieces(tensors: Sequence[Tensor], start: int, stop: int) -> Iterator[tuple[Tensor, int, int]]:
    """The tensors with bytes in a range of the data, and which bytes of each, counted from its own beginning."""
    for i in range(bisect.bisect_right(tensors, start, key=lambda tensor: tensor.stop), len(tensors)):
        tensor = tensors[i]
        if tensor.start >= stop:
            break
        first, last = max(start, tensor.start), min(stop, tensor.stop)
        if first < last:
            yield tensor, first - tensor.start, last - tensor.start


class Values:
    """What fills tensors from a seed."""

    def __init__(
        self, laws: Mapping[str, Law], seed: int, bit_generator: BitGenerator = "ars", threads: int | None = None
    ) -> None:
        self.laws = laws
        self.seed = seed
        self.bit_generator = bit_generator
        self._given: dict[str, Any] = {"seed": seed, "bit_generator": bit_generator, "threads": threads}
        self._whole: tuple[str, NDArray[np.uint8]] | None = None

    def fill(self, out: NDArray[np.uint8], tensor: Tensor, first: int, last: int) -> None:
        """Bytes first .. last - 1 of a tensor. They begin and end between elements."""
        law = self.laws[tensor.name]
        if isinstance(law, Given):
            out[:] = np.frombuffer(law.data, np.uint8)[first:last]
            return
        if isinstance(law, RandomBits):
            self._bits(out, tensor, first, last)
            return
        dtype = dtype_of(tensor.dtype)
        elements = out.view(dtype)
        if tensor.dtype in INTEGERS and isinstance(law, Initializer) and law.function != "integers":
            elements[:] = integer_of(law, tensor.dtype)
            return
        if isinstance(law, Initializer) and law.function in _WHOLE:
            if self._whole is None or self._whole[0] != tensor.name:
                self._whole = None  # before there are two of them
                whole = fastinit.empty(tensor.shape, dtype)
                law.fill(whole, stream=tensor.name, **self._given)
                self._whole = tensor.name, whole.reshape(-1).view(np.uint8)
            out[:] = self._whole[1][first:last]
            return
        done = 0
        for offset, box in boxes(tensor.shape, first // dtype.itemsize, last // dtype.itemsize):
            n = int(np.prod(box, dtype=np.int64))
            part = elements[done : done + n].reshape(box)
            law.fill(part, stream=tensor.name, global_shape=tensor.shape, offset=offset, **self._given)
            done += n

    def _bits(self, out: NDArray[np.uint8], tensor: Tensor, first: int, last: int) -> None:
        n_words = -(-(tensor.stop - tensor.start) // 4)
        start = first // 4
        words = fastinit.empty(-(-last // 4) - start, np.uint32)
        fastinit.random_bits(words, stream=tensor.name, global_shape=(n_words,), offset=(start,), **self._given)
        out[:] = words.view(np.uint8)[first - 4 * start : last - 4 * start]
        if tensor.dtype == "BOOL":
            out &= 1
