"""Which share of the files is this process's: the command line says it, or whatever has started the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .._arguments import shown

__all__ = ["Share", "share_of"]

_TORCHRUN, _SRUN = "torchrun", "srun"
# What each launcher tells a process: its number, and how many there are. SLURM_NTASKS is not asked: a batch script and
# a shell of salloc have it too, which are one process.
_LAUNCHERS = {
    _TORCHRUN: ("RANK", "WORLD_SIZE"),
    _SRUN: ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    "mpirun of Open MPI": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    "mpirun of MPICH": ("PMI_RANK", "PMI_SIZE"),
}
_STEPS = 0xFFFFFFF0  # Slurm numbers srun's steps below this; above it are batch scripts and interactive shells


class Share(NamedTuple):
    """Number ``rank`` of ``size`` processes."""

    rank: int
    size: int
    launcher: str | None  # which has said so; None where the user has, or nobody


def share_of(rank: int | None, size: int | None, environment: Mapping[str, str]) -> Share:
    """What the user says, or else the environment; by default the only process."""
    if rank is not None or size is not None:
        if rank is None or size is None:
            raise ValueError(f"--rank and --world-size must be given together, got {rank} and {size}")
        if not 0 <= rank < size:
            raise ValueError(f"--rank must be 0 .. world size - 1, got --rank {rank} --world-size {size}")
        return Share(rank, size, None)
    found = {}
    for launcher, names in _LAUNCHERS.items():
        texts = [environment.get(name) for name in names]
        if not all(texts):  # one of them alone is somebody's own
            continue
        if launcher == _SRUN and _number(environment.get("SLURM_STEP_ID"), _STEPS) is None:
            continue
        n = _number(texts[1], 2**31)
        at = _number(texts[0], n or 0)
        if at is None or n is None:
            raise ValueError(
                f"{' and '.join(names)} of the environment must be a rank and a number of ranks, got "
                f"{' and '.join(map(shown, texts))}; --rank 0 --world-size 1 writes all files in one process"
            )
        if n > 1:  # a launcher of one process has split nothing
            found[launcher] = Share(at, n, launcher)
    agents = environment.get("GROUP_WORLD_SIZE")
    if _TORCHRUN in found:  # srun or mpirun may have started torchrun itself, once on each machine
        found = {name: each for name, each in found.items() if name == _TORCHRUN or str(each.size) != agents}
    if len({each[:2] for each in found.values()}) > 1:
        said = "; ".join(
            f"{' and '.join(_LAUNCHERS[name])} ({name}) say rank {each.rank} of {each.size}"
            for name, each in found.items()
        )
        raise ValueError(f"the environment has two launchers: {said}. Say --rank and --world-size")
    return next(iter(found.values()), Share(0, 1, None))


def _number(text: str | None, end: int) -> int | None:
    """0 .. end - 1, or None for anything else."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return int(text) if int(text) < end else None
