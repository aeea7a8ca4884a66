"""Promise: `summary` tells what an array holds: its moments, its extremes, and a digest that follows from values and
indices alone, so that digests of boxes add up; the same on every target and number of threads, in every environment."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastinit
from conftest import DTYPES, TARGETS, call
from fastinit import _core
from test_boxes import strided
from test_views import CUDA, READ_ONLY, OldTensor, Tensor, buffer

Array = npt.NDArray[Any]
INF = math.inf
WORD = 2**64 - 1


def digest(array: Array, indices: Array | None = None) -> int:
    """docs/stream-format.md, "Digests"."""
    bits = np.array(array, order="C").view(f"u{array.itemsize}").astype(np.uint64).ravel()
    i = np.arange(array.size, dtype=np.uint64) if indices is None else indices.astype(np.uint64).ravel()
    z = (i + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + bits
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((z ^ (z >> np.uint64(31))).sum(dtype=np.uint64))


def check(found: fastinit.Summary, array: Array) -> None:
    """Against exact sums."""
    values = np.array(array, order="C").astype(np.float64).ravel()
    n = values.size
    mean = math.fsum(values) / n
    std = math.sqrt(math.fsum((values - mean) ** 2) / n)
    size = abs(values).max() + 1e-300
    assert found.n == n
    assert found.mean == pytest.approx(mean, rel=1e-13, abs=1e-13 * size)
    assert found.std == pytest.approx(std, rel=1e-9, abs=1e-13 * size)
    assert (found.minimum, found.maximum) == (values.min(), values.max())
    assert found.digest == digest(array)


def test_the_mix_is_splitmix64() -> None:
    """The first two outputs of the published generator from seed 1234567 (of its reference implementation)."""
    seed = np.array([1234567], np.uint64)
    assert digest(seed, np.array([0])) == 6457827717110365317
    assert digest(seed, np.array([1])) == 3203168211198807973


@pytest.mark.parametrize("n", [1, 2, 7, 31, 32, 33, 63, 100, 4095, 4096, 4097, 131072, 131073, 400_000])
def test_lengths(n: int, dtype: np.dtype[Any], target: str) -> None:
    values = fastinit.normal(np.zeros(n, dtype), seed=n, mean=0.25)
    check(fastinit.summary(values), values)


def test_layouts(dtype: np.dtype[Any]) -> None:
    results = []
    for view in strided(dtype).values():
        fastinit.normal(view, seed=1, std=3.0)
        results.append(fastinit.summary(view))
        check(results[-1], view)
    assert len({(found.n, found.minimum, found.maximum, found.digest) for found in results}) == 1


@pytest.mark.parametrize("mean", [0.0, 1.0, 1e6, -1e12])
def test_a_far_mean_takes_no_digits_of_the_std(mean: float) -> None:
    values = np.random.default_rng(5).normal(mean, 1.0, 300_000)
    check(fastinit.summary(values), values)
    values[0] = mean + 1e9  # nor does a far element, wherever it is
    check(fastinit.summary(values), values)


@pytest.mark.parametrize("name", [name for name, dtype in DTYPES.items() if dtype.itemsize <= 2])
def test_every_number_of_a_small_type(name: str, target: str) -> None:
    size = DTYPES[name].itemsize
    numbers = np.arange(2 ** (8 * size), dtype=f"u{size}").view(DTYPES[name])
    finite = numbers[np.isfinite(numbers.astype(np.float32))].astype(np.float64).astype(DTYPES[name])
    check(fastinit.summary(finite), finite)
    for number in numbers[:: 1 if target == TARGETS[0] else 97]:
        one = fastinit.summary(np.array([number]))
        assert one.minimum == float(number) or (math.isnan(one.minimum) and math.isnan(number))


def test_targets_and_threads_agree(dtype: np.dtype[Any]) -> None:
    values = fastinit.normal(np.zeros((700, 601), dtype), seed=1)
    for view in (values, values.T, values[::-1, ::3]):
        _core.set_target("portable")
        want = fastinit.summary(view, threads=1)
        for target in TARGETS:
            _core.set_target(target)
            for threads in (1, 2, 3, 7, 10**6):
                assert fastinit.summary(view, threads=threads) == want
        _core.set_target(None)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), name=st.sampled_from(list(DTYPES)))
def test_boxes_add_up(data: st.DataObject, name: str) -> None:
    shape = data.draw(st.lists(st.integers(1, 9), max_size=4))
    values = fastinit.normal(np.zeros(shape, DTYPES[name]), seed=2)
    total = 0
    pieces = [[0, *sorted(data.draw(st.lists(st.integers(0, n), max_size=2))), n] for n in shape]
    for corner in np.ndindex(*(len(cuts) - 1 for cuts in pieces)):
        begin = [cuts[k] for cuts, k in zip(pieces, corner, strict=True)]
        end = [cuts[k + 1] for cuts, k in zip(pieces, corner, strict=True)]
        box = values[tuple(map(slice, begin, end))] if shape else values
        total += fastinit.summary(box, global_shape=shape, offset=begin).digest
    assert total & WORD == fastinit.summary(values).digest == digest(values)


def test_boxes_far_out() -> None:
    out = fastinit.normal(np.zeros((3, 5), np.float32), seed=3)
    shape, offset = (2**31, 2**32), (2**31 - 4, 2**32 - 6)
    indices = [[(offset[0] + i) * shape[1] + offset[1] + j for j in range(5)] for i in range(3)]
    found = fastinit.summary(out, global_shape=shape, offset=offset)
    assert found.digest == digest(out, np.array(indices, np.uint64))


def test_digests_see_every_change() -> None:
    values = fastinit.normal(np.zeros(20_000, np.float32), seed=1)
    seen = {fastinit.summary(values).digest}
    bits = values.view(np.uint32)
    for place in (0, 1, 4095, 4096, 19_999):
        for bit in range(32):
            bits[place] ^= np.uint32(1 << bit)
            seen.add(fastinit.summary(values).digest)
            bits[place] ^= np.uint32(1 << bit)
    assert len(seen) == 1 + 5 * 32
    seen |= {fastinit.summary(np.roll(values, k)).digest for k in (1, 2, 32, 4096)}
    seen |= {fastinit.summary(values[::-1]).digest, fastinit.summary(-values).digest}
    assert len(seen) == 1 + 5 * 32 + 6


@pytest.mark.parametrize("place", [0, 1, 40, 5000, 99_999])
def test_what_is_not_finite(place: int, dtype: np.dtype[Any]) -> None:
    def found(*specials: float) -> fastinit.Summary:
        values = np.full(150_000, 0.5, dtype)
        for k, special in enumerate(specials):
            values[(place + k * 77_777) % 150_000] = special
        got = fastinit.summary(values)
        assert got.digest == digest(values)
        return got

    plain = found(0.5)
    assert plain[:5] == (150_000, 0.5, 0.0, 0.5, 0.5)
    if dtype.name == "float8_e4m3fn":  # which has no infinity
        assert all(map(math.isnan, found(math.nan)[1:5]))
        return
    for sign in (1, -1):
        infinite = found(sign * INF)
        assert (infinite.mean, infinite.minimum, infinite.maximum) == (
            sign * INF,
            min(0.5, sign * INF),
            max(0.5, sign * INF),
        )
        assert math.isnan(infinite.std)
        assert found(sign * INF, sign * INF)[3:5] == infinite[3:5]
    both = found(INF, -INF)
    assert math.isnan(both.mean)
    assert math.isnan(both.std)
    assert (both.minimum, both.maximum) == (-INF, INF)
    for specials in ((math.nan,), (math.nan, INF), (-INF, math.nan), (math.nan, math.nan)):
        assert all(map(math.isnan, found(*specials)[1:5]))


def test_sums_that_overflow() -> None:
    values = np.array([1e308, -1e307] * 3000)
    found = fastinit.summary(values)
    assert (found.minimum, found.maximum, found.digest) == (-1e307, 1e308, digest(values))
    assert not math.isfinite(found.std)
    found = fastinit.summary(values / 1e100)
    assert found.mean == pytest.approx(4.5e207)
    assert not math.isfinite(found.std)


def test_without_elements(dtype: np.dtype[Any]) -> None:
    found = fastinit.summary(np.zeros((3, 0), dtype))
    assert (found.n, found.digest) == (0, 0)
    assert all(map(math.isnan, found[1:5]))
    assert fastinit.summary(np.array(2.5, dtype))[:5] == (1, 2.5, 0.0, 2.5, 2.5)


def test_the_result_is_a_named_tuple() -> None:
    found = fastinit.summary(np.ones(3))
    assert found == fastinit.Summary(*found)
    assert found._fields == ("n", "mean", "std", "minimum", "maximum", "digest")
    assert [type(number) for number in found] == [int, float, float, float, float, int]


def test_it_reads_what_fills_refuse() -> None:
    values = fastinit.normal(np.zeros((6, 7), np.float32), seed=1)
    want = fastinit.summary(values)
    frozen = values.copy()
    frozen.flags.writeable = False
    read_only = memoryview(values.tobytes()).cast("f", (6, 7))
    for out in (frozen, buffer(values), read_only, Tensor(values, flags=READ_ONLY), OldTensor(values)):
        assert fastinit.summary(out) == want
    assert fastinit.summary(np.broadcast_to(np.float32(3), (400, 500)))[:5] == (200_000, 3.0, 0.0, 3.0, 3.0)
    broadcast = np.broadcast_to(values[0], (5, 7))
    assert fastinit.summary(broadcast).digest == digest(broadcast)


@pytest.mark.parametrize(
    ("out", "arguments", "error", "word"),
    [
        ([1.0], {}, TypeError, "list"),
        (np.zeros(3, np.int32), {}, TypeError, "int32"),
        (np.zeros(3, np.uint32), {}, TypeError, "uint32"),
        (bytearray(8), {}, TypeError, "'B'"),
        (Tensor(np.zeros(3), device=(CUDA, 2)), {}, ValueError, "cuda:2"),
        (np.zeros(3), {"threads": 0}, ValueError, "threads"),
        (np.zeros(3), {"threads": 1.5}, TypeError, "threads"),
        (np.zeros(3), {"global_shape": (3,)}, ValueError, "offset"),
        (np.zeros(3), {"global_shape": (3,), "offset": (1,)}, ValueError, "global_shape"),
        (np.zeros(3), {"global_shape": (3.0,), "offset": (0,)}, TypeError, "global_shape"),
    ],
)
def test_refusals(out: Any, arguments: dict[str, Any], error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        fastinit.summary(out, **arguments)


def test_an_initialiser_is_told_by_its_summary() -> None:
    """The use that it was made for: a shard's digest is known without the whole."""
    whole = call("he_normal", np.zeros((64, 48), np.float32), seed=1, stream="w", layout="torch")
    key: dict[str, Any] = {"global_shape": whole.shape, "offset": (16, 0)}
    shard = call("he_normal", np.zeros((32, 48), np.float32), seed=1, stream="w", layout="torch", **key)
    assert fastinit.summary(shard, **key) == fastinit.summary(whole[16:48], **key)
