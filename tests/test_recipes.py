"""Promise: recipes are data that is checked early, find their parameters, and say what to expect of them."""

from __future__ import annotations

import copy
import decimal
import enum
import fractions
import functools
import gc
import itertools
import json
import math
import pathlib
import pickle
import re
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp, mpf  # type: ignore[import-untyped, unused-ignore]

import fastinit
from conftest import DTYPES
from fastinit import recipes
from fastinit._arguments import count
from fastinit._tools import shapes
from fastinit.recipes import RECIPES, Initializer, Recipe, by_pattern, computed, load, match, optional, save, skip
from fastinit.recipes._named import assign
from fastinit.recipes._patterns import check_prefix

ROOT5 = math.sqrt(5)
# One of each law and each way to say the fans, with the shape of a tensor; all of them are drawn from.
LAWS: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("constant", {"value": -2.5}, (7, 9)),
    ("zeros", {}, (7,)),
    ("ones", {}, ()),
    ("uniform", {"low": -0.25, "high": 1.0}, (400, 500)),
    ("integers", {"low": -3, "high": 9}, (400, 500)),
    ("integers", {"low": 5, "high": 2**32 - 1, "endpoint": True}, (400, 500)),
    ("normal", {"mean": 0.3, "std": 0.02}, (400, 500)),
    ("truncated_normal", {"std": 0.02}, (400, 500)),
    ("truncated_normal", {"mean": 1.0, "std": 0.5, "low": 0.75, "high": 3.0, "bounds": "absolute"}, (400, 500)),
    ("truncated_normal", {"mean": 1.0, "std": 0.5, "low": -3.0, "high": 0.75}, (400, 500)),
    ("truncated_normal", {"bounds": "std", "low": -1.0, "high": 0.5, "std": 2.0, "mean": 7.0}, (400, 500)),
    ("truncated_normal", {"low": 8.0, "high": math.inf}, (400, 500)),
    ("truncated_normal", {"low": -math.inf, "high": -30.0, "std": 3.0}, (400, 500)),
    ("xavier_uniform", {}, (400, 500)),
    ("glorot_normal", {"gain": 3.0, "truncated": True}, (400, 50, 3, 3)),
    ("he_uniform", {"a": ROOT5}, (400, 50, 3, 3)),
    ("he_normal", {}, (400, 500)),
    ("kaiming_normal", {"mode": "fan_out", "nonlinearity": "tanh"}, (400, 500)),
    ("he_normal", {"gain": 0.5, "fan_in": 12.0}, (400, 500)),
    ("he_normal", {"mode": "fan_avg", "fan_in": 5, "fan_out": 10, "truncated": True}, (400, 500)),
    ("lecun_uniform", {"layout": "keras"}, (3, 3, 100, 200)),
    ("lecun_normal", {"in_axis": (0, -1), "out_axis": 1}, (10, 400, 50)),
    ("variance_scaling", {"scale": 3.0, "mode": "fan_geo", "distribution": "uniform"}, (400, 500)),
    ("identity", {"gain": -3.0}, (30, 50)),
    ("dirac", {}, (6, 8, 3)),
    ("dirac", {"groups": 2}, (12, 4, 3, 5)),
    ("orthogonal", {"gain": 2.0}, (300, 20, 3)),
    ("orthogonal", {}, (100, 300)),
    ("orthogonal", {"layout": "keras"}, (3, 50, 100)),
    ("dirac", {"layout": "keras"}, (3, 8, 6)),
    ("sparse", {"sparsity": 0.3, "std": 0.5}, (405, 500)),
]


def test_dir_shows_what_is_public_and_no_more() -> None:
    assert dir(recipes) == sorted(recipes.__all__)
    assert all(getattr(recipes, name) is not None for name in dir(recipes))


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_saved_recipe_is_the_same(tmp_path: pathlib.Path) -> None:
    recipe: list[tuple[str, Any]] = [
        ("*.a[0]", Initializer("he_normal", a=0.1, in_axis=(0, -1), out_axis=1)),
        (optional("b"), Initializer("constant", value=-0.0)),
        ("ü", Initializer("truncated_normal", std=1 / 3, low=-2, high=2, bounds="absolute")),
        ("*.kept", skip),
        ("*", Initializer("zeros")),
    ]
    path = tmp_path / "recipe.json"
    save(recipe, path)
    assert load(path) == load(str(path)) == recipe
    assert repr(load(path)) == repr(recipe)  # optional, and the sign of zero
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.json"]
    save(dict(recipe), path)
    assert load(path) == recipe
    save([], path)
    assert load(path) == []


def test_code_is_not_saved(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "recipe.json"
    save({"*": skip}, path)
    for value in (computed(lambda out, **given: None), lambda name, shape, siblings: skip):
        with pytest.raises(ValueError, match=r"initialisers and skip alone to be saved, .*; got .* for 'w'"):
            save({"w": value}, path)
    with pytest.raises(TypeError, match="recipe must be pairs"):
        save("gpt2", path)  # type: ignore[arg-type]
    assert load(path) == [("*", skip)]
    with pytest.raises(FileNotFoundError):
        save({"*": skip}, tmp_path / "no" / "recipe.json")
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.json"]


FORMAT = '"format": "fastinit recipe 1", "recipe": '


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no recipe: "),
        ("[]", r"must have \"format\": 'fastinit recipe 1' and a list \"recipe\", got \[\]"),
        ('{"format": "fastinit recipe 2", "recipe": []}', "must have"),
        (f"{{{FORMAT} 3}}", "must have"),
        (f"{{{FORMAT} [3]}}", "an entry must have a pattern, .*, got 3"),
        (f'{{{FORMAT} [{{"pattern": 3, "skip": true}}]}}', "an entry must have a pattern"),
        (f'{{{FORMAT} [{{"pattern": "w"}}]}}', "an entry must have a pattern"),
        (f'{{{FORMAT} [{{"pattern": "w", "function": "no", "arguments": {{}}}}]}}', "function must be one of"),
        (
            f'{{{FORMAT} [{{"pattern": "w", "function": "normal", "arguments": {{"std": -1}}}}]}}',
            "std must be a finite",
        ),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(text: str, message: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load(path)


def test_the_file_is_json_that_others_read(tmp_path: pathlib.Path) -> None:
    save({"*": Initializer("normal", std=0.02)}, tmp_path / "recipe.json")
    assert json.loads((tmp_path / "recipe.json").read_text()) == {
        "format": "fastinit recipe 1",
        "recipe": [{"pattern": "*", "function": "normal", "arguments": {"std": 0.02}}],
    }


# --- an initializer -------------------------------------------------------------------------------------------------


def test_there_is_a_law_for_every_function() -> None:
    functions = set(recipes._initializer.functions())
    known = {name for name in functions if getattr(fastinit, name).__name__ in recipes._moments.MOMENTS}
    assert known == functions
    assert {getattr(fastinit, name).__name__ for name in functions} == {
        getattr(fastinit, law[0]).__name__ for law in LAWS
    }
    assert "random_bits" not in functions
    assert "empty" not in functions


@pytest.mark.parametrize(("name", "arguments", "shape"), LAWS, ids=lambda value: str(value)[:40])
def test_the_expected_moments_are_those_of_the_values(
    name: str, arguments: dict[str, Any], shape: tuple[int, ...]
) -> None:
    initializer = Initializer(name, arguments)
    dtype = np.float64 if name != "integers" else np.int8 if arguments["low"] < 0 else np.uint32
    values = initializer.fill(np.empty(shape, dtype), seed=11, stream=name, layout="torch").astype(np.float64)
    mean, std = initializer.moments(shape, "torch")
    n = values.size
    if name in ("constant", "zeros", "ones", "identity", "dirac"):
        assert float(values.mean()) == pytest.approx(mean, rel=1e-14)
        assert float(values.std()) == pytest.approx(std, rel=1e-13)
        return
    # Standard errors from the sample's own fourth moment; orthogonal and sparse values vary less than independent ones.
    fourth = float(np.mean((values - mean) ** 4))
    assert abs(float(values.mean()) - mean) < 5 * std / math.sqrt(n)
    assert abs(float(np.mean((values - mean) ** 2)) - std**2) < 5 * math.sqrt((fourth - std**4) / n) + 1e-14


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-2.0, 2.0),
        (-0.1, 3.0),
        (1.0, 1.0 + 1e-9),
        (8.0, math.inf),
        (40.0, 41.0),
        (-math.inf, -1e6),
        (-math.inf, math.inf),
    ],
)
def test_moments_of_any_window(low: float, high: float) -> None:
    """Against Gauss's integrals in 60 digits."""
    mean, std = Initializer("truncated_normal", {"low": low, "high": high, "bounds": "std"}).moments((3,))
    with mp.workdps(80):
        a, b = mpf(low), mpf(high)
        sign = -1 if a < -5 else 1  # the lower tail by the upper one's
        if sign < 0 and not mp.isinf(b):
            a, b = -b, -a
        else:
            sign = 1

        def phi(x: Any) -> Any:
            return mp.npdf(x) if not mp.isinf(x) else mpf(0)

        def edge(x: Any) -> Any:
            return x * phi(x) if not mp.isinf(x) else mpf(0)

        mass = (mp.erfc(a / mp.sqrt(2)) - mp.erfc(b / mp.sqrt(2))) / 2
        first = (phi(a) - phi(b)) / mass
        second = mp.sqrt(1 + (edge(a) - edge(b)) / mass - first**2)
        assert mean == pytest.approx(float(sign * first), rel=1e-13, abs=1e-15)
        assert std == pytest.approx(float(second), rel=1e-9 if low == 1.0 else 1e-12)


