"""fastinit for JAX: sharded arrays, trees by recipe, and initialisers with the protocol of ``jax.nn.initializers``.

This file knows keys, shardings and trees. It knows no distribution: an element is what ``fastinit`` puts at its index
of the whole array, for a seed and a stream, so each sharding, mesh and framework gets the same bits. ``import
fastinit`` does not import it. Tested with JAX 0.10.2 and Flax 0.12.8 on CPU devices.

    >>> import jax, fastinit.jax
    >>> abstract = {"dense": {"kernel": jax.ShapeDtypeStruct((256, 512), "float32")}}
    >>> params = fastinit.jax.init_tree(abstract, None, {"*.kernel": fastinit.jax.he_normal()}, seed=0)
    >>> params["dense"]["kernel"].shape
    (256, 512)

Shapes are read as JAX reads them, (*kernel, in, out), unless an initialiser says otherwise. Whatever is filled is a new
array in the memory of the CPU at a 64-byte boundary: a CPU device takes it over without a copy.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import jax
import numpy as np
from jax.nn.initializers import constant, ones, zeros  # they draw nothing, and stay on the device: JAX's own
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from numpy.typing import NDArray

from .._arguments import choice, element_type, integers, shown, typed
from ..arrays import empty
from ..recipes import Initializer, Recipe, match

__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "init_tree",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "make_array",
    "normal",
    "ones",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

Axes: TypeAlias = int | Sequence[int]
_MODES = {"fan_in": "fan_in", "fan_out": "fan_out", "fan_avg": "fan_avg", "fan_geo_avg": "fan_geo"}


# --- arrays ---------------------------------------------------------------------------------------------------------


def _dtype(dtype: Any) -> np.dtype[Any]:
    """What JAX makes of a dtype, where that is one and the same thing."""
    found = element_type(jax.dtypes.canonicalize_dtype(float) if dtype is None else dtype)
    if jax.dtypes.canonicalize_dtype(found) != found:
        raise ValueError(f"dtype {found} needs jax.config.update('jax_enable_x64', True), which is off")
    return found


def _shape(shape: object) -> tuple[int, ...]:
    dims = integers("shape", shape)
    if min(dims, default=0) < 0:
        raise ValueError(f"shape must hold ints >= 0, got {shown(shape)}")
    return dims


def _filler(initializer: object) -> Callable[..., object]:
    if isinstance(initializer, Initializer):
        return functools.partial(initializer.fill, layout="keras")
    if callable(initializer):
        return initializer
    raise TypeError(
        "initializer must be a fastinit.recipes.Initializer, an initialiser of fastinit.jax, or a function of fastinit "
        f"such as fastinit.normal or functools.partial(fastinit.he_normal, layout='keras'); got {typed(initializer)}"
    )


def _check_sharding(sharding: object, shape: tuple[int, ...]) -> None:
    """Raise unless each device of this process holds a box."""
    wanted = "sharding must be a jax.sharding.Sharding that gives each device a box of the array, or None"
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


def make_array(
    shape: Sequence[int],
    sharding: Sharding | None,
    initializer: Initializer | Callable[..., object],
    seed: int = 0,
    stream: int | str = 0,
    dtype: Any = None,
) -> jax.Array:
    """A new array on a sharding, of which each device's part alone is made, with the values that the whole has there.

    Args:
        shape: of the whole array.
        sharding: any that gives each device a box; all processes of it call this with the same arguments, and each
            fills what its own devices hold. None: the default device, uncommitted, as from ``jax.device_put``.
        initializer: a ``recipes.Initializer``, an initialiser of this module, or a function of fastinit that needs no
            more arguments, such as ``functools.partial(fastinit.he_normal, layout="keras")``.
        seed, stream: as in ``help(fastinit)``. The stream is best the parameter's name.
        dtype: float32, float64 (with jax_enable_x64), float16 or bfloat16; None is JAX's default.

    Returns:
        A ``jax.Array``. Parts that several devices hold are filled once for each.

    Raises:
        TypeError, ValueError: sharding is not one, or gives devices no boxes; JAX refuses it for this shape (uneven);
            dtype is none of these; the initialiser refuses an argument.

    Bits:
        ``np.asarray(make_array(...))`` is the NumPy fill of the same shape, seed, stream and dtype, on every mesh.

    Example:
        >>> import jax, numpy as np, fastinit, fastinit.jax
        >>> mesh = jax.make_mesh((jax.device_count(),), ("model",))
        >>> rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("model"))
        >>> w = fastinit.jax.make_array((4096, 64), rows, fastinit.normal, seed=0, stream="w")
        >>> np.array_equal(w, fastinit.normal(np.empty((4096, 64), np.float32), seed=0, stream="w"))
        True
    """
    shape, element, fill = _shape(shape), _dtype(dtype), _filler(initializer)

    def box(index: tuple[slice, ...] | None) -> NDArray[Any]:
        spans = [part.indices(n) for part, n in zip(index or (), shape, strict=True)]
        out = empty([end - start for start, end, _ in spans], element)
        fill(out, seed=seed, stream=stream, global_shape=shape, offset=[start for start, _, _ in spans])
        return out

    if sharding is None:
        array: jax.Array = jax.device_put(box((slice(None),) * len(shape)))
        return array
    _check_sharding(sharding, shape)
    return jax.make_array_from_callback(shape, sharding, box, dtype=element)


# --- trees ----------------------------------------------------------------------------------------------------------


def _named_leaves(argument: str, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[dict[str, Any], Any]:
    """The leaves by their paths, joined by dots, and how to put them together again."""
    pairs, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)
    leaves: dict[str, Any] = {}
    for path, leaf in pairs:
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in leaves:  # {"a": {"b": ...}, "a.b": ...}
            raise ValueError(f"{argument} must have one leaf for each name, got two with the name {name!r}")
        leaves[name] = leaf
    return leaves, structure


def _placements(shardings: Any, leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The sharding of each leaf."""
    if shardings is None:
        return {name: getattr(leaf, "sharding", None) for name, leaf in leaves.items()}
    if isinstance(shardings, Sharding | PartitionSpec):
        return dict.fromkeys(leaves, shardings)
    given, _ = _named_leaves(
        "shardings", shardings, lambda node: node is None or isinstance(node, Sharding | PartitionSpec)
    )
    missing = [name for name in leaves if name not in given]
    extra = [name for name, sharding in given.items() if name not in leaves and sharding is not None]
    if missing or extra:
        raise ValueError(
            "shardings must be None, one sharding, or a tree like abstract_tree; "
            f"it has none for {missing[:10]} and one for {extra[:10]}, which abstract_tree has not"
        )
    return given


