"""Every refusal: the type of the exception, its message (which argument, what came), and that nothing has happened."""

from __future__ import annotations

import fractions
import inspect
import math
import re
import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastinit
from conftest import NAMED, call
from fastinit import _core

INF, NAN = math.inf, math.nan
N = np.float32

DRAWN = [*NAMED, "uniform", "normal", "truncated_normal"]
STRUCTURED = ["identity", "orthogonal", "sparse"]  # dirac, which takes no matrices, has its own lines
FILLS = [*DRAWN, *STRUCTURED, "constant", "zeros", "ones", "random_bits"]


def refused(act: Callable[[], Any], error: type[Exception], words: list[str], out: Any = None) -> None:
    """act raises exactly that error, its message has the words, out and the process-wide generator are as before."""
    before = np.array(out, copy=True).tobytes() if isinstance(out, np.ndarray) and not out.dtype.hasobject else None
    fastinit.manual_seed(77)
    with pytest.raises(error) as caught:
        act()
    message = str(caught.value)
    assert type(caught.value) is error, message
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
    if before is not None:
        assert np.array(out, copy=True).tobytes() == before
    assert np.array_equal(fastinit.normal(np.empty(3)), fastinit.normal(np.empty(3), seed=77, stream=0))


def fresh(name: str, shape: tuple[int, ...] = (4, 6)) -> np.ndarray:
    dtype = np.uint32 if name == "random_bits" else np.float32
    return np.arange(math.prod(shape), dtype=dtype).reshape(shape)


# --- out ------------------------------------------------------------------------------------------------------------


def read_only(out: np.ndarray) -> np.ndarray:
    out.flags.writeable = False
    return out


OUTS: list[tuple[str, Callable[[np.ndarray], Any], type[Exception], list[str]]] = [
    ("list", lambda out: out.tolist(), TypeError, ["list"]),
    ("None", lambda out: None, TypeError, ["None"]),
    ("scalar", lambda out: out[0, 0], ValueError, ["read-only"]),
    ("bytearray", lambda out: bytearray(out), TypeError, ["'B'"]),
    ("read-only", read_only, ValueError, ["read-only"]),
    ("int32", lambda out: out.astype(np.int32), TypeError, ["int32"]),
    ("bool", lambda out: out.astype(bool), TypeError, ["bool"]),
    ("complex", lambda out: out.astype(np.complex64), TypeError, ["complex64"]),
    ("object", lambda out: out.astype(object), TypeError, ["object"]),
    ("structured", lambda out: np.zeros(3, [("x", np.float32)]), TypeError, ["x"]),
    (
        "foreign",
        lambda out: out.astype(out.dtype.newbyteorder()),
        TypeError,
        [">" if sys.byteorder == "little" else "<"],
    ),
    ("broadcast", lambda out: writable_broadcast(out), ValueError, ["overlap"]),
    ("windows", lambda out: np.lib.stride_tricks.as_strided(out, (3, 3), (4, 4)), ValueError, ["overlap"]),
]


def writable_broadcast(out: np.ndarray) -> np.ndarray:
    return np.lib.stride_tricks.as_strided(out[0], (5, 6), (0, out.strides[1]))


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize(("make", "error", "words"), [row[1:] for row in OUTS], ids=[row[0] for row in OUTS])
def test_out(name: str, make: Callable[[np.ndarray], Any], error: type[Exception], words: list[str]) -> None:
    out = make(fresh(name))
    refused(lambda: call(name, out), error, ["out", *words], out)


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("how", [{"layout": "torch"}, {"layout": "keras"}, {"in_axis": 0, "out_axis": 1}], ids=str)
def test_out_whose_shape_is_read(name: str, how: dict[str, Any]) -> None:
    refused(lambda: call(name, [[1.0, 2.0]], **how), TypeError, ["out", "list"])
    out = fresh(name).astype(np.int64)
    refused(lambda: call(name, out, **how), TypeError, ["out", "int64"], out)


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize("name", [name for name in FILLS if name != "random_bits"])
def test_words_do_not_take_values(name: str, dtype: Any) -> None:
    out = np.ones((2, 3), dtype)
    refused(lambda: call(name, out), TypeError, ["out", np.dtype(dtype).name], out)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint16])
def test_random_bits_takes_words_only(dtype: Any) -> None:
    out = np.ones((2, 3), dtype)
    refused(lambda: fastinit.random_bits(out), TypeError, ["out", np.dtype(dtype).name, "uint32", "uint64"], out)


