"""Promise: ``python -m fastinit bits`` writes the words of streams in the order it says, to pipes and files."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import numpy as np
import pytest

import fastinit
from fastinit import _arguments
from fastinit.__main__ import main
from fastinit._tools import bits

LAST = 2**64 - 1


def words(n_blocks: int, seed: int, stream: int | str, rng: Any = "ars") -> bytes:
    return fastinit.random_bits(
        np.empty(4 * n_blocks, np.uint32), seed=seed, stream=stream, bit_generator=rng
    ).tobytes()


def written(capfdbinary: pytest.CaptureFixture[bytes], *arguments: str) -> bytes:
    assert main(["bits", *arguments]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    return out


@pytest.mark.parametrize("n_bytes", [0, 1, 16, 1000, bits.PIECE_BYTES, 2 * bits.PIECE_BYTES + 7])
def test_one_stream(capfdbinary: pytest.CaptureFixture[bytes], n_bytes: int) -> None:
    out = written(capfdbinary, "--bytes", str(n_bytes))
    assert len(out) == n_bytes
    assert out == words(n_bytes // 16 + 1, 0, 0)[:n_bytes]


def test_its_options(capfdbinary: pytest.CaptureFixture[bytes], rng: str) -> None:
    at = ["--bit-generator", rng, "--seed", str(LAST), "--bytes", "4000"]
    assert written(capfdbinary, *at, "--stream", str(LAST)) == words(250, LAST, LAST, rng)
    assert written(capfdbinary, *at, "--stream", "layer.0.weight") == words(250, LAST, "layer.0.weight", rng)


@pytest.mark.parametrize("n", [2, 3, 64, 1000])
def test_blocks_of_neighbouring_streams_in_turn(capfdbinary: pytest.CaptureFixture[bytes], rng: str, n: int) -> None:
    n_blocks = 3 * bits.PIECE_BYTES // 16 // n + 5  # of each stream: more than one piece
    at = ["--bit-generator", rng, "--stream", "7", "--interleave", str(n)]
    out = written(capfdbinary, *at, "--bytes", str(16 * n * n_blocks))
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
        (["--seed", "-1"], "seed must be an int from 0 to 2**64 - 1, got -1"),
        (["--seed", "one"], "argument --seed: invalid int value: 'one'"),
        (["--stream", "-1"], "stream must be an int from 0 to 2**64 - 1, got -1"),
        (["--stream", str(2**64)], f"stream must be an int from 0 to 2**64 - 1, got {2**64}"),
        (["--stream", "\udc80"], "stream must be a str that can be encoded in UTF-8, or an int, got '\\udc80'"),
        (["--interleave", "0"], "--interleave must be from 1 to 65536, got 0"),
        (["--interleave", "65537"], "--interleave must be from 1 to 65536, got 65537"),
        (
            ["--interleave", "3", "--stream", str(LAST - 1)],
            f"--interleave 3 needs the streams up to {LAST + 1}, but 2**64 - 1 is the last",
        ),
        (["--bytes", "-1"], "--bytes must be at least 0, got -1"),
        (["--bit-generator", "mt19937"], "argument --bit-generator: invalid choice: 'mt19937'"),
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


def test_only_to_a_pipe_or_a_file(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    controller, terminal = os.openpty()
    with io.FileIO(controller), open(terminal, "w") as out:
        for stdout, message in ((out, "is a terminal"), (None, "is closed")):
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stdout", stdout)
                with pytest.raises(SystemExit, match="2"):
                    main(["bits"])
            assert f"standard output {message}: send the words to a pipe or a file" in capfd.readouterr().err
