"""Promise: in JAX, on any mesh, the same bits as in NumPy and PyTorch, each device's part alone; and JAX's own laws.

On eight devices, which XLA makes of the CPU if it is told so before JAX first asks for devices.
"""

from __future__ import annotations

import copy
import doctest
import functools
import inspect
import math
import os
import pathlib
import pickle
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped, unused-ignore]

import fastinit
from conftest import installed, made_by
from fastinit.recipes import Initializer, computed, optional, skip

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
jax: Any = pytest.importorskip("jax")
import fastinit.jax  # noqa: E402 (it imports jax)
from fastinit.jax import _arrays, _initializers, _tree  # noqa: E402

jnp, P, NamedSharding, AxisType = jax.numpy, jax.P, jax.sharding.NamedSharding, jax.sharding.AxisType
HE = Initializer("he_normal", truncated=True, layout="keras")
KEY: dict[str, Any] = {"seed": 0, "stream": 0}
LAYOUT: dict[str, Any] = {"layout": "keras"}
DTYPES = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16)
SHAPE = (8, 48, 40)
SPECS = {
    "rows": P("a"),
    "columns": P(None, None, "b"),
    "blocks": P("a", None, "b"),
    "swapped": P("b", "a"),
    "both axes on one": P(None, ("b", "a")),
    "replicated": P(),
    "replicated over a": P(None, "b"),
}


def same(array: Any, expected: NDArray[Any]) -> bool:
    array = np.asarray(array)
    return bool(
        array.dtype == expected.dtype and array.shape == expected.shape and array.tobytes() == expected.tobytes()
    )


def whole(shape: tuple[int, ...], seed: int, stream: int | str, dtype: Any = np.float32) -> NDArray[Any]:
    """The NumPy fill."""
    return fastinit.he_normal(np.empty(shape, dtype), truncated=True, layout="keras", seed=seed, stream=stream)


def mesh(rows: int = 4, columns: int = 2, kind: Any = AxisType.Auto) -> Any:
    return jax.make_mesh((rows, columns), ("a", "b"), axis_types=(kind, kind))


def sharding(*spec: Any) -> Any:
    return NamedSharding(mesh(), P(*spec))


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """float64 is float64."""
    assert jax.device_count() == 8
    with jax.enable_x64(True):
        yield


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[Any]]:
    """The arrays that fastinit.jax makes."""
    return made_by(_arrays, monkeypatch)


# --- names ----------------------------------------------------------------------------------------------------------


def test_dir_shows_what_is_public_and_no_more() -> None:
    assert dir(fastinit.jax) == sorted(fastinit.jax.__all__) == fastinit.jax.__all__
    for module in (_arrays, _initializers, _tree):
        assert set(module.__all__) <= set(vars(module))


def test_names_say_where_users_find_them() -> None:
    assert fastinit.jax.JaxInitializer.__module__ == "fastinit.jax"
    assert type(fastinit.jax.he_normal()) is fastinit.jax.JaxInitializer


# --- make_array -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("spec", SPECS.values(), ids=list(SPECS))
@pytest.mark.parametrize("rows", [8, 4, 1])
def test_each_device_has_its_part_of_the_numpy_fill(rows: int, spec: Any, dtype: Any) -> None:
    expected = whole(SHAPE, 7, "h.0.kernel", dtype)
    on = NamedSharding(mesh(rows, 8 // rows), spec)
    array = fastinit.jax.make_array(SHAPE, HE, seed=7, stream="h.0.kernel", sharding=on, dtype=dtype)
    assert array.sharding == on
    assert same(array, expected)
    assert len(array.addressable_shards) == 8
    for shard in array.addressable_shards:
        assert same(shard.data, expected[shard.index])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_the_torch_fill_of_the_same_seed_and_name(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    from fastinit.torch._tensor import write

    tensor = torch.empty(SHAPE, dtype=getattr(torch, dtype))
    write(tensor, functools.partial(fastinit.normal, std=0.02, seed=3, stream="wte"))
    small = Initializer("normal", std=0.02)
    array = fastinit.jax.make_array(SHAPE, small, seed=3, stream="wte", sharding=sharding("a", "b"), dtype=dtype)
    bits = torch.int16 if array.dtype.itemsize == 2 else tensor.dtype
    assert np.asarray(array).tobytes() == tensor.view(bits).numpy().tobytes()


def test_a_torch_module_of_the_same_names() -> None:
    torch = pytest.importorskip("torch")
    import fastinit.torch

    module = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.Sequential(torch.nn.Linear(8, 24)))
    recipe = {"*.weight": Initializer("normal", std=0.02), "*.bias": Initializer("uniform", low=0, high=1)}
    fastinit.torch.init_module(module, seed=3, recipe=recipe)
    parameters = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
    assert sorted(parameters) == ["0.bias", "0.weight", "1.0.bias", "1.0.weight"]
    abstract = jax.tree.map(lambda values: jax.ShapeDtypeStruct(values.shape, values.dtype), parameters)
    tree = fastinit.jax.init_tree(abstract, recipe, seed=3, shardings=sharding("a"))
    assert all(same(tree[name], values) for name, values in parameters.items())


def test_a_torch_module_says_how_its_shapes_are_read() -> None:
    """Also to an initialiser that reads them otherwise in JAX, unless its axes were given."""
    torch = pytest.importorskip("torch")
    import fastinit.torch

    lecun, nn = fastinit.jax.lecun_normal(), torch.nn
    for module, fan in ((nn.Linear(256, 16), 256), (nn.Conv2d(16, 64, 3), 144), (nn.ConvTranspose2d(16, 8, 3), 144)):
        fastinit.torch.init_module(module, {"weight": lecun, "bias": fastinit.jax.zeros}, seed=5)
        expected = np.empty(tuple(module.weight.shape), np.float32)
        fastinit.lecun_normal(expected, fan, truncated=True, seed=5, stream="weight")
        assert same(module.weight.detach().numpy(), expected)
    bare = nn.ParameterDict({"w": torch.empty(3, 64, 64)})
    with pytest.raises(ValueError, match=r"fastinit.jax.lecun_normal\(\): .* does not say how its shape is read"):
        fastinit.torch.init_module(bare, {"w": lecun}, seed=5)
    fastinit.torch.init_module(bare, {"w": fastinit.jax.lecun_normal(batch_axis=0)}, seed=5)
    expected = fastinit.lecun_normal(np.empty((3, 64, 64), np.float32), 64, truncated=True, seed=5, stream="w")
    assert same(bare["w"].detach().numpy(), expected)


@pytest.mark.parametrize(
    ("spec", "parts"), [(P("a", None, "b"), 8), (P(("a", "b")), 8), (P("a"), 4), (P(None, "b"), 2), (P(), 1)]
)
def test_only_parts_are_made_and_taken_over_without_a_copy(made: list[NDArray[Any]], spec: Any, parts: int) -> None:
    array = fastinit.jax.make_array(SHAPE, HE, seed=0, stream=0, sharding=NamedSharding(mesh(), spec), dtype=np.float32)
    assert [part.nbytes for part in made] == [math.prod(SHAPE) * 4 // parts] * (8 if parts > 1 else 1)
    here = {shard.data.unsafe_buffer_pointer() for shard in array.addressable_shards}
    assert here == {part.ctypes.data for part in made}


def test_one_part_for_all_devices_is_safe_to_donate() -> None:
    """JAX asks once for an array that each device has whole, and lets them share the memory."""
    array = fastinit.jax.make_array((1024, 64), HE, seed=1, stream=0, sharding=sharding())
    expected = np.asarray(array) + 1
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    assert all(same(shard.data, expected) for shard in add(array).addressable_shards)


def test_without_a_sharding() -> None:
    device = jax.devices()[3]
    with jax.default_device(device):
        array = fastinit.jax.make_array(SHAPE, HE, seed=7, stream="w", dtype=np.float32)
    assert same(array, whole(SHAPE, 7, "w"))
    assert array.devices() == {device}
    assert not array.committed
    on = jax.sharding.SingleDeviceSharding(device)
    assert fastinit.jax.make_array(SHAPE, HE, seed=7, stream="w", sharding=on).committed


@pytest.mark.parametrize("shape", [(), (0, 8), (8,), (16, 0)])
def test_few_elements(shape: tuple[int, ...]) -> None:
    on = NamedSharding(mesh(), P("a")) if shape else sharding()
    array = fastinit.jax.make_array(shape, fastinit.normal, seed=1, stream=0, sharding=on)
    assert same(array, fastinit.normal(np.empty(shape, array.dtype), seed=1))


def test_what_initialises() -> None:
    expected = whole((8, 8), 0, 0)
    function = functools.partial(fastinit.he_normal, truncated=True, layout="keras")
    for initializer in (HE, function, fastinit.jax.he_normal()):
        array = fastinit.jax.make_array((8, 8), initializer, **KEY, sharding=sharding("a"), dtype="float32")
        assert same(array, expected)
    words = fastinit.jax.make_array((8, 8), fastinit.random_bits, **KEY, sharding=sharding("a"), dtype="uint32")
    assert same(words, fastinit.random_bits(np.empty((8, 8), np.uint32), **KEY))


def test_default_dtype() -> None:
    half = fastinit.jax.normal(dtype="bfloat16")
    assert fastinit.jax.make_array((8,), half, **KEY).dtype == jnp.bfloat16
    assert fastinit.jax.make_array((8,), half, **KEY, dtype="float16").dtype == np.float16
    assert fastinit.jax.make_array((8,), fastinit.jax.normal(), **KEY).dtype == np.float64
    with pytest.raises(TypeError, match=r"dtype must be float32, float64, float16 or bfloat16, got .*int32"):
        fastinit.jax.make_array((8,), fastinit.jax.constant(1, "int32"), **KEY)
    assert fastinit.jax.make_array((8,), fastinit.normal, **KEY).dtype == np.float64
    with jax.enable_x64(False):
        assert fastinit.jax.make_array((8,), fastinit.normal, **KEY).dtype == np.float32


class Comb(jax.sharding.Sharding):  # type: ignore[misc]
    """Gives each device every eighth row."""

    def addressable_devices_indices_map(self, global_shape: Any) -> Any:
        return {device: (slice(i, None, 8), slice(None)) for i, device in enumerate(jax.devices())}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"shape": 8}, TypeError, "shape must be a sequence of ints, got 8 of type int"),
        ({"shape": {8: 1}}, TypeError, "shape must be a sequence of ints, got {8: 1} of type dict"),
        ({"shape": (8, -8)}, ValueError, r"shape must hold ints >= 0, got \(8, -8\)"),
        ({"shape": (7, 8)}, ValueError, "dimension size is 7"),  # JAX's words
        ({"sharding": P("a")}, TypeError, r"NamedSharding\(mesh, spec\) is one"),
        ({"sharding": "a"}, TypeError, "sharding must be a jax.sharding.Sharding that .*, got 'a' of type str$"),
        ({"sharding": Comb()}, ValueError, "gives each device a box of the array"),
        ({"initializer": "normal"}, TypeError, "initializer must be .*; got 'normal' of type str"),
        ({"initializer": Initializer("normal", std=1e39)}, ValueError, "std"),
        ({"initializer": fastinit.jax.he_normal(), "shape": (8,)}, ValueError,
         r"^fastinit.jax.he_normal\(\): a vector has no fans"),
        ({"seed": -1}, ValueError, "seed must be"),
        ({"seed": None}, TypeError, "seed must be an int, .* got None"),
        ({"stream": 1.5}, TypeError, "stream must be"),
        ({"stream": None}, TypeError, "stream must be an int, .* or a str .* got None"),
        ({"threads": 0}, ValueError, "threads must be"),
        ({"bit_generator": "mt"}, ValueError, "bit_generator must be"),
        ({"dtype": np.int32}, TypeError, "dtype must be float32, float64, float16 or bfloat16, got .*int32"),
        ({"dtype": np.uint32}, TypeError, "dtype must be float32, float64, float16 or bfloat16, got .*uint32"),
        ({"initializer": fastinit.random_bits, "dtype": np.int64}, TypeError, "dtype must be one of .*uint32"),
    ],
)  # fmt: skip
def test_refused(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"shape": (8, 8), "sharding": sharding("a"), "initializer": HE, "dtype": np.float32, **KEY, **changed}
    with pytest.raises(error, match=message):
        fastinit.jax.make_array(**arguments)


