"""Tensors that modules have neither as parameters nor as buffers: as attributes, in lists, dicts and tuples there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from . import _compat

__all__ = ["attributes_of", "replace_tensors"]


def attributes_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Each tensor, with the attribute that has it."""
    for name, value in vars(module).items():
        if isinstance(value, Tensor | list | tuple | dict) and name not in _compat.TENSORS_AND_MODULES:
            yield from ((name, tensor) for tensor in _tensors_in(value, set()))


def replace_tensors(module: nn.Module, name: str, function: Callable[[Tensor], Tensor]) -> None:
    """Put what the function returns into the places of an attribute's tensors. Lists and dicts stay the same ones."""
    vars(module)[name] = _replaced(vars(module)[name], function, set())


def _is_container(value: object, seen: set[int]) -> bool:
    """One that is not met for the second time: a list may have itself."""
    found = (type(value) is dict or _compat.can_be_rebuilt(value)) and id(value) not in seen
    seen.add(id(value))
    return found


def _tensors_in(value: Any, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif _is_container(value, seen):
        for item in value.values() if type(value) is dict else value:
            yield from _tensors_in(item, seen)


def _replaced(value: Any, function: Callable[[Tensor], Tensor], seen: set[int]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if not _is_container(value, seen):
        return value
    pairs = value.items() if type(value) is dict else enumerate(value)
    new = [(key, _replaced(item, function, seen)) for key, item in pairs]
    if isinstance(value, tuple):
        changed = any(now is not then for (_, now), then in zip(new, value, strict=True))
        return _compat.rebuilt(value, [item for _, item in new]) if changed else value
    for key, item in new:
        value[key] = item
    return value
