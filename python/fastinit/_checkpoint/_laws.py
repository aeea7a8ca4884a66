"""Which law fills which tensor: laws as text, recipes, defaults; and the same again as text, for a file's metadata."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .._arguments import few, shown
from ..recipes import RECIPES, Initializer, Recipe, by_pattern, load
from ..recipes._named import assign
from ..recipes._patterns import rule
from ..recipes._values import Computed
from ._safetensors import FLOATS, INTEGERS, dtype_of

__all__ = [
    "OF_CONFIG",
    "RANDOM_BITS",
    "Given",
    "Law",
    "RandomBits",
    "Wanted",
    "as_recipe",
    "assigned",
    "check",
    "first_matches",
    "integer_of",
    "parse",
]

_LONGEST = 1000  # characters of a law; Python's parser is not for more from strangers


class RandomBits:
    """The law of integers and bools: the bytes of the tensor are those of the stream's words, of bools the lowest bit.

    So of 32-bit and of 64-bit integers, the elements are those of ``fastinit.random_bits``.
    """

    def __str__(self) -> str:
        return "random_bits()"


RANDOM_BITS = RandomBits()


OF_CONFIG = "config()"  # in a file's metadata: what a model's own code does, which a config stands for


class Given:
    """Values that a model's own code has made, such as those of buffers: the bytes of the tensor."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __str__(self) -> str:
        return OF_CONFIG


Law: TypeAlias = "Initializer | Computed | RandomBits | Given"


class Wanted(NamedTuple):
    """A tensor that is to be made."""

    name: str
    dtype: str
    shape: tuple[int, ...]


# --- laws as text ---------------------------------------------------------------------------------------------------


def parse(text: str) -> Initializer | RandomBits:
    """``normal(std=0.02)``, as a call of a function of fastinit with plain values. Nothing is evaluated."""
    wanted = "a law must be a function of fastinit with arguments by name, such as normal(std=0.02)"
    if len(text) > _LONGEST:
        raise ValueError(f"{wanted}, of at most {_LONGEST} characters, got {len(text)}")
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if isinstance(call, ast.Name):
            call = ast.Call(call, [], [])
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        arguments = {str(word.arg): _value(word.value) for word in call.keywords}
        if len(arguments) < len(call.keywords) or "None" in arguments:  # twice, or **
            raise ValueError
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        raise ValueError(f"{wanted}, got {shown(text)}") from None
    if call.func.id == "random_bits" and not arguments:
        return RANDOM_BITS
    return Initializer(call.func.id, arguments)


def _value(node: ast.expr) -> object:
    """A literal; and inf and nan, which Python has no literals for."""
    if isinstance(node, ast.Name) and node.id in ("inf", "nan"):
        return float(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Name):
        return -_value(node.operand)  # type: ignore[operator]
    return ast.literal_eval(node)


def _text(law: Law) -> str:
    """What ``parse`` makes the same law from; or that a config has to make it."""
    if not isinstance(law, Initializer):
        return str(law) if isinstance(law, RandomBits) else OF_CONFIG
    return f"{law.function}({', '.join(f'{name}={value!r}' for name, value in law.arguments.items())})"


# --- what each tensor gets ------------------------------------------------------------------------------------------

_OF_ZEROS = ("beta", "running_mean", "num_batches_tracked")
_OF_ONES = ("scale", "scale_inv")  # what quantised weights are multiplied by
_ZEROS, _ONES, _NORMAL = Initializer("zeros"), Initializer("ones"), Initializer("normal", std=0.02)
# Laws that integers have, too. Of bools the constants alone.
_CONSTANTS = ("constant", "zeros", "ones")


def _default(tensor: Wanted) -> Initializer | RandomBits:
    last = tensor.name.rpartition(".")[2]
    if last.endswith("bias") or last in _OF_ZEROS:
        return _ZEROS
    if tensor.dtype in INTEGERS:
        return RANDOM_BITS
    return _NORMAL if len(tensor.shape) > 1 and not last.endswith(_OF_ONES) else _ONES