def test_seed_and_stream_are_always_said() -> None:
    """Arrays of one shape with one seed and no stream would be equal, and parts cannot take "the next stream"."""
    for left in ("seed", "stream"):
        with pytest.raises(TypeError, match=f"required keyword-only argument: '{left}'"):
            fastinit.jax.make_array((8, 8), HE, **{key: value for key, value in KEY.items() if key != left})


def test_threads_and_bit_generator_reach_the_fill() -> None:
    calls = []

    def fill(out: Any, **arguments: Any) -> Any:
        calls.append((arguments["threads"], arguments["bit_generator"]))
        return fastinit.normal(out, **arguments)

    array = fastinit.jax.make_array((8,), fill, **KEY, threads=3, bit_generator="philox", dtype="float32")
    assert calls == [(3, "philox")]
    assert same(array, fastinit.normal(np.empty(8, np.float32), **KEY, bit_generator="philox"))


def test_summands_are_refused() -> None:
    on = NamedSharding(mesh(kind=AxisType.Explicit), P(unreduced={"a"}))
    with pytest.raises(ValueError, match="gives each device a box of the array, or None, got NamedSharding"):
        fastinit.jax.make_array((8, 8), HE, **KEY, sharding=on)


def test_float64_without_x64_is_refused() -> None:
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"dtype float64 needs .*jax_enable_x64"):
        fastinit.jax.make_array((8, 8), HE, **KEY, dtype=np.float64)


# --- init_tree ------------------------------------------------------------------------------------------------------


def network() -> Any:
    def layer(n_in: int, n_out: int) -> Any:
        return {"kernel": jnp.zeros((n_in, n_out), jnp.bfloat16), "bias": jnp.zeros(n_out, jnp.float32)}

    return {"embed": jnp.zeros((48, 16), jnp.float32), "layers": [{"fc": layer(16, 32)}, {"fc": layer(32, 8)}]}


RECIPE = {"*.kernel": HE, "*.bias": Initializer("zeros"), "embed": Initializer("normal", std=0.02)}


def test_a_tree_by_names() -> None:
    abstract = jax.eval_shape(network)
    tree = fastinit.jax.init_tree(abstract, RECIPE, seed=5)
    assert jax.tree.structure(tree) == jax.tree.structure(abstract)
    assert same(tree["embed"], fastinit.normal(np.empty((48, 16), np.float32), std=0.02, seed=5, stream="embed"))
    kernels = [layer["fc"]["kernel"] for layer in tree["layers"]]
    assert same(kernels[0], whole((16, 32), 5, "layers.0.fc.kernel", jnp.bfloat16))
    assert same(kernels[1], whole((32, 8), 5, "layers.1.fc.kernel", jnp.bfloat16))
    assert same(tree["layers"][0]["fc"]["bias"], np.zeros(32, np.float32))


def test_another_leaf_changes_none() -> None:
    abstract = jax.eval_shape(network)
    more = {**abstract, "aaa": {"kernel": jax.ShapeDtypeStruct((4, 4), "float32")}}
    before = fastinit.jax.init_tree(abstract, RECIPE, seed=0)
    after = fastinit.jax.init_tree(more, RECIPE, seed=0)
    del after["aaa"]
    assert jax.tree.all(jax.tree.map(lambda x, y: same(x, np.asarray(y)), after, before))


@pytest.mark.parametrize("rows", [8, 4, 1])
def test_a_tree_on_a_mesh(made: list[NDArray[Any]], rows: int) -> None:
    abstract = jax.eval_shape(network)
    expected = fastinit.jax.init_tree(abstract, RECIPE, seed=5)
    on = mesh(rows, 8 // rows)

    def place(leaf: Any) -> Any:
        return NamedSharding(on, P("a") if leaf.ndim == 1 else P("a", "b"))

    shardings = jax.tree.map(place, abstract)
    made.clear()
    tree = fastinit.jax.init_tree(abstract, RECIPE, seed=5, shardings=shardings)
    largest = max(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)
    )
    assert max(part.nbytes for part in made) == largest
    assert jax.tree.all(jax.tree.map(lambda leaf, where: leaf.sharding == where, tree, shardings))
    assert jax.tree.all(jax.tree.map(lambda x, y: same(x, np.asarray(y)), tree, expected))


def test_one_sharding_for_all_some_or_their_own() -> None:
    abstract = jax.eval_shape(network)
    rows = sharding("a")
    for leaf in jax.tree.leaves(fastinit.jax.init_tree(abstract, RECIPE, seed=0, shardings=rows)):
        assert leaf.sharding == rows
    some = {"embed": rows, "layers": [{"fc": {"kernel": None, "bias": rows}}] * 2}
    tree = fastinit.jax.init_tree(abstract, RECIPE, seed=0, shardings=some)
    assert tree["embed"].sharding == rows
    assert not tree["layers"][1]["fc"]["kernel"].committed
    assert tree["layers"][1]["fc"]["bias"].sharding == rows
    placed = {"embed": jax.ShapeDtypeStruct((8, 8), "float32", sharding=rows)}
    own = fastinit.jax.init_tree(placed, {"*": HE}, seed=0)
    assert own["embed"].sharding == rows


EIGHT = jax.ShapeDtypeStruct((8, 8), "float32")


@pytest.mark.parametrize(
    ("tree", "shardings", "recipe", "error", "message"),
    [
        ({"a": EIGHT, "b": "text"}, None, {"*": HE}, TypeError,
         "leaf 'b': must have a shape and a dtype, got 'text' of type str; exclude= leaves a leaf as it is"),
        ({"a": jax.ShapeDtypeStruct((8,), "int32")}, None, {"*": HE}, TypeError,
         "leaf 'a': dtype must be float32, .*int32.*; exclude="),
        ({"a": jax.ShapeDtypeStruct((8,), "float32")}, None, {"*": fastinit.jax.he_normal()},
         ValueError, r"^leaf 'a': fastinit.jax.he_normal\(\): a vector has no fans"),
        ({"a": {"b": EIGHT}, "a.b": EIGHT}, None, {"*": HE}, ValueError, "tree must have one leaf .*'a.b'"),
        ({"a": EIGHT}, P("a"), {"*": HE}, TypeError, r"leaf 'a': sharding must be .*NamedSharding\(mesh, spec\)"),
        ({"a": EIGHT}, {"a": P("a")}, {"*": HE}, TypeError, r"leaf 'a': sharding must be .*NamedSharding\(mesh"),
        ({"a": EIGHT, "b": EIGHT}, {"a": None, "c": sharding("a")}, {"*": HE},
         ValueError, "it has none for 'b' and has one for 'c'"),
        ({"a": EIGHT, "b": EIGHT}, {"a": None}, {"*": HE}, ValueError, "it has none for 'b'$"),
        ({"a": EIGHT}, {"a": None, "c": sharding("a")}, {"*": HE},
         ValueError, "it has one for 'c', which tree does not have$"),
        ({"a": EIGHT}, [sharding("a")], {"*": HE}, ValueError, "it has none for 'a' and has one for '0'"),
        ({"a": EIGHT, "b": jax.ShapeDtypeStruct((7,), "float32")}, sharding("a"), {"*": fastinit.jax.normal()},
         ValueError, "leaf 'b': .*dimension size is 7"),
        ({"a": EIGHT}, None, {"*.kernel": HE}, ValueError, r"no pattern matches .*'a'.*'\*.kernel'"),
        ({"a": EIGHT}, None, {"a": HE, "b": HE}, ValueError, "no parameter matches the patterns 'b'"),
        ({"a": EIGHT}, None, {"a": "he_normal"}, TypeError, "recipe must be"),
    ],
)  # fmt: skip
def test_trees_refused(
    made: list[NDArray[Any]], tree: Any, shardings: Any, recipe: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fastinit.jax.init_tree(tree, recipe, seed=0, shardings=shardings)
    assert made == []


ALL_FANS = {
    "variance_scaling", *(f"{whose}_{law}" for whose in ("he", "kaiming", "xavier", "glorot", "lecun")
                          for law in ("normal", "uniform"))
}  # fmt: skip
FANS = ("lecun_normal", "lecun_uniform", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform")


def leaf(*shape: int) -> Any:
    return jax.ShapeDtypeStruct(shape, "float32")


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 3, 8, 8), (8, 2, 4), (3, 0, 8)])
def test_a_leaf_of_more_than_two_axes_is_not_guessed(made: list[NDArray[Any]], shape: tuple[int, ...]) -> None:
    """A scanned Dense, a convolution and a kernel with heads look alike, and have other fans."""
    inits = [getattr(fastinit.jax, name)() for name in FANS]
    inits += [fastinit.jax.variance_scaling(1.0, "fan_avg", "normal"), fastinit.jax.JaxInitializer("he_normal", a=1)]
    for init in inits:
        words = (
            f"^leaf 'w': {re.escape(repr(init))}: the shape {re.escape(str(shape))} does not show .* pass in_axis=, "
            "out_axis=, batch_axis=, such as batch_axis=0 for a stack"
        )
        with pytest.raises(ValueError, match=words):
            fastinit.jax.init_tree({"w": leaf(*shape)}, {"w": init}, seed=0)
    for init, how in ((fastinit.jax.orthogonal(), "column_axis=-1"), (fastinit.jax.JaxInitializer("dirac"), "layout=")):
        with pytest.raises(ValueError, match=f"one matrix or a stack of them: pass {how}"):
            fastinit.jax.init_tree({"w": leaf(*shape)}, {"w": init}, seed=0)
    assert made == []


