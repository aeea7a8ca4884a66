"""Promise: what the documents show is what happens."""

from __future__ import annotations

import doctest
import pathlib
import re

import pytest

import fastinit
from conftest import installed

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_examples(document: pathlib.Path) -> None:
    if document.stem in ("torch", "jax") and not installed(document.stem):
        pytest.skip(f"without {document.stem}")
    result = doctest.testfile(str(document), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
    assert (result.attempted > 0) == (">>>" in document.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document: pathlib.Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    first, second = re.findall(r"```\n(.*)\n(.*)\n```", readme)[0]
    assert first == "python -m pip install . && python -m fastinit demo"
    assert second == 'python -m pip install ".[test]" && python -m pytest'
    assert second in (ROOT / ".ci" / "run").read_text()


def test_the_readme_names_every_function() -> None:
    readme = (ROOT / "README.md").read_text()
    table = readme[readme.index("## What there is") : readme.index("## What is promised")]
    named = set(re.findall(r"\w+", table))
    public = {name for name in fastinit.__all__ if not name.startswith("_")}
    public -= {name for name in public if name.startswith(("glorot_", "kaiming_"))}  # named as glorot_*, kaiming_*
    assert public <= named | {"get_num_threads"}
