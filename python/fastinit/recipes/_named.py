"""Shipped recipes by name, and which parameter of a model gets what."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

from .._arguments import shown, typed
from ._core import Filling, Recipe, match, resolved, some
from ._language import gpt2, llama
from ._moments import Shape
from ._values import Skip
from ._vision import resnet, vit

__all__ = ["RECIPES", "assign", "named"]

RECIPES: dict[str, Callable[..., Recipe]] = {"gpt2": gpt2, "llama": llama, "vit": vit, "resnet": resnet}

# Whose names each recipe is for, and one of these names.
_MODELS = {
    "gpt2": ("transformers' GPT2LMHeadModel", "h.0.ln_1.weight"),
    "llama": ("transformers' LlamaForCausalLM", "layers.0.input_layernorm.weight"),
    "vit": ("timm's VisionTransformer", "patch_embed.proj.weight"),
    "resnet": ("torchvision's or timm's ResNet", "fc.weight"),
}


def named(name: str, shapes: Mapping[str, Shape]) -> Recipe:
    """The shipped recipe of that name, for a model with these parameters.

    Depth, fans and options are read from the names and shapes.

    Parameters
    ----------
    name : str
        One of ``RECIPES``.
    shapes : mapping
        From the qualified name of each parameter to its (global) shape.

    Returns
    -------
    Recipe
        As the function of that name returns it.

    Raises
    ------
    TypeError, ValueError
        name is none of these; the parameters are not those of such a model,
        as PyTorch's modules name them.

    Examples
    --------
    >>> from fastinit.recipes import named
    >>> named("llama", {"norm.weight": (8,), "lm_head.weight": (100, 8)})[1]
    ('*.weight', Initializer('normal', std=0.02))
    """
    wanted = f"recipe must be one of {', '.join(map(repr, RECIPES))}, or a recipe"
    if not isinstance(name, str):
        raise TypeError(f"{wanted}; got {typed(name)}")
    if name not in RECIPES:
        raise ValueError(f"{wanted}; got {shown(name)}")
    if name == "gpt2":
        blocks = {int(hit[1]) for hit in _those(name, shapes, r"(?:.*\.)?h\.(\d+)\..*\.weight")}
        if blocks != set(range(len(blocks))):
            raise ValueError(
                f"recipe 'gpt2' needs all of the model's blocks, since their number is in its values; got only "
                f"{some(f'h.{block}' for block in sorted(blocks))}: give fastinit.recipes.gpt2(number of blocks)"
            )
        return gpt2(len(blocks))
    if name == "llama":
        _those(name, shapes, r".*norm\.weight")
        return llama(biases=any(parameter.endswith(".bias") for parameter in shapes))
    if name == "vit":
        patch = _those(name, shapes, r".*patch_embed\.proj\.weight")[0][0]
        return vit(
            math.prod(shapes[patch][1:]),
            class_token=any(parameter.endswith("cls_token") for parameter in shapes),
            registers=any(parameter.endswith("reg_token") for parameter in shapes),
        )
    last = _those(name, shapes, r"(?:.*\.)?fc\.weight")[0][0]
    return resnet(math.prod(shapes[last][1:]))


def _those(recipe: str, shapes: Mapping[str, Shape], pattern: str) -> list[re.Match[str]]:
    """The names that a shipped recipe reads something from."""
    found = [hit for name in shapes if (hit := re.fullmatch(pattern, name))]
    if not found:
        model, example = _MODELS[recipe]
        raise ValueError(
            f"recipe {recipe!r} needs parameters such as {example!r}, since it is for the names of {model} in PyTorch; "
            f"got {some(shapes) or 'none'}: for other names give a recipe of your own, pairs of (pattern, Initializer)"
        )
    return found


def assign(
    recipe: Recipe | str,
    shapes: Mapping[str, Shape],
    include: str | Sequence[str] | None,
    exclude: str | Sequence[str] | None,
) -> dict[str, tuple[str, Filling | Skip]]:
    """What ``match`` says, for a recipe or the name of a shipped one. ``shapes`` has all parameters of the target."""
    pairs = named(recipe, shapes) if isinstance(recipe, str) else recipe
    return resolved(match(pairs, shapes, include=include, exclude=exclude), shapes)
