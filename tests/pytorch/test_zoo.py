"""Promise: a model that is built in a block of ``accelerate`` follows the laws of its own code.

Tiny models of transformers, timm and torchvision, by torch alone and in a block, over many seeds: constants are equal,
random values have the same law, ties and rows of zeros are the same. All of it without a network.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("torch")

import torch
from laws import Samples, alike, differences, sample
from torch import nn
from zoo import TIMM, TORCHVISION, TRANSFORMERS, build

import fastinit
import generate_models
from conftest import library
from fastinit.torch import accelerate, deferred

NAMES = [*TRANSFORMERS, *TIMM, *TORCHVISION]
SEEDS = range(64)  # enough for a parameter of one element; of 4096 elements a std that is 2 % off is found
FEW = range(16)  # of torchvision's larger models: enough for one of four; of 4096 a std that is 3 % off is found
HURRIED = "FASTINIT_FEW_SEEDS" in os.environ  # few of all models: where CI repeats these tests with other versions
ERROR = 1e-6  # the probability that any test of this file fails although all laws are equal
EACH = ERROR / (4 * len(NAMES))  # of each comparison: there are fewer

Way = Callable[[str, int], nn.Module]


def seeded(seed: int) -> None:
    """What ``torch.manual_seed`` does here, without the stack that it keeps for devices: thousands of them."""
    torch.default_generator.manual_seed(seed)


def by_torch(name: str, seed: int) -> nn.Module:
    seeded(seed)
    return build(name)


def in_a_block(name: str, seed: int) -> nn.Module:
    with accelerate(seed=seed):
        return build(name)


def in_a_block_without_a_seed(name: str, seed: int) -> nn.Module:
    seeded(seed)
    with accelerate():
        return build(name)


def from_meta(name: str, seed: int) -> nn.Module:
    """By the model's own initialisation, once it has memory. What that leaves out is not a number."""
    with torch.device("meta"):
        model = build(name)
    with accelerate(seed=seed, module=model):
        model.to_empty(device="cpu")
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.fill_(math.nan if tensor.is_floating_point() else 77)
        if name in TIMM:  # its init_weights expects that PyTorch's layers have their defaults
            for layer in model.modules():
                if layer is not model and hasattr(layer, "reset_parameters"):
                    layer.reset_parameters()  # type: ignore[operator]
        model.init_weights()  # type: ignore[operator]
    return model


def recorded(name: str) -> Samples:
    """Built once, without memory, and made for each seed."""
    with deferred(0) as plan:
        model = build(name)

    def made(seed: int) -> nn.Module:
        plan.materialize(model, seed=seed, report=False)
        return model

    return sample(made, seeds_of(name))


def samples(name: str, way: Way, seeds: range | None = None) -> Samples:
    return sample(lambda seed: way(name, seed), seeds_of(name) if seeds is None else seeds)


def seeds_of(name: str) -> range:
    return FEW if HURRIED or name in TORCHVISION else SEEDS


@pytest.mark.parametrize("name", NAMES)
def test_a_model_follows_its_own_laws(name: str) -> None:
    """And no two of its tensors go together, unless they do with torch."""
    theirs = samples(name, by_torch)
    for ours in (samples(name, in_a_block), recorded(name)):
        assert not differences(theirs, ours, EACH)
        assert alike(ours, EACH) <= alike(theirs, EACH)


# Their own initialisation, called again, is the constructor's. Others leave something to the constructor.
AGAIN = [
    "GPT2LMHeadModel",
    "LlamaForCausalLM",
    "MambaForCausalLM",
    "BertForPreTraining",
    "T5ForConditionalGeneration",
    "WhisperForConditionalGeneration",
    "SiglipModel",
    "DetrForObjectDetection",
    "vit",
    "vit, jax",
    "swin",
    "resnet",
]


@pytest.mark.parametrize("way", [from_meta, in_a_block_without_a_seed])
@pytest.mark.parametrize("name", AGAIN)
def test_other_ways_follow_them_too(name: str, way: Way) -> None:
    theirs, ours = samples(name, by_torch), samples(name, way)
    assert not differences(theirs, ours, EACH)
    assert alike(ours, EACH) <= alike(theirs, EACH)


@pytest.fixture
def several_threads(many_threads: None) -> Iterator[None]:
    before = fastinit.get_num_threads()
    yield fastinit.set_num_threads(3)
    fastinit.set_num_threads(before)


@pytest.mark.parametrize("name", NAMES)
def test_fastinit_does_it_all(name: str, several_threads: None) -> None:
    """No model here draws anything that is left to torch. Its seed alone says what its values are."""
    seeded(1)
    state = torch.get_rng_state()
    with accelerate(seed=5) as done:
        first = build(name)
    assert done.calls > 0
    assert done.passed == 0
    assert torch.equal(torch.get_rng_state(), state)
    fastinit.set_num_threads(1)
    seeded(2)
    again, other = in_a_block(name, 5), in_a_block(name, 6)
    values, same, others = (dict(model.state_dict()) for model in (first, again, other))
    assert values.keys() == same.keys()
    assert all(torch.equal(value, same[key]) for key, value in values.items())
    assert any(not torch.equal(value, others[key]) for key, value in values.items())


