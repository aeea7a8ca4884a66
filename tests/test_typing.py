"""Promise: the types that type checkers see are exact. mypy reads this file (CI runs it); pytest runs it too."""

from __future__ import annotations

import array
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

import fastinit

if TYPE_CHECKING:
    from typing_extensions import assert_type
else:

    def assert_type(value: Any, kind: Any) -> Any:
        return value


def test_empty_keeps_its_dtype() -> None:
    assert assert_type(fastinit.empty(3), NDArray[np.float32]).dtype == np.float32
    assert assert_type(fastinit.empty((3, 4), "float32"), NDArray[np.float32]).dtype == np.float32
    assert assert_type(fastinit.empty(3, "float64"), NDArray[np.float64]).dtype == np.float64
    assert assert_type(fastinit.empty([3], "float16"), NDArray[np.float16]).dtype == np.float16
    assert assert_type(fastinit.empty(3, "uint32"), NDArray[np.uint32]).dtype == np.uint32
    assert assert_type(fastinit.empty(3, "uint64"), NDArray[np.uint64]).dtype == np.uint64
    assert assert_type(fastinit.empty(3, np.float64), NDArray[np.float64]).dtype == np.float64
    assert assert_type(fastinit.empty(3, np.dtype(np.float16)), NDArray[np.float16]).dtype == np.float16
    assert assert_type(fastinit.empty(3, "bfloat16"), NDArray[Any]).dtype == ml_dtypes.bfloat16


def test_an_initialiser_returns_what_it_is_given() -> None:
    w: NDArray[np.float32] = np.empty((3, 4), np.float32)
    g = fastinit.Generator(0)
    assert_type(fastinit.he_normal(w, 4), NDArray[np.float32])
    assert_type(fastinit.normal(fastinit.empty(3, "float64"), 0, 0.02), NDArray[np.float64])
    assert_type(g.he_normal(w, 4), NDArray[np.float32])
    assert_type(g.truncated_normal(w, 0.0, 1.0, -2.0, 2.0, bounds="absolute"), NDArray[np.float32])
    floats = fastinit.uniform(array.array("f", [0.0]), -1, 1)
    if TYPE_CHECKING:
        assert_type(floats, array.array[float])  # which cannot be evaluated before Python 3.12
    assert_type(g.spawn(2), list[fastinit.Generator])
    assert_type(g.seed, int)
    assert_type(fastinit.default_generator, fastinit.Generator)


def test_types_that_are_refused() -> None:
    """mypy reports each of these (an unused `type: ignore` is an error)."""
    w: NDArray[np.float32] = np.empty((3, 4), np.float32)
    g = fastinit.Generator(0)
    for call in (
        lambda: fastinit.normal(w, "0"),  # type: ignore[arg-type]
        lambda: fastinit.normal(w, 0.0, 1.0, 3),  # type: ignore[call-arg]
        lambda: fastinit.he_normal(w, 4, mode="fan"),  # type: ignore[arg-type]
        lambda: fastinit.he_normal(w, 4, bit_generator="pcg"),  # type: ignore[arg-type]
        lambda: fastinit.truncated_normal(w, bounds="sigma"),  # type: ignore[arg-type]
        lambda: fastinit.normal(w, rng="ars"),  # type: ignore[call-arg]
        lambda: g.normal(w, seed=1),  # type: ignore[call-arg]
        lambda: g.he_normal(w, 4, gain="2"),  # type: ignore[arg-type]
        lambda: fastinit.Generator("0"),  # type: ignore[arg-type]
        lambda: fastinit.empty("3"),  # type: ignore[arg-type]
    ):
        try:
            call()
        except (TypeError, ValueError):
            continue
        raise AssertionError("not refused")
