"""The oldest torch that this package works with, and every private name of torch that it uses.

The names are looked up when this file is imported, since any release of torch may rename them. Without some of them
nothing works, and the import fails; others serve one feature, which says so when it is used.
"""

from __future__ import annotations

import importlib
import inspect
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Module, Parameter
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.overrides import TorchFunctionMode

__all__ = [
    "BUFFER_METHODS",
    "DEEPCOPY",
    "FOREACH",
    "GET_ITEM",
    "INPUT_NAMES",
    "LIKE",
    "MODEL_METHOD",
    "MODULE_CALLS",
    "PARAMETERS_MOVE",
    "QUANTIZED",
    "QUESTIONS",
    "REDUCE",
    "SET_DATA",
    "SET_ITEM",
    "TENSORS_AND_MODULES",
    "TRUNCATED",
    "VALUES",
    "WRAPPERS",
    "DisableTorchDispatch",
    "DisableTorchFunction",
    "DispatchMode",
    "Orthogonal",
    "base_of",
    "buffers_of",
    "calculate_correct_fan",
    "can_be_rebuilt",
    "children_of",
    "default_device_mode",
    "dispatch_modes",
    "factories",
    "forward_level",
    "function_modes",
    "getter",
    "initialise",
    "initialises_modules",
    "inputs_by_hooks",
    "is_device_mode",
    "is_flattened",
    "is_in_place",
    "is_mutable",
    "is_wrapped",
    "makes_graph",
    "n_function_modes",
    "negated",
    "no_grad_fill",
    "no_grad_normal",
    "no_grad_uniform",
    "overrides_are_off",
    "parameters_of",
    "planned_chunks",
    "pop_function_mode",
    "push_function_mode",
    "rebuilt",
    "require",
    "shard_order",
    "storage_id",
    "strided_shard",
    "trace",
    "transforms",
    "version",
]

_OLDEST = 2, 11  # earlier ones cut DTensors otherwise, without a name by which to see it
_TESTED = "fastinit.torch is tested with torch 2.11 to 2.15"
_NONE = object()
_absent: dict[str, list[str]] = {}  # by feature, "" for all of them: what it needs and this torch does not have


def _check_version() -> None:
    numbers = re.match(r"(\d+)\.(\d+)", torch.__version__)  # of what precedes 2.11.0, too, like 2.11.0a0+git
    if numbers and tuple(map(int, numbers.groups())) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise ImportError(f"fastinit.torch needs torch {oldest} or newer, and this is torch {torch.__version__}")


_check_version()

# --- looking up -----------------------------------------------------------------------------------------------------


def _needs(feature: str, name: str, purpose: str) -> str:
    return f"{feature} needs {name} {purpose}, and torch {torch.__version__} has no such name; {_TESTED}"


def _attribute(holder: object, name: str) -> object:
    """An attribute, or the submodule of that name; _NONE without either."""
    value = getattr(holder, name, _NONE)
    if value is _NONE and hasattr(holder, "__path__"):
        try:
            return importlib.import_module(f"{holder.__name__}.{name}")  # type: ignore[attr-defined]
        except ImportError:
            return _NONE
    return value


def _find(name: str, purpose: str, feature: str = "") -> Any:
    """Look up a name of torch; if it is missing, note that for the feature and return a placeholder."""
    value: object = torch
    for part in name.split(".")[1:]:
        value = _attribute(value, part)
        if value is _NONE:
            _absent.setdefault(feature, []).append(
                _needs(f"fastinit.torch.{feature}" if feature else "fastinit.torch", name, purpose)
            )
            break
    return value


def _check_attributes(of: object, kind: str, names: Sequence[str], purpose: str) -> None:
    for name in names:
        if not hasattr(of, name):
            _absent.setdefault("", []).append(_needs("fastinit.torch", f"{kind}.{name}", purpose))


def require(feature: str) -> None:
    """Refuse to run a feature that needs a name which this torch does not have."""
    if feature in _absent:
        raise RuntimeError(". ".join(_absent[feature]))


# --- what is watched ------------------------------------------------------------------------------------------------

