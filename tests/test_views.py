"""Promise: `out` may be any object with memory of the CPU: an array, a tensor that speaks DLPack, a writable buffer. It
is filled as an array is, in place, and returned; or refused with an error that says why, and then nothing has changed.
"""

from __future__ import annotations

import array
import ctypes
import gc
import importlib.util
import mmap
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import fastinit
from conftest import DTYPES, call

Array = npt.NDArray[Any]

# --- a producer of DLPack capsules, by the published specification ---------------------------------------------------

CPU, CUDA, PINNED, PINNED_ROCM = 1, 2, 3, 11
INT, UINT, FLOAT, BFLOAT, COMPLEX = 0, 1, 2, 4, 5
READ_ONLY, COPIED = 1, 2
SMALL_FLOATS = {  # of DLPack 1.1
    **{"float8_e3m4": 7, "float8_e4m3": 8, "float8_e4m3b11fnuz": 9, "float8_e4m3fn": 10, "float8_e4m3fnuz": 11},
    **{"float8_e5m2": 12, "float8_e5m2fnuz": 13, "float8_e8m0fnu": 14},
    **{"float6_e2m3fn": 15, "float6_e3m2fn": 16, "float4_e2m1fn": 17},
}
CODES = {"f": FLOAT, "u": UINT, "i": INT, "c": COMPLEX, "V": BFLOAT}


class DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    _fields_ = (("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", DELETER))


class Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", DELETER),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    )


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.restype = ctypes.c_void_p
pointer_of.argtypes = (ctypes.py_object, ctypes.c_char_p)


