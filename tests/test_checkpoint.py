"""Checkpoints: their bytes are those of seed, name and law; a file that is there is whole; strangers are not trusted.

Each section is a promise.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import itertools
import json
import math
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import fastinit
from conftest import library, not_sanitized, writing_calls
from fastinit import _core
from fastinit.__main__ import main
from fastinit._checkpoint import _compare, _config, _laws, _plan, _read, _safetensors, _sources, _values, _write
from fastinit._tools import checkpoint, verify
from fastinit.recipes import Initializer, computed, save, skip

DTYPES = {**_safetensors.FLOATS, **_safetensors.INTEGERS}
SHAPES = {
    "embed.weight": {"shape": [70, 33], "dtype": "bfloat16"},
    "layers.0.up.weight": {"shape": [41, 7, 3], "dtype": "float32"},
    "layers.1.up.weight": {"shape": [41, 7, 3], "dtype": "float32"},
    "layers.0.up.bias": {"shape": [41], "dtype": "float16"},
    "layers.1.up.bias": {"shape": [41], "dtype": "float16"},
    "norm.weight": [33],
    "wide.weight": {"shape": [5, 9], "dtype": "F64"},
    "expert.up.weight": {"shape": [37, 11], "dtype": "float8_e4m3fn"},
    "expert.down.weight": {"shape": [11, 37], "dtype": "F8_E5M2"},
    "scale": {"shape": [], "dtype": "F32"},
    "none.weight": {"shape": [0, 3], "dtype": "F32"},
    "packed": {"shape": [3, 5, 7], "dtype": "uint8"},
    "ids": {"shape": [13], "dtype": "int64"},
    "mask": {"shape": [19], "dtype": "bool"},
}


def wanted(shapes: dict[str, Any] = SHAPES) -> list[_laws.Wanted]:
    return [
        _laws.Wanted(name, _sources.as_dtype(entry["dtype"]), tuple(entry["shape"]))
        if isinstance(entry, dict)
        else _laws.Wanted(name, "F32", tuple(entry))
        for name, entry in shapes.items()
    ]


@pytest.fixture
def shapes_file(tmp_path: pathlib.Path) -> str:
    path = tmp_path / "shapes.json"
    path.write_text(json.dumps(SHAPES))
    return str(path)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 2) -> str:
    """The words of a command that is refused."""
    if status == 2:
        with pytest.raises(SystemExit) as stop:
            run(*arguments)
        assert stop.value.code == 2
    else:
        assert run(*arguments) == status
    captured = capsys.readouterr()
    assert not captured.out
    return captured.err.splitlines()[-1]


def data_of(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """The bytes of each tensor, read by other means than the code that is tested."""
    found = {}
    paths = sorted(pathlib.Path(path).glob("*.safetensors")) if os.path.isdir(path) else [pathlib.Path(path)]
    for file in paths:
        content = file.read_bytes()
        n = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + n])
        for name, entry in header.items():
            if name != "__metadata__":
                start, stop = entry["data_offsets"]
                found[name] = content[8 + n + start : 8 + n + stop]
    return found


def files_of(path: pathlib.Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


# --- the bytes are those of fastinit's functions with seed and name -------------------------------------------------


def made(name: str, dtype: str, shape: Sequence[int], law: Initializer, seed: int) -> bytes:
    kind = _safetensors.dtype_of(dtype)
    return law.fill(np.empty(shape, kind), seed=seed, stream=name).tobytes()  # type: ignore[no-any-return]


def test_bytes_by_default(shapes_file: str, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    assert run("checkpoint", "--shapes", shapes_file, "--out", out, "--seed", 5, "--quiet") == 0
    found = data_of(out)
    assert set(found) == set(SHAPES)
    for name, dtype, shape in wanted():
        if dtype in _safetensors.INTEGERS:
            continue
        law = Initializer("normal", std=0.02) if len(shape) > 1 else Initializer("ones")
        if name.endswith("bias"):
            law = Initializer("zeros")
        assert found[name] == made(name, dtype, shape, law, 5), name
    assert found["ids"] == fastinit.random_bits(np.empty(13, np.uint64), seed=5, stream="ids").tobytes()
    words = fastinit.random_bits(np.empty(27, np.uint32), seed=5, stream="packed")
    assert found["packed"] == words.tobytes()[:105]
    words = fastinit.random_bits(np.empty(5, np.uint32), seed=5, stream="mask")
    assert found["mask"] == (words.view(np.uint8)[:19] & 1).tobytes()
    assert len(set(found["mask"])) == 2


LAWS = [
    "normal(mean=-1, std=0.5)",
    "uniform(low=-1e-3, high=1e-3)",
    "truncated_normal(std=0.02, low=-inf, high=1)",
    "he_normal(layout='torch', truncated=True)",
    "xavier_uniform(in_axis=(0, 1), out_axis=-1)",
    "orthogonal(gain=2.0, layout='torch')",
    "dirac(layout='torch')",
    "constant(value=0.25)",
    "zeros",
]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("dtype", _safetensors.FLOATS)
def test_laws(law: str, dtype: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In stripes that cut rows and tensors anywhere."""
    monkeypatch.setattr(_write, "STRIPE", 136)
    monkeypatch.setattr(_compare, "SLAB", 88)
    file, out = tmp_path / "shapes.json", tmp_path / "out"
    file.write_text(json.dumps({name: {"shape": [5, 3, 7], "dtype": dtype} for name in ("a", "b.c")}))
    assert run("checkpoint", "--shapes", file, "--out", out, "--law", law, "--bit-generator", "philox", "--quiet") == 0
    found = data_of(out)
    function = law.partition("(")[0]
    arguments = eval(f"dict{law.removeprefix(function)}" if "(" in law else "{}", {"inf": math.inf, "dict": dict})
    kind = _safetensors.dtype_of(dtype)
    for name in ("a", "b.c"):
        expected = getattr(fastinit, function)(
            np.empty((5, 3, 7), kind), **arguments, seed=0, stream=name, bit_generator="philox"
        )
        assert found[name] == expected.tobytes()
    assert run("verify", out, "--quiet") == 0


