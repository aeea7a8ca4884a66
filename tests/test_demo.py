"""The demo: its data are the published networks, and it says what is true."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import fastinit
from fastinit.__main__ import main
from fastinit._tools import demo as _demo

# Published parameter counts: Hugging Face's "gpt2" and torchvision's resnet50; counts of arrays from the same sources.
COUNTS = {"gpt2": (124_439_808, 148), "resnet50": (25_557_032, 161)}


@pytest.mark.parametrize("name", _demo.MODELS)
def test_data(name: str) -> None:
    model = _demo.load(name)
    elements, arrays = COUNTS[name]
    assert len(model["parameters"]) == arrays
    assert sum(math.prod(parameter["shape"]) for parameter in model["parameters"]) == elements
    assert len({parameter["name"] for parameter in model["parameters"]}) == arrays
    assert {parameter["recipe"] for parameter in model["parameters"]} == set(model["recipes"])
    assert all(recipe["function"] in fastinit.__all__ for recipe in model["recipes"].values())
    assert re.search(r"\b20\d\d\b", model["source"])


@pytest.mark.parametrize(
    ("model", "name", "shape", "std"),
    [
        ("gpt2", "transformer.wte.weight", [50257, 768], 0.02),
        ("gpt2", "transformer.wpe.weight", [1024, 768], 0.02),
        ("gpt2", "transformer.h.0.attn.c_attn.weight", [768, 2304], 0.02),
        ("gpt2", "transformer.h.11.attn.c_proj.weight", [768, 768], 0.02 / math.sqrt(2 * 12)),
        ("gpt2", "transformer.h.5.mlp.c_fc.weight", [768, 3072], 0.02),
        ("gpt2", "transformer.h.5.mlp.c_proj.weight", [3072, 768], 0.02 / math.sqrt(2 * 12)),
        ("gpt2", "transformer.h.5.mlp.c_proj.bias", [768], 0.0),
        ("resnet50", "conv1.weight", [64, 3, 7, 7], math.sqrt(2 / (64 * 49))),
        ("resnet50", "layer1.0.conv1.weight", [64, 64, 1, 1], math.sqrt(2 / 64)),
        ("resnet50", "layer2.0.downsample.0.weight", [512, 256, 1, 1], math.sqrt(2 / 512)),
        ("resnet50", "layer4.2.conv2.weight", [512, 512, 3, 3], math.sqrt(2 / (512 * 9))),
        ("resnet50", "layer4.2.bn3.weight", [2048], 0.0),
        ("resnet50", "fc.weight", [1000, 2048], 1 / math.sqrt(3 * 2048)),
        ("resnet50", "fc.bias", [1000], 1 / math.sqrt(3 * 2048)),
    ],
)
def test_published_parameters(model: str, name: str, shape: list[int], std: float) -> None:
    data = _demo.load(model)
    (parameter,) = (parameter for parameter in data["parameters"] if parameter["name"] == name)
    assert parameter["shape"] == shape
    want = _demo.promised(data["recipes"][parameter["recipe"]], shape)
    assert want.std == pytest.approx(std, rel=1e-12)
    assert want.mean == (1.0 if re.search(r"bn\d\.weight", name) else 0.0)


def test_resnet50(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--models", "resnet50", "--seed", "3", "--threads", "2"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert max(map(len, lines)) <= _demo.WIDTH == 110
    model = _demo.load("resnet50")
    rows = {line.split()[0]: line.split() for line in lines if line}
    for parameter in model["parameters"]:
        row = rows[parameter["name"]]
        assert row[1:3] == ["x".join(map(str, parameter["shape"])), parameter["recipe"]]
        want = _demo.promised(model["recipes"][parameter["recipe"]], parameter["shape"])
        assert row[3:5] == [f"{want.mean:.6f}", f"{want.std:.6f}"]
        assert float(row[6]) == pytest.approx(want.std, rel=0.2)
        assert row[7] == "exact" or float(row[7]) < 5
    assert "161 arrays, 25,557,032 parameters" in printed
    assert "322 of 322 moments within 5 standard errors" in printed
    assert re.search(r"fastinit +\d+\.\d+ s +\d+\.\d+ G elements/s +at most 2 threads", printed)
    assert re.search(r"NumPy +\d+\.\d+ s +\d+\.\d+ G elements/s +1 thread", printed)
    assert re.search(r"ratio +\d+\.\d", printed)


SMALL: _demo.Model = {
    "model": "small",
    "source": "this file",
    "recipes": {
        "shifted": {"function": "normal", "arguments": {"mean": 3.0, "std": 0.5}},
        "uniform": {"function": "uniform", "arguments": {"low": 1.0, "high": 2.0}},
        "ones": {"function": "ones", "arguments": {}},
    },
    "parameters": [
        {"name": "a", "shape": [200, 300], "recipe": "shifted"},
        {"name": "b", "shape": [100], "recipe": "uniform"},
        {"name": "c", "shape": [], "recipe": "ones"},
    ],
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_demo, "load", lambda name: SMALL)


@pytest.mark.parametrize("dtype", _demo.DTYPES)
def test_every_dtype(small: None, dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--models", "gpt2", "--dtype", dtype]) == 0
    printed = capsys.readouterr().out
    assert f"small, {dtype}, seed 0" in printed
    assert "6 of 6 moments" in printed
    assert ("then converted" in printed) == (dtype in ("float16", "bfloat16"))


def test_moments_that_are_off_are_counted(
    small: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_demo, "promised", lambda recipe, shape: _demo.Moments("normal", 0.0, 1.0, 3.0))
    assert main(["demo"]) == 1
    assert re.search(r"[0-5] of 6 moments", capsys.readouterr().out)
    assert _demo.deviations((1.0, 0.0), _demo.Moments("constant", 1.0, 0.0, 1.0), 9) == (0.0, 0.0)
    assert _demo.deviations((1.0, 1e-9), _demo.Moments("constant", 1.0, 0.0, 1.0), 9) == (0.0, math.inf)
    off = _demo.deviations((0.4, 1.2), _demo.Moments("normal", 0.0, 1.0, 3.0), 100)
    assert off == pytest.approx((4.0, 0.2 / (1 / math.sqrt(200))))


def test_measured_is_numpys() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, _demo.CHUNK * 2 + 17).astype(np.float32)
    mean, std = _demo.measured(values, 5.0)
    assert mean == pytest.approx(values.mean(dtype=np.float64), rel=1e-12)
    assert std == pytest.approx(values.std(dtype=np.float64), rel=1e-10)


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


def test_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("NO_COLOR", "1")
    for arguments, words in ((["--help"], ["config", "demo"]), (["demo", "--help"], ["--models", "--dtype", "--seed"])):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        printed = capsys.readouterr().out
        assert all(word in printed for word in words)
