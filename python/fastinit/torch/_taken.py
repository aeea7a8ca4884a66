"""Which of torch's random functions a block of ``accelerate`` takes over, and what fastinit does in their place.

torch has checked the names and types of the arguments before it asks. What is not taken over is left to torch.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Parameter

import fastinit

from . import _compat
from ._stage import initialises
from ._tensor import watched

if TYPE_CHECKING:
    from ._construct import Acceleration

__all__ = [
    "TAKEN",
    "Arguments",
    "Function",
    "Types",
    "init_function",
    "init_name",
    "kaiming_bound",
    "truncated_instead_of",
]

Function = Callable[..., Any]
Arguments = dict[str, Any]
Types = Iterable[type]
Taker = Callable[["Acceleration", Function, Types, tuple[Any, ...], Arguments], Any]


def _overridden(types: Types) -> bool:
    """Whether an argument overrides torch's functions itself: a subclass, an fx proxy."""
    for kind in types:  # noqa: SIM110 - in a third of the time of any()
        if kind is not Tensor:
            return True
    return False


def _always() -> bool:
    return True


def _never() -> bool:
    return False


def _method(keywords: dict[str, str], fill: Function) -> Taker:
    """``Tensor.normal_`` or ``uniform_``: torch's names of the two parameters and fastinit's."""

    def take(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
        tensor = args[0]
        given = dict(zip(keywords, args[1:], strict=False)) | kwargs
        if (
            given.pop("generator", None) is None
            and not _overridden(types)
            and not watched(by_modes=False)
            and not (torch.is_grad_enabled() and tensor.requires_grad)
            and initialises(lambda: context._knows(tensor))
            and context._fill(tensor, fill, {keywords[name]: value for name, value in given.items()})
        ):
            return tensor
        return context._leave(func, args, kwargs)

    return take


def _factory(make: Function, fill: Function) -> Taker:
    """``torch.randn`` and the like; ``make`` gives the tensor, by the same arguments."""

    def take(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
        made = None if _overridden(types) else _made(context, make, args, kwargs, fill, {})
        return context._leave(func, args, kwargs) if made is None else made

    return take


def _take_normal(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    """``torch.normal(mean, std, size)`` with numbers."""
    given = dict(zip(("mean", "std", "size"), args, strict=False)) | kwargs
    mean, std, size = (given.pop(name, None) for name in ("mean", "std", "size"))
    if isinstance(mean, int | float) and isinstance(std, int | float) and not _overridden(types):
        made = _made(context, torch.empty, (size,), given, fastinit.normal, {"mean": mean, "std": std})
        if made is not None:
            return made
    return context._leave(func, args, kwargs)


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
    if "generator" in options or "out" in options or watched(by_modes=False) or not initialises(_never):
        return None
    tensor: Tensor = make(*args, **options)
    return tensor if context._fill(tensor, fill, parameters, fresh=True) else None


def init_function(func: Function, arguments: Arguments) -> Taker | None:
    """Who takes this call, if it comes from a function of ``torch.nn.init``.

    Those announce themselves by whatever their namespace holds under their name at that moment: while transformers
    guards or disables initialisers, that is its function, not torch's. So what tells them apart is their arguments.
    """
    name = init_name(func, arguments)
    return None if name is None else _INIT[name]


def init_name(func: Function, arguments: Iterable[str]) -> str | None:
    """Which function of ``torch.nn.init`` this call comes from, if any of those that announce themselves."""
    name = _INIT_NAMES.get(frozenset(arguments))
    if name is not None and any(getattr(torch.nn.init, other) is func for other in _INIT_NAMES.values()):
        return name
    return None


def kaiming_bound(arguments: Arguments) -> float:
    """The bound of ``kaiming_uniform_``, as torch computes it."""
    fan = _compat.calculate_correct_fan(arguments["tensor"], arguments["mode"])
    gain = torch.nn.init.calculate_gain(arguments["nonlinearity"], arguments["a"])
    return math.sqrt(3.0) * (gain / math.sqrt(fan))


def _init(keywords: dict[str, str], fill: Function, torchs: Function) -> Taker:
    """``uniform_`` or ``normal_``: torch's names of the two parameters and fastinit's, and torch's inner function."""

    def take(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
        if _overridden(types):
            return context._leave(func, args, kwargs)
        tensor, generator = kwargs["tensor"], kwargs["generator"]
        parameters = {ours: kwargs[name] for name, ours in keywords.items()}
        if (
            generator is None
            and not watched(by_modes=False)
            and initialises(_always)
            and context._fill(tensor, fill, parameters)
        ):
            return tensor
        return context._leave(torchs, (tensor, *parameters.values(), generator), {})

    return take


_init_uniform = _init({"a": "low", "b": "high"}, fastinit.uniform, _compat.no_grad_uniform)
_init_normal = _init({"mean": "mean", "std": "std"}, fastinit.normal, _compat.no_grad_normal)


def _init_kaiming(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    tensor = kwargs["tensor"]
    if _overridden(types) or 0 in tensor.shape:  # torch warns of the latter
        return context._leave(func, args, kwargs)
    bound = kaiming_bound(kwargs)
    arguments = {"tensor": tensor, "a": -bound, "b": bound, "generator": kwargs["generator"]}
    return _init_uniform(context, func, types, args, arguments)


def _init_constant(
    context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments
) -> Any:
    return func(*args, **kwargs) if _overridden(types) else _compat.no_grad_fill(kwargs["tensor"], kwargs["val"])


def truncated_instead_of(
    original: Function, no_grad: bool, block: Callable[[], Acceleration | None]
) -> Callable[..., Tensor]:
    """What takes the place of the innermost function of a truncated normal; without a block it calls the original."""

    @functools.wraps(original)
    def truncated(tensor: Tensor, mean: float, std: float, a: float, b: float, *args: Any, **kwargs: Any) -> Any:
        context = None if torch.compiler.is_compiling() else block()
        if context is not None:
            generators = [value for value in (*args, *kwargs.values()) if value is not None]
            recorded = not no_grad and torch.is_grad_enabled() and tensor.requires_grad
            # torch divides by std and says so where it is 0.
            if not generators and not recorded and std != 0 and not watched(by_modes=False) and initialises(_always):
                parameters = {"mean": mean, "std": std, "low": a, "high": b, "bounds": "absolute"}
                if context._fill(tensor, fastinit.truncated_normal, parameters):
                    return tensor
            context.passed += 1
        return original(tensor, mean, std, a, b, *args, **kwargs)

    return truncated


def _replaced(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    """What may give a parameter other memory: ``p.data = ...``, and what ``Module.to`` and ``to_empty`` call."""
    context._names.stale = True
    return func(*args, **kwargs)


def _part(context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments) -> Any:
    """``p.data`` and ``p.detach()``: other tensors that mean the parameter."""
    part = func(*args, **kwargs)
    # Not by ``types``: torch puts a plain Parameter there when it asks for an attribute.
    if not torch.compiler.is_compiling() and type(args[0]) in (Tensor, Parameter):
        context._names.add_part(args[0], part)
    return part


def _of_orthogonal(
    context: Acceleration, func: Function, types: Types, args: tuple[Any, ...], kwargs: Arguments
) -> Any:
    """Steps of ``orthogonal_`` that torch does not have for some DTensors."""
    try:
        return func(*args, **kwargs)
    except RuntimeError as error:
        if _overridden(types) and sys._getframe(2).f_code is _ORTHOGONAL:
            raise RuntimeError(
                "torch.nn.init.orthogonal_ cannot fill this tensor subclass: torch has no "
                f"{func.__name__} for it. fastinit.torch.init_module fills DTensors, by a recipe with "
                'Initializer("orthogonal")'
            ) from error
        raise


_ORTHOGONAL = torch.nn.init.orthogonal_.__code__
TAKEN: dict[Function, Taker] = {
    Tensor.normal_: _method({"mean": "mean", "std": "std"}, fastinit.normal),
    Tensor.uniform_: _method({"from": "low", "to": "high"}, fastinit.uniform),
    torch.randn: _factory(torch.empty, fastinit.normal),
    torch.rand: _factory(torch.empty, fastinit.uniform),
    torch.randn_like: _factory(torch.empty_like, fastinit.normal),
    torch.rand_like: _factory(torch.empty_like, fastinit.uniform),
    torch.normal: _take_normal,
    Tensor.data.__get__: _part,  # type: ignore[attr-defined]
    Tensor.detach: _part,
    torch.detach: _part,
    Tensor.t_: _of_orthogonal,
    torch.linalg.qr: _of_orthogonal,
    Tensor.data.__set__: _replaced,  # type: ignore[attr-defined]
    _compat.PARAMETERS_MOVE: _replaced,
}
# By the names of their arguments; see init_function.
_INIT_NAMES = {
    frozenset(("tensor", "a", "b", "generator")): "uniform_",
    frozenset(("tensor", "mean", "std", "generator")): "normal_",
    frozenset(("tensor", "a", "mode", "nonlinearity", "generator")): "kaiming_uniform_",
    frozenset(("tensor", "val")): "constant_",
}
_INIT: dict[str, Taker] = {
    "uniform_": _init_uniform,
    "normal_": _init_normal,
    "kaiming_uniform_": _init_kaiming,
    "constant_": _init_constant,
}
