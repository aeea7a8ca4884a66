"""Values of what a block of ``deferred`` has recorded: of a box where steps are element by element, else of a whole."""

from __future__ import annotations

import bisect
import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

import fastinit
from fastinit.recipes import Initializer

from . import _compat
from ._running import tensors_in
from ._steps import Box, Law, Log, Step, View, part_of, shape_of, views_in
from ._tensor import memory

__all__ = ["Dependent", "Replay", "Unwritten"]


class Dependent(Exception):
    """Values depend on a draw, whose parameter has no name yet."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


class Unwritten(Exception):
    """Elements that no step has written."""


# Exact in IEEE arithmetic, so that a box has the bits of the whole. What is rounded otherwise in a vector than alone,
# such as exp, is not among them.
_EXACT = frozenset(
    [
        "mul",
        "multiply",
        "div",
        "divide",
        "true_divide",
        "add",
        "sub",
        "subtract",
        "rsub",
        "neg",
        "negative",
        "abs",
        "absolute",
        "sign",
        "sqrt",
        "reciprocal",
        "maximum",
        "minimum",
        "clamp",
        "clamp_min",
        "clamp_max",
        "clip",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "copy",
        "clone",
        "contiguous",
        "to",
        "type",
        "half",
        "float",
        "double",
        "bfloat16",
    ]
)
_EMPTY = frozenset(("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "empty_permuted"))
_FULL: dict[str, Callable[[Step], Any]] = {
    "zeros": lambda step: 0,
    "zeros_like": lambda step: 0,
    "new_zeros": lambda step: 0,
    "zero_": lambda step: 0,
    "ones": lambda step: 1,
    "ones_like": lambda step: 1,
    "new_ones": lambda step: 1,
    "full": lambda step: step.kwargs["fill_value"] if "fill_value" in step.kwargs else step.args[1],
    "full_like": lambda step: step.kwargs["fill_value"] if "fill_value" in step.kwargs else step.args[1],
    "new_full": lambda step: step.kwargs["fill_value"] if "fill_value" in step.kwargs else step.args[2],
    "fill_": lambda step: step.kwargs["value"] if "value" in step.kwargs else step.args[1],
}


def _name(step: Step) -> str:
    return getattr(step.function, "__name__", "")


class Replay:
    """Of one log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._invented = False  # whether the last run has read bytes that no step has written
        # By storage and number of steps: the values, and those with other bytes where no step has written.
        self._wholes: dict[tuple[int, int], tuple[torch.UntypedStorage, torch.UntypedStorage | None]] = {}
        self._drawn_by: tuple[Any, Any] = None, None  # the seed and the generator of these
        self._turned_to: View | None = None  # what they are for

    # --- which steps ------------------------------------------------------------------------------------------------

    def before(self, storage: int, at: int) -> list[int]:
        """The steps before ``at`` that made or wrote a storage."""
        steps = self._log.touching.get(storage, [])
        return steps[: bisect.bisect_left(steps, at)]

    def needed(self, views: Iterable[View], at: int) -> list[int]:
        """The steps before ``at`` on which values depend, in order.

        A step that writes all of a storage, and reads nothing of it, ends what is needed of that.
        """
        wanted = {view.storage for view in views}
        found = []
        last = at
        while wanted:
            latest = [(steps[-1], storage) for storage in wanted if (steps := self.before(storage, last))]
            if not latest:
                break
            last = max(latest)[0]
            step = self._log.steps[last]
            found.append(last)
            over = {view.storage for view in step.makes} | {
                view.storage for view in step.writes if self._is_all(view) and self._only_writes(step)
            }
            read = {view.storage for view in step.reads} | {view.storage for view in step.writes}
            wanted = (wanted | read) - {s for s in over if s not in _read_elsewhere(step, self._only_writes(step))}
        return found[::-1]

    def _is_all(self, view: View) -> bool:
        storage = self._log.nbytes(view.storage)
        return view.offset == 0 and view.contiguous and view.n * view.dtype.itemsize == storage

    def _only_writes(self, step: Step) -> bool:
        """Whether the first argument is written and not read."""
        return step.law is not None or _name(step) in ("zero_", "fill_", "copy_")

    # --- whole tensors ----------------------------------------------------------------------------------------------

    def now(self, view: View) -> Tensor:
        """The values of now, which must depend on no draw."""
        at = len(self._log.steps)
        for i in self.needed([view], at):
            step = self._log.steps[i]
            if step.law is not None or step.random:
                raise Dependent(step.where)
        return self.whole(view, at, {}, {}).clone()

    def whole(
        self, view: View, at: int, streams: dict[int, str], given: dict[str, Any], box: Box | None = None
    ) -> Tensor:
        """By every step that it depends on, on whole tensors."""
        drawn_by = given.get("seed"), given.get("bit_generator")
        if drawn_by != self._drawn_by:
            self.forget()
            self._drawn_by = drawn_by
        steps = self.before(view.storage, at)
        key = (view.storage, steps[-1] if steps else -1)
        if key not in self._wholes:
            needed = self.needed([view], at)
            found = self._run(needed, streams, given)
            if view.storage not in found:
                raise Unwritten
            # Whether it depends on what nobody has written shows with other bytes there.
            other = self._run(needed, streams, given, 0x55)[view.storage] if self._invented else None
            self._wholes[key] = found[view.storage], other
        real, other = self._wholes[key]
        cut = tuple(slice(*along) for along in box or view.whole)
        values = view.tensor(real)[cut]
        if other is not None and not torch.equal(*map(_bytes, (values, view.tensor(other)[cut]))):
            raise Unwritten
        return values

    def forget(self) -> None:
        """Let whole tensors go."""
        self._wholes.clear()

    def turn_to(self, view: View) -> None:
        """What was made whole is kept while one tensor is made, box by box, and let go before the next."""
        if view != self._turned_to:
            self.forget()
            self._turned_to = view

    def _run(
        self, steps: list[int], streams: dict[int, str], given: dict[str, Any], byte: int = 0
    ) -> dict[int, torch.UntypedStorage]:
        """With every byte that no step has written as given."""
        real: dict[int, torch.UntypedStorage] = {}
        self._invented = False

        def tensor_of(view: View | Tensor) -> Tensor:
            if isinstance(view, Tensor):
                return view
            if view.storage not in real:
                self._invented = True
                n = self._log.nbytes(view.storage)
                real[view.storage] = torch.full((n,), byte, dtype=torch.uint8, device="cpu").untyped_storage()
            return view.tensor(real[view.storage])

        for i in steps:
            step = self._log.steps[i]
            if _name(step) in _EMPTY:
                continue
            for view in step.writes:
                if view.storage not in real and self._only_writes(step) and self._is_all(view):
                    n = self._log.nbytes(view.storage)
                    real[view.storage] = torch.empty(n, dtype=torch.uint8, device="cpu").untyped_storage()
            args, kwargs = _placed((step.args, step.kwargs), tensor_of)
            if step.law is not None:
                _fill(step.law, args[0], streams[i], given)
                continue
            with _as_recorded(step):
                if step.random:
                    out = self._drawn(step, args, kwargs, streams[i], given)
                else:
                    out = step.function(*args, **kwargs)
                made = list(tensors_in(out))
                for view, position in zip(step.makes, step.places, strict=True):
                    real[view.storage] = _stored(made[position], view)
        return real

    def _drawn(self, step: Step, args: Any, kwargs: Any, stream: str, given: dict[str, Any]) -> Any:
        """By torch's own kernel, from a seed that is the first word of the stream."""
        word = fastinit.random_bits(np.empty(2, np.uint32), **given, stream=stream)
        with torch.random.fork_rng([]):
            torch.default_generator.manual_seed(int(word.view(np.uint64)[0]) >> 1)
            return step.function(*args, **kwargs)

    # --- boxes ------------------------------------------------------------------------------------------------------

    def value(self, view: View, at: int, box: Box, streams: dict[int, str], given: dict[str, Any]) -> Tensor:
        """The values that a view has before the step ``at``, in a box of it."""
        out = torch.empty(shape_of(box), dtype=view.dtype, device="cpu")
        self._into(out, box, view, at, box, streams, given)
        return out

    def _into(
        self, out: Tensor, corner: Box, view: View, at: int, box: Box, streams: dict[int, str], given: dict[str, Any]
    ) -> None:
        """The values of a box of the view, into a tensor of those of a larger box."""
        if 0 in shape_of(box):
            return
        place = _slices(box, corner)
        for i in reversed(self.before(view.storage, at)):
            step = self._log.steps[i]
            touched = [written for written in step.writes + step.makes if written.storage == view.storage]
            if len(touched) > 1:
                out[place] = self.whole(view, at, streams, given, box)
                return
            for written in touched:
                if view != written and _flat(view) == _flat(written) is not None and _by_index(step):
                    written = view  # the same elements in the same order, in another shape
                part = part_of(view, written)
                if part is None:
                    continue
                if not isinstance(part, bool):
                    values = self._after(i, step, written, part.within(box), streams, given)
                    out[place] = part.shaped(values, box)
                    return
                inner = part_of(written, view)
                if isinstance(inner, bool) or inner is None:
                    out[place] = self.whole(view, at, streams, given, box)
                    return
                # The step wrote a box of the view. What is around it is older.
                both = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, inner.box, strict=True))
                if any(start >= stop for start, stop in both):
                    continue
                mine = inner.of(both, written.shape)
                values = self._after(i, step, written, mine, streams, given)
                out[_slices(both, corner)] = inner.placed(values, both)
                for rest in _around(box, both):
                    self._into(out, corner, view, i, rest, streams, given)
                return
        raise Unwritten

    def initializer(
        self, view: View, at: int, name: str, streams: dict[int, str], dtype: torch.dtype
    ) -> Initializer | None:
        """The initialiser whose fill under that name is all that a view has got; None if it is more, or less.

        ``dtype`` is what the tensor has now.
        """
        last = self.before(view.storage, at)[-1]
        step = self._log.steps[last]
        if not any(
            view == written or (_flat(view) == _flat(written) is not None) for written in step.writes + step.makes
        ):
            return None
        if step.law is not None:
            return Initializer(step.law.function.__name__, step.law.arguments) if streams[last] == name else None
        value = None if step.random or _name(step) not in _FULL else _FULL[_name(step)](step)
        if not isinstance(value, int | float):
            return None
        if value in (0, 1) and math.copysign(1, value) > 0:
            return Initializer("ones" if value else "zeros")
        if dtype not in (torch.float32, torch.float64):  # torch rounds to float32 before, which may give another value
            value = torch.full((), value, dtype=view.dtype, device="cpu").to(dtype).item()
        return Initializer("constant", value=float(value))

    def _after(
        self, i: int, step: Step, view: View, box: Box, streams: dict[int, str], given: dict[str, Any]
    ) -> Tensor:
        """What a step has put into a box of the view that it wrote or made."""
        shape, name = shape_of(box), _name(step)
        if step.law is not None:
            out = torch.empty(shape, dtype=view.dtype, device="cpu")
            _fill(step.law, out, streams[i], given, view.shape, tuple(start for start, _ in box))
            return out
        if not step.random:
            if name in _EMPTY:
                raise Unwritten
            if name in _FULL and isinstance(value := _FULL[name](step), int | float):
                return torch.full(shape, value, dtype=view.dtype, device="cpu")
            if name.rstrip("_") in _EXACT and _is_plain(step, view):
                return self._pointwise(i, step, view, box, streams, given)
        return self.whole(view, i + 1, streams, given, box)

    def _pointwise(
        self, i: int, step: Step, view: View, box: Box, streams: dict[int, str], given: dict[str, Any]
    ) -> Tensor:
        def part(thing: View | Tensor) -> Tensor:
            around = box[len(view.shape) - len(thing.shape) :]
            inner = tuple((0, 1) if size == 1 else along for size, along in zip(thing.shape, around, strict=True))
            if isinstance(thing, View):
                return self.value(thing, i, inner, streams, given)
            return thing[tuple(slice(*along) for along in inner)]

        if _name(step) == "copy_":
            args, kwargs = _placed((step.args[1:], step.kwargs), part)
            return torch.empty(shape_of(box), dtype=view.dtype, device="cpu").copy_(*args, **kwargs)
        args, kwargs = _placed((step.args, step.kwargs), part)
        with _as_recorded(step):
            out: Tensor = step.function(*args, **kwargs)
        return out


