"""An initialiser as data: a function of fastinit with its arguments. An array is whatever ``fastinit`` fills."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import operator
import re
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import fastinit

from .. import _core, initializers, structured
from .._arguments import NO_SEQUENCES, integers, shown, typed
from ._moments import MOMENTS, Shape

if TYPE_CHECKING:
    from typing_extensions import Self

    from .._types import BitGenerator

__all__ = ["Initializer", "functions", "keywords", "plain", "try_box"]

# What each fill says itself, and so no recipe may.
_COMMON = ("out", "seed", "stream", "global_shape", "offset", "threads", "bit_generator")
# The ways to say what the fans are: where a recipe has one of them, the layout stays out of it.
_FANS = ("fan_in", "fan_out", "layout", "in_axis", "out_axis", "batch_axis")
# How many dimensions an array without elements needs for a trial of the arguments alone. The others take any number,
# and 32 has room for all axes: it is the most that older NumPy has.
_DIMENSIONS = {"identity": 2, "orthogonal": 2, "sparse": 2, "dirac": 3}


@functools.cache
def functions() -> dict[str, inspect.Signature]:
    """The functions of fastinit that fill an array by a law, and their signatures."""
    names = sorted({*initializers.__all__, *structured.__all__} - {"random_bits"})
    return {name: inspect.signature(getattr(fastinit, name)) for name in names}


def plain(value: object) -> object:
    """The same value as plain Python, which cannot change, has a hash, and can be read again from its repr.

    What is neither a flag, a word, a number nor a list of such comes back as it is: the function itself refuses it.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, str):
        return str.__str__(value)  # an enumeration's own __str__ may say something else
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    if isinstance(value, numbers.Real) and not isinstance(value, np.timedelta64):
        try:
            return float(value)
        except OverflowError:
            return value
    if isinstance(value, NO_SEQUENCES):
        return value
    try:
        return tuple(map(plain, value))  # type: ignore[call-overload]
    except TypeError:
        return value


def _token(value: object) -> object:
    """What two values share if they fill the same bits: -0.0 is not 0.0, and a NaN is itself."""
    return struct.pack("<d", value) if isinstance(value, float) and repr(value) in ("-0.0", "nan") else value


def keywords(arguments: Mapping[str, object]) -> list[str]:
    """Each argument as in the source of a call."""
    return [
        f"{name}=float('{value}')" if isinstance(value, float) and not math.isfinite(value) else f"{name}={value!r}"
        for name, value in arguments.items()
    ]


