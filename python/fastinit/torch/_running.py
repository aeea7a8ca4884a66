"""Calls of a module with a batch: what is refused, how a batch is given, the tensors in anything, the loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fastinit._arguments import typed
from fastinit.signal._activations import Floats

from . import _compat
from ._sharding import is_dtensor

__all__ = ["array_of", "called", "first_float", "is_float", "loss_of", "refuse", "tensors_in"]


def refuse(model: nn.Module, batch: Any) -> None:
    """What has no values, or whose hooks do not see all of them."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(f"{name or 'the module'!r} was compiled by TorchScript, where hooks see nothing")
    named = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in named:
        if nn.parameter.is_lazy(tensor):
            raise ValueError(f"{name!r} is lazy and has no shape yet: run the model once before")
        if is_dtensor(tensor) or _compat.is_flattened(tensor):
            raise ValueError(f"{name!r} is sharded, and signal looks at one process: give it the whole model")
    for name, tensor in [*named, *(("batch", tensor) for tensor in tensors_in(batch))]:
        if tensor.is_meta:
            raise ValueError(f"{name!r} is on the meta device and has no values: give it memory and initialise it")


def called(model: nn.Module, batch: Any) -> Any:
    """The output."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple) else model(batch)


def tensors_in(thing: Any) -> Iterator[Tensor]:
    """Those in nested tuples, lists, mappings and dataclasses."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, Mapping):
        for item in thing.values():
            yield from tensors_in(item)
    elif isinstance(thing, tuple | list):
        for item in thing:
            yield from tensors_in(item)
    elif dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        for field in dataclasses.fields(thing):
            yield from tensors_in(getattr(thing, field.name))


def is_float(tensor: Tensor) -> bool:
    # What torch.func's transforms give a module holds no values that can be read.
    dense = tensor.layout is torch.strided and not tensor.is_nested and not _compat.is_wrapped(tensor)
    return dense and tensor.is_floating_point() and tensor.numel() > 0


def first_float(thing: Any) -> Tensor | None:
    return next(filter(is_float, tensors_in(thing)), None)


def array_of(tensor: Tensor) -> Floats:
    """Its values as float32, or as float64 if that is what they are."""
    dtype = torch.float64 if tensor.dtype is torch.float64 else torch.float32
    array: Floats = tensor.detach().to("cpu", dtype).numpy()
    return array


def loss_of(output: Any, loss: Callable[[Any], Tensor] | None) -> Tensor | None:
    """What ``loss`` says, or an output that is itself a loss or has one, or None."""
    if loss is not None:
        return _scalar(loss(output))
    if isinstance(output, Mapping) and isinstance(output.get("loss"), Tensor):
        return _scalar(output["loss"])
    return None


def _scalar(value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"loss must return a tensor, got {typed(value)}")
    if value.numel() != 1 or not value.is_floating_point():
        raise ValueError(f"loss must return a scalar of floats, got shape {tuple(value.shape)} and dtype {value.dtype}")
    return value.reshape(())