class Tensor:
    """An array that is seen through DLPack alone. Arguments change what it says of itself."""

    def __init__(
        self,
        memory: Array,
        versioned: bool = True,
        device: tuple[int, int] = (CPU, 0),
        capsule_device: tuple[int, int] | None = None,
        flags: int = 0,
        major: int = 1,
        strides: bool = True,
        byte_offset: int = 0,
        null: bool = False,
        lanes: int = 1,
        deletes: bool = True,
    ) -> None:
        self.memory, self.versioned, self.device, self.deleted = memory, versioned, device, 0
        self.asked: dict[str, Any] = {}
        itemsize = memory.itemsize
        assert all(stride % itemsize == 0 for stride in memory.strides)
        extents = ctypes.c_int64 * max(memory.ndim, 1)
        self.shape = extents(*memory.shape)
        self.strides = extents(*(stride // itemsize for stride in memory.strides))
        address = memory.__array_interface__["data"][0] - byte_offset
        self.managed: Any = Versioned() if versioned else Managed()
        if versioned:
            self.managed.major, self.managed.flags = major, flags
        self.deleter = DELETER(self.delete) if deletes else DELETER()
        self.managed.deleter = self.deleter
        self.managed.tensor = DLTensor(
            None if null else address,
            *(capsule_device or device),
            memory.ndim,
            SMALL_FLOATS.get(memory.dtype.name) or CODES[memory.dtype.kind],
            8 * itemsize // lanes,
            lanes,
            self.shape,
            self.strides if strides else None,
            byte_offset,
        )

    def delete(self, _: int) -> None:
        self.deleted += 1

    def __dlpack_device__(self) -> Any:
        return self.device

    def __dlpack__(self, **arguments: Any) -> Any:
        self.asked = arguments
        self.name = b"dltensor_versioned" if self.versioned else b"dltensor"
        return new_capsule(ctypes.addressof(self.managed), self.name, None)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("__array__ may copy: nobody asks for it")


class OldTensor(Tensor):
    """Of before version 1.0: __dlpack__ takes no more than a stream."""

    def __init__(self, memory: Array, **arguments: Any) -> None:
        super().__init__(memory, versioned=False, **arguments)

    def __dlpack__(self, stream: Any = None) -> Any:  # type: ignore[override]
        return super().__dlpack__()


def expected(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    return fastinit.normal(np.zeros(shape, dtype), seed=4, stream="view")


def fill(out: Any) -> None:
    assert fastinit.normal(out, seed=4, stream="view") is out


def buffer(array: Any) -> memoryview:
    return memoryview(array)


LAYOUTS: dict[str, Callable[[Any], Array]] = {
    "C": lambda dtype: np.zeros((40, 7), dtype),
    "Fortran": lambda dtype: np.zeros((7, 40), dtype).T,
    "every second column": lambda dtype: np.zeros((40, 14), dtype)[:, ::2],
    "backwards": lambda dtype: np.zeros((40, 7), dtype)[::-1, ::-1],
    "three dimensions": lambda dtype: np.zeros((5, 9, 8), dtype).transpose(2, 0, 1)[1:, :, ::3],
    "at an odd address": lambda dtype: np.zeros(280 * dtype.itemsize + 1, np.uint8)[1:].view(dtype).reshape(40, 7),
    "0-d": lambda dtype: np.zeros((), dtype),
    "empty": lambda dtype: np.zeros((3, 0), dtype),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [Tensor, OldTensor])
def test_tensors(kind: type[Tensor], layout: str, dtype: np.dtype[Any]) -> None:
    memory = LAYOUTS[layout](dtype)
    tensor = kind(memory)
    fill(tensor)
    assert memory.tobytes() == expected(memory.shape, dtype).tobytes()
    assert tensor.deleted == 1
    assert tensor.asked == ({"max_version": (1, 0), "copy": False} if kind is Tensor else {})


@pytest.mark.parametrize("kind", [Tensor, OldTensor])
@pytest.mark.parametrize("offset", [0, 4, 100])
def test_tensors_without_strides_at_an_offset(kind: type[Tensor], offset: int) -> None:
    memory = np.zeros((4, 3, 5), np.float32)
    fill(kind(memory, strides=False, byte_offset=offset))
    assert np.array_equal(memory, expected(memory.shape))


class Passes:
    """An array or tensor of a library, seen through that library's own capsules of one kind alone."""

    def __init__(self, owner: Any, versioned: bool) -> None:
        self.owner, self.versioned = owner, versioned

    def __dlpack_device__(self) -> Any:
        return self.owner.__dlpack_device__()

    def __dlpack__(self, **arguments: Any) -> Any:
        return self.owner.__dlpack__(**(arguments if self.versioned else {}))


@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_capsules_of_others_have_these_fields(library: str, versioned: bool) -> None:
    """The structures above are a copy of DLPack's, and so are those of views.cpp: here is what others put there."""
    if versioned and library == "numpy" and np.lib.NumpyVersion(np.__version__) < "2.1.0":
        pytest.skip("this NumPy has capsules of the older kind alone")
    whole = np.zeros((6, 8), np.float64)
    owner: Any = whole if library == "numpy" else pytest.importorskip("torch").from_numpy(whole)
    part = owner[1:, 2::3]
    capsule = Passes(part, versioned).__dlpack__(max_version=(1, 0))
    address = pointer_of(capsule, b"dltensor_versioned" if versioned else b"dltensor")
    assert address is not None
    managed = (Versioned if versioned else Managed).from_address(address)
    if versioned:
        assert (managed.major, managed.flags) == (1, 0)
    tensor = managed.tensor
    assert tensor.data + tensor.byte_offset == whole[1:, 2::3].ctypes.data
    assert (tensor.device_type, tensor.device_id, tensor.ndim) == (CPU, 0, 2)
    assert (tensor.code, tensor.bits, tensor.lanes) == (FLOAT, 64, 1)
    assert (tensor.shape[:2], tensor.strides[:2]) == ([5, 2], [8, 3])
    assert managed.deleter
    fill(Passes(part, versioned))
    assert np.array_equal(whole[1:, 2::3], expected((5, 2), np.float64))
    assert np.count_nonzero(whole) == 10


@pytest.mark.parametrize("device", [PINNED, PINNED_ROCM])
def test_pinned_memory_is_memory(device: int) -> None:
    memory = np.zeros(9, np.float32)
    fill(Tensor(memory, device=(device, 1)))
    assert np.array_equal(memory, expected((9,)))


def test_a_tensor_without_a_deleter() -> None:
    memory = np.zeros(9, np.float32)
    fill(Tensor(memory, deletes=False))
    assert np.array_equal(memory, expected((9,)))


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_types_of_ml_dtypes_need_no_ml_dtypes(monkeypatch: pytest.MonkeyPatch, dtype: Any) -> None:
    memory = np.zeros((6, 7), dtype)
    tensor = Tensor(memory)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    fill(tensor)
    assert memory.any()


@pytest.mark.parametrize("kind", [Tensor, OldTensor])
@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_words(kind: type[Tensor], dtype: Any) -> None:
    memory = np.zeros((6, 7), dtype)
    tensor = kind(memory)
    assert fastinit.random_bits(tensor, seed=4) is tensor
    assert np.array_equal(memory, fastinit.random_bits(np.zeros((6, 7), dtype), seed=4))


@pytest.mark.parametrize("kind", [Tensor, OldTensor])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_integers(kind: type[Tensor], dtype: Any) -> None:
    memory = np.zeros((6, 7), dtype)
    tensor = kind(memory.T)
    assert fastinit.integers(tensor, 3, 120, seed=4) is tensor
    assert np.array_equal(memory.T, fastinit.integers(np.zeros((7, 6), dtype), 3, 120, seed=4))
    for wrong in (np.int64, np.float32, np.uint64):
        with pytest.raises(TypeError, match=f"out must have dtype int8, uint8, int16.*got {np.dtype(wrong).name}"):
            fastinit.integers(kind(np.zeros(3, wrong)), 0, 2)


class AnInteger:
    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def test_devices_may_be_anything_that_is_an_integer() -> None:
    memory = np.zeros(9, np.float32)
    fill(Tensor(memory, device=(AnInteger(CPU), AnInteger(0)), capsule_device=(CPU, 0)))  # type: ignore[arg-type]
    assert memory.any()


# --- refused tensors ------------------------------------------------------------------------------------------------


class Raises(Tensor):
    """A tensor whose producer refuses."""

    def __init__(self, error: BaseException, device_too: bool = False) -> None:
        super().__init__(np.zeros(3, np.float32))
        self.error, self.device_too = error, device_too

    def __dlpack_device__(self) -> Any:
        if self.device_too:
            raise self.error
        return super().__dlpack_device__()

    def __dlpack__(self, **_: Any) -> Any:
        raise self.error


def refused(out: Any, error: type[Exception], *words: str) -> None:
    fastinit.manual_seed(3)
    with pytest.raises(error) as caught:
        fastinit.normal(out)
    assert type(caught.value) is error
    for word in ("out", *words):
        assert word in str(caught.value)
    assert np.array_equal(fastinit.normal(np.zeros(3)), fastinit.normal(np.zeros(3), seed=3, stream=0))


REFUSED: list[tuple[dict[str, Any], type[Exception], list[str]]] = [
    ({"device": (CUDA, 3)}, ValueError, ["memory of the CPU", "Tensor on cuda:3"]),
    ({"device": (8, 0)}, ValueError, ["metal:0"]),
    ({"device": (4711, 0)}, ValueError, ["4711"]),
    ({"device": (-1, 0)}, ValueError, ["-1"]),
    ({"device": (5, 0)}, ValueError, ["type 5"]),  # a number that the specification leaves out
    ({"device": (CPU, 0), "capsule_device": (CUDA, 1)}, ValueError, ["cuda:1"]),
    ({"device": "cpu"}, TypeError, ["__dlpack_device__", "'cpu'"]),
    ({"device": None}, TypeError, ["__dlpack_device__", "None"]),
    ({"flags": READ_ONLY}, ValueError, ["read-only"]),
    ({"flags": COPIED}, ValueError, ["copy"]),
    ({"major": 2}, ValueError, ["version 2"]),
    ({"null": True}, ValueError, ["null pointer"]),
    ({"lanes": 2}, TypeError, ["float16 in vectors of 2"]),
]


@pytest.mark.parametrize(("says", "error", "words"), REFUSED, ids=lambda value: str(value)[:40])
def test_refused_tensors(says: dict[str, Any], error: type[Exception], words: list[str]) -> None:
    memory = np.full(9, 7, np.float32)
    tensor = Tensor(memory, **{"capsule_device": (CPU, 0), **says})
    refused(tensor, error, *words)
    assert (memory == 7).all()
    assert tensor.deleted == bool(tensor.asked)  # a capsule that was taken is deleted also when it is refused


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.complex64, np.int64, np.uint32])
def test_refused_types(dtype: Any) -> None:
    memory = np.full(9, 7, dtype)
    refused(Tensor(memory), TypeError, "float32", "bfloat16", np.dtype(dtype).name)
    assert (memory == 7).all()
    with pytest.raises(TypeError, match=r"^out must have dtype uint32 or uint64.*got float32$"):
        fastinit.random_bits(Tensor(np.zeros(3, np.float32)))


@pytest.mark.parametrize("name", sorted({*SMALL_FLOATS} & {*dir(ml_dtypes)} - {"float8_e4m3fn", "float8_e5m2"}))
def test_other_small_floats_are_refused_by_name(name: str) -> None:
    for tensor in (np.zeros(3, getattr(ml_dtypes, name)), Tensor(np.zeros(3, getattr(ml_dtypes, name)))):
        with pytest.raises(TypeError, match=rf"^out must have dtype .*float8_e5m2, got {name}$"):
            fill(tensor)


def test_refused_overlaps() -> None:
    refused(Tensor(np.lib.stride_tricks.as_strided(np.zeros(4, np.float32), (3, 4), (0, 4))), ValueError, "overlap")


@pytest.mark.parametrize("device_too", [False, True])
@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (BufferError("tensors that require grad\nare long"), ValueError),
        (RuntimeError("no \ud800 storage"), ValueError),
        (TypeError("no tensor"), TypeError),
        (UserWarning("deprecated"), ValueError),
    ],
    ids=str,
)
def test_a_producer_that_refuses(error: Exception, becomes: type[Exception], device_too: bool) -> None:
    first_line = str(error).split("\n")[0].replace("\ud800", "\\ud800")
    refused(Raises(error, device_too), becomes, "__dlpack", f"{type(error).__name__}: {first_line}")
    with pytest.raises(becomes) as caught:
        fastinit.normal(Raises(error, device_too))
    assert caught.value.__cause__ is error
    assert "are long" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, SystemExit])
