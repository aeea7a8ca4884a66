"""Promise: in a program that JAX compiles, each device fills its own box, with the bits of the NumPy fill.

And in modules of Flax, Equinox and Haiku the initialisers have their laws, in stacks of layers too. On eight devices,
which XLA makes of the CPU if it is told so before JAX first asks for devices.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import fastinit
from conftest import in_new_interpreter, made_by
from fastinit.recipes import Initializer, optional

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
jax: Any = pytest.importorskip("jax")
import fastinit.jax  # noqa: E402 (it imports jax)
from fastinit.jax import _arrays, _traced  # noqa: E402

jnp, P, NamedSharding, AxisType = jax.numpy, jax.P, jax.sharding.NamedSharding, jax.sharding.AxisType
HE = fastinit.jax.he_normal()
READ_AS_JAX = Initializer("he_normal", truncated=True, layout="keras")
SHAPE = (16, 8)


def same(array: Any, expected: NDArray[Any]) -> bool:
    array = np.asarray(array)
    return bool(
        array.dtype == expected.dtype and array.shape == expected.shape and array.tobytes() == expected.tobytes()
    )


def whole(shape: Any = SHAPE, seed: int = 5, stream: int | str = 0, dtype: Any = np.float32) -> NDArray[Any]:
    """The NumPy fill."""
    return fastinit.he_normal(np.empty(shape, dtype), truncated=True, layout="keras", seed=seed, stream=stream)


# Not made at import: from then on JAX has threads, and the tests of others fork.
@functools.cache
def a_key() -> Any:
    """Seed 5, stream 0."""
    return jax.random.key(5)


@functools.cache
def some_keys() -> Any:
    return jax.random.split(jax.random.key(2), 8)


def each(keys: Any) -> NDArray[Any]:
    """The NumPy fills of some keys."""
    words = np.asarray(jax.random.key_data(keys)).reshape(-1, 2).tolist()
    return np.reshape([whole(seed=high << 32 | low) for high, low in words], (*keys.shape, *SHAPE))


def mesh(kind: Any = AxisType.Auto) -> Any:
    return jax.make_mesh((4, 2), ("a", "b"), axis_types=(kind, kind))


def on(*spec: Any) -> Any:
    return NamedSharding(mesh(), P(*spec))


def draw(key: Any) -> Any:
    return HE(key, SHAPE, jnp.float32)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[Any]]:
    """The arrays that fastinit.jax makes."""
    return made_by(_arrays, monkeypatch)


@pytest.fixture(params=["shardy", "gspmd"])
def partitioner(request: pytest.FixtureRequest) -> Iterator[str]:
    """XLA's two partitioners."""
    jax.config.update("jax_use_shardy_partitioner", request.param == "shardy")
    yield request.param
    jax.config.update("jax_use_shardy_partitioner", True)


def shapes(made: list[NDArray[Any]]) -> Counter[tuple[int, ...]]:
    """What has been made, once all devices have what they asked for."""
    jax.block_until_ready(jax.live_arrays())
    return Counter(part.shape for part in made)


# --- each device's box ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize(
    "spec",
    [P("a", "b"), P("b"), P(None, "a"), P(("b", "a")), P(None, ("a", "b")), P()],
    ids=str,
)
def test_a_device_fills_its_own_box(made: list[NDArray[Any]], partitioner: str, spec: Any, dtype: Any) -> None:
    """And no other value: what is made is what the devices hold, the bits are the NumPy fill's and the eager call's."""
    with jax.enable_x64(True):
        init = jax.jit(lambda key: HE(key, SHAPE, dtype), out_shardings=on(*spec))
        array = init(a_key()).block_until_ready()
        expected = whole(dtype=dtype)
        assert same(array, expected)
        assert array.sharding == on(*spec)
        held = [np.asarray(shard.data).tobytes() for shard in array.addressable_shards]
        assert sorted(part.tobytes() for part in made) == sorted(held)
        assert {part.shape for part in made} == {array.sharding.shard_shape(SHAPE)}
        assert same(HE(a_key(), SHAPE, dtype), expected)
        other = init(jax.random.key(6)).block_until_ready()  # the seed is the program's argument
        assert same(other, whole(seed=6, dtype=dtype))


def test_any_order_of_devices_and_some_of_them(made: list[NDArray[Any]], partitioner: str) -> None:
    devices = np.array(jax.devices())
    for order, shape in (([3, 1, 6, 0, 7, 2, 5, 4], (2, 4)), ([5, 2, 7, 0], (2, 2)), ([6], (1, 1))):
        made.clear()
        blocks = NamedSharding(jax.sharding.Mesh(devices[order].reshape(shape), ("u", "v")), P("v", "u"))
        array = jax.jit(draw, out_shardings=blocks)(a_key())
        assert same(array, whole())
        assert shapes(made) == {blocks.shard_shape(SHAPE): len(order)}
        for shard in array.addressable_shards:
            assert same(shard.data, whole()[shard.index])


