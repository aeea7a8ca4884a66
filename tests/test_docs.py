"""Promise: what the documents show is what happens, and they are easy to read where they are written."""

from __future__ import annotations

import ast
import doctest
import fnmatch
import importlib
import inspect
import pathlib
import re
import shlex
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastinit
from conftest import installed, library

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "tests").rglob("*.md")]
WIDTH = 100
SCREEN = 45  # lines

FRAMEWORKS = (
    *("torch", "jax", "flax", "equinox", "haiku", "keras", "transformers", "timm", "torchvision"),
    *("dask", "distributed", "zarr", "ray"),
)


def name_of(document: pathlib.Path) -> str:
    return str(document.relative_to(ROOT))


# --- examples -------------------------------------------------------------------------------------------------------


class Block(NamedTuple):
    """A fenced block of a document."""

    language: str
    line: int  # of its first line, counted from 0
    code: str


class Section(NamedTuple):
    """What stands below a heading of the second rank: its blocks run one after the other, and need no others."""

    document: pathlib.Path
    title: str
    blocks: list[Block]


def sections(document: pathlib.Path) -> list[Section]:
    found = [Section(document, "", [])]
    opened: tuple[str, int] | None = None
    lines = document.read_text().split("\n")
    for number, line in enumerate(lines):
        fence = re.match(r"\s*```(\w*)", line)
        if fence and opened is None:
            opened = fence[1], number + 1
        elif fence and opened is not None:
            language, first = opened
            found[-1].blocks.append(Block(language, first, "\n".join(lines[first:number]) + "\n"))
            opened = None
        elif opened is None and line.startswith("## "):
            found.append(Section(document, line[3:], []))
    assert opened is None, f"{document}: a block that does not end"
    return found


SECTIONS = [section for document in DOCUMENTS for section in sections(document)]
EXAMPLES = [section for section in SECTIONS if any(block.language == "python" for block in section.blocks)]


def source(block: Block) -> str:
    """What is run, without prompts and output, on the lines of the document."""
    if ">>>" not in block.code:
        return "\n" * block.line + block.code
    return "".join(example.source for example in doctest.DocTestParser().get_examples(block.code))


def needed(section: Section) -> set[str]:
    """The frameworks that its examples import."""
    names: set[str] = set()
    for block in section.blocks:
        if block.language == "python":
            for node in ast.walk(ast.parse(source(block))):
                if isinstance(node, ast.Import):
                    names |= {part for alias in node.names for part in alias.name.split(".")}
                elif isinstance(node, ast.ImportFrom):
                    names |= set((node.module or "").split("."))
    return names & set(FRAMEWORKS)


@pytest.mark.parametrize("section", EXAMPLES, ids=lambda section: f"{name_of(section.document)}: {section.title}")
def test_examples(section: Section) -> None:
    for framework in sorted(needed(section)):
        if not installed(framework):
            pytest.skip(f"without {framework}")
        if framework in ("transformers", "timm", "torchvision"):
            library(framework)
    names: dict[str, Any] = {"__name__": "__main__"}
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for block in section.blocks:
        if block.language != "python":
            continue
        file = name_of(section.document)
        if ">>>" in block.code:
            test = doctest.DocTestParser().get_doctest(block.code, names, section.title, file, block.line)
            test.globs = names  # it made a copy
            assert runner.run(test, clear_globs=False).failed == 0
        else:
            exec(compile(source(block), file, "exec"), names)


def test_every_example_is_run() -> None:
    """No prompt outside of the blocks that run, no language that nobody knows."""
    for document in DOCUMENTS:
        blocks = [block for section in sections(document) for block in section.blocks]
        assert {block.language for block in blocks} <= {"python", "console", ""}, document
        prompts = sum(block.code.count(">>>") for block in blocks if block.language == "python")
        assert prompts == document.read_text().count(">>>"), document
        assert not any(re.search("^(import|from) ", block.code, re.M) for block in blocks if not block.language)


