"""`python -m bench` runs, from the project's root, with and without the peers, and says what is missing or failed.

Very small arrays: nothing is learnt about speed here.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import adapters, calls, clock, models, moments, processes, questions, report, stopwatch, sweep

import fastinit
from conftest import installed
from fastinit import _core

ROOT = Path(__file__).resolve().parent.parent
TARGETS: list[str] = _core.config()["targets_found"]
CHOSEN: str = _core.config()["target"]
PACKAGE = ("-m", "bench")
# A machine with NumPy and nothing else that the bench can use: each of its processes runs this first.
ALONE = """
import importlib.metadata, sys
names = ("torch", "ml_dtypes", "jax", "tensorflow", "keras", "randomgen", "matplotlib", "tqdm")
names += ("transformers", "timm", "torchvision")
sys.modules.update(dict.fromkeys(names))
def files(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.files = files
"""
TINY = ("--quick", "--mib", "1", "--cold", "2", "--largest", "2^10", "--rounds", "2")
QUESTIONS = (
    *("cold", "constants", "uniform", "uniform16", "normal", "truncated", "normal64", "normal16", "targets", "philox"),
    *("strided", "small", "cache", "sweep", "models", "gpt2", "llama", "vit", "resnet"),
)
NEEDS = {"gpt2": "transformers", "llama": "transformers", "vit": "timm", "resnet": "timm"}


def bench(start: tuple[str, ...], *arguments: str, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run it, with modules from that directory before all others."""
    paths = [*([str(first)] if first else []), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, *start, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=600,
        start_new_session=True,  # so that a Ctrl-C for all of its processes does not come here
    )


def run(
    tmp_path: Path, start: tuple[str, ...], *arguments: str, code: int = 0, first: Path | None = None
) -> tuple[str, dict[str, Any]]:
    """What is printed, and the JSON file. Nothing comes from the peers: their noise is kept away."""
    file = tmp_path / "bench.json"
    done = bench(start, "--json", str(file), *arguments, first=first)
    assert done.returncode == code, done.stderr
    assert done.stderr == ""
    data: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return done.stdout, data


def modules(tmp_path: Path, **sources: str) -> Path:
    """A directory with modules of that source text."""
    directory = tmp_path / "modules"
    directory.mkdir()
    for name, source in sources.items():
        (directory / f"{name}.py").write_text(textwrap.dedent(source), "utf-8")
    return directory


def rows_of(data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [row for table in data["tables"] if table["name"] == name for row in table["rows"]]


def check(printed: str, data: dict[str, Any], threads: list[int]) -> None:
    assert list(dict.fromkeys(table["name"] for table in data["tables"])) == [
        name for name in QUESTIONS if name not in NEEDS or f"{NEEDS[name]} " in data["heading"]["other versions"]
    ]
    for name in ("command", "date", "cpu", "caches", "target", "versions", "threads", "buffer", "load before"):
        assert data["heading"][name] in printed
    assert data["heading"]["ended"] == "complete"
    for table in data["tables"]:
        ours = [row for row in table["rows"] if row["who"] == "fastinit"]
        assert ours or TARGETS == [CHOSEN]
        assert table["name"] in ("small", "cache") or {row["threads"] for row in ours} <= set(threads)
        if table["name"] != "models" and table["name"] not in NEEDS:
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
    alone = modules(tmp_path, sitecustomize=ALONE)
    start = ("-W", "error", *PACKAGE)
    printed, data = run(tmp_path, start, *TINY, "--threads", "1,1", "--markdown", first=alone)
    check(printed, data, [1])
    assert {row["who"] for table in data["tables"] for row in table["rows"]} == {"limit", "fastinit", "numpy"}
    assert data["heading"]["not here"] == (
        "randomgen (not installed), torch (not installed), mkl (not installed), jax (not installed), tensorflow (not "
        "installed), keras (not installed), ml_dtypes, matplotlib, transformers, timm, torchvision"
    ).replace(" (not installed)", "")
    cached = next(table for table in data["tables"] if table["name"] == "cache")
    assert cached["ratios"][0]["value"] is None
    assert "the fastest vsRngGaussian, 1 thread, values a second: not measured" in printed


def failures(data: dict[str, Any], table: str) -> dict[str, str]:
    return {row["name"]: row["error"] for row in rows_of(data, table) if row["error"]}


def test_a_peer_that_fails_is_named_with_its_error(tmp_path: Path) -> None:
    """At its import, when its rows are made, and when they run."""
    fakes = modules(
        tmp_path,
        jax="raise RuntimeError('no such device')",
        keras="import no_such_module",
        randomgen="__version__ = '9'\ndef AESCounter(seed): raise TypeError('no seeds')",
        torch="""
            __version__ = "8"
            class nn:
                init = None
            def get_num_threads():
                return 7
            class Tensor:
                def normal_(self):
                    raise ValueError("out of luck\\nand more")
            def from_numpy(w):
                return Tensor()
        """,
    )
    printed, data = run(tmp_path, PACKAGE, *TINY, "--only", "normal,small", first=fakes)
    assert "jax (failed: RuntimeError: no such device)" in data["heading"]["not here"]
    # Another module than its own is missing: it is installed, and broken.
    assert "keras (failed: ModuleNotFoundError: No module named 'no_such_module')" in data["heading"]["not here"]
    assert "torch 8 (7 threads)" in data["heading"]["versions"]
    both = {
        "randomgen": "TypeError: no seeds",
        "torch normal_": "ValueError: out of luck",
        "torch kaiming_normal_": "AttributeError: 'NoneType' object has no attribute 'kaiming_normal_'",
    }
    loads = {
        "jax": "RuntimeError: no such device",
        "keras": "ModuleNotFoundError: No module named 'no_such_module'",
    }
    assert failures(data, "small") == both
    assert failures(data, "normal") == both | loads
    for row, error in (both | loads).items():
        assert any(line.split(" failed: ") == [row, error] for line in _squeezed(printed))
    assert "/ torch kaiming_normal_, values a second: not measured" in printed


def _squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


TORCH = """
    import os, signal, sys
    __version__ = "8"
    class Tensor:
        def __init__(self, n):
            self.n = n
        def normal_(self):
            {normal}
    class nn:
        class init:
            @staticmethod
            def kaiming_normal_(tensor):
                {kaiming}
    def get_num_threads():
        return 1
    def from_numpy(w):
        return Tensor(w.size)
"""


def test_a_peer_that_crashes_or_hangs_is_a_row_and_the_others_are_measured(tmp_path: Path) -> None:
    fakes = modules(
        tmp_path,
        randomgen="""
            import os
            __version__ = "9"
            def AESCounter(seed):
                os.abort()
        """,
        torch=TORCH.format(
            normal="print('noise'); print('more of it', file=sys.stderr)",
            kaiming="print('the last words', file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
        ),
        jax="""
            import time
            __version__ = "7"
            class Array:
                def __init__(self, key):
                    self.key = key
                def block_until_ready(self):
                    if self.key == "rbg":
                        time.sleep(1000)
            class random:
                @staticmethod
                def key(seed, impl):
                    return impl
                normal = None
            def jit(function):
                return Array
        """,
        tensorflow="import sys; print('warming up'); sys.stderr.write('no device\\n\\n'); sys.exit(3)",
        keras="import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    )
    printed, data = run(tmp_path, PACKAGE, *TINY, "--timeout", "15", "--only", "normal,small", first=fakes)
    assert data["heading"]["ended"] == "complete"
    crashed = {
        "randomgen": f'died of SIGABRT: File "{fakes / "randomgen.py"}", line 5 in AESCounter',
        "torch kaiming_normal_": f'died of SIGSEGV: File "{fakes / "torch.py"}", line 13 in kaiming_normal_',
    }
    rest = {
        "jax.random.normal, rbg, jit": "no answer in 15 s",
        "tensorflow": "exited with code 3: no device",
        "keras": "died of SIGKILL",
    }
    assert failures(data, "small") == crashed
    assert failures(data, "normal") == crashed | rest
    for failed, error in (crashed | rest).items():
        assert any(line.split(" failed: ") == [failed, error] for line in _squeezed(printed))
    for name in ("normal", "small"):
        rows = {row["name"]: row for row in rows_of(data, name)}
        assert {"torch normal_", "numpy PCG64 standard_normal(out=)"} < rows.keys() - crashed.keys()
        for row in rows.values():
            assert row["error"] or len(row["seconds"]) == len(row["limit_rates"]) == 2
        assert rows["torch kaiming_normal_"]["log"].startswith("the last words\nFatal Python error: Segmentation fault")
    large = {row["name"]: row for row in rows_of(data, "normal")}
    assert len(large["jax.random.normal, threefry2x32, jit"]["seconds"]) == 2
    assert large["tensorflow"]["log"] == "warming up\nno device"
    assert "noise" not in printed
    assert "warming up" not in printed


def test_the_last_words_of_a_process() -> None:
    dump = """
        half a line
        Fatal Python error: Segmentation fault

        Thread 0x1 (most recent call first):
          File "threading.py", line 359 in wait

        Current thread 0x2 (most recent call first):
          File "<frozen importlib._bootstrap_external>", line 1176 in create_module
          File "libtriton.py", line 7 in <module>
          File "timeit.py", line 180 in timeit

        Extension modules: numpy (total: 1)
    """
    assert processes.last_words(dump) == 'File "libtriton.py", line 7 in <module>'
    assert processes.last_words("warming up\nno device\n\n") == "no device"
    assert processes.last_words("\n") == ""


HEARS_CTRL_C = (  # a shell's background jobs start with it ignored
    "-c",
    "import bench, signal; signal.signal(signal.SIGINT, signal.default_int_handler); raise SystemExit(bench.main())",
)


def test_ctrl_c_prints_what_has_been_measured(tmp_path: Path) -> None:
    """It reaches all processes at once, as from a terminal, and again and again, as from somebody in a hurry."""
    torch = TORCH.format(
        normal="[os.killpg(os.getpgrp(), signal.SIGINT) for _ in range(9999) if self.n == 80]", kaiming="pass"
    )
    fakes = modules(tmp_path, sitecustomize=ALONE.replace('"torch", ', ""), torch=torch)
    printed, data = run(tmp_path, HEARS_CTRL_C, *TINY, "--only", "normal,small,cache", code=130, first=fakes)
    assert [table["name"] for table in data["tables"]] == ["normal", "small"]
    assert all(len(row["seconds"]) == 2 for row in rows_of(data, "normal"))
    assert {row["error"] for row in rows_of(data, "small")} == {""}
    assert data["heading"]["ended"] == "by Ctrl-C, in small"
    assert "fastinit.he_normal(4096)" in printed
    assert "by Ctrl-C" in printed


def test_tables_that_were_measured_are_in_the_file_if_the_bench_is_killed(tmp_path: Path) -> None:
    torch = TORCH.format(
        normal=f"self.n == 80 and (open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())), "
        "os.kill(os.getppid(), signal.SIGKILL))",
        kaiming="pass",
    )
    fakes = modules(tmp_path, sitecustomize=ALONE.replace('"torch", ', ""), torch=torch)
    _, data = run(tmp_path, PACKAGE, *TINY, "--only", "normal,small", code=-signal.SIGKILL, first=fakes)
    assert data["heading"]["ended"] == "not yet"
    assert [table["name"] for table in data["tables"]] == ["normal"]
    assert all(len(row["seconds"]) == 2 for row in rows_of(data, "normal"))
    pid = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:  # it does not outlive the bench
            return
        time.sleep(0.1)
    raise AssertionError(f"{pid} still runs")


def test_tables_of_several_processes_become_one() -> None:
    def table(*rows: clock.Row) -> clock.Table:
        ratios = [
            clock.Ratio("over", rows[0], [row for row in rows if row.who == "jax"]),
            clock.Ratio("limit", rows[0]),
        ]
        return clock.Table("name", "question", None, list(rows), ratios)

    ours = [made_up("fastinit", [1.0], 1, kind=kind) for kind in ("a", "b")]
    theirs = [made_up("numpy", [1.0], 1, kind="a")]
    jax = [made_up("jax", [1.0], 1, kind=kind) for kind in ("a", "c", "b")]
    whole = processes.together([table(*ours), table(*theirs), table(*jax)])
    assert [(row.who, row.kind) for row in whole.rows] == [
        *(("fastinit", "a"), ("numpy", "a"), ("jax", "a"), ("fastinit", "b"), ("jax", "b"), ("jax", "c"))
    ]
    over, limit = whole.ratios
    assert over.top is limit.top is ours[0]
    assert over.bottom == jax
    assert limit.bottom is None


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
    assert slow.fit.number == 1
    fast = clock.Row("numpy", "k", "fast", "pass", lambda _: ({}, 1), parts=1)
    clock.fitted(fast, clock.Effort(1, longest=0.1, shortest=1e-3))
    assert fast.fit.number > 10


def test_the_networks_have_their_published_sizes() -> None:
    assert models.elements(models.gpt2()) == 124_439_808
    assert models.elements(models.llama()) == 8_030_261_248
    assert len(models.llama()) == 291


def test_a_part_of_a_row_has_the_time_that_the_row_says() -> None:
    """It does not run by itself, and fails with the row."""
    left = [3.0, 2.0, 1.0, 0.5, 0.25]
    row = clock.Row("torch", "whole", "row", "left.pop()", lambda _: ({"left": left}, 1), parts=1, threads=3)
    part = row.inside("part", "in it", lambda: left[-1])
    table = clock.Table("name", "", None, [row, part], note=lambda: [f"{len(left)} left"])
    effort = clock.Effort(rounds=1, longest=1.0, shortest=0.0)
    clock.measure(table, effort, lambda _: None)
    assert (part.who, part.kind, part.threads, part.seconds) == ("torch", "part", 3, [3.0])
    assert table.steps(effort) == 3
    assert table.notes == ["1 left"]
    out = io.StringIO()
    report.show([table], out)
    assert "\nnote: 1 left\n" in out.getvalue()

    failing = clock.Row("torch", "whole", "row", "1 / 0", lambda _: ({}, 1), parts=1)
    part = failing.inside("part", "in it", lambda: 1.0)
    clock.measure(clock.Table("name", "", None, [failing, part]), effort, lambda _: None)
    assert failing.error == part.error == "ZeroDivisionError: division by zero"
    assert part.seconds == []


@pytest.mark.parametrize(("longest", "warming_up"), [(0.01, 1), (1.0, 3)])
def test_a_slow_row_that_cannot_be_cut_warms_up_once(longest: float, warming_up: int) -> None:
    calls: list[int] = []
    names = {"calls": calls, "sleep": __import__("time").sleep}
    row = clock.Row("torch", "kind", "row", "calls.append(1); sleep(0.02)", lambda _: (names, 1), parts=1)
    clock.measure(clock.Table("name", "", None, [row]), clock.Effort(2, longest, shortest=0.0), lambda _: None)
    assert len(calls) == warming_up + len(row.seconds) == warming_up + 2


@pytest.mark.parametrize(("name", "needs"), NEEDS.items())
def test_real_models(tmp_path: Path, name: str, needs: str) -> None:
    """With and without fastinit the same initialisers draw the same number of values of the same law, under a clock."""
    if not (installed("torch") and installed(needs)):
        pytest.skip(f"needs torch and {needs}")
    printed, data = run(tmp_path, PACKAGE, "--quick", "--rounds", "2", "--threads", "2", "--only", name)
    (table,) = data["tables"]
    assert table["name"] == name
    whole, inside, memory = ([row for row in table["rows"] if row["kind"] == kind] for kind in adapters.KINDS)
    assert [row["who"] for row in whole] == [row["who"] for row in inside] == ["torch", "fastinit", "fastinit"]
    assert len(memory) == 2
    for row in table["rows"]:
        assert row["error"] == ""
        assert len(row["seconds"]) == 2
        assert row["threads"] == (2 if row["who"] == "fastinit" else None)
    for outer, inner in zip(whole, inside, strict=True):
        assert outer["n"] == memory[0]["n"] == inside[2]["n"] > 200_000
        assert all(0 < part < all_of_it for part, all_of_it in zip(inner["seconds"], outer["seconds"], strict=True))
    assert inside[0]["n"] == inside[1]["n"] > memory[0]["n"]  # constructors draw what the models draw anew
    assert len(table["ratios"]) == 4
    assert all(ratio["value"] > 0 for ratio in table["ratios"])
    notes = "\n".join(table["notes"])
    assert f"note: {table['notes'][0]}\n" in printed
    calls = dict(re.findall(r"^(torch|accelerate): (\d+ calls of initialisers. \d+ of them draw: [\d,]+)", notes, re.M))
    assert calls["torch"] == calls["accelerate"]
    draws, values = re.findall(r"(\d+) of them draw: ([\d,]+)", calls["torch"])[0]
    assert f"accelerate: fastinit did {draws} of {draws} random calls, {values} values" in notes
    compared = re.findall(r"(\d+) parameters .* is (\S+) for a mean .*, (\S+) for a std .* exceeds (\S+) once", notes)
    assert len(compared) == 2
    for drawn, mean, std, expected in compared:
        assert int(drawn) >= 10
        assert max(abs(float(mean)), abs(float(std))) < float(expected) + 1.0


def test_a_model_that_cannot_be_built_is_named_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def table() -> clock.Table:
        raise RuntimeError("no such model")

    monkeypatch.setattr("bench.peers.library", lambda name: name)
    monkeypatch.setattr(adapters, "installed", lambda name: "1.0" if name == "transformers" else "")
    assert list(adapters.tables_of("timm", "vit", table)) == []
    (failed,) = adapters.tables_of("transformers", "gpt2", table)
    assert [row.error for row in failed.rows] == ["RuntimeError: no such model"]
    monkeypatch.setattr("bench.peers.library", lambda _: None)
    assert list(adapters.tables_of("transformers", "gpt2", table)) == []


def test_moments_of_tensors() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    for values in (rng.normal(3.0, 0.02, (300, 401)), rng.random(70_001), rng.exponential(size=100)):
        found = moments.moments(torch.from_numpy(values.astype(np.float32)))
        centred = values - values.mean()
        assert found.n == values.size
        assert found.mean == pytest.approx(values.mean(), rel=1e-5)
        assert found.variance == pytest.approx(values.var(), rel=1e-4)
        assert found.kurtosis == pytest.approx((centred**4).mean() / values.var() ** 2, rel=1e-3)
    same = moments.moments(torch.full((70_001,), 0.1))
    assert (same.n, same.variance, same.kurtosis) == (70_001, 0.0, 1.0)
    assert same.mean == pytest.approx(0.1)


def test_z_scores_see_another_law_and_have_the_size_that_they_say() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)

    def of(values: Any) -> moments.Moments:
        return moments.moments(torch.from_numpy(np.float32(values)))

    # Of samples of one law they are standard normal: the variance of 400 of them is within 5 standard errors of 1.
    for draw in (rng.standard_normal, rng.random, rng.exponential):
        pairs = [moments.z_scores(of(draw(size=20_000)), of(draw(size=20_000))) for _ in range(200)]
        for scores in zip(*pairs, strict=True):
            assert abs(float(np.var(scores)) - 1) < 5 * (2 / len(scores)) ** 0.5
    one, two = rng.standard_normal((2, 20_000))
    assert moments.z_scores(of(one), of(1.05 * two))[1] < -5
    assert moments.z_scores(of(one + 0.07), of(two))[0] > 5
    constant, drawn = of(np.zeros(20_000)), of(one)
    assert moments.z_scores(constant, of(np.zeros(20_000))) == (0.0, 0.0)
    assert moments.z_scores(constant, of(np.ones(20_000)))[0] == np.inf
    assert moments.z_scores(constant, drawn) == (np.inf, np.inf)
    with pytest.raises(ValueError, match="samples of 20000 and 10 elements"):
        moments.z_scores(drawn, of(one[:10]))


def test_the_worst_parameter_is_named() -> None:
    def normal(mean: float, variance: float = 1.0) -> moments.Moments:
        return moments.Moments(20_000, mean, variance, 3.0)

    ones = moments.Moments(10, 1.0, 0.0, 1.0)
    theirs = {"a": normal(0), "b": normal(0), "c": ones}
    worst = moments.worst({"a": normal(-0.04), "b": normal(0, 1.1), "c": ones}, theirs)
    assert (worst.mean_of, worst.std_of, worst.compared, worst.constant) == ("a", "b", 2, 1)
    assert worst.mean == pytest.approx(-4.0)
    assert worst.std == pytest.approx(np.log(1.1) / 2 * 20_000**0.5)
    assert worst.expected == pytest.approx(3.02, abs=0.01)  # P(|z| > 3.02) is 0.0025: four of them
    wrong = moments.worst({"a": normal(0), "b": normal(0), "c": moments.Moments(10, 2.0, 0.0, 1.0)}, theirs)
    assert (wrong.mean, wrong.mean_of, wrong.constant) == (np.inf, "c", 0)
    assert moments.worst({"c": ones}, {"c": ones}).compared == 0
    with pytest.raises(ValueError, match="parameters differ: b, d"):
        moments.worst({"a": ones, "d": ones}, {"a": ones, "b": ones})


def test_the_stopwatch_sees_each_outermost_initialiser_and_goes_without_a_trace() -> None:
    torch = pytest.importorskip("torch")
    init = torch.nn.init
    before = {name: vars(init)[name] for name in stopwatch.initialisers(init)}
    assert {"normal_", "kaiming_uniform_", "trunc_normal_", "ones_"} <= before.keys()
    watch = stopwatch.Stopwatch()
    watch.count = True
    watch.start()
    try:
        assert all(vars(init)[name] is not function for name, function in before.items())
        torch.nn.Linear(30, 20)  # kaiming_uniform_, uniform_
        torch.nn.LayerNorm(10)  # ones_ and zeros_
        init.xavier_normal_(tensor=torch.empty(3, 4))
        with pytest.raises(RuntimeError):
            init.normal_(torch.empty(2, 2), std=-1.0)
    finally:
        watch.stop()
    reading = watch.reading
    assert (reading.calls, reading.random_calls, reading.values) == (6, 4, 30 * 20 + 20 + 3 * 4 + 2 * 2)
    assert 0 < reading.random_seconds < reading.seconds
    assert {name: vars(init)[name] for name in before} == before
    torch.nn.Linear(30, 20)
    assert reading.calls == 6


def test_the_stopwatch_takes_time_and_says_how_much() -> None:
    watch = stopwatch.Stopwatch()

    def inner() -> None:
        __import__("time").sleep(0.01)

    inner_timed = watch.wrapped(inner)

    def outer() -> None:
        inner_timed()
        inner_timed()

    watch.wrapped(outer)()
    assert 0.02 <= watch.reading.seconds < 0.5
    assert watch.reading.calls == 1  # the outer one
    assert 0 < stopwatch.overhead(calls=2000) < 1e-3


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


def test_calls_of_two_revisions_by_turns(tmp_path: Path) -> None:
    assert calls.sizes(300)[:32] == list(range(1, 33))
    assert calls.sizes(1 << 20)[-5:] == [1 << k for k in range(16, 21)]
    here = Path(fastinit.__file__).parents[1]
    before, after = calls.Revision(here), calls.Revision(here)
    rows = list(calls.by_turns(before, after, [10, 1000], rounds=5))
    before.end()
    after.end()
    assert [(row.fill, row.n) for row in rows] == [(fill, n) for fill, *_ in calls.FILLS for n in (10, 1000)]
    assert all(0.05 < row.ratio < 20 for row in rows)  # the same twice
    assert [row.numpy is not None for row in rows] == [row.fill == "normal float32" for row in rows]
    pytest.importorskip("matplotlib")
    calls.plot(rows, tmp_path / "calls.png")
    assert (tmp_path / "calls.png").read_bytes().startswith(b"\x89PNG")


def test_calls_say_why_a_source_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="pip install"):
        calls.install(tmp_path / "nothing", tmp_path / "there")