def test_axes_that_are_said_are_read_as_said() -> None:
    """Also if they are those that JAX has by default."""
    for init, n in (
        (fastinit.jax.lecun_normal(batch_axis=0), 64),
        (fastinit.jax.lecun_normal(in_axis=-2, out_axis=-1), 192),
        (fastinit.jax.lecun_normal(out_axis=-1), 192),
        (fastinit.jax.lecun_normal(0, (1, 2)), 3),
        (fastinit.jax.JaxInitializer("lecun_normal", truncated=True, layout="torch"), 64 * 32),
        (fastinit.jax.JaxInitializer("lecun_normal", truncated=True, fan_in=7), 7),
    ):
        tree = fastinit.jax.init_tree({"w": leaf(3, 64, 32)}, {"w": init}, seed=0)
        expected = fastinit.lecun_normal(np.empty((3, 64, 32), np.float32), n, truncated=True, seed=0, stream="w")
        assert same(tree["w"], expected)
    conv = fastinit.jax.init_tree({"w": leaf(2, 8, 16)}, {"w": fastinit.jax.orthogonal(column_axis=-1)}, seed=0)
    matrix = np.asarray(conv["w"]).reshape(16, 16)
    assert np.abs(matrix.T @ matrix - np.eye(16)).max() < 1e-5

    assert fastinit.jax.init_tree({"w": leaf(3, 8, 8)}, {"w": fastinit.jax.normal()}, seed=0)["w"].shape == (3, 8, 8)


def test_a_stacked_bias_is_no_matrix() -> None:
    """A scan gives it two axes, and batch_axis=0 would leave it one of copies for inputs."""
    words = r"^leaf 'bias': .*: axis 0 of the shape \(3, 8\) is one of copies by batch_axis, and one of inputs"
    with pytest.raises(ValueError, match=words):
        fastinit.jax.init_tree({"bias": leaf(3, 8)}, {"*": fastinit.jax.lecun_normal(batch_axis=0)}, seed=0)


@pytest.mark.parametrize("shape", [(8, 8), (3, 8, 8)])
def test_a_plain_initializer_says_how_it_reads_shapes(made: list[NDArray[Any]], shape: tuple[int, ...]) -> None:
    words = r".*in_axis= and out_axis= \(and batch_axis=\)"
    for name in ("he_normal", "xavier_uniform", "lecun_normal", "variance_scaling"):
        silent = Initializer(name)
        with pytest.raises(ValueError, match=rf"^leaf 'w': Initializer\('{name}'\): {words}"):
            fastinit.jax.init_tree({"w": leaf(*shape)}, {"w": silent}, seed=0)
        assert made == []
        with pytest.raises(ValueError, match=rf"^Initializer\('{name}'\): {words}"):
            fastinit.jax.make_array(shape, silent, **KEY)
        made.clear()
    if len(shape) > 2:
        with pytest.raises(ValueError, match=r"^leaf 'w': Initializer\('orthogonal'\): .*needs layout="):
            fastinit.jax.init_tree({"w": leaf(*shape)}, {"w": Initializer("orthogonal")}, seed=0)
    said = Initializer("lecun_normal", in_axis=-2, out_axis=-1, batch_axis=0 if len(shape) > 2 else None)
    expected = fastinit.lecun_normal(np.empty(shape, np.float32), 8, seed=0, stream="w")
    assert same(fastinit.jax.init_tree({"w": leaf(*shape)}, {"w": said}, seed=0)["w"], expected)
    assert same(fastinit.jax.make_array(shape, said, seed=0, stream="w", dtype="float32"), expected)


def test_functions_that_are_no_initialisers_of_ours_are_refused(made: list[NDArray[Any]]) -> None:
    """JAX's own draw from a key, and so cannot fill parts. And he_normal is not he_normal()."""
    own: Any = jax.nn.initializers
    theirs: list[Any] = [
        own.zeros,
        own.normal(),
        own.he_normal(),
        own.constant(1.0),
        fastinit.jax.constant(np.arange(8.0)),
    ]
    words = (
        r"^recipe must have initialisers such as fastinit.jax.he_normal\(\) .* got the function (jax|fastinit.jax)\..*"
    )
    for init in [*theirs, fastinit.jax.he_normal, fastinit.jax.variance_scaling]:
        recipes: list[Any] = [{"*": init}, [("*", init)]]
        for recipe in recipes:
            with pytest.raises(TypeError, match=f"{words} for '\\*'$"):
                fastinit.jax.init_tree({"a": EIGHT}, recipe, seed=0)
        with pytest.raises(
            TypeError, match=r"^initializer must be .* an initialiser of fastinit.jax, .*; got <function"
        ):
            fastinit.jax.make_array((8, 8), init, **KEY)
    nothing: Any
    for nothing in (None, 7, [7], [()]):
        with pytest.raises(TypeError, match=r"^recipe must be pairs of \(pattern, value\)"):
            fastinit.jax.init_tree({"a": EIGHT}, nothing, seed=0)
    assert made == []


def test_what_a_recipe_may_say_besides() -> None:
    """Skip, a pattern for nothing, a function that computes, one that chooses; in any dtype, each part alone."""
    calls = []

    def table(out: Any, *, offset: Any, global_shape: Any, **_: Any) -> None:
        calls.append((out.shape, out.dtype.name, tuple(global_shape)))
        rows = offset[0] + np.arange(out.shape[0])
        out[...] = rows[:, None] / 3

    def bound(name: str, shape: Any, siblings: Any) -> Any:
        assert (name, shape) == ("fc.bias", (8,))
        return fastinit.jax.uniform(1 / siblings["kernel"][0])

    tree = {
        "fc": {"kernel": EIGHT, "bias": leaf(8)},
        "old": "anything",
        **{name: jax.ShapeDtypeStruct((16, 4), name) for name in ("float32", "float64", "float16", "bfloat16")},
    }
    recipe: dict[str, Any] = {
        "*.kernel": fastinit.jax.he_normal(),
        "*.bias": bound,
        "old": skip,
        "*float*": computed(table),
        optional("*.scale"): fastinit.jax.ones,
    }
    filled = fastinit.jax.init_tree(tree, recipe, seed=0, shardings=sharding("a"))
    assert filled["old"] is tree["old"]
    assert same(filled["fc"]["kernel"], whole((8, 8), 0, "fc.kernel"))
    assert same(filled["fc"]["bias"], fastinit.uniform(np.empty(8, np.float32), 0, 0.125, seed=0, stream="fc.bias"))
    expected = np.repeat(np.arange(16)[:, None] / 3, 4, 1)
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        wide = np.float64 if dtype == "float64" else np.float32
        assert same(filled[dtype], expected.astype(wide).astype(jnp.dtype(dtype)))
        array = fastinit.jax.make_array((16, 4), computed(table), **KEY, sharding=sharding("a"), dtype=dtype)
        assert same(array, np.asarray(filled[dtype]))
    assert {call for call in calls if call[1] == "float32"} == {((4, 4), "float32", (16, 4))}
    assert {call for call in calls if call[1] != "float32"} == {((4, 4), "float64", (16, 4))}
    with pytest.raises(TypeError, match=r"initializer must be .*; got skip of type Skip"):
        fastinit.jax.make_array((8,), skip, **KEY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"leaf 'a': .*lecun_normal\(\): the shape \(3, 8, 8\) does not show"):
        fastinit.jax.init_tree({"a": leaf(3, 8, 8)}, {"a": lambda *_: fastinit.jax.lecun_normal()}, seed=0)


class Layer:
    """As Equinox's modules: a node whose leaves are its attributes."""

    __module__ = "equinox.nn._linear"

    def __init__(self, weight: Any, bias: Any) -> None:
        self.weight, self.bias = weight, bias


jax.tree_util.register_dataclass(Layer, ["weight", "bias"], [])


def test_layers_of_equinox_are_read_as_they_are() -> None:
    """(out, in): what JAX's initialisers would read as (in, out)."""
    he, zeros = fastinit.jax.he_normal(), fastinit.jax.zeros
    layer = Layer(leaf(32, 8), leaf(32))
    words = r"Equinox's layers have \(out, in, \*kernel\): pass .* in_axis=1, out_axis=0; got shape \(32, 8\)$"
    for tree, name, prefix in (
        (layer, "weight", ""),
        (layer, "a.weight", "a."),
        ({"mlp": [layer, layer]}, "mlp.0.weight", ""),
        ({"a": layer, "kernel": leaf(8, 8)}, "a.weight", ""),
    ):
        with pytest.raises(ValueError, match=f"^leaf '{re.escape(name)}': {re.escape(repr(he))} reads .*{words}"):
            fastinit.jax.init_tree(tree, [("*bias", zeros), ("*", he)], seed=0, prefix=prefix)
    stack = Layer(leaf(3, 32, 8), leaf(3, 32))
    with pytest.raises(ValueError, match=r"^leaf 'weight': .* Equinox's layers .*; got shape \(3, 32, 8\)$"):
        fastinit.jax.init_tree(stack, {"weight": fastinit.jax.he_normal(batch_axis=0), "bias": zeros}, seed=0)
    said = fastinit.jax.init_tree(layer, {"weight": fastinit.jax.he_normal(1, 0), "bias": zeros}, seed=0)
    expected = fastinit.he_normal(np.empty((32, 8), np.float32), 8, truncated=True, seed=0, stream="weight")
    assert same(said.weight, expected)
    both = fastinit.jax.init_tree({"a": layer, "kernel": leaf(8, 8)}, {"*": he}, seed=0, include="kernel")
    assert both["a"].weight is layer.weight


