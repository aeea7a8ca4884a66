"""``fastinit.dask``: any chunk has the bits of the NumPy array, and is drawn when it is asked for.

Each section is a promise.
"""

from __future__ import annotations

import importlib
import inspect
import math
import os
import pathlib
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastinit
from conftest import DTYPES, NAMED, control_group, in_new_interpreter, installed
from fastinit import _core, initializers, structured

da: Any = pytest.importorskip("dask.array")

import dask  # noqa: E402

import fastinit.dask  # noqa: E402
from fastinit.dask import _laws  # noqa: E402

LAWS = sorted({*initializers.__all__, *structured.__all__})
STILL = ("constant", "dirac", "identity", "ones", "zeros")
NEEDED: dict[str, dict[str, Any]] = {
    "constant": {"value": 0.5},
    "integers": {"low": -7, "high": 100},
    "sparse": {"sparsity": 0.3},
    "dirac": {"layout": "torch"},
}
NEEDED |= {name: {"layout": "torch"} for name in LAWS if getattr(fastinit, name).__name__ in NAMED}
CHUNKS: dict[str, Any] = {"orthogonal": -1}  # which needs the whole
KEY: dict[str, Any] = {"seed": 3, "stream": "w"}


def shape_of(name: str) -> tuple[int, ...]:
    return (7, 5, 3) if name == "dirac" else (37, 23)


def types_of(name: str) -> list[np.dtype[Any]]:
    integers = {"integers": ("int32", "int8"), "random_bits": ("uint32", "uint64")}
    return [np.dtype(each) for each in integers.get(name, DTYPES.values())]


def whole(name: str, shape: tuple[int, ...], dtype: Any = np.float32, **more: Any) -> NDArray[Any]:
    found: NDArray[Any] = getattr(fastinit, name)(np.empty(shape, dtype), **NEEDED.get(name, {}), **KEY, **more)
    return found


def lazy(name: str, shape: Any, **more: Any) -> Any:
    return getattr(fastinit.dask, name)(shape, **{"chunks": CHUNKS.get(name, 5), **NEEDED.get(name, {}), **KEY, **more})


def same(a: Any, b: NDArray[Any]) -> bool:
    """Bits, shape and type."""
    return type(a) is np.ndarray and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# --- the bits of the NumPy function, for any chunks -----------------------------------------------------------------


@pytest.mark.parametrize("name", LAWS)
def test_bits(name: str) -> None:
    for dtype in types_of(name):
        array = lazy(name, shape_of(name), dtype=dtype)
        assert same(array.compute(), whole(name, shape_of(name), dtype))
        assert same(array._meta, np.empty((0,) * array.ndim, dtype))
        assert array.dtype == dtype


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), max_size=3), st.sampled_from(["ars", "philox"]))
@settings(max_examples=60, deadline=None)
def test_any_chunks(sizes: list[list[int]], generator: Any) -> None:
    shape = tuple(map(sum, sizes))
    array = lazy("normal", shape, chunks=tuple(map(tuple, sizes)), bit_generator=generator)
    assert array.chunks == tuple(map(tuple, sizes))
    assert same(np.asarray(array.compute()), whole("normal", shape, bit_generator=generator))


def test_fans_are_those_of_the_whole() -> None:
    """Also where a chunk has other numbers of inputs and outputs."""
    for name in NAMED:
        for how in ({"layout": "torch"}, {"layout": "keras"}, {"in_axis": 0, "out_axis": (1, 2)}):
            array = getattr(fastinit.dask, name)((8, 6, 10), chunks=(3, 2, 4), **how, **KEY)
            expected = getattr(fastinit, name)(np.empty((8, 6, 10), np.float32), **how, **KEY)
            assert same(array.compute(), expected)
    array = fastinit.dask.xavier_uniform((8, 6), 6, 8, gain=2, chunks=3, **KEY)
    assert same(array.compute(), fastinit.xavier_uniform(np.empty((8, 6), np.float32), 6, 8, gain=2, **KEY))


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), 4, np.int64(4), [2, 3]])
def test_shapes(shape: Any) -> None:
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (int(shape),)
    assert np.asarray(lazy("normal", shape).compute()).tobytes() == whole("normal", sizes).tobytes()
    assert lazy("normal", shape).shape == sizes


def test_more_than_memory() -> None:
    """2^40 elements, of which a few are made."""
    shape = (2**20, 2**20)
    array = fastinit.dask.normal(shape, chunks=2**12, **KEY)
    box = fastinit.normal(np.empty((2, 3), np.float32), **KEY, global_shape=shape, offset=(2**19, 2**20 - 3))
    assert same(array[2**19 : 2**19 + 2, -3:].compute(), box)


