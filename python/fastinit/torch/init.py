"""``torch.nn.init``, name for name and argument for argument, with fastinit's
values.

    >>> import torch, fastinit.torch
    >>> init = fastinit.torch.init
    >>> w1, w2 = torch.empty(256, 512), torch.empty(256, 256)

Without a seed, ``torch.manual_seed`` governs, and no two calls draw the same:

    >>> _ = torch.manual_seed(0)
    >>> _ = init.kaiming_normal_(w1, nonlinearity="relu")
    >>> _ = init.kaiming_normal_(w2, nonlinearity="relu")

Or by a seed and the parameter's name, whatever was drawn before:

    >>> _ = init.kaiming_normal_(w1, seed=0, stream="0.weight")
    >>> _ = init.kaiming_normal_(w2, seed=0, stream="1.weight")

Every function takes what torch's function of that name takes, warns as it
does, writes in place as under ``torch.no_grad()``, tells autograd, and returns
the tensor. All of them take two more arguments, which change nothing where
nothing is drawn:

seed : int, optional
    0 .. 2**64-1. By default ``torch.initial_seed()``, which
    ``torch.manual_seed`` sets.
stream : int or str, optional
    A number, 0 .. 2**64-1, or a name, such as that of the parameter. By
    default 0 with a seed: two tensors of one shape and seed are equal. Without
    a seed, a number drawn from torch's default generator, so that calls
    differ.

``generator``, if it is a CPU generator, takes the place of torch's default
one: its ``initial_seed()`` is the seed, and the stream is drawn from it. It
excludes ``seed`` and ``stream``.

Bits: the values are those of the fastinit function that each docstring names,
on an array of that shape, with the same seed and stream.

torch's own function is called where fastinit's cannot do the work: for other
devices and dtypes, tensor subclasses, arguments that fastinit refuses and
torch takes, and where torch records or transforms the call (``torch.compile``,
``torch.jit.trace``, vmap, forward-mode gradients, function and dispatch
modes). With ``seed`` or ``stream`` given, torch's function is not called: what
fastinit cannot fill, or what would be lost (under ``torch.jit.trace``,
``make_fx``, ``torch.export``, in a dual tensor, in a tensor that vmap has
wrapped, in a weight that a parametrization computes), is an error. A call that
``torch.compile`` leaves to Python, one on a plain tensor under vmap or in a
dual level, and one under modes that merely watch fill as ever; under
``torch.compile(fullgraph=True)``, torch's compiler refuses the call.
"""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.init import calculate_gain

import fastinit
from fastinit._arguments import documented

from ._generator import seed_of, word_of
from ._tensor import lost, vanishes, watched, why_not, write

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


@documented
def __dir__() -> list[str]:
    return sorted(__all__)


def _key(generator: torch.Generator | None, seed: int | None, stream: int | str | None) -> dict[str, Any]:
    if seed is not None:
        return {"seed": seed, "stream": stream}
    return {"seed": seed_of(generator), "stream": word_of(generator) if stream is None else stream}


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
    if not explicit and watched(by_modes=True):
        return theirs()
    if not isinstance(tensor, Tensor):
        if explicit:
            raise TypeError(f"tensor must be a torch.Tensor, got {type(tensor).__name__}")
        return theirs()
    reason = why_not(tensor)
    if explicit and (reason := reason or lost(tensor)) is not None:
        raise ValueError(f"tensor {reason}. Without seed= and stream=, torch.nn.init's own function does the work")
    why_lost = None if reason else vanishes(tensor)
    if explicit and why_lost is not None:
        raise ValueError(f"tensor {why_lost}")
    foreign = generator is not None and (not isinstance(generator, torch.Generator) or generator.device.type != "cpu")
    if reason is not None or why_lost is not None or foreign:
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


@documented
def uniform_(
    tensor: Tensor,
    a: float = 0.0,
    b: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """U(a, b): never b itself, in any dtype.

    As ``torch.nn.init.uniform_``, with ``seed`` and ``stream``; ``seed=``
    alone means stream 0: see ``help(fastinit.torch.init)``. Bits: the
    values are those of ``fastinit.uniform``.
    """
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.uniform,
        {"low": a, "high": b},
        lambda: _torch.uniform_(tensor, a, b, generator),
        generator=generator,
    )


@documented
def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """N(mean, std).

    As ``torch.nn.init.normal_``, with ``seed`` and ``stream``; ``seed=``
    alone means stream 0: see ``help(fastinit.torch.init)``. Bits: the
    values are those of ``fastinit.normal``.
    """
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.normal,
        {"mean": mean, "std": std},
        lambda: _torch.normal_(tensor, mean, std, generator),
        generator=generator,
    )


