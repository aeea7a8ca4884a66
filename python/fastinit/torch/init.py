"""``torch.nn.init``, name for name and argument for argument, with the values of fastinit.

    >>> import torch, fastinit.torch
    >>> w = torch.empty(256, 512)
    >>> _ = fastinit.torch.init.kaiming_normal_(w, nonlinearity="relu")           # follows torch.manual_seed
    >>> _ = fastinit.torch.init.kaiming_normal_(w, seed=0, stream="0.weight")     # by the parameter's name

This file knows which function of fastinit is which of torch's, and whose turn it is. It fills no memory itself.

Every function takes what torch's function of that name takes, warns as it does, writes in place as under
``torch.no_grad()``, raises the tensor's version counter, and returns the tensor. Besides:

seed
    int, 0 .. 2**64-1. Left out, ``torch.initial_seed()``, so that ``torch.manual_seed`` governs.
stream
    int, 0 .. 2**64-1, or a str such as the parameter's name. Left out, 0 with an explicit seed, else a number drawn
    from torch's default generator, so that calls differ.
generator
    A CPU generator in the place of torch's default one: its ``initial_seed()`` and a number drawn from it. Excludes
    seed and stream.

The bits are those of fastinit's function on an array of that shape, with the same seed and stream. Functions without
randomness take seed and stream too, so that all can be called alike.

torch's own function does what the core cannot: other devices and dtypes, tensor subclasses, calls that a mode wants to
see (``__torch_function__``, ``__torch_dispatch__``, ``torch.compile``), and parameters that fastinit refuses and torch
does not. With seed or stream given, all of these but the modes are a ValueError or TypeError instead.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.init import calculate_gain
from torch.utils._device import DeviceContext

import fastinit

from ._tensor import why_not, write

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]

# torch's functions as they were when this module came, whatever is put in their place later.
_torch = types.SimpleNamespace(**{name: getattr(torch.nn.init, name) for name in torch.nn.init.__all__})

_END = 2**64


def _watched() -> bool:
    """Whether a mode wants to see the call. (``with torch.device(...)`` is one that has no say here.)"""
    return torch._C._len_torch_dispatch_stack() > 0 or any(
        type(mode) is not DeviceContext
        for mode in torch.overrides._get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    )


def _drawn(generator: torch.Generator | None) -> int:
    """A number below 2**64 from the generator, or from torch's default one."""
    number = torch.empty((), dtype=torch.int64, device="cpu").random_(-(2**63), None, generator=generator)
    return int(number) % _END


def _key(generator: torch.Generator | None, seed: int | None, stream: int | str | None) -> dict[str, Any]:
    if generator is not None:
        return {"seed": generator.initial_seed() % _END, "stream": _drawn(generator)}
    if seed is not None:
        return {"seed": seed, "stream": stream}
    return {"seed": torch.initial_seed() % _END, "stream": _drawn(None) if stream is None else stream}


def _fill(
    tensor: Tensor,
    seed: int | None,
    stream: int | str | None,
    ours: Callable[..., Any],
    arguments: Mapping[str, object],
    theirs: Callable[[], Tensor],
    *,
    generator: torch.Generator | None = None,
    random: bool = True,
    warning: str | None = None,
) -> Tensor:
    """ours(array, **arguments), with a seed and a stream; or theirs()."""
    explicit = seed is not None or stream is not None
    if explicit and generator is not None:
        raise ValueError(
            "generator excludes seed and stream: give one of them; got "
            f"generator={generator!r}, seed={seed!r}, stream={stream!r}"
        )
    if torch.compiler.is_compiling() and not explicit:
        return theirs()
    if not isinstance(tensor, Tensor):
        if explicit:
            raise TypeError(f"tensor must be a torch.Tensor, got {type(tensor).__name__}")
        return theirs()
    reason = why_not(tensor)
    if explicit and reason is not None:
        raise ValueError(
            f"tensor {reason}. Without seed= and stream=, torch.nn.init's own function is called for such a tensor"
        )
    foreign = generator is not None and (not isinstance(generator, torch.Generator) or generator.device.type != "cpu")
    if reason is not None or foreign or (not explicit and _watched()):
        return theirs()
    if warning is not None:
        warnings.warn(warning, stacklevel=3)
    try:
        key = _key(generator, seed, stream) if random else {"seed": seed, "stream": stream}
        return write(tensor, lambda array: ours(array, **arguments, **key))
    except (TypeError, ValueError) as error:  # refused: nothing was written
        if explicit:
            raise type(error)(f"fastinit.{ours.__name__}: {error}") from None
        return theirs()


def uniform_(
    tensor: Tensor,
    a: float = 0.0,
    b: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """U(a, b), as ``fastinit.uniform``: never b itself, in any dtype."""
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.uniform,
        {"low": a, "high": b},
        lambda: _torch.uniform_(tensor, a, b, generator),
        generator=generator,
    )


