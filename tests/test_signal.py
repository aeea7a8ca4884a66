"""Promise: how signals travel is predicted as published, measured as it is, and advice is true."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import pathlib
import re
import sys
from typing import Any

import numpy as np
import pytest

import fastinit
from fastinit.recipes import Initializer
from fastinit.signal import Layer, Report, chi, coordinate_check, fixed_points, mlp, variance_map
from fastinit.signal._activations import ACTIVATIONS
from fastinit.signal._values import dead_share, measured, saturated_share

integrate = pytest.importorskip("scipy.integrate")
special = pytest.importorskip("scipy.special")

NAMES = list(ACTIVATIONS)
QS = [0.0, 1e-20, 1e-6, 0.01, 0.3, 1.0, 2.5, 17.0, 1e3, 1e6]

# Written from the definitions, by SciPy's functions: what the package computes in its own way.
DEFINITIONS: dict[str, Any] = {
    "linear": (lambda x: x, lambda x: 1.0),
    "relu": (lambda x: max(x, 0.0), lambda x: float(x > 0)),
    "leaky_relu": (lambda x: max(x, 0.01 * x), lambda x: 1.0 if x > 0 else 0.01),
    "tanh": (math.tanh, lambda x: 1 / math.cosh(min(abs(x), 300.0)) ** 2),
    "sigmoid": (special.expit, lambda x: special.expit(x) * special.expit(-x)),
    "gelu": (
        lambda x: x * special.ndtr(x),
        lambda x: special.ndtr(x) + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    ),
    "silu": (
        lambda x: x * special.expit(x),
        lambda x: special.expit(x) * (1 + x * special.expit(-x)),
    ),
}


def by_scipy(f: Any, q: float) -> float:
    """E f(sqrt(q) z), by adaptive quadrature between points that crowd around 0, where activations bend."""

    def integrand(z: float) -> float:
        return float(f(math.sqrt(q) * z)) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    cuts = [0.0, *(float(cut) for cut in np.geomspace(1e-5, 38, 25))]
    total = 0.0
    for low, high in itertools.pairwise(cuts):
        for a, b in ((low, high), (-high, -low)):
            total += integrate.quad(integrand, a, b, epsabs=0, epsrel=1e-13)[0]
    return total


# --- the theory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("q", QS)
@pytest.mark.parametrize("name", NAMES)
def test_quadrature_agrees_with_scipy(name: str, q: float) -> None:
    value, slope = DEFINITIONS[name]
    wanted = 1.7**2 * by_scipy(lambda x: value(x) ** 2, q) + 0.3**2
    assert variance_map(q, name, 1.7, 0.3) == pytest.approx(wanted, rel=1e-12)
    if name not in ("relu", "leaky_relu") or q > 0:  # there the slope is whatever it is at 0
        assert chi(q, name, 1.7) == pytest.approx(1.7**2 * by_scipy(lambda x: slope(x) ** 2, q), rel=1e-12)


@pytest.mark.parametrize("q", [1e-20, 0.3, 1.0, 40.0, 1e20])
def test_closed_forms(q: float) -> None:
    """Linear pieces (He et al. 2015); gelu's is that of the arcsine kernel, by Stein's lemma."""
    assert variance_map(q, "linear") == pytest.approx(q, rel=1e-13)
    assert variance_map(q, "relu", math.sqrt(2)) == pytest.approx(q, rel=1e-13)
    assert variance_map(q, "leaky_relu", a=0.2) == pytest.approx(q * 1.04 / 2, rel=1e-13)
    assert chi(q, "leaky_relu", a=-3) == pytest.approx(5.0, rel=1e-13)
    root = math.sqrt(1 + 2 * q)  # asin(q / (1 + q)) = atan(q / root), which keeps its digits
    gelu = q / 4 + q / (2 * math.pi) * (math.atan(q / root) + 2 * q / ((1 + q) * root))
    assert variance_map(q, "gelu") == pytest.approx(gelu, rel=1e-12)


def test_limits_of_saturating_activations() -> None:
    """Of large q, outputs are at the ends, and E phi'^2 = integral of phi'^2 over sqrt(2 pi q): 4/3 and 1/6."""
    for q in (1e10, 1e20):
        assert variance_map(q, "tanh") == pytest.approx(1.0, abs=2 / math.sqrt(q))
        assert variance_map(q, "sigmoid") == pytest.approx(0.5, abs=2 / math.sqrt(q))
        assert chi(q, "tanh") == pytest.approx(4 / 3 / math.sqrt(2 * math.pi * q), rel=1e-8)
        assert chi(q, "sigmoid") == pytest.approx(1 / 6 / math.sqrt(2 * math.pi * q), rel=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_arrays_have_the_values_of_their_elements(name: str) -> None:
    q = np.array([[0.0, 0.5], [2.0, 30.0]])
    for function in (variance_map, chi):
        got = function(q, name, 1.3)
        assert got.shape == q.shape
        assert got.ravel().tolist() == [function(one, name, 1.3) for one in q.ravel().tolist()]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("sigma_w", "sigma_b"), [(0.5, 0.0), (1.0, 0.0), (1.3, 0.0), (1.6, 0.0), (1.2, 0.4), (3.0, 1.0)]
)
def test_fixed_points_are_fixed_and_none_is_missed(name: str, sigma_w: float, sigma_b: float) -> None:
    found = fixed_points(name, sigma_w, sigma_b)
    if name == "linear" and (sigma_w, sigma_b) == (1.0, 0.0):
        assert [point.q for point in found] == [None]
        return
    for point in found:
        assert point.q is not None
        assert variance_map(point.q, name, sigma_w, sigma_b) == pytest.approx(point.q, rel=1e-9, abs=1e-15)
        assert point.chi == chi(point.q, name, sigma_w)
        if point.q > 0:
            step = 1e-4 * point.q
            ahead, behind = (variance_map(point.q + d, name, sigma_w, sigma_b) for d in (step, -step))
            assert point.slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-5)
    # Iterated from anywhere, the map comes to one of them whose slope is at most 1, or goes to infinity.
    for start in (0.1, 1.0, 30.0):
        q = start
        for _ in range(300):
            q = variance_map(q, name, sigma_w, sigma_b)
            if not 1e-9 < q < 1e9:
                break
        rests = [p.q for p in found if p.q is not None and p.slope <= 1.0 + 1e-9]
        near = any(q == pytest.approx(rest, rel=1e-3, abs=5e-3) for rest in rests)
        assert near or (q >= 1e9 and not any(p.q is not None and p.q > start and p.slope < 1 for p in found))


def test_known_fixed_points() -> None:
    (he,) = fixed_points("relu", math.sqrt(2))
    assert he.q is None
    assert [he.slope, he.chi] == pytest.approx([1.0, 1.0])
    assert fixed_points("relu", math.sqrt(2), 0.1) == ()  # it grows by 0.01 a layer
    assert fixed_points("relu", 2.0, 0.1) == ()
    # With He's law the map of gelu comes near the diagonal, as sigma_b^2 - c / sqrt(q), and crosses it twice in all.
    for name in ("gelu", "silu"):
        near, far = fixed_points(name, math.sqrt(2), 0.1)
        assert near.slope < 1 < far.slope
        assert near.q is not None
        assert far.q is not None
        assert near.q < 1 < far.q < 1e6
    assert fixed_points("linear", 2.0)[0].q == 0.0
    assert fixed_points("relu", 1.0, 1.0)[0].q == pytest.approx(2.0)
    # Poole et al. 2016: without biases tanh is critical at sigma_w = 1, and has a second fixed point beyond.
    (rest,) = fixed_points("tanh", 1.0)
    assert rest.q == 0.0
    assert [rest.slope, rest.chi] == pytest.approx([1.0, 1.0])
    low, high = fixed_points("tanh", 1.5)
    assert low.slope > 1 > high.slope
    assert high.chi > 1


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gelu", "silu"])
@pytest.mark.parametrize(("sigma_w", "sigma_b"), [(0.5, 1e-9), (0.5, 1e-3), (0.5, 1e8), (1.0, 1e5), (1.0, 3e9)])
def test_fixed_points_far_from_1_are_found(name: str, sigma_w: float, sigma_b: float) -> None:
    """Biases of any size put one there: below, the map is the line of its slope at 0; above, that of relu, or flat."""
    (point,) = fixed_points(name, sigma_w, sigma_b)
    assert point.q is not None
    assert variance_map(point.q, name, sigma_w, sigma_b) == pytest.approx(point.q, rel=1e-9)


# --- measuring ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1.0, 1e30])
def test_moments_of_any_size(dtype: Any, scale: float) -> None:
    """The squares of float32 end at 1e38 and 1e-45, those of float64 would not: the moments are right all the same."""
    x = (fastinit.normal(np.empty((40, 50)), 0.5, seed=1, stream="x") * scale).astype(dtype)
    values = measured(x)
    digits = 1e-4 if dtype is np.float32 and scale == 1e-40 else 1e-6  # of subnormal numbers
    exact = x.astype(np.float64) / scale
    assert values.mean == pytest.approx(exact.mean() * scale, rel=digits)
    assert values.std == pytest.approx(exact.std() * scale, rel=digits)
    assert values.rms == pytest.approx(np.sqrt((exact**2).mean()) * scale, rel=digits)
    assert (values.low, values.high) == (x.min(), x.max())
    assert (values.n, sum(values.counts), values.zeros, values.nan, values.infinite) == (2000, 2000, 0.0, 0, 0)
    assert list(values.counts) == np.histogram(exact, len(values.counts))[0].tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_histogram_of_neighbouring_floats(dtype: Any) -> None:
    """Between two of them are no edges of bins."""
    one = dtype(1.0)
    values = measured(np.array([one, one, np.nextafter(one, dtype(2.0))]))
    assert (values.counts[0], values.counts[-1], sum(values.counts)) == (2, 1, 3)


def test_moments_of_what_is_finite() -> None:
    values = measured(np.array([1.0, np.nan, -np.inf, 3.0, 0.0, np.inf]))
    assert (values.n, values.nan, values.infinite, values.zeros) == (6, 1, 2, 1 / 6)
    assert [values.mean, values.low, values.high] == pytest.approx([4 / 3, 0.0, 3.0])
    none = measured(np.full(3, np.nan, np.float32))
    assert math.isnan(none.mean)
    assert (none.nan, none.counts) == (3, ())
    assert measured(np.empty(0)).n == 0
    constant = measured(np.full(7, -0.1, np.float32))
    assert [constant.mean, constant.std] == pytest.approx([-0.1, 0.0])
    assert measured(np.zeros(5)).rms == 0.0
    many = measured(np.arange(3 * 2**20, dtype=np.float32))
    assert sum(many.counts) == 2**20  # every third


def test_shares() -> None:
    x = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    assert dead_share(x, 1) == dead_share(x, -1) == 1 / 3
    assert dead_share(x, 0) == 0.0
    assert saturated_share(np.array([-0.98, 0.96, 0.5, 1.0]), (-1.0, 1.0)) == 0.5
    assert saturated_share(np.array([0.014, 0.016, 0.5, 0.986]), (0.0, 1.0)) == 0.5


# --- the plain network ----------------------------------------------------------------------------------------------

LAWS = {
    "linear": Initializer("lecun_normal"),
    "relu": Initializer("he_normal"),
    "leaky_relu": Initializer("he_uniform", a=0.3),
    "tanh": Initializer("xavier_uniform"),
    "sigmoid": Initializer("normal", std=0.2),
    "gelu": Initializer("orthogonal", gain=1.5),
    "silu": Initializer("variance_scaling", scale=2.4, distribution="truncated_normal"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bias", [None, Initializer("normal", std=0.3)])
def test_measured_and_predicted_lie_over_each_other(name: str, bias: Any) -> None:
    """Widths 400: log q fluctuates by about sqrt(5 L / n) after L layers (Hanin and Rolnick 2018), here 0.25 for relu,
    which is 0.13 of a standard deviation; four of those.
    """
    a = 0.3 if name == "leaky_relu" else None
    depth, width = 5, 400
    report = mlp([300] + [width] * depth, name, LAWS[name], bias=bias, a=a, batch=300, seed=3)
    assert len(report.layers) == (depth if name == "linear" else 2 * depth)
    for layer in report.layers:
        assert layer.gradient is not None
        bound = 4 * math.sqrt(5 * depth / width) / 2
        assert layer.output.std == pytest.approx(layer.predicted_std, rel=bound)
        assert layer.gradient.std == pytest.approx(layer.predicted_grad_std, rel=bound)


def test_predictions_follow_the_widths() -> None:
    """Forward goes by fan_in, backward by fan_out."""
    widths = [64, 256, 32, 128]
    std = 0.1
    report = mlp(widths, "linear", Initializer("normal", std=std), gradient=np.full((8, 128), 2.0), x=np.ones((8, 64)))
    forward = [layer.predicted_std for layer in report.layers]
    assert forward == pytest.approx([std**k * math.sqrt(math.prod(widths[:k])) for k in (1, 2, 3)])
    backward = [layer.predicted_grad_std for layer in report.layers]
    assert backward == pytest.approx([2.0 * std**k * math.sqrt(math.prod(widths[4 - k :])) for k in (2, 1, 0)])


def test_gradients_are_those_of_the_loss() -> None:
    """By differences of sum(gradient * output) in one weight's place: its row of the report has their moments."""
    widths, name = [3, 4, 2], "tanh"
    x = fastinit.normal(np.empty((5, 3)), seed=1, stream="x")
    g = fastinit.normal(np.empty((5, 2)), seed=1, stream="g")
    weights = [
        fastinit.xavier_normal(np.empty(shape), layout="torch", seed=9, stream=f"fc{i}.weight")
        for i, shape in ((1, (4, 3)), (2, (2, 4)))
    ]

    def loss() -> float:
        return float((g * np.tanh(np.tanh(x @ weights[0].T) @ weights[1].T)).sum())

    report = mlp(widths, name, "xavier_normal", x=x, gradient=g, seed=9)
    for layer, weight in zip(report.layers[::2], weights, strict=True):
        numeric = np.empty_like(weight)
        for index in np.ndindex(weight.shape):
            kept, step = weight[index], 1e-5
            weight[index] = kept + step
            above = loss()
            weight[index] = kept - step
            numeric[index] = (above - loss()) / (2 * step)
            weight[index] = kept
        assert layer.weight_gradient is not None
        assert layer.weight_gradient.rms == pytest.approx(np.sqrt((numeric**2).mean()), rel=1e-7)
        assert (layer.weight_gradient.low, layer.weight_gradient.high) == pytest.approx(
            (numeric.min(), numeric.max()), rel=1e-6
        )