def test_moments_without_spread() -> None:
    assert Initializer("truncated_normal", std=0.0, mean=5.0).moments((3,)) == (5.0, 0.0)
    assert Initializer("truncated_normal", std=0.0, mean=5.0, bounds="absolute").moments((3,)) == (2.0, 0.0)
    assert Initializer("uniform", {"low": 3, "high": 3}).moments((3,)) == (3.0, 0.0)


def test_moments_of_no_elements_are_those_of_the_law() -> None:
    assert Initializer("he_normal").moments((3, 0), "torch") == (0.0, math.sqrt(2))
    for name, arguments, shape in LAWS:
        mean, std = Initializer(name, arguments).moments((0,) * len(shape), "torch")
        assert math.isfinite(mean)
        assert math.isfinite(std)


def test_moments_at_the_ends_of_the_range() -> None:
    """Where a sum or a square on the way would not be a float64 value any more."""
    wide = Initializer("uniform", low=-1e308, high=1.5e308)
    assert wide.moments((3,)) == pytest.approx((2.5e307, 2.5 / math.sqrt(12) * 1e308))
    assert Initializer("he_normal", gain=1e200).moments((4, 4), "torch") == (0.0, 5e199)


def test_moments_of_a_shape_that_is_refused_are_refused() -> None:
    for name in ("he_normal", "identity", "orthogonal", "dirac"):
        with pytest.raises(ValueError, match=rf"^Initializer\('{name}'\): .*\(3,\)"):
            Initializer(name).moments((3,), "torch")


# --- an initializer is a value --------------------------------------------------------------------------------------


def test_it_is_a_value() -> None:
    one = Initializer("normal", std=0.02)
    assert one == Initializer("normal", {"std": 0.02}) != Initializer("normal", std=0.03)
    assert Initializer("uniform", low=0, high=1) == Initializer("uniform", {"high": 1.0}, low=0.0)
    assert len({one, Initializer("normal", std=0.02), Initializer("normal"), Initializer("truncated_normal")}) == 3
    assert one != "normal"
    assert one != ("normal", {"std": 0.02})
    assert one.function == "normal"
    assert dict(one.arguments) == {"std": 0.02}


def test_it_cannot_be_changed() -> None:
    arguments: dict[str, Any] = {"in_axis": [0, 1], "out_axis": np.array([2])}
    one = Initializer("he_normal", arguments)
    same = Initializer("he_normal", in_axis=(0, 1), out_axis=(2,))
    arguments["in_axis"].append(5)
    arguments["out_axis"] += 3
    arguments["batch_axis"] = [7]
    assert one == same
    assert hash(one) == hash(same)
    for change in ("update", "clear", "pop", "__setitem__", "setdefault"):
        assert not hasattr(one.arguments, change)
    with pytest.raises(TypeError, match="does not support item assignment"):
        one.arguments["in_axis"] = 5  # type: ignore[index]
    for name in ("function", "arguments", "_function", "_arguments", "other"):
        with pytest.raises(AttributeError, match=r"^Initializer cannot be changed: make another one$"):
            setattr(one, name, "zeros")
        with pytest.raises(AttributeError, match=r"^Initializer cannot be changed: make another one$"):
            delattr(one, name)
    one.__init__("zeros")  # type: ignore[misc]
    assert not hasattr(one, "__dict__")
    assert one == same
    assert hash(one) == hash(same)


class Mode(str, enum.Enum):
    """Its own __str__ says something else."""

    OUT = "fan_out"


PLAIN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("normal", {"std": np.float32(0.02)}, {"std": float(np.float32(0.02))}),
    ("normal", {"std": np.float64(0.02)}, {"std": 0.02}),
    ("normal", {"std": np.longdouble(0.5)}, {"std": 0.5}),
    ("normal", {"std": np.int8(2)}, {"std": 2}),
    ("normal", {"std": fractions.Fraction(1, 3)}, {"std": 1 / 3}),
    ("constant", {"value": 2**70}, {"value": 2**70}),
    ("he_normal", {"truncated": np.bool_(True)}, {"truncated": True}),
    ("he_normal", {"mode": np.str_("fan_out")}, {"mode": "fan_out"}),
    ("he_normal", {"mode": Mode.OUT}, {"mode": "fan_out"}),
    ("he_normal", {"in_axis": [0, np.int64(1)], "out_axis": -1}, {"in_axis": (0, 1), "out_axis": -1}),
    ("he_normal", {"in_axis": np.array([0, 1]), "out_axis": np.array(2)}, {"in_axis": (0, 1), "out_axis": 2}),
    ("he_normal", {"in_axis": range(2), "out_axis": (2,)}, {"in_axis": (0, 1), "out_axis": (2,)}),
    ("he_normal", {"in_axis": iter([1]), "out_axis": 0}, {"in_axis": (1,), "out_axis": 0}),
    ("he_normal", {"in_axis": 1, "out_axis": 0, "batch_axis": []}, {"in_axis": 1, "out_axis": 0, "batch_axis": ()}),
    ("he_normal", {"fan_in": None, "layout": None}, {"fan_in": None, "layout": None}),
    ("dirac", {"groups": np.uint8(2)}, {"groups": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "kept"), PLAIN)
def test_arguments_are_kept_as_plain_values(name: str, given: dict[str, Any], kept: dict[str, Any]) -> None:
    one, other = Initializer(name, given), Initializer(name, kept)
    assert dict(one.arguments) == kept
    assert all(type(value) is type(kept[key]) for key, value in one.arguments.items())
    assert one == other
    assert hash(one) == hash(other)
    assert repr(one) == repr(other)
    found = one.fill(np.empty((8, 8, 8)), seed=1, stream=2, layout="torch")
    assert np.array_equal(found, other.fill(np.empty((8, 8, 8)), seed=1, stream=2, layout="torch"))