@given(st.data(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_slices(data: st.DataObject, optimized: bool) -> None:
    """Of slices too. Dask optimises graphs of them."""
    expected = whole("normal", (37, 23))
    array = lazy("normal", (37, 23), chunks=(10, 7))
    for _ in range(2):
        index = tuple(data.draw(st.slices(n) | st.integers(-n, n - 1) if n else st.slices(0)) for n in expected.shape)
        array, expected = array[index], expected[index]
    with dask.config.set({"optimization.fuse.active": optimized}):
        assert np.asarray(array.compute()).tobytes() == np.asarray(expected).tobytes()


def test_rechunked_and_picked() -> None:
    numbers, array = whole("normal", (37, 23)), lazy("normal", (37, 23), chunks=(10, 7))
    assert same(array.rechunk((4, 23)).compute(), numbers)
    assert same(array.T.compute(), numbers.T)
    assert same(array[[30, 2, 2, 11]].compute(), numbers[[30, 2, 2, 11]])
    assert same(array[:, None, ::-1].compute(), numbers[:, None, ::-1])
    assert same(array[array[:, 0] > 0].compute(), numbers[numbers[:, 0] > 0])
    assert same((2 * array + 1).compute(), 2 * numbers + 1)
    assert same(array.blocks[1:3, 0].compute(), numbers[10:30, :7])
    assert same(np.asarray(da.ma.masked_less(array, 0).compute().data), numbers)


# --- nothing is drawn before it is asked for, and then no more than that --------------------------------------------


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any, Any]]:
    """Shape, place and number of threads of what is drawn from now on, by ``normal``."""
    found: list[tuple[Any, Any, Any]] = []

    def noted(out: NDArray[Any], *, _normal: Callable[..., Any] = fastinit.normal, **more: Any) -> Any:
        if out.size:
            found.append((out.shape, tuple(more["offset"]), more["threads"]))
        return _normal(out, **more)

    monkeypatch.setattr(fastinit, "normal", noted)
    return found


def test_lazy(boxes: list[tuple[Any, Any, Any]]) -> None:
    array = lazy("normal", (30, 20), chunks=10)
    parts = [array.T, array + 1, array.sum(), array.rechunk(7), array.std(axis=0)]
    assert len(parts) == 5
    assert boxes == []
    array.blocks[2, 1].compute()
    assert boxes == [((10, 10), (20, 10), 1)]
    boxes.clear()
    array[13, 4:6].compute()
    assert boxes == [((10, 10), (10, 0), 1)]
    boxes.clear()
    lazy("normal", (30, 20), chunks=10, threads=2).compute()
    assert sorted(boxes) == [((10, 10), (i, j), 2) for i in (0, 10, 20) for j in (0, 10)]


def test_a_million_chunks_are_cheap() -> None:
    begin = time.process_time()
    array = fastinit.dask.normal((10**6, 10**6), chunks=1000, **KEY)
    assert time.process_time() - begin < 1  # a graph that is written out takes ten seconds
    assert array.npartitions == 10**6
    layers = list(array.dask.layers.values())
    assert len(layers) == 1
    assert not layers[0].is_materialized()
    assert len(pickle.dumps(array)) < 50_000


def test_pickles() -> None:
    array = lazy("he_normal", (37, 23))
    again = pickle.loads(pickle.dumps(array))
    assert again.name == array.name
    assert same(again.compute(), whole("he_normal", (37, 23)))
    for name in LAWS:
        function = getattr(fastinit.dask, name)
        assert pickle.loads(pickle.dumps(function)) is function