INTEGERS: list[tuple[Any, tuple[Any, Any], Any, type[Exception], list[str]]] = [
    (np.int8, (3, 3), False, ValueError, ["no integer lies in [low, high)", "low=3, high=3"]),
    (np.int8, (4, 3), True, ValueError, ["no integer lies in [low, high]", "low=4, high=3"]),
    (np.int8, (-129, 3), False, ValueError, ["low", "int8, -128 to 127", "low=-129"]),
    (np.int8, (0, 129), False, ValueError, ["high", "int8, -128 to 127", "high=129"]),
    (np.int8, (0, 128), True, ValueError, ["high", "int8", "high=128, endpoint=True"]),
    (np.uint16, (-1, 3), False, ValueError, ["low", "uint16, 0 to 65535", "low=-1"]),
    (np.int32, (0, 2**70), False, ValueError, ["high", "int32, -2147483648 to 2147483647"]),
    (np.int32, (0, 10**400), False, ValueError, ["high"]),
    (np.int8, (0.0, 3), False, TypeError, ["low must be an int", "0.0", "float"]),
    (np.int8, (0, True), False, TypeError, ["high must be an int", "True"]),
    (np.int8, (0, None), False, TypeError, ["high must be an int", "None"]),
    (np.int8, (0, 3), 1, TypeError, ["endpoint", "1", "int"]),
    (np.float32, (0, 3), False, TypeError, ["out", "int8", "float32"]),
    (np.int64, (0, 3), False, TypeError, ["out", "int8", "int64"]),
    (bool, (0, 2), False, TypeError, ["out", "int8", "bool"]),
    (np.dtype(np.int16).newbyteorder(), (0, 2), False, TypeError, ["out", "byte order", "i2"]),
]


@pytest.mark.parametrize(("dtype", "bounds", "endpoint", "error", "words"), INTEGERS, ids=lambda value: str(value)[:30])
def test_integers(dtype: Any, bounds: tuple[Any, Any], endpoint: Any, error: Any, words: list[str]) -> None:
    out = np.ones((2, 3), dtype)
    refused(lambda: fastinit.integers(out, *bounds, endpoint=endpoint), error, words, out)


# --- what every initialiser shares ----------------------------------------------------------------------------------

SHARED: list[tuple[dict[str, Any], type[Exception], list[str]]] = [
    ({"seed": -1}, ValueError, ["seed", "-1"]),
    ({"seed": 2**64}, ValueError, ["seed", "18446744073709551616"]),
    ({"seed": 10**400}, ValueError, ["seed"]),
    ({"seed": 1.0}, TypeError, ["seed", "float"]),
    ({"seed": "1"}, TypeError, ["seed", "str"]),
    ({"seed": True}, TypeError, ["seed", "bool"]),
    ({"seed": [1]}, TypeError, ["seed", "list"]),
    ({"stream": -1}, ValueError, ["stream", "-1"]),
    ({"stream": 2**64}, ValueError, ["stream", "18446744073709551616"]),
    ({"stream": 1.5}, TypeError, ["stream", "float"]),
    ({"stream": b"w"}, TypeError, ["stream", "bytes"]),
    ({"stream": False}, TypeError, ["stream", "bool"]),
    ({"stream": "w\ud800"}, ValueError, ["stream", "\\ud800", "UTF-8"]),
    ({"threads": 0}, ValueError, ["threads", "0"]),
    ({"threads": -3}, ValueError, ["threads", "-3"]),
    ({"threads": 2.0}, TypeError, ["threads", "float"]),
    ({"threads": "all"}, TypeError, ["threads", "str"]),
    ({"threads": True}, TypeError, ["threads", "bool"]),
    ({"bit_generator": "pcg"}, ValueError, ["bit_generator", "pcg", "ars", "philox"]),
    ({"bit_generator": 7}, TypeError, ["bit_generator", "7"]),
    ({"bit_generator": None}, TypeError, ["bit_generator", "None"]),
    ({"offset": (0, 0)}, ValueError, ["global_shape", "offset"]),
    ({"global_shape": (8, 6), "offset": (5, 0)}, ValueError, ["global_shape", "5"]),
    ({"global_shape": (3, 6), "offset": (0, 0)}, ValueError, ["global_shape", "3"]),
    ({"global_shape": (8, 6), "offset": (-1, 0)}, ValueError, ["offset", "-1"]),
    ({"global_shape": (-8, 6), "offset": (0, 0)}, ValueError, ["global_shape", "-8"]),
    ({"global_shape": (8, 6, 1), "offset": (0, 0, 0)}, ValueError, ["global_shape", "(8, 6, 1)"]),
    ({"global_shape": (24,), "offset": (0,)}, ValueError, ["global_shape", "(24,)"]),
    ({"global_shape": (8, 6), "offset": (0,)}, ValueError, ["offset", "(0,)"]),
    ({"global_shape": (8.0, 6), "offset": (0, 0)}, TypeError, ["global_shape", "8.0"]),
    ({"global_shape": 8, "offset": 0}, TypeError, ["global_shape", "int"]),
    ({"global_shape": {8: 1, 6: 1}, "offset": (0, 0)}, TypeError, ["global_shape", "dict"]),
    ({"global_shape": (8, 6), "offset": {0, 1}}, TypeError, ["offset", "set"]),
    ({"global_shape": (8, 6), "offset": "00"}, TypeError, ["offset", "str"]),
    ({"global_shape": (8, 6), "offset": (0, None)}, TypeError, ["offset", "None"]),
]


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize(("arguments", "error", "words"), SHARED, ids=lambda value: str(value)[:60])
def test_shared_arguments(name: str, arguments: dict[str, Any], error: type[Exception], words: list[str]) -> None:
    out = fresh(name)
    refused(lambda: call(name, out, **arguments), error, words, out)
    empty = out[:0]
    if "global_shape" not in arguments and "offset" not in arguments:
        refused(lambda: call(name, empty, **arguments), error, words, out)


