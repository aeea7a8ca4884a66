"""oneMKL VSL, called in the `mkl` wheel's library by ctypes: float32, on one thread.

Numbers of generators and methods: mkl_vsl_defines.h.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..clock import Names
from ..rows import Array
from .call import Call

# Fastest first.
_GENERATORS = {"ARS5": 15 << 20, "SFMT19937": 13 << 20, "PHILOX4X32X10": 16 << 20}
_MORE_GENERATORS = {"MT19937": 8 << 20, "MCG59": 4 << 20}
_METHODS = {"ICDF": 2, "BOXMULLER2": 1, "BOXMULLER": 0}
_SEQUENTIAL = 1


def load() -> Any:
    try:
        files = importlib.metadata.files("mkl") or []
    except importlib.metadata.PackageNotFoundError:
        raise ModuleNotFoundError("mkl", name="mkl") from None
    paths = [str(file.locate()) for file in files if "mkl_rt" in file.name and file.suffix != ".lib"]
    if not paths:
        raise OSError("the mkl wheel has no mkl_rt library")
    mkl = ctypes.CDLL(paths[0])
    mkl.MKL_Set_Threading_Layer(_SEQUENTIAL)
    return mkl


def version(_: Any) -> str:
    return f"{importlib.metadata.version('mkl')} (1 thread)"


def _call(mkl: Any, function: str, method: str, number: int, generator: str, code: int) -> Call:
    stream = ctypes.c_void_p()
    status = mkl.vslNewStream(ctypes.byref(stream), code, ctypes.c_uint(1))
    if status:
        raise RuntimeError(f"vslNewStream({generator}): status {status}")
    run = getattr(mkl, function)
    run.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_float, ctypes.c_float]
    run.restype = ctypes.c_int

    def names(w: Array) -> Names:
        def check(got: int) -> None:
            if got:
                raise RuntimeError(f"{function}: status {got}")

        check(run(number, stream, w.size, w.ctypes.data, 0.0, 1.0))
        return {"run": run, "stream": stream, "n": w.size, "w": w, "address": w.ctypes.data}

    return Call(f"mkl {function} {method}, {generator}", f"run({number}, stream, n, address, 0.0, 1.0)", names, 1)


def gaussians(mkl: Any) -> Iterator[Call]:
    """Every method on every generator."""
    for generator, code in (_GENERATORS | _MORE_GENERATORS).items():
        for method, number in _METHODS.items():
            yield _call(mkl, "vsRngGaussian", method, number, generator, code)


def calls(mkl: Any, what: str, array: Array) -> Iterator[Call]:
    if array.dtype != np.float32 or not array.flags.c_contiguous or what not in ("uniform", "normal"):
        return
    for generator, code in _GENERATORS.items():
        if what == "normal":
            yield _call(mkl, "vsRngGaussian", "ICDF", _METHODS["ICDF"], generator, code)
        else:
            yield _call(mkl, "vsRngUniform", "STD", 0, generator, code)
