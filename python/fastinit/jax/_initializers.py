"""Initialisers with the names, arguments and distributions of ``jax.nn.initializers``."""

from __future__ import annotations

import functools
import math
import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar, overload

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from .. import _core
from .._arguments import at_least_zero, choice, expanded, integer, positive, shown, typed, with_margins
from ..recipes import Initializer
from ..recipes._initializer import keywords, plain
from ..recipes._moments import Shape
from ._arrays import LAYOUT, check_dtype, check_shape, check_sharding, filled, float_type
from ._traced import concrete_mesh, seed_and_stream, traced

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "JaxInitializer",
    "check_tree_shape",
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
_AXES = ("in_axis", "out_axis", "batch_axis")
# JAX's defaults, which a repr leaves out.
_DEFAULTS = {"lower": -2.0, "upper": 2.0}
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


# JAX's default axes, of types by which they are told from the same axes if a caller says them: in a tree of parameters
# that makes a difference.
class _Unsaid:
    """A default."""

    __slots__ = ()


class _UnsaidAxis(_Unsaid, int):
    """One axis."""

    __slots__ = ()


class _UnsaidAxes(_Unsaid, tuple[int, ...]):
    """Some axes."""

    __slots__ = ()


_IN, _OUT, _COLUMN, _BATCH = _UnsaidAxis(-2), _UnsaidAxis(-1), _UnsaidAxis(-1), _UnsaidAxes()


# --- JAX's protocol -------------------------------------------------------------------------------------------------


def _key_words(key: Any) -> Any:
    """The 32-bit words of a key of either kind, traced or not."""
    words = jax.random.key_data(key)
    if words.shape not in ((2,), (4,)):
        raise ValueError(f"key must be a single key of 64 or 128 bits, got one with data of shape {words.shape}")
    return words


def _placement(words: jax.Array) -> Sharding | None:
    """Where JAX puts what it computes from a key: on all of the mesh that is set, or where the key was put."""
    mesh: Any = concrete_mesh()
    if mesh.empty:
        if not isinstance(words.sharding, NamedSharding):
            return words.sharding if words.committed else None
        mesh = words.sharding.mesh
    return NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call, unused-ignore]


