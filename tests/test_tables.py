"""Promise: what is generated is what its generator makes."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("script", ["cpp/tables/generate.py", "cpp/tests/quantiles.py"])
def test_tables_are_what_their_generator_makes(script: str) -> None:
    done = subprocess.run([sys.executable, str(ROOT / script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
