"""How long a checkpoint of random weights takes, beside writing as many bytes, and PyTorch; and its memory.

    python -m bench.checkpoint DIRECTORY [--gib 8,32] [--dtypes bfloat16,float32] [--rounds 5]

Whole commands by turns, each in a process of its own, until all bytes are on the disk (sync). Shown are medians, GB/s,
the share of what writing alone reaches, and the largest memory of a process. The model has the layers of Llama 3 8B, as
many as fit. DIRECTORY says which disk is measured; what is written there is removed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from .mesh import MIB, WIDTHS

VOCABULARY = 128256
# What people write: each file's tensors are made, and saved, before those of the next; the least memory.
TORCH = """
import json, sys, torch
from safetensors.torch import save_file

shapes, dtype, folder = json.load(open(sys.argv[1])), getattr(torch, sys.argv[2]), sys.argv[3]
tensors, size, files = {}, 0, 0
for name, shape in [*shapes.items(), (None, [])]:
    n_bytes = dtype.itemsize * torch.Size(shape).numel()
    if tensors and (name is None or size + n_bytes > 5e9):
        files += 1
        save_file(tensors, f"{folder}/model-{files:05}.safetensors")
        tensors, size = {}, 0
    if name is not None:
        tensors[name], size = torch.empty(shape, dtype=dtype).normal_(std=0.02), size + n_bytes
"""
TRANSFORMERS = """
import json, sys, torch
from bench.adapters import load_torchvision
load_torchvision()
import transformers

config = transformers.LlamaConfig(**json.load(open(sys.argv[1])), dtype=getattr(torch, sys.argv[2]))
torch.set_default_dtype(config.dtype)
transformers.LlamaForCausalLM(config).save_pretrained(sys.argv[3])
"""
WRITE = """
import mmap, os, sys

n_bytes, path, flags = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
stripe = mmap.mmap(-1, 2**24)
stripe.write(os.urandom(len(stripe)))
file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags)
for _ in range(-(-n_bytes // len(stripe))):
    assert os.write(file, stripe) == len(stripe)
os.fsync(file)
"""


def llama(layers: int) -> tuple[dict[str, list[int]], dict[str, int]]:
    """Names and shapes of a Llama with so many layers, and its config for transformers."""
    hidden, intermediate, kv = WIDTHS
    shapes = {"model.embed_tokens.weight": [VOCABULARY, hidden]}
    for i in range(layers):
        layer = f"model.layers.{i}."
        for name, rows in ("q", hidden), ("k", kv), ("v", kv), ("o", hidden):
            shapes[f"{layer}self_attn.{name}_proj.weight"] = [rows, hidden]
        for name, shape in (
            ("gate", [intermediate, hidden]),
            ("up", [intermediate, hidden]),
            ("down", [hidden, intermediate]),
        ):
            shapes[f"{layer}mlp.{name}_proj.weight"] = shape
        for name in "input", "post_attention":
            shapes[f"{layer}{name}_layernorm.weight"] = [hidden]
    shapes |= {"model.norm.weight": [hidden], "lm_head.weight": [VOCABULARY, hidden]}
    config = dict(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=VOCABULARY,
    )
    return shapes, config


def numel(shapes: dict[str, list[int]]) -> int:
    return sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes.values())


def layers_of(n: int) -> int:
    """How many layers come closest to n elements."""
    none, one = (numel(llama(layers)[0]) for layers in (0, 1))
    return max(1, round((n - none) / (one - none)))


def run(command: list[str]) -> tuple[float, int]:
    """Seconds until the command has ended and all is on the disk; bytes of memory at most."""
    os.sync()
    start = time.perf_counter()
    child = os.posix_spawn(sys.executable, [sys.executable, *command], os.environ)
    _, status, usage = os.wait4(child, 0)
    os.sync()
    if status:
        raise SystemExit(f"{command[:2]} ended with {status}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024


def ways(directory: Path, layers: int, dtype: str, largest: float) -> tuple[int, dict[str, list[str]]]:
    shapes, config = llama(layers)
    n_bytes = numel(shapes) * {"bfloat16": 2, "float32": 4}[dtype]
    (directory / "shapes.json").write_text(json.dumps(shapes))
    (directory / "config.json").write_text(json.dumps(config))
    out = str(directory / "out")
    files = [str(directory / name) for name in ("shapes.json", "config.json")]
    checkpoint = ["-m", "fastinit", "checkpoint", "--shapes", files[0], "--dtype", dtype, "--out", out, "--quiet"]
    found = {
        "writing, past the page cache": ["-c", WRITE, str(n_bytes), f"{out}/bytes", str(os.O_DIRECT)],
        "writing, through it": ["-c", WRITE, str(n_bytes), f"{out}/bytes", "0"],
        "fastinit checkpoint": checkpoint,
        "torch, save_file": ["-c", TORCH, files[0], dtype, out],
    }
    if n_bytes < largest:
        found["transformers, save_pretrained"] = ["-c", TRANSFORMERS, files[1], dtype, out]
    return n_bytes, found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.checkpoint", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--gib", default="8,32", help="sizes by commas (default: %(default)s)")
    parser.add_argument("--dtypes", default="bfloat16,float32", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default: %(default)s)")
    given = parser.parse_args()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    print(f"memory of this machine: {memory / 2**30:.1f} GiB")
    for gib in map(float, given.gib.split(",")):
        for dtype in given.dtypes.split(","):
            with tempfile.TemporaryDirectory(dir=given.directory) as name:
                layers = layers_of(int(gib * 2**30) // {"bfloat16": 2, "float32": 4}[dtype])
                n_bytes, commands = ways(Path(name), layers, dtype, 0.7 * memory)
                measured: dict[str, list[tuple[float, int]]] = {way: [] for way in commands}
                for _ in range(given.rounds):
                    for way, command in commands.items():
                        os.mkdir(f"{name}/out")
                        measured[way].append(run(command))
                        shutil.rmtree(f"{name}/out")
                        with contextlib.suppress(OSError):  # as root alone: no page of one turn helps the next
                            Path("/proc/sys/vm/drop_caches").write_text("1")
            print(f"\n{n_bytes / 2**30:.2f} GiB of {dtype}, {layers} layers, {given.rounds} turns")
            alone = statistics.median(seconds for seconds, _ in measured["writing, past the page cache"])
            for way, turns in measured.items():
                seconds = statistics.median(seconds for seconds, _ in turns)
                most = max(memory for _, memory in turns) / MIB
                print(
                    f"{way:30} {seconds:7.2f} s  {n_bytes / seconds / 1e9:6.3f} GB/s  {alone / seconds:5.2f} of writing"
                    f"  {most:7.0f} MiB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
