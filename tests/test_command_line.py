"""Promise: every command of ``python -m fastinit`` ends quietly when its reader has seen enough or Ctrl-C stops it, and
says so when it cannot write.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import numpy as np
import pytest

import fastinit
from fastinit.__main__ import main

COMMANDS: list[list[str]] = [["config"], ["demo", "--models", "resnet50"], ["bits"], ["--help"], []]
# A shell starts background jobs, and what they start, with Ctrl-C ignored.
RUN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from fastinit.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A process that runs these, and its output; killed if the test fails before it ends."""
    command = [sys.executable, "-c", RUN, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


def end(process: subprocess.Popen[bytes]) -> tuple[bytes, int]:
    """Its errors and its status."""
    assert process.stderr is not None
    return process.stderr.read(), process.wait(60)


# --- the reader goes away -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_reader_that_reads_nothing(arguments: list[str]) -> None:
    with started(*arguments) as (process, out):
        out.close()
        assert end(process) == (b"", 0)


def test_a_reader_of_the_first_lines() -> None:
    """As in ``python -m fastinit demo | head -3``, from a shell."""
    command = f'"{sys.executable}" -m fastinit demo --models resnet50 | head -3; echo "${{PIPESTATUS[@]}}"'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    *lines, status = done.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"fastinit {fastinit.__version__}: float32, seed 0")
    assert (status, done.stderr) == ("0 0", "")


def test_words_without_end_until_the_reader_goes_away() -> None:
    with started("bits", "--interleave", "2") as (process, out):
        read = out.read(3 << 20)
        out.close()
        assert end(process) == (b"", 0)
    words = fastinit.random_bits(np.empty(3 << 17, np.uint32), seed=0, stream=1)
    assert np.frombuffer(read, np.uint32).reshape(-1, 2, 4)[:, 1].tobytes() == words.tobytes()


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_what_is_left_in_the_buffer_goes_nowhere(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as out:  # whose end would raise if there were something to write to that pipe
        monkeypatch.setattr(sys, "stdout", out)
        assert main(arguments) == 0
        print("more", flush=True)


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------


def test_control_c() -> None:
    with started("bits") as (process, out):
        assert len(out.read(16)) == 16
        process.send_signal(signal.SIGINT)
        assert end(process) == (b"", 130)


def test_control_c_in_any_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fastinit, "show_config", interrupted)
    assert main(["config"]) == 130


# --- what cannot be written -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_disk(arguments: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(arguments) == 1
    assert capfd.readouterr().err == "python -m fastinit: error: standard output: No space left on device\n"


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file", "/sys/nothing"), BrokenPipeError()])
def test_another_error_is_none_of_standard_output(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise error

    monkeypatch.setattr(fastinit, "show_config", broken)
    with pytest.raises(type(error)) as caught:
        main(["config"])
    assert caught.value is error


def test_standard_output_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["config"]) == 0


# --- the rest -------------------------------------------------------------------------------------------------------


def test_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("NO_COLOR", "1")
    for arguments, words in (
        (["--help"], ["config", "demo", "bits"]),
        (["config", "--help"], ["Show version, stream format, compiler"]),
        (["demo", "--help"], ["--models", "--dtype", "--seed", "--threads", "--verbose", "--plot"]),
        (["bits", "--help"], ["--bit-generator", "--seed", "--stream", "--interleave", "--bytes"]),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        printed = capsys.readouterr().out
        assert all(word in printed for word in words)


@pytest.mark.parametrize("arguments", [[], ["config"]])
def test_config_is_the_default(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    fastinit.show_config()
    assert printed == capsys.readouterr().out != ""


def test_the_package_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fastinit", "config"])
    monkeypatch.delitem(sys.modules, "fastinit.__main__")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("fastinit", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("version")


def test_importing_fastinit_imports_no_command() -> None:
    code = "import sys, fastinit; print([name for name in sys.modules if name.startswith('fastinit._tools')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