def test_the_arguments_of_init_tree() -> None:
    """The order of all that fill many tensors; only target and recipe are positional, and there is no default seed."""
    parameters = inspect.signature(fastinit.jax.init_tree).parameters
    order = ["tree", "recipe", "seed", "prefix", "include", "exclude", "shardings", "threads", "bit_generator"]
    assert list(parameters) == order
    assert [name for name, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == ["tree", "recipe"]
    assert parameters["seed"].default is inspect.Parameter.empty
    tree: Any = {"a": EIGHT}
    for changed, error, message in (
        ({"seed": None}, TypeError, "seed must be an int, .* got None"),
        ({"seed": -1}, ValueError, "seed must be"),
        ({"prefix": "head"}, ValueError, "prefix must be empty or end with a dot"),
        ({"include": "b"}, ValueError, "include: no name matches the pattern 'b'; the names are 'a'"),
        ({"exclude": 7}, TypeError, "exclude must be a pattern"),
        ({"threads": 0}, ValueError, "threads must be"),
        ({"bit_generator": "mt"}, ValueError, "bit_generator must be"),
    ):
        arguments: dict[str, Any] = {"seed": 0, **changed}
        with pytest.raises(error, match=message):
            fastinit.jax.init_tree(tree, {"*": HE}, **arguments)


@pytest.mark.parametrize("changed", [{"seed": -1}, {"seed": 0, "threads": 0}, {"seed": 0, "bit_generator": "mt"}])
def test_the_arguments_are_checked_where_nothing_is_to_be_filled(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{list(changed)[-1]} must be"):
        fastinit.jax.init_tree({}, {}, **changed)


def test_a_tree_by_another_bit_generator() -> None:
    tree = fastinit.jax.init_tree({"a": EIGHT}, {"*": HE}, seed=3, bit_generator="philox", threads=1)
    expected = np.empty((8, 8), np.float32)
    key: dict[str, Any] = {"seed": 3, "stream": "a", "bit_generator": "philox"}
    assert same(tree["a"], fastinit.he_normal(expected, truncated=True, layout="keras", **key))


def test_what_is_not_selected_comes_back_as_it_is() -> None:
    tree = {
        "body": {"kernel": jnp.ones((8, 8), jnp.float32), "bias": np.ones(8, np.float32)},
        "head": {"kernel": EIGHT, "bias": jax.ShapeDtypeStruct((8,), "float32")},
        "key": jax.random.key(1),
        "step": jnp.zeros((), jnp.int32),
        "name": "a model",
        "count": 7,
    }
    recipe = {"*.kernel": HE, "*.bias": Initializer("zeros")}
    some = fastinit.jax.init_tree(tree, recipe, seed=5, include="head.*", exclude=["*.bias"])
    assert jax.tree.structure(some) == jax.tree.structure(tree)
    assert same(some["head"]["kernel"], whole((8, 8), 5, "head.kernel"))
    assert some["body"]["kernel"] is tree["body"]["kernel"]
    assert some["body"]["bias"] is tree["body"]["bias"]
    assert some["head"]["bias"] is tree["head"]["bias"]
    for name in ("key", "step", "name", "count"):
        assert some[name] is tree[name]
    all_but = fastinit.jax.init_tree(tree, recipe, seed=5, exclude=["key", "step", "name", "count"])
    assert same(all_but["head"]["kernel"], whole((8, 8), 5, "head.kernel"))
    for name, kind in (("key", "key<fry>"), ("step", "int32"), ("name", "a model"), ("count", "7")):
        with pytest.raises(TypeError, match=f"^leaf '{name}': .*{kind}.*; exclude= leaves a leaf as it is$"):
            fastinit.jax.init_tree(tree, {"*": Initializer("zeros")}, seed=5, include=name)


def test_shardings_of_what_is_not_selected_count_for_nothing() -> None:
    rows = sharding("a")
    odd = jax.ShapeDtypeStruct((7,), "int32")
    tree = {"a": EIGHT, "b": odd}
    for shardings in (rows, {"a": rows, "b": rows}, {"a": rows, "b": None}):
        made = fastinit.jax.init_tree(tree, {"*": HE}, seed=0, include="a", shardings=shardings)
        assert made["a"].sharding == rows
        assert made["b"] is odd
    with pytest.raises(ValueError, match=r"it has none for 'b'$"):  # a tree of another model all the same
        fastinit.jax.init_tree(tree, {"*": HE}, seed=0, include="a", shardings={"a": rows})


def test_a_part_with_its_prefix_gets_the_values_of_the_whole() -> None:
    abstract = jax.eval_shape(network)
    tree = fastinit.jax.init_tree(abstract, RECIPE, seed=5)
    layer = fastinit.jax.init_tree(
        abstract["layers"][1],
        {"layers.*.kernel": HE, "*.bias": Initializer("zeros")},
        seed=5,
        prefix="layers.1.",
        include="layers.1.*.kernel",
        shardings={"fc": {"kernel": sharding("a"), "bias": None}},
    )
    assert same(layer["fc"]["kernel"], np.asarray(tree["layers"][1]["fc"]["kernel"]))
    assert layer["fc"]["bias"] is abstract["layers"][1]["fc"]["bias"]
    embed = fastinit.jax.init_tree(abstract["embed"], {"embed": RECIPE["embed"]}, seed=5, prefix="embed.")
    assert same(embed, np.asarray(tree["embed"]))


def test_shipped_recipes_are_for_the_names_of_torch() -> None:
    def leaf(*shape: int) -> Any:
        return jax.ShapeDtypeStruct(shape, "float32")

    def norm(n: int) -> Any:
        return {"weight": leaf(n), "bias": leaf(n)}

    def block(n: int) -> Any:
        conv = {"weight": leaf(n, 8, 3, 3)}
        return {"conv1": conv, "bn1": norm(n), "conv2": conv, "bn2": norm(n), "downsample": [conv, norm(n)]}

    torch_like = {
        "conv1": {"weight": leaf(8, 3, 7, 7)},
        "bn1": norm(8),
        **{f"layer{i}": [block(8)] for i in range(1, 5)},
        "fc": {"weight": leaf(10, 64), "bias": leaf(10)},
    }
    tree = fastinit.jax.init_tree(torch_like, "resnet", seed=2, exclude="layer1.0.downsample.0.*")
    key: dict[str, Any] = {"seed": 2, "stream": "conv1.weight"}
    conv = fastinit.he_normal(np.empty((8, 3, 7, 7), np.float32), mode="fan_out", layout="torch", **key)
    assert same(tree["conv1"]["weight"], conv)
    assert tree["layer1"][0]["downsample"][0]["weight"] is torch_like["layer1"][0]["downsample"][0]["weight"]

    flax_like = {
        "transformer": {
            "wte": {"embedding": leaf(8, 8)},
            "h": [{"ln_1": {"scale": leaf(8), "bias": leaf(8)}, "attn": {"c_attn": {"kernel": leaf(8, 8)}}}],
        },
        "patch_embed": {"proj": {"kernel": leaf(4, 4, 3, 8)}},
        "norm": {"scale": leaf(8)},
        "fc": {"kernel": leaf(8, 8), "bias": leaf(8)},
    }
    for name in fastinit.recipes.RECIPES:
        message = (
            f"recipe '{name}' is for .*, as PyTorch names their parameters; .* unknown: 'fc.bias', 'fc.kernel', .*"
            "a recipe of your own"
        )
        with pytest.raises(ValueError, match=message):
            fastinit.jax.init_tree(flax_like, name, seed=0)
    with pytest.raises(ValueError, match=r"recipe must be one of 'gpt2', .*, or a recipe; got 'bert'"):
        fastinit.jax.init_tree(flax_like, "bert", seed=0)


# --- JAX's protocol -------------------------------------------------------------------------------------------------


KEYS: dict[str, tuple[Callable[[], Any], int, int]] = {
    "typed": (lambda: jax.random.key(5), 5, 0),
    "typed, large": (lambda: jax.random.key(2**40 + 9), 2**40 + 9, 0),
    "old": (lambda: jax.random.PRNGKey(5), 5, 0),
    "words": (lambda: np.array([3, 5], np.uint32), 3 * 2**32 + 5, 0),
    "128 bits": (
        lambda: jax.random.wrap_key_data(np.array([1, 2, 3, 4], np.uint32), impl="rbg"),
        2**32 + 2,
        3 * 2**32 + 4,
    ),
}


@pytest.mark.parametrize(("key", "seed", "stream"), KEYS.values(), ids=list(KEYS))
def test_a_key_is_a_seed_and_a_stream(key: Callable[[], Any], seed: int, stream: int) -> None:
    init = fastinit.jax.he_normal()
    expected = whole((8, 8), seed, stream)
    assert same(init(key(), (8, 8), jnp.float32), expected)
    assert same(jax.jit(lambda key: init(key, (8, 8), jnp.float32))(key()), expected)


def test_keys_refused() -> None:
    init = fastinit.jax.he_normal()
    with pytest.raises(ValueError, match=r"key must be a single key .*\(3, 2\)"):
        init(jax.random.split(jax.random.key(0), 3), (8, 8))
    with pytest.raises(TypeError, match="PRNG key"):  # JAX's words
        init(3, (8, 8))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_transformed_it_has_the_same_bits(made: list[NDArray[Any]], dtype: Any) -> None:
    init = fastinit.jax.he_normal()
    keys = jax.random.split(jax.random.key(2), 3)
    expected = np.stack([init(key, (16, 8), dtype) for key in keys])
    assert expected.dtype == dtype
    assert len({part.tobytes() for part in expected}) == 3

    def draw(key: Any) -> Any:
        return init(key, (16, 8), dtype)

    assert same(jax.vmap(draw)(keys), expected)
    assert same(jax.jit(jax.vmap(draw))(keys), expected)
    assert same(jax.lax.map(draw, keys), expected)
    made.clear()
    assert jax.eval_shape(draw, keys[0]) == jax.ShapeDtypeStruct((16, 8), dtype)
    assert made == []


def test_traced_errors_come_when_it_is_traced() -> None:
    init = fastinit.jax.he_normal()
    with pytest.raises(ValueError, match=r"fastinit.jax.he_normal\(\): a vector has no fans"):
        jax.eval_shape(lambda key: init(key, (8,)), jax.random.key(0))
    with pytest.raises(ValueError, match=r"shape must hold ints >= 0, got \(8, -8\)"):
        jax.eval_shape(lambda key: init(key, (8, -8)), jax.random.key(0))


def test_dtypes() -> None:
    key = jax.random.key(0)
    assert fastinit.jax.normal()(key, (8,)).dtype == np.float64
    assert fastinit.jax.normal(dtype=jnp.float16)(key, (8,)).dtype == np.float16
    assert fastinit.jax.normal(dtype=jnp.float16)(key, (8,), jnp.bfloat16).dtype == jnp.bfloat16
    words = r"dtype must be float32, float64, float16 or bfloat16, got .* of type [\w\[\]]+"
    other = r", which JAX's own initialisers \(jax.nn.initializers\) may take"
    theirs: list[Any] = [jnp.complex64, complex, jnp.float8_e4m3fn, "complex128"]
    nobody_s: list[Any] = [np.longdouble, int, np.uint32, bool, "nonsense", object]
    for dtype in theirs + nobody_s:
        message = f"{words}{other if dtype in theirs else ''}$"
        with pytest.raises(TypeError, match=message):
            fastinit.jax.normal()(key, (8,), dtype)
        with pytest.raises(TypeError, match=message):
            fastinit.jax.normal(dtype=dtype)
        with pytest.raises(TypeError, match=message):
            fastinit.jax.make_array((8,), fastinit.jax.normal(), **KEY, dtype=dtype)
    with pytest.raises(TypeError, match=f"^leaf 'a': {words}{other}; exclude="):
        fastinit.jax.init_tree({"a": jax.ShapeDtypeStruct((8,), "float8_e5m2")}, {"*": fastinit.jax.normal()}, seed=0)
    with jax.enable_x64(False):
        assert fastinit.jax.normal()(key, (8,)).dtype == np.float32


@pytest.mark.parametrize("x64", [False, True])
def test_python_s_float_is_the_default_of_jax(x64: bool) -> None:
    """And NumPy's float64 is 64 bits or an error."""
    key = jax.random.key(0)
    with jax.enable_x64(x64):
        default = np.float64 if x64 else np.float32
        half = fastinit.jax.normal(dtype="bfloat16")
        assert jax.nn.initializers.normal(dtype=float)(key, (8,)).dtype == default
        assert fastinit.jax.normal(dtype=float)(key, (8,)).dtype == default
        assert half(key, (8,), float).dtype == default
        assert jax.jit(lambda key: half(key, (8,), float))(key).dtype == default
        assert fastinit.jax.make_array((8,), half, **KEY, dtype=float).dtype == default
        assert fastinit.jax.make_array((8,), fastinit.jax.normal(dtype=float), **KEY).dtype == default
        assert fastinit.jax.make_array((8,), fastinit.normal, **KEY, dtype=float).dtype == default
        for dtype in (np.float64, "float64", np.dtype(float)):
            if not x64:
                with pytest.raises(ValueError, match=r"dtype float64 needs .*jax_enable_x64"):
                    half(key, (8,), dtype)
        for kind, wide in ((int, "int"), (complex, "complex"), (float, "float")):
            # Without the warning that JAX gives for a dtype of NumPy that it cuts: warnings are errors here.
            made = fastinit.jax.constant(1, kind)(None, (2,))
            assert made.dtype == jax.nn.initializers.constant(1, kind)(None, (2,)).dtype
            assert made.dtype.name.startswith(wide)
            assert fastinit.jax.JaxInitializer("ones", dtype=kind)(None, (2,)).dtype == made.dtype
            assert fastinit.jax.constant(1, kind) != fastinit.jax.constant(1, np.dtype(kind))
            assert pickle.loads(pickle.dumps(fastinit.jax.constant(1, kind))) == fastinit.jax.constant(1, kind)
    assert fastinit.jax.normal(dtype=float) != fastinit.jax.normal()
    assert fastinit.jax.normal(dtype=float) != fastinit.jax.normal(dtype="float64")


def test_out_sharding(made: list[NDArray[Any]]) -> None:
    init, key = fastinit.jax.he_normal(), jax.random.key(5)
    expected = whole((8, 8), 5, 0)
    on = NamedSharding(mesh(kind=AxisType.Explicit), P("a", "b"))
    with jax.set_mesh(on.mesh):
        arrays = [init(key, (8, 8), jnp.float32, out_sharding=out) for out in (on, on.spec)]
        assert max(part.size for part in made) == 8
        arrays.append(jax.jit(lambda key: init(key, (8, 8), jnp.float32, out_sharding=on.spec))(key))
    for array in arrays:
        assert array.sharding == on
        assert same(array, expected)


def test_out_shardings_refused() -> None:
    init, key = fastinit.jax.he_normal(), jax.random.key(5)
    with pytest.raises(TypeError, match=r"^out_sharding must be a jax.sharding.Sharding that .*, got 'a' of type str$"):
        init(key, (8, 8), out_sharding="a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dimension size is 7"):  # JAX's words
        init(key, (7, 8), out_sharding=sharding("a"))
    words = r"^out_sharding must be a NamedSharding where no mesh is set, .*jax.set_mesh.*; got (P|PartitionSpec)\("
    for call in (init, jax.jit(init, static_argnums=(1, 2, 3))):
        with pytest.raises(ValueError, match=words):
            call(key, (8, 8), None, P(None))


def test_more_than_there_can_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^shape must stay below .* got \[1099511627776, 2097152\] of float32"):
        fastinit.jax.he_normal()(jax.random.key(5), (2**40, 2**21), jnp.float32)


@pytest.mark.parametrize("shape", [(), (5,)])
@pytest.mark.parametrize("jit", [False, True])
def test_what_has_no_fans_is_refused_in_words_of_the_caller(shape: tuple[int, ...], jit: bool) -> None:
    """No axis, layout or fan is named: the caller gave none, and cannot give all of them."""
    scaled = [getattr(fastinit.jax, name) for name in FACTORIES if re.match("(glorot|xavier|lecun|he|kaiming)_", name)]
    assert len(scaled) == 10
    what = "vector" if shape else "scalar"
    for init in (*(make() for make in scaled), fastinit.jax.variance_scaling(1.0, "fan_avg", "normal")):
        call = jax.jit(init, static_argnums=1) if jit else init
        with pytest.raises(ValueError, match="has no fans") as caught:
            call(jax.random.key(0), shape)
        assert str(caught.value).splitlines()[0] == (
            f"{init!r}: a {what} has no fans, which take an axis of inputs and one of outputs; got shape {shape}: "
            "use an initialiser without fans, such as zeros or normal"
        )
        with pytest.raises(ValueError, match=f"^leaf 'bias': fastinit.jax.* a {what} has no fans") as caught:
            fastinit.jax.init_tree({"bias": jax.ShapeDtypeStruct(shape, "float32")}, {"*": init}, seed=0)
        assert not re.search("axis[= ]-?[0-9]|in_axis|out_axis|layout|fan_in|fan_out=", str(caught.value))


@pytest.mark.parametrize("shape", [(), (5,)])
def test_no_error_names_an_argument_that_nobody_gave(shape: tuple[int, ...]) -> None:
    """Of any initialiser, on shapes that have no matrix: it fills, or says so without words of other functions."""
    needed: dict[str, tuple[Any, ...]] = {"variance_scaling": (1.0, "fan_in", "normal"), "constant": (0.5,)}
    inits = [getattr(fastinit.jax, name) for name in ("zeros", "ones")]
    inits += [getattr(fastinit.jax, name)(*needed.get(name, ())) for name in FACTORIES if name not in ("zeros", "ones")]
    for name in {*fastinit.initializers.__all__, *fastinit.structured.__all__} - {"integers", "random_bits"}:
        more = {"constant": {"value": 1.0}, "sparse": {"sparsity": 0.5}}.get(name, {})
        inits.append(fastinit.jax.JaxInitializer(name, **more))
    assert len(inits) > 36
    refused = set()
    for init in inits:
        try:
            assert init(jax.random.key(0), shape, jnp.float32).shape == shape
        except ValueError as error:
            words = str(error).removeprefix(f"{init!r}: ")
            assert str(shape) in words
            arguments = "in_axis|out_axis|batch_axis|layout|fan_in|fan_out|mode|gain|std|mean|low|high|out|global_shape"
            assert not re.search(rf"\b({arguments})\b", words), words
            refused.add(init.function)
    assert refused == ALL_FANS | {"orthogonal", "identity", "dirac", "sparse"}


def test_it_is_a_value() -> None:
    """Flax hashes and compares modules with what they hold; a recipe may be sent to other processes."""
    init = fastinit.jax.variance_scaling(1.0, "fan_in", "normal", in_axis=[0, 1], out_axis=2)
    again = fastinit.jax.variance_scaling(1.0, "fan_in", "normal", in_axis=(0, 1), out_axis=2)
    assert init == again
    assert hash(init) == hash(again)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        values: list[Any] = [
            init,
            fastinit.jax.normal(0.5, "bfloat16"),
            fastinit.jax.JaxInitializer("dirac", groups=2),
            fastinit.jax.zeros,
            fastinit.jax.constant(7, "uint8"),
        ]
        for one in values:
            other = pickle.loads(pickle.dumps(one, protocol))
            assert other == one
            assert (type(other), other.dtype, hash(other)) == (type(one), one.dtype, hash(one))
            assert repr(other) == repr(one)
            assert copy.copy(one) == copy.deepcopy(one) == one
    assert init != fastinit.jax.variance_scaling(1.0, "fan_in", "normal", in_axis=(0, 1), out_axis=2, dtype="float16")
    assert init != fastinit.jax.variance_scaling(1.0, "fan_in", "normal", in_axis=1, out_axis=2)


def test_it_cannot_be_changed() -> None:
    init = fastinit.jax.he_normal()
    for name in ("dtype", "_dtype", "function", "other"):
        with pytest.raises(AttributeError, match="JaxInitializer cannot be changed"):
            setattr(init, name, None)
    with pytest.raises(AttributeError, match="JaxInitializer cannot be changed"):
        del init._dtype
    init.__init__("zeros")  # type: ignore[misc]
    assert init == fastinit.jax.he_normal()


def test_a_dtype_is_one_however_it_is_said() -> None:
    said: list[Any] = ["bfloat16", jnp.bfloat16, ml_dtypes.bfloat16, np.dtype(ml_dtypes.bfloat16)]
    assert len({fastinit.jax.normal(dtype=dtype) for dtype in said}) == 1
    assert fastinit.jax.normal(dtype="bfloat16").dtype == np.dtype(ml_dtypes.bfloat16)
    assert len({fastinit.jax.normal(), fastinit.jax.normal(dtype="float32"), fastinit.jax.normal(dtype="float64")}) == 3
    with jax.enable_x64(False):
        double = fastinit.jax.normal(dtype="float64")  # a value: what JAX is told later does not matter
        with pytest.raises(ValueError, match=r"needs .*jax_enable_x64"):
            double(jax.random.key(0), (8,))


REPRS: dict[str, Callable[[], Any]] = {
    "fastinit.jax.he_normal()": lambda: fastinit.jax.he_normal(),
    "fastinit.jax.glorot_uniform()": lambda: fastinit.jax.xavier_uniform(),
    "fastinit.jax.glorot_uniform(in_axis=-2, out_axis=-1)": lambda: fastinit.jax.xavier_uniform(-2, -1),
    "fastinit.jax.he_normal(batch_axis=())": lambda: fastinit.jax.he_normal(batch_axis=[]),
    "fastinit.jax.orthogonal(scale=1.0, column_axis=-1)": lambda: fastinit.jax.orthogonal(column_axis=-1),
    "fastinit.jax.normal(stddev=0.01, dtype=float)": lambda: fastinit.jax.normal(dtype=float),
    "fastinit.jax.constant(value=3, dtype=int)": lambda: fastinit.jax.constant(3, int),
    "fastinit.jax.lecun_normal(in_axis=(0, 1), dtype='float16')": lambda: fastinit.jax.lecun_normal(
        [np.int64(0), 1], dtype=np.float16
    ),
    "fastinit.jax.variance_scaling(scale=1.0, mode='fan_in', distribution='uniform')": lambda: (
        fastinit.jax.variance_scaling(1, "fan_in", "uniform")
    ),
    "fastinit.jax.lecun_uniform()": lambda: fastinit.jax.lecun_uniform(),
    "fastinit.jax.zeros": lambda: fastinit.jax.zeros,
    "fastinit.jax.ones": lambda: fastinit.jax.ones,
    "fastinit.jax.constant(value=-0.0)": lambda: fastinit.jax.constant(-0.0),
    "fastinit.jax.constant(value=1, dtype='bool')": lambda: fastinit.jax.constant(True, bool),
    "fastinit.jax.constant(value=0.5, dtype='int4')": lambda: fastinit.jax.constant(jnp.float32(0.5), jnp.int4),
    "JaxInitializer('zeros', dtype='int32')": lambda: fastinit.jax.JaxInitializer("zeros", dtype="int32"),
    "fastinit.jax.variance_scaling(scale=0.5, mode='fan_geo_avg', distribution='normal', batch_axis=0)": lambda: (
        fastinit.jax.variance_scaling(jnp.float32(0.5), "fan_geo_avg", "normal", batch_axis=0)
    ),
    "fastinit.jax.normal(stddev=0.02)": lambda: fastinit.jax.normal(0.02),
    "fastinit.jax.normal(stddev=0.5, dtype='bfloat16')": lambda: fastinit.jax.normal(jnp.bfloat16(0.5), jnp.bfloat16),
    "fastinit.jax.uniform(scale=0.01)": lambda: fastinit.jax.uniform(),
    "fastinit.jax.uniform(scale=-3.0)": lambda: fastinit.jax.uniform(-3),
    "fastinit.jax.uniform(scale=0.0)": lambda: fastinit.jax.uniform(-0.0),
    "fastinit.jax.truncated_normal(stddev=0.01)": lambda: fastinit.jax.truncated_normal(),
    "fastinit.jax.truncated_normal(stddev=1.0, lower=float('-inf'), upper=0.5)": lambda: fastinit.jax.truncated_normal(
        1, lower=-math.inf, upper=np.float32(0.5)
    ),
    "fastinit.jax.orthogonal(scale=1.0)": lambda: fastinit.jax.orthogonal(),
    "fastinit.jax.orthogonal(scale=2.0, column_axis=0)": lambda: fastinit.jax.orthogonal(2, 0),
    "JaxInitializer('uniform', low=1, high=2)": lambda: fastinit.jax.JaxInitializer("uniform", low=1, high=2),
    "JaxInitializer('he_normal', dtype='float16')": lambda: fastinit.jax.JaxInitializer("he_normal", dtype="float16"),
}


@pytest.mark.parametrize(("text", "make"), REPRS.items(), ids=list(REPRS))
def test_its_repr_is_the_call_that_makes_it(text: str, make: Callable[[], Any]) -> None:
    init = make()
    assert repr(init) == text
    assert eval(text, {"fastinit": fastinit, "JaxInitializer": fastinit.jax.JaxInitializer}) == init


def test_equal_ones_are_those_that_fill_the_same_bits() -> None:
    assert fastinit.jax.kaiming_normal() == fastinit.jax.variance_scaling(2.0, "fan_in", "truncated_normal")
    assert fastinit.jax.he_normal() != fastinit.jax.he_normal(dtype="float32")
    plain = Initializer("normal", std=0.02)
    assert plain != fastinit.jax.normal(0.02) != plain  # only one of them is a function of keys
    assert fastinit.jax.JaxInitializer("constant", value=0.0) != fastinit.jax.JaxInitializer("constant", value=-0.0)


def test_axes_that_are_said_make_another_value() -> None:
    """A call fills the same bits; but a tree of parameters refuses the one and takes the other."""
    unsaid = fastinit.jax.he_normal()
    he = fastinit.jax.he_normal
    for said in (he(-2, -1), he(out_axis=-1), he(batch_axis=())):
        assert said != unsaid
        assert said == fastinit.jax.he_normal(-2, -1, ())
        assert hash(said) == hash(fastinit.jax.he_normal(-2, -1, ()))
        assert same(said(jax.random.key(1), (3, 8, 8)), np.asarray(unsaid(jax.random.key(1), (3, 8, 8))))
        assert pickle.loads(pickle.dumps(said)) == said
    assert fastinit.jax.orthogonal(column_axis=-1) != fastinit.jax.orthogonal()
    defaults = inspect.signature(fastinit.jax.he_normal).parameters.values()
    assert [repr(parameter.default) for parameter in defaults] == ["-2", "-1", "()", "None"]


def test_a_subclass_has_its_own_name_and_equals_its_own_kind() -> None:
    class Mine(fastinit.jax.JaxInitializer):
        __slots__ = ()

    mine = Mine("normal", std=0.5, dtype="float32")
    assert repr(mine) == "Mine('normal', std=0.5, dtype='float32')"
    assert mine != fastinit.jax.normal(0.5, "float32") != mine
    assert copy.deepcopy(mine) == mine == Mine("normal", {"std": 0.5}, dtype=np.float32)


def test_shapes_are_read_as_jax_reads_them() -> None:
    init, keras = fastinit.jax.JaxInitializer("he_normal"), Initializer("he_normal")
    assert init.moments((100, 64)) == keras.moments((100, 64), "keras") != keras.moments((100, 64), "torch")
    assert init.moments((100, 64), "torch") == keras.moments((100, 64), "torch")
    filled = [one.fill(np.empty((100, 64)), **KEY, **layout) for one, layout in ((init, {}), (keras, LAYOUT))]
    assert np.array_equal(*filled)
    assert np.array_equal(filled[0], init(jax.random.key(0), (100, 64)))
    with pytest.raises(ValueError, match=r"^JaxInitializer\('he_normal'\): a vector has no fans"):
        init.check((5,), "float32")
    assert fastinit.jax.JaxInitializer("he_normal", layout="keras").moments((5,)) == keras.moments((5,), "keras")
    with pytest.raises(ValueError, match="layout='torch' reads"):
        init.check((5,), "float32", "torch")
    with pytest.raises(TypeError, match=r"^global_shape must be a sequence of ints, got 5 of type int$"):
        init.fill(np.empty(5), **KEY, global_shape=5)  # type: ignore[arg-type]


MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_axes_count_as_jax_counts_them(data: st.DataObject) -> None:
    """Negative, several, overlapping, none: JAX's own function is the oracle, of values and of refusals."""
    from jax._src.nn.initializers import _compute_fans

    shape = tuple(data.draw(st.lists(st.integers(1, 9), max_size=4)))
    n = len(shape)
    # One in five draws goes an axis too far.
    axis = st.integers(-n, max(0, n - 1)) if data.draw(st.integers(0, 4)) else st.integers(-n - 1, n)
    axes = {
        name: data.draw(st.one_of(axis, st.lists(axis, max_size=3).map(tuple)), label=name)
        for name in data.draw(st.sets(st.sampled_from(("in_axis", "out_axis", "batch_axis"))))
    }
    mode: Any = data.draw(st.sampled_from(MODES))
    init = fastinit.jax.variance_scaling(3.0, mode, "normal", **axes)
    try:
        fan_in, fan_out = _compute_fans(shape, **axes)
    except (ValueError, IndexError):
        with pytest.raises(ValueError, match=re.escape(f"{init!r}: ")):
            init(jax.random.key(0), shape)
    else:
        means = (fan_in, fan_out, (fan_in + fan_out) / 2, math.sqrt(fan_in * fan_out))
        std = math.sqrt(3.0 / dict(zip(MODES, means, strict=True))[mode])
        assert init.moments(shape) == pytest.approx((0.0, std), rel=1e-14)
        values = fastinit.normal(np.empty(shape), std=std, **KEY)
        np.testing.assert_allclose(init(jax.random.key(0), shape, jnp.float64), values, rtol=1e-13)


def test_the_default_of_flax_s_embed() -> None:
    """Its axes overlap: an embedding has the variance of 1 over its width."""
    init = fastinit.jax.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
    expected = fastinit.variance_scaling(np.empty((1000, 64), np.float32), fan_in=64, seed=5)
    assert same(init(jax.random.key(5), (1000, 64), jnp.float32), expected)
    assert same(jax.jit(lambda key: init(key, (1000, 64), jnp.float32))(jax.random.key(5)), expected)
    on = sharding("a", "b")
    assert same(fastinit.jax.make_array((1000, 64), init, seed=5, stream=0, sharding=on, dtype="float32"), expected)
    tree = fastinit.jax.init_tree({"e": jax.ShapeDtypeStruct((1000, 64), "float32")}, {"e": init}, seed=5)
    assert np.asarray(tree["e"]).std() == pytest.approx(1 / 8, rel=0.01)
    theirs = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
    assert np.asarray(theirs(jax.random.key(5), (1000, 64))).std() == pytest.approx(1 / 8, rel=0.01)
    assert same(init(jax.random.key(5), (0, 64), jnp.float32), np.empty((0, 64), np.float32))
    for scale, out_axis in ((1e308, (0, 1, 1)), (5e-324, 0)):  # over fans of 1/8 and of 8
        far = fastinit.jax.variance_scaling(scale, "fan_in", "normal", in_axis=0, out_axis=out_axis)
        with pytest.raises(ValueError, match=re.escape(f"{far!r}: scale must be")):
            far(jax.random.key(0), (8, 8), jnp.float64)


def test_overlaps_of_other_functions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"in_axis, out_axis and batch_axis must name each axis at most once"):
        fastinit.jax.JaxInitializer("he_normal", in_axis=0, out_axis=0)
    init = fastinit.jax.JaxInitializer("he_normal", in_axis=0, out_axis=-1)
    with pytest.raises(ValueError, match=r"in_axis, out_axis and batch_axis must name each axis at most once"):
        init(jax.random.key(0), (8,))


def test_any_function_of_fastinit_by_the_protocol_of_jax() -> None:
    init = fastinit.jax.JaxInitializer("he_normal", truncated=True, dtype="float32")
    assert same(init(jax.random.key(3), (8, 8)), whole((8, 8), 3, 0))
    with pytest.raises(ValueError, match=r"^JaxInitializer\('sparse', sparsity=2\): sparsity must be"):
        fastinit.jax.JaxInitializer("sparse", sparsity=2)


def test_factories_refuse() -> None:
    with pytest.raises(ValueError, match="mode must be one of 'fan_in', 'fan_out', 'fan_avg', 'fan_geo_avg'"):
        fastinit.jax.variance_scaling(1.0, "fan_geo", "normal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="distribution must be one of"):
        fastinit.jax.variance_scaling(1.0, "fan_in", "untruncated_normal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^stddev must be a finite real number >= 0, got -1.0"):
        fastinit.jax.normal(-1.0)
    with pytest.raises(TypeError, match=r"^stddev must be a finite real number >= 0, got '1' of type str"):
        fastinit.jax.normal("1")
    with pytest.raises(ValueError, match=r"^stddev must be a finite real number >= 0, got -1.0"):
        fastinit.jax.truncated_normal(-1.0)
    with pytest.raises(ValueError, match=r"^lower must be below upper, got lower=2.0, upper=1.0"):
        fastinit.jax.truncated_normal(1.0, lower=2.0, upper=1.0)
    with pytest.raises(TypeError, match=r"^upper must be a number, got None of type NoneType"):
        fastinit.jax.truncated_normal(1.0, upper=None)
    with pytest.raises(ValueError, match=r"^scale must be a finite number, got inf"):
        fastinit.jax.uniform(math.inf)
    with pytest.raises(ValueError, match=r"^scale must be a finite number, got nan"):
        fastinit.jax.orthogonal(math.nan)
    with pytest.raises(TypeError, match=r"he_normal\(in_axis=1.5\): in_axis must be an int or a sequence of ints"):
        fastinit.jax.he_normal(in_axis=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scale must be"):
        fastinit.jax.variance_scaling(0.0, "fan_in", "normal")
    with pytest.raises(ValueError, match=r"column_axis must be -1 .* or 0, got 1"):
        fastinit.jax.orthogonal(column_axis=1)
    axis: Any
    for axis in (False, 0.0, None):
        with pytest.raises(TypeError, match=f"column_axis must be -1 .* or 0, got {axis} of type"):
            fastinit.jax.orthogonal(column_axis=axis)
    assert fastinit.jax.orthogonal(column_axis=np.int64(0)) == fastinit.jax.orthogonal(column_axis=0)
    for low, high in ((math.nan, 2.0), (-2.0, math.nan), (1.0, 1.0)):
        with pytest.raises(ValueError, match=rf"^lower must be below upper, got lower={low}, upper={high}$"):
            fastinit.jax.truncated_normal(1.0, lower=low, upper=high)
    for value in (jnp.bool_(True), np.array(True), True, jnp.complex64(1)):
        for name in ("normal", "uniform", "orthogonal", "truncated_normal"):
            with pytest.raises(TypeError, match=r"^(stddev|scale) must be a finite .*, got .* of type (bool|complex)$"):
                getattr(fastinit.jax, name)(value)
        with pytest.raises(TypeError, match=r"^lower must be a number"):
            fastinit.jax.truncated_normal(lower=value)
    for dtype in (jnp.int32, "nonsense"):
        with pytest.raises(TypeError, match=r"^dtype must be float32, .*, got"):
            fastinit.jax.JaxInitializer("normal", dtype=dtype)
    with pytest.raises(TypeError, match=r"^dtype must be one that JAX has, got 'nonsense' of type str$"):
        fastinit.jax.constant(0, "nonsense")


REFUSED: dict[str, tuple[Callable[[], Any], tuple[int, ...], str]] = {
    "normal": (lambda: fastinit.jax.normal(1e39), (4, 4), "stddev is too large for float32, which ends at"),
    "truncated_normal": (lambda: fastinit.jax.truncated_normal(1e39), (4, 4), "stddev is beyond the range of float32"),
    "truncated_normal, bounds": (
        lambda: fastinit.jax.truncated_normal(1e38, lower=50, upper=51),
        (4, 4),
        "no float32 lies between the bounds 5e+39 and 5.1e+39",
    ),
    "uniform": (lambda: fastinit.jax.uniform(1e39), (4, 4), "scale is beyond the range of float32"),
    "uniform, < 0": (lambda: fastinit.jax.uniform(-1e39), (4, 4), "scale is beyond the range of float32"),
    "orthogonal": (lambda: fastinit.jax.orthogonal(1e39), (4, 4), "scale must be within the range of float32"),
    "orthogonal, shape": (
        lambda: fastinit.jax.orthogonal(), (5,), "shape must have at least 2 dimensions, got (5,)"
    ),
    "variance_scaling": (
        lambda: fastinit.jax.variance_scaling(1e300, "fan_in", "normal"), (4, 4), "scale is too large for float32"
    ),
    "he_normal": (lambda: fastinit.jax.he_normal(in_axis=5), (4, 4), "in_axis must lie in -2 .. 1 for"),
}  # fmt: skip


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(("make", "shape", "message"), REFUSED.values(), ids=list(REFUSED))
def test_a_call_is_refused_in_words_of_the_caller(
    make: Callable[[], Any], shape: tuple[int, ...], message: str, jit: bool
) -> None:
    init = make()
    call = jax.jit(init, static_argnums=(1, 2)) if jit else init
    with pytest.raises(ValueError, match=re.escape(f"{init!r}: {message}")) as caught:
        call(jax.random.key(0), shape, jnp.float32)
    words = str(caught.value).splitlines()[0].replace(repr(init), "")
    assert not re.search(r"\b(std|gain|low|high|mean|out|layout|global_shape)\b", words)


FACTORIES = [name for name in fastinit.jax.__all__ if name not in ("JaxInitializer", "init_tree", "make_array")]


def test_which_of_jax_there_are() -> None:
    there = {name for name in dir(jax.nn.initializers) if name[0].islower()}
    assert there - set(FACTORIES) == {"delta_orthogonal"}
    assert set(FACTORIES) <= there


@pytest.mark.parametrize("name", FACTORIES)
def test_signatures_are_those_of_jax(name: str) -> None:
    def arguments(function: Any) -> list[tuple[str, Any, Any]]:
        parameters = inspect.signature(function).parameters.values()
        return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]

    ours, theirs = getattr(fastinit.jax, name), getattr(jax.nn.initializers, name)
    assert arguments(ours) == arguments(theirs)
    if name not in ("ones", "zeros"):
        needed = {"variance_scaling": (1.0, "fan_in", "normal"), "constant": (0.5,)}.get(name, ())
        assert arguments(ours(*needed)) == [
            (parameter, kind, None if parameter == "dtype" else default)
            for parameter, kind, default in arguments(theirs(*needed))
        ]


def cut(std: float, low: float = -2.0, high: float = 2.0) -> Any:
    return stats.truncnorm(low, high, scale=std)


def flat(std: float) -> Any:
    return stats.uniform(-math.sqrt(3) * std, 2 * math.sqrt(3) * std)


SCALED = (3, 5, 60, 100)  # fans 900 and 1500, of 90,000 elements
C = 0.87962566103423978  # the standard deviation of N(0, 1) cut at +-2
LAWS: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = [
    ("uniform", (), {}, stats.uniform(0, 0.01)),
    ("uniform", (3.0,), {}, stats.uniform(0, 3)),
    ("uniform", (-3.0,), {}, stats.uniform(-3, 3)),
    ("normal", (), {}, stats.norm(0, 0.01)),
    ("normal", (2.0,), {}, stats.norm(0, 2)),
    ("truncated_normal", (), {}, cut(0.01)),
    ("truncated_normal", (3.0,), {"lower": -1.0, "upper": 0.5}, cut(3.0, -1, 0.5)),
    ("glorot_uniform", (), {}, flat((2 / 2400) ** 0.5)),
    ("xavier_uniform", (0, 1), {}, flat((2 / (8 * 6000)) ** 0.5)),
    ("glorot_normal", (), {}, cut((2 / 2400) ** 0.5 / C)),
    ("xavier_normal", (), {"batch_axis": 0}, cut((2 / 800) ** 0.5 / C)),
    ("lecun_uniform", (), {}, flat((1 / 900) ** 0.5)),
    ("lecun_normal", (), {}, cut((1 / 900) ** 0.5 / C)),
    ("he_uniform", (), {}, flat((2 / 900) ** 0.5)),
    ("kaiming_uniform", ([2, 0], [1, 3]), {}, flat((2 / 180) ** 0.5)),
    ("he_normal", (), {}, cut((2 / 900) ** 0.5 / C)),
    ("kaiming_normal", (3, 2, (0, 1)), {}, cut((2 / 100) ** 0.5 / C)),
    ("variance_scaling", (0.5, "fan_out", "normal"), {}, stats.norm(0, (0.5 / 1500) ** 0.5)),
    ("variance_scaling", (0.5, "fan_geo_avg", "uniform"), {}, flat((0.5 / (900 * 1500) ** 0.5) ** 0.5)),
    ("variance_scaling", (2.0, "fan_avg", "truncated_normal"), {}, cut((2 / 1200) ** 0.5 / C)),
]


@pytest.mark.parametrize("whose", [fastinit.jax, jax.nn.initializers], ids=["fastinit", "jax"])
@pytest.mark.parametrize(
    ("name", "given", "named", "law"), LAWS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_law_is_that_of_jax(whose: Any, name: str, given: Any, named: Any, law: Any) -> None:
    """That of the formula; and JAX's own values pass the same test."""
    values = np.asarray(getattr(whose, name)(*given, **named)(jax.random.key(20), SCALED, jnp.float64)).ravel()
    low, high = law.support()
    assert low <= values.min() < values.max() <= high
    assert stats.kstest(values, law.cdf).pvalue > 1e-6
    n, mean, std = values.size, law.mean(), law.std()
    spread = law.stats(moments="k") + 2  # the variance of ((x - mean) / std)^2
    assert abs(values.mean() - mean) < 5 * std / n**0.5
    assert abs(values.var() / std**2 - 1) < 5 * (spread / n) ** 0.5


@pytest.mark.parametrize("whose", [fastinit.jax, jax.nn.initializers], ids=["fastinit", "jax"])
@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 2, 5)])
@pytest.mark.parametrize("column_axis", [-1, 0])
def test_orthogonal(whose: Any, shape: tuple[int, ...], column_axis: int) -> None:
    """The vectors along the column axis, or those across it if they are fewer, are orthogonal and of length scale."""
    array = np.asarray(whose.orthogonal(3.0, column_axis)(jax.random.key(1), shape, jnp.float64))
    assert array.shape == shape
    matrix = np.moveaxis(array, column_axis, -1).reshape(-1, shape[column_axis])
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    assert np.abs(gram - 9 * np.eye(len(gram))).max() < 1e-13


