"""``init_module``: a whole module by a recipe, each parameter from the stream of its name.

Everything that can be refused is refused before the first write: new memory, buffers and trials of fills come first.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fastinit import Summary
from fastinit._arguments import documented, some, typed
from fastinit.recipes import Initializer, Recipe
from fastinit.recipes._values import Computed

from . import _compat
from ._attributes import attributes_of, replace_tensors
from ._buffers import Buffers, attach, buffers_of, compute, decide, refuse_shared_buffers
from ._computed import refuse_inputs
from ._fans import owners_of
from ._parameters import (
    Target,
    has_no_storage,
    materialise,
    nothing_to_fill,
    overlaps_itself,
    plain_name,
    refuse_shared_memory,
    targets_of,
    unwrapped,
)
from ._report import Report, Row, expected, measured, summaries
from ._selection import Rule, check_arguments, errors_of, rule_for, selected, values_of
from ._sharding import boxes, is_dtensor
from ._staging import Staging, is_away
from ._tensor import lost, why_not, why_not_cast

if TYPE_CHECKING:
    from fastinit._types import BitGenerator

__all__ = ["fill_module", "init_module"]

_CPU = torch.device("cpu")


@documented
def init_module(
    module: nn.Module,
    recipe: Recipe | str,
    *,
    seed: int,
    prefix: str = "",
    include: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] | None = None,
    buffers: Buffers | None = None,
    threads: int | None = None,
    bit_generator: BitGenerator = "ars",
    report: bool = True,
) -> Report:
    """Fill the parameters of a module by a recipe, in place, by their names.

    A weight depends on the seed, its name, its index in the whole tensor, the
    dtype and the initialiser alone. So adding a layer, building in another
    order, another mesh, or going through the meta device does not change it.

    Parameters
    ----------
    module : torch.nn.Module
        Its parameters are floats (of 8 bits: e4m3fn, e5m2) in the memory
        of the CPU, or on the meta device, plain or DTensors. Of a
        ``DistributedDataParallel`` or ``DataParallel``, the module inside.
    recipe : Recipe or str
        Which names get which initialiser: pairs of (pattern,
        ``fastinit.recipes.Initializer``), or a mapping; the first pattern that
        matches wins. Or the name of a shipped recipe, such as "gpt2"
        (``fastinit.recipes.RECIPES``), which takes depth, options and values
        from the names, shapes and config of the models that it is right for,
        and refuses others. Only what is selected needs a pattern. For an
        initialiser, a pattern may have ``skip`` (leave the parameter alone),
        ``computed(function)``, or a function of (name, shape, siblings) that
        chooses (``fastinit.recipes.Recipe``).
    seed : int
        0 .. 2**64-1. A parameter's stream is its qualified name.
    prefix : str, default ""
        What comes before the module's own names, if it is a part of a model:
        with "head.", ``net.head`` gets the weights that it gets as a part of
        ``net``. Streams and patterns are about the full names.
    include, exclude : str or sequence of str, optional
        Patterns of full names, of parameters and buffers. What matches
        ``include`` (by default everything) and does not match ``exclude`` is
        selected. All else is left exactly as it is; it may have any dtype and
        be on any device.
    buffers : mapping or "keep", optional
        By default modules compute their own buffers, also those that have
        memory, by ``reset_running_stats``, ``reset_buffers``,
        ``init_non_persistent_buffers`` (timm), ``rope_init``,
        ``reset_parameters`` or ``init_weights``, or transformers'
        ``_init_weights``. A buffer that none of these computes is refused,
        since it may be memory that nobody has written. "keep" says that the
        values are right as they are, say from a checkpoint. A mapping has
        "keep" or a function by patterns of names; the first that matches
        counts. A function gets the module that has the buffer and returns
        the tensor.
    threads : int, optional
        At most this many threads, as for all functions of fastinit.
    bit_generator : {"ars", "philox"}, default "ars"
        ARS-7 or Philox4x32-10.
    report : bool, default True
        Whether to measure what was filled.

    Returns
    -------
    Report
        ``rows`` by parameter, ``digest``, and a table as ``str``.

    Raises
    ------
    TypeError, ValueError
        An argument is invalid. A selected parameter cannot be filled, has no
        pattern, or is refused by its initialiser; a pattern matches no
        parameter; neither recipe nor module says how a shape is read; a
        function of the recipe fails, or computes what is no number; nobody
        computes a selected buffer, and the error of a method that failed is
        the cause; a selected tensor is one from which the module computes its
        weights (parametrizations, weight norms, pruning), or has shape (0,).
        Of the names of a tied weight, the first decides: to include or exclude
        only another one is refused. Then nothing has been changed.

    See Also
    --------
    FastInitReader : The same by ``torch.distributed.checkpoint``.
    accelerate : For existing code, which draws in its own order.

    Notes
    -----
    Bits: the values are those of fastinit's function for each parameter, on an
    array of the whole shape, with this seed and ``stream=name``.

    Fans that the recipe does not say are those of the module: of linear,
    bilinear, recurrent and attention layers, convolutions with their groups,
    transposed ones, transformers' ``Conv1D``, and whatever has
    ``in_features`` and ``out_features`` that agree with the shape. Packed
    gates and projections count one by one. All else is refused. The row of an
    embedding's ``padding_idx`` is 0. ``report.rows`` has the fans that were
    used, and the row.

    A pattern that is a name, character for character, is for that name alone.

    Parameters on the meta device get memory. They are new Parameter objects
    with the attributes of the old ones, also in lists that modules have of
    them, so make the optimizer afterwards. The others are filled in place,
    frozen ones too. A parameter with several names, and parameters that are
    views of the same memory, are filled once, under the first name in the
    order of ``named_parameters()``, and stay tied. Buffers with memory are
    written in place, too.

    Examples
    --------
    >>> import torch, fastinit.torch
    >>> from fastinit.recipes import Initializer
    >>> with torch.device("meta"):
    ...     layer = torch.nn.Linear(1024, 256)
    >>> recipe = {"weight": Initializer("he_normal"), "bias": Initializer("zeros")}
    >>> report = fastinit.torch.init_module(layer, recipe, seed=0)
    >>> [(row.name, round(row.expected_std, 4)) for row in report.rows]
    [('weight', 0.0442), ('bias', 0.0)]

    A new head for a model whose body stays as it is:

    >>> net = torch.nn.ModuleDict({"body": torch.nn.Linear(8, 8), "head": torch.nn.Linear(8, 2)})
    >>> new = {"head.*": Initializer("normal", std=0.02)}
    >>> report = fastinit.torch.init_module(net, new, seed=0, include="head.*")
    >>> report.left
    ('body.weight', 'body.bias')
    """
    return fill_module(
        module,
        recipe,
        seed=seed,
        prefix=prefix,
        include=include,
        exclude=exclude,
        buffers=buffers,
        threads=threads,
        bit_generator=bit_generator,
        report=report,
    )


def fill_module(
    module: nn.Module,
    recipe: Recipe | str,
    *,
    seed: int,
    prefix: str,
    include: str | Sequence[str] | None,
    exclude: str | Sequence[str] | None,
    buffers: Buffers | None,
    threads: int | None,
    bit_generator: BitGenerator,
    report: bool,
    device: torch.device = _CPU,
    recorded: bool = False,
) -> Report:
    """``init_module``. ``device``: where new memory is had, and what has memory may be too. ``recorded``: the recipe is
    what the module's own code does, with padding, parametrizations.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {typed(module)}")
    module, _ = unwrapped(module)
    check_arguments(seed, prefix, threads, bit_generator)
    if not isinstance(report, bool):
        raise TypeError(f"report must be True or False, got {typed(report)}")

    named = module.named_parameters(remove_duplicate=False)
    targets = targets_of((prefix + plain_name(name), tensor) for name, tensor in named)
    all_buffers = buffers_of(module, prefix)
    names = [target.names for target in targets] + [buffer.names for buffer in all_buffers]
    picked = selected(names, include, exclude)
    chosen = list(itertools.compress(targets, picked[: len(targets)]))
    wanted = list(itertools.compress(all_buffers, picked[len(targets) :]))
    values = values_of(recipe, targets, chosen, module)
    skipped = {target.name for target in chosen if target.name not in values}
    chosen = [target for target in chosen if target.name in values]
    left = itertools.chain.from_iterable(
        own for own, pick in zip(names, picked, strict=True) if not pick or own[0] in skipped
    )

    decide(wanted, all_buffers, buffers)
    if not recorded:
        refuse_inputs(module, [*chosen, *(buffer for buffer in wanted if not buffer.kept)])
    owners = owners_of(module)
    _refuse_unlisted(module, prefix, {id(one.tensor) for target in targets for one in (target, *target.aliases)})
    for target in chosen:
        _check_parameter(target, device, recorded)
    refuse_shared_memory(targets, chosen)
    refuse_shared_buffers(targets, chosen, all_buffers, wanted)
    materialise(chosen, device)
    pieces, rules = [], []
    for target in chosen:
        with errors_of(target):
            _, held = boxes(target.filled)
        for piece, _ in held:
            # Of the target itself, _check_parameter has asked.
            why = None if piece is target.tensor else why_not(piece, any_dtype=recorded, device=device)
            if why is not None:
                _refuse(target.name, piece, why)
            if overlaps_itself(piece):
                _refuse(target.name, piece, "must have memory for each of its elements, got some that share it")
        with errors_of(target):
            rules.append(rule_for(target, *values[target.name], owners, padded=not recorded))
        pieces.append(held)
    given = {"seed": seed, "threads": threads, "bit_generator": bit_generator}
    work = _Work(given, report)
    drafts = [_drafts(work, *each) for each in zip(chosen, rules, pieces, strict=True)]
    compute(module, wanted, device)

    rows = []
    for target, rule, held, drawn in zip(chosen, rules, pieces, drafts, strict=True):
        for (piece, offset), draft in zip(held, drawn, strict=True):
            if draft is None:
                work.fill(rule, piece, offset)
            elif draft is not piece:
                work.copy(rule, piece, offset, draft)
        n = sum(piece.numel() for piece, _ in held)
        found = [part for piece, _ in held for part in work.found.get(id(piece), ())]
        rows.append(_row(target, rule, n, found if report else None))
    work.finish()
    _attach(module, chosen)
    attach(wanted, device)
    return Report(
        rows=tuple(rows),
        buffers=tuple(name for buffer in wanted if not buffer.kept for name in buffer.names),
        kept=tuple(name for buffer in wanted if buffer.kept for name in buffer.names),
        left=tuple(left),
        seed=int(seed),
        bit_generator=bit_generator,
    )


