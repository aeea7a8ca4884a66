"""fastinit for PyTorch: its initialisers, for one call, for all code in a block, for a module, for any mesh."""

from .module import Report, Row, init_module

__all__ = ["Report", "Row", "init_module"]
