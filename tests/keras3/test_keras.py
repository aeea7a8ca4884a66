"""Promise: in Keras, on each of its backends, its own laws with fastinit's bits, each variable by its path.

Run it once for each backend: KERAS_BACKEND is tensorflow, jax or torch. On JAX there are eight devices, which XLA makes
of the CPU if it is told so before JAX first asks for devices.
"""

from __future__ import annotations

import copy
import gc
import inspect
import json
import math
import os
import pathlib
import pickle
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
from conftest import DTYPES, made_by

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
keras: Any = pytest.importorskip("keras")
import fastinit.keras as ours  # noqa: E402 (it imports Keras)
from fastinit.keras import _initializers, _install, _tensors, _variables  # noqa: E402

BACKEND = keras.backend.backend()
VERSION = tuple(map(int, keras.__version__.split(".")[:2]))
has_axes = pytest.mark.skipif(VERSION < (3, 15), reason="Keras has no axes of initialisers before 3.15")
CLASSES = [name for name in ours.__all__ if name[0].isupper()]
DRAWN = [name for name in CLASSES if name != "Identity"]
SCALED = [name for name in DRAWN if name not in ("RandomNormal", "RandomUniform", "TruncatedNormal", "Orthogonal")]
SHAPE = (48, 40)
C = 0.87962566103423978  # the standard deviation of N(0, 1) cut at 2


def expected(name: str, shape: tuple[int, ...] = SHAPE, dtype: Any = np.float32, **where: Any) -> NDArray[Any]:
    """What a function of fastinit fills for a class with its defaults."""
    out = np.empty(shape, dtype)
    fills: dict[str, Callable[[], Any]] = {
        "RandomNormal": lambda: fastinit.normal(out, 0.0, 0.05, **where),
        "TruncatedNormal": lambda: fastinit.truncated_normal(out, 0.0, 0.05, **where),
        "RandomUniform": lambda: fastinit.uniform(out, -0.05, 0.05, **where),
        "VarianceScaling": lambda: fastinit.lecun_normal(out, truncated=True, layout="keras", **where),
        "GlorotUniform": lambda: fastinit.xavier_uniform(out, layout="keras", **where),
        "GlorotNormal": lambda: fastinit.xavier_normal(out, truncated=True, layout="keras", **where),
        "HeUniform": lambda: fastinit.he_uniform(out, layout="keras", **where),
        "HeNormal": lambda: fastinit.he_normal(out, truncated=True, layout="keras", **where),
        "LecunUniform": lambda: fastinit.lecun_uniform(out, layout="keras", **where),
        "LecunNormal": lambda: fastinit.lecun_normal(out, truncated=True, layout="keras", **where),
        "Orthogonal": lambda: fastinit.orthogonal(out, layout="keras", **where),
        "Identity": lambda: fastinit.identity(out, **where),
    }
    filled: NDArray[Any] = fills[name]()
    return filled


def array(tensor: Any) -> NDArray[Any]:
    """The values of a tensor or a variable."""
    return np.asarray(keras.ops.convert_to_numpy(tensor.value if hasattr(tensor, "path") else tensor))


def same(tensor: Any, values: NDArray[Any]) -> bool:
    found = array(tensor)
    return bool(found.dtype == values.dtype and found.shape == values.shape and found.tobytes() == values.tobytes())


def dense(name: str | None, initializer: Any, units: int = 40, inputs: int = 48) -> Any:
    layer = keras.layers.Dense(units, kernel_initializer=initializer, name=name)
    layer.build((None, inputs))
    return layer


def he(path: str, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> NDArray[Any]:
    return expected("HeNormal", shape, seed=seed, stream=path)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """On JAX float64 is float64, and there are eight devices."""
    if BACKEND != "jax":
        yield
        return
    import jax

    assert jax.device_count() == 8
    with jax.enable_x64(True):
        yield


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[Any]]:
    """The arrays that fastinit.keras makes."""
    return made_by(_tensors, monkeypatch)


@pytest.fixture
def installed() -> Iterator[None]:
    yield
    ours.uninstall()


# --- names ----------------------------------------------------------------------------------------------------------


def test_dir_shows_what_is_public_and_no_more() -> None:
    assert dir(ours) == sorted(ours.__all__) == ours.__all__
    for module in (_initializers, _install, _tensors, _variables):
        assert set(module.__all__) <= set(vars(module))


