"""What a module's own methods compute for its buffers, found out on twins of it that share no tensor with it.

In a twin, buffers hold nonsense, and parameters have no memory. A method is asked twice, with other nonsense and other
random numbers: what then differs follows from those, and is no answer.
"""

from __future__ import annotations

import contextlib
import copy
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from . import _compat
from ._parameters import shape_of

__all__ = ["Failure", "Twins", "asking"]

TensorT = TypeVar("TensorT", bound=Tensor)
Memo: TypeAlias = dict[int, object]
Make: TypeAlias = "Callable[[Nonsense], tuple[nn.Module, Callable[[], object]]]"


@dataclass(frozen=True)
class Nonsense:
    """What the tensors of a twin hold."""

    second: bool
    on_meta: bool  # parameters: there a method may fill them. On the CPU, where a buffer may follow them, they are one

    def parameter(self, tensor: Tensor) -> nn.Parameter:
        shape, dtype = shape_of(tensor), tensor.dtype
        if self.on_meta:
            return nn.Parameter(torch.empty(shape, dtype=dtype, device="meta"), requires_grad=False)
        return nn.Parameter(self._filled((), dtype).expand(shape), requires_grad=False)

    def buffer(self, tensor: Tensor) -> Tensor:
        return self._filled(shape_of(tensor), tensor.dtype)

    def _filled(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        value: float
        if dtype.is_floating_point or dtype.is_complex:
            value = math.nan if self.second else 0
        elif dtype is torch.bool:
            value = self.second
        else:
            value = torch.iinfo(dtype).max if self.second else torch.iinfo(dtype).min
        return torch.full(shape, value, dtype=dtype, device="cpu")


@dataclass(frozen=True)
class Failure:
    """Why a method has not computed a buffer that it should have."""

    text: str
    error: Exception | None = None

    @property
    def rank(self) -> int:
        """How little it says. Least says what the twin's parameters on the meta device may have caused."""
        if self.error is None:
            return 1
        return 2 if isinstance(self.error, NotImplementedError) or "meta" in str(self.error) else 0


# By the buffer's key; None where the method leaves it alone, as most methods of a model do with most buffers.
Answers: TypeAlias = Mapping[str, Tensor | Failure | None]


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """A block in which modules are asked. The random states of torch, NumPy and Python are afterwards as before."""
    # Such a block makes each call of torch slower.
    new_ones = contextlib.nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")
    of_numpy, of_python = np.random.get_state(legacy=False), random.getstate()  # noqa: NPY002
    try:
        with new_ones, torch.no_grad(), torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(of_numpy)  # noqa: NPY002
        random.setstate(of_python)


class Twins:
    """Asks the modules of a whole, inside a block of ``asking()``."""

    def __init__(self, whole: nn.Module) -> None:
        # In transformers, the model that holds a module initialises it, by its configuration: the innermost first.
        models = [model for model in reversed(list(whole.modules())) if _compat.initialises_modules(model)]
        self._models = [(model, set(map(id, model.modules()))) for model in models]
        self._shells: dict[tuple[int, Nonsense], tuple[nn.Module, Memo]] = {}
        self._of_torch: dict[object, list[Answers]] = {}

    def ask(self, owner: nn.Module, keys: Sequence[str]) -> Iterator[Answers]:
        """What each method has to say of these buffers of a module, one method after the other."""
        if not type(owner).__module__.startswith("torch.nn.modules."):
            yield from self._ask(owner, keys)
            return
        # Of torch's own modules, type and shapes say it all: one norm speaks for the others of a network.
        buffers = _compat.buffers_of(owner)
        kind = (
            type(owner),
            *((key, shape_of(tensor), tensor.dtype) for key in keys if (tensor := buffers[key]) is not None),
        )
        if kind not in self._of_torch:
            self._of_torch[kind] = list(self._ask(owner, keys))
        for answers in self._of_torch[kind]:
            yield {key: _clone(answer) if isinstance(answer, Tensor) else answer for key, answer in answers.items()}

    def _ask(self, owner: nn.Module, keys: Sequence[str]) -> Iterator[Answers]:
        names = [name for name in _compat.BUFFER_METHODS if callable(getattr(owner, name, None))]
        asked = [(f"its {name}", _own(owner, name)) for name in names]
        asked += [
            (f"{_compat.MODEL_METHOD} of {type(model).__name__}", self._of_model(model, owner))
            for model, inside in self._models
            if id(owner) in inside
        ]
        for name, make in asked:
            answers = _answers(name, keys, make, on_meta=True)
            yield answers
            # It may put the buffers where the parameters are, or may need to see them.
            if failed := [key for key in keys if isinstance(answers[key], Failure)]:
                yield _answers(name, failed, make, on_meta=False)

    def _of_model(self, model: nn.Module, owner: nn.Module) -> Make:
        def make(nonsense: Nonsense) -> tuple[nn.Module, Callable[[], object]]:
            key = id(model), nonsense
            if key not in self._shells:  # one for all modules of the model, without copies of their attributes
                memo: Memo = {}
                self._shells[key] = _twin(model, nonsense, memo, _shared), memo
            shell, memo = self._shells[key]
            twin = memo[id(owner)]
            assert isinstance(twin, nn.Module)
            return twin, lambda: _compat.initialise(shell, twin)

        return make


def _own(owner: nn.Module, name: str) -> Make:
    def make(nonsense: Nonsense) -> tuple[nn.Module, Callable[[], object]]:
        twin = _twin(owner, nonsense, {}, _copied)
        return twin, getattr(twin, name)

    return make


def _answers(name: str, keys: Sequence[str], make: Make, *, on_meta: bool) -> Answers:
    """What a method computes. ``make`` makes a twin, and the call of the method there."""
    both: list[dict[str, Tensor | Failure | None]] = []
    for second in (False, True):
        torch.default_generator.manual_seed(int(second))
        try:
            twin, call = make(Nonsense(second, on_meta))
            before = {key: (tensor, _compat.version(tensor)) for key, tensor in _held(twin, keys).items()}
            call()
        except Exception as error:  # anything; if no other method computes the buffers, the caller is told
            return dict.fromkeys(keys, Failure(f"{name} raised {type(error).__name__}: {error}", error))
        after = _held(twin, keys)
        both.append({key: _written(name, *before[key], after.get(key)) for key in keys})
    return {key: _agreed(name, both[0][key], both[1][key]) for key in keys}


def _held(module: nn.Module, keys: Sequence[str]) -> dict[str, Tensor]:
    buffers = _compat.buffers_of(module)
    return {key: tensor for key in keys if (tensor := buffers.get(key)) is not None}


def _written(name: str, old: Tensor, version: int, new: Tensor | None) -> Tensor | Failure | None:
    """The buffer that a method wrote or registered, None if it did not."""
    if new is None or (new is old and _compat.version(new) == version):
        return None
    for what in ("shape", "dtype", "device", "layout"):
        one, other = getattr(new, what), getattr(old, what)
        if one != other:
            return Failure(f"{name} makes it of {what} {one} instead of {other}")
    return new.detach()


def _agreed(name: str, one: Tensor | Failure | None, other: Tensor | Failure | None) -> Tensor | Failure | None:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if torch.equal(_bytes(one), _bytes(other)):
            return one
        return Failure(f"what {name} computes follows from values that are not known yet, or is random")
    return other if isinstance(one, Tensor) else one


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).contiguous().view(torch.uint8)


