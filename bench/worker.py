"""What runs in the process of a library: it makes the tables of a question, and times the rows that are its own.

Whatever the library prints goes to a file, and Ctrl-C is left to the process that asks (processes.py).
"""

from __future__ import annotations

import faulthandler
import os
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import fastinit

from . import peers, questions
from .clock import Clock, Effort, Fit, Raised, Row, Table, Timing, message

HOME = "fastinit"  # whose process also runs the rows of limits


class Worker:
    """Its methods are the requests. Tables and rows go by their numbers."""

    def __init__(self, name: str, setting: questions.Setting, effort: Effort) -> None:
        self.name = name
        self._setting = setting
        self._effort = effort
        self._tables: list[Table] = []
        self._clock: tuple[int, Clock] | None = None  # of the table that is being measured

    def version(self) -> str:
        return f"{HOME} {fastinit.__version__}" if self.name == HOME else peers.version(self.name)

    def open(self, question: str) -> list[Table]:
        self._clock = None
        self._tables = [self._own(table) for table in questions.QUESTIONS[question](self._setting)]
        return self._tables

    def fit(self, table: int, row: int) -> tuple[Fit, int]:
        found = self._tables[table].rows[row]
        self._clock_of(table).fit(found)
        return found.fit, found.n

    def time(self, table: int, row: int, fit: Fit) -> Timing:
        found = self._tables[table].rows[row]
        found.fit = fit
        return self._clock_of(table).time(found)

    def done(self) -> list[str]:
        """The table has been measured. What there is to say of it."""
        current, self._clock = self._clock, None
        return current[1].done() if current else []

    def _clock_of(self, table: int) -> Clock:
        if self._clock is None or self._clock[0] != table:
            self._clock = table, Clock(self._tables[table], self._effort)
        return self._clock[1]

    def _own(self, table: Table) -> Table:
        """The table with the rows of this process."""

        def own(row: Row) -> bool:
            return (table.where or (HOME if row.who == "limit" else row.who)) == self.name

        ratios = [
            replace(ratio, bottom=None if ratio.bottom is None else list(filter(own, ratio.bottom)))
            for ratio in table.ratios
        ]
        return replace(table, rows=list(filter(own, table.rows)), ratios=ratios)


def serve(connection: Connection, log: str, broken: Raised | None, worker: Worker) -> None:
    """Answer requests until the other side is gone. `broken` says why the library is not to be loaded."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    faulthandler.enable()
    peers.only(worker.name, broken)
    while True:
        try:
            request, *arguments = connection.recv()
        except EOFError:
            return
        answer: Any
        try:
            answer = getattr(worker, request)(*arguments)
        except Exception as error:  # whatever a library may raise
            answer = Raised(message(error))
        connection.send(answer)
