"""Promise: help says what one needs: numpydoc form, formula first, every argument, on a screen of 80 columns.

And dir() shows what is public and no more.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pathlib
import pydoc
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import fastinit
from conftest import installed
from fastinit._arguments import documented, documented_by

PACKAGE = pathlib.Path(fastinit.__file__).parent
# In numpydoc's order.
SECTIONS = (
    "Parameters",
    "Attributes",
    "Returns",
    "Other Parameters",
    "Raises",
    "See Also",
    "Notes",
    "References",
    "Examples",
)
ADAPTERS = ("fastinit.torch", "fastinit.torch.init", "fastinit.jax", "fastinit.keras", "fastinit.dask")
INITIALIZERS = [
    name for module in ("initializers", "structured") for name in importlib.import_module(f"fastinit.{module}").__all__
]


def public(module: str) -> Iterator[tuple[str, Any]]:
    """The functions and classes that a module shows, and the methods of those classes."""
    found = importlib.import_module(module)
    for name in found.__all__:
        thing = getattr(found, name)
        # fastinit.torch.init.calculate_gain is torch's own
        if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__.startswith("fastinit"):
            yield f"{module}.{name}", thing
        if inspect.isclass(thing) and thing.__module__.startswith("fastinit"):
            for method, function in inspect.getmembers(thing, inspect.isfunction):
                if not method.startswith("_") and function.__module__.startswith("fastinit"):
                    yield f"{module}.{name}.{method}", function


OBJECTS = [pair for module in ("fastinit", "fastinit.recipes", "fastinit.signal") for pair in public(module)]
for adapter in ADAPTERS:
    if installed(adapter.split(".")[1]):
        OBJECTS += public(adapter)
ADAPTED = {adapter.split(".")[1] for adapter in ADAPTERS if adapter in sys.modules}


def sections(text: str) -> dict[str, str]:
    """The text of each section, the opening under ""."""
    lines = text.splitlines()
    starts = [i for i in range(1, len(lines)) if set(lines[i]) == {"-"} and lines[i - 1].strip()]
    for i in starts:
        assert len(lines[i]) == len(lines[i - 1]), lines[i - 1]
        assert lines[i - 2] == "", lines[i - 1]
    ends = [*(i - 1 for i in starts), len(lines)]
    found = {"": "\n".join(lines[: ends[0]])}
    for i, end in zip(starts, ends[1:], strict=True):
        found[lines[i - 1]] = "\n".join(lines[i + 1 : end])
    return found


def described(section: str) -> list[str]:
    """The names that a section about parameters has entries for."""
    heads = re.findall(r"^(\S.*?)(?: : .*)?$", section, re.MULTILINE)
    return [name.lstrip("*") for head in heads for name in head.split(", ")]


@pytest.mark.parametrize(("name", "thing"), OBJECTS, ids=[name for name, _ in OBJECTS])
def test_numpydoc_form(name: str, thing: Any) -> None:
    text = inspect.getdoc(thing)
    assert text is not None
    first, *rest = text.splitlines()
    assert first.endswith((".", ":"))
    assert rest[:1] in ([], [""])
    found = sections(text)
    titles = list(found)[1:]
    assert titles == [title for title in SECTIONS if title in titles]
    prose = [line for title, section in found.items() if title != "Examples" for line in section.splitlines()]
    assert max(map(len, prose)) <= 75, max(prose, key=len)
    entries = described(found.get("Parameters", "")) + described(found.get("Other Parameters", ""))
    if entries:
        takes = [parameter for parameter in inspect.signature(thing).parameters if parameter != "self"]
        assert sorted(entries) == sorted(takes)
    if "Examples" in found:
        assert ">>> " in found["Examples"]


# FastInitReader's example loads without a process group, which torch says.
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")
@pytest.mark.parametrize(("name", "thing"), OBJECTS, ids=[name for name, _ in OBJECTS])
def test_examples_run(name: str, thing: Any) -> None:
    """Those of methods too, which doctest does not find by itself where a class says that it is of another module."""
    for example in doctest.DocTestFinder(recurse=False).find(thing, name, module=False, globs={}):
        assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initialisers_say_all(name: str) -> None:
    for owner in (fastinit, fastinit.Generator):
        found = sections(inspect.getdoc(getattr(owner, name)) or "")
        assert {"Parameters", "Returns", "Other Parameters", "Raises", "Notes", "Examples"} <= set(found)
        assert "Bits: " in found["Notes"]
        assert "fills ``out`` in place" in found[""].lower() or "out" in found[""]
        assert ("seed" in described(found["Parameters"] + found["Other Parameters"])) == (owner is fastinit)
        if name not in ("constant", "zeros", "ones"):
            assert re.search(r"\b(19|20)\d\d\b", found["References"])


def screen(thing: Any, columns: int = 80) -> list[str]:
    """What help() prints, on a terminal that wraps lines."""
    text = pydoc.plain(pydoc.render_doc(thing))
    return [line[i : i + columns] for line in text.splitlines() for i in range(0, max(len(line), 1), columns)]


@pytest.mark.parametrize("name", INITIALIZERS)
def test_help_opens_with_the_formula_and_what_people_use(name: str) -> None:
    function = getattr(fastinit, name)
    lines = [line.strip() for line in screen(function)]
    signature = next(i for i, line in enumerate(lines) if line.startswith(f"{function.__name__}("))
    formula = lines.index((function.__doc__ or "").splitlines()[0])
    if sys.version_info < (3, 13):  # since then each parameter has a line
        assert formula - signature <= 5  # without types; with them it took twelve
    top = lines[formula : formula + 36]
    assert "Parameters" in top
    heads = [line.split(" : ")[0] for line in top[top.index("Parameters") + 2 :] if " : " in line]
    assert heads[0] == "out"
    if name not in ("constant", "zeros", "ones", "identity", "dirac"):
        assert "seed, stream" in heads
    if name.startswith(("he_", "kaiming_", "lecun_")):
        assert heads[:3] == ["out", "fan_in", "seed, stream"]


@pytest.mark.parametrize("name", INITIALIZERS)
def test_help_says_what_a_seed_alone_does(name: str) -> None:
    if name not in ("constant", "zeros", "ones", "identity", "dirac"):
        text = " ".join((inspect.getdoc(getattr(fastinit, name)) or "").split())
        assert "A seed alone means stream 0, so two arrays filled with the same seed get the same values" in text


def test_help_of_the_package_fits_a_screen() -> None:
    text = inspect.getdoc(fastinit)
    assert text is not None
    lines = text.splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 76
    for name in fastinit.__all__:
        if name not in ("Summary", "__version__") and not name.startswith(("glorot_", "kaiming_")):
            assert re.search(rf"\b{name}\b", text), name


def test_without_docstrings() -> None:
    """As under ``python -OO``."""

    def function() -> None: ...

    assert documented(function) is function
    assert documented_by(function)(function) is function
    assert function.__doc__ is None
    code = "import fastinit; print(fastinit.normal.__doc__, fastinit.Generator.normal.__doc__)"
    run = subprocess.run([sys.executable, "-OO", "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "None None\n"


def test_dir_is_what_is_public() -> None:
    """In a process of its own, where nothing else has been imported, and here."""
    adapters = {name for name in ("dask", "jax", "keras", "torch") if hasattr(fastinit, name)}
    assert {*dir(fastinit)} == {*fastinit.__all__, *adapters}
    assert len(ADAPTED) == len(adapters)
    with pytest.raises(AttributeError, match=r"module 'fastinit.recipes' has no attribute 'nothing'"):
        fastinit.recipes.nothing  # noqa: B018
    code = "import fastinit; print(*dir(fastinit)); import fastinit.recipes as r; print(*dir(r)); print(*dir(fastinit))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    first, of_recipes, second = (line.split() for line in run.stdout.splitlines())
    assert first == second == sorted(fastinit.__all__)
    assert of_recipes == sorted(fastinit.recipes.__all__)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_offers(path: pathlib.Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    opening = ast.get_docstring(tree)
    assert opening
    if path.name == "__main__.py" or path.parent.name == "_tools":
        return
    names = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert len(names) == 1
    assert len(names[0]) == len(set(names[0]))


@pytest.mark.parametrize(("name", "thing"), OBJECTS, ids=[name for name, _ in OBJECTS])
def test_numpydoc_agrees(name: str, thing: Any) -> None:
    validate = pytest.importorskip("numpydoc.validate").validate
    # What is not asked for: an extended summary (ES01), examples of small things (EX01), the signature's order where
    # some parameters are "Other Parameters" (PR03), a section See Also (SA01), a verb first (SS03, SS05, SS06: the
    # formula is first), an entry for what has no value (RT).
    ignored = {"ES01", "EX01", "PR03", "SA01", "SS05", "SS03", "SS06", "GL08", "PR01", "RT01"}
    errors = [error for error in validate(name)["errors"] if error[0] not in ignored]
    assert not errors