def test_rows_say_what_they_are() -> None:
    report = mlp([8, 16, 4], "relu", "he_normal", batch=7)
    assert [layer.name for layer in report.layers] == ["fc1", "fc1.relu", "fc2", "fc2.relu"]
    assert [layer.shape for layer in report.layers] == [(7, 16), (7, 16), (7, 4), (7, 4)]
    fc2, relu = report.layers[2:]
    assert fc2.gain == pytest.approx(fc2.output.rms / report.layers[1].output.rms)
    assert fc2.gradient is not None
    assert report.layers[1].gradient is not None
    assert fc2.backward_gain == pytest.approx(report.layers[1].gradient.rms / fc2.gradient.rms)
    assert report.layers[0].backward_gain is None
    assert (fc2.dead, fc2.saturated) == (None, None)
    assert relu.dead is not None
    assert relu.output.zeros > 0.1
    assert report.gain == pytest.approx(relu.output.rms / report.layers[0].output.rms)
    assert mlp([8, 16, 4], "tanh", "he_normal").layers[1].saturated is not None


def test_the_same_seed_gives_the_same_report() -> None:
    one, other, third = (mlp([32, 32, 8], "gelu", "he_normal", bias="zeros", seed=seed) for seed in (1, 1, 2))
    assert one == other
    assert one != third


