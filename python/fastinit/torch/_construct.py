"""``accelerate`` and ``install``: blocks in which fastinit does the random initialisations of existing torch code."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType, TracebackType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

import fastinit
from fastinit._arguments import documented, typed

from . import _compat
from ._generator import seed_of, word_of
from ._names import Names
from ._taken import TAKEN, Arguments, Function, Types, init_function, truncated_instead_of
from ._tensor import memory, nothing, vanishes, why_not

__all__ = ["Acceleration", "accelerate", "install", "uninstall"]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class accelerate(contextlib.ContextDecorator):
    """In this block, fastinit draws the random initial values of CPU tensors.

    For existing code, on this thread: ``torch.nn.init`` and timm's truncated
    normals, also under names that were imported before; ``normal_`` and
    ``uniform_`` on parameters and parts of them; and, while something is
    initialised, these on any tensor, ``torch.randn``, ``rand``,
    ``randn_like``, ``rand_like`` and ``torch.normal`` with numbers.
    Something is initialised in constructors of modules, in ``Module.apply``
    and in functions whose names have "init" or "reset" with "weight" or
    "param", such as ``reset_parameters``.

    What runs is left to torch: forward passes, activation checkpointing,
    autograd functions, data workers, and modules that are built there. So
    outputs and gradients are those of plain torch. Also left to torch are
    calls with a generator, other devices and dtypes, tensor subclasses,
    computed tensors, arguments that fastinit refuses, and code that torch
    records or transforms.

    Parameters
    ----------
    seed : int, optional
        0 .. 2**64-1. Each call then has a stream of its own: the qualified
        name of the parameter, as ``named_parameters()`` reports it at that
        time ("name#2" and so on when it is filled again), or "#1", "#2", ...
        in the order of calls for all other tensors. By default
        ``torch.manual_seed`` governs: each call draws its stream from torch's
        default generator.
    module : torch.nn.Module, optional
        A module that was built before the block, so that its parameters go by
        their names.

    Returns
    -------
    accelerate
        ``with`` gives an ``Acceleration``, which counts what was done. As a
        decorator, each call of the function is a block of its own.

    Raises
    ------
    TypeError, ValueError
        seed is not an int, 0 .. 2**64-1; module is not a module; what is
        decorated is a generator function or a coroutine function.
    RuntimeError
        This version of torch lacks a name that is needed; the message has it.

    See Also
    --------
    install : The same without a block.
    init_module : A whole module by a recipe, every parameter by its name.

    Notes
    -----
    Bits: with a seed, the values are those of fastinit's function of that name
    on an array of that shape, with that seed and stream. They depend on the
    order of calls where a parameter has no name yet: while ``nn.Linear`` is
    built, its weight is just "weight". To build on the meta device first and
    to fill by name avoids that (see the second example).

    The levels of forward-mode gradients are global to the process: while any
    thread is in ``torch.autograd.forward_ad.dual_level()``, everything is left
    to torch.

    Examples
    --------
    >>> import torch, fastinit.torch
    >>> with fastinit.torch.accelerate(seed=0):
    ...     model = torch.nn.Linear(512, 256)
    >>> with fastinit.torch.accelerate(seed=0) as done:
    ...     same = torch.nn.Linear(512, 256)
    >>> torch.equal(model.weight, same.weight), done.calls
    (True, 2)

    By name, whatever the order of calls:

    >>> with torch.device("meta"):
    ...     model = torch.nn.Sequential(torch.nn.Linear(512, 256), torch.nn.ReLU())
    >>> with fastinit.torch.accelerate(seed=0, module=model):
    ...     _ = model.to_empty(device="cpu")
    ...     model[0].reset_parameters()  # streams "0.weight" and "0.bias"
    """

    __module__ = "fastinit.torch"

    @documented
    def __init__(self, seed: int | None = None, *, module: Module | None = None) -> None:
        _compat.require("accelerate")
        if seed is not None:
            fastinit.uniform(np.empty(0, np.float32), seed=seed)  # refuses what is no seed
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"module must be a torch.nn.Module, got {typed(module)}")
        self._seed = seed
        self._module = module

    def __call__(self, func: Decorated) -> Decorated:
        """As a decorator."""
        if inspect.isgeneratorfunction(func) or inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func):
            raise TypeError(
                "accelerate cannot decorate a generator or coroutine function, whose body runs after the call has "
                f"returned, got {typed(func)}: use `with` inside it"
            )
        return super().__call__(func)

    def __enter__(self) -> Acceleration:
        context = Acceleration(self._seed, self._module, self)
        _start(context)
        _compat.push_function_mode(context)
        return context

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _end(self)  # the innermost block of this object on this thread


@documented
def install(seed: int | None = None, *, module: Module | None = None) -> Acceleration:
    """``accelerate`` without a block: from this call on, until ``uninstall()``.

    It holds for this thread. A second call replaces the first; inside a block
    of ``accelerate``, the block counts. Training that follows draws as ever.

    Parameters
    ----------
    seed : int, optional
        As in ``accelerate``.
    module : torch.nn.Module, optional
        As in ``accelerate``.

    Returns
    -------
    Acceleration
        It counts what was done.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As ``accelerate``; then nothing has changed.

    Examples
    --------
    >>> import torch, fastinit.torch
    >>> done = fastinit.torch.install(seed=0)
    >>> model = torch.nn.Linear(512, 256)
    >>> fastinit.torch.uninstall()
    >>> done.calls
    2
    """
    checked = accelerate(seed, module=module)
    uninstall()
    context = Acceleration(checked._seed, checked._module, _INSTALLED)
    _start(context)
    modes = _pop_modes()
    # Below all others: `with torch.device(...)` ends by taking what is on top. But the default device is lowest.
    lowest = 1 if modes and modes[0] is _compat.default_device_mode() else 0
    _push_modes([*modes[:lowest], context, *modes[lowest:]])
    return context


def uninstall() -> None:
    """End what ``install`` began on this thread; do nothing if it did not.

    Examples
    --------
    >>> import fastinit.torch
    >>> fastinit.torch.uninstall()
    """
    _compat.require("accelerate")
    _end(_INSTALLED)


class Acceleration(TorchFunctionMode):
    """What a block of ``accelerate`` has done so far.

    ``with accelerate() as done`` and ``install`` return one.

    Attributes
    ----------
    calls : int
        Random calls that fastinit handled.
    elements : int
        Values that they wrote.
    seconds : float
        The time that they took.
    passed : int
        Random calls that were left to torch.

    Examples
    --------
    >>> import torch, fastinit.torch
    >>> with fastinit.torch.accelerate(seed=0) as done:
    ...     w = torch.nn.init.normal_(torch.empty(3, 4))
    ...     noise = torch.randn(3)  # not of an initialisation
    >>> done.calls, done.elements, done.passed
    (1, 12, 1)
    """

    __module__ = "fastinit.torch"

    def __init__(self, seed: int | None, module: Module | None, owner: object) -> None:
        super().__init__()
        self.calls = 0
        self.elements = 0
        self.seconds = 0.0
        self.passed = 0
        self._seed = seed
        self._owner = owner
        self._names = Names()
        self._taken: dict[str | None, int] = {}  # how many calls each name has had
        if module is not None:
            self._names.add_tree(module)

    def __torch_function__(
        self, func: Function, types: Types, args: tuple[Any, ...] = (), kwargs: Arguments | None = None
    ) -> Any:
        """torch asks here before each of its functions."""
        take = TAKEN.get(func)
        if take is None:
            if not kwargs:
                return func(*args)
            take = None if args or "tensor" not in kwargs else init_function(func, kwargs)
            if take is None:
                return func(*args, **kwargs)
        return take(self, func, types, args, kwargs or {})

    def _fill(self, tensor: Tensor, fill: Function, parameters: Arguments, fresh: bool = False) -> bool:
        """Whether fastinit could do it. If not, nothing has happened. A fresh tensor has no name and no history."""
        begin = time.perf_counter()
        with _compat.DisableTorchFunction():
            if why_not(tensor) is not None or (not fresh and vanishes(tensor) is not None):
                return False
            name = None if fresh or self._seed is None else self._names.of(tensor)
            out = memory(tensor)
            try:
                if self._seed is None:
                    none = np.empty(0, out.dtype) if isinstance(out, np.ndarray) else nothing(tensor.dtype)
                    fill(none, seed=0, **parameters)  # or refused before torch's generator moves on
                    fill(out, seed=seed_of(), stream=word_of(), **parameters)
                else:
                    fill(out, seed=self._seed, stream=self._stream(name), **parameters)
            except (TypeError, ValueError):  # refused, before anything was written
                return False
            if not fresh:
                torch.autograd.graph.increment_version(tensor)
            self.elements += tensor.numel()
        if self._seed is not None:
            self._taken[name] = self._taken.get(name, 0) + 1
        self.calls += 1
        self.seconds += time.perf_counter() - begin
        return True

    def _stream(self, name: str | None) -> str:
        number = self._taken.get(name, 0) + 1
        if name is None:
            return f"#{number}"
        return name if number == 1 and "#" not in name else f"{name}#{number}"

    def _knows(self, tensor: Tensor) -> bool:
        """Whether the tensor is a parameter, or a part of one."""
        with _compat.DisableTorchFunction():
            return self._names.knows(tensor)

    def _leave(self, func: Function, args: tuple[Any, ...], kwargs: Arguments) -> Any:
        if not torch.compiler.is_compiling():  # the compiler would compile anew whenever the number has changed
            self.passed += 1
        return func(*args, **kwargs)


# --- what is replaced while a block runs anywhere in the process ----------------------------------------------------
# Truncated normals are loops of small steps. Their innermost functions are replaced in their own modules, so that names
# bound elsewhere are covered. On threads without a block the replacement calls the original.

_replacements: list[tuple[ModuleType, str, Function, Function]] = []  # of what, by what
_active: weakref.WeakSet[Acceleration] = weakref.WeakSet()  # blocks of all threads
_lock = threading.Lock()  # for these two
_hooks: list[object] = []
_INSTALLED = object()


def _replace() -> None:
    done = [(module.__name__, name) for module, name, _, _ in _replacements]
    for where, name, no_grad in _compat.TRUNCATED:
        module = sys.modules.get(where)
        original = getattr(module, name, None)
        if module is not None and original is not None and (where, name) not in done:
            replacement = truncated_instead_of(original, no_grad, _block)
            _replacements.append((module, name, original, replacement))
            setattr(module, name, replacement)


def _restore() -> None:
    while _replacements:
        module, name, original, replacement = _replacements.pop()
        if getattr(module, name) is replacement:  # or else somebody has replaced it since, and keeps that
            setattr(module, name, original)


def _start(context: Acceleration) -> None:
    with _lock:
        if not _hooks:
            # Once for the life of the process: to add or remove a hook while another thread runs through them is an
            # error there ("OrderedDict mutated during iteration"). Without a block they return at once.
            _hooks.append(register_module_parameter_registration_hook(_parameter_registered))
            _hooks.append(register_module_module_registration_hook(_module_registered))
        _active.add(context)
        _replace()


def _end(owner: object) -> None:
    """Ends the innermost block of this owner on this thread, wherever it is among torch's modes."""
    modes = _pop_modes()
    mine = [mode for mode in modes if isinstance(mode, Acceleration) and mode._owner is owner]
    _push_modes([mode for mode in modes if mode not in mine[-1:]])
    for context in mine[-1:]:
        context._owner, context._names = None, Names()
        with _lock:
            _active.discard(context)
            if not _active:
                _restore()


