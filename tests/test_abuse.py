"""Promise: whatever a call is given, it fills `out` and nothing else, or raises a TypeError or ValueError and changes
nothing. tests/fuzz/fuzz_api.py runs the same test guided by coverage, without end."""

from __future__ import annotations

import decimal
import fractions
import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import event, given, settings
from hypothesis import strategies as st

import fastinit
from conftest import DTYPES, NAMED, TARGETS
from fastinit import _core

Array = npt.NDArray[Any]

FUNCTIONS = [*NAMED, "uniform", "normal", "truncated_normal", "constant", "zeros", "ones", "random_bits", "integers"]
WORDS: list[np.dtype[Any]] = [np.dtype(np.uint32), np.dtype(np.uint64)]
INTEGERS: list[np.dtype[Any]] = [np.dtype(t) for t in ("i1", "u1", "i2", "u2", "i4", "u4")]
ODD = (">f4", "i4", "?", "c8", "O", "S3", "u2", "m8[s]", "f4,i2", "g")  # the last one is long double
ODD_DTYPES: list[np.dtype[Any]] = [np.dtype(t) for t in ODD]

JUNK = st.sampled_from(
    [
        *(None, True, -1, 2**63, 2**64, 10**400, -0.0, 0.5, 1e-320, 1e308, math.nan, math.inf, -math.inf, 3 + 0j),
        *("", "torch", "keras", "fan_avg", "fan_geo", "relu", "std", "w", "w\ud800", b"w", [], [1], (0, 1), {}, {1: 2}),
        *(np.float16(3), np.uint64(7), np.int8(-2), np.longdouble(1) / 3, np.True_, np.array(1), np.ones((2, 2))),
        *(np.timedelta64(3, "s"), fractions.Fraction(1, 3), decimal.Decimal("0.1"), object(), print, range(3)),
    ]
)
NUMBERS = st.one_of(st.floats(), st.floats(-4, 4), st.integers(1, 300), st.just(0.5))
AXES = st.one_of(st.integers(-4, 4), st.lists(st.integers(-4, 4), max_size=3))
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "fan_in": NUMBERS,
    "fan_out": NUMBERS,
    "layout": st.sampled_from(["torch", "keras"]),
    "in_axis": AXES,
    "out_axis": AXES,
    "batch_axis": AXES,
    "mode": st.sampled_from(["fan_in", "fan_out", "fan_avg", "fan_geo"]),
    "gain": NUMBERS,
    "a": NUMBERS,
    "nonlinearity": st.sampled_from(["relu", "leaky_relu", "tanh", "selu"]),
    "scale": NUMBERS,
    "distribution": st.sampled_from(["normal", "uniform", "truncated_normal"]),
    "truncated": st.booleans(),
    "low": NUMBERS,
    "high": NUMBERS,
    "mean": NUMBERS,
    "std": NUMBERS,
    "bounds": st.sampled_from(["absolute", "std"]),
    "value": NUMBERS,
    "endpoint": st.booleans(),
    "stream": st.one_of(st.integers(0, 2**64 - 1), st.text(max_size=5)),
    "bit_generator": st.sampled_from(["ars", "philox"]),
    "threads": st.integers(1, 5),
    "global_shape": st.lists(st.integers(0, 2**34), max_size=4),
    "offset": st.lists(st.integers(0, 2**34), max_size=4),
}
# What a message names: an argument. (`a` is one, but also an English word, unless a message begins with it.)
ARGUMENTS = re.compile(rf"^a\b|'a'|\b({'|'.join(['out', 'seed', *GOOD.keys() - {'a'}])})\b")
FIRST_DRAW = fastinit.normal(np.zeros(3), seed=1, stream=0).tobytes()  # after manual_seed(1)
OWN = {
    "uniform": ["low", "high"],
    "normal": ["mean", "std"],
    "truncated_normal": ["mean", "std", "low", "high", "bounds"],
    "constant": ["value"],
    "integers": ["low", "high", "endpoint"],
    "variance_scaling": ["scale", "mode", "distribution"],
}
SHARED = [*["stream", "bit_generator", "threads"] * 4, "global_shape", "offset"]
FANS = ["fan_in", "fan_out", "layout", "in_axis", "out_axis", "batch_axis", "mode", "gain", "a", "truncated"]


