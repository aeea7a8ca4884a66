"""Initialisation as data: which function with which arguments fills which
parameter, and what moments to expect.

    >>> import numpy as np
    >>> from fastinit.recipes import Initializer, match
    >>> recipe = {"*.bias": Initializer("zeros"), "*": Initializer("normal", std=0.02)}
    >>> match(recipe, ["fc.weight", "fc.bias"])["fc.bias"]
    ('*.bias', Initializer('zeros'))
    >>> w = Initializer("normal", std=0.02).fill(np.empty(8, np.float32), seed=0, stream="fc.weight")

Who fills whole models takes a recipe, or the name of a shipped one:
``fastinit.torch.init_module``, ``fastinit.torch.FastInitReader``,
``fastinit.jax.init_tree``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core import Initializer, Recipe, match
    from ._language import gpt2, llama
    from ._named import RECIPES, named
    from ._vision import resnet, vit

__all__ = ["RECIPES", "Initializer", "Recipe", "gpt2", "llama", "match", "named", "resnet", "vit"]


def __getattr__(name: str) -> Any:
    """All of it when the first name is asked for, since ``import fastinit`` imports this file and few need recipes."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import _core, _language, _named, _vision

    for module in (_core, _language, _named, _vision):
        globals().update({public: getattr(module, public) for public in module.__all__ if public in __all__})
    return globals()[name]


def __dir__() -> list[str]:
    return sorted(__all__)
