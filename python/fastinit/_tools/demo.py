"""The demo: every parameter of GPT-2 small and ResNet-50, filled by its published recipe.

The networks are data (data/*.json: names, shapes, recipes); this file calls the public functions that the recipes name,
and compares what came out with the moments that the definitions promise. It measures, in the same run and on the same
memory, what NumPy needs for the same distributions. It uses nothing of fastinit that users cannot.
"""

from __future__ import annotations

import argparse
import json
import math
import textwrap
import time
from importlib.resources import files
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

import fastinit

MODELS = ("gpt2", "resnet50")
DTYPES = ("float32", "float64", "float16", "bfloat16")
LIMIT = 5.0  # standard errors; a normal quantity is beyond them once in 1.7 million times
WIDTH = 110  # columns of a line at most
CHUNK = 1 << 16  # elements that are widened to float64 at a time, so that half a MiB is all the extra memory


class Recipe(TypedDict):
    """A public function of fastinit, by name, and its keyword arguments."""

    function: str
    arguments: dict[str, Any]


class Parameter(TypedDict):
    """One array of a network."""

    name: str
    shape: list[int]
    recipe: str


class Model(TypedDict):
    """A network as data/*.json has it."""

    model: str
    source: str
    recipes: dict[str, Recipe]
    parameters: list[Parameter]


class Moments(NamedTuple):
    """What a distribution promises: its shape's name, mean, standard deviation and fourth standardised moment."""

    kind: str
    mean: float
    std: float
    kurtosis: float


def load(model: str) -> Model:
    """The model of that name from data/."""
    text = (files("fastinit._tools") / "data" / f"{model}.json").read_text("utf-8")
    loaded: Model = json.loads(text)
    return loaded


def promised(recipe: Recipe, shape: list[int]) -> Moments:
    """The moments of a recipe, from the published formulas and not from fastinit."""
    function, arguments = recipe["function"], recipe["arguments"]
    if function in ("zeros", "ones"):
        return Moments("constant", float(function == "ones"), 0.0, 1.0)
    if function == "normal":
        return Moments("normal", arguments["mean"], arguments["std"], 3.0)
    if function == "uniform":
        low, high = arguments["low"], arguments["high"]
        return Moments("uniform", (low + high) / 2, (high - low) / math.sqrt(12), 1.8)
    # he_normal and he_uniform on torch's (out, in, *kernel)
    n = math.prod(shape[2:]) * shape[0 if arguments.get("mode") == "fan_out" else 1]
    std = math.sqrt(2 / (1 + arguments.get("a", 0.0) ** 2) / n)
    return Moments("normal", 0.0, std, 3.0) if function == "he_normal" else Moments("uniform", 0.0, std, 1.8)


def measured(values: NDArray[Any], centre: float) -> tuple[float, float]:
    """Mean and standard deviation, summed in float64 around centre."""
    first = second = 0.0
    for start in range(0, values.size, CHUNK):
        chunk = values[start : start + CHUNK].astype(np.float64)
        chunk -= centre
        first += float(chunk.sum())
        second += float(np.dot(chunk, chunk))
    mean = first / values.size
    return centre + mean, math.sqrt(max(second / values.size - mean * mean, 0.0))


def deviations(found: tuple[float, float], want: Moments, n: int) -> tuple[float, float]:
    """How far mean and standard deviation of n values are from the promise, in their standard errors."""
    if want.std == 0.0:
        mean, std = (0.0 if x == y else math.inf for x, y in zip(found, (want.mean, want.std), strict=True))
        return mean, std
    error_of_mean = want.std / math.sqrt(n)
    error_of_std = want.std * math.sqrt((want.kurtosis - 1) / (4 * n))
    return abs(found[0] - want.mean) / error_of_mean, abs(found[1] - want.std) / error_of_std


def numpy_fill(rng: np.random.Generator, out: NDArray[Any], want: Moments, scratch: NDArray[Any]) -> None:
    """The same distribution by NumPy, the fastest way it has: in place where it has the dtype, else through scratch."""
    if want.kind == "constant":
        out.fill(want.mean)
        return
    values = out if scratch.size == 0 else scratch[: out.size]
    if want.kind == "normal":
        rng.standard_normal(out=values, dtype=values.dtype.type)
        values *= want.std
        if want.mean != 0.0:
            values += want.mean
    else:
        width = want.std * math.sqrt(12)
        rng.random(out=values, dtype=values.dtype.type)
        values *= width
        values += want.mean - width / 2
    if values is not out:
        out[...] = values


