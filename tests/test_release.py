"""Promise: what is published is this library and no other, under one name, and its page leads where it says."""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

import fastinit
from check_wheel import package, problems

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAME = "fastinit-weights"
FOLDERS = (".ci", "bench", "cmake", "cpp", "docs", "examples", "python", "tests")
TEXT = [
    ".py",
    ".pyi",
    ".cpp",
    ".hpp",
    ".md",
    ".txt",
    ".csv",
    ".toml",
    ".json",
    ".yaml",
    ".cff",
    ".sh",
    ".map",
    ".cmake",
]
NAMELESS = ("LICENSE", "run", "aarch64", ".gitignore", ".editorconfig", ".clang-format")
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")


def texts() -> Iterator[pathlib.Path]:
    """The files of the source tree that somebody reads; not what Sphinx writes beside them."""
    paths = [*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    paths = [path for path in paths if ROOT / "docs" / "gallery" not in path.parents]
    yield from (path for path in paths if path.suffix in TEXT or path.name in NAMELESS)


# --- the name -------------------------------------------------------------------------------------------------------

# Any installer that is told to get `fastinit` by that name, which is somebody else's.
ANOTHER = re.compile(
    r"\b(?:pip3?|pipx|uv|poetry|conda|mamba|pdm)\s+(?:install|add|download)\b(?:\\\n|[^\n`;&|])*?"
    r"(?<![\w./-])fastinit(?![\w./-])"
)


@pytest.mark.parametrize(
    "arguments",
    [
        "fastinit",
        "-U fastinit",
        "fastinit==1.0",
        "'fastinit[torch]'",
        '"fastinit[jax]>=1"',
        "numpy fastinit",
        "\\\n  fastinit",
    ],
)
def test_what_would_install_another(arguments: str) -> None:
    assert ANOTHER.search(f"python -m pip install {arguments}")
    assert ANOTHER.search(f"uv add {arguments}")


@pytest.mark.parametrize(
    "arguments",
    [
        ".",
        '".[torch]"',
        NAME,
        f'"{NAME}[jax]"',
        "-e . && python -m fastinit demo",
        "./fastinit",
        "--target x; import fastinit",
    ],
)
def test_what_would_not(arguments: str) -> None:
    assert not ANOTHER.search(f"pip install {arguments}")


def test_nobody_is_told_to_install_another() -> None:
    files = list(texts())
    assert {"README.md", "run", "demo.py", "bindings.cpp"} <= {file.name for file in files}
    found = [f"{file}: {match[0]}" for file in files for match in ANOTHER.finditer(file.read_text("utf-8"))]
    assert not found


def test_the_extras_bring_no_other() -> None:
    """An extra that takes in others names the distribution, which pip would look for on the index."""
    assert re.search(rf'^name = "{NAME}"$', PROJECT, re.MULTILINE)
    extras = PROJECT[PROJECT.index("[project.optional-dependencies]") : PROJECT.index("[tool.scikit-build]")]
    assert set(re.findall(r'"(fastinit[^\[]*)\[', extras)) == {NAME}
    assert not re.search(r'"fastinit(?!-weights)', extras)


def test_the_readme_says_the_name() -> None:
    screen = (ROOT / "README.md").read_text("utf-8").partition("\n## ")[0]
    assert f"`{NAME}`" in screen


def test_there_is_one_version() -> None:
    version = re.search(r'^version = "(.*)"$', PROJECT, re.MULTILINE)
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert version
    assert cited
    assert version[1] == cited[1]
    assert (ROOT / "CHANGELOG.md").read_text("utf-8").partition("\n## ")[2].startswith(version[1])


# --- what is in a wheel ---------------------------------------------------------------------------------------------


@pytest.fixture
def distribution() -> importlib.metadata.Distribution:
    """The one that the tests run on; some run on a source tree, or on an editable one, which has no such list."""
    try:
        found = importlib.metadata.distribution(NAME)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("fastinit is not installed, but on the path")
    if '"editable": true' in json.dumps(json.loads(found.read_text("direct_url.json") or "{}")):
        pytest.skip("fastinit is installed as editable")
    return found


def test_the_metadata(distribution: importlib.metadata.Distribution) -> None:
    assert distribution.version == fastinit.__version__
    assert distribution.metadata["License-Expression"] == "MIT"
    needed = [requirement for requirement in distribution.requires or [] if "extra ==" not in requirement]
    assert needed == ["numpy>=1.23"]
    assert not [
        requirement for requirement in distribution.requires or [] if re.match("fastinit(?!-weights)", requirement)
    ]


def test_what_is_installed(distribution: importlib.metadata.Distribution) -> None:
    """Without what the installer adds: caches, and where it comes from."""
    names = [path.as_posix() for path in distribution.files or []]
    added = re.compile(r".*\.pyc|.*\.dist-info/(INSTALLER|REQUESTED|direct_url\.json)")
    assert not problems(name for name in names if not added.fullmatch(name))


WHEEL = {
    *package(),
    "fastinit/_core.cpython-311-x86_64-linux-gnu.so",
    *(f"fastinit_weights-1.0.0rc1.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")),
}


