"""The shape of the API: names, signatures, streams and seeds, settings, documentation."""

from __future__ import annotations

import doctest
import hashlib
import importlib
import inspect
import json
import pathlib
import pkgutil
import re
import runpy
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastinit
from conftest import NAMED, call, installed
from fastinit import _arguments, _core
from fastinit.__main__ import main

DRAWN = [*NAMED, "uniform", "normal", "truncated_normal", "integers", "random_bits", "orthogonal", "sparse"]
CONSTANT = ["constant", "zeros", "ones", "identity"]
FILLS = [*DRAWN, *CONSTANT]
OTHERS = ["calculate_gain", "empty", "get_num_threads", "manual_seed", "set_num_threads", "show_config", "summary"]
ALIASES = {
    "glorot_uniform": "xavier_uniform",
    "glorot_normal": "xavier_normal",
    "kaiming_uniform": "he_uniform",
    "kaiming_normal": "he_normal",
}


def array(name: str, shape: Any = (5, 7)) -> np.ndarray:
    return np.zeros(shape, {"random_bits": np.uint32, "integers": np.int8}.get(name, np.float32))


@pytest.fixture
def threads() -> Iterator[int]:
    before = fastinit.get_num_threads()
    yield before
    fastinit.set_num_threads(before)


# --- names and signatures -------------------------------------------------------------------------------------------


def test_names() -> None:
    assert sorted(fastinit.__all__) == fastinit.__all__
    assert set(fastinit.__all__) == {
        *FILLS,
        "dirac",
        *OTHERS,
        *ALIASES,
        "Generator",
        "Summary",
        "__version__",
        "default_generator",
        "recipes",
        "signal",
    }
    for name in fastinit.__all__:
        assert hasattr(fastinit, name)
    assert fastinit.__version__ == _core.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", fastinit.__version__)


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_aliases_are_the_same_objects(alias: str, name: str) -> None:
    assert getattr(fastinit, alias) is getattr(fastinit, name)


@pytest.mark.parametrize("name", FILLS)
def test_returns_out(name: str) -> None:
    out = array(name)
    assert call(name, out) is out
    assert out.any() == (name != "zeros")
    view = array(name, (10, 7))[::2]
    assert call(name, view) is view


POSITIONAL = {
    "xavier_uniform": ["out", "fan_in", "fan_out"],
    "xavier_normal": ["out", "fan_in", "fan_out"],
    "he_uniform": ["out", "fan_in"],
    "he_normal": ["out", "fan_in"],
    "lecun_uniform": ["out", "fan_in"],
    "lecun_normal": ["out", "fan_in"],
    "variance_scaling": ["out", "scale", "mode", "distribution"],
    "uniform": ["out", "low", "high"],
    "normal": ["out", "mean", "std"],
    "truncated_normal": ["out", "mean", "std", "low", "high"],
    "integers": ["out", "low", "high"],
    "constant": ["out", "value"],
    "identity": ["out", "gain"],
    "dirac": ["out", "groups"],
    "orthogonal": ["out", "gain"],
    "sparse": ["out", "sparsity", "std"],
}
# Defaults of what may be given by position.
POSITIONAL_DEFAULTS: dict[str, dict[str, Any]] = {
    "variance_scaling": {"scale": 1.0, "mode": "fan_in", "distribution": "normal"},
    "uniform": {"low": 0.0, "high": 1.0},
    "normal": {"mean": 0.0, "std": 1.0},
    "truncated_normal": {"mean": 0.0, "std": 1.0, "low": -2.0, "high": 2.0},
    "identity": {"gain": 1.0},
    "dirac": {"groups": 1},
    "orthogonal": {"gain": 1.0},
    "sparse": {"std": 0.01},
}
TAIL = {"seed": None, "stream": None, "global_shape": None, "offset": None, "threads": None, "bit_generator": "ars"}
HOW = {"layout": None, "in_axis": None, "out_axis": None, "batch_axis": None}
HE = {"fan_out": None, "a": 0.0, "nonlinearity": "leaky_relu", "mode": "fan_in", "gain": None}
KEYWORDS = {
    "xavier_uniform": {"gain": 1.0, **HOW, **TAIL},
    "xavier_normal": {"gain": 1.0, "truncated": False, **HOW, **TAIL},
    "he_uniform": {**HE, **HOW, **TAIL},
    "he_normal": {**HE, "truncated": False, **HOW, **TAIL},
    "lecun_uniform": {**HOW, **TAIL},
    "lecun_normal": {"truncated": False, **HOW, **TAIL},
    "variance_scaling": {"fan_in": None, "fan_out": None, **HOW, **TAIL},
    "uniform": TAIL,
    "normal": TAIL,
    "truncated_normal": {"bounds": "std", **TAIL},
    "constant": TAIL,
    "zeros": TAIL,
    "ones": TAIL,
    "integers": {"endpoint": False, **TAIL},
    "random_bits": TAIL,
    "identity": TAIL,
    "dirac": {"layout": None, **TAIL},
    "orthogonal": {"layout": None, **TAIL},
    "sparse": TAIL,
}


