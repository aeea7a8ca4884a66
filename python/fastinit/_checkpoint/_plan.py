"""Which tensor goes to which file, where in it, and what each file says of itself."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import _core
from .._arguments import few, shown
from ._laws import Law, Wanted, as_recipe, check
from ._safetensors import BITS, Tensor, made, n_bytes
from ._values import Values

__all__ = ["SHARD_BYTES", "Plan", "Shard", "bytes_of", "described", "plan"]

SHARD_BYTES = 5 * 10**9  # as the Hub has them
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def bytes_of(text: str) -> int:
    """``5GB``, ``512MiB`` or a number of bytes."""
    found = re.fullmatch(r"(\d{1,15})\s*(?:([KMGT]?)B?|([KMGT])iB)", text.strip(), re.IGNORECASE)
    size = int(found[1]) * (_BINARY[found[3].upper()] if found[3] else _UNITS[found[2].upper()]) if found else 0
    if size < 1:
        raise ValueError(f"a size must be such as 5GB, 512MiB or 1000000, got {shown(text)}")
    return size


class Shard(NamedTuple):
    """A file that is to be written."""

    name: str
    tensors: tuple[Tensor, ...]
    header: bytes

    @property
    def n_bytes(self) -> int:
        """How long it will be."""
        return len(self.header) + (self.tensors[-1].stop if self.tensors else 0)


class Plan(NamedTuple):
    """A checkpoint that is to be written: files by name in one folder, of which the others are texts."""

    shards: tuple[Shard, ...]
    texts: dict[str, str]  # by name; written before the shards ...
    last: dict[str, str]  # ... and after them: the index
    values: Values


def described(values: Values) -> str:
    """What a file says of its values: what ``verify`` needs to make them again."""
    found: dict[str, Any] = {
        "checkpoint": 1,
        "seed": values.seed,
        "stream_format": _core.stream_format,
        "bit_generator": values.bit_generator,
        "recipe": as_recipe(values.laws),
    }
    return json.dumps(found, ensure_ascii=False)


def plan(
    tensors: Sequence[Wanted],
    values: Values,
    *,
    shard_bytes: int = SHARD_BYTES,
    single: str | None = None,
    texts: dict[str, str] | None = None,
) -> Plan:
    """Files for these tensors, in their order. ``single`` is the name of the one file that has them all."""
    if sys.byteorder != "little":
        raise ValueError("safetensors are little-endian, and this machine is not")
    if not tensors:
        raise ValueError("a checkpoint must have a tensor at least, got none")
    names = [tensor.name for tensor in tensors]
    if len(set(names)) < len(names) or "__metadata__" in names:
        twice = sorted({name for name in names if names.count(name) > 1 or name == "__metadata__"})
        raise ValueError(f"names must differ, and not be __metadata__: got {few(list(map(shown, twice)))}")
    laws: dict[str, Law] = dict(values.laws)
    check(laws, tensors)
    groups = [list(tensors)] if single is not None else _split(tensors, shard_bytes)
    metadata = {"format": "pt", "fastinit": described(values)}
    shards = []
    for i, group in enumerate(groups, 1):
        if single is not None:
            name = single
        else:
            name = f"model-{i:05}-of-{len(groups):05}.safetensors" if len(groups) > 1 else "model.safetensors"
        placed = _placed(group)
        shards.append(Shard(name, placed, made(placed, metadata)))
    last = {}
    if len(shards) > 1:
        found = {
            "metadata": {"total_size": sum(n_bytes(*tensor) for tensor in tensors)},
            "weight_map": {tensor.name: shard.name for shard in shards for tensor in shard.tensors},
        }
        last["model.safetensors.index.json"] = json.dumps(found, indent=2, sort_keys=True) + "\n"
    return Plan(tuple(shards), texts or {}, last, values)


def _split(tensors: Sequence[Wanted], most: int) -> list[list[Wanted]]:
    """In order, a new file whenever the next tensor would make one too large; as ``save_pretrained`` does."""
    groups: list[list[Wanted]] = [[]]
    size = 0
    for tensor in tensors:
        n = n_bytes(*tensor)
        if groups[-1] and size + n > most:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += n
    return groups


def _placed(tensors: Sequence[Wanted]) -> tuple[Tensor, ...]:
    """One after the other: wide elements first, so that each lies at a multiple of its size."""
    placed = []
    end = 0
    for name, dtype, shape in sorted(tensors, key=lambda tensor: -BITS[tensor.dtype]):
        start, end = end, end + n_bytes(name, dtype, shape)
        placed.append(Tensor(name, dtype, shape, start, end))
    return tuple(placed)


def folder_of(out: str) -> tuple[str, str | None]:
    """The folder that is written to, and the name of the only file if ``out`` says one."""
    if out.endswith(".safetensors") and not os.path.isdir(out):
        return os.path.dirname(out) or ".", os.path.basename(out)
    return out, None
