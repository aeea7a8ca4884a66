"""Initialisers with the names, arguments and distributions of ``jax.nn.initializers``."""

from __future__ import annotations

import functools
import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar, overload

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from numpy.typing import NDArray

from .. import _core
from .._arguments import at_least_zero, choice, expanded, integer, positive, shown, typed, with_margins
from .._fans import read_shape
from ..recipes import Initializer
from ..recipes._core import keywords, plain
from ..recipes._moments import Shape
from ._arrays import LAYOUT, check_dtype, check_shape, check_sharding, filled, float_type, new_part

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "JaxInitializer",
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Axes: TypeAlias = int | Sequence[int]
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

# JAX's modes, and what fastinit calls them.
_MODES = {"fan_in": "fan_in", "fan_out": "fan_out", "fan_avg": "fan_avg", "fan_geo_avg": "fan_geo"}
# JAX's defaults, which a repr leaves out.
_AXES: dict[str, object] = {"in_axis": -2, "out_axis": -1, "batch_axis": ()}
_DEFAULTS = {**_AXES, "lower": -2.0, "upper": 2.0, "column_axis": -1}
# What fastinit's functions call the arguments of the functions here, where these have other names.
_CALLED = {
    "uniform": {"low": "scale", "high": "scale"},
    "normal": {"std": "stddev"},
    "truncated_normal": {"std": "stddev", "low": "lower", "high": "upper"},
    "variance_scaling": {"gain or scale": "scale"},
    "orthogonal": {"gain": "scale"},
}
# Called with a key they are JAX's own, which take any dtype, need no key and stay on the device.
_DRAW_NOTHING = ("constant", "ones", "zeros")


# --- JAX's protocol -------------------------------------------------------------------------------------------------


def _key_words(key: Any) -> Any:
    """The 32-bit words of a key of either kind, traced or not."""
    words = jax.random.key_data(key)
    if words.shape not in ((2,), (4,)):
        raise ValueError(f"key must be a single key of 64 or 128 bits, got one with data of shape {words.shape}")
    return words


def _seed_and_stream(words: Any) -> tuple[int, int]:
    """The first 64 bits, most significant word first, so that ``jax.random.key(5)`` is seed 5; and the rest, or 0."""
    numbers = [int(high) << 32 | int(low) for high, low in np.asarray(words).reshape(-1, 2)]
    return numbers[0], sum(numbers[1:])


def _checked_dtype(function: str, dtype: object) -> np.dtype[Any] | None:
    """The dtype that an initialiser keeps."""
    if dtype is None:
        return None
    if function not in _DRAW_NOTHING:
        return float_type(dtype)
    try:
        return np.dtype(dtype)  # type: ignore[no-any-return, call-overload]
    except TypeError:
        raise TypeError(f"dtype must be one that JAX has, got {typed(dtype)}") from None