@st.composite
def arrays(draw: st.DrawFn, dtypes: list[np.dtype[Any]]) -> tuple[Array, Array]:
    """A view with any strides, of any dimensions up to four, and the memory that it is a part of."""
    dtype = draw(st.sampled_from(dtypes))
    wide = draw(st.lists(st.integers(0, 40), max_size=2)) + draw(st.lists(st.integers(1, 5), max_size=2))
    n = math.prod(wide) * dtype.itemsize
    skipped = draw(st.integers(0, 3))  # bytes, so that elements need not be aligned
    memory = np.full(n + skipped + 64, 0xA5, np.uint8) if not dtype.hasobject else np.zeros(1, np.uint8)
    whole = np.zeros(wide, dtype) if dtype.hasobject else memory[skipped : skipped + n].view(dtype).reshape(wide)
    cut: list[Any] = [...]  # a view also of an array without dimensions
    for _ in wide:
        step = draw(st.sampled_from([1, 1, 2, 3, -1]))
        cut.insert(-1, slice(draw(st.integers(0, 3)), None, step) if draw(st.booleans()) else slice(None))
    out = whole[tuple(cut)].transpose(draw(st.permutations(range(len(wide)))))
    if draw(st.integers(0, 19)) == 0:
        out = np.broadcast_to(out, (2, *out.shape))  # read-only, and it overlaps
    return out, memory


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, Array, Array, dict[str, Any]]:
    name = draw(st.sampled_from(FUNCTIONS))
    right = {"random_bits": WORDS, "integers": INTEGERS}.get(name, list(DTYPES.values()))
    out, memory = draw(arrays(right if draw(st.integers(0, 9)) else [*DTYPES.values(), *WORDS, *ODD_DTYPES]))
    arguments: dict[str, Any] = {"seed": draw(st.integers(0, 2**64 - 1))}
    if name in NAMED:
        fans = [
            {"layout": "torch"},
            {"layout": "keras"},
            {"in_axis": 0, "out_axis": -1},
            {"fan_in": 7, "fan_out": 9},
            {},
        ]
        arguments |= draw(st.sampled_from(fans))
    for argument in draw(
        st.lists(st.sampled_from(SHARED + OWN.get(name, []) * 8 + FANS * (name in NAMED)), max_size=3)
    ):
        arguments[argument] = draw(GOOD[argument])
    if draw(st.integers(0, 3)) == 0:  # a box that fits
        place = [draw(st.integers(0, 2**20)) for _ in out.shape]
        arguments["offset"] = place
        arguments["global_shape"] = [k + n + draw(st.integers(0, 9)) for k, n in zip(place, out.shape, strict=True)]
    if draw(st.integers(0, 4)) == 0:
        arguments[draw(st.sampled_from(["seed", *GOOD]))] = draw(JUNK)
    return name, out, memory, arguments


def as_bytes(out: Array) -> bytes:
    return np.array(out, copy=True, order="C", subok=False).tobytes()


@settings(max_examples=500, deadline=None)
@given(call=calls(), target=st.sampled_from(TARGETS))
def test_any_call(call: tuple[str, Array, Array, dict[str, Any]], target: str) -> None:
    name, out, memory, arguments = call
    before = memory.copy(), as_bytes(out)
    fastinit.manual_seed(1)
    _core.set_target(target)
    try:
        assert getattr(fastinit, name)(out, **arguments) is out
    except (TypeError, ValueError) as error:
        of_another_kind = type(error) not in (TypeError, ValueError) or not ARGUMENTS.search(str(error))
        if of_another_kind:
            raise
        assert np.array_equal(memory, before[0])
        assert as_bytes(out) == before[1]
        assert fastinit.normal(np.zeros(3)).tobytes() == FIRST_DRAW
        event("refused")
        return
    finally:
        _core.set_target(None)
    # The same values as in an array of its own; and beside them the memory is as it was.
    alone = np.zeros(out.shape, out.dtype)
    fastinit.manual_seed(1)
    getattr(fastinit, name)(alone, **arguments)
    assert as_bytes(out) == alone.tobytes()
    event("filled")
    out.view(f"V{out.itemsize}")[...] = np.full(out.itemsize, 0xA5, np.uint8).view(f"V{out.itemsize}")[0]
    assert np.array_equal(memory, before[0])
