"""A whole module by a recipe: each parameter's stream is its name, so that a weight depends on nothing else.

This file knows modules: names, ties, meta tensors, buffers. Which law a parameter gets is the recipe's matter
(``fastinit.recipes``), which part of it this process holds is ``sharding``'s, and what memory is, ``_tensor``'s.

Everything that can be refused is refused before the first write: new memory, buffers and trials of fills come first.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import fnmatch
import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

import fastinit
from fastinit import Summary, summary
from fastinit._arguments import stream_number, typed
from fastinit.recipes import Initializer, Recipe, match, named

from ._sharding import boxes, is_dtensor
from ._tensor import array_of, why_not, write

# What torch.compile and activation checkpointing put into the names of what they wrap: none of the model's own.
_WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.")
# Methods of modules that compute buffers: torch's norms; timm; torchtune's rotary embeddings; anybody's.
_METHODS = ("reset_running_stats", "init_non_persistent_buffers", "rope_init", "reset_parameters")
_WORD = 2**64


# --- the report -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What became of one parameter.

    ``measured_mean``, ``measured_std`` and ``digest`` are of the ``n`` elements that this process has filled: of a
    DTensor, its own pieces. They are None with ``report=False``, and the moments are NaN where n is 0.
    """

    name: str
    shape: tuple[int, ...]  # of the whole tensor
    dtype: str
    pattern: str
    initializer: Initializer
    expected_mean: float
    expected_std: float
    n: int
    measured_mean: float | None
    measured_std: float | None
    digest: int | None
    frozen: bool  # does not require grad; filled like the others
    tied: tuple[str, ...]  # its other names