def test_errors_that_are_nobodys_refusal_pass(error: type[BaseException]) -> None:
    with pytest.raises(error):
        fastinit.normal(Raises(error()))


def test_an_error_without_text() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise ValueError

    refused(Raises(Silent()), ValueError, "Silent")


def test_a_capsule_that_is_none() -> None:
    class NoCapsule(Tensor):
        def __dlpack__(self, **_: Any) -> Any:
            return 3

    class UsedCapsule(Tensor):
        def __dlpack__(self, **_: Any) -> Any:
            return new_capsule(ctypes.addressof(self.managed), b"used_dltensor", None)

    refused(NoCapsule(np.zeros(3, np.float32)), TypeError, "capsule", "3")
    refused(UsedCapsule(np.zeros(3, np.float32)), TypeError, "capsule")


def test_a_tensor_of_too_many_dimensions() -> None:
    tensor = Tensor(np.zeros(65, np.float32))
    ones = (ctypes.c_int64 * 65)(*[1] * 65)
    tensor.managed.tensor.shape = tensor.managed.tensor.strides = ones
    for n in (65, 2**31 - 1, -1):
        tensor.managed.tensor.ndim = n
        refused(tensor, ValueError, "64 dimensions", str(n))


@pytest.mark.parametrize("strides", [True, False])
@pytest.mark.parametrize("shape", [(-3,), (-1, -1), (0, -3), (2**62, 2), (2**22, 2**22, 2**22), (2**62, 2**62, 2**62)])
def test_a_shape_that_nothing_has(shape: tuple[int, ...], strides: bool) -> None:
    """Its number of elements, modulo 2^64, may look harmless."""
    tensor = Tensor(np.zeros((1,) * len(shape), np.float32), strides=strides)
    tensor.shape[:] = list(shape)
    with pytest.raises(ValueError, match=rf"^out must have a shape .*, got {re.escape(str(shape))}$"):
        fastinit.summary(tensor)
    assert tensor.deleted == 1