def test_parts_that_are_not_even(made: list[NDArray[Any]], partitioner: str) -> None:
    """XLA cuts 6 rows for 4 devices into 2, 2, 2 and none, and 7 columns into 4 and 3; no value beyond is seen."""
    total = jax.jit(lambda key: jax.lax.with_sharding_constraint(HE(key, (6, 7)), on("a", "b")) * 2)(a_key())
    assert same(total, whole((6, 7)) * 2)
    assert shapes(made) == {(2, 4): 3, (2, 3): 3, (0, 4): 1, (0, 3): 1}


def test_shapes_without_elements_or_axes(partitioner: str) -> None:
    normal = fastinit.jax.normal(1.0)
    for shape in ((), (8, 0)):  # not cut: arrays without elements that are, JAX itself cannot read
        array = jax.jit(lambda key, shape=shape: normal(key, shape), out_shardings=on())(a_key())
        assert same(array, fastinit.normal(np.empty(shape, np.float32), seed=5, stream=0))


def test_a_sharding_that_is_set_inside(made: list[NDArray[Any]], partitioner: str) -> None:
    blocks = on("a", "b")
    boxes = {blocks.shard_shape(SHAPE): 8}
    assert same(jax.jit(lambda key: jax.lax.with_sharding_constraint(draw(key), blocks))(a_key()), whole())
    assert shapes(made) == boxes
    made.clear()
    with jax.set_mesh(mesh()):
        assert same(jax.jit(draw, out_shardings=P("a", "b"))(a_key()), whole())
    assert shapes(made) == boxes
    made.clear()
    with jax.set_mesh(mesh(AxisType.Explicit)):
        array = jax.jit(lambda key: HE(key, SHAPE, jnp.float32, P("a", "b")))(a_key())
        assert jax.typeof(array).sharding.spec == P("a", "b")
    assert same(array, whole())
    assert shapes(made) == boxes


def test_one_program_with_several_and_with_callbacks_of_others(made: list[NDArray[Any]], partitioner: str) -> None:
    """XLA knows callbacks by their numbers in the program."""
    like = jax.ShapeDtypeStruct((), np.float32)

    def other(value: float, x: Any) -> Any:
        return jax.pure_callback(lambda x: np.float32(value) + np.asarray(x), like, x)

    def program(key: Any) -> Any:
        first = other(1, jnp.float32(0))
        w = draw(key)
        second = other(10, first)
        return w, HE(key, (8, 8)), fastinit.jax.normal(1.0)(key, SHAPE), w + second, other(100, second)

    outs = (on("a", "b"), on("b"), on("a"), on("b", "a"), on())
    for _ in range(2):
        compiled = jax.jit(program, out_shardings=outs).lower(a_key()).compile()
        for _ in range(2):
            arrays = compiled(a_key())
            expected = (whole(), whole((8, 8)), fastinit.normal(np.empty(SHAPE, np.float32), seed=5, stream=0))
            assert all(same(array, values) for array, values in zip(arrays, expected, strict=False))
            assert same(arrays[3], whole() + np.float32(11))
            assert arrays[4] == 111


def test_a_function_that_is_called_twice(made: list[NDArray[Any]], partitioner: str) -> None:
    """It has one callback, and its array is cut in two ways."""
    inner = jax.jit(draw)
    program = jax.jit(lambda one, other: (inner(one), inner(other)), out_shardings=(on("a", "b"), on(None, "a")))
    one, other = program(a_key(), jax.random.key(6))
    assert same(one, whole())
    assert same(other, whole(seed=6))
    assert shapes(made) == {(4, 4): 8, (16, 2): 8}


