"""Functions of torch and timm that are replaced, in their modules and classes, while there are blocks of ``deferred``.

Without a block on its thread, a replacement calls the original.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import fastinit

from . import _compat
from ._recorder import Recorder

__all__ = ["begin", "recorder_of_thread", "replace", "restore"]


def recorder_of_thread() -> Recorder | None:
    """That of the block which this thread is in."""
    return next((mode for mode in _compat.function_modes()[::-1] if isinstance(mode, Recorder)), None)


_originals: list[tuple[Any, str, Any]] = []
_blocks = 0
_lock = threading.Lock()


def begin() -> None:
    global _blocks
    with _lock:
        _blocks += 1
    replace()


def replace() -> None:
    """Those that are imported; in the block, too, more of them may be."""
    if len(_originals) < len(_REPLACED):
        with _lock:
            for where, name, replacement in _REPLACED:
                holder = sys.modules.get(where) if isinstance(where, str) else where
                original = getattr(holder, name, None)
                if holder is not None and original is not None and all(holder is not done for done, _, _ in _originals):
                    setattr(holder, name, replacement(original))
                    _originals.append((holder, name, original))


def restore() -> None:
    global _blocks
    with _lock:
        _blocks -= 1
        while _originals and not _blocks:
            setattr(*_originals.pop())


def _truncated(original: Callable[..., Any]) -> Callable[..., Any]:
    """Truncated normals are loops of small steps: one law."""

    @functools.wraps(original)
    def truncated(tensor: Tensor, mean: float, std: float, a: float, b: float, *args: Any, **kwargs: Any) -> Any:
        recorder = recorder_of_thread()
        if recorder is not None and std != 0 and not any(value is not None for value in (*args, *kwargs.values())):
            parameters = {"mean": mean, "std": std, "low": a, "high": b, "bounds": "absolute"}
            with _compat.DisableTorchFunction():
                if recorder.draw(tensor, fastinit.truncated_normal, parameters) is not NotImplemented:
                    return tensor
        return original(tensor, mean, std, a, b, *args, **kwargs)

    return truncated


def _orthogonal(original: Callable[..., Any]) -> Callable[..., Any]:
    """The parametrization ``orthogonal`` looks at the weight, to make what it is computed from: that is one step."""

    @functools.wraps(original)
    def right_inverse(module: Any, weight: Tensor) -> Any:
        recorder, based = recorder_of_thread(), hasattr(module, "base")
        if recorder is None or weight.shape != module.shape:  # which torch refuses
            return original(module, weight)
        if not based and module.orthogonal_map.name != "householder":  # there is none
            return original(module, weight)

        def inverted(weight: Tensor) -> tuple[Tensor, Tensor | None]:
            *batch, rows, columns = weight.shape
            if weight.is_meta:
                n = max(rows, columns)
                base = weight.new_empty(*batch, n, n) if based else None
                if base is not None and rows != columns:
                    base.normal_()  # what the weight does not have is drawn
                return torch.empty_like(weight), base
            one = type(module)(weight, module.orthogonal_map, use_trivialization=based)
            return original(one, weight), getattr(one, "base", None)

        inverse, base = recorder.record(inverted, weight)
        if based:
            module.base = base
        return inverse

    return right_inverse


def _reduced(original: Callable[..., Any]) -> Callable[..., Any]:
    """Tensors are pickled, copied by ``copy.copy`` and saved by ``torch.save`` with values, as far as they have any."""

    @functools.wraps(original)
    def reduce(tensor: Tensor, protocol: int) -> Any:
        def pickle(tensor: Tensor) -> Any:
            return original(tensor, protocol)

        recorder = recorder_of_thread()
        return pickle(tensor) if recorder is None else recorder.call(pickle, tensor)

    return reduce


_REPLACED: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
    *((where, name, _truncated) for where, name, _ in _compat.TRUNCATED),
    (_compat.Orthogonal, "right_inverse", _orthogonal),
    (Tensor, _compat.REDUCE, _reduced),
)
