"""A tree of parameters by a recipe: each leaf's stream is its name, the path of keys that leads to it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import PartitionSpec, Sharding

import fastinit

from .._arguments import shown, some, typed
from ..recipes._named import assign
from ..recipes._patterns import check_prefix
from ..recipes._values import Skip
from ._arrays import check_dtype, check_given, check_sharding, filled, float_type
from ._initializers import check_tree_shape

if TYPE_CHECKING:
    from .._types import BitGenerator
    from ..recipes import Recipe

__all__ = ["init_tree"]


def _named_leaves(
    argument: str, tree: Any, prefix: str, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[dict[str, Any], Any]:
    """The leaves by their full names, and how to put them together again."""
    pairs, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)
    leaves: dict[str, Any] = {}
    for path, leaf in pairs:
        name = prefix + jax.tree_util.keystr(path, simple=True, separator=".")
        if not path:  # the tree is one leaf, and "head." was put before the names of what is below "head"
            name = prefix.removesuffix(".")
        if name in leaves:  # {"a": {"b": ...}, "a.b": ...}
            raise ValueError(f"{argument} must have one leaf for each name, got two with the name {name!r}")
        leaves[name] = leaf
    return leaves, structure


def _check_values(recipe: object) -> None:
    """Refuse JAX's own initialisers, and functions that return ours.

    Both can have three arguments, and would be called as functions that choose a value.
    """
    pairs: Any = recipe.items() if isinstance(recipe, Mapping) else () if isinstance(recipe, str) else recipe
    for pair in pairs if isinstance(pairs, Iterable) else ():
        value = pair[-1] if isinstance(pair, tuple | list) and pair else None
        if inspect.isfunction(value) and value.__module__.startswith(("jax.", "fastinit.jax.")):
            raise TypeError(
                "recipe must have initialisers such as fastinit.jax.he_normal() and fastinit.jax.zeros, got the "
                f"function {value.__module__}.{value.__qualname__} for {shown(pair[0])}"
            )


def _is_equinox(node: object) -> bool:
    return type(node).__module__.partition(".")[0] == "equinox"


def _of_equinox(tree: Any, prefix: str) -> set[str]:
    """The names of the leaves inside Equinox's own modules."""
    nodes, _ = _named_leaves("tree", tree, prefix, _is_equinox)
    names: set[str] = set()
    for name, node in nodes.items():
        if _is_equinox(node):
            names.update(_named_leaves("tree", node, f"{name}." if name else "")[0])
    return names


