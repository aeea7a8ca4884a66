"""How long recording takes beside construction on meta, and materialising beside init_module.

    python -m bench.recording

Medians of nine, by turns. The networks of transformers, timm and torchvision are measured where these are installed;
transformers initialises nothing on meta. Memory is that of the process (VmHWM, Linux).
"""

from __future__ import annotations

import contextlib
import importlib
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from .adapters import load_torchvision
from .mesh import MIB, status

ROUNDS = 9
GPT2 = "transformers GPT-2"
Build = Callable[[], Any]


def networks() -> dict[str, Build]:
    import torch
    from torch import nn

    def of(name: str, *module: Callable[[], Any], repeat: int) -> tuple[str, Build]:
        return name, lambda: nn.ModuleList([make() for _ in range(repeat) for make in module])

    found = dict(
        (
            of("200 Linear", lambda: nn.Linear(256, 256), repeat=200),
            of("60 Conv2d, BatchNorm2d", lambda: nn.Conv2d(64, 64, 3), lambda: nn.BatchNorm2d(64), repeat=60),
            of("24 TransformerEncoderLayer", lambda: nn.TransformerEncoderLayer(64, 4), repeat=24),
        )
    )
    load_torchvision()
    with contextlib.suppress(ImportError):
        found["torchvision ResNet-50"] = importlib.import_module("torchvision").models.resnet50
    with contextlib.suppress(ImportError):
        found["timm ViT-B/16"] = partial(importlib.import_module("timm").create_model, "vit_base_patch16_224")
    with contextlib.suppress(ImportError):
        transformers = importlib.import_module("transformers")
        found[GPT2] = partial(transformers.GPT2LMHeadModel, transformers.GPT2Config())
        config = transformers.LlamaConfig(
            hidden_size=4096,
            intermediate_size=14336,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
            vocab_size=128256,
            dtype=torch.bfloat16,
        )
        found["transformers Llama, shapes of 3 8B"] = partial(transformers.LlamaForCausalLM, config)
    return found


def on_meta(build: Build) -> Any:
    import torch

    with torch.device("meta"):
        return build()


def recorded(build: Build) -> tuple[Any, Any]:
    from fastinit.torch import deferred

    with deferred(0) as plan:
        return plan, build()


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def alternately(one: Callable[[], object], other: Callable[[], object], turn: int) -> tuple[float, float]:
    """Seconds of both, which come first by turns."""
    if turn % 2:
        return seconds(one), seconds(other)
    last = seconds(other)
    return seconds(one), last


def medians(pairs: list[tuple[float, float]]) -> Iterator[float]:
    """In milliseconds."""
    return (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))


def filled(build: Build, turn: int) -> tuple[float, float]:
    """Seconds of materialize and of init_module by recipe, of models without memory."""
    from fastinit.torch import init_module

    (plan, model), other = recorded(build), on_meta(build)
    return alternately(
        lambda: plan.materialize(model, report=False), lambda: init_module(other, "gpt2", seed=0, report=False), turn
    )


def main() -> None:
    warnings.simplefilter("ignore")
    built = networks()
    print("| network | construction on meta, ms | recording, ms | ratio |\n|---|---|---|---|")
    for name, build in built.items():
        ways = partial(on_meta, build), partial(recorded, build)
        meta, recording = medians([alternately(*ways, turn) for turn in range(ROUNDS)])
        print(f"| {name} | {meta:.1f} | {recording:.1f} | {recording / meta:.2f} |", flush=True)
    print(f"\nThis process, which built all of them, had {status('VmHWM') / MIB:.0f} MiB at most, libraries included.")
    if GPT2 in built:
        ours, recipe = medians([filled(built[GPT2], turn) for turn in range(ROUNDS)])
        print(f"\n{GPT2}: materialize {ours:.0f} ms, init_module by recipe {recipe:.0f} ms")


if __name__ == "__main__":
    main()
