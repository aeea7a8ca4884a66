"""Which variable of Keras an initialiser is called for, and the stream that this variable has.

Keras tells an initialiser a shape and a dtype and no more. But while it makes the value of a variable, a method of that
variable is on Python's stack, and the variable knows its path.
"""

from __future__ import annotations

import sys
import weakref
from types import FrameType
from typing import Any

__all__ = ["UNKNOWN", "next_stream", "variable_of_call"]

# The methods by which a variable of Keras makes its value, and shows what it has, before there is one, to those that
# ask for its shape and dtype. They are defined in this package, for each backend.
_MAKES, _SHOWS = "_initialize_with_initializer", "value"
_PACKAGE = "keras.src.backend."

UNKNOWN = object()


# How often each variable has drawn, by its identity: variables compare their values, and have no hash.
_draws: dict[int, tuple[weakref.ref[Any], int]] = {}


def variable_of_call() -> Any:
    """The variable whose value is made; None outside of any; UNKNOWN if the values do not count, but only the shape."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_name
        if name in (_MAKES, _SHOWS) and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
            return frame.f_locals["self"] if name == _MAKES else UNKNOWN
        frame = frame.f_back
    return None


def next_stream(variable: Any) -> str:
    """The variable's path; for a second draw, as the parts of an LSTM's bias are drawn, "path#2", and so on.

    A path that itself contains a "#" begins with "path#1", so that no two streams are the same.
    """
    key = id(variable)
    times = _draws[key][1] + 1 if key in _draws else 1
    _draws[key] = weakref.ref(variable, lambda _: _draws.pop(key, None)), times
    path: str = variable.path
    return path if times == 1 and "#" not in path else f"{path}#{times}"