@dataclass(frozen=True)
class Report:
    """What ``init_module`` did. ``str(report)`` is a table."""

    rows: tuple[Row, ...]
    buffers: tuple[str, ...]  # those that were on the meta device and have been computed
    seed: int
    bit_generator: str

    @property
    def digest(self) -> int | None:
        """64 bits of all values under their names, None with ``report=False``.

        Equal modules have equal digests in any process. The digests of processes that hold disjoint pieces of DTensors
        add up, mod 2**64, to that of the whole module.
        """
        total = 0
        for row in self.rows:
            if row.digest is None:
                return None
            total += row.digest * (stream_number(row.name) | 1)  # an odd factor loses nothing
        return total % _WORD

    def __str__(self) -> str:
        """A table of the rows, and what they come to."""
        head = ("parameter", "shape", "dtype", "initializer", "mean", "expected", "std", "expected", "digest")
        table = [head, *map(_cells, self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        n = sum(row.n for row in self.rows)
        whole = sum(math.prod(row.shape) for row in self.rows)
        lines.append(
            f"{len(self.rows)} parameters, {whole} elements{f', {n} of them here' if n != whole else ''}; "
            f"seed {self.seed}, {self.bit_generator}"
            + (f"; digest {self.digest:016x}" if self.digest is not None else "")
        )
        lines += [f"{row.name} is also {', '.join(row.tied)}" for row in self.rows if row.tied]
        frozen = [row.name for row in self.rows if row.frozen]
        if frozen:
            lines.append(f"frozen, and filled all the same: {', '.join(frozen)}")
        if self.buffers:
            lines.append(f"buffers computed: {', '.join(self.buffers)}")
        return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    moments = (row.measured_mean, row.expected_mean, row.measured_std, row.expected_std)
    return (
        row.name,
        "x".join(map(str, row.shape)) or "-",
        row.dtype,
        str(row.initializer),
        *("-" if moment is None else f"{moment:.4g}" for moment in moments),
        "-" if row.digest is None else f"{row.digest:016x}",
    )


# --- parameters -----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Target:
    """A parameter: one object, whatever its names, with whatever shares its memory."""

    tensor: Tensor
    names: list[str]
    new: Tensor | None = None  # what takes its place, if it has no memory yet
    aliases: list[_Target] = field(default_factory=list)  # parameters that are other views of the same memory

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def filled(self) -> Tensor:
        return self.tensor if self.new is None else self.new


def _name(qualified: str) -> str:
    for wrapper in _WRAPPERS:
        qualified = qualified.replace(wrapper, "")
    return qualified


def _targets(module: nn.Module) -> list[_Target]:
    """Each parameter object once, in the order of first names."""
    found: dict[int, _Target] = {}
    for name, tensor in module.named_parameters(remove_duplicate=False):
        found.setdefault(id(tensor), _Target(tensor, [])).names.append(_name(name))
    targets = list(found.values())
    for name, n in collections.Counter(target.name for target in targets).items():
        if n > 1:
            raise ValueError(
                f"{n} parameters are called {name!r}, without {', '.join(map(repr, _WRAPPERS))} in their names"
            )
    return targets


def _refuse(name: str, tensor: Tensor, why: str) -> None:
    if tensor.device.type not in ("cpu", "meta"):
        why += "; move the module to the CPU, or build it there or on the meta device, and move it when it is filled"
    raise ValueError(f"parameter {name!r} {why}")


@contextlib.contextmanager
def _errors_of(target: _Target) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"parameter {target.name!r} of shape {tuple(target.tensor.shape)}: {error}") from None


def _overlaps_itself(tensor: Tensor) -> bool:
    """Whether elements may share memory: no dimension's step goes beyond all that the smaller steps reach."""
    reach = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride <= reach:
                return True
            reach += stride * (size - 1)
    return False


def _merge(targets: list[_Target]) -> list[_Target]:
    """Parameters that are views of the same memory become aliases of the first; those that share some are refused."""
    storages: dict[int, dict[tuple[Any, ...], _Target]] = {}
    merged = []
    for target in targets:
        tensor = target.tensor
        if is_dtensor(tensor) or tensor.numel() == 0:  # pieces of a DTensor lie in memory of its own
            merged.append(target)
            continue
        start, end = _extent(tensor)
        geometry = () if end - start == tensor.numel() * tensor.element_size() else (tensor.shape, tensor.stride())
        views = storages.setdefault(tensor.untyped_storage()._cdata, {})
        first = views.setdefault((start, end, str(tensor.dtype), *geometry), target)
        if first is target:
            merged.append(target)
        else:
            first.aliases.append(target)
    for views in storages.values():
        ranges = sorted(views.items(), key=lambda item: item[0][:2])
        for ((_, end, *_), one), ((start, *_), other) in itertools.pairwise(ranges):
            if start < end:
                first, second = sorted((one, other), key=targets.index)
                raise ValueError(
                    f"parameters {first.name!r} and {second.name!r} share part of their memory: they must be views of "
                    "the same elements, or of none in common"
                )
    return merged


def _need_own_memory(targets: list[_Target], pieces: list[list[tuple[Tensor, tuple[int, ...]]]]) -> None:
    """Refuses DTensors whose pieces share memory, which would be filled twice."""
    owners: dict[tuple[int, int, int], _Target] = {}
    for target, held in zip(targets, pieces, strict=True):
        for piece, _ in held if is_dtensor(target.filled) else ():
            if piece.numel() > 0:
                first = owners.setdefault((piece.untyped_storage()._cdata, *_extent(piece)), target)
                if first is not target:
                    raise ValueError(
                        f"parameters {first.name!r} and {target.name!r} are DTensors on the same memory: tied weights "
                        "must be one Parameter"
                    )


def _extent(tensor: Tensor) -> tuple[int, int]:
    """Where in its storage a tensor of at least one element lies, in bytes."""
    start = int(tensor.storage_offset())
    last = start + sum(stride * (size - 1) for stride, size in zip(tensor.stride(), tensor.shape, strict=True))
    return start * tensor.element_size(), (last + 1) * tensor.element_size()


def _materialise(targets: list[_Target]) -> None:
    """Give those on the meta device a parameter with memory, and what shares memory there shares it here too."""
    storages: dict[int, torch.UntypedStorage] = {}
    for target in itertools.chain.from_iterable((target, *target.aliases) for target in targets):
        old = target.tensor
        if not old.is_meta:
            continue
        if is_dtensor(old):
            data = torch.empty_like(old, device="cpu", requires_grad=False)
        else:
            storage = old.untyped_storage()
            if storage._cdata not in storages:
                storages[storage._cdata] = torch.empty(
                    storage.nbytes(), dtype=torch.uint8, device="cpu"
                ).untyped_storage()
            data = torch.empty(0, dtype=old.dtype, device="cpu")
            data.set_(storages[storage._cdata], old.storage_offset(), old.shape, old.stride())
        target.new = nn.Parameter(data, requires_grad=old.requires_grad)
        target.new.__dict__.update(old.__dict__)


# --- buffers --------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Buffer:
    """A buffer on the meta device: one object, whatever its names, and the tensor that will take its place."""

    tensor: Tensor
    names: list[str] = field(default_factory=list)
    owners: list[nn.Module] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    new: Tensor | None = None


def _buffers(module: nn.Module, given: Mapping[str, Callable[[nn.Module], Tensor]] | None) -> list[_Buffer]:
    """All buffers on the meta device, with their values: from the caller's functions, else from the modules' own."""
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise TypeError(f"buffers must be a mapping from patterns to functions, got {typed(given)}")
    for pattern, function in given.items():
        if not isinstance(pattern, str) or not callable(function):
            raise TypeError(
                f"buffers must be a mapping from patterns to functions, got {typed(pattern)} with {typed(function)}"
            )
    found: dict[int, _Buffer] = {}
    names = []
    for prefix, owner in module.named_modules(remove_duplicate=False):
        for key, tensor in owner._buffers.items():
            if tensor is None:
                continue
            names.append(_name(f"{prefix}.{key}" if prefix else key))
            if tensor.is_meta:
                buffer = found.setdefault(id(tensor), _Buffer(tensor))
                buffer.names.append(names[-1])
                buffer.owners.append(owner)
                buffer.keys.append(key)
    idle = [pattern for pattern in given if not any(fnmatch.fnmatchcase(name, pattern) for name in names)]
    if idle:
        raise ValueError(f"buffers: no buffer matches the patterns {', '.join(map(repr, idle))}")
    for buffer in found.values():
        for name, owner in zip(buffer.names, buffer.owners, strict=True):
            for pattern, function in given.items():
                if buffer.new is None and fnmatch.fnmatchcase(name, pattern):
                    buffer.new = _computed(name, buffer.tensor, function(owner))
    _ask_modules(module, [buffer for buffer in found.values() if buffer.new is None])
    missing = [buffer for buffer in found.values() if buffer.new is None]
    if missing:
        listed = ", ".join(f"{buffer.names[0]!r} of {type(buffer.owners[0]).__name__}" for buffer in missing)
        raise ValueError(
            f"these buffers are on the meta device and no method of their modules computes them: {listed}; pass "
            "buffers={pattern: function}, where function gets the module and returns the tensor"
        )
    return list(found.values())


def _computed(name: str, old: Tensor, value: object) -> Tensor:
    """What a caller's function returned, if it fits."""
    if not isinstance(value, Tensor):
        raise TypeError(f"buffers: the function for {name!r} must return a tensor, got {typed(value)}")
    if value.device.type != "cpu" or value.shape != old.shape or value.dtype != old.dtype:
        raise ValueError(
            f"buffers: the function for {name!r} must return a tensor of shape {tuple(old.shape)} and dtype "
            f"{old.dtype} on the CPU, got shape {tuple(value.shape)} and dtype {value.dtype} on {value.device}"
        )
    return value.detach()


def _ask_modules(module: nn.Module, wanted: list[_Buffer]) -> None:
    """Have modules compute their own buffers, each on a copy of it that shares no tensor with it.

    In the copy, parameters are on the meta device and buffers have memory. What a method writes or registers there is
    taken; what it leaves alone is not known to be right.
    """
    for buffer in wanted:
        for owner, key in zip(buffer.owners, buffer.keys, strict=True):
            for method in _methods(module, owner):
                if buffer.new is not None:
                    break
                # A method that fails is not the one; if all do, the caller hears which buffer is missing.
                with contextlib.suppress(Exception):
                    buffer.new = _written(owner, key, method)


def _written(owner: nn.Module, key: str, method: Callable[[nn.Module], object]) -> Tensor | None:
    """The buffer that a method writes or registers in a copy of the module, None if it does not or it does not fit.

    Asked twice, with other values in the buffers that have none yet: what follows from those is no answer.
    """
    one, other = (_written_over(value, owner, key, method) for value in (0, 1))
    return one if one is not None and other is not None and torch.equal(one, other) else None


def _written_over(value: int, owner: nn.Module, key: str, method: Callable[[nn.Module], object]) -> Tensor | None:
    memo: dict[int, object] = {}
    for parameter in owner.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)
    for tensor in owner.buffers():
        memo[id(tensor)] = torch.full_like(tensor, value, device="cpu") if tensor.is_meta else tensor.clone()
    twin = copy.deepcopy(owner, memo)
    old = twin._buffers[key]
    assert old is not None
    version = old._version
    with torch.device("cpu"), torch.no_grad(), torch.random.fork_rng(devices=[]):
        method(twin)
    new = twin._buffers[key]
    if new is None or (new is old and old._version == version):
        return None
    return new if (new.shape, new.dtype, new.device) == (old.shape, old.dtype, old.device) else None