def test_a_process_with_another_stream_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would make other values for the chunks that it gets."""
    pickled = pickle.dumps(lazy("normal", (37, 23)))
    monkeypatch.setattr(_core, "stream_format", _core.stream_format + 1)
    with pytest.raises(ValueError, match=r"is of stream format \d+, and this process's fastinit makes \d+"):
        pickle.loads(pickled).compute()
    assert pickle.loads(pickle.dumps(lazy("normal", (37, 23)))).compute().shape == (37, 23)


def test_names() -> None:
    """Equal ones are equal arrays, in each process; others differ."""
    array = lazy("normal", (37, 23))
    code = "import fastinit.dask as d; print(d.normal((37, 23), chunks=5, seed=3, stream='w').name)"
    assert in_new_interpreter(code, PYTHONHASHSEED="5") == array.name
    assert array.name.startswith("normal-")
    assert lazy("normal", [37, 23], std=1.0, seed=np.int64(3), dtype=np.float32, threads=2).name == array.name
    others = [
        lazy("uniform", (37, 23)),
        lazy("normal", (37, 24)),
        *(
            lazy("normal", (37, 23), **more)
            for more in (
                {"chunks": 6},
                {"seed": 4},
                {"stream": "v"},
                {"stream": 3},
                {"dtype": "float64"},
                {"dtype": "float16"},
                {"dtype": "bfloat16"},
                {"std": 2},
                {"mean": 2},
                {"bit_generator": "philox"},
            )
        ),
    ]
    names = {array.name, *(other.name for other in others)}
    assert len(names) == 1 + len(others)


# --- what is refused, at once ---------------------------------------------------------------------------------------

UNKNOWN = (math.nan, math.nan)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda d: d.normal((4,), stream=0), TypeError, r"normal\(\) missing .*'seed'"),
        (lambda d: d.normal((4,), seed=0), TypeError, r"normal\(\) missing .*'stream'"),
        (lambda d: d.normal((4,), seed=None, stream=0), TypeError, "seed must be given"),
        (lambda d: d.orthogonal((4, 4), seed=0, stream=None), TypeError, "stream must be given"),
        (lambda d: d.normal((4,), 0, 1, 2, **KEY), TypeError, r"normal\(\) too many positional"),
        (lambda d: d.normal((4,), global_shape=(4,), offset=(0,), **KEY), TypeError, "global_shape"),
        (lambda d: d.normal((4,), std=-1, **KEY), ValueError, "std must be .*got -1"),
        (lambda d: d.normal((4,), seed=-1, stream=0), ValueError, "seed must be"),
        (lambda d: d.normal((4,), seed=0, stream=-1), ValueError, "stream must be"),
        (lambda d: d.normal((4,), threads=0, **KEY), ValueError, "threads must be"),
        (lambda d: d.normal((4,), bit_generator="mt", **KEY), ValueError, "bit_generator must be"),
        (lambda d: d.he_normal((4, 4), **KEY), ValueError, "he_normal needs fan_in= or layout="),
        (lambda d: d.he_normal((4,), layout="torch", **KEY), ValueError, "layout='torch'"),
        (lambda d: d.identity((4,)), ValueError, r"shape must have 2 dimensions, got \(4,\)"),
        (lambda d: d.normal((4, -1), **KEY), ValueError, r"shape must hold ints >= 0, got \(4, -1\)"),
        (lambda d: d.normal(2.0, **KEY), TypeError, "shape must be a sequence of ints, got 2.0"),
        (lambda d: d.normal((math.nan,), **KEY), TypeError, r"shape must be .*got \(nan,\)"),
        (lambda d: d.normal((2**40, 2**40), chunks=2**35, **KEY), ValueError, r"at most 2\*\*63 elements"),
        (lambda d: d.normal((4,), dtype="int64", **KEY), TypeError, "dtype must be one of .*'int64'"),
        (lambda d: d.normal((4,), dtype="int16", **KEY), TypeError, "^dtype must be float32, .* got int16"),
        (lambda d: d.random_bits((4,), dtype="float32", **KEY), TypeError, "^dtype must be uint32 .* got float32"),
        (lambda d: d.normal((4,), dtype="float16", std=1e9, **KEY), ValueError, "float16"),
        (lambda d: d.normal((4,), chunks=((1, 2),), **KEY), ValueError, "[Cc]hunks do not add up"),
        (lambda d: d.normal((4,), chunks=(UNKNOWN,), **KEY), ValueError, "must have known sizes >= 0, got .*nan"),
        (lambda d: d.normal((10,), chunks=((10, -5, 5),), **KEY), ValueError, r"sizes >= 0, got \(\(10, -5, 5\),\)"),
        (lambda d: d.normal((4, 5), chunks=(2, 0), **KEY), ValueError, r"chunks must have sizes >= 1, got \(2, 0\)"),
        (
            lambda d: d.orthogonal((4, 4), chunks=2, **KEY),
            ValueError,
            "orthogonal makes the whole.* -1.* got 2. rechunk",
        ),
    ],
)
def test_refused(call: Callable[[Any], Any], kind: type[Exception], words: str, boxes: list[Any]) -> None:
    with pytest.raises(kind, match=words):
        call(fastinit.dask)
    assert boxes == []


def test_chunks_behind_a_mask_are_unknown() -> None:
    """They are taken once they have been computed."""
    array = lazy("normal", (37, 23), chunks=(10, 23))
    positive = array[array[:, 0] > 0]
    with pytest.raises((TypeError, ValueError), match=r"shape must be .*nan"):
        lazy("normal", positive.shape)
    known = (int((whole("normal", (37, 23))[:, 0] > 0).sum()), 23)
    with pytest.raises(ValueError, match="known sizes"):
        lazy("normal", known, chunks=positive.chunks)
    positive.compute_chunk_sizes()
    noise = lazy("normal", positive.shape, chunks=positive.chunks, stream="noise")
    assert (positive + noise).compute().shape == known


def test_orthogonal_in_one_chunk() -> None:
    array = fastinit.dask.orthogonal((40, 30), chunks=-1, **KEY)
    expected = fastinit.orthogonal(np.empty((40, 30), np.float32), **KEY)
    assert same(array.rechunk(10).compute(), expected)


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.array", None)
    monkeypatch.delitem(sys.modules, "fastinit.dask._laws")
    with pytest.raises(ImportError, match=r"fastinit\.dask needs Dask .*pip install \"dask\[array\]\""):
        importlib.import_module("fastinit.dask._laws")


# --- a function for each of fastinit's ------------------------------------------------------------------------------


def test_functions() -> None:
    assert fastinit.dask.__all__ == LAWS == dir(fastinit.dask)
    assert set(_laws.LAWS) == set(LAWS)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fastinit.dask.nothing  # noqa: B018
    assert fastinit.dask.kaiming_normal is fastinit.dask.he_normal


@pytest.mark.parametrize("name", LAWS)
def test_signatures(name: str) -> None:
    theirs = inspect.signature(getattr(fastinit, name)).parameters
    ours = inspect.signature(getattr(fastinit.dask, name)).parameters
    assert next(iter(ours)) == "shape"
    assert set(ours) == {*theirs, "shape", "chunks", "dtype"} - {"out", "global_shape", "offset"}
    for parameter in set(ours) & set(theirs) - {"seed", "stream", "threads"}:
        assert (ours[parameter].default, ours[parameter].kind) == (theirs[parameter].default, theirs[parameter].kind)
    for parameter in ("seed", "stream"):
        assert ours[parameter].default is (None if name in STILL else inspect.Parameter.empty)
    text = inspect.getdoc(getattr(fastinit.dask, name)) or ""
    assert text.splitlines()[0] == (inspect.getdoc(getattr(fastinit, name)) or "").splitlines()[0]
    assert "{" not in re.sub(r"\{\"[^{}]*\"\}", "", text)


@pytest.mark.parametrize("name", LAWS)
def test_which_laws_draw_nothing(name: str) -> None:
    """Those of which a fill takes no stream."""
    generator = fastinit.Generator(0)
    getattr(generator, name)(np.empty(shape_of(name), types_of(name)[0]), **NEEDED.get(name, {}))
    first = generator.random_bits(np.empty(4, np.uint64))
    assert (first == fastinit.Generator(0).random_bits(np.empty(4, np.uint64))).all() == (name in STILL)
    assert (name in _laws._DRAW_NOTHING) == (name in STILL or name in ("ones", "zeros"))


def test_without_docstrings() -> None:
    """As under ``python -OO``."""
    assert _laws._documentation(lambda: None, "normal") is None


def test_arrays_as_expressions() -> None:
    """Dask's other implementation of arrays, which one asks for before the import."""
    if not importlib.util.find_spec("dask.array._array_expr"):
        pytest.skip("this Dask has one implementation of arrays")
    code = """
import numpy as np, fastinit, fastinit.dask as d
w = d.normal((37, 23), chunks=(10, 7), seed=3, stream="w")
whole = fastinit.normal(np.empty((37, 23), np.float32), seed=3, stream="w")
print(type(w).__module__, *(np.array_equal(a.compute(), b) for a, b in ((w, whole), (w[5::7, 3], whole[5::7, 3]))))
u, v = (d.normal(4, seed=3, stream=name) for name in ("normal", "".join(["nor", "mal"])))
print(u.name == v.name == d.normal([4], seed=3, stream="normal", threads=2).name != d.normal(4, seed=3, stream="").name)
"""
    printed = in_new_interpreter(code, DASK_ARRAY__QUERY_PLANNING="True")
    assert printed == "dask.array._array_expr._collection True True\nTrue"


