"""Promise: each example of the gallery runs without a warning, in a minute, shows a picture and asserts its claim."""

from __future__ import annotations

import ast
import os
import pathlib
import subprocess
import sys

import pytest

from conftest import installed

SCRIPTS = sorted((pathlib.Path(__file__).resolve().parent.parent / "examples").glob("plot_*.py"))
SECONDS = 60

# A script as sphinx-gallery runs it: what is drawn stays open, and is looked at.
RUN = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="__main__")
from matplotlib import pyplot
assert pyplot.get_fignums(), "no figure"
"""


def imported(tree: ast.Module) -> set[str]:
    """The packages of a script."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def test_there_are_examples() -> None:
    assert SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_example(script: pathlib.Path, tmp_path: pathlib.Path) -> None:
    tree = ast.parse(script.read_text())
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree)), "asserts nothing"
    missing = sorted(name for name in imported(tree) if not installed(name))
    if missing:
        pytest.skip(f"without {', '.join(missing)}")
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}  # plt.show opens nothing
    # The matrices are small. More threads gain little, and wait for each other where the cores are shared.
    environment |= {"MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir()), "wrote a file"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_title(script: pathlib.Path) -> None:
    """The docstring begins with a title of reStructuredText: sphinx-gallery needs one."""
    title, line = (ast.get_docstring(ast.parse(script.read_text())) or "\n").split("\n")[:2]
    assert title
    assert line == "=" * len(title)
