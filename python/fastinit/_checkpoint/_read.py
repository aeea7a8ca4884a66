"""Checkpoints that are there: a file, an index with its files, or a folder. What they say is not trusted."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._arguments import few, shown
from ._safetensors import File, Tensor, opened, parsed, read

__all__ = ["Checkpoint", "Reader", "read_checkpoint"]

_LONGEST = 100_000_000  # bytes of an index
_OF_SEVERAL = re.compile(r".*-of-0*(?!1\.)[1-9]\d*\.safetensors")  # one file of a checkpoint that has more


class Checkpoint(NamedTuple):
    """Files, and the file and the place of each tensor by name, in the order of an index, or of the data."""

    path: str
    files: tuple[File, ...]
    tensors: dict[str, tuple[File, Tensor]]

    @property
    def folder(self) -> str:
        """Where its files are."""
        return os.path.dirname(self.files[0].path) or "."

    @property
    def n_bytes(self) -> int:
        """Of the tensors."""
        return sum(tensor.stop - tensor.start for _, tensor in self.tensors.values())

    def said(self) -> dict[str, Any] | None:
        """What fastinit wrote into the files of how they were made; None if another program did."""
        texts = {file.metadata.get("fastinit") for file in self.files}
        if len(texts) > 1:
            raise ValueError(f"{self.path}: its files do not say the same of how they were made")
        text = texts.pop()
        if text is None:
            return None
        found = parsed(text.encode("utf-8", "surrogatepass"), f"{self.path}: what it says of how it was made")
        recipe = found.get("recipe")
        pairs = isinstance(recipe, list) and all(
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in recipe
        )
        if found.get("checkpoint") != 1 or not pairs:
            raise ValueError(f"{self.path}: what it says of how it was made is not understood: {shown(found)}")
        return found


class Reader:
    """Reads ranges of a file's data, into one buffer that it lends."""

    def __init__(self) -> None:
        self._buffer: NDArray[np.uint64] = np.empty(0, np.uint64)

    def range(self, file: File, start: int, stop: int) -> NDArray[np.uint8]:
        """Bytes start .. stop - 1 of the data. They last until the next call, and lie at a multiple of 8 in memory."""
        if self._buffer.nbytes < stop - start:
            self._buffer = np.empty(-(-(stop - start) // 8), np.uint64)
        out = self._buffer.view(np.uint8)[: stop - start]
        with opened(file.path) as stream:
            stream.seek(file.begin + start)
            if stream.readinto(out.data) != len(out):  # type: ignore[attr-defined]
                raise ValueError(f"{file.path} has become shorter")
        return out


def read_checkpoint(path: str, *, whole: bool = True) -> Checkpoint:
    """A safetensors file, an index, or a folder with one of these. ``whole=False`` needs the headers alone."""
    if os.path.isdir(path):
        return _read_folder(path, whole)
    if path.endswith(".json"):
        return _read_index(path, whole)
    return _joined(path, [read(path, whole=whole)])


def _read_folder(path: str, whole: bool) -> Checkpoint:
    names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    indices = [name for name in names if name.endswith(".safetensors.index.json")]
    files = [name for name in names if name.endswith(".safetensors")]
    if len(indices) == 1:
        found = _read_index(os.path.join(path, indices[0]), whole)
        if {os.path.basename(file.path) for file in found.files} == set(files):
            return found
    elif not indices and len(files) == 1 and not _OF_SEVERAL.fullmatch(files[0]):
        path = os.path.join(path, files[0])
        return _joined(path, [read(path, whole=whole)])
    # Which of several files other programs load is theirs to choose: what is said of the folder must be true of all.
    there = f"{', '.join([*indices, *files])}: name one of them" if indices + files else "none"
    raise ValueError(
        f"{path} must have a whole checkpoint, one *.safetensors or one *.safetensors.index.json and its files alone, "
        f"and has {there}"
    )


def _read_index(path: str, whole: bool) -> Checkpoint:
    with opened(path) as stream:
        text = stream.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise ValueError(f"{path}: an index may have {_LONGEST} bytes")
    places = parsed(text, path).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise ValueError(f"{path}: weight_map must be an object of names of files, got {shown(places)}")
    for name in places.values():
        if name in ("", ".", "..") or set("/\\:\0") & set(name):
            raise ValueError(f"{path}: weight_map must name files beside it, got {shown(name)}")
    folder = os.path.dirname(path)
    found = _joined(path, [read(os.path.join(folder, name), whole=whole) for name in dict.fromkeys(places.values())])
    there = {name: os.path.basename(file.path) for name, (file, _) in found.tensors.items()}
    if there != places:
        wrong = sorted(name for name in {*there, *places} if there.get(name) != places.get(name))
        raise ValueError(f"{path} and its files do not agree where {few(list(map(shown, wrong)))} is")
    return found._replace(tensors={name: found.tensors[name] for name in places})


def _joined(path: str, files: list[File]) -> Checkpoint:
    tensors: dict[str, tuple[File, Tensor]] = {}
    for file in files:
        for tensor in file.tensors:
            if tensor.name in tensors:
                raise ValueError(f"{path}: {shown(tensor.name)} is in two of its files")
            tensors[tensor.name] = file, tensor
    return Checkpoint(path, tuple(files), tensors)
