"""The buffers of a module: the values that their own modules, or the caller, compute, whether they have memory or not.

What a buffer holds may be memory that nobody has written, as after ``to_empty``. So it is computed, or refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NoReturn, TypeAlias

import torch
from torch import Tensor, nn

from fastinit._arguments import few, typed
from fastinit.recipes._patterns import rule

from . import _compat
from ._parameters import Target, overlapping, overlaps_itself, place_of, plain_name
from ._sharding import boxes, is_dtensor
from ._tensor import why_not
from ._twins import Failure, Twins, asking

__all__ = ["Buffer", "Buffers", "attach", "buffers_of", "compute", "decide", "refuse_shared_buffers"]

Function: TypeAlias = Callable[[nn.Module], Tensor]
Buffers: TypeAlias = Literal["keep"] | Mapping[str, Function | Literal["keep"]]


class Buffer:
    """A buffer: one object, whatever its names; what becomes of it, and where its value goes."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.names: list[str] = []
        self.owners: list[nn.Module] = []
        self.keys: list[str] = []
        self.kept = False
        self.function: tuple[str, nn.Module, Function] | None = None  # the caller's, with the name and module it is for
        self.value: Tensor | None = None  # the whole tensor, as its module or the caller computed it
        self.new: Tensor | None = None  # what takes its place, if it has no memory yet
        self.pieces: list[tuple[Tensor, tuple[int, ...]]] = []  # the memory for the value, with offsets in the whole
        self.failures: list[Failure] = []  # of methods that should have computed it

    @property
    def name(self) -> str:
        """The first name."""
        return self.names[0]

    @property
    def described(self) -> str:
        """The first name, and the module that has the buffer."""
        return f"{self.name!r} of {type(self.owners[0]).__name__}"


def buffers_of(module: nn.Module, prefix: str) -> list[Buffer]:
    """The buffers of a module, each once, in the order of their first names."""
    found: dict[int, Buffer] = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        for key, tensor in _compat.buffers_of(owner).items():
            if tensor is not None:
                buffer = found.setdefault(id(tensor), Buffer(tensor))
                buffer.names.append(prefix + plain_name(f"{path}.{key}" if path else key))
                buffer.owners.append(owner)
                buffer.keys.append(key)
    return list(found.values())


def decide(chosen: Sequence[Buffer], every: Iterable[Buffer], buffers: Buffers | None) -> None:
    """Say of the chosen buffers which are kept, and which a function of the caller computes."""
    accepted = 'buffers must be None, "keep", or a mapping from patterns to functions or "keep"'
    rules: Mapping[str, Function | Literal["keep"]]
    if isinstance(buffers, str) and buffers == "keep":
        rules = dict.fromkeys((buffer.name for buffer in chosen), buffers)
    else:
        rules = {} if buffers is None else buffers
    if not isinstance(rules, Mapping):
        raise TypeError(f"{accepted}, got {typed(buffers)}")
    for pattern, function in rules.items():
        if not isinstance(pattern, str) or not (callable(function) or function == "keep"):
            raise TypeError(f"{accepted}, got {typed(pattern)} with {typed(function)}")
    names = [name for buffer in every for name in buffer.names]
    matches = {pattern: rule(pattern, names) for pattern in rules}
    if idle := [pattern for pattern in rules if not any(map(matches[pattern], names))]:
        raise ValueError(f"buffers: no buffer matches the patterns {', '.join(map(repr, idle))}")
    for buffer in chosen:
        found = (
            (name, owner, function)
            for name, owner in zip(buffer.names, buffer.owners, strict=True)
            for pattern, function in rules.items()
            if matches[pattern](name)
        )
        for name, owner, function in found:
            if callable(function):
                buffer.function = name, owner, function
            else:
                buffer.kept = True
            break
    if lost := [buffer.described for buffer in chosen if buffer.kept and buffer.tensor.is_meta]:
        raise ValueError(
            'buffers="keep" is for buffers whose values are right already, but these have none, since they are on the '
            f"meta device: {few(lost)}"
        )


def compute(module: nn.Module, chosen: Iterable[Buffer], device: torch.device) -> None:
    """Find the values of the chosen buffers: from the caller's functions, else from the modules' own methods.

    Nothing is written or attached yet.
    """
    wanted = [buffer for buffer in chosen if not buffer.kept]
    for buffer in wanted:
        _find_memory(buffer, device)
    for buffer in wanted:
        if buffer.function is not None:
            name, owner, function = buffer.function
            buffer.value = _returned(name, buffer.tensor, function(owner))
    _ask_modules(module, [buffer for buffer in wanted if buffer.value is None])
    if missing := [buffer for buffer in wanted if buffer.value is None]:
        _refuse_missing(missing)


def attach(chosen: Iterable[Buffer], device: torch.device) -> None:
    """Write the values into the buffers' memory, and put those with new memory into the places of the old ones."""
    for buffer in chosen:
        value = buffer.value
        if value is None:  # kept
            continue
        with torch.no_grad():
            for piece, offset in buffer.pieces:
                ends = zip(offset, piece.shape, strict=True)
                piece.copy_(value[tuple(slice(start, start + size) for start, size in ends)])
        if buffer.tensor.is_meta:
            for owner, key in zip(buffer.owners, buffer.keys, strict=True):
                _compat.buffers_of(owner)[key] = value.to(device) if buffer.new is None else buffer.new
        elif is_dtensor(buffer.tensor):  # what was written is the tensor inside it
            torch.autograd.graph.increment_version(buffer.tensor)


