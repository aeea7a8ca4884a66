"""The named initialisers mean what the papers and the frameworks publish.

Every expected number below is written out from the published definition, not computed by fastinit: the initialiser
must equal the plain `normal`, `uniform` or `truncated_normal` of that number, on the same words. Sampling errors come
from the sample's size.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import math
import platform
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastinit
from fastinit import _core, _fans

KEY: dict[str, Any] = {"seed": 20, "stream": 15}
DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]
# The standard deviation of N(0, 1) cut at +-2, as TensorFlow, Keras and JAX have it in their sources.
CUT = 0.87962566103423978

Kind = tuple[str, float]


def same(got: np.ndarray, kind: str, number: float) -> None:
    """got must be the plain distribution of that standard deviation or bound, up to the last bits of float64."""
    want = np.empty_like(got)
    if kind == "normal":
        fastinit.normal(want, std=number, **KEY)
    elif kind == "uniform":
        fastinit.uniform(want, low=-number, high=number, **KEY)
    else:
        fastinit.truncated_normal(want, std=number, low=-2.0, high=2.0, bounds="std", **KEY)
    np.testing.assert_allclose(got, want, rtol=1e-14, atol=0)


def fill(function: Callable[..., Any], shape: tuple[int, ...], **arguments: Any) -> np.ndarray:
    filled: np.ndarray = function(np.empty(shape), **arguments, **KEY)
    return filled


# torch.nn.init, for a weight of shape (out, in, *kernel) = (40, 12, 3, 5): fan_in = 12*3*5, fan_out = 40*3*5.
IN, OUT = 12 * 3 * 5, 40 * 3 * 5
TORCH = [
    ("xavier_uniform", {}, "uniform", math.sqrt(6.0 / (IN + OUT))),
    ("xavier_uniform", {"gain": 5 / 3}, "uniform", 5 / 3 * math.sqrt(6.0 / (IN + OUT))),
    ("xavier_normal", {}, "normal", math.sqrt(2.0 / (IN + OUT))),
    ("xavier_normal", {"gain": 2**0.5}, "normal", 2**0.5 * math.sqrt(2.0 / (IN + OUT))),
    ("kaiming_uniform", {}, "uniform", math.sqrt(2.0) * math.sqrt(3.0 / IN)),
    ("kaiming_uniform", {"a": math.sqrt(5)}, "uniform", 1 / math.sqrt(IN)),
    ("kaiming_uniform", {"mode": "fan_out"}, "uniform", math.sqrt(2.0) * math.sqrt(3.0 / OUT)),
    ("kaiming_uniform", {"a": 0.2}, "uniform", math.sqrt(2.0 / (1 + 0.2**2)) * math.sqrt(3.0 / IN)),
    ("kaiming_uniform", {"nonlinearity": "relu"}, "uniform", math.sqrt(6.0 / IN)),
    ("kaiming_normal", {}, "normal", math.sqrt(2.0) / math.sqrt(IN)),
    ("kaiming_normal", {"mode": "fan_out", "nonlinearity": "relu"}, "normal", math.sqrt(2.0) / math.sqrt(OUT)),
    ("kaiming_normal", {"a": 0.1, "mode": "fan_out"}, "normal", math.sqrt(2.0 / 1.01) / math.sqrt(OUT)),
    ("kaiming_normal", {"nonlinearity": "linear"}, "normal", 1 / math.sqrt(IN)),
    ("kaiming_normal", {"nonlinearity": "conv2d"}, "normal", 1 / math.sqrt(IN)),
    ("kaiming_normal", {"nonlinearity": "sigmoid"}, "normal", 1 / math.sqrt(IN)),
    ("kaiming_normal", {"nonlinearity": "tanh"}, "normal", 5 / 3 / math.sqrt(IN)),
    ("kaiming_normal", {"nonlinearity": "selu"}, "normal", 3 / 4 / math.sqrt(IN)),
    ("kaiming_normal", {"gain": 3.5}, "normal", 3.5 / math.sqrt(IN)),
    ("kaiming_normal", {"gain": 0.0}, "normal", 0.0),
]


@pytest.mark.parametrize(("name", "arguments", "kind", "number"), TORCH)
def test_torch(name: str, arguments: dict[str, Any], kind: str, number: float) -> None:
    same(fill(getattr(fastinit, name), (40, 12, 3, 5), layout="torch", **arguments), kind, number)


# keras.initializers, for a kernel of shape (*kernel, in, out) = (3, 5, 12, 40). VarianceScaling divides scale by the
# fan; uniform: limit = sqrt(3 scale); truncated_normal: stddev = sqrt(scale) / 0.87962566103423978, cut at 2 of them.
# jax.nn.initializers.variance_scaling has the same numbers (in_axis=-2, out_axis=-1).
KERAS = [
    ("glorot_uniform", {}, "uniform", math.sqrt(3 * (1 / ((IN + OUT) / 2)))),
    ("glorot_normal", {"truncated": True}, "truncated", math.sqrt(1 / ((IN + OUT) / 2)) / CUT),
    ("he_uniform", {}, "uniform", math.sqrt(3 * (2 / IN))),
    ("he_normal", {"truncated": True}, "truncated", math.sqrt(2 / IN) / CUT),
    ("lecun_uniform", {}, "uniform", math.sqrt(3 * (1 / IN))),
    ("lecun_normal", {}, "normal", math.sqrt(1 / IN)),
    ("lecun_normal", {"truncated": True}, "truncated", math.sqrt(1 / IN) / CUT),
    ("variance_scaling", {}, "normal", math.sqrt(1 / IN)),
    ("variance_scaling", {"distribution": "truncated_normal"}, "truncated", math.sqrt(1 / IN) / CUT),
    ("variance_scaling", {"scale": 0.3, "mode": "fan_out", "distribution": "uniform"}, "uniform", math.sqrt(0.9 / OUT)),
    ("variance_scaling", {"scale": 0.5, "mode": "fan_avg"}, "normal", math.sqrt(0.5 / ((IN + OUT) / 2))),
    (
        "variance_scaling",
        {"scale": 2.0, "mode": "fan_geo", "distribution": "truncated_normal"},
        "truncated",
        math.sqrt(2 / math.sqrt(IN * OUT)) / CUT,
    ),
]


@pytest.mark.parametrize("how", [{"layout": "keras"}, {"in_axis": -2, "out_axis": -1}], ids=["keras", "jax"])
@pytest.mark.parametrize(("name", "arguments", "kind", "number"), KERAS)
def test_keras_and_jax(name: str, arguments: dict[str, Any], kind: str, number: float, how: dict[str, Any]) -> None:
    same(fill(getattr(fastinit, name), (3, 5, 12, 40), **how, **arguments), kind, number)


# The fans of a shape, each as its framework computes them.
FANS = [
    # torch: (out, in, *kernel)
    ({"layout": "torch"}, (8, 4), 4, 8),
    ({"layout": "torch"}, (8, 4, 3), 4 * 3, 8 * 3),
    ({"layout": "torch"}, (8, 4, 3, 5), 4 * 15, 8 * 15),
    ({"layout": "torch"}, (8, 4, 2, 3, 5), 4 * 30, 8 * 30),
    ({"layout": "torch"}, (8, 2, 3, 3), 2 * 9, 8 * 9),  # Conv2d(4, 8, 3, groups=2): torch reads in / groups
    ({"layout": "torch"}, (8, 1, 3, 3), 1 * 9, 8 * 9),  # depthwise
    # keras: (*kernel, in, out), and vectors and scalars
    ({"layout": "keras"}, (4, 8), 4, 8),
    ({"layout": "keras"}, (3, 4, 8), 3 * 4, 3 * 8),
    ({"layout": "keras"}, (3, 5, 4, 8), 15 * 4, 15 * 8),
    ({"layout": "keras"}, (2, 3, 5, 4, 8), 30 * 4, 30 * 8),
    ({"layout": "keras"}, (3, 3, 8, 1), 9 * 8, 9 * 1),  # depthwise
    ({"layout": "keras"}, (7,), 7, 7),
    ({"layout": "keras"}, (), 1, 1),
    # jax: the named axes, times the receptive field, which is all others
    ({"in_axis": -2, "out_axis": -1}, (3, 5, 4, 8), 15 * 4, 15 * 8),
    ({"in_axis": 1, "out_axis": 0}, (8, 4, 3, 5), 4 * 15, 8 * 15),
    ({"in_axis": 0, "out_axis": (1, 2)}, (64, 4, 16), 64, 64),  # query: d_model -> heads, head_dim
    ({"in_axis": [0, 1], "out_axis": [2]}, (4, 16, 64), 64, 64),  # attention output
    ({"in_axis": 1, "out_axis": 2, "batch_axis": 0}, (6, 12, 20), 12, 20),  # stacked experts
    ({"in_axis": -2, "out_axis": -1, "batch_axis": (0,)}, (6, 3, 12, 20), 3 * 12, 3 * 20),
    ({"in_axis": np.int64(0), "out_axis": np.int8(1)}, (6, 5), 6, 5),
    ({"in_axis": (), "out_axis": 0}, (6, 5), 5, 30),
    ({"in_axis": (), "out_axis": ()}, (), 1, 1),
]


@pytest.mark.parametrize(("how", "shape", "fan_in", "fan_out"), FANS)
def test_fans_of_a_shape(how: dict[str, Any], shape: tuple[int, ...], fan_in: int, fan_out: int) -> None:
    for function, modes in (
        (fastinit.he_normal, ("fan_in", "fan_out")),
        (fastinit.variance_scaling, _fans._MODES),
    ):
        for mode in modes:
            described = fill(function, shape, mode=mode, **how)
            explicit = fill(function, shape, mode=mode, fan_in=fan_in, fan_out=fan_out)
            assert np.array_equal(described, explicit)
    assert np.array_equal(
        fill(fastinit.xavier_uniform, shape, **how),
        fill(fastinit.xavier_uniform, shape, fan_in=fan_in, fan_out=fan_out),
    )
    assert np.array_equal(fill(fastinit.lecun_normal, shape, **how), fill(fastinit.lecun_normal, shape, fan_in=fan_in))


@pytest.mark.parametrize(("how", "shape", "fan_in", "fan_out"), [row for row in FANS if len(row[1]) >= 2])
def test_fans_come_from_the_global_shape(
    how: dict[str, Any], shape: tuple[int, ...], fan_in: int, fan_out: int
) -> None:
    whole = fill(fastinit.xavier_normal, shape, **how)
    for axis in range(len(shape)):
        part = [slice(None)] * len(shape)
        part[axis] = slice(shape[axis] // 2, None)
        want = whole[tuple(part)]
        offset = [0] * len(shape)
        offset[axis] = shape[axis] // 2
        got = fill(fastinit.xavier_normal, want.shape, global_shape=shape, offset=offset, **how)
        assert np.array_equal(got, want)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 0), (4, 3, 0), (0, 5, 5)])
@pytest.mark.parametrize("mode", _fans._MODES)
@pytest.mark.parametrize("how", [{"layout": "torch"}, {"layout": "keras"}, {"in_axis": 0, "out_axis": 1}], ids=str)
def test_empty_tensors_need_no_fans(shape: tuple[int, ...], mode: str, how: dict[str, Any]) -> None:
    out = np.empty(shape)
    assert fastinit.he_uniform(out, mode=mode, **how, **KEY) is out  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed"):
        fastinit.he_uniform(out, mode=mode, seed=-1, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fan",
    [
        300,
        300.0,
        np.int64(300),
        np.uint8(30),
        np.float32(300),
        np.float64(300),
        np.float16(300),
        1.0,
        1e300,
        2**70,
        Fraction(300),
    ],
)
def test_fans_are_whole_numbers_of_any_type(fan: Any) -> None:
    same(fastinit.he_normal(np.empty(100), fan, **KEY), "normal", math.sqrt(2 / float(fan)))
    same(fastinit.xavier_uniform(np.empty(100), fan, fan, **KEY), "uniform", math.sqrt(3 / float(fan)))


# --- to the last bit ------------------------------------------------------------------------------------------------

finite = st.floats(min_value=1e-150, max_value=1e150)


@given(finite, finite)
def test_means_of_fans_are_rounded_once_per_operation(x: float, y: float) -> None:
    assert _core.arithmetic_mean(x, y) == (x + y) / 2
    assert _core.geometric_mean(x, y) == math.sqrt(x * y)


@given(st.integers(1, 2**60), st.integers(1, 2**60))
def test_means_of_integer_fans(x: int, y: int) -> None:
    assert _fans.fan("he_normal", None, "fan_avg", x, y, None, None, None, None, None) == (float(x) + float(y)) / 2
    assert _fans.fan("he_normal", None, "fan_geo", x, y, None, None, None, None, None) == math.sqrt(float(x) * float(y))


def test_the_mean_of_fans_beyond_float64() -> None:
    """Each is rounded to float64 before they are added."""
    big = 2**53 + 1
    assert _fans.fan("xavier_normal", None, _fans.FAN_AVG, big, 2, None, None, None, None, None) == (2.0**53 + 2) / 2


@given(st.floats(min_value=-1e150, max_value=1e150))
def test_slope(a: float) -> None:
    assert _core.slope_scale(a) == 2 / (1 + a * a)


def test_order_of_operations() -> None:
    """docs/stream-format.md, "Named initialisers": std = gain * sqrt(scale / n), bit for bit."""
    numbers = np.random.default_rng(1)
    for _ in range(200):
        a, gain, fan_in, fan_out = numbers.uniform(0.01, 10, 2).tolist() + numbers.integers(1, 10**6, 2).tolist()
        got = fill(fastinit.he_normal, (9,), fan_in=fan_in, a=a)
        assert np.array_equal(got, fill(fastinit.normal, (9,), std=math.sqrt((2 / (1 + a * a)) / fan_in)))
        got = fill(fastinit.he_normal, (9,), fan_in=fan_in, gain=gain)
        assert np.array_equal(got, fill(fastinit.normal, (9,), std=gain * math.sqrt(1 / fan_in)))
        got = fill(fastinit.xavier_normal, (9,), fan_in=fan_in, fan_out=fan_out, gain=gain)
        assert np.array_equal(got, fill(fastinit.normal, (9,), std=gain * math.sqrt(1 / ((fan_in + fan_out) / 2))))
        bound = gain * math.sqrt(3 * (1 / ((fan_in + fan_out) / 2)))
        got = fill(fastinit.xavier_uniform, (9,), fan_in=fan_in, fan_out=fan_out, gain=gain)
        assert np.array_equal(got, fill(fastinit.uniform, (9,), low=-bound, high=bound))
        got = fill(fastinit.lecun_normal, (9,), fan_in=fan_in, truncated=True)
        std = math.sqrt(1 / fan_in) / CUT
        assert np.array_equal(got, fill(fastinit.truncated_normal, (9,), std=std, bounds="std"))


@pytest.fixture
def set_rounding() -> Iterator[Callable[[int], int]]:
    library = ctypes.util.find_library("m")
    if library is None:
        pytest.skip("no libm that could change the rounding mode")
    libm = ctypes.CDLL(library)
    yield libm.fesetround
    libm.fesetround(0)


@pytest.mark.parametrize("direction", ["up", "down", "to zero"])
def test_a_foreign_rounding_mode_changes_no_bit(set_rounding: Callable[[int], int], direction: str) -> None:
    modes = {"x86_64": (0x800, 0x400, 0xC00), "aarch64": (0x400000, 0x800000, 0xC00000)}.get(platform.machine())
    if modes is None:
        pytest.skip(f"the rounding modes of {platform.machine()} are not known here")
    mode = modes[["up", "down", "to zero"].index(direction)]

    def everything() -> list[Any]:
        return [
            fill(fastinit.he_normal, (50,), fan_in=77, a=0.3),
            fill(fastinit.he_uniform, (50,), fan_in=77, fan_out=31, mode="fan_geo", nonlinearity="tanh"),
            fill(fastinit.he_normal, (50,), fan_in=7, fan_out=31, mode="fan_avg", truncated=True),
            fill(fastinit.variance_scaling, (50,), fan_in=10**300, fan_out=7, mode="fan_geo", scale=0.7),
            fill(fastinit.xavier_uniform, (50,), fan_in=2**53 + 1, fan_out=3, gain=0.1),
            fill(fastinit.lecun_normal, (50,), fan_in=3),
            fill(fastinit.lecun_normal, (50,), fan_in=2**53 + 1),
            fastinit.xavier_normal(
                np.empty((1, 50)), layout="torch", global_shape=(2, 2**53 + 1), offset=(0, 0), **KEY
            ),
            fastinit.calculate_gain("leaky_relu", 0.1),
        ]

    want = everything()
    third = 1.0
    assert set_rounding(mode) == 0
    try:
        third /= 3.0
        got = everything()
    finally:
        set_rounding(0)
    assert third != 1 / 3 or direction != "up"  # the mode was really another one
    assert all(np.array_equal(x, y) for x, y in zip(got, want, strict=True))


# --- gains ----------------------------------------------------------------------------------------------------------

GAINS = [
    ("linear", None, 1.0),
    ("conv1d", None, 1.0),
    ("conv2d", None, 1.0),
    ("conv3d", None, 1.0),
    ("conv_transpose1d", None, 1.0),
    ("conv_transpose2d", None, 1.0),
    ("conv_transpose3d", None, 1.0),
    ("sigmoid", None, 1.0),
    ("tanh", None, 5.0 / 3),
    ("relu", None, math.sqrt(2.0)),
    ("leaky_relu", None, math.sqrt(2.0 / (1 + 0.01 * 0.01))),
    ("leaky_relu", 0.01, math.sqrt(2.0 / (1 + 0.01 * 0.01))),
    ("leaky_relu", 0.2, math.sqrt(2.0 / (1 + 0.2 * 0.2))),
    ("leaky_relu", -0.2, math.sqrt(2.0 / (1 + 0.2 * 0.2))),
    ("leaky_relu", 0, math.sqrt(2.0)),
    ("leaky_relu", math.sqrt(5), math.sqrt(2.0 / (1 + math.sqrt(5) * math.sqrt(5)))),
    ("leaky_relu", np.float32(0.5), math.sqrt(2.0 / 1.25)),
    ("selu", None, 3.0 / 4),
]


@pytest.mark.parametrize(("nonlinearity", "a", "gain"), GAINS)
def test_calculate_gain(nonlinearity: str, a: Any, gain: float) -> None:
    assert fastinit.calculate_gain(nonlinearity, a) == gain
    assert type(fastinit.calculate_gain(nonlinearity, a)) is float


def test_the_table_of_gains_is_complete() -> None:
    assert {row[0] for row in GAINS} == set(_fans._NONLINEARITIES)


# --- moments --------------------------------------------------------------------------------------------------------

N = 200_000
# Fourth standardised moment of N(0, 1) cut at +-2: E x^4 / (E x^2)^2 with E x^2 = CUT^2 and, by parts,
# E x^4 = 3 E x^2 - 2 * 2^3 phi(2) / (1 - 2 Q(2)).
CUT_KURTOSIS = (3 * CUT**2 - 16 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(2 / math.sqrt(2))) / CUT**4

MOMENTS = [
    ("xavier_uniform", {"fan_in": 300, "fan_out": 100}, math.sqrt(2 / 400), 1.8),
    ("xavier_normal", {"fan_in": 300, "fan_out": 100}, math.sqrt(2 / 400), 3.0),
    ("xavier_normal", {"fan_in": 300, "fan_out": 100, "truncated": True}, math.sqrt(2 / 400), CUT_KURTOSIS),
    ("he_uniform", {"fan_in": 300}, math.sqrt(2 / 300), 1.8),
    ("he_normal", {"fan_in": 300}, math.sqrt(2 / 300), 3.0),
    ("he_normal", {"fan_in": 300, "truncated": True}, math.sqrt(2 / 300), CUT_KURTOSIS),
    ("he_normal", {"fan_out": 50, "mode": "fan_out", "nonlinearity": "tanh"}, 5 / 3 / math.sqrt(50), 3.0),
    ("lecun_uniform", {"fan_in": 300}, math.sqrt(1 / 300), 1.8),
    ("lecun_normal", {"fan_in": 300}, math.sqrt(1 / 300), 3.0),
    ("lecun_normal", {"fan_in": 300, "truncated": True}, math.sqrt(1 / 300), CUT_KURTOSIS),
    ("variance_scaling", {"fan_in": 300, "scale": 0.1, "distribution": "uniform"}, math.sqrt(0.1 / 300), 1.8),
    ("normal", {"std": 0.02}, 0.02, 3.0),
    ("uniform", {"low": -0.1, "high": 0.1}, 0.2 / math.sqrt(12), 1.8),
    ("truncated_normal", {"std": 0.02, "bounds": "std"}, 0.02 * CUT, CUT_KURTOSIS),
    ("truncated_normal", {"std": 0.5, "low": -1.0, "high": 1.0, "bounds": "absolute"}, 0.5 * CUT, CUT_KURTOSIS),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize(("name", "arguments", "std", "kurtosis"), MOMENTS)
def test_moments(name: str, arguments: dict[str, Any], std: float, kurtosis: float, dtype: Any) -> None:
    out = getattr(fastinit, name)(np.empty(N, dtype), **arguments, **KEY).astype(np.float64)
    # Rounding to bfloat16 adds at most (2^-9)^2 = 4e-6 of the variance, a thousandth of its sampling error here.
    assert abs(out.mean()) < 6 * std / math.sqrt(N)
    assert abs(out.std() - std) < 6 * std * math.sqrt((kurtosis - 1) / (4 * N))
    measured = float(((out - out.mean()) ** 4).mean() / out.var() ** 2)
    assert abs(measured - kurtosis) < 6 * math.sqrt(96 / N)  # 96: n Var of a normal's sample kurtosis is 24, times 4
