"""Promise: a value belongs to its logical index. Memory layout, shards and threads change nothing, and nothing outside
of `out` is touched."""

from __future__ import annotations

import itertools
import pathlib
import re
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastinit
from conftest import not_sanitized

Array = npt.NDArray[Any]


def whole(shape: tuple[int, ...], dtype: Any = np.float32, **arguments: Any) -> Array:
    return fastinit.normal(np.zeros(shape, dtype), seed=5, stream="w", **arguments)


SHAPE = (23, 31, 60)  # more elements than a call on one thread writes


def strided(dtype: np.dtype[Any]) -> dict[str, Array]:
    """Arrays of SHAPE with many kinds of memory, each inside a larger buffer of sevens."""
    a, b, c = SHAPE

    def seven(*extents: int) -> Array:
        return np.full(extents, 7, dtype)

    unaligned = np.zeros(a * b * c * dtype.itemsize + 1, np.uint8)[1:].view(dtype).reshape(SHAPE)
    return {
        "C": seven(a, b, c),
        "short rows": seven(a * b * c // 3, 4)[:, :3],
        "short rows, dense in memory across": np.asfortranarray(seven(a * b * c // 5, 5)),
        "pairs of pairs": seven(a * b, 3, c // 15, 7)[:, :, :, 1:6],
        "Fortran": np.asfortranarray(seven(a, b, c)),
        "transposed": seven(b, c, a).transpose(2, 0, 1),
        "every second column": seven(a, b, 2 * c)[:, :, ::2],
        "every third column": seven(a, b, 3 * c)[:, :, 1::3],
        "every seventh column, backwards": seven(a, b, 7 * c)[:, :, ::-7],
        "Fortran, in a wider one": seven(c + 3, b, a + 5)[2:-1, :, 1:-4].transpose(2, 1, 0),
        "Fortran, every second row": seven(c, b, 2 * a)[:, :, ::2].transpose(2, 1, 0),
        "every third row": seven(a, 3 * b, c)[:, 1::3],
        "backwards": seven(a, b, c)[::-1, ::-1, ::-1],
        "backwards Fortran": np.asfortranarray(seven(a, b, c))[:, ::-1, :],
        "middle of a larger one": seven(a + 2, b + 3, c + 4)[1:-1, 1:-2, 2:-2],
        "field of a record": np.zeros((a, b, c), [("x", np.int8), ("w", dtype)])["w"],
        "unaligned": unaligned,
    }


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_memory_layout_changes_nothing(dtype: np.dtype[Any], target: str, threads: int) -> None:
    expected = whole(SHAPE, dtype).tobytes()
    for name, out in strided(dtype).items():
        # The same elements in another shape have the same indices.
        assert out.size == np.prod(SHAPE), name
        base = out
        while isinstance(base.base, np.ndarray):
            base = base.base
        before = base.tobytes()
        assert fastinit.normal(out, seed=5, stream="w", threads=threads) is out
        assert np.ascontiguousarray(out).tobytes() == expected, name
        # Everything but the elements is as it was.
        out[...] = 7 if base.dtype == dtype else 0
        assert base.tobytes() == before, name
        assert fastinit.constant(out, 3, threads=threads) is out
        assert (out == 3).all(), name
        out[...] = 7 if base.dtype == dtype else 0
        assert base.tobytes() == before, name


def test_no_dimensions_no_elements_one_element(dtype: np.dtype[Any]) -> None:
    assert whole((), dtype).tobytes() == whole((1,), dtype).tobytes() == whole((1, 1, 1), dtype).tobytes()
    for shape in ((0,), (3, 0), (0, 3), (2, 0, 4)):
        assert whole(shape, dtype).shape == shape
    column = np.full((9, 4), 7, dtype)
    fastinit.normal(column[:, 1:2], seed=5, stream="w")
    assert column[:, 1].tobytes() == whole((9,), dtype).tobytes()
    assert (column[:, [0, 2, 3]] == 7).all()


def test_random_bits_do_not_depend_on_layout_either() -> None:
    for dtype in (np.uint32, np.uint64):
        expected = fastinit.random_bits(np.zeros((40, 50), dtype), seed=1)
        got = fastinit.random_bits(np.zeros((40, 50), dtype, order="F")[:, ::-1], seed=1)
        assert np.array_equal(got, expected)


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_nothing(dtype: np.dtype[Any], rng: Any, threads: int) -> None:
    """In lines and in tiles."""
    expected = whole((190, 1111), dtype, bit_generator=rng, threads=1)
    assert whole((190, 1111), dtype, bit_generator=rng, threads=threads).tobytes() == expected.tobytes()
    out = fastinit.normal(
        np.zeros((190, 1111), dtype, order="F"), seed=5, stream="w", bit_generator=rng, threads=threads
    )
    assert np.array_equal(out, expected)


def test_large_fills_that_bypass_the_caches_are_the_same(dtype: np.dtype[Any], target: str) -> None:
    n = 40 * 2**20 // dtype.itemsize
    large = np.zeros(n + 64, dtype)
    for start in (0, 1, 8, 3):  # cache lines and blocks of words meet at some of these, at others not
        out = large[start : start + n]
        fastinit.he_uniform(out, 50, seed=2, threads=2)
        for piece in (0, 12345, n - 1000):
            expected = np.zeros(1000, dtype)
            fastinit.he_uniform(expected, 50, seed=2, global_shape=(n,), offset=(piece,))
            assert out[piece : piece + 1000].tobytes() == expected.tobytes()
        assert not large[:start].any()
        assert not large[start + n :].any()
        large[...] = 0


@pytest.mark.parametrize("start", [0, 1, 8, 3])
def test_large_fills_of_any_strides_are_the_same(dtype: np.dtype[Any], target: str, start: int) -> None:
    """Fortran order, with columns in whole cache lines and not, and every second column."""
    rows, columns = 4096, 40 * 2**20 // 4096 // dtype.itemsize
    large = np.zeros(2 * columns * (rows + 1) + 64, dtype)
    inside = large[start : start + 2 * columns * rows]
    for name, out in {
        "Fortran": inside[: columns * rows].reshape(columns, rows).T,
        "Fortran, of odd length": large[start : start + columns * (rows + 1)].reshape(columns, rows + 1).T[:rows],
        "every second": inside.reshape(rows, 2 * columns)[:, ::2],
    }.items():
        fastinit.he_uniform(out, 50, seed=2, threads=2)
        for row in (0, 1, 1234, rows - 1):
            expected = np.zeros((1, columns), dtype)
            fastinit.he_uniform(expected, 50, seed=2, global_shape=out.shape, offset=(row, 0))
            assert out[row].tobytes() == expected.tobytes(), name
        for column in (0, 77, columns - 1):
            column_expected = np.zeros((rows, 1), dtype)
            fastinit.he_uniform(column_expected, 50, seed=2, global_shape=out.shape, offset=(0, column))
            assert out[:, column].tobytes() == column_expected.tobytes(), name
        out[...] = 0
        assert not large.any(), name


def cuts(n: int, parts: int) -> list[tuple[int, int]]:
    places = [n * k // parts for k in range(parts + 1)]
    return list(itertools.pairwise(places))


@pytest.mark.parametrize("parts", [(1, 1, 3), (2, 1, 1), (4, 3, 2), (1, 50, 1), SHAPE])
def test_shards_reassembled_are_the_whole(parts: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
    if parts == SHAPE and dtype != np.float32:
        parts = (5, 31, 60)
    expected = fastinit.he_normal(np.zeros(SHAPE, dtype), layout="torch", seed=9, stream="conv")
    out = np.zeros(SHAPE, dtype)
    for box in itertools.product(*(cuts(n, k) for n, k in zip(SHAPE, parts, strict=True))):
        shard = np.zeros([end - begin for begin, end in box], dtype)
        offset = [begin for begin, _ in box]
        fastinit.he_normal(shard, layout="torch", seed=9, stream="conv", global_shape=SHAPE, offset=offset)
        out[tuple(slice(begin, end) for begin, end in box)] = shard
    assert out.tobytes() == expected.tobytes()


@settings(max_examples=200, deadline=None)
@given(data=st.data(), shape=st.lists(st.integers(0, 12), min_size=1, max_size=5))
def test_any_box_is_its_part_of_the_whole(data: st.DataObject, shape: list[int]) -> None:
    """Also boxes of one column, which have no dimension along the index."""
    expected = whole(tuple(shape))
    offset = [data.draw(st.integers(0, n)) for n in shape]
    size = [data.draw(st.integers(0, n - k)) for n, k in zip(shape, offset, strict=True)]
    out = np.full(size, 7, np.float32, order=data.draw(st.sampled_from(["C", "F"])))
    fastinit.normal(out, seed=5, stream="w", global_shape=shape, offset=offset)
    assert np.array_equal(out, expected[tuple(slice(k, k + n) for k, n in zip(offset, size, strict=True))])


def test_a_box_far_out() -> None:
    """Two boxes that share elements beyond 2^40, by way of different offsets."""
    shape = (2**20, 2**25)
    a = fastinit.normal(np.zeros((5, 300)), seed=1, global_shape=shape, offset=(2**20 - 5, 2**25 - 300))
    b = fastinit.normal(np.zeros((3, 100)), seed=1, global_shape=shape, offset=(2**20 - 3, 2**25 - 100))
    assert np.array_equal(a[2:, 200:], b)


MEMORY = """
import resource, sys
import numpy as np
import fastinit
out = np.zeros((4096, 8192), np.float32)[{view}]
out[...] = 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fastinit.normal(out, seed=1, threads=2)
fastinit.ones(out)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's unit of ru_maxrss")
@not_sanitized
@pytest.mark.parametrize("view", [":", ":, ::2", ":, ::-1", ":, 1:-1", "..., None"])
def test_no_temporaries(view: str) -> None:
    """The peak of memory grows by less than 2 MiB (two threads' stacks) when 64 to 128 MiB are filled."""
    done = subprocess.run([sys.executable, "-c", MEMORY.format(view=view)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2048


@pytest.mark.skipif(not pathlib.Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="needs huge pages")
def test_large_empty_arrays_ask_for_huge_pages() -> None:
    out = fastinit.empty(2**24)
    address = out.ctypes.data
    assert address % 2**21 == 0
    flags: list[str] = []
    inside = False
    for line in pathlib.Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if re.fullmatch(r"[0-9a-f]+-[0-9a-f]+", words[0]):
            begin, end = (int(x, 16) for x in words[0].split("-"))
            inside = begin <= address < end
        elif inside and words[0] == "VmFlags:":
            flags = words[1:]
    assert "hg" in flags


def test_memmap(tmp_path: pathlib.Path) -> None:
    expected = whole((100, 1000))
    mapped = np.memmap(tmp_path / "w.bin", np.float32, "w+", shape=(100, 1000))
    assert fastinit.normal(mapped, seed=5, stream="w") is mapped
    mapped.flush()
    assert (tmp_path / "w.bin").read_bytes() == expected.tobytes()


def test_subclasses_of_ndarray_are_filled() -> None:
    matrix = np.zeros((4, 5), np.float32).view(np.recarray)
    assert np.array_equal(fastinit.normal(matrix, seed=5, stream="w"), whole((4, 5)))


def test_strange_strides_without_overlap_are_filled() -> None:
    """Strides that interleave: no simple rule shows that they do not overlap."""
    memory = np.zeros(64, np.float32)
    out = np.lib.stride_tricks.as_strided(memory, (3, 2), (8, 12))
    fastinit.normal(out, seed=5, stream="w")
    assert np.array_equal(out, whole((3, 2)))
    assert np.count_nonzero(memory) == 6


def test_empty_arrays_from_fastinit_are_like_any_other(dtype: np.dtype[Any]) -> None:
    for shape in ((3, 5), (0,), (), (3000, 1000)):
        out = fastinit.empty(shape, dtype)
        assert out.shape == shape
        assert out.dtype == dtype
        assert out.ctypes.data % 64 == 0
        assert out.flags.c_contiguous
        assert out.flags.writeable
        assert fastinit.normal(out, seed=5, stream="w").tobytes() == whole(shape, dtype).tobytes()
