"""Promise: the demo fills the published networks, says what is true of them, and fails if a moment is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conftest import library
from fastinit.__main__ import main
from fastinit._tools import demo, shapes
from fastinit.recipes import Initializer, match, named

# Published: parameters, and arrays as the same sources count them.
COUNTS = {"gpt2": (124_439_808, 148), "resnet50": (25_557_032, 161)}


def laws(name: str) -> dict[str, demo.Law]:
    """What each parameter of a network should get."""
    network = demo.NETWORKS[name]
    tensors = network.shapes()
    found = match(named(network.recipe, tensors), tensors)
    return {
        name: demo.law(initializer, tensors[name])
        for name, (_, initializer) in found.items()
        if isinstance(initializer, Initializer)
    }


# --- the networks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", demo.NETWORKS)
def test_the_networks_have_their_published_sizes(name: str) -> None:
    tensors = demo.NETWORKS[name].shapes()
    assert (sum(map(math.prod, tensors.values())), len(tensors)) == COUNTS[name]


def gpt2() -> Any:
    transformers = library("transformers")
    return transformers.GPT2LMHeadModel(transformers.GPT2Config())


def resnet50() -> Any:
    return library("torchvision.models.resnet").resnet50()


def timm_resnet50() -> Any:
    return library("timm.models.resnet").resnet50()


@pytest.mark.parametrize(
    ("build", "listed"),
    [(gpt2, shapes.gpt2), (resnet50, shapes.resnet50), (timm_resnet50, shapes.resnet50)],
    ids=lambda function: function.__name__,
)
def test_names_and_shapes_are_those_of_the_libraries(
    build: Callable[[], Any], listed: Callable[[], shapes.Shapes]
) -> None:
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        model = build()
    found = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert list(found.items()) == list(listed().items())


@pytest.mark.parametrize(
    ("network", "name", "shape", "mean", "std"),
    [
        ("gpt2", "transformer.wte.weight", (50257, 768), 0.0, 0.02),
        ("gpt2", "transformer.wpe.weight", (1024, 768), 0.0, 0.02),
        ("gpt2", "transformer.h.0.ln_1.weight", (768,), 1.0, 0.0),
        ("gpt2", "transformer.h.0.attn.c_attn.weight", (768, 2304), 0.0, 0.02),
        ("gpt2", "transformer.h.11.attn.c_proj.weight", (768, 768), 0.0, 0.02 / math.sqrt(2 * 12)),
        ("gpt2", "transformer.h.5.mlp.c_fc.weight", (768, 3072), 0.0, 0.02),
        ("gpt2", "transformer.h.5.mlp.c_proj.weight", (3072, 768), 0.0, 0.02 / math.sqrt(2 * 12)),
        ("gpt2", "transformer.h.5.mlp.c_proj.bias", (768,), 0.0, 0.0),
        ("resnet50", "conv1.weight", (64, 3, 7, 7), 0.0, math.sqrt(2 / (64 * 49))),
        ("resnet50", "layer1.0.conv1.weight", (64, 64, 1, 1), 0.0, math.sqrt(2 / 64)),
        ("resnet50", "layer2.0.downsample.0.weight", (512, 256, 1, 1), 0.0, math.sqrt(2 / 512)),
        ("resnet50", "layer4.2.conv2.weight", (512, 512, 3, 3), 0.0, math.sqrt(2 / (512 * 9))),
        ("resnet50", "layer4.2.bn3.weight", (2048,), 1.0, 0.0),
        ("resnet50", "layer4.2.bn3.bias", (2048,), 0.0, 0.0),
        ("resnet50", "fc.weight", (1000, 2048), 0.0, 1 / math.sqrt(3 * 2048)),
        ("resnet50", "fc.bias", (1000,), 0.0, 1 / math.sqrt(3 * 2048)),
    ],
)
def test_published_parameters(network: str, name: str, shape: tuple[int, ...], mean: float, std: float) -> None:
    assert demo.NETWORKS[network].shapes()[name] == shape
    expected = laws(network)[name]
    assert expected.mean == mean
    assert expected.std == pytest.approx(std, rel=1e-12)


# --- what it prints -------------------------------------------------------------------------------------------------


def test_resnet50(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--models", "resnet50", "--seed", "3", "--threads", "2"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert max(map(len, lines)) <= demo.WIDTH == 110
    words = " ".join(printed.split())
    assert "It follows: He, Zhang, Ren, Sun" in words
    assert "those of torchvision's resnet50 with its default, zero_init_residual=False: bn3.weight is 1." in words
    assert "*.weight he_normal(mode='fan_out', layout='torch')" in words
    rows = {line.split()[0]: line.split() for line in lines if line}
    tensors = shapes.resnet50()
    for name, expected in laws("resnet50").items():
        row = rows[name]
        assert row[1] == "x".join(map(str, tensors[name]))
        assert demo.FORMS[row[2]] == expected.form
        assert row[3:5] == [f"{expected.mean:.6f}", f"{expected.std:.6f}"]
        assert float(row[6]) == pytest.approx(expected.std, rel=0.2)
        assert row[7] == "exact" if expected.form == "constant" else float(row[7]) < 5
    assert "161 arrays, 25,557,032 parameters" in printed
    assert "322 of 322 moments within 5 standard errors" in printed
    assert re.search(r"fastinit +\d+\.\d+ s +\d+\.\d+ G elements/s +at most 2 threads", printed)
    assert re.search(r"NumPy +\d+\.\d+ s +\d+\.\d+ G elements/s +1 thread", printed)
    assert re.search(r"ratio +\d+\.\d", printed)


SMALL: shapes.Shapes = {"a": (200, 300), "b": (100,), "c": ()}
RECIPE = {
    "a": Initializer("normal", mean=3.0, std=0.5),
    "b": Initializer("uniform", low=1.0, high=2.0),
    "c": Initializer("ones"),
}


def small(dtype: str = "float32") -> bool:
    return demo.run("small", "this test", SMALL, RECIPE, seed=0, threads=None, dtype=dtype)


@pytest.mark.parametrize("dtype", demo.DTYPES)
def test_every_dtype(dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert small(dtype)
    printed = capsys.readouterr().out
    assert f"small, {dtype}, seed 0" in printed
    assert "6 of 6 moments" in printed
    assert ("then converted" in printed) == (dtype in ("float16", "bfloat16"))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("initializer", RECIPE.values(), ids=str)
def test_numpy_draws_the_same_distribution(initializer: Initializer, dtype: str) -> None:
    out = np.empty(100_000, dtype)
    expected = demo.law(initializer, out.shape)
    scratch = np.empty(out.size if dtype == "float16" else 0, np.float32)
    demo.numpy_fill(np.random.default_rng(1), out, expected, scratch)
    values = out.astype(np.float64)
    assert max(demo.deviations(values.mean(), values.std(), expected, out.size)) < 5
    if expected.form != "constant":
        fourth = np.mean((values - values.mean()) ** 4) / values.var() ** 2
        assert fourth == pytest.approx(demo.KURTOSIS[expected.form], rel=0.05)


def test_moments_that_are_off_are_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "law", lambda initializer, shape: demo.Law("normal", 0.0, 1.0))
    assert not small()
    assert re.search(r"[0-5] of 6 moments", capsys.readouterr().out)
    monkeypatch.setattr(demo, "run", lambda title, *_, **options: title != "ResNet-50")
    assert main(["demo"]) == 1
    assert main(["demo", "--models", "gpt2"]) == 0


def test_deviations_are_in_standard_errors() -> None:
    assert demo.deviations(1.0, 0.0, demo.Law("constant", 1.0, 0.0), 9) == (0.0, 0.0)
    assert demo.deviations(1.0, 1e-9, demo.Law("constant", 1.0, 0.0), 9) == (0.0, math.inf)
    assert demo.deviations(0.9, 0.0, demo.Law("constant", 1.0, 0.0), 9) == (math.inf, 0.0)
    off = demo.deviations(0.4, 1.2, demo.Law("normal", 0.0, 1.0), 100)
    assert off == pytest.approx((4.0, 0.2 / (1 / math.sqrt(200))))


# --- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--seed", "-1"], "seed"),
        (["--seed", "x"], "seed"),
        (["--threads", "0"], "threads"),
        (["--models", "vgg"], "vgg"),
        (["--dtype", "int8"], "int8"),
    ],
)
def test_bad_options(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["demo", *arguments])
    assert caught.value.code == 2
    assert word in capsys.readouterr().err