@pytest.mark.parametrize("spec", [P("a", "b"), P(("b", "a")), P(None, "b"), P()], ids=str)
def test_what_xla_calls_on_threads_of_its_own(spec: Any) -> None:
    """Which no count of lines can see: the same calls on this thread."""
    devices = jax.devices()[::-1]
    parameters = {"initializer": HE, "shape": SHAPE, "element": np.dtype(np.float32)}
    array = jax.ShapeDtypeStruct((3, *SHAPE), np.float32)
    parts = _traced._Parts("xla_ffi_python_cpu_callback", 7, array, devices, parameters)
    words = np.asarray(jax.random.key_data(some_keys()[:3]))
    for layout, sharding in enumerate((on(), on(None, *spec))):  # XLA may cut twice
        result = jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding)
        called, local, *_ = parts.partition(None, (), result)
        assert list(called.devices) == devices
        program = jax.make_jaxpr(local, axis_env=[("device", 8)])(words)
        assert program.out_avals[0].shape == sharding.shard_shape(array.shape)
        (call,) = (equation for equation in program.eqns if equation.primitive.name == "ffi_call")
        assert dict(call.params["attributes"]) == {"index": 7}
        boxes = sharding.devices_indices_map(array.shape)
        for number, device in enumerate(devices):
            assert same(parts(layout, number, words)[0], each(some_keys()[:3])[boxes[device]])