@pytest.mark.parametrize("module", ["jaxlib._jax", "jax", "tensorflow.python.framework.ops"])
def test_old_capsules_of_immutable_arrays(module: str) -> None:
    """They cannot say that they are read-only, and are written by whoever does not know."""
    immutable = type("EagerTensor", (OldTensor,), {"__module__": module})
    memory = np.full(9, 7, np.float32)
    refused(immutable(memory), ValueError, "read-only", "EagerTensor")
    assert (memory == 7).all()
    for harmless in ("jaxtyping", None):
        fill(type("Mutable", (OldTensor,), {"__module__": harmless})(memory))
    assert np.array_equal(memory, expected((9,)))


def test_what_is_no_memory() -> None:
    class OnlyAnArray:
        def __array__(self, *_: Any, **__: Any) -> Any:
            raise AssertionError

    class HalfATensor:
        def __dlpack__(self, **_: Any) -> Any:
            raise AssertionError

    for out in (OnlyAnArray(), HalfATensor(), [1.0], None, 3, "f", Tensor):
        refused(out, TypeError)


# --- buffers --------------------------------------------------------------------------------------------------------

BUFFERS: dict[str, tuple[Any, Any]] = {
    "array of f": (lambda: array.array("f", [0] * 24), np.float32),
    "array of d": (lambda: array.array("d", [0] * 24), np.float64),
    "bytearray": (lambda: memoryview(bytearray(96)).cast("f"), np.float32),
    "bytearray, two dimensions": (lambda: memoryview(bytearray(96)).cast("f", (4, 6)), np.float32),
    "anonymous memory": (lambda: memoryview(mmap.mmap(-1, 192)).cast("d"), np.float64),
    "of ctypes, little or big": (lambda: (ctypes.c_float * 24)(), np.float32),
    "of ctypes, two dimensions": (lambda: ((ctypes.c_double * 6) * 4)(), np.float64),
    "half": (lambda: buffer(np.zeros((4, 6), np.float16)), np.float16),
    "strides": (lambda: buffer(np.zeros((8, 18), np.float32)[::-2, ::3]), np.float32),
    "0-d": (lambda: buffer(np.zeros((), np.float32)), np.float32),
}


