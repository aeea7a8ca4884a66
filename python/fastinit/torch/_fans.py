"""What the modules that own a parameter know of it: how its shape is read, and which row of it is padding.

The functions of fastinit see a shape alone. It shows neither the groups of a convolution nor its direction, nor how
many matrices are packed into one; the type of the module does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from torch import nn

from fastinit.recipes import Initializer

from . import _compat
from ._parameters import Target

__all__ = ["Owners", "described", "owners_of", "padding_of"]

Shape: TypeAlias = tuple[int, ...]
Owners: TypeAlias = Mapping[int, Sequence[tuple[nn.Module, str]]]  # by id of a tensor: the modules, and its name there


def owners_of(module: nn.Module) -> Owners:
    """The modules that have each parameter."""
    owners: dict[int, list[tuple[nn.Module, str]]] = {}
    for owner in module.modules():
        for key, tensor in _compat.parameters_of(owner).items():
            if tensor is not None:
                owners.setdefault(id(tensor), []).append((owner, key))
    return owners


def _owners(target: Target, owners: Owners) -> Iterator[tuple[nn.Module, str, Shape]]:
    """Those of a parameter by all its names, each with the shape that it has there."""
    for one in (target, *target.aliases):
        for module, key in owners.get(id(one.tensor), ()):
            yield module, key, one.shape


# --- how modules read shapes ----------------------------------------------------------------------------------------


class Reading(NamedTuple):
    """What a module's type says of a shape of two dimensions or more."""

    fan_in: int
    fan_out: int | None  # None: there is no single one
    groups: int | None = None  # of a convolution; None: it is none


def _read_linear(module: nn.Module, key: str, shape: Shape) -> Reading | None:
    """(out, in). What only calls itself linear must have a shape that agrees, and may be (in, out)."""
    n_in, n_out = getattr(module, "in_features", None), getattr(module, "out_features", None)
    if type(n_in) is int and type(n_out) is int and shape in ((n_out, n_in), (n_in, n_out)):
        return Reading(n_in, n_out)
    if isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward and key == "weight":
        return Reading(shape[1], shape[0]) if len(shape) == 2 else None  # a part of the rows or columns was taken away
    return None


def _read_bilinear(module: nn.Module, key: str, shape: Shape) -> Reading | None:
    """(out, in1, in2): an output is a sum over all pairs of inputs. The two inputs may have different fans out."""
    if not (isinstance(module, nn.Bilinear) and key == "weight" and len(shape) == 3):
        return None
    return Reading(shape[1] * shape[2], shape[0] * shape[1] if shape[1] == shape[2] else None)


_CONVOLUTIONS = (
    (nn.Conv1d, nn.ConvTranspose1d, 3),
    (nn.Conv2d, nn.ConvTranspose2d, 4),
    (nn.Conv3d, nn.ConvTranspose3d, 5),
)


def _read_convolution(module: nn.Module, key: str, shape: Shape) -> Reading | None:
    """(out, in / groups, *kernel); transposed (in, out / groups, *kernel)."""
    for kind, transposed, n_dims in _CONVOLUTIONS:
        if isinstance(module, kind | transposed) and key == "weight" and len(shape) == n_dims:
            kernel = math.prod(shape[2:])
            first, second = shape[0] // module.groups * kernel, shape[1] * kernel
            n_in, n_out = (second, first) if isinstance(module, kind) else (first, second)
            return Reading(n_in, n_out, module.groups)
    return None


def _read_recurrent(module: nn.Module, key: str, shape: Shape) -> Reading | None:
    """(gates * hidden, in): of one gate. And the projection of an LSTM, (out, hidden)."""
    if not isinstance(module, nn.RNNBase | nn.RNNCellBase) or len(shape) != 2:
        return None
    if key.startswith(("weight_ih", "weight_hh")):
        return Reading(shape[1], module.hidden_size)
    return Reading(shape[1], shape[0]) if key.startswith("weight_hr") else None