# --- refusals -------------------------------------------------------------------------------------------------------


def _refuse(name: str, tensor: Tensor, why: str) -> None:
    if tensor.device.type not in ("cpu", "meta"):
        why += "; move the module to the CPU, or build it there or on the meta device, and move it when it is filled"
    raise ValueError(f"parameter {name!r} {why}; exclude={name!r} leaves it alone")


def _refuse_unlisted(module: nn.Module, prefix: str, listed: Collection[int]) -> None:
    """A module may list fewer parameters than it has: those would be neither filled nor left."""
    unlisted = [
        prefix + plain_name(f"{path}.{key}" if path else key)
        for path, owner in module.named_modules()
        for key, tensor in _compat.parameters_of(owner).items()
        if tensor is not None and id(tensor) not in listed
    ]
    if unlisted:
        raise ValueError(
            f"parameters {some(unlisted)} are in the module, and not in its named_parameters(), by which init_module "
            "names what it fills: fill the modules that list them, each with its prefix="
        )


def _check_parameter(target: Target, device: torch.device, recorded: bool) -> None:
    if _compat.is_flattened(target.tensor):
        raise ValueError(
            f"parameter {target.name!r} was flattened by FullyShardedDataParallel, and has lost its shape or name: "
            "fill the module before it is wrapped, or use fully_shard"
        )
    if not is_dtensor(target.tensor):  # or its pieces are asked
        why = why_not(target.tensor, meta=True, any_dtype=recorded, device=device) or lost(target.tensor)
    else:
        why = "must be dense (torch.strided), got a sparse DTensor" if has_no_storage(target.tensor) else None
    if why := why or (why_not_cast(target.tensor.dtype) if recorded else nothing_to_fill(target.tensor)):
        _refuse(target.name, target.tensor, why)


