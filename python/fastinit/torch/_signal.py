"""``signal``: a forward and a backward pass of a module, watched by hooks. The module is left as it was."""

from __future__ import annotations

import contextlib
import math
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastinit._arguments import documented, typed
from fastinit.signal import Layer, Report
from fastinit.signal._activations import ACTIVATIONS, Activation, activation_named
from fastinit.signal._advice import Facts, Link, advise, move_together
from fastinit.signal._values import Values, dead_share, measured, saturated_share

from . import _compat
from ._parameters import plain_name
from ._running import array_of, called, first_float, is_float, loss_of, refuse, tensors_in

__all__ = ["eager", "signal"]


@documented
def signal(model: nn.Module, batch: Any, loss: Callable[[Any], Tensor] | None = None) -> Report:
    """Run a module forward and backward, and report how signals travel.

    Each call of a module that calls no other has a row: moments of its outputs
    and of the gradients there, gains, saturated outputs, dead units. A relu,
    tanh, sigmoid and so on that is called as a function right before a linear
    layer or a convolution has one, too. ``advice`` says where a law is off.

    The module is left as it was: parameters and their gradients, buffers (such
    as running statistics), training mode, hooks, and the random states of
    PyTorch, NumPy and Python. That holds after an error, too.

    Parameters
    ----------
    model : torch.nn.Module
        In the mode (``train`` or ``eval``) in which it is to be looked at.
    batch : tensor, tuple, mapping, or anything else
        The model is called as ``model(*batch)`` with a tuple, as
        ``model(**batch)`` with a mapping, else as ``model(batch)``.
    loss : callable, optional
        From the model's output to a scalar. By default, the output itself if
        it is a scalar, or its "loss" if it is a mapping that has one; else
        each float output gets a gradient from N(0, 1), always the same one.

    Returns
    -------
    fastinit.signal.Report
        ``print`` shows a table; ``plot``, ``to_html`` and ``to_json`` the
        rest.

    Raises
    ------
    TypeError
        model is not a module, or loss does not return a tensor.
    ValueError
        The model or the batch has tensors on the meta device, lazy parameters,
        parts compiled by TorchScript, or is sharded; loss does not return a
        scalar of floats.

    Notes
    -----
    Statistics are made on the CPU, in float64 sums. It takes the memory of a
    training step without an optimiser, and a copy of parameters and buffers.

    Examples
    --------
    >>> import torch, fastinit.torch
    >>> model = torch.nn.Sequential(*[torch.nn.Linear(64, 64), torch.nn.ReLU()] * 4)
    >>> report = fastinit.torch.signal(model, torch.randn(32, 64))
    >>> report.layers[1].kind, len(report.layers)
    ('ReLU', 8)
    >>> "PyTorch's default" in report.advice[0]
    True
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {typed(model)}")
    while isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        model = model.module
    refuse(model, batch)
    watch = _Watch(model)
    with _as_it_was(model), eager(), torch.inference_mode(False), torch.enable_grad():
        with watch.watching():
            output = called(model, batch)
        try:
            gradients = _gradients(model, batch, output, loss)
        finally:
            watch.let_go()
    return watch.report(gradients)


# --- what is left as it was -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Parameters, buffers, gradients, training modes and random states are afterwards what they were."""
    modes = [(module, module.training) for module in model.modules()]
    places: list[Any] = [place for m, _ in modes for place in (_compat.parameters_of(m), _compat.buffers_of(m))]
    tensors = [dict(place) for place in places]
    # Forward writes to buffers, and also to parameters, where a layer initialises itself by its first batch. It may
    # also give them another shape, or another memory; the detached tensor keeps both.
    values = {id(t): (t, t.detach(), t.detach().clone()) for named in tensors for t in named.values() if t is not None}
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    with torch.random.fork_rng(list(devices)):
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)  # noqa: NPY002
            for parameter, gradient in gradients:
                parameter.grad = gradient
            for module, mode in modes:
                module.training = mode
            for place, named in zip(places, tensors, strict=True):
                place.clear()
                place.update(named)
            with torch.inference_mode():  # where tensors of that mode may be written, too
                for tensor, place_before, value in values.values():
                    if not _same_place(tensor, place_before):
                        tensor.data = place_before
                    # A write would tell autograd that the tensor has changed.
                    if not _equal(tensor, value):
                        # Of an expanded tensor, each element that is there in memory once.
                        axes = _expanded(tensor)
                        _first(tensor, axes).copy_(_first(value, axes))


