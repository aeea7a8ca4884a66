"""Keras's own tests of its initialisers, on Keras's classes and on those of fastinit.keras in their place.

    KERAS_BACKEND=jax python tests/keras3/keras_own_tests.py KERAS

KERAS is a checkout of Keras at the installed version. Prints how many tests ran, passed, failed and were skipped in
both cases, and how many tensors fastinit made; exits with 1 if a test fails with fastinit that passes without.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import pathlib
import sys
import unittest
from typing import Any
from unittest import mock

import keras
from keras.src import initializers

import fastinit.keras as ours
from fastinit.keras import _tensors

FILES = ("random_initializers_test", "constant_initializers_test")
CLASSES = {name: getattr(ours, name) for name in ours.__all__ if name[0].isupper()}
TABLE = {string: CLASSES.get(theirs.__name__, theirs) for string, theirs in initializers.ALL_OBJECTS_DICT.items()}


def run(folder: pathlib.Path, label: str, in_place: bool) -> set[str]:
    """Runs the tests, prints the counts, returns the tests that did not pass."""
    made = 0

    def filled(*arguments: Any) -> Any:
        nonlocal made
        made += 1
        return _tensors.filled(*arguments)

    tests = unittest.TestSuite()
    with contextlib.ExitStack() as stack:
        if in_place:
            stack.enter_context(mock.patch.multiple(initializers, **CLASSES))
            stack.enter_context(mock.patch.dict(initializers.ALL_OBJECTS_DICT, TABLE))
            stack.enter_context(mock.patch("fastinit.keras._initializers.filled", filled))
        for name in FILES:
            spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            tests.addTests(unittest.defaultTestLoader.loadTestsFromModule(module))
        result = unittest.TextTestRunner(verbosity=0).run(tests)
    bad = [*result.failures, *result.errors]
    passed = result.testsRun - len(bad) - len(result.skipped)
    print(
        f"{label}: {result.testsRun} tests, {passed} passed, {len(bad)} failed, {len(result.skipped)} skipped; "
        f"{made} tensors made by fastinit",
        flush=True,
    )
    return {test.id() for test, _ in bad}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", metavar="KERAS", type=pathlib.Path)
    checkout = parser.parse_args().checkout
    sys.path.append(str(checkout))  # after the installed Keras: the tests import its conftest.py
    sys.modules.pop("conftest", None)
    folder = checkout / "keras" / "src" / "initializers"
    before = run(folder, f"keras {keras.__version__} on {keras.backend.backend()}", False)
    after = run(folder, "fastinit.keras", True)
    return int(bool(after - before))


if __name__ == "__main__":
    sys.exit(main())