def test_a_wheel_is_the_package() -> None:
    assert {"fastinit/__init__.py", "fastinit/py.typed", "fastinit/_core.pyi", "fastinit/torch/init.py"} <= package()
    assert problems(WHEEL) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda names: names - {"fastinit/py.typed"}, ["fastinit/py.typed is missing"]),
        (
            lambda names: names - {"fastinit_weights-1.0.0rc1.dist-info/licenses/LICENSE"},
            ["licenses/LICENSE is missing"],
        ),
        (lambda names: {name for name in names if "_core." not in name or "pyi" in name}, ["there are 0"]),
        (lambda names: names | {"fastinit/_core.cp311-win_amd64.pyd"}, ["there are 2"]),
        (
            lambda names: names | {"tests/conftest.py", "fastinit/notes.txt"},
            ["fastinit/notes.txt", "tests/conftest.py"],
        ),
        (lambda names: names | {"fastinit-0.1.0.dist-info/METADATA"}, ["fastinit-0.1.0.dist-info/METADATA"]),
    ],
)
def test_what_a_wheel_must_not_be(change: Callable[[set[str]], set[str]], words: list[str]) -> None:
    found = problems(change(WHEEL))
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


# --- the page on the index ------------------------------------------------------------------------------------------

RELEASE = runpy.run_path(str(ROOT / ".ci" / "release.py"))
absolute: Callable[..., str] = RELEASE["absolute"]


def test_the_address_is_said_in_one_place() -> None:
    said = RELEASE["said"]
    assert said("version", PROJECT) == fastinit.__version__
    assert said("Repository", '[project.urls]\nRepository = "https://x.org/me"\n') == "https://x.org/me"
    assert said("Repository", '# Repository = "https://..."\n') is None


def test_no_release_without_an_address(tmp_path: pathlib.Path) -> None:
    """The script in a tree that does not say it: nothing is built."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "release.py", tmp_path / ".ci")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.0"\n')
    command: list[str | pathlib.Path] = [sys.executable, tmp_path / ".ci" / "release.py", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "pyproject.toml must say the address" in done.stderr
    assert not (tmp_path / "out").exists()


def test_links_of_the_page() -> None:
    text = (
        "[a](docs/a.md#b) ![p](docs/p.png) [c](#c)\n[two\nlines](X.md) [web](https://x.org)\n```\n[0](1)\n```\n[d](d)"
    )
    at = "https://x.org/me/fastinit"
    assert absolute(text, f"{at}/", "1.0") == (
        f"[a]({at}/blob/v1.0/docs/a.md#b) ![p]({at}/raw/v1.0/docs/p.png) [c]({at}/blob/v1.0/README.md#c)\n"
        f"[two\nlines]({at}/blob/v1.0/X.md) [web](https://x.org)\n```\n[0](1)\n```\n[d]({at}/blob/v1.0/d)"
    )


def test_links_to_the_site() -> None:
    text = "[a](docs/a-b.md#c) ![p](docs/p.png) [e](examples/e.py)"
    at = "https://x.org/me/fastinit"
    assert absolute(text, at, "1.0", "https://docs.x.org/") == (
        f"[a](https://docs.x.org/a-b.html#c) ![p]({at}/raw/v1.0/docs/p.png) [e]({at}/blob/v1.0/examples/e.py)"
    )


def test_the_readme_as_a_page() -> None:
    """No path is left, each address is that of a file or folder which is there, and nothing else has changed."""
    readme = (ROOT / "README.md").read_text("utf-8")
    at = "https://x.org/me/fastinit"
    page = absolute(readme, at, "1.0")
    targets = re.findall(r"\]\(([^)\s]+)\)", page)
    assert len(targets) > 10
    assert all("://" in target for target in targets)
    own = [target for target in targets if target.startswith(at)]
    assert any("/raw/v1.0/docs/" in target for target in own)
    for target in own:
        assert (ROOT / re.sub(f"{at}/(raw|blob)/v1.0/", "", target).partition("#")[0]).exists()
    back = re.sub(f"{at}/(raw|blob)/v1.0/(README.md(?=#))?", "", page)
    assert back == readme


# --- text files -----------------------------------------------------------------------------------------------------


def test_files_are_as_editorconfig_says() -> None:
    """UTF-8, LF, no spaces at the ends of lines, one line feed at the end of a file."""
    wrong = []
    for file in texts():
        text = file.read_bytes().decode("utf-8")
        if text and (not text.endswith("\n") or text.endswith("\n\n") or re.search(r"[ \t\r]$", text, re.MULTILINE)):
            wrong.append(file)
    assert not wrong
