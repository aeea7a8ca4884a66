"""Published recipes of vision models: the vision transformer and the residual network."""

from __future__ import annotations

import math

from .._arguments import at_least_zero, count
from ._initializer import Initializer
from ._patterns import Recipe

__all__ = ["resnet", "vit"]


def vit(
    patch_fan_in: int,
    *,
    std: float = 0.02,
    class_token: bool = True,
    registers: bool = False,
    layer_scale: float | None = None,
) -> Recipe:
    """A vision transformer: N(0, std) for linear layers and positions.

    Linear layers and position embeddings are N(0, std), cut at the values -2
    and 2, as in timm (with std 0.02 that cuts nothing). Biases are 0, norms 1
    and 0, the class token and the registers N(0, 1e-6). The patch embedding is
    PyTorch's default convolution: U(-b, b), b = 1 / sqrt(patch_fan_in),
    weights and biases.

    Parameters
    ----------
    patch_fan_in : int
        Channels times the area of a patch: 3 * 16 * 16 = 768 for patches of
        16.
    std : float, default 0.02
        The standard deviation of linear layers and position embeddings.
    class_token : bool, default True
        Whether there is one (``cls_token``).
    registers : bool, default False
        Whether there are any (``reg_token``).
    layer_scale : float, optional
        The value of the layer scales (``ls1.gamma``), if there are any.

    Returns
    -------
    Recipe
        For the names of timm's ``VisionTransformer``, with its default
        initialisation, ``init_weights_vit_timm``.

    Raises
    ------
    TypeError, ValueError
        patch_fan_in is not an int >= 1, std not a finite number >= 0, or
        layer_scale neither None nor a number.

    References
    ----------
    Dosovitskiy et al., "An image is worth 16x16 words", 2021.

    Examples
    --------
    >>> from fastinit.recipes import vit
    >>> vit(3 * 16 * 16)[0]
    ('*cls_token', Initializer('normal', std=1e-06))
    """
    at_least_zero("std", std)
    cut = Initializer("truncated_normal", std=std, bounds="absolute")
    token = Initializer("normal", std=1e-6)
    bound = 1.0 / math.sqrt(count("patch_fan_in", patch_fan_in))
    return (
        *((("*cls_token", token),) if class_token else ()),
        *((("*reg_token", token),) if registers else ()),
        ("*pos_embed", cut),
        *((("*.gamma", Initializer("constant", value=layer_scale)),) if layer_scale is not None else ()),
        ("*patch_embed.proj.*", Initializer("uniform", low=-bound, high=bound)),
        ("*norm*.weight", Initializer("ones")),
        ("*.bias", Initializer("zeros")),
        ("*.weight", cut),
    )


def resnet(fc_fan_in: int, *, zero_init_last: bool = False, bottleneck: bool = True) -> Recipe:
    """A residual network: He normal convolutions.

    Convolutions are he_normal on fan_out, batch norms 1 and 0, the last layer
    PyTorch's default: U(-b, b), b = 1 / sqrt(fc_fan_in), weights and biases.

    Parameters
    ----------
    fc_fan_in : int
        Inputs of the last layer: 2048 for ResNet-50.
    zero_init_last : bool, default False
        0 instead of 1 for the last norm of each block: timm's default,
        torchvision's ``zero_init_residual``.
    bottleneck : bool, default True
        Whether that norm is bn3 (ResNet-50 and deeper) or bn2.

    Returns
    -------
    Recipe
        For the names and shapes, ``(out, in, *kernel)``, of torchvision's
        and timm's ``ResNet``.

    Raises
    ------
    TypeError, ValueError
        fc_fan_in is not an int >= 1.

    References
    ----------
    He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015; Goyal et al.,
    "Accurate, large minibatch SGD", 2017, for zero_init_last; the code of
    torchvision and timm.

    Examples
    --------
    >>> from fastinit.recipes import resnet
    >>> resnet(2048)[-1]
    ('*.weight', Initializer('he_normal', mode='fan_out', layout='torch'))
    """
    bound = 1.0 / math.sqrt(count("fc_fan_in", fc_fan_in))
    return (
        ("*fc.*", Initializer("uniform", low=-bound, high=bound)),
        *(((f"*layer*.bn{3 if bottleneck else 2}.weight", Initializer("zeros")),) if zero_init_last else ()),
        ("*bn[123].weight", Initializer("ones")),
        ("*downsample.1.weight", Initializer("ones")),
        ("*.bias", Initializer("zeros")),
        ("*.weight", Initializer("he_normal", mode="fan_out", layout="torch")),
    )
