"""Each function of fastinit that fills an array, as one that makes a lazy array, of which each chunk is a box.

All of them come from the functions' own signatures and docstrings.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastinit

try:
    import dask.array as da
    from dask.base import tokenize
except ImportError as error:
    raise ImportError(
        f'fastinit.dask needs Dask with its arrays: python -m pip install "dask[array]" ({error})'
    ) from error

from .. import _core, initializers, structured
from .._arguments import element_type, integer, integers, shown
from ..arrays import empty
from ..recipes._initializer import plain

__all__ = ["LAWS"]

_OF_A_FILL = ("out", "seed", "stream", "global_shape", "offset", "threads", "bit_generator")
_DRAW_NOTHING = ("constant", "dirac", "identity", "ones", "zeros")
_NEED_THE_WHOLE = ("orthogonal",)
_DTYPES = {"integers": "int32", "random_bits": "uint32"}  # and float32 by default


class Drawn:
    """What any box of the whole array is; small, and the same in each process."""

    def __init__(self, law: str, shape: tuple[int, ...], dtype: np.dtype[Any], arguments: Mapping[str, Any]) -> None:
        self.law, self.shape, self.dtype, self.ndim = law, shape, dtype, len(shape)
        self.arguments = dict(arguments)
        self.stream_format = _core.stream_format

    def __dask_tokenize__(self) -> tuple[object, ...]:
        key = {name: value for name, value in self.arguments.items() if name != "threads"}
        return self.law, self.shape, self.dtype.name, sorted(key.items()), self.stream_format

    def fill(self, out: NDArray[Any], offset: Sequence[int]) -> NDArray[Any]:
        """The box of the shape of ``out``, there."""
        if self.stream_format != _core.stream_format:  # made by another process, with another fastinit
            raise ValueError(
                f"{self.law}: the array is of stream format {self.stream_format}, and this process's fastinit makes "
                f"{_core.stream_format}"
            )
        function: Callable[..., NDArray[Any]] = getattr(fastinit, self.law)
        return function(out, **self.arguments, global_shape=self.shape, offset=offset)


def _chunk(drawn: Drawn, index: tuple[slice, ...]) -> NDArray[Any]:
    spans = [(part.start, part.stop) for part in index]
    return drawn.fill(empty([stop - start for start, stop in spans], drawn.dtype), [start for start, _ in spans])


def _shape(shape: object) -> tuple[int, ...]:
    try:
        sizes: tuple[int, ...] = (integer(shape),)
    except TypeError:
        sizes = integers("shape", shape)
    if min(sizes, default=0) < 0:
        raise ValueError(f"shape must hold ints >= 0, got {shown(shape)}")
    return sizes


def _array(law: str, shape: object, chunks: Any, dtype: object, given: Mapping[str, Any]) -> da.Array:
    """All of it checked; nothing drawn."""
    sizes, element = _shape(shape), element_type(dtype)
    arguments: dict[str, Any] = {name: plain(value) for name, value in given.items()}
    for name in ("seed", "stream"):  # None is "the next stream" in a fill, and another one each time
        if law not in _DRAW_NOTHING and arguments[name] is None:
            raise TypeError(
                f"{name} must be given: chunks are drawn in any order, so there is no next stream; got None"
            )
    drawn = Drawn(law, sizes, element, arguments)
    try:
        drawn.fill(np.empty((0,) * len(sizes), element), (0,) * len(sizes))
    except (TypeError, ValueError) as refused:
        words = re.sub("^out must have dtype ", "dtype must be ", str(refused))
        words = re.sub("^out must have (.*), got shape ", r"shape must have \1, got ", words)
        raise type(refused)(words) from None
    try:
        blocks = da.core.normalize_chunks(chunks, sizes, dtype=element)
    except ZeroDivisionError:
        raise ValueError(f"chunks must have sizes >= 1, got {shown(chunks)}") from None
    if not all(n >= 0 for each in blocks for n in each):  # nor is NaN, which is "unknown"
        raise ValueError(
            f"chunks must have known sizes >= 0, got {shown(chunks)}; see compute_chunk_sizes() of dask arrays"
        )
    if law in _NEED_THE_WHOLE and math.prod(map(len, blocks)) > 1:
        raise ValueError(
            f"{law} makes the whole matrix for any box of it, so chunks must be -1, which is one chunk; got "
            f"{shown(chunks)}. rechunk() divides it afterwards"
        )
    name = f"{law}-{tokenize(drawn, blocks)}"
    nothing = np.empty((0,) * len(sizes), element)
    # inline_array: a graph of one layer, whatever the number of chunks. With a getitem of its own, Dask asks for whole
    # chunks alone.
    return da.from_array(drawn, blocks, name=name, getitem=_chunk, meta=nothing, inline_array=True)


# --- functions from functions ---------------------------------------------------------------------------------------

_SHAPE = """\
shape : int or sequence of int
    Of the whole array."""

_OURS = """\
chunks : chunks, default "auto"
    As for ``dask.array.ones``, of known sizes. They change
    neither fans nor values.