def _same_place(one: Tensor, other: Tensor) -> bool:
    if one.layout is not torch.strided or other.layout is not torch.strided:
        return one.layout is other.layout and one.shape == other.shape
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape and one.stride() == other.stride()


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether they are known to be, NaN equal to NaN: sparse tensors cannot be asked."""
    try:
        return torch.equal(one, other) or bool(((one == other) | ((one != one) & (other != other))).all())
    except (NotImplementedError, RuntimeError):
        return False


def _expanded(tensor: Tensor) -> list[int]:
    if tensor.layout is not torch.strided:
        return []
    return [axis for axis in range(tensor.ndim) if tensor.stride(axis) == 0 and tensor.shape[axis] > 1]


def _first(tensor: Tensor, axes: list[int]) -> Tensor:
    for axis in axes:
        tensor = tensor.narrow(axis, 0, 1)
    return tensor


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Compiled modules run as they are written: in compiled code no hook is called."""
    loaded = "torch._dynamo" in sys.modules
    with torch.compiler.set_stance("force_eager") if loaded else contextlib.nullcontext():
        yield


# --- modules and autograd's nodes -----------------------------------------------------------------------------------

_MODULES: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky_relu",
    nn.Tanh: "tanh",
    nn.Sigmoid: "sigmoid",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
}
_NODES = {
    "ReluBackward0": "relu",
    "LeakyReluBackward0": "leaky_relu",
    "TanhBackward0": "tanh",
    "SigmoidBackward0": "sigmoid",
    "GeluBackward0": "gelu",
    "SiluBackward0": "silu",
}
# Each element stays what it is, or is left out with its fellows scaled up.
_SAME_VALUES = {
    *("ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "AliasBackward0", "CloneBackward0"),
    *("TBackward0", "TransposeBackward0", "PermuteBackward0", "SqueezeBackward1", "UnsqueezeBackward0"),
    *("ToCopyBackward0", "NativeDropoutBackward0"),
}
_SAME_MODULES = (nn.Identity, nn.Dropout, nn.Flatten)
# Where the units lie in the output of a function; negative: from the last axis.
_AXES = {
    "ConvolutionBackward0": 1,
    "NativeBatchNormBackward0": 1,
    "CudnnBatchNormBackward0": 1,
    "NativeGroupNormBackward0": 1,
    "NativeLayerNormBackward0": -1,
    "AddmmBackward0": -1,
}
# A unit is where its first input has it.
_ELEMENTWISE = {*_NODES, "AddBackward0", "MulBackward0", "DivBackward0", "NativeDropoutBackward0"}

Node = Any  # of autograd
_Place = tuple[Node, int]  # a node, and which of its outputs


def _known(module: nn.Module | None, node: Node) -> Activation | None:
    """The activation that a module is, or else that an output's node is."""
    name = _MODULES.get(type(module)) if module is not None else None
    if name == "leaky_relu":
        return activation_named(name, module.negative_slope)  # type: ignore[union-attr]
    if name is not None or node is None:
        return None if name is None else ACTIVATIONS[name]
    name = _NODES.get(node.name())
    if name == "leaky_relu":
        return activation_named(name, _compat.negative_slope(node))
    return None if name is None else ACTIVATIONS[name]


@dataclass
class _Matrix:
    """The weight of a layer, units first, and its fans."""

    weight: Tensor
    units_axis: int  # of the weight as the module has it
    fan_in: int
    fan_out: int
    axis: int  # where the units lie in the output


def _matrix(module: nn.Module) -> _Matrix | None:
    """Of linear layers and convolutions that run as torch wrote them, and of transformers' Conv1D, (in, out)."""
    weight, forward = _compat.parameters_of(module).get("weight"), type(module).forward
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.ndim < 2:
        return None
    if forward is nn.Linear.forward:
        return _Matrix(weight, 0, weight.shape[1], weight.shape[0], -1)
    for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
        if isinstance(module, kind) and forward is kind.forward:
            field = math.prod(weight.shape[2:])
            fan_out = weight.shape[0] // module.groups * field
            return _Matrix(weight, 0, weight.shape[1] * field, fan_out, 1 - weight.ndim)
    if (getattr(module, "nx", None), getattr(module, "nf", None)) == tuple(weight.shape):
        return _Matrix(weight, 1, weight.shape[0], weight.shape[1], -1)
    return None


# --- the watch ------------------------------------------------------------------------------------------------------


@dataclass
class _At:
    """The gradient at a tensor, once backward has been there."""

    rms: float | None = None


@dataclass
class _Call:
    """A call of a module that has begun."""

    module: nn.Module
    rms: float | None  # of its input
    node: Node
    at_input: _At | None
    calls_others: bool = False


@dataclass
class _Row:
    """What is known of a row before and after backward."""

    name: str
    kind: str
    module: nn.Module | None
    shape: tuple[int, ...]
    output: Values
    gain: float | None
    activation: Activation | None
    saturated: float | None
    dead: float | None
    units: int | None
    node_before: Node
    at_input: _At | None
    matrix: _Matrix | None = None
    link: Link | None = None
    gradient: Values | None = None


class _Watch:
    """Hooks on all modules, and what they have seen."""

    def __init__(self, model: nn.Module) -> None:
        self.rows: list[_Row] = []
        self._names = {
            module: plain_name(name) or type(module).__name__
            for name, module in model.named_modules()
            if "parametrizations" not in name.split(".")  # which compute weights, and are no layers
        }
        self._calls: dict[str, int] = {}
        self._open: list[_Call] = []
        self._made_by: dict[Node, int] = {}  # the row whose output a node is
        self._axes: dict[Node, int] = {}
        self._gradients: dict[_Place, _At] = {}
        self._functions: set[Node] = set()  # activations that have a row of their own
        self._handles: list[Any] = []

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """With hooks on the modules; those on tensors stay until ``let_go``."""
        handles = []
        try:
            for module in self._names:
                handles.append(module.register_forward_pre_hook(self._before, with_kwargs=True))
                handles.append(module.register_forward_hook(self._after))
            yield
        except BaseException:
            self.let_go()
            raise
        finally:
            for handle in handles:
                handle.remove()

    def let_go(self) -> None:
        """Let the graph go, and take the hooks from tensors: some may be the caller's."""
        for handle in self._handles:
            handle.remove()
        for seen in (self._made_by, self._axes, self._gradients, self._functions, self._handles):
            seen.clear()
        for row in self.rows:
            row.node_before = None

    # Hooks

    def _before(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        if self._open:
            self._open[-1].calls_others = True
        x = first_float((args, kwargs))
        if x is None:
            self._open.append(_Call(module, None, None, None))
            return
        if (matrix := _matrix(module)) is not None:
            self._function_before(module, matrix, x)
        self._open.append(_Call(module, _rms(x), x.grad_fn, self._watched(x)))

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        while (call := self._open.pop()).module is not module:
            pass  # a call that ended by an error that somebody caught
        y = first_float(output)
        if call.calls_others or y is None:
            return
        matrix, node = _matrix(module), y.grad_fn
        if matrix is not None and node is not None:
            self._axes.setdefault(node, matrix.axis)
        row = self._row(self._numbered(self._names[module]), type(module).__name__, module, call, y)
        row.matrix = matrix
        if matrix is not None:
            row.units = matrix.weight.shape[matrix.units_axis]
            row.link = self._link(call.node)
        self._add(row, y)

    def _function_before(self, module: nn.Module, matrix: _Matrix, x: Tensor) -> None:
        """A row for an activation that is called as a function, if that is what the input of a layer comes from."""
        node = self._real(x.grad_fn)
        if node is None or node in self._made_by or node in self._functions or _known(None, node) is None:
            return
        self._functions.add(node)
        activation = _known(None, node)
        assert activation is not None
        before = node.next_functions[0][0]
        call = _Call(module, None, before, None)
        axis = -1 if matrix.axis == -1 else matrix.axis
        if x.grad_fn is not None:
            self._axes.setdefault(x.grad_fn, axis)
        name = self._numbered(f"{activation.name} before {self._names[module]}")
        self._add(self._row(name, activation.name, None, call, x), x, node)

    def _row(self, name: str, kind: str, module: nn.Module | None, call: _Call, y: Tensor) -> _Row:
        array = array_of(y)
        output = measured(array)
        activation = _known(module, self._real(y.grad_fn) if module is None else y.grad_fn)
        saturated = dead = units = None
        if activation is not None and activation.limits is not None:
            saturated = saturated_share(array, activation.limits)
        if activation is not None and activation.name == "relu":
            axis = self._axis(y.grad_fn if call.node is None or module is None else call.node, y.ndim)
            if axis is not None:
                dead, units = dead_share(array, axis), y.shape[axis]
        gain = output.rms / call.rms if call.rms else None
        shape = tuple(y.shape)
        return _Row(
            name, kind, module, shape, output, gain, activation, saturated, dead, units, call.node, call.at_input
        )

    def _add(self, row: _Row, y: Tensor, node: Node = None) -> None:
        node = y.grad_fn if node is None else node
        # What returns its input, such as a dropout that is off, has made nothing.
        if node is not None and node is not row.node_before:
            self._made_by.setdefault(node, len(self.rows))
        if y.requires_grad:
            at = self._gradients.setdefault((y.grad_fn, y.output_nr), _At()) if y.grad_fn is not None else _At()

            def hook(gradient: Tensor) -> None:
                row.gradient = measured(array_of(gradient))
                at.rms = row.gradient.rms

            self._handles.append(y.register_hook(hook))  # type: ignore[no-untyped-call]
        self.rows.append(row)

    def _watched(self, x: Tensor) -> _At | None:
        """Where the gradient at an input will be found: with the row that it is the output of, or by a hook."""
        if not x.requires_grad:
            return None
        place = (x.grad_fn, x.output_nr)
        if x.grad_fn is not None and place in self._gradients:
            return self._gradients[place]
        at = self._gradients[place] = _At()

        def hook(gradient: Tensor) -> None:
            at.rms = _rms(gradient)

        self._handles.append(x.register_hook(hook))  # type: ignore[no-untyped-call]
        return at

    # The graph

    def _numbered(self, name: str) -> str:
        n = self._calls[name] = self._calls.get(name, 0) + 1
        return name if n == 1 else f"{name}#{n}"

    def _real(self, node: Node) -> Node:
        """The node behind those that only view a tensor."""
        while node is not None and node not in self._made_by and node.name() in _SAME_VALUES:
            node = node.next_functions[0][0]
        return node

    def _axis(self, node: Node, ndim: int) -> int | None:
        """Where the units lie in a tensor, if the function that made it says it."""
        while node is not None:
            if node in self._axes:
                return self._axes[node]
            name = node.name()
            if name in _AXES:
                return _AXES[name] - ndim if _AXES[name] > 0 else _AXES[name]
            node = node.next_functions[0][0] if name in _ELEMENTWISE else None
        return None

    def _link(self, node: Node) -> Link | None:
        """From the input of a layer back to the layer that it comes from, through one activation at most."""
        activation: Activation | None = None
        while (node := self._real(node)) is not None:
            row = self.rows[self._made_by[node]] if node in self._made_by else None
            if row is not None and row.matrix is not None:
                return Link(self._made_by[node], activation or ACTIVATIONS["linear"])
            module = None if row is None else row.module
            same = isinstance(module, _SAME_MODULES) or node.name() in _SAME_VALUES
            found = _known(module, node)
            if not same and (found is None or activation is not None):
                return None
            activation = found or activation
            # Of a module that torch wrote, the input is what it acts on; another one may do more than the node says.
            torchs = isinstance(module, _SAME_MODULES) or type(module) in _MODULES
            node = row.node_before if row is not None and torchs else node.next_functions[0][0]
        return None

    # The report

    def report(self, gradients: Mapping[int, Tensor] | None) -> Report:
        """After backward. Without gradients, the report says so."""
        layers, facts = [], {}
        for i, row in enumerate(self.rows):
            weight = None if row.module is None else _compat.parameters_of(row.module).get("weight")
            gradient = None if gradients is None or weight is None else gradients.get(id(weight))
            equal = row.matrix is not None and _equal_units(row.matrix, row.module)
            if row.matrix is not None:
                facts[i] = _facts(row, equal, gradient)
            at_input = None if row.at_input is None else row.at_input.rms
            backward = row.gradient.rms if row.gradient is not None else None
            layers.append(
                Layer(
                    row.name,
                    row.kind,
                    row.shape,
                    row.output,
                    row.gradient,
                    None if gradient is None else measured(array_of(gradient)),
                    row.gain,
                    at_input / backward if at_input is not None and backward else None,
                    row.saturated,
                    row.dead,
                    row.units,
                    equal,
                )
            )
        advice = advise(layers, facts)
        if gradients is None:
            advice.append("No gradients: no float output, or loss, depends on anything that requires grad.")
        return Report(tuple(layers), tuple(advice))


def _rms(x: Tensor) -> float:
    """In float64, where the squares of no float32 are too large or small."""
    return float(torch.linalg.vector_norm(x.detach(), dtype=torch.float64)) / math.sqrt(x.numel())


def _units_first(tensor: Tensor, matrix: _Matrix) -> Tensor:
    return tensor.detach().movedim(matrix.units_axis, 0).flatten(1)


def _equal_units(matrix: _Matrix, module: Any) -> bool:
    weight, bias = _units_first(matrix.weight, matrix), getattr(module, "bias", None)
    if len(weight) < 2 or not torch.equal(weight[0], weight[1]) or not bool((weight == weight[:1]).all()):
        return False
    return not isinstance(bias, Tensor) or bool((bias == bias[:1]).all())


def _facts(row: _Row, equal: bool, gradient: Tensor | None) -> Facts:
    matrix = row.matrix
    assert matrix is not None
    weight, bias = measured(array_of(matrix.weight)), getattr(row.module, "bias", None)
    together = None
    if equal and gradient is not None:
        together = move_together(array_of(_units_first(gradient, matrix)), torch.finfo(gradient.dtype).eps)
    bias_square = measured(array_of(bias)).mean_square if isinstance(bias, Tensor) else 0.0
    return Facts(
        matrix.fan_in, matrix.fan_out, weight.n, weight.mean, weight.mean_square, bias_square, together, row.link
    )


# --- backward -------------------------------------------------------------------------------------------------------


def _gradients(
    model: nn.Module, batch: Any, output: Any, loss: Callable[[Any], Tensor] | None
) -> dict[int, Tensor] | None:
    """The gradients of parameters, by id. ``autograd.grad`` adds to no ``grad``, and runs no optimiser's hooks."""
    end = loss_of(output, loss)
    ends = list(filter(is_float, tensors_in(output))) if end is None else [end]
    ends = [end for end in ends if end.requires_grad]
    leaves = {id(leaf): leaf for leaf in [*model.parameters(), *tensors_in(batch)] if leaf.requires_grad}
    if not ends or not leaves:
        return None
    generator = torch.Generator().manual_seed(0)
    starts = [
        torch.ones_like(end) if end.ndim == 0 else torch.randn(end.shape, generator=generator).to(end) for end in ends
    ]
    found = torch.autograd.grad(ends, list(leaves.values()), starts, allow_unused=True)
    return {key: g for key, g in zip(leaves, found, strict=True) if g is not None and g.layout is torch.strided}
