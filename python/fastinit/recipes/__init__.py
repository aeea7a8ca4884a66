"""Initialisation as data: which function with which arguments fills which
parameter, and what moments to expect.

    >>> import numpy as np
    >>> from fastinit.recipes import Initializer, match
    >>> recipe = {"*.bias": Initializer("zeros"), "*": Initializer("normal", std=0.02)}
    >>> match(recipe, ["fc.weight", "fc.bias"])["fc.bias"]
    ('*.bias', Initializer('zeros'))
    >>> w = Initializer("normal", std=0.02).fill(np.empty(8, np.float32), seed=0, stream="fc.weight")

Other values are ``skip`` (leave the parameter alone), ``computed(function)``,
and functions of a parameter's name, shape and siblings that choose a value.
``optional(pattern)`` may match nothing. ``by_pattern`` makes one of names
shorter. ``save`` and ``load`` keep recipes in files of JSON.

The functions that fill whole models take a recipe, or the name of a shipped
one: ``fastinit.torch.init_module``, ``fastinit.torch.FastInitReader``,
``fastinit.jax.init_tree``.
"""

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from ._by_pattern import by_pattern
    from ._initializer import Initializer
    from ._json import load, save
    from ._language import gpt2, llama
    from ._named import RECIPES, named
    from ._patterns import Recipe, match, optional
    from ._values import computed, skip
    from ._vision import resnet, vit

__all__ = [
    "RECIPES",
    "Initializer",
    "Recipe",
    "by_pattern",
    "computed",
    "gpt2",
    "llama",
    "load",
    "match",
    "named",
    "optional",
    "resnet",
    "save",
    "skip",
    "vit",
]


# ``import fastinit`` imports this file, and few need recipes: a name is imported when it is asked for.
__getattr__ = lazily(
    __name__,
    {
        "RECIPES": "_named",
        "Initializer": "_initializer",
        "Recipe": "_patterns",
        "by_pattern": "_by_pattern",
        "computed": "_values",
        "gpt2": "_language",
        "llama": "_language",
        "load": "_json",
        "match": "_patterns",
        "named": "_named",
        "optional": "_patterns",
        "resnet": "_vision",
        "save": "_json",
        "skip": "_values",
        "vit": "_vision",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
