"""The header of a safetensors file: read as what a stranger may have written, and made.

The format: 8 bytes little-endian, the length of the JSON that follows; the JSON; the tensors' data, without holes.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .._arguments import element_type, shown

__all__ = [
    "BITS",
    "FLOATS",
    "INTEGERS",
    "NAMES",
    "File",
    "Tensor",
    "dtype_of",
    "made",
    "n_bytes",
    "opened",
    "parsed",
    "read",
]

# Bits of an element. All of the format's types are read; not all of them can be made.
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
FLOATS = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"},
    **{"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"},
}
INTEGERS = {
    **{f"{letter}{n}": f"{word}{n}" for n in (64, 32, 16, 8) for letter, word in (("I", "int"), ("U", "uint"))},
    "BOOL": "bool",
}
# What NumPy, PyTorch and people call them, too.
NAMES = {word: name for name, word in {**FLOATS, **INTEGERS}.items()}

_LONGEST = 100_000_000  # bytes of JSON that the format allows
_PAGE = 4096  # the data begins at a multiple of it
_MOST = 2**63 - 1  # bytes of a file


class Tensor(NamedTuple):
    """A tensor of a file. ``start`` and ``stop`` are bytes, counted from where the data begins."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class File(NamedTuple):
    """What the header of a file says: the tensors in the order of their data, and texts by name."""

    path: str
    tensors: tuple[Tensor, ...]
    metadata: dict[str, str]
    begin: int  # where the data begins


def dtype_of(name: str) -> np.dtype[Any]:
    """NumPy's type for the floats, integers and bools of the format."""
    return element_type(FLOATS[name]) if name in FLOATS else np.dtype(INTEGERS[name])


def n_bytes(name: str, dtype: str, shape: Sequence[int]) -> int:
    """How long a tensor is. Names and shapes that no file can have are refused."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"the name {shown(name)} cannot be encoded in UTF-8") from None
    bits = BITS[dtype]
    for n in shape:  # from left to right, and before a 0 comes, as other readers multiply
        bits *= n
        if max(bits // 8, n) > _MOST:  # before the numbers become long
            raise ValueError(f"tensor {shown(name)}: {dtype} of shape {shown(list(shape))} is longer than any file")
    if bits % 8:
        raise ValueError(f"tensor {shown(name)}: {dtype} of shape {shown(list(shape))} is not a whole number of bytes")
    return bits // 8


# --- reading --------------------------------------------------------------------------------------------------------


def parsed(text: bytes, what: str) -> dict[str, Any]:
    """A JSON object in UTF-8, with each name once."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name in found:
                raise ValueError(f"it has the name {shown(name)} twice")
            found[name] = value
        return found

    try:
        found = json.loads(text.decode("utf-8"), object_pairs_hook=once)
    except RecursionError:
        raise ValueError(f"{what} is not JSON that can be read: it is nested too deeply") from None
    except ValueError as error:  # of UTF-8, of JSON, of a number with too many digits, and that above
        raise ValueError(f"{what} is not JSON that can be read: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{what} must be a JSON object, got {shown(found)}")
    return found


def opened(path: str) -> BinaryIO:
    """A file to read. What is none, such as a pipe, which may never end, is refused."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path} must be a file")
    return open(descriptor, "rb")


def read(path: str | os.PathLike[str], *, whole: bool = True) -> File:
    """The header of a file. With ``whole=False`` the data may be missing, as where only the header was fetched."""
    path = os.fspath(path)
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(
                f"{path} is no safetensors file, or is cut off: its header needs {8 + length} bytes, of {size}"
            )
        if length > _LONGEST:
            raise ValueError(f"{path}: the header must have at most {_LONGEST} bytes, got {length}")
        text = file.read(length)
    if text[:1] != b"{":
        raise ValueError(f"{path} is no safetensors file: its header must begin with '{{', got {shown(text[:8])}")
    try:
        tensors, metadata = _entries(parsed(text, "the header"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    end = tensors[-1].stop if tensors else 0
    if (whole and end != size - 8 - length) or (not whole and end < size - 8 - length):
        raise ValueError(f"{path}: the header says that {end} bytes follow it, and {size - 8 - length} do")
    return File(path, tensors, metadata, 8 + length)


def _entries(header: dict[str, Any]) -> tuple[tuple[Tensor, ...], dict[str, str]]:
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"__metadata__ must be an object of strings, got {shown(metadata)}")
    tensors = sorted((_entry(name, entry) for name, entry in header.items()), key=lambda tensor: tensor[3:])
    end = 0
    for tensor in tensors:
        if tensor.start != end:
            raise ValueError(
                f"tensor {shown(tensor.name)} must begin at byte {end} of the data, where the one before it ends, got "
                f"{tensor.start}"
            )
        end = tensor.stop
    return tuple(tensors), metadata


def _entry(name: str, entry: object) -> Tensor:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"tensor {shown(name)} must have dtype, shape and data_offsets, got {shown(entry)}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ValueError(f"tensor {shown(name)}: dtype must be one of {', '.join(BITS)}, got {shown(dtype)}")
    if not _are_counts(shape):
        raise ValueError(f"tensor {shown(name)}: shape must be a list of ints >= 0, got {shown(shape)}")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {shown(name)}: data_offsets must be two ints >= 0, got {shown(offsets)}")
    start, stop = offsets
    if stop - start != n_bytes(name, dtype, shape):
        raise ValueError(
            f"tensor {shown(name)}: {dtype} of shape {shown(shape)} has {n_bytes(name, dtype, shape)} bytes, but "
            f"data_offsets are {shown(offsets)}"
        )
    return Tensor(name, dtype, tuple(shape), start, stop)


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


# --- making ---------------------------------------------------------------------------------------------------------


def made(tensors: Sequence[Tensor], metadata: Mapping[str, str]) -> bytes:
    """The header of such a file, with spaces at the end up to a page."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    for name, dtype, shape, *offsets in tensors:
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-(8 + len(text)) % _PAGE)
    if len(text) > _LONGEST:
        raise ValueError(f"the header of a file may have {_LONGEST} bytes, and this one has {len(text)}")
    return len(text).to_bytes(8, "little") + text
