"""fastinit for PyTorch: its initialisers, for one call, for all code in a block, for a module, for any mesh."""

from typing import TYPE_CHECKING, Any

from . import init as init
from .module import Report as Report
from .module import Row as Row
from .module import init_module as init_module

if TYPE_CHECKING:
    from .checkpoint import FastInitReader as FastInitReader


def __getattr__(name: str) -> Any:
    """FastInitReader, when it is asked for: what it is made of takes long to import."""
    if name == "FastInitReader":
        from .checkpoint import FastInitReader

        return FastInitReader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
