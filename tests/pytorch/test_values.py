"""Promise: init_module leaves alone what a recipe skips, and fills by the user's functions what they compute or choose.

Among these are laws of published models that no single initialiser has, compared with the models' own code.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import fastinit

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import fastinit.torch  # noqa: E402
from conftest import library  # noqa: E402
from fastinit.recipes import Initializer, Recipe, computed, optional, skip  # noqa: E402
from fastinit.torch import FastInitReader, init_module  # noqa: E402

Shape = tuple[int, ...]
Shapes = Mapping[str, tuple[int, ...]]
ONES, ZEROS, NORMAL = Initializer("ones"), Initializer("zeros"), Initializer("normal", std=0.02)


def values(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


# --- skip -----------------------------------------------------------------------------------------------------------


def odd() -> Any:
    """Integers, something on meta, a lazy and a sparse parameter beside a layer."""
    module: Any = nn.Module()
    module.codes = nn.Parameter(torch.tensor([1, 2, 3], dtype=torch.int8), requires_grad=False)
    module.meta = nn.Parameter(torch.empty(3, device="meta"))
    module.lazy = nn.UninitializedParameter()
    module.sparse = nn.Parameter(torch.ones(2, 2).to_sparse())
    module.good = nn.Linear(3, 3)
    return module


@pytest.mark.parametrize("how", ["value", "function"])
def test_what_is_skipped_is_left_exactly_as_it_is(how: str) -> None:
    module = odd()
    before = {name: (tensor, tensor._version) for name, tensor in module.named_parameters()}
    recipe: Recipe = [("good.bias", skip), ("good.*", ONES), ("*", skip)]
    if how == "function":
        recipe = {"*": lambda name, shape, siblings: ONES if name == "good.weight" else skip}
    report = init_module(module, recipe, seed=0)
    assert [row.name for row in report.rows] == ["good.weight"]
    assert report.left == ("codes", "meta", "lazy", "sparse", "good.bias")
    assert str(report).splitlines()[-1] == "left alone: codes, meta, lazy, sparse, good.bias"
    for name, tensor in module.named_parameters():
        old, version = before.pop(name)
        assert tensor is old
        assert (tensor._version == version) == (name != "good.weight")
    assert before == {}
    assert module.codes.tolist() == [1, 2, 3]
    assert module.meta.is_meta


def test_the_reader_skips_too() -> None:
    import torch.distributed.checkpoint as dcp

    source: dict[str, Any] = {"w": torch.full((3,), 7.0), "v": torch.full((3,), 7.0)}
    reader = FastInitReader(source, {"w": skip, "*": ONES}, seed=0)
    with pytest.warns(UserWarning, match="torch.distributed is disabled"):
        dcp.load(source, storage_reader=reader, no_dist=True)  # type: ignore[attr-defined]
    assert source["w"].tolist() == [7.0] * 3
    assert source["v"].tolist() == [1.0] * 3


def test_what_is_skipped_must_not_share_memory_with_what_is_filled() -> None:
    module: Any = nn.Module()
    whole = torch.ones(4)
    module.a, module.b = nn.Parameter(whole), nn.Parameter(whole[:2])
    with pytest.raises(ValueError, match="'a' and 'b' share memory, but are not views of exactly the same elements"):
        init_module(module, {"a": skip, "b": ZEROS}, seed=0)
    assert init_module(module, {"*": skip}, seed=0).left == ("a", "b")
    assert whole.tolist() == [1.0] * 4


def test_a_recipe_may_be_for_models_with_and_without_biases() -> None:
    recipe: Recipe = {optional("*.bias"): ZEROS, "*.weight": ONES}
    for bias in (False, True):
        report = init_module(nn.Sequential(nn.Linear(2, 2, bias=bias)), recipe, seed=0)
        assert [row.pattern for row in report.rows] == ["*.weight", "*.bias"][: 1 + bias]


# --- chosen ---------------------------------------------------------------------------------------------------------


def torch_default(name: str, shape: Shape, siblings: Shapes) -> Initializer:
    """What PyTorch's own layers do, weights and biases: U(-b, b), b = 1 / sqrt(fan_in of the weight)."""
    bound = 1 / math.sqrt(math.prod(siblings["weight"][1:]))
    return Initializer("uniform", low=-bound, high=bound)


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Linear(400, 300),
        lambda: nn.Conv2d(40, 60, 5, groups=2),
        lambda: nn.Conv1d(64, 640, 9),
        lambda: nn.ConvTranspose2d(40, 60, 5),
    ],
    ids=["linear", "grouped", "conv1d", "transposed"],
)
def test_the_default_of_pytorch(build: Any) -> None:
    theirs, ours = build(), build()
    report = init_module(ours, {"*": torch_default}, seed=0)
    for row, parameter in zip(report.rows, theirs.parameters(), strict=True):
        assert row.expected_std is not None
        # Of n values of U(-b, b) the largest is within b - 20 b / n, but for e^-20; two stds differ by sqrt(2 / 5n).
        n, bound = parameter.numel(), row.expected_std * math.sqrt(3)
        largest = parameter.abs().max().item()
        assert bound * (1 - 20 / n) < largest <= bound * (1 + 1e-6), row.name
        assert parameter.std().item() == pytest.approx(row.measured_std, rel=5 * math.sqrt(0.4 / n))


