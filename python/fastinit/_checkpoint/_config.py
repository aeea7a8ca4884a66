"""A model of transformers by its config, on no memory: names, shapes, dtypes, and the laws of the model's own code.

The only file of this folder that needs PyTorch and transformers.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .._arguments import shown
from ..recipes._values import Skip
from ._laws import Given, Law, Wanted
from ._safetensors import FLOATS, NAMES, opened, parsed

if TYPE_CHECKING:
    from .._types import BitGenerator

__all__ = ["Configured", "configured"]


class Configured(NamedTuple):
    """What a config stands for, and the text of the config that was used."""

    tensors: list[Wanted]
    laws: dict[str, Law]
    text: str


def configured(
    path: str,
    seed: int,
    *,
    sets: Sequence[str] = (),
    dtype: str | None = None,
    bit_generator: BitGenerator = "ars",
    threads: int | None = None,
) -> Configured:
    """The model of ``config.json``, or of the folder that has one; ``sets`` are texts such as ``hidden_size=64``."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise ImportError(f"a model by its config needs PyTorch and transformers: {error}") from None
    path = os.path.join(path, "config.json") if os.path.isdir(path) else path
    with opened(path) as file:
        found = parsed(file.read(), path)
    if dtype is not None:
        found.pop("torch_dtype", None)
        found["dtype"] = FLOATS[dtype]
    try:
        return _made(found, seed, sets, bit_generator, threads)
    except Exception as error:  # whatever a model's code raises where a config does not suit it
        raise ValueError(f"{path}: {error}") from error


def _made(
    found: dict[str, Any], seed: int, sets: Sequence[str], bit_generator: BitGenerator, threads: int | None
) -> Configured:
    import torch
    import transformers

    import fastinit.torch

    default = transformers.AutoConfig.for_model(str(found.get("model_type"))).to_dict()
    _set(found, default, sets)
    config = _read(transformers, found)
    names: Any = config.architectures or [None]
    kind = getattr(transformers, names[0], None) if isinstance(names[0], str) else None
    if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
        raise ValueError(f"architectures must name a model of transformers, got {shown(config.architectures)}")
    if getattr(config, "quantization_config", None) is not None:
        raise ValueError("quantised models cannot be made yet: --set quantization_config=null makes a plain one")
    build: Any = kind._from_config  # what AutoModel.from_config calls, for any class
    with fastinit.torch.deferred(seed) as plan:
        # The weights do not depend on it, and transformers fetches and runs what else a config may name there.
        model = build(config, attn_implementation="eager")
    recipe = plan.recipe(model)
    laws: dict[str, Law] = {}
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}  # of tied ones, the first
    kept = model.state_dict()
    tensors = [
        Wanted(name, _dtype_of(name, tensor), tuple(tensor.shape)) for name, tensor in held.items() if name in kept
    ]
    for tensor in tensors:
        law = recipe.get(tensor.name)
        if law is not None and not isinstance(law, Skip) and tensor.dtype in FLOATS:
            laws[tensor.name] = law
    others = [tensor.name for tensor in tensors if tensor.name not in laws]
    if others:
        plan.materialize(model, include=others, threads=threads, bit_generator=bit_generator, report=False)
        held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name in others:
        data = held[name].detach().contiguous().reshape(-1).view(torch.uint8).numpy()
        laws[name] = Given(data.tobytes())
    return Configured(tensors, laws, config.to_json_string())


def _read(transformers: Any, found: dict[str, Any]) -> Any:
    """As transformers reads it from a file: with what older ones said in other words. Code of others is not run."""
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
            json.dump(found, file)
        return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _dtype_of(name: str, tensor: Any) -> str:
    word = str(tensor.dtype).removeprefix("torch.")
    if word not in NAMES:
        raise ValueError(f"tensor {shown(name)} is of {word}, which checkpoints cannot have yet")
    return NAMES[word]


def _set(found: dict[str, Any], default: dict[str, Any], sets: Sequence[str]) -> None:
    """Change values, by names such as ``text_config.hidden_size``, that the file or the kind of model has."""
    for text in sets:
        name, equals, word = text.partition("=")
        *way, last = name.split(".")
        place, known = found, default
        for part in way:
            known = known.get(part) if isinstance(known.get(part), dict) else {}  # type: ignore[assignment]
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ValueError(f"--set {text}: {part} has no values of its own")
        if not equals or (last not in place and last not in known):
            raise ValueError(f"--set {text}: must be a name that the config has, and =value; {shown(name)} is none")
        try:
            place[last] = json.loads(word)
        except ValueError:
            place[last] = word
