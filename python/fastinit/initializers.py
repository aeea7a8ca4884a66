"""The named initialisers: which distribution, which gain, which fan.

This file knows names, formulas and how a shape is read. It knows no bits, no arrays' memory and no threads: every
function ends in one call of the compiled core, which checks the rest and does all rounding arithmetic, so that a
caller's foreign floating-point environment cannot change a bit. Formulas and their order of operations:
docs/stream-format.md, "Named initialisers". The arguments that all functions share are described once, in
``help(fastinit)``.
"""

from __future__ import annotations

import functools
import math
import operator
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core

if TYPE_CHECKING:
    from typing_extensions import Buffer as Buffer
else:
    Buffer = Any  # of Python 3.12


class Tensor(Protocol):
    """Whatever speaks DLPack: a tensor of PyTorch, an array of CuPy and so on. The memory has to be the CPU's."""

    def __dlpack__(self, *args: Any, **arguments: Any) -> Any: ...  # noqa: D105
    def __dlpack_device__(self) -> tuple[Any, Any]: ...  # noqa: D105


ArrayT = TypeVar("ArrayT", bound="NDArray[Any] | Tensor | Buffer")
Real: TypeAlias = float | np.floating[Any] | np.integer[Any]
Integer: TypeAlias = int | np.integer[Any]
Integers: TypeAlias = Sequence[Integer]
Axes: TypeAlias = Integer | Integers
Layout: TypeAlias = Literal["torch", "keras"]
Mode: TypeAlias = Literal["fan_in", "fan_out", "fan_avg", "fan_geo"]
Rng: TypeAlias = Literal["ars", "philox"]

_UNIFORM, _NORMAL, _TRUNCATED, _TRUNCATED_STD = _core.UNIFORM, _core.NORMAL, _core.TRUNCATED, _core.TRUNCATED_STD

# The core checks what it gets at run time, and takes more types than its stub names: NumPy's scalars too.
_fill: Callable[..., None] = _core.fill
_fill_scaled: Callable[..., None] = _core.fill_scaled

# Integers below this are float64 values, and so is the sum of two of them.
_EXACT = 2**52

# Defaults under a name: `x is DEFAULT` costs next to nothing and is safe with whatever a caller passes.
_FAN_IN: Mode = "fan_in"
_FAN_AVG: Mode = "fan_avg"
_LEAKY_RELU = "leaky_relu"
_ABSOLUTE: Literal["absolute", "std"] = "absolute"
_NO_SLOPE = 0.0
_ONE = 1.0

# Gains of nonlinearities without a slope. sqrt(2), 5/3 and 3/4 as float64; 3/4 is PyTorch's choice for selu, where
# self-normalisation proper (Klambauer et al. 2017) wants 1, that is lecun_normal.
_GAINS: dict[str, float] = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 1.6666666666666667,
    "relu": 1.4142135623730951,
    "selu": 0.75,
}
_NONLINEARITIES = (_LEAKY_RELU, *_GAINS)
_MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo")
_DISTRIBUTIONS = {"normal": _NORMAL, "uniform": _UNIFORM, "truncated_normal": _TRUNCATED_STD}
_BOUNDS = {"absolute": _TRUNCATED, "std": _TRUNCATED_STD}
_LAYOUTS = ("torch", "keras")
_DTYPES = ("float32", "float64", "float16", "bfloat16", "uint32", "uint64")


# --- arguments ------------------------------------------------------------------------------------------------------


