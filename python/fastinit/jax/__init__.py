"""fastinit for JAX: sharded arrays, trees of parameters, initialisers.

    >>> import jax, fastinit.jax
    >>> tree = {"dense": {"kernel": jax.ShapeDtypeStruct((256, 512), "float32")}}
    >>> recipe = {"*.kernel": fastinit.jax.he_normal()}
    >>> params = fastinit.jax.init_tree(tree, recipe, seed=0)
    >>> params["dense"]["kernel"].shape
    (256, 512)

``init_tree`` fills a tree of parameters by a recipe, ``make_array`` makes one
array; both on any mesh, where each device's part alone is made. ``he_normal``
and so on have the names, arguments and distributions of
``jax.nn.initializers``, for modules of Flax, Equinox and Haiku, ``make_array``
and recipes; in a compiled program, too, each device makes its own part.

An element is what ``fastinit`` puts at its index of the whole array, for a
seed and a stream: each sharding, mesh and framework gets the same bits. These
initialisers read shapes as JAX reads them, (*kernel, in, out), unless they say
otherwise; in trees only matrices. docs/jax.md has the details. Tested with JAX
0.10 to 0.12, Flax 0.12, Equinox 0.13 and Haiku 0.0.17 on CPU devices.
"""

from ._arrays import make_array
from ._initializers import (
    JaxInitializer,
    constant,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    ones,
    orthogonal,
    truncated_normal,
    uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
    zeros,
)
from ._tree import init_tree

__all__ = [
    "JaxInitializer",
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


def __dir__() -> list[str]:
    return sorted(__all__)
