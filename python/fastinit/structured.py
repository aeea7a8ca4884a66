"""Initialisers of matrices with structure: identity, dirac, orthogonal, sparse.

What is drawn, and what is written as one value, the compiled core draws and writes, through strided views. Definitions:
docs/stream-format.md, "Structured initialisers".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._arguments import at_least_zero, choice, documented, integer, integers, shown, stream_number, typed
from ._fans import LAYOUTS
from ._rounding import FORMATS, rounded

if TYPE_CHECKING:
    from ._types import ArrayT, BitGenerator, Integer, Integers, Layout, NDArray, Real

__all__ = ["dirac", "identity", "orthogonal", "sparse"]

# The core checks what it gets at run time, and takes more types than its stub names: NumPy's scalars too.
_fill: Callable[..., None] = _core.fill
_stream_of: Callable[..., tuple[int, int]] = _core.stream_of

_TORCH: Layout = "torch"
_WAYS = "layout='torch' reads the shape of out as (out, in, *kernel), layout='keras' as (*kernel, in, out)"

# Words of sparse at a time: they stay in a cache, and no temporary grows with the number of columns.
_WORDS = 1 << 17


# Memory is handled as words of its elements' size, so that bfloat16 and float8 need no ml_dtypes.

# --- arguments and parts --------------------------------------------------------------------------------------------


def _box(
    array: NDArray[Any], wanted: str, allowed: range, global_shape: object, offset: object
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of the whole tensor, and where out lies in it. That out fits is left to the core."""
    if array.ndim not in allowed:
        whole = array.shape if global_shape is None else global_shape
        raise ValueError(f"out must have {wanted} dimensions, got shape {shown(whole)}")
    if global_shape is None or offset is None:  # one without the other is the core's to refuse
        return array.shape, (0,) * array.ndim
    shape, place = integers("global_shape", global_shape), integers("offset", offset)
    if len(shape) != array.ndim or len(place) != array.ndim:
        raise ValueError(
            f"global_shape and offset must hold one int for each of the {array.ndim} dimensions of out; got "
            f"global_shape {shape}, offset {place}"
        )
    return shape, place


def _fits(name: str, value: object, dtype: str) -> tuple[float, int]:
    """A finite real number that is one in the dtype, too, and its bits there."""
    number = _core.real(value, name, "a finite real number")
    try:
        return number, _core.plan(_core.CONSTANT, dtype, number, 0.0, 0.0, 0.0)
    except ValueError:
        raise ValueError(f"{name} must be within the range of {dtype}, got {shown(value)}") from None


def _set_diagonal(plane: NDArray[Any], row: int, column: int, n: int, bits: int) -> None:
    """The words plane[row + t, column + t] = bits for t = 0 .. n - 1, as far as they are inside."""
    first = max(0, -row, -column)
    end = min(n, plane.shape[0] - row, plane.shape[1] - column)
    if first < end:
        corner = plane[row + first :, column + first :]
        np.lib.stride_tricks.as_strided(corner, (end - first,), (sum(corner.strides),))[...] = bits


# --- initialisers ---------------------------------------------------------------------------------------------------


