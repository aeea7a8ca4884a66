"""New arrays on shardings, of which each device's part alone is made.

A part is filled in new memory of the CPU at a 64-byte boundary, which a CPU device takes over without a copy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import PartitionSpec, Sharding
from numpy.typing import NDArray

from .._arguments import element_type, integers, shown, typed
from ..arrays import empty
from ..recipes import Initializer
from ..recipes._values import Computed

if TYPE_CHECKING:
    from .._types import BitGenerator

__all__ = [
    "LAYOUT",
    "check_dtype",
    "check_given",
    "check_shape",
    "check_sharding",
    "filled",
    "float_type",
    "make_array",
    "new_part",
]

# How JAX's initialisers read a shape: (*kernel, in, out).
LAYOUT = "keras"


def float_type(dtype: object) -> np.dtype[Any]:
    """The dtype, if it is one of those that an ``Initializer`` fills."""
    try:
        found = element_type(dtype)
        if found.kind in "iu" or found.itemsize == 1:  # for integers and random_bits; and float8
            raise TypeError
    except TypeError:
        message = f"dtype must be float32, float64, float16 or bfloat16, got {typed(dtype)}"
        try:
            other = np.dtype(dtype)  # type: ignore[call-overload]
        except TypeError:
            other = None
        if other is not None and (other.kind == "c" or other.name.startswith("float8")):
            message += ", which JAX's own initialisers (jax.nn.initializers) may take"
        raise TypeError(message) from None
    return found


def check_dtype(dtype: object, known: Callable[[object], np.dtype[Any]]) -> np.dtype[Any]:
    """A known dtype, where JAX makes no other of it. JAX's default is that for None and Python's float."""
    found = known(jax.dtypes.canonicalize_dtype(float) if dtype is None or dtype is float else dtype)
    if jax.dtypes.canonicalize_dtype(found) != found:
        raise ValueError(f"dtype {found} needs jax.config.update('jax_enable_x64', True), which is off")
    return found


def check_shape(shape: object) -> tuple[int, ...]:
    """The shape as a tuple."""
    dims = integers("shape", shape)
    if min(dims, default=0) < 0:
        raise ValueError(f"shape must hold ints >= 0, got {shown(shape)}")
    return dims


def check_sharding(argument: str, sharding: object, shape: tuple[int, ...]) -> None:
    """Raise unless each device of this process holds a box."""
    wanted = f"{argument} must be a jax.sharding.Sharding that gives each device a box of the array, or None"
    if not isinstance(sharding, Sharding):
        hint = "; NamedSharding(mesh, spec) is one" if isinstance(sharding, PartitionSpec) else ""
        raise TypeError(f"{wanted}, got {typed(sharding)}{hint}")
    try:
        boxes = sharding.addressable_devices_indices_map(shape).values()
    except NotImplementedError:  # an unreduced axis: each device holds a summand of the array, not a part
        raise ValueError(f"{wanted}, got {shown(sharding)}") from None
    for box in boxes:
        if box is None or not all(isinstance(part, slice) and part.step in (None, 1) for part in box):
            raise ValueError(f"{wanted}, got {shown(sharding)}")


def check_given(seed: object, stream: object) -> None:
    """Refuse None, which fills take for "the next stream": parts are filled in any order, and by several processes."""
    if seed is None:
        raise TypeError("seed must be an int, 0 .. 2**64-1, got None")
    if stream is None:
        raise TypeError("stream must be an int, 0 .. 2**64-1, or a str such as the parameter's name, got None")


def new_part(
    shape: tuple[int, ...], element: np.dtype[Any], fill: Callable[..., object], index: tuple[slice, ...] | None = None
) -> NDArray[Any]:
    """The part of an array at ``index``, by default all of it. ``fill`` takes out, global_shape and offset."""
    index = (slice(None),) * len(shape) if index is None else index
    spans = [part.indices(n) for part, n in zip(index, shape, strict=True)]
    out = empty([end - start for start, end, _ in spans], element)
    fill(out, global_shape=shape, offset=[start for start, _, _ in spans])
    return out


def filled(
    shape: tuple[int, ...], element: np.dtype[Any], sharding: Sharding | None, fill: Callable[..., object]
) -> jax.Array:
    """A new array, of arguments that have been checked. ``fill`` takes out, global_shape and offset."""
    make = functools.partial(new_part, shape, element, fill)
    if sharding is None:
        array: jax.Array = jax.device_put(make())
        return array
    return jax.make_array_from_callback(shape, sharding, make, dtype=element)


def make_array(
    shape: Sequence[int],
    initializer: Initializer | Computed | Callable[..., object],
    *,
    seed: int,
    stream: int | str,
    sharding: Sharding | None = None,
    dtype: Any = None,
    threads: int | None = None,
    bit_generator: BitGenerator = "ars",
) -> jax.Array:
    """A new array, of which each device's part alone is made.

    Parameters
    ----------
    shape : sequence of int
        Of the whole array.
    initializer : Initializer or callable
        A ``fastinit.recipes.Initializer``, which says how it reads a shape if
        it needs fans; an initialiser of ``fastinit.jax``, such as
        ``fastinit.jax.he_normal()``, which reads it as JAX does; or a function
        of ``fastinit`` with whatever arguments it needs, as in
        ``functools.partial(fastinit.he_normal, layout="keras")``. Or what
        ``fastinit.recipes.computed`` returns.
    seed : int
        0 .. 2**64-1.
    stream : int or str
        A number, 0 .. 2**64-1, or a name, such as that of the parameter. Two
        arrays with one seed and one stream share their values.
    sharding : jax.sharding.Sharding, optional
        Any that gives each device a box. All processes of it make the same
        call, and each fills what its own devices hold. By default the array is
        on the default device and uncommitted, as from ``jax.device_put``.
    dtype : dtype, optional
        One of float32, float64 (with ``jax_enable_x64``), float16, bfloat16.
        By default that of the initialiser of ``fastinit.jax``, if it has one,
        else JAX's own default, which Python's ``float`` also stands for.
    threads : int, optional
        At most this many threads for each part.
    bit_generator : {"ars", "philox"}, default "ars"
        ARS-7 or Philox4x32-10: other values of the same distribution.

    Returns
    -------
    jax.Array
        On ``sharding``. A part that several devices hold is filled once for
        each of them; an array that all have whole is filled once.

    Raises
    ------
    TypeError, ValueError
        sharding is not one, or does not give each device a box; JAX refuses
        it for this shape (uneven parts); dtype is none of these; the
        initialiser refuses an argument or the shape.

    See Also
    --------
    init_tree : The same for a tree of parameters, by a recipe.

    Notes
    -----
    Bits: ``np.asarray(make_array(...))`` is the NumPy fill of the same shape,
    seed, stream and dtype, on every mesh.

    Neither seed nor stream has a default: an array of several parts, in
    several processes, cannot take "the next stream", and a seed alone would
    give equal values to arrays of one shape.

    Examples
    --------
    >>> import jax, numpy as np, fastinit, fastinit.jax
    >>> mesh = jax.make_mesh((jax.device_count(),), ("model",))
    >>> rows = jax.sharding.NamedSharding(mesh, jax.P("model"))
    >>> w = fastinit.jax.make_array(
    ...     (4096, 64), fastinit.jax.lecun_normal(), seed=0, stream="w", sharding=rows
    ... )
    >>> same = np.empty((4096, 64), np.float32)
    >>> same = fastinit.lecun_normal(same, 4096, truncated=True, seed=0, stream="w")
    >>> np.array_equal(w, same)
    True
    """
    shape = check_shape(shape)
    known: Callable[[object], np.dtype[Any]] = element_type
    function: Callable[..., object]
    if isinstance(initializer, Initializer | Computed):
        known = float_type
        if dtype is None:
            dtype = getattr(initializer, "dtype", None)  # a JaxInitializer may have one
        function = initializer.fill
    else:
        try:
            function = Computed(initializer).function  # which refuses JAX's own, by what they take
        except TypeError:
            raise TypeError(
                "initializer must be a fastinit.recipes.Initializer or computed(function), an initialiser of "
                "fastinit.jax, or a function that fills as those of fastinit do, such as fastinit.normal or "
                f"partial(fastinit.he_normal, layout='keras'); got {typed(initializer)}"
            ) from None
    element = check_dtype(dtype, known)
    check_given(seed, stream)
    if sharding is not None:
        check_sharding("sharding", sharding, shape)
    fill = functools.partial(function, seed=seed, stream=stream, threads=threads, bit_generator=bit_generator)
    try:
        return filled(shape, element, sharding, fill)
    except (TypeError, ValueError):
        if isinstance(initializer, Initializer):
            initializer.check(shape, element)  # says which initialiser it is
        raise
