"""Promise: recipes are data that is checked early, find their parameters, and say what to expect of them."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from mpmath import mp, mpf  # type: ignore[import-untyped, unused-ignore]

import fastinit
from fastinit import recipes
from fastinit.recipes import RECIPES, Initializer, Recipe, match

ROOT5 = math.sqrt(5)
# One of each law and each way to say the fans, with the shape of a tensor; all of them are drawn from.
LAWS: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("constant", {"value": -2.5}, (7, 9)),
    ("zeros", {}, (7,)),
    ("ones", {}, ()),
    ("uniform", {"low": -0.25, "high": 1.0}, (400, 500)),
    ("normal", {"mean": 0.3, "std": 0.02}, (400, 500)),
    ("truncated_normal", {"std": 0.02}, (400, 500)),
    ("truncated_normal", {"mean": 1.0, "std": 0.5, "low": 0.75, "high": 3.0}, (400, 500)),
    ("truncated_normal", {"bounds": "std", "low": -1.0, "high": 0.5, "std": 2.0, "mean": 7.0}, (400, 500)),
    ("truncated_normal", {"low": 8.0, "high": math.inf}, (400, 500)),
    ("truncated_normal", {"low": -math.inf, "high": -30.0, "std": 3.0}, (400, 500)),
    ("xavier_uniform", {}, (400, 500)),
    ("glorot_normal", {"gain": 3.0, "truncated": True}, (400, 50, 3, 3)),
    ("he_uniform", {"a": ROOT5}, (400, 50, 3, 3)),
    ("he_normal", {}, (400, 500)),
    ("kaiming_normal", {"mode": "fan_out", "nonlinearity": "tanh"}, (400, 500)),
    ("he_normal", {"gain": 0.5, "fan_in": 12.5}, (400, 500)),
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


# --- an initializer -------------------------------------------------------------------------------------------------


def test_there_is_a_law_for_every_function() -> None:
    functions = set(recipes._core._functions())
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
    values = initializer.fill(np.empty(shape), seed=11, stream=name)
    mean, std = initializer.moments(shape)
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
    assert Initializer("truncated_normal", {"std": 0.0, "mean": 5.0}).moments((3,)) == (2.0, 0.0)
    assert Initializer("truncated_normal", {"std": 0.0, "mean": 5.0, "bounds": "std"}).moments((3,)) == (5.0, 0.0)
    assert Initializer("uniform", {"low": 3, "high": 3}).moments((3,)) == (3.0, 0.0)


def test_moments_of_no_elements_are_those_of_the_law() -> None:
    assert Initializer("he_normal").moments((3, 0)) == (0.0, math.sqrt(2))
    for name, arguments, shape in LAWS:
        mean, std = Initializer(name, arguments).moments((0,) * len(shape))
        assert math.isfinite(mean)
        assert math.isfinite(std)


def test_an_initializer_is_a_value() -> None:
    one = Initializer("normal", {"std": 0.02})
    assert one == Initializer("normal", {"std": 0.02}) != Initializer("normal", {"std": 0.03})
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert eval(repr(one)) == one
    assert repr(Initializer("zeros")) == "Initializer('zeros')"
    assert str(Initializer("uniform", {"low": -1 / 3, "high": 1})) == "uniform(low=-0.333333, high=1)"
    arguments = {"std": 0.02}
    other = Initializer("normal", arguments)
    arguments["std"] = 7.0
    assert other == one


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
        ("normal", [("std", 1)], TypeError, "arguments must be a mapping of keyword arguments, got .* of type list"),
        ("normal", {"sd": 1}, ValueError, "arguments of normal in a recipe are mean, std; got 'sd'"),
        ("normal", {"seed": 1}, ValueError, "arguments of normal in a recipe are mean, std; got 'seed'"),
        ("zeros", {"value": 1}, ValueError, "arguments of zeros in a recipe are none; got 'value'"),
        ("constant", {}, ValueError, "constant needs value"),
        ("normal", {"std": -1}, ValueError, r"Initializer\('normal', {'std': -1}\): std must be .* got -1"),
        ("normal", {"std": "1"}, TypeError, "std must be .* got '1'"),
        ("he_normal", {"mode": "fan"}, ValueError, "mode must be one of .* got 'fan'"),
        ("he_normal", {"layout": "torch", "fan_in": 3}, ValueError, "exclude each other"),
        ("he_normal", {"in_axis": 0}, ValueError, "in_axis and out_axis must be given together"),
        ("xavier_normal", {"fan_in": 3}, ValueError, "fan_out is needed"),
    ],
)
def test_a_bad_initializer_is_refused_when_it_is_made(
    function: Any, arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Initializer(function, arguments)


def test_check_refuses_what_fill_would() -> None:
    large = Initializer("constant", {"value": 1e6})
    large.check((3, 5), np.float32)
    with pytest.raises(ValueError, match=r"Initializer\('constant', {'value': 1000000.0}\): .* float16"):
        large.check((3, 5), np.float16)
    with pytest.raises(ValueError, match="float16"):
        large.check((), np.float16)
    Initializer("normal").check((2**40, 2**20), ml_dtypes.bfloat16)  # nothing of that size is made
    with pytest.raises(ValueError, match="needs at least 2 dimensions"):
        Initializer("he_normal").check((3,), np.float32)


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
        ValueError, match="no pattern matches the parameters 'b'; no parameter matches the patterns 'x'"
    ):
        match([("a", ZEROS), ("x", ZEROS)], ["a", "b"])
    with pytest.raises(ValueError, match=r"^recipe: earlier patterns have all the parameters of 'a': put those first$"):
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
        ({"a": "zeros"}, "got 'a' of type str with 'zeros' of type str in it"),
    ],
)
def test_what_is_no_recipe_is_a_type_error(recipe: Any, came: str) -> None:
    with pytest.raises(TypeError, match=f"^recipe must be pairs of .*{came}$"):
        match(recipe, ["a"])


# --- the shipped ones -----------------------------------------------------------------------------------------------

GPT2 = {
    "transformer.wte.weight": (100, 32),
    "transformer.h.0.ln_1.weight": (32,),
    "transformer.h.0.ln_1.bias": (32,),
    "transformer.h.0.attn.c_attn.weight": (32, 96),
    "transformer.h.0.attn.c_proj.weight": (32, 32),
    "transformer.h.1.mlp.c_proj.weight": (128, 32),
}
LLAMA = {"model.embed_tokens.weight": (100, 32), "model.norm.weight": (32,)}
VIT = {
    "pos_embed": (1, 5, 32),
    "patch_embed.proj.weight": (32, 3, 4, 4),
    "patch_embed.proj.bias": (32,),
    "norm.weight": (32,),
    "norm.bias": (32,),
    "head.weight": (10, 32),
}
RESNET = {
    "conv1.weight": (8, 3, 7, 7),
    "bn1.weight": (8,),
    "bn1.bias": (8,),
    "layer1.0.bn3.weight": (8,),
    "layer1.0.downsample.1.weight": (8,),
    "fc.weight": (10, 64),
    "fc.bias": (10,),
}


def of(recipe: Recipe, shapes: dict[str, tuple[int, ...]], name: str) -> Initializer:
    return match(recipe, shapes)[name][1]


def test_the_names_say_what_a_shipped_recipe_needs() -> None:
    gpt2 = recipes.named("gpt2", GPT2)
    assert gpt2 == recipes.gpt2(2)
    assert of(gpt2, GPT2, "transformer.h.1.mlp.c_proj.weight") == Initializer("normal", {"std": 0.02 / math.sqrt(4)})
    inner = {name.removeprefix("transformer."): shape for name, shape in GPT2.items()}
    assert recipes.named("gpt2", inner) == gpt2

    assert recipes.named("llama", LLAMA) == recipes.llama()
    biased = {**LLAMA, "model.layers.0.self_attn.q_proj.bias": (32,)}
    assert of(recipes.named("llama", biased), biased, "model.layers.0.self_attn.q_proj.bias") == ZEROS

    vit = recipes.named("vit", VIT)
    assert vit == recipes.vit(48, class_token=False)
    assert of(vit, VIT, "patch_embed.proj.bias").moments((32,)) == pytest.approx((0.0, 1 / math.sqrt(3 * 48)))
    tokens = {**VIT, "cls_token": (1, 1, 32), "reg_token": (1, 4, 32)}
    assert recipes.named("vit", tokens) == recipes.vit(48, class_token=True, registers=True)
    scaled = {**VIT, "blocks.0.ls1.gamma": (32,)}
    layer_scale = recipes.vit(48, class_token=False, layer_scale=1e-5)
    assert of(layer_scale, scaled, "blocks.0.ls1.gamma") == Initializer("constant", {"value": 1e-5})

    resnet = recipes.named("resnet", RESNET)
    assert resnet == recipes.resnet(64)
    assert of(resnet, RESNET, "layer1.0.bn3.weight") == ONES
    zero = recipes.resnet(64, zero_init_last=True)
    assert of(zero, RESNET, "layer1.0.bn3.weight") == ZEROS
    assert of(zero, RESNET, "bn1.weight") == ONES
    basic = {**RESNET, "layer1.0.bn2.weight": (8,)}
    assert of(recipes.resnet(64, zero_init_last=True, bottleneck=False), basic, "layer1.0.bn2.weight") == ZEROS


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "llama"])
def test_a_shipped_recipe_for_another_model_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"recipe '{name}' needs parameters such as .*, got 'weight'"):
        recipes.named(name, {"weight": (2, 2)})
    with pytest.raises(ValueError, match="got none"):
        recipes.named(name, {})


def test_an_unknown_name_of_a_recipe() -> None:
    with pytest.raises(
        ValueError, match="recipe must be one of 'gpt2', 'llama', 'vit', 'resnet', or a recipe; got 'bert'"
    ):
        recipes.named("bert", {})
    with pytest.raises(TypeError, match="or a recipe; got 7 of type int"):
        recipes.named(7, {})  # type: ignore[arg-type]


def test_gpt2_needs_all_blocks() -> None:
    """The depth is in the values: a stage of a pipeline must not be taken for a smaller model."""
    with pytest.raises(ValueError, match=r"all of the model's blocks.*'h\.6', 'h\.7'.*gpt2\(number of blocks\)"):
        recipes.named("gpt2", {"h.6.attn.c_proj.weight": (4, 4), "h.7.attn.c_proj.weight": (4, 4)})