def _placements(shardings: Any, leaves: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    """The sharding of each leaf."""
    if shardings is None:
        return {name: getattr(leaf, "sharding", None) for name, leaf in leaves.items()}
    if isinstance(shardings, Sharding | PartitionSpec):
        return dict.fromkeys(leaves, shardings)
    placements, _ = _named_leaves(
        "shardings", shardings, prefix, lambda node: node is None or isinstance(node, Sharding | PartitionSpec)
    )
    missing = [name for name in leaves if name not in placements]
    extra = [name for name, sharding in placements.items() if name not in leaves and sharding is not None]
    problems = []
    if missing:
        problems.append(f"has none for {some(missing)}")
    if extra:
        problems.append(f"has one for {some(extra)}, which tree does not have")
    if problems:
        raise ValueError(
            "shardings must be None, one sharding, or a tree like the one to fill with a sharding or None for each "
            f"leaf; it {' and '.join(problems)}"
        )
    return placements


def _shape_and_dtype(leaf: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Of a leaf that is to be filled."""
    try:
        if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
            raise TypeError(f"must have a shape and a dtype, got {typed(leaf)}")
        return tuple(leaf.shape), check_dtype(leaf.dtype, float_type)
    except TypeError as error:
        raise TypeError(f"{error}; exclude= leaves a leaf as it is") from None


def init_tree(
    tree: Any,
    recipe: Recipe | str,
    *,
    seed: int,
    prefix: str = "",
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    shardings: Any = None,
    threads: int | None = None,
    bit_generator: BitGenerator = "ars",
) -> Any:
    """A tree of new arrays, each by the recipe for its name.

    No array is made whole where a sharding cuts it: each device's part is
    filled by itself.

    Parameters
    ----------
    tree : pytree
        Its leaves have a shape and a dtype: arrays, or what ``jax.eval_shape``
        returns. The name of a leaf is its path, joined by dots: "dense.kernel"
        in {"dense": {"kernel": ...}}, "0.w" in [{"w": ...}]. Its stream is its
        name.
    recipe : Recipe or str
        Pairs of (pattern, value), or a mapping. Values are those of
        ``fastinit.recipes`` and initialisers of this module, such as
        ``fastinit.jax.he_normal()``. Or the name of a shipped recipe, such as
        "gpt2": these are for all the names and shapes of a model as PyTorch's
        modules have them, and refuse others, such as Flax's.
    seed : int
        0 .. 2**64-1.
    prefix : str, default ""
        What comes before the names, for a part of a larger tree: with
        ``prefix="head."`` the tree ``params["head"]`` gets the values that it
        gets inside ``params``. Empty, or ends with a dot.
    include, exclude : str or sequence of str, optional
        Patterns of names, as in a recipe. Only leaves that match ``include``
        (by default all) and do not match ``exclude`` are filled. The others
        come back as the same objects, whatever they are.
    shardings : pytree or jax.sharding.Sharding, optional
        One sharding for all that is filled; or a tree like ``tree``, with a
        sharding for each leaf, or None for the default device. (What it has
        for leaves that are not filled is ignored.) By default the ``sharding``
        that each leaf itself has, if any.
    threads : int, optional
        At most this many threads for each part.
    bit_generator : {"ars", "philox"}, default "ars"
        ARS-7 or Philox4x32-10: other values of the same distribution.

    Returns
    -------
    pytree
        Of the same structure, with a new ``jax.Array`` for each leaf that is
        filled.

    Raises
    ------
    TypeError, ValueError
        Two leaves have one name; recipe, prefix, include or exclude is not
        what is described above, or does not fit the names (see
        ``fastinit.recipes.match``); a leaf that is to be filled has no shape
        and dtype, or a dtype that cannot be filled; its initialiser refuses
        its shape, or does not say how to read it; shardings is a tree of
        another structure; a sharding is refused, by ``make_array`` or JAX. The
        message names the leaf, and nothing has been filled.

    See Also
    --------
    make_array : One array.
    fastinit.recipes.match : Patterns and names.

    Notes
    -----
    An initialiser of this module reads a matrix as (in, out), and is refused
    for three and more axes unless its own axes were given: a stack of matrices
    (``batch_axis=0``) and a convolution (``in_axis=-2``) look alike. It is
    refused for matrices of Equinox's layers too, which are (out, in). A
    ``fastinit.recipes.Initializer`` that needs fans always has to say how.

    Bits: a leaf is the NumPy fill with this seed and its name as stream, on
    every mesh. Another leaf, added or excluded, changes none.

    Examples
    --------
    >>> import jax, fastinit.jax
    >>> from fastinit.recipes import Initializer
    >>> def parameters():
    ...     return {"fc": {"kernel": jax.numpy.ones((8, 4)), "bias": jax.numpy.ones(4)}}
    >>> tree = jax.eval_shape(parameters)
    >>> recipe = {"*.kernel": fastinit.jax.lecun_normal(), "*.bias": Initializer("zeros")}
    >>> params = fastinit.jax.init_tree(tree, recipe, seed=0)
    >>> params["fc"]["bias"].tolist()
    [0.0, 0.0, 0.0, 0.0]

    Another kernel, with the bias as it is:

    >>> other = fastinit.jax.init_tree(params, recipe, seed=1, include="*.kernel")
    >>> other["fc"]["bias"] is params["fc"]["bias"]
    True
    """
    check_prefix(prefix)
    _check_values(recipe)
    leaves, structure = _named_leaves("tree", tree, prefix)
    matched = assign(recipe, {name: getattr(leaf, "shape", ()) for name, leaf in leaves.items()}, include, exclude)
    placements = _placements(shardings, leaves, prefix)
    check_given(seed, 0)
    # What every fill would refuse, before the first of them.
    fastinit.zeros(np.empty(0), seed=seed, threads=threads, bit_generator=bit_generator)
    of_equinox = _of_equinox(tree, prefix)
    made = {}
    for name, (_, initializer) in matched.items():
        if isinstance(initializer, Skip):
            continue
        sharding = placements[name]
        try:
            shape, element = _shape_and_dtype(leaves[name])
            check_tree_shape(initializer, shape, name in of_equinox)
            initializer.check(shape, element)
            if sharding is not None:
                check_sharding("sharding", sharding, shape)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError  # JAX's have types of their own
            raise kind(f"leaf {name!r}: {error}") from None
        fill = functools.partial(initializer.fill, seed=seed, stream=name, threads=threads, bit_generator=bit_generator)
        made[name] = functools.partial(filled, shape, element, sharding, fill)
    return jax.tree_util.tree_unflatten(
        structure, [made[name]() if name in made else leaf for name, leaf in leaves.items()]
    )