def run(name: str, seed: int, threads: int | None, dtype: str) -> bool:
    """Fill one model and print its table; True if every moment is where it must be."""
    model = load(name)
    largest = max(math.prod(parameter["shape"]) for parameter in model["parameters"])
    buffer = fastinit.zeros(fastinit.empty(largest, dtype))  # touched here, so that no page fault is timed below
    by_float32 = dtype in ("float16", "bfloat16")  # NumPy draws no 16-bit values
    scratch = np.zeros(largest if by_float32 else 0, np.float32)
    rng = np.random.default_rng(seed)

    print(f"{model['model']}, {dtype}, seed {seed}, every parameter on the stream of its name. It follows:")
    print(textwrap.indent(textwrap.fill(model["source"], WIDTH - 2), "  "))
    for recipe_name, recipe in model["recipes"].items():
        arguments = ", ".join(f"{key}={value!r}" for key, value in recipe["arguments"].items())
        print(f"  {recipe_name:<12}{recipe['function']}({arguments})")
    print()
    print(f"{'':<35}  {'':<13}  {'':<11} {'expected':>19} {'measured':>19}")
    print(f"{'name':<35}  {'shape':<13}  {'recipe':<11} {'mean':>9} {'std':>9} {'mean':>9} {'std':>9} {'off by':>6}")

    ours = numpys = worst = 0.0
    inside = moments = elements = 0
    for parameter in model["parameters"]:
        shape, recipe = parameter["shape"], model["recipes"][parameter["recipe"]]
        n = math.prod(shape)
        flat = buffer[:n]
        out = flat.reshape(shape)
        fill = getattr(fastinit, recipe["function"])
        start = time.perf_counter()
        fill(out, **recipe["arguments"], seed=seed, stream=parameter["name"], threads=threads)
        ours += time.perf_counter() - start

        want = promised(recipe, shape)
        found = measured(flat, want.mean)
        off = deviations(found, want, n)
        print(
            f"{parameter['name']:<35}  {'x'.join(map(str, shape)):<13}  {parameter['recipe']:<11} "
            f"{want.mean:>9.6f} {want.std:>9.6f} {found[0]:>9.6f} {found[1]:>9.6f} "
            + ("exact" if max(off) == want.std == 0.0 else f"{max(off):.1f}").rjust(6)
        )
        worst = max(worst, *off)
        inside += sum(x <= LIMIT for x in off)
        moments += len(off)
        elements += n

        start = time.perf_counter()
        numpy_fill(rng, flat, want, scratch)
        numpys += time.perf_counter() - start

    through = "float32, then converted" if by_float32 else "in place"
    most = threads or fastinit.get_num_threads()
    print(f"""
off by: the larger deviation of mean and std, in standard errors of a sample of that size
{inside} of {moments} moments within {LIMIT:g} standard errors, the worst {worst:.1f}
{len(model["parameters"])} arrays, {elements:,} parameters; only the fills are timed, in one buffer of the largest
parameter, allocated by fastinit.empty and touched before
  fastinit {ours:9.4f} s {elements / ours / 1e9:8.3f} G elements/s   at most {most} threads
  NumPy    {numpys:9.4f} s {elements / numpys / 1e9:8.3f} G elements/s   1 thread, default_rng (PCG64), {through}
  ratio    {numpys / ours:9.1f}
""")
    return inside == moments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="default: all of them")
    parser.add_argument("--seed", type=int, default=0, help="0 .. 2^64-1, default 0")
    parser.add_argument("--threads", type=int, help="default: fastinit.get_num_threads()")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="default float32; bfloat16 needs ml_dtypes")


def main(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Run the demo; 0 if every moment of every model is where it must be."""
    try:
        fastinit.zeros(fastinit.empty(0, options.dtype), seed=options.seed, threads=options.threads)
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    good = [run(name, options.seed, options.threads, options.dtype) for name in options.models]
    return 0 if all(good) else 1