# --- in several processes, and in files -----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[1, 2], ids=["1 thread", "2 threads"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Two worker processes, of so many threads each."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=request.param, processes=True, dashboard_address=None, memory_limit=0
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


def process_of(block: NDArray[Any]) -> NDArray[Any]:
    time.sleep(0.02)  # so that both have something to do
    return np.full((1, 1), os.getpid())


@pytest.mark.parametrize("name", ["he_normal", "random_bits", "sparse", "orthogonal"])
def test_processes(name: str, cluster: Any) -> None:
    for dtype in types_of(name)[::3]:
        assert same(lazy(name, (37, 23), dtype=dtype).compute(), whole(name, (37, 23), dtype))
    held = lazy(name, (37, 23)).persist()
    assert same((held[::3].rechunk(4) * 1).compute(), whole(name, (37, 23), held.dtype)[::3])


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_bits_of_small_floats_travel(dtype: str, cluster: Any) -> None:
    """Between processes, as bytes: distributed moves no float8_e5m2."""
    found = lazy("normal", (37, 23), dtype=dtype).view("uint8").rechunk(4).compute()
    assert same(found.view(dtype), whole("normal", (37, 23), dtype))


def test_both_processes_work(cluster: Any) -> None:
    found = lazy("normal", (100, 100), chunks=10).map_blocks(process_of, dtype=int, chunks=(1, 1)).compute()
    assert len(np.unique(found)) == 2
    assert os.getpid() not in found


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_zarr(dtype: str, cluster: Any, tmp_path: pathlib.Path) -> None:
    """Written by several processes, and read; Zarr has no bfloat16, so its bits are written."""
    zarr = pytest.importorskip("zarr", "3")
    array, expected = (
        lazy("he_normal", (37, 23), chunks=(10, 7), dtype=dtype),
        whole("he_normal", (37, 23), DTYPES[dtype]),
    )
    if dtype == "bfloat16":
        array, expected = array.view("uint16"), expected.view("uint16")
    path = str(tmp_path / "w.zarr")
    store = zarr.create_array(path, shape=array.shape, chunks=array.chunksize, dtype=array.dtype)
    da.store(array, store, lock=False)
    assert same(zarr.open_array(path, mode="r")[:], expected)
    assert same(da.from_zarr(path).compute(), expected)


