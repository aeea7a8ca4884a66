"""Fills of memory on another device: made on the CPU in small parts, of which one is copied while the next is made.

Written against PyTorch's interface for accelerators. Tested with devices that only seem to be others, never run on one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from ._steps import Box, shape_of

__all__ = ["Staging", "checked_device", "is_away"]

_BYTES = 2**23  # of each of two buffers: copies of some MiB reach a bus's full speed


def checked_device(device: object) -> torch.device:
    """A device on which memory can be had."""
    accepted = "device must be one on which this torch has memory, such as 'cpu' or 'cuda:0'"
    if not isinstance(device, torch.device | str | int) or isinstance(device, bool):
        raise TypeError(f"{accepted}, got {device!r}")
    try:
        found = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # the latter is what a torch without CUDA raises
        raise ValueError(f"{accepted}, got {str(device)!r}: {error}") from None
    if found.type == "meta":
        raise ValueError(f"{accepted}, got 'meta', which has none")
    return found


def is_away(tensor: Tensor) -> bool:
    """Whether the CPU cannot write into it."""
    return not tensor.is_cpu


class Staging:
    """Two buffers in page-locked memory, from which copies run while the CPU works on."""

    def __init__(self, device: torch.device) -> None:
        self._locked = [torch.empty(_BYTES, dtype=torch.uint8, pin_memory=device.type != "cpu") for _ in range(2)]
        self._copied = [self._event(device) for _ in range(2)]  # of the last copy from each
        self._device = device
        self._turn = 0

    def _event(self, device: torch.device) -> Any:
        return torch.Event(device)

    def _copy(self, part: Tensor, staged: Tensor) -> None:
        with torch.no_grad():
            part.copy_(staged, non_blocking=True)

    def _record(self, copied: Any) -> None:
        copied.record(torch.accelerator.current_stream(self._device))  # else that of the current device

    def fill(self, piece: Tensor, offset: Sequence[int], fill: Callable[[Tensor, tuple[int, ...]], object]) -> None:
        """Call ``fill`` with the parts of a box, on the CPU, and where each begins; copy them into the piece."""
        n = max(1, _BYTES // piece.element_size())
        for box in _parts(tuple((0, size) for size in piece.shape), n):
            turn = self._turn
            self._turn ^= 1
            self._copied[turn].synchronize()
            shape = shape_of(box)
            staged = self._locked[turn][: math.prod(shape) * piece.element_size()].view(piece.dtype).view(shape)
            fill(staged, tuple(at + start for at, (start, _) in zip(offset, box, strict=True)))
            self._copy(piece[tuple(slice(*along) for along in box)], staged)
            self._record(self._copied[turn])

    def finish(self) -> None:
        """Wait for the last copies: what is read next must be there."""
        for copied in self._copied:
            copied.synchronize()


def _parts(box: Box, n: int) -> Iterator[Box]:
    """A box in boxes of at most n elements, in the order of memory."""
    if 0 in shape_of(box):
        return
    if math.prod(shape_of(box)) <= n:
        yield box
        return
    dim = next(i for i, (start, stop) in enumerate(box) if stop - start > 1)
    start, stop = box[dim]
    step = max(1, n // math.prod(shape_of(box[dim + 1 :])))
    for begin in range(start, stop, step):
        yield from _parts((*box[:dim], (begin, min(stop, begin + step)), *box[dim + 1 :]), n)
