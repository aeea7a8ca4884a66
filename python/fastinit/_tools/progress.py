"""A progress bar on a terminal: tqdm's where it is installed, else a plain one; elsewhere none."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any, TextIO

__all__ = ["progress"]

CELLS = 40


class _Bar:
    """A line that is written again whenever a percent is done."""

    def __init__(self, total: int, file: TextIO) -> None:
        self._total, self._file = total, file
        self._done, self._percent = 0, -1
        self.update(0)

    def update(self, n: int) -> None:
        """So many more are done."""
        self._done += n
        percent = 100 * self._done // self._total
        if percent != self._percent:
            self._percent = percent
            cells = CELLS * percent // 100
            print(f"\r[{'#' * cells:.<{CELLS}}] {percent:>3} %", end="", file=self._file, flush=True)

    def close(self) -> None:
        """The line is empty again."""
        print(f"\r{'':{CELLS + 8}}\r", end="", file=self._file, flush=True)


@contextlib.contextmanager
def progress(total: int, file: TextIO | None, unit: str = " values") -> Iterator[Callable[[int], object]]:
    """What to call with the number of things that have been done. The bar is gone at the end."""
    if file is None or total == 0 or not file.isatty():
        yield lambda n: None
        return
    bar: Any
    try:
        tqdm = importlib.import_module("tqdm")
    except ImportError:
        bar = _Bar(total, file)
    else:
        bar = tqdm.tqdm(total=total, file=file, unit=unit, unit_scale=True, leave=False, dynamic_ncols=True)
    try:
        yield bar.update
    finally:
        bar.close()