@pytest.mark.skipif(not installed("zarr"), reason="without zarr")
def test_to_zarr(tmp_path: pathlib.Path) -> None:
    import zarr

    array, expected = lazy("he_normal", (37, 23), chunks=(10, 7)), whole("he_normal", (37, 23))
    array.to_zarr(str(tmp_path / "w.zarr"))
    assert same(zarr.open_array(str(tmp_path / "w.zarr"), mode="r")[:], expected)
    again = da.from_zarr(str(tmp_path / "w.zarr"))
    assert again.chunks == array.chunks
    assert same(again.compute(), expected)


LARGE = """
import sys
import numpy as np
import fastinit

kind, path = sys.argv[1:]
shape = (2**15, 2**14)
if kind == "npy":
    file = np.lib.format.open_memmap(path, "w+", dtype="float32", shape=shape)
    fastinit.normal(file, seed=3, stream="w")
    file.flush()
else:
    import dask, fastinit.dask, zarr

    w = fastinit.dask.normal(shape, chunks=2**11, seed=3, stream="w")
    file = zarr.create_array(path, shape=shape, chunks=w.chunksize, dtype=w.dtype, compressors=None)
    with dask.config.set(scheduler="threads", num_workers=2):
        w.store(file, lock=False)
print(float(file[-1, -1]))
"""


@pytest.mark.large
@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_files_larger_than_memory(kind: str, tmp_path: pathlib.Path) -> None:
    """2 GiB, by a process that may have 400 MiB, the file's pages included."""
    pytest.importorskip("zarr", "3")
    limit = str(400 * 2**20)
    with control_group(("memory.max", limit), ("memory.limit_in_bytes", limit)) as group:
        enter = f"import os, pathlib; pathlib.Path({str(group)!r}).write_text(str(os.getpid()))"
        done = subprocess.run(
            [sys.executable, "-c", enter + LARGE, kind, str(tmp_path / "w")],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
    last = fastinit.normal(
        np.empty((1, 1), np.float32), **KEY, global_shape=(2**15, 2**14), offset=(2**15 - 1, 2**14 - 1)
    )
    assert float(done.stdout) == last[0, 0]
    files = [tmp_path / "w"] if kind == "npy" else (tmp_path / "w").rglob("*")
    assert sum(file.stat().st_size for file in files if file.is_file()) >= 2**31


def test_targets(target: str) -> None:
    assert _core.config()["target"] == target
    assert same(lazy("he_normal", (37, 23)).compute(), whole("he_normal", (37, 23)))