# --- what was done --------------------------------------------------------------------------------------------------


class _Work:
    """How pieces get values, and what they have got."""

    def __init__(self, given: dict[str, Any], report: bool) -> None:
        self._staging: Staging | None = None
        self.given = given
        self._report = report
        self.found: dict[int, list[Summary]] = {}  # by piece

    def fill(self, rule: Rule, piece: Tensor, offset: tuple[int, ...]) -> None:
        if not is_away(piece):
            rule.fill(piece, offset, **self.given)
            self._measure(rule, piece, piece, offset)
        elif isinstance(rule.filling, Initializer) and rule.filling.function == "orthogonal":  # for any part made whole
            whole = torch.empty_like(piece, device="cpu", requires_grad=False)
            rule.fill(whole, offset, **self.given)
            self.copy(rule, piece, offset, whole)
        else:

            def part(staged: Tensor, at: tuple[int, ...]) -> None:
                rule.fill(staged, at, **self.given)
                self._measure(rule, piece, staged, at)

            self._staging = self._staging or Staging(piece.device)
            self._staging.fill(piece, offset, part)

    def copy(self, rule: Rule, piece: Tensor, offset: tuple[int, ...], values: Tensor) -> None:
        """From a tensor of the CPU."""
        with torch.no_grad():
            piece.copy_(values)
        self._measure(rule, piece, values, offset)

    def finish(self) -> None:
        if self._staging is not None:
            self._staging.finish()

    def _measure(self, rule: Rule, piece: Tensor, part: Tensor, offset: tuple[int, ...]) -> None:
        if self._report:
            said = summaries(part, rule.shape, offset, self.given["threads"])
            self.found.setdefault(id(piece), []).extend(said)