def _read_attention(module: nn.Module, key: str, shape: Shape) -> Reading | None:
    """(3 * out, in): of one of the three projections. And those that are not packed, (out, in)."""
    if not isinstance(module, nn.MultiheadAttention) or len(shape) != 2:
        return None
    if key == "in_proj_weight":
        return Reading(shape[1], shape[0] // 3)
    return Reading(shape[1], shape[0]) if key in ("q_proj_weight", "k_proj_weight", "v_proj_weight") else None


def _read_transformers_conv1d(module: nn.Module, key: str, shape: Shape) -> Reading | None:
    """transformers' ``Conv1D`` is a linear layer of shape (in, out)."""
    n_in, n_out = getattr(module, "nx", None), getattr(module, "nf", None)
    return Reading(*shape) if type(n_in) is int and shape == (n_in, n_out) else None


_READERS = (
    _read_linear,
    _read_bilinear,
    _read_convolution,
    _read_recurrent,
    _read_attention,
    _read_transformers_conv1d,
)


def _readings(owners: Iterable[tuple[nn.Module, str, Shape]], by_fans: bool) -> dict[Reading, str]:
    """What the owners say, each with the name of the type that says it. Of structure, convolutions say most."""
    found: dict[Reading, str] = {}
    for module, key, shape in owners:
        for reader in _READERS:
            if (reading := reader(module, key, shape)) is not None:
                if by_fans and reading.groups is not None:
                    reading = Reading(reading.fan_in, reading.fan_out)
                found.setdefault(reading, type(module).__name__)
    convolutions = {reading: kind for reading, kind in found.items() if reading.groups is not None}
    return convolutions or found


# --- initialisers ---------------------------------------------------------------------------------------------------


def described(initializer: Initializer, target: Target, owners: Owners) -> Initializer:
    """The same initialiser, with what the parameter's modules know where it does not say how shapes are read."""
    shape, takes = target.shape, initializer.takes
    if initializer.is_described or ("fan_in" not in takes and len(shape) < 3):
        return initializer
    if len(shape) < 2:
        raise ValueError(
            f"{initializer!r}: a {'vector' if shape else 'scalar'} has no fans: use an initialiser without fans, such "
            "as zeros, or say what they are"
        )
    modules = list(_owners(target, owners))
    readings = _readings(modules, "fan_in" in takes)
    ways = (
        "in_axis= and out_axis= (with batch_axis= for independent copies, such as experts), layout=, or the fans"
        if "fan_in" in takes
        else "layout='torch' or layout='keras'"
    )
    if len(readings) != 1:
        kinds = ", ".join(dict.fromkeys(type(module).__name__ for module, _, _ in modules))
        if readings:
            said = " and ".join(f"{kind} (fans {reading[0]}, {reading[1]})" for reading, kind in readings.items())
            why = f"the modules that share it read its shape differently, {said}"
        elif modules:
            why = f"its module's type, {kinds}, does not say how its shape is read"
        else:
            why = "no module says how its shape is read"
        raise ValueError(f"{initializer!r}: {why}: give {ways}")
    ((reading, kind),) = readings.items()
    return _with(initializer, *_arguments(initializer, reading, kind, ways).items())


def _arguments(initializer: Initializer, reading: Reading, kind: str, ways: str) -> dict[str, object]:
    """What the function gets."""
    takes = initializer.takes
    if "fan_in" in takes:
        mode = initializer.arguments.get("mode", takes["mode"].default) if "mode" in takes else None
        fans = {"fan_in": reading.fan_in, "fan_out": reading.fan_out}
        needed = [fan for fan in fans if fan in takes and mode in (None, fan, "fan_avg", "fan_geo")]
        if any(fans[fan] is None for fan in needed):
            raise ValueError(f"{initializer!r}: {kind} has two inputs and no single fan_out: give {ways}")
        return {fan: max(1, fans[fan] or 0) for fan in needed}  # 0: a tensor without elements, for which any will do
    groups: dict[str, object] = {}
    if "groups" in takes:
        if reading.groups is None:
            raise ValueError(f"{initializer!r}: {kind} is no convolution: give {ways}")
        groups = {"groups": initializer.arguments.get("groups", reading.groups)}
    elif reading.groups is not None and reading.groups > 1:
        raise ValueError(
            f"{initializer!r} makes one matrix, and this {kind} has {reading.groups} of them, its groups: "
            "give layout='torch' for one matrix of them all"
        )
    return {**groups, "layout": "torch"}


@functools.lru_cache(1024)  # of a model's layers, most are alike
def _with(initializer: Initializer, *more: tuple[str, Any]) -> Initializer:
    return type(initializer)(initializer.function, {**initializer.arguments, **dict(more)})


# --- padding --------------------------------------------------------------------------------------------------------


_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def _padding_idx(module: nn.Module, shape: Shape) -> int | None:
    """That of an embedding. What only calls itself one must have a shape that agrees, and a number for the row."""
    if isinstance(module, _EMBEDDINGS):
        return module.padding_idx
    size = getattr(module, "num_embeddings", None), getattr(module, "embedding_dim", None)
    index = getattr(module, "padding_idx", None)
    return index if type(index) is int and size == shape else None


def padding_of(target: Target, owners: Owners) -> int | None:
    """The row that is 0, since an embedding says that it is padding."""
    found: dict[int, str] = {}
    for module, key, own_shape in _owners(target, owners):
        if key != "weight" or (index := _padding_idx(module, own_shape)) is None:
            continue
        shape = target.shape
        if own_shape != shape or not -shape[0] <= index < shape[0]:
            raise ValueError(
                f"padding_idx of its {type(module).__name__} is {index}, which is no row of the shape {shape}"
            )
        found.setdefault(index % shape[0], type(module).__name__)
    if len(found) > 1:
        raise ValueError(f"the embeddings that share it have different rows of padding, {', '.join(map(str, found))}")
    return next(iter(found), None)
