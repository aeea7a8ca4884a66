"""What every test may use: the targets that run here, the element types, and a way to force a target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fastinit import _core

TARGETS: list[str] = _core.config()["targets_found"]
DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each target in turn, forced for the test."""
    _core.set_target(request.param)
    yield request.param
    _core.set_target(None)


@pytest.fixture
def many_threads() -> Iterator[None]:
    """Lets threads start for a thousand elements each, so that arrays of any size are split."""
    _core.set_grain(1000)
    yield
    _core.set_grain(0)


@pytest.fixture(params=list(DTYPES))
def dtype(request: pytest.FixtureRequest) -> np.dtype[Any]:
    return DTYPES[request.param]


@pytest.fixture(params=["ars", "philox"])
def rng(request: pytest.FixtureRequest) -> Any:
    return request.param