def test_siblings_are_those_of_the_name_that_is_filled_also_if_tied() -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(6, 4), "head": nn.Linear(4, 6)})
    model["head"].weight = model["embed"].weight
    asked = {}

    def choose(name: str, shape: Shape, siblings: Shapes) -> Initializer:
        asked[name] = dict(siblings)
        return ONES

    init_module(model, {"*": choose}, seed=0, prefix="net.")
    assert asked == {
        "net.embed.weight": {"weight": (6, 4)},
        "net.head.bias": {"weight": (6, 4), "bias": (6,)},
    }


class Block(nn.Module):
    """As in torchtitan's Llama."""

    def __init__(self) -> None:
        super().__init__()
        self.wq, self.wo = nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False)


def test_a_std_that_falls_with_the_depth() -> None:
    """torchtitan's: 0.02 / sqrt(2 (i + 1)) for what ends the branches of layer i."""

    def by_depth(name: str, shape: Shape, siblings: Shapes) -> Initializer:
        layer = int(name.split(".")[1])
        return Initializer("truncated_normal", std=0.02 / math.sqrt(2 * (layer + 1)), bounds="absolute")

    model = nn.ModuleDict({"layers": nn.ModuleList(Block() for _ in range(3))})
    report = init_module(model, {"layers.*.wo.weight": by_depth, "*": NORMAL}, seed=0)
    found = {row.name: row.measured_std for row in report.rows}
    for layer in range(3):
        std = 0.02 / math.sqrt(2 * (layer + 1))
        assert found[f"layers.{layer}.wo.weight"] == pytest.approx(std, rel=5 / math.sqrt(2 * 4096))
        assert found[f"layers.{layer}.wq.weight"] == pytest.approx(0.02, rel=5 / math.sqrt(2 * 4096))


def test_a_std_that_falls_with_the_width() -> None:
    """muP, with 64 as the width for which 0.02 was chosen: variances of matrices fall as 1 / fan_in, a head is 0."""

    def mup(name: str, shape: Shape, siblings: Shapes) -> Initializer:
        return Initializer("normal", std=0.02 * math.sqrt(64 / shape[1]))

    for width in (64, 256):
        model = nn.Sequential(nn.Embedding(100, width), nn.Linear(width, width, bias=False), nn.Linear(width, 10))
        report = init_module(model, [("0.*", NORMAL), ("2.*", ZEROS), ("*", mup)], seed=0)
        assert report.rows[1].initializer == Initializer("normal", std=0.02 * math.sqrt(64 / width))


def test_what_a_chooser_raises_is_kept_and_nothing_is_changed() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    before = values(module)

    def choose(name: str, shape: Shape, siblings: Shapes) -> Initializer:
        return Initializer("normal", std=shape[1])

    with pytest.raises(ValueError, match=r"'1\.\*' raised IndexError: .*'1\.weight' of shape \(2,\)") as error:
        init_module(module, {"0.*": ONES, "1.*": choose}, seed=0)
    assert isinstance(error.value.__cause__, IndexError)
    assert all(torch.equal(a, before[name]) for name, a in module.named_parameters())


def test_what_is_chosen_gets_the_fans_of_the_module() -> None:
    layer = nn.Conv1d(4, 4, 3, groups=4, bias=False)
    (row,) = init_module(layer, {"*": lambda *_: Initializer("he_normal")}, seed=0).rows
    assert row.initializer == Initializer("he_normal", fan_in=3)


# --- computed -------------------------------------------------------------------------------------------------------


def a_log(out: Any, *, offset: Shape, **_: Any) -> None:
    """Mamba: log(1 .. n) in each row."""
    out[...] = np.log(1 + offset[1] + np.arange(out.shape[1]))


def dt_bias(out: Any, **box: Any) -> None:
    """Mamba: the inverse of softplus, of step sizes whose logarithms are uniform."""
    fastinit.uniform(out, math.log(0.001), math.log(0.1), **box)
    steps = np.maximum(np.exp(out), 1e-4)
    out[...] = steps + np.log(-np.expm1(-steps))


