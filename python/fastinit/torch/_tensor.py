"""A torch tensor as memory: whether the core can fill it, and how it gets there.

Whoever writes into that memory must tell autograd: ``write`` does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import _compat

__all__ = ["memory", "nothing", "why_not", "why_not_dtype", "write"]

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def why_not(tensor: Tensor, *, meta: bool = False) -> str | None:
    """Why the core cannot fill this tensor, or None if it can (with ``meta``: could, if a meta tensor had memory)."""
    # First, because a subclass is told of every other question.
    if type(tensor) not in (Tensor, torch.nn.Parameter) or _compat.is_wrapped(tensor):
        return f"must be a plain tensor with memory of its own, got {type(tensor).__name__}"
    if not (tensor.is_cpu or (meta and tensor.is_meta)):
        return f"must be in the memory of the CPU, got a tensor on {tensor.device}"
    if tensor.layout is not torch.strided:
        return f"must be dense (torch.strided), got layout {tensor.layout}"
    if tensor.dtype not in _DTYPES:
        return why_not_dtype(tensor.dtype)
    if tensor.is_neg():
        return "must not be a negated view; tensor.resolve_neg() makes a copy that is not"
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        return "must not be an inference tensor, unless torch.inference_mode() is on"
    if not tensor.is_meta and tensor.data_ptr() == 0 and tensor.numel() > 0:
        return "must have memory, got a tensor whose storage was freed or never made"
    return None


def why_not_dtype(dtype: torch.dtype) -> str | None:
    """The same of the dtype alone."""
    return None if dtype in _DTYPES else f"must have dtype float32, float64, float16 or bfloat16, got {dtype}"


@functools.cache
def _bfloat16() -> Any:
    """NumPy's dtype of that name, if the package that brings it is installed, else None."""
    try:
        import ml_dtypes
    except ModuleNotFoundError:
        return None
    return ml_dtypes.bfloat16


def memory(tensor: Tensor) -> Any:
    """The tensor's memory in a form that fastinit fills, without a copy. The caller has asked ``why_not``.

    An array; without ml_dtypes, bfloat16 goes as a tensor by DLPack, which takes some microseconds longer.
    """
    detached = tensor.detach()
    if tensor.dtype is not torch.bfloat16:
        return detached.numpy()
    dtype = _bfloat16()
    return detached if dtype is None else detached.view(torch.int16).numpy().view(dtype)


def nothing(dtype: torch.dtype, dimensions: int = 1) -> Any:
    """Memory of that dtype without elements (of 0 dimensions: with one), for a trial of arguments."""
    return memory(torch.empty((0,) * dimensions, dtype=dtype, device="cpu"))


def write(tensor: Tensor, fill: Callable[[Any], object]) -> Tensor:
    """Calls ``fill`` with the tensor's memory, tells autograd that it changed, returns the tensor."""
    fill(memory(tensor))
    torch.autograd.graph.increment_version(tensor)
    return tensor
