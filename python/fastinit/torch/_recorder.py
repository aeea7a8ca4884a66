"""The mode of ``deferred``: what is made is made on meta, its code believes in the CPU, and each step is recorded."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

import fastinit

from . import _compat
from ._replay import Dependent, Replay, Unwritten
from ._running import tensors_in
from ._steps import Law, Log, Step, View
from ._taken import init_name, kaiming_bound
from ._tensor import nothing

__all__ = ["Recorder", "mapped"]

Function = Callable[..., Any]

_NO_VALUES = "meta", "Meta", "META", "not allocated"  # in errors of kernels that need them
_SET = torch.ops.aten.set_.source_Tensor
_CPU = torch.device("cpu")
# What the block's code is told of tensors on meta.
_SAYS: dict[Function, Any] = {
    _compat.getter("device"): _CPU,
    _compat.getter("is_meta"): False,
    _compat.getter("is_cpu"): True,
    Tensor.get_device: -1,
}
# From values that are there: these stay on the CPU.
_FROM_VALUES = {
    *(torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy, torch.scalar_tensor, torch.from_file),
    *(torch.sparse_coo_tensor, torch.sparse_compressed_tensor, torch.sparse_csr_tensor, torch.sparse_csc_tensor),
    *(torch.sparse_bsr_tensor, torch.sparse_bsc_tensor),
    *_compat.QUANTIZED,
}


class _Guard(_compat.DispatchMode):  # type: ignore[misc]
    """Sees each operation of torch below its functions: whether a function draws, and what comes from no function."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0  # of functions that the recorder runs
        self.random = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or each call goes through a wrapper that takes longer than the operation

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        random, mutable = _kind(func)
        if self.depth:
            self.random |= random
        elif random or mutable:
            with _compat.DisableTorchFunction():
                on_meta = [tensor.is_meta for tensor in _flat(args, kwargs)]
            ours = any(on_meta) and not (func is _SET and all(on_meta))  # which only says where elements are
            if random and not ours:
                raise RuntimeError(
                    f"{func} draws from torch's generator in a block of deferred, at {_line()}, into a tensor that has "
                    "values: make that one by torch.empty"
                )
            if ours:
                raise RuntimeError(
                    f"{func} in a block of deferred, at {_line()}, was called in a way that cannot be recorded, "
                    "such as from compiled or scripted code"
                )
        return func(*args, **(kwargs or {}))


@functools.cache
def _kind(func: Any) -> tuple[bool, bool]:
    """Whether an operation draws, and whether it writes."""
    return torch.Tag.nondeterministic_seeded in func.tags, _compat.is_mutable(func)