def test_orthogonal_on_a_mesh() -> None:
    on = sharding("a", "b")
    expected = fastinit.orthogonal(np.empty((8, 16)), layout="keras", seed=1, stream="w")
    assert same(fastinit.jax.make_array((8, 16), fastinit.jax.orthogonal(), seed=1, stream="w", sharding=on), expected)


# --- what draws nothing ---------------------------------------------------------------------------------------------

CONSTANTS: dict[str, tuple[Any, Any]] = {
    "zeros": (fastinit.jax.zeros, jax.nn.initializers.zeros),
    "ones": (fastinit.jax.ones, jax.nn.initializers.ones),
    **{
        f"constant({value}, {dtype})": (
            fastinit.jax.constant(value, dtype),
            jax.nn.initializers.constant(value, dtype),
        )
        for value, dtype in (
            (0.1, None),
            (-0.0, None),
            (3.7, "float16"),
            (2**24 + 1, "int32"),
            (True, bool),
            (np.float32(0.1), "float64"),
            (np.int8(-3), None),
            (np.bool_(True), None),
            (np.array(7), "uint8"),
            (1 + 2j, "complex64"),
            (np.arange(3.0), None),
        )
    },
}
ANY = [None, np.float32, jnp.bfloat16, "float64", "int32", jnp.uint8, jnp.int4, bool, "complex64", int]