def _checked_dtype(function: str, dtype: object) -> np.dtype[Any] | type | None:
    """The dtype that an initialiser keeps. What Python's own types stand for is up to JAX, in each call."""
    if dtype is None or dtype is float:
        return dtype
    if function not in _DRAW_NOTHING:
        return float_type(dtype)
    if dtype is int or dtype is complex:
        return dtype
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
        fans, a layout or axes, shapes are read as ``(*kernel, in, out)``;
        but ``init_tree`` refuses three and more dimensions, and in a module
        of PyTorch the module's type says how to read them.
    dtype : dtype, optional
        Of the arrays, where a call does not say it: float32, float64, float16,
        bfloat16, or Python's ``float``. By default, and for ``float``, JAX's
        own default. "constant", "zeros" and "ones" take any.
    **more
        Arguments as keywords.

    Attributes
    ----------
    function : str
        The name of the function.
    arguments : mapping
        Its arguments. It cannot be changed.
    dtype : numpy.dtype, float, int, complex or None
        Of the arrays, where a call does not say it. Python's types and None
        are what JAX takes for them in each call.

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

    def _call(self, layout: str | None, shape: Shape) -> Mapping[str, Any]:
        """The same; and with the fans that JAX counts, where axes overlap.

        There fan_in is the number of elements over those along out_axis and batch_axis, and fan_out over those along
        in_axis and batch_axis. Both can be fractions, which no fan of fastinit's functions is: the scale takes them.
        """
        call = super()._call(layout, shape)
        ins, outs, batch = (_places(call.get(name), len(shape)) for name in _AXES)
        if ins is None or outs is None or batch is None or call.get("in_axis") is None:
            said = any(self.arguments.get(name) is not None for name in ("fan_in", "fan_out", "layout"))
            if len(shape) < 2 and "fan_in" in self.takes and layout is None and not said:
                raise ValueError(
                    f"a {'vector' if shape else 'scalar'} has no fans, which take an axis of inputs and one of "
                    f"outputs; got shape {tuple(shape)}: use an initialiser without fans, such as zeros or normal"
                )
            return call
        named = ins + outs + batch
        if len(set(named)) == len(named) or self.function != "variance_scaling":
            return call
        call = {name: value for name, value in call.items() if name not in _AXES} | {"fan_in": 1, "fan_out": 1}
        size = math.prod(shape)
        if size > 0:  # of nothing, any fans will do
            n_in, n_out, n_batch = (math.prod(shape[axis] for axis in axes) for axes in (ins, outs, batch))
            n = _mean(call["mode"], Fraction(size, n_out * n_batch), Fraction(size, n_in * n_batch))
            try:
                call["scale"] = float(Fraction(call["scale"]) / n)
            except OverflowError:
                call["scale"] = math.inf  # which is refused
        return call

    def _key(self) -> tuple[object, ...]:
        own = isinstance(self.dtype, type)  # to NumPy, float equals its float64
        return (*super()._key(), own, self.dtype)

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
            values.append(f"dtype={self.dtype.__name__ if isinstance(self.dtype, type) else repr(self.dtype.name)}")
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
            default this initialiser's, else JAX's, which Python's ``float``
            also stands for.
        out_sharding : NamedSharding or PartitionSpec, optional
            Where the array is to be. Each device's part alone is made.

        Returns
        -------
        jax.Array
            On ``out_sharding``; by default where JAX puts what it computes
            from the key: on the mesh that is set, else on the key's device.
            With a traced key, under ``jit`` or ``vmap``, the compiled program
            calls back, on each device for that device's own part.

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

        Haiku calls initialisers without a key. docs/jax.md has the line for
        it, and the details of compiled programs.

        Examples
        --------
        >>> import jax, numpy as np, fastinit, fastinit.jax
        >>> w = fastinit.jax.normal(0.02)(jax.random.key(5), (64, 8))
        >>> same = fastinit.normal(np.empty((64, 8), np.float32), std=0.02, seed=5)
        >>> np.array_equal(w, same)
        True
        """
        if isinstance(key, tuple | list):
            raise TypeError(
                f"key must be a key of JAX, got {typed(key)}, which may be a shape: Haiku calls initialisers without a "
                "key, so give it lambda shape, dtype: init(hk.next_rng_key(), shape, dtype), where init is this one"
            )
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

        if not isinstance(words, jax.core.Tracer):
            if isinstance(out_sharding, PartitionSpec):
                out_sharding = NamedSharding(concrete_mesh(), out_sharding)
            if out_sharding is not None:
                check_sharding("out_sharding", out_sharding, shape)
            seed, stream = seed_and_stream(words)
            fill = functools.partial(self.fill, seed=seed, stream=stream)
            try:
                return filled(shape, element, out_sharding or _placement(words), fill)
            except (TypeError, ValueError):
                self.check(shape, element)  # says which initialiser it is; before the fill it would cost time
                raise
        self.check(shape, element)
        array = traced(self, words, shape, element)
        if out_sharding is not None:
            array = jax.sharding.reshard(array, out_sharding)  # type: ignore[no-untyped-call, unused-ignore]
        return array


def _places(axes: object, n_dims: int) -> tuple[int, ...] | None:
    """Axes as numbers >= 0, and none for None; None if they are no axes of an array of so many dimensions."""
    axes = (axes,) if type(axes) is int else () if axes is None else axes
    if not isinstance(axes, tuple) or not all(type(axis) is int and -n_dims <= axis < n_dims for axis in axes):
        return None
    return tuple(axis % n_dims for axis in axes)


def _mean(mode: str, fan_in: Fraction, fan_out: Fraction) -> Fraction:
    """The n of variance scale / n."""
    if mode == "fan_geo":
        return Fraction(_core.geometric_mean(float(fan_in), float(fan_out)))
    return {"fan_in": fan_in, "fan_out": fan_out}.get(mode, (fan_in + fan_out) / 2)


# --- the functions --------------------------------------------------------------------------------------------------

_SHARED = {
    "axes": """\
in_axis, out_axis : int or sequence of int, default -2 and -1
    The axes of inputs and of outputs; negative ones count from the end.
batch_axis : int or sequence of int, default ()
    Axes of independent copies. The axes that are left are the kernel;
    those that are named twice count as in JAX. ``init_tree`` takes three
    and more dimensions only if one of these arguments is given.""",
    "dtype": """\
