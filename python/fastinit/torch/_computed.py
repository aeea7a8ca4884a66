"""Tensors from which a module computes its weights: the inputs of parametrizations, of weight norms, of pruning.

A value that is written there is not the value of the weight, so nothing is filled there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from fastinit._arguments import some

from . import _compat
from ._buffers import Buffer
from ._parameters import Target

__all__ = ["refuse_inputs", "refuse_inputs_by_name"]


def refuse_inputs(module: nn.Module, chosen: Iterable[Target | Buffer]) -> None:
    """Refuse to write what a module computes its weights from; of parametrizations also their buffers."""
    inputs = {id(tensor): how for owner in module.modules() for tensor, how in _inputs_of(owner)}
    if inputs:
        tensors = [tensor for one in chosen for tensor in (one, *(one.aliases if isinstance(one, Target) else ()))]
        _refuse({one.name: inputs[id(one.tensor)] for one in tensors if id(one.tensor) in inputs})


def refuse_inputs_by_name(names: Iterable[str], chosen: Iterable[str]) -> None:
    """The same in a state dict, which says no more than names."""
    inputs = dict(_inputs_among(set(names)))
    _refuse({name: inputs[name] for name in chosen if name in inputs})


def _inputs_of(owner: nn.Module) -> Iterator[tuple[Tensor | None, str]]:
    if isinstance(owner, ParametrizationList):
        for tensor in (*_compat.parameters_of(owner).values(), *owner.buffers()):
            yield tensor, "torch.nn.utils.parametrize"
    for key, how in _compat.inputs_by_hooks(owner):
        yield _compat.parameters_of(owner).get(key), how
        yield _compat.buffers_of(owner).get(key), how


def _inputs_among(names: set[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if re.search(r"(^|\.)parametrizations\.", name):
            yield name, "torch.nn.utils.parametrize"
        path, dot, last = name.rpartition(".")
        for pattern, end, how in _compat.INPUT_NAMES:
            if (found := re.fullmatch(pattern, last)) and (other := path + dot + found[1] + end) in names:
                yield from ((name, how), (other, how))


def _refuse(found: dict[str, str]) -> None:
    """Say which tensors these are, and what computes a weight from them."""
    if found:
        by = " and ".join(sorted(set(found.values())))
        raise ValueError(
            f"from the tensors {some(found)} the module computes its weights, by {by}: what is written there is not "
            "what the weights become. Fill the module before its weights are parametrized, normed or pruned; or leave "
            "these tensors alone with exclude="
        )