class Recorder(TorchFunctionMode):
    """Keeps the steps of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.replay = Replay(self.log)
        self._made_by = frozenset(_compat.factories()) - _FROM_VALUES
        self._twins: dict[int, torch.UntypedStorage] = {}  # by address, of storages that were taken over
        self._stand_ins: dict[int, tuple[Tensor, Tensor]] = {}  # of a call, by id, with the original
        self.guard = _Guard()

    def __torch_function__(
        self, func: Function, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """torch asks here before each of its functions."""
        if func in _SAYS and args[0].is_meta:
            return _SAYS[func]
        if func in _compat.QUESTIONS:
            self.guard.depth += 1  # requires_grad_ counts as a write
            try:
                return func(*args, **(kwargs or {}))
            finally:
                self.guard.depth -= 1
        kwargs = kwargs or {}
        if func is _compat.DEEPCOPY:
            args = (args[0], {})  # what else is copied is no part of the step
        if func is Tensor.data_ptr and args[0].is_meta:  # by which code knows what is tied
            with _compat.DisableTorchFunction():
                return _compat.storage_id(args[0].untyped_storage()) + args[0].storage_offset() * args[0].itemsize
        if func == _compat.SET_DATA and self._is_ours(args[0]) and not self._is_ours(args[1]):
            args = (args[0], self._constant(args[1]))
        if (take := _TAKEN.get(func)) is not None:
            done = take(self, func, args, kwargs)
            if done is not NotImplemented:
                return done
        if not args and (name := init_name(func, kwargs)) is not None:
            done = _init(self, name, kwargs)
            if done is not NotImplemented:
                return done
        if func in self._made_by:
            if isinstance(kwargs.get("out"), Tensor) and not self._is_ours(kwargs["out"]) and func not in _RANDOM:
                return func(*args, **kwargs)
            if args == ((0,),) and func is torch.empty and kwargs.get("device") is not None:
                return func(*args, **kwargs)  # torch.load and pickle give it a storage that has values
            if _is_cpu(kwargs.get("device")):
                kwargs = {**kwargs, "device": "meta"}
        elif func in _MOVES:
            args, kwargs = _stay(args, kwargs)
        if func not in self._made_by and not any(map(self._is_ours, _flat(args, kwargs))):
            if func not in _RANDOM or not args or not isinstance(args[0], Tensor):
                return func(*args, **kwargs)
            self._take_over(args[0])
        elif args and isinstance(args[0], Tensor) and not self._is_ours(args[0]):
            if func == _compat.SET_DATA:
                why = "make both tensors in the block, or do this after materialize"
                self.refuse("a tensor that has values got .data without", why)
            if _writes(func) or func in _VIEWS:
                self._take_over(args[0])
        if func in _compat.VALUES:
            return self._by_values(func, args, kwargs)
        return self._run(func, args, kwargs)

    # Calls

    def _run(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], law: Law | None = None) -> Any:
        """Make it on meta, and keep what it made or wrote."""
        if law is None and func in _SIMPLE and (out := self._run_simple(func, args, kwargs)) is not None:
            return out
        placed = args, kwargs
        if not all(map(_on_meta, _flat(args, kwargs))):
            self.guard.depth += 1
            try:
                # Values that are there already meet tensors on meta there; the step keeps the values.
                placed = mapped(placed, self._placed)
            except NotImplementedError:  # quantised ones cannot be there
                return self._by_values(func, args, kwargs)
            finally:
                self.guard.depth -= 1
        before = [(tensor, _compat.version(tensor)) for tensor in _flat(*placed) if tensor.is_meta]
        self._refuse_unseen(func)
        options = {key: value for key, value in placed[1].items() if key != "generator"}  # nothing is drawn on meta
        self.guard.random = False
        self.guard.depth += 1
        try:
            out = func(*placed[0], **options)
        except (NotImplementedError, RuntimeError) as error:
            if not any(word in str(error) for word in _NO_VALUES) and not isinstance(error, NotImplementedError):
                raise
            return self._by_values(func, args, kwargs)
        finally:
            self.guard.depth -= 1
        random = self.guard.random
        if random and kwargs.get("generator") is not None:
            func, random = self._from_generator(func, args, kwargs), False
        written = [tensor for tensor, version in before if _compat.version(tensor) != version]
        written += _unseen(func, *placed)
        if not all(map(self.log.knows, written)):
            raise RuntimeError(
                f"{_name(func)} writes into a tensor that has values, in a block of deferred, at {_line()}: these "
                "would be lost"
            )
        writes = list(dict.fromkeys(map(self.log.view, written)))
        made = [
            (i, self.log.view(tensor))
            for i, tensor in enumerate(tensors_in(out))
            if tensor.is_meta and not self.log.knows(tensor)
        ]
        if made and before and torch.is_autocast_enabled("cpu"):
            raise RuntimeError(
                f"{_name(func)} under autocast in a block of deferred, at {_line()}: on meta there is none, and types "
                "would differ; leave it out"
            )
        if writes or made:
            given = {key: value for key, value in kwargs.items() if key not in ("device", "generator")}
            kept, options = mapped((args, given), self._kept)
            places, makes = tuple(i for i, _ in made), tuple(view for _, view in made)
            law = law or _truncated(self.log, func, kept, options, writes)
            self.log.add(Step(func, kept, options, tuple(writes), makes, places, _line(), law, random))
        if self._stand_ins:
            for stand_in, tensor in self._stand_ins.values():
                if stand_in.shape != tensor.shape or stand_in.stride() != tensor.stride():  # t_ and the like
                    tensor.as_strided_(stand_in.shape, stand_in.stride(), stand_in.storage_offset())
            out = mapped(out, self._original)
            self._stand_ins.clear()
        return out

    def _from_generator(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Function:
        """A function that draws again what code draws now from a generator of its own, which goes on as in torch."""
        generator = kwargs["generator"]
        state = generator.get_state()
        first = args[0] if args else kwargs.get("tensor")
        unread = first if _writes(func) or _name(func).endswith(_compat.LIKE) else None

        def real(tensor: Tensor) -> Tensor:
            if tensor is not unread:
                return self._now(tensor)
            # What a draw takes from the generator depends on the strides, too.
            return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")

        def again(*args: Any, **kwargs: Any) -> Any:
            own = torch.Generator()
            own.set_state(state)
            return func(*args, **kwargs, generator=own)

        again.__name__ = _name(func)
        self.guard.depth += 1
        try:
            values, options = mapped((args, kwargs), real)
            func(*values, **(options | ({"device": "cpu"} if "device" in options else {})))
        except (Dependent, Unwritten):
            self.refuse(f"{_name(func)} draws from a generator", "by values that are not there yet: leave it out")
        finally:
            self.guard.depth -= 1
        return again

    def _run_simple(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The commonest calls, in a third of the time; None where the arguments or the program are not as simple."""
        makes = func in self._made_by
        target: Any = None if makes else args[0]
        numbers = args if makes else args[1:]
        if (
            _compat.dispatch_modes() > 1  # of others, that want to see what is called
            or not all(map(_is_number, numbers))
            or not _OPTIONS.issuperset(kwargs)
            or not (makes or (type(target) in _PLAIN and target.is_meta and self.log.knows(target)))
        ):
            return None
        self._refuse_unseen(func)
        with _compat.DisableTorchDispatch():
            out = func(*args, **kwargs)
        if out.is_meta:
            view = self.log.view(out)
            kwargs = {key: value for key, value in kwargs.items() if key != "device"}
            if makes:
                self.log.add(Step(func, args, kwargs, (), (view,), (0,), _line()))
            else:
                self.log.add(Step(func, (view, *numbers), kwargs, (view,), (), (), _line()))
        return out

    def _refuse_unseen(self, func: Function) -> None:
        if torch.is_inference_mode_enabled() or func is torch.autograd.grad:
            what = "in torch.inference_mode()" if func is not torch.autograd.grad else "gives gradients"
            raise RuntimeError(f"{_name(func)} {what} in a block of deferred, at {_line()}, which cannot be recorded")

    def _constant(self, tensor: Tensor) -> Tensor:
        """Values that are there, on meta."""
        placed = tensor.detach().to("meta")
        self.log.add(Step(torch.clone, (tensor.detach().clone(),), {}, (), (self.log.view(placed),), (0,), _line()))
        return placed

    def _placed(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            return tensor
        twin = self._twin(tensor) if self._twins else None
        if twin is None:
            return tensor if tensor.ndim == 0 else tensor.to("meta")
        stand_in = torch.empty(0, dtype=tensor.dtype, device="meta")
        stand_in.set_(twin, tensor.storage_offset(), tensor.shape, tensor.stride())
        stand_in = stand_in.conj() if tensor.is_conj() else stand_in
        stand_in = _compat.negated(stand_in) if tensor.is_neg() else stand_in
        self._stand_ins[id(stand_in)] = stand_in, tensor
        return stand_in

    def _original(self, tensor: Tensor) -> Tensor:
        return self._stand_ins.get(id(tensor), (tensor, tensor))[1]

    def _kept(self, tensor: Tensor) -> Any:
        return self.log.view(tensor) if self._is_ours(tensor) else tensor.detach().clone()

    def _by_values(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """With the values, which must not depend on a draw: the names of parameters are not known yet."""
        try:
            real = mapped((args, kwargs), self._now)
        except Unwritten:
            raise RuntimeError(
                f"{_name(func)} needs values in a block of deferred, at {_line()}, that nobody has written"
            ) from None
        except Dependent as error:
            if func in _INDEXED and (index := self._index(args[1])) is not args[1]:
                return self._run(func, (args[0], index, *args[2:]), kwargs)
            raise RuntimeError(
                f"{_name(func)} needs values in a block of deferred, at {_line()}, and they depend on a random draw, "
                f"at {error.where}: they are not there yet"
            ) from None
        with _compat.DisableTorchFunction():
            out = func(*real[0], **real[1])
        if isinstance(out, np.ndarray):
            out.flags.writeable = False  # what is written there would be lost
        elif _writes(func):
            written, values = ((args or tuple(kwargs.values()))[0] for args, kwargs in ((args, kwargs), real))
            out = self._run(Tensor.copy_, (written, values), {})
        return out

    def refuse(self, what: str, why: str) -> NoReturn:
        """What is of no use before there are values."""
        raise RuntimeError(f"{what} in a block of deferred, at {_line()}: {why}")

    def call(self, function: Function, tensor: Tensor) -> Any:
        """A function of one tensor's values, which must depend on no draw."""
        with _compat.DisableTorchFunction():
            return self._by_values(function, (tensor,), {}) if self._is_ours(tensor) else function(tensor)

    def record(self, function: Function, tensor: Tensor) -> Any:
        """A function of one tensor, as one step. Given a tensor on meta, it must say what it makes of such a one."""
        with _compat.DisableTorchFunction():
            return self._run(function, (tensor,), {}) if self._is_ours(tensor) else function(tensor)

    def _index(self, index: Any) -> Any:
        """With values, where it may depend on no draw; a mask as the places that it has."""
        try:
            real = mapped(index, self._now)
        except (Dependent, Unwritten):
            return index
        if isinstance(real, Tensor) and real.dtype is torch.bool:
            return real.nonzero(as_tuple=True)
        if type(real) is slice:
            ends = real.start, real.stop, real.step
            return slice(*(int(end) if isinstance(end, Tensor) else end for end in ends))
        return index

    def _now(self, tensor: Tensor) -> Tensor:
        if not self._is_ours(tensor):
            return tensor
        self.guard.depth += 1  # it may draw, from a generator whose state is known
        try:
            return self.replay.now(self.log.view(tensor))
        finally:
            self.guard.depth -= 1

    # Tensors

    def _is_ours(self, tensor: Tensor) -> bool:
        """On meta, or one that had values and was drawn into."""
        return tensor.is_meta or (bool(self._twins) and self._twin(tensor) is not None)

    def _twin(self, tensor: Tensor) -> torch.UntypedStorage | None:
        """The storage on meta that stands for that of a tensor that was taken over."""
        if tensor.layout is not torch.strided:
            return None
        return self._twins.get(_compat.storage_id(tensor.untyped_storage()))

    def _take_over(self, tensor: Tensor) -> None:
        """Of a tensor that has values, such as ``torch.tensor([1.0])`` or ``torch.FloatTensor(3)``: its first step."""
        if self._is_ours(tensor):
            return
        self.guard.depth += 1
        base = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
        self.guard.depth -= 1
        twin = torch.empty(base.shape, dtype=tensor.dtype, device="meta")
        self._twins[_compat.storage_id(tensor.untyped_storage())] = twin.untyped_storage()
        view = self.log.view(base)
        self.log.same(twin, base)
        self.log.add(Step(torch.clone, (base.clone(),), {}, (), (view,), (0,), _line()))

    def draw(self, tensor: Tensor, function: Function, arguments: dict[str, Any]) -> Any:
        """Record a law on a tensor; NotImplemented where fastinit does not have it."""
        if tensor.dtype not in _FLOATS:
            return NotImplemented
        for name, value in arguments.items():
            if isinstance(value, Tensor):
                arguments = {**arguments, name: self._by_values(Tensor.item, (value,), {})}
        if not _accepts(function, tensor.dtype, arguments):
            return NotImplemented  # torch says what is wrong
        self._take_over(tensor)
        law = Law(function, arguments)
        if tensor.is_meta and self.log.knows(tensor) and (view := self.log.view(tensor)).contiguous:
            self._refuse_unseen(function)
            self.log.add(Step(Tensor.zero_, (view,), {}, (view,), (), (), _line(), law))
        else:
            with torch.no_grad():
                self._run(Tensor.zero_, (tensor,), {}, law)
        return tensor


# --- laws -----------------------------------------------------------------------------------------------------------

_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@functools.lru_cache(typed=True)
def _try(function: Function, dtype: torch.dtype, **arguments: Any) -> None:
    function(nothing(dtype), seed=0, **arguments)


def _accepts(function: Function, dtype: torch.dtype, arguments: dict[str, Any]) -> bool:
    """Whether a law takes these arguments."""
    try:
        _try(function, dtype, **arguments)
    except (TypeError, ValueError):  # also of what cannot be hashed, which is no number
        return False
    return True


def _method(keywords: dict[str, str], fill: Function) -> Function:
    def take(mode: Recorder, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensor = args[0]
        given = dict(zip(keywords, args[1:], strict=False)) | kwargs
        if given.pop("generator", None) is not None:
            return NotImplemented
        return mode.draw(tensor, fill, {keywords[name]: value for name, value in given.items()})

    return take


def _factory(make: Function, fill: Function) -> Function:
    def take(mode: Recorder, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        options = {k: v for k, v in kwargs.items() if k not in ("generator", "out") or v is not None}
        if "generator" in options or "out" in options:
            return NotImplemented
        tensor = mode.__torch_function__(make, (), args, options)
        return mode.draw(tensor, fill, {})

    return take


def _normal(mode: Recorder, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = dict(zip(("mean", "std", "size"), args, strict=False)) | kwargs
    mean, std, size = (given.pop(name, None) for name in ("mean", "std", "size"))
    if not isinstance(mean, int | float) or not isinstance(std, int | float):
        return NotImplemented
    generator = given.pop("generator", None)
    tensor = mode.__torch_function__(torch.empty, (), (size,), given)
    if generator is not None:
        return mode.__torch_function__(Tensor.normal_, (), (tensor, mean, std), {"generator": generator})
    return mode.draw(tensor, fastinit.normal, {"mean": mean, "std": std})


def _truncated(log: Log, func: Function, args: Any, kwargs: Any, writes: list[View]) -> Law | None:
    """A truncated normal that was drawn in steps: uniform_, erfinv_, mul_, add_ and, now, clamp_.

    As in copies of what ``torch.nn.init`` had, which many models bring.
    """
    if func is not Tensor.clamp_ or len(writes) != 1:
        return None
    given = dict(zip(("min", "max"), args[1:], strict=False)) | kwargs
    steps = [log.steps[i] for i in log.touching.get(writes[0].storage, [])[-4:]]
    names = [_name(step.function) for step in steps[1:]]
    if names != ["erfinv_", "mul_", "add_"] or any(step.writes != tuple(writes) for step in steps):
        return None
    if any(step.kwargs for step in steps[1:]):  # such as alpha=
        return None
    law, scale, mean = steps[0].law, steps[2].args[1], steps[3].args[1]
    numbers = given.get("min"), given.get("max"), scale, mean
    if law is None or law.function is not fastinit.uniform or not all(isinstance(x, int | float) for x in numbers):
        return None
    low, high, scale, mean = map(float, numbers)
    std = scale / math.sqrt(2.0)
    ends = [math.erf((end - mean) / scale) for end in (low, high)] if scale > 0 else []
    drawn = [law.arguments.get("low", 0.0), law.arguments.get("high", 1.0)]
    if not ends or any(abs(a - b) > 1e-9 for a, b in zip(ends, drawn, strict=True)):
        return None
    return Law(fastinit.truncated_normal, {"mean": mean, "std": std, "low": low, "high": high, "bounds": "absolute"})


_LAWS: dict[Function, Function] = {
    Tensor.normal_: _method({"mean": "mean", "std": "std"}, fastinit.normal),
    Tensor.uniform_: _method({"from": "low", "to": "high"}, fastinit.uniform),
    torch.randn: _factory(torch.empty, fastinit.normal),
    torch.rand: _factory(torch.empty, fastinit.uniform),
    torch.randn_like: _factory(torch.empty_like, fastinit.normal),
    torch.rand_like: _factory(torch.empty_like, fastinit.uniform),
    torch.normal: _normal,
}


def _shared(mode: Recorder, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not args[0].is_meta:
        return NotImplemented
    mode.refuse("share_memory_", "the tensor has no memory yet; share the model after materialize")


_TAKEN: dict[Function, Function] = {
    **_LAWS,
    Tensor.share_memory_: _shared,
    Tensor.cpu: lambda mode, func, args, kwargs: args[0] if args[0].is_meta else NotImplemented,
}
_RANDOM = {
    *_LAWS,
    Tensor.bernoulli_,
    Tensor.exponential_,
    Tensor.random_,
    Tensor.cauchy_,
    Tensor.log_normal_,
    Tensor.geometric_,
    torch.bernoulli,
    torch.multinomial,
    torch.poisson,
}


def _init(mode: Recorder, name: str, kwargs: dict[str, Any]) -> Any:
    """A function of ``torch.nn.init`` that announces itself."""
    tensor = kwargs["tensor"]
    if kwargs.get("generator") is not None:
        return NotImplemented
    if name == "constant_":
        with torch.no_grad():
            return mode.__torch_function__(Tensor.fill_, (), (tensor, kwargs["val"]))
    if name == "uniform_":
        return mode.draw(tensor, fastinit.uniform, {"low": kwargs["a"], "high": kwargs["b"]})
    if name == "normal_":
        return mode.draw(tensor, fastinit.normal, {"mean": kwargs["mean"], "std": kwargs["std"]})
    if 0 in tensor.shape:
        return tensor
    bound = kaiming_bound(kwargs)
    return mode.draw(tensor, fastinit.uniform, {"low": -bound, "high": bound})


# --- devices --------------------------------------------------------------------------------------------------------

_MOVES = {
    Tensor.to,
    Tensor.type,
    Tensor.new_empty,
    Tensor.new_zeros,
    Tensor.new_ones,
    Tensor.new_full,
    Tensor.new_tensor,
    torch.empty_like,
    torch.zeros_like,
    torch.ones_like,
    torch.full_like,
    torch.rand_like,
    torch.randn_like,
    torch.randint_like,
    Tensor.new_empty_strided,
}


_PLAIN = frozenset((Tensor, torch.nn.Parameter))
_SIMPLE = frozenset((torch.empty, torch.zeros, torch.ones, torch.full, Tensor.zero_, Tensor.fill_))
_OPTIONS = frozenset(("dtype", "device", "requires_grad"))  # what says no more than the first arguments
_VIEWS = (Tensor.view_as, Tensor.expand_as, Tensor.reshape_as)  # of their first argument, in which code may write
_INDEXED = (_compat.GET_ITEM, _compat.SET_ITEM)


def _unseen(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """What functions write without counting."""
    if func in (functional.batch_norm, functional.instance_norm):
        running = (*args[1:3], kwargs.get("running_mean"), kwargs.get("running_var"))
        if kwargs.get("training") or kwargs.get("use_input_stats"):
            return [tensor for tensor in running if tensor is not None]
    return list(args[0]) if _name(func).startswith(_compat.FOREACH) and _writes(func) else []


def _writes(func: Function) -> bool:
    """Whether it writes into its first argument."""
    return func is _compat.SET_ITEM or _compat.is_in_place(_name(func))


def _is_cpu(device: Any) -> bool:
    return device is None or torch.device(device).type == "cpu"


def _stay(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Leave out that it goes to the CPU, where it is believed to be."""
    if not isinstance(args[0], Tensor) or not args[0].is_meta:
        return args, kwargs
    kept = args
    if len(args) > 1 and isinstance(args[1], Tensor) and (args[1].is_meta or args[1].is_cpu):
        given = dict(zip(("non_blocking", "copy"), args[2:], strict=False))
        return args[:1], {"dtype": args[1].dtype, **given, **kwargs}
    if len(args) > 1 and isinstance(args[1], torch.device | str) and _is_cpu(args[1]):
        kept, kwargs = args[:1], dict(zip(("dtype", "non_blocking", "copy"), args[2:], strict=False)) | kwargs
        kwargs = {key: value for key, value in kwargs.items() if value is not None}
    if "device" in kwargs and _is_cpu(kwargs["device"]):
        kwargs = {k: v for k, v in kwargs.items() if k != "device"}
    return kept, kwargs


def _name(func: Function) -> str:
    return str(getattr(func, "__name__", func))


# --- arguments ------------------------------------------------------------------------------------------------------


def _is_number(thing: Any) -> bool:
    """Or a shape."""
    return type(thing) in (int, float, bool) or (type(thing) in (tuple, torch.Size) and all(map(_is_number, thing)))


def _on_meta(tensor: Tensor) -> bool:
    return tensor.is_meta


def _flat(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors among the arguments of a function of torch, in their order."""
    found: list[Tensor] = []
    for thing in (*args, *kwargs.values()):
        if isinstance(thing, Tensor):
            found.append(thing)
        elif isinstance(thing, tuple | list):
            found.extend(tensors_in(thing))
    return found


def mapped(thing: Any, function: Callable[[Tensor], Any]) -> Any:
    """With other tensors, in tuples, lists, dicts and slices."""
    if isinstance(thing, Tensor):
        return function(thing)
    if isinstance(thing, tuple | list):
        return _compat.rebuilt(thing, [mapped(item, function) for item in thing])
    if type(thing) is dict:
        return {key: mapped(item, function) for key, item in thing.items()}
    if type(thing) is slice:
        return slice(*(mapped(item, function) for item in (thing.start, thing.stop, thing.step)))
    return thing.copy() if isinstance(thing, np.ndarray) else thing  # since code may write into it later


def _line() -> str:
    """The innermost line outside of this package and of torch."""
    frame = sys._getframe(2)
    inner = "fastinit.", "torch.", "typing_extensions"  # which wraps what torch has deprecated
    while frame.f_globals.get("__name__", "").startswith(inner) and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