@documented
def identity(
    out: ArrayT,
    gain: Real = 1.0,
    *,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """The identity matrix times gain: out[i, j] = gain where i = j, else 0.

    Fills ``out`` in place. A matrix that is not square keeps as many inputs as
    it can.

    Parameters
    ----------
    out : array of two dimensions
        The array to fill, in place: float32, float64, float16, bfloat16,
        float8_e4m3fn or float8_e5m2.
    gain : float, default 1
        The value on the diagonal.

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {unused}
    {common}

    Raises
    ------
    TypeError, ValueError
        out does not have two dimensions; gain is not a finite real number, or
        overflows the dtype of out.
        {errors}

    Notes
    -----
    Bits: gain rounded to nearest even, and +0. No stream is used up.

    References
    ----------
    Le, Jaitly, Hinton, "A simple way to initialize recurrent networks of
    rectified linear units", 2015.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> fastinit.identity(np.empty((2, 3), np.float32)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    >>> row = np.empty((1, 3))
    >>> fastinit.identity(row, 0.5, global_shape=(2, 3), offset=(1, 0)).tolist()
    [[0.0, 0.5, 0.0]]
    """
    words, dtype = _core.memory(out)
    shape, (row, column) = _box(words, "2", range(2, 3), global_shape, offset)
    _, bits = _fits("gain", gain, dtype)
    _fill(out, _core.CONSTANT, 0.0, 0.0, 0.0, 0.0, seed, stream, global_shape, offset, threads, bit_generator)
    _set_diagonal(words, -row, -column, min(shape), bits)
    return out


@documented
def dirac(
    out: ArrayT,
    groups: Integer = 1,
    *,
    layout: Layout | None = None,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """The kernel of a convolution that passes its inputs on.

    Fills ``out`` in place. With m = out channels / groups: out[g m + d, d,
    centre] = 1 for every group g and d < min(m, in channels), centre = size
    div 2 along each axis of the kernel; else 0.

    Parameters
    ----------
    out : array of 3, 4 or 5 dimensions
        The array to fill, in place: float32, float64, float16, bfloat16,
        float8_e4m3fn or float8_e5m2.
    groups : int, default 1
        At least 1; divides the number of output channels.

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    layout : {"torch", "keras"}
        The shape is ``(out, in, *kernel)``, or ``(*kernel, in, out)``. It
        has no default.
    {unused}
    {common}

    Raises
    ------
    TypeError, ValueError
        out has fewer than 3 or more than 5 dimensions; groups is not an int >=
        1 that divides the number of output channels; layout is missing or
        unknown.
        {errors}

    Notes
    -----
    Bits: exactly 1 and +0. No stream is used up.

    References
    ----------
    Zagoruyko, Komodakis, "DiracNets: training very deep neural networks
    without skip-connections", 2017.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> fastinit.dirac(np.empty((2, 2, 3), np.float32), layout="torch").tolist()
    [[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
    >>> keras = fastinit.dirac(np.empty((3, 2, 2), np.float32), layout="keras")
    >>> np.array_equal(keras[1], np.eye(2))
    True
    """
    words, dtype = _core.memory(out)
    shape, place = _box(words, "3, 4 or 5", range(3, 6), global_shape, offset)
    if layout is None:
        raise ValueError(f"dirac needs layout=: {_WAYS}")
    choice("layout", layout, LAYOUTS)
    _, one = _fits("1", 1.0, dtype)
    if layout != _TORCH:  # read it as torch does
        axes = (words.ndim - 1, words.ndim - 2, *range(words.ndim - 2))
        words = words.transpose(axes)
        shape, place = tuple(shape[axis] for axis in axes), tuple(place[axis] for axis in axes)
    try:
        n_groups = integer(groups)
    except TypeError:
        raise TypeError(f"groups must be an int >= 1, got {typed(groups)}") from None
    if n_groups < 1 or shape[0] % n_groups:
        raise ValueError(
            f"groups must be an int >= 1 that divides the number of output channels, {shape[0]}; got {shown(groups)}"
        )
    _fill(out, _core.CONSTANT, 0.0, 0.0, 0.0, 0.0, seed, stream, global_shape, offset, threads, bit_generator)
    centre = [size // 2 - start for size, start in zip(shape[2:], place[2:], strict=True)]
    if words.size and all(0 <= at < size for at, size in zip(centre, words.shape[2:], strict=True)):
        plane = words.transpose(*range(2, words.ndim), 0, 1)[tuple(centre)]
        each = shape[0] // n_groups
        for group in range(place[0] // each, (place[0] + words.shape[0] - 1) // each + 1):
            _set_diagonal(plane, group * each - place[0], -place[1], min(each, shape[1]), one)
    return out


@documented
def orthogonal(
    out: ArrayT,
    gain: Real = 1.0,
    *,
    layout: Layout | None = None,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """A random matrix with orthonormal rows or columns, times gain.

    Fills ``out`` in place. A, standard normals in float64, has the shape of
    the matrix, or of its transpose if it has fewer rows than columns. A = Q R
    with the diagonal of R positive, which makes Q uniform over the orthogonal
    matrices; Q, or its transpose, times gain is rounded to the dtype of out.
    If the matrix W is wide, W W^T = gain^2 I, if it is tall, W^T W.

    Parameters
    ----------
    out : array of at least two dimensions
        The array to fill, in place: float32, float64, float16, bfloat16,
        float8_e4m3fn or float8_e5m2.
    gain : float, default 1
        A factor on the matrix; see ``calculate_gain``.
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    layout : {"torch", "keras"}, optional
        What a row is where there are more than two dimensions; there it has no
        default. "torch": the first axis against all others. "keras": all
        others against the last axis.
    {common}

    Raises
    ------
    TypeError, ValueError
        out has fewer than two dimensions; gain is not a finite real number, or
        overflows the dtype of out; layout is unknown, or missing where there
        are more than two dimensions.
        {errors}
    MemoryError
        There is not enough memory: some 3 times 8 bytes for each element of
        the whole matrix. Then out is zeros.

    Notes
    -----
    A box is cut out of the whole matrix, which each call computes: it saves
    neither time nor memory.

    Bits: A is a function of seed, stream and index alone, as in ``normal``. Q
    is as exact as float64 and comes from NumPy's LAPACK: the same for the same
    build of it, number of its threads and CPU; with another one its last bits
    may differ, and those of out where a value is next to halfway between two.
    ``threads`` changes nothing.

    References
    ----------
    Saxe, McClelland, Ganguli, "Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks", 2013. Mezzadri, "How to generate
    random matrices from the classical compact groups", 2007, for the signs.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> w = fastinit.orthogonal(np.empty((30, 50)), seed=1, stream="w")
    >>> bool(abs(w @ w.T - np.eye(30)).max() < 1e-14)
    True
    """
    words, dtype = _core.memory(out)
    shape, place = _box(words, "at least 2", range(2, 65), global_shape, offset)
    if layout is not None:
        choice("layout", layout, LAYOUTS)
    elif words.ndim > 2:
        raise ValueError(f"orthogonal needs layout= for {words.ndim} dimensions: {_WAYS}")
    factor, _ = _fits("gain", gain, dtype)
    # Checks what is left to check, and takes no stream.
    _fill(out, _core.CONSTANT, 0.0, 0.0, 0.0, 0.0, seed, stream, global_shape, offset, threads, bit_generator)
    cut = words.ndim - 1 if layout == "keras" else 1
    n_rows, n_columns = math.prod(shape[:cut]), math.prod(shape[cut:])
    tall = n_rows >= n_columns
    # Nothing is computed for a box without elements.
    normals = np.empty(((n_rows, n_columns) if tall else (n_columns, n_rows)) if words.size else (0, 0))
    _fill(normals, _core.NORMAL, 0.0, 1.0, 0.0, 0.0, seed, stream, None, None, threads, bit_generator)
    if normals.size == 0:
        return out
    with np.errstate(all="ignore"):
        q, r = np.linalg.qr(normals)
        q *= factor * np.copysign(1.0, np.diagonal(r))
        whole = (q if tall else q.T).reshape(shape)
        box = whole[tuple(slice(start, start + size) for start, size in zip(place, words.shape, strict=True))]
        if dtype in FORMATS:
            words[...] = rounded(box, dtype)
        else:
            words.view(dtype)[...] = box
    return out


@documented
def sparse(
    out: ArrayT,
    sparsity: Real,
    std: Real = 0.01,
    *,
    seed: Integer | None = None,
    stream: Integer | str | None = None,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
    bit_generator: BitGenerator = "ars",
) -> ArrayT:
    """N(0, std), with sparsity times the rows of each column set to 0.

    Fills ``out`` in place. ceil(sparsity * rows) elements of each column,
    chosen at random, are +0; the others are what ``normal`` has there.

    Parameters
    ----------
    out : array of two dimensions
        The array to fill, in place: float32, float64, float16, bfloat16,
        float8_e4m3fn or float8_e5m2. A column, out[:, j], is what the outputs
        get from one input.
    sparsity : float
        The fraction of each column that is zero, 0 .. 1.
    std : float, default 0.01
        The standard deviation of the others, >= 0.
    {seed}

    Returns
    -------
    {returns}

    Other Parameters
    ----------------
    {common}

    Raises
    ------
    TypeError, ValueError
        out does not have two dimensions; sparsity is not a real number from 0
        to 1; std is not a finite real number >= 0, or so large that a value
        would overflow the dtype of out.
        {errors}
    MemoryError
        There is not enough memory: 1 MiB, or 8 bytes for each row of the whole
        matrix where that is more. Then out is what ``normal`` makes it.

    Notes
    -----
    Bits: a function of seed, stream, index, dtype, sparsity, std and the
    number of rows alone. Which elements of a column are zero depends on seed,
    stream, the column's number, the number of rows and sparsity; with a higher
    sparsity they stay zero.

    References
    ----------
    Martens, "Deep learning via Hessian-free optimization", 2010.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> w = fastinit.sparse(np.empty((50, 3), np.float32), 0.9, seed=1, stream="w")
    >>> (w == 0).sum(axis=0).tolist()
    [45, 45, 45]
    >>> dense = fastinit.normal(np.empty((50, 3), np.float32), std=0.01, seed=1, stream="w")
    >>> np.array_equal(w[w != 0], dense[w != 0])
    True
    """
    out_words, dtype = _core.memory(out)
    (n_rows, n_columns), (row, column) = _box(out_words, "2", range(2, 3), global_shape, offset)
    share = _core.real(sparsity, "sparsity", "a real number from 0 to 1")
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"sparsity must be a real number from 0 to 1, got {shown(sparsity)}")
    deviation = at_least_zero("std", std)
    _core.plan(_core.NORMAL, dtype, 0.0, deviation, 0.0, 0.0)
    # Checks what is left to check, before a stream is taken.
    _fill(out, _core.CONSTANT, 0.0, 0.0, 0.0, 0.0, seed, stream, global_shape, offset, threads, bit_generator)
    seed, number = _stream_of(seed, stream)  # taken here, since the places of the zeros follow from it
    _fill(out, _core.NORMAL, 0.0, deviation, 0.0, 0.0, seed, number, global_shape, offset, threads, bit_generator)

    # Division of integers is rounded once and to nearest, whatever the caller's rounding mode.
    numerator, denominator = share.as_integer_ratio()
    n_zeros = math.ceil(numerator * n_rows / denominator)
    if n_zeros == 0 or out_words.size == 0:
        return out
    places = stream_number(f"sparse {number}")
    low_bits = np.uint64((1 << (n_rows - 1).bit_length()) - 1)
    rows = np.arange(n_rows, dtype=np.uint64)
    at_once = max(1, min(out_words.shape[1], _WORDS // n_rows))
    words = np.empty((at_once, n_rows), np.uint64)
    for begin in range(0, out_words.shape[1], at_once):
        some = words[: min(at_once, out_words.shape[1] - begin)]
        where = (column + begin, 0)
        _fill(some, _core.BITS, 0.0, 0.0, 0.0, 0.0, seed, places, (n_columns, n_rows), where, threads, bit_generator)
        some &= ~low_bits
        some |= rows
        some.partition(n_zeros - 1, axis=1)
        zeros = (some[:, :n_zeros] & low_bits).astype(np.int64) - row
        inside = (zeros >= 0) & (zeros < out_words.shape[0])
        out_words[zeros[inside], begin + np.nonzero(inside)[0]] = 0
    return out
