"""Promise: what runs after construction draws in a block of ``accelerate`` as it does without one.

One step of training of tiny models of transformers and timm, with their own noise (dropout, dropped layers, paths and
patches, jitter of routers) and their own checkpointing: loss, gradients and torch's generator afterwards are equal.
"""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn
from zoo import TRANSFORMERS, build

from fastinit.torch import accelerate

TOKENS = {"input_ids": torch.arange(48).view(2, 24) % 90 + 4, "labels": torch.arange(48).view(2, 24) % 90 + 4}
IMAGES = {
    "pixel_values": torch.linspace(-1, 1, 4 * 3 * 32 * 32).view(4, 3, 32, 32),
    "labels": torch.tensor([0, 1, 0, 1]),
}

# The noise that they add to their defaults, and what they are called with.
STEPS: dict[str, tuple[dict[str, Any], dict[str, Tensor]]] = {
    "GPT2LMHeadModel": ({}, TOKENS),
    "BertForPreTraining": ({}, {"input_ids": TOKENS["input_ids"]}),
    "T5ForConditionalGeneration": ({}, TOKENS),
    "OPTForCausalLM": ({"layerdrop": 0.1}, TOKENS),
    "BartForConditionalGeneration": ({"encoder_layerdrop": 0.3, "decoder_layerdrop": 0.3}, TOKENS),
    "MixtralForCausalLM": ({"router_jitter_noise": 0.2}, TOKENS),
    "SwinForImageClassification": ({"drop_path_rate": 0.5}, IMAGES),
    "ConvNextForImageClassification": ({"drop_path_rate": 0.5}, IMAGES),
    "vit": ({"drop_path_rate": 0.5, "proj_drop_rate": 0.1}, IMAGES),
    "vit, jax": ({"patch_drop_rate": 0.5}, IMAGES),
    "swin": ({"drop_path_rate": 0.5}, IMAGES),
    "cait": ({"drop_path_rate": 0.5, "proj_drop_rate": 0.1}, IMAGES),
}


def step(model: Any, inputs: dict[str, Tensor], block: contextlib.AbstractContextManager[Any]) -> list[Tensor]:
    """The loss, all gradients, and the state of torch's generator at the end."""
    model.zero_grad()
    torch.manual_seed(3)
    with block:
        if hasattr(model, "config"):
            loss = model(**inputs)[0]
        else:
            loss = nn.functional.cross_entropy(model(inputs["pixel_values"]), inputs["labels"])
        loss.square().mean().backward()  # of what has no labels, too
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    return [loss.detach(), *gradients, torch.get_rng_state()]


def kinds(name: str) -> list[str]:
    if name.startswith("ConvNext"):
        return ["plain"]  # it has no checkpointing
    return ["plain", "checkpointed", "reentrant"] if name in TRANSFORMERS else ["plain", "checkpointed"]


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in STEPS for kind in kinds(name)])
def test_a_step_of_training_is_torchs(name: str, kind: str) -> None:
    options, inputs = STEPS[name]
    torch.manual_seed(0)
    model: Any = build(name, **options).train()
    if kind != "plain":
        if name in TRANSFORMERS:
            model.activation_checkpointing_enable({"use_reentrant": kind == "reentrant"})
        else:
            model.set_grad_checkpointing()
    want = step(model, inputs, contextlib.nullcontext())
    assert len(want) > 10
    for block in (contextlib.nullcontext(), accelerate(seed=0), accelerate()):
        got = step(model, inputs, block)
        assert [torch.equal(a, b) for a, b in zip(want, got, strict=True)] == [True] * len(want), block