# --- advice ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("relu", "he_normal"),
        ("relu", "he_uniform"),
        ("relu", Initializer("he_normal", mode="fan_out")),
        ("leaky_relu", Initializer("he_normal", a=0.01)),
        ("tanh", "xavier_uniform"),
        ("tanh", "lecun_normal"),
        ("tanh", Initializer("xavier_normal", gain=1.05)),
        ("linear", "orthogonal"),
        ("linear", "lecun_uniform"),
        ("linear", "identity"),
    ],
)
@pytest.mark.parametrize("widths", [[256] * 31, [784, 512, 256, 128, 64, 32, 10], [16, 64, 256, 1024], [30] * 8])
@pytest.mark.parametrize("seed", range(3))
def test_no_advice_where_a_law_holds(name: str, law: Any, widths: list[int], seed: int) -> None:
    if name == "tanh" and isinstance(law, Initializer) and len(widths) > 30:
        return  # chi = 1.05: thirty layers are deeper than 1 / log(chi)
    assert mlp(widths, name, law, seed=seed).advice == ()


def only(report: Report) -> str:
    (words,) = report.advice
    return words


def test_xavier_before_relu() -> None:
    words = only(mlp([512] * 12, "relu", "xavier_normal"))
    factors = re.findall(r"shrinks \(x (0\.\d+) a layer\)", words)
    assert len(factors) == 2
    # A layer's factor is 0.5, and sqrt(5 / (n L)) of it by chance; three times that, and two digits.
    assert all(float(factor) == pytest.approx(0.5, abs=1.5 * math.sqrt(5 / 512 / 10) + 0.005) for factor in factors)
    assert words.startswith("fc1 .. fc11: the variance shrinks")
    assert "over 10 links through relu. " in words
    assert re.search(r"fan_in E\[w\^2\] is (0\.99\d*|1(\.00\d*)?): Xavier's or LeCun's\.", words)
    assert words.endswith("relu keeps the variance at 2: He's law.")


