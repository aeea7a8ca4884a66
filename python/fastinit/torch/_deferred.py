"""``deferred``: a model's own initialisation, recorded without memory, and made later, piece by piece."""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.nn.utils.parametrize import ParametrizationList
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.weak import WeakTensorKeyDictionary

import fastinit
from fastinit._arguments import documented, some, typed
from fastinit.recipes import Initializer, skip
from fastinit.recipes._patterns import Filling
from fastinit.recipes._values import Skip

from . import _compat
from ._attributes import attributes_of, replace_tensors
from ._fans import owners_of, padding_of
from ._module import fill_module
from ._parameters import Target, has_no_storage, plain_name, targets_of, unwrapped
from ._recorded import Recorded
from ._recorder import Recorder
from ._replaced import begin, recorder_of_thread, replace, restore
from ._replay import Replay, Unwritten
from ._report import Report
from ._selection import check_arguments, selected
from ._sharding import is_dtensor, local_of
from ._staging import checked_device
from ._steps import Box, View
from ._tensor import why_not_cast, why_not_dtype

if TYPE_CHECKING:
    from fastinit._types import BitGenerator

__all__ = ["Plan", "deferred"]

_Named = tuple[str, View | None, Tensor]  # a tensor of a model, and what was recorded of it
_Lost = tuple[str, str]  # the name of a tensor that cannot be made, and the reason


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
        a draw; operations that cannot be seen, such as those of scripted
        functions; steps of optimizers; in inference mode.

    See Also
    --------
    accelerate : For models that fit into memory.
    init_module : By a recipe.

    Notes
    -----
    Code that asks for values which depend on no draw gets them. Tensors that
    are made of Python's values, as by ``torch.tensor``, have memory. Draws
    from a generator of the code's own are torch's.

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
            register_optimizer_step_pre_hook(_refuse_step),
        ]
        begin()
        recorder.guard.__enter__()
        recorder.__enter__()  # type: ignore[no-untyped-call]
        return plan

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._recorder.__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
        self._recorder.guard.__exit__(kind, error, traceback)
        restore()
        for hook in self._hooks:
            hook.remove()
        self._plan._close()


def _refuse_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    if (recorder := recorder_of_thread()) is not None:
        why = "gradients are not recorded; train the model after materialize"
        recorder.refuse(f"a step of {type(optimizer).__name__}", why)


def _refuse_inside(name: str) -> None:
    if recorder_of_thread() is not None:
        raise RuntimeError(f"{name} in a block of deferred: use it before or after that block")


