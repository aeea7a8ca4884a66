"""Where in the whole tensor the piece of this process lies: the boxes of a DTensor's local shard.

No other process is asked, and no tensor is made. torch.distributed.tensor, which takes long to import, is imported only
when there are DTensors.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor

from . import _compat

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

__all__ = ["boxes", "is_dtensor", "local_of"]

# Indices along one dimension, as [start, stop) in the order in which the local tensor holds them.
Ranges = list[tuple[int, int]]


def is_dtensor(tensor: object) -> TypeGuard[DTensor]:
    """Whether this is a DTensor, without importing what defines it."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local_of(tensor: Tensor) -> Tensor:
    """The memory of this process: of a DTensor its local tensor, which shares it; any other tensor itself."""
    if not is_dtensor(tensor):
        return tensor
    with torch.no_grad():
        return tensor.to_local()


def boxes(tensor: Tensor) -> tuple[tuple[int, ...], list[tuple[Tensor, tuple[int, ...]]]]:
    """The shape of the whole tensor, and the parts of it that this process holds.

    Each part is a view of the local memory and its offset in the whole tensor. A tensor that is no DTensor is one part
    at offset 0. A DTensor has usually one, none where this process has no elements of it, and several where its
    elements are not contiguous in the whole (``_StridedShard``). Placements that describe no boxes (partial sums, kinds
    of placement that are not known here), or not the local tensor that is there, are a ValueError.
    """
    shape = tuple(tensor.shape)
    if not is_dtensor(tensor):
        return shape, [(tensor, (0,) * len(shape))]
    shards = _shards(tensor)
    coordinate = tensor.device_mesh.get_coordinate()
    if coordinate is None:  # this process is not part of the mesh
        return shape, []
    ranges: list[Ranges] = [[(0, size)] for size in shape]
    for mesh_dim, dim, factor in shards:
        n, i = tensor.device_mesh.size(mesh_dim), coordinate[mesh_dim]
        ranges[dim] = [r for j in range(factor) for r in _chunk(_chunk(ranges[dim], factor, j), n, i)]
    with torch.no_grad():
        local = tensor.to_local()
        sizes = tuple(map(_length, ranges))
        if 0 in sizes and local.numel() == 0:  # in whatever shape: FSDP makes it 0 along its own dimension too
            return shape, []
        if tuple(local.shape) != sizes:
            raise ValueError(
                f"a DTensor of shape {shape} with placements {tensor.placements} on a mesh of shape "
                f"{tuple(tensor.device_mesh.shape)} has shape {sizes} at {tuple(coordinate)}, but its local tensor has "
                f"shape {tuple(local.shape)}"
            )
        return shape, _product(local, [_joined(along) for along in ranges])


def _shards(tensor: DTensor) -> list[tuple[int, int, int]]:
    """How the tensor was cut, in order: (mesh dimension, tensor dimension, split factor); 1 for a plain cut."""
    from torch.distributed.tensor import Replicate, Shard

    strided_shard: Any = _compat.strided_shard()
    factors: dict[int, list[tuple[int, int]]] = {}  # tensor dimension: [(mesh dimension, split factor)]
    placements: Sequence[Any] = tensor.placements
    for mesh_dim, placement in enumerate(placements):
        if type(placement) is Shard:
            factors.setdefault(placement.dim, []).append((mesh_dim, 1))
        elif type(placement) is strided_shard:
            factors.setdefault(placement.dim, []).append((mesh_dim, int(placement.split_factor)))
        elif type(placement) is not Replicate:
            raise ValueError(
                f"cannot say which box of the whole tensor this process holds: placements must be Replicate, Shard or "
                f"_StridedShard, got {tensor.placements} for a DTensor of shape {tuple(tensor.shape)}"
            )
    # The order is stored if strided placements do not say it, or say what they say literally (from views of DTensors).
    stored = _compat.shard_order(tensor)
    shards = []
    for dim, cuts in factors.items():
        strided = any(factor > 1 for _, factor in cuts)
        order = _order(cuts, tensor.device_mesh.shape) if dim not in stored else None if strided else stored[dim]
        shards += [(m, dim, factor) for m, factor in cuts] if order is None else [(m, dim, 1) for m in order]
    return shards


def _order(cuts: Sequence[tuple[int, int]], sizes: Sequence[int]) -> list[int] | None:
    """The mesh dimensions in the order in which they cut, read from split factors; None if they mean no order.

    FSDP cuts what tensor parallelism has cut before, but its mesh dimension comes first: its placement's split factor
    is the number of pieces that were there before, from later mesh dimensions. ``full_tensor`` reads it so; to cut from
    left to right into the strided pieces gives other pieces where the sizes are uneven.
    """
    order: list[int] = []
    for mesh_dim, factor in reversed(cuts):
        pieces = list(itertools.accumulate((sizes[m] for m in order), int.__mul__, initial=1))
        if factor not in pieces:
            return None
        order.insert(pieces.index(factor), mesh_dim)
    return order


# --- ranges ---------------------------------------------------------------------------------------------------------


def _length(ranges: Ranges) -> int:
    return sum(stop - start for start, stop in ranges)


def _chunk(ranges: Ranges, n: int, i: int) -> Ranges:
    """The i-th of the n parts in which ``torch.chunk`` cuts: all of the size of the first, as long as there are any."""
    size = -(-_length(ranges) // n)
    left, right = size * i, size * (i + 1)
    part, before = [], 0
    for start, stop in ranges:
        first, last = max(start, start + left - before), min(stop, start + right - before)
        if first < last:
            part.append((first, last))
        before += stop - start
    return part


def _joined(ranges: Ranges) -> Ranges:
    """The same indices with ranges that follow each other made one."""
    joined: Ranges = []
    for start, stop in ranges:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined


def _product(local: Tensor, ranges: list[Ranges]) -> list[tuple[Tensor, tuple[int, ...]]]:
    """The boxes that the ranges along each dimension make, as views of the local tensor."""
    located: list[list[tuple[int, int, int]]] = []  # (start in the whole, start in the local tensor, length)
    for along in ranges:
        lengths = [stop - start for start, stop in along]
        places = itertools.accumulate(lengths, initial=0)
        located.append([(start, place, n) for (start, _), place, n in zip(along, places, lengths, strict=False)])
    found: list[tuple[Tensor, tuple[int, ...]]] = []
    for corner in itertools.product(*located):
        view: Any = local
        for dim, (_, place, length) in enumerate(corner):
            view = view.narrow(dim, place, length)
        found.append((view, tuple(start for start, _, _ in corner)))
    return found
