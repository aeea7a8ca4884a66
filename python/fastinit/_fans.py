"""fan_in and fan_out, given or read from a shape, and the gains of nonlinearities.

Formulas and their order of operations: docs/stream-format.md, "Named initialisers".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from . import _core
from ._arguments import NO_SEQUENCES, at_least_zero, choice, documented, given, integer, integers, shown, typed

if TYPE_CHECKING:
    from ._types import Mode, Real

__all__ = ["FAN_AVG", "FAN_IN", "LAYOUTS", "LEAKY_RELU", "NO_SLOPE", "calculate_gain", "fan", "he_gain", "read_shape"]

# Defaults under a name: `x is FAN_IN` costs next to nothing and is safe with whatever a caller passes.
FAN_IN: Mode = "fan_in"
FAN_AVG: Mode = "fan_avg"
LEAKY_RELU = "leaky_relu"
NO_SLOPE = 0.0

LAYOUTS = ("torch", "keras")
_MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo")

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
_NONLINEARITIES = (LEAKY_RELU, *_GAINS)

# Integers below this are float64 values, and so is the sum of two of them.
_EXACT = 2**52


# --- fans -----------------------------------------------------------------------------------------------------------


def _axis_set(name: str, value: object, shape: tuple[int, ...]) -> tuple[int, ...]:
    n_dims = len(shape)
    try:
        axes = (integer(value),)
    except TypeError:
        try:
            if isinstance(value, NO_SEQUENCES):
                raise TypeError from None
            axes = tuple(map(integer, value))  # type: ignore[call-overload]
        except TypeError:
            raise TypeError(f"{name} must be an int or a sequence of ints, got {typed(value)}") from None
    for axis in axes:
        if not -n_dims <= axis < n_dims:
            if n_dims < 2:
                raise ValueError(
                    f"a shape of {n_dims} dimensions has no axis for inputs and one for outputs, and so no fans; got "
                    f"shape {shape} with {name}={shown(value)}"
                )
            raise ValueError(f"{name} must lie in {-n_dims} .. {n_dims - 1} for the shape {shape}, got {shown(value)}")
    return tuple(axis % n_dims for axis in axes)


def read_shape(
    shape: tuple[int, ...], layout: object, in_axis: object, out_axis: object, batch_axis: object
) -> tuple[int, int]:
    """fan_in and fan_out of a shape, by a layout or by axes.

    A shape does not show everything: of a convolution with groups, fan_out is what torch's functions read, and not the
    number of outputs that an input meets, which is smaller by that factor. ``init_module`` asks the module.
    """
    n_dims = len(shape)
    if layout is not None:
        choice("layout", layout, LAYOUTS)
        if in_axis is not None or out_axis is not None or batch_axis is not None:
            raise ValueError(
                "layout and in_axis, out_axis, batch_axis exclude each other: pass one or the other; got "
                + given(layout=layout, in_axis=in_axis, out_axis=out_axis, batch_axis=batch_axis)
            )
        if layout == "torch":
            if n_dims < 2:
                raise ValueError(
                    f"layout='torch' reads a shape as (out, in, *kernel) and needs at least 2 dimensions; got shape "
                    f"{shape}, which has no fans: give those, or use an initialiser without fans, such as zeros"
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
            + given(in_axis=in_axis, out_axis=out_axis, batch_axis=batch_axis)
        )
    ins = _axis_set("in_axis", in_axis, shape)
    outs = _axis_set("out_axis", out_axis, shape)
    batch = () if batch_axis is None else _axis_set("batch_axis", batch_axis, shape)
    named = ins + outs + batch
    if len(set(named)) != len(named):
        raise ValueError(
            "in_axis, out_axis and batch_axis must name each axis at most once; got "
            + given(in_axis=in_axis, out_axis=out_axis, batch_axis=batch_axis)
        )
    field = math.prod(shape[axis] for axis in range(n_dims) if axis not in named)
    return math.prod(shape[axis] for axis in ins) * field, math.prod(shape[axis] for axis in outs) * field


def _missing(caller: str, mode: object, fan_in: object, fan_out: object) -> NoReturn:
    needed = " and ".join(f"{name}=" for name in ("fan_in", "fan_out") if mode in (name, "fan_avg", "fan_geo"))
    raise ValueError(
        f"{caller} needs {needed} or layout=: layout='torch' reads the fans from the shape of out as (out, in, "
        f"*kernel), layout='keras' as (*kernel, in, out), in_axis= and out_axis= (and batch_axis=) by the axes "
        "that you name; got " + given(fan_in=fan_in, fan_out=fan_out)
    )


def _whole(caller: str, name: str, value: object) -> float:
    """A number of inputs or outputs. What is not a whole number was meant as something else."""
    wanted = "a whole number >= 1"
    number = _core.real(value, name, wanted)
    if number >= 1.0 and number == math.floor(number):
        return number
    what = "inputs" if name == "fan_in" else "outputs"
    hint = ""
    if caller.startswith("he_"):
        hint = "; pass the slope of a leaky ReLU as a=, a gain as gain="
    elif caller.startswith("xavier_"):
        hint = "; pass a gain as gain="
    elif caller == "variance_scaling":
        hint = "; pass a factor on the variance as scale="
    raise ValueError(f"{name} must be {wanted}, the number of {what} of a unit; got {shown(value)}{hint}")


def fan(
    caller: str,
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
    """The n of variance scale / n, from whatever the caller was given."""
    described = True
    if layout is None and in_axis is None and out_axis is None and batch_axis is None:
        if type(fan_in) is int and 0 < fan_in < _EXACT:  # the usual calls, without detours
            if fan_out is None and mode is FAN_IN:
                return fan_in
            if type(fan_out) is int and 0 < fan_out < _EXACT and mode is FAN_AVG:
                return (fan_in + fan_out) / 2
        described = False
    choice("mode", mode, _MODES)
    if described and (fan_in is not None or fan_out is not None):
        raise ValueError(
            "fans and a way to read them from the shape exclude each other: pass one or the other; got "
            + given(
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
            shape = integers("global_shape", global_shape)
            if len(shape) != n_dims or min(shape, default=0) < 0:
                raise ValueError(
                    f"global_shape must hold one int >= 0 for each of the {n_dims} dimensions of out, got {shape}"
                )
        x, y = read_shape(shape, layout, in_axis, out_axis, batch_axis)
        if x > 2**63 or y > 2**63:
            raise ValueError(f"global_shape must have at most 2**63 elements, got {shown(global_shape)}")
    else:
        if (fan_in is None and mode != "fan_out") or (fan_out is None and mode != "fan_in"):
            _missing(caller, mode, fan_in, fan_out)
        if fan_in is not None:
            x = _whole(caller, "fan_in", fan_in)
        if fan_out is not None:
            y = _whole(caller, "fan_out", fan_out)
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
    if not n < math.inf:
        raise ValueError(
            f"fan_in and fan_out must have a mean within the range of float64 for mode={mode!r}; got "
            + given(fan_in=fan_in, fan_out=fan_out)
        )
    return n


# --- gains ----------------------------------------------------------------------------------------------------------


def _slope_scale(a: object) -> float:
    """2 / (1 + a a)."""
    wanted = "a finite real number whose square is finite"
    scale = _core.slope_scale(_core.real(a, "a", wanted))
    if scale == 0.0:
        raise ValueError(f"a must be {wanted}, got {shown(a)}")
    return scale


def _slope_refused(a: object, nonlinearity: object) -> NoReturn:
    raise ValueError(
        f"a is the negative slope of nonlinearity='leaky_relu' and {nonlinearity!r} has none: leave a out; got "
        f"a={shown(a)}"
    )


def he_gain(a: object, nonlinearity: object, gain: object) -> tuple[float, float]:
    """gain and scale of the He initialisers, for other arguments than the defaults."""
    choice("nonlinearity", nonlinearity, _NONLINEARITIES)
    scale = _slope_scale(a)
    if gain is not None:
        if nonlinearity != LEAKY_RELU or a != 0.0:
            raise ValueError(
                "gain excludes a and nonlinearity, from which it would follow: pass one or the other; got "
                + given(
                    gain=gain,
                    a=None if a == 0.0 else a,
                    nonlinearity=None if nonlinearity == LEAKY_RELU else nonlinearity,
                )
            )
        return at_least_zero("gain", gain), 1.0
    if nonlinearity == LEAKY_RELU:
        return 1.0, scale
    if a != 0.0:
        _slope_refused(a, nonlinearity)
    if nonlinearity == "relu":
        return 1.0, 2.0
    return _GAINS[nonlinearity], 1.0  # type: ignore[index]


@documented
def calculate_gain(nonlinearity: str, a: Real | None = None) -> float:
    """The recommended factor on the standard deviation for a nonlinearity.

    linear, conv1d .. conv3d, conv_transpose1d .. conv_transpose3d and sigmoid
    1; tanh 5/3; relu sqrt(2); leaky_relu sqrt(2 / (1 + a^2)); selu 3/4. These
    are the names and gains of PyTorch.

    Parameters
    ----------
    nonlinearity : str
        One of the names above.
    a : float, optional
        The negative slope, for leaky_relu only; 0.01 by default.

    Returns
    -------
    float
        The gain, without unit.

    Raises
    ------
    TypeError
        nonlinearity is not a str, or a is not a real number.
    ValueError
        nonlinearity is unknown; a is not finite, or so large that a^2 is not;
        a is given for another nonlinearity than leaky_relu.

    Notes
    -----
    Bits: the same float64 on every machine, in every rounding mode.

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015 (relu,
    leaky_relu); the others are PyTorch's.

    Examples
    --------
    >>> import fastinit
    >>> fastinit.calculate_gain("relu")
    1.4142135623730951
    >>> fastinit.calculate_gain("leaky_relu", 1.0)
    1.0
    """
    choice("nonlinearity", nonlinearity, _NONLINEARITIES)
    if nonlinearity == LEAKY_RELU:
        return _core.square_root(_slope_scale(0.01 if a is None else a))
    if a is not None:
        _slope_refused(a, nonlinearity)
    return _GAINS[nonlinearity]
