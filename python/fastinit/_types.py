"""Types of arguments, for type checkers. Nothing imports this file when it runs, which keeps the import short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray
from typing_extensions import Buffer

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
