"""Promise: each example runs without a warning of ours, soon ends, and asserts its claim; a plot shows a picture."""

from __future__ import annotations

import ast
import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from conftest import installed

TESTS = pathlib.Path(__file__).resolve().parent
SCRIPTS = sorted((TESTS.parent / "examples").glob("*.py"))
PLOTS = [script for script in SCRIPTS if script.stem.startswith("plot_")]
TRAINING = [script for script in SCRIPTS if script.stem.startswith("train_")]
SECONDS = 120

# What others warn of where they are used as they ask for: the first words.
OTHERS = {
    "train_torchtitan_like": ["FSDP2-wrapped module"],  # of tensor parallelism, whose outputs are views
    "train_lightning": ["`isinstance(treespec", "The 'train_dataloader' does not have many workers"],
}

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


def needed(script: pathlib.Path) -> set[str]:
    """The packages that it needs; Trainer imports accelerate by itself."""
    names = imported(ast.parse(script.read_text()))
    return names | {"accelerate"} if "transformers" in names else names


def run(script: pathlib.Path, folder: pathlib.Path, *command: str, **more: str) -> None:
    """Run it in that folder; it is skipped without its packages, and has to leave nothing there."""
    missing = sorted(name for name in needed(script) if not installed(name))
    if missing:
        pytest.skip(f"without {', '.join(missing)}")
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}  # plt.show opens nothing
    # The matrices are small. More threads gain little, and wait for each other where the cores are shared.
    environment |= {"MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **more}
    with subprocess.Popen(
        [sys.executable, *command, str(script)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()  # upon which torchrun ends its processes, which have sessions of their own
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # Lightning's, which have this one
            raise
    assert process.returncode == 0, said
    assert not list(folder.iterdir()), "wrote a file"


def test_there_are_examples() -> None:
    assert PLOTS
    assert TRAINING
    assert sorted(PLOTS + TRAINING) == SCRIPTS


@pytest.mark.parametrize("script", PLOTS, ids=lambda script: script.stem)
def test_plot(script: pathlib.Path, tmp_path: pathlib.Path) -> None:
    run(script, tmp_path, "-W", "error", "-c", RUN)


@pytest.mark.parametrize("script", TRAINING, ids=lambda script: script.stem)
def test_training(script: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Each starts its processes itself, with gloo."""
    theirs = [f"ignore:{words}" for words in OTHERS.get(script.stem, [])]
    path = os.pathsep.join(filter(None, [str(TESTS / "processes"), os.environ.get("PYTHONPATH")]))
    run(script, tmp_path, PYTHONWARNINGS=",".join(["error", *theirs]), PYTHONPATH=path)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_asserts(script: pathlib.Path) -> None:
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(script.read_text())))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_title(script: pathlib.Path) -> None:
    """The docstring begins with a title of reStructuredText: sphinx-gallery needs one."""
    title, line = (ast.get_docstring(ast.parse(script.read_text())) or "\n").split("\n")[:2]
    assert title
    assert line == "=" * len(title)
