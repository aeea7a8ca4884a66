"""The parameters of a module: each once, whatever its names, with what shares its memory; and memory for new ones."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from . import _compat
from ._sharding import is_dtensor

__all__ = [
    "Target",
    "has_no_storage",
    "materialise",
    "overlaps_itself",
    "plain_name",
    "refuse_shared_memory",
    "refuse_shared_pieces",
    "shape_of",
    "targets_of",
    "unwrapped",
]

Pieces = list[tuple[Tensor, tuple[int, ...]]]  # views of memory of this process, and their offsets in the whole


Place = tuple[int, int, int]  # a storage, and the first and last byte in it


class Target:
    """A parameter: one object, whatever its names, with whatever shares its memory."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.own_names: list[str] = []
        self.place: Place | None = None  # where its elements lie
        self.new: Tensor | None = None  # what takes its place, if it has no memory yet
        self.aliases: list[Target] = []  # parameters that are other views of the same memory

    @property
    def name(self) -> str:
        """The first name."""
        return self.own_names[0]

    @property
    def names(self) -> list[str]:
        """All names, those of its aliases too."""
        return [*self.own_names, *(name for alias in self.aliases for name in alias.own_names)]

    @property
    def filled(self) -> Tensor:
        """The tensor that is filled."""
        return self.tensor if self.new is None else self.new


# --- names ----------------------------------------------------------------------------------------------------------


def plain_name(qualified: str) -> str:
    """The name without what wrappers put into it."""
    for wrapper in _compat.WRAPPERS:
        qualified = qualified.replace(wrapper, "")
    return qualified


def unwrapped(module: nn.Module) -> tuple[nn.Module, str]:
    """The model in a (Distributed)DataParallel, and what comes before its names in the wrapper."""
    before = ""
    while isinstance(module, nn.parallel.DistributedDataParallel | nn.DataParallel):
        module, before = module.module, before + "module."
    return module, before


def targets_of(module: nn.Module, prefix: str) -> list[Target]:
    """Each parameter once, in the order of first names. Views of the same memory are aliases of the first of them."""
    found: dict[int, Target] = {}
    for name, tensor in module.named_parameters(remove_duplicate=False):
        found.setdefault(id(tensor), Target(tensor)).own_names.append(prefix + plain_name(name))
    targets = list(found.values())
    for name, n in collections.Counter(target.name for target in targets).items():
        if n > 1:
            wrappers = " and ".join(map(repr, _compat.WRAPPERS))
            raise ValueError(f"{n} parameters are called {name!r}, when {wrappers} are left out of their names")
    views: dict[object, Target] = {}
    merged = []
    for target in targets:
        target.place = None if is_dtensor(target.tensor) else _place(target.tensor)  # its pieces lie elsewhere
        first = target if target.place is None else views.setdefault(_view(target.tensor, target.place), target)
        if first is target:
            merged.append(target)
        else:
            first.aliases.append(target)
    return merged


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """The shape of the whole tensor; of a lazy parameter, which has none yet, ()."""
    return () if nn.parameter.is_lazy(tensor) else tuple(tensor.shape)


# --- memory ---------------------------------------------------------------------------------------------------------


def has_no_storage(tensor: Tensor) -> bool:
    """Whether it is a lazy parameter, or sparse."""
    return nn.parameter.is_lazy(tensor) or tensor.layout is not torch.strided


def _place(tensor: Tensor) -> Place | None:
    """Where the elements lie; None of a tensor that has none, or has them in no storage."""
    if has_no_storage(tensor) or tensor.numel() == 0:
        return None
    storage = _compat.storage_id(tensor.untyped_storage())
    start = int(tensor.storage_offset())
    last = start + sum(stride * (size - 1) for stride, size in zip(tensor.stride(), tensor.shape, strict=True))
    return storage, start * tensor.element_size(), (last + 1) * tensor.element_size()


def _view(tensor: Tensor, place: Place) -> object:
    """What views of the same elements have in common, and no others."""
    _, start, end = place
    whole = end - start == tensor.numel() * tensor.element_size()
    return (*place, tensor.dtype, *(() if whole else (tensor.shape, tensor.stride())))


def refuse_shared_memory(targets: Sequence[Target], chosen: Iterable[Target]) -> None:
    """Refuse parameters of which a chosen one would be filled in part, or twice, with another."""
    to_fill = set(map(id, chosen))
    storages: dict[int, list[tuple[int, int, int]]] = {}
    for i, target in enumerate(targets):
        if target.place is not None:
            storage, start, end = target.place
            storages.setdefault(storage, []).append((start, end, i))
    for places in storages.values():
        open_ranges: list[tuple[int, int]] = []
        for start, end, i in sorted(places):
            open_ranges = [(stop, j) for stop, j in open_ranges if stop > start]
            for _, j in open_ranges:
                first, second = targets[min(i, j)], targets[max(i, j)]
                if id(first) in to_fill or id(second) in to_fill:
                    raise ValueError(
                        f"parameters {first.name!r} and {second.name!r} share part of their memory: they must be views "
                        "of the same elements, or have none in common"
                    )
            open_ranges.append((end, i))


def refuse_shared_pieces(chosen: Sequence[Target], pieces: Sequence[Pieces], left: Iterable[Target]) -> None:
    """Refuse DTensors whose local pieces share memory, so that one would be filled with another."""
    held = [
        (target, [piece for piece, _ in own])
        for target, own in zip(chosen, pieces, strict=True)
        if is_dtensor(target.filled)
    ]
    n_chosen = len(held)
    with torch.no_grad():
        held += [(target, [target.tensor.to_local()]) for target in left if is_dtensor(target.tensor)]
    owners: dict[object, Target] = {}
    for i, (target, own) in enumerate(held):
        for piece in own:
            if (place := _place(piece)) is None or (i >= n_chosen and place not in owners):
                continue
            first = owners.setdefault(place, target)
            if first is not target:
                raise ValueError(
                    f"parameters {first.name!r} and {target.name!r} are DTensors on the same memory: tied weights "
                    "must be one Parameter"
                )


def overlaps_itself(tensor: Tensor) -> bool:
    """Whether elements may share memory: no dimension's step goes beyond all that the smaller steps reach."""
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride <= reach:
                return True
            reach += stride * (size - 1)
    return False


def materialise(targets: Iterable[Target]) -> None:
    """Give those on the meta device a parameter with memory; what shares memory there shares it here too."""
    storages: dict[int, torch.UntypedStorage] = {}
    for target in itertools.chain.from_iterable((target, *target.aliases) for target in targets):
        old = target.tensor
        if not old.is_meta:
            continue
        if is_dtensor(old):
            data = torch.empty_like(old, device="cpu", requires_grad=False)
        else:
            storage = old.untyped_storage()
            key = _compat.storage_id(storage)
            if key not in storages:
                storages[key] = torch.empty(storage.nbytes(), dtype=torch.uint8, device="cpu").untyped_storage()
            data = torch.empty(0, dtype=old.dtype, device="cpu")
            data.set_(storages[key], old.storage_offset(), old.shape, old.stride())
        target.new = nn.Parameter(data, requires_grad=old.requires_grad)
        target.new.__dict__.update(old.__dict__)
