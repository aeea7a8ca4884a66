"""A value of a recipe that comes from a block of ``deferred``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastinit.recipes._values import Computed

from ._tensor import slabs

__all__ = ["Recorded"]

_SLAB = 2**22  # bytes that are computed at a time


class Recorded(Computed):
    """What the model's own code does, if it is more than a draw; rows of padding are what that makes of them."""

    __slots__ = ()

    def fill(self, out: Any, **given: Any) -> Any:
        """In slabs, so that little memory is needed beside the tensor's own."""
        slab = _elements(out.dtype)
        if not len(out.shape) or np.prod(out.shape, dtype=np.int64) <= slab:
            return super().fill(out, **given)
        shape, offset = given.pop("global_shape", None), given.pop("offset", None)
        if shape is None or offset is None:
            shape, offset = tuple(out.shape), (0,) * len(out.shape)
        for start, stop in slabs(out.shape, slab):
            place = (offset[0] + start, *offset[1:])
            super().fill(out[start:stop], global_shape=shape, offset=place, **given)
        return out

    def fill_tensor(self, out: Tensor, offset: Sequence[int], **given: Any) -> None:
        """A tensor of any dtype that torch can cast to."""
        function: Any = self.function
        with torch.no_grad():
            if out.ndim == 0:
                out.copy_(function.of((), given))
                return
            for start, stop in slabs(out.shape, _elements(out.dtype)):
                place = (offset[0] + start, *offset[1:])
                part = out[start:stop]
                part.copy_(function.of(tuple((at, at + n) for at, n in zip(place, part.shape, strict=True)), given))


def _elements(dtype: Any) -> int:
    """As many as are computed at a time: in float32, or in a wider type if the tensor has one."""
    return _SLAB // max(4, int(dtype.itemsize))
