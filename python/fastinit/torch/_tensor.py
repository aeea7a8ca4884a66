"""A torch tensor as memory: whether a value may be written there, and how it gets there.

Whoever writes into that memory must tell autograd: ``write`` does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from . import _compat

__all__ = [
    "end_of",
    "is_plain",
    "lost",
    "memory",
    "nothing",
    "slabs",
    "vanishes",
    "watched",
    "why_not",
    "why_not_cast",
    "why_not_dtype",
    "write",
]

# --- may a value be written here? -----------------------------------------------------------------------------------

_BITS = {1: torch.uint8, 2: torch.int16}
# Those that NumPy does not have, by their names in ml_dtypes.
_OF_ML_DTYPES = {getattr(torch, name): name for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")}
_DTYPES = (torch.float32, torch.float64, torch.float16, *_OF_ML_DTYPES)


def is_plain(tensor: Tensor) -> bool:
    """Whether it is a dense tensor of torch's own type in the memory of the CPU."""
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and not _compat.is_wrapped(tensor)
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not tensor.is_nested
    )


def why_not(
    tensor: Tensor, *, meta: bool = False, any_dtype: bool = False, device: torch.device | None = None
) -> str | None:
    """Why the core cannot fill this tensor, or None if it can (with ``meta``: could, if a meta tensor had memory).

    With ``any_dtype``: why nothing can be written into it. With ``device``: or into one that is there.
    """
    # First, because any other question would call the subclass's ``__torch_function__``.
    if type(tensor) not in (Tensor, torch.nn.Parameter) or _compat.is_wrapped(tensor):
        lazy = ", which has no shape until its module has been called" if torch.nn.parameter.is_lazy(tensor) else ""
        return f"must be a plain tensor with memory of its own, got {type(tensor).__name__}{lazy}"
    if not (tensor.is_cpu or (meta and tensor.is_meta) or tensor.device == device):
        return f"must be in the memory of the CPU, got a tensor on {tensor.device}"
    if tensor.layout is not torch.strided:
        return f"must be dense (torch.strided), got layout {tensor.layout}"
    if tensor.is_nested:
        return "must be dense (torch.strided), got a nested tensor"
    if tensor.dtype not in _DTYPES and not any_dtype:
        return why_not_dtype(tensor.dtype)
    if tensor.is_neg():
        return "must not be a negated view; tensor.resolve_neg() makes a copy that is not"
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        return "must not be an inference tensor, unless torch.inference_mode() is on"
    if not tensor.is_meta and tensor.data_ptr() == 0 and tensor.numel() > 0:
        return "must have memory, got a tensor whose storage was freed or never made"
    if (size := tensor.untyped_storage().nbytes()) < (end := end_of(tensor)):
        return f"must lie within its storage, got one that ends at byte {end} of a storage of {size} bytes"
    return None


def why_not_dtype(dtype: torch.dtype) -> str | None:
    """The same of the dtype alone."""
    if dtype in _DTYPES:
        return None
    return f"must have dtype float32, float64, float16, bfloat16, float8_e4m3fn or float8_e5m2, got {dtype}"


@functools.cache
def why_not_cast(dtype: torch.dtype) -> str | None:
    """Why torch makes no values of that dtype: it has some, such as 4-bit floats, that are names for bytes."""
    try:
        torch.empty(1, dtype=dtype, device="cpu").to(torch.complex128 if dtype.is_complex else torch.float64)
    except (NotImplementedError, RuntimeError):
        return f"must have a dtype of which torch can make values, got {dtype}"
    return None


def end_of(tensor: Tensor) -> int:
    """The byte of the storage at which the tensor's elements end."""
    if (n := tensor.numel()) and not tensor.is_contiguous():
        n = 1 + sum(stride * (size - 1) for stride, size in zip(tensor.stride(), tensor.shape, strict=True))
    return (int(tensor.storage_offset()) + n) * tensor.element_size() if n else 0