@contextlib.contextmanager
def _as_recorded(step: Step) -> Iterator[None]:
    """As the block's code had it: its default type of floats, the CPU."""
    now = torch.get_default_dtype()
    torch.set_default_dtype(step.default)
    try:
        with torch.device("cpu"), torch.no_grad():
            yield
    finally:
        torch.set_default_dtype(now)


def _bytes(tensor: Tensor) -> Tensor:
    fresh = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu").copy_(tensor)  # of plain strides
    return fresh.reshape(-1).view(torch.uint8)


def _slices(box: Box, corner: Box) -> tuple[slice, ...]:
    """Where a box lies in a tensor of a larger one's values."""
    return tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(box, corner, strict=True))


def _around(box: Box, inner: Box) -> Iterable[Box]:
    """Boxes of what a box has around one that lies in it."""
    rest = list(box)
    for dim, (start, stop) in enumerate(inner):
        begin, end = rest[dim]
        yield (*rest[:dim], (begin, start), *rest[dim + 1 :])
        yield (*rest[:dim], (stop, end), *rest[dim + 1 :])
        rest[dim] = (start, stop)


def _flat(view: View) -> object:
    """What views of the same elements in the same order have in common."""
    return (view.storage, view.offset, view.n, *view[-3:]) if view.contiguous else None


