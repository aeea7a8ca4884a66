"""Whole networks: every parameter, tensor by tensor, through one reused buffer of the size of the largest.

GPT-2 small by its recipe, and the shapes of a Llama-like network of 8 billion parameters (Grattafiori et al., "The
Llama 3 herd of models", 2024, table 3) as N(0, 0.02) with norms of ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import fastinit
from fastinit._tools import demo as _demo

from . import peers
from .clock import Names, Ratio, Row, Table
from .peers.with_torch import tensor
from .rows import Array, sixteen_bits

_MATRIX: _demo.Recipe = {"function": "normal", "arguments": {"mean": 0.0, "std": 0.02}}
_NORM: _demo.Recipe = {"function": "ones", "arguments": {}}

Parameter = tuple[str, tuple[int, ...], _demo.Recipe]


def gpt2(shrink: int = 1) -> list[Parameter]:
    model = _demo.load("gpt2")
    return [
        (each["name"], _shrunk(each["shape"], shrink), model["recipes"][each["recipe"]]) for each in model["parameters"]
    ]


def llama_layer(index: int) -> list[tuple[str, tuple[int, ...]]]:
    hidden, intermediate, heads, kv_heads = 4096, 14336, 32, 8
    kv = hidden // heads * kv_heads
    shapes = {
        "self_attn.q_proj.weight": (hidden, hidden),
        "self_attn.k_proj.weight": (kv, hidden),
        "self_attn.v_proj.weight": (kv, hidden),
        "self_attn.o_proj.weight": (hidden, hidden),
        "mlp.gate_proj.weight": (intermediate, hidden),
        "mlp.up_proj.weight": (intermediate, hidden),
        "mlp.down_proj.weight": (hidden, intermediate),
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
    }
    return [(f"model.layers.{index}.{name}", shape) for name, shape in shapes.items()]


def llama(shrink: int = 1) -> list[Parameter]:
    vocabulary, hidden, layers = 128256, 4096, 32
    tensors: list[tuple[str, tuple[int, ...]]] = [("model.embed_tokens.weight", (vocabulary, hidden))]
    for index in range(layers):
        tensors += llama_layer(index)
    tensors += [("model.norm.weight", (hidden,)), ("lm_head.weight", (vocabulary, hidden))]
    return [(name, _shrunk(shape, shrink), _MATRIX if len(shape) > 1 else _NORM) for name, shape in tensors]


def _shrunk(shape: Sequence[int], shrink: int) -> tuple[int, ...]:
    return tuple(max(1, size // shrink) for size in shape)


def elements(parameters: Sequence[Parameter]) -> int:
    return sum(math.prod(shape) for _, shape, _ in parameters)


def _ours(parameters: Sequence[Parameter], buffer: Array, threads: int) -> Names:
    work = [
        (
            getattr(fastinit, recipe["function"]),
            buffer[: math.prod(shape)].reshape(shape),
            {**recipe["arguments"], "seed": 0, "stream": name, "threads": threads},
        )
        for name, shape, recipe in parameters
    ]
    return {"work": work}


def _torch(torch: Any, parameters: Sequence[Parameter], buffer: Array) -> Names:
    init = torch.nn.init
    functions = {"normal": init.normal_, "ones": init.ones_, "zeros": init.zeros_}
    work = [
        (
            functions[recipe["function"]],
            tensor(torch, buffer[: math.prod(shape)].reshape(shape)),
            recipe["arguments"],
        )
        for _, shape, recipe in parameters
    ]
    return {"work": work}


def _numpy(parameters: Sequence[Parameter], buffer: Array) -> Names:
    by_float32 = buffer.dtype.itemsize == 2
    scratch = np.zeros(buffer.size if by_float32 else 0, np.float32)
    work = [(buffer[: math.prod(shape)], _demo.promised(recipe, list(shape))) for _, shape, recipe in parameters]
    return {"work": work, "rng": np.random.default_rng(1), "fill": _demo.numpy_fill, "scratch": scratch}


def _table(
    title: str,
    parameters: list[Parameter],
    peers_part: list[Parameter],
    mark: str,
    threads: list[int],
    *,
    numpy: bool,
    rounds: int,
) -> Table:
    """The others fill that part of the parameters; mark says which."""
    largest = max(math.prod(shape) for _, shape, _ in parameters)
    memory = np.zeros(largest, np.float32)
    rows: list[Row] = []
    ratios: list[Ratio] = []
    torch = peers.library("torch")
    bfloat16 = [dtype for dtype in sixteen_bits() if dtype.name == "bfloat16"]
    for dtype in (np.dtype(np.float32), *bfloat16):
        w, kind = memory.view(dtype)[:largest], f"{title}, {dtype.name}"

        def row(
            who: str,
            name: str,
            code: str,
            names: Names,
            part: list[Parameter],
            count: int | None,
            kind: str = kind,
            itemsize: int = dtype.itemsize,
        ) -> Row:
            n = elements(part)
            return Row(who, kind, name, code, lambda _: (names, n), itemsize, count, parts=1)

        fill = "for fill, w, arguments in work: fill(w, **arguments)"
        own = [row("fastinit", "fastinit", fill, _ours(parameters, w, count), parameters, count) for count in threads]
        rows += own
        names = {"work": [w[: math.prod(shape)] for _, shape, _ in peers_part]}
        rows.append(row("limit", f"ndarray.fill{mark}", "for w in work: w.fill(1.0)", names, peers_part, 1))
        text = f"{kind}, fastinit, {own[-1].threads} threads / ndarray.fill{mark}, bytes a second"
        ratios.append(Ratio(text, own[-1], [rows[-1]], "bytes"))
        if torch:
            theirs = row("torch", f"torch.nn.init{mark}", fill, _torch(torch, peers_part, w), peers_part, None)
            rows.append(theirs)
            text = f"{kind}, fastinit, {own[-1].threads} threads / torch.nn.init{mark}, values a second"
            ratios.append(Ratio(text, own[-1], [theirs]))
        if numpy:
            code = "for w, want in work: fill(rng, w, want, scratch)"
            rows.append(row("numpy", "numpy PCG64 standard_normal(out=)", code, _numpy(parameters, w), parameters, 1))
    question = f"{title}: all {elements(parameters):,} parameters in {len(parameters)} tensors, one reused buffer"
    return Table("models", question, None, rows, ratios, most_rounds=rounds)


def tables(threads: list[int], shrink: int, full: bool) -> Iterator[Table]:
    small = f", every dimension by {shrink}" if shrink > 1 else ""
    parameters = gpt2(shrink)
    yield _table(f"GPT-2 small{small}", parameters, parameters, "", threads, numpy=True, rounds=7)
    parameters = llama(shrink)
    layer = [each for each in parameters if each[0].startswith("model.layers.0.")]
    whole = full or shrink > 1
    part, mark = (parameters, "") if whole else (layer, ", 1 of 32 layers")
    yield _table(f"Llama-shaped, 8 billion{small}", parameters, part, mark, threads[-1:], numpy=False, rounds=3)
