"""fastinit for PyTorch: its initialisers, for one call, for all code in a block, for a module, for any mesh."""

from . import init

__all__ = ["init"]
