"""fastinit for PyTorch: its initialisers, for one call, for all code in a block, for a module, for any mesh.

Tested with PyTorch 2.13 on the CPU; docs/torch.md has the whole story.
"""

from typing import TYPE_CHECKING, Any

from . import init
from ._construct import accelerate, install, uninstall
from ._module import Report, Row, init_module

if TYPE_CHECKING:
    from ._dcp import FastInitReader

__all__ = ["FastInitReader", "Report", "Row", "accelerate", "init", "init_module", "install", "uninstall"]


def __getattr__(name: str) -> Any:
    """FastInitReader, when it is asked for: what it is made of takes long to import."""
    if name == "FastInitReader":
        from ._dcp import FastInitReader

        return FastInitReader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
