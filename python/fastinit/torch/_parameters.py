"""The parameters of a module: each once, whatever its names, with what shares its memory; and memory for new ones."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from . import _compat
from ._sharding import is_dtensor, local_of
from ._tensor import end_of

__all__ = [
    "Target",
    "has_no_storage",
    "materialise",
    "nothing_to_fill",
    "overlapping",
    "overlaps_itself",
    "place_of",
    "plain_name",
    "refuse_shared_memory",
    "shape_of",
    "targets_of",
    "unwrapped",
]

Place = tuple[int, int, int]  # a storage, and the first and last byte in it


class Target:
    """A parameter, or its tensor in a state dict: one object, whatever its names, with whatever shares its memory."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.shape = shape_of(tensor)
        self.own_names: list[str] = []
        self.place: Place | None = None  # where its elements lie, or those of them that this process holds
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
    """The model inside (Distributed)DataParallel, and what those put before its plain names.

    Those may be inside wrappers of torch.compile or activation checkpointing, and have such wrappers inside.
    """
    for path, inner in module.named_modules():
        if isinstance(inner, torch.jit.ScriptModule):
            raise ValueError(
                f"{repr(path) if path else 'the module'} was compiled by TorchScript, and no longer says which "
                "parameters are one, how they are used, or what is padding: fill the module before torch.jit.script "
                "or torch.jit.trace"
            )
    wrappers = [[wrapper.removesuffix(".")] for wrapper in _compat.WRAPPERS]
    before, inner = "", module
    while True:
        children = _compat.children_of(inner)
        parallel = isinstance(inner, nn.parallel.DistributedDataParallel | nn.DataParallel)
        if not parallel and list(children) not in wrappers:
            return module, before
        child = children["module"] if parallel else next(iter(children.values()))
        assert child is not None
        inner = child
        if parallel:
            module, before = inner, before + "module."


def targets_of(named: Iterable[tuple[str, Tensor]]) -> list[Target]:
    """Each tensor once, in the order of first names. Views of the same elements are aliases of the first of them."""
    found: dict[int, Target] = {}
    for name, tensor in named:
        found.setdefault(id(tensor), Target(tensor)).own_names.append(name)
    targets = list(found.values())
    for name, n in collections.Counter(name for target in targets for name in set(target.own_names)).items():
        if n > 1:
            wrappers = " and ".join(map(repr, _compat.WRAPPERS))
            raise ValueError(f"{n} parameters are called {name!r}, when {wrappers} are left out of their names")
    views: dict[object, Target] = {}
    merged = []
    for target in targets:
        first = target
        target.place = place_of(target.tensor)
        if target.place is not None:
            view = _view(local_of(target.tensor), target.place), _cut(target.tensor)
            first = views.setdefault(view, target)
        if first is target:
            merged.append(target)
        else:
            first.aliases.append(target)
    return merged


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """The shape of the whole tensor; () where there is none: of a lazy parameter, a nested tensor."""
    return () if nn.parameter.is_lazy(tensor) or tensor.is_nested else tuple(tensor.shape)


def nothing_to_fill(tensor: Tensor) -> str | None:
    """Why a tensor of shape (0,) is refused, None of any other. (Lazy and nested tensors are refused as such.)"""
    if has_no_storage(tensor) or tuple(tensor.shape) != (0,):
        return None
    return (
        "must have elements, got shape (0,), with nothing to fill. (DeepSpeed's ZeRO-3 leaves parameters so until they "
        "are gathered: fill them inside of deepspeed.zero.GatheredParameters(..., modifier_rank=0))"
    )


# --- memory ---------------------------------------------------------------------------------------------------------


def has_no_storage(tensor: Tensor) -> bool:
    """Whether it is a lazy parameter, or sparse or nested: none that lies in one storage, with strides."""
    return nn.parameter.is_lazy(tensor) or tensor.layout is not torch.strided or tensor.is_nested


def place_of(tensor: Tensor) -> Place | None:
    """Where the elements lie that this process has; None if it has none, or they do not lie in one storage."""
    if has_no_storage(tensor) or (local := local_of(tensor)).numel() == 0:
        return None
    start = int(local.storage_offset()) * local.element_size()
    return _compat.storage_id(local.untyped_storage()), start, end_of(local)


def _view(tensor: Tensor, place: Place) -> object:
    """What views of the same elements have in common, and no others."""
    _, start, end = place
    whole = end - start == tensor.numel() * tensor.element_size()
    return (*place, tensor.dtype, *(() if whole else (tensor.shape, tensor.stride())))


def _cut(tensor: Tensor) -> object:
    """Of which whole its elements are: what DTensors must have in common, too, to be views of the same."""
    return (tensor.shape, tensor.stride(), tensor.device_mesh, tensor.placements) if is_dtensor(tensor) else None


def refuse_shared_memory(targets: Sequence[Target], chosen: Iterable[Target]) -> None:
    """Refuse parameters of which a chosen one would be filled in part, or twice, with another."""
    to_fill = set(map(id, chosen))
    for i, j in overlapping([target.place for target in targets]):
        first, second = targets[i], targets[j]
        if id(first) in to_fill or id(second) in to_fill:
            raise ValueError(
                f"parameters {first.name!r} and {second.name!r} share memory, but are not views of exactly the "
                "same elements: one would be filled in part, or twice, with the other"
            )


def overlapping(places: Iterable[Place | None]) -> Iterator[tuple[int, int]]:
    """The pairs of places, by their numbers, that have bytes in common, or may have some."""
    storages: dict[int, list[tuple[int, int, int]]] = {}
    for i, place in enumerate(places):
        if place is not None:
            storage, start, end = place
            storages.setdefault(storage, []).append((start, end, i))
    for in_one in storages.values():
        open_ranges: list[tuple[int, int]] = []
        for start, end, i in sorted(in_one):
            open_ranges = [(stop, j) for stop, j in open_ranges if stop > start]
            for _, j in open_ranges:
                yield min(i, j), max(i, j)
            open_ranges.append((end, i))


def overlaps_itself(tensor: Tensor) -> bool:
    """Whether elements may share memory: no dimension's step goes beyond all that the smaller steps reach."""
    if tensor.is_contiguous():
        return False
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride <= reach:
                return True
            reach += stride * (size - 1)
    return False


def materialise(targets: Iterable[Target], device: torch.device) -> None:
    """Give those on the meta device a parameter with memory; what shares memory there shares it here too."""
    storages: dict[int, torch.UntypedStorage] = {}
    for first in targets:
        for target in (first, *first.aliases):
            old = target.tensor
            if not old.is_meta:
                continue
            if is_dtensor(old) and target is first:
                data = torch.empty_like(old, device=device, requires_grad=False)
            elif is_dtensor(old):  # of the same shape, strides and placements as the first
                data = first.filled.data
            else:
                storage = old.untyped_storage()
                key = _compat.storage_id(storage)
                if key not in storages:
                    storages[key] = torch.empty(storage.nbytes(), dtype=torch.uint8, device=device).untyped_storage()
                data = torch.empty(0, dtype=old.dtype, device=device)
                data.set_(storages[key], old.storage_offset(), old.shape, old.stride())
            target.new = nn.Parameter(data, requires_grad=old.requires_grad)
            target.new.__dict__.update(old.__dict__)