class JaxInitializer(Initializer):
    """A function of fastinit with its arguments, as one of JAX's initialisers.

    The functions of ``fastinit.jax`` return it: ``he_normal()`` and so on. It
    is a ``fastinit.recipes.Initializer``, and can stand wherever one can: it
    cannot be changed, can be hashed and pickled, and equals another of the
    same function, arguments and dtype.

    Parameters
    ----------
    function : str
        The name of a function of fastinit.
    arguments : mapping, optional
        Its arguments by name, see ``fastinit.recipes.Initializer``. Without
        fans, a layout or axes, shapes are read as (*kernel, in, out).
    dtype : dtype, optional
        Of the arrays, where a call does not say it: float32, float64, float16
        or bfloat16. By default JAX's own default. "constant", "zeros" and
        "ones" take any.
    **more
        Arguments as keywords.

    Attributes
    ----------
    function : str
        The name of the function.
    arguments : mapping
        Its arguments. It cannot be changed.
    dtype : numpy.dtype or None
        Of the arrays, where a call does not say it.

    Raises
    ------
    TypeError, ValueError
        function, arguments or dtype is not what is described above.

    Examples
    --------
    >>> import jax, fastinit.jax
    >>> fastinit.jax.he_normal(dtype="bfloat16")
    fastinit.jax.he_normal(dtype='bfloat16')

    A function of fastinit that JAX does not have:

    >>> init = fastinit.jax.JaxInitializer("sparse", sparsity=0.5, std=1.0)
    >>> init
    JaxInitializer('sparse', sparsity=0.5, std=1.0)
    >>> int((init(jax.random.key(0), (64, 8)) == 0).sum())
    256
    """

    __slots__ = ("_dtype", "_spelling")
    __module__ = "fastinit.jax"
    _layout: ClassVar[str] = LAYOUT
    _dtype: np.dtype[Any] | None
    # What of this module returned it: a function and its arguments other than the defaults, or a value and None.
    _spelling: tuple[str, Mapping[str, object] | None] | None

    def __new__(
        cls, function: str, arguments: Mapping[str, object] | None = None, /, *, dtype: Any = None, **more: object
    ) -> Self:
        return cls._made(function, arguments, more, _dtype=_checked_dtype(function, dtype), _spelling=None)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Of the arrays, where a call does not say it."""
        return self._dtype

    def _words(self, text: str) -> str:
        """The same with the caller's names, and without what the function got: the repr says what the caller gave."""
        text = super()._words(text)
        if self._spelling is None:
            return text
        called = _CALLED.get(self.function, {})
        return re.sub("^(gain or scale|[a-z]+)", lambda name: called.get(name[0], name[0]), text.split(": got ")[0])

    def check(self, shape: Shape, dtype: Any, layout: str | None = None) -> None:
        """Raise what ``fill`` would raise for such an array.

        Parameters
        ----------
        shape : sequence of int
            Of the whole array. Nothing of that size is made.
        dtype : dtype
            Of the array.
        layout : {"torch", "keras"}, default "keras"
            As for ``fill``.

        Raises
        ------
        TypeError, ValueError
            What ``fill`` raises, with this initialiser before it.

        Examples
        --------
        >>> import fastinit.jax
        >>> fastinit.jax.he_normal().check((512, 512), "float32")
        """
        # Axes are mostly JAX's defaults: who has a vector filled should not be told of an axis that nobody gave.
        axes = [self.arguments.get(name) for name in _AXES]
        if len(shape) < 2 and axes != [None, None, None]:
            try:
                read_shape(tuple(shape), None, *axes)
            except ValueError:
                raise ValueError(
                    f"{self!r}: a {'vector' if shape else 'scalar'} has no fans, which take an axis of inputs and one "
                    f"of outputs; got shape {tuple(shape)}: use an initialiser without fans, such as zeros or normal"
                ) from None
        super().check(shape, dtype, layout)

    def _key(self) -> tuple[object, ...]:
        return (*super()._key(), self.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        make = functools.partial(type(self)._made, _dtype=self.dtype, _spelling=self._spelling)
        return make, (self.function, dict(self.arguments), {})

    def __repr__(self) -> str:
        """The call that returns it, or its name."""
        if self._spelling is None:
            name, values = type(self).__name__, [repr(self.function), *keywords(self.arguments)]
        elif self._spelling[1] is None:
            return f"fastinit.jax.{self._spelling[0]}"
        else:
            name, values = f"fastinit.jax.{self._spelling[0]}", keywords(self._spelling[1])
        if self.dtype is not None:
            values.append(f"dtype={self.dtype.name!r}")
        return f"{name}({', '.join(values)})"

    def __call__(
        self,
        key: Any,
        shape: Sequence[int],
        dtype: Any = None,
        out_sharding: NamedSharding | PartitionSpec | None = None,
    ) -> jax.Array:
        """A new array, as JAX's initialisers make it.

        Parameters
        ----------
        key : jax.Array
            A key of JAX, typed or of uint32. Its first 64 bits are the seed;
            the stream is the other 64 of an ``rbg`` key, and 0 for a
            ``threefry2x32`` key.
        shape : sequence of int
            Of the whole array.
        dtype : dtype, optional
            float32, float64 (with ``jax_enable_x64``), float16 or bfloat16. By
            default this initialiser's, else JAX's.
        out_sharding : NamedSharding or PartitionSpec, optional
            Where the array is to be. Each device's part alone is made.

        Returns
        -------
        jax.Array
            With a traced key, under ``jit``, ``vmap`` or ``eval_shape``, it
            comes from ``jax.pure_callback``: the same bits, but made whole on
            the host in each run, and only then put on ``out_sharding``.

        Raises
        ------
        TypeError, ValueError
            An argument is not what is described above; the shape has no fans,
            and this initialiser needs some.

        Notes
        -----
        Bits: those of the fill with that seed and stream, traced or not.

        "constant", "zeros" and "ones" draw nothing: a call is one of JAX's own
        initialiser, which takes None for a key and any dtype.

        Examples
        --------
        >>> import jax, numpy as np, fastinit, fastinit.jax
        >>> w = fastinit.jax.normal(0.02)(jax.random.key(5), (64, 8))
        >>> same = fastinit.normal(np.empty((64, 8), np.float32), std=0.02, seed=5)
        >>> np.array_equal(w, same)
        True
        """
        dtype = self.dtype if dtype is None else dtype
        if self.function in _DRAW_NOTHING:
            own = getattr(jax.nn.initializers, self.function)
            own = own(self.arguments["value"]) if self.function == "constant" else own
            constants: jax.Array = own(key, shape, dtype, out_sharding)
            return constants
        shape, element = check_shape(shape), check_dtype(dtype, float_type)
        words = _key_words(key)
        if isinstance(out_sharding, PartitionSpec) and jax.sharding.get_abstract_mesh().empty:
            raise ValueError(
                "out_sharding must be a NamedSharding where no mesh is set, as jax.set_mesh does for a PartitionSpec; "
                f"got {shown(out_sharding)}"
            )

        def fill(words: Any) -> Callable[..., object]:
            seed, stream = _seed_and_stream(words)
            return functools.partial(self.fill, seed=seed, stream=stream)

        if not isinstance(words, jax.core.Tracer):
            if isinstance(out_sharding, PartitionSpec):
                out_sharding = NamedSharding(jax.sharding.get_mesh(), out_sharding)
            if out_sharding is not None:
                check_sharding("out_sharding", out_sharding, shape)
            try:
                return filled(shape, element, out_sharding, fill(words))
            except (TypeError, ValueError):
                self.check(shape, element)  # says which initialiser it is; before the fill it would cost time
                raise
        self.check(shape, element)

        def whole(words: Any) -> NDArray[Any]:
            return new_part(shape, element, fill(words))

        what = jax.ShapeDtypeStruct(shape, element)  # type: ignore[no-untyped-call, unused-ignore]
        array: jax.Array = jax.pure_callback(whole, what, words, vmap_method="sequential")
        if out_sharding is not None:
            array = jax.sharding.reshard(array, out_sharding)  # type: ignore[no-untyped-call, unused-ignore]
        return array


# --- the functions --------------------------------------------------------------------------------------------------

_SHARED = {
    "axes": """\
in_axis, out_axis : int or sequence of int, default -2 and -1
    The axes of inputs and of outputs; negative ones count from the end.
batch_axis : int or sequence of int, default ()
    Axes of independent copies. The axes that are left are the kernel.""",
    "dtype": """\
dtype : dtype, optional
    Of the arrays, where a call does not say it: float32, float64, float16
    or bfloat16. By default JAX's own default.""",
    "returns": """\
JaxInitializer
    To be called with key, shape and, optionally, dtype and out_sharding.""",
    "fans": """\
TypeError, ValueError
    An axis is not an int, or dtype not one of these. Calls refuse shapes
    that do not have these axes; a vector has no fans.""",
}
_PIECES = with_margins(_SHARED)


def _documented(function: FunctionT) -> FunctionT:
    """The same function, with the shared text in its docstring."""
    function.__doc__ = expanded(function.__doc__, _PIECES)
    return function


def _number(value: Any) -> Any:
    """An array of no dimensions as a number. The checks that follow refuse what is no real number."""
    return value.item() if isinstance(value, jax.Array | np.ndarray) and value.ndim == 0 else value


def _initializer(
    function: str, arguments: Mapping[str, object], dtype: object, name: str, said: Mapping[str, object] | None
) -> JaxInitializer:
    """Of a function of fastinit and its arguments. ``name`` of this module returns it, if called with ``said``."""
    if said is not None:
        values = {argument: plain(value) for argument, value in said.items()}
        said = {argument: value for argument, value in values.items() if value != _DEFAULTS.get(argument)}
    return JaxInitializer._made(function, arguments, {}, _dtype=_checked_dtype(function, dtype), _spelling=(name, said))


zeros = _initializer("zeros", {}, None, "zeros", None)
ones = _initializer("ones", {}, None, "ones", None)


@overload
def constant(value: float, dtype: Any = None) -> JaxInitializer: ...
@overload
def constant(value: Any, dtype: Any = None) -> JaxInitializer | jax.nn.initializers.Initializer: ...
def constant(value: Any, dtype: Any = None) -> JaxInitializer | jax.nn.initializers.Initializer:
    """All elements are value.

    Parameters
    ----------
    value : float
        The value.
    dtype : dtype, optional
        Of the arrays, where a call does not say it: any that JAX has. By
        default JAX's own default.

    Returns
    -------
    JaxInitializer
        To be called with key, shape and, optionally, dtype and out_sharding.
        For what is no real number, such as an array of several, it is JAX's
        own initialiser, which no recipe takes.

    Raises
    ------
    TypeError, ValueError
        value is not a number or an array, or dtype not a dtype.

    Examples
    --------
    >>> import fastinit.jax
    >>> fastinit.jax.constant(0.5)
    fastinit.jax.constant(value=0.5)
    """
    if isinstance(value, jax.core.Tracer) or np.ndim(value) > 0 or np.iscomplexobj(value):
        return jax.nn.initializers.constant(value, dtype)
    number = _number(value)
    number = int(number) if isinstance(number, bool | np.bool_) else number  # the same in every dtype
    return _initializer("constant", {"value": number}, dtype, "constant", {"value": number})


@_documented
def uniform(scale: Any = 1e-2, dtype: Any = None) -> JaxInitializer:
    """U(0, scale): 0 <= value < scale.

    Parameters
    ----------
    scale : float, default 0.01
        The bound that is not 0; it may be negative.
    {dtype}

    Returns
    -------
    {returns}

    Raises
    ------
    TypeError, ValueError
        scale is not a finite number, or dtype not one of these.

    Examples
    --------
    >>> import fastinit.jax
    >>> fastinit.jax.uniform(0.5)
    fastinit.jax.uniform(scale=0.5)
    """
    bound = _core.real(_number(scale), "scale", "a finite number")
    low, high = sorted((0.0, bound or 0.0))  # -0.0 is 0.0 here
    return _initializer("uniform", {"low": low, "high": high}, dtype, "uniform", {"scale": bound or 0.0})


@_documented
def normal(stddev: Any = 1e-2, dtype: Any = None) -> JaxInitializer:
    """N(0, stddev).

    Parameters
    ----------
    stddev : float, default 0.01
        The standard deviation, >= 0.
    {dtype}

    Returns
    -------
    {returns}

    Raises
    ------
    TypeError, ValueError
        stddev is not a finite number >= 0, or dtype not one of these.

    Examples
    --------
    >>> import fastinit.jax
    >>> fastinit.jax.normal(0.02)
    fastinit.jax.normal(stddev=0.02)
    """
    std = at_least_zero("stddev", _number(stddev))
    return _initializer("normal", {"std": std}, dtype, "normal", {"stddev": std})


@_documented
def truncated_normal(stddev: Any = 1e-2, dtype: Any = None, lower: Any = -2.0, upper: Any = 2.0) -> JaxInitializer:
    """N(0, stddev) cut at lower * stddev and upper * stddev.

    stddev is the standard deviation before the cut; what is left has a smaller
    one, 0.88 stddev with the default bounds.

    Parameters
    ----------
    stddev : float, default 0.01
        The standard deviation of the whole normal, >= 0.
    {dtype}
    lower, upper : float, default -2 and 2
        The bounds, in units of stddev.

    Returns
    -------
    {returns}

    Raises
    ------
    TypeError, ValueError
        stddev is not a finite number >= 0; lower is not below upper; dtype is
        not one of these.

    Examples
    --------
    >>> import fastinit.jax
    >>> fastinit.jax.truncated_normal(0.02, lower=-3.0)
    fastinit.jax.truncated_normal(stddev=0.02, lower=-3.0)
    """
    std, low, high = at_least_zero("stddev", _number(stddev)), _number(lower), _number(upper)
    for name, value in (("lower", low), ("upper", high)):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{name} must be a number, got {typed(value)}")
    if not low < high:
        raise ValueError(f"lower must be below upper, got lower={shown(lower)}, upper={shown(upper)}")
    return _initializer(
        "truncated_normal",
        {"std": std, "low": low, "high": high, "bounds": "std"},
        dtype,
        "truncated_normal",
        {"stddev": std, "lower": low, "upper": high},
    )


@_documented
def variance_scaling(
    scale: Any,
    mode: Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"],
    distribution: Literal["truncated_normal", "normal", "uniform"],
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
) -> JaxInitializer:
    """Mean 0 and variance scale / n, n by mode.

    Parameters
    ----------
    scale : float
        > 0.
    mode : {"fan_in", "fan_out", "fan_avg", "fan_geo_avg"}
        What n is: the number of inputs, that of outputs, their mean or their
        geometric mean.
    distribution : {"truncated_normal", "normal", "uniform"}
        The truncated normal is cut at 2 of its own standard deviations, and
        has variance scale / n after the cut.
    {axes}
    {dtype}

    Returns
    -------
    {returns}

    Raises
    ------
    TypeError, ValueError
        scale is not a finite number > 0; mode or distribution is unknown; an
        axis is not an int, or dtype not one of these. Calls refuse shapes that
        do not have these axes; a vector has no fans.

    Examples
    --------
    >>> import fastinit.jax
    >>> fastinit.jax.variance_scaling(0.5, "fan_out", "normal")
    fastinit.jax.variance_scaling(scale=0.5, mode='fan_out', distribution='normal')
    """
    choice("mode", mode, tuple(_MODES))
    law = {"scale": positive("scale", _number(scale)), "mode": mode, "distribution": distribution}
    axes = {"in_axis": in_axis, "out_axis": out_axis, "batch_axis": batch_axis}
    arguments = {**law, "mode": _MODES[mode], **axes}
    return _initializer("variance_scaling", arguments, dtype, "variance_scaling", {**law, **axes})


def _named(
    name: str, scale: float, mode: str, distribution: str, in_axis: Axes, out_axis: Axes, batch_axis: Axes, dtype: Any
) -> JaxInitializer:
    """A case of variance_scaling with a name of its own."""
    law = {"scale": scale, "mode": mode, "distribution": distribution}
    axes = {"in_axis": in_axis, "out_axis": out_axis, "batch_axis": batch_axis}
    return _initializer("variance_scaling", {**law, **axes}, dtype, name, axes)


@_documented
def glorot_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> JaxInitializer:
    """Xavier uniform: variance 2 / (fan_in + fan_out).

    U(-b, b), b = sqrt(6 / (fan_in + fan_out)). Also called
    ``xavier_uniform``.

    Parameters
    ----------
    {axes}
    {dtype}

    Returns
    -------
    {returns}

    Raises
    ------
    {fans}

    References
    ----------
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", 2010.

    Examples
    --------
    >>> import jax, fastinit.jax
    >>> w = fastinit.jax.glorot_uniform()(jax.random.key(0), (256, 512))
    >>> w.shape
    (256, 512)
    """
    return _named("glorot_uniform", 1.0, "fan_avg", "uniform", in_axis, out_axis, batch_axis, dtype)


@_documented
def glorot_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> JaxInitializer:
    """Xavier normal: variance 2 / (fan_in + fan_out).

    A normal cut at 2 of its own standard deviations, with this variance after
    the cut. Also called ``xavier_normal``.

    Parameters
    ----------
    {axes}
    {dtype}

    Returns
    -------
    {returns}

    Raises
    ------
    {fans}

    References
    ----------
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward
    neural networks", 2010.

    Examples
    --------
    >>> import jax, fastinit.jax
    >>> w = fastinit.jax.glorot_normal()(jax.random.key(0), (256, 512))
    >>> w.shape
    (256, 512)
    """
    return _named("glorot_normal", 1.0, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


@_documented
def lecun_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> JaxInitializer:
    """LeCun uniform: variance 1 / fan_in.

    U(-b, b), b = sqrt(3 / fan_in).

    Parameters
    ----------
    {axes}
    {dtype}

    Returns
    -------
    {returns}

    Raises
    ------
    {fans}

    References
    ----------
    LeCun, Bottou, Orr, Mueller, "Efficient BackProp", 1998.

    Examples
    --------
    >>> import jax, fastinit.jax
    >>> w = fastinit.jax.lecun_uniform()(jax.random.key(0), (256, 512))
    >>> w.shape
    (256, 512)
    """
    return _named("lecun_uniform", 1.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


@_documented
def lecun_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> JaxInitializer:
    """LeCun normal: variance 1 / fan_in.

    A normal cut at 2 of its own standard deviations, with this variance after
    the cut.

    Parameters
    ----------
    {axes}
    {dtype}

    Returns
    -------
    {returns}

    Raises
    ------
    {fans}

    References
    ----------
    LeCun, Bottou, Orr, Mueller, "Efficient BackProp", 1998.

    Examples
    --------
    >>> import jax, fastinit.jax
    >>> w = fastinit.jax.lecun_normal()(jax.random.key(0), (256, 512))
    >>> w.shape
    (256, 512)
    """
    return _named("lecun_normal", 1.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


@_documented
def he_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> JaxInitializer:
    """He uniform: variance 2 / fan_in.

    U(-b, b), b = sqrt(6 / fan_in). Also called
    ``kaiming_uniform``.

    Parameters
    ----------
    {axes}
    {dtype}

    Returns
    -------
    {returns}

    Raises
    ------
    {fans}

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level
    performance on ImageNet classification", 2015.

    Examples
    --------
    >>> import jax, fastinit.jax
    >>> w = fastinit.jax.he_uniform()(jax.random.key(0), (256, 512))
    >>> w.shape
    (256, 512)
    """
    return _named("he_uniform", 2.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


@_documented
def he_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> JaxInitializer:
    """He normal: variance 2 / fan_in.

    A normal cut at 2 of its own standard deviations, with this variance after
    the cut. Also called ``kaiming_normal``.

    Parameters
    ----------
    {axes}
    {dtype}

    Returns
    -------
    {returns}

    Raises
    ------
    {fans}

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers: surpassing human-level
    performance on ImageNet classification", 2015.

    Examples
    --------
    >>> import jax, fastinit.jax
    >>> w = fastinit.jax.he_normal()(jax.random.key(0), (256, 512))
    >>> w.shape
    (256, 512)
    """
    return _named("he_normal", 2.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


@_documented
def orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> JaxInitializer:
    """Orthonormal rows or columns, times scale: ``fastinit.orthogonal``.

    Parameters
    ----------
    scale : float, default 1
        The length of the vectors.
    column_axis : {-1, 0}, default -1
        The axis of columns, the last or the first; the others are the rows.
    {dtype}

    Returns
    -------
    {returns}

    Raises
    ------
    TypeError, ValueError
        scale is not a finite number; column_axis is neither -1 nor 0; dtype is
        not one of these.

    References
    ----------
    Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks", 2013.

    Examples
    --------
    >>> import jax, fastinit.jax
    >>> q = fastinit.jax.orthogonal()(jax.random.key(0), (64, 8))
    >>> bool(abs(q.T @ q - jax.numpy.eye(8)).max() < 1e-5)
    True
    """
    wanted = "column_axis must be -1 (the last axis) or 0"
    try:
        axis = integer(column_axis)
    except TypeError:
        raise TypeError(f"{wanted}, got {typed(column_axis)}") from None
    if axis not in (0, -1):
        raise ValueError(f"{wanted}, got {shown(column_axis)}")
    gain = _core.real(_number(scale), "scale", "a finite number")
    arguments = {"gain": gain, "layout": "keras" if axis else "torch"}
    return _initializer("orthogonal", arguments, dtype, "orthogonal", {"scale": gain, "column_axis": axis})


xavier_uniform = glorot_uniform
xavier_normal = glorot_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal
