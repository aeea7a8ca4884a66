"""The time that code spends in initialisers, by the same wrappers around the same functions with and without fastinit.

While it runs, the wrappers replace the initialisers of torch, transformers and timm in all modules of these libraries,
wherever they were imported to. Where one initialiser calls another, the outer one counts.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

try:
    from resource import RUSAGE_SELF, getrusage
except ImportError:  # not on Windows
    getrusage = None  # type: ignore[assignment]

Function = Callable[..., Any]

_INITIALISERS = ("torch.nn.init", "transformers.initialization", "timm.layers.weight_init")
_LIBRARIES = ("torch", "torchvision", "transformers", "timm")
_DRAW_NOTHING = ("constant_", "zeros_", "ones_", "eye_", "dirac_")
_NO_INITIALISERS = ("copy_",)  # of transformers, for buffers


def initialisers(module: ModuleType) -> dict[str, Function]:
    """The module's own functions that fill a tensor in place, recognised by torch's convention for names."""
    return {
        name: value
        for name, value in vars(module).items()
        if name.endswith("_")
        and not name.startswith("_")
        and name not in _NO_INITIALISERS
        and getattr(value, "__module__", None) == module.__name__
    }


@dataclass
class Reading:
    """What initialisers did in a build."""

    seconds: float = 0.0
    calls: int = 0
    random_calls: int = 0  # the rest is counted on request
    random_seconds: float = 0.0
    values: int = 0  # written by random calls
    user: float = 0.0  # seconds of all of the process's CPUs
    system: float = 0.0  # of the system for the process: for the most part it clears pages
    page_faults: int = 0


class Stopwatch:
    """Adds up the time in initialisers between `start` and `stop`; with `count` also what they did, which is slower."""

    def __init__(self) -> None:
        self.count = False
        self.reading = Reading()
        self._running = False
        self._replaced: list[tuple[Any, str, Any]] = []

    def wrapped(self, function: Function, draws: bool = True) -> Function:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._running:  # an initialiser that calls another
                return function(*args, **kwargs)
            before = _usage() if self.count else ()
            self._running = True
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds = time.perf_counter() - begin
                self._running = False
                self.reading.seconds += seconds
                self.reading.calls += 1
                if self.count:
                    user, system, faults = (b - a for a, b in zip(before, _usage(), strict=True))
                    self.reading.user += user
                    self.reading.system += system
                    self.reading.page_faults += int(faults)
                    if draws:
                        self._count_random(args[0] if args else kwargs["tensor"], seconds)

        return timed

    def _count_random(self, tensor: Any, seconds: float) -> None:
        torch = sys.modules["torch"]
        self.reading.random_calls += 1
        self.reading.random_seconds += seconds
        with torch._C.DisableTorchFunction():  # so that `accelerate` does not see the call
            self.reading.values += tensor.numel()

    def start(self) -> None:
        """Put the wrappers into all modules that are imported now. Slow, and to be called before the clock starts."""
        wrappers: dict[int, Function] = {}
        for name in _INITIALISERS:
            module = sys.modules.get(name)
            for key, function in initialisers(module).items() if module else ():
                wrappers[id(function)] = self.wrapped(function, key not in _DRAW_NOTHING)
        for module in _modules():
            for key, value in list(vars(module).items()):
                if id(value) in wrappers:
                    self._replaced.append((module, key, value))
                    setattr(module, key, wrappers[id(value)])

    def stop(self) -> None:
        for module, key, value in self._replaced:
            setattr(module, key, value)
        self._replaced.clear()


def _usage() -> tuple[float, ...]:
    """Of this process so far: seconds of user and system, page faults that needed no disk."""
    if getrusage is None:
        return time.process_time(), 0.0, 0.0
    usage = getrusage(RUSAGE_SELF)
    return usage.ru_utime, usage.ru_stime, usage.ru_minflt


def overhead(calls: int = 20000) -> float:
    """Seconds that a wrapper adds to a call."""

    def nothing(tensor: object) -> object:
        return tensor

    timed = Stopwatch().wrapped(nothing)
    plain = wrapped = float("inf")  # the least of each: whatever else runs only adds
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(calls):
            nothing(None)
        middle = time.perf_counter()
        for _ in range(calls):
            timed(None)
        plain, wrapped = min(plain, middle - begin), min(wrapped, time.perf_counter() - middle)
    return (wrapped - plain) / calls


def _modules() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _LIBRARIES and isinstance(module, ModuleType):
            yield module
