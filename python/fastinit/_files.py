"""Files are written beside and renamed, so that what was there is lost only to what is whole."""

from __future__ import annotations

import os
import pathlib

__all__ = ["write_text"]


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file of UTF-8."""
    target = pathlib.Path(path)
    temporary = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        temporary.write_text(text, "utf-8")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
