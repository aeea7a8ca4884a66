"""What every test may use: the targets that run here, the element types, how to call an initialiser by its name."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import pathlib
import stat
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import fastinit
from fastinit import _core


def installed(name: str) -> bool:
    """Whether there is such a package."""
    return importlib.util.find_spec(name) is not None


# Keras takes one backend for the life of the process: here one that is installed, unless the caller chose.
for _backend in ("torch", "jax", "tensorflow"):
    if installed(_backend):
        os.environ.setdefault("KERAS_BACKEND", _backend)


_declared: list[Any] = []  # operators last as long as what declared them


def library(name: str) -> Any:
    """A module of transformers, timm or torchvision; the test is skipped where it is not installed.

    PyPI's torchvision for Linux is built for GPUs. Beside a torch for CPUs its operators do not load, and its import
    stops at those that it takes for granted. To declare them is enough for its models, which timm and transformers
    import.
    """
    pytest.importorskip("torch")
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, at import
        with contextlib.suppress(ImportError, RuntimeError):
            importlib.import_module("torchvision")
        if not hasattr(torch.ops.torchvision, "nms"):
            _declared.append(torch.library.Library("torchvision", "FRAGMENT"))  # type: ignore[no-untyped-call]
            for operator in ("nms", "qnms"):
                _declared[-1].define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return pytest.importorskip(name)


TARGETS: list[str] = _core.config()["targets_found"]
DTYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}

# Sanitizers keep memory of their own, which no limit leaves room for; TSan hands signals on late, and sees a race where
# a test reads `out` while it is filled, which is one. (.ci/run sets the variable.)
not_sanitized = pytest.mark.skipif("FASTINIT_SANITIZED" in os.environ, reason="not with a sanitizer")

# Control groups, where this process may make some: of versions 1 and 2.
CGROUPS = {
    "cpu.cfs_quota_us": pathlib.Path("/sys/fs/cgroup/cpu"),
    "memory.limit_in_bytes": pathlib.Path("/sys/fs/cgroup/memory"),
    "cpu.max": pathlib.Path("/sys/fs/cgroup"),
    "memory.max": pathlib.Path("/sys/fs/cgroup"),
}


@contextlib.contextmanager
def control_group(*limits: tuple[str, str]) -> Iterator[pathlib.Path]:
    """The cgroup.procs of a new control group with the first of these limits that the machine has."""
    for file, value in limits:
        group = CGROUPS[file] / f"fastinit-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            with (group / file).open("r+") as limit:  # which a mere directory would not have
                limit.write(value)
        except OSError:  # no such file: another version, or a controller that is not handed down
            group.rmdir()
            continue
        try:
            yield group / "cgroup.procs"
        finally:
            group.rmdir()
        return
    pytest.skip("cannot make control groups")


# The initialisers that take fans.
NAMED = [
    "xavier_uniform",
    "xavier_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "variance_scaling",
]


def in_new_interpreter(code: str, **environment: str) -> str:
    """What it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def made_by(module: Any, monkeypatch: pytest.MonkeyPatch) -> list[NDArray[Any]]:
    """The arrays that a module makes from now on by its ``empty``."""
    arrays: list[NDArray[Any]] = []

    def empty(*arguments: Any) -> NDArray[Any]:
        arrays.append(fastinit.empty(*arguments))
        return arrays[-1]

    monkeypatch.setattr(module, "empty", empty)
    return arrays


def call(name: str, out: Any, owner: Any = fastinit, **arguments: Any) -> Any:
    """The function, or the method of a generator, with what it needs, if the arguments do not say otherwise."""
    if name in NAMED and not {"fan_in", "fan_out", "layout", "in_axis", "out_axis", "batch_axis"} & set(arguments):
        arguments["fan_in"] = 30
        if name.startswith("xavier"):
            arguments["fan_out"] = 50
    if name == "constant":
        arguments.setdefault("value", 0.5)
    if name == "sparse":
        arguments.setdefault("sparsity", 0.5)
    if name == "dirac":
        arguments.setdefault("layout", "torch")
    if name == "integers":
        arguments = {"low": 3, "high": 100, **arguments}
    return getattr(owner, name)(out, **arguments)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each target in turn, forced for the test."""
    _core.set_target(request.param)
    yield request.param
    _core.set_target(None)


@pytest.fixture
def many_threads() -> Iterator[None]:
    """Lets threads start for a thousand elements each, so that arrays of any size are split."""
    _core.set_grain(1000)
    yield
    _core.set_grain(0)


@pytest.fixture(params=list(DTYPES))
def dtype(request: pytest.FixtureRequest) -> np.dtype[Any]:
    return DTYPES[request.param]


@pytest.fixture(params=["ars", "philox"])
def rng(request: pytest.FixtureRequest) -> Any:
    return request.param


def writing_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the system from here on to write files: each call's name, as it comes."""
    calls: list[str] = []

    def noted(name: str, function: Any) -> Any:
        def run(*arguments: Any) -> Any:
            is_folder = name == "fsync" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
            calls.append("fsync of the folder" if is_folder else name)
            return function(*arguments)

        return run

    for name in ("pwrite", "fsync", "rename"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    return calls