@pytest.mark.parametrize("name", BUFFERS)
def test_buffers(name: str) -> None:
    make, dtype = BUFFERS[name]
    out = make()
    fill(out)
    assert np.array_equal(np.asarray(out), expected(np.asarray(out).shape, dtype))


@pytest.mark.parametrize(
    ("code", "dtype"), [("I", np.uint32), ("L", f"u{array.array('L').itemsize}"), ("Q", np.uint64)]
)
def test_buffers_of_words(code: str, dtype: Any) -> None:
    out = array.array(code, [0] * 10)
    assert fastinit.random_bits(out, seed=4) is out
    assert np.array_equal(np.asarray(out), fastinit.random_bits(np.zeros(10, dtype), seed=4))


@pytest.mark.parametrize("code", "bBhHiI")
def test_buffers_of_integers(code: str) -> None:
    out = array.array(code, [0] * 10)
    assert fastinit.integers(out, 3, 120, seed=4) is out
    assert out.tolist() == fastinit.integers(np.zeros(10, np.int8), 3, 120, seed=4).tolist()


def test_a_buffer_is_given_back() -> None:
    out = bytearray(96)
    fill(memoryview(out).cast("f"))
    gc.collect()
    out.extend(b"more")  # not while somebody holds it
    with pytest.raises(TypeError, match="format 'B'"):
        fastinit.normal(out)
    out.extend(b"more")