def init_tree(abstract_tree: Any, shardings: Any, recipe: Recipe, seed: int = 0) -> Any:
    """A tree of new arrays, each from the recipe for its name and on its sharding. No device gets more than its part.

    Args:
        abstract_tree: any tree whose leaves have a shape and a dtype, such as ``jax.eval_shape`` returns. The name of a
            leaf is its path, joined by dots: "dense.kernel" in {"dense": {"kernel": ...}}, "0.w" in [{"w": ...}]. Its
            stream is its name.
        shardings: None, which is what the leaves have as ``sharding`` themselves, or the default device; one sharding
            for all; or a tree with one, or None, for each leaf.
        recipe: pairs of (pattern, ``recipes.Initializer``), or a mapping: ``fastinit.recipes.Recipe``. The initialisers
            of this module, as ``fastinit.jax.he_normal()``, are such.
        seed: as in ``help(fastinit)``.

    Returns:
        A tree of the same structure.

    Raises:
        TypeError, ValueError: a leaf has no shape and dtype, or a dtype that is not filled; two leaves have one name;
            shardings is another tree; a sharding is refused, by ``make_array`` or JAX; the recipe has a pattern for no
            leaf, or none for some leaf, or does not fit a shape. The message names the leaf, and nothing has been
            filled.

    Bits:
        A leaf is the NumPy fill with this seed and ``stream=name``: adding another changes none.

    Example:
        >>> import jax, fastinit.jax
        >>> from fastinit.recipes import Initializer
        >>> abstract = jax.eval_shape(lambda: {"fc": {"kernel": jax.numpy.ones((8, 4)), "bias": jax.numpy.ones(4)}})
        >>> recipe = {"*.kernel": fastinit.jax.lecun_normal(), "*.bias": Initializer("zeros")}
        >>> fastinit.jax.init_tree(abstract, None, recipe)["fc"]["bias"].tolist()
        [0.0, 0.0, 0.0, 0.0]
    """
    leaves, structure = _named_leaves("abstract_tree", abstract_tree)
    matched = match(recipe, leaves)
    placements = _placements(shardings, leaves)
    for name, leaf in leaves.items():
        try:
            if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
                raise TypeError(f"must have a shape and a dtype, got {typed(leaf)}")
            matched[name][1].check(leaf.shape, _dtype(leaf.dtype), "keras")
            if placements[name] is not None:
                _check_sharding(placements[name], leaf.shape)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError  # JAX's have types of their own
            raise kind(f"leaf {name!r}: {error}") from None
    return jax.tree_util.tree_unflatten(
        structure,
        [
            make_array(leaf.shape, placements[name], matched[name][1], seed, name, leaf.dtype)
            for name, leaf in leaves.items()
        ],
    )


