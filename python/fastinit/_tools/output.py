"""Standard output, of which a failure to write can be told from all other errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, TextIO

__all__ = ["Output", "OutputError", "writing"]


class OutputError(Exception):
    """Standard output could not be written to, for the reason that ``error`` says."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.error = error


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Where nothing happens but writing to standard output."""
    try:
        yield
    except OSError as error:
        raise OutputError(error) from error


class Output:
    """A file whose writes fail with an ``OutputError``."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """As the file does it."""
        with writing():
            return self._file.write(text)

    def flush(self) -> None:
        """As the file does it."""
        with writing():
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
