"""How rows are timed.

Every row of a table runs once in each round, in an order that is shuffled for each. Right before it, in the same
process, the table's limit runs twice, if there is one, and the second run counts. So a ratio compares neighbours in
time, since other people use the machine as well; and limit and row both find caches and free memory as the limit left
them, not as a row did whose stores bypassed the caches, or whose memory the system has yet to take back.

`measure` conducts the rounds. `Clock` times rows in this process; processes.py has one for rows in other processes.
"""

from __future__ import annotations

import contextlib
import math
import random
import statistics
import timeit
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

Names = dict[str, Any]
Run = Callable[[], object]
T = TypeVar("T")


def nothing() -> None:
    """For rows that need no preparation."""


def unbound(_: int) -> tuple[Names, int]:
    """For rows whose arrays have been freed, are another process's, or were never made."""
    return {}, 0


def no_reading() -> float:
    """For rows that are no part of another."""
    return 0.0


class Fit(NamedTuple):
    """How much of a row's work one timing takes."""

    part: int = 1  # it is 1/part of the work
    number: int = 1  # calls in one timing
    warm: bool = False  # so slow that one call has to do for warming up


class Timing(NamedTuple):
    """What one timing says."""

    seconds: float  # of a call
    limit: tuple[float, int] | None = None  # seconds of the limit right before, and its elements
    inside: tuple[tuple[float, int], ...] = ()  # the same of the row's parts


@dataclass
class Row:
    """A statement that fills memory, and what was measured of it. Pickled, it goes without its functions."""

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
    fit: Fit = field(default_factory=Fit)
    inner: list[Row] = field(default_factory=list)  # parts of what it does: see Row.inside
    reading: Callable[[], float] = no_reading  # of such a part: its seconds in the last call
    seconds: list[float] = field(default_factory=list)  # of a call, by round
    limit_rates: list[float] = field(default_factory=list)  # bytes a second of the limit, right before
    error: str = ""
    log: str = ""  # what its process wrote before it died

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "bind": unbound, "before": nothing, "after": nothing, "reading": no_reading}

    def inside(self, kind: str, name: str, reading: Callable[[], float]) -> Row:
        """A row for a part of what this one does, which takes so many seconds of the last call."""
        row = Row(self.who, kind, name, "", unbound, self.itemsize, self.threads, reading=reading)
        self.inner.append(row)
        return row

    def fail(self, error: Exception) -> None:
        """Keep the error, here and in the parts."""
        for row in (self, *self.inner):
            row.error, row.log = message(error), getattr(error, "log", "")

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


def failed(who: str, kind: str, name: str, error: Exception) -> Row:
    """A row that could not be made."""
    row = Row(who, kind, name, "", unbound)
    row.fail(error)
    return row


class Raised(Exception):
    """What another process says of an exception there: type and message."""


