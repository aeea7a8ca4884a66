"""What ``init_module`` and ``FastInitReader`` make of their arguments alike: which tensors are filled, and by what."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

import fastinit
from fastinit.recipes import Initializer, Recipe, named
from fastinit.recipes._core import check_prefix, match_chosen, select, try_box

from ._parameters import Target, shape_of
from ._tensor import nothing

if TYPE_CHECKING:
    from fastinit._types import BitGenerator

__all__ = ["check_arguments", "errors_of", "rules_of", "selected", "try_fill"]


def check_arguments(seed: int, prefix: str, threads: int | None, bit_generator: BitGenerator) -> None:
    """Refuse what each fill would refuse, also where nothing is filled."""
    if seed is None:
        raise TypeError("seed must be an int, 0 .. 2**64-1, got None")
    fastinit.zeros(np.empty(0), seed=seed, threads=threads, bit_generator=bit_generator)
    check_prefix(prefix)


def selected(
    tensors: Sequence[Sequence[str]],
    include: str | Sequence[str] | None,
    exclude: str | Sequence[str] | None,
    others: Iterable[str] = (),
) -> list[bool]:
    """For each tensor, by all its names, whether it is selected. ``others`` are names that a pattern may be for, too.

    The first name decides. But another name that was asked for must not be passed over without a word, nor one that was
    excluded be filled with it: those are refused.
    """
    names = [*itertools.chain.from_iterable(tensors), *others]
    included = set(select(names, include, None))
    excluded = set(names).difference(select(names, None, exclude))
    return [_selected(first, more, include is not None, included, excluded) for first, *more in tensors]


def _selected(first: str, others: Sequence[str], asked: bool, included: set[str], excluded: set[str]) -> bool:
    if first in included and first not in excluded:
        for other in others:
            if other in excluded:
                raise ValueError(
                    f"exclude: {other!r} is another name of {first!r}, which is not excluded; they are one tensor, so "
                    "exclude both of them or neither"
                )
        return True
    for other in others:
        if asked and other in included and other not in excluded:
            which = "is excluded" if first in excluded else "is not included"
            raise ValueError(
                f"include: {other!r} is another name of {first!r}, which {which}; they are one tensor, so include both "
                "of them or neither"
            )
    return False


def rules_of(
    recipe: Recipe | str, targets: Sequence[Target], chosen: Iterable[Target]
) -> dict[str, tuple[str, Initializer]]:
    """The pattern and initialiser of each chosen parameter, by its first name."""
    shapes = {target.name: shape_of(target.tensor) for target in targets}
    pairs = named(recipe, shapes) if isinstance(recipe, str) else recipe
    return match_chosen(pairs, shapes, {target.name for target in chosen})


@contextlib.contextmanager
def errors_of(target: Target) -> Iterator[None]:
    """Errors in this block say which parameter they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"parameter {target.name!r} of shape {shape_of(target.tensor)}: {error}") from None


def try_fill(initializer: Initializer, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise what the fill would raise: fill a box of the tensor that has no elements, in memory of its own."""
    try_box(initializer, nothing(dtype, len(shape)), shape)
