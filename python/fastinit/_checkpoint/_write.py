"""Writing a plan's files: beside and renamed, each whole or not there; and going on after a run that was stopped.

Memory: three buffers of 16 MiB. One is filled while another is written, past the page cache where the system can do
that, which is several times as fast and leaves the cache to others.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastinit

from .._arguments import few
from ._plan import Plan, Shard
from ._safetensors import opened
from ._values import Values, pieces

__all__ = ["STRIPE", "Written", "write"]

STRIPE = 2**24  # bytes that are made and written at a time
_BUFFERS = 3  # one is filled, one is written, and one waits, so that the disk does not
_PAGE = 4096  # what goes past the cache begins and ends at a multiple of it, in memory and in the file
_DIRECT = getattr(os, "O_DIRECT", 0)  # which not all systems have
# How file systems of networks and of clusters say that they have no locks, or cannot make a folder's names last.
_NOT_HERE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
_PATIENCE = 60  # seconds for another rank to write the index, where no lock says that it does


class Written(NamedTuple):
    """What a process has done."""

    n_bytes: int  # that it has written
    missing: list[str]  # the files that other ranks have still to write


def write(
    plan: Plan,
    folder: str,
    *,
    resume: bool = False,
    advance: Callable[[int], object] = lambda n: None,
    rank: int = 0,
    world_size: int = 1,
) -> Written:
    """Write what is not there yet of each ``world_size``-th file. ``advance`` hears of all their bytes, kept ones too.

    The folder has the index last, so one that has it is whole. What was stopped leaves whole files, and parts whose
    names begin with a dot: ``resume`` keeps the whole ones and writes the others from their beginning.

    Ranks send each other nothing. Each looks, when its own files have their names, whether all have: the last one sees
    that, and writes the index.
    """
    os.makedirs(folder, exist_ok=True)
    own = plan.shards[rank::world_size]
    new = {shard.name for shard in own}
    if new:  # the index is there if all of them are
        new |= set(plan.last)
    if rank == 0:
        new |= set(plan.texts)
    free = shutil.disk_usage(folder).free  # before the others are looked at, whose files grow
    try:
        kept = _there(plan, folder, () if resume else new)
    except FileExistsError as error:
        raise FileExistsError(f"{error}; nothing was written") from None
    missing = [shard for shard in plan.shards if shard.name not in kept]
    needed = sum(shard.n_bytes for shard in missing)
    for shard in missing:
        with contextlib.suppress(OSError):
            free += os.lstat(os.path.join(folder, _part(shard.name))).st_size
    if free < needed:
        raise OSError(f"{folder}: {needed} bytes are needed there, and {free} are free; nothing was written")
    for name, text in plan.texts.items():
        if rank == 0 and name not in kept:
            _write_text(folder, name, text)
    mine = [shard for shard in own if shard.name not in kept]
    longest = min(STRIPE, max((shard.n_bytes - len(shard.header) for shard in mine), default=0))
    buffers = [_buffer(longest) for _ in range(_BUFFERS)]
    for shard in own:
        if shard.name in kept:
            advance(shard.n_bytes)
            continue
        with _beside(folder, shard.name) as file:
            _write_shard(file, shard, plan.values, buffers, advance)
    kept = _there(plan, folder)
    left = [name for name in (*plan.texts, *(shard.name for shard in plan.shards)) if name not in kept]
    if not left:
        _finish(plan, folder, alone=len(own) == len(plan.shards))
    return Written(sum(shard.n_bytes for shard in mine), left)


def _finish(plan: Plan, folder: str, *, alone: bool) -> None:
    """Write the index, which another rank may be writing at the same time."""
    if not alone:
        _sync_folder(folder)  # for the names that others have given
    end = time.monotonic() + _PATIENCE
    for name, text in plan.last.items():
        while name not in _there(plan, folder):
            try:
                _write_text(folder, name, text, wait=not alone)
            except FileExistsError:  # another has written it meanwhile, or is about to
                if alone or time.monotonic() > end:
                    raise
                time.sleep(0.02)


# --- what is there --------------------------------------------------------------------------------------------------


def _part(name: str) -> str:
    return f".{name}.part"


def _there(plan: Plan, folder: str, new: Collection[str] = ()) -> set[str]:
    """The plan's files that are there, whole. Anything else in the way is refused, and so is a file that is ``new``."""
    shards = {shard.name: shard for shard in plan.shards}
    ours = {*shards, *plan.texts, *plan.last}
    there = set(os.listdir(folder))
    # Files of a checkpoint with other shards would be read together with these.
    kind = re.compile(r"\.?model(-\d+-of-\d+)?\.safetensors(\.index\.json)?(\.part)?")
    strange = set(filter(kind.fullmatch, there)) - {*ours, *map(_part, ours)}
    if strange and any(map(kind.fullmatch, shards)):
        raise FileExistsError(f"{folder} has files of another checkpoint: {few(sorted(strange))}")
    if begun := there & {*new, *map(_part, new)}:
        raise FileExistsError(
            f"{folder} has {few(sorted(begun))} already: --resume goes on with the run that was stopped there"
        )
    for name, text in {**plan.texts, **plan.last}.items():
        path = os.path.join(folder, name)
        if name in there:
            with opened(path) as file:
                if file.read(len(text.encode()) + 1) != text.encode():
                    raise FileExistsError(f"{path} is not what this run would write")
    for name, shard in shards.items():
        if name in there:
            _check_header(os.path.join(folder, name), shard)
    return ours & there


