"""PyTorch's own tests of torch.nn.init, on torch's functions and on those of fastinit.torch.init in their place.

    python tests/pytorch/torchs_own_tests.py PYTORCH/test/nn/test_init.py

The file is that of a PyTorch checkout of the installed version. Prints how many tests ran, passed, failed and were
skipped in both cases, and how many calls fastinit answered itself; exits with 1 if a test fails with fastinit that
passes without.
Needs scipy and expecttest, for torch's tests.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import types
import unittest
from typing import Any
from unittest import mock

# Before torch's test utilities come: the slow tests too.
os.environ.setdefault("PYTORCH_TEST_WITH_SLOW", "1")

import torch

import fastinit.torch.init as ours
from fastinit.torch import _tensor


def run(file: str, functions: types.ModuleType, label: str) -> set[str]:
    """Runs the file's tests on these functions, prints the counts, returns the tests that did not pass."""
    written = 0

    def write(*arguments: Any) -> torch.Tensor:
        nonlocal written
        written += 1
        return _tensor.write(*arguments)

    spec = importlib.util.spec_from_file_location("test_init", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["test_init"] = module  # torch's test case looks itself up
    with (
        mock.patch.multiple(torch.nn.init, **{name: getattr(functions, name) for name in ours.__all__}),
        mock.patch("fastinit.torch.init.write", write),
    ):
        spec.loader.exec_module(module)
        tests = unittest.defaultTestLoader.loadTestsFromModule(module)
        result = unittest.TextTestRunner(verbosity=0).run(tests)
    bad = [*result.failures, *result.errors]
    passed = result.testsRun - len(bad) - len(result.skipped)
    print(
        f"{label}: {result.testsRun} tests, {passed} passed, {len(bad)} failed, {len(result.skipped)} skipped; "
        f"{written} calls answered by fastinit",
        flush=True,
    )
    return {test.id() for test, _ in bad}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE")
    file = parser.parse_args().file
    before = run(file, torch.nn.init, f"torch {torch.__version__}")
    after = run(file, ours, "fastinit.torch.init")
    return int(bool(after - before))


if __name__ == "__main__":
    sys.exit(main())
