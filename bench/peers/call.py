"""What a library's user writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..clock import Names
from ..rows import Array


class Call(NamedTuple):
    """A statement, and the names in it for an array that it fills (or whose like it returns)."""

    name: str
    code: str
    names: Callable[[Array], Names]
    threads: int | None = None
