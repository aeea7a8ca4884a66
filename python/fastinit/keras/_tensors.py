"""New tensors of the backend that Keras is configured for, filled by fastinit."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .._arguments import element_type, shown, typed
from ..arrays import empty

__all__ = ["BACKEND", "FLOATS", "filled", "float_type"]

FLOATS = ("float32", "float64", "float16", "bfloat16")

_OLDEST = 3, 7  # earlier ones have other strings for these initialisers


def _check_version() -> None:
    numbers = re.match(r"(\d+)\.(\d+)", keras.__version__)
    if numbers and tuple(map(int, numbers.groups())) < _OLDEST:
        raise ImportError(f"fastinit.keras needs Keras 3.7 or newer, and this is Keras {keras.__version__}")


_check_version()

BACKEND: str = keras.backend.backend()


def float_type(dtype: object) -> np.dtype[Any]:
    """The dtype that Keras takes the argument for, if fastinit fills it."""
    name = keras.backend.standardize_dtype(dtype)
    if name not in FLOATS:
        raise TypeError(f"dtype must be float32, float64, float16 or bfloat16, got {typed(dtype)}")
    if BACKEND == "jax":
        import jax

        if jax.dtypes.canonicalize_dtype(name) != name:
            raise ValueError("dtype float64 needs jax.config.update('jax_enable_x64', True), which is off")
    return element_type(name)


def _as_tensor(array: NDArray[Any]) -> Any:
    """The same values on the device that Keras uses; on the CPU the same memory, if the backend can take it over."""
    tensor: Any = array
    if BACKEND == "torch":
        import torch

        if array.dtype.name == "bfloat16":  # which torch does not read from NumPy
            tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(array)
    elif BACKEND == "jax":
        import jax

        tensor = jax.device_put(array)
    return keras.ops.convert_to_tensor(tensor)  # on the device, if it is not there yet


def _sharded(shape: tuple[int, ...], element: np.dtype[Any], layout: Any, fill: Callable[..., object]) -> Any:
    """An array of JAX, of which each device's part alone is made."""
    import jax

    said, layout = layout, getattr(layout, "backend_layout", layout)  # of a keras.distribution.TensorLayout
    if not isinstance(layout, jax.sharding.NamedSharding):
        raise TypeError(f"layout must be a TensorLayout of Keras or a NamedSharding of JAX, got {typed(said)}")
    if isinstance(layout.mesh, jax.sharding.AbstractMesh):  # as in Keras, which has set the mesh
        layout = jax.sharding.NamedSharding(jax.sharding.get_mesh(), layout.spec)

    def part(index: Any) -> NDArray[Any]:
        spans = [places.indices(n) for places, n in zip(index, shape, strict=True)]
        out = empty([end - start for start, end, _ in spans], element)
        fill(out, global_shape=shape, offset=[start for start, _, _ in spans])
        return out

    return jax.make_array_from_callback(shape, layout, part, dtype=element)


def filled(shape: tuple[int, ...], element: np.dtype[Any], layout: Any, fill: Callable[..., object]) -> Any:
    """A new tensor. ``fill`` takes out and, for a part of the tensor, global_shape and offset."""
    if layout is None:
        out = empty(shape, element)
        fill(out)
        return _as_tensor(out)
    if BACKEND != "jax":
        raise ValueError(f"layout must be None on the {BACKEND} backend, got {shown(layout)}")
    return _sharded(shape, element, layout, fill)