@documented
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
    """N(mean, std), cut to [a, b], which are absolute bounds.

    As ``torch.nn.init.trunc_normal_``, with ``seed`` and ``stream``;
    ``seed=`` alone means stream 0: see ``help(fastinit.torch.init)``.
    Bits: the values are those of ``fastinit.truncated_normal`` with
    ``bounds="absolute"``.

    One draw per element, exact for any window. Where torch warns that the
    distribution may be incorrect, so does this function, although it is not.
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


@documented
def constant_(tensor: Tensor, val: float, *, seed: int | None = None, stream: int | str | None = None) -> Tensor:
    """One value, val.

    As ``torch.nn.init.constant_``, with ``seed`` and ``stream``, which
    change nothing. Bits: the values are those of ``fastinit.constant``.
    """
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.constant,
        {"value": val},
        lambda: _torch.constant_(tensor, val),
        random=False,
    )


@documented
def ones_(tensor: Tensor, *, seed: int | None = None, stream: int | str | None = None) -> Tensor:
    """Ones.

    As ``torch.nn.init.ones_``, with ``seed`` and ``stream``, which change
    nothing. Bits: the values are those of ``fastinit.ones``.
    """
    return _fill(tensor, seed, stream, fastinit.ones, {}, lambda: _torch.ones_(tensor), random=False)


@documented
def zeros_(tensor: Tensor, *, seed: int | None = None, stream: int | str | None = None) -> Tensor:
    """Zeros.

    As ``torch.nn.init.zeros_``, with ``seed`` and ``stream``, which change
    nothing. Bits: the values are those of ``fastinit.zeros``.
    """
    return _fill(tensor, seed, stream, fastinit.zeros, {}, lambda: _torch.zeros_(tensor), random=False)


@documented
def eye_(tensor: Tensor, *, seed: int | None = None, stream: int | str | None = None) -> Tensor:
    """The identity matrix.

    As ``torch.nn.init.eye_``, with ``seed`` and ``stream``, which change
    nothing. Bits: the values are those of ``fastinit.identity``.
    """
    return _fill(tensor, seed, stream, fastinit.identity, {}, lambda: _torch.eye_(tensor), random=False)


@documented
def dirac_(tensor: Tensor, groups: int = 1, *, seed: int | None = None, stream: int | str | None = None) -> Tensor:
    """The convolution kernel that passes its inputs on.

    As ``torch.nn.init.dirac_``, with ``seed`` and ``stream``, which change
    nothing. Bits: the values are those of ``fastinit.dirac`` with
    ``layout="torch"``.
    """
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.dirac,
        {"groups": groups, "layout": "torch"},
        lambda: _torch.dirac_(tensor, groups),
        random=False,
    )


@documented
def xavier_uniform_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """U(-b, b), b = gain sqrt(6 / (fan_in + fan_out)).

    As ``torch.nn.init.xavier_uniform_``, with ``seed`` and ``stream``;
    ``seed=`` alone means stream 0: see ``help(fastinit.torch.init)``.
    Bits: the values are those of ``fastinit.xavier_uniform`` with
    ``layout="torch"``.
    """
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.xavier_uniform,
        {"gain": gain, "layout": "torch"},
        lambda: _torch.xavier_uniform_(tensor, gain, generator),
        generator=generator,
    )


@documented
def xavier_normal_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """N(0, std), std = gain sqrt(2 / (fan_in + fan_out)).

    As ``torch.nn.init.xavier_normal_``, with ``seed`` and ``stream``;
    ``seed=`` alone means stream 0: see ``help(fastinit.torch.init)``.
    Bits: the values are those of ``fastinit.xavier_normal`` with
    ``layout="torch"``.
    """
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


@documented
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
    """U(-b, b), b = gain sqrt(3 / fan).

    As ``torch.nn.init.kaiming_uniform_``, with ``seed`` and ``stream``;
    ``seed=`` alone means stream 0: see ``help(fastinit.torch.init)``.
    Bits: the values are those of ``fastinit.he_uniform`` with
    ``layout="torch"``.
    """
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


@documented
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
    """N(0, std), std = gain / sqrt(fan).

    As ``torch.nn.init.kaiming_normal_``, with ``seed`` and ``stream``;
    ``seed=`` alone means stream 0: see ``help(fastinit.torch.init)``.
    Bits: the values are those of ``fastinit.he_normal`` with
    ``layout="torch"``.
    """
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


@documented
def orthogonal_(
    tensor: Tensor,
    gain: float = 1,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """A random matrix with orthonormal rows or columns, times gain.

    As ``torch.nn.init.orthogonal_``, with ``seed`` and ``stream``;
    ``seed=`` alone means stream 0: see ``help(fastinit.torch.init)``.
    Bits: the values are those of ``fastinit.orthogonal`` with
    ``layout="torch"``.

    It is computed in float64 and takes float16 and bfloat16 too.
    """
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.orthogonal,
        {"gain": gain, "layout": "torch"},
        lambda: _torch.orthogonal_(tensor, gain, generator),
        generator=generator,
    )


@documented
def sparse_(
    tensor: Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: torch.Generator | None = None,
    *,
    seed: int | None = None,
    stream: int | str | None = None,
) -> Tensor:
    """N(0, std), with ceil(sparsity * rows) zeros in each column.

    As ``torch.nn.init.sparse_``, with ``seed`` and ``stream``; ``seed=``
    alone means stream 0: see ``help(fastinit.torch.init)``. Bits: the
    values are those of ``fastinit.sparse``.
    """
    return _fill(
        tensor,
        seed,
        stream,
        fastinit.sparse,
        {"sparsity": sparsity, "std": std},
        lambda: _torch.sparse_(tensor, sparsity, std, generator),
        generator=generator,
    )


def _under_old_name(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function under its old name, without underscore, which torch keeps with a warning."""
    new = function.__name__
    old = new[:-1]

    def alias(*args: Any, **kwargs: Any) -> Tensor:
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.", FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    alias.__name__ = alias.__qualname__ = old
    alias.__doc__ = f"Deprecated, as in torch: ``{new}``."
    return alias


uniform = _under_old_name(uniform_)
normal = _under_old_name(normal_)
constant = _under_old_name(constant_)
eye = _under_old_name(eye_)
dirac = _under_old_name(dirac_)
xavier_uniform = _under_old_name(xavier_uniform_)
xavier_normal = _under_old_name(xavier_normal_)
kaiming_uniform = _under_old_name(kaiming_uniform_)
kaiming_normal = _under_old_name(kaiming_normal_)
orthogonal = _under_old_name(orthogonal_)
sparse = _under_old_name(sparse_)
