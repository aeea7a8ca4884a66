"""What the config and the classes of a model say of its initialisation. Classes are known by name: none is imported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .._arguments import positive, typed
from ._architectures import Architecture
from ._core import count

__all__ = ["Own", "own"]

_LIBRARIES = ("timm", "torchvision", "transformers")
# By which a model of these libraries initialises itself.
_METHODS = ("_init_weights", "init_weights", "zero_init_last")


class Own(NamedTuple):
    """The values of a model itself. None where they are not known: there is no default."""

    std: float = 0.02
    n_layer: int | None = None
    layer_scale: float | None = None
    zero_init_last: bool = False


def own(architecture: Architecture, model: Any) -> Own | str:
    """The values of a model with the names of this architecture, or why it is initialised in another way."""
    modules = list(model.modules()) if hasattr(model, "modules") else []
    candidates = [model, *(getattr(module, "config", None) for module in modules)]
    configs = [config for config in candidates if isinstance(getattr(config, "model_type", None), str)]
    if not modules and not configs:
        raise TypeError(f"model must be a module, or a config with a model_type, got {typed(model)}")
    for kind in (config.model_type for config in configs):
        if kind not in architecture.model_types:
            known = ", ".join(map(repr, architecture.model_types)) or "none"
            return f"its config has the model_type {kind!r}; the types of this recipe are {known}"
    scales: set[float | None] = set()
    zero_init_last = False
    for module, library, name in _of_libraries(modules):
        if library != "transformers" and name not in architecture.classes.get(library, ()):
            return f"it has a module of {library}, {name}, that does not belong to those of this recipe"
        if library == "transformers" and not configs:
            return f"it has a module of transformers, {name}, and no config that says of which model"
        for method in _METHODS:
            if _library(getattr(getattr(module, method, None), "__module__", library)) not in _LIBRARIES:
                return f"its {type(module).__name__} has a method {method} of its own"
        if name == "VisionTransformer":
            mode, fix = getattr(module, "weight_init_mode", ""), getattr(module, "fix_init", False)
            if mode or fix:
                return f"it was made with weight_init={mode!r} and fix_init={fix}"
        if name == "LayerScale":
            scales.add(getattr(module, "init_values", None))
        zero_init_last |= library == "timm" and name in ("BasicBlock", "Bottleneck")
    values = Own(layer_scale=scales.pop() if len(scales) == 1 else None, zero_init_last=zero_init_last)
    if configs:
        std = positive("config.initializer_range", getattr(configs[0], "initializer_range", None))
        n_layer = getattr(configs[0], "n_layer", None)
        values = values._replace(std=std, n_layer=n_layer if n_layer is None else count("config.n_layer", n_layer))
    return values


def _library(module: str) -> str:
    return module.partition(".")[0]


def _of_libraries(modules: list[Any]) -> Iterator[tuple[Any, str, str]]:
    """Those that have parameters and are of a library's class, or of a subclass of it."""
    for module in modules:
        for base in type(module).__mro__:
            if _library(base.__module__) in _LIBRARIES and next(module.parameters(), None) is not None:
                yield module, _library(base.__module__), base.__name__
                break
