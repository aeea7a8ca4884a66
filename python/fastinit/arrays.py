"""New arrays that are filled fast, and a summary of any array."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _core
from ._arguments import documented, element_type, integer, shown, typed

if TYPE_CHECKING:
    from typing import Literal, TypeVar, overload

    from ._types import Buffer, DTypeLike, Integer, Integers, NDArray, Tensor

    ScalarT = TypeVar("ScalarT", bound=np.generic)

__all__ = ["Summary", "empty", "summary"]


if TYPE_CHECKING:  # to register overloads at run time would take a tenth of the import

    @overload
    def empty(shape: Integer | Integers, dtype: Literal["float32"] = "float32") -> NDArray[np.float32]: ...
    @overload
    def empty(shape: Integer | Integers, dtype: Literal["float64"]) -> NDArray[np.float64]: ...
    @overload
    def empty(shape: Integer | Integers, dtype: Literal["float16"]) -> NDArray[np.float16]: ...
    @overload
    def empty(shape: Integer | Integers, dtype: Literal["uint32"]) -> NDArray[np.uint32]: ...
    @overload
    def empty(shape: Integer | Integers, dtype: Literal["uint64"]) -> NDArray[np.uint64]: ...
    @overload
    def empty(shape: Integer | Integers, dtype: type[ScalarT] | np.dtype[ScalarT]) -> NDArray[ScalarT]: ...
    @overload
    def empty(shape: Integer | Integers, dtype: DTypeLike) -> NDArray[Any]: ...


@documented
def empty(shape: Integer | Integers, dtype: DTypeLike = "float32") -> NDArray[Any]:
    """A new array that is filled fast: 64-byte aligned, on huge pages.

    Parameters
    ----------
    shape : int or sequence of int
        At least 0 in each dimension.
    dtype : dtype, default "float32"
        One of float32, float64, float16, int8, uint8, int16, uint16, int32,
        uint32 and uint64; with ``ml_dtypes`` installed also bfloat16,
        float8_e4m3fn and float8_e5m2.

    Returns
    -------
    array
        A writable C-contiguous NumPy array of that shape and dtype, with
        undefined content. Huge pages are used where it is large and the
        operating system has some.

    Raises
    ------
    TypeError
        shape is not an int or a sequence of ints; dtype is none of these, or
        in foreign byte order.
    ValueError
        A dimension is negative, or the array would be larger than the address
        space.
    ImportError
        dtype is the name of one of the types of ``ml_dtypes``, which is not
        installed.
    MemoryError
        There is not enough memory.

    Examples
    --------
    >>> import fastinit
    >>> w = fastinit.he_normal(fastinit.empty((256, 512)), 512)
    >>> w.shape, w.dtype.name, w.ctypes.data % 64
    ((256, 512), 'float32', 0)
    """
    wanted = "an int >= 0 or a sequence of them"
    try:
        dims = (integer(shape),)
    except TypeError:
        try:
            dims = tuple(map(integer, shape))  # type: ignore[arg-type, assignment]
        except TypeError:
            raise TypeError(f"shape must be {wanted}, got {typed(shape)}") from None
    if min(dims, default=0) < 0:
        raise ValueError(f"shape must be {wanted}, got {shown(shape)}")
    element = element_type(dtype)
    n_bytes = math.prod(dims) * element.itemsize
    if n_bytes > sys.maxsize or max(dims, default=0) > sys.maxsize:
        raise ValueError(f"shape must stay below {sys.maxsize} bytes in all, got {shown(shape)} of {element}")
    memory: NDArray[np.uint8] = _core.allocate(n_bytes)
    return memory.view(element).reshape(dims)


# Not as a class (UP014): its annotations would be compiled one by one, which takes longer than all of this file.
Summary = NamedTuple(  # noqa: UP014
    "Summary",
    [("n", int), ("mean", float), ("std", float), ("minimum", float), ("maximum", float), ("digest", int)],
)
Summary.__doc__ = """What ``summary`` returns: moments, extremes and a digest of an array.

Attributes
----------
n : int
    The number of elements.
mean, std, minimum, maximum : float
    Their moments and extremes.
digest : int
    64 bits that change when an element or its place does.
"""


@documented
def summary(
    out: NDArray[Any] | Tensor | Buffer,
    *,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
) -> Summary:
    """Moments, extremes and a digest of an array, in one pass over it.

    mean = sum / n, std = sqrt(sum (x - mean)^2 / n), digest = the sum modulo
    2**64, over all elements, of a mix of the element's bits and its index in
    the whole tensor (docs/stream-format.md, "Digests"). A tensor's digest
    changes when one element does; whatever else differs, it is very unlikely
    to stay the same. The digests of a tensor's boxes add up, modulo 2**64, to
    its own: processes that each hold a part can compare notes.

    Parameters
    ----------
    out : array
        An array of floats, of any dtype and in any of the forms that can be
        filled. It is only read: it may be read-only, or an array of JAX, and
        its elements may overlap.
    global_shape, offset : sequence of int, optional
        Both or neither: ``out`` is the box at ``offset`` of a tensor of
        ``global_shape``. Only the digest depends on it.
    threads : int, optional
        At most this many threads, as for the initialisers.

    Returns
    -------
    Summary
        ``Summary(n, mean, std, minimum, maximum, digest)``. With a NaN among
        the elements the four in the middle are NaN, as they are without
        elements; with an infinity std is NaN. They are made in float64: of
        numbers above 1e150 the squares overflow, and std is not finite.

    Raises
    ------
    TypeError, ValueError
        An argument is not what is described above.

    Notes
    -----
    Bits: the same on every CPU and for every number of threads. n, minimum,
    maximum and digest do not depend on the memory layout; of mean and std the
    last bits may.

    Examples
    --------
    >>> import numpy as np, fastinit
    >>> w = fastinit.normal(np.empty((400, 300), np.float32), std=0.5, seed=1)
    >>> whole = fastinit.summary(w)
    >>> whole.n, round(whole.std, 2)
    (120000, 0.5)
    >>> parts = [
    ...     fastinit.summary(w[k : k + 100], global_shape=w.shape, offset=(k, 0))
    ...     for k in (0, 100, 200, 300)
    ... ]
    >>> sum(part.digest for part in parts) % 2**64 == whole.digest
    True
    """
    return Summary(*_core.summary(out, global_shape, offset, threads))
