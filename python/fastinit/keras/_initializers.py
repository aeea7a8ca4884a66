"""Initialisers with the names, arguments and distributions of Keras's random ones, and ``Identity``.

Each is a subclass of Keras's class of that name, which brings its arguments, its configuration, and the treatment that
layers give to that class: ``EinsumDense`` tells a ``VarianceScaling`` which axes are inputs, and no other initialiser.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
import numpy as np

import fastinit

from .. import _core
from .._arguments import at_least_zero, expanded, integers, shown, with_margins
from .._fans import read_shape
from ._tensors import FLOATS, filled, float_type
from ._variables import UNKNOWN, next_stream, variable_of_call

__all__ = [
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "LecunNormal",
    "LecunUniform",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
]

ClassT = TypeVar("ClassT", bound=type)

_SHARED = {
    "seed": """\
seed : int or keras.random.SeedGenerator, optional
    An int stands for itself modulo 2**64. By default it is drawn when the
    object is made, as in Keras: ``keras.utils.set_random_seed`` governs.
    Each variable has a stream of its own, its path; see Notes.""",
    "axes": """\
input_axes, output_axes : sequence of int, optional
    The axes of inputs and outputs, from Keras 3.15 on. If both are given,
    the fans are the products of these sizes alone: the axes that are left
    do not count. Otherwise shapes are read as ``(*kernel, in, out)``.""",
    "raises": """\
TypeError, ValueError
    An argument is not what is described above. Calls refuse dtypes other
    than float32, float64, float16 and bfloat16.""",
    "bits": """\
Bits: where Keras makes a variable, those of the function of ``fastinit``
with this seed and ``stream=`` the variable's path, such as
"dense/kernel"; for a second draw for the same variable "path#2", and so
on. So two layers with one seed differ, unlike Keras's, unless they have
one path (docs/keras.md says when). A call of the object itself has
stream 0, and gives the same values each time. With a ``SeedGenerator``
its counter is the stream of a call, and "@" with the counter is added
to that of a variable.""",
}
_PIECES = with_margins(_SHARED)


def _public(initializer: ClassT) -> ClassT:
    """The same class, with the shared text in its docstring, and registered for Keras's files."""
    initializer.__doc__ = expanded(initializer.__doc__, _PIECES)
    registered: ClassT = keras.saving.register_keras_serializable("fastinit")(initializer)
    return registered


def _number(name: str, value: Any) -> float:
    """A finite number, also from a tensor of no dimensions."""
    if (keras.ops.is_tensor(value) or isinstance(value, np.ndarray)) and len(value.shape) == 0:
        value = keras.ops.convert_to_numpy(value).item()
    return _core.real(value, name, "a finite real number")


def _product(name: str, axes: object, shape: tuple[int, ...]) -> int:
    """The product of the sizes of some axes."""
    n_dims = len(shape)
    try:
        return math.prod(shape[axis] for axis in integers(name, axes))
    except IndexError:
        raise ValueError(
            f"{name} must lie in {-n_dims} .. {n_dims - 1} for the shape {shape}, got {shown(axes)}"
        ) from None


class _Filled:
    """What makes a tensor by a function of fastinit, instead of Keras's way."""

    _function: Callable[[tuple[int, ...]], Callable[..., object]]  # of a shape: the function that fills an array of it

    def _seed_and_stream(self, variable: Any) -> tuple[int, int | str]:
        """Those of the next draw, for a variable or for None."""
        seed = self.seed  # type: ignore[attr-defined]
        if not isinstance(seed, keras.random.SeedGenerator):
            return seed % 2**64, 0 if variable is None else next_stream(variable)
        try:
            first, count = (int(word) % 2**32 for word in keras.ops.convert_to_numpy(seed.next()))
        except Exception as error:  # each backend has its own
            raise TypeError(
                "seed must be an int where Keras traces what is called, as jit and tf.function do, got a SeedGenerator"
            ) from error
        return first, count if variable is None else f"{next_stream(variable)}@{count}"

    def __call__(self, shape: Sequence[int], dtype: Any = None, layout: Any = None) -> Any:
        dims, element = integers("shape", shape), float_type(dtype)
        if min(dims, default=0) < 0:
            raise ValueError(f"shape must hold ints >= 0, got {shown(shape)}")
        function = self._function(dims)
        function(fastinit.empty((0,) * len(dims), element), seed=0, stream=0)  # which refuses what it cannot fill
        variable = variable_of_call()
        if variable is UNKNOWN:
            return keras.ops.zeros(dims, dtype=element.name)
        seed, stream = self._seed_and_stream(variable)
        return filled(dims, element, layout, functools.partial(function, seed=seed, stream=stream))