is_wrapped: Callable[[Tensor], bool] = _find(
    "torch._C._functorch.is_functorch_wrapped_tensor", "to tell the tensors of vmap and grad from plain ones"
)
transforms: Callable[[], object] = _find(
    "torch._C._functorch.peek_interpreter_stack", "to see vmap and the other transforms of torch.func"
)
dispatch_modes: Callable[[], int] = _find("torch._C._len_torch_dispatch_stack", "to see dispatch modes")
_dispatch_mode: Callable[[object], object] = _find("torch._C._get_dispatch_mode", "to see make_fx and torch.export")
_PROXY: object = _find("torch._C._TorchDispatchModeKey.PROXY", "to see make_fx and torch.export")
trace: Callable[[], object] = _find("torch._C._get_tracing_state", "to see torch.jit.trace")
_check_attributes(forward_ad, "torch.autograd.forward_ad", ("_current_level",), "to see forward-mode gradients")
n_function_modes: Callable[[], int] = _find("torch._C._len_torch_function_stack", "to see function modes")
function_modes: Callable[[], list[TorchFunctionMode]] = _find(
    "torch.overrides._get_current_function_mode_stack", "to see function modes"
)
_DeviceContext: type = _find("torch.utils._device.DeviceContext", "to know the mode of torch.device from others")


def makes_graph() -> bool:
    """Whether make_fx or torch.export records what is called."""
    return dispatch_modes() > 0 and _dispatch_mode(_PROXY) is not None


def forward_level() -> int:
    """The level of forward-mode gradients in this process, -1 outside."""
    level: int = forward_ad._current_level
    return level


def is_device_mode(mode: TorchFunctionMode) -> bool:
    """Whether it is that of ``with torch.device(...)``, which only says where tensors are made."""
    return type(mode) is _DeviceContext


# --- tensors and modules --------------------------------------------------------------------------------------------

_check_attributes(torch.Tensor, "torch.Tensor", ("_version",), "to see whether a method has written a buffer")
_check_attributes(torch.Tensor, "torch.Tensor", ("_base",), "to see what a tensor is a view of")
_check_attributes(torch.UntypedStorage, "torch.UntypedStorage", ("_cdata",), "to see which tensors share memory")
_check_attributes(
    Module(),
    "torch.nn.Module",
    ("_parameters", "_buffers", "_modules", "_forward_pre_hooks"),
    "to see what a module itself holds",
)

version: Callable[[Tensor], int] = operator.attrgetter("_version")
base_of: Callable[[Tensor], Tensor | None] = operator.attrgetter("_base")
storage_id: Callable[[torch.UntypedStorage], int] = operator.attrgetter("_cdata")
parameters_of: Callable[[Module], dict[str, Parameter | None]] = operator.attrgetter("_parameters")
buffers_of: Callable[[Module], dict[str, Tensor | None]] = operator.attrgetter("_buffers")
children_of: Callable[[Module], dict[str, Module | None]] = operator.attrgetter("_modules")
_hooks_before_forward: Callable[[Module], dict[int, object]] = operator.attrgetter("_forward_pre_hooks")
_pruned_name: Callable[[object], str] = operator.attrgetter("_tensor_name")
negative_slope: Callable[[object], float] = operator.attrgetter("_saved_negative_slope")  # of a node of autograd

# What torch.compile and activation checkpointing put into the names of what they wrap: none of the model's own.
WRAPPERS = ("_orig_mod.", "_checkpoint_wrapped_module.")


def is_flattened(tensor: Tensor) -> bool:
    """Whether FullyShardedDataParallel has made this parameter of several. (Without the mark there are none.)"""
    return bool(getattr(tensor, "_fsdp_flattened", False))


# Methods by which modules compute their own buffers: torch's norms; anybody's; timm; torchtune's rotary embeddings;
# Swin of torchvision; torchtitan.
BUFFER_METHODS = (
    "reset_running_stats",
    "reset_buffers",
    "_init_buffers",
    "init_non_persistent_buffers",
    "rope_init",
    "define_relative_position_index",
    "define_relative_position_bias_table",
    "reset_parameters",
    "init_weights",
)
# The method by which a model of transformers initialises one of its modules, buffers too.
MODEL_METHOD = "_init_weights"


def initialises_modules(module: Module) -> bool:
    """Whether it has that method. (Others have one of that name that takes no module.)"""
    # Not getattr of the module, which takes long to say no.
    if not hasattr(type(module), MODEL_METHOD) and MODEL_METHOD not in vars(module):
        return False
    try:
        inspect.signature(getattr(module, MODEL_METHOD)).bind(module)
    except (TypeError, ValueError):
        return False
    return True


def initialise(model: Module, module: Module) -> None:
    """Call that method."""
    getattr(model, MODEL_METHOD)(module)


def inputs_by_hooks(module: Module) -> Iterator[tuple[str, str]]:
    """The tensors of a module from which hooks compute a weight before each forward pass, each with what does it."""
    for hook in _hooks_before_forward(module).values():
        if isinstance(hook, WeightNorm):
            yield from ((hook.name + end, "torch.nn.utils.weight_norm") for end in ("_g", "_v"))
        elif isinstance(hook, SpectralNorm):
            yield from ((hook.name + end, "torch.nn.utils.spectral_norm") for end in ("_orig", "_u", "_v"))
        elif isinstance(hook, BasePruningMethod):
            yield from ((_pruned_name(hook) + end, "torch.nn.utils.prune") for end in ("_orig", "_mask"))