def _came(value: object) -> str:
    """What came, for an error message: short, on one line, and printable."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = ascii(value).replace("\n", " ")
    return text if len(text) <= 80 else text[:77] + "..."


def _typed(value: object) -> str:
    """The same where the type is what is wrong."""
    return f"{_came(value)} of type {type(value).__name__}"


def _given(**arguments: object) -> str:
    """The arguments that are not None, for an error message."""
    return ", ".join(f"{name}={_came(value)}" for name, value in arguments.items() if value is not None) or "nothing"


def _choice(name: str, value: object, allowed: Sequence[str]) -> None:
    if isinstance(value, str) and value in allowed:
        return
    wanted = f"{name} must be one of {', '.join(map(repr, allowed))}"
    if isinstance(value, str):
        raise ValueError(f"{wanted}, got {_came(value)}")
    raise TypeError(f"{wanted}, got {_typed(value)}")


def _positive(name: str, value: object) -> float:
    wanted = "a finite real number > 0"
    number = _core.real(value, name, wanted)
    if number <= 0.0:
        raise ValueError(f"{name} must be {wanted}, got {_came(value)}")
    return number


def _not_negative(name: str, value: object) -> float:
    wanted = "a finite real number >= 0"
    number = _core.real(value, name, wanted)
    if number < 0.0:
        raise ValueError(f"{name} must be {wanted}, got {_came(value)}")
    return number


def _integer(value: object) -> int:
    if isinstance(value, bool | np.bool_):
        raise TypeError
    return operator.index(value)  # type: ignore[arg-type]


def _integers(name: str, value: object) -> tuple[int, ...]:
    try:
        return tuple(map(_integer, value))  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"{name} must be a sequence of ints, got {_typed(value)}") from None


def _normal_form(truncated: object) -> int:
    if not isinstance(truncated, bool | np.bool_):
        raise TypeError(f"truncated must be True or False, got {_typed(truncated)}")
    return _TRUNCATED_STD if truncated else _NORMAL


@functools.lru_cache(maxsize=4096)
def _stream_of(name: str) -> int:
    """The stream that a name stands for."""
    import hashlib  # here, because it takes longer to import than all of fastinit

    try:
        text = name.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"stream must be a str that can be encoded in UTF-8, or an int, got {_came(name)}") from None
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, usedforsecurity=False).digest(), "little")


_core.name_streams(_stream_of)


# --- fans -----------------------------------------------------------------------------------------------------------


def _axis_set(name: str, value: object, n_dims: int) -> tuple[int, ...]:
    try:
        given = (_integer(value),)
    except TypeError:
        try:
            given = tuple(map(_integer, value))  # type: ignore[call-overload]
        except TypeError:
            raise TypeError(f"{name} must be an int or a sequence of ints, got {_typed(value)}") from None
    for axis in given:
        if not -n_dims <= axis < n_dims:
            raise ValueError(
                f"{name} must lie in {-n_dims} .. {n_dims - 1} for an array of {n_dims} dimensions, got {_came(value)}"
            )
    return tuple(axis % n_dims for axis in given)


def _read_shape(
    shape: tuple[int, ...], layout: object, in_axis: object, out_axis: object, batch_axis: object
) -> tuple[int, int]:
    """fan_in and fan_out of a shape."""
    n_dims = len(shape)
    if layout is not None:
        _choice("layout", layout, _LAYOUTS)
        if in_axis is not None or out_axis is not None or batch_axis is not None:
            raise ValueError(
                "layout and in_axis, out_axis, batch_axis exclude each other: give one way to read the shape; got "
                + _given(layout=layout, in_axis=in_axis, out_axis=out_axis, batch_axis=batch_axis)
            )
        if layout == "torch":
            if n_dims < 2:
                raise ValueError(
                    f"layout='torch' reads a shape as (out, in, *kernel) and needs at least 2 dimensions; got shape "
                    f"{shape}: give the fans themselves"
                )
            field = math.prod(shape[2:])
            return shape[1] * field, shape[0] * field
        if n_dims < 2:
            n = math.prod(shape)
            return n, n
        field = math.prod(shape[:-2])
        return shape[-2] * field, shape[-1] * field
    if in_axis is None or out_axis is None:
        raise ValueError(
            "in_axis and out_axis must be given together, with or without batch_axis; got "
            + _given(in_axis=in_axis, out_axis=out_axis, batch_axis=batch_axis)
        )
    ins = _axis_set("in_axis", in_axis, n_dims)
    outs = _axis_set("out_axis", out_axis, n_dims)
    batch = () if batch_axis is None else _axis_set("batch_axis", batch_axis, n_dims)
    named = ins + outs + batch
    if len(set(named)) != len(named):
        raise ValueError(
            f"in_axis, out_axis and batch_axis must name each of the {n_dims} axes at most once; got "
            + _given(in_axis=in_axis, out_axis=out_axis, batch_axis=batch_axis)
        )
    field = math.prod(shape[axis] for axis in range(n_dims) if axis not in named)
    return math.prod(shape[axis] for axis in ins) * field, math.prod(shape[axis] for axis in outs) * field


def _fans_missing(needed: str, fan_in: object, fan_out: object) -> NoReturn:
    raise ValueError(
        f"{needed} is needed and was not given; got {_given(fan_in=fan_in, fan_out=fan_out)}: give {needed}=, or say "
        "how to read the shape, with layout='torch' (out, in, *kernel), layout='keras' (*kernel, in, out), or in_axis= "
        "and out_axis="
    )


def _fan(
    out: object,
    mode: object,
    fan_in: object,
    fan_out: object,
    layout: object,
    in_axis: object,
    out_axis: object,
    batch_axis: object,
    global_shape: object,
) -> float:
    """The n of variance scale / n, for whatever the caller gave."""
    described = True
    if layout is None and in_axis is None and out_axis is None and batch_axis is None:
        if type(fan_in) is int and 0 < fan_in < _EXACT:  # the usual calls, without detours
            if fan_out is None and mode is _FAN_IN:
                return fan_in
            if type(fan_out) is int and 0 < fan_out < _EXACT and mode is _FAN_AVG:
                return (fan_in + fan_out) / 2
        described = False
    _choice("mode", mode, _MODES)
    if described and (fan_in is not None or fan_out is not None):
        raise ValueError(
            "explicit fans (fan_in, fan_out) and a way to read the shape (layout, in_axis, out_axis, batch_axis) "
            "exclude each other: give one of the two; got "
            + _given(
                fan_in=fan_in,
                fan_out=fan_out,
                layout=layout,
                in_axis=in_axis,
                out_axis=out_axis,
                batch_axis=batch_axis,
            )
        )
    x = y = 0.0
    if described:
        shape = out.shape if isinstance(out, np.ndarray) else _core.shape(out)
        if global_shape is not None:
            n_dims = len(shape)
            shape = _integers("global_shape", global_shape)
            if len(shape) != n_dims or min(shape, default=0) < 0:
                raise ValueError(
                    f"global_shape must hold one int >= 0 for each of the {n_dims} dimensions of out, got {shape}"
                )
        x, y = _read_shape(shape, layout, in_axis, out_axis, batch_axis)
        if x > 2**63 or y > 2**63:
            raise ValueError(f"global_shape must have at most 2**63 elements, got {_came(global_shape)}")
    else:
        if fan_in is not None:
            x = _positive("fan_in", fan_in)
        elif mode != "fan_out":
            _fans_missing("fan_in", fan_in, fan_out)
        if fan_out is not None:
            y = _positive("fan_out", fan_out)
        elif mode != "fan_in":
            _fans_missing("fan_out", fan_in, fan_out)
    if mode == "fan_in":
        n = x
    elif mode == "fan_out":
        n = y
    elif mode == "fan_avg":
        n = _core.arithmetic_mean(x, y)
    else:
        n = _core.geometric_mean(x, y)
    if described:
        return n or 1.0  # Of 0 elements: any n will do, and the core still checks everything else.
    if not 0.0 < n < math.inf:
        raise ValueError(
            f"fan_in and fan_out must have a mean within the range of float64 for mode={mode!r}; got "
            + _given(fan_in=fan_in, fan_out=fan_out)
        )
    return n


# --- gains ----------------------------------------------------------------------------------------------------------


def _slope_scale(a: object) -> float:
    """2 / (1 + a a)."""
    wanted = "a finite real number whose square is finite"
    scale = _core.slope_scale(_core.real(a, "a", wanted))
    if scale == 0.0:
        raise ValueError(f"a must be {wanted}, got {_came(a)}")
    return scale


def _he_gain(a: object, nonlinearity: object, gain: object) -> tuple[float, float]:
    """gain and scale of the he initialisers."""
    _choice("nonlinearity", nonlinearity, _NONLINEARITIES)
    scale = _slope_scale(a)
    if gain is not None:
        if nonlinearity != _LEAKY_RELU or a != 0.0:
            raise ValueError(
                "gain excludes a and nonlinearity: give the gain or what it follows from; got "
                + _given(gain=gain, a=a, nonlinearity=nonlinearity)
            )
        return _not_negative("gain", gain), 1.0
    if nonlinearity == _LEAKY_RELU:
        return 1.0, scale
    if a != 0.0:
        _slope_refused(a, nonlinearity)
    if nonlinearity == "relu":
        return 1.0, 2.0
    return _GAINS[nonlinearity], 1.0  # type: ignore[index]


def _slope_refused(a: object, nonlinearity: object) -> NoReturn:
    raise ValueError(
        f"a is the negative slope of nonlinearity='leaky_relu' and {nonlinearity!r} has none: leave a out; got "
        f"a={_came(a)}"
    )


def calculate_gain(nonlinearity: str, a: Real | None = None) -> float:
    """The recommended gain of a nonlinearity, as in PyTorch.

    linear, conv1d .. conv3d, conv_transpose1d .. conv_transpose3d and sigmoid 1; tanh 5/3; relu sqrt(2);
    leaky_relu sqrt(2 / (1 + a^2)); selu 3/4.

    Args:
        nonlinearity: one of the names above.
        a: negative slope, for leaky_relu only; 0.01 if left out.

    Returns:
        The gain, a float without unit: the factor on the standard deviation.

    Raises:
        TypeError: nonlinearity is not a str, a is not a real number.
        ValueError: nonlinearity is unknown; a is not finite, or so large that a^2 is not; a is given for another
            nonlinearity than leaky_relu.

    Bits:
        The same float64 on every machine, in every rounding mode.

    Paper:
        He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015 (relu, leaky_relu); the others are PyTorch's.

    Example:
        >>> import fastinit
        >>> fastinit.calculate_gain("relu")
        1.4142135623730951
        >>> fastinit.calculate_gain("leaky_relu", 1.0)
        1.0
    """
    _choice("nonlinearity", nonlinearity, _NONLINEARITIES)
    if nonlinearity == _LEAKY_RELU:
        return _core.square_root(_slope_scale(0.01 if a is None else a))
    if a is not None:
        _slope_refused(a, nonlinearity)
    return _GAINS[nonlinearity]


# --- initialisers ---------------------------------------------------------------------------------------------------


def xavier_uniform(
    out: ArrayT,
    fan_in: Real | None = None,
    fan_out: Real | None = None,
    *,
    gain: Real = _ONE,
    layout: Layout | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes | None = None,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with Xavier (Glorot) uniform weights: U(-b, b), b = gain sqrt(6 / (fan_in + fan_out)).

    Also called ``glorot_uniform``. Variance 2 gain^2 / (fan_in + fan_out).

    Args:
        out: the array to fill.
        fan_in, fan_out: inputs and outputs of a unit.
        gain: factor on the bound, a finite real number >= 0; see ``calculate_gain``.

        For layout, in_axis, out_axis, batch_axis, seed, stream, global_shape, offset, threads, rng: ``help(fastinit)``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: gain is not a finite real number >= 0; the fans are neither given nor described, or are
            both; an argument breaks its rule in ``help(fastinit)``.

    Bits:
        A function of seed, stream, index, dtype, gain and fans alone. Every value is in [-b, b) after rounding.

    Paper:
        Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.

    Example:
        >>> import numpy as np, fastinit
        >>> w = fastinit.xavier_uniform(np.empty((300, 500), np.float32), 300, 500, seed=1, stream="w")
        >>> round(float(w.std() / (2 / 800) ** 0.5), 1)
        1.0
        >>> half = np.empty((150, 500), np.float32)
        >>> half = fastinit.xavier_uniform(
        ...     half, 300, 500, seed=1, stream="w", global_shape=(300, 500), offset=(150, 0)
        ... )
        >>> np.array_equal(half, w[150:])
        True
    """
    n = _fan(out, _FAN_AVG, fan_in, fan_out, layout, in_axis, out_axis, batch_axis, global_shape)
    g = _ONE if gain is _ONE else _not_negative("gain", gain)
    _fill_scaled(out, _UNIFORM, g, 1.0, n, seed, stream, global_shape, offset, threads, rng)
    return out