@pytest.mark.parametrize(("ours", "theirs"), CONSTANTS.values(), ids=list(CONSTANTS))
def test_by_a_key_it_is_jax_s_own(made: list[NDArray[Any]], ours: Any, theirs: Any) -> None:
    for dtype in ANY:
        if dtype is None or not np.iscomplexobj(theirs(None, (2, 3))) or dtype == "complex64":
            said = () if dtype is None else (dtype,)
            expected = theirs(None, (2, 3), *said)
            for key in (None, jax.random.key(0), "not a key"):
                array = ours(key, (2, 3), *said)
                assert array.weak_type == expected.weak_type
                assert same(array, np.asarray(expected))
            assert same(jax.jit(lambda key, said=said: ours(key, (2, 3), *said))(jax.random.key(0)), expected)
            shape = jax.eval_shape(lambda key, said=said: ours(key, (2, 3), *said), jax.random.key(0))
            assert (shape.shape, shape.dtype) == ((2, 3), expected.dtype)
    keys = jax.random.split(jax.random.key(0), 4)
    assert same(jax.vmap(lambda key: ours(key, (2, 3)))(keys), np.stack([theirs(key, (2, 3)) for key in keys]))
    assert "callback" not in str(jax.make_jaxpr(lambda key: ours(key, (2, 3)))(keys[0]))
    on = NamedSharding(mesh(kind=AxisType.Explicit), P("b", None))
    with jax.set_mesh(on.mesh):  # as JAX's own needs it
        for out in (on, on.spec):
            try:
                expected = theirs(None, (2, 3), out_sharding=out)
            except ValueError:  # JAX's own, with the values of an array
                assert jax.__version__ == "0.10.0"
                continue
            assert ours(None, (2, 3), out_sharding=out).sharding == expected.sharding == on
    assert made == []


