"""What ``init_module`` returns: a row for each parameter, and a table."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fastinit import Summary, summary
from fastinit._arguments import stream_number
from fastinit.recipes import Initializer
from fastinit.recipes._patterns import Filling
from fastinit.recipes._values import Computed

from ._tensor import memory, slabs, why_not_dtype

__all__ = ["Report", "Row", "expected", "measured", "summaries"]

_WORD = 2**64
_SLAB = 2**20  # elements that are measured at a time as another type
_MANY = 20


@dataclass(frozen=True)
class Row:
    """What was done with one parameter.

    Attributes
    ----------
    name : str
        Its qualified name, which is its stream.
    shape : tuple of int
        Of the whole tensor, if it is a DTensor.
    dtype : str
        Such as "float32".
    pattern : str
        The recipe pattern that matched it.
    initializer : fastinit.recipes.Initializer or computed(function)
        What filled it, with the fans or the layout that the parameter's module
        says, where the recipe does not.
    expected_mean, expected_std : float or None
        From the published formulas. None of what a function computed.
    n : int
        How many elements this process has filled: of a DTensor, its own.
    measured_mean, measured_std : float or None
        Of those n elements: NaN where n is 0, None with ``report=False``. Of
        complex ones: of real and imaginary parts alike.
    digest : int or None
        Of those n elements, as in ``fastinit.summary``. Of integers, bools,
        float8 and complex ones: of their values as float64.
    frozen : bool
        Whether it does not require grad. It was filled like the others.
    tied : tuple of str
        Its other names.
    padding_idx : int or None
        The row that is 0, since the embedding says that it is padding.
    """

    __module__ = "fastinit.torch"
    name: str
    shape: tuple[int, ...]
    dtype: str
    pattern: str
    initializer: Filling
    expected_mean: float | None
    expected_std: float | None
    n: int
    measured_mean: float | None
    measured_std: float | None
    digest: int | None
    frozen: bool
    tied: tuple[str, ...]
    padding_idx: int | None = None


@dataclass(frozen=True)
class Report:
    """What ``init_module`` did. ``str(report)`` is a table.

    Attributes
    ----------
    rows : tuple of Row
        The parameters that were filled.
    buffers : tuple of str
        The buffers that have been computed.
    kept : tuple of str
        The buffers that ``buffers=`` said to keep.
    left : tuple of str
        The parameters and buffers that ``include`` and ``exclude`` left alone,
        and the parameters that the recipe skips.
    seed : int
        As it was given.
    bit_generator : str
        As it was given.
    """

    __module__ = "fastinit.torch"
    rows: tuple[Row, ...]
    buffers: tuple[str, ...]
    kept: tuple[str, ...]
    left: tuple[str, ...]
    seed: int
    bit_generator: str

    @property
    def digest(self) -> int | None:
        """64 bits of all values under their names; None with ``report=False``.

        Equal weights have equal digests in any process. The digests of
        processes that hold disjoint pieces of DTensors add up, mod 2**64, to
        that of the whole module.
        """
        total = 0
        for row in self.rows:
            if row.digest is None:
                return None
            total += row.digest * (stream_number(row.name) | 1)  # an odd factor loses nothing
        return total % _WORD

    def __str__(self) -> str:
        head = ("parameter", "shape", "dtype", "initializer", "mean", "expected", "std", "expected", "digest")
        table = [head, *map(_cells, self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        n = sum(row.n for row in self.rows)
        whole = sum(math.prod(row.shape) for row in self.rows)
        lines.append(
            f"{len(self.rows)} parameters, {whole} elements{f', {n} of them here' if n != whole else ''}; "
            f"seed {self.seed}, {self.bit_generator}"
            + (f"; digest {self.digest:016x}" if self.digest is not None else "")
        )
        lines += [f"{row.name} is also {', '.join(row.tied)}" for row in self.rows if row.tied]
        lines += [
            f"{row.name}: row {row.padding_idx} is padding, and 0" for row in self.rows if row.padding_idx is not None
        ]
        frozen = [row.name for row in self.rows if row.frozen]
        if frozen:
            lines.append(f"frozen (also filled): {', '.join(frozen)}")
        lists = (("buffers computed", self.buffers), ("buffers kept", self.kept), ("left alone", self.left))
        for what, names in lists:
            if names:
                more = len(names) - _MANY
                lines.append(f"{what}: {', '.join(names[:_MANY])}{f' and {more} more' if more > 0 else ''}")
        return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    moments = (row.measured_mean, row.expected_mean, row.measured_std, row.expected_std)
    return (
        row.name,
        "x".join(map(str, row.shape)) or "-",
        row.dtype,
        str(row.initializer),
        *("-" if moment is None else f"{moment:.4g}" for moment in moments),
        "-" if row.digest is None else f"{row.digest:016x}",
    )


_moments = functools.lru_cache(1024)(Initializer.moments)  # of a model's layers, most are alike


def expected(
    filling: Filling, shape: tuple[int, ...], padding_idx: int | None
) -> tuple[float, float] | tuple[None, None]:
    """Mean and standard deviation by the published formulas, with a row of padding, which is 0, if there is one."""
    if isinstance(filling, Computed):
        return None, None
    mean, std = _moments(filling, shape)
    if padding_idx is None:
        return mean, std
    share = 1 - 1 / shape[0]
    return share * mean, math.sqrt(share * (std**2 + (1 - share) * mean**2))


def summaries(piece: Tensor, shape: Sequence[int], offset: Sequence[int], threads: int | None) -> Iterator[Summary]:
    """Of a box of a tensor. What fastinit has no laws for is measured as float64, complex numbers by their parts."""
    if why_not_dtype(piece.dtype) is None:
        yield summary(memory(piece), global_shape=shape, offset=offset, threads=threads)
        return
    values, shape, offset = piece.detach().reshape(piece.shape or (1,)), shape or (1,), offset or (0,)
    parts = (2,) if piece.is_complex() else ()
    for start, stop in slabs(values.shape, _SLAB):
        some = values[start:stop]
        real = torch.view_as_real(some.to(torch.complex128)) if parts else some.to(torch.float64)
        place = offset[0] + start, *offset[1:], *(0 for _ in parts)
        yield summary(memory(real), global_shape=(*shape, *parts), offset=place, threads=threads)


def measured(pieces: list[Summary]) -> tuple[float, float, int]:
    """Mean, standard deviation and digest of all pieces of a parameter together."""
    parts = [part for part in pieces if part.n > 0]
    n = sum(part.n for part in parts)
    mean = sum(part.n * part.mean for part in parts) / n if n else math.nan
    std = math.sqrt(sum(part.n * (part.std**2 + (part.mean - mean) ** 2) for part in parts) / n) if n else math.nan
    return mean, std, sum(part.digest for part in parts) % _WORD
