"""Arrays from keys that are traced: a primitive of JAX, which the compiled program fills by a callback to Python.

JAX's own callbacks make an array whole. Here, where a program runs on several devices, XLA asks how the array is cut,
and each device calls for its own box. All that is not JAX's public interface is in this file.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax._src import dispatch
from jax._src.mesh import get_concrete_mesh
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding
from numpy.typing import NDArray

from ._arrays import new_part

if TYPE_CHECKING:
    from ..recipes import Initializer

__all__ = ["concrete_mesh", "seed_and_stream", "traced"]

# The name by which XLA calls into Python, for each platform on which callbacks can be partitioned.
_CALLS = {
    "cpu": "xla_ffi_python_cpu_callback",
    "cuda": "xla_ffi_python_gpu_callback",
    "rocm": "xla_ffi_python_gpu_callback",
}


def concrete_mesh() -> Mesh:
    """The mesh that is set. ``jax.sharding.get_mesh`` refuses to say it while a gradient is taken."""
    return get_concrete_mesh()


def seed_and_stream(words: Any) -> tuple[int, int]:
    """The first 64 bits, most significant word first, so that ``jax.random.key(5)`` is seed 5; and the rest, or 0."""
    numbers = [int(high) << 32 | int(low) for high, low in np.asarray(words).reshape(-1, 2)]
    return numbers[0], sum(numbers[1:])


def traced(initializer: Initializer, words: Any, shape: tuple[int, ...], element: np.dtype[Any]) -> jax.Array:
    """An array of arguments that have been checked, by the words of a key."""
    array: jax.Array = _fill.bind(words, initializer=initializer, shape=shape, element=element)
    return array


def _part(
    words: NDArray[np.uint32],
    initializer: Initializer,
    shape: tuple[int, ...],
    element: np.dtype[Any],
    box: tuple[slice, ...] | None = None,
) -> NDArray[Any]:
    """A box of the array that has one of this shape for each key."""
    n = words.ndim - 1

    def fill(out: NDArray[Any], *, global_shape: object, offset: Sequence[int]) -> None:
        for place in np.ndindex(out.shape[:n]):
            key = words[tuple(start + i for start, i in zip(offset, place, strict=False))]
            seed, stream = seed_and_stream(key)
            at: Any = (*place, ...)  # a view, of no dimensions too
            initializer.fill(out[at], seed=seed, stream=stream, global_shape=shape, offset=offset[n:])

    return new_part((*words.shape[:-1], *shape), element, fill, box)


# --- the primitive --------------------------------------------------------------------------------------------------

# Its operand is the words of a key, or those of several, by ``vmap``, along the first axes.
_fill: Any = Primitive("fastinit")
_fill.def_impl(functools.partial(dispatch.apply_primitive, _fill))
dispatch.prim_requires_devices_during_lowering.add(_fill)


def _abstract(words: Any, *, initializer: Initializer, shape: tuple[int, ...], element: np.dtype[Any]) -> Any:
    # As the words, the values may vary over axes of a shard_map, and several keys may be on axes of an explicit mesh.
    spec = PartitionSpec(*words.sharding.spec[:-1], *(None for _ in shape))  # type: ignore[no-untyped-call, unused-ignore]
    sharding = words.sharding.update(spec=spec)
    return words.update(shape=(*words.shape[:-1], *shape), dtype=element, sharding=sharding)


def _batched(operands: Any, axes: Any, **parameters: Any) -> tuple[Any, int]:
    return _fill.bind(jax.numpy.moveaxis(operands[0], axes[0], 0), **parameters), 0


_fill.def_abstract_eval(_abstract)
batching.primitive_batchers[_fill] = _batched


def _whole(words: Any, **parameters: Any) -> Any:
    """All of it by one callback of JAX."""
    shape = (*words.shape[:-1], *parameters["shape"])
    what = jax.ShapeDtypeStruct(shape, parameters["element"])  # type: ignore[no-untyped-call, unused-ignore]
    return jax.pure_callback(lambda words: _part(np.asarray(words), **parameters), what, words)


def _boxes(sharding: Sharding, shape: tuple[int, ...], devices: Sequence[Any]) -> list[tuple[slice, ...]]:
    """What each device holds. Where an axis is cut into parts that are not even, the last ones go beyond its end."""
    n = len(devices)
    # A number of parts divides that of the devices, and so a cube of that size, whatever the shape is.
    cube: Mapping[Any, Any] = sharding.devices_indices_map((n,) * len(shape))
    boxes = []
    for device in devices:
        box = []
        for part, length in zip(cube[device], shape, strict=True):
            start, end, _ = part.indices(n)
            size = -(-length // (n // (end - start)))
            first = start // (end - start) * size
            box.append(slice(first, first + size))
        boxes.append(tuple(box))
    return boxes


class _Parts:
    """An array of a program that runs on several devices: how XLA cuts it, and what each of them calls.

    ``callback`` is its number among those of the program, by which XLA finds it under the name of ``target``.
    """

    def __init__(self, target: str, callback: int, array: Any, devices: Sequence[Any], parameters: Mapping[str, Any]):
        self.target, self.callback, self.array = target, callback, array
        self.devices, self.parameters = devices, parameters
        self.mesh = Mesh(np.array(devices), ("device",))
        self.everywhere = NamedSharding(self.mesh, PartitionSpec())  # type: ignore[no-untyped-call, unused-ignore]
        # XLA may cut an array more than once, if it copies a part of the program, and on several threads.
        self.layouts: dict[int, list[tuple[slice, ...]]] = {}
        self.numbers = itertools.count()

    def partition(self, _: object, operands: object, result: Any) -> tuple[Any, ...]:
        """What each device runs, once XLA has cut the array; on a thread of XLA, where an error ends the process."""
        boxes = _boxes(result.sharding, self.array.shape, self.devices)
        layout = next(self.numbers)
        self.layouts[layout] = boxes
        shape = tuple(of.stop - of.start for of in boxes[0])
        part = jax.ShapeDtypeStruct(shape, self.array.dtype)  # type: ignore[no-untyped-call, unused-ignore]

        def local(words: Any) -> Any:
            call = jax.ffi.ffi_call(self.target, part)
            return call(np.int32(layout), jax.lax.axis_index("device"), words, index=np.uint64(self.callback))

        return self.mesh, local, result.sharding, (self.everywhere,)

    def __call__(self, layout: Any, device: Any, words: Any) -> tuple[NDArray[Any]]:
        """A device's part."""
        box = self.layouts[int(layout)][int(device)]
        part = _part(np.asarray(words), **self.parameters, box=box)
        beyond = [(0, of.stop - of.start - n) for of, n in zip(box, part.shape, strict=True)]
        return (np.pad(part, beyond) if np.any(beyond) else part,)