def test_a_traced_constant_is_jax_s_own() -> None:
    filled = jax.jit(lambda value: fastinit.jax.constant(value)(None, (3,), jnp.float32))(0.5)
    assert same(filled, np.full(3, 0.5, np.float32))


def test_what_draws_nothing_stands_where_an_initialiser_can() -> None:
    zeros, ones, half = fastinit.jax.zeros, fastinit.jax.ones, fastinit.jax.constant(0.5, "bfloat16")
    assert len({zeros, ones, half, fastinit.jax.constant(0.5), fastinit.jax.constant(0.5, "int8")}) == 5
    assert zeros == fastinit.jax.JaxInitializer("zeros") != Initializer("zeros")
    assert half == fastinit.jax.constant(jnp.float32(0.5), jnp.bfloat16)
    for init, value, dtype in ((zeros, 0.0, np.float64), (ones, 1.0, np.float64), (half, 0.5, jnp.bfloat16)):
        array = fastinit.jax.make_array((8, 8), init, **KEY, sharding=sharding("a"))
        assert same(array, np.full((8, 8), value, dtype))
        assert init.moments((3,)) == (value, 0.0)
    recipe = {"*.bias": zeros, "scale": ones, "*": half}
    tree = {"fc": {"bias": EIGHT, "other": EIGHT}, "scale": jax.ShapeDtypeStruct((), "float16")}
    filled = fastinit.jax.init_tree(tree, recipe, seed=0)
    assert same(filled["fc"]["bias"], np.zeros((8, 8), np.float32))
    assert same(filled["fc"]["other"], np.full((8, 8), 0.5, np.float32))
    assert same(filled["scale"], np.ones((), np.float16))
    with pytest.raises(TypeError, match=r"value must be a number, got 'a' of type str"):
        fastinit.jax.constant("a")