class Died(Raised):
    """That process ended, or was ended: why, and what it wrote before."""

    def __init__(self, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.log = log


def message(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    if isinstance(error, Raised):
        return lines[0]
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
    """The rows that answer one question. Pickled, it goes without its functions."""

    name: str
    question: str
    limit: Row | None
    rows: list[Row]
    ratios: list[Ratio] = field(default_factory=list)
    most_rounds: int = 1000  # for slow ones
    note: Callable[[], Sequence[str]] = tuple  # what else there is to say, once it was measured
    notes: list[str] = field(default_factory=list)
    where: str = ""  # the library whose process runs all rows; else each row runs in that of its own

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "note": tuple}

    @property
    def measured(self) -> bool:
        return any(row.seconds or row.error for row in self.rows)

    def rounds(self, effort: Effort) -> int:
        return min(effort.rounds, self.most_rounds)

    def steps(self, effort: Effort) -> int:
        """How often `measure` steps, if nothing fails."""
        return sum(1 for row in self.rows if row.code) * (2 + self.rounds(effort))


# --- in the process that has the memory -----------------------------------------------------------------------------


def fitted(row: Row, effort: Effort) -> timeit.Timer:
    """A timer for as much of the row's work as fits the effort."""
    part = row.parts
    names, n = row.bind(part)
    timer = timeit.Timer(row.code, globals=names)
    seconds = timer.timeit(1)
    warm = part == 1 and seconds > effort.longest  # and there is nothing to choose
    if not warm:
        seconds = timer.timeit(1)  # a first call may be slow
    while part > 1 and seconds * 2 <= effort.longest:
        part //= 2
        seconds *= 2
    if part < row.parts:
        names, n = row.bind(part)
        timer = timeit.Timer(row.code, globals=names)
    number = 1
    if seconds < effort.shortest:
        seconds = min(seconds, timer.timeit(10) / 10)
        number = math.ceil(effort.shortest / seconds)
    row.n, row.fit = n, Fit(part, number, warm)
    return timer


@contextlib.contextmanager
def _prepared(row: Row) -> Iterator[None]:
    try:
        row.before()
        yield
    except Exception as error:
        row.fail(error)
        raise
    finally:
        row.after()


class Clock:
    """Times the rows of a table in this process. Rows raise whatever a peer raises."""

    def __init__(self, table: Table, effort: Effort) -> None:
        self._table = table
        self._effort = effort
        self._timers: dict[int, timeit.Timer] = {}

    def fit(self, row: Row) -> None:
        """Choose how much of the row's work is timed, after calls that warm up."""
        with _prepared(row):
            self._timers[id(row)] = fitted(row, self._effort)

    def time(self, row: Row) -> Timing:
        """Time it once, right after the limit."""
        limit = self._limit()
        with _prepared(row):
            seconds = self._seconds(row)
        return Timing(seconds, limit, tuple((part.reading(), part.n) for part in row.inner))

    def done(self) -> list[str]:
        """Let go of the arrays. What there is to say."""
        self._timers.clear()
        notes = list(self._table.note())
        for row in (*self._table.rows, *([self._table.limit] if self._table.limit else [])):
            row.bind = unbound
        return notes

    def _limit(self) -> tuple[float, int] | None:
        row = self._table.limit
        if row is None:
            return None
        if id(row) not in self._timers:
            self.fit(row)
        self._seconds(row)
        return self._seconds(row), row.n

    def _seconds(self, row: Row) -> float:
        if id(row) not in self._timers:  # it was fitted in a process that died
            names, _ = row.bind(row.fit.part)
            self._timers[id(row)] = timeit.Timer(row.code, globals=names)
            self._timers[id(row)].timeit(1)
        return self._timers[id(row)].timeit(row.fit.number) / row.fit.number


# --- the rounds -----------------------------------------------------------------------------------------------------


class Conducted(Protocol):
    """What `measure` asks for: `Clock`, or as much in other processes."""

    def fit(self, row: Row) -> None: ...

    def time(self, row: Row) -> Timing: ...

    def done(self) -> list[str]: ...


def measure(table: Table, effort: Effort, step: Callable[[str], object], clock: Conducted | None = None) -> None:
    """Time the rows, and free their memory. A row that fails keeps its error and does not run again."""
    clock = clock or Clock(table, effort)

    def tried(row: Row, run: Callable[[Row], T]) -> T | None:
        step(f"{row.kind}: {row.name}")
        try:
            return run(row)
        except Exception as error:  # whatever a peer may raise: it is printed in its row
            row.fail(error)
            return None

    rows = [row for row in table.rows if row.code and not row.error]
    for row in rows:
        tried(row, clock.fit)
    shuffle = random.Random(1).shuffle
    for index in range(table.rounds(effort) + 1):
        shuffle(rows)
        for row in rows:
            if row.error or (index == 0 and row.fit.warm):
                continue
            timing = tried(row, clock.time)
            if timing and index > 0:  # round 0 is for warming up
                _keep(table, row, timing)
    table.notes = clock.done()


def _keep(table: Table, row: Row, timing: Timing) -> None:
    row.seconds.append(timing.seconds)
    for part, (seconds, n) in zip(row.inner, timing.inside, strict=True):
        part.seconds.append(seconds)
        part.n = n
    if table.limit and timing.limit:
        seconds, table.limit.n = timing.limit
        table.limit.seconds.append(seconds)
        row.limit_rates.append(table.limit.n * table.limit.itemsize / seconds)