@_public
class RandomNormal(_Filled, keras.initializers.RandomNormal):  # type: ignore[misc]
    """N(mean, stddev).

    Parameters
    ----------
    mean : float, default 0
        The mean.
    stddev : float, default 0.05
        The standard deviation, >= 0.
    {seed}

    Raises
    ------
    {raises}

    Notes
    -----
    {bits}

    Examples
    --------
    >>> import fastinit.keras
    >>> w = fastinit.keras.RandomNormal(stddev=0.02, seed=0)((64, 8))
    >>> tuple(w.shape)
    (64, 8)
    """

    __module__ = "fastinit.keras"

    def __init__(self, mean: Any = 0.0, stddev: Any = 0.05, seed: Any = None) -> None:
        super().__init__(_number("mean", mean), at_least_zero("stddev", _number("stddev", stddev)), seed)

    def _function(self, shape: tuple[int, ...]) -> Callable[..., object]:
        return functools.partial(fastinit.normal, mean=self.mean, std=self.stddev)


@_public
class TruncatedNormal(_Filled, keras.initializers.TruncatedNormal):  # type: ignore[misc]
    """N(mean, stddev), cut at 2 stddev from the mean.

    stddev is that before the cut; what is left has 0.88 of it.

    Parameters
    ----------
    mean : float, default 0
        The mean.
    stddev : float, default 0.05
        The standard deviation before the cut, >= 0.
    {seed}

    Raises
    ------
    {raises}

    Notes
    -----
    {bits}

    Examples
    --------
    >>> import keras, fastinit.keras
    >>> w = fastinit.keras.TruncatedNormal(stddev=0.02, seed=0)((64, 8))
    >>> bool(keras.ops.max(keras.ops.abs(w)) <= 0.04)
    True
    """

    __module__ = "fastinit.keras"

    def __init__(self, mean: Any = 0.0, stddev: Any = 0.05, seed: Any = None) -> None:
        super().__init__(_number("mean", mean), at_least_zero("stddev", _number("stddev", stddev)), seed)

    def _function(self, shape: tuple[int, ...]) -> Callable[..., object]:
        return functools.partial(fastinit.truncated_normal, mean=self.mean, std=self.stddev)


@_public
class RandomUniform(_Filled, keras.initializers.RandomUniform):  # type: ignore[misc]
    """U(minval, maxval): minval <= value < maxval.

    Parameters
    ----------
    minval, maxval : float, default -0.05 and 0.05
        The bounds, minval <= maxval. If they are equal, every element is
        minval.
    {seed}

    Raises
    ------
    {raises}

    Notes
    -----
    {bits}

    Examples
    --------
    >>> import fastinit.keras
    >>> w = fastinit.keras.RandomUniform(-0.1, 0.1, seed=0)((64, 8))
    >>> tuple(w.shape)
    (64, 8)
    """

    __module__ = "fastinit.keras"

    def __init__(self, minval: Any = -0.05, maxval: Any = 0.05, seed: Any = None) -> None:
        low, high = _number("minval", minval), _number("maxval", maxval)
        if low > high:
            raise ValueError(f"minval must be at most maxval, got minval={shown(minval)}, maxval={shown(maxval)}")
        super().__init__(low, high, seed)

    def _function(self, shape: tuple[int, ...]) -> Callable[..., object]:
        return functools.partial(fastinit.uniform, low=self.minval, high=self.maxval)


class _Scaled(_Filled):
    """A ``VarianceScaling`` of Keras."""

    def _function(self, shape: tuple[int, ...]) -> Callable[..., object]:
        given: Any = self
        # Before 3.15 Keras has no such axes.
        ins, outs = getattr(given, "input_axes", None), getattr(given, "output_axes", None)
        if ins is None or outs is None:
            fans = read_shape(shape, "keras", None, None, None)
        else:
            fans = _product("input_axes", ins, shape), _product("output_axes", outs, shape)
        return functools.partial(
            fastinit.variance_scaling,
            scale=given.scale,
            mode=given.mode,
            distribution="normal" if given.distribution == "untruncated_normal" else given.distribution,
            fan_in=max(1, fans[0]),  # of nothing, any fan will do
            fan_out=max(1, fans[1]),
        )