@pytest.mark.parametrize("name", [*FILLS, "dirac"])
def test_signature(name: str) -> None:
    parameters = inspect.signature(getattr(fastinit, name)).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert positional == POSITIONAL.get(name, ["out"])
    assert keywords == KEYWORDS[name]
    assert len(positional) + len(keywords) == len(parameters)
    assert all(p.default is None for p in parameters if p.name.startswith("fan_"))
    if name in POSITIONAL_DEFAULTS:
        defaults = {p.name: p.default for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
        assert {
            key: value for key, value in defaults.items() if value is not inspect.Parameter.empty
        } == POSITIONAL_DEFAULTS[name]


def test_parameters_by_position() -> None:
    key: dict[str, Any] = {"seed": 1, "stream": 2}
    w = np.empty(1000)

    def equal(x: Any, y: Any) -> bool:
        return bool(np.array_equal(x, y))

    assert equal(fastinit.uniform(w.copy(), -1, 1, **key), fastinit.uniform(w.copy(), low=-1, high=1, **key))
    assert equal(fastinit.normal(w.copy(), 3, 0.02, **key), fastinit.normal(w.copy(), mean=3, std=0.02, **key))
    assert equal(
        fastinit.truncated_normal(w.copy(), 3, 0.02, -1, 3, **key),
        fastinit.truncated_normal(w.copy(), mean=3, std=0.02, low=-1, high=3, **key),
    )
    assert equal(
        fastinit.variance_scaling(w.copy(), 2.0, "fan_out", "uniform", fan_out=30, **key),
        fastinit.variance_scaling(w.copy(), scale=2.0, mode="fan_out", distribution="uniform", fan_out=30, **key),
    )
    calls: list[Callable[[], Any]] = [
        lambda: fastinit.uniform(w, 0.0, 1.0, 0),  # type: ignore[call-arg]
        lambda: fastinit.normal(w, 0.0, 1.0, 0),  # type: ignore[call-arg]
        lambda: fastinit.truncated_normal(w, 0.0, 1.0, -2.0, 2.0, "std"),  # type: ignore[call-arg]
        lambda: fastinit.variance_scaling(w, 2.0, "fan_in", "normal", 30),  # type: ignore[call-arg]
    ]
    for more in calls:
        with pytest.raises(TypeError, match="positional"):
            more()


def test_truncated_normal_cuts_at_multiples_of_std() -> None:
    w = fastinit.truncated_normal(np.empty(100_000, np.float32), std=0.02, seed=1, stream="w")
    assert 0.0399 < w.max() <= 0.04
    assert -0.04 <= w.min() < -0.0399
    same = fastinit.truncated_normal(
        np.empty_like(w), std=0.02, low=-0.04, high=0.04, bounds="absolute", seed=1, stream="w"
    )
    assert np.array_equal(w, same)


def test_positional_fans() -> None:
    key: dict[str, Any] = {"seed": 1, "stream": 2}
    w = array("he_normal")
    assert np.array_equal(fastinit.he_normal(w.copy(), 30, **key), fastinit.he_normal(w.copy(), fan_in=30, **key))
    assert np.array_equal(
        fastinit.xavier_uniform(w.copy(), 30, 50, **key),
        fastinit.xavier_uniform(w.copy(), fan_out=50, fan_in=30, **key),
    )
    with pytest.raises(TypeError, match="positional"):
        fastinit.he_normal(w, 30, 50)  # type: ignore[call-arg]


# --- streams and seeds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("rng", ["ars", "philox"])
def test_calls_after_manual_seed_take_the_streams_in_order(name: str, rng: str) -> None:
    fastinit.manual_seed(123)
    for stream in range(4):
        got = call(name, array(name), bit_generator=rng)
        assert np.array_equal(got, call(name, array(name), seed=123, stream=stream, bit_generator=rng))
    fastinit.manual_seed(123)
    assert np.array_equal(
        call(name, array(name), bit_generator=rng), call(name, array(name), seed=123, stream=0, bit_generator=rng)
    )


def test_what_uses_up_a_stream() -> None:
    fastinit.manual_seed(9)
    out = np.zeros((3, 4))
    fastinit.normal(out, seed=1)
    fastinit.normal(out, stream=5)
    fastinit.normal(out, seed=1, stream="w")
    for name in CONSTANT:
        call(name, out)
        call(name, out, seed=4)
    fastinit.random_bits(np.zeros(3, np.uint32), stream=0)
    assert np.array_equal(fastinit.normal(np.empty(5)), fastinit.normal(np.empty(5), seed=9, stream=0))
    fastinit.normal(out[:0])  # an empty fill is a call like any other
    fastinit.he_normal(out[:0], layout="torch")
    assert np.array_equal(fastinit.normal(np.empty(5)), fastinit.normal(np.empty(5), seed=9, stream=3))


def test_seed_without_stream_is_stream_0() -> None:
    assert np.array_equal(fastinit.normal(np.empty(5), seed=4), fastinit.normal(np.empty(5), seed=4, stream=0))


def test_stream_without_seed_uses_the_seed_of_the_process() -> None:
    fastinit.manual_seed(31)
    assert np.array_equal(fastinit.normal(np.empty(5), stream=8), fastinit.normal(np.empty(5), seed=31, stream=8))


def test_manual_seed_returns_none_and_takes_numpy_integers() -> None:
    assert fastinit.manual_seed(np.uint64(2**64 - 1)) is None
    got = fastinit.normal(np.empty(5))
    assert np.array_equal(got, fastinit.normal(np.empty(5), seed=2**64 - 1, stream=np.int32(0), threads=np.int8(1)))


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize(
    "stream", ["", "w", "transformer.h.0.attn.c_attn.weight", "Gewicht ü", "重み", "\U0001f9e0", "a\0b", np.str_("w")]
)
def test_str_streams(name: str, stream: str) -> None:
    number = int.from_bytes(hashlib.blake2b(str(stream).encode("utf-8"), digest_size=8).digest(), "little")
    for rng in ("ars", "philox"):
        got = call(name, array(name), seed=3, stream=stream, bit_generator=rng)
        assert np.array_equal(got, call(name, array(name), seed=3, stream=number, bit_generator=rng))


def test_calls_keep_no_references() -> None:
    out, name, shape, offset = array("he_normal"), "".join(["layer", "0"]), (9, 10), (3, 2)
    objects = [out, name, shape, offset, _arguments.stream_number(name)]
    before = [sys.getrefcount(thing) for thing in objects]
    for _ in range(10):
        fastinit.he_normal(out, 30, seed=1, stream=name, global_shape=shape, offset=offset)
        fastinit.normal(out, stream=name)
        with pytest.raises(ValueError, match="threads"):
            fastinit.he_normal(out, 30, stream=name, threads=0)
    assert [sys.getrefcount(thing) for thing in objects] == before


def test_streams_differ() -> None:
    seen = {
        fastinit.random_bits(np.empty(2, np.uint64), **key).tobytes()
        for key in (
            {"seed": 1, "stream": 1},
            {"seed": 1, "stream": 2},
            {"seed": 2, "stream": 1},
            {"seed": 1, "stream": "1"},
            {"seed": 1, "stream": 1, "bit_generator": "philox"},
        )
    }
    assert len(seen) == 5


@pytest.mark.parametrize("name", FILLS)
def test_a_box_of_the_whole(name: str) -> None:
    key: dict[str, Any] = {"seed": 3, "stream": "w"}
    whole = call(name, array(name, (9, 11)), **key)
    part = call(name, array(name, (4, 5)), global_shape=[9, np.int64(11)], offset=(np.int64(2), 6), **key)
    assert np.array_equal(part, whole[2:6, 6:])
    for half in ({"global_shape": (9, 11)}, {"offset": (0, 0)}):
        with pytest.raises(ValueError, match="global_shape and offset must be given together"):
            call(name, array(name, (4, 5)), **half, **key)


def test_constants() -> None:
    out = np.zeros(4, np.float32)
    for value in (0.1, -0.0, 3, np.float32(2.5), np.int16(-4), float("inf"), float("-inf"), float("nan"), 1e-50):
        fastinit.constant(out, value)
        assert out.tobytes() == np.full(4, value, np.float32).tobytes()
    assert fastinit.zeros(np.full(3, -1.0)).tobytes() == bytes(24)
    assert fastinit.ones(np.zeros((2, 2), ml_dtypes.bfloat16)).tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_truncated_may_be_a_numpy_bool() -> None:
    for truncated in (True, False):
        got = fastinit.lecun_normal(np.empty(5), 3, seed=1, truncated=np.bool_(truncated))  # type: ignore[arg-type]
        assert np.array_equal(got, fastinit.lecun_normal(np.empty(5), 3, seed=1, truncated=truncated))


def test_names_that_are_not_interned() -> None:
    """The short way compares by identity; the same names from elsewhere must mean the same."""
    mode: Any = "".join(["fan", "_in"])
    nonlinearity = "".join(["leaky", "_relu"])
    bounds: Any = "".join(["abso", "lute"])
    got = fastinit.he_normal(np.empty(9), 7, mode=mode, nonlinearity=nonlinearity, a=0, seed=1)
    assert np.array_equal(got, fastinit.he_normal(np.empty(9), 7, seed=1))
    got = fastinit.truncated_normal(np.empty(9), bounds=bounds, seed=1)
    assert np.array_equal(got, fastinit.truncated_normal(np.empty(9), seed=1))


# --- arrays and settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("float32", "float32"),
        (np.float64, "float64"),
        (np.dtype(np.float16), "float16"),
        ("bfloat16", "bfloat16"),
        (ml_dtypes.bfloat16, "bfloat16"),
        (np.dtype(ml_dtypes.bfloat16), "bfloat16"),
        ("f4", "float32"),
        (float, "float64"),
        ("uint32", "uint32"),
        (np.uint64, "uint64"),
    ],
)
@pytest.mark.parametrize("shape", [(), 0, 5, np.int64(5), (5,), [2, 3], (0, 3), (700, 1000), (np.int32(2), 2)])
def test_empty(shape: Any, dtype: Any, name: str) -> None:
    out = fastinit.empty(shape, dtype)
    assert out.shape == np.empty(shape).shape
    assert out.dtype.name == name
    assert out.dtype.isnative
    assert out.flags.c_contiguous
    assert out.flags.writeable
    assert out.size == 0 or out.ctypes.data % 64 == 0
    out[...] = 1
    assert (out == 1).all()