@pytest.mark.parametrize(
    ("name", "law", "says"),
    [
        ("relu", Initializer("he_normal", a=5**0.5), "PyTorch's default"),
        ("leaky_relu", Initializer("xavier_normal"), "leaky_relu keeps the variance at 2: He's law with its slope"),
        ("tanh", Initializer("normal", std=0.01), "tanh keeps that of gradients near 1"),
        ("tanh", Initializer("xavier_normal", gain=2.0), "that of gradients grows (x "),
        ("linear", Initializer("he_normal"), "the variance grows (x 2.0"),
        ("sigmoid", Initializer("xavier_normal"), "A sigmoid's slope is at most 1/4"),
        ("tanh", Initializer("normal", std=0.0007), "the variance shrinks (x 0.0001"),
        ("gelu", Initializer("xavier_normal"), "gelu keeps a variance of 1 at 2.3"),
        ("silu", Initializer("lecun_normal"), "silu keeps a variance of 1 at 2.8"),
        ("silu", Initializer("lecun_normal"), "; others go away from it, layer by layer."),
    ],
)
def test_what_a_chain_is_told(name: str, law: Any, says: str) -> None:
    words = only(mlp([300] * 10, name, law, seed=5))
    assert says in words
    assert words.startswith("fc1 .. fc9: ")