def xavier_normal(
    out: ArrayT,
    fan_in: Real | None = None,
    fan_out: Real | None = None,
    *,
    gain: Real = _ONE,
    truncated: bool = False,
    layout: Layout | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes | None = None,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with Xavier (Glorot) normal weights: N(0, std), std = gain sqrt(2 / (fan_in + fan_out)).

    Also called ``glorot_normal``. The plain normal of the paper and PyTorch, unless ``truncated``.

    Args:
        out: the array to fill.
        fan_in, fan_out: inputs and outputs of a unit.
        gain: factor on the standard deviation, a finite real number >= 0; see ``calculate_gain``.
        truncated: True for the form of Keras, TensorFlow and JAX: a normal cut at +-2 of its own standard deviations,
            which is std / 0.87962566103423978, so that the cut one has standard deviation std.

        For layout, in_axis, out_axis, batch_axis, seed, stream, global_shape, offset, threads, rng: ``help(fastinit)``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: gain is not a finite real number >= 0; truncated is not a bool; the fans are neither
            given nor described, or are both; an argument breaks its rule in ``help(fastinit)``.

    Bits:
        A function of seed, stream, index, dtype, gain, fans and truncated alone. Truncated values keep their bounds
        after rounding.

    Paper:
        Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.

    Example:
        >>> import numpy as np, fastinit
        >>> w = fastinit.xavier_normal(np.empty((300, 500), np.float32), layout="torch", seed=1, stream="w")
        >>> round(float(w.std() / (2 / 800) ** 0.5), 1)
        1.0
        >>> cut = fastinit.xavier_normal(np.empty((300, 500)), 300, 500, truncated=True, seed=1)
        >>> bool(abs(cut).max() <= 2 * (2 / 800) ** 0.5 / 0.879)
        True
    """
    n = _fan(out, _FAN_AVG, fan_in, fan_out, layout, in_axis, out_axis, batch_axis, global_shape)
    g = _ONE if gain is _ONE else _not_negative("gain", gain)
    form = _NORMAL if truncated is False else _normal_form(truncated)
    _fill_scaled(out, form, g, 1.0, n, seed, stream, global_shape, offset, threads, rng)
    return out


def he_uniform(
    out: ArrayT,
    fan_in: Real | None = None,
    *,
    fan_out: Real | None = None,
    a: Real = _NO_SLOPE,
    nonlinearity: str = _LEAKY_RELU,
    mode: Mode = _FAN_IN,
    gain: Real | None = None,
    layout: Layout | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes | None = None,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with He (Kaiming) uniform weights: U(-b, b), b = gain sqrt(3 / n), gain = sqrt(2 / (1 + a^2)).

    Also called ``kaiming_uniform``. With the defaults b = sqrt(6 / fan_in), for layers followed by a ReLU; a = sqrt(5)
    is the default dense and convolution layer of PyTorch, U(-1 / sqrt(fan_in), 1 / sqrt(fan_in)).

    Args:
        out: the array to fill.
        fan_in, fan_out: inputs and outputs of a unit; ``mode`` says which of them are needed.
        a: negative slope of the leaky ReLU that follows, a finite real number; 0 is the ReLU.
        nonlinearity: a name that ``calculate_gain`` knows; its gain is used. a belongs to "leaky_relu" alone.
        mode: n is "fan_in" (keeps the variance of activations), "fan_out" (that of gradients), "fan_avg", their mean,
            or "fan_geo", their geometric mean.
        gain: the factor on the bound itself, a finite real number >= 0, instead of a and nonlinearity.

        For layout, in_axis, out_axis, batch_axis, seed, stream, global_shape, offset, threads, rng: ``help(fastinit)``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: a is not a finite real number with a finite square; nonlinearity or mode is unknown; a is
            not 0 with another nonlinearity than leaky_relu; gain is not a finite real number >= 0, or comes with an a
            or a nonlinearity other than the defaults; the fans are neither given nor described, or are both; an
            argument breaks its rule in ``help(fastinit)``.

    Bits:
        A function of seed, stream, index, dtype, gain and fans alone. Every value is in [-b, b) after rounding.

    Paper:
        He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet
        classification", 2015.

    Example:
        >>> import numpy as np, fastinit
        >>> w = fastinit.he_uniform(np.empty((64, 3, 7, 7), np.float32), layout="torch", a=5 ** 0.5, seed=1)
        >>> bound = 1 / (3 * 7 * 7) ** 0.5
        >>> bool(abs(w).max() < bound), round(float(w.std() / bound * 3 ** 0.5), 1)
        (True, 1.0)
        >>> part = np.empty((4, 3, 7, 7), np.float32)
        >>> part = fastinit.he_uniform(
        ...     part, layout="torch", a=5 ** 0.5, seed=1, global_shape=w.shape, offset=(60, 0, 0, 0)
        ... )
        >>> np.array_equal(part, w[60:])
        True
    """
    if gain is not None or a is not _NO_SLOPE or nonlinearity is not _LEAKY_RELU:
        g, scale = _he_gain(a, nonlinearity, gain)
    else:
        g = 1.0
        scale = 2.0
    n = _fan(out, mode, fan_in, fan_out, layout, in_axis, out_axis, batch_axis, global_shape)
    _fill_scaled(out, _UNIFORM, g, scale, n, seed, stream, global_shape, offset, threads, rng)
    return out


def he_normal(
    out: ArrayT,
    fan_in: Real | None = None,
    *,
    fan_out: Real | None = None,
    a: Real = _NO_SLOPE,
    nonlinearity: str = _LEAKY_RELU,
    mode: Mode = _FAN_IN,
    gain: Real | None = None,
    truncated: bool = False,
    layout: Layout | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes | None = None,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with He (Kaiming) normal weights: N(0, std), std = gain / sqrt(n), gain = sqrt(2 / (1 + a^2)).

    Also called ``kaiming_normal``. With the defaults std = sqrt(2 / fan_in), for layers followed by a ReLU. The plain
    normal of the paper and PyTorch, unless ``truncated``.

    Args:
        out: the array to fill.
        fan_in, fan_out: inputs and outputs of a unit; ``mode`` says which of them are needed.
        a: negative slope of the leaky ReLU that follows, a finite real number; 0 is the ReLU.
        nonlinearity: a name that ``calculate_gain`` knows; its gain is used. a belongs to "leaky_relu" alone.
        mode: n is "fan_in" (keeps the variance of activations), "fan_out" (that of gradients), "fan_avg", their mean,
            or "fan_geo", their geometric mean.
        gain: the factor itself, a finite real number >= 0, instead of a and nonlinearity.
        truncated: True for the form of Keras, TensorFlow and JAX: a normal cut at +-2 of its own standard deviations,
            which is std / 0.87962566103423978, so that the cut one has standard deviation std.

        For layout, in_axis, out_axis, batch_axis, seed, stream, global_shape, offset, threads, rng: ``help(fastinit)``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: a is not a finite real number with a finite square; nonlinearity or mode is unknown; a is
            not 0 with another nonlinearity than leaky_relu; gain is not a finite real number >= 0, or comes with an a
            or a nonlinearity other than the defaults; truncated is not a bool; the fans are neither given nor
            described, or are both; an argument breaks its rule in ``help(fastinit)``.

    Bits:
        A function of seed, stream, index, dtype, gain, fans and truncated alone. Truncated values keep their bounds
        after rounding.

    Paper:
        He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet
        classification", 2015.

    Example:
        >>> import numpy as np, fastinit
        >>> w = fastinit.he_normal(np.empty((512, 256), np.float32), 256, seed=1, stream="layer1.weight")
        >>> round(float(w.std() / (2 / 256) ** 0.5), 1)
        1.0
        >>> shard = np.empty((512, 128), np.float32)
        >>> shard = fastinit.he_normal(
        ...     shard, 256, seed=1, stream="layer1.weight", global_shape=(512, 256), offset=(0, 128)
        ... )
        >>> np.array_equal(shard, w[:, 128:])
        True
    """
    if gain is not None or a is not _NO_SLOPE or nonlinearity is not _LEAKY_RELU:
        g, scale = _he_gain(a, nonlinearity, gain)
    else:
        g = 1.0
        scale = 2.0
    n = _fan(out, mode, fan_in, fan_out, layout, in_axis, out_axis, batch_axis, global_shape)
    form = _NORMAL if truncated is False else _normal_form(truncated)
    _fill_scaled(out, form, g, scale, n, seed, stream, global_shape, offset, threads, rng)
    return out


def lecun_uniform(
    out: ArrayT,
    fan_in: Real | None = None,
    *,
    layout: Layout | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes | None = None,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with LeCun uniform weights: U(-b, b), b = sqrt(3 / fan_in).

    Variance 1 / fan_in.

    Args:
        out: the array to fill.
        fan_in: inputs of a unit.

        For layout, in_axis, out_axis, batch_axis, seed, stream, global_shape, offset, threads, rng: ``help(fastinit)``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: fan_in is neither given nor described, or is both; an argument breaks its rule in
            ``help(fastinit)``.

    Bits:
        A function of seed, stream, index, dtype and fan_in alone. Every value is in [-b, b) after rounding.

    Paper:
        LeCun, Bottou, Orr, Mueller, "Efficient BackProp", 1998.

    Example:
        >>> import numpy as np, fastinit
        >>> w = fastinit.lecun_uniform(np.empty((300, 500), np.float32), layout="keras", seed=1)
        >>> bool(abs(w).max() < (3 / 300) ** 0.5), round(float(w.std() * 300 ** 0.5), 1)
        (True, 1.0)
    """
    n = _fan(out, _FAN_IN, fan_in, None, layout, in_axis, out_axis, batch_axis, global_shape)
    _fill_scaled(out, _UNIFORM, 1.0, 1.0, n, seed, stream, global_shape, offset, threads, rng)
    return out


def lecun_normal(
    out: ArrayT,
    fan_in: Real | None = None,
    *,
    truncated: bool = False,
    layout: Layout | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes | None = None,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with LeCun normal weights: N(0, std), std = 1 / sqrt(fan_in).

    The initialisation that self-normalising networks (selu) ask for. The plain normal, unless ``truncated``.

    Args:
        out: the array to fill.
        fan_in: inputs of a unit.
        truncated: True for the form of Keras, TensorFlow and JAX: a normal cut at +-2 of its own standard deviations,
            which is std / 0.87962566103423978, so that the cut one has standard deviation std.

        For layout, in_axis, out_axis, batch_axis, seed, stream, global_shape, offset, threads, rng: ``help(fastinit)``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: fan_in is neither given nor described, or is both; truncated is not a bool; an argument
            breaks its rule in ``help(fastinit)``.

    Bits:
        A function of seed, stream, index, dtype, fan_in and truncated alone. Truncated values keep their bounds after
        rounding.

    Paper:
        LeCun, Bottou, Orr, Mueller, "Efficient BackProp", 1998; for selu: Klambauer, Unterthiner, Mayr, Hochreiter,
        "Self-normalizing neural networks", 2017.

    Example:
        >>> import numpy as np, fastinit
        >>> w = fastinit.lecun_normal(np.empty((300, 500), np.float32), in_axis=0, out_axis=1, seed=1)
        >>> round(float(w.std() / (1 / 300) ** 0.5), 1)
        1.0
    """
    n = _fan(out, _FAN_IN, fan_in, None, layout, in_axis, out_axis, batch_axis, global_shape)
    form = _NORMAL if truncated is False else _normal_form(truncated)
    _fill_scaled(out, form, 1.0, 1.0, n, seed, stream, global_shape, offset, threads, rng)
    return out


def variance_scaling(
    out: ArrayT,
    *,
    scale: Real = _ONE,
    mode: Mode = _FAN_IN,
    distribution: Literal["normal", "uniform", "truncated_normal"] = "normal",
    fan_in: Real | None = None,
    fan_out: Real | None = None,
    layout: Layout | None = None,
    in_axis: Axes | None = None,
    out_axis: Axes | None = None,
    batch_axis: Axes | None = None,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with weights of mean 0 and variance scale / n; the other named initialisers are cases of this one.

    normal: N(0, sqrt(scale / n)). uniform: U(-b, b), b = sqrt(3 scale / n). truncated_normal: a normal of standard
    deviation sqrt(scale / n) / 0.87962566103423978, cut at +-2 of that.

    Args:
        out: the array to fill.
        scale: a finite real number > 0.
        mode: n is "fan_in", "fan_out", "fan_avg", their mean, or "fan_geo", their geometric mean.
        distribution: "normal" (Keras calls it "untruncated_normal"), "uniform" or "truncated_normal".
        fan_in, fan_out: inputs and outputs of a unit; ``mode`` says which of them are needed.

        For layout, in_axis, out_axis, batch_axis, seed, stream, global_shape, offset, threads, rng: ``help(fastinit)``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: scale is not a finite real number > 0; mode or distribution is unknown; the fans are
            neither given nor described, or are both; an argument breaks its rule in ``help(fastinit)``.

    Bits:
        A function of seed, stream, index, dtype, scale, n and distribution alone. Bounds hold after rounding.

    Paper:
        He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015, and Glorot, Bengio, 2010; under this name in Keras
        and JAX.

    Example:
        >>> import numpy as np, fastinit
        >>> w = np.empty((3, 3, 64, 128), np.float32)
        >>> w = fastinit.variance_scaling(w, scale=2.0, mode="fan_out", layout="keras", seed=1)
        >>> round(float(w.std() / (2 / (3 * 3 * 128)) ** 0.5), 1)
        1.0
        >>> np.array_equal(w, fastinit.he_normal(np.empty_like(w), mode="fan_out", layout="keras", seed=1))
        True
    """
    n = _fan(out, mode, fan_in, fan_out, layout, in_axis, out_axis, batch_axis, global_shape)
    s = _ONE if scale is _ONE else _positive("scale", scale)
    _choice("distribution", distribution, tuple(_DISTRIBUTIONS))
    _fill_scaled(out, _DISTRIBUTIONS[distribution], 1.0, s, n, seed, stream, global_shape, offset, threads, rng)
    return out


def uniform(
    out: ArrayT,
    *,
    low: Real = 0.0,
    high: Real = 1.0,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with U(low, high): low <= value < high.

    value = (low + high) / 2 + v (high - low) / 2, with v the midpoints of 2^31 (float64: 2^63) equal cells of (-1, 1).

    Args:
        out: the array to fill.
        low, high: bounds, finite real numbers, low <= high. If they are equal, every element is low.

        For seed, stream, global_shape, offset, threads, rng: ``help(fastinit)``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: low or high is not a finite real number within the range of out's dtype; low > high; that
            dtype has no value in [low, high); an argument breaks its rule in ``help(fastinit)``.

    Bits:
        A function of seed, stream, index, dtype, low and high alone. Every value is in [low, high) after rounding to
        the dtype.

    Paper:
        Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011, for the words under it.

    Example:
        >>> import numpy as np, fastinit
        >>> x = fastinit.uniform(np.empty(100_000, np.float32), low=-0.1, high=0.1, seed=1)
        >>> bool(x.min() >= -0.1), bool(x.max() < 0.1), abs(round(float(x.mean()), 2))
        (True, True, 0.0)
    """
    _fill(out, _UNIFORM, low, high, 0.0, 0.0, seed, stream, global_shape, offset, threads, rng)
    return out


def normal(
    out: ArrayT,
    *,
    mean: Real = 0.0,
    std: Real = 1.0,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with N(mean, std): value = mean + std z, z the quantile of the element's word.

    Args:
        out: the array to fill.
        mean: a finite real number.
        std: standard deviation, a finite real number >= 0. If it is 0, every element is mean.

        For seed, stream, global_shape, offset, threads, rng: ``help(fastinit)``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: mean is not a finite real number; std is not a finite real number >= 0; they are so large
            that a value would overflow out's dtype; an argument breaks its rule in ``help(fastinit)``.

    Bits:
        A function of seed, stream, index, dtype, mean and std alone.

    Paper:
        Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011, for the words under it.

    Example:
        >>> import numpy as np, fastinit
        >>> x = fastinit.normal(np.empty(100_000, np.float32), mean=3.0, std=0.5, seed=1)
        >>> round(float(x.mean()), 1), round(float(x.std()), 1)
        (3.0, 0.5)
        >>> tail = np.empty(10, np.float32)
        >>> tail = fastinit.normal(tail, mean=3.0, std=0.5, seed=1, global_shape=[100_000], offset=[99_990])
        >>> np.array_equal(tail, x[99_990:])
        True
    """
    _fill(out, _NORMAL, mean, std, 0.0, 0.0, seed, stream, global_shape, offset, threads, rng)
    return out


def truncated_normal(
    out: ArrayT,
    *,
    mean: Real = 0.0,
    std: Real = 1.0,
    low: Real = -2.0,
    high: Real = 2.0,
    bounds: Literal["absolute", "std"] = _ABSOLUTE,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with N(mean, std) cut to [low, high].

    value = quantile of N(mean, std) at P(low) + u (P(high) - P(low)): one draw per element for any window, no
    rejection. std is that of the normal before the cut, nothing is corrected for it.

    Args:
        out: the array to fill.
        mean: a finite real number.
        std: standard deviation before the cut, a finite real number >= 0. If it is 0, every element is mean, or the
            bound that is nearer.
        low, high: real numbers, low < high; either may be infinite.
        bounds: "absolute": low and high are values (PyTorch). "std": they are counted in std from the mean (Keras,
            TensorFlow, JAX).

        For seed, stream, global_shape, offset, threads, rng: ``help(fastinit)``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: mean is not a finite real number; std is not a finite real number >= 0; one of them is
            beyond the range of out's dtype; low or high is not a real number or is NaN; low >= high; low is inf or high
            is -inf; bounds is unknown; the dtype of out has no value in the window; an argument breaks its rule in
            ``help(fastinit)``.

    Bits:
        A function of seed, stream, index, dtype, mean, std, low, high and bounds alone. Every value is finite and
        inside the window after rounding to the dtype.

    Paper:
        Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011, for the words under it.

    Example:
        >>> import numpy as np, fastinit
        >>> x = fastinit.truncated_normal(np.empty(100_000, np.float32), std=0.02, bounds="std", seed=1)
        >>> bool(abs(x).max() <= 0.04), round(float(x.std()) / 0.02, 2)
        (True, 0.88)
        >>> far = fastinit.truncated_normal(np.empty(1000), low=8.0, high=float("inf"), seed=1)
        >>> bool(far.min() >= 8.0), bool(np.isfinite(far).all())
        (True, True)
    """
    if bounds is _ABSOLUTE:
        distribution = _TRUNCATED
    else:
        _choice("bounds", bounds, tuple(_BOUNDS))
        distribution = _BOUNDS[bounds]
    _fill(out, distribution, mean, std, low, high, seed, stream, global_shape, offset, threads, rng)
    return out


def constant(
    out: ArrayT,
    value: Real,
    *,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with one value.

    out[...] = value, rounded to the dtype.

    Args:
        out: the array to fill.
        value: a real number, also infinite or NaN.

        For seed, stream, global_shape, offset, threads, rng: ``help(fastinit)``. Nothing is drawn, so they change
        nothing but are checked, so that every initialiser can be called alike.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: value is not a real number, or is finite and overflows the dtype of out; an argument
            breaks its rule in ``help(fastinit)``.

    Bits:
        value rounded to nearest even. No stream of the process-wide generator is used up.

    Example:
        >>> import numpy as np, fastinit
        >>> fastinit.constant(np.empty(3, np.float32), 0.5).tolist()
        [0.5, 0.5, 0.5]
    """
    _fill(out, _core.CONSTANT, value, 0.0, 0.0, 0.0, seed, stream, global_shape, offset, threads, rng)
    return out


def zeros(
    out: ArrayT,
    *,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with zeros.

    out[...] = +0.

    Args:
        out: the array to fill.

        For seed, stream, global_shape, offset, threads, rng: ``constant``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: an argument breaks its rule in ``help(fastinit)``.

    Bits:
        Every bit is 0. No stream of the process-wide generator is used up.

    Example:
        >>> import numpy as np, fastinit
        >>> fastinit.zeros(np.ones(3)).tolist()
        [0.0, 0.0, 0.0]
    """
    return constant(
        out, 0.0, seed=seed, stream=stream, global_shape=global_shape, offset=offset, threads=threads, rng=rng
    )


def ones(
    out: ArrayT,
    *,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with ones.

    out[...] = 1.

    Args:
        out: the array to fill.

        For seed, stream, global_shape, offset, threads, rng: ``constant``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: an argument breaks its rule in ``help(fastinit)``.

    Bits:
        Exactly 1. No stream of the process-wide generator is used up.

    Example:
        >>> import numpy as np, fastinit
        >>> fastinit.ones(np.zeros(3)).tolist()
        [1.0, 1.0, 1.0]
    """
    return constant(
        out, 1.0, seed=seed, stream=stream, global_shape=global_shape, offset=offset, threads=threads, rng=rng
    )


def random_bits(
    out: ArrayT,
    *,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    rng: Rng = "ars",
) -> ArrayT:
    """Fill ``out`` with the generator's raw words.

    Element i of a uint32 array is 32-bit word i of the stream; of a uint64 array, words 2i (low half) and 2i + 1.

    Args:
        out: the array to fill, of dtype uint32 or uint64, and else as in ``help(fastinit)``.

        For seed, stream, global_shape, offset, threads, rng: ``help(fastinit)``.

    Returns:
        ``out``.

    Raises:
        TypeError, ValueError: out is neither uint32 nor uint64; an argument breaks its rule in ``help(fastinit)``.

    Bits:
        A function of seed, stream, index and dtype alone.

    Paper:
        Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.

    Example:
        >>> import numpy as np, fastinit
        >>> words = fastinit.random_bits(np.empty(8, np.uint32), seed=1, stream=2)
        >>> pairs = fastinit.random_bits(np.empty(4, np.uint64), seed=1, stream=2)
        >>> bool((pairs == words[0::2] + (words[1::2].astype(np.uint64) << np.uint64(32))).all())
        True
    """
    _fill(out, _core.BITS, 0.0, 0.0, 0.0, 0.0, seed, stream, global_shape, offset, threads, rng)
    return out


glorot_uniform = xavier_uniform
glorot_normal = xavier_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal


# --- arrays, process-wide state -------------------------------------------------------------------------------------


def _element_type(dtype: object) -> np.dtype[Any]:
    wanted = f"one of {', '.join(_DTYPES)} in native byte order"
    if isinstance(dtype, str) and dtype == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise ImportError("dtype='bfloat16' needs the package ml_dtypes, which is not installed") from None
        dtype = ml_dtypes.bfloat16
    try:
        if dtype is None:  # float64 for NumPy, float32 for anybody who reads the signature here
            raise TypeError
        found = np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"dtype must be {wanted}, got {_typed(dtype)}") from None
    if found.name not in _DTYPES or not found.isnative:
        raise TypeError(f"dtype must be {wanted}, got {_typed(dtype)}")
    return found  # type: ignore[no-any-return]


def empty(shape: Integer | Integers, dtype: DTypeLike = "float32") -> NDArray[Any]:
    """A new array that is ready to be filled fast: aligned to 64 bytes, and on huge pages where the OS has them.

    Args:
        shape: int or sequence of ints >= 0.
        dtype: float32, float64, float16, bfloat16 (with ``ml_dtypes`` installed), uint32 or uint64.

    Returns:
        A writable C-contiguous array of that shape and dtype. Its content is undefined.

    Raises:
        TypeError: shape is not an int or a sequence of ints; dtype is none of these, or in foreign byte order.
        ValueError: a dimension is negative, or the array would be larger than the address space.
        ImportError: dtype is "bfloat16" and ``ml_dtypes`` is not installed.
        MemoryError: the memory is not there.

    Example:
        >>> import fastinit
        >>> w = fastinit.he_normal(fastinit.empty((256, 512)), 512)
        >>> w.shape, w.dtype.name, w.ctypes.data % 64
        ((256, 512), 'float32', 0)
    """
    wanted = "an int >= 0 or a sequence of them"
    try:
        dims = (_integer(shape),)
    except TypeError:
        try:
            dims = tuple(map(_integer, shape))  # type: ignore[arg-type, assignment]
        except TypeError:
            raise TypeError(f"shape must be {wanted}, got {_typed(shape)}") from None
    if min(dims, default=0) < 0:
        raise ValueError(f"shape must be {wanted}, got {_came(shape)}")
    element = _element_type(dtype)
    n_bytes = math.prod(dims) * element.itemsize
    if n_bytes > sys.maxsize or max(dims, default=0) > sys.maxsize:
        raise ValueError(f"shape must stay below {sys.maxsize} bytes in all, got {_came(shape)} of {element}")
    memory: NDArray[np.uint8] = _core.allocate(n_bytes)
    return memory.view(element).reshape(dims)


def manual_seed(seed: Integer) -> None:
    """Seed the process-wide generator: the calls without ``seed`` that follow are repeatable, in their order.

    The n-th such call (n = 0, 1, ...) equals the call with this seed and ``stream=n``.

    Args:
        seed: int, 0 .. 2**64-1.

    Returns:
        None.

    Raises:
        TypeError, ValueError: seed is not an int, or out of that range; then the generator is as it was.

    Bits:
        Calls that are refused, empty of randomness (``constant``) or have a seed or a stream of their own do not count.
        A process forked afterwards repeats the streams that its parent would have taken.

    Example:
        >>> import numpy as np, fastinit
        >>> fastinit.manual_seed(7)
        >>> first, second = fastinit.normal(np.empty(5)), fastinit.normal(np.empty(5))
        >>> np.array_equal(second, fastinit.normal(np.empty(5), seed=7, stream=1))
        True
    """
    _core.manual_seed(seed)  # type: ignore[arg-type]


def set_num_threads(threads: Integer) -> None:
    """Set how many threads a call may use, for the whole process. No value depends on it.

    Args:
        threads: int >= 1.

    Returns:
        None.

    Raises:
        TypeError, ValueError: threads is not an int, or < 1; then the setting is as it was.

    Bits:
        The same for every number of threads.

    Example:
        >>> import fastinit
        >>> before = fastinit.get_num_threads()
        >>> fastinit.set_num_threads(1)
        >>> fastinit.get_num_threads()
        1
        >>> fastinit.set_num_threads(before)
    """
    _core.set_num_threads(threads)  # type: ignore[arg-type]


def get_num_threads() -> int:
    """How many threads a call may use.

    Returns:
        What ``set_num_threads`` set, else FASTINIT_NUM_THREADS, else the number of CPUs that this process may use
        (affinity mask, cgroup quota). Small fills use fewer.

    Raises:
        ValueError: FASTINIT_NUM_THREADS is no integer >= 1, and ``set_num_threads`` was not called.

    Bits:
        The same for every number of threads.

    Example:
        >>> import fastinit
        >>> fastinit.get_num_threads() >= 1
        True
    """
    return _core.get_num_threads()


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> dict[str, Any]: ...
def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show how fastinit was built and what it found on this machine.

    version, stream_format, compiler, targets_built, targets_found (those that this CPU and OS can run), target (the one
    that is used; FASTINIT_TARGET forces one), threads (``get_num_threads``), cpus.

    Args:
        mode: "stdout" prints, "dicts" returns; as ``numpy.show_config``.

    Returns:
        None, or a dict with mode="dicts".

    Raises:
        TypeError, ValueError: mode is not one of these.

    Bits:
        ``stream_format`` is the version of docs/stream-format.md that this build follows.

    Example:
        >>> import fastinit
        >>> fastinit.show_config(mode="dicts")["version"] == fastinit.__version__
        True
    """
    _choice("mode", mode, ("stdout", "dicts"))
    config = _core.config()
    if mode == "dicts":
        return config
    for name, value in config.items():
        text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        print(f"{name.replace('_', ' '):<15}{text}")
    return None


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_core.reseed_child)