def test_plain_values_fill_the_bits_of_those_that_were_given() -> None:
    for std in (np.float32(0.02), np.float16(0.02), np.longdouble("0.02"), fractions.Fraction(1, 50)):
        value: Any = std
        wanted = fastinit.normal(np.empty(64), std=value, seed=1, stream=2)
        assert np.array_equal(Initializer("normal", std=value).fill(np.empty(64), seed=1, stream=2), wanted)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("normal", {"std": np.bool_(True)}, "std must be a number, got True of type bool"),
        ("normal", {"std": decimal.Decimal(1)}, r"std must be a number, got Decimal\('1'\)"),
        ("normal", {"std": np.timedelta64(3, "s")}, "std must be a number, got .*timedelta64"),
        ("normal", {"std": np.array(3.0)}, r"std must be a number, got an array of shape \(\)"),
        ("normal", {"std": [1.0]}, r"std must be a number, got \(1.0,\) of type tuple"),
        ("normal", {"std": {1.0: 2}}, r"std must be a number, got {1.0: 2} of type dict"),
        ("normal", {"std": None}, "std must be a number, got None"),
        ("he_normal", {"mode": b"fan_in"}, "mode must be one of"),
        ("he_normal", {"in_axis": [[0], [1]], "out_axis": 2}, r"in_axis must be .*, got \(\(0,\), \(1,\)\)"),
        *(
            ("he_normal", axes, rf"{name} must be an int or a sequence of ints, got .* of type {kind}$")
            for value, kind in (({0: 1}, "dict"), ({0}, "set"), (frozenset([0]), "frozenset"), (b"\0", "bytes"))
            for axes, name in (
                ({"in_axis": value, "out_axis": 1}, "in_axis"),
                ({"in_axis": 1, "out_axis": value}, "out_axis"),
                ({"in_axis": 1, "out_axis": 2, "batch_axis": value}, "batch_axis"),
            )
        ),
        ("he_normal", {"truncated": 1}, "truncated must be True or False, got 1"),
    ],
)
def test_other_values_are_refused_in_the_words_of_the_function(
    function: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        Initializer(function, arguments)


@pytest.mark.parametrize("value", [fractions.Fraction(10**400), 10**400])
def test_numbers_beyond_float64_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"value must be a number within the range of float64, got"):
        Initializer("constant", value=value)


NAN, OTHER_NAN = np.array([0x7FF8000000000000, 0x7FF8000000000001], np.uint64).view(np.float64).tolist()


def test_those_that_fill_different_bits_differ() -> None:
    values = [0.0, -0.0, NAN, -NAN, OTHER_NAN, math.inf, -math.inf, 1, 1e-320]
    bits = [Initializer("constant", value=v).fill(np.empty(1), seed=0, stream=0).tobytes() for v in values]
    assert len(set(bits)) == len(values)
    assert len({Initializer("constant", value=v) for v in values}) == len(values)
    for v, w in itertools.product(values, values):
        one, other = Initializer("constant", value=v), Initializer("constant", value=w)
        assert (one == other) == (v is w), (v, w)
        assert one != other or hash(one) == hash(other)
    assert Initializer("constant", value=0) == Initializer("constant", value=0.0) != Initializer("constant", value=-0.0)
    assert Initializer("normal", mean=-0.0) != Initializer("normal", mean=0.0)
    assert Initializer("constant", value=float("nan")) == Initializer("constant", value=np.float32("nan"))


@pytest.mark.parametrize(
    ("initializer", "text", "short"),
    [
        (Initializer("zeros"), "Initializer('zeros')", "zeros()"),
        (Initializer("normal", std=0.02), "Initializer('normal', std=0.02)", "normal(std=0.02)"),
        (
            Initializer("uniform", low=-1 / 3, high=1),
            "Initializer('uniform', low=-0.3333333333333333, high=1)",
            "uniform(low=-0.333333, high=1)",
        ),
        (
            Initializer("truncated_normal", low=-math.inf, high=-0.0),
            "Initializer('truncated_normal', low=float('-inf'), high=-0.0)",
            "truncated_normal(low=-inf, high=-0)",
        ),
        (Initializer("constant", value=math.nan), "Initializer('constant', value=float('nan'))", "constant(value=nan)"),
        (
            Initializer("he_normal", in_axis=[0, 1], out_axis=2, truncated=True),
            "Initializer('he_normal', in_axis=(0, 1), out_axis=2, truncated=True)",
            "he_normal(in_axis=(0, 1), out_axis=2, truncated=True)",
        ),
    ],
    ids=str,
)
def test_its_repr_makes_it_again(initializer: Initializer, text: str, short: str) -> None:
    assert repr(initializer) == text
    assert str(initializer) == short
    assert eval(text) == initializer


class Mine(Initializer):
    """A subclass with nothing of its own."""

    __slots__ = ()