def test_a_variance_that_rests_is_not_said_to_change() -> None:
    words = mlp([300] * 10, "tanh", Initializer("normal", std=1.0), seed=5).advice[0]
    assert re.search(r"the variance stays \(x (0\.99|1\.0\d) a layer\), that of gradients grows \(x ", words)


def test_a_chain_without_a_law_is_told_nothing_of_one() -> None:
    """Weights whose squares are no numbers; weights of 0."""
    report = mlp([20] * 5, "tanh", Initializer("normal", std=1e200))
    assert not any(" .. " in words for words in report.advice)
    zero = mlp([20] * 5, "tanh", "zeros", bias=Initializer("normal"))
    assert not any(" .. " in words for words in zero.advice)


def test_uniform_weights_saturate_tanh() -> None:
    shifted, saturated = mlp([100] * 6, "tanh", Initializer("uniform", low=0.0, high=1.0)).advice[:2]
    assert re.match(r"fc1, fc2, fc3, fc4 and 1 more: weights of mean 0\.49\d* to 0\.50\d*", shifted)
    assert re.match(r"fc1\.tanh, .*: saturated: up to \d+ % of the outputs are beyond 0\.97 of the range", saturated)
    report = mlp([100] * 6, "sigmoid", Initializer("uniform", low=-5.0, high=5.0))
    assert any("saturated" in words for words in report.advice)


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("value", [0.0, 0.5, -0.1])
def test_constant_weights_are_one_unit(name: str, value: float) -> None:
    report = mlp([20, 30, 30, 30], name, Initializer("constant", value=value))
    assert all(layer.equal_units == (layer.kind == "linear") for layer in report.layers)
    words = report.advice[0]
    assert re.search(r"(fc1|fc2).*: constant weights: all units of a layer have the same", words)
    assert "They stay one unit (symmetry)" in words
    if value == 0.0 and name != "sigmoid":
        assert "no gradient reaches them" in words


def test_a_single_unit_is_not_constant() -> None:
    assert mlp([4, 1], "linear", Initializer("constant", value=1.0)).advice == ()


def test_random_biases_break_the_symmetry_of_constant_weights() -> None:
    report = mlp([20, 30, 30], "tanh", Initializer("constant", value=0.1), bias=Initializer("normal"))
    assert not any(layer.equal_units for layer in report.layers)


