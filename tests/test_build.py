"""Promise: the extension module is an island: what it shows to the dynamic linker is how to start it.

And a target that cannot give the right bits does not build. CI has the compilers for that; elsewhere the tests of those
that are missing are skipped.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

from fastinit import _core

PROJECT = pathlib.Path(__file__).parent.parent
CHECK = PROJECT / "tests" / "check_objects.py"


@pytest.mark.skipif(not sys.platform.startswith("linux") or shutil.which("nm") is None, reason="needs Linux and nm")
def test_the_module_shows_its_init_function_alone() -> None:
    """CI runs the same script on all object files, which are not here."""
    done = subprocess.run([sys.executable, CHECK, _core.__file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


EXCESS = "fastinit needs a target that computes float in float and double in double: with excess precision"
REFUSED = [
    ("i686", "", ["fastinit needs a 64-bit target", EXCESS]),
    ("i686", "-msse2 -mfpmath=sse", ["fastinit needs a 64-bit target"]),
    ("x86_64", "-mfpmath=387", [EXCESS]),
    ("s390x", "", ["fastinit needs a little-endian target"]),
]


def compiler(processor: str) -> str:
    """Of Debian's names; the test is skipped where there is none."""
    name = f"{processor}-linux-gnu-g++"
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not here")
    return name


def said(*command: str | pathlib.Path) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize(("processor", "flags", "sentences"), REFUSED)
def test_the_compiler_refuses_a_target(processor: str, flags: str, sentences: list[str]) -> None:
    """Each file of the core, without CMake; for no other reason than these."""
    cpp = PROJECT / "cpp"
    file = cpp / "engine" / "parameters.cpp"
    status, text = said(compiler(processor), "-std=c++20", "-fsyntax-only", *flags.split(), "-I", cpp, file)
    assert status != 0
    assert text.count("error:") == len(sentences)
    for sentence in sentences:
        assert f"error: static assertion failed: {sentence}" in text


NEEDS_CMAKE = pytest.mark.skipif(
    shutil.which("cmake") is None or shutil.which("ninja") is None, reason="needs CMake and Ninja"
)


@NEEDS_CMAKE
def test_cmake_refuses_ofast(tmp_path: pathlib.Path) -> None:
    """It links code that changes floating-point arithmetic in the whole process."""
    status, text = said(
        *("cmake", "-G", "Ninja", "-S", PROJECT, "-B", tmp_path, "-DFASTINIT_PYTHON=OFF", "-DCMAKE_CXX_FLAGS=-Ofast")
    )
    assert status != 0
    assert "fastinit cannot be built with -Ofast" in text


@pytest.mark.parametrize(("processor", "flags", "sentences"), REFUSED)
@NEEDS_CMAKE
def test_cmake_refuses_a_target(processor: str, flags: str, sentences: list[str], tmp_path: pathlib.Path) -> None:
    """Where CMake itself does not ask for better: on x86-64 it does."""
    status, text = said(
        *("cmake", "-G", "Ninja", "-S", PROJECT, "-B", tmp_path, "-DFASTINIT_PYTHON=OFF", f"-DCMAKE_CXX_FLAGS={flags}"),
        *("-DCMAKE_SYSTEM_NAME=Linux", f"-DCMAKE_SYSTEM_PROCESSOR={processor}"),
        f"-DCMAKE_CXX_COMPILER={compiler(processor)}",
    )
    if processor == "x86_64":
        assert status == 0, text
        return
    assert status != 0
    assert text.count("fastinit needs") == len(sentences)
    for sentence in sentences:
        assert sentence in text
