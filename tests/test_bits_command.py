"""Promise: ``python -m fastinit bits`` writes the streams' words in the order it says, and ends as a filter should."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastinit
from fastinit import _arguments
from fastinit.__main__ import main
from fastinit._tools import bits as _bits

LAST = 2**64 - 1

# A shell starts background jobs, and what they start, with Ctrl-C ignored.
START = """
import signal, sys
from fastinit.__main__ import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(["bits", *sys.argv[1:]]))
"""


def words(n_blocks: int, seed: int, stream: int | str, rng: Any = "ars") -> bytes:
    return fastinit.random_bits(
        np.empty(4 * n_blocks, np.uint32), seed=seed, stream=stream, bit_generator=rng
    ).tobytes()


def written(capfdbinary: pytest.CaptureFixture[bytes], *arguments: str) -> bytes:
    assert main(["bits", *arguments]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    return out


@pytest.mark.parametrize("n_bytes", [0, 1, 16, 1000, _bits.PIECE_BYTES, 2 * _bits.PIECE_BYTES + 7])
def test_one_stream(capfdbinary: pytest.CaptureFixture[bytes], n_bytes: int) -> None:
    out = written(capfdbinary, "--bytes", str(n_bytes))
    assert len(out) == n_bytes
    assert out == words(n_bytes // 16 + 1, 0, 0)[:n_bytes]


def test_its_options(capfdbinary: pytest.CaptureFixture[bytes], rng: str) -> None:
    at = ["--rng", rng, "--seed", str(LAST), "--bytes", "4000"]
    assert written(capfdbinary, *at, "--stream", str(LAST)) == words(250, LAST, LAST, rng)
    assert written(capfdbinary, *at, "--stream", "layer.0.weight") == words(250, LAST, "layer.0.weight", rng)


@pytest.mark.parametrize("n", [2, 3, 64, 1000])
def test_blocks_of_neighbouring_streams_in_turn(capfdbinary: pytest.CaptureFixture[bytes], rng: str, n: int) -> None:
    n_blocks = 3 * _bits.PIECE_BYTES // 16 // n + 5  # of each stream: more than one piece
    out = written(
        capfdbinary, *["--rng", rng, "--stream", "7", "--interleave", str(n), "--bytes", str(16 * n * n_blocks)]
    )
    blocks = np.frombuffer(out, np.uint32).reshape(n_blocks, n, 4)
    for i in range(n):
        assert blocks[:, i].tobytes() == words(n_blocks, 0, 7 + i, rng)


def test_streams_after_a_name(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    number = _arguments.stream_number("a")
    out = written(capfdbinary, "--stream", "a", "--interleave", "2", "--bytes", "32")
    assert out == words(1, 0, number) + words(1, 0, number + 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "-1"], "seed must be an integer from 0 to 2**64 - 1, got -1"),
        (["--seed", "one"], "argument --seed: invalid int value: 'one'"),
        (["--stream", "-1"], "stream must be an integer from 0 to 2**64 - 1, got -1"),
        (["--stream", str(2**64)], f"stream must be an integer from 0 to 2**64 - 1, got {2**64}"),
        (["--stream", "\udc80"], "stream must be a str that can be encoded in UTF-8, or an int, got '\\udc80'"),
        (["--interleave", "0"], "--interleave must be from 1 to 65536, got 0"),
        (["--interleave", "65537"], "--interleave must be from 1 to 65536, got 65537"),
        (
            ["--interleave", "3", "--stream", str(LAST - 1)],
            f"--interleave 3 needs the streams up to {LAST + 1}, but 2**64 - 1 is the last",
        ),
        (["--bytes", "-1"], "--bytes must be at least 0, got -1"),
        (["--rng", "mt19937"], "argument --rng: invalid choice: 'mt19937'"),
    ],
)
def test_errors(capfdbinary: pytest.CaptureFixture[bytes], arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bits", *arguments])
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert f"python -m fastinit bits: error: {message}" in err.decode()


def test_the_last_streams_are_allowed(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    out = written(capfdbinary, "--stream", str(LAST - 1), "--interleave", "2", "--bytes", "32")
    assert out == words(1, 0, LAST - 1) + words(1, 0, LAST)


def test_not_to_a_terminal(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    controller, terminal = os.openpty()
    monkeypatch.setattr(_bits, "STDOUT", terminal)
    try:
        with pytest.raises(SystemExit, match="2"):
            main(["bits"])
    finally:
        os.close(controller)
        os.close(terminal)
    assert "standard output is a terminal: send the words into a pipe or a file" in capfd.readouterr().err


def test_the_reader_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(_bits, "STDOUT", writer)
    try:
        assert main(["bits"]) == 0
    finally:
        os.close(writer)


def ended(n_bytes: int, end: Callable[[subprocess.Popen[bytes]], None], *arguments: str) -> tuple[bytes, bytes, int]:
    """The first bytes of a process without end, its errors and its status after it was ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", START, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        try:
            read = process.stdout.read(n_bytes)
            end(process)
            status = process.wait(60)
        finally:
            process.kill()
            process.wait()
        return read, process.stderr.read(), status


def test_without_end_until_the_reader_goes_away() -> None:
    def close(process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        process.stdout.close()

    read, errors, status = ended(3 << 20, close, "--interleave", "2")
    assert np.frombuffer(read, np.uint32).reshape(-1, 2, 4)[:, 1].tobytes() == words(3 << 15, 0, 1)
    assert (errors, status) == (b"", 0)


def test_control_c(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(16, lambda process: process.send_signal(signal.SIGINT)) == (words(1, 0, 0), b"", 130)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_bits, "write", interrupted)
    reader, writer = os.pipe()
    monkeypatch.setattr(_bits, "STDOUT", writer)
    assert main(["bits"]) == 130
    os.close(reader)
    os.close(writer)


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(_bits, "STDOUT", full)
    try:
        assert main(["bits"]) == 1
    finally:
        os.close(full)
    assert capfd.readouterr().err == "python -m fastinit bits: error: standard output: No space left on device\n"
