"""fastinit for PyTorch: for one tensor, for existing code, for a whole module,
for any mesh.

    >>> import torch, fastinit.torch
    >>> w = torch.empty(256, 512)
    >>> w = fastinit.torch.init.kaiming_normal_(w, seed=0, stream="0.weight")

    >>> with fastinit.torch.accelerate(seed=0):
    ...     net = torch.nn.Sequential(torch.nn.Linear(512, 256), torch.nn.Linear(256, 10))

    >>> from fastinit.recipes import Initializer
    >>> recipe = {"*.weight": Initializer("he_normal"), "*.bias": Initializer("zeros")}
    >>> report = fastinit.torch.init_module(net, recipe, seed=0)

init                          ``torch.nn.init``, with seed= and stream=
accelerate, install,          existing code, unchanged: fastinit draws what
uninstall, Acceleration       torch would draw
init_module, Report, Row      every parameter of a module by a recipe
deferred, Plan                a model's own initialisation, recorded without
                              memory and made on any mesh
FastInitReader                the same through ``torch.distributed.checkpoint``
signal                        how activations and gradients travel: a report
coordinate_check              how far each layer moves in a step, by width

Tested with PyTorch 2.11 to 2.15 on the CPU. docs/torch.md has the details, with
docs/modules.md (recipes), docs/meshes.md and docs/signal.md.
"""

from typing import TYPE_CHECKING

from .._lazy import lazily
from . import init
from ._construct import Acceleration, accelerate, install, uninstall

if TYPE_CHECKING:
    from ._coordinates import coordinate_check
    from ._dcp import FastInitReader
    from ._deferred import Plan, deferred
    from ._module import init_module
    from ._report import Report, Row
    from ._signal import signal

__all__ = [
    "Acceleration",
    "FastInitReader",
    "Plan",
    "Report",
    "Row",
    "accelerate",
    "coordinate_check",
    "deferred",
    "init",
    "init_module",
    "install",
    "signal",
    "uninstall",
]


# What takes longer to import than the rest, or brings torch.distributed.checkpoint: when it is first asked for.
__getattr__ = lazily(
    __name__,
    {
        "FastInitReader": "_dcp",
        "Plan": "_deferred",
        "deferred": "_deferred",
        "Report": "_report",
        "Row": "_report",
        "coordinate_check": "_coordinates",
        "init_module": "_module",
        "signal": "_signal",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