@pytest.mark.parametrize("name", CLASSES)
def test_each_is_keras_s_class_of_that_name(name: str) -> None:
    theirs = getattr(keras.initializers, name)
    assert issubclass(getattr(ours, name), theirs)
    assert getattr(ours, name).__module__ == "fastinit.keras"
    given, wanted = (inspect.signature(c).parameters.values() for c in (getattr(ours, name), theirs))
    assert [(p.name, p.default) for p in given] == [(p.name, p.default) for p in wanted]


def test_fastinit_alone_imports_no_keras() -> None:
    code = "import sys, fastinit; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_older_keras_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("3.6.0", "2.15.1"):
        monkeypatch.setattr(keras, "__version__", version)
        with pytest.raises(ImportError, match=rf"needs Keras 3.7 or newer, and this is Keras {version}"):
            _tensors._check_version()


# --- bits -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["float32", "float64", "float16", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> np.dtype[Any]:
    """Those that fastinit.keras makes."""
    return DTYPES[request.param]


@pytest.mark.parametrize("name", CLASSES)
def test_a_variable_has_the_bits_of_its_path(name: str, dtype: np.dtype[Any]) -> None:
    seed = {} if name == "Identity" else {"seed": 7}
    with keras.name_scope("fc"):
        variable = keras.Variable(getattr(ours, name)(**seed), shape=SHAPE, dtype=dtype.name, name="kernel")
    assert variable.path == "fc/kernel"
    assert same(variable, expected(name, dtype=dtype, seed=7, stream="fc/kernel"))


@pytest.mark.parametrize("name", DRAWN)
def test_a_call_has_stream_0_each_time(name: str, dtype: np.dtype[Any]) -> None:
    initializer = getattr(ours, name)(seed=7)
    for _ in range(2):
        assert same(initializer(SHAPE, dtype=dtype.name), expected(name, dtype=dtype, seed=7, stream=0))


@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (3, 3, 4, 5), [4, np.int64(5)]])
def test_shapes(shape: Any) -> None:
    assert same(ours.HeNormal(seed=1)(shape), expected("HeNormal", tuple(map(int, shape)), seed=1, stream=0))


def test_the_dtype_is_that_of_keras_unless_it_is_said() -> None:
    assert array(ours.HeNormal()(SHAPE)).dtype == np.float32
    before = keras.config.floatx()
    keras.config.set_floatx("float16")
    try:
        assert array(ours.HeNormal()(SHAPE)).dtype == np.float16
    finally:
        keras.config.set_floatx(before)


def test_seeds() -> None:
    for seed in (-1, 2**64 + 5, True):
        assert same(ours.HeNormal(seed=seed)(SHAPE), expected("HeNormal", seed=int(seed) % 2**64, stream=0))
    keras.utils.set_random_seed(3)
    first, second = ours.HeNormal(), ours.HeNormal()
    assert not np.array_equal(array(first(SHAPE)), array(second(SHAPE)))
    keras.utils.set_random_seed(3)
    assert np.array_equal(array(first(SHAPE)), array(ours.HeNormal()(SHAPE)))


def test_on_torch_and_jax_the_memory_is_taken_over(made: list[NDArray[Any]]) -> None:
    tensors = [ours.HeNormal()((256, 256), dtype=dtype) for dtype in ("float32", "bfloat16")]
    if BACKEND == "torch":
        assert [t.data_ptr() for t in tensors] == [out.ctypes.data for out in made]
    elif BACKEND == "jax":
        assert [t.unsafe_buffer_pointer() for t in tensors] == [out.ctypes.data for out in made]


# --- laws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(300, 200), (5, 5, 24, 16)])
@pytest.mark.parametrize("name", [name for name in DRAWN if name != "Orthogonal"])
def test_the_law_is_that_of_keras(name: str, shape: tuple[int, ...]) -> None:
    samples = [array(getattr(place, name)(seed=5)(shape)).ravel() for place in (ours, keras.initializers)]
    assert stats.ks_2samp(*samples).pvalue > 1e-6
    assert abs(np.std(samples[0]) / np.std(samples[1]) - 1) < 6 / math.sqrt(samples[0].size)


