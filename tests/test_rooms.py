"""Promise: dependencies of the C++ code run one way, from room to room and from file to file."""

from __future__ import annotations

import graphlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
CPP = ROOT / "cpp"
# Each room, and those that it may include from besides itself. Tests may include everything.
BELOW = {
    "python": {"engine", "kernels"},
    "engine": {"kernels"},
    "kernels": {"tables"},
    "tables": set(),
    "tests": {"engine", "kernels", "tables"},
}


def includes(root: pathlib.Path) -> dict[str, list[str]]:
    """file -> what it includes in quotation marks."""
    files = sorted([*root.rglob("*.hpp"), *root.rglob("*.cpp")])
    assert files
    return {
        file.relative_to(root).as_posix(): re.findall(r'^\s*#\s*include\s*"([^"]+)"', file.read_text(), re.MULTILINE)
        for file in files
    }


def arrows_back(found: dict[str, list[str]]) -> list[str]:
    wrong = []
    for file, included in found.items():
        room = file.split("/")[0]
        for name in included:
            other = name.split("/")[0]
            if name not in found:
                wrong.append(f"{file} includes {name}, which is no file of cpp/")
            elif other not in BELOW.get(room, set()) | {room}:
                wrong.append(f"{file} includes {name}: {room} knows nothing of {other}")
    return wrong


def test_no_include_runs_back() -> None:
    found = includes(CPP)
    assert {file.split("/")[0] for file in found} == set(BELOW)
    assert arrows_back(found) == []
    list(graphlib.TopologicalSorter(found).static_order())  # CycleError where headers include each other


@pytest.mark.parametrize(
    ("file", "included"),
    [
        ("kernels/loop.hpp", "engine/fill.hpp"),
        ("engine/fill.cpp", "python/views.hpp"),
        ("tables/quantile_tables.cpp", "kernels/contract.hpp"),
        ("engine/box.cpp", "box.hpp"),
        ("box.cpp", "engine/box.hpp"),
    ],
)
def test_an_include_that_runs_back_is_found(file: str, included: str) -> None:
    assert arrows_back({**includes(CPP), file: [included]})


def test_pybind11_is_known_to_one_room() -> None:
    for file in CPP.rglob("*.?pp"):
        if re.search(r"#\s*include\s*<(pybind11|Python)", file.read_text()):
            assert file.parent.name == "python", file


def test_lines_of_code_have_at_most_120_columns() -> None:
    files = [*ROOT.glob("cpp/**/*.[ch]pp"), ROOT / "bench" / "turns.cpp"]
    assert len(files) > 30
    for file in files:
        if file.stem != "quantile_tables":  # which a script has made
            too_long = [number for number, line in enumerate(file.read_text().splitlines(), 1) if len(line) > 120]
            assert not too_long, f"{file}: {too_long}"
