"""``FastInitReader``: a checkpoint that is no file, for torch.distributed.checkpoint. It makes what it is asked for.

It is imported when ``fastinit.torch.FastInitReader`` is first used, since torch.distributed.checkpoint takes long to
import.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import torch
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

from fastinit._arguments import documented, some, typed
from fastinit.recipes import Recipe

from . import _compat
from ._buffers import Buffer, buffers_of, refuse_shared_buffers
from ._computed import refuse_inputs, refuse_inputs_by_name
from ._deferred import Plan
from ._fans import owners_of
from ._parameters import (
    Target,
    has_no_storage,
    nothing_to_fill,
    plain_name,
    refuse_shared_memory,
    targets_of,
    unwrapped,
)
from ._selection import Rule, check_arguments, errors_of, rule_for, selected, values_of
from ._sharding import boxes, is_dtensor
from ._tensor import why_not, why_not_dtype

if TYPE_CHECKING:
    from fastinit._types import BitGenerator

__all__ = ["FastInitReader"]


class FastInitReader(StorageReader):
    """A checkpoint without a file: ``dcp.load`` fills what it would read.

    Each process fills the pieces that its state dict holds, with the values
    that ``init_module`` gives the whole module for the same recipe and seed,
    whatever the mesh. (``dcp.load`` itself gathers the plans of all processes,
    lists of boxes without values; with ``no_dist=True`` it does not.)

    Parameters
    ----------
    source : torch.nn.Module or mapping or Plan
        A module or a state dict, on any device, also "meta": its names, global
        shapes and dtypes are read. Of a module the parameters are filled, of a
        state dict the floating-point tensors. All else (integer tensors,
        numbers, bytes) is left as it is in the state dict that is loaded. A
        plan of ``deferred`` stands for the model that its block has built, and
        for the model's own laws; it takes no prefix.
    recipe : Recipe or str
        As in ``init_module``. Of a plan it is left out.
    seed : int
        0 .. 2**64-1. A parameter's stream is its qualified name. Of a plan it
        is the block's, if it is left out.
    prefix : str, default ""
        As in ``init_module``: what comes before the source's own names, if it
        is a part of a model. It belongs to the parameter's name.
    include, exclude : str or sequence of str, optional
        As in ``init_module``: patterns of full names. What is not selected is
        left as it is in the state dict that is loaded.
    buffers : "keep", optional
        A reader computes no buffers, and a state dict does not even have all
        of them. So a module that has selected buffers is refused, unless
        "keep" says that their values are right without the reader, in the
        module and in the state dict that is loaded. ``init_module`` computes
        them.
    checkpoint_prefix : str, default ""
        What comes before the source's names in the state dict that is loaded:
        "model." for ``dcp.load({"model": model.state_dict()}, ...)``. It is no
        part of the parameter's name.
    threads : int, optional
        At most this many threads, as for all functions of fastinit.
    bit_generator : {"ars", "philox"}, default "ars"
        ARS-7 or Philox4x32-10.

    Raises
    ------
    TypeError, ValueError
        As ``init_module``; or the module's ``state_dict()`` does not have a
        selected parameter as it is and under its name; or a selected entry
        that the reader does not fill has no values that it could keep, since
        it is on the meta device; or a selected tensor is tied to a view of its
        memory of another shape or other strides.

    Notes
    -----
    Bits: the values are those of ``init_module``. Tensors that share memory
    are one parameter, under the first of their names.

    A state dict has no modules that could say how shapes are read, and which
    rows are padding: there initialisers must have fans, a layout or axes.

    A function of the recipe (``computed``) is called while ``dcp.load`` runs,
    so if it fails, some tensors have been filled.

    An entry that is not selected and is on the meta device in the source is
    not a part of this checkpoint: ``dcp.load`` gives meta tensors memory of
    arbitrary content, so it refuses a state dict that has this one ("Missing
    key"). Leave it out there, or give a source that has values.

    Examples
    --------
    >>> import torch, torch.distributed.checkpoint as dcp
    >>> from fastinit.recipes import Initializer
    >>> from fastinit.torch import FastInitReader
    >>> model = torch.nn.Linear(4, 4)
    >>> recipe = {"weight": Initializer("he_normal"), "bias": Initializer("zeros")}
    >>> reader = FastInitReader(model, recipe, seed=0)
    >>> dcp.load(model.state_dict(), storage_reader=reader, no_dist=True)
    """

    __module__ = "fastinit.torch"

    @documented
    def __init__(
        self,
        source: torch.nn.Module | Mapping[str, Any] | Plan,
        recipe: Recipe | str | None = None,
        *,
        seed: int | None = None,
        prefix: str = "",
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        buffers: Literal["keep"] | None = None,
        checkpoint_prefix: str = "",
        threads: int | None = None,
        bit_generator: BitGenerator = "ars",
    ) -> None:
        if isinstance(source, Plan):
            if recipe is not None:
                raise TypeError(f"recipe must be left out, since the plan has one; got {typed(recipe)}")
            plan, source = source, source.model
            recipe, seed = plan.recipe(source), plan.seed if seed is None else seed
        if recipe is None:
            raise TypeError("recipe must be given, unless source is a plan")
        check_arguments(seed, prefix, threads, bit_generator)
        if not isinstance(checkpoint_prefix, str):
            raise TypeError(f"checkpoint_prefix must be a str, got {typed(checkpoint_prefix)}")
        if buffers not in (None, "keep"):
            raise ValueError(f'buffers must be None or "keep", got {typed(buffers)}')
        module: torch.nn.Module | None = None
        state, container = source, ""
        if isinstance(source, torch.nn.Module):
            module, container = unwrapped(source)
            state = source.state_dict(keep_vars=True)
        if not isinstance(state, Mapping):
            raise TypeError(f"source must be a module or a state dict, got {typed(source)}")
        if module is None and buffers is not None:
            raise ValueError("buffers is for a module: a state dict does not say which of its tensors are buffers")

        names = {key: prefix + plain_name(key).removeprefix(container) for key in state}
        fillable = {
            key: value
            for key, value in state.items()
            if (_is_float(value) if module is None else isinstance(value, torch.nn.Parameter))
        }
        targets = targets_of((names[key], tensor) for key, tensor in fillable.items())
        own_buffers = [] if module is None else buffers_of(module, prefix)
        tensors = [target.names for target in targets] + [buffer.names for buffer in own_buffers]
        listed = set(itertools.chain.from_iterable(tensors))
        strangers = _strangers(module, prefix, {names[key]: value for key, value in fillable.items()})
        tensors += [[name] for name in dict.fromkeys((*names.values(), *strangers)) if name not in listed]
        which = selected(tensors, include, exclude)
        picked = set(itertools.chain.from_iterable(itertools.compress(tensors, which)))
        if lost := [name for name in strangers if name in picked]:
            _refuse_strangers(lost)
        for key, value in state.items():
            if key not in fillable and names[key] in picked and _without_values(value):
                _refuse_without_values(key, names[key], module is not None)
        chosen = [target for target in targets if target.name in picked]
        values = values_of(recipe, targets, chosen, module)
        chosen = [target for target in chosen if target.name in values]
        wanted = [] if buffers == "keep" else [buffer for buffer in own_buffers if buffer.name in picked]
        if module is None:
            refuse_inputs_by_name(names.values(), [name for target in chosen for name in target.names])
        else:
            refuse_inputs(module, [*chosen, *wanted])
        if wanted:
            _refuse_buffers(wanted)
        for target in chosen:
            _check_parameter(target)
        refuse_shared_memory(targets, chosen)
        refuse_shared_buffers(targets, chosen, own_buffers, [])
        owners = {} if module is None else owners_of(module)
        given = {"seed": seed, "threads": threads, "bit_generator": bit_generator}
        fills = {}
        for target in chosen:
            with errors_of(target):
                rule = rule_for(target, *values[target.name], owners)
            fills.update(dict.fromkeys(target.names, _filler(target, rule, given)))
        self._fills = {checkpoint_prefix + key: fills[names[key]] for key in fillable if names[key] in fills}
        self._metadata = Metadata(
            {
                checkpoint_prefix + key: _declared(value)
                for key, value in state.items()
                if checkpoint_prefix + key in self._fills or not _without_values(value)
            }
        )

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> torch.futures.Future[None]:
        """Fill the boxes of the plan; what is not selected is left as it is."""
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


def _strangers(module: torch.nn.Module | None, prefix: str, state: Mapping[str, Tensor]) -> list[str]:
    """The names that are not of the same parameter in the module, if there is one, and in its state dict."""
    if module is None:
        return []
    own = {prefix + plain_name(name): tensor for name, tensor in module.named_parameters(remove_duplicate=False)}
    return [name for name in dict.fromkeys((*own, *state)) if own.get(name) is not state.get(name)]


def _is_float(value: object) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _without_values(value: object) -> bool:
    return isinstance(value, Tensor) and (value.is_meta or torch.nn.parameter.is_lazy(value))


def _refuse_strangers(names: Sequence[str]) -> NoReturn:
    raise ValueError(
        f"what the module calls {some(names)} in named_parameters() and in its state_dict() is not the same: a reader "
        "would pass over them, or fill them under other names. Use init_module, or exclude= them"
    )


def _refuse_without_values(key: str, name: str, in_module: bool) -> NoReturn:
    kind = "a module's parameters" if in_module else "the floating-point tensors of a state dict"
    raise ValueError(
        f"{key}: only {kind} are filled; this entry would be left as it is, but it is on the meta device and has no "
        f"values. Give exclude={name!r} and load without it, or use init_module"
    )


def _refuse_buffers(wanted: Sequence[Buffer]) -> NoReturn:
    raise ValueError(
        f"a reader computes no buffers, and the module has {some(buffer.name for buffer in wanted)}: after to_empty "
        "their values are memory that nobody has written. Use init_module, which computes them; or pass "
        'buffers="keep", if their values are right in the module and in the state dict that is loaded; or exclude= them'
    )


def _declared(value: object) -> TensorStorageMetadata | BytesStorageMetadata:
    """What a checkpoint says of an entry before it is read."""
    if not isinstance(value, Tensor) or has_no_storage(value):
        return BytesStorageMetadata()  # which is left alone
    whole = ChunkStorageMetadata(torch.Size([0] * value.dim()), value.shape)
    return TensorStorageMetadata(TensorProperties(dtype=value.dtype), value.shape, [whole])


def _check_parameter(target: Target) -> None:
    """Refuse what no load could fill, wherever the source is."""
    tensor, leave = target.tensor, f"exclude={target.name!r} leaves it alone"
    if torch.nn.parameter.is_lazy(tensor):
        raise ValueError(f"parameter {target.name!r} must have a shape, got {type(tensor).__name__}; {leave}")
    if has_no_storage(tensor):
        raise ValueError(f"parameter {target.name!r} must be dense (torch.strided), got another layout; {leave}")
    if (why := why_not_dtype(tensor.dtype) or nothing_to_fill(tensor)) is not None:
        raise ValueError(f"parameter {target.name!r} {why}; {leave}")
    for alias in target.aliases:
        if (alias.tensor.shape, alias.tensor.stride()) != (tensor.shape, tensor.stride()):
            raise ValueError(
                f"parameter {alias.name!r} is a view of {target.name!r} of another shape or other strides, which a "
                "reader cannot fill together: exclude both, or use init_module"
            )


def _filler(target: Target, rule: Rule, given: Mapping[str, Any]) -> Callable[[Tensor, tuple[int, ...]], None]:
    """What fills a box of this parameter, at an offset."""

    def fill(out: Tensor, offset: tuple[int, ...]) -> None:
        if (why := why_not(out)) is not None:
            raise ValueError(f"parameter {target.name!r} {why}")
        with errors_of(target):
            rule.fill(out, offset, **given)

    return fill


def _misplanned(name: str, tensor: Any) -> list[tuple[Tensor, tuple[int, ...]]] | None:
    """The boxes of a DTensor, if they are not what torch would read into it; None if they are.

    torch 2.11 to 2.15 take each local tensor for one box, computed by cutting from left to right. That is not where the
    elements are for strided placements of several ranges, nor for some uneven shards of FSDP over tensor parallelism.
    """
    try:
        _, pieces = boxes(tensor)
    except ValueError as error:
        raise ValueError(f"parameter {name!r}: {error}") from None
    planned = {(tuple(chunk.offsets), tuple(chunk.sizes)) for chunk in _compat.planned_chunks(tensor)}
    held = {(offset, tuple(view.shape)) for view, offset in pieces}
    return None if {box for box in planned if 0 not in box[1]} == {box for box in held if 0 not in box[1]} else pieces