foreign = ctypes.c_float.__ctype_be__ if sys.byteorder == "little" else ctypes.c_float.__ctype_le__
NO_BUFFER: list[tuple[Any, type[Exception], list[str]]] = [
    (bytes(12), ValueError, ["read-only"]),
    (memoryview(bytes(12)).cast("f"), ValueError, ["read-only"]),
    (np.float32(3), ValueError, ["read-only"]),
    (bytearray(12), TypeError, ["float32", "'B'"]),
    (array.array("i", [0] * 3), TypeError, ["'i'"]),
    (buffer(np.zeros(3, np.complex64)), TypeError, ["'Zf'"]),
    (buffer(np.zeros(3, np.longdouble)), TypeError, ["'g'"]),
    (buffer(np.zeros(3, "f4,i4")), TypeError, ["format"]),
    ((foreign * 3)(), TypeError, ["byte order", "f'"]),
]


@pytest.mark.parametrize(("out", "error", "words"), NO_BUFFER, ids=lambda value: str(value)[:30])
def test_refused_buffers(out: Any, error: type[Exception], words: list[str]) -> None:
    before = bytes(out)
    refused(out, error, *words)
    assert bytes(out) == before


def test_a_released_buffer() -> None:
    out = memoryview(bytearray(12)).cast("f")
    out.release()
    refused(out, ValueError, "released")


# --- what is common -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda a: a, Tensor, OldTensor, buffer], ids=["array", "tensor", "old", "buffer"])
def test_every_function_takes_every_kind(make: Any) -> None:
    for name in ("xavier_uniform", "he_normal", "lecun_uniform", "variance_scaling", "uniform", "normal",
                 "truncated_normal", "constant", "zeros", "ones", "random_bits", "integers", "identity", "orthogonal",
                 "sparse"):  # fmt: skip
        dtype = np.uint32 if name in ("random_bits", "integers") else np.float32
        memory = np.full((30, 50), 7, dtype)
        out = make(memory)
        key: dict[str, Any] = {"seed": 1, "stream": 2, "global_shape": (60, 80), "offset": (7, 9)}
        assert call(name, out, **key) is out
        assert np.array_equal(memory, call(name, np.zeros((30, 50), dtype), **key))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("make", [Tensor, OldTensor], ids=["tensor", "old"])
def test_structured_tensors_of_every_type(make: Any, dtype: np.dtype[Any]) -> None:
    for name, shape in (("identity", (5, 6)), ("orthogonal", (5, 6)), ("sparse", (5, 6)), ("dirac", (4, 5, 3))):
        memory = np.full(shape[::-1], 7, dtype).T
        assert call(name, out := make(memory), seed=1) is out
        assert memory.tobytes() == call(name, np.zeros(shape, dtype), seed=1).tobytes()


HOW = [{"layout": "torch"}, {"layout": "keras"}, {"in_axis": 0, "out_axis": (1, 2)}]


@pytest.mark.parametrize("how", HOW, ids=str)
@pytest.mark.parametrize("make", [Tensor, OldTensor, buffer], ids=["tensor", "old", "buffer"])
def test_fans_come_from_the_shape(make: Any, how: dict[str, Any]) -> None:
    memory = np.zeros((4, 5, 6), np.float32)
    fastinit.he_normal(make(memory), seed=1, **how)
    assert np.array_equal(memory, fastinit.he_normal(np.zeros((4, 5, 6), np.float32), seed=1, **how))
    box: dict[str, Any] = {"global_shape": (8, 9, 10), "offset": (1, 2, 3), "seed": 1}
    fastinit.he_normal(make(memory), **box, **how)
    assert np.array_equal(memory, fastinit.he_normal(np.zeros((4, 5, 6), np.float32), **box, **how))
    with pytest.raises(ValueError, match="each of the 3 dimensions"):
        fastinit.he_normal(make(memory), **{**box, "global_shape": (8, 9)}, **how)


