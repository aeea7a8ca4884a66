"""Shipped recipes by name, and which parameter of a model gets what."""

from __future__ import annotations

import glob
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from .._arguments import shown, typed
from ._architectures import ARCHITECTURES
from ._initializer import Initializer
from ._language import gpt2, llama
from ._models import ModelValues, read_model
from ._moments import Shape
from ._patterns import Filling, Recipe, match, resolved
from ._values import Skip
from ._vision import resnet, vit

__all__ = ["RECIPES", "assign", "named"]

RECIPES: dict[str, Callable[..., Recipe]] = {"gpt2": gpt2, "llama": llama, "vit": vit, "resnet": resnet}


def named(name: str, shapes: Mapping[str, Shape], *, model: Any = None) -> Recipe:
    """The shipped recipe of that name, for a model with these parameters.

    The parameters must be those of the architecture: all names of its list,
    no others, with shapes that go together. Before all of them may stand one
    prefix. Depth, fans and options are read from the names and shapes, and
    from the model where it is given.

    Parameters
    ----------
    name : str
        One of ``RECIPES``.
    shapes : mapping
        From the qualified name of each parameter to its (global) shape.
    model : module or config, optional
        The module that has these parameters, or its transformers config. Its
        own values are used then (``initializer_range``, ``n_layer``, timm's
        layer scales and ``zero_init_last``), and a model that is initialised
        in another way is refused although its names fit. Without it, names and
        shapes decide alone, and values are the defaults of the function of
        that name.

    Returns
    -------
    Recipe
        As the function of that name returns it, its patterns with the prefix.

    Raises
    ------
    TypeError, ValueError
        name is none of these; the parameters are not those of such a model,
        as PyTorch's modules name them; the model is of another kind, or has
        values that the recipe does not know.

    Examples
    --------
    >>> from fastinit.recipes import named
    >>> block = {f"self_attn.{part}_proj": (8, 8) for part in "qkvo"}
    >>> block |= {"mlp.gate_proj": (9, 8), "mlp.up_proj": (9, 8), "mlp.down_proj": (8, 9)}
    >>> block |= {"input_layernorm": (8,), "post_attention_layernorm": (8,)}
    >>> shapes = {f"layers.0.{name}.weight": shape for name, shape in block.items()}
    >>> shapes |= {"embed_tokens.weight": (100, 8), "norm.weight": (8,)}
    >>> named("llama", shapes)
    (('*norm.weight', Initializer('ones')), ('*.weight', Initializer('normal', std=0.02)))
    """
    wanted = f"recipe must be one of {', '.join(map(repr, RECIPES))}, or a recipe"
    if not isinstance(name, str):
        raise TypeError(f"{wanted}; got {typed(name)}")
    if name not in RECIPES:
        raise ValueError(f"{wanted}; got {shown(name)}")
    architecture = ARCHITECTURES[name]
    values = ModelValues() if model is None else read_model(architecture, model)
    if isinstance(values, str):
        raise _refused(name, f"this model has another initialisation: {values}")
    fit = architecture.fit(shapes)
    if isinstance(fit, str):
        raise _refused(name, f"these parameters are not those of its list: {fit}")
    if "blocks.0.ls1.gamma" in fit.shapes and values.layer_scale is None:
        raise _refused(name, "the value of the layer scales is not known: give fastinit.recipes.vit(..., layer_scale=)")
    # A pattern must not find its words in what stands before: "norm_first.blocks.0.attn.qkv.weight".
    before = glob.escape(fit.prefix)
    pairs = cast("Sequence[tuple[str, Initializer]]", _MAKE[name](fit.shapes, values))
    return tuple((before + pattern, initializer) for pattern, initializer in pairs)


def _refused(name: str, why: str) -> ValueError:
    return ValueError(
        f"recipe {name!r} is for {ARCHITECTURES[name].models}, as PyTorch names their parameters; {why}. For another "
        "model run its own constructor or initialisation inside `with fastinit.torch.accelerate(seed=0, module=model):`"
        "; or give a recipe of your own, pairs of (pattern, Initializer), such as what "
        f"fastinit.recipes.{name}(...) returns"
    )


def _gpt2(shapes: Mapping[str, Shape], values: ModelValues) -> Recipe:
    blocks = sum(1 for name in shapes if name.endswith(".ln_1.weight"))
    return gpt2(values.n_layer or blocks, values.std, biases=any(name.endswith(".bias") for name in shapes))


def _llama(shapes: Mapping[str, Shape], values: ModelValues) -> Recipe:
    return llama(values.std, biases=any(name.endswith(".bias") for name in shapes))


def _vit(shapes: Mapping[str, Shape], values: ModelValues) -> Recipe:
    return vit(
        math.prod(shapes["patch_embed.proj.weight"][1:]),
        class_token="cls_token" in shapes,
        registers="reg_token" in shapes,
        layer_scale=values.layer_scale,
    )


def _resnet(shapes: Mapping[str, Shape], values: ModelValues) -> Recipe:
    """With the statistics of the norms, which are buffers in PyTorch, but tensors like others in a state dict."""
    bottleneck = "layer1.0.conv3.weight" in shapes
    plain = resnet(shapes["fc.weight"][1], zero_init_last=values.zero_init_last, bottleneck=bottleneck)
    statistics = (("*.running_mean", Initializer("zeros")), ("*.running_var", Initializer("ones")))
    return (
        *(statistics if "bn1.running_mean" in shapes else ()),
        *cast("Sequence[tuple[str, Initializer]]", plain),
    )


_MAKE: dict[str, Callable[[Mapping[str, Shape], ModelValues], Recipe]] = {
    "gpt2": _gpt2,
    "llama": _llama,
    "vit": _vit,
    "resnet": _resnet,
}


def assign(
    recipe: Recipe | str,
    shapes: Mapping[str, Shape],
    include: str | Sequence[str] | None,
    exclude: str | Sequence[str] | None,
) -> dict[str, tuple[str, Filling | Skip]]:
    """What ``match`` says, for a recipe or the name of a shipped one. ``shapes`` has all parameters of the target."""
    pairs = named(recipe, shapes) if isinstance(recipe, str) else recipe
    return resolved(match(pairs, shapes, include=include, exclude=exclude), shapes)