@pytest.mark.parametrize("name", FILLS)
def test_unknown_keywords(name: str) -> None:
    out = fresh(name)
    refused(lambda: call(name, out, sede=1), TypeError, ["sede"], out)


# --- fans and how to read a shape -----------------------------------------------------------------------------------

NOT_A_FAN: list[tuple[Any, type[Exception], str]] = [
    (0, ValueError, "0"),
    (-3, ValueError, "-3"),
    (0.0, ValueError, "0.0"),
    (-0.5, ValueError, "-0.5"),
    (0.5, ValueError, "0.5"),
    (5**0.5, ValueError, "2.236"),  # the slope of PyTorch's default layers, where PyTorch has it
    (np.float32(1.25), ValueError, "1.25"),
    (fractions.Fraction(7, 2), ValueError, "7, 2"),
    (NAN, ValueError, "nan"),
    (INF, ValueError, "inf"),
    (-INF, ValueError, "-inf"),
    (10**400, ValueError, "1000"),
    (np.float32(NAN), ValueError, "nan"),
    (np.int64(0), ValueError, "0"),
    (True, TypeError, "True"),
    (np.True_, TypeError, "True"),
    ("3", TypeError, "'3'"),
    (3 + 0j, TypeError, "3+0j"),
    (np.complex64(3), TypeError, "3"),
    (np.timedelta64(3, "s"), TypeError, "timedelta64"),
    ([3], TypeError, "[3]"),
    (np.array(3), TypeError, "an array of shape ()"),
    (np.ones((400, 2)), TypeError, "an array of shape (400, 2)"),
    (list(range(1000)), TypeError, "..."),
]