# --- twins ----------------------------------------------------------------------------------------------------------


def _twin(module: nn.Module, nonsense: Nonsense, memo: Memo, copied: Callable[[object, Memo], object]) -> nn.Module:
    """A module of the same class and structure, without hooks.

    Not ``copy.deepcopy``: some classes refuse it, those of ``fully_shard`` for one, and hooks are hard to copy.
    """
    known = memo.get(id(module))
    if isinstance(known, nn.Module):
        return known
    twin = object.__new__(type(module))
    memo[id(module)] = twin
    blank = vars(nn.Module())
    vars(twin).update(blank)
    for key, parameter in _compat.parameters_of(module).items():
        _compat.parameters_of(twin)[key] = None if parameter is None else _once(parameter, memo, nonsense.parameter)
    for key, buffer in _compat.buffers_of(module).items():
        _compat.buffers_of(twin)[key] = None if buffer is None else _once(buffer, memo, nonsense.buffer)
    for key, child in _compat.children_of(module).items():
        _compat.children_of(twin)[key] = None if child is None else _twin(child, nonsense, memo, copied)
    for key, value in vars(module).items():
        if key not in blank:
            vars(twin)[key] = copied(value, memo)
    return twin


def _once(tensor: Tensor, memo: Memo, make: Callable[[Tensor], TensorT]) -> TensorT:
    """The twin of a tensor: one, wherever the tensor is found."""
    if id(tensor) not in memo:
        memo[id(tensor)] = make(tensor)
    return cast("TensorT", memo[id(tensor)])


def _copied(value: object, memo: Memo) -> object:
    """A copy of an attribute; the attribute itself where it cannot be copied (locks, process groups)."""
    if isinstance(value, Tensor):
        return _shared(value, memo)
    try:
        return copy.deepcopy(value, memo)
    except Exception:
        return value


def _shared(value: object, memo: Memo) -> object:
    """The attribute itself, unless it is a tensor."""
    return _once(value, memo, _clone) if isinstance(value, Tensor) else value


def _clone(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()