def test_the_shape_is_asked_as_the_memory_is() -> None:
    for out, error, text in (
        ([1.0], TypeError, "got list"),
        (Raises(BufferError("requires grad")), ValueError, "requires grad"),
        (Tensor(np.zeros((2, 2), np.float32), device=(CUDA, 0)), ValueError, "cuda:0"),
        (Tensor(np.zeros((2, 2), np.int8)), TypeError, "int8"),
        (memoryview(bytes(16)).cast("f", (2, 2)), ValueError, "read-only"),
    ):
        with pytest.raises(error, match=f"^out.*{re.escape(text)}"):
            fastinit.he_normal(out, layout="torch")  # type: ignore[type-var]


def test_a_producer_whose_code_runs_meanwhile() -> None:
    """Arguments are converted before the memory is asked for: what they do to it is seen."""
    memory = np.zeros(8, np.float32)

    class Grows:
        def __index__(self) -> int:
            tensor.__init__(memory)  # type: ignore[misc]
            return 5

    tensor = Tensor(memory[:2])
    fastinit.normal(tensor, seed=Grows())  # type: ignore[arg-type]
    assert np.array_equal(memory, fastinit.normal(np.zeros(8, np.float32), seed=5))


def test_large_tensors_on_several_threads(many_threads: None) -> None:
    for make in (Tensor, OldTensor, buffer):
        memory = np.zeros((400, 300), np.float32)
        fastinit.normal(make(memory), seed=1, threads=3)
        assert np.array_equal(memory, fastinit.normal(np.zeros((400, 300), np.float32), seed=1))


def test_views_keep_no_references() -> None:
    memory = np.zeros(9, np.float32)
    tensors = [Tensor(memory), OldTensor(memory), buffer(memory), Tensor(memory, flags=READ_ONLY)]
    before = [sys.getrefcount(thing) for thing in (memory, *tensors)]
    for _ in range(10):
        for out in tensors[:3]:
            fastinit.normal(out)  # type: ignore[type-var]
        with pytest.raises(ValueError, match="read-only"):
            fastinit.normal(tensors[3])  # type: ignore[type-var]
        del out
    assert [sys.getrefcount(thing) for thing in (memory, *tensors)] == before


def test_real_producers() -> None:
    """Those that are installed; the tests of the adapters know more of them."""
    torch = pytest.importorskip("torch")
    for name, dtype in DTYPES.items():
        tensor = torch.zeros(7, 11, dtype=getattr(torch, name)).T[::2]
        fill(tensor)
        bits = tensor.contiguous().view(torch.uint8).numpy().tobytes()
        assert bits == expected((6, 7), dtype).tobytes()
    refused(torch.zeros(3, requires_grad=True), ValueError, "require gradient")
    refused(torch.zeros(3, device="meta"), ValueError, "meta")
    refused(torch.zeros(3, dtype=torch.int64), TypeError, "int64")
    refused(torch.zeros(1).expand(3), ValueError, "overlap")


JAX = """
import jax.numpy, ml_dtypes, numpy, fastinit
for dtype in (numpy.float32, numpy.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
    array = jax.numpy.full(9, 7, dtype)
    try:
        fastinit.normal(array)
    except ValueError as error:
        assert "out is read-only" in str(error) and "immutable" in str(error), error
    else:
        raise AssertionError("it was written")
    assert (numpy.asarray(array) == 7).all()
    assert fastinit.summary(array) == fastinit.summary(numpy.full(9, 7, dtype))
"""


def test_negated_views_of_torch() -> None:
    torch = pytest.importorskip("torch")
    whole = torch.zeros(4, dtype=torch.complex64)
    assert fastinit.ones(whole.imag) is not None
    assert whole.imag.tolist() == [1, 1, 1, 1]
    for function in (fastinit.zeros, fastinit.summary):
        with pytest.raises(ValueError, match="out must not be a negated view"):
            function(whole.conj().imag)
    assert whole.imag.tolist() == [1, 1, 1, 1]


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax")
def test_jax_arrays_stay_as_they_are_and_can_be_read() -> None:
    """In a process of its own: JAX warns of each later fork."""
    done = subprocess.run([sys.executable, "-c", JAX], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
