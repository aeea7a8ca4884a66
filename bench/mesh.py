"""How much memory each process needs to initialise its piece of a module: with fastinit, and in the usual ways.

    python -m bench.mesh [--mib 512] [--processes 1,2,4,8]

This is no table of bench/questions.py: it measures memory, in processes of its own. A figure is by how much the largest
process grows (VmHWM over VmRSS at the start, Linux), over the piece that it is to hold.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

MIB = 2**20
LAYER = 16  # MiB of each layer's weight


def status(key: str) -> int:
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise AssertionError(key)


def model(layers: int) -> Any:
    from torch import nn

    return nn.Sequential(*(nn.Linear(1024, 4096, bias=False) for _ in range(layers)))


def shard(module: Any) -> Any:
    from torch.distributed.fsdp import fully_shard

    for layer in module:
        fully_shard(layer)
    return fully_shard(module)


def on_meta(layers: int) -> Any:
    import torch

    with torch.device("meta"):
        return shard(model(layers))


def recipe() -> Any:
    from fastinit.recipes import Initializer

    return {"*.weight": Initializer("he_uniform")}


def with_init_module(layers: int, directory: str) -> Any:
    from fastinit.torch import init_module

    module = on_meta(layers)
    init_module(module, recipe(), seed=0, report=False)
    return module


def with_reader(layers: int, directory: str) -> Any:
    from torch.distributed.checkpoint.state_dict_loader import load

    from fastinit.torch import FastInitReader

    module = on_meta(layers)
    module.to_empty(device="cpu")
    load(module.state_dict(), storage_reader=FastInitReader(module, recipe(), seed=0))
    return module


def whole_on_each(layers: int, directory: str) -> Any:
    import torch

    torch.manual_seed(0)
    return shard(model(layers))


def from_a_seed_checkpoint(layers: int, directory: str) -> Any:
    from torch.distributed.checkpoint.state_dict_loader import load

    module = on_meta(layers)
    module.to_empty(device="cpu")
    load(module.state_dict(), checkpoint_id=directory)
    return module


WAYS: dict[str, Callable[[int, str], Any]] = {
    "init_module": with_init_module,
    "FastInitReader": with_reader,
    "seed checkpoint, each loads its piece": from_a_seed_checkpoint,
    "whole module on each, then cut": whole_on_each,
}


def write_seed_checkpoint(layers: int, directory: str, queue: Any) -> None:
    """One process makes the whole module and saves it."""
    import warnings

    from torch.distributed.checkpoint.state_dict_saver import save

    warnings.simplefilter("ignore")
    before = status("VmRSS")
    save(model(layers).state_dict(), checkpoint_id=directory, no_dist=True)
    queue.put(status("VmHWM") - before)


def process(rank: int, size: int, way: str, layers: int, directory: str, checkpoint: str, queue: Any) -> None:
    import torch
    import torch.distributed as dist

    import fastinit

    torch.set_num_threads(1)
    fastinit.set_num_threads(1)
    store = f"file://{directory}/rendezvous"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=size)
    WAYS[way](1, checkpoint) if way != "seed checkpoint, each loads its piece" else on_meta(1)  # what is loaded once
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forget the high-water mark
    before = status("VmRSS")
    module = WAYS[way](layers, checkpoint)
    grown = status("VmHWM") - before
    piece = sum(parameter.to_local().nbytes for parameter in module.parameters())
    queue.put((grown, piece))
    dist.barrier()
    dist.destroy_process_group()


def measure(context: Any, size: int, way: str, layers: int, checkpoint: str) -> tuple[int, int]:
    queue = context.Queue()
    with tempfile.TemporaryDirectory() as directory:
        group = [
            context.Process(target=process, args=(rank, size, way, layers, directory, checkpoint, queue), daemon=True)
            for rank in range(size)
        ]
        for member in group:
            member.start()
        said = [queue.get(timeout=300) for _ in group]
        for member in group:
            member.join()
    grown, piece = max(said)
    return grown, piece


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.mesh", description=__doc__.splitlines()[0])
    arguments.add_argument("--mib", type=int, default=512, help="size of the whole module")
    arguments.add_argument("--processes", default="1,2,4,8")
    given = arguments.parse_args()
    layers = max(1, given.mib // LAYER)
    sizes = [int(size) for size in given.processes.split(",")]
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as checkpoint:
        queue = context.Queue()
        writer = context.Process(target=write_seed_checkpoint, args=(layers, checkpoint, queue), daemon=True)
        writer.start()
        written = queue.get(timeout=300)
        writer.join()
        print(f"| a module of {layers * LAYER} MiB: MiB by which a process grows | {' | '.join(map(str, sizes))} |")
        print(f"|---|{'---|' * len(sizes)}")
        pieces = []
        for way in WAYS:
            found = [measure(context, size, way, layers, checkpoint) for size in sizes]
            pieces = [piece for _, piece in found]
            print(f"| {way} | {' | '.join(f'{grown / MIB:.0f}' for grown, _ in found)} |", flush=True)
        print(f"| the piece itself | {' | '.join(f'{piece / MIB:.0f}' for piece in pieces)} |")
        print(f"\nThe process that writes the seed checkpoint grows by {written / MIB:.0f} MiB.")


if __name__ == "__main__":
    main()
