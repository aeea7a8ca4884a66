"""What a recipe may say of a parameter besides an ``Initializer``: leave it alone, or compute it by a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fastinit

from .. import _core
from .._arguments import typed
from .._rounding import FORMATS, is_beyond, rounded

if TYPE_CHECKING:
    from .._types import BitGenerator

__all__ = ["Computed", "Skip", "computed", "skip"]

# What fastinit's functions take in each fill, and so what a function of the user gets.
_GIVEN = ("seed", "stream", "global_shape", "offset", "threads", "bit_generator")


class Skip:
    """What ``skip`` is."""

    __slots__ = ()
    __module__ = "fastinit.recipes"

    def __repr__(self) -> str:
        return "skip"

    def __reduce__(self) -> str:
        return "skip"


skip = Skip()
"""The value of a recipe for parameters that are left exactly as they are."""


# --- computed -------------------------------------------------------------------------------------------------------


def _name(function: object) -> str:
    """A function as its source names it, as far as it has a name."""
    if isinstance(function, functools.partial):
        given = [*map(repr, function.args), *(f"{name}={value!r}" for name, value in function.keywords.items())]
        return f"partial({', '.join([_name(function.func), *given])})"
    return getattr(function, "__qualname__", None) or type(function).__qualname__


class Computed:
    """What ``computed(function)`` returns: it fills as an ``Initializer`` does."""

    __slots__ = ("_function",)
    __module__ = "fastinit.recipes"
    _function: Callable[..., object]

    def __init__(self, function: Callable[..., object]) -> None:
        wanted = f"function must take (out, *, {', '.join(_GIVEN)})"
        if not callable(function):
            raise TypeError(f"{wanted}, got {typed(function)}")
        try:
            inspect.signature(function).bind(None, **dict.fromkeys(_GIVEN))
        except TypeError as error:
            raise TypeError(f"{wanted}, got {_name(function)}: {error}") from None
        except ValueError:  # one that is compiled may not say what it takes
            pass
        object.__setattr__(self, "_function", function)

    @property
    def function(self) -> Callable[..., object]:
        """The function."""
        return self._function

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("what computed() returns cannot be changed: make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("what computed() returns cannot be changed: make another one")

    def __eq__(self, other: object) -> bool:
        return self.function == other.function if isinstance(other, Computed) else NotImplemented

    def __hash__(self) -> int:
        return hash((Computed, self.function))

    def __reduce__(self) -> tuple[Any, ...]:
        return computed, (self.function,)

    def __repr__(self) -> str:
        return f"computed({_name(self.function)})"

    def fill(
        self,
        out: Any,
        *,
        seed: int,
        stream: int | str,
        global_shape: Sequence[int] | None = None,
        offset: Sequence[int] | None = None,
        layout: str | None = None,
        threads: int | None = None,
        bit_generator: BitGenerator = "ars",
    ) -> Any:
        """Fill an array by the function, whole or as a box of a larger tensor. ``layout`` plays no part."""
        words, dtype = _core.memory(out)
        draft = np.empty(words.shape, np.float64 if dtype == "float64" else np.float32)
        given: dict[str, Any] = {"seed": seed, "stream": stream, "threads": threads, "bit_generator": bit_generator}
        # Checks these arguments, as every fill does; and what the function passes over remains no number.
        fastinit.constant(draft, np.nan, global_shape=global_shape, offset=offset, **given)
        if draft.size == 0:  # a process of a mesh may hold nothing
            return out
        if global_shape is None or offset is None:
            global_shape, offset = draft.shape, (0,) * draft.ndim
        given |= {"global_shape": tuple(global_shape), "offset": tuple(offset)}
        try:
            self.function(draft, **given)
        except Exception as error:
            raise ValueError(f"{self!r} raised {type(error).__name__}: {error}") from error
        if n := int(np.isnan(draft).sum()):
            raise ValueError(
                f"{self!r} must fill out, in place, with numbers; it left {n} of {draft.size} elements NaN"
            )
        _round_into(words, dtype, draft, repr(self))
        return out

    def check(self, shape: Sequence[int], dtype: Any, layout: str | None = None) -> None:
        """Raise what ``fill`` would raise for the shape and dtype. The function is not called."""
        nothing = np.empty((0,) * max(1, len(shape)), dtype)
        fastinit.zeros(nothing, seed=0, global_shape=tuple(shape) or (1,), offset=(0,) * nothing.ndim)

    def moments(self, shape: Sequence[int], layout: str | None = None) -> tuple[None, None]:
        """Nothing is known of them."""
        return None, None


def _round_into(words: NDArray[Any], dtype: str, values: NDArray[Any], whose: str) -> None:
    """Write float32 or float64 values, rounded to nearest even, into the words of an array."""
    if dtype in FORMATS:
        bits = rounded(values, dtype)
        overflow = is_beyond(bits, values, dtype)
    else:
        with np.errstate(over="ignore"):
            nearest = np.ascontiguousarray(values.astype(dtype))
        overflow = np.isinf(nearest) & np.isfinite(values)
        bits = nearest.view(words.dtype)
    if overflow.any():
        raise ValueError(f"{whose} must give values within the range of {dtype}, got {values[overflow].flat[0]}")
    words[...] = bits


def computed(function: Callable[..., object]) -> Computed:
    """A value of a recipe: the parameter is computed by a function.

    Parameters
    ----------
    function : callable
        Called as fastinit's functions are: ``function(out, *, seed, stream,
        global_shape, offset, threads, bit_generator)``. It fills ``out``, an
        array of NumPy of float32 (float64 for a float64 tensor), which is then
        rounded to the tensor's dtype. What it returns is ignored. ``out`` is
        the box at ``offset`` of a tensor of ``global_shape``: of a tensor that
        is not sharded, the whole. ``stream`` is the parameter's name.

    Returns
    -------
    Computed
        Which cannot be changed, and equals another of the same function.

    Raises
    ------
    TypeError
        function is not callable with these arguments.

    Notes
    -----
    The function may be called for each box that a process holds, so values
    must follow from the arguments alone, and from the index in the whole
    tensor. fastinit's own functions do that if they are given the arguments.
    A value that is left NaN, or overflows the dtype, is refused.

    Bits: those of the function, rounded to nearest even.

    Examples
    --------
    Mamba's ``A_log``, log(1 .. n) in each row:

    >>> import numpy as np
    >>> from fastinit.recipes import computed
    >>> def a_log(out, *, offset, **_):
    ...     out[...] = np.log(1 + offset[1] + np.arange(out.shape[1]))
    >>> computed(a_log)
    computed(a_log)
    >>> computed(a_log).fill(np.empty((2, 3)), seed=0, stream="A_log").round(3).tolist()
    [[0.0, 0.693, 1.099], [0.0, 0.693, 1.099]]

    A table that is made whole, of which each box is cut out:

    >>> def table(out, *, global_shape, offset, **_):
    ...     whole = np.arange(np.prod(global_shape)).reshape(global_shape)
    ...     out[...] = whole[tuple(slice(at, at + n) for at, n in zip(offset, out.shape))]
    >>> computed(table).fill(np.empty((1, 2)), seed=0, stream="t", global_shape=(2, 3), offset=(1, 1)).tolist()
    [[4.0, 5.0]]
    """
    return Computed(function)


computed.__module__ = "fastinit.recipes"  # for help, and for pickles that outlive the name of this file