dtype : dtype, default "%s"
    Of the array.
seed, stream : int or str%s
    ``seed`` is an int, 0 .. 2**64-1; ``stream`` is one too, or a str such
    as the name of the parameter. Two arrays with one seed and one stream
    share their values.
threads : int, default 1
    For each chunk. Dask computes several of them at a time.
"""

_OPENING = """\
A lazy array, of which each chunk is made alone: it is that box of what
``fastinit.%s`` puts into a NumPy array of the
whole shape, for that seed and stream."""

_RESULT = """\
dask.array.Array
    Of NumPy arrays. Nothing is drawn before it is computed."""

_RAISES = """\
TypeError, ValueError
    What ``fastinit.%s`` refuses, at once; chunks of
    unknown sizes, or that do not add up to the shape%s."""


def _documentation(function: Callable[..., Any], name: str) -> str | None:
    text = inspect.getdoc(function)
    if text is None:  # python -OO
        return None
    opening, *rest = re.split(r"^(\w[\w ]*)\n-+\n", text, flags=re.M)
    found = {title: body.strip("\n") for title, body in zip(rest[::2], rest[1::2], strict=True)}
    entries = re.split(r"\n(?=\S)", found["Parameters"] + "\n" + found["Other Parameters"])
    kept = [entry for entry in entries if re.split("[ ,]", entry)[0] not in _OF_A_FILL]
    generator = next(entry for entry in entries if entry.startswith("bit_generator"))
    still, whole = name in _DRAW_NOTHING, name in _NEED_THE_WHOLE
    ours = _OURS % (_DTYPES.get(name, "float32"), ", optional" if still else "")
    result = {
        "Parameters": "\n".join([_SHAPE, *kept, ours + generator]),
        "Returns": _RESULT,
        "Raises": _RAISES % (name, ";\n    more than one chunk" if whole else ""),
        "Notes": found["Notes"],
        **({"References": found["References"]} if "References" in found else {}),
    }
    sections = [f"{title}\n{'-' * len(title)}\n{body}\n" for title, body in result.items()]
    return "\n".join([opening.partition("\n")[0], "", _OPENING % name, "", *sections])


def _law(name: str) -> Callable[..., da.Array]:
    function = getattr(fastinit, name)
    _, *of_law = inspect.signature(function).parameters.values()
    kind = inspect.Parameter
    still = {"default": None} if name in _DRAW_NOTHING else {}
    parameters = [
        kind("shape", kind.POSITIONAL_OR_KEYWORD),
        *(each for each in of_law if each.name not in _OF_A_FILL),
        kind("chunks", kind.KEYWORD_ONLY, default="auto"),
        kind("dtype", kind.KEYWORD_ONLY, default=_DTYPES.get(name, "float32")),
        kind("seed", kind.KEYWORD_ONLY, **still),
        kind("stream", kind.KEYWORD_ONLY, **still),
        kind("threads", kind.KEYWORD_ONLY, default=1),
        kind("bit_generator", kind.KEYWORD_ONLY, default="ars"),
    ]
    signature = inspect.Signature(parameters)

    def law(*arguments: Any, **more: Any) -> da.Array:
        try:
            bound = signature.bind(*arguments, **more)
        except TypeError as error:
            raise TypeError(f"{name}() {error}") from None
        bound.apply_defaults()
        given = bound.arguments
        return _array(name, given.pop("shape"), given.pop("chunks"), given.pop("dtype"), given)

    law.__name__ = law.__qualname__ = name
    law.__module__ = "fastinit.dask"
    law.__doc__ = _documentation(function, name)
    law.__signature__ = signature  # type: ignore[attr-defined]
    law.__annotations__ = {}
    return law


_names = {name: getattr(fastinit, name).__name__ for name in (*initializers.__all__, *structured.__all__)}
_laws = {name: _law(name) for name in {*_names.values()}}
LAWS: Mapping[str, Callable[..., da.Array]] = {
    name: _laws[own] for name, own in _names.items()
}  # kaiming_normal is he_normal, and so on