# The last parts of names, in pairs that stand together where such a hook is.
INPUT_NAMES = (
    (r"(.*weight.*)_g", "_v", "torch.nn.utils.weight_norm"),
    (r"(.*)_orig", "_u", "torch.nn.utils.spectral_norm"),
    (r"(.*)_orig", "_v", "torch.nn.utils.spectral_norm"),
    (r"(.*)_orig", "_mask", "torch.nn.utils.prune"),
)


# --- accelerate -----------------------------------------------------------------------------------------------------


def _of_accelerate(name: str, purpose: str) -> Any:
    return _find(name, purpose, "accelerate")


# torch's stack of function modes, one for each thread. torch.utils._device works on it in the same way.
push_function_mode: Callable[[TorchFunctionMode], None] = _of_accelerate(
    "torch.overrides._push_mode", "to begin a block"
)
pop_function_mode: Callable[[], TorchFunctionMode] = _of_accelerate("torch.overrides._pop_mode", "to end a block")
overrides_are_off: Callable[[], bool] = _of_accelerate(
    "torch._C._is_torch_function_all_disabled", "to see whether a block counts"
)
DisableTorchFunction: Any = _of_accelerate("torch._C.DisableTorchFunction", "to work on tensors without being called")
_device_of_thread: object = _of_accelerate("torch._GLOBAL_DEVICE_CONTEXT", "to keep the default device where it is")
no_grad_uniform: Callable[..., Tensor] = _of_accelerate("torch.nn.init._no_grad_uniform_", "to leave a call to torch")
no_grad_normal: Callable[..., Tensor] = _of_accelerate("torch.nn.init._no_grad_normal_", "to leave a call to torch")
no_grad_fill: Callable[..., Tensor] = _of_accelerate("torch.nn.init._no_grad_fill_", "to leave a call to torch")
_of_accelerate("torch.nn.init._no_grad_trunc_normal_", "to draw truncated normals")
calculate_correct_fan: Callable[[Tensor, str], int] = _of_accelerate(
    "torch.nn.init._calculate_correct_fan", "to draw kaiming_uniform_"
)
# What is on the stack while a module runs.
MODULE_CALLS: tuple[object, ...] = tuple(
    _of_accelerate(f"torch.nn.Module.{name}", "to see that a module runs")
    for name in ("_wrapped_call_impl", "_call_impl")
)
# Asked by whatever may give a parameter other memory: Module.to, to_empty and their kind.
PARAMETERS_MOVE: Callable[..., Any] = _of_accelerate(
    "torch._has_compatible_shallow_copy_type", "to see that a parameter gets other memory"
)
# The innermost functions of truncated normals: module, name, and whether it switches gradients off itself.
TRUNCATED = (
    ("torch.nn.init", "_no_grad_trunc_normal_", True),
    ("timm.layers.weight_init", "_trunc_normal_", False),
)


# --- deferred -------------------------------------------------------------------------------------------------------


def _of_deferred(name: str, purpose: str) -> Any:
    return _find(name, purpose, "deferred")


DispatchMode: Any = _of_deferred("torch.utils._python_dispatch.TorchDispatchMode", "to see what each function does")
DisableTorchDispatch: Any = _of_deferred("torch._C._DisableTorchDispatch", "to run functions that it knows")
factories: Callable[[], Sequence[Callable[..., Any]]] = _of_deferred(
    "torch.utils._device._device_constructors", "to know the functions that make tensors"
)
_set_gradients: Any = _of_deferred("torch._C._set_grad_enabled", "to tell it from operations")
_untyped: Any = torch.Tensor


def getter(name: str) -> Callable[..., Any]:
    """What torch calls when code asks a tensor for that attribute."""
    get: Callable[..., Any] = getattr(_untyped, name).__get__
    return get


is_mutable: Callable[[Any], bool] = operator.attrgetter("_schema.is_mutable")  # of an operation
SET_DATA: Callable[..., Any] = _untyped.data.__set__
SET_ITEM: Callable[..., Any] = _untyped.__setitem__
GET_ITEM: Callable[..., Any] = _untyped.__getitem__
DEEPCOPY: Callable[..., Any] = _untyped.__deepcopy__
FOREACH = "_foreach_"
LIKE = "_like"  # ends the names of functions that read no values of what they are given
TENSORS_AND_MODULES = ("_parameters", "_buffers", "_modules")  # where a module keeps them


