"""A checkpoint that is no file: a reader for torch.distributed.checkpoint that makes each piece when it is asked for.

This file knows the reader's protocol and recipes. Which rank needs which piece of a tensor is the business of whoever
plans the load; the reader fills boxes. It is imported when ``fastinit.torch.FastInitReader`` is first used, since
torch.distributed.checkpoint takes long to import.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.distributed.checkpoint.storage import StorageReader

from .. import recipes
from .._arguments import typed
from . import _tensor
from ._module import _name
from ._sharding import boxes, is_dtensor


class FastInitReader(StorageReader):
    """Initialises any sharded state by ``dcp.load(state_dict, storage_reader=FastInitReader(model, recipe))``: no file.

    Each process fills the pieces that its state dict holds, with the values that ``init_module`` gives the whole module
    for the same recipe and seed, whatever the mesh. ``dcp.load`` itself gathers the plans of all processes (lists of
    boxes, no values); with ``no_dist=True`` it does not.

    What the recipe makes: of a module, its parameters; of a state dict, its floating-point tensors. Everything else
    (buffers of the module, integer tensors, numbers, bytes) is left as it is in the state dict that is loaded. Tensors
    that share memory are one parameter, under the first of their names.

    Args:
        source: a module or a state dict, on any device ("meta" too): its names, global shapes and dtypes are taken.
        recipe: the name of a shipped recipe, or patterns and initialisers; see ``fastinit.recipes``.
        seed: int, 0 .. 2**64-1; a parameter's stream is its name.
        prefix: what comes before the names in the state dict that is loaded: "model." for ``dcp.load({"model":
            model.state_dict()}, ...)``. It is no part of a parameter's name for the recipe and the stream.
        threads, bit_generator: as everywhere; see ``help(fastinit)``.

    Raises:
        TypeError, ValueError: a parameter without a pattern, a pattern without a parameter, a tensor of another dtype
            than the four, an argument that fastinit refuses; or what would be left as it is has no values, since it is
            on the meta device.

    Example:
        >>> import torch, torch.distributed.checkpoint as dcp
        >>> from fastinit.recipes import Initializer
        >>> from fastinit.torch import FastInitReader
        >>> model = torch.nn.Linear(4, 4)
        >>> reader = FastInitReader(model, {"weight": Initializer("he_normal"), "bias": Initializer("zeros")}, seed=0)
        >>> dcp.load(model.state_dict(), storage_reader=reader, no_dist=True)
    """

    def __init__(
        self,
        source: torch.nn.Module | Mapping[str, Any],
        recipe: str | recipes.Recipe,
        seed: int = 0,
        *,
        prefix: str = "",
        threads: int | None = None,
        bit_generator: Literal["ars", "philox"] = "ars",
    ) -> None:
        """Read names, shapes and dtypes; check all of the recipe before anything is filled."""
        if seed is None:
            raise TypeError("seed must be an int, 0 .. 2**64-1, got None")
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be a str, got {typed(prefix)}")
        of_module = isinstance(source, torch.nn.Module)
        state: Mapping[str, Any] = source.state_dict(keep_vars=True) if isinstance(source, torch.nn.Module) else source
        if not isinstance(state, Mapping):
            raise TypeError(f"source must be a module or a state dict, got {source!r:.80} of {type(source).__name__}")
        names: dict[str, str] = {}  # of each entry that is made: the name of its parameter
        firsts: dict[object, str] = {}
        tensors: dict[str, Tensor] = {}
        metadata: dict[str, TensorStorageMetadata | BytesStorageMetadata] = {}
        for name, value in state.items():
            metadata[prefix + name] = _declared(value)
            made = isinstance(value, torch.nn.Parameter) if of_module else _is_float(value)
            if made:
                names[name] = firsts.setdefault(_memory(value), _name(name))
                tensors.setdefault(names[name], value)
            elif isinstance(value, Tensor) and value.is_meta:
                raise ValueError(
                    f"{name}: the recipe makes {'parameters' if of_module else 'floating-point tensors'}, and this is "
                    "none; it would be left as it is, but is on the meta device and has no values: give a source "
                    "without it, and load without it, or use init_module"
                )
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        found = recipes.match(recipes.named(recipe, shapes) if isinstance(recipe, str) else recipe, shapes)
        fills = {
            name: _filler(name, found[name][1], tensor, seed, threads, bit_generator)
            for name, tensor in tensors.items()
        }
        self._fills = {prefix + name: fills[first] for name, first in names.items()}
        self._metadata = Metadata(metadata)

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> torch.futures.Future[None]:
        """Fill the boxes of the plan; what the recipe does not make is left as it is."""
        misplanned = {
            name: pieces
            for name, tensor in getattr(planner, "state_dict", {}).items()
            if name in self._fills and is_dtensor(tensor) and (pieces := _misplanned(name, tensor)) is not None
        }
        for name, pieces in misplanned.items():
            for view, offset in pieces:
                self._fills[name](view, offset)
        for item in plan.items:
            name = item.storage_index.fqn
            if name in self._fills and name not in misplanned:
                target = planner.resolve_tensor(item).detach()
                self._fills[name](target, tuple(item.storage_offsets))
                planner.commit_tensor(item, target)
        done: torch.futures.Future[None] = torch.futures.Future()
        done.set_result(None)
        return done

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Every tensor whole, as one chunk: any box of it can be asked for."""
        return self._metadata

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Nothing to do: a reader can be used again and again."""
        if checkpoint_id is not None:
            raise ValueError(f"checkpoint_id must be left out, since FastInitReader reads no file; got {checkpoint_id}")

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """No id means this reader: it must be given as ``storage_reader=``."""
        return False

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Nothing to set up."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """The plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """The plans as they are."""
        return plans


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _declared(value: object) -> TensorStorageMetadata | BytesStorageMetadata:
    """What a checkpoint says of an entry before it is read."""
    if not isinstance(value, Tensor):
        return BytesStorageMetadata()
    whole = ChunkStorageMetadata(torch.Size([0] * value.dim()), value.shape)
    return TensorStorageMetadata(TensorProperties(dtype=value.dtype), value.shape, [whole])


