"""Arguments: the checks that need no array, the words in which a wrong one is refused, the text that describes them.

Also the number that the name of a stream stands for.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core

if TYPE_CHECKING:
    from typing import TypeVar

    FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

__all__ = [
    "BIT_GENERATORS",
    "NO_SEQUENCES",
    "at_least_zero",
    "choice",
    "count",
    "documented",
    "documented_by",
    "element_type",
    "expanded",
    "few",
    "given",
    "integer",
    "integers",
    "positive",
    "shown",
    "some",
    "stream_number",
    "typed",
    "with_margins",
]

BIT_GENERATORS = ("ars", "philox")
_OF_ML_DTYPES = ("bfloat16", "float8_e4m3fn", "float8_e5m2")  # which NumPy does not have
_INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64")
_DTYPES = ("float32", "float64", "float16", *_OF_ML_DTYPES, *_INTEGERS)


# --- words for errors -----------------------------------------------------------------------------------------------


def shown(value: object) -> str:
    """The value received, for an error message: short, on one line, and printable."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    text = ascii(value).replace("\n", " ")
    return text if len(text) <= 80 else text[:77] + "..."


def typed(value: object) -> str:
    """The same where the type is what is wrong."""
    return f"{shown(value)} of type {type(value).__name__}"


def few(words: Sequence[str], most: int = 10) -> str:
    """A list for an error message: of many, the first ones."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def some(names: Iterable[str]) -> str:
    """The same of names, in quotes."""
    return few(list(map(repr, names)))


def given(**arguments: object) -> str:
    """The arguments that are not None, for an error message."""
    return ", ".join(f"{name}={shown(value)}" for name, value in arguments.items() if value is not None) or "nothing"


# --- checks ---------------------------------------------------------------------------------------------------------


def choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse what is not one of the words."""
    if isinstance(value, str) and value in allowed:
        return
    wanted = f"{name} must be one of {', '.join(map(repr, allowed))}"
    if isinstance(value, str):
        raise ValueError(f"{wanted}, got {shown(value)}")
    raise TypeError(f"{wanted}, got {typed(value)}")


def positive(name: str, value: object) -> float:
    """A finite real number > 0."""
    wanted = "a finite real number > 0"
    number = _core.real(value, name, wanted)
    if number <= 0.0:
        raise ValueError(f"{name} must be {wanted}, got {shown(value)}")
    return number


def at_least_zero(name: str, value: object) -> float:
    """A finite real number >= 0."""
    wanted = "a finite real number >= 0"
    number = _core.real(value, name, wanted)
    if number < 0.0:
        raise ValueError(f"{name} must be {wanted}, got {shown(value)}")
    return number


def integer(value: object) -> int:
    """An int, or a TypeError without a message: the caller has the words."""
    if isinstance(value, bool | np.bool_):
        raise TypeError
    return operator.index(value)  # type: ignore[arg-type]


# Python iterates over them and may find ints, but nobody means them as a sequence of ints.
NO_SEQUENCES = (dict, set, frozenset, bytes, bytearray)


def count(name: str, value: object) -> int:
    """An int >= 1."""
    try:
        number = integer(value)
    except TypeError:
        raise TypeError(f"{name} must be an int >= 1, got {typed(value)}") from None
    if number < 1:
        raise ValueError(f"{name} must be an int >= 1, got {shown(value)}")
    return number


def integers(name: str, value: object) -> tuple[int, ...]:
    """A sequence of ints."""
    try:
        if isinstance(value, NO_SEQUENCES):
            raise TypeError
        return tuple(map(integer, value))  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"{name} must be a sequence of ints, got {typed(value)}") from None


def element_type(dtype: object) -> np.dtype[Any]:
    """The dtype that the argument ``dtype`` stands for, if the core can fill it."""
    wanted = f"one of {', '.join(_DTYPES)} in native byte order"
    if isinstance(dtype, str) and dtype in _OF_ML_DTYPES:
        try:
            import ml_dtypes
        except ImportError:
            raise ImportError(f"dtype={dtype!r} needs the package ml_dtypes, which is not installed") from None
        dtype = getattr(ml_dtypes, dtype)
    try:
        if dtype is None:  # float64 for NumPy, float32 for anybody who reads the signature of fastinit.empty
            raise TypeError
        found = np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"dtype must be {wanted}, got {typed(dtype)}") from None
    if found.name not in _DTYPES or not found.isnative:
        raise TypeError(f"dtype must be {wanted}, got {typed(dtype)}")
    return found  # type: ignore[no-any-return]


# --- streams --------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def stream_number(name: str) -> int:
    """The stream that a name stands for: docs/stream-format.md, "Words"."""
    import hashlib  # here, because it takes longer to import than all of fastinit

    try:
        text = name.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"stream must be a str that can be encoded in UTF-8, or an int, got {shown(name)}") from None
    return int.from_bytes(hashlib.blake2b(text, digest_size=8, usedforsecurity=False).digest(), "little")


_core.name_streams(stream_number)


# --- docstrings -----------------------------------------------------------------------------------------------------
# What the docstrings of the initialisers share is written once. A docstring has {out} where the text of "out" belongs.

_STREAM = """\
stream : int or str, optional
    A number, 0 .. 2**64-1, or a name, such as that of the parameter. By
    default the generator's next stream."""

_STREAM_UNUSED = """\
stream : int or str, optional
    As for the random initialisers. Nothing is drawn, so it changes
    nothing, and no stream is used up."""

_BIT_GENERATOR = """\
bit_generator : {"ars", "philox"}, default "ars"
    ARS-7 or Philox4x32-10: other values of the same distribution."""