def assigned(
    tensors: Sequence[Wanted], *, law: str | None = None, recipe: str | None = None
) -> dict[str, Initializer | RandomBits]:
    """The law of each tensor: one for all of them, or those of a recipe (its file or name), or the defaults.

    Integers and bools get random bits where the law is one that draws floats.
    """
    chosen: Mapping[str, object]
    if law is not None:
        chosen = dict.fromkeys((tensor.name for tensor in tensors), parse(law))
    elif recipe is not None:
        given: Recipe | str = recipe if recipe in RECIPES and not os.path.exists(recipe) else load(recipe)
        found = assign(given, {tensor.name: tensor.shape for tensor in tensors}, None, None)
        chosen = {name: value for name, (_, value) in found.items()}
    else:
        chosen = {tensor.name: _default(tensor) for tensor in tensors}
    return {tensor.name: _fitting(tensor, chosen[tensor.name]) for tensor in tensors}


def _fitting(tensor: Wanted, law: object) -> Initializer | RandomBits:
    if not isinstance(law, Initializer | RandomBits):
        raise ValueError(f"recipe: a checkpoint has values for each tensor, got {law!r} for {shown(tensor.name)}")
    if tensor.dtype in INTEGERS and not (isinstance(law, Initializer) and law.function in (*_CONSTANTS, "integers")):
        return RANDOM_BITS
    if tensor.dtype in FLOATS and isinstance(law, RandomBits):
        raise ValueError(f"tensor {shown(tensor.name)} is of {FLOATS[tensor.dtype]}: random_bits is for integers")
    return law


def check(laws: Mapping[str, Law], tensors: Iterable[Wanted]) -> None:
    """Refuse what cannot be made, by name, before anything is written."""
    unknown = [tensor for tensor in tensors if tensor.dtype not in FLOATS and tensor.dtype not in INTEGERS]
    if unknown:
        names = few([f"{shown(tensor.name)} ({tensor.dtype})" for tensor in unknown])
        raise ValueError(
            f"tensors of {', '.join(sorted({tensor.dtype for tensor in unknown}))} cannot be made yet: {names}; "
            "`checkpoint --dtype` gives all floats another dtype"
        )
    good: set[tuple[Law, str, tuple[int, ...]]] = set()
    for tensor in tensors:
        law = laws[tensor.name]
        key = law, tensor.dtype, tensor.shape
        if not isinstance(law, Initializer) or key in good:
            continue
        try:
            if tensor.dtype in INTEGERS and law.function in _CONSTANTS:
                integer_of(law, tensor.dtype)
            else:
                law.check(tensor.shape, dtype_of(tensor.dtype))
        except (TypeError, ValueError) as error:
            raise ValueError(f"tensor {shown(tensor.name)} of shape {list(tensor.shape)}: {error}") from None
        good.add(key)


def integer_of(law: Initializer, dtype: str) -> int:
    """The value of a constant as an integer or a bool."""
    value: Any = {"zeros": 0, "ones": 1}.get(law.function, law.arguments.get("value"))
    limits = np.iinfo(dtype_of(dtype)) if dtype != "BOOL" else None
    low, high = (0, 1) if limits is None else (limits.min, limits.max)
    if (isinstance(value, float) and not value.is_integer()) or not low <= value <= high:
        raise ValueError(f"{law!r}: value must be an integer from {low} to {high} for {INTEGERS[dtype]}")
    return int(value)


# --- and as text again ----------------------------------------------------------------------------------------------


def as_recipe(laws: Mapping[str, Law]) -> list[tuple[str, str]]:
    """Patterns and laws as text, which ``first_matches`` and ``parse`` read; ``OF_CONFIG`` for those that are none."""
    texts = {name: _text(law) for name, law in laws.items()}
    # by_pattern only compares values, so any that differ do.
    distinct = list(dict.fromkeys(texts.values()))
    numbers = {text: Initializer("constant", value=i) for i, text in enumerate(distinct)}
    short = by_pattern({name: numbers[text] for name, text in texts.items()})
    return [(pattern, distinct[int(value.arguments["value"])]) for pattern, value in short.items()]  # type: ignore[call-overload]


def first_matches(pairs: Sequence[tuple[str, str]], names: Iterable[str]) -> dict[str, str]:
    """What the first pattern that matches says of each name. Patterns may be for names of other files."""
    names = set(names)
    exact = {pattern: i for i, (pattern, _) in reversed(list(enumerate(pairs))) if pattern in names}
    rules = [(i, rule(pattern, ())) for i, (pattern, _) in enumerate(pairs) if pattern not in names]
    found = {}
    for name in names:
        hits = [i for i, matches in rules if matches(name)][:1] + ([exact[name]] if name in exact else [])
        if not hits:
            raise ValueError(f"recipe: no pattern matches the tensor {shown(name)}")
        found[name] = pairs[min(hits)][1]
    return found
