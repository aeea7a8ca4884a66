"""What the config and the classes of a model say of its initialisation. Classes are known by name: none is imported."""

from __future__ import annotations

from typing import Any, NamedTuple

from .._arguments import count, positive, typed
from ._architectures import Architecture

__all__ = ["ModelValues", "read_model"]

_LIBRARIES = ("timm", "torchvision", "transformers")
# By which a model of these libraries initialises itself.
_METHODS = ("_init_weights", "init_weights", "zero_init_last")


class ModelValues(NamedTuple):
    """The values of a model itself. None where they are not known: there is no default."""

    std: float = 0.02
    n_layer: int | None = None
    layer_scale: float | None = None
    zero_init_last: bool = False


def read_model(architecture: Architecture, model: Any) -> ModelValues | str:
    """The values of a model with the names of this architecture, or why it is initialised in another way."""
    if hasattr(model, "modules"):
        modules = list(model.modules())
        found: list[Any] = [getattr(module, "config", None) for module in modules]
        configs = [config for config in found if _root(_class(type(config)).__module__) == "transformers"]
    elif isinstance(getattr(model, "model_type", None), str):
        modules, configs = [], [model]
    else:
        raise TypeError(f"model must be a module, or a config with a model_type, got {typed(model)}")
    for config in configs:
        if config.model_type not in architecture.model_types:
            known = ", ".join(map(repr, architecture.model_types)) or "none"
            return f"its config has the model_type {config.model_type!r}; the types of this recipe are {known}"
    for what in ("initializer_range", "n_layer"):
        if len(different := sorted({repr(getattr(config, what, None)) for config in configs})) > 1:
            return f"its configs have different values of {what}, {' and '.join(different)}"
    values = ModelValues()
    scales = set()
    for module in modules:
        library, name = _root(_class(type(module)).__module__), _class(type(module)).__name__
        if library not in _LIBRARIES or next(module.parameters(), None) is None:
            continue
        if library == "transformers":
            if not configs:
                return f"it has a module of transformers, {name}, and no config that says of which model"
        elif name not in architecture.classes.get(library, ()):
            return f"it has a module of {library}, {name}, that does not belong to those of this recipe"
        for method in _METHODS:
            if _root(getattr(getattr(module, method, None), "__module__", library)) not in _LIBRARIES:
                return f"its {type(module).__name__} has a method {method} of its own"
        if name == "VisionTransformer":
            mode, fix = getattr(module, "weight_init_mode", ""), getattr(module, "fix_init", False)
            if mode or fix:
                return f"it was made with weight_init={mode!r} and fix_init={fix}"
        if name == "LayerScale":
            scales.add(getattr(module, "init_values", None))
        if library == "timm" and name in ("BasicBlock", "Bottleneck"):
            values = values._replace(zero_init_last=True)
    if len(scales) == 1:
        values = values._replace(layer_scale=scales.pop())
    try:
        for config in configs[:1]:
            std = positive("config.initializer_range", getattr(config, "initializer_range", None))
            n_layer = getattr(config, "n_layer", None)
            values = values._replace(std=std, n_layer=n_layer if n_layer is None else count("config.n_layer", n_layer))
    except (TypeError, ValueError) as error:
        return str(error)
    return values


def _class(kind: type) -> type:
    """The class of one of the libraries that this one is, or comes from: wrappers and users make subclasses."""
    return next((base for base in kind.__mro__ if _root(base.__module__) in _LIBRARIES), kind)


def _root(module: str) -> str:
    return module.partition(".")[0]
