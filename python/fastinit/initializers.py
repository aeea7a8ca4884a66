"""The named initialisers: which distribution, which gain, which fan.

Every function ends in one call of the compiled core, which checks what is left to check and does all arithmetic that
rounds, so that a caller's floating-point environment cannot change a bit. Formulas and their order of operations:
docs/stream-format.md, "Named initialisers".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np

from . import _core
from ._arguments import at_least_zero, choice, documented, integer, positive, typed
from ._fans import FAN_AVG, FAN_IN, LEAKY_RELU, NO_SLOPE, fan, he_gain

if TYPE_CHECKING:
    from ._types import ArrayT, Axes, BitGenerator, Bounds, Distribution, Integer, Integers, Layout, Mode, Real

__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "integers",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "random_bits",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

_UNIFORM, _NORMAL, _TRUNCATED, _TRUNCATED_STD = _core.UNIFORM, _core.NORMAL, _core.TRUNCATED, _core.TRUNCATED_STD

# The core checks what it gets at run time, and takes more types than its stub names: NumPy's scalars too.
_fill: Callable[..., None] = _core.fill
_fill_scaled: Callable[..., None] = _core.fill_scaled

# Defaults under a name: `x is _ONE` costs next to nothing and is safe with whatever a caller passes.
_ONE = 1.0
_STD: Literal["std"] = "std"

_DISTRIBUTIONS = {"normal": _NORMAL, "uniform": _UNIFORM, "truncated_normal": _TRUNCATED_STD}
_BOUNDS = {"absolute": _TRUNCATED, "std": _TRUNCATED_STD}


def _int(name: str, value: object) -> int:
    try:
        return integer(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, got {typed(value)}") from None


def _normal_form(truncated: object) -> int:
    if not isinstance(truncated, bool | np.bool_):
        raise TypeError(f"truncated must be True or False, got {typed(truncated)}")
    return _TRUNCATED_STD if truncated else _NORMAL


@documented
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
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """Xavier uniform: U(-b, b), b = gain sqrt(6 / (fan_in + fan_out)).

    Fills ``out`` in place, for layers followed by a tanh or a sigmoid. The
    variance is 2 gain^2 / (fan_in + fan_out). Also called ``glorot_uniform``.

    Parameters
    ----------
    {out}
    {fans}
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    gain : float, default 1
        A factor on the bound, >= 0; see ``calculate_gain``.
    {layout}
    {common}

    Raises
    ------
    TypeError, ValueError
        gain is not a finite real number >= 0; the fans are neither given nor
        described, or both; a fan is not a whole number >= 1.
        {errors}

    Notes
    -----
    Bits: a function of seed, stream, index, dtype, gain and fans alone. Every
    value is in [-b, b) after rounding.

    References
    ----------
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", 2010.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> w = fastinit.xavier_uniform(np.empty((300, 500), np.float32), 300, 500, seed=1, stream="w")
    >>> round(float(w.std() / (2 / 800) ** 0.5), 1)
    1.0

    Half of it, as another process would make it:

    >>> half = np.empty((150, 500), np.float32)
    >>> box = {"global_shape": (300, 500), "offset": (150, 0)}
    >>> half = fastinit.xavier_uniform(half, 300, 500, seed=1, stream="w", **box)
    >>> np.array_equal(half, w[150:])
    True
    """
    n = fan("xavier_uniform", out, FAN_AVG, fan_in, fan_out, layout, in_axis, out_axis, batch_axis, global_shape)
    g = _ONE if gain is _ONE else at_least_zero("gain", gain)
    _fill_scaled(out, _UNIFORM, g, 1.0, n, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
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
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """Xavier normal: N(0, std), std = gain sqrt(2 / (fan_in + fan_out)).

    Fills ``out`` in place, for layers followed by a tanh or a sigmoid. Also
    called ``glorot_normal``. A plain normal, as in the paper and in PyTorch;
    Keras, TensorFlow and JAX have ``truncated=True``.

    Parameters
    ----------
    {out}
    {fans}
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    gain : float, default 1
        A factor on the standard deviation, >= 0; see ``calculate_gain``.
    {truncated}
    {layout}
    {common}

    Raises
    ------
    TypeError, ValueError
        gain is not a finite real number >= 0; truncated is not a bool; the
        fans are neither given nor described, or both; a fan is not a whole
        number >= 1.
        {errors}

    Notes
    -----
    Bits: a function of seed, stream, index, dtype, gain, fans and truncated
    alone. Truncated values keep their bounds after rounding.

    References
    ----------
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", 2010.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> w = fastinit.xavier_normal(np.empty((300, 500), np.float32), layout="torch", seed=1, stream="w")
    >>> round(float(w.std() / (2 / 800) ** 0.5), 1)
    1.0
    >>> cut = fastinit.xavier_normal(np.empty((300, 500)), 300, 500, truncated=True, seed=1, stream="w")
    >>> bool(abs(cut).max() <= 2 * (2 / 800) ** 0.5 / 0.879)
    True
    """
    n = fan("xavier_normal", out, FAN_AVG, fan_in, fan_out, layout, in_axis, out_axis, batch_axis, global_shape)
    g = _ONE if gain is _ONE else at_least_zero("gain", gain)
    form = _NORMAL if truncated is False else _normal_form(truncated)
    _fill_scaled(out, form, g, 1.0, n, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
def he_uniform(
    out: ArrayT,
    fan_in: Real | None = None,
    *,
    fan_out: Real | None = None,
    a: Real = NO_SLOPE,
    nonlinearity: str = LEAKY_RELU,
    mode: Mode = FAN_IN,
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
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """He uniform: U(-b, b), b = sqrt(6 / fan_in).

    Fills ``out`` in place, for layers followed by a ReLU. In general b = gain
    sqrt(3 / n), gain = sqrt(2 / (1 + a^2)), n by ``mode``: a = sqrt(5) is the
    default dense and convolution layer of PyTorch, U(-1 / sqrt(fan_in), 1 /
    sqrt(fan_in)). Also called ``kaiming_uniform``.

    Parameters
    ----------
    {out}
    {fan_in}
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {he}
    {layout}
    {common}

    Raises
    ------
    TypeError, ValueError
        a is not a finite real number with a finite square, or not 0 with
        another nonlinearity than leaky_relu; nonlinearity or mode is unknown;
        gain is not a finite real number >= 0, or comes with ``a`` or
        ``nonlinearity``; the fans are neither given nor described, or both; a
        fan is not a whole number >= 1.
        {errors}

    Notes
    -----
    Bits: a function of seed, stream, index, dtype, gain and fans alone. Every
    value is in [-b, b) after rounding.

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level
    performance on ImageNet classification", 2015.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> w = np.empty((64, 3, 7, 7), np.float32)
    >>> w = fastinit.he_uniform(w, layout="torch", a=5 ** 0.5, seed=1, stream="conv.weight")
    >>> bound = 1 / (3 * 7 * 7) ** 0.5
    >>> bool(abs(w).max() < bound), round(float(w.std() / bound * 3 ** 0.5), 1)
    (True, 1.0)
    """
    if gain is not None or a is not NO_SLOPE or nonlinearity is not LEAKY_RELU:
        g, scale = he_gain(a, nonlinearity, gain)
    else:
        g = 1.0
        scale = 2.0
    n = fan("he_uniform", out, mode, fan_in, fan_out, layout, in_axis, out_axis, batch_axis, global_shape)
    _fill_scaled(out, _UNIFORM, g, scale, n, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
def he_normal(
    out: ArrayT,
    fan_in: Real | None = None,
    *,
    fan_out: Real | None = None,
    a: Real = NO_SLOPE,
    nonlinearity: str = LEAKY_RELU,
    mode: Mode = FAN_IN,
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
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """He normal: N(0, std), std = sqrt(2 / fan_in).

    Fills ``out`` in place, for layers followed by a ReLU. In general std =
    gain / sqrt(n), gain = sqrt(2 / (1 + a^2)), n by ``mode``. Also called
    ``kaiming_normal``. A plain normal, as in the paper and in PyTorch; Keras,
    TensorFlow and JAX have ``truncated=True``.

    Parameters
    ----------
    {out}
    {fan_in}
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {he}
    {truncated}
    {layout}
    {common}

    Raises
    ------
    TypeError, ValueError
        a is not a finite real number with a finite square, or not 0 with
        another nonlinearity than leaky_relu; nonlinearity or mode is unknown;
        gain is not a finite real number >= 0, or comes with ``a`` or
        ``nonlinearity``; truncated is not a bool; the fans are neither given
        nor described, or both; a fan is not a whole number >= 1.
        {errors}

    Notes
    -----
    Bits: a function of seed, stream, index, dtype, gain, fans and truncated
    alone. Truncated values keep their bounds after rounding.

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level
    performance on ImageNet classification", 2015.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> w = fastinit.he_normal(np.empty((512, 256), np.float32), 256, seed=1, stream="layer1.weight")
    >>> round(float(w.std() / (2 / 256) ** 0.5), 1)
    1.0

    The right half of it, as another process would make it:

    >>> half = np.empty((512, 128), np.float32)
    >>> box = {"global_shape": (512, 256), "offset": (0, 128)}
    >>> half = fastinit.he_normal(half, 256, seed=1, stream="layer1.weight", **box)
    >>> np.array_equal(half, w[:, 128:])
    True
    """
    if gain is not None or a is not NO_SLOPE or nonlinearity is not LEAKY_RELU:
        g, scale = he_gain(a, nonlinearity, gain)
    else:
        g = 1.0
        scale = 2.0
    n = fan("he_normal", out, mode, fan_in, fan_out, layout, in_axis, out_axis, batch_axis, global_shape)
    form = _NORMAL if truncated is False else _normal_form(truncated)
    _fill_scaled(out, form, g, scale, n, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
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
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """LeCun uniform: U(-b, b), b = sqrt(3 / fan_in).

    Fills ``out`` in place. The variance is 1 / fan_in.

    Parameters
    ----------
    {out}
    {fan_in}
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {layout}
    {common}

    Raises
    ------
    TypeError, ValueError
        fan_in is neither given nor described, or both; it is not a whole
        number >= 1.
        {errors}

    Notes
    -----
    Bits: a function of seed, stream, index, dtype and fan_in alone. Every
    value is in [-b, b) after rounding.

    References
    ----------
    LeCun, Bottou, Orr, Mueller, "Efficient BackProp", 1998.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> w = fastinit.lecun_uniform(np.empty((300, 500), np.float32), layout="keras", seed=1, stream="w")
    >>> bool(abs(w).max() < (3 / 300) ** 0.5), round(float(w.std() * 300 ** 0.5), 1)
    (True, 1.0)
    """
    n = fan("lecun_uniform", out, FAN_IN, fan_in, None, layout, in_axis, out_axis, batch_axis, global_shape)
    _fill_scaled(out, _UNIFORM, 1.0, 1.0, n, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
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
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """LeCun normal: N(0, std), std = 1 / sqrt(fan_in).

    Fills ``out`` in place, as self-normalising networks (selu) ask for. A
    plain normal; Keras, TensorFlow and JAX have ``truncated=True``.

    Parameters
    ----------
    {out}
    {fan_in}
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {truncated}
    {layout}
    {common}

    Raises
    ------
    TypeError, ValueError
        fan_in is neither given nor described, or both; it is not a whole
        number >= 1; truncated is not a bool.
        {errors}

    Notes
    -----
    Bits: a function of seed, stream, index, dtype, fan_in and truncated alone.
    Truncated values keep their bounds after rounding.

    References
    ----------
    LeCun, Bottou, Orr, Mueller, "Efficient BackProp", 1998; for selu:
    Klambauer, Unterthiner, Mayr, Hochreiter, "Self-normalizing neural
    networks", 2017.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> w = fastinit.lecun_normal(np.empty((300, 500), np.float32), in_axis=0, out_axis=1, seed=1, stream="w")
    >>> round(float(w.std() / (1 / 300) ** 0.5), 1)
    1.0
    """
    n = fan("lecun_normal", out, FAN_IN, fan_in, None, layout, in_axis, out_axis, batch_axis, global_shape)
    form = _NORMAL if truncated is False else _normal_form(truncated)
    _fill_scaled(out, form, 1.0, 1.0, n, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
def variance_scaling(
    out: ArrayT,
    scale: Real = _ONE,
    mode: Mode = FAN_IN,
    distribution: Distribution = "normal",
    *,
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
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """Weights of mean 0 and variance scale / n, n by ``mode``.

    Fills ``out`` in place. The other named initialisers are cases of this one.
    normal: N(0, sqrt(scale / n)). uniform: U(-b, b), b = sqrt(3 scale / n).
    truncated_normal: a normal of standard deviation sqrt(scale / n) /
    0.87962566103423978, cut at 2 of that.

    Parameters
    ----------
    {out}
    scale : float, default 1
        The factor on the variance, > 0.
    mode : {"fan_in", "fan_out", "fan_avg", "fan_geo"}, default "fan_in"
        What n is: one of the fans, their mean, or their geometric mean.
    distribution : {"normal", "uniform", "truncated_normal"}, default "normal"
        "normal" is what Keras calls "untruncated_normal".
    fan_in, fan_out : int, optional
        The numbers of inputs and outputs of a unit, as far as ``mode`` needs
        them. Where they are left out, ``layout`` says how to read them from
        the shape.
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {layout}
    {common}

    Raises
    ------
    TypeError, ValueError
        scale is not a finite real number > 0; mode or distribution is unknown;
        the fans are neither given nor described, or both; a fan is not a
        whole number >= 1.
        {errors}

    Notes
    -----
    Bits: a function of seed, stream, index, dtype, scale, n and distribution
    alone. Bounds hold after rounding.

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015, and Glorot,
    Bengio, 2010; under this name in Keras and JAX.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> w = np.empty((3, 3, 64, 128), np.float32)
    >>> w = fastinit.variance_scaling(w, 2.0, "fan_out", layout="keras", seed=1, stream="w")
    >>> round(float(w.std() / (2 / (3 * 3 * 128)) ** 0.5), 1)
    1.0
    >>> same = fastinit.he_normal(np.empty_like(w), mode="fan_out", layout="keras", seed=1, stream="w")
    >>> np.array_equal(w, same)
    True
    """
    n = fan("variance_scaling", out, mode, fan_in, fan_out, layout, in_axis, out_axis, batch_axis, global_shape)
    s = _ONE if scale is _ONE else positive("scale", scale)
    choice("distribution", distribution, tuple(_DISTRIBUTIONS))
    _fill_scaled(
        out, _DISTRIBUTIONS[distribution], 1.0, s, n, seed, stream, global_shape, offset, threads, bit_generator
    )
    return out


@documented
def uniform(
    out: ArrayT,
    low: Real = 0.0,
    high: Real = 1.0,
    *,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """U(low, high): low <= value < high.

    Fills ``out`` in place: value = (low + high) / 2 + v (high - low) / 2, with
    v the midpoints of 2^31 (float64: 2^63) equal cells of (-1, 1).

    Parameters
    ----------
    {out}
    low, high : float, default 0 and 1
        The bounds, low <= high. If they are equal, every element is low.
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {common}

    Raises
    ------
    TypeError, ValueError
        low or high is not a finite real number within the range of the dtype
        of out; low > high; that dtype has no value in [low, high).
        {errors}

    Notes
    -----
    Bits: a function of seed, stream, index, dtype, low and high alone. Every
    value is in [low, high) after rounding to the dtype.

    References
    ----------
    {words}

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> x = fastinit.uniform(np.empty(100_000, np.float32), -0.1, 0.1, seed=1, stream="x")
    >>> bool(x.min() >= -0.1), bool(x.max() < 0.1), abs(round(float(x.mean()), 2))
    (True, True, 0.0)
    """
    _fill(out, _UNIFORM, low, high, 0.0, 0.0, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
def normal(
    out: ArrayT,
    mean: Real = 0.0,
    std: Real = 1.0,
    *,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """N(mean, std): value = mean + std z.

    Fills ``out`` in place; z is the normal quantile of the element's random
    word.

    Parameters
    ----------
    {out}
    mean : float, default 0
        The mean.
    std : float, default 1
        The standard deviation, >= 0. If it is 0, every element is mean.
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {common}

    Raises
    ------
    TypeError, ValueError
        mean is not a finite real number; std is not a finite real number >= 0;
        they are so large that a value would overflow the dtype of out.
        {errors}

    Notes
    -----
    Bits: a function of seed, stream, index, dtype, mean and std alone.

    References
    ----------
    {words}

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> x = fastinit.normal(np.empty(100_000, np.float32), 3.0, 0.5, seed=1, stream="x")
    >>> round(float(x.mean()), 1), round(float(x.std()), 1)
    (3.0, 0.5)
    >>> tail = np.empty(10, np.float32)
    >>> box = {"global_shape": (100_000,), "offset": (99_990,)}
    >>> tail = fastinit.normal(tail, 3.0, 0.5, seed=1, stream="x", **box)
    >>> np.array_equal(tail, x[99_990:])
    True
    """
    _fill(out, _NORMAL, mean, std, 0.0, 0.0, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
def truncated_normal(
    out: ArrayT,
    mean: Real = 0.0,
    std: Real = 1.0,
    low: Real = -2.0,
    high: Real = 2.0,
    *,
    bounds: Bounds = _STD,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """N(mean, std) cut to the window [mean + low std, mean + high std].

    Fills ``out`` in place: value = quantile of N(mean, std) at P(low) + u
    (P(high) - P(low)): one draw for each element and any window, no rejection.
    std is that of the normal before the cut; nothing is corrected for it, as
    in Keras, TensorFlow and JAX. (At 2 standard deviations the cut normal has
    0.88 of it.)

    Parameters
    ----------
    {out}
    mean : float, default 0
        The mean before the cut.
    std : float, default 1
        The standard deviation before the cut, >= 0. If it is 0, every element
        is mean, or the bound that is nearer.
    low, high : float, default -2 and 2
        The bounds, low < high, in standard deviations from the mean; either
        may be infinite.
    bounds : {"std", "absolute"}, default "std"
        "absolute": low and high are values instead, as in PyTorch.
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {common}

    Raises
    ------
    TypeError, ValueError
        mean is not a finite real number; std is not a finite real number >= 0;
        one of them is beyond the range of the dtype of out; low or high is not
        a real number or is NaN; low >= high; low is inf or high is -inf;
        bounds is unknown; the dtype of out has no value in the window.
        {errors}

    Notes
    -----
    Bits: a function of seed, stream, index, dtype, mean, std, low, high and
    bounds alone. Every value is finite and inside the window after rounding to
    the dtype.

    References
    ----------
    {words}

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> x = fastinit.truncated_normal(np.empty(100_000, np.float32), std=0.02, seed=1, stream="x")
    >>> bool(abs(x).max() <= 0.04), round(float(x.std()) / 0.02, 2)
    (True, 0.88)
    >>> x = fastinit.truncated_normal(x, 0.0, 1.0, 0.5, float("inf"), bounds="absolute", seed=1, stream="x")
    >>> bool(x.min() >= 0.5), bool(np.isfinite(x).all())
    (True, True)
    """
    if bounds is _STD:
        form = _TRUNCATED_STD
    else:
        choice("bounds", bounds, tuple(_BOUNDS))
        form = _BOUNDS[bounds]
    _fill(out, form, mean, std, low, high, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
def constant(
    out: ArrayT,
    value: Real,
    *,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """One value: out[...] = value.

    Fills ``out`` in place with the value, rounded to its dtype.

    Parameters
    ----------
    {out}
    value : float
        A real number, also infinite or NaN.

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {unused}
    {common}

    Raises
    ------
    TypeError, ValueError
        value is not a real number, or is finite and overflows the dtype of
        out.
        {errors}

    Notes
    -----
    Bits: value rounded to nearest even. No stream is used up.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> fastinit.constant(np.empty(3, np.float32), 0.5).tolist()
    [0.5, 0.5, 0.5]
    """
    _fill(out, _core.CONSTANT, value, 0.0, 0.0, 0.0, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
def zeros(
    out: ArrayT,
    *,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """Zeros: out[...] = +0.

    Fills ``out`` in place.

    Parameters
    ----------
    {out}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {unused}
    {common}

    Raises
    ------
    TypeError, ValueError
        An argument is not what is described above.
        {errors}

    Notes
    -----
    Bits: all are 0. No stream is used up.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> fastinit.zeros(np.ones(3)).tolist()
    [0.0, 0.0, 0.0]
    """
    _fill(out, _core.CONSTANT, 0.0, 0.0, 0.0, 0.0, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
def ones(
    out: ArrayT,
    *,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """Ones: out[...] = 1.

    Fills ``out`` in place.

    Parameters
    ----------
    {out}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {unused}
    {common}

    Raises
    ------
    TypeError, ValueError
        An argument is not what is described above.
        {errors}

    Notes
    -----
    Bits: exactly 1. No stream is used up.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> fastinit.ones(np.zeros(3)).tolist()
    [1.0, 1.0, 1.0]
    """
    _fill(out, _core.CONSTANT, 1.0, 0.0, 0.0, 0.0, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
def integers(
    out: ArrayT,
    low: Integer,
    high: Integer,
    *,
    endpoint: bool = False,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """Integers from low on, below high, each as likely as the others.

    Fills ``out`` in place: value = low + floor(w n / 2^32), with w the
    element's 32-bit random word and n = high - low, or high - low + 1 with
    ``endpoint``.

    Parameters
    ----------
    out : array
        The array to fill, in place: int8, uint8, int16, uint16, int32 or
        uint32, of any shape and strides.
    low, high : int
        The bounds, low < high, as those of NumPy's ``Generator.integers``:
        high itself is not reached.
    endpoint : bool, default False
        Whether high is reached; low <= high is enough then.
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {common}

    Raises
    ------
    TypeError, ValueError
        low or high is no int; no integer lies between them, or one that is
        beyond the dtype of out; endpoint is neither True nor False; out is of
        another type.
        {errors}

    Notes
    -----
    Bits: a function of seed, stream, index, low and high alone, whatever the
    dtype. If n is a power of two, each value is exactly as likely as any
    other. Else it stands for floor(2^32 / n) or ceil(2^32 / n) words, so its
    probability differs from 1 / n by less than 2^-32; relative to 1 / n, by
    less than n / 2^32.

    References
    ----------
    {words}

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> w = fastinit.integers(np.empty(10_000, np.int8), -127, 128, seed=1, stream="w")
    >>> w.min(), w.max()
    (np.int8(-127), np.int8(127))
    """
    if not isinstance(endpoint, bool | np.bool_):
        raise TypeError(f"endpoint must be True or False, got {typed(endpoint)}")
    low, high, last = _int("low", low), _int("high", high), float(endpoint)
    _fill(out, _core.INTEGERS, low, high, last, 0.0, seed, stream, global_shape, offset, threads, bit_generator)
    return out


@documented
def random_bits(
    out: ArrayT,
    *,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """The raw words of the bit generator.

    Fills ``out`` in place. Element i of a uint32 array is 32-bit word i of the
    stream; of a uint64 array, words 2i (low half) and 2i + 1.

    Parameters
    ----------
    out : array
        The array to fill, in place: uint32 or uint64, of any shape and
        strides.
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {common}

    Raises
    ------
    TypeError, ValueError
        out is neither uint32 nor uint64.
        {errors}

    Notes
    -----
    Bits: a function of seed, stream, index and dtype alone.

    References
    ----------
    Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
    2011.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> words = fastinit.random_bits(np.empty(8, np.uint32), seed=1, stream=2)
    >>> pairs = fastinit.random_bits(np.empty(4, np.uint64), seed=1, stream=2)
    >>> bool((pairs == words[0::2] + (words[1::2].astype(np.uint64) << np.uint64(32))).all())
    True
    """
    _fill(out, _core.BITS, 0.0, 0.0, 0.0, 0.0, seed, stream, global_shape, offset, threads, bit_generator)
    return out


glorot_uniform = xavier_uniform
glorot_normal = xavier_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal
