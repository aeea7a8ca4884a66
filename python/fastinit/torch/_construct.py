"""Every random initialisation in a block of existing torch code, through fastinit.

It knows torch's ways to draw (methods, factories, ``torch.nn.init``, rejection loops) and which of them fastinit can
take over; it knows no formula but that of ``kaiming_uniform_``'s bound, and no recipe. All else is left to torch.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
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
from torch.autograd import forward_ad
from torch.nn import Module
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

import fastinit

from ._names import Names
from ._tensor import array_of, why_not

Function = Callable[..., Any]
Arguments = dict[str, Any]
Types = Iterable[type]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])

# torch's stack of function modes, one for each thread. torch.utils._device works on it in the same way.
_push_mode: Callable[[TorchFunctionMode], None] = torch.overrides._push_mode
_pop_mode: Callable[[], TorchFunctionMode] = torch.overrides._pop_mode
_modes: Callable[[], list[TorchFunctionMode]] = torch.overrides._get_current_function_mode_stack


class accelerate(contextlib.ContextDecorator):
    """Inside the block, fastinit does every random initialisation of a CPU tensor on this thread.

    Module constructors, ``reset_parameters``, ``torch.nn.init``, ``Tensor.normal_`` and ``uniform_``,
    ``torch.randn``, ``rand``, ``randn_like``, ``rand_like`` and ``normal`` with numbers, timm's truncated normals;
    through names that were bound at import too. Calls with a generator, on other devices or dtypes, on tensor
    subclasses, and what fastinit would refuse, run as ever.

    With a seed, each call has a stream of its own: the qualified name of the parameter as far as it is known at
    that moment ("name#2" and so on where that name is filled again), or "#1", "#2" in order for all other tensors.
    Without one, each call takes its stream from torch's default generator: ``torch.manual_seed`` governs.

    Args:
        seed: int, 0 .. 2**64-1, or None.
        module: a module that was built before the block, to name its parameters.

    Returns:
        ``with`` gives an ``Acceleration``, which counts. As a decorator, each call of the function is a block.

    Raises:
        TypeError, ValueError: seed is not an int in range, module is not a module; what is decorated is a generator or
            a coroutine function.

    Example:
        >>> import torch, fastinit.torch
        >>> with fastinit.torch.accelerate(seed=0):
        ...     model = torch.nn.Linear(512, 256)
        >>> with fastinit.torch.accelerate(seed=0):
        ...     same = torch.nn.Linear(512, 256)
        >>> torch.equal(model.weight, same.weight)
        True
    """

    def __init__(self, seed: int | None = None, *, module: Module | None = None) -> None:
        """Nothing happens before ``with``."""
        if seed is not None:
            fastinit.uniform(np.empty(0, np.float32), seed=seed)  # refuses what is no seed
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"module must be a torch.nn.Module, got an object of type {type(module).__name__}")
        self._seed = seed
        self._module = module

    def __call__(self, func: Decorated) -> Decorated:
        """As a decorator."""
        if inspect.isgeneratorfunction(func) or inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func):
            raise TypeError(
                f"accelerate decorates functions that have run when they return, got {func!r}; use `with` inside of it"
            )
        return super().__call__(func)

    def __enter__(self) -> Acceleration:
        """Starts; all streams begin anew."""
        context = Acceleration(self._seed, self._module, self)
        _start(context)
        _push_mode(context)
        return context

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ends the innermost block of this object on this thread."""
        _end(self)