def is_in_place(name: str) -> bool:
    """Whether a function of that name writes into its first argument: ``add_``, ``__iadd__``."""
    if name.endswith("__"):
        return name.startswith("__i") and hasattr(_untyped, f"__{name[3:]}")
    return name.endswith("_")


def can_be_rebuilt(thing: object) -> bool:
    """Whether it is a plain list or tuple, or a named tuple."""
    return type(thing) in (list, tuple) or (isinstance(thing, tuple) and hasattr(thing, "_make"))


def rebuilt(thing: Any, items: list[Any]) -> Any:
    """A tuple or list of the same type, with other items."""
    return thing._make(items) if hasattr(thing, "_make") else type(thing)(items)


# Most calls: their answer is in the shape, or they make another view. They read and write no values.
QUESTIONS = frozenset(
    (
        *(_untyped.dim, _untyped.size, _untyped.stride, _untyped.numel, _untyped.__len__, _untyped.element_size),
        *(_untyped.storage_offset, _untyped.untyped_storage, _untyped.is_contiguous, _untyped.is_floating_point),
        *(_untyped.is_complex, _untyped.requires_grad_, _untyped.requires_grad.__set__, _untyped.detach),
        *map(getter, ("shape", "dtype", "ndim", "layout", "requires_grad", "grad", "grad_fn", "is_leaf", "data")),
        *map(getter, ("is_sparse", "is_quantized")),
        *(_set_gradients, PARAMETERS_MOVE),
    )
)


def _present(*names: str) -> tuple[Callable[..., Any], ...]:
    """What torch has of these functions; it is about to lose them."""
    return tuple(getattr(torch, name) for name in names if hasattr(torch, name))


# Calls that make values of Python's, or decide by values.
VALUES = frozenset(
    (
        *(_untyped.item, _untyped.tolist, _untyped.numpy, _untyped.__array__, _untyped.__bool__, _untyped.__float__),
        *(_untyped.__int__, _untyped.__index__, _untyped.__complex__, _untyped.__contains__, _untyped.__format__),
        *(_untyped.equal, _untyped.allclose, _untyped.is_nonzero, torch.equal, torch.allclose, torch.is_nonzero),
        *(_untyped.apply_, _untyped.map_),
        _untyped.__reduce_ex__,  # pickle, torch.save, copy.copy
        *_present("quantize_per_tensor", "quantize_per_tensor_dynamic", "quantize_per_channel"),
    )
)
# They make quantised tensors, which are not made on meta.
QUANTIZED = _present("_empty_affine_quantized", "_empty_per_channel_affine_quantized", "empty_quantized")
# The parametrization of torch.nn.utils.parametrizations.orthogonal.
Orthogonal: Any = _of_deferred("torch.nn.utils.parametrizations._Orthogonal", "to record orthogonal parametrizations")
negated: Callable[[Tensor], Tensor] = _of_deferred("torch._neg_view", "to read what complex conjugates have")
REDUCE = "_reduce_ex_internal"  # by which tensors are pickled
_of_deferred(f"torch.Tensor.{REDUCE}", "to pickle tensors with their values")


def default_device_mode() -> TorchFunctionMode | None:
    """The mode of ``torch.set_default_device`` on this thread."""
    return getattr(_device_of_thread, "device_context", None)


# --- DTensors: what defines them takes long to import, and is imported only where there are some ---------------------


def _of_dtensors(holder: object, kind: str, name: str, purpose: str) -> Any:
    value = getattr(holder, name, _NONE)
    if value is _NONE:
        raise RuntimeError(_needs("fastinit.torch, for DTensors,", f"{kind}.{name}", purpose))
    return value


def strided_shard() -> type:
    """The placement of a shard that is several ranges of a dimension."""
    where = "torch.distributed.tensor.placement_types"
    kind: type = _of_dtensors(importlib.import_module(where), where, "_StridedShard", "to know where the pieces lie")
    return kind


def shard_order(tensor: Any) -> Mapping[int, Sequence[int]]:
    """The mesh dimensions that cut each tensor dimension, in order, as far as the DTensor has stored it."""
    purpose = "to know where the pieces lie"
    spec = _of_dtensors(tensor, "DTensor", "_spec", purpose)
    order = _of_dtensors(spec, "DTensor._spec", "shard_order", purpose)
    return {entry.tensor_dim: entry.mesh_dims for entry in order or ()}


def planned_chunks(tensor: Any) -> Sequence[Any]:
    """The boxes that torch.distributed.checkpoint takes the local tensor of a DTensor for."""
    chunks: Sequence[Any] = _of_dtensors(
        tensor, "DTensor", "__create_chunk_list__", "to know which pieces a checkpoint asks for"
    )()
    return chunks


if "" in _absent:
    raise ImportError(". ".join(_absent[""]))