def test_the_page_of_models_says_what_is_recorded() -> None:
    """With the versions that it names, which are some of those that CI installs."""
    text = generate_models.PAGE.read_text("utf-8")
    named = [f"{name}=={version}" for name, version in re.findall(r"(\w+) (\d+\.[\d.]+\d)", text)]
    assert len(named) == len(generate_models.LIBRARIES)
    ci = (generate_models.PAGE.parent.parent / ".ci" / "run").read_text("utf-8")
    assert any(all(one in line.split() for one in named) for line in ci.split("\n"))
    for name in generate_models.LIBRARIES:
        library(name)
    if generate_models.versions() not in text:
        pytest.skip(f"it is of other versions than {generate_models.versions()}")
    assert generate_models.page() == text


# --- each of these can fail -----------------------------------------------------------------------------------------


def scaled(p: nn.Parameter) -> None:
    p.mul_(1.02)


def shifted(p: nn.Parameter) -> None:
    p.add_(0.04 * p.std())


def not_quite_one(p: nn.Parameter) -> None:
    p.fill_(0.999)


def no_row_of_zeros(p: nn.Parameter) -> None:
    p[3] = p[4].roll(1)


def not_truncated(p: nn.Parameter) -> None:
    p.normal_(std=float(p.std()))


def not_normal(p: nn.Parameter) -> None:
    p.uniform_(-math.sqrt(3), math.sqrt(3)).mul_(0.02)


def in_lumps(p: nn.Parameter) -> None:
    """The extremes and the first four moments of a normal law, but three values alone within 1.5 of its std."""
    inside = p.abs() < 1.5 * p.std()
    values = p[inside]
    square, fourth = values.square().mean(), values.pow(4).mean()
    kept = torch.rand(len(values)) < square**2 / fourth
    p[inside] = values.sign() * kept * (fourth / square).sqrt()


def not_zero(p: nn.Parameter) -> None:
    p.normal_(std=1e-6)


def left_out(p: nn.Parameter) -> None:
    p.copy_(torch.linspace(-0.03, 0.03, p.numel()).view_as(p))


WRONG: dict[str, tuple[str, Callable[[nn.Parameter], None]]] = {
    "transformer.h.0.attn.c_proj.weight": ("GPT2LMHeadModel", scaled),
    "transformer.h.1.attn.c_proj.weight": ("GPT2LMHeadModel", shifted),
    "transformer.wpe.weight": ("GPT2LMHeadModel", not_normal),
    "transformer.h.0.attn.c_attn.weight": ("GPT2LMHeadModel", in_lumps),
    "transformer.ln_f.weight": ("GPT2LMHeadModel", not_quite_one),
    "transformer.h.1.mlp.c_fc.bias": ("GPT2LMHeadModel", not_zero),
    "transformer.h.0.mlp.c_fc.weight": ("GPT2LMHeadModel", left_out),
    "bert.embeddings.word_embeddings.weight": ("BertForPreTraining", no_row_of_zeros),
    "patch_embed.proj.weight": ("vit, jax", not_truncated),
}


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_law_is_found(key: str) -> None:
    name, change = WRONG[key]

    def wrong(name: str, seed: int) -> nn.Module:
        model = in_a_block(name, seed)
        with torch.no_grad():
            change(model.get_parameter(key))
        return model

    found = differences(samples(name, by_torch, SEEDS), samples(name, wrong, SEEDS), EACH)
    assert found
    assert all(words.startswith(f"{key}: ") for words in found)


def test_a_tie_that_is_gone_is_found() -> None:
    def untied(name: str, seed: int) -> nn.Module:
        model = in_a_block(name, seed)
        model.get_submodule("lm_head").weight = nn.Parameter(model.get_parameter("lm_head.weight").detach().clone())
        return model

    found = differences(samples("GPT2LMHeadModel", by_torch), samples("GPT2LMHeadModel", untied), EACH)
    assert found
    assert all(words.startswith("ties: ") for words in found)


def test_a_type_that_changes_is_found() -> None:
    def frozen(name: str, seed: int) -> nn.Module:
        model = in_a_block(name, seed)
        model.get_parameter("lm_head.weight").requires_grad_(False)
        return model

    found = differences(samples("GPT2LMHeadModel", by_torch), samples("GPT2LMHeadModel", frozen), EACH)
    assert found
    assert all(words.startswith("forms: ") for words in found)


def test_layers_that_share_their_values_are_found() -> None:
    names = ("transformer.h.0.mlp.c_fc.weight", "transformer.h.1.attn.c_attn.weight")

    def shared(name: str, seed: int) -> nn.Module:
        model = in_a_block(name, seed)
        with torch.no_grad():
            first, second = map(model.get_parameter, names)
            second.copy_(first.flatten()[: second.numel()].view_as(second))
        return model

    theirs, ours = samples("GPT2LMHeadModel", by_torch), samples("GPT2LMHeadModel", shared)
    assert not differences(theirs, ours, EACH)
    assert not alike(theirs, EACH)
    assert alike(ours, EACH) == {names}