def _drafts(
    work: _Work, target: Target, rule: Rule, held: Sequence[tuple[Tensor, tuple[int, ...]]]
) -> Sequence[Tensor | None]:
    """What a function of the user computes is computed before the first write, since it may raise anything."""
    if not isinstance(rule.filling, Computed):
        return [None] * len(held)
    drafts = []
    for piece, offset in held:
        with errors_of(target):
            if target.new is None:
                draft = torch.empty_like(piece, device="cpu", requires_grad=False)
                rule.fill(draft, offset, **work.given)
            else:
                draft = piece
                work.fill(rule, piece, offset)
        drafts.append(draft)
    return drafts


def _row(target: Target, rule: Rule, n: int, found: list[Summary] | None) -> Row:
    mean, std, digest = (None, None, None) if found is None else measured(found)
    expected_mean, expected_std = expected(rule.filling, rule.shape, rule.padding_idx)
    return Row(
        name=target.name,
        shape=rule.shape,
        dtype=str(target.tensor.dtype).removeprefix("torch."),
        pattern=rule.pattern,
        initializer=rule.filling,
        expected_mean=expected_mean,
        expected_std=expected_std,
        n=n,
        measured_mean=mean,
        measured_std=std,
        digest=digest,
        frozen=not target.tensor.requires_grad,
        tied=tuple(target.names[1:]),
        padding_idx=rule.padding_idx,
    )


def _attach(module: nn.Module, chosen: list[Target]) -> None:
    """Put new parameters into their places, and tell autograd of other views of what was filled: aliases, DTensors."""
    new: dict[int, Tensor] = {}
    for target in itertools.chain.from_iterable((target, *target.aliases) for target in chosen):
        if target.new is not None:
            new[id(target.tensor)] = target.new
        else:
            torch.autograd.graph.increment_version(target.tensor)
    for owner in list(module.modules()):
        for key, tensor in list(_compat.parameters_of(owner).items()):
            if id(tensor) in new:
                setattr(owner, key, new[id(tensor)])  # not into the dict: recurrent layers keep a list of their own
        for name in {name for name, tensor in attributes_of(owner) if id(tensor) in new}:
            replace_tensors(owner, name, lambda tensor: new.get(id(tensor), tensor))
