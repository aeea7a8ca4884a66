"""Arguments: their types, the checks that need no array, and the words in which a wrong one is refused.

Also the number that the name of a stream stands for.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np

from . import _core

if TYPE_CHECKING:
    from numpy.typing import DTypeLike as DTypeLike
    from numpy.typing import NDArray as NDArray
    from typing_extensions import Buffer as Buffer
else:  # numpy.typing would take a fifth of the import's time; collections.abc.Buffer is of Python 3.12
    Buffer = DTypeLike = Any
    NDArray = np.ndarray

__all__ = [
    "ArrayT",
    "Axes",
    "BitGenerator",
    "Bounds",
    "Buffer",
    "DTypeLike",
    "Distribution",
    "Integer",
    "Integers",
    "Layout",
    "Mode",
    "NDArray",
    "Real",
    "Tensor",
    "at_least_zero",
    "choice",
    "element_type",
    "given",
    "integer",
    "integers",
    "positive",
    "shown",
    "stream_number",
    "typed",
]


class Tensor(Protocol):
    """Whatever speaks DLPack: a tensor of PyTorch, an array of CuPy and so on. The memory has to be the CPU's."""

    def __dlpack__(self, *args: Any, **arguments: Any) -> Any: ...
    def __dlpack_device__(self) -> tuple[Any, Any]: ...


ArrayT = TypeVar("ArrayT", bound="NDArray[Any] | Tensor | Buffer")
Real: TypeAlias = float | np.floating[Any] | np.integer[Any]
Integer: TypeAlias = int | np.integer[Any]
Integers: TypeAlias = Sequence[Integer]
Axes: TypeAlias = Integer | Integers
Layout: TypeAlias = Literal["torch", "keras"]
Mode: TypeAlias = Literal["fan_in", "fan_out", "fan_avg", "fan_geo"]
Distribution: TypeAlias = Literal["normal", "uniform", "truncated_normal"]
Bounds: TypeAlias = Literal["std", "absolute"]
BitGenerator: TypeAlias = Literal["ars", "philox"]

_DTYPES = ("float32", "float64", "float16", "bfloat16", "uint32", "uint64")


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


def integers(name: str, value: object) -> tuple[int, ...]:
    """A sequence of ints."""
    try:
        return tuple(map(integer, value))  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"{name} must be a sequence of ints, got {typed(value)}") from None


def element_type(dtype: object) -> np.dtype[Any]:
    """The dtype that the argument ``dtype`` stands for, if the core can fill it."""
    wanted = f"one of {', '.join(_DTYPES)} in native byte order"
    if isinstance(dtype, str) and dtype == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise ImportError("dtype='bfloat16' needs the package ml_dtypes, which is not installed") from None
        dtype = ml_dtypes.bfloat16
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
