"""How rows are timed.

Every row of a table runs once in each round, in an order that is shuffled for each. Right before it the table's limit,
if there is one, runs twice, and the second run counts. So a ratio compares neighbours in time, since other people use
the machine as well; and limit and row both find caches and free memory as the limit left them, not as a row did whose
stores bypassed the caches, or whose memory the system has yet to take back.
"""

from __future__ import annotations

import math
import random
import statistics
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

Names = dict[str, Any]
Run = Callable[[], object]


def nothing() -> None:
    """For rows that need no preparation."""


def unbound(_: int) -> tuple[Names, int]:
    """For rows whose arrays have been freed or were never made."""
    return {}, 0


@dataclass
class Row:
    """A statement that fills memory, and what was measured of it."""

    who: str  # "fastinit", the name of a library, or "limit"
    kind: str  # what is filled with what; rows of one kind can be compared
    name: str
    code: str  # what is timed, as its user writes it
    bind: Callable[[int], tuple[Names, int]]  # for 1/k of the work: the names in the code, and how many elements
    itemsize: int = 4
    threads: int | None = None  # None: whatever that library does
    parts: int = 64  # the work may be cut in so many parts; a power of two
    before: Run = nothing  # both untimed
    after: Run = nothing
    n: int = 0
    number: int = 1  # calls in one timing
    warm: bool = False  # so slow that one call has to do for warming up
    parts_of_it: list[tuple[Row, Callable[[], float]]] = field(default_factory=list)  # see Row.inside
    seconds: list[float] = field(default_factory=list)  # of a call, by round
    limit_rates: list[float] = field(default_factory=list)  # bytes a second of the limit, right before
    error: str = ""

    def inside(self, kind: str, name: str, seconds: Callable[[], float]) -> Row:
        """A row for a part of what this one does, which takes so many seconds of the last call."""
        row = Row(self.who, kind, name, "", unbound, self.itemsize, self.threads)
        self.parts_of_it.append((row, seconds))
        return row

    @property
    def measured(self) -> bool:
        return bool(self.seconds) and not self.error

    def quartiles(self) -> tuple[float, float, float]:
        if len(self.seconds) == 1:
            return self.seconds[0], self.seconds[0], self.seconds[0]
        low, middle, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, middle, high

    def median(self) -> float:
        return self.quartiles()[1]

    def values_per_second(self) -> float:
        return self.n / self.median()

    def bytes_per_second(self) -> float:
        return self.itemsize * self.values_per_second()

    def of_limit(self) -> float | None:
        """Bytes per second relative to the limit right before it: the median over the rounds."""
        if not self.limit_rates:
            return None
        pairs = zip(self.seconds, self.limit_rates, strict=True)
        return statistics.median(self.n * self.itemsize / seconds / rate for seconds, rate in pairs)


def failed(who: str, kind: str, name: str, error: BaseException) -> Row:
    """A row that could not be made."""
    return Row(who, kind, name, "", unbound, error=message(error))


def message(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")


@dataclass
class Effort:
    """How much time is spent."""

    rounds: int
    longest: float  # seconds; a row that needs more for one call runs on a part of its work
    shortest: float  # seconds; a faster one is called many times for one timing


@dataclass
class Ratio:
    """One row relative to another, to the fastest of several, or to the limit."""

    text: str
    top: Row
    bottom: Sequence[Row] | None = None  # None: the limit
    unit: str = "values"  # "values" or "bytes" a second, or the "time" of a call

    def rival(self) -> Row | None:
        """The row below the line: the fastest of those that were measured."""
        rows = [row for row in self.bottom or () if row.measured]
        return max(rows, key=Row.values_per_second, default=None)

    def value(self) -> float | None:
        """The median over the rounds, or None if a part of it is missing."""
        if not self.top.measured:
            return None
        if self.bottom is None:
            return self.top.of_limit()
        rival = self.rival()
        if rival is None:
            return None
        ratio = statistics.median(a / b for a, b in zip(self.top.seconds, rival.seconds, strict=False))
        if self.unit == "time":
            return ratio
        ratio = self.top.n / rival.n / ratio
        return ratio if self.unit == "values" else ratio * self.top.itemsize / rival.itemsize


@dataclass
class Table:
    """The rows that answer one question."""

    name: str
    question: str
    limit: Row | None
    rows: list[Row]
    ratios: list[Ratio] = field(default_factory=list)
    most_rounds: int = 1000  # for slow ones
    notes: Callable[[], Sequence[str]] = tuple  # what else there is to say, once it was measured

    @property
    def measured(self) -> bool:
        return any(row.seconds or row.error for row in self.rows)

    def rounds(self, effort: Effort) -> int:
        return min(effort.rounds, self.most_rounds)

    def steps(self, effort: Effort) -> int:
        """How often `measure` steps, if nothing fails."""
        return sum(1 for row in self.rows if row.code) * (2 + self.rounds(effort))


def fitted(row: Row, effort: Effort) -> timeit.Timer:
    """A timer for as much of the row's work as fits the effort."""
    part = row.parts
    names, row.n = row.bind(part)
    timer = timeit.Timer(row.code, globals=names)
    seconds = timer.timeit(1)
    row.warm = part == 1 and seconds > effort.longest  # and there is nothing to choose
    if not row.warm:
        seconds = timer.timeit(1)  # a first call may be slow
    while part > 1 and seconds * 2 <= effort.longest:
        part //= 2
        seconds *= 2
    if part < row.parts:
        names, row.n = row.bind(part)
        timer = timeit.Timer(row.code, globals=names)
    if seconds < effort.shortest:
        seconds = min(seconds, timer.timeit(10) / 10)
        row.number = math.ceil(effort.shortest / seconds)
    return timer


def measure(table: Table, effort: Effort, step: Callable[[str], object]) -> None:
    """Time the rows, and free their memory. A row that fails keeps its error and does not run again."""
    limit = table.limit
    limit_timer = fitted(limit, effort) if limit else None

    def rate() -> float | None:
        if limit is None or limit_timer is None:
            return None
        limit_timer.timeit(limit.number)
        limit.seconds.append(limit_timer.timeit(limit.number) / limit.number)
        return limit.n * limit.itemsize / limit.seconds[-1]

    def guarded(row: Row, run: Callable[[], Any]) -> Any:
        """What it returns, or None."""
        step(f"{row.kind}: {row.name}")
        try:
            row.before()
            return run()
        except Exception as error:  # whatever a peer may raise: it is printed in its row
            row.error = message(error)
            for part, _ in row.parts_of_it:
                part.error = row.error
            return None
        finally:
            row.after()

    made = [(row, guarded(row, partial(fitted, row, effort))) for row in table.rows if row.code and not row.error]
    timers = [(row, timer) for row, timer in made if timer is not None]
    shuffle = random.Random(1).shuffle
    for index in range(table.rounds(effort) + 1):
        shuffle(timers)
        for row, timer in timers:
            if row.error or (index == 0 and row.warm):
                continue
            limit_rate = rate()
            seconds = guarded(row, partial(timer.timeit, row.number))
            if seconds is None or index == 0:  # round 0 is for warming up
                continue
            row.seconds.append(seconds / row.number)
            for part, inside in row.parts_of_it:
                part.seconds.append(inside())
            if limit_rate is not None:
                row.limit_rates.append(limit_rate)
    for row in (*table.rows, *([limit] if limit else [])):
        row.bind = unbound