# --- the plan -------------------------------------------------------------------------------------------------------


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
        if not self._view.dtype.is_floating_point:
            raise TypeError(f"what was recorded is of {self._view.dtype}, and floats have other values")
        box = tuple((start, start + n) for start, n in zip(offset, out.shape, strict=True))
        given = {"seed": seed, "threads": threads, "bit_generator": bit_generator}
        out[...] = self.of(box, given).to(torch.from_numpy(out[:0] if out.ndim else out).dtype)

    def of(self, box: Box, given: dict[str, Any]) -> Tensor:
        """The values of a box."""
        return self._plan._value(self._name, self._view, box, given)


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
        # What modules hold at the block's end: where it has values of its own, None on meta.
        self._held: weakref.WeakKeyDictionary[nn.Module, dict[str, int | None]] = weakref.WeakKeyDictionary()
        self._made: weakref.WeakSet[nn.Module] = weakref.WeakSet()  # of which materialize has made the tensors
        self._versions = WeakTensorKeyDictionary()  # of parameters on meta, at the block's end
        self._attributes = WeakTensorKeyDictionary()  # the views of tensors that materialize has put into attributes
        self._streams: dict[int, str] = {}  # of draws, by the number of the step
        self._draws: dict[str, int] = {}  # by name
        self._named: dict[str, int] = {}  # the storage of each tensor that was given draws
        self._thread = threading.get_ident()
        self._end = 0

    # Called in the block

    def _see(self, module: nn.Module, key: str, value: Any) -> None:
        if threading.get_ident() == self._thread:
            self._seen.add(module)
            replace()

    def _see_child(self, module: nn.Module, key: str, child: nn.Module | None) -> None:
        if threading.get_ident() == self._thread:
            self._seen.add(module)
            if child is not None:
                self._children.add(child)

    def _close(self) -> None:
        self._end = len(self._log.steps)
        for module in self._seen:
            held = _held_by(module)
            self._held[module] = {key: _memory_of(tensor) for key, tensor in held.items()}
            for tensor in _compat.parameters_of(module).values():
                if tensor is not None and tensor.is_meta:
                    self._versions[tensor] = _compat.version(tensor)
            known = {key: tensor for key, tensor in held.items() if self._log.knows(tensor)}
            self._views[module] = {key: self._log.view(tensor) for key, tensor in known.items()}

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
        device: torch.device | str | int | None = None,
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
        device : torch.device, str or int, optional
            Where what is on meta gets its memory; by default on the CPU. What
            has memory there is filled in its place. Values are made on the CPU,
            in parts of 8 MiB, of which one is copied while the next is made.
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
            nobody has written, or no shape yet, or was sharded in the block,
            or parametrized or written after it, or has lost given values
            by ``to_empty``; else as ``init_module``. Then nothing has been
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
        where = checked_device("cpu" if device is None else device)
        given = {"seed": seed, "threads": threads, "bit_generator": bit_generator}
        parameters, all_buffers, attributes = self._all_of(model, prefix, include, exclude)
        values = {
            name: skip if view is None else self._filling(name, view, tensor.dtype) for name, view, tensor in parameters
        }
        buffers: dict[str, Any] = {
            name: "keep" if view is None else _buffer(self, name, view, tensor.dtype, given)
            for name, view, tensor in all_buffers
        }
        before = dict(model.named_buffers(remove_duplicate=False))
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
                device=where,
                recorded=True,
            )
            now = dict(model.named_buffers(remove_duplicate=False))
            new = WeakTensorKeyDictionary()  # what is one tensor stays one
            for name, tensor in before.items():
                new[tensor] = now[name]
            for module, key in attributes:
                replace_tensors(module, key, lambda tensor: self._attribute(tensor, new, where, given))
            self._made.update(model.modules())
            return done
        finally:
            self._replay.forget()

    @property
    def model(self) -> nn.Module:
        """The model that the block has built, if it is one and still there."""
        roots = [module for module in self._seen if module not in self._children]
        if len(roots) != 1:
            kinds = ", ".join(sorted(type(root).__name__ for root in roots)) or "none that is still there"
            raise ValueError(f"model must be given, since the block built {len(roots)} models: {kinds}")
        return roots[0]

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
        model = self.model if model is None else model
        parameters, _, _ = self._all_of(model, "")
        recipe: dict[str, Filling | Skip] = {
            name: skip if view is None else self._filling(name, view, tensor.dtype) for name, view, tensor in parameters
        }
        # init_module clears rows of padding; this model's own code may not.
        owners = owners_of(model)
        padded = {
            target.name for target in targets_of(model.named_parameters()) if padding_of(target, owners) is not None
        }
        for name, view, _ in parameters:
            if plain_name(name) in padded and view is not None and recipe[name] != Initializer("zeros"):
                recipe[name] = Recorded(_Values(self, name, view))
        return recipe

    # --- inside -----------------------------------------------------------------------------------------------------

    def _all_of(
        self,
        model: nn.Module,
        prefix: str,
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
    ) -> tuple[list[_Named], list[_Named], list[tuple[nn.Module, str]]]:
        """Parameters, buffers, and where modules have other tensors; what these draw has its streams then."""
        lost: list[_Lost] = []
        parameters = list(self._tensors_of(model, prefix, model.named_parameters, lost))
        buffers = list(self._tensors_of(model, prefix, model.named_buffers, lost))
        if lost:
            held = [target for named in (model.named_parameters, model.named_buffers) for target in _targets(named)]
            names = [[prefix + plain_name(name) for name in target.names] for target in held]
            picked = itertools.compress(names, selected(names, include, exclude))
            _refuse_lost(lost, {first for first, *_ in picked})
        attributes: list[_Named] = []
        places: dict[tuple[nn.Module, str], None] = {}
        for path, module in model.named_modules():
            for key, tensor in attributes_of(module):
                if (view := self._view_of_attribute(tensor)) is not None:
                    attributes.append((prefix + plain_name(f"{path}.{key}" if path else key), view, tensor))
                    places[module, key] = None
        self._number([*parameters, *buffers, *attributes], model if prefix else None)
        return parameters, buffers, list(places)

    def _tensors_of(self, model: nn.Module, prefix: str, named: Any, lost: list[_Lost]) -> Iterator[_Named]:
        """Each tensor by its first name, with what was recorded of it; None of one that has values of its own."""
        owners = {path: owner for path, owner in model.named_modules(remove_duplicate=False)}
        emptied, late = self._was_emptied(model), self._parametrized_late(model)
        for target in _targets(named):
            tensor, name = target.tensor, prefix + plain_name(target.name)
            places = [(owners.get(path), key) for path, _, key in (names.rpartition(".") for names in target.names)]
            view: View | None
            if not is_dtensor(tensor) and self._log.knows(tensor):
                view = self._log.view(tensor)
            else:
                views = {self._views.get(owner, {}).get(key) for owner, key in places if owner is not None}
                if len(views) > 1:
                    raise ValueError(
                        f"tensors {some(target.names)} are one, but were not in the block, and it does not show which "
                        "of them it was: tie them in the block, or shard them after materialize"
                    )
                view = next(iter(views), None)
            if view is not None and view.shape != tuple(tensor.shape):
                view = None
            owner, key = places[0]
            in_block = owner is not None and key in self._held.get(owner, {})
            if tensor.is_meta and id(tensor) in late:
                lost.append((name, _PARAMETRIZED))
            elif tensor.is_meta and view is None:
                lost.append((name, _why_lost(tensor, in_block)))
            elif in_block and tensor in self._versions and self._versions[tensor] != _compat.version(tensor):
                lost.append((name, _WRITTEN))
            elif emptied and view is None and owner is not None and self._has_other_memory(owner, key, tensor):
                lost.append((name, _EMPTIED))
            yield name, view, tensor

    def _was_emptied(self, model: nn.Module) -> bool:
        """Whether what was on meta has memory that ``materialize`` has not given it: ``to_empty`` does that to all."""
        return any(
            self._held.get(module, {}).get(key, 0) is None and not tensor.is_meta
            for module in model.modules()
            if module not in self._made
            for key, tensor in _held_by(module).items()
        )

    def _parametrized_late(self, model: nn.Module) -> set[int]:
        """What parametrizations hold that came after the block, and compute what they hold from the weight."""
        return {
            id(tensor)
            for module in model.modules()
            if isinstance(module, ParametrizationList) and module not in self._seen
            if any(hasattr(one, "right_inverse") for one in module)
            for tensor in (*module.parameters(), *module.buffers())
        }

    def _has_other_memory(self, module: nn.Module, key: str, tensor: Tensor) -> bool:
        before = self._held.get(module, {}).get(key) if module not in self._made else None
        return before is not None and before != _memory_of(tensor)

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
        self._replay.turn_to(view)
        try:
            return self._replay.value(view, self._end, box, self._streams, given)
        except Unwritten:
            raise ValueError(f"the model's own code has left elements of {name!r} that nobody has written") from None
        except NotImplementedError as error:  # as of 4-bit floats
            raise ValueError(f"torch cannot make {name!r} on the CPU: {str(error).splitlines()[0]}") from error

    def _view_of_attribute(self, tensor: Tensor) -> View | None:
        """What was recorded of a tensor that is neither a parameter nor, there, a buffer."""
        if isinstance(tensor, nn.Parameter):
            return None
        if tensor in self._attributes:
            made: View = self._attributes[tensor]
            return made
        return self._log.view(tensor) if self._log.knows(tensor) else None

    def _attribute(
        self, tensor: Tensor, new: WeakTensorKeyDictionary, device: torch.device, given: dict[str, Any]
    ) -> Tensor:
        if tensor not in new:
            value = tensor
            if (view := self._view_of_attribute(tensor)) is not None:
                self._replay.turn_to(view)
                with contextlib.suppress(Unwritten):  # such as empty memory that forward writes
                    value = self._replay.value(view, self._end, view.whole, self._streams, given).to(device)
                    self._attributes[value] = view
            new[tensor] = new[value] = value
        found: Tensor = new[tensor]
        return found

    def _filling(self, name: str, view: View, dtype: torch.dtype) -> Filling:
        known = why_not_dtype(dtype) is None  # else fastinit has no laws
        found = self._replay.initializer(view, self._end, name, self._streams, dtype) if known else None
        return Recorded(_Values(self, name, view)) if found is None else found