@pytest.mark.parametrize("kind", [Initializer, Mine])
@pytest.mark.parametrize(("name", "arguments", "shape"), LAWS, ids=lambda value: str(value)[:40])
def test_copies_are_equal(kind: type[Initializer], name: str, arguments: dict[str, Any], shape: Any) -> None:
    one = kind(name, arguments)
    copies = [pickle.loads(pickle.dumps(one, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for other in (*copies, copy.copy(one), copy.deepcopy(one)):
        assert type(other) is kind
        assert other == one
        assert hash(other) == hash(one)
        assert repr(other) == repr(one)
        assert list(other.arguments) == list(one.arguments)


def test_a_subclass_is_another_kind() -> None:
    assert Mine("zeros") == Mine("zeros") != Initializer("zeros") != Mine("zeros")
    assert repr(Mine("normal", std=1)) == "Mine('normal', std=1)"
    with pytest.raises(AttributeError, match=r"^Mine cannot be changed"):
        Mine("zeros").function = "ones"  # type: ignore[misc]
    assert match({"*": Mine("zeros")}, ["a"]) == {"a": ("*", Mine("zeros"))}


def test_pickles_name_the_public_class() -> None:
    """So that they can be read when the files inside have other names."""
    assert b"fastinit.recipes\n" in pickle.dumps(Initializer("zeros"), 0)
    assert (Initializer.__module__, Initializer.__qualname__) == ("fastinit.recipes", "Initializer")


def test_caches_may_hold_it_weakly() -> None:
    one = Initializer("zeros")
    held = weakref.ref(one)
    assert held() is one
    del one
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("layout", ["torch", "keras"])
def test_fill_is_the_function(layout: str) -> None:
    found = Initializer("he_normal").fill(np.empty((30, 50), np.float32), seed=3, stream="a.b", layout=layout)
    wanted = fastinit.he_normal(np.empty((30, 50), np.float32), layout=layout, seed=3, stream="a.b")  # type: ignore[arg-type]
    assert np.array_equal(found, wanted)
    box = Initializer("he_normal").fill(
        np.empty((10, 20), np.float32),
        seed=3,
        stream="a.b",
        layout=layout,
        global_shape=(30, 50),
        offset=(20, 30),
        threads=1,
    )
    assert np.array_equal(box, wanted[20:, 30:])
    philox = Initializer("normal").fill(np.empty(9), seed=3, stream=1, bit_generator="philox")
    assert np.array_equal(philox, fastinit.normal(np.empty(9), seed=3, stream=1, bit_generator="philox"))


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (7, {}, TypeError, "function must be the name of a function of fastinit, got 7 of type int"),
        ("he_norm", {}, ValueError, "function must be one of .*he_normal.*; got 'he_norm'"),
        ("empty", {}, ValueError, "function must be one of .*; got 'empty'"),
        ("random_bits", {}, ValueError, "function must be one of .*; got 'random_bits'"),
        ("normal", [("std", 1)], TypeError, "arguments must be a mapping of arguments by name, got .* of type list"),
        ("normal", 0.02, TypeError, "arguments must be a mapping of arguments by name, got 0.02 of type float"),
        ("normal", {"sd": 1}, ValueError, "arguments of normal in a recipe are mean, std; got 'sd'"),
        ("normal", {"seed": 1}, ValueError, "arguments of normal in a recipe are mean, std; got 'seed'"),
        ("zeros", {"value": 1}, ValueError, "arguments of zeros in a recipe are none; got 'value'"),
        ("normal", {1: 2}, ValueError, "arguments of normal in a recipe are mean, std; got 1"),
        ("constant", {}, ValueError, r"^Initializer\('constant'\): constant needs value=$"),
        ("normal", {"std": -1}, ValueError, r"^Initializer\('normal', std=-1\): std must be .* got -1"),
        ("normal", {"std": "1"}, TypeError, "std must be .* got '1'"),
        ("he_normal", {"mode": "fan"}, ValueError, "mode must be one of .* got 'fan'"),
        ("he_normal", {"layout": "torch", "fan_in": 3}, ValueError, "exclude each other"),
        ("he_normal", {"in_axis": 0}, ValueError, "in_axis and out_axis must be given together"),
        ("he_normal", {"in_axis": -1, "out_axis": -1}, ValueError,
         "in_axis, out_axis and batch_axis must name each axis at most once; got in_axis=-1, out_axis=-1$"),
        ("xavier_normal", {"fan_in": 3}, ValueError, "xavier_normal needs fan_in= and fan_out= or layout="),
        ("he_normal", {"fan_in": 2.236}, ValueError, "fan_in must be a whole number >= 1"),
    ],
)  # fmt: skip
def test_a_bad_initializer_is_refused_when_it_is_made(
    function: Any, arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Initializer(function, arguments)


def test_an_argument_is_given_once() -> None:
    with pytest.raises(TypeError, match=r"^arguments must be given once, got std in the mapping and by keyword$"):
        Initializer("normal", {"std": 1.0, "mean": 0.0}, std=1.0)
    for name in ("function", "arguments"):  # no names of parameters: they are the function's own to take or refuse
        with pytest.raises(ValueError, match=f"arguments of normal in a recipe are mean, std; got '{name}'"):
            Initializer("normal", **{name: 1})


def test_check_refuses_what_fill_would() -> None:
    large = Initializer("constant", {"value": 1e6})
    large.check((3, 5), np.float32)
    with pytest.raises(ValueError, match=r"Initializer\('constant', value=1000000.0\): .* float16"):
        large.check((3, 5), np.float16)
    with pytest.raises(ValueError, match="float16"):
        large.check((), np.float16)
    Initializer("normal").check((2**40, 2**20), ml_dtypes.bfloat16)  # nothing of that size is made
    for shape in ((3,), ()):
        words = f"needs at least 2 dimensions; got shape {shape}, which has no fans: give those, or use an initialiser"
        with pytest.raises(ValueError, match=rf"^Initializer\('he_normal'\): layout='torch' .*{re.escape(words)}"):
            Initializer("he_normal").check(shape, np.float32, "torch")
    Initializer("he_normal").check((3,), np.float32, "keras")
    with pytest.raises(
        ValueError, match=r"\): shape must have 2 dimensions, got \(3,\)$"
    ):  # the whole one's, not that of the trial
        Initializer("identity").check((3,), np.float32)


# --- matching -------------------------------------------------------------------------------------------------------

ZEROS, ONES = Initializer("zeros"), Initializer("ones")


def test_the_first_pattern_wins_and_a_star_takes_dots() -> None:
    found = match(
        [("*.ln?.*", ONES), ("h.[01].*.bias", ZEROS), ("*", ONES)], ["h.0.ln1.bias", "h.1.fc.bias", "h.2.fc.bias"]
    )
    assert found == {
        "h.0.ln1.bias": ("*.ln?.*", ONES),
        "h.1.fc.bias": ("h.[01].*.bias", ZEROS),
        "h.2.fc.bias": ("*", ONES),
    }
    assert list(found) == ["h.0.ln1.bias", "h.1.fc.bias", "h.2.fc.bias"]
    with pytest.raises(ValueError, match="'A'"):  # whole names, and case counts
        match({"a": ZEROS}, ["A"])
    with pytest.raises(ValueError, match=r"'a.b'"):
        match({"a": ZEROS}, ["a.b"])
    assert match({}, []) == {}


def test_what_does_not_match_is_named() -> None:
    with pytest.raises(ValueError, match=r"^recipe: no pattern matches the parameters 'b', 'c'$"):
        match({"a": ZEROS}, ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"^recipe: no parameter matches the patterns 'x', 'y'$"):
        match({"a": ZEROS, "x": ZEROS, "y": ZEROS}, ["a"])
    with pytest.raises(
        ValueError, match=r"no pattern matches the parameters 'b'; no parameter matches the patterns 'x'"
    ):
        match([("a", ZEROS), ("x", ZEROS)], ["a", "b"])
    with pytest.raises(ValueError, match=r"^recipe: earlier patterns win all .* of 'a': put 'a' before them$"):
        match([("*", ZEROS), ("a", ONES)], ["a", "b"])
    with pytest.raises(ValueError, match=r"'0', '1', .*'9' and 20 more$"):
        match({}, map(str, range(30)))


@pytest.mark.parametrize(
    ("recipe", "came"),
    [
        (7, "got 7 of type int"),
        ("gpt2", "got 'gpt2' of type str"),
        (["ab"], "got 'ab' of type str in it"),
        ([("a", ZEROS, 3)], "of type tuple in it"),
        ([(1, ZEROS)], "got 1 of type int with .* in it"),
        ({"a": "zeros"}, "got 'zeros' of type str for 'a'"),
    ],
)
def test_what_is_no_recipe_is_a_type_error(recipe: Any, came: str) -> None:
    with pytest.raises(TypeError, match=f"^recipe must be pairs of .*{came}$"):
        match(recipe, ["a"])


@pytest.mark.parametrize(
    ("names", "came"),
    [
        ("abc", "got 'abc' of type str"),
        (7, "got 7 of type int"),
        ([1, 2], "got 1 of type int in it"),
        (["a", b"a"], "got b'a' of type bytes in it"),
    ],
)
def test_what_are_no_names_is_a_type_error(names: Any, came: str) -> None:
    with pytest.raises(TypeError, match=f"^names must be an iterable of str, {came}$"):
        match({"*": ZEROS}, names)


NAMES = ["body.fc.weight", "body.fc.bias", "head.weight", "head.bias"]
HEAD = [("head.weight", ONES), ("*.bias", ZEROS)]


@pytest.mark.parametrize(
    ("include", "exclude", "filled"),
    [
        (None, None, NAMES),
        ("head.*", None, ["head.weight", "head.bias"]),
        (["head.weight", "*.fc.bias"], None, ["body.fc.bias", "head.weight"]),
        (None, "body.*", ["head.weight", "head.bias"]),
        (None, ("*.bias", "body.*"), ["head.weight"]),
        ("head.*", "*.bias", ["head.weight"]),
        ("*", "*", []),
        ([], None, []),
        (None, [], NAMES),
    ],
)
def test_only_what_is_selected_gets_anything(include: Any, exclude: Any, filled: list[str]) -> None:
    recipe = [("head.weight", ONES), ("*", ZEROS)]
    found = match(recipe, NAMES, include=include, exclude=exclude)
    whole = match(recipe, NAMES)
    assert found == {name: whole[name] for name in filled}
    assert list(found) == filled


def test_a_recipe_for_the_selected_ones_is_enough() -> None:
    with pytest.raises(ValueError, match=r"no pattern matches the parameters 'body.fc.weight'"):
        match(HEAD, NAMES)
    assert list(match(HEAD, NAMES, include="head.*")) == ["head.weight", "head.bias"]
    assert list(match(HEAD, NAMES, exclude="body.fc.weight")) == ["body.fc.bias", "head.weight", "head.bias"]
    with pytest.raises(ValueError, match=r"no pattern matches the parameters 'body.fc.weight'"):
        match(HEAD, NAMES, exclude="head.*")


def test_a_pattern_of_the_recipe_may_be_for_what_is_not_selected() -> None:
    """The recipe of a whole model serves for a part of it; a pattern for nothing at all is a mistake all the same."""
    recipe = [("body.*", ONES), *HEAD]
    assert list(match(recipe, NAMES, include="head.*")) == ["head.weight", "head.bias"]
    with pytest.raises(ValueError, match=r"no parameter matches the patterns 'haed.*'"):
        match([("haed.*", ONES), *HEAD], NAMES, include="head.*")
    with pytest.raises(ValueError, match=r"earlier patterns win all the parameters of 'body.fc.bias'"):
        match([*HEAD, ("body.fc.bias", ONES)], NAMES, include="head.*")


@pytest.mark.parametrize("argument", ["include", "exclude"])
@pytest.mark.parametrize(
    ("patterns", "error", "message"),
    [
        ("haed.*", ValueError, "no name matches the pattern 'haed.*'; the names are 'body.fc.weight', "),
        (["head.*", "Head.*"], ValueError, "no name matches the pattern 'Head.*'"),
        (7, TypeError, "must be a pattern of names or a sequence of them, got 7 of type int$"),
        (b"head.*", TypeError, "must be a pattern of names or a sequence of them, got b'head.*' of type bytes$"),
        ({"head.*"}, TypeError, "must be a pattern of names or a sequence of them, got {'head.*'} of type set$"),
        (["head.*", 7], TypeError, "must be a pattern of names or a sequence of them, got 7 of type int in it$"),
    ],
)
def test_a_selection_is_checked(argument: Any, patterns: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{argument}:? {message}"):
        match(HEAD, NAMES, **{argument: patterns})
    with pytest.raises(ValueError, match=f"^{argument}: no name matches the pattern 'x'; the names are none$"):
        match(HEAD, [], **{argument: "x"})


def test_what_is_selected_of_a_model_with_a_shipped_recipe() -> None:
    """The depth of GPT-2 is that of the model, not of what is filled."""
    found = assign("gpt2", GPT2, "*.h.1.*", None)
    assert found["transformer.h.1.mlp.c_proj.weight"] == ("*.c_proj.weight", Initializer("normal", std=0.01))
    assert list(found) == [name for name in GPT2 if ".h.1." in name]
    assert assign(recipes.gpt2(2), GPT2, "*.h.1.*", None) == found
    assert list(assign("gpt2", GPT2, None, "*.h.*"))[:2] == ["transformer.wte.weight", "transformer.wpe.weight"]


def test_a_prefix_ends_with_a_dot() -> None:
    assert check_prefix("") == ""
    assert check_prefix("a.b.") == "a.b."
    with pytest.raises(ValueError, match=r"^prefix must be empty or end with a dot, as in 'head\.', got 'head'$"):
        check_prefix("head")
    with pytest.raises(TypeError, match=r"^prefix must be a str, got None of type NoneType$"):
        check_prefix(None)


# --- the shipped ones -----------------------------------------------------------------------------------------------

Shapes = dict[str, tuple[int, ...]]


def with_biases(shapes: Shapes) -> Shapes:
    """Each weight, and a bias of its first size."""
    both: Shapes = {}
    for name, shape in shapes.items():
        both |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return both


def gpt2(n_layer: int = 2, bias: bool = True) -> Shapes:
    """nanoGPT's: layers are (out, in)."""
    block: Shapes = {"ln_1": (32,), "attn.c_attn": (96, 32), "attn.c_proj": (32, 32)}
    block |= {"ln_2": (32,), "mlp.c_fc": (128, 32), "mlp.c_proj": (32, 128)}
    layers = {f"h.{i}.{name}": shape for i in range(n_layer) for name, shape in block.items()} | {"ln_f": (32,)}
    tables = {"transformer.wte.weight": (100, 32), "transformer.wpe.weight": (16, 32)}
    named = with_biases({f"transformer.{name}": shape for name, shape in layers.items()})
    return tables | {name: shape for name, shape in named.items() if bias or name.endswith(".weight")}


def llama() -> Shapes:
    block: Shapes = {f"self_attn.{part}_proj": (32, 32) for part in "qo"}
    block |= {f"self_attn.{part}_proj": (16, 32) for part in "kv"}
    block |= {"mlp.gate_proj": (72, 32), "mlp.up_proj": (72, 32), "mlp.down_proj": (32, 72)}
    block |= {"input_layernorm": (32,), "post_attention_layernorm": (32,)}
    layers = {f"model.layers.{i}.{name}.weight": shape for i in range(2) for name, shape in block.items()}
    return {"model.embed_tokens.weight": (100, 32), **layers, "model.norm.weight": (32,)}


def vit() -> Shapes:
    block: Shapes = {"norm1": (32,), "attn.qkv": (96, 32), "attn.proj": (32, 32)}
    block |= {"norm2": (32,), "mlp.fc1": (128, 32), "mlp.fc2": (32, 128)}
    layers = {f"blocks.{i}.{name}": shape for i in range(2) for name, shape in block.items()}
    return {"pos_embed": (1, 5, 32)} | with_biases(
        {"patch_embed.proj": (32, 3, 4, 4), **layers, "norm": (32,), "head": (10, 32)}
    )


GPT2, LLAMA, VIT = gpt2(), llama(), vit()
RESNET = shapes.resnet50()
# The same without the third convolution of each block.
BASIC = {name: shape for name, shape in RESNET.items() if "conv3" not in name and "bn3" not in name}
BY_NAME = {"gpt2": GPT2, "llama": LLAMA, "vit": VIT, "resnet": RESNET}


def of(recipe: Recipe, shapes: dict[str, tuple[int, ...]], name: str) -> Initializer:
    initializer = match(recipe, shapes)[name][1]
    assert isinstance(initializer, Initializer)
    return initializer


def test_the_names_say_what_a_shipped_recipe_needs() -> None:
    gpt2 = recipes.named("gpt2", GPT2)
    assert gpt2 == recipes.gpt2(2)
    assert of(gpt2, GPT2, "transformer.h.1.mlp.c_proj.weight") == Initializer("normal", {"std": 0.02 / math.sqrt(4)})
    inner = {name.removeprefix("transformer."): shape for name, shape in GPT2.items()}
    assert recipes.named("gpt2", inner) == gpt2
    assert recipes.named("gpt2", {**GPT2, "lm_head.weight": (100, 32)}) == gpt2

    assert recipes.named("llama", LLAMA) == recipes.llama()
    biased = LLAMA | {f"model.layers.{i}.self_attn.o_proj.bias": (32,) for i in range(2)}
    assert of(recipes.named("llama", biased), biased, "model.layers.0.self_attn.o_proj.bias") == ZEROS

    vit = recipes.named("vit", VIT)
    assert vit == recipes.vit(48, class_token=False)
    assert of(vit, VIT, "patch_embed.proj.bias").moments((32,)) == pytest.approx((0.0, 1 / math.sqrt(3 * 48)))
    tokens = {**VIT, "cls_token": (1, 1, 32), "reg_token": (1, 4, 32)}
    assert recipes.named("vit", tokens) == recipes.vit(48, class_token=True, registers=True)

    resnet = recipes.named("resnet", RESNET)
    assert resnet == recipes.resnet(2048)
    assert of(resnet, RESNET, "layer1.0.bn3.weight") == ONES
    zero = recipes.resnet(2048, zero_init_last=True)
    assert of(zero, RESNET, "layer1.0.bn3.weight") == ZEROS
    assert of(zero, RESNET, "bn1.weight") == ONES
    assert recipes.named("resnet", BASIC) == recipes.resnet(2048)
    assert of(recipes.resnet(2048, zero_init_last=True, bottleneck=False), BASIC, "layer1.0.bn2.weight") == ZEROS


def test_nano_gpt_has_no_biases() -> None:
    assert recipes.named("gpt2", gpt2(3, bias=False)) == recipes.gpt2(3, biases=False)


def test_a_layer_scale_is_not_guessed() -> None:
    scaled = VIT | {f"blocks.{i}.ls{j}.gamma": (32,) for i in range(2) for j in (1, 2)}
    with pytest.raises(
        ValueError, match=r"layer scales is not known: give fastinit\.recipes\.vit\(\.\.\., layer_scale=\)"
    ):
        recipes.named("vit", scaled)
    assert of(recipes.vit(48, class_token=False, layer_scale=1e-5), scaled, "blocks.0.ls1.gamma") == Initializer(
        "constant", value=1e-5
    )


def test_a_state_dict_of_a_resnet_has_the_statistics_of_its_norms() -> None:
    state = dict(RESNET)
    for name, shape in RESNET.items():
        if name.endswith((".bn1.bias", ".bn2.bias", ".bn3.bias", ".downsample.1.bias")) or name == "bn1.bias":
            norm = name.removesuffix("bias")
            state |= {f"{norm}running_mean": shape, f"{norm}running_var": shape, f"{norm}num_batches_tracked": ()}
    recipe = recipes.named("resnet", state)
    found = match(recipe, [name for name in state if not name.endswith("tracked")])
    assert found["layer1.0.bn3.running_mean"][1] == ZEROS
    assert found["layer1.0.downsample.1.running_var"][1] == ONES


@pytest.mark.parametrize(
    "prefix", ["net.", "norm_first.", "fc.", "x.layer1.bn2.", "a[0].*.", "ln_1.", "transformer.model."]
)
@pytest.mark.parametrize("name", RECIPES)
def test_a_prefix_changes_no_law(name: str, prefix: str) -> None:
    """Patterns find no word of theirs in it."""
    plain = BY_NAME[name]
    found = match(recipes.named(name, plain), plain)
    under = {prefix + parameter: shape for parameter, shape in plain.items()}
    moved = match(recipes.named(name, under), under)
    assert {key.removeprefix(prefix): value[1] for key, value in moved.items()} == {k: v[1] for k, v in found.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_a_name_more_or_less_is_refused(name: str) -> None:
    plain = BY_NAME[name]
    words = (
        rf"^recipe '{name}' is for .*, as PyTorch names their parameters; these parameters are not those of its list: "
    )
    optional = {"norm.weight", "norm.bias", "patch_embed.proj.bias"}
    for missing in plain:
        if missing not in optional:
            with pytest.raises(ValueError, match=rf"{words}.*(missing: |unknown: )"):
                recipes.named(name, {key: shape for key, shape in plain.items() if key != missing})
    last = list(plain)[-1]
    for stranger in ("weight", "x." + last, last + "x", last.replace("weight", "scale").replace("bias", "scale")):
        with pytest.raises(
            ValueError, match=f"{words}unknown: {stranger!r}. For another model run its own constructor or init"
        ):
            recipes.named(name, {**plain, stranger: plain[last]})
    with pytest.raises(ValueError, match=f"{words}missing: '[a-z_1.]*weight'. For"):
        recipes.named(name, {})
    with pytest.raises(ValueError, match=r"a recipe of your own, .*such as what fastinit\.recipes\."):
        recipes.named(name, {"fc.kernel": (4, 4)})


@pytest.mark.parametrize(
    ("name", "parameter", "shape"),
    [
        ("gpt2", "transformer.wpe.weight", (16, 33)),
        ("gpt2", "transformer.h.1.mlp.c_fc.weight", (128, 33)),
        ("gpt2", "transformer.h.1.attn.c_proj.weight", (32, 32, 1)),
        ("llama", "model.layers.1.self_attn.v_proj.weight", (32, 32)),
        ("llama", "model.layers.0.mlp.down_proj.weight", (72, 32)),
        ("vit", "blocks.0.attn.qkv.weight", (97, 32)),
        ("vit", "blocks.1.mlp.fc2.weight", (32, 64)),  # as in a gated MLP
        ("vit", "pos_embed", (5, 5, 32)),
        ("vit", "patch_embed.proj.weight", (32, 48)),
        ("resnet", "conv1.weight", (64, 3, 7)),
        ("resnet", "fc.bias", (10,)),
    ],
)
def test_shapes_have_to_go_together(name: str, parameter: str, shape: tuple[int, ...]) -> None:
    message = f"of another shape: .*{re.escape(repr(parameter))} with {re.escape(str(shape))}"
    with pytest.raises(ValueError, match=message):
        recipes.named(name, {**BY_NAME[name], parameter: shape})


def test_a_model_may_be_given_by_its_config() -> None:
    config = types.SimpleNamespace(model_type="gpt2", initializer_range=0.1, n_layer=5)
    assert recipes.named("gpt2", GPT2, model=config) == recipes.gpt2(5, 0.1)
    mistral = types.SimpleNamespace(model_type="mistral", initializer_range=0.1)
    assert recipes.named("llama", LLAMA, model=mistral) == recipes.llama(0.1)
    with pytest.raises(
        ValueError, match=r"another initialisation: its config has the model_type 'gemma'; the types .*'llama'"
    ):
        recipes.named("llama", LLAMA, model=types.SimpleNamespace(model_type="gemma"))
    with pytest.raises(ValueError, match="its config has the model_type 'mistral'; the types of this recipe are none"):
        recipes.named("vit", VIT, model=mistral)
    with pytest.raises(ValueError, match=r"config\.initializer_range must be a finite real number > 0, got None"):
        recipes.named("llama", LLAMA, model=types.SimpleNamespace(model_type="llama"))
    with pytest.raises(TypeError, match="model must be a module, or a config with a model_type, got 3 of type int"):
        recipes.named("llama", LLAMA, model=3)


def test_vit_cuts_at_values_not_at_multiples_of_std() -> None:
    """As timm's trunc_normal_ does: at -2 and 2, far beyond any value of std 0.02."""
    pattern, cut = list(dict(recipes.vit(768)).items())[-1]
    assert isinstance(cut, Initializer)
    assert (pattern, cut) == ("*.weight", Initializer("truncated_normal", std=0.02, bounds="absolute"))
    assert cut.moments((4, 4)) == pytest.approx((0.0, 0.02), rel=1e-12)


def test_the_fans_of_resnet_are_those_of_torch_s_shapes() -> None:
    """Its names are torch's, and so are its shapes, whatever an adapter's own layout is."""
    conv = of(recipes.resnet(64), RESNET, "conv1.weight")
    for layout in ("torch", "keras"):
        assert conv.moments((8, 3, 7, 7), layout) == pytest.approx((0.0, math.sqrt(2 / (8 * 49))))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: recipes.gpt2(0), ValueError, "n_layer must be an int >= 1, got 0"),
        (lambda: recipes.gpt2(12.0), TypeError, "n_layer must be an int >= 1, got 12.0 of type float"),  # type: ignore[arg-type]
        (lambda: recipes.gpt2(12, -1.0), ValueError, "std must be a finite real number >= 0, got -1.0"),
        (lambda: recipes.llama("0.02"), TypeError, "std must be a finite real number >= 0, got '0.02' of type str"),  # type: ignore[arg-type]
        (lambda: recipes.vit(0), ValueError, "patch_fan_in must be an int >= 1, got 0"),
        (lambda: recipes.vit(768, std=math.nan), ValueError, "std must be a finite real number >= 0, got nan"),
        (lambda: recipes.vit(768, layer_scale="1"), TypeError, "value must be a number, got '1'"),  # type: ignore[arg-type]
        (lambda: recipes.resnet(True), TypeError, "fc_fan_in must be an int >= 1, got True of type bool"),
    ],
)
def test_what_a_shipped_recipe_refuses(make: Callable[[], Recipe], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_counts_may_be_of_numpy() -> None:
    twelve: Any = np.int64(12)
    assert recipes.gpt2(twelve, np.float64(0.02)) == recipes.gpt2(12)
    assert type(count("n", np.int8(3))) is int


def test_an_unknown_name_of_a_recipe() -> None:
    with pytest.raises(
        ValueError, match=r"recipe must be one of 'gpt2', 'llama', 'vit', 'resnet', or a recipe; got 'bert'"
    ):
        recipes.named("bert", {})
    with pytest.raises(TypeError, match="or a recipe; got 7 of type int"):
        recipes.named(7, {})  # type: ignore[arg-type]


def test_gpt2_needs_all_blocks() -> None:
    """The depth is in the values: a stage of a pipeline must not be taken for a smaller model."""
    stage = {name: shape for name, shape in gpt2(4).items() if ".h.0." not in name and ".h.1." not in name}
    with pytest.raises(ValueError, match=r"unknown: .*'transformer\.h\.3\..*missing: 'transformer.h.0.ln_1.weight', "):
        recipes.named("gpt2", {name: shape for name, shape in gpt2(4).items() if ".h.0." not in name})
    with pytest.raises(ValueError, match=r"unknown: 'transformer\.h\.2\..*missing: .* what fastinit\.recipes\.gpt2\("):
        recipes.named("gpt2", stage)


# --- names with brackets --------------------------------------------------------------------------------------------


def test_a_pattern_that_is_a_name_is_for_that_name_alone() -> None:
    names = ["w[0]", "w0", "w[*]", "w[1]"]
    ones, zeros = Initializer("ones"), Initializer("zeros")
    assert list(match({"w*": ones}, names, include="w[0]")) == ["w[0]"]
    assert list(match({"w*": ones}, names, exclude=["w[0]", "w[1]"])) == ["w0", "w[*]"]
    assert list(match({"w*": ones}, names, include="w[[]?]")) == ["w[0]", "w[*]", "w[1]"]  # no name: a pattern
    assert match({"w[*]": zeros, "w[0]": zeros, "*": ones}, iter(names)) == {
        "w[0]": ("w[0]", zeros),
        "w0": ("*", ones),
        "w[*]": ("w[*]", zeros),
        "w[1]": ("*", ones),
    }
    assert match({"w[0]": ones}, ["w0"]) == {"w0": ("w[0]", ones)}


# --- other values than initialisers ---------------------------------------------------------------------------------

SMALL = {"fc.weight": (4, 8), "fc.bias": (4,), "norm.weight": (4,), "scale": ()}


def arange(out: Any, *, offset: Any, **_: Any) -> None:
    """The index in the first axis."""
    out[...] = (offset[0] + np.arange(len(out))).reshape(-1, *(1,) * (out.ndim - 1))


def torch_default(name: str, shape: tuple[int, ...], siblings: Mapping[str, tuple[int, ...]]) -> Initializer:
    """U(-b, b) with b = 1 / sqrt(fan_in of the weight)."""
    bound = 1 / math.sqrt(math.prod(siblings["weight"][1:]))
    return Initializer("uniform", low=-bound, high=bound)


@given(
    st.dictionaries(
        st.lists(st.sampled_from(["a", "b", "0", "1", "12", "*", "w[0]"]), min_size=1, max_size=4).map(".".join),
        st.sampled_from([Initializer("zeros"), Initializer("ones"), skip]),
    )
)
def test_a_recipe_by_pattern_gives_each_name_its_value(recipe: dict[str, Any]) -> None:
    short = by_pattern(recipe)
    assert {name: value for name, (_, value) in match(short, list(recipe)).items()} == recipe
    assert len(short) <= len(recipe)


def test_patterns_take_the_place_of_what_numbers_alone_tell_apart() -> None:
    ones, zeros = Initializer("ones"), Initializer("zeros")
    names = {"wte": ones, "h.0.w": ones, "h.0.b": zeros, "h.1.w": ones, "h.1.b": zeros}
    assert list(by_pattern(names).items()) == [("wte", ones), ("h.*.w", ones), ("h.*.b", zeros)]
    assert by_pattern(list(names.items())) == by_pattern(names)
    # The last numbers tell values apart.
    assert by_pattern({"l.0.d.0": ones, "l.0.d.1": zeros, "l.1.d.0": ones, "l.1.d.1": zeros}) == {
        "l.*.d.0": ones,
        "l.*.d.1": zeros,
    }
    # A star takes dots, too: this one would be for other names.
    other = {"h.0.w": ones, "h.1.w": ones, "h.0.norm.w": zeros}
    assert by_pattern(other) == other
    # What is alone may have another value in another layer. Values by function are not alike.
    alone = {"h.0.w": ones, "norm": zeros}
    assert by_pattern(alone) == alone
    functions = {f"h.{i}.w": computed(lambda out, **_: None) for i in range(2)}
    assert by_pattern(functions) == functions
    assert by_pattern({}) == {}
    with pytest.raises(TypeError, match="recipe must be pairs"):
        by_pattern(3)  # type: ignore[arg-type]


def test_a_value_may_be_chosen_by_name_shape_and_siblings() -> None:
    asked = []

    def choose(name: str, shape: tuple[int, ...], siblings: Mapping[str, tuple[int, ...]]) -> Any:
        asked.append((name, shape, dict(siblings)))
        assert not hasattr(siblings, "pop")
        if name == "fc.bias":
            return torch_default(name, shape, siblings)
        return skip if name == "norm.weight" else computed(arange)

    recipe: Recipe = {"fc.weight": ONES, "*": choose}
    assert match(recipe, SMALL)["scale"] == ("*", choose)  # names have no shapes: nothing is asked
    assert asked == []
    found = assign(recipe, SMALL, None, "norm.*")
    assert found == {
        "fc.weight": ("fc.weight", ONES),
        "fc.bias": ("*", Initializer("uniform", low=-1 / math.sqrt(8), high=1 / math.sqrt(8))),
        "scale": ("*", computed(arange)),
    }
    assert asked == [
        ("fc.bias", (4,), {"weight": (4, 8), "bias": (4,)}),
        ("scale", (), {"scale": ()}),
    ]
    assert assign(recipe, SMALL, "norm.*", None) == {"norm.weight": ("*", skip)}


def test_what_a_function_chooses_is_checked() -> None:
    for value in (None, "zeros", Initializer, 3, torch_default):
        with pytest.raises(
            TypeError,
            match=r"^recipe: the function for the pattern '\*\.bias' must return an Initializer, skip or computed\("
            rf"function\), got .* of type {type(value).__name__} for the parameter 'fc\.bias'$",
        ):
            assign([("*.bias", lambda *_, v=value: v), (optional("*"), ONES)], SMALL, None, None)
    with pytest.raises(
        ValueError, match=r"'\*' raised KeyError: 'weight'; for the parameter 'scale' .*'scale': \(\)"
    ) as e:
        assign({"*": torch_default}, {"scale": ()}, None, None)
    assert isinstance(e.value.__cause__, KeyError)


class Three:
    """Something callable that is no function."""

    def __call__(self, name: str, shape: tuple[int, ...], siblings: Mapping[str, tuple[int, ...]]) -> Initializer:
        return ONES


def test_what_may_choose() -> None:
    for choose in (Three(), lambda *a: ONES, functools.partial(torch_default)):
        assert match({"*": choose}, ["a"]) == {"a": ("*", choose)}
    silent: Any = max  # says nothing of its arguments
    assert match({"*": silent}, ["a"]) == {"a": ("*", silent)}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda name: ONES, "got .* of type function for 'a': too many positional arguments"),
        (fastinit.normal, r"got <function normal .*: Initializer\('normal'\) stands for a function of fastinit"),
        (
            functools.partial(fastinit.uniform, low=-1.0),
            r"got .* for 'a': Initializer\('uniform'\) stands for a function of fastinit",
        ),
        (None, "got None of type NoneType for 'a'"),
        (0.0, "got 0.0 of type float for 'a'"),
    ],
)
def test_what_is_no_value(value: Any, words: str) -> None:
    with pytest.raises(
        TypeError, match=r"^recipe must be pairs of \(pattern, value\), .* an Initializer, skip, computed.*; " + words
    ):
        match({"a": value}, ["a"])


