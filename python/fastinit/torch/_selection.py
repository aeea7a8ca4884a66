"""Which tensors ``include=`` and ``exclude=`` select, where one tensor may have several names."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from fastinit.recipes._core import select

__all__ = ["selected"]


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