def _memory(tensor: Tensor) -> object:
    """What tensors that share all of their memory have in common."""
    with torch.no_grad():
        local = tensor.to_local() if is_dtensor(tensor) else tensor
    place = local.untyped_storage()._cdata, local.storage_offset(), local.shape, local.stride()
    return tensor.shape, place


def _filler(
    name: str,
    initializer: recipes.Initializer,
    tensor: Tensor,
    seed: int,
    threads: int | None,
    bit_generator: Literal["ars", "philox"],
) -> Callable[[Tensor, tuple[int, ...]], None]:
    """What fills a box of this parameter, at an offset; all that can be refused without memory is refused here."""
    shape = tuple(tensor.shape)
    nothing = torch.empty((0,) * len(shape), dtype=tensor.dtype, device="cpu")

    def fill(target: Tensor, offset: tuple[int, ...]) -> None:
        if (why := _tensor.why_not(target)) is not None:
            raise ValueError(f"{name} {why}")

        def write(array: NDArray[Any]) -> None:
            initializer.fill(
                array,
                seed=seed,
                stream=name,
                global_shape=shape,
                offset=offset,
                threads=threads,
                bit_generator=bit_generator,
            )

        try:
            _tensor.write(target, write)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None

    fill(nothing, (0,) * len(shape))
    return fill


def _misplanned(name: str, tensor: Any) -> list[tuple[Tensor, tuple[int, ...]]] | None:
    """The boxes of a DTensor, if they are not what torch would read into it; None if they are.

    torch 2.13 takes each local tensor for one box, computed by cutting from left to right. That is not where the
    elements are for strided placements of several ranges, nor for some uneven shards of FSDP over tensor parallelism.
    """
    try:
        _, pieces = boxes(tensor)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    planned = {(tuple(chunk.offsets), tuple(chunk.sizes)) for chunk in tensor.__create_chunk_list__()}
    held = {(offset, tuple(view.shape)) for view, offset in pieces}
    return None if {box for box in planned if 0 not in box[1]} == {box for box in held if 0 not in box[1]} else pieces
