"""Promise: the demo fills the published networks, says what is true of them on one screen, draws it, and fails if a
moment is wrong.
"""

from __future__ import annotations

import io
import math
import pathlib
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from conftest import installed, library
from fastinit.__main__ import main
from fastinit._tools import demo, peers, picture, progress, shapes
from fastinit._tools.laws import KURTOSIS, Law, law
from fastinit.recipes import Initializer, Recipe, match, named

# Published: parameters, and arrays as the same sources count them.
COUNTS = {"gpt2": (124_439_808, 148), "resnet50": (25_557_032, 161)}


def recipe_of(name: str) -> Recipe:
    """The shipped recipe that a network is filled by."""
    network = demo.NETWORKS[name]
    assert isinstance(network.recipe, str)
    return named(network.recipe, network.shapes())


def laws(name: str) -> dict[str, Law]:
    """What each parameter of a network should get."""
    tensors = demo.NETWORKS[name].shapes()
    found = match(recipe_of(name), tensors)
    return {
        name: law(initializer, tensors[name])
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
    ("network", "name", "shape", "form", "mean", "std"),
    [
        ("gpt2", "transformer.wte.weight", (50257, 768), "normal", 0.0, 0.02),
        ("gpt2", "transformer.wpe.weight", (1024, 768), "normal", 0.0, 0.02),
        ("gpt2", "transformer.h.0.ln_1.weight", (768,), "constant", 1.0, 0.0),
        ("gpt2", "transformer.h.0.attn.c_attn.weight", (768, 2304), "normal", 0.0, 0.02),
        ("gpt2", "transformer.h.11.attn.c_proj.weight", (768, 768), "normal", 0.0, 0.02 / math.sqrt(2 * 12)),
        ("gpt2", "transformer.h.5.mlp.c_fc.weight", (768, 3072), "normal", 0.0, 0.02),
        ("gpt2", "transformer.h.5.mlp.c_proj.weight", (3072, 768), "normal", 0.0, 0.02 / math.sqrt(2 * 12)),
        ("gpt2", "transformer.h.5.mlp.c_proj.bias", (768,), "constant", 0.0, 0.0),
        ("resnet50", "conv1.weight", (64, 3, 7, 7), "normal", 0.0, math.sqrt(2 / (64 * 49))),
        ("resnet50", "layer1.0.conv1.weight", (64, 64, 1, 1), "normal", 0.0, math.sqrt(2 / 64)),
        ("resnet50", "layer2.0.downsample.0.weight", (512, 256, 1, 1), "normal", 0.0, math.sqrt(2 / 512)),
        ("resnet50", "layer4.2.conv2.weight", (512, 512, 3, 3), "normal", 0.0, math.sqrt(2 / (512 * 9))),
        ("resnet50", "layer4.2.bn3.weight", (2048,), "constant", 1.0, 0.0),
        ("resnet50", "layer4.2.bn3.bias", (2048,), "constant", 0.0, 0.0),
        ("resnet50", "fc.weight", (1000, 2048), "uniform", 0.0, 1 / math.sqrt(3 * 2048)),
        ("resnet50", "fc.bias", (1000,), "uniform", 0.0, 1 / math.sqrt(3 * 2048)),
    ],
)
def test_published_parameters(
    network: str, name: str, shape: tuple[int, ...], form: str, mean: float, std: float
) -> None:
    assert demo.NETWORKS[network].shapes()[name] == shape
    expected = laws(network)[name]
    assert (expected.form, expected.mean) == (form, mean)
    assert expected.std == pytest.approx(std, rel=1e-12)


# --- what it prints -------------------------------------------------------------------------------------------------


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


