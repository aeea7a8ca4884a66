"""How it is measured. Knows time, and nothing of arrays or libraries.

Every row runs once in each round, in an order that is shuffled anew. Before it the limit, `ndarray.fill` of the whole
buffer, runs twice, and the second time counts. So a ratio compares neighbours in time, on machines that other people
use as well; and limit and row both find the caches as the limit left them, not as some row did whose stores went past
them.
"""

from __future__ import annotations

import random
import statistics
import time
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

Run = Callable[[], object]


def nothing() -> None:
    """For rows that need no preparation."""


@dataclass
class Row:
    """What all rows have: a name, and the seconds that each of its runs took."""

    name: str
    seconds: list[float] = field(default_factory=list, kw_only=True)

    def quartiles(self) -> tuple[float, float, float]:
        if len(self.seconds) == 1:
            return self.seconds[0], self.seconds[0], self.seconds[0]
        low, middle, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, middle, high

    def median(self) -> float:
        return self.quartiles()[1]


@dataclass
class Fill(Row):
    """Something that fills an array."""

    kind: str  # what the array is filled with; rows of one kind can be compared
    who: str  # "fastinit", "numpy", "torch" or "fill"
    itemsize: int
    make: Callable[[int], tuple[Run, int]]  # for 1/k of the array: the call, and how many elements it fills
    threads: int | None = None  # None: whatever that library does
    target: str | None = None
    before: Run = nothing  # both untimed
    after: Run = nothing
    n: int = 0
    limit_seconds: list[float] = field(default_factory=list)  # of the limit just before each run
    limit_bytes: int = 0

    def values_per_second(self) -> float:
        return self.n / self.median()

    def bytes_per_second(self) -> float:
        return self.itemsize * self.values_per_second()

    def of_limit(self) -> float:
        """Bytes per second, by those of the limit: the median over the rounds."""
        ratios = [limit / own for own, limit in zip(self.seconds, self.limit_seconds, strict=True)]
        return statistics.median(ratios) * self.n * self.itemsize / self.limit_bytes


@dataclass
class Call(Row):
    """A statement whose time is mostly overhead."""

    statement: str
    names: dict[str, Any]


@dataclass
class Cold(Row):
    """Something that allocates and fills fresh memory, and returns it."""

    n_bytes: int
    run: Run


class Progress:
    """One line, written over and over, if the stream is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self("")

    def __call__(self, text: str) -> None:
        if self._stream:
            self._stream.write(f"\r\x1b[K{text[:79]}")
            self._stream.flush()


def _time(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _fitted(fill: Fill, longest: float) -> Run:
    """The call for as much of the array as is filled in at most `longest` seconds."""
    part = 64
    fill.before()
    run, fill.n = fill.make(part)
    run()  # a first call may be slow
    seconds = _time(run)
    fill.after()
    while part > 1 and seconds * 2 <= longest:
        part //= 2
        seconds *= 2
    run, fill.n = fill.make(part)
    return run


def measure(limit: Fill, others: Sequence[Fill], rounds: int, longest: float, progress: Progress) -> list[Fill]:
    run_limit, limit.n = limit.make(1)
    runs = []
    for fill in others:
        progress(f"trial: {fill.kind}, {fill.name}")
        runs.append((fill, _fitted(fill, longest)))
        fill.limit_bytes = limit.n * limit.itemsize
    limit.limit_bytes = limit.n * limit.itemsize
    shuffle = random.Random(1).shuffle
    for index in range(rounds + 1):
        shuffle(runs)
        for fill, run in runs:
            progress(f"round {index} of {rounds}: {fill.kind}, {fill.name}")
            fill.before()
            run_limit()
            limit_seconds, seconds = _time(run_limit), _time(run)
            fill.after()
            if index > 0:  # round 0 is for warming up
                fill.seconds.append(seconds)
                for row in (fill, limit):
                    row.limit_seconds.append(limit_seconds)
                limit.seconds.append(limit_seconds)
    return [limit, *others]


def measure_calls(calls: Sequence[Call], rounds: int, progress: Progress) -> Sequence[Call]:
    number = 2000
    timers = [timeit.Timer(call.statement, globals=call.names) for call in calls]
    for index in range(rounds + 1):
        progress(f"round {index} of {rounds}: small calls")
        for call, timer in zip(calls, timers, strict=True):
            seconds = timer.timeit(number) / number
            if index > 0:
                call.seconds.append(seconds)
    return calls


def measure_cold(colds: Sequence[Cold], rounds: int, progress: Progress) -> Sequence[Cold]:
    """Before each row the first one runs untimed: a virtual machine may give free pages back to its host, which makes
    whoever comes after a slow row pay for it."""
    for index in range(rounds + 1):
        for cold in colds:
            progress(f"round {index} of {rounds}: {cold.name}")
            colds[0].run()
            start = time.perf_counter()
            memory = cold.run()
            seconds = time.perf_counter() - start
            del memory  # untimed
            if index > 0:
                cold.seconds.append(seconds)
    return colds
