"""Promise: a Generator is the functions with its seed, call after call; it is pickled, spawned, shared and forked."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import os
import pathlib
import pickle
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.random import SeedSequence

import fastinit
import generate_methods
from conftest import call
from fastinit import initializers, random, structured
from fastinit.random import Generator

ALIASES = {"glorot_normal", "glorot_uniform", "kaiming_normal", "kaiming_uniform"}
NAMES = sorted({*initializers.__all__, *structured.__all__} - ALIASES)
SILENT = ("constant", "zeros", "ones", "identity", "dirac")  # they draw nothing


def array(name: str) -> Any:
    dtype = {"random_bits": np.uint32, "integers": np.int16}.get(name, np.float32)
    return np.zeros((6, 4, 3) if name == "dirac" else (6, 4), dtype)


# --- methods --------------------------------------------------------------------------------------------------------


def test_the_methods_are_written_by_their_script() -> None:
    committed = pathlib.Path(fastinit.__file__).with_name("_methods.py").read_text("utf-8")
    assert committed == generate_methods.source()


@pytest.mark.parametrize("name", NAMES)
def test_a_method_takes_what_its_function_takes(name: str) -> None:
    function = inspect.signature(getattr(fastinit, name)).parameters
    method = inspect.signature(getattr(Generator, name)).parameters
    assert list(method)[1:] == [parameter for parameter in function if parameter not in ("seed", "bit_generator")]
    for parameter in list(method)[1:]:
        assert method[parameter] == function[parameter]


def test_aliases() -> None:
    for name in ALIASES:
        assert getattr(Generator, name).__name__ == getattr(fastinit, name).__name__


@pytest.mark.parametrize("bit_generator", ["ars", "philox"])
@pytest.mark.parametrize("name", NAMES)
def test_the_nth_call_has_stream_n(name: str, bit_generator: Any) -> None:
    generator = Generator(5, bit_generator=bit_generator)
    for stream in range(3):
        out = array(name)
        assert call(name, out, owner=generator) is out
        want = call(name, array(name), seed=5, stream=stream, bit_generator=bit_generator)
        assert np.array_equal(out, want)
        assert generator.next_stream == (0 if name in SILENT else stream + 1)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SILENT])
def test_a_stream_of_ones_own_does_not_count(name: str) -> None:
    generator = Generator(5)
    for stream in (7, "layer1.weight"):
        got = call(name, array(name), owner=generator, stream=stream)
        assert np.array_equal(got, call(name, array(name), seed=5, stream=stream))
    with pytest.raises(ValueError, match="threads"):
        call(name, array(name), owner=generator, threads=0)
    assert generator.next_stream == 0


def test_every_argument_arrives() -> None:
    """Each with a value that is not its default: the method does what the function does with it."""
    key = {"stream": "w", "global_shape": (60, 40), "offset": (7, 9), "threads": 1}
    he = {"fan_out": 9, "mode": "fan_geo", "nonlinearity": "leaky_relu", "a": 0.3}
    cases: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("xavier_uniform", (30, 50), {"gain": 2.0}),
        ("xavier_normal", (30, 50), {"gain": 2.0, "truncated": True}),
        ("he_uniform", (30,), he),
        ("he_normal", (30,), {**he, "truncated": True}),
        ("he_normal", (30,), {"gain": 3.0}),
        ("lecun_uniform", (), {"layout": "keras"}),
        ("lecun_normal", (), {"truncated": True, "in_axis": 0, "out_axis": 1, "batch_axis": ()}),
        ("variance_scaling", (3.0, "fan_avg", "uniform"), {"fan_in": 3, "fan_out": 8}),
        ("uniform", (-2.0, 5.0), {}),
        ("normal", (3.0, 0.25), {}),
        ("truncated_normal", (1.0, 2.0, -1.5, 0.5), {"bounds": "absolute"}),
        ("integers", (-30, 50), {"endpoint": True}),
        ("constant", (3.0,), {}),
        ("identity", (3.0,), {}),
        ("orthogonal", (3.0,), {"layout": "keras"}),
        ("sparse", (0.7, 3.0), {}),
    ]
    for name, by_position, by_name in cases:
        got = getattr(Generator(5), name)(array(name), *by_position, **by_name, **key)
        want = getattr(fastinit, name)(array(name), *by_position, **by_name, **key, seed=5)
        assert np.array_equal(got, want), name


@pytest.mark.parametrize("argument", ["seed", "bit_generator"])
def test_what_a_generator_has_itself_is_no_argument(argument: str) -> None:
    more: Any = {argument: 1}
    with pytest.raises(TypeError, match=rf"^Generator.normal\(\) got an unexpected keyword argument '{argument}'"):
        Generator(0).normal(np.zeros(3), **more)


# --- seeds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1, np.uint64(2**63), np.int8(3)])
def test_an_int_is_the_seed(seed: Any) -> None:
    generator = Generator(seed)
    assert generator.seed == int(seed)
    assert type(generator.seed) is int
    assert np.array_equal(generator.normal(np.zeros(5)), fastinit.normal(np.zeros(5), seed=seed))


def test_a_seed_sequence() -> None:
    sequence = SeedSequence(12345)
    generator = Generator(sequence)
    assert generator.seed == int(SeedSequence(12345).generate_state(1, np.uint64)[0])
    assert Generator(SeedSequence(12345)).seed == generator.seed != Generator(SeedSequence(12346)).seed
    children = generator.spawn(3)
    assert [child.seed for child in children] == [Generator(s).seed for s in SeedSequence(12345).spawn(3)]
    assert sequence.n_children_spawned == 3  # as NumPy's generators do
    assert [child.seed for child in generator.spawn(1)] == [Generator(SeedSequence(12345).spawn(4)[3]).seed]


def test_none_is_a_seed_of_the_system() -> None:
    first, second = Generator(), Generator(None)
    assert first.seed != second.seed  # once in 2^64 times
    assert first.seed == first.seed
    assert np.array_equal(first.normal(np.zeros(5)), fastinit.normal(np.zeros(5), seed=first.seed))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed must be .* got -1"),
        ({"seed": 2**64}, ValueError, "seed must be .* got 18446744073709551616"),
        ({"seed": 1.0}, TypeError, r"seed must be an int, a numpy.random.SeedSequence or None, got 1.0 of type float"),
        ({"seed": "7"}, TypeError, "seed must be .* of type str"),
        ({"seed": True}, TypeError, "seed must be .* of type bool"),
        ({"seed": np.random.default_rng(1)}, TypeError, "seed must be .*SeedSequence"),
        ({"seed": SeedSequence}, TypeError, "seed must be an int, a numpy.random.SeedSequence or None, got <class"),
        ({"seed": 1, "bit_generator": "pcg"}, ValueError, "bit_generator must be one of 'ars', 'philox', got 'pcg'"),
        ({"seed": 1, "bit_generator": 3}, TypeError, "bit_generator must be one of .* got 3 of type int"),
    ],
)
def test_seeds_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Generator(**arguments)


def test_a_generator_is_no_seed() -> None:
    with pytest.raises(
        TypeError, match=r"seed must be an int \(a Generator has methods instead\), got Generator\(seed=0"
    ):
        fastinit.normal(np.zeros(3), seed=Generator(0))  # type: ignore[arg-type]


# --- spawning -------------------------------------------------------------------------------------------------------


def test_spawned_generators() -> None:
    """The k-th child follows from seed and k, and never comes twice."""
    generator = Generator(7, bit_generator="philox")
    children = [*generator.spawn(2), *generator.spawn(0), *generator.spawn(np.int64(3))]
    assert [child.seed for child in children] == [
        int(SeedSequence(7, spawn_key=(k,)).generate_state(1, np.uint64)[0]) for k in range(5)
    ]
    assert {child.bit_generator for child in children} == {"philox"}
    assert generator.next_stream == 0
    assert len({child.seed for child in (*children, *children[0].spawn(5))}) == 10
    assert len({child.normal(np.zeros(2)).tobytes() for child in children}) == 5


@pytest.mark.parametrize(
    ("n", "error"),
    [
        (-1, ValueError),
        (2**32 + 1, ValueError),
        (2**64, ValueError),
        (1.0, TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
def test_spawn_refused(n: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"n_children must be an int, 0 .. 2\*\*32, got"):
        Generator(0).spawn(n)


# --- copies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [7, SeedSequence(7)], ids=["int", "SeedSequence"])
@pytest.mark.parametrize(
    "how", [copy.copy, copy.deepcopy, *(lambda g, p=p: pickle.loads(pickle.dumps(g, p)) for p in range(2, 6))]
)
def test_copies_go_on_where_it_was(seed: Any, how: Any) -> None:
    generator = Generator(copy.deepcopy(seed), bit_generator="philox")
    generator.normal(np.zeros(3))
    generator.spawn(2)
    other = how(generator) if callable(how) else pickle.loads(pickle.dumps(generator, how))
    assert type(other) is Generator
    assert repr(other) == repr(generator)
    assert np.array_equal(other.normal(np.zeros(9)), generator.normal(np.zeros(9)))
    generator.normal(np.zeros(3))
    assert (generator.next_stream, other.next_stream) == (3, 2)
    if how is not copy.copy:  # which shares the SeedSequence
        assert [child.seed for child in other.spawn(2)] == [child.seed for child in generator.spawn(2)]


def test_its_pickle_names_the_public_class() -> None:
    assert b"fastinit\nGenerator\n" in pickle.dumps(Generator(0), 2)
    assert fastinit.Generator is Generator
    assert pickle.loads(pickle.dumps(Generator.normal)) is Generator.normal


def test_repr() -> None:
    generator = Generator(7)
    assert repr(generator) == "Generator(seed=7, bit_generator='ars') at stream 0"
    generator.normal(np.zeros(1))
    assert repr(generator) == "Generator(seed=7, bit_generator='ars') at stream 1"
    with pytest.raises(AttributeError):
        generator.seed = 8  # type: ignore[misc]


# --- the default generator ------------------------------------------------------------------------------------------


def test_calls_without_a_seed_are_the_default_generators() -> None:
    default = fastinit.default_generator
    fastinit.manual_seed(31)
    assert (default.seed, default.next_stream) == (31, 0)
    first, second, third = (np.zeros(5) for _ in range(3))
    fastinit.normal(first)
    default.normal(second)
    fastinit.normal(third, bit_generator="philox")
    assert default.next_stream == 3
    assert np.array_equal(first, fastinit.normal(np.zeros(5), seed=31, stream=0))
    assert np.array_equal(second, fastinit.normal(np.zeros(5), seed=31, stream=1))
    assert np.array_equal(third, fastinit.normal(np.zeros(5), seed=31, stream=2, bit_generator="philox"))
    seeds = [child.seed for child in default.spawn(2)]
    fastinit.manual_seed(31)
    assert [child.seed for child in default.spawn(2)] == seeds
    assert repr(default) == "Generator(seed=31, bit_generator='ars') at stream 0"


def test_a_copy_of_the_default_generator_is_another() -> None:
    fastinit.manual_seed(31)
    other = copy.copy(fastinit.default_generator)
    other.normal(np.zeros(3))
    assert fastinit.default_generator.next_stream == 0


# --- threads, processes ---------------------------------------------------------------------------------------------


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads that take turns after each few bytecodes."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("seed", [3, SeedSequence(3)], ids=["int", "SeedSequence"])
def test_threads_share_one(seed: Any, restless: None) -> None:
    """No two calls get the same stream or the same children, and none is left out."""
    generator = Generator(copy.deepcopy(seed))
    number = generator.seed
    values: list[bytes] = []
    children: list[int] = []
    barrier = threading.Barrier(8)

    def work() -> None:
        barrier.wait()
        for _ in range(200):
            values.append(generator.normal(np.zeros(4)).tobytes())
            children.append(generator.spawn(1)[0].seed)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(values) == sorted(fastinit.normal(np.zeros(4), seed=number, stream=k).tobytes() for k in range(1600))
    assert sorted(children) == sorted(child.seed for child in Generator(copy.deepcopy(seed)).spawn(1600))


def _draw(generator: Generator, queue: Any) -> None:
    queue.put((generator.seed, generator.normal(np.zeros(4)).tobytes()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("seed", [7, None])
def test_forked_processes_go_on_from_the_same_place(seed: Any) -> None:
    context = multiprocessing.get_context("fork")
    generator = Generator(seed)
    queue = context.SimpleQueue()
    processes = [context.Process(target=_draw, args=(generator, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    got = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    assert got == [(generator.seed, generator.normal(np.zeros(4)).tobytes())] * 2


def test_a_lock_that_is_held_at_a_fork_is_not_held_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "_spawning", random._spawning)  # put back afterwards
    with random._spawning:
        random._after_fork()  # what runs in the child
        assert len(Generator(SeedSequence(7)).spawn(2)) == 2


def test_a_spawned_process_gets_its_own() -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    (child,) = Generator(7).spawn(1)
    process = context.Process(target=_draw, args=(child, queue))
    process.start()
    assert queue.get() == (child.seed, child.normal(np.zeros(4)).tobytes())
    process.join()
