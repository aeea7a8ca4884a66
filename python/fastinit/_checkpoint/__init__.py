"""Checkpoints of weights that nobody has trained: planned from names and shapes, written, verified, compared.

The commands are in ``fastinit._tools``. Nothing here is imported by ``import fastinit``.
"""

__all__ = ()