def sinusoids(out: Any, *, global_shape: Shape, offset: Shape, **_: Any) -> None:
    """Whisper: made whole, of which the box is cut out."""
    length, channels = global_shape
    increment = math.log(10000) / (channels // 2 - 1)
    angles = np.arange(length)[:, None] * np.exp(-increment * np.arange(channels // 2))
    whole = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    out[...] = whole[tuple(slice(start, start + n) for start, n in zip(offset, out.shape, strict=True))]


def test_mamba_is_as_in_transformers() -> None:
    transformers = library("transformers")
    config = transformers.MambaConfig(
        vocab_size=16, hidden_size=512, state_size=16, num_hidden_layers=1, use_mambapy=False
    )
    theirs, ours = (transformers.MambaForCausalLM(config) for _ in range(2))
    recipe: Recipe = [("*.A_log", computed(a_log)), ("*.dt_proj.bias", computed(dt_bias)), ("*", skip)]
    report = init_module(ours, recipe, seed=0)
    (own, mixer) = (model.backbone.layers[0].mixer for model in (ours, theirs))
    assert torch.allclose(own.A_log, mixer.A_log, rtol=2e-7)
    found, wanted = (nn.functional.softplus(m.dt_proj.bias.detach().double()).log().sort()[0] for m in (own, mixer))
    low, high = math.log(0.001), math.log(0.1)
    n = len(found)
    for steps in (found, wanted):  # Kolmogorov and Smirnov: 1.95 / sqrt(n) in one of 1000
        ranks = (steps - low) / (high - low)
        assert (ranks - (torch.arange(n) + 0.5) / n).abs().max() < 1.95 / math.sqrt(n)
    rows = {row.name: row for row in report.rows}
    row = rows["backbone.layers.0.mixer.A_log"]
    assert (row.initializer, row.expected_mean, row.expected_std) == (computed(a_log), None, None)
    assert row.measured_mean == pytest.approx(np.log(np.arange(1, 17)).mean(), rel=1e-6)
    line = next(line for line in str(report).splitlines() if "A_log" in line).split()
    assert line[3] == "computed(a_log)"
    assert (line[5], line[7]) == ("-", "-")


def test_sinusoids_are_those_of_whisper() -> None:
    whisper = pytest.importorskip("transformers").models.whisper
    library("transformers")
    wanted = whisper.modeling_whisper.sinusoids(1500, 384)
    embed = nn.Embedding(1500, 384)
    init_module(embed, {"*": computed(sinusoids)}, seed=0)
    # float32 angles up to 1500 are off by 6e-5
    assert (embed.weight - wanted).abs().max() < 2e-4


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("function", [a_log, dt_bias, sinusoids])
def test_values_are_rounded_once(function: Any, dtype: Any) -> None:
    shape = (6, 8)
    source = np.empty(shape, np.float64 if dtype is torch.float64 else np.float32)
    function(source, seed=3, stream="w", global_shape=shape, offset=(0, 0), threads=None, bit_generator="ars")
    wanted = torch.from_numpy(source).to(dtype)
    for device in ("cpu", "meta"):
        module: Any = nn.ParameterDict({"w": torch.empty(shape, dtype=dtype, device=device).t().contiguous().t()})
        init_module(module, {"w": computed(function)}, seed=3)
        assert torch.equal(module["w"], wanted)


def fails(out: Any, **_: Any) -> None:
    raise LookupError("no such table")


def left_out(out: Any, **_: Any) -> None:
    out[0] = 1


def overflows(out: Any, **_: Any) -> None:
    out[...] = 1e6


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (fails, r"parameter '1.bias' of shape \(2,\): computed\(fails\) raised LookupError: no such table$"),
        (left_out, r"computed\(left_out\) must fill out, in place, with numbers; it left 1 of 2 elements NaN$"),
        (overflows, r"computed\(overflows\) must give values within the range of float16, got 1000000.0$"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_cannot_be_computed_changes_nothing(function: Any, words: str, device: str) -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).half().to(device)
    tensors = list(module.parameters())
    before = [(t, t._version, t.detach().clone()) for t in tensors]
    with pytest.raises(ValueError, match=words) as error:
        init_module(module, {"1.bias": computed(function), "*": ONES}, seed=0)
    for (tensor, version, content), now in zip(before, module.parameters(), strict=True):
        assert now is tensor
        assert tensor._version == version
        assert device == "meta" or torch.equal(tensor, content)
    shown = "".join(traceback.format_exception(error.value))
    assert ("LookupError" in shown and "in fails" in shown) == (function is fails)


def test_the_reader_computes_and_says_what_fails() -> None:
    import torch.distributed.checkpoint as dcp

    def load(function: Any) -> Any:
        state = {"w": torch.empty(3, 4)}
        with pytest.warns(UserWarning, match="torch.distributed is disabled"):
            dcp.load(  # type: ignore[attr-defined]
                state, storage_reader=FastInitReader(state, {"w": computed(function)}, seed=0), no_dist=True
            )
        return state["w"]

    assert load(a_log)[2].tolist() == pytest.approx(np.log([1, 2, 3, 4]))
    from torch.distributed.checkpoint.api import CheckpointException

    with pytest.raises(CheckpointException, match=r"parameter 'w' of shape \(3, 4\): computed\(fails\) raised Look"):
        load(fails)


def test_what_is_computed_needs_a_dtype_that_can_be_filled() -> None:
    module = odd()
    with pytest.raises(ValueError, match=r"parameter 'codes' must have dtype float32, .* got torch.int8"):
        init_module(module, {"codes": computed(a_log), "*": skip}, seed=0)


class Unhashable:
    """A callable that has no hash."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, out: Any, **_: Any) -> None:
        out[...] = 2


def test_a_callable_needs_no_hash() -> None:
    layer = nn.Linear(2, 2)
    report = init_module(layer, {"*": computed(Unhashable())}, seed=0)
    assert str(report.rows[0].initializer) == "computed(Unhashable)"
    assert layer.weight.eq(2).all()