def test_an_optional_pattern_may_match_nothing() -> None:
    recipe: Recipe = {optional("*.bias"): ZEROS, "*": ONES}
    assert match(recipe, ["a.weight"]) == {"a.weight": ("*", ONES)}
    assert match(recipe, ["a.bias", "a.weight"])["a.bias"] == ("*.bias", ZEROS)
    assert match([(optional("w[0]"), ZEROS), ("*", ONES)], ["w[0]", "w0"])["w0"] == ("*", ONES)
    # It is misplaced all the same, and others may be misspelt.
    with pytest.raises(ValueError, match=r"earlier patterns win all the parameters of optional\('\*\.bias'\): put"):
        match([("*", ONES), (optional("*.bias"), ZEROS)], ["a.bias"])
    with pytest.raises(ValueError, match=r"no parameter matches the patterns '\*\.wieght'$"):
        match([(optional("*.bias"), ZEROS), ("*.wieght", ONES), ("*", ONES)], ["a.weight"])


def test_an_optional_pattern_is_a_str() -> None:
    one = optional("*.bias")
    assert one == "*.bias"
    assert hash(one) == hash("*.bias")
    assert repr(one) == "optional('*.bias')"
    assert optional(one) == one
    for copied in (*(pickle.loads(pickle.dumps(one, n)) for n in range(6)), copy.copy(one), copy.deepcopy(one)):
        assert copied == one
        assert repr(copied) == repr(one)
    with pytest.raises(TypeError, match=r"^pattern must be a str, got 3 of type int$"):
        optional(3)  # type: ignore[arg-type]


