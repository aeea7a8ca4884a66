"""How activations and gradients travel through a network, in theory and as
measured.

    >>> import fastinit
    >>> report = fastinit.signal.mlp([512] * 11, "relu", "xavier_normal", seed=0)
    >>> print(report.advice[0])  # doctest: +NORMALIZE_WHITESPACE
    fc1 .. fc10: the variance shrinks (x 0.50 a layer), that of gradients shrinks (x 0.50 a layer),
    over 9 links through relu. fan_in E[w^2] is 1: Xavier's or LeCun's.
    relu keeps the variance at 2: He's law.

mlp                           forward and backward pass of a plain network, with
                              the predicted moments beside the measured ones
variance_map, chi,            the theory of wide networks: the variance of the
fixed_points, FixedPoint      next layer, the gain of gradients, where both rest
coordinate_check, Coordinates how far each layer moves in a step, by width
Report, Layer                 what mlp and fastinit.torch.signal return

``fastinit.torch.signal`` gives the same report of any PyTorch module.
docs/signal.md explains both.
"""

from typing import TYPE_CHECKING

from .._lazy import lazily

if TYPE_CHECKING:
    from ._mlp import mlp
    from ._report import Layer, Report
    from ._theory import FixedPoint, chi, fixed_points, variance_map
    from ._width import Coordinates, coordinate_check

__all__ = [
    "Coordinates",
    "FixedPoint",
    "Layer",
    "Report",
    "chi",
    "coordinate_check",
    "fixed_points",
    "mlp",
    "variance_map",
]


# ``import fastinit`` imports this file: a name is imported when it is asked for.
__getattr__ = lazily(
    __name__,
    {
        "Coordinates": "_width",
        "FixedPoint": "_theory",
        "Layer": "_report",
        "Report": "_report",
        "chi": "_theory",
        "coordinate_check": "_width",
        "fixed_points": "_theory",
        "mlp": "_mlp",
        "variance_map": "_theory",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