def test_the_laws_of_arguments() -> None:
    n = 60000
    assert stats.kstest(array(ours.RandomNormal(3.0, 0.5, seed=1)((n,))), stats.norm(3.0, 0.5).cdf).pvalue > 1e-6
    assert stats.kstest(array(ours.RandomUniform(1, 3, seed=1)((n,))), stats.uniform(1, 2).cdf).pvalue > 1e-6
    cut = stats.truncnorm(-2, 2, 3.0, 0.5)
    assert stats.kstest(array(ours.TruncatedNormal(3.0, 0.5, seed=1)((n,))), cut.cdf).pvalue > 1e-6
    laws = {
        "truncated_normal": stats.truncnorm(-2, 2, 0, 0.1 / C),
        "normal": stats.truncnorm(-2, 2, 0, 0.1 / C),
        "untruncated_normal": stats.norm(0, 0.1),
        "uniform": stats.uniform(-0.1 * math.sqrt(3), 0.2 * math.sqrt(3)),
    }
    for distribution, law in laws.items():  # variance 2 / 200
        values = array(ours.VarianceScaling(2.0, "fan_out", distribution, seed=1)((300, 200)))
        assert stats.kstest(values.ravel(), law.cdf).pvalue > 1e-6, distribution


shapes = st.lists(st.integers(0, 6), min_size=0, max_size=5).map(tuple)


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_fans_are_those_that_keras_counts(data: st.DataObject) -> None:
    from keras.src.initializers.random_initializers import compute_fans

    shape, mode = data.draw(shapes), data.draw(st.sampled_from(["fan_in", "fan_out", "fan_avg"]))
    axes = {}
    if VERSION >= (3, 15) and shape:
        some = st.lists(st.integers(-len(shape), len(shape) - 1), max_size=3)
        axes = {name: data.draw(st.none() | some) for name in ("input_axes", "output_axes")}
    fans = compute_fans(shape, **axes)
    n = max(1.0, {"fan_in": fans[0], "fan_out": fans[1], "fan_avg": sum(fans) / 2}[mode])
    values = array(ours.VarianceScaling(2.0, mode, "uniform", seed=1, **axes)(shape, dtype="float64"))
    bound = math.sqrt(6.0 / n)
    assert same(values, fastinit.variance_scaling(np.empty(shape), 2.0 / n, "fan_in", "uniform", fan_in=1, seed=1))
    assert not values.size or abs(values).max() < bound


def test_orthogonal_takes_all_axes_but_the_last_for_rows() -> None:
    for shape in ((30, 50), (50, 30), (3, 4, 5, 8)):
        w = array(ours.Orthogonal(2.0, seed=1)(shape)).reshape(-1, shape[-1])
        w = w if w.shape[0] >= w.shape[1] else w.T
        assert abs(w.T @ w - 4 * np.eye(w.shape[1])).max() < 1e-5


def test_identity_of_other_types_is_keras_s() -> None:
    assert array(ours.Identity(2)((3, 4))).tolist() == (2 * np.eye(3, 4)).tolist()
    whole = ours.Identity(2)((3, 3), dtype="int32")
    assert array(whole).dtype == np.int32
    assert array(whole).tolist() == (2 * np.eye(3)).tolist()


def test_layers_tell_which_axes_are_inputs() -> None:
    """As Keras's own: by a class of its own, in EinsumDense and so in MultiHeadAttention; others it does not tell."""
    deviations = []
    for place in (ours, keras.initializers):
        layer = keras.layers.MultiHeadAttention(8, 16, kernel_initializer=place.HeNormal(seed=1), name="attention")
        layer.build((None, 10, 128), (None, 10, 128))
        deviations.append([np.std(array(w)) for w in layer.weights if w.name == "kernel"])
    assert len(deviations[0]) == 4
    assert np.allclose(deviations[0], deviations[1], rtol=6 / 128)


# --- streams --------------------------------------------------------------------------------------------------------


def test_two_layers_with_one_seed_differ_and_a_path_repeats() -> None:
    init = ours.HeNormal(seed=0)
    first, second = dense("a", init), dense("b", init)
    assert (first.kernel.path, second.kernel.path) == ("a/kernel", "b/kernel")
    assert same(first.kernel, he("a/kernel"))
    assert same(second.kernel, he("b/kernel"))
    assert same(dense("a", ours.HeNormal(seed=0)).kernel, he("a/kernel"))  # another object, another layer
    assert same(dense("a", ours.HeNormal(seed=1)).kernel, he("a/kernel", seed=1))


def test_names_that_keras_makes_up_count_on() -> None:
    def kernel() -> Any:
        return dense(None, ours.HeNormal(seed=0)).kernel

    keras.utils.clear_session()
    first, second = kernel(), kernel()
    assert (first.path, second.path) == ("dense/kernel", "dense_1/kernel")
    assert not np.array_equal(array(first), array(second))
    keras.utils.clear_session()
    assert same(kernel(), array(first))