_SHARED = {
    "out": """\
out : array
    The array to fill, in place: float32, float64, float16, bfloat16,
    float8_e4m3fn or float8_e5m2, of any shape and strides. A NumPy array;
    a tensor in CPU memory that speaks DLPack, such as PyTorch's; or a
    writable buffer of floats, such as an ``array.array``.""",
    "fan_in": """\
fan_in : int
    The number of inputs of a unit. Where it is left out, ``layout`` says
    how to read it from the shape.""",
    "fans": """\
fan_in, fan_out : int
    The numbers of inputs and outputs of a unit. Where they are left out,
    ``layout`` says how to read them from the shape.""",
    "seed": """\
seed, stream : int or str, optional
    ``seed`` is an int, 0 .. 2**64-1; ``stream`` is one too, or a str such
    as the name of the parameter. A seed alone means stream 0, so two
    arrays filled with the same seed get the same values: give each a
    stream of its own, or use a ``fastinit.Generator``. Without a seed, the
    call takes the next stream of the default generator, or ``stream``.""",
    "unused": """\
seed, stream : int or str, optional
    As for the random initialisers. Nothing is drawn, so they change
    nothing, and no stream is used up.""",
    "he": """\
fan_out : int, optional
    The number of outputs of a unit, for the modes that need it.
a : float, default 0
    The negative slope of the leaky ReLU that follows; 0 is the ReLU.
nonlinearity : str, default "leaky_relu"
    A name that ``calculate_gain`` knows: its gain is used. ``a`` belongs
    to "leaky_relu" alone.
mode : {"fan_in", "fan_out", "fan_avg", "fan_geo"}, default "fan_in"
    What n is: fan_in keeps the variance of activations, fan_out that of
    gradients; or their mean, or their geometric mean.
gain : float, optional
    The gain itself, >= 0, instead of ``a`` and ``nonlinearity``.""",
    "truncated": """\
truncated : bool, default False
    True gives the form of Keras, TensorFlow and JAX: a normal cut at 2 of
    its own standard deviations, which is std / 0.87962566103423978, so
    that the cut one has standard deviation std.""",
    "layout": """\
layout : {"torch", "keras"}, optional
    How the shape is read: "torch" is ``(out, in, *kernel)``, of at least
    two dimensions; "keras" is ``(*kernel, in, out)``, where a vector of n
    elements has fans n and n, and a 0-d array 1 and 1. fan_in is in times
    the elements of the kernel, fan_out is out times those. Excludes
    ``fan_in`` and ``fan_out``. There is no default. A shape shows neither
    groups, nor that a convolution is transposed, nor packed matrices: pass
    ``fan_in=`` or ``fan_out=`` there. "torch" reads fan_out 4608 from the
    (512, 1, 3, 3) of a depthwise kernel, whose inputs meet 9 outputs each.
in_axis, out_axis, batch_axis : int or sequence of int, optional
    The same for any other shape, as in JAX: the axes of inputs, of
    outputs, and of independent copies; negative ones count from the end.
    The axes that are left are the kernel. ``in_axis`` and ``out_axis``
    come together.""",
    "common": """\
global_shape, offset : sequence of int, optional
    Both or neither, one int for each dimension of ``out``: ``out`` is the
    box at ``offset`` of a tensor of ``global_shape``, and gets the values
    that the whole tensor has there. Fans are those of ``global_shape``.
threads : int, optional
    At most this many threads for this call. By default what
    ``set_num_threads`` said, else the environment variable
    FASTINIT_NUM_THREADS, else the CPUs that the process may use. Small
    fills use fewer.
"""
    + _BIT_GENERATOR,
    "returns": """\
array
    ``out``.""",
    "errors": """\
Each error names the argument, the value received and what is
accepted; a call that is refused changes nothing.""",
    "words": """\
Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
2011, for the words underneath.""",
}


def with_margins(pieces: dict[str, str]) -> dict[str, str]:
    """Each piece as it stands in the docstring of a function, whose margin Python has taken away since 3.13."""
    margin = "\n" if sys.version_info >= (3, 13) else "\n    "
    margins = {"errors": f"{margin}    "}
    return {name: text.replace("\n", margins.get(name, margin)) for name, text in pieces.items()}


_IN_FUNCTIONS = with_margins(_SHARED)
# A generator has a seed and a bit generator itself.
_COMMON = _SHARED["common"].removesuffix(f"\n{_BIT_GENERATOR}")
_IN_METHODS = with_margins({**_SHARED, "seed": _STREAM, "unused": _STREAM_UNUSED, "common": _COMMON})
_templates: dict[Callable[..., Any], str | None] = {}


def expanded(template: str | None, pieces: dict[str, str]) -> str | None:
    """A docstring with the piece "out" where it has {out}, and so on; what names no piece stays."""
    if template is None:  # python -OO has none
        return None
    first, *others = template.split("{")
    text = [first]
    for other in others:
        name, _, rest = other.partition("}")
        text.append(pieces[name] + rest if name in pieces else f"{{{other}")
    return "".join(text)


def documented(function: FunctionT) -> FunctionT:
    """The same function, with the shared text in its docstring, and with types for type checkers alone.

    (The types would make the first lines of ``help`` three times as long; the docstring has them in words.)
    """
    function.__annotations__ = {}
    _templates[function] = function.__doc__
    function.__doc__ = expanded(function.__doc__, _IN_FUNCTIONS)
    return function


def documented_by(function: Callable[..., Any]) -> Callable[[FunctionT], FunctionT]:
    """What documents a method of ``Generator`` as the function that it calls, without seed and bit generator."""

    def document(method: FunctionT) -> FunctionT:
        method.__annotations__ = {}
        method.__module__, method.__qualname__ = "fastinit", f"Generator.{method.__name__}"  # what errors call it
        method.__doc__ = expanded(_templates[function], _IN_METHODS)
        return method

    return document