def watched(*, by_modes: bool) -> bool:
    """Whether torch has to do what is asked for, since it records, traces or transforms what is called.

    A value that is written into memory behind its back would be lost, or never seen. With ``by_modes`` also function
    modes count, which want to see the call itself. (``with torch.device(...)`` is one that has no say here.)
    """
    return (
        torch.compiler.is_compiling()  # first: the compiler traces this line, and understands none of the others
        or _compat.dispatch_modes() > 0
        or _compat.transforms() is not None
        or _compat.trace() is not None
        or _compat.forward_level() >= 0
        or (
            by_modes
            and _compat.n_function_modes() > 0
            and not all(map(_compat.is_device_mode, _compat.function_modes()))
        )
    )


def lost(tensor: Tensor) -> str | None:
    """Why a value must not be written into this tensor even if the caller insists: it would be lost, or wrong."""
    if _compat.trace() is not None:
        return "must not be filled under torch.jit.trace, which would not record it"
    if _compat.makes_graph():
        return "must not be filled under make_fx or torch.export, which would not record it"
    if _compat.forward_level() >= 0 and forward_ad.unpack_dual(tensor).tangent is not None:  # type: ignore[no-untyped-call]
        return "must not be a dual tensor of forward-mode gradients, whose tangent would stay as it is"
    return None


def vanishes(tensor: Tensor) -> str | None:
    """Why a value would be lost even if torch wrote it.

    Autograd knows the tensor as computed from others, as ``layer.weight`` is under a parametrization: the next access
    computes it again. (A view of a leaf is not.) Or DeepSpeed's ZeRO-3 keeps the parameter's elements elsewhere.
    """
    base = _compat.base_of(tensor)
    step = (tensor if base is None else base).grad_fn
    if step is not None:
        return (
            "must not be computed from others, as the weight of a parametrized layer is (weight_norm, spectral_norm "
            "...): what is written there is lost. Fill the layer before it is parametrized, or fill another tensor and "
            f"assign it (`layer.weight = value`); got a tensor with grad_fn {type(step).__name__}"
        )
    if tensor.numel() == 0 and hasattr(tensor, "ds_id"):
        return (
            "must have elements, got a parameter that DeepSpeed's ZeRO-3 has partitioned: fill it inside of "
            "deepspeed.zero.GatheredParameters(..., modifier_rank=0)"
        )
    return None


# --- how it gets there ----------------------------------------------------------------------------------------------


@functools.cache
def _of_ml_dtypes(name: str) -> Any:
    """NumPy's dtype of that name, if the package that brings it is installed, else None."""
    try:
        import ml_dtypes
    except ModuleNotFoundError:
        return None
    return getattr(ml_dtypes, name)


def memory(tensor: Tensor) -> Any:
    """The tensor's memory in a form that fastinit fills, without a copy. The caller has asked ``why_not``.

    An array; without ml_dtypes, what NumPy does not have goes as a tensor by DLPack, some microseconds slower.
    """
    detached = tensor.detach()
    name = _OF_ML_DTYPES.get(tensor.dtype)
    if name is None:
        return detached.numpy()
    dtype = _of_ml_dtypes(name)
    return detached if dtype is None else detached.view(_BITS[tensor.itemsize]).numpy().view(dtype)


def nothing(dtype: torch.dtype, dimensions: int = 1) -> Any:
    """Memory of that dtype without elements (of 0 dimensions: with one), for a trial of arguments."""
    return memory(torch.empty((0,) * dimensions, dtype=dtype, device="cpu"))


def slabs(shape: Sequence[int], n: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows that have n elements or fewer each, if one row has not more."""
    rows = max(1, n * shape[0] // max(1, math.prod(shape)))
    return ((start, min(start + rows, shape[0])) for start in range(0, shape[0], rows))


def write(tensor: Tensor, fill: Callable[[Any], object]) -> Tensor:
    """Calls ``fill`` with the tensor's memory, tells autograd that it changed, returns the tensor."""
    fill(memory(tensor))
    torch.autograd.graph.increment_version(tensor)
    return tensor
