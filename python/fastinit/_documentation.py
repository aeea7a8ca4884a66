"""What the docstrings of the initialisers share: the arguments that all of them take, described once.

A docstring names a piece of text as ``{out}``, on a line of its own, and ``@documented`` puts the text there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["documented", "documented_by"]

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_STREAM = """\
stream : int or str, optional
    A number, 0 .. 2**64-1, or a name, such as that of the parameter. By
    default the generator's next stream."""

_STREAM_UNUSED = """\
stream : int or str, optional
    As for the random initialisers. Nothing is drawn, so it changes
    nothing, and no stream is used up."""

_BIT_GENERATOR = """\
bit_generator : {"ars", "philox"}, default "ars"
    ARS-7 or Philox4x32-10: other values of the same distribution."""

_SHARED = {
    "out": """\
out : array
    The array to fill, in place: float32, float64, float16 or bfloat16, of
    any shape and strides. A NumPy array; a tensor in CPU memory that
    speaks DLPack, such as PyTorch's; or a writable buffer of floats, such
    as an ``array.array``.""",
    "fan_in": """\
fan_in : int
    The number of inputs of a unit. Or leave it out, and say by ``layout``
    how to read it from the shape.""",
    "fans": """\
fan_in, fan_out : int
    The numbers of inputs and outputs of a unit. Or leave them out, and say
    by ``layout`` how to read them from the shape.""",
    "seed": """\
seed, stream : int or str, optional
    ``seed`` is an int, 0 .. 2**64-1; ``stream`` is one too, or a str such
    as the name of the parameter. A seed alone means stream 0, so two
    arrays filled with the same seed get the same values: give each a
    stream of its own, or use a ``fastinit.Generator``. Without a seed, the
    call takes the next stream of the default generator, or ``stream``.""",
    "unused": """\
seed, stream : int or str, optional
    As for the random initialisers. Nothing is drawn, so they change
    nothing, and no stream is used up.""",
    "layout": """\
layout : {"torch", "keras"}, optional
    How the shape is read: "torch" is (out, in, *kernel), of at least two
    dimensions; "keras" is (*kernel, in, out), where a vector of n elements
    has fans n and n, and a 0-d array 1 and 1. fan_in is in times the
    elements of the kernel, fan_out is out times those. Excludes ``fan_in``
    and ``fan_out``. There is no default.
in_axis, out_axis, batch_axis : int or sequence of int, optional
    The same for any other shape, as in JAX: the axes of inputs, of
    outputs, and of independent copies; negative ones count from the end.
    The axes that are left are the kernel. ``in_axis`` and ``out_axis``
    come together.""",
    "common": """\
global_shape, offset : sequence of int, optional
    Both or neither, one int for each dimension of ``out``: ``out`` is the
    box at ``offset`` of a tensor of ``global_shape``, and gets the values
    that the whole tensor has there. Fans are those of ``global_shape``.
threads : int, optional
    At most so many threads for this call. By default what
    ``set_num_threads`` said, else the environment variable
    FASTINIT_NUM_THREADS, else the CPUs that the process may use. Small
    fills use fewer.
"""
    + _BIT_GENERATOR,
    "returns": """\
array
    ``out``.""",
    "errors": """\
Each error names the argument, the value received and what is
accepted; a call that is refused changes nothing.""",
    "words": """\
Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3",
2011, for the words underneath.""",
}


def documented(function: FunctionT) -> FunctionT:
    """The same function, with the shared text in its docstring, and with types for type checkers alone.

    (The types would make the first lines of ``help`` three times as long; the docstring has them in words.)
    """
    function.__annotations__ = {}
    text = function.__doc__
    if text is not None:  # python -OO has none
        for name, shared in _SHARED.items():
            before, marker, after = text.partition(f"{{{name}}}")
            if marker:
                margin = before[before.rindex("\n") :]
                text = before + shared.replace("\n", margin) + after
        function.__doc__ = text
    return function


def documented_by(function: Callable[..., Any]) -> Callable[[FunctionT], FunctionT]:
    """What makes a method of ``Generator`` documented as the function that it calls, without ``seed``."""

    def document(method: FunctionT) -> FunctionT:
        method.__annotations__ = {}
        text = function.__doc__
        if text is not None:
            # A generator has a bit generator and a seed, and its calls are told the stream alone.
            margin = "\n    "
            for shared, its in ((_SHARED["seed"], _STREAM), (_SHARED["unused"], _STREAM_UNUSED)):
                text = text.replace(shared.replace("\n", margin), its.replace("\n", margin))
            method.__doc__ = text.replace(margin + _BIT_GENERATOR.replace("\n", margin), "")
        return method

    return document