def _by_index(step: Step) -> bool:
    """Whether the value of an element depends on its place in the order alone."""
    return step.law is not None or (not step.random and _name(step) in _FULL)


def _is_plain(step: Step, view: View) -> bool:
    """Whether it writes or makes that view alone, of arguments that broadcast to its shape."""
    return (
        step.writes + step.makes == (view,)
        and step.kwargs.get("alpha", 1) == 1
        and "out" not in step.kwargs
        and all(len(read.shape) <= len(view.shape) for read in step.reads)
    )


def _read_elsewhere(step: Step, first_is_written: bool) -> set[int]:
    """The storages that a step reads, but for what its first argument is written to."""
    args = step.args[1:] if first_is_written else step.args
    return {view.storage for view in views_in((args, step.kwargs))}


def _fill(law: Law, out: Tensor, stream: str, given: dict[str, Any], shape: Any = None, offset: Any = None) -> None:
    place = {} if not shape else {"global_shape": shape, "offset": offset}
    law.function(memory(out), **law.arguments, **given, stream=stream, **place)


def _stored(tensor: Tensor, view: View) -> torch.UntypedStorage:
    """A result, in memory of the layout that was recorded."""
    if tuple(tensor.stride()) == view.strides and tensor.storage_offset() == view.offset and tensor.is_contiguous():
        return tensor.untyped_storage()
    n = view.offset + 1 + sum((size - 1) * stride for size, stride in zip(view.shape, view.strides, strict=True))
    storage = torch.empty(max(n, 0) * view.dtype.itemsize, dtype=torch.uint8, device="cpu").untyped_storage()
    view.tensor(storage).copy_(tensor)
    return storage


def _placed(thing: Any, function: Callable[[Any], Tensor]) -> Any:
    """With tensors for views, and for tensors of given values."""
    if isinstance(thing, View | Tensor):
        return function(thing)
    if isinstance(thing, tuple | list):
        return _compat.rebuilt(thing, [_placed(item, function) for item in thing])
    if type(thing) is dict:
        return {key: _placed(item, function) for key, item in thing.items()}
    return thing
