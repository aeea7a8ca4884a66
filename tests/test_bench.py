"""`python -m bench` runs, from the project's root, with and without the peers, and says what it left out.

A very small buffer: nothing is learnt about speed here.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastinit import _core

ROOT = Path(__file__).resolve().parent.parent
TARGETS: list[str] = _core.config()["targets_found"]
CHOSEN: str = _core.config()["target"]
TYPES = ("float32", "float64", "float16", "bfloat16")
PACKAGE = ("-m", "bench")
ALONE = "import sys; sys.modules.update(torch=None, ml_dtypes=None); import bench; raise SystemExit(bench.main())"
WITH_NUMPY_ALONE = ("-W", "error", "-c", ALONE)


def bench(start: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *start, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300)


def run(tmp_path: Path, start: tuple[str, ...], *arguments: str) -> tuple[str, dict[str, Any]]:
    """The table and the JSON file of a run with one round."""
    file = tmp_path / "bench.json"
    done = bench(start, "--quick", "--mib", "1", "--rounds", "1", "--json", str(file), *arguments)
    assert done.returncode == 0, done.stderr
    assert "round" not in done.stderr  # no progress line: not a terminal
    assert list(tmp_path.iterdir()) == [file]
    data: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return done.stdout, data


def check(table: str, data: dict[str, Any], types: tuple[str, ...], threads: list[int]) -> None:
    fills = data["fills"]
    kinds = {f"{family} {dtype}" for family in ("uniform", "normal") for dtype in types}
    kinds |= {"normal float32, every second column", "normal float32, Fortran order", "truncated normal +-2 float32"}
    assert {row["kind"] for row in fills} == kinds | {"limit", "constant"}
    assert fills[0]["name"] == "ndarray.fill"
    for kind in kinds:
        assert f"\n{kind}\n" in table
        assert [row["threads"] for row in fills if row["kind"] == kind and row["who"] == "fastinit"][
            : len(threads)
        ] == threads
    names = {row["name"] for row in fills}
    for ours in ("uniform", "he_normal"):
        assert {f"{ours}, rng='philox'", *(f"{ours}, target {name}" for name in TARGETS if name != CHOSEN)} <= names
    for bits in ("PCG64", "SFC64", "Philox"):
        assert {f"numpy {bits} random(out=)", f"numpy {bits} standard_normal(out=)"} <= names
    for row in fills:
        assert f"\n  {row['name']} " in table
        assert row["n"] > 0
        assert row["of_limit"] > 0
    for row in fills[1:] + data["calls"] + data["cold"]:
        assert len(row["seconds"]) == 1
        assert 0 < row["quartile_1"] == row["median"] == row["quartile_3"]
    for row in data["calls"]:
        assert f"\n  {row['statement']} " in table
    for name in ("command", "date", "cpu", "versions", "target"):
        assert data["heading"][name] in table


def test_all_rows(tmp_path: Path) -> None:
    table, data = run(tmp_path, PACKAGE, "--threads", "2,1", "--cold", "4")
    check(table, data, TYPES, [1, 2])
    if importlib.util.find_spec("torch"):
        torch = {row["name"] for row in data["fills"] if row["who"] == "torch"}
        assert torch == {f"torch {name}" for name in ("uniform_", "normal_", "kaiming_normal_", "trunc_normal_")}
        assert "torch" not in data["heading"]["not installed"]
    for row in data["cold"]:
        assert f"\n  {row['name']} " in table
    assert {"fastinit.empty + he_normal, 2 threads", "memset of fresh huge pages, 1 thread"} <= {
        row["name"] for row in data["cold"]
    }


def test_with_numpy_alone(tmp_path: Path) -> None:
    table, data = run(tmp_path, WITH_NUMPY_ALONE, "--threads", "1,1")
    check(table, data, TYPES[:3], [1])
    assert {row["who"] for row in data["fills"]} == {"fill", "fastinit", "numpy"}
    assert data["cold"] == []
    assert data["heading"]["not installed"] == "torch, ml_dtypes"
    assert "fresh memory" not in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "1,0"], "must be an int >= 1; got '0'"),
        (["--mib", "-1"], "must be an int >= 1; got '-1'"),
        (["--json", "no/such/directory/file"], "no such directory"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(arguments: list[str], message: str) -> None:
    done = bench(PACKAGE, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