def install(seed: int | None = None, *, module: Module | None = None) -> Acceleration:
    """``accelerate`` from here on, on this thread, until ``uninstall()``. A second call replaces the first.

    Blocks of ``accelerate`` inside count before it. With a seed, random tensors of later training (noise, augmentation)
    have fixed streams too, which worker processes that are forked repeat: leave the seed out where that matters.

    Args:
        seed, module: as in ``accelerate``.

    Returns:
        The ``Acceleration``, which counts.

    Raises:
        TypeError, ValueError: as ``accelerate``; then nothing has changed.

    Example:
        >>> import torch, fastinit.torch
        >>> counts = fastinit.torch.install(seed=0)
        >>> model = torch.nn.Linear(512, 256)
        >>> fastinit.torch.uninstall()
        >>> counts.calls
        2
    """
    checked = accelerate(seed, module=module)
    uninstall()
    context = Acceleration(checked._seed, checked._module, _INSTALLED)
    _start(context)
    modes = _pop_modes()
    # Below all others: `with torch.device(...)` ends by taking what is on top. But the default device is lowest.
    default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    lowest = 1 if modes and modes[0] is default else 0
    _push_modes([*modes[:lowest], context, *modes[lowest:]])
    return context


def uninstall() -> None:
    """Ends what ``install`` began on this thread. Without that, it does nothing.

    Example:
        >>> import fastinit.torch
        >>> fastinit.torch.uninstall()
    """
    _end(_INSTALLED)


class Acceleration(TorchFunctionMode):
    """One block, while it runs: what it has done, and which stream comes next. ``accelerate`` makes them.

    Attributes:
        calls: random calls that fastinit did.
        elements: values that they wrote.
        seconds: time that they took.
        passed: random calls that were left to torch.
    """

    def __init__(self, seed: int | None, module: Module | None, owner: object) -> None:
        """Of a checked seed and module, for ``owner``, who will end it."""
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
        take = _TAKEN.get(func)
        if take is None:
            if not kwargs:
                return func(*args)
            take = None if args or "tensor" not in kwargs else _init_function(func, kwargs)
            if take is None:
                return func(*args, **kwargs)
        return take(self, func, types, args, kwargs or {})

    def _fill(self, tensor: Tensor, fill: Function, parameters: Arguments, fresh: bool = False) -> bool:
        """Whether fastinit could do it. If not, nothing has happened. A fresh tensor has no name and no history."""
        begin = time.perf_counter()
        with torch._C.DisableTorchFunction():
            if why_not(tensor) is not None:
                return False
            name = None if fresh or self._seed is None else self._names.of(tensor)
            array = array_of(tensor)
            try:
                if self._seed is None:
                    fill(np.empty(0, array.dtype), seed=0, **parameters)  # or refused before torch's generator moves on
                    fill(array, seed=_torch_seed(), stream=_torch_word(), **parameters)
                else:
                    fill(array, seed=self._seed, stream=self._stream(name), **parameters)
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

    def _pass(self, func: Function, args: tuple[Any, ...], kwargs: Arguments) -> Any:
        self.passed += 1
        return func(*args, **kwargs)


def _torch_seed() -> int:
    return torch.initial_seed() % 2**64


def _torch_word() -> int:
    """64 bits from torch's default generator."""
    return int(torch.empty((), dtype=torch.int64, device="cpu").random_(-(2**63), None)) % 2**64


def _torch_watches() -> bool:
    """Whether torch records, traces or transforms what is called, so that a value written behind its back is lost."""
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
    )


# --- what is taken over ---------------------------------------------------------------------------------------------
# torch has checked the names and types of the arguments before it asks.

Taker = Callable[["Acceleration", Function, Types, tuple[Any, ...], Arguments], Any]


def _overridden(types: Types) -> bool:
    """Whether an argument overrides torch's functions itself: a subclass, an fx proxy."""
    return any(kind is not Tensor for kind in types)


