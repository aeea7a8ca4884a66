"""``deferred``: a model's own initialisation, recorded without memory, and made later, piece by piece."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

import fastinit
from fastinit._arguments import documented, some, typed
from fastinit.recipes import skip
from fastinit.recipes._patterns import Filling
from fastinit.recipes._values import Computed, Skip

from . import _compat
from ._module import fill_module
from ._parameters import plain_name, targets_of, unwrapped
from ._recorder import Recorder
from ._replay import Replay, Unwritten
from ._report import Report
from ._selection import check_arguments
from ._sharding import is_dtensor
from ._steps import Box, View

if TYPE_CHECKING:
    from fastinit._types import BitGenerator

__all__ = ["Plan", "deferred"]

_Named = tuple[str, View | None, Tensor]  # a tensor of a model, and what was recorded of it
_SLAB = 2**22  # elements that are computed at a time, where a value is more than a draw


class deferred:
    """In this block, a model's own initialisation is recorded, not run.

    The model is built without memory. Its code runs as it is: constructors,
    ``init_weights``. Its tensors are on the meta device, but say that they are
    on the CPU. What writes them is kept. ``Plan.materialize`` makes the values
    later: on each process of a mesh the pieces that it holds, with the bits
    that the whole has.

    Parameters
    ----------
    seed : int
        0 .. 2**64-1.

    Returns
    -------
    deferred
        ``with`` gives a ``Plan``.

    Raises
    ------
    TypeError, ValueError
        seed is not an int, 0 .. 2**64-1.
    RuntimeError
        In the block, with the line: code that asks for values which depend on
        a draw; draws from a generator; operations that cannot be seen, such as
        those of scripted functions; in inference mode.

    See Also
    --------
    accelerate : For models that fit into memory.
    init_module : By a recipe.

    Notes
    -----
    Code that asks for values which depend on no draw gets them. Tensors that
    are made of Python's values, as by ``torch.tensor``, have memory.

    It holds for this thread. A model that is built on another one is an
    ordinary model.

    Examples
    --------
    >>> import torch, fastinit.torch
    >>> with fastinit.torch.deferred(seed=0) as plan:
    ...     model = torch.nn.Sequential(torch.nn.Linear(512, 256), torch.nn.ReLU())
    >>> model[0].weight.is_meta
    True
    >>> report = plan.materialize(model)
    >>> report.rows[0].name, round(report.rows[0].measured_std, 2)  # 1 / sqrt(3 * 512)
    ('0.weight', 0.03)
    """

    __module__ = "fastinit.torch"

    @documented
    def __init__(self, seed: int) -> None:
        if seed is None:
            raise TypeError("seed must be an int, 0 .. 2**64-1, got None")
        fastinit.uniform(np.empty(0, np.float32), seed=seed)  # refuses what is no seed
        self._seed = int(seed)

    def __enter__(self) -> Plan:
        _compat.require("deferred")
        if torch.is_inference_mode_enabled():
            raise RuntimeError(
                "deferred cannot see what is written in torch.inference_mode(): leave it out, or outside"
            )
        _refuse_inside("deferred")
        recorder = self._recorder = Recorder()
        plan = self._plan = Plan(self._seed, recorder)
        self._hooks = [
            register_module_parameter_registration_hook(plan._see),
            register_module_buffer_registration_hook(plan._see),
            register_module_module_registration_hook(plan._see_child),
        ]
        _begin()
        recorder.guard.__enter__()
        recorder.__enter__()  # type: ignore[no-untyped-call]
        return plan

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._recorder.__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
        self._recorder.guard.__exit__(kind, error, traceback)
        _restore()
        for hook in self._hooks:
            hook.remove()
        self._plan._close()


def _of_thread() -> Recorder | None:
    return next((mode for mode in _compat.function_modes()[::-1] if isinstance(mode, Recorder)), None)


def _refuse_inside(name: str) -> None:
    if _of_thread() is not None:
        raise RuntimeError(f"{name} in a block of deferred: use it before or after that block")


# --- truncated normals: loops of small steps, whose innermost functions are replaced in their own modules -------------

_originals: list[tuple[ModuleType, str, Any]] = []
_blocks = 0
_lock = threading.Lock()


def _begin() -> None:
    global _blocks
    with _lock:
        _blocks += 1
    _replace()


def _replace() -> None:
    """Those that are imported; in the block, too, more of them may be."""
    if len(_originals) < len(_compat.TRUNCATED):
        with _lock:
            for where, name, _ in _compat.TRUNCATED:
                module = sys.modules.get(where)
                original = getattr(module, name, None)
                if module is not None and original is not None and all(module is not done for done, _, _ in _originals):
                    setattr(module, name, _truncated(original))
                    _originals.append((module, name, original))


def _restore() -> None:
    global _blocks
    with _lock:
        _blocks -= 1
        while _originals and not _blocks:
            setattr(*_originals.pop())


def _truncated(original: Callable[..., Any]) -> Callable[..., Any]:
    """What takes its place; without a block on this thread it calls the original."""

    @functools.wraps(original)
    def truncated(tensor: Tensor, mean: float, std: float, a: float, b: float, *args: Any, **kwargs: Any) -> Any:
        recorder = _of_thread()
        if recorder is not None and std != 0 and not any(value is not None for value in (*args, *kwargs.values())):
            parameters = {"mean": mean, "std": std, "low": a, "high": b, "bounds": "absolute"}
            with _compat.DisableTorchFunction():
                if recorder.draw(tensor, fastinit.truncated_normal, parameters) is not NotImplemented:
                    return tensor
        return original(tensor, mean, std, a, b, *args, **kwargs)

    return truncated


# --- the plan -------------------------------------------------------------------------------------------------------


class Recorded(Computed):
    """A value of a recipe that is more than a draw: what the block has recorded."""

    __slots__ = ()

    def fill(self, out: Any, **given: Any) -> Any:
        """In slabs, so that little memory is needed beside the tensor's own."""
        n = int(np.prod(out.shape, dtype=np.int64))
        if not len(out.shape) or n <= _SLAB:
            return super().fill(out, **given)
        shape, offset = given.pop("global_shape", None), given.pop("offset", None)
        if shape is None or offset is None:
            shape, offset = tuple(out.shape), (0,) * len(out.shape)
        rows = max(1, _SLAB * out.shape[0] // n)
        for start in range(0, out.shape[0], rows):
            place = (offset[0] + start, *offset[1:])
            super().fill(out[start : start + rows], global_shape=shape, offset=place, **given)
        return out


class _Values:
    """The function of a ``Recorded``."""

    def __init__(self, plan: Plan, name: str, view: View) -> None:
        self._plan = plan
        self._name = name
        self._view = view
        self.__name__ = self.__qualname__ = f"recorded {name}"

    def __call__(
        self,
        out: Any,
        *,
        seed: int,
        stream: int | str,
        global_shape: Sequence[int],
        offset: Sequence[int],
        threads: int | None,
        bit_generator: BitGenerator,
    ) -> None:
        box = tuple((start, start + n) for start, n in zip(offset, out.shape, strict=True))
        given = {"seed": seed, "threads": threads, "bit_generator": bit_generator}
        out[...] = self._plan._value(self._name, self._view, box, given).to(
            torch.from_numpy(out[:0] if out.ndim else out).dtype
        )


class Plan:
    """What a block of ``deferred`` has recorded: how to make each tensor.

    Attributes
    ----------
    seed : int
        As it was given.
    """

    __module__ = "fastinit.torch"

    def __init__(self, seed: int, recorder: Recorder) -> None:
        self.seed = seed
        self._log = recorder.log
        self._replay: Replay = recorder.replay
        self._seen: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._children: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._views: weakref.WeakKeyDictionary[nn.Module, dict[str, View]] = weakref.WeakKeyDictionary()
        self._streams: dict[int, str] = {}  # of draws, by the number of the step
        self._draws: dict[str, int] = {}  # by name
        self._named: dict[str, int] = {}  # the storage of each tensor that was given draws
        self._thread = threading.get_ident()
        self._end = 0

    # Called in the block

    def _see(self, module: nn.Module, key: str, value: Any) -> None:
        if threading.get_ident() == self._thread:
            self._seen.add(module)
            _replace()

    def _see_child(self, module: nn.Module, key: str, child: nn.Module | None) -> None:
        if threading.get_ident() == self._thread:
            self._seen.add(module)
            if child is not None:
                self._children.add(child)

    def _close(self) -> None:
        self._end = len(self._log.steps)
        for module in self._seen:
            held = {**_compat.parameters_of(module), **_compat.buffers_of(module)}
            self._views[module] = {
                key: self._log.view(tensor)
                for key, tensor in held.items()
                if tensor is not None and self._log.knows(tensor)
            }

    # Called later

    @documented
    def materialize(
        self,
        model: nn.Module,
        *,
        prefix: str = "",
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        seed: int | None = None,
        threads: int | None = None,
        bit_generator: BitGenerator = "ars",
        report: bool = True,
    ) -> Report:
        """Make the values that the model's own code gives its tensors.

        Whole tensors, or of DTensors the pieces that this process holds. No
        process is asked, and where what was recorded is element by element, no
        other element is made.

        Parameters
        ----------
        model : torch.nn.Module
            Built in the block, or a part of what was; sharded since, or not.
        prefix : str, default ""
            What comes before the model's own names, if it is a part.
        include, exclude : str or sequence of str, optional
            Patterns of full names, as in ``init_module``.
        seed : int, optional
            Another one than the block's.
        threads : int, optional
            At most this many threads, as for all functions of fastinit.
        bit_generator : {"ars", "philox"}, default "ars"
            ARS-7 or Philox4x32-10.
        report : bool, default True
            Whether to measure what was filled.

        Returns
        -------
        Report
            As of ``init_module``.

        Raises
        ------
        TypeError, ValueError
            model was not built in the block, or a tensor has elements that
            nobody has written; else as ``init_module``. Then nothing has been
            changed.

        Notes
        -----
        Bits: a draw that fills a parameter is that of fastinit's function with
        this seed and the parameter's name as stream; of several draws that
        remain, the second has "name#2", and so on. Draws of which nothing
        remains are not made. Laws that fastinit does not have, such as
        ``bernoulli_``, are drawn by torch, from a seed of that stream: their
        bits are those of torch's version.
        """
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {typed(model)}")
        _refuse_inside("materialize")
        model, _ = unwrapped(model)
        seed = self.seed if seed is None else seed
        check_arguments(seed, prefix, threads, bit_generator)
        given = {"seed": seed, "threads": threads, "bit_generator": bit_generator}
        parameters, all_buffers, attributes = self._all_of(model, prefix)
        values = {name: skip if view is None else self._filling(name, view) for name, view, _ in parameters}
        buffers: dict[str, Any] = {
            name: "keep" if view is None else _buffer(self, name, view, tensor.dtype, given)
            for name, view, tensor in all_buffers
        }
        try:
            done = fill_module(
                model,
                values,
                seed=seed,
                prefix=prefix,
                include=include,
                exclude=exclude,
                buffers=buffers,
                threads=threads,
                bit_generator=bit_generator,
                report=report,
                recorded=True,
            )
            for container, key, view in attributes:
                with contextlib.suppress(Unwritten):  # such as empty memory that forward writes
                    container[key] = self._replay.value(view, self._end, view.whole, self._streams, given)
            return done
        finally:
            self._replay.forget()

    @documented
    def recipe(self, model: nn.Module | None = None) -> dict[str, Filling | Skip]:
        """The laws of the model's parameters as a recipe.

        Parameters
        ----------
        model : torch.nn.Module, optional
            The model that gives names; by default the one that was built.

        Returns
        -------
        dict
            For ``init_module``, ``FastInitReader`` and the others, which give
            the same bits with this seed. Where one draw or a constant is all
            that there is, the value is an ``Initializer``; else it is
            ``computed`` from what was recorded. ``skip`` stands for what has
            given values.

        Raises
        ------
        ValueError
            model is not given, and several were built.

        Examples
        --------
        >>> import torch, fastinit.torch
        >>> with fastinit.torch.deferred(seed=0) as plan:
        ...     model = torch.nn.BatchNorm1d(8)
        >>> plan.recipe()
        {'weight': Initializer('ones'), 'bias': Initializer('zeros')}
        """
        _refuse_inside("recipe")
        if model is None:
            roots = [module for module in self._seen if module not in self._children]
            if len(roots) != 1:
                kinds = ", ".join(sorted(type(root).__name__ for root in roots)) or "none that is still there"
                raise ValueError(f"model must be given, since the block built {len(roots)} models: {kinds}")
            model = roots[0]
        parameters, _, _ = self._all_of(model, "")
        return {name: skip if view is None else self._filling(name, view) for name, view, _ in parameters}

    # --- inside -----------------------------------------------------------------------------------------------------

    def _all_of(self, model: nn.Module, prefix: str) -> tuple[list[_Named], list[_Named], list[Any]]:
        """Parameters, buffers, and where modules have other tensors; what these draw has its streams then."""
        parameters = list(self._tensors_of(model, prefix, model.named_parameters))
        buffers = list(self._tensors_of(model, prefix, model.named_buffers))
        attributes: list[_Named] = []
        places = []
        for path, module in model.named_modules():
            for key, container, index, tensor in _attributes_of(module):
                if not isinstance(tensor, nn.Parameter) and self._log.knows(tensor):
                    view = self._log.view(tensor)
                    attributes.append((prefix + plain_name(f"{path}.{key}" if path else key), view, tensor))
                    places.append((container, index, view))
        self._number([*parameters, *buffers, *attributes], model if prefix else None)
        return parameters, buffers, places

    def _tensors_of(self, model: nn.Module, prefix: str, named: Any) -> Iterator[_Named]:
        """Each tensor by its first name, with what was recorded of it; None of one that has values of its own."""
        lost: list[str] = []
        owners = {path: owner for path, owner in model.named_modules(remove_duplicate=False)}
        for target in targets_of(named(remove_duplicate=False)):
            tensor, name = target.tensor, prefix + plain_name(target.name)
            view: View | None
            if not is_dtensor(tensor) and self._log.knows(tensor):
                view = self._log.view(tensor)
            else:
                places = [qualified.rpartition(".") for qualified in target.names]
                views = {self._views.get(owners[path], {}).get(key) for path, _, key in places if path in owners}
                if len(views) > 1:
                    raise ValueError(
                        f"tensors {some(target.names)} are one, but were not in the block, and it does not show which "
                        "of them it was: tie them in the block, or shard them after materialize"
                    )
                view = next(iter(views), None)
            if view is not None and view.shape != tuple(tensor.shape):
                view = None
            if view is None and tensor.is_meta:
                lost.append(name)
            yield name, view, tensor
        if lost:
            raise ValueError(
                f"tensors {some(dict.fromkeys(lost))} of the model are on meta, and were not made in the block, or "
                "have another shape since: build the model in the block, and change it after materialize"
            )

    def _number(self, tensors: Sequence[_Named], part: nn.Module | None) -> None:
        """Give each draw that remains its stream, if it has none yet: the name of the tensor that it was drawn into.

        What was drawn into none of them has the name of the first one that is computed from it.
        """
        needed = [(name, view, self._replay.needed([view], self._end)) for name, view, _ in tensors if view is not None]
        found: dict[int, tuple[str, View]] = {}
        for into_itself in (True, False):
            for name, view, steps in needed:
                for i in steps:
                    step = self._log.steps[i]
                    if (step.law is None and not step.random) or i in self._streams or i in found:
                        continue
                    if into_itself and all(written.storage != view.storage for written in step.writes):
                        continue
                    found[i] = name, view
        taken = [name for name, view in found.values() if self._named.get(name, view.storage) != view.storage]
        if taken:
            raise ValueError(
                f"this plan has given the names {some(dict.fromkeys(taken))} to draws of other tensors: give each part "
                "of what the block built its prefix="
            )
        if part is not None and found:
            inside = set(part.modules())
            views = [view for owner, held in self._views.items() if owner not in inside for view in held.values()]
            outside = {i for view in views for i in self._replay.needed([view], self._end)}
            if shared := [name for i, (name, _) in found.items() if i in outside]:
                raise ValueError(
                    f"{some(dict.fromkeys(shared))} and tensors outside of this part are tied, or copies: call "
                    "recipe(model) with the whole model before, which gives their draws the names that they have there"
                )
        for i, (name, view) in found.items():
            self._named[name] = view.storage
            n = self._draws[name] = self._draws.get(name, 0) + 1
            self._streams[i] = name if n == 1 and "#" not in name else f"{name}#{n}"

    def _value(self, name: str, view: View, box: Box, given: dict[str, Any]) -> Tensor:
        try:
            return self._replay.value(view, self._end, box, self._streams, given)
        except Unwritten:
            raise ValueError(f"the model's own code has left elements of {name!r} that nobody has written") from None

    def _filling(self, name: str, view: View) -> Filling:
        found = self._replay.initializer(view, self._end, name, self._streams)
        return Recorded(_Values(self, name, view)) if found is None else found


def _attributes_of(module: nn.Module) -> Iterator[tuple[str, Any, Any, Tensor]]:
    """Tensors that it has as attributes, or in their lists and dicts: the attribute, the container, the key there."""
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield name, vars(module), name, value
        elif type(value) in (list, dict) and name not in _compat.TENSORS_AND_MODULES:
            for key, item in enumerate(value) if type(value) is list else value.items():
                if isinstance(item, Tensor):
                    yield name, value, key, item


def _buffer(
    plan: Plan, name: str, view: View, dtype: torch.dtype, given: dict[str, Any]
) -> Callable[[nn.Module], Tensor]:
    def values(module: nn.Module) -> Tensor:
        return plan._value(name, view, view.whole, given).to(dtype)

    return values
