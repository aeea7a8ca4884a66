"""Tensors as they are in files: their moments and digests, beside what a seed makes or beside another file's."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastinit

from ..recipes import Initializer
from ._laws import Law
from ._read import Checkpoint, Reader
from ._safetensors import BITS, FLOATS, File, Tensor, dtype_of
from ._values import Values

__all__ = ["LIMIT", "Difference", "Measured", "Measurement", "difference", "off", "plain", "verify"]

# Bytes that are read at a time, which a cache holds while they are made, measured and compared. Elements of 6 bits are
# four in three bytes.
SLAB = 3 * 2**20
# From 1 to the next number, and the least number, of the types of which NumPy's finfo knows nothing.
_LIMITS = {"BF16": (2.0**-7, 2.0**-133), "F8_E4M3": (2.0**-3, 2.0**-9), "F8_E5M2": (2.0**-2, 2.0**-16)}
LIMIT = 6.0  # standard errors: of a million moments, one is further off in 500 checks


def plain(value: object) -> object:
    """For JSON, which has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Measured(NamedTuple):
    """A tensor of a file. The moments are those of floats; a digest is as ``fastinit.summary`` has it of floats."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    digest: str
    mean: float | None = None
    std: float | None = None
    minimum: float | None = None
    maximum: float | None = None

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {name: plain(value) for name, value in self._asdict().items()}


class Measurement:
    """Moments and digest of a tensor whose elements come in parts, in order."""

    def __init__(self, tensor: Tensor, threads: int | None = None) -> None:
        self._tensor = tensor
        self._floats = tensor.dtype in FLOATS
        self._n_all = math.prod(tensor.shape)
        self._threads = threads
        self._hash = hashlib.blake2b(digest_size=8, usedforsecurity=False)
        self._n, self._mean, self._squares, self._digest = 0, 0.0, 0.0, 0
        self._minimum, self._maximum = math.inf, -math.inf

    def add(self, data: NDArray[np.uint8]) -> None:
        """The next bytes."""
        if not self._floats:
            self._hash.update(data.data)
            return
        values = data.view(dtype_of(self._tensor.dtype))
        part = fastinit.summary(values, global_shape=(self._n_all,), offset=(self._n,), threads=self._threads)
        n, apart = self._n + part.n, part.mean - self._mean
        self._squares += part.n * part.std**2 + apart * apart * self._n * (part.n / n)
        self._mean += apart * (part.n / n)
        # A NaN stays one.
        self._minimum = part.minimum if not part.minimum >= self._minimum else self._minimum
        self._maximum = part.maximum if not part.maximum <= self._maximum else self._maximum
        self._n, self._digest = n, (self._digest + part.digest) % 2**64

    def done(self) -> Measured:
        """What has been measured."""
        name, dtype, shape = self._tensor[:3]
        if not self._floats:
            return Measured(name, dtype, shape, self._hash.hexdigest())
        if not self._n:
            return Measured(name, dtype, shape, f"{0:016x}")
        std = math.sqrt(self._squares / self._n) if not math.isnan(self._squares) else math.nan
        return Measured(name, dtype, shape, f"{self._digest:016x}", self._mean, std, self._minimum, self._maximum)


def slabs(tensor: Tensor) -> Iterator[tuple[int, int]]:
    """Its bytes in parts that begin and end between elements."""
    n = tensor.stop - tensor.start
    return ((first, min(first + SLAB, n)) for first in range(0, n, SLAB))


class _Unequal:
    """How many elements of two tensors have other bits, and the first of them."""

    def __init__(self, tensor: Tensor) -> None:
        self._bits = BITS[tensor.dtype]
        self.n = 0
        self.first: int | None = None

    def add(self, a: NDArray[np.uint8], b: NDArray[np.uint8], start: int) -> NDArray[np.bool_] | None:
        """The next bytes, of which the first is byte ``start``; which elements are unequal, None if none."""
        if np.array_equal(a, b):
            return None
        found: NDArray[np.bool_]
        if self._bits < 8:  # in a byte, the first element has the lowest bits
            found = np.any(np.unpackbits(a ^ b, bitorder="little").reshape(-1, self._bits), axis=1)
        else:
            words = f"u{self._bits // 8}"
            found = a.view(words) != b.view(words)
        self.n += int(found.sum())
        if self.first is None:
            self.first = start * 8 // self._bits + int(found.argmax())
        return found


# --- against a seed -------------------------------------------------------------------------------------------------


class Verified(NamedTuple):
    """A tensor of a file, beside the law and the seed that it should come from."""

    measured: Measured
    law: Law
    n_unequal: int  # elements of which the bits are not those of the seed
    first_unequal: int | None
    expected: tuple[float, float] | None  # mean and std
    off: float | None  # how far the moments are from these, in standard errors

    @property
    def is_good(self) -> bool:
        """Whether all of it is as it should be."""
        return self.n_unequal == 0 and (self.off is None or self.off <= LIMIT)


def verify(
    checkpoint: Checkpoint,
    values: Values,
    threads: int | None = None,
    advance: Callable[[int], object] = lambda n: None,
) -> Iterator[Verified]:
    """Each tensor in turn, read and made again side by side."""
    reader = Reader()
    longest = max((tensor.stop - tensor.start for _, tensor in checkpoint.tensors.values()), default=0)
    buffer = fastinit.empty(-(-min(SLAB, longest) // 8), np.uint64).view(np.uint8)
    for file, tensor in checkpoint.tensors.values():
        measurement = Measurement(tensor, threads)
        unequal = _Unequal(tensor)
        for first, last in slabs(tensor):
            there = reader.range(file, tensor.start + first, tensor.start + last)
            measurement.add(there)
            made = buffer[: last - first]
            values.fill(made, tensor, first, last)
            unequal.add(there, made, first)
            advance(last - first)
        law, measured = values.laws[tensor.name], measurement.done()
        expected = None
        distance = None
        if isinstance(law, Initializer) and measured.mean is not None and measured.std is not None:
            expected = law.moments(tensor.shape)
            moments = measured.mean, measured.std
            # Bits alone say it where a law is infinite, or where squares of finite float64 numbers overflow.
            overflow = not math.isfinite(measured.std) and all(map(math.isfinite, measured[-2:]))  # type: ignore[arg-type]
            if all(map(math.isfinite, expected)) and not overflow:
                distance = off(law, expected, moments, tensor)
        yield Verified(measured, law, unequal.n, unequal.first, expected, distance)


def off(law: Initializer, expected: tuple[float, float], measured: tuple[float, float], tensor: Tensor) -> float:
    """How far measured moments are from those of the law, in standard errors, beyond what rounding to a dtype does."""
    if tensor.dtype in _LIMITS:
        eps, smallest = _LIMITS[tensor.dtype]
    else:
        limits = np.finfo(FLOATS[tensor.dtype])
        eps, smallest = float(limits.eps), float(limits.smallest_subnormal)
    (mean, std), n = expected, math.prod(tensor.shape)
    # To nearest: half a unit in the last place, and at the lower end half the smallest number. Around 0, the errors of
    # a law with a density cancel but for their squares; those of a law with two values do not.
    spread = eps / 2 if law.function in ("identity", "dirac") else eps * eps
    rounding = eps / 2 * abs(mean) + spread * std + smallest / 2
    distances = [max(0.0, abs(x - y) - rounding) for x, y in zip(measured, expected, strict=True)]
    if not all(map(math.isfinite, measured)):
        return math.inf
    if std == 0.0:
        return math.inf if any(distances) else 0.0
    # A law's kurtosis is at most the normal's, but for what is left of one tail of it, which is nearly exponential; and
    # for zeros among its values, which make the tails heavier.
    kurtosis = 9.0 if law.function == "truncated_normal" else 3.0
    if law.function == "sparse":
        kurtosis /= 1.0 - min(0.999, float(law.arguments["sparsity"]))  # type: ignore[arg-type]
    errors = std / math.sqrt(n), std * math.sqrt((kurtosis - 1) / (4 * n))
    return max(distance / error for distance, error in zip(distances, errors, strict=True))


# --- against another file -------------------------------------------------------------------------------------------


class Difference(NamedTuple):
    """A tensor that two checkpoints have."""

    a: Measured
    b: Measured
    n_unequal: int | None  # None where shapes or dtypes are not the same
    first_unequal: int | None
    largest: float | None  # |a - b| where both are finite; None where that is nowhere

    @property
    def is_equal(self) -> bool:
        """Whether all bits are."""
        return self.n_unequal == 0


def _measured(reader: Reader, file: File, tensor: Tensor, advance: Callable[[int], object]) -> Measured:
    measurement = Measurement(tensor)
    for first, last in slabs(tensor):
        measurement.add(reader.range(file, tensor.start + first, tensor.start + last))
        advance(last - first)
    return measurement.done()


def difference(
    a: tuple[File, Tensor], b: tuple[File, Tensor], readers: tuple[Reader, Reader], advance: Callable[[int], object]
) -> Difference:
    """Both read side by side; ``advance`` hears of the bytes of both."""
    (file_a, tensor_a), (file_b, tensor_b) = a, b
    if tensor_a[1:3] != tensor_b[1:3]:
        both = (_measured(readers[0], *a, advance), _measured(readers[1], *b, advance))
        return Difference(*both, None, None, None)
    measurements = Measurement(tensor_a), Measurement(tensor_b)
    unequal, largest = _Unequal(tensor_a), -1.0
    for first, last in slabs(tensor_a):
        x = readers[0].range(file_a, tensor_a.start + first, tensor_a.start + last)
        y = readers[1].range(file_b, tensor_b.start + first, tensor_b.start + last)
        measurements[0].add(x)
        measurements[1].add(y)
        where = unequal.add(x, y, first)
        if where is not None and tensor_a.dtype in FLOATS:
            largest = max(largest, _largest(x, y, where, dtype_of(tensor_a.dtype)))
        advance(2 * (last - first))
    return Difference(
        measurements[0].done(), measurements[1].done(), unequal.n, unequal.first, None if largest < 0 else largest
    )


def _largest(x: NDArray[np.uint8], y: NDArray[np.uint8], unequal: NDArray[np.bool_], dtype: np.dtype[Any]) -> float:
    """-1 where no unequal elements are finite in both. In parts, since float64 takes up to four times the memory."""
    found = -1.0
    step = 2**20
    for start in range(0, len(unequal), step):
        part = slice(start, start + step)
        a, b = (side.view(dtype)[part][unequal[part]].astype(np.float64) for side in (x, y))
        with np.errstate(all="ignore"):  # float64 may overflow, which is what the difference does
            found = max(found, float(np.max(np.abs(a - b), initial=-1.0, where=np.isfinite(a) & np.isfinite(b))))
    return found