def _method(keywords: dict[str, str], fill: Function) -> Taker:
    """``Tensor.normal_`` or ``uniform_``: torch's names of the two parameters and fastinit's."""

    def take(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
        tensor = args[0]
        given = dict(zip(keywords, args[1:], strict=False)) | kwargs
        if (
            given.pop("generator", None) is None
            and not _overridden(types)
            and not _torch_watches()
            and not (torch.is_grad_enabled() and tensor.requires_grad)
            and context._fill(tensor, fill, {keywords[name]: value for name, value in given.items()})
        ):
            return tensor
        return context._pass(func, args, kwargs)

    return take


def _factory(make: Function, fill: Function) -> Taker:
    """``torch.randn`` and the like; ``make`` gives the tensor, by the same arguments."""

    def take(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
        made = None if _overridden(types) else _made(context, make, args, kwargs, fill, {})
        return context._pass(func, args, kwargs) if made is None else made

    return take


def _take_normal(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    """``torch.normal(mean, std, size)`` with numbers."""
    given = dict(zip(("mean", "std", "size"), args, strict=False)) | kwargs
    mean, std, size = (given.pop(name, None) for name in ("mean", "std", "size"))
    if isinstance(mean, int | float) and isinstance(std, int | float) and not _overridden(types):
        made = _made(context, torch.empty, (size,), given, fastinit.normal, {"mean": mean, "std": std})
        if made is not None:
            return made
    return context._pass(func, args, kwargs)


def _made(
    context: Acceleration,
    make: Function,
    args: tuple[Any, ...],
    kwargs: Arguments,
    fill: Function,
    parameters: Arguments,
) -> Tensor | None:
    """A new tensor, filled; None where torch has to do it, or to say what is wrong."""
    options = {name: value for name, value in kwargs.items() if name not in ("generator", "out") or value is not None}
    if "generator" in options or "out" in options or _torch_watches():
        return None
    tensor: Tensor = make(*args, **options)
    return tensor if context._fill(tensor, fill, parameters, fresh=True) else None


def _init_function(func: Function, arguments: Arguments) -> Taker | None:
    """Who takes this call, if it comes from a function of ``torch.nn.init``.

    Those announce themselves by whatever their namespace holds under their name at that moment: while transformers
    guards or disables initialisers, that is its function, not torch's. So what tells them apart is their arguments.
    """
    take = _INIT.get(frozenset(arguments))
    return take if take and any(getattr(torch.nn.init, name) is func for name in _INIT_NAMES) else None


def _init_uniform(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    tensor, a, b, generator = (kwargs[name] for name in ("tensor", "a", "b", "generator"))
    if _overridden(types):
        return context._pass(func, args, kwargs)
    if generator is None and not _torch_watches() and context._fill(tensor, fastinit.uniform, {"low": a, "high": b}):
        return tensor
    return context._pass(torch.nn.init._no_grad_uniform_, (tensor, a, b, generator), {})


def _init_normal(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    tensor, mean, std, generator = (kwargs[name] for name in ("tensor", "mean", "std", "generator"))
    if _overridden(types):
        return context._pass(func, args, kwargs)
    if (
        generator is None
        and not _torch_watches()
        and context._fill(tensor, fastinit.normal, {"mean": mean, "std": std})
    ):
        return tensor
    return context._pass(torch.nn.init._no_grad_normal_, (tensor, mean, std, generator), {})


def _init_kaiming(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    tensor = kwargs["tensor"]
    if _overridden(types) or 0 in tensor.shape:  # torch warns of the latter
        return context._pass(func, args, kwargs)
    fan = torch.nn.init._calculate_correct_fan(tensor, kwargs["mode"])
    gain = torch.nn.init.calculate_gain(kwargs["nonlinearity"], kwargs["a"])
    bound = math.sqrt(3.0) * (gain / math.sqrt(fan))
    arguments = {"tensor": tensor, "a": -bound, "b": bound, "generator": kwargs["generator"]}
    return _init_uniform(context, func, types, args, arguments)


def _init_constant(
    context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments
) -> Any:
    return (
        func(*args, **kwargs) if _overridden(types) else torch.nn.init._no_grad_fill_(kwargs["tensor"], kwargs["val"])
    )


def _replaced(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    """Whatever may give a parameter other memory: ``p.data = ...``, and what ``Module.to``, ``to_empty`` call."""
    context._names.stale = True
    return func(*args, **kwargs)


_TAKEN: dict[Function, Taker] = {
    Tensor.normal_: _method({"mean": "mean", "std": "std"}, fastinit.normal),
    Tensor.uniform_: _method({"from": "low", "to": "high"}, fastinit.uniform),
    torch.randn: _factory(torch.empty, fastinit.normal),
    torch.rand: _factory(torch.empty, fastinit.uniform),
    torch.randn_like: _factory(torch.empty_like, fastinit.normal),
    torch.rand_like: _factory(torch.empty_like, fastinit.uniform),
    torch.normal: _take_normal,
    Tensor.data.__set__: _replaced,  # type: ignore[attr-defined]
    torch._has_compatible_shallow_copy_type: _replaced,
}
_INIT_NAMES = ("uniform_", "normal_", "kaiming_uniform_", "constant_")
_INIT: dict[frozenset[str], Taker] = {
    frozenset(("tensor", "a", "b", "generator")): _init_uniform,
    frozenset(("tensor", "mean", "std", "generator")): _init_normal,
    frozenset(("tensor", "a", "mode", "nonlinearity", "generator")): _init_kaiming,
    frozenset(("tensor", "val")): _init_constant,
}


# --- what is replaced while a block runs anywhere in the process ----------------------------------------------------
# Truncated normals are loops of small steps. Their innermost functions are replaced in their own modules, so that names
# bound elsewhere are covered. On threads without a block the replacement calls the original.

# module, function, and whether it switches gradients off itself
_TRUNCATED = (
    ("torch.nn.init", "_no_grad_trunc_normal_", True),
    ("timm.layers.weight_init", "_trunc_normal_", False),
)
_replacements: list[tuple[ModuleType, str, Function, Function]] = []  # of what, by what
_active: weakref.WeakSet[Acceleration] = weakref.WeakSet()  # blocks of all threads
_lock = threading.Lock()  # for these two
_hooks: list[object] = []
_INSTALLED = object()


def _replacement(original: Function, no_grad: bool) -> Function:
    @functools.wraps(original)
    def truncated(tensor: Tensor, mean: float, std: float, a: float, b: float, *args: Any, **kwargs: Any) -> Any:
        context = next(_contexts(), None)
        if context is not None:
            generators = [value for value in (*args, *kwargs.values()) if value is not None]
            recorded = not no_grad and torch.is_grad_enabled() and tensor.requires_grad
            # torch divides by std and says so where it is 0.
            if not generators and not recorded and std != 0 and not _torch_watches():
                parameters = {"mean": mean, "std": std, "low": a, "high": b, "bounds": "absolute"}
                if context._fill(tensor, fastinit.truncated_normal, parameters):
                    return tensor
            context.passed += 1
        return original(tensor, mean, std, a, b, *args, **kwargs)

    return truncated


def _replace() -> None:
    done = [(module.__name__, name) for module, name, _, _ in _replacements]
    for where, name, no_grad in _TRUNCATED:
        module = sys.modules.get(where)
        original = getattr(module, name, None)
        if module is not None and original is not None and (where, name) not in done:
            replacement = _replacement(original, no_grad)
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
    return [_pop_mode() for _ in _modes()][::-1]


def _push_modes(modes: Iterable[TorchFunctionMode]) -> None:
    for mode in modes:
        _push_mode(mode)


def _contexts() -> Iterator[Acceleration]:
    """The blocks of this thread, the innermost first."""
    if not torch._C._is_torch_function_all_disabled():
        for mode in reversed(_modes()):
            if isinstance(mode, Acceleration):
                yield mode


def _parameter_registered(owner: Module, key: str, parameter: Tensor) -> None:
    if _active:
        contexts = list(_contexts())
        if contexts and len(_replacements) < len(_TRUNCATED) and _TRUNCATED[-1][0] in sys.modules:
            with _lock:  # timm was imported inside the block
                _replace()
        with torch._C.DisableTorchFunction():
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