def test_dead_units() -> None:
    report = mlp([50, 200, 200, 10], "relu", "he_normal", bias=Initializer("constant", value=-30.0))
    assert report.layers[1].dead == 1.0
    assert any(re.match(r"fc1\.relu, .*: dead: up to 100 % of the units", words) for words in report.advice)
    # Deep inputs of a plain network are alike, and half of the units may be 0 for all of them: no advice.
    deep = mlp([64] * 60, "relu", "he_normal", batch=16)
    assert max(layer.dead or 0.0 for layer in deep.layers) > 0.3
    assert not any("dead" in words for words in deep.advice)


def test_no_gradient_and_too_small_a_gradient() -> None:
    report = mlp([30] * 9, "sigmoid", Initializer("normal", std=1e-3), bias=Initializer("normal", std=9.0))
    assert any("shrinks" in words or "vanish" in words for words in report.advice)
    # Two layers are no chain, and the gradient is lost all the same.
    report = mlp([30, 30, 30], "linear", Initializer("normal", std=1e-9))
    assert any(words.startswith("Gradients vanish: ") for words in report.advice)
    report = mlp([30, 30, 30], "linear", Initializer("normal", std=1e9))
    assert any(words.startswith("Gradients explode: ") for words in report.advice)
    report = mlp([10, 10, 10], "relu", "he_normal", gradient=np.zeros((4, 10)), batch=4)
    assert only(report) == "No gradient reaches 2 of 2 layers (fc1, fc2)."
    assert report.backward_gain is None


def test_what_is_not_finite_is_called_out() -> None:
    x = np.ones((4, 10))
    x[0, 0] = np.nan
    first, second = mlp([10, 10, 10], "tanh", "he_normal", x=x).advice[:2]
    assert first.startswith("fc1: 10 NaN and 0 infinities among 40 outputs: the first layer of the forward pass")
    assert second.startswith("fc")
    assert "gradients: the first layer of the backward pass" in second
    report = mlp([10] * 40, "linear", Initializer("normal", std=1e30))
    assert any("infinities" in words and not words.startswith("fc1:") for words in report.advice)
    assert json.loads(report.to_json())["layers"][-1]["output"]["mean"] is None


# --- what a report shows --------------------------------------------------------------------------------------------


def test_the_table() -> None:
    report = mlp([8, 16, 4], "tanh", "xavier_normal", batch=7)
    head, *rows = str(report).splitlines()
    assert head.split() == [
        *("layer", "kind", "shape", "mean", "std", "predicted", "zeros", "saturated", "gain"),
        *("grad", "std", "predicted", "backward", "gain"),
    ]
    assert rows[0].startswith("fc1       linear  7x16   ")
    assert rows[4].startswith("4 layers; gain from the first to the last ")
    assert len(rows) == 5
    assert str(Report((), ("Nothing.",))).endswith("gradients from the last to the first -\nNothing.")


def test_json() -> None:
    report = mlp([8, 16, 4], "relu", "xavier_normal", batch=7)
    data = json.loads(report.to_json())
    assert data["advice"] == list(report.advice)
    assert data["gain"] == report.gain
    assert [layer["name"] for layer in data["layers"]] == [layer.name for layer in report.layers]
    assert data["layers"][1]["output"]["counts"] == list(report.layers[1].output.counts)


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "fastinit.signal._draw", raising=False)
    report = mlp([4, 4], "relu", "he_normal", batch=3)
    with pytest.raises(ImportError, match="draw with matplotlib, which is not installed"):
        report.plot()
    with pytest.raises(ImportError, match="matplotlib"):
        report.to_html(tmp_path / "report.html")
    with pytest.raises(ImportError, match="matplotlib"):
        coordinate_check([4, 8], steps=1).plot()
    assert list(tmp_path.iterdir()) == []


def figure_of(thing: Any) -> Any:
    pytest.importorskip("matplotlib")
    return thing.plot()


