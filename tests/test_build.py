"""Promise: the extension module is an island: what it shows to the dynamic linker is how to start it."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

from fastinit import _core

CHECK = pathlib.Path(__file__).parent / "check_objects.py"


@pytest.mark.skipif(not sys.platform.startswith("linux") or shutil.which("nm") is None, reason="needs Linux and nm")
def test_the_module_shows_its_init_function_alone() -> None:
    """CI runs the same script on all object files, which are not here."""
    done = subprocess.run([sys.executable, CHECK, _core.__file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