@pytest.mark.parametrize("law", ["orthogonal(layout='torch')", "sparse(sparsity=0.5)"])
def test_what_is_made_whole_is_made_once(law: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since a box of it costs as much."""
    monkeypatch.setattr(_write, "STRIPE", 136)
    fill, filled = Initializer.fill, []

    def counted(self: Initializer, out: Any, **given: Any) -> Any:
        filled.extend([given["stream"]] * (np.size(out) > 0))  # which checks have none of
        return fill(self, out, **given)

    monkeypatch.setattr(Initializer, "fill", counted)
    (tmp_path / "shapes.json").write_text('{"a": [20, 30], "b": [30, 20]}')
    out = tmp_path / "a.safetensors"
    assert run("checkpoint", "--shapes", tmp_path / "shapes.json", "--law", law, "--out", out, "--quiet") == 0
    assert filled == ["a", "b"]
    initializer = _laws.parse(law)
    assert isinstance(initializer, Initializer)
    assert data_of(out) == {
        "a": made("a", "F32", (20, 30), initializer, 0),
        "b": made("b", "F32", (30, 20), initializer, 0),
    }


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_neither_threads_nor_files_nor_stripes_matter(
    threads: int, shapes_file: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, many_threads: None
) -> None:
    whole = tmp_path / "whole.safetensors"
    assert run("checkpoint", "--shapes", shapes_file, "--out", whole, "--quiet", "--threads", 1) == 0
    monkeypatch.setattr(_write, "STRIPE", 1000 * threads // 8 * 8)
    out = tmp_path / "out"
    more = ["--quiet", "--threads", threads, "--shard-size", "2KB"]
    assert run("checkpoint", "--shapes", shapes_file, "--out", out, *more) == 0
    assert len(list(out.glob("*.safetensors"))) > 3
    assert data_of(out) == data_of(whole)


def test_targets(target: str, shapes_file: str, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out.safetensors"
    assert run("checkpoint", "--shapes", shapes_file, "--out", out, "--seed", 2**64 - 1, "--quiet") == 0
    found = data_of(out)
    _core.set_target("portable")
    assert run("checkpoint", "--shapes", shapes_file, "--out", tmp_path / "p.safetensors", "--seed", 2**64 - 1) == 0
    assert (tmp_path / "p.safetensors").read_bytes() == out.read_bytes()
    assert len(found) == len(SHAPES)


@given(st.lists(st.integers(1, 5), max_size=5), st.data())
def test_boxes_are_the_range_in_order(shape: list[int], data: st.DataObject) -> None:
    n = math.prod(shape)
    first = data.draw(st.integers(0, n - 1))
    last = data.draw(st.integers(first + 1, n))
    indices = np.arange(n).reshape(shape)
    found = [
        index
        for offset, box in _values.boxes(shape, first, last)
        for index in indices[tuple(slice(at, at + size) for at, size in zip(offset, box, strict=True))].flat
    ]
    assert found == list(range(first, last))
    assert sum(1 for _ in _values.boxes(shape, first, last)) <= max(1, 2 * len(shape) - 1)


def test_elements_beyond_two_to_the_32() -> None:
    """Of a tensor that no test could hold: a range of its bytes is a box of it."""
    shape = (2**17, 2**16 + 1)
    n = math.prod(shape)
    tensor = _safetensors.Tensor("w", "BF16", shape, 0, 2 * n)
    values = _values.Values({"w": Initializer("normal", std=0.02)}, 7)
    out = np.empty(400, np.uint8)
    values.fill(out, tensor, 2 * (n - 200), 2 * n)
    row = fastinit.normal(
        np.empty((1, 200), ml_dtypes.bfloat16),
        std=0.02,
        seed=7,
        stream="w",
        global_shape=shape,
        offset=(shape[0] - 1, shape[1] - 200),
    )
    assert out.tobytes() == row.tobytes()


def test_pieces() -> None:
    """Of tensors with bytes and without."""
    ends = [0, 3, 3, 8, 8, 10, 10]
    tensors = [
        _safetensors.Tensor(str(i), "U8", (b - a,), a, b) for i, (a, b) in enumerate(itertools.pairwise([0, *ends]))
    ]
    for start, stop in itertools.combinations(range(11), 2):
        found = {
            byte: tensor.name
            for tensor, first, last in _values.pieces(tensors, start, stop)
            for byte in range(tensor.start + first, tensor.start + last)
        }
        assert found == {byte: "1" if byte < 3 else "3" if byte < 8 else "5" for byte in range(start, stop)}


# --- laws, recipes and shapes are what was said, or refused by name -------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "normal(",
        "normal(0.02)",
        "normal(std=0.02, std=0.02)",
        "normal(**{})",
        "normal(std=__import__('os').getpid())",
        "os.getpid()",
        "normal(std=x)",
        "normal(std=-'a')",
        "lambda: 0",
        "normal\0",
        "(" * 500,
        "normal(std=" + "9" * 2000 + ")",
        "random_bits(x=1)",
        "eval(x='1')",
        "empty(shape=3)",
        "normal(out=3)",
        "normal(std=-1)",
    ],
)
def test_what_is_no_law(text: str) -> None:
    with pytest.raises(ValueError, match=r"law|function|normal"):
        _laws.parse(text)


@pytest.mark.parametrize("law", LAWS)
def test_laws_as_text(law: str) -> None:
    parsed = _laws.parse(law)
    assert _laws.as_recipe({"a": parsed}) == [("a", _laws._text(parsed))]
    assert _laws.parse(_laws._text(parsed)) == parsed


def test_the_first_pattern_wins() -> None:
    pairs = [("a.*", "1"), ("b[0]", "2"), ("*", "3"), ("a.x", "4"), ("b0", "5")]
    assert _laws.first_matches(pairs, ["a.x", "b[0]", "b0", "c"]) == {"a.x": "1", "b[0]": "2", "b0": "3", "c": "3"}
    assert _laws.first_matches([("b0", "1"), *pairs], ["b0"]) == {"b0": "1"}
    assert _laws.first_matches(pairs, ["b0"]) == {"b0": "2"}  # as fnmatch reads it, where no name is spelt so


@given(
    st.dictionaries(
        st.lists(st.text("ab*?[]!", max_size=3) | st.sampled_from("0123"), min_size=1, max_size=4).map(".".join),
        st.sampled_from(["zeros()", "ones()", "random_bits()"]),
        max_size=12,
    )
)
def test_a_file_says_of_each_name_what_it_got(texts: dict[str, str]) -> None:
    """In few patterns, whatever the names are."""
    said = _laws.as_recipe({name: _laws.parse(text) for name, text in texts.items()})
    assert _laws.first_matches(said, texts) == texts


def test_a_recipe_of_a_file_and_of_a_name(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes: dict[str, Any] = {f"layers.{i}.self_attn.{part}_proj.weight": [8, 8] for i in range(2) for part in "qkvo"}
    for i in range(2):
        shapes |= {f"layers.{i}.mlp.{part}_proj.weight": [9, 8] for part in ("gate", "up")}
        shapes |= {f"layers.{i}.mlp.down_proj.weight": [8, 9]}
        shapes |= {f"layers.{i}.{part}_layernorm.weight": [8] for part in ("input", "post_attention")}
    shapes |= {"embed_tokens.weight": [100, 8], "norm.weight": [8]}
    file, recipe, out = tmp_path / "shapes.json", tmp_path / "recipe.json", tmp_path / "out"
    file.write_text(json.dumps(shapes))
    save({"*norm.weight": Initializer("ones"), "*": Initializer("uniform", low=-1, high=1)}, recipe)
    assert run("checkpoint", "--shapes", file, "--out", out, "--recipe", recipe, "--quiet") == 0
    assert run("verify", out, "--recipe", recipe, "--quiet") == 0
    assert run("verify", out, "--quiet") == 0
    assert run("verify", out, "--recipe", "llama", "--quiet") == 1
    assert run("checkpoint", "--shapes", file, "--out", tmp_path / "llama", "--recipe", "llama", "--quiet") == 0
    law = Initializer("normal", std=0.02)
    assert data_of(tmp_path / "llama")["embed_tokens.weight"] == made("embed_tokens.weight", "F32", (100, 8), law, 0)
    text = _read.read_checkpoint(str(tmp_path / "llama")).files[0].metadata["fastinit"]
    assert json.loads(text)["recipe"][0] == ["layers.*.self_attn.q_proj.weight", "normal(std=0.02)"]
    save({"*norm.weight": skip, "*": law}, recipe)
    assert "'layers.0.input_layernorm.weight'" in refused(
        capsys, "checkpoint", "--shapes", file, "--out", out, "--recipe", recipe
    )
    assert "gpt2" in refused(capsys, "checkpoint", "--shapes", file, "--out", tmp_path / "x", "--recipe", "gpt2")
    assert "no.json" in refused(
        capsys, "checkpoint", "--shapes", file, "--out", tmp_path / "x", "--recipe", "no.json", status=1
    )
    assert not (tmp_path / "x").exists()


def test_integers(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Constants are theirs, too; a law that draws floats leaves them random bits."""
    file = tmp_path / "shapes.json"
    for i, (dtype, law, expected) in enumerate(
        [("int8", "constant(value=-3)", b"\xfd"), ("bool", "ones", b"\1"), ("U16", "constant(value=300.0)", b"\x2c\1")]
    ):
        file.write_text(json.dumps({"a": {"shape": [5], "dtype": dtype}}))
        out = tmp_path / f"{i}.safetensors"
        assert run("checkpoint", "--shapes", file, "--out", out, "--law", law, "--quiet") == 0
        assert data_of(out) == {"a": expected * 5}
        assert run("verify", out, "--quiet") == 0
    for dtype, value in [("uint8", 256), ("uint8", -1), ("int32", 0.5), ("bool", 2)]:
        file.write_text(json.dumps({"a": {"shape": [5], "dtype": dtype}}))
        words = refused(
            capsys, "checkpoint", "--shapes", file, "--out", tmp_path / "x", "--law", f"constant(value={value})"
        )
        assert "'a'" in words
        assert dtype in words
    file.write_text(
        json.dumps({"a": {"shape": [5], "dtype": "int8"}, "num_batches_tracked": {"shape": [], "dtype": "I64"}})
    )
    out = tmp_path / "bits.safetensors"
    assert run("checkpoint", "--shapes", file, "--out", out, "--quiet") == 0
    assert data_of(out)["num_batches_tracked"] == bytes(8)
    assert len(set(data_of(out)["a"])) > 1


def test_the_integer_law(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "shapes.json", tmp_path / "out.safetensors"
    command = ["checkpoint", "--shapes", file, "--law", "integers(low=-7, high=8)", "--out"]
    file.write_text(json.dumps({"a": {"shape": [300], "dtype": "I8"}, "b": {"shape": [7, 5], "dtype": "I32"}}))
    assert run(*command, out, "--seed", 3, "--quiet") == 0
    for name, kind, shape in (("a", np.int8, (300,)), ("b", np.int32, (7, 5))):
        expected = fastinit.integers(np.empty(shape, kind), -7, 8, seed=3, stream=name)
        assert data_of(out)[name] == expected.tobytes()
    assert run("verify", out, "--quiet") == 0
    change(out, "a", 8, np.int8, 100)
    assert run("verify", out, "--quiet") == 1
    for dtype in ("U8", "I64", "F32", "BOOL"):
        file.write_text(json.dumps({"a": {"shape": [3], "dtype": dtype}}))
        assert "tensor 'a'" in refused(capsys, *command, tmp_path / "x")


# Names, dtypes and shapes as published: of 128 x 128 blocks in float8, a scale for each, which weights are multiplied
# by; and of int8, a scale for each row.
FLOAT8 = {
    "model.embed_tokens.weight": ("BF16", (64, 256)),
    "model.layers.0.input_layernorm.weight": ("BF16", (256,)),
    "model.layers.0.self_attn.q_a_proj.weight": ("F8_E4M3", (192, 256)),
    "model.layers.0.self_attn.q_a_proj.weight_scale_inv": ("F32", (2, 2)),
    "model.layers.0.mlp.experts.0.up_proj.weight": ("F8_E4M3", (130, 256)),
    "model.layers.0.mlp.experts.0.up_proj.weight_scale_inv": ("F32", (2, 2)),
    "model.layers.0.mlp.gate.e_score_correction_bias": ("F32", (8,)),
}
INT8 = {
    "model.layers.0.input_layernorm.weight": ("BF16", (64,)),
    "model.layers.0.self_attn.q_proj.weight": ("I8", (48, 64)),
    "model.layers.0.self_attn.q_proj.weight_scale": ("F32", (48, 1)),
    "model.layers.0.mlp.up_proj.weight": ("I8", (32, 64)),
    "model.layers.0.mlp.up_proj.weight_scale": ("BF16", (32, 1)),
    "lm_head.weight": ("BF16", (16, 64)),
}


def quantised(tensors: dict[str, tuple[str, tuple[int, ...]]], path: pathlib.Path) -> dict[str, NDArray[Any]]:
    """A checkpoint like one of which the header alone is there, by the recipes of docs/checkpoints.md."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + _safetensors.n_bytes(name, dtype, shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    file_of(path / "like.safetensors", json.dumps(header), b"")
    text = (pathlib.Path(__file__).parent.parent / "docs" / "checkpoints.md").read_text()
    code = re.findall(r"```python\n(from fastinit.recipes .*?)```", text, re.S)[0]
    recipes: dict[str, Any] = {}
    exec(code, recipes)
    recipe = path / "recipe.json"
    save(recipes["int8" if tensors is INT8 else "float8"], recipe)
    command = ["checkpoint", "--like", path / "like.safetensors", "--seed", 1, "--quiet", "--out"]
    assert run(*command, path / "plain") == 0
    assert run(*command, path / "out", "--recipe", recipe) == 0
    assert run("verify", path / "out", "--quiet") == 0
    plain, data = data_of(path / "plain"), data_of(path / "out")
    for name, (dtype, shape) in tensors.items():
        if "scale" in name:
            values = np.frombuffer(plain[name], _safetensors.dtype_of(dtype))
            assert (values == 1).all()
            assert values.size == math.prod(shape)
    return {
        name: np.frombuffer(data[name], _safetensors.dtype_of(dtype)).astype(np.float64).reshape(shape)
        for name, (dtype, shape) in tensors.items()
    }


def test_like_a_float8_model(tmp_path: pathlib.Path) -> None:
    found = quantised(FLOAT8, tmp_path)
    for name in ("self_attn.q_a_proj", "mlp.experts.0.up_proj"):
        weight, scale = (found[f"model.layers.0.{name}.{last}"] for last in ("weight", "weight_scale_inv"))
        assert (scale == 2.0**-12).all()
        scales = np.repeat(np.repeat(scale, 128, 0), 128, 1)[: weight.shape[0], : weight.shape[1]]
        assert (weight * scales).std() == pytest.approx(2.0**-6, rel=6 / math.sqrt(2 * weight.size) + 2.0**-6)
    wanted = fastinit.normal(
        np.empty((192, 256), np.float32), std=64.0, seed=1, stream="model.layers.0.self_attn.q_a_proj.weight"
    )
    wanted = wanted.astype(ml_dtypes.float8_e4m3fn).astype(np.float64)
    assert np.array_equal(found["model.layers.0.self_attn.q_a_proj.weight"], wanted)
    assert (found["model.layers.0.input_layernorm.weight"] == 1).all()
    assert (found["model.layers.0.mlp.gate.e_score_correction_bias"] == 0).all()


def test_like_an_int8_model(tmp_path: pathlib.Path) -> None:
    found = quantised(INT8, tmp_path)
    for name in ("self_attn.q_proj", "mlp.up_proj"):
        weight, scale = (found[f"model.layers.0.{name}.{last}"] for last in ("weight", "weight_scale"))
        assert (weight.min(), weight.max()) == (-127, 127)
        assert (weight * scale).std() == pytest.approx(0.02, rel=6 / math.sqrt(2 * weight.size) + 2.0**-7)
    wanted = fastinit.integers(
        np.empty((48, 64), np.int8), -127, 128, seed=1, stream="model.layers.0.self_attn.q_proj.weight"
    )
    assert np.array_equal(found["model.layers.0.self_attn.q_proj.weight"], wanted)


def test_bits_are_not_for_floats(shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = refused(capsys, "checkpoint", "--shapes", shapes_file, "--out", tmp_path / "x", "--law", "random_bits")
    assert "'embed.weight'" in words


def test_small_floats_are_refused_by_name(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "shapes.json", tmp_path / "out"
    file.write_text(json.dumps({"a": {"shape": [5, 5], "dtype": "F8_E8M0"}, "b": {"shape": [2], "dtype": "F4"}}))
    words = refused(capsys, "checkpoint", "--shapes", file, "--out", out)
    assert "'a' (F8_E8M0), 'b' (F4)" in words
    assert not out.exists()
    assert run("checkpoint", "--shapes", file, "--out", out, "--dtype", "bfloat16", "--quiet") == 0
    assert data_of(out)["a"] == made("a", "BF16", (5, 5), Initializer("normal", std=0.02), 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "object"),
        ("{}", "a tensor at least"),
        ('{"a": [1], "a": [1]}', "'a' twice"),
        ('{"__metadata__": [1]}', "__metadata__"),
        ('{"a": [-1]}', "[-1]"),
        ('{"a": [true]}', "[True]"),
        ('{"a": 3}', "3"),
        ('{"a": {"shape": [1], "dtype": "float12"}}', "float12"),
        ('{"a": {"shape": [1], "dtype": ["F32"]}}', "dtype"),
        ('{"a": {"shape": [1], "type": "F32"}}', "shape"),
        ('{"a": [4611686018427387904, 4]}', "longer than any file"),
        ('{"a": [4611686018427387904, 4, 0]}', "longer than any file"),
        ('{"a": {"shape": [3], "dtype": "F4"}}', "whole number of bytes"),
        ('{"\\ud800": [1]}', "UTF-8"),
    ],
)
def test_shapes_that_are_refused(
    text: str, words: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "shapes.json"
    file.write_text(text)
    assert words in refused(capsys, "checkpoint", "--shapes", file, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--seed", "-1"], "seed"),
        (["--threads", "0"], "threads"),
        (["--dtype", "float12"], "float12"),
        (["--shard-size", "5 apples"], "5 apples"),
        (["--shard-size", "0"], "'0'"),
        (["--law", "he_normal"], "layout"),
        (["--law", "identity"], "'layers.0.up.weight'"),
        (["--law", "zeros", "--recipe", "llama"], "not allowed"),
    ],
)
def test_arguments_that_are_refused(
    more: list[str], words: str, shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, "checkpoint", "--shapes", shapes_file, "--out", tmp_path / "x", *more)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("text", "n"),
    [("5GB", 5 * 10**9), ("512MiB", 2**29), ("1000", 1000), ("3 kb", 3000), ("2T", 2 * 10**12), ("7B", 7)],
)
def test_sizes(text: str, n: int) -> None:
    assert _plan.bytes_of(text) == n


def test_a_size_with_a_file(shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.safetensors"
    assert "--shard-size" in refused(capsys, "checkpoint", "--shapes", shapes_file, "--out", out, "--shard-size", "1GB")


def test_other_byte_orders(
    shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "byteorder", "big")
    assert "little-endian" in refused(capsys, "checkpoint", "--shapes", shapes_file, "--out", tmp_path / "x")


# --- like another checkpoint, of which only the headers are needed --------------------------------------------------


def test_like(shapes_file: str, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    assert run("checkpoint", "--shapes", shapes_file, "--out", out, "--shard-size", "2KB", "--quiet") == 0
    cut = tmp_path / "cut"  # what one fetches of a checkpoint that is larger than the disk
    cut.mkdir()
    for file in out.iterdir():
        content = file.read_bytes()
        n = 8 + int.from_bytes(content[:8], "little")
        (cut / file.name).write_bytes(content[: n + 10] if file.suffix == ".safetensors" else content)
    for i, source in enumerate([out, out / "model.safetensors.index.json", cut]):
        again = tmp_path / f"{i}"
        assert run("checkpoint", "--like", source, "--out", again, "--shard-size", "2KB", "--quiet") == 0
        assert data_of(again) == data_of(out)
    assert run("verify", tmp_path / "2", "--quiet") == 0


def test_another_dtype(shapes_file: str, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out.safetensors"
    assert run("checkpoint", "--shapes", shapes_file, "--out", out, "--dtype", "float16", "--quiet") == 0
    found = {tensor.name: tensor.dtype for tensor in _safetensors.read(out).tensors}
    assert {name: dtype for name, dtype in found.items() if dtype != "F16"} == {
        "packed": "U8",
        "ids": "I64",
        "mask": "BOOL",
    }
    assert data_of(out)["embed.weight"] == made("embed.weight", "F16", (70, 33), Initializer("normal", std=0.02), 0)


# --- what strangers wrote is refused with a word, and nothing outside of the folder is read -------------------------

ONE = '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'


def file_of(path: pathlib.Path, header: str | bytes, data: bytes = bytes(8), length: int | None = None) -> str:
    text = header.encode() if isinstance(header, str) else header
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return str(path)


def two(a: list[int], b: list[int]) -> str:
    entries = {
        name: {"dtype": "U8", "shape": [offsets[1] - offsets[0]], "data_offsets": offsets}
        for name, offsets in (("a", a), ("b", b))
    }
    return json.dumps(entries)


def test_a_file_is_read(tmp_path: pathlib.Path) -> None:
    found = _safetensors.read(file_of(tmp_path / "a.safetensors", ONE + "   "))
    assert found.tensors == (_safetensors.Tensor("a", "F32", (2,), 0, 8),)
    assert found.metadata == {}
    file_of(tmp_path / "a.safetensors", two([4, 8], [0, 4]))
    assert [tensor.name for tensor in _safetensors.read(tmp_path / "a.safetensors").tensors] == ["b", "a"]
    empty = '{"__metadata__": {"x": "y"}}'
    assert _safetensors.read(file_of(tmp_path / "a.safetensors", empty, b"")).metadata == {"x": "y"}


HEADERS = {
    "no JSON": "{",
    "a list": "[]",
    "a space first": " " + ONE,
    "no UTF-8": b'{"\xff": 0}',
    "a name twice": ONE[:-1] + "," + ONE[1:],
    "a key twice": '{"a": {"dtype": "F32", "dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}',
    "nested deeply": '{"a":' * 20_000,
    "a long number": ONE.replace("[0, 8]", f"[0, {'8' * 5000}]"),
    "a large number": ONE.replace("[2]", f"[{'8' * 4000}, {'8' * 4000}]"),
    "a surrogate": ONE.replace('"a"', '"\\ud800"'),
    "an unknown dtype": ONE.replace("F32", "F33"),
    "a dtype that is none": ONE.replace('"F32"', "[]"),
    "a negative dimension": ONE.replace("[2]", "[-2]"),
    "a fraction": ONE.replace("[2]", "[2.0]"),
    "a bool": ONE.replace("[2]", "[true, 2]"),
    "no list": ONE.replace("[2]", "2"),
    "three offsets": ONE.replace("[0, 8]", "[0, 8, 8]"),
    "offsets the other way": ONE.replace("[0, 8]", "[8, 0]"),
    "negative offsets": ONE.replace("[0, 8]", "[-8, 0]"),
    "offsets of another length": ONE.replace("[0, 8]", "[0, 7]"),
    "a key more": ONE.replace('"dtype"', '"x": 0, "dtype"'),
    "no shape": '{"a": {"dtype": "F32", "data_offsets": [0, 8]}}',
    "an entry that is none": '{"a": 3}',
    "offsets for less": ONE.replace("[2]", "[3]"),
    "offsets for more": ONE.replace("[2]", "[1]"),
    "half a byte": '{"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}}',
    "a gap": two([0, 3], [4, 8]),
    "a gap before": two([1, 4], [4, 8]),
    "an overlap": two([0, 5], [4, 8]),
    "twice the same": two([0, 8], [0, 8]),
    "too short": two([0, 3], [3, 7]),
    "too long": two([0, 3], [3, 9]),
    "metadata that is no object": '{"__metadata__": 3}',
    "metadata that is no text": '{"__metadata__": {"a": 3}}',
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS.keys())
def test_headers_that_are_refused(
    header: str | bytes, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file_of(tmp_path / "a.safetensors", header)
    for arguments in (["diff", path, path], ["verify", path]):
        assert path in refused(capsys, *arguments)
    if header != HEADERS["too long"]:  # of which the data may be elsewhere
        assert path in refused(capsys, "checkpoint", "--like", path, "--out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("length", [0, 1, 63, 2**32, 2**63, 2**64 - 1])
def test_lengths_that_are_refused(length: int, tmp_path: pathlib.Path) -> None:
    path = file_of(tmp_path / "a.safetensors", ONE, b"", length)
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        _safetensors.read(path)


def test_a_header_of_more_than_the_format_allows(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write((100_000_001).to_bytes(8, "little"))
        file.truncate(200_000_000)
    with pytest.raises(ValueError, match="100000000"):
        _safetensors.read(path)
    with pytest.raises(ValueError, match="100000000"):
        _safetensors.made([_safetensors.Tensor("a" * 100_000_001, "U8", (0,), 0, 0)], {})


@pytest.mark.parametrize("content", [b"", b"\0", bytes(7), bytes(8)])
def test_files_of_nothing(content: bytes, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.safetensors"):
        _safetensors.read(path)


@settings(max_examples=200)
@given(st.binary(max_size=120), st.integers(0, 60))
def test_any_bytes_are_read_or_refused(content: bytes, length: int) -> None:
    for text in (content, length.to_bytes(8, "little") + content, length.to_bytes(8, "little") + b"{" + content):
        with contextlib.suppress(ValueError):
            _safetensors._entries(_safetensors.parsed(text, "it"))


def test_names_that_a_terminal_would_obey(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = file_of(tmp_path / "a.safetensors", ONE.replace('"a"', '"\\u001b[2J"'))
    b = file_of(tmp_path / "b.safetensors", ONE.replace('"a"', '"\\u001b[2J"'), b"x" * 8)
    c = file_of(tmp_path / "c.safetensors", ONE.replace('"a"', '"\\u001b]0;x"'))
    assert run("diff", a, b) == 1
    assert run("diff", a, c) == 1
    assert run("verify", b, "--seed", 0, "--law", "zeros") == 1
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out
    assert captured.out.count("'\\x1b[2J'") == 3
    refused_words = refused(capsys, "verify", index(tmp_path, {"a": "\x1b.safetensors"}), "--seed", 0, "--law", "zeros")
    assert "\x1b" not in refused_words


def test_names_of_files_that_a_terminal_would_obey(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In any error."""
    file_of(tmp_path / "\x1b[2J.safetensors", "{")
    for path in (tmp_path, index(tmp_path, {"a": "\x1b[2J.safetensors"})):
        words = refused(capsys, "verify", path, "--seed", 0, "--law", "zeros")
        assert "/\\x1b[2J.safetensors: the header is not JSON" in words
    (tmp_path / "model.safetensors.index.json").unlink()
    file_of(tmp_path / "\x1b[3J.safetensors", "{")
    words = refused(capsys, "verify", tmp_path)
    assert "\\x1b[3J.safetensors: name one" in words
    assert "\x1b" not in words


def test_names_that_standard_output_cannot_encode(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shapes.json").write_text('{"\\u65e5.weight": [3, 4]}')
    out = tmp_path / "\u65e5"
    for arguments in (["checkpoint", "--shapes", tmp_path / "shapes.json", "--out", out], ["verify", out, "--verbose"]):
        output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdout", output)
        assert run(*arguments) == 0
        assert rb"\u65e5" in output.buffer.getvalue()


def test_a_pipe_is_no_file(tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="must be a file"):
        _safetensors.read(tmp_path / "a.safetensors")


def index(folder: pathlib.Path, weight_map: object) -> str:
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": weight_map}))
    return str(path)


@pytest.mark.parametrize(
    "name",
    ["../a.safetensors", "/etc/passwd", "b/../../a.safetensors", "..", ".", "", "b\\a.safetensors", "C:a", "a\0", 3],
)
def test_an_index_names_files_beside_it(name: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file_of(tmp_path / "a.safetensors", ONE)
    (tmp_path / "in" / "b").mkdir(parents=True)
    path = index(tmp_path / "in", {"a": name})
    for arguments in (["diff", path, path], ["checkpoint", "--like", path, "--out", tmp_path / "x"]):
        assert "weight_map" in refused(capsys, *arguments)
    assert not (tmp_path / "x").exists()


def test_an_index_and_its_files_agree(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file_of(tmp_path / "a.safetensors", ONE)
    file_of(tmp_path / "b.safetensors", ONE.replace('"a"', '"b"'))
    good = index(tmp_path, {"a": "a.safetensors", "b": "b.safetensors"})
    assert list(_read.read_checkpoint(good).tensors) == ["a", "b"]
    for weight_map, words in [
        ({"a": "b.safetensors", "b": "a.safetensors"}, "agree"),
        ({"a": "a.safetensors", "c": "b.safetensors"}, "'b', 'c'"),
        ({"a": "a.safetensors", "b": "a.safetensors"}, "'b'"),
        ({"a": "c.safetensors"}, "c.safetensors"),
        ({}, "weight_map"),
        ([], "weight_map"),
    ]:
        assert words in refused(capsys, "diff", index(tmp_path, weight_map), good)
    file_of(tmp_path / "b.safetensors", ONE)
    assert "two of its files" in refused(
        capsys, "verify", index(tmp_path, {"a": "a.safetensors", "b": "b.safetensors"})
    )
    os.truncate(tmp_path / "model.safetensors.index.json", 100_000_001)
    assert "100000000" in refused(capsys, "verify", tmp_path)


def test_folders(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "none" in refused(capsys, "verify", tmp_path)
    file_of(tmp_path / "a.safetensors", ONE)
    assert list(_read.read_checkpoint(str(tmp_path)).tensors) == ["a"]
    file_of(tmp_path / "b.safetensors", ONE)
    assert "a.safetensors, b.safetensors: name one" in refused(capsys, "verify", tmp_path)
    assert "missing" in refused(capsys, "verify", tmp_path / "missing")
    index(tmp_path, {"a": "a.safetensors"})  # transformers would load model.safetensors, if there were one
    for command in (["verify", tmp_path], ["diff", tmp_path, tmp_path], ["checkpoint", "--like", tmp_path]):
        more = ["--out", tmp_path / "x"] if "--like" in command else []
        assert "b.safetensors: name one" in refused(capsys, *command, *more)
    os.remove(tmp_path / "b.safetensors")
    assert list(_read.read_checkpoint(str(tmp_path)).tensors) == ["a"]


def test_a_folder_is_no_file(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor is a link to one, which could lead anywhere."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.safetensors").symlink_to(tmp_path)
    file_of(tmp_path / "b.safetensors", ONE)
    assert "a.safetensors must be a file" in refused(capsys, "verify", tmp_path / "in", "--seed", 0, "--law", "zeros")


def test_a_file_that_becomes_shorter(tmp_path: pathlib.Path) -> None:
    found = _safetensors.read(file_of(tmp_path / "a.safetensors", ONE))
    os.truncate(found.path, found.begin + 5)
    with pytest.raises(ValueError, match="shorter"):
        _read.Reader().range(found, 0, 8)


# --- what has its name is whole, and a run that was stopped goes on to the same bytes -------------------------------

CALLS = ("open", "pwrite", "ftruncate", "fsync", "rename", "close")


def killed_at(call: int, plan: _plan.Plan, folder: pathlib.Path, *, resume: bool) -> bool:
    """Write in a child that kills itself at one of its calls of the system, in the middle of it; whether it did."""
    child = os.fork()
    if child == 0:
        made = 0

        def dying(function: Any) -> Any:
            def run(*arguments: Any) -> Any:
                nonlocal made
                made += 1
                if made == call:
                    if function.__name__ == "pwrite":
                        function(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2], arguments[2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments)

            return run

        try:
            for name in CALLS:
                setattr(os, name, dying(getattr(os, name)))
            _write.write(plan, str(folder), resume=resume)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> _plan.Plan:
    """A plan of some files, written in stripes of 2 kB."""
    monkeypatch.setattr(_write, "STRIPE", 2048)
    values = _values.Values(_laws.assigned(wanted()), 3)
    return _plan.plan(wanted(), values, shard_bytes=6000)


@not_sanitized
def test_kills_at_every_call(small: _plan.Plan, tmp_path: pathlib.Path) -> None:
    _write.write(small, str(tmp_path / "whole"))
    whole = files_of(tmp_path / "whole")
    assert len(whole) > 3
    for call in range(1, 1000):
        folder = tmp_path / str(call)
        if not killed_at(call, small, folder, resume=False):
            break
        there = files_of(folder)
        for name, content in there.items():
            assert name.startswith(".") or content == whole[name]
        assert ("model.safetensors.index.json" not in there) or set(there) == set(whole)
        killed_at(1 + call // 3, small, folder, resume=True)  # and once more
        _write.write(small, str(folder), resume=True)
        assert files_of(folder) == whole
    assert call > 30


def test_bytes_are_on_the_disk_before_a_file_has_its_name(
    small: _plan.Plan, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the name is, before the index says that there is such a file."""
    calls = writing_calls(monkeypatch)
    _write.write(small, str(tmp_path))
    files = " ".join(calls).replace("pwrite ", "").removesuffix(" fsync of the folder").split(" fsync of the folder ")
    assert files == ["fsync rename"] * (len(small.shards) + 1)


KILLED = """
import sys
from fastinit.__main__ import main
from fastinit._checkpoint import _write

write = _write.write

def told(*arguments, **more):
    print(flush=True)
    return write(*arguments, **more)

_write.write = told
sys.exit(main(sys.argv[1:]))
"""


def kill_and_resume(folder: pathlib.Path, n: int, size: int) -> None:
    """A command that is killed at random moments of its writing, and goes on, again and again, until it was n times."""
    (folder / "shapes.json").write_text(json.dumps({f"{i}.weight": [size // 32, 8] for i in range(12)}))
    command = ["checkpoint", "--shapes", str(folder / "shapes.json"), "--shard-size", str(size), "--quiet"]
    begin = time.monotonic()
    assert run(*command, "--out", folder / "whole") == 0
    whole_s = time.monotonic() - begin
    whole = files_of(folder / "whole")
    out = folder / "out"
    moments = np.random.default_rng(1)
    kills = stopped = 0
    for _ in range(2 * n):
        for more in ([], ["--resume"]):
            words = [sys.executable, "-c", KILLED, *command, "--out", str(out), *more]
            with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()  # it begins to write
                time.sleep(moments.random() * whole_s / (2 if more else 1))
                process.kill()
                kills += process.wait(60) == -signal.SIGKILL
            there = files_of(out) if out.exists() else {}
            for name, content in there.items():
                assert name.startswith(".") or content == whole[name]
            stopped += set(there) != set(whole)
        assert run(*command, "--out", out, "--resume") == 0
        assert files_of(out) == whole
        shutil.rmtree(out)
        if kills >= n:
            break
    assert kills >= n
    assert stopped > 0  # in the middle


def test_kills_at_any_time(tmp_path: pathlib.Path) -> None:
    kill_and_resume(tmp_path, 10, 2**22)


@pytest.mark.large
def test_a_hundred_kills(tmp_path: pathlib.Path) -> None:
    kill_and_resume(tmp_path, 100, 2**25)


def test_resume_keeps_what_is_whole(
    shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["checkpoint", "--shapes", shapes_file, "--out", out, "--shard-size", "4KB"]
    assert run(*command) == 0
    files = {file.name: file.stat().st_ino for file in out.glob("*.safetensors")}
    victim = sorted(files)[1]
    (out / victim).unlink()
    (out / f".{victim}.part").write_bytes(b"x" * 1_000_000)
    (out / "model.safetensors.index.json").unlink()
    capsys.readouterr()
    assert run(*command, "--resume", "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert done["written_bytes"] == (out / victim).stat().st_size
    assert done["bytes"] == sum(file.stat().st_size for file in out.glob("*.safetensors"))
    again = {file.name: file.stat().st_ino for file in out.glob("*.safetensors")}
    assert {name for name in files if files[name] != again[name]} <= {victim}
    assert run("verify", out, "--quiet") == 0
    assert not list(out.glob(".*"))


def test_resume_of_another_run(shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["checkpoint", "--shapes", shapes_file, "--out", out]
    assert run(*command, "--quiet", "--shard-size", "4KB") == 0
    before = files_of(out)
    for more in (
        ["--seed", 1, "--shard-size", "4KB"],
        ["--law", "zeros", "--shard-size", "4KB"],
        ["--bit-generator", "philox", "--shard-size", "4KB"],
        ["--shard-size", "5KB"],
        [],
    ):
        for resume in ([], ["--resume"]):
            assert "nothing was written" in refused(capsys, *command, *more, *resume, status=1)
            assert files_of(out) == before
    assert "--resume" in refused(capsys, *command, "--shard-size", "4KB", status=1)
    last = max(out.glob("*.safetensors"))
    os.truncate(last, last.stat().st_size - 1)
    assert last.name in refused(capsys, *command, "--shard-size", "4KB", "--resume", status=1)
    last.write_bytes(before[last.name])
    (out / "model.safetensors.index.json").write_text("{}")
    words = refused(capsys, *command, "--shard-size", "4KB", "--resume", status=1)
    assert "index.json is not what this run would write" in words


# --- what is in the way, or refused by the system, loses nothing ----------------------------------------------------


def test_files_in_the_way(shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["checkpoint", "--shapes", shapes_file, "--out"]
    out = tmp_path / "out"
    out.write_text("mine")
    assert str(out) in refused(capsys, *command, out, status=1)
    assert str(out) in refused(capsys, *command, out / "in", status=1)
    assert out.read_text() == "mine"
    file = tmp_path / "mine.safetensors"
    file.write_text("mine")
    assert "mine.safetensors" in refused(capsys, *command, file, status=1)
    assert "mine.safetensors" in refused(capsys, *command, file, "--resume", status=1)
    assert file.read_text() == "mine"
    folder = tmp_path / "folder"
    (folder / "model.safetensors").mkdir(parents=True)
    for resume in ([], ["--resume"]):
        assert run_fails(*command, folder, *resume)
    assert "model.safetensors" in capsys.readouterr().err
    assert os.listdir(folder) == ["model.safetensors"]


def test_a_file_beside_a_checkpoint(shapes_file: str, tmp_path: pathlib.Path) -> None:
    """Whatever it is called, if it is none of another checkpoint in shards."""
    command = ["checkpoint", "--shapes", shapes_file, "--quiet", "--out"]
    assert run(*command, tmp_path / "model.safetensors") == 0
    assert run(*command, tmp_path / "model-b.safetensors") == 0
    assert run(*command, tmp_path) == 1
    (tmp_path / "model.safetensors").unlink()
    assert run(*command, tmp_path, "--shard-size", "4KB") == 0
    assert run(*command, tmp_path / "model.safetensors") == 1


def run_fails(*arguments: object) -> bool:
    try:
        return run(*arguments) != 0
    except SystemExit as stop:
        return stop.code != 0


def test_a_link_in_the_place_of_a_part(
    shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is written through it."""
    out, mine = tmp_path / "out", tmp_path / "mine"
    out.mkdir()
    mine.write_text("mine")
    (out / ".model.safetensors.part").symlink_to(mine)
    command = ["checkpoint", "--shapes", shapes_file, "--out", out, "--resume"]
    assert ".part" in refused(capsys, *command, status=1)
    assert mine.read_text() == "mine"
    mine.unlink()
    assert ".part" in refused(capsys, *command, status=1)
    assert not mine.exists()
    (out / ".model.safetensors.part").unlink()
    mine.write_text("mine")
    (out / ".model.safetensors.part").hardlink_to(mine)
    assert "another name" in refused(capsys, *command, status=1)
    assert mine.read_text() == "mine"


def test_two_runs_at_once(shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with _write._beside(str(out), "model.safetensors") as file:
        os.pwrite(file, b"theirs", 0)
        words = refused(capsys, "checkpoint", "--shapes", shapes_file, "--out", out, "--resume", status=1)
        assert "another run" in words
    assert (out / "model.safetensors").read_bytes() == b"theirs"


def test_a_run_that_is_overtaken(
    small: _plan.Plan, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one of another seed, after it has looked what is there: the files of the two do not mix."""
    buffer = _write._buffer
    other = _plan.plan(wanted(), _values.Values(_laws.assigned(wanted()), 4), shard_bytes=6000)

    def late(n: int) -> Any:
        monkeypatch.setattr(_write, "_buffer", buffer)
        _write.write(other, str(tmp_path / "out"))
        return buffer(n)

    monkeypatch.setattr(_write, "_buffer", late)
    with pytest.raises(FileExistsError, match=r"out/model-00001-of-0000\d\.safetensors: another run has written it"):
        _write.write(small, str(tmp_path / "out"))
    _write.write(other, str(tmp_path / "whole"))
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_a_file_that_appears_meanwhile(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileExistsError, match="meanwhile"), _write._beside(str(tmp_path), "a"):
        (tmp_path / "a").write_text("mine")
    assert files_of(tmp_path) == {"a": b"mine"}


@pytest.mark.parametrize("begun", [False, True])
def test_a_part_that_another_run_has_renamed(
    begun: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the moment when it is opened and the one when it is locked; it may have begun the same file again."""
    flock = fcntl.flock

    def late(descriptor: int, how: int) -> None:
        (tmp_path / ".a.part").rename(tmp_path / "a")
        (tmp_path / "a").write_text("theirs")
        if begun:
            (tmp_path / ".a.part").touch()
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(FileExistsError, match="another run"), _write._beside(str(tmp_path), "a"):
        raise AssertionError
    assert (tmp_path / "a").read_text() == "theirs"


def test_a_part_that_gets_its_name_when_it_is_opened(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not begun anew."""
    (tmp_path / ".a.part").write_text("theirs")
    opened = os.open

    def late(path: str, flags: int, *more: Any) -> int:
        if not flags & os.O_CREAT:
            (tmp_path / ".a.part").rename(tmp_path / "a")
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", late)
    with pytest.raises(FileExistsError, match="another run"), _write._beside(str(tmp_path), "a"):
        raise AssertionError
    assert files_of(tmp_path) == {"a": b"theirs"}


def test_ctrl_c(small: _plan.Plan, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole files stay, the part of the one that was being written does not."""
    fill, filled = small.values.fill, []

    def stopped(*arguments: Any) -> None:
        filled.append(arguments)
        if len(filled) == 6:
            raise KeyboardInterrupt
        fill(*arguments)

    monkeypatch.setattr(small.values, "fill", stopped)
    with pytest.raises(KeyboardInterrupt):
        _write.write(small, str(tmp_path / "out"))
    _write.write(small, str(tmp_path / "whole"))
    there = files_of(tmp_path / "out")
    assert there
    assert there.items() < files_of(tmp_path / "whole").items()


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from fastinit.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_write_that_fails(tmp_path: pathlib.Path) -> None:
    """The second file is too large for the system: the first stays, and a later run goes on."""
    file, out = tmp_path / "shapes.json", tmp_path / "out"
    file.write_text(json.dumps({"a.weight": [100, 100], "b.weight": [300, 300], "c.weight": [100, 100]}))
    command = ["checkpoint", "--shapes", str(file), "--out", str(out), "--shard-size", "50KB"]
    done = subprocess.run([sys.executable, "-c", LIMITED, *command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "model-00002-of-00003.safetensors.part: File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert os.listdir(out) == ["model-00001-of-00003.safetensors"]
    assert run(*command, "--resume", "--quiet") == 0
    assert run("verify", out, "--quiet") == 0


@contextlib.contextmanager
def disk(folder: pathlib.Path, size: str) -> Iterator[None]:
    """A file system of that size; skipped where this process may not make one."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "x", str(folder)], capture_output=True).returncode:
        pytest.skip("cannot mount")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "shapes.json"
    file.write_text(json.dumps({"a.weight": [100, 1000], "b.weight": [300, 1000]}))
    with disk(tmp_path / "disk", "1m"):
        out = tmp_path / "disk" / "out"
        command = ["checkpoint", "--shapes", file, "--out", out, "--shard-size", "500KB"]
        words = refused(capsys, *command, status=1)
        assert "bytes are needed there" in words
        assert os.listdir(out) == []
        usage = shutil.disk_usage(out)._replace(free=2**40)  # what another program takes meanwhile
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        assert "No space left on device" in refused(capsys, *command, status=1)
        assert os.listdir(out) == ["model-00001-of-00002.safetensors"]
        assert shutil.disk_usage(out).free == 2**40


def test_more_than_any_disk_has(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "shapes.json", tmp_path / "out"
    file.write_text(json.dumps({"a.weight": [2**31, 2**28], "b.weight": [3]}))
    assert f"{4 * 2**59 + 12 + 2 * 4096} bytes are needed there" in refused(
        capsys, "checkpoint", "--shapes", file, "--out", out, "--seed", 1, status=1
    )
    assert os.listdir(out) == []


def test_no_permission(
    shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:  # whom permissions do not stop
        words = refused(capsys, "checkpoint", "--shapes", shapes_file, "--out", "/proc/self/fd/x", status=1)
        assert "/proc/self/fd/x" in words
    else:
        (tmp_path / "out").mkdir(0o500)
        words = refused(capsys, "checkpoint", "--shapes", shapes_file, "--out", tmp_path / "out", status=1)
        assert "Permission denied" in words


@pytest.mark.parametrize("refuses", ["nothing", "the flag", "a write", "each write"])
def test_writes_past_the_cache(refuses: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems that have no such writes, or want more than pages, get ordinary ones: the bytes are the same."""
    monkeypatch.setattr(_write, "STRIPE", 2**15)
    values = _values.Values({"w": Initializer("normal", std=1.0)}, 0)
    plan = _plan.plan([_laws.Wanted("w", "F32", (7, 10_001))], values)
    setting, writing, refused = fcntl.fcntl, os.pwrite, []

    def fcntl_(file: int, what: int, flags: int = 0) -> int:
        if refuses == "the flag" and what == fcntl.F_SETFL and flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return setting(file, what, flags)

    def pwrite(file: int, data: memoryview, position: int) -> int:
        is_direct = bool(setting(file, fcntl.F_GETFL) & os.O_DIRECT)
        if (refuses == "a write" and is_direct and position > 2**16) or refuses == "each write":
            refused.append(position)
            raise OSError(errno.EINVAL, "Invalid argument")
        return writing(file, data, position)

    monkeypatch.setattr(fcntl, "fcntl", fcntl_)
    monkeypatch.setattr(os, "pwrite", pwrite)
    if refuses == "each write":
        with pytest.raises(OSError, match="Invalid argument"):
            _write.write(plan, str(tmp_path))
        assert os.listdir(tmp_path) == []
        return
    _write.write(plan, str(tmp_path))
    assert len(refused) == (refuses == "a write")
    w = fastinit.normal(np.empty((7, 10_001), np.float32), seed=0, stream="w")
    assert data_of(tmp_path) == {"w": w.tobytes()}


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EIO])
@pytest.mark.parametrize("call", ["flock", "fsync of the folder"])
def test_file_systems_without_locks(
    code: int, call: str, small: _plan.Plan, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of clusters may be: they get the same files. What a disk cannot do is an error."""
    fsync = os.fsync

    def refusing(descriptor: int, *_: int) -> None:
        if call == "flock" or stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    _write.write(small, str(tmp_path / "whole"))
    monkeypatch.setattr(*((fcntl, "flock") if call == "flock" else (os, "fsync")), refusing)
    if code == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            _write.write(small, str(tmp_path / "out"))
        return
    if call == "flock":  # a part may be one that another run is writing
        part = tmp_path / "out" / f".{small.shards[0].name}.part"
        part.parent.mkdir()
        part.touch()
        with pytest.raises(FileExistsError, match="no locks: remove it if none is"):
            _write.write(small, str(tmp_path / "out"), resume=True)
        part.unlink()
    _write.write(small, str(tmp_path / "out"))
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


MEMORY = """
import re, sys
from fastinit.__main__ import main

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])

before = peak()
status = main(sys.argv[1:])
print(status, peak() - before)
"""


def needs(*arguments: object) -> tuple[int, int]:
    """The status of a command, and the KiB of memory that it takes, libraries not counted."""
    command = [sys.executable, "-c", MEMORY, *map(str, arguments)]
    status, peak = subprocess.run(command, capture_output=True, text=True, timeout=500, check=True).stdout.split()
    return int(status), int(peak)


@not_sanitized
def test_memory(tmp_path: pathlib.Path) -> None:
    """Far less than the file has, of which one tensor is."""
    file, out = tmp_path / "shapes.json", tmp_path / "out.safetensors"
    shapes = {"w": {"shape": [3, 2**26], "dtype": "bfloat16"}, "b": {"shape": [2**27], "dtype": "U8"}}
    file.write_text(json.dumps(shapes))
    status, peak = needs("checkpoint", "--shapes", file, "--out", out, "--quiet")
    assert status == 0
    assert out.stat().st_size > 500 * 2**20
    assert 2 * _write.STRIPE / 2**10 < peak < 128 * 2**10
    for arguments in (["verify", out], ["diff", out, out]):
        status, peak = needs(*arguments, "--quiet")
        assert status == 0
        assert peak < 64 * 2**10


def llama_8b() -> dict[str, Any]:
    """Names and shapes of Llama 3 8B."""
    block: dict[str, list[int]] = {
        "input_layernorm": [4096],
        "self_attn.q_proj": [4096, 4096],
        "self_attn.k_proj": [1024, 4096],
        "self_attn.v_proj": [1024, 4096],
        "self_attn.o_proj": [4096, 4096],
        "post_attention_layernorm": [4096],
        "mlp.gate_proj": [14336, 4096],
        "mlp.up_proj": [14336, 4096],
        "mlp.down_proj": [4096, 14336],
    }
    shapes = {f"model.layers.{i}.{name}.weight": shape for i in range(32) for name, shape in block.items()}
    shapes |= {
        "model.embed_tokens.weight": [128256, 4096],
        "model.norm.weight": [4096],
        "lm_head.weight": [128256, 4096],
    }
    return {name: {"shape": shape, "dtype": "bfloat16"} for name, shape in shapes.items()}


@pytest.mark.large
def test_eight_billion_parameters(tmp_path: pathlib.Path) -> None:
    """16 GB, in 128 MiB of memory."""
    file, out = tmp_path / "shapes.json", tmp_path / "out"
    file.write_text(json.dumps(llama_8b()))
    status, peak = needs("checkpoint", "--shapes", file, "--out", out, "--recipe", "llama", "--quiet")
    assert (status, len(list(out.glob("*.safetensors")))) == (0, 4)
    assert peak < 128 * 2**10
    assert sum(file.stat().st_size for file in out.iterdir()) > 16_060_000_000
    status, peak = needs("verify", out, "--quiet")
    assert status == 0
    assert peak < 64 * 2**10
    shutil.rmtree(out)  # pytest would keep it


# --- verify: each bit is that of the seed, or is counted ------------------------------------------------------------


def change(path: pathlib.Path, name: str, element: int, dtype: Any, value: object) -> None:
    """One element of a tensor of a file."""
    found = _safetensors.read(path)
    tensor = next(tensor for tensor in found.tensors if tensor.name == name)
    with path.open("r+b") as file:
        file.seek(found.begin + tensor.start + element * np.dtype(dtype).itemsize)
        file.write(np.array(value, dtype).tobytes())


def test_verify_finds_one_bit(
    shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compare, "SLAB", 256)
    out = tmp_path / "out.safetensors"
    assert run("checkpoint", "--shapes", shapes_file, "--out", out, "--seed", 9, "--quiet") == 0
    assert run("verify", out) == 0
    assert "14 of 14 tensors" in capsys.readouterr().out
    change(out, "layers.1.up.weight", 700, np.float32, 0.02)
    change(out, "packed", 99, np.uint8, 0)
    assert run("verify", out) == 1
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3
    assert printed[0].startswith("layers.1.up.weight")
    assert printed[0].endswith("unequal elements: 1, the first is 700")
    assert printed[1].endswith("unequal elements: 1, the first is 99")
    assert "12 of 14 tensors" in printed[2]
    assert run("verify", out, "--json") == 1
    done = json.loads(capsys.readouterr().out)
    assert [tensor["name"] for tensor in done["tensors"] if not tensor["good"]] == ["layers.1.up.weight", "packed"]
    assert not done["good"]
    assert run("verify", out, "--verbose") == 1
    assert len(capsys.readouterr().out.splitlines()) == 15
    assert run("verify", out, "--quiet") == 1
    assert capsys.readouterr().out == ""


def test_verify_measures(
    shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digests are those of ``fastinit.summary``, and moments NumPy's, though a tensor comes in parts."""
    monkeypatch.setattr(_compare, "SLAB", 64)
    out = tmp_path / "out.safetensors"
    assert run("checkpoint", "--shapes", shapes_file, "--out", out, "--quiet") == 0
    assert run("verify", out, "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["seed"], done["stream_format"], done["bit_generator"]) == (0, _core.stream_format, "ars")
    data = data_of(out)
    for tensor in done["tensors"]:
        if tensor["dtype"] in _safetensors.INTEGERS or 0 in tensor["shape"]:
            assert tensor["mean"] is None
            continue
        kind = _safetensors.dtype_of(tensor["dtype"])
        values = np.frombuffer(data[tensor["name"]], kind).reshape(tensor["shape"])
        assert tensor["digest"] == f"{fastinit.summary(values).digest:016x}"
        wide = values.astype(np.float64)
        assert tensor["mean"] == pytest.approx(wide.mean(), rel=1e-12)
        assert tensor["std"] == pytest.approx(wide.std(), rel=1e-12)
        assert (tensor["minimum"], tensor["maximum"]) == (wide.min(), wide.max())
        assert tensor["off"] < 4
        assert tensor["expected_std"] == {2: 0.02, 3: 0.02}.get(values.ndim, 0.0)


def test_verify_of_what_others_wrote(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As ``fastinit.torch.init_module`` and ``safetensors.numpy.save_file`` would."""
    w = fastinit.normal(np.empty((2, 3), np.float32), std=0.02, seed=4, stream="a")
    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}})
    path = file_of(tmp_path / "a.safetensors", header, w.tobytes())
    law = ["--law", "normal(std=0.02)"]
    assert run("verify", path, "--seed", 4, *law) == 0
    assert run("verify", path, "--seed", 5, *law) == 1
    assert run("verify", path, "--seed", 4, "--law", "normal(std=0.03)") == 1
    capsys.readouterr()
    assert "--seed" in refused(capsys, "verify", path)
    assert "--law" in refused(capsys, "verify", path, "--seed", 4)
    assert "seed" in refused(capsys, "verify", path, "--seed", -1, *law)
    file_of(tmp_path / "a.safetensors", header.replace("F32", "F8_E8M0").replace("24", "6"), bytes(6))
    assert "'a' (F8_E8M0)" in refused(capsys, "verify", path, "--seed", 4, *law)


GOOD = {"checkpoint": 1, "seed": 0, "stream_format": 2, "bit_generator": "ars", "recipe": [["*", "zeros()"]]}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("x", "JSON"),
        ("[]", "object"),
        (GOOD | {"checkpoint": 2}, "not understood"),
        (GOOD | {"recipe": "x"}, "not understood"),
        (GOOD | {"recipe": [["*"]]}, "not understood"),
        (GOOD | {"recipe": [["*", 3]]}, "not understood"),
        (GOOD | {"recipe": [["*", "open(file='/etc/passwd')"]]}, "function must be one of"),
        (GOOD | {"recipe": [["b", "zeros()"]]}, "no pattern matches the tensor 'a'"),
        (GOOD | {"recipe": [["*", "config()"]]}, "config"),
        (GOOD | {"stream_format": 3}, "stream format 3"),
        (GOOD | {"seed": "0"}, "seed"),
        (GOOD | {"seed": -1}, "seed"),
        (GOOD | {"bit_generator": "xorshift"}, "bit_generator"),
    ],
)
def test_what_files_say_is_not_trusted(
    said: object, words: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said if isinstance(said, str) else json.dumps(said)
    header = json.dumps({"__metadata__": {"fastinit": text}, **json.loads(ONE)})
    assert words in refused(capsys, "verify", file_of(tmp_path / "a.safetensors", header))
    good = json.dumps({"__metadata__": {"fastinit": json.dumps(GOOD)}, **json.loads(ONE)})
    assert run("verify", file_of(tmp_path / "a.safetensors", good)) == 0


def test_files_that_say_different_things(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file_of(tmp_path / "a.safetensors", ONE)
    said = {"__metadata__": {"fastinit": json.dumps(GOOD)}}
    file_of(tmp_path / "b.safetensors", json.dumps({**said, **json.loads(ONE.replace('"a"', '"b"'))}))
    path = index(tmp_path, {"a": "a.safetensors", "b": "b.safetensors"})
    assert "the same" in refused(capsys, "verify", path)


def test_one_file_of_several_is_verified(shapes_file: str, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    assert run("checkpoint", "--shapes", shapes_file, "--out", out, "--shard-size", "4KB", "--quiet") == 0
    for file in out.glob("*.safetensors"):
        assert run("verify", file, "--quiet") == 0


def test_a_reader_that_closes_the_pipe_hides_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``| head`` does: the status says whether all is equal."""
    a = file_of(tmp_path / "a.safetensors", ONE)
    b = file_of(tmp_path / "b.safetensors", ONE, b"x" * 8)
    law = ["--seed", 0, "--law", "zeros"]
    commands: list[list[object]] = [["verify", a, *law], ["verify", b, *law], ["diff", a, a], ["diff", a, b]]
    for status, command in enumerate(commands):
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "w") as output, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", output)
            assert run(*command) == status % 2


def tensor_of(dtype: str, n: int) -> _safetensors.Tensor:
    return _safetensors.Tensor("a", dtype, (n,), 0, 0)


def test_how_far_moments_are_off() -> None:
    """In standard errors: of the mean std / sqrt(n), of the std of normals std / sqrt(2 n)."""
    normal = Initializer("normal", std=0.02)
    many = tensor_of("F64", 10_000)
    assert _compare.off(normal, (0.0, 0.02), (0.0, 0.02), many) == pytest.approx(0, abs=1e-9)
    assert _compare.off(normal, (0.0, 0.02), (-0.0006, 0.02), many) == pytest.approx(3)
    assert _compare.off(normal, (0.0, 0.02), (0.0, 0.02 * (1 + 5 / math.sqrt(20_000))), many) == pytest.approx(5)
    assert _compare.off(normal, (0.0, 0.02), (math.nan, 0.02), many) == math.inf
    sparse = Initializer("sparse", sparsity=0.75, std=1.0)
    assert _compare.off(sparse, (0.0, 0.5), (0.0, 0.5 * (1 + math.sqrt(11 / 40_000))), many) == pytest.approx(1)
    half = Initializer("constant", value=0.1)
    for dtype, kind in (
        ("F32", np.float32),
        ("F16", np.float16),
        ("BF16", ml_dtypes.bfloat16),
        ("F8_E4M3", ml_dtypes.float8_e4m3fn),
    ):
        mean = float(np.array(0.1, kind).astype(np.float64))
        assert _compare.off(half, (0.1, 0.0), (mean, 0.0), tensor_of(dtype, 7)) == 0
        assert (
            _compare.off(
                half, (0.1, 0.0), (mean * (1.2 if kind == ml_dtypes.float8_e4m3fn else 1.01), 0.0), tensor_of(dtype, 7)
            )
            == math.inf
        )


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_verify_of_laws_that_are_not_finite(
    value: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As that of a mask; JSON has no words for them."""
    (tmp_path / "shapes.json").write_text('{"a": {"shape": [3, 3], "dtype": "bfloat16"}}')
    out = tmp_path / "a.safetensors"
    law = ["--law", f"constant(value={value})"]
    assert run("checkpoint", "--shapes", tmp_path / "shapes.json", *law, "--out", out, "--quiet") == 0
    for more in ([], law):
        assert run("verify", out, "--json", *more) == 0
        words = capsys.readouterr().out
        found = json.loads(words, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))["tensors"][0]
        assert (found["expected_mean"], found["off"], found["unequal"]) == (None, None, 0)
    change(out, "a", 4, np.uint16, 0)
    assert run("verify", out, "--quiet") == 1


@pytest.mark.parametrize(("value", "is_good"), [(1e300, True), (math.inf, False), (math.nan, False)])
def test_verify_where_squares_overflow(value: float, is_good: bool, tmp_path: pathlib.Path) -> None:
    """The bits of such numbers are compared all the same."""
    header = json.dumps({"a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}})
    path = file_of(tmp_path / "a.safetensors", header, np.array([value, 1e300]).tobytes())
    assert run("verify", path, "--seed", 0, "--law", "constant(value=1e300)") == (not is_good)
    assert run("verify", path, "--seed", 0, "--law", "constant(value=2e300)") == 1


@pytest.mark.parametrize(
    ("law", "shape"),
    [
        ("truncated_normal(low=5, high=inf)", (200, 300)),
        ("truncated_normal(std=0.02)", (200, 300)),
        ("uniform(low=-1, high=1)", (200, 300)),
        ("sparse(sparsity=0.99)", (300, 200)),
        ("orthogonal(layout='torch')", (60, 40)),
    ],
)
def test_moments_of_a_law_are_within_its_errors(law: str, shape: tuple[int, ...]) -> None:
    """Of 60 seeds, the worst is no further off than 4.5 errors, as once in 1200 times of two normals each."""
    initializer = _laws.parse(law)
    assert isinstance(initializer, Initializer)
    tensor = _safetensors.Tensor("w", "F32", shape, 0, 0)
    found = []
    for seed in range(60):
        w = initializer.fill(np.empty(shape, np.float32), seed=seed, stream="w").astype(np.float64)
        found.append(_compare.off(initializer, initializer.moments(shape), (float(w.mean()), float(w.std())), tensor))
    assert max(found) < 4.5


# --- diff: two checkpoints, tensor by tensor ------------------------------------------------------------------------


def test_diff(
    shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_compare, "SLAB", 256)
    a, b = tmp_path / "a", tmp_path / "b.safetensors"
    command = ["checkpoint", "--shapes", shapes_file, "--quiet", "--out"]
    assert run(*command, a, "--shard-size", "4KB") == 0
    assert run(*command, b) == 0
    assert run("diff", a, b) == 0
    assert capsys.readouterr().out == "14 tensors are equal, 0 differ, 0 are only in a, 0 only in b\n"
    change(b, "embed.weight", 2000, np.uint16, 0x4000)  # 2.0
    change(b, "embed.weight", 2100, np.uint16, 0x7FC0)  # NaN
    change(b, "ids", 5, np.int64, 1)
    assert run("diff", a, b) == 1
    printed = capsys.readouterr().out.splitlines()
    before = float(np.frombuffer(data_of(a)["embed.weight"], ml_dtypes.bfloat16)[2000])
    words = f"! embed.weight  unequal elements: 2, the first is 2000, finite ones by {2 - before:.6g} at most"
    assert words in printed
    assert "! ids  unequal elements: 1, the first is 5" in printed
    assert printed[-1] == "12 tensors are equal, 2 differ, 0 are only in a, 0 only in b"
    assert run("diff", a, b, "--verbose") == 1
    assert sum(line.startswith("= ") for line in capsys.readouterr().out.splitlines()) == 12
    assert run("diff", a, b, "--json") == 1
    done = json.loads(capsys.readouterr().out)
    found = {tensor["name"]: tensor for tensor in done["tensors"]}
    assert not done["equal"]
    assert (found["ids"]["unequal"], found["ids"]["first_unequal"], found["ids"]["largest"]) == (1, 5, None)
    assert found["embed.weight"]["a"]["std"] == pytest.approx(0.02, rel=0.1)
    assert found["embed.weight"]["b"]["std"] is None  # of a NaN
    assert found["norm.weight"]["a"] == found["norm.weight"]["b"]


def test_diff_of_names_shapes_and_dtypes(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    shapes: list[dict[str, Any]] = [
        {"a": [2, 3], "b": [4], "c": [5], "d": [6]},
        {"a": [3, 2], "b": {"shape": [4], "dtype": "F16"}, "c": [5], "e": [6]},
    ]
    for i, each in enumerate(shapes):
        (tmp_path / "shapes.json").write_text(json.dumps(each))
        out = tmp_path / f"{i}.safetensors"
        assert run("checkpoint", "--shapes", tmp_path / "shapes.json", "--out", out, "--quiet") == 0
    assert run("diff", tmp_path / "0.safetensors", tmp_path / "1.safetensors") == 1
    printed = capsys.readouterr().out.splitlines()
    assert "! d  only in a" in printed
    assert "! e  only in b" in printed
    assert "! a  other shape or dtype" in printed
    assert "! b  other shape or dtype" in printed
    assert printed[-1] == "1 tensors are equal, 2 differ, 1 are only in a, 1 only in b"


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F4", "C64"])
def test_diff_of_types_that_are_not_made(dtype: str, tmp_path: pathlib.Path) -> None:
    bits = _safetensors.BITS[dtype]
    header = json.dumps({"a": {"dtype": dtype, "shape": [16], "data_offsets": [0, 2 * bits]}})
    a = file_of(tmp_path / "a.safetensors", header, bytes(2 * bits))
    b = file_of(tmp_path / "b.safetensors", header, bytes(2 * bits - 1) + b"\1")
    assert run("diff", a, a) == 0
    assert run("diff", a, b) == 1


@pytest.mark.parametrize(("dtype", "bits"), [("F4", 4), ("F6_E2M3", 6), ("U8", 8), ("BF16", 16), ("C64", 64)])
def test_diff_counts_elements(
    dtype: str, bits: int, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a byte has two of them, or three bytes have four."""
    monkeypatch.setattr(_compare, "SLAB", 24)
    n = 64
    a = np.random.default_rng(bits).integers(0, 2, (n, bits), np.uint8)
    b = a.copy()
    b[[7, 9, 10, 38, 63]] ^= 1
    paths = []
    for name, elements in (("a", a), ("b", b)):
        data = np.packbits(elements, bitorder="little").tobytes()
        header = json.dumps({"w": {"dtype": dtype, "shape": [4, n // 4], "data_offsets": [0, len(data)]}})
        paths.append(file_of(tmp_path / f"{name}.safetensors", header, data))
    assert run("diff", *paths, "--json") == 1
    found = json.loads(capsys.readouterr().out)["tensors"][0]
    assert (found["unequal"], found["first_unequal"]) == (5, 7)


@pytest.mark.parametrize(
    ("a", "b", "largest"),
    [
        ([1.0, math.nan, 3], [1.0, math.nan, 3], None),
        ([0.0, 1, 2], [-0.0, 1, 2], 0.0),
        ([math.nan, 1, 2], [1.0, 1, 2], None),
        ([math.inf, 1, 2], [1.0, 1, 2], None),
        ([math.nan, 1, 2], [1.0, 1, 4], 2.0),
        ([1e308, 1, 2], [-1e308, 1, 2], math.inf),
    ],
)
def test_diff_of_special_values(
    a: list[float], b: list[float], largest: float | None, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How far apart is said of finite numbers; bits count, so zeros of other signs differ, and a NaN is like itself."""
    header = json.dumps({"w": {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}})
    paths = [
        file_of(tmp_path / f"{i}.safetensors", header, np.array(x, np.float64).tobytes()) for i, x in enumerate((a, b))
    ]
    assert run("diff", paths[0], paths[0]) == 0
    capsys.readouterr()
    assert run("diff", *paths) == (str(a) != str(b))
    printed = capsys.readouterr().out
    assert ("at most" in printed) == (largest is not None)
    assert largest is None or f"finite ones by {largest:g} at most" in printed
    run("diff", *paths, "--json")
    words = capsys.readouterr().out
    found = json.loads(words, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))["tensors"][0]
    assert found["largest"] == (None if largest == math.inf else largest)


# --- other libraries read them --------------------------------------------------------------------------------------


def test_safetensors_reads_them(shapes_file: str, tmp_path: pathlib.Path) -> None:
    library = pytest.importorskip("safetensors")
    out = tmp_path / "out"
    assert run("checkpoint", "--shapes", shapes_file, "--out", out, "--shard-size", "2KB", "--quiet") == 0
    data = data_of(out)
    names = set()
    for file in out.glob("*.safetensors"):
        with library.safe_open(file, "numpy") as opened:
            assert opened.metadata()["format"] == "pt"
            assert json.loads(opened.metadata()["fastinit"])["seed"] == 0
            for name in opened.keys():  # noqa: SIM118
                names.add(name)
                if (dtype := opened.get_slice(name).get_dtype()).startswith("F8"):  # which NumPy does not have
                    assert dtype in {tensor.dtype for tensor in wanted() if tensor.name == name}
                    continue
                assert opened.get_tensor(name).tobytes() == data[name]
    assert names == set(SHAPES)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")
def test_torchs_distributed_checkpoint_reads_them(shapes_file: str, tmp_path: pathlib.Path) -> None:
    torch = pytest.importorskip("torch")
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    out = tmp_path / "out"
    assert run("checkpoint", "--shapes", shapes_file, "--out", out, "--shard-size", "2KB", "--quiet") == 0
    state = {tensor.name: torch.zeros(tensor.shape) for tensor in wanted() if tensor.dtype == "F32"}
    assert len(state) > 3
    dcp.load(state, storage_reader=dcp.HuggingFaceStorageReader(str(out)))
    data = data_of(out)
    assert {name: tensor.numpy().tobytes() for name, tensor in state.items()} == {name: data[name] for name in state}


def test_what_safetensors_wrote_is_read(tmp_path: pathlib.Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    arrays: dict[str, NDArray[Any]] = {"b": np.arange(6, dtype=np.int16).reshape(2, 3), "a": np.ones((3, 1))}
    arrays["c"] = np.zeros((0, 2), np.float32)
    library.save_file(arrays, tmp_path / "a.safetensors", {"x": "y"})
    found = _safetensors.read(tmp_path / "a.safetensors")
    assert found.metadata == {"x": "y"}
    assert {tensor.name: (_safetensors.dtype_of(tensor.dtype), tensor.shape) for tensor in found.tensors} == {
        name: (array.dtype, array.shape) for name, array in arrays.items()
    }
    assert data_of(tmp_path / "a.safetensors") == {name: array.tobytes() for name, array in arrays.items()}


NAMES = st.text(max_size=8).filter(lambda name: name != "__metadata__")
KINDS = st.sampled_from(sorted({**_safetensors.FLOATS, **_safetensors.INTEGERS}))


def test_any_plan_is_read_by_safetensors(tmp_path: pathlib.Path) -> None:
    """Any names, shapes (of no dimension, of nothing) and types; the values are those that Python's json finds."""
    library = pytest.importorskip("safetensors")
    tensors = st.dictionaries(NAMES, st.tuples(KINDS, st.lists(st.integers(0, 4), max_size=4)), min_size=1, max_size=6)

    @settings(max_examples=60, deadline=None)
    @given(tensors)
    def check(found: dict[str, tuple[str, list[int]]]) -> None:
        planned = [_laws.Wanted(name, dtype, tuple(shape)) for name, (dtype, shape) in found.items()]
        values = _values.Values(_laws.assigned(planned), 0)
        folder = tmp_path / "out"
        shutil.rmtree(folder, ignore_errors=True)
        _write.write(_plan.plan(planned, values), str(folder))
        data = data_of(folder)
        with library.safe_open(folder / "model.safetensors", "numpy") as opened:
            assert set(opened.keys()) == set(found) == set(data)
            for name, (dtype, shape) in found.items():
                if dtype.startswith("F8"):  # which NumPy does not have
                    assert opened.get_slice(name).get_dtype() == dtype
                    assert opened.get_slice(name).get_shape() == shape
                    continue
                tensor = opened.get_tensor(name)
                assert list(tensor.shape) == shape
                assert tensor.tobytes() == data[name]
        again = _read.read_checkpoint(str(folder))
        assert all(each.is_good for each in _compare.verify(again, values))

    check()


def test_plans_of_any_size_are_read_by_safetensors(tmp_path: pathlib.Path) -> None:
    """Of more than 2**32 elements, too: their headers, and the first, the last and other elements of each tensor."""
    library = pytest.importorskip("safetensors")
    shapes = st.lists(st.integers(0, 3) | st.integers(0, 2**20), max_size=3).filter(
        lambda shape: math.prod(shape) < 2**34
    )
    tensors = st.dictionaries(NAMES, st.tuples(KINDS, shapes), min_size=1, max_size=3)
    large = {"w": ("BF16", [2**17, 2**16 + 1]), "i": ("U8", [2**33]), "n": ("F64", [2**40, 0])}

    @settings(max_examples=60, deadline=None)
    @given(tensors, st.data())
    @example(large, None)
    def check(found: dict[str, tuple[str, list[int]]], data: st.DataObject | None) -> None:
        planned = [_laws.Wanted(name, dtype, tuple(shape)) for name, (dtype, shape) in found.items()]
        values = _values.Values(_laws.assigned(planned), 0)
        shard = _plan.plan(planned, values, single="a.safetensors").shards[0]
        path = tmp_path / "a.safetensors"
        with path.open("wb") as file:
            file.write(shard.header)
            file.truncate(shard.n_bytes)  # of which the disk holds the header alone
        with library.safe_open(path, "numpy") as opened:
            assert set(opened.keys()) == set(found)
            for name, (_, shape) in found.items():
                assert opened.get_slice(name).get_shape() == shape
        assert _safetensors.read(path).tensors == shard.tensors
        assert {tensor.name: tensor[1:3] for tensor in shard.tensors} == {each.name: each[1:] for each in planned}
        for tensor in shard.tensors:
            n, size = math.prod(tensor.shape), _safetensors.dtype_of(tensor.dtype).itemsize
            if n == 0 or tensor.dtype in _safetensors.INTEGERS:
                continue
            for element in (0, n - 1, data.draw(st.integers(0, n - 1)) if data else n // 3):
                out = np.empty(size, np.uint8)
                values.fill(out, tensor, element * size, (element + 1) * size)
                law = values.laws[tensor.name]
                assert isinstance(law, Initializer)
                one = np.empty((1,) * max(1, len(tensor.shape)), _safetensors.dtype_of(tensor.dtype))
                index = np.unravel_index(element, tensor.shape) if tensor.shape else (0,)
                box: dict[str, Any] = {"global_shape": tensor.shape or (1,), "offset": tuple(map(int, index))}
                assert out.tobytes() == law.fill(one, seed=0, stream=tensor.name, **box).tobytes()

    check()


# --- a config: the model's own names and initialisation -------------------------------------------------------------


def ramp(out: NDArray[Any], *, offset: tuple[int, ...], **_: object) -> None:
    out[...] = np.add.outer(10 * (offset[0] + np.arange(out.shape[0])), offset[1] + np.arange(out.shape[1]))


def test_what_a_config_stands_for_is_written(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without transformers: laws that are code, and values, which are not said in the file but made again."""
    monkeypatch.setattr(_write, "STRIPE", 104)
    laws: dict[str, _laws.Law] = {
        "a": computed(ramp),
        "b": Initializer("normal", std=0.5),
        "steps": _laws.Given(np.int64(7).tobytes()),
    }
    tensors = [_laws.Wanted("a", "BF16", (9, 10)), _laws.Wanted("b", "F32", (30,)), _laws.Wanted("steps", "I64", ())]
    calls = []

    def configured(path: str, seed: int, **given: object) -> _config.Configured:
        calls.append((path, seed, given))
        return _config.Configured(tensors, laws, "the config")

    for tool in (checkpoint, verify):
        monkeypatch.setattr(tool, "configured", configured)
    out = tmp_path / "out"
    command = ["checkpoint", "--config", "c.json", "--out", out, "--seed", 2, "--quiet"]
    assert run(*command, "--set", "x=1", "--dtype", "bfloat16") == 0
    given = {"sets": ["x=1"], "dtype": "BF16", "bit_generator": "ars", "threads": None}
    assert calls == [("c.json", 2, given)]
    assert (out / "config.json").read_text() == "the config"
    data = data_of(out)
    expected = np.add.outer(10 * np.arange(9), np.arange(10))
    assert data["a"] == expected.astype(ml_dtypes.bfloat16).tobytes()
    assert data["b"] == fastinit.normal(np.empty(30, np.float32), std=0.5, seed=2, stream="b").tobytes()
    assert data["steps"] == np.int64(7).tobytes()
    assert run("verify", out, "--quiet") == 0
    assert calls[1:] == [(str(out), 2, {"bit_generator": "ars", "threads": None})]
    assert run("verify", out, "--verbose") == 0
    printed = capsys.readouterr().out
    assert "computed(ramp)" in printed
    assert "config()" in printed
    assert run(*command, "--resume") == 0
    (out / "config.json").write_text("mine")
    assert "config.json is not" in refused(capsys, *command, "--resume", status=1)

    zeros = tmp_path / "zeros"  # a law that is given is for weights alone
    assert run("checkpoint", "--config", "c.json", "--out", zeros, "--law", "zeros", "--quiet") == 0
    assert data_of(zeros) == {"a": bytes(180), "b": bytes(120), "steps": np.int64(7).tobytes()}
    assert run("verify", zeros, "--quiet") == 0
    del laws["steps"]
    assert "'steps'" in refused(capsys, "verify", zeros)


def test_arguments_for_configs(shapes_file: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["checkpoint", "--shapes", shapes_file, "--out", tmp_path / "x"]
    assert "--set" in refused(capsys, *command, "--set", "a=1")
    assert "int8" in refused(capsys, *command, "--dtype", "int8")


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 32,
    "intermediate_size": 96,
    "hidden_size": 4096,
    "vocab_size": 99,
    "torch_dtype": "bfloat16",
}
SMALL = ["--set", "num_hidden_layers=2", "--set", "hidden_size=32"]
BERT = {
    "architectures": ["BertForMaskedLM"],
    "model_type": "bert",
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 99,
}
RESNET = {
    "architectures": ["ResNetForImageClassification"],
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
}
MIXTRAL = {
    **LLAMA,
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "num_local_experts": 4,
}
MAMBA = {
    "architectures": ["Mamba2ForCausalLM"],
    "model_type": "mamba2",
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "vocab_size": 99,
    "state_size": 8,
    "num_heads": 8,
    "head_dim": 8,
    "n_groups": 2,
    "time_step_limit": [0.0, {"__float__": "Infinity"}],
}
CLIP = {
    "architectures": ["CLIPModel"],
    "model_type": "clip",
    "text_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "vocab_size": 99},
    "vision_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "image_size": 32},
}
HEADS = ["--set", "text_config.num_attention_heads=2", "--set", "vision_config.num_attention_heads=2"]
MODELS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "llama": (LLAMA, SMALL),
    "tied": (LLAMA | {"tie_word_embeddings": True}, [*SMALL, "--dtype", "float16"]),
    "bert": (BERT, []),  # whose embedding has a row of padding, and whose biases are tied
    "resnet": (RESNET, []),  # which has buffers, of integers too
    "mixtral": (MIXTRAL, SMALL),  # whose experts are one tensor
    "mamba": (MAMBA, []),  # of which laws are code, and the config has an infinity
    "clip": (CLIP, HEADS),  # which has a scalar, and configs in its config
}
AUTO = {
    "llama": "AutoModelForCausalLM",
    "mixtral": "AutoModelForCausalLM",
    "mamba2": "AutoModelForCausalLM",
    "bert": "AutoModelForMaskedLM",
    "resnet": "AutoModelForImageClassification",
    "clip": "AutoModel",
}


@pytest.mark.parametrize(("config", "more"), MODELS.values(), ids=MODELS.keys())
def test_transformers_loads_them(config: dict[str, Any], more: list[str], tmp_path: pathlib.Path) -> None:
    """``from_pretrained`` gives what ``deferred`` makes of the model, bit for bit."""
    transformers = library("transformers")
    import torch

    import fastinit.torch

    (tmp_path / "config.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    command = ["checkpoint", "--config", tmp_path / "config.json", "--out", out, "--seed", 6, "--quiet", *more]
    assert run(*command, "--shard-size", "4KB") == 0
    assert len(list(out.glob("*.safetensors"))) > 1
    kind = getattr(transformers, config["architectures"][0])
    loaded, report = kind.from_pretrained(out, output_loading_info=True, dtype="auto")
    assert not any(report.values())
    with fastinit.torch.deferred(6) as plan:
        model = getattr(transformers, AUTO[config["model_type"]]).from_config(loaded.config)
    plan.materialize(model)
    expected = model.state_dict()
    found = loaded.state_dict()
    assert set(found) == set(expected)
    there = {name: tensor.dtype for name, (_, tensor) in _read.read_checkpoint(str(out)).tensors.items()}
    assert set(there) <= set(expected)  # of tied tensors, the first
    for name, tensor in expected.items():
        if name in there:
            assert _sources.as_dtype(str(tensor.dtype).removeprefix("torch.")) == there[name], name
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name
    assert run("verify", out, "--quiet") == 0
    assert run("verify", out, "--seed", 7, "--quiet") == 1


def test_a_checkpoint_is_what_init_module_gives(tmp_path: pathlib.Path) -> None:
    """By the same recipe, seed and names; in bfloat16."""
    torch = pytest.importorskip("torch")
    import fastinit.torch

    recipe = {"*.weight": Initializer("truncated_normal", std=0.02), "*.bias": Initializer("uniform", low=-1, high=1)}
    save(recipe, tmp_path / "recipe.json")
    model = torch.nn.Sequential(torch.nn.Linear(33, 17), torch.nn.Linear(17, 5)).to(torch.bfloat16)
    fastinit.torch.init_module(model, recipe, seed=8)
    (tmp_path / "shapes.json").write_text(json.dumps({n: list(p.shape) for n, p in model.named_parameters()}))
    out = tmp_path / "a.safetensors"
    command = ["checkpoint", "--shapes", tmp_path / "shapes.json", "--recipe", tmp_path / "recipe.json", "--out", out]
    assert run(*command, "--seed", 8, "--dtype", "bfloat16", "--quiet") == 0
    found = data_of(out)
    for name, parameter in model.named_parameters():
        assert found[name] == parameter.detach().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("more", [{"attn_implementation": "org/kernel"}, {"auto_map": {"AutoModel": "org/repo--a.B"}}])
def test_a_config_cannot_name_code(
    more: dict[str, Any], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a repository, which transformers would fetch and run."""
    library("transformers")
    from transformers import modeling_utils

    asked: list[object] = []
    monkeypatch.setattr(
        modeling_utils, "load_and_register_attn_kernel", lambda *arguments, **_: asked.append(arguments), raising=False
    )
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | more))
    out = tmp_path / "out"
    assert run("checkpoint", "--config", tmp_path, "--out", out, "--quiet", *SMALL) == 0
    assert run("verify", out, "--quiet") == 0
    assert not asked


@pytest.mark.parametrize(
    ("config", "more", "words"),
    [
        (LLAMA, ["--set", "hiden_size=32"], "'hiden_size'"),
        (LLAMA, ["--set", "hidden_size"], "hidden_size"),
        (LLAMA, ["--set", "hidden_size.x=3"], "hidden_size"),
        (LLAMA, ["--set", "num_attention_heads=x"], "num_attention_heads"),
        (LLAMA, ["--set", 'architectures=["Trainer"]'], "Trainer"),
        (LLAMA, ["--set", "architectures=null"], "architectures"),
        (LLAMA, ["--set", "architectures=[3]"], "architectures"),
        (LLAMA | {"quantization_config": {"quant_method": "fp8"}}, SMALL, "quantization_config"),
        ({"architectures": ["LlamaForCausalLM"]}, [], "None"),
        (LLAMA | {"model_type": "nonesuch"}, [], "nonesuch"),
    ],
)
def test_configs_that_are_refused(
    config: dict[str, Any], more: list[str], words: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library("transformers")
    (tmp_path / "config.json").write_text(json.dumps(config))
    printed = refused(capsys, "checkpoint", "--config", tmp_path, "--out", tmp_path / "x", *more)
    assert words in printed
    assert not (tmp_path / "x").exists()


def test_a_config_of_a_model_that_fails_late(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where no memory is left for its buffers: also such an error is one line, with the file."""
    library("transformers")
    from fastinit.torch import _deferred

    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr(_deferred.Plan, "materialize", failing)
    (tmp_path / "config.json").write_text(json.dumps(RESNET))
    words = refused(capsys, "checkpoint", "--config", tmp_path, "--out", tmp_path / "x")
    assert words.endswith("config.json: no memory")


def test_values_of_a_config_that_are_in_another(tmp_path: pathlib.Path) -> None:
    found: dict[str, Any] = {"text_config": {"hidden_size": 3}}
    _config._set(found, {"vision_config": {"depth": 1}}, ["text_config.hidden_size=64", "vision_config.depth=2"])
    assert found == {"text_config": {"hidden_size": 64}, "vision_config": {"depth": 2}}


def test_types_that_files_do_not_have() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="'a' is of complex128"):
        _config._dtype_of("a", torch.zeros(1, dtype=torch.complex128))


def test_a_config_without_transformers(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    words = refused(capsys, "checkpoint", "--config", tmp_path, "--out", tmp_path / "x")
    assert "needs PyTorch and transformers" in words


# --- people see how far it is ---------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_has_speed_and_time_left(
    shapes_file: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tqdm")
    for quiet in ([], ["--quiet"]):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        out = tmp_path / f"{len(quiet)}.safetensors"
        assert run("checkpoint", "--shapes", shapes_file, "--out", out, *quiet) == 0
        assert bool(re.search(r"B/s\]", terminal.getvalue())) != bool(quiet)
        assert bool(terminal.getvalue()) != bool(quiet)