def test_fastinit_alone_imports_no_jax() -> None:
    code = "import sys, fastinit; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- documents, processes -------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:jax.core:DeprecationWarning")  # Flax 0.12.6's own
def test_the_examples() -> None:
    """On eight devices."""
    page = (pathlib.Path(__file__).parent.parent / "docs" / "jax.md").read_text()
    codes = ["\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL)) for section in page.split("\n## ")]
    assert sum(map(bool, codes)) >= 6
    with jax.enable_x64(False):
        for code in codes:
            if all(installed(name) for name in re.findall("^(?:import|from) (flax|equinox|haiku)", code, re.M)):
                exec(code, {"__name__": "__main__"})
        assert doctest.testmod(fastinit.jax).failed == 0


PROCESS = """
import sys
import jax, numpy as np, fastinit, fastinit.jax
jax.config.update("jax_num_cpu_devices", 4)
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
assert (jax.device_count(), jax.local_device_count()) == (8, 4)
mesh = jax.make_mesh((4, 2), ("a", "b"))
blocks = jax.sharding.NamedSharding(mesh, jax.P("a", "b"))
made = []
fastinit.jax._arrays.empty = lambda *arguments: made.append(fastinit.empty(*arguments)) or made[-1]
abstract = {"w": jax.ShapeDtypeStruct((64, 32), "float32")}
array = fastinit.jax.init_tree(abstract, {"*": fastinit.jax.normal(1.0)}, seed=3, shardings=blocks)["w"]
expected = fastinit.normal(np.empty((64, 32), np.float32), seed=3, stream="w")
assert [part.shape for part in made] == [(16, 16)] * 4
for shard in array.addressable_shards:
    assert np.asarray(shard.data).tobytes() == expected[shard.index].tobytes()
    rows, columns = shard.index
    print(rows.indices(64)[0] * 32 + columns.indices(32)[0])
made.clear()
init = jax.jit(lambda key: fastinit.jax.normal(1.0)(key, (64, 32)), out_shardings=blocks)
array = init(jax.random.key(3)).block_until_ready()
expected = fastinit.normal(np.empty((64, 32), np.float32), seed=3, stream=0)
assert [part.shape for part in made] == [(16, 16)] * 4
assert all(np.asarray(shard.data).tobytes() == expected[shard.index].tobytes() for shard in array.addressable_shards)
"""


def test_two_processes_fill_a_half_each() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, address, str(index)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for index in range(2)
    ]
    corners = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(int(corner) for part in corners for corner in part) == sorted(
        row * 32 + column for row in range(0, 64, 16) for column in (0, 16)
    )


def test_the_bench() -> None:
    command = [sys.executable, "-m", "bench.jax_arrays", "--log2", "20", "--rounds", "1"]
    root = pathlib.Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ratios = re.findall(r"^  fastinit.* by the fastest of JAX +x (\S+)$", done.stdout, re.MULTILINE)
    assert len(ratios) == 6
    assert all(float(ratio) > 0 for ratio in ratios)