def _lowered(context: Any, words: Any, **parameters: Any) -> Any:
    """The program's text: one callback, or one for each device."""
    module = context.module_context
    devices = getattr(module.axis_context, "device_assignment", None) or ()
    target = _CALLS.get(module.platforms[0])
    if len(devices) < 2 or target is None:  # also in shard_map, where each device has a program of its own
        return mlir.lower_fun(_whole, multiple_results=False)(context, words, **parameters)
    (keys,), (array,) = context.avals_in, context.avals_out
    # The callbacks of a program have to be known before it is partitioned, where JAX's own would be made too late.
    parts = _Parts(target, len(module.host_callbacks), array, devices, parameters)
    module.add_host_callback(parts)

    def like(words: Any) -> Any:
        return jax.numpy.empty(array.shape, array.dtype)  # only its shape counts: ``partition`` says what runs

    make: Any = custom_partitioning
    partitioned = make(like)
    of_keys = [f"key{i}" for i in range(keys.ndim - 1)]
    of_shape = [f"axis{i}" for i in range(array.ndim - keys.ndim + 1)]
    partitioned.def_partition(
        parts.partition,
        # For Shardy, and for the partitioner before it, GSPMD.
        sharding_rule=f"{' '.join([*of_keys, 'words'])} -> {' '.join([*of_keys, *of_shape])}",
        need_replication_factors=("words",),
        infer_sharding_from_operands=lambda *_: parts.everywhere,
        propagate_user_sharding=lambda _, user: user.sharding,
        decode_shardings=False,  # any that XLA has chosen, also if no mesh of the caller can say it
    )
    return mlir.lower_fun(partitioned, multiple_results=False)(context, words)


mlir.register_lowering(_fill, _lowered, cacheable=False)