def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """N(mean, std), as ``fastinit.normal``."""
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.normal,
        {"mean": mean, "std": std},
        lambda: _torch.normal_(tensor, mean, std, generator),
        generator=generator,
    )


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """N(mean, std) cut to [a, b], as ``fastinit.truncated_normal``: absolute bounds, one draw per element.

    Where torch warns that the distribution may be incorrect, so does this function; fastinit's is correct all the same.
    """
    far = mean < a - 2 * std or mean > b + 2 * std
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.truncated_normal,
        {"mean": mean, "std": std, "low": a, "high": b, "bounds": "absolute"},
        lambda: _torch.trunc_normal_(tensor, mean, std, a, b, generator),
        generator=generator,
        warning="mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
        "The distribution of values may be incorrect."
        if far
        else None,
    )


def constant_(tensor: Tensor, val: float, *, seed: int | None = None, stream: int | str | None = None) -> Tensor:
    """One value, as ``fastinit.constant``."""
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.constant,
        {"value": val},
        lambda: _torch.constant_(tensor, val),
        random=False,
    )


def ones_(tensor: Tensor, *, seed: int | None = None, stream: int | str | None = None) -> Tensor:
    """Ones, as ``fastinit.ones``."""
    return _fill(tensor, seed, stream, fastinit.ones, {}, lambda: _torch.ones_(tensor), random=False)


def zeros_(tensor: Tensor, *, seed: int | None = None, stream: int | str | None = None) -> Tensor:
    """Zeros, as ``fastinit.zeros``."""
    return _fill(tensor, seed, stream, fastinit.zeros, {}, lambda: _torch.zeros_(tensor), random=False)


def eye_(tensor: Tensor, *, seed: int | None = None, stream: int | str | None = None) -> Tensor:
    """The identity matrix, as ``fastinit.identity``."""
    return _fill(tensor, seed, stream, fastinit.identity, {}, lambda: _torch.eye_(tensor), random=False)


def dirac_(tensor: Tensor, groups: int = 1, *, seed: int | None = None, stream: int | str | None = None) -> Tensor:
    """The kernel that passes its inputs on, as ``fastinit.dirac``."""
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.dirac,
        {"groups": groups},
        lambda: _torch.dirac_(tensor, groups),
        random=False,
    )


def xavier_uniform_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """U(-b, b), b = gain sqrt(6 / (fan_in + fan_out)), as ``fastinit.xavier_uniform``."""
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.xavier_uniform,
        {"gain": gain, "layout": "torch"},
        lambda: _torch.xavier_uniform_(tensor, gain, generator),
        generator=generator,
    )


def xavier_normal_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """N(0, gain sqrt(2 / (fan_in + fan_out))), as ``fastinit.xavier_normal``."""
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.xavier_normal,
        {"gain": gain, "layout": "torch"},
        lambda: _torch.xavier_normal_(tensor, gain, generator),
        generator=generator,
    )


def _kaiming(
    tensor: Tensor,
    seed: int | None,
    stream: int | str | None,
    ours: Callable[..., Any],
    slope: float | None,
    mode: str,
    nonlinearity: str,
    theirs: Callable[[], Tensor],
    generator: torch.Generator | None,
) -> Tensor:
    if type(tensor) in (Tensor, torch.nn.Parameter) and 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return tensor
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):  # fastinit knows more of them; torch says no
        return theirs()
    if nonlinearity != "leaky_relu":
        slope = 0.0  # torch looks at it for leaky_relu alone
    elif slope is None:
        slope = 0.01
    arguments = {"a": slope, "mode": mode, "nonlinearity": nonlinearity, "layout": "torch"}
    return _fill(tensor, seed, stream, ours, arguments, theirs, generator=generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """U(-b, b), b = gain sqrt(3 / fan), as ``fastinit.he_uniform``."""
    return _kaiming(
        tensor,
        seed,
        stream,
        fastinit.he_uniform,
        a,
        mode,
        nonlinearity,
        lambda: _torch.kaiming_uniform_(tensor, a, mode, nonlinearity, generator),
        generator,
    )


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """N(0, gain / sqrt(fan)), as ``fastinit.he_normal``."""
    return _kaiming(
        tensor,
        seed,
        stream,
        fastinit.he_normal,
        a,
        mode,
        nonlinearity,
        lambda: _torch.kaiming_normal_(tensor, a, mode, nonlinearity, generator),
        generator,
    )


def orthogonal_(
    tensor: Tensor,
    gain: float = 1,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """A random matrix with orthonormal rows or columns, as ``fastinit.orthogonal``: in float64, any dtype."""
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.orthogonal,
        {"gain": gain},
        lambda: _torch.orthogonal_(tensor, gain, generator),
        generator=generator,
    )


def sparse_(
    tensor: Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """N(0, std) with ceil(sparsity * rows) zeros in each column, as ``fastinit.sparse``."""
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.sparse,
        {"sparsity": sparsity, "std": std},
        lambda: _torch.sparse_(tensor, sparsity, std, generator),
        generator=generator,
    )


def _deprecated(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function under its name without underscore, which torch keeps with a warning."""
    new = function.__name__
    old = new[:-1]

    def alias(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.", FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    alias.__name__ = alias.__qualname__ = old
    alias.__doc__ = f"Deprecated, as in torch: ``{new}``."
    return alias


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