def test_pictures(tmp_path: pathlib.Path) -> None:
    report = mlp([64] * 20, "relu", "xavier_normal")
    figure = figure_of(report)
    top, *small = figure.get_axes()
    lines = {line.get_label(): line.get_ydata() for line in top.get_lines()}
    assert set(lines) == {"outputs", "gradients", "predicted"}
    assert list(lines["outputs"]) == pytest.approx([layer.output.std**2 for layer in report.layers])
    predicted = [line.get_ydata() for line in top.get_lines() if line.get_label() == "predicted"]
    assert list(predicted[0]) == pytest.approx([(layer.predicted_std or math.nan) ** 2 for layer in report.layers])
    assert [axes.get_title() for axes in small][:1] == ["fc1"]
    assert [axes.get_title() for axes in small][-1] == "fc19.relu"
    assert len(small) == 24
    # Without predictions, gradients or values that a logarithm has.
    for other in (
        mlp([4, 4], "relu", "zeros", batch=3),
        Report((Layer("x", "y", (1,), measured(np.full(1, np.nan))),), ()),
        Report((Layer("blocks.$\\no$", "y", (2,), measured(np.arange(2.0))),), ()),
        Report((), ()),
    ):
        figure_of(other).savefig(tmp_path / "other.png")
    figure_of(coordinate_check([4, 8], steps=1)).savefig(tmp_path / "width.png")


def test_the_page(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("matplotlib")
    report = mlp([64] * 20, "relu", "xavier_normal")
    path = tmp_path / "report.html"
    path.write_text("old")
    report.to_html(path)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    text = path.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert text.count("<svg") == 1
    assert text.count("<tr>") == len(report.layers) + 1
    assert "fc1 .. fc19: the variance shrinks" in text
    assert not re.search(r'(src|href)="(?!#|data:)', text)  # nothing from elsewhere
    Report((Layer("<b>", "y", (1,), measured(np.ones(1))),), ()).to_html(str(path))
    assert "&lt;b&gt;" in path.read_text("utf-8")
    assert "No law is off." in path.read_text("utf-8")
    with pytest.raises(FileNotFoundError):
        report.to_html(tmp_path / "no" / "report.html")


# --- the width sweep ------------------------------------------------------------------------------------------------

WIDTHS = [64, 128, 256, 512]


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 0.001), ("adam", 0.01), ("sgd", 0.1)])
def test_mup_moves_alike_at_all_widths(optimizer: Any, rate: float) -> None:
    """Yang et al. 2022: slope 0, while the standard parametrization moves more when it is wider: by about width^1.

    What width 64 shows is random by about 1 / sqrt(64), and so is a slope over these widths, by 1/8.
    """
    for seed in range(3):
        found = coordinate_check(WIDTHS, optimizer=optimizer, rate=rate, seed=seed)
        assert all(abs(slope) < 2 / 8 for slope in found.slopes.values())
        standard = coordinate_check(WIDTHS, parametrization="standard", optimizer=optimizer, rate=rate, seed=seed)
        assert all(standard.slopes[name] > 3 / 8 for name in ("fc2", "fc3"))


def test_at_the_first_width_both_are_one_network() -> None:
    one, other = (coordinate_check([32, 64], parametrization=p) for p in ("mup", "standard"))
    assert one.moved[0] == other.moved[0]
    assert one.moved[1] != other.moved[1]


def test_the_table_of_widths() -> None:
    lines = str(coordinate_check([32, 64], depth=3, activation="leaky_relu", a=0.1)).splitlines()
    assert lines[0].split() == ["layer", "32", "64", "slope"]
    assert [line.split()[0] for line in lines[1:]] == ["fc1", "fc2", "out"]
    assert len({len(line) for line in lines}) == 1


def test_adam_is_adam() -> None:
    """Its first step moves each weight with a gradient by the rate, here those of the output, which is 0 before it; the
    others have none yet. So each output is the rate times a sum of +-phi(h).
    """
    for activation in ("linear", "relu"):
        (row, _) = coordinate_check([8, 16], activation, steps=1, rate=1e-3, depth=2).moved
        x = fastinit.normal(np.empty((32, 32)), seed=0, stream="x")
        y = fastinit.normal(np.empty((32, 32)), seed=0, stream="y")
        h = x @ fastinit.normal(np.empty((8, 32)), std=32**-0.5, seed=0, stream="fc1").T
        z = h if activation == "linear" else np.maximum(h, 0)
        assert row[0] == 0.0
        assert row[1] == pytest.approx(1e-3 * np.sqrt(np.square(z @ np.sign(y.T @ z).T).mean()), rel=1e-3)


