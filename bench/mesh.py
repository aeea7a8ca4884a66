"""How much memory and time each process needs to initialise its piece of a model: with fastinit, and in the usual ways.

    python -m bench.mesh [--layers 2] [--vocabulary 8016] [--processes 1,2,4,8] [--ways deferred,...]

The model has the shapes of Llama 3 8B in bfloat16 (--layers 32 --vocabulary 128256 is all of it). This is no table of
bench/questions.py: it measures memory, in processes of its own. Memory is by how much the largest process grows (VmHWM
over VmRSS at the start, Linux); time is from a barrier until the last one is done, construction included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

MIB = 2**20
WIDTHS = (
    4096,
    14336,
    1024,
)  # hidden, intermediate, keys and values: Grattafiori et al., "The Llama 3 herd of models", 2024, table 3


class Size(NamedTuple):
    """What is not always that of Llama 3 8B."""

    layers: int
    vocabulary: int
    narrower: int = 1


def status(key: str) -> int:
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise AssertionError(key)


def model(size: Size) -> Any:
    """Constructors and a pass over them that draws again, as in training code."""
    import torch
    from torch import nn

    hidden, intermediate, kv = (width // size.narrower for width in WIDTHS)

    def linear(fan_in: int, fan_out: int) -> Any:
        return nn.Linear(fan_in, fan_out, bias=False, dtype=torch.bfloat16)

    def norm() -> Any:
        return nn.RMSNorm(hidden, dtype=torch.bfloat16)

    def layer() -> Any:
        attention = [norm(), linear(hidden, hidden), linear(hidden, kv), linear(hidden, kv), linear(hidden, hidden)]
        mlp = [norm(), linear(hidden, intermediate), linear(hidden, intermediate), linear(intermediate, hidden)]
        return nn.Sequential(*attention, *mlp)

    embedding = nn.Embedding(size.vocabulary, hidden, dtype=torch.bfloat16)
    layers = [layer() for _ in range(size.layers)]
    whole = nn.Sequential(embedding, nn.Sequential(*layers), norm(), linear(hidden, size.vocabulary))
    for module in whole.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
    return whole


def shard(module: Any) -> Any:
    from torch.distributed.fsdp import fully_shard

    for layer in module[1]:
        fully_shard(layer)
    return fully_shard(module)


def on_meta(size: Size) -> Any:
    import torch

    with torch.device("meta"):
        return shard(model(size))


def with_deferred(size: Size, directory: str) -> Any:
    import fastinit.torch

    with fastinit.torch.deferred(seed=0) as plan:
        module = model(size)
    plan.materialize(shard(module), report=False)
    return module


def with_init_module(size: Size, directory: str) -> Any:
    from fastinit.torch import init_module

    module = on_meta(size)
    init_module(module, recipe(), seed=0, report=False)
    return module


def recipe() -> Any:
    from fastinit.recipes import Initializer

    ones, normal = Initializer("ones"), Initializer("normal", std=0.02)
    return [("2.weight", ones), ("1.*.0.weight", ones), ("1.*.5.weight", ones), ("*", normal)]


def with_reader(size: Size, directory: str) -> Any:
    from torch.distributed.checkpoint.state_dict_loader import load

    from fastinit.torch import FastInitReader

    module = on_meta(size)
    module.to_empty(device="cpu")
    load(module.state_dict(), storage_reader=FastInitReader(module, recipe(), seed=0))
    return module


def from_a_seed_checkpoint(size: Size, directory: str) -> Any:
    from torch.distributed.checkpoint.state_dict_loader import load

    module = on_meta(size)
    module.to_empty(device="cpu")
    load(module.state_dict(), checkpoint_id=directory)
    return module


def whole_on_each(size: Size, directory: str) -> Any:
    import torch

    torch.manual_seed(0)
    return shard(model(size))


LOADS = "seed checkpoint, each loads its piece"
WAYS: dict[str, Callable[[Size, str], Any]] = {
    "deferred": with_deferred,
    "init_module": with_init_module,
    "FastInitReader": with_reader,
    LOADS: from_a_seed_checkpoint,
    "whole model on each, then cut": whole_on_each,
}


def write_seed_checkpoint(size: Size, directory: str, queue: Any) -> None:
    """One process makes the whole model and saves it."""
    import warnings

    from torch.distributed.checkpoint.state_dict_saver import save

    warnings.simplefilter("ignore")
    before, start = status("VmRSS"), time.perf_counter()
    save(model(size).state_dict(), checkpoint_id=directory, no_dist=True)
    queue.put((status("VmHWM") - before, time.perf_counter() - start))


def process(rank: int, processes: int, way: str, size: Size, directory: str, checkpoint: str, queue: Any) -> None:
    import torch
    import torch.distributed as dist

    import fastinit

    threads = max(1, multiprocessing.cpu_count() // processes)
    torch.set_num_threads(threads)
    fastinit.set_num_threads(threads)
    store = f"file://{directory}/rendezvous"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=processes)
    small = Size(1, 8, 64)
    WAYS[way](small, checkpoint) if way != LOADS else on_meta(small)  # what is loaded once
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forget the high-water mark
    before = status("VmRSS")
    dist.barrier()
    start = time.perf_counter()
    module = WAYS[way](size, checkpoint)
    grown = status("VmHWM") - before
    dist.barrier()
    seconds = time.perf_counter() - start
    piece = sum(parameter.to_local().nbytes for parameter in module.parameters())
    queue.put((grown, piece, seconds))
    dist.barrier()
    dist.destroy_process_group()


def measure(context: Any, processes: int, way: str, size: Size, checkpoint: str) -> tuple[int, int, float]:
    """The largest process's growth and piece, in bytes, and seconds."""
    queue = context.Queue()
    with tempfile.TemporaryDirectory() as directory:
        group = [
            context.Process(
                target=process, args=(rank, processes, way, size, directory, checkpoint, queue), daemon=True
            )
            for rank in range(processes)
        ]
        for member in group:
            member.start()
        said = [queue.get(timeout=600) for _ in group]
        for member in group:
            member.join()
    grown, piece, seconds = (max(column) for column in zip(*said, strict=True))
    return int(grown), int(piece), float(seconds)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.mesh", description=__doc__.splitlines()[0])
    arguments.add_argument("--layers", type=int, default=2)
    arguments.add_argument("--vocabulary", type=int, default=8016)
    arguments.add_argument("--processes", default="1,2,4,8")
    arguments.add_argument("--ways", default=",".join(WAYS), help="the first words of those to measure")
    given = arguments.parse_args()
    size = Size(given.layers, given.vocabulary)
    counts = [int(count) for count in given.processes.split(",")]
    ways = [way for way in WAYS if any(way.startswith(word) for word in given.ways.split(","))]
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as checkpoint:
        if LOADS in ways:
            queue = context.Queue()
            writer = context.Process(target=write_seed_checkpoint, args=(size, checkpoint, queue), daemon=True)
            writer.start()
            written, seconds = queue.get(timeout=600)
            writer.join()
        print(f"| processes: MiB by which the largest grows, seconds | {' | '.join(map(str, counts))} |")
        print(f"|---|{'---|' * len(counts)}")
        pieces = []
        for way in ways:
            found = [measure(context, count, way, size, checkpoint) for count in counts]
            pieces = [piece for _, piece, _ in found]
            print(f"| {way} | {' | '.join(f'{g / MIB:.0f}, {s:.1f} s' for g, _, s in found)} |", flush=True)
        print(f"| the piece itself | {' | '.join(f'{piece / MIB:.0f}' for piece in pieces)} |")
        if LOADS in ways:
            print(
                f"\nThe process that writes the seed checkpoint grows by {written / MIB:.0f} MiB, in {seconds:.1f} s."
            )


if __name__ == "__main__":
    main()