def test_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--threads", "2"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= demo.WIDTH == 80
    for name, title in (("gpt2", "GPT-2 small"), ("resnet50", "ResNet-50")):
        start = lines.index(f"{title}: {COUNTS[name][1]} arrays, {COUNTS[name][0]:,} parameters")
        patterns = list(dict(recipe_of(name)))
        rows = {line.split()[0]: line for line in lines[start + 1 : start + 1 + len(patterns)]}
        assert rows.keys() == set(patterns)  # a line for each kind of parameter
    assert "618 of 618 moments within 5 standard errors" in printed.out
    assert re.search(r"fastinit, 2 threads at most +\d+\.\d{4} +\d+\.\d{3}\n", printed.out)
    assert re.search(
        rf"NumPy {re.escape(np.__version__)}, 1 thread +\d+\.\d{{4}} +\d+\.\d{{3}} +x \d+\.\d\n", printed.out
    )
    assert bool(re.search(r"PyTorch 2\S+ +\d+\.\d{4} +\d+\.\d{3} +x \d+\.\d\n", printed.out)) == installed("torch")
    assert printed.err == ""  # no bar, where nobody sees it


def test_each_parameter(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch")
    assert main(["demo", "--models", "resnet50", "--seed", "3", "--verbose"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert max(map(len, lines)) <= demo.VERBOSE_WIDTH
    words = " ".join(printed.split())
    assert "those of torchvision's resnet50 with its default, zero_init_residual=False: bn3.weight is 1." in words
    assert "he_normal(mode='fan_out', layout='torch')" in words
    assert "PyTorch" not in printed
    rows = {line.split()[0]: line.split() for line in lines if line}
    tensors = shapes.resnet50()
    for name, expected in laws("resnet50").items():
        row = rows[name]
        assert row[1] == "x".join(map(str, tensors[name]))
        assert row[3:5] == [f"{expected.mean:g}", f"{expected.std:.6f}"]
        assert float(row[6]) == pytest.approx(expected.std, rel=0.2)
        assert row[7] == "exact" if expected.form == "constant" else float(row[7]) < 5
    assert "322 of 322 moments within 5 standard errors" in printed


def small(dtype: str = "float32", recipe: Any = None) -> bool:
    tensors = {"a.one": (200, 300), "a.two": (10, 1000), "b": (100,), "c": ()}
    network = demo.Network("small", "this test", lambda: tensors, recipe or RECIPE)
    good, panels = demo.run([network], seed=0, threads=None, dtype=dtype)
    assert panels == []
    return good


RECIPE = {
    "a.*": Initializer("normal", mean=3.0, std=0.5),
    "b": Initializer("uniform", low=1.0, high=2.0),
    "c": Initializer("ones"),
}


@pytest.mark.parametrize("dtype", demo.DTYPES)
def test_every_dtype(dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert small(dtype)
    printed = capsys.readouterr().out
    assert f"{dtype}, seed 0" in printed
    assert "8 of 8 moments" in printed
    assert ("by way of float32" in printed) == (dtype in ("float16", "bfloat16"))


def test_a_kind_has_the_moments_of_all_its_values() -> None:
    """Against those of the values themselves."""
    rng = np.random.default_rng(1)
    parts = [rng.normal(mean, std, n) for n, mean, std in ((100, 1.0, 0.5), (2000, -1.0, 2.0), (7, 0.0, 1.0))]
    one = Initializer("ones")
    kind = [
        demo.Filled("x", part.shape, one, Law("normal", 2 * part.mean(), 3 * part.std()), part.mean(), part.std())
        for part in parts
    ]
    values = np.concatenate(parts)
    mean, std, found_mean, found_std = demo.together(kind)
    assert (found_mean, found_std) == pytest.approx((values.mean(), values.std()))
    scaled = np.concatenate([2 * part.mean() + 3 * (part - part.mean()) for part in parts])
    assert (mean, std) == pytest.approx((scaled.mean(), scaled.std()))


@pytest.mark.parametrize(("n", "text"), [(64, "64"), (1000, "1.0 k"), (25_557_032, "25.6 M"), (124_439_808, "124.4 M")])
def test_sizes(n: int, text: str) -> None:
    assert demo.short(n) == text


# --- what is compared -----------------------------------------------------------------------------------------------


def in_law(values: Any, expected: Law) -> None:
    """Within 5 standard errors of its mean and std; and its fourth moment, whose own standard error is less than
    sqrt(96 / n) for a normal (the eighth moment is 105) and for a uniform: 0.05 for the n of these tests.
    """
    assert max(expected.deviations(values.mean(), values.std(), values.size)) < 5
    if expected.form != "constant":
        fourth = np.mean((values - values.mean()) ** 4) / values.var() ** 2
        assert abs(fourth - KURTOSIS[expected.form]) < 5 * math.sqrt(96 / values.size)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("initializer", RECIPE.values(), ids=str)
def test_numpy_draws_the_same_law(initializer: Initializer, dtype: str) -> None:
    out = np.empty(100_000, dtype)
    expected = law(initializer, out.shape)
    scratch = np.empty(out.size if dtype == "float16" else 0, np.float32)
    peers.numpy_fill(np.random.default_rng(1), out, expected, scratch)
    in_law(out.astype(np.float64), expected)


@pytest.mark.parametrize("dtype", demo.DTYPES)
@pytest.mark.parametrize("initializer", RECIPE.values(), ids=str)
def test_torch_draws_the_same_law(initializer: Initializer, dtype: str) -> None:
    """Into the buffer itself, and into no more of it than it is told to."""
    pytest.importorskip("torch")
    buffer = np.full(100_001, 7, ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    expected = law(initializer, (100_000,))
    name, fill = peers.installed(buffer, 1)[1]
    assert name.startswith("PyTorch 2")
    fill(100_000, expected)
    in_law(buffer[:-1].astype(np.float64), expected)
    assert buffer[-1] == 7


@pytest.mark.parametrize("error", [ImportError("no torch"), OSError("libtorch.so: cannot open shared object file")])
def test_without_torch(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise error

    monkeypatch.setattr(peers, "importlib", types.SimpleNamespace(import_module=missing))
    assert [peer.name for peer in peers.installed(np.zeros(8), 0)] == [f"NumPy {np.__version__}, 1 thread"]


def test_moments_that_are_off_are_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(demo, "law", lambda initializer, shape: Law("normal", 0.0, 1.0))
    assert not small()
    assert re.search(r"[0-7] of 8 moments", capsys.readouterr().out)
    monkeypatch.setattr(demo, "run", lambda networks, **options: ("ResNet-50" not in [n.title for n in networks], []))
    assert main(["demo"]) == 1
    assert main(["demo", "--models", "gpt2"]) == 0


def test_deviations_are_in_standard_errors() -> None:
    assert Law("constant", 1.0, 0.0).deviations(1.0, 0.0, 9) == (0.0, 0.0)
    assert Law("constant", 1.0, 0.0).deviations(1.0, 1e-9, 9) == (0.0, math.inf)
    assert Law("constant", 1.0, 0.0).deviations(0.9, 0.0, 9) == (math.inf, 0.0)
    assert Law("normal", 0.0, 1.0).deviations(0.4, 1.2, 100) == pytest.approx((4.0, 0.2 / (1 / math.sqrt(200))))
    # The variance of the variance of U(-sqrt 3, sqrt 3) is (1.8 - 1) / n, that of its root a fourth of it.
    assert Law("uniform", 0.0, 1.0).deviations(0.0, 1.2, 100)[1] == pytest.approx(0.2 / math.sqrt(0.8 / 400))


# --- the bar --------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_plain_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "tqdm")
    terminal = Terminal()
    with progress.progress(1000, terminal) as advance:
        for n in (0, 4, 496, 500):
            advance(n)
    empty, half, full = ("." * 40, "#" * 20 + "." * 20, "#" * 40)
    lines = terminal.getvalue().split("\r")
    assert lines == ["", f"[{empty}]   0 %", f"[{half}]  50 %", f"[{full}] 100 %", " " * 48, ""]
    assert max(map(len, lines[:-2])) == len(lines[-2])  # nothing of it is left


def test_the_bar_goes_away_when_the_user_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "tqdm")
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), progress.progress(10, terminal):
        raise KeyboardInterrupt
    assert terminal.getvalue().endswith("\r")


def test_tqdms_bar() -> None:
    pytest.importorskip("tqdm")
    terminal = Terminal()
    with progress.progress(1000, terminal) as advance:
        advance(400)
        advance(600)
    assert "/1.00k [" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")


def test_no_bar_without_a_terminal() -> None:
    for file in (None, out := io.StringIO()):
        with progress.progress(1000, file) as advance:
            advance(7)
    assert out.getvalue() == ""


def test_the_bar_ends_at_all_values(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "tqdm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    small()
    assert "] 100 %" in terminal.getvalue()


# --- the picture ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("initializer", [RECIPE["a.*"], RECIPE["b"]], ids=str)
def test_histograms_lie_on_the_density(initializer: Initializer, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bin's count is within 6 standard errors of what the density gives it, where that is 25 or more."""
    monkeypatch.setattr(picture, "PIECE", 1000)
    n = 200_500
    values = initializer.fill(np.empty(n, np.float64), seed=2, stream="h")
    expected = law(initializer, (n,))
    panel = picture.histogram("title", values.astype(np.dtype(getattr(ml_dtypes, dtype, dtype))), expected)
    width = np.diff(panel.edges)
    # Simpson's rule, within the bins, since a uniform's density jumps at an edge.
    x = [panel.edges[:-1] + width * (1e-9 + t * (1 - 2e-9)) for t in (0, 0.5, 1)]
    mass = width * (expected.density(x[0]) + 4 * expected.density(x[1]) + expected.density(x[2])) / 6
    assert mass.sum() == pytest.approx(1, abs=1e-5)
    counts = panel.heights * width * n
    assert counts == pytest.approx(np.rint(counts))
    assert n - 10 < np.rint(counts).sum() <= n
    if (
        dtype == "bfloat16"
    ):  # Its own steps, 2^-6 from 2 to 4, are a third of a bin: what is left of an edge may differ so.
        most = 2**-6 * expected.density(x[1]).max() + 5 / (2 * math.sqrt(n))
        assert np.abs(np.cumsum(counts) / n - np.cumsum(mass)).max() < most
    else:
        many = n * mass >= 25
        assert many.sum() >= 50
        assert np.all(np.abs(counts - n * mass)[many] <= 6 * np.sqrt(n * mass[many]))


def test_a_picture(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    without(monkeypatch, "torch")
    drawn: list[picture.Panel] = []

    def draw(panels: list[picture.Panel], *more: Any) -> None:
        drawn.extend(panels)
        real(panels, *more)

    real = picture.draw
    monkeypatch.setattr(picture, "draw", draw)
    file = tmp_path / "laws.png"
    assert main(["demo", "--models", "resnet50", "--plot", str(file)]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.endswith(f"histograms: {file}\n")
    # The largest of each kind that varies.
    assert [panel.title.partition(":")[0] for panel in drawn] == ["layer4.0.conv2.weight", "fc.weight"]
    assert [panel.law.form for panel in drawn] == ["normal", "uniform"]


def test_an_odd_number_of_panels(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib")
    panel = picture.histogram("title", np.linspace(1, 2, 1000), Law("uniform", 1.5, 1 / math.sqrt(12)))
    picture.draw([panel] * 3, "three", tmp_path / "three.svg")
    assert (tmp_path / "three.svg").read_text().startswith("<?xml")


def test_a_picture_that_cannot_be(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it could not be drawn, nothing is filled; where it cannot be written, all else is printed first."""

    def refused(file: pathlib.Path) -> tuple[str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["demo", "--models", "resnet50", "--plot", str(file)])
        assert caught.value.code == 2
        printed = capsys.readouterr()
        return printed.out, printed.err

    if installed("matplotlib"):
        out, err = refused(tmp_path / "laws.xyz")
        assert out == ""
        assert re.search(r"--plot must be a file whose name ends with .*\.png.*; got .*laws\.xyz\n", err)
        out, err = refused(tmp_path / "no" / "laws.png")
        assert "322 of 322" in out
        assert "histograms" not in out
        assert re.search(r"--plot .*laws\.png: No such file or directory\n", err)
    without(monkeypatch, "matplotlib", "matplotlib.figure")
    out, err = refused(tmp_path / "laws.png")
    assert out == ""
    assert "--plot needs matplotlib: python -m pip install matplotlib" in err
    assert not list(tmp_path.iterdir())


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