def test_empty_is_float32() -> None:
    assert fastinit.empty(3).dtype == np.float32
    assert inspect.signature(fastinit.empty).parameters["dtype"].default == "float32"


def test_num_threads(threads: int) -> None:
    assert threads >= 1
    for n in (1, 3, np.int64(2)):
        assert fastinit.set_num_threads(n) is None
        assert fastinit.get_num_threads() == n
        assert type(fastinit.get_num_threads()) is int
        assert fastinit.show_config(mode="dicts")["threads"] == n


def test_num_threads_changes_no_bit(threads: int) -> None:
    want = fastinit.normal(np.empty(300_001, np.float32), seed=1, threads=1)
    for n in (1, 2, 7):
        fastinit.set_num_threads(n)
        assert np.array_equal(fastinit.normal(np.empty(300_001, np.float32), seed=1), want)


CONFIG = [
    *("version", "stream_format", "compiler", "targets_built", "targets_found", "target", "threads", "cpus"),
    "huge_pages",
]


def test_show_config(capsys: pytest.CaptureFixture[str]) -> None:
    config = fastinit.show_config(mode="dicts")
    assert set(config) == set(CONFIG)
    assert capsys.readouterr().out == ""
    assert config["target"] in config["targets_found"]
    assert set(config["targets_found"]) <= set(config["targets_built"])
    assert config["stream_format"] == _core.stream_format == 2
    page = pathlib.Path(__file__).parent.parent / "docs" / "stream-format.md"
    assert page.read_text().startswith("# The stream format, version 2\n")
    json.dumps(config)
    assert fastinit.show_config() is None
    printed = capsys.readouterr().out
    assert [line[:15].strip().replace(" ", "_") for line in printed.splitlines()] == list(config)
    for value in config.values():
        for part in value if isinstance(value, list | tuple) else [value]:
            assert str(part) in printed


