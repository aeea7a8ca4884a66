"""The demo: fill all parameters of GPT-2 small and ResNet-50 by their published recipes, check the moments, and compare
the speed with NumPy's on the same memory.
"""

from __future__ import annotations

import argparse
import math
import textwrap
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import fastinit
from fastinit.recipes import Initializer, Recipe, match, named

from .shapes import Shapes, gpt2, resnet50

__all__ = ["DTYPES", "NETWORKS", "Law", "Network", "add_arguments", "law", "main", "numpy_fill", "run"]

DTYPES = ("float32", "float64", "float16", "bfloat16")
LIMIT = 5.0  # standard errors; a normal quantity is beyond them once in 1.7 million times
WIDTH = 110  # columns of a line at most


class Network(NamedTuple):
    """A published network."""

    title: str
    source: str  # of names, shapes and recipe
    shapes: Callable[[], Shapes]
    recipe: str  # one of fastinit.recipes.RECIPES


NETWORKS = {
    "gpt2": Network(
        "GPT-2 small",
        'Radford et al., "Language models are unsupervised multitask learners", 2019. Names, shapes and recipe are '
        "those of transformers' GPT2LMHeadModel and its _init_weights. lm_head.weight is tied to "
        "transformer.wte.weight and not listed.",
        gpt2,
        "gpt2",
    ),
    "resnet50": Network(
        "ResNet-50",
        'He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2015. Names, shapes and recipe are '
        "those of torchvision's resnet50 with its default, zero_init_residual=False: bn3.weight is 1. (timm's "
        "default is 0.)",
        resnet50,
        "resnet",
    ),
}

# The distribution of each initialiser in these recipes, and the fourth standardised moment of each distribution.
FORMS = {"normal": "normal", "he_normal": "normal", "uniform": "uniform", "zeros": "constant", "ones": "constant"}
KURTOSIS = {"normal": 3.0, "uniform": 1.8}


class Law(NamedTuple):
    """What an initialiser promises for one tensor."""

    form: str
    mean: float
    std: float


def law(initializer: Initializer, shape: tuple[int, ...]) -> Law:
    """The distribution, mean and standard deviation of an initialiser for that shape."""
    return Law(FORMS[initializer.function], *initializer.moments(shape))


def deviations(mean: float, std: float, expected: Law, n: int) -> tuple[float, float]:
    """How far the moments of n values are from the expected ones, in standard errors."""
    if expected.form == "constant":
        return 0.0 if mean == expected.mean else math.inf, 0.0 if std == 0.0 else math.inf
    error_of_mean = expected.std / math.sqrt(n)
    error_of_std = expected.std * math.sqrt((KURTOSIS[expected.form] - 1) / (4 * n))
    return abs(mean - expected.mean) / error_of_mean, abs(std - expected.std) / error_of_std


def numpy_fill(rng: np.random.Generator, out: NDArray[Any], wanted: Law, scratch: NDArray[Any]) -> None:
    """The same distribution by NumPy's fastest way: in place, or through scratch (not empty) for 16-bit types."""
    if wanted.form == "constant":
        out.fill(wanted.mean)
        return
    values = scratch[: out.size] if scratch.size else out
    if wanted.form == "normal":
        rng.standard_normal(out=values, dtype=values.dtype.type)
        scale, shift = wanted.std, wanted.mean
    else:
        rng.random(out=values, dtype=values.dtype.type)
        scale = wanted.std * math.sqrt(12)
        shift = wanted.mean - scale / 2
    values *= scale
    if shift != 0.0:
        values += shift
    if values is not out:
        out[...] = values


def run(title: str, source: str, shapes: Shapes, recipe: Recipe, *, seed: int, threads: int | None, dtype: str) -> bool:
    """Fill a network and print its table; True if all moments are within LIMIT."""
    largest = max(map(math.prod, shapes.values()))
    buffer = fastinit.zeros(fastinit.empty(largest, dtype))  # touched here, so that no page fault is timed below
    by_float32 = dtype in ("float16", "bfloat16")  # NumPy draws no 16-bit values
    scratch = np.zeros(largest if by_float32 else 0, np.float32)
    rng = np.random.default_rng(seed)

    print(f"{title}, {dtype}, seed {seed}; each parameter has the stream of its name. It follows:")
    print(textwrap.indent(textwrap.fill(source, WIDTH - 2), "  "))
    for pattern, initializer in dict(recipe).items():
        print(f"    {pattern:<22}{initializer}")
    print()
    print(f"{'':<35}  {'':<13}  {'':<11} {'expected':>19} {'measured':>19}")
    print(
        f"{'name':<35}  {'shape':<13}  {'initializer':<11} {'mean':>9} {'std':>9} {'mean':>9} {'std':>9} {'off by':>6}"
    )

    ours = numpys = worst = 0.0
    inside = moments = 0
    for name, (_, initializer) in match(recipe, shapes).items():
        assert isinstance(initializer, Initializer)
        shape = shapes[name]
        n = math.prod(shape)
        flat = buffer[:n]
        out = flat.reshape(shape)
        start = time.perf_counter()
        initializer.fill(out, seed=seed, stream=name, threads=threads)
        ours += time.perf_counter() - start

        found = fastinit.summary(out, threads=threads)
        expected = law(initializer, shape)
        off = deviations(found.mean, found.std, expected, n)
        print(
            f"{name:<35}  {'x'.join(map(str, shape)):<13}  {initializer.function:<11} "
            f"{expected.mean:>9.6f} {expected.std:>9.6f} {found.mean:>9.6f} {found.std:>9.6f} "
            + ("exact" if expected.form == "constant" and max(off) == 0.0 else f"{max(off):.1f}").rjust(6)
        )
        worst = max(worst, *off)
        inside += sum(x <= LIMIT for x in off)
        moments += len(off)

        start = time.perf_counter()
        numpy_fill(rng, flat, expected, scratch)
        numpys += time.perf_counter() - start

    through = "float32, then converted" if by_float32 else "in place"
    most = threads or fastinit.get_num_threads()
    elements = sum(map(math.prod, shapes.values()))
    print(f"""
off by: how far mean or std, whichever is further, is from the expected value, in standard errors
{inside} of {moments} moments within {LIMIT:g} standard errors, the worst {worst:.1f}
{len(shapes)} arrays, {elements:,} parameters. Only the fills are timed. They share one buffer, which fastinit.empty
allocated and which had been written to before.
  fastinit {ours:9.4f} s {elements / ours / 1e9:8.3f} G elements/s   at most {most} threads
  NumPy    {numpys:9.4f} s {elements / numpys / 1e9:8.3f} G elements/s   1 thread, default_rng (PCG64), {through}
  ratio    {numpys / ours:9.1f}
""")
    return inside == moments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="default: all of them")
    parser.add_argument("--seed", type=int, default=0, help="0 .. 2^64-1, default 0")
    parser.add_argument("--threads", type=int, help="at most this many threads; default: fastinit.get_num_threads()")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="default float32; bfloat16 needs ml_dtypes")


def main(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Run the demo; 0 if all moments of all models are within LIMIT."""
    seed, threads, dtype = options.seed, options.threads, options.dtype
    try:
        fastinit.zeros(fastinit.empty(0, dtype), seed=seed, threads=threads)
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    good = []
    for network in (NETWORKS[name] for name in options.models):
        shapes = network.shapes()
        recipe = named(network.recipe, shapes)
        good.append(run(network.title, network.source, shapes, recipe, seed=seed, threads=threads, dtype=dtype))
    return 0 if all(good) else 1
