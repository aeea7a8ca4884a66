"""fastinit for Keras 3: its random initialisers, on TensorFlow, JAX and torch.

    >>> import keras, fastinit.keras
    >>> layer = keras.layers.Dense(64, kernel_initializer=fastinit.keras.HeNormal(seed=0))
    >>> layer.build((None, 32))
    >>> layer.kernel.shape == (32, 64)
    True

The classes have the names, arguments and distributions of those in
``keras.initializers``, and are subclasses of them. ``install()`` makes the
strings "glorot_uniform", "he_normal" and so on, which are also the defaults
of layers, stand for these.

Each variable has a stream of its own, its path, such as "dense/kernel": two
layers with one seed differ, and a variable has the same bits on each backend.
docs/keras.md has the details. Tested with Keras 3.7 to 3.15 on the CPU.
"""

from ._initializers import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
)
from ._install import install, uninstall

__all__ = [
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "LecunNormal",
    "LecunUniform",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "install",
    "uninstall",
]


def __dir__() -> list[str]:
    return sorted(__all__)
