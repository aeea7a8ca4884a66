"""tests/test_abuse.py's test_any_call, guided by the coverage of python/fastinit:

python -m pip install atheris && python tests/fuzz/fuzz_api.py -runs=10000
"""

from __future__ import annotations

import pathlib
import sys

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

with atheris.instrument_imports(include=["fastinit"]):
    import fastinit  # noqa: F401

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from test_abuse import test_any_call

if __name__ == "__main__":
    atheris.Setup(sys.argv, test_any_call.hypothesis.fuzz_one_input)  # type: ignore[attr-defined]
    atheris.Fuzz()