def _targets(named: Any) -> list[Target]:
    return targets_of(named(remove_duplicate=False))


def _held_by(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers."""
    held = {**_compat.parameters_of(module), **_compat.buffers_of(module)}
    return {key: tensor for key, tensor in held.items() if tensor is not None}


def _memory_of(tensor: Tensor) -> int | None:
    """Of a tensor that has values. (Those that have no storage keep what they have.)"""
    if tensor.is_meta:
        return None
    return 0 if has_no_storage(tensor) else _compat.storage_id(local_of(tensor).untyped_storage())


# --- what materialize refuses, by the reason ------------------------------------------------------------------------

_LAZY = "are lazy, and have no shape yet: call the model once in the block, say with zeros"
_SHARDED = "were sharded in the block, where they have no values: shard the model after it"
_UNKNOWN = (
    "of the model are on meta, and were not made in the block, or have another shape since: build the model in the "
    "block, and change it after materialize"
)
_EMPTIED = (
    "have other memory than the block's code gave them: after to_empty it has no values, so leave that out, as "
    "materialize gives memory itself; what has its right values is left alone by exclude="
)
_WRITTEN = (
    "were written after the block, on meta, where that has no effect: write them in the block, or after materialize"
)
_PARAMETRIZED = (
    "were parametrized after the block, which computes them from values that were not there: parametrize them in the "
    "block, or after materialize"
)


def _why_lost(tensor: Tensor, in_block: bool) -> str:
    """Why a tensor on meta cannot be made."""
    if nn.parameter.is_lazy(tensor):
        return _LAZY
    return _SHARDED if in_block and is_dtensor(tensor) else _UNKNOWN


def _refuse_lost(lost: Sequence[_Lost], chosen: set[str]) -> None:
    reasons = {reason: [name for name, why in lost if why == reason and name in chosen] for _, reason in lost}
    said = [f"tensors {some(dict.fromkeys(names))} {reason}" for reason, names in reasons.items() if names]
    if said:
        raise ValueError("; ".join(said))


def _buffer(
    plan: Plan, name: str, view: View, dtype: torch.dtype, given: dict[str, Any]
) -> Callable[[nn.Module], Tensor]:
    def values(module: nn.Module) -> Tensor:
        if why := why_not_cast(dtype):
            raise ValueError(f"buffer {name!r} {why}; exclude={name!r} leaves it alone")
        return plan._value(name, view, view.whole, given).to(dtype)

    return values
