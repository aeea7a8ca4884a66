"""Whole networks: every parameter, tensor by tensor, through one reused buffer of the size of the largest.

GPT-2 small, and a network with the shapes of Llama 3 8B (Grattafiori et al., "The Llama 3 herd of models", 2024, table
3), by the recipes of fastinit.recipes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import fastinit
from fastinit._tools import shapes
from fastinit._tools.laws import law
from fastinit._tools.peers import numpy_fill
from fastinit.recipes import Initializer, match, named

from . import peers
from .clock import Names, Ratio, Row, Table
from .peers.with_torch import tensor
from .rows import Array, sixteen_bits

Parameter = tuple[str, tuple[int, ...], Initializer]


def gpt2(shrink: int = 1) -> list[Parameter]:
    return _by_recipe("gpt2", shapes.gpt2(), shrink)


def llama(shrink: int = 1) -> list[Parameter]:
    vocabulary, hidden, intermediate, heads, kv_heads = 128256, 4096, 14336, 32, 8
    kv = hidden // heads * kv_heads
    layer = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (intermediate, hidden),
        "mlp.up_proj": (intermediate, hidden),
        "mlp.down_proj": (hidden, intermediate),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    tensors: shapes.Shapes = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for index in range(32):
        tensors |= {f"model.layers.{index}.{name}.weight": shape for name, shape in layer.items()}
    tensors |= {"model.norm.weight": (hidden,), "lm_head.weight": (vocabulary, hidden)}
    return _by_recipe("llama", tensors, shrink)


def _by_recipe(recipe: str, tensors: shapes.Shapes, shrink: int) -> list[Parameter]:
    """Each parameter with what fills it, and every dimension divided by shrink."""
    found = match(named(recipe, tensors), tensors)
    return [
        (name, tuple(max(1, size // shrink) for size in tensors[name]), initializer)
        for name, (_, initializer) in found.items()
        if isinstance(initializer, Initializer)
    ]


def elements(parameters: Sequence[Parameter]) -> int:
    return sum(math.prod(shape) for _, shape, _ in parameters)


def _ours(parameters: Sequence[Parameter], buffer: Array, threads: int) -> Names:
    work = [
        (
            getattr(fastinit, initializer.function),
            buffer[: math.prod(shape)].reshape(shape),
            {**initializer.arguments, "seed": 0, "stream": name, "threads": threads},
        )
        for name, shape, initializer in parameters
    ]
    return {"work": work}


def _torch(torch: Any, parameters: Sequence[Parameter], buffer: Array) -> Names:
    init = torch.nn.init
    functions = {"normal": init.normal_, "ones": init.ones_, "zeros": init.zeros_}
    work = [
        (
            functions[initializer.function],
            tensor(torch, buffer[: math.prod(shape)].reshape(shape)),
            initializer.arguments,
        )
        for _, shape, initializer in parameters
    ]
    return {"work": work}


def _numpy(parameters: Sequence[Parameter], buffer: Array) -> Names:
    by_float32 = buffer.dtype.itemsize == 2
    scratch = np.zeros(buffer.size if by_float32 else 0, np.float32)
    work = [(buffer[: math.prod(shape)], law(initializer, shape)) for _, shape, initializer in parameters]
    return {"work": work, "rng": np.random.default_rng(1), "fill": numpy_fill, "scratch": scratch}


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
    """Peers fill only peers_part of the parameters; mark says which part that is."""
    largest = max(math.prod(shape) for _, shape, _ in parameters)
    memory = np.zeros(largest, np.float32)
    rows: list[Row] = []
    ratios: list[Ratio] = []

    def add(dtype: np.dtype[Any]) -> None:
        w, kind = memory.view(dtype)[:largest], f"{title}, {dtype.name}"

        def row(who: str, name: str, code: str, names: Names, part: list[Parameter], count: int | None) -> Row:
            n = elements(part)
            return Row(who, kind, name, code, lambda _: (names, n), dtype.itemsize, count, parts=1)

        fill = "for fill, w, arguments in work: fill(w, **arguments)"
        own = [row("fastinit", "fastinit", fill, _ours(parameters, w, count), parameters, count) for count in threads]
        names = {"work": [w[: math.prod(shape)] for _, shape, _ in peers_part]}
        limit = row("limit", f"ndarray.fill{mark}", "for w in work: w.fill(1.0)", names, peers_part, 1)
        torch = f"torch.nn.init{mark}"
        theirs = peers.rows_of(
            "torch", kind, lambda library: [row("torch", torch, fill, _torch(library, peers_part, w), peers_part, None)]
        )
        rows.extend([*own, limit, *theirs])
        text = f"{kind}, fastinit, {own[-1].threads} threads /"
        ratios.append(Ratio(f"{text} ndarray.fill{mark}, bytes a second", own[-1], [limit], "bytes"))
        ratios.append(Ratio(f"{text} {torch}, values a second", own[-1], theirs))
        if numpy:
            code = "for w, law in work: fill(rng, w, law, scratch)"
            rows.append(row("numpy", "numpy PCG64 standard_normal(out=)", code, _numpy(parameters, w), parameters, 1))

    for dtype in (np.dtype(np.float32), *(dtype for dtype in sixteen_bits() if dtype.name == "bfloat16")):
        add(dtype)
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
