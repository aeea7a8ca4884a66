"""What an array holds, in six numbers.

This file knows their names. The core computes them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from . import _core
from .initializers import Buffer, Integer, Integers, Tensor


class Summary(NamedTuple):
    """What ``summary`` returns."""

    n: int
    mean: float
    std: float
    minimum: float
    maximum: float
    digest: int


def summary(
    out: NDArray[Any] | Tensor | Buffer,
    *,
    global_shape: Integers | None = None,
    offset: Integers | None = None,
    threads: Integer | None = None,
) -> Summary:
    """Moments, extremes and a digest of what ``out`` holds, in one pass over it.

    mean = sum / n, std = sqrt(sum (x - mean)^2 / n), digest = the sum modulo 2**64, over all elements, of a mix of the
    element's bits and its index in the whole tensor: docs/stream-format.md, "Digests". So a
    tensor's digest changes when one element does, whatever else differs it is very unlikely to stay the same, and the
    digests of a tensor's boxes add up, modulo 2**64, to its own: processes that each hold a part can compare notes.

    Args:
        out: an array of float32, float64, float16 or bfloat16, in any of the forms that can be filled. It is only read:
            it may be read-only, an array of JAX, and its elements may overlap.

        For global_shape, offset, threads: ``help(fastinit)``.

    Returns:
        ``Summary(n, mean, std, minimum, maximum, digest)``. With a NaN among the elements the four in the middle are
        NaN, as they are without elements; with an infinity std is NaN. They are made in float64: of numbers above 1e150
        the squares overflow, and std is not finite.

    Raises:
        TypeError, ValueError: an argument breaks its rule in ``help(fastinit)``.

    Bits:
        The same on every CPU and for every number of threads. n, minimum, maximum and digest do not depend on the
        memory layout; of mean and std the last bits may.

    Example:
        >>> import numpy as np, fastinit
        >>> w = fastinit.normal(np.empty((400, 300), np.float32), std=0.5, seed=1)
        >>> whole = fastinit.summary(w)
        >>> whole.n, round(whole.std, 2)
        (120000, 0.5)
        >>> parts = [fastinit.summary(w[k:k+100], global_shape=w.shape, offset=(k, 0)) for k in (0, 100, 200, 300)]
        >>> sum(part.digest for part in parts) % 2**64 == whole.digest
        True
    """
    return Summary(*_core.summary(out, global_shape, offset, threads))
