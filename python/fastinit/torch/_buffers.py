"""Buffers on the meta device: which there are, and the values that their own modules, or the caller, compute."""

from __future__ import annotations

import contextlib
import copy
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from fastinit._arguments import typed
from fastinit.recipes._core import rule

from . import _compat
from ._parameters import plain_name

__all__ = ["Buffer", "BufferFunctions", "attach", "buffers_of", "compute"]

BufferFunctions: TypeAlias = Mapping[str, Callable[[nn.Module], Tensor]]

# Methods of modules that compute buffers: torch's norms; timm; torchtune's rotary embeddings; anybody's.
_METHODS = ("reset_running_stats", "init_non_persistent_buffers", "rope_init", "reset_parameters")


class Buffer:
    """A buffer on the meta device: one object, whatever its names, and the tensor that will take its place."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.names: list[str] = []
        self.owners: list[nn.Module] = []
        self.keys: list[str] = []
        self.new: Tensor | None = None


def buffers_of(module: nn.Module, prefix: str) -> tuple[list[Buffer], list[str]]:
    """The buffers on the meta device, and the names of all buffers."""
    found: dict[int, Buffer] = {}
    names = []
    for path, owner in module.named_modules(remove_duplicate=False):
        for key, tensor in _compat.buffers_of(owner).items():
            if tensor is None:
                continue
            names.append(prefix + plain_name(f"{path}.{key}" if path else key))
            if tensor.is_meta:
                buffer = found.setdefault(id(tensor), Buffer(tensor))
                buffer.names.append(names[-1])
                buffer.owners.append(owner)
                buffer.keys.append(key)
    return list(found.values()), names


def compute(module: nn.Module, wanted: Sequence[Buffer], names: Sequence[str], given: BufferFunctions | None) -> None:
    """Find the values of the wanted buffers: from the caller's functions, else from the modules' own methods.

    Nothing is attached yet. ``names`` are those of all buffers, of which each pattern must match one.
    """
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise TypeError(f"buffers must be a mapping from patterns to functions, got {typed(given)}")
    for pattern, function in given.items():
        if not isinstance(pattern, str) or not callable(function):
            raise TypeError(
                f"buffers must be a mapping from patterns to functions, got {typed(pattern)} with {typed(function)}"
            )
    rules = {pattern: rule(pattern, names) for pattern in given}
    idle = [pattern for pattern, matches in rules.items() if not any(map(matches, names))]
    if idle:
        raise ValueError(f"buffers: no buffer matches the patterns {', '.join(map(repr, idle))}")
    for buffer in wanted:
        for name, owner in zip(buffer.names, buffer.owners, strict=True):
            for pattern, function in given.items():
                if buffer.new is None and rules[pattern](name):
                    buffer.new = _computed(name, buffer.tensor, function(owner))
    _ask_modules(module, [buffer for buffer in wanted if buffer.new is None])
    missing = [buffer for buffer in wanted if buffer.new is None]
    if missing:
        listed = ", ".join(f"{buffer.names[0]!r} of {type(buffer.owners[0]).__name__}" for buffer in missing)
        raise ValueError(
            f"these buffers are on the meta device and no method of their modules computes them: {listed}; pass "
            "buffers={pattern: function}, where function gets the module and returns the tensor, or leave them there "
            "with exclude="
        )


def attach(buffers: Sequence[Buffer]) -> None:
    """Put the computed tensors into the places of the old ones."""
    for buffer in buffers:
        for owner, key in zip(buffer.owners, buffer.keys, strict=True):
            _compat.buffers_of(owner)[key] = buffer.new


def _computed(name: str, old: Tensor, value: object) -> Tensor:
    """What a caller's function returned, if it fits."""
    if not isinstance(value, Tensor):
        raise TypeError(f"buffers: the function for {name!r} must return a tensor, got {typed(value)}")
    if value.device.type != "cpu" or value.shape != old.shape or value.dtype != old.dtype:
        raise ValueError(
            f"buffers: the function for {name!r} must return a tensor of shape {tuple(old.shape)} and dtype "
            f"{old.dtype} on the CPU, got shape {tuple(value.shape)} and dtype {value.dtype} on {value.device}"
        )
    return value.detach()


def _ask_modules(module: nn.Module, wanted: list[Buffer]) -> None:
    """Have modules compute their own buffers, each on a copy of it that shares no tensor with it.

    In the copy, parameters are on the meta device and buffers have memory. What a method writes or registers there is
    taken; what it leaves alone is not known to be right.
    """
    for buffer in wanted:
        for owner, key in zip(buffer.owners, buffer.keys, strict=True):
            for method in _methods(module, owner):
                if buffer.new is not None:
                    break
                # Ignore methods that fail; a buffer that none computes is reported below.
                with contextlib.suppress(Exception):
                    buffer.new = _written(owner, key, method)


def _written(owner: nn.Module, key: str, method: Callable[[nn.Module], object]) -> Tensor | None:
    """The buffer that a method writes or registers in a copy of the module, None if it does not or it does not fit.

    Asked twice, with other values in the buffers that have none yet: what follows from those is no answer.
    """
    one, other = (_written_over(value, owner, key, method) for value in (0, 1))
    return one if one is not None and other is not None and torch.equal(one, other) else None


def _written_over(value: int, owner: nn.Module, key: str, method: Callable[[nn.Module], object]) -> Tensor | None:
    memo: dict[int, object] = {}
    for parameter in owner.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    for tensor in owner.buffers():
        memo[id(tensor)] = torch.full_like(tensor, value, device="cpu") if tensor.is_meta else tensor.clone()
    twin = copy.deepcopy(owner, memo)
    old = _compat.buffers_of(twin)[key]
    assert old is not None
    version = _compat.version(old)
    with torch.device("cpu"), torch.no_grad(), torch.random.fork_rng(devices=[]):
        method(twin)
    new = _compat.buffers_of(twin)[key]
    if new is None or (new is old and _compat.version(old) == version):
        return None
    return new if (new.shape, new.dtype, new.device) == (old.shape, old.dtype, old.device) else None


def _methods(module: nn.Module, owner: nn.Module) -> Iterator[Callable[[nn.Module], object]]:
    """What may compute the buffers of a module, given a copy of it."""
    for name in _METHODS:
        if callable(getattr(owner, name, None)):
            yield operator.methodcaller(name)
    # In transformers, the model that holds the module does it, by its configuration: the innermost first.
    for model in reversed(list(module.modules())):
        method = _compat.model_initialiser(model)
        if method is not None and any(child is owner for child in model.modules()):
            yield method
