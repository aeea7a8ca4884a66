"""Xavier, He and other weights, in place into arrays: fast, and with the same
bits on every CPU, thread count, memory layout and shard.

    >>> import numpy as np
    >>> import fastinit
    >>> g = fastinit.Generator(0)  # 0 is the seed
    >>> w1 = g.he_normal(np.empty((256, 784), np.float32), fan_in=784)
    >>> w2 = g.he_normal(np.empty((256, 256), np.float32), fan_in=256)

A generator moves on with each call, so the two differ. The functions do the
same without an object; there the parameter's name keeps two layers apart:

    >>> w = np.empty((256, 784), np.float32)
    >>> w = fastinit.he_normal(w, 784, seed=0, stream="layer1.weight")

A seed alone stands for its first stream: two arrays of one shape that are
filled with ``seed=0`` and nothing else are equal. Without a seed, each call
takes the next stream of a default generator, which ``manual_seed`` seeds.

he_normal, he_uniform            before a ReLU; kaiming_* are the same
xavier_normal, xavier_uniform    before a tanh; glorot_* are the same
lecun_normal, lecun_uniform      variance 1 / fan_in; normal before a selu
variance_scaling                 all of these, by scale, mode, distribution
normal, uniform, truncated_normal
orthogonal, identity, dirac, sparse
zeros, ones, constant, integers, random_bits
empty, summary                   arrays around them
Generator, default_generator, manual_seed
calculate_gain, set_num_threads, get_num_threads, show_config
recipes                          which parameters of a model get what
signal                           how activations and gradients travel

``import fastinit.torch``, ``.jax`` and ``.keras`` bring the adapters.
``help(fastinit.he_normal)`` and so on give formulas and arguments.
"""

from . import recipes, signal
from ._core import __version__
from ._fans import calculate_gain
from .arrays import Summary, empty, summary
from .initializers import (
    constant,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    integers,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    ones,
    random_bits,
    truncated_normal,
    uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
    zeros,
)
from .random import Generator, default_generator, get_num_threads, manual_seed, set_num_threads, show_config
from .structured import dirac, identity, orthogonal, sparse

__all__ = [
    "Generator",
    "Summary",
    "__version__",
    "calculate_gain",
    "constant",
    "default_generator",
    "dirac",
    "empty",
    "get_num_threads",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "integers",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "manual_seed",
    "normal",
    "ones",
    "orthogonal",
    "random_bits",
    "recipes",
    "set_num_threads",
    "show_config",
    "signal",
    "sparse",
    "summary",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]


# No __getattr__ here: with one, CPython looks up every name of the module more slowly, by 5 % of a small call.
def __dir__() -> list[str]:
    return sorted({*__all__, *({"dask", "jax", "keras", "torch"} & globals().keys())})