@_public
class VarianceScaling(_Scaled, keras.initializers.VarianceScaling):  # type: ignore[misc]
    """Mean 0 and variance scale / n, n by ``mode``.

    truncated_normal: a normal of standard deviation sqrt(scale / n) /
    0.87962566103423978, cut at 2 of that. untruncated_normal:
    N(0, sqrt(scale / n)). uniform: U(-b, b), b = sqrt(3 scale / n).

    Parameters
    ----------
    scale : float, default 1
        The factor on the variance, > 0.
    mode : {"fan_in", "fan_out", "fan_avg"}, default "fan_in"
        What n is: one of the fans, or their mean.
    distribution : str, default "truncated_normal"
        That, "untruncated_normal" or "uniform"; "normal" is the first.
    {seed}
    {axes}

    Raises
    ------
    {raises}

    Notes
    -----
    {bits}

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015, and Glorot,
    Bengio, 2010; under this name in Keras.

    Examples
    --------
    >>> import fastinit.keras
    >>> w = fastinit.keras.VarianceScaling(2.0, "fan_out", seed=0)((3, 3, 64, 128))
    >>> tuple(w.shape)
    (3, 3, 64, 128)
    """

    __module__ = "fastinit.keras"


@_public
class GlorotUniform(_Scaled, keras.initializers.GlorotUniform):  # type: ignore[misc]
    """Glorot (Xavier) uniform: variance 2 / (fan_in + fan_out).

    U(-b, b), b = sqrt(6 / (fan_in + fan_out)). Keras's layers use it where
    nothing else is said.

    Parameters
    ----------
    {seed}
    {axes}

    Raises
    ------
    {raises}

    Notes
    -----
    {bits}

    References
    ----------
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", 2010.

    Examples
    --------
    >>> import keras, fastinit.keras
    >>> layer = keras.layers.Dense(64, kernel_initializer=fastinit.keras.GlorotUniform(seed=0))
    """

    __module__ = "fastinit.keras"


@_public
class GlorotNormal(_Scaled, keras.initializers.GlorotNormal):  # type: ignore[misc]
    """Glorot (Xavier) normal: variance 2 / (fan_in + fan_out).

    A normal cut at 2 of its own standard deviations, with this variance after
    the cut.

    Parameters
    ----------
    {seed}
    {axes}

    Raises
    ------
    {raises}

    Notes
    -----
    {bits}

    References
    ----------
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", 2010.

    Examples
    --------
    >>> import keras, fastinit.keras
    >>> layer = keras.layers.Dense(64, kernel_initializer=fastinit.keras.GlorotNormal(seed=0))
    """

    __module__ = "fastinit.keras"


@_public
class HeUniform(_Scaled, keras.initializers.HeUniform):  # type: ignore[misc]
    """He uniform: variance 2 / fan_in.

    U(-b, b), b = sqrt(6 / fan_in).

    Parameters
    ----------
    {seed}
    {axes}

    Raises
    ------
    {raises}

    Notes
    -----
    {bits}

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level
    performance on ImageNet classification", 2015.

    Examples
    --------
    >>> import keras, fastinit.keras
    >>> layer = keras.layers.Dense(64, kernel_initializer=fastinit.keras.HeUniform(seed=0))
    """

    __module__ = "fastinit.keras"


@_public
class HeNormal(_Scaled, keras.initializers.HeNormal):  # type: ignore[misc]
    """He normal: variance 2 / fan_in.

    A normal cut at 2 of its own standard deviations, with this variance after
    the cut.

    Parameters
    ----------
    {seed}
    {axes}

    Raises
    ------
    {raises}

    Notes
    -----
    {bits}

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level
    performance on ImageNet classification", 2015.

    Examples
    --------
    >>> import keras, fastinit.keras
    >>> layer = keras.layers.Dense(64, kernel_initializer=fastinit.keras.HeNormal(seed=0))
    """

    __module__ = "fastinit.keras"