class Initializer:
    """A function of fastinit with its arguments, as data.

    It cannot be changed. Two of one function and equal arguments are equal
    and have the same hash; -0.0 counts as another argument than 0.0. The
    arguments are checked when it is made.

    Parameters
    ----------
    function : str
        The name of a function of fastinit that fills arrays: "normal",
        "he_normal", "constant", ...
    arguments : mapping, optional
        Arguments of that function, by name, except those that belong to each
        fill: out, seed, stream, global_shape, offset, threads, bit_generator.
        Without fans, a layout or axes, a function that needs fans is refused
        where neither the call nor a module's type says how to read the shape.
    **more
        The same, as keyword arguments.

    Attributes
    ----------
    function : str
        The name of the function.
    arguments : mapping
        Its arguments as plain Python values: NumPy's numbers as int, float or
        bool, axes as int or tuple. The mapping cannot be changed.

    Raises
    ------
    TypeError, ValueError
        function is none of these; an argument is unknown, missing, given
        twice, or refused by the function.

    See Also
    --------
    match : Which parameter of a model gets which initialiser.

    Examples
    --------
    >>> from fastinit.recipes import Initializer
    >>> small = Initializer("normal", std=0.02)
    >>> small
    Initializer('normal', std=0.02)
    >>> small.moments((768, 768))
    (0.0, 0.02)
    >>> Initializer("normal", std=-1)
    Traceback (most recent call last):
    ...
    ValueError: Initializer('normal', std=-1): std must be a finite number >= 0, got -1
    """

    __slots__ = (
        "__weakref__",
        "_arguments",
        "_asks",
        "_function",
        "_hash",
    )  # functools' and JAX's caches hold weak references
    __module__ = "fastinit.recipes"  # for help, and for pickles that outlive the name of this file
    _function: str
    _arguments: Mapping[str, object]
    _asks: bool  # whether the function reads shapes, and the arguments do not say how
    _hash: int
    _layout: ClassVar[str | None] = None  # how shapes are read where neither the arguments nor the call say it

    def __new__(cls, function: str, arguments: Mapping[str, object] | None = None, /, **more: object) -> Self:
        return cls._made(function, arguments, more)

    @classmethod
    def _made(
        cls, function: str, arguments: Mapping[str, object] | None, more: Mapping[str, object], **own: object
    ) -> Self:
        """A new one, all of it checked. ``own`` is what a subclass keeps beside the function and its arguments."""
        if not isinstance(function, str):
            raise TypeError(f"function must be the name of a function of fastinit, got {typed(function)}")
        if function not in functions():
            raise ValueError(f"function must be one of {', '.join(functions())}; got {shown(function)}")
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, Mapping):
            raise TypeError(f"arguments must be a mapping of arguments by name, got {typed(arguments)}")
        twice = [name for name in arguments if name in more]
        if twice:
            raise TypeError(f"arguments must be given once, got {', '.join(twice)} in the mapping and by keyword")
        given = {name: plain(value) for name, value in {**arguments, **more}.items()}
        self = object.__new__(cls)
        asks = "layout" in functions()[function].parameters and all(given.get(name) is None for name in _FANS)
        own = {"_function": function, "_arguments": MappingProxyType(given), "_asks": asks, **own}
        for name, value in own.items():
            object.__setattr__(self, name, value)
        self._check_names()
        # Any layout will do: how shapes are read may be said later.
        self.check((0,) * _DIMENSIONS.get(function, 32), self._trial_dtype, "torch")
        object.__setattr__(self, "_hash", hash(self._key()))  # caches ask for it once for each parameter of a model
        return self

    def _check_names(self) -> None:
        takes = self.takes
        allowed = [name for name in takes if name not in _COMMON]
        unknown = [name for name in self.arguments if name not in allowed]
        if unknown:
            raise ValueError(
                f"{self!r}: arguments of {self.function} in a recipe are {', '.join(allowed) or 'none'}; "
                f"got {', '.join(map(shown, unknown))}"
            )
        missing = [name for name in allowed if takes[name].default is takes[name].empty and name not in self.arguments]
        if missing:
            raise ValueError(f"{self!r}: {self.function} needs {', '.join(f'{name}=' for name in missing)}")

    @property
    def function(self) -> str:
        """The name of the function."""
        return self._function

    @property
    def arguments(self) -> Mapping[str, object]:
        """Its arguments, in a mapping that cannot be changed."""
        return self._arguments

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: make another one")

    def _key(self) -> tuple[object, ...]:
        """What makes two of them equal."""
        return (self.function, frozenset((name, _token(value)) for name, value in self.arguments.items()))

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function, dict(self.arguments))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([repr(self.function), *keywords(self.arguments)])})"

    def __str__(self) -> str:
        """As a call, in a few digits: ``normal(std=0.02)``."""
        values = {
            name: f"{value:.6g}" if isinstance(value, float) else repr(value) for name, value in self.arguments.items()
        }
        return f"{self.function}({', '.join(f'{name}={value}' for name, value in values.items())})"

    @property
    def takes(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the function."""
        return functions()[self.function].parameters

    @property
    def is_described(self) -> bool:
        """Whether its arguments say how shapes are read, or need not say it."""
        return not self._asks

    @property
    def _trial_dtype(self) -> np.dtype[Any]:
        """One that has all of its values."""
        if self.function != "integers":
            return np.dtype(np.float64)
        low = self.arguments.get("low")
        return np.dtype(np.int32 if isinstance(low, int) and low < 0 else np.uint32)

    def _call(self, layout: str | None, shape: Shape) -> Mapping[str, Any]:
        """The arguments of a call for a tensor of that shape, with a layout where the function needs one."""
        layout = self._layout if layout is None else layout
        return {**self._arguments, "layout": layout} if self._asks and layout is not None else self._arguments

    def fill(
        self,
        out: Any,
        *,
        seed: int,
        stream: int | str,
        global_shape: Shape | None = None,
        offset: Shape | None = None,
        layout: str | None = None,
        threads: int | None = None,
        bit_generator: BitGenerator = "ars",
    ) -> Any:
        """Fill an array, whole or as a box of a larger tensor.

        Parameters
        ----------
        out : array
            The array to fill, in place.
        seed, stream : int or str
            What to fill it from.
        global_shape, offset : sequence of int, optional
            Of the tensor of which ``out`` is a box.
        layout : {"torch", "keras"}, optional
            How fans are read from the shape if the arguments of this
            initialiser do not say it. There is no default; but "keras" is that
            of a ``fastinit.jax.JaxInitializer``.
        threads : int, optional
            At most this many threads.
        bit_generator : {"ars", "philox"}, default "ars"
            ARS-7 or Philox4x32-10.

        Returns
        -------
        array
            ``out``.

        Raises
        ------
        TypeError, ValueError
            The function refuses an argument. See its own help, such as
            ``help(fastinit.normal)``, for all of them.

        Examples
        --------
        >>> import numpy as np
        >>> from fastinit.recipes import Initializer
        >>> Initializer("constant", value=0.5).fill(np.empty(2), seed=0, stream="b")
        array([0.5, 0.5])
        """
        function: Callable[..., Any] = getattr(fastinit, self.function)
        shape = _core.shape(out) if global_shape is None else integers("global_shape", global_shape)
        return function(
            out,
            **self._call(layout, shape),
            seed=seed,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=bit_generator,
        )

    def _words(self, text: str) -> str:
        """What a function says of ``out``, to someone who gave no array but a shape."""
        return re.sub("^out must have (.*), got shape ", r"shape must have \1, got ", text)

    def check(self, shape: Shape, dtype: Any, layout: str | None = None) -> None:
        """Raise what ``fill`` would raise for such a tensor.

        Parameters
        ----------
        shape : sequence of int
            Of the whole tensor. Nothing of that size is made.
        dtype : dtype
            Of the tensor.
        layout : {"torch", "keras"}, optional
            As for ``fill``.

        Raises
        ------
        TypeError, ValueError
            What ``fill`` raises, with this initialiser before it.

        Examples
        --------
        >>> from fastinit.recipes import Initializer
        >>> Initializer("constant", value=1e6).check((512, 512), "float32")
        """
        nothing: NDArray[Any] = np.empty((0,) * len(shape), dtype)
        try_box(self, nothing, shape, layout)

    def moments(self, shape: Shape, layout: str | None = None) -> tuple[float, float]:
        """Expected mean and standard deviation of a tensor's elements.

        They follow from the published definitions, before rounding to a dtype.

        Parameters
        ----------
        shape : sequence of int
            Of the whole tensor.
        layout : {"torch", "keras"}, optional
            As for ``fill``.

        Returns
        -------
        mean : float
            The expected mean.
        std : float
            The expected standard deviation.

        Raises
        ------
        TypeError, ValueError
            ``fill`` would refuse a float64 tensor of this shape; of integers,
            one of 32 bits.

        Examples
        --------
        >>> from fastinit.recipes import Initializer
        >>> Initializer("lecun_normal", layout="torch").moments((100, 64))
        (0.0, 0.125)
        """
        self.check(shape, self._trial_dtype, layout)
        bound = functions()[self.function].bind(None, **self._call(layout, shape))
        bound.apply_defaults()
        formula = MOMENTS[getattr(fastinit, self.function).__name__]  # of he_normal for its alias kaiming_normal
        return formula(bound.arguments, tuple(shape))


def try_box(initializer: Initializer, nothing: Any, shape: Shape, layout: str | None = None) -> None:
    """Raise what filling a tensor of this shape would raise, by filling a box of it that has no elements.

    A tensor of no dimensions has no such box: then ``nothing`` is a scratch tensor.
    """
    offset = (0,) * len(shape)
    try:
        initializer.fill(nothing, seed=0, stream=0, global_shape=tuple(shape), offset=offset, layout=layout)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{initializer!r}: {initializer._words(str(error))}") from None