def test_no_example_gives_two_arrays_one_seed() -> None:
    """A seed alone is stream 0: who copies such a line for a second layer gets the same values."""
    fills = {name for name in dir(fastinit.Generator) if hasattr(fastinit, name)}
    assert {"normal", "he_normal", "random_bits"} <= fills
    seen = 0
    for section in EXAMPLES:
        for block in section.blocks:
            if block.language != "python":
                continue
            for node in ast.walk(ast.parse(source(block))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    keywords = {keyword.arg for keyword in node.keywords}
                    if node.func.attr.rstrip("_") in fills and "seed" in keywords:
                        assert "stream" in keywords, (section.document, ast.unparse(node))
                        seen += 1
    assert seen


def test_the_streams_of_gpt2() -> None:
    """The table of docs/choosing.md: which stream each way gives two weights."""
    transformers = library("transformers")
    import torch

    import fastinit.torch

    config = transformers.GPT2Config(n_layer=2, n_embd=64, n_head=2)

    def built() -> Any:
        return transformers.GPT2LMHeadModel(config)

    def constructed() -> Any:
        with fastinit.torch.accelerate(seed=0):
            return built()

    def on_meta() -> Any:
        with torch.device("meta"):
            return built()

    def by_its_code(model: Any, module: Any = None) -> Any:
        with fastinit.torch.accelerate(seed=0, module=module):
            model.to_empty(device="cpu")
            model.init_weights()
        return model

    def unnamed() -> Any:
        return by_its_code(on_meta())

    def named() -> Any:
        model = on_meta()
        return by_its_code(model, model)

    def loaded() -> Any:
        with fastinit.torch.accelerate(seed=0):
            return transformers.GPT2LMHeadModel.from_pretrained(None, config=config, state_dict={})

    def by_recipe() -> Any:
        model = on_meta()
        fastinit.torch.init_module(model, "gpt2", seed=0)
        return model

    text = (ROOT / "docs" / "choosing.md").read_text()
    header, _, *rows = text[text.index("| way | `transformer.h.0") :].partition("\n\n")[0].split("\n")
    names = re.findall(r"`(transformer[^`]*)`", header)
    assert len(names) == 2
    for row, way in zip(rows, (constructed, unnamed, named, loaded, by_recipe), strict=True):
        weights = dict(way().named_parameters())
        streams = [cell.strip(" `") for cell in row.split("|")[2:4]]
        for name, stream, std in zip(names, streams, (0.02, 0.01), strict=True):  # 0.01 = 0.02 / sqrt(2 n_layer)
            weight = weights[name].detach().numpy()
            assert np.array_equal(weight, fastinit.normal(np.empty_like(weight), std=std, seed=0, stream=stream)), row


def test_commands() -> None:
    """The words of `python -m fastinit bits ...` are options that there are."""
    lines = [line for section in SECTIONS for block in section.blocks for line in block.code.split("\n")]
    commands = [line for line in lines if line.startswith("python -m fastinit bits")]
    assert commands
    for line in commands:
        words = shlex.split(line.partition("|")[0], comments=True)
        written = subprocess.run([sys.executable, *words[1:], "--bytes", "64"], capture_output=True, check=True).stdout
        assert len(written) == 64


# --- form -----------------------------------------------------------------------------------------------------------


def prose(text: str) -> list[tuple[int, str]]:
    """The lines that are neither code nor a table's, with their numbers."""
    found: list[tuple[int, str]] = []
    fenced = indented = False
    before = ""
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(r"\s*```", line):
            fenced = not fenced
        else:
            indented = line.startswith("    ") and (indented or not before.strip())
            if not (fenced or indented or line.lstrip().startswith("|")):
                found.append((number, line))
        before = line
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_prose_wraps_at_one_width(document: pathlib.Path) -> None:
    too_long = [f"{document}:{number}: {line}" for number, line in prose(document.read_text()) if len(line) > WIDTH]
    assert not too_long, "\n".join(too_long)


def test_what_is_prose() -> None:
    text = "word\n\n    code\n    code\n\n```\ncode\n```\n| table |\n- item\n    of two lines\n"
    assert [line for _, line in prose(text) if line] == ["word", "- item", "    of two lines"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: pathlib.Path) -> None:
    for path, _, anchor in (
        target.partition("#") for target in re.findall(r"\]\(([^)]+)\)", document.read_text()) if "://" not in target
    ):
        target = document.parent / path if path else document
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, anchor


# --- the README -----------------------------------------------------------------------------------------------------


def test_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    first, second = re.findall(r"```\n(.*)\n(.*)\n```", readme)[0]
    assert first == "python -m pip install . && python -m fastinit demo"
    assert second == 'python -m pip install ".[test]" && python -m pytest'
    assert second in (ROOT / ".ci" / "run").read_text()


def test_the_readme_opens_with_one_screen() -> None:
    screen = (ROOT / "README.md").read_text().partition("\n## ")[0].rstrip()
    lines = screen.split("\n")
    assert len(lines) <= SCREEN
    assert max(map(len, lines)) <= WIDTH
    for what in ("pip install", "fastinit.Generator(", "stream=", "| he_normal float32 |", "](docs/choosing.md)"):
        assert what in screen


def test_the_readme_names_every_function() -> None:
    readme = (ROOT / "README.md").read_text()
    table = readme[readme.index("## What there is") : readme.index("## What is promised")]
    named = set(re.findall(r"\w+", table))
    public = {name for name in fastinit.__all__ if not name.startswith("_")}
    public -= {name for name in public if name.startswith(("glorot_", "kaiming_"))}  # named as glorot_*, kaiming_*
    assert public <= named | {"get_num_threads"}


# --- the reference --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["", ".recipes", ".signal", ".torch", ".torch.init", ".jax", ".keras", ".dask"])
def test_the_reference_has_every_public_name(module: str) -> None:
    """Those that docs/api/ lists get a page from their docstrings when the site is built."""
    framework = module.split(".")[1] if module else ""
    if framework in FRAMEWORKS and not installed(framework):
        pytest.skip(f"without {framework}")
    found = importlib.import_module(f"fastinit{module}")
    public = [name for name in found.__all__ if not inspect.ismodule(getattr(found, name))]
    page = ROOT / "docs" / "api" / f"{module[1:].replace('.', '-') or 'fastinit'}.rst"
    text = page.read_text()
    assert f".. currentmodule:: fastinit{module}\n" in text
    listed = re.findall(r"^ {3}(\w+)$", text, re.M) + re.findall(r"^(?:\.\. py:\w+::| {12}) (\w+)", text, re.M)
    assert sorted(listed) == sorted(public)
    assert page.stem in (page.parent / "index.rst").read_text().split()


# --- CONTRIBUTING ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "suffixes", "left_out"),
    [("python/fastinit", (".py", ".pyi"), "__init__.py"), ("cpp", (".cpp", ".hpp"), "tests/*")],
)
def test_contributing_names_every_file(folder: str, suffixes: tuple[str, ...], left_out: str) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text[text.index(f"| file in `{folder}/` |") :].partition("\n\n")[0]
    patterns = [name for row in table.split("\n")[2:] for name in re.findall("`([^`]+)`", row.split("|")[1])]
    files = [path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*")]
    files = [file for file in files if file.endswith(suffixes) and not pathlib.PurePath(file).match(left_out)]
    assert files
    assert not [file for file in files if not any(fnmatch.fnmatchcase(file, pattern) for pattern in patterns)]
    assert not [pattern for pattern in patterns if not any(fnmatch.fnmatchcase(file, pattern) for file in files)]
