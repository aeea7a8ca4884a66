"""``install``: Keras's strings for initialisers stand for those of fastinit."""

from __future__ import annotations

from typing import Any

import keras

from .._arguments import integer, typed
from . import _initializers

__all__ = ["NAMES", "install", "uninstall"]

# Keras's strings, and what they stand for. (Not "HeNormal" and so on: a file that Keras has saved has class names, and
# what it says should be what it was. And "Identity" is a layer, too.)
NAMES: dict[str, Any] = {
    "glorot_normal": _initializers.GlorotNormal,
    "glorot_uniform": _initializers.GlorotUniform,
    "he_normal": _initializers.HeNormal,
    "he_uniform": _initializers.HeUniform,
    "identity": _initializers.Identity,
    "lecun_normal": _initializers.LecunNormal,
    "lecun_uniform": _initializers.LecunUniform,
    "normal": _initializers.RandomNormal,
    "orthogonal": _initializers.Orthogonal,
    "random_normal": _initializers.RandomNormal,
    "random_uniform": _initializers.RandomUniform,
    "truncated_normal": _initializers.TruncatedNormal,
    "uniform": _initializers.RandomUniform,
    "variance_scaling": _initializers.VarianceScaling,
}

_NOTHING = object()
# While installed: what the names stood for among the custom objects, and what they stand for now.
_replaced: dict[str, tuple[object, object]] = {}


class _Seeded:
    """A class of initialisers whose instances have this seed if they are asked for without one."""

    def __init__(self, initializer: Any, seed: int) -> None:
        self._initializer, self._seed = initializer, seed

    def from_config(self, config: dict[str, Any]) -> Any:
        """A new initialiser."""
        return self._initializer.from_config({"seed": self._seed, **config})


def install(seed: int | None = None) -> None:
    """Strings such as "he_normal" stand for fastinit's initialisers from now on.

    The names of Keras in small letters, in the whole process: "glorot_normal",
    "glorot_uniform", "he_normal", "he_uniform", "identity", "lecun_normal",
    "lecun_uniform", "normal", "orthogonal", "random_normal", "random_uniform",
    "truncated_normal", "uniform" and "variance_scaling". They include the
    defaults of layers, for layers that are made after this call. Objects of
    Keras's own classes stay what they are. A second call replaces the first.

    Parameters
    ----------
    seed : int, optional
        Of all initialisers that are made from a string. Then a weight depends
        on this seed and the variable's path alone. By default each has a seed
        of its own, as in Keras: ``keras.utils.set_random_seed`` governs.

    Raises
    ------
    TypeError
        seed is not an int.

    See Also
    --------
    uninstall : Ends it.

    Notes
    -----
    The names are entered in ``keras.saving.get_custom_objects()``. A model
    that is made meanwhile and saved names fastinit's classes: import
    ``fastinit.keras`` before it is loaded.

    Examples
    --------
    >>> import keras, fastinit.keras
    >>> fastinit.keras.install(seed=0)
    >>> keras.layers.Dense(64).kernel_initializer.__class__.__module__
    'fastinit.keras'
    >>> fastinit.keras.uninstall()
    """
    if seed is not None:
        try:
            seed = integer(seed)
        except TypeError:
            raise TypeError(f"seed must be an int or None, got {typed(seed)}") from None
    uninstall()
    objects = keras.saving.get_custom_objects()
    for name, initializer in NAMES.items():
        draws = initializer is not _initializers.Identity
        ours = initializer if seed is None or not draws else _Seeded(initializer, seed)
        _replaced[name] = objects.get(name, _NOTHING), ours
        objects[name] = ours


def uninstall() -> None:
    """End what ``install`` began; do nothing if it did not.

    Layers and initialisers that were made meanwhile stay what they are.

    Examples
    --------
    >>> import fastinit.keras
    >>> fastinit.keras.uninstall()
    """
    objects = keras.saving.get_custom_objects()
    for name, (before, ours) in _replaced.items():
        if objects.get(name) is ours:  # nobody else has taken the name since
            del objects[name]
            if before is not _NOTHING:
                objects[name] = before
    _replaced.clear()