def _check_header(path: str, shard: Shard) -> None:
    """A file has its name once it is whole, so its header and length say which one it is."""
    with opened(path) as file:
        if file.read(len(shard.header)) == shard.header and os.fstat(file.fileno()).st_size == shard.n_bytes:
            return
    raise FileExistsError(f"{path} is not what this run would write: its header is another")


# --- writing --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _beside(folder: str, name: str, *, wait: bool = False) -> Iterator[int]:
    """A new file under another name, which gets its own when its bytes are on the disk. No other run writes to it.

    If one does, ``wait`` until it has ended.
    """
    path = os.path.join(folder, _part(name))
    flags, is_new = os.O_RDWR | os.O_NOFOLLOW, True
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        try:
            descriptor, is_new = os.open(path, flags), False
        except FileNotFoundError:  # it has its name now
            raise FileExistsError(f"{path}: another run is writing it") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if not os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                raise BlockingIOError  # it has been renamed or removed since
        except (BlockingIOError, FileNotFoundError):
            raise FileExistsError(f"{path}: another run is writing it") from None
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            if not is_new:
                raise FileExistsError(
                    f"{path}: another run may be writing it, and this file system has no locks: remove it if none is"
                ) from None
        if os.fstat(descriptor).st_nlink > 1:
            raise FileExistsError(f"{path} is a file that has another name, too")
        try:
            _check_free(os.path.join(folder, name))
            os.ftruncate(descriptor, 0)
            yield descriptor
            os.fsync(descriptor)
            _check_free(os.path.join(folder, name))
            os.rename(path, os.path.join(folder, name))
        except BaseException as error:
            with contextlib.suppress(FileNotFoundError):  # where Ctrl-C came just after the new name
                os.unlink(path)
            if isinstance(error, OSError) and error.filename is None and error.errno is not None:
                raise OSError(error.errno, error.strerror, path) from None
            raise
    finally:
        os.close(descriptor)
    _sync_folder(folder)


def _check_free(path: str) -> None:
    """Nothing was there when this run began."""
    if os.path.lexists(path):
        raise FileExistsError(f"{path}: another run has written it meanwhile")


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    finally:
        os.close(descriptor)


def _write_text(folder: str, name: str, text: str, *, wait: bool = False) -> None:
    with _beside(folder, name, wait=wait) as file:
        _write_all(file, memoryview(text.encode("utf-8")), 0)


def _buffer(n: int) -> NDArray[np.uint8]:
    memory = fastinit.empty((n + 2 * _PAGE) // 4, np.uint32).view(np.uint8)
    at = -memory.ctypes.data % _PAGE
    return memory[at : at + n]


def _go_direct(file: int, on: bool) -> bool:
    """Let writes go past the page cache, or not; whether they do."""
    flags = fcntl.fcntl(file, fcntl.F_GETFL) & ~_DIRECT
    try:
        fcntl.fcntl(file, fcntl.F_SETFL, flags | (_DIRECT if on else 0))
    except OSError:  # this file system has no other way
        return False
    return on


def _write_all(file: int, data: memoryview, position: int) -> None:
    while data:
        try:
            done = os.pwrite(file, data, position)
        except OSError as error:  # a file system may want more than pages
            if error.errno != errno.EINVAL or not fcntl.fcntl(file, fcntl.F_GETFL) & _DIRECT:
                raise
            _go_direct(file, False)
            continue
        data, position = data[done:], position + done


def _write_stripe(file: int, data: memoryview, position: int) -> None:
    whole = len(data) - len(data) % _PAGE
    _write_all(file, data[:whole], position)
    if whole < len(data):
        _go_direct(file, False)
        _write_all(file, data[whole:], position + whole)


def _write_shard(
    file: int, shard: Shard, values: Values, buffers: list[NDArray[np.uint8]], advance: Callable[[int], object]
) -> None:
    begin, end = len(shard.header), shard.n_bytes
    _write_all(file, memoryview(shard.header), 0)
    advance(begin)
    _go_direct(file, True)
    pending: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as pool:
        for number, start in enumerate(range(0, end - begin, STRIPE)):
            stop = min(start + STRIPE, end - begin)
            if len(pending) == len(buffers):
                pending.popleft().result()
            stripe = buffers[number % len(buffers)][: stop - start]
            for tensor, first, last in pieces(shard.tensors, start, stop):
                at = tensor.start + first - start
                values.fill(stripe[at : at + last - first], tensor, first, last)
            advance(stop - start)
            pending.append(pool.submit(_write_stripe, file, stripe.data, begin + start))
        for each in pending:
            each.result()