@pytest.mark.parametrize(("fan", "error", "word"), NOT_A_FAN, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("name", NAMED)
def test_fans(name: str, fan: Any, error: type[Exception], word: str) -> None:
    out = fresh(name)
    other = {"fan_out": 3} if name.startswith("xavier") else {}
    refused(lambda: call(name, out, fan_in=fan, **other), error, ["fan_in", word, "a whole number >= 1"], out)
    if name.startswith("lecun"):
        return
    mode = {} if name.startswith("xavier") else {"mode": "fan_out"}
    refused(
        lambda: call(name, out, fan_in=3, fan_out=fan, **mode), error, ["fan_out", word, "a whole number >= 1"], out
    )
    # A fan that the mode does not need is checked all the same.
    refused(lambda: call(name, out, fan_in=3, fan_out=fan), error, ["fan_out", word], out)


def test_values_are_shown_in_short() -> None:
    with pytest.raises(TypeError, match="mode must be") as caught:
        fastinit.he_normal(np.zeros(3), 3, mode=list(range(1000)))  # type: ignore[arg-type]
    assert str(caught.value).endswith(str(list(range(1000)))[:77] + "... of type list")


@pytest.mark.parametrize("name", NAMED)
def test_what_a_fan_was_taken_for(name: str) -> None:
    """A number that is no fan was meant as something that this function takes."""
    out = fresh(name)
    other = {"fan_out": 3} if name.startswith("xavier") else {}
    with pytest.raises(ValueError, match="fan_in must be") as caught:
        call(name, out, fan_in=5**0.5, **other)
    hint = str(caught.value).partition("got 2.23606797749979")[2]
    takes = set(inspect.signature(getattr(fastinit, name)).parameters)
    assert set(re.findall(r"(\w+)=", hint)) == {"a", "gain", "scale"} & takes


MISSING: list[tuple[str, dict[str, Any], list[str]]] = [
    ("xavier_uniform", {}, ["fan_in"]),
    ("xavier_uniform", {"fan_in": 3}, ["fan_out", "fan_in=3"]),
    ("xavier_normal", {"fan_out": 3}, ["fan_in", "fan_out=3"]),
    ("he_normal", {}, ["fan_in"]),
    ("he_normal", {"fan_out": 3}, ["fan_in", "fan_out=3"]),
    ("he_normal", {"fan_in": 3, "mode": "fan_out"}, ["fan_out", "fan_in=3"]),
    ("he_uniform", {"fan_in": 3, "mode": "fan_avg"}, ["fan_out", "fan_in=3"]),
    ("he_uniform", {"fan_out": 3, "mode": "fan_geo"}, ["fan_in", "fan_out=3"]),
    ("lecun_uniform", {}, ["fan_in"]),
    ("lecun_normal", {"global_shape": (8, 6), "offset": (0, 0)}, ["fan_in"]),
    ("variance_scaling", {}, ["fan_in"]),
    ("variance_scaling", {"mode": "fan_out"}, ["fan_out"]),
]


@pytest.mark.parametrize(("name", "arguments", "words"), MISSING)
def test_missing_fans(name: str, arguments: dict[str, Any], words: list[str]) -> None:
    out = fresh(name)
    words = [*words, f"{name} needs ", "layout='torch'", "layout='keras'", "in_axis", "out_axis"]
    refused(lambda: getattr(fastinit, name)(out, **arguments), ValueError, words, out)


HOW: list[tuple[tuple[int, ...], dict[str, Any], type[Exception], list[str]]] = [
    ((4, 6), {"layout": "tensorflow"}, ValueError, ["layout", "tensorflow", "torch", "keras"]),
    ((4, 6), {"layout": 3}, TypeError, ["layout", "3", "torch", "keras"]),
    ((4, 6), {"layout": ["torch"]}, TypeError, ["layout", "list"]),
    ((6,), {"layout": "torch"}, ValueError, ["layout", "(6,)", "2 dimensions"]),
    ((), {"layout": "torch"}, ValueError, ["layout", "()", "2 dimensions"]),
    ((4, 6), {"layout": "torch", "in_axis": 0}, ValueError, ["layout", "in_axis=0"]),
    ((4, 6), {"layout": "keras", "out_axis": 0}, ValueError, ["layout", "out_axis=0"]),
    ((4, 6), {"layout": "keras", "batch_axis": 0}, ValueError, ["layout", "batch_axis=0"]),
    ((4, 6), {"fan_in": 3, "fan_out": 3, "layout": "torch"}, ValueError, ["fan_in=3", "layout='torch'"]),
    (
        (4, 6),
        {"fan_in": 3, "fan_out": 3, "in_axis": 0, "out_axis": 1},
        ValueError,
        ["fan_in=3", "in_axis=0", "out_axis=1"],
    ),
    ((4, 6), {"fan_in": 3, "fan_out": 3, "batch_axis": 1}, ValueError, ["fan_in=3", "batch_axis=1"]),
    ((4, 6), {"in_axis": 0}, ValueError, ["in_axis=0", "out_axis", "together"]),
    ((4, 6), {"out_axis": 0}, ValueError, ["out_axis=0", "in_axis", "together"]),
    ((4, 6), {"batch_axis": 0}, ValueError, ["batch_axis=0", "in_axis", "together"]),
    ((6,), {"in_axis": -2, "out_axis": -1}, ValueError, ["(6,)", "1 dimension", "no fans"]),
    ((4, 6), {"in_axis": 2, "out_axis": 1}, ValueError, ["in_axis", "2", "-2 .. 1"]),
    ((4, 6), {"in_axis": 0, "out_axis": -3}, ValueError, ["out_axis", "-3", "-2 .. 1"]),
    ((4, 6), {"in_axis": 0, "out_axis": 1, "batch_axis": 9}, ValueError, ["batch_axis", "9", "-2 .. 1"]),
    ((), {"in_axis": 0, "out_axis": 0}, ValueError, ["in_axis", "0", "0 dimensions"]),
    ((4, 6), {"in_axis": 0, "out_axis": 0}, ValueError, ["in_axis=0", "out_axis=0", "at most once"]),
    ((4, 6), {"in_axis": (0, -2), "out_axis": 1}, ValueError, ["in_axis=(0, -2)", "at most once"]),
    ((4, 6), {"in_axis": 0, "out_axis": 1, "batch_axis": -1}, ValueError, ["batch_axis=-1", "at most once"]),
    ((4, 6), {"in_axis": 0.0, "out_axis": 1}, TypeError, ["in_axis", "0.0", "float"]),
    ((4, 6), {"in_axis": True, "out_axis": 0}, TypeError, ["in_axis", "True"]),
    ((4, 6), {"in_axis": 0, "out_axis": "1"}, TypeError, ["out_axis", "'1'"]),
    ((4, 6), {"in_axis": 0, "out_axis": (1.0,)}, TypeError, ["out_axis", "(1.0,)"]),
    (
        (4, 6),
        {"layout": "torch", "global_shape": (2**40, 2**40), "offset": (0, 0)},
        ValueError,
        ["global_shape", "2**63"],
    ),
]


@pytest.mark.parametrize(("shape", "arguments", "error", "words"), HOW, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("name", NAMED)
def test_how_to_read_a_shape(
    name: str, shape: tuple[int, ...], arguments: dict[str, Any], error: type[Exception], words: list[str]
) -> None:
    if name.startswith("lecun"):
        arguments = {key: value for key, value in arguments.items() if key != "fan_out"}
    if "2**63" in words:
        arguments = {**arguments, "global_shape": (2**40, 2**64)}
    out = fresh(name, shape)
    refused(lambda: call(name, out, **arguments), error, words, out)


@pytest.mark.parametrize("how", [{"layout": "torch"}, {"in_axis": 0, "out_axis": 1}], ids=str)
@pytest.mark.parametrize(("arguments", "error", "words"), [row for row in SHARED if "global_shape" in row[0]], ids=str)
def test_global_shape_that_is_read(
    how: dict[str, Any], arguments: dict[str, Any], error: type[Exception], words: list[str]
) -> None:
    out = fresh("he_normal")
    refused(lambda: fastinit.he_normal(out, **how, **arguments), error, words, out)


@pytest.mark.parametrize("mode", ["fan_avg", "fan_geo"])
def test_fans_without_a_mean(mode: Any) -> None:
    out = fresh("he_normal")
    huge = 1.7e308
    refused(
        lambda: fastinit.he_normal(out, huge, fan_out=huge, mode=mode),
        ValueError,
        ["fan_in", "fan_out", "1.7e+308"],
        out,
    )


# --- names and numbers of the distributions -------------------------------------------------------------------------

OWN: list[tuple[str, dict[str, Any], type[Exception], list[str]]] = [
    ("he_normal", {"mode": "fanin"}, ValueError, ["mode", "fanin", "fan_in", "fan_out", "fan_avg", "fan_geo"]),
    ("he_uniform", {"mode": None}, TypeError, ["mode", "None", "fan_in"]),
    ("he_uniform", {"mode": np.ones(3)}, TypeError, ["mode", "an array", "fan_in"]),
    ("variance_scaling", {"mode": "avg"}, ValueError, ["mode", "avg", "fan_avg"]),
    ("he_normal", {"nonlinearity": "gelu"}, ValueError, ["nonlinearity", "gelu", "leaky_relu", "relu", "selu", "tanh"]),
    ("he_uniform", {"nonlinearity": np.tanh}, TypeError, ["nonlinearity", "tanh"]),
    (
        "variance_scaling",
        {"distribution": "untruncated_normal"},
        ValueError,
        ["distribution", "untruncated_normal", "'normal'"],
    ),
    ("variance_scaling", {"distribution": 3}, TypeError, ["distribution", "3"]),
    ("truncated_normal", {"bounds": "sigma"}, ValueError, ["bounds", "sigma", "absolute", "std"]),
    ("truncated_normal", {"bounds": (-2, 2)}, TypeError, ["bounds", "(-2, 2)", "absolute"]),
    *[
        (name, {"truncated": value}, TypeError, ["truncated", word])
        for name in ("xavier_normal", "he_normal", "lecun_normal")
        for value, word in ((2.0, "2.0"), (None, "None"), ("yes", "yes"), (1, "1"))
    ],
    *[
        (name, {argument: value}, error, [argument, word])
        for name, argument in (
            ("xavier_uniform", "gain"),
            ("xavier_normal", "gain"),
            ("he_uniform", "gain"),
            ("he_normal", "gain"),
            ("variance_scaling", "scale"),
            ("normal", "std"),
            ("truncated_normal", "std"),
        )
        for value, error, word in (
            (-1.0, ValueError, "-1"),
            (NAN, ValueError, "nan"),
            (INF, ValueError, "inf"),
            (10**400, ValueError, ""),
            ("2", TypeError, "str"),
            (1j, TypeError, "complex"),
            (True, TypeError, "bool"),
            ([1.0], TypeError, "list"),
        )
    ],
    *[
        (name, {argument: value}, error, [argument, word])
        for name, argument in (
            ("he_uniform", "a"),
            ("he_normal", "a"),
            ("uniform", "low"),
            ("uniform", "high"),
            ("normal", "mean"),
            ("truncated_normal", "mean"),
        )
        for value, error, word in (
            (NAN, ValueError, "nan"),
            (INF, ValueError, "inf"),
            (-INF, ValueError, "-inf"),
            (10**400, ValueError, ""),
            ("0", TypeError, "str"),
            (None, TypeError, "None"),
            (1j, TypeError, "complex"),
            (True, TypeError, "bool"),
        )
    ],
    ("uniform", {"low": -1e39}, ValueError, ["low", "-1e+39", "float32"]),
    ("uniform", {"high": 1e39}, ValueError, ["high", "1e+39", "float32"]),
    ("uniform", {"low": 1 + 1e-12, "high": 1 + 2e-12}, ValueError, ["low", "high", "float32"]),
    ("normal", {"mean": 1e39}, ValueError, ["mean", "1e+39", "float32"]),
    ("normal", {"std": 1e38}, ValueError, ["std", "1e+38", "float32"]),
    ("truncated_normal", {"mean": 1e39}, ValueError, ["mean", "1e+39", "float32"]),
    ("truncated_normal", {"std": 1e39}, ValueError, ["std", "1e+39", "float32"]),
    ("truncated_normal", {"low": 1 + 1e-12, "high": 1 + 2e-12}, ValueError, ["low", "high", "float32"]),
    ("truncated_normal", {"low": -INF, "high": -INF}, ValueError, ["low", "high", "-inf"]),
    ("he_normal", {"fan_in": 4, "gain": 1e39}, ValueError, ["gain is too large", "float32", "1e+39", "of 4"]),
    ("he_uniform", {"fan_in": 4, "gain": 1e39}, ValueError, ["gain is too large", "float32", "1e+39", "of 4"]),
    ("variance_scaling", {"fan_in": 4, "scale": 1e80}, ValueError, ["scale is too large", "float32", "1e+80"]),
    ("normal", {"std": np.complex64(2)}, TypeError, ["std", "complex64"]),
    ("normal", {"mean": np.True_}, TypeError, ["mean", "bool"]),
    ("uniform", {"high": np.timedelta64(2, "s")}, TypeError, ["high", "timedelta64"]),
    ("normal", {"bit_generator": 7}, TypeError, ["bit_generator", "7", "int"]),
    ("normal", {"bit_generator": "\udc00"}, ValueError, ["bit_generator", "udc00"]),
    ("variance_scaling", {"scale": 0}, ValueError, ["scale", "0"]),
    ("he_normal", {"a": 1e200}, ValueError, ["a must be", "1e+200"]),
    ("he_normal", {"a": 0.2, "nonlinearity": "relu"}, ValueError, ["a is", "0.2", "'relu'"]),
    ("he_uniform", {"a": 0.2, "nonlinearity": "tanh"}, ValueError, ["a is", "0.2", "'tanh'"]),
    ("he_normal", {"gain": 1.0, "a": 0.2}, ValueError, ["gain", "a=0.2", "gain=1.0"]),
    ("he_uniform", {"gain": 1.0, "nonlinearity": "relu"}, ValueError, ["gain", "nonlinearity='relu'"]),
    ("uniform", {"low": 1.0, "high": 0.5}, ValueError, ["low", "high", "1", "0.5"]),
    ("uniform", {"low": 2.0}, ValueError, ["low", "high", "2", "1"]),
    ("truncated_normal", {"low": 1.0, "high": 0.5}, ValueError, ["low", "high", "1", "0.5"]),
    ("truncated_normal", {"low": 1.0, "high": 1.0}, ValueError, ["low", "high", "1"]),
    ("truncated_normal", {"low": 3.0}, ValueError, ["low", "high", "3", "2"]),
    ("truncated_normal", {"low": 3.0, "bounds": "std"}, ValueError, ["low", "high", "3", "2"]),
    ("truncated_normal", {"low": NAN}, ValueError, ["low", "nan"]),
    ("truncated_normal", {"high": NAN}, ValueError, ["high", "nan"]),
    ("truncated_normal", {"low": INF, "high": INF}, ValueError, ["low", "inf"]),
    ("truncated_normal", {"low": "-2"}, TypeError, ["low", "str"]),
    ("truncated_normal", {"high": None}, TypeError, ["high", "None"]),
    ("constant", {"value": "1"}, TypeError, ["value", "str"]),
    ("constant", {"value": None}, TypeError, ["value", "None"]),
    ("constant", {"value": 1j}, TypeError, ["value", "complex"]),
    ("constant", {"value": [1.0]}, TypeError, ["value", "list"]),
    ("constant", {"value": 1e39}, ValueError, ["value", "1e+39"]),
    ("constant", {"value": 10**400}, ValueError, ["value"]),
]


@pytest.mark.parametrize(("name", "arguments", "error", "words"), OWN, ids=lambda value: str(value)[:60])
def test_own_arguments(name: str, arguments: dict[str, Any], error: type[Exception], words: list[str]) -> None:
    out = fresh(name)
    refused(lambda: call(name, out, **arguments), error, words, out)


GAIN: list[tuple[tuple[Any, ...], type[Exception], list[str]]] = [
    (("gelu",), ValueError, ["nonlinearity", "gelu", "leaky_relu"]),
    ((None,), TypeError, ["nonlinearity", "None"]),
    (("relu", 0.1), ValueError, ["a is", "0.1", "'relu'"]),
    (("leaky_relu", "0.1"), TypeError, ["a must", "'0.1'"]),
    (("leaky_relu", True), TypeError, ["a must", "True"]),
    (("leaky_relu", NAN), ValueError, ["a must", "nan"]),
    (("leaky_relu", 1e300), ValueError, ["a must", "1e+300"]),
]


@pytest.mark.parametrize(("arguments", "error", "words"), GAIN)
def test_calculate_gain(arguments: tuple[Any, ...], error: type[Exception], words: list[str]) -> None:
    refused(lambda: fastinit.calculate_gain(*arguments), error, words)


# --- arrays and settings --------------------------------------------------------------------------------------------

EMPTY: list[tuple[tuple[Any, ...], type[Exception], list[str]]] = [
    ((-1,), ValueError, ["shape", "-1"]),
    (((3, -1),), ValueError, ["shape", "(3, -1)"]),
    ((2.0,), TypeError, ["shape", "2.0"]),
    (("3",), TypeError, ["shape", "'3'"]),
    ((None,), TypeError, ["shape", "None"]),
    ((True,), TypeError, ["shape", "True"]),
    (((2, 2.0),), TypeError, ["shape", "(2, 2.0)"]),
    ((2**62,), ValueError, ["shape", "4611686018427387904"]),
    (((2**40, 2**40),), ValueError, ["shape", "1099511627776"]),
    (((0, 2**70),), ValueError, ["shape", "1180591620717411303424"]),
    ((3, "int64"), TypeError, ["dtype", "int64", "float32", "bfloat16"]),
    ((3, object), TypeError, ["dtype", "object"]),
    ((3, ">f4" if sys.byteorder == "little" else "<f4"), TypeError, ["dtype", "f4", "native"]),
    ((3, "half-float"), TypeError, ["dtype", "half-float"]),
    ((3, None), TypeError, ["dtype", "None"]),
    ((3, 7), TypeError, ["dtype", "7"]),
]


@pytest.mark.parametrize(("arguments", "error", "words"), EMPTY, ids=lambda value: str(value)[:60])
def test_empty(arguments: tuple[Any, ...], error: type[Exception], words: list[str]) -> None:
    refused(lambda: fastinit.empty(*arguments), error, words)


def test_bfloat16_without_ml_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    refused(lambda: fastinit.empty(3, "bfloat16"), ImportError, ["dtype", "bfloat16", "ml_dtypes"])


@pytest.mark.parametrize(
    ("seed", "error"),
    [(-1, ValueError), (2**64, ValueError), (1.0, TypeError), ("1", TypeError), (None, TypeError), (True, TypeError)],
)
def test_manual_seed(seed: Any, error: type[Exception]) -> None:
    refused(lambda: fastinit.manual_seed(seed), error, ["seed"])


@pytest.mark.parametrize(
    ("threads", "error"),
    [(0, ValueError), (-1, ValueError), (1.0, TypeError), ("1", TypeError), (None, TypeError), (True, TypeError)],
)
def test_set_num_threads(threads: Any, error: type[Exception]) -> None:
    before = fastinit.get_num_threads()
    refused(lambda: fastinit.set_num_threads(threads), error, ["threads"])
    assert fastinit.get_num_threads() == before


@pytest.mark.parametrize(("mode", "error"), [("json", ValueError), (None, TypeError), (0, TypeError)])
def test_show_config(mode: Any, error: type[Exception]) -> None:
    refused(lambda: fastinit.show_config(mode), error, ["mode", "stdout", "dicts"])


# --- callers whose numbers run code ---------------------------------------------------------------------------------


class Resizes:
    """An integer that, when asked for its value, takes most of the array's memory away."""

    def __init__(self, out: Any) -> None:
        self.out = out

    def __index__(self) -> int:
        self.out.resize(4, refcheck=False)
        return 0


@pytest.mark.parametrize("where", ["seed", "stream", "threads", "offset", "global_shape"])
def test_an_array_that_shrinks_meanwhile(where: str) -> None:
    """The number is converted before anything is read from the array: it is filled as it then is, or refused."""
    out = np.zeros(2**20)
    arguments: dict[str, Any] = {"seed": 1, "stream": 2, where: Resizes(out)}
    if where == "offset":
        arguments.update(global_shape=(2**20,), offset=(Resizes(out),))
    if where == "global_shape":
        arguments.update(global_shape=(Resizes(out),), offset=(0,))
    if where in ("threads", "global_shape"):  # 0 threads, a tensor of 0 elements
        with pytest.raises(ValueError, match=where):
            fastinit.normal(out, **arguments)
        assert not out.any()
    else:
        fastinit.normal(out, **arguments)
        assert out.all()
    assert out.shape == (4,)


@pytest.mark.parametrize("extents", [np.array([9, 11]), range(9, 12, 2), [np.uint8(9), 11], np.array([9, 11])[::1]])
def test_extents_in_any_sequence(extents: Any) -> None:
    places: Any = np.array([7, 8], np.int16)
    out = fastinit.normal(np.zeros((2, 3)), seed=1, global_shape=extents, offset=places)
    assert np.array_equal(out, fastinit.normal(np.zeros((9, 11)), seed=1)[7:, 8:])


@pytest.mark.parametrize("extents", [np.array(10), np.array([[9, 11]]), 5, "ab", b"ab", {9: 11}.items, None, [9.0, 11]])
def test_extents_that_are_none(extents: Any) -> None:
    for arguments in ({"global_shape": extents, "offset": (0, 0)}, {"global_shape": (9, 11), "offset": extents}):
        out = np.zeros((2, 3))
        with pytest.raises((TypeError, ValueError), match=r"global_shape|offset"):
            fastinit.normal(out, seed=1, **arguments)
        assert not out.any()


def test_numbers_that_raise_keep_their_own_error() -> None:
    class Interrupted(fractions.Fraction):
        def __float__(self) -> float:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastinit.normal(np.zeros(3), std=Interrupted(1))  # type: ignore[arg-type]


def test_numbers_wider_than_float64() -> None:
    if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
        with pytest.raises(ValueError, match="value must be a number within the range of float64"):
            fastinit.constant(np.zeros(3), np.longdouble("1e4000"))


def test_memory_that_is_not_there() -> None:
    with pytest.raises(MemoryError, match="cannot allocate 4611686018427387904 bytes"):
        fastinit.empty(2**60)


def test_strides_too_tangled_to_look_through() -> None:
    memory = np.zeros(2**22 + 8, np.float32)
    small = np.lib.stride_tricks.as_strided(memory, (2**19, 2), (8, 12))
    fastinit.ones(small)
    large = np.lib.stride_tricks.as_strided(memory, (2**20, 2), (8, 12))
    with pytest.raises(ValueError, match="too large to check for overlapping elements"):
        fastinit.zeros(large)
    assert np.count_nonzero(memory) == 2**20


def test_an_empty_array_with_monstrous_strides() -> None:
    out = np.lib.stride_tricks.as_strided(np.zeros(1), (0, 2**40), (8, 2**40))
    assert fastinit.normal(out, seed=1) is out


def test_bfloat16_constants_keep_every_nan() -> None:
    for bits in (0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0x7FC00000):
        nan = np.array([bits], np.uint32).view(np.float32)[0]
        assert np.isnan(fastinit.constant(np.zeros(3, ml_dtypes.bfloat16), nan).astype(np.float32)).all()
        assert np.isnan(fastinit.constant(np.zeros(3, np.float16), nan)).all()


def test_constants_leave_the_process_stream_alone() -> None:
    """Not even seeded, if it was not."""
    fastinit.manual_seed(5)
    fastinit.zeros(np.ones(3), seed=1, stream=2)
    fastinit.ones(np.zeros(3))
    fastinit.constant(np.zeros(3), 2, stream="x")
    assert np.array_equal(fastinit.normal(np.zeros(3)), fastinit.normal(np.zeros(3), seed=5, stream=0))


def test_the_core_counts_its_arguments() -> None:
    core: Any = _core
    out = np.zeros(3)
    refused(lambda: core.fill(out, _core.NORMAL, 0.0, 1.0), TypeError, ["12 arguments"], out)
    refused(lambda: core.fill_scaled(out, _core.NORMAL, 1.0, 1.0, 3.0), TypeError, ["11 arguments"], out)
