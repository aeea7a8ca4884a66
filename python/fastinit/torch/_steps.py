"""What a block of ``deferred`` has recorded: the steps that made or wrote tensors, and which elements each touched.

A tensor is known by its storage and its strides, so that views need no step of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _compat
from ._parameters import has_no_storage

__all__ = ["Box", "Law", "Log", "Part", "Step", "View", "part_of", "shape_of", "views_in"]

Box = tuple[tuple[int, int], ...]  # [start, stop) along each dimension


class View(NamedTuple):
    """Elements of a storage."""

    storage: int  # its number in the log
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    conjugate: bool = False  # whether torch is to take its elements so, and as negative ones
    negative: bool = False

    @property
    def whole(self) -> Box:
        """The box of all elements."""
        return tuple((0, size) for size in self.shape)

    @property
    def contiguous(self) -> bool:
        """Whether its elements follow each other in memory."""
        n = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size > 1 and stride != n:
                return False
            n *= size
        return True

    @property
    def n(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def tensor(self, storage: torch.UntypedStorage) -> Tensor:
        """These elements of another storage."""
        plain = torch.empty(0, dtype=self.dtype, device="cpu").set_(storage, self.offset, self.shape, self.strides)
        conjugate = plain.conj() if self.conjugate else plain
        return _compat.negated(conjugate) if self.negative else conjugate


class Part(NamedTuple):
    """Where a view lies in another one."""

    box: Box
    dims: tuple[int, ...]  # for each dimension of the view that of the other one; -1 where its size is 1 without one

    def within(self, box: Box) -> Box:
        """The other one's box of a box of the view."""
        found = list(self.box)
        for (start, stop), dim in zip(box, self.dims, strict=True):
            if dim >= 0:
                begin = self.box[dim][0]
                found[dim] = (begin + start, begin + stop)
        return tuple(found)

    def shaped(self, values: Tensor, box: Box) -> Tensor:
        """What lies in the other one's box, with the view's dimensions."""
        dims = [dim for dim in self.dims if dim >= 0]
        rest = [dim for dim in range(values.ndim) if dim not in dims]
        return values.permute((*dims, *rest)).reshape(shape_of(box))

    def of(self, box: Box, shape: tuple[int, ...]) -> Box:
        """The view's box of a box of the other one that lies within ``self.box``."""
        mine = [(0, size) for size in shape]
        for dim, theirs in enumerate(self.dims):
            if theirs >= 0:
                begin = self.box[theirs][0]
                mine[dim] = (box[theirs][0] - begin, box[theirs][1] - begin)
        return tuple(mine)

    def placed(self, values: Tensor, box: Box) -> Tensor:
        """What lies in the view's box, with the dimensions of the other one's."""
        kept = [dim for dim, theirs in enumerate(self.dims) if theirs >= 0]
        order = sorted(range(len(kept)), key=lambda i: self.dims[kept[i]])
        return values.reshape([values.shape[dim] for dim in kept]).permute(order).reshape(shape_of(box))


@dataclass(frozen=True)
class Law:
    """A draw: a function of fastinit and its arguments."""

    function: Callable[..., Any]
    arguments: dict[str, Any]