@pytest.mark.parametrize("shape", [(6, 7), (1, 1), (9, 3), (8, 0)])
def test_parts_end_with_the_array(shape: tuple[int, ...]) -> None:
    """XLA's rule: parts of equal size, rounded up, the last of which go beyond the end, where nothing is read."""
    devices, array = jax.devices(), jax.ShapeDtypeStruct(shape, np.float32)
    parts = _traced._Parts("", 0, array, devices, {"initializer": HE, "shape": shape, "element": array.dtype})
    result = jax.ShapeDtypeStruct((8, 8), np.float32, sharding=on("a", "b"))  # a shape that the mesh divides
    parts.partition(None, (), result)
    rows, columns = -(-shape[0] // 4), -(-shape[1] // 2)
    together = np.block([[parts(0, 2 * i + j, np.array([0, 5], np.uint32))[0] for j in range(2)] for i in range(4)])
    assert together.shape == (4 * rows, 2 * columns)
    assert same(together[: shape[0], : shape[1]], whole(shape))


def test_a_program_of_one_device_calls_once(made: list[NDArray[Any]]) -> None:
    assert same(jax.jit(draw)(a_key()), whole())
    assert shapes(made) == {SHAPE: 1}


def test_no_more_memory_than_the_array() -> None:
    """Before it was cut, it was made whole on the host and on each device: seventeen times the array."""
    peak, array = map(int, in_new_interpreter(MEMORY, XLA_FLAGS="--xla_force_host_platform_device_count=8").split())
    assert array == 2**28
    assert peak < 1.5 * array


MEMORY = """
import resource, jax, fastinit.jax
mesh = jax.make_mesh((4, 2), ("a", "b"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
blocks = jax.sharding.NamedSharding(mesh, jax.P("a", "b"))
key = jax.random.key(1)
def program(n):
    return jax.jit(lambda key: fastinit.jax.he_normal()(key, (n, 8192)), out_shardings=blocks).lower(key).compile()
small, large = program(8), program(8192)
small(key).block_until_ready()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
array = large(key).block_until_ready()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, array.nbytes)
"""


# --- several keys, loops, gradients ---------------------------------------------------------------------------------


def test_each_key_has_its_own_values(made: list[NDArray[Any]], partitioner: str) -> None:
    """By vmap: those that it has alone, so with the fans of its own shape; and each device its box of each."""
    array = jax.jit(jax.vmap(draw), out_shardings=on(None, "a", "b"))(some_keys())
    assert same(array, each(some_keys()))
    assert shapes(made) == {(8, 4, 4): 8}
    made.clear()
    array = jax.jit(jax.vmap(draw), out_shardings=on("b", "a"))(some_keys())  # layers are cut, too
    assert same(array, each(some_keys()))
    assert shapes(made) == {(4, 4, 8): 8}
    twice = jax.vmap(jax.vmap(draw), in_axes=1)
    expected = each(some_keys().reshape(2, 4)).swapaxes(0, 1)
    assert same(twice(some_keys().reshape(2, 4)), expected)
    assert same(jax.jit(twice, out_shardings=on("a", "b"))(some_keys().reshape(2, 4)), expected)
    assert same(jax.vmap(draw)(some_keys()), each(some_keys()))
    assert same(
        jax.vmap(lambda key, x: draw(key) + x, in_axes=(None, 0))(a_key(), jnp.zeros(3)), np.stack([whole()] * 3)
    )


def test_keys_on_devices_give_values_there(made: list[NDArray[Any]]) -> None:
    keys = jax.device_put(some_keys(), on("a"))
    array = jax.jit(jax.vmap(draw))(keys)
    assert same(array, each(some_keys()))
    assert array.sharding.spec == P("a")
    assert shapes(made) == {(2, *SHAPE): 8}
    explicit = mesh(AxisType.Explicit)
    keys = jax.device_put(some_keys(), NamedSharding(explicit, P("a")))
    with jax.set_mesh(explicit):
        assert jax.eval_shape(jax.vmap(draw), keys).sharding.spec == P("a", None, None)
        assert same(jax.jit(jax.vmap(draw))(keys), each(some_keys()))


def test_in_a_loop(made: list[NDArray[Any]], partitioner: str) -> None:
    def stack(keys: Any) -> Any:
        return jax.lax.scan(lambda none, key: (none, draw(key)), None, keys)[1]

    assert same(jax.jit(stack, out_shardings=on(None, "a", "b"))(some_keys()), each(some_keys()))
    assert shapes(made) == {(4, 4): 64}
    made.clear()
    # Where the layers themselves are cut, each device has to go through all of them.
    assert same(jax.jit(stack, out_shardings=on("a", "b"))(some_keys()), each(some_keys()))
    assert shapes(made) == {(8, 8): 64}


def test_in_a_branch_and_in_gradients(partitioner: str) -> None:
    """The values have no gradient; those beside them have the one that they have with an array."""
    chosen = jax.jit(lambda key, b: jax.lax.cond(b, lambda: draw(key), lambda: jnp.zeros(SHAPE)), out_shardings=on("a"))
    assert same(chosen(a_key(), True), whole())

    def loss(x: Any, w: Any) -> Any:
        return jnp.sin(x @ w).sum()

    x = jax.device_put(jnp.linspace(0, 1, 128, dtype=jnp.float32).reshape(8, 16), on("a"))
    expected = np.asarray(jax.grad(loss)(x, whole()))
    remat = jax.checkpoint(lambda x, key: loss(x, draw(key)))
    for gradient in (
        jax.jit(jax.grad(lambda x, key: loss(x, draw(key)))),
        jax.jit(jax.grad(remat)),
        jax.grad(lambda x, key: loss(x, draw(key))),
        lambda x, key: jax.linearize(lambda x: loss(x, draw(key)), x)[1](jnp.ones_like(x)),
    ):
        found = np.asarray(gradient(x, a_key()))
        assert np.allclose(found, expected if found.ndim else expected.sum(), rtol=1e-4, atol=1e-5)


def test_in_a_shard_map() -> None:
    """Each device runs a program of its own, and so fills what that asks for."""
    devices = P(("a", "b"))
    mapped = jax.shard_map(jax.vmap(draw), mesh=mesh(), in_specs=devices, out_specs=devices)
    assert same(mapped(some_keys()), each(some_keys()))
    assert same(jax.jit(mapped)(some_keys()), each(some_keys()))
    assert same(jax.shard_map(draw, mesh=mesh(), in_specs=P(), out_specs=P())(a_key()), whole())
    with pytest.raises(ValueError, match="require replication"):  # with other keys the values differ
        jax.shard_map(lambda keys: draw(keys[0]), mesh=mesh(), in_specs=devices, out_specs=P())(some_keys())
    with pytest.raises(NotImplementedError, match="all mesh axes are partitioned manually"):
        jax.jit(jax.shard_map(draw, mesh=mesh(), in_specs=P(), out_specs=P(), axis_names={"a"}))(a_key())


def test_traced_it_is_one_step() -> None:
    program = jax.make_jaxpr(jax.vmap(draw))(some_keys())
    steps = [equation for equation in program.eqns if equation.primitive.name == "fastinit"]
    assert [step.outvars[0].aval.shape for step in steps] == [(8, *SHAPE)]
    assert jax.eval_shape(draw, a_key()) == jax.ShapeDtypeStruct(SHAPE, np.float32)
    assert set(_traced.__all__) <= set(vars(_traced))


# --- where arrays are put -------------------------------------------------------------------------------------------


def test_an_array_is_where_jax_s_own_is() -> None:
    own = jax.nn.initializers.he_normal()
    keys = [
        a_key(),
        jax.device_put(a_key(), jax.devices()[3]),
        jax.device_put(a_key(), on()),
        jax.device_put(some_keys(), on("a"))[0],
    ]
    kinds: list[Any] = [None, AxisType.Auto, AxisType.Explicit]
    for kind in kinds:
        for key in keys if kind is None else keys[:1]:
            for shape in (SHAPE, (3, 4, 5)):
                with jax.set_mesh(mesh(kind)) if kind else contextlib.nullcontext():
                    ours, theirs = HE(key, shape, jnp.float32), own(key, shape, jnp.float32)
                assert ours.sharding.is_equivalent_to(theirs.sharding, len(shape))
                assert ours.committed == theirs.committed
                assert same(ours, np.asarray(jax.jit(lambda key, shape=shape: HE(key, shape, jnp.float32))(key)))


def test_while_a_gradient_is_taken() -> None:
    """The key is known, and JAX does not say which mesh is set."""
    with jax.set_mesh(mesh(AxisType.Explicit)):
        for out in (None, P("a", "b")):
            gradient = jax.grad(lambda x, out=out: (x * HE(a_key(), SHAPE, jnp.float32, out)).sum())(jnp.ones(SHAPE))
            assert same(gradient, whole())


# --- modules --------------------------------------------------------------------------------------------------------

# Each gives a stack of three matrices of 64 inputs and 64 outputs, made by he_normal() in a module of a framework.
X = np.ones((2, 64), np.float32)


def scan_linen() -> Any:
    nn = pytest.importorskip("flax.linen")

    class Layer(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        @nn.compact  # type: ignore[untyped-decorator, unused-ignore]
        def __call__(self, x: Any, _: Any = None) -> Any:
            return nn.Dense(64, kernel_init=HE)(x), None

    stack = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()
    return lambda key: stack.init(key, X, None)["params"]["Dense_0"]["kernel"]


def vmap_linen() -> Any:
    nn = pytest.importorskip("flax.linen")
    stack = nn.vmap(nn.Dense, variable_axes={"params": 0}, split_rngs={"params": True})(64, kernel_init=HE)
    return lambda key: stack.init(key, np.stack([X] * 3))["params"]["kernel"]


def nnx_stack(transform: str) -> Any:
    nnx = pytest.importorskip("flax.nnx")

    @nnx.split_rngs(splits=3)  # type: ignore[untyped-decorator, unused-ignore]
    @getattr(nnx, transform)(in_axes=0, out_axes=0)  # type: ignore[untyped-decorator, unused-ignore]
    def stack(rngs: Any) -> Any:
        return nnx.Linear(64, 64, kernel_init=HE, rngs=rngs)

    return lambda key: stack(nnx.Rngs(key)).kernel[...]


def layer_of_equinox(key: Any) -> Any:
    eqx = pytest.importorskip("equinox")
    layer = eqx.nn.Linear(64, 64, key=key)
    he = fastinit.jax.he_normal(in_axis=1, out_axis=0)
    return eqx.tree_at(lambda layer: layer.weight, layer, he(key, layer.weight.shape))


def vmap_equinox() -> Any:
    eqx = pytest.importorskip("equinox")
    return lambda key: eqx.filter_vmap(layer_of_equinox)(jax.random.split(key, 3)).weight


def layer_of_haiku() -> Any:
    hk = pytest.importorskip("haiku")
    return hk.Linear(64, w_init=lambda shape, dtype: HE(hk.next_rng_key(), shape, dtype))


def stack_haiku() -> Any:
    hk = pytest.importorskip("haiku")
    model = hk.transform(lambda x: hk.experimental.layer_stack(3)(lambda x: layer_of_haiku()(x))(x))
    return lambda key: jax.tree.leaves(model.init(key, X))[1]


def vmap_haiku() -> Any:
    hk = pytest.importorskip("haiku")
    model = hk.transform(lambda x: layer_of_haiku()(x))
    return lambda key: jax.vmap(model.init, in_axes=(0, None))(jax.random.split(key, 3), X)["linear"]["w"]


STACKS: dict[str, Callable[[], Any]] = {
    "jax.vmap": lambda: lambda key: jax.vmap(lambda key: HE(key, (64, 64)))(jax.random.split(key, 3)),
    "nn.scan": scan_linen,
    "nn.vmap": vmap_linen,
    "nnx.scan": lambda: nnx_stack("scan"),
    "nnx.vmap": lambda: nnx_stack("vmap"),
    "eqx.filter_vmap": vmap_equinox,
    "hk.experimental.layer_stack": stack_haiku,
    "jax.vmap of Haiku": vmap_haiku,
}


@pytest.mark.filterwarnings("ignore:jax.core:DeprecationWarning")  # Flax 0.12.6's own
@pytest.mark.parametrize("name", STACKS)
def test_a_layer_of_a_stack_has_the_law_of_a_layer(made: list[NDArray[Any]], name: str) -> None:
    """Its fans are those of (64, 64), not of (3, 64, 64); no two are equal; compiled, each device fills its box."""
    make = STACKS[name]()
    kernels = np.asarray(make(a_key()))
    assert kernels.shape == (3, 64, 64)
    for kernel in kernels:
        # The excess kurtosis of a normal cut at 2 of its deviations is -0.63: a deviation's error is 0.59 / sqrt(n).
        assert kernel.std() / (2 / 64) ** 0.5 == pytest.approx(1, abs=5 * 0.59 / 64)
    assert len({kernel.tobytes() for kernel in kernels}) == 3
    made.clear()
    array = jax.jit(make, out_shardings=on(None, "a", "b"))(a_key()).block_until_ready()
    assert same(array, kernels)
    assert sum(part.size for part in made) == array.size


@pytest.mark.filterwarnings("ignore:jax.core:DeprecationWarning")  # Flax 0.12.6's own
def test_axes_that_a_linen_module_names(made: list[NDArray[Any]]) -> None:
    nn = pytest.importorskip("flax.linen")
    model = nn.Dense(64, kernel_init=nn.with_partitioning(HE, ("a", "b")), use_bias=False)
    shardings = nn.get_sharding(jax.eval_shape(model.init, a_key(), X), mesh())
    variables = jax.jit(model.init, out_shardings=shardings)(a_key(), X)
    kernel = variables["params"]["kernel"].value
    assert kernel.sharding == on("a", "b")
    assert shapes(made) == {(16, 32): 8}
    assert same(kernel, np.asarray(model.init(a_key(), X)["params"]["kernel"].value))


@pytest.mark.filterwarnings("ignore:jax.core:DeprecationWarning")  # Flax 0.12.6's own
def test_axes_that_an_nnx_module_names(made: list[NDArray[Any]]) -> None:
    """Compiled, each device fills its box; else the module makes the array whole, and then puts it on the mesh."""
    nnx = pytest.importorskip("flax.nnx")

    def build() -> Any:
        return nnx.Linear(64, 64, kernel_init=nnx.with_partitioning(HE, ("a", "b")), rngs=nnx.Rngs(0))

    with jax.set_mesh(mesh()):
        compiled = nnx.jit(build)().kernel[...]
        assert shapes(made) == {(16, 32): 8}
        made.clear()
        eager = build().kernel[...]
        assert shapes(made) == {(64, 64): 1}
    assert eager.sharding == compiled.sharding == on("a", "b")
    assert same(eager, np.asarray(compiled))


def test_layers_of_linen_that_share_a_key_are_equal() -> None:
    """That is what ``split_rngs={"params": False}`` asks Flax for, of any initialiser."""
    nn = pytest.importorskip("flax.linen")
    shared = nn.vmap(nn.Dense, variable_axes={"params": 0}, split_rngs={"params": False})(64, kernel_init=HE)
    kernels = np.asarray(shared.init(a_key(), np.stack([X] * 3))["params"]["kernel"])
    assert same(kernels, np.stack([kernels[0]] * 3))


def test_a_model_of_equinox(made: list[NDArray[Any]]) -> None:
    """Equinox's layers choose their own values; those of others are put in their place."""
    eqx = pytest.importorskip("equinox")

    def linear(node: Any) -> bool:
        return isinstance(node, eqx.nn.Linear)

    def weights(model: Any) -> list[Any]:
        return [layer.weight for layer in jax.tree.leaves(model, is_leaf=linear) if linear(layer)]

    def build(key: Any) -> Any:
        model = eqx.nn.MLP(64, 8, 256, 2, key=key)
        he = fastinit.jax.he_normal(in_axis=1, out_axis=0)
        keys = jax.random.split(key, len(weights(model)))
        new = [he(key, weight.shape) for key, weight in zip(keys, weights(model), strict=True)]
        return eqx.filter_shard(eqx.tree_at(weights, model, new), on("a"))

    model = eqx.filter_jit(build)(a_key())
    assert shapes(made) == {(64, 64): 8, (64, 256): 8, (2, 256): 8}
    assert model(jnp.ones(64)).shape == (8,)
    for weight, fan_in in zip(weights(model), (64, 256, 256), strict=True):
        assert weight.std() / (2 / fan_in) ** 0.5 == pytest.approx(1, abs=5 * 0.59 / weight.size**0.5)

    abstract = eqx.filter_eval_shape(eqx.nn.MLP, 64, 8, 256, 2, key=a_key())
    arrays, rest = eqx.partition(abstract, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    recipe = {"*.weight": HE, "*.bias": fastinit.jax.zeros}
    with pytest.raises(ValueError, match=r"leaf 'layers.0.weight': .*Equinox's layers have \(out, in, \*kernel\)"):
        fastinit.jax.init_tree(arrays, recipe, seed=0)
    recipe["*.weight"] = fastinit.jax.he_normal(in_axis=1, out_axis=0)
    model = eqx.combine(fastinit.jax.init_tree(arrays, recipe, seed=0), rest)
    expected = np.empty((256, 64), np.float32)
    fastinit.he_normal(expected, 64, truncated=True, seed=0, stream="layers.0.weight")
    assert same(model.layers[0].weight, expected)
    assert model(jnp.ones(64)).shape == (8,)


def test_haiku_gives_no_key() -> None:
    hk = pytest.importorskip("haiku")
    words = r"^key must be a key of JAX, got .* of type list, which may be a shape: Haiku .*hk.next_rng_key\(\)"
    for more in ({"w_init": HE}, {"b_init": fastinit.jax.zeros}):
        model = hk.transform(lambda x, more=more: hk.Linear(8, **more)(x))
        with pytest.raises(TypeError, match=words):
            model.init(a_key(), X)
    for traced in (HE, jax.jit(HE, static_argnums=(0, 1))):
        with pytest.raises(TypeError, match=r"^key must be a key of JAX, got \(8, 8\) of type tuple"):
            traced((8, 8), jnp.float32)


@pytest.mark.filterwarnings("ignore:jax.core:DeprecationWarning")  # Flax 0.12.6's own
def test_a_linen_model() -> None:
    nn = pytest.importorskip("flax.linen")

    class Block(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        @nn.compact  # type: ignore[untyped-decorator, unused-ignore]
        def __call__(self, x: Any) -> Any:
            x = nn.Embed(64, 16, embedding_init=fastinit.jax.normal(0.02))(x)
            x = nn.LayerNorm()(x)
            x = nn.Conv(32, (3,), kernel_init=HE)(x)
            return nn.Dense(8, kernel_init=HE)(nn.relu(x))

    assert hash(nn.Dense(8, kernel_init=HE)) == hash(nn.Dense(8, kernel_init=fastinit.jax.he_normal()))
    model, key, x = Block(), jax.random.key(0), jnp.zeros((2, 5), int)
    variables = model.init(key, x)
    assert model.apply(variables, x).shape == (2, 5, 8)  # looks at the initialisers' shapes
    jitted = jax.jit(model.init)(key, x)
    assert jax.tree.all(jax.tree.map(lambda a, b: same(a, np.asarray(b)), jitted, variables))
    kernel = np.asarray(variables["params"]["Conv_0"]["kernel"])
    assert kernel.shape == (3, 16, 32)
    assert kernel.std() == pytest.approx((2 / 48) ** 0.5, rel=0.1)

    params = jax.eval_shape(model.init, key, x)["params"]
    recipe = {"*.kernel": READ_AS_JAX, "*.embedding": Initializer("normal", std=0.02), "*.bias": Initializer("zeros"),
              "LayerNorm_0.scale": Initializer("ones")}  # fmt: skip
    columns = jax.tree.map(lambda leaf: on(*(None,) * (leaf.ndim - 1), "b"), params)
    tree = fastinit.jax.init_tree(params, recipe, seed=9, shardings=columns)
    assert same(tree["Conv_0"]["kernel"], whole((3, 16, 32), 9, "Conv_0.kernel"))
    assert model.apply({"params": tree}, x).shape == (2, 5, 8)


@pytest.mark.filterwarnings("ignore:jax.core:DeprecationWarning")  # Flax 0.12.6's own
def test_an_nnx_model() -> None:
    nnx = pytest.importorskip("flax.nnx")
    layer = nnx.Linear(16, 8, kernel_init=HE, rngs=nnx.Rngs(0))
    assert layer.kernel[...].shape == (16, 8)
    graph, state = nnx.split(nnx.eval_shape(lambda: nnx.Linear(16, 8, kernel_init=HE, rngs=nnx.Rngs(0))))
    recipe = {"kernel": HE, "bias": Initializer("zeros")}
    pure = fastinit.jax.init_tree(nnx.to_pure_dict(state), recipe, seed=9, shardings=on("a"))
    nnx.replace_by_pure_dict(state, pure)
    layer = nnx.merge(graph, state)
    assert same(layer.kernel[...], whole((16, 8), 9, "kernel"))
    assert layer(jnp.ones((2, 16), jnp.float32)).shape == (2, 8)


def flax_trees() -> dict[str, tuple[Callable[[], Any], dict[str, Any], tuple[str, ...]]]:
    """What Flax makes of a model, the axes that say how its kernels are read, and those that are refused without."""
    nn, nnx = pytest.importorskip("flax.linen"), pytest.importorskip("flax.nnx")
    key, x, image = jax.random.key(0), jnp.ones((2, 5, 64), jnp.float32), jnp.ones((2, 8, 8, 16), jnp.float32)
    axes = {"params": 0}

    class Block(nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        @nn.compact  # type: ignore[untyped-decorator, unused-ignore]
        def __call__(self, x: Any, _: Any) -> Any:
            return nn.Dense(64)(x), None

    scanned = nn.scan(Block, variable_axes=axes, split_rngs={"params": True}, length=3)()
    several = nn.vmap(nn.Dense, variable_axes=axes, split_rngs={"params": True})(64)
    heads = nn.MultiHeadDotProductAttention(num_heads=4)

    def linen(model: Any, *inputs: Any) -> Callable[[], Any]:
        return lambda: model.init(key, *inputs)["params"]

    def pure(model: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: nnx.to_pure_dict(nnx.state(model(), nnx.Param))

    @nnx.vmap(in_axes=0, out_axes=0)  # type: ignore[untyped-decorator, unused-ignore]
    def stack(key: Any) -> Any:
        return nnx.Linear(64, 32, rngs=nnx.Rngs(key))

    attention = {"[qkv]*.kernel": {"in_axis": 0, "out_axis": (1, 2)}, "out.kernel": {"in_axis": (0, 1), "out_axis": 2}}
    plain: dict[str, Any] = {"*kernel": {}}
    heads_out = {"*kernel": {"in_axis": 0, "out_axis": (1, 2)}}
    convolution = {"*kernel": {"in_axis": -2, "out_axis": -1}}
    copies = {"*kernel": {"batch_axis": 0}}
    four = ("key.kernel", "out.kernel", "query.kernel", "value.kernel")
    return {
        "Dense": (linen(nn.Dense(64), x), plain, ()),
        "Conv": (linen(nn.Conv(32, (3, 3)), image), convolution, ("kernel",)),
        "grouped Conv": (linen(nn.Conv(32, (3, 3), feature_group_count=4), image), convolution, ("kernel",)),
        "scan": (linen(scanned, x, None), copies, ("Dense_0.kernel",)),
        "vmap": (linen(several, jnp.ones((3, 2, 64))), copies, ("kernel",)),
        "attention": (linen(heads, x), attention, four),
        "DenseGeneral": (linen(nn.DenseGeneral((4, 16)), x), heads_out, ("kernel",)),
        "LSTM": (linen(nn.OptimizedLSTMCell(64), (x[0], x[0]), x[0]), {"i*.kernel": {}, "h*.kernel": {}}, ()),
        "nnx.Linear": (pure(lambda: nnx.Linear(64, 32, rngs=nnx.Rngs(0))), plain, ()),
        "nnx.Conv": (pure(lambda: nnx.Conv(16, 32, (3, 3), rngs=nnx.Rngs(0))), convolution, ("kernel",)),
        "nnx.vmap": (pure(lambda: stack(jax.random.split(key, 3))), copies, ("kernel",)),
        "nnx.MultiHeadAttention": (pure(lambda: nnx.MultiHeadAttention(4, 64, rngs=nnx.Rngs(0))), attention, four),
    }


FLAX = (
    "Dense", "Conv", "grouped Conv", "scan", "vmap", "attention", "DenseGeneral", "LSTM",
    "nnx.Linear", "nnx.Conv", "nnx.vmap", "nnx.MultiHeadAttention",
)  # fmt: skip


@pytest.mark.parametrize("name", FLAX)
def test_models_of_flax_get_their_law_or_are_refused(made: list[NDArray[Any]], name: str) -> None:
    """The law is that of Flax's own lecun_normal, as its own values show it."""
    model, axes, refused = flax_trees()[name]
    theirs = model()
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), theirs)
    rest = {optional("*bias"): fastinit.jax.zeros}
    silent = {**rest, **{pattern: fastinit.jax.lecun_normal() for pattern in axes}}
    made.clear()
    for kernel in refused:
        with pytest.raises(ValueError, match=f"^leaf '{kernel}': .*pass in_axis=, out_axis=, batch_axis="):
            fastinit.jax.init_tree(shapes, silent, seed=0, include=kernel)
    assert made == []
    described = {pattern: fastinit.jax.lecun_normal(**said) for pattern, said in axes.items()}
    ours = fastinit.jax.init_tree(shapes, {**rest, **described} if refused else silent, seed=0)
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    kernels = [(np.asarray(one), np.asarray(other)) for one, other in pairs if one.ndim > 1 and np.asarray(other).any()]
    assert kernels
    for one, other in kernels:
        # The excess kurtosis of a normal cut at 2 of its deviations is -0.63: a deviation's error is 0.59 / sqrt(n).
        assert one.std() / other.std() == pytest.approx(1, abs=5 * 0.59 * (2 / one.size) ** 0.5)
