"""A torch tensor as memory that the core fills. It knows tensors; it knows no distribution, no module and no mesh.

Whoever writes through NumPy must tell autograd: ``write`` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def why_not(tensor: Tensor, *, meta: bool = False) -> str | None:
    """Why the core cannot fill this tensor, or None if it can (with ``meta``: could, if a meta tensor had memory)."""
    # First, because a subclass is told of every other question.
    if type(tensor) not in (Tensor, torch.nn.Parameter) or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return f"must be a plain tensor with memory of its own, got {type(tensor).__name__}"
    if tensor.device.type != "cpu" and not (meta and tensor.is_meta):
        return f"must be in the memory of the CPU, got a tensor on {tensor.device}"
    if tensor.layout is not torch.strided:
        return f"must be dense (torch.strided), got layout {tensor.layout}"
    if tensor.dtype not in DTYPES:
        return f"must have dtype float32, float64, float16 or bfloat16, got {tensor.dtype}"
    if tensor.is_neg():
        return "must not be a negated view, got one; tensor.resolve_neg() is a copy that is none"
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        return "must not be an inference tensor outside of torch.inference_mode(), got one"
    if not tensor.is_meta and tensor.data_ptr() == 0 and tensor.numel() > 0:
        return "must have memory, got a tensor whose storage was freed or never made"
    return None


def array_of(tensor: Tensor) -> NDArray[Any]:
    """The tensor's memory as an array, without a copy. The caller has asked ``why_not``."""
    detached = tensor.detach()
    if tensor.dtype is not torch.bfloat16:
        return detached.numpy()
    import ml_dtypes

    return detached.view(torch.int16).numpy().view(ml_dtypes.bfloat16)


def write(tensor: Tensor, fill: Callable[[NDArray[Any]], object]) -> Tensor:
    """Calls ``fill`` with the tensor's memory, tells autograd that it changed, returns the tensor."""
    fill(array_of(tensor))
    torch.autograd.graph.increment_version(tensor)
    return tensor
