"""A process for fastinit and one for each library, which live through the whole run, and tables of what they measure.

One of them works at a time, on one timing: the rounds of a table go from process to process, so that ratios compare
neighbours in time. The others wait for a request, which takes no CPU. A process that dies, or that does not answer in
time, costs the row that it was at: the next request starts it anew.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import peers, worker
from .clock import Died, Effort, Raised, Row, Table, Timing, failed
from .questions import Setting

_SPAWN = multiprocessing.get_context("spawn")  # a fork would share what the first process has loaded


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """What is started meanwhile ignores Ctrl-C for good."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def hears_ctrl_c_once() -> Iterator[None]:
    """The first Ctrl-C interrupts, further ones are passed over: they must not stop what ends the processes."""
    heard = False

    def interrupt(*_: object) -> None:
        nonlocal heard
        if not heard:
            heard = True
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Process:
    """The process of a library, or of fastinit, which starts when it is first asked for something."""

    def __init__(self, name: str, log: Path, setting: Setting, effort: Effort, timeout: float) -> None:
        self.name = name
        self.broken: Raised | None = None  # why the library is not loaded again
        self._log = log
        self._worker = worker.Worker(name, setting, effort)
        self._timeout = timeout
        self._question = ""
        self._process: Any = None
        self._connection: Any = None

    @property
    def runs(self) -> bool:
        return self._process is not None

    def version(self) -> str:
        """Empty if the library is not installed, or cannot be loaded: then its rows will say why."""
        try:
            return str(self.ask("version"))
        except Raised as error:
            self.end()
            self.broken = error
            return ""

    def open(self, question: str) -> list[Table]:
        """The tables of that question, with the rows of this process."""
        self._question = ""
        try:
            tables: list[Table] = self.ask("open", question)
        except Died as error:  # again without the library: then the reason stands where its rows would
            self._start(error)
            tables = self._answer("open", question)
            self.end()
        self._question = question
        return tables

    def ask(self, request: str, *arguments: object) -> Any:
        """The answer, or Raised. A process that died starts anew."""
        if not self.runs:
            self._start(self.broken)
            if self._question:
                self._answer("open", self._question)
        return self._answer(request, *arguments)

    def end(self) -> None:
        if self.runs:
            self._connection.close()
            self._process.kill()
            self._process.join()
            self._process = None

    def _start(self, broken: Raised | None) -> None:
        self._log.write_bytes(b"")
        self._connection, theirs = _SPAWN.Pipe()
        arguments = (theirs, str(self._log), broken, self._worker)
        self._process = _SPAWN.Process(target=worker.serve, args=arguments, daemon=True)
        with _deaf_to_ctrl_c():
            self._process.start()
        theirs.close()

    def _answer(self, request: str, *arguments: object) -> Any:
        said = self._log.stat().st_size
        try:
            self._connection.send((request, *arguments))
            if not self._connection.poll(self._timeout):
                raise self._died(said, f"no answer in {self._timeout:g} s")
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise self._died(said) from None
        if isinstance(answer, Raised):
            raise answer
        return answer

    def _died(self, said: int, reason: str = "") -> Died:
        """Why it ended, with what it wrote from byte `said` on."""
        process = self._process
        if not reason:
            process.join(5)
        self.end()
        if not reason:
            code = process.exitcode
            reason = f"died of {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        log = self._log.read_bytes()[said:].decode("utf-8", "replace").strip()
        return Died(": ".join(filter(None, (reason, last_words(log)))), log[-4000:])


def last_words(log: str) -> str:
    """The line of code that a process was at, if Python had time to write that; else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    _, fatal, stack = "\n".join(lines).rpartition("\nCurrent thread ")
    frames = [line for line in stack.splitlines() if line.startswith("File ") and "<frozen " not in line]
    return frames[0] if fatal and frames else lines[-1] if lines else ""


def together(parts: Sequence[Table]) -> Table:
    """One table of the rows that each process has, those of a kind beside each other."""
    rows = [row for part in parts for row in part.rows]
    kinds = list(dict.fromkeys(row.kind for row in rows))
    ratios = []
    for same in zip(*(part.ratios for part in parts), strict=True):
        bottom = [row for ratio in same for row in ratio.bottom or ()]
        ratios.append(replace(same[0], bottom=None if same[0].bottom is None else bottom))
    return replace(parts[0], rows=sorted(rows, key=lambda row: kinds.index(row.kind)), ratios=ratios)


class RemoteClock:
    """A table, and what times its rows, each in its process."""

    def __init__(self, number: int, parts: Sequence[tuple[Process, Table]]) -> None:
        self.table = together([table for _, table in parts])
        self._number = number
        self._processes = [process for process, _ in parts]
        self._rows = {id(row): (process, index) for process, table in parts for index, row in enumerate(table.rows)}

    def fit(self, row: Row) -> None:
        process, index = self._rows[id(row)]
        row.fit, row.n = process.ask("fit", self._number, index)

    def time(self, row: Row) -> Timing:
        process, index = self._rows[id(row)]
        timing: Timing = process.ask("time", self._number, index, row.fit)
        return timing

    def done(self) -> list[str]:
        notes: list[str] = []
        for process in self._processes:
            try:
                notes += process.ask("done") if process.runs else []
            except Raised as error:
                notes.append(f"{process.name}: {error}")
        return notes


class Processes:
    """All processes, fastinit's first."""

    def __init__(self, setting: Setting, effort: Effort, timeout: float) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="fastinit-bench-")
        logs = Path(self._directory.name)
        self._processes = [
            Process(name, logs / f"{name}.log", setting, effort, timeout) for name in (worker.HOME, *peers.NAMES)
        ]

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.end()
        self._directory.cleanup()

    def versions(self) -> tuple[list[str], list[str]]:
        """Start them all. The libraries that are installed, and those that are not or cannot be loaded."""
        here, away = [], []
        for process in list(self._processes):
            version = process.version()
            if process.broken:
                away.append(f"{process.name} (failed: {process.broken})")
            elif version:
                here.append(version)
            else:
                away.append(process.name)
                process.end()
                self._processes.remove(process)
        return here, away

    def tables(self, question: str) -> list[RemoteClock]:
        """What the processes make of a question."""
        opened, failures = [], []
        for process in self._processes:
            try:
                opened.append((process, process.open(question)))
            except Raised as error:
                failures.append(failed(process.name, "tables", process.name, error))
        most = max((len(tables) for _, tables in opened), default=0)
        parts = [[(process, tables[k]) for process, tables in opened if k < len(tables)] for k in range(most)]
        if failures:
            parts.append([(process, Table(question, "What could not be asked", None, failures))])
        return [RemoteClock(k, each) for k, each in enumerate(parts)]