@dataclass
class Step:
    """A call that made or wrote tensors. In the arguments, a ``View`` stands for each tensor of the block."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    writes: tuple[View, ...]  # of storages that were there
    makes: tuple[View, ...]  # its results, in storages of their own
    places: tuple[int, ...]  # which of its results these are
    where: str  # the line that called
    law: Law | None = None
    random: bool = False  # draws in another way than by a law
    default: torch.dtype = field(default_factory=torch.get_default_dtype)  # of floats, as its code had it

    @property
    def reads(self) -> Sequence[View]:
        """The tensors of the block among its arguments."""
        return views_in((self.args, self.kwargs))


class Log:
    """The steps, in order."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.touching: dict[int, list[int]] = {}  # by storage: the steps that made or wrote it
        self._numbers: dict[int, int] = {}  # of storages, by address
        self._storages: list[torch.UntypedStorage] = []  # kept, so that no address is used again
        self._kept: list[torch.UntypedStorage] = []

    def view(self, tensor: Tensor) -> View:
        """Of a tensor on meta."""
        if has_no_storage(tensor) or _compat.is_wrapped(tensor):
            raise RuntimeError(
                "deferred cannot record tensors that have no storage with strides, such as those of torch.func's "
                "transforms, and sparse ones: make them before the block"
            )
        storage = tensor.untyped_storage()
        address = _compat.storage_id(storage)
        number = self._numbers.get(address)
        if number is None:
            number = self._numbers[address] = len(self._storages)
            self._storages.append(storage)
        view = View(number, int(tensor.storage_offset()), tuple(tensor.shape), tuple(tensor.stride()), tensor.dtype)
        if tensor.is_conj() or tensor.is_neg():
            return view._replace(conjugate=tensor.is_conj(), negative=tensor.is_neg())
        return view

    def same(self, twin: Tensor, tensor: Tensor) -> None:
        """From now on the storage of ``twin`` is that of a tensor that is known."""
        address = _compat.storage_id(twin.untyped_storage())
        self._numbers[address] = self._numbers[_compat.storage_id(tensor.untyped_storage())]
        self._kept.append(twin.untyped_storage())

    def nbytes(self, storage: int) -> int:
        """The size of a storage."""
        return self._storages[storage].nbytes()

    def knows(self, tensor: Tensor) -> bool:
        """Whether a step has made or written its storage."""
        if has_no_storage(tensor) or _compat.is_wrapped(tensor):
            return False
        number = self._numbers.get(_compat.storage_id(tensor.untyped_storage()))
        return number is not None and number in self.touching

    def add(self, step: Step) -> None:
        """The next one."""
        for view in (*step.writes, *step.makes):
            numbers = self.touching.setdefault(view.storage, [])
            if not numbers or numbers[-1] != len(self.steps):
                numbers.append(len(self.steps))
        self.steps.append(step)


def part_of(view: View, whole: View) -> Part | bool | None:
    """Where the elements of a view lie in another one of the same storage.

    None if they have none in common; False if they do not lie in a box, or not all of them lie there.
    """
    if view == whole:
        return Part(whole.whole, tuple(range(len(whole.shape))))
    if view.n == 0 or whole.n == 0:
        return None
    item, other = view.dtype.itemsize, whole.dtype.itemsize
    (first, last), (start, end) = _ends(view), _ends(whole)
    if (last + 1) * item <= start * other or (end + 1) * other <= first * item:
        return None
    if view.dtype != whole.dtype or view[-2:] != whole[-2:]:
        return False
    wide = {stride: dim for dim, (size, stride) in enumerate(zip(whole.shape, whole.strides, strict=True)) if size > 1}
    if len(wide) != sum(size > 1 for size in whole.shape) or 0 in wide:
        return False
    matched: dict[int, int] = {}  # by the view's dimension
    for dim, (size, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
        if size > 1:
            if stride not in wide or wide[stride] in matched.values():
                return False
            matched[dim] = wide[stride]
    box = [(0, 1)] * len(whole.shape)
    rest = view.offset - whole.offset
    inverse = {theirs: mine for mine, theirs in matched.items()}
    for stride, dim in sorted(wide.items(), reverse=True):
        begin, rest = divmod(rest, stride)
        n = view.shape[inverse[dim]] if dim in inverse else 1
        if begin < 0 or begin + n > whole.shape[dim]:
            return False
        box[dim] = (begin, begin + n)
    return False if rest else Part(tuple(box), tuple(matched.get(dim, -1) for dim in range(len(view.shape))))


def _ends(view: View) -> tuple[int, int]:
    """The first and the last element's place; strides are at least 0."""
    return view.offset, view.offset + sum(
        (size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True)
    )


def shape_of(box: Box) -> tuple[int, ...]:
    """Of what lies in it."""
    return tuple(stop - start for start, stop in box)


def views_in(thing: Any) -> Sequence[View]:
    """In nested tuples, lists and mappings."""
    if isinstance(thing, View):
        return [thing]
    if isinstance(thing, tuple | list):
        return [view for item in thing for view in views_in(item)]
    if isinstance(thing, dict):
        return [view for item in thing.values() for view in views_in(item)]
    return []