# --- JAX's protocol -------------------------------------------------------------------------------------------------


def _key_words(key: Any) -> Any:
    """The 32-bit words of a key of either kind, traced or not."""
    words = jax.random.key_data(key)
    if words.shape not in ((2,), (4,)):
        raise ValueError(f"key must be a single key of 64 or 128 bits, got one with data of shape {words.shape}")
    return words


def _seed_and_stream(words: Any) -> tuple[int, int]:
    """The first 64 bits, most significant word first, so that ``jax.random.key(5)`` is seed 5; and the rest, or 0."""
    numbers = [int(high) << 32 | int(low) for high, low in np.asarray(words).reshape(-1, 2)]
    return numbers[0], sum(numbers[1:])


class JaxInitializer(Initializer):
    """An initialiser as data that is also one of JAX's: ``init(key, shape, dtype=None, out_sharding=None)``.

    The seed is the first 64 bits of the key's data, the stream the other 64 (rbg keys) or 0 (threefry keys).
    """

    __slots__ = ("_dtype",)
    _dtype: Any

    def __init__(self, function: str, arguments: Mapping[str, object] | None = None, dtype: Any = None, /) -> None:
        super().__init__(function, arguments)
        object.__setattr__(self, "_dtype", dtype)

    @property
    def dtype(self) -> Any:
        """Of the arrays, where a call does not say it."""
        return self._dtype

    def _key(self) -> tuple[object, ...]:
        return (*super()._key(), self.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.function, dict(self.arguments), self.dtype)

    def __call__(
        self,
        key: Any,
        shape: Sequence[int],
        dtype: Any = None,
        out_sharding: NamedSharding | PartitionSpec | None = None,
    ) -> jax.Array:
        """A new array.

        With a traced key, under ``jit``, ``vmap`` or ``eval_shape``, it comes from ``jax.pure_callback``: the same
        bits, but made whole on the host in each run, and only then put on ``out_sharding``.
        """
        shape, element = _shape(shape), _dtype(self.dtype if dtype is None else dtype)
        words = _key_words(key)
        if not isinstance(words, jax.core.Tracer):
            if isinstance(out_sharding, PartitionSpec):
                out_sharding = NamedSharding(jax.sharding.get_mesh(), out_sharding)
            return make_array(shape, out_sharding, self, *_seed_and_stream(words), element)
        self.check(shape, element, "keras")

        def whole(words: Any) -> NDArray[Any]:
            seed, stream = _seed_and_stream(words)
            out: NDArray[Any] = self.fill(empty(shape, element), seed=seed, stream=stream, layout="keras")
            return out

        what = jax.ShapeDtypeStruct(shape, element)  # type: ignore[no-untyped-call, unused-ignore]
        array: jax.Array = jax.pure_callback(whole, what, words, vmap_method="sequential")
        if out_sharding is not None:
            array = jax.sharding.reshard(array, out_sharding)  # type: ignore[no-untyped-call, unused-ignore]
        return array