def test_sgd_is_sgd() -> None:
    (row, _) = coordinate_check([8, 16], "linear", steps=1, rate=0.5, depth=2, optimizer="sgd", batch=5).moved
    x = fastinit.normal(np.empty((5, 32)), seed=0, stream="x")
    y = fastinit.normal(np.empty((5, 32)), seed=0, stream="y")
    h = x @ fastinit.normal(np.empty((8, 32)), std=32**-0.5, seed=0, stream="fc1").T
    assert row[0] == 0.0
    assert row[1] == pytest.approx(0.5 / y.size * np.sqrt(np.square(h @ (y.T @ h).T).mean()), rel=1e-12)


# --- what is refused ------------------------------------------------------------------------------------------------

MLP: dict[str, Any] = {"widths": [4, 4], "activation": "relu", "initializer": "he_normal"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"widths": [4]}, ValueError, r"widths must be at least two ints >= 1, .*; got \[4\]"),
        ({"widths": [4, 0]}, ValueError, r"widths must be at least two ints >= 1"),
        ({"widths": 4}, TypeError, "widths must be a sequence of ints, got 4"),
        ({"activation": "swish"}, ValueError, "activation must be one of 'linear', 'relu', .*, got 'swish'"),
        ({"activation": None}, TypeError, "activation must be one of"),
        ({"a": 0.1}, ValueError, "a is the slope of leaky_relu, and relu has none; got a=0.1"),
        ({"activation": "leaky_relu", "a": math.inf}, ValueError, "a must be a finite real number"),
        ({"initializer": 3}, TypeError, "initializer must be an Initializer or the name of a function .*, got 3"),
        ({"initializer": "he"}, ValueError, "function must be one of"),
        ({"bias": "he_normal"}, ValueError, "layout"),
        ({"seed": 0.5}, TypeError, "seed must be an int, got 0.5"),
        ({"batch": 0}, ValueError, "batch must be an int >= 1"),
        ({"x": np.ones(4)}, ValueError, r"x must have the shape \(batch, 4\), got \(4,\)"),
        ({"x": np.ones((0, 4))}, ValueError, r"x must have the shape \(batch, 4\), got \(0, 4\)"),
        ({"x": "a"}, TypeError, "x must be an array of numbers"),
        ({"x": np.ones((3, 4)), "gradient": np.ones((2, 4))}, ValueError, r"gradient must have the shape \(3, 4\)"),
    ],
)
def test_a_wrong_network_is_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mlp(**{**MLP, **change})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"widths": [4, 4]}, ValueError, "widths must be at least two different ints >= 1"),
        ({"widths": [4, 0]}, ValueError, "widths must be at least two different ints >= 1"),
        ({"parametrization": "ntk"}, ValueError, "parametrization must be one of 'standard', 'mup'"),
        ({"optimizer": "lion"}, ValueError, "optimizer must be one of 'adam', 'sgd'"),
        ({"rate": 0}, ValueError, "rate must be a finite real number > 0"),
        ({"steps": 0}, ValueError, "steps must be an int >= 1"),
        ({"depth": 1}, ValueError, "depth must be an int >= 2, got 1"),
        ({"seed": None}, TypeError, "seed must be an int"),
    ],
)
def test_a_wrong_sweep_is_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        coordinate_check(**{"widths": [4, 8], **arguments})


@pytest.mark.parametrize(
    ("q", "error", "message"),
    [
        (-1.0, ValueError, "q must be finite and >= 0, got -1.0"),
        (math.nan, ValueError, "q must be finite"),
        ("a", TypeError, "q must be a number >= 0 or an array of them, got 'a'"),
        ("2", TypeError, "q must be a number >= 0 or an array of them, got '2'"),
        (True, TypeError, "q must be a number >= 0 or an array of them, got True"),
        ([1.0, [2.0]], TypeError, "q must be a number >= 0 or an array of them"),
    ],
)
def test_a_wrong_q_is_refused(q: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        variance_map(q, "relu")
    with pytest.raises(error, match=message):
        chi(q, "relu")
    with pytest.raises(ValueError, match="sigma_w must be a finite real number >= 0"):
        fixed_points("relu", -1.0)


def test_names() -> None:
    module = importlib.import_module("fastinit.signal")
    assert dir(module) == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name).__module__.startswith("fastinit.signal")
    with pytest.raises(AttributeError, match=r"module 'fastinit\.signal' has no attribute 'nothing'"):
        module.nothing  # noqa: B018