def _methods(module: nn.Module, owner: nn.Module) -> Iterator[Callable[[nn.Module], object]]:
    """What may compute the buffers of a module, given a copy of it."""
    for name in _METHODS:
        if callable(getattr(owner, name, None)):
            yield operator.methodcaller(name)
    # transformers: the model that has the module, the innermost first, knows how, by its configuration
    for model in reversed(list(module.modules())):
        method: Any = getattr(model, "_init_weights", None)
        if callable(method) and any(child is owner for child in model.modules()):
            yield method


# --- the call -------------------------------------------------------------------------------------------------------


def init_module(
    module: nn.Module,
    seed: int = 0,
    *,
    recipe: Recipe | Literal["gpt2", "llama", "vit", "resnet"],
    buffers: Mapping[str, Callable[[nn.Module], Tensor]] | None = None,
    threads: int | None = None,
    bit_generator: Literal["ars", "philox"] = "ars",
    report: bool = True,
) -> Report:
    """Fill every parameter of a module by a recipe, in place.

    The value of an element depends on the seed, the parameter's qualified name, the element's index in the whole
    tensor, the dtype and the initialiser alone: another layer, another mesh, another order of construction or a stay on
    the meta device changes no bit. ``fastinit.<function>(array, ..., layout="torch", seed=seed, stream=name)`` has the
    same.

    Args:
        module: any ``torch.nn.Module`` whose parameters are float32, float64, float16 or bfloat16 in the memory of the
            CPU, or on the meta device, plain or DTensors. Those on the meta device get memory; they are new Parameter
            objects with the attributes of the old ones, so make the optimizer afterwards. The others are filled in
            place. Frozen ones are filled like the rest. A parameter in several places is filled once, under its first
            name, and so are parameters that are views of the same memory.
        seed: int, 0 .. 2**64-1.
        recipe: pairs of (pattern, ``fastinit.recipes.Initializer``), or a mapping, where the first pattern that matches
            the name has the parameter; or the name of a shipped one (``fastinit.recipes.RECIPES``), which reads depth
            and options from the names and shapes.
        buffers: functions for buffers on the meta device, by patterns of their names; each gets the module that has the
            buffer and returns the tensor. Without one, the module's own methods are asked: ``reset_running_stats`` of
            norms, ``init_non_persistent_buffers`` (timm), ``rope_init``, transformers' ``_init_weights``,
            ``reset_parameters``. Buffers with memory are left alone.
        threads, bit_generator: as in ``help(fastinit)``.
        report: whether to measure what was filled.

    Returns:
        A ``Report``: ``rows`` by parameter, ``digest``, and a table as ``str``.

    Raises:
        TypeError, ValueError: an argument is none of these; a parameter cannot be filled, has no pattern, or is refused
            by its initialiser; a pattern has no parameter; a buffer cannot be computed. Then nothing has been changed.

    Bits:
        As ``help(fastinit)`` promises for the functions that the recipe names.

    Example:
        >>> import torch, fastinit.torch
        >>> from fastinit.recipes import Initializer
        >>> with torch.device("meta"):
        ...     layer = torch.nn.Linear(1024, 256)
        >>> recipe = {"weight": Initializer("he_normal"), "bias": Initializer("zeros")}
        >>> report = fastinit.torch.init_module(layer, seed=0, recipe=recipe)
        >>> [(row.name, round(row.expected_std, 4)) for row in report.rows]
        [('weight', 0.0442), ('bias', 0.0)]
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {typed(module)}")
    if isinstance(module, nn.parallel.DistributedDataParallel):
        module = module.module  # its names are the model's own
    if seed is None:
        raise TypeError("seed must be an int, 0 .. 2**64-1, got None")
    fastinit.zeros(
        np.empty(0), seed=seed, threads=threads, bit_generator=bit_generator
    )  # refuses what the fills would refuse
    if not isinstance(report, bool):
        raise TypeError(f"report must be True or False, got {typed(report)}")

    targets = _targets(module)
    for target in targets:
        tensor = target.tensor
        if getattr(tensor, "_fsdp_flattened", False):  # torch's own mark
            raise ValueError(
                f"parameter {target.name!r} was flattened by FullyShardedDataParallel, and has lost its shape or name: "
                "fill the module before it is wrapped, or use fully_shard"
            )
        if not is_dtensor(tensor) and (why := why_not(tensor, meta=True)):
            _refuse(target.name, tensor, why)
    targets = _merge(targets)
    shapes = {target.name: tuple(target.tensor.shape) for target in targets}
    rules = match(named(recipe, shapes) if isinstance(recipe, str) else recipe, shapes)
    _materialise(targets)
    pieces = []
    for target in targets:
        with _errors_of(target):
            pieces.append(boxes(target.filled)[1])
        for piece, _ in pieces[-1]:
            if why := why_not(piece):
                _refuse(target.name, piece, why)
            if _overlaps_itself(piece):
                _refuse(target.name, piece, "must have memory for each of its elements, got some that share it")
        with _errors_of(target):
            dtype = array_of(torch.empty(0, dtype=target.tensor.dtype, device="cpu")).dtype
            rules[target.name][1].check(shapes[target.name], dtype)
    _need_own_memory(targets, pieces)
    restored = _buffers(module, buffers)

    rows = []
    for target, held in zip(targets, pieces, strict=True):
        pattern, initializer = rules[target.name]
        shape = shapes[target.name]
        measured = []
        for piece, offset in held:
            fill = functools.partial(
                initializer.fill,
                seed=seed,
                stream=target.name,
                global_shape=shape,
                offset=offset,
                threads=threads,
                bit_generator=bit_generator,
            )
            write(piece, fill)
            if report:
                measured.append(summary(array_of(piece), global_shape=shape, offset=offset, threads=threads))
        n = sum(piece.numel() for piece, _ in held)
        rows.append(_row(target, shape, pattern, initializer, n, measured if report else None))
    _attach(module, targets, restored)
    return Report(tuple(rows), tuple(name for buffer in restored for name in buffer.names), int(seed), bit_generator)


def _row(
    target: _Target,
    shape: tuple[int, ...],
    pattern: str,
    initializer: Initializer,
    n: int,
    measured: list[Summary] | None,
) -> Row:
    expected_mean, expected_std = initializer.moments(shape)
    mean = std = digest = None
    if measured is not None:
        parts = [part for part in measured if part.n > 0]
        mean = sum(part.n * part.mean for part in parts) / n if n else math.nan
        std = math.sqrt(sum(part.n * (part.std**2 + (part.mean - mean) ** 2) for part in parts) / n) if n else math.nan
        digest = sum(part.digest for part in parts) % _WORD
    return Row(
        name=target.name,
        shape=shape,
        dtype=str(target.tensor.dtype).removeprefix("torch."),
        pattern=pattern,
        initializer=initializer,
        expected_mean=expected_mean,
        expected_std=expected_std,
        n=n,
        measured_mean=mean,
        measured_std=std,
        digest=digest,
        frozen=not target.tensor.requires_grad,
        tied=(*target.names[1:], *(name for alias in target.aliases for name in alias.names)),
    )


def _attach(module: nn.Module, targets: list[_Target], buffers: list[_Buffer]) -> None:
    """Put what is new into its places, and tell autograd of other views of what was filled: aliases, DTensors."""
    new: dict[int, Tensor] = {}
    for target in itertools.chain.from_iterable((target, *target.aliases) for target in targets):
        if target.new is not None:
            new[id(target.tensor)] = target.new
        else:
            torch.autograd.graph.increment_version(target.tensor)
    for owner in list(module.modules()):
        for key, tensor in list(owner._parameters.items()):
            if id(tensor) in new:
                setattr(owner, key, new[id(tensor)])  # not into _parameters: recurrent layers keep a list of their own
    for buffer in buffers:
        for owner, key in zip(buffer.owners, buffer.keys, strict=True):
            owner._buffers[key] = buffer.new