def test_skip_is_one() -> None:
    assert repr(skip) == "skip"
    for copied in (*(pickle.loads(pickle.dumps(skip, n)) for n in range(6)), copy.copy(skip), copy.deepcopy(skip)):
        assert copied is skip


# --- computed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(7, 5), (7,), (2, 3, 4)])
def test_computed_values_are_rounded_to_the_dtype(dtype: str, shape: tuple[int, ...]) -> None:
    def function(out: Any, **given: Any) -> None:
        assert type(out) is np.ndarray
        assert out.dtype == (np.float64 if dtype == "float64" else np.float32)
        assert given == {
            "seed": 3, "stream": "w", "global_shape": shape, "offset": (0,) * len(shape), "threads": 2,
            "bit_generator": "philox",
        }  # fmt: skip
        fastinit.normal(out, std=100.0, **given)

    element = DTYPES[dtype]
    strided = np.full((*shape, 2), 7, element)[..., 0]
    for out in (np.empty(shape, element), strided):
        found = computed(function).fill(out, seed=3, stream="w", threads=2, bit_generator="philox")
        assert found is out
        source = np.empty(shape, np.float64 if dtype == "float64" else np.float32)
        wanted = fastinit.normal(source, std=100.0, seed=3, stream="w", bit_generator="philox").astype(element)
        assert found.tobytes() == wanted.tobytes()


