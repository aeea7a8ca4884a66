"""`python -m bench` runs, from the project's root, with and without the peers, and says what is missing or failed.

Very small arrays: nothing is learnt about speed here.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench import clock, models, questions, report, sweep

from fastinit import _core

ROOT = Path(__file__).resolve().parent.parent
TARGETS: list[str] = _core.config()["targets_found"]
CHOSEN: str = _core.config()["target"]
PACKAGE = ("-m", "bench")
# A machine with NumPy and nothing else that the bench can use.
ALONE = """
import importlib.metadata, sys
names = ("torch", "ml_dtypes", "jax", "tensorflow", "keras", "randomgen", "matplotlib", "tqdm")
sys.modules.update(dict.fromkeys(names))
def files(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.files = files
import bench
"""
WITH_NUMPY_ALONE = ("-W", "error", "-c", ALONE + "raise SystemExit(bench.main())")
TINY = ("--quick", "--mib", "1", "--cold", "2", "--largest", "2^10", "--rounds", "2")
QUESTIONS = (
    *("cold", "constants", "uniform", "uniform16", "normal", "truncated", "normal64", "normal16", "targets", "philox"),
    *("strided", "small", "cache", "sweep", "models"),
)


def bench(start: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *start, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600)


def run(tmp_path: Path, start: tuple[str, ...], *arguments: str, code: int = 0) -> tuple[str, dict[str, Any]]:
    """What is printed, and the JSON file."""
    file = tmp_path / "bench.json"
    done = bench(start, "--json", str(file), *arguments)
    assert done.returncode == code, done.stderr
    data: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return done.stdout, data


def rows_of(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [row for table in data["tables"] if table["name"] == name for row in table["rows"]]


def check(printed: str, data: dict[str, Any], threads: list[int]) -> None:
    assert tuple(dict.fromkeys(table["name"] for table in data["tables"])) == QUESTIONS
    for name in ("command", "date", "cpu", "caches", "target", "versions", "threads", "buffer", "load before"):
        assert data["heading"][name] in printed
    assert data["heading"]["ended"] == "complete"
    for table in data["tables"]:
        ours = [row for row in table["rows"] if row["who"] == "fastinit"]
        assert ours or TARGETS == [CHOSEN]
        assert table["name"] in ("small", "cache") or {row["threads"] for row in ours} <= set(threads)
        if table["name"] != "models":
            assert table["limit"]["seconds"]
        for row in table["rows"]:
            assert row["error"] == ""
            assert len(row["seconds"]) == 2
            assert row["n"] > 0
            assert 0 < row["quartile_1"] <= row["median"] <= row["quartile_3"]
            assert row["values_per_second"] == pytest.approx(row["n"] / row["median"])
            assert table["limit"] is None or row["of_limit"] > 0
            assert row["name"] in printed
        assert table["ratios"] or table["name"] in ("targets", "sweep", "cache")
        for ratio in table["ratios"]:
            if ratio["value"] is not None and table["name"] != "sweep":
                assert f"{ratio['text']}: {report.number(ratio['value'])}" in printed
    for table in data["tables"]:
        if table["name"] != "sweep":
            assert f"\n{table['name']}. {table['question']}" in printed
    kinds = {row["kind"] for row in rows_of(data, "targets")} - {questions.STORES}
    other = {name for name in TARGETS if name != CHOSEN}
    assert kinds == {f"{what} float32 on the {name} target" for what in ("uniform", "normal") for name in other}
    assert [row["n"] for row in rows_of(data, "sweep") if row["who"] == "fastinit"][:: len(threads)] == sweep.sizes(
        1024
    )
    for bits in ("PCG64", "SFC64", "Philox"):
        assert f"numpy {bits} standard_normal(out=)" in {row["name"] for row in rows_of(data, "normal")}
    assert {row["name"] for row in rows_of(data, "philox") if row["who"] == "numpy"} == {
        "numpy Philox random(out=)",
        "numpy Philox standard_normal(out=)",
    }
    fill = next(line for line in printed.splitlines() if line.startswith("| he_normal float32 | "))
    row = [row for row in rows_of(data, "normal") if row["name"] == "fastinit.he_normal(4096)"][-1]
    assert row["threads"] == max(threads)
    assert fill.startswith(f"| he_normal float32 | {row['values_per_second'] / 1e9:.2g} | {row['of_limit']:.2g} | ")
    assert "| truncated_normal +-2 sd float32 | " in printed
    assert "| he_normal float32, Fortran order | " in printed


def test_everything_that_is_installed(tmp_path: Path) -> None:
    drawn = ["--plots", str(tmp_path)] if importlib.util.find_spec("matplotlib") else []
    printed, data = run(tmp_path, PACKAGE, *TINY, "--threads", "2,1", "--markdown", *drawn)
    check(printed, data, [1, 2])
    assert {path.name for path in tmp_path.iterdir()} == {
        "bench.json",
        *(["sweep.png", "peers.png"] if drawn else []),
    }
    for path in tmp_path.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    if importlib.util.find_spec("ml_dtypes"):
        assert {row["kind"] for row in rows_of(data, "normal16")} == {
            questions.STORES,
            "normal float32, for comparison",
            "normal float16",
            "normal bfloat16",
        }
    for name in ("torch", "jax", "tensorflow", "keras", "randomgen"):
        if importlib.util.find_spec(name):
            assert f", {name} " in data["heading"]["versions"]
            assert name in {row["who"] for row in rows_of(data, "uniform")}
        else:
            assert name in data["heading"]["not here"]


def test_with_numpy_alone(tmp_path: Path) -> None:
    printed, data = run(tmp_path, WITH_NUMPY_ALONE, *TINY, "--threads", "1,1", "--markdown")
    check(printed, data, [1])
    assert {row["who"] for table in data["tables"] for row in table["rows"]} == {"limit", "fastinit", "numpy"}
    assert data["heading"]["not here"] == (
        "randomgen (not installed), torch (not installed), mkl (not installed), jax (not installed), tensorflow (not "
        "installed), keras (not installed), ml_dtypes, matplotlib"
    ).replace(" (not installed)", "")
    cached = next(table for table in data["tables"] if table["name"] == "cache")
    assert cached["ratios"][0]["value"] is None
    assert "the fastest vsRngGaussian, 1 thread, values a second: not measured" in printed


def test_a_peer_that_fails_is_named_with_its_error(tmp_path: Path) -> None:
    """At its import, when its rows are made, and when they run."""
    (tmp_path / "jax.py").write_text("raise RuntimeError('no such device')")
    (tmp_path / "randomgen.py").write_text("__version__ = '9'\ndef AESCounter(seed): raise TypeError('no seeds')")
    (tmp_path / "torch.py").write_text(
        "__version__ = '8'\nclass nn: init = None\ndef get_num_threads(): return 7\n"
        "class Tensor:\n    def normal_(self): raise ValueError('out of luck\\nand more')\n"
        "def from_numpy(w): return Tensor()"
    )
    start = ("-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import bench; raise SystemExit(bench.main())")
    printed, data = run(tmp_path, start, *TINY, "--only", "normal,small")
    assert "jax (failed: RuntimeError: no such device)" in data["heading"]["not here"]
    assert "torch 8 (7 threads)" in data["heading"]["versions"]
    for name in ("normal", "small"):
        errors = {row["name"]: row["error"] for row in rows_of(data, name) if row["error"]}
        assert errors == {
            "randomgen": "TypeError: no seeds",
            "torch normal_": "ValueError: out of luck",
            "torch kaiming_normal_": "AttributeError: 'NoneType' object has no attribute 'kaiming_normal_'",
        }
        for row, error in errors.items():
            assert any(line.split(" failed: ") == [row, error] for line in map(str.strip, _squeezed(printed)))
    assert "/ torch kaiming_normal_, values a second: not measured" in printed


def _squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_ctrl_c_prints_what_has_been_measured(tmp_path: Path) -> None:
    interrupt = """
from bench import clock, questions
def interrupted(setting):
    def stop():
        raise KeyboardInterrupt
    row = clock.Row("numpy", "kind", "the row that stops", "stop()", lambda k: ({"stop": stop}, 1))
    yield clock.Table("sweep", "stops", None, [row])
questions.QUESTIONS["constants"] = interrupted
raise SystemExit(bench.main())
"""
    printed, data = run(tmp_path, ("-c", ALONE + interrupt), *TINY, "--only", "cold,constants,small", code=130)
    assert [table["name"] for table in data["tables"]] == ["cold", "sweep"]
    assert all(len(row["seconds"]) == 2 for row in rows_of(data, "cold"))
    assert data["heading"]["ended"] == "by Ctrl-C, in sweep"
    assert "fastinit.empty + he_normal" in printed
    assert "by Ctrl-C" in printed


def made_up(who: str, seconds: list[float], n: int, itemsize: int = 4, kind: str = "k") -> clock.Row:
    row = clock.Row(who, kind, who, "", clock.unbound, itemsize, n=n)
    row.seconds = seconds
    return row


def test_ratios_follow_from_the_seconds() -> None:
    ours = made_up("fastinit", [1.0, 2.0, 4.0], 800, 2)
    theirs = made_up("numpy", [10.0, 10.0, 80.0], 400)
    slower = made_up("torch", [100.0, 100.0, 100.0], 400)
    broken = made_up("mkl", [], 400)
    broken.error = "RuntimeError"
    rivals = [slower, broken, theirs]
    # Round by round theirs take 10, 5 and 20 times as long for half as many elements.
    values = clock.Ratio("", ours, rivals)
    assert values.rival() is theirs
    assert values.value() == pytest.approx(10 * 2)
    assert clock.Ratio("", ours, rivals, "bytes").value() == pytest.approx(10 * 2 / 2)
    assert clock.Ratio("", ours, rivals, "time").value() == pytest.approx(1 / 10)
    assert report.value(values) == "20   (numpy)"
    assert report.times(theirs, [ours, theirs]) == pytest.approx((800 / 2) / (400 / 10))
    assert report.times(ours, [ours, theirs]) is None

    ours.limit_rates = [1600.0, 400.0, 400.0]  # 1600, 800 and 400 bytes a second are 1, 2 and 1 of them
    assert clock.Ratio("", ours).value() == ours.of_limit() == 1.0

    # A loss is printed as one, and what is missing is said to be.
    assert report.value(clock.Ratio("", theirs, [ours])) == "0.05"
    assert report.value(clock.Ratio("", ours, [broken])) == "not measured"
    assert report.value(clock.Ratio("", broken, [ours])) == "not measured"


def test_a_row_that_fails_in_the_middle_runs_no_more_and_the_others_go_on() -> None:
    left = [0.0] * 4
    frail = clock.Row("numpy", "k", "frail", "left.pop()", lambda _: ({"left": left}, 1), parts=1)
    sound = clock.Row("fastinit", "k", "sound", "pass", lambda _: ({}, 1), parts=1)
    limit = clock.Row("limit", "k", "limit", "pass", lambda _: ({}, 1), parts=1)
    steps: list[str] = []
    table = clock.Table("name", "", limit, [frail, sound])
    clock.measure(table, clock.Effort(rounds=5, longest=1.0, shortest=0.0), steps.append)
    assert frail.error == "IndexError: pop from empty list"
    assert not frail.measured
    assert len(sound.seconds) == len(sound.limit_rates) == 5
    assert sound.measured
    assert steps.count("k: sound") == 7
    assert table.steps(clock.Effort(5, 1.0, 0.0)) == 14
    assert all(row.bind is clock.unbound for row in (frail, sound, limit))  # their arrays are let go of


def test_a_slow_row_runs_on_a_part_and_a_fast_one_many_times() -> None:
    bound: list[int] = []

    def bind(k: int) -> tuple[clock.Names, int]:
        bound.append(k)
        return {"sleep": __import__("time").sleep, "seconds": 0.32 / k}, 64 // k

    slow = clock.Row("numpy", "k", "slow", "sleep(seconds)", bind)
    clock.fitted(slow, clock.Effort(1, longest=0.1, shortest=0.0))
    assert bound[0] == 64
    assert 1 < bound[-1] <= 64  # never the whole, which takes 0.32 s
    assert slow.n == 64 // bound[-1]
    assert slow.number == 1
    fast = clock.Row("numpy", "k", "fast", "pass", lambda _: ({}, 1), parts=1)
    clock.fitted(fast, clock.Effort(1, longest=0.1, shortest=1e-3))
    assert fast.number > 10


def test_the_networks_have_their_published_sizes() -> None:
    assert models.elements(models.gpt2()) == 124_439_808
    assert models.elements(models.llama()) == 8_030_261_248
    assert len(models.llama()) == 291


def test_sizes_of_the_sweep() -> None:
    assert sweep.sizes(1) == [1]
    assert sweep.sizes(12) == [1, 2, 4, 8, 12]
    assert sweep.sizes(2**31)[-2:] == [2**30, 2**31]


def test_list_runs_nothing() -> None:
    done = bench(PACKAGE, "--list")
    assert done.returncode == 0
    assert tuple(done.stdout.split()) == QUESTIONS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "1,0"], "must be an int >= 1; got '0'"),
        (["--mib", "-1"], "must be an int >= 1; got '-1'"),
        (["--largest", "2^x"], "must be an int >= 1; got 'x'"),
        (["--only", "normal,nothing"], "must be of cold, constants"),
        (["--json", "no/such/directory/file"], "no such directory"),
        (["--plots", "no/such/directory"], "no such directory"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(arguments: list[str], message: str) -> None:
    done = bench(PACKAGE, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_numbers_are_printed_without_exponents() -> None:
    assert [report.number(x) for x in (0.00123, 0.1, 12.34, 999.6, 1234.5, None)] == [
        "0.00123",
        "0.1",
        "12.3",
        "1000",
        "1234",
        "",
    ]
