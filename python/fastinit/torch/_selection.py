"""What ``init_module`` and ``FastInitReader`` make of their arguments alike: which tensors are filled, and by what."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import nn

import fastinit
from fastinit.recipes import Initializer, Recipe, named
from fastinit.recipes._initializer import try_box
from fastinit.recipes._patterns import Filling, check_prefix, match_chosen, resolved, select
from fastinit.recipes._values import Skip

from ._fans import Owners, described, padding_of
from ._parameters import Target
from ._recorded import Recorded
from ._tensor import nothing, why_not_dtype, write

if TYPE_CHECKING:
    from fastinit._types import BitGenerator

__all__ = ["Rule", "check_arguments", "errors_of", "rule_for", "selected", "values_of"]


def check_arguments(seed: int | None, prefix: str, threads: int | None, bit_generator: BitGenerator) -> None:
    """Refuse what each fill would refuse, also where nothing is filled."""
    if seed is None:
        raise TypeError("seed must be an int, 0 .. 2**64-1, got None")
    fastinit.zeros(np.empty(0), seed=seed, threads=threads, bit_generator=bit_generator)
    check_prefix(prefix)


def selected(
    tensors: Sequence[Sequence[str]],
    include: str | Sequence[str] | None,
    exclude: str | Sequence[str] | None,
) -> list[bool]:
    """For each tensor, by all its names, whether it is selected.

    The first name decides. But another name that was asked for must not be passed over without a word, nor one that was
    excluded be filled with it: those are refused.
    """
    names = list(itertools.chain.from_iterable(tensors))
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


def values_of(
    recipe: Recipe | str, targets: Sequence[Target], chosen: Iterable[Target], module: nn.Module | None
) -> dict[str, tuple[str, Filling]]:
    """The pattern and value of each chosen parameter that is filled, by its first name. The others are skipped.

    ``module`` has the parameters, where they are not those of a state dict.
    """
    every: dict[str, tuple[int, ...]] = {}
    for one in itertools.chain.from_iterable((target, *target.aliases) for target in targets):
        every.update(dict.fromkeys(one.own_names, one.shape))
    first = {target.name: every[target.name] for target in targets}
    pairs = named(recipe, every, model=module) if isinstance(recipe, str) else recipe
    found = match_chosen(pairs, first, {target.name for target in chosen})
    return {
        name: (pattern, value)
        for name, (pattern, value) in resolved(found, every).items()
        if not isinstance(value, Skip)
    }


class Rule(NamedTuple):
    """How one parameter is filled, wherever its pieces are."""

    name: str
    shape: tuple[int, ...]
    pattern: str
    filling: Filling
    padding_idx: int | None

    def fill(self, piece: torch.Tensor, offset: Sequence[int], **given: Any) -> None:
        """Fill a box of it, at an offset."""
        if why_not_dtype(piece.dtype):  # only what a block of deferred has recorded has such values
            cast(Any, self.filling).fill_tensor(piece, offset, **given)
            return

        def fill(array: Any) -> None:
            self.filling.fill(array, stream=self.name, global_shape=self.shape, offset=offset, **given)
            if self.padding_idx is not None and 0 <= (row := self.padding_idx - offset[0]) < len(array):
                fastinit.zeros(array[row], seed=0)

        write(piece, fill)


def rule_for(target: Target, pattern: str, value: Filling, owners: Owners, *, padded: bool = True) -> Rule:
    """What the recipe and the parameter's modules say together, rows of padding if ``padded``. Refuses what the fill
    would refuse.
    """
    shape = target.shape
    if isinstance(value, Initializer):
        value = described(value, target, owners)
        _try_fill(value, shape, target.tensor.dtype)
    padded = padded and not isinstance(value, Recorded)
    return Rule(target.name, shape, pattern, value, padding_of(target, owners) if padded else None)


@contextlib.contextmanager
def errors_of(target: Target) -> Iterator[None]:
    """Errors in this block say which parameter they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        # What a function of the user raised is kept.
        raise type(error)(f"parameter {target.name!r} of shape {target.shape}: {error}") from error.__cause__


@functools.lru_cache(1024)  # of a model's layers, most are alike
def _try_fill(initializer: Initializer, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise what the fill would raise: fill a box of the tensor that has no elements, in memory of its own."""
    try_box(initializer, nothing(dtype, len(shape)), shape)