@_public
class LecunUniform(_Scaled, keras.initializers.LecunUniform):  # type: ignore[misc]
    """LeCun uniform: variance 1 / fan_in.

    U(-b, b), b = sqrt(3 / fan_in).

    Parameters
    ----------
    {seed}
    {axes}

    Raises
    ------
    {raises}

    Notes
    -----
    {bits}

    References
    ----------
    LeCun, Bottou, Orr, Mueller, "Efficient BackProp", 1998.

    Examples
    --------
    >>> import keras, fastinit.keras
    >>> layer = keras.layers.Dense(64, kernel_initializer=fastinit.keras.LecunUniform(seed=0))
    """

    __module__ = "fastinit.keras"


@_public
class LecunNormal(_Scaled, keras.initializers.LecunNormal):  # type: ignore[misc]
    """LeCun normal: variance 1 / fan_in.

    A normal cut at 2 of its own standard deviations, with this variance after
    the cut.

    Parameters
    ----------
    {seed}
    {axes}

    Raises
    ------
    {raises}

    Notes
    -----
    {bits}

    References
    ----------
    LeCun, Bottou, Orr, Mueller, "Efficient BackProp", 1998; for selu:
    Klambauer, Unterthiner, Mayr, Hochreiter, "Self-normalizing neural
    networks", 2017.

    Examples
    --------
    >>> import keras, fastinit.keras
    >>> layer = keras.layers.Dense(64, kernel_initializer=fastinit.keras.LecunNormal(seed=0))
    """

    __module__ = "fastinit.keras"


@_public
class Orthogonal(_Filled, keras.initializers.Orthogonal):  # type: ignore[misc]
    """Orthonormal rows or columns, times gain: ``fastinit.orthogonal``.

    Of more than two dimensions, all but the last are the rows.

    Parameters
    ----------
    gain : float, default 1
        The length of the vectors.
    {seed}

    Raises
    ------
    TypeError, ValueError
        As for the others; and calls refuse shapes of fewer than two
        dimensions.

    Notes
    -----
    {bits}

    The matrix is computed in float64; its last bits are those of NumPy's
    LAPACK.

    References
    ----------
    Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks", 2013.

    Examples
    --------
    >>> import keras, fastinit.keras
    >>> layer = keras.layers.Dense(64, kernel_initializer=fastinit.keras.Orthogonal(seed=0))
    """

    __module__ = "fastinit.keras"

    def __init__(self, gain: Any = 1.0, seed: Any = None) -> None:
        super().__init__(_number("gain", gain), seed)

    def _function(self, shape: tuple[int, ...]) -> Callable[..., object]:
        if len(shape) < 2:
            raise ValueError(f"shape must have at least two dimensions for Orthogonal, got {shape}")
        return functools.partial(fastinit.orthogonal, gain=self.gain, layout="keras")


@_public
class Identity(_Filled, keras.initializers.Identity):  # type: ignore[misc]
    """The identity matrix times gain.

    Nothing is drawn. Dtypes that fastinit does not fill are left to Keras.

    Parameters
    ----------
    gain : float, default 1
        The value on the diagonal.

    Raises
    ------
    TypeError, ValueError
        gain is not a finite real number; and calls refuse shapes of other than
        two dimensions.

    References
    ----------
    Le, Jaitly, Hinton, "A simple way to initialize recurrent networks of
    rectified linear units", 2015.

    Examples
    --------
    >>> import keras, fastinit.keras
    >>> matrix = fastinit.keras.Identity()((2, 3))
    >>> keras.ops.convert_to_numpy(matrix).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """

    __module__ = "fastinit.keras"

    def __init__(self, gain: Any = 1.0) -> None:
        _number("gain", gain)  # refuses what is none; an int stays one, for matrices of ints
        super().__init__(gain)

    def _function(self, shape: tuple[int, ...]) -> Callable[..., object]:
        if len(shape) != 2:
            raise ValueError(f"shape must have two dimensions for Identity, got {shape}")
        return functools.partial(fastinit.identity, gain=self.gain)

    def _seed_and_stream(self, variable: Any) -> tuple[int, int | str]:
        return 0, 0

    def get_config(self) -> dict[str, Any]:
        """The arguments, of which Keras's own class has none."""
        return {"gain": self.gain}

    def __call__(self, shape: Sequence[int], dtype: Any = None, layout: Any = None) -> Any:
        if layout is None and keras.backend.standardize_dtype(dtype) not in FLOATS:
            return keras.initializers.Identity.__call__(self, shape, dtype)
        return super().__call__(shape, dtype, layout)