dtype : dtype, optional
    Of the arrays, where a call does not say it: float32, float64, float16
    or bfloat16. By default, and for Python's ``float``, JAX's own default.""",
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


def _said(axes: Mapping[str, object]) -> Mapping[str, object]:
    """The axes, all of them, if a caller gave one."""
    return {} if all(isinstance(value, _Unsaid) for value in axes.values()) else axes


def _number(value: Any) -> Any:
    """An array of no dimensions as a number. The checks that follow refuse what is no real number."""
    return value.item() if isinstance(value, jax.Array | np.ndarray) and value.ndim == 0 else value


def check_tree_shape(initializer: object, shape: tuple[int, ...], of_equinox: bool) -> None:
    """Refuse to guess how a leaf's shape is to be read. A caller of JAX's protocol knows that its shape fits.

    A plain ``Initializer`` refuses by itself where its arguments do not say it.
    """
    if not isinstance(initializer, JaxInitializer):
        return
    spelling = initializer._spelling
    said: Mapping[str, object] = initializer.arguments if spelling is None else spelling[1] or {}
    unsaid = all(said.get(name) is None for name in ("fan_in", "fan_out", "layout", "in_axis", "out_axis"))
    if of_equinox and len(shape) > 1 and "fan_in" in initializer.takes and unsaid:
        raise ValueError(
            f"{initializer!r} reads shapes as (*kernel, in, out), but Equinox's layers have (out, in, *kernel): "
            f"pass in_axis= and out_axis=, such as in_axis=1, out_axis=0; got shape {shape}"
        )
    if len(shape) > 2 and not initializer.is_described:
        if "fan_in" in initializer.takes:
            raise ValueError(
                f"{initializer!r}: the shape {shape} does not show which axes are inputs and outputs: pass in_axis=, "
                "out_axis=, batch_axis=, such as batch_axis=0 for a stack of (in, out), as a scan has it; in_axis=-2, "
                "out_axis=-1 for a convolution (*kernel, in, out); in_axis=0, out_axis=(1, 2) for (in, heads, width)"
            )
        how = "layout='keras' for (*kernel, in, out), layout='torch' for (out, in, *kernel)"
        if spelling is not None:
            how = "column_axis=-1 if all axes but the last are rows of one matrix, 0 if all but the first are"
        raise ValueError(
            f"{initializer!r}: the shape {shape} can be one matrix or a stack of them: pass {how}; a stack is "
            "filled as one leaf for each, or by fastinit.recipes.computed"
        )
    ins, outs, batch = (_places(initializer.arguments.get(name), len(shape)) for name in _AXES)
    both = {*(ins or ()), *(outs or ())} & {*(batch or ())}
    if both:
        raise ValueError(
            f"{initializer!r}: axis {min(both)} of the shape {shape} is one of copies by batch_axis, and one of inputs "
            "or outputs: is this a leaf without a weight matrix?"
        )


def _initializer(
    function: str, arguments: Mapping[str, object], dtype: object, name: str, said: Mapping[str, object] | None
) -> JaxInitializer:
    """Of a function of fastinit and its arguments. ``name`` of this module returns it, if called with ``said``."""
    if said is not None:
        values = {argument: plain(value) for argument, value in said.items() if not isinstance(value, _Unsaid)}
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
    in_axis: Axes = _IN,
    out_axis: Axes = _OUT,
    batch_axis: Axes = _BATCH,
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
    arguments = {**law, "mode": _MODES[mode], **_said(axes)}
    return _initializer("variance_scaling", arguments, dtype, "variance_scaling", {**law, **axes})


def _named(
    name: str, scale: float, mode: str, distribution: str, in_axis: Axes, out_axis: Axes, batch_axis: Axes, dtype: Any
) -> JaxInitializer:
    """A case of variance_scaling with a name of its own."""
    law = {"scale": scale, "mode": mode, "distribution": distribution}
    axes = {"in_axis": in_axis, "out_axis": out_axis, "batch_axis": batch_axis}
    return _initializer("variance_scaling", {**law, **_said(axes)}, dtype, name, axes)


@_documented
def glorot_uniform(
    in_axis: Axes = _IN, out_axis: Axes = _OUT, batch_axis: Axes = _BATCH, dtype: Any = None
) -> JaxInitializer:
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
def glorot_normal(
    in_axis: Axes = _IN, out_axis: Axes = _OUT, batch_axis: Axes = _BATCH, dtype: Any = None
) -> JaxInitializer:
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
def lecun_uniform(
    in_axis: Axes = _IN, out_axis: Axes = _OUT, batch_axis: Axes = _BATCH, dtype: Any = None
) -> JaxInitializer:
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
def lecun_normal(
    in_axis: Axes = _IN, out_axis: Axes = _OUT, batch_axis: Axes = _BATCH, dtype: Any = None
) -> JaxInitializer:
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
def he_uniform(
    in_axis: Axes = _IN, out_axis: Axes = _OUT, batch_axis: Axes = _BATCH, dtype: Any = None
) -> JaxInitializer:
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
def he_normal(
    in_axis: Axes = _IN, out_axis: Axes = _OUT, batch_axis: Axes = _BATCH, dtype: Any = None
) -> JaxInitializer:
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
def orthogonal(scale: Any = 1.0, column_axis: int = _COLUMN, dtype: Any = None) -> JaxInitializer:
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
    arguments = {"gain": gain} | ({} if isinstance(column_axis, _Unsaid) else {"layout": "keras" if axis else "torch"})
    return _initializer("orthogonal", arguments, dtype, "orthogonal", {"scale": gain, "column_axis": column_axis})


xavier_uniform = glorot_uniform
xavier_normal = glorot_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal
