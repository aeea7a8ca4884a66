"""Whether a random draw is part of an initialisation: read from Python's stack, outwards from the draw.

What a module draws when it runs must stay torch's: torch repeats it for gradients with its function modes off.
"""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

import torch.utils.checkpoint
from torch.autograd.function import BackwardCFunction, Function
from torch.nn import Module
from torch.utils.data import get_worker_info

from . import _compat

__all__ = ["initialises"]


def _function(value: object) -> Any:
    """The function of Python's that is called in the end; None of anything else."""
    known = isinstance(value, FunctionType | MethodType | staticmethod | classmethod)
    return inspect.unwrap(value) if known else None  # type: ignore[arg-type]


def _code(value: object) -> CodeType | None:
    return getattr(_function(value), "__code__", None)


def _names(code: CodeType) -> Iterator[str]:
    """The names of a function and of those that are defined in it."""
    yield code.co_name
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _names_in(module: ModuleType) -> Iterator[str]:
    """The names of all functions of a module."""
    for value in vars(module).values():
        for member in vars(value).values() if isinstance(value, type) else (value,):
            function = _function(member)
            if getattr(function, "__globals__", None) is vars(module):
                yield from _names(function.__code__)


_RUN = [_code(call) for call in (*_compat.MODULE_CALLS, Function.apply, BackwardCFunction.apply)]
_BUILD = _code(Module.apply)
_CHECKPOINT = vars(torch.utils.checkpoint)
_TORCH_INIT = vars(torch.nn.init)

# Up to torch 2.13. Later the functions have to be known by their own code.
_APPLY_IS_A_FRAME = _code(Function.apply) is not None
_seen: list[Any] = []  # the classes of autograd functions, when these were collected:
_other_forwards: dict[str, list[CodeType]] = {}  # the ``forward`` functions of other names, by name

# What the name of a frame's function may say, and what settles it.
_NOTHING, _BY_NAME, _BY_CODE, _BY_GLOBALS, _BY_FIRST_ARGUMENT = range(5)


class _Signs(dict[str, int]):
    """For each name of a function what to look at. (Code objects are slow to hash.)"""

    def __missing__(self, name: str) -> int:
        small = name.lower()
        verb, noun = "init" in small or "reset" in small, "weight" in small or "param" in small
        sign = self[name] = _BY_NAME if verb and noun else _NOTHING
        return sign


_SIGNS = _Signs(dict.fromkeys((*_names_in(torch.nn.init), *_names_in(torch.utils.checkpoint)), _BY_GLOBALS))
_SIGNS.update({code.co_name: _BY_CODE for code in (*_RUN, _BUILD) if code is not None})
_SIGNS.update({"__init__": _BY_FIRST_ARGUMENT, "forward": _BY_FIRST_ARGUMENT})


def initialises(known: Callable[[], bool]) -> bool:
    """Whether the draw that asks is part of an initialisation.

    It is not, wherever it stands, while a module runs: in a call or a ``forward`` of one, an autograd function,
    activation checkpointing, a data worker. Else it is one if ``known()``, or inside of ``torch.nn.init``, of the
    constructor of a module, of ``Module.apply``, or of a function with a name such as ``reset_parameters``.
    """
    if get_worker_info() is not None:
        return False
    builds = False
    unsure: list[FrameType] = []
    frame: FrameType | None = sys._getframe(1)
    signs = _SIGNS
    while frame is not None:
        if sign := signs[frame.f_code.co_name]:
            if sign == _BY_NAME:
                builds = True
            elif sign == _BY_FIRST_ARGUMENT:
                unsure.append(frame)
            elif sign == _BY_GLOBALS:
                if frame.f_globals is _CHECKPOINT:
                    return False
                builds = builds or frame.f_globals is _TORCH_INIT
            elif frame.f_code in _RUN:
                return False
            elif frame.f_code is _BUILD:
                builds = True
        frame = frame.f_back
    if any(map(_of_autograd_function, unsure)) or (not _APPLY_IS_A_FRAME and _runs_another_forward()):
        return False
    # Last, since to read a frame's variables keeps them alive until it ends (before Python 3.13).
    for frame in unsure:
        if frame.f_code.co_name == "forward" and _of_module(frame):
            return False
    return builds or known() or any(map(_of_module, unsure))


def _functions() -> list[Any]:
    """All classes of autograd functions that there are."""
    kinds: list[Any] = []
    generation: list[Any] = [Function]
    while generation:
        kinds += generation
        generation = list(itertools.chain.from_iterable(map(type.__subclasses__, generation)))  # as fast as can be
    return kinds


def _of_autograd_function(frame: FrameType) -> bool:
    """Whether it is the ``forward`` of one, under that name."""
    if frame.f_code.co_name != "forward":
        return False
    return any(_code(getattr(kind, "forward", None)) is frame.f_code for kind in _functions())


def _runs_another_forward() -> bool:
    """Whether the ``forward`` of an autograd function runs that is a function of another name."""
    kinds = _functions()
    if kinds != _seen:  # to ask each of them takes several times as long as to list them
        codes = [_code(getattr(kind, "forward", None)) for kind in kinds]
        _other_forwards.clear()
        for code in codes:
            if code is not None and code.co_name != "forward":
                _other_forwards.setdefault(code.co_name, []).append(code)
        _seen[:] = kinds
    frame = sys._getframe(1) if _other_forwards else None
    while frame is not None:
        if any(code is frame.f_code for code in _other_forwards.get(frame.f_code.co_name, ())):
            return True
        frame = frame.f_back
    return False


def _of_module(frame: FrameType) -> bool:
    """Whether the first argument is a module."""
    code = frame.f_code
    if code.co_argcount:
        return isinstance(frame.f_locals.get(code.co_varnames[0]), Module)
    if code.co_flags & inspect.CO_VARARGS:  # forward(*args)
        packed = frame.f_locals.get(code.co_varnames[code.co_kwonlyargcount])
        return isinstance(packed, tuple) and isinstance(next(iter(packed), None), Module)
    return False
