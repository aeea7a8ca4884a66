"""fastinit for PyTorch: its initialisers, for one call, for all code in a block, for a module, for any mesh."""

from .accelerate import accelerate, install, uninstall

__all__ = ["accelerate", "install", "uninstall"]