def test_keras_s_own_repeat() -> None:
    """What is different here, and why the documents say so."""
    layers = [dense(name, keras.initializers.HeNormal(seed=0)) for name in "ab"]
    assert np.array_equal(array(layers[0].kernel), array(layers[1].kernel))


def test_parts_of_one_variable_are_drawn_by_order() -> None:
    """An LSTM asks twice for its bias: for the input gate, and for cell and output gates."""
    layer = keras.layers.LSTM(8, bias_initializer=ours.RandomNormal(seed=0), name="lstm")
    layer.build((None, 3, 4))
    bias = next(w for w in layer.weights if w.name == "bias")
    parts = [
        fastinit.normal(np.empty(n, np.float32), std=0.05, seed=0, stream=stream)
        for n, stream in ((8, bias.path), (16, f"{bias.path}#2"))
    ]
    assert same(bias, np.concatenate([parts[0], np.ones(8, np.float32), parts[1]]))


def test_no_two_streams_of_one_name() -> None:
    init = ours.HeNormal(seed=0)
    assert same(keras.Variable(init, shape=SHAPE, name="w#2"), he("w#2#1"))

    def two(shape: Any, dtype: Any = None) -> Any:
        return keras.ops.concatenate([init((24, 40), dtype), init((24, 40), dtype)])

    half = (24, 40)
    variable = keras.Variable(two, shape=SHAPE, name="w")
    assert same(variable, np.concatenate([he("w", half), he("w#2", half)]))


def test_initialisers_of_one_seed_in_one_variable_differ() -> None:
    def two(shape: Any, dtype: Any = None) -> Any:
        return keras.ops.concatenate([ours.HeNormal(seed=0)((24, 40)), ours.HeUniform(seed=0)((24, 40))])

    variable = keras.Variable(two, shape=SHAPE, name="w")
    half = (24, 40)
    assert same(variable, np.concatenate([he("w", half), expected("HeUniform", half, seed=0, stream="w#2")]))


def test_draws_are_counted_by_variable_and_forgotten_with_it() -> None:
    init = ours.HeNormal(seed=0)
    others = []

    def two(shape: Any, dtype: Any = None) -> Any:
        first = init((24, 40), dtype)
        others.append(keras.Variable(init, shape=SHAPE, name="other"))  # in between
        return keras.ops.concatenate([first, init((24, 40), dtype)])

    variable = keras.Variable(two, shape=SHAPE, name="w")
    half = (24, 40)
    assert same(variable, np.concatenate([he("w", half), he("w#2", half)]))
    assert same(others[0], he("other"))
    drew = {id(variable), id(others[0])}
    assert drew <= _variables._draws.keys()
    del variable
    others.clear()
    gc.collect()
    assert not drew & _variables._draws.keys()


def test_layers_that_copy_their_initialiser() -> None:
    attention = keras.layers.MultiHeadAttention(2, 16, kernel_initializer=ours.HeNormal(seed=0), name="attention")
    attention.build((None, 10, 32), (None, 10, 32))
    both = keras.layers.Bidirectional(keras.layers.GRU(8, kernel_initializer=ours.HeNormal(seed=0)), name="both")
    both.build((None, 5, 4))
    for layer, count in ((attention, 3), (both, 2)):
        kernels = [w for w in layer.weights if w.name == "kernel"][:count]
        assert len({w.path for w in kernels}) == count
        assert len({array(w).tobytes() for w in kernels}) == count


def test_a_seed_generator_goes_by_order_and_path() -> None:
    initializer = ours.HeNormal(seed=keras.random.SeedGenerator(9))
    calls = [array(initializer(SHAPE)) for _ in range(2)]
    kernel = dense("a", initializer).kernel
    assert same(calls[0], expected("HeNormal", seed=9, stream=0))
    assert same(calls[1], expected("HeNormal", seed=9, stream=1))
    assert same(kernel, he("a/kernel@2", seed=9))