def test_ties_are_rounded_to_even() -> None:
    ties = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 0.0, -0.0, math.inf, 1e-45], np.float32)

    def function(out: Any, **_: Any) -> None:
        out[...] = ties

    out = np.empty(7, ml_dtypes.bfloat16)
    assert computed(function).fill(out, seed=0, stream=0).tobytes() == ties.astype(ml_dtypes.bfloat16).tobytes()


def test_a_box_of_a_computed_tensor() -> None:
    whole = computed(arange).fill(np.empty((7, 2)), seed=0, stream=0)
    box = computed(arange).fill(np.empty((3, 1)), seed=0, stream=0, global_shape=(7, 2), offset=[4, 1])
    assert np.array_equal(box, whole[4:, 1:])


def not_called(out: Any, **_: Any) -> None:
    raise AssertionError


def test_nothing_is_computed_of_no_elements_or_for_a_check() -> None:
    computed(not_called).fill(np.empty((0, 2)), seed=0, stream=0, global_shape=(7, 2), offset=(7, 0))
    for shape in ((), (3,), (2**40, 2**10)):
        computed(not_called).check(shape, np.float32, "keras")
    with pytest.raises(TypeError, match=r"out must have dtype float32, .*, got int16"):
        computed(not_called).check((3,), np.int16)
    assert computed(not_called).moments((3,)) == (None, None)