@pytest.mark.parametrize("arguments", [[], ["config"]])
def test_main_prints_the_config(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    fastinit.show_config()
    want = capsys.readouterr().out
    assert main(arguments) == 0
    assert capsys.readouterr().out == want


def test_run_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fastinit"])
    monkeypatch.delitem(sys.modules, "fastinit.__main__")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("fastinit", run_name="__main__")
    assert caught.value.code == 0
    assert fastinit.__version__ in capsys.readouterr().out


# --- documentation --------------------------------------------------------------------------------------------------


def modules(path: Iterable[str], package: str) -> list[str]:
    """A package and all in it, by name: to import what needs PyTorch, JAX or Keras is left to those who have it."""
    found = [package]
    for module in pkgutil.iter_modules(path, f"{package}."):
        below = [str(pathlib.Path(place) / module.name.rpartition(".")[2]) for place in path]
        found += modules(below, module.name) if module.ispkg else [module.name]
    return found


# FastInitReader's example loads without a process group, which torch says.
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")
@pytest.mark.parametrize("module", modules(fastinit.__path__, "fastinit"))
def test_doctests(module: str, threads: int) -> None:
    if module in ("fastinit._core", "fastinit._types"):  # the one is compiled, the other for type checkers alone
        return
    needed = "matplotlib" if module == "fastinit.signal._draw" else module.split(".")[1] if "." in module else ""
    if needed in ("torch", "jax", "keras", "dask", "matplotlib") and not installed(needed):
        pytest.skip(f"{module} needs {needed}")
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0
    assert result.attempted > 0 or module not in ("fastinit", "fastinit.initializers", "fastinit.structured")
