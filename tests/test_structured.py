"""Promise: identity, dirac, orthogonal and sparse are what their names say, in any memory and for any box."""

from __future__ import annotations

import functools
import itertools
import math
import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped, unused-ignore]

import fastinit
import reference
from conftest import DTYPES, call
from fastinit import _core, structured
from fastinit._rounding import FORMATS, is_beyond, rounded
from test_errors import refused

Array = NDArray[Any]
KEY: dict[str, Any] = {"seed": 3, "stream": "w"}


def memories(shape: tuple[int, ...], dtype: Any) -> dict[str, Array]:
    """Arrays of this shape, filled with rubbish, by how they lie in memory."""
    wide = np.full(tuple(2 * n for n in shape), 7, dtype)
    return {
        "C": np.full(shape, 7, dtype),
        "Fortran": np.full(shape, 7, dtype, order="F"),
        "strided": wide[tuple(slice(1, None, 2) for _ in shape)],
        "reversed": np.full(shape, 7, dtype)[tuple(slice(None, None, -1) for _ in shape)],
        "masked": np.ma.masked_array(np.full(shape, 7, dtype), np.ones(shape, bool)),
    }


def boxes(shape: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Offsets and shapes of boxes that cover a tensor of this shape, empty ones too."""
    cuts = [sorted({0, n // 3, n // 3, n // 2, n}) for n in shape]
    lines = [[*itertools.pairwise(cut), (cut[-1], cut[-1])] for cut in cuts]
    return [
        (tuple(a for a, _ in box), tuple(b - a for a, b in box))
        for box in itertools.product(*lines)
    ]  # fmt: skip


def check(fill: Callable[..., Array], want: Array) -> None:
    """The whole in every memory, and every box of it, is what is wanted."""
    for name, out in memories(want.shape, want.dtype).items():
        assert fill(out) is out
        assert np.asarray(out).tobytes() == want.tobytes(), name
    for offset, shape in boxes(want.shape):
        part = fill(np.full(shape, 7, want.dtype, order="F"), global_shape=want.shape, offset=offset)
        inside = tuple(slice(start, start + n) for start, n in zip(offset, shape, strict=True))
        assert part.tobytes() == want[inside].tobytes(), (offset, shape)


# --- identity, dirac ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 5), (4, 9), (9, 4), (1, 1), (0, 3), (3, 0)])
@pytest.mark.parametrize("gain", [1, -0.3])
def test_identity(shape: tuple[int, int], gain: float, dtype: np.dtype[Any]) -> None:
    check(
        lambda out, **box: fastinit.identity(out, gain, **box),
        reference.identity(shape, dtype, gain),
    )


@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        ((4, 6, 3), 1),
        ((4, 6, 3), 2),
        ((6, 2, 3, 4), 1),
        ((6, 2, 3, 4), 3),
        ((6, 1, 3, 3), 6),
        ((4, 4, 1, 2, 5), 2),
        ((4, 4, 0), 2),
        ((0, 4, 3), 2),
        ((4, 0, 3), 2),
    ],
)
def test_dirac(shape: tuple[int, ...], groups: int, dtype: np.dtype[Any]) -> None:
    want = reference.dirac(shape, dtype, groups)
    check(lambda out, **box: fastinit.dirac(out, groups, layout="torch", **box), want)
    keras = np.moveaxis(want, (0, 1), (-1, -2))
    check(lambda out, **box: fastinit.dirac(out, groups, layout="keras", **box), np.ascontiguousarray(keras))


def test_only_the_groups_of_the_box_are_looked_at() -> None:
    """A loop over all of these would not end."""
    assert fastinit.dirac(np.empty((0, 4, 3)), 10**15, layout="torch").size == 0
    n = 2**40
    box = fastinit.dirac(np.full((3, 2, 1), 7.0), n, layout="torch", global_shape=(n, 2, 1), offset=(n - 5, 0, 0))
    assert box[:, :, 0].tolist() == [[1, 0]] * 3


@pytest.mark.parametrize("groups", [1, 3])
def test_a_dirac_convolution_passes_its_inputs_on(groups: int) -> None:
    kernel = fastinit.dirac(np.empty((9, 3, 3, 5)), groups, layout="torch")
    x = np.random.default_rng(1).normal(size=(3, 8, 9))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 5), axis=(1, 2))
    y = np.einsum("oikl,ihwkl->ohw", kernel, windows)
    for g in range(groups):
        for channel in range(9 // groups):
            want = x[channel, 1:-1, 2:-2] if channel < 3 else np.zeros_like(x[0, 1:-1, 2:-2])
            assert np.array_equal(y[g * 9 // groups + channel], want)


# --- sparse ---------------------------------------------------------------------------------------------------------

SHAPES = [(30, 7), (7, 30), (1, 5), (5, 1), (32, 4), (33, 4), (0, 3), (3, 0)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sparsity", [0, 0.1, 0.5, 0.9, 1])
def test_sparse(shape: tuple[int, int], sparsity: float, dtype: np.dtype[Any], rng: Any) -> None:
    std = 0.02 if dtype.itemsize > 1 else 16.0  # no other element is rounded to 0
    want = reference.sparse(shape, dtype, sparsity, std, rng, 3, "w")
    assert (np.count_nonzero(want == 0, axis=0) == math.ceil(sparsity * shape[0])).all()
    check(lambda out, **box: fastinit.sparse(out, sparsity, std, bit_generator=rng, **KEY, **box), want)


def test_sparse_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fastinit.sparse(np.empty((40, 50)), 0.3, **KEY)
    for words in (1, 41, 130, 2000):
        monkeypatch.setattr(structured, "_WORDS", words)
        assert np.array_equal(fastinit.sparse(np.empty((40, 50)), 0.3, **KEY), whole)


@pytest.mark.usefixtures("many_threads")
@pytest.mark.parametrize("name", ["sparse", "orthogonal"])
def test_threads_change_no_bit(name: str) -> None:
    one, two, seven = (call(name, np.empty((90, 110)), threads=n, **KEY) for n in (1, 2, 7))
    assert one.tobytes() == two.tobytes() == seven.tobytes()


def test_zeros_of_a_lower_sparsity_stay() -> None:
    few, many = (fastinit.sparse(np.empty((40, 50)), share, **KEY) == 0 for share in (0.2, 0.6))
    assert (many | ~few).all()


def test_the_number_of_zeros_is_that_of_a_rounded_product() -> None:
    """0.1 * 30 is 3 in float64, but the float64 number 0.1 is above 1/10."""
    assert np.count_nonzero(fastinit.sparse(np.empty((30, 2)), 0.1, **KEY) == 0, axis=0).tolist() == [3, 3]


def test_which_elements_are_zero_is_uniform_and_independent() -> None:
    """Each row is zero as often as any other, and so is each pair of rows, in 20 000 columns."""
    n_rows, n_columns, n_zeros = 10, 20_000, 4
    zero = (fastinit.sparse(np.empty((n_rows, n_columns)), 0.4, **KEY) == 0).astype(np.int64)
    pairs = zero @ zero.T
    single = n_columns * n_zeros / n_rows
    double = single * (n_zeros - 1) / (n_rows - 1)
    above = pairs[np.triu_indices(n_rows, 1)]
    # A row's share of a column is hypergeometric: the rows' deviations add up to 0, so one degree of freedom is lost.
    spread = single * (1 - n_zeros / n_rows) * n_rows / (n_rows - 1)
    assert 1e-6 < stats.chi2.sf(((pairs.diagonal() - single) ** 2).sum() / spread, n_rows - 1) < 1 - 1e-6
    assert (abs(above - double) < 5.5 * math.sqrt(double)).all()
    # Neighbouring columns share zeros as chance has it: n_zeros^2 / n_rows of them.
    shared = (zero[:, 1:] * zero[:, :-1]).sum(axis=0)
    law = stats.hypergeom(n_rows, n_zeros, n_zeros)
    observed, expected = np.bincount(shared, minlength=5), law.pmf(np.arange(5)) * (n_columns - 1)
    assert stats.chisquare(observed, expected).pvalue > 1e-6


def test_values_that_are_not_zero_are_normal() -> None:
    out = fastinit.sparse(np.empty((300, 300), np.float32), 0.3, std=0.5, **KEY)
    assert stats.kstest(out[out != 0], stats.norm(0, 0.5).cdf).pvalue > 1e-6


# --- orthogonal -----------------------------------------------------------------------------------------------------

MATRICES = [(5, 5), (30, 20), (20, 30), (1, 7), (7, 1), (4, 2, 3), (3, 4, 5, 2), (0, 3), (3, 0), (1, 1)]


@pytest.mark.parametrize("shape", MATRICES)
@pytest.mark.parametrize("layout", ["torch", "keras"])
@pytest.mark.parametrize("gain", [1, 1.7, -0.5])
def test_orthogonal(shape: tuple[int, ...], layout: Any, gain: float, dtype: np.dtype[Any], rng: Any) -> None:
    if math.prod(shape) == 0:
        assert fastinit.orthogonal(np.empty(shape, dtype), gain, layout=layout, **KEY).shape == shape
        return
    want = reference.orthogonal(shape, gain, layout, rng, 3, "w")
    out = fastinit.orthogonal(np.empty(shape, dtype), gain, layout=layout, bit_generator=rng, **KEY)
    limits: Any = ml_dtypes.finfo  # NumPy's does not know bfloat16
    eps, tiny = float(limits(dtype).eps), float(limits(dtype).smallest_subnormal)
    # Half an eps from the rounding of the dtype, the condition of A times 2^-52 from LAPACK.
    assert (abs(out - want) <= eps / 2 * abs(want) * 1.01 + tiny + 2e-13).all()
    check(lambda out, **box: fastinit.orthogonal(out, gain, layout=layout, bit_generator=rng, **KEY, **box), out)


# The largest |W W^T - I| and its root mean square, in eps of the type: rounding an element of size 1/sqrt(n) errs by at
# most eps / 2 of it, and n such errors with random signs add up to about eps / sqrt(n) sqrt(n) / sqrt(12) ...
@pytest.mark.parametrize("shape", [(64, 256), (256, 64), (200, 200)])
def test_how_orthogonal(shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
    w = fastinit.orthogonal(np.empty(shape, dtype), **KEY).astype(np.longdouble)
    product = w @ w.T if shape[0] <= shape[1] else w.T @ w
    limits: Any = ml_dtypes.finfo
    error = abs(product - np.eye(len(product))).max() / float(limits(dtype).eps)
    assert 0.05 < error < (8 if dtype == np.float64 else 1)


def test_orthogonal_matrices_are_uniform() -> None:
    """Of 4000 matrices of 4 x 4: moments of the elements, and of the trace (1 and 3 for the Haar measure), signs."""
    n = 4000
    matrices = np.stack([fastinit.orthogonal(np.empty((4, 4)), seed=1, stream=i) for i in range(n)])
    # E q^2 = 1/4, E q^4 = 3 / (4 * 6) = 1/8, E q^8 = 105 / (4 * 6 * 8 * 10)
    assert (abs(matrices.mean(axis=0)) < 5 * math.sqrt(1 / 4 / n)).all()
    assert (abs((matrices**2).mean(axis=0) - 1 / 4) < 5 * math.sqrt((1 / 8 - 1 / 16) / n)).all()
    assert (abs((matrices**4).mean(axis=0) - 1 / 8) < 5 * math.sqrt((105 / 1920 - 1 / 64) / n)).all()
    trace = np.trace(matrices, axis1=1, axis2=2)
    assert abs(trace.mean()) < 5 / math.sqrt(n)
    assert abs((trace**2).mean() - 1) < 5 * math.sqrt(2 / n)
    assert abs(np.mean(np.linalg.det(matrices) > 0) - 1 / 2) < 5 / 2 / math.sqrt(n)


def test_orthogonal_rounds_once() -> None:
    double = fastinit.orthogonal(np.empty((30, 40)), 1.3, **KEY)
    for dtype in (np.float32, np.float16):
        assert np.array_equal(fastinit.orthogonal(np.empty((30, 40), dtype), 1.3, **KEY), double.astype(dtype))


def test_gain_zero_and_error_settings_of_numpy() -> None:
    with np.errstate(all="raise"):
        assert not fastinit.orthogonal(np.empty((30, 40), np.float16), 0.0, **KEY).any()
        assert fastinit.orthogonal(np.empty((30, 40), np.float16), 1e-6, **KEY).any()


# --- streams and seeds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparse", "orthogonal"])
def test_seeds(name: str) -> None:
    def fill(**key: Any) -> bytes:
        return bytes(call(name, np.empty((8, 9)), **key).tobytes())

    fastinit.manual_seed(31)
    assert fill(stream=8) == fill(seed=31, stream=8)
    assert fill(seed=4) == fill(seed=4, stream=0) == fill(seed=np.uint64(4), stream=np.int8(0))
    assert fill(seed=4, stream="a") != fill(seed=4, stream="b")
    assert fill() == fill(seed=31, stream=0)
    fastinit.dirac(np.empty((2, 2, 2)), layout="torch")
    assert fill() == fill(seed=31, stream=1)


# --- errors ---------------------------------------------------------------------------------------------------------

NAN = math.nan
ERRORS: list[tuple[str, tuple[int, ...], dict[str, Any], type[Exception], list[str]]] = [
    ("identity", (3,), {}, ValueError, ["out", "2 dimensions", "(3,)"]),
    ("identity", (3, 2, 1), {}, ValueError, ["out", "2 dimensions", "(3, 2, 1)"]),
    ("identity", (3, 2), {"gain": NAN}, ValueError, ["gain", "nan", "finite"]),
    ("identity", (3, 2), {"gain": "1"}, TypeError, ["gain", "'1'"]),
    ("identity", (3, 2), {"gain": True}, TypeError, ["gain", "True"]),
    ("identity", (3, 2), {"gain": 1e39}, ValueError, ["gain", "float32", "1e+39"]),
    ("dirac", (3, 2), {}, ValueError, ["out", "3, 4 or 5 dimensions", "(3, 2)"]),
    ("dirac", (1,) * 6, {}, ValueError, ["out", "3, 4 or 5 dimensions"]),
    ("dirac", (4, 2, 3), {"groups": 3}, ValueError, ["groups", "4", "3"]),
    ("dirac", (4, 2, 3), {"groups": 0}, ValueError, ["groups", "0"]),
    ("dirac", (4, 2, 3), {"groups": -2}, ValueError, ["groups", "-2"]),
    ("dirac", (4, 2, 3), {"groups": 2.0}, TypeError, ["groups", "2.0"]),
    ("dirac", (4, 2, 3), {"groups": True}, TypeError, ["groups", "True"]),
    ("dirac", (4, 2, 3), {"groups": 2, "layout": "keras"}, ValueError, ["groups", "3"]),
    ("dirac", (4, 2, 3), {"layout": "tf"}, ValueError, ["layout", "tf", "keras"]),
    ("dirac", (4, 2, 3), {"layout": None}, ValueError, ["dirac needs layout=", "(out, in, *kernel)", "keras"]),
    ("dirac", (4, 2, 3), {"layout": 3}, TypeError, ["layout", "3"]),
    ("orthogonal", (4, 2, 3), {}, ValueError, ["orthogonal needs layout= for 3 dimensions", "keras"]),
    ("dirac", (4, 2, 3), {"seed": -1}, ValueError, ["seed", "-1"]),
    ("dirac", (4, 2, 3), {"stream": 1.5}, TypeError, ["stream", "1.5"]),
    ("dirac", (4, 2, 3), {"threads": 0}, ValueError, ["threads", "0"]),
    ("dirac", (4, 2, 3), {"bit_generator": "pcg"}, ValueError, ["bit_generator", "pcg"]),
    ("dirac", (4, 2, 3), {"global_shape": (4, 2, 3)}, ValueError, ["global_shape", "offset"]),
    ("dirac", (4, 2, 3), {"global_shape": (4, 2), "offset": (0, 0)}, ValueError, ["global_shape", "(4, 2)"]),
    ("dirac", (4, 2, 3), {"global_shape": (4, 2, 3), "offset": (0, 0, 1)}, ValueError, ["global_shape", "1"]),
    ("orthogonal", (3,), {}, ValueError, ["out", "at least 2 dimensions", "(3,)"]),
    ("orthogonal", (), {}, ValueError, ["out", "at least 2 dimensions", "()"]),
    ("orthogonal", (3, 2), {"gain": math.inf}, ValueError, ["gain", "inf"]),
    ("orthogonal", (3, 2), {"gain": -1e39}, ValueError, ["gain", "float32", "-1e+39"]),
    ("orthogonal", (3, 2), {"gain": 1j}, TypeError, ["gain", "1j"]),
    ("orthogonal", (3, 2), {"layout": "jax"}, ValueError, ["layout", "jax", "torch"]),
    ("sparse", (3,), {}, ValueError, ["out", "2 dimensions", "(3,)"]),
    ("sparse", (3, 2), {"sparsity": -0.1}, ValueError, ["sparsity", "-0.1"]),
    ("sparse", (3, 2), {"sparsity": 1.1}, ValueError, ["sparsity", "1.1"]),
    ("sparse", (3, 2), {"sparsity": NAN}, ValueError, ["sparsity", "nan"]),
    ("sparse", (3, 2), {"sparsity": None}, TypeError, ["sparsity", "None"]),
    ("sparse", (3, 2), {"sparsity": 0.5, "std": -1}, ValueError, ["std", "-1"]),
    ("sparse", (3, 2), {"sparsity": 0.5, "std": 1e38}, ValueError, ["std", "1e+38"]),
    ("sparse", (3, 2), {"sparsity": 0.5, "std": "x"}, TypeError, ["std", "'x'"]),
]


@pytest.mark.parametrize(("name", "shape", "arguments", "error", "words"), ERRORS, ids=lambda value: str(value)[:40])
def test_errors(
    name: str, shape: tuple[int, ...], arguments: dict[str, Any], error: type[Exception], words: list[str]
) -> None:
    out = np.full(shape, 7, np.float32)
    defaults: dict[str, dict[str, Any]] = {"sparse": {"sparsity": 0.5}, "dirac": {"layout": "torch"}}
    arguments = {**defaults.get(name, {}), **arguments}
    refused(lambda: getattr(fastinit, name)(out, **arguments), error, words, out)


@pytest.mark.parametrize("out", [[[1.0]], np.zeros((2, 2, 2), int), np.zeros((2, 2, 2), np.uint32)], ids=str)
def test_dirac_out(out: Any) -> None:
    refused(lambda: fastinit.dirac(out, layout="torch"), TypeError, ["out"], out)


def test_an_overlapping_out_is_left_alone() -> None:
    memory = np.zeros(100, np.float32)
    out = np.lib.stride_tricks.as_strided(memory, (5, 5), (4, 4))
    for name in ("identity", "orthogonal", "sparse"):
        refused(functools.partial(call, name, out), ValueError, ["out", "overlap"], memory)


@pytest.mark.parametrize("name", FORMATS)
def test_values_are_rounded_once(name: str) -> None:
    """All values of the type, halfway between two, and next to that, which float32 in between would take for it."""
    size = DTYPES[name].itemsize
    codes = np.arange(2 ** (8 * size - 1), dtype=f"u{size}")
    codes = codes[np.isfinite(codes.view(DTYPES[name]).astype(np.float32))]
    exact = codes.view(DTYPES[name]).astype(np.float64)
    middle = (exact[:-1] + exact[1:]) / 2
    below, above, even = codes[:-1], codes[1:], codes[:-1] + (codes[:-1] & 1)
    near = [exact, middle, np.nextafter(middle, 0), np.nextafter(middle, 1e300)]
    for values, want in zip(near, (codes, even, below, above), strict=True):
        words = rounded(np.concatenate([values, -values]), name)
        assert words.tolist() == [*want.tolist(), *(want | 1 << (8 * size - 1)).tolist()]
        assert not is_beyond(words, np.concatenate([values, -values]), name).any()
    step = exact[-1] - exact[-2]
    large = np.array([np.nextafter(exact[-1] + step / 2, 0), np.nextafter(exact[-1] + step / 2, 1e300), 1e200, 1e39])
    assert is_beyond(rounded(-large, name), -large, name).tolist() == [False, True, True, True]
    infinite = np.array([-math.inf, math.inf])
    assert is_beyond(rounded(infinite, name), infinite, name).all() == (name == "float8_e4m3fn")
    values = fastinit.normal(np.empty(100_000, np.float32), std=float(exact[-1]) / 8, seed=1)
    assert (rounded(values, name) == values.astype(DTYPES[name]).view(f"u{size}")).all()


@pytest.mark.parametrize("dtype", [DTYPES[name] for name in FORMATS], ids=str)
@pytest.mark.parametrize("name", ["identity", "dirac", "orthogonal", "sparse"])
def test_types_of_ml_dtypes_need_no_ml_dtypes(name: str, dtype: np.dtype[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """For whoever has such memory without it: PyTorch's users."""
    shape = (6, 4, 3) if name == "dirac" else (6, 4)
    want = call(name, np.zeros(shape, dtype), **KEY)
    out = np.zeros(shape, dtype)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)  # an import of it fails
    assert call(name, out, **KEY).tobytes() == want.tobytes()


def test_plans_are_of_known_types() -> None:
    with pytest.raises(ValueError, match="no element type is called 'int8'"):
        _core.plan(_core.CONSTANT, "int8", 1.0, 0.0, 0.0, 0.0)


def test_orthogonal_in_bfloat16_is_rounded_once() -> None:
    """Among a million values some are so near to halfway that a detour by float32 would round them the other way."""
    exact = fastinit.orthogonal(np.empty((1200, 1000)), **KEY)
    got = fastinit.orthogonal(np.empty((1200, 1000), ml_dtypes.bfloat16), **KEY)
    toward_zero = (exact.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)
    ulp = np.exp2(np.floor(np.log2(np.abs(toward_zero))) - 7)
    away = toward_zero + np.copysign(ulp, exact)
    near = np.where(np.abs(exact - toward_zero) < np.abs(away - exact), toward_zero, away)
    assert np.array_equal(got.astype(np.float64), near)
    assert not np.array_equal(exact.astype(ml_dtypes.bfloat16), got)