def _axes(axes: Axes) -> int | tuple[int, ...]:
    return tuple(axes) if isinstance(axes, Sequence) else operator.index(axes)


def uniform(scale: Any = 1e-2, dtype: Any = None) -> JaxInitializer:
    """U(0, scale): 0 <= value < scale."""
    low, high = sorted((0.0, float(scale)))
    return JaxInitializer("uniform", {"low": low, "high": high}, dtype)


def normal(stddev: Any = 1e-2, dtype: Any = None) -> JaxInitializer:
    """N(0, stddev)."""
    return JaxInitializer("normal", {"std": float(stddev)}, dtype)


def truncated_normal(stddev: Any = 1e-2, dtype: Any = None, lower: Any = -2.0, upper: Any = 2.0) -> JaxInitializer:
    """N(0, stddev) cut at lower and upper, in units of stddev, which is that of the normal before the cut."""
    arguments = {"std": float(stddev), "low": float(lower), "high": float(upper), "bounds": "std"}
    return JaxInitializer("truncated_normal", arguments, dtype)


def variance_scaling(
    scale: Any,
    mode: Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"],
    distribution: Literal["truncated_normal", "normal", "uniform"],
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
    dtype: Any = None,
) -> JaxInitializer:
    """Mean 0 and variance scale / n, n by mode: ``fastinit.variance_scaling``."""
    choice("mode", mode, tuple(_MODES))
    arguments = {
        "scale": float(scale),
        "mode": _MODES[mode],
        "distribution": distribution,
        "in_axis": _axes(in_axis),
        "out_axis": _axes(out_axis),
        "batch_axis": _axes(batch_axis),
    }
    return JaxInitializer("variance_scaling", arguments, dtype)


def glorot_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> JaxInitializer:
    """Uniform of variance 2 / (fan_in + fan_out)."""
    return variance_scaling(1.0, "fan_avg", "uniform", in_axis, out_axis, batch_axis, dtype)


def glorot_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> JaxInitializer:
    """Truncated normal of variance 2 / (fan_in + fan_out)."""
    return variance_scaling(1.0, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def lecun_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> JaxInitializer:
    """Uniform of variance 1 / fan_in."""
    return variance_scaling(1.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def lecun_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> JaxInitializer:
    """Truncated normal of variance 1 / fan_in."""
    return variance_scaling(1.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def he_uniform(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> JaxInitializer:
    """Uniform of variance 2 / fan_in."""
    return variance_scaling(2.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def he_normal(in_axis: Axes = -2, out_axis: Axes = -1, batch_axis: Axes = (), dtype: Any = None) -> JaxInitializer:
    """Truncated normal of variance 2 / fan_in."""
    return variance_scaling(2.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis, dtype)


def orthogonal(scale: Any = 1.0, column_axis: int = -1, dtype: Any = None) -> JaxInitializer:
    """Orthonormal rows or columns, times scale: ``fastinit.orthogonal``. column_axis: -1, the last axis, or 0."""
    if column_axis not in (0, -1):
        raise ValueError(f"column_axis must be -1 (the last axis) or 0, got {shown(column_axis)}")
    arguments = {"gain": float(scale), "layout": "keras" if column_axis else "torch"}
    return JaxInitializer("orthogonal", arguments, dtype)


xavier_uniform = glorot_uniform
xavier_normal = glorot_normal
kaiming_uniform = he_uniform
kaiming_normal = he_normal
