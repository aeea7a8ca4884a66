"""Promise: no byte outside of `out` is touched, not even read; any amount of memory is filled, and a lack of it is a
MemoryError."""

from __future__ import annotations

import ctypes
import itertools
import math
import mmap
import multiprocessing
import pathlib
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import fastinit
from conftest import DTYPES, TARGETS, control_group, in_new_interpreter, not_sanitized
from fastinit import _core

Array = npt.NDArray[Any]
UNTOUCHED = 0xA5


# --- guard pages ------------------------------------------------------------------------------------------------------


def between_guards(n_bytes: int) -> Array:
    """Whole pages, at least n_bytes; whoever reads or writes in the page before or after them is killed."""
    page = mmap.PAGESIZE
    pages = -(-n_bytes // page) * page
    memory = np.frombuffer(mmap.mmap(-1, pages + 2 * page), np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    for guard in (memory[:page], memory[-page:]):
        no_access = 0  # PROT_NONE
        assert libc.mprotect(ctypes.c_void_p(guard.ctypes.data), ctypes.c_size_t(page), no_access) == 0
    return memory[page:-page]


# Around the ends of vectors, of groups and blocks of them, of tiles' rows, and of what the kernels do in one go: 8 to
# 1024 elements; and the shortest.
LENGTHS = sorted({edge + k for edge in (8, 16, 32, 64, 128, 256, 512, 1024) for k in (-1, 0, 1)} | set(range(1, 7)))

# Shape, and strides in elements.
Form = Callable[[int], tuple[tuple[int, ...], tuple[int, ...]]]
FORMS: dict[str, Form] = {
    "contiguous": lambda n: ((n,), (1,)),
    "reversed": lambda n: ((n,), (-1,)),
    "every 2nd": lambda n: ((n,), (2,)),
    "every 3rd": lambda n: ((n,), (3,)),
    "every 4th": lambda n: ((n,), (4,)),
    "every 5th": lambda n: ((n,), (5,)),
    "every 3rd, reversed": lambda n: ((n,), (-3,)),
    "Fortran": lambda n: ((n, 5), (1, n)),
    "Fortran, wide": lambda n: ((5, n), (1, 5)),
    "Fortran, reversed": lambda n: ((n, 7), (-1, -n)),
    "Fortran, every 2nd": lambda n: ((n, 3), (2, 2 * n)),
    "rows of a wider one": lambda n: ((3, n), (n + 3, 1)),
    "short rows": lambda n: ((n, 3), (4, 1)),
}


def placed(memory: Array, dtype: np.dtype[Any], form: Form, n: int) -> Iterator[Array]:
    """Arrays of that form which begin at memory's first byte, and which end at its last one."""
    shape, strides = form(n)
    reach = [(size - 1) * stride for size, stride in zip(shape, strides, strict=True)]
    before = -sum(min(r, 0) for r in reach)
    extent = (before + sum(max(r, 0) for r in reach) + 1) * dtype.itemsize
    for start in (0, memory.size - extent):
        yield np.ndarray(
            shape, dtype, memory.data, start + before * dtype.itemsize, [s * dtype.itemsize for s in strides]
        )


def fills(dtype: np.dtype[Any]) -> dict[str, Callable[..., Any]]:
    if dtype.kind == "u":
        return {"words": fastinit.random_bits}
    return {
        "normal": fastinit.normal,
        "near": lambda out, **key: fastinit.truncated_normal(out, low=-1, high=3, **key),
        "philox": lambda out, **key: fastinit.uniform(out, bit_generator="philox", **key),
        "constant": lambda out, **_: fastinit.constant(out, 3),
    }


def fill_between_guards(target: str) -> None:
    _core.set_target(target)
    for dtype in [*DTYPES.values(), np.dtype(np.uint32), np.dtype(np.uint64)]:
        memory = between_guards(8 * max(LENGTHS) * dtype.itemsize)
        for (fill_name, fill), form in itertools.product(fills(dtype).items(), FORMS):
            whole = np.zeros(8 * max(LENGTHS), dtype)
            fill(whole, seed=3)
            for n in LENGTHS:
                for out in placed(memory, dtype, FORMS[form], n):
                    memory[...] = UNTOUCHED
                    fill(out, seed=3)
                    case = (target, dtype, fill_name, form, n)
                    assert out.tobytes() == whole[: out.size].tobytes(), case
                    out.view(f"u{dtype.itemsize}")[...] = int.from_bytes(bytes([UNTOUCHED] * dtype.itemsize), "little")
                    assert (memory == UNTOUCHED).all(), case


def survives(function: Callable[..., None], *arguments: Any) -> bool:
    """In a process of its own: a touch of a guard page ends it."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode == 0


def touch(beyond: int) -> None:
    """The last byte, or one so many bytes after it."""
    memory = between_guards(1)
    ctypes.memset(memory.ctypes.data + memory.size - 1 + beyond, 0, 1)


needs_mprotect = pytest.mark.skipif(not hasattr(mmap, "PROT_READ"), reason="needs mprotect")


@needs_mprotect
def test_guard_pages_guard() -> None:
    assert survives(touch, 0)
    assert not survives(touch, 1)


@needs_mprotect
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_beyond_the_ends_is_touched(target: str) -> None:
    assert survives(fill_between_guards, target)


@needs_mprotect
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_beyond_the_ends_is_touched_past_the_caches(target: str) -> None:
    """Fills of more than 32 MiB, on two threads."""
    assert survives(fill_large_between_guards, target)


def fill_large_between_guards(target: str) -> None:
    _core.set_target(target)
    for dtype in DTYPES.values() if target != "portable" else [np.dtype(np.float32)]:  # it is slow
        n = 33 * 2**20 // dtype.itemsize + 1
        memory = between_guards((n + 5) * dtype.itemsize)
        expected = fastinit.he_uniform(np.zeros(n + 5, dtype), 50, seed=3)
        for form in ("contiguous", "Fortran"):
            for out in placed(memory, dtype, FORMS[form], n // 5 if "Fortran" in form else n):
                memory[...] = UNTOUCHED
                fastinit.he_uniform(out, 50, seed=3, threads=2)
                assert np.array_equal(out.ravel(), expected[: out.size]), (target, dtype, form)
                out.view(f"u{dtype.itemsize}")[...] = int.from_bytes(bytes([UNTOUCHED] * dtype.itemsize), "little")
                assert (memory == UNTOUCHED).all(), (target, dtype, form)


# --- fresh memory on huge pages ---------------------------------------------------------------------------------------

ENABLED = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
# Runs in a process of its own: the variable is read once.
FRESH = """
import mmap, os, sys, tempfile
import numpy as np
import fastinit

HUGE = 2**21
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
ALL = 8 * HUGE

def mapped(n_bytes=ALL, fd=-1, flags=PRIVATE):
    return np.frombuffer(mmap.mmap(fd, n_bytes + HUGE, flags=flags), np.uint8)

def from_huge_page(memory, n_bytes=ALL):
    start = -memory.ctypes.data % HUGE
    return memory[start:start + n_bytes]

def asked(memory):
    "Which huge pages of this memory were asked for, from 0 on: by the flag hg of the mapping."
    found, begin, end = set(), 0, 0
    for line in open("/proc/self/smaps"):
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            begin, end = (int(number, 16) for number in words[0].split("-"))
        elif words[0] == "VmFlags:" and "hg" in words:
            for page in range(begin, end, 4096):
                if memory.ctypes.data <= page < memory.ctypes.data + memory.size:
                    found.add((page - memory.ctypes.data) / HUGE)
    pages = {page for page in found if page == int(page)}
    assert len(found) == 512 * len(pages), found  # whole ones
    return sorted(map(int, pages))

def fill(memory, threads=1, **key):
    out = memory.view(np.float32)
    fastinit.normal(out, seed=7, threads=threads, **key)
    want = np.zeros(out.size, np.float32)
    fastinit.normal(want, seed=7, threads=1)
    assert np.array_equal(out, want)
"""


def in_new_process(code: str, **environment: str) -> list[str]:
    return in_new_interpreter(FRESH + code, **environment).splitlines()


def huge_pages_on_request() -> bool:
    return ENABLED.exists() and "[madvise]" in ENABLED.read_text() and pathlib.Path("/proc/self/smaps").exists()


needs_huge_pages = pytest.mark.skipif(
    not huge_pages_on_request(), reason=f"needs an OS that gives huge pages to whom asks: [madvise] in {ENABLED}"
)


@needs_huge_pages
@pytest.mark.parametrize("threads", [1, 3])
def test_fresh_memory_may_ask_for_huge_pages(threads: int) -> None:
    """For the whole ones inside `out` alone, and nothing outside of it gets memory."""
    code = f"""
memory = from_huge_page(mapped())
out = memory[HUGE + 12:-HUGE // 2 - 20]
fill(out, {threads})
print(asked(memory))
resident = 0
begin, end = out.ctypes.data // 4096 * 4096, out.ctypes.data + out.size
with open("/proc/self/pagemap", "rb") as pagemap:
    pagemap.seek(memory.ctypes.data // 4096 * 8)
    pages = np.frombuffer(pagemap.read(memory.size // 4096 * 8), np.uint64) >> 62 != 0
places = memory.ctypes.data + 4096 * np.arange(pages.size)
print(np.array_equal(pages, (places >= begin) & (places < end)))
"""
    assert in_new_process(code, FASTINIT_HUGE_PAGES="1") == ["[2, 3, 4, 5, 6]", "True"]
    assert in_new_process(code, FASTINIT_HUGE_PAGES="0") == ["[]", "True"]


NEVER = {
    "memory already touched": "memory = from_huge_page(mapped()); memory[::4096] = 1; fill(memory, 2)",
    "memory filled before": "memory = from_huge_page(mapped()); fastinit.zeros(memory.view('f4')[::2]); fill(memory)",
    "memory only read": "memory = from_huge_page(mapped()); memory[::4096].sum(); fill(memory)",
    "shared memory": "memory = from_huge_page(mapped(flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)); fill(memory, 2)",
    "a file": """
with tempfile.NamedTemporaryFile(dir=".") as file:
    file.truncate(ALL + HUGE)
    memory = from_huge_page(mapped(fd=file.fileno(), flags=mmap.MAP_SHARED))
    fill(memory)
""",
    "a private copy of a file": """
with tempfile.NamedTemporaryFile(dir=".") as file:
    file.truncate(ALL + HUGE)
    memory = from_huge_page(mapped(fd=file.fileno(), flags=mmap.MAP_PRIVATE))
    fill(memory)
""",
    "less than a huge page": "memory = from_huge_page(mapped(), 2 * HUGE); fill(memory[4:2 * HUGE - 4])",
    "every second element": "memory = from_huge_page(mapped()); fastinit.normal(memory.view('f4')[::2], seed=7)",
    "the child's copy of the parent's": """
memory = from_huge_page(mapped())
memory[::4096] = 1
if os.fork() > 0:
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
fill(memory, 2)
""",
}


@needs_huge_pages
@pytest.mark.parametrize("case", NEVER)
def test_other_memory_never_asks_for_huge_pages(
    case: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = f"{NEVER[case]}\nprint(asked(memory), flush=True)"
    assert in_new_process(code, FASTINIT_HUGE_PAGES="1") == ["[]"]


@needs_huge_pages
def test_what_is_touched_in_the_middle_is_left_alone() -> None:
    code = "memory = from_huge_page(mapped()); memory[3 * HUGE + 5] = 1; fill(memory); print(asked(memory))"
    assert in_new_process(code, FASTINIT_HUGE_PAGES="1") == ["[0, 1, 2, 4, 5, 6, 7]"]


@needs_huge_pages
def test_a_forked_child_may_ask_for_huge_pages() -> None:
    code = """
fill(from_huge_page(mapped()), 2)
if os.fork() > 0:
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
memory = from_huge_page(mapped())
fill(memory, 2)
print(asked(memory), flush=True)
"""
    # On two threads the beginning is filled first, to see how many of them pay.
    assert in_new_process(code, FASTINIT_HUGE_PAGES="1") == ["[1, 2, 3, 4, 5, 6, 7]"]


@pytest.mark.parametrize("setting", ["0", "1", "auto"])
def test_huge_pages_change_no_value(setting: str) -> None:
    """Enough memory for trials; on one thread and on two; at an address that suits no page, and at one that does."""
    code = """
import zlib
for n, offset in ((2**26 + 12, 4), (2**26, 0)):
    for threads in (1, 2):
        for _ in range(3):
            memory = mapped(n)
            start = -memory.ctypes.data % HUGE + offset
            out = memory[start : start + n].view(np.float32)
            fastinit.normal(out, seed=7, threads=threads)
            print(zlib.adler32(out))
"""
    want = [zlib.adler32(fastinit.normal(np.zeros(n, np.float32), seed=7).tobytes()) for n in (2**24 + 3, 2**24)]
    got = in_new_process(code, FASTINIT_HUGE_PAGES=setting)
    assert got == [str(want[0])] * 6 + [str(want[1])] * 6


# --- a lot of it ------------------------------------------------------------------------------------------------------


def differs_from_its_boxes(out: Array, places: list[int]) -> list[int]:
    """The places where 1000 elements of a filled vector are not what a fill of these alone gives."""
    wrong = []
    for place in places:
        piece = np.zeros(1000, out.dtype)
        fastinit.normal(piece, seed=5, stream="large", global_shape=out.shape, offset=(place,))
        if out[place : place + 1000].tobytes() != piece.tobytes():
            wrong.append(place)
    return wrong


@pytest.mark.large
def test_more_than_2_32_elements() -> None:
    """8 GiB. Forwards, backwards, and as the columns of a matrix."""
    n = 2**32 + 2**16
    places = [0, 2**31 - 500, 2**32 - 500, 2**32 + 77, n - 1000]
    memory = fastinit.empty(n, ml_dtypes.bfloat16)
    assert differs_from_its_boxes(fastinit.normal(memory, seed=5, stream="large"), places) == []
    backwards = memory[::-1]
    assert differs_from_its_boxes(fastinit.normal(backwards, seed=5, stream="large"), places) == []
    matrix = memory.reshape(2**16, 2**16 + 1).T
    fastinit.normal(matrix, seed=5, stream="large")
    for row in (0, 2**15, 2**16):
        one = np.zeros((1, 2**16), memory.dtype)
        fastinit.normal(one, seed=5, stream="large", global_shape=matrix.shape, offset=(row, 0))
        assert matrix[row].tobytes() == one.tobytes()


def fill_and_read_back(file: pathlib.Path, n: int) -> None:
    """Every byte of a file is written through a mapping, flushed, and read again from the file."""
    mapped = np.memmap(file, np.float32, "w+", shape=(n,))
    fastinit.normal(mapped, seed=5, stream="large")
    mapped.flush()
    del mapped
    step = 2**22
    for place in range(0, n, step):
        expected = np.zeros(step, np.float32)
        fastinit.normal(expected, seed=5, stream="large", global_shape=(n,), offset=(place,))
        got = np.fromfile(file, np.float32, step, offset=4 * place)
        assert got.tobytes() == expected.tobytes(), place


@pytest.mark.large
def test_a_large_memmap(tmp_path: pathlib.Path) -> None:
    """4 GiB."""
    fill_and_read_back(tmp_path / "w.bin", 2**30)


def fill_in_a_group(procs: pathlib.Path, file: pathlib.Path, n: int) -> None:
    procs.write_text("0")
    fill_and_read_back(file, n)


@not_sanitized
def test_a_memmap_larger_than_the_page_cache_may_be(tmp_path: pathlib.Path) -> None:
    """512 MiB of a file by a process that may have 256 MiB of memory, page cache included."""
    if b"tmpfs" in subprocess.run(["stat", "-f", tmp_path], capture_output=True, check=False).stdout:
        pytest.skip("files of a tmpfs are memory")
    limit = str(2**28)
    with control_group(("memory.limit_in_bytes", limit), ("memory.max", limit)) as procs:
        assert survives(fill_in_a_group, procs, tmp_path / "w.bin", 2**27)


@pytest.mark.parametrize("n", [2**48, sys.maxsize // 8])
def test_memory_that_nobody_has(n: int) -> None:
    with pytest.raises(MemoryError, match=str(8 * n)):
        fastinit.empty(n, np.float64)
    with pytest.raises(MemoryError):
        fastinit.empty((math.isqrt(n), math.isqrt(n)), np.float64)