def _pop_modes() -> list[TorchFunctionMode]:
    """Torch's function modes on this thread, the outermost first. They are off until they are pushed again."""
    return [_compat.pop_function_mode() for _ in _compat.function_modes()][::-1]


def _push_modes(modes: Iterable[TorchFunctionMode]) -> None:
    for mode in modes:
        _compat.push_function_mode(mode)


def _contexts() -> Iterator[Acceleration]:
    """The blocks of this thread, the innermost first."""
    if not _compat.overrides_are_off():
        for mode in reversed(_compat.function_modes()):
            if isinstance(mode, Acceleration):
                yield mode


def _block() -> Acceleration | None:
    """The innermost block of this thread."""
    return next(_contexts(), None)


def _parameter_registered(owner: Module, key: str, parameter: Tensor) -> None:
    if _active:
        contexts = list(_contexts())
        if contexts and len(_replacements) < len(_compat.TRUNCATED) and _compat.TRUNCATED[-1][0] in sys.modules:
            with _lock:  # timm was imported inside the block
                _replace()
        with _compat.DisableTorchFunction():
            for context in contexts:
                context._names.add_parameter(owner, key, parameter)


def _module_registered(parent: Module, key: str, child: Module | None) -> None:
    if _active and child is not None:
        for context in _contexts():
            context._names.add_module(parent, key, child)


def _forked() -> None:
    """In the child: the threads that had other blocks are gone."""
    global _active
    _active = weakref.WeakSet(_contexts())
    if not _active:
        _restore()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forked)