def half(out: Any, **_: Any) -> None:
    out[::2] = 1


def fails(out: Any, **_: Any) -> None:
    raise IndexError("there is none")


@pytest.mark.parametrize(
    ("function", "dtype", "words"),
    [
        (half, "float32", r"^computed\(half\) must fill out, in place, with numbers; it left 2 of 4 elements NaN$"),
        (
            lambda out, **_: 3 * out,
            "float32",
            r"^computed\(.*<lambda>\) must fill out, .* it left 4 of 4 elements NaN$",
        ),
        (lambda out, **_: out.fill(1e6), "float16", "must give values within the range of float16, got 1000000.0$"),
        (lambda out, **_: out.fill(3.4e38), "bfloat16", "must give values within the range of bfloat16, got 3.39.*e"),
        (lambda out, **_: out.fill(-math.inf), "float8_e4m3fn", "within the range of float8_e4m3fn, got -inf$"),
        (lambda out, **_: out.fill(61440), "float8_e5m2", "within the range of float8_e5m2, got 61440.0$"),
        (fails, "float32", r"^computed\(fails\) raised IndexError: there is none$"),
    ],
)
def test_what_a_function_computes_is_checked_before_it_is_written(function: Any, dtype: Any, words: str) -> None:
    out = np.full(4, 7, DTYPES[dtype])
    with pytest.raises(ValueError, match=words) as error:
        computed(function).fill(out, seed=0, stream=0)
    assert (out == 7).all()
    assert isinstance(error.value.__cause__, IndexError) == (function is fails)


def test_a_fill_of_a_computed_tensor_checks_its_other_arguments() -> None:
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"seed": -1}, "seed must be"),
        ({"offset": (0,)}, "global_shape and offset"),
        ({"global_shape": (3,), "offset": (1,)}, "offset"),
        ({"threads": 0}, "threads must be"),
    ]
    for wrong, words in wrongs:
        with pytest.raises((TypeError, ValueError), match=words):
            computed(not_called).fill(np.empty(3), **{"seed": 0, "stream": 0, **wrong})


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (3, r"^function must take \(out, \*, seed, .*, bit_generator\), got 3 of type int$"),
        (lambda out: None, r"got .*<lambda>: got an unexpected keyword argument 'seed'$"),
        (lambda out, seed, stream, global_shape, offset: None, "unexpected keyword argument 'threads'"),
    ],
)
def test_a_function_that_computes_takes_what_fastinits_take(function: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        computed(function)


def test_computed_is_a_value() -> None:
    one = computed(arange)
    assert one == computed(arange) != computed(half)
    assert one != arange
    assert len({one, computed(arange), computed(half)}) == 2
    assert one.function is arange
    for copied in (pickle.loads(pickle.dumps(one)), copy.copy(one), copy.deepcopy(one)):
        assert copied == one
    with pytest.raises(AttributeError, match="cannot be changed: make another one"):
        one.function = half  # type: ignore[misc]
    with pytest.raises(AttributeError, match="cannot be changed: make another one"):
        del one.function
    uniform = functools.partial(fastinit.uniform, low=-1.0)
    assert str(computed(uniform)) == "computed(partial(uniform, low=-1.0))"
    assert repr(computed(Filler())) == "computed(Filler)"
    computed(max)  # says nothing of its arguments


class Filler:
    """Something callable that is no function."""

    def __call__(self, out: Any, **_: Any) -> None:
        out.fill(1)


# --- no default layout ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "words"),
    [
        *((name, {}, (8, 4), rf"{name} needs fan_in= or layout=: layout='torch' reads .*; got nothing$")
          for name in ("he_normal", "he_uniform", "lecun_normal", "variance_scaling")),
        ("xavier_normal", {}, (8, 4), "xavier_normal needs fan_in= and fan_out= or layout=: "),
        ("he_normal", {"mode": "fan_out", "layout": None}, (4, 8, 3), "he_normal needs fan_out= or layout=: "),
        ("orthogonal", {}, (4, 8, 3), r"orthogonal needs layout= for 3 dimensions: layout='torch' reads the shape of "
         r"out as \(out, in, \*kernel\), layout='keras' as \(\*kernel, in, out\)$"),
        ("dirac", {"groups": 2}, (4, 8, 3, 4), "dirac needs layout=: "),
    ],
)  # fmt: skip
def test_how_a_shape_is_read_must_be_said(name: str, arguments: Any, shape: tuple[int, ...], words: str) -> None:
    one = Initializer(name, arguments)
    out = np.full(shape, 7.0)
    with pytest.raises(ValueError, match=f"^{words}"):
        one.fill(out, seed=0, stream=0)
    assert (out == 7).all()
    for ask in (lambda: one.check(shape, np.float32), lambda: one.moments(shape)):
        with pytest.raises(ValueError, match=rf"^Initializer\('{name}'.*\): {words}"):
            ask()
    assert not one.is_described
    for layout in ("torch", "keras"):
        assert one.fill(out, seed=0, stream=0, layout=layout) is out
        said = Initializer(name, {**arguments, "layout": layout})
        assert said.is_described
        assert said.moments(shape) == one.moments(shape, layout)
        assert np.array_equal(said.fill(np.empty(shape), seed=0, stream=0), out)


def test_both_layouts_of_an_orthogonal_matrix_are_one() -> None:
    one = Initializer("orthogonal")
    found = [one.fill(np.empty((4, 8)), seed=0, stream=0, layout=layout) for layout in (None, "torch", "keras")]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert one.moments((4, 8)) == one.moments((4, 8), "keras")
