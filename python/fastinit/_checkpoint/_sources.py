"""Where names, shapes and dtypes come from: other checkpoints' headers, and files of JSON."""

from __future__ import annotations

from collections.abc import Sequence

from .._arguments import shown
from ._laws import Wanted
from ._read import read_checkpoint
from ._safetensors import BITS, FLOATS, INTEGERS, NAMES, n_bytes, opened, parsed

__all__ = ["as_dtype", "like", "of_dtype", "shapes"]


def as_dtype(word: object) -> str:
    """The format's name of a dtype."""
    found = NAMES.get(word, word) if isinstance(word, str) else None
    if found not in BITS:
        names = (*FLOATS.values(), *INTEGERS.values())
        raise ValueError(f"dtype must be one of {', '.join(names)}, or {', '.join(BITS)}; got {shown(word)}")
    return found


def like(path: str) -> list[Wanted]:
    """The tensors of a checkpoint, of which only the headers are read."""
    found = read_checkpoint(path, whole=False)
    return [Wanted(tensor.name, tensor.dtype, tensor.shape) for _, tensor in found.tensors.values()]


def shapes(path: str) -> list[Wanted]:
    """A JSON object: name to shape, or to {"shape": ..., "dtype": ...}."""
    with opened(path) as file:
        found = parsed(file.read(), path)
    tensors = []
    for name, entry in found.items():
        shape, dtype = entry, "float32"
        if isinstance(entry, dict) and "shape" in entry and set(entry) <= {"shape", "dtype"}:
            shape, dtype = entry["shape"], entry.get("dtype", dtype)
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(
                f'{path}: a tensor must have a shape, such as [3, 4] or {{"shape": [3, 4], "dtype": "bfloat16"}}, got '
                f"{shown(entry)} for {shown(name)}"
            )
        tensors.append(Wanted(name, as_dtype(dtype), tuple(shape)))
        n_bytes(*tensors[-1])
    return tensors


def of_dtype(tensors: Sequence[Wanted], dtype: str) -> list[Wanted]:
    """The same tensors, all floats of one dtype."""
    return [tensor._replace(dtype=dtype) if tensor.dtype.startswith(("F", "BF")) else tensor for tensor in tensors]