class Deferred(keras.layers.Layer):  # type: ignore[misc]
    """A layer that Keras builds by running it on symbols."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.first = keras.layers.Dense(40, kernel_initializer=ours.HeNormal(seed=0), name="first")
        self.second = keras.layers.Dense(6, kernel_initializer=ours.HeNormal(seed=0), name="second")

    def call(self, x: Any) -> Any:
        return self.second(self.first(x))


def test_symbolic_building_draws_each_variable_once(made: list[NDArray[Any]]) -> None:
    inputs = keras.Input((48,))
    layer = Deferred(name="block")
    model = keras.Model(inputs, layer(inputs))
    kernels = [w for w in model.weights if w.name == "kernel"]
    assert [w.path for w in kernels] == ["block/first/kernel", "block/second/kernel"]
    for w in kernels:
        assert same(w, he(w.path, tuple(w.shape)))
    assert [out.shape for out in made] == [(48, 40), (40, 6)]


class Subclassed(keras.Model):  # type: ignore[misc]
    """A model that is built when it first meets data."""

    def __init__(self) -> None:
        super().__init__(name="model")
        self.first = keras.layers.Dense(40, kernel_initializer=ours.HeNormal(seed=0), name="first")
        self.second = keras.layers.Dense(
            1, kernel_initializer=ours.HeNormal(seed=keras.random.SeedGenerator(3)), name="second"
        )

    def call(self, x: Any) -> Any:
        return self.second(self.first(x))


@pytest.mark.skipif(BACKEND == "jax" and VERSION < (3, 10), reason="it asks JAX for what JAX 0.10 does not have")
def test_a_model_that_is_built_by_its_first_batch() -> None:
    x = np.ones((8, 48), np.float32)
    fitted, called = Subclassed(), Subclassed()
    fitted.compile(keras.optimizers.SGD(0.0), "mse")  # which changes no weight
    fitted.fit(x, x[:, :1], verbose=0)
    (traced(called) if BACKEND == "tensorflow" else called)(x)
    for model in (fitted, called):
        assert same(model.first.kernel, he("model/first/kernel"))
        assert same(model.second.kernel, he("model/second/kernel@0", (40, 1), seed=3))


def test_a_placeholder_draws_nothing(made: list[NDArray[Any]]) -> None:
    generator = keras.random.SeedGenerator(1)
    initializer = ours.HeNormal(seed=generator)
    with keras.StatelessScope():
        variable = keras.Variable(initializer, shape=SHAPE, name="w")
        assert tuple(variable.value.shape) == SHAPE
        assert not made
    assert same(variable, he("w@0", seed=1))
    assert len(made) == 1


# --- policies, training, tracing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "dtype"), [("mixed_bfloat16", "float32"), ("mixed_float16", "float32"), ("bfloat16", "bfloat16")]
)
def test_policies(policy: str, dtype: str) -> None:
    layer = keras.layers.Dense(40, kernel_initializer=ours.HeNormal(seed=0), dtype=policy, name="a")
    output = layer(np.ones((2, 48), np.float32))
    assert keras.backend.standardize_dtype(output.dtype) == policy.removeprefix("mixed_")
    assert same(layer.kernel.value, expected("HeNormal", dtype=DTYPES[dtype], seed=0, stream="a/kernel"))


@pytest.mark.skipif(BACKEND == "jax" and VERSION < (3, 10), reason="it asks JAX for what JAX 0.10 does not have")
def test_a_model_trains_and_starts_from_the_same_weights() -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((48,)),
            keras.layers.Dense(40, "relu", kernel_initializer=ours.HeNormal(seed=0), name="a"),
            keras.layers.Dense(1, kernel_initializer=ours.LecunNormal(seed=0), name="b"),
        ]
    )
    before = array(model.layers[0].kernel).copy()
    assert np.array_equal(before, he(model.layers[0].kernel.path))
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(64, 48)).astype(np.float32)
    losses = model.fit(x, x[:, :1], epochs=3, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert not np.array_equal(array(model.layers[0].kernel), before)


def traced(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """By the backend's compiler; torch's has none that Keras uses here."""
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    import tensorflow

    return tensorflow.function(function)  # type: ignore[no-any-return]


@pytest.mark.skipif(BACKEND == "torch", reason="torch runs what it is called for")
def test_traced_calls() -> None:
    one = keras.ops.ones(())
    assert same(traced(lambda x: x * ours.HeNormal(seed=3)(SHAPE))(one), expected("HeNormal", seed=3, stream=0))
    generator = keras.random.SeedGenerator(1)
    with pytest.raises(TypeError, match=r"seed must be an int where Keras traces what is called, .*SeedGenerator"):
        traced(lambda x: x * ours.HeNormal(seed=generator)(SHAPE))(one)


# --- files ----------------------------------------------------------------------------------------------------------

ARGUMENTS: dict[str, dict[str, Any]] = {
    "RandomNormal": {"mean": 1.0, "stddev": 2.0, "seed": 3},
    "TruncatedNormal": {"mean": 1.0, "stddev": 2.0, "seed": 3},
    "RandomUniform": {"minval": -1.0, "maxval": 2.0, "seed": 3},
    "VarianceScaling": {"scale": 2.0, "mode": "fan_out", "distribution": "uniform", "seed": 3},
    "Orthogonal": {"gain": 2.0, "seed": 3},
    "Identity": {"gain": 2.0},
}


@pytest.mark.parametrize("name", CLASSES)
def test_configurations_and_copies(name: str) -> None:
    arguments = ARGUMENTS.get(name, {"seed": 3})
    initializer = getattr(ours, name)(**arguments)
    config = initializer.get_config()
    assert arguments.items() <= config.items()
    serialized = json.loads(json.dumps(keras.initializers.serialize(initializer)))
    assert serialized["module"] == "fastinit.keras"
    assert serialized["registered_name"] == f"fastinit>{name}"
    copies = [
        type(initializer).from_config(config),
        initializer.clone(),
        keras.initializers.deserialize(serialized),
        keras.initializers.get(serialized),
        copy.deepcopy(initializer),
        pickle.loads(pickle.dumps(initializer)),
    ]
    for other in copies:
        assert type(other) is type(initializer)
        assert other.get_config() == config
        assert same(other(SHAPE), array(initializer(SHAPE)))


def test_a_clone_without_a_seed_is_new() -> None:
    initializer = ours.HeNormal()
    assert not np.array_equal(array(initializer(SHAPE)), array(initializer.clone()(SHAPE)))


def test_a_model_is_saved_and_loaded(tmp_path: pathlib.Path) -> None:
    generator = keras.random.SeedGenerator(4)
    model = keras.Sequential(
        [
            keras.Input((48,)),
            keras.layers.Dense(40, kernel_initializer=ours.HeNormal(seed=0), name="a"),
            keras.layers.Dense(3, kernel_initializer=ours.RandomUniform(-1, 1, seed=generator), name="b"),
        ]
    )
    x = np.ones((2, 48), np.float32)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(array(loaded(x)), array(model(x)))
    for before, after in zip(model.layers, loaded.layers, strict=True):
        assert type(after.kernel_initializer) is type(before.kernel_initializer)
        assert after.kernel_initializer.get_config().keys() == before.kernel_initializer.get_config().keys()
    cloned = keras.models.clone_model(model)
    assert same(cloned.layers[0].kernel, he(cloned.layers[0].kernel.path))


# --- install --------------------------------------------------------------------------------------------------------


def test_every_string_of_keras_for_these_is_installed(installed: None) -> None:
    table = __import__("keras.src.initializers", fromlist=["ALL_OBJECTS_DICT"]).ALL_OBJECTS_DICT
    theirs = {getattr(keras.initializers, name): name for name in CLASSES}
    small = {string: theirs[c] for string, c in table.items() if c in theirs and string.islower()}
    assert {string: c.__name__ for string, c in _install.NAMES.items()} == small
    ours.install()
    for string, name in small.items():
        assert type(keras.initializers.get(string)) is getattr(ours, name)
    ours.uninstall()
    for string, name in small.items():
        assert type(keras.initializers.get(string)) is getattr(keras.initializers, name)


def test_the_strings_mean_nothing_else_in_keras() -> None:
    for module in ("activations", "constraints", "losses", "metrics", "optimizers", "regularizers"):
        table = __import__(f"keras.src.{module}", fromlist=["ALL_OBJECTS_DICT"]).ALL_OBJECTS_DICT
        assert not set(table) & set(_install.NAMES), module


def test_installed_defaults_and_their_seeds(installed: None) -> None:
    ours.install(seed=0)
    layer = keras.layers.Dense(40, name="a")
    layer.build((None, 48))
    assert same(layer.kernel, expected("GlorotUniform", seed=0, stream="a/kernel"))
    assert keras.initializers.get({"class_name": "he_normal", "config": {"seed": 5}}).seed == 5
    assert array(keras.initializers.get("identity")((2, 2))).tolist() == [[1, 0], [0, 1]]
    recurrent = keras.layers.LSTM(8, name="lstm")
    recurrent.build((None, 3, 4))
    cell = recurrent.cell
    assert same(cell.recurrent_kernel, expected("Orthogonal", (8, 32), seed=0, stream=cell.recurrent_kernel.path))

    class Free(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=SHAPE, name="w")

    free = Free(name="free")
    free.build(())
    assert same(free.w, expected("GlorotUniform", seed=0, stream="free/w"))

    ours.install()  # replaces it
    keras.utils.set_random_seed(1)
    seeds = [keras.layers.Dense(4).kernel_initializer.seed for _ in range(2)]
    assert len(set(seeds)) == 2
    keras.utils.set_random_seed(1)
    assert keras.layers.Dense(4).kernel_initializer.seed == seeds[0]


def test_uninstall_leaves_all_as_it_was(installed: None) -> None:
    objects = keras.saving.get_custom_objects()
    before = dict(objects)
    ours.uninstall()
    assert objects == before
    objects["he_normal"] = keras.initializers.Zeros
    try:
        ours.install(seed=1)
        ours.install()
        objects["he_uniform"] = keras.initializers.Ones  # somebody else's, while it is installed
        ours.uninstall()
        assert objects == {**before, "he_normal": keras.initializers.Zeros, "he_uniform": keras.initializers.Ones}
    finally:
        objects.pop("he_normal")
        objects.pop("he_uniform")


def test_files_of_keras_keep_keras_s_classes(installed: None, tmp_path: pathlib.Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer="he_normal")])
    model.save(tmp_path / "model.keras")
    ours.install()
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[0].kernel_initializer) is keras.initializers.HeNormal
    own = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer="he_normal")])
    own.save(tmp_path / "own.keras")
    ours.uninstall()
    loaded = keras.models.load_model(tmp_path / "own.keras")
    assert type(loaded.layers[0].kernel_initializer) is ours.HeNormal


# --- refused --------------------------------------------------------------------------------------------------------

UNFIT: list[Any] = [(3, None), 3, "0", 0.0]  # for what mypy would not pass


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ours.RandomNormal(stddev=-1), ValueError, r"stddev must be a finite real number >= 0, got -1"),
        (lambda: ours.RandomNormal(mean="0"), TypeError, r"mean must be a finite real number, got '0'"),
        (lambda: ours.TruncatedNormal(stddev=math.inf), ValueError, r"stddev must be a finite real number"),
        (lambda: ours.TruncatedNormal(math.nan), ValueError, r"mean must be a finite real number, got nan"),
        (lambda: ours.RandomUniform(1, 0), ValueError, r"minval must be at most maxval, got minval=1, maxval=0"),
        (lambda: ours.RandomUniform(maxval=None), TypeError, r"maxval must be a finite real number, got None"),
        (lambda: ours.VarianceScaling(0), ValueError, r"`scale` must be positive"),
        (lambda: ours.VarianceScaling(math.inf)(SHAPE), ValueError, r"scale must be a finite real number > 0, got inf"),
        (lambda: ours.VarianceScaling(mode="fan"), ValueError, r"Invalid `mode` argument: fan"),
        (lambda: ours.VarianceScaling(distribution="cauchy"), ValueError, r"Invalid `distribution` argument: cauchy"),
        (lambda: ours.HeNormal(seed="0"), ValueError, r"`seed` argument should be"),
        (lambda: ours.HeNormal(seed=0.5), ValueError, r"`seed` argument should be"),
        (lambda: ours.HeNormal()(SHAPE, dtype="int32"), TypeError, r"dtype must be float32, float64, .*got 'int32'"),
        (lambda: ours.HeNormal()(SHAPE, dtype="float8_e5m2"), TypeError, r"dtype must be float32, .*got 'float8_e5m2'"),
        (lambda: ours.HeNormal()((3, -1)), ValueError, r"shape must hold ints >= 0, got \(3, -1\)"),
        (lambda: ours.HeNormal()(UNFIT[0]), TypeError, r"shape must be a sequence of ints, got \(3, None\)"),
        (lambda: ours.HeNormal()(UNFIT[1]), TypeError, r"shape must be a sequence of ints, got 3"),
        (lambda: ours.Orthogonal()((3,)), ValueError, r"shape must have at least two dimensions for Orthogonal"),
        (lambda: ours.Orthogonal(gain="1"), TypeError, r"gain must be a finite real number, got '1'"),
        (lambda: ours.Identity()((3, 3, 3)), ValueError, r"shape must have two dimensions for Identity"),
        (lambda: ours.Identity(math.nan), ValueError, r"gain must be a finite real number, got nan"),
        (lambda: ours.install(seed=UNFIT[2]), TypeError, r"seed must be an int or None, got '0' of type str"),
        (lambda: ours.install(seed=UNFIT[3]), TypeError, r"seed must be an int or None, got 0.0 of type float"),
    ],
)
def test_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@has_axes
def test_axes_refused() -> None:
    init = ours.HeNormal(input_axes=[0], output_axes=[3])
    with pytest.raises(ValueError, match=r"output_axes must lie in -3 .. 2 for the shape \(2, 3, 4\), got \[3\]"):
        init((2, 3, 4))
    with pytest.raises(TypeError, match=r"input_axes must be a sequence of ints, got 0"):
        ours.HeNormal(input_axes=0, output_axes=[1])((2, 3))


def test_a_refused_call_draws_no_seed() -> None:
    generator = keras.random.SeedGenerator(1)
    state = array(generator.state).tolist()
    init = ours.RandomNormal(stddev=1e6, seed=generator)
    with pytest.raises(ValueError, match="float16"):
        init(SHAPE, dtype="float16")
    assert array(generator.state).tolist() == state


def test_numbers_may_be_tensors() -> None:
    init = ours.RandomNormal(keras.ops.convert_to_tensor(1.5), np.array(0.5), seed=1)
    assert json.dumps(init.get_config()) == json.dumps({"seed": 1, "mean": 1.5, "stddev": 0.5})


@pytest.mark.skipif(BACKEND != "jax", reason="JAX's float64")
def test_float64_without_x64_is_refused() -> None:
    import jax

    with jax.enable_x64(False), pytest.raises(ValueError, match=r"float64 needs .*jax_enable_x64"):
        ours.HeNormal()(SHAPE, dtype="float64")


# --- layouts --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has layouts")
def test_layouts_are_refused() -> None:
    with pytest.raises(ValueError, match=rf"layout must be None on the {BACKEND} backend, got 'rows'"):
        ours.HeNormal()(SHAPE, layout="rows")


@pytest.mark.skipif(BACKEND != "jax", reason="JAX has layouts")
def test_a_distribution_makes_each_device_s_part_alone(made: list[NDArray[Any]]) -> None:
    mesh = keras.distribution.DeviceMesh((2, 4), ("batch", "model"), keras.distribution.list_devices())
    layouts = keras.distribution.LayoutMap(mesh)
    layouts["a/kernel"] = (None, "model")
    with keras.distribution.ModelParallel(layout_map=layouts).scope():
        kernel = dense("a", ours.HeNormal(seed=0)).kernel
        other = dense("b", ours.HeNormal(seed=0)).kernel
    assert same(kernel, he("a/kernel"))
    assert same(other, he("b/kernel"))
    assert {shard.data.shape for shard in kernel.value.addressable_shards} == {(48, 10)}
    if VERSION >= (3, 15):  # which hands layouts to initialisers
        assert (48, 40) not in [part.shape for part in made[:4]]


@pytest.mark.skipif(BACKEND != "jax", reason="JAX has layouts")
def test_layouts_by_hand(made: list[NDArray[Any]]) -> None:
    import jax

    mesh = keras.distribution.DeviceMesh((2, 4), ("batch", "model"), keras.distribution.list_devices())
    layout = keras.distribution.TensorLayout(("batch", "model"), mesh)
    with pytest.raises(TypeError, match=r"layout must be a TensorLayout of Keras or .*, got 'rows' of type str"):
        ours.HeNormal(seed=3)(SHAPE, layout="rows")
    if not hasattr(layout, "backend_layout"):  # in older versions
        return
    for where in (layout, layout.backend_layout):
        made.clear()
        tensor = ours.HeNormal(seed=3)(SHAPE, layout=where)
        assert same(tensor, expected("HeNormal", seed=3, stream=0))
        assert isinstance(tensor.sharding, jax.sharding.NamedSharding)
        assert [part.shape for part in made] == [(24, 10)] * 8


def test_the_types_are_those_of_ml_dtypes() -> None:
    assert array(ours.HeNormal()(SHAPE, dtype="bfloat16")).dtype == ml_dtypes.bfloat16


# --- the bench ------------------------------------------------------------------------------------------------------


def test_the_bench() -> None:
    command = [sys.executable, "-m", "bench.keras_models", "--rounds", "1", "--only", "of 64 units"]
    root = pathlib.Path(__file__).parent.parent.parent
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=120)
    assert f"on {BACKEND}" in run.stdout
    assert "50 Dense of 64 units" in run.stdout
    assert "fastinit 0." in run.stdout