def refuse_shared_buffers(
    targets: Sequence[Target], to_fill: Iterable[Target], buffers: Sequence[Buffer], chosen: Iterable[Buffer]
) -> None:
    """Refuse buffers that share memory with a parameter or another buffer, if one of the two is to be written."""
    written = {*map(id, to_fill), *(id(buffer) for buffer in chosen if not buffer.kept)}
    all_of_them: list[Target | Buffer] = [*targets, *buffers]
    places = [*(target.place for target in targets), *(place_of(buffer.tensor) for buffer in buffers)]
    for i, j in overlapping(places):
        first, second = all_of_them[i], all_of_them[j]
        if isinstance(second, Buffer) and not written.isdisjoint((id(first), id(second))):
            kind = "buffers" if isinstance(first, Buffer) else "parameter"
            other = "" if isinstance(first, Buffer) else "buffer "
            raise ValueError(
                f"{kind} {first.name!r} and {other}{second.name!r} share memory, so that what is written to one of "
                f"them changes the other; exclude=[{first.name!r}, {second.name!r}] leaves both alone"
            )


# --- where values go ------------------------------------------------------------------------------------------------


def _returned(name: str, old: Tensor, value: object) -> Tensor:
    """What a caller's function returned, if it fits."""
    if not isinstance(value, Tensor):
        raise TypeError(f"buffers: the function for {name!r} must return a tensor, got {typed(value)}")
    if value.device.type != "cpu" or value.shape != old.shape or value.dtype != old.dtype:
        raise ValueError(
            f"buffers: the function for {name!r} must return a tensor of shape {tuple(old.shape)} and dtype "
            f"{old.dtype} on the CPU, got shape {tuple(value.shape)} and dtype {value.dtype} on {value.device}"
        )
    if why := why_not(value.detach(), any_dtype=True):
        raise ValueError(f"buffers: the function for {name!r} must return a tensor that can be kept: it {why}")
    # The caller may have returned it for other buffers too, or a part of a tensor, or of the buffer itself.
    return value.detach().clone(memory_format=torch.contiguous_format)


def _find_memory(buffer: Buffer, device: torch.device) -> None:
    """Give a meta buffer that is a DTensor memory, and find the pieces of any that a value can be written to."""
    old, why = buffer.tensor, None
    if nn.parameter.is_lazy(old):
        why = "has no shape yet: run the module on an example first"
    elif is_dtensor(old) and old.is_meta:
        buffer.new = torch.empty_like(old, device=device, requires_grad=False)
        why = _find_pieces(buffer, buffer.new, device)
    elif old.is_meta:
        why = why_not(old, meta=True, any_dtype=True)
    else:
        why = _find_pieces(buffer, old, device)
    if why is not None:
        raise ValueError(
            f"buffer {buffer.described} {why}; it stays as it is with exclude={buffer.name!r}, or with "
            f'buffers={{{buffer.name!r}: "keep"}} if its values are right already'
        )


def _find_pieces(buffer: Buffer, memory: Tensor, device: torch.device) -> str | None:
    """Where in this memory the value goes, or why it cannot go there."""
    try:
        _, buffer.pieces = boxes(memory)
    except ValueError as error:
        return f"cannot be written: {error}"
    for piece, _ in buffer.pieces:
        if why := why_not(piece, any_dtype=True, device=device):
            return why
        if overlaps_itself(piece):
            return "must have memory for each of its elements, got some that share it"
    return None


# --- what modules compute -------------------------------------------------------------------------------------------


def _ask_modules(module: nn.Module, wanted: Sequence[Buffer]) -> None:
    """Take what the modules' own methods compute, or note why they do not."""
    of_owner: dict[int, tuple[nn.Module, list[tuple[Buffer, str]]]] = {}
    for buffer in wanted:
        for owner, key in zip(buffer.owners, buffer.keys, strict=True):
            of_owner.setdefault(id(owner), (owner, []))[1].append((buffer, key))
    twins = Twins(module)
    with asking():
        for owner, asked in of_owner.values():
            for answers in twins.ask(owner, [key for _, key in asked]):
                for buffer, key in asked:
                    answer = answers[key]
                    if isinstance(answer, Failure):
                        buffer.failures.append(answer)
                    elif buffer.value is None:
                        buffer.value = answer
                if all(buffer.value is not None for buffer, _ in asked):
                    break


def _refuse_missing(missing: Sequence[Buffer]) -> NoReturn:
    """Name the buffers that nobody computes, and what failed; the first error of a method is the cause."""
    failures = [min(buffer.failures, key=lambda failure: failure.rank, default=None) for buffer in missing]
    listed = [
        buffer.described if failure is None else f"{buffer.described} ({failure.text})"
        for buffer, failure in zip(missing, failures, strict=True)
    ]
    said = f"no method of their modules computes these buffers: {few(listed)}"
    if all(buffer.tensor.is_meta for buffer in missing):
        said += ", which are on the meta device; pass "
    else:
        said += (
            ". What they hold may be memory that nobody has written, as after to_empty; if their values are right "
            'already, pass buffers="keep" (or {pattern: "keep"}); else '
        )
    said += (
        "buffers={pattern: function}, where function gets the module and returns the tensor, or leave them alone with "
        "exclude="
    )
    causes = [failure for failure in failures if failure is not None and failure.error is not None]
    cause = min(causes, key=lambda failure: failure.rank).error if causes else None
    raise ValueError(said) from cause
