"""Values as bits of floats that NumPy does not have: rounded once, to nearest even, whatever the rounding mode is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._types import NDArray

__all__ = ["FORMATS", "is_beyond", "rounded"]

# Bits of float32's fraction that are cut off, float32's exponent of the least normal number, the code that follows the
# largest finite one (infinity, and NaN in e4m3fn), the sign.
FORMATS = {
    "bfloat16": (16, 1, 0x7F80, 0x8000),
    "float8_e4m3fn": (20, 127 - 6, 0x7F, 0x80),
    "float8_e5m2": (21, 127 - 14, 0x7C, 0x80),
}


def rounded(values: NDArray[np.float32] | NDArray[np.float64], dtype: str) -> NDArray[np.uint32]:
    """The bits of the values; of one that is too large or infinite, the code that follows the largest finite one."""
    cut, first, beyond, sign = FORMATS[dtype]
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
    # To odd, so that the second rounding knows of what the first has cut off.
    below = np.where(np.abs(near) > np.abs(values), np.nextafter(near, np.float32(0)), near)
    odd: NDArray[np.uint32] = below.view(np.uint32) | (below != values).astype(np.uint32)
    exponent = (odd >> 23 & 0xFF).astype(np.int64)
    fraction = (odd & 0x7FFFFF).astype(np.int64) | (exponent > 0).astype(np.int64) << 23
    exponent = np.maximum(exponent, 1)
    shift = cut + np.clip(first - exponent, 0, 24)
    half = np.int64(1) << (shift - 1)
    units = (fraction + half - 1 + (fraction >> shift & 1)) >> shift
    codes = np.minimum(units + (np.maximum(exponent - first, 0) << (23 - cut)), beyond)
    found: NDArray[np.uint32] = codes.astype(np.uint32) | (odd >> 31) * np.uint32(sign)
    return found


def is_beyond(words: NDArray[Any], values: NDArray[Any], dtype: str) -> NDArray[np.bool_]:
    """Which of the rounded values are not what they were: finite, or an infinity that the type lacks."""
    _, _, beyond, sign = FORMATS[dtype]
    found: NDArray[np.bool_] = (words & np.uint32(sign - 1)) == beyond
    return found if dtype == "float8_e4m3fn" else found & np.isfinite(values)
